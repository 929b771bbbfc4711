"""Forks, and 2xx that nobody waits for any more: RFC 3261 13.2.2.4."""

from __future__ import annotations

from greensip.dialog import FORKED, RESPONSE
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.routing import Target

from .calls import (
    PEER,
    ask,
    call,
    forked_answer,
    joined,
    reply,
    says,
    sent,
)
from .conftest import ANSWER, OFFER, Party, World, name_of


def test_a_fork_has_several_early_dialogs_and_one_call(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: None
    usage = call(alice, bob)
    source = ('127.0.0.1', 5080)
    for tag in ('one', 'two', 'three'):
        world.inject(forked_answer(world, tag, 180), source, alice)
    assert set(usage.dialogs) == {'one', 'two', 'three'}
    world.ladder()
    world.inject(forked_answer(world, 'two'), source, alice)
    assert world.ladder() == ['alice -> bob: ACK']
    assert usage.dialog is not None and usage.dialog.remote_tag == 'two'
    assert set(usage.dialogs) == {'two'}
    # The second 2xx is acknowledged and hung up, its repetition only acknowledged.
    world.inject(forked_answer(world, 'three'), source, alice)
    assert world.ladder() == ['alice -> bob: ACK', 'alice -> bob: BYE']
    assert alice.last(FORKED).message.to_tag == 'three'
    world.inject(forked_answer(world, 'three'), source, alice)
    assert world.ladder() == ['alice -> bob: ACK']
    assert usage.state == 'confirmed'
    # One that comes when the call is over fares no better.
    usage.bye(world.now)
    world.run(0.1)
    world.ladder()
    world.inject(forked_answer(world, 'one'), source, alice)
    assert world.ladder() == ['alice -> bob: ACK', 'alice -> bob: BYE']


def test_each_2xx_of_a_fork_may_be_a_call_of_its_own(lone: Party) -> None:
    usage = call(lone, forks='all')
    for tag, port in (('one', 7001), ('two', 7002)):
        says(lone, reply(sent(lone), 180, tag=tag, extra=f'Contact: <sip:{tag}@127.0.0.1:{port}>'))
    assert says(lone, reply(sent(lone), 200, tag='one', body=ANSWER)) == ['ACK']
    assert says(lone, reply(sent(lone), 200, tag='two', body=OFFER)) == ['ACK']
    event = lone.last(FORKED)
    other = event.exchange
    assert event.subject is usage and isinstance(other, ClientInvite) and other is not usage
    assert usage.state == other.state == 'confirmed'
    assert (usage.remote_sdp, other.remote_sdp, other.local_sdp) == (ANSWER, OFFER, OFFER)
    assert [e.subject for e in lone.events if e.kind == RESPONSE and e.code == 200] == [usage, other]
    # Repetitions are acknowledged, whoever is still there; a third one is one more call.
    assert says(lone, reply(sent(lone), 200, tag='two', body=OFFER)) == ['ACK']
    assert says(lone, reply(sent(lone), 200, tag='three', body=ANSWER)) == ['ACK']
    third = lone.last(FORKED).exchange
    # Each ends for itself.
    assert says(lone, ask(other, 'BYE', 9)) == ['200 BYE']
    assert (usage.state, other.state, third.state) == ('confirmed', 'terminated', 'confirmed')
    usage.bye(lone.world.now)
    third.bye(lone.world.now)
    lone.world.flush()
    assert len(lone.core.usages) == 2
    # One that comes when the first is over is turned down.
    lone.world.run(33)
    assert not lone.core.usages


def test_a_fork_that_answers_when_the_call_is_over_is_turned_down(lone: Party) -> None:
    usage = call(lone, forks='all')
    invite = sent(lone)
    says(lone, reply(invite, 200, tag='one', body=ANSWER))
    usage.bye(lone.world.now)
    lone.world.flush()
    says(lone, reply(sent(lone, 'BYE'), 200))
    assert says(lone, reply(invite, 200, tag='two', body=OFFER)) == ['ACK', 'BYE']


def test_hostile_forks_are_bounded(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: None
    usage = call(alice, bob)
    for number in range(1000):
        world.inject(forked_answer(world, f'tag{number}', 180), ('127.0.0.1', 5080), alice)
    assert len(usage.dialogs) == alice.core.settings.max_forks
    assert len(alice.core.dialogs) == alice.core.settings.max_forks


def test_who_gives_up_wants_no_other_branch_either(lone: Party) -> None:
    """9.1, 15: two 200s cross the CANCEL; with ``forks='all'`` too both are hung up."""
    usage = call(lone, forks='all')
    invite = sent(lone)
    says(lone, reply(invite, 180, tag='one'), reply(invite, 180, tag='two'))
    usage.cancel(lone.world.now)
    lone.world.flush()
    assert says(lone, reply(invite, 200, tag='one', body=ANSWER)) == ['ACK', 'BYE']
    assert says(lone, reply(invite, 200, tag='two', body=ANSWER)) == ['ACK', 'BYE']
    lone.world.run(40)
    assert lone.core.counts()['calls'] == 0


def test_a_late_answer_that_nobody_gave_is_acknowledged_before_the_bye(lone: Party) -> None:
    """13.2.2.4: "The UAC core MUST generate an ACK request for each 2xx"."""
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    usage.reinvite(lone.world.now, b'')
    lone.world.flush()
    says(lone, reply(sent(lone), 200, body=OFFER))
    count = len(lone.world.messages)
    usage.bye(lone.world.now)
    lone.world.flush()
    assert [name_of(message) for _, _, message in lone.world.messages[count:]] == ['ACK', 'BYE']


def test_a_repeated_2xx_without_a_tag_is_the_same_2xx(lone: Party) -> None:
    """12.1.2: towards RFC 2543 the tag is null."""
    usage = call(lone, auto_ack=False)
    success = reply(sent(lone), 200, tag='', body=ANSWER)
    assert says(lone, success, success) == []
    usage.ack(lone.world.now)
    lone.world.flush()
    assert says(lone, success) == ['ACK']
    assert says(lone, ask(usage, 'BYE', 2)) == ['200 BYE']


def test_a_2xx_that_is_repeated_while_its_ack_is_being_located_is_no_other_fork(lone: Party) -> None:
    usage = joined(lone)
    other = reply(sent(lone), 200, tag='other', extra='Contact: <sip:bob@bob.example.com>')
    assert says(lone, other, other) == []
    assert len(lone.core.lookups) == 2      # one ACK, one BYE
    for _ in range(2):
        lone.core.located(lone.core.lookups.popleft(), [Target('UDP', *PEER)], None, lone.world.now)
    lone.world.flush()
    assert [name_of(m) for _, _, m in lone.world.messages[-2:]] == ['ACK', 'BYE']
    assert says(lone, other) == ['ACK']
    assert usage.state == 'confirmed'


def test_a_flood_of_2xx_is_bounded(lone: Party) -> None:
    joined(lone)
    for number in range(1000):
        says(lone, reply(sent(lone), 200, tag=f'tag{number}'))
    assert len(lone.core.layer) <= lone.core.settings.max_forks + 2
