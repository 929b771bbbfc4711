"""``scripts/bench NAME [OPTIONS] [--write]``: run one of the measurements, and append it to BENCHMARKS.rst."""

from __future__ import annotations

import contextlib
import importlib
import sys

from . import report

BENCHMARKS = ('b2bua', 'call', 'parse', 'register', 'sippy-shim', 'transaction', 'transports')


def main(argv: list[str]) -> int:
    """Dispatch to the ``main(argv)`` of the named benchmark."""
    if not argv or argv[0] not in BENCHMARKS:
        print(f'usage: scripts/bench {{{",".join(BENCHMARKS)}}} [--help] [--write]', file=sys.stderr)
        return 2
    name, *arguments = (word for word in argv if word != '--write')
    benchmark = importlib.import_module(f'benchmarks.{name.replace("-", "_")}')
    if '--write' not in argv:
        return benchmark.main(arguments) or 0
    output = report.Tee()
    with contextlib.redirect_stdout(output):
        print(report.environment(), end='\n\n')
        status = benchmark.main(arguments) or 0
    if status == 0 or name in ('b2bua', 'sippy-shim', 'transports'):
        # A lost call is a figure too.
        report.write(' '.join(['scripts/bench', name, *arguments]), output.getvalue())
    return status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
