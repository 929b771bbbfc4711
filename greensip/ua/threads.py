"""Legs, groups and user agents for other OS threads: proxies that block only the thread that calls.

    safe = ua.from_thread()                     # in Flask, in a thread pool, anywhere
    with safe.invite('sip:bob@127.0.0.1:5080') as leg:
        leg.wait_for('200', timeout=20)

A proxy has the verbs and attributes of what it stands for.  Each use runs in a greenlet of the owner's hub; the
calling thread waits on a native lock.  Arguments that are proxies arrive as the objects they stand for; results that
belong to the hub come back as proxies; messages and numbers as they are, events too, but for the leg in them.  What can
be iterated can be iterated from there too, each step in the hub; ``leg.data = 7`` assigns there.  A ``with
deadline(...)`` of the calling thread holds there too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Final

from gevent import Greenlet

from greensip.dialog.event import Event
from greensip.native import mypyc_attr
from greensip.transport.keepalive import KeepAlive

from .deadline import current_deadline, deadline, inherited
from .engine import Engine, thread_ident

__all__ = ['BOUND', 'CARRIERS', 'Carrier', 'Proxy', 'Seen', 'ThreadBound', 'run_in_hub', 'unwrap', 'wrap']


@mypyc_attr(allow_interpreted_subclasses=True)
class ThreadBound:
    """Base of what must be used in its hub's thread only, and so reaches other threads as a proxy."""

    __slots__ = ()


@mypyc_attr(allow_interpreted_subclasses=True)
class Carrier:
    """Base of plain values that know a leg, such as events: other threads see them as ``Seen``."""

    __slots__ = ()


#: what belongs to a hub and so leaves it as a proxy only
BOUND: Final = (ThreadBound, Engine, KeepAlive, Greenlet)
#: what leaves it as it is, but for the leg in it
CARRIERS: Final = (Carrier, Event)


class Seen:
    """An event as another thread sees it: what it says as it is, its leg as a proxy."""

    __slots__ = ('_carrier', '_wrap')

    def __init__(self, carrier: Any, wrap: Callable[[Any], Any]) -> None:
        self._carrier = carrier
        self._wrap = wrap

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        return self._wrap(getattr(self._carrier, name))

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._carrier) if not name.startswith('_')]

    def __eq__(self, other: object) -> bool:
        return unwrap(other) is self._carrier

    def __hash__(self) -> int:
        return hash(id(self._carrier))

    def __repr__(self) -> str:
        return repr(self._carrier)


class Proxy:
    """Stands for an object of ``engine``'s thread in any other one.  Made by ``from_thread()`` and by other proxies."""

    __slots__ = ('_engine', '_target')

    _engine: Engine
    _target: Any

    def __init__(self, engine: Engine, target: Any) -> None:
        object.__setattr__(self, '_engine', engine)
        object.__setattr__(self, '_target', target)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        engine, target = self._engine, self._target
        if callable(getattr(type(target), name, None)):
            def call(*args: Any, **kwargs: Any) -> Any:
                return run_in_hub(engine, getattr(target, name), args, kwargs)

            call.__name__ = name
            call.__doc__ = getattr(type(target), name).__doc__
            return call
        return run_in_hub(engine, getattr, (target, name), {})

    def __setattr__(self, name: str, value: Any) -> None:
        run_in_hub(self._engine, setattr, (self._target, name, value), {})

    def __iter__(self) -> Iterator[Any]:
        # The iterator belongs to the hub as well: only its items come out.
        iterator = _begin(self._engine, self._target)
        while True:
            item = run_in_hub(self._engine, next, (iterator, _END), {})
            if item is _END:
                return
            yield item

    def __len__(self) -> int:
        length: int = run_in_hub(self._engine, len, (self._target,), {})
        return length

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return run_in_hub(self._engine, operator.getitem, (self._target, key), {})

    def __enter__(self) -> Any:
        return run_in_hub(self._engine, self._target.__enter__, (), {})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> Any:
        # The traceback stays here: its frames belong to this thread.
        return run_in_hub(self._engine, self._target.__exit__, (kind, error, None), {})

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._target) if not name.startswith('_')]

    def __eq__(self, other: object) -> bool:
        return unwrap(other) is self._target

    def __hash__(self) -> int:
        return hash(id(self._target))

    def __repr__(self) -> str:
        return f'<Proxy of {self._target!r}>'


#: ends an iteration: StopIteration cannot travel through a future
_END: Final = object()


class _Box:
    """Carries something of the hub out as it is, for the proxies themselves."""

    __slots__ = ('content',)

    def __init__(self, content: Any) -> None:
        self.content = content


def _begin(engine: Engine, target: Any) -> Any:
    """The iterator of something in the hub."""
    box: Any = run_in_hub(engine, lambda: _Box(iter(target)), (), {})
    return box.content


def run_in_hub(engine: Engine, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call ``fn`` in the engine's hub, wait here, and return or raise what it returned or raised."""
    args = tuple(unwrap(arg) for arg in args)
    kwargs = {name: unwrap(arg) for name, arg in kwargs.items()}
    if thread_ident() == engine.thread:
        return fn(*args, **kwargs)
    future = engine.post(_call, current_deadline(), fn, args, kwargs)
    try:
        return wrap(engine, future.result())
    except BaseException:
        # Ctrl-C in the calling thread: nobody waits any more.  Does nothing when the call itself raised.
        future.cancel()
        raise


def _call(budget: deadline | None, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if budget is None:
        return fn(*args, **kwargs)
    with inherited(budget):
        return fn(*args, **kwargs)


def wrap(engine: Engine, value: Any) -> Any:
    """What another thread gets to see of ``value``."""
    if isinstance(value, BOUND):
        return Proxy(engine, value)
    if isinstance(value, CARRIERS):
        return Seen(value, partial(wrap, engine))
    if type(value) in (list, tuple):
        return type(value)(wrap(engine, item) for item in value)
    if type(value) is dict:
        return {key: wrap(engine, item) for key, item in value.items()}
    return value


def unwrap(value: Any) -> Any:
    """What ``value`` stands for."""
    if type(value) is Proxy:
        return value._target
    if type(value) is Seen:
        return value._carrier
    if type(value) in (list, tuple):
        return type(value)(unwrap(item) for item in value)
    return value
