"""Header fields and bodies as scripts give them: mappings, pairs, ``like=`` another response, Reason as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from greensip.errors import GreensipError, LegEnded, ParseError, ResponseError, UsageError
from greensip.message import Message, Response, header_key
from greensip.message.grammar import check_text, encode, has_nul
from greensip.message.headers import KEYS

__all__ = ['Body', 'Extra', 'Headers', 'Pairs', 'body_of', 'check_request', 'check_texts', 'fields_of', 'passable',
           'reason_field', 'reason_of', 'response_of', 'sdp_bytes']

#: extra header fields: ``{'X-Id': '7'}``, values may be lists; or pairs of name and value
Extra = Mapping[str, Any] | Iterable[tuple[str, Any]] | None
#: a body: octets, text, or anything whose ``str()`` is the text, such as a ``SessionDescription``
Body = Any

Pairs = Sequence[tuple[str, str]]

#: what belongs to one dialog, one hop or one server and so is not passed from one leg to another
_OWN: Final = frozenset({
    'Via', 'From', 'To', 'Call-ID', 'CSeq', 'Max-Forwards', 'Contact', 'Route', 'Record-Route', 'Path',
    'Service-Route', 'Content-Length', 'Content-Type', 'Allow', 'Supported', 'Require', 'Proxy-Require', 'Server',
    'User-Agent', 'Timestamp', 'RSeq', 'RAck', 'Session-Expires', 'Min-SE', 'Replaces', 'Authorization',
    'Proxy-Authorization', 'Authentication-Info', 'Date', 'Allow-Events', 'Expires',
})

_OWN_BUT_CONTACT: Final = _OWN - {'Contact'}

_REASON: Final = re.compile(r"[\w.!%*+`'~-]+\s*(;.*)?")


class Headers(Mapping[str, str]):
    """The header fields of a message, to look at: ``headers['Subject']``, names in any spelling.

    A field that occurs several times gives its first text; ``all(name)`` gives every one.
    """

    __slots__ = ('_message',)

    def __init__(self, message: Message | None) -> None:
        self._message = message

    def __getitem__(self, name: str) -> str:
        text = self._message.get(name) if self._message is not None else None
        if text is None:
            raise KeyError(name)
        return text

    @property
    def message(self) -> Message | None:
        """Whose they are."""
        return self._message

    def parsed(self, name: str) -> list[Any]:
        """The values of every field of that name: addresses of ``Call-Info`` and ``Alert-Info``, warnings ...; an empty
        list for none, and for those that cannot be read."""
        if self._message is None:
            return []
        try:
            return list(self._message.values(name))
        except ParseError:
            return []

    def all(self, name: str) -> list[str]:
        """Every field of that name; an empty list for none."""
        return self._message.get_all(name) if self._message is not None else []

    def __iter__(self) -> Iterator[str]:
        fields = self._message.fields if self._message is not None else []
        return iter(dict.fromkeys(name for name, _ in fields))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f'<Headers {dict(self)}>'


def fields_of(headers: Extra) -> Pairs:
    """Extra header fields as pairs of texts.  Raises UsageError when the argument has another shape."""
    if not headers:
        return ()
    pairs: list[tuple[str, str]] = []
    items = headers.items() if isinstance(headers, Mapping) else headers
    try:
        for name, value in items:
            if isinstance(value, (list, tuple)):
                pairs.extend((name, str(item)) for item in value)
            else:
                pairs.append((name, value if isinstance(value, str) else str(value)))
    except (TypeError, ValueError):
        raise UsageError('headers= takes a mapping, or pairs of name and value') from None
    for name, text in pairs:
        # The core writes what it is given when the message leaves: too late to tell whose mistake it was.
        if name not in KEYS:
            header_key(str(name))
        if '\r' in text or '\n' in text or ('\0' in text and has_nul(text)):
            raise UsageError(f'CR, LF or NUL in {name}')
        if not text.isascii():
            encode(text)
    return pairs


def check_texts(**arguments: Any) -> None:
    """Raises UsageError where there is a text in the place of several, which would be its letters."""
    for name, value in arguments.items():
        if isinstance(value, str):
            raise UsageError(f'{name}={value!r}: several texts are wanted, [{value!r}]')


def check_request(manual: Any, max_forwards: int, expires: int | None = None, follow: int = 0) -> None:
    """Raises UsageError for numbers that make no request, and for a text in the place of several methods."""
    if isinstance(manual, str):
        check_texts(manual=manual)
    if not 0 <= max_forwards <= 255:
        raise UsageError(f'max_forwards={max_forwards}: 0 to 255 (RFC 3261 20.22)')
    if expires is not None and not 0 <= expires < 1 << 32:
        raise UsageError(f'expires={expires}: seconds from 0 on')
    if follow < 0:
        raise UsageError(f'follow={follow}: so many further targets, 0 for none')


def sdp_bytes(sdp: Body) -> bytes:
    """A session description as octets: bytes as they are, everything else by its text.  UsageError for a text that has
    no octets."""
    if isinstance(sdp, bytes):
        return sdp
    if sdp is None:
        return b''
    return encode(str(sdp))


def body_of(body: Body, content_type: str | None, default: str) -> tuple[bytes, str | None]:
    """Octets and their type; the type is None without a body.  A document of ``greensip.body`` brings its own."""
    if type(body) is not bytes and type(body) is not str and hasattr(body, 'to_bytes'):
        data = body.to_bytes()
        kind = getattr(body, 'content_type', None)
        if isinstance(kind, str):
            default = kind
    else:
        data = sdp_bytes(body)
    if content_type:
        check_text(content_type)
    return data, (content_type or default) if data else None


def passable(message: Message, *, contact: bool = False) -> Pairs:
    """The header fields of a message of one leg that make sense in a message of the other."""
    own = _OWN_BUT_CONTACT if contact else _OWN
    # Most fields are our own ones in their usual spelling: those need no look-up of the name.
    return [field for field in message.fields if field[0] not in own and header_key(field[0]) not in own]


def response_of(like: Any) -> Response | None:
    """The response that ``like=`` means: a Response, an event with one, a ResponseError, a leg."""
    if like is None or isinstance(like, Response):
        return like
    for name in ('message', 'response'):
        found = getattr(like, name, None)
        if isinstance(found, Response):
            return found
    if isinstance(like, GreensipError) or hasattr(like, 'response'):
        return None
    raise UsageError(f'like= takes a response, an event, a ResponseError or a leg, not {like!r}')


def reason_field(reason: Any) -> str | None:
    """A Reason header field's text (RFC 3326): ``'Q.850;cause=16'`` as it is, any other text as that of SIP."""
    if reason is None or reason == '':
        return None
    text = check_text(str(reason))
    match = _REASON.fullmatch(text)
    if match is not None and (match[1] is not None or text.upper() in ('SIP', 'Q.850')):
        return text
    quoted = text.replace('\\', '\\\\').replace('"', '\\"')
    return f'SIP;text="{quoted}"'


def reason_of(error: BaseException | None) -> str | None:
    """The Reason with which a leg's error is passed on to another leg."""
    if isinstance(error, LegEnded):
        return error.reason
    if isinstance(error, ResponseError):
        reason = error.response.get('Reason') if isinstance(error.response, Message) else None
        return reason or f'SIP;cause={error.code}'
    if isinstance(error, GreensipError):
        return f'SIP;cause={error.status}'
    return None
