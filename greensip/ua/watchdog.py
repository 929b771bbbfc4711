"""Warns when a script holds the hub: computes, sleeps with ``time.sleep``, or reads from a blocking socket.

While one greenlet holds the hub no other call is served.  The hub notes when it begins to run greenlets and when it
goes to wait for the network again; an OS thread looks at that note from time to time and logs where the program is,
when it has been away for too long.  Once the hub waits, the thread waits too, on a lock: an idle program is not woken
by its watchdog.

There is one per hub, shared by its user agents.
"""

from __future__ import annotations

import logging
import sys
import traceback
import weakref
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.hub import Hub
from gevent.monkey import get_original

from .engine import thread_ident

__all__ = ['Watchdog', 'watch_hub']

log = logging.getLogger('greensip.ua')

# Native ones, also where gevent.monkey has replaced them.
_allocate_lock: Callable[[], Any] = get_original('_thread', 'allocate_lock')
_start_thread: Callable[..., int] = get_original('_thread', 'start_new_thread')
_now: Callable[[], float] = get_original('time', 'monotonic')

#: frames of the culprit's stack that are logged
FRAMES = 6


class Watchdog:
    """``limit`` is the number of seconds for which the hub may be held.  ``start()`` and ``stop()`` count."""

    def __init__(self, hub: Hub, limit: float) -> None:
        self.limit = limit
        self._hub = hub
        self._ident = thread_ident()
        self._users = 0
        #: when the hub began to run greenlets; 0 while it waits
        self._since = 0.0
        self._asleep = False
        self._lock = _allocate_lock()
        self._awake: Any = None
        self._waits: Any = None

    def start(self) -> None:
        """Begin to watch.  In the hub's own thread."""
        self._users += 1
        if self._users > 1:
            return
        loop: Any = self._hub.loop
        # libev runs greenlets in a prepare watcher of its own; ours comes after it, by its lower priority.
        self._waits = loop.prepare(ref=False, priority=loop.MINPRI)
        self._waits.start(self._on_wait)
        self._awake = loop.check(ref=False, priority=loop.MAXPRI)
        self._awake.start(self._on_wake)
        self._since = _now()
        # A lock of its own for each thread: the one before may not have noticed yet that it is to end.
        self._lock = _allocate_lock()
        self._lock.acquire()
        _start_thread(_run, (weakref.ref(self), self._lock, self.limit))

    def stop(self) -> None:
        """Stop watching, if nobody else wants it."""
        self._users -= 1
        if self._users == 0:
            for watcher in (self._waits, self._awake):
                watcher.stop()
                watcher.close()
            self._wake_thread()

    def _on_wait(self) -> None:
        self._since = 0.0

    def _on_wake(self) -> None:
        self._since = _now()
        if self._asleep:
            self._wake_thread()

    def _wake_thread(self) -> None:
        self._asleep = False
        try:
            self._lock.release()
        except RuntimeError:
            # It was not waiting: the lock is free already.
            pass

    def look(self, reported: float) -> float:
        """In the watching thread: complain if the hub is held.  Returns the note that was complained about last."""
        since = self._since
        if since and since != reported and (held := _now() - since) >= self.limit:
            frame = sys._current_frames().get(self._ident)
            # It may have begun to wait meanwhile, or it is the hub itself that the machine gave no time.
            if self._since == since and frame is not None and frame.f_code is not Hub.run.__code__:
                stack = ''.join(traceback.format_stack(frame)[-FRAMES:])
                log.warning('! the hub has been held for %.0f ms: nothing else runs meanwhile. It is here:\n%s',
                            held * 1000, stack)
                return since
        return reported


def _run(ref: weakref.ref[Watchdog], lock: Any, limit: float) -> None:
    """The thread.  It holds no reference while it waits."""
    reported = 0.0
    while True:
        lock.acquire(True, limit / 2)
        watchdog = ref()
        if watchdog is None or watchdog._users == 0 or watchdog._lock is not lock:
            return
        reported = watchdog.look(reported)
        if not watchdog._since:
            # Sleep until the hub wakes.  Set the flag first and look again: the hub looks at the flag after it notes
            # the time.
            watchdog._asleep = True
            if not watchdog._since:
                del watchdog
                lock.acquire()
                continue
            watchdog._asleep = False
        del watchdog


_watchdogs: weakref.WeakKeyDictionary[Hub, Watchdog] = weakref.WeakKeyDictionary()


def watch_hub(limit: float) -> Watchdog:
    """The watchdog of the present hub, started; the first one's ``limit`` holds."""
    hub = get_hub()
    watchdog = _watchdogs.get(hub)
    if watchdog is None:
        watchdog = _watchdogs[hub] = Watchdog(hub, limit)
    watchdog.start()
    return watchdog
