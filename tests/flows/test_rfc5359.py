"""The services of RFC 5359 section 2, message by message.

Where the drawing has a proxy that only passes on, it is ``proxy.py``.  Where that proxy decides (forwarding, finding)
it is a linear script here, so a B2BUA: each side has its own dialog, and the callee's 200 is acknowledged at once,
where in the drawing the ACK comes from the caller.  The services by REFER and Replaces are with those of RFC 5589.
"""

from __future__ import annotations

import pytest

from greensip import Bridge, Forbidden, LegGroup, ResponseError, WaitTimeout

from .conftest import SDP


def answer(net, *, ring=1.0):
    """A phone that rings and answers."""
    def handler(leg):
        leg.ring()
        net.run(ring)
        leg.answer(SDP)
        leg.wait_ended()
    return handler


def through_proxy(net):
    """alice and bob with a record-routing proxy between them, and what to call."""
    net.proxy('proxy', users={'bob': [net.uri('bob')], 'carol': [net.uri('carol')]})
    return net.user_agent('alice'), net.user_agent('bob'), f'sip:bob@{net.address("proxy")}:5060'


#: F1 to F9 of 2.1 and 2.2
ANSWERED = '''
    alice -> proxy: INVITE
    proxy -> alice: 100 INVITE
    proxy -> bob: INVITE
    bob -> proxy: 180 INVITE
    proxy -> alice: 180 INVITE
    bob -> proxy: 200 INVITE
    proxy -> alice: 200 INVITE
    alice -> proxy: ACK
    proxy -> bob: ACK
'''


def reinvited(asks, asked):
    """A re-INVITE through the proxy."""
    return f'''
        {asks} -> proxy: INVITE
        proxy -> {asks}: 100 INVITE
        proxy -> {asked}: INVITE
        {asked} -> proxy: 200 INVITE
        proxy -> {asks}: 200 INVITE
        {asks} -> proxy: ACK
        proxy -> {asked}: ACK
    '''


def hung_up(by, other):
    return f'''
        {by} -> proxy: BYE
        proxy -> {other}: BYE
        {other} -> proxy: 200 BYE
        proxy -> {by}: 200 BYE
    '''


def test_2_1_call_hold(net):
    alice, bob, uri = through_proxy(net)

    def handler(leg):
        leg.ring()
        net.run(1)
        leg.answer(SDP)
        leg.wait_for('ACK')
        leg.hold()
        net.run(5)
        leg.resume()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(uri, sdp=SDP) as leg:
        leg.wait_for('200')
        leg.wait_for('hold')
        assert b'a=sendonly' in leg.remote_sdp and leg.state == 'held'
        assert b'a=recvonly' in leg.local_sdp
        leg.wait_for('resume')
        assert b'a=sendonly' not in leg.remote_sdp and leg.state == 'confirmed'
        net.run(1)
    net.run(0.5)
    net.ladder.expect(ANSWERED + reinvited('bob', 'alice') + reinvited('bob', 'alice') + hung_up('alice', 'bob'))


def test_2_2_consultation_hold(net):
    """bob holds alice, asks carol, and goes back to alice."""
    alice, bob, uri = through_proxy(net)
    carol = net.user_agent('carol')

    def handler(leg):
        leg.ring()
        net.run(1)
        leg.answer(SDP)
        leg.wait_for('ACK')
        leg.hold()
        net.run(0.5)
        with bob.call(f'sip:carol@{net.address("proxy")}:5060', sdp=SDP):
            net.run(5)
        net.run(0.5)
        leg.resume()
        leg.wait_ended()

    bob.serve(handler, background=True)
    carol.serve(answer(net), background=True)
    with alice.invite(uri, sdp=SDP) as leg:
        leg.wait_for('200')
        leg.wait_for('hold')
        leg.wait_for('resume')
        net.run(1)
    net.run(0.5)
    asked = ANSWERED.replace('bob', 'carol').replace('alice', 'bob')
    net.ladder.expect(ANSWERED + reinvited('bob', 'alice') + asked + hung_up('bob', 'carol')
                      + reinvited('bob', 'alice') + hung_up('alice', 'bob'))


def forwarder(net, *steps, refused=480):
    """A script that tries ``steps``, (name, seconds) each, and says 181 when it goes on to the next one."""
    def carry(a):
        with LegGroup(a) as group:
            for number, (name, seconds) in enumerate(steps):
                if number or len(steps) == 1:
                    a.progress(181)
                b = group.invite(net.uri(name), sdp=a.offer, progress_to=a)
                try:
                    b.wait_for('2xx', timeout=seconds)
                except WaitTimeout:
                    b.cancel()
                    b.wait_ended()
                except ResponseError:
                    pass
                else:
                    a.answer(b.answer)
                    Bridge(a, b).wait()
                    return
            a.reject(refused)
    return carry


def forwarded(net, *steps):
    alice, proxy = net.user_agent('alice'), net.user_agent('proxy', timeouts={'trying_delay': 0})
    proxy.serve(forwarder(net, *steps), background=True)
    with alice.invite(f'sip:bob@{net.address("proxy")}:5060', sdp=SDP) as leg:
        leg.wait_for('200')
        seen = [response.code for response in leg.responses]
        net.run(1)
    net.run(0.5)
    return seen


def answered_by(name):
    """From the INVITE that is answered to the end."""
    return f'''
        proxy -> {name}: INVITE
        {name} -> proxy: 180 INVITE
        proxy -> alice: 180 INVITE
        {name} -> proxy: 200 INVITE
        proxy -> {name}: ACK
        proxy -> alice: 200 INVITE
        alice -> proxy: ACK
        alice -> proxy: BYE
        proxy -> alice: 200 BYE
        proxy -> {name}: BYE
        {name} -> proxy: 200 BYE
    '''


CALLED = '''
    alice -> proxy: INVITE
    proxy -> alice: 100 INVITE
'''


def test_2_7_forwarding_unconditional(net):
    net.user_agent('gateway').serve(answer(net), background=True)
    assert forwarded(net, ('gateway', 30)) == [100, 181, 180, 200]
    net.ladder.expect(CALLED + 'proxy -> alice: 181 INVITE' + answered_by('gateway'))


def test_2_8_forwarding_busy(net):
    net.user_agent('b1').serve(lambda leg: leg.reject(486), background=True)
    net.user_agent('b2').serve(answer(net), background=True)
    assert forwarded(net, ('b1', 30), ('b2', 30)) == [100, 181, 180, 200]
    net.ladder.expect(CALLED + '''
        proxy -> b1: INVITE
        b1 -> proxy: 486 INVITE
        proxy -> b1: ACK
        proxy -> alice: 181 INVITE
    ''' + answered_by('b2'))


UNANSWERED = '''
    proxy -> b1: INVITE
    b1 -> proxy: 180 INVITE
    proxy -> alice: 180 INVITE
    proxy -> b1: CANCEL
    b1 -> proxy: 200 CANCEL
    b1 -> proxy: 487 INVITE
    proxy -> b1: ACK
'''


def test_2_9_forwarding_no_answer(net):
    net.user_agent('b1').serve(answer(net, ring=60), background=True)
    net.user_agent('b2').serve(answer(net), background=True)
    assert forwarded(net, ('b1', 20), ('b2', 30)) == [100, 180, 181, 180, 200]
    net.ladder.expect(CALLED + UNANSWERED + 'proxy -> alice: 181 INVITE' + answered_by('b2'))


def test_2_12_find_me(net):
    """One phone after the other, until somebody answers."""
    net.user_agent('b1').serve(answer(net, ring=60), background=True)
    net.user_agent('b2').serve(lambda leg: leg.reject(480), background=True)
    net.user_agent('b3').serve(lambda leg: leg.reject(486), background=True)
    net.user_agent('b4').serve(answer(net), background=True)
    assert forwarded(net, ('b1', 20), ('b2', 20), ('b3', 20), ('b4', 20))[-1] == 200
    refused = '''
        proxy -> alice: 181 INVITE
        proxy -> {0}: INVITE
        {0} -> proxy: {1} INVITE
        proxy -> {0}: ACK
    '''
    net.ladder.expect(CALLED + UNANSWERED + refused.format('b2', 480) + refused.format('b3', 486)
                      + 'proxy -> alice: 181 INVITE' + answered_by('b4'))


def test_2_13_incoming_screening(net):
    """bob takes no call that the proxy has not screened (305); the refusal names an announcement (Error-Info)."""
    alice, bob = net.user_agent('alice'), net.user_agent('bob')
    screen, announcements = net.user_agent('proxy'), net.user_agent('announcements')
    bob.serve(lambda leg: leg.redirect(f'sip:{net.address("proxy")}:5060', 305), background=True)
    info = f'<{net.uri("announcements")}>'
    screen.serve(lambda leg: leg.reject(403, 'Screening Failure (Terminating)', headers={'Error-Info': info}),
                 background=True)
    announcements.serve(lambda leg: (leg.answer(SDP), leg.wait_for('ACK'), net.run(3), leg.hangup()), background=True)
    with alice.invite(net.uri('bob'), sdp=SDP, follow=1) as leg, pytest.raises(Forbidden) as caught:
        leg.wait_for('200')
    assert caught.value.reason == 'Screening Failure (Terminating)'
    with alice.invite(caught.value.response.values('Error-Info')[0].uri, sdp=SDP) as leg:
        leg.wait_for('200')
        leg.wait_ended()
    net.run(0.5)
    net.ladder.expect('''
        alice -> bob: INVITE
        bob -> alice: 305 INVITE
        alice -> bob: ACK
        alice -> proxy: INVITE
        proxy -> alice: 403 INVITE
        alice -> proxy: ACK
        alice -> announcements: INVITE
        announcements -> alice: 200 INVITE
        alice -> announcements: ACK
        announcements -> alice: BYE
        alice -> announcements: 200 BYE
    ''')


def test_2_14_outgoing_screening(net):
    """The outbound proxy knows whom alice may not call."""
    proxy = net.user_agent('proxy')
    alice = net.user_agent('alice', outbound_proxy=f'sip:{net.address("proxy")}:5060')
    proxy.serve(lambda leg: leg.reject(403, 'Screening Failure (Originating)'), background=True)
    with alice.invite(net.uri('bob'), sdp=SDP) as leg, pytest.raises(Forbidden, match='Originating'):
        leg.wait_for('200')
    net.run(0.5)
    net.ladder.expect('''
        alice -> proxy: INVITE
        proxy -> alice: 403 INVITE
        alice -> proxy: ACK
    ''')
