"""The command socket: a line in, an answer out, several clients at a time.

The commands are those of sippy's b2bua, in either case: ``q`` closes the connection, ``l`` lists the calls, ``lt`` the
transactions and ``llt`` those older than a minute, ``d <call-id>`` hangs a call up and ``d *`` all of them,
``r <id> [index]`` is a media relay telling that a call's media stopped.

What clients may do to us is bounded by ``MAX_LINE``, ``MAX_CLIENTS`` (the longest silent one makes room) and
``PATIENCE`` with a client that does not read its answers.
"""

from __future__ import annotations

import errno
import logging
import os
import socket as native
import stat
from collections.abc import Iterable, Iterator
from typing import Protocol

import gevent
from gevent import socket

from greensip.errors import SetupError

__all__ = ['CommandSocket', 'Controlled', 'socket_address']

log = logging.getLogger('greensip.b2bua.control')

MAX_LINE = 1024
MAX_CLIENTS = 64
#: seconds that a client may take to read what it asked for
PATIENCE = 10.0
#: lines that are sent at once; other greenlets run in between
_BATCH = 200
_DEFAULT_TCP_PORT = 12345


class Controlled(Protocol):
    """What the commands need of a program."""

    def call_lines(self) -> Iterable[str]:
        """A line for each call, then their total."""

    def transaction_lines(self, older_than: float) -> Iterable[str]:
        """A line for each transaction that lives longer than that many seconds."""

    def disconnect(self, call_id: str) -> int:
        """Hang up the calls with this Call-ID; how many there were."""

    def disconnect_all(self) -> None:
        """Hang up every call."""

    def media_timeout(self, number: int, index: int) -> bool:
        """The media of call ``number`` stopped; False if there is no such call."""


def socket_address(text: str) -> str | tuple[str, int]:
    """The path, or host and port, of ``path``, ``unix:path`` or ``tcp:host[:port]``; ValueError."""
    if not text.startswith('tcp:'):
        path = text.removeprefix('unix:')
        if not path or '\0' in path:
            raise ValueError('the command socket needs a path, unix:path or tcp:host:port')
        return path
    host, _, port = text[4:].partition(']') if text.startswith('tcp:[') else text[4:].partition(':')
    port = port.removeprefix(':') or str(_DEFAULT_TCP_PORT)
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f'{text!r} is not tcp:host:port')
    return host.removeprefix('['), int(port)


class CommandSocket:
    """Listens from the moment it is made; SetupError if it cannot.  ``close()`` ends it and its clients."""

    def __init__(self, text: str, program: Controlled) -> None:
        self.text = text
        self.program = program
        self.address = socket_address(text)
        #: the clients' connections, the longest silent one first
        self.clients: dict[socket.socket, gevent.Greenlet[..., None]] = {}
        try:
            self.listener = _bind(self.address)
        except OSError as error:
            raise SetupError(f'the command socket {text} cannot be opened: {error.strerror or error}') from None
        self.inode = os.stat(self.address).st_ino if isinstance(self.address, str) else 0
        self.acceptor = gevent.spawn(self._accept)

    def close(self) -> None:
        """Stop listening, drop the clients, remove the socket's file.  Does not block."""
        self.acceptor.kill(block=False)
        self.listener.close()
        for client, greenlet in list(self.clients.items()):
            greenlet.kill(block=False)
            client.close()
        self.clients.clear()
        if isinstance(self.address, str):
            try:
                # Another program may have put its own there meanwhile.
                if os.stat(self.address).st_ino == self.inode:
                    os.unlink(self.address)
            except OSError:
                pass

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError as error:
                if error.errno in (errno.EBADF, errno.EINVAL):
                    return
                log.warning('! the command socket accepts nobody: %s', error)
                gevent.sleep(1.0)
                continue
            if len(self.clients) >= MAX_CLIENTS:
                silent, greenlet = next(iter(self.clients.items()))
                self._drop(silent)
                greenlet.kill(block=False)
            self.clients[client] = gevent.spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            client.settimeout(None)
            for line in self._lines(client):
                self.clients[client] = self.clients.pop(client)
                client.settimeout(PATIENCE)
                for answer in _in_batches(self._answer(line)):
                    client.sendall(answer.encode('utf-8', 'backslashreplace'))
                    gevent.sleep(0)
                client.settimeout(None)
        except OSError as error:
            log.debug('! a client of the command socket is gone: %s', error)
        except Exception:
            log.exception('! a command failed')
        finally:
            self._drop(client)

    def _lines(self, client: socket.socket) -> Iterator[str]:
        """The lines that a client sends, until it leaves or says ``q``."""
        buffer = b''
        while True:
            data = client.recv(4096)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b'\n')
            for line in lines:
                text = line.decode('utf-8', 'replace').strip()
                if text.lower().split()[:1] == ['q']:
                    return
                if len(line) > MAX_LINE:
                    yield ''
                    return
                if text:
                    yield text
            if len(buffer) > MAX_LINE:
                yield ''
                return

    def _answer(self, line: str) -> Iterator[str]:
        """The lines that answer a command."""
        command, *arguments = line.split() or ['']
        command = command.lower()
        if command == 'l':
            yield 'In-memory calls:'
            yield from self.program.call_lines()
        elif command in ('lt', 'llt'):
            yield from self.program.transaction_lines(60.0 if command == 'llt' else 0.0)
        elif command == 'd':
            yield self._disconnect(arguments)
        elif command == 'r':
            yield self._media_timeout(arguments)
        else:
            yield 'ERROR: unknown command' if command else 'ERROR: line too long'

    def _disconnect(self, arguments: list[str]) -> str:
        if len(arguments) != 1:
            return 'ERROR: syntax error: d <call-id>'
        if arguments[0] == '*':
            self.program.disconnect_all()
        elif not self.program.disconnect(arguments[0]):
            return f'ERROR: no call with id of {arguments[0]} has been found'
        return 'OK'

    def _media_timeout(self, arguments: list[str]) -> str:
        if len(arguments) not in (1, 2) or not all(word.isascii() and word.isdigit() for word in arguments):
            return 'ERROR: syntax error: r <id> [<media-index>]'
        number, index = int(arguments[0]), int(arguments[1]) if len(arguments) == 2 else 0
        if not self.program.media_timeout(number, index):
            return f'ERROR: no call with id of {number} has been found'
        return 'OK'

    def _drop(self, client: socket.socket) -> None:
        self.clients.pop(client, None)
        client.close()


def _in_batches(lines: Iterator[str]) -> Iterator[str]:
    batch = []
    for line in lines:
        batch.append(line)
        if len(batch) == _BATCH:
            yield '\n'.join(batch) + '\n'
            batch = []
    if batch:
        yield '\n'.join(batch) + '\n'


def _bind(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, str):
        _remove_stale(address)
        listener = socket.socket(native.AF_UNIX, native.SOCK_STREAM)
    else:
        listener = socket.socket(native.AF_INET6 if ':' in address[0] else native.AF_INET, native.SOCK_STREAM)
        listener.setsockopt(native.SOL_SOCKET, native.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove the socket that a program left behind; OSError if it is alive, or not a socket."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, 'a file of that name exists')
    with native.socket(native.AF_UNIX, native.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
