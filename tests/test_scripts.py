"""The scripts that a person types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout,
                          stdin=subprocess.DEVNULL)


def test_demo() -> None:
    done = run(sys.executable, 'scripts/demo.py')
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ('1. answered', '2. fails over', '3. cancelled', '|--', '"code":487', 'All calls went as they should.'):
        assert text in done.stdout


@pytest.mark.parametrize('arguments', [(), ('nothing',), ('b2bua', '--against', 'nobody'), ('b2bua', '--rate', 'x'),
                                       ('sippy-shim', '--pace', '40'), ('sippy-shim', '--against', 'nobody'),
                                       ('register', '--bindings', '0')])
def test_bench_refuses_what_it_does_not_know(arguments: tuple[str, ...]) -> None:
    done = run('scripts/bench', *arguments)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert 'usage: scripts/bench' in done.stderr


@pytest.mark.parametrize('name', ['b2bua', 'call', 'parse', 'register', 'sippy-shim', 'transaction'])
def test_bench_tells_its_options(name: str) -> None:
    done = run('scripts/bench', name, '--help')
    assert done.returncode == 0
    assert f'usage: scripts/bench {name}' in done.stdout


def test_the_sources_hold_what_is_beside_the_package(tmp_path: Path) -> None:
    pytest.importorskip('setuptools')
    done = run(sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', tmp_path)
    assert done.returncode == 0, done.stderr
    found = set((tmp_path / 'greensip.egg-info' / 'SOURCES.txt').read_text(encoding='utf-8').splitlines())
    assert {'PJSUA.rst', 'CHANGES.rst', 'CONTRIBUTING.rst', 'BENCHMARKS.rst', 'LICENSE', '.ci/run', 'scripts/demo',
            'scripts/benchmarks/scenarios/uas.xml', 'examples/call.py', 'examples/wss_echo.html', 'tests/conftest.py',
            'tests/ua/test_leg.py', 'greensip/py.typed'} <= found
    assert not [name for name in found if name.endswith('.pyc') or name.startswith('.venv')]
