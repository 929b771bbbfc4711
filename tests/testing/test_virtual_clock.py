"""Time that jumps: who wakes when, in which order, and that nothing depends on the speed of the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event
from gevent.exceptions import LoopExit

from greensip.testing import clock as clock_module
from greensip.testing.clock import SWEEP, VirtualClock


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    clock = VirtualClock()
    yield clock
    clock.close()


def test_an_hour_takes_no_time(clock: VirtualClock) -> None:
    began = time.monotonic()
    clock.sleep(3600)
    assert clock.now() == 3600
    assert time.monotonic() - began < 60


def test_greenlets_wake_in_the_order_of_their_deadlines(clock: VirtualClock) -> None:
    seen: list[tuple[str, float]] = []

    def sleeper(name: str, seconds: float) -> None:
        for _ in range(3):
            clock.sleep(seconds)
            seen.append((name, clock.now()))

    gevent.joinall([gevent.spawn(sleeper, 'a', 1.0), gevent.spawn(sleeper, 'b', 0.5), gevent.spawn(sleeper, 'c', 1.0)])
    # of equal deadlines the one that was set first
    assert seen == [('b', 0.5), ('a', 1.0), ('c', 1.0), ('b', 1.0), ('b', 1.5), ('a', 2.0), ('c', 2.0), ('a', 3.0),
                    ('c', 3.0)]


def test_time_stands_while_somebody_can_run(clock: VirtualClock) -> None:
    """Also if that takes longer than gevent runs callbacks in one go (its switch interval of 5 ms)."""
    times: list[float] = []

    def busy() -> None:
        for _ in range(20):
            until = time.perf_counter() + 0.001
            while time.perf_counter() < until:
                pass
            gevent.sleep(0)
            times.append(clock.now())

    workers = [gevent.spawn(busy) for _ in range(3)]
    clock.sleep(1.0)
    assert times == [0.0] * 60
    gevent.joinall(workers)


def test_what_a_timer_wakes_runs_before_the_next_timer_fires(clock: VirtualClock) -> None:
    seen: list[str] = []
    event = Event()

    def first() -> None:
        event.wait()
        seen.append('woken')
        gevent.sleep(0)
        gevent.sleep(0)
        seen.append('woken, and back from two rounds')

    greenlet = gevent.spawn(first)
    clock.timer(1.0, lambda: (seen.append('first timer'), event.set()))
    clock.timer(1.0, seen.append, 'second timer')
    clock.sleep(1.0)
    assert seen == ['first timer', 'woken', 'woken, and back from two rounds', 'second timer']
    greenlet.join()


def test_sleeping_no_time_lets_everybody_else_come_to_rest(clock: VirtualClock) -> None:
    seen: list[int] = []

    def count() -> None:
        for number in range(5):
            gevent.sleep(0)
            seen.append(number)

    gevent.spawn(count)
    clock.timer(0.001, seen.append, -1)
    clock.sleep(0)
    assert seen == [0, 1, 2, 3, 4]
    assert clock.now() == 0.0


def test_a_cancelled_timer_neither_fires_nor_moves_the_time(clock: VirtualClock) -> None:
    fired: list[str] = []
    late = clock.timer(50, fired.append, 'cancelled')
    clock.timer(1, fired.append, 'fired')
    late.cancel()
    late.cancel()
    clock.sleep(2)
    assert fired == ['fired']
    assert clock.now() == 2


def test_at_keeps_a_deadline_to_the_last_bit(clock: VirtualClock) -> None:
    clock.sleep(0.1)
    deadline = 0.1 + 0.7
    seen: list[float] = []
    clock.at(deadline, lambda: seen.append(clock.now()))
    clock.sleep(5)
    assert seen == [deadline]


def test_a_deadline_in_the_past_fires_without_turning_time_back(clock: VirtualClock) -> None:
    clock.sleep(10)
    seen: list[float] = []
    clock.at(3, lambda: seen.append(clock.now()))
    clock.sleep(0)
    assert seen == [10]


def test_time_is_held_while_waiting_for_something_real(clock: VirtualClock) -> None:
    clock.timer(1, lambda: None)
    with clock.held():
        gevent.sleep(0.005)
        assert clock.now() == 0.0
    clock.sleep(0.5)
    assert clock.now() == 0.5


def test_a_deadlock_is_found_at_once(clock: VirtualClock) -> None:
    """Without timers the clock does not keep the loop alive, so gevent says that nobody will ever wake us."""
    clock.sleep(1)
    with pytest.raises(LoopExit):
        Event().wait()


def test_a_sleeper_that_is_killed_leaves_no_timer(clock: VirtualClock) -> None:
    greenlet = gevent.spawn(clock.sleep, 1000)
    clock.sleep(1)
    greenlet.kill()
    with pytest.raises(LoopExit):
        Event().wait()
    assert clock.now() == 1


def test_time_that_cannot_move_on_is_an_error(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(clock_module, 'STANDSTILL', 50)

    def again() -> None:
        clock.timer(0, again)

    again()
    with pytest.raises(LoopExit):
        clock.sleep(1)
    assert '50 timers have fired at 0.0' in capsys.readouterr().err


def test_cancelled_timers_do_not_pile_up(clock: VirtualClock) -> None:
    for _ in range(20 * SWEEP):
        clock.timer(100, lambda: None).cancel()
    assert len(clock._heap) <= 2 * SWEEP


def test_two_clocks_know_nothing_of_each_other(clock: VirtualClock) -> None:
    other = VirtualClock(start=1000.0)
    other.timer(5, lambda: None)
    clock.sleep(1)
    assert clock.now() == 1
    other.sleep(7)
    assert other.now() == 1007
    assert clock.now() == 1
