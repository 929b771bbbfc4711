"""Messages in CPIM: after the examples of RFC 3862 and RFC 5438."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from greensip.body import CpimMessage, parse_cpim
from greensip.errors import ParseError, UsageError
from greensip.message import LIMITS

RFC3862 = b'''\
From: MR SANDERS <im:piglet@100akerwood.com>\r
To: Depressed Donkey <im:eeyore@100akerwood.com>\r
DateTime: 2000-12-13T13:40:00-08:00\r
Subject: the weather will be fine today\r
Subject:;lang=fr beau temps prevu pour aujourd'hui\r
NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r
Require: MyFeatures.VitalMessageOption\r
MyFeatures.VitalMessageOption: Confirmation-requested\r
MyFeatures.WackyMessageOption: Use-silly-font\r
\r
Content-type: text/xml; charset=utf-8\r
Content-ID: <1234567890@foo.com>\r
\r
<body>\r
Here is the text of my message.\r
</body>\r
'''

#: one block of header fields only, as RFC 5438 has it
RFC5438 = b'''\
From: Alice <im:alice@example.com>\r
To: Bob <im:bob@example.com>\r
NS: imdn <urn:ietf:params:imdn>\r
imdn.Message-ID: 34jk324j\r
DateTime: 2006-04-04T12:16:49-05:00\r
imdn.Disposition-Notification: positive-delivery, negative-delivery\r
Content-type: text/plain\r
Content-length: 12\r
\r
Hello World\r
'''


def test_the_example_of_rfc_3862() -> None:
    message = parse_cpim(RFC3862)
    assert message.get('from') == 'MR SANDERS <im:piglet@100akerwood.com>'
    assert [text for name, text in message.headers if name == 'Subject'] == [
        'the weather will be fine today', ";lang=fr beau temps prevu pour aujourd'hui"]
    assert message.content.essence == 'text/xml' and message.content.param('charset') == 'utf-8'
    assert message.body == b'<body>\r\nHere is the text of my message.\r\n</body>\r\n'
    assert (message.message_id, message.wants, message.is_notification) == (None, frozenset(), False)
    again = parse_cpim(message.to_bytes())
    assert again == message and hash(again) == hash(message)


def test_the_example_of_rfc_5438() -> None:
    message = parse_cpim(RFC5438)
    assert (message.message_id, message.wants) == ('34jk324j', {'positive-delivery', 'negative-delivery'})
    assert message.body == b'Hello World\r' and message.content.essence == 'text/plain'
    assert message.time == datetime(2006, 4, 4, 17, 16, 49, tzinfo=UTC)
    assert parse_cpim(message.to_bytes()) == message
    assert repr(message) == '<CpimMessage text/plain 12>'


@pytest.mark.parametrize(('data', 'body', 'content'), [
    (b'From: <sip:a>\n\nContent-Type: text/html\n\nhi', b'hi', 'text/html'),
    (b'\r\nContent-Type: text/html\r\n\r\nhi', b'hi', 'text/html'),
    (b'From: <sip:a>\r\n\r\n\r\nhi', b'hi', 'text/plain'),
    (b'From: <sip:a>\r\n <sip:b>\r\n\r\n\r\n', b'', 'text/plain'),
    (b'From: <sip:a>\r\n\r\nContent-Length: 99\r\n\r\nhi', b'hi', 'text/plain'),
    (b'From: <sip:a>\r\n\r\nContent-Length: x\r\n\r\nhi', b'hi', 'text/plain'),
])
def test_reading(data: bytes, body: bytes, content: str) -> None:
    message = parse_cpim(data)
    assert (message.body, message.content.essence) == (body, content)
    assert parse_cpim(message.to_bytes()) == message


@pytest.mark.parametrize(('headers', 'message_id'), [
    ([('NS', 'x <urn:ietf:params:imdn>'), ('x.Message-ID', '1'), ('imdn.Message-ID', '2')], '1'),
    ([('NS', '<urn:ietf:params:imdn>'), ('Message-ID', '1')], '1'),
    ([('NS', 'x <urn:other>'), ('x.Message-ID', '1')], None),
    ([('imdn.Message-ID', '2')], '2'),
])
def test_prefixes(headers: list[tuple[str, str]], message_id: str | None) -> None:
    assert CpimMessage(headers).message_id == message_id


@pytest.mark.parametrize(('data', 'what'), [
    (b'', 'no empty line'), (b'From: <sip:a>', 'no empty line'), (b'From: <sip:a>\r\n\r\n', 'no empty line'),
    (b'no colon\r\n\r\n\r\n', 'broken'), (b'a b: c\r\n\r\n\r\n', 'broken'), (b' : c\r\n\r\n\r\n', 'broken'),
    (b'From: a\0b\r\n\r\n\r\n', 'broken'), (b'From: a\rb\r\n\r\n\r\n', 'broken'),
    (b'a: b\r\n' * 1000 + b'\r\n\r\n', 'too many'), (b'a: ' + b'b' * LIMITS.head + b'\r\n\r\n\r\n', 'too many'),
])
def test_invalid(data: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_cpim(data)


@pytest.mark.parametrize('field', [('a b', 'c'), ('', 'c'), ('a', 'b\r\nc: d'), ('a', '\0')])
def test_what_cannot_be_written(field: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        CpimMessage([field]).to_bytes()
