"""What a command prints and ends with: help, versions, lists."""

from __future__ import annotations

import importlib.metadata
import os
import sys

__all__ = ['show', 'version']


def show(text: str, program: str) -> int:
    """Print ``text``; whoever has seen enough of it may go.  Status 0, or 1 with a sentence where it cannot be written.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # So that the interpreter does not try to flush it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return 0
        sys.stderr.write(f'{program}: the output cannot be written: {error.strerror}\n')
        return 1
    return 0


def version() -> str:
    """The version of the installed package."""
    try:
        return importlib.metadata.version('greensip')
    except importlib.metadata.PackageNotFoundError:
        return '(not installed)'
