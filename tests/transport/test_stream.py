"""Connections, against plain sockets of the test: RFC 3261 18, RFC 5626 3.5.1, RFC 5923, and peers that mean harm."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent import socket as green
from gevent.event import Event as GeventEvent

from greensip.dialog import FAILED, INCOMING, REQUEST, RESPONSE, Core, Event
from greensip.errors import ConnectError, TransportError, UsageError
from greensip.transaction.flow import Flow, Point, hostport
from greensip.transport import Endpoint
from greensip.transport.connection import DRAIN, Connection
from greensip.transport.sources import scoped
from greensip.transport.stream import Readers, StreamTransport, source_of

PATIENCE = 5.0

OPTIONS = (b'OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:%d;branch=z9hG4bK%s\r\n'
           b'From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n'
           b'Content-Length: 0\r\n\r\n')
SDP = b'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\r\n\r\n\r\n'
INVITE = (b'INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKinvite%s\r\n'
          b'From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: call%s\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n'
          b'Contact: <sip:a@127.0.0.1:5060;transport=tcp>\r\nContent-Type: application/sdp\r\n'
          b'Content-Length: %d\r\n\r\n') % (b'1', b'1', len(SDP)) + SDP


def options(name: bytes, port: int = 5060) -> bytes:
    return OPTIONS % (port, name, name)


class Rig:
    """An endpoint that refuses calls and takes messages, and what has happened to it."""

    def __init__(self, place: str = 'tcp:127.0.0.1:0') -> None:
        self.endpoint = Endpoint(Core(random=random.Random(1)), [place])
        self.events: list[Event] = []
        self.news = GeventEvent()
        self.hold: GeventEvent | None = None
        self.endpoint.on_event = self.on_event
        self.endpoint.start()
        transport = self.endpoint.transports[0]
        assert isinstance(transport, StreamTransport)
        self.transport = transport
        self.peers: list[socket.socket] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.news.set()
        if event.kind == INCOMING:
            event.subject.respond(486, self.endpoint.now())
        elif event.kind == REQUEST:
            if self.hold is not None:
                self.hold.wait(PATIENCE)
            self.endpoint.core.respond(event.exchange, 200, self.endpoint.now())

    @property
    def address(self) -> tuple[str, int]:
        return self.endpoint.points[0].address

    def connect(self, host: str = '', source: str = '127.0.0.1') -> socket.socket:
        peer = green.create_connection((host or self.address[0], self.address[1]), PATIENCE, (source, 0))
        self.peers.append(peer)
        return peer

    def listen(self) -> socket.socket:
        peer = green.socket()
        peer.bind(('127.0.0.1', 0))
        peer.listen(5)
        peer.settimeout(PATIENCE)
        self.peers.append(peer)
        return peer

    def accept(self, listener: socket.socket) -> socket.socket:
        peer, _ = listener.accept()
        peer.settimeout(PATIENCE)
        self.peers.append(peer)
        return peer

    def ask(self, uri: str, method: str = 'OPTIONS', **more: object) -> None:
        self.endpoint.core.request(method, uri, self.endpoint.now(), from_='sip:alice@example.com', **more)
        self.endpoint.flush()

    def until(self, happened: Callable[[], object]) -> None:
        with gevent.Timeout(PATIENCE):
            while not happened():
                gevent.sleep(0.001)

    def connection(self) -> Connection:
        """The only one."""
        self.until(lambda: self.transport.connections)
        connection, = self.transport.connections.values()
        return connection

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.endpoint.close()


@pytest.fixture
def made() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(*places: str) -> Rig:
        rigs.append(Rig(*places))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(made: Callable[..., Rig]) -> Rig:
    return made()


def read_message(peer: socket.socket) -> bytes:
    """The next message, which has no body."""
    data = b''
    while not data.endswith(b'\r\n\r\n'):
        octet = peer.recv(1)
        if not octet:
            break
        data += octet
    return data


def read_all(peer: socket.socket) -> bytes:
    """All until the end of the connection."""
    data = b''
    while True:
        piece = peer.recv(65536)
        if not piece:
            return data
        data += piece


def works(peer: socket.socket, name: bytes = b'works') -> bool:
    peer.sendall(options(name))
    return read_message(peer).startswith(b'SIP/2.0 200')


# -- messages out of octets


def test_an_invite_octet_by_octet(rig: Rig) -> None:
    peer = rig.connect()
    for index in range(len(INVITE)):
        peer.sendall(INVITE[index:index + 1])
        gevent.sleep(0)
    assert read_message(peer).startswith(b'SIP/2.0 486')
    assert rig.events[0].message.body == SDP
    assert works(peer)


def test_three_messages_in_one_segment(rig: Rig) -> None:
    peer = rig.connect()
    peer.sendall(options(b'one') + INVITE + options(b'three'))
    answers = [read_message(peer) for _ in range(3)]
    assert [answer[8:11] for answer in answers] == [b'200', b'486', b'200']
    assert b'Call-ID: one' in answers[0] and b'Call-ID: three' in answers[2]


@pytest.mark.parametrize('cut', [1, 2, 3])
def test_a_header_split_inside_its_end(rig: Rig, cut: int) -> None:
    peer = rig.connect()
    end = INVITE.index(b'\r\n\r\n') + cut
    peer.sendall(INVITE[:end])
    gevent.sleep(0.01)
    assert rig.events == []
    peer.sendall(INVITE[end:])
    assert read_message(peer).startswith(b'SIP/2.0 486')


def test_without_content_length_a_message_ends_with_its_header(rig: Rig) -> None:
    peer = rig.connect()
    peer.sendall(options(b'one').replace(b'Content-Length: 0\r\n', b'') + options(b'two'))
    assert b'Call-ID: one' in read_message(peer)
    assert b'Call-ID: two' in read_message(peer)


LENGTH = b'Content-Length: %d' % len(SDP)
BROKEN = {
    'no Content-Length': (INVITE.replace(LENGTH + b'\r\n', b''), b'400'),
    'two different ones': (INVITE.replace(LENGTH, LENGTH + b'\r\nl: 5'), b'400'),
    'a negative one': (INVITE.replace(LENGTH, b'Content-Length: -5'), b'400'),
    'one that is no number': (INVITE.replace(LENGTH, b'Content-Length: many'), b'400'),
    'a huge one': (INVITE.replace(LENGTH, b'Content-Length: 1048576'), b'513'),
    'garbage for a start line': (b'garbage\r\n\r\n', b''),
    'no SIP': (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b''),
    'a TLS client': (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(500) + b'\r\n\r\n', b''),
    'a header without end': (b'INVITE sip:b@h SIP/2.0\r\nSubject: ' + b'x' * 40_000, b''),
    'an octet between messages': (b'\rx', b''),
}


@pytest.mark.parametrize('what', BROKEN)
def test_what_makes_no_sense_is_answered_and_ends_its_connection_alone(rig: Rig, what: str) -> None:
    data, code = BROKEN[what]
    other = rig.connect()
    assert works(other, b'before')
    peer = rig.connect()
    peer.sendall(options(b'good') + data)
    answer = read_all(peer)
    first, _, rest = answer.partition(b'\r\n\r\n')
    assert first.startswith(b'SIP/2.0 200')
    assert rest[8:11] == code
    assert rig.transport.counters.broken == 1
    assert works(other, b'after')
    assert works(rig.connect(), b'new')
    assert rig.events == []
    assert rig.endpoint.counters.failures == 0


def test_the_last_words_are_heard_though_more_octets_come(rig: Rig) -> None:
    """Who closes while something lies unread sends a reset, and the peer never reads the 513."""
    peer = rig.connect()
    head = INVITE.replace(LENGTH, b'Content-Length: 1048576')
    with contextlib.suppress(OSError):
        peer.sendall(head + b'x' * (1 << 20))
    assert b'SIP/2.0 513' in read_all(peer)


def test_a_broken_message_whose_end_is_known_costs_only_itself(rig: Rig) -> None:
    peer = rig.connect()
    peer.sendall(INVITE.replace(b'Max-Forwards: 70', b'no colon here') + options(b'next'))
    assert read_message(peer).startswith(b'SIP/2.0 400')
    assert read_message(peer).startswith(b'SIP/2.0 200')


def test_taps_see_the_octets_as_they_came(rig: Rig) -> None:
    seen: list[tuple[str, bytes]] = []
    rig.endpoint.taps.append(lambda direction, data, flow, now: seen.append((direction, data)))
    odd = options(b'odd').replace(b'From: ', b'f :   ').replace(b'To: ', b't:')
    peer = rig.connect()
    peer.sendall(odd[:100])
    gevent.sleep(0.01)
    peer.sendall(odd[100:])
    answer = read_message(peer)
    assert seen == [('<', odd), ('>', answer)]


# -- who reads


def test_idle_connections_have_no_greenlets(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert works(rig.connect())
    spawned: list[object] = []
    gevent.Greenlet.add_spawn_callback(spawned.append)
    try:
        peers = [rig.connect() for _ in range(50)]
        for peer in peers:
            assert works(peer)
    finally:
        gevent.Greenlet.remove_spawn_callback(spawned.append)
    assert len(spawned) <= 3


def test_a_handler_that_waits_holds_up_its_own_connection_only(rig: Rig) -> None:
    rig.hold = GeventEvent()
    first, second = rig.connect(), rig.connect()
    message = options(b'slow').replace(b'OPTIONS', b'MESSAGE')
    first.sendall(message + options(b'later'))
    rig.until(lambda: rig.events)
    assert works(second)
    first.sendall(options(b'last'))
    gevent.sleep(0.02)
    rig.hold.set()
    assert [read_message(first).partition(b'Call-ID: ')[2][:4] for _ in range(3)] == [b'slow', b'late', b'last']


def test_a_flood_leaves_others_their_turn(rig: Rig) -> None:
    first = GeventEvent()
    seen: list[int] = []

    def handler() -> None:
        first.wait()
        seen.append(rig.transport.counters.received)

    rig.endpoint.on_event = lambda event: first.set()
    greenlet = gevent.spawn(handler)
    gevent.sleep(0)
    peer = rig.connect()
    message = options(b'%d').replace(b'OPTIONS', b'MESSAGE')
    peer.sendall(b''.join(message % (number, number) for number in range(150)))
    greenlet.join()
    assert seen[0] <= DRAIN
    rig.until(lambda: rig.transport.counters.received == 150)


def test_what_a_handler_raises_costs_one_message(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.endpoint.on_event = lambda event: 1 / 0
    peer = rig.connect()
    peer.sendall(options(b'x').replace(b'OPTIONS', b'MESSAGE'))
    assert works(peer)
    assert 'ZeroDivisionError' in caplog.text


def test_readers_survive_what_they_do(caplog: pytest.LogCaptureFixture) -> None:
    readers = Readers()
    done: list[int] = []
    loop = gevent.get_hub().loop
    loop.run_callback(readers.run, lambda: 1 / 0)
    gevent.sleep(0.001)
    loop.run_callback(readers.run, lambda: done.append(1))
    gevent.sleep(0.001)
    assert done == [1]
    assert 'ZeroDivisionError' in caplog.text
    readers.close()


# -- sending


def test_a_connection_serves_for_all_that_goes_there(rig: Rig) -> None:
    listener = rig.listen()
    uri = f'sip:bob@{hostport(*listener.getsockname())};transport=tcp'
    for _ in range(3):
        rig.ask(uri)
    peer = rig.accept(listener)
    for _ in range(3):
        request = read_message(peer)
        assert request.startswith(b'OPTIONS ')
        peer.sendall(request.replace(f'OPTIONS {uri} SIP/2.0'.encode(), b'SIP/2.0 200 OK', 1))
    rig.until(lambda: len(rig.events) == 3)
    assert [event.code for event in rig.events] == [200, 200, 200]
    assert rig.transport.counters.opened == 1
    # Requests of the peer's may come the same way.
    assert works(peer)


def test_a_request_to_where_a_connection_comes_from_takes_it(rig: Rig) -> None:
    peer = rig.connect()
    assert works(peer)
    rig.ask(f'sip:a@{hostport(*peer.getsockname())};transport=tcp')
    assert read_message(peer).startswith(b'OPTIONS ')
    assert rig.transport.counters.opened == 0


def test_nobody_listens(rig: Rig) -> None:
    listener = rig.listen()
    address = listener.getsockname()
    listener.close()
    rig.ask(f'sip:bob@{hostport(*address)};transport=tcp')
    rig.until(lambda: rig.events)
    assert rig.events[0].kind == FAILED
    assert isinstance(rig.events[0].error, ConnectError)
    assert str(rig.events[0].error) == f'cannot connect to {hostport(*address)}: connection refused'


def test_connecting_takes_too_long(rig: Rig) -> None:
    """A backlog that is full makes the system drop what would connect."""
    full = socket.socket()
    full.bind(('127.0.0.1', 0))
    full.listen(0)
    rig.peers.append(full)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        rig.peers.append(filler)
    for _ in range(2):
        rig.ask(f'sip:bob@{hostport(*full.getsockname())};transport=tcp')
    gevent.sleep(0.01)
    assert rig.events == []
    rig.transport.sweep(rig.transport.now() + rig.transport.connect - 0.5)
    assert rig.events == []
    rig.transport.sweep(rig.transport.now() + rig.transport.connect + 0.1)
    assert ['takes too long' in str(event.error) for event in rig.events] == [True, True]
    assert rig.transport.connections == {}


@pytest.mark.parametrize(('remote', 'part'), [
    (('127.0.0.1', 0), 'no such port'), (('::1', 5060), 'not an IPv4 address'), (('example.com', 5060), 'not an IPv4'),
])
def test_where_nothing_can_be_sent(rig: Rig, remote: tuple[str, int], part: str) -> None:
    with pytest.raises(ConnectError, match=part):
        rig.transport.send(b'x', Flow(rig.endpoint.points[0], remote))


def test_a_peer_that_closes_in_mid_transaction_fails_it_at_once(rig: Rig) -> None:
    for reset in (False, True):
        rig.events.clear()
        listener = rig.listen()
        rig.ask(f'sip:bob@{hostport(*listener.getsockname())};transport=tcp')
        peer = rig.accept(listener)
        read_message(peer)
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        peer.close()
        rig.until(lambda: rig.events)
        assert rig.events[0].kind == FAILED
        assert isinstance(rig.events[0].error, ConnectError)


@pytest.mark.parametrize('reset', [False, True])
def test_a_connection_that_had_served_may_be_gone_when_it_is_needed_again(rig: Rig, reset: bool) -> None:
    """A trunk that restarts, or closes what is idle, just when we have something to say: a new connection is opened."""
    listener = rig.listen()
    uri = f'sip:bob@{hostport(*listener.getsockname())};transport=tcp'
    rig.ask(uri)
    peer = rig.accept(listener)
    peer.sendall(answer(read_message(peer)))
    rig.until(lambda: rig.events)
    if reset:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    peer.close()
    # Nothing has told us of it yet.
    assert rig.connection().open
    rig.ask(uri, 'MESSAGE')
    again = rig.accept(listener)
    request = read_message(again)
    assert request.startswith(b'MESSAGE')
    again.sendall(answer(request))
    rig.until(lambda: len(rig.events) == 2)
    assert [event.code for event in rig.events] == [200, 200]
    # Once: who takes a request and closes the connection for it does so again.
    rig.ask(uri, 'MESSAGE')
    read_message(again)
    again.close()
    last = rig.accept(listener)
    read_message(last)
    last.close()
    rig.until(lambda: len(rig.events) == 3)
    assert rig.events[2].kind == FAILED


def answer(request: bytes) -> bytes:
    """A 200 to a request."""
    return b'SIP/2.0 200 OK\r\n' + b'\r\n'.join(
        line for line in request.split(b'\r\n')
        if line.startswith((b'Via:', b'From:', b'To:', b'Call-ID:', b'CSeq:'))) + b'\r\nContent-Length: 0\r\n\r\n'


def test_a_response_takes_a_new_connection_when_its_own_is_gone(rig: Rig) -> None:
    """18.2.2: to the address of "received" and the port of sent-by."""
    rig.endpoint.on_event = rig.events.append
    listener = rig.listen()
    peer = rig.connect()
    peer.sendall(options(b'gone', listener.getsockname()[1]).replace(b'OPTIONS', b'MESSAGE'))
    rig.until(lambda: rig.events)
    peer.close()
    rig.until(lambda: not rig.transport.connections)
    rig.endpoint.core.respond(rig.events[0].exchange, 200, rig.endpoint.now())
    rig.endpoint.flush()
    again = rig.accept(listener)
    assert read_message(again).startswith(b'SIP/2.0 200')


def test_a_request_for_a_connection_that_is_gone_fails(rig: Rig) -> None:
    peer = rig.connect()
    assert works(peer)
    flow = rig.connection().flow
    peer.close()
    rig.until(lambda: not rig.transport.connections)
    with pytest.raises(ConnectError, match='the connection is closed'):
        rig.transport.send(options(b'x'), flow)


def test_a_slow_reader_stops_nobody_and_is_dropped_in_the_end(made: Callable[..., Rig]) -> None:
    rig = made('tcp:127.0.0.1:0?queue=300000')
    slow, other = rig.connect(), rig.connect()
    assert works(slow) and works(other)
    flow = next(c.flow for c in rig.transport.connections.values() if c.flow.remote == slow.getsockname())
    with pytest.raises(TransportError, match='reads too slowly') as caught:
        for _ in range(10_000):
            rig.transport.send(b'SIP/2.0 200 OK\r\n\r\n' + b'x' * 60_000, flow)
    # All that again over a new connection would be no help to it.
    assert not caught.value.kept
    assert works(other)
    assert rig.transport.counters.dropped == 1
    assert len(rig.transport.connections) == 1


def test_what_waits_is_sent_in_order_when_the_peer_reads(rig: Rig) -> None:
    peer = rig.connect()
    assert works(peer)
    connection = rig.connection()
    sent = [b'%06d' % number * 10_000 for number in range(12)]
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for data in sent:
        rig.transport.send(data, connection.flow)
    assert rig.transport.counters.queued > 0
    received = b''
    while len(received) < len(b''.join(sent)):
        received += peer.recv(65536)
    assert received == b''.join(sent)
    assert works(peer)


def test_a_peer_that_takes_nothing_for_long_is_dropped(rig: Rig) -> None:
    peer = rig.connect()
    assert works(peer)
    connection = rig.connection()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    while not rig.transport.counters.queued:
        rig.transport.send(b'x' * 60_000, connection.flow)
    rig.transport.sweep(rig.transport.now() + rig.transport.stuck - 1)
    assert not connection.closed
    rig.transport.sweep(rig.transport.now() + rig.transport.stuck + 1)
    assert connection.closed
    assert rig.transport.counters.expired == 1


# -- keep-alives (RFC 5626 3.5.1)


def test_a_ping_is_answered(rig: Rig) -> None:
    peer = rig.connect()
    peer.sendall(b'\r\n\r\n')
    assert peer.recv(10) == b'\r\n'
    peer.sendall(b'\r\n\r\n' + options(b'x') + b'\r\n\r\n')
    answer = b''
    while answer.count(b'\r\n\r\n') < 1 or not answer.endswith(b'\r\n\r\n\r\n\r\n'):
        answer += peer.recv(1000)
    assert answer.startswith(b'SIP/2.0 200')
    assert rig.transport.counters.keep_alives == 6


def test_pings_in_masses_have_one_answer(rig: Rig) -> None:
    peer = rig.connect()
    peer.sendall(b'\r\n' * 10_000 + options(b'x'))
    data = b''
    while b'SIP/2.0 200' not in data:
        data += peer.recv(65536)
    assert len(data) < 1000


def test_our_pings_go_out_by_themselves_and_want_an_answer(made: Callable[..., Rig]) -> None:
    rig = made('tcp:127.0.0.1:0?keepalive=60')
    listener = rig.listen()
    rig.ask(f'sip:bob@{hostport(*listener.getsockname())};transport=tcp')
    peer = rig.accept(listener)
    read_message(peer)
    transport = rig.transport
    now = transport.now()
    transport.sweep(now + 47)
    transport.sweep(now + 61)
    assert peer.recv(100) == b'\r\n\r\n'
    connection = rig.connection()
    peer.sendall(b'\r\n')
    rig.until(lambda: transport.counters.keep_alives)
    transport.sweep(now + 80)
    assert not connection.closed
    transport.sweep(now + 125)
    assert peer.recv(100) == b'\r\n\r\n'
    transport.sweep(now + 140)
    assert rig.events[0].kind == FAILED
    assert 'does not answer a ping' in str(rig.events[0].error)


def test_those_who_have_connected_to_us_are_not_pinged(made: Callable[..., Rig]) -> None:
    rig = made('tcp:127.0.0.1:0?keepalive=60')
    peer = rig.connect()
    assert works(peer)
    rig.transport.sweep(rig.transport.now() + 100)
    peer.settimeout(0.02)
    with pytest.raises(TimeoutError):
        peer.recv(1)


# -- limits


def test_connections_of_one_source_have_a_limit(made: Callable[..., Rig]) -> None:
    rig = made('tcp:127.0.0.1:0?per_source=3')
    peers = [rig.connect() for _ in range(3)]
    assert all(works(peer) for peer in peers)
    assert rig.connect().recv(1) == b''
    assert works(rig.connect(source='127.0.0.2'))
    assert rig.transport.counters.refused == 1
    peers[0].close()
    rig.until(lambda: len(rig.transport.connections) == 3)
    assert works(rig.connect())


def test_connections_in_all_have_a_limit(made: Callable[..., Rig]) -> None:
    rig = made('tcp:127.0.0.1:0?connections=2')
    peers = [rig.connect(source=f'127.0.0.{number}') for number in (1, 2)]
    assert all(works(peer) for peer in peers)
    assert rig.connect(source='127.0.0.3').recv(1) == b''
    rig.ask('sip:bob@127.0.0.1:1;transport=tcp')
    assert 'there are 2 connections' in str(rig.events[0].error)
    assert rig.transport.counters.refused == 2


def test_half_a_message_is_not_waited_for_for_ever(rig: Rig) -> None:
    dribbling, idle = rig.connect(), rig.connect()
    assert works(dribbling) and works(idle)
    transport = rig.transport
    start = transport.now()
    for second in range(int(transport.message) + 2):
        dribbling.sendall(b'x')
        gevent.sleep(0.001)
        transport.sweep(start + second)
    assert dribbling.recv(1) == b''
    assert transport.counters.expired == 1
    assert works(idle)


def test_who_connects_and_says_nothing(rig: Rig) -> None:
    peer, other = rig.connect(), rig.connect()
    assert works(other)
    rig.until(lambda: len(rig.transport.connections) == 2)
    rig.transport.sweep(rig.transport.now() + rig.transport.first - 1)
    assert len(rig.transport.connections) == 2
    rig.transport.sweep(rig.transport.now() + rig.transport.first + 1)
    assert peer.recv(1) == b''
    assert works(other)


def test_idle_connections_end_in_the_end(made: Callable[..., Rig]) -> None:
    rig = made('tcp:127.0.0.1:0?idle=100')
    peer = rig.connect()
    assert works(peer)
    now = rig.transport.now()
    rig.transport.sweep(now)
    rig.transport.sweep(now + 90)
    assert works(peer)
    rig.transport.sweep(now + 95)
    rig.transport.sweep(now + 185)
    assert works(peer)
    rig.transport.sweep(now + 190)
    rig.transport.sweep(now + 291)
    assert peer.recv(1) == b''


def test_a_peer_that_does_not_go_after_the_last_words(rig: Rig) -> None:
    peer = rig.connect()
    peer.sendall(b'garbage\r\n\r\n')
    assert peer.recv(100) == b''
    assert len(rig.transport.leaving) == 1
    rig.transport.sweep(rig.transport.now() + 10)
    assert len(rig.transport.leaving) == 0


def test_when_descriptors_run_out_others_are_served_and_later_all(rig: Rig) -> None:
    import resource

    served = rig.connect()
    assert works(served)
    waiting = green.socket()
    waiting.bind(('127.0.0.1', 0))
    rig.peers.append(waiting)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, limits[1]))
    try:
        waiting.connect(rig.address)
        rig.until(lambda: rig.transport.counters.errors)
        rounds = gevent.get_hub().loop.iteration
        assert works(served)
        gevent.sleep(0.02)
        assert gevent.get_hub().loop.iteration - rounds < 60
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    rig.transport._sweep()
    waiting.settimeout(PATIENCE)
    assert works(waiting)


@pytest.mark.parametrize(('host', 'source'), [
    ('192.0.2.1', '192.0.2.1'), ('2001:db8:1:2:3:4:5:6', '20010db800010002'),
    ('2001:db8:1:2:ffff::', '20010db800010002'), ('fe80::1%eth0', 'fe80000000000000'),
])
def test_who_is_one_source(host: str, source: str) -> None:
    assert source_of(host) == source


def test_an_option_that_is_not_known(made: Callable[..., Rig]) -> None:
    with pytest.raises(UsageError, match="tcp has no option 'cert', only advertise, alias, connect"):
        made('tcp:127.0.0.1:0?cert=x')


# -- reuse (RFC 5923)


def test_alias_where_it_was_asked_for(made: Callable[..., Rig]) -> None:
    rig = made('tcp:127.0.0.1:0?alias')
    peer = rig.connect()
    peer.sendall(options(b'x', 7777).replace(b';branch', b';alias;branch'))
    read_message(peer)
    rig.ask('sip:bob@127.0.0.1:7777;transport=tcp')
    request = read_message(peer)
    assert request.startswith(b'OPTIONS ')
    assert b';alias;rport;branch=' in request
    peer.close()
    rig.until(lambda: rig.events)
    # With the connection goes the alias.
    rig.ask('sip:bob@127.0.0.1:7777;transport=tcp')
    rig.until(lambda: len(rig.events) == 2)
    assert 'connection refused' in str(rig.events[1].error)


def test_alias_over_tcp_is_nothing_unless_asked_for(rig: Rig) -> None:
    peer = rig.connect()
    peer.sendall(options(b'x', 7777).replace(b';branch', b';alias;branch'))
    read_message(peer)
    rig.ask('sip:bob@127.0.0.1:7777;transport=tcp')
    rig.until(lambda: rig.events)
    assert 'connection refused' in str(rig.events[0].error)


# -- several addresses


def test_on_any_address_each_peer_sees_the_one_that_it_called(made: Callable[..., Rig]) -> None:
    rig = made('tcp:0.0.0.0:0')
    port = rig.address[1]
    rig.endpoint.on_event = lambda event: event.subject.respond(
        200, rig.endpoint.now(), body=SDP) if event.kind == INCOMING else None
    for number in (1, 2, 3):
        peer = rig.connect(f'127.0.0.{number}')
        peer.sendall(INVITE.replace(b'invite1', b'%d' % number).replace(b'call1', b'c%d' % number))
        assert f'Contact: <sip:127.0.0.{number}:{port};transport=tcp>'.encode() in read_message(peer)


def test_connections_leave_from_the_address_that_their_messages_name(made: Callable[..., Rig]) -> None:
    """Peers know a host by the address that they have called, of which it may have moved one to another host."""
    rig = made('tcp:0.0.0.0:0')
    peer = rig.connect('127.0.0.2')
    assert works(peer)
    face = rig.connection().flow.point
    gone = Point('TCP', face.address, advertised=('192.0.2.1', 5060), reliable=True)
    rig.endpoint.opened(gone, rig.transport)
    for point, source in ((face, '127.0.0.2'), (gone, '127.0.0.1'), (None, '127.0.0.1')):
        listener = rig.listen()
        rig.ask(f'sip:bob@{hostport(*listener.getsockname())};transport=tcp', point=point)
        assert rig.accept(listener).getpeername()[0] == source


def test_what_is_advertised_is_what_peers_see(made: Callable[..., Rig]) -> None:
    rig = made('tcp:0.0.0.0:0?advertise=203.0.113.5:5080')
    listener = rig.listen()
    rig.ask(f'sip:bob@{hostport(*listener.getsockname())};transport=tcp', contact=None)
    request = read_message(rig.accept(listener))
    assert b'Via: SIP/2.0/TCP 203.0.113.5:5080;rport;branch=' in request
    assert b'Contact: <sip:203.0.113.5:5080;transport=tcp>' in request


def test_several_places_each_with_its_own(made: Callable[..., Rig]) -> None:
    endpoint = Endpoint(Core(random=random.Random(2)), ['tcp:127.0.0.1:0', 'tcp:127.0.0.2:0', 'udp:127.0.0.3:0'])
    rig = made()
    listener = rig.listen()
    with endpoint:
        for point in endpoint.points[:2]:
            endpoint.core.request('OPTIONS', f'sip:b@{hostport(*listener.getsockname())};transport=tcp', endpoint.now(),
                                  from_='sip:a@x', point=point)
            endpoint.flush()
            peer = rig.accept(listener)
            assert peer.getpeername()[0] == point.address[0]
            assert f'Via: SIP/2.0/TCP {hostport(*point.address)};'.encode() in read_message(peer)


def test_link_local_addresses(made: Callable[..., Rig], link_local: str) -> None:
    rig = made(f'tcp:[{link_local}]:0')
    host, port = rig.address
    with green.socket(socket.AF_INET6) as listener:
        listener.bind(scoped(link_local, 0))
        listener.listen()
        listener.settimeout(PATIENCE)
        rig.ask(f'sip:bob@[{host}]:{listener.getsockname()[1]};transport=tcp', contact=None)
        peer, _ = listener.accept()
        peer.settimeout(PATIENCE)
        rig.peers.append(peer)
        request = read_message(peer)
        assert f'Via: SIP/2.0/TCP [{host}]:{port};'.encode() in request
        assert f'Contact: <sip:[{host}]:{port};transport=tcp>'.encode() in request
        # On all addresses the interface is known from where the peer has come.
        everywhere = made('tcp:[::]:0')
        caller = green.create_connection((link_local, everywhere.address[1]), PATIENCE)
        everywhere.peers.append(caller)
        everywhere.connection()
        everywhere.ask(f'sip:bob@[{host}]:{listener.getsockname()[1]};transport=tcp', contact=None)
        back, _ = listener.accept()
        back.settimeout(PATIENCE)
        everywhere.peers.append(back)
        assert f'Contact: <sip:[{host}]:{everywhere.address[1]};transport=tcp>'.encode() in read_message(back)


# -- the end


def test_closing_lets_the_last_words_leave(rig: Rig) -> None:
    peer = rig.connect()
    assert works(peer)
    connection = rig.connection()
    peer.sendall(b'something that nobody will read')
    rig.transport.send(b'goodbye', connection.flow)
    rig.endpoint.close()
    assert read_all(peer) == b'goodbye'
    with pytest.raises(OSError):
        rig.connect()
    rig.endpoint.close()


def test_closing_within_a_handler(rig: Rig) -> None:
    rig.endpoint.on_event = lambda event: rig.endpoint.close()
    peer = rig.connect()
    peer.sendall(options(b'x').replace(b'OPTIONS', b'MESSAGE') * 3)
    assert read_all(peer) == b''
    assert rig.endpoint.counters.failures == 0


def test_a_call_over_a_connection_that_is_new_each_time(rig: Rig) -> None:
    for number in range(5):
        peer = rig.connect()
        peer.sendall(INVITE.replace(b'invite1', b'%d' % number).replace(b'call1', b'c%d' % number))
        assert read_message(peer).startswith(b'SIP/2.0 486')
        peer.close()
    rig.until(lambda: not rig.transport.connections)
    assert rig.transport._sources == {} and rig.transport._ways == {}
    assert RESPONSE not in [event.kind for event in rig.events]
