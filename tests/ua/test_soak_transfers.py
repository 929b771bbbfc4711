"""Transfers and replacements at random moments over a bad network: in the end nothing is left of any call."""

from __future__ import annotations

import random

import gevent
import pytest

from greensip.errors import (
    LegEnded,
    ResponseError,
    TransactionTimeout,
    TransportError,
    UsageError,
    WaitTimeout,
)
from greensip.testing import Network
from greensip.ua.agent import UserAgent

from .conftest import SDP

#: what may become of anything that one tries
TROUBLE = (WaitTimeout, ResponseError, LegEnded, UsageError, TransactionTimeout, TransportError)

#: what happened in all of the tests: titles of messages, and codes of outcomes
SEEN = set()


class World:
    """Everybody calls everybody, transfers those he talks to, is transferred, and takes over calls."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.net = Network(seed=seed, delay=0.01, loss=self.random.choice([0, 0.1, 0.3]), jitter=0.05, duplicate=0.1)
        self.outcomes = []
        self.agents = [
            UserAgent(self.net.place(name), name=name, network=self.net, random=self.net.generator(name), watchdog=None,
                      refer=refer)
            for name, refer in (('alice', 'ask'), ('bob', 'ask'), ('carol', 'accept'), ('dave', 'refuse'))]
        for ua in self.agents:
            ua.serve(self.callee, background=True)

    def pause(self, *seconds):
        self.net.clock.sleep(self.random.choice(seconds))

    def anybody(self, *others):
        return self.random.choice([ua for ua in self.agents if ua not in others])

    def callee(self, leg):
        if self.random.random() < 0.1:
            leg.reject(self.random.choice([486, 603]))
            return
        if self.random.random() < 0.5:
            leg.ring()
            self.pause(0, 0.5, 2)
        leg.answer(SDP if self.random.random() < 0.5 else None)
        try:
            self.talk(leg)
        except TROUBLE:
            pass

    def talk(self, leg):
        """What one does in a call."""
        for _ in range(self.random.randrange(3)):
            self.pause(0, 0.3, 1)
            try:
                self.random.choice([self.transfer, self.attended, self.take, self.replace, self.hold])(leg)
            except LegEnded:
                raise
            except TROUBLE:
                continue
        leg.wait_ended(timeout=self.random.choice([0.5, 3, 20]))

    def transfer(self, leg):
        with leg.refer(self.anybody(leg.ua).uri, subscribe=self.random.random() < 0.9,
                       inside=self.random.choice([None, True, False])) as referral:
            self.outcomes.append(referral.outcome(timeout=self.random.choice([0.05, 2, 20])).code)

    def attended(self, leg):
        with leg.ua.call(self.anybody(leg.ua).uri, timeout=5, sdp=SDP) as expert:
            self.pause(0, 0.5)
            self.outcomes.append(leg.transfer_to(expert, timeout=self.random.choice([0.05, 20])).code)

    def take(self, leg):
        transfer = leg.wait_for('REFER', timeout=self.random.choice([0.5, 3]))
        if self.random.random() < 0.2:
            transfer.reject(self.random.choice([603, 480]))
            return
        with transfer.accept() as other:
            other.wait_for('200', timeout=10)
            if self.random.random() < 0.5:
                leg.hangup()
            other.wait_ended(timeout=self.random.choice([1, 5]))

    def replace(self, leg):
        """Somebody else takes the peer's call with us over."""
        with self.anybody(leg.ua).call(leg.remote_target, replaces=leg, timeout=5, sdp=SDP) as other:
            other.wait_ended(timeout=self.random.choice([0.2, 2]))

    def hold(self, leg):
        leg.hold(timeout=2)
        self.pause(0, 0.5)
        leg.resume(timeout=2)

    def caller(self):
        ua = self.anybody()
        try:
            with ua.invite(self.anybody(ua).uri, sdp=SDP) as leg:
                leg.wait_for('200', timeout=self.random.choice([0.01, 2, 30]))
                self.talk(leg)
        except TROUBLE:
            pass


@pytest.mark.parametrize('seed', range(8))
def test_nothing_is_left_behind(seed, caplog):
    world = World(seed)
    with world.net:
        calls = [gevent.spawn(world.caller) for _ in range(16)]
        gevent.joinall(calls, raise_error=True)
        # Those that were transferred by themselves are ended by nobody.
        for _ in range(20):
            world.net.clock.sleep(30)
            for ua in world.agents:
                for leg in ua.legs:
                    leg.hangup()
        world.net.clock.sleep(400)
        SEEN.update(arrow.title for arrow in world.net.ladder.arrows)
        SEEN.update(world.outcomes)
        for ua in world.agents:
            assert ua.core.counts() == {'calls': 0, 'dialogs': 0, 'subscriptions': 0, 'transactions': 0}, ua
            assert ua.reception.tasks == set() and ua.endpoint.counters.failures == 0
            ua.close()
    assert [record for record in caplog.records if record.levelname == 'ERROR'] == []


def test_something_has_happened():
    if '200 BYE' not in SEEN:
        pytest.skip('the others have not run')
    assert {'REFER', '200 REFER', '405 REFER', 'NOTIFY', '200 NOTIFY', 'CANCEL', 200} <= SEEN
    assert SEEN & {486, 603}, 'no target has refused'
