"""Redirections (RFC 3261 8.1.3.4): where follow= leads."""

from __future__ import annotations

import pytest

from greensip.errors import Busy, Declined, ParseError, Redirected, RequestTerminated
from greensip.message import make_response
from greensip.ua.addresses import target_of

from .conftest import answering
from .peer import RawPeer


@pytest.fixture
def redirecting(agent, net):
    """redirecting('bob', contacts, code) makes a user agent that sends callers elsewhere."""

    def make(name, contacts, code=302):
        ua = agent(name)
        ua.serve(lambda leg: leg.redirect(contacts, code), background=True)
        return ua

    return make


def invites(net):
    return [f'{arrow.source} {arrow.destination}' for arrow in net.ladder.arrows if arrow.title == 'INVITE']


def test_redirected_tells_the_contacts_best_first(alice, redirecting, to_bob):
    redirecting('bob', ['<sip:c@10.0.0.3>;q=0.1', '<sip:d@10.0.0.4>;q=0.9', 'sip:e@10.0.0.5'])
    with pytest.raises(Redirected) as caught:
        alice.call(to_bob)
    assert [contact.uri.user for contact in caught.value.contacts] == ['e', 'd', 'c']


@pytest.mark.parametrize('contact', ['junk', '<sip:a@10.0.0.3', '<sip:c@10.0.0.4>, <>'])
def test_redirected_to_what_cannot_be_read(alice, net, contact):
    carol = RawPeer(net, 'carol')
    leg = alice.invite(net.uri('carol'))
    response = make_response(carol.expect('INVITE'), 302, to_tag='raw')
    response.add('Contact', contact)
    carol.send(response)
    with leg, pytest.raises(Redirected) as caught:
        leg.wait_for('200', timeout=5)
    assert caught.value.contacts == []
    carol.close()


def test_what_is_no_uri_is_no_way_to_send_a_caller(alice, bob, to_bob):
    with alice.invite(to_bob) as leg, bob.accept() as caller:
        with pytest.raises(ParseError):
            caller.redirect(['sip:c@10.0.0.3', 'junk'])
        caller.redirect('sip:c@10.0.0.3')
        with pytest.raises(Redirected):
            leg.wait_for('200', timeout=5)


def test_follow_goes_on_in_the_same_call(alice, agent, redirecting, net, to_bob):
    redirecting('bob', [net.uri('carol')])
    carol = agent('carol')
    seen = []
    carol.serve(lambda leg: (seen.append(leg.invite), answering(leg)), background=True)
    with alice.invite(to_bob, follow=1, headers={'Subject': 'x'}) as leg:
        assert leg.wait_for('18x', '200').code == 180
        leg.wait_for('200')
        assert [response.code for response in leg.responses] == [302, 180, 200]
        invite, = seen
        assert (invite.call_id, invite.from_tag, invite.cseq.number) == (leg.call_id, leg.local.tag, 2)
        assert invite.to.uri.user == 'bob' and invite.uri.user == 'carol' and invite.get('Subject') == 'x'
    net.clock.sleep(1)
    assert leg.ended


def test_follow_by_q_value_and_past_failures(alice, agent, redirecting, net, to_bob):
    redirecting('bob', [f'<{net.uri("carol")}>;q=0.2', f'<{net.uri("dave")}>;q=0.8', '<mailto:bob@example.com>'])
    agent('dave').serve(lambda leg: leg.reject(486), background=True)
    agent('carol').serve(answering, background=True)
    with alice.invite(to_bob, follow=5) as leg:
        leg.wait_for('200', timeout=5)
    assert invites(net) == ['alice bob', 'alice dave', 'alice carol']
    with alice.invite(to_bob, follow=1) as leg, pytest.raises(Busy):
        leg.wait_for('200', timeout=5)


def test_a_loop_is_not_followed(alice, redirecting, net, to_bob):
    redirecting('bob', [net.uri('carol')])
    redirecting('carol', [to_bob, net.uri('carol')])
    with pytest.raises(Redirected):
        alice.call(to_bob, follow=9, timeout=5)
    assert invites(net) == ['alice bob', 'alice carol']


def test_follow_stops_at_its_limit(alice, redirecting, agent, net, to_bob):
    redirecting('bob', [net.uri('carol')])
    redirecting('carol', [net.uri('dave')])
    agent('dave').serve(answering, background=True)
    with pytest.raises(Redirected):
        alice.call(to_bob, follow=1)
    alice.call(to_bob, follow=2).close()


def test_a_global_failure_ends_the_search(alice, redirecting, agent, net, to_bob):
    redirecting('bob', [net.uri('carol'), net.uri('dave')])
    agent('carol').serve(lambda leg: leg.reject(603), background=True)
    with pytest.raises(Declined):
        alice.call(to_bob, follow=5)
    assert invites(net) == ['alice bob', 'alice carol']


def test_use_proxy(alice, redirecting, agent, net, to_bob):
    redirecting('bob', [net.uri('proxy')], 305)
    proxy = agent('proxy')
    seen = []
    proxy.serve(lambda leg: (seen.append(leg.invite), answering(leg)), background=True)
    alice.call(to_bob, follow=1).close()
    assert str(seen[0].uri) == to_bob and seen[0].routes[0].uri.user == 'proxy'


def test_cancelled_while_following(alice, redirecting, agent, net, to_bob):
    redirecting('bob', [net.uri('carol'), net.uri('dave')])
    agent('carol').serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with alice.invite(to_bob, follow=5) as leg:
        leg.wait_for('180')
        leg.cancel()
        with pytest.raises(RequestTerminated):
            leg.wait_for('200')
    assert invites(net) == ['alice bob', 'alice carol']


def test_left_before_the_redirection_came(alice, redirecting, net, to_bob):
    redirecting('bob', [net.uri('carol')])
    with alice.invite(to_bob, follow=5):
        pass
    net.clock.sleep(2)
    assert invites(net) == ['alice bob']


@pytest.mark.parametrize('text', ['sip:bob@example.com', ' <sip:bob@example.com> ', '"Bob" <sip:bob@example.com>;q=1'])
def test_target(text):
    assert str(target_of(text)) == 'sip:bob@example.com'
