"""Session timers (RFC 4028) as a script sees them: ``session_timer=``, ``min_se=``, and the loss of a call.

The rules themselves are tested in ``tests/dialog/test_session_timer.py``.
"""

from __future__ import annotations

import contextlib

import pytest

from greensip.errors import LocalHangup, SessionExpired, UsageError

from .conftest import SDP, answering, sdp_of_port
from .peer import RawPeer


@pytest.fixture
def carol(net):
    """A peer that says only what the test says."""
    with contextlib.closing(RawPeer(net, 'carol')) as made:
        yield made


def counted(net, title):
    return [(arrow.source, arrow.destination) for arrow in net.ladder.arrows if arrow.title == title]


def test_a_long_call_is_refreshed(alice, agent, net):
    calls = []
    agent('bob').serve(lambda leg: (calls.append(leg), answering(leg)), background=True)
    with alice.call(net.uri('bob'), sdp=SDP, session_timer=90) as leg:
        assert (leg.session_timer.interval, leg.session_timer.refresher) == (90, 'local')
        assert (calls[0].session_timer.interval, calls[0].session_timer.refresher) == (90, 'remote')
        net.clock.sleep(200)
        assert leg.state == 'confirmed' and leg.session_timer.expires > net.clock.now()
    net.clock.sleep(1)
    assert isinstance(leg.error, LocalHangup)
    assert counted(net, 'UPDATE') == 4 * [('alice', 'bob')] and leg.session_timer is None


def test_settings_of_the_user_agent_hold_for_calls_that_come_in(agent, net):
    bob = agent('bob', session_timer='120;refresher=uas', min_se=100)
    bob.serve(answering, background=True)
    alice = agent('alice', session_timer=90)
    with alice.call(net.uri('bob')) as leg:
        # 90 was refused with 422, which nobody has to know about.
        assert (leg.session_timer.interval, leg.session_timer.refresher) == (100, 'remote')
        assert [response.code for response in leg.responses] == [180, 200]
        net.clock.sleep(60)
    assert counted(net, 'UPDATE') == [('bob', 'alice')] and len(counted(net, '422 INVITE')) == 1
    with alice.call(net.uri('bob'), session_timer=0) as leg:
        assert (leg.session_timer.interval, leg.session_timer.refresher) == (120, 'remote')


def test_nobody_asks_for_a_timer_by_itself(alice, agent, net):
    agent('bob').serve(answering, background=True)
    with alice.call(net.uri('bob')) as leg:
        assert leg.session_timer is None and leg.invite.get('Session-Expires') is None
        assert leg.invite.supported == leg.response.supported and 'timer' in leg.invite.supported
        net.clock.sleep(2000)
    assert counted(net, 'UPDATE') == counted(net, 'BYE')[:0]


def test_a_call_without_the_extension(agent, net):
    alice, bob = agent('alice', supported=()), agent('bob')
    bob.serve(answering, background=True)
    with alice.call(net.uri('bob')) as leg:
        assert not leg.invite.has('Supported') and leg.session_timer is None
    with pytest.raises(UsageError, match='timer'):
        alice.invite(net.uri('bob'), session_timer=90)


def test_a_peer_that_is_gone_ends_the_leg(alice, carol, net):
    with alice.invite(net.uri('carol'), sdp=SDP) as leg:
        carol.respond(carol.expect('INVITE'), 200, body=sdp_of_port(6000), Require='timer',
                      Session_Expires='90;refresher=uas')
        leg.wait_for('200')
        began = net.clock.now()
        with pytest.raises(SessionExpired) as caught:
            leg.wait_for('BYE')
        bye = next(arrow for arrow in net.ladder.arrows if arrow.title == 'BYE')
        assert bye.time - began == pytest.approx(60, abs=1)
        assert caught.value.reason == 'SIP;cause=408;text="Session expired"'
        assert carol.expect('BYE').get('Reason') == 'SIP;cause=408;text="Session expired"'


def test_a_strict_script_does_not_see_refreshes(alice, agent, net):
    agent('bob', session_timer='90;refresher=uas').serve(answering, background=True)
    with alice.invite(net.uri('bob'), sdp=SDP, strict=True) as leg:
        leg.wait_for('180')
        leg.wait_for('200')
        net.clock.sleep(50)
        assert counted(net, 'UPDATE') == [('bob', 'alice')]
        leg.hold()


def test_a_held_call_stays_held(alice, agent, net):
    bob = agent('bob', supported=())
    bob.core.configure(allow=('INVITE', 'ACK', 'BYE', 'CANCEL'))
    calls = []
    bob.serve(lambda leg: (calls.append(leg), answering(leg)), background=True)
    with alice.call(net.uri('bob'), sdp=SDP, session_timer=90) as leg:
        leg.hold()
        net.clock.sleep(100)
        assert leg.state == calls[0].state == 'held'
        assert len(counted(net, 'INVITE')) == 4
        leg.resume()
        assert leg.state == calls[0].state == 'confirmed'


@pytest.mark.parametrize('options', [{'session_timer': 30}, {'session_timer': 'long'}, {'min_se': 30}])
def test_what_makes_no_sense(agent, options):
    with pytest.raises(UsageError):
        agent('alice', **options)
