"""What a program may rely on in sippy's event loop, timers, signals and UDP servers: a statement each, as a check.

Run as a program, with ``stock``, ``shim`` or ``patched`` (the shim after ``gevent.monkey.patch_all()``), it makes every
check in a child process of its own and prints the outcomes; ``test_statements.py`` compares them.  The statements are
those of sippy 2.5.0; where the shim is meant to do better, the check says what it gives there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import types

# Those of the system, also with gevent's patches: theirs need the hub to run.
from _thread import get_ident as system_get_ident
from _thread import start_new_thread as system_thread
from collections.abc import Callable, Iterator
from itertools import pairwise
from os import close, fork, waitpid
from time import sleep as system_sleep
from typing import Any, NamedTuple

#: seconds after which a check that does not end is ended
PATIENCE = 8


class Check(NamedTuple):
    """A statement: the function that tries it, and what comes out."""

    function: Callable[[], Any]
    #: with sippy as it is
    stock: str
    #: with the shim
    shim: str
    #: with the shim, where threads are greenlets
    patched: str


#: sippy's outcome is left open
OPEN = 'open'
NEVER = 'does not end'

CHECKS: dict[str, Check] = {}


def check(stock: Any, *, shim: Any = None, patched: Any = None) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """A function whose outcome is ``stock``, or ``shim`` where that is meant to do better."""
    def register(function: Callable[[], Any]) -> Callable[[], Any]:
        outcomes = [stock if stock in (OPEN, NEVER) else repr(stock)]
        for other in (shim, patched):
            outcomes.append(outcomes[-1] if other is None else repr(other))
        CHECKS[function.__name__] = Check(function, *outcomes)
        return function
    return register


if __name__ == '__main__':
    if sys.argv[1] == 'patched':
        from gevent import monkey
        monkey.patch_all()
    if sys.argv[1] != 'stock':
        import greensip.compat.sippy  # noqa: F401
    from sippy import SipConf, Udp_server
    from sippy.Core import EventDispatcher
    from sippy.Core.EventDispatcher import ED2, EventDispatcher2, EventListener
    from sippy.Core.Exceptions import StdException
    from sippy.Network_server import PortAllocationError, Remote_address, RTP_port_allocator
    from sippy.Signal import LogSignal, Signal
    from sippy.Time import Timeout as timeouts
    from sippy.Time import clock_dtime
    from sippy.Time.MonoTime import MonoTime
    from sippy.Time.Timeout import Timeout, TimeoutAbsMono, TimeoutInact


# -- what checks are made with

def spin(seconds: float) -> None:
    """Hold up the loop."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def printed() -> str:
    """What went to the standard output that the process began with."""
    sys.__stdout__.flush()
    with open('/proc/self/fd/1', encoding='utf-8') as file:
        return file.read()


def raised(function: Callable[..., Any], *args: Any, **options: Any) -> str | None:
    """The name of what a call raises."""
    try:
        function(*args, **options)
    except BaseException as error:
        return type(error).__name__
    return None


def fail(error: type[BaseException] = ValueError) -> None:
    raise error('on purpose')


def in_thread(function: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def signal_later(number: int) -> None:
    """Have another process send us a signal, when the loop has gone to sleep."""
    receiver = os.getpid()
    if not fork():
        time.sleep(0.03)
        os.kill(receiver, number)
        os._exit(0)


def end_soon(seconds: float = 0.05, value: Any = 0) -> None:
    """End the loop after this time and some rounds more: what is late on a busy machine has come by then as well."""
    def end(rounds: int) -> None:
        if rounds:
            Timeout(end, 0.005, 1, rounds - 1)
        else:
            ED2.breakLoop(value)
    Timeout(end, seconds, 1, 3)


# -- timers

@check(True)
def the_names_exist() -> Any:
    names = ('ED2', 'EventDispatcher2', 'EventListener', 'Singleton')
    return all(hasattr(EventDispatcher, name) for name in names) and isinstance(ED2, EventDispatcher2)


@check([])
def the_attributes_exist() -> Any:
    wanted = ('tlisteners', 'slisteners', 'signals_pending', 'endloop', 'el_rval', 'twasted', 'last_ts', 'my_ident',
              'elp', 'bands', '_exception', 'tloc_data', 'state_lock', 'tcbs_lock', 'ed_inum')
    return [name for name in wanted if not hasattr(ED2, name)]


@check(('StdException', True, 1))
def there_is_one_dispatcher() -> Any:
    try:
        EventDispatcher2()
    except StdException as error:
        return type(error).__name__, 'singleton' in str(error), ED2.ed_inum


@check((True, True, True, True))
def whoever_took_it_by_value_has_the_same_one() -> Any:
    from sippy import SipTransactionManager
    return (timeouts.ED2 is ED2, Udp_server.ED2 is ED2, SipTransactionManager.Timeout is Timeout,
            EventDispatcher.ED2 is ED2)


@check((0, 0))
def a_registered_timer_is_inactive() -> Any:
    fired: list[int] = []
    ED2.regTimer(fired.append, 0.0, 1, False, 1)
    waiting = len(ED2.tlisteners)
    ED2.loop(0.03)
    return waiting, len(fired)


@check((None, 'AttributeError'))
def no_ticks_no_timer() -> Any:
    return ED2.regTimer(print, 1.0, 0), raised(Timeout, print, 1.0, 0)


@check(('TypeError', 'TypeError', None))
def an_absolute_time_is_a_monotime() -> Any:
    return (raised(ED2.regTimer, print, 1.0, 1, True), raised(TimeoutAbsMono, print, 1.0),
            raised(TimeoutAbsMono, print, MonoTime()))


@check(True)
def registering_sets_last_ts() -> Any:
    before = ED2.last_ts
    listener = ED2.regTimer(print, 1.0)
    return ED2.last_ts is not before and ED2.last_ts == listener.itime and ED2.last_ts is not listener.itime


@check((True, ['late']))
def a_timer_counts_from_its_creation() -> Any:
    fired: list[str] = []
    listener = TimeoutInact(fired.append, 0.04, 1, 'late')
    spin(0.06)
    listener.go()
    past = listener.etime < MonoTime()
    end_soon(0.0)
    ED2.loop()
    return past, fired


@check((True, True, ['fired']), patched=(False, False, ['fired']))
def a_timer_started_in_another_thread_is_frowned_upon() -> Any:
    fired: list[str] = []

    def meddle() -> None:
        listener = ED2.regTimer(fired.append, 0.0, 1, False, 'fired')
        listener.go()
        ED2.callFromThread(ED2.breakLoop)

    Timeout(lambda: in_thread(meddle), 0.01, 1)
    ED2.loop()
    end_soon(0.02)
    ED2.loop()
    return 'wrong thread' in printed(), 'in meddle' in printed(), fired


@check((None, None, None, None, ['a']))
def cancelling_is_idempotent() -> Any:
    fired: list[str] = []
    listener = Timeout(fired.append, 0.0, 1, 'a')
    never = Timeout(fired.append, 0.01, 1, 'b')
    outcome = [raised(never.cancel), raised(never.cancel)]
    end_soon(0.03)
    ED2.loop()
    return (*outcome, raised(listener.cancel), raised(listener.cancel), fired)


@check((['once'], [], 'ok'))
def a_timer_may_be_cancelled_in_its_own_callback() -> Any:
    fired: list[str] = []

    def once() -> None:
        fired.append('once')
        listener.cancel()

    listener = Timeout(once, 0.01, -1)
    end_soon(0.06)
    ED2.loop()
    return fired, [each for each in ED2.tlisteners if each.cb_func is not None], 'dumped' if printed() else 'ok'


@check(['first'])
def a_timer_cancelled_by_another_of_the_same_pass_does_not_fire() -> Any:
    fired: list[str] = []
    now = MonoTime()

    def first() -> None:
        fired.append('first')
        second.cancel()

    TimeoutAbsMono(first, now.getOffsetCopy(0.010))
    second = TimeoutAbsMono(fired.append, now.getOffsetCopy(0.011), 'second')
    spin(0.02)
    end_soon(0.02)
    ED2.loop()
    return fired


@check((None, None, None, None, None))
def cleaning_up_lets_go_of_everything() -> Any:
    listener = TimeoutInact(print, 1.0, 1, 'x')
    listener.spread_runs(0.1)
    listener.cleanup()
    return listener.cb_func, listener.cb_params, listener.cb_kw_args, listener.ed, listener.randomize_runs


@check((True, True, True))
def runs_are_spread() -> Any:
    spread = EventListener().get_randomizer(0.1)
    values = [spread(100.0) for _ in range(1000)]
    listener = TimeoutInact(print, 100.0)
    listener.spread_runs(0.1)
    listener.go()
    return 90.0 <= min(values) < 92.0, 108.0 < max(values) <= 110.0, 90.0 <= listener.etime - listener.itime <= 110.0


@check((True, False, False, 'AttributeError'))
def listeners_are_ordered_by_time() -> Any:
    early, late = TimeoutInact(print, 1.0), TimeoutInact(print, 2.0)
    early.go()
    late.go()
    same = TimeoutInact(print, 1.0)
    same.etime = early.etime.getCopy()
    return early < late, late < early, early < same, raised(lambda: early < TimeoutInact(print, 1.0))


@check((True, True, None, ()))
def the_time_of_a_timer_survives_it() -> Any:
    listener = Timeout(lambda: None, 0.01)
    due = listener.itime.getOffsetCopy(0.01)
    end_soon(0.02)
    ED2.loop()
    return listener.etime == due, isinstance(listener.etime.realt, float), listener.cb_func, listener.cb_params or ()


@check((0.04, 0.03, 0.03))
def an_interval_may_be_changed() -> Any:
    due: list[float] = []   # of the time after this one: it is set before the callback

    def fired() -> None:
        due.append(listener.etime.monot)
        listener.ival = 0.03

    listener = Timeout(fired, 0.02, -1)
    due.append(listener.itime.monot)
    ED2.loop(0.15)
    return tuple(round(after - before, 6) for before, after in pairwise(due[:4]))


@check((True, 'x'))
def a_callback_may_ask_for_the_time() -> Any:
    got: list[Any] = []
    listener = TimeoutInact(lambda *args: got.extend((args, ED2.last_ts)), 0.0, 1, 'x')
    listener.cb_with_ts = True
    listener.go()
    end_soon(0.02)
    ED2.loop()
    return got[0][0] is got[1], got[0][1]


@check((None, 1, True))
def an_absolute_timer_keeps_no_interval() -> Any:
    when = MonoTime()
    listener = TimeoutAbsMono(print, when)
    return listener.ival, listener.nticks, listener.etime is when


@check((3, True, 0))
def ticks_are_counted() -> Any:
    three: list[int] = []
    endless: list[int] = []
    Timeout(three.append, 0.01, 3, 1)
    Timeout(endless.append, 0.01, -1, 1).cb_params = (1,)
    ED2.loop(0.15)
    armed = [each for each in ED2.tlisteners if each.cb_func is not None]
    return len(three), len(endless) > 5, len(armed) - 1


@check([0.02] * 5)
def a_periodic_timer_does_not_drift() -> Any:
    due: list[float] = []

    def fired() -> None:
        due.append(listener.etime.monot)
        spin(0.004)

    listener = Timeout(fired, 0.02, -1)
    ED2.loop(0.2)
    return [round(after - before, 6) for before, after in pairwise(due[:6])]


@check((True, True))
def missed_periods_come_in_a_burst() -> Any:
    passes: list[Any] = []
    Timeout(lambda: passes.append(ED2.last_ts), 0.015, -1)
    Timeout(lambda: spin(0.15), 0.001)
    ED2.loop(0.22)
    most = max(sum(each is other for other in passes) for each in passes)
    return most >= 9, len(passes) > 10


@check(['zero', 'negative', 'zero'])
def an_interval_of_nothing_is_due_at_once() -> Any:
    order: list[str] = []

    def zero() -> None:
        order.append('zero')
        if len(order) == 1:
            Timeout(order.append, -1.0, 1, 'negative')
            Timeout(zero, 0.0)
        else:
            end_soon(0.01)

    Timeout(zero, 0)
    ED2.loop()
    return order


@check((True, True))
def a_periodic_timer_is_armed_again_before_its_callback() -> Any:
    seen: list[bool] = []

    def fired() -> None:
        seen.extend((listener in ED2.tlisteners, listener.etime.monot > first))
        ED2.breakLoop()

    listener = Timeout(fired, 0.01, -1)
    first = listener.etime.monot
    ED2.loop()
    return tuple(seen)


@check(['first', 'second', 'third'])
def timers_fire_in_the_order_of_their_times() -> Any:
    order: list[str] = []
    now = MonoTime()
    for offset, name in ((0.03, 'third'), (0.01, 'first'), (0.02, 'second')):
        TimeoutAbsMono(order.append, now.getOffsetCopy(offset), name)
    spin(0.04)
    end_soon(0.02)
    ED2.loop()
    return order


@check((51, 0))
def cancelled_timers_are_swept_out() -> Any:
    timers = [Timeout(print, 100.0) for _ in range(150)]
    for timer in timers[:100]:
        timer.cancel()
    Timeout(lambda: None, 0.01, -1)
    ED2.loop(0.02)
    return len(ED2.tlisteners), ED2.twasted


# -- exceptions

@check((['timer', 'call'], True, True, True, ''))
def an_exception_is_dumped_and_the_loop_lives() -> Any:
    class Elsewhere:
        text = ''

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    sys.stdout = elsewhere = Elsewhere()  # type: ignore[assignment]
    lived: list[str] = []
    Timeout(fail, 0.0)
    ED2.regSignal(signal.SIGUSR1, fail)
    ED2.callFromThread(fail)
    Timeout(os.kill, 0.01, 1, os.getpid(), signal.SIGUSR1)
    Timeout(lived.append, 0.03, 1, 'timer')
    Timeout(ED2.callFromThread, 0.04, 1, lived.append, 'call')
    Timeout(ED2.callFromThread, 0.05, 1, ED2.breakLoop)
    ED2.loop()
    text = printed()
    return (lived, text.count('ValueError: on purpose') == 3,
            'EventDispatcher2: unhandled exception when processing timeout event' in text,
            'EventDispatcher2: unhandled exception when processing from-thread-call' in text
            and 'EventDispatcher2: unhandled exception when processing signal event' in text, elsewhere.text)


@check(('SystemExit', ['before'], ['before', 'after'], None))
def sys_exit_in_a_timer_leaves_the_loop() -> Any:
    order: list[str] = []
    now = MonoTime()
    TimeoutAbsMono(order.append, now.getOffsetCopy(0.010), 'before')
    TimeoutAbsMono(fail, now.getOffsetCopy(0.011), SystemExit)
    TimeoutAbsMono(order.append, now.getOffsetCopy(0.012), 'after')
    spin(0.02)
    outcome = raised(ED2.loop)
    then = list(order)
    return outcome, then, order if raised(ED2.loop, 0.02) is None else None, ED2._exception


@check('KeyboardInterrupt')
def an_interrupt_in_a_timer_leaves_the_loop() -> Any:
    Timeout(fail, 0.0, 1, KeyboardInterrupt)
    return raised(ED2.loop)


@check(('SystemExit', ['before', 'after'], None))
def sys_exit_in_a_call_leaves_the_loop_when_the_others_are_made() -> Any:
    order: list[str] = []
    ED2.callFromThread(order.append, 'before')
    ED2.callFromThread(fail, SystemExit)
    ED2.callFromThread(order.append, 'after')
    return raised(ED2.loop), order, ED2._exception


@check(('KeyboardInterrupt', ['after']))
def an_interrupt_in_a_call_leaves_the_loop_when_the_others_are_made() -> Any:
    order: list[str] = []
    ED2.callFromThread(fail, KeyboardInterrupt)
    ED2.callFromThread(order.append, 'after')
    return raised(ED2.loop), order


@check('SystemExit')
def sys_exit_in_a_signal_leaves_the_loop() -> Any:
    ED2.regSignal(signal.SIGUSR1, fail, SystemExit)
    os.kill(os.getpid(), signal.SIGUSR1)
    return raised(ED2.loop)


@check((None, True))
def any_other_base_exception_in_a_call_is_dumped() -> Any:
    ED2.callFromThread(fail, GeneratorExit)
    end_soon(0.03)
    return raised(ED2.loop), 'GeneratorExit: on purpose' in printed()


@check(('KeyboardInterrupt', 'KeyboardInterrupt', 0))
def ctrl_c_leaves_the_loop() -> Any:
    signal_later(signal.SIGINT)
    idle = raised(ED2.loop)
    Timeout(os.kill, 0.01, 1, os.getpid(), signal.SIGINT)
    busy = raised(ED2.loop)
    end_soon(0.02)
    return idle, busy, ED2.loop()


@check(('KeyboardInterrupt', 0))
def ctrl_c_leaves_the_loop_whichever_thread_takes_it() -> Any:
    def send_to_myself() -> None:
        system_sleep(0.05)
        signal.pthread_kill(system_get_ident(), signal.SIGINT)
        system_sleep(10.0)
    system_thread(send_to_myself, ())
    idle = raised(ED2.loop)
    end_soon(0.02)
    return idle, ED2.loop()


@check(('KeyboardInterrupt', True, bytes([signal.SIGINT])))
def a_program_may_be_woken_by_signals_itself() -> Any:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal_later(signal.SIGINT)
    return raised(ED2.loop), signal.set_wakeup_fd(-1) == writer, os.read(reader, 10)


@check(('SystemExit', 0))
def a_handler_of_the_program_may_leave_the_loop() -> Any:
    signal.signal(signal.SIGTERM, lambda *_: fail(SystemExit))
    signal_later(signal.SIGTERM)
    outcome = raised(ED2.loop)
    end_soon(0.02)
    return outcome, ED2.loop()


@check((True, True))
def an_exception_pinned_where_it_was_made_is_dumped_from_there() -> Any:
    def make() -> Exception:
        return StdException('pinned')

    def throw(error: Exception) -> None:
        raise error

    Timeout(throw, 0.0, 1, make())
    end_soon(0.02)
    ED2.loop()
    return 'in make' in printed(), 'in throw' not in printed()


# -- calls from threads

@check([0, 1, 2, 3, 4])
def calls_are_made_in_order_and_may_come_before_the_loop() -> Any:
    order: list[int] = []
    for number in range(5):
        ED2.callFromThread(order.append, number)
    end_soon(0.02)
    ED2.loop()
    return order


@check(['a', 'break', 'b'])
def calls_behind_a_break_are_still_made() -> Any:
    order: list[str] = []

    def stop() -> None:
        order.append('break')
        ED2.breakLoop()

    for call in (lambda: order.append('a'), stop, lambda: order.append('b')):
        ED2.callFromThread(call)
    ED2.loop()
    return order


@check(['asking', 'asked', 'called'])
def a_call_from_the_loop_is_deferred() -> Any:
    order: list[str] = []

    def ask() -> None:
        order.append('asking')
        ED2.callFromThread(order.append, 'called')
        order.append('asked')

    Timeout(ask, 0.0)
    end_soon(0.03)
    ED2.loop()
    return order


@check(['asked', 'called'])
def a_call_brought_by_a_call_is_made_behind_a_break_too() -> Any:
    order: list[str] = []

    def ask() -> None:
        order.append('asked')
        ED2.breakLoop()
        ED2.callFromThread(order.append, 'called')

    ED2.callFromThread(ask)
    ED2.loop()
    return order


@check((list(range(200)), True))
def calls_of_a_thread_come_in_order_and_in_the_thread_of_the_loop() -> Any:
    order: list[int] = []
    threads = set()

    def called(number: int) -> None:
        order.append(number)
        threads.add(threading.current_thread())
        if number == 199:
            ED2.breakLoop()

    def call() -> None:
        for number in range(200):
            ED2.callFromThread(called, number)

    Timeout(lambda: in_thread(call), 0.01)
    ED2.loop()
    return order, threads == {threading.main_thread()}


@check(('answer', 'KeyError', 'SystemExit', True))
def a_thread_may_wait_for_its_call() -> Any:
    got: list[Any] = []

    def ask() -> None:
        got.append(ED2.callFromThreadSync(lambda: 'answer'))
        got.append(raised(ED2.callFromThreadSync, fail, KeyError))
        got.append(raised(ED2.callFromThreadSync, fail, SystemExit))
        got.append(ED2.callFromThreadSync(threading.current_thread) is threading.main_thread())
        ED2.callFromThread(ED2.breakLoop)

    in_thread(ask)
    ED2.loop()
    return tuple(got)


@check(NEVER, shim='answer')
def the_loop_itself_need_not_wait_for_its_call() -> Any:
    got: list[str] = []
    Timeout(lambda: got.append(ED2.callFromThreadSync(lambda: 'answer')), 0.0)
    end_soon(0.02)
    ED2.loop()
    return got[0]


# -- signals

@check([('a', 1), ('b', 2, 3)])
def a_signal_has_several_listeners() -> Any:
    got: list[Any] = []
    ED2.regSignal(signal.SIGUSR1, lambda *args: got.append(('a', *args)), 1)
    ED2.regSignal(signal.SIGUSR1, lambda x, y: got.append(('b', x, y)), 2, y=3)
    os.kill(os.getpid(), signal.SIGUSR1)
    end_soon(0.02)
    ED2.loop()
    return got


@check((['b', 'b'], True, True))
def listening_to_a_signal_ends() -> Any:
    got: list[str] = []
    first = ED2.regSignal(signal.SIGUSR1, got.append, 'a')
    second = ED2.regSignal(signal.SIGUSR1, got.append, 'b')
    ED2.unregSignal(first)
    kept = signal.getsignal(signal.SIGUSR1) == ED2.signal
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGUSR1)
        ED2.loop(0.02)
    ED2.unregSignal(second)
    return got, kept, signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@check(['killed', 'signal'])
def a_signal_waits_for_the_end_of_the_callback() -> Any:
    order: list[str] = []

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        spin(0.005)
        order.append('killed')

    ED2.regSignal(signal.SIGUSR1, order.append, 'signal')
    Timeout(kill, 0.0)
    end_soon(0.03)
    ED2.loop()
    return order


@check(['first'])
def a_listener_that_another_removes_is_not_called() -> Any:
    order: list[str] = []

    def first() -> None:
        order.append('first')
        ED2.unregSignal(second)

    ED2.regSignal(signal.SIGUSR1, first)
    second = ED2.regSignal(signal.SIGUSR1, order.append, 'second')
    os.kill(os.getpid(), signal.SIGUSR1)
    end_soon(0.02)
    ED2.loop()
    return order


@check(['signal'])
def a_signal_wakes_an_idle_loop() -> Any:
    order: list[str] = []

    def called() -> None:
        order.append('signal')
        ED2.breakLoop()

    ED2.regSignal(signal.SIGUSR1, called)
    signal_later(signal.SIGUSR1)
    ED2.loop()
    return order


@check((['ours', 'theirs'], True, ['theirs']))
def a_signal_object_chains_and_restores() -> Any:
    order: list[str] = []

    def theirs(*_: Any) -> None:
        Timeout(order.append, 0.0, 1, 'theirs')

    signal.signal(signal.SIGUSR1, theirs)
    ours = Signal(signal.SIGUSR1, order.append, 'ours')
    os.kill(os.getpid(), signal.SIGUSR1)
    ED2.loop(0.03)
    first = sorted(order)
    ours.cancel()
    order.clear()
    os.kill(os.getpid(), signal.SIGUSR1)
    ED2.loop(0.03)
    return first, signal.getsignal(signal.SIGUSR1) is theirs, order


@check((True, 'lives'))
def an_exception_in_a_signal_object_is_dumped() -> Any:
    Signal(signal.SIGHUP, fail)
    os.kill(os.getpid(), signal.SIGHUP)
    end_soon(0.03, 'lives')
    outcome = ED2.loop()
    return 'Signal: unhandled exception in signal callback' in printed(), outcome


@check(['idle', 'idle', 'idle'])
def signal_objects_wake_an_idle_loop() -> Any:
    got: list[str] = []

    def called(name: str) -> None:
        got.append(name)
        ED2.breakLoop()

    for number in (signal.SIGURG, signal.SIGUSR2, signal.SIGPROF):
        Signal(number, called, 'idle')
        signal_later(number)
        ED2.loop()
    return got


@check((7, ['Registering', 'Dispatching']))
def a_logged_signal_is_logged() -> Any:
    class Log:
        lines: list[str] = []

        def write(self, line: str) -> None:
            self.lines.append(line.split()[0])

    # The arguments of sippy's own LogSignal are one too many for its own Signal: so is what happens.
    log = Log()
    LogSignal(log, signal.SIGUSR1, ED2.breakLoop, 7)
    os.kill(os.getpid(), signal.SIGUSR1)
    return ED2.loop(0.05), log.lines


# -- the loop

@check((['timer'], 7))
def a_break_before_the_loop_is_lost() -> Any:
    got: list[str] = []
    Timeout(got.append, 0.02, 1, 'timer')
    ED2.breakLoop(7)
    return got, ED2.loop(0.05) if not got else None


@check((None, 5, 5, 0, 0))
def what_a_loop_returns_is_stale() -> Any:
    outcomes = [ED2.loop(0.02)]
    end_soon(0.01, 5)
    outcomes += [ED2.loop(), ED2.loop(0.02)]
    end_soon(0.01)
    return (*outcomes, ED2.loop(), ED2.el_rval)


@check((['due'], True, False))
def due_timers_run_at_least_once() -> Any:
    got: list[str] = []
    Timeout(got.append, 0, 1, 'due')
    in_time = raised(ED2.loop, 0) is None
    return got, in_time, ED2.endloop


@check(['called'])
def calls_are_made_even_by_a_loop_without_time() -> Any:
    got: list[str] = []
    ED2.callFromThread(got.append, 'called')
    ED2.loop(0)
    return got


@check(([(100.0, 0)], [(50.0, 1), (100.0, 0)], [(100.0, 0), (50.0, 1)], [(20.0, 2), (100.0, 0), (50.0, 1)]))
def a_frequency_selects_a_band() -> Any:
    bands = [list(ED2.bands)]
    for frequency in (50.0, 100.0, 20.0):
        ED2.loop(0.0, frequency)
        bands.append(list(ED2.bands))
    return tuple(bands)


@check((['inner', 'outer goes on'], 3, True))
def an_inner_break_ends_the_outer_loop_too() -> Any:
    order: list[str] = []

    def outer() -> None:
        Timeout(inner, 0.01)
        ED2.loop()
        order.append('outer goes on')

    def inner() -> None:
        order.append('inner')
        ED2.breakLoop(3)

    Timeout(outer, 0.0)
    Timeout(order.append, 0.2, 1, 'too late')
    return order, ED2.loop(), ED2.endloop


@check((['inner timer', 'inner ended', 'outer timer'], 9))
def an_inner_loop_that_times_out_leaves_the_outer_one() -> Any:
    order: list[str] = []

    def outer() -> None:
        Timeout(order.append, 0.01, 1, 'inner timer')
        ED2.loop(0.03)
        order.append('inner ended')

    Timeout(outer, 0.0)
    Timeout(order.append, 0.07, 1, 'outer timer')
    end_soon(0.1, 9)
    return order, ED2.loop()


@check((['first'], ['first', 'second']))
def due_timers_stay_for_the_next_loop() -> Any:
    order: list[str] = []
    now = MonoTime()

    def first() -> None:
        order.append('first')
        ED2.breakLoop()

    TimeoutAbsMono(first, now.getOffsetCopy(0.010))
    TimeoutAbsMono(order.append, now.getOffsetCopy(0.011), 'second')
    spin(0.02)
    ED2.loop()
    then = list(order)
    ED2.loop(0.02)
    return then, order


@check((4, 5, 6))
def a_loop_is_broken_from_anywhere() -> Any:
    outcomes = []
    in_thread(lambda: (time.sleep(0.03), ED2.breakLoop(4)))
    outcomes.append(ED2.loop())
    ED2.callFromThread(ED2.breakLoop, 5)
    outcomes.append(ED2.loop())
    signal.signal(signal.SIGUSR1, lambda *_: ED2.breakLoop(6))
    signal_later(signal.SIGUSR1)
    outcomes.append(ED2.loop())
    return tuple(outcomes)


@check((True, True))
def a_timeout_ends_the_loop() -> Any:
    begin = MonoTime()
    ED2.loop(0.05)
    return MonoTime() - begin >= 0.05, ED2.endloop is False


@check((10, True))
def timers_are_never_early() -> Any:
    late: list[float] = []
    begin = MonoTime()
    for number in range(10):
        due = begin.getOffsetCopy(0.02 + number * 0.0033)
        TimeoutAbsMono(lambda due=due: late.append(MonoTime() - due), due)
    ED2.loop(0.08)
    return len(late), min(late) >= 0.0


@check(0)
def a_forked_child_has_a_loop() -> Any:
    ED2.loop(0.01)
    child = fork()
    if not child:
        in_thread(lambda: (time.sleep(0.02), ED2.callFromThread(ED2.breakLoop, 0)))
        Timeout(lambda: None, 0.01, -1)
        os._exit(ED2.loop())
    return waitpid(child, 0)[1]


# -- the time

@check((True, True, True))
def timeouts_are_functions_with_a_global() -> Any:
    functions = (Timeout, TimeoutInact, TimeoutAbsMono)
    return (all(isinstance(each, types.FunctionType) for each in functions), timeouts.ED2 is ED2,
            all('ED2' in each.__globals__ for each in functions))


@check((True, True, 'OSError', float))
def the_clock_is_the_raw_one() -> Any:
    before = time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
    now = MonoTime()
    after = time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
    return (before <= now.monot <= after, abs(now.realt - time.time()) < 1.0, raised(clock_dtime.clock_getdtime, 999),
            type(clock_dtime.clock_getdtime(clock_dtime.CLOCK_REALTIME)))


@check((True, True, True, True, 2.0, 1.5, 'TypeError'))
def a_monotime_is_made_and_compared() -> Any:
    now = MonoTime()
    later = now.getOffsetCopy(1.5)
    copy = now.getCopy()
    copy.offset(2.0)
    again = MonoTime(str(now))
    return (now < later <= MonoTime(monot=later.monot), now != later and now == now.getCopy(),
            abs(again.monot - now.monot) < 1e-5, MonoTime().offsetFromNow() < 0.1, round(copy - now, 6),
            round(later - now, 6), raised(MonoTime, trust_realt=True))


@check((True, True), patched=(False, True))
def each_thread_has_a_filter_of_its_own() -> Any:
    filters = [MonoTime().globals.realt_flt]
    in_thread(lambda: filters.append(MonoTime().globals.realt_flt)).join()
    return filters[0] is not filters[1], MonoTime.globals.realt_flt is filters[0]


# -- servers

@contextlib.contextmanager
def server(callback: Any, laddress: Any = ('127.0.0.1', 0), **options: Any) -> Iterator[Any]:
    """A server, shut down at the end; options go to its ``uopts``."""
    uopts = Udp_server.Udp_server_opts(laddress, callback)
    for name, value in options.items():
        setattr(uopts, name, value)
    made = Udp_server.Udp_server({}, uopts)
    try:
        yield made
    finally:
        made.shutdown()


@contextlib.contextmanager
def peer(family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """A socket of the system."""
    with socket.socket(family, socket.SOCK_DGRAM) as skt:
        skt.bind(('127.0.0.1' if family == socket.AF_INET else '::1', 0))
        skt.settimeout(2.0)
        yield skt


def received(skt: socket.socket) -> bytes:
    """What came, while a loop runs."""
    skt.settimeout(0.02)
    for _ in range(100):
        ED2.loop(0.01)
        with contextlib.suppress(TimeoutError):
            return skt.recv(65535)
    return b'nothing'


@check((b'data', 'Remote_address', 'udp', True, True, True, 'MonoTime', True, 1, 'udp:127.0.0.1'))
def a_datagram_comes_with_its_circumstances() -> Any:
    got: list[Any] = []

    def arrived(*args: Any) -> None:
        got.extend((*args, threading.current_thread()))
        ED2.breakLoop()

    with server(arrived) as made, peer() as skt:
        skt.sendto(b'data', made.uopts.laddress)
        ED2.loop()
        data, address, by, rtime, thread = got
        return (data, type(address).__name__, address.transport, address.address == skt.getsockname(),
                address.received == '127.0.0.1', by is made, type(rtime).__name__,
                thread is threading.main_thread(), made.stats[2], str(address).rsplit(':', 1)[0])


@check((b'text \xc3\xa9', b'octets'))
def texts_and_octets_are_sent() -> Any:
    with server(None) as made, peer() as skt:
        made.send_to('text \xe9', skt.getsockname())
        first = skt.recv(100)
        made.send_to(b'octets', skt.getsockname())
        return first, skt.recv(100)


@check((b'without a loop', b'from a thread'))
def sending_needs_no_loop() -> Any:
    with server(None) as made, peer() as skt:
        made.send_to(b'without a loop', skt.getsockname())
        first = skt.recv(100)
        in_thread(made.send_to, b'from a thread', skt.getsockname())
        return first, skt.recv(100)


@check(OPEN, shim=True)
def datagrams_keep_their_order() -> Any:
    with server(None) as made, peer() as skt:
        sent = [struct.pack('!H', number) for number in range(100)]
        for data in sent:
            made.send_to(data, skt.getsockname())
        return [skt.recv(10) for _ in sent] == sent


@check(OPEN, shim=(True, True))
def names_are_looked_up_and_keep_their_order() -> Any:
    with server(None) as made, peer() as skt:
        sent = [struct.pack('!H', number) for number in range(100)]
        for number, data in enumerate(sent):
            made.send_to(data, ('localhost', skt.getsockname()[1]))
            if number == 50:
                time.sleep(0.05)
        got = [skt.recv(10) for _ in sent]
        return sorted(got) == sent, got == sent


@check((b'after', None))
def a_name_that_does_not_exist_loses_its_datagram() -> Any:
    with server(None) as made, peer() as skt:
        outcome = [raised(made.send_to, b'lost', (name, 5060)) for name in ('no-such-host.invalid', '', 'a' * 300)]
        made.send_to(b'after', skt.getsockname())
        return skt.recv(100), next(filter(None, outcome), None)


@check((b'', b'after'), shim=(b'dumped', b'after'))
def a_port_that_cannot_be_does_no_harm() -> Any:
    with server(None, nworkers=3) as made, peer() as skt:
        made.send_to(b'lost', ('127.0.0.1', 70000))
        made.send_to(b'after', skt.getsockname())
        after = skt.recv(100)
        return b'dumped' if 'OverflowError' in printed() else b'', after


@check(('Exception', 'Exception', 'Exception', 'AttributeError'))
def addresses_are_checked() -> Any:
    with server(None) as made, server(None, ('[::1]', 0)) as six:
        return (raised(made.send_to, b'', '127.0.0.1:5060'), raised(made.send_to, b'', ['127.0.0.1', 5060]),
                raised(six.send_to, b'', ('::1', 5060)), raised(made.send_to, 5, ('127.0.0.1', 5060)))


@check((True, True, b'six', True, True))
def version_six_is_written_in_brackets() -> Any:
    got: list[Any] = []

    def arrived(data: bytes, address: Any, *_: Any) -> None:
        got.append(address)
        ED2.breakLoop()

    with server(arrived, ('[::1]', 0)) as made, peer(socket.AF_INET6) as skt:
        (host, port), transport = made.getSIPaddr()
        skt.sendto(b'x', (host[1:-1], port))
        ED2.loop()
        made.send_to(b'six', got[0].address)
        return ((host, transport) == ('[::1]', 'udp'), made.uopts.family == socket.AF_INET6, skt.recv(10),
                got[0].address == ('[::1]', skt.getsockname()[1]), got[0].received == '[::1]')


@check((True, True, True, 'ZeroDivisionError', 'OSError'))
def a_server_finds_a_port() -> Any:
    with server(None) as any_port:
        number = any_port.uopts.laddress[1]
        tried: list[int] = []

        def allocate(ntry: int) -> int:
            tried.append(ntry)
            return number if ntry < 3 else 0

        with peer() as taken:
            number = taken.getsockname()[1]
            with server(None, ('127.0.0.1', allocate)):
                pass
            in_use = raised(Udp_server.Udp_server, {}, Udp_server.Udp_server_opts(taken.getsockname(), None))
        with peer() as free:
            number = free.getsockname()[1]
        with server(None, ('127.0.0.1', SipConf.MyPort(number))) as mine:
            bound = mine.skt.getsockname()[1] == number
        return (any_port.uopts.laddress == any_port.skt.getsockname(), tried == [0, 1, 2, 3], bound,
                raised(Udp_server.Udp_server, {}, Udp_server.Udp_server_opts(('127.0.0.1', lambda ntry: 1 // 0), None)),
                in_use)


@check((True, True, 'PortAllocationError', True))
def ports_for_rtp_are_even() -> Any:
    allocate = RTP_port_allocator(10001, 10020)
    ports = [allocate(0) for _ in range(200)]
    return (all(port % 2 == 0 for port in ports), min(ports) >= 10002 and max(ports) <= 10020, raised(allocate, 100),
            issubclass(PortAllocationError, Exception))


@check((True, 3, True, True, False, True))
def options_are_copied_as_sippy_does() -> Any:
    uopts = Udp_server.Udp_server_opts(('[::]', 0), print)
    uopts.nworkers, uopts.flags, uopts.ploss_in_rate = 1, 0, 0.5
    copy = uopts.getCopy()
    # Only what is named is copied: sippy 2.5 forgets the rest.
    return (copy.ploss_in_rate == 0.5 and copy.data_callback is print, copy.nworkers, copy.flags != 0,
            copy.isWildCard(), Udp_server.Udp_server_opts(('127.0.0.1', 0), None).isWildCard(),
            (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1) in copy.getSockOpts())


@check((None, None, True, 'gone'))
def a_server_is_shut_down_without_a_loop() -> Any:
    made = Udp_server.Udp_server({}, Udp_server.Udp_server_opts(('127.0.0.1', 0), print))
    address = made.uopts.laddress
    outcome = raised(made.shutdown)
    # Silently lost.
    lost = raised(made.send_to, b'x', address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as skt:
        skt.bind(address)
    return outcome, lost, made.uopts.data_callback is None and made.asenders is None is made.areceivers, (
        'gone' if made.skt.fileno() < 0 else 'there')


@check(OPEN, shim=(['one'], None))
def a_server_is_shut_down_in_its_own_callback() -> Any:
    got: list[str] = []

    def arrived(data: bytes, address: Any, by: Any, rtime: Any) -> None:
        got.append(data.decode())
        by.shutdown()

    made = Udp_server.Udp_server({}, Udp_server.Udp_server_opts(('127.0.0.1', 0), arrived))
    with peer() as skt:
        for data in (b'one', b'two', b'three'):
            skt.sendto(data, made.uopts.laddress)
        return got, raised(ED2.loop, 0.1)


@check((['in the loop', 'shut down'], None))
def a_server_is_made_and_shut_down_in_another_thread() -> Any:
    got: list[str] = []

    def meddle() -> None:
        made = Udp_server.Udp_server({}, Udp_server.Udp_server_opts(('127.0.0.1', 0), arrived))
        with peer() as skt:
            skt.sendto(b'in the loop', made.uopts.laddress)
            done.wait(2.0)
        made.shutdown()
        got.append('shut down')
        ED2.callFromThread(ED2.breakLoop)

    def arrived(data: bytes, *_: Any) -> None:
        got.append(data.decode())
        done.set()

    done = threading.Event()
    Timeout(lambda: in_thread(meddle), 0.01)
    return got, raised(ED2.loop)


@check((1, True))
def empty_datagrams_are_skipped() -> Any:
    got: list[bytes] = []
    with server(lambda data, *_: got.append(data)) as made, peer() as skt:
        skt.sendto(b'', made.uopts.laddress)
        skt.sendto(b'x', made.uopts.laddress)
        ED2.loop(0.05)
        return made.stats[2], got == [b'x']


@check(8192, shim=20000)
def a_large_datagram_comes_whole() -> Any:
    got: list[int] = []
    with server(lambda data, *_: (got.append(len(data)), ED2.breakLoop())) as made, peer() as skt:
        skt.sendto(bytes(20000), made.uopts.laddress)
        ED2.loop(1.0)
        return got[0]


@check((['x', 'y'], True))
def an_exception_at_a_datagram_is_dumped() -> Any:
    got: list[str] = []

    def arrived(data: bytes, *_: Any) -> None:
        got.append(data.decode())
        fail()

    with server(arrived) as made, peer() as skt:
        for data in (b'x', b'y'):
            skt.sendto(data, made.uopts.laddress)
        ED2.loop(0.05)
        # Stock sippy receives in several threads, and may change the order.
        return sorted(got), printed().count('unhandled exception when processing incoming data') == 2


@check('SystemExit')
def sys_exit_at_a_datagram_leaves_the_loop() -> Any:
    with server(lambda *_: fail(SystemExit)) as made, peer() as skt:
        skt.sendto(b'x', made.uopts.laddress)
        return raised(ED2.loop)


@check((True, 'tuple', False, b'answer'))
def a_direct_server_does_not_wait_for_the_loop() -> Any:
    got: list[Any] = []
    done = threading.Event()

    def arrived(data: bytes, address: Any, by: Any, rtime: Any) -> None:
        got.extend((address, threading.current_thread()))
        by.send_to(b'answer', address)
        done.set()

    with server(arrived, direct_dispatch=True) as made, peer() as skt:
        skt.sendto(b'x', made.uopts.laddress)
        done.wait(2.0)
        return got[0] == skt.getsockname(), type(got[0]).__name__, got[1] is threading.main_thread(), skt.recv(100)


@check((b'nothing', 0, 1))
def losses_are_emulated() -> Any:
    got: list[bytes] = []
    with server(lambda data, *_: got.append(data), ploss_in_rate=1.0, ploss_out_rate=1.0) as made, peer() as skt:
        made.send_to(b'out', skt.getsockname())
        skt.settimeout(0.05)
        try:
            out = skt.recv(10)
        except TimeoutError:
            out = b'nothing'
        skt.sendto(b'in', made.uopts.laddress)
        ED2.loop(0.05)
        return out, len(got), made.stats[2]


@check((b'out', [b'in'], True, 2))
def delays_are_emulated() -> Any:
    got: list[Any] = []

    def arrived(data: bytes, address: Any, by: Any, rtime: Any) -> None:
        got.append(data)
        times.append(rtime)

    times: list[Any] = []
    with server(arrived, pdelay_in_max=0.03, pdelay_out_max=0.03) as made, peer() as skt:
        made.send_to(b'out', skt.getsockname())
        out = received(skt)
        skt.sendto(b'in', made.uopts.laddress)
        begin = MonoTime()
        ED2.loop(0.1)
        return out, got, begin - 0.02 < times[0].monot < begin + 0.1, made.stats[2]


@check((6, 7), shim=(0, 1))
def a_server_costs_no_threads() -> Any:
    before = threading.active_count()
    with server(print):
        return threading.active_count() - before, len(os.listdir('/proc/self/task'))


@check((True, True, True))
def the_models_are_the_same_classes() -> Any:
    from sippy.Rtp_proxy.Client import udp
    from sippy.SipTransactionManager import SipTransactionManager
    return (SipTransactionManager.model_udp_server == (Udp_server.Udp_server, Udp_server.Udp_server_opts),
            udp.Udp_server is Udp_server.Udp_server, Remote_address.__module__ == 'sippy.Network_server')


# -- the program

def outcome_of(function: Callable[[], Any]) -> str:
    """Make a check in a child, its standard output being a file."""
    reading, writing = os.pipe()
    child = fork()
    if not child:
        try:
            os.dup2(os.memfd_create('printed'), 1)
            signal.alarm(PATIENCE if CHECKS[function.__name__].stock != NEVER else 1)
            try:
                outcome = repr(function())
            except BaseException as error:
                outcome = f'raised {error!r}'
            os.write(writing, outcome.encode())
        finally:
            os._exit(0)
    close(writing)
    with os.fdopen(reading, encoding='utf-8') as pipe:
        outcome = pipe.read()
    status = waitpid(child, 0)[1]
    return outcome or (NEVER if os.WTERMSIG(status) == signal.SIGALRM else f'ended with {status}')


if __name__ == '__main__':
    wanted = sys.argv[2:] or list(CHECKS)
    print(json.dumps({name: outcome_of(CHECKS[name].function) for name in wanted}, indent=1))
