"""Bindings and users in one SQLite file.

Each REGISTER is one transaction of the database: when the client has its 200 the change is in the file.  A write-ahead
log takes it, so that nothing waits for the disk; what makes the log part of the file again, and does wait, runs in
another OS thread.  A machine that loses power may lose the last changes, never the consistency of the file; the clients
register again in time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import quote

from greensip.errors import SetupError

from .binding import Binding
from .store import StoreError
from .users import hashes_of

__all__ = ['Database']

#: for what is read and written here; a file of a later version is not touched
VERSION = 1
#: seconds for which we wait for another program that writes to the file
PATIENCE = 0.2

_SCHEMA = '''
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS user (
    realm TEXT NOT NULL, username TEXT NOT NULL, algorithm TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (realm, username, algorithm)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS binding (
    number INTEGER PRIMARY KEY, aor TEXT NOT NULL, contact TEXT NOT NULL, params TEXT NOT NULL, q REAL NOT NULL,
    expires REAL NOT NULL, updated REAL NOT NULL, call_id TEXT NOT NULL, cseq INTEGER NOT NULL, path TEXT NOT NULL,
    instance TEXT NOT NULL, reg_id INTEGER NOT NULL, source TEXT NOT NULL, user_agent TEXT NOT NULL,
    gruu TEXT NOT NULL);
'''

_COLUMNS = ('aor', 'contact', 'params', 'q', 'expires', 'updated', 'call_id', 'cseq', 'path', 'instance', 'reg_id',
            'source', 'user_agent', 'gruu')
_INSERT = f'INSERT INTO binding ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})'
_UPDATE = f'UPDATE binding SET {", ".join(f"{name} = ?" for name in _COLUMNS)} WHERE number = ?'
_DELETE = 'DELETE FROM binding WHERE number = ?'
_SELECT = f'SELECT number, {", ".join(_COLUMNS)} FROM binding'


class Database:
    """A ``Store`` and ``Users`` in the SQLite file ``path``; ``:memory:`` for none.

    ``realm`` is that of the users.  A file that it makes is for its owner only.  Raises SetupError, a sentence, when
    the file cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str] = ':memory:', realm: str = 'greensip') -> None:
        self.path = os.fspath(path)
        self.realm = realm
        self._is_file = self.path not in ('', ':memory:')
        #: changes since the log was taken into the file last; none are counted where there is no file
        self.pending = 0
        self._connection: sqlite3.Connection | None = None
        if self._is_file:
            # RFC 7616 5.2: the hashes are as good as passwords.  The log gets the mode of the file.
            with suppress(OSError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            # Another thread takes the log into the file with a connection of its own.
            connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            try:
                version = connection.execute('PRAGMA user_version').fetchone()[0]
                if version > VERSION:
                    raise SetupError(f'{self.path} was written by a later version of greensip')
                connection.execute('PRAGMA journal_mode = WAL')
                connection.execute('PRAGMA synchronous = NORMAL')
                connection.execute('PRAGMA wal_autocheckpoint = 0')
                if version < VERSION:
                    connection.executescript(f'{_SCHEMA} PRAGMA user_version = {VERSION};')
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise SetupError(f'the database {self.path} cannot be used: {error}') from None
        self._connection = connection

    def __repr__(self) -> str:
        return f'<Database {self.path}>'

    @property
    def connection(self) -> sqlite3.Connection:
        """Raises StoreError once it is closed."""
        if self._connection is None:
            raise StoreError(f'the database {self.path} is closed')
        return self._connection

    # -- a store

    def load(self) -> Iterable[tuple[str, Binding]]:
        """All bindings, with their addresses of record.  Raises SetupError."""
        try:
            rows = self.connection.execute(_SELECT).fetchall()
        except sqlite3.Error as error:
            raise SetupError(f'the database {self.path} cannot be read: {error}') from None
        for (number, aor, contact, params, q, expires, updated, call_id, cseq, path, instance, reg_id, source,
             user_agent, gruu) in rows:
            yield aor, Binding(contact, params=params, q=q, expires=expires, updated=updated, call_id=call_id,
                               cseq=cseq, path=path.split('\n') if path else (), instance=instance, reg_id=reg_id,
                               source=source, user_agent=user_agent, gruu=gruu, number=number)

    def change(self, aor: str, put: Sequence[Binding], drop: Sequence[Binding]) -> None:
        """One transaction.  Raises StoreError, and nothing has changed then."""
        connection = self.connection
        made: list[Binding] = []
        try:
            # A single statement is a transaction by itself.
            several = len(put) + len(drop) > 1
            if several:
                connection.execute('BEGIN IMMEDIATE')
            for binding in put:
                row = (aor, binding.contact, binding.params, binding.q, binding.expires, binding.updated,
                       binding.call_id, binding.cseq, '\n'.join(binding.path), binding.instance, binding.reg_id,
                       binding.source, binding.user_agent, binding.gruu)
                if binding.number:
                    connection.execute(_UPDATE, (*row, binding.number))
                else:
                    made.append(binding)
                    binding.number = connection.execute(_INSERT, row).lastrowid or 0
            for binding in drop:
                connection.execute(_DELETE, (binding.number,))
            if several:
                connection.execute('COMMIT')
            if self._is_file:
                self.pending += 1
        except (sqlite3.Error, UnicodeEncodeError) as error:
            for binding in made:
                binding.number = 0
            if connection.in_transaction:
                connection.execute('ROLLBACK')
            raise StoreError(f'{self.path}: {error}') from None

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Octets that stay the same as long as the file.  Raises StoreError."""
        connection = self.connection
        statement = 'SELECT value FROM setting WHERE name = ?'
        try:
            row = connection.execute(statement, (name,)).fetchone()
            if row is None:
                connection.execute('INSERT OR IGNORE INTO setting VALUES (?, ?)', (name, make()))
                row = connection.execute(statement, (name,)).fetchone()
        except sqlite3.Error as error:
            raise StoreError(f'{self.path}: {error}') from None
        value: bytes = row[0]
        return value

    def tidy(self) -> int:
        """Take the log into the file, and return how many pages it has.

        Waits for the disk: for another OS thread, or when nothing else goes on.
        """
        self.pending = 0
        try:
            connection = sqlite3.connect(f'file:{quote(self.path)}?mode=rw', uri=True, timeout=PATIENCE,
                                         isolation_level=None)
        except sqlite3.Error:
            return 0
        try:
            connection.execute('PRAGMA synchronous = NORMAL')
            return self._checkpoint(connection)
        except sqlite3.Error:
            # It stays in the log, which is as good, until the next time.
            return 0
        finally:
            connection.close()

    def begin_log_anew(self) -> None:
        """Take in what has come since ``tidy``: the log begins anew only when all is taken in.  Waits for the disk."""
        try:
            self._checkpoint(self.connection)
        except (sqlite3.Error, StoreError):
            pass

    def _checkpoint(self, connection: sqlite3.Connection) -> int:
        pages: int = connection.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchone()[1]
        return pages

    def close(self) -> None:
        """Close the file; the log becomes part of it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- users

    def add_user(self, username: str, password: str) -> None:
        """One more user, or another password.  Raises StoreError."""
        rows = [(self.realm, username, name, digest)
                for name, digest in hashes_of(username, self.realm, password).items()]
        self._write('INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?)', rows)

    def remove_user(self, username: str) -> bool:
        """False if there was no such user.  Raises StoreError."""
        return self._write('DELETE FROM user WHERE realm = ? AND username = ?', [(self.realm, username)]) > 0

    def _write(self, statement: str, rows: Sequence[tuple[str, ...]]) -> int:
        connection = self.connection
        try:
            connection.execute('BEGIN IMMEDIATE')
            count = connection.executemany(statement, rows).rowcount
            connection.execute('COMMIT')
        except (sqlite3.Error, UnicodeEncodeError) as error:
            if connection.in_transaction:
                connection.execute('ROLLBACK')
            raise StoreError(f'{self.path}: {error}') from None
        return count

    def usernames(self) -> list[str]:
        """The users of the realm, sorted.  Raises StoreError."""
        try:
            return [name for name, in self.connection.execute(
                'SELECT DISTINCT username FROM user WHERE realm = ? ORDER BY username', (self.realm,))]
        except sqlite3.Error as error:
            raise StoreError(f'{self.path}: {error}') from None

    def hashes(self, username: str) -> Mapping[str, str] | None:
        """As ``Users`` has it; what another program has changed in the file is seen at once."""
        try:
            rows = self.connection.execute('SELECT algorithm, hash FROM user WHERE realm = ? AND username = ?',
                                           (self.realm, username)).fetchall()
        except (sqlite3.Error, UnicodeEncodeError):
            # A name with broken octets is nobody's.
            return None
        return dict(rows) if rows else None
