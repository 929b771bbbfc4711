"""The small pieces that every header field is made of: tokens, quoted strings, lists, parameters, escapes.

RFC 3261 25.1 (basic rules), 7.3.1 (lists and parameters), 19.1.2 (escapes); RFC 5118 and 5954 (IPv6).

Reading is liberal: white space around separators is dropped, values may hold any character that cannot
be taken for a separator.  Writing is strict: what is not a token is quoted, what cannot be quoted is refused.
Texts are str decoded as UTF-8 with ``surrogateescape``, so that any octet survives the round trip.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final, TypeVar

from ..errors import ParseError, UsageError

__all__ = [
    'MAX_NUMBER', 'MEMORY', 'MEMORY_LENGTH', 'QUOTED', 'TOKEN', 'check_text', 'decode', 'encode', 'escape',
    'format_host', 'has_nul', 'is_token', 'parse_host', 'parse_host_port', 'parse_number', 'parse_quoted', 'quote',
    'remember', 'split_list', 'split_top', 'unescape', 'unquote',
]

#: ``token`` of RFC 3261 25.1, as the inside of a regular expression's character set
TOKEN: Final = r"-A-Za-z0-9.!%*_+`'~"
#: the largest value of delta-seconds and of a CSeq number
MAX_NUMBER: Final = 2**32 - 1

#: a quoted-string, as a regular expression (with DOTALL)
QUOTED: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"'


def decode(data: bytes) -> str:
    """Octets of a message as text; octets that are not UTF-8 become surrogates and come back in `encode`."""
    return data.decode('utf-8', 'surrogateescape')


def encode(text: str) -> bytes:
    """The octets of a text made by `decode` or by the program."""
    try:
        return text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError as error:
        raise UsageError(f'not encodable: {text[error.start:error.end]!r}') from None


def has_nul(text: str) -> bool:
    """Whether there is a NUL outside of a quoted-pair, where RFC 3261 25.1 has one, and RFC 4475 3.1.1.2 shows it."""
    return '\0' in text.replace('\\\0', '')


def check_text(text: str) -> str:
    """Refuse a text of the program that would end a header field, CR, LF or NUL, or cannot be written (UsageError)."""
    if '\r' in text or '\n' in text or ('\0' in text and has_nul(text)):
        raise UsageError(f'CR, LF or NUL in {text!r}')
    if not text.isascii():
        encode(text)
    return text


_is_token: Final = re.compile(f'[{TOKEN}]+').fullmatch


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


# What most messages have in common is read once and shared: lines, addresses, URIs, CSeq.  Each memory is bounded in
# the number and length of its texts, and emptied when it is full.
MEMORY: Final = 2048
MEMORY_LENGTH: Final = 200

T = TypeVar('T')


def remember(memory: dict[str, T], text: str, value: T) -> None:
    """Keep what a text was read as."""
    if len(text) <= MEMORY_LENGTH:
        if len(memory) >= MEMORY:
            memory.clear()
        memory[text] = value


# Quoted strings

def quote(text: str) -> str:
    """``text`` as a quoted-string."""
    if '"' in text or '\\' in text or '\0' in text:
        text = text.replace('\\', '\\\\').replace('"', '\\"').replace('\0', '\\\0')
    return f'"{text}"'


def unquote(text: str) -> str:
    """The inside of a quoted-string (quotes already taken off) without its backslashes."""
    if '\\' not in text:
        return text
    return _QUOTED_PAIR.sub(r'\1', text)


_QUOTED_PAIR: Final = re.compile(r'\\(.)', re.DOTALL)


QUOTED_STRING: Final = re.compile(QUOTED, re.DOTALL)


def parse_quoted(text: str) -> str:
    """The value of a text that is one quoted-string."""
    if not QUOTED_STRING.fullmatch(text):
        raise ParseError('not a quoted string', text)
    return unquote(text[1:-1])


# Lists and parameters

# What a separator may not be found inside of; a quote or bracket that is never closed is matched alone.
_PIECES: Final = {separator: re.compile(f'{QUOTED}|<[^<>]*>|[<"]|{separator}', re.DOTALL) for separator in ',;'}


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


_DIGITS: Final = '0123456789ABCDEFabcdef'
_HEX: Final = {(a + b).encode(): bytes([int(a + b, 16)]) for a in _DIGITS for b in _DIGITS}


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

_is_host_name: Final = re.compile('[A-Za-z0-9_.-]+').fullmatch


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
    text = text.replace(':::', '::', 1)     # a mistake in RFC 3261's ABNF that is to be borne (RFC 5118 4.10)
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
