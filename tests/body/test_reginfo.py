"""Registration documents: the examples of RFC 3680, and how partial ones add up (5.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from greensip.body import Merged, RegContact, RegInfo, Registration, parse_reginfo
from greensip.errors import ParseError, UsageError

FOLDER = Path(__file__).parents[1] / 'data' / 'body'
NS = 'urn:ietf:params:xml:ns:reginfo'


def read(number: int) -> RegInfo:
    document = parse_reginfo((FOLDER / f'rfc3680-{number:02}.xml').read_bytes())
    again = parse_reginfo(document.to_bytes())
    assert again == document and hash(again) == hash(document)
    return document


def reginfo(contact: str = '', registration: str = 'aor="sip:a@h" id="1" state="active"') -> bytes:
    return (f'<reginfo xmlns="{NS}" version="0" state="full"><registration {registration}>{contact}</registration>'
            '</reginfo>').encode()


def test_the_example_of_section_5_3() -> None:
    document = read(1)
    registration = document.registrations['as9']
    assert (registration.aor, registration.state) == ('sip:user@example.com', 'active')
    assert list(registration.contacts.values()) == [
        RegContact('sip:user@pc887.example.com', '76', 'active', 'registered', duration_registered=7322, q='0.8'),
        RegContact('sip:user@university.edu', '77', 'terminated', 'expired', duration_registered=3600, q='0.5')]
    assert document.uris == ['sip:user@pc887.example.com']
    assert repr(registration) == '<Registration sip:user@example.com active sip:user@pc887.example.com>'


def test_the_call_flow_adds_up() -> None:
    known = read(2)
    assert known.registrations['a7'].state == 'init' and known.uris == []
    assert known.apply(read(3)) is Merged.COHERENT
    assert (known.version, known.state, known.uris) == (1, 'full', ['sip:joe@pc34.example.com'])
    assert known.registrations['a7'].state == 'active'


def changed(version: int, *contacts: RegContact, state: str = 'partial') -> RegInfo:
    return RegInfo([Registration('sip:a@h', contacts, id='1')], version=version, state=state)


def test_contacts_come_and_go() -> None:
    known = changed(0, RegContact('sip:1', 'x'), RegContact('sip:2', 'y'), state='full')
    assert known.apply(changed(1, RegContact('sip:1', 'x', 'terminated', 'expired'))) is Merged.COHERENT
    assert known.uris == ['sip:2'] and 'x' in known.registrations['1'].contacts
    assert known.apply(changed(2, RegContact('sip:3', 'z'))) is Merged.COHERENT
    assert list(known.registrations['1'].contacts) == ['y', 'z'], 'what has ended was told once'
    assert known.apply(changed(1, RegContact('sip:4', 'w'))) is Merged.STALE
    assert known.apply(changed(4, RegContact('sip:5', 'v'))) is Merged.INCOMPLETE
    assert known.apply(RegInfo([Registration('sip:b@h', [RegContact('sip:6')], id='2')], version=5,
                               state='partial')) is Merged.COHERENT
    assert known.uris == ['sip:2', 'sip:3', 'sip:5', 'sip:6']
    assert known.apply(changed(9, RegContact('sip:7', 'u'), state='full')) is Merged.COHERENT
    assert known.uris == ['sip:7']


def test_all_that_can_be_written() -> None:
    document = RegInfo([
        Registration('sip:a@h', [
            RegContact('sip:a@1', 'c', 'active', 'shortened', 60, None, 5, '0.7', 'call-1', 9, 'Ann & Bob',
                       {'+sip.instance': '"<urn:uuid:1>"', 'audio': ''}),
            RegContact('sip:a@2', state='terminated', event='probation', retry_after=30)]),
        Registration('sip:b@h', state='init')], version=3)
    again = parse_reginfo(document.to_bytes())
    assert again == document
    assert list(again.registrations) == ['r1', 'r2'] and list(again.registrations['r1'].contacts) == ['c', '-2']
    assert repr(RegInfo()) == '<RegInfo full 0: >'


CONTACT = '<contact id="1" state="active" event="registered"{}><uri>sip:a@1</uri></contact>'


@pytest.mark.parametrize(('data', 'what'), [
    (b'<reg/>', 'reginfo'),
    (reginfo(registration='id="1" state="active"'), 'address of record'),
    (reginfo(registration='aor="sip:a@h" state="active"'), 'address of record'),
    (reginfo(registration='aor="sip:a@h" id="1"'), 'not a state'),
    (reginfo(registration='aor="sip:a@h" id="1" state="full"'), 'not a state'),
    (reginfo('<contact state="active" event="created"><uri>sip:a@1</uri></contact>'), 'its id or its URI'),
    (reginfo('<contact id="1" state="active" event="created"/>'), 'its id or its URI'),
    (reginfo('<contact id="1" state="init" event="created"><uri>sip:a@1</uri></contact>'), 'not a state'),
    (reginfo(CONTACT.format(' expires="soon"')), 'time of expiry'),
    (reginfo(CONTACT.format(' cseq="-1"')), 'CSeq'),
    (reginfo(CONTACT.format(' duration-registered="1.5"')), 'seconds'),
])
def test_invalid(data: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_reginfo(data)


def test_an_extension_is_kept() -> None:
    gruu = '<g:pub-gruu xmlns:g="urn:ietf:params:xml:ns:gruuinfo" uri="sip:a@h;gr=1"/>'
    document = parse_reginfo(reginfo(CONTACT.format('').replace('</contact>', f'{gruu}</contact>')))
    contact = document.registrations['1'].contacts['1']
    assert contact.extra[0].get('uri') == 'sip:a@h;gr=1'
    assert parse_reginfo(document.to_bytes()).registrations['1'].contacts['1'].extra[0].get('uri') == 'sip:a@h;gr=1'


@pytest.mark.parametrize('document', [
    RegInfo([Registration('sip:a@h', state='asleep')]),
    changed(0, RegContact('sip:a@1', state='init')),
    changed(0, RegContact('sip:a@1', event='shortened')),
    changed(0, RegContact('sip:a@1', event='probation')),
])
def test_what_cannot_be_written(document: RegInfo) -> None:
    with pytest.raises(UsageError):
        document.to_bytes()
