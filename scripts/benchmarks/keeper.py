"""Keep a program that puts itself into the background: ``keeper.py COMMAND...``

What it starts stays among this process's descendants, and ends when this process is told to
(SIGTERM, and SIGKILL two seconds later).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def children() -> list[int]:
    """Process ids of those that were started here or were left to us."""
    return [int(pid) for pid in Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()]


def main(command: list[str]) -> int:
    """Run ``command``, stay until its last process ended; status 1 when the command itself failed."""
    def end(number: int, _frame: object) -> None:
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if number == signal.SIGTERM else signal.SIGKILL)
        signal.alarm(2)

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), 'no subreaper here')
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end)
    first = os.posix_spawn(command[0], command, os.environ)
    failed = False
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.wait()
            failed |= pid == first and status != 0
    return int(failed)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
