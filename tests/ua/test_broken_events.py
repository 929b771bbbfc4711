"""Each registered header field with a value that is none, in the requests and responses of subscriptions and
publications: a 4xx, or no matter at all; nobody fails, and the subscription lives."""

from __future__ import annotations

import logging

import pytest

from greensip import EventStateCompositor, Notifier
from greensip.message import make_response
from greensip.testing import Network

from .peer import RawPeer
from .test_broken_values import BROKEN, CORE, answer_with

FIELDS = [(name, text) for name, text in BROKEN if name not in CORE]


@pytest.fixture
def net(caplog):
    with Network() as made, caplog.at_level(logging.WARNING, 'greensip'):
        yield made
        for user_agent in made.user_agents:
            assert user_agent.endpoint.counters.failures == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def peer(net):
    made = RawPeer(net, 'raw')
    yield made
    made.close()


def with_field(request, field):
    request.remove(field[0])
    head, _, rest = request.to_bytes().partition(b'\r\n\r\n')
    return head + f'\r\n{field[0]}: {field[1]}'.encode('utf-8', 'surrogateescape') + b'\r\n\r\n' + rest


def outcome(net, peer, method):
    """The final response to a request of the peer's, who takes all the NOTIFYs."""
    found = None
    for _ in range(100):
        while peer.inbox:
            message, flow = peer.inbox.pop(0)
            if hasattr(message, 'method'):
                peer.send(make_response(message, 200, to_tag='raw'), flow)
            elif message.cseq.method == method and message.code >= 200:
                found = message
        if found is not None:
            return found
        net.clock.sleep(0.01)
    return None


@pytest.mark.parametrize('method', ['SUBSCRIBE', 'PUBLISH'])
def test_requests_to_a_notifier(net, peer, method):
    bob = net.user_agent('bob')
    presence = Notifier('presence')
    bob.events('presence', presence)
    bob.handle('PUBLISH', EventStateCompositor(presence))
    wrong = []
    for number, field in enumerate(FIELDS):
        request = peer.request(method, 'bob', branch=f'z9hG4bKq{number}', call_id=f'q{number}', cseq=1,
                               Event='presence', Expires='600', body=b'x' if method == 'PUBLISH' else b'')
        if method == 'PUBLISH':
            request.set('Content-Type', 'application/pidf+xml')
            # Of one resource only so many are taken.
            request.uri = request.uri.replace(user=f'r{number}')
        peer.send(with_field(request, field), peer.to('bob'))
        response = outcome(net, peer, method)
        code = response.code if response is not None else None
        if code is None or not (200 <= code < 300 or 400 <= code < 500):
            wrong.append((field, code))
    assert wrong == []
    net.run(0.1)
    outcome(net, peer, method)
    presence.terminate()
    net.run(0.1)
    outcome(net, peer, method)
    assert presence.count == 0


def test_refreshes(net, peer):
    bob = net.user_agent('bob')
    presence = Notifier('presence')
    bob.events('presence', presence)
    first = peer.request('SUBSCRIBE', 'bob', branch='z9hG4bKf', call_id='c', cseq=1, Event='presence', Expires='600')
    peer.send(first, peer.to('bob'))
    tag = outcome(net, peer, 'SUBSCRIBE').to_tag
    wrong = []
    for number, field in enumerate(FIELDS):
        request = peer.request('SUBSCRIBE', 'bob', branch=f'z9hG4bKq{number}', call_id='c', cseq=number + 2, to_tag=tag,
                               Event='presence', Expires='600')
        peer.send(with_field(request, field), peer.to('bob'))
        response = outcome(net, peer, 'SUBSCRIBE')
        code = response.code if response is not None else None
        if code is None or not (200 <= code < 300 or 400 <= code < 500):
            wrong.append((field, code))
    assert wrong == []
    assert presence.count == 1


def notify(peer, subscribe, cseq, **fields):
    fields = {'Event': 'presence', 'Subscription_State': 'active;expires=600', **fields}
    return peer.request('NOTIFY', 'alice', branch=f'z9hG4bKn{cseq}', call_id=subscribe.call_id, cseq=cseq,
                        to_tag=subscribe.from_tag, **fields)


def test_notifies(net, peer):
    alice = net.user_agent('alice')
    events = alice.subscribe(net.uri('raw'), 'presence', resubscribe=False)
    subscribe = peer.expect('SUBSCRIBE')
    peer.respond(subscribe, 200)
    wrong = []
    for number, field in enumerate(FIELDS):
        peer.send(with_field(notify(peer, subscribe, number + 1), field), peer.to('alice'))
        response = outcome(net, peer, 'NOTIFY')
        code = response.code if response is not None else None
        if code is None or not (200 <= code < 300 or 400 <= code < 500):
            wrong.append((field, code))
    assert wrong == []
    peer.send(notify(peer, subscribe, 5000), peer.to('alice'))
    assert outcome(net, peer, 'NOTIFY').code == 200
    assert events.state == 'active'


@pytest.mark.parametrize('code', [200, 401, 423, 503])
def test_responses_to_subscribe(net, peer, code):
    alice = net.user_agent('alice')
    for number, field in enumerate(FIELDS):
        with alice.subscribe(net.uri('raw'), 'presence', credentials=('alice', 'x'), resubscribe=False) as events:
            subscribe = peer.expect('SUBSCRIBE')
            peer.send(answer_with(subscribe, field).replace(b'SIP/2.0 200 OK', b'SIP/2.0 %d X' % code),
                      peer.to('alice'))
            net.run(0.1)
            if events.ended:
                assert code >= 400
            else:
                # Another try, or a response that was dropped.
                while peer.inbox:
                    message, _ = peer.inbox.pop(0)
                    if getattr(message, 'method', '') == 'SUBSCRIBE':
                        peer.respond(message, 200)
                peer.send(notify(peer, subscribe, number, Subscription_State='terminated;reason=noresource'),
                          peer.to('alice'))
                net.run(0.1)
                assert events.ended, field
        peer.inbox.clear()
    net.run(40)
    assert alice.core.counts() == {'calls': 0, 'dialogs': 0, 'subscriptions': 0, 'transactions': 0}


def test_responses_to_notify(net, peer):
    bob = net.user_agent('bob')
    presence = Notifier('presence')
    bob.events('presence', presence)
    first = peer.request('SUBSCRIBE', 'bob', branch='z9hG4bKf', call_id='c', cseq=1, Event='presence', Expires='3600')
    peer.send(first, peer.to('bob'))
    outcome(net, peer, 'SUBSCRIBE')
    net.run(0.1)
    outcome(net, peer, 'NOTIFY')
    for number, field in enumerate(FIELDS):
        presence.publish('bob', b'%d' % number)
        request = peer.expect('NOTIFY')
        peer.send(answer_with(request, field), peer.to('bob'))
        net.run(0.05)
        while peer.inbox:
            message, flow = peer.inbox.pop(0)
            if getattr(message, 'method', '') == 'NOTIFY':
                peer.send(make_response(message, 200, to_tag='raw'), flow)
                net.run(0.05)
        assert presence.count == 1, field


@pytest.mark.parametrize('content_type', ['text/plain', 'application/im-iscomposing+xml', 'message/imdn+xml',
                                          'message/cpim'])
def test_messages_to_an_inbox(net, peer, content_type):
    """And to a buddy; what says that it is a document and is none gets its 400."""
    bob = net.user_agent('bob')
    account = bob.account('sip:bob@example.com')
    boxes = [bob.messages, account.messages]
    wrong = []
    with bob.buddy('sip:raw@10.9.9.9'):
        for number, field in enumerate(FIELDS):
            request = peer.request('MESSAGE', 'bob', branch=f'z9hG4bKm{number}', call_id=f'm{number}', cseq=1,
                                   body=b'<x' if content_type != 'text/plain' else b'hello')
            request.set('Content-Type', content_type)
            peer.send(with_field(request, field), peer.to('bob'))
            response = outcome(net, peer, 'MESSAGE')
            code = response.code if response is not None else None
            if code is None or not (200 <= code < 300 or 400 <= code < 500):
                wrong.append((field, code))
            for box in boxes:
                while box.unread:
                    message = box.wait_for('MESSAGE')
                    repr(message), message.text, message.wants, message.message_id, message.report('displayed')
    assert wrong == []


def test_subscriptions_to_our_presence(net, peer):
    bob = net.user_agent('bob')
    bob.presence = 'busy'
    bob.account('sip:bob@example.com').presence = 'away'
    wrong = []
    for number, field in enumerate(FIELDS):
        request = peer.request('SUBSCRIBE', 'bob', branch=f'z9hG4bKp{number}', call_id=f'p{number}', cseq=1,
                               Event='presence', Expires='600')
        peer.send(with_field(request, field), peer.to('bob'))
        response = outcome(net, peer, 'SUBSCRIBE')
        code = response.code if response is not None else None
        if code is None or not (200 <= code < 300 or 400 <= code < 500):
            wrong.append((field, code))
    assert wrong == []
    net.run(0.1)
    outcome(net, peer, 'SUBSCRIBE')
    for watchers in (bob.watchers, bob.accounts[0].watchers):
        for watcher in watchers:
            watcher.close()
    for _ in range(5):
        net.run(0.1)
        outcome(net, peer, 'SUBSCRIBE')
    notifier = bob.request_handlers.packages['presence']
    assert notifier.count == 0 and notifier._asked == {}
