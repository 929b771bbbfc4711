"""Request-URI, Route and next hop: RFC 3261 12.2.1.1 and 8.1.2; which point reaches which hop."""

from __future__ import annotations

import pytest

from greensip.dialog.routing import (
    MAX_HOPS,
    Router,
    Target,
    is_numeric,
    next_hop,
    route_request,
    secured_route,
)
from greensip.errors import ConnectError, ParseError
from greensip.transaction.flow import Flow, Hop, Point


@pytest.mark.parametrize(
    'target,route_set,uri,routes,hop',
    [
        ('sip:bob@b', (), 'sip:bob@b', [], 'sip:bob@b'),
        (
            'sip:bob@b',
            ('<sip:p1;lr>', '<sip:p2;lr>'),
            'sip:bob@b',
            ['<sip:p1;lr>', '<sip:p2;lr>'],
            'sip:p1;lr',
        ),
        # the example of 12.2.1.1
        (
            'sip:user@remoteua',
            ('<sip:proxy1>', '<sip:proxy2>', '<sip:proxy3;lr>', '<sip:proxy4>'),
            'sip:proxy1',
            ['<sip:proxy2>', '<sip:proxy3;lr>', '<sip:proxy4>', '<sip:user@remoteua>'],
            'sip:proxy1',
        ),
        # 19.1.1: what may not stand in a Request-URI is stripped from a strict route
        ('sip:b@b', ('<sip:p1;method=INVITE?a=b>',), 'sip:p1', ['<sip:b@b>'], 'sip:p1'),
        ('sip:b@b', ('"P" <sip:p1;lr=on>;x=y',), 'sip:b@b', ['"P" <sip:p1;lr=on>;x=y'], 'sip:p1;lr=on'),
        # 8.1.2: to a SIPS resource "as if the input URI were a SIPS URI"; the values stay what the proxies have written
        ('sips:b@b', ('<SIP:p1;lr>', '<sip:p2;lr>'), 'sips:b@b', ['<SIP:p1;lr>', '<sip:p2;lr>'], 'sips:p1;lr'),
        ('sips:b@b', ('<sip:p1>',), 'sip:p1', ['<sips:b@b>'], 'sips:p1'),
        ('sip:b@b', ('<sips:p1;lr>',), 'sip:b@b', ['<sips:p1;lr>'], 'sips:p1;lr'),
    ],
)
def test_route_request(target: str, route_set: tuple[str, ...], uri: str, routes: list[str], hop: str) -> None:
    assert route_request(target, route_set) == (uri, tuple(routes), hop)


def test_a_dialog_that_was_not_set_up_over_tls_goes_on_as_it_began() -> None:
    """12.1.1: it is not secure, whatever the URIs in it say."""
    assert route_request('sips:b@b', ('<sip:p1;lr>',), secure=False)[2] == 'sip:p1;lr'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('<sip:p1;lr>', '<sips:p1;lr>'),
        ('"<sip:a>" <SIP:u@p1:5070;lr>;x="y"', '"<sip:a>" <sips:u@p1:5070;lr>;x="y"'),
        ('<sips:p1;lr>', '<sips:p1;lr>'),
        ('<tel:+1555>', '<tel:+1555>'),
    ],
)
def test_routes_to_a_sips_resource(text: str, expected: str) -> None:
    assert secured_route(text) == expected


@pytest.mark.parametrize(
    'uri,hop',
    [
        ('sip:bob@example.com', Hop('example.com', None, None)),
        ('sip:bob@example.com:5070;transport=tcp', Hop('example.com', 5070, 'TCP')),
        ('sips:bob@example.com', Hop('example.com', None, None, True)),
        ('sip:bob@example.com;maddr=192.0.2.1', Hop('192.0.2.1', None, None)),
        ('sip:bob@[2001:db8::1]:5070', Hop('2001:db8::1', 5070, None)),
    ],
)
def test_next_hop(uri: str, hop: Hop) -> None:
    assert next_hop(uri) == hop


def test_no_hop() -> None:
    with pytest.raises(ConnectError, match='only sip'):
        next_hop('tel:+15551234')
    with pytest.raises(ParseError):
        next_hop('sip:')


@pytest.mark.parametrize('host,numeric', [('192.0.2.1', True), ('::1', True), ('example.com', False), ('1.2.3', False)])
def test_is_numeric(host: str, numeric: bool) -> None:
    assert is_numeric(host) is numeric


def test_points_are_chosen_by_transport_and_family() -> None:
    router = Router()
    udp = Point('UDP', ('127.0.0.1', 5060))
    other = Point('UDP', ('127.0.0.2', 5062))
    udp6 = Point('UDP', ('::1', 5060))
    tcp = Point('TCP', ('127.0.0.1', 5060), reliable=True)
    router.points += [udp, other, udp6, tcp]
    assert router.route('sip:b@192.0.2.1') == Flow(udp, ('192.0.2.1', 5060))
    assert router.route('sip:b@192.0.2.1', other) == Flow(other, ('192.0.2.1', 5060))
    assert router.route('sip:b@192.0.2.1;transport=tcp', other) == Flow(tcp, ('192.0.2.1', 5060))
    assert router.route('sip:b@[::2]:5070', udp) == Flow(udp6, ('::2', 5070))
    assert router.route('sip:b@example.com') == Hop('example.com', None, None)
    with pytest.raises(ConnectError, match='no listening point for TLS over IPv4'):
        router.route('sips:b@192.0.2.1')


def test_a_finder_is_asked_first_and_each_time() -> None:
    router = Router()
    point = Point('UDP', ('127.0.0.1', 5060))
    router.points.append(point)
    flows = [Flow(point, ('192.0.2.7', 5060)), Flow(point, ('192.0.2.8', 5060))]
    router.finder = lambda uri: flows.pop(0) if uri == 'sip:bob@example.com;gr=1' else None
    assert router.route('sip:bob@example.com;gr=1').remote == ('192.0.2.7', 5060)  # type: ignore[union-attr]
    assert router.route('sip:bob@example.com;gr=1').remote == ('192.0.2.8', 5060)  # type: ignore[union-attr]
    assert router.route('sip:bob@example.com') == Hop('example.com', None, None)
    assert flows == []


@pytest.mark.parametrize(
    'uri,hop',
    [
        # RFC 3261 26.2.2: sips means TLS, whatever transport is named
        ('sips:bob@example.com;transport=tcp', Hop('example.com', None, 'TLS', True)),
        ('sips:bob@example.com;transport=tls', Hop('example.com', None, 'TLS', True)),
        ('sips:bob@example.com;transport=ws', Hop('example.com', None, 'WSS', True)),
        ('sip:bob@example.com;transport=tls', Hop('example.com', None, 'TLS')),
        # RFC 5922 4: the certificate is to show the domain of the URI
        ('sips:bob@example.com;maddr=192.0.2.1', Hop('192.0.2.1', None, None, True, 'example.com')),
    ],
)
def test_secure_hops(uri: str, hop: Hop) -> None:
    assert next_hop(uri) == hop


def test_sips_goes_over_nothing_else() -> None:
    with pytest.raises(ConnectError, match='sips does not go over UDP'):
        next_hop('sips:bob@example.com;transport=udp')


def test_what_a_secure_server_has_to_prove() -> None:
    """RFC 5922 4: the domain of the URI, not the name that an SRV record leads to."""
    router = Router()
    tls = Point('TLS', ('127.0.0.1', 5061), reliable=True, secure=True)
    router.points += [tls, Point('UDP', ('127.0.0.1', 5060))]
    found = router.flow(Hop('example.com', None, None, True), Target('TLS', '192.0.2.1', 5066))
    assert found == Flow(tls, ('192.0.2.1', 5066), 0, 'example.com')
    assert router.route('sips:b@example.com;maddr=192.0.2.1') == Flow(tls, ('192.0.2.1', 5061), 0, 'example.com')
    assert router.flow(Hop('example.com', None, None), Target('UDP', '192.0.2.1', 5060)).name == ''
    with pytest.raises(ConnectError, match='no listening point for TCP over IPv4 to reach'):
        router.flow(Hop('example.com', None, None), Target('TCP', '192.0.2.1', 5060))


def test_our_transports_the_preferred_one_first() -> None:
    router = Router()
    tls = Point('TLS', ('127.0.0.1', 5061), reliable=True, secure=True)
    router.points += [tls, Point('TCP', ('127.0.0.1', 5060), reliable=True), Point('UDP', ('::1', 5060))]
    assert router.transports() == ['UDP', 'TCP', 'TLS']
    assert router.transports(tls) == ['TLS', 'UDP', 'TCP']


def test_a_user_agent_that_has_no_udp_uses_what_it_has() -> None:
    router = Router()
    tcp = Point('TCP', ('127.0.0.1', 5060), reliable=True)
    router.points.append(tcp)
    assert router.route('sip:b@192.0.2.1') == Flow(tcp, ('192.0.2.1', 5060))


def test_remembered_hops_are_bounded() -> None:
    router = Router()
    router.points.append(Point('UDP', ('127.0.0.1', 5060)))
    for number in range(MAX_HOPS + 10):
        router.route(f'sip:user{number}@192.0.2.1')
    assert len(router._hops) <= MAX_HOPS


def test_long_uris_are_not_remembered() -> None:
    """Peers may have as many Contacts of 30 KB as they like."""
    router = Router()
    router.points.append(Point('UDP', ('127.0.0.1', 5060)))
    for number in range(10):
        assert router.route(f'sip:{"u" * 30_000}{number}@192.0.2.1') == Flow(router.points[0], ('192.0.2.1', 5060))
    assert router._hops == {}
