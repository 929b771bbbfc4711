"""Subscriptions between user agents on the network in memory: scripts on both sides."""

from __future__ import annotations

import gc

import gevent
import pytest

from greensip import (
    Flow,
    Forbidden,
    IncomingSubscription,
    LocalHangup,
    Mailbox,
    Notifier,
    ResponseError,
    SubscriptionEnded,
    TransactionTimeout,
    UnexpectedMessage,
    Unsubscribed,
    UsageError,
    WaitTimeout,
    WrongState,
    deadline,
    wait_any,
)
from greensip.dialog import ClientSubscription, Dialog, ServerSubscription
from greensip.testing import Network
from greensip.transaction.flow import Point

from .conftest import SDP, answering
from .peer import RawPeer

MWI = 'application/simple-message-summary'
YES = b'Messages-Waiting: yes\r\n'
NO = b'Messages-Waiting: no\r\n'


@pytest.fixture
def watchers(bob):
    """Bob's notifier: the list fills with the subscriptions that he has accepted."""
    taken = []

    def take(watcher):
        taken.append(watcher)
        watcher.accept(YES, MWI)

    bob.events('message-summary', take)
    return taken


def test_the_script_of_the_api(net, alice, to_bob, watchers):
    texts = []
    with alice.subscribe(to_bob, 'message-summary') as events:
        for notify in events:
            texts.append(notify.text)
            if len(texts) == 1:
                watchers[0].notify(NO)
            else:
                break
    assert texts == [YES.decode(), NO.decode()]
    net.run(1)
    assert isinstance(events.error, Unsubscribed)
    assert watchers[0].ended
    subscribe = watchers[0].request
    assert subscribe.get('Accept') == MWI
    assert str(watchers[0].resource) == to_bob
    assert watchers[0].accepts == (MWI,)


def test_a_notification(alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary', expires=600) as events:
        assert events.wait_for('200').message.expires == 600
        notify = events.next(timeout=5)
        assert (notify.state, notify.expires, notify.reason) == ('active', 600, None)
        assert (notify.body, notify.content_type, notify.package) == (YES, MWI, 'message-summary')
        assert events.latest is notify
        assert events.wait_for('active').leg is events
        assert events.state == watchers[0].state == 'active'
        assert 598 <= events.expires <= 600


def test_waiting_for_what_does_not_come(alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary') as events:
        events.next()
        with pytest.raises(WaitTimeout, match=r'no NOTIFY within 3 s from sip:bob@.*seen .*NOTIFY'):
            events.wait_for('NOTIFY', timeout=3)


def test_the_loop_ends_with_the_subscription(net, alice, to_bob, watchers):
    seen = []
    with alice.subscribe(to_bob, 'message-summary', resubscribe=False) as events:
        for notify in events:
            seen.append((notify.state, notify.reason))
            if len(seen) == 1:
                watchers[0].terminate('noresource')
    assert seen == [('active', None), ('terminated', 'noresource')]
    assert isinstance(events.error, SubscriptionEnded)
    assert events.error.reason == 'noresource'


def test_a_loop_that_somebody_else_ends(net, alice, to_bob, watchers):
    events = alice.subscribe(to_bob, 'message-summary')
    loop = gevent.spawn(lambda: [notify.state for notify in events])
    net.run(1)
    events.close()
    net.run(1)
    assert loop.get(block=False) == ['active']


def test_a_wait_that_somebody_else_ends(net, alice, to_bob, watchers):
    events = alice.subscribe(to_bob, 'message-summary')
    events.next()
    wait = gevent.spawn(events.wait_for, 'NOTIFY')
    net.run(1)
    events.close()
    net.run(1)
    assert isinstance(wait.exception, LocalHangup)


def test_an_unknown_package(alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'presence') as events, pytest.raises(ResponseError) as caught:
        for _ in events:
            pytest.fail('there is nothing to tell')
    assert caught.value.code == 489
    assert caught.value.response.get('Allow-Events') == 'message-summary'


def test_nobody_is_a_notifier(alice, to_bob, bob):
    with alice.subscribe(to_bob, 'presence') as events, pytest.raises(ResponseError) as caught:
        events.next()
    assert caught.value.code == 405


def test_nobody_answers(net, alice):
    with alice.subscribe('sip:carol@10.9.9.9', 'presence') as events, pytest.raises(TransactionTimeout):
        events.next()


def test_unsubscribing_gives_the_last_notify(alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary') as events:
        events.next()
        last = events.unsubscribe()
    assert (last.state, last.reason, last.body) == ('terminated', 'timeout', YES)
    with pytest.raises(Unsubscribed):
        events.refresh()


def test_fetching_once(alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary', expires=0) as events:
        notify = events.next()
        assert (notify.state, notify.body) == ('terminated', YES)
    assert watchers[0].wanted == 0


def test_a_day_goes_by(net, alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary', expires=3600) as events:
        events.next()
        net.run(86400)
        assert events.state == watchers[0].state == 'active'
    assert len(watchers) == 1


def test_a_refresh_is_seen_by_the_notifier(alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary') as events:
        events.next()
        watcher = alice and watchers[0]
        # The handler has returned: only what somebody waits for is kept.
        wait = gevent.spawn(watcher.wait_for, 'SUBSCRIBE', timeout=5)
        gevent.sleep(0)
        events.refresh(1800)
        assert wait.get().message.expires == 1800
        assert watcher.expires <= 1800


def test_pending(net, alice, bob, to_bob):
    asked = []

    def ask(watcher):
        watcher.pend()
        asked.append(watcher)

    bob.events('presence', ask)
    with alice.subscribe(to_bob, 'presence') as events:
        assert events.wait_for('pending', 'active').label == 'pending'
        asked[0].activate('<presence/>', 'application/pdf+xml')
        assert events.wait_for('active', timeout=5)
        assert events.latest.body == b'<presence/>'
    with pytest.raises(WrongState):
        asked[0].activate()


def test_a_refusal_by_return(alice, bob, to_bob):
    bob.events('presence', lambda watcher: 403)
    with alice.subscribe(to_bob, 'presence') as events, pytest.raises(ResponseError) as caught:
        events.next()
    assert caught.value.code == 403


def test_a_handler_that_does_nothing_has_accepted(alice, bob, to_bob):
    bob.events('presence', lambda watcher: None)
    with alice.subscribe(to_bob, 'presence') as events:
        assert events.next().body == b''


def test_a_handler_that_fails(alice, bob, to_bob, caplog):
    def fail(watcher):
        raise RuntimeError('oops')

    bob.events('presence', fail)
    with alice.subscribe(to_bob, 'presence') as events, pytest.raises(ResponseError) as caught:
        events.next()
    assert caught.value.code == 500
    assert 'oops' in caplog.text


def test_a_handler_that_fails_later(alice, bob, to_bob, caplog):
    def fail(watcher):
        watcher.accept()
        raise RuntimeError('oops')

    bob.events('presence', fail)
    with alice.subscribe(to_bob, 'presence', resubscribe=False) as events:
        assert [notify.state for notify in events] == ['active', 'terminated']


def test_a_handler_at_work(net, alice, bob, to_bob):
    """One greenlet tells the story of one subscriber."""
    def count(watcher):
        watcher.accept('0', 'text/plain')
        for number in range(1, 4):
            watcher.wait_for('2xx')
            watcher.notify(str(number))
        watcher.wait_for('200')
        watcher.terminate('noresource')

    bob.events('presence', count)
    with alice.subscribe(to_bob, 'presence', resubscribe=False) as events:
        assert [notify.text for notify in events] == ['0', '1', '2', '3', '3']


def test_answering_notifies_by_hand(net, alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary', manual=('NOTIFY',)) as events:
        notify = events.next()
        events.respond(notify, 200)
        with pytest.raises(WrongState):
            events.respond(notify, 200)
        watchers[0].notify(NO)
        notify = events.next()
        events.respond(notify, 481)
        net.run(1)
        assert watchers[0].ended


def test_several_at_once(net, alice, bob, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary') as one, alice.subscribe(to_bob, 'message-summary') as two:
        one.next()
        two.next()
        watchers[1].notify(NO)
        event = wait_any(one.on('NOTIFY'), two.on('NOTIFY'), timeout=5)
        assert event.leg is two
        assert event.body == NO


def test_raw_subscriptions(net, alice, bob, to_bob):
    """``handle('SUBSCRIBE')`` sees what no package's handler has taken."""
    taken = []

    def take(incoming):
        watcher = incoming.subscription()
        assert isinstance(watcher, IncomingSubscription)
        watcher.accept('hello', 'text/plain')
        taken.append(watcher)

    bob.handle('SUBSCRIBE', take)
    with alice.subscribe(to_bob, 'foo', accept=['text/plain']) as events:
        assert events.next().text == 'hello'
    assert taken[0].package == 'foo'


def test_an_unsolicited_notify(alice, bob, to_bob):
    """As old PBXs send them for waiting messages."""
    seen = []
    bob.handle('NOTIFY', lambda incoming: seen.append(incoming.request.body))
    alice.request('NOTIFY', to_bob, body=YES, content_type=MWI, headers={'Event': 'message-summary'})
    assert seen == [YES]


def test_closing_unsubscribes(net, agent, to_bob, watchers):
    carol = agent('carol')
    carol.subscribe(to_bob, 'message-summary').next()
    carol.close()
    net.run(1)
    assert watchers[0].ended
    assert carol.core.counts()['subscriptions'] == 0


def test_closing_ends_those_of_others(net, agent, alice):
    dave = agent('dave')
    dave.events('presence', lambda watcher: None)
    with alice.subscribe(net.uri('dave'), 'presence', resubscribe=False) as events:
        events.next()
        dave.close()
        assert events.next().reason == 'deactivated'


def test_closing_when_nobody_is_there_any_more(net, agent, alice, bob, to_bob, watchers):
    carol = agent('carol')
    carol.subscribe(to_bob, 'message-summary').next()
    net.loss = 1.0
    started = carol.clock.now()
    carol.close()
    assert carol.clock.now() - started < 3
    net.loss = 0.0
    watchers[0].close()
    net.run(40)


def test_the_script_answers_refreshes(net, alice, bob, to_bob):
    """As with documents that tell only what has changed."""
    def take(watcher):
        watcher.accept('full 0', 'text/plain', repeats=False)
        watcher.wait_for('200')
        watcher.notify('partial 1')
        watcher.wait_for('SUBSCRIBE')
        watcher.notify('full 1')
        watcher.wait_ended()

    bob.events('presence', take)
    with alice.subscribe(to_bob, 'presence') as events:
        assert [events.next().text, events.next().text] == ['full 0', 'partial 1']
        events.refresh()
        assert events.next(timeout=5).text == 'full 1'


def test_nobody_subscribes_to_what_no_refer_has_begun(alice, bob, to_bob, watchers):
    """RFC 3515 2.4.4."""
    with alice.subscribe(to_bob, 'refer') as events, pytest.raises(Forbidden):
        events.next()


def test_a_notifier_that_was_restarted(net, agent, alice):
    """It knows nothing of the subscription: 481 to the refresh, and the next one is begun anew."""
    dave = agent('dave')
    first = Notifier('presence')
    dave.events('presence', first)
    first.publish('dave', 'before')
    with alice.subscribe(net.uri('dave'), 'presence', expires=600) as events:
        assert events.next().text == 'before'
        net.run(1)
        net.loss = 1.0
        dave.close()
        net.loss = 0.0
        dave = agent('dave')
        second = Notifier('presence')
        dave.events('presence', second)
        second.publish('dave', 'after')
        assert events.next(timeout=600).text == 'after'
        assert (events.state, second.count) == ('active', 1)


def test_a_notifier_that_is_away_for_an_hour(net, agent, alice):
    dave = agent('dave')
    dave.events('presence', lambda watcher: None)
    with alice.subscribe(net.uri('dave'), 'presence', expires=600) as events:
        events.next()
        net.run(1)
        net.loss = 1.0
        dave.close()
        net.run(3600)
        assert not events.ended
        net.loss = 0.0
        dave = agent('dave')
        dave.events('presence', lambda watcher: None)
        assert events.next(timeout=400)
        assert events.state == 'active'


def test_the_flow_that_it_took_is_gone(net, agent, alice):
    """Whoever asked to be reached on his flow may be reached by his URI."""
    flows = []
    alice.handle('REGISTER', lambda incoming: flows.append(incoming.flow))
    dave = agent('dave')
    dave.events('presence', lambda watcher: None)
    dave.request('REGISTER', net.uri('alice'))
    with alice.subscribe(net.uri('dave'), 'presence', flow=flows[0]) as events:
        events.next()
        events.subscription.destination.flow = Flow(Point('TCP', ('10.9.9.9', 9)), ('10.9.9.9', 9))
        for watcher in list(dave.core.subscriptions.living):
            watcher.terminate(net.clock.now(), 'deactivated')
        dave.endpoint.flush()
        assert events.wait_for(lambda event: getattr(event, 'state', '') == 'terminated', timeout=5)
        assert events.wait_for('active', timeout=60)


def test_no_more_than_so_many(net, alice, to_bob, watchers, monkeypatch):
    monkeypatch.setattr('greensip.ua.incoming_subscription.MOST', 2)
    events = [alice.subscribe(to_bob, 'message-summary') for _ in range(2)]
    net.run(1)
    with alice.subscribe(to_bob, 'message-summary') as third, pytest.raises(ResponseError) as caught:
        third.next()
    assert caught.value.code == 503
    for one in events:
        one.close()


# -- as with legs


def test_a_strict_script(net, alice, to_bob, watchers):
    """SIPp in Python: each message is asked for."""
    with alice.subscribe(to_bob, 'message-summary', strict=True) as events:
        events.wait_for('200')
        events.wait_for('NOTIFY')
        watchers[0].notify(NO)
        with pytest.raises(UnexpectedMessage, match='NOTIFY from'):
            events.wait_for('401', timeout=1)


def test_deadlines(alice, to_bob, watchers):
    with alice.subscribe(to_bob, 'message-summary') as events, pytest.raises(WaitTimeout, match='deadline of 3 s'), \
            deadline(3):
        for notify in events:
            assert notify.body == YES


def test_a_script_that_is_killed_unsubscribes(net, alice, to_bob, watchers):
    def script():
        with alice.subscribe(to_bob, 'message-summary') as events:
            for notify in events:
                assert notify.body == YES

    task = gevent.spawn(script)
    net.run(1)
    assert watchers[0].state == 'active'
    task.kill()
    net.run(1)
    assert watchers[0].ended


def test_a_script_that_fails_unsubscribes(net, alice, to_bob, watchers):
    with pytest.raises(RuntimeError), alice.subscribe(to_bob, 'message-summary') as events:
        events.next()
        raise RuntimeError
    net.run(1)
    assert watchers[0].ended


def test_at_the_side_of_a_subscription(net, alice, to_bob, watchers):
    """``spawn`` as legs have it."""
    texts = []

    def read(events):
        for notify in events:
            texts.append(notify.text)

    with alice.subscribe(to_bob, 'message-summary') as events:
        events.spawn(read)
        net.run(1)
        watchers[0].notify(NO)
        net.run(1)
    assert texts == [YES.decode(), NO.decode()]
    net.run(1)


def test_a_subscription_and_a_call_waited_for_together(net, alice, bob, to_bob, watchers):
    bob.serve(answering, background=True)
    with alice.subscribe(to_bob, 'message-summary') as events, alice.call(to_bob, sdp=SDP) as leg:
        events.next()
        watchers[0].notify(NO)
        assert wait_any(leg.on('BYE'), events.on('NOTIFY'), timeout=5).body == NO


# -- inside calls


def test_inside_a_call(net, alice, bob, to_bob, watchers):
    bob.serve(answering, background=True)
    alice.handle('NOTIFY', lambda incoming: 481)
    with alice.call(to_bob, sdp=SDP) as leg:
        events = leg.subscribe('message-summary')
        assert events.next(timeout=5).body == YES
        assert events.call_id == leg.call_id
        leg.hangup()
        leg.wait_ended()
        watchers[0].notify(NO)
        assert events.next(timeout=5).body == NO
        events.close()
    net.run(1)
    assert alice.core.counts()['dialogs'] == bob.core.counts()['dialogs'] == 0


@pytest.mark.parametrize(('event', 'code'), [('presence', 489), ('refer', 403), (';', 400)])
def test_a_subscribe_in_a_call_of_somebody_without_packages(net, agent, alice, event, code):
    carol = agent('carol', allow=('SUBSCRIBE',))
    carol.serve(answering, background=True)
    with alice.call(net.uri('carol'), sdp=SDP) as leg:
        with pytest.raises(ResponseError) as caught:
            leg.request('SUBSCRIBE', headers={'Event': event})
        assert caught.value.code == code
        assert leg.state == 'confirmed'


def test_a_notify_in_a_call_that_nobody_asked_for(net, agent, alice):
    carol = agent('carol', allow=('NOTIFY',))
    carol.serve(answering, background=True)
    with alice.call(net.uri('carol'), sdp=SDP) as leg, pytest.raises(ResponseError) as caught:
        leg.notify('keep-alive')
    assert caught.value.code == 481


def test_a_notify_in_a_call_that_the_script_takes(net, agent, alice):
    carol = agent('carol', allow=('NOTIFY',), manual=('NOTIFY',))
    events = []

    def take(leg):
        leg.answer()
        event = leg.wait_for('NOTIFY')
        events.append(event.message.get('Event'))
        leg.respond(event, 200)
        leg.wait_ended()

    carol.serve(take, background=True)
    with alice.call(net.uri('carol'), sdp=SDP) as leg:
        assert leg.notify('check-sync', b'x', 'text/plain').code == 200
    assert events == ['check-sync']


def test_usage_errors(alice, to_bob, watchers):
    with pytest.raises(UsageError):
        alice.subscribe(to_bob, 'presence', forks='some')
    with pytest.raises(UsageError):
        alice.subscribe(to_bob, 'presence;id=7')
    with pytest.raises(UsageError):
        alice.subscribe(to_bob, 'presence', headers={'Via': 'x'})
    with pytest.raises(UsageError):
        alice.subscribe(to_bob, 'presence', expires=-1)
    alice.close()
    with pytest.raises(WrongState):
        alice.subscribe(to_bob, 'presence')


def test_on_the_device_of_a_call_that_has_a_gruu(net, alice, bob, to_bob, watchers):
    """RFC 6665 4.5.1, 4.5.2: a dialog whose target is a GRUU is not shared."""
    def answer(leg):
        leg.usage.respond(200, bob.clock.now(), contact=f'<{to_bob};gr=1>', body=SDP)
        bob.endpoint.flush()
        leg.wait_ended()

    bob.serve(answer, background=True)
    with alice.call(to_bob, sdp=SDP) as leg:
        with leg.subscribe('message-summary') as events:
            assert events.next(timeout=5).body == YES
            assert events.call_id != leg.call_id
            request = watchers[0].request
            assert str(request.uri) == f'{to_bob};gr=1'
            value = request.get('Target-Dialog')
            assert value.startswith(leg.call_id)
        leg.hangup()
        leg.wait_ended()


def test_nothing_is_left_to_the_collector(net, alice, bob, to_bob):
    """What is over is freed at once, on both sides."""
    bob.events('presence', Notifier('presence'))

    def once():
        with alice.subscribe(to_bob, 'presence') as events:
            events.next()
            events.unsubscribe()

    def left():
        return sum(isinstance(thing, (ClientSubscription, ServerSubscription, Dialog, Mailbox))
                   for thing in gc.get_objects())

    once()
    net.run(40)
    gc.collect()
    before = left()
    gc.disable()
    try:
        for _ in range(20):
            once()
        net.run(40)
        assert left() <= before + 2
    finally:
        gc.enable()


@pytest.mark.parametrize('seed', range(6))
def test_a_network_that_loses_a_third(seed):
    """Each loss is made good by somebody: what is true in the end is known in the end, and nothing is left."""
    with Network(seed=seed, delay=0.02, jitter=0.05, loss=0.33, duplicate=0.1) as net:
        bob = net.user_agent('bob', watchdog=None)
        presence = Notifier('presence')
        bob.events('presence', presence)
        watchers = [net.user_agent(name, watchdog=None) for name in ('w1', 'w2', 'w3')]
        everybody = [ua.subscribe(net.uri('bob'), 'presence', expires=120) for ua in watchers]
        for number in range(10):
            presence.publish('bob', f'{number}')
            net.run(7)
        # Whoever was not heard of for too long has begun anew by now, or does so when his refresh is due.
        net.run(300)
        presence.publish('bob', 'last')
        net.run(60)
        assert [events.latest.text for events in everybody] == ['last'] * 3
        for events in everybody:
            events.close()
        net.run(100)
        for ua in (bob, *watchers):
            assert not any(ua.core.counts().values()), ua.core.counts()
        assert presence.count == 0


@pytest.mark.parametrize('closed_first', [False, True])
def test_a_fork_that_nobody_looked_at_ends_with_its_parent(net, alice, closed_first):
    """RFC 6665 4.1.4: it is a subscription of its own, but one that nobody else could end."""
    raw = RawPeer(net, 'raw')
    try:
        events = alice.subscribe(net.uri('raw'), 'presence', forks='all', resubscribe=False)
        asked = raw.expect('SUBSCRIBE')
        raw.respond(asked, 200, Expires='60')

        def notify(tag):
            raw.send(raw.request('NOTIFY', 'alice', branch=f'z9hG4bK{tag}', from_tag=tag, to_tag=asked.from_tag,
                                 call_id=asked.call_id, Event='presence',
                                 Subscription_State='active;expires=60'))
            net.run(1)

        notify('raw')
        if not closed_first:
            notify('other')
            assert len(alice.core.subscriptions) == 2
        events.close()
        if closed_first:
            notify('other')
        ending = {}
        while len(ending) < 2:
            request = raw.expect('SUBSCRIBE')
            ending[request.to_tag] = request.get('Expires')
            raw.respond(request, 200, Expires='0')
        assert ending == {'raw': '0', 'other': '0'}
        net.run(70)
        assert len(alice.core.subscriptions) == 0
    finally:
        raw.close()
