"""sippy's ``b2bua_simple`` as it is and on the shim, with SIPp's callers and answerers around it.

A call is INVITE, 180, 200, ACK, BYE, 200 on each side.  Each round runs all programs in turn, first at a pace at which
stock sippy loses next to no call, where CPU per call is compared, then faster.  The best of the rounds counts, because
whatever else the machine does only ever makes a figure worse; calls that failed are those of all rounds.
Before any call the program is left alone for three seconds, and its wake-ups are counted; threads are counted after
the calls.  How late timers fire is told by a program of its own, which sets 500 timers for five seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import peers
from .b2bua import ports

#: seconds without calls in which wake-ups are counted
IDLE = 3
TIMERS = 500
TIMER_SECONDS = 5
#: what the shim is to reach: share of stock's CPU per call, milliseconds, calls lost
MOST_CPU = 0.85
MOST_LATENESS = 1.0


@dataclass
class Load:
    """Calls at one pace, and what became of them in all rounds."""

    rate: float
    calls: int
    failed: int = 0
    completed: int = 0
    retransmissions: int = 0
    #: seconds of CPU per completed call, a round each
    cpu: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The cheapest round."""
        return min(self.cpu)


@dataclass
class Figures:
    """What one program did."""

    loads: tuple[Load, ...]
    wakeups: list[float] = field(default_factory=list)
    threads: int = 0
    late_mean: list[float] = field(default_factory=list)
    late_max: list[float] = field(default_factory=list)
    trouble: str = ''


def call(program: peers.Peer, target: int, load: Load, folder: Path, caller: int) -> None:
    """Place the calls of ``load`` through the program on port ``target``, and add what they cost."""
    cpu = program.cpu()
    calling = peers.callers(target, caller, folder, calls=load.calls, rate=load.rate)
    with calling:
        calling.wait(load.calls / load.rate + 60)
        time.sleep(1)
        cpu = program.cpu() - cpu
        if not program.running():
            raise peers.PeerError(f'{program.name} died:\n{program.printed()[-1000:]}')
        counts = calling.counts()
    load.completed += counts['completed']
    load.failed += load.calls - counts['completed']
    load.retransmissions += counts['retransmissions']
    load.cpu.append(cpu / max(counts['completed'], 1))


def measure(how: str, figures: Figures, folder: Path) -> None:
    """One round of one program."""
    port = ports()
    with peers.stopped_at_end([]) as running:
        callee, service = port(), port()
        running.append(peers.answerers(callee, folder))
        program = peers.sippy(service, callee, folder, how)
        running.append(program)
        time.sleep(1)
        wakeups = program.wakeups()
        time.sleep(IDLE)
        figures.wakeups.append((program.wakeups() - wakeups) / IDLE)
        call(program, service, Load(20, 20), folder, port())
        for load in figures.loads:
            call(program, service, load, folder, port())
        figures.threads = max(figures.threads, program.threads())
    timers = peers.Peer('timers', [sys.executable, *peers.SIPPY[how][:-1], Path(__file__).with_name('sippy_timers.py'),
                                   str(TIMERS), str(TIMER_SECONDS)], folder)
    with timers:
        if timers.wait(TIMER_SECONDS + 30):
            raise peers.PeerError(timers.printed())
        late = json.loads(timers.printed())
    figures.late_mean.append(late['mean'])
    figures.late_max.append(late['max'])


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix='greensip-bench-'))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(programs: Sequence[str], loads: Sequence[tuple[float, int]], rounds: int) -> dict[str, Figures]:
    """All rounds of all programs, in turn, every other round backwards."""
    rows = {how: Figures(tuple(Load(rate, calls) for rate, calls in loads)) for how in programs}
    for number in range(rounds):
        for how in programs if number % 2 == 0 else reversed(programs):
            if rows[how].trouble:
                continue
            print(f'round {number + 1} of {rounds}: {how} ...', end='\r', file=sys.stderr, flush=True)
            with scratch() as folder:
                try:
                    measure(how, rows[how], folder)
                except peers.PeerError as error:
                    rows[how].trouble = str(error).strip() or 'failed'
    print(' ' * 60, end='\r', file=sys.stderr)
    return rows


def ratio(rows: dict[str, Figures], how: str, index: int) -> float | None:
    """CPU per call by that of stock sippy at the same pace."""
    stock = rows.get('stock')
    if stock is None or stock.trouble or rows[how].trouble:
        return None
    return rows[how].loads[index].best / stock.loads[index].best


def table(rows: dict[str, Figures]) -> str:
    """The figures as text."""
    lines = [f'{"program":<9}{"calls/s":>8}{"done":>7}{"failed":>8}{"retrans":>9}{"us/call":>9}{"(rounds)":>26}'
             f'{"ratio":>8}']
    for how, figures in rows.items():
        if figures.trouble:
            lines.append(f'{how:<9}not measured: {figures.trouble.splitlines()[-1]}')
            continue
        for index, load in enumerate(figures.loads):
            share = ratio(rows, how, index)
            rounds = ' '.join(f'{cpu * 1e6:.0f}' for cpu in load.cpu)
            lines.append(f'{how:<9}{load.rate:>8g}{load.completed:>7}{load.failed:>8}{load.retransmissions:>9}'
                         f'{load.best * 1e6:>9.0f}{rounds:>26}{f"{share:.3f}" if share else "-":>8}')
    lines += ['', f'{"program":<9}{"idle wakes/s":>14}{"threads":>9}{"timers late, mean ms":>22}{"worst ms":>10}']
    for how, figures in rows.items():
        if not figures.trouble:
            lines.append(f'{how:<9}{min(figures.wakeups):>14.1f}{figures.threads:>9}{min(figures.late_mean):>22.3f}'
                         f'{min(figures.late_max):>10.2f}')
    lines += ['', 'us/call: CPU microseconds per completed call; ratio: the program\'s to stock\'s at the same pace']
    return '\n'.join(lines)


def verdict(rows: dict[str, Figures]) -> tuple[list[str], bool]:
    """What the shim is to reach, a line each, and whether it does."""
    shim = rows['shim']
    if shim.trouble:
        return [shim.trouble], False
    failed, completed = (sum(getattr(load, name) for load in shim.loads) for name in ('failed', 'completed'))
    checks = [('no call fails', failed == 0, f'{failed} of {failed + completed}'),
              ('no wake-up while idle', min(shim.wakeups) == 0, f'{min(shim.wakeups):.1f} a second'),
              ('one thread', shim.threads == 1, f'{shim.threads}'),
              (f'timers late by less than {MOST_LATENESS:g} ms', min(shim.late_mean) < MOST_LATENESS,
               f'{min(shim.late_mean):.3f} ms')]
    share = ratio(rows, 'shim', 0)
    if share is not None:
        checks.insert(1, (f'CPU per call at most {MOST_CPU:g} of stock, at {shim.loads[0].rate:g} calls/s',
                          share <= MOST_CPU, f'{share:.3f}'))
    return ([f'{aim}: {found}, {"reached" if good else "NOT REACHED"}' for aim, good, found in checks],
            all(good for _, good, _ in checks))


def pace(text: str) -> tuple[float, int]:
    """``RATE:CALLS`` as numbers."""
    rate, _, calls = text.partition(':')
    if float(rate) <= 0 or int(calls) <= 0:
        raise ValueError(text)
    return float(rate), int(calls)


def main(argv: list[str]) -> int:
    """``scripts/bench sippy-shim``; status 1 when the shim does not reach what it is to reach."""
    parser = argparse.ArgumentParser(prog='scripts/bench sippy-shim', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pace', type=pace, action='append', metavar='RATE:CALLS',
                        help='calls a second and calls in a round; repeatable, the first is where CPU is compared '
                        '(default 40:400, then 100:600)')
    parser.add_argument('--against', default='stock', metavar='NAMES',
                        help=f'what to measure besides the shim, of {", ".join(peers.SIPPY)} (default %(default)s; '
                        'none for nothing)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds, the best counts (default %(default)s)')
    options = parser.parse_args(argv)
    against = [name for name in options.against.split(',') if name not in ('', 'none', 'shim')]
    unknown = [name for name in against if name not in peers.SIPPY]
    if unknown:
        parser.error(f'unknown program {unknown[0]!r}; known are {", ".join(peers.SIPPY)}')
    if options.rounds < 1:
        parser.error('at least one round is needed')
    rows = run([*against, 'shim'], options.pace or [(40.0, 400), (100.0, 600)], options.rounds)
    lines, good = verdict(rows)
    print(f'{table(rows)}\n\n' + '\n'.join(lines), flush=True)
    return 0 if good else 1
