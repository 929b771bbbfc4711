"""Messages to a capture server such as Homer, by HEP version 3 (the "Homer encapsulation protocol", EEP).

A tap (``Endpoint.taps``) that sends each message, in the clear whatever it came over, with its addresses, its time and
the Call-ID that correlates it with the others of its call.  A packet is ``HEP3``, its length, and chunks of vendor,
type, length and value; types and their numbers are those of HEP's specification, revision 12.

**It never holds anybody up.**  Over UDP a packet that the system does not take at once is lost, and counted; so is what
a server that is not there does not get.  Over TCP what waits is bounded, and a greenlet sends it; it connects again, a
little later each time, when the server has gone.  Nothing is masked.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import struct
import time
from collections import deque
from urllib.parse import parse_qsl

import gevent
from gevent.event import Event

from greensip.errors import SetupError, UsageError
from greensip.transaction.flow import Address, Flow, hostport

from .base import plain_socket, read_hostport
from .wire import endpoints

__all__ = ['HEP_PORT', 'QUEUE', 'HepPlace', 'HepTap', 'hep_packet']

log = logging.getLogger('greensip.transport')

#: where Homer listens
HEP_PORT = 9060
#: packets that wait at most for a server that is reached over TCP
QUEUE = 1000
#: octets of a packet at most: a datagram must hold it
LARGEST_PACKET = 65000
#: seconds between two attempts to reach a server over TCP, at first and at last; and for one attempt
RETRY, LONGEST_RETRY, PATIENCE = 1.0, 60.0, 10.0

_CALL_ID = re.compile(rb'^(?:call-id|i)[ \t]*:[ \t]*(\S+)', re.IGNORECASE | re.MULTILINE)
_HEAD = struct.Struct('!HHH')

# Chunk types of vendor 0
_FAMILY, _PROTOCOL, _SOURCE4, _DESTINATION4, _SOURCE6, _DESTINATION6 = 1, 2, 3, 4, 5, 6
_SOURCE_PORT, _DESTINATION_PORT, _SECONDS, _MICROSECONDS, _KIND, _AGENT = 7, 8, 9, 10, 11, 12
_KEY, _PAYLOAD, _CORRELATION = 14, 15, 17
# Numbers of the Internet, as Linux has them
_IPV4, _IPV6, _TCP, _UDP = 2, 10, 6, 17
_SIP = 1


class HepPlace:
    """Where captured messages go, as a person writes it: ``192.0.2.9``, ``homer.example.com:9060``,
    ``tcp:[2001:db8::9]:9060?id=7&password=secret``.

    ``capture_id`` is by which the server knows us, ``password`` what it asks for, None where it does not.  Raises
    UsageError, a sentence for a person.
    """

    __slots__ = ('capture_id', 'host', 'password', 'port', 'transport')

    def __init__(self, text: str) -> None:
        place, _, options = text.strip().partition('?')
        kind, colon, rest = place.partition(':')
        self.transport = 'UDP'
        if colon and kind.lower() in ('udp', 'tcp'):
            self.transport, place = kind.upper(), rest
        self.host, self.port = read_hostport(place, HEP_PORT)
        self.capture_id = 0
        self.password: str | None = None
        if not self.port:
            raise UsageError(f'cannot send to {text!r}: 0 is not a port')
        if self.host in ('::', '0.0.0.0'):
            raise UsageError(f'cannot send to {text!r}: {self.host} is where one listens')
        for name, value in parse_qsl(options, keep_blank_values=True):
            if name == 'id' and value.isascii() and value.isdigit() and int(value) < 1 << 32:
                self.capture_id = int(value)
            elif name == 'password' and value:
                self.password = value
            else:
                raise UsageError(f'cannot read {name}={value} of a HEP server: it takes id=NUMBER and password=TEXT')

    def __str__(self) -> str:
        return f'{self.transport.lower()}:{hostport(self.host, self.port)}'


def hep_packet(data: bytes, flow: Flow, source: Address, destination: Address, stamp: float, *, capture_id: int = 0,
               password: str | None = None) -> bytes:
    """``data`` as a HEP packet; ``stamp`` in seconds since 1970.  The end of a body that does not fit is left out."""
    family = _IPV6 if ':' in flow.remote[0] else _IPV4
    seconds, microseconds = divmod(int(stamp * 1_000_000), 1_000_000)
    types = (_SOURCE6, _DESTINATION6) if family == _IPV6 else (_SOURCE4, _DESTINATION4)
    call_id = _CALL_ID.search(data)
    chunks = [
        _chunk(_FAMILY, bytes((family,))),
        # The protocol below SIP as far as the Internet has numbers for it: TLS and WebSocket are TCP.
        _chunk(_PROTOCOL, bytes((_UDP if flow.point.transport == 'UDP' else _TCP,))),
        _chunk(types[0], _packed(source[0], family)),
        _chunk(types[1], _packed(destination[0], family)),
        _chunk(_SOURCE_PORT, struct.pack('!H', source[1])),
        _chunk(_DESTINATION_PORT, struct.pack('!H', destination[1])),
        _chunk(_SECONDS, struct.pack('!I', seconds & 0xFFFFFFFF)),
        _chunk(_MICROSECONDS, struct.pack('!I', microseconds)),
        _chunk(_KIND, bytes((_SIP,))),
        _chunk(_AGENT, struct.pack('!I', capture_id)),
    ]
    if password is not None:
        chunks.append(_chunk(_KEY, password.encode()))
    if call_id is not None:
        chunks.append(_chunk(_CORRELATION, call_id[1][:1024]))
    head = b''.join(chunks)
    payload = _chunk(_PAYLOAD, data[:LARGEST_PACKET - 6 - len(head) - _HEAD.size])
    return b'HEP3' + struct.pack('!H', 6 + len(head) + len(payload)) + head + payload


def _chunk(kind: int, value: bytes) -> bytes:
    return _HEAD.pack(0, kind, _HEAD.size + len(value)) + value


def _packed(host: str, family: int) -> bytes:
    """A numeric address as octets, without its zone; the unspecified one for what is not an address of the family."""
    try:
        return socket.inet_pton(socket.AF_INET6 if family == _IPV6 else socket.AF_INET, host.partition('%')[0])
    except OSError:
        return bytes(16 if family == _IPV6 else 4)


class HepTap:
    """Sends every message to a capture server; see the module's description.

    ``place`` is a ``HepPlace`` or its text; its host is an address, or ``address`` is the one that was found for its
    name.  ``epoch`` as for ``PcapTap``.  Raises UsageError, and SetupError if the server cannot be sent to (no route, a
    name).  A call neither blocks nor raises.
    """

    def __init__(self, place: HepPlace | str, *, address: str | None = None, epoch: float | None = None) -> None:
        self.place = HepPlace(place) if isinstance(place, str) else place
        self.epoch = epoch
        #: packets handed to the system, and packets that were lost on our side
        self.sent = 0
        self.lost = 0
        self._remote = (address or self.place.host, self.place.port)
        self._family = socket.AF_INET6 if ':' in self._remote[0] else socket.AF_INET
        self._queue: deque[bytes] = deque()
        self._wanted = Event()
        self._writer: gevent.Greenlet[[], None] | None = None
        self._socket: socket.socket | None = None
        self._closed = False
        try:
            socket.inet_pton(self._family, self._remote[0])
            if self.place.transport == 'UDP':
                self._socket = plain_socket(self._family, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
                self._socket.connect(self._remote)
        except OSError as error:
            self.close()
            raise SetupError(f'captured messages cannot be sent to {self.place}: '
                             f'{error.strerror or "not an address"}') from None

    def __repr__(self) -> str:
        return f'<HepTap {self.place}, {self.sent} sent, {self.lost} lost>'

    def __call__(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        if self._closed:
            return
        source, destination = endpoints(direction, flow)
        stamp = time.time() if self.epoch is None else self.epoch + now
        packet = hep_packet(data, flow, source, destination, stamp, capture_id=self.place.capture_id,
                            password=self.place.password)
        if self.place.transport == 'UDP':
            self._send(packet)
        elif len(self._queue) >= QUEUE:
            self.lost += 1
        else:
            self._queue.append(packet)
            self._wanted.set()
            if self._writer is None:
                self._writer = gevent.spawn(self._write)

    def _send(self, packet: bytes) -> None:
        assert self._socket is not None
        for _ in range(2):
            try:
                self._socket.send(packet)
            except OSError as error:
                # Refused is what became of an earlier packet: the next call sends.
                if error.errno == errno.ECONNREFUSED:
                    continue
                break
            else:
                self.sent += 1
                return
        self.lost += 1

    # -- over TCP

    def _write(self) -> None:
        """The greenlet that sends what waits; it lives until ``close()``."""
        delay = RETRY
        while not self._closed:
            connection = gevent.socket.socket(self._family, socket.SOCK_STREAM)
            try:
                connection.settimeout(PATIENCE)
                connection.connect(self._remote)
                delay = RETRY
                self._write_all(connection)
            except OSError as error:
                log.debug('! captured messages cannot be sent to %s: %s', self.place, error)
            finally:
                connection.close()
            gevent.sleep(delay)
            delay = min(2 * delay, LONGEST_RETRY)

    def _write_all(self, connection: gevent.socket.socket) -> None:
        """Send until the connection breaks; what was under way then is sent again, whole, on the next one."""
        while True:
            while self._queue:
                connection.sendall(self._queue[0])
                self._queue.popleft()
                self.sent += 1
            self._wanted.clear()
            self._wanted.wait()

    def close(self) -> None:
        """Send no more; what still waits is lost.  Does not block; twice does nothing."""
        self._closed = True
        if self._writer is not None:
            self._writer.kill(block=False)
            self._writer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
