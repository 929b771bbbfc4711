"""Calls that come in: they wait for ``accept()``, or are given to the handler of ``serve()``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from greensip.dialog.event import Event
from greensip.dialog.reliable import asks_reliability
from greensip.errors import GreensipError, UsageError, WrongState

from .incoming import IncomingLeg
from .mailbox import Mailbox, Notice, Watch, wait_on
from .pattern import Matcher, compile_patterns
from .workers import Task

if TYPE_CHECKING:
    from .agent import UserAgent

__all__ = ['Reception']

log: Final = logging.getLogger('greensip.ua')

#: calls that may wait for ``accept()``, and seconds for which one of them does
BACKLOG = 64
PATIENCE: Final = 30.0

CALL: Final = compile_patterns(('call',))
#: the end of the user agent
CLOSED: Final = Matcher(('ended',), 'close() of the user agent')

Handler = Callable[[IncomingLeg], object]
Screen = Callable[[IncomingLeg], int | None]


class Door(Mailbox):
    """Where the calls lie that nobody has accepted yet."""

    __slots__ = ()

    @property
    def peer_name(self) -> str:
        return 'anybody'


class Reception:
    """The calls of a user agent that nobody has taken yet, and the handlers at work."""

    __slots__ = ('_max_legs', '_screen', '_ua', 'door', 'handler', 'refusing', 'tasks')

    def __init__(self, ua: UserAgent) -> None:
        self._ua = ua
        self.door = Door(ua)
        self.handler: Handler | None = None
        self._screen: Screen | None = None
        self._max_legs: int | None = None
        #: the handlers at work
        self.tasks: set[Task] = set()
        #: no more calls are taken
        self.refusing = False

    def accept(self, timeout: float | None) -> IncomingLeg:
        """Block until a call comes in that is not over yet, and return it."""
        if self.handler is not None:
            raise WrongState('serve() takes the calls')
        now = self._ua.clock.now
        until = None if timeout is None else now() + timeout
        while True:
            calls = Watch(self.door, CALL)
            wait_on((calls,), None if until is None else until - now(), asked=timeout)
            leg: IncomingLeg = calls.event.leg
            if not leg.ended:
                leg.taken = True
                return leg

    def serve(self, handler: Handler, max_legs: int | None, screen: Screen | None) -> None:
        """Give the calls to ``handler`` from now on, those that wait first."""
        if self.handler is not None:
            raise WrongState('there is a handler already')
        if not callable(handler):
            raise UsageError(f'{handler!r} cannot handle calls: give a function that takes a leg')
        self.handler, self._screen, self._max_legs = handler, screen, max_legs
        waiting, self.door._events[:] = self.door._events[:], []
        for notice in waiting:
            if not notice.leg.ended:
                self._start(notice.leg)

    def wait_closed(self) -> None:
        """Block until ``close()``, or the deadline around it has passed."""
        closed = Watch(self.door, CLOSED)
        wait_on((closed,), None)

    def close(self) -> None:
        """Kill the handlers at work, and wake whoever waits for calls."""
        for task in tuple(self.tasks):
            if not task.current:
                task.kill()
        self.door.finish(Notice('ended', time=self._ua.clock.now(), error=WrongState('the user agent is closed')))

    def is_idle(self) -> bool:
        """No handler is at work, but for the one that asks."""
        return all(task.current for task in self.tasks)

    def on_call(self, event: Event) -> None:
        """An INVITE outside of a dialog has come.  Called while the endpoint flushes: must not block."""
        ua, usage = self._ua, event.subject
        if self.refusing:
            usage.respond(503, event.time, headers=(('Retry-After', '30'),))
            return
        if ua.prack == 'required' and not asks_reliability(event.message):
            # 21.4.16
            usage.respond(421, event.time, headers=(('Require', '100rel'),))
            return
        leg = IncomingLeg(ua, usage)
        if self.handler is not None:
            self._start(leg)
        elif len(self.door._events) >= BACKLOG:
            leg._close(480, None)
        else:
            self.door.deliver(Notice('call', time=event.time, leg=leg))
            ua.core.timers.add(PATIENCE, event.time, leg, 'unaccepted')

    def _start(self, leg: IncomingLeg) -> None:
        """Begin the handler of a call, or refuse it."""
        leg.taken = True
        code: int | None = None
        if self._screen is not None:
            try:
                code = self._screen(leg)
            except Exception as error:
                log.exception('! the screen of %r failed', leg)
                code = error.status if isinstance(error, GreensipError) else 500
        if code is None and self._max_legs is not None and len(self.tasks) >= self._max_legs:
            code = 503
        if code is not None:
            leg._leave(code, None, [('Retry-After', '10')] if code == 503 else ())
            return
        task = self._ua.workers.start(self._run, leg)
        self.tasks.add(task)
        leg._task = task

    def _run(self, leg: IncomingLeg) -> None:
        handler = self.handler
        try:
            if handler is not None:
                leg.handle(handler)
        finally:
            self.tasks.discard(leg._task)
            leg._task = None
            if self._ua.quiet:
                self._ua.on_leg_ended()
