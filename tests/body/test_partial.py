"""Versions of documents that tell changes."""

from __future__ import annotations

import pytest

from greensip.body import Merged
from greensip.body.partial import FULL, PARTIAL, merge_version, read_state
from greensip.errors import ParseError


@pytest.mark.parametrize(('known', 'version', 'state', 'again', 'result'), [
    (4, 5, PARTIAL, True, Merged.COHERENT), (4, 5, FULL, True, Merged.COHERENT),
    (4, 6, PARTIAL, True, Merged.INCOMPLETE), (4, 6, FULL, True, Merged.COHERENT),
    (4, 3, PARTIAL, True, Merged.STALE), (4, 3, FULL, True, Merged.STALE),
    (4, 4, PARTIAL, True, Merged.COHERENT), (4, 4, FULL, True, Merged.COHERENT),
    (4, 4, PARTIAL, False, Merged.STALE), (4, 4, FULL, False, Merged.COHERENT),
])
def test_merge_version(known: int, version: int, state: str, again: bool, result: Merged) -> None:
    assert merge_version(known, version, state, again=again) is result


def test_states() -> None:
    assert (read_state(None), read_state(' partial '), read_state('gone', ('gone',))) == ('full', 'partial', 'gone')
    with pytest.raises(ParseError):
        read_state('gone')
