"""PRACK: RFC 3262 4, and the offers and answers in it (RFC 3262 5), as ladders."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from greensip.dialog import ENDED, RESPONSE
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.reliable import MOST
from greensip.errors import (
    RequestTerminated,
    WrongState,
)

from .calls import (
    OTHER,
    SDP,
    ask,
    call,
    header,
    hung_up,
    progress,
    rel,
    reply,
    ringing,
    says,
    sent,
)
from .conftest import ANSWER, OFFER, Party, World, lines, name_of, never_walked

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def tags() -> Sequence[str]:
    return ('100rel', '199')


def test_late_offer_in_a_reliable_183_is_answered_in_the_prack(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob, body=b'')
    with pytest.raises(WrongState, match='had no offer'):
        peer.respond(180, world.now, reliable=True)
    progress(bob, peer, body=OFFER)
    world.run(0.4)
    assert world.ladder() == ['alice -> bob: INVITE', 'bob -> alice: 183 INVITE']
    response = alice.last(RESPONSE).message
    usage.prack(response, world.now, body=ANSWER)
    with pytest.raises(WrongState):
        usage.prack(response, world.now, body=ANSWER)
    world.run(0.5)
    peer.respond(200, world.now)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)
    assert (peer.local_sdp, peer.remote_sdp) == (OFFER, ANSWER)
    assert (usage.local_sdp, usage.remote_sdp) == (ANSWER, OFFER)
    assert usage.session.state == peer.session.state == 'stable'
    assert hung_up(world, usage)


def test_a_prack_with_another_offer_has_the_answer_in_its_2xx(world: World, alice: Party, bob: Party) -> None:
    """RFC 3262 5, RFC 6337 pattern 5."""
    usage, peer = ringing(world, alice, bob, auto_prack=False)
    progress(bob, peer, body=ANSWER)
    world.run(0.1)
    usage.prack(alice.last(RESPONSE).message, world.now, body=OTHER)
    world.run(1)
    assert header(bob, 'Content-Type', 'PRACK', 200) == SDP
    assert (peer.remote_sdp, peer.local_sdp) == (OTHER, ANSWER)
    assert (usage.local_sdp, usage.remote_sdp) == (OTHER, ANSWER)
    peer.respond(200, world.now, body=ANSWER)
    world.run(1)
    assert usage.state == peer.state == 'confirmed' and usage.local_sdp == OTHER
    assert hung_up(world, peer)


def test_an_offer_in_the_prack_for_a_response_without_a_description_is_refused_to_the_program(
    world: World, alice: Party, bob: Party
) -> None:
    usage, peer = ringing(world, alice, bob, auto_prack=False)
    progress(bob, peer, 180, reliable=True)
    world.run(0.1)
    response = alice.last(RESPONSE).message
    with pytest.raises(WrongState):
        usage.prack(response, world.now, body=OTHER)
    usage.prack(response, world.now)
    world.run(0.1)
    assert world.ladder()[-1] == 'bob -> alice: 200 PRACK'
    assert hung_up(world, usage)


def test_a_program_that_refuses_an_offer_in_a_prack(world: World, alice: Party, bob: Party) -> None:
    """Both sides keep what was agreed on, and the response counts as acknowledged."""
    bob.on['PRACK'] = lambda event: bob.core.respond(event.exchange, 488, world.now)
    usage, peer = ringing(world, alice, bob, auto_prack=False)
    progress(bob, peer, body=ANSWER)
    world.run(0.1)
    usage.prack(alice.last(RESPONSE).message, world.now, body=OTHER)
    world.run(0.1)
    assert usage.local_sdp == OFFER and usage.session.state == peer.session.state == 'stable'
    peer.respond(200, world.now)
    world.run(0.1)
    assert usage.state == 'confirmed'
    assert hung_up(world, usage)


def test_what_cannot_be_acknowledged_is_not(lone: Party) -> None:
    """A response with the number of another request; the next one that is in order is."""
    usage = call(lone)
    odd = reply(sent(lone), 183, extra='Require: 100rel\r\nRSeq: 5').replace(b'CSeq: 1 INVITE', b'CSeq: 7 INVITE')
    assert says(lone, odd) == []
    assert lone.last(RESPONSE).code == 183
    assert says(lone, reply(sent(lone), 183, extra='Require: 100rel\r\nRSeq: 6')) == ['PRACK']
    usage.close(lone.world.now)


def test_the_prack_has_credentials(lone: Party) -> None:
    usage = call(lone, credentials=('a', 'b'))
    says(lone, reply(sent(lone), 183, body=ANSWER, extra='Require: 100rel\r\nRSeq: 5'))
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    assert says(lone, reply(sent(lone, 'PRACK'), 401, extra=challenge)) == ['PRACK']
    assert sent(lone, 'PRACK').has('Authorization') and sent(lone, 'PRACK').get('RAck') == '5 1 INVITE'
    usage.close(lone.world.now)


def test_repetitions_and_gaps_are_not_acknowledged(lone: Party) -> None:
    usage = call(lone)
    invite = sent(lone)
    assert says(lone, reply(invite, **rel(180, 7))) == ['PRACK']
    assert says(lone, reply(invite, **rel(180, 7))) == []
    assert says(lone, reply(invite, **rel(183, 9, body=ANSWER))) == []
    assert says(lone, reply(invite, **rel(183, 6))) == []
    assert usage.remote_sdp == b''
    assert says(lone, reply(invite, **rel(183, 8, body=ANSWER))) == ['PRACK']
    assert says(lone, reply(invite, **rel(183, 9))) == ['PRACK']
    codes = [event.code for event in lone.events if event.kind == RESPONSE]
    assert codes == [180, 183, 183]
    usage.close(lone.world.now)


@pytest.mark.parametrize('lines_of', ['RSeq: 5', 'Require: 100rel', 'Require: other\r\nRSeq: 5'])
def test_a_response_is_reliable_only_with_both_fields(lone: Party, lines_of: str) -> None:
    call(lone)
    assert says(lone, reply(sent(lone), 180, extra=lines_of)) == []
    assert lone.last(RESPONSE).code == 180


@pytest.mark.parametrize('rseq', ['x', '', '-1', '99999999999999'])
def test_a_broken_rseq_is_dropped(lone: Party, rseq: str) -> None:
    usage = call(lone)
    assert says(lone, reply(sent(lone), 180, extra=f'Require: 100rel\r\nRSeq: {rseq}')) == []
    assert usage.state == 'calling'
    assert says(lone, reply(sent(lone), **rel(180, 1))) == ['PRACK']


def test_a_100_is_never_reliable(lone: Party) -> None:
    """4: "If the response is a 100 (Trying) ... this option tag MUST be ignored"."""
    call(lone)
    assert says(lone, reply(sent(lone), **rel(100, 5, ''))) == []
    assert says(lone, reply(sent(lone), **rel(183, 7))) == ['PRACK']


def test_an_invite_without_100rel_acknowledges_nothing(lone: Party) -> None:
    usage = call(lone, prack='off')
    assert says(lone, reply(sent(lone), **rel(180, 5))) == []
    assert usage.state == 'early'


def test_the_prack_goes_to_the_early_dialogs_contact_and_route_set(lone: Party) -> None:
    call(lone)
    routes = 'Record-Route: <sip:127.0.0.1:7002;lr>, <sip:127.0.0.1:7001;lr>'
    contact = '<sip:bob@127.0.0.9:7009>'
    data = reply(sent(lone), 183, extra=f'Require: 100rel\r\nRSeq: 5\r\n{routes}\r\nContact: {contact}', body=ANSWER)
    says(lone, data)
    prack = sent(lone, 'PRACK')
    assert prack.uri_text == 'sip:bob@127.0.0.9:7009'
    assert prack.get_all('Route') == ['<sip:127.0.0.1:7001;lr>', '<sip:127.0.0.1:7002;lr>']
    assert lone.world.messages[-1][1] == '127.0.0.1:7001'
    assert not prack.has('Contact') and prack.cseq.number == 2


def test_each_early_dialog_counts_for_itself(lone: Party) -> None:
    usage = call(lone)
    invite = sent(lone)
    for tag, rseq, port in (('one', 10, 7001), ('two', 90, 7002)):
        contact = f'<sip:{tag}@127.0.0.1:{port}>'
        assert says(lone, reply(invite, **rel(183, rseq, tag, ANSWER.replace(b'5000', str(port).encode()), contact)))
        assert sent(lone, 'PRACK').uri_text == f'sip:{tag}@127.0.0.1:{port}'
    assert says(lone, reply(invite, **rel(180, 11, 'one'))) == ['PRACK']
    assert sent(lone, 'PRACK').get('RAck') == '11 1 INVITE'
    assert {tag: b'7001' in dialog.session.remote for tag, dialog in usage.dialogs.items()} == {
        'one': True, 'two': False}
    # The call is that of the branch that answers, with what was agreed on there.
    says(lone, reply(invite, 200, tag='one'))
    assert usage.dialog.remote_tag == 'one' and b'7001' in usage.remote_sdp
    usage.bye(lone.world.now)


@pytest.mark.parametrize('code', [481, 408, 0])
def test_what_becomes_of_a_request_in_another_early_dialog_leaves_the_call_alone(lone: Party, code: int) -> None:
    """RFC 5057 5.1: a 481 or a time-out ends the dialog in which it came, which had lost already (13.2.2.4)."""
    usage = call(lone)
    invite = sent(lone)
    says(lone, reply(invite, 180, tag='one'), reply(invite, 180, tag='two'))
    exchange = usage.send_request('INFO', lone.world.now, dialog=usage.dialogs['one'])
    lone.world.flush()
    says(lone, reply(invite, 200, tag='two', body=ANSWER))
    if code:
        says(lone, reply(sent(lone, 'INFO'), code))
    else:
        lone.world.run(40)
    assert exchange.done and lone.events[-1].exchange is exchange
    assert usage.state == 'confirmed'
    usage.bye(lone.world.now)


@pytest.mark.parametrize('code', [200, 488])
def test_an_update_in_another_early_dialog_says_nothing_of_the_session(lone: Party, code: int) -> None:
    """RFC 6337 2.2: each dialog has offers and answers of its own; where the INVITE was answered its offer holds."""
    usage = call(lone)
    invite = sent(lone)
    says(lone, reply(invite, **rel(183, 10, 'one', OTHER)))
    says(lone, reply(sent(lone, 'PRACK'), 200))
    usage.send_request('UPDATE', lone.world.now, body=OFFER.replace(b'4000', b'4444'), content_type=SDP)
    lone.world.flush()
    says(lone, reply(invite, 200, tag='two', body=ANSWER))
    assert (usage.local_sdp, usage.remote_sdp) == (OFFER, ANSWER)
    says(lone, reply(sent(lone, 'UPDATE'), code, body=OTHER if code == 200 else b''))
    assert (usage.local_sdp, usage.remote_sdp) == (OFFER, ANSWER)
    usage.bye(lone.world.now)


@pytest.mark.parametrize('ended', [False, True])
def test_the_bye_of_a_fork_has_a_higher_number_than_its_pracks(lone: Party, ended: bool) -> None:
    """12.2.1.1; else it would get a 500 (12.2.2), and the phone of that branch would believe in its call for ever."""
    usage = call(lone)
    invite = sent(lone)
    says(lone, reply(invite, **rel(180, 10, 'one')), reply(invite, **rel(183, 11, 'one', ANSWER)))
    last = sent(lone, 'PRACK').cseq.number
    if ended:
        says(lone, reply(invite, 199, tag='one'))
    says(lone, reply(invite, 200, tag='two', body=ANSWER))
    assert says(lone, reply(invite, 200, tag='one')) == ['ACK', 'BYE']
    assert sent(lone, 'BYE').cseq.number == last + 1
    usage.bye(lone.world.now)


def test_a_dialog_that_comes_back_after_its_199_goes_on_counting(lone: Party) -> None:
    usage = call(lone)
    invite = sent(lone)
    says(lone, reply(invite, **rel(180, 10, 'one')), reply(invite, 199, tag='one'), reply(invite, 200, tag='one'))
    usage.bye(lone.world.now)
    lone.world.flush()
    assert sent(lone, 'BYE').cseq.number == sent(lone, 'PRACK').cseq.number + 1


def test_a_reinvite_that_is_given_up_before_it_went_takes_nothing_back(lone: Party) -> None:
    """It waited for the ACK of the peer's, whose session holds (14.1)."""
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 10, body=ANSWER)))
    says(lone, reply(sent(lone, 'PRACK'), 200), reply(sent(lone), 200))
    says(lone, ask(usage, 'INVITE', 5, body=OTHER))
    ours = ANSWER.replace(b'5000', b'8000')
    lone.core.respond(lone.events[-1].exchange, 200, lone.world.now, body=ours)
    lone.world.flush()
    usage.reinvite(lone.world.now, OFFER.replace(b'4000', b'9000')).cancel(lone.world.now)
    says(lone, ask(usage, 'ACK', 5))
    assert usage.session is not None and (usage.session.local, usage.session.remote) == (ours, OTHER)
    assert usage.local_sdp == ours
    usage.bye(lone.world.now)


def test_a_reliable_response_to_a_reinvite_after_our_bye(lone: Party) -> None:
    """It has no PRACK any more, and does no harm."""
    usage = call(lone)
    says(lone, reply(sent(lone), 200, body=ANSWER))
    usage.reinvite(lone.world.now, OTHER)
    lone.world.flush()
    says(lone, reply(sent(lone), 100))
    usage.bye(lone.world.now)
    lone.world.flush()
    assert says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER))) == []
    says(lone, reply(sent(lone), 487), reply(sent(lone, 'BYE'), 200))
    lone.world.run(100)
    assert lone.world.idle()


def test_forks_that_mean_harm_are_bounded(lone: Party) -> None:
    usage = call(lone)
    for number in range(50):
        says(lone, reply(sent(lone), **rel(183, 1, f'tag{number}', ANSWER)))
    most = lone.core.settings.max_forks
    assert sum(name_of(m) == 'PRACK' for _, _, m in lone.world.messages) == most == len(usage.dialogs)
    usage.close(lone.world.now)


def test_responses_that_nobody_acknowledges_are_bounded(lone: Party) -> None:
    usage = call(lone, auto_prack=False)
    for number in range(2 * MOST):
        says(lone, reply(sent(lone), **rel(183, 1 + number)))
    assert len(usage.invite.reliable.waiting) == MOST
    usage.close(lone.world.now)


def test_a_prack_that_fails_leaves_the_call_to_its_invite(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER)))
    says(lone, reply(sent(lone, 'PRACK'), 481))
    assert lone.last(RESPONSE).code == 481 and usage.state == 'early'
    says(lone, reply(sent(lone), 200))
    assert usage.state == 'confirmed'
    usage.bye(lone.world.now)


def test_a_late_481_for_the_prack_leaves_the_call_alone(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), **rel(180, 5)))
    prack = sent(lone, 'PRACK')
    says(lone, reply(sent(lone), 200, body=ANSWER), reply(prack, 481))
    assert usage.state == 'confirmed'
    usage.bye(lone.world.now)


def test_a_challenge_begins_anew(lone: Party) -> None:
    """4: the numbers are those of one request."""
    usage = call(lone, credentials=('a', 'b'))
    says(lone, reply(sent(lone), **rel(183, 5)))
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    assert says(lone, reply(sent(lone), 401, extra=challenge)) == ['ACK', 'INVITE']
    assert says(lone, reply(sent(lone), **rel(183, 700))) == ['PRACK']
    assert sent(lone, 'PRACK').get('RAck') == '700 2 INVITE'
    usage.close(lone.world.now)


def test_one_that_crosses_our_cancel_is_acknowledged(lone: Party) -> None:
    usage = call(lone)
    says(lone, reply(sent(lone), 100, tag=''))
    usage.cancel(lone.world.now)
    lone.world.flush()
    assert says(lone, reply(sent(lone), **rel(183, 5, body=ANSWER))) == ['PRACK']
    says(lone, reply(sent(lone), 487))
    assert isinstance(lone.last(ENDED).error, RequestTerminated)


def test_after_the_end_nothing_is_acknowledged(lone: Party) -> None:
    usage = call(lone, auto_prack=False)
    invite = sent(lone)
    says(lone, reply(invite, **rel(183, 5)))
    response = lone.last(RESPONSE).message
    says(lone, reply(invite, 486))
    with pytest.raises(WrongState):
        usage.prack(response, lone.world.now)
    assert says(lone, reply(invite, **rel(183, 6))) == []


def test_a_reliable_response_to_a_reinvite(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob)
    peer.respond(200, world.now, body=ANSWER)
    world.run(1)
    open_: list = []
    bob.on['INVITE'] = lambda event: open_.append(event.exchange)
    world.ladder()
    usage.reinvite(world.now, OTHER)
    world.run(0.1)
    bob.core.respond(open_[0], 183, world.now, body=ANSWER)
    bob.core.respond(open_[0], 200, world.now, body=ANSWER)
    with pytest.raises(WrongState):
        bob.core.respond(open_[0], 200, world.now, body=ANSWER)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 183 INVITE
        alice -> bob: PRACK
        bob -> alice: 200 PRACK
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)
    assert peer.remote_sdp == usage.local_sdp == OTHER
    # And one whose PRACK does not come is refused, but not the call.
    world.rule = lambda source, target, message: name_of(message) == 'PRACK'
    usage.reinvite(world.now, OFFER)
    world.run(0.1)
    bob.core.respond(open_[1], 183, world.now, body=ANSWER)
    world.run(40)
    assert header(bob, 'To', code=504) and usage.state == peer.state == 'confirmed'
    assert usage.local_sdp == OTHER
    world.rule = lambda source, target, message: False
    assert hung_up(world, usage)


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row that RFC 3262 adds for the caller."""
    assert never_walked(request, walked, ClientInvite, wanted=lambda row: row.event == '1xx reliable') == []
