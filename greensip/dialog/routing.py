"""Where a request goes: RFC 3261 8.1.2, 12.2.1.1 and 19.1.1; the numeric part of RFC 3263.

A URI names a next hop.  When its host is an address, the hop is a flow at once; when it is a name, somebody with a
network has to look it up (``Lookup``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from greensip.errors import ConnectError, TransportError
from greensip.message import SipUri, parse_name_addr, parse_uri
from greensip.transaction.flow import Address, Flow, Hop, Point

__all__ = [
    'DEFAULT_PORT',
    'Envelope',
    'Located',
    'Lookup',
    'Router',
    'is_numeric',
    'next_hop',
    'plain_uri',
    'route_request',
]

DEFAULT_PORT = {'UDP': 5060, 'TCP': 5060, 'TLS': 5061, 'WS': 80, 'WSS': 443, 'SCTP': 5060}

#: how many next hops are remembered; the table is emptied when it is full
MAX_HOPS = 4096


class Located(Protocol):
    """Whoever waits for a name to become addresses."""

    def located(self, flow: Flow | None, error: TransportError | None, now: float) -> None:
        """``flow`` is where to send; None when there is an ``error`` instead."""


class Lookup:
    """A question for the network: at which addresses is ``hop``?"""

    __slots__ = ('hop', 'point', 'waiter')

    def __init__(self, hop: Hop, point: Point | None, waiter: Located) -> None:
        self.hop = hop
        self.point = point
        self.waiter = waiter

    def __repr__(self) -> str:
        return f'<Lookup {self.hop.host}>'


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
    transport = params.get('transport')
    secure = uri.scheme == 'sips'
    return Hop(host, uri.port, transport.upper() if transport else None, secure)


def plain_uri(text: str) -> str:
    """A URI as it may stand in a request line: without header fields and the method parameter (19.1.1)."""
    if '?' not in text and ';method=' not in text.lower():
        return text
    uri = parse_uri(text)
    if not isinstance(uri, SipUri):
        return text
    params = {name: value for name, value in uri.params.items() if name.lower() != 'method'}
    return str(uri.replace(params=params, headers=()))


def route_request(target: str, route_set: Sequence[str]) -> tuple[str, Sequence[str], str]:
    """Request-URI, Route values and the URI of the next hop for a remote target and a route set (12.2.1.1)."""
    if not route_set:
        return target, (), target
    uri = parse_name_addr(route_set[0]).uri
    uri_text = str(uri)
    # The first route is a loose router: it gets the message with the target in place.
    if isinstance(uri, SipUri) and 'lr' in uri.params:
        return target, route_set, uri_text
    # A strict router takes the next Route value for its Request-URI, so the target goes last.
    uri_text = plain_uri(uri_text)
    return uri_text, (*route_set[1:], f'<{target}>'), uri_text


class Router:
    """Chooses the listening point for a hop and remembers what a URI led to."""

    __slots__ = ('_hops', 'points')

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._hops: dict[tuple[str, Point | None], Flow | Hop] = {}

    def route(self, uri_text: str, point: Point | None = None) -> Flow | Hop:
        """The flow to ``uri_text``, or its Hop when the host is a name.  Raises TransportError, ParseError."""
        key = (uri_text, point)
        found = self._hops.get(key)
        if found is None:
            hop = next_hop(uri_text)
            found = self.flow(hop, (hop.host, hop.port or 0), point) if is_numeric(hop.host) else hop
            if len(self._hops) >= MAX_HOPS:
                self._hops.clear()
            self._hops[key] = found
        return found

    def flow(self, hop: Hop, address: Address, preferred: Point | None = None) -> Flow:
        """The flow to one of a hop's addresses, from ``preferred`` if that can reach it."""
        transport = hop.transport or ('TLS' if hop.secure else None)
        host, port = address
        family = 6 if ':' in host else 4
        if preferred is not None and preferred.family == family and transport in (None, preferred.transport):
            point: Point | None = preferred
        else:
            point = next((p for p in self.points if p.family == family and p.transport == (transport or 'UDP')), None)
            if point is None and transport is None:
                point = next((p for p in self.points if p.family == family), None)
        if point is None:
            raise ConnectError(f'no listening point for {transport or "UDP"} over IPv{family} to reach {hop.host}')
        return Flow(point.toward(host), (host, port or hop.port or DEFAULT_PORT.get(point.transport, 5060)))
