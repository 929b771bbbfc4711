"""What a call through the B2BUA costs without sockets, and whether calls that are held make the next one dearer.

``greensip-b2bua`` runs in process; the messages of SIPp's caller and answerer are handed to its endpoint, and what it
would send is kept.  What the making of these messages costs is measured apart and taken off.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import peers

CALLER, ANSWERER = ('127.0.0.1', 15061), ('127.0.0.1', 15080)
SDP = (b'v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n'
       b'm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')
REQUEST = ('{method} sip:service@127.0.0.1:15990 SIP/2.0\r\n'
           'Via: SIP/2.0/UDP 127.0.0.1:15061;branch=z9hG4bK-{number}-{cseq}{method}\r\n'
           'From: sipp <sip:sipp@127.0.0.1:15061>;tag=1SIPpTag00{number}\r\n'
           'To: service <sip:service@127.0.0.1:15990>{tag}\r\n'
           'Call-ID: {number}-1@127.0.0.1\r\nCSeq: {cseq} {method}\r\n'
           'Contact: sip:sipp@127.0.0.1:15061\r\nMax-Forwards: 70\r\nSubject: Performance Test\r\n{type}'
           'Content-Length: {length}\r\n\r\n')
COPIED = re.compile(rb'\r\n((?:Via|From|To|Call-ID|CSeq): [^\r]*)')
TAG = re.compile(rb'\r\nTo: [^\r]*(;tag=[^\r;]*)')


def request(method: str, number: int, cseq: int, tag: str = '', body: bytes = b'') -> bytes:
    """What SIPp's caller sends."""
    kind = 'Content-Type: application/sdp\r\n' if body else ''
    return REQUEST.format(method=method, number=number, cseq=cseq, tag=tag, type=kind, length=len(body)).encode() + body


def response(status: bytes, received: bytes, number: int, body: bytes = b'') -> bytes:
    """What SIPp's answerer says to ``received``."""
    lines = [b'SIP/2.0 ' + status]
    for line in COPIED.findall(received):
        lines.append(line + b';tag=77SIPpTag01%d' % number if line.startswith(b'To:') and b'tag=' not in line else line)
    lines.append(b'Contact: <sip:127.0.0.1:15080>')
    if body:
        lines.append(b'Content-Type: application/sdp')
    return b'\r\n'.join([*lines, b'Content-Length: %d' % len(body), b'', body])


class Bench:
    """A B2BUA without sockets."""

    def __init__(self, folder: Path) -> None:
        import gevent

        from greensip.b2bua import parse_command_line
        from greensip.b2bua.app import B2bua
        from greensip.cli.b2bua import GC_THRESHOLD
        from greensip.transaction.flow import Flow

        options = parse_command_line(['-f', '-u', '--listen', 'udp:127.0.0.1:0', '-s', '127.0.0.1:15080',
                                      '-c', str(folder / 'command')])
        self.b2bua = B2bua(options)
        self.b2bua.start()
        endpoint = self.b2bua.ua.endpoint
        point = endpoint.points[0]
        self.sent: list[bytes] = []
        endpoint._senders[point] = lambda data, flow: self.sent.append(data)
        self.received = endpoint.received
        self.caller, self.answerer = Flow(point, CALLER), Flow(point, ANSWERER)
        self.number = 0
        self.sleep = gevent.sleep
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)

    def say(self, data: bytes, flow: object, begins: bytes = b'') -> bytes:
        """Hand a message over, let the greenlets run, and return the last message sent, which begins so."""
        self.sent.clear()
        self.received(data, flow)
        self.sleep(0)
        self.sleep(0)
        if not begins:
            return b''
        assert self.sent and self.sent[-1].startswith(begins), (begins, self.sent)
        return self.sent[-1]

    def call(self, hold: bool = False) -> None:
        """A call: INVITE, 180, 200, ACK, and without ``hold`` BYE and 200."""
        self.number = number = self.number + 1
        invite = self.say(request('INVITE', number, 1, body=SDP), self.caller, b'INVITE ')
        self.say(response(b'180 Ringing', invite, number), self.answerer, b'SIP/2.0 180')
        answer = self.say(response(b'200 OK', invite, number, SDP), self.answerer, b'SIP/2.0 200')
        match = TAG.search(answer)
        assert match is not None
        tag = match[1].decode()
        self.say(request('ACK', number, 1, tag), self.caller)
        if not hold:
            self.say(request('BYE', number, 2, tag), self.caller)
            bye = next(data for data in self.sent if data.startswith(b'BYE '))
            self.say(response(b'200 OK', bye, number), self.answerer)

    def cost(self, calls: int = 1000) -> float:
        """CPU microseconds per call."""
        began = time.process_time()
        for _ in range(calls):
            self.call()
        total = time.process_time() - began
        sample = request('INVITE', 1, 1)
        began = time.process_time()
        for number in range(calls):
            for method in ('INVITE', 'ACK', 'BYE'):
                request(method, number, 1, '', SDP)
            for _ in range(3):
                response(b'200 OK', sample, number, SDP)
        return (total - (time.process_time() - began)) / calls * 1e6


def one(held: int, rounds: int) -> None:
    """Measure the build that is imported."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.cost(500)
        free = min(bench.cost() for _ in range(rounds))
        for _ in range(held):
            bench.call(hold=True)
        full = min(bench.cost() for _ in range(rounds))
        assert bench.b2bua.ua.core.counts()['calls'] == 2 * held
        print(f'{free:8.0f}{full:14.0f}{full / free:10.3f}', flush=True)
        os._exit(0)   # without hanging up ten thousand calls


def main(argv: list[str]) -> int:
    """``scripts/bench call``."""
    parser = argparse.ArgumentParser(prog='scripts/bench call', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--held', type=int, default=10_000, help='calls held meanwhile (default %(default)s)')
    parser.add_argument('--rounds', type=int, default=5,
                        help='rounds of 1000 calls, the best counts (default %(default)s)')
    parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one:
        one(options.held, options.rounds)
    subprocess.run([peers.ROOT / 'scripts' / 'compile'], check=True)
    print(f'us per call{"none held":>17}{f"{options.held} held":>14}{"ratio":>10}')
    for name, path in (('compiled', peers.BUILD), ('plain', peers.ROOT)):
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.call', '--one', '--held', str(options.held), '--rounds',
             str(options.rounds)], capture_output=True, text=True,
            env={**os.environ, 'PYTHONPATH': f'{path}:{peers.ROOT / "scripts"}', 'PYTHONSAFEPATH': '1'})
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        print(f'{name:<20}{done.stdout.rstrip()}', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
