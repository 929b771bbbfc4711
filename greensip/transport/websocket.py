"""SIP over WebSocket, as server and as client: RFC 7118, on RFC 6455 as wsproto speaks it.

A browser cannot listen: it opens a connection to us with an HTTP request, and everything else, in both directions, goes
over that connection.  What is said for a connection that is gone, is lost: nobody can open it again but the browser.

``WebSocketChannel`` is what lies between the octets of a connection and SIP messages.  It knows no sockets: it is given
octets and gives messages, and octets that are to be sent.  Each WebSocket message is one SIP message (RFC 7118 5), so
Content-Length is not needed.  Text and binary messages are read alike; what is UTF-8 leaves as text, anything else as
binary (4.2).  A WebSocket ping is answered with a pong, and CRLFs are keep-alives (6); ours are pings, which every
server answers.  No extension is negotiated: compression would let a small frame become a large message, and costs
memory for as long as the connection lives.

**Behind a reverse proxy** all connections come from one address.  With ``forwarded`` the one that the proxy tells in
X-Forwarded-For takes its place, in ``received``, in limits, and for the program.  Whoever reaches the port without the
proxy can then claim any address, so that has to be impossible.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError, generate_accept_token

from greensip.errors import ConnectError, ParseError, TransportError
from greensip.message import LIMITS, PING, PONG, Limits, parse_message
from greensip.message.framing import Framed
from greensip.transaction.flow import Address, Flow, hostport

from .base import DEFAULT_PORTS, Listen, Receiver, read_switch
from .channel import Channel
from .connection import Connection
from .stream import OPTIONS, StreamTransport, source_of
from .tls import TLS_OPTIONS, TlsChannel, TlsTransport, identities, plain_name

__all__ = ['SUBPROTOCOL', 'WS_OPTIONS', 'Rules', 'WebSocketChannel', 'WsTransport', 'WssTransport']

#: what client and server agree on (RFC 7118 4.1)
SUBPROTOCOL = 'sip'
#: the version of RFC 6455
VERSION = b'13'

#: why a connection is closed (RFC 6455 7.4.1)
NORMAL, GOING_AWAY, TOO_BIG = 1000, 1001, 1009
#: in so many pieces a message may come: one without an octet takes as long to read as many octets
MAX_PIECES = 4096

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


def read_path(text: str) -> str:
    """For ``read_options``."""
    if not text.startswith('/') or not text.isascii() or not text.isprintable() or set(text) & set(' ?#'):
        raise ValueError('write the path of a URL, such as /sip')
    return text


def read_origins(text: str) -> tuple[str, ...]:
    """Origins with commas between them, for ``read_options``."""
    origins = tuple(origin.strip() for origin in text.split(','))
    if not all(re.fullmatch(r'[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s]+', origin) for origin in origins):
        raise ValueError('write scheme, host and port as a browser does, such as https://example.com')
    return origins


class Refusal(NamedTuple):
    """The answer to a handshake that is not accepted: HTTP status, a sentence, and header fields."""

    status: int
    why: str
    fields: tuple[tuple[str, str], ...] = ()


class WebSocketChannel:
    """One WebSocket connection, without its socket.

    ``host`` is None for a server; for a client it is the host, and port, that the handshake asks for.  Raises
    ConnectError if it is no host name.
    """

    __slots__ = ('_frames', '_handshake', '_http', '_limits', '_message', '_outgoing', '_partial', '_pieces',
                 '_rules', 'claimed', 'ended', 'octets')

    def __init__(self, host: str | None = None, rules: Rules = Rules(), limits: Limits = LIMITS) -> None:  # noqa: B008
        #: why no more messages come, once that is so: what is to be sent is the last, then the connection is closed
        self.ended = ''
        #: the address of the client as the reverse proxy tells it; '' when nobody is asked or tells
        self.claimed = ''
        #: given a list, each thing that ``receive`` returns adds its octets there
        self.octets: list[bytes] | None = None
        self._rules = rules
        self._limits = limits
        self._outgoing = bytearray()
        self._frames: Frames | None = None
        self._http: h11.Connection | None = None
        self._handshake: H11Handshake | None = None
        #: the message that is coming in pieces, and whether there is one
        self._message = bytearray()
        self._partial = False
        self._pieces = 0
        if host is None:
            self._http = h11.Connection(h11.SERVER)
        else:
            self._handshake = H11Handshake(ConnectionType.CLIENT)
            try:
                self._outgoing += self._handshake.send(Request(
                    host=host, target=rules.peer_path, subprotocols=[SUBPROTOCOL]))
            except UnicodeError:
                raise ConnectError(f'cannot connect to {host}: that is no host name') from None

    @property
    def ready(self) -> bool:
        """Whether the handshake is done and messages can be sent."""
        return self._frames is not None and not self.ended

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
        if self._frames is None:
            if self._http is not None:
                self._accept(self._http, data)
            elif self._handshake is not None:
                self._confirm(self._handshake, data)
        else:
            self._frames.receive_data(data)
        if self._frames is not None:
            self._read(self._frames, out)
        return out

    def pack(self, data: bytes) -> bytes:
        """One SIP message as octets to be sent (RFC 7118 4.2); double CRLF as a ping (6).  Only when ``ready``."""
        assert self._frames is not None
        if data == CRLF + CRLF:
            return self._frames.send(Ping())
        message: Message[str] | Message[bytes | bytearray]
        try:
            message = TextMessage(data.decode('utf-8'))
        except UnicodeDecodeError:
            message = BytesMessage(data)
        return self._frames.send(message)

    def close(self, why: str = 'closed', code: int = GOING_AWAY) -> None:
        """Say goodbye (RFC 6455 7.1.2): afterwards there is something to send, the last."""
        if self.ready:
            assert self._frames is not None
            self._outgoing += self._frames.send(CloseConnection(code, why))
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
        self._frames = Frames(ConnectionType.SERVER, [], http.trailing_data[0])
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
                self._frames = handshake.connection
                self._handshake = None

    # -- frames

    def _read(self, frames: Frames, out: list[Framed]) -> None:
        """What the frames say that are here."""
        message = self._message
        for event in frames.events():
            if isinstance(event, Message):
                piece = event.data
                message += piece.encode() if isinstance(piece, str) else piece
                self._pieces += 1
                if self._pieces > MAX_PIECES or len(message) > self._limits.head + self._limits.message:
                    message.clear()
                    self.close('message too big', TOO_BIG)
                    return
                self._partial = not event.message_finished
                if event.message_finished:
                    self._finish(bytes(message), out)
                    message.clear()
                    self._pieces = 0
            elif isinstance(event, Ping):
                self._outgoing += frames.send(event.response())
            elif isinstance(event, Pong):
                self._give(PONG, b'', out)
            elif isinstance(event, CloseConnection):
                # Either the peer's wish, or what it gets for a frame that cannot be read (RFC 6455 7.1.7).
                if frames.state is ConnectionState.REMOTE_CLOSING:
                    self.ended = f'the peer closed the connection with {int(event.code)}'
                else:
                    self.ended = f'closed with {int(event.code)}: {event.reason}'
                self._outgoing += frames.send(event.response())
                return

    def _finish(self, data: bytes, out: list[Framed]) -> None:
        """A whole WebSocket message: a SIP message, or a keep-alive."""
        if len(data) <= 4 and not data.strip(CRLF):
            if data == CRLF + CRLF:
                self._give(PING, data, out)
            elif data == CRLF:
                self._give(PONG, data, out)
            return
        try:
            self._give(parse_message(data, self._limits), data, out)
        except ParseError as error:
            self._give(error, data, out)

    def _give(self, item: Framed, data: bytes, out: list[Framed]) -> None:
        out.append(item)
        if self.octets is not None:
            self.octets.append(data)


#: what the places of WebSockets have more than others
WS_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    'path': read_path, 'origin': read_origins, 'forwarded': read_switch, 'peer_path': read_path,
}


class WsTransport(StreamTransport):
    """A socket that listens for WebSockets, and the connections that are opened to it and by it.

    The options of its place are those of ``stream.OPTIONS``, and: ``path``, at which SIP is to be had (any without it);
    ``origin``, the pages that may connect, with commas between them (all without it); ``forwarded``, to believe
    X-Forwarded-For; ``peer_path``, the path that we ask other servers for (``/`` without it).  ``keepalive`` has
    those pinged too who have connected to us: browsers do not, and a proxy between closes what is silent.
    """

    def __init__(self, listen: Listen, receiver: Receiver) -> None:
        super().__init__(listen, receiver, 'WS', False, {**OPTIONS, **WS_OPTIONS})
        self.rules = rules_of(self.options)

    def channel(self, server: bool, name: str, remote: Address) -> Channel:
        host = None if server else host_field('WS', name, remote)
        return WebSocketChannel(host, self.rules, self.receiver.limits)

    def established(self, connection: Connection) -> None:
        welcome(self, connection, connection.channel)

    def way_back(self, data: bytes, flow: Flow) -> tuple[Address, str]:
        raise no_way_back(flow)


class WssTransport(TlsTransport):
    """A socket that listens for WebSockets over TLS, and the connections that are opened to it and by it.

    The options of its place are those of TLS and of ``WsTransport``.  Who a server is, is told as on the web (RFC 7118
    9.1, RFC 2818 3.1): by the DNS names of its certificate, of which the first label may be a wildcard.
    """

    def __init__(self, listen: Listen, receiver: Receiver) -> None:
        super().__init__(listen, receiver, 'WSS', {**TLS_OPTIONS, **WS_OPTIONS})
        self.rules = rules_of(self.options)

    def inside(self, server: bool, name: str, remote: Address) -> Channel:
        host = None if server else host_field('WSS', name, remote)
        return WebSocketChannel(host, self.rules, self.receiver.limits)

    def established(self, connection: Connection) -> None:
        super().established(connection)
        assert isinstance(connection.channel, TlsChannel)
        welcome(self, connection, connection.channel.inner)

    def names(self, certificate: Mapping[str, Any]) -> frozenset[str]:
        """RFC 2818 3.1: URIs do not count; the common name does where there is no DNS name."""
        others = [(kind, text) for kind, text in certificate.get('subjectAltName', ()) if kind != 'URI']
        return identities({**certificate, 'subjectAltName': others})

    def matches(self, names: frozenset[str], name: str) -> bool:
        plain = plain_name(name)
        return plain in names or f"*.{plain.partition('.')[2]}" in names

    def way_back(self, data: bytes, flow: Flow) -> tuple[Address, str]:
        raise no_way_back(flow)


def rules_of(options: Mapping[str, Any]) -> Rules:
    """The rules in the options of a place."""
    return Rules(options.get('path'), options.get('origin', ()), options.get('forwarded', False),
                 options.get('peer_path', '/'))


def host_field(token: str, name: str, remote: Address) -> str:
    """The Host of a handshake: the port is left out if it is the usual one (RFC 6455 4.1)."""
    return hostport(name or remote[0], remote[1] if remote[1] != DEFAULT_PORTS[token] else None)


def welcome(transport: StreamTransport, connection: Connection, channel: Channel) -> None:
    """The handshake is done: what is different for who has connected to us.  Raises TransportError."""
    if not connection.accepted:
        return
    connection.next_ping = transport.ping_time(transport.now())
    claimed = channel.claimed if isinstance(channel, WebSocketChannel) else ''
    if claimed:
        flow = connection.flow
        transport.recount(connection, source_of(claimed))
        connection.flow = Flow(flow.point, (claimed, flow.remote[1]), flow.connection)


def no_way_back(flow: Flow) -> TransportError:
    """RFC 7118 5.3: "SIP responses can only be sent over the existing WebSocket connection"."""
    return ConnectError(f'cannot send to {hostport(*flow.remote)}: the connection is closed')


def judge(request: h11.Request, rules: Rules) -> Refusal | None:
    """RFC 6455 4.2.1 and 4.2.2: what is wrong with a handshake; None if it is accepted."""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        fields.setdefault(name, []).append(value)
    # 4.2.1, 1.: the request; 4.2.2, 4.: the resource
    try:
        path = urlsplit(request.target.decode('ascii', 'replace')).path or '/'
    except ValueError:
        return Refusal(400, 'the path cannot be read')
    if rules.path is not None and path != rules.path:
        return Refusal(404, f'there is nothing at {path[:100]}')
    if request.method != b'GET':
        return Refusal(405, 'a WebSocket begins with GET', (('Allow', 'GET'),))
    # 3. and 4.: Upgrade and Connection
    upgrade = (('Upgrade', 'websocket'),)
    if b'websocket' not in tokens(fields, b'upgrade') or b'upgrade' not in tokens(fields, b'connection'):
        return Refusal(426, 'this is for WebSockets: there is no Upgrade', upgrade)
    if request.http_version < b'1.1':
        return Refusal(400, 'a WebSocket begins with HTTP/1.1 or later')
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
        # A zone means something on one machine only, and may be any text.
        return str(ipaddress.ip_address(last)) if '%' not in last else ''
    except ValueError:
        return ''
