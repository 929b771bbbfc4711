"""What strangers have written, on a terminal and in a log file."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.cli.terminal import LineFormatter, harmless


@pytest.mark.parametrize(('text', 'shown'), [
    ('busy: 486 Busy Here', 'busy: 486 Busy Here'),
    ('grüße \u4f60', 'grüße \u4f60'),
    ('a\x1b[2Jb\x07', r'a\x1b[2Jb\x07'),
    # one octet that terminals take for ESC [, a text that runs backwards, a line that is none, half a character
    ('\x9b31m\u202e\u2028\udcff', r'\x9b31m\u202e\u2028\udcff'),
    ('a\nb\tc', r'a\nb\tc'),
])
def test_harmless(text: str, shown: str) -> None:
    assert harmless(text) == shown
    assert harmless(shown) == shown


def line_of(message: str, *args: object) -> str:
    record = logging.LogRecord('greensip.x', logging.WARNING, '', 0, message, args, None)
    return LineFormatter('%(levelname)s %(message)s').format(record)


def test_nobody_makes_up_a_line_of_the_log() -> None:
    assert line_of('! %s', 'a\x1b[31m\nERROR all is lost\r\n\n    more') == (
        'WARNING ! a\\x1b[31m\n    ERROR all is lost\\r\n\n    more')
    assert line_of('! %s', 'Busy Here') == 'WARNING ! Busy Here'
    assert line_of('<\n\tv=0') == 'WARNING <\n    v=0'


@given(st.text())
def test_whatever_a_log_line_has_in_it(text: str) -> None:
    first, *others = line_of('%s', text).split('\n')
    assert first.startswith('WARNING ') and first.isprintable()
    assert all(line.isprintable() and line[:1] in ('', ' ') for line in others)
