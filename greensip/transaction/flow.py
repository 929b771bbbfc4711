"""Where a message came from or goes to: plain values that the pure core can make and compare.

A ``Point`` is a place where we listen, a ``Flow`` a point together with the peer's address (RFC 5626 calls
that pair a flow).  Over a stream transport the flow also names its connection, 0 for "any, or a new one".
A ``Hop`` is the next hop of a request as a URI names it, before its host has become addresses (RFC 3263).
"""

from __future__ import annotations

from typing import NamedTuple

from greensip.native import mypyc_attr

__all__ = ['Flow', 'Hop', 'Point', 'hostport']

Address = tuple[str, int]


def hostport(host: str, port: int | None) -> str:
    """``host:port`` as a URI or a Via writes it: IPv6 in brackets, no port if None."""
    if ':' in host and not host.startswith('['):
        host = f'[{host}]'
    return host if port is None else f'{host}:{port}'


@mypyc_attr(allow_interpreted_subclasses=True)
class Point:
    """A listening point: its transport token as Via writes it, address, and what it shows to peers.

    ``advertised`` is the host and port written into Via and Contact; it is the local address unless the
    user says otherwise (NAT, or listening on a wildcard address).  ``via_params`` is text for every Via, such as
    ``;alias``.
    """

    __slots__ = ('address', 'advertised', 'contact_params', 'family', 'one_way', 'reliable', 'secure', 'sent_by',
                 'transport', 'via_prefix')

    def __init__(self, transport: str, address: Address, *, advertised: Address | None = None,
                 reliable: bool = False, secure: bool = False, via_params: str = '') -> None:
        self.transport = transport.upper()
        self.address = address
        self.advertised = advertised or address
        self.reliable = reliable
        self.secure = secure
        #: 4 or 6, the family of the local address
        self.family = 6 if ':' in address[0] else 4
        self.sent_by = hostport(*self.advertised)
        #: what a Via begins with; the branch is appended to it
        self.via_prefix = f'SIP/2.0/{self.transport} {self.sent_by}{via_params};rport;branch='
        # RFC 7118 5.2: there is one value for both kinds of WebSocket.
        named = 'ws' if self.transport == 'WSS' else self.transport.lower()
        self.contact_params = '' if named == 'udp' else f';transport={named}'
        #: whether who has connected cannot be connected to: a browser (RFC 7118 4.1, B.1)
        self.one_way = self.transport in ('WS', 'WSS')

    def toward(self, host: str) -> Point:
        """The point to send from to numeric ``host``: itself, unless it listens on a wildcard address."""
        return self

    def __repr__(self) -> str:
        return f'<Point {self.transport} {hostport(*self.address)}>'


@mypyc_attr(allow_interpreted_subclasses=True)
class Flow:
    """A point and the peer's numeric address.  Equal when point, address, connection and name are.

    ``name`` is the host that the next hop had before the DNS, which a secure peer has to prove (RFC 5922 4); it is
    empty where nothing is to be proved.
    """

    __slots__ = ('connection', 'name', 'point', 'remote')

    def __init__(self, point: Point, remote: Address, connection: int = 0, name: str = '') -> None:
        self.point = point
        self.remote = remote
        self.connection = connection
        self.name = name

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Flow) and self.point is other.point and self.remote == other.remote
                and self.connection == other.connection and self.name == other.name)

    def __hash__(self) -> int:
        return hash((self.remote, self.connection))

    def __repr__(self) -> str:
        return f'<Flow {self.point.transport} {hostport(*self.point.address)} to {hostport(*self.remote)}>'


class Hop(NamedTuple):
    """The next hop of a request: ``port`` is None when the URI names none; ``transport`` likewise.

    ``name`` is the domain that a secure hop has to prove, where that is not ``host`` (maddr).
    """

    host: str
    port: int | None
    transport: str | None
    secure: bool = False
    name: str = ''
