"""Notifiers: documents and their subscribers."""

from __future__ import annotations

import pytest

from greensip import Notifier, ParseError, ResponseError, UsageError, WrongState
from greensip.ua.notifier import AT_ONCE, resource_of, takes

from .peer import RawPeer

YES = b'Messages-Waiting: yes\r\n'
NO = b'Messages-Waiting: no\r\n'


@pytest.fixture
def voicemail(bob):
    made = Notifier('message-summary')
    bob.events('message-summary', made)
    return made


def test_subscribers_are_told(net, alice, to_bob, voicemail):
    voicemail.publish('bob', YES)
    with alice.subscribe(to_bob, 'message-summary') as events:
        assert events.next().body == YES
        assert voicemail.count == 1
        voicemail.publish(to_bob, NO)
        notify = events.next()
        assert (notify.body, notify.content_type) == (NO, 'application/simple-message-summary')
        voicemail.publish('carol', b'other')
        voicemail.withdraw('bob')
        assert events.next().body == b''
        voicemail.withdraw('bob')
        net.run(5)
        assert voicemail.document('bob') == b''
    net.run(1)
    assert voicemail.count == 0
    assert voicemail.subscribers() == []


@pytest.mark.parametrize(('sent', 'told'), [
    ('id=7', 'id=7'), ('id=a@b', 'id=a@b'), ('id="a b;c"', 'id="a b;c"'), ('id="a\\"b"', 'id="a\\"b"'),
    ('id="\\\0"', 'id="\\\0"'), ('id="7"', 'id=7')])
def test_the_id_of_an_event_comes_back(net, bob, voicemail, sent, told):
    """Also one that RFC 6665 8.4 does not have."""
    voicemail.publish('bob', YES)
    carol = RawPeer(net, 'carol')
    carol.send(carol.request('SUBSCRIBE', 'bob', Event=f'message-summary;{sent}', Expires='600'), carol.to('bob'))
    assert carol.expect('SIP/2.0').code == 200
    notify = carol.expect('NOTIFY')
    assert notify.get('Event') == f'message-summary;{told}'
    carol.respond(notify, 481)
    net.run(1)
    assert voicemail.count == 0
    carol.close()


def test_a_refresh_gets_the_present_document(net, alice, to_bob, voicemail):
    voicemail.publish('bob', YES)
    with alice.subscribe(to_bob, 'message-summary') as events:
        events.next()
        events.refresh()
        assert events.next(timeout=5).body == YES
        net.run(7200)
        assert voicemail.count == 1
        # Nobody reads the mailboxes of a Notifier's subscriptions: nothing may lie in them.
        assert not voicemail.subscribers()[0]._events


def test_who_vanishes_is_forgotten(net, alice, to_bob, voicemail):
    alice.subscribe(to_bob, 'message-summary').next()
    net.loss = 1.0
    net.run(3700)
    assert voicemail.count == 0
    net.loss = 0.0


def test_a_fetch_leaves_nothing(net, alice, to_bob, voicemail):
    voicemail.publish('bob', YES)
    with alice.subscribe(to_bob, 'message-summary', expires=0) as events:
        assert events.next().body == YES
    net.run(1)
    assert voicemail.count == 0


def test_too_brief(alice, bob, to_bob, voicemail):
    """423 is answered by itself with the time that is wanted."""
    with alice.subscribe(to_bob, 'message-summary', expires=20) as events:
        assert events.next().expires == 60
        events.subscription.expires = 30
        events.refresh(30)
        assert events.next().expires == 60


def test_an_hour_is_never_too_brief(alice, bob, to_bob):
    """RFC 6665 4.2.1.1: 423 is for what is "smaller than one hour"."""
    bob.events('presence', Notifier('presence', min_expires=7200, expires=7200))
    for asked, granted in ((3599, 7200), (3600, 3600)):
        with alice.subscribe(to_bob, 'presence', expires=asked) as events:
            assert events.next().expires == granted


def test_too_many(alice, bob, to_bob):
    bob.events('presence', Notifier('presence', max_subscribers=1))
    with alice.subscribe(to_bob, 'presence') as one:
        one.next()
        with alice.subscribe(to_bob, 'presence') as two, pytest.raises(ResponseError) as caught:
            two.next()
    assert (caught.value.code, caught.value.response.get('Retry-After')) == (503, '30')


def test_a_type_that_nobody_takes(alice, to_bob, voicemail):
    with alice.subscribe(to_bob, 'message-summary', accept=['text/html']) as events, \
            pytest.raises(ResponseError) as caught:
        events.next()
    assert caught.value.code == 406


@pytest.mark.parametrize(('verdict', 'code'), [(False, 603), (403, 403), ('no', 603)])
def test_policy(alice, bob, to_bob, verdict, code):
    bob.events('presence', Notifier('presence', authorize=lambda subscription: verdict))
    with alice.subscribe(to_bob, 'presence') as events, pytest.raises(ResponseError) as caught:
        events.next()
    assert caught.value.code == code


def test_a_policy_that_fails(alice, bob, to_bob, caplog):
    bob.events('presence', Notifier('presence', authorize=lambda subscription: 1 / 0))
    with alice.subscribe(to_bob, 'presence') as events, pytest.raises(ResponseError) as caught:
        events.next()
    assert caught.value.code == 500
    assert 'ZeroDivisionError' in caplog.text


def test_consent(net, alice, bob, to_bob):
    presence = Notifier('presence', authorize=lambda subscription: None)
    bob.events('presence', presence)
    presence.publish('bob', b'<secret/>')
    with alice.subscribe(to_bob, 'presence', resubscribe=False) as events:
        notify = events.next()
        assert (notify.state, notify.body) == ('pending', b'')
        presence.publish('bob', b'<other/>')
        net.run(1)
        watcher, = presence.subscribers('bob')
        presence.approve(watcher)
        notify = events.next()
        assert (notify.state, notify.body) == ('active', b'<other/>')
        presence.deny(watcher)
        notify = events.next()
        assert (notify.state, notify.reason, notify.body) == ('terminated', 'rejected', b'')
    with pytest.raises(WrongState):
        presence.approve(watcher)


def test_ending_all(net, alice, to_bob, voicemail):
    with alice.subscribe(to_bob, 'message-summary') as events:
        events.next()
        voicemail.terminate(reason='probation', retry_after=20)
        assert events.next().reason == 'probation'
        assert events.state == 'waiting'
        net.run(25)
        assert events.state == 'active'


def test_one_notifier_one_user_agent(alice, bob, voicemail):
    with pytest.raises(UsageError):
        alice.events('message-summary', voicemail)
    with pytest.raises(UsageError):
        Notifier('presence', expires=10)


@pytest.mark.parametrize(('what', 'name'), [
    ('alice', 'alice'), ('sip:alice@example.com;transport=tcp', 'alice'), ('"A" <sip:al@x>;q=1', 'al'),
    ('sip:example.com', 'example.com'), ('tel:+491', 'tel:+491')])
def test_resources(what, name):
    assert resource_of(what) == name


def test_a_broken_resource(voicemail):
    with pytest.raises(ParseError):
        voicemail.publish('sip:', YES)


@pytest.mark.parametrize(('accepts', 'kind', 'expected'), [
    ((), 'a/b', True), (('a/b',), 'A/B;charset=x', True), (('a/*',), 'a/b', True), (('*/*',), 'a/b', True),
    (('a/c', 'c/b'), 'a/b', False)])
def test_takes(accepts, kind, expected):
    assert takes(accepts, kind) is expected


def test_more_subscribers_than_are_told_at_once(net, alice, to_bob, voicemail):
    """Others of the hub get their turns in between; all are told what is true in the end."""
    everybody = [alice.subscribe(to_bob, 'message-summary') for _ in range(2 * AT_ONCE + 5)]
    net.run(1)
    assert voicemail.count == len(everybody)
    voicemail.publish('bob', YES)
    told = sum(watcher.subscription.exchange is not None for watcher in voicemail.subscribers())
    assert told == AT_ONCE
    voicemail.publish('bob', NO)
    net.run(1)
    assert {events.latest.body for events in everybody} == {NO}
