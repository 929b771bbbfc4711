"""``scripts/bench NAME [OPTIONS]``: run one of the measurements."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = ('b2bua', 'parse', 'transaction')


def main(argv: list[str]) -> int:
    """Dispatch to the ``main(argv)`` of the named benchmark."""
    if not argv or argv[0] not in BENCHMARKS:
        print(f'usage: scripts/bench {{{",".join(BENCHMARKS)}}} [--help]', file=sys.stderr)
        return 2
    return importlib.import_module(f'benchmarks.{argv[0]}').main(argv[1:]) or 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
