"""Peers to which nothing leads but the flow that they have opened: RFC 7118 B.1, RFC 5626 4.3 and 5.3."""

from __future__ import annotations

import pytest

from greensip.dialog import ENDED, FAILED
from greensip.dialog.routing import Target
from greensip.errors import ConnectError
from greensip.message import Request, parse_message
from greensip.transaction.flow import Flow, Point

from .conftest import Party, World

PEER = ('192.0.2.7', 40001)
SDP = b'v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'


@pytest.fixture
def bob(world: World) -> Party:
    return world.party('bob', 5080)


def web(bob: Party) -> Point:
    """A WebSocket point of bob's."""
    point = Point('WS', ('127.0.0.1', 8080), reliable=True)
    bob.core.points.append(point)
    return point


def invite(contact: str, extra: str = '', method: str = 'INVITE', cseq: int = 1, to_tag: str = '') -> bytes:
    return (f'{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{method}{cseq}\r\n'
            f'From: <sip:peer@example.com>;tag=peer\r\nTo: <sip:bob@example.com>{to_tag and f";tag={to_tag}"}\r\n'
            f'Call-ID: one\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n'
            f'Contact: <{contact}>\r\n{extra}\r\n').encode()


def sent(bob: Party) -> list[tuple[Request, Flow]]:
    """The requests that bob wants to send, with their ways."""
    found = []
    while bob.core.outgoing:
        data, flow = bob.core.outgoing.popleft()
        message = parse_message(data)
        if isinstance(message, Request):
            found.append((message, flow))
    return found


def answered(bob: Party, data: bytes, flow: Flow) -> str:
    """Bob answers a call; the tag of his dialog."""
    bob.core.receive(parse_message(data), flow, 0.0)
    bob.core.events.popleft().subject.respond(200, 0.0, body=SDP)
    tag, = (dialog.local_tag for dialog in bob.core.dialogs.values())
    return tag


def hang_up(bob: Party) -> tuple[Request, Flow]:
    usage, = bob.core.usages
    sent(bob)
    usage.bye(0.0)
    bye, = sent(bob)
    return bye


@pytest.mark.parametrize('contact', [
    'sip:x@df7jal23ls0d.invalid;transport=ws', 'sip:x@df7jal23ls0d.INVALID', 'sip:x@a.invalid.;transport=udp',
    'sip:x@10.0.0.1:5060;ob', 'sip:x@10.0.0.1;ob;transport=udp',
])
def test_requests_go_back_to_where_the_caller_is(bob: Party, contact: str) -> None:
    flow = Flow(bob.point, PEER)
    tag = answered(bob, invite(contact), flow)
    bob.core.receive(parse_message(invite(contact, method='ACK', to_tag=tag)), flow, 0.0)
    bye, way = hang_up(bob)
    assert (bye.method, bye.uri_text) == ('BYE', contact)
    assert way == flow


@pytest.mark.parametrize('contact, remote', [
    ('sip:x@10.0.0.1:5070', ('10.0.0.1', 5070)), ('sip:x@10.0.0.1;x=ob', ('10.0.0.1', 5060)),
    ('sip:x.invalid@10.0.0.1', ('10.0.0.1', 5060)), ('sip:;ob@10.0.0.1', ('10.0.0.1', 5060)),
])
def test_who_can_be_reached_is(bob: Party, contact: str, remote: tuple[str, int]) -> None:
    flow = Flow(bob.point, PEER)
    tag = answered(bob, invite(contact), flow)
    bob.core.receive(parse_message(invite(contact, method='ACK', to_tag=tag)), flow, 0.0)
    assert hang_up(bob)[1] == Flow(bob.point, remote)


def test_a_route_that_leads_there_is_taken(bob: Party) -> None:
    flow = Flow(bob.point, PEER)
    text = invite('sip:x@a.invalid;transport=ws', 'Record-Route: <sip:10.0.0.9;lr>\r\n')
    tag = answered(bob, text, flow)
    bob.core.receive(parse_message(invite('sip:x@a.invalid', method='ACK', to_tag=tag)), flow, 0.0)
    assert hang_up(bob)[1] == Flow(bob.point, ('10.0.0.9', 5060))


def test_over_a_one_way_connection_whatever_the_contact_says(bob: Party) -> None:
    flow = Flow(web(bob), PEER, 17)
    tag = answered(bob, invite('sip:x@10.0.0.1:4711;transport=ws'), flow)
    bob.core.receive(parse_message(invite('sip:x@10.0.0.1', method='ACK', to_tag=tag)), flow, 0.0)
    bye, way = hang_up(bob)
    assert way == flow
    assert (bye.get('Via') or '').startswith('SIP/2.0/WS 127.0.0.1:8080;')


def test_the_peer_comes_back_on_another_connection(bob: Party) -> None:
    point = web(bob)
    contact = 'sip:x@a.invalid;transport=ws'
    tag = answered(bob, invite(contact), Flow(point, PEER, 17))
    bob.core.receive(parse_message(invite(contact, method='ACK', to_tag=tag)), Flow(point, PEER, 17), 0.0)
    moved = Flow(point, ('192.0.2.7', 40002), 18)
    bob.core.receive(parse_message(invite(contact, method='INFO', cseq=2, to_tag=tag)), moved, 0.0)
    assert hang_up(bob)[1] == moved


def test_a_call_over_a_given_flow(bob: Party) -> None:
    flow = Flow(web(bob), PEER, 17)
    usage = bob.core.invite('sip:x@a.invalid;transport=ws', 0.0, from_='sip:bob@example.com', flow=flow, body=SDP)
    (request, way), = sent(bob)
    assert way == flow
    assert request.uri_text == 'sip:x@a.invalid;transport=ws'
    assert request.get('Contact') == '<sip:127.0.0.1:8080;transport=ws>'
    answer = (f"SIP/2.0 200 OK\r\nVia: {request.get('Via')}\r\nFrom: {request.get('From')}\r\n"
              f"To: {request.get('To')};tag=x\r\nCall-ID: {request.call_id}\r\nCSeq: 1 INVITE\r\n"
              f'Contact: <sip:x@a.invalid;transport=ws>\r\n\r\n')
    bob.core.receive(parse_message(answer.encode()), flow, 0.0)
    (ack, way), = sent(bob)
    assert ack.method == 'ACK' and way == flow
    usage.bye(0.0)
    (bye, way), = sent(bob)
    assert bye.method == 'BYE' and way == flow


def test_a_request_over_a_given_flow(bob: Party) -> None:
    flow = Flow(web(bob), PEER, 17)
    bob.core.request('MESSAGE', 'sip:x@a.invalid', 0.0, from_='sip:bob@example.com', flow=flow)
    (request, way), = sent(bob)
    assert request.method == 'MESSAGE' and way == flow
    bob.core.transport_failed(flow, ConnectError('the connection is closed'), 0.0)
    event, = bob.core.events
    assert event.kind == FAILED and isinstance(event.error, ConnectError)
    assert sent(bob) == []


# Over streams: where the dialog began


@pytest.fixture
def tls(bob: Party) -> Point:
    point = Point('TLS', ('127.0.0.1', 5061), reliable=True, secure=True)
    bob.core.points.append(point)
    return point


def called(bob: Party, contact: str) -> tuple[Request, Flow]:
    """Bob calls sips:a@example.com, found at 192.0.2.7:5061, which answers with ``contact``; the ACK."""
    usage = bob.core.invite('sips:a@example.com', 0.0, from_='sips:bob@127.0.0.1', body=SDP)
    bob.core.located(bob.core.lookups.popleft(), [Target('TLS', '192.0.2.7', 5061)], None, 0.0)
    (request, flow), = sent(bob)
    assert flow.name == 'example.com'
    lines = [f'{name}: {text}' for name, text in request.fields if name in ('Via', 'From', 'Call-ID', 'CSeq')]
    text = '\r\n'.join(['SIP/2.0 200 OK', *lines, f'To: {request.get("To")};tag=a', f'Contact: <{contact}>', '', ''])
    bob.core.receive(parse_message(text.encode()), flow, 0.0)
    ack, = sent(bob)
    assert usage.state == 'confirmed'
    return ack


def test_who_proved_its_domain_need_not_prove_the_address_in_its_contact(bob: Party, tls: Point) -> None:
    ack, flow = called(bob, 'sips:a@192.0.2.7:5061')
    assert ack.method == 'ACK' and flow == Flow(tls, ('192.0.2.7', 5061), 0, 'example.com')
    assert hang_up(bob)[1] == flow


def test_somebody_else_has_to(bob: Party, tls: Point) -> None:
    _, flow = called(bob, 'sips:a@192.0.2.8:5061')
    assert flow == Flow(tls, ('192.0.2.8', 5061), 0, '192.0.2.8')


def test_whatever_leads_to_a_sips_resource_is_reached_over_tls(bob: Party, tls: Point) -> None:
    """8.1.2, RFC 5630 5.1.1: also a proxy that is known by a SIP URI."""
    bob.core.configure(route=['<sip:192.0.2.9;lr>'])
    secure = Flow(tls, ('192.0.2.9', 5061), 0, '192.0.2.9')
    for uri, route, flow in (('sips:a@example.com', '<sips:192.0.2.9;lr>', secure),
                             ('sip:a@example.com', '<sip:192.0.2.9;lr>', Flow(bob.point, ('192.0.2.9', 5060)))):
        bob.core.invite(uri, 0.0, from_='sip:bob@127.0.0.1', body=SDP)
        (request, way), = sent(bob)
        assert (request.uri_text, request.get('Route'), way) == (uri, route, flow)
        assert (request.get('Contact') or '').startswith('<sips:') is (way.point is tls)


def test_or_not_at_all(bob: Party) -> None:
    for route in ('<sip:192.0.2.9;lr>', '<sip:192.0.2.9;transport=udp;lr>'):
        bob.core.request('OPTIONS', 'sips:a@example.com', 0.0, from_='sip:bob@127.0.0.1', route=[route])
        assert sent(bob) == []
        event = bob.core.events.pop()
        assert event.kind == FAILED and isinstance(event.error, ConnectError)


def client(bob: Party, tls: Point) -> Flow:
    """A client of TLS has called bob; where from."""
    def says(method: str, tag: str = '') -> bytes:
        data = invite('sips:x@192.0.2.7:5061', method=method, to_tag=tag)
        return data.replace(b'/WS x.invalid', b'/TLS 192.0.2.7:5061')

    home = Flow(tls, PEER, 17)
    tag = answered(bob, says('INVITE'), home)
    bob.core.receive(parse_message(says('ACK', tag)), home, 0.0)
    return home


def test_a_client_that_cannot_be_connected_to_is_reached_over_its_connection(bob: Party, tls: Point) -> None:
    home = client(bob, tls)
    bye, flow = hang_up(bob)
    assert flow == Flow(tls, ('192.0.2.7', 5061), 0, '192.0.2.7')
    bob.core.transport_failed(flow, ConnectError('no certificate for 192.0.2.7'), 0.0)
    (again, way), = sent(bob)
    assert (again.method, way) == ('BYE', home) and again.branch != bye.branch
    # When that is gone too, it is over.
    bob.core.transport_failed(home, ConnectError('gone'), 0.0)
    assert sent(bob) == []
    assert bob.core.events[-1].kind == ENDED


def test_what_it_answers_is_its_answer(bob: Party, tls: Point) -> None:
    client(bob, tls)
    bye, flow = hang_up(bob)
    lines = [f'{name}: {text}' for name, text in bye.fields if name in ('Via', 'From', 'To', 'Call-ID', 'CSeq')]
    bob.core.receive(parse_message('\r\n'.join(['SIP/2.0 503 No', *lines, '', '']).encode()), flow, 0.0)
    assert sent(bob) == []
    assert bob.core.events[-1].kind == ENDED


def test_nor_is_silence_a_reason_to_go_back(bob: Party, tls: Point) -> None:
    client(bob, tls)
    hang_up(bob)
    bob.core.handle_timers(33.0)
    assert sent(bob) == []
    assert bob.core.events[-1].kind == ENDED
