"""Documents that tell changes only: how versions are compared (RFC 3680 5.2, RFC 4235 4.3, RFC 4575 4.6)."""

from __future__ import annotations

from enum import StrEnum

from greensip.errors import ParseError

__all__ = ['FULL', 'PARTIAL', 'Merged', 'merge_version', 'read_state']

FULL, PARTIAL = 'full', 'partial'


class Merged(StrEnum):
    """What became of a document that was applied to what is known."""

    #: what is known is what there is
    COHERENT = 'coherent'
    #: older than what is known: nothing was done
    STALE = 'stale'
    #: it was applied, but one before it was missed: refresh the subscription to get the full state
    INCOMPLETE = 'incomplete'


def merge_version(known: int, version: int, state: str, *, again: bool = True) -> Merged:
    """What to do with a document of ``version`` when that of what is known is ``known``.

    ``again``: whether one of the same version is taken, as the RFCs have it but for RFC 4575.  There are notifiers
    that never count: full state of the same version is always taken.
    """
    if version < known or (version == known and not (again or state == FULL)):
        return Merged.STALE
    if state != FULL and version > known + 1:
        return Merged.INCOMPLETE
    return Merged.COHERENT


def read_state(text: str | None, allowed: tuple[str, ...] = (FULL, PARTIAL)) -> str:
    """The attribute ``state`` of a document or of a part of it; ``full`` where it is missing (RFC 4575 5.1)."""
    state = (text or FULL).strip()
    if state not in allowed:
        raise ParseError('not a state', state)
    return state
