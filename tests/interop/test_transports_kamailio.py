"""Kamailio on the path between two of our user agents: it stays in the dialogs, whatever it speaks to either."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from benchmarks import lab, peers
from benchmarks.certificates import Certificate

from greensip import IncomingLeg, UserAgent

CALLS = 150
RATE = 75.0
#: a session description that takes several segments of TCP
LARGE = ('v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n'
         + ''.join(f'a=x-attribute-of-no-meaning:{number:05d}\r\n' for number in range(300)))


class Between:
    """Alice, Kamailio, Bob."""

    def __init__(self, alice: UserAgent, bob: UserAgent, uri: str, transports: tuple[str, str]) -> None:
        self.alice = alice
        self.bob = bob
        #: Bob, as Alice calls him: through the proxy
        self.uri = uri
        self.transports = transports


@pytest.fixture(params=['tcp tcp', 'tls tls', 'tcp udp', 'udp tcp', 'tls tcp', 'ws tcp', 'ws udp'])
def path(request: pytest.FixtureRequest, place: Callable[..., str], certificate: Certificate,
         needs: Callable[..., None], absent: Callable[[str], None], running: list[peers.Peer], folder: Path,
         free_port: Callable[..., int]) -> Iterator[Between]:
    """Alice and Bob with Kamailio in between; the parameter is the transport to Alice and the one to Bob."""
    needs('kamailio')
    for name in lab.modules('tls', 'websocket'):
        absent(f"Kamailio's module {name}")
    left, right = request.param.split()
    listen = {kind: free_port() for kind in ('udp', 'tcp', 'tls', 'ws')}
    with UserAgent(place(left), name='alice') as alice, UserAgent(place(right), name='bob') as bob:
        next_hop = f'sip:127.0.0.1:{bob.points[0].address[1]};transport={right}'
        running.append(lab.kamailio(listen, next_hop, folder, certificate))
        yield Between(alice, bob, f'sip:bob@127.0.0.1:{listen[left]};transport={left}', (left, right))


def test_it_stays_on_the_path(path: Between) -> None:
    left, right = path.transports
    for hangs_up in ('caller', 'callee'):
        with path.alice.invite(path.uri, sdp=LARGE) as leg:
            incoming = path.bob.accept(timeout=10)
            request = incoming.invite
            assert request is not None
            assert request.body.decode() == LARGE
            assert [via.transport for via in request.vias] == [right.upper(), left.upper()]
            # An entry for each of its sides (RFC 5658).
            routes = [str(entry.uri.params.get('transport') or 'udp').lower() for entry in request.record_routes]
            assert list(dict.fromkeys(routes)) == list(dict.fromkeys([right, left]))
            incoming.ring()
            leg.wait_for('180', timeout=10)
            incoming.answer(LARGE)
            leg.wait_for('200', timeout=10)
            incoming.wait_for('ACK', timeout=10)
            # A request inside the dialog from each side, on the route of both.
            assert incoming.request('INFO', timeout=10).code == 200
            assert leg.request('INFO', timeout=10).code == 200
            (leg if hangs_up == 'caller' else incoming).hangup()
            leg.wait_ended(timeout=10)
            incoming.wait_ended(timeout=10)


@pytest.mark.parametrize('transport', ['tcp', 'tls'])
@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
def test_it_restarts_in_mid_call(how: signal.Signals, transport: str, place: Callable[..., str],
                                 certificate: Certificate, needs: Callable[..., None], running: list[peers.Peer],
                                 folder: Path, free_port: Callable[..., int]) -> None:
    """Its connections are gone, at a moment that nobody is told of; the calls over it go on."""
    needs('kamailio')
    listen = {transport: free_port()}
    with UserAgent(place(transport), name='alice') as alice, UserAgent(place(transport), name='bob') as bob:
        next_hop = f'sip:127.0.0.1:{bob.points[0].address[1]};transport={transport}'
        (folder / 'first').mkdir()
        running.append(lab.kamailio(listen, next_hop, folder / 'first', certificate))
        with alice.invite(f'sip:bob@127.0.0.1:{listen[transport]};transport={transport}', sdp=LARGE) as leg:
            incoming = bob.accept(timeout=10)
            incoming.answer(LARGE)
            leg.wait_for('200', timeout=10)
            incoming.wait_for('ACK', timeout=10)
            # All its processes at once, which are a group.
            os.killpg(running[0].pid, how)
            running[0].wait(10)
            (folder / 'second').mkdir()
            running.append(lab.kamailio(listen, next_hop, folder / 'second', certificate))
            assert incoming.request('INFO', timeout=10).code == 200
            assert leg.request('INFO', timeout=10).code == 200
            leg.hangup()
            incoming.wait_ended(timeout=10)


def test_load_through_it(path: Between) -> None:
    ended: list[bool] = []

    def answer(leg: IncomingLeg) -> None:
        leg.ring()
        leg.answer()
        leg.wait_for('ACK', timeout=20)
        if len(ended) % 2:
            leg.hangup()
        leg.wait_ended()

    def call() -> None:
        with path.alice.call(path.uri, timeout=20) as leg:
            gevent.sleep(0.1)
            if not leg.ended:
                leg.hangup()
            leg.wait_ended(timeout=20)
            ended.append(True)

    path.bob.serve(answer, background=True)
    calls = []
    for _ in range(CALLS):
        calls.append(gevent.spawn(call))
        gevent.sleep(1 / RATE)
    gevent.joinall(calls, raise_error=True)
    assert len(ended) == CALLS
    for ua in (path.alice, path.bob):
        assert ua.endpoint.counters.failures == ua.endpoint.counters.broken == 0


@pytest.mark.parametrize('left', ['ws', 'tls', 'tcp'])
def test_it_calls_us_on_the_connection_of_our_registration(
        left: str, place: Callable[..., str], certificate: Certificate, needs: Callable[..., None],
        absent: Callable[[str], None], running: list[peers.Peer], folder: Path,
        free_port: Callable[..., int]) -> None:
    needs('kamailio')
    for name in lab.modules('tls', 'websocket'):
        absent(f"Kamailio's module {name}")
    listen = {kind: free_port() for kind in ('udp', 'tcp', 'tls', 'ws')}
    running.append(lab.kamailio(listen, 'sip:127.0.0.1:9', folder, certificate))
    with UserAgent(place(left), name='bob') as bob, UserAgent(place('udp'), name='alice') as alice:
        bob.request('REGISTER', f'sip:127.0.0.1:{listen[left]};transport={left}',
                    from_=f'sip:bob@127.0.0.1:{listen["udp"]}', to=f'sip:bob@127.0.0.1:{listen["udp"]}', contact=None,
                    headers={'Expires': '600'}, timeout=10)
        with alice.invite(f'sip:bob@127.0.0.1:{listen["udp"]}') as leg:
            incoming = bob.accept(timeout=10)
            assert incoming.invite is not None
            assert incoming.invite.via.transport == left.upper()
            incoming.answer()
            leg.wait_for('200', timeout=10)
            incoming.wait_for('ACK', timeout=10)
            incoming.hangup()
            leg.wait_ended(timeout=10)
            incoming.wait_ended(timeout=10)
        assert peers.connections(listen[left]) == 1
        # For the ACK it may connect to our Contact, but not where that is known to be of no use.
        assert peers.connections(bob.points[0].address[1]) == (0 if left == 'ws' else 1)
