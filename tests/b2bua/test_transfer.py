"""Transfers through the B2BUA: refused, passed on, or carried out by itself (RFC 3515, RFC 5589)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from greensip.b2bua.routes import parse_route
from greensip.errors import Busy, Declined, ResponseError

from .test_call import SDP, Callee, Refusing, sdp_of_port, silent
from .test_extensions import titles
from .test_takeover import named, origin


@pytest.fixture
def bob(rig: Any) -> Callee:
    made = Callee(sdp_of_port(5000))
    rig.callee('bob', made)
    return made


def routes_to(rig: Any, name: str) -> tuple[Any, ...]:
    return (parse_route(rig.net.address(name)),)


def test_it_is_refused_unless_somebody_wants_it(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        with pytest.raises(ResponseError) as caught:
            leg.transfer('sip:200@example.com')
        assert caught.value.code in (405, 603)
        assert leg.state == bob.legs[0].state == 'confirmed'


# -- carried out


def test_a_blind_transfer_by_the_caller(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        first = bob.legs[0]
        bob.sdp = sdp_of_port(7000)
        outcome = leg.transfer('sip:200@anywhere.example.com', timeout=20)
        assert outcome.code == 200
        leg.hangup()
        rig.net.run(1)
        # The number was called over the routes, with bob's session.
        target = bob.legs[1]
        assert target.invite.uri.user == '200' and b'm=audio 5000' in target.offer
        assert target.invite.from_.uri.user == '123'
        assert b'm=audio 7000' in first.remote_sdp and origin(first.remote_sdp)[1] == 2
        assert first.state == target.state == 'confirmed'
        # They are one call now.
        first.hold()
        assert target.state == 'held'
        first.resume()
        target.hangup('Q.850;cause=16')
        assert first.wait_ended().error.reason == 'Q.850;cause=16'


def test_a_blind_transfer_by_the_callee(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        outcome = bob.legs[0].transfer('sip:200@example.com', timeout=20)
        assert outcome.code == 200
        bob.legs[0].hangup()
        rig.net.run(1)
        target = bob.legs[1]
        assert target.invite.from_.uri.user == 'caller'
        assert leg.state == target.state == 'confirmed' and b'm=audio 4000' in target.offer
        assert target.invite.get('Referred-By') is not None
        leg.hangup()
        assert target.wait_ended()
    rig.net.run(1)
    record, = rig.records()
    assert record['released_by'] == 'caller'


def test_a_transferor_that_hangs_up_at_once(rig: Any, bob: Callee) -> None:
    """Many do as soon as they have the 202; one that never does is hung up."""
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    bob.ring, bob.net = 3.0, rig.net
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        referral = leg.refer('sip:200@example.com')
        rig.net.run(0.5)
        leg.hangup()
        rig.net.run(5)
        assert bob.legs[0].state == bob.legs[1].state == 'confirmed'
        bob.legs[0].hangup()
        rig.net.run(1)
        assert bob.legs[1].ended
        referral.close()


def test_a_transferor_that_stays(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        assert leg.transfer('sip:200@example.com', timeout=20).code == 200
        rig.net.run(6)
        assert leg.ended and bob.legs[0].state == bob.legs[1].state == 'confirmed'
        bob.legs[1].hangup()


def test_a_target_that_refuses(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        bob.legs[0].ua.reception.handler = Refusing(486)
        assert leg.transfer('sip:200@example.com', timeout=20).code == 486
        # The call goes on.
        assert leg.message('still there').code == 200 and bob.legs[0].state == 'confirmed'
        leg.hangup()
        assert bob.legs[0].wait_ended()


def test_a_target_that_refuses_when_the_transferor_is_gone(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        bob.legs[0].ua.reception.handler = lambda target: (rig.net.run(2), target.reject(486))
        leg.refer('sip:200@example.com')
        rig.net.run(1)
        leg.hangup()
        rig.net.run(3)
        assert bob.legs[0].ended and bob.legs[0].error.reason == 'SIP;cause=486'


def test_the_transferee_hangs_up_meanwhile(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        rung: list[Any] = []
        bob.legs[0].ua.reception.handler = lambda target: (rung.append(target), silent(target))
        leg.refer('sip:200@example.com')
        rig.net.run(1)
        bob.legs[0].hangup()
        rig.net.run(1)
        assert rung[0].ended and leg.ended


def test_one_transfer_at_a_time(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    bob.net = rig.net
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        bob.ring = 3.0
        leg.refer('sip:200@example.com')
        rig.net.run(1)
        with pytest.raises(ResponseError) as caught:
            leg.transfer('sip:201@example.com')
        assert caught.value.code == 491
        rig.net.run(5)
        bob.legs[0].hangup()
        rig.net.run(1)


def test_the_transferee_does_not_want_the_target(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        bob.legs[0].manual = ('INVITE',)
        bob.legs[0].spawn(lambda peer: peer.respond(peer.wait_for('INVITE'), 488))
        assert leg.transfer('sip:200@example.com', timeout=20).code == 488
        assert bob.legs[1].wait_ended()
        assert leg.state == bob.legs[0].state == 'confirmed'


def test_an_attended_transfer(rig: Any, bob: Callee) -> None:
    """The transferor's two calls become one, and it hangs up both."""
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    first = rig.caller.call(rig.uri(), sdp=SDP)
    rig.net.run(1)
    first.hold()
    bob.sdp = sdp_of_port(6000)
    second = rig.caller.call(rig.uri('200'), sdp=sdp_of_port(4004))
    rig.net.run(1)
    assert first.transfer_to(second, timeout=20).code == 200
    first.hangup()
    rig.net.run(6)
    assert first.ended and second.ended
    one, two = bob.legs
    assert one.state == two.state == 'confirmed'
    assert b'm=audio 6000' in one.remote_sdp and b'm=audio 5000' in two.remote_sdp
    assert b'inactive' not in two.remote_sdp and b'recvonly' not in two.remote_sdp
    one.hold()
    assert two.state == 'held'
    one.resume()
    two.hangup()
    assert one.wait_ended()
    rig.net.run(1)
    assert len(rig.records()) == 2


@pytest.mark.parametrize('refuser', [0, 1])
def test_an_attended_transfer_that_one_side_refuses(rig: Any, bob: Callee, refuser: int) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as first, rig.caller.call(rig.uri('200'), sdp=sdp_of_port(4004)) as second:
        rig.net.run(1)
        peer = bob.legs[refuser]
        peer.manual = ('INVITE',)
        peer.spawn(lambda leg: leg.respond(leg.wait_for('INVITE'), 488))
        assert first.transfer_to(second, timeout=20).code == 488
        rig.net.run(1)
        assert [leg.state for leg in (first, second, *bob.legs)] == 4 * ['confirmed']
        # What was told the other side was taken back.
        assert (b'm=audio 4000', b'm=audio 4004')[1 - refuser] in bob.legs[1 - refuser].remote_sdp
        first.hangup()
        assert bob.legs[0].wait_ended() and second.state == 'confirmed'


def test_an_attended_transfer_to_a_call_that_rings_yet(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as first:
        rig.net.run(1)
        bob.legs[0].ua.reception.handler = silent
        with rig.caller.invite(rig.uri('200'), sdp=SDP) as second:
            second.wait_for('180')
            with pytest.raises(ResponseError) as caught:
                first.transfer(f'<sip:200@example.com?Replaces={quote(named(second))}>', timeout=20)
            assert caught.value.code == 480 and first.state == 'confirmed'


def test_replaces_that_names_no_call_of_ours_goes_to_the_target(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        outcome = leg.transfer('<sip:200@example.com?Replaces=abc%3Bto-tag%3D1%3Bfrom-tag%3D2>', timeout=20)
        # Bob, who is asked, has no such call.
        assert outcome.code == 481
        asked = [arrow for arrow in rig.net.ladder.arrows
                 if arrow.destination == 'bob' and b'\r\nReplaces: ' in arrow.data]
        assert asked and b'abc;to-tag=1;from-tag=2' in asked[0].data


@pytest.mark.parametrize(('refer_to', 'code'), [
    ('<sip:example.com>', 603), ('<sip:200@example.com;method=BYE>', 603), ('x', 400), ('', 400),
    ('<sip:200@example.com?Replaces=%3B>', 400), ('<mailto:a@b>', 603),
])
def test_what_cannot_be_done(rig: Any, bob: Callee, refer_to: str, code: int) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        with pytest.raises(ResponseError) as caught:
            leg.request('REFER', headers={'Refer-To': refer_to})
        assert caught.value.code == code
        assert leg.state == 'confirmed' and leg.message('x').code == 200


def test_a_telephone_number(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        assert leg.transfer('tel:+1200', timeout=20).code == 200
        assert bob.legs[1].invite.uri.user == '+1200'
        bob.legs[0].hangup()
        rig.net.run(1)


def test_a_refer_without_a_call(rig: Any) -> None:
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with pytest.raises(Declined):
        rig.caller.request('REFER', rig.uri(), headers={'Refer-To': '<sip:200@example.com>', 'Event': 'refer'})


def test_the_end_of_the_program_ends_all(rig: Any, bob: Callee) -> None:
    made = rig.b2bua('-s', '{bob}', '--refer', 'handle', '-m', '30')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        leg.transfer('sip:200@example.com', timeout=20)
        leg.hangup()
        rig.net.run(40)
        assert bob.legs[0].ended and bob.legs[1].ended and made.calls == {} and not made.transfers


# -- passed on


def test_a_blind_transfer_is_passed_on(rig: Any, bob: Callee) -> None:
    """The other side does it, and what it tells goes back."""
    rig.b2bua('-s', '{bob}', '--refer', 'pass')
    phone = rig.agent('phone', refer='accept')
    legs: list[Any] = []
    phone.serve(lambda leg: (legs.append(leg), leg.answer(sdp_of_port(8000)), leg.wait_ended()), background=True)
    made = rig.b2buas[0]
    made.routes = routes_to(rig, 'phone')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        outcome = leg.transfer(f'sip:bob@{rig.net.address("bob")}', timeout=20)
        assert outcome.code == 200 and bob.invite.get('Referred-By') is not None
    assert titles(rig, 'b2b', 'caller').count('NOTIFY') == titles(rig, 'phone', 'b2b').count('NOTIFY') > 0
    for one in bob.legs:
        one.hangup()


def test_an_attended_transfer_is_passed_on(rig: Any, bob: Callee) -> None:
    """The transferee's INVITE with Replaces comes to the B2BUA, which has the call that it names."""
    made = rig.b2bua('-s', '{bob}', '--refer', 'pass')
    phone = rig.agent('phone', refer='accept')
    legs: list[Any] = []
    phone.serve(lambda leg: (legs.append(leg), leg.answer(sdp_of_port(8000)), leg.wait_ended()), background=True)
    with rig.caller.call(rig.uri('200'), sdp=sdp_of_port(4004)) as second:
        made.routes = routes_to(rig, 'phone')
        with rig.caller.call(rig.uri(), sdp=SDP) as first:
            rig.net.run(1)
            assert first.transfer_to(second, timeout=20).code == 200
            assert second.wait_ended()
            first.hangup()
        rig.net.run(1)
        assert b'm=audio 8000' in bob.legs[0].remote_sdp and bob.legs[0].state == 'confirmed'
        bob.legs[0].hangup()
        rig.net.run(1)


def test_busy_is_told(rig: Any) -> None:
    rig.callee('bob', Refusing(486))
    rig.b2bua('-s', '{bob}', '--refer', 'handle')
    with pytest.raises(Busy):
        rig.caller.call(rig.uri(), sdp=SDP)
