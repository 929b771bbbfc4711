"""Requests and responses (RFC 3261 7): ordered header fields as text, values on demand, the body as octets.

A message holds its fields in two parallel lists: the keys, that is canonical names, and the raw texts.
The names as they were written are kept besides only when one of them is not canonical.  A list is searched
by ``list.index``, which for the dozen fields of a message is about as fast as a dict would be, and a
dict per message would cost more memory than all else but the texts.  Values are read when somebody asks, and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from ..errors import ParseError, UsageError
from .address import NameAddr, parse_name_addr
from .grammar import check_text, decode, encode, has_nul, is_token, split_list
from .headers import ADDRESS, HEADERS, KEYS, header_key
from .headers import VIA as VIA_KIND
from .limits import LIMITS
from .methods import METHODS
from .names import CALL_ID, CONTACT, CONTENT_LENGTH, CSEQ, FROM, MAX_FORWARDS, RECORD_ROUTE, ROUTE, TO, VIA
from .status import reason_phrase
from .uri import Uri, parse_uri
from .values import CSeq, MediaType, Reason, format_date, parse_cseq
from .via import Via, parse_via

__all__ = ['BlankRequest', 'BlankResponse', 'Message', 'Request', 'Response']

Value = Any
FieldPairs = Iterable[tuple[str, Any]]
M = TypeVar('M', bound='Message')

# what a field is made of on the wire: name and text are put in
_FIELD: Final = ['', ': ', '', '\r\n']
# values with a place of their own in the message
_KEPT: Final = frozenset((VIA, FROM, TO, CSEQ, CONTACT))
_NEVER_EMPTY: Final = (VIA_KIND, ADDRESS)


class Message:
    """What requests and responses have in common."""

    __slots__ = ('_contact', '_cseq', '_from', '_keys', '_names', '_texts', '_to', '_values', '_via', 'body')

    body: bytes
    _keys: list[str]
    _names: list[str] | None
    _texts: list[str]
    _via: Via | None
    _from: NameAddr | None
    _to: NameAddr | None
    _cseq: CSeq | None
    _contact: NameAddr | None
    _values: dict[str, Any] | None

    def __init__(self, fields: FieldPairs = (), body: bytes = b'') -> None:
        self.body = body
        self._via = self._from = self._to = self._cseq = self._contact = self._values = None
        names: list[str] = []
        values: list[Any] = []
        for name, value in fields:
            names.append(name)
            values.append(value)
        texts: list[str] = values
        try:
            joined = ''.join(texts)
        except TypeError:
            texts = [_text_of(name, value) for name, value in zip(names, values)]
            joined = ''.join(texts)
        if '\r' in joined or '\n' in joined or ('\0' in joined and has_nul(joined)):
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
        text = value if type(value) is str else _text_of(name, value)
        if '\r' in text or '\n' in text or ('\0' in text and has_nul(text)):
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
        text = value if type(value) is str else _text_of(name, value)
        if '\r' in text or '\n' in text or ('\0' in text and has_nul(text)):
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
        elif key == CONTACT:
            self._contact = None

    # Values

    def value(self, name: str) -> Value:
        """The first value of this name, read once and kept; None if there is none.  ParseError if it is broken.

        Fields that are not in the registry have their text as value.
        """
        key = KEYS.get(name) or header_key(name)
        keys = self._keys
        if key not in keys:
            return None
        if key in _KEPT:
            return self._kept_value(key)
        values = self._values
        if values is not None and key in values:
            return values[key]
        text = self._texts[keys.index(key)]
        header = HEADERS.get(key)
        if header is None:
            return text
        if header.repeats and header.type.commas:
            if ',' in text:
                text = split_list(text)[0]
            value: Value = header.type.parse(text) if text or header.type in _NEVER_EMPTY else None
        else:
            value = header.type.parse(text)
        if values is None:
            values = self._values = {}
        values[key] = value
        return value

    def _kept_value(self, key: str) -> Value:
        if key == VIA:
            return self.via
        if key == FROM:
            return self.from_
        if key == TO:
            return self.to
        return self.cseq if key == CSEQ else self.contact

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
        result: list[Value] = []
        for text in texts:
            if header.repeats and header.type.commas:
                if not text and header.type not in _NEVER_EMPTY:
                    continue        # RFC 3261 20.1, 20.37: an empty Accept or Supported says "none"
                members = split_list(text) if ',' in text else [text]
                if len(result) + len(members) > LIMITS.members:
                    raise ParseError(f'too many values of {key}', text[:80])
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
        via = self._via
        return (self.via if via is None else via).branch

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
        addr = self._from
        return (self.from_ if addr is None else addr).tag

    @property
    def to_tag(self) -> str | None:
        """The tag of To."""
        addr = self._to
        return (self.to if addr is None else addr).tag

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
        """The first Contact value, None if there is none."""
        addr = self._contact
        if addr is None:
            keys = self._keys
            if CONTACT in keys:
                text = self._texts[keys.index(CONTACT)]
                if ',' in text:
                    text = split_list(text)[0]
                addr = self._contact = parse_name_addr(text)
        return addr

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

    def forget_values(self) -> None:
        """Drop all values that were read, to save memory; they are read again when somebody asks."""
        self._via = self._from = self._to = self._cseq = self._contact = self._values = None

    def copy(self: M) -> M:
        """A copy whose fields can be changed independently."""
        raise NotImplementedError

    def _copy_into(self, copy: Message) -> None:
        copy.body = self.body
        copy._keys = self._keys[:]
        copy._texts = self._texts[:]
        copy._names = None if self._names is None else self._names[:]
        copy._via, copy._from, copy._to = self._via, self._from, self._to
        copy._cseq, copy._contact = self._cseq, self._contact
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
            end = ''
        else:
            end = f'Content-Length: {length}\r\n'
        # filled in by slices, which takes half the time of anything that touches the fields one by one
        pieces = _FIELD * len(keys)
        pieces[::4] = keys if names is None else names
        pieces[2::4] = texts
        head = f'{self.start_line}\r\n{"".join(pieces)}{end}\r\n'
        try:
            return head.encode('utf-8', 'surrogateescape') + self.body
        except UnicodeEncodeError:
            return encode(head)     # raises the proper error

    def __str__(self) -> str:
        return decode(self.to_bytes())


def _text_of(name: str, value: Value) -> str:
    """The text of a value given by the program: str, int, a date, a typed value, or a list of these."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        header = HEADERS.get(header_key(name))
        if len(value) != 1 and header is not None and not (header.repeats and header.type.commas):
            raise UsageError(f'{name} takes one value in one field')
        return ', '.join([_text_of(name, member) for member in value])
    if isinstance(value, datetime):
        return format_date(value)
    if value is None or isinstance(value, (bytes, bool, float, dict)):
        raise UsageError(f'not a value of {name}: {value!r}')
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
        self._set_uri(uri)
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
        self._set_uri(uri)

    def _set_uri(self, uri: Uri | str) -> None:
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
        copy = BlankRequest(self.method, self.uri_text)
        copy._uri = self._uri
        self._copy_into(copy)
        return copy

    def __repr__(self) -> str:
        return f'<Request {self.method} {self.uri_text}>'


_bad_in_uri: Final = re.compile(r'[\x00-\x20\x7f]').search


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
        copy = BlankResponse(self.code, self.reason)
        self._copy_into(copy)
        return copy

    def __repr__(self) -> str:
        return f'<Response {self.code} {self.reason}>'


class BlankRequest(Request):
    """A request without fields and body, to be filled with raw texts by the parser and its like."""

    __slots__ = ()

    def __init__(self, method: str, uri_text: str) -> None:
        self.method = method
        self.uri_text = uri_text
        self.body = b''
        self._keys = []
        self._texts = []
        self._uri = self._names = self._via = self._from = self._to = self._cseq = self._contact = self._values = None


class BlankResponse(Response):
    """A response without fields and body."""

    __slots__ = ()

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        self.body = b''
        self._keys = []
        self._texts = []
        self._names = self._via = self._from = self._to = self._cseq = self._contact = self._values = None
