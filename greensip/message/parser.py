"""Reading messages: the structure of a datagram or of the head of a message (RFC 3261 7, 18.3).

Lines and names are looked at here, values when somebody asks for them.  The usual message goes one straight way;
whatever is odd about it (folded lines, white space, unknown methods, bare line feeds) sends it through slower
functions, which read all that can be read before they complain, so that a broken request can be answered.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import ParseError
from .grammar import decode, has_nul, is_token, parse_number, remember
from .headers import CANONICAL, KEYS, header_key
from .limits import LIMITS, Limits
from .message import BlankRequest, BlankResponse, Message, Request, Response
from .methods import METHODS

__all__ = ['content_length', 'parse_head', 'parse_message', 'split_head']

CONTENT_LENGTH: Final = 'Content-Length'


def parse_message(data: bytes, limits: Limits = LIMITS) -> Request | Response:
    """One datagram (RFC 3261 7, 18.3).

    Raises ParseError.  When the start line could be read, its ``message`` is what was understood, and its ``status``
    what to answer with.  Structure is looked at here; values when somebody asks, see `check_request`.
    """
    head, end, body = data.partition(b'\r\n\r\n')
    lines = split_head(head) if end else None
    if lines is None:
        return _parse_odd(data, limits)
    message = parse_head(lines, limits)
    keys = message._keys
    try:
        index = keys.index(CONTENT_LENGTH)
    except ValueError:
        pass
    else:
        # it mostly is the last field, so there is no second one
        if index + 1 < len(keys) or message._texts[index] != str(len(body)):
            body = _cut(message, body)
    message.body = body
    if len(head) > limits.head or len(data) > limits.message:
        raise ParseError('message too large', status=513, message=message)
    return message


def split_head(head: bytes) -> list[str] | None:
    """The lines of a head; None if there is a bare CR, LF or NUL in it, or nothing at its beginning."""
    text = head.decode('utf-8', 'surrogateescape')
    lines = text.split('\r\n')
    count = len(lines)
    if text.count('\n') >= count or text.count('\r') >= count or not lines[0] or ('\0' in text and has_nul(text)):
        return None
    return lines


_EMPTY_LINE: Final = re.compile(rb'\r?\n\r?\n')


def _parse_odd(data: bytes, limits: Limits) -> Request | Response:
    """A datagram with lines that end in a bare LF, which are borne, or whose header section has no end."""
    if data[:1] in (b'\r', b'\n'):
        # RFC 3261 7.5: line ends before the start line are skipped
        rest = data.lstrip(b'\r\n')
        if rest:
            return parse_message(rest, limits)
    match = _EMPTY_LINE.search(data)
    head, body = (data, b'') if match is None else (data[:match.start()], data[match.end():])
    text = decode(head).replace('\r\n', '\n')
    nul = has_nul(text)
    # What answers it has none of these in it.
    readable = text.rstrip('\n').replace('\r', ' ')
    message = parse_head((readable.replace('\0', ' ') if nul else readable).split('\n'), limits)
    if '\r' in text:
        raise ParseError('a bare CR', message=message)
    if nul:
        raise ParseError('a NUL in the header fields', message=message)
    if match is None:
        raise ParseError('no empty line after the header fields', message=message)
    message.body = _cut(message, body)
    if len(head) > limits.head or len(data) > limits.message:
        raise ParseError('message too large', status=513, message=message)
    return message


def _cut(message: Message, body: bytes) -> bytes:
    """RFC 3261 18.3: octets beyond Content-Length are dropped; too few are an error."""
    try:
        size = content_length(message)
        if size is None:
            return body
        if size > len(body):
            raise ParseError('Content-Length larger than the datagram', str(size))
    except ParseError as error:
        message.body = body
        error.message = message
        raise
    return body[:size]


def content_length(message: Message) -> int | None:
    """The Content-Length, None if it is missing.  ParseError if it is broken or given twice with two meanings."""
    keys = message._keys
    if keys and keys[-1] == CONTENT_LENGTH and keys.index(CONTENT_LENGTH) == len(keys) - 1:
        # It mostly is the last field.
        return parse_number(message._texts[-1], what='Content-Length')
    sizes = {parse_number(text, what='Content-Length') for text in message.get_all(CONTENT_LENGTH)}
    if len(sizes) > 1:
        raise ParseError('two different Content-Length')
    return sizes.pop() if sizes else None


def parse_head(lines: list[str], limits: Limits) -> Request | Response:
    """The message that the lines of a head make, without its body."""
    message = _parse_start(lines[0])
    if message is None or len(lines) > limits.fields:
        return _parse_odd_head(lines, limits)
    keys = message._keys
    texts = message._texts
    names: list[str] | None = None
    canonical = CANONICAL.get
    recent = _recent.get
    for index in range(1, len(lines)):
        line = lines[index]
        seen = recent(line)
        if seen is not None:
            key, text = seen
            name = key
        else:
            # the usual shape is "Name: text"
            name, colon, text = line.partition(': ')
            known = canonical(name)
            if known is not None and colon:
                key = known
            else:
                name, colon, text = line.partition(':')
                if not colon or (name not in KEYS and not is_token(name)):
                    return _parse_odd_head(lines, limits)
                key = header_key(name)
                if names is None and name != key:
                    names = keys[:]
            text = text.strip(' \t')
            if key in _ALIKE and name == key:
                remember(_recent, line, (key, text))
        keys.append(key)
        texts.append(text)
        if names is not None:
            names.append(key if name == key else name)
    message._names = names
    return message


# Fields that are alike in most messages of a peer.  Looking a line up takes a quarter of the time of taking it apart,
# and the messages share the texts.
_ALIKE: Final = frozenset((
    'Accept', 'Allow', 'Allow-Events', 'Contact', 'Content-Disposition', 'Content-Length', 'Content-Type', 'CSeq',
    'Expires', 'Max-Forwards', 'Min-SE', 'Organization', 'P-Early-Media', 'Privacy', 'Require', 'Server',
    'Session-Expires', 'Subject', 'Supported', 'User-Agent'))
_recent: Final[dict[str, tuple[str, str]]] = {}


def _parse_odd_head(lines: list[str], limits: Limits) -> Request | Response:
    """A head with folded lines, blanks before a colon, or errors: reads what can be read, then raises."""
    message, error = _parse_odd_start(lines[0])
    fields: list[list[str]] = []
    for line in lines[1:]:
        if line[:1] not in (' ', '\t'):
            fields.append([line])
        elif fields:
            fields[-1].append(line.strip(' \t'))
        elif error is None:
            error = ParseError('white space before the first header field', line)
    if len(fields) > limits.fields:
        error = error or ParseError('too many header fields')
        del fields[limits.fields:]
    names = []
    for parts in fields:
        name, colon, text = parts[0].partition(':')
        name = name.rstrip(' \t')
        if not colon or not is_token(name):
            error = error or ParseError('broken header field', parts[0])
            continue
        parts[0] = text.strip(' \t')
        names.append(name)
        message._keys.append(header_key(name))
        message._texts.append(' '.join(parts).strip(' \t') if len(parts) > 1 else parts[0])
    if names != message._keys:
        # names that are canonical are the shared objects of the registry
        message._names = [key if key == name else name for key, name in zip(message._keys, names)]
    if error is not None:
        error.message = message
        raise error
    return message


# Start lines

def _parse_start(line: str) -> Request | Response | None:
    """A start line in its usual shape, as a message without fields and body."""
    first, _, rest = line.partition(' ')
    method = _METHODS.get(first)
    middle, _, last = rest.partition(' ')
    if method is not None:
        return BlankRequest(method, middle) if last == 'SIP/2.0' and middle else None
    if first == 'SIP/2.0' and _is_code(middle):
        return BlankResponse(int(middle), last)
    return None


# makes the messages share the names
_METHODS: Final = {name: name for name in METHODS}
_VERSION: Final = re.compile(r'SIP/([0-9]+\.[0-9]+)', re.IGNORECASE)
_is_code: Final = re.compile('[1-6][0-9][0-9]').fullmatch


def _parse_odd_start(line: str) -> tuple[Request | Response, ParseError | None]:
    """Any start line, and what is wrong with it although it can be read: white space, another version."""
    parts = line.split()
    error = None
    if not parts:
        raise ParseError('empty start line', line)
    match = _VERSION.fullmatch(parts[0])
    if match is not None and len(parts) > 1:
        if match.group(1) != '2.0':
            raise ParseError('SIP version', line, status=505)
        if not _is_code(parts[1]):
            raise ParseError('broken status code', line)
        return BlankResponse(int(parts[1]), ' '.join(parts[2:])), None
    match = _VERSION.fullmatch(parts[-1])
    if match is None or len(parts) < 3 or not is_token(parts[0]):
        raise ParseError('not a SIP message', line)
    if match.group(1) != '2.0':
        error = ParseError('SIP version', line, status=505)
    elif len(parts) > 3:
        error = ParseError('white space in the Request-URI', line)
    return BlankRequest(parts[0], ' '.join(parts[1:-1])), error
