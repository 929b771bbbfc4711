"""The small pieces that every header field is made of: tokens, quoted strings, lists, parameters, escapes.

RFC 3261 25.1 (basic rules), 7.3.1 (lists and parameters), 19.1.2 (escapes); RFC 5118 and 5954 (IPv6).

Reading is liberal: white space around separators is dropped, values may hold any character that cannot
be taken for a separator.  Writing is strict: what is not a token is quoted, what cannot be quoted is refused.
Texts are str decoded as UTF-8 with ``surrogateescape``, so that any octet survives the round trip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from ..errors import ParseError, UsageError

__all__ = [
    'MAX_NUMBER', 'NO_PARAMS', 'TOKEN', 'Params', 'check_text', 'decode', 'encode', 'escape', 'format_host',
    'format_params', 'is_token', 'parse_host', 'parse_host_port', 'parse_number', 'parse_params', 'parse_quoted',
    'quote', 'split_list', 'split_params', 'split_top', 'unescape', 'unquote',
]

#: ``token`` of RFC 3261 25.1, as the inside of a regular expression's character set
TOKEN = r"-A-Za-z0-9.!%*_+`'~"
#: the largest value of delta-seconds and of a CSeq number
MAX_NUMBER = 2**32 - 1

_is_token = re.compile(f'[{TOKEN}]+').fullmatch
# gen-value without quotes: a token or a host (which may be an IPv6 reference)
_is_plain_value = re.compile(rf'[{TOKEN}:\[\]]+').fullmatch
_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'


def decode(data: bytes) -> str:
    """Octets of a message as text; octets that are not UTF-8 become surrogates and come back in `encode`."""
    return data.decode('utf-8', 'surrogateescape')


def encode(text: str) -> bytes:
    """The octets of a text made by `decode` or by the program."""
    try:
        return text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError as error:
        raise UsageError(f'not encodable: {text[error.start:error.end]!r}') from None


def check_text(text: str) -> str:
    """Refuse a text of the program that would end a header field: CR, LF or NUL (UsageError)."""
    if '\r' in text or '\n' in text or '\0' in text:
        raise UsageError(f'CR, LF or NUL in {text!r}')
    return text


def is_token(text: str) -> bool:
    """Whether ``text`` is a token of RFC 3261 25.1."""
    return _is_token(text) is not None


def parse_number(text: str, limit: int = MAX_NUMBER, what: str = 'number') -> int:
    """1*DIGIT, at most ``limit``.  Python's int() takes signs, underscores and digits of other scripts as well."""
    if text.isdecimal() and text.isascii():
        # no more digits than fit: int() of a very long text takes time that grows with its square
        if len(text) > 10:
            text = text.lstrip('0') or '0'
        if len(text) <= 19:
            number = int(text)
            if number <= limit:
                return number
        raise ParseError(f'{what} too large', text)
    raise ParseError(f'not a {what}', text)


# Quoted strings

def quote(text: str) -> str:
    """``text`` as a quoted-string."""
    if '"' in text or '\\' in text:
        text = text.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{check_text(text)}"'


def unquote(text: str) -> str:
    """The inside of a quoted-string (quotes already taken off) without its backslashes."""
    if '\\' not in text:
        return text
    return re.sub(r'\\(.)', r'\1', text, flags=re.DOTALL)


_QUOTED_STRING = re.compile(_QUOTED, re.DOTALL)


def parse_quoted(text: str) -> str:
    """The value of a text that is one quoted-string."""
    if not _QUOTED_STRING.fullmatch(text):
        raise ParseError('not a quoted string', text)
    return unquote(text[1:-1])


# Lists and parameters

# What a separator may not be found inside of; a quote or bracket that is never closed is matched alone.
_PIECES = {separator: re.compile(f'{_QUOTED}|<[^<>]*>|[<"]|{separator}', re.DOTALL) for separator in ',;'}


def split_top(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside of quotes and angle brackets; the parts are stripped.

    One pass, in time proportional to the text.  An unfinished quote or bracket is a ParseError.
    """
    if separator not in text:
        return [text.strip(' \t')]
    if '"' not in text and '<' not in text:
        return [part.strip(' \t') for part in text.split(separator)]
    parts = []
    start = 0
    for match in _PIECES[separator].finditer(text):
        piece = match.group()
        if piece == separator:
            parts.append(text[start:match.start()].strip(' \t'))
            start = match.end()
        elif piece == '"':
            raise ParseError('unfinished quoted string', text, match.start())
        elif piece == '<':
            raise ParseError('unfinished angle bracket', text, match.start())
    parts.append(text[start:].strip(' \t'))
    return parts


def split_list(text: str) -> list[str]:
    """The members of a comma-separated list; an empty member is a ParseError."""
    parts = split_top(text, ',')
    if '' in parts:
        raise ParseError('empty list member', text)
    return parts


def split_params(text: str) -> tuple[str, str]:
    """``value;params`` as the value, stripped, and the rest from its first semicolon on."""
    value, semicolon, rest = text.partition(';')
    return value.strip(' \t'), semicolon + rest


class Params(Mapping[str, 'str | None']):
    """Parameters in their order.  Names compare without case and keep their spelling; None means no ``=``.

    The values are without quotes and escapes.  Immutable.
    """

    __slots__ = ('_pairs',)

    def __init__(self, pairs: Mapping[str, str | None] | Iterable[tuple[str, str | None]] = ()) -> None:
        self._pairs: dict[str, tuple[str, str | None]] = {}
        if isinstance(pairs, Mapping):
            pairs = pairs.items()
        for name, value in pairs:
            self._pairs.setdefault(name.lower(), (name, value))

    def __getitem__(self, name: str) -> str | None:
        return self._pairs[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return iter([pair[0] for pair in self._pairs.values()])

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._pairs

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping) and not isinstance(other, Params):
            other = Params(other)
        if not isinstance(other, Params):
            return NotImplemented
        mine, theirs = self._pairs, other._pairs
        return mine.keys() == theirs.keys() and all(mine[key][1] == theirs[key][1] for key in mine)

    def __hash__(self) -> int:
        return hash(frozenset((key, pair[1]) for key, pair in self._pairs.items()))

    def __repr__(self) -> str:
        return f'Params({dict(self)!r})'

    def changed(self, name: str, value: str | None) -> Params:
        """A copy in which ``name`` has this value, in its old place or at the end."""
        copy = Params()
        copy._pairs.update(self._pairs)
        copy._pairs[name.lower()] = (name, value)
        return copy

    def without(self, name: str) -> Params:
        """A copy without ``name``."""
        copy = Params()
        copy._pairs.update(self._pairs)
        copy._pairs.pop(name.lower(), None)
        return copy


NO_PARAMS = Params()

# A parameter twice: the first one counts, but for these two, on which dialogs and transactions hang.
_ONCE = frozenset(('tag', 'branch'))
_PARAM = re.compile(
    rf'[ \t]*([{TOKEN}]+)[ \t]*'                                           # ;name
    rf'(?:=[ \t]*(?:({_QUOTED})|([^\x00-\x20\x7f;,"<>\\]*))[ \t]*)?\Z', re.DOTALL)     # =value


def parse_params(text: str) -> Params:
    """``*( SEMI generic-param )`` (RFC 3261 25.1), beginning with its semicolon."""
    if not text:
        return NO_PARAMS
    parts = split_top(text, ';')
    if parts[0]:
        raise ParseError('no ; before the parameters', text)
    params = Params()
    pairs = params._pairs
    for part in parts[1:]:
        match = _PARAM.match(part)
        if match is None:
            raise ParseError('broken parameter', part)
        name, quoted, plain = match.groups()
        key = name.lower()
        if key in pairs:
            if key in _ONCE:
                raise ParseError(f'{key} twice', text)
        elif quoted is not None:
            pairs[key] = (name, unquote(quoted[1:-1]))
        else:
            pairs[key] = (name, plain)
    return params


def format_params(params: Mapping[str, str | None]) -> str:
    """Parameters as they follow a value: ``;name=value;name``."""
    text = ''
    for name, value in params.items():
        if not _is_token(name):
            raise UsageError(f'not a parameter name: {name!r}')
        if value is None:
            text += f';{name}'
        elif _is_plain_value(value):
            text += f';{name}={value}'
        else:
            text += f';{name}={quote(value)}'
    return text


# Escapes

def unescape(text: str) -> str:
    """Take %HH escapes off, once.  Octets that are not UTF-8 become surrogates."""
    if '%' not in text:
        return text
    head, *parts = encode(text).split(b'%')
    out = [head]
    for part in parts:
        try:
            # bytes.fromhex takes white space, so both octets are looked at
            out.append(_HEX[part[:2]] + part[2:])
        except KeyError:
            out.append(b'%' + part)
    return decode(b''.join(out))


_DIGITS = '0123456789ABCDEFabcdef'
_HEX = {(a + b).encode(): bytes([int(a + b, 16)]) for a in _DIGITS for b in _DIGITS}


def escape(text: str, allowed: re.Pattern[str]) -> str:
    """Escape what ``allowed``, a pattern of single characters, does not match."""
    if text.isalnum() and text.isascii():
        return text
    out = []
    for char in text:
        if allowed.match(char):
            out.append(char)
        else:
            out.extend(f'%{octet:02X}' for octet in encode(char))
    return ''.join(out)


# Hosts

_is_host_name = re.compile('[A-Za-z0-9_.-]+').fullmatch


def parse_host(text: str) -> str:
    """``host`` of RFC 3261 25.1: a name, IPv4, or IPv6 in brackets, which are taken off.

    Underscores are let through, because hosts have them.
    """
    if _is_host_name(text):
        return text
    if text[:1] == '[' and text[-1:] == ']':
        return _check_ipv6(text[1:-1])
    raise ParseError('not a host', text)


@lru_cache(maxsize=256)
def _check_ipv6(text: str) -> str:
    if len(text) <= 45 and '%' not in text:
        try:
            IPv6Address(text)
        except AddressValueError:
            pass
        else:
            return text
    raise ParseError('not an IPv6 address', text[:80])


def parse_host_port(text: str) -> tuple[str, int | None]:
    """``hostport``: the host, and the port or None."""
    if text[:1] == '[':
        host, bracket, rest = text.partition(']')
        host += bracket
        if rest and rest[0] != ':':
            raise ParseError('not a host and port', text)
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(':')
    host = parse_host(host.rstrip(' \t'))
    return host, (parse_number(port.strip(' \t'), 65535, 'port') if colon else None)


def format_host(host: str, port: int | None = None) -> str:
    """``host:port``, with brackets around IPv6."""
    if ':' in host and host[0] != '[':
        host = f'[{host}]'
    return host if port is None else f'{host}:{port}'
