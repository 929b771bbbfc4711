"""SIP over connections, whatever lies on them: RFC 3261 18.1.1, 18.2, 18.3, RFC 5626 3.5.1, RFC 5923.

Three things make a transport of streams.  A ``Channel`` lies between the octets of one connection and SIP messages; it
knows no sockets, and is all that differs between TCP, TLS and WebSocket.  A ``Connection`` is a socket with a channel:
it reads, writes, and waits for nobody.  A ``StreamTransport`` listens, connects, knows which connection leads where,
and keeps their number and their patience within limits that have names.  A new transport says which channel it wants.

**Reading.**  Each connection has a watcher in the hub, and no greenlet as long as it is silent: a parked one costs
several kilobytes.  When octets come, a greenlet of the transport's ``Readers`` takes the connection for as long as
there is something to be read, and then goes back to the others.  There are as many as connections are at work at the
same time, which is one unless somebody's handler waits.

**Writing** is a send in the greenlet that has something to say.  What the system's buffer does not take waits in a
bounded queue, and so does what is said before the connection is there.  A peer that reads too slowly loses its
connection; it stops nobody.

**Failures** are told by flow: to that of the connection, and to those without a connection that led to it.  Who only
answered on it is not told: 18.2.2 opens another connection for the response.

**Time.**  Nothing is set for a single connection.  Once a second all are looked at, in ``sweep``: what it compares are
seconds, so to be a second late does no harm.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import resource
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent
from gevent.hub import Hub
from greenlet import greenlet

from greensip.errors import ConnectError, ParseError, TransportError
from greensip.message import Request, parse_message
from greensip.native import mypyc_attr
from greensip.transaction.flow import Address, Flow, Point, hostport

from .base import (
    DEFAULT_PORTS,
    SIP_PORT,
    Counters,
    Listen,
    Receiver,
    Recent,
    Transport,
    WildcardPoint,
    failure,
    local_address,
    plain_socket,
    read_count,
    read_options,
    read_seconds,
    read_switch,
    readable_head,
)
from .channel import Channel
from .connection import READ, RECEIVE, Connection
from .sources import is_link_local, scoped

__all__ = ['OPTIONS', 'Readers', 'StreamTransport', 'source_of']

log: Final = logging.getLogger('greensip.transport')

#: connections that are accepted before others get their turn
ACCEPT: Final = 32
#: connections that may wait to be accepted
BACKLOG: Final = 1024
#: greenlets that are kept for reading while nothing is to be read
SPARE: Final = 16
#: seconds between two looks at all connections
SWEEP: Final = 1.0
#: seconds that the system tries to deliver octets, a little less than 64*T1, and after how long a silent peer is probed
DELIVERY: Final = 25.0
PROBE: Final = 300
#: local addresses of a wildcard socket that get a point of their own
FACES: Final = 256
#: half the number of peers with link-local addresses whose interface is remembered
SCOPES: Final = 1024
#: addresses under which one connection can be known (RFC 5923)
ALIASES: Final = 16
#: open files that are left to others
FILES_LEFT: Final = 64

#: setsockopt(IPPROTO_IP): choose the port of an address that is bound when the peer is known, so that it may be shared
BIND_ADDRESS_NO_PORT: Final = 24
#: no descriptors, no memory
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

#: the options of a place, and how their text is read.  Times are seconds
OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    # Ask peers to send us their requests over the connections that we open, and do so when asked (RFC 5923)
    'alias': read_switch,
    # for a connection to be opened
    'connect': read_seconds,
    # connections in all, and those that one source has opened: an IPv4 address, or an IPv6 network of 64 bits
    'connections': read_count,
    'per_source': read_count,
    # for what comes before the first message: TLS and WebSocket
    'handshake': read_seconds,
    # for the first message on a connection that a peer has opened
    'first': read_seconds,
    # from the first octet of a message to its last
    'message': read_seconds,
    # for nothing at all to come or go
    'idle': read_seconds,
    # between two pings on the connections that we open; 0 for none (RFC 5626 3.5.1)
    'keepalive': read_seconds,
    # octets that wait for a peer to read
    'queue': read_count,
    # for a peer to take some of the octets that wait
    'stuck': read_seconds,
}

#: what they are unless the place says otherwise.  The connect time forgives two lost SYNs: Linux sends them at 0, 1 and
#: 3 seconds.  The idle time is that long because of phones that register for an hour and send nothing in between
DEFAULTS: Final[Mapping[str, Any]] = {
    'alias': False, 'connect': 5.0, 'connections': 20_000, 'per_source': 5_000, 'handshake': 10.0, 'first': 120.0,
    'message': 20.0, 'idle': 3900.0, 'keepalive': 0.0, 'queue': 1 << 20, 'stuck': 20.0,
}


class Readers:
    """Greenlets that do what the hub has found to be done.  They are kept for the next time."""

    def __init__(self) -> None:
        self._hub: Hub = gevent.get_hub()
        self._idle: list[greenlet] = []
        self._closed = False

    def run(self, work: Callable[[], None]) -> None:
        """Have ``work`` done in a greenlet.  Called in the hub."""
        if self._idle:
            self._idle.pop().switch(work)
        elif not self._closed:
            gevent.spawn(self._serve, work)

    def close(self) -> None:
        """Let the greenlets end that have nothing to do; the others end when they are done."""
        self._closed = True
        while self._idle:
            self._hub.loop.run_callback(self._idle.pop().switch, None)

    def _serve(self, work: Callable[[], None] | None) -> None:
        hub = self._hub
        idle = self._idle
        own = gevent.getcurrent()
        try:
            while work is not None:
                try:
                    work()
                except Exception:
                    log.exception('! serving a connection failed')
                if self._closed or len(idle) >= SPARE:
                    return
                idle.append(own)
                work = hub.switch()
        finally:
            if own in idle:
                idle.remove(own)


@mypyc_attr(allow_interpreted_subclasses=True)
class StreamTransport(Transport):
    """Listens and connects.  Subclasses say what channel there is, and who the peer is, in the methods at the end.

    Raises UsageError for options that it cannot read, TransportError if it cannot listen.
    """

    def __init__(self, listen: Listen, receiver: Receiver, token: str = 'TCP', secure: bool = False,
                 options: Mapping[str, Callable[[str], Any]] = OPTIONS, listening: bool = True) -> None:
        self.receiver = receiver
        self.counters = Counters()
        self.secure = secure
        self.default_port = DEFAULT_PORTS.get(token, SIP_PORT)
        self.hub = gevent.get_hub()
        self.options: dict[str, Any] = {**DEFAULTS, **read_options(listen, options)}
        self.alias = bool(self.options['alias'])
        self.connect = float(self.options['connect'])
        self.handshake = float(self.options['handshake'])
        self.first = float(self.options['first'])
        self.message = float(self.options['message'])
        self.idle = float(self.options['idle'])
        self.keepalive = float(self.options['keepalive'])
        self.queue = int(self.options['queue'])
        self.stuck = float(self.options['stuck'])
        self.most = min(int(self.options['connections']), files_left())
        self.per_source = int(self.options['per_source'])
        #: those that live, by number, and those that have said their last words
        self.connections: dict[int, Connection] = {}
        self.leaving: set[Connection] = set()
        self.closed = False
        self.readers = Readers()
        self.view = memoryview(bytearray(RECEIVE))
        self._ways: dict[Any, Connection] = {}
        #: the connections of an address, where it matters who is there
        self._at: dict[Address, list[Connection]] = {}
        self._sources: dict[str, int] = {}
        self.family = socket.AF_INET6 if ':' in listen.host else socket.AF_INET
        self._listening = listening
        self._watcher: Any = None
        self._sweeper: Any = None
        self._paused = False
        self._accepting = False
        self.socket = self._bind(listen)
        bound = self.socket.getsockname()
        address: Address = bound[:2]
        # The interface of our own address, and those of peers, where addresses are link-local.
        self._scope: int = bound[3] if len(bound) > 2 else 0
        self._scopes: Recent[str, int] = Recent(SCOPES)
        self._via_params = ';alias' if self.alias else ''
        self._bound = address[0] not in ('0.0.0.0', '::')
        if not self._bound and listen.advertised is None:
            self.point: Point = WildcardPoint(token, address, self._facing, reliable=True, secure=secure,
                                              via_params=self._via_params)
        else:
            shown = listen.advertised
            self.point = Point(token, address, advertised=(shown[0], shown[1] or address[1]) if shown else None,
                               reliable=True, secure=secure, via_params=self._via_params)
        self._faces: dict[str, Point] = {}

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {hostport(*self.point.address)}>'

    def _bind(self, listen: Listen) -> socket.socket:
        opened: socket.socket | None = None
        try:
            opened = plain_socket(self.family, socket.SOCK_STREAM)
            opened.setblocking(False)
            if self.family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Connections of before that are not forgotten yet shall not be in the way; a second listener is, still.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted inherits these.
            tune(opened)
            opened.bind(scoped(listen.host, listen.port))
            if self._listening:
                opened.listen(BACKLOG)
        except OSError as error:
            if opened is not None:
                opened.close()
            raise failure(TransportError, f'cannot listen on {listen}', error) from error
        return opened

    @property
    def listens(self) -> bool:
        """Whether others can connect: a place for TLS without a certificate only connects itself."""
        return self._listening

    def start(self) -> None:
        if self._watcher is None and not self.closed and self._listening:
            self._watcher = self.hub.loop.io(self.socket.fileno(), READ)
            self._watcher.start(self._acceptable)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        for watcher in (self._watcher, self._sweeper):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        for connection in [*self.connections.values(), *self.leaving]:
            self._part(connection)
        self.readers.close()
        self.socket.close()

    def _part(self, connection: Connection) -> None:
        """Close a connection on the way out: the last words leave if they can leave at once."""
        if not connection.connecting and not connection.closing:
            try:
                connection.closing = True
                connection.channel.close('closed')
                data = connection.channel.take_outgoing()
                if data:
                    connection.socket.send(data)
                connection.socket.shutdown(socket.SHUT_WR)
                # What is not read makes the system send a reset, which overtakes the last words.
                while connection.socket.recv_into(self.view) == RECEIVE:
                    pass
            except (OSError, TransportError):
                pass
        connection.discard()

    def now(self) -> float:
        """The time by which connections are judged, in seconds."""
        return time.monotonic()

    # -- accepting

    def _acceptable(self) -> None:
        """In the hub."""
        if not self._accepting:
            self._accepting = True
            self._watcher.stop()
            self.readers.run(self._accept_some)

    def _accept_some(self) -> None:
        try:
            for _ in range(ACCEPT):
                if self.closed or not self._accept():
                    break
        finally:
            self._accepting = False
            if not self.closed and not self._paused:
                self._watcher.start(self._acceptable)

    def _accept(self) -> bool:
        try:
            # accept() would make a socket of gevent's where that has put itself in the place of the system's.
            descriptor, sender = self.socket._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _EXHAUSTED:
                # Whoever waits goes on waiting, and would call us a hundred thousand times a second.
                self.counters.errors += 1
                self._paused = True
                self._keep_sweeping()
                log.warning('! accepting on %s: %s', hostport(*self.point.address), error)
                return False
            # It is gone already.
            return True
        made = plain_socket(self.family, socket.SOCK_STREAM, 0, descriptor)
        made.setblocking(False)
        remote: Address = sender[:2]
        if len(sender) > 2 and sender[3]:
            self._scopes.put(remote[0], sender[3])
        source = source_of(remote[0])
        if len(self.connections) + len(self.leaving) >= self.most or self._sources.get(source, 0) >= self.per_source:
            self.counters.refused += 1
            made.close()
            return True
        try:
            point = self._local_point(made)
        except OSError:
            made.close()
            return True
        self.counters.accepted += 1
        self._sources[source] = self._sources.get(source, 0) + 1
        connection = Connection(self, made, self.channel(True, '', remote), point, remote, source=source)
        self._keep(connection)
        # 18: it is known by where it comes from.
        self.lead(connection, remote, remote[0])
        try:
            connection.start()
        except TransportError as error:
            connection.fail(error)
        return True

    def _local_point(self, made: socket.socket) -> Point:
        """The point of the address that the peer has called."""
        if self._bound or not isinstance(self.point, WildcardPoint):
            return self.point
        return self._face(made.getsockname()[0]) or self.point

    def _facing(self, host: str) -> Point | None:
        """For a wildcard address: the point with the local address that faces ``host``."""
        local = local_address(host, self._scope_of(host))
        return None if local is None else self._face(local)

    def _scope_of(self, host: str) -> int:
        return self._scopes.get(host) or self._scope if is_link_local(host) else 0

    def _face(self, local: str) -> Point | None:
        point = self._faces.get(local)
        if point is None and len(self._faces) < FACES:
            address = self.point.address
            point = self._faces[local] = Point(self.point.transport, address, advertised=(local, address[1]),
                                               reliable=True, secure=self.secure, via_params=self._via_params)
            self.receiver.opened(point, self)
        return point

    # -- sending

    def send(self, data: bytes, flow: Flow) -> None:
        if flow.connection:
            connection = self.connections.get(flow.connection)
        else:
            connection = self._ways.get((flow.remote, flow.name or flow.remote[0]) if self.secure else flow.remote)
        if connection is None:
            connection = self._reach(data, flow)
        connection.send(data, flow)

    def ping(self, flow: Flow) -> bool:
        """Ask the peer of a flow whether it is there (RFC 5626 4.4.1); False if there is no connection to ask over.

        Without an answer within ``PONG_TIME`` the connection fails.
        """
        connection = self._there(flow)
        if connection is None:
            return False
        connection.ping()
        return True

    def is_open(self, flow: Flow) -> bool:
        """Whether there is a connection for a flow, open and ready."""
        return self._there(flow) is not None

    def _there(self, flow: Flow) -> Connection | None:
        if flow.connection:
            connection = self.connections.get(flow.connection)
        else:
            connection = self._ways.get(self._way(flow.remote, flow.name or flow.remote[0]))
        return connection if connection is not None and connection.open else None

    def _reach(self, data: bytes, flow: Flow) -> Connection:
        """A connection for what has none: another one that serves, or a new one."""
        if self.closed:
            raise TransportError(f'cannot send to {hostport(*flow.remote)}: closed')
        remote = flow.remote
        name = flow.name or remote[0]
        if flow.connection:
            if not data.startswith(b'SIP/2.0 '):
                raise ConnectError(f'cannot send to {hostport(*remote)}: the connection is closed')
            # 18.2.2: the connection of the request is gone.
            remote, name = self.way_back(data, flow)
        way = self._ways.get(self._way(remote, name))
        if way is not None:
            return way
        for connection in self._at.get(remote, ()):
            # RFC 5923 8.1: it leads there on account of another name.
            if self.proves(connection, name):
                self.lead(connection, remote, name)
                return connection
        return self._connect(flow.point, remote, name)

    def _connect(self, point: Point, remote: Address, name: str) -> Connection:
        host, port = remote
        where = hostport(host, port)
        if not 0 < port < 65536:
            raise ConnectError(f'cannot connect to {where}: no such port')
        try:
            # Given a name, connect would block and ask the DNS.
            socket.inet_pton(self.family, host)
        except OSError:
            raise ConnectError(f'cannot connect to {where}: not an IPv{self.point.family} address') from None
        if len(self.connections) + len(self.leaving) >= self.most:
            self.counters.refused += 1
            raise ConnectError(f'cannot connect to {where}: there are {self.most} connections')
        channel = self.channel(False, name, remote)
        made: socket.socket | None = None
        try:
            made = plain_socket(self.family, socket.SOCK_STREAM)
            made.setblocking(False)
            tune(made)
            if self._bound:
                made.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
                made.bind(scoped(self.point.address[0], 0, self._scope))
            elif point is not self.point:
                leave_from(made, point.advertised[0], self._scope_of(host))
            number = made.connect_ex(scoped(host, port, self._scope_of(host)))
            if number not in (0, errno.EINPROGRESS):
                raise OSError(number, os.strerror(number))
        except OSError as error:
            if made is not None:
                made.close()
            self.counters.errors += 1
            raise failure(ConnectError, f'cannot connect to {where}', error) from error
        connection = Connection(self, made, channel, point, remote, name=name, connecting=True)
        self._keep(connection)
        self.lead(connection, remote, name)
        connection.start()
        return connection

    def way_back(self, data: bytes, flow: Flow) -> tuple[Address, str]:
        """18.2.2: where a response goes when the connection of its request is gone, and whom it is for."""
        try:
            via = parse_message(readable_head(data)).via
        except ParseError:
            raise ConnectError(f'cannot send to {hostport(*flow.remote)}: the connection is closed') from None
        host = via.host.strip('[]')
        return (via.received or host, via.port or self.default_port), host

    # -- which connection leads where

    def lead(self, connection: Connection, remote: Address, name: str) -> None:
        """Have what is to be sent to ``remote``, if it proves to be ``name``, go over ``connection``."""
        if len(connection.ways) >= ALIASES or (remote, name) in connection.ways:
            return
        connection.ways.append((remote, name))
        self._ways[self._way(remote, name)] = connection
        if self.secure:
            there = self._at.setdefault(remote, [])
            if connection not in there:
                there.append(connection)

    def _way(self, remote: Address, name: str) -> Any:
        return (remote, name) if self.secure else remote

    def note_alias(self, connection: Connection, request: Request) -> None:
        """RFC 5923 8.2: what is for the sent-by of a request whose Via says "alias" may go over its connection."""
        try:
            via = request.via
        except ParseError:
            return
        if 'alias' not in via.param_text.lower() or 'alias' not in via.params:
            return
        remote = (connection.flow.remote[0], via.port or self.default_port)
        for name in self.alias_names(connection):
            if self._ways.get(self._way(remote, name)) is not connection:
                self.lead(connection, remote, name)

    def _keep(self, connection: Connection) -> None:
        self.connections[connection.number] = connection
        self._keep_sweeping()

    def forget(self, connection: Connection) -> None:
        """Nothing is to be sent over it any more."""
        if self.connections.pop(connection.number, None) is None:
            return
        for remote, name in connection.ways:
            way = self._way(remote, name)
            if self._ways.get(way) is connection:
                del self._ways[way]
            there = self._at.get(remote)
            if there is not None and connection in there:
                there.remove(connection)
                if not there:
                    del self._at[remote]
        self._uncount(connection)

    def recount(self, connection: Connection, source: str) -> None:
        """A connection is from another source than it seemed, a reverse proxy says.  Raises TransportError."""
        if self._sources.get(source, 0) >= self.per_source:
            raise TransportError(f'{source} has {self.per_source} connections')
        self._uncount(connection)
        self._sources[source] = self._sources.get(source, 0) + 1
        connection.source = source

    def _uncount(self, connection: Connection) -> None:
        if connection.source:
            left = self._sources[connection.source] - 1
            if left:
                self._sources[connection.source] = left
            else:
                del self._sources[connection.source]

    # -- time

    def ping_time(self, now: float) -> float:
        """RFC 5626 4.4.1: when to ping next, 80 to 100 % of the interval from now; 0 for never."""
        return now + self.keepalive * random.uniform(0.8, 1.0) if self.keepalive else 0.0

    def _keep_sweeping(self) -> None:
        if self._sweeper is None and not self.closed:
            self._sweeper = self.hub.loop.timer(SWEEP, SWEEP)
            self._sweeper.start(self._sweep_soon)

    def _sweep_soon(self) -> None:
        """In the hub."""
        self.readers.run(self._sweep)

    def _sweep(self) -> None:
        if self._paused and not self.closed:
            self._paused = False
            if not self._accepting:
                self._watcher.start(self._acceptable)
        self.sweep(self.now())
        if not self.connections and not self.leaving and self._sweeper is not None and not self.closed:
            self._sweeper.stop()
            self._sweeper.close()
            self._sweeper = None

    def sweep(self, now: float) -> None:
        """Close what has taken too long by the time ``now``.  Happens by itself once a second."""
        for connection in [*self.connections.values(), *self.leaving]:
            if not connection.closed:
                connection.check(now)

    # -- what a transport says of itself

    def channel(self, server: bool, name: str, remote: Address) -> Channel:
        """What lies on a new connection: one from ``remote``, or ours to ``name`` at ``remote``."""
        raise NotImplementedError

    def established(self, connection: Connection) -> None:
        """The handshake is done.  Raises TransportError to refuse the peer."""

    def proves(self, connection: Connection, name: str) -> bool:
        """Whether what is for ``name`` may go over ``connection``, which leads to one of its addresses."""
        return not self.secure or name in connection.names

    def alias_names(self, connection: Connection) -> list[str]:
        """RFC 5923: whose requests may take the way back over a connection that its peer has opened."""
        return ['']


def tune(made: socket.socket) -> None:
    """What we ask of the system for a connection; that one which listens gives it to those that it accepts."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, 'TCP_USER_TIMEOUT'):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DELIVERY * 1000))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE)


def leave_from(made: socket.socket, local: str, scope: int) -> None:
    """Have a connection leave from the address of ours that its messages name, as long as we have it."""
    try:
        made.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        made.bind(scoped(local, 0, scope))
    except OSError as error:
        log.debug('! cannot leave from %s: %s', local, error)


def files_left() -> int:
    """How many connections there can be before the process has no more descriptors for anything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else max(soft - FILES_LEFT, soft // 2)


def source_of(host: str) -> str:
    """Whom the connections from an address are counted for: whoever has one IPv6 address has 2**64 of them."""
    if ':' not in host:
        return host
    try:
        return socket.inet_pton(socket.AF_INET6, host.partition('%')[0])[:8].hex()
    except OSError:
        return host
