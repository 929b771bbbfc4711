"""What a registration with digest costs ``greensip registrar``, and whether bindings that are there make it dearer.

The registrar runs in process with its SQLite file; clients' messages are handed to its endpoint, and what it would send
is kept.  A registration is a REGISTER, its 401, the REGISTER with credentials and its 200, all of which the registrar
reads, checks, stores and answers; what the clients do about it is not counted.  Three figures for each number of
bindings: a refresh, as above; one with credentials sent at once, without the 401; and what is spent on 401s alone, as
in a flood.  (Of a hundred users the parser still knows the header fields when they come again, of thousands it does
not: that is the step after the first line.)  ``--sipp`` sends the same over the loopback instead, from SIPp, and counts
what the whole program spends.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import peers

REQUEST = ('REGISTER sip:example.com SIP/2.0\r\n'
           'Via: SIP/2.0/UDP 10.0.0.{host}:{port};branch=z9hG4bK-{number}-{cseq};rport\r\n'
           'Max-Forwards: 70\r\n'
           'From: <sip:user{number}@example.com>;tag=t{number}\r\n'
           'To: <sip:user{number}@example.com>\r\n'
           'Call-ID: {number}@10.0.0.{host}\r\n'
           'CSeq: {cseq} REGISTER\r\n'
           'Contact: <sip:user{number}@10.0.0.{host}:{port}>\r\n'
           'Expires: 3600\r\n'
           'User-Agent: bench\r\n{credentials}'
           'Content-Length: 0\r\n\r\n')
NONCE = re.compile(rb'nonce="([^"]*)"')


class Bench:
    """A registrar without sockets, and its clients."""

    def __init__(self, folder: Path, users: int, database: str) -> None:
        from greensip.cli.b2bua import GC_THRESHOLD
        from greensip.message.digest import digest_response, hash_password
        from greensip.registrar import Options, open_registrar
        from greensip.transaction.flow import Flow

        path = ':memory:' if database == 'memory' else str(folder / 'registrar.db')
        self.prove = digest_response
        self.hash = hash_password
        self.flow = Flow
        names = [(f'user{number}', f'secret{number}') for number in range(users)]
        self.registrar = open_registrar(Options(listen=['udp:127.0.0.1:0'], domains=['example.com'], database=path,
                                                users=names))
        endpoint = self.registrar.ua.endpoint
        self.core = self.registrar.ua.core
        self.clock = self.registrar.ua.clock
        self.point = endpoint.points[0]
        self.sent: list[bytes] = []
        endpoint._senders[self.point] = lambda data, flow: self.sent.append(data)
        self.received = endpoint.received
        self.cseq = 0
        self.nonces: dict[int, tuple[str, int]] = {}
        self.spent = 0.0
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)

    def say(self, number: int, credentials: str, begins: bytes) -> bytes:
        """A REGISTER of a client, and the answer to it; its time is counted."""
        self.cseq += 1
        host, port = number % 250, 10_000 + number // 250
        data = REQUEST.format(number=number, host=host, port=port, cseq=self.cseq, credentials=credentials).encode()
        flow = self.flow(self.point, (f'10.0.0.{host}', port))
        self.sent.clear()
        began = time.process_time()
        self.received(data, flow)
        self.spent += time.process_time() - began
        assert self.sent and self.sent[-1].startswith(begins), self.sent
        return self.sent[-1]

    def challenge(self, number: int) -> None:
        """A REGISTER without credentials."""
        answer = self.say(number, '', b'SIP/2.0 401')
        match = NONCE.search(answer)
        assert match is not None
        self.nonces[number] = match[1].decode(), 0

    def prove_it(self, number: int) -> None:
        """A REGISTER with credentials for the nonce that the client has."""
        nonce, count = self.nonces[number]
        self.nonces[number] = nonce, count + 1
        secret = self.hash('MD5', f'user{number}', 'example.com', f'secret{number}')
        uri, nc, cnonce = 'sip:example.com', f'{count + 1:08x}', 'c0ffee'
        proof = self.prove('MD5', secret, 'REGISTER', uri, nonce, qop='auth', nc=nc, cnonce=cnonce)
        self.say(number, f'Authorization: Digest username="user{number}", realm="example.com", nonce="{nonce}", '
                         f'uri="{uri}", response="{proof}", algorithm=MD5, cnonce="{cnonce}", qop=auth, nc={nc}\r\n',
                 b'SIP/2.0 200')

    def fill(self, bindings: int) -> None:
        """So many users are registered."""
        for number in range(len(self.registrar.location), bindings):
            self.challenge(number)
            self.prove_it(number)
        self.settle()

    def settle(self) -> None:
        """The transactions of what was answered end, as they do after half a minute."""
        self.core.handle_timers(self.clock.now() + 64)

    def cost(self, numbers: list[int], steps: tuple[Any, ...]) -> float:
        """CPU microseconds for each of ``numbers``."""
        self.spent = 0.0
        for number in numbers:
            for step in steps:
                step(number)
        spent = self.spent
        self.settle()
        return spent / len(numbers) * 1e6


def in_process(options: argparse.Namespace, folder: Path) -> int:
    """The table."""
    draw = random.Random(1)
    bench = Bench(folder, options.bindings, options.database)
    print(f'{options.database}, CPU per registration in us, best of {options.rounds} rounds of {options.sample}\n')
    print(f'{"bindings":>10}{"with 401":>10}{"per s":>8}{"at once":>10}{"per s":>8}{"401 only":>10}{"per s":>8}')
    costs: list[float] = []
    sizes = sorted({max(options.bindings // 100, 1), max(options.bindings // 10, 1), options.bindings})
    for size in sizes:
        bench.fill(size)
        assert len(bench.registrar.location) == size
        full = again = refused = float('inf')
        for _ in range(options.rounds):
            numbers = [draw.randrange(size) for _ in range(options.sample)]
            full = min(full, bench.cost(numbers, (bench.challenge, bench.prove_it)))
            again = min(again, bench.cost(numbers, (bench.prove_it,)))
            refused = min(refused, bench.cost(numbers, (bench.challenge,)))
        costs.append(full)
        print(f'{size:>10}{full:>10.0f}{1e6 / full:>8.0f}{again:>10.0f}{1e6 / again:>8.0f}{refused:>10.0f}'
              f'{1e6 / refused:>8.0f}', flush=True)
    spent = bench.cost(list(range(options.bindings)), (bench.challenge, bench.prove_it))
    print(f'\n{options.bindings} bindings refreshed, each once: {spent * options.bindings / 1e6:.1f} s of CPU, '
          f'{spent:.0f} us each')
    print(f'ratio of {sizes[-1]} bindings to {sizes[-2]}: {costs[-1] / costs[-2]:.2f}' if len(sizes) > 1 else '')
    counts = bench.registrar.location.counts()
    assert counts['bindings'] == counts['due'] == options.bindings and len(bench.core.layer) == 0, counts
    return 0


SCENARIO = '''<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="register">
{requests}
</scenario>
'''
SIPP_REQUEST = '''<send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:[field0]@example.com>;tag=[call_number]
To: <sip:[field0]@example.com>
Call-ID: [call_id]
CSeq: {cseq} REGISTER
Contact: <sip:[field0]@[local_ip]:[local_port]>
Expires: 3600
{credentials}Content-Length: 0

]]></send>
'''
SIPP_SCENARIO = SCENARIO.format(
    requests=SIPP_REQUEST.format(cseq=1, credentials='') + '<recv response="401" auth="true"/>\n'
    + SIPP_REQUEST.format(cseq=2, credentials='[field1]\n')
    # the answer to a first REGISTER that was repeated meanwhile
    + '<recv response="401" optional="true"/>\n<recv response="200"/>')


@contextlib.contextmanager
def running(folder: Path, users: int, port: int) -> Iterator[peers.Peer]:
    """``greensip registrar`` in a process of its own."""
    from greensip.message.digest import hash_password

    file = folder / 'users'
    file.write_text(''.join(
        f'user{n}:example.com:{hash_password("MD5", f"user{n}", "example.com", f"secret{n}")}\n' for n in range(users)))
    peer = peers.Peer('registrar', [
        sys.executable, '-m', 'greensip.cli.registrar', '--listen', f'udp:{peers.HOST}:{port}', '--domain',
        'example.com', '--users-file', file, '--database', folder / 'sipp.db', '--json'], folder)
    try:
        peer.wait_for_port(port)
        yield peer
    finally:
        peer.stop()


def over_sockets(options: argparse.Namespace, folder: Path) -> int:
    """SIPp registers all users, and refreshes them twice."""
    port, client = options.port, options.port + 1
    (folder / 'register.xml').write_text(SIPP_SCENARIO)
    (folder / 'users.csv').write_text('SEQUENTIAL\n' + ''.join(
        f'user{n};[authentication username=user{n} password=secret{n}]\n' for n in range(options.bindings)))
    print(f'{"":>12}{"registrations":>15}{"per s":>8}{"us of CPU each":>16}{"failed":>8}{"repeated":>10}')
    with running(folder, options.bindings, port) as registrar:
        for name in ('first', 'refresh', 'refresh'):
            before = registrar.cpu()
            began = time.perf_counter()
            sipp = peers.Peer('sipp', [
                peers.need('sipp'), f'{peers.HOST}:{port}', '-i', peers.HOST, '-p', str(client), '-sf',
                folder / 'register.xml', '-inf', folder / 'users.csv', '-m', str(options.bindings), '-r',
                str(options.rate), '-l', '1000', '-nostdin', '-trace_stat', '-stf', folder / 'stat.csv', '-fd', '600',
                '-timeout', '120', '-timeout_error'], folder)
            status = sipp.wait(150)
            took = time.perf_counter() - began
            spent = registrar.cpu() - before
            head, *rows = (folder / 'stat.csv').read_text().splitlines()
            figures = dict(zip(head.split(';'), rows[-1].split(';'), strict=False))
            done = int(figures['SuccessfulCall(C)'])
            print(f'{name:>12}{done:>15}{done / took:>8.0f}{spent / max(done, 1) * 1e6:>16.0f}'
                  f'{figures["FailedCall(C)"]:>8}{figures["Retransmissions(C)"]:>10}', flush=True)
            if status:
                print(sipp.printed()[-2000:], file=sys.stderr)
                return 1
    return 0


def main(argv: list[str]) -> int:
    """``scripts/bench register``."""
    parser = argparse.ArgumentParser(prog='scripts/bench register', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bindings', type=int, default=10_000, help='users in the end (default %(default)s)')
    parser.add_argument('--rounds', type=int, default=5, help='the best counts (default %(default)s)')
    parser.add_argument('--sample', type=int, default=1000, help='registrations in a round (default %(default)s)')
    parser.add_argument('--database', choices=('sqlite', 'memory'), default='sqlite',
                        help='an SQLite file, or SQLite in memory (default %(default)s)')
    parser.add_argument('--sipp', action='store_true', help='over the loopback, from SIPp')
    parser.add_argument('--rate', type=int, default=500, help='that SIPp begins a second (default %(default)s)')
    parser.add_argument('--port', type=int, default=15990, help='for --sipp, and the next one (default %(default)s)')
    options = parser.parse_args(argv)
    if options.bindings < 1 or options.rounds < 1 or options.sample < 1:
        parser.error('numbers are at least 1')
    with tempfile.TemporaryDirectory() as folder:
        return over_sockets(options, Path(folder)) if options.sipp else in_process(options, Path(folder))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
