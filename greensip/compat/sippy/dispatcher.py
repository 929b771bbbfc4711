"""The event loop of sippy, ``ED2``, on a gevent hub.

sippy's own loop sleeps in C until the next tick of 10 ms.  Ours is a greenlet, the one that called ``loop()``, parked
in the hub; it is woken by what there is to do: a timer that is due, a datagram, a call from a thread, a signal.  So it
sleeps as long as there is nothing, and other greenlets run meanwhile.

What sippy promises its callbacks holds: they run one after the other, to their end, all in the greenlet that called
``loop()``.  A callback that blocks in the gevent way (a patched socket, ``gevent.sleep``) holds up the other callbacks
of sippy and nothing else.

Who may wake the loop, and how.  ``_asleep`` is set before the loop looks for work a last time and parks; whoever brings
work adds it first and looks at ``_asleep`` then.  One of the two sees the other, without a lock, and so a signal
handler may bring work too.  In the hub ``_wake`` switches to the loop; everywhere else an async watcher is sent to,
which is safe in any thread and in a handler.

A signal that comes just before the hub goes to sleep, or that another thread of the process takes, does not end that
sleep, and Python's handlers run in the main thread only: so the octet that Python writes for each signal wakes the hub.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify
from typing import Any

import gevent
from gevent import getcurrent, monkey
from gevent.event import Event
from greenlet import GreenletExit
from sippy.Core.EventDispatcher import EventDispatcher2
from sippy.Core.Exceptions import dump_exception
from sippy.Time.MonoTime import MonoTime

from greensip.errors import UsageError, WrongState, WrongThread

from .natives import allocate_lock, get_ident

__all__ = ['Dispatcher', 'Ticks', 'check_patches']

#: a sleep of this many seconds is cut by a thousandth: sippy's clock is not slewed by NTP, the hub's is
LONG = 2.0

#: the clock of MonoTime
RAW = getattr(time, 'CLOCK_MONOTONIC_RAW', time.CLOCK_MONOTONIC)

Call = tuple[Callable[..., Any], tuple[Any, ...]]


def check_patches() -> None:
    """Raise UsageError if gevent has patched the sockets and left the threads alone."""
    if monkey.is_module_patched('socket') and not monkey.is_module_patched('threading'):
        raise UsageError('gevent.monkey.patch_all(thread=False) and sippy do not go together: its threads share '
                         'sockets, and a patched socket belongs to the hub of one thread; patch everything or nothing')


class Ticks:
    """Stands for the ``ElPeriodic`` that ``ED2.elp`` was: there are no ticks any more, calls from threads go to us."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.count = len(dispatcher.bands)

    def call_from_thread(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """As ``ED2.callFromThread``."""
        self.dispatcher.callFromThread(lambda: handler(*args, **kwargs))

    def addband(self, freq_hz: float) -> int:
        """The number of another band."""
        self.count += 1
        return self.count - 1

    def useband(self, bandnum: int) -> None:
        """Does nothing: timers are on time whatever the frequency."""

    def set_epoch(self, dtime: float) -> None:
        """Does nothing."""

    def procrastinate(self) -> None:
        """Let the other greenlets run."""
        gevent.sleep(0)


class Dispatcher(EventDispatcher2):   # type: ignore[misc]
    """What ``ED2`` becomes, by a change of its class: the object stays, whoever holds it."""

    def adopt(self) -> None:
        """Called once, after the change of class."""
        #: calls from threads and datagrams, in the order of their arrival
        self._calls: deque[Call] = deque()
        self._exception: BaseException | None = None
        #: whether the loop is parked in the hub, or about to be
        self._asleep = False
        #: the thread of the loop
        self.my_ident: int = get_ident()
        #: the greenlet that runs loop(), None if none does
        self._greenlet: Any = None
        self._hub: Any = None
        self._async: Any = None
        self._timer: Any = None
        self._armed = 0.0
        #: what notices signals in the sleep of the hub, and the pipe that it reads
        self._notice: Any = None
        self._pipe: tuple[int, int] | None = None
        #: the sockets of all servers
        self.receivers: dict[Any, None] = {}
        #: those that are not read until the calls that wait have been made
        self.held: list[Any] = []

    # -- work that is brought

    def callFromThread(self, thread_cb: Callable[..., Any], *cb_params: Any) -> None:
        """Call ``thread_cb(*cb_params)`` in the loop, after what was brought before.

        For every thread, greenlet, callback and signal handler, also while no loop runs.  Never blocks.
        """
        self._calls.append((thread_cb, cb_params))
        if self._asleep:
            self._async.send()

    def callFromThreadSync(self, thread_cb: Callable[..., Any], *cb_params: Any) -> Any:
        """Call ``thread_cb(*cb_params)`` in the loop; what it returns or raises.

        Blocks the calling thread, or greenlet, until then.  Where sippy's own would wait for ever, in the loop itself
        or before it in the same thread, it is a plain call.
        """
        wait: Callable[..., Any]
        if get_ident() != self.my_ident:
            lock = allocate_lock()
            lock.acquire()
            wait, done = lock.acquire, lock.release
        elif getcurrent() is self._greenlet or (self._greenlet is None and getcurrent().parent is None):
            return thread_cb(*cb_params)
        else:
            event = Event()
            wait, done = event.wait, event.set
        answer: list[Any] = []
        self.callFromThread(self._answer, answer, done, thread_cb, cb_params)
        wait()
        value, error = answer
        if error is not None:
            raise error
        return value

    def _answer(self, answer: list[Any], done: Callable[[], object], call: Callable[..., Any],
                args: tuple[Any, ...]) -> None:
        try:
            answer[:] = call(*args), None
        except BaseException as error:
            answer[:] = None, error
        done()

    def dispatchThreadCallback(self, thread_cb: Callable[..., Any], cb_params: tuple[Any, ...]) -> None:
        """Make one call; what it raises is dumped, or kept for the end of the pass if it is to end the loop."""
        try:
            thread_cb(*cb_params)
        except (SystemExit, KeyboardInterrupt, GreenletExit) as error:
            self._exception = error
        except BaseException:
            dump_exception('EventDispatcher2: unhandled exception when processing from-thread-call')

    def signal(self, signum: int, frame: Any) -> None:
        """The handler of the signals of ``regSignal``."""
        self.signals_pending.append(signum)
        if self._asleep:
            self._async.send()

    def breakLoop(self, rval: Any = 0) -> None:
        """Let ``loop()`` return ``rval``.  From any thread."""
        self.el_rval = rval
        self.endloop = True
        if self._asleep:
            self._async.send()

    def enter(self, call: Callable[..., Any], *args: Any) -> None:
        """Make a call that must not block in the thread of the loop: now if this is it, else in the hub."""
        if get_ident() == self.my_ident:
            call(*args)
        else:
            self._hub.loop.run_callback_threadsafe(call, *args)

    # -- the loop

    def loop(self, timeout: float | None = None, freq: float | None = None) -> Any:
        """Run callbacks until ``breakLoop()`` or for ``timeout`` seconds; the value given to the last ``breakLoop()``.

        ``freq`` moves a band to the front of ``bands`` and has no other effect.  A callback may call it again: ending
        the inner loop ends the outer one.  Raises WrongState or WrongThread if another greenlet or thread runs it.
        """
        if freq is not None and self.bands[0][0] != freq:
            band = next((band for band in self.bands if band[0] == freq), None)
            if band is None:
                band = (freq, self.elp.addband(freq))
            else:
                self.bands.remove(band)
            self.bands.insert(0, band)
        outermost = self._begin()
        try:
            self.endloop = False
            self.last_ts = MonoTime()
            self._dispatch(None if timeout is None else self.last_ts.getOffsetCopy(timeout))
        finally:
            if outermost:
                self._end()
        return self.el_rval

    def _begin(self) -> bool:
        """Make this greenlet the one that runs the loop; whether it was not already."""
        current = getcurrent()
        if self._greenlet is not None:
            if get_ident() != self.my_ident:
                raise WrongThread('ED2.loop() runs in another thread')
            if self._greenlet is not current:
                raise WrongState('ED2.loop() runs in another greenlet')
            return False
        check_patches()
        hub = gevent.get_hub()
        if current is hub:
            raise WrongState('ED2.loop() cannot run in the hub itself')
        if self._hub is not hub:
            self._hub = hub
            self._async = hub.loop.async_()
        # Started, it keeps the hub from believing that nothing can ever happen.
        self._async.start(self._wake)
        self._greenlet = current
        self.my_ident = get_ident()
        # Ctrl-C leaves loop() as an exception; the hub need not print it as well.
        hub.NOT_ERROR = (*type(hub).NOT_ERROR, KeyboardInterrupt)
        self._notice_signals()
        for receiver in list(self.receivers):
            receiver.watch(hub)
        return True

    def _end(self) -> None:
        self._greenlet = None
        for receiver in list(self.receivers):
            receiver.unwatch()
        self._disarm()
        self._async.stop()
        self._hub.NOT_ERROR = type(self._hub).NOT_ERROR
        self._leave_signals()

    def _notice_signals(self) -> None:
        """Have each signal wake the hub, if this is the main thread and the program does not do so itself."""
        self._pipe = reader, writer = os.pipe()
        os.set_blocking(reader, False)   # libev may report what was there for the same number before
        os.set_blocking(writer, False)
        try:
            before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        except ValueError:
            self._leave_signals()   # handlers run in the main thread, and it is not this one
            return
        if before != -1:
            signal.set_wakeup_fd(before)
            self._leave_signals()
            return
        self._notice = self._hub.loop.io(reader, 1)
        self._notice.start(self._noticed)

    def _noticed(self) -> None:
        """A signal has come; its handler runs here, as in any other callback, so what is read tells nothing more."""
        if self._pipe is not None:
            with suppress(BlockingIOError):
                os.read(self._pipe[0], 4096)

    def _leave_signals(self) -> None:
        if self._notice is not None:
            self._notice.stop()
            self._notice.close()
            self._notice = None
            # Somebody may have taken the place meanwhile.
            found = signal.set_wakeup_fd(-1)
            if self._pipe is None or found != self._pipe[1]:
                signal.set_wakeup_fd(found)
        if self._pipe is not None:
            for descriptor in self._pipe:
                os.close(descriptor)
            self._pipe = None

    def _dispatch(self, until: Any) -> None:
        while True:
            if self.signals_pending:
                self.dispatchSignals()
            if self.endloop:
                return
            self.dispatchTimers()
            if self.endloop:
                return
            if self.twasted * 2 > len(self.tlisteners):
                self._forget_cancelled()
            if until is not None and self.last_ts > until:
                return
            self._pause(until)
            self._make_calls()
            self.last_ts = MonoTime()
            if self._exception is not None:
                error, self._exception = self._exception, None
                raise error

    def _forget_cancelled(self) -> None:
        # In place: somebody may hold the list.
        self.tlisteners[:] = [listener for listener in self.tlisteners if listener.cb_func is not None]
        heapify(self.tlisteners)
        self.twasted = 0

    def _make_calls(self) -> None:
        """Make the calls that are due, and those that they bring about; what these bring waits for the next pass."""
        calls = self._calls
        for _ in range(2):
            for _ in range(len(calls)):
                if not calls:
                    return   # a loop() within one of them made the rest
                self.dispatchThreadCallback(*calls.popleft())

    # -- sleeping

    def _pause(self, until: Any) -> None:
        """Park until there is something to do; at least let the hub have a look at its sockets."""
        deadline = None if until is None else until.monot
        if self.tlisteners:
            first = self.tlisteners[0].etime.monot
            if deadline is None or first < deadline:
                deadline = first
        if self.held:
            held, self.held = self.held, []
            for receiver in held:
                receiver.watch(self._hub)
        self._asleep = True
        try:
            if self._calls or self.signals_pending or self.endloop:
                self._poll()
            elif deadline is not None:
                delay = deadline - time.clock_gettime(RAW)
                if delay > 0.0:
                    self._arm(deadline, delay)
                else:
                    self._poll()
            else:
                self._disarm()
            self._hub.switch()
        finally:
            self._asleep = False

    def _poll(self) -> None:
        """Something is due already: read what waits at the sockets, let other greenlets run, and wake up."""
        for receiver in list(self.receivers):
            receiver.read()
        self._hub.loop.run_callback(self._wake)

    def _arm(self, deadline: float, delay: float) -> None:
        """Have the hub wake us at ``deadline``, or a little earlier."""
        if self._timer is not None:
            if self._armed <= deadline:
                return   # for a timer that was cancelled: to wake once too often is cheaper than to set it anew
            self._disarm()
        if delay > LONG:
            cut = delay / 1000.0
            delay -= cut
            deadline -= cut
        self._armed = deadline
        self._timer = self._hub.loop.timer(delay)
        self._timer.start(self._ring, update=True)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _ring(self) -> None:
        """The timer of the hub has fired."""
        self._disarm()
        self._wake()

    def _wake(self) -> None:
        """Switch to the loop if it is parked.  In the hub only."""
        if self._asleep:
            self._asleep = False
            self._greenlet.switch()

    # -- beyond sippy

    def run_in_greenlet(self, function: Callable[..., Any], *args: Any) -> gevent.Greenlet[..., Any]:
        """Start ``function(*args)`` in a greenlet beside the loop, where it may block; the greenlet.

        For callbacks of sippy that go on in the linear style.  There it comes back with ``callFromThread`` (later) or
        ``call_in_loop`` (and waits).  Raises WrongThread in a thread other than the loop's.
        """
        if get_ident() != self.my_ident:
            raise WrongThread('greenlets start in the thread of ED2.loop(): '
                              'use ED2.callFromThread(ED2.run_in_greenlet, function)')
        return gevent.spawn(function, *args)

    #: what it does when called from a greenlet of the same hub is not bound to threads, so it has a name without them
    call_in_loop = callFromThreadSync
