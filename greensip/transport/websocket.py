"""SIP over WebSocket, as server and as client: RFC 7118, on RFC 6455 as wsproto speaks it.

A browser cannot listen: it opens a connection to us with an HTTP request, and everything else, in both directions, goes
over that connection.  ``WebSocketChannel`` is what lies between the octets of a connection and SIP messages.  It knows
no sockets: it is given octets and gives messages, and octets that are to be sent.

Each WebSocket message is one SIP message (RFC 7118 5), so Content-Length is not needed.  Text and binary messages are
read alike; what is UTF-8 leaves as text, anything else as binary (4.2).  A WebSocket ping is answered with a pong, and
an empty message or CRLFs are keep-alives (6).  No extension is negotiated: compression would let a small frame become
a large message, and costs memory for as long as the connection lives.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

import h11
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError, generate_accept_token

from greensip.errors import ConnectError, ParseError
from greensip.message import LIMITS, PING, PONG, Limits, parse_message
from greensip.message.framing import Framed

__all__ = ['SUBPROTOCOL', 'Rules', 'WebSocketChannel']

#: what client and server agree on (RFC 7118 4.1)
SUBPROTOCOL = 'sip'
#: the version of RFC 6455
VERSION = b'13'

#: why a connection is closed (RFC 6455 7.4.1)
NORMAL, GOING_AWAY, TOO_BIG = 1000, 1001, 1009

#: what may stand between SIP messages (RFC 5626 3.5.1)
CRLF = b'\r\n'


class Rules(NamedTuple):
    """What a server asks of the handshakes that it accepts, and a client of the server."""

    #: the path at which SIP is to be had, None for any; without its query
    path: str | None = None
    #: the pages that may connect, as Origin names them: ``https://example.com``; empty for all, and for other programs
    origins: tuple[str, ...] = ()
    #: believe X-Forwarded-For: only for a server that nobody reaches but through a reverse proxy
    forwarded: bool = False
    #: the path that we ask other servers for
    peer_path: str = '/'


class Refusal(NamedTuple):
    """The answer to a handshake that is not accepted: HTTP status, a sentence, and header fields."""

    status: int
    why: str
    fields: tuple[tuple[str, str], ...] = ()


class WebSocketChannel:
    """One WebSocket connection, without its socket.

    ``host`` is None for a server; for a client it is the host, and port, that the handshake asks for.
    """

    __slots__ = ('_connection', '_handshake', '_http', '_limits', '_message', '_outgoing', '_partial', '_rules',
                 'claimed', 'ended')

    def __init__(self, host: str | None = None, rules: Rules = Rules(), limits: Limits = LIMITS) -> None:  # noqa: B008
        #: why no more messages come, once that is so: what is to be sent is the last, then the connection is closed
        self.ended = ''
        #: the address of the client as the reverse proxy tells it; '' when nobody is asked or tells
        self.claimed = ''
        self._rules = rules
        self._limits = limits
        self._outgoing = bytearray()
        self._connection: Connection | None = None
        self._http: h11.Connection | None = None
        self._handshake: H11Handshake | None = None
        #: the message that is coming in pieces, and whether there is one
        self._message = bytearray()
        self._partial = False
        if host is None:
            self._http = h11.Connection(h11.SERVER)
        else:
            self._handshake = H11Handshake(ConnectionType.CLIENT)
            self._outgoing += self._handshake.send(Request(
                host=host, target=rules.peer_path, subprotocols=[SUBPROTOCOL]))

    @property
    def ready(self) -> bool:
        """Whether the handshake is done and messages can be sent."""
        return self._connection is not None and not self.ended

    @property
    def idle(self) -> bool:
        """Whether no part of a message waits for the rest of it."""
        return not self._partial

    def take_outgoing(self) -> bytes:
        """The octets that have to be sent: of the handshake, pongs, the end."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def receive(self, data: bytes) -> list[Framed]:
        """What these octets complete, in order.  Afterwards there may be something to send, and it may be the end.

        Raises ConnectError when the server does not want us.
        """
        out: list[Framed] = []
        if self.ended or not data:
            return out
        if self._connection is None:
            if self._http is not None:
                self._accept(self._http, data)
            elif self._handshake is not None:
                self._confirm(self._handshake, data)
        else:
            self._connection.receive_data(data)
        if self._connection is not None:
            self._read(self._connection, out)
        return out

    def pack(self, data: bytes) -> bytes:
        """One SIP message, or keep-alive, as octets to be sent (RFC 7118 4.2).  Only when ``ready``."""
        assert self._connection is not None
        message: Message[str] | Message[bytes | bytearray]
        try:
            message = TextMessage(data.decode('utf-8'))
        except UnicodeDecodeError:
            message = BytesMessage(data)
        return self._connection.send(message)

    def ping(self) -> bytes:
        """A ping (RFC 7118 6) as octets to be sent.  Only when ``ready``."""
        assert self._connection is not None
        return self._connection.send(Ping())

    def close(self, why: str = 'closed', code: int = GOING_AWAY) -> None:
        """Say goodbye (RFC 6455 7.1.2): afterwards there is something to send, the last."""
        if self.ready:
            assert self._connection is not None
            self._outgoing += self._connection.send(CloseConnection(code, why))
        self.ended = self.ended or why

    def eof(self) -> None:
        """The peer has closed the connection."""
        if not self.ended:
            self.ended = 'the peer closed the connection'

    # -- the handshake of a server

    def _accept(self, http: h11.Connection, data: bytes) -> None:
        """The client's request, as far as it is here."""
        http.receive_data(data)
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(http, Refusal(error.error_status_hint, f'not a WebSocket handshake: {error}'))
            return
        if not isinstance(event, h11.Request):
            return
        refusal = judge(event, self._rules)
        if refusal is not None:
            self._refuse(http, refusal, event.method)
            return
        fields = dict(event.headers)
        if self._rules.forwarded:
            self.claimed = claimed_address(event)
        self._outgoing += http.send(h11.InformationalResponse(status_code=101, reason='Switching Protocols', headers=[
            (b'Upgrade', b'websocket'), (b'Connection', b'Upgrade'),
            (b'Sec-WebSocket-Accept', generate_accept_token(fields[b'sec-websocket-key'])),
            (b'Sec-WebSocket-Protocol', SUBPROTOCOL.encode())])) or b''
        self._connection = Connection(ConnectionType.SERVER, [], http.trailing_data[0])
        self._http = None

    def _refuse(self, http: h11.Connection, refusal: Refusal, method: bytes = b'') -> None:
        """Answer as HTTP does, with the reason for whoever looks at it in a browser."""
        self.ended = f'refused with {refusal.status}: {refusal.why}'
        text = f'{refusal.why}\n'.encode() if method != b'HEAD' else b''
        fields = [*refusal.fields, ('Content-Type', 'text/plain; charset=utf-8'), ('Content-Length', str(len(text))),
                  ('Connection', 'close')]
        response = h11.Response(status_code=refusal.status, headers=fields)
        for event in (response, h11.Data(data=text), h11.EndOfMessage()):
            self._outgoing += http.send(event) or b''

    # -- the handshake of a client

    def _confirm(self, handshake: H11Handshake, data: bytes) -> None:
        """RFC 6455 4.1, RFC 7118 4.1: the server's answer.  Raises ConnectError unless it is the one we want."""
        try:
            handshake.receive_data(data)
        except (RemoteProtocolError, ValueError) as error:
            self.ended = f'the server does not speak WebSocket: {error}'
            raise ConnectError(self.ended) from error
        for event in handshake.events():
            if isinstance(event, RejectConnection):
                self.ended = f'the server refused the WebSocket with {event.status_code}'
                raise ConnectError(self.ended)
            if isinstance(event, AcceptConnection):
                if event.subprotocol != SUBPROTOCOL:
                    self.ended = 'the WebSocket server does not speak SIP'
                    raise ConnectError(self.ended)
                self._connection = handshake.connection
                self._handshake = None

    # -- frames

    def _read(self, connection: Connection, out: list[Framed]) -> None:
        """What the frames say that are here."""
        message = self._message
        for event in connection.events():
            if isinstance(event, Message):
                piece = event.data
                message += piece.encode() if isinstance(piece, str) else piece
                if len(message) > self._limits.head + self._limits.message:
                    message.clear()
                    self.close('message too big', TOO_BIG)
                    return
                self._partial = not event.message_finished
                if event.message_finished:
                    self._finish(bytes(message), out)
                    message.clear()
            elif isinstance(event, Ping):
                self._outgoing += connection.send(event.response())
            elif isinstance(event, CloseConnection):
                # Either the peer's wish, or what it gets for a frame that cannot be read (RFC 6455 7.1.7).
                if connection.state is ConnectionState.REMOTE_CLOSING:
                    self.ended = f'the peer closed the connection with {int(event.code)}'
                else:
                    self.ended = f'closed with {int(event.code)}: {event.reason}'
                self._outgoing += connection.send(event.response())
                return

    def _finish(self, data: bytes, out: list[Framed]) -> None:
        """A whole WebSocket message: a SIP message, or a keep-alive."""
        if len(data) <= 4 and not data.strip(CRLF):
            if data == CRLF + CRLF:
                out.append(PING)
            elif data == CRLF:
                out.append(PONG)
            return
        try:
            out.append(parse_message(data, self._limits))
        except ParseError as error:
            out.append(error)


def judge(request: h11.Request, rules: Rules) -> Refusal | None:
    """RFC 6455 4.2.1 and 4.2.2: what is wrong with a handshake; None if it is accepted."""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        fields.setdefault(name, []).append(value)
    # 4.2.1, 1.: the request; 4.2.2, 4.: the resource
    path = urlsplit(request.target.decode('ascii', 'replace')).path or '/'
    if rules.path is not None and path != rules.path:
        return Refusal(404, f'there is nothing at {path[:100]}')
    if request.method != b'GET':
        return Refusal(405, 'a WebSocket begins with GET', (('Allow', 'GET'),))
    # 3. and 4.: Upgrade and Connection
    upgrade = (('Upgrade', 'websocket'),)
    if b'websocket' not in tokens(fields, b'upgrade') or b'upgrade' not in tokens(fields, b'connection'):
        return Refusal(426, 'this is for WebSockets: there is no Upgrade', upgrade)
    # 6.: the version
    if fields.get(b'sec-websocket-version') != [VERSION]:
        return Refusal(426, 'this is for WebSockets of version 13',
                       (*upgrade, ('Sec-WebSocket-Version', VERSION.decode())))
    # 5.: the key, 16 octets
    keys = fields.get(b'sec-websocket-key', [])
    if len(keys) != 1 or not is_key(keys[0]):
        return Refusal(400, 'Sec-WebSocket-Key is missing or wrong')
    # 7.: the origin
    origins = fields.get(b'origin', [])
    if rules.origins and [origin.decode('ascii', 'replace').lower() for origin in origins] not in [
            [origin.lower()] for origin in rules.origins]:
        return Refusal(403, 'pages from there may not connect')
    # 8., and RFC 7118 4.1: the subprotocol; it is "sip" and nothing else
    if SUBPROTOCOL.encode() not in tokens(fields, b'sec-websocket-protocol', lower=False):
        return Refusal(400, 'only the WebSocket subprotocol "sip" is spoken here')
    return None


def tokens(fields: dict[bytes, list[bytes]], name: bytes, lower: bool = True) -> list[bytes]:
    """The members of a field that is a list."""
    joined = b','.join(fields.get(name, []))
    return [token.strip() for token in (joined.lower() if lower else joined).split(b',')]


def is_key(key: bytes) -> bool:
    """Whether it is the base64 form of 16 octets."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def claimed_address(request: h11.Request) -> str:
    """The client's address in X-Forwarded-For: the last one, which our own proxy wrote.  '' if there is none.

    What stands before it was sent to the proxy, perhaps by somebody who would like to be somebody else.
    """
    text = b','.join(value for name, value in request.headers if name == b'x-forwarded-for').decode('ascii', 'replace')
    last = text.rpartition(',')[2].strip()
    if last.startswith('['):
        last = last[1:].partition(']')[0]
    elif last.count(':') == 1:
        last = last.partition(':')[0]
    try:
        return str(ipaddress.ip_address(last))
    except ValueError:
        return ''
