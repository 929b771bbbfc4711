"""Challenges and credentials (RFC 3261 20.7, 20.27, 20.28, 20.44, 22; RFC 7616 3; RFC 8760).

Only their syntax; what is computed from them is in `digest`.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from ..errors import ParseError, UsageError
from .grammar import QUOTED, TOKEN, is_token, quote, split_top, unquote
from .params import NO_PARAMS, Pairs, Params

__all__ = ['AuthInfo', 'Challenge', 'Credentials', 'parse_auth_info', 'parse_challenge', 'parse_credentials']

# Values that are written without quotes (RFC 7616 3.3, 3.4; RFC 8760); all others get quotes.
_CHALLENGE_PLAIN: Final = frozenset(('algorithm', 'stale', 'charset', 'userhash'))
_CREDENTIALS_PLAIN: Final = frozenset(('algorithm', 'qop', 'nc', 'userhash'))
_AUTH_INFO_PLAIN: Final = frozenset(('qop', 'nc'))


# what Bearer and its like have instead of parameters (RFC 9110 11.2)
_is_token68: Final = re.compile('[A-Za-z0-9._~+/-]+=*').fullmatch


class _Auth:
    """A scheme and comma-separated parameters."""

    __slots__ = ('params', 'scheme')

    _plain: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, scheme: str, params: Pairs = ()) -> None:
        if not is_token(scheme):
            raise UsageError(f'not a scheme: {scheme!r}')
        self.scheme = scheme
        self.params = params if isinstance(params, Params) else Params(params)
        for name, value in self.params.items():
            if not is_token(name) and (value is not None or not _is_token68(name)):
                raise UsageError(f'not a parameter name: {name!r}')

    @property
    def is_digest(self) -> bool:
        """Whether the scheme is Digest."""
        return self.scheme.lower() == 'digest'

    def _format_params(self) -> str:
        parts = []
        for name, value in self.params.items():
            if value is None:
                parts.append(name)
            elif name.lower() in self._plain and is_token(value):
                parts.append(f'{name}={value}')
            else:
                parts.append(f'{name}={quote(value)}')
        return ','.join(parts)

    def __str__(self) -> str:
        return f'{self.scheme} {self._format_params()}'

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self}>'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Auth) or type(self) is not type(other):
            return NotImplemented
        return self.scheme.lower() == other.scheme.lower() and self.params == other.params

    def __hash__(self) -> int:
        return hash((self.scheme.lower(), self.params))


class _Digest(_Auth):
    """What a challenge and its answer both have."""

    __slots__ = ()

    @property
    def realm(self) -> str:
        """The protection domain; '' if it is missing."""
        return self.params.get('realm') or ''

    @property
    def nonce(self) -> str:
        """The server's nonce; '' if it is missing."""
        return self.params.get('nonce') or ''

    @property
    def opaque(self) -> str | None:
        """What the client sends back unchanged."""
        return self.params.get('opaque')

    @property
    def algorithm(self) -> str:
        """As written; MD5 if it is missing."""
        return self.params.get('algorithm') or 'MD5'

    @property
    def userhash(self) -> bool:
        """Whether the server takes a hashed username, or got one (RFC 7616 3.4.4)."""
        return (self.params.get('userhash') or '').lower() == 'true'


class Challenge(_Digest):
    """WWW-Authenticate and Proxy-Authenticate (RFC 3261 20.44, RFC 7616 3.3, RFC 8760)."""

    __slots__ = ()
    _plain: ClassVar[frozenset[str]] = _CHALLENGE_PLAIN

    @property
    def domain(self) -> str | None:
        """URIs to which the challenge applies."""
        return self.params.get('domain')

    @property
    def stale(self) -> bool:
        """Whether only the nonce was too old."""
        return (self.params.get('stale') or '').lower() == 'true'

    @property
    def qop(self) -> list[str]:
        """The offered qualities of protection in lower case; empty if there is no qop (RFC 2069)."""
        qop = self.params.get('qop') or ''
        return [option.strip().lower() for option in qop.split(',') if option.strip()]


class Credentials(_Digest):
    """Authorization and Proxy-Authorization (RFC 3261 20.7, RFC 7616 3.4)."""

    __slots__ = ()
    _plain: ClassVar[frozenset[str]] = _CREDENTIALS_PLAIN

    @property
    def username(self) -> str:
        """The user, '' if it is missing."""
        return self.params.get('username') or ''

    @property
    def uri(self) -> str:
        """The digest-uri."""
        return self.params.get('uri') or ''

    @property
    def response(self) -> str:
        """The proof."""
        return self.params.get('response') or ''

    @property
    def cnonce(self) -> str | None:
        """The client's nonce."""
        return self.params.get('cnonce')

    @property
    def qop(self) -> str | None:
        """``auth``, ``auth-int`` or None."""
        qop = self.params.get('qop')
        return qop.lower() if qop else None

    @property
    def nc(self) -> int | None:
        """The nonce count; None when missing or not eight hexadecimal digits."""
        nc = self.params.get('nc')
        return int(nc, 16) if nc is not None and re.fullmatch('[0-9A-Fa-f]{8}', nc) else None


class AuthInfo(_Auth):
    """Authentication-Info and Proxy-Authentication-Info (RFC 3261 20.6, RFC 7615): parameters without a scheme."""

    __slots__ = ()
    _plain: ClassVar[frozenset[str]] = _AUTH_INFO_PLAIN

    def __init__(self, params: Pairs = ()) -> None:
        super().__init__('Digest', params)

    def __str__(self) -> str:
        return self._format_params()


_AUTH_PARAM: Final = re.compile(
    rf'([{TOKEN}]+)[ \t]*=[ \t]*(?:({QUOTED})|([^\x00-\x20\x7f,"\\]*))', re.DOTALL)


def _auth_params(text: str) -> Params:
    """Comma-separated parameters; empty members are borne, as RFC 9110 5.6.1 wants it."""
    if not text:
        return NO_PARAMS
    pairs: dict[str, tuple[str, str | None]] = {}
    for part in split_top(text, ','):
        if not part:
            continue
        match = _AUTH_PARAM.fullmatch(part)
        if match is None:
            raise ParseError('broken parameter', part)
        name, quoted, plain = match.groups()
        key = name.lower()
        if key in pairs:
            raise ParseError(f'{key} twice', text)
        pairs[key] = (name, plain if quoted is None else unquote(quoted[1:-1]))
    return Params(pairs.values())


def _split_auth(text: str) -> tuple[str, Params]:
    scheme, _, rest = text.partition(' ')
    if not is_token(scheme):
        raise ParseError('broken authentication scheme', text)
    rest = rest.strip(' \t')
    if _is_token68(rest) and scheme.lower() != 'digest':
        return scheme, Params([(rest, None)])
    return scheme, _auth_params(rest)


def parse_challenge(text: str) -> Challenge:
    """One challenge."""
    return Challenge(*_split_auth(text))


def parse_credentials(text: str) -> Credentials:
    """One set of credentials."""
    return Credentials(*_split_auth(text))


def parse_auth_info(text: str) -> AuthInfo:
    """An Authentication-Info value."""
    return AuthInfo(_auth_params(text))
