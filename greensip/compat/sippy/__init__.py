"""Programs written for sippy, unmodified, on greensip's hub.

``import greensip.compat.sippy`` patches sippy in place, whether that was imported before or is later: its event loop
``ED2``, its timers and its UDP servers run on the gevent hub of the thread that calls ``ED2.loop()``, beside native
user agents and legs.  Nothing else of sippy is touched.  ``greensip-sippy SCRIPT`` does it for a program as it stands.

No monkey patching is needed, and threads of sippy stay threads.  ``gevent.monkey.patch_all()`` is supported as well;
``patch_all(thread=False)`` is refused.

Beyond sippy: a callback starts linear code with ``run_in_greenlet``, and that calls sippy's objects, which know
nothing of greenlets, with ``call_in_loop``.

Raises ImportError if sippy is not installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import gevent

if importlib.util.find_spec('sippy') is None:
    raise ImportError('greensip.compat.sippy needs sippy: pip install greensip[sippy]', name='sippy')

from .patch import ED2, install

__all__ = ['ED2', 'call_in_loop', 'run_in_greenlet']

install()


def run_in_greenlet(function: Callable[..., Any], *args: Any) -> gevent.Greenlet[..., Any]:
    """Start ``function(*args)`` in a greenlet beside the loop of sippy, where it may block; the greenlet.

    Raises WrongThread in a thread other than the loop's.
    """
    greenlet: gevent.Greenlet[..., Any] = ED2.run_in_greenlet(function, *args)
    return greenlet


def call_in_loop(function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function(*args)`` in the loop of sippy, between two callbacks; what it returns or raises.

    Blocks the calling greenlet, or thread, until then.  In the loop itself it is a plain call.
    """
    return ED2.call_in_loop(function, *args)
