"""The clock of an endpoint: what the time is, and being woken at a time.

Everything that waits takes its time from a ``Clock``, so that a test can put ``greensip.testing.VirtualClock`` in
its place and half a minute of RFC 3261 timers passes at once.  Time is in seconds, monotonic, of no known origin.

A timer's callback runs in gevent's hub: it may wake somebody, and nothing else.  It does not block, it sends nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

__all__ = ['Clock', 'ClockTimer', 'RealClock']

Callback = Callable[..., object]


class ClockTimer(Protocol):
    """What ``Clock.timer`` and ``Clock.at`` return."""

    def cancel(self) -> None:
        """Forget the timer.  Does nothing if it has fired or was cancelled."""


class Clock(Protocol):
    """What an endpoint and the waits of the user agent need of a clock."""

    #: deadlines that need no precision are rounded up to a multiple of this many seconds; 0.0 for not at all
    grid: float

    def now(self) -> float:
        """The time in seconds."""

    def timer(self, seconds: float, callback: Callback, *args: Any) -> ClockTimer:
        """Call ``callback(*args)`` in the hub after ``seconds``."""

    def at(self, when: float, callback: Callback, *args: Any) -> ClockTimer:
        """Call ``callback(*args)`` in the hub once ``now()`` is ``when`` or later.

        For a deadline that is already known this is the one to use: ``timer(when - now())`` may, by the
        rounding of floats, fire just before ``when``.
        """

    def sleep(self, seconds: float) -> None:
        """Block the calling greenlet.  ``sleep(0)`` lets the others run."""


class RealTimer:
    """A timer watcher of gevent's loop."""

    __slots__ = ('watcher',)

    def __init__(self, seconds: float, callback: Callback, args: tuple[Any, ...]) -> None:
        self.watcher = gevent.get_hub().loop.timer(seconds if seconds > 0.0 else 0.0)
        # The loop's idea of now dates from the start of its round; without the update the timer fires early by the
        # time that this round has taken so far.
        self.watcher.start(callback, *args, update=True)

    def cancel(self) -> None:
        self.watcher.stop()
        self.watcher.close()


class RealClock:
    """The monotonic clock of the machine, on the hub of the calling thread."""

    #: 200 wake-ups a second at most, however many timers there are; SIP's shortest timer is 100 times as long
    grid: float = 0.005

    now = staticmethod(time.monotonic)

    def timer(self, seconds: float, callback: Callback, *args: Any) -> RealTimer:
        return RealTimer(seconds, callback, args)

    def at(self, when: float, callback: Callback, *args: Any) -> RealTimer:
        return RealTimer(when - time.monotonic(), callback, args)

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)
