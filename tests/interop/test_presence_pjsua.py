"""Presence and messages with a pjsua2 phone, both ways (RFC 3856, 3903, 3428, 3994)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import peers

from greensip import EventStateCompositor, Notifier, Status, UserAgent
from greensip.body import parse_pidf

from .conftest import aside
from .test_phones import Phone

#: PJSIP's numbers: pjsua_buddy_status, pjrpid_activity
OFFLINE, ONLINE, UNKNOWN = 2, 1, 0
AWAY, BUSY = 1, 2


@pytest.fixture
def phone(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
          free_port: Callable[..., int]) -> Callable[..., Phone]:
    """``phone()`` starts one."""
    needs('module:pjsua2')

    def start(*options: str) -> Phone:
        made = Phone('bob', 440.0, folder, free_port, *options)
        running.append(made.peer)
        made.wait_for('"ready"')
        return made

    return start


@pytest.fixture(params=['udp', 'tcp'])
def ua(request: pytest.FixtureRequest) -> Iterator[UserAgent]:
    with UserAgent(f'{request.param}:127.0.0.1:0', name='alice', watchdog=None) as made:
        yield made


def transport(ua: UserAgent) -> str:
    return ua.points[0].transport.lower()


def uri(phone: Phone, ua: UserAgent) -> str:
    tail = '' if transport(ua) == 'udp' else f';transport={transport(ua)}'
    return f'sip:bob@127.0.0.1:{phone.port}{tail}'


def told(phone: Phone, kind: str, **details: object) -> dict[str, Any]:
    """Wait until the phone has told such an event, and return it."""
    def found() -> list[dict[str, Any]]:
        return [event for event in phone.events(kind)
                if all(event[name] == value for name, value in details.items())]

    assert aside(peers.wait_until, lambda: bool(found()), 15), phone.events()
    return found()[-1]


def test_we_watch_the_phone(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('--transport', transport(ua))
    with ua.buddy(uri(bob, ua)) as buddy:
        assert buddy.subscribe(timeout=10) == 'offline', 'PJSIP says so until it is told otherwise'
        told(bob, 'watched')
        buddy.wait_for('offline')
        for word, note in (('away', 'Gone for lunch'), ('busy', 'Do not disturb'), ('offline', ''),
                           ('online', 'Here')):
            bob.peer.say(f'presence {word} {note}')
            change = buddy.wait_for('presence', timeout=10)
            assert change.status == word
            if word != 'offline':
                assert change.status.note == note
        buddy.unsubscribe(timeout=10)
        assert buddy.status == 'unknown'
    aside(bob.quit)


def test_the_phone_watches_us(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('--transport', transport(ua))
    ua.presence = 'online'
    bob.peer.say(f'watch {ua.uri}')
    told(bob, 'buddy', status=ONLINE, state='ACTIVE')
    ua.presence = Status('away', 'Gone for lunch')
    event = told(bob, 'buddy', status=ONLINE, activity=AWAY)
    assert event['note'] == event['text'] == 'Gone for lunch'
    ua.presence = Status('busy', 'Do not disturb')
    told(bob, 'buddy', status=ONLINE, activity=BUSY, note='Do not disturb')
    ua.presence = 'offline'
    told(bob, 'buddy', status=OFFLINE)
    assert len(ua.watchers) == 1
    bob.peer.say(f'unwatch {ua.uri}')
    told(bob, 'buddy', state='TERMINATED')
    aside(peers.wait_until, lambda: not ua.watchers, 5)
    assert ua.watchers == []
    aside(bob.quit)


def test_the_phone_may_not_watch_us(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('--transport', transport(ua))
    ua.presence = 'online'
    ua.authorize_watcher = False
    bob.peer.say(f'watch {ua.uri}')
    told(bob, 'buddy', state='TERMINATED')
    assert not any(event['status'] == ONLINE for event in bob.events('buddy'))
    aside(bob.quit)


def test_messages_both_ways(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('--transport', transport(ua))
    inbox = ua.messages
    with ua.buddy(uri(bob, ua)) as buddy:
        buddy.message('Grüße', timeout=10)
        assert told(bob, 'message')['text'] == 'Grüße'
        bob.peer.say(f'message {ua.uri} And to you, ü')
        for box in (inbox, buddy):
            message = box.wait_for('MESSAGE', timeout=10)
            assert (message.text, message.content_type) == ('And to you, ü', 'text/plain')
        assert told(bob, 'sent')['code'] == 200
        message.reply('Thank you', timeout=10)
        told(bob, 'message', text='Thank you')
    aside(bob.quit)


def test_who_writes_is_seen_both_ways(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('--transport', transport(ua))
    with ua.buddy(uri(bob, ua)) as buddy:
        buddy.composing()
        told(bob, 'typing', active=True)
        buddy.composing(False)
        told(bob, 'typing', active=False)
        bob.peer.say(f'typing {ua.uri} yes')
        buddy.wait_for('composing:active', timeout=10)
        assert buddy.is_composing
        bob.peer.say(f'message {ua.uri} Hello')
        buddy.wait_for('composing:idle', timeout=10)
        assert buddy.wait_for('MESSAGE', timeout=10).text == 'Hello'
        bob.peer.say(f'typing {ua.uri} yes')
        buddy.wait_for('composing:active', timeout=10)
        bob.peer.say(f'typing {ua.uri} no')
        buddy.wait_for('composing:idle', timeout=10)
    aside(bob.quit)


def test_the_phone_publishes(phone: Callable[..., Phone]) -> None:
    """We are the presence server; what the phone publishes, others see."""
    with UserAgent('udp:127.0.0.1:0', name='server', watchdog=None) as server:
        notifier = Notifier('presence')
        server.events('presence', notifier)
        server.handle('PUBLISH', EventStateCompositor(notifier))
        address = server.uri.partition('@')[2]
        bob = phone('--publish', '--proxy', f'sip:{address};lr')
        with UserAgent('udp:127.0.0.1:0', watchdog=None) as ua, ua.buddy(f'sip:bob@{address}') as buddy:
            buddy.subscribe(timeout=10)
            bob.peer.say('presence away Gone for lunch')
            assert buddy.wait_for('away', timeout=10).status.note == 'Gone for lunch'
            assert parse_pidf(notifier.document('bob')).entity == f'sip:bob@127.0.0.1:{bob.port}'
        aside(bob.quit)
