"""RFC 3262, reliable provisional responses, RFC 6228 and the Expires of an INVITE, as ladders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greensip.dialog import ENDED, REQUEST, RESPONSE
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.invite_server import ServerInvite
from greensip.dialog.reliable import MOST
from greensip.errors import (
    InviteExpired,
    LocalHangup,
    RemoteCancel,
    RequestTerminated,
    ServerFailure,
    TransactionTimeout,
    UsageError,
    WrongState,
)
from greensip.message import Request, Response

from .conftest import Party, World, lines, name_of, walking
from .test_invite import ANSWER, OFFER, PEER, ask, reply, says, sent

SDP = 'application/sdp'
OTHER = OFFER.replace(b'4000', b'6000')
#: what these ladders are about; the rest of both machines is walked in test_invite.py
EVENTS = {'1xx reliable', '199', 'last 199', 'respond reliable', 'hold 2xx', 'no prack', 'expired'}


@pytest.fixture(scope='module', autouse=True)
def walked() -> Iterator[set[tuple[str, str, str]]]:
    with walking() as arrows:
        yield arrows


def speaks(party: Party, *tags: str) -> Party:
    """A party that knows the extensions; its PRACKs and UPDATEs are answered as a program would."""
    core = party.core
    core.configure(supported=tags or ('100rel', '199'), allow=[*core.allow, 'PRACK'])

    def prack(event):
        session = event.subject.session
        offered = session is not None and session.state == 'offer received'
        core.respond(event.exchange, 200, party.world.now, body=ANSWER if offered else b'')

    party.on['PRACK'] = prack
    party.on['UPDATE'] = lambda event: core.respond(
        event.exchange, 200, party.world.now, body=ANSWER if event.message.body else b'')
    return party


@pytest.fixture
def alice(world: World) -> Party:
    return speaks(world.party('alice', 5060))


@pytest.fixture
def bob(world: World) -> Party:
    return speaks(world.party('bob', 5080))


@pytest.fixture
def lone(world: World) -> Party:
    """Alice, whose peer is played by the test."""
    return speaks(world.party('alice', 5060))


def call(alice: Party, bob: Party | None = None, **options) -> ClientInvite:
    options.setdefault('body', OFFER)
    usage = alice.core.invite(bob.uri if bob else 'sip:bob@127.0.0.1:5080', alice.world.now, from_=alice.uri, **options)
    alice.world.flush()
    return usage


def progress(bob: Party, usage: ServerInvite, code: int = 183, **options) -> None:
    usage.respond(code, bob.world.now, **options)
    bob.world.flush()


def ringing(world: World, alice: Party, bob: Party, **options) -> tuple[ClientInvite, ServerInvite]:
    """Bob has the INVITE and has said nothing."""
    usage = call(alice, bob, **options)
    world.run(0.02)
    return usage, bob.last('incoming').subject


def header(party: Party, name: str, method: str = 'INVITE', code: int = 0) -> str | None:
    """That header field of the last such message of the party."""
    for source, _, message in reversed(party.world.messages):
        if source == party.name and name_of(message) == (f'{code} {method}' if code else method):
            return message.get(name)
    raise AssertionError(f'{party.name} sent no {code or ""} {method}')


def hung_up(world: World, *usages) -> bool:
    """Ends the calls; nothing may be left."""
    for usage in usages:
        usage.close(world.now)
    world.run(200)
    return world.idle()


# both sides


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


# offers and answers in PRACK


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


def test_the_prack_has_credentials(lone: Party) -> None:
    usage = call(lone, credentials=('a', 'b'))
    says(lone, reply(sent(lone), 183, body=ANSWER, extra='Require: 100rel\r\nRSeq: 5'))
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    assert says(lone, reply(sent(lone, 'PRACK'), 401, extra=challenge)) == ['PRACK']
    assert sent(lone, 'PRACK').has('Authorization') and sent(lone, 'PRACK').get('RAck') == '5 1 INVITE'
    usage.close(lone.world.now)


# the caller, and a peer that is played here


def rel(code: int, rseq: int, tag: str = 'peer', body: bytes = b'', contact: str = '') -> dict:
    extra = f'Require: 100rel\r\nRSeq: {rseq}' + (f'\r\nContact: {contact}' if contact else '')
    return {'code': code, 'tag': tag, 'extra': extra, 'body': body}


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


# the callee, and a caller that is played here


def incoming(bob: Party, extra: str = 'Supported: 100rel', body: bytes = OFFER) -> tuple[bytes, ServerInvite]:
    head = [
        'INVITE sip:bob@127.0.0.1 SIP/2.0', 'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKi1', 'Max-Forwards: 70',
        'From: <sip:carol@127.0.0.1>;tag=c', 'To: <sip:bob@127.0.0.1>', 'Call-ID: i1', 'CSeq: 17 INVITE',
        'Contact: <sip:carol@127.0.0.1:5080>', extra]
    if body:
        head.append(f'Content-Type: {SDP}')
    data = '\r\n'.join([*head, f'Content-Length: {len(body)}']).encode() + b'\r\n\r\n' + body
    bob.world.inject(data, PEER, bob)
    return data, bob.last('incoming').subject


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
        cancel = sent_cancel(usage)
        assert says(bob, cancel) == ['200 CANCEL', '487 INVITE']
    else:
        usage.respond(486, bob.world.now)
    bob.world.run(10 if how != 'again' else 40)
    assert not bob.core.usages and not bob.core.dialogs
    assert says(bob, wrong) == ['481 PRACK']
    assert says(bob, prack) == ['200 PRACK' if how != 'again' else '481 PRACK']
    assert says(bob, ask(usage, 'PRACK', 20, extra=f'RAck: {rseq} 17 INVITE')) == ['481 PRACK']
    assert not bob.core.late_pracks


def sent_cancel(usage: ServerInvite) -> bytes:
    """A CANCEL of the INVITE that made the usage."""
    lines_ = ['CANCEL sip:bob@127.0.0.1 SIP/2.0', 'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKi1',
              'From: <sip:carol@127.0.0.1>;tag=c', 'To: <sip:bob@127.0.0.1>', 'Call-ID: i1', 'CSeq: 17 CANCEL']
    return '\r\n'.join([*lines_, 'Content-Length: 0']).encode() + b'\r\n\r\n'


# 199


def test_a_199_ends_one_early_dialog(lone: Party) -> None:
    usage = call(lone)
    invite = sent(lone)
    for tag in ('one', 'two'):
        says(lone, reply(invite, 180, tag=tag))
    says(lone, reply(invite, 199, tag='two', extra='Reason: SIP;cause=486'))
    assert set(usage.dialogs) == {'one'} and usage.dialog.remote_tag == 'one'
    assert usage.state == 'early' and lone.last(RESPONSE).code == 199
    says(lone, reply(invite, 199, tag='one'))
    assert usage.dialog is None and usage.state == 'proceeding' and not lone.core.dialogs
    # One for what is not there is discarded.
    count = len(lone.events)
    says(lone, reply(invite, 199, tag='one'), reply(invite, 199, tag='never'))
    assert len(lone.events) == count
    says(lone, reply(invite, 200, tag='three', body=ANSWER))
    assert usage.state == 'confirmed' and usage.dialog.remote_tag == 'three'
    usage.bye(lone.world.now)


def test_a_request_in_a_dialog_that_a_199_ended_gets_481(lone: Party) -> None:
    """RFC 6228 7: as if the final response had come."""
    usage = call(lone)
    says(lone, reply(sent(lone), 180, tag='one'), reply(sent(lone), 180, tag='two'))
    update = ask(usage, 'UPDATE', 7, tag='one')
    says(lone, reply(sent(lone), 199, tag='one'))
    assert says(lone, update) == ['481 UPDATE']
    usage.close(lone.world.now)


def test_a_reliable_199_is_acknowledged_even_where_there_is_no_dialog(lone: Party) -> None:
    usage = call(lone)
    assert says(lone, reply(sent(lone), **rel(199, 5, 'unknown'))) == ['PRACK']
    assert usage.dialogs == {} and usage.state == 'calling'
    says(lone, reply(sent(lone), **rel(180, 8, 'known')))
    assert says(lone, reply(sent(lone), **rel(199, 9, 'known'))) == ['PRACK']
    assert usage.dialogs == {} and usage.state == 'proceeding'
    usage.close(lone.world.now)


def test_a_199_while_we_cancel(lone: Party) -> None:
    usage = call(lone)
    for tag in ('one', 'two'):
        says(lone, reply(sent(lone), 180, tag=tag))
    usage.cancel(lone.world.now)
    says(lone, reply(sent(lone), 199, tag='two'))
    assert set(usage.dialogs) == {'one'}
    says(lone, reply(sent(lone), 199, tag='one'))
    assert usage.state == 'cancelling' and not lone.core.dialogs
    says(lone, reply(sent(lone), 487))
    assert usage.state == 'terminated'


def test_who_does_not_know_199_takes_it_for_progress(world: World) -> None:
    party = speaks(world.party('alice', 5060), '100rel')
    usage = call(party)
    says(party, reply(sent(party), 180), reply(sent(party), 199))
    assert usage.state == 'early' and len(usage.dialogs) == 1
    usage.close(world.now)


# Expires (13.2.1, 13.3.1)


def test_an_invitation_that_expires_at_the_callee(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob, headers=[('Expires', '3')])
    progress(bob, peer, 180)
    world.run(5)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 487 INVITE
        alice -> bob: ACK
    """)
    assert isinstance(bob.last(ENDED).error, InviteExpired)
    assert isinstance(alice.last(ENDED).error, RequestTerminated)
    assert usage.state == 'terminated'


def test_one_that_expires_before_anything_was_said_and_one_whose_2xx_waits(world: World, bob: Party) -> None:
    alice = speaks(world.party('alice', 5060))
    _, peer = ringing(world, alice, bob, headers=[('Expires', '1')])
    world.run(2)
    assert peer.state == 'terminated' and isinstance(bob.last(ENDED).error, InviteExpired)
    world.rule = lambda source, target, message: name_of(message) == 'PRACK'
    _, peer = ringing(world, alice, bob, headers=[('Expires', '1')])
    progress(bob, peer, body=ANSWER)
    peer.respond(200, world.now)
    world.run(2)
    assert peer.state == 'terminated' and isinstance(bob.last(ENDED).error, InviteExpired)
    world.run(100)
    assert world.idle()


def test_the_caller_gives_up_when_it_expires(world: World, alice: Party) -> None:
    usage = call(alice, expires=3)
    says(alice, reply(sent(alice), 180))
    assert header(alice, 'Expires') == '3'
    world.ladder()
    world.run(5)
    assert world.ladder()[0] == 'alice -> 127.0.0.1:5080: CANCEL'
    says(alice, reply(sent(alice), 487))
    assert usage.state == 'terminated'


def test_an_answered_call_does_not_expire(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob, expires=3)
    peer.respond(200, world.now, body=ANSWER)
    world.run(60)
    assert usage.state == peer.state == 'confirmed'
    assert hung_up(world, usage)
    assert isinstance(alice.last(ENDED).error, LocalHangup)


def test_a_broken_expires_is_a_bad_request(world: World, alice: Party, bob: Party) -> None:
    call(alice, bob, headers=[('Expires', 'soon')])
    world.run(1)
    assert world.ladder()[1] == 'bob -> alice: 400 INVITE'
    assert not bob.core.usages


def test_a_prack_is_a_request_event_like_any_other(world: World, alice: Party, bob: Party) -> None:
    usage, peer = ringing(world, alice, bob)
    progress(bob, peer, body=ANSWER)
    world.run(0.1)
    event = bob.last(REQUEST)
    assert isinstance(event.message, Request) and event.name == 'PRACK' and event.subject is peer
    assert hung_up(world, usage)


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the ladders above go along each row that RFC 3262, RFC 6228 and Expires add."""
    here = [item for item in request.session.items if item.path == request.path]
    source = request.path.read_text()
    if len({item.originalname for item in here if isinstance(item, pytest.Function)}) < source.count('\ndef test_'):
        pytest.skip('only some of the ladders were run')
    for machine in (ClientInvite, ServerInvite):
        missing = [row[:3] for row in machine.rows if (row.event in EVENTS or row.state == 'answering')
                   and (machine.__name__, row.state, row.event) not in walked]
        assert not missing, '\n'.join(map(str, missing))
