"""Other OS threads: refused at the leg itself, served through post() and from_thread()."""

from __future__ import annotations

import threading

import gevent
import pytest

from greensip.errors import Busy, UsageError, WaitTimeout, WrongState, WrongThread, response_error
from greensip.ua.deadline import deadline
from greensip.ua.engine import Engine
from greensip.ua.group import LegGroup
from greensip.ua.mailbox import after, wait_any
from greensip.ua.threads import Proxy

from .conftest import Line


class Switchboard(Engine):
    """An engine with something to do."""

    def invite(self, uri, **options):
        self.line = Line(self, uri)
        return self.line

    def pair(self):
        return [Line(self, 'a'), Line(self, 'b')]

    def group(self, leg=None):
        return LegGroup(leg, engine=self)


@pytest.fixture
def board(clock):
    made = Switchboard(clock)
    yield made
    made.close()


def turns(count=5):
    """Let the hub go round."""
    for _ in range(count):
        gevent.sleep(0)


def in_thread(fn, *args):
    """Run fn in an OS thread while this thread's hub goes on; return what it returned or raised."""
    result = []

    def run():
        try:
            result.append(fn(*args))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        gevent.sleep(0.001)
    return result[0]


def test_a_leg_refuses_a_foreign_thread(board):
    line = Line(board)
    for verb in (lambda: line.wait_for('200'), line.wait_ended, line.check, lambda: line.spawn(print),
                 lambda: wait_any(line.on('200')), lambda: LegGroup(line).add(Line(board)), board.check_thread):
        error = in_thread(verb)
        assert isinstance(error, WrongThread) and 'from_thread' in str(error)


def test_post_gives_a_future(board, clock):
    def job(x):
        clock.sleep(5)
        return x + 1

    assert in_thread(lambda: board.post(job, 1).result()) == 2
    assert isinstance(in_thread(lambda: board.post(lambda: 1 / 0).result()), ZeroDivisionError)


def test_post_from_the_own_thread_works_as_well(board):
    future = board.post(lambda: 7)
    turns()
    assert future.result(timeout=0) == 7


def test_cancelling_the_future_kills_what_it_waits_for(board, clock):
    line = Line(board)
    future = board.post(line.wait_for, '200')
    turns()
    assert len(line._gates) == 1
    assert in_thread(future.cancel)
    turns()
    assert line._gates == []


def test_post_to_a_closed_engine(board):
    future = board.post(lambda: 7)
    board.close()
    turns()
    assert isinstance(future.exception(timeout=0), WrongState)
    with pytest.raises(WrongState):
        board.post(lambda: 7)


def test_a_thread_calls_as_a_script_does(board, later):
    safe = board.from_thread()

    def script():
        with safe.invite('sip:carol@example.com') as leg:
            assert isinstance(leg, Proxy) and leg.name == 'sip:carol@example.com'
            board.post(later, 1, board.line.happen, 180, 200)
            return leg.wait_for('200', timeout=20).label, leg.ended

    assert in_thread(script) == (200, False)
    assert board.line.closed == 1


def test_errors_come_back(board, later):
    def script():
        leg = board.from_thread().invite('sip:carol@example.com')
        board.post(later, 1, board.line.end, response_error(486))
        leg.wait_for('200', timeout=20)

    assert isinstance(in_thread(script), Busy)


def test_an_exception_in_the_threads_block_reaches_the_leg(board):
    def script():
        with board.from_thread().invite('sip:carol@example.com'):
            raise KeyError('oops')

    assert isinstance(in_thread(script), KeyError)
    assert isinstance(board.line.aborted, KeyError)


def test_only_the_calling_thread_blocks(board, later, clock):
    beats = []
    for second in (1, 2):
        later(second, lambda: beats.append(clock.now()))
    assert isinstance(in_thread(lambda: board.from_thread().invite('x').wait_for('200', timeout=5)), WaitTimeout)
    assert beats == [1001, 1002]


def test_a_deadline_of_the_thread_holds(board, clock):
    def script():
        leg = board.from_thread().invite('x')
        with deadline(3, clock=clock):
            leg.wait_for('200', timeout=20)

    error = in_thread(script)
    assert 'deadline of 3 s' in str(error) and clock.now() == 1003


def test_lists_of_legs_groups_and_wait_any(board, later):
    def script():
        safe = board.from_thread()
        a, b = safe.pair()
        with safe.group(a) as group:
            assert group.add(b) == b
            board.post(later, 1, a._target.happen, 'INFO')
            event = wait_any(b.on('200'), a.on('INFO'), after(9))
        return event.label, b.ended, a.ended, b.error

    label, b_ended, a_ended, _ = in_thread(script)
    assert (label, b_ended, a_ended) == ('INFO', True, False)


def test_a_proxy_in_its_own_thread_is_the_thing_itself(board):
    leg = board.from_thread().invite('x')
    assert leg.name == 'x'


def test_a_proxy_hides_what_is_private(board):
    with pytest.raises(AttributeError):
        board.from_thread()._open  # noqa: B018


def test_wait_any_refuses_a_proxy_of_something_else(board):
    error = in_thread(lambda: wait_any(board.from_thread().invite('x')))
    assert isinstance(error, UsageError)
