"""What the legs can do beyond RFC 3261: session timers, UPDATE, redirections that are followed."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.errors import Busy, ResponseError, SessionExpired, SetupError, Unavailable

from .test_call import SDP, Callee, Refusing, sdp_of_port


def titles(rig: Any, source: str, destination: str) -> list[str]:
    return [arrow.title for arrow in rig.net.ladder.arrows
            if (arrow.source, arrow.destination) == (source, destination)]


# -- session timers per leg


def test_without_it_there_is_none(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP, session_timer=90) as leg:
        assert not leg.response.has('Session-Expires') and not bob.invite.has('Supported')
        assert not bob.invite.has('Session-Expires')


def test_each_leg_has_a_session_timer_of_its_own(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '--session-timer', '300')
    with rig.caller.call(rig.uri(), sdp=SDP, session_timer='90;refresher=uac') as leg:
        assert leg.session_timer[:2] == (90, 'local')
        # The callee is one of ours: it lets the B2BUA refresh.
        assert bob.legs[0].session_timer[:2] == (300, 'remote')
        rig.net.run(200)
    assert titles(rig, 'caller', 'b2b').count('UPDATE') == 4
    assert titles(rig, 'b2b', 'bob').count('UPDATE') == 1
    assert titles(rig, 'bob', 'b2b').count('UPDATE') == titles(rig, 'b2b', 'caller').count('UPDATE') == 0


def test_only_what_peers_ask_for(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '--session-timer', '0', '--min-se', '200')
    with rig.caller.call(rig.uri(), sdp=SDP, session_timer=90) as leg:
        # 90 is too short for --min-se, and the callee is asked for nothing.
        assert leg.session_timer.interval == 200 and bob.legs[0].session_timer is None


def test_a_caller_that_is_gone(rig: Any) -> None:
    """The timer of one leg runs out: the other one learns the reason."""
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '--session-timer', '90')
    carol = rig.raw('carol')
    carol.request('INVITE', rig.uri(), body=SDP, Supported='timer', Session_Expires='90;refresher=uac')
    answer = carol.expect('SIP/2.0 200')
    assert answer.get('Session-Expires') == '90;refresher=uac'
    carol.request('ACK', rig.uri(), branch='z9hG4bKack', to_tag=answer.to_tag)
    bye = carol.expect('BYE', 70)
    assert bye.get('Reason') == 'SIP;cause=408;text="Session expired"'
    carol.respond(bye, 200)
    rig.net.run(1)
    assert bob.legs[0].error.reason == 'SIP;cause=408;text="Session expired"'
    record, = rig.records()
    assert record['released_by'] == 'caller-lost' and record['reason'] == 'SIP;cause=408;text="Session expired"'


def test_a_callee_that_is_gone(rig: Any) -> None:
    carol = rig.raw('carol')
    rig.b2bua('-s', '{carol}', '--session-timer', '90')
    with rig.caller.invite(rig.uri(), sdp=SDP, session_timer=0) as leg:
        invite = carol.expect('INVITE')
        assert invite.get('Session-Expires') == '90'
        carol.respond(invite, 200, sdp_of_port(5000), Require='timer', Session_Expires='90;refresher=uas',
                      Allow='INVITE, ACK, BYE')
        carol.expect('ACK')
        leg.wait_for('200')
        assert leg.session_timer[:2] == (90, 'remote')
        carol.respond(carol.expect('BYE', 70), 200)
        assert leg.wait_ended().error.reason == 'SIP;cause=408;text="Session expired"'
        assert not isinstance(leg.error, SessionExpired)


@pytest.mark.parametrize(('arguments', 'what'), [
    (('--session-timer', '60'), '90'), (('--session-timer', 'x'), 'number'), (('--min-se', '30'), '90'),
    (('--redirect', 'away'), 'follow'), (('--min-se', '100'), '--session-timer'),
])
def test_values_that_make_no_sense(rig: Any, arguments: tuple[str, ...], what: str) -> None:
    with pytest.raises(SetupError, match=what):
        rig.b2bua('-s', '{bob}', *arguments)


# -- UPDATE


def test_update_passes_both_ways(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        assert leg.update(sdp_of_port(4002)).code == 200
        assert bob.legs[0].remote_sdp == sdp_of_port(4002)
        assert bob.legs[0].update(sdp_of_port(5002)).code == 200
        assert leg.remote_sdp == sdp_of_port(5002)
        # Without a body it may still tell something.
        assert leg.update(headers={'X-Tell': 'it'}).code == 200
    assert titles(rig, 'b2b', 'bob').count('UPDATE') == 2


def test_an_update_for_a_peer_that_knows_none(rig: Any) -> None:
    bob = Callee()
    ua = rig.callee('bob', bob)
    ua.core.configure(allow=('INVITE', 'ACK', 'BYE', 'CANCEL'))
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        answer = leg.update(sdp_of_port(4002))
        assert answer.code == 200 and b'5000' in answer.body
        assert bob.legs[0].remote_sdp == sdp_of_port(4002)
        assert leg.update().code == 200
    assert titles(rig, 'b2b', 'bob').count('INVITE') == 2


def test_an_update_that_even_a_reinvite_cannot_do(rig: Any) -> None:
    carol = rig.raw('carol')
    rig.b2bua('-s', '{carol}')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        carol.respond(carol.expect('INVITE'), 200, sdp_of_port(5000))
        carol.expect('ACK')
        leg.wait_for('200')
        rig.net.run(1)

        def script() -> None:
            carol.respond(carol.expect('UPDATE'), 501)
            carol.respond(carol.expect('INVITE'), 488)
            carol.expect('ACK')
            carol.respond(carol.expect('BYE'), 200)

        task = leg.spawn(lambda leg: script())
        with pytest.raises(ResponseError) as caught:
            leg.update(sdp_of_port(4002))
        assert caught.value.code == 488 and leg.state == 'confirmed'
        leg.hangup()
        task.join()


# -- redirections


def redirecting(*targets: str) -> Any:
    return lambda leg: leg.redirect(list(targets))


def test_a_redirection_is_passed_on(rig: Any) -> None:
    rig.callee('bob', redirecting('sip:x@192.0.2.1'))
    rig.b2bua('-s', '{bob}')
    with pytest.raises(ResponseError) as caught:
        rig.caller.call(rig.uri())
    assert caught.value.code == 302


def test_a_redirection_is_followed(rig: Any) -> None:
    carol = Callee()
    dave = Refusing(486)
    rig.callee('carol', carol)
    rig.callee('dave', dave)
    rig.callee('bob', redirecting(f'<sip:c@{rig.net.address("carol")}>;q=0.5', f'<sip:d@{rig.net.address("dave")}>'))
    rig.b2bua('-s', '{bob}', '--redirect', 'follow')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        assert leg.answer == sdp_of_port(5000) and carol.invite.uri.user == 'c'
        assert carol.invite.body == SDP and len(dave.invites) == 1
        assert [response.code for response in leg.responses] == [180, 200]


def test_a_redirection_in_a_circle_goes_on_with_the_next_route(rig: Any) -> None:
    rig.callee('bob', redirecting(f'sip:123@{rig.net.address("bob")}'))
    carol = Callee()
    rig.callee('carol', carol)
    rig.b2bua('-s', '{bob}', '-s', '{carol}', '--redirect', 'follow')
    with rig.caller.call(rig.uri(), sdp=SDP):
        assert len(carol.legs) == 1


def test_a_redirection_that_leads_nowhere(rig: Any) -> None:
    rig.callee('bob', redirecting(f'sip:123@{rig.net.address("bob")}'))
    rig.b2bua('-s', '{bob}', '--redirect', 'follow')
    with pytest.raises(Unavailable) as caught:
        rig.caller.call(rig.uri(), sdp=SDP)
    assert caught.value.response.get('Reason') == 'SIP;cause=302'


def test_the_last_target_of_a_redirection_refuses(rig: Any) -> None:
    rig.callee('dave', Refusing(486))
    rig.callee('bob', redirecting(f'sip:d@{rig.net.address("dave")}'))
    rig.b2bua('-s', '{bob}', '--redirect', 'follow')
    with pytest.raises(Busy):
        rig.caller.call(rig.uri(), sdp=SDP)
