"""What a figure needs beside it: date, machine, versions; and the file that keeps figures."""

from __future__ import annotations

import datetime
import importlib.metadata
import io
import os
import platform
import subprocess
import sys
from pathlib import Path

from . import peers

REPORT = Path(__file__).parents[2] / 'BENCHMARKS.rst'


class Tee(io.StringIO):
    """Keeps what is printed, and prints it."""

    def write(self, text: str) -> int:
        """Print and keep."""
        sys.__stdout__.write(text)
        sys.__stdout__.flush()
        return super().write(text)


def environment() -> str:
    """The machine and the versions, a line each."""
    def first_line(command: list[str]) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return f'no {command[0]}'
        return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), '')

    def version(distribution: str) -> str:
        try:
            return f'{distribution} {importlib.metadata.version(distribution)}'
        except importlib.metadata.PackageNotFoundError:
            return f'no {distribution}'

    models = [line.partition(':')[2].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
              if line.startswith('model name')]
    commit = first_line(['git', '-C', str(REPORT.parent), 'describe', '--always', '--dirty'])
    libraries = ', '.join(version(name) for name in ('gevent', 'greenlet', 'sippy'))
    return '\n'.join([
        f'{datetime.date.today()}, greensip {commit}',
        f'{os.cpu_count()} cores, {(models or [platform.machine()])[0]}, {platform.system()}',
        f'CPython {platform.python_version()}, {libraries}',
        first_line([peers.find('kamailio') or 'kamailio', '-v']).removeprefix('version: '),
        first_line([peers.find('sipp') or 'sipp', '-v'])])


def write(title: str, text: str) -> None:
    """Append a run to BENCHMARKS.rst."""
    heading = f'{datetime.date.today()}: {title}'
    body = '\n'.join(f'    {line}'.rstrip() for line in text.strip().splitlines())
    with REPORT.open('a', encoding='utf-8') as file:
        file.write(f'\n{heading}\n{"-" * len(heading)}\n\n::\n\n{body}\n')
