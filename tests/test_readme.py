"""The README: its programs are Python, and what they and its tables say of greensip exists."""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from greensip import IncomingLeg, UserAgent
from greensip.registrar import MemoryUsers, Registrar
from greensip.testing import StrictUserAgent

from .names import COMPILED, wrong

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.rst').read_text(encoding='utf-8')
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


@pytest.mark.parametrize('name', sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('**/*.rst')
                                        if path.relative_to(ROOT).parts[0] in ('examples', path.name)))
def test_tables_are_tables(name: str) -> None:
    """Of the simple kind: nothing between the columns, and what is quoted ends in the cell that it began in."""
    lines = (ROOT / name).read_text(encoding='utf-8').splitlines()
    rule, cells = '', ['']
    for number, line in enumerate(lines, 1):
        if re.fullmatch(r'=+(  +=+)+', line):
            rule = '' if rule and lines[number:number + 1] in ([], ['']) else line
        columns = list(re.finditer('=+', rule))
        if not rule or line[:1] not in ('', ' '):
            assert [cell for cell in cells if cell.count('``') % 2] == [], f'{name}, above line {number}'
            cells = [''] * len(columns)
        if rule and line != rule:
            for one, other in itertools.pairwise(columns):
                assert line[one.end():other.start()].strip() == '', f'{name}, line {number}: between the columns'
            for index, column in enumerate(columns):
                cells[index] += line[column.start():column.end() if index + 1 < len(columns) else None]


def test_there_is_something_to_look_at() -> None:
    assert len(BLOCKS) > 8 and len(INLINE) > 40


def program_with(text: str, host: str) -> str:
    """The block with that text in it, at another domain."""
    block = next(block for block in BLOCKS if text in block)
    return block.replace('pbx.example.com', host).replace('example.com', host)


def test_an_account_calls_holds_and_transfers(capsys: pytest.CaptureFixture[str]) -> None:
    def answering(leg: IncomingLeg) -> None:
        leg.answer()
        leg.wait_ended()

    with contextlib.ExitStack() as scope:
        server, ua, hundred, carol = (scope.enter_context(UserAgent('udp:127.0.0.1:0', watchdog=None, refer='accept'))
                                      for _ in range(4))
        users = MemoryUsers('greensip', {'alice': 's3cret', '100': 'x', 'carol': 'x'})
        scope.enter_context(Registrar(server, users=users))
        host = f'127.0.0.1:{server.points[0].address[1]}'
        for name, phone in (('100', hundred), ('carol', carol)):
            phone.serve(answering, background=True)
            scope.enter_context(phone.account(f'sip:{name}@{host}', password='x')).register(timeout=10)
        exec(compile(program_with('alice.register()', host), 'README', 'exec'), {'ua': ua})
    assert capsys.readouterr().out == '200\n'


def test_somebody_is_transferred(capsys: pytest.CaptureFixture[str]) -> None:
    def handler(leg: IncomingLeg) -> None:
        leg.answer()
        variables = {'leg': leg}
        exec(compile(program_with('transfer.accept()', 'x'), 'README', 'exec'), variables)
        with variables['new'] as new:
            new.wait_for('200', timeout=5)
            leg.wait_ended(timeout=5)

    with (UserAgent('udp:127.0.0.1:0', watchdog=None) as alice, UserAgent('udp:127.0.0.1:0', watchdog=None) as carol,
          UserAgent('udp:127.0.0.1:0', watchdog=None, refer='ask') as bob):
        bob.serve(handler, background=True)
        carol.serve(lambda leg: (leg.answer(), leg.wait_ended()), background=True)
        with alice.call(bob.uri, timeout=5) as leg:
            assert leg.transfer(carol.uri, timeout=5).ok
    assert carol.uri in capsys.readouterr().out


def test_the_tests_pass_with_strict_legs() -> None:
    def busy(leg: IncomingLeg) -> None:
        leg.ring()
        leg.reject(486)

    def ringing(leg: IncomingLeg) -> None:
        leg.ring()
        leg.wait_ended()

    for name, handler in (('test_busy', busy), ('test_gives_up', ringing)):
        variables: dict[str, Any] = {'pytest': pytest}
        exec(compile(program_with(f'def {name}(', 'x'), 'README', 'exec'), variables)
        with (UserAgent('udp:127.0.0.1:0', watchdog=None) as dut,
              StrictUserAgent('udp:127.0.0.1:0', watchdog=None) as ua):
            dut.serve(handler, background=True)
            variables[name](ua, dut.uri)
