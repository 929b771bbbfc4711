"""Reports on messages: after the examples of RFC 5438."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from greensip.body import Imdn, ask, parse_cpim, parse_imdn, report
from greensip.errors import ParseError, UsageError

FOLDER = Path(__file__).parents[1] / 'data' / 'body'
TIME = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_the_example() -> None:
    imdn = parse_imdn((FOLDER / 'rfc5438-delivered.xml').read_bytes())
    assert (imdn.message_id, imdn.kind, imdn.status) == ('34jk324j', 'delivery', 'delivered')
    assert (imdn.recipient, imdn.original_recipient) == ('im:bob@example.com', 'im:bob@example.com')
    assert imdn.time == datetime(2008, 4, 4, 12, 16, 49, tzinfo=timezone(timedelta(hours=-5)))
    again = parse_imdn(imdn.to_bytes())
    assert again == imdn and hash(again) == hash(imdn) and repr(imdn) == '<Imdn 34jk324j delivered>'


@pytest.mark.parametrize(('status', 'kind', 'expected'), [
    ('delivered', None, 'delivery'), ('failed', None, 'delivery'), ('error', None, 'delivery'),
    ('processed', None, 'processing'), ('stored', None, 'processing'), ('displayed', None, 'display'),
    ('forbidden', 'display', 'display'), ('error', 'processing', 'processing'),
])
def test_every_status(status: str, kind: str | None, expected: str) -> None:
    imdn = Imdn('1', status, kind=kind, subject='R & D', time=TIME)
    assert imdn.kind == expected
    again = parse_imdn(imdn.to_bytes())
    assert (again, again.kind, again.subject) == (imdn, expected, 'R & D')


@pytest.mark.parametrize(('data', 'what'), [
    (b'', 'well-formed'), (b'<imdn/>', 'no message'), (b'<imdn><message-id>1</message-id></imdn>', 'of nothing'),
    (b'<imdn><message-id>1</message-id><display-notification/></imdn>', 'known status'),
    (b'<imdn><message-id>1</message-id><display-notification><status><stored/></status></display-notification></imdn>',
     'known status'),
])
def test_invalid(data: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_imdn(data)


def test_a_status_as_text() -> None:
    assert parse_imdn(b'<imdn><message-id>1</message-id><delivery-notification><status>failed</status>'
                      b'</delivery-notification></imdn>').status == 'failed'


@pytest.mark.parametrize(('status', 'kind'), [('lost', None), ('displayed', 'delivery'), ('error', 'dinner')])
def test_what_makes_no_sense(status: str, kind: str | None) -> None:
    with pytest.raises(UsageError):
        Imdn('1', status, kind=kind)


def test_a_message_and_its_report() -> None:
    question = parse_cpim(ask('sip:alice@a', 'sip:bob@b', 'grüße'.encode(), 'x1', ['positive-delivery', 'display'],
                              time=TIME).to_bytes())
    assert (question.message_id, question.wants, question.time) == ('x1', {'positive-delivery', 'display'}, TIME)
    assert question.body.decode() == 'grüße' and not question.is_notification
    answer = parse_cpim(report(question, 'displayed', 'y2', time=TIME).to_bytes())
    assert (answer.get('From'), answer.get('To'), answer.message_id) == ('<sip:bob@b>', '<sip:alice@a>', 'y2')
    assert answer.is_notification and answer.content.essence == 'message/imdn+xml' and answer.wants == frozenset()
    imdn = parse_imdn(answer.body)
    assert (imdn.message_id, imdn.status, imdn.recipient, imdn.original_recipient, imdn.time) == (
        'x1', 'displayed', 'sip:bob@b', 'sip:bob@b', TIME)


def test_there_is_no_report_on_a_report() -> None:
    question = ask('sip:alice@a', 'sip:bob@b', b'', 'x1', ())
    assert question.wants == frozenset()
    answer = report(question, 'delivered', 'y2')
    with pytest.raises(UsageError):
        report(answer, 'delivered', 'z3')
    question.headers = [field for field in question.headers if field[0] != 'imdn.Message-ID']
    with pytest.raises(UsageError):
        report(question, 'delivered', 'z3')
