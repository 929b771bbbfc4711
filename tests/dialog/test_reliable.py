"""Reliable provisional responses: RFC 3262, both sides and the callee, as ladders."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from greensip.dialog import ENDED, REQUEST, RESPONSE
from greensip.dialog.invite_server import ServerInvite
from greensip.dialog.reliable import MOST
from greensip.errors import (
    RemoteCancel,
    ServerFailure,
    TransactionTimeout,
    UsageError,
    WrongState,
)
from greensip.message import Request, Response

from .calls import (
    ask,
    call,
    header,
    hung_up,
    incoming,
    progress,
    ringing,
    says,
    sent_cancel,
)
from .conftest import ANSWER, OFFER, Party, World, lines, name_of, never_walked

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def tags() -> Sequence[str]:
    return ('100rel', '199')


def test_answer_in_a_reliable_183(world: World, alice: Party, bob: Party) -> None:
    """RFC 3262's own flow: the session is agreed on before the call is answered, and the 200 carries none."""
    usage, peer = ringing(world, alice, bob)
    progress(bob, peer, body=ANSWER)
    world.run(1)
    progress(bob, peer, 180)
    world.run(1)
    peer.respond(200, world.now)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 183 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
        bob -> alice: 180 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)
    assert header(alice, 'Supported') == '100rel, 199'
    assert header(bob, 'Require', code=183) == '100rel'
    rseq = int(header(bob, 'RSeq', code=183))
    assert 1 <= rseq < 2**31
    assert header(alice, 'RAck', 'PRACK') == f'{rseq} 1 INVITE'
    assert 'UPDATE' in header(bob, 'Allow', code=183)
    assert header(bob, 'RSeq', code=180) is None
    assert usage.state == peer.state == 'confirmed'
    assert (usage.remote_sdp, peer.local_sdp) == (ANSWER, ANSWER)
    assert usage.session.state == peer.session.state == 'stable'
    assert hung_up(world, usage)


def test_required_makes_every_response_reliable(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob, prack='required')
    for code in (180, 181, 183):
        progress(bob, peer, code)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
        bob -> alice: 181 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
        bob -> alice: 183 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
    """)
    assert header(alice, 'Require') == '100rel'
    rseqs = [int(m.get('RSeq')) for _, _, m in world.messages if isinstance(m, Response) and m.has('RSeq')]
    assert rseqs == [rseqs[0], rseqs[0] + 1, rseqs[0] + 2]
    with pytest.raises(UsageError):
        peer.respond(180, world.now, reliable=False)
    assert hung_up(world, usage)


def test_a_caller_who_does_not_support_it(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob, prack='off')
    assert header(alice, 'Supported') == '199'
    with pytest.raises(UsageError, match='100rel'):
        peer.respond(180, world.now, reliable=True)
    progress(bob, peer, body=ANSWER)
    world.run(1)
    assert world.ladder() == ['alice -> bob: INVITE', 'bob -> alice: 183 INVITE']
    assert hung_up(world, usage)


def test_a_core_without_it(world: World, alice: Party) -> None:
    bob = world.party('bob', 5080)
    usage, peer = ringing(world, alice, bob)
    with pytest.raises(UsageError, match='100rel'):
        peer.respond(180, world.now, reliable=True)
    progress(bob, peer, body=ANSWER)
    world.run(1)
    assert not any(name_of(m) == 'PRACK' for _, _, m in world.messages)
    assert hung_up(world, usage)
    call(alice, bob, prack='required')
    world.run(1)
    assert alice.last(ENDED).error.code == 420


def test_without_it_ours_can_be_asked_for_in_one_call(world: World, bob: Party) -> None:
    alice = world.party('alice', 5060)
    usage, peer = ringing(world, alice, bob, prack='supported')
    assert header(alice, 'Supported') == '100rel'
    progress(bob, peer, body=ANSWER)
    world.run(1)
    assert 'alice -> bob: PRACK' in world.ladder()
    assert hung_up(world, usage)


def test_the_first_waits_for_its_prack_and_so_does_the_2xx(world: World, alice: Party, bob: Party) -> None:
    """3: no second response before the first is acknowledged, no 2xx before each description is."""
    usage, peer = ringing(world, alice, bob)
    world.rule = lambda source, target, message: name_of(message) == 'PRACK' and world.now < 101
    progress(bob, peer, 180, reliable=True)
    progress(bob, peer, 183, body=ANSWER)
    peer.respond(200, world.now, body=ANSWER)
    assert peer.state == 'answering'
    world.run(10)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        alice -x bob: PRACK
        bob -> alice: 180 INVITE
        alice -x bob: PRACK
        bob -> alice: 180 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
        bob -> alice: 183 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)
    assert usage.state == peer.state == 'confirmed'
    assert hung_up(world, usage)


def test_a_2xx_does_not_wait_for_a_response_without_a_description(world: World, alice: Party, bob: Party) -> None:
    """3: the PRACK that comes after it is answered 200 all the same, and nothing is repeated any more."""
    usage, peer = ringing(world, alice, bob)
    world.rule = lambda source, target, message: 0.3 if name_of(message) == 'PRACK' else False
    progress(bob, peer, 180, reliable=True)
    progress(bob, peer, 181, reliable=True)
    peer.respond(200, world.now, body=ANSWER)
    world.run(5)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: PRACK
        alice -> bob: ACK
        bob -> alice: 200 PRACK
    """)
    assert hung_up(world, usage)


def test_it_is_repeated_until_the_prack_and_intervals_are_not_capped(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob)
    world.rule = lambda source, target, message: name_of(message).endswith('PRACK')
    progress(bob, peer, body=ANSWER)
    began, times = world.now, []
    rule = world.rule

    def watch(source, target, message):
        if source == 'bob':
            times.append((round(world.now - began, 2), name_of(message)))
        return rule(source, target, message)

    world.rule = watch
    world.run(120)
    assert times == [(0.5, '183 INVITE'), (1.5, '183 INVITE'), (3.5, '183 INVITE'), (7.5, '183 INVITE'),
                     (15.5, '183 INVITE'), (31.5, '183 INVITE'), (32.0, '504 INVITE')]
    assert isinstance(bob.last(ENDED).error, TransactionTimeout)
    assert isinstance(alice.last(ENDED).error, ServerFailure)
    assert world.idle() and usage.state == 'terminated'


def test_a_held_2xx_whose_prack_never_comes(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob)
    world.rule = lambda source, target, message: name_of(message).endswith('PRACK')
    progress(bob, peer, body=ANSWER)
    peer.respond(200, world.now)
    world.run(33)
    assert header(bob, 'To', code=504)
    assert usage.state == peer.state == 'terminated'
    world.run(40)
    assert world.idle()


def test_a_lost_183_comes_again(world: World, alice: Party, bob: Party) -> None:
    _usage, peer = ringing(world, alice, bob)
    lost: list[str] = []
    world.rule = lambda source, target, message: name_of(message) == '183 INVITE' and not lost and not lost.append('x')
    progress(bob, peer, body=ANSWER)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -x alice: 183 INVITE
        alice -> bob: INVITE
        bob -> alice: 183 INVITE
        bob -> alice: 183 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
    """)
    assert hung_up(world, peer)


@pytest.mark.parametrize('wanted', ['CANCEL', 'BYE', 'error', '480', 'close'])
def test_a_2xx_that_waits_for_the_prack_is_not_sent_when_the_call_ends(
    world: World, alice: Party, bob: Party, wanted: str
) -> None:
    usage, peer = ringing(world, alice, bob)
    world.rule = lambda source, target, message: name_of(message) == 'PRACK'
    progress(bob, peer, body=ANSWER)
    peer.respond(200, world.now)
    with pytest.raises(WrongState):
        peer.respond(200, world.now)
    with pytest.raises(WrongState):
        peer.respond(183, world.now)
    world.run(0.1)
    if wanted == 'CANCEL':
        usage.cancel(world.now)
    elif wanted == 'BYE':
        usage.in_dialog('BYE').start(world.now)
    elif wanted == 'error':
        peer.on_transaction_failure(peer.transaction, TransactionTimeout('lost'), world.now)
    elif wanted == 'close':
        peer.close(world.now)
    else:
        peer.respond(480, world.now)
    world.rule = lambda source, target, message: False
    world.run(100)
    assert peer.state == usage.state == 'terminated'
    assert '200 INVITE' not in [name_of(m) for _, _, m in world.messages]
    assert isinstance(bob.last(ENDED).error, RemoteCancel) == (wanted == 'CANCEL')
    assert world.idle()


def test_a_prack_that_matches_nothing_gets_481(bob: Party) -> None:
    _, usage = incoming(bob)
    progress(bob, usage, body=ANSWER)
    rseq = int(header(bob, 'RSeq', code=183))
    for number, rack in enumerate((f'{rseq + 1} 17 INVITE', f'{rseq} 16 INVITE', f'{rseq} 17 UPDATE')):
        assert says(bob, ask(usage, 'PRACK', 18 + number, extra=f'RAck: {rack}')) == ['481 PRACK']
    assert says(bob, ask(usage, 'PRACK', 30)) == ['400 PRACK']
    assert says(bob, ask(usage, 'PRACK', 31, extra='RAck: what')) == ['400 PRACK']
    assert says(bob, ask(usage, 'PRACK', 32, extra=f'RAck: {rseq} 17 INVITE')) == ['200 PRACK']
    # Once only: a repetition with its own branch comes too late.
    assert says(bob, ask(usage, 'PRACK', 33, extra=f'RAck: {rseq} 17 INVITE')) == ['481 PRACK']
    usage.close(bob.world.now)


def test_a_prack_where_nothing_was_reliable(bob: Party) -> None:
    _, usage = incoming(bob)
    progress(bob, usage, 180)
    assert says(bob, ask(usage, 'PRACK', 18, extra='RAck: 1 17 INVITE')) == ['481 PRACK']
    usage.close(bob.world.now)


def test_a_repeated_invite_gets_the_reliable_response(bob: Party) -> None:
    data, usage = incoming(bob)
    progress(bob, usage, body=ANSWER)
    assert says(bob, data) == ['183 INVITE']
    assert header(bob, 'RSeq', code=183)
    usage.close(bob.world.now)


def test_too_many_that_wait_are_the_programs_mistake(bob: Party) -> None:
    _, usage = incoming(bob)
    for _ in range(MOST + 1):
        usage.respond(183, bob.world.now, reliable=True)
    with pytest.raises(UsageError, match='wait for the PRACK'):
        usage.respond(183, bob.world.now, reliable=True)
    usage.close(bob.world.now)


@pytest.mark.parametrize('field', ['Require', 'Supported', 'k'])
def test_100rel_in_any_spelling(bob: Party, field: str) -> None:
    _, usage = incoming(bob, f'{field}: timer2, 100REL' if field != 'Require' else 'Require: 100REL')
    progress(bob, usage, body=ANSWER)
    assert header(bob, 'RSeq', code=183)
    usage.close(bob.world.now)


def test_a_prack_without_the_answer_that_it_should_carry(bob: Party) -> None:
    """It is acknowledged all the same: who waits for it repeats it in vain."""
    _, usage = incoming(bob, body=b'')
    progress(bob, usage, body=OFFER)
    rseq = header(bob, 'RSeq', code=183)
    assert says(bob, ask(usage, 'PRACK', 18, extra=f'RAck: {rseq} 17 INVITE')) == ['200 PRACK']
    usage.respond(200, bob.world.now)
    bob.world.flush()
    assert usage.state == 'accepted'


def test_an_acknowledged_response_is_repeated_every_minute_too(world: World, alice: Party, bob: Party) -> None:
    """RFC 3261 13.3.1.1: for the proxies; to the caller it is a repetition, with no PRACK for it."""
    usage, peer = ringing(world, alice, bob)
    progress(bob, peer, body=ANSWER)
    world.run(1)
    world.ladder()
    world.run(130)
    assert world.ladder() == ['bob -> alice: 183 INVITE'] * 2
    assert [event.code for event in alice.events if event.kind == RESPONSE and event.exchange is usage.invite] == [183]
    assert hung_up(world, usage)


@pytest.mark.parametrize('how', ['486', 'CANCEL', 'again'])
def test_a_prack_that_crosses_the_final_response_gets_its_200(bob: Party, how: str) -> None:
    """3: "it MUST be prepared to process PRACK requests for those outstanding responses"."""
    _, usage = incoming(bob)
    progress(bob, usage, body=ANSWER)
    rseq = header(bob, 'RSeq', code=183)
    prack = ask(usage, 'PRACK', 18, extra=f'RAck: {rseq} 17 INVITE')
    wrong = ask(usage, 'PRACK', 19, extra=f'RAck: {rseq}1 17 INVITE')
    if how == 'CANCEL':
        cancel = sent_cancel()
        assert says(bob, cancel) == ['200 CANCEL', '487 INVITE']
    else:
        usage.respond(486, bob.world.now)
    bob.world.run(10 if how != 'again' else 40)
    assert not bob.core.usages and not bob.core.dialogs
    assert says(bob, wrong) == ['481 PRACK']
    assert says(bob, prack) == ['200 PRACK' if how != 'again' else '481 PRACK']
    assert says(bob, ask(usage, 'PRACK', 20, extra=f'RAck: {rseq} 17 INVITE')) == ['481 PRACK']
    assert not bob.core.late_pracks


def test_a_prack_is_a_request_event_like_any_other(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob)
    progress(bob, peer, body=ANSWER)
    world.run(0.1)
    event = bob.last(REQUEST)
    assert isinstance(event.message, Request) and event.name == 'PRACK' and event.subject is peer
    assert hung_up(world, usage)


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row that RFC 3262 adds for the callee."""
    assert never_walked(request, walked, ServerInvite, wanted=lambda row: row.event != 'expired' and (
        row.state == 'answering' or row.event in ('respond reliable', 'hold 2xx', 'no prack'))) == []
