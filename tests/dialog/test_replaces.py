"""Replaces, Join and Target-Dialog in the core: each sentence of RFC 3891 3, RFC 3911 4 and RFC 4538 4."""

from __future__ import annotations

import pytest

from greensip.dialog import ENDED, RESPONSE
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.invite_server import ServerInvite
from greensip.dialog.replaces import (
    EndedDialogs,
    find_target_dialog,
    give_way,
    replaces_text,
    target_dialog_text,
)
from greensip.errors import Busy, Declined, Replaced, ResponseError
from greensip.message import Request

from .conftest import ANSWER, OFFER, Party, World, lines


@pytest.fixture
def alice(world: World) -> Party:
    return world.party('alice', 5060)


@pytest.fixture
def bob(world: World) -> Party:
    """Who is asked to replace his calls."""
    party = world.party('bob', 5080)
    party.core.configure(supported=('replaces', 'join'))
    return party


@pytest.fixture
def carol(world: World) -> Party:
    return world.party('carol', 5090)


def accept(party: Party) -> None:
    party.on['incoming'] = lambda event: event.subject.respond(200, party.world.now, body=ANSWER)


def ring(party: Party) -> None:
    party.on['incoming'] = lambda event: event.subject.respond(180, party.world.now)


def call(caller: Party, callee: Party, *headers: tuple[str, str]) -> ClientInvite:
    usage = caller.core.invite(callee.uri, caller.world.now, from_=caller.uri, body=OFFER, headers=headers)
    caller.world.run(0.1)
    return usage


def refusal(world: World, usage: ClientInvite, party: Party) -> int:
    """How an INVITE was refused."""
    assert usage.state == 'terminated', usage.state
    error = party.last(ENDED).error
    assert isinstance(error, ResponseError)
    return error.code


def test_a_confirmed_call_is_replaced(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """RFC 3891 3: a 200-class response to the new INVITE, a BYE in the old dialog."""
    accept(bob)
    old = call(alice, bob)
    replaced = bob.last('incoming').subject
    world.ladder()
    new = call(carol, bob, ('Replaces', replaces_text(old.dialog)), ('Require', 'replaces'))
    assert world.ladder() == lines("""
        carol -> bob: INVITE
        bob -> carol: 200 INVITE
        bob -> alice: BYE
        carol -> bob: ACK
        alice -> bob: 200 BYE
    """)
    usage = bob.last('incoming').subject
    assert (usage.match.kind, usage.match.usage, usage.match.dialog) == ('replaces', replaced, replaced.dialog)
    assert new.state == usage.state == 'confirmed'
    assert isinstance(bob.last(ENDED).error, Replaced)
    assert bob.last(ENDED).subject is replaced
    new.bye(world.now)
    world.run(40)
    assert world.idle()


def test_a_call_is_replaced_before_its_ack(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """RFC 3261 15: the callee's BYE waits for it."""
    accept(bob)
    world.rule = lambda source, target, message: (source, message.method if isinstance(message, Request) else '') == (
        'alice', 'ACK') and world.now < 100.3
    old = call(alice, bob)
    world.ladder()
    call(carol, bob, ('Replaces', replaces_text(old.dialog)))
    assert world.ladder() == lines("""
        carol -> bob: INVITE
        bob -> carol: 200 INVITE
        carol -> bob: ACK
    """)
    world.run(1)
    assert world.ladder() == lines("""
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        bob -> alice: BYE
        alice -> bob: 200 BYE
    """)
    assert isinstance(bob.last(ENDED).error, Replaced)


def test_an_early_call_of_ours_is_replaced(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """RFC 3891 7.1, call pick-up: the phone that rings stops ringing."""
    ring(alice)
    accept(bob)
    outgoing = call(bob, alice)
    ringing = alice.last('incoming').subject
    assert outgoing.state == 'early'
    world.ladder()
    new = call(carol, bob, ('Replaces', replaces_text(ringing.dialog, early_only=True)))
    assert world.ladder() == lines("""
        carol -> bob: INVITE
        bob -> carol: 200 INVITE
        bob -> alice: CANCEL
        carol -> bob: ACK
        alice -> bob: 200 CANCEL
        alice -> bob: 487 INVITE
        bob -> alice: ACK
    """)
    assert new.state == 'confirmed'
    assert isinstance(bob.last(ENDED).error, Replaced)
    cancelled = alice.last(ENDED).error
    assert cancelled.reason == 'SIP;cause=200;text="Call completed elsewhere"'


def test_a_200_crosses_the_cancel_of_what_is_replaced(world: World, alice: Party, bob: Party, carol: Party) -> None:
    ring(alice)
    accept(bob)
    call(bob, alice)
    ringing = alice.last('incoming').subject
    call(carol, bob, ('Replaces', replaces_text(ringing.dialog)))
    world.ladder()
    outgoing = call(bob, alice)
    ringing = alice.last('incoming').subject
    carol.core.invite(bob.uri, world.now, from_=carol.uri, body=OFFER,
                      headers=[('Replaces', replaces_text(ringing.dialog))])
    world.run(0.005)
    ringing.respond(200, world.now, body=ANSWER)
    world.run(1)
    assert 'bob -> alice: BYE' in world.ladder()
    assert outgoing.state == 'terminated'
    assert all(isinstance(event.error, Replaced) for event in bob.events if event.kind == ENDED)


def test_a_call_that_is_not_accepted_replaces_nothing(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """ "... and MUST leave the matched dialog unchanged." """
    accept(bob)
    old = call(alice, bob)
    bob.on['incoming'] = lambda event: event.subject.respond(488, world.now)
    new = call(carol, bob, ('Replaces', replaces_text(old.dialog)))
    assert refusal(world, new, carol) == 488
    assert old.state == 'confirmed'


def test_no_match(world: World, bob: Party, carol: Party) -> None:
    accept(bob)
    new = call(carol, bob, ('Replaces', 'nobody@nowhere;to-tag=1;from-tag=2'))
    assert refusal(world, new, carol) == 481
    assert all(event.kind != 'incoming' for event in bob.events)


def test_the_tags_count(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """ "the to-tag parameter is compared to the local tag": not the other way round. """
    accept(bob)
    old = call(alice, bob)
    dialog = old.dialog
    text = f'{dialog.call_id};to-tag={dialog.local_tag};from-tag={dialog.remote_tag}'
    assert refusal(world, call(carol, bob, ('Replaces', text)), carol) == 481


def test_only_an_early_one_is_meant(world: World, alice: Party, bob: Party, carol: Party) -> None:
    accept(bob)
    old = call(alice, bob)
    new = call(carol, bob, ('Replaces', replaces_text(old.dialog, early_only=True)))
    assert refusal(world, new, carol) == 486
    assert isinstance(carol.last(ENDED).error, Busy)
    assert old.state == 'confirmed'


def test_an_early_call_that_is_not_ours(world: World, alice: Party, bob: Party, carol: Party) -> None:
    ring(bob)
    old = call(alice, bob)
    new = call(carol, bob, ('Replaces', replaces_text(old.dialog)))
    assert refusal(world, new, carol) == 481
    assert old.state == 'early'


def test_a_call_that_has_ended(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """ "prevents an irritating race-condition where the UA rings" """
    accept(bob)
    old = call(alice, bob)
    text = replaces_text(old.dialog)
    old.bye(world.now)
    world.run(1)
    new = call(carol, bob, ('Replaces', text))
    assert refusal(world, new, carol) == 603
    assert isinstance(carol.last(ENDED).error, Declined)
    world.run(40)
    assert refusal(world, call(carol, bob, ('Replaces', text)), carol) == 481


def test_a_call_that_is_ending(world: World, alice: Party, bob: Party, carol: Party) -> None:
    accept(bob)
    old = call(alice, bob)
    text = replaces_text(old.dialog)
    world.rule = lambda source, target, message: source == 'alice'
    bob.last('incoming').subject.bye(world.now)
    assert refusal(world, call(carol, bob, ('Replaces', text)), carol) == 603


def test_replaced_a_second_time(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """The one who comes later finds it ended."""
    accept(bob)
    old = call(alice, bob)
    text = replaces_text(old.dialog)
    call(carol, bob, ('Replaces', text))
    assert refusal(world, call(alice, bob, ('Replaces', text)), alice) == 603


def test_a_chain_of_replacements_keeps_nobody(world: World, alice: Party, bob: Party, carol: Party) -> None:
    accept(bob)
    usage = call(alice, bob)
    for _ in range(3):
        usage = call(carol, bob, ('Replaces', replaces_text(usage.dialog)))
    first, second, third = [event.subject for event in bob.events if event.kind == 'incoming'][1:]
    assert third.match.usage is second
    assert (first.match, second.match) == (None, None)


@pytest.mark.parametrize('headers', [
    [('Replaces', 'a;to-tag=1;from-tag=2'), ('Replaces', 'b;to-tag=1;from-tag=2')],
    [('Replaces', 'a;to-tag=1;from-tag=2'), ('Join', 'a;to-tag=1;from-tag=2')],
    [('Join', 'a;to-tag=1;from-tag=2'), ('Join', 'a;to-tag=1;from-tag=2')],
    [('Replaces', 'a;to-tag=1')],
    [('Replaces', 'a;from-tag=1')],
    [('Replaces', '')],
    [('Replaces', ';to-tag=1;from-tag=2')],
    [('Join', 'a;to-tag=1;from-tag="2')],
])
def test_broken_ones(world: World, bob: Party, carol: Party, headers: list[tuple[str, str]]) -> None:
    accept(bob)
    assert refusal(world, call(carol, bob, *headers), carol) == 400
    assert not bob.core.usages


@pytest.mark.parametrize('name', ['Replaces', 'Join'])
def test_only_an_invite_can_do_that(world: World, bob: Party, carol: Party, name: str) -> None:
    carol.core.request('MESSAGE', bob.uri, world.now, from_=carol.uri, body=b'hi', content_type='text/plain',
                       headers=[(name, 'a;to-tag=1;from-tag=2')])
    world.run(0.1)
    assert carol.last(RESPONSE).code == 400


def test_who_does_not_know_it(world: World, alice: Party, carol: Party) -> None:
    """RFC 3891 6.2: with Require it fails, without it is a call like any other."""
    accept(alice)
    text = 'a;to-tag=1;from-tag=2'
    assert refusal(world, call(carol, alice, ('Replaces', text), ('Require', 'replaces')), carol) == 420
    assert call(carol, alice, ('Replaces', text)).state == 'confirmed'
    assert alice.core.ended is None


def test_a_tag_of_zero_is_none(world: World, bob: Party, carol: Party) -> None:
    """RFC 3891 6.1: it matches the dialogs of RFC 2543."""
    accept(bob)
    bob.core.receive(invite_without_tag(bob), flow_to(bob), world.now)
    world.flush()
    old = bob.last('incoming').subject
    assert old.dialog.remote_tag == ''
    new = call(carol, bob, ('Replaces', f'ancient;to-tag={old.tag};from-tag=0'))
    assert new.state == 'confirmed'
    assert old.state in ('hanging up', 'closing')


def test_two_that_fit_are_none(world: World, bob: Party, carol: Party) -> None:
    accept(bob)
    tags = []
    for extra in ('', ';tag=0'):
        bob.core.receive(invite_without_tag(bob, extra), flow_to(bob), world.now)
        world.flush()
        usage = bob.last('incoming').subject
        tags.append(usage)
    one, other = tags
    # Both with the same tag of ours, so that only the null tag is left to tell them apart.
    key = ('ancient', one.tag, '0')
    bob.core.dialogs[key] = other.dialog
    new = call(carol, bob, ('Replaces', f'ancient;to-tag={one.tag};from-tag=0'))
    del bob.core.dialogs[key]
    assert refusal(world, new, carol) == 481


def invite_without_tag(bob: Party, tag: str = '') -> Request:
    fields = [('Via', f'SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bKold{len(tag)}'), ('Max-Forwards', '70'),
              ('From', f'<sip:old@127.0.0.9>{tag}'), ('To', f'<{bob.uri}>'), ('Call-ID', 'ancient'),
              ('CSeq', '1 INVITE'), ('Contact', '<sip:old@127.0.0.9>')]
    return Request('INVITE', bob.uri, fields)


def flow_to(bob: Party):
    from greensip.transaction.flow import Flow

    return Flow(bob.point, ('127.0.0.9', 5060))


def test_join(world: World, alice: Party, bob: Party, carol: Party) -> None:
    """RFC 3911 4: also an early dialog that is not ours; the one that is joined goes on."""
    ring(bob)
    old = call(alice, bob)
    accept(bob)
    new = call(carol, bob, ('Join', replaces_text(old.dialog)), ('Require', 'join'))
    assert new.state == 'confirmed'
    usage = bob.last('incoming').subject
    assert (usage.match.kind, usage.match.dialog.id[0]) == ('join', old.call_id)
    assert old.state == 'early'


@pytest.mark.parametrize(('ended', 'code'), [(False, 481), (True, 603)])
def test_nothing_to_join(world: World, alice: Party, bob: Party, carol: Party, ended: bool, code: int) -> None:
    accept(bob)
    old = call(alice, bob)
    text = replaces_text(old.dialog)
    if ended:
        old.bye(world.now)
        world.run(1)
    else:
        text = f'x{text}'
    assert refusal(world, call(carol, bob, ('Join', text)), carol) == code


def test_target_dialog(world: World, alice: Party, bob: Party) -> None:
    """RFC 4538 3: the tags are named as the receiver of the request sees them."""
    accept(bob)
    old = call(alice, bob)
    dialog = bob.last('incoming').subject.dialog
    request = Request('REFER', bob.uri, [('Target-Dialog', target_dialog_text(old.dialog))])
    assert find_target_dialog(bob.core, request) is dialog
    assert request.get('Target-Dialog') == (
        f'{dialog.call_id};local-tag={dialog.local_tag};remote-tag={dialog.remote_tag}')


@pytest.mark.parametrize('text', [None, 'other;local-tag=1;remote-tag=2', 'x;local-tag=1', ';;;', ''])
def test_no_target_dialog(bob: Party, text: str | None) -> None:
    request = Request('REFER', bob.uri, [('Target-Dialog', text)] if text is not None else [])
    assert find_target_dialog(bob.core, request) is None


def test_those_that_ended_are_not_remembered_for_ever() -> None:
    ended = EndedDialogs(32.0)
    for number in range(1500):
        ended.add((str(number), 'a', 'b'), float(number) / 1000)
    assert len(ended) == 1000
    assert not ended.has(('499', 'a', 'b'), 2.0)
    assert ended.has(('500', 'a', 'b'), 2.0)
    assert not ended.has(('500', 'a', 'b'), 40.0)


def test_what_is_over_gives_no_way(world: World, alice: Party, bob: Party) -> None:
    accept(bob)
    old = call(alice, bob)
    peer = bob.last('incoming').subject
    assert isinstance(peer, ServerInvite)
    old.bye(world.now)
    world.run(1)
    assert not give_way(peer, world.now)
