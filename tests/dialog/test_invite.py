"""The INVITE usage as ladders: RFC 3261 13 to 15 and 9, RFC 3665's basic flows, and the races."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from greensip.dialog import ENDED, FORKED, REQUEST, RESPONSE
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.invite_server import ServerInvite
from greensip.dialog.routing import Target
from greensip.errors import (
    Busy,
    ConnectError,
    LocalHangup,
    RemoteCancel,
    RemoteHangup,
    RequestTerminated,
    ResponseError,
    TransactionTimeout,
    WrongState,
)
from greensip.message import Request

from .conftest import Party, World, lines, walking

OFFER = b'v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
ANSWER = OFFER.replace(b'4000', b'5000')
#: what test_reliable.py walks
ELSEWHERE = {'1xx reliable', '199', 'last 199', 'respond reliable', 'hold 2xx', 'no prack', 'expired'}


@pytest.fixture(scope='module', autouse=True)
def walked() -> Iterator[set[tuple[str, str, str]]]:
    """The arrows that the tests of this module went along."""
    with walking() as arrows:
        yield arrows


@pytest.fixture
def alice(world: World) -> Party:
    return world.party('alice', 5060)


@pytest.fixture
def bob(world: World) -> Party:
    party = world.party('bob', 5080)
    party.on['incoming'] = lambda event: answer(party, event.subject)
    return party


def answer(party: Party, usage: ServerInvite) -> None:
    usage.respond(180, party.world.now)
    usage.respond(200, party.world.now, body=ANSWER)


def ring(party: Party, usage: ServerInvite) -> None:
    usage.respond(180, party.world.now)


def call(alice: Party, bob: Party, **options) -> ClientInvite:
    options.setdefault('body', OFFER)
    usage = alice.core.invite(bob.uri, alice.world.now, from_=alice.uri, **options)
    alice.world.flush()
    return usage


def established(world: World, alice: Party, bob: Party, **options) -> tuple[ClientInvite, ServerInvite]:
    usage = call(alice, bob, **options)
    world.run(0.1)
    assert usage.state == 'confirmed'
    peer = bob.last('incoming').subject
    assert peer.state == 'confirmed'
    world.ladder()
    return usage, peer


def test_answered_and_hung_up_by_the_caller(world: World, alice: Party, bob: Party) -> None:
    usage = call(alice, bob)
    world.run(1)
    usage.bye(world.now, reason='Q.850;cause=16')
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        alice -> bob: BYE
        bob -> alice: 200 BYE
    """)
    assert isinstance(alice.last(ENDED).error, LocalHangup)
    ended = bob.last(ENDED).error
    assert isinstance(ended, RemoteHangup)
    assert ended.reason == 'Q.850;cause=16'
    assert usage.remote_sdp == ANSWER
    world.run(40)
    assert world.idle()


def test_hung_up_by_the_callee(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    peer.bye(world.now)
    world.run(1)
    assert world.ladder() == lines("""
        bob -> alice: BYE
        alice -> bob: 200 BYE
    """)
    assert isinstance(alice.last(ENDED).error, RemoteHangup)
    assert isinstance(bob.last(ENDED).error, LocalHangup)
    assert usage.state == peer.state == 'terminated'


def test_refused(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: event.subject.respond(486, world.now, headers=[('Reason', 'Q.850;cause=17')])
    call(alice, bob)
    world.run(40)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 486 INVITE
        alice -> bob: ACK
    """)
    error = alice.last(ENDED).error
    assert isinstance(error, Busy)
    assert error.response.get('Reason') == 'Q.850;cause=17'
    assert world.idle()


def test_cancelled_while_ringing(world: World, alice: Party, bob: Party) -> None:
    """CANCEL, its 200, and the 487 after it, in that order (9.2)."""
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    usage = call(alice, bob)
    world.run(1)
    usage.cancel(world.now, reason='SIP;cause=200;text="Call completed elsewhere"')
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        alice -> bob: CANCEL
        bob -> alice: 200 CANCEL
        bob -> alice: 487 INVITE
        alice -> bob: ACK
    """)
    assert isinstance(alice.last(ENDED).error, RequestTerminated)
    error = bob.last(ENDED).error
    assert isinstance(error, RemoteCancel)
    assert error.reason == 'SIP;cause=200;text="Call completed elsewhere"'
    world.run(40)
    assert world.idle()


def test_cancel_is_held_back_until_a_provisional_response(world: World, alice: Party, bob: Party) -> None:
    """9.1: hanging up before the 100."""
    bob.on['incoming'] = lambda event: None
    usage = call(alice, bob)
    usage.cancel(world.now)
    world.run(0.1)
    assert world.ladder() == ['alice -> bob: INVITE']
    world.run(1)
    assert world.ladder() == lines("""
        bob -> alice: 100 INVITE
        alice -> bob: CANCEL
        bob -> alice: 200 CANCEL
        bob -> alice: 487 INVITE
        alice -> bob: ACK
    """)


def test_no_answer_at_all(world: World, alice: Party, bob: Party) -> None:
    world.rule = lambda source, target, message: True
    usage = call(alice, bob)
    usage.cancel(world.now)
    world.run(33)
    assert world.ladder() == ['alice -x bob: INVITE'] * 7
    assert isinstance(alice.last(ENDED).error, TransactionTimeout)
    assert world.idle()


def test_a_200_that_crosses_the_cancel_is_acknowledged_and_hung_up(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    usage = call(alice, bob)
    world.run(1)
    usage.cancel(world.now)
    bob.last('incoming').subject.respond(200, world.now, body=ANSWER)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        alice -> bob: CANCEL
        bob -> alice: 200 INVITE
        bob -> alice: 200 CANCEL
        alice -> bob: ACK
        alice -> bob: BYE
        bob -> alice: 200 BYE
    """)
    assert [event.code for event in alice.events if event.kind == RESPONSE] == [180, 200, 200]
    assert isinstance(alice.last(ENDED).error, LocalHangup)
    assert isinstance(bob.last(ENDED).error, RemoteHangup)
    world.run(40)
    assert world.idle()


def test_a_cancelled_invite_without_final_response_ends(world: World, alice: Party, bob: Party) -> None:
    """9.1: 64*T1 after the CANCEL the caller gives up."""
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    usage = call(alice, bob)
    world.run(1)
    world.rule = lambda source, target, message: source == 'bob'
    usage.cancel(world.now)
    world.run(31)
    assert usage.state == 'cancelling'
    world.run(2)
    assert isinstance(alice.last(ENDED).error, TransactionTimeout)


def test_every_repeated_2xx_is_acknowledged_even_after_the_call(world: World, alice: Party, bob: Party) -> None:
    world.rule = lambda source, target, message: message.cseq.method == 'ACK'
    usage = call(alice, bob)
    world.run(0.1)
    usage.bye(world.now)
    world.run(0.1)
    world.ladder()
    copies = [message for source, _, message in world.messages if name(message) == '200 INVITE']
    world.rule = lambda source, target, message: False
    world.inject(copies[0].to_bytes(), ('127.0.0.1', 5080), alice)
    assert world.ladder() == ['alice -> bob: ACK']
    acks = [message for _, _, message in world.messages if name(message) == 'ACK']
    assert len({ack.to_bytes() for ack in acks}) == 1


def name(message) -> str:
    return message.method if isinstance(message, Request) else f'{message.code} {message.cseq.method}'


def test_the_callee_repeats_its_2xx_and_hangs_up_without_an_ack(world: World, alice: Party, bob: Party) -> None:
    """13.3.1.4: T1 doubling up to T2, then BYE at 64*T1."""
    times: list[float] = []

    def rule(source, target, message):
        if name(message) == '200 INVITE':
            times.append(round(world.now, 2))
        return name(message) == 'ACK'

    world.rule = rule
    call(alice, bob)
    world.run(33)
    gaps = [round(later - earlier, 2) for earlier, later in itertools.pairwise(times)]
    assert gaps == [0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4]
    assert world.ladder()[-2:] == ['bob -> alice: BYE', 'alice -> bob: 200 BYE']
    assert isinstance(bob.last(ENDED).error, TransactionTimeout)
    assert isinstance(alice.last(ENDED).error, RemoteHangup)


def test_the_callee_hangs_up_only_after_the_ack(world: World, alice: Party, bob: Party) -> None:
    """15: the callee must not send a BYE before the ACK."""

    def hang_up_at_once(event):
        answer(bob, event.subject)
        event.subject.bye(world.now)

    bob.on['incoming'] = hang_up_at_once
    call(alice, bob)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        bob -> alice: BYE
        alice -> bob: 200 BYE
    """)


@pytest.mark.parametrize('acknowledged', [True, False])
def test_a_dialog_that_is_lost_before_the_ack_is_hung_up_after_it(
    world: World, alice: Party, bob: Party, acknowledged: bool
) -> None:
    """12.2.1.2 and 15: also this BYE waits, for the ACK or until the 2xx has run out."""
    until = world.now + (0.4 if acknowledged else 40)
    world.rule = lambda source, target, message: name(message) == 'ACK' and world.now < until

    def ask_at_once(event):
        answer(bob, event.subject)
        event.subject.send_request('INFO', world.now)

    bob.on['incoming'] = ask_at_once
    alice.on['INFO'] = lambda event: alice.core.respond(event.exchange, 481, world.now)
    call(alice, bob)
    world.run(0.4)
    assert bob.last('incoming').subject.state == 'hanging up' and 'bob -> alice: BYE' not in world.ladder()
    world.run(33)
    ladder = world.ladder()
    assert ladder[-2:] == ['bob -> alice: BYE', 'alice -> bob: 200 BYE']
    assert ladder.count('bob -> alice: 200 INVITE') == (1 if acknowledged else 10)   # and the first
    assert isinstance(bob.last(ENDED).error, ResponseError) and bob.last(ENDED).error.code == 481


def test_both_hang_up_at_once(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    usage.bye(world.now)
    peer.bye(world.now)
    world.run(40)
    assert world.ladder() == lines("""
        alice -> bob: BYE
        bob -> alice: BYE
        bob -> alice: 200 BYE
        alice -> bob: 200 BYE
    """)
    for party in (alice, bob):
        assert isinstance(party.last(ENDED).error, LocalHangup)
    assert world.idle()


def test_late_offer_waits_for_the_programs_ack(world: World, alice: Party, bob: Party) -> None:
    usage = call(alice, bob, body=b'')
    world.run(0.2)
    assert usage.state == 'accepted'
    assert usage.remote_sdp == ANSWER
    usage.ack(world.now, OFFER)
    world.run(0.2)
    assert usage.state == 'confirmed'
    assert bob.last('incoming').subject.remote_sdp == OFFER
    assert world.ladder()[-1] == 'alice -> bob: ACK'
    with pytest.raises(WrongState):
        usage.ack(world.now)


def test_manual_ack(world: World, alice: Party, bob: Party) -> None:
    usage = call(alice, bob, auto_ack=False)
    world.run(1)
    assert 'alice -> bob: ACK' not in world.ladder()
    usage.ack(world.now)
    world.run(0.1)
    assert bob.last('incoming').subject.state == 'confirmed'


def test_hanging_up_an_unacknowledged_call_acknowledges_first(world: World, alice: Party, bob: Party) -> None:
    usage = call(alice, bob, auto_ack=False)
    world.run(0.1)
    usage.close(world.now)
    world.run(0.1)
    assert world.ladder()[-3:] == ['alice -> bob: ACK', 'alice -> bob: BYE', 'bob -> alice: 200 BYE']


def test_more_than_ten_provisional_responses(world: World, alice: Party, bob: Party) -> None:
    def many(event):
        for _ in range(15):
            event.subject.respond(183, world.now, body=ANSWER)
        event.subject.respond(200, world.now, body=ANSWER)

    bob.on['incoming'] = many
    usage = call(alice, bob)
    world.run(1)
    assert [event.code for event in alice.events if event.kind == RESPONSE] == [183] * 15 + [200]
    assert usage.state == 'confirmed'
    assert len(usage.dialogs) == 1


# RFC 3261 14: re-INVITE


def reinvite_answerer(party: Party) -> None:
    def on_invite(event):
        party.core.respond(event.exchange, 200, party.world.now, body=ANSWER)

    party.on['INVITE'] = on_invite


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
    refusal = next(m for _, _, m in reversed(world.messages) if name(m) == '500 INVITE')
    assert 0 <= int(refusal.get('Retry-After')) <= 10


def test_an_unacknowledged_reinvite_ends_the_call(world: World, alice: Party, bob: Party) -> None:
    usage, _peer = established(world, alice, bob)
    reinvite_answerer(bob)
    world.rule = lambda source, target, message: name(message) == 'ACK'
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


# in-dialog requests


@pytest.mark.parametrize('method', ['INFO', 'UPDATE', 'MESSAGE'])
def test_requests_inside_the_dialog(world: World, alice: Party, bob: Party, method: str) -> None:
    usage, peer = established(world, alice, bob)
    bob.on[method] = lambda event: bob.core.respond(event.exchange, 200, world.now)
    exchange = usage.send_request(
        method,
        world.now,
        body=OFFER if method == 'UPDATE' else b'Signal=5\r\n',
        content_type='application/sdp' if method == 'UPDATE' else 'application/dtmf-relay',
    )
    world.run(1)
    assert world.ladder() == [f'alice -> bob: {method}', f'bob -> alice: 200 {method}']
    assert exchange.response is not None and exchange.response.code == 200
    assert bob.last(REQUEST).subject is peer


def test_options_inside_the_dialog_is_answered(world: World, alice: Party, bob: Party) -> None:
    usage, _ = established(world, alice, bob)
    usage.send_request('OPTIONS', world.now)
    world.run(1)
    assert world.ladder() == ['alice -> bob: OPTIONS', 'bob -> alice: 200 OPTIONS']


@pytest.mark.parametrize(
    'code,ends', [(481, True), (404, True), (488, False), (500, False), (603, False), (405, False)]
)
def test_what_a_refused_request_means_for_the_call(
    world: World, alice: Party, bob: Party, code: int, ends: bool
) -> None:
    """RFC 5057 table 1 and RFC 3261 12.2.1.2."""
    usage, _ = established(world, alice, bob)
    bob.on['INFO'] = lambda event: bob.core.respond(event.exchange, code, world.now)
    usage.send_request('INFO', world.now)
    world.run(1)
    assert ('alice -> bob: BYE' in world.ladder()) == ends
    assert (usage.state == 'terminated') == ends


def test_a_request_that_nobody_answers_ends_the_call(world: World, alice: Party, bob: Party) -> None:
    usage, _ = established(world, alice, bob)
    world.rule = lambda source, target, message: True
    usage.send_request('INFO', world.now)
    world.run(33)
    assert usage.state == 'closing'
    world.run(33)
    assert isinstance(alice.last(ENDED).error, TransactionTimeout)


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


def test_requests_for_no_dialog_get_481(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    assert peer.dialog is not None
    bob.core.dialogs.clear()
    usage.send_request('INFO', world.now)
    world.run(0.1)
    assert world.ladder()[:2] == ['alice -> bob: INFO', 'bob -> alice: 481 INFO']


# The caller's machine, arrow by arrow: what comes in or is asked for, what goes out, and where that leads.
# Numbers are responses from a peer that is played here, with a To tag if there is a plus.


@pytest.mark.parametrize(
    'steps,sent,state',
    [
        ('100 100 200+', 'ACK', 'confirmed'),
        ('100 180+ 100 486+', 'ACK', 'terminated'),
        ('100 480+', 'ACK', 'terminated'),
        ('100 cancel 180+ 487+', 'CANCEL ACK', 'terminated'),
        ('cancel 180+ 200+', 'CANCEL ACK BYE', 'closing'),
        ('error', '', 'terminated'),
        ('manual 200+ BYE', '200', 'terminated'),
        ('manual 200+ INFO broken', 'INFO ACK BYE', 'closing'),
        ('cancel given-up', '', 'terminated'),
        ('200+ bye given-up', 'ACK BYE', 'terminated'),
        ('100 given-up', '', 'proceeding'),
    ],
)
def test_the_callers_machine(
    world: World, alice: Party, bob: Party, steps: str, sent: str, state: str
) -> None:
    del world.parties['127.0.0.1', 5080]
    source = ('127.0.0.1', 5080)
    usage = call(alice, bob, auto_ack='manual' not in steps)
    world.messages[1:] = []
    for step in steps.split():
        if step == 'cancel':
            usage.cancel(world.now)
        elif step == 'error':
            alice.core.transport_failed(usage.invite.flow, ConnectError('reset'), world.now)
        elif step == 'INFO':
            exchange = usage.send_request('INFO', world.now)
        elif step == 'broken':
            usage.on_failure(exchange, ConnectError('reset'), world.now)
        elif step == 'bye':
            usage.bye(world.now)
        elif step == 'given-up':
            usage.give_up(world.now)
        elif step == 'BYE':
            bye = Request('BYE', alice.uri, [
                ('Via', 'SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKbye'), ('From', usage.dialog.remote),
                ('To', usage.dialog.local), ('Call-ID', usage.call_id), ('CSeq', '1 BYE')])
            world.inject(bye.to_bytes(), source, alice)
        elif step != 'manual':
            world.inject(forked_answer(world, 'x' if '+' in step else '', int(step[:3])), source, alice)
        world.flush()
    assert [name(message).split()[0] for _, _, message in world.messages[1:]] == sent.split()
    assert usage.state == state
    usage.close(world.now)
    world.run(100)
    assert world.idle()


# The callee's machine, likewise: numbers are our responses, words in capitals come from the caller.


@pytest.mark.parametrize(
    'steps,sent,state',
    [
        ('200 ACK', '200', 'confirmed'),
        ('180 404', '180 404', 'terminated'),
        ('180 BYE', '180 200 487', 'terminated'),
        ('BYE', '200 487', 'terminated'),
        ('CANCEL', '200 487', 'terminated'),
        ('error', '500', 'terminated'),
        ('180 error', '180 500', 'terminated'),
        ('200 BYE', '200 200', 'terminated'),
        ('200 bye BYE', '200 200', 'terminated'),
        ('200 INFO broken', '200 INFO', 'hanging up'),
        ('200 INFO broken ACK', '200 INFO BYE', 'closing'),
        ('200 INFO broken BYE', '200 INFO 200', 'terminated'),
        ('200 ACK INFO broken', '200 INFO BYE', 'closing'),
        ('200 bye wait', '200 ' * 11 + 'BYE', 'closing'),
        ('200 bye ACK', '200 BYE', 'closing'),
        ('200 bye given-up', '200', 'terminated'),
        ('200 ACK bye given-up', '200 BYE', 'terminated'),
        ('200 given-up', '200', 'accepted'),
    ],
)
def test_the_callees_machine(world: World, alice: Party, bob: Party, steps: str, sent: str, state: str) -> None:
    bob.on['incoming'] = lambda event: None
    source = ('127.0.0.1', 5060)
    call(alice, bob)
    invite = world.messages[0][2]
    del world.parties[source]
    world.inject(invite.to_bytes(), source, bob)
    usage = bob.last('incoming').subject
    for step in steps.split():
        if step.isdigit():
            usage.respond(int(step), world.now)
        elif step == 'bye':
            usage.bye(world.now)
        elif step == 'wait':
            world.run(32.1)
        elif step == 'given-up':
            usage.give_up(world.now)
        elif step == 'INFO':
            exchange = usage.send_request('INFO', world.now)
        elif step == 'broken':
            usage.on_failure(exchange, ConnectError('reset'), world.now)
        elif step == 'error':
            usage.on_transaction_failure(usage.transaction, ConnectError('reset'), world.now)
        else:
            branch = invite.branch if step == 'CANCEL' else f'z9hG4bK{step}'
            number = 2 if step == 'BYE' else 1
            to = invite.get('To') if step == 'CANCEL' else f'{invite.get("To")};tag={usage.tag}'
            fields = [
                ('Via', f'SIP/2.0/UDP 127.0.0.1:5060;branch={branch}'),
                ('From', invite.get('From')),
                ('To', to),
                ('Call-ID', invite.call_id),
                ('CSeq', f'{number} {step}'),
            ]
            if step == 'BYE' and usage.dialog is None:
                # Made up: a caller that has seen no tag cannot send one.
                usage.fire('BYE', Request('BYE', bob.uri, fields), world.now)
                world.flush()
            else:
                world.inject(Request(step, bob.uri, fields).to_bytes(), source, bob)
        world.flush()
    codes = [name(message).split()[0] for source, _, message in world.messages if source == 'bob']
    assert codes == sent.replace('200 487', '487').split() if steps == 'BYE' else codes == sent.split()
    assert usage.state == state
    usage.close(world.now)
    world.run(150)
    assert not bob.core.usages and not bob.core.dialogs


# forks


def forked_answer(world: World, tag: str, code: int = 200, contact: str = '<sip:bob@127.0.0.1:5080>') -> bytes:
    invite = next(m for _, _, m in world.messages if name(m) == 'INVITE')
    fields = [
        ('Via', invite.get('Via')),
        ('From', invite.get('From')),
        ('To', f'{invite.get("To")};tag={tag}' if tag else invite.get('To')),
        ('Call-ID', invite.call_id),
        ('CSeq', invite.get('CSeq')),
        ('Contact', contact),
    ]
    text = f'SIP/2.0 {code} OK\r\n' + ''.join(f'{n}: {t}\r\n' for n, t in fields)
    return text.encode() + b'Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n' % len(ANSWER) + ANSWER


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
    usage = start(lone, forks='all')
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
    usage = start(lone, forks='all')
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


# routes


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


def test_verbs_in_the_wrong_state_are_refused(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    with pytest.raises(WrongState):
        usage.cancel(world.now)
    with pytest.raises(WrongState):
        peer.respond(180, world.now)
    usage.bye(world.now)
    with pytest.raises(WrongState):
        usage.bye(world.now)
    with pytest.raises(WrongState):
        usage.reinvite(world.now, OFFER)
    usage.close(world.now)


def test_names_are_looked_up(world: World, alice: Party, bob: Party) -> None:
    usage = alice.core.invite('sip:bob@sip.example.com', world.now, from_=alice.uri, body=OFFER)
    assert usage.request is None and not alice.core.outgoing
    lookup = alice.core.lookups.popleft()
    assert lookup.hop.host == 'sip.example.com'
    alice.core.located(lookup, [Target('UDP', '127.0.0.1', 5080)], None, world.now)
    world.run(0.2)
    assert usage.state == 'confirmed'


def test_a_call_that_is_given_up_while_its_name_is_looked_up_is_never_sent(world: World, alice: Party) -> None:
    usage = alice.core.invite('sip:bob@sip.example.com', world.now, from_=alice.uri, body=OFFER)
    usage.close(world.now)
    alice.core.located(alice.core.lookups.popleft(), [Target('UDP', '127.0.0.1', 5080)], None, world.now)
    world.run(1)
    assert world.ladder() == []
    assert usage.state == 'terminated' and world.idle()


# What a peer played here says


def reply(request: Request, code: int, *, tag: str = 'peer', extra: str = '', body: bytes = b'') -> bytes:
    """A response of the peer's to a request of ours; ``extra`` are lines of header fields."""
    to = request.get('To') or ''
    lines = [f'SIP/2.0 {code} So', *(f'Via: {text}' for text in request.get_all('Via')), f'From: {request.get("From")}',
             f'To: {to}' if 'tag=' in to or not tag else f'To: {to};tag={tag}', f'Call-ID: {request.call_id}',
             f'CSeq: {request.get("CSeq")}']
    if code < 300 and 'Contact' not in extra:
        lines.append('Contact: <sip:bob@127.0.0.1:5080>')
    if extra:
        lines.append(extra)
    if body and 'Content-Type' not in extra:
        lines.append('Content-Type: application/sdp')
    return '\r\n'.join([*lines, f'Content-Length: {len(body)}']).encode() + b'\r\n\r\n' + body


def ask(usage, method: str, cseq: int, *, extra: str = '', body: bytes = b'', branch: str = '', tag: str = '',
        port: int = 5080) -> bytes:
    """A request of the peer's inside the dialog of ``usage``."""
    dialog = usage.dialogs[tag] if tag else usage.dialog
    lines = [f'{method} sip:us@127.0.0.1 SIP/2.0',
             f'Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch or f"{method}{cseq}"}',
             f'From: {dialog.remote}', f'To: {dialog.local}', f'Call-ID: {dialog.call_id}', f'CSeq: {cseq} {method}']
    if 'Contact' not in extra:
        lines.append('Contact: <sip:bob@127.0.0.1:5080>')
    if extra:
        lines.append(extra)
    if body and 'Content-Type' not in extra:
        lines.append('Content-Type: application/sdp')
    return '\r\n'.join([*lines, f'Content-Length: {len(body)}']).encode() + b'\r\n\r\n' + body


PEER = ('127.0.0.1', 5080)
CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'


@pytest.fixture
def lone(world: World) -> Party:
    """Alice, whose peer is played by the test."""
    return world.party('alice', 5060)


def start(party: Party, **options) -> ClientInvite:
    options.setdefault('body', OFFER)
    usage = party.core.invite('sip:bob@127.0.0.1:5080', party.world.now, from_=party.uri, **options)
    party.world.flush()
    return usage


def joined(party: Party, **options) -> ClientInvite:
    """A call that the peer has answered."""
    usage = start(party, **options)
    says(party, reply(sent(party), 200, body=ANSWER))
    assert usage.state == 'confirmed'
    party.world.ladder()
    return usage


def says(party: Party, *messages: bytes) -> list[str]:
    """The peer's messages come in: what goes out at once."""
    before = len(party.world.messages)
    for data in messages:
        party.world.inject(data, PEER, party)
    return [name(message) for _, _, message in party.world.messages[before:]]


def sent(party: Party, method: str = 'INVITE') -> Request:
    """The last request of that method that went out."""
    return next(m for _, _, m in reversed(party.world.messages) if isinstance(m, Request) and m.method == method)


def kinds(party: Party) -> list[str]:
    return [f'{event.kind} {event.name}' if event.kind != event.name else event.kind for event in party.events]


# 2xx that nobody waits for any more


def test_who_gives_up_wants_no_other_branch_either(lone: Party) -> None:
    """9.1, 15: two 200s cross the CANCEL; with ``forks='all'`` too both are hung up."""
    usage = start(lone, forks='all')
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
    usage = start(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    usage.reinvite(lone.world.now, b'')
    lone.world.flush()
    says(lone, reply(sent(lone), 200, body=OFFER))
    count = len(lone.world.messages)
    usage.bye(lone.world.now)
    lone.world.flush()
    assert [name(message) for _, _, message in lone.world.messages[count:]] == ['ACK', 'BYE']


def test_a_491_for_a_reinvite_that_was_given_up_is_its_end(lone: Party) -> None:
    """9.1, 14.1: nobody wants another attempt."""
    usage = start(lone)
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


# challenges on the way


def test_a_cancel_after_a_challenge_waits_for_a_provisional_response_to_the_new_invite(lone: Party) -> None:
    """9.1: the 100 was for another request."""
    usage = start(lone, credentials=('alice', 's3cret'))
    assert says(lone, reply(sent(lone), 100, tag=''), reply(sent(lone), 401, extra=CHALLENGE)) == ['ACK', 'INVITE']
    usage.cancel(lone.world.now)
    lone.world.flush()
    assert name(lone.world.messages[-1][2]) == 'INVITE'
    assert says(lone, reply(sent(lone), 100, tag='')) == ['CANCEL']
    assert sent(lone, 'CANCEL').branch == sent(lone).branch


@pytest.mark.parametrize('first', [100, 183])
def test_a_challenged_call_that_nobody_answers_then_ends(lone: Party, first: int) -> None:
    usage = start(lone, credentials=('alice', 's3cret'))
    says(lone, reply(sent(lone), first, tag='' if first == 100 else 'x'), reply(sent(lone), 401, extra=CHALLENGE))
    # 13.2.2.3: a final response other than 2xx ends the early dialogs
    assert usage.dialogs == {} and usage.dialog is None and not lone.core.dialogs
    lone.world.run(33)
    assert isinstance(lone.last(ENDED).error, TransactionTimeout)
    lone.world.run(33)
    assert lone.world.idle()


def test_a_challenged_invite_goes_to_where_the_first_one_went(lone: Party) -> None:
    """8.1.3.5: the name is not looked up again, and another server of that name knows nothing of the nonce."""
    start(lone, credentials=('alice', 's3cret'))
    lone.core.invite('sip:bob@sip.example.com', lone.world.now, from_=lone.uri, credentials=('alice', 's3cret'))
    lone.core.located(lone.core.lookups.popleft(), [Target('UDP', *PEER)], None, lone.world.now)
    lone.world.flush()
    assert says(lone, reply(sent(lone), 401, extra=CHALLENGE)) == ['ACK', 'INVITE']
    assert not lone.core.lookups


# BYE, CANCEL and re-INVITE that cross


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
    assert [name(m) for _, _, m in lone.world.messages[-2:]] == ['487 INVITE', 'BYE']
    assert says(lone, ask(usage, 'ACK', 7, branch='INVITE7'), reply(sent(lone, 'BYE'), 200)) == []
    lone.world.run(40)
    assert lone.world.idle()


@pytest.mark.parametrize('method', ['INVITE', 'INFO', 'UPDATE'])
def test_after_our_bye_the_peers_requests_find_no_call(lone: Party, method: str) -> None:
    """15.1.1: the session is over as soon as the BYE is out."""
    usage = joined(lone)
    usage.bye(lone.world.now)
    lone.world.flush()
    assert says(lone, ask(usage, method, 7)) == [f'481 {method}']
    assert not [event for event in lone.events if event.kind == REQUEST]


def test_nothing_is_told_after_the_end(lone: Party) -> None:
    usage = joined(lone)
    usage.send_request('INFO', lone.world.now)
    usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, ask(usage, 'BYE', 7))
    says(lone, reply(sent(lone, 'INFO'), 481), reply(sent(lone), 100))
    assert 'CANCEL' in [name(m) for _, _, m in lone.world.messages]
    lone.world.run(70)
    assert kinds(lone) == ['response 200', 'request BYE', 'ended']
    assert lone.world.idle()


def test_both_hang_up_and_the_end_is_told_last(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    usage.bye(world.now)
    peer.bye(world.now)
    world.run(1)
    for party in (alice, bob):
        assert party.events[-1].kind == ENDED


def test_a_cancelled_reinvite_cannot_be_answered(lone: Party) -> None:
    """The program had not seen the CANCEL yet."""
    usage = joined(lone)
    says(lone, ask(usage, 'INVITE', 7, body=OFFER))
    invite = lone.last(REQUEST)
    assert says(lone, ask(usage, 'CANCEL', 7, branch='INVITE7')) == ['200 CANCEL', '487 INVITE']
    with pytest.raises(WrongState):
        lone.core.respond(invite.exchange, 200, lone.world.now, body=ANSWER)
    assert usage.answering is None and usage.local_sdp == OFFER


@pytest.mark.parametrize('code', [200, 486])
def test_a_late_cancel_is_answered_with_the_tag_of_the_invites_response(
    world: World, alice: Party, bob: Party, code: int
) -> None:
    """9.2: "the To tag of the response to the CANCEL and the To tag in the response to the original request SHOULD be
    the same"."""
    bob.on['incoming'] = lambda event: event.subject.respond(code, world.now)
    world.rule = lambda source, target, message: source == 'bob'
    call(alice, bob)
    world.run(0.1)
    invite = sent(alice)
    data = invite.to_bytes().replace(b'INVITE sip', b'CANCEL sip').replace(b'1 INVITE', b'1 CANCEL')
    world.inject(data, ('127.0.0.1', 5060), bob)
    first, second = [m for source, _, m in world.messages if source == 'bob'][-2:]
    assert name(second) == '200 CANCEL'
    assert first.to_tag and first.to_tag == second.to_tag


def test_a_reinvite_that_waits_after_a_491_can_be_cancelled(lone: Party) -> None:
    usage = joined(lone)
    exchange = usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, reply(sent(lone), 100), reply(sent(lone), 491))
    exchange.cancel(lone.world.now)
    lone.world.flush()
    assert name(lone.world.messages[-1][2]) == 'ACK'
    assert exchange.done and lone.events[-1].exchange is exchange
    count = len(lone.world.messages)
    lone.world.run(60)
    assert len(lone.world.messages) == count
    assert usage.state == 'confirmed'
    usage.reinvite(lone.world.now, OFFER)


def test_a_reinvite_that_is_being_located_can_be_cancelled(lone: Party) -> None:
    usage = start(lone)
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


@pytest.mark.parametrize('first', [100, 183])
def test_an_invite_that_is_cancelled_behind_the_back_of_its_usage_ends_it(lone: Party, first: int) -> None:
    usage = start(lone)
    says(lone, reply(sent(lone), first, tag='' if first == 100 else 'x'))
    usage.invite.cancel(lone.world.now)
    lone.world.run(33)
    assert isinstance(lone.last(ENDED).error, TransactionTimeout)
    assert lone.world.idle()


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
    assert name(lone.world.messages[-1][2]) == '200 INVITE'
    with pytest.raises(WrongState):
        usage.reinvite(lone.world.now, OFFER)
    assert says(lone, ask(usage, 'ACK', 7)) == ['INVITE']
    assert sent(lone).branch == exchange.request.branch and sent(lone).cseq.number == 2
    assert says(lone, reply(sent(lone), 200, body=ANSWER)) == ['ACK']
    assert exchange.done


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
    assert name(world.messages[-1][2]) == '491 INVITE'


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


def test_a_fault_in_sending_a_ringing_leaves_nothing_behind(world: World, alice: Party, bob: Party) -> None:
    """RFC 6026 8.8: the server transaction stays, so it must get its final response."""
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    world.rule = lambda source, target, message: source == 'bob'
    call(alice, bob)
    world.run(0.1)
    ringing = next(m for source, _, m in world.messages if source == 'bob')
    usage = bob.last('incoming').subject
    bob.core.transport_failed(usage.transaction.flow, ConnectError('refused'), world.now, ringing.to_bytes())
    world.flush()
    assert name(world.messages[-1][2]) == '500 INVITE'
    assert isinstance(bob.last(ENDED).error, ConnectError)
    del world.parties['127.0.0.1', 5060]
    world.run(40)
    assert world.idle()


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
    assert name(lone.world.messages[-1][2]) == '200 INVITE'
    assert usage.state == 'confirmed'


# 13.3.1.1: "the UAS MUST send a non-100 provisional response at every minute"


def test_a_call_that_rings_for_long_says_so_every_minute(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    usage = call(alice, bob)
    world.run(200)
    assert world.ladder() == ['alice -> bob: INVITE'] + ['bob -> alice: 180 INVITE'] * 4
    assert [event.code for event in alice.events if event.kind == RESPONSE] == [180] * 4
    usage.cancel(world.now)
    world.run(100)
    assert bob.core.progressing is None and world.idle()


def test_the_last_of_what_was_said_is_repeated_and_only_while_it_is_waited_for(
    world: World, alice: Party, bob: Party
) -> None:
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    call(alice, bob)
    world.run(50)
    call(alice, bob)
    world.run(0.1)
    first, second = [event.subject for event in bob.events if event.kind == 'incoming']
    world.run(5)
    first.respond(183, world.now, body=ANSWER)
    world.ladder()
    world.run(10)
    # The second call is ten seconds old: its turn comes a minute later.
    assert world.ladder() == ['bob -> alice: 183 INVITE', 'bob -> alice: 183 INVITE']
    first.respond(200, world.now, body=ANSWER)
    world.run(60)
    assert world.ladder().count('bob -> alice: 180 INVITE') == 1
    second.respond(486, world.now)
    world.run(100)
    assert bob.core.progressing is None


def test_a_program_that_does_that_itself(world: World, alice: Party) -> None:
    bob = world.party('bob', 5080)
    bob.core.settings.progress_interval = 0
    bob.on['incoming'] = lambda event: ring(bob, event.subject)
    call(alice, bob)
    world.run(200)
    assert world.ladder() == ['alice -> bob: INVITE', 'bob -> alice: 180 INVITE']


# UPDATE: RFC 3311 5.2


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
    usage = start(lone)
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
    assert name(world.messages[-1][2]) == '500 UPDATE'


def test_an_update_in_one_of_several_early_dialogs_moves_that_one(lone: Party) -> None:
    usage = start(lone)
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


# peers that are old, broken or hostile


def test_a_repeated_2xx_without_a_tag_is_the_same_2xx(lone: Party) -> None:
    """12.1.2: towards RFC 2543 the tag is null."""
    usage = start(lone, auto_ack=False)
    success = reply(sent(lone), 200, tag='', body=ANSWER)
    assert says(lone, success, success) == []
    usage.ack(lone.world.now)
    lone.world.flush()
    assert says(lone, success) == ['ACK']
    assert says(lone, ask(usage, 'BYE', 2)) == ['200 BYE']


@pytest.mark.parametrize('extra,body', [
    ('Content-Type: nonsense', ANSWER),
    ('Content-Type: multipart/mixed;boundary=x', b'--x\r\nno head'),
])
def test_a_2xx_whose_body_cannot_be_read_is_still_a_call(lone: Party, extra: str, body: bytes) -> None:
    usage = start(lone)
    assert says(lone, reply(sent(lone), 200, extra=extra, body=body)) == ['ACK']
    assert usage.state == 'confirmed' and usage.remote_sdp == b''
    assert kinds(lone) == ['response 200']


def test_an_ack_whose_body_cannot_be_read_is_still_an_ack(lone: Party) -> None:
    usage = joined(lone)
    says(lone, ask(usage, 'INVITE', 7, body=OFFER))
    lone.core.respond(lone.last(REQUEST).exchange, 200, lone.world.now, body=ANSWER)
    says(lone, ask(usage, 'ACK', 7, extra='Content-Type: nonsense', body=b'x'))
    assert usage.answering is None


@pytest.mark.parametrize('contact', ['<tel:+15551234>', '<sip:bob@127.0.0.1;transport=tcp>', '<sips:bob@127.0.0.1>'])
def test_a_call_whose_ack_has_nowhere_to_go_ends_after_its_2xx_was_told(lone: Party, contact: str) -> None:
    start(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER, extra=f'Contact: {contact}'))
    assert kinds(lone) == ['response 200', 'failed', 'ended']
    assert isinstance(lone.last(ENDED).error, ConnectError)


def test_a_reinvite_whose_ack_has_nowhere_to_go_is_told_first(lone: Party) -> None:
    usage = joined(lone)
    usage.reinvite(lone.world.now, OFFER)
    lone.world.flush()
    says(lone, reply(sent(lone), 200, body=ANSWER, extra='Contact: <tel:+15551234>'))
    assert kinds(lone)[1:] == ['response 200', 'failed', 'ended']


def test_a_2xx_that_is_repeated_while_its_ack_is_being_located_is_no_other_fork(lone: Party) -> None:
    usage = joined(lone)
    other = reply(sent(lone), 200, tag='other', extra='Contact: <sip:bob@bob.example.com>')
    assert says(lone, other, other) == []
    assert len(lone.core.lookups) == 2      # one ACK, one BYE
    for _ in range(2):
        lone.core.located(lone.core.lookups.popleft(), [Target('UDP', *PEER)], None, lone.world.now)
    lone.world.flush()
    assert [name(m) for _, _, m in lone.world.messages[-2:]] == ['ACK', 'BYE']
    assert says(lone, other) == ['ACK']
    assert usage.state == 'confirmed'


def test_a_flood_of_2xx_is_bounded(lone: Party) -> None:
    joined(lone)
    for number in range(1000):
        says(lone, reply(sent(lone), 200, tag=f'tag{number}'))
    assert len(lone.core.layer) <= lone.core.settings.max_forks + 2


def test_a_callees_bye_before_it_has_answered_changes_nothing(lone: Party) -> None:
    """15: it must not; its final response is still what counts."""
    usage = start(lone)
    says(lone, reply(sent(lone), 183))
    assert says(lone, ask(usage, 'BYE', 7)) == ['200 BYE']
    assert says(lone, reply(sent(lone), 487)) == ['ACK']
    assert usage.state == 'terminated'
    lone.world.run(40)
    assert lone.world.idle()


# routes, once more


def test_a_display_name_in_a_record_route_may_hold_angle_brackets(lone: Party) -> None:
    start(lone)
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
    start(lone)
    says(lone, reply(sent(lone), 180, extra='Contact: <sip:bob@192.0.2.1>\r\nRecord-Route: <sip:127.0.0.1:7001;lr>'))
    data = reply(sent(lone), 200, extra='Record-Route: <sip:127.0.0.1:7002;lr>')
    assert says(lone, data.replace(b'Contact: <sip:bob@127.0.0.1:5080>\r\n', b'')) == ['ACK']
    assert lone.world.messages[-1][1] == '127.0.0.1:7002'
    assert sent(lone, 'ACK').uri_text == 'sip:bob@192.0.2.1'


def test_header_fields_in_a_contact_stay_out_of_the_request_uri(lone: Party) -> None:
    """19.1.1: they are not allowed there, nor is the method parameter."""
    start(lone)
    says(lone, reply(sent(lone), 200, extra='Contact: <sip:a?b@127.0.0.1:7001;method=BYE;x=y?Subject=hello>'))
    assert sent(lone, 'ACK').uri_text == 'sip:a?b@127.0.0.1:7001;x=y'
    assert lone.world.messages[-1][1] == '127.0.0.1:7001'


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row of both machines."""
    here = [item for item in request.session.items if item.path == request.path]
    source = request.path.read_text()
    if len({item.originalname for item in here if isinstance(item, pytest.Function)}) < source.count('\ndef test_'):
        pytest.skip('only some of the ladders were run')
    for machine in (ClientInvite, ServerInvite):
        missing = [row[:3] for row in machine.rows if (machine.__name__, row.state, row.event) not in walked
                   and row.event not in ELSEWHERE and row.state != 'answering']
        assert not missing, '\n'.join(map(str, missing))
