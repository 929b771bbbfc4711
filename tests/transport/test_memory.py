"""The memory network: what arrives, what does not, and that chance can be repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import gevent
import pytest

from greensip.errors import ConnectError, MessageTooBig, TransportError, UsageError
from greensip.testing import VirtualClock
from greensip.transaction.flow import Flow, Point
from greensip.transport import Listen, MemoryNetwork, MemoryTransport, Packet, Transport
from greensip.transport import memory as memory_module
from greensip.transport.memory import title_matches


class Collector:
    """A receiver that notes what it gets, and when."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.got: list[tuple[float, bytes]] = []
        self.failures: list[tuple[float, tuple[str, int], bytes]] = []

    def received(self, data: bytes, flow: Flow) -> None:
        self.got.append((round(self.network.clock.now(), 6), data))

    def failed(self, flow: Flow, error: TransportError, data: bytes = b'') -> None:
        assert isinstance(error, ConnectError)
        self.failures.append((round(self.network.clock.now(), 6), flow.remote, data))

    def opened(self, point: Point, transport: Transport) -> None:
        raise AssertionError('there are no wildcard addresses here')

    @property
    def data(self) -> list[bytes]:
        return [data for _, data in self.got]


class Pair:
    """A network with two transports on it."""

    def __init__(self, seed: int = 1, **accidents: float) -> None:
        self.clock = VirtualClock()
        self.network = MemoryNetwork(random.Random(seed), clock=self.clock, **accidents)
        self.near, self.far = Collector(self.network), Collector(self.network)
        self.sender = self.open('udp:10.0.0.1:5060', self.near)
        self.target = self.open('udp:10.0.0.2:5060', self.far)

    def open(self, place: str, collector: Collector) -> MemoryTransport:
        transport = self.network.listen(Listen.parse(place), collector)
        transport.start()
        return transport

    def send(self, *messages: bytes, to: tuple[str, int] = ('10.0.0.2', 5060)) -> None:
        for data in messages:
            self.sender.send(data, Flow(self.sender.point, to))

    def close(self) -> None:
        self.sender.close()
        self.target.close()
        self.clock.close()
        gevent.sleep(0)


@pytest.fixture
def pair() -> Iterator[Callable[..., Pair]]:
    pairs: list[Pair] = []

    def make(seed: int = 1, **accidents: float) -> Pair:
        pairs.append(Pair(seed, **accidents))
        return pairs[-1]

    yield make
    for made in pairs:
        made.close()


MakePair = Callable[..., Pair]
NUMBERS = [b'message %d' % number for number in range(200)]


def test_in_order_and_at_once_without_accidents(pair: MakePair) -> None:
    p = pair()
    p.send(*NUMBERS)
    p.clock.sleep(0)
    assert p.far.data == NUMBERS
    assert p.clock.now() == 0


def test_a_delay_keeps_the_order(pair: MakePair) -> None:
    p = pair(delay=0.05)
    p.send(*NUMBERS[:3])
    p.clock.sleep(0.02)
    p.send(NUMBERS[3])
    p.clock.sleep(1)
    assert p.far.got == [*((0.05, data) for data in NUMBERS[:3]), (0.07, NUMBERS[3])]


def test_loss(pair: MakePair) -> None:
    p = pair(loss=0.3)
    p.send(*NUMBERS)
    p.clock.sleep(0)
    assert 120 <= len(p.far.got) <= 160
    assert p.far.data == sorted(p.far.data, key=NUMBERS.index)


def test_doubling(pair: MakePair) -> None:
    p = pair(duplicate=0.25)
    p.send(*NUMBERS)
    p.clock.sleep(0)
    assert set(p.far.data) == set(NUMBERS)
    assert 30 <= len(p.far.data) - len(NUMBERS) <= 70


@pytest.mark.parametrize('accident', [{'reorder': 0.1}, {'jitter': 0.05}])
def test_reordering(pair: MakePair, accident: dict[str, float]) -> None:
    p = pair(delay=0.01, **accident)
    for data in NUMBERS:
        p.send(data)
        p.clock.sleep(0.005)
    p.clock.sleep(1)
    assert p.far.data != NUMBERS
    assert sorted(p.far.data) == sorted(NUMBERS)


def test_chance_can_be_repeated(pair: MakePair) -> None:
    accidents = {'delay': 0.01, 'jitter': 0.02, 'loss': 0.2, 'duplicate': 0.2, 'reorder': 0.2}
    runs = []
    for seed in (1, 1, 2):
        p = pair(seed, **accidents)
        p.send(*NUMBERS)
        p.clock.sleep(5)
        runs.append(p.far.got)
    assert runs[0] == runs[1] != runs[2]


def test_a_port_where_nobody_listens_is_refused_and_a_host_that_is_down_is_silent(pair: MakePair) -> None:
    p = pair(delay=0.02)
    p.send(b'refused', to=('10.0.0.2', 5999))
    p.send(b'lost', to=('10.0.0.77', 5060))
    p.clock.sleep(1)
    assert p.near.failures == [(0.04, ('10.0.0.2', 5999), b'refused')]
    p.target.close()
    p.send(b'gone')
    p.clock.sleep(1)
    assert p.near.failures[1:] == [(1.04, ('10.0.0.2', 5060), b'gone')]
    p.network.hosts.discard('10.0.0.2')
    p.send(b'down')
    p.clock.sleep(1)
    assert len(p.near.failures) == 2


def test_what_is_under_way_when_its_target_closes_is_refused(pair: MakePair) -> None:
    p = pair(delay=0.1)
    p.send(b'x')
    p.target.close()
    p.clock.sleep(1)
    assert p.far.got == []
    assert [data for _, _, data in p.near.failures] == [b'x']


def test_a_full_inbox_loses(pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, 'INBOX', 50)
    p = pair()
    p.send(*NUMBERS)
    p.clock.sleep(0)
    assert p.far.data == NUMBERS[:50]
    assert p.target.counters.dropped == 150


def test_what_the_network_does_not_take(pair: MakePair) -> None:
    p = pair()
    with pytest.raises(MessageTooBig):
        p.send(b'x' * 65508)
    with pytest.raises(ConnectError, match='not an IPv4 address'):
        p.send(b'x', to=('2001:db8::1', 5060))
    p.sender.close()
    with pytest.raises(TransportError, match='closed'):
        p.send(b'x')


def test_places_to_listen_at(pair: MakePair) -> None:
    p = pair()
    with pytest.raises(TransportError, match=r'^cannot listen on udp:10\.0\.0\.1:5060: address already in use$'):
        p.open('udp:10.0.0.1:5060', p.near)
    with pytest.raises(UsageError, match='knows UDP only'):
        p.open('tcp:10.0.0.3:5060', p.near)
    wild = [p.open(place, p.near) for place in ('udp:0.0.0.0:5060', 'udp:0.0.0.0:5060', 'udp:[::]:5060')]
    assert [transport.point.family for transport in wild] == [4, 4, 6]
    assert len({transport.point.address for transport in (p.sender, p.target, *wild)}) == 5
    free = [p.open('udp:10.0.0.1:0', p.near) for _ in range(3)]
    assert len({transport.point.address for transport in free}) == 3
    named = p.open('udp:Alice:5060', p.near)
    assert named.point.address[0] == p.network.address('alice') == p.network.resolver.names['alice'][0]
    six = p.open('udp:[2001:db8::1]:5060', p.near)
    assert six.point.family == 6
    for transport in (*free, *wild, named, six):
        transport.close()
    p.sender.close()
    p.sender = p.open('udp:10.0.0.1:5060', p.near)


def test_rules(pair: MakePair) -> None:
    p = pair(delay=0.01)
    invite, ok = b'INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n', b'SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n'
    rule = p.network.lose('INVITE', times=2)
    p.network.hold('200', 0.5)
    p.network.lose(lambda packet: packet.destination[1] == 5999)
    packets: list[Packet] = []
    p.network.taps.append(packets.append)
    p.send(invite, ok, invite, invite, ok)
    p.clock.sleep(1)
    assert p.far.got == [(0.01, invite), (0.01, ok), (0.51, ok)]
    assert rule.left == 0
    assert [(packet.title, packet.lost, [round(time, 6) for time in packet.arrivals]) for packet in packets] == [
        ('INVITE', True, []), ('200 INVITE', False, [0.51]), ('INVITE', True, []), ('INVITE', False, [0.01]),
        ('200 INVITE', False, [0.01])]


@pytest.mark.parametrize(('title', 'pattern', 'expected'), [
    ('INVITE', 'INVITE', True), ('200 INVITE', 'INVITE', False), ('200 INVITE', '200', True),
    ('200 INVITE', '2xx', True), ('183 INVITE', '18x', True), ('200 INVITE', '18x', False),
    ('200 INVITE', '200 INVITE', True), ('200 BYE', '200 INVITE', False), ('INVITE', '200', False),
    ('?', 'INVITE', False), ('?', '200', False), ('INVITE', 'INVITE 200', False),
])
def test_titles_and_patterns(title: str, pattern: str, expected: bool) -> None:
    assert title_matches(title, pattern) is expected


def test_flows_of_many_senders_are_bounded(pair: MakePair) -> None:
    p = pair()
    for number in range(3 * memory_module.FLOWS):
        p.target.put((f'192.0.{number >> 8}.{number & 255}', 5060), b'x', None)
        if number % 1000 == 999:
            p.clock.sleep(0)
    p.clock.sleep(0)
    assert len(p.far.got) == 3 * memory_module.FLOWS
    assert len(p.target._flows) <= 2 * memory_module.FLOWS
