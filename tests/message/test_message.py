"""Messages: fields, values, writing, what cannot be injected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from greensip.errors import ParseError, UsageError
from greensip.message import (
    CSeq,
    Message,
    NameAddr,
    Request,
    Response,
    SipUri,
    Via,
    check_request,
    parse_message,
    parse_uri,
)

INVITE = b'''\
INVITE sip:bob@biloxi.example.com SIP/2.0\r
Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bKnashds8, SIP/2.0/TCP two.example.com;branch=z9hG4bK2\r
v: SIP/2.0/TLS three.example.com;branch=z9hG4bK3\r
Max-Forwards: 70\r
To: Bob <sip:bob@biloxi.example.com>\r
From: "Alice" <sip:alice@atlanta.example.com>;tag=1928301774\r
Call-ID: a84b4c76e66710\r
CSeq: 314159 INVITE\r
contact: <sip:alice@pc33.atlanta.example.com>\r
Record-Route: <sip:p2.example.com;lr>\r
X-Custom: one, two\r
Record-Route: <sip:p1.example.com;lr>\r
k: timer, 100rel\r
x-custom: three\r
Content-Type: application/sdp\r
Content-Length: 4\r
\r
v=0
'''


def invite() -> Request:
    message = parse_message(INVITE)
    assert isinstance(message, Request)
    return message


def test_what_is_not_touched_goes_out_as_it_came() -> None:
    assert invite().to_bytes() == INVITE
    assert str(invite()) == INVITE.decode()


def test_fields_keep_names_and_order() -> None:
    assert [name for name, _ in invite().fields] == [
        'Via', 'v', 'Max-Forwards', 'To', 'From', 'Call-ID', 'CSeq', 'contact', 'Record-Route', 'X-Custom',
        'Record-Route', 'k', 'x-custom', 'Content-Type', 'Content-Length']


def test_texts() -> None:
    request = invite()
    assert request.get('call-id') == request.get('i') == request.call_id == 'a84b4c76e66710'
    assert request.get('X-CUSTOM') == 'one, two'
    assert request.get_all('X-Custom') == ['one, two', 'three']
    assert request.get('Subject') is None and request.get('Subject', '-') == '-'
    assert request.get_all('Subject') == []
    assert request.has('m') and not request.has('Route')
    with pytest.raises(UsageError):
        request.get('not a name')


def test_values() -> None:
    request = invite()
    assert request.via == Via('UDP', 'pc33.atlanta.example.com', None, {'branch': 'z9hG4bKnashds8'})
    assert [via.branch for via in request.vias] == ['z9hG4bKnashds8', 'z9hG4bK2', 'z9hG4bK3']
    assert (request.branch, request.from_tag, request.to_tag) == ('z9hG4bKnashds8', '1928301774', None)
    assert (request.from_.display, request.to.display) == ('Alice', 'Bob')
    assert request.cseq == CSeq(314159, 'INVITE')
    assert request.max_forwards == 70
    assert request.contact is not None and request.contact.uri.host == 'pc33.atlanta.example.com'
    assert request.contacts == [request.contact]
    assert [route.uri.host for route in request.record_routes] == ['p2.example.com', 'p1.example.com']
    assert request.routes == [] and request.expires is None and request.require == [] and request.reason_value is None
    assert request.supported == ['timer', '100rel']
    assert request.content_type is not None and request.content_type.essence == 'application/sdp'
    assert request.value('X-Custom') == 'one, two' and request.values('X-Custom') == ['one, two', 'three']
    assert request.value('Via') is request.via and request.value('To') is request.to


def test_values_are_read_once() -> None:
    request = invite()
    assert request.via is request.via
    assert request.from_ is request.value('From')
    assert request.vias is request.vias
    assert request.content_type is request.content_type
    request.forget_values()
    assert request.vias == invite().vias


def test_missing_and_broken() -> None:
    request = Request('INVITE', 'sip:a@b', [('From', 'broken')])
    for get in (lambda: request.via, lambda: request.branch, lambda: request.from_, lambda: request.to,
                lambda: request.call_id, lambda: request.cseq):
        with pytest.raises(ParseError):
            get()
    assert request.max_forwards is None and request.contact is None and request.contacts == []
    assert request.value('Date') is None and request.values('Date') == []


def test_set() -> None:
    request = invite()
    request.set('Via', 'SIP/2.0/UDP one.example.com;branch=z9hG4bKx')
    request.set('m', NameAddr(None, 'sip:b2b@example.com'))
    request.set('Max-Forwards', 69)
    request.set('CSEQ', CSeq(1, 'INVITE'))
    request.set('Supported', ['timer'])
    request.set('X-Custom', 'four')
    request.set('x-new', 'five')
    request.set('Date', datetime(2010, 11, 13, 23, 29, tzinfo=UTC))
    assert request.to_bytes() == b'''\
INVITE sip:bob@biloxi.example.com SIP/2.0\r
Via: SIP/2.0/UDP one.example.com;branch=z9hG4bKx\r
Max-Forwards: 69\r
To: Bob <sip:bob@biloxi.example.com>\r
From: "Alice" <sip:alice@atlanta.example.com>;tag=1928301774\r
Call-ID: a84b4c76e66710\r
CSeq: 1 INVITE\r
Contact: <sip:b2b@example.com>\r
Record-Route: <sip:p2.example.com;lr>\r
X-Custom: four\r
Record-Route: <sip:p1.example.com;lr>\r
Supported: timer\r
Content-Type: application/sdp\r
Content-Length: 4\r
x-new: five\r
Date: Sat, 13 Nov 2010 23:29:00 GMT\r
\r
v=0
'''


def test_values_follow_changes() -> None:
    request = invite()
    check_request(request)
    request.set('Via', 'SIP/2.0/UDP new;branch=n')
    request.set('From', '<sip:f@h>;tag=f')
    request.set('To', '<sip:t@h>;tag=t')
    request.set('CSeq', '7 INVITE')
    request.set('Contact', '<sip:c@h>')
    request.set('Supported', 'a, b')
    request.set('Content-Type', 'text/plain')
    assert (request.branch, request.from_tag, request.to_tag, request.cseq.number) == ('n', 'f', 't', 7)
    assert request.contact is not None and request.contact.uri == SipUri('c', 'h')
    assert request.contacts == [request.contact] and request.supported == ['a', 'b'] and len(request.vias) == 1
    assert request.content_type is not None and request.content_type.type == 'text'
    request.add('Via', 'SIP/2.0/UDP top;branch=top', first=True)
    assert request.branch == 'top' and [via.host for via in request.vias] == ['top', 'new']
    request.add('Supported', 'c')
    assert request.supported == ['a', 'b', 'c']
    request.remove('k')
    assert request.supported == [] and not request.has('Supported')
    request.remove('Contact')
    assert request.contact is None and request.contacts == []
    request.remove('Subject')


def test_add_keeps_spelling_of_unknown_names_only() -> None:
    request = Request('OPTIONS', 'sip:h')
    request.add('v', 'SIP/2.0/UDP a')
    request.add('X-B', '1')
    request.add('X-A', '0', first=True)
    request.add('call-id', 'x', first=True)
    assert request.fields == [('Call-ID', 'x'), ('X-A', '0'), ('Via', 'SIP/2.0/UDP a'), ('X-B', '1')]
    request.set('x-b', 2)
    assert request.fields[-1] == ('x-b', '2')
    request.remove('x-a')
    assert request.fields == [('Call-ID', 'x'), ('Via', 'SIP/2.0/UDP a'), ('x-b', '2')]


@pytest.mark.parametrize(('fields', 'body', 'lines'), [
    ([], b'', ['Content-Length: 0']),
    ([('Subject', 'x')], b'abc', ['Subject: x', 'Content-Length: 3']),
    ([('l', '77'), ('Subject', 'x')], b'abc', ['l: 3', 'Subject: x']),
    ([('Content-Length', '3'), ('Subject', ''), ('l', '3')], b'abc', ['Content-Length: 3', 'Subject: ']),
    ([('Content-Length', 0)], b'\xff\0', ['Content-Length: 2']),
])
def test_content_length_is_always_right(fields: list[tuple[str, Any]], body: bytes, lines: list[str]) -> None:
    head = '\r\n'.join(['SIP/2.0 200 OK', *lines, '', ''])
    response = Response(200, fields=fields, body=body)
    assert response.to_bytes() == head.encode() + body
    assert response.to_bytes() == head.encode() + body
    parse_message(response.to_bytes())


def test_content_length_counts_octets() -> None:
    message = Request('MESSAGE', 'sip:h', body='é'.encode())
    assert b'Content-Length: 2\r\n' in message.to_bytes()


def test_copy_is_independent() -> None:
    request = invite()
    check_request(request)
    for original in (request, Response(200, 'Fine', [('X-A', 'b'), ('Via', 'SIP/2.0/UDP a')], b'body')):
        before = original.to_bytes()
        copy = original.copy()
        assert isinstance(copy, Request if original is request else Response) and copy.to_bytes() == before
        copy.set('Via', 'SIP/2.0/UDP other')
        copy.add('X-New', 'y', first=True)
        copy.body = b''
        assert original.to_bytes() == before and copy.to_bytes() != before
        assert original.via.host != 'other' and copy.via.host == 'other'


def test_request_uri() -> None:
    request = Request('INVITE', 'sip:a%20b@h;x')
    assert request.uri_text == 'sip:a%20b@h;x' and request.start_line == 'INVITE sip:a%20b@h;x SIP/2.0'
    assert request.uri.user == 'a b'
    request.uri = SipUri('c', 'h')
    assert request.start_line == 'INVITE sip:c@h SIP/2.0' and request.uri.user == 'c'
    request.uri = 'tel:+1'
    assert request.uri == parse_uri('tel:+1')
    for text in ('', 'sip:a b@h', 'sip:a@h\r\nX: y', 'sip:a@h SIP/2.0', 'sip:\0@h'):
        with pytest.raises(UsageError):
            request.uri = text


def test_reason_phrase() -> None:
    assert Response(486).start_line == 'SIP/2.0 486 Busy Here'
    assert Response(499).start_line == 'SIP/2.0 499 Bad Request'
    assert Response(200, 'Fine').start_line == 'SIP/2.0 200 Fine'
    assert repr(Response(200)) == '<Response 200 OK>' and repr(Request('ACK', 'sip:h')) == '<Request ACK sip:h>'


INJECTIONS = ['a\r\nX: y', 'a\ny', 'a\ry', 'a\0y', '\r\n\r\nbody']


@pytest.mark.parametrize('text', INJECTIONS)
def test_nothing_can_be_injected(text: str) -> None:
    message = Request('INVITE', 'sip:h', [('Subject', 'x')])
    before = message.to_bytes()
    attempts = [
        lambda: message.set('Subject', text),
        lambda: message.set('X-New', text),
        lambda: message.add('X-New', text),
        lambda: message.add('X-New', text, first=True),
        lambda: message.set('Supported', ['a', text]),
        lambda: message.set('Contact', NameAddr(None, 'sip:h', {text: 'x'})),
        lambda: message.set('Via', Via(text, 'h')),
        lambda: message.set('Via', Via('UDP', text)),
        lambda: message.add(text, 'x'),
        lambda: message.set(text, 'x'),
        lambda: Request('INVITE', 'sip:h', [('Subject', text)]),
        lambda: Request('INVITE', 'sip:h', [(text, 'x')]),
        lambda: Request('INVITE', text),
        lambda: Request('INVITE', 'sip:' + text + '@h'),
        lambda: Request(text, 'sip:h'),
        lambda: Response(200, text),
        lambda: Response(200, fields=[('Subject', text)]),
    ]
    quoted = [
        lambda: message.set('Contact', NameAddr(text, 'sip:h')),
        lambda: message.set('Contact', NameAddr(None, 'sip:h', {'x': text})),
    ]
    if '\0' not in text:
        attempts += quoted
    for attempt in attempts:
        with pytest.raises(UsageError):
            attempt()
    assert message.to_bytes() == before
    if '\0' in text:
        # A NUL is in order as a quoted-pair (25.1).
        for attempt in quoted:
            attempt()
            assert '"a\\\0y"' in (message.get('Contact') or '')
            parse_message(message.to_bytes())


def test_nothing_can_be_injected_by_escapes() -> None:
    """What a peer escaped is refused or escaped again when it is put into a message."""
    message = Request('INVITE', 'sip:h')
    uri = parse_uri('sip:%0d%0aX:%0A%00@h;p=%0d%0a?Subject=a%0d%0aX:%20y')
    assert isinstance(uri, SipUri) and uri.user == '\r\nX' and uri.password == '\n\0'
    with pytest.raises(UsageError):
        message.set('Subject', uri.user)
    with pytest.raises(UsageError):
        message.set('Subject', uri.headers[0][1])
    with pytest.raises(UsageError):
        message.set('Contact', f'<sip:{uri.user}@h>')
    with pytest.raises(UsageError):
        message.uri = f'sip:{uri.user}@h'
    message.set('Contact', NameAddr(None, uri.replace(user=uri.user, host='other')))
    message.uri = SipUri(uri.user, 'h', params=uri.params)
    lines = message.to_bytes().split(b'\r\n')
    assert len(lines) == 5 and not any(b'\r' in line or b'\n' in line or b'\0' in line for line in lines)


def test_a_value_that_is_none() -> None:
    message = Request('INVITE', 'sip:h')
    for value in (None, 1.5, b'x', True, {}):
        with pytest.raises(UsageError):
            message.set('Subject', value)
    with pytest.raises(UsageError):
        message.set('Authorization', ['Digest a=b', 'Digest c=d'])
    with pytest.raises(UsageError):
        Response(99)
    with pytest.raises(UsageError):
        Response(700)


def test_text_that_cannot_be_encoded() -> None:
    message = Request('INVITE', 'sip:h', [('Subject', '\ud800')])
    with pytest.raises(UsageError):
        message.to_bytes()


def test_any_octets_survive() -> None:
    data = b'OPTIONS sip:\xff\xfe@h SIP/2.0\r\nSubject: \x80\xc3\xa9\xff\x01\r\nContent-Length: 2\r\n\r\n\xff\0'
    message = parse_message(data)
    assert message.to_bytes() == data
    copy = Request('OPTIONS', 'sip:h', [('Subject', message.get('Subject'))])
    assert b'Subject: \x80\xc3\xa9\xff\x01\r\n' in copy.to_bytes()


def test_fields_may_be_passed_on() -> None:
    """What a B2BUA does: chosen fields of one message become fields of another."""
    request = invite()
    wanted = [(name, text) for name, text in request.fields if name.lower().startswith('x-')]
    copy = Request('INVITE', request.uri, [('Via', Via('UDP', 'h')), *wanted, ('Max-Forwards', 69)], request.body)
    assert copy.fields == [('Via', 'SIP/2.0/UDP h'), ('X-Custom', 'one, two'), ('x-custom', 'three'),
                           ('Max-Forwards', '69')]
    assert copy.uri is request.uri and copy.body == request.body
    assert isinstance(copy, Message)
