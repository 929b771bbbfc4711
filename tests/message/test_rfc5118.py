"""The IPv6 torture messages of RFC 5118."""

from __future__ import annotations

from pathlib import Path

import pytest

from greensip.errors import ParseError
from greensip.message import Request, SipUri, check_request, parse_message

FOLDER = Path(__file__).parents[1] / 'data' / 'rfc5118'


def read(name: str) -> Request:
    data = (FOLDER / f'{name}.dat').read_bytes()
    request = parse_message(data)
    assert isinstance(request, Request) and request.to_bytes() == data
    check_request(request)
    return request


# name, host and port of the Request-URI, host and port of the topmost Via
VALID = [
    ('ipv6-good', ('2001:db8::10', None), ('2001:db8::9:1', None)),
    ('port-ambiguous', ('2001:db8::10:5070', None), ('2001:db8::9:1', None)),
    ('port-unambiguous', ('2001:db8::10', 5070), ('2001:db8::9:1', None)),
    ('via-received-param-with-delim', ('2001:db8::10', None), ('2001:db8::9:1', None)),
    ('via-received-param-no-delim', ('2001:db8::10', None), ('2001:db8::9:1', None)),
    ('ipv6-in-sdp', ('2001:db8::10', None), ('2001:db8::20', None)),
    ('mult-ip-in-header', ('host.example.net', None), ('2001:db8::9:1', 6050)),
    ('mult-ip-in-sdp', ('2001:db8::10', None), ('2001:db8::9:1', None)),
    ('ipv4-mapped-ipv6', ('example.com', None), ('::ffff:192.0.2.10', 19823)),
    ('ipv6-bug-abnf-3-colons', ('2001:db8::192.0.2.1', None), ('lab1.east.example.com', None)),
    ('ipv6-correct-abnf-2-colons', ('2001:db8::192.0.2.1', None), ('lab1.east.example.com', None)),
]


@pytest.mark.parametrize(('name', 'target', 'sent_by'), VALID, ids=[row[0] for row in VALID])
def test_valid(name: str, target: tuple[str, int | None], sent_by: tuple[str, int | None]) -> None:
    request = read(name)
    assert isinstance(request.uri, SipUri)
    assert (request.uri.host, request.uri.port) == target
    assert (request.via.host, request.via.port) == sent_by


def test_all_files_are_used() -> None:
    assert {path.stem for path in FOLDER.glob('*.dat')} == {row[0] for row in VALID} | {'ipv6-bad'}


def test_no_brackets() -> None:
    request = parse_message((FOLDER / 'ipv6-bad.dat').read_bytes())
    with pytest.raises(ParseError) as caught:
        check_request(request)      # type: ignore[arg-type]
    assert caught.value.status == 400 and caught.value.message is request


@pytest.mark.parametrize('name', ['via-received-param-with-delim', 'via-received-param-no-delim'])
def test_received_with_and_without_brackets(name: str) -> None:
    assert read(name).via.received == '2001:db8::9:255'


def test_via_list_of_both_families() -> None:
    vias = read('mult-ip-in-header').vias
    assert [via.sent_by for via in vias] == ['[2001:db8::9:1]:6050', '192.0.2.1', '[2001:db8::9:255]']
    assert vias[2].received == '192.0.2.200'


def test_three_colons_are_written_as_two() -> None:
    assert str(read('ipv6-bug-abnf-3-colons').uri) == 'sip:user@[2001:db8::192.0.2.1]'
    assert read('ipv6-bug-abnf-3-colons').uri == read('ipv6-correct-abnf-2-colons').uri


def test_contact_port_and_address() -> None:
    contact = read('ipv4-mapped-ipv6').contact
    assert contact is not None and contact.display == 'T. desk phone'
    assert contact.uri == SipUri('ted', '::ffff:192.0.2.2')
