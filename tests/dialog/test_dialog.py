"""Dialogs: RFC 3261 12, their route sets, targets and sequence numbers."""

from __future__ import annotations

from .calls import (
    call,
    established,
    forked_answer,
    reinvite_answerer,
    reply,
    says,
    sent,
)
from .conftest import OFFER, Party, World


def test_record_routes_make_the_route_set(world: World, alice: Party, bob: Party) -> None:
    """12.1.2, 12.2.1.1: reversed for the caller, ACK and BYE follow it."""
    bob.on['incoming'] = lambda event: None
    usage = call(alice, bob)
    data = forked_answer(world, 'x', contact='<sip:bob@192.0.2.9;transport=UDP>').replace(
        b'Contact', b'Record-Route: <sip:127.0.0.1:7001;lr>, <sip:127.0.0.1:7002;lr>\r\nContact'
    )
    world.inject(data, ('127.0.0.1', 5080), alice)
    assert world.ladder()[-1] == 'alice -> 127.0.0.1:7002: ACK'
    ack = world.messages[-1][2]
    assert ack.uri_text == 'sip:bob@192.0.2.9;transport=UDP'
    assert [str(route) for route in ack.routes] == ['<sip:127.0.0.1:7002;lr>', '<sip:127.0.0.1:7001;lr>']
    usage.bye(world.now)
    world.flush()
    bye = world.messages[-1][2]
    assert bye.method == 'BYE'
    assert [str(route) for route in bye.routes] == ['<sip:127.0.0.1:7002;lr>', '<sip:127.0.0.1:7001;lr>']
    assert world.messages[-1][1] == '127.0.0.1:7002'


def test_a_strict_router_gets_the_target_last(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: None
    call(alice, bob)
    data = forked_answer(world, 'x', contact='<sip:bob@192.0.2.9>').replace(
        b'Contact', b'Record-Route: <sip:127.0.0.1:7001;lr>, <sip:127.0.0.1:7002>\r\nContact'
    )
    world.inject(data, ('127.0.0.1', 5080), alice)
    ack = world.messages[-1][2]
    assert ack.uri_text == 'sip:127.0.0.1:7002'
    assert [str(route) for route in ack.routes] == ['<sip:127.0.0.1:7001;lr>', '<sip:bob@192.0.2.9>']


def test_a_reinvite_changes_the_target_but_not_the_routes(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    other = world.party('carol', 5090)
    assert usage.dialog is not None and peer.dialog is not None
    usage.dialog.contact = f'<{other.uri}>'
    reinvite_answerer(bob)
    usage.reinvite(world.now, OFFER)
    world.run(0.1)
    assert peer.dialog.remote_target == other.uri
    peer.bye(world.now)
    world.flush()
    assert world.messages[-1][1] == 'carol'


def test_a_display_name_in_a_record_route_may_hold_angle_brackets(lone: Party) -> None:
    call(lone)
    routes = 'Record-Route: <sip:127.0.0.1:7002;lr>, "a <b> c" <sip:127.0.0.1:7001;LR=on>;x=y'
    assert says(lone, reply(sent(lone), 200, extra=f'Contact: <sip:bob@192.0.2.1>\r\n{routes}')) == ['ACK']
    assert lone.world.messages[-1][1] == '127.0.0.1:7001'
    ack = sent(lone, 'ACK')
    assert ack.uri_text == 'sip:bob@192.0.2.1'
    assert [str(route) for route in ack.routes] == [
        '"a <b> c" <sip:127.0.0.1:7001;LR=on>;x=y',
        '<sip:127.0.0.1:7002;lr>',
    ]


def test_the_route_set_of_the_2xx_counts_though_it_has_no_contact(lone: Party) -> None:
    """13.2.2.4: recomputed from the 2xx."""
    call(lone)
    says(lone, reply(sent(lone), 180, extra='Contact: <sip:bob@192.0.2.1>\r\nRecord-Route: <sip:127.0.0.1:7001;lr>'))
    data = reply(sent(lone), 200, extra='Record-Route: <sip:127.0.0.1:7002;lr>')
    assert says(lone, data.replace(b'Contact: <sip:bob@127.0.0.1:5080>\r\n', b'')) == ['ACK']
    assert lone.world.messages[-1][1] == '127.0.0.1:7002'
    assert sent(lone, 'ACK').uri_text == 'sip:bob@192.0.2.1'


def test_header_fields_in_a_contact_stay_out_of_the_request_uri(lone: Party) -> None:
    """19.1.1: they are not allowed there, nor is the method parameter."""
    call(lone)
    says(lone, reply(sent(lone), 200, extra='Contact: <sip:a?b@127.0.0.1:7001;method=BYE;x=y?Subject=hello>'))
    assert sent(lone, 'ACK').uri_text == 'sip:a?b@127.0.0.1:7001;x=y'
    assert lone.world.messages[-1][1] == '127.0.0.1:7001'


def test_an_old_cseq_is_refused_with_500(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    bob.on['INFO'] = lambda event: bob.core.respond(event.exchange, 200, world.now)
    usage.send_request('INFO', world.now)
    world.run(0.1)
    assert usage.dialog is not None
    usage.dialog.local_cseq = 0
    usage.send_request('INFO', world.now)
    world.run(0.1)
    assert world.ladder()[-1] == 'bob -> alice: 500 INFO'
    assert peer.state == 'confirmed'
