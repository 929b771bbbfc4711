"""Randomness for tags, branches and Call-IDs: the system's, fetched in larger pieces (RFC 3261 19.3, 8.1.1.4, 8.1.1.7).

A call needs about ten random numbers of 64 to 128 bits.  ``random.SystemRandom`` makes a system call for each, which is
3 % of what a call costs; one for 4096 octets costs as much as one for eight.
"""

from __future__ import annotations

import os
import weakref

__all__ = ['Entropy']

POOL = 4096

_pools: weakref.WeakSet[Entropy] = weakref.WeakSet()


class Entropy:
    """Cryptographically random numbers; a forked process never sees those of its parent."""

    __slots__ = ('__weakref__', '_at', '_pool')

    def __init__(self) -> None:
        self._pool = b''
        self._at = 0
        _pools.add(self)

    def getrandbits(self, k: int, /) -> int:
        """``k`` random bits, 0 to 4096 * 8."""
        size = (k + 7) >> 3
        at = self._at
        end = at + size
        if end > len(self._pool):
            if not 0 <= size <= POOL:
                raise ValueError(f'not a number of random bits: {k}')
            self._pool = os.urandom(POOL)
            at, end = 0, size
        self._at = end
        return int.from_bytes(self._pool[at:end], 'big') >> (size * 8 - k)

    def forget(self) -> None:
        """Throw away what was fetched."""
        self._pool = b''
        self._at = 0


def _forget_all() -> None:
    for pool in _pools:
        pool.forget()


os.register_at_fork(after_in_child=_forget_all)
