"""Kamailio forks our call to two phones: early dialogs with PRACK and UPDATE through its Record-Route, 2xx of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import IncomingLeg, OutgoingLeg, UserAgent, WaitTimeout
from greensip.testing import Ladder

#: both at once, and on the path of the dialogs (RFC 3261 16.6, 16.12)
FORKING = peers.RECORD_ROUTING.replace('$du = "sip:{host}:{next_hop}";', '''$ru = "sip:one@{host}:{next_hop}";
    append_branch("sip:two@{host}:PORT");''')


def sdp(port: int) -> bytes:
    return (f'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n'
            f'm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n').encode()


class House:
    """Two phones of ours behind the proxy, and who calls them."""

    def __init__(self, one: UserAgent, two: UserAgent, caller: UserAgent, uri: str) -> None:
        self.phones = one, two
        self.caller = caller
        self.uri = uri
        self.ladder = Ladder()
        self.ladder.add(caller.endpoint, 'caller')

    def ring(self) -> tuple[OutgoingLeg, dict[str, IncomingLeg]]:
        """The call, and the legs of both phones by the tag that each has given itself; both have early media."""
        leg = self.caller.invite(self.uri, sdp=sdp(4000), forks='all')
        ringing = {}
        for number, phone in enumerate(self.phones):
            callee = phone.accept(timeout=10)
            callee.progress(sdp=sdp(5000 + 1000 * number))
            callee.wait_for('PRACK', timeout=10)
            ringing[str(callee.local.tag)] = callee
        leg.wait_for('183', timeout=10)
        leg.wait_for('183', timeout=10)
        return leg, ringing


@pytest.fixture
def house(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
          free_port: Callable[..., int]) -> Iterator[House]:
    needs('kamailio')
    with ExitStack() as stack:
        one, two, caller = (stack.enter_context(UserAgent('udp:127.0.0.1:0', name=name, watchdog=None))
                            for name in ('one', 'two', 'caller'))
        port = free_port()
        route = FORKING.replace('PORT', str(two.points[0].address[1]))
        running.append(peers.kamailio(port, one.points[0].address[1], folder, route=route))
        yield House(one, two, caller, f'sip:all@127.0.0.1:{port}')


def test_early_dialogs_through_a_forking_proxy(house: House) -> None:
    leg, ringing = house.ring()
    with leg:
        assert leg.early.keys() == ringing.keys()
        for tag, dialog in leg.early.items():
            assert dialog.sdp == ringing[tag].local_sdp
        # Each session changes for itself.
        first, second = ringing
        assert leg.early[first].update(sdp(4010), timeout=10).code == 200
        assert ringing[first].remote_sdp == sdp(4010) and ringing[second].remote_sdp == sdp(4000)
        assert ringing[second].update(sdp(6010), timeout=10).code == 200
        assert leg.early[second].sdp == sdp(6010)
        ringing[second].answer()
        leg.wait_for('200', timeout=10)
        assert leg.answer == sdp(6010) and leg.remote.tag == second
        # The proxy has told the other one to stop.
        ringing[first].wait_ended(timeout=10)
        ringing[second].wait_for('ACK', timeout=10)
        leg.hold(timeout=10)
        assert ringing[second].state == 'held'
    ringing[second].wait_ended(timeout=10)
    pracks = [arrow for arrow in house.ladder.arrows if arrow.title == 'PRACK']
    assert len({arrow.data for arrow in pracks}) == 2 and all(b'Route: <sip:127.0.0.1' in a.data for a in pracks)


def test_both_answer_at_once(house: House) -> None:
    leg, ringing = house.ring()
    with leg:
        for callee in ringing.values():
            callee.answer()
        leg.wait_for('200', timeout=10)
        try:
            leg.wait_for('forked', timeout=3)
        except WaitTimeout:
            pytest.skip('the proxy has stopped one in time')
        other, = leg.forks
        assert {leg.remote.tag, other.remote.tag} == ringing.keys()
        for each in (leg, other):
            callee = ringing[str(each.remote.tag)]
            callee.wait_for('ACK', timeout=10)
            assert each.answer == callee.local_sdp and each.request('INFO', timeout=10).code == 200
    for callee in ringing.values():
        callee.wait_ended(timeout=10)
