"""Before the answer: reliable provisional responses, UPDATE, early dialogs of a fork, 199, Expires, as scripts."""

from __future__ import annotations

import pytest

from greensip.errors import (
    InviteExpired,
    NotAcceptable,
    RemoteCancel,
    RequestTerminated,
    ResponseError,
    ServerFailure,
    UsageError,
    WaitTimeout,
    WrongState,
)
from greensip.ua.agent import SUPPORTED

from .conftest import SDP, answering, sdp_of_port
from .peer import RawPeer

OURS = sdp_of_port(4002)
THEIRS = sdp_of_port(5002)


@pytest.fixture
def bob(agent):
    return agent('bob')


@pytest.fixture
def to_bob(net):
    return net.uri('bob')


@pytest.fixture
def carol(net):
    peer = RawPeer(net, 'carol')
    yield peer
    peer.close()


def titles(net, source=None):
    return [arrow.title for arrow in net.ladder.arrows if source in (None, arrow.source)]


def port_of(sdp):
    return int(sdp.split(b'm=audio ')[1].split()[0])


# -- the callee


def test_early_media_is_agreed_on_before_the_answer(alice, bob, to_bob, net):
    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.wait_for('PRACK')
        leg.ring()
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob, sdp=OURS) as leg:
        leg.wait_for('183')
        assert leg.answer == THEIRS and leg.state == 'early'
        assert leg.wait_for('200').message.body == b''
        net.clock.sleep(1)
        assert leg.answer == THEIRS and leg.local_sdp == OURS
        net.ladder.expect('''
            alice -> bob: INVITE
            bob -> alice: 183 INVITE
            alice -> bob: PRACK
            bob -> alice: 200 PRACK
            bob -> alice: 180 INVITE
            bob -> alice: 200 INVITE
            alice -> bob: ACK
        ''')
    net.clock.sleep(1)


def test_the_answer_does_not_block_and_waits_for_the_prack(alice, bob, to_bob, net):
    states = []

    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.answer()
        states.append(leg.state)
        leg.wait_for('ACK')
        states.append(leg.state)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=OURS) as leg:
        assert leg.answer == THEIRS
        net.clock.sleep(0.1)
    assert states == ['early', 'confirmed']
    assert titles(net, 'bob')[:3] == ['183 INVITE', '200 PRACK', '200 INVITE']
    net.clock.sleep(1)


@pytest.mark.parametrize('method', ['UPDATE', 'INVITE'])
def test_an_answer_other_than_what_was_agreed_on(alice, bob, carol, to_bob, net, method):
    """Another phone has answered than the one whose early media the caller has: the session is changed at once."""
    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.answer(sdp_of_port(5004))
        leg.wait_ended()

    bob.serve(handler, background=True)
    if method == 'UPDATE':
        with alice.call(to_bob, sdp=OURS) as leg:
            assert leg.response.body == b'' and leg.answer == THEIRS
            leg.wait_for('UPDATE')
            assert port_of(leg.answer) == 5004
            net.clock.sleep(1)
        assert 'INVITE' not in titles(net, 'bob')
        net.clock.sleep(1)
        return
    # One that does not know UPDATE
    carol.send(carol.request('INVITE', 'bob', body=SDP, Supported='100rel', Allow='INVITE, ACK, BYE, PRACK'),
               carol.to('bob'))
    progress = carol.expect('SIP/2.0 183')
    tag = progress.to_tag
    rack = f'{progress.get("RSeq")} 1 INVITE'
    carol.send(carol.request('PRACK', 'bob', to_tag=tag, cseq=2, branch='z9hG4bKp', RAck=rack))
    final = carol.expect('SIP/2.0 200 OK')
    while final.cseq.method != 'INVITE':
        final = carol.expect('SIP/2.0 200 OK')
    assert final.body == b''
    carol.send(carol.request('ACK', 'bob', to_tag=tag, branch='z9hG4bKa'))
    invite = carol.expect('INVITE')
    assert port_of(invite.body) == 5004
    carol.respond(invite, 200, body=SDP)
    carol.expect('ACK')
    carol.send(carol.request('BYE', 'bob', to_tag=tag, cseq=3, branch='z9hG4bKb'))
    net.clock.sleep(1)


def test_several_queue_up(alice, bob, to_bob, net):
    def handler(leg):
        leg.ring(reliable=True)
        leg.progress(181, reliable=True)
        leg.progress(182, reliable=True)
        leg.progress(sdp=THEIRS)
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=OURS) as leg:
        net.clock.sleep(1)
        assert [r.code for r in leg.responses] == [180, 181, 182, 183, 200]
        assert leg.answer == THEIRS and leg.responses[-1].body == b''
    assert titles(net, 'alice')[:6] == ['INVITE', 'PRACK', 'PRACK', 'PRACK', 'PRACK', 'ACK']
    net.clock.sleep(1)


@pytest.mark.parametrize('how', ['caller', 'call'])
def test_required(agent, bob, to_bob, net, how):
    alice = agent('alice', prack='required' if how == 'caller' else None)
    bob.serve(answering, background=True)
    with alice.call(to_bob, prack=None if how == 'caller' else 'required') as leg:
        assert 'Require: 100rel' in str(leg.invite)
        assert titles(net, 'alice')[:2] == ['INVITE', 'PRACK']
    net.clock.sleep(1)


def test_required_of_who_calls(alice, agent, to_bob):
    bob = agent('bob', prack='required')
    bob.serve(answering, background=True)
    with pytest.raises(ResponseError, match='421') as caught:
        alice.call(to_bob, prack='off')
    assert caught.value.response.get('Require') == '100rel'
    alice.call(to_bob).hangup()


@pytest.mark.parametrize('sdp', [OURS, b''])
def test_what_is_required_of_who_calls_is_done(alice, agent, to_bob, net, sdp):
    def handler(leg):
        leg.ring()
        leg.ring(181, reliable=False)
        leg.answer()
        leg.wait_ended()

    agent('bob', prack='required').serve(handler, background=True)
    leg = alice.call(to_bob, sdp=sdp)
    net.clock.sleep(1)
    assert [(r.code, r.has('RSeq')) for r in leg.responses] == [(180, True), (181, False), (200, False)]
    assert bool(leg.responses[0].body) == (not sdp), 'a late offer comes with the first reliable response'
    assert titles(net, 'alice')[:2] == ['INVITE', 'PRACK']
    leg.hangup()


def test_off(agent, to_bob, net):
    """Who does not do it refuses who requires it, and says nothing of it."""
    alice, bob = agent('alice', prack='off'), agent('bob', prack='off')
    failed = []

    def handler(leg):
        try:
            leg.ring(reliable=True)
        except UsageError as error:
            failed.append(str(error))
        leg.progress(sdp=THEIRS)
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob) as leg:
        assert '100rel' not in str(leg.invite) and 'PRACK' not in str(leg.invite)
    assert len(failed) == 1
    with pytest.raises(ResponseError, match='420') as caught:
        alice.call(to_bob, prack='required')
    assert caught.value.response.get('Unsupported') == '100rel'
    assert 'PRACK' not in titles(net)
    with pytest.raises(UsageError, match='prack='):
        alice.invite(to_bob, prack='sometimes')
    with pytest.raises(UsageError, match='prack='):
        agent('x', prack='yes')
    assert '100rel' in SUPPORTED and '199' in SUPPORTED


def test_a_caller_that_does_not_support_it(alice, bob, to_bob, net):
    failed = []

    def handler(leg):
        with pytest.raises(UsageError, match='100rel') as caught:
            leg.ring(reliable=True)
        failed.append(caught.value)
        leg.progress(sdp=THEIRS)
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, prack='off') as leg:
        assert leg.answer == THEIRS
    assert len(failed) == 1 and 'PRACK' not in titles(net)
    net.clock.sleep(1)


def test_the_caller_never_acknowledges(bob, carol, net):
    endings = []

    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.answer()
        endings.append(leg.wait_ended().error)

    bob.serve(handler, background=True)
    carol.send(carol.request('INVITE', 'bob', body=SDP, Supported='100rel'), carol.to('bob'))
    for _ in range(7):
        last = carol.expect('SIP/2.0 183')
    assert last.get('Require') == '100rel'
    final = carol.expect('SIP/2.0 504')
    carol.send(carol.request('ACK', 'bob', to_tag=final.to_tag), carol.to('bob'))
    net.clock.sleep(1)
    assert 'no PRACK' in str(endings[0])


def test_cancel_while_the_answer_waits_for_the_prack(bob, carol, net):
    endings = []

    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.answer()
        endings.append(leg.wait_ended().error)

    bob.serve(handler, background=True)
    carol.send(carol.request('INVITE', 'bob', body=SDP, Supported='100rel'), carol.to('bob'))
    tag = carol.expect('SIP/2.0 183').to_tag
    carol.send(carol.request('CANCEL', 'bob'), carol.to('bob'))
    final = carol.expect('SIP/2.0 487')
    carol.send(carol.request('ACK', 'bob', to_tag=final.to_tag), carol.to('bob'))
    net.clock.sleep(40)
    assert isinstance(endings[0], RemoteCancel)
    # Its PRACK comes too late.
    carol.send(carol.request('PRACK', 'bob', to_tag=tag, cseq=2, branch='z9hG4bKp', RAck='1 1 INVITE'), carol.to('bob'))
    assert carol.expect('SIP/2.0 481')
    assert '200 INVITE' not in titles(net)


def test_hanging_up_while_the_answer_waits_for_the_prack(bob, carol, net):
    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.answer()
        leg.hangup()

    bob.serve(handler, background=True)
    carol.send(carol.request('INVITE', 'bob', body=SDP, Supported='100rel'), carol.to('bob'))
    carol.expect('SIP/2.0 183')
    final = carol.expect('SIP/2.0 480')
    carol.send(carol.request('ACK', 'bob', to_tag=final.to_tag), carol.to('bob'))
    net.clock.sleep(1)
    assert '200 INVITE' not in titles(net)


def test_a_prack_that_matches_nothing(alice, bob, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        with pytest.raises(ResponseError, match='481'):
            leg.request('PRACK', headers={'RAck': '7 1 INVITE'})
        assert leg.request('INFO').code == 200


# -- offers in PRACK


def test_late_offer_in_a_183_is_answered_without_the_script(alice, bob, to_bob, net):
    answers = []

    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.wait_for('PRACK')
        answers.append(leg.remote_sdp)
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=b'') as leg:
        net.clock.sleep(0.1)
        assert leg.state == 'confirmed' and leg.remote_sdp == THEIRS and leg.local_sdp == answers[0]
        assert b'a=inactive' in answers[0]
        with pytest.raises(WrongState):
            leg.ack(OURS)
    net.clock.sleep(1)


def test_late_offer_and_a_callee_that_says_nothing_of_media(alice, bob, to_bob, net):
    """RFC 3262 5: where provisional responses are required, the first has the offer."""
    bob.serve(answering, background=True)
    with alice.call(to_bob, sdp=b'', prack='required'):
        net.clock.sleep(0.1)
    assert [bool(b'm=audio' in arrow.data) for arrow in net.ladder.arrows][:7] == [
        False, True, True, False, False, False, False]
    assert titles(net)[:5] == ['INVITE', '180 INVITE', 'PRACK', '200 PRACK', '200 INVITE']
    net.clock.sleep(1)


def test_late_offer_that_cannot_be_read_gives_the_call_up(alice, carol, net):
    with alice.invite(net.uri('carol'), sdp=b'') as leg:
        invite = carol.expect('INVITE')
        carol.respond(invite, 183, body=b'v=7\r\nnonsense', Require='100rel', RSeq='1')
        cancel = carol.expect('CANCEL')
        assert 'cause=488' in cancel.get('Reason')
        carol.respond(cancel, 200)
        carol.respond(invite, 487)
        with pytest.raises(RequestTerminated):
            leg.wait_for('200')


def test_the_script_acknowledges_and_offers(alice, bob, to_bob, net):
    def handler(leg):
        leg.progress(sdp=THEIRS)
        prack = leg.wait_for('PRACK')
        assert prack.message.body == OURS
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob, sdp=SDP, manual=('PRACK',)) as leg:
        event = leg.wait_for('183')
        net.clock.sleep(0.3)
        assert 'PRACK' not in titles(net)
        response = leg.prack(event, OURS)
        assert port_of(response.body) == 5002 and leg.local_sdp == OURS
        with pytest.raises(WrongState):
            leg.prack(event)
        with pytest.raises(WrongState):
            leg.prack()
        leg.wait_for('200')
        net.clock.sleep(0.1)
        assert leg.local_sdp == OURS
    net.clock.sleep(1)


def test_the_script_answers_the_late_offer(alice, bob, to_bob, net):
    def handler(leg):
        leg.progress(sdp=THEIRS)
        assert leg.wait_for('PRACK').message.body == OURS
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob, sdp=b'', manual=('PRACK',)) as leg:
        leg.wait_for('183')
        leg.prack(sdp=OURS)
        leg.wait_for('200')
        net.clock.sleep(0.1)
        assert leg.local_sdp == OURS and leg.remote_sdp == THEIRS
    net.clock.sleep(1)


def test_the_callees_script_answers_the_prack(alice, agent, to_bob, net):
    bob = agent('bob', manual=('PRACK',))

    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.answer()
        event = leg.wait_for('PRACK')
        leg._engine.clock.sleep(1)
        leg.respond(event, 200)
        leg.wait_ended()

    bob.serve(handler, background=True)
    began = net.clock.now()
    with alice.call(to_bob, sdp=OURS):
        assert net.clock.now() - began > 1
    net.clock.sleep(1)


def test_an_offer_in_a_prack_that_does_not_suit_us(bob, carol, net):
    """It can't be refused: the answer has no media (RFC 6337 table 2)."""
    bob.serve(lambda leg: (leg.progress(sdp=THEIRS), leg.wait_ended()), background=True)
    carol.send(carol.request('INVITE', 'bob', body=SDP, Supported='100rel'), carol.to('bob'))
    progress = carol.expect('SIP/2.0 183')
    video = SDP.replace(b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000', b'm=video 4000 RTP/AVP 99')
    carol.send(carol.request('PRACK', 'bob', to_tag=progress.to_tag, cseq=2, branch='z9hG4bKp', body=video,
                             RAck=f'{progress.get("RSeq")} 1 INVITE'), carol.to('bob'))
    answer = carol.expect('SIP/2.0 200')
    assert b'm=video 0 ' in answer.body
    carol.send(carol.request('CANCEL', 'bob'), carol.to('bob'))
    final = carol.expect('SIP/2.0 487')
    carol.send(carol.request('ACK', 'bob', to_tag=final.to_tag), carol.to('bob'))
    net.clock.sleep(1)


# -- UPDATE


def test_updates_both_ways_in_an_early_dialog(alice, bob, to_bob, net):
    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.wait_for('PRACK')
        leg.wait_for('UPDATE')
        assert port_of(leg.update(sdp_of_port(5010)).body) == 4010
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob, sdp=OURS) as leg:
        leg.wait_for('183')
        net.clock.sleep(0.1)
        assert port_of(leg.update(sdp_of_port(4010)).body) == 5002
        leg.wait_for('UPDATE')
        leg.wait_for('200')
        net.clock.sleep(0.1)
        assert port_of(leg.local_sdp) == 4010 and port_of(leg.remote_sdp) == 5010
        # And when it is answered.
        leg.hold(method='UPDATE')
        assert leg.state == 'held' and b'a=sendonly' in leg.local_sdp
        leg.resume(method='UPDATE')
        assert leg.state == 'confirmed'
        leg.hold()
        leg.resume()
        with pytest.raises(UsageError, match='method='):
            leg.hold(method='INFO')
    assert [title for title in titles(net, 'alice') if title not in ('200 UPDATE', 'BYE')] == [
        'INVITE', 'PRACK', 'UPDATE', 'ACK', 'UPDATE', 'UPDATE', 'INVITE', 'ACK', 'INVITE', 'ACK']
    net.clock.sleep(1)


def test_an_update_with_an_offer_too_early(alice, bob, to_bob, net):
    """RFC 3311 5.1: our first offer has no answer yet."""
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with alice.invite(to_bob, sdp=OURS) as leg:
        leg.wait_for('180')
        with pytest.raises(WrongState, match='UAC-IU'):
            leg.update(OURS)
        assert leg.update().code == 200
    net.clock.sleep(1)


def test_updates_that_cross_wait_and_try_again(alice, bob, to_bob, net):
    """RFC 3311 5.3: 491 both ways; the owner of the Call-ID waits longer."""
    codes = []

    def handler(leg):
        leg.answer(THEIRS)
        leg.wait_for('ACK')
        leg._engine.clock.sleep(1)
        codes.append(leg.update(sdp_of_port(5010)).code)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=OURS) as leg:
        net.clock.sleep(0.01)
        while net.clock.now() < 1.0 + leg.timings.answered:
            net.clock.sleep(1.0 + leg.timings.answered - net.clock.now())
        assert leg.update(sdp_of_port(4010)).code == 200
        net.clock.sleep(5)
        assert port_of(leg.remote_sdp) == 5010 and port_of(leg.local_sdp) == 4010
    assert codes == [200]
    assert titles(net).count('491 UPDATE') == 2
    net.clock.sleep(1)


def test_a_refused_update_changes_nothing(alice, bob, to_bob, net):
    bob.serve(answering, background=True)
    with alice.call(to_bob, sdp=OURS) as leg:
        before = leg.local_sdp
        video = SDP.replace(b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000', b'm=video 4000 RTP/AVP 99')
        with pytest.raises(NotAcceptable):
            leg.update(video)
        assert leg.local_sdp == before == OURS
        assert leg.update(sdp_of_port(4010)).code == 200
    net.clock.sleep(1)


# -- forks and 199


def fork(carol, net, invite, *tags):
    for number, tag in enumerate(tags):
        carol.respond(invite, 183, tag=tag, body=sdp_of_port(7000 + 2 * number), Require='100rel', RSeq='1')
    for _ in tags:
        carol.respond(carol.expect('PRACK'), 200)


def test_early_dialogs_of_a_fork(alice, carol, net):
    with alice.invite(net.uri('carol'), sdp=OURS) as leg:
        invite = carol.expect('INVITE')
        fork(carol, net, invite, 'one', 'two')
        leg.wait_for('183')
        leg.wait_for('183')
        assert list(leg.early) == ['one', 'two']
        one, two = leg.early.values()
        assert (one.tag, port_of(one.sdp), port_of(two.sdp)) == ('one', 7000, 7002)
        assert one.target == two.target and [r.code for r in one.responses] == [183]
        # The first of them is asked, though the second was heard last.
        net.clock.timer(0.05, lambda: carol.respond(carol.expect('UPDATE'), 200, body=sdp_of_port(7010)))
        assert one.update(sdp_of_port(4010)).code == 200
        assert port_of(one.sdp) == 7010 and port_of(two.sdp) == 7002
        assert not one.ended
        # Nothing is read before it is there.
        carol.respond(invite, 199, tag='two', Reason='SIP;cause=486')
        leg.wait_for('199')
        assert two.ended and list(leg.early) == ['one']
        carol.respond(invite, 200, tag='one')
        leg.wait_for('200')
        carol.expect('ACK')
        assert port_of(leg.answer) == 7010 and port_of(leg.local_sdp) == 4010
        assert repr(one).startswith('<EarlyDialog one sip:')
        net.clock.timer(0.05, lambda: carol.respond(carol.expect('BYE'), 200))
    net.clock.sleep(1)


def test_several_phones_answer_and_each_is_a_leg(alice, carol, net):
    with alice.invite(net.uri('carol'), sdp=OURS, forks='all') as leg:
        invite = carol.expect('INVITE')
        fork(carol, net, invite, 'one', 'two')
        carol.respond(invite, 200, tag='one')
        carol.respond(invite, 200, tag='two')
        leg.wait_for('200')
        event = leg.wait_for('forked')
        other, = leg.forks
        assert event.message.to_tag == 'two' and other.remote.tag == 'two' and leg.remote.tag == 'one'
        assert other.state == leg.state == 'confirmed'
        assert (port_of(leg.answer), port_of(other.answer)) == (7000, 7002)
        assert set(alice.legs) == {leg, other} and other.wait_for('200')
        net.clock.timer(0.05, lambda: carol.respond(carol.expect('INFO'), 200))
        assert other.request('INFO').code == 200
        leg.hangup()
        carol.respond(carol.expect('BYE'), 200)
        leg.wait_ended()
        assert other.state == 'confirmed'
    # The scope ends them all.
    carol.respond(carol.expect('BYE'), 200)
    net.clock.sleep(1)
    assert other.ended
    with pytest.raises(UsageError, match='forks='):
        alice.invite(net.uri('carol'), forks='some')


def test_sdp_of_a_fork_without_reliable_responses(alice, carol, net):
    with alice.invite(net.uri('carol'), sdp=OURS, prack='off') as leg:
        invite = carol.expect('INVITE')
        carol.respond(invite, 183, tag='one', body=THEIRS)
        carol.respond(invite, 180, tag='two')
        carol.respond(invite, 180, tag='one')
        leg.wait_for('180'), leg.wait_for('180')
        assert leg.early['one'].sdp == THEIRS and leg.early['two'].sdp == b''
        carol.respond(invite, 486, tag='one')
        with pytest.raises(ResponseError):
            leg.wait_for('200')
        assert leg.early == {}


def test_a_callee_says_199(alice, bob, to_bob, net):
    failed = []

    def handler(leg):
        leg.ring()
        try:
            leg.progress(199)
        except UsageError as error:
            failed.append(str(error))
        leg.progress(199, headers={'Reason': 'SIP;cause=486'})
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob) as leg:
        leg.wait_for('180')
        leg.wait_for('199')
        assert leg.early == {} and leg.state == 'calling'
    assert 'says why' in failed[0]
    net.clock.sleep(1)


def test_a_199_is_not_for_everybody(agent, bob, to_bob):
    alice = agent('alice', supported=('100rel',))
    failed = []

    def handler(leg):
        try:
            leg.progress(199, headers={'Reason': 'SIP;cause=486'})
        except UsageError as error:
            failed.append(str(error))
        leg.reject(486)

    bob.serve(handler, background=True)
    with pytest.raises(ResponseError):
        alice.call(to_bob)
    assert 'RFC 6228' in failed[0]


def test_a_199_of_one_phone_is_not_passed_on(alice, agent, carol, net):
    """To the caller the phones that we ring are one."""
    middle = agent('middle')

    def handler(a):
        with middle.invite(net.uri('carol'), sdp=a.offer, progress_to=a) as b:
            b.wait_for('200')

    middle.serve(handler, background=True)
    with alice.invite(net.uri('middle')) as leg:
        invite = carol.expect('INVITE')
        carol.respond(invite, 180, tag='one')
        carol.respond(invite, 199, tag='one', Reason='SIP;cause=486')
        leg.wait_for('180')
        with pytest.raises(WaitTimeout):
            leg.wait_for('199', timeout=1)
        carol.respond(invite, 486, tag='one')
        carol.expect('ACK')
        with pytest.raises(ResponseError):
            leg.wait_for('200')


# -- Expires


def test_an_invitation_that_expires(alice, bob, to_bob, net):
    endings = []

    def handler(leg):
        leg.ring()
        try:
            leg.wait_for('CANCEL')
        except InviteExpired as error:
            endings.append(error)

    bob.serve(handler, background=True)
    with pytest.raises(RequestTerminated):
        alice.call(to_bob, headers={'Expires': '5'})
    assert net.clock.now() >= 5 and endings[0].status == 487
    assert 'CANCEL' not in titles(net)


def test_the_caller_gives_up(alice, carol, net):
    with alice.invite(net.uri('carol'), expires=5) as leg:
        invite = carol.expect('INVITE')
        assert invite.get('Expires') == '5'
        carol.respond(invite, 180)
        cancel = carol.expect('CANCEL')
        carol.respond(cancel, 200)
        carol.respond(invite, 487)
        with pytest.raises(RequestTerminated):
            leg.wait_for('200')
    assert 5 <= net.clock.now() < 6


def test_strict_scripts_need_not_mention_the_chores(alice, bob, to_bob, net):
    def handler(leg):
        leg.progress(sdp=THEIRS)
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob, strict=True) as leg:
        leg.wait_for('183')
        leg.wait_for('200')
    net.clock.sleep(1)


def test_no_prack_ever_and_the_caller_hears_of_it(alice, bob, to_bob, net):
    bob.serve(lambda leg: (leg.progress(sdp=THEIRS), leg.wait_ended()), background=True)
    with alice.invite(to_bob, sdp=OURS, manual=('PRACK',)) as leg:
        leg.wait_for('183')
        with pytest.raises(ServerFailure):
            leg.wait_for('200')
    assert titles(net, 'bob').count('183 INVITE') == 7


def test_an_unreliable_description_is_not_passed_on_as_the_answer(alice, agent, carol, net):
    """Another phone may yet answer with another one; who requires reliable responses gets what there is."""
    middle = agent('middle')

    def handler(a):
        with middle.invite(net.uri('carol'), sdp=a.offer, progress_to=a) as b:
            a.answer(like=b.wait_for('200'))
            a.wait_ended()

    middle.serve(handler, background=True)
    for mode, wanted in (('supported', [False]), ('required', [True])):
        with alice.invite(net.uri('middle'), prack=mode) as leg:
            invite = carol.expect('INVITE')
            carol.respond(invite, 183, tag='one', body=THEIRS)
            assert [leg.wait_for('183').message.has('RSeq')] == wanted
            carol.respond(invite, 200, tag='two', body=sdp_of_port(5004))
            leg.wait_for('200')
            carol.expect('ACK')
            assert port_of(leg.answer) == (5004 if mode == 'supported' else 5002)
        carol.respond(carol.expect('BYE'), 200)
        net.clock.sleep(1)


def test_a_description_in_a_prack_that_means_nothing_has_no_answer(bob, carol, net):
    bob.serve(lambda leg: (leg.ring(reliable=True), leg.wait_ended()), background=True)
    carol.send(carol.request('INVITE', 'bob', body=SDP, Supported='100rel'), carol.to('bob'))
    progress = carol.expect('SIP/2.0 180')
    carol.send(carol.request('PRACK', 'bob', to_tag=progress.to_tag, cseq=2, branch='z9hG4bKp', body=OURS,
                             RAck=f'{progress.get("RSeq")} 1 INVITE'), carol.to('bob'))
    assert carol.expect('SIP/2.0 200').body == b''
    carol.send(carol.request('CANCEL', 'bob'), carol.to('bob'))
    final = carol.expect('SIP/2.0 487')
    carol.send(carol.request('ACK', 'bob', to_tag=final.to_tag), carol.to('bob'))
    net.clock.sleep(1)
