"""What makes a message unfit for the layers above (RFC 3261 8.1.1, 8.2.2)."""

from __future__ import annotations

import pytest

from greensip.errors import ParseError
from greensip.message import Request, Response, check_request, check_response

GOOD = {
    'Via': 'SIP/2.0/UDP h;branch=z9hG4bK1', 'From': '<sip:a@h>;tag=1', 'To': '<sip:b@h>', 'Call-ID': 'x',
    'CSeq': '1 INVITE', 'Max-Forwards': '70', 'Contact': '<sip:a@h>',
}


def request(method: str = 'INVITE', uri: str = 'sip:b@h', **changes: str | None) -> Request:
    fields = {**GOOD, 'CSeq': f'1 {method}', **{name.replace('_', '-'): text for name, text in changes.items()}}
    return Request(method, uri, [(name, text) for name, text in fields.items() if text is not None])


def refuse(message: Request | Response, status: int = 400) -> ParseError:
    with pytest.raises(ParseError) as caught:
        check_request(message) if isinstance(message, Request) else check_response(message)
    assert caught.value.status == status
    assert caught.value.message is message
    return caught.value


@pytest.mark.parametrize('message', [
    request(), request(Contact=None), request(Max_Forwards=None), request(From='sip:a@h'), request(Via='SIP/2.0/UDP h'),
    request(Max_Forwards='0'), request(Max_Forwards='300'), request(CSeq='0 INVITE'), request(CSeq='4294967295 INVITE'),
    request('OPTIONS', Contact='broken,'), request('BYE', Contact='*'), request('REGISTER', Contact='*'),
    request(Date='yesterday'), request(Expires='soon'), request(Route='<sip:r;lr>, <sip:s;lr>'), request(To='tel:+1'),
    request(uri='tel:+1'), request(uri='urn:service:sos'), request('FOO', 'foo:bar', Contact='x'),
    request('BYE', Record_Route='broken'), request(Via='SIP/2.0/UDP h, SIP/2.0/TCP broken:x'),
], ids=repr)
def test_passes(message: Request) -> None:
    check_request(message)


@pytest.mark.parametrize('name', ['Via', 'From', 'To', 'Call-ID', 'CSeq'])
def test_mandatory(name: str) -> None:
    refuse(request(**{name.replace('-', '_'): None}))
    message = request()
    message.set(name, '')
    refuse(message)
    response = Response(200, fields=[pair for pair in GOOD.items() if pair[0] != name])
    refuse(response)


@pytest.mark.parametrize(('message', 'status'), [
    (request(CSeq='1 BYE'), 400), (request('FOO', CSeq='1 BYE'), 501), (request(CSeq='4294967296 INVITE'), 400),
    (request(Via='SIP/2.0/UDP h;;'), 400), (request(Max_Forwards='x'), 400),
    (request(Max_Forwards='-1'), 400), (request(uri='nonsense'), 400), (request(uri='<sip:a@h>'), 400),
    (request(uri='sip:a@h?Route=x'), 400), (request(Contact='*'), 400), (request(Contact='x'), 400),
    (request('REGISTER', Contact='<sip:a@h>, <sip:b'), 400), (request('UPDATE', Contact='<'), 400),
    (request(Route='x'), 400), (request(Record_Route='<sip:a@h'), 400), (request('BYE', Route='<sip:a@h>,'), 400),
    (request(Call_ID='a b'), 400), (request(From='<sip:a@h>;tag='), 400), (request(To='<sip:a@h'), 400),
])
def test_refused(message: Request, status: int) -> None:
    refuse(message, status)


def test_single_fields_twice() -> None:
    for name in ('From', 'To', 'Call-ID', 'CSeq', 'Max-Forwards'):
        message = request()
        message.add(name, message.get(name))
        assert refuse(message).what == f'{name} twice'
    for name in ('Via', 'Contact', 'Subject', 'X-Custom'):
        message = request()
        message.add(name, 'broken;;')
        message.add(name, 'broken;;')
        check_request(message)
    message = request()
    message.add('Content-Type', 'text/plain')
    message.add('c', 'application/sdp')
    refuse(message)


def test_the_values_stay() -> None:
    message = request(Via='SIP/2.0/UDP first;branch=1')
    message.add('Via', 'SIP/2.0/UDP second;branch=2')
    check_request(message)
    assert message.via.host == 'first' and message.via is message.via and message.uri is message.uri


def test_responses() -> None:
    check_response(Response(200, fields=list(GOOD.items())))
    check_response(Response(486, fields=[*GOOD.items(), ('Record-Route', 'broken'), ('Warning', 'broken')]))
    refuse(Response(200, fields=[*GOOD.items(), ('Record-Route', 'broken')]))
    # a broken Contact is as good as none
    response = Response(200, fields=[*{**GOOD, 'Contact': 'broken'}.items()])
    check_response(response)
    assert response.contact is None
    refuse(Response(200, fields=[*GOOD.items(), ('To', '<sip:b@h>')]))
    # other contacts of a redirection are for who follows it
    check_response(Response(302, fields=[*{**GOOD, 'Contact': 'broken'}.items()]))
