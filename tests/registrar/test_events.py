"""The event package reg (RFC 3680)."""

from __future__ import annotations

import pytest

from greensip import Forbidden, NotFound, ResponseError, Unauthorized, UsageError
from greensip.body.reginfo import parse_reginfo

from .conftest import Phone


def told(notify):
    """State of the registration, and URI, state and event of its contacts."""
    info = parse_reginfo(notify.body)
    registration, = info.registrations.values()
    assert registration.aor == 'sip:bob@example.com' and info.state == 'full'
    return info.version, registration.state, [
        (contact.uri, contact.state, contact.event) for contact in registration.contacts.values()]


def watch(phone, user='bob', **options):
    return phone.ua.subscribe(f'sip:{user}@example.com', 'reg', **{**phone.options, **options})


def test_a_user_watches_his_phones(net, registrar, phone):
    bob, other = phone('bob'), phone('bob', 'other')
    with watch(other) as events:
        assert told(events.wait_for('NOTIFY', timeout=5)) == (0, 'init', [])
        bob.register(call_id='b', cseq=1)
        assert told(events.wait_for('NOTIFY', timeout=5)) == (1, 'active', [(bob.ua.uri, 'active', 'registered')])
        bob.register(call_id='b', cseq=9)
        notify = events.wait_for('NOTIFY', timeout=5)
        assert told(notify) == (2, 'active', [(bob.ua.uri, 'active', 'refreshed')])
        contact, = next(iter(parse_reginfo(notify.body).registrations.values())).contacts.values()
        # 10 follows 9, after the challenge
        assert (contact.expires, contact.call_id, contact.cseq) == (3600, 'b', 10)
        other.register(params=';expires=100;+sip.instance="<urn:uuid:1>";q=0.5')
        notify = events.wait_for('NOTIFY', timeout=5)
        assert told(notify)[2] == [(bob.ua.uri, 'active', 'refreshed'), (other.ua.uri, 'active', 'registered')]
        assert b'pub-gruu uri="sip:bob@example.com;gr=urn:uuid:1"' in notify.body and b'q="0.5"' in notify.body
        net.run(110)
        assert told(events.wait_for('NOTIFY', timeout=5)) == (4, 'active', [
            (bob.ua.uri, 'active', 'refreshed'), (other.ua.uri, 'terminated', 'expired')])
        bob.register('*', headers={'Expires': '0'})
        assert told(events.wait_for('NOTIFY', timeout=5)) == (5, 'terminated', [
            (bob.ua.uri, 'terminated', 'unregistered')])
        assert registrar.events.count == 1
    net.run(1)
    assert registrar.events.count == 0 and registrar.events.versions == {}
    assert registrar.events._documents == {}


def test_a_refresh_is_told_what_is_true_by_then(net, phone):
    """RFC 3680 5.1: each document has a version of its own, and times that are right when it leaves."""
    bob, other = phone('bob'), phone('bob', 'other')
    bob.register()
    other.register(params=';expires=100')
    with watch(bob) as events:
        assert told(events.wait_for('NOTIFY', timeout=5))[0] == 0
        net.run(110)
        assert told(events.wait_for('NOTIFY', timeout=5))[1:] == ('active', [
            (bob.ua.uri, 'active', 'refreshed'), (other.ua.uri, 'terminated', 'expired')])
        net.run(890)
        events.refresh()
        notify = events.wait_for('NOTIFY', timeout=5)
        assert told(notify) == (2, 'active', [(bob.ua.uri, 'active', 'refreshed')])
        contact, = next(iter(parse_reginfo(notify.body).registrations.values())).contacts.values()
        assert 2590 <= contact.expires <= 2600


def test_nobody_else_does(registrar, phone):
    alice = phone('alice')
    for options, refusal in (({}, Forbidden), ({'credentials': None}, Unauthorized),
                             ({'credentials': ('bob', 'wrong')}, Unauthorized)):
        with pytest.raises(refusal), watch(alice, **options) as events:
            events.wait_for('NOTIFY', timeout=5)
    with pytest.raises(ResponseError, match='489'), alice.ua.subscribe(
            'sip:alice@example.com', 'dialog', **alice.options) as events:
        events.wait_for('NOTIFY', timeout=5)
    assert registrar.events.count == 0


def test_where_everybody_may(net, start):
    registrar = start(users=None)
    bob = Phone(net.user_agent('bob', watchdog=None), 'bob', registrar)
    with pytest.raises(NotFound), watch(bob) as events:
        events.wait_for('NOTIFY', timeout=5)
    bob.register()
    with watch(bob) as events:
        assert told(events.wait_for('NOTIFY', timeout=5))[1] == 'active'


# -- what phones publish

@pytest.fixture
def presence(net, start):
    """phone(user) at a registrar that takes presence."""
    registrar = start(presence=True)
    made = {}

    def phone(user):
        made[user] = Phone(net.user_agent(user, watchdog=None), user, registrar)
        return made[user]

    return phone


def test_presence(net, presence):
    alice, bob = presence('alice'), presence('bob')
    with alice.ua.subscribe('sip:bob@example.com', 'presence', **alice.options) as events:
        assert events.wait_for('NOTIFY', timeout=5).body == b''
        with bob.ua.publish('sip:bob@example.com', 'presence', b'<here/>', **bob.options):
            assert events.wait_for('NOTIFY', timeout=5).body == b'<here/>'
        assert events.wait_for('NOTIFY', timeout=5).body == b''


def test_whose_state_it_is(presence):
    alice = presence('alice')
    for user, refusal in (('bob', Forbidden), ('emil', NotFound)):
        with pytest.raises(refusal), alice.ua.publish(f'sip:{user}@example.com', 'presence', b'x', **alice.options):
            pass
    with pytest.raises(Unauthorized), alice.ua.publish(
            'sip:alice@example.com', 'presence', b'x', **{**alice.options, 'credentials': None}):
        pass
    for user, package, options, refusal in (
            ('bob', 'message-summary', {}, Forbidden), ('emil', 'presence', {}, NotFound),
            ('bob', 'presence', {'credentials': None}, Unauthorized)):
        with pytest.raises(refusal), alice.ua.subscribe(
                f'sip:{user}@example.com', package, **{**alice.options, **options}) as events:
            events.wait_for('NOTIFY', timeout=5)
    with alice.ua.subscribe('sip:alice@example.com', 'message-summary', **alice.options) as events:
        events.wait_for('NOTIFY', timeout=5)


def test_presence_is_for_one_domain(start, registrar):
    with pytest.raises(UsageError, match='one domain'):
        start(presence=True, domains=['example.com', 'example.net'])
