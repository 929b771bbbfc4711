"""The rows of a machine: how they are linked, fired, logged."""

from __future__ import annotations

import logging

import pytest

from greensip.fsm import Machine, Row


def shine(lamp: Lamp, *how: str) -> None:
    lamp.done.append(('shine', lamp.state, *how))


def blow(lamp: Lamp) -> None:
    """An action that fires in turn."""
    lamp.done.append(('blow', lamp.state))
    lamp.fire('burnt')


class Lamp(Machine):
    __slots__ = ('done',)
    initial = 'off'
    rows = (
        Row('off', 'press', 'on', shine),
        Row('on', 'press', 'off'),
        Row('on', 'surge', 'broken', blow),
        Row('broken', 'burnt', 'gone'),
    )

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, ...]] = []

    def __repr__(self) -> str:
        return 'lamp'


def test_the_action_runs_in_the_new_state_with_the_arguments() -> None:
    lamp = Lamp()
    assert lamp.fire('press', 'brightly')
    assert lamp.state == 'on'
    assert lamp.done == [('shine', 'on', 'brightly')]


def test_an_event_without_a_row_is_absorbed() -> None:
    lamp = Lamp()
    assert not lamp.fire('surge')
    assert (lamp.state, lamp.done) == ('off', [])
    assert not lamp.fire('no such event')


def test_a_row_without_an_action_changes_the_state() -> None:
    lamp = Lamp()
    lamp.fire('press')
    assert lamp.fire('press')
    assert lamp.state == 'off'


def test_an_action_may_fire() -> None:
    lamp = Lamp()
    lamp.fire('press')
    lamp.fire('surge')
    assert lamp.state == 'gone'
    assert not lamp.fire('press')


def test_machines_of_one_class_are_independent() -> None:
    one, other = Lamp(), Lamp()
    one.fire('press')
    assert other.state == 'off'
    assert other.fire('press')


def test_two_rows_for_the_same_arrow_are_a_mistake() -> None:
    with pytest.raises(ValueError, match='press'):
        class Twice(Machine):
            initial = 'off'
            rows = (Row('off', 'press', 'on'), Row('off', 'press', 'off'))


def test_a_subclass_without_rows_has_those_of_its_base() -> None:
    class Red(Lamp):
        __slots__ = ()

    lamp = Red()
    assert lamp.fire('press')
    assert lamp.state == 'on'


def test_transitions_are_logged_at_debug_whenever_that_is_switched_on(caplog: pytest.LogCaptureFixture) -> None:
    lamp = Lamp()
    with caplog.at_level(logging.INFO, 'greensip.fsm'):
        lamp.fire('press')
        assert caplog.messages == []
    with caplog.at_level(logging.DEBUG, 'greensip.fsm'):
        lamp.fire('press')
        lamp.fire('absorbed')
    with caplog.at_level(logging.INFO, 'greensip.fsm'):
        lamp.fire('press')
    assert caplog.messages == ['= lamp: on -- press -> off']


def test_a_log_handler_that_lets_others_run_breaks_nothing() -> None:
    """It may switch greenlets, and another one may move the machine on: the arrow is looked up again."""
    lamp = Lamp()
    lamp.fire('press')

    class Meddler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.removeHandler(self)
            lamp.fire('surge')

    logger = logging.getLogger('greensip.fsm')
    level = logger.level
    logger.addHandler(Meddler())
    logger.setLevel(logging.DEBUG)
    try:
        assert not lamp.fire('press')
    finally:
        logger.setLevel(level)
    assert lamp.state == 'gone'
