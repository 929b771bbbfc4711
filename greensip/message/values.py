"""The typed values of header fields: about twenty classes serve the hundred fields of `headers`.

RFC 3261 20 and 25.1, and the RFCs named at each class.  ``parse_x`` reads one value (ParseError when it is
broken), ``str`` writes it.  Values are immutable by convention: ``replace(**changes)`` gives a changed copy, so that
messages can share them.  Parameters are kept as text and become `Params` when somebody asks.

Here are the small ones; `via`, `address` and `challenge` hold those that are a subject of their own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from ..errors import ParseError, UsageError
from .address import STAR, NameAddr, parse_name_addr
from .challenge import AuthInfo, Challenge, Credentials, parse_auth_info, parse_challenge, parse_credentials
from .grammar import MAX_NUMBER, QUOTED, TOKEN, is_token, parse_number, parse_quoted, quote, remember
from .limits import LIMITS
from .methods import METHODS
from .params import Pairs, Params, WithParams, make_params, parse_params, split_params
from .via import Via, parse_via

__all__ = [
    'STAR', 'AuthInfo', 'CSeq', 'Challenge', 'Credentials', 'DialogId', 'EventValue', 'MediaType', 'NameAddr',
    'Parameterized', 'RAck', 'Reason', 'Replaces', 'RetryAfter', 'SessionExpires', 'SubscriptionState', 'Timestamp',
    'Via', 'Warning', 'format_date', 'parse_auth_info', 'parse_call_id', 'parse_challenge', 'parse_credentials',
    'parse_cseq', 'parse_date', 'parse_dialog_id', 'parse_event', 'parse_media_type', 'parse_name_addr',
    'parse_parameterized', 'parse_rack', 'parse_reason', 'parse_replaces', 'parse_retry_after', 'parse_seconds',
    'parse_session_expires', 'parse_subscription_state', 'parse_text', 'parse_timestamp', 'parse_token', 'parse_uint',
    'parse_via', 'parse_warning',
]


# CSeq and RAck

class CSeq:
    """``number method`` (RFC 3261 20.16)."""

    __slots__ = ('method', 'number')

    def __init__(self, number: int, method: str) -> None:
        self.number = number
        self.method = method

    def replace(self, number: int | None = None, method: str | None = None) -> CSeq:
        """A copy with another number or method."""
        return CSeq(self.number if number is None else number, self.method if method is None else method)

    def __str__(self) -> str:
        return f'{self.number} {self.method}'

    def __repr__(self) -> str:
        return f'<CSeq {self.number} {self.method}>'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CSeq):
            return NotImplemented
        return self.number == other.number and self.method == other.method

    def __hash__(self) -> int:
        return hash((self.number, self.method))


def parse_cseq(text: str) -> CSeq:
    """A CSeq value; the number is at most 2**32 - 1 (RFC 4475 3.1.2.4)."""
    cseq = _recent.get(text)
    if cseq is None:
        parts = text.split()
        if len(parts) != 2:
            raise ParseError('broken CSeq', text)
        digits, method = parts
        if not is_token(method):
            raise ParseError('broken method in CSeq', text)
        cseq = CSeq(parse_number(digits, what='CSeq number'), _METHODS.get(method) or method)
        remember(_recent, text, cseq)
    return cseq


# makes the messages share the names
_METHODS: Final = {name: name for name in METHODS}
# most CSeq values are alike, "1 INVITE" above all
_recent: Final[dict[str, CSeq]] = {}


class RAck:
    """``rseq cseq method`` (RFC 3262 7.2)."""

    __slots__ = ('cseq', 'method', 'rseq')

    def __init__(self, rseq: int, cseq: int, method: str) -> None:
        self.rseq = rseq
        self.cseq = cseq
        self.method = method

    def __str__(self) -> str:
        return f'{self.rseq} {self.cseq} {self.method}'

    def __repr__(self) -> str:
        return f'<RAck {self}>'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RAck):
            return NotImplemented
        return (self.rseq, self.cseq, self.method) == (other.rseq, other.cseq, other.method)

    def __hash__(self) -> int:
        return hash((self.rseq, self.cseq, self.method))


def parse_rack(text: str) -> RAck:
    """A RAck value."""
    parts = text.split()
    if len(parts) != 3 or not is_token(parts[2]):
        raise ParseError('broken RAck', text)
    return RAck(parse_number(parts[0]), parse_number(parts[1]), parts[2])


# A token (or a word, or a number) and parameters

P = TypeVar('P', bound='Parameterized')


class Parameterized(WithParams):
    """``value;parameters``, the shape of most extension header fields.  The value compares without case."""

    __slots__ = ('value',)

    value: str

    def __init__(self, value: str, params: Pairs = ()) -> None:
        self.value = value
        self._params, self._tail = make_params(params)

    def replace(self: P, **changes: Any) -> P:
        return type(self)(**{'value': self.value, 'params': self.params, **changes})

    def __str__(self) -> str:
        return self.value + self._tail

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameterized):
            return NotImplemented
        return self.value.lower() == other.value.lower() and self.params == other.params

    def __hash__(self) -> int:
        return hash(self.value.lower())


def _split(text: str) -> tuple[str, Params]:
    """A value, quoted or not, and the parameters behind it."""
    match = _QUOTED_VALUE.match(text)
    if match is None:
        value, tail = split_params(text)
    else:
        value, tail = match.group(), text[match.end():].lstrip(' \t')
    return value, parse_params(tail.rstrip(' \t'))


_QUOTED_VALUE: Final = re.compile(QUOTED, re.DOTALL)
# a word of any characters that are no separators of this grammar: tokens, language ranges, "a/b", "*"
_is_word: Final = re.compile(r'[^\x00-\x20\x7f;,"<>\\]+').fullmatch


def _read_word(cls: type[P], text: str, what: str) -> P:
    value, params = _split(text)
    if not _is_word(value) and value[:1] != '"':
        raise ParseError(f'broken {what}', text)
    return cls(value, params)


def parse_parameterized(text: str) -> Parameterized:
    """``value;parameters``."""
    return _read_word(Parameterized, text, 'value')


class EventValue(Parameterized):
    """Event (RFC 6665 8.2.1): package with its templates, and id.  Compares as RFC 6665 8.2.1 says."""

    __slots__ = ()

    @property
    def package(self) -> str:
        """The event package, templates included."""
        return self.value

    @property
    def id(self) -> str | None:
        """The ``id`` parameter."""
        return self.param('id')

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventValue):
            return NotImplemented
        return self.value == other.value and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.value)


def parse_event(text: str) -> EventValue:
    """An Event or Allow-Events member."""
    return _read_word(EventValue, text, 'event')


class SubscriptionState(Parameterized):
    """Subscription-State (RFC 6665 8.2.3): active, pending, terminated or an extension."""

    __slots__ = ()

    @property
    def state(self) -> str:
        """The state, in lower case."""
        return self.value.lower()

    @property
    def expires(self) -> int | None:
        """Seconds that remain."""
        return self.number('expires')

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before subscribing again."""
        return self.number('retry-after')

    @property
    def reason(self) -> str | None:
        """Why it was terminated."""
        return self.param('reason')


def parse_subscription_state(text: str) -> SubscriptionState:
    """A Subscription-State value."""
    return _read_word(SubscriptionState, text, 'subscription state')


class Reason(Parameterized):
    """Reason (RFC 3326): ``SIP;cause=200;text="Call completed elsewhere"``."""

    __slots__ = ()

    @property
    def protocol(self) -> str:
        """``SIP``, ``Q.850`` ..."""
        return self.value

    @property
    def cause(self) -> int | None:
        """The cause, in the numbers of the protocol."""
        return self.number('cause')

    @property
    def text(self) -> str | None:
        """For people."""
        return self.param('text')


def parse_reason(text: str) -> Reason:
    """A Reason value."""
    return _read_word(Reason, text, 'reason')


class SessionExpires(Parameterized):
    """Session-Expires and Min-SE (RFC 4028 4, 5): ``1800;refresher=uac``."""

    __slots__ = ()

    def __init__(self, value: str | int, params: Pairs = ()) -> None:
        super().__init__(str(value), params)

    @property
    def seconds(self) -> int:
        """The interval."""
        return parse_number(self.value)

    @property
    def refresher(self) -> str | None:
        """``uac``, ``uas`` or None."""
        refresher = self.param('refresher')
        return refresher.lower() if refresher else None


def parse_session_expires(text: str) -> SessionExpires:
    """A Session-Expires or Min-SE value."""
    value, params = _split(text)
    return SessionExpires(parse_number(value, what='number of seconds'), params)


class DialogId(Parameterized):
    """Join and Target-Dialog (RFC 3911, RFC 4538): a Call-ID and two tags."""

    __slots__ = ()

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.value

    @property
    def to_tag(self) -> str | None:
        """The tag called ``to-tag`` (or ``remote-tag`` in Target-Dialog)."""
        tag = self.param('to-tag')
        return self.param('remote-tag') if tag is None else tag

    @property
    def from_tag(self) -> str | None:
        """The tag called ``from-tag`` (or ``local-tag`` in Target-Dialog)."""
        tag = self.param('from-tag')
        return self.param('local-tag') if tag is None else tag

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DialogId):
            return NotImplemented
        return self.value == other.value and self.params == other.params

    def __hash__(self) -> int:
        return hash(self.value)


class Replaces(DialogId):
    """Replaces (RFC 3891 6.1)."""

    __slots__ = ()

    @property
    def early_only(self) -> bool:
        """Whether only an early dialog may be replaced."""
        return 'early-only' in self.params


def parse_dialog_id(text: str) -> DialogId:
    """A Join or Target-Dialog value."""
    return _read_dialog_id(DialogId, text)


def parse_replaces(text: str) -> Replaces:
    """A Replaces value: both tags have to be there."""
    return _read_dialog_id(Replaces, text)


D = TypeVar('D', bound=DialogId)


def _read_dialog_id(cls: type[D], text: str) -> D:
    # a Call-ID may contain < and ", which mean nothing here
    value, tail = split_params(text)
    made = cls(parse_call_id(value), parse_params(tail.rstrip(' \t')))
    if not made.to_tag or not made.from_tag:
        raise ParseError('a tag is missing', text)
    return made


class MediaType(Parameterized):
    """Content-Type and a member of Accept: ``type/subtype;parameters`` (RFC 3261 20.1, 20.15)."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """The type in lower case, such as ``application``."""
        return self.value.partition('/')[0].lower()

    @property
    def subtype(self) -> str:
        """The subtype in lower case, such as ``sdp``."""
        return self.value.partition('/')[2].lower()

    @property
    def essence(self) -> str:
        """``type/subtype`` in lower case."""
        return self.value.lower()

    def accepts(self, essence: str) -> bool:
        """Whether this media range includes a type such as ``application/sdp``."""
        mine, essence = self.value.lower(), essence.lower()
        return mine in ('*/*', essence) or (mine[-2:] == '/*' and essence.startswith(mine[:-1]))


_MEDIA: Final = re.compile(rf'([{TOKEN}]+)[ \t]*/[ \t]*([{TOKEN}]+)')


def parse_media_type(text: str) -> MediaType:
    """A media type or range."""
    value, params = _split(text)
    match = _MEDIA.fullmatch(value)
    if match is None:
        raise ParseError('broken media type', text)
    return MediaType('/'.join(match.groups()), params)


class RetryAfter(Parameterized):
    """Retry-After (RFC 3261 20.33): seconds, a comment, and how long it will last."""

    __slots__ = ('comment',)

    comment: str | None

    def __init__(self, value: str | int, params: Pairs = (), comment: str | None = None) -> None:
        super().__init__(str(value), params)
        if comment is not None:
            try:
                whole = _comment_end(f'({comment})') == len(comment) + 2
            except ParseError:
                whole = False
            if not whole:
                raise UsageError(f'brackets do not match in {comment!r}')
        self.comment = comment

    def replace(self, **changes: Any) -> RetryAfter:
        return RetryAfter(**{'value': self.value, 'params': self.params, 'comment': self.comment, **changes})

    @property
    def seconds(self) -> int:
        """How long to wait."""
        return parse_number(self.value)

    @property
    def duration(self) -> int | None:
        """How long the callee will then be there."""
        return self.number('duration')

    def __str__(self) -> str:
        comment = f' ({self.comment})' if self.comment is not None else ''
        return f'{self.value}{comment}{self._tail}'


def _comment_end(text: str) -> int:
    """The offset behind the comment with which ``text`` begins."""
    depth = 0
    for match in re.finditer(r'\\.|[()]', text, re.DOTALL):
        if match.group() == '(':
            depth += 1
            if depth > LIMITS.depth:
                raise ParseError('comments nested too deep', text, match.start())
        elif match.group() == ')':
            depth -= 1
            if not depth:
                return match.end()
    raise ParseError('unfinished comment', text)


def parse_retry_after(text: str) -> RetryAfter:
    """A Retry-After value."""
    match = re.match('[0-9]+', text)
    if match is None:
        raise ParseError('broken Retry-After', text)
    seconds = parse_seconds(match.group())
    rest = text[match.end():].strip(' \t')
    comment = None
    if rest[:1] == '(':
        end = _comment_end(rest)
        comment = rest[1:end - 1]
        rest = rest[end:].lstrip(' \t')
    return RetryAfter(seconds, parse_params(rest), comment)


class Warning(Parameterized):
    """A warning-value (RFC 3261 20.43): ``307 host "text"``."""

    __slots__ = ('agent', 'code', 'text')

    code: int
    agent: str
    text: str

    def __init__(self, code: int, agent: str, text: str) -> None:
        super().__init__(f'{code:03} {agent} {quote(text)}')
        self.code = code
        self.agent = agent
        self.text = text

    def replace(self, **changes: Any) -> Warning:
        return Warning(**{'code': self.code, 'agent': self.agent, 'text': self.text, **changes})


_WARNING: Final = re.compile(r'([0-9]{3})[ \t]+([^\x00-\x20\x7f",]+)[ \t]+(".*")', re.DOTALL)


def parse_warning(text: str) -> Warning:
    """One warning-value."""
    match = _WARNING.fullmatch(text)
    if match is None:
        raise ParseError('broken Warning', text)
    code, agent, quoted = match.groups()
    return Warning(int(code), agent, parse_quoted(quoted))


class Timestamp:
    """Timestamp (RFC 3261 20.38): the client's clock, and the delay before the response, as texts."""

    __slots__ = ('delay', 'value')

    def __init__(self, value: str, delay: str | None = None) -> None:
        self.value = value
        self.delay = delay

    def __str__(self) -> str:
        return self.value if self.delay is None else f'{self.value} {self.delay}'

    def __repr__(self) -> str:
        return f'<Timestamp {self}>'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timestamp):
            return NotImplemented
        return self.value == other.value and self.delay == other.delay

    def __hash__(self) -> int:
        return hash(self.value)


_is_timestamp: Final = re.compile(r'[0-9]+(?:\.[0-9]*)?').fullmatch
_is_delay: Final = re.compile(r'[0-9]*(?:\.[0-9]*)?').fullmatch


def parse_timestamp(text: str) -> Timestamp:
    """A Timestamp value."""
    parts = text.split()
    if len(parts) not in (1, 2) or not _is_timestamp(parts[0]) or not _is_delay(parts[-1]):
        raise ParseError('broken Timestamp', text)
    return Timestamp(parts[0], parts[1] if len(parts) == 2 else None)


# Plain values

def parse_text(text: str) -> str:
    """Free text: as it is."""
    return text


_is_call_id: Final = re.compile(r'[\x21-\x7e\x80-\U0010ffff]+').fullmatch


def parse_call_id(text: str) -> str:
    """A Call-ID.  More characters than RFC 3261's word are let through; white space and controls are not."""
    if (text.isascii() and text.isprintable() and ' ' not in text and text) or _is_call_id(text):
        return text
    raise ParseError('broken Call-ID', text)


def parse_token(text: str) -> str:
    """A word without separators, such as a method or an option tag."""
    if _is_word(text):
        return text
    raise ParseError('not a token', text)


def parse_uint(text: str) -> int:
    """A number up to 2**32 - 1; ParseError above it."""
    return parse_number(text)


def parse_seconds(text: str) -> int:
    """delta-seconds.  A number above 2**32 - 1 counts as that: it means "as long as you can" (RFC 4475 3.1.2.4)."""
    if text.isdecimal() and text.isascii():
        return int(text) if len(text) < 10 else min(int(text.lstrip('0')[:11] or '0'), MAX_NUMBER)
    raise ParseError('not a number of seconds', text)


_DAYS: Final = ('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')
_MONTHS: Final = ('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')
_DATE: Final = re.compile(
    r'(Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([0-9]{4}) '
    r'([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT', re.IGNORECASE)


def parse_date(text: str) -> datetime:
    """A SIP-date (RFC 3261 20.17): RFC 1123 with GMT, nothing else."""
    match = _DATE.fullmatch(text)
    if match is not None:
        _, day, month, year, hour, minute, second = match.groups()
        try:
            # a leap second is the second after
            return (datetime(int(year), _MONTHS.index(month.title()) + 1, int(day), int(hour), int(minute),
                             tzinfo=UTC) + timedelta(seconds=int(second)))
        except (ValueError, OverflowError):
            pass
    raise ParseError('broken date', text)


def format_date(date: datetime) -> str:
    """A datetime with a time zone as a SIP-date."""
    if date.tzinfo is None:
        raise UsageError('a date without time zone')
    date = date.astimezone(UTC)
    return (f'{_DAYS[date.weekday()]}, {date.day:02} {_MONTHS[date.month - 1]} {date.year:04} '
            f'{date:%H:%M:%S} GMT')
