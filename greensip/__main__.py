"""``python -m greensip`` is the command ``greensip``."""

from __future__ import annotations

import sys

from greensip.cli.main import main

__all__: list[str] = []

if __name__ == '__main__':
    sys.exit(main())
