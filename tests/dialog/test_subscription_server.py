"""The notifier's half of a subscription: RFC 6665 4.2, and its machine arrow by arrow."""

from __future__ import annotations

import pytest

from greensip.dialog import ServerSubscription
from greensip.errors import (
    TransactionTimeout,
    Unsubscribed,
    WrongState,
)

from .conftest import lines, never_walked
from .subscribing import DOC, PIDF, Pair, answer

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def pair(world):
    return Pair(world)


def test_a_fetch(pair, world):
    """4.4.3."""
    sub = pair.subscribe(expires=0)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    """)
    notify = pair.notifies()[0]
    assert (notify.get('Subscription-State'), notify.body) == ('terminated;reason=timeout', DOC)
    assert sub.state == 'terminated'
    assert pair.error().reason == 'timeout'
    pair.idle()


def test_who_notifies_says_so(pair, world):
    """4.4.4: in requests that make dialogs, and their responses."""
    pair.alice.core.configure(allow_events=['dialog'])
    pair.bob.core.configure(allow_events=['presence', 'reg'])
    pair.established()
    pair.accepting = {}
    pair.alice.core.refer('sip:carol@127.0.0.1', world.now, uri=pair.bob.uri, from_=pair.alice.uri)
    world.run(1)
    for method in ('SUBSCRIBE', 'REFER'):
        said = [message.get('Allow-Events') for _, _, message in world.messages if message.cseq.method == method]
        assert said == ['dialog', 'presence, reg']
    assert not any(notify.has('Allow-Events') for notify in pair.notifies())


@pytest.mark.parametrize(('shortest', 'asked', 'code', 'granted'), [
    (0, None, 200, '3600'), (60, None, 200, '3600'), (60, 59, 423, None), (60, 60, 200, '60'),
    (7200, 3599, 423, None), (7200, 3600, 200, '3600'), (0, 99999, 200, '3600')])
def test_how_long_a_refresh_lasts(pair, world, shortest, asked, code, granted):
    """4.2.1.1: without Expires it is the package's time; 423 only for "smaller than one hour"."""
    pair.established(expires=600)
    pair.server.shortest = shortest
    first = pair.subscribes()[0]
    expires = '' if asked is None else f'Expires: {asked}\r\n'
    world.inject((f'SUBSCRIBE {pair.bob.uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKagain\r\n'
                  f'From: {first.get("From")}\r\nTo: {pair.notifies()[0].get("From")}\r\nCSeq: 7 SUBSCRIBE\r\n'
                  f'Call-ID: {first.call_id}\r\nContact: {first.get("Contact")}\r\nEvent: presence\r\n{expires}'
                  'Content-Length: 0\r\n\r\n').encode(), ('127.0.0.1', 5060), pair.bob)
    world.run(1)
    response = next(message for _, _, message in world.messages if message.cseq.number == 7)
    assert (response.code, response.get('Expires')) == (code, granted)
    if code == 423:
        assert response.get('Min-Expires') == str(shortest)
    assert len(pair.notifies()) == (2 if code == 200 else 1)


def test_a_refresh_may_shorten_it(pair, world):
    """4.2.1.4: it expires when the latest refresh said."""
    sub = pair.established(expires=600)
    world.rule = lambda source, target, message: source == 'alice' and len(pair.subscribes()) > 2
    sub.refresh(world.now, 60)
    world.run(62)
    assert pair.notifies()[-1].get('Subscription-State') == 'terminated;reason=timeout'


def test_one_notify_at_a_time_and_the_latest_document(pair, world):
    pair.established()
    for number in range(5):
        pair.server.notify(world.now, b'%d' % number, PIDF)
    world.run(1)
    assert [notify.body for notify in pair.notifies()] == [DOC, b'0', b'4']


def test_the_end_while_a_notify_is_out(pair, world):
    pair.established()
    pair.server.notify(world.now, b'1', PIDF)
    pair.server.terminate(world.now, 'noresource', body=b'2', content_type=PIDF)
    with pytest.raises(WrongState):
        pair.server.notify(world.now, b'3', PIDF)
    world.run(1)
    assert [notify.body for notify in pair.notifies()] == [DOC, b'1', b'2']
    assert pair.notifies()[-1].get('Subscription-State') == 'terminated;reason=noresource'
    pair.idle()


def test_who_does_not_take_a_notify_has_no_subscription(pair, world):
    sub = pair.established()
    sub.abandon(world.now)
    pair.server.notify(world.now, b'1', PIDF)
    world.run(1)
    assert pair.error(pair.bob).code == 481
    pair.idle()


def test_who_has_gone_has_no_subscription(pair, world):
    pair.established()
    world.rule = lambda source, target, message: source == 'bob'
    pair.server.notify(world.now, b'1', PIDF)
    world.run(33)
    assert isinstance(pair.error(pair.bob), TransactionTimeout)


def test_a_notify_that_is_refused_for_the_moment(pair, world):
    sub = pair.established(manual=True)
    first = pair.alice.last('request')
    assert first.label == 'NOTIFY'
    pair.alice.core.respond(first.exchange, 503, world.now, headers=[('Retry-After', '5')])
    world.run(1)
    assert {notify.cseq.number for notify in pair.notifies()} == {1}
    world.run(5)
    assert {notify.cseq.number for notify in pair.notifies()} == {1, 2}
    pair.alice.core.respond(pair.alice.last('request').exchange, 200, world.now)
    assert sub.state == pair.server.state == 'active'


@pytest.mark.parametrize('field', ['Event: ;', 'Event', 'Expires: soon', 'Contact: <sip:', 'Accept: ;;'])
def test_a_broken_subscribe_gets_its_4xx(pair, world, field):
    name, _, value = field.partition(': ')
    fields = {'Event': 'presence', 'Expires': '60', 'Contact': '<sip:m@127.0.0.1:5099>'}
    fields[name] = value
    text = ''.join(f'{key}: {value}\r\n' for key, value in fields.items() if value)
    pair.bob.on['SUBSCRIBE'] = lambda event: answer(pair, event)
    world.inject((f'SUBSCRIBE {pair.bob.uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5099;branch=z9hG4bKx\r\n'
                  f'From: <sip:m@m>;tag=1\r\nTo: <{pair.bob.uri}>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\n'
                  f'Max-Forwards: 70\r\n{text}Content-Length: 0\r\n\r\n').encode(), ('127.0.0.1', 5099), pair.bob)
    code = {'Event': 489, 'Accept: ;;': 200}.get(field, 400)
    assert world.ladder()[0] == f'bob -> 127.0.0.1:5099: {code} SUBSCRIBE'
    if name != 'Accept':
        assert not pair.bob.core.subscriptions.living


@pytest.mark.parametrize('verb', ['accept', 'pend'])
def test_the_notifier_in_each_state(pair, world, verb):
    pair.verb = verb
    sub = pair.subscribe(expires=120)
    world.run(1)
    server = pair.server
    state = {'accept': 'active', 'pend': 'pending'}[verb]
    assert sub.state == server.state == state
    server.notify(world.now, b'x', PIDF)
    world.run(1)
    sub.refresh(world.now)
    world.run(1)
    assert server.state == state
    server.terminate(world.now, 'giveup', 5)
    # A refresh that crosses the last NOTIFY comes too late.
    sub.refresh(world.now)
    world.run(1)
    assert sub.state == server.state == 'terminated'
    assert pair.notifies()[-1].get('Subscription-State') == 'terminated;reason=giveup;retry-after=5'
    pair.idle()


def test_a_pending_subscriber_that_is_gone(pair, world):
    pair.verb = 'pend'
    sub = pair.subscribe()
    world.run(1)
    sub.abandon(world.now)
    pair.server.activate(world.now, DOC, PIDF)
    world.run(1)
    assert pair.error(pair.bob).code == 481


def test_a_pending_subscriber_that_never_was(pair, world):
    pair.verb = 'pend'
    pair.subscribe().abandon(world.now)
    world.run(1)
    assert pair.error(pair.bob).code == 481
    pair.idle()


def test_a_last_notify_that_nobody_takes(pair, world):
    sub = pair.established()
    pair.server.terminate(world.now, 'noresource')
    sub.abandon(world.now)
    world.run(1)
    assert isinstance(pair.error(pair.bob), Unsubscribed)
    pair.idle()


@pytest.mark.parametrize('code', [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604])
def test_responses_to_notify_that_end_it(pair, world, code):
    """4.2.2."""
    pair.established(manual=True)
    pair.alice.core.respond(pair.alice.last('request').exchange, code, world.now)
    world.run(1)
    assert pair.error(pair.bob).code == code
    assert not pair.bob.core.dialogs


@pytest.mark.parametrize('code', [400, 403, 415, 500, 503, 600])
def test_responses_to_notify_that_do_not(pair, world, code):
    pair.established(manual=True)
    pair.alice.core.respond(pair.alice.last('request').exchange, code, world.now)
    world.run(1)
    assert pair.server.state == 'active'


def test_closing_in_each_state(pair, world):
    """What the user agent does at its end."""
    pair.bob.on.clear()
    pair.subscribe()
    world.run(0.1)
    server = pair.bob.core.incoming_subscription(pair.bob.last('request').exchange, world.now)
    server.close(world.now)
    world.run(1)
    assert pair.error().code == 480
    pair.bob.on['SUBSCRIBE'] = pair.take
    sub = pair.established()
    pair.server.close(world.now)
    pair.server.close(world.now)
    world.run(1)
    assert pair.error().reason == 'deactivated'
    assert sub.state == 'terminated'
    pair.idle()


def test_nobody_decides(pair, world):
    """4.2.1.1: "notifiers MUST NOT wait for a user response"; whoever forgets keeps nothing for it."""
    pair.bob.on.clear()
    pair.subscribe()
    world.run(0.1)
    server = pair.bob.core.incoming_subscription(pair.bob.last('request').exchange, world.now)
    world.run(33)
    assert server.over
    with pytest.raises(WrongState):
        server.accept(world.now)
    pair.idle()


def test_somebody_else_has_decided(pair, world):
    """The program answers with ``core.respond``."""
    pair.bob.on.clear()
    pair.subscribe()
    world.run(0.1)
    transaction = pair.bob.last('request').exchange
    server = pair.bob.core.incoming_subscription(transaction, world.now)
    pair.bob.core.respond(transaction, 403, world.now)
    world.run(0.1)
    for verb in (lambda: server.reject(world.now, 480), lambda: server.accept(world.now)):
        with pytest.raises(WrongState):
            verb()
    server.close(world.now)
    assert server.over
    assert pair.error().code == 403
    pair.idle()


def test_every_arrow_was_walked(request, walked):
    """Kept last: together the stories above go along each row."""
    assert never_walked(request, walked, ServerSubscription) == []
