"""Two calls as one: alice calls the middle, the middle calls bob."""

from __future__ import annotations

import gevent
import pytest

from greensip.errors import Busy, LocalHangup, NotAcceptable, RemoteHangup, ResponseError, UsageError, WaitTimeout
from greensip.sdp import parse_sdp
from greensip.ua.bridge import Bridge
from greensip.ua.group import LegGroup
from greensip.ua.leg import Leg

from .conftest import SDP, sdp_of_port


class Middle:
    """A B2BUA whose bridge the test can see."""

    def __init__(self, agent, net, **options):
        self.ua = agent('middle', **options.pop('middle', {}))
        self.target = net.uri('bob')
        self.options = options
        self.gone = []
        self.legs = []
        self.timeout = None
        self.ua.serve(self.handle, background=True)

    def handle(self, a):
        with LegGroup(a) as group:
            b = group.invite(self.target, from_=a.from_, sdp=a.offer, progress_to=a)
            self.legs = [a, b]
            b.wait_for('2xx', timeout=30)
            a.answer(sdp=b.answer)
            self.gone.append(Bridge(a, b, **self.options).wait(timeout=self.timeout))


@pytest.fixture
def middle(agent, net):
    return Middle(agent, net)


@pytest.fixture
def callee(agent):
    """Bob, who answers on port 6000 and keeps his legs."""
    bob = agent('bob')
    bob.calls = []

    def handler(leg):
        bob.calls.append(leg)
        leg.ring()
        leg.answer(sdp=sdp_of_port(6000))
        leg.wait_ended()

    bob.serve(handler, background=True)
    return bob


@pytest.fixture
def to_middle(net):
    return net.uri('middle')


def titles(net, source, destination):
    return [arrow.title for arrow in net.ladder.arrows if (arrow.source, arrow.destination) == (source, destination)]


def test_bodies_pass_untouched_and_the_callers_bye_ends_the_other_leg(alice, middle, callee, net, to_middle):
    with alice.invite(to_middle, sdp=SDP) as leg:
        leg.wait_for('180')
        leg.wait_for('200')
        assert leg.answer == sdp_of_port(6000)
        bob, = callee.calls
        assert bob.offer == SDP and bob.call_id != leg.call_id
        leg.hangup('Q.850;cause=31')
    assert bob.wait_ended().error.reason == 'Q.850;cause=31'
    net.clock.sleep(1)
    assert middle.gone == [middle.legs[0]]


def test_the_callees_bye_ends_the_callers_leg(alice, middle, callee, net, to_middle):
    with alice.call(to_middle, sdp=SDP) as leg:
        callee.calls[0].hangup('bye now')
        assert leg.wait_ended().error.reason == 'SIP;text="bye now"'
    net.clock.sleep(1)
    assert middle.gone == [middle.legs[1]]


def test_hold_passes_both_ways(alice, middle, callee, net, to_middle):
    with alice.call(to_middle, sdp=SDP) as leg:
        bob, = callee.calls
        net.clock.sleep(1)
        leg.hold()
        assert leg.state == bob.state == 'held' and b'sendonly' in bob.remote_sdp and b'recvonly' in leg.answer
        assert middle.legs[0].state == 'held'
        leg.resume()
        assert leg.state == bob.state == middle.legs[0].state == 'confirmed'
        bob.hold()
        assert leg.state == 'held' and b'sendonly' in leg.remote_sdp
        bob.resume()
    assert titles(net, 'bob', 'middle').count('INVITE') == 2


def test_a_refused_reinvite_is_refused_to_whoever_asked(agent, alice, middle, net, to_middle):
    bob = agent('bob', manual=('INVITE',))

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        leg.respond(leg.wait_for('INVITE'), 488, headers={'Warning': '304 bob "no"'})
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_middle, sdp=SDP) as leg:
        with pytest.raises(NotAcceptable) as caught:
            leg.reinvite(sdp=sdp_of_port(4002))
        assert caught.value.response.get('Warning') == '304 bob "no"'
        assert middle.legs[1].local_sdp == SDP
        assert leg.state == 'confirmed'


@pytest.mark.parametrize('delay', [0, 0.005, 0.012, 0.02, 0.025, 1, 2])
@pytest.mark.parametrize(('theirs', 'ours'), [('INVITE', 'INVITE'), ('UPDATE', 'UPDATE'), ('INVITE', 'UPDATE'),
                                              ('UPDATE', 'INVITE')])
def test_glare_on_both_sides_is_settled(alice, middle, callee, net, to_middle, theirs, ours, delay):
    """14.1: each side waits as its role wants it; the middle is in nobody's way."""
    def change(leg, method, port, after):
        net.clock.sleep(after)
        return (leg.reinvite if method == 'INVITE' else leg.update)(sdp_of_port(port))

    with alice.call(to_middle, sdp=SDP) as leg:
        bob, = callee.calls
        for number in range(1, 6):
            net.clock.sleep(5)
            both = [gevent.spawn(change, leg, theirs, 4000 + number, 0),
                    gevent.spawn(change, bob, ours, 6000 + number, delay)]
            gevent.joinall(both)
            assert [task.get().code for task in both] == [200, 200]
            assert parse_sdp(bob.remote_sdp).media[0].port == 4000 + number
            assert parse_sdp(leg.remote_sdp).media[0].port == 6000 + number


def test_a_cancelled_reinvite_is_cancelled_on_the_other_side(agent, alice, middle, net, to_middle):
    bob = agent('bob', manual=('INVITE',))
    bob.serve(lambda leg: (leg.answer(sdp=sdp_of_port(6000)), leg.wait_ended()), background=True)
    with alice.call(to_middle, sdp=SDP) as leg:
        with pytest.raises(WaitTimeout):
            leg.reinvite(sdp=sdp_of_port(4002), timeout=3)
        net.clock.sleep(1)
        assert leg.state == 'confirmed'
    assert 'CANCEL' in titles(net, 'middle', 'bob')


def test_info_message_update_pass_with_their_answers(agent, alice, middle, net, to_middle):
    bob = agent('bob', manual=('INFO', 'MESSAGE'))
    got = []

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        event = leg.wait_for('INFO')
        got.append((event.message.body, event.message.get('Content-Type'), event.message.get('Info-Package')))
        leg.respond(event, 200, body='ok', content_type='text/x')
        leg.respond(leg.wait_for('MESSAGE'), 415)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_middle, sdp=SDP) as leg:
        answer = leg.request('INFO', body='Signal=5', content_type='application/dtmf-relay',
                             headers={'Info-Package': 'dtmf'})
        assert (answer.body, answer.get('Content-Type')) == (b'ok', 'text/x')
        assert got == [(b'Signal=5', 'application/dtmf-relay', 'dtmf')]
        with pytest.raises(ResponseError, match='415'):
            leg.message('hello')
        assert leg.update(sdp=sdp_of_port(4004)).code == 200
        assert parse_sdp(middle.legs[1].usage.local_sdp).media[0].port == 4004


def test_a_listener_beside_the_bridge_sees_what_passes(alice, middle, callee, net, to_middle):
    with alice.call(to_middle, sdp=SDP) as leg:
        net.clock.sleep(1)
        listening = middle.legs[0].spawn(Leg.wait_for, 'INFO')
        net.clock.sleep(1)
        leg.request('INFO', body='1')
        assert listening.get().message.body == b'1'
        # What nobody waits for is not kept.
        leg.request('INFO', body='2')
        assert middle.legs[0]._events == []


def test_an_answer_that_comes_after_the_end_is_nobodys(agent, alice, middle, net, to_middle):
    bob = agent('bob', manual=('INFO',))

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        event = leg.wait_for('INFO')
        net.clock.sleep(2)
        leg.respond(event, 200)
        leg.wait_ended()

    bob.serve(handler, background=True)
    leg = alice.call(to_middle, sdp=SDP)
    asking = gevent.spawn(leg.request, 'INFO')
    net.clock.sleep(1)
    leg.hangup()
    with pytest.raises(LocalHangup):
        asking.get()
    net.clock.sleep(5)


@pytest.mark.parametrize('method', ['INFO', 'UPDATE'])
@pytest.mark.parametrize('who', ['alice', 'middle', 'bob'])
def test_what_is_pending_when_a_leg_ends_gets_its_answer(agent, alice, middle, net, to_middle, who, method):
    """RFC 3261 15.1.2: "The UAS core MUST still respond to any pending requests received for that dialog"."""
    bob = agent('bob', manual=('INFO', 'UPDATE'))

    def handler(leg):
        leg.answer(sdp=sdp_of_port(6000))
        event = leg.wait_for(method)
        net.clock.sleep(2)
        if who != 'bob':
            leg.respond(event, 200)
            leg.wait_ended()

    bob.serve(handler, background=True)
    leg = alice.call(to_middle, sdp=SDP)
    asking = gevent.spawn(leg.request, method)
    net.clock.sleep(1)
    if who == 'alice':
        leg.hangup()
    elif who == 'middle':
        middle.legs[0].hangup()
    with pytest.raises((LocalHangup, RemoteHangup)):
        asking.get()
    net.clock.sleep(60)
    finals = [title for title in titles(net, 'middle', 'alice') if title.endswith(f' {method}') and title[:3] != '100']
    assert finals == [f'487 {method}']
    assert not any(middle.ua.core.counts().values())


def test_late_offer_passes_through(alice, middle, callee, net, to_middle):
    with alice.invite(to_middle, sdp=b'') as leg:
        leg.wait_for('200')
        assert leg.answer == sdp_of_port(6000)
        assert titles(net, 'middle', 'bob').count('ACK') == 0
        leg.ack(SDP)
        net.clock.sleep(1)
        assert callee.calls[0].remote_sdp == SDP
        # And again in a re-INVITE.
        leg.reinvite(sdp=b'')
        leg.ack(sdp_of_port(4008))
        net.clock.sleep(1)
        assert callee.calls[0].remote_sdp == sdp_of_port(4008)


def test_late_offer_when_the_ack_comes_before_the_bridge(agent, alice, callee, net, to_middle):
    ua = agent('middle')

    def handler(a):
        with ua.invite(net.uri('bob'), sdp=a.offer) as b:
            b.wait_for('2xx')
            a.answer(sdp=b.answer)
            net.clock.sleep(2)
            Bridge(a, b).wait()

    ua.serve(handler, background=True)
    with alice.invite(to_middle, sdp=b'') as leg:
        leg.wait_for('200')
        leg.ack(SDP)
        net.clock.sleep(3)
        assert callee.calls[0].remote_sdp == SDP


def test_the_caller_goes_before_its_late_answer(alice, middle, callee, net, to_middle):
    with alice.invite(to_middle, sdp=b'') as leg:
        leg.wait_for('200')
        net.lose('ACK', 1)
    net.clock.sleep(40)
    assert callee.calls[0].ended
    assert titles(net, 'middle', 'bob')[-2:] == ['ACK', 'BYE']


def test_refer_is_refused_or_passed(agent, alice, callee, net, to_middle):
    middle = Middle(agent, net, middle={'allow': ('REFER', 'NOTIFY')})
    with alice.call(to_middle, sdp=SDP) as leg, pytest.raises(ResponseError, match='603'):
        leg.request('REFER', headers={'Refer-To': '<sip:carol@example.com>'})
    assert 'REFER' not in titles(net, 'middle', 'bob')
    net.clock.sleep(1)
    middle.options = {'refer': 'pass'}
    with alice.call(to_middle, sdp=SDP) as leg, pytest.raises(ResponseError, match='405'):
        leg.request('REFER', headers={'Refer-To': '<sip:carol@example.com>'})
    assert 'REFER' in titles(net, 'middle', 'bob')


def test_a_time_limit_leaves_both_legs(alice, agent, callee, net, to_middle, caplog):
    middle = Middle(agent, net)
    middle.timeout = 10
    with alice.call(to_middle, sdp=SDP) as leg:
        assert isinstance(leg.wait_ended().error, RemoteHangup)
    assert net.clock.now() == pytest.approx(10, abs=0.2) and callee.calls[0].state == 'ended'
    assert 'WaitTimeout' in caplog.text


def test_keep_alive_by_another_greenlet_is_not_relayed(alice, middle, callee, net, to_middle):
    with alice.call(to_middle, sdp=SDP) as leg:
        net.clock.sleep(1)
        assert gevent.spawn(middle.legs[1].reinvite).get().code == 200
        assert titles(net, 'middle', 'alice').count('INVITE') == 0
        assert leg.state == 'confirmed'


def test_a_leg_that_another_greenlet_hangs_up_has_left(alice, middle, callee, net, to_middle):
    with alice.call(to_middle, sdp=SDP) as leg:
        net.clock.sleep(1)
        net.lose('BYE', 1)
        middle.legs[1].hangup()
        assert isinstance(leg.wait_ended(timeout=0.3).error, RemoteHangup)
        assert middle.gone == [middle.legs[1]]
    net.clock.sleep(2)


def test_no_leg_has_two_bridges(alice, middle, callee, net, to_middle):
    with alice.call(to_middle, sdp=SDP):
        net.clock.sleep(1)
        with pytest.raises(UsageError):
            Bridge(*middle.legs).wait()
        with pytest.raises(UsageError):
            Bridge(middle.legs[0], middle.legs[0])
        with pytest.raises(UsageError):
            Bridge(*middle.legs, refer='maybe')
        with pytest.raises(UsageError, match='REFER'):
            Bridge(*middle.legs, refer='pass')


def test_a_wait_that_is_too_long_leaves_both_calls_as_they_are(alice, callee, net):
    with alice.call(net.uri('bob'), sdp=SDP) as a, alice.call(net.uri('bob'), sdp=SDP) as b:
        bridge = Bridge(a, b)
        assert repr(bridge).startswith('<Bridge of <OutgoingLeg sip:bob@')
        with pytest.raises(WaitTimeout, match=r'^no end within 30 s from sip:bob@.*; no end within 30 s from sip:bob@'):
            bridge.wait(timeout=30)
        assert (a.state, b.state, Bridge.of(a)) == ('confirmed', 'confirmed', None)


def test_progress_passes_with_its_body(agent, alice, middle, net, to_middle):
    bob = agent('bob')

    def handler(leg):
        leg.progress(183, sdp=sdp_of_port(7000), headers={'X-Tone': 'rbt'})
        leg.ring()
        leg.reject(486)

    bob.serve(handler, background=True)
    with alice.invite(to_middle, sdp=SDP) as leg:
        event = leg.wait_for('183')
        assert event.message.body == sdp_of_port(7000) and event.message.get('X-Tone') == 'rbt'
        leg.wait_for('180')
        # The handler of the middle lets Busy through: its caller gets it as it was.
        with pytest.raises(Busy):
            leg.wait_for('200')


def test_a_call_of_which_the_bridge_knows_the_end_already(alice, agent, callee, net, to_middle):
    ua = agent('middle')
    gone = []

    def handler(a):
        with ua.invite(net.uri('bob'), sdp=a.offer) as b:
            b.wait_for('2xx')
            a.answer(sdp=b.answer)
            net.clock.sleep(2)
            gone.append(Bridge(a, b).wait() is a)

    ua.serve(handler, background=True)
    with alice.call(to_middle, sdp=SDP):
        net.clock.sleep(1)
    net.clock.sleep(3)
    assert gone == [True] and callee.calls[0].ended


def test_a_leg_takes_the_place_of_another(agent, alice, middle, callee, net, to_middle):
    """What is relayed afterwards goes on in the sessions that the legs have had; a late wait is for the new leg."""
    carol = agent('carol')
    incoming = []
    carol.serve(lambda leg: (incoming.append(leg), leg.answer(sdp=sdp_of_port(7000)), leg.wait_ended()),
                background=True)
    with alice.call(to_middle, sdp=SDP) as leg:
        net.clock.sleep(1)
        a, b = middle.legs
        bridge = Bridge.of(a)
        assert bridge is Bridge.of(b) and bridge.other(a) is b
        with pytest.raises(UsageError, match='place'):
            bridge.replace(a, b)

        def swap():
            with middle.ua.call(net.uri('carol'), sdp=a.remote_sdp) as new:
                a.reinvite(new.answer.replace(b'o=- 1 1', b'o=- 1 2'))
                bridge.replace(b, new)
                b.hangup()
                new.wait_ended()

        task = gevent.spawn(swap)
        net.clock.sleep(1)
        assert callee.calls[0].ended and b'7000' in leg.remote_sdp and Bridge.of(b) is None
        leg.hold()
        assert incoming[0].state == 'held'
        leg.resume()
        leg.hangup('Q.850;cause=16')
        net.clock.sleep(1)
        assert incoming[0].ended and middle.gone == [a]
        task.join()


def test_a_function_decides_about_a_refer(agent, alice, net, to_middle, callee):
    """In a greenlet of its own; who does not take it has refused, and an error is no more than a refusal."""
    asked = []

    def decide(transfer):
        asked.append(transfer)
        net.clock.sleep(0.5)
        if len(asked) == 1:
            return 488
        if len(asked) == 2:
            raise Busy(486, 'Busy')
        if len(asked) == 3:
            raise ValueError('a mistake')
        transfer.begin()
        transfer.notify(200)
        return None

    middle = Middle(agent, net, middle={'allow': ('REFER', 'NOTIFY')}, refer=decide)
    with alice.call(to_middle, sdp=SDP) as leg:
        net.clock.sleep(1)
        for code in (488, 486, 500):
            with pytest.raises(ResponseError) as caught:
                leg.transfer('sip:x@example.com', timeout=5)
            assert caught.value.code == code
        assert leg.transfer('sip:x@example.com', timeout=5).code == 200
        assert [transfer.leg for transfer in asked] == 4 * [middle.legs[0]] and leg.state == 'confirmed'


def test_a_leg_that_was_let_go_ends_alone(agent, alice, middle, callee, net, to_middle):
    with alice.call(to_middle, sdp=SDP) as leg:
        net.clock.sleep(1)
        a, b = middle.legs
        bridge = Bridge.of(a)
        with pytest.raises(UsageError):
            bridge.merge(a, bridge, b)
        # Kept after all: its end is that of the call.
        bridge.let_go(a)
        bridge.keep(a)
        bridge.let_go(b)
        callee.calls[0].hangup()
        net.clock.sleep(1)
        assert b.ended and leg.state == 'confirmed' and middle.gone == []
        leg.hangup()
        net.clock.sleep(1)
        assert middle.gone == [a]


@pytest.mark.parametrize('refer', ['handle', ''])
def test_no_other_policies(agent, alice, middle, callee, net, to_middle, refer):
    with alice.call(to_middle, sdp=SDP), pytest.raises(UsageError, match='refer='):
        Bridge(*middle.legs, refer=refer)
