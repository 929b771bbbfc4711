"""Real peers: each runs in a folder of its own, on free ports of the loopback, and ends with its test."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers


@pytest.fixture
def needs(absent: Callable[[str], None]) -> Callable[..., None]:
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
