"""UDP sockets on the loopback, against plain sockets of the test."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue

from greensip.errors import ConnectError, MessageTooBig, TransportError, UsageError
from greensip.transaction.flow import Flow, Point
from greensip.transport.base import Listen, Transport, readable_head
from greensip.transport.sources import leaving_from, scoped
from greensip.transport.udp import DRAIN, SEND_QUEUE, UdpTransport

PATIENCE = 5.0

INVITE = (b'INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKabc\r\n'
          b'CSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody')


class Collector:
    """A receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.inbox: Queue[tuple[bytes, Flow]] = Queue()
        self.failures: Queue[tuple[Flow, TransportError, bytes]] = Queue()
        self.points: list[Point] = []
        self.on_received: Callable[[bytes], None] = lambda data: None

    def received(self, data: bytes, flow: Flow) -> None:
        self.inbox.put((data, flow))
        self.on_received(data)

    def failed(self, flow: Flow, error: TransportError, data: bytes = b'') -> None:
        self.failures.put((flow, error, data))

    def opened(self, point: Point, transport: Transport) -> None:
        self.points.append(point)

    def take(self, count: int) -> list[bytes]:
        return [self.inbox.get(timeout=PATIENCE)[0] for _ in range(count)]


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def opened(collector: Collector) -> Iterator[Callable[..., UdpTransport]]:
    """Opens transports that are closed at the end."""
    transports: list[UdpTransport] = []

    def open_transport(place: str = 'udp:127.0.0.1:0', **options: object) -> UdpTransport:
        transport = UdpTransport(Listen.parse(place), collector, **options)
        transports.append(transport)
        transport.start()
        return transport

    yield open_transport
    for transport in transports:
        transport.close()


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(('127.0.0.1', 0))
        peer.setblocking(False)
        yield peer


Opened = Callable[..., UdpTransport]

linux = pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells of addresses called and of ICMP errors')


def dead_address() -> tuple[str, int]:
    """An address where nobody listens any more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()


@pytest.mark.parametrize(('place', 'host', 'family'), [
    ('udp:127.0.0.1:0', '127.0.0.1', socket.AF_INET), ('udp:[::1]:0', '::1', socket.AF_INET6),
])
def test_both_families_carry_datagrams_both_ways(opened: Opened, collector: Collector, place: str, host: str,
                                                 family: socket.AddressFamily) -> None:
    transport = opened(place)
    assert transport.point.address[1] > 0
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((host, 0))
        peer.sendto(INVITE, transport.point.address)
        data, flow = collector.inbox.get(timeout=PATIENCE)
        assert data == INVITE
        assert flow == Flow(transport.point, peer.getsockname()[:2])
        transport.send(b'answer', flow)
        assert peer.recv(100) == b'answer'
    assert (transport.counters.received, transport.counters.sent) == (1, 1)


def test_more_than_a_drain_arrives_complete_and_in_order(opened: Opened, collector: Collector,
                                                         peer: socket.socket) -> None:
    transport = opened()
    sent = [b'datagram %d' % number for number in range(4 * DRAIN + 1)]
    for data in sent:
        peer.sendto(data, transport.point.address)
    assert collector.take(len(sent)) == sent


def test_a_flood_leaves_others_their_turn(opened: Opened, collector: Collector, peer: socket.socket) -> None:
    transport = opened()
    first = Event()
    seen: list[int] = []

    def handler() -> None:
        first.wait()
        seen.append(transport.counters.received)

    collector.on_received = lambda data: first.set()
    greenlet = gevent.spawn(handler)
    gevent.sleep(0)
    for _ in range(8 * DRAIN):
        peer.sendto(b'flood', transport.point.address)
    collector.take(8 * DRAIN)
    greenlet.join()
    assert seen[0] <= DRAIN


def test_a_receiver_that_blocks_is_not_disturbed_by_what_arrives_meanwhile(opened: Opened, collector: Collector,
                                                                           peer: socket.socket) -> None:
    """Logging handlers and the like may switch greenlets under the reader's feet."""
    transport = opened()
    release = Event()
    order: list[str] = []

    def on_received(data: bytes) -> None:
        if data == b'first':
            order.append('first begins')
            release.wait(PATIENCE)
            order.append('first ends')
        else:
            order.append('second')

    collector.on_received = on_received
    peer.sendto(b'first', transport.point.address)
    collector.take(1)
    peer.sendto(b'second', transport.point.address)
    # Long enough for the watcher to see the second datagram, and be switched off.
    gevent.sleep(0.02)
    release.set()
    collector.take(1)
    assert order == ['first begins', 'first ends', 'second']


def test_keep_alives_are_counted_and_go_no_further(opened: Opened, collector: Collector, peer: socket.socket) -> None:
    transport = opened()
    for data in (b'\r\n\r\n', b'\0\0\0\0', b'', b'BYE'):
        peer.sendto(data, transport.point.address)
    assert collector.take(1) == [b'BYE']
    assert transport.counters.keep_alives == 3


def test_a_reader_survives_a_receiver_that_raises(opened: Opened, collector: Collector, peer: socket.socket,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    transport = opened()

    def on_received(data: bytes) -> None:
        if data == b'bad':
            raise RuntimeError('no')

    collector.on_received = on_received
    for data in (b'bad', b'good'):
        peer.sendto(data, transport.point.address)
    assert collector.take(2) == [b'bad', b'good']
    assert 'RuntimeError: no' in caplog.text


def test_a_killed_reader_does_not_keep_the_loop_busy(opened: Opened, peer: socket.socket) -> None:
    transport = opened()
    gevent.sleep(0)
    transport._reader.kill()
    peer.sendto(b'x', transport.point.address)
    rounds = gevent.get_hub().loop.iteration
    gevent.sleep(0.02)
    assert gevent.get_hub().loop.iteration - rounds < 20


# -- binding


def test_a_port_in_use_is_refused_with_a_sentence(opened: Opened) -> None:
    port = opened().point.address[1]
    with pytest.raises(TransportError) as caught:
        opened(f'udp:127.0.0.1:{port}')
    assert str(caught.value) == f'cannot listen on udp:127.0.0.1:{port}: address already in use'
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_somebody_else_is_refused(opened: Opened) -> None:
    with pytest.raises(TransportError, match=r'^cannot listen on udp:192\.0\.2\.1:5060: cannot assign'):
        opened('udp:192.0.2.1:5060')


def test_options_are_refused(opened: Opened) -> None:
    with pytest.raises(UsageError, match="udp has no option 'cert', only advertise"):
        opened('udp:127.0.0.1:0?cert=x')


def test_udp_has_no_options(opened: Opened) -> None:
    with pytest.raises(UsageError, match="udp has no option 'idle', only advertise"):
        opened('udp:127.0.0.1:0?idle=3')
    assert opened('udp:127.0.0.1:0?advertise=203.0.113.5:5060').point.sent_by == '203.0.113.5:5060'


def test_a_closed_port_is_free_at_once(opened: Opened) -> None:
    transport = opened()
    port = transport.point.address[1]
    transport.close()
    transport.close()
    assert opened(f'udp:127.0.0.1:{port}').point.address[1] == port


def test_the_same_port_of_both_families(opened: Opened) -> None:
    port = opened('udp:0.0.0.0:0').point.address[1]
    assert opened(f'udp:[::]:{port}').point.address == ('::', port)


def test_closing_while_receiving(opened: Opened, collector: Collector, peer: socket.socket) -> None:
    transport = opened()
    collector.on_received = lambda data: transport.close()
    for data in (b'one', b'two'):
        peer.sendto(data, transport.point.address)
    assert collector.take(1) == [b'one']
    gevent.sleep(0)
    assert collector.inbox.empty()


def test_an_advertised_address(opened: Opened) -> None:
    point = opened('udp:0.0.0.0:0;advertise=203.0.113.5:5070').point
    assert point.sent_by == '203.0.113.5:5070'
    assert opened('udp:127.0.0.1:0;advertise=203.0.113.5:0').point.sent_by.startswith('203.0.113.5:')


@pytest.mark.parametrize(('place', 'host', 'family'), [
    ('udp:0.0.0.0:0', '127.0.0.1', socket.AF_INET), ('udp:[::]:0', '::1', socket.AF_INET6),
])
def test_a_wildcard_address_shows_each_peer_the_address_that_faces_it(
        opened: Opened, collector: Collector, place: str, host: str, family: socket.AddressFamily) -> None:
    transport = opened(place)
    port = transport.point.address[1]
    assert transport.point.advertised[0] not in ('0.0.0.0', '::')
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((host, 0))
        peer.sendto(b'hello', (host, port))
        _, flow = collector.inbox.get(timeout=PATIENCE)
        assert flow.point.advertised == (host, port)
        assert flow.point is transport.point.toward(host)
        # The receiver has been told of a point that was not there before.
        assert collector.points == ([] if flow.point is transport.point else [flow.point])
        transport.send(b'answer', flow)
        assert peer.recv(100) == b'answer'


@linux
@pytest.mark.parametrize('advertise', ['', ';advertise=203.0.113.5:5070'])
def test_who_has_called_one_of_several_addresses_is_answered_from_it(opened: Opened, collector: Collector,
                                                                     advertise: str) -> None:
    """RFC 3581 4: a NAT, like a connected socket, takes the answer from nowhere else."""
    transport = opened(f'udp:0.0.0.0:0{advertise}')
    port = transport.point.address[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual:
        for peer, host in ((caller, '127.0.0.2'), (usual, '127.0.0.1')):
            peer.settimeout(PATIENCE)
            peer.bind(('127.0.0.1', 0))
            peer.connect((host, port))
            peer.send(b'hello')
            _, flow = collector.inbox.get(timeout=PATIENCE)
            assert flow.point.sent_by == ('203.0.113.5:5070' if advertise else f'{host}:{port}')
            transport.send(b'answer', flow)
            assert peer.recv(100) == b'answer'
            # The next one comes on the same flow.
            peer.send(b'again')
            assert collector.inbox.get(timeout=PATIENCE)[1] is flow


@linux
def test_an_address_that_is_gone_is_left_out(opened: Opened, collector: Collector, peer: socket.socket) -> None:
    transport = opened('udp:0.0.0.0:0')
    peer.sendto(b'hello', ('127.0.0.2', transport.point.address[1]))
    _, flow = collector.inbox.get(timeout=PATIENCE)
    transport._sources[flow.point] = leaving_from('192.0.2.1')
    transport.send(b'answer', flow)
    assert peer.recvfrom(100) == (b'answer', ('127.0.0.1', transport.point.address[1]))


def test_link_local_addresses(opened: Opened, collector: Collector, link_local: str) -> None:
    """Their scope is ours and the peer's own affair: it does not show, and is known from where the peer was heard."""
    transport = opened(f'udp:[{link_local}]:0')
    host, port = transport.point.address
    assert transport.point.sent_by == f'[{link_local.partition("%")[0]}]:{port}'
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer, \
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as contact:
        for each in (peer, contact):
            each.settimeout(PATIENCE)
            each.bind(scoped(link_local, 0))
        everywhere = opened('udp:[::]:0')
        for one in (transport, everywhere):
            peer.sendto(b'hello', scoped(link_local, one.point.address[1]))
            _, flow = collector.inbox.get(timeout=PATIENCE)
            assert flow.point.advertised == (host, one.point.address[1])
            one.send(b'answer', flow)
            assert peer.recv(100) == b'answer'
            # Another port of its, as its Contact or sent-by may name one
            one.send(b'request', Flow(flow.point, (host, contact.getsockname()[1])))
            assert contact.recv(100) == b'request'


def test_an_interface_that_is_not_there(opened: Opened) -> None:
    with pytest.raises(TransportError, match=r'^cannot listen on udp:\[fe80::1%nothing0\]:0: no interface'):
        opened('udp:[fe80::1%nothing0]:0')


# -- what can go wrong in sending


@pytest.mark.parametrize(('remote', 'reason'), [
    (('::1', 5060), 'not an IPv4 address'), (('bob.example.com', 5060), 'not an IPv4 address'),
    (('127.0.0.1', 0), 'no such port'), (('127.0.0.1', 70000), 'no such port'),
])
def test_an_address_that_cannot_be(opened: Opened, remote: tuple[str, int], reason: str) -> None:
    transport = opened()
    with pytest.raises(ConnectError, match=reason):
        transport.send(b'x', Flow(transport.point, remote))


def test_a_datagram_that_is_too_big(opened: Opened, peer: socket.socket) -> None:
    transport = opened()
    flow = Flow(transport.point, peer.getsockname())
    with pytest.raises(MessageTooBig) as caught:
        transport.send(b'x' * 65508, flow)
    assert caught.value.status == 513
    assert caught.value.errno == errno.EMSGSIZE
    transport.send(b'small', flow)
    assert peer.recv(100) == b'small'


def test_a_closed_transport_says_so(opened: Opened, peer: socket.socket) -> None:
    transport = opened()
    transport.send(b'x', Flow(transport.point, peer.getsockname()))
    transport.close()
    with pytest.raises(TransportError):
        transport.send(b'x', Flow(transport.point, peer.getsockname()))


class Counted(socket.socket):
    """A socket that counts how often it was read."""

    reads = 0

    def recvfrom_into(self, *args: Any) -> tuple[int, Any]:
        self.reads += 1
        return super().recvfrom_into(*args)


class Clogged(socket.socket):
    """A socket whose buffer is full for the first few datagrams."""

    full = 0

    def sendto(self, *args: object) -> int:
        if self.full > 0:
            self.full -= 1
            raise BlockingIOError(errno.EAGAIN, 'full')
        return super().sendto(*args)


def test_what_finds_the_buffer_full_is_sent_later_and_in_order(opened: Opened, peer: socket.socket) -> None:
    transport = opened(socket_type=Clogged)
    flow = Flow(transport.point, peer.getsockname())
    transport.socket.full = 3
    for number in range(10):
        transport.send(b'%d' % number, flow)
    assert transport.counters.sent == 0
    assert transport.counters.queued == 10
    with gevent.Timeout(PATIENCE):
        while transport.counters.sent < 10:
            gevent.sleep(0.001)
    assert [peer.recv(10) for _ in range(10)] == [b'%d' % number for number in range(10)]
    transport.send(b'and straight again', flow)
    assert peer.recv(100) == b'and straight again'


def test_the_queue_is_bounded(opened: Opened, peer: socket.socket) -> None:
    transport = opened(socket_type=Clogged)
    flow = Flow(transport.point, peer.getsockname())
    transport.socket.full = 10**9
    for _ in range(SEND_QUEUE):
        transport.send(b'x', flow)
    with pytest.raises(TransportError, match='are waiting'):
        transport.send(b'x', flow)
    assert transport.counters.dropped == 1


# -- ICMP


@linux
@pytest.mark.parametrize('place', ['udp:127.0.0.1:0', 'udp:[::1]:0', 'udp:0.0.0.0:0', 'udp:[::]:0'])
def test_a_refusal_is_told_with_the_message_that_was_refused(opened: Opened, collector: Collector, place: str) -> None:
    transport = opened(place)
    host = '::1' if '[' in place else '127.0.0.1'
    remote = (host, dead_address()[1])
    transport.send(INVITE, Flow(transport.point, remote))
    flow, error, data = collector.failures.get(timeout=PATIENCE)
    assert flow.remote == remote
    assert isinstance(error, ConnectError)
    assert error.errno == errno.ECONNREFUSED
    assert 'connection refused' in str(error)
    assert b'branch=z9hG4bKabc' in data


@linux
def test_the_next_datagram_does_not_suffer_for_a_refusal(opened: Opened, collector: Collector,
                                                         peer: socket.socket) -> None:
    """The system reports the refusal at the next call, whatever that is about."""
    transport = opened()
    dead = Flow(transport.point, dead_address())
    living = Flow(transport.point, peer.getsockname())
    for number in range(10):
        transport.send(INVITE, dead)
        transport.send(b'%d' % number, living)
    assert [peer.recv(10) for _ in range(10)] == [b'%d' % number for number in range(10)]
    for _ in range(10):
        assert collector.failures.get(timeout=PATIENCE)[0] == dead
    assert collector.failures.empty()
    # and the reader lives
    peer.sendto(b'hello', transport.point.address)
    assert collector.take(1) == [b'hello']


@linux
def test_nobody_reads_in_circles_once_a_refusal_was_told(opened: Opened, collector: Collector) -> None:
    """The socket counts as readable until its error queue is empty."""
    transport = opened(socket_type=Counted)
    transport.send(INVITE, Flow(transport.point, dead_address()))
    collector.failures.get(timeout=PATIENCE)
    reads = transport.socket.reads
    gevent.sleep(0.02)
    assert transport.socket.reads == reads


@linux
def test_the_error_queue_is_read_also_when_no_call_has_failed(opened: Opened, collector: Collector) -> None:
    transport = opened()
    transport.send(INVITE, Flow(transport.point, dead_address()))
    # Asking takes the error away from the calls, not from the queue, which leaves the socket readable.
    assert transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    assert collector.failures.get(timeout=PATIENCE)[1].errno == errno.ECONNREFUSED


@linux
def test_a_refusal_without_evidence_harms_nobody(opened: Opened, collector: Collector) -> None:
    transport = opened()
    transport.send(b'not a line of a message', Flow(transport.point, dead_address()))
    with gevent.Timeout(PATIENCE):
        while transport.counters.errors == 0:
            gevent.sleep(0.001)
    assert collector.failures.empty()


def test_icmp_errors_can_be_left_to_the_timers(opened: Opened, collector: Collector) -> None:
    transport = opened(icmp_errors=False)
    dead = Flow(transport.point, dead_address())
    for _ in range(3):
        transport.send(INVITE, dead)
    gevent.sleep(0.01)
    assert collector.failures.empty()


@linux
@pytest.mark.parametrize(('place', 'origin', 'kind', 'told'), [
    ('udp:127.0.0.1:0', 2, 3, True), ('udp:127.0.0.1:0', 2, 12, True), ('udp:127.0.0.1:0', 2, 11, False),
    ('udp:127.0.0.1:0', 2, 4, False), ('udp:[::1]:0', 3, 1, True), ('udp:[::1]:0', 3, 4, True),
    ('udp:[::1]:0', 3, 3, False), ('udp:[::1]:0', 3, 2, False),
])
def test_which_errors_are_told(opened: Opened, collector: Collector, place: str, origin: int, kind: int,
                               told: bool) -> None:
    """RFC 3261 18.4: unreachable, and a problem with a parameter; not a source that is to slow down, not time."""
    transport = opened(place)
    field = struct.pack('=IBBBBII', errno.EPROTO, origin, kind, 0, 0, 0, 0)
    transport._icmp_error(field, INVITE, transport.point.address)
    assert collector.failures.qsize() == told


@pytest.mark.parametrize(('quoted', 'head'), [
    (INVITE, INVITE[:-len(b'Content-Length: 4\r\n\r\nbody')] + b'\r\n'),
    (INVITE[:60], b'INVITE sip:bob@127.0.0.1 SIP/2.0\r\n\r\n'),
    (INVITE[:34], b'INVITE sip:bob@127.0.0.1 SIP/2.0\r\n\r\n'),
    (b'INVITE sip:b', b''), (b'', b''),
    (b'BYE x SIP/2.0\r\nl : 9\r\nTo: a\r\n\r\n', b'BYE x SIP/2.0\r\nTo: a\r\n\r\n'),
    (b'BYE x SIP/2.0\r\nTo: a\r\nRoute: ' + b'r' * 60000, b'BYE x SIP/2.0\r\nTo: a\r\n\r\n'),
])
def test_the_head_of_a_quoted_datagram(quoted: bytes, head: bytes) -> None:
    assert readable_head(quoted) == head
