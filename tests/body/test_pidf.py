"""Presence documents: the examples of RFC 3863 and RFC 4480, and what phones write."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from greensip.body import ACTIVITIES, Note, Person, Presence, Status, Tuple, parse_pidf
from greensip.body.xml import local_name, make
from greensip.errors import ParseError, UsageError

FOLDER = Path(__file__).parents[1] / 'data' / 'body'
PIDF = 'urn:ietf:params:xml:ns:pidf'


def read(name: str) -> Presence:
    presence = parse_pidf((FOLDER / name).read_bytes())
    assert parse_pidf(presence.to_bytes()) == presence
    return presence


def pidf(inside: str, entity: str = 'sip:a@h') -> bytes:
    return (f'<presence xmlns="{PIDF}" xmlns:dm="{PIDF}:data-model" xmlns:rpid="{PIDF}:rpid" xmlns:x="urn:x" '
            f'entity="{entity}">{inside}</presence>').encode()


def test_the_example_of_rfc_3863() -> None:
    presence = read('rfc3863.xml')
    mobile, mail = presence.tuples
    assert presence.entity == 'pres:someone@example.com' and presence.is_open
    assert (mobile.id, mobile.basic, mobile.contact, mobile.priority) == (
        'bs35r9', 'open', 'im:someone@mobilecarrier.net', 0.8)
    assert [local_name(element) for element in mobile.status_extra] == ['im', 'location']
    assert mobile.notes == [("Don't Disturb Please!", 'en'), ("Ne derangez pas, s'il vous plait", 'fr')]
    assert mobile.timestamp == datetime(2001, 10, 27, 16, 49, 29, tzinfo=UTC)
    assert (mail.contact, mail.priority, mail.timestamp) == ('mailto:someone@example.com', 1.0, None)
    assert presence.notes == [Note("I'll be in Tokyo next week")]
    assert presence.status.details == ('online', "I'll be in Tokyo next week", ())


def test_the_example_of_rfc_4480() -> None:
    presence = read('rfc4480.xml')
    person, = presence.persons
    assert person.activities == ('away',) and person.mood == ('angry', 'brooding')
    assert person.place_type == ('residence',) and person.timestamp is not None
    assert person.notes == [Note('Far away'), Note('Scoring 120')]
    assert [local_name(element) for element in person.extra] == [
        'class', 'place-is', 'privacy', 'sphere', 'status-icon', 'time-offset']
    assert [local_name(element) for element in presence.extra] == ['device']
    assert [local_name(element) for element in presence.tuples[0].extra] == [
        'deviceID', 'relationship', 'service-class']
    assert presence.status.details == ('away', 'Far away', ('away',))


@pytest.mark.parametrize(('name', 'details'), [
    ('pidf-pjsip.xml', ('away', 'Gone for lunch', ('away',))),
    ('pidf-eyebeam.xml', ('busy', 'On the phone', ('busy',))),
])
def test_what_phones_write(name: str, details: object) -> None:
    assert read(name).status.details == details


OPEN = '<tuple id="a"><status><basic>open</basic></status></tuple>'
CLOSED = '<tuple id="b"><status><basic>closed</basic></status></tuple>'


def doing(name: str) -> str:
    return f'<dm:person id="p"><rpid:activities><rpid:{name}/></rpid:activities></dm:person>'


@pytest.mark.parametrize(('inside', 'status'), [
    ('', 'unknown'), (OPEN, 'online'), (CLOSED, 'offline'), (CLOSED + OPEN, 'online'),
    (CLOSED + doing('busy'), 'offline'), (doing('busy'), 'busy'), (doing('unknown'), 'unknown'),
    (OPEN + doing('unknown'), 'online'), (OPEN + doing('juggling'), 'online'), (OPEN + doing('meeting'), 'busy'),
    (OPEN + doing('vacation'), 'away'), (OPEN + doing('working'), 'online'),
    (OPEN + doing('playing') + doing('away'), 'away'),
    ('<tuple id="a"><status><basic>OPEN</basic></status></tuple>', 'online'),
    ('<tuple id="a"><status><basic>ajar</basic></status></tuple>', 'unknown'),
    ('<tuple id="a"><status/></tuple>', 'unknown'),
    ('<tuple id="a"/>', 'unknown'),
    # RPID before it became an RFC: in the status, and in a text
    ('<tuple id="a"><status><basic>open</basic><x:activities><x:activity>on-the-phone</x:activity></x:activities>'
     '</status></tuple>', 'busy'),
    ('<tuple id="a"><status><basic>open</basic></status><x:activities><x:away/></x:activities></tuple>', 'away'),
])
def test_status(inside: str, status: str) -> None:
    assert parse_pidf(pidf(inside)).status == status


@pytest.mark.parametrize('status', ['online', 'busy', 'away', 'offline', 'unknown', *ACTIVITIES])
def test_a_status_written_is_the_status_read(status: str) -> None:
    presence = Presence('sip:alice@example.com', status, note='R & D', contact='sip:alice@192.0.2.1')
    again = parse_pidf(presence.to_bytes())
    assert again == presence and hash(again) == hash(presence)
    assert again.status.details == presence.status.details
    assert again.status == ACTIVITIES.get(status, status) or status == 'unknown'
    assert again.status.note == 'R & D' and again.tuples[0].contact == 'sip:alice@192.0.2.1'
    # what somebody's status was may be passed on
    assert Presence('sip:b@h', again.status).status.details == again.status.details


def test_all_that_can_be_written() -> None:
    time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    presence = Presence(
        'sip:alice@example.com', notes=[Note('hello', 'en'), 'hi'], extra=[make('urn:x', 'thing', 'text')],
        tuples=[Tuple('open', contact='sip:alice@h', priority=0.5, notes=['n'], timestamp=time, activities=['busy'],
                      status_extra=[make('urn:x', 'mode')], extra=[make('urn:x', 'more')])],
        persons=[Person(['juggling', 'on-the-phone', 'other'], id='me', mood=['happy', 'note', '5x'],
                        place_type=['office'], user_input='idle', notes=['m'], timestamp=time,
                        extra=[make('urn:x', 'rest')])])
    data = presence.to_bytes()
    again = parse_pidf(data)
    assert again == presence
    assert again.persons[0].activities == ('juggling', 'on-the-phone', 'other')
    assert again.persons[0].mood == ('happy', 'note', '5x')
    assert b'<rpid:other>juggling</rpid:other><rpid:on-the-phone/><rpid:other/>' in data.replace(
        b'<rpid:other>other</rpid:other>', b'<rpid:other/>')
    # the order of the schema of RFC 3863 4.4
    tags = [local_name(element) for element in parse_pidf(data).tuples[0].extra]
    assert tags == ['more'] and data.index(b'<status>') < data.index(b'more') < data.index(b'<contact') < data.index(
        b'<note>') < data.index(b'<timestamp>')


def test_what_it_says_of_itself() -> None:
    presence = Presence('sip:alice@h', 'busy', note='back at four')
    assert repr(presence) == '<Presence sip:alice@h busy>' and repr(presence.status) == '<Status busy: back at four>'
    assert (repr(presence.tuples[0]), repr(presence.persons[0])) == ('<Tuple open >', '<Person busy>')
    assert presence.status in ('busy', 'away') and f'{presence.status}' == 'busy'
    assert Status('online').activities == () and presence != 'busy'


@pytest.mark.parametrize(('data', 'what'), [
    (b'', 'not well-formed'), (b'<presence/>', 'whose'), (b'<presents entity="a"/>', 'presence'),
    (b'<presence xmlns="urn:other" entity="a"/>', 'presence'),
])
def test_invalid(data: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_pidf(data)


@pytest.mark.parametrize(('priority', 'read'), [('0.5', 0.5), ('1', 1.0), ('', None), ('2', None), ('nan', None),
                                                ('-0.1', None), ('x', None), ('0.' + '1' * 30, None)])
def test_priorities(priority: str, read: float | None) -> None:
    data = pidf(f'<tuple id="a"><status/><contact priority="{priority}">sip:a@h</contact></tuple>')
    assert parse_pidf(data).tuples[0].priority == read


@pytest.mark.parametrize('make_it', [
    lambda: Presence('sip:a@h', 'juggling'), lambda: Tuple('ajar'), lambda: Tuple(priority=2),
    lambda: Presence('sip:a@h', 'online', note='\0').to_bytes(),
])
def test_what_makes_no_sense(make_it: object) -> None:
    with pytest.raises(UsageError):
        make_it()  # type: ignore[operator]


def test_there_is_an_end_to_activities() -> None:
    inside = '<dm:person id="p"><rpid:activities>' + '<rpid:busy/>' * 1000 + '</rpid:activities></dm:person>'
    assert len(parse_pidf(pidf(inside)).persons[0].activities) == 32
