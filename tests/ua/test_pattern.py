"""Patterns: which events a text, a class or a predicate stands for."""

from __future__ import annotations

import pytest

from greensip.errors import Busy, LegEnded, RemoteHangup, UsageError
from greensip.ua.mailbox import Notice
from greensip.ua.pattern import compile_patterns


def event(label, detail='', error=None):
    made = Notice('x', time=0.0, detail=detail, error=error)
    made.label = label
    return made


@pytest.mark.parametrize('patterns, yes, no', [
    (('200',), [200], [100, 180, 201, '200', 'BYE']),
    (('2xx',), [200, 202, 299], [199, 300, 'ended']),
    (('18x',), [180, 183, 189], [179, 190, 100]),
    (('4xx-6xx',), [400, 486, 699], [399, 700, 200]),
    (('180-199',), [180, 199], [179, 200]),
    (('180', '200'), [180, 200], [183, 100]),
    (('BYE',), ['BYE'], ['INFO', 'bye', 200]),
    (('X-PING',), ['X-PING'], ['PING']),
    (('ended',), ['ended'], ['failed', 'BYE']),
])
def test_text(patterns, yes, no):
    matcher = compile_patterns(patterns)
    assert [label for label in yes + no if matcher.matches(event(label))] == yes
    assert [label for label in yes + no if matcher.may_match(event(label))] == yes


def test_detail_narrows_a_word():
    active, either = compile_patterns(('composing:active',)), compile_patterns(('composing',))
    assert active.matches(event('composing', 'active')) and either.matches(event('composing', 'active'))
    assert not active.matches(event('composing', 'idle')) and either.matches(event('composing', 'idle'))


@pytest.mark.parametrize('text', ['dtmf', 'dtmf:5', 'media'])
def test_what_nothing_can_tell_yet_is_refused(text):
    with pytest.raises(UsageError, match=f"^'{text}': greensip has no media yet$"):
        compile_patterns(('200', text))


def test_class_matches_the_event_or_its_error():
    assert compile_patterns((Notice,)).matches(event('hold'))
    hung_up = event('ended', error=RemoteHangup())
    assert compile_patterns((LegEnded,)).matches(hung_up)
    assert compile_patterns((RemoteHangup, '200')).matches(hung_up)
    assert not compile_patterns((Busy,)).matches(hung_up)


def test_predicate_is_not_called_by_those_who_deliver():
    called = []
    matcher = compile_patterns((lambda e: called.append(e) or e.label == 183,))
    assert matcher.may_match(event(180))
    assert called == []
    assert not matcher.matches(event(180)) and matcher.matches(event(183))


@pytest.mark.parametrize('text', ['2000', '7xx', '0xx', '1x1', 'x', '', 'bye', 'end', '600-400', 'ended:5',
                                  'composing:', '2xx-', ' 200'])
def test_a_text_that_means_nothing_is_refused(text):
    with pytest.raises(UsageError, match='no pattern'):
        compile_patterns((text,))


def test_no_pattern_and_no_text_are_refused():
    with pytest.raises(UsageError):
        compile_patterns(())
    with pytest.raises(UsageError, match='200 is no pattern'):
        compile_patterns((200,))


def test_compiled_once():
    assert compile_patterns(('18x', '2xx')) is compile_patterns(('18x', '2xx'))


def test_reads_in_a_sentence():
    def answered(e):
        return True

    assert compile_patterns(('180', Busy, answered)).text == '180 or Busy or answered'
