"""Greenlets that run one function after the other, so that a handler costs no new greenlet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gevent import GreenletExit, getcurrent
from gevent.hub import Hub
from greenlet import greenlet

__all__ = ['Task', 'Workers']

log = logging.getLogger('greensip.ua')

#: idle worker greenlets that are kept for the next handler: a new one costs ten times a switch (its stack is mapped)
KEEP_WORKERS = 128


class Task:
    """A function on its way in a worker greenlet."""

    __slots__ = ('argument', 'fn', 'started', 'worker')

    def __init__(self, fn: Callable[[Any], object], argument: Any) -> None:
        self.fn = fn
        self.argument = argument
        self.started = False
        self.worker: Worker | None = None

    @property
    def done(self) -> bool:
        """True when the function has returned, raised or been killed."""
        return self.worker is None

    @property
    def current(self) -> bool:
        """True in the task's own greenlet."""
        return self.worker is getcurrent()

    def kill(self) -> None:
        """Raise GreenletExit in it at its present wait, or at its first if it has not begun.  Does not wait."""
        worker = self.worker
        if worker is not None:
            worker.workers.loop.run_callback(self._kill)

    def _kill(self) -> None:
        # In the hub.  By now the worker may have finished the task, and even be at another one.
        worker = self.worker
        if worker is None:
            return
        if self.started:
            worker.throw(GreenletExit)
        else:
            worker.workers.loop.run_callback(self._kill)


class Worker(greenlet):
    """A greenlet that runs one task after the other; parked in between."""

    __slots__ = ('task', 'workers')

    def __init__(self, workers: Workers) -> None:
        super().__init__(self.work, workers.hub)
        self.workers = workers
        self.task: Task | None = None

    def work(self) -> None:
        idle = self.workers.idle
        park = self.workers.hub.switch
        while True:
            task = self.task
            if task is not None:
                task.started = True
                try:
                    task.fn(task.argument)
                except GreenletExit:
                    pass
                except Exception:
                    log.exception('! %r failed', task.fn)
                finally:
                    task.worker = None
                    task = self.task = None
                if self.gr_context:
                    # A handler's context variables are its own, not those of the next handler.
                    self.gr_context = None
            if len(idle) >= KEEP_WORKERS or self.workers.closed:
                return
            idle.append(self)
            park()


class Workers:
    """Runs functions in greenlets that are used again and again."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.loop = hub.loop
        self.idle: list[Worker] = []
        self.closed = False

    def start(self, fn: Callable[[Any], object], argument: Any) -> Task:
        """Run ``fn(argument)`` in a greenlet of its own, soon.  An exception is logged.  Does not block."""
        # One argument, as a call with a star costs a parked greenlet some more of the C stack.
        task = Task(fn, argument)
        worker = self.idle.pop() if self.idle else Worker(self)
        task.worker = worker
        worker.task = task
        self.loop.run_callback(worker.switch)
        return task

    def close(self) -> None:
        """Let the idle workers go."""
        self.closed = True
        idle = self.idle[:]
        self.idle.clear()
        for worker in idle:
            self.loop.run_callback(worker.switch)
