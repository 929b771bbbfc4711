"""Dialog documents: every example of RFC 4235, and how partial ones add up (4.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from greensip.body import (
    DialogInfo,
    DialogParty,
    DialogState,
    Identity,
    Merged,
    ReplacedDialog,
    parse_dialog_info,
)
from greensip.errors import ParseError, UsageError

FOLDER = Path(__file__).parents[1] / 'data' / 'body'
NS = 'urn:ietf:params:xml:ns:dialog-info'


def read(number: int) -> DialogInfo:
    return parse_dialog_info((FOLDER / f'rfc4235-{number:02}.xml').read_bytes())


def info(inside: str = '', attributes: str = 'version="0" state="full" entity="sip:a@h"') -> bytes:
    return f'<dialog-info xmlns="{NS}" {attributes}>{inside}</dialog-info>'.encode()


#: an empty target that is closed again: the RFC's own mistake
MALFORMED = 16


@pytest.mark.parametrize('number', [number for number in range(1, 22) if number != MALFORMED])
def test_the_examples_of_rfc_4235(number: int) -> None:
    document = read(number)
    assert document.entity in ('', 'sip:alice@example.com')
    again = parse_dialog_info(document.to_bytes())
    assert again == document and hash(again) == hash(document)


def test_the_example_that_is_not_well_formed() -> None:
    with pytest.raises(ParseError, match='mismatched tag'):
        read(MALFORMED)


def test_the_sample_of_section_4_2() -> None:
    document = read(3)
    assert (document.entity, document.version, document.state) == ('', 1, 'full')
    assert document.dialogs == {'123456': DialogState(
        '123456', 'confirmed', duration=274,
        local=DialogParty([Identity('sip:alice@example.com', 'Alice')], 'sip:alice@pc33.example.com',
                          {'isfocus': 'true', 'class': 'personal'}),
        remote=DialogParty([Identity('sip:bob@example.org', 'Bob')], 'sip:bobster@phone21.example.org'))}
    assert document.busy and document.ringing == []
    assert document.dialogs['123456'].remote.uri == 'sip:bob@example.org'


def test_the_basic_example_adds_up() -> None:
    """RFC 4235 6.1, whose two dialogs have the same id by mistake."""
    known = read(4)
    states = []
    for number in (5, 6, 7, 8):
        assert known.apply(read(number)) is Merged.COHERENT
        states.append((known.version, [dialog.state for dialog in known.dialogs.values()], known.busy))
    assert states == [(1, ['early'], True), (2, ['early'], True), (3, ['confirmed'], True), (4, ['terminated'], False)]
    dialog = known.dialogs['as7d900as8']
    assert (dialog.event, dialog.call_id, dialog.local_tag, dialog.remote_tag, dialog.direction) == (
        'cancelled', 'a84b4c76e66710', '1928301774', 'hh76a', 'initiator')


def test_the_shared_line_adds_up() -> None:
    """RFC 4235 6.2: what is not repeated stays as it was (4.1.6)."""
    known = read(9)
    assert not known.busy
    for number in (10, 11, 12):
        assert known.apply(read(number)) is Merged.COHERENT
    dialog = known.dialogs['as7d900as8']
    assert (dialog.state, dialog.code) == ('early', 180)
    assert dialog.local.identities == [Identity('sip:alice@example.com', 'Alice Smith')]
    assert dialog.local.target == 'sip:alice@pc33.example.com'
    assert (dialog.remote.uri, dialog.remote.target) == ('sip:bob@example.net', 'sip:bobster@host2.example.net')
    assert known.apply(read(13)) is Merged.COHERENT
    assert [dialog.state for dialog in known.dialogs.values()] == ['terminated', 'confirmed']
    voicemail = known.dialogs['zxcvbnm3'].remote
    assert voicemail.params == {'actor': 'msg-taker', 'automaton': 'true', '+sip.byeless': 'true'}
    assert known.apply(read(14)) is Merged.COHERENT
    assert 'as7d900as8' not in known.dialogs, 'what has ended was told once'


@pytest.mark.parametrize(('version', 'state', 'result', 'ids'), [
    (3, 'partial', Merged.STALE, ['a']), (3, 'full', Merged.STALE, ['a']),
    (4, 'partial', Merged.COHERENT, ['a', 'b']), (4, 'full', Merged.COHERENT, ['b']),
    (5, 'partial', Merged.COHERENT, ['a', 'b']), (5, 'full', Merged.COHERENT, ['b']),
    (6, 'partial', Merged.INCOMPLETE, ['a', 'b']), (9, 'full', Merged.COHERENT, ['b']),
])
def test_versions(version: int, state: str, result: Merged, ids: list[str]) -> None:
    known = DialogInfo('sip:a@h', [DialogState('a', 'confirmed')], version=4)
    newer = DialogInfo('sip:a@h', [DialogState('b', 'early')], version=version, state=state)
    assert known.apply(newer) is result
    assert (list(known.dialogs), known.version, known.state) == (ids, max(version, 4), 'full')


def test_all_that_can_be_written() -> None:
    dialog = DialogState(
        'x', 'early', 'replaced', 487, 'c"1\'', 'l', 'r', 'recipient', 12, ReplacedDialog('c0', 'l0', 'r0'),
        Identity('sip:bob@h', 'Bob & Co'), ['<sip:p1;lr>', '<sip:p2;lr>'],
        DialogParty([Identity('sip:a@h'), Identity('tel:+1')], 'sip:a@1', {'description': "Alice's desk & office"},
                    ('application/sdp', 'v=0\r\no=-\r\n'), 7), DialogParty(target='sip:b@2'))
    document = DialogInfo('sip:a@h', [dialog], version=7, state='partial')
    again = parse_dialog_info(document.to_bytes())
    assert again == document and again.ringing == [dialog]
    assert repr(document) == '<DialogInfo sip:a@h partial 7: early>'
    assert DialogParty().uri is None and again.dialogs['x'].remote.uri == 'sip:b@2'


def test_what_phones_leave_out_or_put_elsewhere() -> None:
    document = parse_dialog_info(info('<dialog id="1"><state>Confirmed</state><local><target>sip:a@h</target></local>'
                                      '<x:y xmlns:x="urn:x">z</x:y></dialog><other xmlns="urn:x"/>', ''))
    assert (document.entity, document.version, document.state) == ('', 0, 'full')
    assert (document.dialogs['1'].state, document.dialogs['1'].local.target) == ('confirmed', 'sip:a@h')
    assert b'urn:x' in document.to_bytes()


@pytest.mark.parametrize(('data', 'what'), [
    (b'<dialog/>', 'dialog-info'),
    (info('<dialog><state>early</state></dialog>'), 'id or its state'),
    (info('<dialog id="1"/>'), 'id or its state'),
    (info('<dialog id="1"><state>asleep</state></dialog>'), 'id or its state'),
    (info('<dialog id="1"><state code="x">early</state></dialog>'), 'status code'),
    (info('<dialog id="1"><state code="999">early</state></dialog>'), 'status code'),
    (info('<dialog id="1"><state>early</state><duration>-1</duration></dialog>'), 'duration'),
    (info('<dialog id="1"><state>early</state><local><cseq>a</cseq></local></dialog>'), 'CSeq'),
    (info(attributes='version="-1"'), 'version'), (info(attributes='version="1" state="some"'), 'not a state'),
])
def test_invalid(data: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_dialog_info(data)


def test_what_cannot_be_written() -> None:
    with pytest.raises(UsageError):
        DialogInfo('sip:a@h', [DialogState('1', 'asleep')]).to_bytes()
