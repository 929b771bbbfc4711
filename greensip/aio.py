"""greensip for asyncio programs: the same user agents, legs and verbs, to be awaited.

    import asyncio
    from greensip import aio, Busy

    async def main():
        async with aio.UserAgent('udp:127.0.0.1:5060') as ua:
            try:
                async with ua.invite('sip:bob@127.0.0.1:5080') as leg:
                    await leg.wait_for('200', timeout=20)
                    print(await leg.remote)
            except Busy:
                print('busy')

    asyncio.run(main())

greensip runs on a gevent hub in an OS thread of its own (``Hub``); nothing is patched, and nothing here blocks the
event loop.  What belongs to that hub reaches the program as an ``AsyncProxy``: its verbs are awaited, and so are its
attributes, ``await leg.state``.  Messages, events, numbers and errors come as they are; the leg of an event is a
proxy.  ``async with`` and ``async for`` work where ``with`` and ``for`` do in a script.

Handlers may be coroutine functions: ``ua.serve(handler, background=True)`` with ``async def handler(leg)`` runs each as
a task of the event loop, and the end of the task ends its call.  A plain function runs in the hub as a script of
greensip (``await ua.run(script, ...)`` does so with any), with the real objects and blocking verbs: what has to be
quick, or is there already, stays as it is.

Cancelling a task that awaits a verb, also by ``asyncio.timeout()``, ends the wait of that verb.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import gevent
from gevent import GreenletExit
from gevent.event import Event

from greensip import ua as blocking
from greensip.errors import GreensipError, UsageError, WrongState
from greensip.ua.deadline import current_deadline, deadline, inherited
from greensip.ua.later import later
from greensip.ua.threads import BOUND, CARRIERS, Proxy, Seen, unwrap

__all__ = ['AsyncProxy', 'Bridge', 'Hub', 'Hunt', 'LegGroup', 'UserAgent', 'wait_any']

#: seconds that what is at work may take to end when a hub is closed
FAREWELL = 1.0

#: ends an iteration: StopIteration cannot travel through a future
_END = object()


class Hub:
    """A gevent hub in an OS thread of its own.  User agents that shall bridge calls between them share one.

    ``aio.UserAgent`` makes one when it is given none, and ends it behind itself.  The thread lives until ``close()``,
    or as long as the process.
    """

    def __init__(self, name: str = 'greensip') -> None:
        self._loop: Any = None
        self._closing: Event | None = None
        self._closed = False
        #: held while another thread wakes the loop, and while that is taken down
        self._lock = threading.Lock()
        self._destroyed = False
        #: what has been asked for and is not done, with the greenlet that is at it
        self._pending: dict[Future[Any], gevent.Greenlet[..., Any] | None] = {}
        self._failure: BaseException | None = None
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), name=name, daemon=True)
        self.thread.start()
        # A moment: until the thread has a hub.
        ready.wait()
        if self._failure is not None:
            raise self._failure

    def _run(self, ready: threading.Event) -> None:
        try:
            hub = gevent.get_hub()
            self._loop = hub.loop
            self._closing = closing = Event()
        except BaseException as error:
            self._failure = error
            return
        finally:
            ready.set()
        # Without a timer of any kind the loop would think that nobody can ever set the event.
        idle = self._loop.async_()
        idle.start(lambda: None)
        try:
            closing.wait()
            gevent.killall([task for task in tuple(self._pending.values()) if task is not None], timeout=FAREWELL)
        finally:
            idle.stop()
            idle.close()
            with self._lock:
                self._closed = self._destroyed = True
            hub.destroy(destroy_loop=True)
            for future in tuple(self._pending):
                with suppress(InvalidStateError):
                    future.set_exception(WrongState('the user agent was closed meanwhile'))

    @property
    def closed(self) -> bool:
        """True after ``close()``."""
        return self._closed

    def close(self) -> None:
        """End the thread.  Does not block; may be called twice, and from any thread.  Raises nothing."""
        if not self._closed:
            self._closed = True
            closing = self._closing
            assert closing is not None
            self.wake(closing.set)

    def wake(self, fn: Callable[..., Any], *args: Any) -> None:
        """Call ``fn(*args)`` in the hub itself, soon; it must not block.

        Callable from any thread; nothing happens once the hub is gone.
        """
        with self._lock:
            if not self._destroyed:
                self._loop.run_callback_threadsafe(fn, *args)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run ``fn(*args)`` in a greenlet of the hub.  Callable from any thread, does not block.

        The Future gives what ``fn`` returns or raises; cancelling it kills the greenlet.  Raises WrongState after
        ``close()``.
        """
        if self._closed:
            raise WrongState('the user agent is closed')
        future: Future[Any] = Future()
        self._pending[future] = None
        future.add_done_callback(lambda done: self._pending.pop(done, None))
        self.wake(self._start, future, fn, args, current_deadline())
        if self._destroyed:
            # It was closed since we looked, and what was pending has been told already.
            with suppress(InvalidStateError):
                future.set_exception(WrongState('the user agent was closed meanwhile'))
        return future

    def _start(self, future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...],
               budget: deadline | None) -> None:
        if future.done():
            return
        task = self._pending[future] = gevent.spawn(perform, future, fn, args, budget)

        def on_done(done: Future[Any]) -> None:
            if done.cancelled():
                self.wake(task.kill, GreenletExit, False)

        future.add_done_callback(on_done)


def perform(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], budget: deadline | None) -> None:
    """In a greenlet of the hub: what was submitted, and its result."""
    result: Any = None
    error: BaseException | None = None
    try:
        if budget is None:
            result = fn(*args)
        else:
            with inherited(budget):
                result = fn(*args)
    except GreenletExit:
        error = WrongState('the user agent was closed meanwhile')
    except Exception as problem:
        error = problem
    # Its task may cancel a future at any time.
    with suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


class Pending:
    """A verb under way: ``await`` it, or enter it with ``async with`` as one enters what it returns."""

    __slots__ = ('_begin', '_entered')

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._begin = begin
        self._entered: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begin().__await__()

    async def __aenter__(self) -> Any:
        self._entered = await self._begin()
        return await self._entered.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> Any:
        return await self._entered.__aexit__(kind, error, traceback)

    async def __aiter__(self) -> Any:
        async for item in await self._begin():
            yield item


class AsyncProxy:
    """Stands for an object of the hub in an event loop.  Made by ``UserAgent`` and by other proxies."""

    __slots__ = ('_hub', '_iterator', '_target')

    def __init__(self, hub: Hub | None, target: Any) -> None:
        object.__setattr__(self, '_hub', hub)
        object.__setattr__(self, '_target', target)
        object.__setattr__(self, '_iterator', None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        hub, target = self._hub, self._target
        if target is None:
            raise WrongState('the user agent is not open yet: async with, or await it')
        member = inspect.getattr_static(type(target), name, None)
        if isinstance(member, later):
            # Refuses by name, and touches nothing.
            return getattr(target, name)
        if callable(member) or isinstance(member, (staticmethod, classmethod)):
            def call(*args: Any, **kwargs: Any) -> Pending:
                return Pending(lambda: in_hub(hub, getattr(target, name), args, kwargs))

            call.__name__ = name
            call.__doc__ = getattr(member, '__doc__', None)
            return call
        return Pending(lambda: in_hub(hub, getattr, (target, name), {}))

    def __setattr__(self, name: str, value: Any) -> None:
        raise UsageError(f'an assignment cannot be awaited: write await proxy.set({name}=...)')

    def set(self, **values: Any) -> Pending:
        """``await leg.set(data=7)``: ``leg.data = 7`` in the hub."""
        def assign() -> None:
            for name, value in values.items():
                setattr(self._target, name, unwrapped(self._hub, value))

        return Pending(lambda: in_hub(self._hub, assign, (), {}))

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Pending:
        """Call the script ``fn(target, *args)`` in the hub: there it has the real object, and verbs that block."""
        return Pending(lambda: in_hub(self._hub, fn, (self, *args), kwargs))

    async def __aenter__(self) -> Any:
        return await in_hub(self._hub, self._target.__enter__, (), {})

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> Any:
        # What leaves the scope is ended also when the task is cancelled meanwhile; the traceback stays in its thread.
        return await asyncio.shield(asyncio.ensure_future(
            in_hub(self._hub, self._target.__exit__, (kind, error, None), {})))

    def __aiter__(self) -> AsyncProxy:
        made = AsyncProxy(self._hub, self._target)
        object.__setattr__(made, '_iterator', _END)
        return made

    async def __anext__(self) -> Any:
        if self._iterator is _END or self._iterator is None:
            object.__setattr__(self, '_iterator', await raw_in_hub(self._hub, iter, (self._target,)))
        found = await in_hub(self._hub, next, (self._iterator, _END), {})
        if found is _END:
            raise StopAsyncIteration
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncProxy) and other._target is self._target

    def __hash__(self) -> int:
        return hash(id(self._target))

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._target) if not name.startswith('_')]

    def __repr__(self) -> str:
        return f'<AsyncProxy of {self._target!r}>'


class UserAgent(AsyncProxy):
    """``greensip.UserAgent`` for an event loop: same arguments, and ``hub=`` to share one.

    It is opened by ``async with aio.UserAgent(...) as ua`` or ``ua = await aio.UserAgent(...)``, which raise what
    ``greensip.UserAgent`` raises, and closed at the end of the block or by ``await ua.close()``.
    """

    __slots__ = ('_arguments', '_own')

    def __init__(self, *places: Any, hub: Hub | None = None, **options: Any) -> None:
        # Its own hub is a thread, which nobody would end who does not open the user agent.
        super().__init__(hub, None)
        object.__setattr__(self, '_own', hub is None)
        object.__setattr__(self, '_arguments', (places, options))

    async def open(self) -> Self:
        """Make the user agent in the hub.  Does nothing when that has been done."""
        if self._target is None:
            places, options = self._arguments
            if self._own:
                object.__setattr__(self, '_hub', Hub())
            try:
                target = await raw_in_hub(self._hub, lambda: blocking.UserAgent(*places, **options))
            except BaseException:
                self._end()
                raise
            object.__setattr__(self, '_target', target)
        return self

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.open().__await__()

    def close(self, linger: float | None = None) -> Pending:
        """``await ua.close()``: ``UserAgent.close()``; ends the hub if it is the user agent's own."""
        return Pending(lambda: self._close(() if linger is None else (linger,)))

    async def _close(self, arguments: tuple[float, ...]) -> None:
        target = self._target
        if target is None or self._hub.closed:
            return

        def leave() -> None:
            try:
                target.close(*arguments)
            finally:
                self._end()

        # What has been begun goes on also when the task is cancelled meanwhile.
        await asyncio.shield(asyncio.wrap_future(self._hub.submit(leave)))
        if self._own:
            # A moment: a thread must not be at work any more when the interpreter ends.
            await asyncio.to_thread(self._hub.thread.join, 5.0)

    def _end(self) -> None:
        if self._own:
            self._hub.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self._close(())


def LegGroup(leg: AsyncProxy) -> AsyncProxy:
    """``greensip.LegGroup(leg)``, to be entered with ``async with``; ``await ua.group()`` makes one bound to none."""
    return AsyncProxy(leg._hub, blocking.LegGroup(unwrapped(leg._hub, leg)))


def Bridge(a: AsyncProxy, b: AsyncProxy, **options: Any) -> Pending:
    """``await (await Bridge(a, b)).wait()``: joins two legs of one hub."""
    return Pending(lambda: in_hub(a._hub, blocking.Bridge, (a, b), options))


class Hunt:
    """``await aio.Hunt(routes, timeout=8).call(ua, ...)``: ``greensip.Hunt``; ``ua`` may be a group, too."""

    __slots__ = ('_hunt',)

    def __init__(self, routes: Iterable[Any], **options: Any) -> None:
        self._hunt = blocking.Hunt(routes, **options)

    def call(self, caller: AsyncProxy, **options: Any) -> Pending:
        """Try the routes until one is answered: its leg.  Raises as ``greensip.Hunt.call``."""
        return Pending(lambda: in_hub(caller._hub, self._hunt.call, (caller,), options))

    @property
    def errors(self) -> list[GreensipError]:
        """What came of the routes that failed.  Not awaited: it is here."""
        return self._hunt.errors

    def __repr__(self) -> str:
        return repr(self._hunt)


async def wait_any(*sources: Any, timeout: float | None = None) -> Any:
    """``greensip.wait_any``: sources are ``leg.on('BYE')``, awaited before or not, and ``greensip.after(20)``."""
    sources = tuple([await source if isinstance(source, Pending) else source for source in sources])
    for source in sources:
        if isinstance(source, AsyncProxy):
            return await in_hub(source._hub, blocking.wait_any, sources, {'timeout': timeout})
    raise UsageError('wait for what? Give at least one leg.on(...)')


async def raw_in_hub(hub: Hub, fn: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
    """Call ``fn`` in the hub; the result as it is."""
    return await asyncio.wrap_future(hub.submit(fn, *args))


async def in_hub(hub: Hub, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call ``fn`` in the hub, and return what an event loop may see of its result."""
    args = tuple(unwrapped(hub, arg) for arg in args)
    kwargs = {name: unwrapped(hub, arg) for name, arg in kwargs.items()}
    return wrapped(hub, await asyncio.wrap_future(hub.submit(lambda: fn(*args, **kwargs))))


def wrapped(hub: Hub, value: Any) -> Any:
    """What an event loop gets to see of ``value``."""
    if isinstance(value, BOUND):
        return AsyncProxy(hub, value)
    if isinstance(value, CARRIERS):
        return Seen(value, partial(wrapped, hub))
    if type(value) in (list, tuple):
        return type(value)(wrapped(hub, item) for item in value)
    if type(value) is dict:
        return {key: wrapped(hub, item) for key, item in value.items()}
    return value


def unwrapped(hub: Hub, value: Any) -> Any:
    """What ``value`` stands for in the hub; a coroutine function becomes a function that a greenlet can call."""
    if isinstance(value, AsyncProxy):
        return value._target
    if isinstance(value, (Proxy, Seen)):
        return unwrap(value)
    if type(value) in (list, tuple):
        return type(value)(unwrapped(hub, item) for item in value)
    if inspect.iscoroutinefunction(value):
        return in_loop(hub, value)
    return value


def in_loop(hub: Hub, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """``fn`` as a greenlet of the hub may call it: it waits there while the coroutine runs in this event loop.

    A greenlet that is killed cancels its coroutine.
    """
    loop = asyncio.get_running_loop()

    def call(*args: Any) -> Any:
        done = Event()
        coroutine: Any = fn(*(wrapped(hub, arg) for arg in args))
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        future.add_done_callback(lambda _: hub.wake(done.set))
        try:
            done.wait()
        except BaseException:
            future.cancel()
            raise
        return unwrapped(hub, future.result())

    return call
