"""Reading messages: the structure of a datagram or of the head of a message (RFC 3261 7, 18.3).

Lines and names are looked at here, values when somebody asks for them.  The usual message goes one straight way;
whatever is odd about it (folded lines, white space, unknown methods, bare line feeds) sends it through a slower
function, which reads all that can be read before it complains, so that a broken request can be answered.
"""

from __future__ import annotations

import re

from ..errors import ParseError
from .grammar import decode, is_token, parse_number
from .headers import CANONICAL, header_key
from .limits import LIMITS, Limits
from .message import Message, Request, Response
from .methods import METHODS

__all__ = ['bare_request', 'content_length', 'parse_head', 'parse_message']

CONTENT_LENGTH = 'Content-Length'


def parse_message(data: bytes, limits: Limits = LIMITS) -> Request | Response:
    """One datagram (RFC 3261 7, 18.3).

    Raises ParseError.  When the start line could be read, its ``message`` is what was understood, and its ``status``
    what to answer with.  Structure is looked at here; values when somebody asks, see `check_request`.
    """
    if data[:1] in _LINE_ENDS:
        data = data.lstrip(b'\r\n')         # RFC 3261 7.5
    end = data.find(b'\r\n\r\n')
    if end < 0:
        return _parse_odd(data, limits)
    text = data[:end].decode('utf-8', 'surrogateescape')
    lines = text.split('\r\n')
    count = len(lines)
    if text.count('\n') >= count or text.count('\r') >= count:
        return _parse_odd(data, limits)
    message = parse_head(lines, limits)
    body = data[end + 4:]
    keys = message._keys
    if CONTENT_LENGTH in keys:
        index = keys.index(CONTENT_LENGTH)
        # it mostly is the last field, so there is no second one
        if message._texts[index] != str(len(body)) or index + 1 < len(keys):
            body = _cut(message, body)
    message.body = body
    if len(data) > limits.message or end > limits.head:
        raise ParseError('message too large', status=513, message=message)
    return message


_LINE_ENDS = (b'\r', b'\n')
_EMPTY_LINE = re.compile(rb'\r?\n\r?\n')


def _parse_odd(data: bytes, limits: Limits) -> Request | Response:
    """A datagram with lines that end in a bare LF, which are borne, or whose header section has no end."""
    match = _EMPTY_LINE.search(data)
    head, body = (data, b'') if match is None else (data[:match.start()], data[match.end():])
    text = decode(head).replace('\r\n', '\n')
    message = parse_head(text.rstrip('\n').replace('\r', ' ').split('\n'), limits)
    if '\r' in text:
        raise ParseError('a bare CR', message=message)
    if match is None:
        raise ParseError('no empty line after the header fields', message=message)
    message.body = _cut(message, body)
    if len(data) > limits.message or len(head) > limits.head:
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
    sizes = {parse_number(text, what='Content-Length') for text in message.get_all(CONTENT_LENGTH)}
    if len(sizes) > 1:
        raise ParseError('two different Content-Length')
    return sizes.pop() if sizes else None


def parse_head(lines: list[str], limits: Limits) -> Request | Response:
    """The message that the lines of a head make, without its body."""
    message, error = _parse_start(lines[0])
    if error is not None or len(lines) > limits.fields:
        return _parse_odd_fields(message, lines, limits, error)
    keys: list[str] = []
    texts: list[str] = []
    names: list[str] | None = None
    canonical = CANONICAL.get
    del lines[0]
    for line in lines:
        # the usual shape is "Name: text"
        name, colon, text = line.partition(': ')
        key = canonical(name)
        if key is None or not colon:
            name, colon, text = line.partition(':')
            if not colon or not is_token(name):
                return _parse_odd_fields(message, ['', *lines], limits, None)
            key = header_key(name)
            if names is None and name != key:
                names = keys[:]
        keys.append(key)
        texts.append(text.strip(' \t'))
        if names is not None:
            names.append(key if name == key else name)
    message._keys = keys
    message._texts = texts
    message._names = names
    return message


def _names(keys: list[str], names: list[str]) -> list[str]:
    """The names as written; those that are canonical are the shared objects of the registry."""
    return [key if key == name else name for key, name in zip(keys, names)]


def _parse_odd_fields(message: Request | Response, lines: list[str], limits: Limits,
                      error: ParseError | None) -> Request | Response:
    """Fields with folded lines, blanks before the colon, or errors in them: reads what can be read, then raises."""
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
        message._names = _names(message._keys, names)
    if error is not None:
        error.message = message
        raise error
    return message


def _parse_start(line: str) -> tuple[Request | Response, ParseError | None]:
    """The start line as a message without fields and body, and what is wrong with it in spite of that."""
    first, _, rest = line.partition(' ')
    method = METHOD_NAMES.get(first)
    if method is not None:
        uri, _, version = rest.partition(' ')
        if version == 'SIP/2.0' and uri:
            return bare_request(method, uri), None
    elif first == 'SIP/2.0' and rest[:1] != ' ':
        code, _, reason = rest.partition(' ')
        return _bare_response(code, reason, line), None
    return _parse_odd_start(line)


METHOD_NAMES = {name: name for name in METHODS}
_VERSION = re.compile(r'SIP/([0-9]+\.[0-9]+)', re.IGNORECASE)


def _parse_odd_start(line: str) -> tuple[Request | Response, ParseError | None]:
    """White space where there should be none, unknown methods, other versions."""
    parts = line.split()
    error = None
    if not parts:
        raise ParseError('empty start line', line)
    match = _VERSION.fullmatch(parts[0])
    if match is not None and len(parts) > 1:
        if match.group(1) != '2.0':
            raise ParseError('SIP version', line, status=505)
        return _bare_response(parts[1], ' '.join(parts[2:]), line), None
    match = _VERSION.fullmatch(parts[-1])
    if match is None or len(parts) < 3 or not is_token(parts[0]):
        raise ParseError('not a SIP message', line)
    if match.group(1) != '2.0':
        error = ParseError('SIP version', line, status=505)
    elif len(parts) > 3:
        error = ParseError('white space in the Request-URI', line)
    return bare_request(parts[0], ' '.join(parts[1:-1])), error


def bare_request(method: str, uri: str) -> Request:
    request = Request.__new__(Request)
    request.method = method
    request.uri_text = uri
    request._uri = None
    _clear(request)
    return request


def _bare_response(code: str, reason: str, line: str) -> Response:
    if not (len(code) == 3 and code.isdecimal() and code.isascii() and '100' <= code <= '699'):
        raise ParseError('broken status code', line)
    response = Response.__new__(Response)
    response.code = int(code)
    response.reason = reason
    _clear(response)
    return response


def _clear(message: Message) -> None:
    message.body = b''
    message._keys = []
    message._texts = []
    message._names = message._via = message._from = message._to = message._cseq = None
    message._contact = message._values = None
