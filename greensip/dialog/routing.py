"""Where a request goes: RFC 3261 8.1.2, 12.2.1.1 and 19.1.1; RFC 3263 without the network.

A URI names a next hop.  When its host is an address, the hop is a flow at once; when it is a name, somebody with a
network has to look it up (``Lookup``), and answers with the servers that there are (``Target``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from greensip.errors import ConnectError, TransportError
from greensip.message import SipUri, parse_name_addr, parse_uri
from greensip.message.grammar import MEMORY_LENGTH
from greensip.transaction.flow import Flow, Hop, Point

__all__ = [
    'DEFAULT_PORT',
    'Envelope',
    'Located',
    'Lookup',
    'Router',
    'Target',
    'is_numeric',
    'is_sips',
    'next_hop',
    'plain_uri',
    'route_request',
    'secured',
    'secured_route',
    'target_of',
]

DEFAULT_PORT: Final = {'UDP': 5060, 'TCP': 5060, 'TLS': 5061, 'WS': 80, 'WSS': 443, 'SCTP': 5060}

#: what a sips URI goes over, by the transport that it names: TLS in any case (RFC 3261 26.2.2; RFC 5630 3.1.3)
SECURE: Final = {'TCP': 'TLS', 'TLS': 'TLS', 'WS': 'WSS', 'WSS': 'WSS'}

#: how many targets that failed are remembered
MAX_AVOIDED: Final = 1024

#: how many next hops are remembered; the table is emptied when it is full
MAX_HOPS: Final = 4096


class Target(NamedTuple):
    """A server: the transport it speaks, its numeric address and port."""

    transport: str
    host: str
    port: int


class Located(Protocol):
    """Whoever waits for a name to become addresses."""

    def located(self, flows: Sequence[Flow], error: TransportError | None, now: float) -> None:
        """``flows`` are where to send, best first; none when there is an ``error`` instead."""


#: what makes two look-ups the same: the hop, the transport that is preferred, the number
LookupKey = tuple[Hop, str, str]

NOWHERE: Final = Hop('', None, None)


class Lookup:
    """A question for the network: which servers ``hop`` has, or which URIs a telephone ``number`` (RFC 6116)."""

    __slots__ = ('hop', 'number', 'point', 'waiter')

    def __init__(self, hop: Hop, point: Point | None, waiter: Any, number: str = '') -> None:
        self.hop = hop
        self.point = point
        #: a ``Located``; for a number a request
        self.waiter: Any = waiter
        self.number = number

    @property
    def name(self) -> str:
        """What is looked up, for a person."""
        return self.number or self.hop.host

    @property
    def key(self) -> LookupKey:
        """Look-ups with the same key have the same answer."""
        return self.hop, self.point.transport if self.point is not None else '', self.number

    def __repr__(self) -> str:
        return f'<Lookup {self.name}>'


class Envelope:
    """What a request is addressed with: 8.1.1 outside of dialogs, 12.2.1.1 inside."""

    __slots__ = ('call_id', 'cseq', 'from_', 'next_uri', 'routes', 'to', 'uri')

    def __init__(
        self, uri: str, from_: str, to: str, call_id: str, cseq: int, routes: Sequence[str], next_uri: str
    ) -> None:
        self.uri = uri
        self.from_ = from_
        self.to = to
        self.call_id = call_id
        self.cseq = cseq
        self.routes = routes
        #: the URI of the next hop: the first route's, or the Request-URI
        self.next_uri = next_uri


def is_numeric(host: str) -> bool:
    """Whether ``host`` is an IPv4 or IPv6 address (without brackets) and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def next_hop(uri_text: str) -> Hop:
    """The host, port and transport that a URI names (RFC 3263 4.1 and 4.2, what needs no DNS)."""
    uri = parse_uri(uri_text)
    if not isinstance(uri, SipUri):
        raise ConnectError(f'no way to reach {uri_text}: only sip and sips URIs can be sent to')
    params = uri.params
    host = params.get('maddr') or uri.host
    if host.startswith('['):
        host = host[1:-1]
    named = params.get('transport')
    transport = named.upper() if named else None
    secure = uri.scheme == 'sips'
    if secure and transport is not None:
        if transport not in SECURE:
            raise ConnectError(f'no way to reach {uri_text}: sips does not go over {transport}')
        transport = SECURE[transport]
    # RFC 5922 4: what a certificate must show is the domain of the URI, whatever leads there.
    name = uri.host if 'maddr' in params and (secure or transport in ('TLS', 'WSS')) else ''
    return Hop(host, uri.port, transport, secure, name)


def is_sips(uri_text: str) -> bool:
    """Whether a URI asks for TLS all the way (RFC 3261 26.2.2)."""
    return uri_text[:5].lower() == 'sips:'


def secured(uri_text: str) -> str:
    """A SIP URI as a SIPS one, "simply by changing the scheme" (RFC 5630 5.1.1)."""
    return f'sips:{uri_text[4:]}' if uri_text[:4].lower() == 'sip:' else uri_text


def secured_route(text: str) -> str:
    """The same for a Route value."""
    start = text.rfind('<') + 1
    return text[:start] + secured(text[start:])


def plain_uri(text: str) -> str:
    """A URI as it may stand in a request line: without header fields and the method parameter (19.1.1)."""
    if '?' not in text and ';method=' not in text.lower():
        return text
    uri = parse_uri(text)
    if not isinstance(uri, SipUri):
        return text
    params = {name: value for name, value in uri.params.items() if name.lower() != 'method'}
    return str(uri.replace(params=params, headers=()))


def route_request(target: str, route_set: Sequence[str], secure: bool = True) -> tuple[str, Sequence[str], str]:
    """Request-URI, Route values and the URI of the next hop for a remote target and a route set (12.2.1.1).

    ``secure=False`` for a dialog that was not set up over TLS, though its URIs are of scheme sips (12.1.1).
    """
    if not route_set:
        return target, (), target
    uri = parse_name_addr(route_set[0]).uri
    uri_text = str(uri)
    # 8.1.2: "Independent of which URI is used as input to the procedures of [4], if the Request-URI specifies a SIPS
    # resource, the UAC MUST follow the procedures of [4] as if the input URI were a SIPS URI."
    secure = secure and is_sips(target)
    # The first route is a loose router: it gets the message with the target in place.
    if isinstance(uri, SipUri) and 'lr' in uri.params:
        return target, route_set, secured(uri_text) if secure else uri_text
    # A strict router takes the next Route value for its Request-URI, so the target goes last.
    uri_text = plain_uri(uri_text)
    return uri_text, (*route_set[1:], f'<{target}>'), secured(uri_text) if secure else uri_text


class Router:
    """Chooses the listening point for a hop, remembers what a URI led to, and which targets failed."""

    __slots__ = ('_hops', 'avoided', 'finder', 'points')

    def __init__(self) -> None:
        self.points: list[Point] = []
        #: until when a target that failed is better not tried
        self.avoided: dict[Target, float] = {}
        self._hops: dict[tuple[str, Point | None], Flow | Hop] = {}
        #: who knows more of some URIs than they say, such as a registrar of its GRUUs; their answers are not remembered
        self.finder: Callable[[str], Flow | Hop | None] | None = None

    def route(self, uri_text: str, point: Point | None = None) -> Flow | Hop:
        """The flow to ``uri_text``, or its Hop when the host is a name.  Raises TransportError, ParseError."""
        key = (uri_text, point)
        found = self._hops.get(key)
        if found is None:
            if self.finder is not None:
                known = self.finder(uri_text)
                if known is not None:
                    return known
            hop = self._websocket(next_hop(uri_text), point)
            found = self.numeric_flow(hop, point) if is_numeric(hop.host) else hop
            if len(uri_text) <= MEMORY_LENGTH:
                if len(self._hops) >= MAX_HOPS:
                    self._hops.clear()
                self._hops[key] = found
        return found

    def _websocket(self, hop: Hop, preferred: Point | None) -> Hop:
        """RFC 7118 5.2: ``ws`` is all that a URI says of WebSockets; who has only secure ones takes it for those."""
        if hop.transport != 'WS':
            return hop
        ours = [preferred] if preferred is not None and preferred.one_way else self.points
        names = {point.transport for point in ours}
        return hop._replace(transport='WSS') if 'WSS' in names and 'WS' not in names else hop

    def numeric_flow(self, hop: Hop, preferred: Point | None = None) -> Flow:
        """The flow to a hop whose host is an address, from ``preferred`` if that can reach it (RFC 3263 4.1)."""
        transport = hop.transport or ('TLS' if hop.secure else None)
        family = 6 if ':' in hop.host else 4
        if preferred is not None and preferred.family == family and transport in (None, preferred.transport):
            point: Point | None = preferred
        else:
            point = self.point(transport or 'UDP', family)
            if point is None and transport is None:
                point = next((p for p in self.points if p.family == family), None)
        if point is None:
            raise ConnectError(f'no listening point for {transport or "UDP"} over IPv{family} to reach {hop.host}')
        return self._flow(point, hop, Target(point.transport, hop.host, hop.port or DEFAULT_PORT[point.transport]))

    def flow(self, hop: Hop, target: Target, preferred: Point | None = None) -> Flow:
        """The flow to one of the servers of a hop, from ``preferred`` if that can reach it.  Raises ConnectError."""
        family = 6 if ':' in target.host else 4
        point = preferred
        if point is None or point.family != family or point.transport != target.transport:
            point = self.point(target.transport, family)
        if point is None:
            raise ConnectError(f'no listening point for {target.transport} over IPv{family} to reach {hop.host}')
        return self._flow(point, hop, target)

    def _flow(self, point: Point, hop: Hop, target: Target) -> Flow:
        return Flow(point.toward(target.host), (target.host, target.port), 0,
                    (hop.name or hop.host) if point.secure else '')

    def point(self, transport: str, family: int) -> Point | None:
        """The first listening point of a transport and an address family."""
        return next((p for p in self.points if p.transport == transport and p.family == family), None)

    def transports(self, preferred: Point | None = None) -> list[str]:
        """The transports that we have, best first: that of ``preferred``, then UDP, as RFC 3263 4.1 has it."""
        ours = {point.transport: None for point in self.points}
        first = [preferred.transport] if preferred is not None else []
        return [name for name in dict.fromkeys([*first, *DEFAULT_PORT]) if name in ours]

    # -- targets that failed

    def avoid(self, flow: Flow, now: float, seconds: float) -> None:
        """Try others before the target of ``flow`` for so long (RFC 3261 21.5.4 for a Retry-After)."""
        avoided = self.avoided
        if len(avoided) >= MAX_AVOIDED:
            for target in [target for target, until in avoided.items() if until <= now]:
                del avoided[target]
            if len(avoided) >= MAX_AVOIDED:
                avoided.clear()
        avoided[target_of(flow)] = now + seconds

    def is_avoided(self, target: Target, now: float) -> bool:
        """Whether a target failed a short while ago."""
        until = self.avoided.get(target)
        if until is None:
            return False
        if until <= now:
            del self.avoided[target]
            return False
        return True

    def relieve(self, flow: Flow) -> None:
        """The target of ``flow`` has answered: it may be tried again."""
        self.avoided.pop(target_of(flow), None)

    def in_order(self, targets: Sequence[Target], now: float) -> Sequence[Target]:
        """Those that failed a short while ago at the end: they are tried when nothing else is left."""
        if not self.avoided:
            return targets
        return sorted(targets, key=lambda target: self.is_avoided(target, now))


def target_of(flow: Flow) -> Target:
    """The target that a flow leads to."""
    return Target(flow.point.transport, flow.remote[0], flow.remote[1])
