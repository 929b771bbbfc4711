"""Programs in processes of their own: sippy is patched for good in the one that imports the shim."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, needs_sippy: None) -> Run:
    """``run(program, *arguments)``: run the text of a program to its good end; what it printed."""
    def start(program: str, *arguments: str, command: list[str] | None = None) -> str:
        path = tmp_path / 'program.py'
        path.write_text(program, encoding='utf-8')
        done = subprocess.run([*(command or [sys.executable]), str(path), *arguments], capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL, cwd=tmp_path, check=False)
        assert (done.returncode, done.stderr) == (0, ''), done
        return done.stdout
    return start


@pytest.fixture
def private_network() -> list[str]:
    """What to write before a command, so that it has all ports of the loopback for itself, where that is possible."""
    prefix = ['unshare', '-n', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh']
    try:
        possible = subprocess.run([*prefix, 'true'], capture_output=True, check=False).returncode == 0
    except OSError:
        possible = False
    return prefix if possible else []
