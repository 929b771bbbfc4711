"""Messages with header fields of their own inside, ``message/cpim`` (RFC 3862).

The header fields of the message come first, those of its content (MIME) behind an empty line, the content behind
another one.  Reading is tolerant: names are found whatever their case, although RFC 3862 2.1 tells them apart, lines
may end in a bare LF, and the first empty line may be missing, as in the examples of RFC 5438.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from greensip.errors import ParseError, UsageError
from greensip.message import LIMITS, Limits, MediaType, parse_media_type
from greensip.message.grammar import decode, encode

from .xml import format_time, parse_time

__all__ = ['CPIM', 'CpimMessage', 'parse_cpim']

#: the content type
CPIM = 'message/cpim'

_IMDN = 'urn:ietf:params:imdn'
_BLANK_LINE = re.compile(rb'(?:\A|\r?\n)\r?\n')
_FIELD_NAME = re.compile(r'''[^\s\x00-\x20\x7f:;,"()<>\[\]{}@/\\=?]+''')
_MIME = 'content-'


class CpimMessage:
    """A message in CPIM.

    ``headers`` and ``content_headers`` are lists of (name, text): those of the message, such as ``From``, ``To`` and
    ``imdn.Message-ID``, and those of its content.
    """

    __slots__ = ('body', 'content_headers', 'headers')

    content_type = CPIM

    def __init__(self, headers: Iterable[tuple[str, str]] = (), body: bytes = b'', *,
                 content: str = 'text/plain;charset=utf-8',
                 content_headers: Iterable[tuple[str, str]] | None = None) -> None:
        self.headers = list(headers)
        self.content_headers = [('Content-Type', content)] if content_headers is None else list(content_headers)
        self.body = body

    def get(self, name: str, default: str | None = None) -> str | None:
        """The text of the first header field of this name, of the message or of its content.

        ``imdn.X`` finds the field of RFC 5438 by whatever prefix the message has for its namespace (RFC 3862 3.4).
        """
        wanted = name.lower()
        if wanted.startswith('imdn.'):
            wanted = f'{self._prefix(_IMDN)}{wanted[5:]}'
        for key, text in (*self.headers, *self.content_headers):
            if key.lower() == wanted:
                return text
        return default

    def _prefix(self, namespace: str) -> str:
        for key, text in self.headers:
            if key.lower() == 'ns':
                prefix, _, uri = text.partition('<')
                if uri.rstrip().removesuffix('>') == namespace:
                    prefix = prefix.strip().lower()
                    return f'{prefix}.' if prefix else ''
        return 'imdn.'

    @property
    def content(self) -> MediaType:
        """The type of the content, by default plain text; ParseError if it cannot be read."""
        return parse_media_type(self.get('Content-Type') or 'text/plain')

    @property
    def message_id(self) -> str | None:
        """What the message is called in reports (RFC 5438 6.3)."""
        return self.get('imdn.Message-ID')

    @property
    def wants(self) -> frozenset[str]:
        """The reports that are asked for (RFC 5438 6.2): positive-delivery, negative-delivery, processing, display."""
        text = self.get('imdn.Disposition-Notification') or ''
        words = (member.partition(';')[0].strip().lower() for member in text.split(',')[:16])
        return frozenset(word for word in words if word)

    @property
    def time(self) -> datetime | None:
        """When it was sent, if that can be read."""
        return parse_time(self.get('DateTime'))

    @property
    def is_notification(self) -> bool:
        """Whether the content is a report, to which no report is sent (RFC 5438 7.2.1)."""
        text = self.get('Content-Disposition') or ''
        return text.partition(';')[0].strip().lower() == 'notification'

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for names and texts that cannot be written."""
        head = []
        for fields in (self.headers, self.content_headers):
            for name, text in fields:
                if _FIELD_NAME.fullmatch(name) is None or '\r' in text or '\n' in text or '\0' in text:
                    raise UsageError(f'not a header field: {name!r}: {text!r}')
                head.append(f'{name}: {text}\r\n')
            head.append('\r\n')
        return encode(''.join(head)) + self.body

    def __repr__(self) -> str:
        return f'<CpimMessage {self.get("Content-Type")} {len(self.body)}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CpimMessage) and (self.headers, self.content_headers, self.body) == (
            other.headers, other.content_headers, other.body)

    def __hash__(self) -> int:
        return hash((tuple(self.headers), self.body))

    def stamp(self, time: datetime) -> None:
        """Say when it was sent."""
        self.headers.append(('DateTime', format_time(time)))


def parse_cpim(body: bytes, limits: Limits = LIMITS) -> CpimMessage:
    """Read a ``message/cpim`` body.  ParseError for a line that is no header field, and over a limit (status 513)."""
    headers, rest = _fields(body, limits)
    if any(name.lower().startswith(_MIME) for name, _ in headers):
        content = [field for field in headers if field[0].lower().startswith(_MIME)]
        headers = [field for field in headers if not field[0].lower().startswith(_MIME)]
    else:
        content, rest = _fields(rest, limits)
    message = CpimMessage(headers, rest, content_headers=content)
    length = message.get('Content-Length')
    if length is not None and length.isascii() and length.isdigit() and len(length) < 10:
        message.body = rest[:int(length)]
    return message


def _fields(data: bytes, limits: Limits) -> tuple[list[tuple[str, str]], bytes]:
    match = _BLANK_LINE.search(data)
    if match is None:
        raise ParseError('no empty line behind header fields')
    head, rest = data[:match.start()], data[match.end():]
    lines = decode(head).replace('\r\n', '\n').split('\n') if head else []
    if len(head) > limits.head or len(lines) > limits.fields:
        raise ParseError('too many header fields', status=513)
    fields: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (' ', '\t') and fields:
            name, text = fields[-1]
            fields[-1] = name, f'{text} {line.strip()}'.strip()
            continue
        name, colon, text = line.partition(':')
        if not colon or _FIELD_NAME.fullmatch(name) is None or '\r' in text or '\0' in text:
            raise ParseError('broken header field', line)
        fields.append((name, text.strip()))
    return fields, rest
