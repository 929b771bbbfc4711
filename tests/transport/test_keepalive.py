"""Flows that are kept alive, and how one notices that they have failed: RFC 5626 4.4, RFC 6223."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import gevent
import pytest

from greensip.errors import UsageError, WrongState
from greensip.message import parse_message
from greensip.testing import Network
from greensip.transaction.flow import Flow
from greensip.transport.endpoint import Endpoint
from greensip.transport.keepalive import KeepAlives
from greensip.transport.memory import Packet
from greensip.transport.stun import answer_binding, binding_request, read_answer
from greensip.ua import UserAgent


@pytest.fixture
def net() -> Iterator[Network]:
    with Network(seed=3, delay=0.01) as made:
        yield made


class Rig:
    """An endpoint that keeps the flow to ``peer`` alive; ``asked`` are the times at which it was asked."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.endpoint = net.endpoint('alice')
        self.keeping = KeepAlives(self.endpoint)
        self.flow = Flow(self.endpoint.points[0], (net.address('peer'), 5060))
        self.asked: list[float] = []
        self.crlfs: list[float] = []
        self.failures: list[str] = []
        net.taps.append(self._on_packet)

    def _on_packet(self, packet: Packet) -> None:
        if packet.destination == self.flow.remote:
            if packet.data[:2] == b'\0\x01':
                self.asked.append(round(packet.time, 3))
            elif packet.data == b'\r\n\r\n':
                self.crlfs.append(packet.time)

    def begin(self, *args: Any, **options: Any) -> Any:
        return self.keeping.begin(*(args or (self.flow,)), on_failed=lambda wish: self.failures.append(str(wish.error)),
                                  **options)


@pytest.fixture
def rig(net: Network) -> Iterator[Rig]:
    made = Rig(net)
    yield made
    made.keeping.close()


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


# -- a flow that lives


def test_a_flow_is_asked_every_24_to_29_seconds(net: Network, rig: Rig) -> None:
    net.endpoint('peer')
    wish = rig.begin()
    net.run(600)
    assert all(24.0 <= gap <= 29.0 for gap in gaps(rig.asked)) and len(rig.asked) > 20
    assert len(set(gaps(rig.asked))) > 10
    assert (wish.mapped, wish.error, rig.failures) == (rig.flow.point.address, None, [])
    wish.stop()
    seen = len(rig.asked)
    net.run(100)
    assert len(rig.asked) == seen
    assert rig.keeping._probes == {} and rig.keeping._greenlet is None


def test_an_interval_is_kept_to_80_to_100_percent(net: Network, rig: Rig) -> None:
    net.endpoint('peer')
    with rig.begin(interval=10.0):
        net.run(300)
    assert all(8.0 <= gap <= 10.01 for gap in gaps(rig.asked)) and min(gaps(rig.asked)) < 9.0


def test_two_who_want_one_flow_ask_once(net: Network, rig: Rig) -> None:
    net.endpoint('peer')
    with rig.begin(interval=20.0), rig.begin(interval=20.0) as other:
        net.run(400)
        assert other.mapped == rig.flow.point.address
    assert 20 <= len(rig.asked) <= 27


def test_a_flow_that_is_not_known_yet(net: Network, rig: Rig) -> None:
    net.endpoint('peer')
    known: list[Flow | None] = [None]
    with rig.begin(lambda: known[0], interval=10.0, at_once=False):
        net.run(35)
        assert rig.asked == []
        known[0] = rig.flow
        net.run(20)
        assert len(rig.asked) in (2, 3)


def test_crlfs_for_peers_without_stun(net: Network, rig: Rig) -> None:
    bob = net.endpoint('peer')
    with rig.begin(method='crlf'):
        net.run(100)
    assert 4 <= len(rig.crlfs) <= 5 and rig.asked == []
    assert bob.transports[0].counters.keep_alives == len(rig.crlfs)
    assert bob.counters.broken == 0


@pytest.mark.parametrize('options', [{'method': 'tcp'}, {'interval': 0.5}, {'interval': float('nan')}])
def test_what_cannot_be_asked_for(rig: Rig, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        rig.begin(**options)


# -- a flow that fails


def test_silence_is_a_failure_after_seven_requests(net: Network, rig: Rig) -> None:
    wish = rig.begin(interval=200.0)
    net.run(39.4)
    assert rig.asked == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert rig.failures == []
    net.run(0.2)
    assert rig.failures == [f'{rig.flow.remote[0]}:5060 does not answer 7 keep-alives']
    assert 'failed' in repr(wish)
    # It is asked further, and may come back.
    net.endpoint('peer')
    net.run(220)
    assert (wish.error, wish.mapped, len(rig.failures)) == (None, rig.flow.point.address, 1)


def test_a_lost_request_is_sent_again(net: Network, rig: Rig) -> None:
    net.endpoint('peer')
    net.lose(lambda packet: packet.data[:2] in (b'\0\x01', b'\x01\x01'), times=3)
    wish = rig.begin()
    net.run(20)
    assert rig.asked == [0.0, 0.5, 1.5, 3.5]
    assert (wish.mapped, rig.failures) == (rig.flow.point.address, [])


def fake_peer(net: Network, answer: Callable[[bytes, Flow], bytes | None]) -> Endpoint:
    """A peer whose STUN answers are made by ``answer``."""
    peer = net.endpoint('peer')
    transport = peer.transports[0]

    def on_packet(packet: Packet) -> None:
        if packet.data[:2] == b'\0\x01':
            packet.lost = True
            flow = Flow(transport.point, packet.source)
            data = answer(packet.data, flow)
            if data is not None:
                transport.send(data, flow)

    net.taps.append(on_packet)
    return peer


def test_another_address_is_a_failure(net: Network, rig: Rig) -> None:
    mapped = ('203.0.113.1', 1000)
    fake_peer(net, lambda data, flow: answer_binding(data, mapped))
    wish = rig.begin(interval=10.0)
    net.run(30)
    assert (wish.mapped, wish.error, rig.failures) == (mapped, None, [])
    old, mapped = mapped, ('203.0.113.1', 1001)
    net.run(11)
    assert rig.failures == [
        f'{rig.flow.remote[0]}:5060 hears us from 203.0.113.1:1001, no longer from 203.0.113.1:1000']
    assert wish.mapped == mapped != old
    # Once it is known it is an address like any other.
    net.run(11)
    assert (wish.error, len(rig.failures)) == (None, 1)


def test_an_error_is_a_failure(net: Network, rig: Rig) -> None:
    fake_peer(net, lambda data, flow: b'\x01\x11\0\0' + data[4:20])
    rig.begin()
    net.run(1)
    assert rig.failures == [f'{rig.flow.remote[0]}:5060 refuses keep-alives: 500']


def test_answers_from_others_count_for_nothing(net: Network, rig: Rig) -> None:
    """Neither one that does not know the number of the request, nor one from another address."""
    mallory = net.endpoint('mallory').transports[0]

    def answer(data: bytes, flow: Flow) -> bytes | None:
        mallory.send(answer_binding(data, ('203.0.113.6', 6)) or b'', Flow(mallory.point, flow.remote))
        return answer_binding(binding_request(bytes(12)), ('203.0.113.6', 6))

    fake_peer(net, answer)
    wish = rig.begin()
    net.run(50)
    assert wish.mapped is None and len(rig.failures) == 1


def test_an_exception_of_the_program_ends_nothing(net: Network, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def fail(wish: object) -> None:
        raise ValueError('no')

    wish = rig.keeping.begin(rig.flow, on_failed=fail)
    net.run(40)
    assert 'ValueError: no' in caplog.text and wish.error is not None
    net.endpoint('peer')
    net.run(60)
    assert wish.error is None


# -- the peer's side, on real sockets


@pytest.mark.parametrize(('place', 'host', 'family'), [
    ('udp:127.0.0.1:0', '127.0.0.1', socket.AF_INET), ('udp:[::1]:0', '::1', socket.AF_INET6),
    ('udp:0.0.0.0:0', '127.0.0.1', socket.AF_INET),
])
def test_a_sip_port_answers_stun(place: str, host: str, family: socket.AddressFamily) -> None:
    with UserAgent(place, watchdog=None) as ua, socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((host, 0))
        peer.setblocking(False)
        peer.sendto(binding_request(b'123456789012'), (host, ua.points[0].address[1]))
        gevent.get_hub().wait(gevent.get_hub().loop.io(peer.fileno(), 1))
        data, sender = peer.recvfrom(2000)
        answer = read_answer(data)
        assert answer is not None and (answer.mapped, answer.transaction) == (peer.getsockname()[:2], b'123456789012')
        assert sender[:2] == (host, ua.points[0].address[1])
        assert (ua.endpoint.counters.broken, ua.endpoint.transports[0].counters.keep_alives) == (0, 1)


def test_over_real_sockets() -> None:
    with UserAgent('udp:127.0.0.1:0', watchdog=None) as alice, UserAgent('udp:127.0.0.1:0', watchdog=None) as bob:
        wish = alice.keep_alive(bob.uri)
        with gevent.Timeout(5):
            while wish.mapped is None:
                gevent.sleep(0.001)
        assert wish.mapped == alice.points[0].address


# -- the user agent


def test_a_user_agent_keeps_the_way_to_a_uri_open(net: Network) -> None:
    net.resolver.names['proxy'] = [net.address('bob')]
    alice, bob = net.user_agent('alice'), net.user_agent('bob')
    failures: list[object] = []
    with alice.keep_alive('sip:proxy', 10.0, on_failed=failures.append) as wish:
        net.run(5)
        assert wish.mapped == alice.points[0].address
        assert wish.flow.remote == bob.points[0].address
        bob.close()
        net.run(60)
        assert failures and wish.error is not None
    alice.close()
    with pytest.raises(WrongState):
        alice.keep_alive('sip:proxy')


def keeps(net: Network) -> list[tuple[str, str | None]]:
    """What is said about keep-alives in each message: its title, and the parameter, '' without value."""
    found = []
    for packet in net.packets:  # type: ignore[attr-defined]
        if packet.data[:1] > b'\x01' and packet.data != b'\r\n\r\n':
            params = parse_message(packet.data).via.params
            found.append((packet.title, (params['keep'] or '') if 'keep' in params else None))
    return found


@pytest.fixture
def call(net: Network) -> Callable[..., Any]:
    """Two user agents, and a call between them, with their options."""
    net.packets = []  # type: ignore[attr-defined]
    net.taps.append(net.packets.append)  # type: ignore[attr-defined]

    def begin(ours: dict[str, Any], theirs: dict[str, Any]) -> Any:
        alice, bob = net.user_agent('alice', **ours), net.user_agent('bob', **theirs)
        bob.serve(lambda leg: (leg.ring(), leg.answer(), leg.wait_ended()), background=True)
        return alice.call(net.uri('bob'), timeout=5)

    return begin


def asked(net: Network) -> list[float]:
    return [packet.time for packet in net.packets if packet.data[:2] == b'\0\x01']  # type: ignore[attr-defined]


def test_keep_alives_are_negotiated_for_a_call(net: Network, call: Callable[..., Any]) -> None:
    with call({'send_keep_alives': True}, {'expect_keep_alives': 30}):
        net.run(0.1)
        assert keeps(net) == [('INVITE', ''), ('180 INVITE', '30'), ('200 INVITE', '30'), ('ACK', None)]
        assert asked(net) == []
        net.run(300)
        assert all(24.0 <= gap <= 30.0 for gap in gaps(asked(net))) and len(asked(net)) >= 10
    net.run(0.1)
    assert keeps(net)[4:] == [('BYE', None), ('200 BYE', None)]
    seen = len(asked(net))
    net.run(300)
    assert len(asked(net)) == seen


def test_who_wants_them_and_does_not_answer_is_left_alone(net: Network, call: Callable[..., Any]) -> None:
    """RFC 6223 10: what a stranger wrote into our Via is no reason to bother a server for hours."""
    with call({'send_keep_alives': True}, {'expect_keep_alives': 30}) as leg:
        net.lose(lambda packet: packet.data[:2] == b'\0\x01', times=1000)
        net.run(3000)
        assert len(asked(net)) == 7
        assert leg.request('INFO').code == 200


def test_zero_leaves_the_interval_to_us(net: Network, call: Callable[..., Any]) -> None:
    with call({'send_keep_alives': True}, {'expect_keep_alives': 0}):
        net.run(300)
        assert all(24.0 <= gap <= 29.0 for gap in gaps(asked(net))) and len(asked(net)) >= 10


@pytest.mark.parametrize(('ours', 'theirs', 'seen'), [
    ({'send_keep_alives': True}, {}, ''), ({}, {'expect_keep_alives': 30}, None), ({}, {}, None),
])
def test_without_both_there_are_none(net: Network, call: Callable[..., Any], ours: Any, theirs: Any, seen: Any) -> None:
    with call(ours, theirs):
        net.run(300)
        assert keeps(net)[:2] == [('INVITE', seen), ('180 INVITE', seen)]
        assert asked(net) == []


# -- streams


def test_keep_alives_of_a_call_over_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('greensip.transport.keepalive.SHORTEST', 0.01)
    with (UserAgent('tcp:127.0.0.1:0', watchdog=None, send_keep_alives=True) as alice,
          UserAgent('tcp:127.0.0.1:0', watchdog=None, expect_keep_alives=1) as bob):
        bob.serve(lambda leg: (leg.answer(), leg.wait_ended()), background=True)
        with alice.call(bob.uri, timeout=5), gevent.Timeout(5):
            counters = bob.endpoint.transports[0].counters
            while not counters.keep_alives:
                gevent.sleep(0.01)
        assert counters.accepted == 1


def test_the_peer_of_a_stream_is_pinged_while_there_is_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('greensip.transport.keepalive.PONG_TIME', -0.99)
    failures: list[str] = []
    with UserAgent('tcp:127.0.0.1:0', watchdog=None) as alice:
        bob = UserAgent('tcp:127.0.0.1:0', watchdog=None)
        alice.options(bob.uri, timeout=5)
        counters = bob.endpoint.transports[0].counters
        wish = alice.keep_alive(bob.uri, on_failed=lambda wish: failures.append(str(wish.error)))
        with gevent.Timeout(5):
            while not counters.keep_alives or not alice.endpoint.transports[0].counters.keep_alives:
                gevent.sleep(0.001)
        assert (wish.error, wish.mapped) == (None, None)
        bob.close()
        with alice.keep_alive(bob.uri, 1.0), gevent.Timeout(5):
            while not failures:
                gevent.sleep(0.001)
        assert failures == [f'the connection to {bob.points[0].sent_by} is gone']


def test_without_a_connection_nobody_is_asked(free_port: Callable[[], int]) -> None:
    with UserAgent('tcp:127.0.0.1:0', watchdog=None) as alice:
        failures: list[object] = []
        wish = alice.keep_alive(f'sip:127.0.0.1:{free_port()};transport=tcp', on_failed=failures.append)
        gevent.sleep(0.01)
        assert (wish.error, failures) == (None, [])
        assert alice.endpoint.transports[0].counters.opened == 0
