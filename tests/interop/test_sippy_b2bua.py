"""SIPp calls SIPp through sippy's own ``b2bua_simple``, which runs on the shim and knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from .sipp_ladder import write_scenario

#: SIPp's own answering side names a transport in capitals in its Contact, which sippy 2.5 refuses
ANSWERED = '''
    < INVITE sdp
    > 180
    > 200 sdp
    < ACK
    < BYE
    > 200
'''


@pytest.mark.parametrize(('calls', 'rate'), [(200, 40.0), (600, 100.0)])
@pytest.mark.parametrize('daemon', [False, True], ids=['foreground', 'daemon'])
@pytest.mark.parametrize('how', ['shim', 'patched'])
def test_b2bua_simple_loses_no_call(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                                    free_port: Callable[..., int], how: str, daemon: bool, calls: int,
                                    rate: float) -> None:
    needs('sipp', 'module:sippy')
    callee, service = free_port(), free_port()
    answering = peers.answerers(callee, folder, scenario=write_scenario(folder, 'callee', ANSWERED))
    running.append(answering)
    program = peers.sippy(service, callee, folder, how, daemon=daemon)
    running.append(program)
    calling = peers.callers(service, free_port(), folder, calls=calls, rate=rate)
    running.append(calling)
    calling.wait(calls / rate + 40)
    answering.finish()
    assert (calling.counts()['completed'], calling.counts()['failed']) == (calls, 0)
    assert (answering.counts()['completed'], answering.counts()['failed']) == (calls, 0)
    assert program.running()
    # Sippy's own loop has seven; in the background there is its keeper besides.
    assert program.threads() == (2 if daemon else 1)
    # It prints where it sends its calls.  What a callback raised, or what else was wrong, would stand there too.
    assert program.printed() + peers.sippy_log(program, folder) == f"('127.0.0.1', {callee})\n"
