"""Timers as cells in queues: order, cancelling, the bound on queues, and that nothing is lost or left."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.transaction import Timers
from greensip.transaction.timers import MAX_QUEUES


class Recorder:
    """Notes what fires; ``then`` is called with the name."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, float]] = []
        self.then = lambda name, now: None

    def on_timer(self, name: str, now: float) -> None:
        self.fired.append((name, now))
        self.then(name, now)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_all_that_is_due_fires_in_the_order_of_the_deadlines(recorder: Recorder) -> None:
    timers = Timers()
    timers.add(5.0, 0.0, recorder, 'fourth')
    timers.add(0.5, 0.0, recorder, 'first')
    timers.add(2.0, 0.0, recorder, 'third')
    timers.add(0.5, 1.0, recorder, 'second')
    assert timers.next_timer() == 0.5
    timers.handle(0.4)
    assert recorder.fired == []
    timers.handle(3.0)
    assert [name for name, now in recorder.fired] == ['first', 'second', 'third']
    assert timers.next_timer() == timers.earliest == 5.0
    timers.handle(5.0)
    assert recorder.fired[-1] == ('fourth', 5.0)
    assert timers.next_timer() is None
    assert timers.earliest == float('inf')


def test_a_cancelled_timer_does_not_fire_and_does_not_wake_anybody(recorder: Recorder) -> None:
    timers = Timers()
    first = timers.add(1.0, 0.0, recorder, 'first')
    timers.add(1.0, 2.0, recorder, 'second')
    first.cancel()
    assert len(timers) == 1
    assert timers.next_timer() == 3.0
    timers.handle(10.0)
    assert recorder.fired == [('second', 10.0)]
    first.cancel()


def test_cancelling_within_the_same_round(recorder: Recorder) -> None:
    """Timer A and timer B are due together after the process was held up; what A does may stop B."""
    timers = Timers()
    timers.add(1.0, 0.0, recorder, 'a')
    b = timers.add(2.0, 0.0, recorder, 'b')
    recorder.then = lambda name, now: b.cancel()
    timers.handle(5.0)
    assert recorder.fired == [('a', 5.0)]
    assert len(timers) == 0


def test_a_target_that_starts_its_timer_anew_does_not_keep_handle_for_ever(recorder: Recorder) -> None:
    timers = Timers()
    timers.add(0.0, 1.0, recorder, 'again')
    recorder.then = lambda name, now: timers.add(0.0, now, recorder, name)
    timers.handle(1.0)
    assert len(recorder.fired) == 1
    assert timers.next_timer() == 1.0
    timers.handle(1.0)
    assert len(recorder.fired) == 2


def test_a_target_that_raises_loses_nobody_elses_timer(recorder: Recorder) -> None:
    timers = Timers()
    for name in ('one', 'two', 'three'):
        timers.add(1.0, 0.0, recorder, name)

    def fail(name: str, now: float) -> None:
        if name == 'one':
            raise ZeroDivisionError

    recorder.then = fail
    with pytest.raises(ZeroDivisionError):
        timers.handle(1.0)
    assert len(timers) == 2
    assert timers.earliest <= 1.0
    timers.handle(1.0)
    assert [name for name, now in recorder.fired] == ['one', 'two', 'three']


def test_earliest_is_never_late(recorder: Recorder) -> None:
    timers = Timers()
    timers.add(5.0, 0.0, recorder, 'late')
    assert timers.earliest == 5.0
    early = timers.add(1.0, 0.0, recorder, 'early')
    assert timers.earliest == 1.0
    early.cancel()
    assert timers.earliest <= 5.0


def test_a_clock_that_goes_back_delays_but_loses_nothing(recorder: Recorder) -> None:
    timers = Timers()
    timers.add(1.0, 10.0, recorder, 'first')
    timers.add(1.0, 9.9, recorder, 'second')
    timers.handle(10.9)
    assert recorder.fired == []
    timers.handle(11.0)
    assert sorted(name for name, now in recorder.fired) == ['first', 'second']


def test_durations_without_end_share_a_heap(recorder: Recorder) -> None:
    """A peer that chooses the durations cannot make us keep a queue for each."""
    timers = Timers((0.5, 32.0))
    durations = [1 + number / 1000 for number in range(3000)]
    random.Random(1).shuffle(durations)
    for duration in durations:
        timers.add(duration, 0.0, recorder, str(duration))
    cancelled = timers.add(0.123, 0.0, recorder, 'cancelled')
    timers.add(0.5, 0.0, recorder, 'reserved')
    assert len(timers._queues) == MAX_QUEUES
    cancelled.cancel()
    assert timers.next_timer() == 0.5
    timers.handle(2.0)
    fired = [name for name, now in recorder.fired]
    assert fired == ['reserved'] + [str(duration) for duration in sorted(durations) if duration <= 2]
    timers.handle(100.0)
    assert len(recorder.fired) == 3001
    assert timers.next_timer() is None
    assert timers._heap == []


def test_cancelled_cells_go_when_their_time_comes(recorder: Recorder) -> None:
    timers = Timers()
    for number in range(1000):
        timers.add(32.0, number / 100, recorder, 'timer B').cancel()
    timers.add(1.0, 10.0, recorder, 'other')
    timers.handle(11.0)
    assert sum(map(len, timers._queues.values())) == 0


steps = st.lists(st.one_of(
    st.tuples(st.just('add'), st.sampled_from((0.5, 1.0, 2.0, 32.0)) | st.floats(0.0, 50.0)),
    st.tuples(st.just('cancel'), st.integers(0, 50)),
    st.tuples(st.just('pass'), st.floats(0.0, 20.0)),
), max_size=60)


@given(steps)
def test_like_a_sorted_list(steps: list[tuple[str, float]]) -> None:
    """Against the plainest thing that could work."""
    timers, recorder = Timers(), Recorder()
    now = 0.0
    plain: dict[str, float] = {}
    expected: list[str] = []
    cells = []
    for number, (verb, amount) in enumerate(steps):
        if verb == 'add':
            cells.append((str(number), timers.add(amount, now, recorder, str(number))))
            plain[str(number)] = now + amount
        elif verb == 'cancel' and cells:
            name, cell = cells[int(amount) % len(cells)]
            cell.cancel()
            plain.pop(name, None)
        elif verb == 'pass':
            now += amount
            due = sorted((deadline, int(name)) for name, deadline in plain.items() if deadline <= now)
            timers.handle(now)
            expected += [str(name) for deadline, name in due]
            for _, name in due:
                del plain[str(name)]
            assert sorted(name for name, _ in recorder.fired) == sorted(expected)
            deadlines = [cell.deadline for name, _ in recorder.fired for other, cell in cells if other == name]
            rounds = [fired for _, fired in recorder.fired]
            assert all(deadline <= fired for deadline, fired in zip(deadlines, rounds))
            assert all(one <= two or before < after for one, two, before, after
                       in zip(deadlines, deadlines[1:], rounds, rounds[1:]))
        assert len(timers) == len(plain)
        assert timers.next_timer() == min(plain.values(), default=None)


@pytest.mark.parametrize('durations', [(4e6,), (4e6, 4e9), tuple(4e6 + n for n in range(100))], ids=len)
def test_long_timers_that_are_cancelled_are_not_kept_until_they_would_have_fired(recorder: Recorder,
                                                                                durations: tuple[float, ...]) -> None:
    """As Expires and Session-Expires of a peer make them: one call that lasts holds up what came after it."""
    timers = Timers()
    running = [timers.add(duration, 0.0, recorder, 'kept') for duration in durations]
    for number in range(20_000):
        timers.add(durations[number % len(durations)], number / 100, recorder, 'cancelled').cancel()
        timers.next_timer()
    assert len(timers) == len(running)
    assert sum(map(len, timers._queues.values())) + len(timers._heap) <= 1000
    timers.handle(1e10)
    assert recorder.fired == [('kept', 1e10)] * len(running)
