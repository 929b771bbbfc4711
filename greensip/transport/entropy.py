"""Randomness for tags, branches and Call-IDs: the system's, fetched in larger pieces (RFC 3261 19.3, 8.1.1.4, 8.1.1.7).

A call needs about ten random numbers of 64 to 128 bits.  ``random.SystemRandom`` makes a system call for each, which is
3 % of what a call costs; one for 4096 octets costs as much as one for eight.
"""

from __future__ import annotations

import os
import struct
import weakref

__all__ = ['Entropy']

POOL = 4096

_WORDS = struct.Struct(f'{POOL // 8}Q')

_pools: weakref.WeakSet[Entropy] = weakref.WeakSet()


class Entropy:
    """Cryptographically random numbers; a forked process never sees those of its parent."""

    __slots__ = ('__weakref__', '_words')

    def __init__(self) -> None:
        #: what was fetched, as numbers of 64 bits
        self._words: list[int] = []
        _pools.add(self)

    def getrandbits(self, k: int, /) -> int:
        """``k`` random bits, 0 to 4096 * 8."""
        words = self._words
        if len(words) < 2:
            words += _WORDS.unpack(os.urandom(POOL))
        if 0 <= k <= 64:
            return words.pop() >> (64 - k)
        if 64 < k <= 128:
            return (words.pop() << 64 | words.pop()) >> (128 - k)
        size = (k + 7) >> 3
        if not 0 <= size <= POOL:
            raise ValueError(f'not a number of random bits: {k}')
        return int.from_bytes(os.urandom(size), 'big') >> (size * 8 - k)

    def forget(self) -> None:
        """Throw away what was fetched."""
        self._words.clear()


def _forget_all() -> None:
    for pool in _pools:
        pool.forget()


os.register_at_fork(after_in_child=_forget_all)
