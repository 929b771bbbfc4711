"""Buddies: their presence, what they write, and how that ends."""

from __future__ import annotations

import gevent
import pytest

from greensip.body import IsComposing, Presence, Status, ask
from greensip.errors import (
    Declined,
    Forbidden,
    LocalHangup,
    ParseError,
    ResponseError,
    SubscriptionEnded,
    TransactionTimeout,
    UsageError,
    WaitTimeout,
    WrongState,
)
from greensip.ua import UserAgent, after, wait_any

from .test_threads import in_thread

PIDF = 'application/pidf+xml'


@pytest.fixture
def buddy(alice, to_bob):
    """Bob, as alice sees him."""
    with alice.buddy(to_bob) as made:
        yield made


# -- presence

def test_presence_from_the_first_word_to_the_last(alice, bob, net, to_bob):
    bob.presence = Status('away', 'Lunch')
    with alice.buddy(to_bob) as buddy:
        assert (buddy.status, buddy.state, buddy.presence) == ('unknown', 'terminated', None)
        status = buddy.subscribe(timeout=5)
        assert status.details == ('away', 'Lunch', ('away',)) and status is buddy.status
        assert buddy.state == 'active' and buddy.presence.tuples[0].basic == 'open'
        assert buddy.wait_for('away', timeout=1).detail == 'Lunch'
        bob.presence = 'online'
        change = buddy.wait_for('online', timeout=1)
        assert (change.status.details, change.leg, change.document) == (('online', '', ()), buddy, buddy.presence)
        bob.presence = 'on-the-phone'
        assert buddy.wait_for('busy', timeout=1).status.activities == ('on-the-phone',)
        assert repr(buddy) == f'<Buddy {to_bob} busy>'
    net.clock.sleep(1)
    assert bob.watchers == [] and alice.buddies == [] and buddy.status == 'busy'
    with pytest.raises(LocalHangup):
        buddy.wait_for('online')


def test_what_came_before_the_wait_is_seen(bob, buddy, net):
    bob.presence = 'offline'
    buddy.subscribe()
    for presence in ('online', 'away', 'offline', 'online'):
        bob.presence = presence
        net.clock.sleep(1)
    assert [buddy.wait_for('presence', timeout=1).label for _ in range(3)] == ['offline', 'online', 'away']
    assert buddy.wait_for('online', timeout=1).status == 'online'
    with pytest.raises(WaitTimeout):
        buddy.wait_for('presence', timeout=1)


def test_the_same_again_is_no_change(bob, buddy, net):
    bob.presence = 'online'
    buddy.subscribe()
    bob.presence = 'online'
    bob.presence = Status('online', 'with a note')
    assert buddy.wait_for('presence').status.note == ''
    assert buddy.wait_for('presence').status.note == 'with a note'
    with pytest.raises(WaitTimeout):
        buddy.wait_for('presence', timeout=5)


def test_changes_are_iterated(bob, buddy, net):
    bob.presence = 'online'
    seen = []

    def watch():
        for status in buddy:
            seen.append(str(status))

    task = gevent.spawn(watch)
    buddy.subscribe()
    for presence in ('busy', 'away'):
        bob.presence = presence
        net.clock.sleep(1)
    buddy.unsubscribe()
    net.clock.sleep(1)
    assert task.dead and seen == ['online', 'busy', 'away', 'unknown']
    assert buddy.state == 'terminated' and not buddy.ended and bob.watchers == []


def test_iterating_raises_what_ended_it_in_no_ordinary_way(bob, buddy):
    bob.presence = 'online'
    bob.authorize_watcher = False
    buddy.subscribe(wait=False)
    with pytest.raises(Declined):
        list(buddy)


def test_watching_twice_is_watching_once(bob, buddy):
    bob.presence = 'online'
    assert buddy.subscribe() == 'online' and buddy.subscribe() == 'online'
    assert len(bob.watchers) == 1


def test_two_who_wait_for_the_first_word(bob, buddy, net):
    bob.presence = 'online'
    tasks = [gevent.spawn(buddy.subscribe, timeout=5) for _ in range(2)]
    net.clock.sleep(1)
    assert [task.get(timeout=1) for task in tasks] == ['online', 'online'] and len(bob.watchers) == 1


def test_two_who_wait_for_the_first_word_while_a_log_handler_lets_both_run(bob, buddy, net, switching_log):
    test_two_who_wait_for_the_first_word(bob, buddy, net)


def test_fetched_once(bob, buddy):
    bob.presence = 'busy'
    assert buddy.subscribe(expires=0) == 'busy'
    buddy.wait_for('unsubscribed', timeout=5)
    assert (buddy.status, buddy.state, bob.watchers, buddy.ended) == ('busy', 'terminated', [], False)
    bob.presence = 'away'
    assert buddy.subscribe(expires=0) == 'away'


@pytest.mark.parametrize(('verdict', 'error'), [(False, Declined), (403, Forbidden)])
def test_a_refusal(bob, buddy, verdict, error):
    bob.presence = 'online'
    bob.authorize_watcher = verdict
    with pytest.raises(error):
        buddy.subscribe()
    with pytest.raises(error):
        buddy.wait_for('online')
    assert buddy.status == 'unknown' and buddy.ended
    with pytest.raises(error):
        buddy.subscribe()
    bob.authorize_watcher = True
    assert buddy.subscribe() == 'online' and not buddy.ended
    assert buddy.wait_for('online').status == 'online'


def test_what_lies_unread_survives_a_second_subscription(alice, bob, buddy):
    bob.presence = 'online'
    bob.authorize_watcher = False
    bob.message(alice.uri, 'no')
    with pytest.raises(Declined):
        buddy.subscribe()
    bob.authorize_watcher = True
    buddy.subscribe()
    assert [buddy.wait_for('MESSAGE', 'online').label for _ in range(2)] == ['MESSAGE', 'online']


def test_who_has_no_presence(bob, buddy):
    with pytest.raises(ResponseError) as caught:
        buddy.subscribe()
    assert caught.value.code in (405, 489)


def test_who_is_not_there(alice):
    with alice.buddy('sip:nobody@10.77.77.77') as buddy, pytest.raises((TransactionTimeout, OSError)):
        buddy.subscribe()


def test_the_other_side_ends_it(alice, bob, buddy, net):
    bob.presence = 'online'
    buddy.subscribe()
    bob._presentity.close()
    event = buddy.wait_ended(timeout=5)
    assert isinstance(event.error, SubscriptionEnded) and event.error.reason == 'noresource'
    assert buddy.status == 'unknown'


def test_consent_that_is_still_to_be_given(bob, buddy, net):
    bob.presence = 'busy'
    bob.authorize_watcher = lambda watcher: None
    assert buddy.subscribe(timeout=5) == 'unknown' and buddy.state == 'pending'
    watcher, = bob.watchers
    watcher._keeper.approve(watcher)
    assert buddy.wait_for('presence', timeout=5).status == 'busy' and buddy.state == 'active'
    watcher._keeper.deny(watcher)
    with pytest.raises(SubscriptionEnded, match='rejected'):
        buddy.wait_for('online', timeout=5)


def test_it_is_refreshed(bob, buddy, net):
    bob.presence = 'online'
    buddy.subscribe(expires=600)
    net.clock.sleep(3000)
    assert len(bob.watchers) == 1 and buddy.state == 'active'
    bob.presence = 'away'
    assert buddy.wait_for('away', timeout=1).status == 'away'


@pytest.mark.parametrize(('body', 'content_type', 'failed'), [
    (b'<presence', PIDF, True), (b'<!DOCTYPE presence [<!ENTITY a "b">]><presence entity="a"/>', PIDF, True),
    (b'<presence/>', PIDF, True), (b'hello', 'text/plain', False), (b'SIP/2.0 200 OK', 'message/sipfrag', False),
    (b'', None, False),
])
def test_a_broken_document_harms_nobody(bob, buddy, body, content_type, failed):
    watchers = []

    def handler(watcher):
        watchers.append(watcher)
        watcher.accept(body, content_type)

    bob.events('presence', handler)
    assert buddy.subscribe() == 'unknown' and buddy.presence is None
    if failed:
        assert isinstance(buddy.wait_for('failed', timeout=1).error, ParseError)
    watchers[0].notify(Presence('sip:bob@h', 'away').to_bytes(), PIDF)
    assert buddy.wait_for('presence', timeout=1).status == 'away'


def test_presence_with_other_legs(bob, buddy, alice, net):
    bob.presence = 'online'
    buddy.subscribe()
    buddy.wait_for('online')
    net.clock.timer(3, lambda: setattr(bob, 'presence', 'away'))
    event = wait_any(buddy.on('presence'), after(10))
    assert event.leg is buddy and event.status == 'away'


def test_the_end_of_the_user_agent(alice, bob, to_bob, net):
    bob.presence = 'online'
    buddy = alice.buddy(to_bob)
    buddy.subscribe()
    alice.close()
    assert buddy.ended and alice.buddies == [] and bob.watchers == []
    with pytest.raises(WrongState):
        buddy.subscribe()
    with pytest.raises(WrongState):
        alice.buddy(to_bob)
    buddy.close()


def test_a_broken_uri(alice):
    with pytest.raises(ParseError):
        alice.buddy('bob')


# -- messages

def test_messages_both_ways(alice, bob, buddy, net):
    with bob.buddy(alice.uri) as other:
        assert buddy.message('hello').code == 200
        message = other.wait_for('MESSAGE', timeout=1)
        assert message.text == 'hello'
        message.reply('yourself')
        assert buddy.wait_for('MESSAGE', timeout=1).text == 'yourself'


def test_a_stranger_is_told_that_nobody_is_there(alice, bob, buddy, agent, net):
    carol = agent('carol')
    with bob.buddy(alice.uri):
        with pytest.raises(ResponseError) as caught:
            carol.message(net.uri('bob'), 'hello')
        assert caught.value.code == 480
        assert buddy.message('hello').code == 200


def test_the_inbox_has_them_too(alice, bob, buddy):
    inbox = bob.messages
    with bob.buddy(alice.uri) as one, bob.buddy(alice.uri) as two:
        buddy.message('hello')
        assert [box.wait_for('MESSAGE', timeout=1).text for box in (inbox, one, two)] == ['hello'] * 3


def test_where_the_script_takes_the_messages_presence_is_seen(alice, bob, net, to_bob):
    alice.handle('MESSAGE', lambda incoming: 200)
    bob.presence = 'online'
    with alice.buddy(to_bob) as buddy:
        assert buddy.subscribe() == 'online'


def test_reports(alice, bob, buddy, net):
    inbox = bob.messages
    buddy.message('hello', reports=['delivered', 'displayed', 'display'], message_id='m1')
    assert buddy.wait_for('report', timeout=1).detail == 'delivered'
    message = inbox.next(timeout=1)
    assert message.text == 'hello' and message.message_id == 'm1' and message.wants == {'positive-delivery', 'display'}
    assert message.cpim.get('From') == f'<{message.from_.uri}>' and message.cpim.get('To') == f'<{buddy.uri}>'
    message.report('displayed')
    report = buddy.wait_for('report:displayed', timeout=1)
    assert (report.message_id, report.document.status) == ('m1', 'displayed')
    buddy.message('<b>ü</b>', reports=['display'], content_type='text/html;charset=utf-8')
    assert (again := inbox.next(timeout=1)).content_type == 'text/html' and again.text == '<b>ü</b>'


def test_a_report_that_does_not_exist(buddy):
    with pytest.raises(UsageError, match='not a report'):
        buddy.message('hello', reports=['eaten'])


def test_who_writes_is_seen(alice, bob, buddy, net):
    with bob.buddy(alice.uri) as other:
        buddy.composing()
        assert other.wait_for('composing:active', timeout=1).detail == 'active' and other.is_composing
        buddy.composing()
        net.clock.sleep(10)
        buddy.message('hello')
        assert other.wait_for('composing', timeout=1).detail == 'idle' and not other.is_composing
        assert other.wait_for('MESSAGE', timeout=1).text == 'hello'
        buddy.composing()
        assert other.wait_for('composing:idle', timeout=20).time == pytest.approx(net.clock.now(), abs=0.1)
        buddy.composing()
        buddy.composing(False)
        net.clock.sleep(1)
        assert not other.is_composing


def test_who_writes_and_is_gone(alice, bob, buddy, net):
    with bob.buddy(alice.uri) as other:
        alice.message(bob.uri, IsComposing(True, refresh=60))
        assert other.wait_for('composing:active', timeout=1)
        event = other.wait_for('composing:idle', timeout=100)
        assert event.time == pytest.approx(60, abs=0.5)


def test_who_does_not_want_to_know_that_we_write_is_not_told(alice, bob, buddy, net):
    requests = []

    def handler(incoming):
        requests.append(incoming)
        return 415

    bob.handle('MESSAGE', handler)
    for _ in range(3):
        buddy.composing()
        net.clock.sleep(30)
    assert len(requests) == 1


def test_nothing_is_told_after_the_end(alice, bob, net, to_bob):
    requests = []
    bob.handle('MESSAGE', requests.append)
    with alice.buddy(to_bob) as buddy:
        buddy.composing()
    net.clock.sleep(300)
    assert len(requests) == 1
    with pytest.raises(WrongState):
        buddy.composing()


def test_an_account_watches_and_writes(alice, bob, net):
    """All in the name of the account, over its Route."""
    inbox = bob.messages
    account = alice.account('sip:al@example.com', route=[f'<{net.uri("bob")};lr>'])
    asked = []
    bob.events('presence', lambda watcher: asked.append(watcher.subscription.request))
    with account.buddy('robert') as buddy:
        buddy.message('hello')
        message = inbox.next(timeout=1)
        assert (str(message.from_.uri), str(message.request.uri)) == ('sip:al@example.com', 'sip:robert@example.com')
        buddy.subscribe()
        assert str(asked[0].from_.uri) == 'sip:al@example.com' and asked[0].contacts[0].uri.user == 'al'
        message.reply('for the account', route=[f'<{net.uri("alice")};lr>'], from_='sip:robert@example.com',
                      to='sip:al@example.com')
        assert buddy.wait_for('MESSAGE', timeout=1).text == 'for the account'
        account.close()
        assert buddy.ended and alice.buddies == []
        with pytest.raises(WrongState):
            account.buddy('robert')


def test_a_flood_of_status_messages_leaves_nothing(alice, bob, buddy, net):
    with bob.buddy(alice.uri) as other:
        timers = len(bob.core.timers)
        for number in range(300):
            alice.message(bob.uri, IsComposing(number % 2 == 0, refresh=3600))
        net.clock.sleep(40)
        assert len(bob.core.timers) <= timers + 1 and not other.is_composing
        assert len(other._events) == 300, 'each change is told'


def test_an_envelope_of_somebody_else(alice, bob, buddy):
    """The From of the envelope counts for nothing: who sends is who is written to."""
    inbox = bob.messages
    alice.message(bob.uri, ask('sip:mallory@evil', bob.uri, b'hi', 'x', ['positive-delivery']))
    assert inbox.next(timeout=1).text == 'hi'
    assert buddy.wait_for('report:delivered', timeout=1).message_id == 'x'


# -- from other threads

def test_presence_and_messages_from_another_thread():
    def script(safe, uri):
        safe.presence = 'meeting'
        with safe.buddy(uri) as buddy:
            first = buddy.subscribe(timeout=5)
            buddy.message('busy, please', timeout=5)
            for status in buddy:
                if status == 'busy':
                    return first, safe.presence.status, safe.messages.next(timeout=5).text
        return None

    def answer(bob):
        for message in bob.messages:
            bob.presence = 'busy'
            message.reply('so I am', timeout=5)

    with UserAgent('udp:127.0.0.1:0') as alice, UserAgent('udp:127.0.0.1:0', name='bob') as bob:
        bob.presence = 'online'
        alice.messages  # noqa: B018  from the beginning
        task = gevent.spawn(answer, bob)
        assert in_thread(script, alice.from_thread(), bob.uri) == ('online', 'busy', 'so I am')
    task.join(timeout=5)
