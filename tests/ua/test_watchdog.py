"""The watchdog tells who holds the hub, and sleeps while the hub does."""

from __future__ import annotations

import logging
import time

import gevent
import pytest

from greensip.ua.watchdog import Watchdog, watch_hub


@pytest.fixture
def watchdog():
    made = Watchdog(gevent.get_hub(), 0.02)
    made.start()
    yield made
    made.stop()


def hold_the_hub(until):
    """A script that computes and computes."""
    end = time.monotonic() + 5
    while not until() and time.monotonic() < end:
        pass


def test_it_says_where_the_script_is(watchdog, caplog):
    running = gevent.spawn(hold_the_hub, lambda: 'hub has been held' in caplog.text)
    running.join()
    assert 'hold_the_hub' in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_it_complains_once(watchdog, caplog):
    end = []

    def some_time_after_the_first():
        if not end and caplog.records:
            end.append(time.monotonic() + 0.1)
        return bool(end) and time.monotonic() > end[0]

    gevent.spawn(hold_the_hub, some_time_after_the_first).join()
    assert len(caplog.records) == 1


def test_an_idle_hub_is_not_complained_about_and_its_watchdog_sleeps(watchdog, caplog):
    gevent.sleep(0.2)
    assert caplog.records == []
    # All that the thread did for most of this time was to wait for the lock.
    assert watchdog.look(0.0) == 0.0
    asleep = []
    timer = gevent.get_hub().loop.check(priority=2)
    timer.start(lambda: asleep.append(watchdog._asleep))
    gevent.sleep(0.1)
    timer.stop()
    timer.close()
    assert asleep[0] or watchdog._since


def test_stopped_and_started_again_and_again(caplog):
    watchdog = Watchdog(gevent.get_hub(), 0.02)
    for _ in range(50):
        watchdog.start()
        gevent.sleep(0)
        watchdog.stop()
    watchdog.start()
    gevent.spawn(hold_the_hub, lambda: 'hub has been held' in caplog.text).join()
    watchdog.stop()
    assert len(caplog.records) == 1


def test_there_is_one_per_hub():
    first, second = watch_hub(5), watch_hub(7)
    assert first is second
    first.stop()
    assert first._users == 1
    second.stop()


def test_it_can_be_started_again(caplog):
    watchdog = Watchdog(gevent.get_hub(), 0.02)
    for _ in range(3):
        watchdog.start()
        try:
            caplog.clear()
            gevent.spawn(hold_the_hub, lambda: 'hub has been held' in caplog.text).join()
            assert 'hold_the_hub' in caplog.text
        finally:
            watchdog.stop()
