"""``flow=``: whoever has registered is called where the REGISTER came from."""

from __future__ import annotations

import pytest

from greensip import Flow, Redirected

from .conftest import SDP, answering

ELSEWHERE = 'sip:bob@nowhere.invalid'


def registered(alice, bob, to_alice):
    """Bob registers with alice, with a Contact that leads nowhere."""
    flows = []
    alice.handle('REGISTER', lambda incoming: flows.append(incoming.flow))
    bob.request('REGISTER', to_alice, contact=f'<{ELSEWHERE}>')
    flow, = flows
    assert isinstance(flow, Flow)
    return flow


def test_a_call_over_a_flow(net, alice, bob):
    flow = registered(alice, bob, net.uri('alice'))
    bob.serve(answering, background=True)
    with alice.invite(ELSEWHERE, flow=flow, sdp=SDP) as leg:
        leg.wait_for('200')
        assert str(leg.invite.uri) == ELSEWHERE
        assert leg.invite.from_.uri.host == alice.host
        leg.hangup()
        leg.wait_ended()


def test_a_request_over_a_flow(net, alice, bob):
    flow = registered(alice, bob, net.uri('alice'))
    assert alice.options(ELSEWHERE, flow=flow).code == 200
    texts = []
    bob.handle('MESSAGE', lambda incoming: texts.append(incoming.request.body))
    alice.message(ELSEWHERE, 'hello', flow=flow)
    assert texts == [b'hello']


def test_who_is_forwarded_to_is_somewhere_else(net, agent, alice, bob):
    flow = registered(alice, bob, net.uri('alice'))
    bob.serve(lambda leg: leg.redirect([net.uri('carol')]), background=True)
    agent('carol').serve(answering, background=True)
    with alice.call(ELSEWHERE, flow=flow, follow=1, timeout=10) as leg:
        assert str(leg.invite.uri) == net.uri('carol')


def test_nobody_is_followed_unasked(net, alice, bob):
    flow = registered(alice, bob, net.uri('alice'))
    bob.serve(lambda leg: leg.redirect([net.uri('carol')]), background=True)
    with pytest.raises(Redirected) as caught:
        alice.call(ELSEWHERE, flow=flow, timeout=10)
    assert [str(contact.uri) for contact in caught.value.contacts] == [net.uri('carol')]
