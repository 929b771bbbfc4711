"""HEP packets, chunk by chunk, and servers that are slow or not there.  What Kamailio makes of them: tests/interop."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.server import StreamServer

from greensip.errors import SetupError, UsageError
from greensip.testing import Network
from greensip.transaction.flow import Flow, Point
from greensip.transport.hep import QUEUE, HepPlace, HepTap, hep_packet
from greensip.ua import UserAgent

INVITE = b'INVITE sip:bob@x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nCall-ID: c1@x\r\nCSeq: 1 INVITE\r\n\r\n'
FLOW = Flow(Point('UDP', ('127.0.0.9', 5065)), ('192.0.2.1', 40001))
FLOW6 = Flow(Point('WSS', ('fd00::9', 443)), ('2001:db8::1', 40002))


def chunks(packet: bytes) -> dict[int, bytes]:
    """The chunks of one HEP packet; all of it must be chunks."""
    kind, length = struct.unpack_from('!4sH', packet)
    assert (kind, length) == (b'HEP3', len(packet))
    found: dict[int, bytes] = {}
    rest = packet[6:]
    while rest:
        vendor, number, size = struct.unpack_from('!HHH', rest)
        assert vendor == 0 and 6 <= size <= len(rest) and number not in found
        found[number], rest = rest[6:size], rest[size:]
    return found


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(('127.0.0.1', 0))
        server.settimeout(5)
        yield server


# -- a packet


def test_a_packet_over_ipv4() -> None:
    packet = hep_packet(INVITE, FLOW, FLOW.remote, FLOW.point.address, 1_700_000_000.25, capture_id=7)
    assert chunks(packet) == {
        1: b'\x02', 2: b'\x11', 3: bytes((192, 0, 2, 1)), 4: bytes((127, 0, 0, 9)), 7: struct.pack('!H', 40001),
        8: struct.pack('!H', 5065), 9: struct.pack('!I', 1_700_000_000), 10: struct.pack('!I', 250_000), 11: b'\x01',
        12: struct.pack('!I', 7), 15: INVITE, 17: b'c1@x'}


def test_a_packet_over_ipv6_and_a_stream() -> None:
    packet = hep_packet(INVITE, FLOW6, FLOW6.point.address, FLOW6.remote, 1.0, password='secret')
    found = chunks(packet)
    assert (found[1], found[2], found[14]) == (b'\x0a', b'\x06', b'secret')
    assert socket.inet_ntop(socket.AF_INET6, found[5]) == 'fd00::9'
    assert socket.inet_ntop(socket.AF_INET6, found[6]) == '2001:db8::1'


@pytest.mark.parametrize(('host', 'shown'), [('fe80::1%eth0', 'fe80::1'), ('sip.example.com', '::')])
def test_addresses_that_are_none(host: str, shown: str) -> None:
    found = chunks(hep_packet(INVITE, FLOW6, (host, 5060), FLOW6.remote, 1.0))
    assert socket.inet_ntop(socket.AF_INET6, found[5]) == shown


@pytest.mark.parametrize(('data', 'call_id'), [
    (b'BYE sip:b SIP/2.0\r\ni:  compact\r\n\r\n', b'compact'),
    (b'BYE sip:b SIP/2.0\r\nCALL-ID\t: upper \r\n\r\n', b'upper'),
    (b'BYE sip:b SIP/2.0\r\nX-Call-ID: no\r\n\r\n', None), (b'\x80\x81', None), (b'', None),
])
def test_correlation(data: bytes, call_id: bytes | None) -> None:
    found = chunks(hep_packet(data, FLOW, FLOW.remote, FLOW.point.address, 1.0))
    assert (found.get(17), found[15]) == (call_id, data)


def test_a_large_message_is_cut() -> None:
    data = INVITE + b'x' * 100_000
    packet = hep_packet(data, FLOW, FLOW.remote, FLOW.point.address, 1.0)
    assert 64_000 < len(packet) <= 65_000
    assert data.startswith(chunks(packet)[15])


# -- where they go


@pytest.mark.parametrize(('text', 'expected'), [
    ('192.0.2.9', ('UDP', '192.0.2.9', 9060, 0, None)),
    ('homer.example.com:9061', ('UDP', 'homer.example.com', 9061, 0, None)),
    ('udp:[2001:db8::9]?id=2001', ('UDP', '2001:db8::9', 9060, 2001, None)),
    ('TCP:192.0.2.9:1?id=7&password=a%20b', ('TCP', '192.0.2.9', 1, 7, 'a b')),
])
def test_places(text: str, expected: tuple[object, ...]) -> None:
    place = HepPlace(text)
    assert (place.transport, place.host, place.port, place.capture_id, place.password) == expected


@pytest.mark.parametrize('text', ['', 'h:0', 'h:99999', 'h:x', 'h?id=x', 'h?id=4294967296', 'h?password=', 'h?x=1',
                                  'a b', '::', 'tcp:0.0.0.0:9060'])
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        HepPlace(text)


def test_a_server_that_is_no_address() -> None:
    with pytest.raises(SetupError, match=r'cannot be sent to udp:homer\.invalid:9060: not an address$'):
        HepTap('homer.invalid')


# -- what is sent


def test_it_is_sent_with_its_time_and_direction(server: socket.socket) -> None:
    tap = HepTap(f'127.0.0.1:{server.getsockname()[1]}', epoch=1_700_000_000.0)
    tap('<', INVITE, FLOW, 1.5)
    tap('>', INVITE, FLOW, 2.5)
    first, second = chunks(server.recv(65535)), chunks(server.recv(65535))
    assert (first[9], first[10], first[3], first[4]) == (
        struct.pack('!I', 1_700_000_001), struct.pack('!I', 500_000), bytes((192, 0, 2, 1)), bytes((127, 0, 0, 9)))
    assert (second[3], second[4]) == (first[4], first[3])
    assert (tap.sent, tap.lost) == (2, 0)
    tap.close()
    tap.close()
    tap('<', INVITE, FLOW, 1.5)
    assert tap.sent == 2


def test_a_server_that_is_not_there_disturbs_nobody(server: socket.socket, free_port: Callable[[], int]) -> None:
    tap = HepTap(f'127.0.0.1:{free_port()}')
    for _ in range(10):
        tap('<', INVITE, FLOW, 1.0)
    assert tap.sent + tap.lost == 10
    tap.close()


def test_a_user_agent_tells_a_server_by_name(server: socket.socket) -> None:
    with Network() as net:
        net.resolver.names['homer'] = ['127.0.0.1']
        alice = net.user_agent('alice', hep=f'homer:{server.getsockname()[1]}?id=5')
        net.user_agent('bob').serve(lambda leg: leg.reject(486), background=True)
        leg = alice.invite(net.uri('bob'))
        net.run(1)
        found = [chunks(server.recv(65535)) for _ in range(3)]
        assert {chunk[17] for chunk in found} == {leg.call_id.encode()}
        assert [chunk[15].split(b' sip')[0].split(b'\r')[0] for chunk in found] == [
            b'INVITE', b'SIP/2.0 486 Busy Here', b'ACK']
        leg.close()


def test_a_user_agent_without_its_server(free_port: Callable[[], int], tmp_path: Path) -> None:
    place = f'udp:127.0.0.1:{free_port()}'
    with pytest.raises(SetupError, match='captured messages cannot be sent to udp:homer'), Network() as net:
        net.user_agent('alice', hep='homer:9060')
    with pytest.raises(UsageError):
        UserAgent(place, pcap=str(tmp_path / 'x.pcap'), hep='h?x=1')
    UserAgent(place, watchdog=None).close()


# -- over TCP


def test_it_is_sent_over_tcp_and_after_the_server_was_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('greensip.transport.hep.RETRY', 0.001)
    stream = b''
    connections: list[gevent.socket.socket] = []
    handlers: list[gevent.Greenlet] = []
    arrived = gevent.event.Event()

    def take(connection: gevent.socket.socket, address: object) -> None:
        nonlocal stream
        connections.append(connection)
        handlers.append(gevent.getcurrent())
        while data := connection.recv(65536):
            stream += data
            arrived.set()

    server = StreamServer(('127.0.0.1', 0), take)
    server.start()
    tap = HepTap(f'tcp:127.0.0.1:{server.server_port}')

    def send(count: int) -> None:
        for _ in range(count):
            tap('<', INVITE, FLOW, 1.0)

    def arrive() -> None:
        arrived.clear()
        assert arrived.wait(5)

    send(2)
    arrive()
    assert stream.count(b'HEP3') == 2
    connections[0].shutdown(socket.SHUT_RDWR)
    # What goes into a connection that the server has closed is lost before anybody can know.
    while len(connections) < 2:
        send(1)
        gevent.sleep(0.001)
    send(1)
    arrive()
    tap.close()
    server.stop()
    gevent.joinall(handlers, timeout=5)
    for packet in stream.split(b'HEP3')[1:]:
        assert chunks(b'HEP3' + packet)[15] == INVITE


def test_what_waits_is_bounded() -> None:
    with socket.socket() as server:
        # It takes no connection, so nothing can be sent.
        server.bind(('127.0.0.1', 0))
        tap = HepTap(f'tcp:127.0.0.1:{server.getsockname()[1]}')
        for _ in range(QUEUE + 5):
            tap('<', INVITE, FLOW, 1.0)
        assert (tap.sent, tap.lost) == (0, 5)
        tap.close()
