"""Routes of the B2BUA that are names with several servers: those of one route come before the next route."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.errors import Unavailable

from .test_call import SDP, Callee


@pytest.fixture
def servers(rig: Any) -> Any:
    """``servers('a', 'b')``: who serves example.com, in this order."""
    def make(*names: str) -> None:
        rig.net.resolver.records['_sip._udp.example.com', 'SRV'] = [
            f'{number} 0 5060 {name}' for number, name in enumerate(names)]
        for name in names:
            rig.net.address(name)

    return make


def invites(rig: Any) -> list[str]:
    return list(dict.fromkeys(line for line in rig.net.ladder.lines() if line.endswith(': INVITE')))


def test_the_servers_of_a_route_come_before_the_next_route(rig: Any, servers: Any) -> None:
    servers('a', 'b')
    rig.callee('a', lambda leg: leg.reject(503))
    rig.callee('b', lambda leg: leg.reject(486))
    rig.callee('c', Callee())
    rig.b2bua('-s', 'example.com', '-s', '{c}')
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=5):
        assert invites(rig) == ['caller -> b2b: INVITE', 'b2b -> a: INVITE', 'b2b -> b: INVITE', 'b2b -> c: INVITE']


def test_a_503_from_all_of_them_is_one_failure(rig: Any, servers: Any) -> None:
    servers('a', 'b')
    rig.callee('a', lambda leg: leg.reject(503))
    rig.callee('b', lambda leg: leg.reject(503))
    rig.b2bua('-s', 'example.com')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg, pytest.raises(Unavailable):
        leg.wait_for('200', timeout=5)
    assert invites(rig) == ['caller -> b2b: INVITE', 'b2b -> a: INVITE', 'b2b -> b: INVITE']


def test_the_time_of_a_route_is_that_of_all_its_servers(rig: Any, servers: Any) -> None:
    servers('a', 'b')
    rig.callee('b', Callee())
    rig.callee('c', Callee())
    rig.b2bua('-s', 'example.com;expires=10', '-s', '{c}')
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=15):
        assert invites(rig) == [
            'caller -> b2b: INVITE', f'b2b -> {rig.net.address("a")}:5060: INVITE', 'b2b -> c: INVITE']


def test_the_caller_gives_up_while_the_second_server_rings(rig: Any, servers: Any) -> None:
    def ringing(leg: Any) -> None:
        leg.ring()
        leg.wait_ended()

    servers('a', 'b')
    rig.callee('a', lambda leg: leg.reject(503))
    rig.callee('b', ringing)
    rig.b2bua('-s', 'example.com')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        leg.wait_for('180', timeout=5)
    rig.net.run(1)
    lines = rig.net.ladder.lines()
    assert 'b2b -> b: CANCEL' in lines and 'b2b -> a: CANCEL' not in lines
