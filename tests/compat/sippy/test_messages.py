"""Messages and their values on the way between sippy and greensip."""

from __future__ import annotations

from typing import Any

import pytest

from greensip import UsageError, parse_name_addr, parse_uri
from greensip.message import Request, Response, parse_message
from greensip.transaction.flow import Flow, Point

pytest.importorskip('sippy')

from sippy.MsgBody import MsgBody
from sippy.SdpOrigin import SdpOrigin
from sippy.SipAddress import SipAddress
from sippy.SipContentType import SipContentType
from sippy.SipHeader import SipHeader
from sippy.SipRequest import SipRequest
from sippy.SipRoute import SipRoute
from sippy.SipURL import SipURL
from sippy.Time.MonoTime import MonoTime

from greensip.compat.sippy.messages import (
    Local,
    body_octets,
    extra_fields,
    make_request,
    make_response,
    name_addr,
    next_hop,
    sip_uri,
    sippy_address,
    sippy_body,
    sippy_headers,
    sippy_url,
)

LOCAL: Local = (('192.0.2.1', 5062), 'udp')
FLOW = Flow(Point('UDP', ('192.0.2.1', 5062)), ('198.51.100.7', 40000))

INVITE = b"""INVITE sip:bob@192.0.2.1;user=phone SIP/2.0
Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;rport, SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKy
Max-Forwards: 12
From: "A ""B" <sip:alice@example.com>;tag=a
To: <sip:bob@example.com>
Call-ID: one@example.com
CSeq: 7 INVITE
Contact: <sip:alice@10.0.0.1;transport=UDP>;q=0.5;+sip.instance="<urn:uuid:1>"
Record-Route: <sip:p1;lr>, <sip:p2;lr>
Reason: SIP;cause=302;text="moved, twice"
X-Odd:
Supported: 100rel, timer
Content-Type: application/sdp
Content-Length: 5

v=0
\xff""".replace(b'"A ""B"', rb'"A \"B\""').replace(b'\n', b'\r\n').replace(b'\r\n\xff', b'\r\xff')


@pytest.mark.parametrize('text', [
    'sip:bob@192.0.2.7', 'sip:192.0.2.7:5070', 'sips:bob@example.com', 'sip:bob:pw@example.com:5061;transport=tcp;lr',
    'sip:+49;phone-context=x@example.com;user=phone', 'sip:bob@[2001:db8::1]:5060;ttl=3;maddr=192.0.2.9;method=INVITE',
    'sip:bob@example.com;x=1;flag?Subject=hello',
])
def test_uri_there_and_back(text: str) -> None:
    url = sippy_url(parse_uri(text))
    assert str(url) == text
    assert str(sip_uri(url, LOCAL)) == text


def test_uris_that_change() -> None:
    """A transport is written in small letters, a number has our own address, and what else there is has no word."""
    assert sippy_url(parse_uri('sip:b@192.0.2.7;transport=UDP')).getTAddr() == (('192.0.2.7', 5060), 'udp')
    assert sippy_url(parse_uri('tel:+4930123')).username == '+4930123'
    assert sippy_url(parse_uri('mailto:a@b')) is None
    assert sippy_address(parse_name_addr('<mailto:a@b>')) is None


@pytest.mark.parametrize(('url', 'text'), [
    (SipURL(username='a b\r\nX: y', host='h'), 'sip:a%20b%0D%0AX%3A%20y@h'),
    (SipURL(username='', host='h', port=None), 'sip:h'),
    (SipURL(username='me'), 'sip:me@192.0.2.1:5062'),
    (SipURL(username='me', host='[2001:db8::1]', port=5060), 'sip:me@[2001:db8::1]:5060'),
    (SipURL(username='me', host='h', port='5070', transport='tls'), 'sip:me@h:5070;transport=tls'),
])
def test_urls_of_a_program(url: Any, text: str) -> None:
    assert str(sip_uri(url, LOCAL)) == text


def test_a_host_that_is_none() -> None:
    with pytest.raises(UsageError):
        sip_uri(SipURL(username='me', host='a b'), LOCAL)


@pytest.mark.parametrize(('text', 'name'), [
    ('"A. \\"the\\" B" <sip:a@h>', 'A. \\"the\\" B'), ('Alice <sip:a@h>', 'Alice'), ('<sip:a@h>', ''), ('sip:a@h', ''),
    ('"Jörg" <sip:a@h>;tag=7;x="y z"', 'Jörg'),
])
def test_names(text: str, name: str) -> None:
    address = sippy_address(parse_name_addr(text))
    assert address.name == name
    back = name_addr(address, LOCAL)
    assert back.display == parse_name_addr(text).display
    # sippy writes what greensip reads as the same.
    assert parse_name_addr(str(address)) == parse_name_addr(text)


def test_a_name_of_a_program() -> None:
    address = SipAddress(name='Eve"\r\nX: y', url=SipURL(username='a', host='h'))
    assert str(name_addr(address, LOCAL)) == '"Eve\\"  X: y" <sip:a@h>'


def test_a_request_as_sippy_reads_it() -> None:
    message = parse_message(INVITE)
    assert isinstance(message, Request)
    before = message.to_bytes()
    request = make_request(message, FLOW, MonoTime())
    assert message.to_bytes() == before
    assert (request.getMethod(), str(request.getRURI())) == ('INVITE', 'sip:bob@192.0.2.1;user=phone')
    assert [via.getTAddr() for via in request.getHFBodys('via')] == [('198.51.100.7', 40000), ('10.0.0.2', 5060)]
    assert request.getSource(ver=2) == (('198.51.100.7', 40000), 'udp')
    assert request.getHFBody('from').getTag() == 'a' and request.getHFBody('to').getTag() is None
    assert request.getHFBody('from').getUri().name == 'A \\"B\\"'
    contact = request.getHFBody('contact')
    assert contact.getUrl().getTAddr() == (('10.0.0.1', 5060), 'udp')
    assert contact.getUri().params == {'q': '0.5', '+sip.instance': '"<urn:uuid:1>"'}
    assert [str(route) for route in request.getHFBodys('record-route')] == ['<sip:p1;lr>', '<sip:p2;lr>']
    assert request.getHFBody('reason').cause == 302
    assert request.getHFBody('max-forwards').getNum() == 12
    assert request.getHFBody('cseq').getCSeq() == (7, 'INVITE')
    assert str(request.getHFBody('call-id')) == 'one@example.com'
    assert request.countHFs('x-odd') == 1
    assert request.countHFs('content-type') == request.countHFs('content-length') == 0
    assert request.leg is None and request.getCopy().leg is None
    # What sippy reads of its own text is the same.
    again = SipRequest(str(request))
    assert again.getTIds() == request.getTIds()
    response = request.genResponse(200, 'OK')
    assert response.getHFBody('cseq').getCSeq() == (7, 'INVITE')
    with pytest.raises(UsageError, match='must be a NativeUA'):
        response.getTId(wBRN=True)


def test_an_invite_without_contact() -> None:
    message = Request('INVITE', 'sip:b@h', [('Via', 'SIP/2.0/UDP h;branch=z9hG4bKx'), ('From', '<sip:a@h>;tag=1'),
                                            ('To', '<sip:b@h>'), ('Call-ID', 'x'), ('CSeq', '1 INVITE')])
    request = make_request(message, FLOW, MonoTime())
    assert request.getHFBody('contact').getUrl().getAddr() == ('198.51.100.7', 40000)


def test_what_cannot_be_read_is_left_out() -> None:
    message = Response(200, 'OK', [('Contact', '<<>'), ('Record-Route', '@'), ('Contact', '<sip:x@h>'), ('Via', ''),
                                   ('Reason', 'no parameters'), ('X-Any', 'kept')])
    names = [header.name for header in sippy_headers(message)]
    assert 'contact' not in names and 'record-route' not in names and 'x-any' in names


@pytest.mark.parametrize(('code', 'body'), [(100, None), (183, 'x'), (200, 'x'), (302, 'x'), (404, None), (603, None)])
def test_bodies_that_sippy_shows(code: int, body: str | None) -> None:
    sent = SipRequest(method='INVITE', ruri=SipURL(username='b', host='h'), cseq=77, callid=None, fr0m=None)
    message = Response(code, 'R', [('CSeq', '3 INVITE'), ('Content-Type', 'text/plain')], b'x')
    response = make_response(message, sent, MonoTime())
    assert response.getSCode() == (code, 'R')
    assert response.getHFBody('cseq').getCSeq() == (77, 'INVITE')
    assert (response.getBody() and str(response.getBody())) == body


@pytest.mark.parametrize(('kind', 'data'), [
    ('application/sdp', b'v=0\r\n'), ('multipart/mixed;boundary=b', b'--b--'), ('application/isup', bytes(range(256))),
])
def test_bodies_there_and_back(kind: str, data: bytes) -> None:
    message = Request('INFO', 'sip:b@h', [('Content-Type', kind)], data)
    body = sippy_body(message)
    assert body_octets(body, LOCAL) == (data, kind)
    assert body_octets(body.getCopy(), LOCAL)[0] == data


def test_bodies_of_a_program() -> None:
    assert sippy_body(Request('INFO', 'sip:b@h', [])) is None
    assert body_octets(None, LOCAL) == (b'', None)
    assert body_octets(MsgBody('v=0'), LOCAL) == (b'v=0', 'application/sdp')
    assert body_octets(MsgBody('x', SipContentType('text/plain')), LOCAL) == (b'x', 'text/plain')
    # A parameter without a value is too much for sippy.
    assert sippy_body(Request('INFO', 'sip:b@h', [('Content-Type', 'text/x; odd')], b'x')).getType() == 'text/x'


def test_our_address_in_a_description() -> None:
    body = MsgBody('v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\nc=IN IP4 h\r\n')
    body.parse()
    body.content.o_header = SdpOrigin()
    assert b' IN IP4 192.0.2.1\r\n' in body_octets(body, LOCAL)[0]
    assert b' IN IP6 2001:db8::1\r\n' in body_octets(body, (('[2001:db8::1]', 5060), 'udp'))[0]


def request_to(host: str, target: Any, routes: tuple[Any, ...] = ()) -> Any:
    return SipRequest(method='INVITE', ruri=SipURL(username='b', host=host), fr0m=None, routes=routes, target=target)


@pytest.mark.parametrize(('request_', 'hops'), [
    (request_to('192.0.2.7', (('192.0.2.7', 5060), 'udp')), []),
    (request_to('192.0.2.7', (('192.0.2.8', 5080), 'udp')), ['<sip:192.0.2.8:5080;lr>']),
    (request_to('192.0.2.7', (('[2001:db8::1]', 5080), 'tcp')), ['<sip:[2001:db8::1]:5080;transport=tcp;lr>']),
    (request_to('192.0.2.7', (('p', 5060), 'udp'), (SipRoute('<sip:p;lr>'),)), ['<sip:p;lr>']),
    (request_to('192.0.2.7', (('q', 5060), 'udp'), (SipRoute('<sip:p;lr>'),)), ['<sip:q:5060;lr>', '<sip:p;lr>']),
])
def test_next_hop(request_: Any, hops: list[str]) -> None:
    assert next_hop(request_, LOCAL) == hops


def test_extra_fields() -> None:
    request = request_to('h', (('h', 5060), 'udp'))
    assert extra_fields(request.headers, LOCAL) == []
    request.appendHeaders([SipHeader('X-One: 1'), SipHeader('Reason: SIP;cause=200'), SipHeader('Subject: a b'),
                           SipHeader('Contact: <sip:c@h>'), SipHeader('Server: s')])
    assert extra_fields(request.headers, LOCAL) == [('X-One', '1'), ('Reason', 'SIP;cause=200'), ('Subject', 'a b')]
    assert ('Contact', '<sip:c@h>') in extra_fields(request.headers, LOCAL, 'contact')
