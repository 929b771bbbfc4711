"""``with deadline(30):`` is one budget for every wait inside.

Deadlines nest, and the earliest one counts.  They bind our own waits only: when one passes, the wait raises
``WaitTimeout``; nothing is thrown into other code.

A deadline is that of the greenlet that entered it.  What ``leg.spawn(fn)`` starts at the side of a call, and what
another OS thread asks for through ``from_thread()``, inherits it as long as the block lasts; a handler does not.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final

from gevent import getcurrent
from gevent.monkey import get_original

from greensip.errors import UsageError

from .engine import Clock, current_engine

__all__ = ['current_deadline', 'deadline', 'inherited']

_now: Final = get_original('time', 'monotonic')

_innermost: Final[ContextVar[deadline | None]] = ContextVar('greensip deadline', default=None)


class deadline:
    """A context manager: every wait inside ends after ``seconds``, counted from the entry of the block.

    ``clock`` is that of the last user agent that was opened, if not given.  ``remaining`` are the seconds that are
    left. Raises UsageError for a negative number.
    """

    __slots__ = ('_clock', '_greenlet', '_outer', '_token', 'at', 'seconds')

    def __init__(self, seconds: float, *, clock: Clock | None = None) -> None:
        if not seconds >= 0:
            raise UsageError(f'a deadline of {seconds!r} s makes no sense')
        self.seconds = seconds
        self.at = float('inf')
        self._clock = clock
        self._greenlet: object = None
        self._outer: deadline | None = None
        self._token: Token[deadline | None] | None = None

    def __enter__(self) -> deadline:
        if self._greenlet is not None:
            raise UsageError('a deadline is entered once; make another one')
        if self._clock is None:
            engine = current_engine()
            self._clock = engine.clock if engine is not None else None
        self.at = self._time() + self.seconds
        if self._outer is None:
            self._outer = current_deadline()
        self._greenlet = getcurrent()
        self._token = _innermost.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        # Greenlets that inherited it go on without it.
        self.at = float('inf')
        if self._token is not None:
            _innermost.reset(self._token)
            self._token = None

    def __repr__(self) -> str:
        return f'<deadline {self.seconds:g} s>'

    def _time(self) -> float:
        now: float = self._clock.now() if self._clock is not None else _now()
        return now

    @property
    def remaining(self) -> float:
        """Seconds left of this budget and those around it; 0 when one is used up, infinite after the block."""
        return max(0.0, self.tightest().at_remaining())

    def at_remaining(self) -> float:
        """Seconds left of this one alone; negative when it has passed."""
        return self.at - self._time()

    def tightest(self) -> deadline:
        """Of this one and those around it the one that ends first."""
        best: deadline = self
        left = self.at_remaining()
        outer = self._outer
        while outer is not None:
            other = outer.at_remaining()
            if other < left:
                best, left = outer, other
            outer = outer._outer
        return best


def current_deadline() -> deadline | None:
    """The innermost deadline of the present greenlet.  Context variables may be copied to others by gevent; this is
    not."""
    budget = _innermost.get()
    return budget if budget is not None and budget._greenlet is getcurrent() else None


def inherited(budget: deadline) -> deadline:
    """A deadline to be entered by another greenlet than the one that ``budget`` belongs to."""
    heir = deadline(float('inf'))
    heir._outer = budget
    return heir
