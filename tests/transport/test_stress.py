"""What hostile, slow and clumsy peers may do to a program, and that its calls go on meanwhile without a failed one.

The program runs in a process of its own, so that its memory can be told from ours.
"""

from __future__ import annotations

import contextlib
import resource
import socket as plain
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks import lab, peers
from benchmarks.certificates import Authority, Certificate
from gevent import socket

from greensip import ConnectError, GreensipError, ResponseError, TransportError, UserAgent
from greensip.dialog import REQUEST, Core
from greensip.message import Limits
from greensip.transport import Endpoint
from greensip.transport.entropy import Entropy

HOST = '127.0.0.1'
MANY = 1000
#: octets that the program may grow by for one connection.  TLS keeps a state of its own, in OpenSSL
BOUNDS = {'tcp': 6_000, 'tls': 45_000, 'ws': 30_000}
#: octets that a call is remembered with for 32 seconds after its end
CALL = 25_000
#: the beginning of a request that never becomes whole
HALF = b'INVITE sip:phone@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKhalf\r\nFrom: <sip:a@'
UPGRADE = (b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
           b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n'
           b'Sec-WebSocket-Protocol: sip\r\n\r\n')
#: what a connection begins with that never comes to its first message; for TLS half of a ClientHello of 508 octets
HALVES = {'tcp': HALF, 'tls': b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(32), 'ws': UPGRADE[:90]}

transports = pytest.mark.parametrize('transport', BOUNDS)


@pytest.fixture(scope='module', autouse=True)
def enough_files() -> Iterator[None]:
    """Two thousand sockets here; what we start inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MANY
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f'a process may open no more than {hard} files')
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope='module')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Authority(tmp_path_factory.mktemp('certificates')).issue()


class Program:
    """The program under attack, and the calls that it has to answer meanwhile: over UDP and over the transport."""

    def __init__(self, phone: lab.Phone, caller: UserAgent, transport: str) -> None:
        self.phone = phone
        self.port = phone.ports[1]
        self.caller = caller
        self.uris = [f'sip:phone@{HOST}:{phone.ports[0]}', f'sip:phone@{HOST}:{self.port};transport={transport}']
        self.completed = self.before = 0
        self.lost: list[GreensipError] = []

    def grown(self) -> int:
        """Octets of memory that it has more than before the attack, without what its calls leave behind."""
        return self.phone.memory() - self.before - self.completed * CALL

    @contextlib.contextmanager
    def answering_calls(self) -> Iterator[None]:
        """Calls come, forty a second, from before the block begins until it has ended; none may fail."""
        calls: list[gevent.Greenlet] = []
        self.before = self.phone.memory()

        def come() -> None:
            while True:
                calls.append(gevent.spawn(self.call, self.uris[len(calls) % 2]))
                gevent.sleep(0.025)

        coming = gevent.spawn(come)
        gevent.sleep(0.2)
        try:
            yield
        finally:
            coming.kill()
            gevent.joinall(calls)
        assert self.lost == []
        assert self.completed == len(calls) > 5

    def call(self, uri: str) -> None:
        try:
            with self.caller.invite(uri) as leg:
                leg.wait_for('200', timeout=5)
                leg.hangup()
                leg.wait_ended(timeout=5)
            self.completed += 1
        except GreensipError as error:
            self.lost.append(error)

    def connect(self) -> socket.socket:
        """Another connection to it."""
        return socket.create_connection((HOST, self.port), timeout=10)


@pytest.fixture
def attacked(tmp_path: Path, certificate: Certificate) -> Iterator[Callable[..., Program]]:
    """``attacked('tcp', '&message=2')``: the program, listening over UDP and the transport with these options."""
    with contextlib.ExitStack() as stack:
        def start(transport: str, options: str = '') -> Program:
            secure = f'cert={certificate.cert}&key={certificate.key}&ca={certificate.ca}' if transport == 'tls' else ''
            place = f'{transport}:{HOST}:0?{secure}'.rstrip('?')
            phone = stack.enter_context(lab.Phone(
                tmp_path, 'answer', f'udp:{HOST}:0',
                f'{transport}:{HOST}:0?{"&".join(filter(None, [secure, options]))}'.rstrip('?')))
            caller = stack.enter_context(UserAgent(f'udp:{HOST}:0', place))
            program = Program(phone, caller, transport)
            # What is made for the first call is not a matter of connections.
            for uri in program.uris * 10:
                program.call(uri)
            assert program.lost == []
            program.completed = 0
            return program

        yield start


def closed(connection: socket.socket) -> bool:
    """Wait until the other side has closed it; False if that takes longer than ten seconds."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def options_request(number: int) -> bytes:
    """A request that is answered at once."""
    return (f'OPTIONS sip:phone@{HOST} SIP/2.0\r\nVia: SIP/2.0/TCP {HOST}:9;branch=z9hG4bK{number};rport\r\n'
            f'From: <sip:a@{HOST}>;tag={number}\r\nTo: <sip:phone@{HOST}>\r\nCall-ID: {number}\r\n'
            'CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n').encode()


@transports
def test_a_thousand_idle_connections(transport: str, attacked: Callable[..., Program],
                                     certificate: Certificate) -> None:
    program = attacked(transport)
    connections = []
    context = ssl.create_default_context(cafile=str(certificate.ca))
    with program.answering_calls():
        for number in range(MANY):
            connection = program.connect()
            if transport == 'tls':
                connections.append(aside(_tls, connection.detach(), context))
                continue
            connections.append(connection)
            connection.sendall(UPGRADE if transport == 'ws' else options_request(number))
            assert connection.recv(65536).split()[1] in (b'101', b'200')
        assert peers.connections(program.port) >= MANY
        gevent.sleep(0.5)
        assert program.grown() / MANY < BOUNDS[transport]
    for connection in connections:
        connection.close()


def aside(function: Callable[..., object], *arguments: object) -> Any:
    """Run what blocks the whole thread in another one."""
    return gevent.get_hub().threadpool.apply(function, arguments)


def _tls(descriptor: int, context: ssl.SSLContext) -> plain.socket:
    """A handshake on a connection; blocks the thread."""
    made = plain.socket(fileno=descriptor)
    made.settimeout(10)
    return context.wrap_socket(made, server_hostname='localhost')


@transports
def test_a_thousand_half_open_connections(transport: str, attacked: Callable[..., Program]) -> None:
    program = attacked(transport, 'handshake=4&message=4&first=4')
    with program.answering_calls():
        connections = [program.connect() for _ in range(MANY)]
        for number, connection in enumerate(connections):
            # Half of them say nothing at all.
            if number % 2:
                connection.sendall(HALVES[transport])
        gevent.sleep(0.5)
        assert peers.connections(program.port) >= MANY
        assert program.grown() / MANY < BOUNDS[transport]
        # They had their time.
        assert all(closed(connection) for connection in connections)
    for connection in connections:
        connection.close()


def test_writers_that_send_an_octet_a_second(attacked: Callable[..., Program]) -> None:
    program = attacked('tcp', 'message=3')
    cut: list[int] = []

    def write(connection: socket.socket) -> None:
        connection.settimeout(1)
        for octet in HALF:
            connection.sendall(bytes([octet]))
            try:
                assert connection.recv(1) == b''
            except TimeoutError:
                continue
            cut.append(octet)
            break
        connection.close()

    with program.answering_calls():
        writers = [gevent.spawn(write, program.connect()) for _ in range(10)]
        gevent.joinall(writers, timeout=12, raise_error=True)
    assert len(cut) == 10
    assert program.grown() < 1_000_000


def test_bodies_of_a_megabyte_are_refused(attacked: Callable[..., Program]) -> None:
    program = attacked('tcp')
    body = b'x' * (1 << 20)
    head = options_request(1).replace(b'Content-Length: 0', b'Content-Length: %d' % len(body))

    def send() -> bytes:
        connection = program.connect()
        with contextlib.suppress(OSError):
            connection.sendall(head + body)
        with contextlib.suppress(OSError):
            return connection.recv(65536)
        return b''

    with program.answering_calls():
        senders = [gevent.spawn(send) for _ in range(10)]
        gevent.joinall(senders, timeout=12)
        assert [sender.value[:12] for sender in senders] == [b'SIP/2.0 513 '] * 10
        # Who sends it with a user agent is told.
        with UserAgent(f'tcp:{HOST}:0?queue={4 << 20}') as ua:
            with pytest.raises(ResponseError) as caught:
                ua.message(program.uris[1], body, timeout=10)
            assert caught.value.code == 513
    assert program.grown() < 4_000_000


def test_a_body_of_a_megabyte_where_it_is_allowed() -> None:
    body = bytes(range(256)) * 4096
    bodies = []
    endpoint = Endpoint(Core(random=Entropy()), [f'tcp:{HOST}:0'], limits=Limits(message=2 << 20))

    def take(event: object) -> None:
        if event.kind == REQUEST:
            bodies.append(event.message.body)
            endpoint.core.respond(event.exchange, 200, endpoint.now())

    endpoint.on_event = take
    endpoint.start()
    with UserAgent(f'tcp:{HOST}:0?queue={4 << 20}') as ua:
        uri = f'sip:x@{HOST}:{endpoint.points[0].address[1]};transport=tcp'
        assert ua.message(uri, body, content_type='application/octet-stream', timeout=10).code == 200
    endpoint.close()
    assert bodies == [body]


def test_callers_that_close_in_mid_transaction(attacked: Callable[..., Program]) -> None:
    program = attacked('tcp')
    invite = options_request(0).replace(b'OPTIONS', b'INVITE').replace(
        b'Max-Forwards', b'Contact: <sip:a@127.0.0.1:9;transport=tcp>\r\nMax-Forwards')
    with program.answering_calls():
        for number in range(100):
            connection = program.connect()
            request = invite.replace(b'branch=z9hG4bK0', b'branch=z9hG4bK%d' % number)
            request = request.replace(b'Call-ID: 0', b'Call-ID: %d' % number)
            # In the middle of the message; once it is whole; when the call rings.
            connection.sendall(request[:200] if number % 3 == 0 else request)
            if number % 3 == 2:
                assert connection.recv(65536).startswith(b'SIP/2.0 180 ')
            connection.close()
        gevent.sleep(1)
    assert peers.connections(program.port) <= 2
    assert program.grown() < 2_000_000


def test_callees_that_close_in_mid_transaction() -> None:
    with socket.socket() as listener, UserAgent(f'tcp:{HOST}:0') as ua:
        listener.bind((HOST, 0))
        listener.listen()

        def answer() -> None:
            while True:
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.close()

        answering = gevent.spawn(answer)
        uri = f'sip:x@{HOST}:{listener.getsockname()[1]};transport=tcp'
        for _ in range(20):
            # At once, not when timer B has run out.
            with pytest.raises((ConnectError, TransportError)), ua.invite(uri) as leg:
                leg.wait_for('200', timeout=5)
        assert ua.legs == []
        answering.kill()
