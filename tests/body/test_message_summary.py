"""Waiting messages: the examples of RFC 3842, and what exchanges send."""

from __future__ import annotations

import pytest

from greensip.body import MessageCount, MessageSummary, parse_message_summary
from greensip.errors import ParseError, UsageError

#: RFC 3842 4.1, A3 and A5: message headers come with newly added messages
A5 = b'''\
Messages-Waiting: yes\r
Message-Account: sip:alice@vmail.example.com\r
Voice-Message: 4/8 (1/2)\r
\r
To: <alice@atlanta.example.com>\r
From: <bob@biloxi.example.com>\r
Subject: carpool tomorrow?\r
Date: Sun, 09 Jul 2000 21:23:01 -0700\r
Priority: normal\r
Message-ID: 13784434989@vmail.example.com\r
\r
To: <alice@example.com>\r
From: <cathy-the-bob@example.com>\r
Subject: HELP! at home ill, present for me\r
 please\r
'''

# what, text, waiting, counts, account
VALID = [
    ('the initial NOTIFY of RFC 3842', b'Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\n'
     b'Voice-Message: 2/8 (0/2)\r\n', True, {'voice-message': (2, 8, 0, 2)}, 'sip:alice@vmail.example.com'),
    ('the lamp alone', b'Messages-Waiting: no', False, {}, None),
    ('several classes', b'Messages-Waiting: yes\r\nFax-Message: 2/4\r\nVoice-Message: 1/3 (0/1)\r\nNone: 0/0\r\n', True,
     {'fax-message': (2, 4, None, None), 'voice-message': (1, 3, 0, 1), 'none': (0, 0, None, None)}, None),
    ('other case and white space', b'messages-waiting :YES\nVOICE-MESSAGE:  02 / 8 ( 0/ 2 )  \n\n', True,
     {'voice-message': (2, 8, 0, 2)}, None),
    ('no status line', b'Voice-Message: 0/3\r\n', False, {'voice-message': (0, 3, None, None)}, None),
    ('no status line but something new', b'Fax-Message: 1/0\r\n', True, {'fax-message': (1, 0, None, None)}, None),
    ('more than there may be', b'Voice-Message: 4294967296/99999999999999999999999999\r\n', True,
     {'voice-message': (2**32 - 1, 2**32 - 1, None, None)}, None),
    ('a class of somebody, and a line that is none', b'Messages-Waiting: no\r\nx-message: 1/1\r\nX-Note: hi\r\n', False,
     {'x-message': (1, 1, None, None)}, None),
    ('an empty line first', b'\r\nMessages-Waiting: no\r\n', False, {}, None),
]


@pytest.mark.parametrize(('text', 'waiting', 'counts', 'account'), [row[1:] for row in VALID],
                         ids=[row[0] for row in VALID])
def test_valid(text: bytes, waiting: bool, counts: dict[str, tuple[int, ...]], account: str | None) -> None:
    summary = parse_message_summary(text)
    assert (summary.waiting, summary.counts, summary.account) == (waiting, counts, account)
    again = parse_message_summary(summary.to_bytes())
    assert again == summary and hash(again) == hash(summary)


def test_headers_of_new_messages() -> None:
    summary = parse_message_summary(A5)
    assert summary.voice == (4, 8, 1, 2) and summary.fax == MessageCount()
    assert [fields[2] for fields in summary.messages] == [
        ('Subject', 'carpool tomorrow?'), ('Subject', 'HELP! at home ill, present for me please')]
    assert parse_message_summary(summary.to_bytes()) == summary


def test_as_it_is_written() -> None:
    summary = MessageSummary(counts={'Voice-Message': (2, 8, 0, 2), 'none': (0, 1)}, account='sip:alice@example.com')
    assert summary.to_bytes() == (b'Messages-Waiting: yes\r\nMessage-Account: sip:alice@example.com\r\n'
                                  b'Voice-Message: 2/8 (0/2)\r\nNone: 0/1\r\n')
    assert repr(summary) == '<MessageSummary waiting 2/8 (0/2)>'
    assert repr(MessageSummary()) == '<MessageSummary nothing 0/0>'


@pytest.mark.parametrize(('text', 'what'), [
    (b'', 'says nothing'),
    (b'X-Note: hi\r\n', 'says nothing'),
    (b'Messages-Waiting: maybe\r\n', 'neither yes nor no'),
    (b'Messages-Waiting: yes\r\nVoice-Message: many\r\n', 'not a count'),
    (b'Voice-Message: 1/2 (3)\r\n', 'not a count'),
    (b'Voice-Message: -1/2\r\n', 'not a count'),
    (b'Messages-Waiting\r\n', 'broken line'),
    (b'Messages-Waiting: yes\r\nMessage-Account: a\0b\r\n', 'broken line'),
    (b'Messages-Waiting: yes\r\n\r\nno colon here\r\n', 'broken line'),
    (b'X: 1\n' * 2000, 'more than'),
])
def test_invalid(text: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_message_summary(text)


@pytest.mark.parametrize('summary', [
    MessageSummary(account='sip:a\r\nX: y'),
    MessageSummary(counts={'voice-message': (-1, 0)}),
    MessageSummary(counts={'voice-message': (2**32, 0)}),
    MessageSummary(counts={'voice message': (1, 0)}),
    MessageSummary(messages=[[('no token', '')]]),
    MessageSummary(messages=[[('Subject', 'a\nb')]]),
])
def test_what_cannot_be_written(summary: MessageSummary) -> None:
    with pytest.raises(UsageError):
        summary.to_bytes()
