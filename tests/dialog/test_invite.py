"""The INVITE usage as ladders: RFC 3261 13 to 15 and 9, RFC 3665's basic flows, and the races."""

from __future__ import annotations

import itertools

import pytest

from greensip.dialog import ENDED, REQUEST, RESPONSE
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

from .calls import (
    PEER,
    ask,
    call,
    established,
    forked_answer,
    joined,
    kinds,
    reply,
    ring,
    says,
    sent,
)
from .conftest import ANSWER, OFFER, Party, World, answer, lines, name_of, never_walked

pytestmark = pytest.mark.usefixtures('walked')
#: what is walked where reliable responses, 199 and Expires are tested
ELSEWHERE = {'1xx reliable', '199', 'last 199', 'respond reliable', 'hold 2xx', 'no prack', 'expired'}
CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'


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
    copies = [message for source, _, message in world.messages if name_of(message) == '200 INVITE']
    world.rule = lambda source, target, message: False
    world.inject(copies[0].to_bytes(), ('127.0.0.1', 5080), alice)
    assert world.ladder() == ['alice -> bob: ACK']
    acks = [message for _, _, message in world.messages if name_of(message) == 'ACK']
    assert len({ack.to_bytes() for ack in acks}) == 1


def test_the_callee_repeats_its_2xx_and_hangs_up_without_an_ack(world: World, alice: Party, bob: Party) -> None:
    """13.3.1.4: T1 doubling up to T2, then BYE at 64*T1."""
    times: list[float] = []

    def rule(source, target, message):
        if name_of(message) == '200 INVITE':
            times.append(round(world.now, 2))
        return name_of(message) == 'ACK'

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
    world.rule = lambda source, target, message: name_of(message) == 'ACK' and world.now < until

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
    assert [name_of(message).split()[0] for _, _, message in world.messages[1:]] == sent.split()
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
    codes = [name_of(message).split()[0] for source, _, message in world.messages if source == 'bob']
    assert codes == sent.replace('200 487', '487').split() if steps == 'BYE' else codes == sent.split()
    assert usage.state == state
    usage.close(world.now)
    world.run(150)
    assert not bob.core.usages and not bob.core.dialogs


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


def test_a_cancel_after_a_challenge_waits_for_a_provisional_response_to_the_new_invite(lone: Party) -> None:
    """9.1: the 100 was for another request."""
    usage = call(lone, credentials=('alice', 's3cret'))
    assert says(lone, reply(sent(lone), 100, tag=''), reply(sent(lone), 401, extra=CHALLENGE)) == ['ACK', 'INVITE']
    usage.cancel(lone.world.now)
    lone.world.flush()
    assert name_of(lone.world.messages[-1][2]) == 'INVITE'
    assert says(lone, reply(sent(lone), 100, tag='')) == ['CANCEL']
    assert sent(lone, 'CANCEL').branch == sent(lone).branch


@pytest.mark.parametrize('first', [100, 183])
def test_a_challenged_call_that_nobody_answers_then_ends(lone: Party, first: int) -> None:
    usage = call(lone, credentials=('alice', 's3cret'))
    says(lone, reply(sent(lone), first, tag='' if first == 100 else 'x'), reply(sent(lone), 401, extra=CHALLENGE))
    # 13.2.2.3: a final response other than 2xx ends the early dialogs
    assert usage.dialogs == {} and usage.dialog is None and not lone.core.dialogs
    lone.world.run(33)
    assert isinstance(lone.last(ENDED).error, TransactionTimeout)
    lone.world.run(33)
    assert lone.world.idle()


def test_a_challenged_invite_goes_to_where_the_first_one_went(lone: Party) -> None:
    """8.1.3.5: the name is not looked up again, and another server of that name knows nothing of the nonce."""
    call(lone, credentials=('alice', 's3cret'))
    lone.core.invite('sip:bob@sip.example.com', lone.world.now, from_=lone.uri, credentials=('alice', 's3cret'))
    lone.core.located(lone.core.lookups.popleft(), [Target('UDP', *PEER)], None, lone.world.now)
    lone.world.flush()
    assert says(lone, reply(sent(lone), 401, extra=CHALLENGE)) == ['ACK', 'INVITE']
    assert not lone.core.lookups


@pytest.mark.parametrize('method', ['INVITE', 'INFO', 'UPDATE'])
def test_after_our_bye_the_peers_requests_find_no_call(lone: Party, method: str) -> None:
    """15.1.1: the session is over as soon as the BYE is out."""
    usage = joined(lone)
    usage.bye(lone.world.now)
    lone.world.flush()
    assert says(lone, ask(usage, method, 7)) == [f'481 {method}']
    assert not [event for event in lone.events if event.kind == REQUEST]


def test_both_hang_up_and_the_end_is_told_last(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob)
    usage.bye(world.now)
    peer.bye(world.now)
    world.run(1)
    for party in (alice, bob):
        assert party.events[-1].kind == ENDED


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
    assert name_of(second) == '200 CANCEL'
    assert first.to_tag and first.to_tag == second.to_tag


@pytest.mark.parametrize('first', [100, 183])
def test_an_invite_that_is_cancelled_behind_the_back_of_its_usage_ends_it(lone: Party, first: int) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), first, tag='' if first == 100 else 'x'))
    usage.invite.cancel(lone.world.now)
    lone.world.run(33)
    assert isinstance(lone.last(ENDED).error, TransactionTimeout)
    assert lone.world.idle()


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
    assert name_of(world.messages[-1][2]) == '500 INVITE'
    assert isinstance(bob.last(ENDED).error, ConnectError)
    del world.parties['127.0.0.1', 5060]
    world.run(40)
    assert world.idle()


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


@pytest.mark.parametrize('extra,body', [
    ('Content-Type: nonsense', ANSWER),
    ('Content-Type: multipart/mixed;boundary=x', b'--x\r\nno head'),
])
def test_a_2xx_whose_body_cannot_be_read_is_still_a_call(lone: Party, extra: str, body: bytes) -> None:
    usage = call(lone)
    assert says(lone, reply(sent(lone), 200, extra=extra, body=body)) == ['ACK']
    assert usage.state == 'confirmed' and usage.remote_sdp == b''
    assert kinds(lone) == ['response 200']


@pytest.mark.parametrize('contact', ['<tel:+15551234>', '<sip:bob@127.0.0.1;transport=tcp>', '<sips:bob@127.0.0.1>'])
def test_a_call_whose_ack_has_nowhere_to_go_ends_after_its_2xx_was_told(lone: Party, contact: str) -> None:
    call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER, extra=f'Contact: {contact}'))
    assert kinds(lone) == ['response 200', 'failed', 'ended']
    assert isinstance(lone.last(ENDED).error, ConnectError)


def test_a_callees_bye_before_it_has_answered_changes_nothing(lone: Party) -> None:
    """15: it must not; its final response is still what counts."""
    usage = call(lone)
    says(lone, reply(sent(lone), 183))
    assert says(lone, ask(usage, 'BYE', 7)) == ['200 BYE']
    assert says(lone, reply(sent(lone), 487)) == ['ACK']
    assert usage.state == 'terminated'
    lone.world.run(40)
    assert lone.world.idle()


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row of both machines."""
    assert never_walked(request, walked, ClientInvite, ServerInvite,
                        wanted=lambda row: row.event not in ELSEWHERE and row.state != 'answering') == []
