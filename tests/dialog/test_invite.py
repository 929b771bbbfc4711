"""The INVITE usage as ladders: RFC 3261 13 to 15 and 9, RFC 3665's basic flows, and the races."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import pytest

from greensip.dialog import ENDED, FORKED, REQUEST, RESPONSE
from greensip.dialog.invite import ClientInvite, ServerInvite
from greensip.errors import (
    Busy,
    ConnectError,
    LocalHangup,
    RemoteCancel,
    RemoteHangup,
    RequestTerminated,
    TransactionTimeout,
    WrongState,
)
from greensip.fsm import log as fsm_log
from greensip.message import Request

from .conftest import Party, World, lines

OFFER = b'v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
ANSWER = OFFER.replace(b'4000', b'5000')


@pytest.fixture(scope='module', autouse=True)
def walked() -> Iterator[set[tuple[str, str, str]]]:
    """The arrows that the tests of this module went along, as the machines log them."""
    arrows: set[tuple[str, str, str]] = set()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            machine, state, event, _ = record.args
            arrows.add((type(machine).__name__, str(state), event))

    collector, level = Collector(), fsm_log.level
    fsm_log.addHandler(collector)
    fsm_log.setLevel(logging.DEBUG)
    yield arrows
    fsm_log.removeHandler(collector)
    fsm_log.setLevel(level)


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
        ('manual 200+ INFO broken', 'INFO BYE', 'closing'),
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
        ('error', '', 'terminated'),
        ('180 error', '180', 'terminated'),
        ('200 BYE', '200 200', 'terminated'),
        ('200 bye BYE', '200 200', 'terminated'),
        ('200 INFO broken', '200 INFO BYE', 'closing'),
        ('200 bye wait', '200 ' * 11 + 'BYE', 'closing'),
        ('200 bye ACK', '200 BYE', 'closing'),
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
    alice.core.located(lookup, [('127.0.0.1', 5080)], None, world.now)
    world.run(0.2)
    assert usage.state == 'confirmed'


def test_a_call_that_is_given_up_while_its_name_is_looked_up_is_never_sent(world: World, alice: Party) -> None:
    usage = alice.core.invite('sip:bob@sip.example.com', world.now, from_=alice.uri, body=OFFER)
    usage.close(world.now)
    alice.core.located(alice.core.lookups.popleft(), [('127.0.0.1', 5080)], None, world.now)
    world.run(1)
    assert world.ladder() == []
    assert usage.state == 'terminated' and world.idle()


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row of both machines."""
    here = [item for item in request.session.items if item.path == request.path]
    source = request.path.read_text()
    if len({item.originalname for item in here if isinstance(item, pytest.Function)}) < source.count('\ndef test_'):
        pytest.skip('only some of the ladders were run')
    for machine in (ClientInvite, ServerInvite):
        missing = [row[:3] for row in machine.rows if (machine.__name__, row.state, row.event) not in walked]
        assert not missing, '\n'.join(map(str, missing))
