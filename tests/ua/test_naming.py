"""Calls that take the place of others, or are joined with them: Replaces and Join."""

from __future__ import annotations

import pytest

from greensip import (
    Busy,
    Declined,
    LegGroup,
    LocalHangup,
    RemoteHangup,
    Replaced,
    ResponseError,
    UsageError,
    WrongState,
)
from greensip.ua.agent import SUPPORTED

from .conftest import SDP, answering, sdp_of_port


@pytest.fixture
def carol(agent):
    return agent('carol')


# -- Replaces

def test_a_call_takes_the_place_of_another(net, alice, bob, carol, to_bob):
    """RFC 3891 1: the phone goes on with the same session, to somebody else."""
    taken = []

    def handler(leg):
        taken.append(leg.replaces)
        leg.answer(sdp_of_port(5000) if leg.replaces is None else None)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=sdp_of_port(4000)) as old:
        net.run(1)
        net.ladder.clear()
        with carol.call(to_bob, sdp=sdp_of_port(4002), replaces=old) as new:
            net.ladder.expect("""
                carol -> bob: INVITE
                bob -> carol: 200 INVITE
                bob -> alice: BYE
                carol -> bob: ACK
            """)
            assert new.invite.get('Require') == 'replaces'
            assert b'm=audio 5000 ' in new.answer
            assert b'sendrecv' not in old.answer
            net.run(1)
            assert old.ended
    assert taken[0] is None
    assert isinstance(taken[1].error, Replaced)


def test_who_waits_on_a_replaced_leg_is_told_at_once(net, alice, bob, carol, to_bob):
    seen = []

    def handler(leg):
        leg.answer()
        try:
            leg.wait_for('BYE')
        except Replaced:
            seen.append(net.clock.now())

    bob.serve(handler, background=True)
    with alice.call(to_bob) as old:
        net.run(1)
        with carol.call(to_bob, replaces=old):
            assert seen == [pytest.approx(net.clock.now() - 0.01)]
            net.run(1)


def test_picked_up(net, agent, alice, bob, carol, to_bob):
    """RFC 3891 7.1: our INVITE that still rings is cancelled, as somebody else takes the call."""
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    alice.serve(answering, background=True)
    with alice.invite(to_bob, sdp=SDP) as ringing:
        ringing.wait_for('180')
        net.ladder.clear()
        name = f'{ringing.call_id};to-tag={ringing.local.tag};from-tag={ringing.remote.tag};early-only'
        with carol.call(net.uri('alice'), replaces=name, sdp=SDP) as new:
            with pytest.raises(Replaced):
                ringing.wait_for('200')
            assert new.state == 'confirmed'
            net.run(1)
    net.run(1)
    net.ladder.expect("""
        carol -> alice: INVITE
        alice -> carol: 180
        alice -> carol: 200 INVITE
        alice -> bob: CANCEL
        carol -> alice: ACK
        bob -> alice: 200 CANCEL
        bob -> alice: 487
        alice -> bob: ACK
        carol -> alice: BYE
        alice -> carol: 200 BYE
    """)


def test_a_refusal_leaves_the_call_as_it_was(net, alice, bob, carol, to_bob):
    bob.serve(lambda leg: answering(leg) if leg.replaces is None else leg.reject(488), background=True)
    with alice.call(to_bob) as old:
        with pytest.raises(ResponseError) as caught:
            carol.call(to_bob, replaces=old)
        assert caught.value.code == 488
        net.run(1)
        assert old.state == 'confirmed'


@pytest.mark.parametrize(('text', 'error'), [('nobody;to-tag=1;from-tag=2', 481), (None, 486)])
def test_nothing_to_replace(net, alice, bob, carol, to_bob, text, error):
    bob.serve(answering, background=True)
    with alice.call(to_bob) as old:
        name = text or f'{old.call_id};to-tag={old.remote.tag};from-tag={old.local.tag};early-only'
        with pytest.raises(ResponseError) as caught:
            carol.call(to_bob, replaces=name)
        assert caught.value.code == error
        assert isinstance(caught.value, Busy) == (error == 486)


def test_what_has_just_ended_is_declined(net, alice, bob, carol, to_bob):
    bob.serve(answering, background=True)
    old = alice.call(to_bob)
    old.hangup()
    old.wait_ended()
    with pytest.raises(Declined):
        carol.call(to_bob, replaces=old)


def test_a_second_phone_that_is_told_nothing_of_replaces(net, alice, agent, carol):
    dave = agent('dave', supported=())
    dave.serve(answering, background=True)
    with alice.call(net.uri('dave')) as old:
        with pytest.raises(ResponseError) as caught:
            carol.call(net.uri('dave'), replaces=old)
        assert caught.value.code == 420


def test_a_leg_of_ours_takes_the_place_of_another(net, alice, bob, carol, to_bob):
    """Somebody calls while we talk; the script has him take over."""
    first = alice.call(to_bob, sdp=sdp_of_port(4000)) if bob.serve(answering, background=True) is None else None
    carol_leg = carol.invite(net.uri('alice'), sdp=sdp_of_port(4002))
    incoming = alice.accept(timeout=5)
    incoming.replace(first)
    carol_leg.wait_for('200')
    assert b'm=audio 4000 ' in carol_leg.answer
    assert isinstance(first.wait_ended().error, Replaced)
    with pytest.raises(Replaced):
        incoming.replace(first)
    with pytest.raises(UsageError):
        incoming.replace(incoming)
    carol_leg.close()
    incoming.wait_ended()


def test_an_answered_leg_takes_the_place_of_another(net, alice, bob, carol, to_bob):
    bob.serve(answering, background=True)
    carol.serve(answering, background=True)
    one, other = alice.call(to_bob), alice.call(net.uri('carol'))
    one.replace(other)
    with pytest.raises(WrongState):
        one.replace(other)
    assert isinstance(other.wait_ended().error, Replaced)
    assert one.state == 'confirmed'
    one.close()


def test_replaces_and_joins_contradict(alice, bob, to_bob):
    with pytest.raises(UsageError):
        alice.invite(to_bob, replaces='a;to-tag=1;from-tag=2', joins='a;to-tag=1;from-tag=2')
    ringing = alice.invite(to_bob)
    with pytest.raises(UsageError):
        alice.invite(to_bob, replaces=ringing)
    with pytest.raises(ValueError):
        alice.invite(to_bob, replaces='no tags')
    ringing.close()


def test_what_depends_on_a_replaced_leg_ends(net, agent, alice, bob, carol, to_bob):
    """What depends on a call is told why it ended: the one that came in its place is another call."""
    errors = []
    agent('dave').serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)

    def handler(leg):
        if leg.replaces is not None:
            return answering(leg)
        leg.answer()
        with LegGroup(leg) as group:
            other = group.invite(net.uri('dave'))
            try:
                other.wait_for('200', timeout=60)
            except (Replaced, LocalHangup) as error:
                errors.append(type(error))
                raise
        return None

    bob.serve(handler, background=True)
    with alice.call(to_bob) as old, carol.call(to_bob, replaces=old):
        net.run(1)
        assert errors == [Replaced]


# -- Join

def test_a_call_is_to_be_joined_with_another(net, agent, alice, carol):
    bob = agent('bob', supported=(*SUPPORTED, 'join'))
    seen = []

    def handler(leg):
        seen.append(leg.joins)
        if leg.joins is not None:
            assert leg.replaces is None
            leg.reject(488)
        else:
            answering(leg)

    bob.serve(handler, background=True)
    with alice.call(net.uri('bob')) as old:
        with pytest.raises(ResponseError) as caught:
            carol.call(net.uri('bob'), joins=old)
        assert caught.value.code == 488
        assert seen[1] is bob.legs[0]
        assert old.state == 'confirmed'


def test_who_cannot_mix_says_so(net, alice, bob, carol, to_bob):
    """join is no option tag of ours unless the script says that it can do it."""
    bob.serve(answering, background=True)
    with alice.call(to_bob) as old, pytest.raises(ResponseError) as caught:
        carol.call(to_bob, joins=old)
    assert caught.value.code == 420


def test_the_remote_target(net, alice, bob, to_bob):
    bob.serve(answering, background=True)
    with alice.invite(to_bob) as leg:
        assert leg.remote_target == ''
        leg.wait_for('200')
        assert leg.remote_target == bob.uri


# -- Target-Dialog

@pytest.mark.parametrize('known', [True, False])
def test_who_has_a_call_with_us_shows_it(net, alice, bob, carol, to_bob, known):
    """RFC 4538: in any request outside of dialogs; one that names nothing is ignored."""
    seen = []
    bob.serve(lambda leg: (seen.append(leg.target_leg), answering(leg)), background=True)
    bob.handle('MESSAGE', lambda incoming: seen.append(incoming.target_leg))
    bob.events('dialog', lambda watcher: (seen.append(watcher.target_leg), watcher.accept('<x/>')))
    with alice.call(to_bob) as leg:
        peer, = bob.legs
        tags = (leg.remote.tag, leg.local.tag) if known else (leg.local.tag, leg.remote.tag)
        headers = {'Target-Dialog': f'{leg.call_id};local-tag={tags[0]};remote-tag={tags[1]}', 'Require': 'tdialog'}
        alice.request('MESSAGE', to_bob, headers=headers)
        with (carol.call(to_bob, headers=headers),
              carol.subscribe(to_bob, 'dialog', expires=0, headers=headers) as events):
            events.next(timeout=5)
        net.run(1)
    assert seen == [None] + ([peer] if known else [None]) * 3
    net.run(1)


# -- races

@pytest.mark.parametrize('who', ['bob', 'alice'])
def test_replaced_in_the_middle_of_a_reinvite(net, alice, bob, carol, to_bob, who):
    """RFC 3261 15.1.2: what is open in the call that ends gets its 487, or is cancelled."""
    def handler(leg):
        leg.answer(SDP)
        if leg.replaces is None and who == 'bob':
            net.run(2)
            with pytest.raises(Replaced):
                leg.reinvite(SDP)
            raise Replaced
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob, sdp=SDP, manual=('INVITE',)) as old:
        old.wait_for('200')
        if who == 'alice':
            bob.legs[0].manual = ('INVITE',)
            old.spawn(lambda leg: leg.reinvite(SDP))
        net.run(2.5)
        with carol.call(to_bob, replaces=old):
            net.run(1)
            assert old.ended
            assert len(bob.legs) == 1
    net.run(1)


def test_two_want_the_same_place(net, agent, alice, bob, carol, to_bob):
    dave = agent('dave')
    bob.serve(lambda leg: (net.run(0.5), leg.answer(), leg.wait_ended()), background=True)
    with alice.call(to_bob) as old:
        one, other = carol.invite(to_bob, replaces=old), dave.invite(to_bob, replaces=old)
        one.wait_for('200')
        # Both had found the call; who answers second has nobody to replace any more, and is a call of its own.
        other.wait_for('200')
        assert isinstance(old.wait_ended().error, RemoteHangup)
        one.close()
        other.close()
        net.run(1)
    net.run(1)


def test_both_hang_up_at_once(net, alice, bob, carol, to_bob):
    """The peer's BYE crosses the one that says it was replaced."""
    bob.serve(answering, background=True)
    with alice.call(to_bob) as old:
        peer, = bob.legs
        new = carol.invite(to_bob, replaces=old)
        net.run(0.005)
        old.hangup()
        new.wait_for('200')
        net.run(1)
        assert isinstance(peer.error, Replaced)
        assert isinstance(old.error, LocalHangup)
        new.close()
    net.run(1)


def test_the_replacement_waits_for_its_prack(net, alice, bob, carol, to_bob):
    """RFC 3262 3: the 2xx is held back until then, and so the old call lasts."""
    def handler(leg):
        if leg.replaces is not None:
            leg.progress(183, sdp=SDP, reliable=True)
        leg.answer(SDP)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, sdp=SDP) as old:
        net.run(1)
        net.ladder.clear()
        with carol.call(to_bob, replaces=old, sdp=SDP):
            net.run(1)
            assert old.ended
            net.ladder.expect("""
                carol -> bob: INVITE
                bob -> carol: 183
                carol -> bob: PRACK
                bob -> carol: 200 PRACK
                bob -> carol: 200 INVITE
                bob -> alice: BYE
                carol -> bob: ACK
                alice -> bob: 200 BYE
            """)


def test_a_replacement_that_is_cancelled(net, alice, bob, carol, to_bob):
    def handler(leg):
        if leg.replaces is None:
            leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob) as old:
        with carol.invite(to_bob, replaces=old) as new:
            new.wait_for('100', timeout=5)
        net.run(1)
        assert old.state == 'confirmed'


def test_a_replacement_without_an_offer(net, alice, bob, carol, to_bob):
    """A late offer: what we offer is the session of the call that is replaced."""
    bob.serve(lambda leg: (leg.answer(sdp_of_port(5000) if leg.replaces is None else None), leg.wait_ended()),
              background=True)
    with alice.call(to_bob, sdp=SDP) as old, carol.invite(to_bob, replaces=old, sdp=b'') as new:
        new.wait_for('200')
        assert b'm=audio 5000 ' in new.answer
        new.ack(SDP)
        net.run(1)
        assert old.ended
    net.run(1)


def test_nothing_in_common_with_the_session_that_is_replaced(net, alice, bob, carol, to_bob):
    bob.serve(lambda leg: (leg.answer(SDP if leg.replaces is None else None), leg.wait_ended()), background=True)
    video = SDP.replace(b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000',
                        b'm=video 4000 RTP/AVP 99\r\na=rtpmap:99 H264/90000')
    with alice.call(to_bob, sdp=SDP) as old, carol.call(to_bob, replaces=old, sdp=video) as new:
        assert b'm=video 0 ' in new.answer
        net.run(1)
        assert old.ended
