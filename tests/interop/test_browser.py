"""A browser with JsSIP over secure WebSockets: it registers, calls and is called; two of them talk through a bridge.

It needs Chromium, and in the folder that ``GREENSIP_JSSIP`` names JsSIP as one file (``.ci/run`` makes it).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from benchmarks import peers
from benchmarks.certificates import Certificate

from greensip import Bridge, Flow, IncomingRequest, Leg, LegGroup, NotFound, RemoteHangup, TransportError, UserAgent
from greensip.registrar import MemoryUsers, Registrar

from .browser import Browser, Page

EXAMPLES = Path(__file__).parents[2] / 'examples'

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>phone</title>
<script src="jssip.js"></script>
<script>
const log = [];
let phone, call;

function start(server, user, register = true, password = undefined) {
    JsSIP.debug.enable('JsSIP:*');
    phone = new JsSIP.UA({sockets: [new JsSIP.WebSocketInterface(server)], uri: `sip:${user}@example.com`,
                          register, register_expires: 300, password});
    for (const name of ['connected', 'disconnected', 'registered', 'unregistered', 'registrationFailed'])
        phone.on(name, () => log.push(name));
    phone.on('newRTCSession', event => watch(event.session, event.originator));
    phone.start();
}

function watch(session, originator) {
    call = session;
    log.push(originator === 'remote' ? `rings: ${session.remote_identity.uri}` : 'calls');
    for (const name of ['progress', 'accepted', 'confirmed'])
        session.on(name, event => log.push(`${name} by ${event.originator || 'both'}`));
    for (const name of ['ended', 'failed'])
        session.on(name, event => log.push(`${name} by ${event.originator}: ${event.cause}`));
}

const media = {mediaConstraints: {audio: true, video: false}, pcConfig: {iceServers: []}};

</script>
"""

#: resolves with the packets that have come on a connection, once the other side's beeps are heard
HEARD = """async connection => {
    const sound = new Audio();
    sound.srcObject = new MediaStream(connection.getReceivers().map(receiver => receiver.track));
    sound.play();
    let packets = 0, energy = 0;
    for (const end = Date.now() + 20000; Date.now() < end; await new Promise(later => setTimeout(later, 50)))
        for (const report of (await connection.getStats()).values())
            if (report.type === 'inbound-rtp') {
                packets = report.packetsReceived;
                energy = report.totalAudioEnergy;
                if (packets > 25 && energy > 0)
                    return packets;
            }
    throw new Error(`silence: ${packets} packets, energy ${energy}`);
}"""

#: what a browser takes for the other side of a call (RFC 8829): its keys are nobody's, so no media will ever flow
SESSION = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=ice-lite
m=audio 9 UDP/TLS/RTP/SAVPF 0
c=IN IP4 127.0.0.1
a=mid:0
a=rtpmap:0 PCMU/8000
a=sendrecv
a=rtcp-mux
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=fingerprint:sha-256 {fingerprint}
a=setup:{setup}
a=candidate:1 1 UDP 2130706431 127.0.0.1 9 typ host
""".replace('\n', '\r\n')


def session(setup: str) -> bytes:
    return SESSION.format(fingerprint=':'.join(['AB'] * 32), setup=setup).encode()


class Exchange:
    """A user agent at which browsers register, and where they are."""

    def __init__(self, ua: UserAgent) -> None:
        self.ua = ua
        self.phones: dict[str, tuple[str, Flow]] = {}
        ua.handle('REGISTER', self.on_register)

    def on_register(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        contact, = request.contacts
        if contact.expires == 0:
            self.phones.pop(request.to.uri.user, None)
        else:
            self.phones[request.to.uri.user] = (str(contact.uri), incoming.flow)
        incoming.respond(200, headers=[('Contact', request.get('Contact'))])

    @property
    def url(self) -> str:
        port = self.ua.points[0].address[1]
        return f'wss://127.0.0.1:{port}/sip'


@pytest.fixture
def page_file(absent: Callable[[str], None], folder: Path) -> Path:
    """The page, with JsSIP beside it."""
    library = Path(os.environ.get('GREENSIP_JSSIP') or '/nowhere', 'jssip.js')
    if not library.is_file():
        absent('JsSIP (GREENSIP_JSSIP names its folder)')
    shutil.copy(library, folder / 'jssip.js')
    page = folder / 'phone.html'
    page.write_text(PAGE, encoding='utf-8')
    return page


@pytest.fixture
def browser(needs: Callable[..., None], folder: Path, page_file: Path) -> Iterator[Browser]:
    needs('chromium')
    with Browser('chromium', folder) as browser:
        yield browser
        for page in browser.pages:
            print('---', *page.console[-100:], sep='\n')


@pytest.fixture
def exchange(place: Callable[..., str]) -> Iterator[Exchange]:
    with UserAgent(place('wss', path='/sip'), name='exchange', watchdog=None) as ua:
        yield Exchange(ua)


@pytest.fixture
def phone(browser: Browser, page_file: Path, exchange: Exchange) -> Callable[[str], Page]:
    """``phone('alice')``: a page on which alice has registered."""
    def open_page(user: str) -> Page:
        page = browser.page(page_file.as_uri())
        page.do(f"start('{exchange.url}', '{user}')")
        page.until("log.includes('registered')")
        return page
    return open_page


def happened(page: Page) -> list[str]:
    """What the page has logged since it was asked last."""
    found: list[str] = page.do('log.splice(0)')
    return found


def test_it_registers_and_says_goodbye(phone: Callable[[str], Page], exchange: Exchange) -> None:
    alice = phone('alice')
    contact, flow = exchange.phones['alice']
    assert '.invalid' in contact and 'transport=ws' in contact
    assert flow.point.transport == 'WSS' and flow.connection
    assert happened(alice) == ['connected', 'registered']
    alice.do('phone.stop()')
    alice.until("log.includes('disconnected')")
    assert exchange.phones == {}
    assert happened(alice) == ['unregistered', 'disconnected']


@pytest.mark.parametrize('who', ['the browser', 'greensip'])
def test_it_calls(phone: Callable[[str], Page], exchange: Exchange, who: str) -> None:
    alice = phone('alice')
    happened(alice)
    alice.do("void phone.call('sip:bob@example.com', media)")
    leg = exchange.ua.accept(timeout=20)
    assert leg.to.uri.user == 'bob' and b'UDP/TLS/RTP/SAVPF' in leg.invite.body
    leg.ring()
    leg.answer(session('passive'))
    leg.wait_for('ACK', timeout=20)
    alice.until("log.includes('confirmed by local')")
    if who == 'the browser':
        alice.do('call.terminate()')
        assert isinstance(leg.wait_ended(timeout=20).error, RemoteHangup)
    else:
        leg.hangup()
    alice.until("log.some(line => line.startsWith('ended'))")
    assert happened(alice) == ['calls', 'progress by remote', 'accepted by remote', 'confirmed by local',
                               f"ended by {'local' if who == 'the browser' else 'remote'}: Terminated"]


@pytest.mark.parametrize('who', ['the browser', 'greensip'])
def test_it_is_called(phone: Callable[[str], Page], exchange: Exchange, who: str) -> None:
    alice = phone('alice')
    happened(alice)
    contact, flow = exchange.phones['alice']
    with exchange.ua.invite(contact, flow=flow, from_='sip:bob@example.com', sdp=session('actpass')) as leg:
        leg.wait_for('180', timeout=20)
        alice.do('call.answer(media)')
        leg.wait_for('200', timeout=20)
        alice.until("log.includes('confirmed by remote')")
        if who == 'the browser':
            alice.do('call.terminate()')
            assert isinstance(leg.wait_ended(timeout=20).error, RemoteHangup)
        else:
            leg.hangup()
        alice.until("log.some(line => line.startsWith('ended'))")
    assert happened(alice) == ['rings: sip:bob@example.com', 'progress by local', 'accepted by local',
                               'confirmed by remote',
                               f"ended by {'local' if who == 'the browser' else 'remote'}: Terminated"]


def test_it_is_gone(phone: Callable[[str], Page], exchange: Exchange) -> None:
    alice = phone('alice')
    contact, flow = exchange.phones['alice']
    alice.command('Page.navigate', url='about:blank')
    with gevent.Timeout(20), pytest.raises(TransportError, match=r'closed|broken pipe|reset'):
        while True:
            exchange.ua.options(contact, flow=flow, timeout=5)


@pytest.mark.parametrize('who', ['the browser', 'the callee'])
def test_it_calls_through_the_b2bua(browser: Browser, page_file: Path, running: list[peers.Peer], folder: Path,
                                    free_port: Callable[[], int], certificate: Certificate, who: str) -> None:
    """``greensip-b2bua --wss-socket``: from a browser to a UDP callee, and both hang-ups."""
    secure = free_port()
    with UserAgent('udp:127.0.0.1:0', name='callee', watchdog=None) as callee:
        b2bua = peers.Peer('greensip-b2bua', [
            sys.executable, '-m', 'greensip.cli.b2bua', '-f', '-u', '-c', folder / 'socket', '-l', '127.0.0.1',
            '-p', str(free_port()), f'--wss-socket=127.0.0.1:{secure}:{certificate.cert}:{certificate.key}',
            '-s', callee.points[0].sent_by], folder)
        running.append(b2bua)
        b2bua.wait_for_text(f'listening on wss:127.0.0.1:{secure}')
        alice = browser.page(page_file.as_uri())
        alice.do(f"start('wss://127.0.0.1:{secure}/', 'alice', false)")
        alice.until("log.includes('connected')")
        alice.do("void phone.call('sip:123@example.com', media)")
        leg = callee.accept(timeout=20)
        assert leg.to.uri.user == '123' and b'UDP/TLS/RTP/SAVPF' in leg.invite.body
        leg.ring()
        leg.answer(session('passive'))
        leg.wait_for('ACK', timeout=20)
        alice.until("log.includes('confirmed by local')")
        if who == 'the browser':
            alice.do('call.terminate()')
            assert isinstance(leg.wait_ended(timeout=20).error, RemoteHangup)
        else:
            leg.hangup()
        alice.until("log.some(line => line.startsWith('ended'))")
        assert happened(alice)[-1] == f"ended by {'local' if who == 'the browser' else 'remote'}: Terminated"


def test_the_example(browser: Browser, page_file: Path, running: list[peers.Peer], folder: Path,
                     free_port: Callable[[], int], certificate: Certificate) -> None:
    """``examples/wss_echo.py``: the page that calls hears itself."""
    port = free_port()
    echo = peers.Peer('wss_echo', [sys.executable, '-u', EXAMPLES / 'wss_echo.py', '--listen',
                                   f'wss:127.0.0.1:{port}?cert={certificate.cert}&key={certificate.key}'], folder)
    running.append(echo)
    echo.wait_for_text('listening on')
    page = browser.page(Path(shutil.copy(EXAMPLES / 'wss_echo.html', folder)).as_uri())
    page.do(f"element('server').value = 'wss://127.0.0.1:{port}/'")
    for _ in range(2):
        page.do("element('call').click()")
        page.until("element('state').textContent === 'you hear yourself'")
        page.until("theirs.connection.connectionState === 'connected'")
        assert page.do(f'({HEARD})(theirs.connection)') > 25
        page.do("element('hangup').click()")
        page.until("element('state').textContent === 'the call is over: Terminated'")
        page.until('theirs.isEnded()')


def test_two_browsers_talk_through_a_bridge(phone: Callable[[str], Page], exchange: Exchange) -> None:
    bridged: list[Leg | None] = []

    def connect(a: Leg) -> None:
        found = exchange.phones.get(a.to.uri.user)
        if found is None:
            raise NotFound(404)
        contact, flow = found
        with LegGroup(a) as group:
            b = group.invite(contact, flow=flow, from_=a.from_, sdp=a.offer, progress_to=a)
            b.wait_for('2xx', timeout=20)
            a.answer(sdp=b.answer)
            bridged.append(Bridge(a, b).wait())

    exchange.ua.serve(connect, background=True)
    alice, bob = phone('alice'), phone('bob')
    happened(alice), happened(bob)
    alice.do("void phone.call('sip:bob@example.com', media)")
    bob.until("log.includes('rings: sip:alice@example.com')")
    bob.do('call.answer(media)')
    for page in (alice, bob):
        page.until("call.connection && call.connection.connectionState === 'connected'")
        assert page.do(f'({HEARD})(call.connection)') > 25
    bob.do('call.terminate()')
    alice.until("log.some(line => line.startsWith('ended'))")
    assert happened(alice)[-1] == 'ended by remote: Terminated'
    assert happened(bob) == ['rings: sip:alice@example.com', 'progress by local', 'accepted by local',
                             'confirmed by remote', 'ended by local: Terminated']
    alice.do("void phone.call('sip:carol@example.com', media)")
    alice.until("log.some(line => line.startsWith('failed'))")
    assert happened(alice)[-1] == 'failed by remote: Not Found'


@pytest.fixture
def registrar(place: Callable[..., str]) -> Iterator[Registrar]:
    """Ours, for alice, bob and carol."""
    users = MemoryUsers('example.com', {name: f'{name}s' for name in ('alice', 'bob', 'carol')})
    with UserAgent(place('wss', path='/sip'), 'udp:127.0.0.1:0', name='registrar', watchdog=None) as ua, Registrar(
            ua, domains=['example.com'], users=users) as registrar:
        yield registrar


def test_browsers_at_the_registrar(browser: Browser, page_file: Path, registrar: Registrar) -> None:
    """With digest, over their connections: they call each other, and are called from a phone over UDP."""
    pages = {}
    for user in ('alice', 'bob'):
        page = pages[user] = browser.page(page_file.as_uri())
        page.do(f"start('wss://127.0.0.1:{registrar.ua.points[0].address[1]}/sip', '{user}', true, '{user}s')")
        page.until("log.includes('registered')")
    alice, bob = pages.values()
    assert '.invalid' in registrar.lookup('bob@example.com')[0].contact
    happened(alice), happened(bob)
    alice.do("void phone.call('sip:bob@example.com', media)")
    bob.until("log.includes('rings: sip:alice@example.com')")
    bob.do('call.answer(media)')
    for page in (alice, bob):
        page.until("call.connection && call.connection.connectionState === 'connected'")
        assert page.do(f'({HEARD})(call.connection)') > 25
    bob.do('call.terminate()')
    alice.until("log.some(line => line.startsWith('ended'))")
    assert happened(alice)[-1] == 'ended by remote: Terminated'
    with UserAgent('udp:127.0.0.1:0', name='carol', watchdog=None) as carol:
        place = f'sip:127.0.0.1:{registrar.ua.points[1].address[1]};lr'
        with carol.invite('sip:alice@example.com', from_='sip:carol@example.com', route=place,
                          credentials=('carol', 'carols'), sdp=session('actpass')) as leg:
            leg.wait_for('180', timeout=20)
            alice.do('call.answer(media)')
            leg.wait_for('200', timeout=20)
        alice.until("log.filter(line => line.startsWith('ended')).length === 1")
    bob.do('phone.stop()')
    bob.until("log.includes('disconnected')")
    assert registrar.lookup('bob@example.com') == ()
    alice.do("void phone.call('sip:bob@example.com', media)")
    alice.until("log.some(line => line.startsWith('failed'))")
    assert happened(alice)[-1] == 'failed by remote: Unavailable'
