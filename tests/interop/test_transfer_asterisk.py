"""Transfers through Asterisk: it takes the REFER itself, and connects those who are left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks import lab

from greensip import Account, RemoteHangup, UserAgent
from greensip.ua.leg import Leg

USERS = ('alice', 'bob', 'carol')


@pytest.fixture
def accounts(asterisk: lab.Asterisk) -> Iterator[list[Account]]:
    """Three users, registered, each with a user agent of its own; the last two answer."""
    agents = [UserAgent('udp:127.0.0.1:0', name=user, watchdog=None) for user in USERS]
    way = f'<sip:127.0.0.1:{asterisk.port};lr>'
    made = [ua.account(f'sip:{user}@127.0.0.1:{asterisk.port}', 'secret', route=way)
            for ua, user in zip(agents, USERS)]
    try:
        for account in made:
            account.register(timeout=10)
        for ua in agents[1:]:
            ua.serve(talk, background=True)
        yield made
    finally:
        for ua in agents:
            ua.close()


def talk(leg: Leg) -> None:
    """Answer, and last as long as the call."""
    leg.ring()
    leg.answer()
    leg.wait_ended()


def call_of(account: Account) -> Leg:
    """The one call of a user agent."""
    leg, = account.ua.legs
    return leg


def settled(account: Account, seconds: float = 1.0) -> None:
    """Let so much time pass."""
    account.ua.clock.sleep(seconds)


def test_blind(accounts: list[Account]) -> None:
    alice, bob, carol = accounts
    with alice.call('bob', timeout=10) as leg:
        settled(alice)
        outcome = leg.transfer(carol.aor.uri, timeout=20)
        assert outcome.ok, outcome
        leg.hangup()
        leg.wait_ended(timeout=10)
    settled(alice)
    # The two of them talk on, though alice has left.
    assert call_of(bob).state == call_of(carol).state == 'confirmed'
    call_of(bob).hangup()
    assert isinstance(call_of(carol).wait_ended(timeout=10).error, RemoteHangup)


def test_attended(accounts: list[Account]) -> None:
    alice, bob, carol = accounts
    with alice.call('bob', timeout=10) as leg, alice.call('carol', timeout=10) as expert:
        settled(alice)
        outcome = leg.transfer_to(expert, timeout=20)
        assert outcome.ok, outcome
        expert.wait_ended(timeout=10)
        leg.hangup()
        leg.wait_ended(timeout=10)
    settled(alice)
    assert call_of(bob).state == call_of(carol).state == 'confirmed'
    call_of(carol).hangup()
    assert isinstance(call_of(bob).wait_ended(timeout=10).error, RemoteHangup)


def test_nowhere(accounts: list[Account], asterisk: lab.Asterisk) -> None:
    alice, bob, _ = accounts
    with alice.call('bob', timeout=10) as leg:
        settled(alice)
        outcome = leg.transfer(f'sip:nobody@127.0.0.1:{asterisk.port}', timeout=20)
        assert (outcome.code, outcome.final) == (404, True)
        assert call_of(bob).state == 'confirmed'
        leg.hangup()
        leg.wait_ended(timeout=10)
