"""Legs that end together.  Nothing here knows SIP.

``LegGroup(a)`` is bound to leg a: when a ends, a wait on any other leg of the group is woken with a's ending, be it
that wait's first moment or its last.  It is checked inside our own waits, never thrown into foreign code.  Leaving
the group closes its legs; leg a itself belongs to whoever opened it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from greensip.errors import GreensipError, ResponseError, UsageError, WrongThread
from greensip.native import mypyc_attr

from .engine import Engine, sole_engine, thread_ident, wrong_thread
from .mailbox import Watch, wait_watches
from .pattern import Pattern, compile_patterns
from .threads import Proxy, ThreadBound, unwrap

__all__ = ['LegGroup', 'rank']


@mypyc_attr(allow_interpreted_subclasses=True)
class LegGroup(ThreadBound):
    """Several legs with one scope: ``leg`` is the one it is bound to, or None, ``legs`` are the others.

    ``engine`` (a user agent) is that of ``leg``, or the only one that is open.  Raises WrongThread for a proxy:
    ``ua.from_thread().group(leg)`` takes that.
    """

    __slots__ = ('_engine', 'leg', 'legs')

    def __init__(self, leg: Any = None, *, engine: Engine | None = None) -> None:
        if isinstance(leg, Proxy):
            if thread_ident() != leg._engine.thread:
                raise WrongThread('legs of another OS thread are grouped there: ua.from_thread().group(leg)')
            leg = unwrap(leg)
        self.leg: Any = leg
        self.legs: list[Any] = []
        if engine is None:
            engine = leg._engine if leg is not None else sole_engine('LegGroup()')
        self._engine: Engine = engine

    def add(self, leg: Any) -> Any:
        """Make ``leg`` one of the group, and return it.  Raises UsageError if it is in another group, or in itself."""
        if thread_ident() != self._engine.thread:
            raise wrong_thread()
        above: LegGroup | None = self
        while above is not None:
            if above.leg is leg:
                raise UsageError('a leg can not be in a group that is bound to it')
            above = above.leg._group if above.leg is not None else None
        if leg._group is not None and leg._group is not self:
            raise UsageError('a leg can be in one group only')
        leg._group = self
        if leg not in self.legs:
            self.legs.append(leg)
        return leg

    def remove(self, leg: Any) -> Any:
        """Take ``leg`` out of the group, and return it: it outlives the group, and somebody else has to close it.

        Raises WrongThread.
        """
        if thread_ident() != self._engine.thread:
            raise wrong_thread()
        if leg in self.legs:
            self.legs.remove(leg)
            leg._group = None
        return leg

    def invite(self, uri: Any, **options: Any) -> Any:
        """``ua.invite(uri, ...)``, the leg being one of the group.  Does not block."""
        if self.leg is not None:
            self.leg.check()
        engine: Any = self._engine
        return self.add(engine.invite(uri, **options))

    def first(self, *patterns: Pattern, timeout: float | None = None) -> Any:
        """Block until the first of the legs gets an event that matches, return that leg, and close the others.

        Legs that end meanwhile drop out.  When all have ended raises the error that tells most: a response that speaks
        for the person called (6xx) before the lowest class of response (RFC 3261 16.7, step 6), before anything else.
        ``timeout`` in seconds: raises WaitTimeout.  Raises the ending of the leg that the group is bound to, too.
        """
        matcher = compile_patterns(patterns)
        watches = [Watch(leg, matcher) for leg in self.legs]
        if not watches:
            raise UsageError('the group has no legs to wait for')
        errors: list[Exception] = []
        found = wait_watches(watches, timeout, errors)
        if found is None:
            raise min(errors, key=rank)
        winner = found.leg
        for leg in self.legs:
            if leg is not winner:
                leg.lose()
        return winner

    def close(self) -> None:
        """Close every leg of the group, but not the one it is bound to.  Does not block, may be called twice."""
        if thread_ident() != self._engine.thread:
            raise wrong_thread()
        for leg in self.legs:
            leg.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        for leg in self.legs:
            if error is None:
                leg.close()
            else:
                leg.abort(error)

    def __len__(self) -> int:
        return len(self.legs)

    def __repr__(self) -> str:
        return f'<LegGroup of {len(self.legs)}{" bound to " + repr(self.leg) if self.leg is not None else ""}>'


def rank(error: Exception) -> tuple[int, int]:
    """How little a failure tells, for ``min``.

    RFC 3261 16.7 step 6: 6xx first, then the lowest class; authentication and redirection before what tells less.
    """
    if isinstance(error, ResponseError):
        hundred = error.code // 100
        # Of the 4xx prefer those that the caller can do something about.
        return (0 if hundred == 6 else hundred, 0 if error.code in (401, 407, 415, 420, 484) else 1)
    return (7 if isinstance(error, GreensipError) else 8, 0)
