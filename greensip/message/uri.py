"""URIs: sip and sips (RFC 3261 19.1), tel (RFC 3966), and all others as opaque text (RFC 3986).

A URI keeps its escaped text, so that ``str`` gives back what came.  ``user``, ``password``, ``params`` and
``headers`` are without escapes, decoded exactly once.  ``==`` is the comparison of RFC 3261 19.1.4 and
RFC 3966 4, which is not transitive: parameters that stand in one URI only are mostly ignored.  ``hash``
therefore looks only at what two equal URIs have in common.

IPv6 hosts are held without their brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, Final

from ..errors import ParseError, UsageError
from .grammar import escape, format_host, parse_host, remember, unescape
from .params import NO_PARAMS, Pairs, Params, is_plain_tail

__all__ = ['OtherUri', 'SipUri', 'TelUri', 'Uri', 'parse_uri']


class Uri:
    """What all URIs have.  The parts that a scheme does not know are None or empty."""

    __slots__ = ('_params', '_text', 'host', 'port', 'scheme')

    scheme: str
    host: str
    port: int | None
    _text: str
    _params: Params | None

    @property
    def user(self) -> str | None:
        """The user part without escapes (tel: the number); None if there is none."""
        return None

    @property
    def password(self) -> str | None:
        """The password without escapes."""
        return None

    @property
    def params(self) -> Params:
        """The uri-parameters without escapes."""
        return NO_PARAMS

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The header fields after the question mark, without escapes."""
        return ()

    @property
    def is_sip(self) -> bool:
        """Whether this is a sip or sips URI."""
        return False

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f'<{self.scheme} URI {self._text}>'


# user = 1*( unreserved / escaped / user-unreserved ); what is outside of these sets gets escaped in writing
_USER_CHARS: Final = re.compile(r"[A-Za-z0-9_.!~*'()&=+$,;?/-]")
_PASSWORD_CHARS: Final = re.compile(r"[A-Za-z0-9_.!~*'()&=+$,-]")
_PARAM_CHARS: Final = re.compile(r"[A-Za-z0-9_.!~*'()\[\]/:&+$-]")
_HEADER_CHARS: Final = re.compile(r"[A-Za-z0-9_.!~*'()\[\]/?:+$-]")

# Liberal in the user part: '#', '|' and the like are let through as real dialling plans have them; what
# could be taken for a delimiter, a space, or a control character is not.
_SIP: Final = re.compile(
    r'([sS][iI][pP][sS]?):'
    r'(?:([^\x00-\x20\x7f@:<>"\\]+)(?::([^\x00-\x20\x7f@:<>"\\]*)|)@|)'
    r'([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5})|)'
    r'(;[^\x00-\x20\x7f?<>@"\\]+|)'
    r'(\?[^\x00-\x20\x7f<>"\\]+|)')

# parameters that make two URIs differ when only one of them has them.  RFC 3261 19.1.4 lists the first four
# in its rules, and has transport in its examples of unequal URIs.
_MUST_MATCH: Final = ('user', 'ttl', 'method', 'maddr', 'transport')


def _format_params(params: Params) -> str:
    if '' in params:
        raise UsageError('a uri-parameter without name')
    return ''.join([f';{escape(name, _PARAM_CHARS)}' if value is None
                    else f';{escape(name, _PARAM_CHARS)}={escape(value, _PARAM_CHARS)}'
                    for name, value in params.items()])


class SipUri(Uri):
    """``sip:user:password@host:port;uri-parameters?headers``."""

    __slots__ = ('_param_text', '_password', '_query', '_user')

    _user: str | None           # escaped
    _password: str | None       # escaped
    _param_text: str            # escaped, with the first semicolon
    _query: str                 # escaped, with the question mark

    def __init__(self, user: str | None, host: str, port: int | None = None, params: Pairs = (),
                 headers: Iterable[tuple[str, str]] = (), *, scheme: str = 'sip', password: str | None = None) -> None:
        if scheme not in ('sip', 'sips'):
            raise UsageError(f'not the scheme of a SIP URI: {scheme!r}')
        if user == '':
            raise UsageError('an empty user part; None leaves it out')
        try:
            host = parse_host(format_host(host))
        except ParseError as error:
            raise UsageError(str(error)) from None
        if port is not None and not 0 <= port <= 65535:
            raise UsageError(f'not a port: {port}')
        self.scheme = scheme
        self.host = host
        self.port = port
        self._user = None if user is None else escape(user, _USER_CHARS)
        self._password = None if password is None else escape(password, _PASSWORD_CHARS)
        self._params = Params(params)
        self._param_text = _format_params(self._params)
        self._query = '&'.join([f'{escape(name, _HEADER_CHARS)}={escape(value, _HEADER_CHARS)}'
                                for name, value in headers])
        if self._query:
            self._query = '?' + self._query
        self._text = self._format()

    def _format(self) -> str:
        text = self.scheme + ':'
        if self._user is not None:
            text += self._user
            if self._password is not None:
                text += ':' + self._password
            text += '@'
        return text + format_host(self.host, self.port) + self._param_text + self._query

    @property
    def user(self) -> str | None:
        user = self._user
        return unescape(user) if user is not None and '%' in user else user

    @property
    def password(self) -> str | None:
        password = self._password
        return unescape(password) if password is not None and '%' in password else password

    @property
    def params(self) -> Params:
        params = self._params
        if params is None:
            params = self._params = _parse_uri_params(self._param_text)
        return params

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return _parse_headers(self._query) if self._query else ()

    @property
    def is_sip(self) -> bool:
        return True

    @property
    def has_params(self) -> bool:
        """Whether there are any uri-parameters (cheaper than ``params``)."""
        return self._param_text != ''

    def param(self, name: str) -> str | None:
        """The value of a uri-parameter; '' when it has none, None when it is absent."""
        if not self._param_text:
            return None
        params = self.params
        return (params[name] or '') if name in params else None

    @property
    def lr(self) -> bool:
        """Whether the ``lr`` parameter of a loose router is there (RFC 3261 19.1.1)."""
        return self._param_text != '' and 'lr' in self.params

    @property
    def transport(self) -> str | None:
        """The ``transport`` parameter in upper case, as Via writes it, or None."""
        transport = self.param('transport')
        return transport.upper() if transport else None

    @property
    def host_port(self) -> str:
        """``host:port`` as written in the URI."""
        return format_host(self.host, self.port)

    def replace(self, **changes: Any) -> SipUri:
        """A copy with other parts: user, host, port, params, headers, scheme, password."""
        made = SipUri(changes.get('user'), changes.get('host', self.host), changes.get('port', self.port),
                      changes.get('params', ()), changes.get('headers', ()),
                      scheme=changes.get('scheme', self.scheme), password=changes.get('password'))
        unknown = changes.keys() - {'user', 'host', 'port', 'params', 'headers', 'scheme', 'password'}
        if unknown:
            raise TypeError(f'a SIP URI has no {", ".join(sorted(unknown))}')
        # what is not changed keeps its escaped text
        return _ParsedSipUri(
            '', made.scheme, made._user if 'user' in changes else self._user,
            made._password if 'password' in changes else self._password, made.host, made.port,
            made._param_text if 'params' in changes else self._param_text,
            made._query if 'headers' in changes else self._query)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, SipUri):
            return NotImplemented
        if self._text == other._text:
            return True
        if self.scheme != other.scheme or self.port != other.port:
            return False
        if self._user != other._user and _normal(self._user) != _normal(other._user):
            return False
        if self._password != other._password and _normal(self._password) != _normal(other._password):
            return False
        if self.host != other.host and _normal_host(self.host) != _normal_host(other.host):
            return False
        if self._param_text != other._param_text and not _same_params(self.params, other.params):
            return False
        return self._query == other._query or _header_set(self.headers) == _header_set(other.headers)

    def __hash__(self) -> int:
        return hash((self.scheme, _normal(self._user), _normal_host(self.host), self.port))


class _ParsedSipUri(SipUri):
    """Made of escaped parts that are known to be good; without a text it is written from them."""

    __slots__ = ()

    def __init__(self, text: str, scheme: str, user: str | None, password: str | None, host: str, port: int | None,
                 param_text: str, query: str) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self._user = user
        self._password = password
        self._param_text = param_text
        self._params = None
        self._query = query
        self._text = text or self._format()


def _same_params(mine: Params, theirs: Params) -> bool:
    for name, value in mine.items():
        if name in theirs and (value or '').lower() != (theirs[name] or '').lower():
            return False
    return all((name in mine) == (name in theirs) for name in _MUST_MATCH)


def _header_set(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return sorted([(name.lower(), value) for name, value in headers])


_ESCAPE: Final = re.compile('%([0-9A-Fa-f]{2})?')
# RFC 3261 19.1.4: a character equals its escape unless it is in the reserved set of RFC 2396
_RESERVED: Final = frozenset(b';/?:@&=+$,%')


def _normal_escape(match: re.Match[str]) -> str:
    digits = match.group(1)
    if digits is None:
        return '%25'
    octet = int(digits, 16)
    if octet in _RESERVED or not 0x20 < octet < 0x7f:
        return match.group().upper()
    return chr(octet)


def _normal(text: str | None) -> str | None:
    if text is None or '%' not in text:
        return text
    return _ESCAPE.sub(_normal_escape, text)


def _normal_host(host: str) -> str:
    if ':' not in host:
        return host.lower()
    return _normal_ipv6(host)


@lru_cache(maxsize=256)
def _normal_ipv6(host: str) -> str:
    return str(IPv6Address(host))


def _parse_uri_params(text: str) -> Params:
    if not text:
        return NO_PARAMS
    pairs: list[tuple[str, str | None]] = []
    for part in text[1:].split(';'):
        name, equal, value = part.partition('=')
        pairs.append((unescape(name), unescape(value) if equal else None))
    return Params(pairs)


def _parse_headers(query: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for part in query[1:].split('&'):
        name, _, value = part.partition('=')
        headers.append((unescape(name), unescape(value)))
    return tuple(headers)


_SEPARATORS: Final = re.compile('[-.()]')


class TelUri(Uri):
    """``tel:`` of RFC 3966: a number, global with its plus or local with a phone-context."""

    __slots__ = ('_param_text', 'number')

    _param_text: str
    number: str

    def __init__(self, number: str, params: Pairs = ()) -> None:
        if not _is_number(number):
            raise UsageError(f'not a telephone number: {number!r}')
        self.scheme = 'tel'
        self.host = ''
        self.port = None
        self.number = number
        self._params = Params(params)
        self._param_text = _format_params(self._params)
        self._text = f'tel:{number}{self._param_text}'

    @property
    def user(self) -> str | None:
        return self.number

    @property
    def digits(self) -> str:
        """The number without visual separators, which is how numbers compare (RFC 3966 4)."""
        return _SEPARATORS.sub('', self.number).lower()

    @property
    def params(self) -> Params:
        params = self._params
        if params is None:
            params = self._params = _parse_uri_params(self._param_text)
        return params

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TelUri):
            return NotImplemented
        return self.digits == other.digits and _normal_tel(self.params) == _normal_tel(other.params)

    def __hash__(self) -> int:
        return hash(self.digits)


class _ParsedTelUri(TelUri):
    """Made of a number and escaped parameters that are known to be good."""

    __slots__ = ()

    def __init__(self, number: str, param_text: str) -> None:
        self.scheme = 'tel'
        self.host = ''
        self.port = None
        self.number = number
        self._params = None
        self._param_text = param_text
        self._text = f'tel:{number}{param_text}'


def _normal_tel(params: Params) -> dict[str, str]:
    # RFC 3966 4: parameters compare without case and order; a phone-context that is a number, and ext,
    # without visual separators.
    normal = {}
    for name, value in params.items():
        name, value = name.lower(), (value or '').lower()
        if name == 'ext' or (name == 'phone-context' and value[:1] == '+'):
            value = _SEPARATORS.sub('', value)
        normal[name] = value
    return normal


_is_local_number: Final = re.compile('[0-9A-Fa-f*#]+').fullmatch


def _is_number(text: str) -> bool:
    digits = _SEPARATORS.sub('', text)
    if digits[:1] == '+':
        return digits[1:].isdecimal() and digits.isascii()
    return _is_local_number(digits) is not None


_TEL: Final = re.compile(r'[tT][eE][lL]:([+0-9A-Fa-f*#.()-]+)((?:;[^\x00-\x20\x7f;<>@"\\]+)*)')


class OtherUri(Uri):
    """A URI of any other scheme: ``scheme:opaque``.  Compares as text but for the scheme's case."""

    __slots__ = ('opaque',)

    opaque: str

    def __init__(self, scheme: str, opaque: str) -> None:
        match = _OTHER.fullmatch(f'{scheme}:{opaque}')
        if match is None or scheme.lower() in ('sip', 'sips', 'tel'):
            raise UsageError(f'not such a URI: {scheme}:{opaque}')
        self.scheme = scheme.lower()
        self.opaque = opaque
        self.host = ''
        self.port = None
        self._params = None
        self._text = f'{self.scheme}:{opaque}'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OtherUri):
            return NotImplemented
        return self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


_OTHER: Final = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*):([^\x00-\x20\x7f<>"]+)')

# Within a call the same URIs come again and again, in each of its messages.
_recent: Final[dict[str, Uri]] = {}


def parse_uri(text: str) -> Uri:
    """A URI of any scheme; ParseError if the text is none."""
    uri = _recent.get(text)
    if uri is not None:
        return uri
    match = _SIP.fullmatch(text)
    if match is None:
        uri = _parse_other(text)
    else:
        scheme, user, password, host, port, params, query = match.groups()
        if params and not is_plain_tail(params):
            raise ParseError('broken uri-parameters', text, match.start(6))
        kept = text
        if scheme != 'sip' and scheme != 'sips':
            scheme = scheme.lower()
            kept = ''
        if host[0] == '[':
            if ':::' in host:
                kept = ''
            host = parse_host(host)
        number = None
        if port is not None:
            number = int(port)
            if number > 65535:
                raise ParseError('port too large', text, match.start(5))
        uri = _ParsedSipUri(kept, scheme, user, password, host, number, params, query)
    remember(_recent, text, uri)
    return uri


def _parse_other(text: str) -> Uri:
    match = _OTHER.fullmatch(text)
    if match is None:
        raise ParseError('not a URI', text)
    scheme, opaque = match.groups()
    scheme = scheme.lower()
    if scheme in ('sip', 'sips'):
        raise ParseError(f'broken {scheme} URI', text)
    if scheme != 'tel':
        return OtherUri(scheme, opaque)
    match = _TEL.fullmatch(text)
    if match is None or not _is_number(match.group(1)):
        raise ParseError('broken tel URI', text)
    return _ParsedTelUri(*match.groups())
