"""What it means to wait: the cursor, endings, time-outs, several sources, scope."""

from __future__ import annotations

import gc
import weakref

import gevent
import pytest

from greensip.dialog.event import REQUEST, Event
from greensip.errors import (
    Busy,
    LocalHangup,
    RemoteCancel,
    RemoteHangup,
    TransactionTimeout,
    UnexpectedMessage,
    UsageError,
    WaitTimeout,
    response_error,
)
from greensip.message import Request
from greensip.ua import mailbox
from greensip.ua.deadline import deadline
from greensip.ua.mailbox import after, wait_any

from .conftest import Line

# -- rule 1: the cursor

def test_an_event_before_the_wait_is_seen(line):
    line.happen(100, 180, 200)
    assert line.wait_for('180').label == 180
    assert line.wait_for('200').label == 200


def test_none_is_consumed_twice(line):
    line.happen(180, 180)
    line.wait_for('180')
    line.wait_for('180')
    with pytest.raises(WaitTimeout):
        line.wait_for('180', timeout=1)


def test_what_a_wait_passes_over_is_behind_the_cursor(line):
    line.happen(100, 180, 200)
    line.wait_for('200')
    with pytest.raises(WaitTimeout):
        line.wait_for('180', timeout=0)


def test_a_wait_that_fails_moves_nothing(line):
    line.happen(100, 183)
    with pytest.raises(WaitTimeout):
        line.wait_for('200', timeout=1)
    assert line.wait_for('18x').label == 183


def test_waits_for_what_comes_later(line, later, clock):
    later(0.4, line.happen, 180)
    later(1.5, line.happen, 200)
    assert line.wait_for('200', timeout=20).time == clock.now() == 1001.5


def test_two_greenlets_on_one_leg_get_one_event_each(line, later):
    got = []
    waiting = [gevent.spawn(lambda: got.append(line.wait_for('INFO'))) for _ in range(2)]
    later(1, line.happen, 'INFO')
    later(2, line.happen, 'INFO')
    gevent.joinall(waiting)
    assert [event.time for event in got] == [1001, 1002]


def test_a_predicate_that_waits_itself(line, later, clock):
    def slow(event):
        clock.sleep(1)
        return event.label == 200

    later(0.5, line.happen, 180, 183)
    later(1.0, line.happen, 200)
    assert line.wait_for(slow).label == 200


def test_unread_events_are_bounded(line):
    for _ in range(mailbox.UNREAD + 500):
        line.happen('INFO')
    line.happen('BYE')
    assert len(line._events) == mailbox.UNREAD
    assert line.wait_for('BYE').label == 'BYE'
    assert line._events == []


@pytest.mark.parametrize('small', [0, mailbox.UNREAD])
def test_unread_octets_are_bounded(line, small):
    """Also where the mailbox was full of small ones before."""
    for _ in range(small):
        line.happen('INFO')
    for number in range(300):
        request = Request('INFO', 'sip:b@x', [('Subject', 's' * 10_000)], body=bytes(50_000))
        line.deliver(Event(REQUEST, None, request, 1000.0 + number))
    held = [event.message for event in line._events if event.message is not None]
    assert 15 <= len(held) <= 17 + mailbox.WEIGHED
    assert line._events[-1].time == 1299.0
    line.happen('BYE')
    assert line.wait_for('BYE').label == 'BYE'
    assert line._events == []


def test_events_behind_the_cursor_are_gone(line):
    line.happen(180)
    seen = line.wait_for('180')
    line.happen(200)
    line.wait_for('200')
    assert not [holder for holder in gc.get_referrers(seen) if isinstance(holder, list)]
    assert len(line._history) == 4


# -- rule 2: endings

def test_an_unasked_ending_raises(line, later):
    later(1, line.happen, 486)
    later(1, line.end, response_error(486, 'Busy Here'))
    with pytest.raises(Busy) as caught:
        line.wait_for('200', timeout=20)
    assert str(caught.value) == '486 Busy Here'


def test_an_asked_for_ending_returns(line, later):
    later(1, line.happen, 486)
    later(1, line.end, response_error(486))
    assert line.wait_for('200', '4xx-6xx').label == 486
    assert line.wait_for('ended').error.code == 486


def test_every_later_wait_raises_the_ending_again(line):
    line.happen(486)
    line.end(response_error(486))
    for _ in range(3):
        with pytest.raises(Busy):
            line.wait_for('2xx')
    with pytest.raises(Busy):
        line.check()
    assert line.wait_for('486').label == 486


def test_raising_an_ending_keeps_no_frames(line):
    class Local:
        pass

    line.end(RemoteHangup())

    def script():
        local = Local()
        try:
            line.wait_for('BYE')
        except RemoteHangup:
            return weakref.ref(local)

    assert script()() is None
    assert line.error.__traceback__ is None


def test_wait_ended_never_raises_the_ending(line, later):
    later(3, line.end, TransactionTimeout('no response'))
    assert isinstance(line.wait_ended(timeout=10).error, TransactionTimeout)
    assert isinstance(line.wait_ended().error, TransactionTimeout)


def test_an_ending_asked_for_by_its_class(line, later):
    later(1, line.end, RemoteHangup('done'))
    assert line.wait_for(RemoteHangup).error.reason == 'done'


def test_nothing_is_delivered_after_the_ending(line):
    line.end(RemoteHangup())
    line.happen(200)
    line.end(RemoteCancel())
    with pytest.raises(RemoteHangup):
        line.wait_for('200')


# -- rule 3: a time-out says what was seen

def test_text_of_a_timeout(line, later):
    later(0.4, line.happen, 100, 180)
    with pytest.raises(WaitTimeout) as caught:
        line.wait_for('200', timeout=20)
    assert str(caught.value) == 'no 200 within 20 s from bob (seen 100, 180 at +0.4 s)'
    assert caught.value.status == 408


def test_text_of_a_timeout_tells_different_times_and_what_was_consumed(line, later):
    line.happen(100)
    later(0.4, line.happen, 180)
    line.wait_for('18x')
    with pytest.raises(WaitTimeout) as caught:
        line.wait_for('200', '3xx', timeout=2.5)
    assert str(caught.value) == 'no 200 or 3xx within 2.5 s from bob (seen 100 at +0.0 s, 180 at +0.4 s)'


def test_text_of_a_timeout_when_nothing_came(line):
    with pytest.raises(WaitTimeout, match=r'^no BYE within 1 s from bob \(nothing seen\)$'):
        line.wait_for('BYE', timeout=1)


def test_text_stays_short(line):
    line.happen(*range(100, 200))
    with pytest.raises(WaitTimeout) as caught:
        line.wait_for('200', timeout=1)
    assert 'seen 176, 177' in str(caught.value)


def test_a_timeout_is_an_ordinary_exception(line):
    try:
        line.wait_for('200', timeout=1)
    except Exception as error:
        assert isinstance(error, TimeoutError)


def test_timeout_of_zero_only_looks(line, clock):
    line.happen(180)
    assert line.wait_for('180', timeout=0).label == 180
    with pytest.raises(WaitTimeout):
        line.wait_for('200', timeout=0)
    assert clock.now() == 1000


def test_an_event_at_the_moment_of_the_timeout_is_seen(line, later):
    later(5, line.happen, 200)
    assert line.wait_for('200', timeout=5).label == 200


def test_a_wait_leaves_no_timer_and_no_gate(line, later, clock):
    later(1, line.happen, 200)
    line.wait_for('200', timeout=20)
    assert line._gates == []
    assert clock._outstanding == 0


def test_a_killed_wait_leaves_no_gate(line):
    waiting = gevent.spawn(line.wait_for, '200')
    gevent.sleep(0)
    assert len(line._gates) == 1
    waiting.kill()
    assert line._gates == []
    line.happen(200)
    gevent.sleep(0)


def test_killed_in_the_very_moment_it_is_woken(line, clock):
    # The wake-up is under way already: it must not hit the greenlet in whatever it waits for next.
    reached = []

    def script():
        try:
            line.wait_for('200')
        finally:
            clock.sleep(1)
            reached.append(clock.now())

    waiting = gevent.spawn(script)
    gevent.sleep(0)
    waiting.kill(block=False)
    line.happen(200)
    waiting.join()
    assert reached == [1001]


# -- rule 6: deadlines

def test_a_deadline_is_one_budget_for_every_wait(line, later, clock):
    later(6, line.happen, 180)
    with pytest.raises(WaitTimeout) as caught, deadline(10):
        line.wait_for('180', timeout=20)
        line.wait_for('200', timeout=20)
    assert clock.now() == 1010
    assert str(caught.value) == 'no 200 before the deadline of 10 s from bob (seen 180 at +6.0 s)'


def test_the_shorter_of_timeout_and_deadline(line, clock):
    with deadline(10), pytest.raises(WaitTimeout, match='within 2 s'):
        line.wait_for('200', timeout=2)
    assert clock.now() == 1002


def test_deadlines_nest(line, clock):
    with deadline(10) as outer:
        with deadline(3) as inner:
            with pytest.raises(WaitTimeout, match='deadline of 3 s'):
                line.wait_for('200')
            assert inner.remaining == 0
        assert outer.remaining == 7
        with deadline(60) as longer:
            assert longer.remaining == 7
            with pytest.raises(WaitTimeout, match='deadline of 10 s'):
                line.wait_for('200')
    with pytest.raises(WaitTimeout, match='within 60 s'):
        line.wait_for('200', timeout=60)
    assert clock.now() == 1070


def test_a_deadline_that_has_passed_still_sees_what_is_there(line, clock):
    with deadline(1):
        clock.sleep(2)
        line.happen(200)
        assert line.wait_for('200').label == 200
        with pytest.raises(WaitTimeout):
            line.wait_for('BYE')


def test_a_deadline_is_that_of_its_greenlet(line, later):
    later(5, line.happen, 200)
    waiting = gevent.spawn(line.wait_for, '200')
    with deadline(1):
        gevent.sleep(0)
        assert waiting.get().label == 200


def test_what_is_spawned_at_the_side_inherits_while_the_block_lasts(line, later):
    with deadline(2), pytest.raises(WaitTimeout, match='deadline of 2 s'):
        line.spawn(Line.wait_for, '200').get()
    with deadline(2):
        outliving = line.spawn(Line.wait_for, '200')
    later(5, line.happen, 200)
    assert outliving.get().label == 200


def test_a_deadline_is_entered_once():
    budget = deadline(3)
    with budget:
        pass
    with pytest.raises(UsageError), budget:
        pass
    with pytest.raises(UsageError):
        deadline(-1)


# -- wait_any

def test_wait_any_consumes_on_the_leg_that_fired_only(engine, later):
    a, b = Line(engine, 'a'), Line(engine, 'b')
    a.happen('INFO')
    later(1, b.happen, 180, 200)
    bye, answered = a.on('BYE'), b.on('200')
    event = wait_any(bye, answered, after(20))
    assert (event.label, event.leg, bye.event, answered.event) == (200, b, None, event)
    assert a.wait_for('INFO').label == 'INFO'


def test_wait_any_after(engine, clock):
    a = Line(engine, 'a')
    late = after(20)
    assert wait_any(a.on('BYE'), late).label == 'after'
    assert late.event is not None and clock.now() == 1020


def test_after_counts_from_its_first_wait(engine, later, clock):
    a = Line(engine, 'a')
    later(15, a.happen, 'INFO')
    late = after(20)
    assert wait_any(a.on('INFO'), late).label == 'INFO'
    assert wait_any(a.on('INFO'), late).label == 'after'
    assert clock.now() == 1020


def test_wait_any_of_timers_alone(engine, clock):
    soon, late = after(2), after(3)
    wait_any(late, soon)
    assert soon.event is not None and late.event is None and clock.now() == 1002


def test_wait_any_raises_an_unasked_ending_of_either_leg(engine, later):
    a, b = Line(engine, 'a'), Line(engine, 'b')
    later(1, b.end, response_error(486))
    with pytest.raises(Busy):
        wait_any(a.on('BYE'), b.on('200'), after(20))


def test_wait_any_several_patterns_on_one_leg(line, later):
    later(1, line.happen, 'INFO')
    bye, info = line.on('BYE'), line.on('INFO', 'MESSAGE')
    assert wait_any(bye, info) is info.event


def test_wait_any_time_out(engine):
    with pytest.raises(WaitTimeout) as caught:
        wait_any(Line(engine, 'a').on('BYE'), Line(engine, 'b').on('200'), timeout=3)
    assert str(caught.value) == 'no BYE within 3 s from a (nothing seen); no 200 within 3 s from b (nothing seen)'
    with pytest.raises(WaitTimeout, match=r'^nothing came within 3 s$'):
        wait_any(after(20), timeout=3)


def test_wait_any_refuses_what_is_no_source(line):
    with pytest.raises((UsageError, TypeError)):  # the compiled build looks at the types first
        wait_any(line)
    with pytest.raises(UsageError):
        wait_any()


# -- strict scripts

def test_strict_raises_for_what_was_not_asked_for(engine, later):
    line = Line(engine, strict=True)
    later(1, line.happen, 183)
    with pytest.raises(UnexpectedMessage, match='183 from bob while waiting for 180 or 200'):
        line.wait_for('180', '200')


def test_strict_sees_what_came_before_the_wait(engine):
    line = Line(engine, strict=True)
    line.happen(180, 200)
    with pytest.raises(UnexpectedMessage):
        line.wait_for('200')
    assert line.wait_for('200').label == 200


def test_strict_endings_are_endings(engine):
    line = Line(engine, strict=True)
    line.happen(486)
    line.end(response_error(486))
    assert line.wait_for('486').label == 486
    with pytest.raises(Busy):
        line.wait_for('200')


# -- rule 5: scope

def test_leaving_the_block_closes(line):
    with line as entered:
        assert entered is line and not line.closed
    assert line.closed == 1 and isinstance(line.error, LocalHangup)


def test_an_exception_closes_and_passes(line):
    with pytest.raises(ZeroDivisionError), line:
        1 / 0  # noqa: B018
    assert isinstance(line.aborted, ZeroDivisionError)


def test_a_kill_closes(line):
    def script():
        with line:
            line.wait_for('200')

    running = gevent.spawn(script)
    gevent.sleep(0)
    running.kill()
    assert isinstance(line.aborted, gevent.GreenletExit) and line.ended


def test_what_was_spawned_at_the_side_ends_with_the_scope(line):
    with line:
        task = line.spawn(lambda leg: gevent.sleep(1000))
        waiting = line.spawn(lambda leg, pattern: leg.wait_for(pattern), 'INFO')
        gevent.sleep(0)
    gevent.joinall([task, waiting], timeout=1)
    assert task.dead and waiting.dead and waiting.successful()


def test_the_ending_reaches_what_was_spawned_as_an_ending(line, later):
    seen = []

    def listen(leg):
        try:
            leg.wait_for('INFO')
        except RemoteHangup as error:
            seen.append(error)
            raise

    task = line.spawn(listen)
    later(1, line.end, RemoteHangup())
    assert task.get() is None and len(seen) == 1


def test_a_strict_block_ends_with_what_nobody_waited_for(engine, later):
    line = Line(engine, strict=True)
    with pytest.raises(UnexpectedMessage, match='BYE from bob, which nobody has waited for'), line:
        line.happen(180)
        line.wait_for('180')
        line.happen('media', 'BYE')
    assert line.closed == 1
    with Line(engine, strict=True) as line:
        line.happen('media')
    with pytest.raises(KeyError), Line(engine, strict=True) as line:
        line.happen('BYE')
        raise KeyError('what went wrong before counts')
    with Line(engine) as line:
        line.happen('BYE')
