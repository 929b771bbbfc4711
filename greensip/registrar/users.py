"""Who may register, and what proves it: H(username:realm:password), never the password (RFC 7616 3.4.2).

A user is a name such as ``alice``, who has the address of record ``alice`` in the first domain of the registrar, or one
such as ``bob@example.net``, for another domain of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Protocol

from greensip.errors import SetupError
from greensip.message.digest import ALGORITHMS, hash_password, is_supported

__all__ = ['FileUsers', 'MemoryUsers', 'Users', 'hashes_of']

#: algorithms whose hash has so many digits
_BY_LENGTH = {32: 'MD5', 64: 'SHA-256'}


class Users(Protocol):
    """What the registrar wants to know of its users.  Must not block for long."""

    def hashes(self, username: str) -> Mapping[str, str] | None:
        """By algorithm, what ``hash_password`` made of the password; None for somebody who is no user."""


def hashes_of(username: str, realm: str, password: str) -> dict[str, str]:
    """What is kept in place of a password: its hash by each algorithm that this machine has."""
    return {name: hash_password(name, username, realm, password) for name in ALGORITHMS if is_supported(name)}


class MemoryUsers:
    """Users that a program names: ``MemoryUsers('example.com', {'alice': 's3cret'})``."""

    def __init__(self, realm: str, passwords: Mapping[str, str] | None = None) -> None:
        self.realm = realm
        self._hashes: dict[str, dict[str, str]] = {}
        for username, password in (passwords or {}).items():
            self.add(username, password)

    def add(self, username: str, password: str) -> None:
        """One more user, or another password."""
        self._hashes[username] = hashes_of(username, self.realm, password)

    def remove(self, username: str) -> bool:
        """False if there was no such user."""
        return self._hashes.pop(username, None) is not None

    def hashes(self, username: str) -> Mapping[str, str] | None:
        """As ``Users`` has it."""
        return self._hashes.get(username)


class FileUsers:
    """Users in a file as ``htdigest`` writes it, a line ``username:realm:hash`` each: MD5 by 32 digits, SHA-256 by 64.

    It is read again when it has changed.  SetupError if it cannot be read at the start, or a line makes no sense.
    """

    def __init__(self, path: str | os.PathLike[str], realm: str) -> None:
        self.path = os.fspath(path)
        self.realm = realm
        self._stamp: tuple[int, int] = (0, 0)
        self._hashes: dict[str, dict[str, str]] = {}
        try:
            self._read()
        except OSError as error:
            raise SetupError(f'the users cannot be read from {self.path}: {error.strerror}') from None

    def _read(self) -> None:
        status = os.stat(self.path)
        if (status.st_mtime_ns, status.st_size) == self._stamp:
            return
        found: dict[str, dict[str, str]] = {}
        with open(self.path, encoding='utf-8', errors='surrogateescape') as file:
            for number, line in enumerate(file, 1):
                text = line.strip()
                if not text or text.startswith('#'):
                    continue
                username, realm, digest = [*text.split(':'), '', ''][:3]
                if text.count(':') != 2 or not username or re.fullmatch('[0-9a-fA-F]+', digest) is None or (
                        len(digest) not in _BY_LENGTH):
                    raise SetupError(f'{self.path}, line {number}: write username:realm:hash')
                if realm == self.realm:
                    found.setdefault(username, {})[_BY_LENGTH[len(digest)]] = digest.lower()
        self._stamp = status.st_mtime_ns, status.st_size
        self._hashes = found

    def hashes(self, username: str) -> Mapping[str, str] | None:
        """As ``Users`` has it.  A file that is gone, or broken by now, leaves the users as they were."""
        try:
            self._read()
        except (OSError, SetupError):
            pass
        return self._hashes.get(username)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Those for which every user has a hash, MD5 first: only these can be asked for."""
        return tuple(name for name in ALGORITHMS
                     if self._hashes and all(name in hashes for hashes in self._hashes.values()))
