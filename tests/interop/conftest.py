"""Real peers: each runs in a folder of its own, on free ports of the loopback, and ends with its test."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import gevent
import pytest
from benchmarks import lab, peers
from benchmarks.certificates import Authority, Certificate

T = TypeVar('T')


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


@pytest.fixture(scope='session')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For everybody on the loopback, signed by an authority of the tests."""
    return Authority(tmp_path_factory.mktemp('certificates')).issue()


@pytest.fixture
def place(certificate: Certificate) -> Callable[..., str]:
    """``place('tls')``: where to listen over a transport, on a free port, with the certificate where one is needed."""
    def make(transport: str, **options: object) -> str:
        if transport in ('tls', 'wss'):
            options = {'cert': certificate.cert, 'key': certificate.key, 'ca': certificate.ca, **options}
        shown = '&'.join(f'{name}={value}' for name, value in options.items())
        return f'{transport}:127.0.0.1:0' + (f'?{shown}' if shown else '')
    return make


@pytest.fixture
def asterisk(running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> lab.Asterisk:
    """A running Asterisk.  Where Debian testing is not installed the test skips, also where peers are required."""
    if lab.testing() is None:
        pytest.skip(f'{lab.FOLDER} does not name a folder with Asterisk')
    peer = lab.Asterisk(folder, free_port)
    running.append(peer)
    return peer


def aside(function: Callable[..., T], *arguments: object) -> T:
    """Run what blocks the whole thread in another one, so that the user agents of this one go on."""
    done: T = gevent.get_hub().threadpool.apply(function, arguments)
    return done
