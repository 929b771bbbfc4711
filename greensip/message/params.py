"""Parameters: the ``;name=value`` that most values end in (RFC 3261 7.3.1, 25.1).

A value keeps its parameters as text; they become `Params` when somebody asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from ..errors import ParseError, UsageError
from .grammar import QUOTED, TOKEN, is_token, parse_number, quote, split_top, unquote

__all__ = [
    'NO_PARAMS', 'TAIL', 'Pairs', 'Params', 'WithParams', 'format_params', 'is_plain_tail', 'make_params',
    'parse_bare_params', 'parse_params', 'split_params',
]

#: what parameters are made from: a mapping, or pairs of name and value
Pairs = Mapping[str, 'str | None'] | Iterable[tuple[str, 'str | None']]

#: Parameters without quotes and brackets at the end of a value, as a group of a regular expression.  It is one set of
#: characters, which takes a third of the time of one group per parameter; the rest is for `is_plain_tail`.
TAIL: Final = rf'((?:;[{TOKEN};=]+|))'
# gen-value without quotes: a token or a host (which may be an IPv6 reference)
_is_plain_value: Final = re.compile(rf'[{TOKEN}:\[\]]+').fullmatch


def split_params(text: str) -> tuple[str, str]:
    """``value;params`` as the value, stripped, and the rest from its first semicolon on."""
    value, semicolon, rest = text.partition(';')
    return value.strip(' \t'), semicolon + rest


def is_plain_tail(tail: str) -> bool:
    """Whether a text that `TAIL` matched, other than '', has a name in each parameter."""
    return ';;' not in tail and ';=' not in tail and tail[-1] != ';'


class Params(Mapping[str, 'str | None']):
    """Parameters in their order.  Names compare without case and keep their spelling; None means no ``=``.

    The values are without quotes and escapes.  Immutable.
    """

    __slots__ = ('_pairs',)

    def __init__(self, pairs: Mapping[str, str | None] | Iterable[tuple[str, str | None]] = ()) -> None:
        self._pairs: dict[str, tuple[str, str | None]] = {}
        if isinstance(pairs, Mapping):
            pairs = pairs.items()
        for name, value in pairs:
            self._pairs.setdefault(name.lower(), (name, value))

    def __getitem__(self, name: str) -> str | None:
        return self._pairs[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return iter([pair[0] for pair in self._pairs.values()])

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._pairs

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping) and not isinstance(other, Params):
            other = Params(other)
        if not isinstance(other, Params):
            return NotImplemented
        mine, theirs = self._pairs, other._pairs
        return mine.keys() == theirs.keys() and all(mine[key][1] == theirs[key][1] for key in mine)

    def __hash__(self) -> int:
        return hash(frozenset((key, pair[1]) for key, pair in self._pairs.items()))

    def __str__(self) -> str:
        return format_params(self)[1:]

    def __repr__(self) -> str:
        return f'Params({dict(self)!r})'

    def changed(self, name: str, value: str | None) -> Params:
        """A copy in which ``name`` has this value, in its old place or at the end."""
        copy = Params()
        copy._pairs.update(self._pairs)
        copy._pairs[name.lower()] = (name, value)
        return copy

    def without(self, name: str) -> Params:
        """A copy without ``name``."""
        copy = Params()
        copy._pairs.update(self._pairs)
        copy._pairs.pop(name.lower(), None)
        return copy


NO_PARAMS: Final = Params()

# A parameter twice: the first one counts, but for these two, on which dialogs and transactions hang.
_ONCE: Final = frozenset(('tag', 'branch'))
_PARAM: Final = re.compile(
    rf'[ \t]*([{TOKEN}]+)[ \t]*'                                           # ;name
    rf'(?:=[ \t]*(?:({QUOTED})|([^\x00-\x20\x7f;,"<>\\]*))[ \t]*)?\Z', re.DOTALL)     # =value


def parse_params(text: str) -> Params:
    """``*( SEMI generic-param )`` (RFC 3261 25.1), beginning with its semicolon."""
    if not text:
        return NO_PARAMS
    parts = split_top(text, ';')
    if parts[0]:
        raise ParseError('no ; before the parameters', text)
    params = Params()
    pairs = params._pairs
    for part in parts[1:]:
        match = _PARAM.match(part)
        if match is None:
            raise ParseError('broken parameter', part)
        name, quoted, plain = match.groups()
        key = name.lower()
        if key in pairs:
            if key in _ONCE:
                raise ParseError(f'{key} twice', text)
        elif quoted is not None:
            pairs[key] = (name, unquote(quoted[1:-1]))
        else:
            pairs[key] = (name, plain)
    return params


def parse_bare_params(text: str) -> Params:
    """Parameters that stand for themselves, without a value before them: ``name=value;name``."""
    if not text:
        raise ParseError('no parameters', text)
    return parse_params(';' + text)


def make_params(pairs: Pairs) -> tuple[Params, str]:
    """Parameters, and how they are written; UsageError if that cannot be."""
    if not pairs:
        return NO_PARAMS, ''
    params = pairs if isinstance(pairs, Params) else Params(pairs)
    return params, format_params(params)


def format_params(params: Mapping[str, str | None]) -> str:
    """Parameters as they follow a value: ``;name=value;name``."""
    text = ''
    for name, value in params.items():
        if not is_token(name):
            raise UsageError(f'not a parameter name: {name!r}')
        if value is None:
            text += f';{name}'
        elif _is_plain_value(value):
            text += f';{name}={value}'
        else:
            text += f';{name}={quote(value)}'
    return text


T = TypeVar('T', bound='WithParams')


class WithParams:
    """A value that ends in ``;name=value`` parameters."""

    __slots__ = ('_params', '_tail')

    _params: Params | None
    _tail: str

    @property
    def param_text(self) -> str:
        """The parameters as they are written, with the first semicolon."""
        return self._tail

    @property
    def params(self) -> Params:
        """The parameters, unquoted."""
        params = self._params
        if params is None:
            params = self._params = parse_params(self.param_text)
        return params

    def param(self, name: str) -> str | None:
        """The value of a parameter; '' if it has none, None if it is absent."""
        params = self.params
        return (params[name] or '') if name in params else None

    def number(self, name: str) -> int | None:
        """The value of a parameter as a number; None if it is absent or no number."""
        text = self.param(name)
        if not text:
            return None
        try:
            return parse_number(text)
        except ParseError:
            return None

    def replace(self: T, **changes: Any) -> T:
        """A copy with other parts, named as in the constructor."""
        raise NotImplementedError

    def with_param(self: T, name: str, value: str | None = None) -> T:
        """A copy in which this parameter has this value (None: it stands without ``=``)."""
        return self.replace(params=self.params.changed(name, value))

    def without_param(self: T, name: str) -> T:
        """A copy without this parameter."""
        return self.replace(params=self.params.without(name))

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self}>'
