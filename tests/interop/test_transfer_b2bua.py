"""Transfers of pjsua2 phones whose call goes through greensip-b2bua: passed on, and done by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from .test_phones import Phone
from .test_transfer_pjsua import state, told, uri

Start = Callable[..., Phone]


@pytest.fixture
def phone(needs: Callable[..., None], running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> Start:
    """``phone('bob')`` starts one that rings and answers, and takes transfers."""
    needs('module:pjsua2')

    def start(name: str, *options: str) -> Phone:
        made = Phone(name, 440.0, folder, free_port, *options)
        running.append(made.peer)
        made.wait_for('"ready"')
        return made

    return start


@pytest.fixture
def b2bua(running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> Callable[..., int]:
    """``b2bua(next_hop, '--refer', 'pass')`` starts one; gives its port."""
    def start(next_hop: int, *options: str) -> int:
        port = free_port()
        running.append(peers.greensip(port, next_hop, folder, *options))
        return port

    return start


def test_a_transfer_that_is_passed_on(phone: Start, b2bua: Callable[..., int]) -> None:
    """alice calls bob through it, and transfers him to carol, whom he calls himself."""
    alice, bob, carol = phone('alice'), phone('bob'), phone('carol')
    port = b2bua(bob.port, '--refer', 'pass')
    alice.peer.say(f'call sip:bob@127.0.0.1:{port}')
    state(alice, 'CONFIRMED', 1)
    alice.peer.say(f'transfer {uri(carol)}')
    told(bob, 'transfer', to=uri(carol))
    told(alice, 'transferred', code=200, final=True)
    state(carol, 'CONFIRMED', 1)
    alice.peer.say('hangup')
    state(alice, 'DISCONNECTED', 1)
    state(bob, 'DISCONNECTED', 1)
    state(bob, 'CONFIRMED', 2)
    for one in (alice, bob, carol):
        one.quit()


def test_an_attended_transfer_that_is_passed_on(phone: Start, b2bua: Callable[..., int]) -> None:
    alice, bob, carol = phone('alice'), phone('bob'), phone('carol')
    port = b2bua(bob.port, '--refer', 'pass')
    alice.peer.say(f'call sip:bob@127.0.0.1:{port}')
    state(alice, 'CONFIRMED', 1)
    alice.peer.say(f'call {uri(carol)}')
    state(alice, 'CONFIRMED', 2)
    alice.peer.say('connect')
    told(carol, 'replaced')
    told(alice, 'transferred', code=200, final=True)
    state(carol, 'CONFIRMED', 2)
    for one in (alice, bob, carol):
        one.quit()


def test_two_calls_become_one(phone: Start, b2bua: Callable[..., int]) -> None:
    """alice has called two lines of bob's; the B2BUA connects them with each other, and bob's phone notices nothing."""
    alice, bob = phone('alice'), phone('bob')
    port = b2bua(bob.port, '--refer', 'handle')
    for number in (1, 2):
        alice.peer.say(f'call sip:line{number}@127.0.0.1:{port}')
        state(alice, 'CONFIRMED', number)
        state(bob, 'CONFIRMED', number)
    alice.peer.say('connect')
    told(alice, 'transferred', code=200, final=True)
    state(alice, 'DISCONNECTED', 1)
    assert not bob.events('transfer')
    assert not bob.events('replaced')
    assert not [event for event in bob.events('state') if event['state'] == 'DISCONNECTED']
    bob.peer.say('hangup')
    state(bob, 'DISCONNECTED', 2)
    for one in (alice, bob):
        one.quit()


def test_nobody_is_transferred_unless_that_is_wanted(phone: Start, b2bua: Callable[..., int]) -> None:
    alice, bob = phone('alice'), phone('bob')
    port = b2bua(bob.port)
    alice.peer.say(f'call sip:bob@127.0.0.1:{port}')
    state(alice, 'CONFIRMED', 1)
    alice.peer.say('transfer sip:carol@127.0.0.1:9')
    assert peers.wait_until(lambda: any(event['code'] >= 400 for event in alice.events('transferred')), 15)
    state(bob, 'CONFIRMED', 1)
    assert not bob.events('transfer')
    for one in (alice, bob):
        one.quit()
