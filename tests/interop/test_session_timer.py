"""Session timers with a pjsua2 phone: 90 seconds is the least, so that a refresh takes 45 to be seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import UserAgent

from .conftest import aside
from .test_phones import Phone

#: seconds from the answer to the refresh, and what a busy machine needs besides
HALF, PATIENCE = 45, 15


@pytest.fixture
def phone(needs: Callable[..., None], running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> Phone:
    """A phone that asks for 90 seconds, rings and answers."""
    needs('module:pjsua2')
    bob = Phone('bob', 1000.0, folder, free_port, '--timer', '90', '--seconds', '120')
    running.append(bob.peer)
    bob.wait_for('"ready"')
    return bob


def test_both_sides_refresh(phone: Phone) -> None:
    with UserAgent('udp:127.0.0.1:0') as ua:
        # The phone calls: whoever calls refreshes, if the callee may choose and is one of ours.
        phone.peer.say(f'call sip:x@127.0.0.1:{ua.points[0].address[1]}')
        theirs = ua.accept(timeout=10)
        assert theirs.headers['Session-Expires'].startswith('90')
        theirs.answer()
        theirs.wait_for('ACK', timeout=10)
        assert theirs.session_timer is not None and theirs.session_timer.refresher == 'remote'
        began = time.monotonic()
        # We call, and refresh.
        with ua.call(f'sip:bob@127.0.0.1:{phone.port}', session_timer='90;refresher=uac', timeout=10) as ours:
            assert ours.session_timer is not None
            assert ours.session_timer[:2] == (90, 'local')
            until = ours.session_timer.expires
            refresh = theirs.wait_for('UPDATE', 'INVITE', timeout=HALF + PATIENCE).message
            assert HALF - 5 < time.monotonic() - began < HALF + PATIENCE
            assert refresh.get('Session-Expires').startswith('90')
            assert theirs.session_timer.expires > until + HALF - 10
            deadline = time.monotonic() + PATIENCE
            while ours.session_timer.expires == until and time.monotonic() < deadline:
                ua.clock.sleep(0.2)
            assert ours.session_timer.expires > until + HALF - 10
            assert ours.session_timer[:2] == (90, 'local')
            assert ours.state == theirs.state == 'confirmed'
        theirs.hangup()
        ours.wait_ended(timeout=10)
        theirs.wait_ended(timeout=10)
        aside(phone.quit)
