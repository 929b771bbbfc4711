"""Who calls, why a call is over, where it has been."""

from __future__ import annotations

import pytest

from greensip import Busy, Redirected, ResponseError, UsageError
from greensip.message import Request, Response, parse_uri
from greensip.ua.identity import ANONYMOUS, Cause, Identity, causes_of, divert, history_of, next_history

from .conftest import answering


def invite(*fields):
    return Request('INVITE', 'sip:bob@example.com', fields)


# -- Reason (RFC 3326)

@pytest.mark.parametrize(('reason', 'cause'), [
    ('Q.850;cause=16;text="Normal call clearing"', Cause('Q.850', 16, 'Normal call clearing')),
    ('SIP;cause=600, Q.850;cause=17', Cause('Q.850', 17)),
    ('SIP;cause=200;text="Call completed elsewhere"', Cause('SIP', 200, 'Call completed elsewhere')),
    ('SIP', Cause('SIP')),
    ('Q.850;cause=high', Cause('Q.850')),
    (';;', None),
])
def test_the_cause_of_a_bye(net, alice, bob, to_bob, reason, cause):
    bob.serve(lambda leg: (leg.answer(), leg.wait_for('ACK'), leg.request('INFO'),
                           leg.hangup(headers={'Reason': reason})), background=True)
    with alice.call(to_bob) as leg:
        assert leg.cause is None
        leg.wait_ended()
        assert leg.cause == cause


def test_a_cause_is_passed_on(net, alice, bob, to_bob):
    bob.serve(answering, background=True)
    cause = Cause('Q.850', 31, 'Normal, "unspecified"')
    with alice.call(to_bob) as leg:
        peer, = bob.legs
        leg.hangup(reason=cause)
        leg.wait_ended()
        assert peer.cause == cause
        assert leg.cause is None


def test_the_cause_of_a_refusal(net, alice, bob, to_bob):
    bob.serve(lambda leg: leg.reject(486, headers={'Reason': 'Q.850;cause=17', 'Retry-After': '120 (at lunch)',
                                                   'Warning': '399 bob "not now", 307 bob "nor later"'}),
              background=True)
    with alice.invite(to_bob) as leg:
        leg.wait_ended()
        assert leg.cause == Cause('Q.850', 17)
        assert isinstance(leg.error, Busy)
        assert leg.error.retry_after == 120
        assert [(warning.code, warning.text) for warning in leg.error.warnings] == [(399, 'not now'),
                                                                                  (307, 'nor later')]


def test_a_refusal_without_a_reason_is_one_itself(net, alice, bob, to_bob):
    bob.serve(lambda leg: leg.reject(404, headers={'Retry-After': 'soon', 'Warning': 'none'}), background=True)
    with alice.invite(to_bob) as leg:
        leg.wait_ended()
        assert leg.cause == Cause('SIP', 404, 'Not Found')
        assert leg.causes == [leg.cause]
        assert (leg.error.retry_after, leg.error.warnings) == (None, [])


def test_an_error_without_a_response():
    error = ResponseError(503)
    assert (error.retry_after, error.warnings) == (None, [])
    assert causes_of(None) == []


# -- Identity (RFC 3325, 3323)

def test_the_identity_of_who_calls_and_of_who_answers(net, alice, bob, to_bob):
    seen = []

    def handler(leg):
        seen.append(leg.identity)
        leg.answer(headers=Identity('"Bob" <sip:bob@example.com>').fields())
        leg.wait_ended()

    bob.serve(handler, background=True)
    identity = Identity(['"Alice" <sip:alice@example.com>', 'tel:+4930123'], privacy=('id', 'critical'))
    with alice.call(to_bob, from_=ANONYMOUS, identity=identity) as leg:
        assert str(leg.identity.address) == '"Bob" <sip:bob@example.com>'
        assert leg.invite.get('Privacy') == 'critical;id'
        assert leg.invite.from_.uri.host == 'anonymous.invalid'
    assert seen == [identity]
    assert seen[0].hidden
    assert not leg.identity.hidden


def test_a_preferred_identity():
    identity = Identity(preferred='sip:alice@example.com')
    assert identity.fields() == [('P-Preferred-Identity', '<sip:alice@example.com>')]
    assert str(identity.address) == '<sip:alice@example.com>'
    assert Identity().address is None
    assert Identity.of(invite(*identity.fields())) == identity
    assert 'P-Preferred-Identity' in repr(identity)


@pytest.mark.parametrize('arguments', [
    {'asserted': ['sip:a@b', 'sips:c@d']},
    {'asserted': ['sip:a@b', 'tel:+1', 'sip:c@d']},
    {'preferred': 'mailto:a@b'},
    {'privacy': 'secret'},
    {'privacy': 'none;id'},
])
def test_an_identity_that_cannot_be(arguments):
    with pytest.raises(UsageError):
        Identity(**arguments)


@pytest.mark.parametrize('fields', [
    [('P-Asserted-Identity', '<sip:'), ('Privacy', ';;')],
    [('P-Asserted-Identity', '')],
    [('Privacy', 'secret')],
])
def test_an_identity_that_cannot_be_read_is_none(fields):
    assert Identity.of(invite(*fields)) == Identity()


# -- History-Info (RFC 7044)

def entries(message):
    return [(str(entry.uri), entry.index, entry.target, entry.origin, entry.causes) for entry in history_of(message)]


def test_the_history_of_a_call_that_is_redirected(net, alice, bob, agent, to_bob):
    """RFC 7044 10.2, 10.3 rule 4, 10.4: the Contact says how its target was found."""
    carol = agent('carol')
    to_carol = net.uri('carol')
    bob.serve(lambda leg: leg.redirect(f'<{to_carol}>;mp=1', headers={'Reason': 'Q.850;cause=23'}), background=True)
    histories = []

    def handler(leg):
        histories.append(entries(leg.invite))
        assert leg.headers.all('Supported')[-1] == 'histinfo'
        leg.answer(headers={'History-Info': leg.headers.all('History-Info')})
        leg.wait_ended()

    carol.serve(handler, background=True)
    with alice.call(to_bob, follow=1, history=True) as leg:
        assert histories == [[(to_bob, '1', '', '', [Cause('SIP', 302), Cause('Q.850', 23)]),
                              (to_carol, '2', 'mp', '1', [])]]
        assert [entry.index for entry in leg.history] == ['1', '2']


def test_the_history_of_a_call_that_is_sent_on(net, alice, bob, agent, to_bob):
    """RFC 7044 10.3 rules 2 and 3: a level deeper, then the next branch there, with the cause of the first."""
    agent('carol').serve(lambda leg: leg.reject(486), background=True)
    dave = agent('dave')
    seen = []
    dave.serve(lambda leg: (seen.append(entries(leg.invite)), answering(leg)), background=True)

    def handler(a):
        with bob.invite(net.uri('carol'), history=a) as first:
            first.wait_ended()
            with bob.invite(net.uri('dave'), history=first) as second:
                second.wait_for('200')
                a.answer()
                a.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, history=True):
        assert seen == [[(to_bob, '1', '', '', []),
                         (net.uri('carol'), '1.1', 'mp', '1', [Cause('SIP', 486, 'Busy Here')]),
                         (net.uri('dave'), '1.2', '', '', [])]]


def test_a_request_that_has_kept_no_history():
    """9.1: an entry on behalf of the one before; 10.3 rule 6: a gap."""
    uri = parse_uri('sip:carol@example.com')
    assert entries(invite(*next_history(uri, invite()))) == [
        ('sip:bob@example.com', '1', '', '', []), ('sip:carol@example.com', '1.1', 'mp', '1', [])]
    gap = invite(('History-Info', '<sip:first@example.com>;index=1'))
    assert [entry[1] for entry in entries(invite(*next_history(uri, gap)))] == ['1', '1.0', '1.0.1']


def test_what_a_response_knows_of_the_history():
    """9.3: entries of others, in their order."""
    request = invite(*next_history(parse_uri('sip:bob@example.com')))
    response = Response(480, '', [('History-Info', '<sip:bob@example.com>;index=1, <sip:b@x>;index=1.10;rc=1, '
                                   '<sip:a@x>;index=1.9')])
    fields = next_history(parse_uri('sip:carol@example.com'), (request, response))
    assert [entry[1] for entry in entries(invite(*fields))] == ['1', '1.9', '1.10', '2']


def test_a_telephone_number_can_have_no_reason():
    request = invite(*next_history(parse_uri('tel:+4930123')))
    fields = next_history(parse_uri('sip:carol@example.com'), (request, Response(404)))
    assert entries(invite(*fields))[0] == ('tel:+4930123', '1', '', '', [])


@pytest.mark.parametrize('text', ['', '<sip:', '<sip:a@b>', '<sip:a@b?Reason=>;index=x', '<sip:a@b>;index=9x.-1',
                                  '<sip:a@[>;index=1'])
def test_a_broken_history(text):
    """It costs nobody his call."""
    request = invite(('History-Info', text))
    for before in (request, (request, Response(302, '', [('Contact', '<sip:')]))):
        try:
            fields = next_history(parse_uri('sip:carol@example.com'), before)
        except ValueError:
            pytest.fail('raised')
        assert fields[-1][1].startswith('<sip:carol@example.com>')


def test_no_history_without_an_invite(net, alice):
    leg = alice.invite('sip:bob@nowhere.invalid')
    assert leg.invite is None
    with pytest.raises(UsageError):
        alice.invite('sip:carol@nowhere.invalid', history=leg)
    leg.close()


# -- Diversion (RFC 5806)

def test_diversion(net, alice, bob, agent, to_bob):
    seen = []
    agent('carol').serve(lambda leg: (seen.extend(leg.diversions), answering(leg)), background=True)

    def handler(a):
        with bob.call(net.uri('carol'), headers=divert(a.invite, 'user-busy', counter=2, privacy='full')):
            a.answer()
            a.wait_ended()

    bob.serve(handler, background=True)
    with alice.call(to_bob, headers={'Diversion': '<sip:old@example.com>;reason=no-answer'}):
        pass
    assert [(str(value.uri), value.param('reason'), value.param('counter')) for value in seen] == [
        (to_bob, 'user-busy', '2'), ('sip:old@example.com', 'no-answer', None)]


# -- Call-Info, Alert-Info

def test_values_of_any_field(net, alice, bob, to_bob):
    seen = []
    bob.serve(lambda leg: (seen.append(leg.headers), answering(leg)), background=True)
    with alice.call(to_bob, headers={'Call-Info': '<http://a/b.jpg>;purpose=icon, <http://a/c>;purpose=info',
                                     'Alert-Info': '<urn:alert:source:internal>', 'Accept-Contact': '*;;='}):
        pass
    headers, = seen
    assert [value.param('purpose') for value in headers.parsed('Call-Info')] == ['icon', 'info']
    assert [str(value.uri) for value in headers.parsed('Alert-Info')] == ['urn:alert:source:internal']
    assert headers.parsed('Subject') == []
    assert headers.parsed('Accept-Contact') == []


def test_a_redirection_that_nobody_follows_has_no_history(net, alice, bob, to_bob):
    bob.serve(lambda leg: leg.redirect('sip:carol@example.com'), background=True)
    with pytest.raises(Redirected):
        alice.call(to_bob)
