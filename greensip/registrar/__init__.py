"""A registrar (RFC 3261 10.3) with digest, Path, outbound and GRUU, that brings calls to who registered.  See ``app``.

``serve(Options(...))`` is the whole program; ``Registrar(ua, ...)`` is for programs of one's own.
"""

from __future__ import annotations

from .app import Registrar
from .binding import Binding
from .location import Change, Location, Policy
from .program import Options, open_registrar, serve
from .sqlite import Database
from .store import MemoryStore, Store, StoreError
from .users import FileUsers, MemoryUsers, Users

__all__ = ['Binding', 'Change', 'Database', 'FileUsers', 'Location', 'MemoryStore', 'MemoryUsers', 'Options', 'Policy',
           'Registrar', 'Store', 'StoreError', 'Users', 'open_registrar', 'serve']
