"""The typed values of header fields: about twenty classes serve the hundred fields of `headers`.

RFC 3261 20 and 25.1 and the RFCs named at each class.  ``parse_x`` reads one value (ParseError when it is
broken), ``str`` writes it.  Values are immutable by convention: ``replace(**changes)`` gives a changed copy, so a value
may be shared between messages.

The usual shapes of Via, From, To and CSeq are read by one regular expression each; whatever these do not
know goes through the full grammar.  Parameters are kept as text and become `Params` when somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from ..errors import ParseError, UsageError
from .grammar import (
    MAX_NUMBER,
    NO_PARAMS,
    TOKEN,
    Params,
    check_text,
    format_host,
    format_params,
    is_token,
    parse_host_port,
    parse_number,
    parse_params,
    parse_quoted,
    quote,
    split_params,
    split_top,
    unquote,
)
from .uri import OtherUri, Uri, parse_uri

__all__ = [
    'AuthInfo', 'CSeq', 'Challenge', 'Credentials', 'DialogId', 'EventValue', 'MediaType', 'NameAddr', 'Parameterized',
    'RAck', 'Reason', 'Replaces', 'RetryAfter', 'SessionExpires', 'SubscriptionState', 'Timestamp', 'Via', 'Warning',
    'format_date', 'parse_auth_info', 'parse_call_id', 'parse_challenge', 'parse_credentials', 'parse_cseq',
    'parse_date', 'parse_dialog_id', 'parse_event', 'parse_media_type', 'parse_name_addr', 'parse_parameterized',
    'parse_rack', 'parse_reason', 'parse_replaces', 'parse_retry_after', 'parse_seconds', 'parse_session_expires',
    'parse_subscription_state', 'parse_text', 'parse_timestamp', 'parse_token', 'parse_uint', 'parse_via',
    'parse_warning',
]

Pairs = Mapping[str, 'str | None'] | Iterable[tuple[str, 'str | None']]
T = TypeVar('T', bound='_WithParams')


def _param_text(params: Pairs) -> tuple[Params | None, str]:
    if not params:
        return NO_PARAMS, ''
    made = params if isinstance(params, Params) else Params(params)
    return made, format_params(made)


class _WithParams:
    """A value that ends in ``;name=value`` parameters."""

    __slots__ = ('_params', 'param_text')

    #: the parameters as they are written, with the first semicolon
    param_text: str
    _params: Params | None

    @property
    def params(self) -> Params:
        """The parameters, unquoted."""
        params = self._params
        if params is None:
            params = self._params = parse_params(self.param_text)
        return params

    def param(self, name: str) -> str | None:
        """The value of a parameter; '' if it has none, None if it is absent."""
        if not self.param_text:
            return None
        params = self.params
        return (params[name] or '') if name in params else None

    def _number(self, name: str) -> int | None:
        text = self.param(name)
        if text is None:
            return None
        try:
            return parse_number(text)
        except ParseError:
            return None

    def _parts(self) -> dict[str, Any]:
        raise NotImplementedError

    def replace(self: T, **changes: Any) -> T:
        """A copy with other parts, named as in the constructor."""
        return type(self)(**{**self._parts(), **changes})

    def with_param(self: T, name: str, value: str | None = None) -> T:
        """A copy in which this parameter has this value (None: it stands without ``=``)."""
        return self.replace(params=self.params.changed(name, value))

    def without_param(self: T, name: str) -> T:
        """A copy without this parameter."""
        return self.replace(params=self.params.without(name))

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self}>'


# The end of a value whose parameters need no further look: each a token, or with a plain or simply quoted value
_TAIL = rf'((?:;[{TOKEN}]+(?:=(?:[{TOKEN}:\[\]]+|"[^"\\]*"))?)*)'


# Via

#: transports as Via writes them, and the port of a sent-by without one (RFC 3261 18.2.2, RFC 7118)
DEFAULT_PORTS = {'UDP': 5060, 'TCP': 5060, 'SCTP': 5060, 'TLS': 5061, 'TLS-SCTP': 5061, 'WS': 80, 'WSS': 443}

_VIA = re.compile(rf'SIP/2\.0/([A-Z-]+) ([A-Za-z0-9_.-]+)(?::([0-9]{{1,5}}))?{_TAIL}')
_VIA_PROTOCOL = re.compile(
    rf'([{TOKEN}]+)[ \t]*/[ \t]*([{TOKEN}]+)[ \t]*/[ \t]*([{TOKEN}]+)[ \t]+', re.DOTALL)


class Via(_WithParams):
    """``SIP/2.0/transport sent-by;parameters`` (RFC 3261 20.42, RFC 3581)."""

    __slots__ = ('branch', 'host', 'port', 'transport')

    #: the ``branch`` parameter or None
    branch: str | None
    host: str
    port: int | None
    transport: str

    def __init__(self, transport: str, host: str, port: int | None = None, params: Pairs = ()) -> None:
        if not is_token(transport):
            raise UsageError(f'not a transport: {transport!r}')
        self.transport = transport
        self.host = host
        self.port = port
        self._params, self.param_text = _param_text(params)
        self.branch = self.params.get('branch')

    def _parts(self) -> dict[str, Any]:
        return {'transport': self.transport, 'host': self.host, 'port': self.port, 'params': self.params}

    @property
    def received(self) -> str | None:
        """The ``received`` parameter: the address the request came from; without brackets."""
        text = self.param('received')
        return text.strip('[]') if text else None

    @property
    def rport(self) -> int | None:
        """The value of ``rport``; 0 if the parameter is there without a value, None if it is absent."""
        text = self.param('rport')
        if text == '':
            return 0
        return self._number('rport')

    @property
    def maddr(self) -> str | None:
        """The ``maddr`` parameter."""
        return self.param('maddr') or None

    @property
    def ttl(self) -> int | None:
        """The ``ttl`` parameter."""
        return self._number('ttl')

    @property
    def sent_by(self) -> str:
        """``host:port`` as written; part of the key of a transaction (RFC 3261 17.2.3)."""
        return format_host(self.host, self.port)

    def __str__(self) -> str:
        return f'SIP/2.0/{self.transport} {format_host(self.host, self.port)}{self.param_text}'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Via):
            return NotImplemented
        return (self.transport.upper() == other.transport.upper() and self.host.lower() == other.host.lower()
                and self.port == other.port and self.params == other.params)

    def __hash__(self) -> int:
        return hash((self.host.lower(), self.branch))


def parse_via(text: str) -> Via:
    """One Via value."""
    via = Via.__new__(Via)
    match = _VIA.fullmatch(text)
    if match is not None:
        via.transport, via.host, port, tail = match.groups()
        via.port = int(port) if port is not None else None
        via.param_text = tail
        via._params = None
        before, found, branch = tail.partition(';branch=')
        if found and '"' not in tail:
            branch = branch.partition(';')[0]
            if ';branch=' in tail[len(before) + 8:]:
                raise ParseError('branch twice', text)
            via.branch = branch
        else:
            via.branch = via.params.get('branch') if tail else None
        if via.port is not None and via.port > 65535:
            raise ParseError('port too large', text)
        return via
    match = _VIA_PROTOCOL.match(text)
    if match is None:
        raise ParseError('broken Via', text)
    protocol, version, via.transport = match.groups()
    if protocol.upper() != 'SIP':
        raise ParseError('not SIP in Via', text)
    if version != '2.0':
        raise ParseError('SIP version in Via', text, status=505)
    sent_by, tail = split_params(text[match.end():])
    via.host, via.port = parse_host_port(sent_by)
    via._params = parse_params(tail)
    via.param_text = format_params(via._params)
    via.branch = via._params.get('branch')
    return via


# Name and address

_NAME_ADDR = re.compile(rf'(?:"([^"\\]*)"[ \t]*|([{TOKEN} ]*))<([^<>" \t]+)>{_TAIL}')
_DISPLAY_TOKENS = re.compile(rf'[{TOKEN} \t\x80-\U0010ffff]*')
_QUOTED_DISPLAY = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*', re.DOTALL)


class NameAddr(_WithParams):
    """``"display" <uri>;parameters``: From, To, Contact, Route and their kin (RFC 3261 20.10, 25.1).

    ``display`` is without quotes, None if there is none.  Equal when URI and parameters are (RFC 3261 20.10
    does not compare display names).
    """

    __slots__ = ('display', 'tag', 'uri')

    display: str | None
    #: the ``tag`` parameter or None
    tag: str | None
    uri: Uri

    def __init__(self, display: str | None, uri: Uri | str, params: Pairs = ()) -> None:
        if isinstance(uri, str):
            try:
                uri = parse_uri(uri)
            except ParseError as error:
                raise UsageError(str(error)) from None
        if display is not None:
            check_text(display)
        self.display = display or None
        self.uri = uri
        self._params, self.param_text = _param_text(params)
        self.tag = self.params.get('tag') if self.param_text else None

    def _parts(self) -> dict[str, Any]:
        return {'display': self.display, 'uri': self.uri, 'params': self.params}

    @property
    def q(self) -> float:
        """The ``q`` parameter, 0.0 to 1.0; 1.0 without one (or with one that is broken)."""
        text = self.param('q')
        if not text:
            return 1.0
        try:
            return min(max(float(text), 0.0), 1.0) if re.fullmatch('[0-9.]{1,8}', text) else 1.0
        except ValueError:
            return 1.0

    @property
    def expires(self) -> int | None:
        """The ``expires`` parameter in seconds; 3600 for one that is broken (RFC 3261 20.10)."""
        text = self.param('expires')
        if text is None:
            return None
        number = self._number('expires')
        return 3600 if number is None else number

    @property
    def is_star(self) -> bool:
        """Whether this is the ``*`` of a Contact that removes all bindings (RFC 3261 10.2.2)."""
        return self is STAR

    def __str__(self) -> str:
        if self is STAR:
            return '*'
        if self.display is None:
            return f'<{self.uri}>{self.param_text}'
        return f'{quote(self.display)} <{self.uri}>{self.param_text}'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NameAddr):
            return NotImplemented
        return self.uri == other.uri and self.params == other.params

    def __hash__(self) -> int:
        return hash(self.uri)


class _Star(OtherUri):
    """What stands in for the URI of ``Contact: *``."""

    __slots__ = ()

    def __init__(self) -> None:
        self.scheme = ''
        self.opaque = '*'
        self.host = ''
        self.port = None
        self._params = None
        self._headers = ()
        self._text = '*'


STAR = NameAddr(None, _Star())


def parse_name_addr(text: str) -> NameAddr:
    """One name-addr or addr-spec with its parameters."""
    match = _NAME_ADDR.fullmatch(text)
    if match is None:
        return _parse_name_addr(text)
    addr = NameAddr.__new__(NameAddr)
    quoted, tokens, uri, tail = match.groups()
    addr.display = quoted or (tokens.strip(' ') if tokens else None) or None
    addr.uri = parse_uri(uri)
    addr.param_text = tail
    if not tail:
        addr._params = NO_PARAMS
        addr.tag = None
        return addr
    addr._params = None
    if tail[:5] == ';tag=' and tail.find(';', 5) < 0:
        addr.tag = tail[5:]
        if addr.tag[0] == '"':
            addr.tag = addr.params['tag']
    else:
        addr.tag = addr.params.get('tag')
    if addr.tag == '':
        raise ParseError('empty tag', text)
    return addr


def _parse_name_addr(text: str) -> NameAddr:
    """The full grammar: quoted pairs, white space, addr-spec without brackets, ``*``."""
    text = text.strip(' \t')
    display: str | None
    match = _QUOTED_DISPLAY.match(text)
    if match is not None:
        display = unquote(match.group(1))
        rest = text[match.end():]
        if rest[:1] != '<':
            raise ParseError('no < after the display name', text, match.end())
    elif text[:1] == '"':
        raise ParseError('unfinished quoted string', text)
    else:
        display, bracket, rest = text.partition('<')
        if not bracket:
            if text == '*':
                return STAR
            # RFC 3261 20.10: without brackets a semicolon begins the parameters of the header field, and
            # the URI has no comma and no question mark.
            spec, tail = split_params(text)
            if '?' in spec or ',' in spec:
                raise ParseError('URI with ? or , without angle brackets', text)
            return _name_addr(None, spec, tail)
        rest = bracket + rest
        display = display.strip(' \t')
        # RFC 4475 3.1.1.6: "caller<sip:...>" is meant to be read; a comma or a quote in there is not.
        if not _DISPLAY_TOKENS.fullmatch(display):
            raise ParseError('display name needs quotes', text)
    spec, bracket, tail = rest[1:].partition('>')
    if not bracket:
        raise ParseError('no > after the URI', text)
    return _name_addr(display, spec.strip(' \t'), tail)


def _name_addr(display: str | None, spec: str, tail: str) -> NameAddr:
    addr = NameAddr.__new__(NameAddr)
    addr.display = display or None
    addr.uri = parse_uri(spec)
    addr._params = parse_params(tail.strip(' \t'))
    addr.param_text = format_params(addr._params) if addr._params else ''
    addr.tag = addr._params.get('tag')
    if addr.tag == '' or ('tag' in addr._params and addr.tag is None):
        raise ParseError('empty tag', tail)
    return addr


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
    number, _, method = text.partition(' ')
    if not (number.isdecimal() and len(number) < 10 and number.isascii() and method.isalpha() and method.isascii()):
        parts = text.split()
        if len(parts) != 2:
            raise ParseError('broken CSeq', text)
        number, method = parts
        if not is_token(method):
            raise ParseError('broken method in CSeq', text)
        return CSeq(parse_number(number, what='CSeq number'), method)
    return CSeq(int(number), _METHODS.get(method) or method)


# makes the messages share the names
_METHODS = {name: name for name in (
    'INVITE', 'ACK', 'BYE', 'CANCEL', 'OPTIONS', 'REGISTER', 'INFO', 'UPDATE', 'PRACK', 'REFER', 'SUBSCRIBE', 'NOTIFY',
    'MESSAGE', 'PUBLISH')}


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

class Parameterized(_WithParams):
    """``value;parameters``, the shape of most extension header fields.  The value compares without case."""

    __slots__ = ('value',)

    value: str

    def __init__(self, value: str, params: Pairs = ()) -> None:
        self.value = check_text(value)
        self._params, self.param_text = _param_text(params)

    def _parts(self) -> dict[str, Any]:
        return {'value': self.value, 'params': self.params}

    def __str__(self) -> str:
        return self.value + self.param_text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameterized):
            return NotImplemented
        return self.value.lower() == other.value.lower() and self.params == other.params

    def __hash__(self) -> int:
        return hash(self.value.lower())


P = TypeVar('P', bound=Parameterized)


def _read(cls: type[P], text: str) -> P:
    value, tail = split_params(text)
    made = cls.__new__(cls)
    made.value = value
    made._params = parse_params(tail.rstrip(' \t'))
    made.param_text = format_params(made._params) if tail else ''
    return made


# a word of any characters that are no separators of this grammar: tokens, language ranges, "a/b", "*"
_is_word = re.compile(r'[^\x00-\x20\x7f;,"<>\\]+').fullmatch


def _read_word(cls: type[P], text: str, what: str) -> P:
    made = _read(cls, text)
    if not _is_word(made.value):
        raise ParseError(f'broken {what}', text)
    return made


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
        return self._number('expires')

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before subscribing again."""
        return self._number('retry-after')

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
        return self._number('cause')

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
    made = _read(SessionExpires, text)
    parse_number(made.value, what='number of seconds')
    return made


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
    made = cls.__new__(cls)
    made.value = parse_call_id(value)
    made._params = parse_params(tail.rstrip(' \t'))
    made.param_text = format_params(made._params)
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


_MEDIA = re.compile(rf'([{TOKEN}]+)[ \t]*/[ \t]*([{TOKEN}]+)')


def parse_media_type(text: str) -> MediaType:
    """A media type or range."""
    made = _read(MediaType, text)
    match = _MEDIA.fullmatch(made.value)
    if match is None:
        raise ParseError('broken media type', text)
    if ' ' in made.value or '\t' in made.value:
        made.value = '/'.join(match.groups())
    return made


class RetryAfter(Parameterized):
    """Retry-After (RFC 3261 20.33): seconds, a comment, and how long it will last."""

    __slots__ = ('comment',)

    comment: str | None

    def __init__(self, value: str | int, params: Pairs = (), comment: str | None = None) -> None:
        super().__init__(str(value), params)
        self.comment = comment
        if comment is not None:
            _check_comment(comment)

    def _parts(self) -> dict[str, Any]:
        return {'value': self.value, 'params': self.params, 'comment': self.comment}

    @property
    def seconds(self) -> int:
        """How long to wait."""
        return parse_number(self.value)

    @property
    def duration(self) -> int | None:
        """How long the callee will then be there."""
        return self._number('duration')

    def __str__(self) -> str:
        comment = f' ({self.comment})' if self.comment is not None else ''
        return f'{self.value}{comment}{self.param_text}'


def _check_comment(text: str) -> None:
    check_text(text)
    depth = 0
    for char in re.sub(r'\\.', '', text):
        depth += (char == '(') - (char == ')')
        if depth < 0:
            break
    if depth:
        raise UsageError(f'brackets do not match in {text!r}')


#: how deep comments may be nested
MAX_DEPTH = 16


def _comment_end(text: str) -> int:
    """The offset behind the comment with which ``text`` begins."""
    depth = 0
    for match in re.finditer(r'\\.|[()]', text, re.DOTALL):
        if match.group() == '(':
            depth += 1
            if depth > MAX_DEPTH:
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
    made = RetryAfter.__new__(RetryAfter)
    made.value = str(seconds)
    made.comment = comment
    made._params = parse_params(rest)
    made.param_text = format_params(made._params)
    return made


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

    def _parts(self) -> dict[str, Any]:
        return {'code': self.code, 'agent': self.agent, 'text': self.text}


_WARNING = re.compile(r'([0-9]{3})[ \t]+([^\x00-\x20\x7f",]+)[ \t]+(".*")', re.DOTALL)


def parse_warning(text: str) -> Warning:
    """One warning-value."""
    match = _WARNING.fullmatch(text)
    if match is None:
        raise ParseError('broken Warning', text)
    code, agent, quoted = match.groups()
    made = Warning.__new__(Warning)
    made.code = int(code)
    made.agent = agent
    made.text = parse_quoted(quoted)
    made.value = f'{code} {agent} {quoted}'
    made._params = NO_PARAMS
    made.param_text = ''
    return made


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


_is_timestamp = re.compile(r'[0-9]+(?:\.[0-9]*)?').fullmatch
_is_delay = re.compile(r'[0-9]*(?:\.[0-9]*)?').fullmatch


def parse_timestamp(text: str) -> Timestamp:
    """A Timestamp value."""
    parts = text.split()
    if len(parts) not in (1, 2) or not _is_timestamp(parts[0]) or not _is_delay(parts[-1]):
        raise ParseError('broken Timestamp', text)
    return Timestamp(parts[0], parts[1] if len(parts) == 2 else None)


# Challenges and credentials

# Values that are written without quotes (RFC 7616 3.3, 3.4; RFC 8760); all others get quotes.
_CHALLENGE_PLAIN = frozenset(('algorithm', 'stale', 'charset', 'userhash'))
_CREDENTIALS_PLAIN = frozenset(('algorithm', 'qop', 'nc', 'userhash'))
_AUTH_INFO_PLAIN = frozenset(('qop', 'nc'))


class _Auth:
    """A scheme and comma-separated parameters."""

    __slots__ = ('params', 'scheme')

    _plain: frozenset[str] = frozenset()

    def __init__(self, scheme: str, params: Pairs = ()) -> None:
        if not is_token(scheme):
            raise UsageError(f'not a scheme: {scheme!r}')
        self.scheme = scheme
        self.params = params if isinstance(params, Params) else Params(params)

    @property
    def is_digest(self) -> bool:
        """Whether the scheme is Digest."""
        return self.scheme.lower() == 'digest'

    def _format_params(self) -> str:
        parts = []
        for name, value in self.params.items():
            if not is_token(name):
                raise UsageError(f'not a parameter name: {name!r}')
            if value is None:
                parts.append(name)
            elif name.lower() in self._plain and is_token(value):
                parts.append(f'{name}={value}')
            else:
                parts.append(f'{name}={quote(value)}')
        return ','.join(parts)

    def __str__(self) -> str:
        return f'{self.scheme} {self._format_params()}'

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self}>'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Auth) or type(self) is not type(other):
            return NotImplemented
        return self.scheme.lower() == other.scheme.lower() and self.params == other.params

    def __hash__(self) -> int:
        return hash((self.scheme.lower(), self.params))


class Challenge(_Auth):
    """WWW-Authenticate and Proxy-Authenticate (RFC 3261 20.44, RFC 7616 3.3, RFC 8760)."""

    __slots__ = ()
    _plain = _CHALLENGE_PLAIN

    @property
    def realm(self) -> str:
        """The protection domain; '' if it is missing."""
        return self.params.get('realm') or ''

    @property
    def nonce(self) -> str:
        """The server's nonce."""
        return self.params.get('nonce') or ''

    @property
    def opaque(self) -> str | None:
        """To be sent back unchanged."""
        return self.params.get('opaque')

    @property
    def domain(self) -> str | None:
        """URIs to which the challenge applies."""
        return self.params.get('domain')

    @property
    def stale(self) -> bool:
        """Whether only the nonce was too old."""
        return (self.params.get('stale') or '').lower() == 'true'

    @property
    def algorithm(self) -> str:
        """As written; MD5 if it is missing."""
        return self.params.get('algorithm') or 'MD5'

    @property
    def qop(self) -> list[str]:
        """The offered qualities of protection in lower case; empty if there is no qop (RFC 2069)."""
        qop = self.params.get('qop') or ''
        return [option.strip().lower() for option in qop.split(',') if option.strip()]

    @property
    def userhash(self) -> bool:
        """Whether the server takes a hashed username (RFC 7616 3.4.4)."""
        return (self.params.get('userhash') or '').lower() == 'true'


class Credentials(_Auth):
    """Authorization and Proxy-Authorization (RFC 3261 20.7, RFC 7616 3.4)."""

    __slots__ = ()
    _plain = _CREDENTIALS_PLAIN

    @property
    def username(self) -> str:
        """The user, '' if it is missing."""
        return self.params.get('username') or ''

    @property
    def realm(self) -> str:
        """The protection domain."""
        return self.params.get('realm') or ''

    @property
    def nonce(self) -> str:
        """The nonce of the challenge."""
        return self.params.get('nonce') or ''

    @property
    def uri(self) -> str:
        """The digest-uri."""
        return self.params.get('uri') or ''

    @property
    def response(self) -> str:
        """The proof."""
        return self.params.get('response') or ''

    @property
    def algorithm(self) -> str:
        """As written; MD5 if it is missing."""
        return self.params.get('algorithm') or 'MD5'

    @property
    def cnonce(self) -> str | None:
        """The client's nonce."""
        return self.params.get('cnonce')

    @property
    def opaque(self) -> str | None:
        """What the challenge had."""
        return self.params.get('opaque')

    @property
    def qop(self) -> str | None:
        """``auth``, ``auth-int`` or None."""
        qop = self.params.get('qop')
        return qop.lower() if qop else None

    @property
    def nc(self) -> int | None:
        """The nonce count; None when missing or not eight hexadecimal digits."""
        nc = self.params.get('nc')
        return int(nc, 16) if nc is not None and re.fullmatch('[0-9A-Fa-f]{8}', nc) else None

    @property
    def userhash(self) -> bool:
        """Whether ``username`` is a hash."""
        return (self.params.get('userhash') or '').lower() == 'true'


class AuthInfo(_Auth):
    """Authentication-Info and Proxy-Authentication-Info (RFC 3261 20.6, RFC 7615): parameters without a scheme."""

    __slots__ = ()
    _plain = _AUTH_INFO_PLAIN

    def __init__(self, params: Pairs = ()) -> None:
        super().__init__('Digest', params)

    def __str__(self) -> str:
        return self._format_params()


_AUTH_PARAM = re.compile(
    rf'([{TOKEN}]+)[ \t]*=[ \t]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([^\x00-\x20\x7f,"\\]*))', re.DOTALL)


def _auth_params(text: str) -> Params:
    pairs: dict[str, tuple[str, str | None]] = {}
    for part in split_top(text, ','):
        if not part:
            continue        # RFC 9110 5.6.1: empty members are to be borne
        match = _AUTH_PARAM.fullmatch(part)
        if match is None:
            raise ParseError('broken parameter', part)
        name, quoted, plain = match.groups()
        key = name.lower()
        if key in pairs:
            raise ParseError(f'{key} twice', text)
        pairs[key] = (name, plain if quoted is None else unquote(quoted[1:-1]))
    return Params(pairs.values())


A = TypeVar('A', bound=_Auth)


def _read_auth(cls: type[A], text: str) -> A:
    scheme, _, rest = text.partition(' ')
    if not is_token(scheme):
        raise ParseError('broken authentication scheme', text)
    made = cls.__new__(cls)
    made.scheme = scheme
    rest = rest.strip(' \t')
    # token68 (RFC 9110 11.2), as in "Bearer abc=="
    if rest and re.fullmatch('[A-Za-z0-9._~+/-]+=*', rest):
        made.params = Params([(rest, None)])
    else:
        made.params = _auth_params(rest) if rest else NO_PARAMS
    return made


def parse_challenge(text: str) -> Challenge:
    """One challenge."""
    return _read_auth(Challenge, text)


def parse_credentials(text: str) -> Credentials:
    """One set of credentials."""
    return _read_auth(Credentials, text)


def parse_auth_info(text: str) -> AuthInfo:
    """An Authentication-Info value."""
    made = AuthInfo.__new__(AuthInfo)
    made.scheme = 'Digest'
    made.params = _auth_params(text)
    return made


# Plain values

def parse_text(text: str) -> str:
    """Free text: as it is."""
    return text


_is_call_id = re.compile(r'''[A-Za-z0-9.!%*_+`'~()<>:\\"/\[\]?{}=&;$,#|^@\x80-\U0010ffff-]+''').fullmatch


def parse_call_id(text: str) -> str:
    """A Call-ID.  More characters than RFC 3261's word are let through; white space and controls are not."""
    if text.isalnum() or _is_call_id(text):
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


_DAYS = ('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')
_MONTHS = ('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')
_DATE = re.compile(
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
