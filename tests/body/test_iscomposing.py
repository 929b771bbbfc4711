"""Who is writing: the examples of RFC 3994."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from greensip.body import IsComposing, parse_iscomposing
from greensip.errors import ParseError

FOLDER = Path(__file__).parents[1] / 'data' / 'body'


@pytest.mark.parametrize(('name', 'expected', 'lasts'), [
    ('rfc3994-active.xml', IsComposing(True, kind='text/plain', refresh=90), 90),
    ('rfc3994-idle.xml', IsComposing(False, kind='audio', last_active=datetime(2003, 1, 27, 10, 43, tzinfo=UTC)), 0),
])
def test_the_examples(name: str, expected: IsComposing, lasts: int) -> None:
    document = parse_iscomposing((FOLDER / name).read_bytes())
    assert (document, document.lasts, hash(document)) == (expected, lasts, hash(expected))
    assert parse_iscomposing(document.to_bytes()) == document


@pytest.mark.parametrize(('inside', 'active', 'refresh', 'lasts'), [
    ('<state>active</state>', True, None, 120), ('<state>thinking</state>', False, None, 0),
    ('<state>active</state><refresh>0</refresh>', True, None, 120),
    ('<state>active</state><refresh>soon</refresh>', True, None, 120),
    ('<state>active</state><refresh>99999999999999999999</refresh>', True, 86400, 86400),
    ('<state> active </state><refresh>60</refresh>', True, 60, 60),
])
def test_states(inside: str, active: bool, refresh: int | None, lasts: int) -> None:
    document = parse_iscomposing(f'<isComposing>{inside}</isComposing>'.encode())
    assert (document.active, document.refresh, document.lasts) == (active, refresh, lasts)


def test_as_it_is_written() -> None:
    assert IsComposing(True, kind='text/plain', refresh=60).to_bytes() == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing">'
        b'<state>active</state><contenttype>text/plain</contenttype><refresh>60</refresh></isComposing>\n')
    assert (repr(IsComposing(True)), repr(IsComposing(False))) == ('<IsComposing active>', '<IsComposing idle>')


@pytest.mark.parametrize('data', [b'', b'<isComposing/>', b'<composing><state>active</state></composing>'])
def test_invalid(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_iscomposing(data)
