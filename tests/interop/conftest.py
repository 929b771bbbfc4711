"""Real peers: each runs in a folder of its own, on free ports of the loopback, and ends with its test."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers


def absent(what: str) -> None:
    """Skip, or fail where peers are required."""
    reason = f'{what} is not installed'
    if os.environ.get('GREENSIP_REQUIRE_PEERS') == '1':
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def needs() -> Callable[..., None]:
    """``needs('sipp', 'module:pjsua2')``: skip, or fail if peers are required, where one is not installed."""
    def check(*names: str) -> None:
        for name in names:
            kind, _, module = name.rpartition(':')
            if importlib.util.find_spec(module) is None if kind else peers.find(name) is None:
                absent(module)
    return check


@pytest.fixture
def running() -> Iterator[list[peers.Peer]]:
    """Peers appended here are stopped after the test; on failure what they printed is shown."""
    with peers.stopped_at_end([]) as started:
        yield started
        for peer in started:
            print(f'--- {peer.name}\n{peer.printed()[-1500:]}')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of this test's peers."""
    return tmp_path
