"""Responses that do not arrive: RFC 3263 5."""

from __future__ import annotations

import pytest

from greensip.dialog import ENDED, INCOMING, REQUEST
from greensip.dialog.routing import Target
from greensip.errors import ConnectError, MessageTooBig, TransportError
from greensip.transaction.flow import Flow

from .conftest import Party, World, name_of

CALLER = ('127.0.0.1', 7)


class Callee:
    """A core that gets requests from CALLER, who then disappears."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.party: Party = world.party('bob', 5080)
        self.core = self.party.core
        self.seen = 0

    def gets(self, method: str, sent_by: str) -> None:
        text = (f'{method} sip:bob@127.0.0.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP {sent_by};rport;branch=z9hG4bKx\r\n'
                f'From: <sip:a@a>;tag=1\r\nTo: <sip:bob@b>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n'
                'Contact: <sip:a@127.0.0.1:7>\r\nContent-Length: 0\r\n\r\n')
        self.world.inject(text.encode(), CALLER, self.party)

    def loses(self, error: TransportError | None = None) -> list[str]:
        """The latest response has not arrived; what goes out then."""
        _, _, message = self.world.messages[-1]
        flow = Flow(self.party.point, CALLER)
        self.core.transport_failed(flow, error or ConnectError('refused'), self.world.now, message.to_bytes())
        self.world.flush()
        return self.sent()

    def locate(self, *ports: int) -> list[str]:
        lookup = self.core.lookups.popleft()
        targets = [Target('UDP', '127.0.0.1', port) for port in ports]
        self.core.located(lookup, targets, None if ports else ConnectError('nobody'), self.world.now)
        self.world.flush()
        return self.sent()

    def sent(self) -> list[str]:
        new, self.seen = self.world.messages[self.seen:], len(self.world.messages)
        return [f'{target.rpartition(":")[2]} {name_of(message)}' for _, target, message in new]

    def run(self, seconds: float) -> list[str]:
        self.world.run(seconds)
        return list(dict.fromkeys(self.sent()))


@pytest.fixture
def bob(world: World) -> Callee:
    return Callee(world)


def answer(bob: Callee, code: int) -> list[str]:
    bob.core.respond(bob.party.last(REQUEST).exchange, code, bob.world.now)
    bob.world.flush()
    return bob.sent()


def test_a_numeric_sent_by(bob: Callee) -> None:
    bob.gets('MESSAGE', '127.0.0.1:9')
    assert answer(bob, 200) == ['7 200 MESSAGE']
    assert bob.loses() == ['9 200 MESSAGE']
    # and that is all there is
    assert bob.loses() == []
    assert not bob.core.lookups


def test_a_numeric_sent_by_that_is_where_it_came_from(bob: Callee) -> None:
    bob.gets('MESSAGE', '127.0.0.1:7')
    answer(bob, 200)
    assert bob.loses() == []


def test_a_name_with_a_port(bob: Callee) -> None:
    bob.gets('MESSAGE', 'pc.example.com:9')
    answer(bob, 200)
    assert bob.loses() == []
    lookup = bob.core.lookups[0]
    assert lookup.hop[:3] == ('pc.example.com', 9, 'UDP')
    assert bob.locate(7, 8, 9) == ['8 200 MESSAGE']
    assert bob.loses() == ['9 200 MESSAGE']
    assert bob.loses() == []


def test_a_name_without_a_port_has_srv_records(bob: Callee) -> None:
    bob.gets('MESSAGE', 'pc.example.com')
    answer(bob, 200)
    bob.loses()
    assert bob.core.lookups[0].hop[:3] == ('pc.example.com', None, 'UDP')
    assert bob.locate(8, 9) == ['8 200 MESSAGE']
    assert bob.loses() == ['9 200 MESSAGE']
    assert bob.loses() == []


def test_what_follows_goes_there_as_well(bob: Callee) -> None:
    bob.gets('INVITE', 'pc.example.com')
    usage = bob.party.last(INCOMING).subject
    usage.respond(180, bob.world.now)
    bob.world.flush()
    assert bob.sent() == ['7 180 INVITE']
    bob.loses()
    assert bob.locate(8) == ['8 180 INVITE']
    usage.respond(200, bob.world.now)
    assert bob.run(1.6) == ['8 200 INVITE']


def test_the_repetitions_of_a_2xx(bob: Callee) -> None:
    bob.gets('INVITE', 'pc.example.com')
    usage = bob.party.last(INCOMING).subject
    usage.respond(200, bob.world.now)
    assert bob.run(0.2) == ['7 200 INVITE']
    bob.loses()
    # One that is repeated while the name is looked up says the same again.
    assert bob.run(1) == ['7 200 INVITE']
    assert bob.loses() == []
    assert bob.locate(8) == ['8 200 INVITE']
    assert bob.run(10) == ['8 200 INVITE']
    bob.world.inject(f'ACK sip:bob@127.0.0.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:8;branch=z9hG4bKy\r\n'
                     f'From: <sip:a@a>;tag=1\r\nTo: <sip:bob@b>;tag={usage.tag}\r\nCall-ID: c\r\nCSeq: 1 ACK\r\n'
                     'Content-Length: 0\r\n\r\n'.encode(), ('127.0.0.1', 8), bob.party)
    assert usage.state == 'confirmed'
    assert bob.run(40) == []


def test_a_call_whose_caller_is_nowhere_ends(bob: Callee) -> None:
    bob.gets('INVITE', 'pc.example.com')
    usage = bob.party.last(INCOMING).subject
    usage.respond(180, bob.world.now)
    bob.world.flush()
    bob.loses()
    assert usage.state == 'early'
    bob.locate()
    assert usage.state == 'terminated'
    assert isinstance(bob.party.last(ENDED).error, ConnectError)


def test_what_is_too_big_is_too_big_everywhere(bob: Callee) -> None:
    bob.gets('MESSAGE', '127.0.0.1:9')
    answer(bob, 200)
    assert bob.loses(MessageTooBig('65536 octets')) == []


def test_the_name_of_a_browser_is_not_looked_up(bob: Callee) -> None:
    bob.party.point.one_way = True
    bob.gets('MESSAGE', 'x7k2.invalid')
    answer(bob, 200)
    assert bob.loses() == []
    assert not bob.core.lookups
