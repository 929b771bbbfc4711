"""Worker greenlets: used again, killed, and never the wrong one."""

from __future__ import annotations

from contextvars import ContextVar

import gevent
import pytest

from greensip.ua import workers as module
from greensip.ua.engine import Engine
from greensip.ua.workers import Workers


@pytest.fixture
def workers():
    made = Workers(gevent.get_hub())
    yield made
    made.close()
    gevent.sleep(0)


def test_a_worker_is_used_again(workers):
    seen = []
    for _ in range(3):
        workers.start(lambda _: seen.append(gevent.getcurrent()), None)
        gevent.sleep(0)
    assert len(seen) == 3 and len(set(seen)) == 1


def test_idle_workers_are_bounded(workers, monkeypatch):
    monkeypatch.setattr(module, 'KEEP_WORKERS', 2)
    for _ in range(5):
        workers.start(gevent.sleep, 0)
    gevent.sleep(0)
    gevent.sleep(0.001)
    assert len(workers.idle) == 2


def test_an_exception_is_logged_and_the_worker_lives(workers, caplog):
    workers.start(lambda _: 1 / 0, None)
    gevent.sleep(0)
    assert 'ZeroDivisionError' in caplog.text
    assert len(workers.idle) == 1


def test_kill_raises_at_the_present_wait(workers):
    ended = []

    def job(_):
        try:
            gevent.sleep(1000)
        except gevent.GreenletExit:
            ended.append(True)
            raise

    task = workers.start(job, None)
    gevent.sleep(0)
    task.kill()
    gevent.sleep(0)
    assert ended == [True] and task.done and len(workers.idle) == 1


def test_kill_before_the_start(workers):
    steps = []

    def job(_):
        steps.append('began')
        gevent.sleep(1000)
        steps.append('never')

    task = workers.start(job, None)
    task.kill()
    gevent.sleep(0)
    gevent.sleep(0)
    assert steps == ['began'] and task.done


def test_a_late_kill_does_not_hit_the_next_task(workers):
    finished = []
    first = workers.start(int, 0)
    gevent.sleep(0)
    second = workers.start(lambda _: (gevent.sleep(0.001), finished.append(True)), None)
    gevent.sleep(0)
    assert first.done
    first.kill()
    gevent.sleep(0.005)
    assert finished == [True] and second.done


def test_a_kill_on_its_way_when_the_task_ends(workers):
    finished = []
    first = workers.start(gevent.sleep, 0)
    gevent.sleep(0)
    first.kill()
    workers.loop.run_callback(lambda: workers.start(finished.append, True))
    gevent.sleep(0)
    gevent.sleep(0)
    assert finished == [True]


def test_context_variables_do_not_leak_into_the_next_task(workers):
    variable = ContextVar('variable', default='fresh')
    seen = []

    def job(_):
        seen.append(variable.get())
        variable.set('used')

    for _ in range(2):
        workers.start(job, None)
        gevent.sleep(0)
    assert seen == ['fresh', 'fresh']


def test_closing_lets_the_idle_ones_go(clock):
    engine = Engine(clock)
    engine.workers.start(int, 0)
    gevent.sleep(0)
    worker, = engine.workers.idle
    engine.close()
    gevent.sleep(0)
    assert worker.dead
