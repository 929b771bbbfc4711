"""The call flows of RFC 3665 section 3, message by message.  Section 2 is with the accounts."""

from __future__ import annotations

import pytest

from greensip import Bridge, Busy, LegGroup, RemoteHangup, ResponseError, Unavailable
from greensip.message.digest import Login

from .conftest import SDP


def test_3_1_session_establishment(net):
    alice, bob = net.user_agent('alice'), net.user_agent('bob')

    def answer(leg):
        leg.ring()
        net.run(1)
        leg.answer(SDP)
        leg.wait_for('ACK')
        net.run(5)
        leg.hangup()

    bob.serve(answer, background=True)
    with alice.invite(net.uri('bob'), sdp=SDP) as leg:
        leg.wait_for('180')
        leg.wait_for('200')
        assert isinstance(leg.wait_ended().error, RemoteHangup)
    net.run(0.5)
    net.ladder.expect('''
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        bob -> alice: BYE
        alice -> bob: 200 BYE
    ''')


def two_proxies(net, **second):
    net.proxy('p1', realm='atlanta.example.com', passwords={'alice': 'wonder'})
    net.proxy('p2', users={'bob': [net.uri('bob')]}, **second)
    return net.user_agent('alice'), net.user_agent('bob')


#: alice has logged in with p1 (figure 3.2, F1 to F4)
LOGIN = '''
    alice -> p1: INVITE
    p1 -> alice: 407 INVITE
    alice -> p1: ACK
'''


def invite_bob(net, alice, **options):
    return alice.invite(f'sip:bob@{net.address("p2")}:5060', route=net.route('p1'), sdp=SDP,
                        credentials=('alice', 'wonder'), **options)


def test_3_2_through_two_proxies(net):
    alice, bob = two_proxies(net)

    def answer(leg):
        leg.ring()
        net.run(1)
        leg.answer(SDP)
        leg.wait_for('ACK')
        net.run(5)
        leg.hangup()

    bob.serve(answer, background=True)
    with invite_bob(net, alice) as leg:
        leg.wait_for('200')
        assert [str(route) for route in leg.response.record_routes] == [net.route('p2'), net.route('p1')]
        assert isinstance(leg.wait_ended().error, RemoteHangup)
    net.run(0.5)
    net.ladder.expect(LOGIN + '''
        alice -> p1: INVITE
        p1 -> alice: 100 INVITE
        p1 -> p2: INVITE
        p2 -> p1: 100 INVITE
        p2 -> bob: INVITE
        bob -> p2: 180 INVITE
        p2 -> p1: 180 INVITE
        p1 -> alice: 180 INVITE
        bob -> p2: 200 INVITE
        p2 -> p1: 200 INVITE
        p1 -> alice: 200 INVITE
        alice -> p1: ACK
        p1 -> p2: ACK
        p2 -> bob: ACK
        bob -> p2: BYE
        p2 -> p1: BYE
        p1 -> alice: BYE
        alice -> p1: 200 BYE
        p1 -> p2: 200 BYE
        p2 -> bob: 200 BYE
    ''')


def test_3_3_two_proxies_that_authenticate(net):
    alice, bob = two_proxies(net, realm='biloxi.example.com', passwords={'alice': 'land'})
    bob.serve(lambda leg: (leg.answer(SDP), leg.wait_ended()), background=True)
    logins = [Login('alice', 'wonder', 'atlanta.example.com'), Login('alice', 'land', 'biloxi.example.com')]
    with alice.invite(f'sip:bob@{net.address("p2")}:5060', route=net.route('p1'), sdp=SDP,
                      credentials=logins) as leg:
        leg.wait_for('200')
        assert leg.invite.cseq.number == 3
        assert len(leg.invite.get_all('Proxy-Authorization')) == 2
        net.run(0.5)
        net.ladder.expect(LOGIN + '''
            alice -> p1: INVITE
            p1 -> alice: 100 INVITE
            p1 -> p2: INVITE
            p2 -> p1: 407 INVITE
            p1 -> p2: ACK
            p1 -> alice: 407 INVITE
            alice -> p1: ACK
            alice -> p1: INVITE
            p1 -> alice: 100 INVITE
            p1 -> p2: INVITE
            p2 -> p1: 100 INVITE
            p2 -> bob: INVITE
            bob -> p2: 200 INVITE
            p2 -> p1: 200 INVITE
            p1 -> alice: 200 INVITE
            alice -> p1: ACK
            p1 -> p2: ACK
            p2 -> bob: ACK
        ''')


def test_3_4_a_proxy_that_fails(net):
    """Proxy 1 is there and says nothing; its name has a second address (RFC 3263 4.3)."""
    net.place('p1')
    net.proxy('p2', domain='example.com', users={'bob': [net.uri('bob')]}, realm='biloxi.example.com',
              passwords={'alice': 'land'})
    alice, bob = net.user_agent('alice'), net.user_agent('bob')
    net.resolver.names['example.com'] = [net.address('p1'), net.address('p2')]
    bob.serve(lambda leg: (leg.ring(), leg.answer(SDP), leg.wait_for('ACK'), leg.hangup()), background=True)
    with alice.invite('sip:bob@example.com', sdp=SDP,
                      credentials=('alice', 'land')) as leg:
        leg.wait_ended()
    net.run(0.5)
    net.ladder.expect('alice -> p1: INVITE\n' * 7 + '''
        alice -> p2: INVITE
        p2 -> alice: 407 INVITE
        alice -> p2: ACK
        alice -> p2: INVITE
        p2 -> alice: 100 INVITE
        p2 -> bob: INVITE
        bob -> p2: 180 INVITE
        bob -> p2: 200 INVITE
        p2 -> alice: 180 INVITE
        p2 -> alice: 200 INVITE
        alice -> p2: ACK
        p2 -> bob: ACK
        bob -> p2: BYE
        p2 -> alice: BYE
        alice -> p2: 200 BYE
        p2 -> bob: 200 BYE
    ''')


def test_3_5_through_an_application_gateway(net):
    """The gateway is a B2BUA that puts itself on the way of the media.

    Not as in the drawing, it acknowledges bob's 200 (F13) without waiting for alice's ACK (F12).
    """
    net.proxy('p2', users={'bob': [net.uri('bob')]}, record_route=False)
    alice, bob = net.user_agent('alice'), net.user_agent('bob')
    gateway = net.user_agent('alg', timeouts={'trying_delay': 0})

    def through(sdp):
        return sdp.replace(b'192.0.2.101', b'192.0.2.128')

    def carry(a):
        with LegGroup(a) as group:
            b = group.invite(f'sip:bob@{net.address("p2")}:5060', sdp=through(a.offer), progress_to=a)
            b.wait_for('200')
            a.answer(through(b.answer))
            Bridge(a, b).wait()

    gateway.serve(carry, background=True)
    bob.serve(lambda leg: (leg.ring(), net.run(1), leg.answer(SDP), leg.wait_ended()), background=True)
    with alice.invite(f'sip:bob@{net.address("p2")}:5060', route=net.route('alg'), sdp=SDP) as leg:
        leg.wait_for('200')
        assert b'192.0.2.128' in leg.answer
        net.run(5)
    net.run(0.5)
    net.ladder.expect('''
        alice -> alg: INVITE
        alg -> alice: 100 INVITE
        alg -> p2: INVITE
        p2 -> alg: 100 INVITE
        p2 -> bob: INVITE
        bob -> p2: 180 INVITE
        p2 -> alg: 180 INVITE
        alg -> alice: 180 INVITE
        bob -> p2: 200 INVITE
        p2 -> alg: 200 INVITE
        alg -> bob: ACK
        alg -> alice: 200 INVITE
        alice -> alg: ACK
        alice -> alg: BYE
        alg -> alice: 200 BYE
        alg -> bob: BYE
        bob -> alg: 200 BYE
    ''')


def test_3_6_redirected_with_the_offer_in_the_200(net):
    """The INVITE has no offer, so that of bob is answered in the ACK, which goes through proxy 3."""
    alice, bob, redirector = (net.user_agent(name) for name in ('alice', 'bob', 'redirect'))
    net.proxy('p3', users={'bob': [net.uri('bob')]})
    redirector.serve(lambda leg: leg.redirect(f'sip:bob@{net.address("p3")}:5060'), background=True)
    answers = []

    def answer(leg):
        leg.ring()
        net.run(1)
        leg.answer(SDP)
        answers.append(leg.wait_for('ACK').message.body)
        leg.hangup()

    bob.serve(answer, background=True)
    with alice.invite(net.uri('redirect'), sdp=b'', follow=1) as leg:
        leg.wait_for('200')
        assert leg.answer == SDP
        leg.ack(SDP.replace(b'49172', b'3456'))
        leg.wait_ended()
    net.run(0.5)
    assert answers == [SDP.replace(b'49172', b'3456')]
    net.ladder.expect('''
        alice -> redirect: INVITE
        redirect -> alice: 302 INVITE
        alice -> redirect: ACK
        alice -> p3: INVITE
        p3 -> alice: 100 INVITE
        p3 -> bob: INVITE
        bob -> p3: 180 INVITE
        p3 -> alice: 180 INVITE
        bob -> p3: 200 INVITE
        p3 -> alice: 200 INVITE
        alice -> p3: ACK
        p3 -> bob: ACK
        bob -> p3: BYE
        p3 -> alice: BYE
        alice -> p3: 200 BYE
        p3 -> bob: 200 BYE
    ''')


def test_3_7_another_address_by_reinvite(net):
    """The proxy does not record-route; bob's media moves to another address."""
    net.proxy('p2', users={'bob': [net.uri('bob')]}, record_route=False)
    alice, bob = net.user_agent('alice'), net.user_agent('bob')
    moved = SDP.replace(b'192.0.2.101', b'192.0.2.55').replace(b'u 1 1', b'u 1 2')

    def answer(leg):
        leg.ring()
        net.run(1)
        leg.answer(SDP)
        leg.wait_for('ACK')
        net.run(1)
        assert leg.reinvite(moved).code == 200
        leg.wait_ended()

    bob.serve(answer, background=True)
    with alice.invite(f'sip:bob@{net.address("p2")}:5060', sdp=SDP) as leg:
        leg.wait_for('200')
        leg.wait_for('INVITE')
        assert leg.remote_sdp == moved
        net.run(1)
    net.run(0.5)
    net.ladder.expect('''
        alice -> p2: INVITE
        p2 -> alice: 100 INVITE
        p2 -> bob: INVITE
        bob -> p2: 180 INVITE
        p2 -> alice: 180 INVITE
        bob -> p2: 200 INVITE
        p2 -> alice: 200 INVITE
        alice -> bob: ACK
        bob -> alice: INVITE
        alice -> bob: 200 INVITE
        bob -> alice: ACK
        alice -> bob: BYE
        bob -> alice: 200 BYE
    ''')


#: F1 to F5 of the unsuccessful ones
BOTH_PROXIES = LOGIN + '''
    alice -> p1: INVITE
    p1 -> alice: 100 INVITE
    p1 -> p2: INVITE
    p2 -> p1: 100 INVITE
    p2 -> bob: INVITE
'''


def test_3_8_no_answer(net):
    alice, bob = two_proxies(net)
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with invite_bob(net, alice) as leg:
        leg.wait_for('180')
        net.run(10)
        leg.cancel()
        assert leg.wait_for('487').code == 487
    net.run(0.5)
    net.ladder.expect(BOTH_PROXIES + '''
        bob -> p2: 180 INVITE
        p2 -> p1: 180 INVITE
        p1 -> alice: 180 INVITE
        alice -> p1: CANCEL
        p1 -> alice: 200 CANCEL
        p1 -> p2: CANCEL
        p2 -> p1: 200 CANCEL
        p2 -> bob: CANCEL
        bob -> p2: 200 CANCEL
        bob -> p2: 487 INVITE
        p2 -> bob: ACK
        p2 -> p1: 487 INVITE
        p1 -> p2: ACK
        p1 -> alice: 487 INVITE
        alice -> p1: ACK
    ''')


def test_3_9_busy(net):
    alice, bob = two_proxies(net)
    bob.serve(lambda leg: leg.reject(486), background=True)
    with invite_bob(net, alice) as leg, pytest.raises(Busy):
        leg.wait_for('200')
    net.run(0.5)
    net.ladder.expect(BOTH_PROXIES + '''
        bob -> p2: 486 INVITE
        p2 -> bob: ACK
        p2 -> p1: 486 INVITE
        p1 -> p2: ACK
        p1 -> alice: 486 INVITE
        alice -> p1: ACK
    ''')


def test_3_10_no_response(net):
    net.proxy('p1', realm='atlanta.example.com', passwords={'alice': 'wonder'})
    net.proxy('p2', users={'bob': [net.uri('bob')]}, no_answer=480)
    alice = net.user_agent('alice')
    net.place('bob')
    with invite_bob(net, alice) as leg, pytest.raises(Unavailable):
        leg.wait_for('200')
    net.run(0.5)
    net.ladder.expect(BOTH_PROXIES + 'p2 -> bob: INVITE\n' * 6 + '''
        p2 -> p1: 480 INVITE
        p1 -> p2: ACK
        p1 -> alice: 480 INVITE
        alice -> p1: ACK
    ''')


def test_3_11_temporarily_unavailable(net):
    alice, bob = two_proxies(net)
    bob.serve(lambda leg: (leg.ring(), net.run(1), leg.reject(480)), background=True)
    with invite_bob(net, alice) as leg, pytest.raises(ResponseError) as caught:
        leg.wait_for('200')
    assert caught.value.code == 480
    net.run(0.5)
    net.ladder.expect(BOTH_PROXIES + '''
        bob -> p2: 180 INVITE
        p2 -> p1: 180 INVITE
        p1 -> alice: 180 INVITE
        bob -> p2: 480 INVITE
        p2 -> bob: ACK
        p2 -> p1: 480 INVITE
        p1 -> p2: ACK
        p1 -> alice: 480 INVITE
        alice -> p1: ACK
    ''')
