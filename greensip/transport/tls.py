"""SIP over TLS: RFC 3261 26.2, who the peer is by RFC 5922, connection reuse by RFC 5923.

The handshake and the records are OpenSSL's, between two buffers in memory: it never sees the socket, so a connection
is read and written as a plain one is.  TLS 1.2 is the oldest version that is spoken.

**Who the peer is.**  As client we ask for the name that the hop had before the DNS, since the DNS may lie: it is in the
server name of the handshake (RFC 6066), and has to be among the identities of the certificate (RFC 5922 7).  As server
we ask for a certificate if the place says so.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, Final

from greensip.errors import ParseError, TlsError, UsageError
from greensip.message import SipUri, parse_uri
from greensip.message.framing import Framed
from greensip.native import mypyc_attr
from greensip.transaction.flow import Address

from .base import Listen, Receiver, failure, read_text
from .channel import Channel, PlainChannel
from .connection import Connection
from .stream import OPTIONS, StreamTransport

__all__ = ['TLS_OPTIONS', 'TlsChannel', 'TlsTransport', 'identities']

log: Final = logging.getLogger('greensip.transport')

#: octets of a record, at most
RECORD: Final = 16384
#: seconds between two looks at the files
RELOAD: Final = 1.0

#: whose certificates are checked: those of servers; of servers, and of clients if they have one; of everybody; nobody's
VERIFY: Final = ('server', 'optional', 'peer', 'none')


def read_verify(text: str) -> str:
    """For ``read_options``."""
    if text not in VERIFY:
        raise ValueError(f'write one of {", ".join(VERIFY)}')
    return text


#: the options of a place: those of all streams, our certificate with its chain and its key (PEM files; the key may be
#: in the file of the certificate), those whose signature is trusted (without them: those that the system trusts)
TLS_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    **OPTIONS, 'cert': read_text, 'key': read_text, 'ca': read_text, 'verify': read_verify,
}


class TlsChannel:
    """TLS around another channel."""

    __slots__ = ('_ended', '_incoming', '_inner', '_outgoing', '_shaken', 'tls')

    def __init__(self, inner: Channel, context: ssl.SSLContext, server: bool, name: str = '') -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._shaken = False
        self._ended = ''
        try:
            self.tls = context.wrap_bio(self._incoming, self._outgoing, server, name or None)
        except ValueError as error:
            raise TlsError(f'{name!r} cannot be asked for in a TLS handshake: {error}') from None
        if not server:
            # The client speaks first.
            self._shake()

    @property
    def octets(self) -> list[bytes] | None:
        return self._inner.octets

    @octets.setter
    def octets(self, octets: list[bytes] | None) -> None:
        self._inner.octets = octets

    @property
    def inner(self) -> Channel:
        """What is inside."""
        return self._inner

    @property
    def ready(self) -> bool:
        return self._shaken and self._inner.ready

    @property
    def idle(self) -> bool:
        return self._inner.idle and not self._incoming.pending

    @property
    def ended(self) -> str:
        return self._ended or self._inner.ended

    def receive(self, data: bytes) -> list[Framed]:
        """Raises TlsError as well, for whatever OpenSSL does not like."""
        tls = self.tls
        incoming = self._incoming
        incoming.write(data)
        if not self._shaken and not self._shake():
            return []
        pieces: list[bytes] = []
        try:
            while True:
                piece = tls.read(RECORD)
                if not piece:
                    self._ended = 'the peer said goodbye'
                    break
                pieces.append(piece)
                # Asking once too often would cost an exception for each message.
                if not tls.pending() and not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise TlsError(f'TLS failed: {explain(error)}') from error
        if not pieces and data:
            return []
        return self._inner.receive(pieces[0] if len(pieces) == 1 else b''.join(pieces))

    def _shake(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise TlsError(f'the TLS handshake failed: {explain(error)}') from error
        self._shaken = True
        return True

    def pack(self, data: bytes) -> bytes:
        self._encrypt(self._inner.pack(data))
        return self._outgoing.read()

    def _encrypt(self, data: bytes) -> None:
        written = self.tls.write(data)
        while written < len(data):
            # One record at a time.
            data = data[written:]
            written = self.tls.write(data)

    def take_outgoing(self) -> bytes:
        if self._shaken:
            data = self._inner.take_outgoing()
            if data:
                try:
                    self._encrypt(data)
                except ssl.SSLError as error:
                    raise TlsError(f'TLS failed: {explain(error)}') from error
        return self._outgoing.read() if self._outgoing.pending else b''

    def close(self, why: str) -> None:
        self._inner.close(why)
        try:
            if self._shaken:
                data = self._inner.take_outgoing()
                if data:
                    self._encrypt(data)
                self.tls.unwrap()
        except ssl.SSLError:
            # It wants to read the peer's goodbye, for which nobody waits.
            pass
        self._ended = self._ended or why

    def eof(self) -> None:
        self._inner.eof()


@mypyc_attr(allow_interpreted_subclasses=True)
class TlsTransport(StreamTransport):
    """A socket that listens for TLS, and the connections that are opened to it and by it.

    The options of its place are ``TLS_OPTIONS``.  ``verify`` is ``server`` unless said otherwise; ``peer`` demands a
    certificate of clients too, ``optional`` (and ``alias``) asks for one, ``none`` believes everybody.  Without
    ``cert`` it only connects: its port is taken, but nobody listens there.  The files may be changed at any time: new
    connections take what they then hold.  Raises TlsError if they cannot be used.
    """

    def __init__(self, listen: Listen, receiver: Receiver, token: str = 'TLS',
                 options: Mapping[str, Callable[[str], Any]] = TLS_OPTIONS) -> None:
        given = dict(listen.options)
        self.verify = given.get('verify', 'server')
        self.cert = given.get('cert', '')
        self.key = given.get('key') or self.cert
        self.ca = given.get('ca', '')
        self._listen = listen
        if self.key and not self.cert:
            raise UsageError(f'cannot listen on {listen}: there is a key, but no cert')
        super().__init__(listen, receiver, token, True, options, bool(self.cert))
        self._looked = 0.0
        self._stamps: list[Any] = []
        try:
            self._stamps = self._stamp()
            self._contexts = self._load()
        except TlsError:
            self.socket.close()
            raise

    # -- certificates

    def _stamp(self) -> list[Any]:
        """What tells whether the files have changed."""
        stamps = []
        for path in (self.cert, self.key, self.ca):
            try:
                status = os.stat(path) if path else None
            except OSError:
                status = None
            stamps.append(status and (status.st_mtime_ns, status.st_size, status.st_ino))
        return stamps

    def _load(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """The contexts for connections to us and of ours."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # RFC 5922 has its own rules for names: ``established``.
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE if self.verify == 'none' else ssl.CERT_REQUIRED
        if self.verify == 'peer':
            server.verify_mode = ssl.CERT_REQUIRED
        elif self.verify == 'optional' or (self.alias and self.verify == 'server'):
            # RFC 5923 9.2: who is to have aliases is asked for a certificate.
            server.verify_mode = ssl.CERT_OPTIONAL
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            path = self.ca
            try:
                if self.ca:
                    context.load_verify_locations(self.ca)
                elif context.verify_mode != ssl.CERT_NONE:
                    context.load_default_certs()
                path = self.cert
                if self.cert:
                    # A key with a passphrase is refused: nobody is there to be asked for it.
                    context.load_cert_chain(self.cert, self.key, password='')
            except ssl.SSLError as error:
                raise TlsError(f'cannot listen on {self._listen}: {path} cannot be used: {explain(error)}') from error
            except OSError as error:
                raise failure(TlsError, f'cannot listen on {self._listen}: {path} cannot be used', error) from error
        return server, client

    def contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """For connections to us and of ours, with what is in the files now; looked at once a second at most."""
        now = self.now()
        if now - self._looked >= RELOAD:
            self._looked = now
            stamps = self._stamp()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._contexts = self._load()
                    log.info('= %r: certificates have been read again', self)
                except TlsError as error:
                    log.warning('! %s; what was there before stays in use', error)
        return self._contexts

    # -- what StreamTransport asks

    def channel(self, server: bool, name: str, remote: Address) -> Channel:
        context = self.contexts()[0 if server else 1]
        return TlsChannel(self.inside(server, name, remote), context, server, '' if is_numeric(name) else name)

    def inside(self, server: bool, name: str, remote: Address) -> Channel:
        """The channel that TLS lies around."""
        return PlainChannel(self.receiver.limits)

    def established(self, connection: Connection) -> None:
        """RFC 5922 7.3 and 7.4: who the peer is, and whether that is who we wanted to reach."""
        if self.verify == 'none':
            return
        channel = connection.channel
        assert isinstance(channel, TlsChannel)
        connection.names = self.names(channel.tls.getpeercert() or {})
        if not connection.accepted and not self.matches(connection.names, connection.name):
            shown = ', '.join(sorted(connection.names)) or 'nobody'
            raise TlsError(f'{connection.where} has no certificate for {connection.name}: it is for {shown}')

    def names(self, certificate: Mapping[str, Any]) -> frozenset[str]:
        """Who somebody with this certificate is."""
        return identities(certificate)

    def matches(self, names: frozenset[str], name: str) -> bool:
        """RFC 5922 7.2: the whole name, whatever its case; no wildcards."""
        return plain_name(name) in names

    def proves(self, connection: Connection, name: str) -> bool:
        return self.verify == 'none' or self.matches(connection.names, name)

    def alias_names(self, connection: Connection) -> list[str]:
        """RFC 5923 9.2: only who has shown a certificate."""
        return sorted(connection.names) if connection.accepted else []


def identities(certificate: Mapping[str, Any]) -> frozenset[str]:
    """RFC 5922 7.1: the names in a certificate as ``getpeercert`` tells it.

    Not as RFC 5922: its addresses count too, for URIs that name one.
    """
    uris: list[str] = []
    names: list[str] = []
    addresses: list[str] = []
    alternatives = certificate.get('subjectAltName', ())
    for kind, text in alternatives:
        # 1. URI: of scheme sip, without a user
        if kind == 'URI':
            try:
                uri = parse_uri(text)
            except ParseError:
                continue
            if isinstance(uri, SipUri) and uri.scheme == 'sip' and '@' not in text:
                uris.append(plain_name(uri.host))
        elif kind == 'DNS':
            names.append(plain_name(text))
        elif kind == 'IP Address':
            addresses.append(plain_name(text.strip()))
    if not alternatives:
        # 2. the common name, if there is nothing else
        names = [plain_name(text) for part in certificate.get('subject', ()) for kind, text in part
                 if kind == 'commonName']
    # DNS: "if and only if no other identity is found that matches the sip URI type"
    return frozenset([*(uris or names), *addresses])


def plain_name(name: str) -> str:
    """A name or an address in the form in which two are compared."""
    name = name.strip('[]').rstrip('.').lower()
    try:
        return str(ip_address(name))
    except ValueError:
        pass
    if name.isascii():
        return name
    try:
        return name.encode('idna').decode('ascii')
    except UnicodeError:
        return name


def is_numeric(name: str) -> bool:
    """Whether it is an address, or nothing: no server name for a handshake."""
    try:
        ip_address(name.strip('[]'))
    except ValueError:
        return not name
    return True


def explain(error: ssl.SSLError) -> str:
    """What OpenSSL says, for a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f'the certificate is not accepted: {error.verify_message}'
    # OpenSSL has none for a file in which it finds nothing of use.
    reason: str | None = getattr(error, 'reason', None)
    return reason.lower().replace('_', ' ') if reason else 'no certificate or key in PEM format'
