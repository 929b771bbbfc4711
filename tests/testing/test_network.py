"""The kit as a whole: names, time and ladders around real cores."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event
from gevent.exceptions import LoopExit

from greensip.dialog import INCOMING
from greensip.dialog import Event as CoreEvent
from greensip.testing import Network
from greensip.transport import Endpoint


def test_a_script_of_several_greenlets_reads_top_to_bottom() -> None:
    """Caller and callee are greenlets that wait in virtual time; the whole takes as long as the machine needs."""
    with Network(delay=0.01) as net:
        alice, bob = net.endpoint('alice'), net.endpoint('bob')

        def answer(usage: object) -> None:
            usage.respond(180, bob.now())
            bob.flush()
            net.clock.sleep(3)
            usage.respond(200, bob.now(), body=b'v=0\r\n')
            bob.flush()

        def on_event(event: CoreEvent) -> None:
            if event.kind == INCOMING:
                gevent.spawn(answer, event.subject)

        def script() -> float:
            usage = alice.core.invite(net.uri('bob'), alice.now(), from_='sip:alice@alice', body=b'v=0\r\n')
            alice.flush()
            net.clock.sleep(10)
            usage.bye(alice.now())
            alice.flush()
            return net.clock.now()

        bob.on_event = on_event
        caller = gevent.spawn(script)
        net.run(60)
        assert caller.value == 10
        net.ladder.expect("""
            0.000 alice -> bob: INVITE
            0.010 bob -> alice: 180
            3.010 bob -> alice: 200 INVITE
            3.020 alice -> bob: ACK
            10.000 alice -> bob: BYE
            10.010 bob -> alice: 200 BYE
        """)


def test_names_lead_to_hosts_and_into_the_ladder() -> None:
    with Network() as net:
        alice = net.endpoint('alice')
        bob = Endpoint(net.endpoint('unused').core, ['udp:bob:5070'], network=net)
        net.endpoints.append(bob)
        bob.start()
        alice.core.request('OPTIONS', 'sip:bob@bob:5070', alice.now(), from_='sip:alice@alice')
        alice.flush()
        net.run(0.1)
        assert net.ladder.lines()[0] == 'alice -> bob: OPTIONS'
        assert net.uri('alice') == f'sip:alice@{alice.points[0].address[0]}:5060'


def test_tags_and_call_ids_repeat_with_the_seed() -> None:
    def call_ids(seed: int) -> list[str]:
        with Network(seed=seed) as net:
            alice = net.endpoint('alice')
            alice.core.request('OPTIONS', 'sip:bob@192.0.2.1', alice.now(), from_='sip:alice@alice')
            alice.flush()
            return net.ladder.call_ids

    assert call_ids(1) == call_ids(1) != call_ids(2)


def test_settling_takes_no_time() -> None:
    with Network(delay=0.0) as net:
        alice = net.endpoint('alice')
        net.endpoint('bob')
        alice.core.request('OPTIONS', net.uri('bob'), alice.now(), from_='sip:alice@alice')
        alice.flush()
        net.settle()
        assert net.ladder.lines() == ['alice -> bob: OPTIONS', 'bob -> alice: 200 OPTIONS']
        assert net.clock.now() == 0


def test_leaving_closes_everything() -> None:
    with Network() as net:
        alice = net.endpoint('alice')
        alice.core.request('OPTIONS', 'sip:bob@192.0.2.1', alice.now(), from_='sip:alice@alice')
        alice.flush()
    assert alice.closed
    # No timer is left that could keep the loop busy.
    with pytest.raises(LoopExit):
        Event().wait()


def test_user_agents_call_each_other() -> None:
    with Network(delay=0.01) as net:
        alice, bob = net.user_agent('alice'), net.user_agent('bob')

        def serve(leg: object) -> None:
            leg.ring()
            net.clock.sleep(2)
            leg.answer()
            leg.wait_ended()

        bob.serve(serve, background=True)
        with alice.call(net.uri('bob')) as leg:
            net.run(3600)
            assert leg.state == 'confirmed'
        net.settle()
        net.run(1)
        net.ladder.expect("""
            0.000 alice -> bob: INVITE
            0.010 bob -> alice: 180
            2.010 bob -> alice: 200 INVITE
            2.020 alice -> bob: ACK
            alice -> bob: BYE
            bob -> alice: 200 BYE
        """)
        assert net.clock.now() > 3600
