"""The command ``greensip`` with other people's programs: SIPp calls it and is called."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import peers

from .conftest import aside
from .sipp_ladder import write_scenario

COMMAND = [sys.executable, '-u', '-m', 'greensip']


def test_it_calls_sipp(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                       free_port: Callable[..., int]) -> None:
    needs('sipp')
    port = free_port()
    answering = peers.answerers(port, folder)
    running.append(answering)
    call = peers.Peer('call', [*COMMAND, 'call', f'sip:bob@127.0.0.1:{port}', '--seconds', '0.2', '--json'], folder)
    running.append(call)
    assert aside(call.wait, 20) == 0
    assert json.loads(call.printed().splitlines()[-1])['outcome'] == 'done'
    answering.finish()
    assert answering.counts()['completed'] == 1 and answering.counts()['failed'] == 0


def test_sipp_refuses_it(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                         free_port: Callable[..., int]) -> None:
    needs('sipp')
    port = free_port()
    scenario = write_scenario(folder, 'busy', '''
        < INVITE sdp
        > 180
        > 486 final
        < ACK
    ''')
    running.append(peers.answerers(port, folder, scenario=scenario))
    call = peers.Peer('call', [*COMMAND, 'call', f'sip:bob@127.0.0.1:{port}'], folder)
    running.append(call)
    assert aside(call.wait, 20) == 10
    assert 'it rings' in call.printed() and 'busy: 486' in call.printed()


def test_sipp_calls_it(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                       free_port: Callable[..., int]) -> None:
    needs('sipp')
    port = free_port()
    answer = peers.Peer('answer', [*COMMAND, 'answer', '--listen', f'udp:127.0.0.1:{port}', '--ring', '0.05'], folder)
    running.append(answer)
    answer.wait_for_text('listening on')
    calling = peers.callers(port, free_port(), folder, calls=50, rate=50.0, hold=0.1)
    running.append(calling)
    aside(calling.wait, 40)
    assert calling.counts()['completed'] == 50 and calling.counts()['failed'] == 0
    answer.send_signal(signal.SIGINT)
    assert aside(answer.wait, 10) == 0
    assert answer.printed().count('the peer hung up') == 50
