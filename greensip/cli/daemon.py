"""What a program does to live in the background: fork, log, pid file."""

from __future__ import annotations

import logging
import os
import sys

from greensip.errors import SetupError

from .terminal import LineFormatter

__all__ = ['LogFile', 'Parent', 'PidFile', 'detach']

FORMAT = '%(asctime)s %(levelname)s %(name)s %(message)s'


class Parent:
    """The process that was started, which waits to hear from the daemon that became of it."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def started(self) -> None:
        """Let it end with status 0."""
        os.write(self.pipe, b'+')
        os.close(self.pipe)

    def failed(self) -> None:
        """Let it end with status 2; why was told on stderr, which is still that of the parent."""
        os.write(self.pipe, b'-')
        os.close(self.pipe)


def detach() -> Parent:
    """Fork twice and return in the grandchild, which has no terminal and whose directory is the root.

    The process that called ends when the grandchild says ``started()`` or ``failed()``, so whoever started it
    learns whether it runs.  To be called before the hub exists: an event loop does not survive a fork.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writing)
        report = os.read(reading, 1)
        # No report at all: it died, and its traceback is on stderr.
        os._exit({b'+': 0, b'-': 2}.get(report, 1))
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir('/')
    return Parent(writing)


class LogFile(logging.Handler):
    """Writes log lines to a file that can be opened again by its name; SetupError if it cannot be opened."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        try:
            self.descriptor = self._open()
        except OSError as error:
            raise SetupError(f'the log cannot be written to {path}: {error.strerror}') from None
        self.standard_streams = False
        self.setFormatter(LineFormatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self.descriptor, (self.format(record) + '\n').encode('utf-8', 'backslashreplace'))
        except Exception:
            self.handleError(record)

    def take_standard_streams(self) -> None:
        """Let the standard output and error go to this file too, and read nothing from the standard input."""
        self.standard_streams = True
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(self.descriptor, 1)
        os.dup2(self.descriptor, 2)

    def reopen(self) -> None:
        """Open the file by its name again: it was moved away."""
        try:
            descriptor = self._open()
        except OSError as error:
            logging.getLogger('greensip').error('! %s cannot be opened again: %s', self.path, error.strerror)
            return
        os.dup2(descriptor, self.descriptor, inheritable=False)
        os.close(descriptor)
        if self.standard_streams:
            os.dup2(self.descriptor, 1)
            os.dup2(self.descriptor, 2)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


class PidFile:
    """Holds the number of this process until ``remove()``; SetupError if it cannot be written."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, 'w', encoding='ascii') as file:
                file.write(f'{os.getpid()}\n')
        except OSError as error:
            raise SetupError(f'the pid file {path} cannot be written: {error.strerror}') from None

    def remove(self) -> None:
        """Remove it, unless another process has put its own number there."""
        try:
            with open(self.path, encoding='ascii') as file:
                ours = file.read().strip() == str(os.getpid())
            if ours:
                os.unlink(self.path)
        except (OSError, UnicodeDecodeError):
            pass
