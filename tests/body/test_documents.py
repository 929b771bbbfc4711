"""Which content type is read by what."""

from __future__ import annotations

from pathlib import Path

import pytest

from greensip.body import DOCUMENTS, PACKAGES, parse_document
from greensip.errors import ParseError
from greensip.message import parse_media_type

FOLDER = Path(__file__).parents[1] / 'data' / 'body'


@pytest.mark.parametrize(('content_type', 'body', 'kind'), [
    ('application/pidf+xml', 'rfc3863.xml', 'Presence'),
    ('Application/PIDF+XML; charset="UTF-8"', 'rfc4480.xml', 'Presence'),
    ('application/dialog-info+xml', 'rfc4235-04.xml', 'DialogInfo'),
    ('application/reginfo+xml', 'rfc3680-01.xml', 'RegInfo'),
    ('application/conference-info+xml', 'rfc4575.xml', 'ConferenceInfo'),
    ('application/im-iscomposing+xml', 'rfc3994-idle.xml', 'IsComposing'),
    ('message/imdn+xml', 'rfc5438-delivered.xml', 'Imdn'),
    ('application/simple-message-summary', b'Messages-Waiting: no\r\n', 'MessageSummary'),
    ('message/sipfrag;version=2.0', b'SIP/2.0 200 OK', 'SipFrag'),
    ('message/cpim', b'To: <sip:a>\r\n\r\n\r\n', 'CpimMessage'),
])
def test_by_content_type(content_type: str, body: str | bytes, kind: str) -> None:
    data = (FOLDER / body).read_bytes() if isinstance(body, str) else body
    document = parse_document(content_type, data)
    assert type(document).__name__ == kind
    assert parse_document(parse_media_type(content_type), document.to_bytes()) == document
    assert document.content_type in DOCUMENTS
    with pytest.raises(ParseError):
        parse_document(content_type, b'\0')


@pytest.mark.parametrize(('content_type', 'body'), [
    (None, b'x'), ('text/plain', b'x'), ('nonsense', b'x'), ('application/pidf+xml', b''),
])
def test_what_is_not_known(content_type: str | None, body: bytes) -> None:
    assert parse_document(content_type, body) is None


def test_every_package_has_a_parser() -> None:
    assert set(PACKAGES.values()) <= set(DOCUMENTS)


def test_a_program_may_add_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOCUMENTS, 'application/x-load', int)
    assert parse_document('application/x-load;v=1', b'42') == 42
