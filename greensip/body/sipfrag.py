"""Pieces of SIP messages as bodies, ``message/sipfrag`` (RFC 3420): what NOTIFY tells of a REFER (RFC 3515 2.4.5).

Reading is tolerant: lines may end in a bare LF, the last one in nothing, and a Content-Length that speaks of more
than is there, as in a response that somebody copied without its body, is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from greensip.errors import ParseError, UsageError
from greensip.message import LIMITS, Limits, Message, Request, Response, header_key
from greensip.message.grammar import decode, encode
from greensip.message.parser import content_length, parse_head

__all__ = ['SIPFRAG', 'SipFrag', 'make_sipfrag', 'parse_sipfrag']

#: its content type
SIPFRAG = 'message/sipfrag'

_BLANK_LINE = re.compile(rb'(?:\A|\r?\n)\r?\n')
_START = re.compile(r'SIP/|.*[ \t]SIP/[0-9]+\.[0-9]+[ \t]*\Z', re.IGNORECASE)


class SipFrag:
    """A fragment of a message: a start line or none, some header fields, perhaps a body.

    ``message`` is a Request or a Response, or a plain Message where there is no start line.
    """

    __slots__ = ('message',)

    content_type = SIPFRAG

    def __init__(self, message: Message) -> None:
        self.message = message

    @property
    def code(self) -> int | None:
        """The status code; None if it is no piece of a response."""
        return self.message.code if isinstance(self.message, Response) else None

    @property
    def reason(self) -> str:
        """The reason phrase, or nothing."""
        return self.message.reason if isinstance(self.message, Response) else ''

    @property
    def method(self) -> str | None:
        """The method; None if it is no piece of a request."""
        return self.message.method if isinstance(self.message, Request) else None

    @property
    def start_line(self) -> str:
        """The first line, or nothing."""
        return self.message.start_line if isinstance(self.message, Request | Response) else ''

    def to_bytes(self) -> bytes:
        """As it stands in a body.  The empty line is written only in front of a body (RFC 3420 2)."""
        message = self.message
        lines = [self.start_line] if self.start_line else []
        lines += [f'{name}: {text}' for name, text in message.fields]
        head = encode(''.join(f'{line}\r\n' for line in lines))
        return head + b'\r\n' + message.body if message.body else head

    def __repr__(self) -> str:
        return f'<SipFrag {self.start_line or len(self.message.fields)}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SipFrag) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())


def parse_sipfrag(body: bytes, limits: Limits = LIMITS) -> SipFrag:
    """Read a ``message/sipfrag`` body.

    The start line and the names of header fields are looked at, values when somebody asks for them.  ParseError if
    there is nothing in it, or a line that is neither.
    """
    match = _BLANK_LINE.search(body)
    head, rest = (body, b'') if match is None else (body[:match.start()], body[match.end():])
    if len(head) > limits.head or len(body) > limits.message:
        raise ParseError('fragment of a message too large', status=513)
    text = decode(head).replace('\r\n', '\n').rstrip('\n')
    if not text and not rest:
        raise ParseError('empty fragment of a message')
    if '\r' in text or '\0' in text:
        raise ParseError('a bare CR or a NUL', text)
    lines = text.split('\n') if text else []
    message: Message
    if lines and _START.match(lines[0]):
        message = parse_head(lines, limits)
    else:
        message = Message(parse_head(['SIP/2.0 200 OK', *lines], limits).fields)
    message.body = rest
    if rest:
        size = content_length(message)
        if size is not None:
            message.body = rest[:size]
    return SipFrag(message)


def make_sipfrag(message: Message, names: Iterable[str] = ()) -> SipFrag:
    """The start line of ``message``, and those of its header fields that ``names`` names.

    All else stays behind: what a response says is not for everybody's eyes (RFC 3515 5.2).  UsageError for a message
    that has no start line.
    """
    wanted = {header_key(name) for name in names}
    fields = [(name, text.replace('\0', '')) for name, text in message.fields if header_key(name) in wanted]
    if isinstance(message, Response):
        return SipFrag(Response(message.code, message.reason.replace('\0', ''), fields))
    if isinstance(message, Request):
        return SipFrag(Request(message.method, message.uri_text, fields))
    raise UsageError('a message without a start line')
