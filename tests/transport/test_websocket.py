"""WebSockets: handshakes and frames as RFC 6455 writes them, octet for octet; and what is different on real sockets."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from benchmarks.certificates import Authority
from gevent import socket
from hypothesis import given
from hypothesis import strategies as st

from greensip.dialog import ENDED, Core, Event
from greensip.errors import ConnectError, ParseError, SetupError, TlsError, UsageError
from greensip.message import PING, PONG, KeepAlive, Limits, Message, Response, parse_message
from greensip.transaction.flow import Flow, hostport
from greensip.transport import Endpoint
from greensip.transport.websocket import MAX_PIECES, Rules, WebSocketChannel

# The example of RFC 6455 1.3 and RFC 7118 4.1.
HANDSHAKE = {
    'Host': 'sip-ws.example.com',
    'Upgrade': 'websocket',
    'Connection': 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Origin': 'http://www.example.com',
    'Sec-WebSocket-Protocol': 'sip',
    'Sec-WebSocket-Version': '13',
}
ACCEPT = b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

OPTIONS = b'OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/WS a.invalid;branch=z9hG4bK1\r\n\r\n'
GREETING = 'MESSAGE sip:b@h SIP/2.0\r\nSubject: Grüße\r\n\r\nschöne Grüße'.encode()
BINARY = b'MESSAGE sip:b@h SIP/2.0\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01'
BROKEN = b'OPTIONS sip:b@h SIP/2.0\r\nno field\r\n\r\n'

TEXT, BYTES, CLOSE, PING_FRAME, PONG_FRAME = 1, 2, 8, 9, 10


def request(line: str = 'GET / HTTP/1.1', **changes: str | None) -> bytes:
    """A handshake; ``Sec_WebSocket_Key=None`` leaves a field out."""
    named = {name.replace('_', '-'): value for name, value in changes.items()}
    fields = [f'{name}: {value}' for name, value in {**HANDSHAKE, **named}.items() if value is not None]
    return '\r\n'.join([line, *fields, '', '']).encode()


def frame(kind: int, payload: bytes, *, mask: bytes | None = b'\x12\x34\x56\x78', last: bool = True) -> bytes:
    """RFC 6455 5.2."""
    size = len(payload)
    length, more = ((size, b'') if size < 126 else (126, struct.pack('!H', size)) if size < 65536
                    else (127, struct.pack('!Q', size)))
    head = bytes([kind | (0x80 if last else 0), length | (0x80 if mask else 0)]) + more
    if mask is None:
        return head + payload
    return head + mask + bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """What a server has sent: kind and payload."""
    found = []
    while data:
        assert data[0] & 0x80 and not data[1] & 0x80
        size, start = data[1], 2
        if size == 126:
            size, start = struct.unpack('!H', data[2:4])[0], 4
        elif size == 127:
            size, start = struct.unpack('!Q', data[2:10])[0], 10
        found.append((data[0] & 15, data[start:start + size]))
        data = data[start + size:]
    return found


def opened(limits: Limits | None = None, rules: Rules = Rules()) -> WebSocketChannel:  # noqa: B008
    """A server after its handshake."""
    server = WebSocketChannel(None, rules, limits or Limits())
    assert server.receive(request()) == []
    assert server.take_outgoing().startswith(b'HTTP/1.1 101 ')
    assert server.ready
    return server


def show(items: list[Message | KeepAlive | ParseError]) -> list[object]:
    return [item if isinstance(item, KeepAlive) else item.what if isinstance(item, ParseError)
            else (item.start_line, item.body) for item in items]


# -- the handshake of a server

def test_the_handshake_of_the_rfc() -> None:
    server = WebSocketChannel()
    assert not server.ready and server.take_outgoing() == b''
    assert server.receive(request()) == []
    answer = server.take_outgoing()
    status, *fields = answer.decode().rstrip('\r\n').split('\r\n')
    assert status == 'HTTP/1.1 101 Switching Protocols'
    assert {line.lower() for line in fields} == {
        'upgrade: websocket', 'connection: upgrade', f'sec-websocket-accept: {ACCEPT.decode().lower()}',
        'sec-websocket-protocol: sip'}
    assert ACCEPT in answer
    assert server.ready and not server.ended


@pytest.mark.parametrize('text', [
    request(Connection='keep-alive, Upgrade', Upgrade='WebSocket'),
    request(Sec_WebSocket_Protocol='chat, sip'),
    request(Sec_WebSocket_Extensions='permessage-deflate; client_max_window_bits'),
    request('GET /sip?token=1 HTTP/1.1'),
    request('GET ws://sip-ws.example.com/sip HTTP/1.1'),
    request(Origin=None),
    request(X_Forwarded_For='203.0.113.7'),
])
def test_handshakes_that_are_accepted(text: bytes) -> None:
    server = WebSocketChannel()
    server.receive(text)
    answer = server.take_outgoing()
    assert answer.startswith(b'HTTP/1.1 101 ') and b'xtensions' not in answer
    assert server.ready and server.claimed == ''


@pytest.mark.parametrize('text, status, field', [
    (request('POST / HTTP/1.1'), 405, b'Allow: GET'),
    (request('HEAD / HTTP/1.1'), 405, b'Allow: GET'),
    (request('GET / HTTP/1.0'), 400, b''),
    (request(Upgrade=None, Connection=None), 426, b'Upgrade: websocket'),
    (request(Upgrade='h2c'), 426, b'Upgrade: websocket'),
    (request(Connection='close'), 426, b'Upgrade: websocket'),
    (request(Sec_WebSocket_Version='8'), 426, b'Sec-WebSocket-Version: 13'),
    (request(Sec_WebSocket_Version=None), 426, b'Sec-WebSocket-Version: 13'),
    (request(Sec_WebSocket_Key=None), 400, b''),
    (request(Sec_WebSocket_Key='c2hvcnQ='), 400, b''),
    (request(Sec_WebSocket_Key='?'), 400, b''),
    (request(Sec_WebSocket_Protocol=None), 400, b''),
    (request(Sec_WebSocket_Protocol='chat, sips, SIP'), 400, b''),
    (request(Host=None), 400, b''),
    (request('GET //[ HTTP/1.1'), 400, b''),
    (request('GET http://[::1 HTTP/1.1'), 400, b''),
    (b'OPTIONS sip:b@h SIP/2.0\r\nCall-ID: x\r\n\r\n', 400, b''),
    (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400, b''),
    (b'GET / HTTP/1.1\r\nHost: a\r\nX: ' + b'x' * 20000, 431, b''),
])
def test_handshakes_that_are_refused(text: bytes, status: int, field: bytes) -> None:
    server = WebSocketChannel()
    assert server.receive(text) == []
    head, _, body = server.take_outgoing().partition(b'\r\n\r\n')
    assert head.startswith(b'HTTP/1.1 %d ' % status)
    assert field in head and b'Connection: close' in head
    assert body.count(b'\n') == (0 if text.startswith(b'HEAD') else 1)
    assert not server.ready and server.ended.startswith(f'refused with {status}')
    assert server.receive(frame(TEXT, OPTIONS)) == [] and server.take_outgoing() == b''


@pytest.mark.parametrize('line, accepted', [
    ('GET /sip HTTP/1.1', True), ('GET /sip?x=1 HTTP/1.1', True), ('GET http://h/sip HTTP/1.1', True),
    ('GET / HTTP/1.1', False), ('GET /sip/ HTTP/1.1', False), ('GET /SIP HTTP/1.1', False),
    ('GET //sip HTTP/1.1', False), ('GET ?/sip HTTP/1.1', False),
])
def test_the_path(line: str, accepted: bool) -> None:
    server = WebSocketChannel(None, Rules(path='/sip'))
    server.receive(request(line))
    assert server.ready is accepted
    assert server.take_outgoing().startswith(b'HTTP/1.1 101 ' if accepted else b'HTTP/1.1 404 ')


@pytest.mark.parametrize('origin, accepted', [
    ('https://phone.example.com', True), ('https://PHONE.example.com', True), ('https://other.example.com', True),
    ('http://phone.example.com', False), ('https://phone.example.com.evil.org', False), ('null', False), (None, False),
])
def test_the_origin(origin: str | None, accepted: bool) -> None:
    rules = Rules(origins=('https://phone.example.com', 'https://other.example.com'))
    server = WebSocketChannel(None, rules)
    server.receive(request(Origin=origin))
    assert server.ready is accepted
    assert server.take_outgoing().startswith(b'HTTP/1.1 101 ' if accepted else b'HTTP/1.1 403 ')


@pytest.mark.parametrize('text, claimed', [
    ('203.0.113.7', '203.0.113.7'), ('198.51.100.1, 203.0.113.7', '203.0.113.7'), ('2001:db8:0::7', '2001:db8::7'),
    ('[2001:db8::7]:4711', '2001:db8::7'), ('203.0.113.7:4711', '203.0.113.7'), ('unknown', ''), (None, ''),
    ('203.0.113.7, evil', ''), ('', ''), ('fe80::1%eth0', ''), ('2001:db8::7%;rport=1', ''),
])
def test_the_address_that_a_reverse_proxy_tells(text: str | None, claimed: str) -> None:
    server = WebSocketChannel(None, Rules(forwarded=True))
    server.receive(request(X_Forwarded_For=text))
    assert server.ready and server.claimed == claimed


# -- messages

def test_messages_in_text_and_binary() -> None:
    server = opened()
    items = server.receive(frame(TEXT, OPTIONS) + frame(BYTES, GREETING) + frame(BYTES, BINARY) + frame(TEXT, GREETING)
                           + frame(TEXT, BROKEN) + frame(TEXT, OPTIONS))
    assert show(items) == [
        ('OPTIONS sip:b@h SIP/2.0', b''), ('MESSAGE sip:b@h SIP/2.0', 'schöne Grüße'.encode()),
        ('MESSAGE sip:b@h SIP/2.0', b'\xff\xfe\x00\x01'), ('MESSAGE sip:b@h SIP/2.0', 'schöne Grüße'.encode()),
        'broken header field', ('OPTIONS sip:b@h SIP/2.0', b'')]
    assert server.take_outgoing() == b'' and server.ready and server.idle


def test_every_split_point() -> None:
    stream = request() + frame(TEXT, GREETING[:21], last=False) + frame(0, GREETING[21:]) + frame(BYTES, BINARY) \
        + frame(TEXT, b'\r\n\r\n')
    expected = [('MESSAGE sip:b@h SIP/2.0', 'schöne Grüße'.encode()),
                ('MESSAGE sip:b@h SIP/2.0', b'\xff\xfe\x00\x01'), PING]
    for cut in range(len(stream) + 1):
        server = WebSocketChannel()
        items = server.receive(stream[:cut]) + server.receive(stream[cut:])
        assert show(items) == expected and server.ready and server.idle
    server = WebSocketChannel()
    assert show([item for octet in stream for item in server.receive(bytes([octet]))]) == expected


def test_pieces_of_a_message_with_a_ping_between() -> None:
    server = opened()
    assert server.receive(frame(TEXT, OPTIONS[:10], last=False)) == []
    assert not server.idle
    assert server.receive(frame(PING_FRAME, b'are you there?')) == []
    assert frames(server.take_outgoing()) == [(PONG_FRAME, b'are you there?')]
    assert show(server.receive(frame(0, OPTIONS[10:]))) == [('OPTIONS sip:b@h SIP/2.0', b'')]
    assert server.idle


@pytest.mark.parametrize('payload, expected', [
    (b'\r\n\r\n', [PING]), (b'\r\n', [PONG]), (b'', []), (b'\n', []),
    (b'\r\n\r\n' + OPTIONS, [('OPTIONS sip:b@h SIP/2.0', b'')]),
])
def test_keep_alives(payload: bytes, expected: list[object]) -> None:
    server = opened()
    assert show(server.receive(frame(TEXT, payload))) == expected
    assert server.ready


def test_what_is_utf_8_leaves_as_text() -> None:
    server = opened()
    assert frames(server.pack(OPTIONS) + server.pack(GREETING) + server.pack(BINARY) + server.pack(b'\r\n')) == [
        (TEXT, OPTIONS), (TEXT, GREETING), (BYTES, BINARY), (TEXT, b'\r\n')]
    large = OPTIONS + b'x' * 70000
    assert frames(server.pack(large)) == [(TEXT, large)]
    assert frames(server.pack(b'\r\n\r\n')) == [(PING_FRAME, b'')]


@pytest.mark.parametrize('pieces', [
    [frame(BYTES, b'x' * 151)],
    [frame(BYTES, b'x' * 80, last=False), frame(0, b'x' * 80, last=False)],
    [bytes([0x82, 0xff]) + struct.pack('!Q', 1 << 60) + b'mask', b'x' * 160],
])
def test_a_message_that_is_too_big(pieces: list[bytes]) -> None:
    server = opened(Limits(head=50, message=100))
    for piece in pieces:
        assert server.receive(piece) == []
    (kind, payload), = frames(server.take_outgoing())
    assert kind == CLOSE and struct.unpack('!H', payload[:2]) == (1009,)
    assert server.ended == 'message too big' and not server.ready


def test_a_message_in_too_many_pieces() -> None:
    """They may be empty, and without an end."""
    server = opened()
    for _ in range(3):
        assert server.receive(frame(TEXT, OPTIONS[:9], last=False) + frame(0, b'', last=False) * 2000) == []
        assert show(server.receive(frame(0, OPTIONS[9:]))) == [('OPTIONS sip:b@h SIP/2.0', b'')]
    assert server.receive(frame(TEXT, OPTIONS, last=False) + frame(0, b'', last=False) * MAX_PIECES) == []
    (kind, payload), = frames(server.take_outgoing())
    assert kind == CLOSE and struct.unpack('!H', payload[:2]) == (1009,)
    assert not server.ready


def test_a_message_over_the_limit_of_sip() -> None:
    server = opened(Limits(head=50, message=100))
    error, = server.receive(frame(BYTES, b'MESSAGE sip:b@h SIP/2.0\r\nCall-ID: a\r\n\r\n' + b'x' * 80))
    assert isinstance(error, ParseError) and error.status == 513 and server.ready


@pytest.mark.parametrize('data, code', [
    (frame(TEXT, OPTIONS, mask=None), 1002),
    (frame(TEXT, b'\xff\xfe'), 1007),
    (frame(3, b''), 1002),
    (frame(0, OPTIONS), 1002),
    (bytes([0xc1]) + frame(TEXT, OPTIONS)[1:], 1002),
    (frame(TEXT, b'x', last=False) + frame(TEXT, b'x'), 1002),
    (frame(PING_FRAME, b'x' * 126), 1002),
])
def test_frames_that_are_wrong(data: bytes, code: int) -> None:
    server = opened()
    assert server.receive(data) == []
    (kind, payload), = frames(server.take_outgoing())
    assert kind == CLOSE and struct.unpack('!H', payload[:2]) == (code,)
    assert server.ended.startswith(f'closed with {code}') and not server.ready
    assert server.receive(frame(TEXT, OPTIONS)) == [] and server.take_outgoing() == b''


def test_what_came_before_the_wrong_frame_is_kept() -> None:
    server = opened()
    assert show(server.receive(frame(TEXT, OPTIONS) + frame(3, b''))) == [('OPTIONS sip:b@h SIP/2.0', b'')]
    assert server.ended


@pytest.mark.parametrize('payload, answer', [(struct.pack('!H', 1000) + b'bye', 1000), (b'', None),
                                             (struct.pack('!H', 4321), 4321)])
def test_the_peer_says_goodbye(payload: bytes, answer: int | None) -> None:
    server = opened()
    assert show(server.receive(frame(TEXT, OPTIONS) + frame(CLOSE, payload))) == [('OPTIONS sip:b@h SIP/2.0', b'')]
    (kind, echoed), = frames(server.take_outgoing())
    assert kind == CLOSE and echoed[:2] == (struct.pack('!H', answer) if answer else b'')
    assert server.ended.startswith('the peer closed the connection') and not server.ready


def test_we_say_goodbye() -> None:
    server = opened()
    server.close('the server stops')
    assert frames(server.take_outgoing()) == [(CLOSE, struct.pack('!H', 1001) + b'the server stops')]
    assert server.ended == 'the server stops'
    server.close()
    assert server.take_outgoing() == b''


def test_an_end_without_goodbye() -> None:
    server = opened()
    server.receive(frame(TEXT, OPTIONS)[:20])
    server.eof()
    assert server.ended == 'the peer closed the connection'


# -- the client

def connected() -> tuple[WebSocketChannel, WebSocketChannel]:
    client, server = WebSocketChannel('sip-ws.example.com'), WebSocketChannel()
    server.receive(client.take_outgoing())
    client.receive(server.take_outgoing())
    return client, server


def test_a_client_asks_for_the_subprotocol() -> None:
    client = WebSocketChannel('[2001:db8::1]:8080', Rules(peer_path='/ws'))
    assert not client.ready
    line, *fields = client.take_outgoing().decode().split('\r\n')
    assert line == 'GET /ws HTTP/1.1'
    assert {'Host: [2001:db8::1]:8080', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
            'Sec-WebSocket-Protocol: sip'} <= set(fields)
    assert any(field.startswith('Sec-WebSocket-Key: ') for field in fields)
    assert not any('xtensions' in field for field in fields)


@pytest.mark.parametrize('host', ['a' * 64 + '.example.com', 'a..example.com'])
def test_a_client_for_what_is_no_host_name(host: str) -> None:
    with pytest.raises(ConnectError, match='no host name'):
        WebSocketChannel(host)


def test_client_and_server() -> None:
    client, server = connected()
    assert client.ready and server.ready
    data = client.pack(GREETING) + client.pack(BINARY)
    assert data[1] & 0x80, 'what a client sends is masked'
    assert show(server.receive(data)) == [('MESSAGE sip:b@h SIP/2.0', 'schöne Grüße'.encode()),
                                          ('MESSAGE sip:b@h SIP/2.0', b'\xff\xfe\x00\x01')]
    assert show(client.receive(server.pack(OPTIONS))) == [('OPTIONS sip:b@h SIP/2.0', b'')]
    assert client.receive(server.pack(b'\r\n\r\n')) == []
    assert server.receive(client.take_outgoing()) == [PONG] and server.ready
    server.close()
    client.receive(server.take_outgoing())
    assert client.ended == 'the peer closed the connection with 1001'


def test_what_follows_the_handshake_at_once() -> None:
    cut = size = 0
    while cut <= size:
        client, server = WebSocketChannel('h'), WebSocketChannel()
        server.receive(client.take_outgoing())
        together = server.take_outgoing() + server.pack(OPTIONS)
        items = client.receive(together[:cut]) + client.receive(together[cut:])
        assert show(items) == [('OPTIONS sip:b@h SIP/2.0', b'')] and client.ready
        cut, size = cut + 1, len(together)


@pytest.mark.parametrize('answer, why', [
    (b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', 'refused the WebSocket with 404'),
    (b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno', 'refused the WebSocket with 401'),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'refused the WebSocket with 200'),
    (b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
     b'Sec-WebSocket-Accept: bm90IHRoaXMgb25lISEhISEhISE=\r\n\r\n', 'does not speak WebSocket: Bad accept token'),
    (b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
     'does not speak WebSocket'),
    (b'SIP/2.0 400 Bad Request\r\n\r\n', 'does not speak WebSocket'),
    (b'\x15\x03\x01\x00\x02\x02\x46\r\n\r\n', 'does not speak WebSocket'),
])
def test_a_server_that_does_not_want_us(answer: bytes, why: str) -> None:
    client = WebSocketChannel('h')
    client.take_outgoing()
    with pytest.raises(ConnectError, match=why):
        client.receive(answer)
    assert not client.ready and why in client.ended


@pytest.mark.parametrize('protocol', [b'', b'Sec-WebSocket-Protocol: chat\r\n'])
def test_a_server_without_the_subprotocol(protocol: bytes) -> None:
    client, server = WebSocketChannel('h'), WebSocketChannel()
    server.receive(client.take_outgoing())
    answer = server.take_outgoing()
    start = answer.lower().index(b'sec-websocket-protocol')
    end = answer.index(b'\r\n', start) + 2
    with pytest.raises(ConnectError, match=r'does not speak'):
        client.receive(answer[:start] + protocol + answer[end:])
    assert not client.ready


# -- whatever comes

PIECES = st.lists(st.one_of(
    st.binary(max_size=40),
    st.builds(frame, st.integers(0, 15), st.binary(max_size=130), last=st.booleans(),
              mask=st.sampled_from([b'\x12\x34\x56\x78', None])),
    st.sampled_from([frame(TEXT, OPTIONS), frame(BYTES, BINARY), frame(CLOSE, b'\x03\xe8'), frame(PING_FRAME, b'')]),
), max_size=6)


@given(PIECES, st.booleans())
def test_a_server_bears_whatever_comes(pieces: list[bytes], shaken: bool) -> None:
    server = opened() if shaken else WebSocketChannel()
    for piece in pieces:
        items = server.receive(piece)
        assert not (server.ended and server.receive(piece))
        assert all(isinstance(item, Message | ParseError | KeepAlive) for item in items)
        assert isinstance(server.take_outgoing(), bytes)
    server.close()
    server.take_outgoing()
    assert server.ended


@given(st.dictionaries(st.sampled_from([*HANDSHAKE, 'X-Forwarded-For']), st.binary(max_size=30), max_size=3),
       st.binary(max_size=12))
def test_a_server_bears_whatever_asks(changes: dict[str, bytes], target: bytes) -> None:
    fields = {name: value.encode() for name, value in HANDSHAKE.items()} | changes
    server = WebSocketChannel(None, Rules(path='/', origins=('http://www.example.com',), forwarded=True))
    server.receive(b'GET /' + target + b' HTTP/1.1\r\n')
    for name, value in fields.items():
        server.receive(name.encode() + b': ' + value + b'\r\n')
    server.receive(b'\r\n')
    assert server.ready != bool(server.ended) or b'\n' in target + b''.join(changes.values())
    assert server.take_outgoing().startswith(b'HTTP/1.1 ') or not server.ended


@given(st.binary(max_size=60), st.sampled_from([b'', b'HTTP/1.1 101 Switching Protocols\r\n', b'HTTP/1.1 200 OK\r\n']),
       st.sampled_from([b'', b'Sec-WebSocket-Protocol: ', b'Sec-WebSocket-Accept: ', b'Connection: ']))
def test_a_client_bears_whatever_comes(data: bytes, status: bytes, name: bytes) -> None:
    client = WebSocketChannel('h')
    try:
        client.receive(status + name + data + b'\r\n\r\n')
    except ConnectError:
        assert client.ended


@given(PIECES)
def test_a_client_bears_whatever_a_server_says(pieces: list[bytes]) -> None:
    client, _ = connected()
    for piece in pieces:
        client.receive(piece)
    assert isinstance(client.take_outgoing(), bytes)


# -- on sockets

class Client:
    """A WebSocket client that sends what it is told."""

    def __init__(self, port: int, text: bytes = b'') -> None:
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=5)
        self.port = self.socket.getsockname()[1]
        self.data = b''
        self.socket.sendall(text or request())

    def head(self) -> bytes:
        """The answer to the handshake."""
        while b'\r\n\r\n' not in self.data:
            self._more()
        head, _, self.data = self.data.partition(b'\r\n\r\n')
        return head

    def frame(self) -> tuple[int, bytes]:
        """The next frame."""
        while len(self.data) < 2 or len(self.data) < self._size():
            self._more()
        size = self._size()
        (found,), self.data = frames(self.data[:size]), self.data[size:]
        return found

    def _size(self) -> int:
        size = self.data[1]
        return size + 2 if size < 126 else struct.unpack('!H', self.data[2:4].ljust(2, b'\xff'))[0] + 4

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.data)
        self.data += data

    def say(self, data: bytes, kind: int = TEXT) -> None:
        self.socket.sendall(frame(kind, data))

    def close(self) -> None:
        self.socket.close()


class Server:
    """An endpoint that listens for WebSockets, and what its core was told."""

    def __init__(self, place: str) -> None:
        self.endpoint = Endpoint(Core(random=random.Random(7118)), [place])
        self.events: list[Event] = []
        self.endpoint.on_event = self.events.append
        self.endpoint.start()
        self.port = self.endpoint.points[0].address[1]
        self.transport: Any = self.endpoint.transports[0]

    def uri(self) -> str:
        point = self.endpoint.points[0]
        return f'sip:x@{hostport(*point.address)}{point.contact_params}'

    def until(self, happened: Callable[[], object]) -> None:
        with gevent.Timeout(5):
            while not happened():
                gevent.sleep(0.001)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(place: str = 'ws:127.0.0.1:0') -> Server:
        servers.append(Server(place))
        return servers[-1]

    yield serve
    for server in servers:
        server.endpoint.close()


def asking(number: int = 1, method: str = 'OPTIONS', sent_by: str = 'df7jal23ls0d.invalid') -> bytes:
    """A request of a browser."""
    return (f'{method} sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/WS {sent_by};branch=z9hG4bK{number}\r\n'
            f'From: <sip:a@example.com>;tag=1\r\nTo: <sip:x@example.com>\r\nCall-ID: {number}\r\n'
            f'CSeq: {number} {method}\r\nMax-Forwards: 70\r\n\r\n').encode()


def test_a_request_of_a_browser(serve: Callable[..., Server]) -> None:
    server = serve()
    client = Client(server.port, request() + frame(TEXT, asking()))
    assert client.head().startswith(b'HTTP/1.1 101 ')
    kind, data = client.frame()
    response = parse_message(data)
    assert isinstance(response, Response) and (kind, response.code) == (TEXT, 200)
    assert response.via.received == '127.0.0.1'
    client.say(b'\r\n\r\n')
    assert client.frame() == (TEXT, b'\r\n')
    client.say(b'here', PING_FRAME)
    assert client.frame() == (PONG_FRAME, b'here')
    client.say(struct.pack('!H', 1000), CLOSE)
    assert client.frame() == (CLOSE, struct.pack('!H', 1000))
    with pytest.raises(EOFError):
        client.frame()
    client.close()
    server.until(lambda: not server.transport.connections and not server.transport.leaving)


def test_what_is_no_websocket_is_told_so(serve: Callable[..., Server]) -> None:
    server = serve('ws:127.0.0.1:0?path=/sip&origin=https://a.example,http://b.example:8080')
    for text, status in ((request(), b'404'), (request('GET /sip HTTP/1.1'), b'403'),
                         (request('GET /sip HTTP/1.1', Origin='http://b.example:8080'), b'101'), (asking(), b'400')):
        client = Client(server.port, text)
        assert client.head().split()[1] == status
        if status != b'101':
            with pytest.raises(EOFError):
                client.frame()
        client.close()


def test_behind_a_reverse_proxy(serve: Callable[..., Server]) -> None:
    server = serve('ws:127.0.0.1:0?forwarded=1&per_source=2')
    flows: list[Flow] = []
    server.endpoint.taps.append(lambda direction, data, flow, time: flows.append(flow))
    clients = [Client(server.port, request(X_Forwarded_For=text) + frame(TEXT, asking(number)))
               for number, text in enumerate(['10.1.1.1, 203.0.113.7', '203.0.113.7', '203.0.113.8'], 1)]
    for client, host in zip(clients, ['203.0.113.7', '203.0.113.7', '203.0.113.8']):
        assert client.head().startswith(b'HTTP/1.1 101 ')
        assert parse_message(client.frame()[1]).via.received == host
    assert {flow.remote for flow in flows} == {
        (host, client.port) for client, host in zip(clients, ['203.0.113.7', '203.0.113.7', '203.0.113.8'])}
    # The proxy's own address does not count any more, theirs do.
    clients.append(Client(server.port, request(X_Forwarded_For='203.0.113.7') + frame(TEXT, asking(4))))
    clients[-1].head()
    kind, payload = clients[-1].frame()
    assert kind == CLOSE and payload[2:] == b'203.0.113.7 has 2 connections'
    clients.append(Client(server.port, request(X_Forwarded_For='203.0.113.8') + frame(TEXT, asking(5))))
    assert clients[-1].head().startswith(b'HTTP/1.1 101 ')
    for client in clients:
        client.close()
    server.until(lambda: not server.transport.connections)
    assert server.transport._sources == {}


def test_nobody_is_believed_unasked(serve: Callable[..., Server]) -> None:
    client = Client(serve().port, request(X_Forwarded_For='203.0.113.7') + frame(TEXT, asking()))
    client.head()
    assert parse_message(client.frame()[1]).via.received == '127.0.0.1'
    client.close()


def test_an_answer_for_a_connection_that_is_gone_goes_nowhere(serve: Callable[..., Server]) -> None:
    server, listener = serve(), serve()
    sent_by = hostport(*listener.endpoint.points[0].address)
    client = Client(server.port, request() + frame(TEXT, asking(1, 'MESSAGE', sent_by)))
    server.until(lambda: server.events)
    client.close()
    server.until(lambda: not server.transport.connections)
    server.endpoint.core.respond(server.events[0].exchange, 200, server.endpoint.now())
    server.endpoint.flush()
    assert server.transport.counters.opened == 0 and server.endpoint.counters.unsent == 1
    assert not server.transport.connections


def test_a_browser_that_reloads_its_page_while_it_rings(serve: Callable[..., Server]) -> None:
    """RFC 7118 5.3: its answer could not come over another connection, so the caller need not wait for it."""
    server = serve()
    client = Client(server.port, request() + frame(TEXT, asking(1, 'MESSAGE')))
    client.head()
    server.until(lambda: server.events)
    core = server.endpoint.core
    core.invite('sip:a@df7jal23ls0d.invalid', server.endpoint.now(), from_='sip:x@example.com',
                flow=server.events.pop().exchange.flow)
    server.endpoint.flush()
    invite = parse_message(client.frame()[1])
    lines = [f'{name}: {text}' for name, text in invite.fields if name in ('Via', 'From', 'Call-ID', 'CSeq')]
    client.say('\r\n'.join(['SIP/2.0 180 Ringing', *lines, 'To: <sip:a@df7jal23ls0d.invalid>;tag=1', '', '']).encode())
    server.until(lambda: server.events)
    client.close()
    server.until(lambda: len(server.events) > 1)
    assert [event.name for event in server.events] == ['180', 'ended']
    assert 'closed the connection' in str(server.events[1].error)


def test_a_browser_that_is_gone_before_its_call_is_answered(serve: Callable[..., Server]) -> None:
    server = serve()
    client = Client(server.port, request() + frame(TEXT, asking(1, 'INVITE').replace(
        b'Max-Forwards', b'Contact: <sip:a@df7jal23ls0d.invalid;transport=ws>\r\nMax-Forwards')))
    client.head()
    server.until(lambda: server.events)
    usage = server.events[0].subject
    usage.respond(180, server.endpoint.now())
    server.endpoint.flush()
    client.frame()
    client.close()
    server.until(lambda: len(server.events) > 1)
    assert server.events[1].kind == ENDED and usage.state == 'terminated'


def test_both_sides_are_pinged(serve: Callable[..., Server]) -> None:
    server = serve('ws:127.0.0.1:0?keepalive=30')
    client = Client(server.port)
    client.head()
    now = server.transport.now()
    server.transport.sweep(now + 20)
    server.transport.sweep(now + 31)
    assert client.frame() == (PING_FRAME, b'')
    client.say(b'', PONG_FRAME)
    server.until(lambda: server.transport.counters.keep_alives)
    server.transport.sweep(now + 62)
    assert client.frame() == (PING_FRAME, b'')
    # Nobody answers this one.
    server.transport.sweep(server.transport.now() + 100)
    kind, payload = client.frame()
    assert (kind, payload[:2]) == (CLOSE, struct.pack('!H', 1001)) and b'does not answer a ping' in payload
    client.close()


def test_octets_are_shown_as_they_came(serve: Callable[..., Server]) -> None:
    server = serve()
    seen: list[tuple[str, bytes]] = []
    server.endpoint.taps.append(lambda direction, data, flow, time: seen.append((direction, data)))
    text = asking().replace(b'To:', b't :').replace(b'Max-Forwards: 70', b'max-forwards:70')
    client = Client(server.port, request() + frame(TEXT, b'\r\n\r\n') + frame(TEXT, text[:30], last=False)
                    + frame(0, text[30:]))
    client.head()
    server.until(lambda: len(seen) >= 2)
    assert seen[0] == ('<', text) and seen[1][0] == '>' and seen[1][1].startswith(b'SIP/2.0 200 ')
    client.close()


def test_the_server_refuses_and_the_request_fails(serve: Callable[..., Server]) -> None:
    bob, alice = serve('ws:127.0.0.1:0?path=/sip'), serve('ws:127.0.0.1:0?peer_path=/ws')
    alice.endpoint.core.request('OPTIONS', bob.uri(), alice.endpoint.now(), from_='sip:alice@example.com')
    alice.endpoint.flush()
    alice.until(lambda: alice.events)
    assert str(alice.events[0].error) == 'the server refused the WebSocket with 404'
    assert isinstance(alice.events[0].error, ConnectError)
    carol = serve('ws:127.0.0.1:0?peer_path=/sip')
    carol.endpoint.core.request('OPTIONS', bob.uri(), carol.endpoint.now(), from_='sip:carol@example.com')
    carol.endpoint.flush()
    carol.until(lambda: carol.events)
    assert carol.events[0].code == 200


@pytest.mark.parametrize('names, wanted, accepted', [
    (['phone.example.com'], 'phone.example.com', True), (['*.example.com'], 'phone.example.com', True),
    (['*.example.com'], 'a.phone.example.com', False), (['*.example.com'], 'example.com', False),
    (['sip:phone.example.com', 'other.example.com'], 'phone.example.com', False),
    (['sip:other.example.com', 'phone.example.com'], 'phone.example.com', True),
    (['other.example.com'], 'phone.example.com', False),
])
def test_who_a_server_is(serve: Callable[..., Server], tmp_path: Any, names: list[str], wanted: str,
                         accepted: bool) -> None:
    """RFC 7118 9.1: as on the web, and not as RFC 5922 has it."""
    certificate = Authority(tmp_path).sign('peer', names)
    bob = serve(f'wss:127.0.0.1:0?cert={certificate.cert}&key={certificate.key}')
    alice = serve(f'wss:127.0.0.1:0?ca={certificate.ca}')
    core = alice.endpoint.core
    flow = Flow(alice.endpoint.points[0], ('127.0.0.1', bob.port), 0, wanted)
    core.request('OPTIONS', f'sip:{wanted};transport=ws', alice.endpoint.now(), from_='sip:a@example.com', flow=flow)
    alice.endpoint.flush()
    alice.until(lambda: alice.events)
    if accepted:
        assert alice.events[0].code == 200
    else:
        assert isinstance(alice.events[0].error, TlsError)


@pytest.mark.parametrize('uri, transports, used', [
    ('sip:127.0.0.1:9;transport=ws', ['ws', 'wss'], 'WS'), ('sip:127.0.0.1:9;transport=ws', ['wss'], 'WSS'),
    ('sips:127.0.0.1:9;transport=ws', ['ws', 'wss'], 'WSS'), ('sip:127.0.0.1:9;transport=wss', ['ws', 'wss'], 'WSS'),
    ('sips:127.0.0.1:9;transport=ws', ['ws'], None),
])
def test_which_of_the_two_a_uri_means(uri: str, transports: list[str], used: str | None) -> None:
    endpoint = Endpoint(Core(random=random.Random(1)), [f'{name}:127.0.0.1:0' for name in transports])
    try:
        if used is None:
            with pytest.raises(ConnectError, match='no listening point for WSS'):
                endpoint.core.router.route(uri)
        else:
            found = endpoint.core.router.route(uri)
            assert isinstance(found, Flow) and found.point.transport == used
    finally:
        endpoint.close()


@pytest.mark.parametrize('place, sentence', [
    ('ws:127.0.0.1:0?path=sip', 'write the path of a URL'), ('ws:127.0.0.1:0?path=/a%20b', 'write the path of a URL'),
    ('ws:127.0.0.1:0?origin=example.com', 'write scheme, host and port'), ('ws:127.0.0.1:0?cert=x', 'ws has no option'),
    ('wss:127.0.0.1:0?forwarded=perhaps', 'write 1 or 0'),
])
def test_options_that_make_no_sense(place: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Endpoint(Core(random=random.Random(1)), [place])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'greensip.transport.websocket', None)
    with pytest.raises(SetupError, match=r"pip install 'greensip\[websocket\]'"):
        Endpoint(Core(random=random.Random(1)), ['ws:127.0.0.1:0'])


def test_the_points_of_websockets(serve: Callable[..., Server]) -> None:
    for place in ('ws:127.0.0.1:0', 'wss:127.0.0.1:0'):
        point = serve(place).endpoint.points[0]
        assert point.reliable and point.one_way and point.contact_params == ';transport=ws'
        assert point.via_prefix.startswith(f'SIP/2.0/{place.partition(":")[0].upper()} 127.0.0.1:')
