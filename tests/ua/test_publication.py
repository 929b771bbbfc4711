"""PUBLISH: what a script publishes, and the compositor (RFC 3903)."""

from __future__ import annotations

import zlib

import pytest

from greensip import EventStateCompositor, Notifier, ResponseError, TooBrief, UsageError
from greensip.message import parse_message
from greensip.ua.publication import PER_RESOURCE

from .peer import RawPeer

PIDF = 'application/pidf+xml'


@pytest.fixture
def presence(bob):
    made = Notifier('presence')
    bob.events('presence', made)
    return made


@pytest.fixture
def compositor(bob, presence):
    made = EventStateCompositor(presence, max_publications=3, max_size=100)
    bob.handle('PUBLISH', made)
    return made


def test_publishing(net, alice, agent, to_bob, presence, compositor):
    carol = agent('carol')
    with alice.subscribe(to_bob, 'presence') as events:
        assert events.next().body == b''
        with carol.publish(to_bob, 'presence', '<open/>') as publication:
            notify = events.next()
            assert (notify.body, notify.content_type) == (b'<open/>', PIDF)
            first = publication.etag
            assert publication.update('<closed/>').code == 200
            assert publication.etag != first
            assert events.next().body == b'<closed/>'
            assert (publication.state, publication.package) == ('published', 'presence')
            assert 3598 <= publication.expires <= 3600
            net.run(20_000)
            assert publication.state == 'published'
            assert len(compositor) == 1
        assert events.wait_for(lambda event: event.label == 'NOTIFY' and not event.body, timeout=5)
    net.run(1)
    assert len(compositor) == 0


def test_one_resource_is_published_by_a_bounded_number(bob, net, presence):
    """All of them make its document, with each that comes; others are published meanwhile."""
    made = EventStateCompositor(presence, compose=lambda resource, documents: str(len(documents)))
    bob.handle('PUBLISH', made, blocking=False)
    carol = RawPeer(net, 'carol')
    codes = []
    for number in range(PER_RESOURCE + 3):
        request = carol.request('PUBLISH', 'bob', branch=f'z9hG4bK{number}', call_id=f'c{number}', Event='presence')
        request.body = b'x'
        request.set('Content-Type', PIDF)
        if number == PER_RESOURCE + 2:
            request.uri = 'sip:dave@10.0.0.1'
        carol.send(request, carol.to('bob'))
        codes.append(carol.expect('SIP/2.0').code)
    assert codes == [200] * PER_RESOURCE + [503, 503, 200]
    assert presence.document('bob') == str(PER_RESOURCE).encode() and presence.document('dave') == b'1'
    carol.close()


def test_the_words_on_the_wire(net, agent, to_bob, compositor):
    carol = agent('carol')
    with carol.publish(to_bob, 'presence', '<open/>', expires=600) as publication:
        publication.refresh()
        publication.wait_for('200')
        publication.update('<closed/>')
        publication.remove()
    assert publication.state == 'ended'
    assert not carol.core.publications
    sent = [parse_message(arrow.data) for arrow in net.ladder.arrows if arrow.title == 'PUBLISH']
    assert [request.cseq.number for request in sent] == [1, 2, 3, 4]
    assert len({request.call_id for request in sent}) == 1
    # RFC 3903 4.1, table 1
    assert [(bool(request.body), request.has('SIP-If-Match'), request.expires) for request in sent] == [
        (True, False, 600), (False, True, 600), (True, True, 600), (False, True, 0)]
    assert len({request.get('SIP-If-Match') for request in sent}) == 4


def test_a_publication_that_was_lost(net, alice, to_bob, presence, compositor):
    """412: it is published anew, with the whole document."""
    with alice.publish(to_bob, 'presence', '<open/>') as publication:
        compositor._by_tag.clear()
        compositor._published.clear()
        publication.refresh()
        publication.wait_for('200', timeout=5)
        assert len(compositor) == 1
        assert presence.document('bob') == b'<open/>'


def test_it_expires(net, agent, to_bob, presence, compositor):
    carol = agent('carol')
    carol.publish(to_bob, 'presence', '<open/>', expires=600)
    net.loss = 1.0
    net.run(700)
    assert presence.document('bob') == b''
    assert len(compositor) == 0
    net.loss = 0.0
    net.run(400)
    assert presence.document('bob') == b'<open/>'


def test_the_latest_one_counts(net, alice, agent, to_bob, presence, compositor):
    carol = agent('carol')
    with alice.publish(to_bob, 'presence', '<a/>'):
        with carol.publish(to_bob, 'presence', '<c/>'):
            assert presence.document('bob') == b'<c/>'
        net.run(1)
        assert presence.document('bob') == b'<a/>'


def test_composing(net, alice, agent, bob, to_bob, presence):
    bob.handle('PUBLISH', EventStateCompositor(presence, compose=lambda resource, all: b'+'.join(all)))
    carol = agent('carol')
    with alice.publish(to_bob, 'presence', '<a/>'), carol.publish(to_bob, 'presence', '<c/>'):
        assert presence.document('bob') == b'<a/>+<c/>'


def publish(alice, to_bob, **options):
    headers = {'Event': 'presence', **options.pop('headers', {})}
    options.setdefault('body', '<x/>')
    options.setdefault('content_type', PIDF)
    return alice.request('PUBLISH', to_bob, headers=headers, **options)


@pytest.mark.parametrize(('options', 'code'), [
    ({'headers': {'Event': 'dialog'}}, 489), ({'headers': {'SIP-If-Match': 'a, b'}}, 400),
    ({'headers': {'SIP-If-Match': ' '}}, 400), ({'headers': {'SIP-If-Match': 'unknown'}}, 412),
    ({'headers': {'Expires': '5'}}, 423), ({'headers': {'Expires': 'x'}}, 400), ({'headers': {'Event': ';'}}, 400),
    ({'content_type': 'text/plain'}, 415), ({'body': 'x' * 101}, 413), ({'body': ''}, 400)])
def test_the_steps_of_the_compositor(alice, to_bob, compositor, options, code):
    """RFC 3903 6."""
    with pytest.raises(ResponseError) as caught:
        publish(alice, to_bob, **options)
    assert caught.value.code == code
    assert len(compositor) == 0


def test_without_event(alice, to_bob, compositor):
    with pytest.raises(ResponseError) as caught:
        alice.request('PUBLISH', to_bob, body='x')
    assert caught.value.code == 489


def test_no_longer_than_is_granted(net, alice, to_bob, compositor, presence):
    """6, step 4: the compositor may choose less than is asked for, and it lasts as long as the 200 says."""
    assert publish(alice, to_bob, headers={'Expires': '86400'}).expires == 3600
    net.run(3599)
    assert len(compositor) == 1
    net.run(2)
    assert len(compositor) == 0
    assert presence.document('bob') == b''


def test_the_latest_document_counts(alice, to_bob, presence, compositor):
    """Of several devices the one that has spoken last, also where it was there first."""
    first = alice.publish(to_bob, 'presence', '<one/>')
    second = alice.publish(to_bob, 'presence', '<two/>')
    assert presence.document('bob') == b'<two/>'
    first.update('<three/>')
    assert presence.document('bob') == b'<three/>'
    first.remove()
    assert presence.document('bob') == b'<two/>'
    second.remove()
    assert presence.document('bob') == b''


def test_an_etag_of_another_resource(net, alice, to_bob, compositor):
    response = publish(alice, to_bob)
    assert response.expires == 3600
    with pytest.raises(ResponseError) as caught:
        publish(alice, to_bob.replace('bob@', 'carol@'), headers={'SIP-If-Match': response.get('SIP-ETag')})
    assert caught.value.code == 412


def test_too_many_publications(alice, to_bob, compositor):
    for _ in range(3):
        publish(alice, to_bob)
    with pytest.raises(ResponseError) as caught:
        publish(alice, to_bob)
    assert caught.value.code == 503
    assert publish(alice, to_bob, headers={'Expires': '0'}).expires == 0
    assert len(compositor) == 3


@pytest.mark.parametrize(('verdict', 'code'), [(False, 403), (401, 401), (None, 403)])
def test_who_may_publish(alice, bob, to_bob, presence, verdict, code):
    bob.handle('PUBLISH', EventStateCompositor(presence, authorize=lambda incoming: verdict))
    with pytest.raises(ResponseError) as caught:
        alice.publish(to_bob, 'presence', '<x/>')
    assert caught.value.code == code
    assert not alice.core.publications


def test_too_brief_a_publication(alice, to_bob, compositor):
    with alice.publish(to_bob, 'presence', '<x/>', expires=5) as publication:
        assert publication.expires == 60
    with pytest.raises(TooBrief):
        publish(alice, to_bob, headers={'Expires': '5'})


def test_compositors_need_a_notifier(presence):
    with pytest.raises(UsageError):
        EventStateCompositor()
    with pytest.raises(UsageError):
        EventStateCompositor(presence, expires=1)


def test_the_example_of_rfc_3903(net, agent, bob, to_bob, compositor):
    """RFC 3903 15: PUA (1 to 12), PA, WATCHER, message by message."""
    watcher, pua = agent('watcher'), agent('pua')
    with watcher.subscribe(to_bob, 'presence') as events:
        events.next()
        net.run(1)
        with pua.publish(to_bob, 'presence', '<1/>', expires=3600) as publication:
            events.next(timeout=5)
            net.run(1)
            publication.refresh()
            net.run(1)
            publication.update('<2/>')
            events.next(timeout=5)
            net.run(1)
            net.ladder.expect("""
                watcher -> bob: SUBSCRIBE
                bob -> watcher: 200 SUBSCRIBE
                bob -> watcher: NOTIFY
                watcher -> bob: 200 NOTIFY
                pua -> bob: PUBLISH
                bob -> pua: 200 PUBLISH
                bob -> watcher: NOTIFY
                watcher -> bob: 200 NOTIFY
                pua -> bob: PUBLISH
                bob -> pua: 200 PUBLISH
                pua -> bob: PUBLISH
                bob -> pua: 200 PUBLISH
                bob -> watcher: NOTIFY
                watcher -> bob: 200 NOTIFY
            """)


def test_what_comes_packed_is_told_unpacked(net, alice, agent, to_bob, presence, compositor):
    """RFC 3261 8.2.3; as linphone publishes its presence."""
    carol = agent('carol')
    packed = {'Content-Encoding': 'deflate'}
    with alice.subscribe(to_bob, 'presence') as events:
        events.next()
        with carol.publish(to_bob, 'presence', zlib.compress(b'<open/>'), content_type=PIDF, headers=packed):
            notify = events.next()
            assert (notify.body, notify.message.get('Content-Encoding')) == (b'<open/>', None)


@pytest.mark.parametrize(('coding', 'body', 'code'), [
    ('br', b'<open/>', 415), ('deflate', b'<open/>', 400), ('deflate', zlib.compress(b' ' * 101), 413),
    ('deflate', zlib.compress(b''), 400),
])
def test_what_cannot_be_unpacked_is_refused(agent, to_bob, compositor, coding, body, code):
    with pytest.raises(ResponseError) as caught:
        agent('carol').publish(to_bob, 'presence', body, content_type=PIDF, headers={'Content-Encoding': coding})
    assert caught.value.code == code
    assert caught.value.response.has('Accept-Encoding') == (code == 415)
    assert len(compositor) == 0
