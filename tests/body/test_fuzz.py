"""Any octets give a document or a ParseError, and nothing else; what was read can be written, and read again.

The examples are derived from the test, not drawn at random, so that a run can be repeated.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greensip.body import DOCUMENTS, parse_document
from greensip.errors import ParseError

repeatable = settings(derandomize=True, deadline=None, max_examples=200)

FOLDER = Path(__file__).parents[1] / 'data' / 'body'
TYPES = {'rfc3863': 'application/pidf+xml', 'rfc4480': 'application/pidf+xml', 'pidf': 'application/pidf+xml',
         'rfc4235': 'application/dialog-info+xml', 'rfc3680': 'application/reginfo+xml',
         'rfc4575': 'application/conference-info+xml', 'rfc3994': 'application/im-iscomposing+xml',
         'rfc5438': 'message/imdn+xml'}
EXAMPLES = [(TYPES[path.stem.partition('-')[0]], path.read_bytes()) for path in sorted(FOLDER.iterdir())] + [
    ('message/sipfrag', b'SIP/2.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi'),
    ('application/simple-message-summary', b'Messages-Waiting: yes\r\nMessage-Account: sip:a@h\r\n'
     b'Voice-Message: 2/8 (0/2)\r\n\r\nTo: <sip:a@h>\r\nSubject: a\r\n b\r\n\r\nTo: x\r\n'),
    ('message/cpim', b'From: <sip:a>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 1\r\n\r\n'
     b'Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi'),
]
XML = [
    '<', '>', '/', '</', '/>', '<?xml version="1.0"?>', '<!DOCTYPE a>', '<![CDATA[', ']]>', '<!--', '-->', '&lt;',
    '&a;', '&#0;', '&#13;', '"', "'", '=', ' ', ':', 'xmlns="urn:x"', 'xmlns:x="urn:ietf:params:xml:ns:pidf"', 'x:',
    'presence', 'entity="a"', 'tuple', 'status', 'basic', 'open', 'dialog-info', 'dialog', 'id="1"', 'state', 'early',
    'reginfo', 'registration', 'aor="a"', 'contact', 'uri', 'version="1"', 'state="full"', 'conference-info', 'users',
    'user', 'isComposing', 'active', 'imdn', 'message-id', '\x00', 'é', '\ud800', '\n',
]
TEXT = [
    b'SIP/2.0 ', b'200', b' OK', b'\r\n', b'\r\n', b'\n', b'\r', b': ', b':', b'To', b'Content-Length',
    b'Content-Type', b'1', b'999999999999', b'Messages-Waiting', b'yes', b'Voice-Message', b'1/2', b' (3/4)', b'/',
    b'NS', b'imdn <', b'x', b'\x00', b'\xff', b' ', b'\t', b'INVITE sip:a SIP/2.0', b'Content-Disposition',
    b'notification', b'-',
]


def look_at(document: Any) -> None:
    """All that may be asked of a document from the network."""
    repr(document), hash(document)
    for name in ('status', 'is_open', 'activities', 'note', 'busy', 'ringing', 'uris', 'voice', 'fax', 'code', 'reason',
                 'method', 'wants', 'message_id', 'time', 'is_notification', 'lasts'):
        getattr(document, name, None)
    if hasattr(document, 'apply'):
        other = type(document).apply
        other(document, parse_document(document.content_type, document.to_bytes()))


def exercise(content_type: str, data: bytes) -> None:
    try:
        document = parse_document(content_type, data)
    except ParseError as error:
        assert str(error) and error.status in (400, 505, 513)
        return
    if document is None:
        assert not data
        return
    written = document.to_bytes()
    again = parse_document(content_type, written)
    assert again is not None and again.to_bytes() == written
    look_at(document)
    look_at(again)


@repeatable
@given(st.sampled_from(sorted(DOCUMENTS)), st.binary(max_size=200))
def test_any_octets(content_type: str, data: bytes) -> None:
    exercise(content_type, data)


@repeatable
@given(st.sampled_from(sorted(DOCUMENTS)), st.lists(st.sampled_from(XML), max_size=40))
def test_pieces_of_xml(content_type: str, pieces: list[str]) -> None:
    exercise(content_type, ''.join(pieces).encode('utf-8', 'surrogatepass'))


@repeatable
@given(st.sampled_from(['message/sipfrag', 'application/simple-message-summary', 'message/cpim']),
       st.lists(st.sampled_from(TEXT), max_size=40))
def test_pieces_of_text(content_type: str, pieces: list[bytes]) -> None:
    exercise(content_type, b''.join(pieces))


@pytest.mark.parametrize(('content_type', 'data'), EXAMPLES)
def test_every_truncation(content_type: str, data: bytes) -> None:
    for size in range(0, len(data), 1 if len(data) < 700 else 7):
        exercise(content_type, data[:size])


@pytest.mark.parametrize(('content_type', 'data'), EXAMPLES)
def test_octets_replaced(content_type: str, data: bytes) -> None:
    for index in range(0, len(data), 1 if len(data) < 700 else 3):
        for octet in b'\0<>&"\xff\n 9':
            changed = bytearray(data)
            changed[index] = octet
            exercise(content_type, bytes(changed))


@pytest.mark.parametrize(('content_type', 'data'), EXAMPLES)
def test_one_for_the_other(content_type: str, data: bytes) -> None:
    """A body under the wrong type."""
    for other in DOCUMENTS:
        if other != content_type:
            exercise(other, data)


@repeatable
@given(st.sampled_from(EXAMPLES), st.sampled_from(EXAMPLES), st.integers(0, 2000), st.integers(0, 2000))
def test_halves_put_together(one: tuple[str, bytes], two: tuple[str, bytes], first: int, second: int) -> None:
    exercise(one[0], one[1][:first] + two[1][second:])


@pytest.mark.parametrize(('content_type', 'data'), [
    ('application/pidf+xml', b'<presence entity="a">' + b'<a>' * 80000),
    ('application/pidf+xml', b'<presence entity="a">' + b'<a/>' * 60000 + b'</presence>'),
    ('application/pidf+xml', b'<presence ' + b''.join(b'a%d="" ' % number for number in range(20000))
     + b'entity="a"/>'),
    ('application/pidf+xml', b'<presence entity="' + b'&amp;' * 50000 + b'"/>'),
    ('application/pidf+xml', b'<presence entity="a"><note>' + b'&lt;' * 60000 + b'</note></presence>'),
    ('application/dialog-info+xml', b'<dialog-info>' + b'<dialog id="1"><state>early</state></dialog>' * 5000
     + b'</dialog-info>'),
    ('application/simple-message-summary', b'Voice-Message: ' + b'9' * 200000 + b'/1'),
    ('application/simple-message-summary', b'Messages-Waiting: yes\r\n\r\nA: b\r\n' + b' c\r\n' * 900),
    ('message/sipfrag', b'SIP/2.0 200 ' + b'x' * 60000), ('message/sipfrag', b'\r\n' * 100000),
    ('message/cpim', b'\n' * 200000), ('message/cpim', b'a: b\r\n' * 40000),
], ids=lambda value: value if isinstance(value, str) else '')
def test_a_great_deal_takes_little(content_type: str, data: bytes) -> None:
    tracemalloc.start()
    try:
        exercise(content_type, data)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 20_000_000
