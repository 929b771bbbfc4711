"""What is public says so: ``__all__`` in every module, correct and sorted, and a docstring on everything in it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from types import ModuleType

import pytest

#: packages whose classes are the public API: their methods need docstrings too
API = ('greensip.ua', 'greensip.testing')
#: packages that change others when imported, and what they need: they are looked at in a process of their own
PATCHING = {'greensip.compat.sippy': 'sippy'}
#: the only package to look at; set in such a process
ONLY = os.environ.get('GREENSIP_EXPORTS_OF', '')


def public_modules() -> list[str]:
    found = modules_of(ONLY or 'greensip')
    return [name for name in found if not any(part.startswith('_') for part in name.split('.'))]


def modules_of(name: str) -> list[str]:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    names = [name]
    for info in pkgutil.iter_modules(spec.submodule_search_locations, f'{name}.'):
        if info.ispkg and info.name not in PATCHING:
            names += modules_of(info.name)
        elif not info.ispkg:
            names.append(info.name)
    return names


@pytest.mark.parametrize('name', PATCHING)
@pytest.mark.skipif(bool(ONLY), reason='this is that process')
def test_packages_that_patch_others(name: str) -> None:
    pytest.importorskip(PATCHING[name])
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__],
                          env={**os.environ, 'GREENSIP_EXPORTS_OF': name}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def sort_key(name: str) -> tuple[int, list[tuple[int, int | str]]]:
    """Constants, then classes, then the rest, numbers by value (as ruff's RUF022 has it)."""
    kind = 0 if name.isupper() else 1 if name.lstrip('_')[:1].isupper() else 2
    return kind, [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r'(\d+)', name) if part]


@pytest.fixture(params=public_modules())
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_all_is_sorted_and_correct(module: ModuleType) -> None:
    names = getattr(module, '__all__', None)
    assert names is not None, 'no __all__'
    assert list(names) == sorted(set(names), key=sort_key)
    assert [name for name in names if not hasattr(module, name)] == []


def test_everything_public_is_documented(module: ModuleType) -> None:
    if is_compiled(module):
        pytest.skip('mypyc keeps no docstrings')
    missing = [] if (module.__doc__ or '').strip() else [module.__name__]
    for name in getattr(module, '__all__', ()):
        value = getattr(module, name)
        if (inspect.isclass(value) or inspect.isroutine(value)) and not is_documented(value):
            missing.append(name)
    assert missing == []


def is_compiled(module: ModuleType) -> bool:
    names = [module.__name__, *(getattr(value, '__module__', '') for value in vars(module).values())]
    return any(not (getattr(sys.modules.get(name), '__file__', None) or '.py').endswith('.py')
               for name in names if name and name.startswith('greensip'))


@pytest.mark.parametrize('name', API)
def test_every_method_of_the_api_is_documented(name: str) -> None:
    if is_compiled(importlib.import_module(name)):
        pytest.skip('mypyc keeps no docstrings')
    missing = []
    for class_name, cls in inspect.getmembers(importlib.import_module(name), inspect.isclass):
        if not cls.__module__.startswith('greensip.') or class_name not in importlib.import_module(name).__all__:
            continue
        for member, value in vars(cls).items():
            if member.startswith('_') or not (inspect.isroutine(value) or isinstance(value, property)):
                continue
            if not inspect.getdoc(getattr(cls, member)):
                missing.append(f'{class_name}.{member}')
    assert missing == []


def is_documented(value: object) -> bool:
    if not (getattr(value, '__module__', None) or '').startswith('greensip'):
        return True   # somebody else's, under a name of ours
    doc = getattr(value, '__doc__', None) or ''
    # A dataclass or NamedTuple without a docstring gets its signature as one.
    return bool(doc.strip()) and not doc.startswith(f'{getattr(value, "__name__", "")}(')
