"""The 49 torture messages of RFC 4475 at parser level, as ``expect.json`` says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from greensip.errors import ParseError
from greensip.message import (
    STAR,
    Message,
    NameAddr,
    Request,
    Response,
    SipUri,
    Uri,
    check_request,
    check_response,
    make_response,
    parse_message,
)

FOLDER = Path(__file__).parents[1] / 'data' / 'rfc4475'
CASES = json.loads((FOLDER / 'expect.json').read_text('utf-8'))['cases']
# What "liberal" leaves open: these are refused, all others of that kind are read.
REFUSED = {'quotbal.dat', 'ltgtruri.dat', 'lwsruri.dat', 'escruri.dat', 'regbadct.dat', 'baddn.dat', 'insuf.dat'}


def read(data: bytes) -> Request | Response:
    message = parse_message(data)
    if isinstance(message, Request):
        check_request(message)
    else:
        check_response(message)
    return message


def find(data: bytes) -> tuple[Message | None, ParseError | None]:
    """The message as far as it could be read."""
    try:
        return read(data), None
    except ParseError as error:
        return error.message, error


@pytest.mark.parametrize('case', CASES, ids=lambda case: case['file'])
def test_accepted_or_refused(case: dict[str, Any]) -> None:
    data = (FOLDER / case['file']).read_bytes()
    assert len(data) == case['size']
    message, error = find(data)
    if case['parse'] == 'accept' or (case['parse'] == 'liberal' and case['file'] not in REFUSED):
        assert error is None
        return
    assert error is not None
    statuses = case['expect'].get('ua') or case['expect'].get('registrar')
    if case['type'] == 'response':
        assert not isinstance(message, Request)
    else:
        assert isinstance(message, Request)
        assert str(error.status) in statuses
        # and the refusal can be sent
        refusal = make_response(message, error.status, to_tag='t')
        assert parse_message(refusal.to_bytes()).get_all('Via') == message.get_all('Via')


@pytest.mark.parametrize('case', [case for case in CASES if case['parse'] != 'reject'], ids=lambda case: case['file'])
def test_fields(case: dict[str, Any]) -> None:
    message, error = find((FOLDER / case['file']).read_bytes())
    assert message is not None
    fields = dict(case['fields'])
    for name in ('via0_port', 'start_line', 'if_accepted', 'count'):
        fields.pop(name, None)
    if error is not None:
        # what was refused is not described by its fields
        for name in {'quotbal.dat': ['to'], 'ltgtruri.dat': ['request_uri'], 'baddn.dat': ['from', 'to'],
                     }.get(case['file'], []):
            fields.pop(name, None)
        if message.body == b'':
            fields.pop('body_octets_after_blank_line', None)
    octets = fields.pop('body_octets_after_blank_line', None)
    if octets is not None:
        size = fields.get('content_length', octets)
        assert len(message.body) == min(octets, size)
    for name, expected in fields.items():
        COMPARE[name](message, expected)


def same_uri(uri: Uri, expected: dict[str, Any]) -> None:
    assert uri.scheme == expected['scheme']
    if not isinstance(uri, SipUri):
        assert str(uri) == f'{uri.scheme}:{expected["opaque"]}'
        return
    assert uri.user == expected.get('user')
    assert uri.password == expected.get('password')
    assert (uri.host, uri.port) == (expected['host'], expected['port'])
    assert uri.params == expected['params']
    assert [list(pair) for pair in uri.headers] == expected.get('headers', [])
    if 'user_raw' in expected:
        assert f':{expected["user_raw"]}@' in str(uri)


def same_address(addr: NameAddr, expected: dict[str, Any]) -> None:
    assert addr is not STAR
    assert addr.display == expected['display']
    same_uri(addr.uri, expected['uri'])
    assert dict(addr.params) == expected['params']
    assert addr.tag == expected['params'].get('tag')


def same_vias(message: Message, expected: list[dict[str, Any]]) -> None:
    assert [(via.transport, via.host, via.port, dict(via.params)) for via in message.vias] == [
        (via['transport'], via['host'], via['port'], via['params']) for via in expected]
    assert message.via == message.vias[0]


def addresses(name: str) -> Any:
    def compare(message: Message, expected: list[dict[str, Any]]) -> None:
        values = message.values(name)
        assert len(values) == len(expected)
        for value, one in zip(values, expected):
            same_address(value, one)
    return compare


def others(message: Message, expected: dict[str, str]) -> None:
    for name, text in expected.items():
        assert message.get(name) == text


def equal(get: Any) -> Any:
    def compare(message: Message, expected: Any) -> None:
        assert get(message) == expected
    return compare


COMPARE: dict[str, Any] = {
    'method': equal(lambda m: m.method),
    'status': equal(lambda m: m.code),
    'reason': equal(lambda m: m.reason),
    'request_uri': lambda m, expected: same_uri(m.uri, expected),
    'from': lambda m, expected: same_address(m.from_, expected),
    'to': lambda m, expected: same_address(m.to, expected),
    'call_id': equal(lambda m: m.call_id),
    'cseq': equal(lambda m: [m.cseq.number, m.cseq.method]),
    'max_forwards': equal(lambda m: m.max_forwards),
    'content_length': equal(lambda m: m.value('Content-Length')),
    'content_type': equal(lambda m: str(m.content_type)),
    'subject': equal(lambda m: m.value('Subject')),
    'accept': equal(lambda m: [str(value) for value in m.values('Accept')]),
    'require': equal(lambda m: m.require),
    'proxy_require': equal(lambda m: m.values('Proxy-Require')),
    'via': same_vias,
    'contact': addresses('Contact'),
    'route': addresses('Route'),
    'record_route': addresses('Record-Route'),
    'other_headers': others,
}


def test_checks() -> None:
    """What ``expect.json`` notes besides the fields."""
    messages = {case['file']: find((FOLDER / case['file']).read_bytes())[0] for case in CASES}
    for case in CASES:
        message = messages[case['file']]
        for name, expected in case.get('checks', {}).items():
            if name == 'via_count':
                assert len(message.vias) == expected
            elif name == 'via_transports':
                assert [via.transport for via in message.vias] == expected
            elif name == 'from_tag_length':
                assert len(message.from_tag) == expected
            elif name == 'last_via_branch':
                assert message.vias[-1].branch == expected
            elif name == 'last_via_received':
                assert message.vias[-1].received == expected
            elif name == 'from_tag':
                assert message.from_tag == expected
            elif name == 'body_length':
                assert len(message.body) == expected


def test_display_names_with_commas() -> None:
    """baddn.dat has no empty line at its end; with one, its display names are refused too."""
    message, error = find((FOLDER / 'variants' / 'baddn.terminated.dat').read_bytes())
    assert isinstance(message, Request) and error is not None and error.what == 'display name needs quotes'


def test_escaped_nul() -> None:
    """escnull.dat: two contacts, unequal, and neither is cut at the NUL."""
    one, two = read((FOLDER / 'escnull.dat').read_bytes()).contacts
    assert one.uri != two.uri
    assert (one.uri.user, two.uri.user) == ('\0', '\0\0')


@pytest.mark.parametrize('case', [case for case in CASES if case['parse'] == 'accept'], ids=lambda case: case['file'])
def test_untouched_fields_go_out_as_they_came(case: dict[str, Any]) -> None:
    """But for folding and the white space around the colon, and a Content-Length where there was none."""
    data = (FOLDER / case['file']).read_bytes()
    again = parse_message(data).to_bytes()
    head, _, body = data.partition(b'\r\n\r\n')
    start, *fields = re.sub(rb'\r\n[ \t]+', b' ', head).split(b'\r\n')
    lines = [start]
    for field in fields:
        name, _, text = field.partition(b':')
        lines.append(name.strip() + b': ' + text.strip())
    if case['file'] == 'inv2543.dat':
        lines.append(b'Content-Length: 105')
    if case['file'] == 'dblreq.dat':
        body = b''
    assert again == b'\r\n'.join(lines) + b'\r\n\r\n' + body
