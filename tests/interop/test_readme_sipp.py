"""The script of the README for those who come from SIPp: the scenario, and the same in greensip, against one callee."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from benchmarks import peers

from greensip import IncomingLeg, RemoteCancel, UserAgent
from greensip.testing import Ladder

from .conftest import aside

README = (Path(__file__).parents[2] / 'README.rst').read_text(encoding='utf-8')


def block(kind: str) -> str:
    """The code block of that kind in the section."""
    section = README.partition('Coming from SIPp\n')[2].partition('\nComing from ')[0]
    found = re.search(rf'\.\. code-block:: {kind}\n\n((?:    .*\n|\n)+)', section)
    assert found is not None
    return textwrap.dedent(found[1])


@pytest.fixture
def callee() -> Iterator[tuple[UserAgent, list[BaseException | None], Ladder]]:
    """Rings until the caller has given up."""
    endings: list[BaseException | None] = []
    ladder = Ladder()

    def ring(leg: IncomingLeg) -> None:
        leg.ring()
        endings.append(leg.wait_ended(timeout=10).error)

    with UserAgent('udp:127.0.0.1:0', name='callee') as ua:
        ladder.add(ua.endpoint, 'callee')
        ua.serve(ring, background=True)
        yield ua, endings, ladder


def titles(ladder: Ladder) -> list[str]:
    """What was said, without who said it; how fast the final response is, is nobody's business."""
    gevent.sleep(0.1)
    return sorted(arrow.title for arrow in ladder.part(repeats=False).arrows if arrow.title != '100 INVITE')


SAID = sorted(['INVITE', '180 INVITE', 'CANCEL', '200 CANCEL', '487 INVITE', 'ACK'])


def test_the_scenario_in_sipp(callee: tuple[UserAgent, list[BaseException | None], Ladder],
                              needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                              free_port: Callable[..., int]) -> None:
    needs('sipp')
    ua, endings, ladder = callee
    scenario = folder / 'gives_up.xml'
    scenario.write_text('<?xml version="1.0" encoding="UTF-8" ?>\n' + block('xml'))
    calling = peers.callers(ua.points[0].address[1], free_port(), folder, calls=1, rate=1.0, scenario=scenario)
    running.append(calling)
    aside(calling.wait, 30)
    assert calling.counts()['completed'] == 1 and calling.counts()['failed'] == 0
    assert [type(error) for error in endings] == [RemoteCancel]
    assert titles(ladder) == SAID


def test_the_same_in_greensip(callee: tuple[UserAgent, list[BaseException | None], Ladder], folder: Path) -> None:
    ua, endings, ladder = callee
    (folder / 'test_it.py').write_text(block('python'))
    command = [sys.executable, '-m', 'pytest', '-p', 'greensip.testing.plugin', '-p', 'no:cacheprovider', '-q',
               '--sip-dut', ua.uri, 'test_it.py']
    done = aside(lambda: subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False,
                                        env={**os.environ, 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}))
    assert '1 passed' in done.stdout, done.stdout + done.stderr
    assert [type(error) for error in endings] == [RemoteCancel]
    assert titles(ladder) == SAID
