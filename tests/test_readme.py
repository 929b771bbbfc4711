"""The README: its programs are Python, and what they and its tables say of greensip exists."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from .names import COMPILED, wrong

README = (Path(__file__).parents[1] / 'README.rst').read_text(encoding='utf-8')
BLOCKS = [textwrap.dedent(text) for text in re.findall(
    r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)', README)]
#: what is no program; the pieces of code in it that name something of greensip's
TEXT = re.sub(r'\.\. code-block::.*\n\n(?:    .*\n|\n)+', '', README)
NAMED = re.compile(r'(ua|leg|account|alice|error|group|event|watcher|transfer)\.\w')
INLINE = sorted({code for code in re.findall(r'``([^`]+?)``', TEXT) if NAMED.match(code)})

pytestmark = pytest.mark.skipif(COMPILED, reason='compiled classes do not tell their arguments')


def parsed(text: str) -> ast.AST:
    """A program; one with ``await`` in it is that of a coroutine."""
    if re.search(r'\b(await|async with|async for)\b', text):
        return ast.parse('async def main():\n' + textwrap.indent(text, '    '))
    return ast.parse(text)


@pytest.mark.parametrize('number', range(len(BLOCKS)))
def test_programs(number: int) -> None:
    block = BLOCKS[number]
    tree = parsed(block)
    assert 'pjsua2' in block or list(wrong(tree)) == []


@pytest.mark.parametrize('code', INLINE)
def test_what_is_named_exists(code: str) -> None:
    source = ' '.join(code.split())
    tree = ast.parse(f'{source} pass' if source.endswith(':') else source)
    assert list(wrong(tree)) == []


def test_there_is_something_to_look_at() -> None:
    assert len(BLOCKS) > 8 and len(INLINE) > 40
