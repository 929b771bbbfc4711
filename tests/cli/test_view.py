"""What is shown of a message, whatever the message is."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.cli.outcome import Outcome
from greensip.cli.view import LEFT, WIDTH, Coloured, Json, Plain, make_view, sight
from greensip.errors import SetupError
from greensip.transaction.flow import Flow, Point

INVITE = (b'INVITE sip:bob@example.com SIP/2.0\r\ni: abc\r\nCSeq: 1 INVITE\r\nc: application/sdp;x=1\r\n'
          b'Authorization: Digest username="a", response="secret"\r\n\r\nv=0\r\n')
BUSY = b'SIP/2.0 486 Busy\x1b[31m Here\r\nCall-ID: abc\r\nCSeq: 1 INVITE\r\n\r\n'


@pytest.fixture
def flow() -> Flow:
    return Flow(Point('UDP', ('127.0.0.1', 5060)), ('127.0.0.1', 5080))


def shown(kind: type[Plain], flow: Flow, *messages: tuple[str, bytes], **options: Any) -> list[str]:
    out = io.StringIO()
    view = kind(out, now=lambda: 10.0, **options)
    view.since(10.0)
    for number, (direction, data) in enumerate(messages):
        view.tap(direction, data, flow, 10.0 + number / 2)
    view.finish(Outcome(10, 'busy: 486 Busy', 486))
    return out.getvalue().splitlines()


def test_a_message_is_read() -> None:
    seen = sight(INVITE)
    assert (seen.method, seen.code, seen.call_id, seen.cseq, seen.body) == (
        'INVITE', None, 'abc', '1 INVITE', 'application/sdp')
    seen = sight(BUSY)
    assert (seen.method, seen.code, seen.reason, seen.title) == (
        'INVITE', 486, r'Busy\x1b[31m Here', r'486 Busy\x1b[31m Here')


@given(st.binary(max_size=300))
def test_octets_of_any_kind_are_shown_on_a_line(data: bytes) -> None:
    flow = Flow(Point('UDP', ('127.0.0.1', 5060)), ('127.0.0.1', 5080))
    for kind in (Plain, Json):
        lines = shown(kind, flow, ('<', data), ('<', b'SIP/2.0 200 ' + data))
        assert all(line.isprintable() for line in lines)
        assert len(lines) <= 4


def test_lines_of_the_ladder(flow: Flow) -> None:
    lines = shown(Plain, flow, ('>', INVITE), ('>', INVITE), ('<', BUSY), ('<', b'\r\n\r\n'))
    assert len(lines) == 5
    assert lines[0].split() == ['we', 'peer']
    assert lines[1].endswith('|  UDP 127.0.0.1:5080') and ' INVITE (sdp) ' in lines[1] and '>|' in lines[1]
    assert ' INVITE (sdp) again ' in lines[2] and lines[2].strip().startswith('0.500')
    assert '|<-' in lines[3] and r'486 Busy\x1b[31m Here' in lines[3]
    assert {line.index('|') for line in lines[1:4]} == {LEFT}
    assert {line.rindex('|') for line in lines[1:4]} == {LEFT + WIDTH}
    assert lines[4].strip() == '1.000  busy: 486 Busy'.replace('1.000', '0.000')


def test_messages_in_full_are_masked(flow: Flow) -> None:
    text = '\n'.join(shown(Plain, flow, ('>', INVITE), messages=True))
    assert 'response=***' in text and 'secret' not in text and '    v=0' in text


def test_quiet_shows_the_outcome_only(flow: Flow) -> None:
    for kind in (Plain, Json):
        assert len(shown(kind, flow, ('>', INVITE), quiet=True)) == 1


def test_objects(flow: Flow) -> None:
    first, last, end = map(json.loads, shown(Json, flow, ('>', INVITE), ('<', BUSY), messages=True))
    assert first['direction'] == 'sent' and first['peer'] == '127.0.0.1:5080' and first['uri'] == 'sip:bob@example.com'
    assert 'secret' not in first['text'] and first['body'] == 'application/sdp'
    assert (last['code'], last['time'], last['body']) == (486, 0.5, None)
    assert end == {'event': 'outcome', 'time': 0.0, 'status': 10, 'outcome': 'busy', 'code': 486,
                   'text': 'busy: 486 Busy'}


def test_facts_of_a_note(flow: Flow) -> None:
    out = io.StringIO()
    Json(out, now=lambda: 1.0).note('it rings', code=180)
    assert json.loads(out.getvalue()) == {'event': 'note', 'time': 0.0, 'text': 'it rings', 'code': 180}


def test_colours(flow: Flow) -> None:
    console = pytest.importorskip('rich.console').Console(file=io.StringIO(), force_terminal=True, width=100,
                                                          color_system='standard')
    view = Coloured(console, now=lambda: 0.0)
    view.tap('>', INVITE, flow, 0.0)
    view.state('calling')
    view.state('it rings')
    view.tap('<', BUSY, flow, 1.0)
    view.finish(Outcome(10, 'busy [red]not markup[/red]', 486))
    text = console.file.getvalue()
    assert '\x1b[36m' in text and '\x1b[31m' in text and 'it rings' in text
    assert 'busy [red]not markup[/red]' in text


def test_without_rich_there_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sys.stdout.isatty', lambda: True, raising=False)
    assert type(make_view(plain=True)) is Plain and type(make_view(as_json=True)) is Json
    monkeypatch.setitem(sys.modules, 'rich.console', None)
    assert type(make_view()) is Plain
    with pytest.raises(SetupError, match=r'greensip\[cli\]'):
        Coloured()


def test_no_object_has_controls_in_it(flow: Flow) -> None:
    out = io.StringIO()
    Json(out).note('\x9b31m \u202e \u2028')
    assert out.getvalue().isascii() and out.getvalue().count('\n') == 1


@pytest.mark.parametrize('status', [2, 10])
def test_nothing_that_is_said_acts_on_the_terminal(capsys: pytest.CaptureFixture[str], status: int) -> None:
    """A reason phrase, the text of an error."""
    evil = '486 \x1b]0;x\x07\x9b2J\u202e\nand \x08more'
    view = Plain(quiet=True, now=lambda: 1.0)
    view.note(evil)
    view.finish(Outcome(status, evil, 486))
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert len((out + err).splitlines()) == 2 and r'486 \x1b]0;x\x07\x9b2J\u202e\nand \x08more' in out


def test_colours_are_ours_only() -> None:
    console = pytest.importorskip('rich.console').Console(file=io.StringIO(), force_terminal=True, width=100,
                                                          color_system='standard')
    view = Coloured(console, now=lambda: 0.0)
    view.finish(Outcome(10, 'busy: \x1b[2J\x07', 486))
    assert r'busy: \x1b[2J\x07' in console.file.getvalue() and '\x07' not in console.file.getvalue()
