"""Responses, ACK and CANCEL made from other messages."""

from __future__ import annotations

import pytest

from greensip.errors import ParseError, UsageError
from greensip.message import Request, Response, make_ack_for_failure, make_cancel, make_response, parse_message

FIELDS = [
    ('Via', 'SIP/2.0/UDP one;branch=z9hG4bK1 , SIP/2.0/UDP two;branch=z9hG4bK2'),
    ('Max-Forwards', '9'),
    ('v', 'SIP/2.0/UDP three'),
    ('Record-Route', '<sip:r1;lr>'),
    ('f', 'Alice  <sip:a@h>;tag=1'),
    ('Record-Route', '<sip:r2;lr>'),
    ('To', 'sip:b@h;user=phone'),
    ('Call-ID', 'x'),
    ('CSeq', '7 INVITE'),
    ('Timestamp', '54'),
    ('Route', '<sip:p1;lr>'),
    ('Route', '<sip:p2;lr>'),
    ('Require', '100rel'),
    ('Proxy-Authorization', 'Digest username="a"'),
    ('Contact', '<sip:a@h>'),
    ('Content-Type', 'application/sdp'),
]
VIAS = [('Via', FIELDS[0][1]), ('Via', FIELDS[2][1])]


def invite() -> Request:
    return Request('INVITE', 'sip:b@h;x', FIELDS, b'v=0')


def test_response() -> None:
    response = make_response(invite(), 486, to_tag='t')
    assert response.start_line == 'SIP/2.0 486 Busy Here'
    assert response.fields == [
        *VIAS, ('From', 'Alice  <sip:a@h>;tag=1'), ('To', 'sip:b@h;user=phone;tag=t'), ('Call-ID', 'x'),
        ('CSeq', '7 INVITE')]
    assert response.body == b'' and response.to_tag == 't' and response.branch == 'z9hG4bK1'
    assert parse_message(response.to_bytes()).to_bytes() == response.to_bytes()


@pytest.mark.parametrize(('method', 'code', 'extra'), [
    ('INVITE', 100, {'Timestamp'}), ('INVITE', 180, {'Record-Route'}), ('INVITE', 200, {'Record-Route'}),
    ('INVITE', 300, set()), ('BYE', 200, set()), ('SUBSCRIBE', 200, {'Record-Route'}), ('OPTIONS', 100, {'Timestamp'})])
def test_which_fields_are_copied(method: str, code: int, extra: set[str]) -> None:
    request = invite()
    request.method = method
    names = {name for name, _ in make_response(request, code).fields}
    assert names == {'Via', 'From', 'To', 'Call-ID', 'CSeq'} | extra
    assert make_response(request, 200).get_all('Record-Route') in ([], ['<sip:r1;lr>', '<sip:r2;lr>'])


def test_to_tag() -> None:
    request = invite()
    assert make_response(request, 100).get('To') == 'sip:b@h;user=phone'
    request.set('To', '<sip:b@h>;tag=theirs')
    assert make_response(request, 200, to_tag='ours').get('To') == '<sip:b@h>;tag=theirs'
    request.set('To', '"broken')
    assert make_response(request, 400, to_tag='ours').get('To') == '"broken'
    request.set('To', '<sip:b@h>')
    for tag in ('a b', 'a\r\nb', 'a;b'):
        with pytest.raises(UsageError):
            make_response(request, 200, to_tag=tag)


def test_response_to_what_lacks_everything() -> None:
    assert make_response(Request('INVITE', 'sip:h'), 400, to_tag='t').to_bytes() == (
        b'SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n')


def test_response_reason() -> None:
    assert make_response(invite(), 200, 'Fine').start_line == 'SIP/2.0 200 Fine'
    for code, reason in ((99, ''), (700, ''), (200, 'a\r\nb'), (200, 'a\0')):
        with pytest.raises(UsageError):
            make_response(invite(), code, reason)


def test_response_to_a_torture_request_keeps_its_octets() -> None:
    """What came in a quoted string goes back, although the program itself could not have written it."""
    data = b'OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: "\\\0\xff" <sip:b@h>\r\n\r\n'
    request = parse_message(data)
    assert isinstance(request, Request)
    assert b'To: "\\\0\xff" <sip:b@h>;tag=t\r\n' in make_response(request, 200, to_tag='t').to_bytes()


def test_ack_for_failure() -> None:
    request = invite()
    ack = make_ack_for_failure(request, make_response(request, 486, to_tag='t'))
    assert ack.start_line == 'ACK sip:b@h;x SIP/2.0'
    assert ack.fields == [
        ('Via', 'SIP/2.0/UDP one;branch=z9hG4bK1'), ('Max-Forwards', '70'), ('From', 'Alice  <sip:a@h>;tag=1'),
        ('To', 'sip:b@h;user=phone;tag=t'), ('Call-ID', 'x'), ('CSeq', '7 ACK'), ('Route', '<sip:p1;lr>'),
        ('Route', '<sip:p2;lr>'), ('Proxy-Authorization', 'Digest username="a"')]
    assert ack.body == b''


def test_cancel() -> None:
    request = invite()
    request.uri = 'tel:+1'
    cancel = make_cancel(request)
    assert cancel.start_line == 'CANCEL tel:+1 SIP/2.0'
    assert cancel.fields == [
        ('Via', 'SIP/2.0/UDP one;branch=z9hG4bK1'), ('Max-Forwards', '70'), ('From', 'Alice  <sip:a@h>;tag=1'),
        ('To', 'sip:b@h;user=phone'), ('Call-ID', 'x'), ('CSeq', '7 CANCEL'), ('Route', '<sip:p1;lr>'),
        ('Route', '<sip:p2;lr>')]
    assert cancel.branch == request.branch and cancel.uri == request.uri


def test_what_was_made_is_independent() -> None:
    request = invite()
    before = request.to_bytes()
    for made in (make_response(request, 200), make_cancel(request), make_ack_for_failure(request, Response(486))):
        made.set('Via', 'SIP/2.0/UDP other')
        made.add('X-A', 'b')
        made.remove('Route')
    assert request.to_bytes() == before


def test_nothing_to_cancel() -> None:
    with pytest.raises(ParseError):
        make_cancel(Request('INVITE', 'sip:h'))
