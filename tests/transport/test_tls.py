"""TLS on the loopback: who the peer is (RFC 5922), certificates that change, reuse (RFC 5923), peers that mean harm."""

from __future__ import annotations

import os
import random
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks.certificates import Authority, Certificate
from gevent import socket as green
from gevent import ssl as green_ssl

from greensip.dialog import INCOMING, Core, Event
from greensip.errors import TlsError, TransportError, UsageError
from greensip.transaction.flow import Flow, hostport
from greensip.transport import Endpoint, StaticResolver
from greensip.transport.channel import PlainChannel
from greensip.transport.tls import TlsChannel, TlsTransport, identities

PATIENCE = 5.0

OPTIONS = (b'OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:%d;alias;branch=z9hG4bK%s\r\n'
           b'From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n'
           b'Content-Length: 0\r\n\r\n')


@pytest.fixture(scope='module')
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp('authority'))


@pytest.fixture(scope='module')
def ours(authority: Authority) -> Certificate:
    return authority.issue('ours')


def place(certificate: Certificate, more: str = '', host: str = '127.0.0.1') -> str:
    return f'tls:{host}:0?cert={certificate.cert}&key={certificate.key}&ca={certificate.ca}{more}'


class Rig:
    """Endpoints, plain TLS peers, and what has happened."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []
        self.sockets: list[Any] = []
        self.events: list[Event] = []

    def endpoint(self, where: str, kind: type[Endpoint] = Endpoint) -> Endpoint:
        endpoint = kind(Core(random=random.Random(len(self.endpoints))), [where])
        self.endpoints.append(endpoint)
        endpoint.on_event = self.events.append
        endpoint.start()
        return endpoint

    def connect(self, endpoint: Endpoint, context: ssl.SSLContext, name: str | None = None) -> Any:
        plain = green.create_connection(endpoint.points[0].address, PATIENCE)
        self.sockets.append(plain)
        peer = context.wrap_socket(plain, server_hostname=name)
        self.sockets.append(peer)
        return peer

    def until(self, happened: Callable[[], object]) -> None:
        with gevent.Timeout(PATIENCE):
            while not happened():
                gevent.sleep(0.001)

    def close(self) -> None:
        for peer in self.sockets:
            peer.close()
        for endpoint in self.endpoints:
            endpoint.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def trusting(certificate: Certificate, own: Certificate | None = None) -> ssl.SSLContext:
    context = green_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificate.ca)
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def options(name: bytes, port: int = 5061) -> bytes:
    return OPTIONS % (port, name, name)


def works(peer: Any, name: bytes = b'works') -> bool:
    peer.sendall(options(name))
    return peer.recv(65536).startswith(b'SIP/2.0 200')


# -- who the server is


class Recording(Endpoint):
    """Keeps what could not be sent."""

    failures: list[TransportError]

    def failed(self, flow: Flow, error: TransportError, data: bytes = b'') -> None:
        self.failures.append(error)


class Names:
    """Sends to an address as if a name had led there."""

    def __init__(self, rig: Rig, where: str) -> None:
        self.rig = rig
        self.endpoint = rig.endpoint(where, Recording)
        self.failed: list[TransportError] = []
        self.endpoint.failures = self.failed

    def send(self, remote: tuple[str, int], name: str) -> str:
        """'' if it was sent, else why not."""
        transport = self.endpoint.transports[0]
        assert isinstance(transport, TlsTransport)
        self.failed.clear()
        before = transport.counters.sent
        transport.send(options(b'x'), Flow(self.endpoint.points[0], remote, 0, name))
        self.rig.until(lambda: self.failed or transport.counters.sent > before)
        return str(self.failed[0]) if self.failed else ''


@pytest.mark.parametrize(('names', 'name', 'good'), [
    (('example.com',), 'example.com', True),
    (('example.com',), 'EXAMPLE.com.', True),
    (('sip:example.com',), 'example.com', True),
    (('sip:example.com', 'other.example'), 'example.com', True),
    # 7.1: domains count only if there is no sip URI
    (('sip:example.com', 'other.example'), 'other.example', False),
    (('sips:example.com',), 'example.com', False),
    (('sip:alice@example.com',), 'example.com', False),
    # 7.2: the whole of it
    (('*.example.com',), 'sip.example.com', False),
    (('example.com',), 'sip.example.com', False),
    (('sip.example.com',), 'example.com', False),
    (('127.0.0.1',), '127.0.0.1', True),
    (('127.0.0.1',), 'example.com', False),
    (('example.com',), '127.0.0.1', False),
    ((), 'common.example', True),
    (('example.com',), 'common.example', False),
])
def test_the_server_has_to_be_who_the_hop_named(rig: Rig, authority: Authority, ours: Certificate,
                                                names: tuple[str, ...], name: str, good: bool) -> None:
    theirs = authority.sign('theirs', names, 'common.example')
    server = rig.endpoint(place(theirs))
    client = Names(rig, place(ours))
    reason = client.send(server.points[0].address, name)
    if good:
        assert reason == ''
        # And the next one takes the same connection.
        assert client.send(server.points[0].address, name) == ''
        assert client.endpoint.transports[0].counters.opened == 1
    else:
        assert f'has no certificate for {name}: it is for ' in reason
        assert client.endpoint.transports[0].counters.refused == 1
        assert server.counters.messages == 0


def test_another_authority_is_not_believed(rig: Rig, ours: Certificate, tmp_path: Path) -> None:
    server = rig.endpoint(place(Authority(tmp_path, 'another').issue()))
    client = Names(rig, place(ours))
    assert 'the certificate is not accepted' in client.send(server.points[0].address, '127.0.0.1')


def test_an_expired_certificate_is_not_believed(rig: Rig, authority: Authority, ours: Certificate) -> None:
    server = rig.endpoint(place(authority.sign('expired', ['127.0.0.1'], expired=True)))
    client = Names(rig, place(ours))
    assert 'certificate has expired' in client.send(server.points[0].address, '127.0.0.1')


def test_whoever_asks_for_it_believes_everybody(rig: Rig, ours: Certificate, tmp_path: Path) -> None:
    server = rig.endpoint(place(Authority(tmp_path, 'another').sign('x', ['other.example'])))
    client = Names(rig, place(ours, '&verify=none'))
    assert client.send(server.points[0].address, 'example.com') == ''


def test_one_address_with_two_names_has_two_connections_unless_one_proves_both(rig: Rig, authority: Authority,
                                                                              ours: Certificate) -> None:
    """RFC 5923 8.1: reuse "only if ... the URI ... matches one of the identities"."""
    both = rig.endpoint(place(authority.sign('both', ['example.com', 'example.net'])))
    client = Names(rig, place(ours))
    address = both.points[0].address
    assert client.send(address, 'example.com') == ''
    assert client.send(address, 'example.net') == ''
    counters = client.endpoint.transports[0].counters
    assert counters.opened == 1
    assert 'no certificate for example.org' in client.send(address, 'example.org')
    assert counters.opened == 2


def test_the_server_name_is_in_the_handshake(rig: Rig, ours: Certificate) -> None:
    context = green_ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.cert, ours.key)
    asked: list[str | None] = []
    context.sni_callback = lambda connection, name, context: asked.append(name)
    listener = green.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    rig.sockets.append(listener)

    def serve() -> None:
        for _ in range(2):
            plain, _ = listener.accept()
            rig.sockets.append(plain)
            rig.sockets.append(context.wrap_socket(plain, server_side=True))

    greenlet = gevent.spawn(serve)
    for name in ('localhost', '127.0.0.1'):
        client = Names(rig, place(ours))
        assert client.send(listener.getsockname(), name) == ''
    greenlet.join(PATIENCE)
    assert asked == ['localhost', None]


@pytest.mark.parametrize(('names', 'good'), [(['example.com'], True), (['sip1.example.net'], False)])
def test_what_the_dns_says_proves_nothing(rig: Rig, authority: Authority, ours: Certificate, names: list[str],
                                          good: bool) -> None:
    """RFC 5922 4: the domain of the URI, whatever SRV leads to; a DNS that lies leads to nobody."""
    server = rig.endpoint(place(authority.sign('theirs', names)))
    resolver = StaticResolver({'sip1.example.net': ['127.0.0.1']}, records={
        ('_sips._tcp.example.com', 'SRV'): [f'0 0 {server.points[0].address[1]} sip1.example.net']})
    client = Endpoint(Core(random=random.Random(7)), [place(ours)], resolver=resolver)
    rig.endpoints.append(client)
    client.on_event = rig.events.append
    client.start()
    client.core.request('OPTIONS', 'sips:bob@example.com', client.now(), from_='sips:a@example.org')
    client.flush()
    rig.until(lambda: rig.events)
    if good:
        assert rig.events[0].code == 200
    else:
        assert isinstance(rig.events[0].error, TlsError)
        assert 'has no certificate for example.com: it is for sip1.example.net' in str(rig.events[0].error)
        assert server.counters.messages == 0


def test_a_name_that_no_handshake_can_carry(rig: Rig, ours: Certificate) -> None:
    endpoint = rig.endpoint(place(ours))
    with pytest.raises(TlsError, match='cannot be asked for'):
        endpoint.transports[0].send(b'x', Flow(endpoint.points[0], ('127.0.0.1', 5061), 0, '.leading.dot'))


@pytest.mark.parametrize(('certificate', 'names'), [
    ({}, set()),
    ({'subjectAltName': (('URI', 'SIP:Example.com:5061;x=y'), ('DNS', 'a'))}, {'example.com'}),
    ({'subjectAltName': (('URI', 'http://example.com'), ('DNS', 'A.'), ('DNS', '*.b'))}, {'a', '*.b'}),
    ({'subjectAltName': (('email', 'x@y'),), 'subject': ((('commonName', 'c'),),)}, set()),
    ({'subject': ((('countryName', 'XX'),), (('commonName', 'C'),))}, {'c'}),
    ({'subjectAltName': (('IP Address', '0:0:0:0:0:0:0:1'), ('URI', 'sip:[::1]'))}, {'::1'}),
    ({'subjectAltName': (('URI', ':::'), ('URI', ''))}, set()),
])
def test_the_names_in_a_certificate(certificate: dict[str, Any], names: set[str]) -> None:
    assert identities(certificate) == names


@pytest.mark.parametrize(('uri', 'contact'), [
    ('sips:bob@{address}', '<sips:{own}>'), ('sip:bob@{address};transport=tls', '<sip:{own};transport=tls>'),
])
def test_a_call_to_a_sips_uri_has_sips_contacts(rig: Rig, ours: Certificate, uri: str, contact: str) -> None:
    """RFC 3261 8.1.1.8, 12.1.1, RFC 5630 3.1.4; requests inside the dialog follow them over TLS."""
    alice, bob = rig.endpoint(place(ours)), rig.endpoint(place(ours))
    seen: list[bytes] = []
    bob.taps.append(lambda direction, data, flow, now: seen.append(data))

    def answer(event: Event) -> None:
        if event.kind == INCOMING:
            event.subject.respond(200, bob.now(), body=b'v=0\r\n')
        elif event.name == 'ACK':
            event.subject.bye(bob.now())

    bob.on_event = answer
    where = [hostport(*endpoint.points[0].address) for endpoint in (alice, bob)]
    alice.core.invite(uri.format(address=where[1]), alice.now(), from_='sip:alice@example.com', body=b'v=0\r\n')
    alice.flush()
    rig.until(lambda: len(seen) == 5)
    assert [data.split(b' ')[0] for data in seen] == [b'INVITE', b'SIP/2.0', b'ACK', b'BYE', b'SIP/2.0']
    for own, data in zip(where, seen):
        assert f'\r\nContact: {contact.format(own=own)}\r\n'.encode() in data
    assert b'Via: SIP/2.0/TLS ' + where[1].encode() in seen[3]


# -- who the client is


def test_a_client_without_a_certificate_where_one_is_demanded(rig: Rig, ours: Certificate) -> None:
    server = rig.endpoint(place(ours, '&verify=peer'))
    peer = rig.connect(server, trusting(ours))
    with pytest.raises(OSError):
        peer.sendall(options(b'x'))
        assert peer.recv(100) != b''
        raise OSError('it was closed')
    assert server.counters.messages == 0
    rig.until(lambda: server.transports[0].counters.refused == 1)


def test_a_client_with_a_certificate(rig: Rig, authority: Authority, ours: Certificate) -> None:
    server = rig.endpoint(place(ours, '&verify=peer'))
    assert works(rig.connect(server, trusting(ours, authority.sign('client', ['example.com']))))


def test_we_show_ours_when_asked(rig: Rig, ours: Certificate) -> None:
    server = rig.endpoint(place(ours, '&verify=peer'))
    client = Names(rig, place(ours))
    assert client.send(server.points[0].address, '127.0.0.1') == ''
    rig.until(lambda: server.counters.messages == 1)


def test_a_phone_without_certificate_is_reached_where_it_comes_from(rig: Rig, ours: Certificate) -> None:
    server = rig.endpoint(place(ours))
    peer = rig.connect(server, trusting(ours))
    assert works(peer)
    server.transports[0].send(b'INFO', Flow(server.points[0], peer.getsockname(), 0, '127.0.0.1'))
    assert peer.recv(100) == b'INFO'


# -- reuse


@pytest.mark.parametrize(('names', 'shown', 'verify', 'reused'), [
    (['example.com'], True, '', True), (['example.com'], True, '&verify=peer', True),
    (['other.example'], True, '', False), (['example.com'], False, '', False),
    (['example.com'], True, '&verify=none', False),
])
def test_alias_is_for_the_names_that_were_proved(rig: Rig, authority: Authority, ours: Certificate, names: list[str],
                                                 shown: bool, verify: str, reused: bool) -> None:
    """RFC 5923 8.2, 9.2: a client that has shown a certificate gets what is for its names, nobody else."""
    server = rig.endpoint(place(ours, f'&alias{verify}'))
    peer = rig.connect(server, trusting(ours, authority.sign('client', names) if shown else None))
    peer.sendall(options(b'x', 7777))
    assert peer.recv(65536).startswith(b'SIP/2.0 200')
    transport = server.transports[0]
    transport.send(b'INFO', Flow(server.points[0], ('127.0.0.1', 7777), 0, 'example.com'))
    if reused:
        assert peer.recv(100) == b'INFO'
    else:
        rig.until(lambda: transport.counters.errors)


def test_our_via_says_alias_when_asked_to(rig: Rig, ours: Certificate) -> None:
    point = rig.endpoint(place(ours, '&alias')).points[0]
    assert point.via_prefix == f'SIP/2.0/TLS {hostport(*point.address)};alias;rport;branch='
    assert 'alias' not in rig.endpoint(place(ours)).points[0].via_prefix


# -- certificates that change


def test_new_files_are_for_new_connections(rig: Rig, authority: Authority, tmp_path: Path) -> None:
    def install(name: str) -> None:
        made = authority.sign(name, [f'{name}.example'])
        for source, target in ((made.cert, 'c.pem'), (made.key, 'k.pem')):
            (tmp_path / 'new').write_bytes(source.read_bytes())
            os.replace(tmp_path / 'new', tmp_path / target)

    def a_second_later() -> None:
        transport._looked -= 1.0

    def subject(peer: Any) -> str:
        return peer.getpeercert()['subjectAltName'][0][1]

    install('first')
    server = rig.endpoint(place(Certificate(tmp_path / 'c.pem', tmp_path / 'k.pem', authority.file)))
    transport = server.transports[0]
    assert isinstance(transport, TlsTransport)
    trust = trusting(Certificate(tmp_path, tmp_path, authority.file))
    old = rig.connect(server, trust)
    assert works(old) and subject(old) == 'first.example'
    install('second')
    # They are not looked at for each connection.
    assert subject(rig.connect(server, trust)) == 'first.example'
    a_second_later()
    assert subject(rig.connect(server, trust)) == 'second.example'
    assert works(old, b'again')
    # Half of a change changes nothing.
    (tmp_path / 'c.pem').write_text('not a certificate')
    a_second_later()
    assert subject(rig.connect(server, trust)) == 'second.example'


@pytest.mark.parametrize(('options', 'part'), [
    ('?cert=/nowhere/c.pem', '/nowhere/c.pem cannot be used: no such file or directory'),
    ('?cert={cert}', 'cannot be used: no certificate or key in PEM format'),
    ('?cert={cert}&key={ca}', 'cannot be used: no certificate or key in PEM format'),
    ('?cert={cert}&key={key}&ca=/nowhere', '/nowhere cannot be used: no such file'),
])
def test_files_that_cannot_be_used_are_a_sentence(ours: Certificate, options: str, part: str) -> None:
    with pytest.raises(TlsError) as caught:
        Endpoint(Core(random=random.Random(1)),
                 ['tls:127.0.0.1:0' + options.format(cert=ours.cert, key=ours.key, ca=ours.ca)])
    assert str(caught.value).startswith('cannot listen on tls:127.0.0.1:0')
    assert part in str(caught.value)


@pytest.mark.parametrize(('options', 'part'), [
    ('?key=x', 'there is a key, but no cert'), ('?verify=maybe', 'write one of server, optional, peer, none'),
    ('?certificate=x', "tls has no option 'certificate', only advertise, alias, ca, cert,"),
])
def test_options_that_make_no_sense(options: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        Endpoint(Core(random=random.Random(1)), [f'tls:127.0.0.1:0{options}'])


def test_without_a_certificate_there_are_only_our_own_connections(rig: Rig, ours: Certificate) -> None:
    client = rig.endpoint(f'tls:127.0.0.1:0?ca={ours.ca}')
    port = client.points[0].address[1]
    assert port > 0
    with pytest.raises(ConnectionRefusedError):
        green.create_connection(('127.0.0.1', port))
    server = rig.endpoint(place(ours))
    client.core.request('OPTIONS', f'sip:b@{hostport(*server.points[0].address)};transport=tls', client.now(),
                        from_='sip:a@x')
    client.flush()
    rig.until(lambda: rig.events)
    assert rig.events[0].code == 200


# -- peers that mean harm


@pytest.mark.filterwarnings('ignore:ssl.TLSVersion')
def test_old_versions_are_refused(rig: Rig, ours: Certificate) -> None:
    server = rig.endpoint(place(ours))
    old = trusting(ours)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers('ALL:@SECLEVEL=0')
    with pytest.raises(ssl.SSLError):
        rig.connect(server, old)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(ours)
        context.minimum_version = context.maximum_version = version
        assert works(rig.connect(server, context))


@pytest.mark.parametrize('data', [
    b'OPTIONS sip:b@h SIP/2.0\r\n\r\n', b'\x16\x03\x01\xff\xff' + bytes(70_000), bytes(range(256)), b'\x80' * 5000,
])
def test_who_does_not_speak_tls(rig: Rig, ours: Certificate, data: bytes) -> None:
    server = rig.endpoint(place(ours))
    peer = green.create_connection(server.points[0].address, PATIENCE)
    rig.sockets.append(peer)
    peer.sendall(data)
    received = b''
    try:
        while piece := peer.recv(4096):
            received += piece
    except ConnectionError:
        pass
    assert len(received) < 100
    assert server.transports[0].counters.refused == 1
    assert works(rig.connect(server, trusting(ours)))


def test_a_handshake_that_does_not_go_on(rig: Rig, ours: Certificate) -> None:
    server = rig.endpoint(place(ours))
    peer = green.create_connection(server.points[0].address, PATIENCE)
    rig.sockets.append(peer)
    peer.sendall(b'\x16\x03\x01\x02\x00')
    good = rig.connect(server, trusting(ours))
    assert works(good)
    transport = server.transports[0]
    assert isinstance(transport, TlsTransport)
    transport.sweep(transport.now() + transport.handshake - 1)
    assert len(transport.connections) == 2
    transport.sweep(transport.now() + transport.handshake + 1)
    assert peer.recv(1) == b''
    assert transport.counters.expired == 1
    assert works(good, b'still')


def test_goodbye_is_said_and_heard(rig: Rig, ours: Certificate) -> None:
    server = rig.endpoint(place(ours))
    peer = rig.connect(server, trusting(ours))
    peer.sendall(b'garbage\r\n\r\n')
    # Without close_notify this would raise SSLEOFError.
    assert peer.recv(100) == b''
    peer = rig.connect(server, trusting(ours))
    assert works(peer)
    count = len(server.transports[0].connections)
    peer.unwrap()
    rig.until(lambda: len(server.transports[0].connections) == count - 1)


@pytest.mark.parametrize('when', ['before', 'after'])
def test_monkey_patching_changes_nothing(ours: Certificate, when: str) -> None:
    """gevent puts an SSLContext of its own in the place of the system's."""
    patch = 'from gevent import monkey; monkey.patch_all()'
    program = '\n'.join([patch if when == 'before' else '', 'from greensip import UserAgent', patch, f"""
place = {place(ours)!r}
with UserAgent(place) as a, UserAgent(place) as b:
    b.serve(lambda leg: (leg.answer(), leg.wait_ended(timeout=5)), background=True)
    with a.call(b.uri, timeout=5) as leg:
        print(leg.state)
"""])
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=30)
    assert done.stdout == 'confirmed\n', done.stderr


# -- the channel alone


def pair(ours: Certificate) -> tuple[TlsChannel, TlsChannel]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(ours.cert, ours.key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(ours.ca)
    return (TlsChannel(PlainChannel(), client, False, 'localhost'), TlsChannel(PlainChannel(), server, True))


@pytest.mark.parametrize('size', [1, 7, 1000, 100_000])
def test_any_way_of_cutting_the_records(ours: Certificate, size: int) -> None:
    client, server = pair(ours)
    messages: list[Any] = []

    def carry(source: TlsChannel, target: TlsChannel, data: bytes) -> None:
        for start in range(0, len(data), size):
            messages.extend(target.receive(data[start:start + size]))

    while not (client.ready and server.ready):
        carry(client, server, client.take_outgoing())
        carry(server, client, server.take_outgoing())
    body = bytes(range(256)) * 200
    large = options(b'l').replace(b'Content-Length: 0', b'Content-Length: %d' % len(body)) + body
    carry(client, server, client.pack(options(b'1') + options(b'2')) + client.pack(large))
    assert [message.call_id for message in messages] == ['1', '2', 'l']
    assert messages[2].body == body
    assert server.idle
    client.close('done')
    carry(client, server, client.take_outgoing())
    assert server.ended == 'the peer said goodbye'


def test_a_record_that_was_touched(ours: Certificate) -> None:
    client, server = pair(ours)
    while not (client.ready and server.ready):
        server.receive(client.take_outgoing())
        client.receive(server.take_outgoing())
    data = bytearray(client.pack(options(b'1')))
    data[40] ^= 1
    with pytest.raises(TlsError, match='TLS failed: '):
        server.receive(bytes(data))
