"""The implicit subscription of REFER (RFC 3515), in and out of calls, as ladders."""

from __future__ import annotations

import pytest

from greensip.dialog import ClientSubscription, status_of
from greensip.errors import (
    UsageError,
    WrongState,
)

from .conftest import lines, never_walked
from .subscribing import Pair, answer, call, refer

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def pair(world):
    return Pair(world)


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


def test_a_refer_in_a_call_that_is_over(pair, world):
    ours, _ = call(pair)
    ours.bye(world.now)
    with pytest.raises(WrongState):
        refer(pair, within=ours)
    world.run(1)
    with pytest.raises(WrongState):
        refer(pair, within=ours)
    pair.idle()


@pytest.mark.parametrize('fields', [[], [('Refer-To', 'a'), ('Refer-To', 'b')], [('Refer-To', '<sip:')],
                                    [('Refer-To', '<sip:a@b>, <sip:c@d>')]])
def test_a_refer_to_nobody_or_to_two(pair, world, fields):
    """RFC 3515 2.4.2."""
    pair.bob.on['REFER'] = lambda event: answer(pair, event)
    pair.alice.core.request('REFER', pair.bob.uri, world.now, from_=pair.alice.uri, headers=fields, contact=None)
    world.run(1)
    assert pair.alice.last('response').code == 400
    pair.idle()


def test_every_arrow_was_walked(request, walked):
    """Kept last: together the stories above go along each row that RFC 4488 adds."""
    assert never_walked(request, walked, ClientSubscription, wanted=lambda row: row.event == 'no subscription') == []
