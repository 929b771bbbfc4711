"""Fragments of messages: the examples of RFC 3420 3.1 and 3.2, and what phones put into a NOTIFY."""

from __future__ import annotations

import pytest

from greensip.body import SipFrag, make_sipfrag, parse_sipfrag
from greensip.errors import ParseError, UsageError
from greensip.message import Message, Request, Response

BODY = b'v=0\r\no=alice 2890844526 2890844526 IN IP4 host.anywhere.com\r\ns=-\r\n'

# what, text, code, method, fields, body
VALID = [
    ('a request line', b'INVITE sip:alice@atlanta.com SIP/2.0', None, 'INVITE', [], b''),
    ('a status line', b'SIP/2.0 603 Declined', 603, None, [], b''),
    ('and its end', b'SIP/2.0 603 Declined\r\n', 603, None, [], b''),
    ('and an empty line', b'SIP/2.0 603 Declined\r\n\r\n', 603, None, [], b''),
    ('a folded field', b'REGISTER sip:atlanta.com SIP/2.0\r\nTo: sip:alice@atlanta.com\r\n'
     b'Contact: <sip:alicepc@atlanta.com>;q=0.9,\r\n         <sip:alicemobile@atlanta.com>;q=0.1\r\n', None, 'REGISTER',
     [('To', 'sip:alice@atlanta.com'),
      ('Contact', '<sip:alicepc@atlanta.com>;q=0.9, <sip:alicemobile@atlanta.com>;q=0.1')], b''),
    ('a warning', b'SIP/2.0 400 Bad Request\r\nWarning: 399 atlanta.com Your Event header field was malformed\r\n', 400,
     None, [('Warning', '399 atlanta.com Your Event header field was malformed')], b''),
    ('no start line', b'From: Alice <sip:alice@atlanta.com>\r\nTo: Bob <sip:bob@biloxi.com>\r\n'
     b'Date: Thu, 21 Feb 2002 13:02:03 GMT\r\nCall-ID: a84b4c76e66710\r\nCseq: 314159 INVITE\r\n', None, None,
     [('From', 'Alice <sip:alice@atlanta.com>'), ('To', 'Bob <sip:bob@biloxi.com>'),
      ('Date', 'Thu, 21 Feb 2002 13:02:03 GMT'), ('Call-ID', 'a84b4c76e66710'), ('Cseq', '314159 INVITE')], b''),
    ('a body, shorter than it is said to be', b'SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\n'
     b'Content-Length: 247\r\n\r\n' + BODY, 200, None,
     [('Content-Type', 'application/sdp'), ('Content-Length', '247')], BODY),
    ('a body, and something behind it', b'Content-Type: text/plain\r\nContent-Length: 9\r\n\r\nHi There!\r\n',
     None, None, [('Content-Type', 'text/plain'), ('Content-Length', '9')], b'Hi There!'),
    ('bare line feeds', b'SIP/2.0 180 Ringing\nTo: sip:a@h\n\n', 180, None, [('To', 'sip:a@h')], b''),
    ('a response without its body', b'SIP/2.0 200 OK\r\nContent-Length: 200\r\n\r\n', 200, None,
     [('Content-Length', '200')], b''),
    ('no reason phrase', b'SIP/2.0 200', 200, None, [], b''),
]


@pytest.mark.parametrize(('text', 'code', 'method', 'fields', 'body'), [row[1:] for row in VALID],
                         ids=[row[0] for row in VALID])
def test_valid(text: bytes, code: int | None, method: str | None, fields: list[tuple[str, str]], body: bytes) -> None:
    frag = parse_sipfrag(text)
    assert (frag.code, frag.method, frag.message.fields, frag.message.body) == (code, method, fields, body)
    again = parse_sipfrag(frag.to_bytes())
    assert again == frag and hash(again) == hash(frag) and again.start_line == frag.start_line


@pytest.mark.parametrize(('text', 'what'), [
    (b'', 'empty'), (b'\r\n', 'empty'),
    (b'INVITE', 'broken header field'),
    (b'INVITE sip:alice@atlanta.com SIP/1.09', 'SIP version'),
    (b'SIP/2.0', 'not a SIP message'),
    (b'SIP/2.0 OK', 'broken status code'),
    (b'404 Not Found', 'broken header field'),
    (b'MESSAGE sip:alice@atlanta.com SIP/2.0\r\nHi There!', 'broken header field'),
    (b'SIP/2.0 200 OK\rTo: sip:a@h', 'bare CR'),
    (b'To: sip:a\0@h', 'NUL'),
    (b'X: y\r\nContent-Length: z\r\n\r\nbody', 'Content-Length'),
    (b'SIP/2.0 200 OK\r\nX: ' + b'y' * 40000, 'too large'),
    (b'SIP/2.0 200 OK\r\n' + b'X: y\r\n' * 1000, 'too many'),
], ids=lambda value: value[:20] if isinstance(value, bytes) else '')
def test_invalid(text: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_sipfrag(text)


@pytest.mark.parametrize('text', [
    b'INVITE sip:alice@atlanta.com SIP/2.0\r\nVia: SIP/2.0/UDP ;branch=z9hG4bK29342a\r\n', b'To: <>;tag=39234',
])
def test_a_broken_value_is_found_when_it_is_read(text: bytes) -> None:
    frag = parse_sipfrag(text)
    name = frag.message.fields[0][0]
    with pytest.raises(ParseError):
        frag.message.value(name)


def test_what_is_made_of_a_response_keeps_to_itself_what_nobody_asked_for() -> None:
    response = Response(486, 'Busy here', [
        ('Via', 'SIP/2.0/UDP h;branch=z9hG4bK1'), ('Warning', '399 h "no"'), ('Contact', '<sip:secret@192.0.2.1>'),
        ('Content-Length', '4')], b'body')
    assert make_sipfrag(response).to_bytes() == b'SIP/2.0 486 Busy here\r\n'
    frag = make_sipfrag(response, ['warning'])
    assert frag.to_bytes() == b'SIP/2.0 486 Busy here\r\nWarning: 399 h "no"\r\n'
    assert (frag.code, frag.reason, frag.method) == (486, 'Busy here', None)


def test_what_is_made_of_a_request() -> None:
    frag = make_sipfrag(Request('INVITE', 'sip:bob@h', [('f', '<sip:a@h>;tag=1')]), ['From'])
    assert frag.to_bytes() == b'INVITE sip:bob@h SIP/2.0\r\nf: <sip:a@h>;tag=1\r\n'
    assert (frag.code, frag.reason, frag.method, repr(frag)) == (None, '', 'INVITE',
                                                                '<SipFrag INVITE sip:bob@h SIP/2.0>')


def test_nothing_is_made_of_header_fields_alone() -> None:
    with pytest.raises(UsageError):
        make_sipfrag(Message([('To', 'sip:a@h')]))


def test_a_fragment_equals_fragments_only() -> None:
    assert SipFrag(Response(200)) == parse_sipfrag(b'SIP/2.0 200 OK')
    assert SipFrag(Response(200)) != b'SIP/2.0 200 OK\r\n'
