"""A connection: a socket with a channel.  It reads, writes, and waits for nobody; see ``stream.py`` for the whole."""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import gevent

from greensip.errors import ConnectError, ParseError, TransportError
from greensip.message import PING, PONG, KeepAlive, Request
from greensip.transaction.flow import Address, Flow, Point, hostport

from .base import failure, readable_head
from .channel import Channel

if TYPE_CHECKING:
    from .stream import StreamTransport

__all__ = ['DRAIN', 'PONG_TIME', 'READ', 'RECEIVE', 'Connection']

log: Final = logging.getLogger('greensip.transport')

#: octets that are read at once; the buffer is shared by all connections of a transport
RECEIVE: Final = 65536
#: messages of one connection that are handled before others get their turn
DRAIN: Final = 32
#: seconds for the peer to take the last words and close its side
LINGER: Final = 3.0
#: seconds for the answer to a ping (RFC 5626 4.4.1)
PONG_TIME: Final = 10.0
#: pings of one reading that are answered
PONGS: Final = 4

READ: Final = 1
WRITE: Final = 2

_numbers: Final = itertools.count(1)


class Connection:
    """A socket with a channel.  ``number`` is its own for as long as the process lives; its flow carries it."""

    __slots__ = ('_partial_since', '_pinged', '_queue', '_queued', '_quiet_since', '_reading', '_since', '_stirred',
                 '_stuck_since', '_waiting', '_watching', '_writing', 'accepted', 'asked', 'channel', 'closed',
                 'closing', 'connecting', 'flow', 'heard', 'name', 'names', 'next_ping', 'number', 'open',
                 'read_watcher', 'socket', 'source', 'transport', 'ways', 'write_watcher')

    def __init__(self, transport: StreamTransport, made: socket.socket, channel: Channel, point: Point,
                 remote: Address, *, name: str = '', source: str = '', connecting: bool = False) -> None:
        self.transport = transport
        self.socket = made
        self.channel = channel
        self.number = next(_numbers)
        self.flow = Flow(point, remote, self.number)
        #: whom we wanted to reach, and who the peer has proved to be (RFC 5922)
        self.name = name
        self.names: frozenset[str] = frozenset()
        #: the peer has opened it, and this is the source that is counted
        self.accepted = not connecting
        self.source = source
        #: the system is still at it
        self.connecting = connecting
        #: messages can be sent
        self.open = False
        #: the last words are said, and what comes is not read any more
        self.closing = False
        self.closed = False
        #: we have sent a request: somebody wants to know if it breaks
        self.asked = False
        #: a message has come
        self.heard = False
        #: the addresses and names under which it is known to those who want to send
        self.ways: list[tuple[Address, str]] = []
        #: octets that the system has not taken, and messages from before it was open
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._waiting: deque[tuple[bytes, Flow]] = deque()
        loop = transport.hub.loop
        self.read_watcher: Any = loop.io(made.fileno(), READ)
        self.write_watcher: Any = None
        self._watching = False
        self._reading = False
        self._writing = False
        #: when the present stage began, when a message began, since when nobody takes the queue; 0 for not
        self._since = transport.now()
        self._partial_since = 0.0
        self._stuck_since = 0.0
        self._stirred = False
        self._quiet_since = self._since
        self._pinged = 0.0
        self.next_ping = 0.0

    def __repr__(self) -> str:
        return f'<Connection {self.number} {self.flow.point.transport} {hostport(*self.flow.remote)}>'

    @property
    def where(self) -> str:
        """The peer, for a sentence."""
        return hostport(*self.flow.remote)

    # -- how it begins

    def start(self) -> None:
        """Begin to wait for the peer, or for the system to reach it."""
        if self.connecting:
            self._watch_writing()
        else:
            self._begin()

    def _begin(self) -> None:
        self._watching = True
        self.read_watcher.start(self._readable)
        self._advance()

    def _advance(self) -> None:
        """Say what the channel has to say; when its handshake is done, what has waited for that.

        Raises TransportError when the connection is lost over it.
        """
        channel = self.channel
        data = channel.take_outgoing()
        if data:
            self._write(data)
        if not self.open and channel.ready:
            self.open = True
            self._since = self.transport.now()
            log.debug('= %r is open', self)
            self.transport.established(self)
            waiting = self._waiting
            self._queued = 0
            while waiting:
                message, _ = waiting.popleft()
                self._write(channel.pack(message))
                self.transport.counters.sent += 1

    # -- reading

    def _readable(self) -> None:
        """In the hub."""
        if self._reading:
            # Its greenlet waits for something else, inside somebody's handler.
            self._watching = False
            self.read_watcher.stop()
            return
        self._reading = True
        self.transport.readers.run(self._read)

    def _read(self) -> None:
        try:
            self._receive()
        finally:
            self._reading = False
            if not self.closed and not self._watching:
                self._watching = True
                self.read_watcher.start(self._readable)

    def _receive(self) -> None:
        """Read once, and hand on what that completes; if there is more, the hub says so again."""
        if self.closed:
            return
        transport = self.transport
        view = transport.view
        try:
            size = self.socket.recv_into(view)
        except BlockingIOError:
            return
        except OSError as error:
            transport.counters.errors += 1
            self.fail(failure(ConnectError, f'the connection to {self.where} broke', error))
            return
        if self.closing:
            if not size:
                self.discard()
        elif size:
            self._stirred = True
            self._take(bytes(view[:size]))
        else:
            self.channel.eof()
            self.fail(ConnectError(f'{self.where} closed the connection'))

    def _take(self, data: bytes) -> None:
        transport = self.transport
        channel = self.channel
        looks = transport.receiver.looks()
        octets: list[bytes] = []
        channel.octets = octets if looks else None
        try:
            items = channel.receive(data)
            self._advance()
        except ParseError as error:
            self._broken(error)
            return
        except TransportError as error:
            self._refused(error)
            return
        if items:
            self._partial_since = 0.0
            pongs = 0
            for index, item in enumerate(items):
                if isinstance(item, KeepAlive):
                    transport.counters.keep_alives += 1
                    pongs += item is PING
                    if item is PONG:
                        self._pinged = 0.0
                    continue
                transport.counters.received += 1
                self.heard = True
                if transport.alias and isinstance(item, Request):
                    transport.note_alias(self, item)
                transport.receiver.arrived(item, self.flow, octets[index] if index < len(octets) else b'')
                if index % DRAIN == DRAIN - 1:
                    gevent.sleep(0)
                if self.closed or self.closing:
                    return
            if pongs:
                self._answer_pings(pongs)
        if channel.ended:
            self._end()

    def _answer_pings(self, count: int) -> None:
        """RFC 5626 4.4.1: one CRLF for each double one, but none for those that come in heaps."""
        try:
            for _ in range(min(count, PONGS)):
                self._write(self.channel.pack(b'\r\n'))
        except TransportError as error:
            log.debug('! %s', error)

    def _end(self) -> None:
        """The channel has ended: of its own accord, or since framing was lost after the last good message."""
        try:
            self.channel.receive(b'')
        except ParseError as error:
            self._broken(error)
        except TransportError as error:
            self._refused(error)
        else:
            if not self.open:
                self.transport.counters.refused += 1
            self.finish(ConnectError(f'the connection to {self.where} is closed: {self.channel.ended}'))

    def _broken(self, error: ParseError) -> None:
        """18.3: framing is lost.  Whoever can be answered is, then the connection is closed."""
        counters = self.transport.counters
        counters.broken += 1
        log.debug('! %r makes no sense: %s', self, error)
        if error.message is not None:
            counters.received += 1
            self.transport.receiver.arrived(error, self.flow)
        self.finish(ConnectError(f'the connection to {self.where} is closed: {error}'))

    def _refused(self, error: TransportError) -> None:
        """The handshake failed, or the channel has broken in another way."""
        if self.closed:
            return
        self.transport.counters.refused += 1
        log.debug('! %r: %s', self, error)
        self.finish(error)

    # -- writing

    def send(self, data: bytes, flow: Flow) -> None:
        """Send a message, now or when the connection is open.  Raises TransportError; does not block."""
        if not self.asked and not data.startswith(b'SIP/2.0 '):
            self.asked = True
        if self.open:
            self._stirred = True
            self._write(self.channel.pack(data))
            self.transport.counters.sent += 1
            return
        self._queued += len(data)
        if self._queued > self.transport.queue:
            self._queued -= len(data)
            raise TransportError(f'cannot send to {self.where}: the connection is not open and too much waits for it')
        self.transport.counters.queued += 1
        self._waiting.append((data, flow))

    def ping(self) -> None:
        """Ask the peer whether it is there (RFC 5626 4.4.1); without an answer in time the connection fails."""
        if self.open and not self._pinged:
            self._pinged = self.transport.now()
            self._write(self.channel.pack(b'\r\n\r\n'))

    def _write(self, data: bytes) -> None:
        if self.closed:
            raise ConnectError(f'cannot send to {self.where}: the connection is closed')
        if not self._queue:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.transport.counters.errors += 1
                failed = failure(ConnectError, f'cannot send to {self.where}', error)
                self.fail(failed)
                raise failed from error
            if sent == len(data):
                return
            data = data[sent:]
            self._stuck_since = self.transport.now()
            self._queued = 0
        self._queued += len(data)
        if self._queued > self.transport.queue:
            self.transport.counters.dropped += 1
            slow = TransportError(f'cannot send to {self.where}: it reads too slowly')
            self.fail(slow)
            raise slow
        self.transport.counters.queued += 1
        self._queue.append(data)
        self._watch_writing()

    def _watch_writing(self) -> None:
        if self.write_watcher is None:
            self.write_watcher = self.transport.hub.loop.io(self.socket.fileno(), WRITE)
        if not self._writing:
            self.write_watcher.start(self._writable)

    def _writable(self) -> None:
        """In the hub."""
        self.write_watcher.stop()
        self._writing = True
        self.transport.readers.run(self._write_more)

    def _write_more(self) -> None:
        self._writing = False
        if self.closed:
            return
        if self.connecting:
            self._connected()
            return
        queue = self._queue
        try:
            while queue:
                data = queue[0]
                sent = self.socket.send(data)
                self._stuck_since = self.transport.now()
                self._queued -= sent
                if sent < len(data):
                    queue[0] = data[sent:]
                    continue
                queue.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self.transport.counters.errors += 1
            self.fail(failure(ConnectError, f'cannot send to {self.where}', error))
            return
        if queue:
            self._watch_writing()
            return
        self._stuck_since = 0.0
        self.write_watcher.close()
        self.write_watcher = None
        if self.closing:
            self._shut()

    def _connected(self) -> None:
        """The system has reached the peer, or knows that it cannot."""
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.transport.counters.errors += 1
            reason = OSError(number, os.strerror(number))
            self.fail(failure(ConnectError, f'cannot connect to {self.where}', reason))
            return
        self.write_watcher.close()
        self.write_watcher = None
        self.connecting = False
        self.transport.counters.opened += 1
        self._since = self.transport.now()
        self.next_ping = self.transport.ping_time(self._since)
        try:
            self._begin()
        except TransportError as error:
            self._refused(error)

    # -- how it ends

    def fail(self, error: TransportError) -> None:
        """The connection is lost: tell those who wait for something on it."""
        if not self.closed:
            log.debug('= %r is over: %s', self, error)
            self.discard()
            self._tell(error)

    def finish(self, error: TransportError) -> None:
        """Say the last words, have the peer read them, and close.

        Closing at once would have the system send a reset if something is there that we have not read, and the peer
        would lose our last words to it.
        """
        if self.closed or self.closing:
            return
        if self.connecting:
            self.fail(error)
            return
        log.debug('= %r ends: %s', self, error)
        self.closing = True
        self._since = self.transport.now()
        self.transport.forget(self)
        try:
            self.channel.close(str(error))
            data = self.channel.take_outgoing()
            if data:
                self._write(data)
        except TransportError:
            self.discard()
        if not self.closed:
            self.transport.leaving.add(self)
            if not self._queue:
                self._shut()
        self._tell(error)

    def _shut(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.discard()

    def discard(self) -> None:
        """Close without a word."""
        if self.closed:
            return
        self.closed = True
        self.transport.forget(self)
        self.transport.leaving.discard(self)
        self.read_watcher.stop()
        self.read_watcher.close()
        if self.write_watcher is not None:
            self.write_watcher.stop()
            self.write_watcher.close()
            self.write_watcher = None
        self.socket.close()
        self._queue.clear()

    def _tell(self, error: TransportError) -> None:
        """Tell of what did not leave, and of what will have no answer."""
        transport = self.transport
        if transport.closed:
            return
        # Who reads too slowly is not to be sent all of it again.
        error.kept = self.heard and not self._stuck_since
        failed = transport.receiver.failed
        while self._waiting:
            data, flow = self._waiting.popleft()
            failed(flow, error, readable_head(data))
        if self.asked or self.flow.point.one_way:
            failed(self.flow, error)
        if self.asked:
            points = {self.flow.point, transport.point}
            for remote, name in self.ways:
                for point in points:
                    failed(Flow(point, remote, 0, name if transport.secure else ''), error)

    # -- time

    def check(self, now: float) -> None:
        """Whether something has taken too long.  Called about once a second."""
        transport = self.transport
        if self.closing:
            if now - self._since >= LINGER:
                self.discard()
            return
        if not self.open:
            if now - self._since >= (transport.connect if self.connecting else transport.handshake):
                what = 'connecting' if self.connecting else 'the handshake'
                self._expire(f'cannot connect to {self.where}: {what} takes too long')
            return
        if self._stirred:
            self._stirred = False
            self._quiet_since = now
        if self._stuck_since and now - self._stuck_since >= transport.stuck:
            self._expire(f'{self.where} does not read what we send')
        elif self._pinged and now - self._pinged >= PONG_TIME:
            self._expire(f'{self.where} does not answer a ping')
        elif not self.channel.idle:
            if not self._partial_since:
                self._partial_since = now
            elif now - self._partial_since >= transport.message:
                self._expire(f'{self.where} takes too long for one message')
        elif self.accepted and not self.heard and now - self._since >= transport.first:
            self._expire(f'{self.where} has nothing to say')
        elif now - self._quiet_since >= transport.idle:
            self._expire(f'nothing came from {self.where} or went there')
        elif self.next_ping and now >= self.next_ping:
            self.next_ping = transport.ping_time(now)
            try:
                self.ping()
            except TransportError as error:
                log.debug('! %s', error)

    def _expire(self, why: str) -> None:
        self.transport.counters.expired += 1
        log.debug('! %r: %s', self, why)
        if self._stuck_since or self.connecting or not self.open:
            self.fail(ConnectError(why))
        else:
            self.finish(ConnectError(why))
