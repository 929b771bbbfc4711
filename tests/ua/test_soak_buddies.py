"""Presence and messages for hours on a bad network: nothing is lost, nothing comes twice, nothing is left."""

from __future__ import annotations

import gevent
import pytest

from greensip.errors import GreensipError
from greensip.testing import Network
from greensip.ua import UserAgent

STATUSES = ['online', 'busy', 'away', 'meeting', 'offline', 'on-the-phone']


@pytest.mark.parametrize('seed', range(4))
def test_hours_on_a_bad_network(seed):
    with Network(seed=seed, delay=0.05, jitter=0.1, loss=0.15, duplicate=0.1) as net:
        dice = net.generator('dice')
        alice, bob = (UserAgent(net.place(name), name=name, network=net, random=net.generator(name), watchdog=None)
                      for name in ('alice', 'bob'))
        bob.presence = 'online'
        sent, got = [], []

        def read():
            for message in bob.messages:
                got.append(message.text)

        reader = gevent.spawn(read)
        with alice.buddy(net.uri('bob')) as buddy:
            buddy.subscribe(expires=600)
            for number in range(60):
                net.clock.sleep(dice.uniform(0.1, 120))
                what = dice.randrange(3)
                if what == 0:
                    bob.presence = dice.choice(STATUSES)
                elif what == 1:
                    buddy.composing()
                else:
                    try:
                        buddy.message(f'{number}')
                    except GreensipError:
                        continue
                    sent.append(f'{number}')
            net.clock.sleep(120)
            assert buddy.state == 'active' and buddy.status == bob.presence.status
            assert len(bob.watchers) == 1
        net.clock.sleep(120)
        assert set(sent) <= set(got) and len(got) == len(set(got)) and len(sent) > 10
        assert bob.watchers == []
        for ua in (alice, bob):
            ua.close()
            counts = ua.core.counts()
            assert (counts['dialogs'], counts['subscriptions']) == (0, 0)
        reader.join(timeout=1)
        assert reader.dead
