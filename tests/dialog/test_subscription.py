"""Subscriptions that share a dialog with a call, and with one another: RFC 6665 4.5.2, RFC 5057."""

from __future__ import annotations

import pytest

from greensip.dialog import status_of

from .subscribing import Pair, answer, call, notify_of


@pytest.fixture
def pair(world):
    return Pair(world)


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


def test_a_notify_that_no_subscription_of_the_call_knows_goes_to_the_call(pair, world):
    ours, theirs = call(pair)
    pair.alice.core.configure(allow=[*pair.alice.core.allow, 'NOTIFY'])
    theirs.send_request('NOTIFY', world.now, headers=[('Event', 'refer'), ('Subscription-State', 'active')])
    world.run(1)
    event = pair.alice.last('request')
    assert (event.subject, event.label) == (ours, 'NOTIFY')


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
