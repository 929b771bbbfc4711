"""Calls between two user agents: what the verbs put on the wire, and what the attributes say."""

from __future__ import annotations

import gevent
import pytest

from greensip.errors import (
    Busy,
    LocalHangup,
    NotAcceptable,
    ParseError,
    RemoteCancel,
    RemoteHangup,
    RequestTerminated,
    ResponseError,
    TransactionTimeout,
    TransportError,
    UnexpectedMessage,
    UsageError,
    WaitTimeout,
    WrongState,
)
from greensip.message import parse_uri
from greensip.sdp import parse_sdp
from greensip.ua.incoming import IncomingLeg
from greensip.ua.leg import Leg
from greensip.ua.outgoing import OutgoingLeg

from .conftest import SDP, answering, sdp_of_port


def test_a_call_from_end_to_end(alice, bob, net, to_bob):
    def handler(leg):
        leg.ring()
        net.clock.sleep(2)
        leg.answer(sdp=sdp_of_port(6000))
        leg.wait_for('BYE')

    bob.serve(handler, background=True)
    with alice.invite(to_bob, sdp=SDP) as leg:
        assert leg.state == 'calling'
        assert leg.wait_for('18x', timeout=10).code == 180
        assert leg.state == 'early'
        assert leg.wait_for('200', timeout=10).message.reason == 'OK'
        assert leg.state == 'confirmed' and leg.answer == sdp_of_port(6000) and leg.offer == SDP
    assert leg.state == 'ended'
    net.clock.sleep(1)
    net.ladder.expect('''
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        2.010 bob -> alice: 200 INVITE
        alice -> bob: ACK
        alice -> bob: BYE
        bob -> alice: 200 BYE
    ''')
    assert isinstance(leg.error, LocalHangup)
    assert leg.timings == (0.0, pytest.approx(0.02), pytest.approx(0.02), pytest.approx(2.02), pytest.approx(2.04))
    assert leg.timings.duration == pytest.approx(0.02)
    assert [response.code for response in leg.responses] == [180, 200]


def test_attributes_of_both_legs(alice, bob, net, to_bob):
    legs = []

    def handler(leg):
        legs.append(leg)
        leg.ring()
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob, from_='"Alice" <sip:alice@example.com>', headers={'Subject': 'Lunch', 'X-Id': ['1', '2']},
                      sdp=SDP) as a:
        a.wait_for('200')
        b, = legs
        assert isinstance(a, OutgoingLeg) and isinstance(b, IncomingLeg) and isinstance(b, Leg)
        assert a.call_id == b.call_id == a.invite.call_id
        assert b.from_.display == 'Alice' and b.to.uri.user == 'bob'
        assert (a.local.uri, a.remote.uri) == (b.remote.uri, b.local.uri)
        assert a.local.tag == b.remote.tag and a.remote.tag == b.local.tag and a.remote.tag
        assert b.headers['subject'] == 'Lunch' and b.headers.all('X-Id') == ['1', '2']
        assert 'Subject' in b.headers and 'Nothing' not in b.headers and 'Via' in list(b.headers)
        assert a.headers['Server'] == 'greensip'
        assert b.source == (net.address('alice'), 5060)
        assert b.offer == SDP and b.response.code == 200 and a.response.code == 200
        assert a.reason is None
    b.wait_ended()
    assert b.reason == 'the peer hung up'


def test_default_descriptions_say_that_there_is_no_media(alice, bob, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        for sdp in leg.offer, leg.answer:
            description = parse_sdp(sdp)
            assert description.direction_of(description.media[0]) == 'inactive'
            assert description.media[0].port == 9


@pytest.mark.parametrize(('code', 'error'), [(486, Busy), (488, NotAcceptable), (699, ResponseError)])
def test_reject(alice, bob, to_bob, code, error):
    bob.serve(lambda leg: leg.reject(code, headers={'Reason': 'Q.850;cause=17'}), background=True)
    with pytest.raises(error) as caught:
        alice.call(to_bob, timeout=5)
    assert caught.value.code == code and caught.value.response.get('Reason') == 'Q.850;cause=17'


def test_a_final_response_that_was_asked_for_returns(alice, bob, to_bob):
    bob.serve(lambda leg: leg.reject(486), background=True)
    with alice.invite(to_bob) as leg:
        assert leg.wait_for('200', '4xx-6xx').code == 486
        assert leg.response.code == 486 and leg.wait_ended().error.code == 486


def test_text_of_a_timeout_names_the_peer(alice, bob, net, to_bob):
    bob.serve(lambda leg: (net.clock.sleep(0.38), leg.ring(), leg.wait_ended()), background=True)
    with alice.invite(to_bob) as leg, pytest.raises(WaitTimeout) as caught:
        leg.wait_for('200', timeout=20)
    assert str(caught.value) == f'no 200 within 20 s from {to_bob} (seen 100 at +0.2 s, 180 at +0.4 s)'


def test_like_passes_on_what_another_leg_was_told(agent, net):
    alice, middle, bob = agent('alice'), agent('middle'), agent('bob')
    bob.serve(lambda leg: leg.reject(486, 'On the beach', headers=[('Retry-After', '120'), ('X-Mood', 'sunny')],
                                     body='hello', content_type='text/plain'), background=True)

    def handler(a):
        try:
            middle.call(net.uri('bob'))
        except Busy as error:
            a.reject(error.code, like=error.response)

    middle.serve(handler, background=True)
    with pytest.raises(Busy) as caught:
        alice.call(net.uri('middle'))
    response = caught.value.response
    assert (response.reason, response.get('Retry-After'), response.get('X-Mood')) == ('On the beach', '120', 'sunny')
    assert response.body == b'hello' and response.get('Content-Type') == 'text/plain'
    assert len(response.get_all('Via')) == 1 and response.get_all('Server') == ['greensip']


def test_progress_with_early_media_comes_again_in_the_answer(alice, bob, to_bob):
    bob.serve(lambda leg: (leg.progress(183, sdp=sdp_of_port(7000)), leg.answer(), leg.wait_ended()), background=True)
    with alice.invite(to_bob, sdp=SDP) as leg:
        leg.wait_for('183')
        assert leg.answer == sdp_of_port(7000)
        leg.wait_for('200')
        assert leg.answer == sdp_of_port(7000)


def test_verbs_at_the_wrong_moment(alice, bob, net, to_bob):
    failures = []

    def handler(leg):
        for verb in (lambda: leg.answer(code=302), lambda: leg.ring(code=200), lambda: leg.reject(200),
                     lambda: leg.redirect([]), lambda: leg.redirect('sip:x@y', 404),
                     lambda: leg.ring(headers={'Via': 'mine'}), lambda: leg.ring(headers={'X-A': 'a\r\nB: c'}),
                     lambda: leg.ring(headers=7)):
            with pytest.raises(UsageError):
                verb()
        leg.answer()
        for verb in leg.answer, leg.reject, leg.ring:
            with pytest.raises(WrongState):
                verb()
        failures.append('none')
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob) as leg:
        with pytest.raises(WrongState):
            leg.cancel()
        with pytest.raises(WrongState):
            leg.ack()
    with pytest.raises(LocalHangup):
        leg.wait_ended() and leg.request('INFO')
    assert failures == ['none']


def test_what_needs_later_work_is_refused_with_a_sentence(alice, bob, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        with pytest.raises(UsageError, match='audio: greensip has no media yet'):
            leg.audio  # noqa: B018
        with pytest.raises(UsageError, match='send_dtmf: greensip has no media yet'):
            leg.send_dtmf('1')
        with pytest.raises(UsageError, match="'dtmf': greensip has no media yet"):
            leg.wait_for('dtmf', 'BYE')
        assert not hasattr(leg, 'audio') and not hasattr(leg, 'nonsense')


def test_hangup_with_a_reason(alice, bob, to_bob):
    reasons = []

    def handler(leg):
        leg.answer()
        reasons.append(leg.wait_ended().error.reason)

    bob.serve(handler, background=True)
    for reason in 'Q.850;cause=16;text="bye"', 'the cat "Tom" left', None:
        leg = alice.call(to_bob)
        leg.hangup(reason)
        leg.hangup(reason)
        assert leg.state == 'ended'
        leg.wait_ended(timeout=2)
        leg.hangup()
    assert reasons == ['Q.850;cause=16;text="bye"', 'SIP;text="the cat \\"Tom\\" left"', None]


def test_hangup_refuses_a_caller_who_was_not_answered(alice, bob, to_bob):
    bob.serve(lambda leg: leg.hangup(code=603), background=True)
    with alice.invite(to_bob) as leg:
        assert leg.wait_for('3xx-6xx').code == 603


def test_the_answer_to_our_bye_can_be_waited_for(alice, bob, to_bob):
    bob.serve(answering, background=True)
    with alice.invite(to_bob, strict=True) as leg:
        leg.wait_for('180')
        leg.wait_for('200')
        leg.hangup()
        assert leg.wait_for('200').message.cseq.method == 'BYE'


def test_hanging_up_wakes_others_who_wait_on_the_leg(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    leg = alice.call(to_bob)
    net.lose('BYE', 3)
    waiting, ended = gevent.spawn(leg.wait_for, 'INFO'), gevent.spawn(leg.wait_ended)
    net.clock.sleep(1)
    now = net.clock.now()
    leg.hangup()
    with pytest.raises(LocalHangup):
        waiting.get()
    assert isinstance(ended.get().error, LocalHangup)
    assert net.clock.now() == now and not leg.ended
    leg.wait_ended()


# -- inside the call

def test_requests_inside_the_dialog_are_answered_without_the_script(alice, bob, to_bob):
    seen = []

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        while True:
            seen.append(leg.wait_for('INFO', 'MESSAGE', 'UPDATE', 'INVITE').label)

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=SDP) as leg:
        assert leg.request('INFO', body='Signal=5', content_type='application/dtmf-relay').code == 200
        assert leg.message('hello').code == 200
        assert leg.update().code == 200
        assert leg.update(sdp=sdp_of_port(4002)).body.startswith(b'v=0')
        assert leg.reinvite(sdp=sdp_of_port(4004)).code == 200
        assert parse_sdp(leg.answer).media[0].port == 6000
        with pytest.raises(ResponseError, match='405'):
            leg.request('REFER')
        for method in 'BYE', 'INVITE', 'CANCEL', 'ACK':
            with pytest.raises(UsageError):
                leg.request(method)
    assert seen == ['INFO', 'MESSAGE', 'UPDATE', 'UPDATE', 'INVITE']


def test_manual_requests_are_answered_by_the_script(agent, net):
    alice, bob = agent('alice'), agent('bob', manual=('INFO',))

    def handler(leg):
        leg.answer()
        event = leg.wait_for('INFO')
        leg.respond(event, 415, headers={'Accept': 'text/plain'})
        with pytest.raises(UsageError):
            leg.respond(event, 200)
        leg.wait_for('INFO')
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(net.uri('bob')) as leg:
        with pytest.raises(ResponseError, match='415') as caught:
            leg.request('INFO', body='x')
        assert caught.value.response.get('Accept') == 'text/plain'
        unanswered = leg.spawn(Leg.request, 'INFO')
        net.clock.sleep(1)
    net.clock.sleep(1)
    assert unanswered.dead


def test_hold_and_resume(alice, bob, net, to_bob):
    states = []

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        for word in 'hold', 'resume', 'hold':
            leg.wait_for(word)
            states.append((word, leg.state, str(parse_sdp(leg.local_sdp).media[0].direction)))
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=SDP) as leg:
        leg.hold()
        assert leg.state == 'held' and b'a=sendonly' in leg.local_sdp and b'a=recvonly' in leg.answer
        leg.hold()
        leg.resume()
        assert leg.state == 'confirmed' and b'sendonly' not in leg.local_sdp and b'recvonly' not in leg.answer
        leg.resume()
        leg.hold()
    assert states == [('hold', 'held', 'recvonly'), ('resume', 'confirmed', 'sendrecv'), ('hold', 'held', 'recvonly')]
    versions = [arrow.data.split(b'o=- 1 ')[1].split()[0] for arrow in net.ladder.arrows
                if arrow.title.startswith('INVITE')]
    assert versions == [b'1', b'2', b'3', b'4']


def test_a_call_without_media_is_not_put_on_hold_by_a_refresh(alice, bob, net, to_bob):
    def handler(leg):
        leg.answer()
        leg.reinvite()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob) as leg:
        leg.wait_for('INVITE', timeout=1)
        leg.hold()
        leg.resume()
        net.run(1)
        other, = bob.legs
        assert (leg.state, other.state) == ('confirmed', 'confirmed')
        with pytest.raises(WaitTimeout):
            leg.wait_for('hold', timeout=1)
        # It may have media later on, and then be held.
        leg.reinvite(sdp_of_port(7000))
        leg.reinvite(sdp_of_port(7000, 'sendonly'))
        net.run(1)
        assert other.state == 'held'
        leg.reinvite(sdp_of_port(7000))
        net.run(1)
        assert other.state == 'confirmed'


def test_a_call_that_is_put_on_hold_by_whoever_answered_it(alice, bob, net, to_bob):
    bob.serve(lambda leg: (leg.answer(sdp_of_port(6000)), leg.hold(), leg.resume(), leg.wait_ended()), background=True)
    with alice.call(to_bob, sdp=SDP) as leg:
        assert leg.wait_for('hold', timeout=5).leg is leg
        leg.wait_for('resume', timeout=5)
        assert leg.state == 'confirmed'


def test_a_session_is_changed_as_soon_as_the_answer_is_acknowledged(alice, bob, net, to_bob):
    """RFC 3261 14.1 wants the INVITE to be over first: that is waited out."""
    net.lose('ACK', 1)
    bob.serve(lambda leg: (leg.answer(sdp_of_port(6000)), leg.hold(), leg.wait_ended()), background=True)
    with alice.call(to_bob, sdp=SDP) as leg:
        leg.wait_for('hold', timeout=5)
    titles = [arrow.title.split(' (')[0] for arrow in net.ladder.arrows]
    assert titles[:6] == ['INVITE', '200 INVITE', 'ACK', '200 INVITE', 'ACK', 'INVITE']


def test_a_session_is_not_changed_when_the_answer_is_never_acknowledged(alice, bob, net, to_bob):
    net.lose('ACK', 100)
    alice.invite(to_bob)
    with bob.accept() as leg:
        leg.answer()
        with pytest.raises(WaitTimeout):
            leg.hold(timeout=2)
        assert leg.local_sdp == leg.response.body
        with pytest.raises(TransactionTimeout):
            leg.hold()
    assert 'INVITE' not in [arrow.title.split(' (')[0] for arrow in net.ladder.arrows if arrow.source == 'bob']


def test_a_reinvite_that_is_refused_leaves_the_session_as_it_was(agent, net):
    alice, bob = agent('alice'), agent('bob', manual=('INVITE',))

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        leg.respond(leg.wait_for('INVITE'), 488)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(net.uri('bob'), sdp=SDP) as leg:
        with pytest.raises(NotAcceptable):
            leg.hold()
        assert leg.local_sdp == SDP and leg.state == 'confirmed'


def test_a_reinvite_that_takes_too_long_is_cancelled(agent, net):
    alice, bob = agent('alice'), agent('bob', manual=('INVITE',))

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(net.uri('bob'), sdp=SDP) as leg:
        with pytest.raises(WaitTimeout, match='no final response to INVITE within 3 s from sip:bob'):
            leg.reinvite(timeout=3)
        net.clock.sleep(1)
        assert leg.state == 'confirmed'
    assert [arrow.title for arrow in net.ladder.arrows][3:7] == [
        'INVITE', '100 INVITE', 'CANCEL', '200 CANCEL']


def test_an_offer_that_can_not_be_met_is_answered_488(alice, bob, to_bob):
    bob.serve(lambda leg: (leg.answer(sdp=sdp_of_port(6000)), leg.wait_ended()), background=True)
    with alice.call(to_bob, sdp=SDP) as leg, pytest.raises(NotAcceptable):
        leg.reinvite(sdp=SDP.replace(b'RTP/AVP 0', b'RTP/AVP 9').replace(b'0 PCMU', b'9 G722'))


def test_glare_is_waited_out(alice, bob, net, to_bob):
    legs = []
    bob.serve(lambda leg: (legs.append(leg), leg.answer(sdp=sdp_of_port(6000)), leg.wait_ended()), background=True)
    with alice.call(to_bob, sdp=SDP) as a:
        net.clock.sleep(1)
        both = [gevent.spawn(a.reinvite), gevent.spawn(legs[0].reinvite)]
        gevent.joinall(both)
        assert [one.get().code for one in both] == [200, 200]
    assert [arrow.title for arrow in net.ladder.arrows].count('491 INVITE') == 2


def test_the_peer_hangs_up_while_a_request_is_waited_for(agent, net):
    alice, bob = agent('alice'), agent('bob', manual=('INFO',))

    def handler(leg):
        leg.answer()
        leg.wait_for('INFO')
        leg.hangup()

    bob.serve(handler, background=True)
    with alice.call(net.uri('bob')) as leg, pytest.raises(RemoteHangup):
        leg.request('INFO')


def test_a_peer_that_does_not_answer_any_more_ends_the_call(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        net.lose('INFO', 20)
        with pytest.raises(TransactionTimeout):
            leg.request('INFO')
        with pytest.raises(TransactionTimeout):
            leg.wait_for('BYE')


def test_late_offer_answered_by_the_script(alice, bob, net, to_bob):
    answers = []

    def handler(leg):
        assert leg.offer == b''
        leg.answer(sdp=sdp_of_port(6000))
        leg.wait_for('ACK')
        answers.append(leg.remote_sdp)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=b'') as leg:
        assert leg.answer == sdp_of_port(6000)
        leg.ack(SDP)
        net.clock.sleep(1)
    assert answers == [SDP]


def test_manual_ack(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    with alice.invite(to_bob, sdp=SDP, manual=('ACK',)) as leg:
        leg.wait_for('200')
        net.clock.sleep(1.2)
        assert 'ACK' not in [arrow.title for arrow in net.ladder.arrows]
        leg.ack()
        net.clock.sleep(5)
    titles = [arrow.title for arrow in net.ladder.arrows]
    assert titles.count('200 INVITE') == 2 and titles.count('ACK') == 1


# -- scripts that fail

def test_strict_scripts(alice, bob, to_bob):
    bob.serve(lambda leg: (leg.ring(), leg.progress(183), leg.answer(), leg.wait_ended()), background=True)
    with alice.invite(to_bob, strict=True) as leg:
        leg.wait_for('180')
        with pytest.raises(UnexpectedMessage, match='183 from sip:bob'):
            leg.wait_for('200')


def test_an_unreachable_target_is_an_error_at_the_first_wait(alice):
    with alice.invite('sip:bob@[2001:db8::1]:5060') as leg, pytest.raises(TransportError):
        leg.wait_for('200', timeout=20)
    with pytest.raises(ValueError):
        alice.invite('no uri at all')


def test_nobody_answers(alice, net):
    with alice.invite(net.uri('nobody')) as leg, pytest.raises((TransactionTimeout, TransportError)):
        leg.wait_for('200', timeout=60)


def test_uris_as_text_and_as_values(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    for uri in (to_bob, f'"Bob" <{to_bob};x=1>', parse_uri(to_bob)):
        with alice.call(uri, from_=parse_uri('sip:carol@example.com')) as leg:
            assert leg.to.uri.user == 'bob' and leg.from_.uri.user == 'carol'


@pytest.mark.parametrize('target', [None, 5, b'sip:bob@example.com'])
def test_what_is_no_uri_is_refused_at_once(alice, target):
    for verb in alice.invite, alice.options, alice.keep_alive:
        # The compiled build looks at the types first.
        with pytest.raises((UsageError, TypeError), match=r'is no URI: give a text|object expected'):
            verb(target)


def test_cancel_raises_487(alice, bob, to_bob):
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with alice.invite(to_bob) as leg:
        leg.wait_for('180')
        leg.cancel()
        with pytest.raises(RequestTerminated):
            leg.wait_for('200')


def test_a_verb_after_the_cancel_raises_remote_cancel(alice, bob, net, to_bob):
    seen = []

    def handler(leg):
        leg.ring()
        net.clock.sleep(5)
        try:
            leg.answer()
        except RemoteCancel as error:
            seen.append(error.reason)
            raise

    bob.serve(handler, background=True)
    with alice.invite(to_bob) as leg:
        leg.wait_for('180')
        leg.cancel('SIP;cause=200;text="elsewhere"')
        leg.wait_ended()
    net.clock.sleep(10)
    assert seen == ['SIP;cause=200;text="elsewhere"']


def test_spawned_beside_a_call(alice, bob, net, to_bob):
    infos = []

    def listen(leg, count):
        while len(infos) < count:
            infos.append(leg.wait_for('INFO').message.body)
        return 'done'

    tasks = []

    def handler(leg):
        leg.answer()
        tasks.append(leg.spawn(listen, 2))
        leg.wait_for('BYE')

    bob.serve(handler, background=True)
    with alice.call(to_bob) as leg:
        leg.request('INFO', body='1')
        leg.request('INFO', body='2')
        net.clock.sleep(1)
        assert tasks[0].value == 'done' and infos == [b'1', b'2']


def test_ended_legs_hold_nothing(alice, bob, net, to_bob):
    import gc
    import weakref

    class Marker:
        pass

    alive = []

    def handler(leg):
        leg.data = Marker()
        alive.append(weakref.ref(leg.data))
        answering(leg)

    bob.serve(handler, background=True)
    gc.collect()
    gc.disable()
    try:
        with alice.call(to_bob) as leg:
            leg.data = Marker()
            alive.append(weakref.ref(leg.data))
            net.clock.sleep(1)
        net.clock.sleep(1)
        del leg
        net.clock.sleep(70)
        assert [ref() for ref in alive] == [None, None]
    finally:
        gc.enable()


# -- what cannot be written

REFUSED = {
    'reinvite': lambda leg, text: leg.reinvite(SDP, headers={'X': text}),
    'reinvite, name': lambda leg, text: leg.reinvite(SDP, headers={text: 'x'}),
    'reinvite, type': lambda leg, text: leg.reinvite(SDP, content_type=text),
    'update': lambda leg, text: leg.update(SDP, headers={'X': text}),
    'update, name': lambda leg, text: leg.update(SDP, headers={text: 'x'}),
    'request': lambda leg, text: leg.request('INFO', headers={'X': text}),
    'request, type': lambda leg, text: leg.request('INFO', body=b'x', content_type=text),
    'refer': lambda leg, text: leg.refer('sip:carol@192.0.2.1', headers={text: 'x'}),
    'subscribe': lambda leg, text: leg.subscribe(f'x{text}'),
    'hangup': lambda leg, text: leg.hangup(text),
    'hangup, name': lambda leg, text: leg.hangup(headers={text: 'x'}),
}


@pytest.mark.parametrize('text', ['a\r\nb', 'a\0', '\ud800'])
@pytest.mark.parametrize('verb', REFUSED)
def test_after_what_was_refused_a_call_is_as_it_was(agent, net, to_bob, verb, text):
    alice, bob = agent('alice', allow=('REFER', 'NOTIFY', 'SUBSCRIBE')), agent('bob')
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        with pytest.raises(UsageError):
            REFUSED[verb](leg, text)
        leg.reinvite(sdp_of_port(6000))
        leg.update(sdp_of_port(6002))
        leg.request('OPTIONS')
    net.run(60)
    for ua in (alice, bob):
        assert set(ua.core.counts().values()) == {0} and ua.endpoint.counters.failures == 0


@pytest.mark.parametrize('text', ['a\r\nb', 'a\0', '\ud800'])
@pytest.mark.parametrize('verb', [
    lambda leg, text: leg.reject(486, text), lambda leg, text: leg.reject(486, headers={'X': text}),
    lambda leg, text: leg.reject(486, headers={text: 'x'}), lambda leg, text: leg.answer(SDP, headers={'X': text}),
    lambda leg, text: leg.ring(headers={text: 'x'}), lambda leg, text: leg.hangup(text),
    lambda leg, text: leg.redirect(f'sip:carol@192.0.2.1;x={text}'),
])
def test_after_what_was_refused_a_caller_is_answered(alice, bob, net, to_bob, verb, text):
    def handler(leg):
        with pytest.raises((UsageError, ParseError)):
            verb(leg, text)
        leg.answer(SDP)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob):
        pass
    net.run(60)
    assert set(bob.core.counts().values()) == {0} and bob.endpoint.counters.failures == 0
