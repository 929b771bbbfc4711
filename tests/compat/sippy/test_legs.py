"""Native legs in CallControllers of sippy's kind, beside legs of sippy's own, over the loopback.

Sippy itself says what is right: each story is told by a controller between two legs of sippy's first, then with a
native leg on one side, on the other, and on both, and every event, its data and every callback has to be the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event as Flag

from greensip import (
    IncomingLeg,
    OutgoingLeg,
    Redirected,
    RemoteCancel,
    RemoteHangup,
    RequestTerminated,
    ResponseError,
    UsageError,
    UserAgent,
    WaitTimeout,
    WrongThread,
)

pytest.importorskip('sippy')

from sippy.CCEvents import (
    CCEventConnect,
    CCEventDisconnect,
    CCEventFail,
    CCEventInfo,
    CCEventPreConnect,
    CCEventRedirect,
    CCEventRing,
    CCEventTry,
    CCEventUpdate,
)
from sippy.MsgBody import MsgBody
from sippy.SipCallId import SipCallId
from sippy.SipHeader import SipHeader
from sippy.SipTransactionManager import SipTransactionManager
from sippy.UA import UA

from greensip.compat.sippy import ED2, call_in_loop, run_in_greenlet
from greensip.compat.sippy.legs import NativeUA, hand_over

CALLER_SDP = (b'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n'
              b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')
CALLEE_SDP = CALLER_SDP.replace(b'4000', b'5000')
HELD = CALLER_SDP.replace(b'- 1 1 ', b'- 1 2 ') + b'a=sendonly\r\n'
HELD_ANSWER = CALLEE_SDP.replace(b'- 1 1 ', b'- 1 2 ') + b'a=recvonly\r\n'

#: which of a controller's legs are native
KINDS = ('', 'O', 'A', 'AO')
MIXED = KINDS[1:]


class Silent:
    """A logger as a SipTransactionManager wants one."""

    def write(self, *args: Any, **kwargs: Any) -> None:
        pass


def told(data: Any) -> Any:
    """The data of an event as plain values."""
    if isinstance(data, tuple):
        return tuple(told(one) for one in data)
    if isinstance(data, SipCallId):
        return 'Call-ID'
    if data is None or isinstance(data, (int, str)):
        return data
    return str(data)


class Controller:
    """Two legs and what they tell, in the manner of b2bua.py."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.stage = stage
        self.kind = kind
        self.routes = list(stage.routes)
        self.attempts: list[Any] = []
        self.story: list[Any] = []
        self.numbers: list[tuple[int, Any]] = []
        self.over = Flag()
        self.alive = 1
        self.uaO: Any = None
        self.eTry: Any = None
        self.uaA = self.make('A', **stage.caller_options)

    def make(self, side: str, **options: Any) -> Any:
        stage = self.stage

        def note(name: str) -> Callable[..., None]:
            return lambda ua, *args: self.story.append((side, name, *args[1:]))

        names = ('conn', 'disc', 'fail', 'ring')
        options.update({f'{name}_cbs': (note(name),) for name in names}, dead_cbs=(self.died,))
        settings = options.pop('settings', {})
        if side in self.kind:
            ua = NativeUA(stage.native, stage.config, self.recvEvent, **options)
        else:
            ua = UA(stage.config, self.recvEvent, **options)
        ua.godead_timeout = 0.02
        for name, value in settings.items():
            setattr(ua, name, value)
        return ua

    def died(self, ua: Any) -> None:
        self.alive -= 1
        if not self.alive:
            self.over.set()

    def recvEvent(self, event: Any, ua: Any) -> None:
        side = 'A' if ua is self.uaA else 'O'
        reason = event.reason_rfc3326
        self.story.append((side, str(event), told(event.getData()), event.origin,
                           None if reason is None else str(reason)))
        self.numbers.append((event.seq, event.rtime))
        if self.stage.on_event is not None:
            self.stage.on_event(self, event, ua)
        if ua is self.uaA:
            if self.uaO is None:
                if not isinstance(event, CCEventTry):
                    self.uaA.recvEvent(CCEventDisconnect(rtime=event.rtime))
                    return
                self.eTry = event
                self.place()
            else:
                self.uaO.recvEvent(event)
            return
        if ua is not self.uaO:
            # An attempt that is given up.
            return
        if isinstance(event, (CCEventFail, CCEventDisconnect)) and self.routes and isinstance(
                self.uaA.state, (self.uaA.UasStateTrying, self.uaA.UasStateRinging)):
            self.place()
            return
        self.uaA.recvEvent(event)

    def place(self) -> None:
        route, options = self.routes.pop(0)
        self.alive += 1
        self.uaO = self.make('O', nh_address=('127.0.0.1', route), **options)
        self.attempts.append(self.uaO)
        event = CCEventTry(self.eTry.getData())
        event.reason_rfc3326 = self.eTry.reason_rfc3326
        event.max_forwards = self.eTry.max_forwards - 1
        self.uaO.recvEvent(event)


class Stage:
    """Alice calls the program, which calls Bob: a UserAgent each, and for the program one of both kinds."""

    def __init__(self, ports: Iterator[int], **timeouts: float) -> None:
        def agent(name: str) -> UserAgent:
            return UserAgent(f'udp:127.0.0.1:{next(ports)}', name=name, timeouts=timeouts or None,
                             allow=('REFER', 'NOTIFY'))

        self.alice, self.bob, self.carol, self.native = map(agent, ('alice', 'bob', 'carol', 'program'))
        self.config: dict[str, Any] = {'_sip_address': '127.0.0.1', '_sip_port': next(ports), '_sip_logger': Silent()}
        self.config['_sip_tm'] = self.manager = SipTransactionManager(self.config, self.recvRequest)
        self.kind = ''
        self.kinds: dict[str, str] = {}
        self.routes: list[Any] = [(port_of(self.bob), {})]
        self.caller_options: dict[str, Any] = {}
        self.on_event: Callable[[Controller, Any, Any], None] | None = None
        self.controllers: list[Controller] = []
        self.native.serve(lambda leg: hand_over(leg, self.recvRequest), background=True)
        self.loop = gevent.spawn(ED2.loop)
        # A breakLoop() before the loop would be lost.
        gevent.sleep(0)

    def recvRequest(self, req: Any, sip_t: Any) -> Any:
        if req.getHFBody('to').getTag() is not None:
            return (req.genResponse(481, 'Call Leg/Transaction Does Not Exist'), None, None)
        controller = Controller(self, self.kinds[str(req.getHFBody('call-id'))])
        self.controllers.append(controller)
        return controller.uaA.recvRequest(req, sip_t)

    def uri(self, user: str = 'bob') -> str:
        """Where the program takes calls."""
        return f'sip:{user}@127.0.0.1:{port_of(self.native) if "A" in self.kind else self.config["_sip_port"]}'

    def call(self, **options: Any) -> OutgoingLeg:
        """Alice calls Bob."""
        options = {'from_': '"Alice A." <sip:alice@example.com>', 'sdp': CALLER_SDP, **options}
        leg = self.alice.invite(self.uri(), **options)
        self.kinds[leg.call_id] = self.kind
        return leg

    @property
    def controller(self) -> Controller:
        return self.controllers[-1]

    def finished(self) -> Controller:
        """The controller of the latest call, once both of its legs are dead."""
        controller = self.controller
        assert controller.over.wait(5), controller.story
        return controller

    def close(self) -> None:
        for ua in (self.alice, self.bob, self.carol, self.native):
            ua.close()
        ED2.breakLoop()
        self.loop.get(timeout=5)
        self.manager.shutdown()


def port_of(ua: UserAgent) -> int:
    return ua.points[0].address[1]


@pytest.fixture
def make_stage(free_port: Callable[[], int]) -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(**timeouts: float) -> Stage:
        made.append(Stage(iter(free_port, None), **timeouts))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage()


def answering(sdp: bytes = CALLEE_SDP, then: Callable[[IncomingLeg], object] = IncomingLeg.wait_ended
              ) -> Callable[[IncomingLeg], None]:
    """A handler that rings, answers, and stays."""
    def handler(leg: IncomingLeg) -> None:
        leg.ring()
        leg.answer(sdp)
        leg.wait_for('ACK', timeout=5)
        then(leg)

    return handler


def same_story(stage: Stage, play: Callable[[], None], kinds: tuple[str, ...] = KINDS) -> list[Any]:
    """``play`` with legs of sippy's and with native ones; what they told, the same each time."""
    stories = []
    for kind in kinds:
        stage.kind = kind
        play()
        controller = stage.finished()
        assert isinstance(controller.uaA, NativeUA) == ('A' in kind)
        assert isinstance(controller.uaO, NativeUA) == ('O' in kind)
        stories.append(controller.story)
        numbers, times = zip(*controller.numbers)
        assert list(numbers) == sorted(set(numbers))
        # The clocks of both worlds differ by what lies between two readings of them.
        assert all(later - sooner > -0.005 for sooner, later in itertools.pairwise(times))
        for ua in (controller.uaA, *controller.attempts):
            endings = [entry for entry in controller.story if entry[0] == ('A' if ua is controller.uaA else 'O')
                       and entry[1] in ('CCEventDisconnect', 'CCEventRedirect')]
            assert len(endings) <= 1
            assert ua.isDead() and not ua.isConnected()
            assert (ua.setup_ts, ua.disconnect_ts) != (None, None)
    for kind, story in zip(kinds, stories):
        assert story == stories[0], kind
    return stories[0]


def events(story: list[Any], side: str = '') -> list[str]:
    """The names of the events of a story."""
    return [entry[1].removeprefix('CCEvent') for entry in story if entry[0] in (side or 'AO') and entry[1][:2] == 'CC']


# -- the stories


def test_answered_and_hung_up_by_the_caller(stage: Stage) -> None:
    reasons = []
    stage.bob.serve(answering(then=lambda leg: reasons.append(leg.wait_ended(timeout=5).error)), background=True)

    def play() -> None:
        with stage.call(headers={'Reason': 'SIP;cause=480'}) as leg:
            leg.wait_for('180', timeout=5)
            leg.wait_for('200', timeout=5)
            assert leg.answer == CALLEE_SDP
            leg.hangup('Q.850;cause=16;text="bye, bye"')
            leg.wait_ended(timeout=5)

    story = same_story(stage, play)
    assert story[0] == ('A', 'CCEventTry', ('Call-ID', 'alice', 'bob', CALLER_SDP.decode(), None, 'Alice A.'), 'caller',
                        'SIP; cause=480')
    assert ('O', 'CCEventRing', (180, 'Ringing', None), 'callee', None) in story
    assert ('O', 'CCEventConnect', (200, 'OK', CALLEE_SDP.decode()), 'callee', None) in story
    assert ('A', 'CCEventDisconnect', None, 'caller', 'Q.850; cause=16; text="bye, bye"') in story
    assert [type(reason) for reason in reasons] == [RemoteHangup] * 4
    assert {reason.reason for reason in reasons} == {'Q.850; cause=16; text="bye, bye"'}


def test_hung_up_by_the_callee(stage: Stage) -> None:
    stage.bob.serve(answering(then=lambda leg: leg.hangup('Q.850;cause=31')), background=True)

    def play() -> None:
        with stage.call() as leg:
            error = leg.wait_ended(timeout=5).error
            assert isinstance(error, RemoteHangup) and error.reason == 'Q.850; cause=31'

    assert events(same_story(stage, play), 'O') == ['Ring', 'Connect', 'Disconnect']


def test_what_a_program_asks_a_leg(stage: Stage) -> None:
    """The rest of a UA's interface, with the values that sippy's own has."""
    stage.bob.serve(answering(), background=True)
    seen = []

    def play() -> None:
        with stage.call() as leg:
            leg.wait_for('200', timeout=5)
            leg.request('INFO', timeout=5)
            controller = stage.controller
            for ua in (controller.uaA, controller.uaO):
                assert ua.isConnected() and not ua.isDead()
            a, o = controller.uaA, controller.uaO
            assert a.getCID() == (leg.call_id, leg.remote.tag, leg.local.tag)
            assert o.getCID()[0] == leg.call_id and o.getCID()[1] != o.getCID()[2]
            assert o.getRAddr0()[0] == o.rAddr0[0] == ('127.0.0.1', port_of(stage.bob))
            # The user agent of a greensip leg is in its requests and responses.
            assert a.remote_ua == o.remote_ua == 'greensip'
            for ua in (a, o):
                duration, delay, connected, disconnected = ua.getAcct()
                assert 0 < duration < 5 and 0 < delay < 5 and connected and not disconnected
                assert ua.setup_ts <= ua.p1xx_ts <= ua.connect_ts
            seen.append([(ua.getCLI(), ua.getCLD(), ua.getCallingName(), str(ua.state), str(ua.rSDP), str(ua.lSDP),
                          str(ua.rTarget)) for ua in (a, o)])
        duration, _, connected, disconnected = stage.finished().uaO.getAcct()
        assert 0 < duration < 5 and connected and disconnected

    same_story(stage, play)
    assert seen[0][1][:3] == ('alice', 'bob', 'Alice A.')
    for one in seen[1:]:
        assert one == seen[0]


def test_busy_with_failover(stage: Stage) -> None:
    stage.routes.append((port_of(stage.carol), {}))
    stage.bob.serve(lambda leg: leg.reject(486, headers={'Reason': 'Q.850;cause=17'}), background=True)
    stage.carol.serve(answering(), background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_for('200', timeout=5)

    story = same_story(stage, play)
    assert events(story, 'O') == ['Fail', 'Ring', 'Connect']
    assert ('O', 'CCEventFail', (486, 'Busy Here', None), 'callee', 'Q.850; cause=17') in story


def test_refused_by_all(stage: Stage) -> None:
    stage.bob.serve(lambda leg: leg.reject(603, 'Not Now', body='sorry', headers={'Reason': 'Q.850;cause=21'}),
                    background=True)

    def play() -> None:
        with stage.call() as leg, pytest.raises(ResponseError) as caught:
            leg.wait_for('200', timeout=5)
        assert (caught.value.code, caught.value.reason) == (603, 'Not Now')
        assert caught.value.response.get('Reason') == 'Q.850; cause=21'

    assert events(same_story(stage, play)) == ['Try', 'Fail']


def test_cancelled(stage: Stage) -> None:
    ends = []

    def ring(leg: IncomingLeg) -> None:
        leg.ring()
        ends.append(leg.wait_ended(timeout=5).error)

    stage.bob.serve(ring, background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_for('180', timeout=5)
            leg.cancel('SIP;cause=600')
            with pytest.raises(RequestTerminated):
                leg.wait_for('200', timeout=5)

    story = same_story(stage, play)
    assert ('A', 'CCEventDisconnect', None, 'caller', 'SIP; cause=600') in story
    # The UA of sippy that calls Bob passes the Reason on to its CANCEL.
    assert [(type(end), end.reason) for end in ends] == [(RemoteCancel, 'SIP; cause=600')] * 4


def test_held_and_taken_up_again_by_either_side(stage: Stage) -> None:
    offers = []

    def talk(leg: IncomingLeg) -> None:
        request = leg.wait_for('INVITE', timeout=5)
        offers.append(request.message.body)
        leg.respond(request, 200, body=HELD_ANSWER)
        answer = leg.reinvite(CALLEE_SDP.replace(b'- 1 1 ', b'- 1 3 '), headers={'Reason': 'SIP;text="up again"'},
                              timeout=5)
        offers.append(answer.body)
        leg.wait_ended(timeout=10)

    stage.bob.manual = ('INVITE',)
    stage.bob.serve(answering(then=talk), background=True)
    stage.alice.manual = ('INVITE',)

    def play() -> None:
        with stage.call(manual=('INVITE',)) as leg:
            leg.wait_for('200', timeout=5)
            assert leg.reinvite(HELD, timeout=5).body == HELD_ANSWER
            request = leg.wait_for('INVITE', timeout=5)
            offers.append(request.message.body)
            leg.respond(request, 200, body=CALLER_SDP.replace(b'- 1 1 ', b'- 1 3 '))
            leg.wait_for('ACK', timeout=5)

    story = same_story(stage, play)
    assert events(story) == ['Try', 'Ring', 'Connect', 'Update', 'Connect', 'Update', 'Connect', 'Disconnect']
    assert ('A', 'CCEventUpdate', HELD.decode(), 'caller', None) in story
    assert ('O', 'CCEventConnect', (200, 'OK', HELD_ANSWER.decode()), 'callee', None) in story
    assert offers[:3] == offers[3:6] == offers[6:9] == offers[9:]


def test_reinvite_that_is_refused_ends_nothing(stage: Stage) -> None:
    def refuse(leg: IncomingLeg) -> None:
        leg.respond(leg.wait_for('INVITE', timeout=5), 488, headers={'Warning': '305 bob "no"'})
        leg.wait_ended(timeout=5)

    stage.bob.manual = ('INVITE',)
    stage.bob.serve(answering(then=refuse), background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_for('200', timeout=5)
            with pytest.raises(ResponseError, match='488'):
                leg.reinvite(HELD, timeout=5)
            leg.request('INFO', timeout=5)

    assert events(same_story(stage, play)) == ['Try', 'Ring', 'Connect', 'Update', 'Fail', 'Info', 'Disconnect']


def test_info_both_ways(stage: Stage) -> None:
    bodies = []

    def talk(leg: IncomingLeg) -> None:
        request = leg.wait_for('INFO', timeout=5).message
        bodies.append((request.body, request.get('Content-Type')))
        leg.request('INFO', body='Signal=2\r\n', content_type='application/dtmf-relay', timeout=5)
        leg.wait_ended(timeout=5)

    stage.bob.serve(answering(then=talk), background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_for('200', timeout=5)
            leg.request('INFO', body='Signal=1\r\n', content_type='application/dtmf-relay', timeout=5)
            request = leg.wait_for('INFO', timeout=5).message
            bodies.append((request.body, request.get('Content-Type')))

    story = same_story(stage, play)
    assert [entry[2] for entry in story if entry[1] == 'CCEventInfo'] == ['Signal=1\r\n', 'Signal=2\r\n']
    assert set(bodies) == {(b'Signal=1\r\n', 'application/dtmf-relay'), (b'Signal=2\r\n', 'application/dtmf-relay')}


@pytest.mark.parametrize(('code', 'count'), [(302, 1), (301, 2), (300, 2)])
def test_redirected(stage: Stage, code: int, count: int) -> None:
    contacts = ['<sip:carol@192.0.2.1:5070;transport=tcp>;q=0.7', '"Dave" <sip:dave@192.0.2.2>'][:count]
    stage.bob.serve(lambda leg: leg.redirect(contacts, code), background=True)
    found = []

    def play() -> None:
        with stage.call() as leg, pytest.raises(Redirected) as caught:
            leg.wait_for('200', timeout=5)
        found.append([str(contact.uri) for contact in caught.value.contacts])

    story = same_story(stage, play)
    assert events(story) == ['Try', 'Redirect']
    targets = next(entry[2][3] for entry in story if entry[1] == 'CCEventRedirect')
    assert len(targets) == (count if code == 300 else 1)
    # The caller has them by their q.
    assert found == [[target.partition('<')[2].partition('>')[0] for target in reversed(targets)]] * 4


def test_late_offer(stage: Stage) -> None:
    answers = []

    def answer(leg: IncomingLeg) -> None:
        assert not leg.offer
        leg.ring()
        leg.answer(CALLEE_SDP)
        answers.append(leg.wait_for('ACK', timeout=5).message.body)
        leg.wait_ended(timeout=5)

    stage.bob.serve(answer, background=True)

    def play() -> None:
        with stage.call(sdp=b'') as leg:
            leg.wait_for('200', timeout=5)
            leg.ack(CALLER_SDP)
            leg.request('INFO', timeout=5)

    story = same_story(stage, play)
    assert events(story) == ['Try', 'Ring', 'PreConnect', 'Connect', 'Info', 'Disconnect']
    assert ('A', 'CCEventConnect', ('ACK', 'ACK', CALLER_SDP.decode()), 'caller', None) in story
    assert answers == [CALLER_SDP] * 4


def test_late_offer_given_up_before_its_answer(stage: Stage) -> None:
    stage.bob.serve(answering(), background=True)

    def play() -> None:
        with stage.call(sdp=b'') as leg:
            leg.wait_for('200', timeout=5)

    assert events(same_story(stage, play))[:4] == ['Try', 'Ring', 'PreConnect', 'Connect']


def test_early_media(stage: Stage) -> None:
    def handler(leg: IncomingLeg) -> None:
        leg.progress(183, reason='Listen', sdp=CALLEE_SDP)
        leg.progress(181)
        leg.answer(CALLEE_SDP)
        leg.wait_ended(timeout=5)

    stage.bob.serve(handler, background=True)

    def play() -> None:
        with stage.call() as leg:
            assert leg.wait_for('183', timeout=5).message.body == CALLEE_SDP
            leg.wait_for('181', timeout=5)
            leg.wait_for('200', timeout=5)

    story = same_story(stage, play)
    assert ('O', 'CCEventRing', (183, 'Listen', CALLEE_SDP.decode()), 'callee', None) in story
    assert ('O', 'ring', 'callee', 183) in story


@pytest.mark.parametrize(('options', 'settings', 'handler', 'names'), [
    ({'credit_time': 0.1}, {}, answering(), ['Try', 'Ring', 'Connect', 'Disconnect']),
    ({'expire_time': 0.1}, {}, lambda leg: (leg.ring(), leg.wait_ended(timeout=5)), ['Try', 'Ring', 'Disconnect']),
    ({'expire_time': 9, 'no_progress_time': 0.1}, {}, lambda leg: (leg.progress(100), leg.wait_ended(timeout=5)),
     ['Try', 'Ring', 'Disconnect']),
    ({'expire_time': 9}, {'no_reply_time': 0.1}, lambda leg: leg.wait_ended(timeout=5), ['Try', 'Disconnect']),
], ids=['credit', 'expire', 'no-progress', 'no-reply'])
def test_time_limits(stage: Stage, options: Any, settings: Any, handler: Any, names: list[str]) -> None:
    stage.routes = [(port_of(stage.bob), {**options, 'settings': settings})]
    stage.bob.serve(handler, background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_ended(timeout=5)

    assert events(same_story(stage, play)) == names


def test_time_limit_of_the_caller(stage: Stage) -> None:
    stage.caller_options = {'expire_time': 0.1}
    stage.bob.serve(lambda leg: (leg.ring(), leg.wait_ended(timeout=5)), background=True)

    def play() -> None:
        with stage.call() as leg, pytest.raises(ResponseError) as caught:
            leg.wait_for('200', timeout=5)
        assert (caught.value.code, caught.value.reason) == (500, 'Disconnected')

    assert events(same_story(stage, play)) == ['Try', 'Ring', 'Disconnect']


# -- further stories


def test_sdp_that_is_changed_on_its_way(stage: Stage) -> None:
    """What b2bua.py does with RTPProxy: each description is given back later, or at once, or refused."""
    def later(body: Any, done: Callable[..., None]) -> None:
        changed = MsgBody(str(body).replace('127.0.0.1\r\nt', '192.0.2.1\r\nt'))
        changed.needs_update = False
        body.content, body.needs_update = changed.content, False
        ED2.callFromThread(done, body)

    settings = {'on_local_sdp_change': later, 'on_remote_sdp_change': later}
    stage.caller_options = {'settings': settings}
    stage.routes = [(port_of(stage.bob), {'settings': settings})]
    offers = []

    def talk(leg: IncomingLeg) -> None:
        offers.append(leg.offer)
        leg.wait_for('INVITE', timeout=5)
        offers.append(leg.remote_sdp)
        leg.wait_ended(timeout=5)

    stage.bob.serve(answering(then=talk), background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_for('200', timeout=5)
            assert b'c=IN IP4 192.0.2.1\r\n' in leg.answer
            assert b'c=IN IP4 192.0.2.1\r\n' in leg.reinvite(HELD, timeout=5).body

    story = same_story(stage, play)
    assert events(story) == ['Try', 'Ring', 'Connect', 'Update', 'Connect', 'Disconnect']
    assert len(offers) == 8 and all(b'c=IN IP4 192.0.2.1\r\n' in offer for offer in offers)


@pytest.mark.parametrize('side', ['caller', 'callee'])
@pytest.mark.parametrize('later', [False, True])
def test_sdp_that_is_refused_on_its_way(stage: Stage, side: str, later: bool) -> None:
    from sippy.Exceptions.SdpParseError import SdpParseError

    def refuse(body: Any, done: Callable[..., None]) -> None:
        error = SdpParseError('not this one')
        if not later:
            raise error
        ED2.callFromThread(lambda: done(None, ex=error))

    settings = {'settings': {'on_remote_sdp_change': refuse}}
    if side == 'caller':
        stage.caller_options = settings
    else:
        stage.routes = [(port_of(stage.bob), settings)]
    stage.bob.serve(answering(), background=True)
    codes = []
    stories = []
    for kind in KINDS:
        stage.kind = kind
        with stage.call() as leg:
            error = leg.wait_ended(timeout=5).error
            codes.append((type(error), getattr(error, 'code', None), error.reason))
        controller = stage.controller
        if side == 'callee' or later:
            stage.finished()
        stories.append(controller.story)
    assert codes == [codes[0]] * 4
    assert stories == [stories[0]] * 4


def test_refer_ends_the_leg_with_the_new_target(stage: Stage) -> None:
    def handler(leg: IncomingLeg) -> None:
        leg.ring()
        leg.answer(CALLEE_SDP)
        leg.wait_for('ACK', timeout=5)
        leg.request('REFER', headers={'Refer-To': '<sip:carol@192.0.2.1>'}, timeout=5)
        leg.wait_ended(timeout=5)

    stage.bob.serve(handler, background=True)
    stage.alice.manual = ('REFER',)
    referred = []

    def play() -> None:
        with stage.call(manual=('REFER',)) as leg:
            leg.wait_for('200', timeout=5)
            request = leg.wait_for('REFER', timeout=5)
            referred.append((request.message.get('Refer-To'), request.message.get('Referred-By')))
            leg.respond(request, 202)
            assert isinstance(leg.wait_ended(timeout=5).error, RemoteHangup)

    story = same_story(stage, play)
    assert ('O', 'CCEventDisconnect', '<sip:carol@192.0.2.1>', 'callee', None) in story
    assert {to for to, _ in referred} == {'<sip:carol@192.0.2.1>'}
    assert all(by is not None for _, by in referred)


def test_also_in_a_bye(stage: Stage) -> None:
    fields = []

    def leave(leg: IncomingLeg) -> None:
        leg.hangup(headers={'Also': '<sip:carol@192.0.2.1>'})

    stage.bob.serve(answering(then=leave), background=True)
    stage.caller_options = {'settings': {'useRefer': False}}

    def play() -> None:
        with stage.call() as leg:
            fields.append(leg.wait_ended(timeout=5).error.message.get('Also'))

    story = same_story(stage, play)
    assert ('O', 'CCEventDisconnect', '<sip:carol@192.0.2.1>', 'callee', None) in story
    assert fields == ['<sip:carol@192.0.2.1>'] * 4


def test_keep_alive(stage: Stage) -> None:
    stage.routes = [(port_of(stage.bob), {'settings': {'kaInterval': 0.05}})]
    stage.bob.manual = ('INVITE',)

    def talk(leg: IncomingLeg) -> None:
        for _ in range(2):
            leg.respond(leg.wait_for('INVITE', timeout=5), 200, body=CALLEE_SDP)
        leg.hangup()

    stage.bob.serve(answering(then=talk), background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_ended(timeout=5)

    assert events(same_story(stage, play)) == ['Try', 'Ring', 'Connect', 'Disconnect']


def test_events_that_make_no_sense(stage: Stage) -> None:
    """Each is ignored or not in every state as sippy does, by the UA of either direction."""
    nonsense = [
        lambda: CCEventRing((180, 'Ringing', None)), lambda: CCEventConnect((200, 'OK', None)),
        lambda: CCEventPreConnect((200, 'OK', None)), lambda: CCEventInfo(MsgBody('x')),
        lambda: CCEventTry((None, 'a', 'b', None, None, None)),
    ]
    outcome: list[Any] = []

    def poke(controller: Controller, event: Any, ua: Any) -> None:
        # A callee's leg is told what only a caller's understands, and the other way round.
        states = []
        if isinstance(event, CCEventTry):
            fresh = NativeUA(stage.native, stage.config) if 'O' in stage.kind else UA(stage.config)
            for make in nonsense[:-1]:
                fresh.recvEvent(make())
                states.append(str(fresh.state))
            for make in (*nonsense[3:], lambda: CCEventUpdate(MsgBody(HELD.decode()))):
                controller.uaA.recvEvent(make())
                states.append(str(controller.uaA.state))
        else:
            over = isinstance(event, CCEventDisconnect)
            for make in (*nonsense, CCEventDisconnect, lambda: CCEventFail((500, 'x'))) if over else nonsense:
                controller.uaO.recvEvent(make())
                states.append(str(controller.uaO.state))
                if over:
                    controller.uaA.recvEvent(make())
        outcome.append((str(event), states))

    stage.on_event = poke

    def handler(leg: IncomingLeg) -> None:
        leg.ring()
        leg.answer(CALLEE_SDP)
        leg.wait_for('INFO', timeout=5)
        leg.wait_ended(timeout=5)

    stage.bob.serve(handler, background=True)
    outcomes = []

    def play() -> None:
        outcome.clear()
        with stage.call() as leg:
            leg.wait_for('200', timeout=5)
        stage.finished()
        outcomes.append(outcome[:])

    assert events(same_story(stage, play)) == ['Try', 'Ring', 'Connect', 'Disconnect']
    assert outcomes == [outcomes[0]] * 4


def test_one_ending_only(stage: Stage) -> None:
    """sippy's own UA tells of another Disconnect each time when it is told to disconnect."""
    def again(controller: Controller, event: Any, ua: Any) -> None:
        if isinstance(event, CCEventDisconnect):
            ua.disconnect()
            controller.uaA.disconnect()

    stage.on_event = again
    stage.kind = 'AO'
    stage.bob.serve(answering(), background=True)
    with stage.call() as leg:
        leg.wait_for('200', timeout=5)
    assert events(stage.finished().story) == ['Try', 'Ring', 'Connect', 'Disconnect']


@pytest.mark.parametrize('make', [CCEventDisconnect, lambda: CCEventFail((503, 'x')),
                                  lambda: CCEventRedirect((302, 'x', None, ()))])
def test_end_before_the_beginning(stage: Stage, make: Callable[[], Any]) -> None:
    outcomes = []
    for kind in ('', 'O'):
        stage.kind = kind
        seen: list[str] = []
        options: dict[str, Any] = {'event_cb': lambda event, ua, seen=seen: seen.append(str(event)),
                                   'dead_cbs': (lambda ua, seen=seen: seen.append('dead'),)}
        ua = NativeUA(stage.native, stage.config, **options) if kind else UA(stage.config, **options)
        call_in_loop(ua.recvEvent, make())
        outcomes.append((ua.isDead(), seen))
    refused = isinstance(make(), CCEventRedirect)
    assert outcomes == [(not refused, [] if refused else ['dead'])] * 2


# -- what only native legs do


def failing(stage: Stage, **options: Any) -> Controller:
    """A call whose callee's leg is native and fails; the controller."""
    stage.kind = 'O'
    with stage.call(**options) as leg:
        leg.wait_ended(timeout=5)
    return stage.finished()


def test_nobody_there(stage: Stage, free_port: Callable[[], int]) -> None:
    """sippy's own waits for 32 seconds."""
    stage.routes = [(free_port(), {})]
    story = failing(stage).story
    assert ('O', 'CCEventFail', (503, 'Service Unavailable', None), 'callee', None) in story
    assert ('O', 'fail', 'callee', 503) in story


def test_no_answer_at_all(make_stage: Callable[..., Stage]) -> None:
    import socket

    stage = make_stage(t1=0.01)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(('127.0.0.1', 0))
        stage.routes = [(mute.getsockname()[1], {})]
        assert ('O', 'CCEventFail', (408, 'Request Timeout', None), 'callee', None) in failing(stage).story


@pytest.mark.parametrize(('cld', 'extra', 'outcome'), [
    ('bob\r\nX-Evil: 1', None, 200), ('b b"<>', None, 200), ('bob', 'x\r\nX-Evil: 1', 500),
], ids=['number', 'odd', 'header'])
def test_nothing_is_injected(stage: Stage, cld: str, extra: str | None, outcome: int) -> None:
    seen = []

    def handler(leg: IncomingLeg) -> None:
        seen.append((leg.invite.uri.user, leg.headers.get('X-Evil')))
        leg.answer(CALLEE_SDP)
        leg.wait_ended(timeout=5)

    stage.bob.serve(handler, background=True)
    if extra is not None:
        stage.routes[0][1]['extra_headers'] = (SipHeader(name='x-tra', bodys=extra),)

    def change(controller: Controller, event: Any, ua: Any) -> None:
        if isinstance(event, CCEventTry):
            data = event.getData()
            event.data = (*data[:2], cld, *data[3:])

    stage.on_event = change
    stage.kind = 'O'
    with stage.call() as leg:
        if outcome == 200:
            leg.wait_for('200', timeout=5)
        else:
            with pytest.raises(ResponseError, match='500'):
                leg.wait_for('200', timeout=5)
    stage.finished()
    assert seen == ([(cld, None)] if outcome == 200 else [])


def test_extra_headers_and_outbound_proxy(stage: Stage) -> None:
    seen: list[Any] = []

    def handler(leg: IncomingLeg) -> None:
        headers = leg.headers
        seen.append((str(leg.invite.uri), headers.all('X-One'), headers.get('X-Two'), headers.get('Route'),
                     headers.get('Max-Forwards'), str(leg.from_.without_param('tag')), str(leg.to)))
        leg.answer(CALLEE_SDP)
        leg.wait_ended(timeout=5)

    class Try(CCEventTry):
        """Uses sippy's hook for the last change before the INVITE goes out."""

        def onUacSetupComplete(self, uac: Any) -> None:
            self.extra_headers = (SipHeader('X-Two: 2'),)

    stage.carol.serve(handler, background=True)
    proxy = ('127.0.0.1', port_of(stage.carol))
    for native in (False, True):
        options: dict[str, Any] = {'nh_address': ('127.0.0.1', 9), 'event_cb': lambda event, ua: None,
                                   'extra_headers': (SipHeader('X-One: 1'), SipHeader('X-One: 2'))}
        ua = NativeUA(stage.native, stage.config, **options) if native else UA(stage.config, **options)
        ua.outbound_proxy = proxy
        connected = Flag()
        ua.conn_cbs = (lambda *args, connected=connected: connected.set(),)
        event = Try((SipCallId(), 'alice', 'bob', MsgBody(CALLER_SDP.decode()), None, 'Alice A.'))
        event.max_forwards = 42
        call_in_loop(ua.recvEvent, event)
        assert connected.wait(5)
        call_in_loop(ua.disconnect)
    common = (['1', '2'], '2', f'<sip:127.0.0.1:{proxy[1]};lr>', '42', '"Alice A." <sip:alice@127.0.0.1>',
              '<sip:bob@127.0.0.1>')
    # sippy does not tell its proxies that they are meant, and puts our address there as it sees fit.
    assert seen[1] == ('sip:bob@127.0.0.1:9', *common)
    assert seen[0] == ('sip:bob@127.0.0.1:9', *common[:2], None, *common[3:])


@pytest.mark.parametrize('right', [True, False])
def test_credentials(stage: Stage, right: bool) -> None:
    challenge = 'Digest realm="here", nonce="n0", algorithm=MD5'
    tries = []

    def handler(leg: IncomingLeg) -> None:
        login = leg.headers.get('Authorization')
        tries.append(login and login.partition('username=')[2].partition(',')[0])
        if login is None or not right:
            leg.reject(401, headers={'WWW-Authenticate': challenge})
        else:
            leg.answer(CALLEE_SDP)
            leg.wait_ended(timeout=5)

    stage.routes = [(port_of(stage.bob), {'username': 'me', 'password': 'secret'})]
    stage.bob.serve(handler, background=True)

    def play() -> None:
        with stage.call() as leg:
            if right:
                leg.wait_for('200', timeout=5)
            else:
                with pytest.raises(ResponseError, match='401'):
                    leg.wait_for('200', timeout=5)

    assert events(same_story(stage, play)) == (['Try', 'Connect', 'Disconnect'] if right else ['Try', 'Fail'])
    assert tries == [None, '"me"'] * 4


@pytest.mark.parametrize(('code', 'name'), [(401, 'WWW-Authenticate'), (407, 'Proxy-Authenticate')])
def test_challenges_are_passed(stage: Stage, code: int, name: str) -> None:
    """sippy 2.5.0 passes a 401 on, and stumbles over a 407."""
    challenge = 'Digest realm="there",nonce="n0",algorithm=MD5'
    stage.routes[0][1]['settings'] = {'pass_auth': True}
    stage.bob.serve(lambda leg: leg.reject(code, headers={name: challenge}), background=True)
    for kind in KINDS if code == 401 else ('O', 'AO'):
        stage.kind = kind
        with stage.call() as leg, pytest.raises(ResponseError) as caught:
            leg.wait_for('200', timeout=5)
        assert (caught.value.code, caught.value.response.get(name)) == (code, challenge)
        assert events(stage.finished().story) == ['Try', 'Fail']


def test_cancel_that_crosses_the_answer(stage: Stage) -> None:
    ends = []

    def handler(leg: IncomingLeg) -> None:
        leg.ring()
        leg.answer(CALLEE_SDP)
        ends.append(type(leg.wait_ended(timeout=5).error))

    stage.bob.serve(handler, background=True)

    def give_up(controller: Controller, event: Any, ua: Any) -> None:
        if isinstance(event, CCEventRing):
            controller.uaO.disconnect()

    stage.on_event = give_up

    def play() -> None:
        with stage.call() as leg, pytest.raises(ResponseError, match='500 Disconnected'):
            leg.wait_for('200', timeout=5)

    assert events(same_story(stage, play)) == ['Try', 'Ring', 'Disconnect']
    assert ends == [RemoteHangup] * 4


def test_cancelled_reinvite_ends_the_call_as_in_sippy(stage: Stage) -> None:
    stage.bob.manual = ('INVITE',)
    stage.bob.serve(answering(), background=True)

    def play() -> None:
        with stage.call() as leg:
            leg.wait_for('200', timeout=5)
            with pytest.raises(WaitTimeout):
                leg.reinvite(HELD, timeout=0.2)
            assert isinstance(leg.wait_ended(timeout=5).error, RemoteHangup)

    story = same_story(stage, play)
    assert [entry[1] for entry in story if entry[0] == 'A'][-2:] == ['disc', 'CCEventDisconnect']


def test_info_waits_for_an_update_to_end(stage: Stage) -> None:
    """sippy drops it and hopes for its repetition."""
    stage.kind = 'AO'
    order = []

    def talk(leg: IncomingLeg) -> None:
        request = leg.wait_for('INVITE', timeout=5)
        info = leg.spawn(lambda leg: order.append(('INFO', leg.request('INFO', body='x', timeout=5).code)))
        gevent.sleep(0.05)
        order.append(('INVITE', 200))
        leg.respond(request, 200, body=HELD_ANSWER)
        info.join(5)
        leg.wait_ended(timeout=5)

    stage.bob.manual = ('INVITE',)
    stage.bob.serve(answering(then=talk), background=True)
    with stage.call() as leg:
        leg.wait_for('200', timeout=5)
        leg.reinvite(HELD, timeout=5)
        leg.wait_for('INFO', timeout=5)
    assert events(stage.finished().story, 'O') == ['Ring', 'Connect', 'Connect', 'Info']
    assert order == [('INVITE', 200), ('INFO', 200)]


def test_update_is_an_update(stage: Stage) -> None:
    stage.kind = 'A'
    early = Flag()

    def handler(leg: IncomingLeg) -> None:
        leg.progress(183, sdp=CALLEE_SDP)
        early.wait(5)
        leg.answer(CALLEE_SDP)
        leg.respond(leg.wait_for('INVITE', timeout=5), 200, body=HELD_ANSWER)
        leg.wait_ended(timeout=5)

    stage.bob.manual = ('INVITE',)
    stage.bob.serve(handler, background=True)
    # Without it Alice would not send an offer before hers is answered, and the core not take it.
    for ua in (stage.alice, stage.native):
        ua.core.configure(supported=['100rel'])
    with stage.call() as leg:
        leg.wait_for('183', timeout=5)
        with pytest.raises(ResponseError, match='504'):
            leg.update(HELD, timeout=5)
        assert leg.update(timeout=5).body == b''
        early.set()
        leg.wait_for('200', timeout=5)
        assert leg.update(timeout=5).code == 200
        assert leg.update(HELD, timeout=5).body == HELD_ANSWER
    story = stage.finished().story
    assert [entry[2] for entry in story if entry[1] == 'CCEventUpdate'] == [HELD.decode()]


def test_invite_expires(stage: Stage) -> None:
    stage.bob.serve(lambda leg: (leg.ring(), leg.wait_ended(timeout=5)), background=True)

    def play() -> None:
        with stage.call(headers={'Expires': '1'}) as leg, pytest.raises(RequestTerminated) as caught:
            leg.wait_for('200', timeout=5)
        assert caught.value.code == 487

    assert events(same_story(stage, play, ('', 'A'))) == ['Try', 'Ring', 'Disconnect']


def test_our_invite_expires(stage: Stage) -> None:
    stage.kind = 'O'
    stage.bob.serve(lambda leg: (leg.ring(), leg.wait_ended(timeout=5)), background=True)
    with stage.call() as leg:
        leg.wait_for('180', timeout=5)
        # After five minutes.
        call_in_loop(stage.controller.uaO.link.on_expired)
        with pytest.raises(ResponseError, match='408'):
            leg.wait_for('200', timeout=5)
    assert ('O', 'CCEventFail', (408, 'Request Timeout', None), 'callee', None) in stage.finished().story


@pytest.mark.parametrize('ringing', [True, False])
def test_the_user_agent_is_closed(stage: Stage, ringing: bool) -> None:
    stage.kind = 'AO'
    stage.bob.serve(answering() if not ringing else lambda leg: (leg.ring(), leg.wait_ended(timeout=5)),
                    background=True)
    with stage.call() as leg:
        leg.wait_for('180' if ringing else '200', timeout=5)
        stage.native.close()
        leg.wait_ended(timeout=5)
    names = events(stage.finished().story, 'A'), events(stage.controller.story, 'O')
    assert sum(side.count('Disconnect') + side.count('Fail') for side in names) in (1, 2)
    assert all(side.count('Disconnect') + side.count('Fail') <= 1 for side in names)


@pytest.mark.parametrize('side', ['A', 'O'])
def test_the_peer_is_gone(make_stage: Callable[..., Stage], side: str) -> None:
    """A request inside the call that nobody answers ends it (RFC 3261 12.2.1.2), once for each leg."""
    stage = make_stage(t1=0.01)
    stage.kind = 'AO'
    stage.bob.serve(answering(), background=True)
    leg = stage.call()
    leg.wait_for('200', timeout=5)
    peer = stage.alice if side == 'A' else stage.bob
    peer.endpoint.close()
    controller = stage.controller
    call_in_loop((controller.uaA if side == 'A' else controller.uaO).recvEvent, CCEventInfo(MsgBody('hello?')))
    story = stage.finished().story
    assert events(story) == ['Try', 'Ring', 'Connect', 'Disconnect']
    assert story[-1][0] == side or ('A' if side == 'O' else 'O', 'disc') == story[-1][:2]


def test_an_exception_in_a_callback(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    stage.kind = 'A'

    def fail(controller: Controller, event: Any, ua: Any) -> None:
        raise ValueError('a bug of the program')

    stage.on_event = fail
    with stage.call() as leg, pytest.raises(ResponseError, match='500'):
        leg.wait_for('200', timeout=5)
    stage.on_event = None
    stage.bob.serve(answering(), background=True)
    with stage.call() as leg:
        leg.wait_for('200', timeout=5)
    stage.finished()


def test_an_answer_that_a_callback_fails_at(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """The call that nobody would know of is hung up, and its leg has failed."""
    stage.kind = 'O'

    def fail(body: Any, done: Any) -> Any:
        raise ValueError('a bug of the program')

    stage.routes[0][1]['settings'] = {'on_remote_sdp_change': fail}
    stage.bob.serve(answering(), background=True)
    with stage.call() as leg, pytest.raises(ResponseError):
        leg.wait_for('200', timeout=5)
    assert events(stage.finished().story, 'O') == ['Ring', 'Fail']


# -- hand_over


@pytest.mark.parametrize(('recv_request', 'code'), [
    (lambda req, sip_t: (req.genResponse(403, 'Forbidden', ext_reason='not you'), None, None), 403),
    (lambda req, sip_t: None, 480),
    (lambda req, sip_t: (None, None, None), 480),
    (lambda req, sip_t: 1 // 0, 500),
    (lambda req, sip_t: UA({'_sip_tm': None}).recvRequest(req, sip_t), 500),
], ids=['response', 'nothing', 'nobody', 'exception', 'no-manager'])
def test_calls_that_nobody_takes(stage: Stage, recv_request: Callable[..., Any], code: int) -> None:
    stage.carol.serve(lambda leg: hand_over(leg, recv_request), background=True)
    with stage.alice.invite(f'sip:x@127.0.0.1:{port_of(stage.carol)}') as leg, pytest.raises(ResponseError) as caught:
        leg.wait_for('200', timeout=5)
    assert caught.value.code == code
    if code == 403:
        assert caught.value.response.get('Reason') == 'SIP; cause=403; text="not you"'


def test_a_native_ua_cannot_answer_for_sippys_manager(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    errors = []

    def recv_request(req: Any, sip_t: Any) -> Any:
        try:
            return NativeUA(stage.native, stage.config).recvRequest(req, sip_t)
        except UsageError as error:
            errors.append(str(error))
            return (req.genResponse(500, 'No'), None, None)

    stage.manager.req_cb = recv_request
    with stage.call() as leg, pytest.raises(ResponseError):
        leg.wait_for('200', timeout=5)
    assert 'must be a UA' in errors[0]


def test_a_ua_of_sippys_cannot_answer_for_a_native_leg(stage: Stage) -> None:
    errors = []

    def recv_request(req: Any, sip_t: Any) -> Any:
        assert req.leg.invite.uri.user == 'x'
        try:
            return UA(stage.config).recvRequest(req, sip_t)
        except UsageError as error:
            errors.append(str(error))
            return None

    stage.carol.serve(lambda leg: hand_over(leg, recv_request), background=True)
    with stage.alice.invite(f'sip:x@127.0.0.1:{port_of(stage.carol)}') as leg, pytest.raises(ResponseError):
        leg.wait_for('200', timeout=5)
    assert 'must be a NativeUA' in errors[0]


def test_what_recv_request_sees(stage: Stage) -> None:
    seen = []

    def recv_request(req: Any, sip_t: Any) -> Any:
        seen.append(((req.getMethod(), str(req.getRURI()), req.getSource(ver=2)[0][0], req.getSource(ver=2)[1]),
                     [str(header.getBody()) for header in req.getHFs('x-id')], req.getHFBody('via').getTAddr()[0],
                     req.getHFBody('max-forwards').getNum(), req.getHFBody('contact').getUrl().username,
                     str(req.getBody()), req.getHFBody('from').getUri().name, req.getHFBody('cseq').getCSeq()))
        return (req.genResponse(404, 'Not Found'), None, None)

    stage.config['_sip_tm'].req_cb = recv_request
    stage.carol.serve(lambda leg: hand_over(leg, recv_request), background=True)
    for port in (stage.config['_sip_port'], port_of(stage.carol)):
        with stage.alice.invite(f'sip:x%20y@127.0.0.1:{port};user=phone', from_='"A \\"B\\"" <sip:a@b>', sdp=CALLER_SDP,
                                headers=[('X-Id', '1'), ('X-Id', '2')], route=f'<sip:127.0.0.1:{port};lr>') as leg:
            leg.wait_ended(timeout=5)
    native, stock = seen[1], seen[0]
    assert (native[0][0], native[0][2:]) == (stock[0][0], stock[0][2:])
    assert native[1:] == stock[1:]
    assert native[1] == ['1', '2']


def test_wrong_thread(stage: Stage) -> None:
    errors: list[Exception] = []

    def make() -> None:
        try:
            NativeUA(stage.native, stage.config)
        except WrongThread as error:
            errors.append(error)

    gevent.get_hub().threadpool.apply(make)
    assert len(errors) == 1


@pytest.mark.parametrize('known', [True, False])
def test_source_address(stage: Stage, known: bool) -> None:
    stage.kind = 'O'
    stage.bob.serve(answering(), background=True)
    port = port_of(stage.native) if known else 9
    stage.routes[0][1]['settings'] = {'source_address': ('127.0.0.1', port)}
    with stage.call() as leg:
        if known:
            leg.wait_for('200', timeout=5)
        else:
            with pytest.raises(ResponseError, match='500'):
                leg.wait_for('200', timeout=5)


# -- both worlds at once


def test_callbacks_never_interleave(stage: Stage) -> None:
    inside = []
    overlaps = []

    def linger(controller: Controller, event: Any, ua: Any) -> None:
        overlaps.extend(inside)
        inside.append(str(event))
        gevent.sleep(0.002)
        inside.pop()

    stage.on_event = linger
    stage.bob.serve(answering(), background=True)

    def call(kind: str) -> None:
        stage.kind = kind
        with stage.call() as leg:
            leg.wait_for('200', timeout=10)
            leg.request('INFO', timeout=10)

    gevent.joinall([gevent.spawn(call, kind) for kind in KINDS * 5], raise_error=True, timeout=30)
    assert overlaps == []
    assert len(stage.controllers) == 20
    for controller in stage.controllers:
        assert controller.over.wait(5)
        assert events(controller.story) == ['Try', 'Ring', 'Connect', 'Info', 'Disconnect']


def test_linear_code_from_a_callback_and_back(stage: Stage) -> None:
    """A callback of sippy's starts a script that makes a call of its own, then goes on in the loop."""
    stage.bob.serve(answering(), background=True)
    done = []

    def ask_somebody(controller: Controller, event: Any) -> None:
        with stage.native.invite(f'sip:judge@127.0.0.1:{port_of(stage.carol)}') as leg:
            verdict = leg.wait_for('MESSAGE', timeout=5).message.body
        done.append(verdict)
        call_in_loop(controller.uaA.recvEvent, CCEventFail((403, verdict.decode())))

    def start(controller: Controller, event: Any, ua: Any) -> None:
        if isinstance(event, CCEventTry):
            controller.place = lambda: None
            run_in_greenlet(ask_somebody, controller, event)

    def judge(leg: IncomingLeg) -> None:
        leg.answer()
        leg.message('No')
        leg.wait_ended(timeout=5)

    stage.on_event = start
    stage.carol.serve(judge, background=True)
    for kind in ('', 'A'):
        stage.kind = kind
        with stage.call() as leg, pytest.raises(ResponseError) as caught:
            leg.wait_for('200', timeout=5)
        assert (caught.value.code, caught.value.reason) == (403, 'No')
    assert done == [b'No'] * 2


# -- sippy's own programs


class Both:
    """Stands for the name UA in one of sippy's modules: its first leg of a call, its second, or both, are native."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.made: list[Any] = []

    def __call__(self, global_config: Any, *args: Any, **kwargs: Any) -> Any:
        side = 'O' if 'nh_address' in kwargs or len(args) > 3 else 'A'
        first = (self.stage.native, global_config) if side in self.stage.kind else (global_config,)
        ua = (NativeUA if side in self.stage.kind else UA)(*first, *args, **kwargs)
        ua.godead_timeout = 0.02
        self.made.append(ua)
        return ua


@pytest.mark.parametrize('kind', KINDS)
def test_b2bua_simple(stage: Stage, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from sippy import b2bua_simple

    stage.kind = kind
    both = Both(stage)
    monkeypatch.setattr(b2bua_simple, 'UA', both)
    stage.config['nh_addr'] = ('127.0.0.1', port_of(stage.bob))
    monkeypatch.setattr(stage, 'recvRequest', b2bua_simple.CallMap(stage.config).recvRequest)
    stage.manager.req_cb = stage.recvRequest
    stage.bob.serve(answering(), background=True)
    with stage.call() as leg:
        leg.wait_for('180', timeout=5)
        leg.wait_for('200', timeout=5)
        assert leg.answer == CALLEE_SDP
        leg.request('INFO', timeout=5)
    assert [isinstance(ua, NativeUA) for ua in both.made] == ['A' in kind, 'O' in kind]


@pytest.mark.filterwarnings('ignore:websockets')
@pytest.mark.parametrize('kind', KINDS)
def test_b2bua(stage: Stage, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The controller of sippy's b2bua: two routes with options, limits, failover."""
    from sippy import b2bua
    from sippy.B2B.Route import B2BRoute
    from sippy.MyConfigParser import MyConfigParser

    stage.kind = kind
    both = Both(stage)
    monkeypatch.setattr(b2bua, 'UA', both)
    config = MyConfigParser()
    for name, value in stage.config.items():
        config[name] = value
    for name in ('auth_enable', 'acct_enable', 'keepalive_ans', 'keepalive_orig'):
        config.check_and_set(name, '0')
    config['_uaname'] = 'a B2BUA'
    config['_static_routes'] = {'': None}

    class Calls:
        debug_mode = False
        ccmap: list[Any] = []

    config['_cmap'] = Calls
    seen = []

    def busy(leg: IncomingLeg) -> None:
        seen.append((leg.invite.uri.user, leg.headers.get('X-Route'), leg.call_id))
        leg.reject(486)

    def serve(leg: IncomingLeg) -> None:
        seen.append((leg.invite.uri.user, leg.headers.get('X-Route'), leg.call_id))
        answering()(leg)

    stage.carol.serve(busy, background=True)
    stage.bob.serve(serve, background=True)

    def recv_request(req: Any, sip_t: Any) -> Any:
        source = req.getSource(ver=2)[0]
        controller = b2bua.CallController('127.0.0.1', source, source[0], req.getRURI(), config, [])
        Calls.ccmap.append(controller)
        routes = [f'first@127.0.0.1:{port_of(stage.carol)};expires=30',
                  f'second@127.0.0.1:{port_of(stage.bob)};credit-time=30;ash=X-Route%3A2']

        def authorised(results: Any) -> None:
            for number, text in enumerate(routes, 1):
                route = B2BRoute(text)
                route.customize(number, controller.cld, controller.cli, None, [], None)
                controller.routes.append(route)
            controller.acctA = b2bua.FakeAccounting()
            controller.state = b2bua.CCStateARComplete
            controller.placeOriginate(controller.routes.pop(0))

        controller.rDone = authorised
        return controller.uaA.recvRequest(req, sip_t)

    monkeypatch.setattr(stage, 'recvRequest', recv_request)
    stage.manager.req_cb = recv_request
    with stage.call() as leg:
        leg.wait_for('180', timeout=5)
        leg.wait_for('200', timeout=5)
        assert leg.answer == CALLEE_SDP
    assert seen == [('first', None, f'{leg.call_id}-b2b_1'), ('second', '2', f'{leg.call_id}-b2b_2')]
    assert [isinstance(ua, NativeUA) for ua in both.made] == ['A' in kind, 'O' in kind, 'O' in kind]
