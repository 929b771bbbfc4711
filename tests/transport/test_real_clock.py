"""The clock of the machine, on gevent's loop."""

from __future__ import annotations

import time

import gevent
from gevent.event import Event
from gevent.hub import Hub

from greensip.transport import RealClock


def test_a_timer_is_not_early_although_its_round_of_the_loop_has_lasted() -> None:
    """The loop's idea of now dates from the start of the round; a timer must not go by that."""
    clock = RealClock()
    fired = Event()
    times: list[float] = []

    def set_timer_late_in_a_round() -> None:
        until = time.perf_counter() + 0.03
        while time.perf_counter() < until:
            pass
        times.append(clock.now())
        clock.timer(0.02, fired.set)

    gevent.spawn(set_timer_late_in_a_round)
    assert fired.wait(5)
    assert clock.now() - times[0] >= 0.019


def test_callbacks_get_their_arguments_in_the_hub() -> None:
    clock = RealClock()
    seen: list[object] = []
    done = Event()

    def callback(*args: object) -> None:
        seen.extend([*args, isinstance(gevent.getcurrent(), Hub)])
        done.set()

    clock.at(clock.now() - 1, callback, 1, 'two')
    assert done.wait(5)
    assert seen == [1, 'two', True]


def test_a_cancelled_timer_does_not_fire() -> None:
    clock = RealClock()
    seen: list[str] = []
    done = Event()
    timer = clock.timer(0.001, seen.append, 'cancelled')
    clock.timer(0.01, done.set)
    timer.cancel()
    timer.cancel()
    assert done.wait(5)
    assert seen == []
