"""Kamailio as presence server, and as a proxy that forks SUBSCRIBEs: real NOTIFYs on a real network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks import lab, peers

from greensip import Notifier, ResponseError, Status, UserAgent
from greensip.body import MessageSummary, Presence, parse_document

from .presence_server import PASSWORD, REALM, TABLES, forking_proxy, presence_server

LEAST = 30


class Server:
    """Where Kamailio is, and what we say to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.options = {'route': f'sip:127.0.0.1:{port};lr', 'credentials': ('alice', PASSWORD)}

    def uri(self, user: str) -> str:
        """Somebody whose state it keeps."""
        return f'sip:{user}@{REALM}'


@pytest.fixture
def server(needs: Callable[..., None], absent: Callable[[str], None], running: list[peers.Peer], folder: Path,
           free_port: Callable[..., int]) -> Server:
    needs('kamailio')
    for name in lab.modules('presence', 'presence_xml', 'presence_mwi', 'presence_dialoginfo', 'db_text'):
        absent(f"Kamailio's module {name}")
    if not TABLES.exists():
        absent("Kamailio's empty tables")
    port = free_port()
    running.append(presence_server(port, folder, LEAST))
    return Server(port)


@pytest.fixture
def pair(place: Callable[..., str]) -> Iterator[tuple[UserAgent, UserAgent]]:
    with UserAgent(place('udp'), name='alice') as alice, UserAgent(place('udp'), name='bob') as bob:
        yield alice, bob


def gone(event: Any) -> bool:
    """A NOTIFY that says that nothing is published."""
    return event.label == 'NOTIFY' and (not event.body or event.document.status == 'offline')


def test_presence(server: Server, pair: tuple[UserAgent, UserAgent]) -> None:
    """Published, changed, taken away: the watcher hears of it each time."""
    alice, bob = pair
    with bob.subscribe(server.uri('alice'), 'presence', from_=server.uri('bob'), **server.options) as events:
        assert events.wait_for('200', timeout=5)
        notify = events.next(timeout=5)
        assert notify.state == 'active'
        assert 3590 <= events.expires <= 3600
        online = Presence(server.uri('alice'), 'online')
        with alice.publish(server.uri('alice'), 'presence', online, timeout=5, **server.options) as publication:
            notify = events.next(timeout=5)
            assert notify.content_type == 'application/pidf+xml'
            assert notify.document.status == 'online'
            first = publication.etag
            assert first
            publication.update(Presence(server.uri('alice'), 'offline'), timeout=5)
            assert publication.etag != first
            assert events.next(timeout=5).document.status == 'offline'
            publication.refresh()
            publication.wait_for('200', timeout=5)
            publication.remove(timeout=5)
        assert events.wait_for(gone, timeout=5).state == 'active'
        events.refresh(1800)
        assert events.wait_for(lambda event: event.label == 'NOTIFY' and event.expires <= 1800, timeout=5)
        last = events.unsubscribe(timeout=5)
        assert (last.state, last.reason) == ('terminated', 'timeout')


def test_buddies(server: Server, pair: tuple[UserAgent, UserAgent]) -> None:
    """Both sides as a phone has them: a presence that is published, and somebody who is watched."""
    alice, bob = (ua.account(server.uri(ua.name), **server.options) for ua in pair)
    with bob.buddy('alice') as buddy:
        buddy.subscribe(timeout=5)
        alice.presence = 'busy'
        with alice.publish_presence(timeout=5):
            assert buddy.wait_for('busy', timeout=5).status.activities == ('busy',)
            alice.presence = Status('away', 'Lunch')
            assert buddy.wait_for('away', timeout=5).status.note == 'Lunch'
            alice.presence = 'online'
            buddy.wait_for('online', timeout=5)
        buddy.wait_for('unknown', 'offline', timeout=5)
        buddy.unsubscribe(timeout=5)


def test_fetching(server: Server, pair: tuple[UserAgent, UserAgent]) -> None:
    alice, bob = pair
    with alice.publish(server.uri('alice'), 'presence', Presence(server.uri('alice'), 'online'), timeout=5,
                       **server.options), \
            bob.subscribe(server.uri('alice'), 'presence', from_=server.uri('bob'), expires=0,
                          **server.options) as events:
        notify = events.next(timeout=5)
        assert notify.state == 'terminated'
        assert notify.document.status == 'online'
        events.wait_ended(timeout=5)


def test_waiting_messages(server: Server, pair: tuple[UserAgent, UserAgent]) -> None:
    alice, bob = pair
    summary = b'Messages-Waiting: yes\r\nMessage-Account: sip:alice@example.com\r\nVoice-Message: 2/8 (0/2)\r\n'
    parsed = parse_document('application/simple-message-summary', summary)
    assert isinstance(parsed, MessageSummary)
    with bob.subscribe(server.uri('alice'), 'message-summary', from_=server.uri('alice'), **server.options) as events:
        events.next(timeout=5)
        with alice.publish(server.uri('alice'), 'message-summary', summary, timeout=5, **server.options):
            notify = events.next(timeout=5)
            assert notify.document.to_bytes() == parsed.to_bytes()


def test_too_brief(server: Server, pair: tuple[UserAgent, UserAgent]) -> None:
    """Its 423 is answered with the time that it wants."""
    _, bob = pair
    with bob.subscribe(server.uri('alice'), 'presence', from_=server.uri('bob'), expires=5, **server.options) as events:
        events.next(timeout=5)
        assert events.subscription.asked == LEAST
        assert LEAST - 2 <= events.expires <= LEAST


def test_refused(server: Server, pair: tuple[UserAgent, UserAgent]) -> None:
    alice, bob = pair
    options = {**server.options, 'credentials': ('alice', 'wrong')}
    with pytest.raises(ResponseError) as caught:
        alice.publish(server.uri('alice'), 'presence', Presence(server.uri('alice'), 'online'), timeout=5, **options)
    assert caught.value.code == 401
    with bob.subscribe(server.uri('alice'), 'unheard-of', from_=server.uri('bob'), **server.options) as events, \
            pytest.raises(ResponseError) as caught:
        events.next(timeout=5)
    assert caught.value.code == 489


def test_a_publication_that_it_does_not_know(server: Server, pair: tuple[UserAgent, UserAgent]) -> None:
    """Its 412 is answered with the whole state."""
    alice, bob = pair
    with bob.subscribe(server.uri('alice'), 'presence', from_=server.uri('bob'), **server.options) as events:
        events.next(timeout=5)
        with alice.publish(server.uri('alice'), 'presence', Presence(server.uri('alice'), 'online'), timeout=5,
                           etag='a.1700000000.1.1.1', **server.options) as publication:
            assert publication.etag != 'a.1700000000.1.1.1'
            assert events.next(timeout=5).document.status == 'online'


@pytest.mark.parametrize('forks', ['first', 'all'])
def test_a_subscribe_that_is_forked(forks: str, needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                                    free_port: Callable[..., int], place: Callable[..., str],
                                    pair: tuple[UserAgent, UserAgent]) -> None:
    """RFC 6665 4.1.4: two notifiers answer, one 200 comes back, both NOTIFY, through the proxy."""
    needs('kamailio')
    alice, bob = pair
    with UserAgent(place('udp'), name='carol') as carol:
        port = free_port()
        notifiers = []
        for ua in (bob, carol):
            presence = Notifier('presence')
            ua.events('presence', presence)
            presence.publish('x', ua.name)
            notifiers.append(presence)
        first, second = (f'x@127.0.0.1:{ua.points[0].address[1]}' for ua in (bob, carol))
        running.append(forking_proxy(port, folder, first, second))
        with alice.subscribe('sip:x@127.0.0.1', 'presence', route=f'sip:127.0.0.1:{port};lr', forks=forks,
                             resubscribe=False) as one:
            heard = {one.next(timeout=5).text}
            if forks == 'all':
                other = one.wait_for('forked', timeout=5).subscription
                heard.add(other.next(timeout=5).text)
                assert heard == {'bob', 'carol'}
                assert one.call_id == other.call_id
                # A refresh of either goes through the proxy to its own notifier.
                other.refresh()
                assert other.next(timeout=5).text != one.latest.text
                assert other.unsubscribe(timeout=5).state == 'terminated'
            one.refresh()
            one.next(timeout=5)
            assert one.unsubscribe(timeout=5).state == 'terminated'
        for _ in range(100):
            if not any(notifier.count for notifier in notifiers):
                break
            gevent.sleep(0.05)
        assert [notifier.count for notifier in notifiers] == [0, 0]
