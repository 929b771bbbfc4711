"""Transfers: the flows of RFC 5589 sections 6 to 10, and the services of RFC 5359 that need REFER, Replaces or Join.

Where the drawings say 202 it is 200 here (RFC 7647 5).  alice is the Transferee of RFC 5589, bob the Transferor, carol
the Transfer Target.
"""

from __future__ import annotations

import pytest

from greensip import Busy, NameAddr, RemoteHangup, Replaced, ResponseError, WaitTimeout
from greensip.body.conference_info import ConferenceEndpoint, ConferenceInfo, ConferenceUser
from greensip.body.dialog_info import DialogInfo, DialogState
from greensip.ua.agent import SUPPORTED

from .conftest import SDP


@pytest.fixture
def alice(net):
    return net.user_agent('alice', refer='ask')


@pytest.fixture
def bob(net):
    return net.user_agent('bob')


@pytest.fixture
def carol(net):
    return net.user_agent('carol')


def phone(leg):
    """Rings, answers, and lasts as long as the call; at once if it takes the place of another."""
    if leg.replaces is None:
        leg.ring()
    leg.answer(SDP if leg.replaces is None else None)
    leg.wait_ended()


def transferee(leg):
    """Does what it is asked for, and talks on until everybody has left."""
    while True:
        with leg.wait_for('REFER').accept() as other:
            try:
                other.wait_for('200', timeout=30)
            except ResponseError:
                continue
            except WaitTimeout:
                other.cancel()
                other.wait_ended()
                continue
            leg.wait_ended()
            other.wait_ended()
            return


def call_alice(net, alice, bob, *, held=True):
    """bob has called alice, who takes transfers, and holds her."""
    def handler(leg):
        if leg.replaces is not None:
            phone(leg)
            return
        leg.ring()
        leg.answer(SDP)
        transferee(leg)

    alice.serve(handler, background=True)
    leg = bob.call(net.uri('alice'), sdp=SDP)
    net.run(1)
    if held:
        leg.hold()
    net.run(1)
    net.ladder.clear()
    return leg


#: alice calls carol as bob has asked, and says so
TRANSFERRED = '''
    bob -> alice: REFER
    alice -> bob: 200 REFER
    alice -> bob: NOTIFY
    alice -> carol: INVITE
    bob -> alice: 200 NOTIFY
    carol -> alice: 180 INVITE
    carol -> alice: 200 INVITE
    alice -> bob: NOTIFY
    alice -> carol: ACK
    bob -> alice: 200 NOTIFY
    alice -> bob: NOTIFY
    bob -> alice: 200 NOTIFY
'''

#: the same where carol's call with bob is replaced
CONNECTED = '''
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
'''

HUNG_UP = '''
    bob -> alice: BYE
    alice -> bob: 200 BYE
'''


def finish(net, leg, *others):
    """The transferor leaves, then the rest."""
    leg.hangup()
    leg.wait_ended()
    net.run(1)
    net.ladder.clear()
    for ua in others:
        for one in ua.legs:
            one.hangup()
    net.run(1)


# -- RFC 5589 6

@pytest.mark.parametrize('inside', [True, False])
def test_6_1_and_6_2_basic_transfer(net, alice, bob, carol, inside):
    """6.1 with Target-Dialog on a dialog of its own, 6.2 in that of the call."""
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    assert leg.transfer(net.uri('carol'), inside=inside).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect(TRANSFERRED + HUNG_UP)
    assert len(net.ladder.call_ids) == (2 if inside else 3)
    finish(net, leg, carol)


def test_6_3_1_target_busy(net, alice, bob, carol):
    carol.serve(lambda leg: leg.reject(486), background=True)
    leg = call_alice(net, alice, bob)
    assert leg.transfer(net.uri('carol')).code == 486
    net.run(1)
    net.ladder.expect('''
        bob -> alice: REFER
        alice -> bob: 200 REFER
        alice -> bob: NOTIFY
        alice -> carol: INVITE
        bob -> alice: 200 NOTIFY
        carol -> alice: 486 INVITE
        alice -> carol: ACK
        alice -> bob: NOTIFY
        bob -> alice: 200 NOTIFY
    ''')
    leg.resume()
    finish(net, leg)


def test_6_3_2_target_does_not_answer(net, alice, bob, carol):
    carol.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    leg = call_alice(net, alice, bob)
    assert leg.transfer(net.uri('carol')).code == 487
    net.run(1)
    net.ladder.expect('''
        bob -> alice: REFER
        alice -> bob: 200 REFER
        alice -> bob: NOTIFY
        alice -> carol: INVITE
        bob -> alice: 200 NOTIFY
        carol -> alice: 180 INVITE
        alice -> bob: NOTIFY
        bob -> alice: 200 NOTIFY
        alice -> carol: CANCEL          # after half a minute
        carol -> alice: 200 CANCEL
        carol -> alice: 487 INVITE
        alice -> carol: ACK
        alice -> bob: NOTIFY
        bob -> alice: 200 NOTIFY
    ''')
    finish(net, leg)


# -- RFC 5589 7

def test_7_1_exposing_the_target(net, alice, bob, carol):
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    with bob.call(net.uri('carol'), sdp=SDP):
        net.run(1)
    net.run(1)
    net.ladder.clear()
    assert leg.transfer(net.uri('carol')).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect(TRANSFERRED + HUNG_UP)
    finish(net, leg, carol)


def test_7_2_protecting_the_target(net, alice, bob):
    """carol is asked to call alice in bob's place; alice is called, and hangs up on bob."""
    carol = net.user_agent('carol', refer='ask')

    def target(leg):
        leg.answer(SDP)
        transferee(leg)

    carol.serve(target, background=True)
    leg = call_alice(net, alice, bob)
    expert = bob.call(net.uri('carol'), sdp=SDP)
    expert.hold()
    net.run(1)
    net.ladder.clear()
    assert expert.transfer_to(leg).ok
    assert isinstance(leg.wait_ended().error, RemoteHangup)
    expert.hangup()
    net.run(1)
    net.ladder.expect('''
        bob -> carol: REFER
        carol -> bob: 200 REFER
        carol -> bob: NOTIFY
        carol -> alice: INVITE
        bob -> carol: 200 NOTIFY
        alice -> carol: 200 INVITE
        alice -> bob: BYE
        carol -> alice: ACK
        carol -> bob: NOTIFY
        bob -> alice: 200 BYE
        bob -> carol: 200 NOTIFY
        bob -> carol: BYE
        carol -> bob: 200 BYE
    ''')
    finish(net, expert, alice)


@pytest.mark.parametrize('at', [False, True])
def test_7_3_and_7_5_attended_transfer(net, alice, bob, carol, at):
    """7.5: to the address of record, where one does not know that the Contact leads there."""
    proxy = net.proxy('proxy', users={'carol': [net.uri('carol')]})
    assert proxy is not None
    aor = f'sip:carol@{net.address("proxy")}:5060'
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    expert = bob.call(net.uri('carol'), sdp=SDP)
    expert.hold()
    net.run(1)
    net.ladder.clear()
    assert leg.transfer_to(expert, at=aor if at else None).ok
    leg.hangup()
    net.run(1)
    if not at:
        net.ladder.expect(CONNECTED + HUNG_UP)
    else:
        lines = net.ladder.lines()
        assert 'alice -> proxy: INVITE' in lines
        assert 'proxy -> carol: INVITE' in lines
        assert 'alice -> carol: INVITE' not in lines
    new, = carol.legs
    assert new.invite.get('Replaces') == (
        f'{expert.call_id};to-tag={expert.remote.tag};from-tag={expert.local.tag}')
    assert isinstance(new.replaces.error, Replaced)
    finish(net, leg, carol)


def test_7_4_one_party_does_not_support_refer(net, alice, bob):
    """The REFER goes to the other one of the two."""
    dave = net.user_agent('dave')
    dave.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    other = bob.call(net.uri('dave'), sdp=SDP)
    net.run(1)
    net.ladder.clear()
    with pytest.raises(ResponseError) as caught:
        other.transfer_to(leg)
    assert caught.value.code == 405
    assert leg.transfer_to(other).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect('bob -> dave: REFER\ndave -> bob: 405 REFER' + CONNECTED.replace('carol', 'dave') + HUNG_UP)
    finish(net, leg, dave)


def test_7_5_the_address_of_record_fails(net, alice, bob, carol):
    """Figure 10: then the Contact is tried."""
    net.proxy('proxy', users={})
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    expert = bob.call(net.uri('carol'), sdp=SDP)
    net.run(1)
    outcome = leg.transfer_to(expert, at=f'sip:carol@{net.address("proxy")}:5060')
    assert outcome.final
    assert not outcome.ok
    net.run(1)
    net.ladder.clear()
    assert leg.transfer_to(expert).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect(CONNECTED + HUNG_UP)
    finish(net, leg, carol)


def test_7_6_semi_attended_transfer(net, alice, bob, carol):
    """Figure 11: bob's phone waits for the target's answer in his place."""
    def target(leg):
        if leg.replaces is None:
            leg.ring()
            net.run(5)
        leg.answer(SDP if leg.replaces is None else None)
        leg.wait_ended()

    carol.serve(target, background=True)
    leg = call_alice(net, alice, bob)
    expert = bob.invite(net.uri('carol'), sdp=SDP)
    expert.wait_for('180')
    expert.wait_for('200')
    net.run(1)
    net.ladder.clear()
    assert leg.transfer_to(expert).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect(CONNECTED + HUNG_UP)
    finish(net, leg, carol)


def test_7_7_fallback_to_basic_transfer(net, alice, bob):
    """Figure 14: the target does not know Replaces, and says so before anything is begun."""
    carol = net.user_agent('carol', supported=())
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    with pytest.raises(ResponseError) as caught:
        bob.call(net.uri('carol'), sdp=SDP, headers={'Require': 'replaces'})
    assert caught.value.code == 420
    assert leg.transfer(net.uri('carol')).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect('bob -> carol: INVITE\ncarol -> bob: 420\nbob -> carol: ACK' + TRANSFERRED + HUNG_UP)
    finish(net, leg, carol)


def test_7_7_fallback_after_options(net, alice, bob):
    """Figure 15: OPTIONS tells that the target knows neither REFER nor Replaces."""
    carol = net.user_agent('carol', supported=())
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    assert 'REFER' in leg.request('OPTIONS').get('Allow')
    with bob.call(net.uri('carol'), sdp=SDP) as expert:
        response = expert.request('OPTIONS')
        assert 'REFER' not in response.get('Allow')
        assert 'replaces' not in (response.get('Supported') or '')
    net.run(1)
    net.ladder.clear()
    assert leg.transfer(net.uri('carol')).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect(TRANSFERRED + HUNG_UP)
    finish(net, leg, carol)


def test_8_referred_by(net, alice, bob, carol):
    """The target demands to know who has asked (429), and is told the second time."""
    def target(leg):
        if leg.referred_by is None:
            leg.reject(429)
        else:
            phone(leg)

    carol.serve(target, background=True)
    leg = call_alice(net, alice, bob)
    assert leg.transfer(net.uri('carol'), referred_by=False).code == 429
    assert leg.transfer(net.uri('carol'), referred_by='"Bob" <sip:bob@example.com>').ok
    assert carol.legs[0].invite.get('Referred-By') == '"Bob" <sip:bob@example.com>'
    finish(net, leg, carol)


# -- RFC 5589 9 and 10

def conference(version, **states):
    """The document of bob's focus: who is in it, and how."""
    users = [ConferenceUser(f'sip:{name}@example.com', endpoints={name: ConferenceEndpoint(name, state)})
             for name, state in states.items()]
    return ConferenceInfo('sip:mixer@example.com', users, version=version)


def test_9_as_an_ad_hoc_conference(net, alice, bob, carol):
    """Figure 17: bob is a focus while he transfers, so that alice and carol can read how it goes (RFC 4575)."""
    focus = f'<{net.uri("bob").replace("bob@", "mixer@")}>;isfocus'
    watchers = []

    def joined(watcher):
        watchers.append(watcher)
        if len(watchers) == 1:
            watcher.accept(conference(1, alice='on-hold'))
        else:
            watcher.accept(conference(1, alice='on-hold', carol='connected'))

    bob.events('conference', joined)
    bob.serve(lambda leg: (leg.ring(), leg.answer(SDP), leg.wait_ended()), background=True)
    carol.serve(phone, background=True)
    call = alice.call(net.uri('bob'), sdp=SDP)
    call.spawn(transferee)
    leg, = bob.legs
    leg.wait_for('ACK')
    leg.contact = focus
    leg.hold()
    net.run(1)
    told = alice.subscribe(call.remote_target, 'conference')
    told.next()
    net.run(1)
    net.ladder.expect('''
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        bob -> alice: INVITE
        alice -> bob: 200 INVITE
        bob -> alice: ACK
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    ''')
    held = next(arrow for arrow in net.ladder.arrows if arrow.title == 'INVITE' and arrow.source == 'bob')
    assert f'Contact: {focus}\r\n'.encode() in held.data
    assert told.request.uri.user == 'mixer'
    net.ladder.clear()
    expert = bob.call(net.uri('carol'), sdp=SDP, contact=focus, headers={'Require': 'replaces'})
    net.run(1)
    hers = carol.subscribe(carol.legs[0].remote_target, 'conference')
    assert hers.next().document.users['sip:alice@example.com'].endpoints['alice'].status == 'on-hold'
    watchers[0].notify(conference(2, alice='on-hold', carol='connected'))
    net.run(1)
    expert.hold()
    watchers[0].notify(conference(3, alice='on-hold', carol='on-hold'))
    net.run(1)
    assert told.document.users['sip:carol@example.com'].endpoints['carol'].status == 'on-hold'
    net.ladder.expect('''
        bob -> carol: INVITE
        carol -> bob: 180 INVITE
        carol -> bob: 200 INVITE
        bob -> carol: ACK
        carol -> bob: SUBSCRIBE
        bob -> carol: 200 SUBSCRIBE
        bob -> carol: NOTIFY
        carol -> bob: 200 NOTIFY
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        bob -> carol: INVITE
        carol -> bob: 200 INVITE
        bob -> carol: ACK
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    ''')
    net.ladder.clear()
    assert leg.transfer_to(expert).ok
    leg.hangup()
    for watcher in watchers:
        watcher.terminate('noresource')
    net.run(1)
    net.ladder.expect(CONNECTED + '''
        bob -> alice: BYE
        bob -> alice: NOTIFY
        bob -> carol: NOTIFY
        alice -> bob: 200 BYE
        alice -> bob: 200 NOTIFY
        carol -> bob: 200 NOTIFY
    ''')
    assert told.error.reason == hers.error.reason == 'noresource'
    finish(net, leg, carol)


def test_10_with_multiple_parties(net):
    """Figure 18: the Facilitator reaches the Recipient through the Screener, and connects the Originator."""
    originator, facilitator = net.user_agent('orig', refer='ask'), net.user_agent('facil', refer='ask')
    screener, recipient = net.user_agent('screen'), net.user_agent('recip')

    def answered(leg):
        leg.answer(SDP)
        leg.wait_ended()

    for ua in (facilitator, screener, recipient):
        ua.serve(answered, background=True)
    call = originator.call(net.uri('facil'), sdp=SDP)              # 1
    call.spawn(transferee)
    net.run(1)
    caller, = facilitator.legs
    caller.hold()
    second = facilitator.call(net.uri('screen'), sdp=SDP)          # 2
    net.run(1)
    screened, = screener.legs
    screened.hold()
    third = screener.call(net.uri('recip'), sdp=SDP)               # 3
    third.hold()
    net.run(1)

    def called(caller, callee):
        return f'''
            {caller} -> {callee}: INVITE
            {callee} -> {caller}: 200 INVITE
            {caller} -> {callee}: ACK
        '''

    def hung_up(by, other):
        return f'{by} -> {other}: BYE\n{other} -> {by}: 200 BYE\n'

    def referred(by, to):
        return f'''
            {by} -> {to}: REFER
            {to} -> {by}: 200 REFER
            {to} -> {by}: NOTIFY
            {to} -> recip: INVITE
            {by} -> {to}: 200 NOTIFY
            recip -> {to}: 200 INVITE
            {to} -> recip: ACK
            {to} -> {by}: NOTIFY
            {by} -> {to}: 200 NOTIFY
        '''

    net.ladder.expect(called('orig', 'facil') + called('facil', 'orig') + called('facil', 'screen')
                      + called('screen', 'facil') + called('screen', 'recip') * 2)
    net.ladder.clear()
    accepted = []
    second.spawn(lambda leg: accepted.append(leg.wait_for('REFER').accept(sdp=SDP)))
    assert screened.transfer(net.uri('recip')).ok                  # 4, 5
    net.run(1)
    screened.hangup()
    net.run(1)
    third.hangup()
    net.run(1)
    accepted[0].hold()
    net.run(1)
    net.ladder.expect(referred('screen', 'facil') + hung_up('screen', 'facil') + hung_up('screen', 'recip')
                      + called('facil', 'recip'))
    net.ladder.clear()
    assert caller.transfer(net.uri('recip')).ok                    # 6, 7
    net.run(1)
    caller.hangup()
    net.run(1)
    accepted[0].hangup()
    net.run(1)
    talking, = recipient.legs
    talking.hangup()
    net.run(1)
    net.ladder.expect(referred('facil', 'orig') + hung_up('facil', 'orig') + hung_up('facil', 'recip')
                      + hung_up('recip', 'orig'))


# -- RFC 5359

def music_server(net):
    """Calls whom it is told to call, in the place of whoever it is told of, and plays."""
    server = net.user_agent('music')

    def on_refer(transfer):
        transfer.accept(sdp=SDP).spawn(lambda leg: leg.wait_ended())

    server.handle('REFER', on_refer)
    return server


def refer_to(leg):
    """Who is at the other side of ``leg``, to be called in our place."""
    name = f'{leg.call_id};to-tag={leg.remote.tag};from-tag={leg.local.tag}'
    return NameAddr(None, f'{leg.remote_target}?Replaces={name.replace(";", "%3B").replace("=", "%3D")}')


def test_5359_2_3_music_on_hold(net, bob):
    """The Music Server takes bob's place, and bob that of the Music Server."""
    alice = net.user_agent('alice')
    music = music_server(net)
    bob.serve(phone, background=True)
    first = alice.call(net.uri('bob'), sdp=SDP)
    alice.serve(phone, background=True)
    leg, = bob.legs
    net.run(1)
    leg.hold()
    net.run(1)
    net.ladder.clear()
    assert bob.refer(net.uri('music'), refer_to(leg)).outcome().ok
    assert isinstance(leg.wait_ended().error, RemoteHangup)
    assert isinstance(first.wait_ended().error, Replaced)
    net.run(1)
    net.ladder.expect('''
        bob -> music: REFER
        music -> bob: 200 REFER
        music -> bob: NOTIFY
        music -> alice: INVITE
        bob -> music: 200 NOTIFY
        alice -> music: 200 INVITE
        alice -> bob: BYE
        music -> alice: ACK
        music -> bob: NOTIFY
        bob -> alice: 200 BYE
        bob -> music: 200 NOTIFY
    ''')
    net.ladder.clear()
    playing, = music.legs
    name = f'{playing.call_id};to-tag={playing.remote.tag};from-tag={playing.local.tag}'
    with bob.call(net.uri('alice'), sdp=SDP, replaces=name):
        net.run(1)
        net.ladder.expect('''
            bob -> alice: INVITE
            alice -> bob: 200 INVITE
            alice -> music: BYE
            bob -> alice: ACK
            music -> alice: 200 BYE
        ''')


def test_5359_2_4_unattended_transfer(net, bob, carol):
    """The Transferor leaves before anybody has answered; the NOTIFYs come all the same (RFC 5057)."""
    alice = net.user_agent('alice', refer='ask')
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob, held=False)
    referral = leg.refer(net.uri('carol'))
    referral.wait_for('NOTIFY')
    leg.hangup()
    assert referral.outcome().ok
    net.run(1)
    net.ladder.expect('''
        bob -> alice: REFER
        alice -> bob: 200 REFER
        alice -> bob: NOTIFY
        alice -> carol: INVITE
        bob -> alice: 200 NOTIFY
        bob -> alice: BYE
        carol -> alice: 180 INVITE
        carol -> alice: 200 INVITE
        alice -> bob: 200 BYE
        alice -> bob: NOTIFY
        alice -> carol: ACK
        bob -> alice: 200 NOTIFY
        alice -> bob: NOTIFY
        bob -> alice: 200 NOTIFY
    ''')
    for one in carol.legs:
        one.hangup()
    net.run(1)


def test_5359_2_5_attended_transfer(net, alice, bob, carol):
    carol.serve(phone, background=True)
    leg = call_alice(net, alice, bob)
    expert = bob.call(net.uri('carol'), sdp=SDP)
    expert.hold()
    net.run(1)
    net.ladder.clear()
    assert leg.transfer_to(expert).ok
    leg.hangup()
    net.run(1)
    net.ladder.expect(CONNECTED + HUNG_UP)
    finish(net, leg, carol)


def test_5359_2_6_transfer_by_instant_message(net, bob, carol):
    """carol is sent a URI that names the call, and calls it."""
    alice = net.user_agent('alice')
    texts = []
    carol.handle('MESSAGE', lambda incoming: texts.append(incoming.request.body.decode()))
    bob.serve(phone, background=True)
    first = alice.call(net.uri('bob'), sdp=SDP)
    alice.serve(phone, background=True)
    leg, = bob.legs
    net.ladder.clear()
    bob.message(net.uri('carol'), str(refer_to(leg)))
    uri = NameAddr(None, texts[0].strip('<>')).uri
    fields = dict(uri.headers)
    with carol.call(uri, sdp=SDP, replaces=fields['Replaces']):
        net.run(1)
        net.ladder.expect('''
            bob -> carol: MESSAGE
            carol -> bob: 200 MESSAGE
            carol -> alice: INVITE
            alice -> carol: 200 INVITE
            alice -> bob: BYE
            carol -> alice: ACK
            bob -> alice: 200 BYE
        ''')
        assert isinstance(first.error, Replaced)


def test_5359_2_10_a_third_party_is_added(net, carol):
    """bob moves alice to the focus that he is from now on, and invites carol to it."""
    alice, bob = net.user_agent('alice'), net.user_agent('bob')
    focus = f'<{net.uri("bob").replace("bob@", "mixer@")}>;isfocus'
    added = []

    def handler(leg):
        leg.ring()
        leg.answer(SDP)
        leg.wait_for('ACK')
        leg.contact = focus
        leg.reinvite(SDP.replace(b'49172', b'3456'))
        with bob.call(net.uri('carol'), sdp=SDP, contact=focus) as other:
            added.append(other)
            leg.wait_ended()

    bob.serve(handler, background=True)
    carol.serve(lambda leg: (leg.ring(), leg.answer(SDP), leg.wait_ended()), background=True)
    with alice.call(net.uri('bob'), sdp=SDP) as leg:
        again = leg.wait_for('INVITE').message
        assert 'isfocus' in again.contact.params and again.contact.uri.user == 'mixer'
        net.run(1)
        assert added[0].state == 'confirmed' and 'isfocus' in added[0].invite.contact.params
        net.ladder.expect('''
            alice -> bob: INVITE
            bob -> alice: 180 INVITE
            bob -> alice: 200 INVITE
            alice -> bob: ACK
            bob -> alice: INVITE
            alice -> bob: 200 INVITE
            bob -> alice: ACK
            bob -> carol: INVITE
            carol -> bob: 180 INVITE
            carol -> bob: 200 INVITE
            bob -> carol: ACK
        ''')
        net.ladder.clear()
    # alice's BYE goes to the new Contact
    bye = next(arrow for arrow in net.ladder.arrows if arrow.title == 'BYE')
    assert bye.data.startswith(b'BYE sip:mixer@')


def test_5359_2_11_a_third_party_joins(net, carol):
    """bob mixes: alice is re-invited to the focus, then carol is let in."""
    alice = net.user_agent('alice')
    bob = net.user_agent('bob', supported=(*SUPPORTED, 'join'))

    def handler(leg):
        leg.ring()
        if leg.joins is not None:
            leg.joins.reinvite(SDP.replace(b'49172', b'3456'))
        leg.answer(SDP)
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(net.uri('bob'), sdp=SDP) as leg:
        net.run(1)
        net.ladder.clear()
        with carol.call(net.uri('bob'), sdp=SDP, joins=leg):
            net.run(1)
            net.ladder.expect('''
                carol -> bob: INVITE
                bob -> carol: 180 INVITE
                bob -> alice: INVITE
                alice -> bob: 200 INVITE
                bob -> alice: ACK
                bob -> carol: 200 INVITE
                carol -> bob: ACK
            ''')
            assert len(bob.legs) == 2


def state_of(leg, state, name='1'):
    """What the dialog package tells of a leg."""
    dialog = DialogState(name, state, call_id=leg.call_id, local_tag=leg.usage.local_tag(), remote_tag=leg.from_.tag,
                         direction='recipient')
    return DialogInfo(str(leg.local.uri), [dialog])


def test_5359_2_15_call_park(net, bob, carol):
    """The Park Server takes bob's place; carol learns of the call there, and takes it."""
    alice = net.user_agent('alice')
    park = music_server(net)

    def parked(watcher):
        leg, = park.legs
        state = DialogState('1', 'confirmed', call_id=leg.call_id, local_tag=leg.local.tag, remote_tag=leg.remote.tag)
        watcher.accept(DialogInfo('sip:park@example.com', [state]).to_bytes())

    park.events('dialog', parked)
    bob.serve(phone, background=True)
    first = alice.call(net.uri('bob'), sdp=SDP)
    alice.serve(phone, background=True)
    leg, = bob.legs
    assert bob.refer(net.uri('music'), refer_to(leg)).outcome().ok
    net.run(1)
    assert isinstance(first.error, Replaced)
    net.ladder.clear()
    with carol.subscribe(net.uri('music'), 'dialog', expires=0) as events:
        state, = events.next(timeout=10).document.dialogs.values()
    with carol.call(net.uri('alice'), sdp=SDP, replaces=state):
        net.run(1)
        net.ladder.expect('''
            carol -> music: SUBSCRIBE
            music -> carol: 200 SUBSCRIBE
            music -> carol: NOTIFY
            carol -> music: 200 NOTIFY
            carol -> alice: INVITE
            alice -> carol: 200 INVITE
            alice -> music: BYE
            carol -> alice: ACK
            music -> alice: 200 BYE
        ''')


def test_5359_2_16_call_pickup(net, bob, carol):
    """It rings at bob's; carol, of the same work group, takes the call."""
    alice = net.user_agent('alice')

    def ringing(leg):
        leg.ring()
        leg.wait_ended()

    bob.serve(ringing, background=True)
    bob.events('dialog', lambda watcher: watcher.accept(state_of(bob.legs[0], 'early').to_bytes()))
    leg = alice.invite(net.uri('bob'), sdp=SDP)
    leg.wait_for('180')
    alice.serve(phone, background=True)
    net.ladder.clear()
    with carol.subscribe(net.uri('bob'), 'dialog', expires=0) as events:
        state, = events.next(timeout=10).document.ringing
    with carol.call(net.uri('alice'), sdp=SDP, replaces=state) as picked:
        assert picked.invite.get('Replaces').endswith(';early-only')
        net.run(1)
        net.ladder.expect('''
            carol -> bob: SUBSCRIBE
            bob -> carol: 200 SUBSCRIBE
            bob -> carol: NOTIFY
            carol -> bob: 200 NOTIFY
            carol -> alice: INVITE
            alice -> carol: 200 INVITE
            alice -> bob: CANCEL
            carol -> alice: ACK
            bob -> alice: 200 CANCEL
            bob -> alice: 487 INVITE
            alice -> bob: ACK
        ''')
        assert isinstance(leg.error, Replaced)


def test_5359_2_17_automatic_redial(net, bob):
    """bob is busy; alice is told when he is not."""
    alice = net.user_agent('alice')
    watchers = []

    def dialogs(watcher):
        watchers.append(watcher)
        watcher.accept(DialogInfo('sip:bob@example.com', [DialogState('1', 'confirmed')]).to_bytes())

    bob.serve(lambda leg: leg.reject(486) if not watchers else phone(leg), background=True)
    bob.events('dialog', dialogs)
    with pytest.raises(Busy):
        alice.call(net.uri('bob'), sdp=SDP)
    with alice.subscribe(net.uri('bob'), 'dialog') as events:
        assert events.next().document.busy
        watchers[0].notify(DialogInfo('sip:bob@example.com', [DialogState('1', 'terminated')], version=1).to_bytes())
        assert not events.next().document.busy
        with alice.call(net.uri('bob'), sdp=SDP):
            net.run(1)
        events.unsubscribe()
    net.run(1)
    net.ladder.expect('''
        alice -> bob: INVITE
        bob -> alice: 486 INVITE
        alice -> bob: ACK
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        alice -> bob: BYE
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 BYE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    ''')


def test_5359_2_18_click_to_dial(net, carol):
    """bob's browser has his phone call; it wants to hear no more of it (RFC 4488)."""
    bob = net.user_agent('bob')
    computer = net.user_agent('pc')
    made = []
    bob.handle('REFER', lambda transfer: made.append(transfer.accept(sdp=SDP)))
    carol.serve(phone, background=True)
    computer.refer(net.uri('bob'), net.uri('carol'), subscribe=False).outcome()
    net.run(1)
    net.ladder.expect('''
        pc -> bob: REFER
        bob -> pc: 200 REFER
        bob -> carol: INVITE
        carol -> bob: 180 INVITE
        carol -> bob: 200 INVITE
        bob -> carol: ACK
    ''')
    made[0].close()
    net.run(1)
