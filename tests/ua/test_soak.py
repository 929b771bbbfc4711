"""Calls through a B2BUA at random moments over a bad network: in the end nothing is left of any of them."""

from __future__ import annotations

import random

import gevent
import pytest

from greensip.errors import (
    Busy,
    Declined,
    LegEnded,
    ResponseError,
    TransactionTimeout,
    TransportError,
    WaitTimeout,
    WrongState,
)
from greensip.testing import Network
from greensip.ua.agent import UserAgent
from greensip.ua.bridge import Bridge
from greensip.ua.group import LegGroup

from .conftest import SDP


class World:
    """Alice calls the middle, the middle calls bob; everybody does what comes to their mind."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.net = Network(seed=seed, delay=0.01, loss=self.random.choice([0, 0.1, 0.3]), jitter=0.05, duplicate=0.1)
        self.alice, self.middle, self.bob = self.agents = [
            UserAgent(self.net.place(name), name=name, network=self.net, random=self.net.generator(name), watchdog=None)
            for name in ('alice', 'middle', 'bob')]
        self.bob.serve(self.callee, background=True)
        self.middle.serve(self.b2bua, background=True)

    def pause(self, *seconds):
        self.net.clock.sleep(self.random.choice(seconds))

    def fidget(self, leg):
        for _ in range(self.random.randrange(3)):
            self.pause(0, 0.3, 1, 2)
            self.random.choice([lambda: leg.reinvite(timeout=5), leg.hold, leg.resume, lambda: leg.request('INFO'),
                                lambda: leg.update(sdp=SDP)])()

    def callee(self, leg):
        mood = self.random.random()
        if mood < 0.1:
            leg.reject(486)
            return
        leg.ring()
        self.pause(0, 0.5, 1, 3)
        if mood < 0.2:
            leg.reject(603)
            return
        if mood < 0.25:
            return
        leg.answer(sdp=SDP)
        try:
            self.fidget(leg)
            leg.wait_ended(timeout=self.random.choice([0.5, 3, 30]))
        except (WaitTimeout, ResponseError, TransactionTimeout, WrongState):
            pass

    def b2bua(self, a):
        with LegGroup(a) as group:
            b = group.invite(self.net.uri('bob'), from_=a.from_, sdp=a.offer, progress_to=a)
            try:
                b.wait_for('2xx', timeout=8)
            except (Busy, Declined) as error:
                a.reject(error.code, like=error.response)
                return
            except (WaitTimeout, ResponseError, TransactionTimeout, TransportError):
                b.close()
                a.reject(503)
                return
            a.answer(sdp=b.answer)
            try:
                Bridge(a, b).wait(timeout=20)
            except WaitTimeout:
                pass

    def caller(self):
        choice = self.random.choice
        try:
            with self.alice.invite(self.net.uri('middle'), sdp=choice([SDP, SDP, b''])) as leg:
                leg.wait_for('200', timeout=choice([0.01, 0.5, 2, 30]))
                if not leg.offer:
                    leg.ack(SDP)
                self.fidget(leg)
                leg.wait_ended(timeout=choice([0.01, 1, 5]))
        except (WaitTimeout, ResponseError, LegEnded, WrongState, TransactionTimeout):
            pass


@pytest.mark.parametrize('seed', range(6))
def test_nothing_is_left_behind(seed, caplog):
    world = World(seed)
    with world.net:
        calls = [gevent.spawn(world.caller) for _ in range(12)]
        gevent.joinall(calls, raise_error=True)
        world.net.clock.sleep(200)
        assert {'200 BYE', '200 INVITE', 'ACK'} <= {arrow.title for arrow in world.net.ladder.arrows}
        for ua in world.agents:
            assert ua.core.counts() == {'calls': 0, 'dialogs': 0, 'subscriptions': 0, 'transactions': 0}
            assert ua.reception.tasks == set() and ua.endpoint.counters.failures == 0
            ua.close()
    assert [record for record in caplog.records if record.levelname == 'ERROR'] == []
