"""What a script waits for: ``'200' '2xx' '18x' '4xx-6xx' 'BYE' 'hold' 'ended'``, a class, a predicate.

Nothing here knows SIP.  An event says what it is by its ``label``: an int for a response's code, else a word,
in capitals for a method and in small letters for everything that is no message.  Events with a finer
distinction have a ``detail`` as well (what is behind the colon of ``composing:active``).

A class matches an event of that class, or one whose ``error`` is of that class (``wait_for(RemoteHangup)``).
A predicate is called with the event, in the greenlet that waits, and possibly more than once for one event.

A tuple of patterns is compiled once and kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Protocol

from greensip.errors import UsageError

__all__ = ['Happening', 'Matcher', 'Pattern', 'compile_patterns']


class Happening(Protocol):
    """What a mailbox can hold: the core's ``Event``, or a ``Notice`` of our own."""

    @property
    def label(self) -> int | str: ...

    @property
    def error(self) -> BaseException | None: ...

    @property
    def time(self) -> float: ...


Pattern = str | type | Callable[[Any], bool]

#: words that are not messages, so that a typing mistake is told at once
WORDS: Final = frozenset({
    # of every mailbox
    'ended', 'failed',
    # of calls, and of who takes them
    'bridged', 'call', 'forked', 'hold', 'resume',
    # of accounts
    'lost', 'refreshed', 'registered', 'unregistered',
    # of subscriptions
    'active', 'pending',
    # of buddies and their messages
    'away', 'busy', 'composing', 'offline', 'online', 'presence', 'report', 'unknown', 'unsubscribed',
})
#: those of them that a detail can narrow: ``composing:active``
DETAILED: Final = frozenset({'composing', 'report'})
#: words of which nothing can tell yet, and what they need: better refused than waited for in vain
LATER: Final = {'dtmf': 'media', 'media': 'media'}

_CODES: Final = re.compile(r'([1-6](?:[0-9][0-9]|[0-9]x|xx))(?:-([1-6](?:[0-9][0-9]|[0-9]x|xx)))?')
_METHOD: Final = re.compile(r"[A-Z][A-Z0-9.!%*_+`'~-]*")

#: more combinations than this in one program are made at run time, not written: do not keep them
_KEEP: Final = 2000


class Matcher:
    """A compiled tuple of patterns.  ``text`` is how it reads in a sentence: ``180 or 200`` unless it is given."""

    __slots__ = ('classes', 'details', 'labels', 'predicates', 'simple', 'text')

    def __init__(self, patterns: tuple[Pattern, ...], text: str = '') -> None:
        labels: set[int | str] = set()
        details: set[tuple[str, str]] = set()
        classes: list[type] = []
        predicates: list[Callable[[Any], bool]] = []
        names: list[str] = []
        for pattern in patterns:
            if isinstance(pattern, str):
                names.append(pattern)
                word, colon, detail = pattern.partition(':')
                if word in LATER:
                    raise UsageError(f'{pattern!r}: greensip has no {LATER[word]} yet')
                if colon and detail and word in DETAILED:
                    details.add((word, detail))
                else:
                    labels.update(_labels(pattern))
            elif isinstance(pattern, type):
                names.append(pattern.__name__)
                classes.append(pattern)
            elif callable(pattern):
                names.append(getattr(pattern, '__name__', repr(pattern)))
                predicates.append(pattern)
            else:
                raise UsageError(f'{pattern!r} is no pattern: give a text, a class or a predicate')
        self.labels = frozenset(labels)
        self.details = frozenset(details)
        self.classes = tuple(classes)
        self.predicates = tuple(predicates)
        #: only labels, the usual case: one look-up decides
        self.simple = not (details or classes or predicates)
        self.text = text or ' or '.join(names)

    def matches(self, event: Happening) -> bool:
        """True if ``event`` is one of what is waited for.  May call predicates."""
        label = event.label
        if label in self.labels:
            return True
        if self.simple:
            return False
        if self.details and (label, getattr(event, 'detail', '')) in self.details:
            return True
        if self.classes and (isinstance(event, self.classes) or isinstance(event.error, self.classes)):
            return True
        return any(predicate(event) for predicate in self.predicates)

    def may_match(self, event: Happening) -> bool:
        """As ``matches``, for other greenlets than the waiting one: predicates are not called but count as true."""
        return event.label in self.labels or (not self.simple and (bool(self.predicates) or self.matches(event)))

    def __repr__(self) -> str:
        return f'<Matcher {self.text}>'


def _labels(pattern: str) -> set[int | str]:
    """The labels that a text stands for."""
    match = _CODES.fullmatch(pattern)
    if match is not None:
        low, high = match.group(1), match.group(2) or match.group(1)
        first, last = int(low.replace('x', '0')), int(high.replace('x', '9'))
        if first > last:
            raise UsageError(f'{pattern!r} is no pattern: the range is upside down')
        return set(range(first, last + 1))
    if pattern in WORDS or _METHOD.fullmatch(pattern):
        return {pattern}
    raise UsageError(f"{pattern!r} is no pattern: write '200', '18x', '2xx', '4xx-6xx', a method such as 'BYE', "
                     'or one of ' + ', '.join(repr(word) for word in sorted(WORDS)))


_compiled: Final[dict[tuple[Pattern, ...], Matcher]] = {}

#: matches nothing: a wait that only an ending wakes
NOTHING: Final = Matcher(())


def compile_patterns(patterns: tuple[Pattern, ...]) -> Matcher:
    """The matcher of these patterns.  Raises UsageError for a text that means nothing, or for no pattern at all."""
    matcher = _compiled.get(patterns)
    if matcher is None:
        if not patterns:
            raise UsageError('wait for what? Give at least one pattern')
        matcher = Matcher(patterns)
        # A predicate may be a lambda, new each time: those are not worth keeping.
        if not matcher.predicates and len(_compiled) < _KEEP:
            _compiled[patterns] = matcher
    return matcher
