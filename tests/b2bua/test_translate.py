"""Translations of numbers, with sippy's as the oracle."""

from __future__ import annotations

import sys

import pytest

from greensip.b2bua.translate import Translation
from greensip.errors import ParseError

NUMBERS = ['', '0049301234', '+49-30-1234', '123#456', 'aabbcc', 'alice']
RULES = [
    's/a/b/', 's/a/b/g', 's/A/b/', 's/^00/+/', 's/^00(\\d\\d)/+\\1-/', 's/^[+](.*)$/00\\1/', 's/-//g',
    's/^00/+/;s/-//g', 's/a/b/g;s/b/c/g', 's/a/b/;s/c/d/g', 's/a/b/gs/c/d/g', 's/a/b/g ;s/c/d/', 's/a/b/ ;s/c/d/',
    's/a/b/i', 's/a/b/G', 's/x//', 's/^$/operator/', 's/(a)(a)/\\g<2>x\\1/',
]


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.usefixtures('needs_sippy')
def test_translates_as_sippy_does(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['b2bua'])
    from sippy.b2bua import re_replace

    translation = Translation(rule)
    assert [translation(number) for number in NUMBERS] == [re_replace(rule, number) for number in NUMBERS]


@pytest.mark.parametrize(('rule', 'number', 'result'), [
    ('s/a/b/', None, None),
    ('s/a\\/b/c\\/d/', 'xa/by', 'xc/dy'),
    ('s/a/b/g;', 'aa', 'bb'),
    ('s/a/b/gi', 'aa', 'bb'),
    ('  s/a/b/  ', 'aa', 'ba'),
])
def test_beyond_sippy(rule: str, number: str | None, result: str | None) -> None:
    assert Translation(rule)(number) == result


@pytest.mark.parametrize(('rule', 'what'), [
    ('', 's/re/repl/[g]'),
    ('s/a/b', 's/re/repl/[g]'),
    ('x/a/b/', 's/re/repl/[g]'),
    ('s/a/b/;t', 's/re/repl/[g]'),
    ('s/a/b/x y', 's/re/repl/[g]'),
    ('s/(/b/', 'regular expression is wrong'),
    ('s/a/\\1/', 'regular expression is wrong'),
    ('s/a/b/;s/[/x/', 'regular expression is wrong'),
])
def test_a_broken_rule_is_told_at_once(rule: str, what: str) -> None:
    with pytest.raises(ParseError) as caught:
        Translation(rule)
    assert what in str(caught.value)
