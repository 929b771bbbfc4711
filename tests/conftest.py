"""What every test may use: free ports, reproducible hypothesis runs, and a look for greenlets left behind."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator

import gevent
import hypothesis
import pytest

hypothesis.settings.register_profile('greensip', derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile('greensip')


class PortFinder:
    """Hands out ports of 127.0.0.1 that nobody uses, none of them twice.

    Below the range from which the kernel takes ephemeral ports, so that no client socket sits on one
    between the look and the use.
    """

    def __init__(self) -> None:
        self.next = 10000 + os.getpid() * 131 % 18000

    def __call__(self, step: int = 1) -> int:
        """The next free port for both UDP and TCP; ``step`` leaves room for RTP's pairs."""
        for _ in range(2000):
            self.next = 10000 + (self.next + step - 10000) % 20000
            self.next += -self.next % step
            try:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(('127.0.0.1', self.next))
            except OSError:
                continue
            return self.next
        raise RuntimeError('no free port')


@pytest.fixture
def absent() -> Callable[[str], None]:
    """``absent('sippy')``: skip, or fail where peers are required."""
    def tell(what: str) -> None:
        reason = f'{what} is not installed'
        if os.environ.get('GREENSIP_REQUIRE_PEERS') == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    return tell


@pytest.fixture
def needs_sippy(absent: Callable[[str], None]) -> None:
    """For tests that ask sippy how it does a thing."""
    if importlib.util.find_spec('sippy') is None:
        absent('sippy')


@pytest.fixture(scope='session')
def free_port() -> PortFinder:
    """A function that gives another free port of the loopback at each call."""
    return PortFinder()


@pytest.fixture
def link_local() -> str:
    """A link-local address of this machine with its zone, ``fe80::1%eth0``; skips where there is none."""
    try:
        with open('/proc/net/if_inet6', encoding='ascii') as lines:
            found = [line.split() for line in lines]
    except OSError:
        found = []
    for digits, _, _, scope, _, device in found:
        if scope == '20':
            return f'{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))}%{device}'
    pytest.skip('this machine has no link-local address')


@pytest.fixture(autouse=True)
def no_greenlets_left() -> Iterator[None]:
    """Fail a test that leaves running greenlets behind."""
    spawned: list[gevent.Greenlet] = []
    gevent.Greenlet.add_spawn_callback(spawned.append)
    try:
        yield
    finally:
        gevent.Greenlet.remove_spawn_callback(spawned.append)
    for _ in range(10):
        # What was killed or told to stop just now needs a turn of the hub to die.
        if all(greenlet.dead for greenlet in spawned):
            return
        gevent.sleep(0)
    left = [greenlet for greenlet in spawned if not greenlet.dead]
    for greenlet in left:
        greenlet.kill(block=True, timeout=1)
    if left:
        pytest.fail(f'greenlets left behind: {left}')
