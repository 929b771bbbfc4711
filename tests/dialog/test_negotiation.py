"""UPDATE (RFC 3311) and what it may cross (RFC 6337 4.3), as ladders; sessions that are remembered late."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from greensip.dialog import FAILED, REQUEST, RESPONSE
from greensip.dialog.negotiation import session_of
from greensip.errors import TransactionTimeout, WrongState

from .calls import OTHER, SDP, ask, call, hung_up, progress, rel, reply, ringing, says, sent
from .conftest import ANSWER, OFFER, Party, World, lines, name_of

MORE = OFFER.replace(b'4000', b'8000')


@pytest.fixture
def tags() -> Sequence[str]:
    return ('100rel', '199')


def early(world: World, alice: Party, bob: Party):
    """A call whose session was agreed on in a reliable 183."""
    usage, peer = ringing(world, alice, bob)
    progress(bob, peer, body=ANSWER)
    world.run(0.1)
    world.ladder()
    return usage, peer


def answered(world: World, alice: Party, bob: Party, **options):
    usage, peer = ringing(world, alice, bob, **options)
    peer.respond(200, world.now, body=ANSWER)
    world.run(0.1)
    world.ladder()
    return usage, peer


def offer(party: Party, usage, body: bytes = OTHER):
    exchange = usage.send_request('UPDATE', party.world.now, body=body, content_type=SDP if body else None)
    party.world.flush()
    return exchange


@pytest.mark.parametrize('side', [0, 1])
def test_an_update_changes_the_session_before_the_call_is_answered(
    world: World, alice: Party, bob: Party, side: int
) -> None:
    usages = early(world, alice, bob)
    usage, peer = usages[side], usages[1 - side]
    exchange = offer((alice, bob)[side], usage)
    world.run(0.1)
    assert exchange.response.code == 200
    assert (usage.local_sdp, usage.remote_sdp) == (OTHER, ANSWER)
    assert (peer.local_sdp, peer.remote_sdp) == (ANSWER, OTHER)
    # What the 200 repeats is not what holds (RFC 6337 3.1.1).
    usages[1].respond(200, world.now, body=MORE)
    world.run(0.1)
    assert (usage.local_sdp, usage.remote_sdp) == (OTHER, ANSWER)
    assert hung_up(world, usage)


def test_an_update_waits_for_the_answer_to_our_prack(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    exchange = offer(lone, usage)
    assert name_of(lone.world.messages[-1][2]) == 'PRACK' and exchange.request is None
    with pytest.raises(WrongState):
        offer(lone, usage, MORE)
    assert says(lone, reply(sent(lone, 'PRACK'), 200)) == ['UPDATE']
    assert sent(lone, 'UPDATE').cseq.number == 3 and usage.local_sdp == OTHER
    says(lone, reply(sent(lone, 'UPDATE'), 200, body=MORE))
    assert usage.remote_sdp == MORE
    usage.close(lone.world.now)


def test_one_that_waits_for_a_prack_which_the_2xx_overtakes(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    offer(lone, usage)
    prack = sent(lone, 'PRACK')
    assert says(lone, reply(sent(lone), 200)) == ['ACK']
    with pytest.raises(WrongState):
        offer(lone, usage, MORE)
    assert says(lone, reply(prack, 200)) == ['UPDATE']
    assert sent(lone, 'UPDATE').body == OTHER
    usage.bye(lone.world.now)


def test_a_reinvite_waits_for_the_answer_to_our_prack(lone: Party) -> None:
    """The 2xx has overtaken it."""
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    prack = sent(lone, 'PRACK')
    says(lone, reply(sent(lone), 200))
    usage.reinvite(lone.world.now, OTHER)
    assert says(lone, reply(prack, 200)) == ['INVITE']
    assert sent(lone).cseq.number == 3
    assert says(lone, reply(sent(lone), 200, body=MORE)) == ['ACK']
    assert (usage.local_sdp, usage.remote_sdp) == (OTHER, MORE)
    usage.bye(lone.world.now)
    lone.world.flush()


def test_an_update_waits_for_the_prack_when_the_call_is_answered(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    prack = sent(lone, 'PRACK')
    says(lone, reply(sent(lone), 200))
    offer(lone, usage)
    assert says(lone, reply(prack, 200)) == ['UPDATE']
    usage.bye(lone.world.now)
    lone.world.flush()


def test_one_that_waits_for_a_prack_without_answer(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    exchange = offer(lone, usage)
    lone.world.run(33)
    assert isinstance(lone.last(FAILED).error, TransactionTimeout) and lone.last(FAILED).exchange is exchange
    assert exchange.done and exchange.request is None
    usage.close(lone.world.now)


def test_one_that_waits_for_a_prack_that_is_refused(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    exchange = offer(lone, usage)
    says(lone, reply(sent(lone, 'PRACK'), 481))
    assert lone.last(FAILED).exchange is exchange and lone.last(FAILED).error.code == 481
    usage.close(lone.world.now)


def test_no_offer_in_an_update_before_ours_was_answered(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob)
    progress(bob, peer, 180)
    world.run(0.1)
    for party, side in ((alice, usage), (bob, peer)):
        with pytest.raises(WrongState, match='UAC-IU'):
            offer(party, side)
        assert offer(party, side, b'') is not None
        world.run(0.1)
    assert hung_up(world, usage)


def test_an_offer_that_comes_while_our_reliable_answer_is_unacknowledged_gets_500(
    world: World, alice: Party, bob: Party
) -> None:
    """RFC 6337 4.3 UAS-IsU, figure 19."""
    world.rule = lambda source, target, message: name_of(message) == 'PRACK'
    usage, peer = ringing(world, alice, bob)
    progress(bob, peer, body=ANSWER)
    world.run(0.1)
    world.inject(ask(peer, 'UPDATE', 9, body=OTHER, port=5060), ('127.0.0.1', 5060), bob)
    assert name_of(world.messages[-1][2]) == '500 UPDATE'
    assert 0 <= int(world.messages[-1][2].get('Retry-After')) <= 10
    assert peer.remote_sdp == OFFER
    usage.close(world.now)


def test_an_offer_that_comes_while_our_prack_is_under_way_gets_491(lone: Party) -> None:
    """RFC 6337 4.3 UAS-IcU, figures 7 and 9."""
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    assert says(lone, ask(usage, 'UPDATE', 7, body=OTHER)) == ['491 UPDATE']
    says(lone, reply(sent(lone, 'PRACK'), 200))
    assert says(lone, ask(usage, 'UPDATE', 8, body=OTHER)) == ['200 UPDATE']
    assert usage.remote_sdp == OTHER
    usage.close(lone.world.now)


def test_updates_that_cross_get_491_and_come_again(world: World, alice: Party, bob: Party) -> None:
    """RFC 3311 5.2, 5.3: the owner of the Call-ID waits 2.1 to 4 s, the other at most 2 s."""
    usage, peer = answered(world, alice, bob)
    ours, theirs = offer(alice, usage), offer(bob, peer, MORE)
    world.run(0.1)
    assert world.ladder() == lines("""
        alice -> bob: UPDATE
        bob -> alice: UPDATE
        bob -> alice: 491 UPDATE
        alice -> bob: 491 UPDATE
    """)
    assert (usage.local_sdp, peer.local_sdp) == (OFFER, ANSWER)
    world.run(2)
    assert world.ladder()[:2] == ['bob -> alice: UPDATE', 'alice -> bob: 200 UPDATE']
    world.run(5)
    assert ours.response.code == theirs.response.code == 200
    assert (usage.remote_sdp, usage.local_sdp) == (ANSWER, OTHER)
    assert [event.code for event in alice.events if event.kind == RESPONSE and event.code == 491] == []
    assert hung_up(world, usage)


def test_a_peer_that_always_says_491_is_given_up(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    exchange = offer(lone, usage)
    for _ in range(lone.core.settings.max_glares):
        says(lone, reply(sent(lone, 'UPDATE'), 491))
        assert not exchange.done
        lone.world.run(4.1)
    says(lone, reply(sent(lone, 'UPDATE'), 491))
    assert exchange.done and lone.last(RESPONSE).code == 491 and usage.local_sdp == OFFER
    usage.bye(lone.world.now)


def test_an_update_that_waits_after_a_491_meets_the_peers(lone: Party) -> None:
    """The peer's offer is open when the wait is over: ours waits on."""
    del lone.on['UPDATE']
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    offer(lone, usage)
    says(lone, reply(sent(lone, 'UPDATE'), 491), ask(usage, 'UPDATE', 7, body=MORE))
    lone.world.run(5)
    assert sent(lone, 'UPDATE').cseq.number == 2
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now, body=ANSWER)
    lone.world.run(1.1)
    assert sent(lone, 'UPDATE').cseq.number == 3
    usage.bye(lone.world.now)
    lone.world.flush()


def test_an_update_that_waits_when_the_call_ends_is_not_sent(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    offer(lone, usage)
    says(lone, reply(sent(lone, 'UPDATE'), 491))
    says(lone, ask(usage, 'BYE', 9))
    count = len(lone.world.messages)
    lone.world.run(10)
    assert len(lone.world.messages) == count


@pytest.mark.parametrize('code', [488, 504, 500])
def test_a_refused_update_leaves_the_session(world: World, alice: Party, bob: Party, code: int) -> None:
    bob.on['UPDATE'] = lambda event: bob.core.respond(event.exchange, code, world.now)
    usage, peer = answered(world, alice, bob)
    offer(alice, usage)
    world.run(0.1)
    assert usage.local_sdp == OFFER and usage.session.state == peer.session.state == 'stable'
    assert offer(bob, peer) is not None
    world.run(0.1)
    assert usage.remote_sdp == OTHER
    assert hung_up(world, usage)


def test_an_update_without_the_answer_that_it_needs(world: World, alice: Party, bob: Party) -> None:
    """A peer's mistake, and a program's: both go on with what they had."""
    bob.on['UPDATE'] = lambda event: bob.core.respond(event.exchange, 200, world.now)
    usage, peer = answered(world, alice, bob)
    offer(alice, usage)
    world.run(0.1)
    assert usage.session.state == peer.session.state == 'stable'
    assert isinstance(usage.session.local, bytes)
    assert hung_up(world, usage)


def test_an_update_that_nobody_answers_ends_the_call(lone: Party) -> None:
    """RFC 3261 12.2.1.2, RFC 3311 5.3."""
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    offer(lone, usage)
    lone.world.run(33)
    assert usage.state == 'closing'
    lone.world.run(33)


def test_reinvites_after_an_update_go_by_the_machine(world: World, alice: Party, bob: Party) -> None:
    bob.on['INVITE'] = lambda event: bob.core.respond(event.exchange, 200, world.now, body=ANSWER)
    usage, peer = answered(world, alice, bob)
    offer(alice, usage)
    with pytest.raises(WrongState):
        usage.reinvite(world.now, MORE)
    world.run(0.1)
    usage.reinvite(world.now, MORE)
    world.run(0.1)
    assert usage.session.local == usage.local_sdp == MORE and peer.session.remote == MORE
    # A refusal takes it back.
    bob.on['INVITE'] = lambda event: bob.core.respond(event.exchange, 488, world.now)
    usage.reinvite(world.now, OTHER)
    world.run(0.1)
    assert usage.session.local == usage.local_sdp == MORE
    assert usage.session.state == peer.session.state == 'stable'
    # So does its end.
    bob.on['INVITE'] = lambda event: None
    exchange = usage.reinvite(world.now, OTHER)
    world.run(0.3)
    exchange.cancel(world.now)
    world.run(0.1)
    assert usage.local_sdp == MORE and peer.session.invite == ''
    # One without an offer: the 2xx has it, the ACK the answer.
    bob.on['INVITE'] = lambda event: bob.core.respond(event.exchange, 200, world.now, body=OTHER)
    usage.reinvite(world.now)
    world.run(0.1)
    usage.ack(world.now, MORE)
    world.run(0.1)
    assert (usage.session.local, usage.session.remote) == (MORE, OTHER)
    assert (peer.session.local, peer.session.remote) == (OTHER, MORE)
    assert offer(bob, peer) is not None
    world.run(0.1)
    assert usage.remote_sdp == OTHER
    assert hung_up(world, usage)


def test_a_reinvite_after_an_update_meets_the_peers(world: World, alice: Party, bob: Party) -> None:
    usage, peer = answered(world, alice, bob)
    offer(alice, usage)
    world.run(0.1)
    for party in (alice, bob):
        party.on['INVITE'] = lambda event, core=party.core: core.respond(event.exchange, 200, world.now, body=ANSWER)
    usage.reinvite(world.now, MORE)
    peer.reinvite(world.now, OTHER)
    world.run(10)
    assert usage.local_sdp == MORE or peer.local_sdp == OTHER
    assert usage.session.state == peer.session.state == 'stable'
    assert not usage.inviting and not peer.inviting and not usage.postponed
    assert hung_up(world, usage)


# What has been so far, when the machine is made


def test_the_machine_is_made_only_when_it_is_needed(world: World, alice: Party, bob: Party) -> None:
    bob.on['INVITE'] = lambda event: bob.core.respond(event.exchange, 200, world.now, body=ANSWER)
    usage, peer = answered(world, alice, bob)
    usage.reinvite(world.now, OTHER)
    world.run(0.1)
    assert usage.session is None and peer.session is None
    offer(alice, usage, MORE)
    world.run(0.1)
    assert (usage.session.local, peer.session.remote) == (MORE, MORE)
    assert hung_up(world, usage)


def test_one_that_is_made_while_a_reinvite_of_ours_is_open(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    usage.reinvite(lone.world.now, OTHER)
    lone.world.flush()
    session = session_of(usage, usage.dialog)
    assert (session.state, session.invite, session.offer) == ('offer sent', 'client', OTHER)
    assert says(lone, ask(usage, 'UPDATE', 7, body=MORE)) == ['491 UPDATE']
    says(lone, reply(sent(lone), 200, body=MORE))
    assert (session.state, session.local, session.remote) == ('stable', OTHER, MORE)
    usage.bye(lone.world.now)
    lone.world.flush()


def test_one_that_is_made_while_the_peers_reinvite_is_open(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    says(lone, ask(usage, 'INVITE', 7, body=MORE))
    session = session_of(usage, usage.dialog)
    assert (session.state, session.invite) == ('offer received', 'server')
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now, body=OTHER)
    assert (session.state, session.local, session.remote) == ('stable', OTHER, MORE)
    usage.bye(lone.world.now)
    lone.world.flush()


def test_one_that_is_made_while_a_late_offer_has_no_answer(world: World, alice: Party, bob: Party) -> None:
    usage, peer = answered(world, alice, bob, body=b'')
    for party, side, state in ((alice, usage, 'offer received'), (bob, peer, 'offer sent')):
        assert side.state == 'accepted' and session_of(side, side.dialog).state == state
        with pytest.raises(WrongState):
            offer(party, side)
    usage.ack(world.now, OFFER)
    world.run(0.1)
    assert usage.session.state == peer.session.state == 'stable'
    assert (usage.session.local, peer.session.local) == (OFFER, ANSWER)
    assert offer(alice, usage) is not None
    world.run(0.1)
    assert hung_up(world, usage)


def test_a_call_without_any_session(world: World, alice: Party, bob: Party) -> None:
    """RFC 6337: an UPDATE can't carry the first offer, but one without an offer goes."""
    usage, peer = ringing(world, alice, bob, body=b'')
    peer.respond(200, world.now)
    world.run(0.1)
    with pytest.raises(WrongState, match='first offer'):
        offer(alice, usage)
    offer(alice, usage, b'')
    world.run(0.1)
    assert hung_up(world, usage)


def test_an_update_in_a_dialog_that_is_gone_gets_481(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 180, tag='one'), reply(sent(lone), 180, tag='two'))
    update_ = ask(usage, 'UPDATE', 7, tag='one', body=MORE)
    says(lone, reply(sent(lone), 200, tag='two', body=ANSWER))
    assert says(lone, update_) == ['481 UPDATE']
    usage.bye(lone.world.now)
    lone.world.flush()
