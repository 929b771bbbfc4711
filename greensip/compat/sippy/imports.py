"""What is changed in modules of sippy that a program may import or not: right after it does.

**Locks of sippy.Rtp.**  The threads that play and record are written in C, of ``rtpsynth``.  They call back into Python
and take locks there, while the thread of the loop waits for them in C.  With locks of gevent's that is a deadlock: who
could release one runs in the hub, and the hub does not run.  So these are locks of the system, also after
``gevent.monkey.patch_all()``.  What such a callback calls in a program needs them as well, from
``gevent.monkey.get_original('_thread', 'allocate_lock')``.

**Looking up names.**  sippy does it in its loop and waits for the answer.  Its callbacks still wait, one after the
other; the hub and whatever else runs there does not.

**Marks.**  ``'my' in dir(host)`` is how sippy asks whether an address, a port or a transport stands for its own.  That
has all names of the value sorted for an answer of one bit, 80 times a call: a quarter of what a call costs.

**Identities.**  A session of RTPProxy has to know in which thread it was made, not in which greenlet.
"""

from __future__ import annotations

import importlib.machinery
import queue
import socket
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import gevent.socket
from sippy.Core.EventDispatcher import ED2

from . import natives
from .natives import SimpleQueue, allocate_lock, get_ident

__all__ = ['CHANGES', 'AfterImport', 'getaddrinfo']

#: what an object says that stands for an address, port or transport of ours
MARKED = ('my',)

Change = Callable[[dict[str, Any]], None]


def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[Any]:
    """As that of ``socket``; in the loop of ED2 it blocks the greenlet, not the hub."""
    try:
        return list(natives.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST))
    except OSError:
        look_up = natives.getaddrinfo if ED2._greenlet is None or get_ident() != ED2.my_ident else (
            gevent.socket.getaddrinfo)
        return list(look_up(host, port, family, type, proto, flags))


class SocketModule(ModuleType):
    """``socket`` with this ``getaddrinfo``."""

    getaddrinfo = staticmethod(getaddrinfo)

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


def native_lock(names: dict[str, Any]) -> None:
    names['Lock'] = allocate_lock


def native_singletons(names: dict[str, Any]) -> None:
    native_lock(names)
    native = type(allocate_lock())
    for name in ('_rtp_proc_lock', '_rtp_server_lock'):
        if not isinstance(names[name], native):
            names[name] = allocate_lock()


def native_worker(names: dict[str, Any]) -> None:
    names['threading'] = SimpleNamespace(Lock=allocate_lock)
    names['queue'] = SimpleNamespace(Queue=SimpleQueue, Empty=queue.Empty)


def native_identity(names: dict[str, Any]) -> None:
    names['get_ident'] = get_ident


def own_socket(names: dict[str, Any]) -> None:
    names['socket'] = SocketModule('socket')


def own_getaddrinfo(names: dict[str, Any]) -> None:
    names['getaddrinfo'] = getaddrinfo


def marks(value: Any) -> tuple[str, ...]:
    """What ``dir(value)`` says of the one name that is looked for in it."""
    return MARKED if hasattr(value, 'my') else ()


def quick_marks(names: dict[str, Any]) -> None:
    names['dir'] = marks


#: by module
CHANGES: dict[str, Change] = {
    'sippy.B2B.Route': own_getaddrinfo,
    'sippy.Rtp.EPoint': native_lock,
    'sippy.Rtp.Ingest': native_lock,
    'sippy.Rtp.OutputWorker': native_worker,
    'sippy.Rtp.Singletons': native_singletons,
    'sippy.Rtp_proxy.Client.net': own_getaddrinfo,
    'sippy.Rtp_proxy.session': native_identity,
    'sippy.SdpOrigin': quick_marks,
    'sippy.SipConf': quick_marks,
    'sippy.SipTransactionManager': own_socket,
    'sippy.SipURL': quick_marks,
    'sippy.SipVia': quick_marks,
    'sippy.Udp_server': own_socket,
    'sippy.misc': own_socket,
}


class AfterImport:
    """An importer that imports nothing: it makes a change to a module that another one has just imported."""

    def __init__(self, changes: dict[str, Change]) -> None:
        self.changes = changes

    def install(self) -> None:
        """Change what is imported already, and be asked for what will be."""
        for name, change in self.changes.items():
            if name in sys.modules:
                change(vars(sys.modules[name]))
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        """The module as others find it, with one thing more to do once it has been executed."""
        change = self.changes.get(name)
        if change is None:
            return None
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None and spec.loader is not None:
                    change_after(spec.loader, change)
                    return spec
        return None


def change_after(loader: Any, change: Change) -> None:
    """Make ``change`` part of what a loader does; the loader is of one module alone."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        change(vars(module))

    loader.exec_module = exec_module
