"""Groups end together."""

from __future__ import annotations

import threading

import gevent
import pytest

from greensip.errors import (
    Busy,
    Declined,
    LocalHangup,
    NotFound,
    RemoteCancel,
    RemoteHangup,
    TransactionTimeout,
    UsageError,
    WaitTimeout,
    WrongThread,
    response_error,
)
from greensip.ua.engine import Engine
from greensip.ua.group import LegGroup
from greensip.ua.mailbox import after, wait_any
from greensip.ua.threads import Proxy

from .conftest import Line


@pytest.fixture
def a(engine):
    return Line(engine, 'a')


@pytest.fixture
def b(engine):
    return Line(engine, 'b')


def test_a_wait_on_another_leg_is_woken_when_the_bound_leg_ends(a, b, later, clock):
    group = LegGroup(a)
    group.add(b)
    later(3, a.end, RemoteCancel('SIP;cause=200'))
    with pytest.raises(RemoteCancel) as caught:
        b.wait_for('2xx', timeout=20)
    assert caught.value.reason == 'SIP;cause=200' and clock.now() == 1003
    assert a._gates == b._gates == []


def test_a_wait_that_begins_after_the_bound_leg_ended(a, b):
    LegGroup(a).add(b)
    a.end(RemoteHangup())
    b.happen(200)
    with pytest.raises(RemoteHangup):
        b.wait_for('200')
    with pytest.raises(RemoteHangup):
        b.check()


def test_our_own_ending_of_the_bound_leg_wakes_nobody(a, b, later):
    LegGroup(a).add(b)
    later(1, a.close)
    later(2, b.happen, 'BYE')
    assert b.wait_for('BYE').label == 'BYE'


def test_foreign_code_is_left_alone(a, b, later, clock):
    LegGroup(a).add(b)
    later(1, a.end, RemoteCancel())
    clock.sleep(5)
    assert clock.now() == 1005


def test_a_wait_on_the_bound_leg_raises_its_own_ending(a, b, later):
    LegGroup(a).add(b)
    later(1, b.end, RemoteHangup())
    later(2, a.happen, 'INFO')
    assert a.wait_for('INFO').label == 'INFO'


def test_wait_any_is_woken_too(a, b, engine, later):
    c = Line(engine, 'c')
    group = LegGroup(a)
    group.add(b)
    group.add(c)
    later(1, a.end, RemoteCancel())
    with pytest.raises(RemoteCancel):
        wait_any(b.on('200'), c.on('200'), after(20))


def test_groups_may_hang_on_one_another(a, b, engine, later):
    c = Line(engine, 'c')
    LegGroup(a).add(b)
    LegGroup(b).add(c)
    later(1, a.end, RemoteCancel())
    with pytest.raises(RemoteCancel):
        c.wait_for('200')


def test_a_ring_of_groups_is_refused(a, b):
    LegGroup(a).add(b)
    with pytest.raises(UsageError):
        LegGroup(b).add(a)
    with pytest.raises(UsageError):
        LegGroup(a).add(a)
    with pytest.raises(UsageError, match='one group only'):
        LegGroup().add(b)


def test_leaving_the_group_closes_its_legs_but_not_the_bound_one(a, b):
    with LegGroup(a) as group:
        group.add(b)
    assert b.closed == 1 and a.closed == 0


def test_what_was_removed_outlives_the_group(a, b, later):
    with LegGroup(a) as group:
        group.add(b)
        group.remove(b)
    assert b.closed == 0
    a.end(RemoteHangup())
    later(1, b.happen, 200)
    assert b.wait_for('200').label == 200


def test_first_returns_the_leg_and_closes_the_others(a, b, engine, later, clock):
    c = Line(engine, 'c')
    with LegGroup() as group:
        for leg in (a, b, c):
            group.add(leg)
        later(1, a.happen, 180)
        later(2, a.end, response_error(486))
        later(3, b.happen, 200)
        assert group.first('200', timeout=25) is b
        assert (a.closed, b.closed, c.closed) == (1, 0, 1) and clock.now() == 1003


@pytest.mark.parametrize('errors, best', [
    ([response_error(486), response_error(404)], Busy),
    ([response_error(404), response_error(603)], Declined),
    ([TransactionTimeout('x'), response_error(404)], NotFound),
    ([TransactionTimeout('x'), LocalHangup()], TransactionTimeout),
    ([response_error(500), response_error(404)], NotFound),
])
def test_first_raises_the_error_that_tells_most(engine, later, errors, best):
    with LegGroup() as group:
        for second, error in enumerate(errors, 1):
            later(second, group.add(Line(engine)).end, error)
        with pytest.raises(best):
            group.first('2xx', timeout=25)


def test_first_time_out_and_bound_leg(a, b, later):
    with LegGroup(a) as group:
        group.add(b)
        with pytest.raises(WaitTimeout, match='no 200 within 5 s from b'):
            group.first('200', timeout=5)
        later(1, a.end, RemoteCancel())
        with pytest.raises(RemoteCancel):
            group.first('200', timeout=5)


def test_first_of_nothing(engine):
    with pytest.raises(UsageError, match='no legs'):
        LegGroup(engine=engine).first('200')


def test_a_group_without_engine_needs_exactly_one(engine, clock):
    assert LegGroup()._engine is engine
    second = Engine(clock)
    with pytest.raises(UsageError, match='2 are open'):
        LegGroup()
    second.close()
    engine.close()
    with pytest.raises(UsageError, match='none is open'):
        LegGroup()


def test_a_foreign_thread_is_told_where_to_make_a_group(engine, a):
    proxy = Proxy(engine, a)
    assert LegGroup(proxy).leg is a
    seen = []

    def script():
        for verb in (lambda: LegGroup(proxy), lambda: LegGroup(a).add(a), lambda: LegGroup(a).remove(a)):
            try:
                verb()
            except WrongThread as error:
                seen.append(str(error))

    thread = threading.Thread(target=script)
    thread.start()
    thread.join(timeout=5)
    assert len(seen) == 3 and seen[0].endswith('ua.from_thread().group(leg)')


def test_a_killed_greenlet_leaves_no_gates(a, b):
    LegGroup(a).add(b)
    waiting = gevent.spawn(b.wait_for, '200')
    gevent.sleep(0)
    assert len(a._gates) == 1
    waiting.kill()
    assert a._gates == b._gates == []
