"""Digest authentication, both sides: RFC 7616 as SIP uses it (RFC 8760, RFC 3261 22), and back to RFC 2069.

The client half, ``DigestClient``, answers the challenges of a 401 or 407 and adds credentials to later requests.  The
server half, ``DigestServer``, makes challenges and checks credentials.  Time and chance are arguments of both.

How a response is computed (RFC 7616 3.4.1)::

    response = H(H(A1) : nonce : nc : cnonce : qop : H(A2))         without qop: H(H(A1) : nonce : H(A2))
    A1 = username : realm : password                                -sess: H(that) : nonce : cnonce
    A2 = method : uri                                               auth-int: method : uri : H(body)

A second challenge for credentials that were just given means a wrong password, with two exceptions: ``stale=true``
says that only the nonce was too old, and a nonce that had served for several requests may have run out at a server
that does not know the flag.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from ..errors import ParseError, UsageError
from .challenge import Challenge, Credentials, parse_challenge, parse_credentials
from .grammar import encode
from .message import Request, Response
from .uri import SipUri, parse_uri

__all__ = [
    'ALGORITHMS', 'DigestClient', 'DigestServer', 'Login', 'Verdict', 'digest_response', 'hash_password',
    'hash_username', 'is_supported',
]

#: a password, or by algorithm (without ``-sess``) what ``hash_password`` made of it
Password = str | Mapping[str, str]

#: The algorithms of RFC 7616 6.1, the weakest first.
ALGORITHMS: Final = ('MD5', 'SHA-256', 'SHA-512-256')

_SESS: Final = '-sess'


class RandomBits(Protocol):
    """``random.Random`` and ``random.SystemRandom`` are such sources."""

    def getrandbits(self, k: int, /) -> int: ...


# -- hashes

def _hasher(name: str) -> Callable[[bytes], str] | None:
    """Octets to hexadecimal digits; None if this build of hashlib lacks the algorithm."""
    try:
        hashlib.new(name, b'', usedforsecurity=False)
    except ValueError:
        return None
    return lambda data: hashlib.new(name, data, usedforsecurity=False).hexdigest()


# md5 and sha256 are always there but for builds that were stripped on purpose; SHA-512/256 (which is not a cut
# SHA-512) comes from OpenSSL only.
_HASHERS: Final = {'md5': _hasher('md5'), 'sha-256': _hasher('sha256'), 'sha-512-256': _hasher('sha512_256')}


def _base(algorithm: str) -> str:
    """The algorithm in lower case without ``-sess``."""
    return algorithm.lower().removesuffix(_SESS)


def is_supported(algorithm: str) -> bool:
    """Whether digests can be computed with it on this machine."""
    return _HASHERS.get(_base(algorithm)) is not None


def _hash(algorithm: str, data: bytes) -> str:
    hasher = _HASHERS.get(_base(algorithm))
    if hasher is None:
        known = _base(algorithm) in _HASHERS
        raise UsageError(f'digest algorithm {algorithm!r} '
                         f'{"is not in this Python: its hashlib was built without it" if known else "is unknown"}')
    return hasher(data)


def hash_password(algorithm: str, username: str, realm: str, password: str) -> str:
    """H(username:realm:password), what a server may store instead of the password."""
    return _hash(algorithm, encode(f'{username}:{realm}:{password}'))


def hash_username(algorithm: str, username: str, realm: str) -> str:
    """H(username:realm), what is sent as the user name when both sides want it hidden (RFC 7616 3.4.4)."""
    return _hash(algorithm, encode(f'{username}:{realm}'))


def _stored_hash(algorithm: str, username: str, realm: str, password: Password) -> str | None:
    """H(username:realm:password); None if the password is given as hashes of other algorithms only."""
    if isinstance(password, str):
        return hash_password(algorithm, username, realm, password)
    base = _base(algorithm)
    return next((value for name, value in password.items() if name.lower() == base), None)


def digest_response(algorithm: str, password_hash: str, method: str, uri: str, nonce: str, *, qop: str | None = None,
                    nc: str = '', cnonce: str = '', body: bytes = b'') -> str:
    """The ``response`` of credentials (RFC 7616 3.4.1).  ``password_hash`` is that of ``hash_password``."""
    a1 = password_hash
    if algorithm.lower().endswith(_SESS):
        a1 = _hash(algorithm, encode(f'{password_hash}:{nonce}:{cnonce}'))
    a2 = f'{method}:{uri}'
    if qop == 'auth-int':
        a2 += f':{_hash(algorithm, body)}'
    a2 = _hash(algorithm, encode(a2))
    middle = f'{nonce}:{nc}:{cnonce}:{qop}' if qop else nonce
    return _hash(algorithm, encode(f'{a1}:{middle}:{a2}'))


# -- the client

class Login(NamedTuple):
    """Who we are to a server.  ``realm`` '' fits every realm that no other login is for."""

    username: str
    password: Password
    realm: str = ''


class _Session:
    """What we use towards one realm: a challenge and how often we answered it (RFC 7616 3.6)."""

    __slots__ = ('algorithm', 'challenge', 'cnonce', 'nc', 'nonce', 'password_hash', 'qop', 'target', 'username')

    def __init__(self, challenge: Challenge, username: str, password_hash: str, qop: str | None, cnonce: str) -> None:
        self.challenge = challenge
        self.algorithm = challenge.algorithm
        self.nonce = challenge.nonce
        self.username = username
        if challenge.userhash:
            self.username = hash_username(self.algorithm, username, challenge.realm)
        self.password_hash = password_hash
        self.qop = qop
        #: one for the whole session, because the A1 of -sess hangs on it
        self.cnonce = cnonce
        self.nc = 0
        #: method and URI of the latest request
        self.target = ('', '')

    def credentials(self, method: str, uri: str, body: bytes) -> str:
        """Credentials for one more request."""
        self.nc += 1
        self.target = method, uri
        nc = f'{self.nc:08x}'
        challenge, qop = self.challenge, self.qop
        proof = digest_response(self.algorithm, self.password_hash, method, uri, self.nonce, qop=qop, nc=nc,
                                cnonce=self.cnonce, body=body)
        params: list[tuple[str, str | None]] = [
            ('username', self.username), ('realm', challenge.realm), ('nonce', self.nonce), ('uri', uri),
            ('response', proof),
        ]
        if 'algorithm' in challenge.params:
            params.append(('algorithm', self.algorithm))
        if challenge.opaque is not None:
            params.append(('opaque', challenge.opaque))
        if qop is not None:
            params += [('cnonce', self.cnonce), ('qop', qop), ('nc', nc)]
        if challenge.userhash:
            params.append(('userhash', 'true'))
        return str(Credentials('Digest', params))


#: challenge and credentials field, and that of the next nonce
_KINDS: Final = (('WWW-Authenticate', 'Authorization', 'Authentication-Info'),
                 ('Proxy-Authenticate', 'Proxy-Authorization', 'Proxy-Authentication-Info'))

# A server that calls each new nonce stale would go on for ever.
_MAX_STALE: Final = 3
#: realms for which credentials are kept, the latest ones: each further request has those for all of them, and whoever
#: is called may challenge for as many as he likes
MAX_REALMS: Final = 8


class DigestClient:
    """Answers challenges for one user, over one call or registration.

    ``logins`` is a ``Login``, a pair of user name and password, or several of them, for different realms.
    ``integrity`` prefers auth-int to auth where both are offered.
    """

    __slots__ = ('_sessions', '_stale', 'failure', 'integrity', 'logins')

    def __init__(self, logins: Login | tuple[str, Password] | Iterable[Login | tuple[str, Password]], *,
                 integrity: bool = False) -> None:
        self.logins = _read_logins(logins)
        self.integrity = integrity
        #: why the latest ``answer`` gave up, '' if it did not
        self.failure = ''
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._stale: dict[tuple[str, str], int] = {}

    def __repr__(self) -> str:
        return f'<DigestClient {", ".join(login.username for login in self.logins)}>'

    def answer(self, method: str, uri: str, body: bytes, response: Response, random: RandomBits, *,
               sent: Sequence[tuple[str, str]] | None = None) -> list[tuple[str, str]]:
        """The credentials for another attempt after a 401 or 407 (RFC 3261 22.2, 22.3); empty when that is hopeless,
        and ``failure`` says why.

        They are complete, for all realms known by now.  ``sent`` are the credentials of the attempt that was refused,
        () for none; without it, the latest ones that were given out for this method and URI.
        """
        self.failure = ''
        reasons = []
        answered = False
        for challenge_field, field, _ in _KINDS:
            for realm, challenges in _by_realm(response.get_all(challenge_field)).items():
                reason = self._take(field, realm, challenges, self._used((field, realm), (method, uri), sent), random)
                answered = answered or not reason
                if reason:
                    reasons.append(reason)
        if not answered:
            self.failure = '; '.join(reasons) or 'no Digest challenge that can be read'
            return []
        return self.preempt(method, uri, body)

    def preempt(self, method: str, uri: str, body: bytes = b'') -> list[tuple[str, str]]:
        """Credentials for a further request, for all realms known by now, so that it is not challenged again."""
        return [(field, session.credentials(method, uri, body)) for (field, _), session in self._sessions.items()]

    def note(self, response: Response) -> None:
        """Take the next nonce from the Authentication-Info of a 2xx (RFC 7616 3.5), if there is one."""
        for _, field, info_field in _KINDS:
            for text in response.get_all(info_field):
                sessions = [session for (kind, _), session in self._sessions.items() if kind == field]
                try:
                    # Its grammar is that of a challenge without the scheme.
                    nonce = parse_challenge(f'Digest {text}').params.get('nextnonce')
                except ParseError:
                    continue
                # It does not name its realm, so it is of use only where there is one.
                if nonce and _is_clean(nonce) and len(sessions) == 1:
                    sessions[0].nonce = nonce
                    sessions[0].nc = 0

    def _take(self, field: str, realm: str, challenges: list[Challenge], used: tuple[str, int] | None,
              random: RandomBits) -> str:
        """Begin a session with a realm; a reason if that can't be.  ``used`` are nonce and count that were refused."""
        login = self._login(realm)
        if login is None:
            return f'no credentials for realm {realm!r}'
        key = field, realm
        challenge, username, password_hash = _strongest(challenges, login)
        if challenge is None:
            offered = ', '.join(one.algorithm for one in challenges)
            return f'realm {realm!r} offers nothing that we can use ({offered})'
        if used is not None:
            nonce, nc = used
            if challenge.stale:
                self._stale[key] = self._stale.get(key, 0) + 1 if nc <= 1 else 1
                if self._stale[key] > _MAX_STALE:
                    return f'realm {realm!r} calls every nonce stale'
            elif challenge.nonce == nonce or nc <= 1:
                return f'wrong user name or password for realm {realm!r}'
        cnonce = f'{random.getrandbits(64):016x}'
        sessions = self._sessions
        if key not in sessions and len(sessions) >= MAX_REALMS:
            oldest = next(iter(sessions))
            del sessions[oldest]
            self._stale.pop(oldest, None)
        sessions[key] = _Session(challenge, username, password_hash, self._qop(challenge), cnonce)
        return ''

    def _used(self, key: tuple[str, str], target: tuple[str, str],
              sent: Sequence[tuple[str, str]] | None) -> tuple[str, int] | None:
        """Nonce and nonce count of the credentials that were refused; None if there were none for this realm."""
        session = self._sessions.get(key)
        if sent is None:
            return (session.nonce, session.nc) if session is not None and session.target == target else None
        field, realm = key
        for name, text in sent:
            if name.lower() != field.lower():
                continue
            try:
                credentials = parse_credentials(text)
            except ParseError:
                continue
            if credentials.realm == realm:
                nc = credentials.nc
                if nc is None:          # RFC 2069: nobody counts but we
                    nc = session.nc if session is not None and session.nonce == credentials.nonce else 1
                return credentials.nonce, nc
        return None

    def _login(self, realm: str) -> Login | None:
        for login in self.logins:
            if login.realm == realm:
                return login
        return next((login for login in self.logins if not login.realm), None)

    def _qop(self, challenge: Challenge) -> str | None:
        """8760 2.6 (8): a qop if any is offered."""
        offered = challenge.qop
        if not offered:
            return None
        wanted = 'auth-int' if self.integrity else 'auth'
        if wanted in offered:
            return wanted
        return 'auth' if 'auth' in offered else 'auth-int'


def _read_logins(logins: object) -> tuple[Login, ...]:
    if isinstance(logins, tuple) and logins and isinstance(logins[0], str):
        logins = (logins,)
    if isinstance(logins, Iterable):
        several = tuple(logins)
        if all(_is_login(one) for one in several):
            return tuple(Login(*one) for one in several)
    raise UsageError('credentials are a pair of user name and password, or several such pairs')


def _is_login(one: object) -> bool:
    return (isinstance(one, tuple) and 2 <= len(one) <= 3 and isinstance(one[0], str)
            and isinstance(one[1], str | Mapping) and isinstance(one[-1], str | Mapping))


def _is_clean(text: str) -> bool:
    """Fit to be sent back: nothing that would end a header field."""
    return not ('\r' in text or '\n' in text or '\0' in text)


def _by_realm(texts: Iterable[str]) -> dict[str, list[Challenge]]:
    """The Digest challenges that we can make sense of (RFC 8760 2.4: ignore others), in order."""
    realms: dict[str, list[Challenge]] = {}
    for text in texts:
        try:
            challenge = parse_challenge(text)
        except ParseError:
            continue
        if challenge.is_digest and challenge.nonce and _is_clean(text) and all(
                value is None or _is_clean(value) for value in challenge.params.values()):
            realms.setdefault(challenge.realm, []).append(challenge)
    return realms


def _strongest(challenges: Iterable[Challenge], login: Login) -> tuple[Challenge | None, str, str]:
    """The challenge to answer, the user name as it is to be written, and the hash of the password.

    Not as RFC 8760 2.4 advises (SHOULD use the topmost), the strongest algorithm wins, so that nobody on the way can
    weaken it by changing their order; of equally strong ones the topmost.
    """
    best: Challenge | None = None
    best_name, best_hash, best_strength = '', '', -1
    strengths = [name.lower() for name in ALGORITHMS]
    for challenge in challenges:
        base = _base(challenge.algorithm)
        if not is_supported(base) or strengths.index(base) <= best_strength:
            continue
        qop = challenge.qop
        if qop and 'auth' not in qop and 'auth-int' not in qop:
            continue
        if not qop and challenge.algorithm.lower().endswith(_SESS):
            continue            # RFC 3261 22.4 (8): no cnonce without qop, and no -sess without cnonce
        username, password = login.username, login.password
        if (challenge.params.get('charset') or '').lower() == 'utf-8' and isinstance(password, str):
            username, password = unicodedata.normalize('NFC', username), unicodedata.normalize('NFC', password)
        password_hash = _stored_hash(base, username, challenge.realm, password)
        if password_hash is not None:
            best, best_name, best_hash = challenge, username, password_hash
            best_strength = strengths.index(base)
    return best, best_name, best_hash


# -- the server

class Verdict(NamedTuple):
    """What became of the credentials of a request."""

    #: who it is; None if that is not proven
    username: str | None
    #: how to answer: 0 if all is well, 401 or 407 with a new challenge, 400
    code: int = 0
    #: to be said in the new challenge: the password was right, the nonce was not
    stale: bool = False
    reason: str = ''

    @property
    def ok(self) -> bool:
        """The user is who they say."""
        return self.username is not None


class _Seen:
    """The nonce counts seen with one nonce: the highest, and a bit for each of those below it."""

    __slots__ = ('bits', 'highest', 'issued')

    def __init__(self, issued: float) -> None:
        self.issued = issued
        self.highest = 0
        self.bits = 0

    def admit(self, nc: int, window: int) -> bool:
        """True once for each count, out of order as well, but not further back than the window."""
        ahead = nc - self.highest
        if ahead > 0:
            self.bits = (self.bits << min(ahead, window) | 1) & ((1 << window) - 1)
            self.highest = nc
            return True
        if -ahead >= window or self.bits >> -ahead & 1:
            return False
        self.bits |= 1 << -ahead
        return True


class DigestServer:
    """Challenges requests and checks credentials for one realm.

    ``secret`` are octets that nobody else knows, best made at random at each start: with them the nonces prove to be
    ours and tell their age, so a challenge costs no memory.  Only nonces in use are remembered, for their counts.
    ``algorithms`` are in order of preference (RFC 8760 2.3), and so is ``qop``; give ``('MD5',)`` where clients know
    nothing newer and look at the first challenge only, as SIPp does.  ``nonce_life`` is in seconds; ``window`` is how
    far nonce counts may arrive out of order, ``limit`` how many nonces in use are remembered.  With ``proxy`` it is 407
    and Proxy-Authenticate.  ``userhash`` invites clients to hide the user name, see ``check``.  UsageError for an
    algorithm that is not to be had.

    ACK and CANCEL cannot be challenged (RFC 3261 22.1).
    """

    __slots__ = ('_horizon', '_secret', '_seen', '_serial', 'algorithms', 'challenge_field', 'code',
                 'credentials_field', 'limit', 'nonce_life', 'opaque', 'qop', 'realm', 'userhash', 'window')

    def __init__(self, realm: str, secret: bytes, algorithms: Sequence[str] = ('SHA-256', 'MD5'), *,
                 qop: Sequence[str] = ('auth', 'auth-int'), nonce_life: float = 300.0, opaque: str | None = None,
                 proxy: bool = False, userhash: bool = False, window: int = 64, limit: int = 10000) -> None:
        for algorithm in algorithms:
            _hash(algorithm, b'')
        if not algorithms or not secret or not set(qop) <= {'auth', 'auth-int'}:
            raise UsageError('a digest server needs a secret, an algorithm, and a qop of auth and auth-int')
        self.realm = realm
        self.algorithms = tuple(algorithms)
        self.qop = tuple(qop)
        self.nonce_life = nonce_life
        self.opaque = opaque
        self.userhash = userhash
        self.window = window
        self.limit = limit
        self.code = 407 if proxy else 401
        self.challenge_field, self.credentials_field, _ = _KINDS[1 if proxy else 0]
        self._secret = secret
        self._serial = 0
        self._seen: dict[int, _Seen] = {}
        #: the latest nonce of which we forgot that it was used: none up to it is taken for unused
        self._horizon = 0

    def __repr__(self) -> str:
        return f'<DigestServer {self.realm!r} {", ".join(self.algorithms)}>'

    def challenge(self, now: float, *, stale: bool = False) -> list[str]:
        """The values of WWW-Authenticate or Proxy-Authenticate (``challenge_field``), one for each algorithm."""
        nonce = self._make_nonce(now)
        texts = []
        for algorithm in self.algorithms:
            params: list[tuple[str, str | None]] = [('realm', self.realm), ('nonce', nonce)]
            if self.opaque is not None:
                params.append(('opaque', self.opaque))
            if stale:
                params.append(('stale', 'true'))
            params.append(('algorithm', algorithm))
            if self.qop:
                params.append(('qop', ','.join(self.qop)))
            if self.userhash:
                params += [('charset', 'UTF-8'), ('userhash', 'true')]
            texts.append(str(Challenge('Digest', params)))
        return texts

    def check(self, request: Request, lookup: Callable[[str], Password | None], now: float, *,
              unhash: Callable[[str, str], str | None] | None = None,
              uri_fits: Callable[[str, Request], bool] | None = None) -> Verdict:
        """Whether the request has credentials of this realm that hold.

        ``lookup`` gives the password of a user, or its hashes, or None; ``unhash`` the user of a hashed name and its
        algorithm (see ``hash_username``); ``uri_fits`` whether the URI in the credentials may be used with the
        request, when it need not be the same user and host.  A nonce count or a nonce without count passes once.
        """
        credentials = self._find(request)
        if credentials is None:
            return Verdict(None, self.code, reason='no credentials')
        algorithm, qop, nc = credentials.algorithm, credentials.qop, credentials.nc
        if algorithm.lower() not in [known.lower() for known in self.algorithms]:
            return Verdict(None, self.code, reason=f'algorithm {algorithm} was not offered')
        if qop is not None and qop not in self.qop:
            return Verdict(None, self.code, reason=f'qop {qop} was not offered')
        needs_cnonce = qop is not None or algorithm.lower().endswith(_SESS)
        if not credentials.nonce or not credentials.uri or not credentials.response or (
                needs_cnonce and not credentials.cnonce) or (qop is not None and not nc):
            return Verdict(None, 400, reason='credentials without nonce, uri, response, cnonce or nc')
        try:
            username = _username(credentials, unhash)
        except ParseError as error:
            return Verdict(None, 400, reason=str(error))

        # The proof comes first: only who knows the password learns that the nonce was stale.
        password = None if username is None else lookup(username)
        password_hash = None
        if username is not None and password is not None:
            password_hash = _stored_hash(algorithm, username, self.realm, password)
        expected = digest_response(
            # An unknown user costs as much time as a known one.
            algorithm, password_hash or '', request.method, credentials.uri, credentials.nonce, qop=qop,
            nc=credentials.params.get('nc') or '', cnonce=credentials.cnonce or '', body=request.body)
        same = hmac.compare_digest(expected.encode(), encode(credentials.response.lower()))
        if username is None or password_hash is None or not same:
            return Verdict(None, self.code, reason='wrong user name or password')
        if not (uri_fits or _same_target)(credentials.uri, request):
            return Verdict(None, 400, reason=f'the credentials are for {credentials.uri}')
        if not self._use_nonce(credentials.nonce, nc if qop is not None else None, now):
            return Verdict(None, self.code, True, 'the nonce is too old, used up or not ours')
        return Verdict(username)

    def _find(self, request: Request) -> Credentials | None:
        """A request may carry credentials for several realms, and at odd clients for several algorithms."""
        found: Credentials | None = None
        known = [algorithm.lower() for algorithm in self.algorithms]
        for text in request.get_all(self.credentials_field):
            try:
                credentials = parse_credentials(text)
            except ParseError:
                continue
            if credentials.is_digest and credentials.realm == self.realm:
                if credentials.algorithm.lower() in known:
                    return credentials
                found = found or credentials
        return found

    # -- nonces: serial-time-mac, in hexadecimal digits

    def _mac(self, text: str) -> str:
        return hmac.new(self._secret, encode(f'{text}-{self.realm}'), hashlib.sha256).hexdigest()[:32]

    def _make_nonce(self, now: float) -> str:
        self._serial += 1
        text = f'{self._serial:x}-{max(0, int(now * 1000)):x}'
        return f'{text}-{self._mac(text)}'

    def _use_nonce(self, nonce: str, nc: int | None, now: float) -> bool:
        """RFC 7616 3.3, 3.4: our own nonce, not too old, and this count not seen with it.

        Without a count (RFC 2069) a nonce serves one request.
        """
        text, _, mac = nonce.rpartition('-')
        if not hmac.compare_digest(encode(mac), self._mac(text).encode()):
            return False
        serial_text, _, issued_text = text.partition('-')
        serial, issued = int(serial_text, 16), int(issued_text, 16) / 1000
        if now - issued > self.nonce_life:
            return False
        seen = self._seen.get(serial)
        if seen is None:
            if serial <= self._horizon:
                return False
            self._forget(now)
            seen = self._seen[serial] = _Seen(issued)
        return seen.admit(nc if nc is not None else 1, self.window)

    def _forget(self, now: float) -> None:
        """Drop nonces that ran out, and the oldest when there are too many."""
        while self._seen:
            serial = next(iter(self._seen))
            if now - self._seen[serial].issued <= self.nonce_life:
                if len(self._seen) < self.limit:
                    return
                self._horizon = max(self._horizon, serial)
            del self._seen[serial]


def _username(credentials: Credentials, unhash: Callable[[str, str], str | None] | None) -> str | None:
    """RFC 7616 3.4: in plain text, hashed, or in the extended notation of RFC 5987."""
    extended = credentials.params.get('username*')
    if extended is not None:
        charset, _, rest = extended.partition("'")
        _, quote, escaped = rest.partition("'")
        if 'username' in credentials.params or credentials.userhash or charset.lower() != 'utf-8' or not quote:
            raise ParseError('broken username*', extended)
        return unquote_to_bytes(escaped).decode('utf-8', 'surrogateescape')
    if credentials.userhash:
        return unhash(credentials.username.lower(), _base(credentials.algorithm)) if unhash is not None else None
    return credentials.username


def _same_target(uri: str, request: Request) -> bool:
    """RFC 8760 2.6 (6): proxies may have changed the Request-URI; user and host are what has to stay."""
    if uri == request.uri_text:
        return True
    try:
        ours, theirs = request.uri, parse_uri(uri)
    except ParseError:
        return False
    if isinstance(ours, SipUri) and isinstance(theirs, SipUri):
        return ours.user == theirs.user and ours.host.lower() == theirs.host.lower()
    return ours == theirs
