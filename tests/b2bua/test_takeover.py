"""INVITEs with Replaces through the B2BUA: a newcomer takes the place of one side of a call (RFC 3891)."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.errors import Declined, NotAcceptable, ResponseError
from greensip.message import Request

from .test_call import SDP, Callee, sdp_of_port


def origin(sdp: bytes) -> tuple[bytes, int]:
    """The identity of a session, and its version."""
    line = next(line for line in sdp.split(b'\r\n') if line.startswith(b'o='))
    name, number, version, *_ = line.split()
    return name + number, int(version)


def named(leg: Any, *params: str) -> str:
    """The text of Replaces for the B2BUA's side of our ``leg``."""
    dialog = leg.usage.dialog
    tail = ''.join(f';{name}' for name in params)
    return f'{leg.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}{tail}'


@pytest.fixture
def bob(rig: Any) -> Callee:
    made = Callee(sdp_of_port(5000).replace(b'o=- 1 1', b'o=bob 50 1'))
    rig.callee('bob', made)
    return made


def test_the_caller_is_replaced(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.agent('carol')
    leg = rig.caller.call(rig.uri(), sdp=SDP)
    rig.net.run(1)
    with carol.call(rig.uri(), sdp=sdp_of_port(6000).replace(b'o=- 1 1', b'o=carol 9 9'), replaces=named(leg)) as new:
        assert isinstance(leg.wait_ended().error, Exception) and leg.state == 'ended'
        # Bob was told carol's port in the session that he had, in its next version.
        told = bob.legs[0].remote_sdp
        assert b'm=audio 6000' in told and origin(told) == (b'o=-1', 2)
        assert new.answer == bob.legs[0].local_sdp and b'm=audio 5000' in new.answer
        rig.net.run(1)
        # What follows is relayed, and each side's session goes on in one row of versions.
        new.hold()
        assert bob.legs[0].state == 'held' and origin(bob.legs[0].remote_sdp) == (b'o=-1', 3)
        new.resume()
        bob.legs[0].hold()
        assert new.state == 'held' and origin(new.remote_sdp)[0] == b'o=bob50'
        bob.legs[0].resume()
        assert origin(bob.legs[0].remote_sdp)[0] == b'o=-1'
        versions = [origin(arrow.data)[1] for arrow in rig.net.ladder.arrows
                    if arrow.destination == 'bob' and b'\r\no=' in arrow.data]
        assert versions == sorted(versions)
        bob.legs[0].hangup('Q.850;cause=16')
        assert new.wait_ended().error.reason == 'Q.850;cause=16'
    rig.net.run(1)
    first, second = sorted(rig.records(), key=lambda record: record['number'])
    assert (first['released_by'], second['released_by']) == ('callee', 'callee')


def test_the_callee_is_replaced(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.agent('carol')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        with carol.call(rig.uri(), sdp=sdp_of_port(6000), replaces=named(bob.legs[0])) as new:
            assert bob.legs[0].wait_ended() and leg.state == 'confirmed'
            assert b'm=audio 6000' in leg.remote_sdp and b'm=audio 4000' in new.answer
            assert leg.usage.dialogs and leg.message('hi').code == 200
            leg.hangup()
            assert new.wait_ended()
    rig.net.run(1)
    first, second = sorted(rig.records(), key=lambda record: record['number'])
    assert (first['released_by'], second['released_by']) == ('caller', 'callee')


def test_a_newcomer_without_an_offer(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.agent('carol')
    leg = rig.caller.call(rig.uri(), sdp=SDP)
    rig.net.run(1)
    with carol.call(rig.uri(), sdp=b'', replaces=named(leg)) as new:
        assert b'm=audio 5000' in new.answer
        new.ack(sdp_of_port(6000))
        rig.net.run(1)
        assert b'm=audio 6000' in bob.legs[0].remote_sdp and bob.legs[0].state == 'confirmed'
        assert leg.ended


def test_the_other_side_does_not_want_the_newcomer(rig: Any) -> None:
    bob = Callee()
    ua = rig.agent('bob', manual=('INVITE',))

    def handler(leg: Any) -> None:
        bob.legs.append(leg)
        leg.answer(sdp_of_port(5000))
        leg.respond(leg.wait_for('INVITE'), 488)
        leg.wait_ended()

    ua.serve(handler, background=True)
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.agent('carol')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        with pytest.raises(NotAcceptable):
            carol.call(rig.uri(), sdp=sdp_of_port(6000), replaces=named(leg))
        rig.net.run(1)
        assert leg.state == bob.legs[0].state == 'confirmed'


def test_the_newcomer_gives_up_meanwhile(rig: Any) -> None:
    legs: list[Any] = []
    ua = rig.agent('bob', manual=('INVITE',))

    def handler(leg: Any) -> None:
        legs.append(leg)
        leg.answer(sdp_of_port(5000))
        event = leg.wait_for('INVITE')
        rig.net.run(2)
        leg.respond(event, 200, body=sdp_of_port(5000), content_type='application/sdp')
        leg.respond(leg.wait_for('INVITE'), 200, body=sdp_of_port(5000), content_type='application/sdp')
        leg.wait_ended()

    ua.serve(handler, background=True)
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.agent('carol')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        with carol.invite(rig.uri(), sdp=sdp_of_port(6000), replaces=named(leg)) as new:
            rig.net.run(1)
            new.cancel()
            new.wait_ended()
        rig.net.run(3)
        # Back to the session that there was, in its next version.
        assert b'm=audio 4000' in legs[0].remote_sdp and origin(legs[0].remote_sdp)[1] == 3
        assert leg.state == legs[0].state == 'confirmed'


@pytest.mark.parametrize('offer', [sdp_of_port(6000), b''])
def test_a_ringing_call_is_picked_up(rig: Any, offer: bytes) -> None:
    phone = Callee(ring=100.0, net=rig.net)
    rig.callee('bob', phone)
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.agent('carol')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        leg.wait_for('180')
        with carol.call(rig.uri(), sdp=offer, replaces=named(phone.legs[0], 'early-only')) as new:
            if not offer:
                new.ack(sdp_of_port(6000))
            leg.wait_for('200', timeout=5)
            assert phone.legs[0].error.reason.startswith('SIP;cause=200')
            rig.net.run(1)
            assert leg.state == new.state == 'confirmed' and b'm=audio 4000' in new.remote_sdp
            assert leg.answer == new.local_sdp
            new.hold()
            assert leg.state == 'held'
            leg.hangup()
            assert new.wait_ended()
    rig.net.run(200)


def test_a_ringing_call_whose_caller_gives_up_while_it_is_picked_up(rig: Any) -> None:
    phone = Callee(ring=100.0, net=rig.net)
    rig.callee('bob', phone)
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.raw('carol')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        leg.wait_for('180')
        carol.request('INVITE', rig.uri(), body=sdp_of_port(6000), Replaces=named(phone.legs[0]))
        answer = carol.expect('SIP/2.0 200')
        leg.cancel()
        leg.wait_ended()
        carol.request('ACK', rig.uri(), branch='z9hG4bKack', to_tag=answer.to_tag)
        carol.respond(carol.expect('BYE'), 200)
    rig.net.run(200)


def test_what_is_not_there(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.agent('carol')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        for text, code in (('nobody;to-tag=a;from-tag=b', 481), (named(leg, 'early-only'), 486)):
            with pytest.raises(ResponseError) as caught:
                carol.call(rig.uri(), sdp=SDP, replaces=text)
            assert caught.value.code == code
        over = named(leg)
        leg.hangup()
        leg.wait_ended()
        with pytest.raises(Declined):
            carol.call(rig.uri(), sdp=SDP, replaces=over)
    assert len(bob.legs) == 1


def test_without_the_option_it_is_an_ordinary_call(rig: Any, bob: Callee) -> None:
    rig.b2bua('-s', '{bob}')
    carol = rig.agent('carol')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        with carol.call(rig.uri(), sdp=SDP, headers={'Replaces': named(leg)}):
            assert len(bob.legs) == 2 and leg.state == 'confirmed'
        with pytest.raises(ResponseError) as caught:
            carol.call(rig.uri(), sdp=SDP, replaces=named(leg))
        assert caught.value.code == 420


def test_one_after_the_other(rig: Any, bob: Callee) -> None:
    """Who has taken a place can be replaced as well."""
    made = rig.b2bua('-s', '{bob}', '--replaces')
    carol, dave = rig.agent('carol'), rig.agent('dave')
    leg = rig.caller.call(rig.uri(), sdp=SDP)
    rig.net.run(1)
    with carol.call(rig.uri(), sdp=sdp_of_port(6000), replaces=named(leg)) as second:
        rig.net.run(1)
        with dave.call(rig.uri(), sdp=sdp_of_port(7000), replaces=named(second)) as third:
            rig.net.run(1)
            assert second.ended and b'm=audio 7000' in bob.legs[0].remote_sdp
            assert made.disconnect(leg.call_id) == 1
            rig.net.run(1)
            assert third.ended and bob.legs[0].ended


def test_the_end_of_the_program(rig: Any, bob: Callee) -> None:
    made = rig.b2bua('-s', '{bob}', '--replaces', '-m', '60')
    carol = rig.agent('carol')
    leg = rig.caller.call(rig.uri(), sdp=SDP)
    with carol.call(rig.uri(), sdp=sdp_of_port(6000), replaces=named(leg)) as new:
        # -m holds for the call that was taken over
        rig.net.run(70)
        assert new.ended and bob.legs[0].ended and made.calls == {}


@pytest.mark.parametrize('value', ['', ';', 'x', 'x;to-tag=1', 'x;to-tag=1;from-tag=2;to-tag=3', '"', 'a b;to-tag=1'])
def test_a_broken_replaces(rig: Any, bob: Callee, value: str) -> None:
    rig.b2bua('-s', '{bob}', '--replaces')
    carol = rig.raw('carol')
    carol.request('INVITE', rig.uri(), body=SDP, Replaces=value)
    answer = carol.expect('SIP/2.0 4')
    assert answer.code in (400, 481)
    carol.send(Request('ACK', rig.uri(), [(name, text) for name, text in answer.fields if name in ('Via', 'From', 'To',
                       'Call-ID')] + [('CSeq', '1 ACK'), ('Max-Forwards', '70')]))
