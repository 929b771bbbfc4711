"""A kind of leg that knows no SIP, in virtual time."""

from __future__ import annotations

import pytest

from greensip.errors import LocalHangup
from greensip.testing.clock import VirtualClock
from greensip.ua.engine import Engine
from greensip.ua.mailbox import Mailbox, Notice


class Line(Mailbox):
    """A leg whose events the test delivers."""

    def __init__(self, engine, name='bob', **options):
        super().__init__(engine, **options)
        self.name = name
        self.closed = 0
        self.aborted = None

    @property
    def peer_name(self):
        return self.name

    def close(self):
        self.closed += 1
        self.end(LocalHangup())

    def abort(self, error):
        self.aborted = error
        self.close()

    def _tolerates(self, event):
        return event.label == 'media'

    def happen(self, *labels, detail=''):
        for label in labels:
            event = Notice('x', time=self._engine.clock.now(), leg=self, detail=detail)
            event.label = label
            self.deliver(event)

    def end(self, error):
        self.finish(Notice('ended', time=self._engine.clock.now(), leg=self, error=error))


@pytest.fixture
def clock():
    made = VirtualClock(start=1000.0)
    yield made
    made.close()


@pytest.fixture
def engine(clock):
    made = Engine(clock)
    yield made
    made.close()


@pytest.fixture
def line(engine):
    return Line(engine)


@pytest.fixture
def later(clock):
    """later(0.4, fn, ...) calls fn then."""
    return clock.timer
