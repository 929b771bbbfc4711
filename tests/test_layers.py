"""Guards the ranks: a package imports only from lower ranks, and the pure ones know neither sockets nor clocks."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / 'greensip'

RANKS = {
    'native': -1,
    'errors': 0, 'fsm': 0,
    'message': 1, 'sdp': 1, 'rtp': 1,
    'transaction': 2, 'body': 2,
    'dialog': 3,
    'transport': 4, 'media': 4,
    'ua': 5,
    'b2bua': 6, 'proxy': 6, 'registrar': 6, 'apps': 6, 'aio': 6,
    'compat': 7, 'cli': 7, 'web': 7, 'testing': 7,
}
#: the application's names: greensip/__init__.py and __main__.py may import everything, nobody imports them
TOP = 8
#: the highest rank that knows neither sockets nor clocks
PURE = 3
IMPURE = {'asyncio', 'gevent', 'greenlet', 'select', 'selectors', 'socket', 'ssl', '_thread', 'threading', 'time'}
#: all that may be imported from elsewhere
REQUIRED = {'gevent', 'greenlet', 'dns'}
#: what an extra of setup.py brings, and the only package or module that may import it
OPTIONAL = {'sippy': 'greensip.compat.sippy', 'h11': 'greensip.transport.websocket',
            'wsproto': 'greensip.transport.websocket', 'rich': 'greensip.cli.view', 'pytest': 'greensip.testing.plugin'}


def package_of(module: str) -> str:
    """``message`` for ``greensip.message.uri``, an empty string for ``greensip`` itself."""
    return module.split('.')[1] if '.' in module else ''


def rank_of(module: str) -> int:
    package = package_of(module)
    return TOP if package in ('', '__main__') else RANKS[package]


def is_module(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split('.'))
    return path.is_dir() or path.with_suffix('.py').is_file()


def imported_modules(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each module that ``source`` imports, at whatever depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parts = module.split('.')
                above = parts[:len(parts) + is_package - node.level]
                base = '.'.join([*above, base] if base else above)
            for alias in node.names:
                # `from greensip import message` imports a module, `from greensip.fsm import Row` a name of one.
                submodule = f'{base}.{alias.name}'
                yield node.lineno, submodule if base.startswith('greensip') and is_module(submodule) else base


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of a module, a line each."""
    found = []
    rank = rank_of(module)
    for line, name in imported_modules(source, module, is_package):
        top = name.split('.')[0]
        if top == 'greensip':
            if package_of(name) != package_of(module) and rank_of(name) >= rank:
                found.append(f'{module}:{line}: rank {rank} imports {name} of rank {rank_of(name)}')
        elif rank <= PURE and top in IMPURE:
            found.append(f'{module}:{line}: a pure layer imports {name}')
        elif (module, top) == ('greensip.native', 'mypy_extensions'):
            continue  # for type checkers only
        elif top in OPTIONAL and f'{module}.'.startswith(f'{OPTIONAL[top]}.'):
            continue
        elif top not in REQUIRED and top not in sys.stdlib_module_names:
            found.append(f'{module}:{line}: imports {name}, which setup.py does not require')
    return found


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(ROOT.rglob('*.py')):
        parts = path.relative_to(ROOT.parent).with_suffix('').parts
        found.append(('.'.join(parts[:-1] if parts[-1] == '__init__' else parts), path))
    return found


@pytest.mark.parametrize(('module', 'path'), modules(), ids=lambda value: value if isinstance(value, str) else '')
def test_imports_go_downwards(module: str, path: Path) -> None:
    assert violations(path.read_text(encoding='utf-8'), module, path.name == '__init__.py') == []


@pytest.mark.parametrize(('module', 'source', 'part'), [
    ('greensip.message.uri', 'import time', 'a pure layer imports time'),
    ('greensip.dialog.core', 'def f():\n    from gevent import sleep', ':2: a pure layer imports gevent'),
    ('greensip.transaction.layer', 'import os, socket', 'imports socket'),
    ('greensip.message.uri', 'from greensip.transaction import flow', 'of rank 2'),
    ('greensip.message.uri', 'from ..transaction.flow import Flow', 'greensip.transaction.flow of rank 2'),
    ('greensip.message.uri', 'from greensip import sdp', 'greensip.sdp of rank 1'),
    ('greensip.sdp.description', 'from greensip.message import parse_uri', 'of rank 1'),
    ('greensip.ua.leg', 'import greensip', 'greensip of rank 8'),
    ('greensip.ua.leg', 'from greensip import UserAgent', 'greensip of rank 8'),
    ('greensip.ua.leg', 'import greensip.b2bua.routes', 'of rank 6'),
    ('greensip.ua.leg', 'import requests', 'setup.py does not require'),
    ('greensip.cli.sippy', 'import sippy', 'setup.py does not require'),
    ('greensip.compat.sippyish', 'from sippy.UA import UA', 'setup.py does not require'),
])
def test_a_violation_is_found(module: str, source: str, part: str) -> None:
    found = violations(source, module)
    assert len(found) == 1
    assert part in found[0]


@pytest.mark.parametrize(('module', 'source', 'is_package'), [
    ('greensip.message.uri', 'from . import grammar\nfrom .values import Via\nimport re', False),
    ('greensip.message', 'from .uri import Uri\nfrom greensip.errors import ParseError', True),
    ('greensip.message', 'from .. import errors', True),
    ('greensip.transport.udp', 'import gevent.socket, time\nfrom ..dialog.core import Core', False),
    ('greensip', 'from .ua import UserAgent\nfrom .cli import b2bua', True),
    ('greensip.compat.sippy', 'from sippy.Core.EventDispatcher import ED2', True),
    ('greensip.compat.sippy.udp', 'import sippy.Udp_server', False),
])
def test_what_is_allowed_passes(module: str, source: str, is_package: bool) -> None:
    assert violations(source, module, is_package) == []


def test_every_package_has_a_rank() -> None:
    assert {package_of(module) for module, _ in modules()} - {'', '__main__'} <= set(RANKS)
