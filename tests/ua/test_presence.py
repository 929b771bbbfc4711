"""Our own presence: who is told, who may be told, and what is published."""

from __future__ import annotations

import pytest

from greensip.body import Presence, Status, Tuple, parse_pidf
from greensip.errors import Declined, NotFound, ResponseError, UsageError, WrongState
from greensip.ua.notifier import Notifier
from greensip.ua.publication import EventStateCompositor

PIDF = 'application/pidf+xml'


def watch(ua, uri, **options):
    return ua.subscribe(uri, 'presence', **options)


def statuses(events):
    """What the NOTIFYs say that have come so far."""
    found = []
    while any(event.label == 'NOTIFY' for event in events._events):
        document = events.wait_for('NOTIFY').document
        found.append(str(document.status) if document is not None else None)
    return found


@pytest.mark.parametrize(('presence', 'details'), [
    ('online', ('online', '', ())), ('busy', ('busy', '', ('busy',))), ('meeting', ('busy', '', ('meeting',))),
    ('offline', ('offline', '', ())), (Status('away', 'Lunch', ['meal']), ('away', 'Lunch', ('meal',))),
    (Presence('sip:bob@example.com', tuples=[Tuple('open')], notes=['hi']), ('online', 'hi', ())),
])
def test_who_asks_is_told(alice, bob, to_bob, presence, details):
    bob.presence = presence
    with watch(alice, to_bob) as events:
        notify = events.next(timeout=5)
        assert notify.content_type == PIDF and notify.document.status.details == details
        assert notify.document == bob.presence
    if not isinstance(presence, Presence):
        assert bob.presence.entity == bob.uri


def test_who_asked_before_is_told_of_changes(alice, bob, net, to_bob):
    bob.presence = 'online'
    with watch(alice, to_bob) as one, watch(alice, to_bob) as two:
        net.clock.sleep(1)
        assert len(bob.watchers) == 2
        for presence in ('busy', None, 'away'):
            bob.presence = presence
            net.clock.sleep(1)
        assert statuses(one) == statuses(two) == ['online', 'busy', None, 'away']
    net.clock.sleep(1)
    assert bob.watchers == [] and bob.presence.status == 'away'


def test_many_changes_at_once_are_the_last(alice, bob, net, to_bob):
    bob.presence = 'online'
    with watch(alice, to_bob) as events:
        net.clock.sleep(1)
        for presence in ('busy', 'away', 'offline') * 20:
            bob.presence = presence
        net.clock.sleep(1)
        assert statuses(events) == ['online', 'busy', 'offline']


@pytest.mark.parametrize('presence', ['juggling', 7, b'busy', ['busy'], Status('online', 'a\0b')])
def test_what_is_no_presence(bob, presence):
    with pytest.raises(UsageError):
        bob.presence = presence
    assert bob.presence is None


def test_who_has_none_says_so(alice, bob, net, to_bob):
    with pytest.raises(ResponseError) as caught, watch(alice, to_bob) as events:
        events.next(timeout=5)
    assert caught.value.code in (405, 489)
    assert bob.presence is None and bob.watchers == []


def test_who_may_see_it(alice, bob, net, to_bob, agent):
    bob.presence = 'online'
    bob.authorize_watcher = lambda watcher: watcher.from_.uri.user == 'alice'
    assert callable(bob.authorize_watcher)
    with watch(alice, to_bob) as events:
        assert events.next(timeout=5).document.status == 'online'
    with watch(agent('mallory'), to_bob) as events, pytest.raises(Declined):
        events.next(timeout=5)


def test_a_script_that_takes_the_subscriptions_itself(bob):
    bob.events('presence', lambda watcher: 403)
    with pytest.raises(WrongState, match='takes the subscriptions'):
        bob.presence = 'online'


def test_after_the_end(bob):
    bob.presence = 'online'
    bob.close()
    with pytest.raises(WrongState):
        bob.presence = 'busy'


# -- accounts

def test_each_account_has_a_presence_of_its_own(alice, bob, net):
    sales, support = bob.account('sip:sales@example.com'), bob.account('sip:sales@example.org')
    sales.presence, support.presence = 'busy', 'away'
    address = net.address('bob')
    assert sales.contact_user != support.contact_user
    for account, status in ((sales, 'busy'), (support, 'away')):
        with watch(alice, f'sip:{account.contact_user}@{address}', to=account.aor) as events:
            document = events.next(timeout=5).document
            assert (document.status, document.entity) == (status, str(account.aor.uri))
            net.clock.sleep(1)
            assert len(account.watchers) == 1
    with watch(alice, f'sip:other@{address}') as events, pytest.raises(NotFound):
        events.next(timeout=5)
    bob.presence = 'online'
    with watch(alice, f'sip:other@{address}') as events:
        assert events.next(timeout=5).document.status == 'online'


def test_an_account_that_is_closed_tells_nothing_more(alice, bob, net):
    sales, support = bob.account('sip:sales@example.com'), bob.account('sip:support@example.com')
    sales.presence = support.presence = 'online'
    events = watch(alice, f'sip:sales@{net.address("bob")}')
    events.next(timeout=5)
    sales.close()
    last = events.next(timeout=5)
    assert (last.state, last.reason) == ('terminated', 'noresource')
    with watch(alice, f'sip:sales@{net.address("bob")}') as again, pytest.raises(NotFound):
        again.next(timeout=5)
    with pytest.raises(WrongState):
        sales.presence = 'busy'
    events.close()


def test_a_subscriber_who_is_gone_is_forgotten(alice, bob, net, to_bob):
    bob.presence = 'online'
    events = watch(alice, to_bob, expires=60)
    events.next(timeout=5)
    alice.close(linger=0)
    bob.presence = 'busy'
    net.clock.sleep(100)
    notifier = bob.request_handlers.packages['presence']
    assert bob.watchers == [] and notifier.count == 0 and notifier._asked == {}


# -- published

@pytest.fixture
def server(agent):
    """A presence server."""
    ua = agent('server')
    notifier = Notifier('presence', min_expires=10)
    ua.events('presence', notifier)
    ua.server = notifier
    ua.handle('PUBLISH', EventStateCompositor(notifier, min_expires=10))
    return ua


def test_published_presence_follows(alice, bob, net, server):
    route = [f'<{net.uri("server")};lr>']
    account = bob.account('sip:bob@example.com', route=route)
    with pytest.raises(UsageError, match='Set the presence first'):
        account.publish_presence()
    account.presence = 'online'
    with alice.buddy('sip:bob@example.com') as buddy:
        watcher = alice.subscribe('sip:bob@example.com', 'presence', route=route)
        assert watcher.next(timeout=5).document is None
        with account.publish_presence(expires=100, timeout=5) as publication:
            assert publication.state == 'published'
            account.presence = Status('away', 'Lunch')
            net.clock.sleep(500)
            account.presence = None
            net.clock.sleep(1)
            assert publication.ended
        account.presence = 'busy'
        net.clock.sleep(1)
        assert statuses(watcher) == ['online', 'away', None]
        watcher.close()
        assert buddy.status == 'unknown'
    account.close()


def test_the_end_of_a_publication(bob, net, server):
    bob.presence = 'online'
    publication = bob.publish_presence(route=[f'<{net.uri("server")};lr>'])
    document = parse_pidf(server.server.document('bob'))
    assert document.status == 'online'
    bob.close()
    assert publication.ended and server.server.document('bob') == b''


def test_accounts_that_are_closed_leave_no_document(bob):
    for number in range(3):
        account = bob.account(f'sip:b{number}@example.com')
        account.presence = 'busy'
        account.close()
    assert bob.request_handlers.packages['presence']._documents == {}
