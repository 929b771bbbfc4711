"""The re-INVITE: RFC 3261 14, and what it crosses."""

from __future__ import annotations

import pytest

from greensip.dialog import ENDED, REQUEST
from greensip.dialog.invite_server import ServerInvite
from greensip.dialog.routing import Target
from greensip.errors import (
    ConnectError,
    RemoteHangup,
    TransactionTimeout,
    WrongState,
)
from greensip.message import Request

from .calls import (
    PEER,
    ask,
    call,
    established,
    joined,
    kinds,
    reinvite_answerer,
    reply,
    says,
    sent,
)
from .conftest import ANSWER, OFFER, Party, World, lines, name_of


def test_reinvite(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    reinvite_answerer(bob)
    exchange = usage.reinvite(world.now, OFFER.replace(b'4000', b'4002'))
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)
    assert exchange.response is not None and exchange.response.code == 200
    assert b'4002' in peer.remote_sdp
    assert usage.inviting is None and peer.invited is None


def test_glare_both_wait_and_try_again(world: World, alice: Party, bob: Party) -> None:
    """14.1: the owner of the Call-ID waits 2.1 to 4 s, the other less than 2 s, so both get through."""
    usage, peer = established(world, alice, bob)
    reinvite_answerer(alice)
    reinvite_answerer(bob)
    first = usage.reinvite(world.now, OFFER)
    second = peer.reinvite(world.now, OFFER)
    world.run(1e-9 + 0.05)
    assert sorted(world.ladder()) == sorted(
        lines("""
        alice -> bob: INVITE
        bob -> alice: INVITE
        bob -> alice: 491 INVITE
        alice -> bob: 491 INVITE
        alice -> bob: ACK
        bob -> alice: ACK
    """)
    )
    assert first.response is None or first.response.code == 491
    world.run(6)
    assert first.response is not None and first.response.code == 200
    assert second.response is not None and second.response.code == 200
    assert usage.state == peer.state == 'confirmed'


def test_a_second_invite_before_the_first_is_answered_gets_500_with_retry_after(
    world: World, alice: Party, bob: Party
) -> None:
    usage, _ = established(world, alice, bob)
    first = usage.reinvite(world.now, OFFER)
    world.run(0.05)
    assert first.request is not None
    second = Request(
        'INVITE', first.request.uri_text, [(n, t) for n, t in first.request.fields if n not in ('Via', 'CSeq')]
    )
    second.add('Via', 'SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKsecond', first=True)
    second.add('CSeq', '99 INVITE')
    world.inject(second.to_bytes(), ('127.0.0.1', 5060), bob)
    refusal = next(m for _, _, m in reversed(world.messages) if name_of(m) == '500 INVITE')
    assert 0 <= int(refusal.get('Retry-After')) <= 10


def test_an_unacknowledged_reinvite_ends_the_call(world: World, alice: Party, bob: Party) -> None:
    usage, _peer = established(world, alice, bob)
    reinvite_answerer(bob)
    world.rule = lambda source, target, message: name_of(message) == 'ACK'
    usage.reinvite(world.now, OFFER)
    world.run(33)
    assert isinstance(bob.last(ENDED).error, TransactionTimeout)
    assert isinstance(alice.last(ENDED).error, RemoteHangup)


def test_bye_during_a_pending_reinvite_answers_487(world: World, alice: Party, bob: Party) -> None:
    usage, _ = established(world, alice, bob)
    usage.reinvite(world.now, OFFER)
    world.run(0.3)
    world.ladder()
    usage.bye(world.now)
    world.run(40)
    ladder = world.ladder()
    assert 'bob -> alice: 487 INVITE' in ladder
    assert 'bob -> alice: 200 BYE' in ladder
    assert world.idle()


def test_cancelled_reinvite_leaves_the_call(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    exchange = usage.reinvite(world.now, OFFER)
    world.run(0.3)
    exchange.cancel(world.now)
    world.run(1)
    assert exchange.response is not None and exchange.response.code == 487
    assert usage.state == peer.state == 'confirmed'
    assert usage.inviting is None and peer.invited is None


def test_a_491_for_a_reinvite_that_was_given_up_is_its_end(lone: Party) -> None:
    """9.1, 14.1: nobody wants another attempt."""
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    invite = usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, reply(sent(lone), 100))
    invite.cancel(lone.world.now)
    lone.world.flush()
    says(lone, reply(sent(lone, 'CANCEL'), 200), reply(sent(lone), 491))
    assert invite.done and usage.postponed is None
    count = len(lone.world.messages)
    lone.world.run(10)
    assert len(lone.world.messages) == count
    # Another one may follow at once.
    usage.reinvite(lone.world.now, OFFER)
    usage.bye(lone.world.now)


def test_a_2xx_to_a_reinvite_after_our_bye_is_acknowledged(lone: Party) -> None:
    """13.2.2.4: it repeats until then."""
    usage = joined(lone)
    usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    usage.bye(lone.world.now)
    lone.world.flush()
    success = reply(sent(lone), 200, body=ANSWER)
    assert says(lone, success) == ['ACK']
    assert says(lone, reply(sent(lone, 'BYE'), 200)) == []
    assert usage.state == 'terminated'
    assert says(lone, success) == ['ACK']
    assert kinds(lone)[-1] == 'ended'


def test_a_2xx_to_a_reinvite_after_the_peers_bye_is_acknowledged(lone: Party) -> None:
    usage = joined(lone)
    usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    assert says(lone, ask(usage, 'BYE', 7)) == ['200 BYE']
    assert says(lone, reply(sent(lone), 200, body=ANSWER)) == ['ACK']
    assert kinds(lone)[-1] == 'ended'
    lone.world.run(70)
    assert lone.world.idle()


def test_our_bye_refuses_the_peers_open_reinvite(lone: Party) -> None:
    """Nobody else would answer it any more; an INVITE server transaction waits for ever."""
    usage = joined(lone)
    assert says(lone, ask(usage, 'INVITE', 7, body=OFFER)) == []
    usage.bye(lone.world.now)
    lone.world.flush()
    assert [name_of(m) for _, _, m in lone.world.messages[-2:]] == ['487 INVITE', 'BYE']
    assert says(lone, ask(usage, 'ACK', 7, branch='INVITE7'), reply(sent(lone, 'BYE'), 200)) == []
    lone.world.run(40)
    assert lone.world.idle()


def test_nothing_is_told_after_the_end(lone: Party) -> None:
    usage = joined(lone)
    usage.send_request('INFO', lone.world.now)
    usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, ask(usage, 'BYE', 7))
    says(lone, reply(sent(lone, 'INFO'), 481), reply(sent(lone), 100))
    assert 'CANCEL' in [name_of(m) for _, _, m in lone.world.messages]
    lone.world.run(70)
    assert kinds(lone) == ['response 200', 'request BYE', 'ended']
    assert lone.world.idle()


def test_a_cancelled_reinvite_cannot_be_answered(lone: Party) -> None:
    """The program had not seen the CANCEL yet."""
    usage = joined(lone)
    says(lone, ask(usage, 'INVITE', 7, body=OFFER))
    invite = lone.last(REQUEST)
    assert says(lone, ask(usage, 'CANCEL', 7, branch='INVITE7')) == ['200 CANCEL', '487 INVITE']
    with pytest.raises(WrongState):
        lone.core.respond(invite.exchange, 200, lone.world.now, body=ANSWER)
    assert usage.answering is None and usage.local_sdp == OFFER


def test_a_reinvite_that_waits_after_a_491_can_be_cancelled(lone: Party) -> None:
    usage = joined(lone)
    exchange = usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, reply(sent(lone), 100), reply(sent(lone), 491))
    exchange.cancel(lone.world.now)
    lone.world.flush()
    assert name_of(lone.world.messages[-1][2]) == 'ACK'
    assert exchange.done and lone.events[-1].exchange is exchange
    count = len(lone.world.messages)
    lone.world.run(60)
    assert len(lone.world.messages) == count
    assert usage.state == 'confirmed'
    usage.reinvite(lone.world.now, OFFER)


def test_a_reinvite_that_is_being_located_can_be_cancelled(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER, extra='Contact: <sip:bob@bob.example.com>'))
    lone.core.located(lone.core.lookups.popleft(), [Target('UDP', *PEER)], None, lone.world.now)
    lone.world.flush()
    # The peer moves, so that its next address has to be found.
    says(lone, ask(usage, 'UPDATE', 7, extra='Contact: <sip:bob@other.example.com>'))
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now)
    exchange = usage.reinvite(lone.world.now, OFFER)
    exchange.cancel(lone.world.now)
    lone.core.located(lone.core.lookups.popleft(), [Target('UDP', *PEER)], None, lone.world.now)
    lone.world.run(1)
    assert exchange.done and usage.inviting is None
    assert usage.state == 'confirmed'


def test_a_cancelled_reinvite_without_a_final_response_is_given_up_with_the_call(lone: Party) -> None:
    """9.1 and 12.2.1.2: no final response is like a 408."""
    usage = joined(lone)
    exchange = usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, reply(sent(lone), 100))
    exchange.cancel(lone.world.now)
    lone.world.flush()
    says(lone, reply(sent(lone, 'CANCEL'), 200))
    lone.world.run(32.5)
    assert usage.state == 'closing'


def test_a_reinvite_after_glare_follows_the_peer_to_its_new_contact(lone: Party) -> None:
    """12.2.1.1: the request is made of the dialog as it is when it leaves."""
    usage = joined(lone)
    exchange = usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, reply(sent(lone), 491))
    says(lone, ask(usage, 'INVITE', 7, body=OFFER, extra='Contact: <sip:new@127.0.0.1:5090>'))
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now, body=ANSWER)
    lone.world.flush()
    says(lone, ask(usage, 'ACK', 7))
    lone.world.run(5)
    assert sent(lone).branch == exchange.request.branch
    assert sent(lone).uri_text == 'sip:new@127.0.0.1:5090'
    assert lone.world.messages[-1][1] == '127.0.0.1:5090'


def test_a_reinvite_waits_for_the_ack_of_the_peers(lone: Party) -> None:
    """14.1: not while the server transaction is neither confirmed nor terminated."""
    usage = joined(lone)
    says(lone, ask(usage, 'INVITE', 7, body=OFFER))
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now, body=ANSWER)
    exchange = usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    assert name_of(lone.world.messages[-1][2]) == '200 INVITE'
    with pytest.raises(WrongState):
        usage.reinvite(lone.world.now, OFFER)
    assert says(lone, ask(usage, 'ACK', 7)) == ['INVITE']
    assert sent(lone).branch == exchange.request.branch and sent(lone).cseq.number == 2
    assert says(lone, reply(sent(lone), 200, body=ANSWER)) == ['ACK']
    assert exchange.done


def test_a_reinvite_before_the_ack_waits_for_it(world: World, alice: Party, bob: Party) -> None:
    """14.1: not while the call's first INVITE is under way."""
    bob.on['incoming'] = lambda event: event.subject.respond(200, world.now, body=ANSWER)
    usage = call(alice, bob, auto_ack=False)
    reinvite_answerer(alice)
    world.run(0.1)
    peer = bob.last('incoming').subject
    peer.reinvite(world.now, ANSWER)
    with pytest.raises(WrongState):
        peer.reinvite(world.now, ANSWER)
    world.ladder()
    world.run(0.3)
    assert world.ladder() == []
    usage.ack(world.now)
    world.run(0.1)
    assert world.ladder() == [
        'alice -> bob: ACK', 'bob -> alice: INVITE', 'alice -> bob: 200 INVITE', 'bob -> alice: ACK']
    usage.bye(world.now)
    world.run(1)
    assert peer.state == 'terminated'


def unacknowledged(world: World, alice: Party, bob: Party, offer: bytes) -> ServerInvite:
    """A call that bob has answered, and whose ACK did not come."""
    bob.on['incoming'] = lambda event: event.subject.respond(200, world.now, body=ANSWER)
    world.rule = lambda source, target, message: source == 'bob'
    call(alice, bob, body=offer)
    world.run(0.1)
    usage = bob.last('incoming').subject
    assert usage.state == 'accepted'
    return usage


def test_a_reinvite_before_the_ack_with_the_answer_gets_491(world: World, alice: Party, bob: Party) -> None:
    """14.2, RFC 5407 3.1.5: our offer in the 2xx has no answer yet."""
    usage = unacknowledged(world, alice, bob, b'')
    world.inject(ask(usage, 'INVITE', 7, body=OFFER, port=5060), ('127.0.0.1', 5060), bob)
    assert name_of(world.messages[-1][2]) == '491 INVITE'


def test_a_reinvite_before_the_ack_is_taken_when_no_offer_is_open(world: World, alice: Party, bob: Party) -> None:
    """RFC 5407 3.1.4: the ACK is late, or lost; that of the re-INVITE serves as well."""
    usage = unacknowledged(world, alice, bob, OFFER)
    source = ('127.0.0.1', 5060)
    world.inject(ask(usage, 'INVITE', 7, body=OFFER, port=5060), source, bob)
    bob.core.respond(bob.last(REQUEST).exchange, 200, world.now, body=ANSWER)
    world.inject(ask(usage, 'ACK', 1, port=5060), source, bob)
    assert usage.state == 'accepted'
    world.inject(ask(usage, 'ACK', 7, port=5060), source, bob)
    assert usage.state == 'confirmed' and usage.answering is None


def test_a_fault_in_sending_a_response_to_a_reinvite_leaves_it_open(lone: Party) -> None:
    usage = joined(lone)
    says(lone, ask(usage, 'INVITE', 7, body=OFFER))
    transaction = lone.last(REQUEST).exchange
    lone.core.respond(transaction, 180, lone.world.now)
    lone.world.flush()
    ringing = lone.world.messages[-1][2]
    lone.core.transport_failed(transaction.flow, ConnectError('refused'), lone.world.now, ringing.to_bytes())
    lone.core.respond(transaction, 200, lone.world.now, body=ANSWER)
    lone.world.flush()
    assert name_of(lone.world.messages[-1][2]) == '200 INVITE'
    assert usage.state == 'confirmed'


def test_an_ack_whose_body_cannot_be_read_is_still_an_ack(lone: Party) -> None:
    usage = joined(lone)
    says(lone, ask(usage, 'INVITE', 7, body=OFFER))
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now, body=ANSWER)
    says(lone, ask(usage, 'ACK', 7, extra='Content-Type: nonsense', body=b'x'))
    assert usage.answering is None


def test_a_reinvite_whose_ack_has_nowhere_to_go_is_told_first(lone: Party) -> None:
    usage = joined(lone)
    usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, reply(sent(lone), 200, body=ANSWER, extra='Contact: <tel:+15551234>'))
    assert kinds(lone)[1:] == ['response 200', 'failed', 'ended']
