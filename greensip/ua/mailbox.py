"""A leg is a mailbox with a cursor; what it means to wait.  Nothing here knows SIP.

Responses, requests, media and timer events are appended in order.  ``wait_for`` scans from the cursor: an event that
came before the wait is still seen, and none is consumed twice.  When it finds one, the cursor moves behind it; a wait
that fails moves nothing, so whoever catches the ``WaitTimeout`` can ask for what came instead.  Events that lie
before the cursor are gone; a few words about each stay for the text of a ``WaitTimeout``.

The last event of every leg is its ending.  An ending that a wait did not ask for is raised, again by every later
wait; one that it asked for is returned.

A wait parks its greenlet and nothing else: whoever delivers an event compares it with the patterns of those that
wait, and wakes only whom it concerns.  The woken greenlet runs in its turn of the hub, never inside of the delivery.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

import gevent
from gevent.hub import Waiter

from greensip.errors import LegEnded, LocalHangup, UnexpectedMessage, UsageError, WaitTimeout
from greensip.native import mypyc_attr

from .deadline import current_deadline, deadline, inherited
from .engine import Engine, TimerHandle, sole_engine, thread_ident, wrong_thread
from .pattern import NOTHING, Happening, Matcher, Pattern, compile_patterns
from .threads import Carrier, Proxy, ThreadBound, run_in_hub

__all__ = ['After', 'Mailbox', 'Notice', 'Watch', 'after', 'fresh', 'wait_any',
           'wait_on', 'wait_watches']

log: Final = logging.getLogger('greensip.ua')

#: events that may lie unread before the oldest is dropped: a script that never looks must not fill the memory
UNREAD: Final = 1000
#: and octets of messages that may lie there; looked at with every so many events, as messages mostly are small
UNREAD_OCTETS: Final = 2**20
WEIGHED: Final = 64
#: entries of a history, two for each event of which a WaitTimeout can tell
REMEMBERED: Final = 2 * 24

NEVER: Final = float('inf')


class Notice(Carrier):
    """An event that is no message: ``hold``, ``ended`` (``error`` says why); ``detail`` is what else it says."""

    __slots__ = ('detail', 'error', 'label', 'leg', 'time')

    #: as messages have them, for whoever handles both
    code = 0
    message = None

    def __init__(self, label: str, *, time: float, leg: Mailbox | None = None, detail: str = '',
                 error: BaseException | None = None) -> None:
        self.label: int | str = label
        self.time = time
        self.leg = leg
        self.detail = detail
        self.error = error

    def __repr__(self) -> str:
        return f'<Notice {self.label}{":" if self.detail else ""}{self.detail} at {self.time:.3f}>'


def weight(event: Any) -> int:
    """The octets of an event's message, about; those of a body that came packed are counted as it is now."""
    message = getattr(event, 'message', None)
    if message is None:
        return 0
    body = getattr(event, 'body', None)
    size = len(message.body) + (len(body) if isinstance(body, bytes) else 0)
    return size + sum(len(text) for _, text in message.fields)


def fresh(error: BaseException) -> BaseException:
    """A copy to raise: an exception that is raised again and again collects tracebacks, and with them whole frames."""
    return copy.copy(error)


class Gate:
    """One parked greenlet.  ``wake()`` and ``expire()`` may be called from any greenlet of the hub, any number of
    times."""

    __slots__ = ('engine', 'expired', 'interrupted', 'waiter', 'woken')

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.waiter: Waiter[None] = Waiter(engine.hub)
        self.woken = False
        self.expired = False
        #: the leg that we hung up ourselves while somebody waits on it
        self.interrupted: Mailbox | None = None

    def wake(self) -> None:
        if not self.woken:
            self.woken = True
            self.engine.loop.run_callback(self.waiter.switch, None)

    def expire(self) -> None:
        self.expired = True
        self.wake()

    def park(self) -> None:
        """Wait until somebody wakes us.  GreenletExit and the like come through."""
        waiter = self.waiter
        waiter.get()
        waiter.clear()
        self.woken = False


class Watch(ThreadBound):
    """What ``leg.on('BYE')`` gives: patterns on a leg, for ``wait_any``.  ``event`` is what was found, or None."""

    __slots__ = ('event', 'leg', 'matcher', 'position', 'strict')

    def __init__(self, leg: Mailbox, matcher: Matcher) -> None:
        self.leg = leg
        self.matcher = matcher
        self.event: Any = None
        self.position = 0
        self.strict = leg._strict

    def poll(self) -> bool:
        """Take the next event that matches, if it is there.

        Raises the leg's ending when nobody asked for it, UnexpectedMessage when the leg is strict.
        """
        leg, matcher = self.leg, self.matcher
        events = leg._events
        labels, simple = matcher.labels, matcher.simple
        index = self.position - leg._first
        if index < 0:
            index = 0
        ending = leg._ending
        while index < len(events):
            event = events[index]
            index += 1
            if event.label in labels or (not simple and matcher.matches(event)):
                leg._first += index
                del events[:index]
                self.event = event
                return True
            if self.strict and event is not ending and not leg._tolerates(event):
                leg._first += index
                del events[:index]
                raise UnexpectedMessage(f'{event.label} from {leg.peer_name} while waiting for {matcher.text}')
        self.position = leg._first + index
        if ending is None:
            return False
        if matcher.matches(ending):
            # It was asked for before, and a leg does not end twice; but it is still as ended as it was.
            self.event = ending
            return True
        raise fresh(ending.error)

    def __repr__(self) -> str:
        return f'<Watch {self.matcher.text} on {self.leg!r}>'


class After:
    """What ``after(20)`` gives: a source of ``wait_any`` that fires ``seconds`` after it was first waited for."""

    __slots__ = ('at', 'event', 'seconds')

    def __init__(self, seconds: float) -> None:
        if not seconds >= 0:
            raise UsageError(f'after {seconds!r} s makes no sense')
        self.seconds = seconds
        self.at: float | None = None
        self.event: Any = None

    def __repr__(self) -> str:
        return f'<After {self.seconds:g} s>'


@mypyc_attr(allow_interpreted_subclasses=True)
class Mailbox(ThreadBound):
    """Base of every kind of leg.  See the module's description."""

    __slots__ = ('_ending', '_engine', '_events', '_first', '_gates', '_group', '_history', '_owned', '_since',
                 '_strict', '_tasks')

    def __init__(self, engine: Engine, *, strict: bool = False) -> None:
        self._engine = engine
        #: the events from the cursor on; the number of the first of them
        self._events: list[Any] = []
        self._first = 0
        self._gates: list[tuple[Matcher, Gate]] = []
        self._ending: Any = None
        self._group: Any = None
        self._strict = strict
        #: a ``with`` block or a handler will close it
        self._owned = False
        self._tasks: list[gevent.Greenlet[..., Any]] | None = None
        self._since = engine.clock.now()
        #: label, time, label, time ... of the last events
        self._history: list[Any] = []

    # -- what a kind of leg adds

    @property
    def peer_name(self) -> str:
        """Who is on the other side, for texts."""
        return '?'

    def close(self) -> None:
        """End it, whatever its state.  Never blocks, may be called twice."""
        raise NotImplementedError

    def lose(self) -> None:
        """End it because another leg was answered first.  Never blocks."""
        self.close()

    def abort(self, error: BaseException) -> None:
        """End it because its script failed with ``error``.  Never blocks."""
        self.close()

    def _tolerates(self, event: Happening) -> bool:
        """True for events that a strict script need not ask for."""
        return isinstance(event, Notice)

    @property
    def strict(self) -> bool:
        """Whether an event that nobody asks for raises UnexpectedMessage: in the wait that finds it, or else at the end
        of the ``with`` block.  May be changed."""
        return self._strict

    @strict.setter
    def strict(self, value: bool) -> None:
        self._strict = value

    # -- delivery

    def deliver(self, event: Happening) -> None:
        """Append ``event`` and wake whom it concerns.  After the ending nothing is delivered any more."""
        if self._ending is not None:
            return
        history = self._history
        history += (event.label, event.time)
        if len(history) > REMEMBERED:
            del history[:2]
        events = self._events
        events.append(event)
        if len(events) > UNREAD:
            del events[0]
            self._first += 1
        if not (self._first + len(events)) % WEIGHED:
            self._lighten()
        for matcher, gate in self._gates:
            if not gate.woken and (self._strict or matcher.may_match(event)):
                gate.wake()

    def _lighten(self) -> None:
        """Drop the oldest events whose messages are too much together: a peer's may be of 64 KB each."""
        events = self._events
        left = UNREAD_OCTETS
        for index in range(len(events) - 1, -1, -1):
            left -= weight(events[index])
            if left < 0:
                del events[:index + 1]
                self._first += index + 1
                return

    def show(self, event: Happening) -> None:
        """Deliver ``event`` to those who wait for it now; others need not see it, somebody else takes care of it."""
        for matcher, _ in self._gates:
            if matcher.may_match(event):
                self.deliver(event)
                return
        self._remember(event)

    def _farewell(self) -> Exception:
        """Why we are ending it, before that is told."""
        return LocalHangup()

    def interrupt(self) -> None:
        """We end the leg ourselves: wake those who wait on it, not only when the peer has agreed."""
        for _, gate in self._gates:
            gate.interrupted = self
            gate.wake()

    def finish(self, event: Happening) -> None:
        """Deliver the ending: ``event.error`` is what waits raise from now on.  Wakes everybody."""
        if self._ending is not None:
            return
        self._remember(event)
        self._ending = event
        self._events.append(event)
        for _, gate in self._gates:
            gate.wake()

    def _remember(self, event: Happening) -> None:
        history = self._history
        history += (event.label, event.time)
        if len(history) > REMEMBERED:
            del history[:2]

    # -- waiting

    @property
    def ended(self) -> bool:
        """True when the leg is over.  Does not block."""
        return self._ending is not None

    @property
    def error(self) -> BaseException | None:
        """Why the leg is over: a LegEnded, ResponseError, TransactionTimeout or TransportError; None while it lives."""
        return self._ending.error if self._ending is not None else None

    def wait_for(self, *patterns: Pattern, timeout: float | None = None) -> Any:
        """Block until an event comes that matches one of ``patterns``, and return it; at once if it is there already.

        ``timeout`` in seconds; the deadlines around it hold too.  Raises WaitTimeout, which says what was seen; the
        leg's ending (LegEnded, ResponseError, TransactionTimeout, TransportError) unless a pattern asks for it; the
        ending of the leg that our group is bound to; UnexpectedMessage if the leg is strict; WrongThread.
        """
        watch = Watch(self, compile_patterns(patterns))
        wait_on((watch,), timeout)
        return watch.event

    def wait_ended(self, timeout: float | None = None) -> Any:
        """Block until the leg is over, whatever the reason, and return its last event (``.error`` says why).

        ``timeout`` in seconds.  Raises WaitTimeout, and what ends the group; never the leg's own ending.
        """
        watch = Watch(self, ENDED)
        watch.strict = False
        wait_on((watch,), timeout)
        return watch.event

    def on(self, *patterns: Pattern) -> Watch:
        """Patterns on this leg, to be given to ``wait_any``."""
        return Watch(self, compile_patterns(patterns))

    def check(self) -> None:
        """Raise what a wait would raise now: WrongThread, the leg's ending, that of its group.  Does not block."""
        if thread_ident() != self._engine.thread:
            raise wrong_thread()
        if self._ending is not None:
            raise fresh(self._ending.error)
        if self._group is not None:
            self._check_group()

    def _check_group(self, watches: Sequence[Watch] = ()) -> None:
        """Raise the ending of the leg on which this one depends, unless it is waited for itself."""
        group = self._group
        while group is not None:
            leg = group.leg
            if leg is None:
                return
            ending = leg._ending
            if ending is not None and not isinstance(ending.error, LocalHangup) and not (
                    len(watches) > 1 and any(watch.leg is leg for watch in watches)):
                raise fresh(ending.error)
            group = leg._group

    def _seen_text(self) -> str:
        """``no 200 ... from sip:bob@... (seen 100, 180 at +0.4 s)``, without the time that was waited."""
        history = self._history
        shown: list[str] = []
        for index in range(0, len(history), 2):
            label, at = history[index], f'{history[index + 1] - self._since:.1f}'
            last = index + 2 >= len(history) or f'{history[index + 3] - self._since:.1f}' != at
            shown.append(f'{label} at +{at} s' if last else str(label))
        seen = f'seen {", ".join(shown)}' if shown else 'nothing seen'
        return f'from {self.peer_name} ({seen})'

    # -- scope

    def __enter__(self) -> Self:
        self._owned = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        left = None
        if kind is None or error is None:
            if self._strict:
                left = self._left_over()
            self.close()
        else:
            self.abort(error)
        self._end_tasks()
        if left is not None:
            raise UnexpectedMessage(f'{left.label} from {self.peer_name}, which nobody has waited for')

    def _left_over(self) -> Any:
        """What a strict script has not waited for, if there is anything."""
        return next((event for event in self._events if event is not self._ending and not self._tolerates(event)), None)

    def spawn(self, fn: Callable[..., Any], *args: Any) -> gevent.Greenlet[..., Any]:
        """Run ``fn(leg, *args)`` in a greenlet of its own, and return that.  Does not block.

        For a leg that came from ``accept()`` and that nobody has entered, ``fn`` becomes its handler: the leg is closed
        when ``fn`` returns, raises or is killed.  Otherwise ``fn`` runs at its side, and is killed when the leg's scope
        ends.  A deadline around the call holds at its side, not in a handler.  Raises WrongThread.
        """
        if thread_ident() != self._engine.thread:
            raise wrong_thread()
        if not self._owned and self._needs_owner():
            self._owned = True
            return gevent.spawn(self.handle, fn, *args)
        tasks = self._tasks = [task for task in self._tasks or () if not task.dead]
        task = gevent.spawn(self._accompany, current_deadline(), fn, args)
        tasks.append(task)
        return task

    def _needs_owner(self) -> bool:
        return False

    def handle(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call ``fn(leg, *args)`` as the handler of this leg, and return what it returns.  Blocks as long as that
        takes.

        The leg is closed behind it.  That the leg ended is no failure of a handler; any other exception is logged with
        its traceback and stops here.
        """
        try:
            with self:
                return fn(self, *args) if args else fn(self)
        except Exception as error:
            if self._explains(error):
                log.debug('= %r: its handler ended: %s', self, error)
            else:
                log.exception('! the handler of %r failed', self)
        return None

    def _explains(self, error: Exception) -> bool:
        """Whether ``error`` only says that a leg is over: any LegEnded, and what this one ended with."""
        if isinstance(error, LegEnded):
            return True
        own = self._ending.error if self._ending is not None else None
        return type(error) is type(own) and error.args == own.args

    def _accompany(self, budget: deadline | None, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            if budget is None:
                return fn(self, *args)
            with inherited(budget):
                return fn(self, *args)
        except Exception as error:
            if self._explains(error):
                # The usual way for something at the side of a call to end.
                return None
            raise

    def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, None
        for task in tasks or ():
            if task is not gevent.getcurrent():
                task.kill(block=False)


ENDED: Final = compile_patterns(('ended',))


def after(seconds: float) -> After:
    """A source for ``wait_any`` that fires after so many seconds."""
    return After(seconds)


def wait_any(*sources: Watch | After | Proxy, timeout: float | None = None) -> Any:
    """Block until one of ``sources`` fires, and return its event; the other legs' cursors stay where they are.

    A source is ``leg.on('BYE')`` or ``after(20)``.  The event's ``leg`` tells whose it is (None for ``after``), and
    the source that fired has it as ``source.event``.  Raises WaitTimeout after ``timeout`` seconds, and whatever
    ``wait_for`` raises: the unasked-for ending of one of the legs above all.
    """
    for source in sources:
        if isinstance(source, Proxy):
            return run_in_hub(source._engine, _wait_any, (sources, timeout), {})
    return _wait_any(sources, timeout)


def _wait_any(sources: Sequence[object], timeout: float | None) -> Any:
    watches = tuple(source for source in sources if isinstance(source, Watch))
    timers = tuple(source for source in sources if isinstance(source, After))
    if len(watches) + len(timers) < len(sources):
        raise UsageError("wait_any takes what leg.on('BYE') and after(20) give")
    if not sources:
        raise UsageError('wait for what? Give at least one source')
    for watch in watches:
        watch.event = None
    for timer in timers:
        timer.event = None
    found = wait_on(watches, timeout, timers)
    return found.event if found is not None else None


def wait_watches(watches: list[Watch], timeout: float | None, errors: list[Exception]) -> Watch | None:
    """Block until one of ``watches`` fires, and return it.  One whose leg ends is taken out, and its error appended to
    ``errors``; None when none is left.  Raises WaitTimeout, and what ends the group of the legs."""
    found = wait_on(watches, timeout, (), errors)
    return found if isinstance(found, Watch) else None


def _poll(watches: Sequence[Watch], errors: list[Exception] | None) -> Watch | None:
    """The first that fires.  With ``errors`` an ending only takes its watch out of the (then mutable) list."""
    if errors is None:
        for watch in watches:
            if watch.poll():
                return watch
        return None
    living = cast('list[Watch]', watches)
    for candidate in tuple(living):
        try:
            if candidate.poll():
                return candidate
        except Exception as error:
            if not candidate.leg.ended:
                raise
            errors.append(error)
            living.remove(candidate)
    return None


def _interrupt(watches: Sequence[Watch], leg: Mailbox, errors: list[Exception] | None) -> Watch | None:
    """Somebody hung up ``leg`` while it was waited for: an ending like any other, though the peer has yet to agree."""
    for watch in tuple(watches):
        if watch.leg is not leg or leg.ended:
            continue
        error = leg._farewell()
        notice = Notice('ended', time=leg._engine.clock.now(), leg=leg, error=error)
        if watch.matcher.matches(notice):
            watch.event = notice
            return watch
        if errors is None:
            raise error
        errors.append(error)
        cast('list[Watch]', watches).remove(watch)
    return None


def wait_on(watches: Sequence[Watch], timeout: float | None, timers: tuple[After, ...] = (),
            errors: list[Exception] | None = None, asked: float | None = None) -> Watch | After | None:
    """Block until one of them fires, and return which.  The one place where greenlets are parked.

    With ``errors`` a leg's ending takes its watch out of ``watches`` and goes there; None when no watch is left.
    ``asked``: the time-out of which ``timeout`` is what is left, for the text of a WaitTimeout.
    """
    engine = watches[0].leg._engine if watches else sole_engine('wait_any(after(...))')
    if thread_ident() != engine.thread:
        raise wrong_thread()
    for watch in watches:
        watch.position = 0
        if watch.leg._group is not None:
            watch.leg._check_group(watches)
    found = _poll(watches, errors)
    if found is not None or not (watches or timers):
        return found

    # How long at most: our own time-out, the deadline, the first of the timers.
    left = timeout
    budget = current_deadline()
    if budget is not None:
        budget = budget.tightest()
        until = budget.at_remaining()
        if left is None or until < left:
            left = until
        else:
            budget = None
    timer: After | None = None
    for candidate in timers:
        if candidate.at is None:
            candidate.at = engine.clock.now() + candidate.seconds
        until = candidate.at - engine.clock.now()
        if left is None or until <= left:
            left, timer = until, candidate

    gate = Gate(engine)
    handle: TimerHandle | None = None
    expired = left is not None and left <= 0
    places: list[tuple[list[tuple[Matcher, Gate]], tuple[Matcher, Gate]]] = []
    try:
        if not expired:
            for watch in watches:
                leg = watch.leg
                places.append((leg._gates, (watch.matcher, gate)))
                group = leg._group
                while group is not None and group.leg is not None:
                    places.append((group.leg._gates, (NOTHING, gate)))
                    group = group.leg._group
            for gates, entry in places:
                gates.append(entry)
            if left is not None and left != NEVER:
                handle = engine.clock.timer(left, gate.expire)
        while not expired:
            gate.park()
            for watch in watches:
                if watch.leg._group is not None:
                    watch.leg._check_group(watches)
            found = _poll(watches, errors)
            if found is None and gate.interrupted is not None:
                found = _interrupt(watches, gate.interrupted, errors)
                gate.interrupted = None
            if found is not None or not (watches or timers):
                return found
            expired = gate.expired
    finally:
        if handle is not None:
            handle.cancel()
        for gates, entry in places:
            gates.remove(entry)
    if timer is not None:
        timer.event = Notice('after', time=engine.clock.now())
        return timer
    limit = (f'before the deadline of {budget.seconds:g} s' if budget is not None
             else f'within {timeout if asked is None else asked:g} s')
    raise WaitTimeout('; '.join(
        f'no {watch.matcher.text} {limit} {watch.leg._seen_text()}' for watch in watches if watch.matcher is not
        NOTHING) or f'nothing came {limit}')

