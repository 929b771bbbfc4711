"""Who is writing: every arrow of the two figures of RFC 3994, and what happens in time."""

from __future__ import annotations

import pytest

from greensip.dialog.composing import ACTIVE, IDLE, Composer, ComposingWatch
from greensip.transaction.timers import Timers


class Told:
    """A machine, its timers, and what it tells."""

    def __init__(self, kind):
        self.timers = Timers()
        self.said = []
        self.now = 0.0
        self.machine = kind(self.timers, lambda active: self.said.append((self.now, active)))

    def go(self, until):
        while self.timers.earliest <= until:
            self.now = max(self.now, self.timers.earliest)
            self.timers.handle(self.now)
        self.now = until


@pytest.fixture
def writer():
    return Told(Composer)


@pytest.fixture
def reader():
    return Told(ComposingWatch)


# state, event, state after it, what is told
ARROWS = [
    (IDLE, 'content', ACTIVE, [True]), (ACTIVE, 'content', ACTIVE, []), (ACTIVE, 'refresh timeout', ACTIVE, [True]),
    (ACTIVE, 'idle timeout', IDLE, [False]), (ACTIVE, 'message sent', IDLE, []), (ACTIVE, 'stop', IDLE, [False]),
    (ACTIVE, 'close', IDLE, []), (IDLE, 'stop', IDLE, []), (IDLE, 'message sent', IDLE, []), (IDLE, 'close', IDLE, []),
]


@pytest.mark.parametrize(('state', 'event', 'after', 'told'), ARROWS)
def test_every_arrow_of_figure_1(writer, state, event, after, told):
    composer = writer.machine
    if state == ACTIVE:
        composer.fire('content', 0.0)
        writer.said.clear()
    composer.fire(event, 0.0)
    assert (composer.state, [active for _, active in writer.said]) == (after, told)


def test_the_arrows_of_figure_1_are_all_tested():
    rows = {(row.state, row.event) for row in Composer.rows}
    assert rows <= {(state, event) for state, event, _, _ in ARROWS}


def test_a_user_who_writes_and_stops(writer):
    writer.machine.fire('content', 0.0)
    writer.go(10)
    writer.machine.fire('content', 10.0)
    writer.go(100)
    assert writer.said == [(0.0, True), (25.0, False)]
    assert writer.timers.earliest == float('inf')


def test_a_user_who_writes_for_long(writer):
    for second in range(0, 200, 5):
        writer.go(second)
        writer.machine.fire('content', float(second))
    writer.go(300)
    assert writer.said == [(0.0, True), (90.0, True), (180.0, True), (210.0, False)]


def test_the_message_says_that_its_writing_is_over(writer):
    writer.machine.fire('content', 0.0)
    writer.machine.fire('message sent', 5.0)
    writer.go(200)
    assert writer.said == [(0.0, True)]


SEEN = [
    (IDLE, 'active status', ACTIVE, [True]), (ACTIVE, 'active status', ACTIVE, []),
    (ACTIVE, 'idle status', IDLE, [False]), (ACTIVE, 'message', IDLE, [False]),
    (ACTIVE, 'refresh timeout', IDLE, [False]), (IDLE, 'idle status', IDLE, []), (IDLE, 'message', IDLE, []),
]


@pytest.mark.parametrize(('state', 'event', 'after', 'told'), SEEN)
def test_every_arrow_of_figure_2(reader, state, event, after, told):
    watch = reader.machine
    if state == ACTIVE:
        watch.fire('active status', 60, 0.0)
        reader.said.clear()
    watch.fire(event, 60, 0.0)
    assert (watch.state, [active for _, active in reader.said]) == (after, told)


def test_the_arrows_of_figure_2_are_all_tested():
    rows = {(row.state, row.event) for row in ComposingWatch.rows}
    assert rows <= {(state, event) for state, event, _, _ in SEEN}


def test_a_state_that_is_refreshed_and_then_is_not(reader):
    reader.machine.fire('active status', 60, 0.0)
    reader.go(50)
    reader.machine.fire('active status', 120, 50.0)
    reader.go(300)
    assert reader.said == [(0.0, True), (170.0, False)]
