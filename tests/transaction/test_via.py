"""Stamping requests and finding the way back: RFC 3261 18.2.1 and 18.2.2, RFC 3581 4, RFC 5118 4.5."""

from __future__ import annotations

import pytest

from greensip.message import Request, make_response, parse_message
from greensip.transaction import Flow, Point
from greensip.transaction.via import answer_keep, keep_time, response_flow, stamp

UDP = Point('UDP', ('192.0.2.1', 5060))
UDP6 = Point('UDP', ('2001:db8::1', 5060))
TCP = Point('TCP', ('192.0.2.1', 5060), reliable=True)


def with_vias(*vias: str, name: str = 'Via') -> Request:
    lines = '\r\n'.join(f'{name}: {via}' for via in vias)
    message = parse_message(f'OPTIONS sip:x SIP/2.0\r\nMax-Forwards: 1\r\n{lines}\r\nTo: <sip:x>\r\n\r\n'.encode())
    assert isinstance(message, Request)
    return message


# sent-by and parameters that come from 192.0.2.9:4711, what they become, and where the response goes
CASES = [
    # the truth, and no rport asked for: left alone
    ('192.0.2.9:5070;branch=z9hG4bK1', None, ('192.0.2.9', 5070)),
    ('192.0.2.9;branch=z9hG4bK1', None, ('192.0.2.9', 5060)),
    ('192.0.2.9:4711;branch=z9hG4bK1', None, ('192.0.2.9', 4711)),
    # a name, or another address: received, and the port of sent-by
    ('host.example.com:5070;branch=z9hG4bK1', 'host.example.com:5070;branch=z9hG4bK1;received=192.0.2.9',
     ('192.0.2.9', 5070)),
    ('10.0.0.1;branch=z9hG4bK1', '10.0.0.1;branch=z9hG4bK1;received=192.0.2.9', ('192.0.2.9', 5060)),
    ('host.example.com', 'host.example.com;received=192.0.2.9', ('192.0.2.9', 5060)),
    # RFC 3581: the source port, and received even if sent-by is the truth
    ('10.0.0.1:5060;rport;branch=z9hG4bK1', '10.0.0.1:5060;rport=4711;branch=z9hG4bK1;received=192.0.2.9',
     ('192.0.2.9', 4711)),
    ('192.0.2.9:5060;branch=z9hG4bK1;rport', '192.0.2.9:5060;branch=z9hG4bK1;rport=4711;received=192.0.2.9',
     ('192.0.2.9', 4711)),
    ('10.0.0.1;RPORT;branch=z9hG4bK1', '10.0.0.1;rport=4711;branch=z9hG4bK1;received=192.0.2.9', ('192.0.2.9', 4711)),
    ('192.0.2.9:4711;rport', '192.0.2.9:4711;rport=4711;received=192.0.2.9', ('192.0.2.9', 4711)),
    ('192.0.2.9:4711;maddr=198.51.100.7', None, ('198.51.100.7', 4711)),
    ('192.0.2.9:4711;received=198.51.100.7', '192.0.2.9:4711', ('192.0.2.9', 4711)),
    # parameters that only look like it
    ('192.0.2.9;rporty;branch=z9hG4bK1', None, ('192.0.2.9', 5060)),
    ('192.0.2.9;branch=z9hG4bKrport;x=received', None, ('192.0.2.9', 5060)),
    # what somebody claims about himself is replaced
    ('10.0.0.1;received=198.51.100.1;branch=z9hG4bK1', '10.0.0.1;branch=z9hG4bK1;received=192.0.2.9',
     ('192.0.2.9', 5060)),
    ('192.0.2.9;received=198.51.100.1;branch=z9hG4bK1', '192.0.2.9;branch=z9hG4bK1', ('192.0.2.9', 5060)),
    ('10.0.0.1;rport=1;received=198.51.100.1', '10.0.0.1;rport=4711;received=192.0.2.9', ('192.0.2.9', 4711)),
    # 18.2.2: maddr goes before all that, if it is an address of our family
    ('192.0.2.9:5070;maddr=224.0.1.75', None, ('224.0.1.75', 5070)),
    ('192.0.2.9;maddr=198.51.100.7', None, ('198.51.100.7', 5060)),
    ('10.0.0.1;rport;maddr=198.51.100.7', '10.0.0.1;rport=4711;maddr=198.51.100.7;received=192.0.2.9',
     ('198.51.100.7', 5060)),
    ('192.0.2.9;maddr=name.example.com', None, ('192.0.2.9', 5060)),
    ('192.0.2.9;maddr=[2001:db8::7]', None, ('192.0.2.9', 5060)),
]


@pytest.mark.parametrize(('via', 'stamped', 'remote'), CASES)
def test_over_udp(via: str, stamped: str | None, remote: tuple[str, int]) -> None:
    request = with_vias(f'SIP/2.0/UDP {via}')
    flow = Flow(UDP, ('192.0.2.9', 4711))
    stamp(request, flow)
    assert request.get('Via') == f'SIP/2.0/UDP {stamped or via}'
    assert response_flow(request, flow) == Flow(UDP, remote)
    stamp(request, flow)
    assert request.get('Via') == f'SIP/2.0/UDP {stamped or via}'


def test_ipv6_is_compared_without_its_brackets() -> None:
    """RFC 5118 4.5: received is written without them."""
    flow = Flow(UDP6, ('2001:db8::9', 4711))
    request = with_vias('SIP/2.0/UDP [2001:DB8::9]:5070;branch=z9hG4bK1')
    stamp(request, flow)
    assert request.get('Via') == 'SIP/2.0/UDP [2001:DB8::9]:5070;branch=z9hG4bK1'
    assert response_flow(request, flow) == Flow(UDP6, ('2001:db8::9', 5070))
    request = with_vias('SIP/2.0/UDP [2001:db8::99];rport;branch=z9hG4bK1')
    stamp(request, flow)
    assert request.get('Via') == 'SIP/2.0/UDP [2001:db8::99];rport=4711;branch=z9hG4bK1;received=2001:db8::9'
    assert request.via.received == '2001:db8::9'
    assert response_flow(request, flow) is flow


def test_over_a_connection_the_response_takes_it_back() -> None:
    flow = Flow(TCP, ('192.0.2.9', 4711), 3)
    request = with_vias('SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK1;maddr=198.51.100.7')
    stamp(request, flow)
    assert request.via.received == '192.0.2.9'
    assert response_flow(request, flow) is flow


def test_a_secure_point_has_its_own_default_port() -> None:
    point = Point('DTLS-UDP', ('192.0.2.1', 5061), secure=True)
    assert response_flow(with_vias('SIP/2.0/UDP 192.0.2.9'), Flow(point, ('192.0.2.9', 4711))).remote[1] == 5061


@pytest.mark.parametrize('name', ['Via', 'v'])
@pytest.mark.parametrize('vias', [
    ('SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1', 'SIP/2.0/UDP a ;branch=z9hG4bK2', 'SIP / 2.0 / TCP b'),
    ('SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1, SIP/2.0/UDP a;branch=z9hG4bK2', 'SIP / 2.0 / TCP b'),
])
def test_the_vias_below_the_top_stay(vias: tuple[str, ...], name: str) -> None:
    request = with_vias(*vias, name=name)
    below = [str(via) for via in request.vias[1:]]
    stamp(request, Flow(UDP, ('192.0.2.9', 4711)))
    assert request.via.received == '192.0.2.9'
    assert request.via.rport == 4711
    assert [str(via) for via in request.vias[1:]] == below
    assert request.get('To') == '<sip:x>'


def test_a_response_can_be_stamped_in_place_of_its_request() -> None:
    request = with_vias('SIP/2.0/UDP 10.0.0.1;rport')
    response = make_response(request, 400)
    flow = Flow(UDP, ('192.0.2.9', 4711))
    stamp(response, flow)
    assert response.get('Via') == 'SIP/2.0/UDP 10.0.0.1;rport=4711;received=192.0.2.9'


@pytest.mark.parametrize(('vias', 'expected'), [
    # RFC 6223 4.4: who offers it is told how often; whatever else the Via says stays
    (['h;branch=z9hG4bK1;keep'], ['h;branch=z9hG4bK1;keep=30']),
    (['h;keep;branch=z9hG4bK1;rport'], ['h;keep=30;branch=z9hG4bK1;rport']),
    (['h;KEEP'], ['h;keep=30']),
    # not offered, or answered already
    (['h;branch=z9hG4bKkeep'], ['h;branch=z9hG4bKkeep']), (['h;keeper'], ['h;keeper']),
    (['h;keep=10'], ['h;keep=10']), (['h;keep='], ['h;keep=']),
    # only the neighbour is answered
    (['p;keep', 'h;keep'], ['p;keep=30', 'h;keep']), (['p, SIP/2.0/UDP h;keep'], ['p, SIP/2.0/UDP h;keep']),
    (['p;keep, SIP/2.0/UDP h;keep'], ['p;keep=30', 'h;keep']),
])
def test_keep(vias: list[str], expected: list[str]) -> None:
    request = with_vias(*(f'SIP/2.0/UDP {via}' for via in vias))
    answer_keep(request, 30)
    assert request.get_all('Via') == [f'SIP/2.0/UDP {via}' for via in expected]


@pytest.mark.parametrize(('params', 'seconds'), [
    ('', None), (';keep', None), (';keep=', None), (';keep=0', 0), (';keep=30', 30), (';KEEP=30', 30),
    (';keep=-1', None), (';keep=x', None), (';keep=1e3', None), (';keep=²', None), (f';keep={"9" * 5000}', None)])
def test_what_the_next_hop_wants(params: str, seconds: int | None) -> None:
    request = with_vias(f'SIP/2.0/UDP a.example.com;branch=z9hG4bK1{params}')
    assert keep_time(make_response(request, 200)) == seconds


def test_a_via_that_cannot_be_read_wants_nothing() -> None:
    response = make_response(with_vias('SIP/2.0/UDP a.example.com;branch=z9hG4bK1'), 200)
    response.set('Via', 'x')
    assert keep_time(response) is None
