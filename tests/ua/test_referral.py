"""The transferor's side of a transfer: REFERs, and what is told of them by peers that do what they like."""

from __future__ import annotations

import pytest

from greensip import (
    LocalHangup,
    ResponseError,
    SubscriptionEnded,
    TransactionTimeout,
    WaitTimeout,
    WrongState,
    deadline,
)
from greensip.message import parse_message

from .conftest import SDP, answering
from .peer import RawPeer
from .test_transfer import seen_by, transferee


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


def sipfrags(net, source, target):
    return [arrow.data.split(b'\r\n\r\n', 1)[1].strip().decode() for arrow in net.ladder.arrows
            if arrow.title == 'NOTIFY' and (arrow.source, arrow.destination) == (source, target)]


def test_what_the_notifies_say(net, alice, bob, carol, to_carol):
    """RFC 3515 2.4.5, 2.4.7: 100 at once, the last one terminates the subscription."""
    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        told = []
        with leg.refer(to_carol) as referral:
            while not referral.final:
                message = referral.wait_for('NOTIFY', timeout=10).message
                told.append((referral.code, message.get('Subscription-State').split(';')[0], message.get('Event'),
                             message.get('Content-Type')))
            assert [line[:2] for line in told] == [(100, 'active'), (180, 'active'), (200, 'terminated')]
            assert {line[2:] for line in told} == {('refer', 'message/sipfrag;version=2.0')}
            with pytest.raises(SubscriptionEnded) as caught:
                referral.wait_for('NOTIFY')
            assert caught.value.reason == 'noresource'
    assert sipfrags(net, 'alice', 'bob') == ['SIP/2.0 100 Trying', 'SIP/2.0 180 Ringing', 'SIP/2.0 200 OK']


def test_the_steps_of_a_transfer(net, alice, bob, carol, to_carol):
    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        assert [(step.code, step.final) for step in leg.refer(to_carol)] == [(100, False), (180, False), (200, True)]
        net.run(1)
        with pytest.raises(ResponseError):
            list(leg.refer(to_carol))
    net.run(40)


def test_two_transfers_in_one_call(net, alice, bob, carol, to_carol):
    """RFC 3515 2.4.6: the second REFER's NOTIFYs have its CSeq for their id."""
    def handler(leg):
        leg.answer()
        leg.wait_for('REFER').accept()
        leg.wait_for('REFER').accept()
        leg.wait_ended()

    alice.serve(handler, background=True)
    carol.serve(lambda leg: leg.reject(486), background=True)
    with bob.call(net.uri('alice')) as leg:
        first, second = leg.refer(to_carol), leg.refer(to_carol)
        assert (first.outcome(10).code, second.outcome(10).code) == (486, 486)
        events = {arrow.data.split(b'Event: ')[1].split(b'\r\n')[0] for arrow in net.ladder.arrows
                  if arrow.title == 'NOTIFY'}
        assert len(events) == 2
        assert b'refer' in events


def test_an_account_transfers(net, agent, bob, carol, to_carol):
    """The REFER has its From, Contact and password."""
    dave = agent('dave')
    dave.handle('REFER', lambda transfer: transfer.reject(486))
    account = bob.account('sip:bob@example.com', 's3cret', registrar='sip:10.9.9.9')
    with pytest.raises(ResponseError) as caught:
        account.refer(net.uri('dave'), to_carol).outcome()
    assert caught.value.code == 486
    request = parse_message(next(arrow for arrow in net.ladder.arrows if arrow.title == 'REFER').data)
    assert str(request.from_.uri) == 'sip:bob@example.com'
    assert request.get('Referred-By') == '<sip:bob@example.com>'
    assert request.contact.uri.user == account.contact_user
    account.close()


# -- RFC 7647, RFC 4538, RFC 4488, RFC 3892

def test_a_refer_outside_of_the_dialog(net, agent, bob, carol, to_carol):
    """RFC 7647 4, RFC 5589 6.1: a peer whose Contact is a GRUU gets it with Target-Dialog."""
    alice = agent('alice', refer='ask')

    def handler(leg):
        leg.usage.respond(200, net.clock.now(), body=SDP, contact=f'<{alice.uri};gr=1>')
        leg.ua.endpoint.flush()
        transferee(leg)

    alice.serve(handler, background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        net.ladder.clear()
        assert leg.transfer(to_carol).ok
        request = next(arrow for arrow in net.ladder.arrows if arrow.title == 'REFER')
        request = parse_message(request.data)
        assert request.to_tag is None
        assert request.call_id != leg.call_id
        assert request.get('Target-Dialog') == (
            f'{leg.call_id};local-tag={leg.remote.tag};remote-tag={leg.local.tag}')
        assert request.get('Require') == 'tdialog'
    net.run(1)


def test_a_refer_outside_though_it_could_be_inside(net, alice, bob, carol, to_carol):
    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        assert leg.transfer(to_carol, inside=False).ok
    net.run(1)


def test_no_notifies(net, alice, bob, carol, to_carol):
    """RFC 4488: Refer-Sub: false, which the transferee grants."""
    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        outcome = leg.transfer(to_carol, subscribe=False)
        assert outcome[:3] == (200, 'OK', False)
        assert not outcome.ok
        assert outcome.error.reason == 'norefersub'
        net.run(1)
        assert not [line for line in net.ladder.lines() if 'NOTIFY' in line]
        assert carol.legs[0].state == 'confirmed'


@pytest.mark.parametrize(('referred_by', 'text'), [
    (False, None), ('sip:boss@example.com', '<sip:boss@example.com>'),
    ('"B" <sip:b@x>;cid="1@x"', '"B" <sip:b@x>;cid="1@x"'),
])
def test_referred_by(net, alice, bob, carol, to_carol, referred_by, text):
    """RFC 3892 2.2: it is copied into the INVITE as it came."""
    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        leg.transfer(to_carol, referred_by=referred_by)
        invite = carol.legs[0].invite
        assert invite.get('Referred-By') == text
        assert (carol.legs[0].referred_by is None) == (text is None)


# -- peers that do what they like

@pytest.fixture
def raw(net):
    peer = RawPeer(net, 'raw')
    yield peer
    peer.close()


def talking(net, bob, raw):
    """A call of bob's with a peer that says octet by octet what it wants; its INVITE and the leg."""
    leg = bob.invite(net.uri('raw'), sdp=SDP)
    invite = raw.expect('INVITE')
    raw.respond(invite, 200, body=SDP)
    leg.wait_for('200')
    raw.expect('ACK')
    return leg, invite


def notify(raw, invite, cseq, state='active;expires=60', body=b'', **fields):
    fields = {'Event': 'refer', 'Subscription_State': state, **fields}
    request = raw.request('NOTIFY', 'bob', branch=f'z9hG4bKn{cseq}', from_tag='raw', to_tag=invite.from_tag,
                          call_id=invite.call_id, cseq=cseq, **fields)
    request.body = body
    if body:
        request.add('Content-Type', 'message/sipfrag')
    raw.send(request, raw.to('bob'))


@pytest.mark.parametrize('body', [b'', b'SIP/2.0', b'\xff\xff', b'SIP/2.0 two hundred', b'HTTP/1.1 200 OK'])
def test_a_notify_without_a_status_ends_the_wait(net, bob, raw, body):
    """API: a NOTIFY without body still ends the wait."""
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    notify(raw, invite, 1, 'terminated;reason=noresource', body)
    assert referral.outcome(timeout=30)[:3] == (202, 'Accepted', False)
    assert raw.expect('SIP/2.0 200').cseq.method == 'NOTIFY'
    end(leg, raw)


def end(leg, raw):
    leg.hangup()
    raw.respond(raw.expect('BYE'), 200)
    leg.wait_ended()


def test_a_final_status_ends_the_wait_before_the_subscription(net, bob, raw):
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    notify(raw, invite, 1, body=b'SIP/2.0 200 OK\r\nContact: <sip:x@y>')
    assert referral.outcome(timeout=30) == (200, 'OK', True, None)
    notify(raw, invite, 2, 'terminated')
    assert raw.expect('SIP/2.0 200').cseq.method == 'NOTIFY'
    end(leg, raw)


def test_the_notify_comes_before_the_response(net, bob, raw):
    """RFC 6665 4.1.2.4."""
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    request = raw.expect('REFER')
    notify(raw, invite, 1, 'terminated;reason=noresource', b'SIP/2.0 603 Decline\r\n')
    net.run(1)
    raw.respond(request, 200)
    assert referral.outcome(timeout=30)[:3] == (603, 'Decline', True)
    end(leg, raw)


def test_no_notify_ever(net, bob, raw):
    leg, _ = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    outcome = referral.outcome()
    assert outcome[:3] == (202, 'Accepted', False)
    assert isinstance(outcome.error, TransactionTimeout)
    end(leg, raw)


def test_a_refer_that_is_never_answered(net, bob, raw):
    leg, _ = talking(net, bob, raw)
    with pytest.raises(TransactionTimeout):
        leg.transfer(net.uri('carol'))
    assert leg.state == 'confirmed'
    end(leg, raw)


def test_the_peer_hangs_up_and_tells_nothing(net, bob, raw):
    """The end of the call still ends the wait."""
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    notify(raw, invite, 1, body=b'SIP/2.0 100 Trying\r\n')
    raw.send(raw.request('BYE', 'bob', branch='z9hG4bKbye', from_tag='raw', to_tag=invite.from_tag,
                         call_id=invite.call_id, cseq=2), raw.to('bob'))
    start = net.clock.now()
    assert referral.outcome(timeout=100)[:3] == (100, 'Trying', False)
    assert 3 < net.clock.now() - start < 6


def test_a_deadline_passes_after_the_peer_has_hung_up(net, bob, raw):
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    raw.send(raw.request('BYE', 'bob', branch='z9hG4bKbye', from_tag='raw', to_tag=invite.from_tag,
                         call_id=invite.call_id, cseq=2), raw.to('bob'))
    net.run(0.1)
    with deadline(2), pytest.raises(WaitTimeout, match='before the deadline of 2 s'):
        referral.outcome(timeout=100)


def test_the_peer_hangs_up_and_tells_later(net, bob, raw):
    """RFC 5057: the subscription outlives the call."""
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    notify(raw, invite, 1, body=b'SIP/2.0 100 Trying\r\n')
    raw.send(raw.request('BYE', 'bob', branch='z9hG4bKbye', from_tag='raw', to_tag=invite.from_tag,
                         call_id=invite.call_id, cseq=2), raw.to('bob'))
    net.run(1)
    assert leg.ended
    notify(raw, invite, 3, 'terminated;reason=noresource', b'SIP/2.0 200 OK\r\n')
    assert referral.outcome().ok


def test_a_wait_that_takes_too_long(net, bob, raw):
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    notify(raw, invite, 1, body=b'SIP/2.0 180 Ringing\r\n')
    raw.expect('SIP/2.0 200')
    net.run(1)
    with pytest.raises(WaitTimeout, match=r'^no outcome within 5 s from sip:raw@'):
        referral.outcome(timeout=5)
    assert referral.ended
    notify(raw, invite, 2, body=b'SIP/2.0 180 Ringing\r\n')
    assert raw.expect('SIP/2.0 ').code == 481
    assert leg.state == 'confirmed'
    end(leg, raw)


def test_the_transferor_hangs_up_himself(net, bob, raw):
    leg, invite = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    raw.respond(raw.expect('REFER'), 202)
    notify(raw, invite, 1, body=b'SIP/2.0 100 Trying\r\n')
    net.run(1)
    end(leg, raw)
    assert referral.outcome()[:3] == (100, 'Trying', False)


def test_a_refer_before_there_is_a_dialog(net, bob, to_carol):
    leg = bob.invite(to_carol)
    with pytest.raises(WrongState):
        leg.refer(to_carol)
    leg.close()
    net.run(40)


def test_from_another_thread(net, alice, bob, carol, to_carol):
    """The proxies: a Transfer and a Referral belong to the hub."""
    from greensip.ua.threads import Proxy, wrap

    alice.serve(seen_by(transferee), background=True)
    carol.serve(answering, background=True)
    with bob.call(net.uri('alice')) as leg:
        referral = leg.refer(to_carol)
        assert isinstance(wrap(bob, referral), Proxy)
        assert referral.outcome().ok
        assert 'alice' in repr(referral)


def test_a_user_agent_closes_in_the_middle(net, agent, alice, carol, to_carol):
    alice.serve(seen_by(transferee), background=True)
    carol.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    dave = agent('dave')
    leg = dave.call(net.uri('alice'))
    referral = leg.refer(to_carol)
    referral.wait_for('NOTIFY')
    dave.close()
    assert referral.outcome(timeout=10).code in (100, 180)
    net.run(40)
    for one in [*alice.legs, *carol.legs]:
        one.hangup()
    net.run(5)


def test_the_call_ends_before_the_refer_is_answered(net, bob, raw):
    """Then its ending is what is raised."""
    leg, _ = talking(net, bob, raw)
    referral = leg.refer(net.uri('carol'))
    end(leg, raw)
    with pytest.raises(LocalHangup):
        referral.outcome(timeout=30)
