"""Name and address: From, To, Contact, Route and their kin (RFC 3261 20.10, 25.1)."""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import ParseError, UsageError
from .grammar import QUOTED, TOKEN, quote, remember, unquote
from .params import (
    TAIL,
    Pairs,
    Params,
    WithParams,
    format_params,
    is_plain_tail,
    make_params,
    parse_params,
    split_params,
)
from .uri import OtherUri, Uri, parse_uri

__all__ = ['STAR', 'NameAddr', 'parse_name_addr']


class NameAddr(WithParams):
    """``"display" <uri>;parameters``.

    ``display`` is without quotes, None if there is none.  Equal when URI and parameters are (RFC 3261 20.10
    does not compare display names).
    """

    __slots__ = ('_uri', 'display', 'tag', 'uri_text')

    display: str | None
    #: the URI as it is written
    uri_text: str
    #: the ``tag`` parameter or None
    tag: str | None
    _uri: Uri | None

    def __init__(self, display: str | None, uri: Uri | str, params: Pairs = ()) -> None:
        if isinstance(uri, str):
            try:
                uri = parse_uri(uri)
            except ParseError as error:
                raise UsageError(str(error)) from None
        self.display = display or None
        self._uri = uri
        self.uri_text = str(uri)
        self._params, self._tail = make_params(params)
        self.tag = self._params.get('tag')

    def replace(self, **changes: Any) -> NameAddr:
        return NameAddr(**{'display': self.display, 'uri': self.uri, 'params': self.params, **changes})

    @property
    def uri(self) -> Uri:
        """The URI."""
        uri = self._uri
        if uri is None:
            uri = self._uri = parse_uri(self.uri_text)
        return uri

    @property
    def param_text(self) -> str:
        # a tag that is the only parameter is held once
        return self._tail or ('' if self.tag is None else f';tag={self.tag}')

    @property
    def q(self) -> float:
        """The ``q`` parameter, 0.0 to 1.0; 1.0 without one, or with one that is broken."""
        text = self.param('q')
        return min(float(text), 1.0) if text and _is_q(text) else 1.0

    @property
    def expires(self) -> int | None:
        """The ``expires`` parameter in seconds; 3600 for one that is broken (RFC 3261 20.10)."""
        if self.param('expires') is None:
            return None
        number = self.number('expires')
        return 3600 if number is None else number

    @property
    def is_star(self) -> bool:
        """Whether this is the ``*`` of a Contact that removes all bindings (RFC 3261 10.2.2)."""
        return self is STAR

    def __str__(self) -> str:
        if self is STAR:
            return '*'
        if self.display is None:
            return f'<{self.uri_text}>{self.param_text}'
        return f'{quote(self.display)} <{self.uri_text}>{self.param_text}'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NameAddr):
            return NotImplemented
        return self.uri == other.uri and self.params == other.params

    def __hash__(self) -> int:
        return hash(self.uri)


class _ParsedNameAddr(NameAddr):
    """Made by the parser, of parts that are known to be good."""

    __slots__ = ()

    def __init__(self, display: str | None, uri_text: str, uri: Uri | None, tag: str | None, tail: str,
                 params: Params | None) -> None:
        self.display = display
        self.uri_text = uri_text
        self._uri = uri
        self.tag = tag
        self._tail = tail
        self._params = params


_is_q: Final = re.compile(r'[0-9]{1,3}(?:\.[0-9]{0,6})?|\.[0-9]{1,6}').fullmatch


class _Star(OtherUri):
    """What stands in for the URI of ``Contact: *``."""

    __slots__ = ()

    def __init__(self) -> None:
        self.scheme = ''
        self.opaque = '*'
        self.host = ''
        self.port = None
        self._params = None
        self._text = '*'


#: ``*``, the Contact of a REGISTER that removes all bindings
STAR: Final = NameAddr(None, _Star())

# The usual shape: a sip URI that `parse_uri` is sure to read, so that it need not do so yet, and a tag, which mostly
# is the first parameter when there is one.
_NAME_ADDR: Final = re.compile(
    rf'(?:"([^"\\]*)"[ \t]*|([{TOKEN} ]*))'
    r'<(sips?:(?:[^\x00-\x20\x7f@:<>"\\]+@|)[A-Za-z0-9_.-]+(?::[0-5]?[0-9]{1,4}|)(;[A-Za-z0-9_.~+;=-]+|))>'
    rf'(?:;tag=([{TOKEN}]+)|){TAIL}')
_DISPLAY: Final = re.compile(rf'{QUOTED}[ \t]*', re.DOTALL)
_is_display: Final = re.compile(rf'[{TOKEN} \t\x80-\U0010ffff]*').fullmatch


# From, To and Contact come again in the messages of a call, a Contact in those of other calls as well.
_recent: Final[dict[str, NameAddr]] = {}


def parse_name_addr(text: str) -> NameAddr:
    """One name-addr or addr-spec with its parameters."""
    addr = _recent.get(text)
    if addr is not None:
        return addr
    match = _NAME_ADDR.fullmatch(text)
    if match is None:
        addr = _parse_odd_name_addr(text.strip(' \t'))
    else:
        quoted, tokens, uri, uri_tail, tag, tail = match.groups()
        if uri_tail and not is_plain_tail(uri_tail):
            raise ParseError('broken uri-parameters', uri)
        if tail and ('tag' in tail.lower() or not is_plain_tail(tail)):
            addr = _parse_odd_name_addr(text.strip(' \t'))
        else:
            addr = _ParsedNameAddr(quoted or (tokens.rstrip(' ') or None if tokens else None), uri, None, tag,
                                   tail if tag is None or not tail else f';tag={tag}{tail}', None)
    # parameters that have been read take far more memory than their text
    if text.count(';') < 10:
        remember(_recent, text, addr)
    return addr


def _parse_odd_name_addr(text: str) -> NameAddr:
    """The full grammar: quoted pairs, white space, addr-spec without brackets, ``*``."""
    display = ''
    match = _DISPLAY.match(text)
    if match is not None:
        display = unquote(match.group().rstrip(' \t')[1:-1])
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
        if not _is_display(display):
            raise ParseError('display name needs quotes', text)
    spec, bracket, tail = rest[1:].partition('>')
    if not bracket:
        raise ParseError('no > after the URI', text)
    return _name_addr(display or None, spec.strip(' \t'), tail.strip(' \t'))


def _name_addr(display: str | None, spec: str, tail: str) -> NameAddr:
    uri = parse_uri(spec)
    params = parse_params(tail)
    tag = params.get('tag')
    if not tag and 'tag' in params:
        raise ParseError('empty tag', tail)
    return _ParsedNameAddr(display, str(uri), uri, tag, format_params(params), params)
