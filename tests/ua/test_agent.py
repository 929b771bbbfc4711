"""The user agent: calls that come in, handlers that fail, requests outside of calls, the end."""

from __future__ import annotations

import logging

import gevent
import pytest

from greensip.errors import (
    Busy,
    Forbidden,
    LocalHangup,
    RemoteHangup,
    ResponseError,
    ServerFailure,
    TooBrief,
    TransactionTimeout,
    TransportError,
    Unavailable,
    UsageError,
    WaitTimeout,
    WrongState,
)
from greensip.ua import agent as module
from greensip.ua import reception
from greensip.ua.agent import UserAgent
from greensip.ua.deadline import deadline
from greensip.ua.mailbox import Notice

from .conftest import SDP, answering

# -- accept

@pytest.mark.parametrize(('places', 'listen', 'heard'), [
    ((), (), ['UDP']),
    ((), 'tcp:127.0.0.1:0', ['TCP']),
    ((), ['udp:127.0.0.1:0', 'tcp:[::1]:0'], ['UDP', 'TCP']),
    (('tcp:127.0.0.1:0',), ['udp:127.0.0.1:0'], ['TCP', 'UDP']),
])
def test_places_are_given_singly_or_as_a_list(places, listen, heard):
    with UserAgent(*places, listen=listen) as ua:
        assert [point.transport for point in ua.points] == heard


def test_accept_returns_the_calls_in_order(alice, bob, net, to_bob):
    first, second = alice.invite(to_bob), alice.invite(to_bob)
    legs = [bob.accept(timeout=5), bob.accept(timeout=5)]
    assert [leg.call_id for leg in legs] == [first.call_id, second.call_id]
    for leg in legs:
        leg.answer()
    first.wait_for('200')
    second.wait_for('200')


def test_accept_time_out(bob):
    with pytest.raises(WaitTimeout, match='no call within 5 s from anybody'):
        bob.accept(timeout=5)
    with deadline(3), pytest.raises(WaitTimeout, match='deadline of 3 s'):
        bob.accept()


def test_accept_passes_over_calls_that_were_cancelled_meanwhile(alice, bob, net, to_bob):
    with alice.invite(to_bob):
        net.clock.sleep(1)
    net.clock.sleep(1)
    with alice.invite(to_bob, headers={'Subject': 'second'}):
        assert bob.accept().headers['Subject'] == 'second'


def test_an_accepted_leg_spawns_its_handler(alice, bob, net, to_bob):
    leg = alice.invite(to_bob)
    task = bob.accept().spawn(lambda leg: (leg.answer(), net.clock.sleep(3)))
    leg.wait_for('200')
    assert leg.wait_for('BYE').time == pytest.approx(net.clock.now()) and net.clock.now() > 3
    assert task.dead


def test_calls_that_nobody_accepts_are_refused(alice, bob, net, to_bob, monkeypatch):
    monkeypatch.setattr(reception, 'BACKLOG', 2)
    with alice.invite(to_bob) as first, alice.invite(to_bob), alice.invite(to_bob) as third:
        with pytest.raises(Unavailable):
            third.wait_for('200')
        assert net.clock.now() < 1
        with pytest.raises(Unavailable):
            first.wait_for('200')
        assert 30 <= net.clock.now() < 31


def test_an_accepted_call_is_not_refused_later(alice, bob, net, to_bob):
    with alice.invite(to_bob) as leg:
        accepted = bob.accept()
        net.clock.sleep(60)
        accepted.answer()
        leg.wait_for('200')


# -- serve

def test_serve_takes_over_what_waits_for_accept(alice, bob, net, to_bob):
    leg = alice.invite(to_bob)
    net.clock.sleep(1)
    bob.serve(answering, background=True)
    leg.wait_for('200')


def test_serve_blocks_until_closed(alice, bob, to_bob):
    serving = gevent.spawn(bob.serve, answering)
    leg = alice.call(to_bob)
    assert not serving.dead
    bob.close()
    serving.get()
    assert isinstance(leg.wait_ended().error, RemoteHangup)


def test_a_deadline_holds_for_serve_too(alice, bob, net, to_bob):
    def script():
        with deadline(5, clock=net.clock), pytest.raises(
                WaitTimeout, match=r'^no close\(\) of the user agent before the deadline of 5 s'):
            bob.serve(answering)
        return net.clock.now()

    started = net.clock.now()
    serving = gevent.spawn(script)
    net.run(6)
    assert serving.get(timeout=1) == started + 5
    # The handler is still there: only the wait is over.
    with alice.call(to_bob, timeout=5):
        pass


@pytest.mark.parametrize('handler', [None, 5, 'handler'])
def test_what_is_no_handler_is_refused_at_once(bob, handler):
    for take in (lambda: bob.serve(handler), lambda: bob.handle('MESSAGE', handler)):
        with pytest.raises(UsageError, match='cannot handle'):
            take()
    bob.serve(answering, background=True)


def test_one_handler_at_a_time(bob):
    bob.serve(answering, background=True)
    with pytest.raises(WrongState):
        bob.serve(answering)
    with pytest.raises(WrongState):
        bob.accept()


def test_the_end_of_the_handler_is_the_end_of_the_call(alice, bob, to_bob):
    bob.serve(lambda leg: leg.answer(), background=True)
    with alice.call(to_bob) as leg:
        assert leg.wait_for('BYE').label == 'BYE'
    bob.reception.handler = lambda leg: None
    with pytest.raises(Unavailable):
        alice.call(to_bob)


@pytest.mark.parametrize(('raised', 'error', 'code'), [
    (KeyError('oops'), ServerFailure, 500),
    (WaitTimeout('no answer'), ResponseError, 408),
    (TransportError('down'), Unavailable, 503),
    (Busy(486, 'Busy'), Busy, 486),
    (UsageError('wrong'), ServerFailure, 500),
    (LocalHangup(), ResponseError, 487),
])
def test_a_handler_that_raises(alice, bob, to_bob, caplog, raised, error, code):
    def handler(leg):
        leg.ring()
        raise raised

    bob.serve(handler, background=True)
    with pytest.raises(error) as caught:
        alice.call(to_bob)
    assert caught.value.code == code
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == (0 if isinstance(raised, LocalHangup) else 1)
    # And the next call is served.
    bob.reception.handler = answering
    alice.call(to_bob).close()


def test_a_handler_that_raises_inside_the_call_hangs_up(alice, bob, to_bob, caplog):
    bob.serve(lambda leg: (leg.answer(), 1 / 0), background=True)
    with alice.call(to_bob) as leg:
        leg.wait_for('BYE')
    assert 'ZeroDivisionError' in caplog.text


def test_the_callers_hanging_up_is_no_failure_of_the_handler(alice, bob, net, to_bob, caplog):
    bob.serve(lambda leg: (leg.answer(), leg.wait_for('INFO')), background=True)
    alice.call(to_bob).hangup()
    net.clock.sleep(1)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_killed_handler_ends_its_call(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob) as leg:
        task, = bob.reception.tasks
        task.kill()
        leg.wait_for('BYE')
    assert bob.reception.tasks == set()


def test_max_legs(alice, bob, net, to_bob):
    bob.serve(answering, max_legs=1, background=True)
    with alice.call(to_bob):
        with pytest.raises(Unavailable) as caught:
            alice.call(to_bob)
        assert caught.value.response.get('Retry-After') == '10'
    net.clock.sleep(1)
    alice.call(to_bob).close()


def test_a_screen_refuses_before_the_handler(alice, bob, to_bob, caplog):
    handled = []
    answers = [403, None, KeyError]

    def screen(leg):
        answer = answers.pop(0)
        if answer is KeyError:
            raise KeyError(leg.source)
        return answer

    bob.serve(lambda leg: (handled.append(leg), answering(leg)), screen=screen, background=True)
    with pytest.raises(Forbidden):
        alice.call(to_bob)
    assert handled == []
    alice.call(to_bob).close()
    with pytest.raises(ServerFailure):
        alice.call(to_bob)
    assert len(handled) == 1 and 'KeyError' in caplog.text


def test_a_thousand_calls_use_few_greenlets(agent, net):
    alice, bob = agent('alice'), agent('bob')
    seen = set()

    def handler(leg):
        seen.add(gevent.getcurrent())
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    for _ in range(40):
        for leg in [alice.invite(net.uri('bob'), sdp=SDP) for _ in range(5)]:
            leg.wait_for('200')
            leg.close()
        net.clock.sleep(0.1)
    assert len(seen) <= 10


# -- requests outside of calls

def test_options_is_answered_by_the_core(alice, bob, to_bob):
    response = alice.options(to_bob)
    assert response.code == 200 and 'INVITE' in response.allow


def test_message(alice, bob, net, to_bob):
    got = []

    def handler(incoming):
        got.append((incoming.method, incoming.request.body, incoming.source))

    bob.handle('MESSAGE', handler)
    assert alice.message(to_bob, 'Grüße').code == 200
    assert got == [('MESSAGE', 'Grüße'.encode(), (net.address('alice'), 5060))]


def test_a_request_handler_answers_as_it_likes(alice, bob, to_bob, caplog):
    def handler(incoming):
        what = incoming.request.get('X-What')
        if what == 'code':
            return 202
        if what == 'respond':
            incoming.respond(423, headers={'Min-Expires': '60'})
            with pytest.raises(WrongState):
                incoming.respond(200)
            return None
        if what == 'status':
            raise Busy(486)
        raise KeyError(what)

    bob.handle('REGISTER', handler)
    assert alice.request('REGISTER', to_bob, headers={'X-What': 'code'}).code == 202
    for what, code in ('respond', 423), ('status', 486), ('bug', 500):
        with pytest.raises(ResponseError) as caught:
            alice.request('REGISTER', to_bob, headers={'X-What': what})
        assert caught.value.code == code
    assert "KeyError: 'bug'" in caplog.text
    with pytest.raises(UsageError):
        bob.handle('INVITE', handler)


def test_a_handler_that_does_not_block_is_called_at_once(alice, bob, net, to_bob, caplog):
    """In the greenlet that received the request; what it raises is no failure of that one."""
    greenlets = set()

    def handler(incoming):
        greenlets.add(gevent.getcurrent())
        if incoming.request.get('X-What') == 'bug':
            raise KeyError('bug')
        return 202

    bob.handle('REGISTER', handler, blocking=False)
    assert [alice.request('REGISTER', to_bob).code for _ in range(3)] == [202] * 3
    with pytest.raises(ResponseError, match='500'):
        alice.request('REGISTER', to_bob, headers={'X-What': 'bug'})
    assert "KeyError: 'bug'" in caplog.text and bob.endpoint.counters.failures == 0
    assert len(greenlets) == 1
    bob.handle('REGISTER', handler)
    alice.request('REGISTER', to_bob)
    assert len(greenlets) == 2


def test_a_request_that_is_dismissed_leaves_nothing(alice, bob, net, to_bob):
    seen = []

    def handler(incoming):
        seen.append(incoming.request.cseq.number)
        with pytest.raises(UsageError):
            incoming.dismiss(200)
        incoming.dismiss(423, 'Later', headers={'Min-Expires': '60'})
        with pytest.raises(WrongState):
            incoming.dismiss(423)
        with pytest.raises(WrongState):
            incoming.respond(200)

    bob.handle('REGISTER', handler)
    with pytest.raises(TooBrief, match='Later') as caught:
        alice.request('REGISTER', to_bob)
    assert caught.value.response.get('Min-Expires') == '60' and caught.value.response.to_tag
    assert bob.core.counts()['transactions'] == 0
    assert seen == [1]


def test_what_nobody_handles(alice, bob, to_bob):
    for method, code in ('MESSAGE', 405), ('INFO', 481), ('REGISTER', 405), ('NONSENSE', 501):
        with pytest.raises(ResponseError) as caught:
            alice.request(method, to_bob)
        assert caught.value.code == code, method


def test_a_request_that_nobody_answers(alice, net):
    with pytest.raises(WaitTimeout, match='no final response to OPTIONS within 5 s from sip:nobody'):
        alice.options(net.uri('nobody'), timeout=5)
    with pytest.raises(TransactionTimeout):
        alice.options(net.uri('nobody'))
    with pytest.raises(UsageError):
        alice.request('INVITE', net.uri('nobody'))


def test_digest_credentials(agent, net):
    bob = agent('bob')
    alice = agent('alice')

    def handler(incoming):
        if incoming.request.has('Authorization'):
            return 200
        incoming.respond(401, headers={'WWW-Authenticate': 'Digest realm="here", nonce="abc", qop="auth"'})
        return None

    bob.handle('REGISTER', handler)
    with pytest.raises(ResponseError, match='401'):
        alice.request('REGISTER', net.uri('bob'))
    assert alice.request('REGISTER', net.uri('bob'), credentials=('alice', 's3cret')).code == 200


# -- the end

def test_close_hangs_up_and_says_goodbye_on_the_wire(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    ringing = agent_leg = alice.call(to_bob)
    alice.close()
    assert isinstance(agent_leg.error, LocalHangup) and ringing.state == 'ended'
    assert net.ladder.arrows[-1].title == '200 BYE'
    alice.close()
    for verb in (lambda: alice.invite(to_bob), lambda: alice.options(to_bob), lambda: alice.accept(),
                 lambda: alice.serve(answering), lambda: alice.post(int)):
        with pytest.raises(WrongState):
            verb()


def test_close_does_not_wait_for_ever(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    alice.call(to_bob)
    net.lose('BYE', 100)
    now = net.clock.now()
    alice.close()
    assert net.clock.now() == now + module.LINGER
    bob.close()


@pytest.mark.parametrize('callee', [
    None,                                                     # silence: the CANCEL is held back until a 1xx
    lambda leg: (leg.ring(), leg.wait_ended()),
    lambda leg: (leg.answer(), leg.wait_ended()),
])
def test_close_ends_every_leg_whether_or_not_its_peer_agrees(alice, bob, net, to_bob, callee):
    if callee is not None:
        bob.serve(callee, background=True)
    leg = alice.invite(to_bob if callee is not None else net.uri('nobody'))
    net.run(1)
    waiting = gevent.spawn(leg.wait_ended)
    net.lose('200 CANCEL', 100)
    net.lose('487 INVITE', 100)
    net.lose('200 BYE', 100)
    alice.close()
    assert isinstance(waiting.get(timeout=1).error, LocalHangup)
    assert leg.ended and leg.state == 'ended' and leg.timings.ended is not None
    with pytest.raises(LocalHangup):
        leg.wait_for('INFO')
    assert alice.core.counts()['calls'] == 0


def test_close_ends_a_call_whose_answer_was_never_acknowledged(alice, bob, net, to_bob):
    net.lose('ACK', 100)
    alice.invite(to_bob)
    leg = bob.accept()
    leg.answer()
    bob.close()
    assert isinstance(leg.error, LocalHangup) and bob.core.counts()['calls'] == 0


def test_close_wakes_who_waits_for_a_response(alice, net):
    net.place('nobody')                                   # silence

    def ask():
        with pytest.raises(WrongState, match='closed'):
            alice.options(net.uri('nobody'))
        return 'woken'

    asking = gevent.spawn(ask)
    net.run(1)
    alice.close()
    assert asking.get(timeout=1) == 'woken'


def test_close_wakes_accept(bob, net):
    waiting = gevent.spawn(bob.accept)
    net.clock.sleep(1)
    bob.close()
    with pytest.raises(WrongState):
        waiting.get()


def test_close_kills_handlers_that_wait_for_something_else(alice, bob, net, to_bob):
    bob.serve(lambda leg: (leg.answer(), net.clock.sleep(1000)), background=True)
    leg = alice.call(to_bob)
    bob.close()
    assert isinstance(leg.wait_ended().error, RemoteHangup)
    assert bob.reception.tasks == set()


def test_a_handler_closes_the_user_agent(alice, bob, net, to_bob):
    finished = []

    def handler(leg):
        leg.answer()
        leg.wait_for('INFO')
        bob.close()
        finished.append(True)

    serving = gevent.spawn(bob.serve, handler)
    with alice.call(to_bob) as leg:
        leg.request('INFO')
        leg.wait_for('BYE')
    serving.get()
    net.clock.sleep(1)
    assert finished == [True]


def test_drain_lets_calls_end_and_takes_no_more(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    with alice.call(to_bob):
        draining = gevent.spawn(bob.drain)
        net.clock.sleep(1)
        with pytest.raises(Unavailable) as caught:
            alice.call(to_bob)
        assert caught.value.response.get('Retry-After') == '30'
        assert not draining.dead
    assert draining.get() == 0


def test_drain_hangs_up_what_is_left_after_the_grace(alice, bob, net, to_bob):
    bob.serve(answering, background=True)
    leg = alice.call(to_bob)
    now = net.clock.now()
    assert bob.drain(grace=5) == 1
    assert net.clock.now() == pytest.approx(now + 5, abs=0.1)
    assert isinstance(leg.wait_ended().error, RemoteHangup)


@pytest.mark.parametrize('grace', [None, 30])
def test_a_deadline_holds_for_drain_too(alice, bob, net, to_bob, grace):
    bob.serve(answering, background=True)
    leg = alice.call(to_bob)
    now = net.clock.now()
    with pytest.raises(WaitTimeout, match=r'^1 call has not ended before the deadline of 5 s'), deadline(5):
        alice.drain(grace)
    assert net.clock.now() == now + 5 and leg.state == 'confirmed'
    with deadline(60):
        assert alice.drain(grace=1) == 1
    with deadline(60):
        assert alice.drain() == 0


def test_ports(net):
    with UserAgent('udp:127.0.0.1:0', watchdog=None) as first:
        port = first.points[0].address[1]
        assert port and first.uri == f'sip:greensip@127.0.0.1:{port}'
        with pytest.raises(TransportError):
            UserAgent(f'udp:127.0.0.1:{port}', watchdog=None)
    with pytest.raises(UsageError):
        UserAgent('udp:127.0.0.1:99999', watchdog=None)


def test_a_wildcard_shows_the_address_that_faces_the_peer(free_port):
    port = free_port()
    with UserAgent('udp:127.0.0.1:0', watchdog=None) as bob, UserAgent(f'udp:0.0.0.0:{port}', watchdog=None) as alice:
        bob.serve(answering, background=True)
        with alice.call(bob.uri, timeout=5) as leg:
            assert leg.invite.from_.uri.host == '127.0.0.1' and b'IN IP4 127.0.0.1' in leg.offer
            assert leg.invite.contact.uri.host == '127.0.0.1'


def test_timeouts_as_a_mapping(agent, net):
    alice = agent('alice', timeouts={'t1': 0.1})
    with pytest.raises(TransactionTimeout):
        alice.options(net.uri('nobody'))
    assert 6.4 <= net.clock.now() < 6.5
    with pytest.raises(UsageError, match='timeouts='):
        UserAgent(network=net, timeouts={'t7': 1}, watchdog=None)


def test_notices_look_like_events():
    notice = Notice('hold', time=1.5)
    assert (notice.code, notice.message, notice.label) == (0, None, 'hold')


@pytest.mark.parametrize('name', ['strict test', 'a@b', 'a:b', '', '<a>', 'zw\u00f6lf'])
def test_a_name_that_is_no_user_part_is_refused(name):
    with pytest.raises(UsageError, match='user part'):
        UserAgent(name=name)


@pytest.mark.parametrize('options', [
    {name: text} for name in ('from_', 'to', 'call_id', 'contact', 'content_type')
    for text in ('a\r\nX: y', 'a\0', '\ud800')], ids=ascii)
def test_what_makes_no_request_leaves_nothing(alice, net, to_bob, options):
    """Neither a call nor a transaction, nor a timer."""
    for verb in (lambda: alice.invite(to_bob, body='x', expires=30, **options),
                 lambda: alice.request('MESSAGE', to_bob, body='x', **options)):
        with pytest.raises(UsageError):
            verb()
        assert set(alice.core.counts().values()) == {0} and len(alice.core.timers) == 0
    if 'call_id' not in options and 'content_type' not in options:
        with pytest.raises(UsageError):
            alice.subscribe(to_bob, 'presence', **options)
        assert set(alice.core.counts().values()) == {0} and len(alice.core.timers) == 0
        assert not alice.core.subscriptions.awaited


@pytest.mark.parametrize(('options', 'what'), [
    ({'from_': 'alice'}, "'alice' is no address"),
    ({'to': 'bob'}, "'bob' is no address"),
    ({'contact': 'x'}, "contact='x' is no address"),
    ({'contact': '<sip:a@b>, '}, 'is no address'),
    ({'max_forwards': -1}, 'max_forwards=-1'),
    ({'max_forwards': 256}, 'max_forwards=256'),
    ({'expires': -1}, 'expires=-1'),
    ({'follow': -3}, 'follow=-3'),
    ({'manual': 'PRACK'}, r"manual='PRACK': several texts are wanted, \['PRACK'\]"),
])
def test_arguments_that_make_no_call(alice, to_bob, options, what):
    with pytest.raises(UsageError, match=what):
        alice.invite(to_bob, **options)
    if not {'expires', 'follow', 'manual'} & set(options):
        with pytest.raises(UsageError, match=what):
            alice.request('MESSAGE', to_bob, **options)
    if not {'expires', 'follow', 'max_forwards'} & set(options):
        with pytest.raises(UsageError, match=what):
            alice.subscribe(to_bob, 'presence', **options)
    assert set(alice.core.counts().values()) == {0} and len(alice.core.timers) == 0


@pytest.mark.parametrize('method', ['', 'in vite'])
def test_what_is_no_method(alice, method):
    with pytest.raises(UsageError, match='is no method'):
        alice.handle(method, print)
    assert method not in alice.core.allow


@pytest.mark.parametrize('package', ['', 'a b', 'a/b'])
def test_what_is_no_event_package(alice, to_bob, package):
    with pytest.raises(UsageError, match='is no event package'):
        alice.subscribe(to_bob, package)


@pytest.mark.parametrize(('options', 'what'), [
    ({'allow': 'FOO'}, "allow='FOO': several"), ({'supported': '100rel'}, "supported='100rel': several"),
    ({'manual': 'ACK'}, "manual='ACK': several"), ({'info_packages': 'foo'}, "info_packages='foo': several"),
    ({'allow': ['FOO BAR']}, "'FOO BAR' is no token"), ({'supported': ['']}, "'' is no token"),
    ({'user_agent': 'a\r\nX: y'}, 'cannot stand in a header field'),
    ({'expect_keep_alives': -1}, 'expect_keep_alives=-1'),
])
def test_options_that_make_no_user_agent(net, options, what):
    with pytest.raises(UsageError, match=what):
        UserAgent(network=net, watchdog=None, **options)


@pytest.mark.parametrize('name', ['a\r\nX: y', '\ud800'])
def test_a_user_name_that_cannot_be_written(alice, bob, to_bob, name):
    """That shows with the challenge only."""
    challenge = {'WWW-Authenticate': 'Digest realm="r", nonce="n"'}
    bob.serve(lambda leg: leg.reject(401, headers=challenge), background=True)
    bob.handle('OPTIONS', lambda incoming: incoming.respond(401, headers=challenge))
    with pytest.raises(UsageError):
        alice.call(to_bob, credentials=(name, 'secret'), timeout=60)
    with pytest.raises(UsageError):
        alice.options(to_bob, credentials=(name, 'secret'), timeout=60)
    assert alice.core.counts()['calls'] == 0 and alice.endpoint.counters.failures == 0


@pytest.mark.parametrize('text', ['a\r\nX: y', '\ud800'])
def test_what_makes_no_request_after_a_look_up_ends_the_call(net, alice, text):
    net.resolver.names['bob.example'] = [net.address('bob')]
    net.resolver.delay = 0.1
    leg = alice.invite('sip:bob@bob.example', call_id=text)
    with pytest.raises(UsageError):
        leg.wait_for('200', timeout=5)
    with pytest.raises(UsageError):
        alice.request('MESSAGE', 'sip:bob@bob.example', call_id=text, timeout=5)
    assert set(alice.core.counts().values()) == {0} and alice.endpoint.counters.failures == 0
