"""What the legs of one hub share: its loop, clock, worker greenlets, and the doors for other OS threads.

Nothing here knows SIP: ``UserAgent`` is an engine whose legs are SIP calls.

An engine belongs to the gevent hub, and so to the OS thread, in which it was made.  Other threads come in through
``post(fn, *args)``, which returns a ``concurrent.futures.Future``, or through ``from_thread()``, whose proxies block
the calling thread only.  Whoever calls a leg directly from elsewhere gets ``WrongThread``: greenlets can't be switched
across threads, and the core has no locks.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol

from gevent import GreenletExit, get_hub
from gevent.hub import Hub
from gevent.monkey import get_original

from greensip.errors import UsageError, WrongState, WrongThread
from greensip.native import mypyc_attr

from .workers import Workers

__all__ = ['Clock', 'Engine', 'TimerHandle', 'current_engine', 'sole_engine', 'thread_ident', 'wrong_thread']

log = logging.getLogger('greensip.ua')

# The real thread's identity, also where gevent.monkey has made get_ident() that of the greenlet.
thread_ident: Callable[[], int] = get_original('_thread', 'get_ident')


class TimerHandle(Protocol):
    """A timer that was set."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as the endpoint has it: seconds, monotonic, perhaps virtual."""

    def now(self) -> float: ...

    def timer(self, seconds: float, callback: Callable[..., Any], *args: Any) -> TimerHandle: ...


#: the engines that are open, of all threads
_open: list[weakref.ref[Engine]] = []


def _engines() -> list[Engine]:
    """The open engines of this thread."""
    ident = thread_ident()
    return [engine for ref in _open if (engine := ref()) is not None and engine.thread == ident]


def current_engine() -> Engine | None:
    """The open engine of this thread that was made last, None if there is none."""
    engines = _engines()
    return engines[-1] if engines else None


def sole_engine(what: str) -> Engine:
    """The engine that ``what`` can only mean.  Raises UsageError if there is none, or more than one."""
    engines = _engines()
    if len(engines) == 1:
        return engines[0]
    if not engines:
        raise UsageError(f'{what} needs a user agent, and none is open')
    raise UsageError(f'{what} has to be told which user agent: {len(engines)} are open')


def wrong_thread() -> WrongThread:
    """The exception for a call from a foreign thread; it names the remedy."""
    return WrongThread('this object belongs to another OS thread: use ua.from_thread() or ua.post(fn, *args) there')


@mypyc_attr(allow_interpreted_subclasses=True)
class Engine:
    """Base of ``UserAgent``: see the module's description.

    ``clock`` is the time that waits, deadlines and time-outs go by.
    """

    def __init__(self, clock: Clock) -> None:
        self.hub: Hub = get_hub()
        self.loop = self.hub.loop
        self.thread = thread_ident()
        self.clock = clock
        self.workers = Workers(self.hub)
        _open[:] = [ref for ref in _open if ref() is not None]
        _open.append(weakref.ref(self))

    def close(self) -> None:
        """Forget the engine.  Does not block."""
        _open[:] = [ref for ref in _open if ref() not in (None, self)]
        self.workers.close()

    def check_thread(self) -> None:
        """Raise WrongThread unless this is the engine's own OS thread."""
        if thread_ident() != self.thread:
            raise wrong_thread()

    def post(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run ``fn(*args)`` in a greenlet of the engine's hub.  Callable from any thread, does not block.

        The Future gives what ``fn`` returns or raises; cancelling it kills the greenlet.  Do not wait for it in the
        engine's own thread: that would hold the very hub that has to run ``fn``.  Raises WrongState once the engine
        is closed.
        """
        if self.workers.closed:
            raise WrongState('the user agent is closed')
        future: Future[Any] = Future()
        self.loop.run_callback_threadsafe(self._start_posted, future, fn, args)
        return future

    def _start_posted(self, future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self.workers.closed:
            _settle(future, WrongState('the user agent is closed'), None)
            return
        task = self.workers.start(_run_posted, (future, fn, args))
        loop = self.loop

        def on_done(done: Future[Any]) -> None:
            if done.cancelled():
                loop.run_callback_threadsafe(task.kill)

        future.add_done_callback(on_done)

    def from_thread(self) -> Any:
        """A proxy of this object for other OS threads: same verbs, same arguments, same exceptions.

        Each call runs in a greenlet of the engine's hub and blocks only the thread that calls.  Legs, groups and
        user agents that come back are proxies too.
        """
        from .threads import Proxy

        return Proxy(self, self)


def _run_posted(posted: tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]) -> None:
    future, fn, args = posted
    try:
        result = fn(*args)
    except GreenletExit:
        _settle(future, WrongState('the user agent was closed meanwhile'), None)
        raise
    except Exception as error:
        _settle(future, error, None)
    else:
        _settle(future, None, result)


def _settle(future: Future[Any], error: Exception | None, result: Any) -> None:
    # Its thread may cancel a future at any time, also between a check and what follows it.
    try:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
    except InvalidStateError:
        pass
