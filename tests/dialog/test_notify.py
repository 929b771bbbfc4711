"""NOTIFY as the subscriber takes it: RFC 6665 4.1.3, 4.4.1, and those of the branches of a fork."""

from __future__ import annotations

import pytest

from .subscribing import DOC, PIDF, Lone, Pair, begun, notify_of


@pytest.fixture
def pair(world):
    return Pair(world)


@pytest.fixture
def lone(world):
    return Lone(world)


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


def test_a_notify_after_timer_n_gets_481(pair, world):
    world.rule = lambda source, target, message: getattr(message, 'method', '') == 'NOTIFY'
    pair.subscribe()
    world.run(32.2)
    world.rule = lambda source, target, message: False
    pair.server.notify(world.now, DOC, PIDF) if pair.server.state == 'active' else None
    world.run(5)
    pair.idle()


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
