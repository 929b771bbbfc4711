"""The endpoint around a real core: order, names, time, errors, hostile input."""

from __future__ import annotations

import logging
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event as GeventEvent

from greensip.dialog import FAILED, INCOMING, REQUEST, RESPONSE, Core, Event
from greensip.dialog.routing import Target
from greensip.errors import (
    ConnectError,
    MessageTooBig,
    ParseError,
    ResolveError,
    TransactionTimeout,
    TransportError,
    UsageError,
    WrongThread,
)
from greensip.message import Message
from greensip.testing import Network
from greensip.transaction.flow import Flow, Point
from greensip.transport import Endpoint, Listen, RealClock, StaticResolver
from greensip.transport import endpoint as endpoint_module

PATIENCE = 5.0

OPTIONS = (b'OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%s;rport\r\n'
           b'Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: %s\r\n'
           b'CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n')


def new_core(seed: int = 1) -> Core:
    return Core(random=random.Random(seed))


@pytest.fixture
def net() -> Iterator[Network]:
    with Network(delay=0.01) as net:
        yield net


@pytest.fixture
def real() -> Iterator[Endpoint]:
    """An endpoint on a real socket."""
    with Endpoint(new_core(), ['udp:127.0.0.1:0']) as endpoint:
        yield endpoint


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(('127.0.0.1', 0))
        yield peer


def receive(peer: socket.socket) -> bytes:
    gevent.socket.wait_read(peer.fileno(), timeout=PATIENCE)
    return peer.recv(65535)


def record(endpoint: Endpoint) -> list[Event]:
    events: list[Event] = []
    endpoint.on_event = events.append
    return events


# -- over a real socket


def test_options_are_answered_where_they_came_from(real: Endpoint, peer: socket.socket) -> None:
    peer.sendto(OPTIONS % (b'1', b'1'), real.points[0].address)
    answer = receive(peer)
    assert answer.startswith(b'SIP/2.0 200 ')
    assert b'received=127.0.0.1' in answer
    assert b'rport=%d' % peer.getsockname()[1] in answer
    assert (real.counters.messages, real.counters.sent) == (1, 1)


def test_a_refused_request_fails_at_once_and_not_after_half_a_minute(real: Endpoint, peer: socket.socket) -> None:
    port = peer.getsockname()[1]
    peer.close()
    failed = GeventEvent()
    events: list[Event] = []
    real.on_event = lambda event: (events.append(event), failed.set())
    real.core.request('OPTIONS', f'sip:bob@127.0.0.1:{port}', real.now(), from_='sip:alice@example.com')
    real.flush()
    assert failed.wait(PATIENCE)
    assert events[0].kind == FAILED
    assert isinstance(events[0].error, ConnectError)
    assert real.core.counts()['transactions'] == 0


def test_several_sockets_of_both_families() -> None:
    with Endpoint(new_core(), ['udp:127.0.0.1:0', 'udp:[::1]:0', 'udp:127.0.0.1:0']) as endpoint:
        assert [point.family for point in endpoint.points] == [4, 6, 4]
        for point in endpoint.points:
            family = socket.AF_INET6 if point.family == 6 else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as peer:
                branch = b'x%d' % point.address[1]
                peer.sendto(OPTIONS % (branch, branch), point.address)
                gevent.socket.wait_read(peer.fileno(), timeout=PATIENCE)
                answer, source = peer.recvfrom(65535)
                assert answer.startswith(b'SIP/2.0 200')
                assert source[:2] == point.address


def test_a_message_that_is_too_big_fails_its_request(real: Endpoint) -> None:
    events = record(real)
    real.core.request('MESSAGE', 'sip:bob@127.0.0.1:5999', real.now(), from_='sip:a@b', body=b'x' * 65500,
                      content_type='text/plain')
    real.flush()
    assert [event.kind for event in events] == [FAILED]
    assert isinstance(events[0].error, MessageTooBig)


def test_names_of_this_machine_can_be_listened_on() -> None:
    resolver = StaticResolver({'gateway': ['127.0.0.1']})
    endpoint = Endpoint(new_core(), ['udp:gateway:0'], resolver=resolver)
    assert endpoint.points[0].address[0] == '127.0.0.1'
    endpoint.close()
    with pytest.raises(TransportError, match='cannot listen on udp:elsewhere:5060: elsewhere has no address'):
        Endpoint(new_core(), ['udp:elsewhere:5060'], resolver=resolver)


def test_a_wildcard_address_never_shows(peer: socket.socket) -> None:
    with Endpoint(new_core(), ['udp:0.0.0.0:0']) as endpoint:
        endpoint.core.request('OPTIONS', f'sip:bob@127.0.0.1:{peer.getsockname()[1]}', endpoint.now(),
                              from_='sip:alice@example.com', contact=None)
        endpoint.flush()
        request = receive(peer)
        port = endpoint.points[0].address[1]
        assert b'Via: SIP/2.0/UDP 127.0.0.1:%d;' % port in request
        assert b'0.0.0.0' not in request


def test_what_peers_are_told_can_be_said(peer: socket.socket) -> None:
    with Endpoint(new_core(), ['udp:127.0.0.1:0'], advertised=('sip.example.com', 5070)) as endpoint:
        endpoint.core.request('OPTIONS', f'sip:bob@127.0.0.1:{peer.getsockname()[1]}', endpoint.now(),
                              from_='sip:alice@example.com', contact=None)
        endpoint.flush()
        request = receive(peer)
        assert b'Via: SIP/2.0/UDP sip.example.com:5070;' in request
        assert b'sip.example.com:5070' in request.partition(b'Contact: ')[2]


@pytest.mark.parametrize(('advertised', 'shown'), [
    ('203.0.113.5', ['203.0.113.5', '::1', 'sip.example.com']), ('2001:db8::5', ['127.0.0.1', '2001:db8::5',
                                                                                  'sip.example.com']),
    ('gate.example.com', ['gate.example.com', 'gate.example.com', 'sip.example.com']),
])
def test_an_address_is_told_to_those_of_its_family(advertised: str, shown: list[str]) -> None:
    """A NAT is in the way of one family; the other is seen as it is."""
    places = ['udp:127.0.0.1:0', 'udp:[::1]:0', 'tcp:127.0.0.1:0;advertise=sip.example.com']
    with Endpoint(new_core(), places, advertised=(advertised, 0)) as endpoint:
        assert [point.advertised[0] for point in endpoint.points] == shown
        assert all(point.advertised[1] == point.address[1] for point in endpoint.points[:2])


@pytest.mark.parametrize(('place', 'kind', 'sentence'), [
    ('carrier pigeon', UsageError, "cannot read 'carrier pigeon' as a place to listen at"),
    ('sctp:127.0.0.1:5060', UsageError, 'cannot listen on sctp:127.0.0.1:5060: the transports are '),
    ('udp:192.0.2.1:5060', TransportError, 'cannot listen on udp:192.0.2.1:5060: cannot assign'),
])
def test_where_it_cannot_listen_it_says_so_and_leaves_nothing_open(
        place: str, kind: type[Exception], sentence: str, free_port: Callable[[], int]) -> None:
    core, first = new_core(), f'udp:127.0.0.1:{free_port()}'
    with pytest.raises(kind, match=re.escape(sentence)):
        Endpoint(core, [first, place])
    assert core.points == []
    Endpoint(core, [first]).close()


def test_another_thread_is_turned_away(real: Endpoint) -> None:
    caught: list[BaseException] = []

    def intrude() -> None:
        try:
            real.flush()
        except WrongThread as error:
            caught.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert 'post()' in str(caught[0])
    real.check_thread()


# -- order


def test_what_an_event_causes_is_sent_before_the_next_event(net: Network) -> None:
    """Two requests in one flush: on_event answers the first, and the answer leaves before it sees the second."""
    log: list[str] = []
    bob = net.endpoint('bob')
    alice = net.endpoint('alice')
    bob.taps.append(lambda direction, data, flow, now: log.append(f'{direction} {data[:11]!r}'))

    def on_event(event: Event) -> None:
        log.append(f'event {event.name}')
        bob.core.respond(event.exchange, 200, bob.now())
        # nested: sends, but hands on no event
        bob.flush()
        log.append('done')

    bob.on_event = on_event
    alice.core.request('MESSAGE', net.uri('bob'), alice.now(), from_='sip:alice@alice')
    alice.core.request('INFO', net.uri('bob'), alice.now(), from_='sip:alice@alice')
    alice.flush()
    net.run(0.05)
    assert log == ["< b'MESSAGE sip'", 'event MESSAGE', "> b'SIP/2.0 200'", 'done',
                   "< b'INFO sip:bo'", 'event INFO', "> b'SIP/2.0 200'", 'done']


def test_events_that_a_handler_causes_wait_until_it_has_returned(net: Network) -> None:
    """A verb within on_event that fails at once makes another event: it is not handed on inside the first."""
    alice = net.endpoint('alice')
    depth = 0
    seen: list[tuple[str, int]] = []

    def on_event(event: Event) -> None:
        nonlocal depth
        depth += 1
        seen.append((type(event.error).__name__, depth))
        if len(seen) < 4:
            # no way to reach an IPv6 address from here
            alice.core.request('OPTIONS', 'sip:[2001:db8::1]', alice.now(), from_='sip:alice@alice')
            alice.flush()
        depth -= 1

    alice.on_event = on_event
    alice.core.request('OPTIONS', 'sip:[2001:db8::1]', alice.now(), from_='sip:alice@alice')
    alice.flush()
    assert seen == [('ConnectError', 1)] * 4


def test_a_handler_that_switches_greenlets_keeps_neither_order_nor_others_from_sending(net: Network) -> None:
    alice, bob = net.endpoint('alice'), net.endpoint('bob')
    release = GeventEvent()
    seen: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind != REQUEST:
            return
        seen.append(f'{event.name} begins')
        if event.name == 'MESSAGE':
            release.wait()
        bob.core.respond(event.exchange, 200, bob.now())
        seen.append(f'{event.name} ends')

    bob.on_event = on_event
    for method in ('MESSAGE', 'INFO'):
        alice.core.request(method, net.uri('bob'), alice.now(), from_='sip:alice@alice')
        alice.flush()
        net.run(0.1)
    # Another greenlet of bob's can send meanwhile.
    bob.core.request('OPTIONS', net.uri('alice'), bob.now(), from_='sip:bob@bob')
    bob.flush()
    assert net.ladder.lines()[-1] == 'bob -> alice: OPTIONS'
    release.set()
    net.run(0.1)
    # The second request is read when the first has been dealt with: one reader, one order.
    assert seen == ['MESSAGE begins', 'MESSAGE ends', 'INFO begins', 'INFO ends']


def test_a_handler_that_raises_is_logged_and_the_next_event_comes(net: Network,
                                                                  caplog: pytest.LogCaptureFixture) -> None:
    alice, bob = net.endpoint('alice'), net.endpoint('bob')
    seen: list[str] = []

    def on_event(event: Event) -> None:
        seen.append(event.name)
        raise RuntimeError('a mistake')

    bob.on_event = on_event
    for method in ('MESSAGE', 'INFO'):
        alice.core.request(method, net.uri('bob'), alice.now(), from_='sip:alice@alice')
    alice.flush()
    net.run(0.1)
    assert seen == ['MESSAGE', 'INFO']
    # One traceback a second, however many there are.
    assert caplog.text.count('RuntimeError: a mistake') == 1
    assert bob.counters.failures == 2
    net.run(1)
    alice.core.request('UPDATE', net.uri('bob'), alice.now(), from_='sip:alice@alice')
    alice.flush()
    net.run(0.1)
    assert '1 more since the last one' in caplog.text


# -- time


def test_retransmissions_are_on_time(net: Network) -> None:
    alice = net.endpoint('alice')
    net.lose('OPTIONS', times=100)
    events = record(alice)
    alice.core.request('OPTIONS', 'sip:bob@192.0.2.1', alice.now(), from_='sip:alice@alice')
    alice.flush()
    net.run(40)
    assert [round(arrow.time, 6) for arrow in net.ladder.arrows] == [
        0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert isinstance(events[0].error, TransactionTimeout)
    assert round(events[0].time, 6) == 32.0


class AlarmClock:
    """The real clock, and what it was asked for."""

    grid = RealClock().grid

    def __init__(self) -> None:
        self.alarms: list[float] = []
        self.real = RealClock()

    def now(self) -> float:
        return self.real.now()

    def at(self, when: float, callback: Any, *args: Any) -> Any:
        self.alarms.append(when)
        return self.real.at(when, callback, *args)


def test_on_the_real_clock_deadlines_share_their_wake_ups() -> None:
    clock = AlarmClock()
    with Endpoint(Core(random=random.Random(1)), ['udp:127.0.0.1:0'], clock=clock) as endpoint:
        grid, alarms = clock.grid, clock.alarms
        base = (endpoint.now() // grid + 100) * grid
        for offset in (0.9, 0.5, 0.2):
            endpoint._arm(base + offset * grid)
        assert alarms == [pytest.approx(base + grid)]
        endpoint._arm(base - 0.5 * grid)
        assert alarms[1:] == [pytest.approx(base)]


# -- names


def ask(endpoint: Endpoint, uri: str) -> None:
    endpoint.core.request('OPTIONS', uri, endpoint.now(), from_='sip:alice@alice')
    endpoint.flush()


def test_requests_for_one_name_share_a_look_up(net: Network) -> None:
    alice = net.endpoint('alice')
    net.endpoint('bob')
    net.resolver.delay = 2.0
    events = record(alice)
    for user in ('b1', 'b2', 'b3'):
        ask(alice, f'sip:{user}@bob')
    net.run(1.9)
    assert net.ladder.lines() == []
    net.run(0.2)
    assert [event.name for event in events] == ['200', '200', '200']
    assert alice.counters.lookups == 1


def test_a_known_name_takes_no_greenlet(net: Network) -> None:
    alice = net.endpoint('alice')
    net.endpoint('bob')
    ask(alice, 'sip:bob@bob')
    assert net.ladder.lines() == ['alice -> bob: OPTIONS']
    assert alice.counters.lookups == 0


def test_a_name_without_an_address_fails_the_request(net: Network) -> None:
    alice = net.endpoint('alice')
    events = record(alice)
    ask(alice, 'sip:carol@nowhere.example')
    net.settle()
    assert [event.kind for event in events] == [FAILED]
    assert isinstance(events[0].error, ResolveError)
    assert 'nowhere.example has no address' in str(events[0].error)


def test_there_is_a_limit_to_look_ups(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, 'LOOKUPS', 3)
    alice = net.endpoint('alice')
    net.resolver.delay = 1.0
    events = record(alice)
    for number in range(5):
        ask(alice, f'sip:bob@host{number}.example')
    assert ['are being looked up' in str(event.error) for event in events] == [True, True]
    net.run(1.1)
    assert len(events) == 5


def test_a_resolver_with_a_mistake_fails_the_request(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(StaticResolver):
        def locate(self, *question: object) -> list[Target]:
            raise ZeroDivisionError('oops')

    alice = Endpoint(new_core(), [net.place('alice')], network=net, resolver=Broken())
    net.endpoints.append(alice)
    alice.start()
    events = record(alice)
    ask(alice, 'sip:bob@unknown')
    net.settle()
    assert isinstance(events[0].error, ResolveError)
    assert 'ZeroDivisionError: oops' in caplog.text


def test_closing_ends_look_ups(net: Network) -> None:
    alice = net.endpoint('alice')
    net.resolver.delay = 1000.0
    ask(alice, 'sip:bob@somewhere')
    net.settle()
    alice.close()
    gevent.sleep(0)
    assert not alice._lookup_greenlets or all(greenlet.dead for greenlet in alice._lookup_greenlets)
    assert net.ladder.lines() == []


# -- hostile input


@pytest.mark.parametrize('data', [
    b'\x80\x00\x01' * 100, b'GET / HTTP/1.1\r\n\r\n', b'INVITE', b'\r\n' * 100, b'SIP/2.0 200 OK\r\n\r\n',
    b'x' * 65000, bytes(range(256)),
])
def test_garbage_is_counted_and_not_talked_about(real: Endpoint, peer: socket.socket, data: bytes,
                                                 caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, 'greensip'):
        peer.sendto(data, real.points[0].address)
        peer.sendto(OPTIONS % (b'1', b'1'), real.points[0].address)
        assert receive(peer).startswith(b'SIP/2.0 200')
    assert real.counters.broken == (0 if data.startswith(b'SIP/2.0') else 1)
    assert caplog.records == []


def test_a_broken_request_that_shows_where_its_answer_belongs_gets_one(real: Endpoint, peer: socket.socket) -> None:
    peer.sendto((OPTIONS % (b'1', b'1')).replace(b'Content-Length: 0', b'Content-Length: 99'), real.points[0].address)
    assert receive(peer).startswith(b'SIP/2.0 400 ')


def test_an_error_in_the_core_costs_one_message(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    class Fragile(Core):
        def receive(self, message: Message, flow: Flow, now: float) -> None:
            if message.call_id == 'bad':
                raise KeyError('a mistake')
            super().receive(message, flow, now)

        def receive_broken(self, error: ParseError, flow: Flow, now: float) -> None:
            raise KeyError('another')

    bob = net.endpoint('bob', Fragile(random=random.Random(1)))
    sender = net.listen(Listen.parse('udp:mallory:5060'), bob)
    flow = Flow(sender.point, bob.points[0].address)
    for data in (OPTIONS % (b'1', b'bad'), b'garbage', OPTIONS % (b'2', b'good')):
        sender.send(data, flow)
    net.run(0.1)
    assert 'KeyError' in caplog.text
    assert bob.counters.failures == 2
    assert bob.counters.sent == 1
    sender.close()


def test_a_flow_of_a_foreign_point_is_an_error_and_no_more(net: Network) -> None:
    alice = net.endpoint('alice')
    events = record(alice)
    alice.core.request('OPTIONS', 'sip:bob@10.9.9.9', alice.now(), from_='sip:alice@alice',
                       point=Point('UDP', ('10.1.1.1', 5060)))
    alice.flush()
    assert [event.kind for event in events] == [FAILED]
    assert 'is not a point of this endpoint' in str(events[0].error)


# -- taps and logs


def test_taps_see_everything_and_may_fail(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    alice, bob = net.endpoint('alice'), net.endpoint('bob')
    seen: list[tuple[str, str, str, float]] = []

    def fail(*args: object) -> None:
        raise ValueError('a tap that leaks')

    alice.taps += [fail, lambda direction, data, flow, now: seen.append(
        (direction, data.split(b' ')[0].decode(), flow.remote[0], round(now, 3)))]
    ask(alice, net.uri('bob'))
    net.run(0.1)
    address = bob.points[0].address[0]
    assert seen == [('>', 'OPTIONS', address, 0.0), ('<', 'SIP/2.0', address, 0.02)]
    assert 'a tap that leaks' in caplog.text


def test_the_wire_log_shows_messages_without_secrets(net: Network, caplog: pytest.LogCaptureFixture) -> None:
    alice = net.endpoint('alice')
    net.endpoint('bob')
    with caplog.at_level(logging.DEBUG, 'greensip.wire'):
        alice.core.request('OPTIONS', net.uri('bob'), alice.now(), from_='sip:alice@alice',
                           headers=[('Authorization', 'Digest username="a", response="5ec4e7"')])
        alice.flush()
        net.run(0.1)
    lines = [record.getMessage() for record in caplog.records if record.name == 'greensip.wire']
    assert [line[:1] for line in lines] == ['>', '<', '>', '<']
    assert '    OPTIONS sip:bob@' in lines[0]
    assert 'response=***' in lines[0]
    assert '5ec4e7' not in ''.join(lines)


# -- the end


def test_closing_within_a_handler_and_again(net: Network) -> None:
    alice, bob = net.endpoint('alice'), net.endpoint('bob')
    bob.on_event = lambda event: bob.close()
    alice.core.request('MESSAGE', net.uri('bob'), alice.now(), from_='sip:alice@alice')
    alice.core.request('INFO', net.uri('bob'), alice.now(), from_='sip:alice@alice')
    alice.flush()
    net.run(1)
    bob.close()
    bob.flush()
    assert bob.counters.messages == 1
    # The port can be had again.
    assert net.endpoint('bob').points[0].address == bob.points[0].address


def test_closing_within_a_timer(net: Network) -> None:
    alice = net.endpoint('alice')
    alice.on_event = lambda event: alice.close()
    ask(alice, 'sip:bob@192.0.2.1')
    net.run(100)
    assert alice.closed
    assert alice._timer_greenlet is not None
    gevent.sleep(0)
    assert alice._timer_greenlet.dead


# -- calls over bad links


def answering(endpoint: Endpoint, net: Network) -> Callable[[Event], None]:
    """Rings at once, answers after two seconds."""
    def answer(usage: object) -> None:
        net.clock.sleep(2)
        if usage.state != 'terminated':
            usage.respond(200, endpoint.now(), body=b'v=0\r\n')
            endpoint.flush()

    def on_event(event: Event) -> None:
        if event.kind == INCOMING:
            event.subject.respond(180, endpoint.now())
            gevent.spawn(answer, event.subject)
        elif event.kind == REQUEST and event.name == 'INFO':
            endpoint.core.respond(event.exchange, 200, endpoint.now())

    return on_event


def one_call(seed: int) -> tuple[list[str], list[str]]:
    """A call over a link that loses, doubles and reorders: its ladder, and what the caller saw."""
    seen: list[str] = []
    with Network(seed=seed, delay=0.02, jitter=0.01, loss=0.15, duplicate=0.1, reorder=0.1) as net:
        alice, bob = net.endpoint('alice'), net.endpoint('bob')
        bob.on_event = answering(bob, net)
        alice.on_event = lambda event: seen.append(event.name)
        usage = alice.core.invite(net.uri('bob'), alice.now(), from_='sip:alice@alice', body=b'v=0\r\n')
        alice.flush()
        net.run(20)
        if usage.state == 'confirmed':
            usage.send_request('INFO', alice.now())
            alice.flush()
            net.run(20)
        if usage.state != 'terminated':
            usage.close(alice.now())
            alice.flush()
        net.run(200)
        assert not any(alice.core.counts().values()), alice.core.counts()
        assert not any(bob.core.counts().values()), bob.core.counts()
        assert alice.counters.failures == bob.counters.failures == 0
        return net.ladder.lines(times=True), seen


@pytest.mark.parametrize('seed', range(12))
def test_a_call_survives_a_bad_link(seed: int) -> None:
    ladder, seen = one_call(seed)
    assert '200' in seen, '\n'.join(ladder)
    assert seen[-1] == 'ended'


def test_the_same_seed_gives_the_same_call() -> None:
    assert one_call(5) == one_call(5)
    assert one_call(5)[0] != one_call(6)[0]


def test_many_calls_at_once_leave_nothing(net: Network) -> None:
    net.loss = 0.05
    alice, bob = net.endpoint('alice'), net.endpoint('bob')
    bob.on_event = answering(bob, net)
    responses: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == RESPONSE and event.name == '200' and event.exchange is event.subject.invite:
            responses.append(event.name)
            gevent.spawn(hang_up, event.subject)

    def hang_up(usage: object) -> None:
        net.clock.sleep(5)
        if usage.state == 'confirmed':
            usage.bye(alice.now())
            alice.flush()

    alice.on_event = on_event
    for number in range(100):
        alice.core.invite(net.uri('bob'), alice.now(), from_=f'sip:alice{number}@alice', body=b'v=0\r\n')
        alice.flush()
        net.run(0.02)
    net.run(300)
    assert len(responses) == 100
    assert not any(alice.core.counts().values())
    assert not any(bob.core.counts().values())
