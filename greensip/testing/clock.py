"""Virtual time: the clock jumps to the next deadline as soon as no greenlet can run.

How idleness is found: while a timer is outstanding the clock keeps an idle watcher on gevent's loop.  libev calls
such a watcher in a round of the loop in which nothing else happened, and gevent has by then run the callbacks that
start and resume greenlets (what is left of them counts as a pending event).  So when the watcher is called, every
greenlet is parked.  It then sets the time to the earliest deadline and fires that one timer; whatever it wakes runs
until all is quiet again, and only then does the next timer fire, be it due at the same time.  Timers of equal deadline
fire in the order in which they were made.  Nothing here depends on how fast the machine is, hence a run can be
repeated exactly.

What virtual time knows nothing of: ``gevent.sleep`` and ``gevent.Timeout``, real sockets, other threads.  While one of
them is being waited for, hold the clock: ``with clock.held(): ...``.

Idle watchers work like this with libev, gevent's loop everywhere but on Windows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent.hub import Waiter

__all__ = ['VirtualClock', 'VirtualTimer']

Callback = Callable[..., object]

#: timers that may fire without the time moving on before we say that something turns in a circle
STANDSTILL = 100_000

#: cancelled timers are swept out of the heap when there are this many of them and they are the majority
SWEEP = 256


class VirtualTimer:
    """A deadline in virtual time."""

    __slots__ = ('args', 'callback', 'clock', 'when')

    def __init__(self, clock: VirtualClock, when: float, callback: Callback, args: tuple[Any, ...]) -> None:
        self.clock = clock
        self.when = when
        self.callback: Callback | None = callback
        self.args = args

    def cancel(self) -> None:
        """Forget the timer.  Does nothing if it has fired or was cancelled."""
        if self.callback is not None:
            self.callback = None
            self.args = ()
            self.clock._cancelled()


class VirtualClock:
    """A ``greensip.transport.Clock`` whose time passes only while everybody waits for it.

    It belongs to the hub of the thread that makes it.
    """

    #: virtual deadlines are kept exactly
    grid: float = 0.0

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._heap: list[tuple[float, int, VirtualTimer]] = []
        self._made = 0
        self._outstanding = 0
        self._fired_now = 0
        self._holds = 0
        self._watching = False
        self._idle = gevent.get_hub().loop.idle()

    def __repr__(self) -> str:
        return f'<VirtualClock at {self._now:.3f}, {self._outstanding} timers>'

    def now(self) -> float:
        """The virtual time in seconds."""
        return self._now

    def timer(self, seconds: float, callback: Callback, *args: Any) -> VirtualTimer:
        """Call ``callback(*args)`` in the hub after ``seconds``."""
        return self.at(self._now + seconds, callback, *args)

    def at(self, when: float, callback: Callback, *args: Any) -> VirtualTimer:
        """Call ``callback(*args)`` in the hub at ``when``, or as soon as nobody can run if that is past."""
        timer = VirtualTimer(self, when, callback, args)
        self._made += 1
        heapq.heappush(self._heap, (when, self._made, timer))
        self._outstanding += 1
        self._watch()
        return timer

    def sleep(self, seconds: float) -> None:
        """Block the calling greenlet for ``seconds`` of virtual time.

        ``sleep(0)`` comes back when every other greenlet is parked, with the time as it was.
        """
        waiter: Waiter[None] = Waiter()
        timer = self.timer(seconds if seconds > 0.0 else 0.0, waiter.switch, None)
        try:
            waiter.get()
        finally:
            timer.cancel()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Time stands still within: for waiting for something real, such as a thread or a socket."""
        self._holds += 1
        self._watch()
        try:
            yield
        finally:
            self._holds -= 1
            self._watch()

    def close(self) -> None:
        """Drop every timer; who waits for one, waits for ever."""
        for _, _, timer in self._heap:
            timer.callback = None
            timer.args = ()
        self._heap.clear()
        self._outstanding = 0
        self._watch()

    def _watch(self) -> None:
        # An active idle watcher keeps the loop from sleeping, so it is active only while there is something to jump to.
        if self._outstanding and not self._holds:
            if not self._watching:
                self._watching = True
                self._idle.start(self._jump)
        elif self._watching:
            self._watching = False
            self._idle.stop()

    def _cancelled(self) -> None:
        self._outstanding -= 1
        if len(self._heap) > SWEEP and self._outstanding * 2 < len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
        self._watch()

    def _jump(self) -> None:
        """Nobody can run: go to the earliest deadline and fire its timer."""
        heap = self._heap
        while heap:
            when, _, timer = heapq.heappop(heap)
            callback = timer.callback
            if callback is None:
                continue
            args = timer.args
            timer.callback = None
            timer.args = ()
            self._outstanding -= 1
            self._watch()
            if when > self._now:
                self._now = when
                self._fired_now = 0
            self._fired_now += 1
            if self._fired_now > STANDSTILL:
                self.close()
                raise RuntimeError(f'{STANDSTILL} timers have fired at {self._now}, and still time stands: {callback}')
            callback(*args)
            return
