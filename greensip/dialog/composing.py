"""Who is writing a message: the two state machines of RFC 3994, told the time.

``Composer`` is whose user writes (3.2): it says when to tell that, and when to tell that he has stopped.
``ComposingWatch`` is whose user is written to (3.3): the state lasts until a message comes, until the other side says
that he has stopped, or until nothing more is heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from greensip.fsm import Machine, Row
from greensip.transaction.timers import Timer, Timers

__all__ = ['ACTIVE', 'IDLE', 'IDLE_TIMEOUT', 'REFRESH', 'Composer', 'ComposingWatch']

IDLE: Final = 'idle'
ACTIVE: Final = 'active'

#: seconds without a keystroke after which the user has stopped (3.2)
IDLE_TIMEOUT: Final = 15.0
#: seconds between two messages that say that he still writes (3.2: at least 60)
REFRESH: Final = 90


# What the arrows do.


def begin(composer: Composer, now: float) -> None:
    composer.start_idle(now)
    composer.start_refresh(now)
    composer.tell(True)


def go_on(composer: Composer, now: float) -> None:
    composer.start_idle(now)


def refresh(composer: Composer, now: float) -> None:
    composer.start_refresh(now)
    composer.tell(True)


def stop(composer: Composer, now: float) -> None:
    composer.stop_timers()
    composer.tell(False)


def sent(composer: Composer, now: float) -> None:
    """The message itself says that its writing is over."""
    composer.stop_timers()


class Composer(Machine):
    """The side that writes: 3.2.  ``tell(active)`` sends the status message; it must not block."""

    __slots__ = ('_idle', '_refresh', 'tell', 'timers')

    initial = IDLE
    rows = (
        # figure 1
        Row(IDLE, 'content', ACTIVE, begin),
        Row(ACTIVE, 'content', ACTIVE, go_on),
        Row(ACTIVE, 'refresh timeout', ACTIVE, refresh),
        Row(ACTIVE, 'idle timeout', IDLE, stop),
        Row(ACTIVE, 'message sent', IDLE, sent),
        # the user has cleared what he wrote
        Row(ACTIVE, 'stop', IDLE, stop),
        # nobody is to be told any more
        Row(ACTIVE, 'close', IDLE, sent),
    )

    def __init__(self, timers: Timers, tell: Callable[[bool], object]) -> None:
        super().__init__()
        self.timers = timers
        self.tell = tell
        self._idle: Timer | None = None
        self._refresh: Timer | None = None

    def start_idle(self, now: float) -> None:
        """The idle timer begins anew."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self.timers.add(IDLE_TIMEOUT, now, self, 'idle timeout')

    def start_refresh(self, now: float) -> None:
        """The refresh timer begins anew."""
        if self._refresh is not None:
            self._refresh.cancel()
        self._refresh = self.timers.add(float(REFRESH), now, self, 'refresh timeout')

    def stop_timers(self) -> None:
        """Neither runs any more."""
        for timer in (self._idle, self._refresh):
            if timer is not None:
                timer.cancel()
        self._idle = self._refresh = None

    def on_timer(self, name: str, now: float) -> None:
        """A timer has fired: the arrow has its name."""
        self.fire(name, now)


def show(watch: ComposingWatch, lasts: int, now: float) -> None:
    watch.last(lasts, now)
    watch.tell(True)


def go_on_showing(watch: ComposingWatch, lasts: int, now: float) -> None:
    watch.last(lasts, now)


def hide(watch: ComposingWatch, lasts: int, now: float) -> None:
    watch.last(0, now)
    watch.tell(False)


class ComposingWatch(Machine):
    """The side that is written to: 3.3.  ``tell(active)`` is called when that changes; it must not block.

    ``fire(event, lasts, now)``: ``lasts`` are the seconds for which an active state holds.
    """

    __slots__ = ('_refresh', 'tell', 'timers')

    initial = IDLE
    rows = (
        # figure 2
        Row(IDLE, 'active status', ACTIVE, show),
        Row(ACTIVE, 'active status', ACTIVE, go_on_showing),
        Row(ACTIVE, 'idle status', IDLE, hide),
        Row(ACTIVE, 'message', IDLE, hide),
        Row(ACTIVE, 'refresh timeout', IDLE, hide),
    )

    def __init__(self, timers: Timers, tell: Callable[[bool], object]) -> None:
        super().__init__()
        self.timers = timers
        self.tell = tell
        self._refresh: Timer | None = None

    def last(self, seconds: int, now: float) -> None:
        """The present state holds for so long; 0 for ever."""
        if self._refresh is not None:
            self._refresh.cancel()
        self._refresh = self.timers.add(float(seconds), now, self, 'refresh timeout') if seconds else None

    def on_timer(self, name: str, now: float) -> None:
        """Nothing more was heard."""
        self.fire(name, 0, now)
