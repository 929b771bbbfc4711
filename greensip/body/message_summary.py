"""Waiting messages: ``application/simple-message-summary`` (RFC 3842 5.2), the body of the package message-summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from greensip.errors import ParseError, UsageError
from greensip.message.grammar import check_text, decode, encode, is_token

__all__ = ['MESSAGE_SUMMARY', 'MessageCount', 'MessageSummary', 'parse_message_summary']

#: its content type
MESSAGE_SUMMARY = 'application/simple-message-summary'

#: RFC 3842 3.5: "Subscribers MUST treat a larger value as 2^32-1"
_MOST = 2**32 - 1
_MAX_LINES = 1000
_COUNT = re.compile(r'([0-9]+)[ \t]*/[ \t]*([0-9]+)(?:[ \t]*\([ \t]*([0-9]+)[ \t]*/[ \t]*([0-9]+)[ \t]*\))?')
#: the classes of RFC 3458 6.2: these lines must hold numbers, those of others may be anything
_CLASSES = ('voice-message', 'fax-message', 'pager-message', 'multimedia-message', 'text-message', 'none')


class MessageCount(NamedTuple):
    """How many messages of one class there are.  The urgent ones are counted in ``new`` and ``old`` too; None where
    the sender does not tell them apart."""

    new: int = 0
    old: int = 0
    new_urgent: int | None = None
    old_urgent: int | None = None

    def __str__(self) -> str:
        text = f'{self.new}/{self.old}'
        if self.new_urgent is None and self.old_urgent is None:
            return text
        return f'{text} ({self.new_urgent or 0}/{self.old_urgent or 0})'


class MessageSummary:
    """What is waiting.

    ``counts`` maps a class of messages in lower case, such as ``voice-message``, to its MessageCount, or a tuple of
    two or four numbers.  ``waiting``: whether there is anything at all; None takes it from the counts of new ones.
    ``account``: whose messages they are, as a URI.  ``messages``: the header fields that describe newly added messages,
    a list of (name, text) for each.
    """

    __slots__ = ('account', 'counts', 'messages', 'waiting')

    content_type = MESSAGE_SUMMARY

    def __init__(self, waiting: bool | None = None, counts: Mapping[str, tuple[int | None, ...]] | None = None, *,
                 account: str | None = None, messages: Iterable[Iterable[tuple[str, str]]] = ()) -> None:
        self.counts: dict[str, MessageCount] = {
            name.lower(): MessageCount(*count) for name, count in (counts or {}).items()}  # type: ignore[arg-type]
        self.waiting: bool = any(count.new for count in self.counts.values()) if waiting is None else waiting
        self.account = account
        self.messages: list[list[tuple[str, str]]] = [list(fields) for fields in messages]

    @property
    def voice(self) -> MessageCount:
        """Voice messages; zeros when nothing is said of them."""
        return self.counts.get('voice-message') or MessageCount()

    @property
    def fax(self) -> MessageCount:
        """Fax messages; zeros when nothing is said of them."""
        return self.counts.get('fax-message') or MessageCount()

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what cannot be written."""
        lines = [f'Messages-Waiting: {"yes" if self.waiting else "no"}']
        if self.account is not None:
            lines.append(f'Message-Account: {check_text(self.account)}')
        for name, count in self.counts.items():
            if not is_token(name) or any(number is not None and not 0 <= number <= _MOST for number in count):
                raise UsageError(f'not a count of messages: {name}: {count}')
            lines.append(f'{name.title() if name != "none" else "None"}: {count}')
        for fields in self.messages:
            lines.append('')
            for name, text in fields:
                if not is_token(name):
                    raise UsageError(f'not a name of a header field: {name!r}')
                lines.append(f'{name}: {check_text(text)}')
        return encode(''.join(f'{line}\r\n' for line in lines))

    def __repr__(self) -> str:
        return f'<MessageSummary {"waiting" if self.waiting else "nothing"} {self.voice}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageSummary) and (self.waiting, self.counts, self.account, self.messages) == (
            other.waiting, other.counts, other.account, other.messages)

    def __hash__(self) -> int:
        return hash((self.waiting, tuple(self.counts.items()), self.account))


def parse_message_summary(body: bytes) -> MessageSummary:
    """Read an ``application/simple-message-summary`` body.

    Case and white space do not matter, lines may end in a bare LF.  Without the status line, which some old exchanges
    leave out, the counts tell.  ParseError if there is neither, if a count is none, or if it is too long (status 513).
    """
    lines = decode(body).replace('\r\n', '\n').split('\n')
    if len(lines) > _MAX_LINES:
        raise ParseError(f'a message summary of more than {_MAX_LINES} lines', status=513)
    waiting: bool | None = None
    account: str | None = None
    counts: dict[str, tuple[int | None, ...]] = {}
    messages: list[list[tuple[str, str]]] = []
    inside = False
    for line in lines:
        if '\r' in line or '\0' in line:
            raise ParseError('broken line of a message summary', line)
        if not line.strip():
            inside = inside or waiting is not None or bool(counts)
            if inside and (not messages or messages[-1]):
                messages.append([])
            continue
        if inside and line[:1] in ' \t' and messages[-1]:
            field, before = messages[-1][-1]
            messages[-1][-1] = field, f'{before} {line.strip()}'.strip()
            continue
        name, colon, text = line.partition(':')
        name, text = name.strip(), text.strip()
        if not colon or not is_token(name):
            raise ParseError('broken line of a message summary', line)
        if inside:
            messages[-1].append((name, text))
        elif name.lower() == 'messages-waiting':
            if text.lower() not in ('yes', 'no'):
                raise ParseError('neither yes nor no', line)
            waiting = text.lower() == 'yes'
        elif name.lower() == 'message-account':
            account = text
        else:
            count = _COUNT.fullmatch(text)
            if count is not None:
                counts[name.lower()] = tuple(_number(digits) for digits in count.groups())
            elif name.lower() in _CLASSES:
                raise ParseError('not a count of messages', line)
    if waiting is None and not counts:
        raise ParseError('a message summary that says nothing')
    return MessageSummary(waiting, counts, account=account, messages=[fields for fields in messages if fields])


def _number(digits: str | None) -> int | None:
    if digits is None:
        return None
    digits = digits.lstrip('0') or '0'
    return min(int(digits), _MOST) if len(digits) <= 10 else _MOST
