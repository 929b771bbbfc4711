"""Translation rules of numbers, ``s/re/repl/[g]``, as sippy's b2bua writes them.

Several rules follow one another, ``s/^00/+/;s/-//g``, each applied to what the one before made.  ``re`` is a
Python regular expression and ``repl`` its template (``\\1`` is the first group); only the first match is replaced
unless ``g`` is given, other modifiers are ignored.  ``\\/`` is a slash inside ``re`` or ``repl``.  As in sippy, what
follows a ``#`` in the number is cut off before the first rule.
"""

from __future__ import annotations

import re
from typing import Final

from greensip.errors import ParseError

__all__ = ['Translation']

_SLASH: Final = re.compile(r'(?<!\\)/')


class Translation:
    """Rules compiled once: ``translation(number)`` gives the new number.  None stays None."""

    __slots__ = ('rules', 'text')

    def __init__(self, text: str) -> None:
        self.text = text
        self.rules = _compile(text)

    def __call__(self, number: str | None) -> str | None:
        if number is None:
            return None
        number = number.partition('#')[0]
        for pattern, template, count in self.rules:
            number = pattern.sub(template, number, count)
        return number

    def __repr__(self) -> str:
        return f'Translation({self.text!r})'


def _compile(text: str) -> tuple[tuple[re.Pattern[str], str, int], ...]:
    """The rules of ``text`` as (pattern, template, count); ParseError when one is broken."""
    rules = []
    parts = _SLASH.split(text.strip())
    while True:
        if len(parts) < 4 or parts[0] != 's':
            raise ParseError('a translation is written s/re/repl/[g]', text)
        _, expression, template, rest = parts[:4]
        # What follows the third slash is the modifiers of this rule and, after a semicolon, the s of the next.
        modifiers, semicolon, following = rest.partition(';')
        try:
            pattern = re.compile(expression.replace('\\/', '/'))
            template = template.replace('\\/', '/')
            pattern.sub(template, '')
        except (re.error, IndexError) as error:
            raise ParseError(f'the regular expression is wrong ({error})', text) from None
        rules.append((pattern, template, 0 if 'g' in modifiers.lower() else 1))
        if len(parts) == 4 and not following.strip():
            if modifiers.strip() and not modifiers.strip().isalpha():
                raise ParseError('a translation is written s/re/repl/[g]', text)
            return tuple(rules)
        if not semicolon:
            # sippy takes s/a/b/gs/c/d/ too: the first letter is the modifier, the next rule begins after it.
            following = modifiers.strip()[1:]
        parts = [following.strip(), *parts[4:]]
