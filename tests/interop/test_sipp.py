"""SIPp calls SIPp through greensip-b2bua."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from .sipp_ladder import write_scenario

Counts = dict[str, int]


@pytest.fixture
def through(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
            free_port: Callable[..., int]) -> Callable[..., tuple[Counts, Counts]]:
    """``through(uac, uas, calls=, rate=)`` runs one scenario against the other; gives the counts of both sides."""
    needs('sipp')

    def run(uac: str | Path, uas: str | Path, *, calls: int = 1, rate: float = 10.0,
            options: tuple[str, ...] = ()) -> tuple[Counts, Counts]:
        callee, service = free_port(), free_port()
        answering = peers.answerers(callee, folder, scenario=uas)
        running.append(answering)
        running.append(peers.greensip(service, callee, folder, *options))
        calling = peers.callers(service, free_port(), folder, calls=calls, rate=rate, scenario=uac)
        running.append(calling)
        calling.wait(calls / rate + 40)
        answering.finish()
        return calling.counts(), answering.counts()

    return run


def test_a_thousand_calls_none_failed(through: Callable[..., tuple[Counts, Counts]]) -> None:
    calling, answering = through('uac', 'uas', calls=1000, rate=200.0)
    assert (calling['completed'], calling['failed']) == (1000, 0)
    assert (answering['completed'], answering['failed']) == (1000, 0)


@pytest.mark.parametrize(('uac', 'uas'), [
    pytest.param('''
        > INVITE sdp
        < 100 ?
        < 486
        > ACK
    ''', '''
        < INVITE sdp
        > 486 final
        < ACK
    ''', id='busy'),
    pytest.param('''
        > INVITE sdp
        < 100 ?
        < 180
        pause 100
        > CANCEL
        < 200
        < 487
        > ACK
    ''', '''
        < INVITE sdp
        > 180
        < CANCEL
        > 200
        > 487 INVITE final
        < ACK
    ''', id='cancelled'),
    pytest.param('''
        > INVITE sdp
        < 100 ?
        < 183 sdp:early
        < 200 sdp
        > ACK
        < BYE
        > 200
    ''', '''
        < INVITE sdp
        > 183 sdp:early
        pause 100
        > 200 sdp:early
        < ACK
        pause 100
        > BYE
        < 200
    ''', id='early media, the callee hangs up'),
    pytest.param('''
        > INVITE
        < 100 ?
        < 180
        < 200 sdp
        > ACK sdp
        pause 200
        > BYE
        < 200
    ''', '''
        < INVITE
        > 180
        > 200 sdp
        < ACK sdp
        < BYE
        > 200
    ''', id='late offer'),
    pytest.param('''
        > INVITE sdp
        < 100 ?
        < 180
        < 200 sdp
        > ACK
        > INVITE sdp:sendonly
        < 100 ?
        < 200 sdp:recvonly
        > ACK
        > INVITE sdp:sendrecv
        < 100 ?
        < 200 sdp:sendrecv
        > ACK
        > BYE
        < 200
    ''', '''
        < INVITE sdp
        > 180
        > 200 sdp
        < ACK
        < INVITE sdp:sendonly
        > 200 sdp:recvonly
        < ACK
        < INVITE sdp:sendrecv
        > 200 sdp:sendrecv
        < ACK
        < BYE
        > 200
    ''', id='hold and resume'),
    pytest.param('''
        > INVITE sdp
        < 100 ?
        < 180
        < 200 sdp
        > ACK
        < INVITE sdp
        > 200 sdp
        < ACK
        < BYE
        > 200
    ''', '''
        < INVITE sdp
        > 180
        > 200 sdp
        < ACK
        pause 50
        > INVITE sdp
        < 100 ?
        < 200 sdp
        > ACK
        > BYE
        < 200
    ''', id='the callee renegotiates'),
    pytest.param('''
        > INVITE sdp
        < 100 ?
        < 180
        < 200 sdp
        > ACK
        > INFO
        < 200
        > UPDATE sdp
        < 200 sdp
        > BYE
        < 200
    ''', '''
        < INVITE sdp
        > 180
        > 200 sdp
        < ACK
        < INFO
        > 200
        < UPDATE sdp
        > 200 sdp
        < BYE
        > 200
    ''', id='INFO and UPDATE'),
])
def test_ladder(through: Callable[..., tuple[Counts, Counts]], folder: Path, uac: str, uas: str) -> None:
    calling, answering = through(write_scenario(folder, 'caller', uac), write_scenario(folder, 'callee', uas),
                                 calls=20, rate=20.0)
    assert (calling['completed'], calling['failed']) == (20, 0)
    assert (answering['completed'], answering['failed']) == (20, 0)
