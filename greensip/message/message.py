"""Requests and responses: ordered header fields as text, values on demand, the body as octets.

RFC 3261 7 (messages), 8.1.1 and 8.2.6 (what a request and a response consist of), 9.1 (CANCEL),
17.1.1.3 (ACK), 18.3 (framing of datagrams).

A message holds its fields in two parallel lists: the keys, that is canonical names, and the raw texts.
The names as they were written are kept besides only when one of them is not canonical.  A list is searched
by ``list.index``, which for the dozen fields of a message is about as fast as a dict would be, and a
dict per message would cost more memory than all else but the texts.  Values are read when somebody asks, and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar, cast

from ..errors import ParseError, UsageError
from .grammar import check_text, decode, encode, is_token, parse_number, split_list
from .headers import HEADERS, KEYS, header_key
from .methods import DIALOG_METHODS, METHODS
from .status import reason_phrase
from .uri import Uri, parse_uri
from .values import (
    CSeq,
    MediaType,
    NameAddr,
    Reason,
    Via,
    parse_call_id,
    parse_cseq,
    parse_name_addr,
    parse_via,
)

__all__ = [
    'LIMITS', 'Limits', 'Message', 'Request', 'Response', 'check_request', 'check_response', 'make_ack_for_failure',
    'make_cancel', 'make_response', 'parse_message',
]


class Limits(NamedTuple):
    """What a peer may ask of us.  Sizes in octets."""

    #: a whole message
    message: int = 65535
    #: start line and header fields
    head: int = 32768
    #: lines of the header, folded ones counted once
    fields: int = 256
    #: members of one comma-separated list
    members: int = 256
    #: multipart bodies within multipart bodies
    depth: int = 8
    #: parts of one multipart body
    parts: int = 64


LIMITS = Limits()

Value = Any
FieldPairs = Iterable[tuple[str, Any]]
M = TypeVar('M', bound='Message')

VIA, FROM, TO, CALL_ID, CSEQ = 'Via', 'From', 'To', 'Call-ID', 'CSeq'
CONTENT_LENGTH, MAX_FORWARDS, CONTACT, ROUTE, RECORD_ROUTE = (
    'Content-Length', 'Max-Forwards', 'Contact', 'Route', 'Record-Route')


class Message:
    """What requests and responses have in common."""

    __slots__ = ('_cseq', '_from', '_keys', '_names', '_texts', '_to', '_values', '_via', 'body')

    body: bytes
    _keys: list[str]
    _names: list[str] | None
    _texts: list[str]
    _via: Via | None
    _from: NameAddr | None
    _to: NameAddr | None
    _cseq: CSeq | None
    _values: dict[str, Any] | None

    def __init__(self, fields: FieldPairs = (), body: bytes = b'') -> None:
        self.body = body
        self._via = self._from = self._to = self._cseq = self._values = None
        names: list[str] = []
        texts: list[str] = []
        for name, text in fields:
            names.append(name)
            texts.append(text)
        try:
            joined = ''.join(texts)
        except TypeError:
            self._texts = texts = [_text_of(value) for value in texts]
            joined = ''.join(texts)
        if '\r' in joined or '\n' in joined or '\0' in joined:
            raise UsageError('CR, LF or NUL in a header field')
        self._texts = texts
        try:
            keys = [KEYS[name] for name in names]
        except KeyError:
            keys = [header_key(name) for name in names]
        self._keys = keys
        self._names = None if names == keys else names

    # The start line

    @property
    def start_line(self) -> str:
        """The first line, without its end."""
        raise NotImplementedError

    # Fields as text

    @property
    def fields(self) -> list[tuple[str, str]]:
        """All fields in order: name as written, raw text."""
        return list(zip(self._keys if self._names is None else self._names, self._texts))

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return (KEYS.get(name) or header_key(name)) in self._keys

    def get(self, name: str, default: str | None = None) -> str | None:
        """The raw text of the first field of this name."""
        key = KEYS.get(name) or header_key(name)
        keys = self._keys
        return self._texts[keys.index(key)] if key in keys else default

    def get_all(self, name: str) -> list[str]:
        """The raw texts of all fields of this name."""
        key = KEYS.get(name) or header_key(name)
        if key not in self._keys:
            return []
        return [text for other, text in zip(self._keys, self._texts) if other == key]

    def set(self, name: str, value: Value) -> None:
        """Make this the only field of its name, in the place of the first one or at the end."""
        text = value if type(value) is str else _text_of(value)
        if '\r' in text or '\n' in text or '\0' in text:
            raise UsageError(f'CR, LF or NUL in {name}')
        key = KEYS.get(name) or header_key(name)
        keys = self._keys
        if key not in keys:
            self._append(name, key, text)
            return
        index = keys.index(key)
        self._texts[index] = text
        if self._names is not None:
            self._names[index] = key if key in HEADERS else name
        self._forget(key)
        if keys.count(key) > 1:
            self._delete(key, index + 1)

    def add(self, name: str, value: Value, *, first: bool = False) -> None:
        """Add a field, behind all others or (``first``) before all others."""
        text = value if type(value) is str else _text_of(value)
        if '\r' in text or '\n' in text or '\0' in text:
            raise UsageError(f'CR, LF or NUL in {name}')
        key = KEYS.get(name) or header_key(name)
        if not first:
            self._append(name, key, text)
            return
        if self._names is not None or name != key:
            names = self._names = list(self._keys) if self._names is None else self._names
            names.insert(0, key if key in HEADERS else name)
        self._keys.insert(0, key)
        self._texts.insert(0, text)
        self._forget(key)

    def remove(self, name: str) -> None:
        """Remove all fields of this name, if there are any."""
        key = KEYS.get(name) or header_key(name)
        if key in self._keys:
            self._delete(key, 0)
            self._forget(key)

    def _append(self, name: str, key: str, text: str) -> None:
        if self._names is not None:
            self._names.append(key if key in HEADERS else name)
        elif name != key and key not in HEADERS:
            self._names = list(self._keys)
            self._names.append(name)
        self._keys.append(key)
        self._texts.append(text)
        self._forget(key)

    def _delete(self, key: str, start: int) -> None:
        keys = self._keys
        keep = [index for index in range(len(keys)) if index < start or keys[index] != key]
        self._keys = [keys[index] for index in keep]
        self._texts = [self._texts[index] for index in keep]
        if self._names is not None:
            self._names = [self._names[index] for index in keep]

    def _forget(self, key: str) -> None:
        """Drop the values that were read from the fields of this name."""
        if self._values is not None:
            self._values.pop(key, None)
            self._values.pop('*' + key, None)
        if key == VIA:
            self._via = None
        elif key == FROM:
            self._from = None
        elif key == TO:
            self._to = None
        elif key == CSEQ:
            self._cseq = None

    # Values

    def value(self, name: str) -> Value:
        """The first value of this name, read once and kept; None if there is none.  ParseError if it is broken.

        Fields that are not in the registry have their text as value.
        """
        key = KEYS.get(name) or header_key(name)
        values = self._values
        if values is not None and key in values:
            return values[key]
        text = self.get(key)
        if text is None:
            return None
        header = HEADERS.get(key)
        if header is None:
            return text
        if header.repeats and header.type.commas and ',' in text:
            value = header.type.parse(split_list(text)[0])
        else:
            value = header.type.parse(text)
        if values is None:
            values = self._values = {}
        values[key] = value
        return value

    def values(self, name: str) -> list[Value]:
        """All values of this name, over all its fields and the commas in them; read once and kept."""
        key = KEYS.get(name) or header_key(name)
        cache = self._values
        if cache is not None and '*' + key in cache:
            return cast('list[Value]', cache['*' + key])
        texts = self.get_all(key)
        header = HEADERS.get(key)
        if not texts or header is None:
            return cast('list[Value]', texts)
        parse = header.type.parse
        result = []
        for text in texts:
            if header.repeats and header.type.commas:
                if not text and parse is _parse_token:
                    continue        # RFC 3261 20.5, 20.37: Supported and Accept may be empty
                members = split_list(text) if ',' in text else (text,)
                if len(members) > LIMITS.members:
                    raise ParseError(f'too many members in {key}', text[:80])
                result.extend([parse(member) for member in members])
            else:
                result.append(parse(text))
        if cache is None:
            cache = self._values = {}
        cache['*' + key] = result
        return result

    @property
    def via(self) -> Via:
        """The topmost Via value; ParseError if it is missing or broken."""
        via = self._via
        if via is None:
            text = self._text(VIA)
            if ',' in text:
                text = split_list(text)[0]
            via = self._via = parse_via(text)
        return via

    @property
    def vias(self) -> list[Via]:
        """All Via values, the topmost first."""
        return cast('list[Via]', self.values(VIA))

    @property
    def branch(self) -> str | None:
        """The branch of the topmost Via, None if it has none."""
        return self.via.branch

    @property
    def from_(self) -> NameAddr:
        """The From value; ParseError if it is missing or broken."""
        addr = self._from
        if addr is None:
            addr = self._from = parse_name_addr(self._text(FROM))
        return addr

    @property
    def to(self) -> NameAddr:
        """The To value; ParseError if it is missing or broken."""
        addr = self._to
        if addr is None:
            addr = self._to = parse_name_addr(self._text(TO))
        return addr

    @property
    def from_tag(self) -> str | None:
        """The tag of From."""
        return self.from_.tag

    @property
    def to_tag(self) -> str | None:
        """The tag of To."""
        return self.to.tag

    @property
    def call_id(self) -> str:
        """The Call-ID; ParseError if it is missing."""
        return self._text(CALL_ID)

    @property
    def cseq(self) -> CSeq:
        """The CSeq value; ParseError if it is missing or broken."""
        cseq = self._cseq
        if cseq is None:
            cseq = self._cseq = parse_cseq(self._text(CSEQ))
        return cseq

    def _text(self, key: str) -> str:
        keys = self._keys
        if key not in keys:
            raise ParseError(f'{key} is missing', message=self)
        return self._texts[keys.index(key)]

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, None if it is missing.  More than 255 counts as 255 (RFC 4475 3.1.2.4)."""
        text = self.get(MAX_FORWARDS)
        if text is None:
            return None
        if text == '70':
            return 70
        if text.isdecimal() and text.isascii():
            text = text.lstrip('0') or '0'
            return min(int(text[:4]), 255)
        raise ParseError('broken Max-Forwards', text)

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact value."""
        return cast('NameAddr | None', self.value(CONTACT))

    @property
    def contacts(self) -> list[NameAddr]:
        """All Contact values."""
        return cast('list[NameAddr]', self.values(CONTACT))

    @property
    def routes(self) -> list[NameAddr]:
        """All Route values."""
        return cast('list[NameAddr]', self.values(ROUTE))

    @property
    def record_routes(self) -> list[NameAddr]:
        """All Record-Route values."""
        return cast('list[NameAddr]', self.values(RECORD_ROUTE))

    @property
    def expires(self) -> int | None:
        """Expires in seconds."""
        return cast('int | None', self.value('Expires'))

    @property
    def content_type(self) -> MediaType | None:
        """The Content-Type."""
        return cast('MediaType | None', self.value('Content-Type'))

    @property
    def require(self) -> list[str]:
        """The option tags of Require."""
        return cast('list[str]', self.values('Require'))

    @property
    def supported(self) -> list[str]:
        """The option tags of Supported."""
        return cast('list[str]', self.values('Supported'))

    @property
    def allow(self) -> list[str]:
        """The methods of Allow."""
        return cast('list[str]', self.values('Allow'))

    @property
    def reason_value(self) -> Reason | None:
        """The first Reason value (RFC 3326)."""
        return cast('Reason | None', self.value('Reason'))

    # As a whole

    def copy(self: M) -> M:
        """A copy whose fields can be changed independently."""
        raise NotImplementedError

    def _copy_into(self, copy: Message) -> None:
        copy.body = self.body
        copy._keys = self._keys[:]
        copy._texts = self._texts[:]
        copy._names = None if self._names is None else self._names[:]
        copy._via, copy._from, copy._to, copy._cseq = self._via, self._from, self._to, self._cseq
        copy._values = None if self._values is None else dict(self._values)

    def to_bytes(self) -> bytes:
        """The message as it goes on the wire.  Content-Length is always there and right."""
        length = str(len(self.body))
        keys = self._keys
        texts = self._texts
        names = self._names
        if CONTENT_LENGTH in keys:
            index = keys.index(CONTENT_LENGTH)
            if texts[index] != length:
                texts[index] = length
                self._forget(CONTENT_LENGTH)
            if keys.count(CONTENT_LENGTH) > 1:
                self._delete(CONTENT_LENGTH, index + 1)
                keys, texts, names = self._keys, self._texts, self._names
            lines = '\r\n'.join(map(': '.join, zip(keys if names is None else names, texts)))
            head = f'{self.start_line}\r\n{lines}\r\n\r\n'
        else:
            lines = '\r\n'.join(map(': '.join, zip(keys if names is None else names, texts)))
            head = f'{self.start_line}\r\n{lines}\r\nContent-Length: {length}\r\n\r\n'
        try:
            return head.encode('utf-8', 'surrogateescape') + self.body
        except UnicodeEncodeError:
            return encode(head)     # raises the proper error

    def __str__(self) -> str:
        return decode(self.to_bytes())


def _text_of(value: Value) -> str:
    """The text of a value given by the program: str, int, a typed value, or a list of these."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ', '.join([str(member) for member in value])
    if value is None or isinstance(value, (bytes, float)):
        raise UsageError(f'not a header field value: {value!r}')
    return str(value)


class Request(Message):
    """A request (RFC 3261 7.1)."""

    __slots__ = ('_uri', 'method', 'uri_text')

    method: str
    #: the Request-URI as it came
    uri_text: str
    _uri: Uri | None

    def __init__(self, method: str, uri: Uri | str, fields: FieldPairs = (), body: bytes = b'') -> None:
        if method not in METHODS and not is_token(method):
            raise UsageError(f'not a method: {method!r}')
        self.method = method
        self.uri = uri
        Message.__init__(self, fields, body)

    @property
    def uri(self) -> Uri:
        """The Request-URI; ParseError if it is broken.  May be set to a Uri or a text."""
        uri = self._uri
        if uri is None:
            uri = self._uri = parse_uri(self.uri_text)
        return uri

    @uri.setter
    def uri(self, uri: Uri | str) -> None:
        if isinstance(uri, str):
            if _bad_in_uri(uri) or not uri:
                raise UsageError(f'not a Request-URI: {uri!r}')
            self.uri_text = uri
            self._uri = None
        else:
            self.uri_text = str(uri)
            self._uri = uri

    @property
    def start_line(self) -> str:
        return f'{self.method} {self.uri_text} SIP/2.0'

    def copy(self) -> Request:
        copy = Request.__new__(Request)
        copy.method = self.method
        copy.uri_text = self.uri_text
        copy._uri = self._uri
        self._copy_into(copy)
        return copy

    def __repr__(self) -> str:
        return f'<Request {self.method} {self.uri_text}>'


_bad_in_uri = re.compile(r'[\x00-\x20\x7f]').search


class Response(Message):
    """A response (RFC 3261 7.2)."""

    __slots__ = ('code', 'reason')

    code: int
    reason: str

    def __init__(self, code: int, reason: str = '', fields: FieldPairs = (), body: bytes = b'') -> None:
        if not 100 <= code <= 699:
            raise UsageError(f'not a status code: {code}')
        self.code = code
        self.reason = check_text(reason) if reason else reason_phrase(code)
        Message.__init__(self, fields, body)

    @property
    def start_line(self) -> str:
        return f'SIP/2.0 {self.code} {self.reason}'

    def copy(self) -> Response:
        copy = Response.__new__(Response)
        copy.code = self.code
        copy.reason = self.reason
        self._copy_into(copy)
        return copy

    def __repr__(self) -> str:
        return f'<Response {self.code} {self.reason}>'


# Reading

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
    if CONTENT_LENGTH in keys and not (message._texts[keys.index(CONTENT_LENGTH)] == str(len(body))
                                       and keys.count(CONTENT_LENGTH) == 1):
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
    keys: list[str] = []
    texts: list[str] = []
    canonical = True
    known = KEYS.get
    if error is not None or len(lines) > limits.fields:
        return _parse_odd_fields(message, lines, limits, error)
    del lines[0]
    for line in lines:
        name, colon, text = line.partition(':')
        key = known(name)
        if key is None or not colon:
            if not colon or not is_token(name):
                return _parse_odd_fields(message, ['', *lines], limits, None)
            key = header_key(name)
        if key != name:
            canonical = False
        keys.append(key)
        texts.append(text.strip(' \t'))
    message._keys = keys
    message._texts = texts
    if not canonical:
        message._names = _names(keys, [line.partition(':')[0] for line in lines])
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
            return _bare_request(method, uri), None
    elif first == 'SIP/2.0':
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
    return _bare_request(parts[0], ' '.join(parts[1:-1])), error


def _bare_request(method: str, uri: str) -> Request:
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
    message._names = message._via = message._from = message._to = message._cseq = message._values = None


# Checking

# A second one of these would leave it open which of them counts.
SINGLE = frozenset((
    FROM, TO, CALL_ID, CSEQ, MAX_FORWARDS, 'Content-Type', 'Event', 'Expires', 'Min-SE', 'RAck', 'Refer-To',
    'Referred-By', 'Replaces', 'RSeq', 'Session-Expires', 'Subscription-State', 'Join', 'Target-Dialog'))
# methods whose Contact steers what follows
CONTACT_METHODS = DIALOG_METHODS | frozenset(('REGISTER', 'UPDATE'))


def check_request(request: Request) -> None:
    """Look at what every layer above relies on: the mandatory fields of RFC 3261 8.1.1, each once and well formed.

    Raises ParseError with the request as its ``message``.  The values read stay with the request.  Fields that only
    some program asks for, such as Date, are not looked at; RFC 2543 messages without tag, branch and Max-Forwards pass.
    """
    try:
        keys = request._keys
        if len(set(keys)) != len(keys):
            _check_single(request)
        _ = request.via
        _ = request.from_
        _ = request.to
        parse_call_id(request.call_id)
        cseq = request.cseq
        method = request.method
        if cseq.method != method:
            # RFC 4475 3.1.2.18: for a method we do not know, that is the thing to tell
            raise ParseError('the method of CSeq is another', str(cseq), status=400 if method in METHODS else 501)
        _ = request.max_forwards
        uri = request.uri
        if uri.headers:
            raise ParseError('header fields in the Request-URI', request.uri_text)
        if CONTACT in keys and method in CONTACT_METHODS:
            if method == 'REGISTER':
                _ = request.contacts
            elif request.value(CONTACT).is_star:
                raise ParseError('Contact: * is for REGISTER')
        if ROUTE in keys:
            _ = request.routes
        if RECORD_ROUTE in keys and method in DIALOG_METHODS:
            _ = request.record_routes
    except ParseError as error:
        error.message = request
        raise


def check_response(response: Response) -> None:
    """The same for a response; one that fails is dropped (RFC 3261 18.1.2, 8.1.3.3)."""
    try:
        keys = response._keys
        if len(set(keys)) != len(keys):
            _check_single(response)
        _ = response.via
        _ = response.from_
        _ = response.to
        parse_call_id(response.call_id)
        _ = response.cseq
        if response.code < 300:
            if RECORD_ROUTE in keys:
                _ = response.record_routes
            if CONTACT in keys:
                _ = response.value(CONTACT)
    except ParseError as error:
        error.message = response
        raise


def _check_single(message: Message) -> None:
    seen = set()
    for key in message._keys:
        if key in seen and key in SINGLE:
            raise ParseError(f'{key} twice')
        seen.add(key)


# Making

_IN_RESPONSE = frozenset((VIA, FROM, TO, CALL_ID, CSEQ))
_IN_DIALOG_RESPONSE = _IN_RESPONSE | {RECORD_ROUTE}
_IN_TRYING = _IN_RESPONSE | {'Timestamp'}


def make_response(request: Request, code: int, reason: str = '', to_tag: str | None = None) -> Response:
    """A response as RFC 3261 8.2.6.2 says, from the raw texts of the request.

    Via, From, To, Call-ID and CSeq are those of the request; To gets ``to_tag`` unless it has a tag.  Record-Route
    goes into 101 to 299 of methods that create dialogs (12.1.1), Timestamp into a 100 (8.2.6.1).
    """
    response = Response.__new__(Response)
    if not 100 <= code <= 699:
        raise UsageError(f'not a status code: {code}')
    response.code = code
    response.reason = check_text(reason) if reason else reason_phrase(code)
    wanted = _IN_RESPONSE
    if code < 300:
        if code == 100:
            wanted = _IN_TRYING
        elif request.method in DIALOG_METHODS:
            wanted = _IN_DIALOG_RESPONSE
    keys: list[str] = []
    texts: list[str] = []
    for key, text in zip(request._keys, request._texts):
        if key in wanted:
            if key == TO and to_tag:
                text = _tagged(request, text, to_tag)
            keys.append(key)
            texts.append(text)
    response.body = b''
    response._keys = keys
    response._texts = texts
    response._names = response._via = response._from = response._to = response._cseq = response._values = None
    return response


def _tagged(request: Request, text: str, tag: str) -> str:
    try:
        if request.to.tag is not None:
            return text
    except ParseError:
        return text         # a To that nobody understands goes back as it came
    if not is_token(tag):
        raise UsageError(f'not a tag: {tag!r}')
    return f'{text};tag={tag}'


def make_ack_for_failure(request: Request, response: Response) -> Request:
    """The ACK of an INVITE client transaction for a 300 to 699 (RFC 3261 17.1.1.3)."""
    ack = _same_hop(request, 'ACK', response.get(TO) or request.get(TO) or '')
    # RFC 3261 22.1: an ACK duplicates the credentials of its INVITE
    for key, text in zip(request._keys, request._texts):
        if key in ('Authorization', 'Proxy-Authorization'):
            ack._keys.append(key)
            ack._texts.append(text)
    return ack


def make_cancel(request: Request) -> Request:
    """The CANCEL for a request that was sent (RFC 3261 9.1)."""
    return _same_hop(request, 'CANCEL', request.get(TO) or '')


def _same_hop(request: Request, method: str, to: str) -> Request:
    """A request that takes the way of another one: same URI, topmost Via, Route, From, Call-ID, CSeq number."""
    made = _bare_request(method, request.uri_text)
    made._uri = request._uri
    via = request._text(VIA)
    if ',' in via:
        via = split_list(via)[0]
    keys = [VIA, MAX_FORWARDS, FROM, TO, CALL_ID, CSEQ]
    texts = [via, '70', request._text(FROM), to, request.call_id, f'{request.cseq.number} {method}']
    if ROUTE in request._keys:
        routes = request.get_all(ROUTE)
        keys += [ROUTE] * len(routes)
        texts += routes
    made._keys = keys
    made._texts = texts
    return made


_parse_token = HEADERS['Supported'].type.parse
