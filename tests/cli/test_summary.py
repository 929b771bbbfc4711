"""Documents in a line."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.body import (
    ConferenceInfo,
    ConferenceUser,
    DialogInfo,
    DialogParty,
    DialogState,
    Identity,
    MessageSummary,
    Presence,
    RegContact,
    RegInfo,
    Registration,
    Status,
)
from greensip.cli.summary import brought_up_to_date, summary


@pytest.mark.parametrize(('document', 'line'), [
    (None, 'nothing'),
    (Presence('sip:bob@example.com', Status('busy', 'on the phone', ['on-the-phone'])),
     'busy, on-the-phone: on the phone'),
    (Presence('sip:bob@example.com', 'online'), 'online'),
    (MessageSummary(counts={'voice-message': (2, 8)}), 'messages are waiting; voice-message 2 new, 8 old'),
    (MessageSummary(), 'no messages'),
    (DialogInfo('sip:bob@example.com'), 'no calls'),
    (DialogInfo('sip:bob@example.com', [DialogState('a', 'confirmed', direction='initiator', remote=DialogParty(
        [Identity('sip:carol@example.com')]))]), 'confirmed (initiator) with sip:carol@example.com'),
    (RegInfo([Registration('sip:bob@example.com', [RegContact('sip:bob@192.0.2.1')])]),
     'sip:bob@example.com active at sip:bob@192.0.2.1'),
    (RegInfo(), 'no registrations'),
    (Presence('sip:bob@example.com', 'busy'), 'busy'),
    (ConferenceInfo('sip:room@example.com', [ConferenceUser('sip:bob@example.com', 'Bob')]), 'Bob (not connected)'),
    (ConferenceInfo('sip:room@example.com'), 'nobody is there'),
    ('some\n text', 'some text'),
])
def test_summary(document: Any, line: str) -> None:
    assert summary(document) == line


def test_changes_are_applied_to_what_is_known() -> None:
    first = DialogInfo('sip:bob@example.com', [DialogState('a', 'early')], version=0)
    known, complete = brought_up_to_date(None, first)
    assert known is first and complete
    change = DialogInfo('sip:bob@example.com', [DialogState('b', 'confirmed')], version=1, state='partial')
    known, complete = brought_up_to_date(known, change)
    assert summary(known) == 'early; confirmed' and complete
    assert brought_up_to_date(known, None) == (known, True)
    late = DialogInfo('sip:bob@example.com', [DialogState('c', 'confirmed')], version=7, state='partial')
    assert brought_up_to_date(known, late)[1] is False
    document = Presence('sip:bob@example.com', 'busy')
    assert brought_up_to_date(Presence('sip:bob@example.com', 'online'), document) == (document, True)
