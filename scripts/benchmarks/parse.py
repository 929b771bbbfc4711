"""What reading and writing messages costs: microseconds per operation, and bytes per message held.

The INVITEs have 13 header fields and differ in users, tags, branches and Call-IDs, as those of different calls
do; "again" is the same message a second time, as in a retransmission.  Each figure is the best of several
rounds, because other programs on the machine only ever make it worse.

    scripts/bench parse [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

from greensip.message import (
    Request,
    Response,
    StreamFramer,
    address,
    check_request,
    check_response,
    make_response,
    parse_message,
    parser,
    uri,
)

SDP = (b'v=0\r\no=user1 53655765 2353687637 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n'
       b'm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')
MESSAGES = 2000


def invite(number: int) -> bytes:
    """An INVITE of 13 header fields, as a softphone sends it."""
    head = f'''\
INVITE sip:{5000 + number}@192.0.2.4:5080 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-{number}-8812-1-0;rport
Max-Forwards: 70
From: "Alice {number}" <sip:alice{number}@192.0.2.1:5060>;tag=8812SIPpTag00{number}
To: <sip:{5000 + number}@192.0.2.4:5080>
Call-ID: {number}-8812@192.0.2.1
CSeq: 1 INVITE
Contact: <sip:alice{number}@192.0.2.1:5060>
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE
Supported: replaces, timer
User-Agent: Softphone 1.2.3
Subject: Performance Test
Content-Type: application/sdp
Content-Length: {len(SDP)}

'''
    return head.replace('\n', '\r\n').encode() + SDP


def touch(request: Request) -> tuple[Any, ...]:
    """The fields that routing looks at."""
    return (request.branch, request.from_tag, request.to_tag, request.call_id, request.cseq, request.max_forwards,
            request.contact, request.uri)


def measure(rounds: int, operation: Callable[[Any], object], items: Iterable[Any],
            before: Callable[[], object] = lambda: None) -> float:
    """Microseconds per call of ``operation``, the best round of several."""
    items = list(items)
    best = float('inf')
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            before()
            start = time.perf_counter()
            for item in items:
                operation(item)
            best = min(best, time.perf_counter() - start)
    finally:
        gc.enable()
    return best / len(items) * 1e6


def receive_request(data: bytes) -> Request:
    """What an endpoint does with each request, and what routing reads of it."""
    message = parse_message(data)
    assert isinstance(message, Request)
    check_request(message)
    touch(message)
    return message


def receive_response(data: bytes) -> Response:
    """What an endpoint does with each response."""
    message = parse_message(data)
    assert isinstance(message, Response)
    check_response(message)
    return message


def answer(request: Request) -> bytes:
    """A provisional response."""
    return make_response(request, 180, to_tag='8f1c2a').to_bytes()


def compose(fields: list[tuple[str, str]]) -> bytes:
    """A request of the same size out of ready texts."""
    return Request('INVITE', 'sip:bob@192.0.2.4:5080', fields, SDP).to_bytes()


def forget() -> None:
    """Empty the memories of the parser: every message is the first of its kind."""
    for module in (address, parser, uri):
        module._recent.clear()


def held_bytes(make: Callable[[bytes], object], data: list[bytes]) -> float:
    """Bytes that one message takes, by what the allocator gave out."""
    make(data[0])
    forget()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [make(item) for item in data]
    forget()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / len(kept)


def main(argv: list[str]) -> int:
    command = argparse.ArgumentParser(prog='scripts/bench parse', description=(__doc__ or '').splitlines()[0])
    command.add_argument('--rounds', type=int, default=7, help='rounds, of which the best counts (default 7)')
    command.add_argument('--json', action='store_true', help='the figures as one JSON object')
    options = command.parse_args(argv)
    rounds = max(options.rounds, 1)
    data = [invite(number) for number in range(MESSAGES)]
    requests = [receive_request(item) for item in data]
    responses = [answer(request) for request in requests]
    fields = [request.fields[:-1] for request in requests]
    stream = b''.join(data)
    figures = {
        'INVITE of 13 fields: structure only': measure(rounds, parse_message, data),
        'INVITE of 13 fields: parsed, checked, routing fields': measure(rounds, receive_request, data, forget),
        'the same again': measure(rounds, receive_request, data[:1] * MESSAGES),
        '180: parsed and checked': measure(rounds, receive_response, responses),
        'make_response and to_bytes': measure(rounds, answer, requests),
        'Request from fields and to_bytes': measure(rounds, compose, fields),
        'INVITE out of a stream': measure(rounds, lambda piece: StreamFramer().feed(piece), [stream]) / MESSAGES,
        'bytes held per INVITE, structure only': held_bytes(parse_message, data),
        'bytes held per INVITE, routing fields read': held_bytes(receive_request, data),
    }
    if options.json:
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
        return 0
    print(f'{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, '
          f'{len(data[0])} octets per INVITE')
    for name, value in figures.items():
        unit = 'bytes' if name.startswith('bytes') else 'us'
        print(f'{name:55} {value:9.1f} {unit}')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
