"""SIPp around a program in the middle: what a call through it costs.

A call is INVITE, 180, 200, ACK, BYE, 200 on each side.  All programs are measured in one run, in turn, several
times; the best of the rounds counts, because whatever else the machine does only ever makes a figure worse.  CPU is
user and system time of the program and its children from after a warm-up to a second after the last call.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import peers

PROGRAMS: dict[str, Callable[[int, int, Path], peers.Peer]] = {
    'greensip': peers.compiled, 'plain': peers.greensip, 'sippy': peers.sippy, 'kamailio': peers.kamailio,
    'relay': peers.relay,
}
#: calls a second beyond which a program loses calls: it is measured at that pace
FASTEST = {'sippy': 60.0}
#: seconds in which a call surely is set up
SETUP = 0.5


@dataclass(frozen=True)
class Plan:
    """What is asked of each program."""

    title: str
    programs: tuple[str, ...]
    rate: float = 500.0
    calls: int = 3000
    #: seconds that each call lasts
    hold: float = 0.0
    #: calls held in the background meanwhile, one row of figures for each
    held: tuple[int, ...] = (0,)
    rounds: int = 3

    def for_program(self, name: str) -> Plan:
        """The same plan at a pace that the program stands."""
        rate = min(self.rate, FASTEST.get(name, self.rate))
        if rate == self.rate:
            return self
        overlap = self.hold - self.calls / self.rate
        if overlap > 0:
            # Calls that are all up at once stay so.
            return replace(self, rate=rate, hold=self.calls / rate + overlap)
        return replace(self, rate=rate, calls=int(self.calls * rate / self.rate))


@dataclass
class Figures:
    """What one program did in one round, or the best of several."""

    completed: int = 0
    failed: int = 0
    retransmissions: int = 0
    cpu_per_call: float = float('inf')
    peak: int = 0
    per_held_call: float | None = None
    idle_wakeups: float | None = None
    #: CPU per call of all rounds
    all_cpu: list[float] = field(default_factory=list)
    trouble: str = ''

    def add(self, other: Figures) -> None:
        """Count one more round in."""
        self.completed += other.completed
        self.failed += other.failed
        self.retransmissions += other.retransmissions
        self.all_cpu.append(other.cpu_per_call)
        self.cpu_per_call = min(self.cpu_per_call, other.cpu_per_call)
        self.peak = max(self.peak, other.peak)
        self.per_held_call = other.per_held_call if self.per_held_call is None else min(
            self.per_held_call, other.per_held_call or self.per_held_call)
        self.idle_wakeups = other.idle_wakeups if self.idle_wakeups is None else self.idle_wakeups


def ports() -> Callable[[], int]:
    """A function that gives another free UDP port at each call, below the kernel's ephemeral ones."""
    candidates = random.sample(range(10000, 30000), 1000)

    def next_port() -> int:
        while peers.is_bound(candidates[-1]):
            candidates.pop()
        return candidates.pop()

    return next_port


def measure(name: str, plan: Plan, held: int, folder: Path) -> Figures:
    """One round of one program."""
    port = ports()
    with peers.stopped_at_end([]) as running:
        def started(peer: peers.Peer) -> peers.Peer:
            running.append(peer)
            return peer

        answering = started(peers.answerers(port(), folder))
        uas_port = int(answering.name.rpartition('-')[2])
        service = port()
        program = started(PROGRAMS[name](service, uas_port, folder))

        warm_up = started(peers.callers(service, port(), folder, calls=20, rate=20))
        warm_up.wait(60)
        if held:
            background = min(400.0, FASTEST.get(name, 400.0))
            started(peers.callers(service, port(), folder, calls=held, rate=background, hold=3600))
            time.sleep(held / background + 3)
        time.sleep(SETUP)
        wakeups = program.wakeups()
        time.sleep(1)
        wakeups = program.wakeups() - wakeups

        cpu = program.cpu()
        memory = program.memory()
        peak, all_held = memory, 0
        began = time.monotonic()
        calling = started(peers.callers(service, port(), folder, calls=plan.calls, rate=plan.rate, hold=plan.hold))
        while calling.running():
            time.sleep(0.25)
            now = program.memory()
            peak = max(peak, now)
            if plan.calls / plan.rate + SETUP < time.monotonic() - began < plan.hold:
                all_held = max(all_held, now)
        time.sleep(1)
        cpu = program.cpu() - cpu
        if not program.running():
            raise peers.PeerError(f'{name} died:\n{program.printed()[-1000:]}')
        if not held:
            # With calls held in the background the answering side never comes to its end.
            assert isinstance(answering, peers.Sipp)
            answering.finish()
    assert isinstance(calling, peers.Sipp)
    counts = calling.counts()
    return Figures(
        completed=counts['completed'], failed=counts['failed'] + plan.calls - counts['completed'] - counts['failed'],
        retransmissions=counts['retransmissions'] + (0 if held else answering.counts()['retransmissions']),
        cpu_per_call=cpu / max(counts['completed'], 1), peak=peak,
        per_held_call=(all_held - memory) / plan.calls if all_held else None,
        idle_wakeups=None if held else wakeups)


def run(plan: Plan) -> dict[tuple[str, int], Figures]:
    """All rounds of all programs, in turn."""
    rows = {(name, held): Figures() for name in plan.programs for held in plan.held}
    for number in range(plan.rounds):
        for (name, held), figures in rows.items():
            if figures.trouble:
                continue
            print(f'round {number + 1} of {plan.rounds}: {name} ...', end='\r', file=sys.stderr, flush=True)
            folder = Path(tempfile.mkdtemp(prefix='greensip-bench-'))
            try:
                figures.add(measure(name, plan.for_program(name), held, folder))
            except peers.PeerError as error:
                figures.trouble = str(error).strip() or 'failed'
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    print(' ' * 60, end='\r', file=sys.stderr)
    return rows


def table(plan: Plan, rows: dict[tuple[str, int], Figures]) -> str:
    """The figures as text."""
    hold = f', each held {plan.hold:g} s' if plan.hold else ''
    lines = [f'{plan.title}: {plan.calls} calls at {plan.rate:g}/s{hold}, best of {plan.rounds}', '',
             f'{"program":<18}{"done":>7}{"failed":>8}{"retrans":>9}{"us/call":>9}{"(rounds)":>18}{"ratio":>8}'
             f'{"peak MB":>9}{"KB/held":>9}{"idle wakes/s":>14}']
    ours = next((figures.cpu_per_call for (name, _), figures in rows.items()
                 if name == 'greensip' and not figures.trouble), None)
    for (name, held), figures in rows.items():
        label = f'{name} +{held} held' if held else name
        if figures.trouble:
            lines.append(f'{label:<18}not measured: {figures.trouble.splitlines()[-1]}')
            continue
        rounds = ' '.join(f'{cpu * 1e6:.0f}' for cpu in figures.all_cpu)
        ratio = f'{ours / figures.cpu_per_call:.3f}' if ours and figures.cpu_per_call else '-'
        kept = f'{figures.per_held_call / 1024:.1f}' if figures.per_held_call is not None else '-'
        wakes = f'{figures.idle_wakeups:.0f}' if figures.idle_wakeups is not None else '-'
        lines.append(f'{label:<18}{figures.completed:>7}{figures.failed:>8}{figures.retransmissions:>9}'
                     f'{figures.cpu_per_call * 1e6:>9.0f}{rounds:>18}{ratio:>8}{figures.peak / 1e6:>9.1f}{kept:>9}'
                     f'{wakes:>14}')
        if FASTEST.get(name, plan.rate) < plan.rate:
            lines.append(f'{"":<18}(at {FASTEST[name]:g} calls/s)')
    lines += ['', 'us/call: CPU microseconds per completed call; ratio: greensip\'s divided by the program\'s']
    return '\n'.join(lines)


def figures(rounds: int) -> list[Plan]:
    """The runs whose figures the project promises."""
    return [
        Plan('CPU per call', tuple(PROGRAMS), rounds=rounds),
        Plan('CPU per call at a pace that sippy stands', tuple(PROGRAMS), rate=60, calls=600, rounds=rounds),
        Plan('No call lost, nothing sent twice', ('greensip', 'kamailio', 'relay'), rate=500, calls=15000, rounds=1),
        Plan('Memory per held call', ('greensip', 'sippy'), rate=300, calls=3000, hold=20, rounds=1),
        Plan('CPU per call with others held', ('greensip',), rate=100, calls=1000, held=(100, 10000), rounds=rounds),
    ]


def main(argv: list[str]) -> int:
    """``scripts/bench b2bua``; status 1 when greensip was not measured or lost a call."""
    parser = argparse.ArgumentParser(prog='scripts/bench b2bua', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rate', type=float, default=Plan.rate, help='calls a second (default %(default)s)')
    parser.add_argument('--calls', type=int, default=Plan.calls, help='calls in a round (default %(default)s)')
    parser.add_argument('--hold', type=float, default=0, help='seconds that each call lasts (default %(default)s); '
                        'memory per held call is told when all calls overlap')
    parser.add_argument('--held', type=int, default=0, help='calls held in the background meanwhile')
    parser.add_argument('--against', default='sippy,kamailio,relay', metavar='NAMES',
                        help='what to measure besides greensip (default %(default)s; none for nothing)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds, the best counts (default %(default)s)')
    parser.add_argument('--figures', action='store_true',
                        help='all runs of which the project promises figures, a quarter of an hour')
    options = parser.parse_args(argv)
    against = [name for name in options.against.split(',') if name not in ('', 'none', 'greensip')]
    unknown = [name for name in against if name not in PROGRAMS]
    if unknown:
        parser.error(f'unknown program {unknown[0]!r}; known are {", ".join(PROGRAMS)}')
    if options.figures:
        plans = figures(options.rounds)
    else:
        plans = [Plan('SIPp through the program', ('greensip', *against), options.rate, options.calls, options.hold,
                      (options.held,), options.rounds)]
    good = True
    for plan in plans:
        rows = run(plan)
        print(f'{table(plan, rows)}\n', flush=True)
        good &= all(not row.trouble and not row.failed for (name, _), row in rows.items() if name == 'greensip')
    return 0 if good else 1
