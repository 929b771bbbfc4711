"""Documents in subscriptions: values on both sides, and partial ones that add up."""

from __future__ import annotations

import pytest

from greensip import MessageSummary, Notifier
from greensip.body import (
    ConferenceInfo,
    ConferenceUser,
    DialogInfo,
    DialogState,
    RegContact,
    RegInfo,
    Registration,
)
from greensip.errors import ParseError
from greensip.ua import whole as module


@pytest.fixture
def watchers(bob):
    """Bob's notifier of dialogs: he accepts with nothing to tell."""
    taken = []

    def take(watcher):
        taken.append(watcher)
        watcher.accept(DialogInfo('sip:bob@h', version=0))

    bob.events('dialog', take)
    return taken


def partial(version, *dialogs, state='partial'):
    return DialogInfo('sip:bob@h', dialogs, version=version, state=state)


def test_a_notifier_takes_documents_and_a_subscriber_gets_them(alice, bob, net, to_bob):
    voicemail = Notifier('message-summary')
    bob.events('message-summary', voicemail)
    voicemail.publish('bob', MessageSummary(counts={'voice-message': (2, 8, 0, 2)}, account='sip:bob@h'))
    with alice.subscribe(to_bob, 'message-summary') as events:
        notify = events.next(timeout=5)
        assert (notify.document.waiting, notify.document.voice) == (True, (2, 8, 0, 2))
        assert notify.content_type == 'application/simple-message-summary'
        voicemail.publish('bob', MessageSummary())
        assert events.next(timeout=5).document == events.document == MessageSummary()


def test_partial_documents_add_up(alice, net, to_bob, watchers):
    with alice.subscribe(to_bob, 'dialog') as events:
        assert events.next(timeout=5).document.dialogs == {} and not events.document.busy
        watchers[0].notify(partial(1, DialogState('a', 'early', direction='recipient')))
        first = events.next(timeout=5)
        watchers[0].notify(partial(2, DialogState('b', 'trying', direction='initiator')))
        second = events.next(timeout=5)
        assert list(events.document.dialogs) == ['a', 'b'] and [one.id for one in events.document.ringing] == ['a']
        watchers[0].notify(partial(3, DialogState('a', 'terminated', 'rejected', 486)))
        events.next(timeout=5)
        assert events.document.busy and events.document.dialogs['a'].code == 486
        assert list(first.document.dialogs) == ['a'] and list(second.document.dialogs) == ['b'], 'what each one said'
        assert first.document.dialogs['a'].state == 'early'


def test_what_was_missed_is_asked_for_once(alice, net, to_bob, watchers):
    with alice.subscribe(to_bob, 'dialog') as events:
        events.next(timeout=5)
        watcher = watchers[0]
        before = events.request.cseq.number
        for version in (3, 9, 27):
            watcher.notify(partial(version, DialogState('a', 'early')))
            net.clock.sleep(1)
        assert events.request.cseq.number == before + 1 and events.document.version == 27
        net.clock.sleep(60)
        watcher.notify(partial(81, DialogState('a', 'early')))
        net.clock.sleep(1)
        assert events.request.cseq.number == before + 2
        watcher.notify(partial(82, DialogState('b', 'early'), state='full'))
        net.clock.sleep(1)
        assert list(events.document.dialogs) == ['b']


def test_stale_and_broken_documents_change_nothing(alice, net, to_bob, watchers):
    with alice.subscribe(to_bob, 'dialog') as events:
        events.next(timeout=5)
        watchers[0].notify(partial(5, DialogState('a', 'early'), state='full'))
        net.clock.sleep(1)
        watchers[0].notify(partial(4, state='full'))
        net.clock.sleep(1)
        watchers[0].notify(b'<dialog-info', 'application/dialog-info+xml')
        net.clock.sleep(1)
        with pytest.raises(ParseError):
            events.latest.document  # noqa: B018
        assert events.document.version == 5 and list(events.document.dialogs) == ['a']
        watchers[0].notify(partial(6, DialogState('b', 'early')))
        net.clock.sleep(1)
        assert 'b' in events.document.dialogs


def test_changes_do_not_add_up_without_end(alice, net, to_bob, watchers, monkeypatch):
    """A notifier that names ever new dialogs and never says that one is over."""
    monkeypatch.setattr(module, 'LARGEST', 4000)
    with alice.subscribe(to_bob, 'dialog') as events:
        events.next(timeout=5)
        before = events.request.cseq.number
        most = 0
        for version in range(1, 200):
            watchers[0].notify(partial(version, DialogState(f'd{version}', 'early', remote_tag='x' * 100)))
            net.clock.sleep(0.1)
            most = max(most, len(events.document.to_bytes()))
            assert f'd{version}' in events.document.dialogs
        assert 2000 < most < 8000
        assert events.request.cseq.number == before + 1, 'the whole was asked for'


def test_many_changes_of_the_same_are_no_growth(alice, net, to_bob, watchers, monkeypatch):
    monkeypatch.setattr(module, 'LARGEST', 4000)
    with alice.subscribe(to_bob, 'dialog') as events:
        events.next(timeout=5)
        before = events.request.cseq.number
        watchers[0].notify(partial(1, DialogState('first', 'early')))
        for version in range(2, 200):
            net.clock.sleep(0.1)
            watchers[0].notify(partial(version, DialogState('other', 'early', remote_tag='x' * 100)))
        net.clock.sleep(0.1)
        assert list(events.document.dialogs) == ['first', 'other'] and events.document.version == 199
        assert events.request.cseq.number == before


def test_a_new_subscription_counts_anew(alice, net, to_bob, watchers):
    with alice.subscribe(to_bob, 'dialog') as events:
        events.next(timeout=5)
        watchers[0].notify(partial(7, DialogState('a', 'early'), state='full'))
        net.clock.sleep(1)
        watchers[0].terminate('deactivated')
        net.clock.sleep(10)
        assert len(watchers) == 2 and events.document.version == 0 and events.document.dialogs == {}


@pytest.mark.parametrize(('package', 'first', 'second', 'look', 'whole'), [
    ('reg', RegInfo([Registration('sip:a@h', [RegContact('sip:1', 'x')], id='r')]),
     RegInfo([Registration('sip:a@h', [RegContact('sip:2', 'y')], id='r')], version=1, state='partial'),
     lambda document: document.uris, ['sip:1', 'sip:2']),
    ('conference', ConferenceInfo('sip:c@h', [ConferenceUser('sip:a@h')]),
     ConferenceInfo('sip:c@h', [ConferenceUser('sip:b@h')], version=1, state='partial'),
     lambda document: list(document.users), ['sip:a@h', 'sip:b@h']),
])
def test_other_packages(alice, bob, net, to_bob, package, first, second, look, whole):
    taken = []

    def take(watcher):
        taken.append(watcher)
        watcher.accept(first)

    bob.events(package, take)
    with alice.subscribe(to_bob, package) as events:
        events.next(timeout=5)
        taken[0].notify(second)
        events.next(timeout=5)
        assert look(events.document) == whole
