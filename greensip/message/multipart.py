"""Bodies of several parts: RFC 2046 5.1 and RFC 5621 as SIP uses them.

``parse_multipart`` takes one level apart, ``walk`` all of them, ``find_part`` looks for one kind of content, such as
the session description beside ISUP, a location or a picture; ``make_multipart`` puts parts together.  Bodies are
octets: nothing in a part is touched, least of all its line ends.

Where RFC 2046 is strict, reading is not: lines may end in a bare LF, and the last delimiter may be missing.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from quopri import decodestring
from typing import Final

from ..errors import ParseError, UsageError
from .grammar import check_text, decode, encode, is_token, quote
from .limits import LIMITS, Limits
from .values import MediaType, parse_media_type

__all__ = ['Part', 'find_part', 'make_multipart', 'parse_multipart', 'walk']

_MAX_BOUNDARY: Final = 70                      # RFC 2046 5.1.1

#: what a part is when it does not say so (RFC 2046 5.1, 5.1.5)
_DEFAULT_TYPE: Final = {'digest': 'message/rfc822'}

#: what a body is for when it does not say so (RFC 3261 20.11)
_DEFAULT_DISPOSITION: Final = {'application/sdp': 'session'}


class Part:
    """One body part: header fields as (name, text) pairs, and octets."""

    __slots__ = ('body', 'default_type', 'headers')

    def __init__(self, headers: Iterable[tuple[str, str]] = (), body: bytes = b'') -> None:
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)
        self.body = body
        self.default_type = 'text/plain'

    def get(self, name: str, default: str | None = None) -> str | None:
        """The text of the first such field."""
        name = name.lower()
        return next((text for key, text in self.headers if key.lower() == name), default)

    @property
    def content_type(self) -> MediaType:
        """Content-Type; ParseError if it cannot be read."""
        return parse_media_type(self.get('Content-Type') or self.default_type)

    @property
    def disposition(self) -> str:
        """What the part is for, in lower case: ``session``, ``early-session``, ``render`` ... (RFC 3261 20.11)."""
        text = (self.get('Content-Disposition') or '').partition(';')[0].strip().lower()
        return text or _DEFAULT_DISPOSITION.get(self.content_type.essence, 'render')

    @property
    def content_id(self) -> str | None:
        """Content-ID without its angle brackets, as cid: URIs name it (RFC 2392)."""
        text = self.get('Content-ID')
        return None if text is None else text.strip().removeprefix('<').removesuffix('>')

    @property
    def content(self) -> bytes:
        """The octets with Content-Transfer-Encoding taken off, which SIP can do without (RFC 5621 3.2) and gateways
        to mail-minded systems use.  ParseError if they do not fit it or it is not known."""
        encoding = (self.get('Content-Transfer-Encoding') or 'binary').strip().lower()
        if encoding in ('binary', '8bit', '7bit'):
            return self.body
        if encoding == 'quoted-printable':
            return decodestring(self.body)
        if encoding == 'base64':
            try:
                return b64decode(b''.join(self.body.split()), validate=True)
            except binascii.Error as error:
                raise ParseError(f'broken base64 in a body part: {error}') from None
        raise ParseError('unknown Content-Transfer-Encoding', encoding)

    def to_bytes(self) -> bytes:
        """As it stands between two delimiters."""
        head = ''
        for name, text in self.headers:
            if not is_token(name):
                raise UsageError(f'not a name of a header field: {name!r}')
            head += f'{name}: {check_text(text)}\r\n'
        return encode(head) + b'\r\n' + self.body

    def __repr__(self) -> str:
        return f'<Part {self.get("Content-Type") or self.default_type} {len(self.body)}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self.headers == other.headers and self.body == other.body

    def __hash__(self) -> int:
        return hash((self.headers, self.body))


def parse_multipart(content_type: MediaType | str, body: bytes, limits: Limits = LIMITS) -> list[Part]:
    """The parts of one level of a multipart body; preamble and epilogue are dropped.

    ParseError if there is no usable boundary, no delimiter, a part with a broken or too long head, or too many parts.
    """
    kind = parse_media_type(content_type) if isinstance(content_type, str) else content_type
    boundary = kind.param('boundary')
    if kind.type != 'multipart':
        raise ParseError('not a multipart body', str(kind))
    if not boundary or len(boundary) > _MAX_BOUNDARY or boundary.endswith(' '):
        raise ParseError('no usable boundary', str(kind))
    # A delimiter is a line of its own; the line end before it belongs to it, not to the part (5.1.1).  The line end
    # behind it is only looked at: it may be that before the next delimiter.
    delimiter = re.compile(rb'(?:\A|\r?\n)--' + re.escape(encode(boundary)) + rb'(--)?[ \t]*(?=\r?\n|\Z)')
    parts: list[Part] = []
    start = -1
    for match in delimiter.finditer(body):
        if start >= 0:
            # Two delimiters in a row share a line end; a compiled slice must not run backwards.
            parts.append(_parse_part(body[start:max(start, match.start())], kind, limits))
        if match.group(1) is not None:
            return parts
        if len(parts) == limits.parts:
            raise ParseError(f'more than {limits.parts} parts in a body', status=513)
        start = match.end()
        start += 2 if body[start:start + 1] == b'\r' else 1
    if start < 0:
        raise ParseError('a multipart body without its delimiter', boundary)
    parts.append(_parse_part(body[start:], kind, limits))
    return parts


_BLANK_LINE: Final = re.compile(rb'\r?\n\r?\n')


def _parse_part(data: bytes, kind: MediaType, limits: Limits) -> Part:
    """A head, a blank line, a body; the head may be empty, then the blank line comes first."""
    if data[:1] == b'\n' or data[:2] == b'\r\n':
        head, body = b'', data[1 if data[:1] == b'\n' else 2:]
    else:
        match = _BLANK_LINE.search(data)
        head, body = (data, b'') if match is None else (data[:match.start()], data[match.end():])
    headers: list[tuple[str, str]] = []
    lines = decode(head).replace('\r\n', '\n').split('\n')
    if len(lines) > limits.fields:
        raise ParseError(f'more than {limits.fields} lines in the head of a body part', status=513)
    for line in lines:
        if line[:1] in (' ', '\t') and headers:
            name, text = headers[-1]
            headers[-1] = name, f'{text} {line.strip()}'.strip()
        elif line.strip():
            name, colon, text = line.partition(':')
            if not colon or not is_token(name.rstrip(' \t')):
                raise ParseError('broken head of a body part', line)
            headers.append((name.rstrip(' \t'), text.strip(' \t')))
    part = Part(headers, body)
    part.default_type = _DEFAULT_TYPE.get(kind.subtype, 'text/plain')
    return part


def walk(content_type: MediaType | str, body: bytes, limits: Limits = LIMITS) -> Iterator[Part]:
    """All parts that are not multipart themselves, in order.  ParseError if they are nested beyond the limit."""
    for part in parse_multipart(content_type, body, limits):
        kind = part.content_type
        if kind.type == 'multipart':
            if limits.depth <= 1:
                raise ParseError('multipart bodies nested too deep', status=513)
            yield from walk(kind, part.body, limits._replace(depth=limits.depth - 1))
        else:
            yield part


def find_part(content_type: MediaType | str | None, body: bytes, wanted: str, *, disposition: str | None = None,
              limits: Limits = LIMITS) -> bytes | None:
    """The content of type ``wanted``, such as ``application/sdp``: the body itself or the part of it to be used.

    Only what is meant for ``disposition``, by default the usual one of the type (RFC 3261 20.11), so the session
    description of an early-session is not taken for that of the session (RFC 3959).  The first such part counts, of
    alternatives the last one (RFC 2046 5.1.4).  None if there is none, or if the body cannot be read:
    ``parse_multipart`` and ``walk`` say what is wrong with it.
    """
    wanted = wanted.lower()
    try:
        kind = parse_media_type(content_type or '') if isinstance(content_type, str | None) else content_type
        if kind.type != 'multipart':
            return body if kind.essence == wanted else None
        for _ in walk(kind, body, limits):      # all of it must be readable
            pass
        purpose = disposition or _DEFAULT_DISPOSITION.get(wanted, 'render')
        return _find(kind, body, wanted, purpose.lower(), limits)
    except ParseError:
        return None


def _find(kind: MediaType, body: bytes, wanted: str, disposition: str, limits: Limits) -> bytes | None:
    parts = parse_multipart(kind, body, limits)
    if kind.subtype == 'alternative':
        parts.reverse()
    for part in parts:
        inner = part.content_type
        if inner.type == 'multipart':
            found = _find(inner, part.body, wanted, disposition, limits)
            if found is not None:
                return found
        elif inner.essence == wanted and part.disposition == disposition:
            return part.content
    return None


def make_multipart(parts: Iterable[Part], subtype: str = 'mixed', *, boundary: str | None = None) -> tuple[str, bytes]:
    """The Content-Type and the body made of ``parts``.

    Without ``boundary`` one is chosen that occurs in no part.  UsageError if the given one is not allowed or does
    occur, if there are no parts, or if a header field of a part cannot be written.
    """
    written = [part.to_bytes() for part in parts]
    if not written or not is_token(subtype):
        raise UsageError('a multipart body needs a subtype and at least one part')
    number = 0
    chosen = boundary or 'boundary'
    while any(encode(f'--{chosen}') in part for part in written):
        if boundary is not None:
            raise UsageError(f'the boundary {boundary!r} occurs in a part')
        number += 1
        chosen = f'boundary{number}'
    if not _is_boundary(chosen):
        raise UsageError(f'not a boundary: {chosen!r}')
    dashes = encode(f'--{chosen}')
    body = b''.join(dashes + b'\r\n' + part + b'\r\n' for part in written) + dashes + b'--\r\n'
    return f'multipart/{subtype};boundary={chosen if is_token(chosen) else quote(chosen)}', body


_is_boundary: Final = re.compile(r"[-0-9A-Za-z'()+_,./:=? ]{0,69}[-0-9A-Za-z'()+_,./:=?]").fullmatch
