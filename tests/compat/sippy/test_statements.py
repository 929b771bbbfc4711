"""Each statement about sippy's loop, timers, signals and servers: the same with sippy as it is and on the shim."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).with_name('statements.py')


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location('sippy_statements', PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STATEMENTS = load()


#: how often stock sippy is asked: its threads race, so it does not always do what it nearly always does
ATTEMPTS = 3


def run(how: str, *names: str) -> dict[str, str]:
    """What comes out of every check, or of those that are named."""
    done = subprocess.run([sys.executable, str(PROGRAM), how, *names], capture_output=True, text=True, timeout=400,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, str] = json.loads(done.stdout)
    return result


@cache
def outcomes(how: str) -> dict[str, str]:
    """What came out of every check."""
    return run(how)


@pytest.mark.usefixtures('needs_sippy')
@pytest.mark.parametrize('how', ['stock', 'shim', 'patched'])
@pytest.mark.parametrize('name', STATEMENTS.CHECKS)
def test_statement(name: str, how: str) -> None:
    expected = getattr(STATEMENTS.CHECKS[name], how)
    if expected == STATEMENTS.OPEN:
        return
    seen = [outcomes(how)[name]]
    while how == 'stock' and seen[-1] != expected and len(seen) < ATTEMPTS:
        seen.append(run(how, name)[name])
    assert seen[-1] == expected, seen


def test_where_the_shim_differs() -> None:
    different = {name for name, check in STATEMENTS.CHECKS.items() if check.stock != check.shim}
    assert different == {
        'a_large_datagram_comes_whole', 'a_port_that_cannot_be_does_no_harm', 'a_server_costs_no_threads',
        'a_server_is_shut_down_in_its_own_callback', 'datagrams_keep_their_order',
        'names_are_looked_up_and_keep_their_order', 'the_loop_itself_need_not_wait_for_its_call',
    }
