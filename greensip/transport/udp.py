"""SIP over UDP: RFC 3261 18.1 to 18.4 as far as a socket is concerned, IPv4 and IPv6.

A third of what a SIP server does is the system's work in sendto and recvfrom, so there is as little as possible around
them: a plain non-blocking socket, a buffer that is kept, a cache of flows.

**Receiving.**  One greenlet reads.  It is parked in the hub; a watcher that stays active switches to it whenever the
socket is readable.  It then takes up to ``DRAIN`` datagrams and parks again.  As the watcher is level-triggered, what
is left calls the greenlet again in the next round of the loop, after everybody else who can run has run: a flood does
not starve the handlers, and a quiet socket costs nothing.

**Sending** is a sendto in the greenlet that has something to say.  When the system's buffer is full the datagram waits
in a bounded queue, which a greenlet made for the purpose empties.

**Errors.**  18.4 wants ICMP errors reported to the transaction.  Linux tells an unconnected socket of them only if
asked to (IP_RECVERR), and then in two ways: the *next* system call of the socket fails, whatever address it is for,
and the error queue has the story, with the address and the beginning of the datagram in question.  So when a call
fails, the queue is read, those concerned are told, and the call is made again.  The quoted datagram is passed on as
evidence: an error with no branch of ours in it, which anybody could forge, harms nobody.

**Addresses.**  A socket on 0.0.0.0 or :: is told under which address each datagram came, and answers from that one
(``sources.py``); that costs it half a microsecond for each, and one with an address of its own nothing.

Not as RFC 3261 18.1.1: a request to a multicast group has no "maddr" in its Via, and the group is not joined.  Who gets
it answers to where it came from.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent
from gevent.hub import Hub

from greensip.errors import ConnectError, MessageTooBig, TransportError
from greensip.transaction.flow import Address, Flow, Point, hostport

from .base import (
    Counters,
    Listen,
    Receiver,
    Recent,
    Transport,
    WildcardPoint,
    failure,
    is_keep_alive,
    local_address,
    plain_socket,
    read_options,
    readable_head,
)
from .sources import (
    ANCILLARY,
    Ancillary,
    SocketAddress,
    ask_for_destinations,
    destination_of,
    is_link_local,
    leaving_from,
    scoped,
)
from .stun import answer_binding, looks_like_stun

__all__ = ['DRAIN', 'FLOWS', 'RECEIVE_BUFFER', 'SEND_BUFFER', 'SEND_QUEUE', 'UdpTransport']

log: Final = logging.getLogger('greensip.transport')

#: datagrams that are read at most before other greenlets get their turn.  A round of the loop costs about as much as
#: two system calls: per datagram of a burst, over the recvfrom itself, it was 3.7 us with 1, 1.2 with 8, 0.95 with 32,
#: and 0.9 with 64, by when the first handler would have to wait twice as long
DRAIN: Final = 32
#: datagrams that wait at most while the system's buffer is full
SEND_QUEUE: Final = 1000
#: half the number of peers whose flows are remembered
FLOWS: Final = 4096
#: what we ask the system to keep for us, in octets: it has to last for the longest pause between two reads.  Linux
#: gives no more than net.core.rmem_max, 208 KiB unless raised
RECEIVE_BUFFER: Final = 4 << 20
SEND_BUFFER: Final = 1 << 20
#: local addresses of a wildcard socket that get a point of their own
FACES: Final = 256
#: entries of the error queue that are read in one go
ERRORS: Final = 64
#: no datagram is larger
LARGEST: Final = 65535

READ: Final = 1
WRITE: Final = 2

#: a place has none of its own
OPTIONS: Final[Mapping[str, Callable[[str], object]]] = {}

#: (level, option) by which Linux is asked for ICMP errors; Python has no names for them
_RECVERR: Final = {socket.AF_INET: (0, 11), socket.AF_INET6: (41, 25)} if sys.platform == 'linux' else {}
_EXTENDED_ERROR: Final = struct.Struct('=IBBBBII')
_FROM_ICMP: Final = 2
_FROM_ICMP6: Final = 3
#: 18.4: "destination unreachable" and "parameter problem" of ICMP and of ICMPv6; time exceeded and the like are ignored
_UNREACHABLE: Final = {(_FROM_ICMP, 3), (_FROM_ICMP, 12), (_FROM_ICMP6, 1), (_FROM_ICMP6, 4)}

#: what a system call says on account of an ICMP error that came in meanwhile
_LATE: Final = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EACCES,
                errno.EMSGSIZE, errno.EPROTO, errno.EHOSTDOWN}
_UNREACHED: Final = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN,
                     errno.EADDRNOTAVAIL}

#: what the system says when a datagram cannot leave from the address that it is to leave from
_MOVED: Final = {errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH}


class UdpTransport(Transport):
    """One UDP socket.  Raises TransportError if it cannot be bound; a port that is in use is in use.  UsageError for
    options, as it has none.

    ``icmp_errors`` off makes an unreachable peer a matter of timers again.
    """

    def __init__(self, listen: Listen, receiver: Receiver, *, receive_buffer: int = RECEIVE_BUFFER,
                 send_buffer: int = SEND_BUFFER, icmp_errors: bool = True,
                 socket_type: type[socket.socket] = plain_socket) -> None:
        read_options(listen, OPTIONS)
        read_options(listen, {})
        self.receiver = receiver
        self.counters = Counters()
        self.family = socket.AF_INET6 if ':' in listen.host else socket.AF_INET
        #: called with the STUN messages that are not Binding requests; must not block
        self.on_stun: Callable[[bytes, Flow], object] | None = None
        #: whether we hear of peers that cannot be reached
        self.hears_icmp = False
        self.socket = self._bind(listen, socket_type)
        try:
            self._set_options(receive_buffer, send_buffer, icmp_errors)
            bound = self.socket.getsockname()
            address: Address = bound[:2]
            #: whether datagrams tell under which of our addresses they came
            self.tells = address[0] in ('0.0.0.0', '::') and ask_for_destinations(self.socket)
        except OSError as error:
            self.socket.close()
            raise failure(TransportError, f'cannot listen on {listen}', error) from error
        self.wildcard = listen.advertised is None and address[0] in ('0.0.0.0', '::')
        if self.wildcard:
            self.point: Point = WildcardPoint('UDP', address, self._facing)
        else:
            shown = listen.advertised
            self.point = Point('UDP', address, advertised=(shown[0], shown[1] or address[1]) if shown else None)
        self._faces: dict[str, Point] = {}
        # What has the system send from an address that it would not have chosen.
        self._sources: dict[Point, list[Ancillary]] = {}
        # The interface of our own address, and those of peers, where addresses are link-local.
        self._scope: int = bound[3] if len(bound) > 2 else 0
        self._scopes: Recent[str, int] = Recent(FLOWS)
        self._flows: Recent[Any, Flow] = Recent(FLOWS)
        self._targets: Recent[Address, SocketAddress] = Recent(FLOWS)
        self._queue: deque[tuple[bytes, Flow, SocketAddress]] = deque()
        self._buffer = bytearray(LARGEST)
        self._view = memoryview(self._buffer)
        self._closed = False
        self._parked = False
        self._watching = False
        self._reader: gevent.Greenlet[[Hub], None] | None = None
        self._writer: gevent.Greenlet[[], None] | None = None
        # Bound once: this is the hottest call of all.
        self._sendto = self.socket.sendto

    def __repr__(self) -> str:
        return f'<UdpTransport {hostport(*self.point.address)}>'

    # -- opening and closing

    def _bind(self, listen: Listen, socket_type: type[socket.socket]) -> socket.socket:
        try:
            opened = socket_type(self.family, socket.SOCK_DGRAM)
        except OSError as error:
            raise failure(TransportError, f'cannot listen on {listen}', error) from error
        try:
            opened.setblocking(False)
            if self.family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Neither SO_REUSEADDR nor SO_REUSEPORT: with either a second program could take half of our messages.
            opened.bind(scoped(listen.host, listen.port))
        except OSError as error:
            opened.close()
            raise failure(TransportError, f'cannot listen on {listen}', error) from error
        return opened

    def _set_options(self, receive_buffer: int, send_buffer: int, icmp_errors: bool) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        option = _RECVERR.get(self.family)
        if icmp_errors and option is not None:
            self.socket.setsockopt(*option, 1)
            self.hears_icmp = True
        log.debug('= %s: receive buffer %d octets', hostport(*self.socket.getsockname()[:2]),
                  self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))

    def start(self) -> None:
        if self._reader is None and not self._closed:
            hub = gevent.get_hub()
            self._watcher = hub.loop.io(self.socket.fileno(), READ)
            self._reader = gevent.spawn(self._read, hub)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._reader is not None:
            self._watcher.stop()
            self._watcher.close()
            if self._parked:
                # Otherwise it is at work, perhaps in the very call that closes us, and sees _closed afterwards.
                self._parked = False
                gevent.get_hub().loop.run_callback(self._reader.switch)
        if self._writer is not None:
            self._writer.kill(block=False)
        self._queue.clear()
        self.socket.close()

    # -- receiving

    def _read(self, hub: Hub) -> None:
        """The reader greenlet."""
        watcher = self._watcher
        while not self._closed:
            if not self._watching:
                self._watching = True
                watcher.start(self._wake)
            self._parked = True
            hub.switch()
            if not self._closed:
                try:
                    self._drain()
                except Exception:
                    log.exception('! reading from %r failed', self)
                    # Whatever it is, it shall not come a hundred thousand times a second.
                    gevent.sleep(0.1)

    def _wake(self) -> None:
        """The socket is readable; called in the hub."""
        if self._parked:
            self._parked = False
            assert self._reader is not None
            self._reader.switch()
        else:
            # The reader is waiting for something else, inside somebody's handler: it must not be woken out of that.
            self._watching = False
            self._watcher.stop()

    def _drain(self) -> None:
        receive_into = self.socket.recvfrom_into
        received = self.receiver.received
        receive_told = self.socket.recvmsg_into
        buffer = self._buffer
        buffers = [buffer]
        view = self._view
        flows = self._flows
        tells = self.tells
        ancillary: list[Ancillary] = []
        counters = self.counters
        for count in range(DRAIN):
            try:
                if tells:
                    size, ancillary, _, sender = receive_told(buffers, ANCILLARY)
                else:
                    size, sender = receive_into(buffer)
            except BlockingIOError:
                if not count:
                    # Readable, yet nothing to read: there is something in the error queue.
                    self._read_errors()
                return
            except OSError as error:
                if self._closed:
                    return
                self._receiving_failed(error)
                continue
            counters.received += 1
            data = bytes(view[:size])
            if size <= 4 and is_keep_alive(data):
                counters.keep_alives += 1
                continue
            if tells:
                key = sender, ancillary[0][2] if ancillary else b''
                flow = flows.young.get(key) or self._flow_to(key, sender, ancillary)
            else:
                flow = flows.young.get(sender) or self._flow(sender)
            # RFC 5626 8: no SIP message begins with an octet of 0 or 1.
            if data[0] < 2 and looks_like_stun(data):
                self._receive_stun(data, flow)
                continue
            received(data, flow)
            if self._closed:
                return

    def _receive_stun(self, data: bytes, flow: Flow) -> None:
        """A Binding request is answered, an answer goes to whoever has asked (RFC 5626 8)."""
        self.counters.keep_alives += 1
        answer = answer_binding(data, flow.remote)
        if answer is not None:
            try:
                self.send(answer, flow)
            except TransportError as error:
                log.debug('! %s', error)
        elif self.on_stun is not None:
            self.on_stun(data, flow)

    def _receiving_failed(self, error: OSError) -> None:
        if error.errno in _LATE:
            if not self._read_errors():
                self.counters.errors += 1
            return
        self.counters.errors += 1
        log.warning('! receiving on %s: %s', hostport(*self.point.address), error)
        gevent.sleep(0.1)

    def _flow(self, sender: SocketAddress) -> Flow:
        """The flow of a peer that is not among the most recent ones."""
        flow = self._flows.get(sender)
        if flow is None:
            self._note_scope(sender)
            flow = Flow(self.point.toward(sender[0]), (sender[0], sender[1]))
            self._flows.put(sender, flow)
        return flow

    def _flow_to(self, key: object, sender: SocketAddress, ancillary: list[Ancillary]) -> Flow:
        """The same where the peer has called one of several addresses: it is answered from that (RFC 3581 4)."""
        flow = self._flows.get(key)
        if flow is None:
            self._note_scope(sender)
            host = sender[0]
            local = destination_of(ancillary)
            usual = local_address(host, self._scope_of(host))
            if local is None:
                local = usual
            point: Point | None = None
            if local is not None and (self.wildcard or local != usual):
                point = self._face(local)
            if point is None:
                point = self.point
            elif local is not None and local != usual:
                self._sources[point] = leaving_from(local)
            flow = Flow(point, (host, sender[1]))
            self._flows.put(key, flow)
        return flow

    def _note_scope(self, sender: SocketAddress) -> None:
        """A link-local address means something only together with its interface, which a flow does not have."""
        if len(sender) > 2 and sender[3]:
            self._scopes.put(sender[0], sender[3])
            self._targets.put((sender[0], sender[1]), sender)

    def _scope_of(self, host: str) -> int:
        return self._scopes.get(host) or self._scope if is_link_local(host) else 0

    def _facing(self, host: str) -> Point | None:
        """For a wildcard address: the point with the local address that faces ``host``."""
        local = local_address(host, self._scope_of(host))
        return None if local is None else self._face(local)

    def _face(self, local: str) -> Point | None:
        """The point of one of our addresses; None if there are too many."""
        point = self._faces.get(local)
        if point is None:
            if len(self._faces) >= FACES:
                return None
            address = self.point.address
            shown = (local, address[1]) if self.wildcard else self.point.advertised
            point = self._faces[local] = Point('UDP', address, advertised=shown)
            self.receiver.opened(point, self)
        return point

    # -- sending

    def send(self, data: bytes, flow: Flow) -> None:
        remote = flow.remote
        target = self._targets.young.get(remote) or self._target(remote)
        if self._queue:
            self._enqueue(data, flow, target)
            return
        try:
            if self._sources and flow.point in self._sources:
                self.socket.sendmsg((data,), self._sources[flow.point], 0, target)
            else:
                self._sendto(data, target)
        except BlockingIOError:
            self._enqueue(data, flow, target)
        except OSError as error:
            self._send_again(data, flow, target, error)
        else:
            self.counters.sent += 1

    def _target(self, remote: Address) -> SocketAddress:
        """What sendto takes for an address, checked once: given a name it would block and ask the DNS."""
        target = self._targets.get(remote)
        if target is None:
            host, port = remote
            if not 0 < port < 65536:
                raise ConnectError(f'cannot send to {hostport(host, port)}: no such port')
            try:
                socket.inet_pton(self.family, host)
            except OSError:
                family = 6 if self.family == socket.AF_INET6 else 4
                raise ConnectError(f'cannot send to {hostport(host, port)}: not an IPv{family} address') from None
            scope = self._scope_of(host)
            target = scoped(host, port, scope)
            if scope or not is_link_local(host):
                self._targets.put(remote, target)
        return target

    def _transmit(self, data: bytes, flow: Flow, target: SocketAddress) -> None:
        """One datagram, from where it is to leave, or from where it can if that address is gone."""
        ancillary = self._sources.get(flow.point)
        if ancillary is not None:
            try:
                self.socket.sendmsg((data,), ancillary, 0, target)
                return
            except OSError as error:
                if error.errno not in _MOVED:
                    raise
        self._sendto(data, target)

    def _send_again(self, data: bytes, flow: Flow, target: SocketAddress, error: OSError) -> None:
        """A sendto failed.  If that was on account of an earlier datagram, make it once more."""
        for _ in range(4):
            if self._closed:
                break
            if not (error.errno in _LATE and self._read_errors()) and not (
                    error.errno in _MOVED and flow.point in self._sources):
                break
            try:
                self._transmit(data, flow, target)
            except BlockingIOError:
                self._enqueue(data, flow, target)
                return
            except OSError as another:
                error = another
            else:
                self.counters.sent += 1
                return
        if error.errno == errno.ENOBUFS:
            # The network card's queue is full.  Nothing tells when it no longer is; as on a busy link, it is lost.
            self.counters.dropped += 1
            return
        self.counters.errors += 1
        where = hostport(*flow.remote)
        if error.errno == errno.EMSGSIZE:
            raise failure(MessageTooBig, f'cannot send {len(data)} octets in a datagram to {where}', error) from error
        kind = ConnectError if error.errno in _UNREACHED else TransportError
        raise failure(kind, f'cannot send to {where}', error) from error

    def _enqueue(self, data: bytes, flow: Flow, target: SocketAddress) -> None:
        if len(self._queue) >= SEND_QUEUE:
            self.counters.dropped += 1
            raise TransportError(f'cannot send to {hostport(*flow.remote)}: {SEND_QUEUE} datagrams are waiting')
        self.counters.queued += 1
        self._queue.append((data, flow, target))
        if self._writer is None:
            self._writer = gevent.spawn(self._write)

    def _write(self) -> None:
        """The greenlet that empties the queue, and then ends."""
        hub = gevent.get_hub()
        watcher = hub.loop.io(self.socket.fileno(), WRITE)
        try:
            while self._queue:
                hub.wait(watcher)
                self._write_some()
        finally:
            self._writer = None
            watcher.close()

    def _write_some(self) -> None:
        queue = self._queue
        while queue:
            data, flow, target = queue[0]
            try:
                self._transmit(data, flow, target)
            except BlockingIOError:
                return
            except OSError as error:
                queue.popleft()
                try:
                    self._send_again(data, flow, target, error)
                except TransportError as failed:
                    self.receiver.failed(flow, failed, data)
            else:
                queue.popleft()
                self.counters.sent += 1

    # -- ICMP

    def _read_errors(self) -> int:
        """Read the error queue and tell those concerned; how many entries there were."""
        if not self.hears_icmp:
            return 0
        for count in range(ERRORS):
            try:
                quoted, ancillary, _, sender = self.socket.recvmsg(LARGEST, 256, socket.MSG_ERRQUEUE)
            except OSError:
                return count
            for level, kind, field in ancillary:
                if (level, kind) == _RECVERR[self.family] and len(field) >= _EXTENDED_ERROR.size:
                    self._icmp_error(field, quoted, sender)
        return ERRORS

    def _icmp_error(self, field: bytes, quoted: bytes, sender: SocketAddress) -> None:
        number, origin, kind, code, *_ = _EXTENDED_ERROR.unpack_from(field)
        if (origin, kind) not in _UNREACHABLE or number == errno.EMSGSIZE:
            # A router told us the size of its link: the system has taken note, a retransmission fits.
            return
        self.counters.errors += 1
        flow = self._flow(sender)
        log.debug('! %r cannot be reached: ICMP type %d code %d', flow, kind, code)
        head = readable_head(quoted)
        if head:
            reason = OSError(number, os.strerror(number))
            self.receiver.failed(flow, failure(ConnectError, f'cannot reach {hostport(*flow.remote)}', reason), head)
