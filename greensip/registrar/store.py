"""Where bindings are kept beyond the life of the program.

The registrar works on its own table in memory, which is read from the store at the start.  Each REGISTER tells the
store what has changed, in one step, before anybody else gets to see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from .binding import Binding

__all__ = ['MemoryStore', 'Store', 'StoreError']


class StoreError(Exception):
    """The store cannot keep a change: a full disk, a database that somebody else holds."""


class Store(Protocol):
    """What the registrar wants of a store.  Its methods do not block for long."""

    def load(self) -> Iterable[tuple[str, Binding]]:
        """All bindings, each with its address of record."""

    def change(self, aor: str, put: Sequence[Binding], drop: Sequence[Binding]) -> None:
        """Keep ``put``, which have a number that is known, or are given one, and forget ``drop``: all of it, or
        StoreError."""

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Octets that stay the same from start to start; ``make`` gives them when there are none yet."""

    def close(self) -> None:
        """Done.  Twice does nothing."""


class MemoryStore:
    """Forgets everything with the program."""

    def __init__(self) -> None:
        self._secrets: dict[str, bytes] = {}
        self._last = 0

    def load(self) -> Iterable[tuple[str, Binding]]:
        """There are none."""
        return ()

    def change(self, aor: str, put: Sequence[Binding], drop: Sequence[Binding]) -> None:
        """The registrar's own table is all there is."""
        for binding in put:
            if not binding.number:
                self._last += 1
                binding.number = self._last

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """New ones for each program."""
        return self._secrets.setdefault(name, make())

    def close(self) -> None:
        """Nothing to be done."""
