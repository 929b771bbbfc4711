"""Subscriptions: RFC 6665, both halves, as ladders; the implicit one of REFER (RFC 3515) in and out of calls."""

from __future__ import annotations

import pytest

from greensip.dialog import ClientSubscription, ServerSubscription, status_of
from greensip.errors import (
    ResponseError,
    SubscriptionEnded,
    TransactionTimeout,
    Unsubscribed,
    UsageError,
    WrongState,
)

from .conftest import lines, walking

DOC = b'<presence/>'
PIDF = 'application/pidf+xml'


@pytest.fixture(scope='module', autouse=True)
def walked():
    """The arrows that the tests of this module went along."""
    with walking() as arrows:
        yield arrows


class Pair:
    """Alice subscribes, bob notifies."""

    def __init__(self, world):
        self.world = world
        self.alice = world.party('alice', 5060)
        self.bob = world.party('bob', 5070)
        self.bob.core.configure(allow=[*self.bob.core.allow, 'SUBSCRIBE', 'REFER', 'NOTIFY'])
        self.server = None
        self.accepting = {'body': DOC, 'content_type': PIDF}
        self.verb = 'accept'
        self.bob.on['SUBSCRIBE'] = self.bob.on['REFER'] = self.take

    def take(self, event):
        if event.subject in self.bob.core.subscriptions.living:
            return
        self.server = self.bob.core.incoming_subscription(event.exchange, self.world.now)
        getattr(self.server, self.verb)(self.world.now, **self.accepting)

    def subscribe(self, **options):
        options.setdefault('from_', self.alice.uri)
        return self.alice.core.subscribe(self.bob.uri, 'presence', self.world.now, **options)

    def established(self, **options):
        sub = self.subscribe(**options)
        self.world.run(1)
        assert sub.state == 'active'
        self.world.lines.clear()
        return sub

    def error(self, party=None):
        return (party or self.alice).last('ended').error

    def notifies(self):
        return [message for source, _, message in self.world.messages
                if getattr(message, 'method', '') == 'NOTIFY' and source == 'bob']

    def subscribes(self):
        return [message for _, _, message in self.world.messages if getattr(message, 'method', '') == 'SUBSCRIBE']

    def idle(self):
        self.world.run(40)
        assert self.world.idle(), [party.core.counts() for party in (self.alice, self.bob)]
        for party in (self.alice, self.bob):
            assert not party.core.subscriptions.sharing
            assert not party.core.subscriptions.awaited


@pytest.fixture
def pair(world):
    return Pair(world)


def test_a_subscription(pair, world):
    """RFC 6665 3.1: the typical flow."""
    sub = pair.subscribe(accept=[PIDF], expires=600)
    assert sub.state == 'notify_wait'
    world.run(1)
    assert sub.state == pair.server.state == 'active'
    pair.server.notify(world.now, b'<busy/>', PIDF)
    world.run(1)
    sub.unsubscribe(world.now)
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    """)
    assert [event.name for event in pair.alice.events] == ['200', 'NOTIFY', 'NOTIFY', '200', 'NOTIFY', 'ended']
    assert [event.name for event in pair.bob.events] == ['SUBSCRIBE', '200', '200', 'SUBSCRIBE', '200', 'ended']
    first = pair.subscribes()[0]
    assert (first.get('Event'), first.expires, first.get('Accept')) == ('presence', 600, PIDF)
    assert pair.subscribes()[1].expires == 0
    states = [notify.get('Subscription-State') for notify in pair.notifies()]
    assert states == ['active;expires=600', 'active;expires=599', 'terminated;reason=timeout']
    assert [notify.body for notify in pair.notifies()] == [DOC, b'<busy/>', b'<busy/>']
    assert isinstance(pair.error(), Unsubscribed)
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


def test_it_is_refreshed_by_itself(pair, world):
    pair.established(expires=600)
    world.run(505)
    assert len(pair.subscribes()) == 1
    world.run(10)
    assert world.ladder() == lines("""
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    """)
    one, two = pair.subscribes()
    assert (two.call_id, two.from_tag, two.expires) == (one.call_id, one.from_tag, 600)
    assert two.to_tag and two.cseq.number == 2
    assert pair.notifies()[-1].body == DOC
    world.run(3600)
    assert pair.alice.core.counts()['subscriptions'] == 1


def test_it_ends_when_it_is_not_refreshed(pair, world):
    """4.2.1.4, and the subscriber knows by himself too."""
    pair.established(expires=600)
    world.rule = lambda source, target, message: source == 'alice' and getattr(message, 'method', '') == 'SUBSCRIBE'
    world.run(601)
    assert pair.notifies()[-1].get('Subscription-State') == 'terminated;reason=timeout'
    # "Re-subscription times out" came first: timer N after the refresh that was lost.
    assert isinstance(pair.error(), TransactionTimeout)
    pair.idle()


def test_the_notifier_grants_less(pair, world):
    pair.accepting['expires'] = 100
    sub = pair.established(expires=600)
    assert sub.remaining(world.now) == 99
    world.run(55)
    assert len(pair.subscribes()) == 2


def test_expires_in_a_notify_counts(pair, world):
    """4.1.3: "the subscriber SHOULD take it as the authoritative subscription duration"."""
    sub = pair.established(expires=3600)
    pair.server.expires_at = world.now + 40
    pair.server.notify(world.now, b'x', PIDF)
    world.run(1)
    assert 38 <= sub.remaining(world.now) <= 40
    world.run(25)
    assert len(pair.subscribes()) == 2


def test_a_notify_before_the_200(pair, world):
    """4.1.2.4."""
    world.rule = lambda source, target, message: 0.3 if getattr(message, 'code', 0) == 200 and source == 'bob' else 0.0
    sub = pair.subscribe()
    world.run(0.1)
    assert sub.state == 'active'
    assert sub.exchange.response is None
    world.run(1)
    assert sub.exchange.response.code == 200
    sub.unsubscribe(world.now)
    pair.idle()


def test_pending_then_active(pair, world):
    pair.verb = 'pend'
    pair.accepting = {}
    sub = pair.subscribe(expires=60)
    world.run(1)
    assert (sub.state, pair.server.state) == ('pending', 'pending')
    assert pair.notifies()[-1].get('Subscription-State') == 'pending;expires=60'
    pair.server.activate(world.now, DOC, PIDF)
    world.run(1)
    assert (sub.state, pair.server.state) == ('active', 'active')
    with pytest.raises(WrongState):
        pair.server.activate(world.now)


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


@pytest.mark.parametrize('code', [403, 489, 603, 406])
def test_a_refusal(pair, world, code):
    pair.verb, pair.accepting = 'reject', {'code': code}
    pair.subscribe()
    world.run(1)
    assert isinstance(pair.error(), ResponseError)
    assert pair.error().code == code
    pair.idle()


def test_too_brief(pair, world):
    """423 with Min-Expires is answered by itself."""
    def take(event):
        if event.subject is not None:
            return
        server = pair.bob.core.incoming_subscription(event.exchange, world.now)
        if event.message.expires < 1800:
            server.reject(world.now, 423, headers=[('Min-Expires', '1800')])
        else:
            server.accept(world.now)

    pair.bob.on['SUBSCRIBE'] = take
    sub = pair.subscribe(expires=60)
    world.run(1)
    assert sub.state == 'active'
    assert [message.expires for message in pair.subscribes()] == [60, 1800]
    sub.unsubscribe(world.now)
    pair.idle()


def test_too_brief_for_ever(pair, world):
    pair.verb = 'reject'
    pair.accepting = {'code': 423, 'headers': [('Min-Expires', '100')]}
    pair.bob.on['SUBSCRIBE'] = lambda event: pair.bob.core.incoming_subscription(event.exchange, world.now).reject(
        world.now, 423, headers=[('Min-Expires', str(event.message.expires + 1))])
    pair.subscribe(expires=60)
    world.run(1)
    assert len(pair.subscribes()) == 4
    assert pair.error().code == 423
    pair.idle()


def test_too_brief_without_a_time(pair, world):
    pair.verb, pair.accepting = 'reject', {'code': 423}
    pair.subscribe(expires=60)
    world.run(1)
    assert pair.error().code == 423


def test_a_refresh_that_is_too_brief(pair, world):
    sub = pair.established(expires=3600)
    pair.server.shortest = 300
    sub.refresh(world.now, 200)
    world.run(1)
    assert [message.expires for message in pair.subscribes()] == [3600, 200, 300]
    assert sub.state == 'active'


def test_timer_n(pair, world):
    """4.1.2.4: accepted, but no NOTIFY comes."""
    world.rule = lambda source, target, message: getattr(message, 'method', '') == 'NOTIFY'
    pair.subscribe()
    world.run(31.9)
    assert not [event for event in pair.alice.events if event.kind == 'ended']
    world.run(0.2)
    assert isinstance(pair.error(), TransactionTimeout)
    pair.idle()
    assert isinstance(pair.error(pair.bob), TransactionTimeout)


def test_nobody_answers(pair, world):
    world.rule = lambda source, target, message: True
    pair.subscribe()
    world.run(33)
    assert isinstance(pair.error(), TransactionTimeout)
    pair.idle()


def test_a_notify_after_timer_n_gets_481(pair, world):
    world.rule = lambda source, target, message: getattr(message, 'method', '') == 'NOTIFY'
    pair.subscribe()
    world.run(32.2)
    world.rule = lambda source, target, message: False
    pair.server.notify(world.now, DOC, PIDF) if pair.server.state == 'active' else None
    world.run(5)
    pair.idle()


@pytest.mark.parametrize('code', [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604])
def test_a_refresh_that_ends_it(pair, world, code):
    """4.1.2.2."""
    sub = pair.established(expires=600)
    bob = pair.bob.core
    bob.subscriptions.sharing.clear()
    for dialog in bob.dialogs.values():
        dialog.usage = Refusing(bob, code)
    sub.refresh(world.now)
    world.run(1)
    assert pair.error().code == code


class Refusing:
    def __init__(self, core, code):
        self.core = core
        self.code = code

    def on_request(self, transaction, request, now):
        self.core.layer.respond(transaction, self.core.make_response(request, self.code), now)


def test_a_refresh_that_does_not_end_it(pair, world):
    """4.1.2.2: "the original subscription is still considered valid for the duration"; it is tried again meanwhile."""
    sub = pair.established(expires=600)
    bob = pair.bob.core
    sharing, = bob.subscriptions.sharing.values()
    bob.subscriptions.sharing.clear()
    sharing.dialog.usage = Refusing(bob, 500)
    sub.refresh(world.now)
    world.run(10)
    assert sub.state == 'active'
    bob.subscriptions.sharing[sharing.dialog.id] = sharing
    sharing.dialog.usage = sharing
    world.run(320)
    assert len(pair.subscribes()) == 3
    assert sub.remaining(world.now) > 500


@pytest.mark.parametrize(('reason', 'retry_after'), [
    ('deactivated', None), ('probation', 30), ('rejected', None), ('timeout', None), ('giveup', 7),
    ('noresource', None), ('invariant', None), ('something', None), ('', None)])
def test_terminated(pair, world, reason, retry_after):
    sub = pair.established()
    pair.server.terminate(world.now, reason, retry_after)
    world.run(1)
    assert sub.state == 'terminated'
    error = pair.error()
    assert isinstance(error, SubscriptionEnded)
    assert (error.reason, error.retry_after) == (reason or None, retry_after)
    assert isinstance(pair.error(pair.bob), Unsubscribed)
    pair.idle()


@pytest.mark.parametrize(('reason', 'retry_after', 'wait'), [
    ('deactivated', 99, 0), ('probation', 30, 30), ('probation', None, 60), ('rejected', None, None),
    ('timeout', 99, 0), ('giveup', 7, 7), ('giveup', None, 0), ('noresource', 5, None), ('invariant', None, None),
    ('something', 4, 4), ('', None, 0)])
def test_subscribed_anew(pair, world, reason, retry_after, wait):
    """4.1.3: each reason with its rule."""
    sub = pair.established(resubscribe=True)
    world.run(100)
    pair.server.terminate(world.now, reason, retry_after)
    world.run(0.1)
    if wait is None:
        assert sub.state == 'terminated'
        return
    world.run(wait - 1 if wait else 0)
    assert len(pair.subscribes()) == (1 if wait else 2)
    world.run(2)
    one, two = pair.subscribes()
    assert one.call_id != two.call_id
    assert one.from_tag != two.from_tag
    assert two.to_tag is None
    assert sub.state == 'active'
    assert len(pair.alice.core.dialogs) == 1
    sub.unsubscribe(world.now)
    pair.idle()


def test_a_notifier_that_ends_it_at_once_each_time_is_asked_less_and_less(pair, world):
    def take(event):
        server = pair.bob.core.incoming_subscription(event.exchange, world.now)
        server.accept(world.now)
        server.terminate(world.now, 'deactivated')

    pair.bob.on['SUBSCRIBE'] = take
    sub = pair.subscribe(resubscribe=True)
    world.run(60)
    assert 3 <= len(pair.subscribes()) <= 8
    world.run(3600)
    assert len(pair.subscribes()) < 40
    if sub.state != 'waiting':
        world.run(2)
    sub.close(world.now)
    pair.idle()


def test_unsubscribing_before_the_first_notify(pair, world):
    """The NOTIFY that comes gets a 481, which ends the notifier's half too."""
    sub = pair.subscribe()
    sub.unsubscribe(world.now)
    assert sub.state == 'terminated'
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: SUBSCRIBE
        bob -> alice: 200 SUBSCRIBE
        bob -> alice: NOTIFY
        alice -> bob: 481 NOTIFY
    """)
    assert pair.error(pair.bob).code == 481
    pair.idle()


def test_unsubscribing_while_a_refresh_is_out(pair, world):
    sub = pair.established()
    sub.refresh(world.now)
    sub.unsubscribe(world.now)
    world.run(1)
    assert [message.expires for message in pair.subscribes()] == [3600, 3600, 0]
    assert isinstance(pair.error(), Unsubscribed)
    pair.idle()


def test_unsubscribing_from_nobody(pair, world):
    sub = pair.established()
    world.rule = lambda source, target, message: True
    sub.unsubscribe(world.now)
    world.run(33)
    assert isinstance(pair.error(), Unsubscribed)
    with pytest.raises(WrongState):
        sub.unsubscribe(world.now)


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


def test_a_fork(pair, world):
    """4.1.4, 4.4.1: each branch that answers is a subscription of its own, with its own dialog."""
    carol = world.party('carol', 5080)
    sub = pair.subscribe(accept_forks=True)
    world.run(0.015)
    request = pair.subscribes()[0]
    world.inject(notify_of(request, 'carol', 5080, cseq=77), ('127.0.0.1', 5080), pair.alice)
    world.run(1)
    forked = pair.alice.last('forked')
    other = forked.exchange
    assert forked.subject is sub or other is sub
    assert {sub.state, other.state} == {'active'}
    assert len(pair.alice.core.dialogs) == 2
    other.refresh(world.now)
    sub.unsubscribe(world.now)
    world.run(1)
    last = [message for _, target, message in world.messages if getattr(message, 'method', '') == 'SUBSCRIBE'][-2:]
    assert {message.uri.port for message in last} == {5070, 5080}
    assert sub.state == 'terminated'
    assert carol


def test_a_fork_that_nobody_wants(pair, world):
    pair.established()
    request = pair.subscribes()[0]
    world.inject(notify_of(request, 'carol', 5080), ('127.0.0.1', 5080), pair.alice)
    assert world.ladder() == ['alice -> 127.0.0.1:5080: 481 NOTIFY']


def test_no_more_forks_after_timer_n(pair, world):
    pair.established(accept_forks=True)
    request = pair.subscribes()[0]
    world.run(33)
    world.lines.clear()
    world.inject(notify_of(request, 'carol', 5080), ('127.0.0.1', 5080), pair.alice)
    assert world.ladder() == ['alice -> 127.0.0.1:5080: 481 NOTIFY']


def test_so_many_forks_and_no_more(pair, world):
    pair.established(accept_forks=True)
    request = pair.subscribes()[0]
    for number in range(100):
        data = notify_of(request, f'c{number}', 5080)
        world.inject(data, ('127.0.0.1', 5080), pair.alice)
    assert len(pair.alice.core.subscriptions) == 1 + pair.alice.core.settings.max_forks


def notify_of(request, name, port, cseq=1, state='active;expires=600', event='presence', to_tag=None):
    return (f'NOTIFY sip:alice@127.0.0.1:5060 SIP/2.0\r\n'
            f'Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{name}{cseq}\r\n'
            f'Max-Forwards: 70\r\nFrom: <sip:{name}@127.0.0.1>;tag=t{name}\r\n'
            f'To: <{request.from_.uri}>;tag={to_tag or request.from_tag}\r\nCall-ID: {request.call_id}\r\n'
            f'CSeq: {cseq} NOTIFY\r\nContact: <sip:{name}@127.0.0.1:{port}>\r\n'
            + (f'Event: {event}\r\n' if event else '')
            + (f'Subscription-State: {state}\r\n' if state else '') + 'Content-Length: 0\r\n\r\n').encode()


# -- hostile


@pytest.mark.parametrize(('options', 'code'), [
    ({'state': ''}, 400), ({'state': ';;;'}, 400), ({'event': ''}, 481), ({'event': 'dialog'}, 481),
    ({'event': 'presence;id=7'}, 481), ({'event': ';'}, 400), ({'to_tag': 'other'}, 481)])
def test_a_first_notify_that_is_none(pair, world, options, code):
    pair.bob.on.clear()
    pair.subscribe()
    world.run(0.1)
    request = pair.subscribes()[0]
    world.lines.clear()
    world.inject(notify_of(request, 'carol', 5080, **options), ('127.0.0.1', 5080), pair.alice)
    assert world.ladder()[0] == f'alice -> 127.0.0.1:5080: {code} NOTIFY'
    assert not pair.alice.core.dialogs
    # The right one is still taken.
    world.inject(notify_of(request, 'carol', 5080, cseq=3), ('127.0.0.1', 5080), pair.alice)
    assert world.ladder()[0] == 'alice -> 127.0.0.1:5080: 200 NOTIFY'


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


def answer(pair, event):
    from greensip.errors import ParseError

    core, now = pair.bob.core, pair.world.now
    try:
        core.incoming_subscription(event.exchange, now).accept(now)
    except ParseError as error:
        core.respond(event.exchange, error.status, now)


def test_requests_in_the_dialog_that_belong_to_no_usage(pair, world):
    pair.established()
    dialog, = pair.alice.core.dialogs.values()
    for method in ('BYE', 'INFO', 'UPDATE'):
        from greensip.dialog.exchange import ClientRequest

        exchange = ClientRequest(pair.alice.core, method, None, dialog.envelope(), dialog=dialog, point=dialog.point)
        exchange.subject = exchange
        exchange.start(world.now)
        world.run(1)
        assert exchange.response.code == 481
    assert pair.server.state == 'active'


def test_usage_errors(pair, world):
    with pytest.raises(UsageError):
        pair.subscribe(expires=-1)
    with pytest.raises(UsageError):
        pair.subscribe(from_='')
    with pytest.raises(UsageError):
        pair.subscribe(headers=[('Via', 'x')])
    sub = pair.subscribe()
    with pytest.raises(WrongState):
        sub.refresh(world.now)
    world.run(1)
    with pytest.raises(UsageError):
        sub.refresh(world.now, 0)
    with pytest.raises(WrongState):
        pair.server.accept(world.now)
    with pytest.raises(WrongState):
        pair.server.reject(world.now, 403)
    sub.unsubscribe(world.now)
    pair.idle()


# -- REFER


TARGET = 'sip:carol@127.0.0.1:5090'


def refer(pair, **options):
    if 'within' not in options:
        options = {'uri': pair.bob.uri, 'from_': pair.alice.uri, **options}
    return pair.alice.core.refer(TARGET, pair.world.now, **options)


def test_a_refer(pair, world):
    """RFC 3515 4.1, outside of calls."""
    pair.accepting = {}
    sub = refer(pair)
    world.run(1)
    assert sub.state == 'active'
    pair.server.notify(world.now, b'SIP/2.0 180 Ringing\r\n', 'message/sipfrag')
    world.run(1)
    pair.server.terminate(world.now, body=b'SIP/2.0 200 OK\r\n', content_type='message/sipfrag')
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: REFER
        bob -> alice: 200 REFER
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    """)
    notifies = pair.notifies()
    assert [status_of(notify.body) for notify in notifies] == [(100, 'Trying'), (180, 'Ringing'), (200, 'OK')]
    assert {notify.get('Event') for notify in notifies} == {'refer'}
    assert notifies[0].get('Subscription-State') == 'active;expires=300'
    assert notifies[-1].get('Subscription-State') == 'terminated;reason=noresource'
    assert pair.error().reason == 'noresource'
    pair.idle()


def test_a_refer_that_is_refused(pair, world):
    pair.verb, pair.accepting = 'reject', {'code': 603}
    refer(pair)
    world.run(1)
    assert pair.error().code == 603
    pair.idle()


def test_a_refer_without_a_subscription(pair, world):
    """RFC 4488."""
    pair.accepting = {'subscription': False}
    refer(pair, subscribe=False)
    world.run(1)
    assert world.ladder() == ['alice -> bob: REFER', 'bob -> alice: 200 REFER']
    assert pair.error().reason == 'norefersub'
    assert world.messages[1][2].get('Refer-Sub') == 'false'
    pair.idle()


def test_a_refer_whose_recipient_insists(pair, world):
    """RFC 4488 4: without Refer-Sub in the 2xx there is a subscription."""
    pair.accepting = {}
    sub = refer(pair, subscribe=False)
    world.run(1)
    assert sub.state == 'active'


def test_who_did_not_ask_for_it_gets_notifies(pair, world):
    pair.accepting = {'subscription': False}
    pair.bob.on.clear()
    refer(pair)
    world.run(0.1)
    server = pair.bob.core.incoming_subscription(pair.bob.last('request').exchange, world.now)
    with pytest.raises(UsageError):
        server.accept(world.now, subscription=False)


def call(pair):
    """A call of alice to bob."""
    world = pair.world
    pair.bob.on['incoming'] = lambda event: event.subject.respond(200, world.now)
    usage = pair.alice.core.invite(pair.bob.uri, world.now, from_=pair.alice.uri)
    world.run(1)
    assert usage.state == 'confirmed'
    world.lines.clear()
    return usage, pair.bob.last('incoming').subject


def test_a_refer_inside_a_call_outlives_it(pair, world):
    """RFC 5057, RFC 6665 4.5.2: the BYE ends the call, not the dialog."""
    pair.accepting = {}
    ours, _ = call(pair)
    sub = refer(pair, within=ours)
    world.run(1)
    assert sub.dialog is ours.dialog
    ours.bye(world.now)
    world.run(1)
    assert pair.alice.core.usages == pair.bob.core.usages == set()
    assert len(pair.alice.core.dialogs) == len(pair.bob.core.dialogs) == 1
    pair.server.terminate(world.now, body=b'SIP/2.0 486 Busy Here\r\n', content_type='message/sipfrag')
    world.run(1)
    assert world.ladder() == lines("""
        alice -> bob: REFER
        bob -> alice: 200 REFER
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
        alice -> bob: BYE
        bob -> alice: 200 BYE
        bob -> alice: NOTIFY
        alice -> bob: 200 NOTIFY
    """)
    assert status_of(pair.notifies()[-1].body) == (486, 'Busy Here')
    cseqs = [notify.cseq.number for notify in pair.notifies()]
    assert cseqs == sorted(set(cseqs))
    pair.idle()


def test_several_refers_in_a_call(pair, world):
    """RFC 3515 2.4.6: from the second on the Event has an id."""
    pair.accepting = {}
    ours, _ = call(pair)
    one = refer(pair, within=ours)
    world.run(1)
    first = pair.server
    two = refer(pair, within=ours)
    world.run(1)
    second = pair.server
    number = two.exchange.envelope.cseq
    assert [notify.get('Event') for notify in pair.notifies()] == ['refer', f'refer;id={number}']
    second.terminate(world.now)
    world.run(1)
    assert (one.state, two.state) == ('active', 'terminated')
    first.terminate(world.now)
    world.run(1)
    assert one.state == 'terminated'
    three = refer(pair, within=ours)
    world.run(1)
    assert 'id=' in pair.notifies()[-1].get('Event')
    three.abandon(world.now)
    ours.bye(world.now)
    world.run(1)
    pair.server.terminate(world.now)
    pair.idle()


def test_a_refer_whose_peer_numbers_the_first_one(pair, world):
    pair.accepting = {}
    ours, _ = call(pair)
    pair.bob.core.subscriptions.sharing_of(next(iter(pair.bob.core.dialogs.values()))).refers = 5
    sub = refer(pair, within=ours)
    world.run(1)
    assert sub.state == 'active'
    sub.unsubscribe(world.now)
    world.run(1)
    assert pair.subscribes()[0].get('Event') == f'refer;id={sub.exchange.envelope.cseq - 1}'
    assert sub.state == 'terminated'


def test_a_subscription_inside_a_call(pair, world):
    pair.accepting = {}
    ours, theirs = call(pair)
    sub = pair.alice.core.subscribe('', 'dialog', world.now, within=ours)
    other = pair.alice.core.subscribe('', 'dialog', world.now, within=ours, event_id='7')
    world.run(1)
    assert (sub.state, other.state) == ('active', 'active')
    assert len(pair.alice.core.dialogs) == 1
    other.unsubscribe(world.now)
    world.run(1)
    assert (sub.state, other.state, ours.state) == ('active', 'terminated', 'confirmed')
    theirs.bye(world.now)
    world.run(1)
    assert sub.state == 'active'
    sub.unsubscribe(world.now)
    world.run(1)
    assert sub.state == 'terminated'
    pair.idle()


def test_a_subscription_that_is_accepted_after_its_call(pair, world):
    """RFC 6665 4.5.2: the dialog lives on for it, so a refresh finds it."""
    pair.bob.on['SUBSCRIBE'] = lambda event: None
    ours, _ = call(pair)
    sub = pair.alice.core.subscribe('', 'dialog', world.now, within=ours)
    world.run(0.1)
    server = pair.bob.core.incoming_subscription(pair.bob.last('request').exchange, world.now)
    ours.bye(world.now)
    world.run(1)
    assert pair.bob.core.usages == set()
    server.accept(world.now)
    world.run(1)
    assert (sub.state, server.state) == ('active', 'active')
    sub.refresh(world.now)
    world.run(1)
    assert (sub.state, server.state) == ('active', 'active')
    sub.unsubscribe(world.now)
    world.run(1)
    assert (sub.state, server.state) == ('terminated', 'terminated')
    pair.idle()


def test_a_call_that_nobody_shares_leaves_nothing(pair, world):
    ours, _ = call(pair)
    ours.bye(world.now)
    pair.idle()


def test_a_refer_in_a_call_that_is_over(pair, world):
    ours, _ = call(pair)
    ours.bye(world.now)
    with pytest.raises(WrongState):
        refer(pair, within=ours)
    world.run(1)
    with pytest.raises(WrongState):
        refer(pair, within=ours)
    pair.idle()


def test_a_notify_that_no_subscription_of_the_call_knows_goes_to_the_call(pair, world):
    ours, theirs = call(pair)
    pair.alice.core.configure(allow=[*pair.alice.core.allow, 'NOTIFY'])
    theirs.send_request('NOTIFY', world.now, headers=[('Event', 'refer'), ('Subscription-State', 'active')])
    world.run(1)
    event = pair.alice.last('request')
    assert (event.subject, event.label) == (ours, 'NOTIFY')


@pytest.mark.parametrize('fields', [[], [('Refer-To', 'a'), ('Refer-To', 'b')], [('Refer-To', '<sip:')],
                                    [('Refer-To', '<sip:a@b>, <sip:c@d>')]])
def test_a_refer_to_nobody_or_to_two(pair, world, fields):
    """RFC 3515 2.4.2."""
    pair.bob.on['REFER'] = lambda event: answer(pair, event)
    pair.alice.core.request('REFER', pair.bob.uri, world.now, from_=pair.alice.uri, headers=fields, contact=None)
    world.run(1)
    assert pair.alice.last('response').code == 400
    pair.idle()


def test_too_many_in_one_dialog(pair, world):
    pair.accepting = {}
    pair.bob.on['SUBSCRIBE'] = lambda event: answer(pair, event)
    ours, _ = call(pair)
    for number in range(40):
        pair.alice.core.subscribe('', 'dialog', world.now, within=ours, event_id=str(number))
    world.run(2)
    assert len(pair.bob.core.subscriptions) == 32
    assert pair.error().code == 403
    assert ours.state == 'confirmed'


@pytest.mark.parametrize(('body', 'status'), [
    (b'SIP/2.0 200 OK\r\n', (200, 'OK')), (b'SIP/2.0 183', (183, '')),
    (b'SIP/2.0 486 Busy Here\r\nTo: x\r\n', (486, 'Busy Here')),
    (b'', None), (b'hello', None), (b'SIP/2.0 xyz', None), (b'SIP/2.0 99 No', None), (b'\xff\xfe', None),
    (b'sip/2.0  200  Fine ', (200, 'Fine'))])
def test_status_of(body, status):
    assert status_of(body) == status


# The subscriber's machine, arrow by arrow: the notifier's lines are written by hand.


class Lone:
    """Alice, and a notifier at 127.0.0.1:7000 that says what the test says."""

    def __init__(self, world):
        self.world = world
        self.alice = world.party('alice', 5060)
        self.cseq = 0

    def subscribe(self, **options):
        return self.alice.core.subscribe('sip:n@127.0.0.1:7000', 'presence', self.world.now,
                                         from_='sip:alice@127.0.0.1', **options)

    def sent(self):
        self.world.flush()
        return [message for source, _, message in self.world.messages if getattr(message, 'method', '') == 'SUBSCRIBE']

    def count(self):
        """How many SUBSCRIBEs went out, without repetitions."""
        return len({message.branch for message in self.sent()})

    def hear(self, data):
        self.world.inject(data, ('127.0.0.1', 7000), self.alice)

    def notify(self, state, first=None):
        self.cseq += 1
        self.hear(notify_of(first or self.sent()[0], 'n', 7000, cseq=self.cseq, state=state))

    def answer(self, code, *fields, request=None):
        request = request or self.sent()[-1]
        head = ''.join(f'{name}: {request.get(name)}\r\n' for name in ('Via', 'From', 'Call-ID', 'CSeq'))
        to = request.get('To') if request.to_tag else request.get('To') + ';tag=tn'
        text = ''.join(f'{field}\r\n' for field in fields)
        self.hear((f'SIP/2.0 {code} X\r\n{head}To: {to}\r\nContact: <sip:n@127.0.0.1:7000>\r\n{text}'
                   'Content-Length: 0\r\n\r\n').encode())

    def error(self):
        self.world.flush()
        return self.alice.last('ended').error


@pytest.fixture
def lone(world):
    return Lone(world)


def begun(lone, state, **options):
    """A subscription that the notifier says is in ``state``."""
    sub = lone.subscribe(**options)
    lone.answer(200, 'Expires: 3600')
    lone.notify(f'{state};expires=3600')
    assert sub.state == state
    return sub


@pytest.mark.parametrize('state', ['active', 'pending'])
@pytest.mark.parametrize(('word', 'after'), [
    ('pending;expires=30', 'pending'), ('active;expires=30', 'active'), ('active', 'active'), ('frozen', 'active'),
    ('ACTIVE;Expires=30', 'active'), ('terminated;reason=rejected', 'terminated'), ('terminated', 'terminated'),
    ('Terminated;Reason=NoResource', 'terminated')])
def test_notifies_in_each_state(lone, world, state, word, after):
    sub = begun(lone, state)
    lone.notify(word)
    assert sub.state == after


@pytest.mark.parametrize('state', ['active', 'pending'])
def test_a_refresh_is_refused(lone, world, state):
    sub = begun(lone, state)
    sub.refresh(world.now)
    lone.answer(481)
    assert (sub.state, lone.error().code) == ('terminated', 481)
    world.run(40)
    assert world.idle()


@pytest.mark.parametrize('state', ['active', 'pending'])
def test_a_refresh_without_a_notify(lone, world, state):
    sub = begun(lone, state)
    sub.refresh(world.now)
    lone.answer(200, 'Expires: 3600')
    world.run(31)
    assert sub.state == state
    world.run(2)
    assert isinstance(lone.error(), TransactionTimeout)
    assert world.idle()


def test_a_refresh_is_put_off(lone, world):
    """RFC 3261 21.5.4: not before Retry-After has passed."""
    sub = begun(lone, 'active')
    sub.refresh(world.now)
    lone.answer(503, 'Retry-After: 2000')
    world.run(1995)
    assert lone.count() == 2
    world.run(10)
    assert lone.count() == 3
    assert sub.state == 'active'


def test_it_runs_out_while_the_notifier_wants_to_be_left_alone(lone, world):
    sub = begun(lone, 'active', resubscribe=True)
    sub.refresh(world.now)
    lone.answer(503, 'Retry-After: 4000 (maintenance)')
    world.run(3605)
    assert (sub.state, lone.count()) == ('waiting', 2)
    world.run(400)
    assert (sub.state, lone.count()) == ('notify_wait', 3)
    lone.answer(503, 'Retry-After: 1800')
    world.run(1795)
    assert (sub.state, lone.count()) == ('waiting', 3)
    world.run(10)
    assert (sub.state, lone.count()) == ('notify_wait', 4)


def test_a_longer_time_than_was_asked_for(lone, world):
    """4.2.1.1: the notifier MUST NOT lengthen it; one that does has to be asked again all the same."""
    lone.subscribe(expires=600)
    lone.answer(200, 'Expires: 86400')
    lone.notify('active')
    world.run(505)
    assert lone.count() == 1
    world.run(10)
    assert lone.count() == 2


def test_a_fetch_is_not_refreshed(lone, world):
    """4.4.3, with a notifier that takes it for a subscription."""
    sub = lone.subscribe(expires=0)
    lone.answer(200, 'Expires: 0')
    lone.notify('active;expires=600')
    world.run(590)
    assert (sub.state, lone.count()) == ('active', 1)
    world.run(20)
    assert sub.state == 'terminated'
    assert isinstance(lone.error(), SubscriptionEnded)


def test_the_last_word_of_a_refer_may_be_late(lone, world):
    """RFC 3515 2.4.7: nobody refreshes what REFER has begun; the recipient says when it is over."""
    sub = lone.alice.core.refer('sip:carol@127.0.0.1', world.now, uri='sip:n@127.0.0.1:7000',
                                from_='sip:alice@127.0.0.1')
    world.flush()
    request = sub.request
    for cseq, state in ((1, 'active;expires=60'), (2, 'terminated;reason=noresource')):
        lone.hear(notify_of(request, 'n', 7000, cseq=cseq, state=state, event='refer'))
        if cseq == 1:
            lone.answer(200, request=request)
            world.run(80)
            assert sub.state == 'active'
    assert lone.error().reason == 'noresource'


def test_a_204_promises_no_notify(lone, world):
    """4.1.2.2: "then it MUST cancel Timer N"."""
    sub = begun(lone, 'active')
    sub.refresh(world.now)
    lone.answer(204, 'Expires: 3600')
    world.run(40)
    assert sub.state == 'active'


@pytest.mark.parametrize('state', ['active', 'pending'])
def test_it_runs_out_at_the_subscriber(lone, world, state):
    """Each refresh fails, but not for good."""
    sub = begun(lone, state, expires=100)
    lone.notify(f'{state};expires=100')
    for _ in range(200):
        world.run(1)
        if sub.over:
            break
        if sub.exchange.response is None:
            lone.answer(500)
    assert isinstance(lone.error(), SubscriptionEnded)
    assert lone.error().reason == 'timeout'
    assert 98 <= world.now - 100 <= 102
    assert len(lone.sent()) < 20
    world.run(40)
    assert world.idle()


@pytest.mark.parametrize('state', ['active', 'pending'])
def test_the_notifier_shortens_it_to_nothing(lone, world, state):
    """4.2.2: "it is perfectly valid"."""
    sub = begun(lone, state)
    lone.notify(f'{state};expires=0')
    world.run(1)
    assert sub.state == 'terminated'
    assert len(lone.sent()) == 1


@pytest.mark.parametrize('word', ['deactivated', 'probation'])
@pytest.mark.parametrize('state', ['notify_wait', 'active', 'pending'])
def test_begun_anew_from_each_state(lone, world, state, word):
    sub = lone.subscribe(resubscribe=True)
    lone.answer(200, 'Expires: 3600')
    if state != 'notify_wait':
        lone.notify(state)
    lone.notify(f'terminated;reason={word}')
    assert sub.state == 'waiting'
    with pytest.raises(WrongState):
        sub.refresh(world.now)
    world.run(61)
    first, second = next(message for message in lone.sent() if message.cseq.number == 1), lone.sent()[-1]
    assert sub.state == 'notify_wait'
    lone.cseq = 0
    lone.notify('active', second)
    assert sub.state == 'active'
    assert first.call_id != second.call_id
    sub.abandon(world.now)
    world.run(40)
    assert world.idle()


def test_given_up_while_waiting(lone, world):
    sub = begun(lone, 'active', resubscribe=True)
    lone.notify('terminated;reason=probation;retry-after=600')
    sub.unsubscribe(world.now)
    assert isinstance(lone.error(), Unsubscribed)
    world.run(700)
    assert len(lone.sent()) == 1
    assert world.idle()


def test_a_late_answer_while_waiting(lone, world):
    """The answer to a refresh that crossed the end."""
    sub = begun(lone, 'active', resubscribe=True)
    sub.refresh(world.now)
    lone.notify('terminated;reason=probation;retry-after=600')
    lone.answer(200, 'Expires: 3600')
    world.run(590)
    assert sub.state == 'waiting'
    sub.close(world.now)
    assert world.idle()


@pytest.mark.parametrize('code', [480, 481, 500, 503])
def test_begun_anew_after_a_refresh_that_failed(lone, world, code):
    """4.1.2.2: who wants to go on sends "an unrelated initial SUBSCRIBE request"; what passes, is waited for."""
    sub = begun(lone, 'active', resubscribe=True)
    sub.refresh(world.now)
    lone.answer(code)
    world.run(0.1)
    if code in (480, 481):
        assert sub.state == 'notify_wait'
        assert lone.sent()[-1].to_tag is None
        lone.answer(503)
        assert sub.state == 'waiting'
        world.run(10)
        lone.answer(403)
        assert lone.error().code == 403
    else:
        assert sub.state == 'active'


def test_not_begun_anew_after_a_refusal(lone, world):
    sub = lone.subscribe(resubscribe=True)
    lone.answer(503)
    assert sub.state == 'terminated'


@pytest.mark.parametrize('state', ['active', 'pending'])
def test_unsubscribing_from_each_state(lone, world, state):
    sub = begun(lone, state)
    sub.unsubscribe(world.now)
    assert sub.state == 'unsubscribing'
    lone.notify('active;expires=500')
    lone.notify('pending')
    assert sub.state == 'unsubscribing'
    lone.answer(200, 'Expires: 0')
    lone.notify('terminated;reason=timeout')
    assert isinstance(lone.error(), Unsubscribed)
    assert lone.error().reason == 'timeout'
    world.run(40)
    assert world.idle()


@pytest.mark.parametrize('code', [481, 500])
def test_unsubscribing_is_refused(lone, world, code):
    sub = begun(lone, 'active')
    sub.unsubscribe(world.now)
    lone.answer(code)
    assert isinstance(lone.error(), Unsubscribed)


def test_unsubscribed_without_a_last_notify(lone, world):
    sub = begun(lone, 'active')
    sub.unsubscribe(world.now)
    lone.answer(200, 'Expires: 0')
    world.run(33)
    assert isinstance(lone.error(), Unsubscribed)
    assert world.idle()


def test_it_runs_out_while_unsubscribing(lone, world):
    sub = begun(lone, 'active')
    lone.notify('active;expires=10')
    world.run(4)
    sub.unsubscribe(world.now)
    world.run(7)
    assert isinstance(lone.error(), Unsubscribed)


@pytest.mark.parametrize('state', ['active', 'pending', 'unsubscribing', 'notify_wait'])
def test_abandoned_in_each_state(lone, world, state):
    if state == 'notify_wait':
        sub = lone.subscribe()
    else:
        sub = begun(lone, 'pending' if state == 'pending' else 'active')
        if state == 'unsubscribing':
            sub.unsubscribe(world.now)
    assert sub.state == state
    sub.abandon(world.now)
    sub.abandon(world.now)
    world.lines.clear()
    lone.notify('active')
    assert world.ladder()[-1] == 'alice -> 127.0.0.1:7000: 481 NOTIFY'
    world.run(40)
    assert world.idle()


def test_a_refused_refresh_before_the_last_subscribe(lone, world):
    """The refresh that is out fails, but not for good: the SUBSCRIBE with Expires 0 goes all the same."""
    sub = begun(lone, 'active')
    sub.refresh(world.now)
    sub.unsubscribe(world.now)
    lone.answer(500)
    assert (sub.state, lone.sent()[-1].expires) == ('unsubscribing', 0)


def test_the_first_subscribe_is_refused_after_its_notify(lone, world):
    """A proxy has forked it: one branch notifies, another one's refusal is the best response."""
    sub = lone.subscribe()
    lone.notify('active;expires=600')
    lone.answer(486)
    assert sub.state == 'active'


def test_a_notify_out_of_order(lone, world):
    """12.2.2."""
    sub = begun(lone, 'active')
    lone.cseq = 10
    lone.notify('active')
    lone.cseq = 4
    world.lines.clear()
    lone.notify('terminated')
    assert world.ladder() == ['alice -> 127.0.0.1:7000: 500 NOTIFY']
    assert sub.state == 'active'


def test_the_route_set_is_that_of_the_notify(lone, world):
    """4.4.1: not that of the 200."""
    sub = lone.subscribe()
    lone.answer(200, 'Expires: 600', 'Record-Route: <sip:127.0.0.1:7100;lr>')
    first = lone.sent()[0]
    data = notify_of(first, 'n', 7000).replace(
        b'Event:', b'Record-Route: <sip:127.0.0.1:7001;lr>\r\nRecord-Route: <sip:127.0.0.1:7002;lr>\r\nEvent:')
    lone.hear(data)
    sub.refresh(world.now)
    world.run(0.1)
    again = lone.sent()[-1]
    assert [str(route) for route in again.routes] == ['<sip:127.0.0.1:7001;lr>', '<sip:127.0.0.1:7002;lr>']
    assert again.uri_text == 'sip:n@127.0.0.1:7000'
    assert world.messages[-1][1] == '127.0.0.1:7001'


def test_a_notifier_that_moves(lone, world):
    """NOTIFY is a target refresh."""
    sub = begun(lone, 'active')
    lone.cseq += 1
    lone.hear(notify_of(lone.sent()[0], 'n', 7000, cseq=lone.cseq).replace(
        b'Contact: <sip:n@127.0.0.1:7000>', b'Contact: <sip:m@127.0.0.1:7777>'))
    sub.refresh(world.now)
    world.run(0.1)
    assert world.messages[-1][1] == '127.0.0.1:7777'


def test_credentials(lone, world):
    """22.2: each SUBSCRIBE of the subscription is answered for."""
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="%d", qop="auth"'
    sub = lone.subscribe(credentials=('alice', 'secret'))
    lone.answer(401, challenge % 1)
    lone.answer(200, 'Expires: 600')
    lone.notify('active;expires=600')
    assert sub.state == 'active'
    sub.refresh(world.now)
    lone.answer(401, challenge % 2)
    lone.answer(200, 'Expires: 600')
    lone.notify('active;expires=600')
    sent = {message.cseq.number: message for message in lone.sent()}
    assert [message.has('Authorization') for message in sent.values()] == [False, True, True, True]
    assert sub.dialog.local_cseq == 4
    sub.abandon(world.now)


def test_timer_n_begins_anew_with_credentials(lone, world):
    sub = lone.subscribe(credentials=('alice', 'secret'))
    world.run(20)
    lone.answer(401, 'WWW-Authenticate: Digest realm="r", nonce="1"')
    lone.answer(200, 'Expires: 600')
    world.run(30)
    assert sub.state == 'notify_wait'
    world.run(3)
    assert isinstance(lone.error(), TransactionTimeout)


@pytest.mark.parametrize('field', ['Expires: soon', 'Refer-Sub: ;', 'Contact: <sip:', 'Min-Expires: x'])
def test_broken_fields_in_a_response(lone, world, field):
    sub = begun(lone, 'active')
    sub.refresh(world.now)
    lone.answer(423 if field.startswith('Min') else 200, field)
    lone.notify('active;expires=600')
    assert sub.state == 'active'
    sub.abandon(world.now)
    world.run(40)
    assert world.idle()


def test_a_storm_of_notifies_leaves_no_timers(lone, world):
    sub = begun(lone, 'active')
    for number in range(2000):
        lone.notify(f'active;expires={3600 - number % 2}')
        world.run(0.1)
    # Those of the transactions end by themselves; 64*T1 is 320 NOTIFYs.
    assert len(lone.alice.core.timers) < 700
    world.run(33)
    assert len(lone.alice.core.timers) <= 2
    assert sub.state == 'active'


# The notifier's machine


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


def test_a_subscription_in_an_early_dialog_that_loses(pair, world):
    """RFC 6665 4.5.2: the other branch was answered, but the dialog of the subscription lives on."""
    core, now = pair.alice.core, world.now
    usage = core.invite('sip:x@127.0.0.1:7000', now, from_=pair.alice.uri)
    world.flush()
    invite = world.messages[-1][2]

    def answer(code, tag):
        head = ''.join(f'{name}: {invite.get(name)}\r\n' for name in ('Via', 'From', 'Call-ID', 'CSeq'))
        world.inject((f'SIP/2.0 {code} X\r\n{head}To: {invite.get("To")};tag={tag}\r\n'
                      'Contact: <sip:x@127.0.0.1:7000>\r\nContent-Length: 0\r\n\r\n').encode(),
                     ('127.0.0.1', 7000), pair.alice)

    answer(180, 'tn')
    sub = core.subscribe('', 'presence', now, within=usage)
    world.flush()
    subscribe = pair.subscribes()[-1]
    world.inject(notify_of(subscribe, 'n', 7000), ('127.0.0.1', 7000), pair.alice)
    assert sub.state == 'active'
    answer(200, 'other')
    assert len(core.dialogs) == 2
    world.inject(notify_of(subscribe, 'n', 7000, cseq=2, state='terminated'), ('127.0.0.1', 7000), pair.alice)
    assert sub.state == 'terminated'
    assert len(core.dialogs) == 1
    assert not core.subscriptions.sharing


def test_every_arrow_was_walked(request, walked):
    """Kept last: together the stories above go along each row."""
    here = [item for item in request.session.items if item.path == request.path]
    if len({item.originalname for item in here}) < request.path.read_text().count('\ndef test_'):
        pytest.skip('only some of the stories were run')
    for machine in (ClientSubscription, ServerSubscription):
        missing = [row[:3] for row in machine.rows if (machine.__name__, row.state, row.event) not in walked]
        assert not missing, '\n'.join(map(str, missing))
