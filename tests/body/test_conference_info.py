"""Conference documents: after the example of RFC 4575, and how partial ones add up (4.6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from greensip.body import (
    ConferenceEndpoint,
    ConferenceInfo,
    ConferenceMedia,
    ConferenceUser,
    Merged,
    parse_conference_info,
)
from greensip.body.xml import local_name
from greensip.errors import ParseError, UsageError

FOLDER = Path(__file__).parents[1] / 'data' / 'body'
NS = 'urn:ietf:params:xml:ns:conference-info'


def conference(inside: str = '', version: int = 2, state: str = 'partial') -> bytes:
    return (f'<conference-info xmlns="{NS}" entity="sips:conf233@example.com" state="{state}" version="{version}">'
            f'{inside}</conference-info>').encode()


def example() -> ConferenceInfo:
    return parse_conference_info((FOLDER / 'rfc4575.xml').read_bytes())


def change(inside: str, version: int = 2, state: str = 'partial') -> ConferenceInfo:
    return parse_conference_info(conference(inside, version, state))


def test_the_example() -> None:
    document = example()
    assert (document.entity, document.version, document.state) == ('sips:conf233@example.com', 1, 'full')
    assert document.subject == "Agenda: This month's goals" and document.user_count == 33
    bob, alice = document.users.values()
    laptop = bob.endpoints['sip:bob@pc33.example.com']
    assert (bob.display_text, bob.connected) == ('Bob Hoskins', False)
    assert (laptop.status, laptop.disconnection_method, laptop.display_text) == (
        'disconnected', 'departed', "Bob's Laptop")
    assert laptop.media == {'1': ConferenceMedia('1', 'audio', 'main audio', '34567', '432424', 'sendrecv')}
    assert [local_name(element) for element in laptop.extra] == ['disconnection-info']
    assert (alice.roles, alice.connected) == (['moderator'], True)
    again = parse_conference_info(document.to_bytes())
    assert again == document and hash(again) == hash(document) and list(again.users) == list(document.users)
    assert repr(document) == f'<ConferenceInfo sips:conf233@example.com full 1: {BOB} {ALICE}>'


BOB = 'sip:bob@example.com'
ALICE = 'sip:alice@example.com'
CAROL = 'sip:carol@example.com'
LAPTOP = 'sip:bob@pc33.example.com'


def users(inside: str) -> str:
    return f'<users state="partial">{inside}</users>'


# what, the change, the users, Bob's endpoints with their status
CHANGES = [
    ('somebody joins', users(f'<user entity="{CAROL}"/>'), [BOB, ALICE, CAROL], {LAPTOP: 'disconnected'}),
    ('somebody leaves', users(f'<user entity="{ALICE}" state="deleted"/>'), [BOB], {LAPTOP: 'disconnected'}),
    ('who is not there leaves', users(f'<user entity="{CAROL}" state="deleted"/>'), [BOB, ALICE],
     {LAPTOP: 'disconnected'}),
    ('an endpoint changes', users(f'<user entity="{BOB}" state="partial"><endpoint entity="{LAPTOP}" state="partial">'
                                  '<status>connected</status></endpoint></user>'), [BOB, ALICE], {LAPTOP: 'connected'}),
    ('an endpoint comes', users(f'<user entity="{BOB}" state="partial"><endpoint entity="sip:2" state="partial">'
                                '<status>alerting</status></endpoint></user>'), [BOB, ALICE],
     {LAPTOP: 'disconnected', 'sip:2': 'alerting'}),
    ('an endpoint goes', users(f'<user entity="{BOB}" state="partial"><endpoint entity="{LAPTOP}" state="deleted"/>'
                               '</user>'), [BOB, ALICE], {}),
    ('a user in full', users(f'<user entity="{BOB}"><endpoint entity="sip:3"/></user>'), [BOB, ALICE], {'sip:3': None}),
    ('all users in full', f'<users><user entity="{BOB}"/></users>', [BOB], {}),
    ('nothing of users', '<conference-state><user-count>2</user-count></conference-state>', [BOB, ALICE],
     {LAPTOP: 'disconnected'}),
]


@pytest.mark.parametrize(('inside', 'there', 'endpoints'), [row[1:] for row in CHANGES],
                         ids=[row[0] for row in CHANGES])
def test_changes(inside: str, there: list[str], endpoints: dict[str, str | None]) -> None:
    known = example()
    assert known.apply(change(inside)) is Merged.COHERENT
    assert list(known.users) == there and known.state == 'full'
    assert {key: endpoint.status for key, endpoint in known.users[BOB].endpoints.items()} == endpoints
    assert known.subject == "Agenda: This month's goals"
    parse_conference_info(known.to_bytes())


def test_what_is_not_repeated_stays() -> None:
    known = example()
    known.apply(change(users(f'<user entity="{BOB}" state="partial"><endpoint entity="{LAPTOP}" state="partial">'
                             '<media id="2"><type>video</type></media></endpoint></user>')))
    laptop = known.users[BOB].endpoints[LAPTOP]
    assert known.users[BOB].display_text == 'Bob Hoskins' and list(laptop.media) == ['1', '2']
    assert (laptop.status, laptop.display_text) == ('disconnected', "Bob's Laptop") and len(laptop.extra) == 1


@pytest.mark.parametrize(('version', 'state', 'result'), [
    (0, 'full', Merged.STALE), (1, 'partial', Merged.STALE), (1, 'full', Merged.COHERENT), (2, 'full', Merged.COHERENT),
    (3, 'partial', Merged.INCOMPLETE), (7, 'full', Merged.COHERENT), (7, 'deleted', Merged.COHERENT),
])
def test_versions(version: int, state: str, result: Merged) -> None:
    known = example()
    assert known.apply(change('', version, state)) is result
    assert known.version == max(version, 1)
    assert bool(known.users) is (result is Merged.STALE or state == 'partial')
    assert known.subject is None or state != 'full' or result is Merged.STALE


def test_the_end_of_a_conference() -> None:
    known = example()
    assert known.apply(change('', 2, 'deleted')) is Merged.COHERENT
    assert (known.state, known.active, known.users) == ('deleted', False, {})


def test_extensions_are_replaced_as_a_whole() -> None:
    known = change('<host-info><display-text>A</display-text></host-info><x xmlns="urn:x"/>', 1, 'full')
    known.apply(change('<host-info><display-text>B</display-text></host-info>'))
    assert [local_name(element) for element in known.extra] == ['x', 'host-info']
    assert b'>B<' in known.to_bytes() and b'>A<' not in known.to_bytes()


def test_all_that_can_be_written() -> None:
    document = ConferenceInfo('sip:c@h', [
        ConferenceUser('sip:a@h', 'A', ['r1', 'r2'], {'sip:a@1': ConferenceEndpoint(
            'sip:a@1', 'on-hold', 'phone', 'dialed-in', 'departed', {'1': ConferenceMedia('1', 'audio', 'x', 'l', 's',
                                                                                         'sendonly')}, 'partial')}),
        ConferenceUser('sip:b@h', state='deleted')],
        version=4, state='partial', subject='S & T', display_text='D', user_count=2, maximum_user_count=9, active=True,
        locked=False)
    again = parse_conference_info(document.to_bytes())
    assert again == document and again.users == document.users
    assert (again.maximum_user_count, again.active, again.locked, again.users_state) == (9, True, False, 'partial')


@pytest.mark.parametrize(('data', 'what'), [
    (b'<conference/>', 'conference-info'),
    (conference(state='some'), 'not a state'),
    (conference('<users><user/></users>'), 'no entity in user'),
    (conference('<users state="x"/>'), 'not a state'),
    (conference('<users><user entity="a"><endpoint/></user></users>'), 'no entity in endpoint'),
    (conference('<users><user entity="a"><endpoint entity="b"><media/></endpoint></user></users>'), 'no id in media'),
    (conference('<conference-state><user-count>many</user-count></conference-state>'), 'number of users'),
    (conference('<conference-state><active>yes</active></conference-state>'), 'boolean'),
])
def test_invalid(data: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_conference_info(data)


def test_what_cannot_be_written() -> None:
    with pytest.raises(UsageError):
        ConferenceInfo('sip:c@h', [ConferenceUser('sip:a@h', state='asleep')]).to_bytes()
