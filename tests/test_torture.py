"""Bad input over real sockets: RFC 4475's messages, every damage to an INVITE, floods.

Both roles: ``examples/answer.py``, which answers every call, and ``greensip-b2bua`` with a route to it.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers

from .torture import Prober, cases, expected, is_good, provoke, provoke_streams

ANSWER = Path(__file__).parents[1] / 'examples' / 'answer.py'
OFFER = (b'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\n'
         b'a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n')


class Element:
    """A program under test: its role, port and process."""

    def __init__(self, role: str, port: int, process: peers.Peer) -> None:
        self.role = role
        self.port = port
        self.process = process

    def is_sound(self) -> bool:
        """It runs, and nothing surprised it."""
        return self.process.running() and 'Traceback' not in self.process.printed()


@pytest.fixture(params=['ua', 'b2bua'])
def element(request: pytest.FixtureRequest, tmp_path: Path, free_port: Callable[..., int]) -> Iterator[Element]:
    with peers.stopped_at_end([]) as running:
        port = free_port()
        answer = peers.Peer('answer', [sys.executable, ANSWER, '--listen', f'udp:127.0.0.1:{port}', '--listen',
                                       f'tcp:127.0.0.1:{port}'], tmp_path)
        running.append(answer)
        answer.wait_for_port(port)
        if request.param == 'b2bua':
            service = free_port()
            running.append(peers.greensip(service, port, tmp_path, '--listen', f'tcp:127.0.0.1:{service}'))
            port = service
        yield Element(request.param, port, running[-1])
        for peer in running:
            # Without goodbyes to the many peers that never were.
            peer.stop(signal.SIGKILL)


def test_rfc_4475(element: Element) -> None:
    sent = cases('UDP', 'SCTP', 'UNKNOWN')
    statuses = provoke(element.port, sent, wait=2.0)
    wrong = [f'{case["file"]}: {statuses[case["file"]] or "nothing"}, expected {expected(case, element.role)}'
             for case in sent if not is_good(expected(case, element.role), statuses[case['file']])]
    assert wrong == []
    assert element.is_sound(), element.process.printed()


def test_rfc_4475_over_connections(element: Element) -> None:
    sent = cases('TCP', 'TLS')
    outcomes = provoke_streams(element.port, sent, wait=2.0)
    wrong = [f'{case["file"]}: {outcomes[case["file"]]}, expected {expected(case, element.role)}'
             for case in sent if not is_good(expected(case, element.role), *outcomes[case['file']])]
    assert wrong == []
    assert element.is_sound(), element.process.printed()


def test_every_truncation_leaves_it_answering(element: Element) -> None:
    with Prober(element.port) as prober:
        for size in range(len(prober.request('INVITE', body=OFFER))):
            prober.send(prober.request('INVITE', body=OFFER)[:size])
            assert prober.is_answered(), f'silent after an INVITE cut to {size} octets'
    assert element.is_sound(), element.process.printed()


@pytest.mark.parametrize('flip', [0x01, 0xFF])
def test_every_flipped_octet_leaves_it_answering(element: Element, flip: int) -> None:
    with Prober(element.port) as prober:
        for position in range(len(prober.request('INVITE', body=OFFER))):
            data = bytearray(prober.request('INVITE', body=OFFER))
            data[position] ^= flip
            prober.send(bytes(data))
            assert prober.is_answered(), f'silent after octet {position} was flipped by {flip:#x}'
    assert element.is_sound(), element.process.printed()


def test_a_flood_leaves_memory_flat(element: Element) -> None:
    choose = random.Random(4475)
    with Prober(element.port) as prober:
        def flood(count: int) -> None:
            for number in range(count):
                prober.send(half_valid(choose, prober))
                if number % 100 == 0:
                    # The pace at which it keeps up: what the kernel drops tests nothing.
                    assert prober.is_answered(10)

        flood(20_000)
        before = element.process.memory()
        flood(80_000)
        grown = element.process.memory() - before
    assert element.is_sound(), element.process.printed()
    assert grown < 8_000_000, f'grew by {grown / 1e6:.1f} MB'


def half_valid(choose: random.Random, prober: Prober) -> bytes:
    """Garbage, or a message that is almost good."""
    kind = choose.randrange(8)
    if kind == 0:
        return choose.randbytes(choose.randrange(1, 1200))
    request = prober.request('INVITE', body=OFFER)
    if kind == 1:
        return request[:choose.randrange(1, len(request) - 1)]
    if kind == 2:
        return request.replace(b'Via: ', b'Vai: ')
    if kind == 3:
        return request.replace(b'\r\n', b'\n\r')
    if kind == 4:
        return request.replace(b'CSeq: ', b'CSeq: x')
    if kind == 5:
        return request.replace(b'SIP/2.0\r\n', b'SIP/3.0\r\n', 1)
    if kind == 6:
        return b'SIP/2.0 200 OK\r\n' + request.partition(b'\r\n')[2]
    return b'\0' * choose.randrange(1, 40) + b'\r\n' * choose.randrange(40)
