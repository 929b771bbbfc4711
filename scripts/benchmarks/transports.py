"""What a call costs over each transport: callers around one program that answers.

The program is ``phone.py answer``: a user agent that rings, answers, and waits for the end of the call.  A program in
the middle would hide half of what a transport costs among work that is the same over all of them, and leave open on
which of its sides it arose.  A call is INVITE, 180, 200, ACK, BYE, 200: six messages, over one connection that is kept.

Two callers in turn: SIPp, where it knows the transport, and ``phone.py call``, our own user agent in another process.
All transports are measured in one run, in turn, several times; the best of the rounds counts.  CPU is user and system
time of the answering program from after a warm-up to a second after the last call.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import lab, peers
from .b2bua import ports
from .certificates import Authority, Certificate

TRANSPORTS = ('udp', 'tcp', 'tls', 'wss')
#: how many times the CPU of a call over UDP it may take, over kept connections
AIMS = {'tcp': 1.25, 'tls': 1.6}


@dataclass
class Figures:
    """What a transport did with a caller, over all rounds."""

    completed: int = 0
    failed: int = 0
    #: seconds of CPU per call of each round
    cpu: list[float] = field(default_factory=list)
    connections: int = 0
    trouble: str = ''

    @property
    def best(self) -> float:
        """Seconds of CPU per call."""
        return min(self.cpu)


def place(transport: str, certificate: Certificate) -> str:
    """Where to listen: a free port."""
    secure = f'?cert={certificate.cert}&key={certificate.key}&ca={certificate.ca}'
    return f'{transport}:{peers.HOST}:0' + (secure if transport in ('tls', 'wss') else '')


def measure(transport: str, caller: str, options: argparse.Namespace, folder: Path, figures: Figures) -> None:
    """One round."""
    certificate = Authority(folder).issue()
    env = {} if options.plain else {'PYTHONPATH': str(peers.BUILD), 'PYTHONSAFEPATH': '1'}
    port = ports()

    def calling(name: str, calls: int, rate: float) -> peers.Peer:
        if caller == 'sipp':
            return lab.callers(transport, target, port(), folder, calls=calls, rate=rate, certificate=certificate,
                               name=name, program=sipp(transport))
        return lab.Phone(folder, 'call', f'sip:x@{peers.HOST}:{target};transport={transport}',
                         place(transport, certificate), '--rate', str(rate), '--calls', str(calls), name=name,
                         env={'PYTHONPATH': str(peers.BUILD), 'PYTHONSAFEPATH': '1'} if not options.plain else None)

    with peers.stopped_at_end([]) as running:
        answering = lab.Phone(folder, 'answer', place(transport, certificate), env=env)
        running.append(answering)
        target = answering.ports[0]
        warm_up = calling('warm-up', 50, 100.0)
        running.append(warm_up)
        warm_up.wait(60)
        time.sleep(0.5)
        cpu = answering.cpu()
        load = calling('load', options.calls, options.rate)
        running.append(load)
        kept = 0
        while load.running():
            time.sleep(0.25)
            kept = max(kept, peers.connections(target))
        time.sleep(1)
        cpu = answering.cpu() - cpu
        if not answering.running():
            raise peers.PeerError(f'the program died:\n{answering.printed()[-1000:]}')
    assert isinstance(load, (peers.Sipp, lab.Phone))
    counts = load.counts()
    completed = int(counts['completed'])   # type: ignore[call-overload]
    figures.completed += completed
    figures.failed += options.calls - completed
    figures.connections = max(figures.connections, kept)
    figures.cpu.append(cpu / max(completed, 1))


def sipp(transport: str) -> list[str | Path]:
    """One SIPp for all transports, or else one that knows this one.  Raises PeerError when there is none."""
    try:
        return lab.sipp('*')
    except peers.PeerError:
        return lab.sipp(transport)


def callers_of(transport: str) -> list[str]:
    """Who can call over it."""
    try:
        sipp(transport)
    except peers.PeerError:
        return ['greensip']
    return ['sipp', 'greensip']


def run(options: argparse.Namespace) -> dict[tuple[str, str], Figures]:
    """All rounds of all transports, in turn."""
    rows = {(caller, transport): Figures() for caller in ('sipp', 'greensip') for transport in options.transports
            if caller in callers_of(transport) and caller in options.callers}
    for number in range(options.rounds):
        for (caller, transport), figures in rows.items():
            if figures.trouble:
                continue
            print(f'round {number + 1} of {options.rounds}: {caller} over {transport} ...', end='\r', file=sys.stderr,
                  flush=True)
            folder = Path(tempfile.mkdtemp(prefix='greensip-bench-'))
            try:
                measure(transport, caller, options, folder, figures)
            except peers.PeerError as error:
                figures.trouble = str(error).strip() or 'failed'
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    print(' ' * 60, end='\r', file=sys.stderr)
    return rows


def table(options: argparse.Namespace, rows: dict[tuple[str, str], Figures]) -> str:
    """The figures as text."""
    build = 'plain' if options.plain else 'compiled'
    load = os.getloadavg()[0]
    lines = [f'A call answered, {build}: {options.calls} calls at {options.rate:g}/s, best of {options.rounds} '
             f'(load average at the end {load:.1f})', '',
             f'{"caller":<10}{"transport":<11}{"done":>7}{"failed":>8}{"connections":>13}{"us/call":>9}'
             f'{"(rounds)":>24}{"ratio":>8}{"aim":>7}']
    for (caller, transport), figures in rows.items():
        if figures.trouble:
            lines.append(f'{caller:<10}{transport:<11}not measured: {figures.trouble.splitlines()[-1]}')
            continue
        udp = rows.get((caller, 'udp'))
        ratio = f'{figures.best / udp.best:.2f}' if udp and udp.cpu else '-'
        aim = f'{AIMS[transport]:.2f}' if transport in AIMS else '-'
        rounds = ' '.join(f'{cpu * 1e6:.0f}' for cpu in figures.cpu)
        lines.append(f'{caller:<10}{transport:<11}{figures.completed:>7}{figures.failed:>8}{figures.connections:>13}'
                     f'{figures.best * 1e6:>9.0f}{rounds:>24}{ratio:>8}{aim:>7}')
    lines += ['', 'us/call: CPU microseconds per call of the program that answers; ratio: to the same over UDP']
    return '\n'.join(lines)


def main(argv: list[str]) -> int:
    """``scripts/bench transports``; status 1 when a transport was not measured or lost a call."""
    parser = argparse.ArgumentParser(prog='scripts/bench transports', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rate', type=float, default=300.0, help='calls a second (default %(default)s)')
    parser.add_argument('--calls', type=int, default=2000, help='calls in a round (default %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds, the best counts (default %(default)s)')
    parser.add_argument('--plain', action='store_true', help='the sources as they lie, instead of the compiled build')
    parser.add_argument('--transports', default=','.join(TRANSPORTS), metavar='NAMES',
                        help='what to measure (default %(default)s)')
    parser.add_argument('--callers', default='sipp,greensip', metavar='NAMES', help='who calls (default %(default)s)')
    options = parser.parse_args(argv)
    options.transports = options.transports.split(',')
    options.callers = options.callers.split(',')
    unknown = [name for name in options.transports if name not in lab.MODES]
    if unknown:
        parser.error(f'unknown transport {unknown[0]!r}; known are {", ".join(lab.MODES)}')
    if not options.plain:
        made = subprocess.run([peers.ROOT / 'scripts' / 'compile'], capture_output=True, text=True, check=False)
        if made.returncode:
            print(f'the compiled build failed:\n{made.stderr[-2000:]}', file=sys.stderr)
            return 1
    rows = run(options)
    print(f'{table(options, rows)}\n', flush=True)
    return int(any(row.trouble or row.failed for row in rows.values()))
