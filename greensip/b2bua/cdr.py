"""Call detail records: one JSON object a line, appended to a file.

A record is handed over in no time.  A writer greenlet collects what came within ``DELAY`` and gives it to the disk in
one piece in a thread of the hub's pool, so that neither a slow disk nor a full one holds a call up.  What cannot be
written is kept and tried again; ``close()`` writes the rest before the process ends.

A record of a call has these members; times are seconds since 1970, what is not known is null:

    event           stop; start for the record that -A 2 writes when a call is answered, without what ends below
    number          counts the calls of the program from 1
    call_id         the caller's Call-ID
    cli name cld    number and name of the caller, number that was dialled (after the translation on the way in)
    source transport                address and port that the INVITE came from, and udp, tcp, tls, ws or wss
    setup ringing answered          when the INVITE came, when it first rang, when it was answered
    route           host and port of the route that was tried last, and what was sent there, by what:
    cli_out cld_out call_id_out transport_out
    bill_to bill_cli bill_cld       of that route, if it has them
    ended duration  when it was over, and for how many seconds it was answered
    code reason     the final status and its phrase; the peer's Reason for a call that was answered
    released_by     caller, callee, credit-time (the time was up), operator (HUP or the command socket), shutdown,
                    b2bua (our own refusal), caller-lost and callee-lost (no answer any more)
    attempts        the routes that failed, each as "host:port status"
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping

import gevent
from gevent.event import Event
from gevent.monkey import get_original

from greensip.errors import SetupError

__all__ = ['CdrFile']

log = logging.getLogger('greensip.b2bua.cdr')

#: seconds that records wait for company
DELAY = 0.05
#: seconds between attempts while the file cannot be written
RETRY = 5.0
#: octets kept while the file cannot be written; what comes then goes to the log
MAX_WAITING = 64 << 20

_encode = json.JSONEncoder(separators=(',', ':')).encode


class CdrFile:
    """Appends records to ``path`` (``-``: the standard output).  SetupError if that cannot be opened."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.descriptor = _open(path)
        except OSError as error:
            raise SetupError(f'the records cannot be written to {path}: {error.strerror}') from None
        #: lines that no attempt was made to write yet, oldest first
        self.lines: list[str] = []
        #: what an attempt left over, from the beginning of a line; ``cut`` octets of that line are in the file
        self.rest = b''
        self.cut = 0
        self.reopening = False
        self.trouble = ''
        self.closed = False
        self.due = Event()
        # Held by a native thread, so never one of gevent's.
        self.lock = get_original('_thread', 'allocate_lock')()
        self.writer = gevent.spawn(self._run)

    def write(self, record: Mapping[str, object]) -> None:
        """Put a record into the file soon."""
        line = _encode(record)
        if len(self.rest) > MAX_WAITING:
            log.error('! a record that %s cannot take: %s', self.path, line)
            return
        self.lines.append(line)
        if not self.due.is_set():
            self.due.set()

    def reopen(self) -> None:
        """Open the file by its name again: it was moved away.  What came before may still go to the old one."""
        self.reopening = True
        self.due.set()

    def close(self) -> None:
        """Write what is left, and close the file.  Blocks for one write to the disk."""
        if self.closed:
            return
        self.closed = True
        self.writer.kill(block=False)
        self._note(self._flush())
        if self.rest:
            log.error('! records that %s did not take: %s', self.path, self.rest.decode())
        if self.path != '-':
            os.close(self.descriptor)

    def _run(self) -> None:
        pool = gevent.get_hub().threadpool
        while True:
            self.due.wait()
            gevent.sleep(RETRY if self.trouble and not self.reopening else DELAY)
            self.due.clear()
            self._note(pool.apply(self._flush))
            if self.trouble:
                self.due.set()

    def _note(self, trouble: str) -> None:
        """Log what went wrong, once."""
        if trouble and trouble != self.trouble:
            log.error('! %s: %s; call records wait', self.path, trouble)
        elif self.trouble and not trouble:
            log.warning('! %s takes records again', self.path)
        self.trouble = trouble

    def _flush(self) -> str:
        """Write all that waits; what went wrong, or ''.  Runs in a thread, so it neither logs nor touches the hub."""
        with self.lock:
            count = len(self.lines)
            data = self.rest + ''.join([line + '\n' for line in self.lines[:count]]).encode()
            del self.lines[:count]
            done = self.cut
            trouble = ''
            try:
                if self.reopening:
                    self.reopening = False
                    self._reopen()
                    done = 0
                while done < len(data):
                    done += os.write(self.descriptor, data[done:])
            except OSError as error:
                trouble = error.strerror or str(error)
            begin = data.rfind(b'\n', 0, done) + 1
            self.rest = data[begin:]
            self.cut = done - begin
            return trouble

    def _reopen(self) -> None:
        if self.path == '-':
            return
        descriptor = _open(self.path)
        os.dup2(descriptor, self.descriptor, inheritable=False)
        os.close(descriptor)


def _open(path: str) -> int:
    if path == '-':
        return 1
    # Not blocking, so that a pipe that nobody reads is an error at start and not a program that hangs.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
