"""UPDATE: RFC 3311 5.2."""

from __future__ import annotations

import pytest

from greensip.dialog import REQUEST
from greensip.errors import (
    WrongState,
)

from .calls import (
    ask,
    call,
    joined,
    reply,
    ring,
    says,
    sent,
)
from .conftest import ANSWER, OFFER, Party, World, name_of


def test_a_second_update_before_the_first_is_answered_gets_500(lone: Party) -> None:
    usage = joined(lone)
    assert says(lone, ask(usage, 'UPDATE', 7)) == []
    assert says(lone, ask(usage, 'UPDATE', 8)) == ['500 UPDATE']
    assert 0 <= int(lone.world.messages[-1][2].get('Retry-After')) <= 10
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now)
    assert says(lone, ask(usage, 'UPDATE', 9)) == ['200 UPDATE']


def test_offers_in_updates_that_cross_get_491(lone: Party) -> None:
    usage = joined(lone)
    exchange = usage.send_request('UPDATE', lone.world.now, body=OFFER, content_type='application/sdp')
    lone.world.flush()
    assert says(lone, ask(usage, 'UPDATE', 7, body=OFFER)) == ['491 UPDATE']
    assert says(lone, ask(usage, 'INVITE', 8, body=OFFER)) == ['491 INVITE']
    assert says(lone, ask(usage, 'UPDATE', 9)) == []
    says(lone, reply(sent(lone, 'UPDATE'), 200, body=ANSWER))
    assert exchange.done
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now)
    lone.world.flush()
    assert says(lone, ask(usage, 'UPDATE', 10, body=OFFER)) == []
    # And while the peer's own is open, its INVITE comes too early.
    assert says(lone, ask(usage, 'INVITE', 11, body=OFFER)) == ['500 INVITE']
    with pytest.raises(WrongState):
        usage.reinvite(lone.world.now, OFFER)
    with pytest.raises(WrongState):
        usage.send_request('UPDATE', lone.world.now, body=OFFER, content_type='application/sdp')


def test_an_update_with_an_offer_while_ours_has_no_answer_gets_491(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 183))
    assert says(lone, ask(usage, 'UPDATE', 7, body=OFFER)) == ['491 UPDATE']
    assert says(lone, ask(usage, 'UPDATE', 8)) == []


def test_an_update_with_an_offer_before_our_answer_gets_500(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    usage = call(alice, bob)
    world.run(0.1)
    assert usage.dialog is not None
    peer = bob.last('incoming').subject
    world.inject(ask(peer, 'UPDATE', 7, body=OFFER, port=5060), ('127.0.0.1', 5060), bob)
    assert name_of(world.messages[-1][2]) == '500 UPDATE'


def test_an_update_in_one_of_several_early_dialogs_moves_that_one(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 183, tag='one'), reply(sent(lone), 183, tag='two'))
    says(lone, ask(usage, 'UPDATE', 7, tag='one', extra='Contact: <sip:moved@127.0.0.1:5090>'))
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now)
    assert usage.dialogs['one'].remote_target == 'sip:moved@127.0.0.1:5090'
    assert usage.dialogs['two'].remote_target == 'sip:bob@127.0.0.1:5080'


def test_a_session_description_in_a_refusal_is_no_answer(lone: Party) -> None:
    """13.3.1.3, 20.35: that of a 488 says what would have been possible."""
    usage = joined(lone)
    says(lone, ask(usage, 'UPDATE', 7, body=OFFER))
    lone.core.respond(lone.last(REQUEST).exchange, 488, lone.world.now, body=ANSWER)
    assert usage.local_sdp == OFFER
