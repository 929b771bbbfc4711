"""The subscriber's half of a subscription: RFC 6665 4.1, as ladders, and its machine arrow by arrow."""

from __future__ import annotations

import pytest

from greensip.dialog import ClientSubscription
from greensip.errors import (
    ResponseError,
    SubscriptionEnded,
    TransactionTimeout,
    Unsubscribed,
    UsageError,
    WrongState,
)

from .conftest import lines, never_walked
from .subscribing import DOC, PIDF, Lone, Pair, begun

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def pair(world):
    return Pair(world)


@pytest.fixture
def lone(world):
    return Lone(world)


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


class Refusing:
    def __init__(self, core, code):
        self.core = core
        self.code = code

    def on_request(self, transaction, request, now):
        self.core.layer.respond(transaction, self.core.make_response(request, self.code), now)


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


def test_a_first_notify_that_is_the_last(lone, world):
    """4.4.3: the answer to a fetch."""
    sub = lone.subscribe(expires=0)
    lone.answer(200, 'Expires: 0')
    lone.notify('terminated;reason=timeout')
    assert sub.state == 'terminated'
    assert lone.error().reason == 'timeout'


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


def test_every_arrow_was_walked(request, walked):
    """Kept last: together the stories above go along each row."""
    assert never_walked(request, walked, ClientSubscription, wanted=lambda row: row.event != 'no subscription') == []
