"""Calls that come by one transport and leave by another, over the loopback."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks.certificates import Authority, Certificate

from greensip.b2bua.app import B2bua
from greensip.b2bua.command_line import parse_command_line
from greensip.errors import Forbidden, Redirected, RemoteCancel, ResponseError, SetupError
from greensip.transaction.flow import Point, hostport
from greensip.ua import UserAgent

TRANSPORTS = ('udp', 'tcp', 'tls', 'ws', 'wss')
OFFER = (b'v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n'
         b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')
ANSWER = OFFER.replace(b'4000', b'4002')


@pytest.fixture(scope='session')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Authority(tmp_path_factory.mktemp('certificates')).issue()


class Site:
    """A B2BUA and user agents on the loopback; ``place`` is where something can listen by a transport."""

    def __init__(self, folder: Path, certificate: Certificate) -> None:
        self.folder = folder
        self.certificate = certificate
        self.b2buas: list[B2bua] = []
        self.agents: list[UserAgent] = []

    def place(self, transport: str, host: str = '127.0.0.1') -> str:
        place = f'{transport}:{host}:0'
        if transport in ('tls', 'wss'):
            made = self.certificate
            place += f'?cert={made.cert}&key={made.key}&ca={made.ca}'
        return place

    def agent(self, *transports: str, handler: Callable[[Any], object] | None = None,
              host: str = '127.0.0.1') -> UserAgent:
        ua = UserAgent(*(self.place(transport, host) for transport in transports), watchdog=None)
        self.agents.append(ua)
        if handler is not None:
            ua.serve(handler, background=True)
        return ua

    def b2bua(self, *arguments: str) -> B2bua:
        options = parse_command_line(['-f', '-u', '-c', str(self.folder / f'socket{len(self.b2buas)}'), '--cdr',
                                      str(self.folder / 'cdr'), *arguments])
        options.check()
        made = B2bua(options)
        self.b2buas.append(made)
        made.start()
        return made

    def records(self) -> list[dict[str, Any]]:
        for made in self.b2buas:
            made.close()
        return [json.loads(line) for line in (self.folder / 'cdr').read_text().splitlines()]

    def close(self) -> None:
        for made in (*self.b2buas, *self.agents):
            made.close()


@pytest.fixture
def site(certificate: Certificate) -> Iterator[Site]:
    # Not tmp_path: the name of a unix socket has a short limit.
    with tempfile.TemporaryDirectory(prefix='b2b') as folder:
        made = Site(Path(folder), certificate)
        yield made
        made.close()


def point(owner: Any, transport: str) -> Point:
    ua = owner.ua if isinstance(owner, B2bua) else owner
    return next(point for point in ua.points if point.transport.lower() == transport)


def uri(owner: Any, transport: str, user: str = '123') -> str:
    return f'sip:{user}@{point(owner, transport).sent_by};transport={transport}'


def route(owner: Any, transport: str) -> str:
    return f'{point(owner, transport).sent_by};transport={transport}'


def answering(legs: list[Any]) -> Callable[[Any], None]:
    def answer(leg: Any) -> None:
        legs.append(leg)
        leg.ring()
        leg.answer(ANSWER)
        leg.wait_ended()
    return answer


@pytest.mark.parametrize('outward', TRANSPORTS)
@pytest.mark.parametrize('inward', TRANSPORTS)
def test_every_transport_to_every_transport(site: Site, inward: str, outward: str) -> None:
    legs: list[Any] = []
    callee = site.agent(outward, handler=answering(legs))
    both = dict.fromkeys((inward, outward))
    listen = [word for name in both for word in ('--listen', site.place(name))]
    b2bua = site.b2bua(*listen, '-s', route(callee, outward))
    caller = site.agent(inward)
    with caller.call(uri(b2bua, inward), sdp=OFFER, timeout=5) as leg:
        assert leg.remote_sdp == ANSWER
        assert legs[0].invite.via.transport == outward.upper()
        # Both ways inside the dialog: the callee's requests go back over whatever the call has come by.
        assert leg.request('INFO', body='up').code == 200
        assert legs[0].request('INFO', body='down').code == 200
        line = next(b2bua.call_lines())
        assert f'({inward}:' in line.replace('Connected(', '') or f' {inward}:' in line
        assert f' {outward}:' in line
        legs[0].hangup()
        leg.wait_ended(timeout=5)
    record, = site.records()
    assert (record['code'], record['released_by'], record['route']) == (
        200, 'callee', point(callee, outward).sent_by)
    assert (record['transport'], record['transport_out']) == (inward, outward)


@pytest.mark.parametrize('hosts', [('127.0.0.1', '[::1]'), ('[::1]', '127.0.0.1')])
def test_tls_on_one_family_and_udp_on_the_other(site: Site, hosts: tuple[str, str]) -> None:
    inward, outward = hosts
    legs: list[Any] = []
    callee = site.agent('udp', handler=answering(legs), host=outward)
    b2bua = site.b2bua('--listen', site.place('tls', inward), '--listen', site.place('udp', outward), '-s',
                       point(callee, 'udp').sent_by)
    with site.agent('tls', host=inward).call(uri(b2bua, 'tls'), sdp=OFFER, timeout=5) as leg:
        assert leg.remote_sdp == ANSWER
    legs[0].wait_ended(timeout=5)
    assert site.records()[0]['released_by'] == 'caller'


def test_the_next_route_goes_by_another_transport(site: Site, free_port: Callable[[], int]) -> None:
    """Nobody listens at the first, which a connection finds out at once; UDP is what a route without a word means."""
    legs: list[Any] = []
    callee = site.agent('udp', handler=answering(legs))
    b2bua = site.b2bua('--listen', site.place('udp'), '--listen', site.place('tcp'), '--listen', site.place('tls'),
                       '-s', f'127.0.0.1:{free_port()};transport=tcp', '-s', f'127.0.0.1:{free_port()};transport=tls',
                       '-s', point(callee, 'udp').sent_by)
    with site.agent('tcp').call(uri(b2bua, 'tcp'), sdp=OFFER, timeout=5):
        assert legs[0].invite.via.transport == 'UDP'
    record, = site.records()
    assert [attempt.split()[1] for attempt in record['attempts']] == ['503', '503']


def test_the_outbound_proxy_is_reached_by_the_transport(site: Site) -> None:
    legs: list[Any] = []
    proxy = site.agent('tcp', handler=answering(legs))
    b2bua = site.b2bua('--listen', site.place('udp'), '--listen', site.place('tcp'), '-s',
                       f'somewhere.invalid;op={point(proxy, "tcp").sent_by};transport=tcp')
    with site.agent('udp').call(uri(b2bua, 'udp').removesuffix(';transport=udp'), sdp=OFFER, timeout=5):
        invite = legs[0].invite
        assert invite.via.transport == 'TCP'
        assert str(invite.uri) == 'sip:123@somewhere.invalid'
        assert invite.get('Route') == f'<sip:{point(proxy, "tcp").sent_by};transport=tcp;lr>'


@pytest.mark.parametrize('transport', ['tcp', 'tls'])
def test_what_comes_from_the_outbound_proxy_is_not_sent_back_there(site: Site, transport: str) -> None:
    """The port that its connection comes from is none at which it listens: its Via tells."""
    legs: list[Any] = []
    callee = site.agent(transport, handler=answering(legs))
    back: list[Any] = []
    proxy = site.agent(transport, handler=answering(back))
    b2bua = site.b2bua('--listen', site.place(transport), '-s',
                       f'{point(callee, transport).sent_by};op={point(proxy, transport).sent_by};transport={transport}')
    with proxy.call(uri(b2bua, transport), sdp=OFFER, timeout=5):
        assert not legs[0].invite.has('Route')
    with site.agent(transport).call(uri(b2bua, transport), sdp=OFFER, timeout=5):
        assert back[0].invite.has('Route')


def test_back_to_where_a_connection_came_from(site: Site) -> None:
    """sippy's host "sip-ua": for a connection its port is nobody's, so the call goes back over it."""
    b2bua = site.b2bua('--listen', site.place('tcp'), '-s', 'sip-ua')
    legs: list[Any] = []

    def answer(leg: Any) -> None:
        legs.append(leg)
        leg.reject(486)

    caller = site.agent('tcp', handler=answer)
    with pytest.raises(ResponseError) as caught:
        caller.call(uri(b2bua, 'tcp'), sdp=OFFER, timeout=5)
    assert caught.value.code == 486 and len(legs) == 1
    assert caller.endpoint.transports[0].counters.accepted == 0


@pytest.mark.parametrize('transport', ['udp', 'tcp', 'tls'])
def test_a_loop_is_seen_by_every_transport(site: Site, transport: str, free_port: Callable[[], int]) -> None:
    port = free_port()
    place = site.place(transport).replace(':0', f':{port}', 1)
    b2bua = site.b2bua('--listen', place, '-s', f'127.0.0.1:{port};transport={transport}')
    with pytest.raises(ResponseError) as caught:
        site.agent(transport).call(uri(b2bua, transport), sdp=OFFER, timeout=5)
    assert caught.value.code == 482
    assert b2bua.count == 2


def test_a_route_without_a_place_to_send_from(site: Site) -> None:
    with pytest.raises(SetupError) as caught:
        site.b2bua('--listen', site.place('udp'), '-s', '192.0.2.1;transport=tls')
    assert str(caught.value) == ('the route 192.0.2.1;transport=tls needs a place of its transport to send from:'
                                 ' pass --listen tls:HOST:PORT')


@pytest.mark.parametrize(('place', 'route', 'sentence'), [
    ('udp:[::1]:0', '127.0.0.1:5080', 'no place of ours leads to the route 127.0.0.1:5080:'
                                      ' pass --listen udp:0.0.0.0:PORT'),
    ('udp:127.0.0.1:0', '[2001:db8::1]', 'no place of ours leads to the route [2001:db8::1]:'
                                         ' pass --listen udp:[::]:PORT'),
    ('tcp:127.0.0.1:0', '127.0.0.1', 'no place of ours leads to the route 127.0.0.1: pass --listen udp:0.0.0.0:PORT'),
    ('tcp:127.0.0.1:0', '127.0.0.1;transport=tcp', None),
    ('udp:127.0.0.1:0', '[2001:db8::1];op=127.0.0.1', None),
    ('udp:127.0.0.1:0', 'example.com', None),
])
def test_a_route_of_another_family_is_told_of(site: Site, caplog: pytest.LogCaptureFixture, place: str, route: str,
                                              sentence: str | None) -> None:
    site.b2bua('--listen', place, '-s', route)
    said = [record.getMessage() for record in caplog.records if 'leads to the route' in record.getMessage()]
    assert said == ([f'! {sentence}'] if sentence is not None else [])


@pytest.mark.parametrize(('place', 'sentence'), [
    ('tls:127.0.0.1:0?cert=/nonexistent', 'cannot listen on tls:127.0.0.1:0'),
    ('tcp:127.0.0.1:0?cert=x', "tcp has no option 'cert'"),
    ('udp:127.0.0.1:0?x=y', "udp has no option 'x', only advertise"),
])
def test_a_place_that_cannot_be_had(site: Site, place: str, sentence: str) -> None:
    with pytest.raises(SetupError) as caught:
        site.b2bua('--listen', place, '-s', '192.0.2.1')
    assert sentence in str(caught.value) and '\n' not in str(caught.value)


def test_advertised_addresses(site: Site) -> None:
    b2bua = site.b2bua('--listen', site.place('tls'), '--listen', 'udp:127.0.0.1:0;advertise=198.51.100.1:7',
                       '--advertise', '203.0.113.9', '-s', '192.0.2.1')
    tls, udp = b2bua.ua.points
    assert (tls.sent_by, udp.sent_by) == (hostport('203.0.113.9', tls.address[1]), '198.51.100.1:7')


# -- sippy's wss_socket


def wss_socket(site: Site, port: int) -> str:
    return f'--wss_socket=127.0.0.1:{port}:{site.certificate.cert}:{site.certificate.key}'


def test_calls_from_browsers(site: Site, free_port: Callable[[], int]) -> None:
    legs: list[Any] = []
    callee = site.agent('udp', handler=answering(legs))
    port = free_port()
    b2bua = site.b2bua('-l', '127.0.0.1', '-p', str(free_port()), wss_socket(site, port), '-s',
                       point(callee, 'udp').sent_by)
    assert [p.transport for p in b2bua.ua.points] == ['UDP', 'WSS']
    with site.agent('wss').call(f'sip:123@127.0.0.1:{port};transport=wss', sdp=OFFER, timeout=5) as leg:
        # The hold of a phone reaches the browser over the connection that the browser has opened.
        assert legs[0].request('INFO', body='x').code == 200
        legs[0].hangup()
        leg.wait_ended(timeout=5)
    assert site.records()[0]['released_by'] == 'callee'


def test_a_browser_that_is_gone_while_it_rings_at_the_callee(site: Site) -> None:
    ended: list[Any] = []

    def ring(leg: Any) -> None:
        leg.ring()
        ended.append(leg.wait_ended(timeout=5).error)

    callee = site.agent('udp', handler=ring)
    b2bua = site.b2bua('--listen', site.place('udp'), '--listen', site.place('wss'), '-s', point(callee, 'udp').sent_by)
    caller = site.agent('wss')
    leg = caller.invite(uri(b2bua, 'wss'), sdp=OFFER)
    leg.wait_for('180', timeout=5)
    for connection in list(caller.endpoint.transports[0].connections.values()):
        connection.discard()
    with gevent.Timeout(5):
        while not ended or b2bua.calls:
            gevent.sleep(0.01)
    assert isinstance(ended[0], RemoteCancel)


@pytest.mark.parametrize(('accepted', 'transport', 'may'), [
    ('[[WSS]]', 'wss', True), ('127.0.0.1', 'wss', False), ('127.0.0.1,[[WSS]]', 'udp', True),
    ('[[WSS]]', 'udp', False), ('10.0.0.1', 'tls', False), ('127.0.0.0/8', 'tls', True),
])
def test_who_may_call(site: Site, accepted: str, transport: str, may: bool) -> None:
    callee = site.agent('udp', handler=lambda leg: leg.redirect(['sip:x@192.0.2.1']))
    b2bua = site.b2bua('--listen', site.place('udp'), '--listen', site.place('wss'), '--listen', site.place('tls'),
                       '-a', accepted, '-s', point(callee, 'udp').sent_by)
    with pytest.raises(Redirected if may else Forbidden):
        site.agent(transport).call(uri(b2bua, transport), sdp=OFFER, timeout=5)
    gevent.sleep(0)
