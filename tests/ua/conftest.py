"""A kind of leg that knows no SIP, in virtual time."""

from __future__ import annotations

import logging

import gevent
import pytest

from greensip.errors import LocalHangup
from greensip.testing import Network, VirtualClock
from greensip.ua.agent import UserAgent
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


class Switching(logging.Handler):
    """A log handler as a program may have one: it lets other greenlets run at each line."""

    def emit(self, record):
        gevent.sleep(0)


@pytest.fixture
def switching_log(caplog):
    handler = Switching()
    logger = logging.getLogger('greensip')
    with caplog.at_level(logging.DEBUG, logger='greensip'):
        logger.addHandler(handler)
        yield
        logger.removeHandler(handler)


# -- SIP: user agents on a network in memory

SDP = (b'v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n'
       b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')


def sdp_of_port(port, direction=''):
    """A session description that can be told from others by its port."""
    text = SDP.replace(b'4000', str(port).encode())
    return text + f'a={direction}\r\n'.encode() if direction else text


def answering(leg):
    """A handler that takes the call and lasts as long as it."""
    leg.ring()
    leg.answer()
    leg.wait_ended()


@pytest.fixture
def net():
    """A network in memory with time that jumps."""
    with Network(seed=7, delay=0.01) as made:
        yield made


@pytest.fixture
def agent(net):
    """agent('alice', ...) makes a user agent; in the end nothing may be left of any call."""
    made = []

    def make(name, **options):
        options.setdefault('watchdog', None)
        ua = UserAgent(net.place(name), name=name, network=net, random=net.generator(name), **options)
        made.append(ua)
        return ua

    yield make
    for ua in made:
        ua.close()
        counts = ua.core.counts()
        assert (counts['calls'], counts['dialogs']) == (0, 0), f'{ua.name} left {counts}'
        assert ua.legs == [] and ua.reception.tasks == set()


@pytest.fixture
def alice(agent):
    return agent('alice')


@pytest.fixture
def bob(agent):
    return agent('bob')


@pytest.fixture
def to_bob(net):
    return net.uri('bob')
