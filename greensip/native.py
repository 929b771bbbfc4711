"""What the compiled build has to be told.  Everything here does nothing in a plain one.

A wheel of greensip holds most modules twice: as Python, and compiled with mypyc from the same text.  A compiled class
cannot be derived from in Python unless it is marked::

    @mypyc_attr(allow_interpreted_subclasses=True)
    class Leg(Mailbox): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ['mypyc_attr']

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:
    def mypyc_attr(**options):
        """The decorator by which mypyc knows; mypy_extensions need not be there at run time."""
        return lambda cls: cls
