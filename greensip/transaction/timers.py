"""Timers as plain cells in queues; time comes in as an argument.

Nearly all timers of SIP have one of a dozen durations (T1, 2*T1 ... T2, T4, 64*T1).  Timers of one duration end in the
order in which they began, so each duration has a queue: a new timer goes to its end, and only the
heads can be due.  Starting, cancelling and firing cost the same however many timers run, which a heap cannot say, and
a cancelled timer is a cleared cell that is thrown away when it comes to the head.

Durations that are made up as calls go (the expiry of a session, a random back-off) would leave a queue each: they
get queues only up to ``MAX_QUEUES``, then a heap.  What runs for longer than ``MAX_QUEUED`` seconds is in the heap too:
a cleared cell may wait for as long as its timer would have run, and a peer can have us begin and cancel timers of a
hundred years as often as it likes.  So the heap is swept before more than half of it are cleared cells.

``now`` should never go backwards.  Where it does, since two greenlets read the clock and then ran in the other
order, a timer fires late by that much, no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from operator import attrgetter
from typing import Final, Protocol

__all__ = ['MAX_QUEUED', 'MAX_QUEUES', 'Target', 'Timer', 'Timers']

#: so many different durations have a queue of their own
MAX_QUEUES: Final = 32
#: seconds: longer timers have none, unless their duration was reserved
MAX_QUEUED: Final = 64.0
#: cells for which the heap is not worth sweeping
FEW: Final = 256

NEVER: Final = float('inf')

_deadline: Final = attrgetter('deadline')


class Target(Protocol):
    """What a timer fires at."""

    def on_timer(self, name: str, now: float) -> None: ...


class Timer:
    """A running timer.  One that has fired or was cancelled has no target."""

    __slots__ = ('deadline', 'name', 'target')

    def __init__(self, deadline: float, target: Target | None, name: str) -> None:
        self.deadline = deadline
        self.target = target
        self.name = name

    def cancel(self) -> None:
        """Never fire.  Does nothing if the timer has fired or was cancelled before."""
        self.target = None

    def __repr__(self) -> str:
        return f'<{self.name} at {self.deadline:.3f}>' if self.target is not None else f'<{self.name} done>'


class Timers:
    """All timers of an endpoint.  ``earliest`` is never later than the next deadline; infinite when there is none.

    ``durations`` are those that are known to be used: they have a queue whatever else is added first.
    """

    __slots__ = ('_due', '_heap', '_order', '_queues', '_room', 'earliest')

    def __init__(self, durations: Iterable[float] = ()) -> None:
        self.earliest = NEVER
        self._queues: dict[float, deque[Timer]] = {}
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        #: the heap is swept when it has grown to this
        self._room = FEW
        # Those that handle() is firing.  Kept here, so that the rest is not lost when a target raises.
        self._due: deque[Timer] = deque()
        self.reserve(durations)

    def reserve(self, durations: Iterable[float]) -> None:
        """Set aside a queue for each of the durations."""
        for duration in durations:
            self._queues.setdefault(duration, deque())

    def add(self, duration: float, now: float, target: Target, name: str) -> Timer:
        """Call ``target.on_timer(name, now)`` once, ``duration`` seconds from ``now``."""
        deadline = now + duration
        timer = Timer(deadline, target, name)
        queue = self._queues.get(duration)
        if queue is not None:
            queue.append(timer)
        elif duration <= MAX_QUEUED and len(self._queues) < MAX_QUEUES:
            self._queues[duration] = deque((timer,))
        else:
            if len(self._heap) >= self._room:
                self._sweep()
            heappush(self._heap, (deadline, next(self._order), timer))
        if deadline < self.earliest:
            self.earliest = deadline
        return timer

    def _sweep(self) -> None:
        """Throw away what was cancelled; so seldom that each timer pays for it once."""
        heap = self._heap = [entry for entry in self._heap if entry[2].target is not None]
        heapify(heap)
        self._room = max(FEW, 2 * len(heap))

    def next_timer(self) -> float | None:
        """The next deadline, None when no timer runs."""
        earliest = self._due[0].deadline if self._due else NEVER
        for queue in self._queues.values():
            while queue and queue[0].target is None:
                queue.popleft()
            if queue and queue[0].deadline < earliest:
                earliest = queue[0].deadline
        heap = self._heap
        while heap and heap[0][2].target is None:
            heappop(heap)
        if heap and heap[0][0] < earliest:
            earliest = heap[0][0]
        self.earliest = earliest
        return None if earliest == NEVER else earliest

    def handle(self, now: float) -> None:
        """Fire all timers that are due, in the order of their deadlines.

        Timers that are added meanwhile wait for the next call, even those that are due at once: a target that
        starts its timer anew cannot keep us here.
        """
        if self.earliest > now:
            return
        due = self._due
        found: list[Timer] = []
        for queue in self._queues.values():
            while queue and (queue[0].deadline <= now or queue[0].target is None):
                timer = queue.popleft()
                if timer.target is not None:
                    found.append(timer)
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].target is None):
            timer = heappop(heap)[2]
            if timer.target is not None:
                found.append(timer)
        if len(found) > 1:
            found.sort(key=_deadline)
        due.extend(found)
        try:
            while due:
                timer = due.popleft()
                target = timer.target
                if target is not None:
                    timer.target = None
                    target.on_timer(timer.name, now)
        finally:
            self.next_timer()

    def __iter__(self) -> Iterator[Timer]:
        """The running timers, in no order: for tests and for looking inside."""
        for queue in (self._due, *self._queues.values(), [entry[2] for entry in self._heap]):
            for timer in queue:
                if timer.target is not None:
                    yield timer

    def __len__(self) -> int:
        return sum(1 for timer in self)
