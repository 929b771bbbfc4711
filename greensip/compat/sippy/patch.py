"""Puts the loop, the clock and the datagrams in place, in sippy's own modules and objects.

Everything is changed where it is, so it does not matter who has imported what before: ``ED2`` becomes a
``Dispatcher`` and stays the same object, and the classes keep their identity too.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from typing import Any

import gevent
from sippy.Core import EventDispatcher
from sippy.Core.EventDispatcher import ED2, EventDispatcher2, EventListener

from . import udp
from .dispatcher import Dispatcher, Ticks, check_patches
from .imports import CHANGES, AfterImport
from .natives import get_ident, local

__all__ = ['ED2', 'install']


def install() -> None:
    """Patch sippy.  A second call does nothing."""
    if isinstance(ED2, Dispatcher):
        return
    check_patches()
    patch_dispatcher()
    patch_clock()
    patch_servers()
    AfterImport(CHANGES).install()
    os.register_at_fork(after_in_child=forked)


def patch_dispatcher() -> None:
    """Make ``ED2`` ours, with what was brought to it before."""
    ticks, thread = ED2.elp, ED2.my_ident
    Dispatcher.adopt(ED2)
    ED2.__class__ = Dispatcher
    if EventDispatcher.get_ident is not get_ident:
        # Imported after gevent.monkey: what it took for a thread was the greenlet.
        EventDispatcher.get_ident = get_ident
    elif thread != ED2.my_ident:
        ED2.my_ident = thread
    if ED2.my_ident == get_ident():
        take_over(ticks)
    # Kept, as a thread may be about to call it.
    ED2.former_elp = ticks
    ED2.elp = Ticks(ED2)
    EventListener.go = with_wake(EventListener.go)
    if threading.current_thread() is threading.main_thread():
        # The ticks have taken this signal for themselves, and hold it back outside of their sleep.
        if signal.getsignal(signal.SIGURG) is signal.SIG_DFL:
            signal.signal(signal.SIGURG, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGURG])


def take_over(ticks: Any) -> None:
    """Move the calls that wait in ``ticks`` to the new queue.

    They can only be got out by having them made; so the function that makes them is another one meanwhile.
    """
    maker = EventDispatcher2.dispatchThreadCallback
    code = maker.__code__
    maker.__code__ = _bring_again.__code__
    try:
        ticks.procrastinate()
    finally:
        maker.__code__ = code


def _bring_again(self: Any, thread_cb: Any, cb_params: Any) -> None:
    self.callFromThread(thread_cb, *cb_params)


def with_wake(go: Any) -> Any:
    """``EventListener.go``, which is to wake the loop when a timer is started elsewhere."""
    def go_and_wake(self: Any) -> None:
        go(self)
        if ED2._asleep:
            ED2._async.send()
    return go_and_wake


def patch_clock() -> None:
    """Read the clock in one call of C instead of eight microseconds of ctypes; it is the same clock."""
    vars(importlib.import_module('sippy.Time.clock_dtime'))['clock_getdtime'] = time.clock_gettime
    names = vars(importlib.import_module('sippy.Time.MonoTime'))
    names['clock_getdtime'] = time.clock_gettime
    stock = names['MonoGlobals']
    if not issubclass(stock, local):
        # Imported after gevent.monkey: each greenlet would have a filter, and with it a wall clock, of its own.
        names['MonoGlobals'] = type('MonoGlobals', (local,), {'__init__': stock.__init__})
        names['MonoTime'].globals = names['MonoGlobals']()


def patch_servers() -> None:
    """Let servers that are made from now on move their datagrams without threads."""
    vars(importlib.import_module('sippy.Udp_server')).update(AsyncSender=udp.Sender, AsyncReceiver=udp.make_receiver)


def forked() -> None:
    """In a child process: the hub needs a new epoll, and the threads of the parent are not there."""
    udp.forget_lanes()
    gevent.reinit()
