"""Requests inside a call: a peer that sends more than anybody answers."""

from __future__ import annotations

from collections import Counter

import gevent
import pytest

from greensip.ua.bridge import Bridge
from greensip.ua.chores import UNANSWERED

from .conftest import SDP
from .peer import RawPeer


class Flooder(RawPeer):
    """Calls, and sends one INFO after the other."""

    def call(self, callee):
        flow = self.to(callee)
        self.callee = callee
        self.number = 1
        self.send(self.request('INVITE', callee, branch='z9hG4bKinvite', body=SDP), flow)
        self.to_tag = self.expect('SIP/2.0 200').to_tag
        self.send(self.request('ACK', callee, branch='z9hG4bKack', to_tag=self.to_tag), flow)

    def say(self, method, count=1):
        """``count`` requests; how often each code came back within a second."""
        for _ in range(count):
            self.number += 1
            self.send(self.request(method, self.callee, branch=f'z9hG4bK{self.number}', to_tag=self.to_tag,
                                   cseq=self.number), self.to(self.callee))
        self.net.run(1)
        found = Counter((message.code, message.get('Retry-After')) for message, _ in self.inbox)
        self.inbox.clear()
        return found


@pytest.fixture
def flooder(net):
    made = Flooder(net, 'flooder')
    yield made
    made.close()


def test_what_waits_for_the_script_is_bounded(agent, flooder, net):
    bob = agent('bob', manual=('INFO',))
    legs = []

    def handler(leg):
        legs.append(leg)
        leg.answer(SDP)
        leg.respond(leg.wait_for('INFO'), 200)
        leg.wait_ended()

    bob.serve(handler, background=True)
    flooder.call('bob')
    assert flooder.say('INFO') == {(200, None): 1}
    assert flooder.say('INFO', 300) == {(500, '1'): 300 - UNANSWERED}
    assert len(legs[0]._unanswered) == UNANSWERED
    # What nobody has answered within 64*T1 makes room again; the call has lived all the time.
    net.run(60)
    flooder.inbox.clear()
    assert flooder.say('INFO', 300) == {(500, '1'): 300 - UNANSWERED}
    assert len(legs[0]._unanswered) == UNANSWERED
    assert flooder.say('OPTIONS') == {(200, None): 1}
    flooder.say('BYE')
    assert bob.core.counts()['calls'] == 0


def test_what_waits_for_the_other_side_of_a_bridge_is_bounded(agent, flooder, net):
    middle = agent('middle')
    silent = RawPeer(net, 'silent')

    def handler(caller):
        with middle.invite(net.uri('silent'), sdp=caller.offer) as callee:
            caller.answer(sdp=callee.wait_for('200').message.body)
            Bridge(caller, callee).wait()

    middle.serve(handler, background=True)
    gevent.spawn(lambda: silent.respond(silent.expect('INVITE'), 200, body=SDP))
    flooder.call('middle')
    assert flooder.say('INFO', 300)[500, '1'] == 300 - UNANSWERED
    assert len([leg for leg in middle.legs if leg._unanswered and len(leg._unanswered) == UNANSWERED]) == 1
    assert flooder.say('OPTIONS') == {(200, None): 1}
    flooder.say('BYE')
    net.run(60)
    silent.close()
    assert middle.endpoint.counters.failures == 0
