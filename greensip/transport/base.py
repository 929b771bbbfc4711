"""What all transports have in common: the places where they listen, and who gets what they receive.

A transport is one socket (or its likeness in memory) with the greenlets that serve it.  It knows octets and addresses,
not messages: what it receives goes to a ``Receiver``, which is the endpoint.  RFC 3261 18.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, unquote

from gevent.monkey import get_original

from greensip.dialog.routing import is_numeric
from greensip.errors import ParseError, TransportError, UsageError
from greensip.message import Limits, Request, Response
from greensip.native import mypyc_attr
from greensip.transaction.flow import Address, Flow, Point, hostport

from .sources import scoped

__all__ = ['Counters', 'Listen', 'Receiver', 'Recent', 'Transport', 'failure', 'is_keep_alive',
           'plain_socket', 'read_count', 'read_options', 'read_seconds', 'read_switch', 'read_text', 'readable_head']

K = TypeVar('K')
V = TypeVar('V')
# The system's socket, also where gevent.monkey has put its own in the place.
plain_socket: Final[type[socket.socket]] = get_original('socket', 'socket')

E = TypeVar('E', bound=TransportError)

#: the port of SIP without TLS and with it (RFC 3261 19.1.2)
SIP_PORT: Final = 5060
SIPS_PORT: Final = 5061
#: where a place without a port listens (RFC 7118 for the last two)
DEFAULT_PORTS: Final = {'TLS': SIPS_PORT, 'WS': 80, 'WSS': 443}

#: octets of a message that identify it, at most
HEAD: Final = 16384

_CONTENT_LENGTH: Final = re.compile(rb'^(?:content-length|l)[ \t]*:.*\n', re.IGNORECASE | re.MULTILINE)
_LISTEN: Final = re.compile(
    r'(?P<transport>[a-z]+):(?P<host>\[[^\]]*\]|[^:;\s]*)(?::(?P<port>\d{1,5}))?', re.IGNORECASE)
_HOSTPORT: Final = re.compile(r'(?P<host>\[[^\]]*\]|[^:;\s]+)(?::(?P<port>\d{1,5}))?')


class Listen(NamedTuple):
    """A place to listen at, as a person writes it: ``udp:127.0.0.1:5060``, ``udp:[::1]``, ``udp:*:5070``.

    ``host`` is without brackets; a link-local address has its interface behind it, ``udp:[fe80::1%eth0]``.
    ``advertised`` is what peers are told instead of the address; as text it follows as a parameter,
    ``udp:0.0.0.0:5060;advertise=203.0.113.5:5060``.  ``options`` are the transport's own, in the order in which they
    were written: ``tls:0.0.0.0:5061?cert=FILE&key=FILE``.  In their text, %26 is an ``&``; ``advertise`` may be written
    among them.
    """

    transport: str
    host: str
    port: int
    advertised: Address | None = None
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Raises UsageError, a sentence for a person."""
        place, _, query = text.strip().partition('?')
        place, _, advertised = place.partition(';advertise=')
        match = _LISTEN.fullmatch(place)
        if match is None:
            raise UsageError(f'cannot read {text!r} as a place to listen at: write udp:HOST:PORT')
        transport = match['transport'].upper()
        port = int(match['port']) if match['port'] else DEFAULT_PORTS.get(transport, SIP_PORT)
        if port > 65535:
            raise UsageError(f'cannot listen on {place}: {port} is not a port')
        options = []
        for part in query.split('&') if query else ():
            name, _, value = part.partition('=')
            if not name:
                raise UsageError(f'cannot read the options of {text!r}: write ?NAME=VALUE&NAME=VALUE')
            if name == 'advertise':
                advertised = unquote(value)
            else:
                options.append((name, unquote(value)))
        host = match['host'].strip('[]')
        shown = read_hostport(advertised, port) if advertised else None
        return cls(transport, '0.0.0.0' if host in ('*', '') else host, port, shown, tuple(options))

    def showing(self, advertised: Address) -> Listen:
        """The place with what all places show to peers, unless it shows something of its own.

        An address is for the places of its family: nobody who has called the other one has a way there.
        """
        host = advertised[0]
        if self.advertised is not None or (
                is_numeric(host) and is_numeric(self.host) and (':' in host) != (':' in self.host)):
            return self
        return self._replace(advertised=advertised)

    def __str__(self) -> str:
        place = f'{self.transport.lower()}:{hostport(self.host, self.port)}'
        if self.advertised:
            place = f'{place};advertise={hostport(*self.advertised)}'
        if self.options:
            place += '?' + '&'.join(f'{name}={quote(value, safe="/:@,+ ")}' for name, value in self.options)
        return place


def read_options(listen: Listen, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The options of a place as values: ``known`` has a function for the text of each.

    Raises UsageError with a sentence for an option that is not known, was written twice, or cannot be read.
    """
    options: dict[str, Any] = {}
    for name, text in listen.options:
        read = known.get(name)
        if read is None:
            names = ', '.join(sorted({'advertise', *known}))
            kind = listen.transport.lower()
            raise UsageError(f'cannot listen on {listen}: {kind} has no option {name!r}, only {names}')
        if name in options:
            raise UsageError(f'cannot listen on {listen}: {name} is there twice')
        try:
            options[name] = read(text)
        except ValueError as error:
            raise UsageError(f'cannot listen on {listen}: {name}={text}: {error}') from None
    return options


def read_seconds(text: str) -> float:
    """A duration, for ``read_options``."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < float('inf'):
        raise ValueError('write seconds, such as 30 or 2.5')
    return seconds


def read_count(text: str) -> int:
    """A number of things, at least one."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError('write a number of at least 1')
    return int(text)


def read_switch(text: str) -> bool:
    """On or off; an option without a value is on."""
    if text.lower() in ('', '1', 'on', 'yes', 'true'):
        return True
    if text.lower() in ('0', 'off', 'no', 'false'):
        return False
    raise ValueError('write 1 or 0')


def read_text(text: str) -> str:
    """Any text but none."""
    if not text:
        raise ValueError('the value is missing')
    return text


def read_hostport(text: str, default: int) -> Address:
    """``host`` or ``host:port`` as a pair; an IPv6 address is in brackets, or alone.  Raises UsageError."""
    if text.count(':') > 1 and not text.startswith('['):
        return text, default
    match = _HOSTPORT.fullmatch(text)
    if match is None or int(match['port'] or 0) > 65535:
        raise UsageError(f'cannot read {text!r} as an address: write HOST or HOST:PORT')
    return match['host'].strip('[]'), int(match['port']) if match['port'] else default


class Receiver(Protocol):
    """Who a transport works for.  Its methods do not raise, and are called in greenlets, never in the hub."""

    #: what a peer may ask of us, for the transports that parse
    limits: Limits

    def received(self, data: bytes, flow: Flow) -> None:
        """A datagram has come in."""

    def arrived(self, item: Request | Response | ParseError, flow: Flow, data: bytes = b'') -> None:
        """A message of a stream, or what is wrong with it.  ``data`` are its octets if somebody looks at them."""

    def looks(self) -> bool:
        """Whether somebody looks at octets: a tap, the wire log.  Else they need not be kept."""

    def failed(self, flow: Flow, error: TransportError, data: bytes = b'') -> None:
        """What was sent before has turned out not to arrive: ``data``, or everything on the flow."""

    def opened(self, point: Point, transport: Transport) -> None:
        """The transport has got one more point to send from (wildcard addresses)."""


class Counters:
    """What went through a transport.  Plain numbers that only grow."""

    __slots__ = ('accepted', 'broken', 'dropped', 'errors', 'expired', 'keep_alives', 'opened', 'queued', 'received',
                 'refused', 'sent')

    def __init__(self) -> None:
        #: datagrams, or messages of streams
        self.received = 0
        self.sent = 0
        #: what only keeps a NAT's binding open or asks whether we are there, or means something in another protocol
        self.keep_alives = 0
        #: messages that had to wait, as the system's buffer was full or their connection was not there yet
        self.queued = 0
        #: what could not be kept: datagrams that found a full queue or inbox, connections whose queue was full
        self.dropped = 0
        #: failures that the system reported, for sending or receiving; connections that broke
        self.errors = 0
        #: connections that peers have opened, and we
        self.accepted = 0
        self.opened = 0
        #: connections that were too many, of one source or in all, or whose peer could not prove who it is
        self.refused = 0
        #: connections that were closed because something took too long: the handshake, a message, a ping, idleness
        self.expired = 0
        #: connections that were closed because their octets made no sense, or too large a message
        self.broken = 0

    def __repr__(self) -> str:
        return f"<Counters {', '.join(f'{name} {getattr(self, name)}' for name in self.__slots__)}>"


@mypyc_attr(allow_interpreted_subclasses=True)
class Transport:
    """Base of the transports.  ``point`` is where it listens, the port being the real one."""

    point: Point
    counters: Counters

    def start(self) -> None:
        """Begin to receive."""
        raise NotImplementedError

    def send(self, data: bytes, flow: Flow) -> None:
        """Hand one message over.  Does not block.  Raises TransportError."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop, and give the port back.  Does not block; doing it twice does nothing."""
        raise NotImplementedError


class Recent(Generic[K, V]):
    """A cache of bounded size that keeps what was used recently and costs one dict look-up.

    Two generations: when the young one is full it becomes the old one, and what is found there grows young again.
    Holds at most twice ``limit`` entries.
    """

    __slots__ = ('limit', 'old', 'young')

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        value = self.young.get(key)
        if value is None:
            value = self.old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        if len(self.young) >= self.limit:
            self.old = self.young
            self.young = {}
        self.young[key] = value

    def __len__(self) -> int:
        return len(self.young) + len(self.old)


class WildcardPoint(Point):
    """A point on 0.0.0.0 or ::, which shows each peer the local address that faces it."""

    __slots__ = ('_facing',)

    def __init__(self, transport: str, address: Address, facing: Callable[[str], Point | None], *,
                 reliable: bool = False, secure: bool = False, via_params: str = '') -> None:
        # Before a peer is known the address of the default route has to do; 192.0.2.0/24 and 2001:db8::/32 are for
        # documentation, so no route is special to them.
        family = 6 if ':' in address[0] else 4
        shown = local_address('2001:db8::1' if family == 6 else '192.0.2.1')
        shown = shown or ('::1' if family == 6 else '127.0.0.1')
        super().__init__(transport, address, advertised=(shown, address[1]), reliable=reliable, secure=secure,
                         via_params=via_params)
        self._facing = facing

    def toward(self, host: str) -> Point:
        return self._facing(host) or self


def local_address(host: str, scope: int = 0) -> str | None:
    """The address from which the system would send to numeric ``host``; None if it has no route."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        # Connecting a datagram socket sends nothing: the system looks the route up.
        with plain_socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(scoped(host, SIP_PORT, scope))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def is_keep_alive(data: bytes) -> bool:
    """Datagrams of up to four octets that say nothing: CRLF, double CRLF, NULs (RFC 5626 3.5.1 and what phones do)."""
    return len(data) <= 4 and not data.strip(b'\r\n\0 ')


def failure(kind: type[E], what: str, error: OSError) -> E:
    """A ``kind`` of TransportError in one sentence, with the errno of ``error``."""
    reason = (error.strerror or str(error)).lower()
    made = kind(f'{what}: {reason}')
    made.errno = error.errno
    return made


def readable_head(data: bytes) -> bytes:
    """The beginning of a message's header in whole lines, such that it can be parsed; nothing if there is none.

    For telling what has failed to arrive: an ICMP error quotes only so much of a datagram, and one that was too big to
    be sent is too big to be read as well.
    """
    head, end, _ = data[:HEAD].partition(b'\r\n\r\n')
    if not end:
        head = head[:max(head.rfind(b'\r\n'), 0)]
    return _CONTENT_LENGTH.sub(b'', head + b'\r\n') + b'\r\n' if head else b''
