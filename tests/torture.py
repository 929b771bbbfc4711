"""Sends what RFC 4475 collected to a running element, and judges what comes back; helpers of test_torture.py.

Each case leaves from an address of its own in 127/8 and from the port that its top Via names, because a response
goes to the source address and that port unless ``rport`` is there (RFC 3261 18.2.2, RFC 3581).  So all cases can be
under way at the same time, and no two of them match the same transaction by accident of their branches.
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / 'data' / 'rfc4475'
_STATUS = re.compile(rb'\ASIP/2\.0 (\d{3}) ')
_STATUSES = re.compile(rb'(?:\A|\r\n)SIP/2\.0 (\d{3}) ')
_UNFOLD = re.compile(rb'\r\n[ \t]+')
_TOP_VIA = re.compile(rb'(?im)^(?:via|v)[ \t]*:[ \t]*SIP[ \t]*/[^/]+/[ \t]*\w+[ \t]+(?:\[[^]]*\]|[^\s;:,]+)[ \t]*'
                      rb'(?::[ \t]*(\d+))?')


def cases(*transports: str) -> list[dict[str, Any]]:
    """What the RFC collected, as far as it travels over the transports."""
    expectations = json.loads((DATA / 'expect.json').read_text(encoding='utf-8'))
    return [case for case in expectations['cases'] if case.get('transport', 'UDP') in transports]


def field(message: bytes, name: str, compact: str) -> bytes:
    """The text of the first field of that name."""
    found = re.search(rb'(?im)^(?:%s|%s)[ \t]*:[ \t]*(.*?)[ \t]*\r$' % (name.encode(), compact.encode()),
                      _UNFOLD.sub(b' ', message))
    return found[1] if found else b''


def ack_for(response: bytes) -> bytes:
    """An ACK that stops an INVITE's final response from being repeated."""
    via = field(response, 'via', 'v')
    number = field(response, 'cseq', 'cseq').split()[0]
    lines = [b'ACK sip:torture@127.0.0.1 SIP/2.0', b'Via: ' + via, b'Max-Forwards: 70',
             b'From: ' + field(response, 'from', 'f'), b'To: ' + field(response, 'to', 't'),
             b'Call-ID: ' + field(response, 'call-id', 'i'), b'CSeq: ' + number + b' ACK', b'Content-Length: 0',
             b'', b'']
    return b'\r\n'.join(lines)


def expected(case: dict[str, Any], role: str) -> list[str]:
    """What an element of the role may do: statuses, ``any-but-400``, ``drop`` ..."""
    roles = case['expect']
    chosen = next((name for name in (role, 'uac', 'ua') if name in roles), next(iter(roles)))
    return list(roles[chosen]) + list(roles.get('tolerated', []))


def is_good(wanted: list[str], statuses: list[int], closed: bool = False) -> bool:
    """Does what came back fit one of the expectations?  The first final response counts, else the first of all.

    ``closed`` is whether the element has closed the connection.
    """
    if not statuses:
        return bool({'drop', 'accepted-by-parser'} & set(wanted)) or (closed and 'close' in wanted)
    status = next((status for status in statuses if status >= 200), statuses[0])
    return (str(status) in wanted or ('any-but-400' in wanted and status != 400)
            or ('any-but-400-483' in wanted and status not in (400, 483)))


def provoke(port: int, case_list: list[dict[str, Any]], wait: float) -> dict[str, list[int]]:
    """Send all cases to 127.0.0.1:port; the statuses that came back within ``wait`` seconds, by file."""
    sockets: dict[socket.socket, str] = {}
    statuses: dict[str, list[int]] = {case['file']: [] for case in case_list}
    try:
        for number, case in enumerate(case_list):
            data = (DATA / case['file']).read_bytes()
            via = _TOP_VIA.search(_UNFOLD.sub(b' ', data))
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets[sock] = case['file']
            sock.bind((f'127.44.75.{number + 1}', int(via[1]) if via and via[1] else 5060))
            sock.sendto(data, ('127.0.0.1', port))
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            for sock in select.select(list(sockets), [], [], left)[0]:
                data, source = sock.recvfrom(65535)
                found = _STATUS.match(data)
                if found:
                    statuses[sockets[sock]].append(int(found[1]))
                    if int(found[1]) >= 200 and field(data, 'cseq', 'cseq').endswith(b'INVITE'):
                        sock.sendto(ack_for(data), source)
    finally:
        for sock in sockets:
            sock.close()
    return statuses


def provoke_streams(port: int, case_list: list[dict[str, Any]], wait: float) -> dict[str, tuple[list[int], bool]]:
    """Send each case on a TCP connection of its own; by file the statuses, and whether that was closed."""
    streams: dict[socket.socket, str] = {}
    received: dict[str, bytes] = {}
    closed: set[str] = set()
    try:
        for number, case in enumerate(case_list):
            stream = socket.create_connection(('127.0.0.1', port), 5.0, source_address=(f'127.44.76.{number + 1}', 0))
            streams[stream] = case['file']
            received[case['file']] = b''
            stream.sendall((DATA / case['file']).read_bytes())
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            waiting = [stream for stream, file in streams.items() if file not in closed]
            for stream in select.select(waiting, [], [], left)[0]:
                data = stream.recv(65535)
                received[streams[stream]] += data
                if not data:
                    closed.add(streams[stream])
    finally:
        for stream in streams:
            stream.close()
    return {file: ([int(status) for status in _STATUSES.findall(data)], file in closed)
            for file, data in received.items()}


class Prober:
    """A socket that sends datagrams to an element and asks whether it still lives."""

    def __init__(self, port: int) -> None:
        self.target = ('127.0.0.1', port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self.socket.bind(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self.number = 0

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        self.socket.sendto(data, self.target)

    def request(self, method: str, *, body: bytes = b'') -> bytes:
        """A request as it should be, with an identity of its own."""
        self.number += 1
        identity = f'{self.port}-{self.number}'
        lines = [f'{method} sip:probe@127.0.0.1:{self.target[1]} SIP/2.0',
                 f'Via: SIP/2.0/UDP 127.0.0.1:{self.port};rport;branch=z9hG4bK-{identity}', 'Max-Forwards: 70',
                 f'From: "A. Prober" <sip:prober@127.0.0.1:{self.port}>;tag=f{identity}',
                 f'To: <sip:probe@127.0.0.1:{self.target[1]}>', f'Call-ID: {identity}@127.0.0.1',
                 f'CSeq: {self.number} {method}', f'Contact: <sip:prober@127.0.0.1:{self.port}>',
                 'User-Agent: prober', 'Allow: INVITE, ACK, BYE, CANCEL, OPTIONS', 'Supported: timer, replaces',
                 *(['Content-Type: application/sdp'] if body else []), f'Content-Length: {len(body)}', '', '']
        return '\r\n'.join(lines).encode() + body

    def is_answered(self, timeout: float = 2.0) -> bool:
        """Does the element answer an OPTIONS?  Sent again every half second, as UDP wants it."""
        options = self.request('OPTIONS')
        identity = field(options, 'call-id', 'i')
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.send(options)
            again = min(end, time.monotonic() + 0.5)
            while (left := again - time.monotonic()) > 0:
                self.socket.settimeout(left)
                try:
                    data = self.socket.recv(65535)
                except TimeoutError:
                    break
                if _STATUS.match(data) and identity in data:
                    return True
        return False
