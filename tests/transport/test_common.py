"""What holds for every transport.  A new one gets a line in ``STAGES``."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import gevent
import pytest
from benchmarks.certificates import Authority, Certificate
from gevent.event import Event as GeventEvent

from greensip.dialog import ENDED, FAILED, INCOMING, REQUEST, RESPONSE, Core, Event
from greensip.errors import ConnectError, LocalHangup, MessageTooBig, RemoteHangup, TransportError
from greensip.testing import Ladder, Network
from greensip.transaction.flow import hostport
from greensip.transport import Endpoint, Listen

PATIENCE = 5.0


class Stage:
    """Endpoints on one transport, and waiting until something has happened to them."""

    def __init__(self, place: str, network: Network | None) -> None:
        self.place = place
        self.network = network
        self.endpoints: list[Endpoint] = []
        self.ladder = Ladder()
        self.events: dict[str, list[Event]] = {}
        self.on: dict[tuple[str, str], Callable[[Event], object]] = {}
        self.news = GeventEvent()

    def endpoint(self, name: str, place: str = '') -> Endpoint:
        endpoint = Endpoint(Core(random=random.Random(name)), [place or self.place], network=self.network)
        self.endpoints.append(endpoint)
        self.ladder.add(endpoint, name)
        events = self.events[name] = []

        def on_event(event: Event) -> None:
            events.append(event)
            handler = self.on.get((name, event.name))
            if handler is not None:
                handler(event)
            self.news.set()

        endpoint.on_event = on_event
        endpoint.start()
        return endpoint

    def uri(self, endpoint: Endpoint) -> str:
        point = endpoint.points[0]
        return f'sip:x@{hostport(*point.address)}{point.contact_params}'

    def until(self, happened: Callable[[], bool]) -> None:
        with gevent.Timeout(PATIENCE):
            while not happened():
                self.news.clear()
                self.news.wait()

    def ask(self, endpoint: Endpoint, method: str, uri: str, **options: object) -> None:
        endpoint.core.request(method, uri, endpoint.now(), from_='sip:somebody@example.com', **options)
        endpoint.flush()

    def close(self) -> None:
        for endpoint in self.endpoints:
            endpoint.close()


STAGES: dict[str, tuple[str, bool]] = {
    'udp': ('udp:127.0.0.1:0', False),
    'udp on IPv6': ('udp:[::1]:0', False),
    'udp on any address': ('udp:0.0.0.0:0', False),
    'tcp': ('tcp:127.0.0.1:0', False),
    'tcp on IPv6': ('tcp:[::1]:0', False),
    'tcp on any address': ('tcp:0.0.0.0:0', False),
    'tcp on any address, IPv6': ('tcp:[::]:0', False),
    'tls': ('tls:127.0.0.1:0', False),
    'tls on IPv6': ('tls:[::1]:0', False),
    'tls on any address': ('tls:0.0.0.0:0', False),
    'ws': ('ws:127.0.0.1:0', False),
    'ws on IPv6': ('ws:[::1]:0', False),
    'wss': ('wss:127.0.0.1:0', False),
    'wss on IPv6': ('wss:[::1]:0', False),
    'wss on any address': ('wss:0.0.0.0:0', False),
    'memory': ('udp:10.9.9.9:0', True),
    'memory, IPv6': ('udp:[2001:db8::9]:0', True),
}


@pytest.fixture(scope='session')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Authority(tmp_path_factory.mktemp('certificates')).issue()


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Stage]:
    place, memory = STAGES[request.param]
    if place.startswith(('tls', 'wss')):
        place += f'?cert={certificate.cert}&key={certificate.key}&ca={certificate.ca}'
    if not memory:
        made = Stage(place, None)
        yield made
        made.close()
        return
    with Network() as net:
        made = Stage(place, net)
        yield made
        made.close()


def reachable(stage: Stage, endpoint: Endpoint) -> str:
    """Its URI; one that listens on every address is on this machine."""
    return stage.uri(endpoint).replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]')


def test_a_request_and_its_answer(stage: Stage) -> None:
    alice, bob = stage.endpoint('alice'), stage.endpoint('bob')
    stage.ask(alice, 'OPTIONS', reachable(stage, bob))
    stage.until(lambda: bool(stage.events['alice']))
    event = stage.events['alice'][0]
    assert (event.kind, event.code) == (RESPONSE, 200)
    host, port = alice.points[0].toward(event.exchange.flow.remote[0]).advertised
    assert event.message.via.sent_by == hostport(host, port)
    assert event.message.via.rport == port or alice.points[0].reliable


def test_a_call(stage: Stage) -> None:
    alice, bob = stage.endpoint('alice'), stage.endpoint('bob')

    def answer(event: Event) -> None:
        event.subject.respond(180, bob.now())
        event.subject.respond(200, bob.now(), body=b'v=0\r\n')

    stage.on['bob', 'INVITE'] = answer
    stage.on['bob', 'ACK'] = lambda event: event.subject.bye(bob.now())
    usage = alice.core.invite(reachable(stage, bob), alice.now(), from_='sip:alice@example.com', body=b'v=0\r\n')
    alice.flush()
    stage.until(lambda: all(any(event.kind == ENDED for event in events) for events in stage.events.values()))
    assert usage.state == 'terminated'
    assert [event.name for event in stage.events['alice']] == ['180', '200', 'BYE', 'ended']
    assert isinstance(stage.events['alice'][-1].error, RemoteHangup)
    assert isinstance(stage.events['bob'][-1].error, LocalHangup)
    assert stage.events['bob'][0].kind == INCOMING
    titles = [arrow.title for arrow in stage.ladder.arrows]
    assert titles == ['INVITE', '180 INVITE', '200 INVITE', 'ACK', 'BYE', '200 BYE']


def test_messages_keep_their_order(stage: Stage) -> None:
    alice, bob = stage.endpoint('alice'), stage.endpoint('bob')
    count = 100
    stage.on['bob', 'MESSAGE'] = lambda event: bob.core.respond(event.exchange, 200, bob.now())
    for number in range(count):
        stage.ask(alice, 'MESSAGE', reachable(stage, bob), body=b'%d' % number, content_type='text/plain')
    stage.until(lambda: len(stage.events['alice']) >= count)
    bodies = [event.message.body for event in stage.events['bob'] if event.kind == REQUEST]
    assert bodies == [b'%d' % number for number in range(count)]


def test_large_messages_and_too_large_ones(stage: Stage) -> None:
    alice, bob = stage.endpoint('alice'), stage.endpoint('bob')
    bodies: list[bytes] = []

    def take(event: Event) -> None:
        bodies.append(event.message.body)
        bob.core.respond(event.exchange, 200, bob.now())

    stage.on['bob', 'MESSAGE'] = take
    large = bytes(range(256)) * 200
    stage.ask(alice, 'MESSAGE', reachable(stage, bob), body=large, content_type='application/octet-stream')
    stage.until(lambda: len(stage.events['alice']) == 1)
    assert bodies == [large]
    stage.ask(alice, 'MESSAGE', reachable(stage, bob), body=b'x' * 70000, content_type='text/plain')
    stage.until(lambda: len(stage.events['alice']) == 2)
    # A datagram cannot carry it; from a stream the peer does not take it.
    event = stage.events['alice'][1]
    assert isinstance(event.error, MessageTooBig) or event.code == 513
    assert len(bodies) == 1


def test_where_nobody_listens_any_more(stage: Stage) -> None:
    alice, bob = stage.endpoint('alice'), stage.endpoint('bob')
    uri = reachable(stage, bob)
    bob.close()
    stage.ask(alice, 'OPTIONS', uri)
    stage.until(lambda: bool(stage.events['alice']))
    event = stage.events['alice'][0]
    assert event.kind == FAILED
    assert isinstance(event.error, ConnectError)
    assert event.error.status == 503


def test_a_port_is_taken_once(stage: Stage) -> None:
    bob = stage.endpoint('bob')
    point = bob.points[0]
    place = str(Listen.parse(stage.place)._replace(port=point.address[1], host=point.address[0]))
    with pytest.raises(TransportError, match='address already in use') as caught:
        stage.endpoint('robert', place)
    assert '\n' not in str(caught.value)
    bob.close()
    stage.endpoint('robert', place)


def test_closed_is_closed(stage: Stage) -> None:
    alice, bob = stage.endpoint('alice'), stage.endpoint('bob')
    alice.close()
    stage.ask(alice, 'OPTIONS', reachable(stage, bob))
    assert bob.counters.messages == 0
    assert stage.events['alice'] == []
