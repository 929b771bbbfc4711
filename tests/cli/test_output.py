"""What a command prints and ends with, to readers that leave and disks that are full."""

from __future__ import annotations

import subprocess
import sys

import pytest

from greensip.cli.output import version

COMMANDS = {'greensip-b2bua': 'greensip.cli.b2bua', 'greensip-sippy': 'greensip.cli.sippy'}


@pytest.mark.parametrize('program', COMMANDS)
@pytest.mark.parametrize('option', ['--help', '--version'])
def test_a_reader_that_leaves_and_a_full_disk(program: str, option: str) -> None:
    def run(shell: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(['bash', '-c', shell], capture_output=True, text=True, timeout=30, check=False)

    line = f'exec 3>&1; {{ {sys.executable} -m {COMMANDS[program]} {option} || echo $? >&3; }}'
    done = run(f'{line} | true')
    assert (done.stdout, done.stderr) == ('', '')
    done = run(f'{line} > /dev/full')
    assert (done.stdout, done.stderr) == (
        '1\n', f'{program}: the output cannot be written: No space left on device\n')


def test_the_version() -> None:
    assert version()
