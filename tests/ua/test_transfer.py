"""Transfers: the call flows of RFC 5589 as ladders, in all three roles, and what may go wrong."""

from __future__ import annotations

import pytest

from greensip import (
    Declined,
    Forbidden,
    RemoteHangup,
    Replaced,
    ResponseError,
    UsageError,
    WaitTimeout,
    WrongState,
)
from greensip.errors import ParseError
from greensip.ua import request as request_module

from .conftest import SDP, answering, sdp_of_port
from .peer import RawPeer


@pytest.fixture
def alice(agent):
    """The transferee."""
    return agent('alice', refer='ask')


@pytest.fixture
def carol(agent):
    """The target."""
    return agent('carol')


@pytest.fixture
def to_carol(net):
    return net.uri('carol')


def transferee(leg):
    """The story of who is transferred: take it, and talk on with the other."""
    with leg.wait_for('REFER').accept() as other:
        other.wait_for('200', timeout=60)
        leg.wait_ended()
        other.wait_ended()


def seen_by(peer):
    """What a handler of the transferee may do with the REFER."""
    def handler(leg):
        leg.answer(SDP)
        peer(leg)

    return handler


# -- RFC 5589 6: basic transfer

def test_basic_transfer(net, alice, bob, carol, to_carol):
    """6.1: bob has called alice, and transfers her to carol."""
    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice'), sdp=SDP) as leg:
        net.run(1)
        leg.hold()
        net.run(1)
        net.ladder.clear()
        outcome = leg.transfer(to_carol, timeout=30)
        assert outcome[:3] == (200, 'OK', True)
        assert outcome.ok
        net.run(1)
    net.run(1)
    net.ladder.expect("""
        bob -> alice: REFER
        alice -> bob: 200 REFER
        alice -> bob: NOTIFY            # 100 Trying
        alice -> carol: INVITE
        bob -> alice: 200 NOTIFY
        carol -> alice: 180 INVITE
        carol -> alice: 200 INVITE
        alice -> bob: NOTIFY            # 180 Ringing
        alice -> carol: ACK
        bob -> alice: 200 NOTIFY
        alice -> bob: NOTIFY            # 200 OK, terminated
        bob -> alice: 200 NOTIFY
        bob -> alice: BYE
        alice -> bob: 200 BYE
    """)
    leg, = carol.legs
    invite = leg.invite
    assert invite.get('Referred-By') == f'<{bob.uri}>'
    assert str(leg.referred_by.uri) == bob.uri
    # The session goes on, no longer on hold.
    assert b'm=audio 4000 ' in invite.body
    assert b'sendonly' not in invite.body
    assert b'recvonly' not in invite.body
    assert invite.from_.uri.user == 'alice'


@pytest.mark.parametrize(('handler', 'code', 'reason'), [
    (lambda leg: leg.reject(486), 486, 'Busy Here'),                        # 6.3.1
    (lambda leg: leg.reject(429), 429, 'Provide Referrer Identity'),        # RFC 3892 5
    (lambda leg: leg.reject(603, 'No, thanks'), 603, 'No, thanks'),
    (lambda leg: leg.redirect('sip:x@nowhere.invalid'), 302, 'Moved Temporarily'),
])
def test_a_transfer_that_fails(net, alice, bob, carol, to_carol, handler, code, reason):
    """6.3: the transferor talks on."""
    def story(leg):
        with leg.wait_for('REFER').accept() as other:
            other.wait_ended()
            leg.wait_ended()

    alice.serve(seen_by(story), background=True)
    carol.serve(handler, background=True)
    with bob.call(net.uri('alice')) as leg:
        outcome = leg.transfer(to_carol)
        assert outcome[:3] == (code, reason, True)
        assert not outcome.ok
        assert leg.state == 'confirmed'


def test_the_target_does_not_answer(net, alice, bob, carol, to_carol):
    """6.3.2: the transferee gives up."""
    def story(leg):
        with leg.wait_for('REFER').accept() as other:
            with pytest.raises(WaitTimeout):
                other.wait_for('200', timeout=20)
            other.cancel()
            other.wait_ended()
            leg.wait_ended()

    alice.serve(seen_by(story), background=True)
    carol.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with bob.call(net.uri('alice')) as leg:
        assert leg.transfer(to_carol).code == 487


@pytest.mark.parametrize(('target', 'code'), [
    ('sip:nobody@nowhere.invalid', 503), ('sip:nobody@10.200.200.200', 408),
])
def test_the_target_is_nowhere(net, alice, bob, target, code):
    """RFC 3261 8.1.3.1: what is never sent is as good as a 503, what is never answered as a 408."""
    def story(leg):
        with leg.wait_for('REFER').accept() as other:
            other.wait_ended()
            leg.wait_ended()

    alice.serve(seen_by(story), background=True)
    with bob.call(net.uri('alice')) as leg:
        assert leg.transfer(target).code == code


def test_who_refuses_to_be_transferred(net, agent, bob, to_carol):
    """The policy of a user agent that is told nothing; the REFER is shown to the script all the same."""
    seen = []

    def handler(leg):
        leg.answer()
        seen.append(leg.wait_for('REFER'))
        leg.wait_ended()

    agent('dave', refer='refuse', allow=('REFER',)).serve(handler, background=True)
    with bob.call(net.uri('dave')) as leg:
        with pytest.raises(Declined):
            leg.transfer(to_carol)
        assert leg.state == 'confirmed'
    with pytest.raises(WrongState):
        seen[0].accept()
    assert 'carol' in repr(seen[0])


def test_who_knows_no_refer(net, agent, bob, to_carol):
    agent('dave').serve(answering, background=True)
    with bob.call(net.uri('dave')) as leg:
        with pytest.raises(ResponseError) as caught:
            leg.transfer(to_carol)
        assert caught.value.code == 405


def test_a_user_agent_that_is_transferred_by_itself(net, agent, bob, carol, to_carol):
    dave = agent('dave', refer='accept')
    dave.serve(answering, background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('dave')) as leg:
        assert leg.transfer(to_carol).ok
        peer = next(one for one in dave.legs if one.call_id == leg.call_id)
        transfer = peer.wait_for('REFER')
        assert transfer.answered
        assert transfer.new_leg.state == 'confirmed'
        assert transfer.new_leg in dave.legs
    transfer.new_leg.close()
    net.run(1)


def test_a_user_agent_that_cannot_be_transferred_there(net, agent, bob):
    agent('dave', refer='accept').serve(answering, background=True)
    with bob.call(net.uri('dave')) as leg:
        for target in ('tel:+4930123', f'{net.uri("carol")};method=MESSAGE'):
            with pytest.raises(ResponseError) as caught:
                leg.transfer(target)
            assert caught.value.code == 603
        assert leg.state == 'confirmed'


def test_a_leg_that_asks_to_be_told(net, agent, alice, carol, to_carol):
    """manual=('REFER',) of one leg: the callee transfers the caller."""
    def handler(leg):
        leg.answer()
        assert 'REFER' in leg.headers['Allow']
        outcomes.append(leg.transfer(to_carol))

    outcomes = []
    alice.serve(handler, background=True)
    carol.serve(answering, background=True)
    bob = agent('bob')
    assert 'REFER' not in bob.core.allow
    with bob.call(net.uri('alice'), manual=('REFER',)) as leg:
        transfer = leg.wait_for('REFER')
        assert (str(transfer.target), transfer.replaces, transfer.method) == (to_carol, None, 'REFER')
        assert transfer.source[0] == net.address('alice')
        with transfer.accept() as other:
            other.wait_for('200')
            assert isinstance(leg.wait_ended().error, RemoteHangup)
            assert outcomes[0].ok


def test_nobody_decides(net, alice, bob, to_carol):
    """Before the transferor's timer F."""
    alice.serve(seen_by(lambda leg: leg.wait_ended()), background=True)
    with bob.call(net.uri('alice')) as leg:
        start = net.clock.now()
        with pytest.raises(ResponseError) as caught:
            leg.transfer(to_carol)
        assert caught.value.code == 480
        assert net.clock.now() - start < 32


def test_a_flood_of_transfers(net, alice, bob, to_carol):
    """What nobody decides on has a limit, and the call goes on."""
    alice.serve(seen_by(lambda leg: leg.wait_ended()), background=True)
    with bob.call(net.uri('alice')) as leg:
        referrals = [leg.refer(to_carol) for _ in range(20)]
        codes = []
        for referral in referrals:
            with pytest.raises(ResponseError) as caught:
                referral.outcome()
            codes.append(caught.value.code)
        assert (codes.count(500), codes.count(480)) == (4, 16)
        assert leg.state == 'confirmed'
        assert alice.core.counts()['subscriptions'] == 0


def test_the_call_ends_before_anybody_has_decided(net, alice, bob, to_carol):
    transfers = []

    def handler(leg):
        leg.answer()
        transfers.append(leg.wait_for('REFER'))
        leg.wait_ended()

    alice.serve(handler, background=True)
    leg = bob.call(net.uri('alice'))
    referral = leg.refer(to_carol)
    net.run(1)
    leg.close()
    with pytest.raises(ResponseError) as caught:
        referral.outcome()
    assert caught.value.code == 487
    with pytest.raises(WrongState):
        transfers[0].accept()


def test_a_call_cannot_replace_and_join(net, alice, bob, to_carol):
    """RFC 3911 4: contradictory fields are refused, so nobody is called with both."""
    refused = []

    def handler(leg):
        leg.answer(SDP)
        try:
            leg.wait_for('REFER').accept()
        except ParseError as error:
            refused.append(str(error))
        leg.wait_ended()

    alice.serve(handler, background=True)
    with bob.call(net.uri('alice'), sdp=SDP) as leg:
        name = 'a%3Bto-tag%3D1%3Bfrom-tag%3D2'
        with pytest.raises(ResponseError) as caught:
            leg.transfer(f'<{to_carol}?Replaces={name}&Join={name}>')
        assert caught.value.code == 400
    assert len(refused) == 1 and 'Join' in refused[0]


# -- RFC 5589 7: with consultation

def test_a_call_is_not_connected_with_itself(bob, net, to_carol, carol):
    carol.serve(answering, background=True)
    with bob.call(to_carol) as leg:
        with pytest.raises(UsageError, match='with itself'):
            leg.transfer_to(leg)
        assert leg.state == 'confirmed'
    net.run(1)


def test_attended_transfer(net, alice, bob, carol, to_carol):
    """7.3: bob talks to both, and connects them; carol hangs up on bob as alice's call takes that one's place."""
    alice.serve(seen_by(transferee), background=True)

    def target(leg):
        leg.answer(sdp_of_port(5000) if leg.replaces is None else None)
        leg.wait_ended()

    carol.serve(target, background=True)
    with (bob.call(net.uri('alice'), sdp=sdp_of_port(4000)) as leg,
          bob.call(to_carol, sdp=sdp_of_port(4002)) as expert):
        net.run(1)
        net.ladder.clear()
        assert leg.transfer_to(expert, timeout=20).code == 200
        assert isinstance(expert.wait_ended().error, RemoteHangup)
    net.run(1)
    net.ladder.expect("""
        bob -> alice: REFER
        alice -> bob: 200 REFER
        alice -> bob: NOTIFY
        alice -> carol: INVITE
        bob -> alice: 200 NOTIFY
        carol -> alice: 200 INVITE
        carol -> bob: BYE
        alice -> carol: ACK
        alice -> bob: NOTIFY
        bob -> carol: 200 BYE
        bob -> alice: 200 NOTIFY
        bob -> alice: BYE
        alice -> bob: 200 BYE
    """)
    new, = carol.legs
    assert new.invite.get('Replaces').startswith(expert.call_id)
    assert new.invite.get('Require') == 'replaces'
    assert str(new.invite.uri) == carol.uri
    assert isinstance(new.replaces.error, Replaced)
    assert b'm=audio 5000 ' in new.local_sdp


def test_the_target_of_an_attended_transfer_is_another_phone(net, agent, alice, bob, to_carol):
    """7.5: who has no such call says 481 and does not ring."""
    def story(leg):
        transfer = leg.wait_for('REFER')
        assert transfer.replaces.call_id == 'other'
        with transfer.accept() as other:
            other.wait_ended()
            leg.wait_ended()

    alice.serve(seen_by(story), background=True)
    rung = []
    agent('carol').serve(rung.append, background=True)
    with bob.call(net.uri('alice')) as leg:
        target = f'<{to_carol}?Replaces=other%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>'
        assert leg.transfer(target).code == 481
        assert rung == []


def test_an_expert_who_still_rings_cannot_be_transferred_to(net, alice, bob, carol, to_carol):
    """7.6: the call is given up, and the transfer is a blind one."""
    alice.serve(seen_by(transferee), background=True)
    ringing = [True]

    def handler(leg):
        leg.ring()
        if not ringing:
            leg.answer()
        ringing.clear()
        leg.wait_ended()

    carol.serve(handler, background=True)
    with bob.call(net.uri('alice')) as leg:
        with bob.invite(to_carol) as expert:
            with pytest.raises(WrongState):
                leg.transfer_to(expert)
            expert.wait_for('180')
            with pytest.raises(WrongState):
                leg.transfer_to(expert)
        assert leg.transfer(to_carol).ok


def test_the_other_one_knows_no_refer(net, alice, bob, agent, to_carol):
    """7.4: recovery: the REFER goes to the other of the two."""
    agent('dave').serve(answering, background=True)
    alice.serve(lambda leg: seen_by(transferee)(leg), background=True)
    with bob.call(net.uri('dave')) as first, bob.call(net.uri('alice')) as second:
        with pytest.raises(ResponseError):
            first.transfer_to(second)
        # dave supports Replaces, though not REFER
        assert second.transfer_to(first).ok
        assert isinstance(first.wait_ended().error, RemoteHangup)


# -- outside of calls

def test_click_to_dial(net, bob, agent, carol, to_carol):
    """A REFER outside of calls: the handler decides."""
    dave = agent('dave')
    new = []

    def handler(transfer):
        assert transfer.leg is None
        new.append(transfer.accept())

    dave.handle('REFER', handler)
    carol.serve(answering, background=True)
    outcome = bob.refer(net.uri('dave'), to_carol).outcome(timeout=30)
    assert outcome.ok
    assert new[0].invite.get('Referred-By') == f'<{bob.uri}>'
    new[0].close()
    net.run(1)


@pytest.mark.parametrize(('result', 'code'), [(None, 603), (404, 404), (200, 603), (Forbidden(403), 403),
                                              (RuntimeError('oh'), 500)])
def test_a_handler_that_does_not_accept(net, bob, agent, to_carol, result, code):
    def handler(transfer):
        if isinstance(result, Exception):
            raise result
        return result

    agent('dave').handle('REFER', handler)
    with pytest.raises(ResponseError) as caught:
        bob.refer(net.uri('dave'), to_carol).outcome()
    assert caught.value.code == code


def test_who_has_no_call_is_not_obeyed(net, alice, bob, to_carol):
    """RFC 5589 5, 12: a user agent that is transferred by itself does so for those only whom it talks to."""
    with pytest.raises(Forbidden):
        bob.refer(net.uri('alice'), to_carol).outcome()


def test_target_dialog_shows_that_we_may(net, agent, bob, carol, to_carol):
    dave = agent('dave', refer='accept')
    dave.serve(answering, background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('dave')) as leg:
        assert bob.refer(net.uri('dave'), to_carol, leg=leg).outcome().ok
        other = next(one for one in dave.legs if one.call_id != leg.call_id)
    other.close()
    net.run(1)


def test_a_script_that_does_something_else(net, agent, bob):
    """begin() and notify(): what is referred to need not be a call."""
    def handler(transfer):
        assert transfer.target_method == 'MESSAGE'
        with pytest.raises(UsageError):
            transfer.accept()
        transfer.begin()
        transfer.notify(183, 'Half way')
        transfer.notify(202)
        transfer.notify(200)

    agent('dave').handle('REFER', handler)
    outcome = bob.refer(net.uri('dave'), 'sip:carol@example.com;method=MESSAGE').outcome()
    assert outcome[:3] == (202, 'Accepted', True)
    net.run(1)


# -- peers that do what they like

@pytest.fixture
def raw(net):
    peer = RawPeer(net, 'raw')
    yield peer
    peer.close()


@pytest.mark.parametrize(('fields', 'code'), [
    ({}, 400), ({'Refer_To': ''}, 400), ({'Refer_To': '<sip:'}, 400), ({'Refer_To': '<sip:a@b>, <sip:c@d>'}, 400),
    ({'Refer_To': '<sip:a@b?Replaces=none>'}, 200), ({'Refer_To': '<sip:a@b?%=%>'}, 200),
    ({'Refer_To': '<sip:a@b?Via=x&From=me>'}, 200), ({'Refer_To': '<sip:a@b>', 'Refer_Sub': ';;'}, 200),
    ({'Refer_To': '<sip:a@b>', 'Referred_By': '<sip:'}, 200),
])
def test_a_broken_refer(net, alice, raw, fields, code):
    """It gets its 4xx, or what is broken in it is left out; the call goes on."""
    def story(leg):
        while True:
            transfer = leg.wait_for('REFER', 'ended')
            if transfer.label == 'ended':
                return
            try:
                transfer.accept().close()
            except ParseError:
                assert transfer.answered

    alice.serve(seen_by(story), background=True)
    raw.send(raw.request('INVITE', 'alice', body=SDP), raw.to('alice'))
    ok = raw.expect('SIP/2.0 200')
    for method, number in (('ACK', 1), ('REFER', 2)):
        request = raw.request(method, 'alice', branch=f'z9hG4bK{method}', to_tag=ok.to_tag, cseq=number,
                              **(fields if method == 'REFER' else {}))
        raw.send(request, raw.to('alice'))
    got = raw.expect('SIP/2.0 ').code
    if 'Replaces=none' in fields.get('Refer_To', ''):
        code = 400
    assert got == code
    leg = next(one for one in alice.legs if one.call_id == 'raw-call')
    assert leg.state == 'confirmed'
    net.run(10)
    raw.send(raw.request('BYE', 'alice', branch='z9hG4bKbye', to_tag=ok.to_tag, cseq=3), raw.to('alice'))
    net.run(40)


def test_a_policy_that_is_none(agent):
    with pytest.raises(UsageError):
        agent('dave', refer='perhaps')


# -- races

def test_each_transfers_the_other(net, alice, agent, carol, to_carol):
    """Two REFERs cross; each is taken."""
    dave = agent('dave', refer='ask')
    carol.serve(answering, background=True)
    outcomes = []

    def story(leg):
        referral = leg.refer(to_carol)
        other = leg.wait_for('REFER').accept()
        other.wait_for('200')
        outcomes.append(referral.outcome(timeout=20).code)
        net.run(5)
        leg.close()
        other.close()

    alice.serve(lambda leg: (leg.answer(), leg.wait_for('ACK'), story(leg)), background=True)
    leg = dave.call(net.uri('alice'))
    net.run(0.005)
    story(leg)
    net.run(10)
    assert outcomes == [200, 200]


def test_the_transferee_leaves_the_call_at_once(net, alice, bob, carol, to_carol):
    """RFC 5589 6: the NOTIFYs go on in the dialog of the call that is over (RFC 5057)."""
    def story(leg):
        with leg.wait_for('REFER').accept() as other:
            leg.hangup()
            other.wait_for('200')
            other.wait_ended()

    alice.serve(seen_by(story), background=True)
    carol.serve(lambda leg: (leg.ring(), net.run(2), leg.answer(), leg.wait_ended()), background=True)
    with bob.call(net.uri('alice')) as leg:
        assert leg.transfer(to_carol).ok
        assert leg.ended
    for one in carol.legs:
        one.hangup()
    net.run(1)


def test_the_notify_is_lost(net, alice, bob, carol, to_carol):
    """It is repeated (RFC 3261 17.1.2), and so is the REFER's 200."""
    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        net.loss = 0.3
        try:
            assert leg.transfer(to_carol, timeout=60).ok
        finally:
            net.loss = 0.0
    net.run(40)


@pytest.mark.parametrize(('answers', 'code'), [(True, 200), (False, 487)])
def test_the_new_leg_is_closed_at_once(net, alice, bob, carol, to_carol, answers, code):
    """The transferor is told what the INVITE came to: a 200 that crossed the CANCEL is one."""
    alice.serve(seen_by(lambda leg: (leg.wait_for('REFER').accept().close(), leg.wait_ended())), background=True)
    carol.serve(answering if answers else lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with bob.call(net.uri('alice')) as leg:
        assert leg.transfer(to_carol).code == code
        net.run(1)
        assert carol.legs == []
    net.run(1)


@pytest.mark.parametrize('fields', [{}, {'Refer_Sub': 'false'}])
def test_a_peer_that_has_us_call_everybody(net, agent, raw, fields):
    """RFC 3515 5.1: so many calls at a time, also where it wants no NOTIFYs (RFC 4488)."""
    alice = agent('alice', refer='accept')
    alice.serve(lambda leg: (leg.answer(SDP), leg.wait_ended()), background=True)
    raw.send(raw.request('INVITE', 'alice', body=SDP), raw.to('alice'))
    tag = raw.expect('SIP/2.0 200').to_tag
    raw.send(raw.request('ACK', 'alice', branch='z9hG4bKa', to_tag=tag))

    def refers(first, number):
        for cseq in range(first, first + number):
            raw.send(raw.request('REFER', 'alice', branch=f'z9hG4bK{cseq}', to_tag=tag, cseq=cseq,
                                 Refer_To=f'<sip:x@{net.address("nobody")}>', **fields))
        net.run(1)

    refers(2, 50)
    assert len(alice.core.usages) == 1 + 16
    refused = raw.expect('SIP/2.0 500')
    assert refused.get('Retry-After') == '10'
    # The calls have failed: there is room again.
    net.run(60)
    assert len(alice.core.usages) == 1
    refers(100, 2)
    assert len(alice.core.usages) == 1 + 2
    raw.send(raw.request('BYE', 'alice', branch='z9hG4bKbye', to_tag=tag, cseq=200))
    raw.expect('SIP/2.0 200')
    net.run(60)


def test_strangers_that_ask_for_too_much(net, agent, raw, monkeypatch):
    """REFERs that a handler has not decided on are counted with the subscriptions."""
    monkeypatch.setattr(request_module, 'MOST', 5)
    alice = agent('alice')
    asked = []

    def consider(transfer):
        asked.append(transfer)
        net.clock.sleep(5)
        return 603

    alice.handle('REFER', consider)
    for number in range(8):
        raw.send(raw.request('REFER', 'alice', branch=f'z9hG4bK{number}', call_id=f'refer-{number}',
                             Refer_To='<sip:x@example.com>'), raw.to('alice'))
    net.run(1)
    assert len(asked) == 5
    assert raw.expect('SIP/2.0 503').get('Retry-After') == '30'
    net.run(10)
    assert raw.expect('SIP/2.0 603') and len(alice.core.subscriptions) == 0
    raw.send(raw.request('REFER', 'alice', branch='z9hG4bKlate', call_id='late', Refer_To='<sip:x@example.com>'))
    net.run(1)
    assert len(asked) == 6
    net.run(10)
