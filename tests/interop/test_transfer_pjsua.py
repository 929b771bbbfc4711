"""Transfers with pjsua2 phones: three processes, and we in each of the three roles, blind and attended (RFC 5589)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import Declined, RemoteHangup, Replaced, ResponseError, UserAgent

from .conftest import aside
from .test_phones import Phone


@pytest.fixture
def phone(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
          free_port: Callable[..., int]) -> Callable[..., Phone]:
    """``phone('bob')`` starts one that rings and answers, and takes transfers."""
    needs('module:pjsua2')

    def start(name: str, *options: str) -> Phone:
        made = Phone(name, 440.0, folder, free_port, *options)
        running.append(made.peer)
        made.wait_for('"ready"')
        return made

    return start


@pytest.fixture
def ua() -> Iterator[UserAgent]:
    with UserAgent('udp:127.0.0.1:0', refer='ask', watchdog=None) as made:
        yield made


def uri(phone: Phone) -> str:
    return f'sip:phone@127.0.0.1:{phone.port}'


def told(phone: Phone, kind: str, **details: object) -> None:
    """Wait until the phone has told such an event."""
    def is_there() -> bool:
        return any(all(event[name] == value for name, value in details.items()) for event in phone.events(kind))

    assert aside(peers.wait_until, is_there, 15), phone.events()


def state(phone: Phone, word: str, times: int) -> None:
    """Wait until so many calls of the phone have come to a state."""
    def are_there() -> bool:
        return len({event['call_id'] for event in phone.events('state') if event['state'] == word}) >= times

    assert aside(peers.wait_until, are_there, 15), phone.events()


def talk(leg):
    """A handler that answers and lasts as long as the call."""
    leg.answer()
    leg.wait_ended()


# -- we transfer

@pytest.mark.parametrize('held', [False, True])
def test_we_transfer(ua: UserAgent, phone: Callable[..., Phone], held: bool) -> None:
    bob, carol = phone('bob'), phone('carol')
    with ua.call(uri(bob), timeout=10) as leg:
        if held:
            leg.hold(timeout=10)
        referral = leg.refer(uri(carol))
        assert {step.code for step in referral} >= {100, 200}
        assert referral.outcome(timeout=15).ok
        told(bob, 'transfer', to=f'<{uri(carol)}>')
        state(carol, 'CONFIRMED', 1)
        leg.hangup()
        leg.wait_ended(timeout=10)
        state(bob, 'CONFIRMED', 2)
        request = str(carol.events('incoming')[0]['request'])
        assert 'Referred-By: <sip:' in request
        aside(carol.quit)
        aside(bob.quit)


@pytest.mark.parametrize('code', [486, 603])
def test_we_transfer_in_vain(ua: UserAgent, phone: Callable[..., Phone], code: int) -> None:
    """The target refuses: the call goes on."""
    bob, carol = phone('bob'), phone('carol', '--answer', f'180,{code}')
    with ua.call(uri(bob), timeout=10) as leg:
        assert leg.transfer(uri(carol), timeout=20).code == code
        assert leg.state == 'confirmed'
        leg.hangup()
        leg.wait_ended(timeout=10)
        aside(bob.quit)


def test_it_will_not_be_transferred(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('bob', '--transfer', '603')
    with ua.call(uri(bob), timeout=10) as leg:
        with pytest.raises(Declined):
            leg.transfer('sip:anybody@127.0.0.1:9', timeout=20)
        assert leg.state == 'confirmed'
        leg.hangup()
        leg.wait_ended(timeout=10)
        aside(bob.quit)


def test_we_connect_two(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob, carol = phone('bob'), phone('carol')
    with ua.call(uri(bob), timeout=10) as leg, ua.call(uri(carol), timeout=10) as expert:
        leg.hold(timeout=10)
        assert leg.transfer_to(expert, timeout=20).ok
        assert isinstance(expert.wait_ended(timeout=10).error, RemoteHangup)
        told(carol, 'replaced')
        leg.hangup()
        leg.wait_ended(timeout=10)
        state(carol, 'CONFIRMED', 2)
        state(bob, 'CONFIRMED', 2)
        aside(carol.quit)
        aside(bob.quit)


# -- we are transferred

def test_we_are_transferred(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob, carol = phone('bob'), phone('carol')
    with ua.call(uri(bob), timeout=10) as leg:
        bob.peer.say(f'transfer {uri(carol)}')
        transfer = leg.wait_for('REFER', timeout=10)
        assert str(transfer.target) == uri(carol)
        with transfer.accept() as other:
            other.wait_for('200', timeout=15)
            told(bob, 'transferred', code=200, final=True)
            state(carol, 'CONFIRMED', 1)
            bob.peer.say('hangup')
            assert isinstance(leg.wait_ended(timeout=10).error, RemoteHangup)
            assert other.state == 'confirmed'
            other.hangup()
            other.wait_ended(timeout=10)
        aside(carol.quit)
        aside(bob.quit)


def test_we_will_not_be_transferred(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('bob')
    with ua.call(uri(bob), timeout=10) as leg:
        bob.peer.say('transfer sip:anybody@127.0.0.1:9')
        leg.wait_for('REFER', timeout=10).reject(603)
        told(bob, 'transferred', code=603, final=True)
        leg.hangup()
        leg.wait_ended(timeout=10)
        aside(bob.quit)


def test_we_are_connected_with_another(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob, carol = phone('bob'), phone('carol')
    with ua.call(uri(bob), timeout=10) as leg:
        bob.peer.say(f'call {uri(carol)}')
        state(bob, 'CONFIRMED', 2)
        bob.peer.say('connect')
        transfer = leg.wait_for('REFER', timeout=10)
        assert transfer.replaces is not None
        with transfer.accept() as other:
            other.wait_for('200', timeout=15)
            told(carol, 'replaced')
            told(bob, 'transferred', code=200, final=True)
            other.hangup()
            other.wait_ended(timeout=10)
        aside(carol.quit)
        aside(bob.quit)


# -- somebody is transferred to us

def test_somebody_is_transferred_to_us(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob, carol = phone('bob'), phone('carol')
    referred = []

    def handler(leg):
        referred.append((leg.referred_by, leg.replaces))
        leg.ring()
        talk(leg)

    ua.serve(handler, background=True)
    bob.peer.say(f'call {uri(carol)}')
    aside(bob.wait_for_state, 'CONFIRMED')
    bob.peer.say(f'transfer {ua.uri}')
    told(bob, 'transferred', code=200, final=True)
    state(carol, 'CONFIRMED', 2)
    (referred_by, replaces), = referred
    assert replaces is None
    assert referred_by is None or str(referred_by.uri.user) == 'bob'
    aside(bob.quit)
    leg, = ua.legs
    leg.hangup()
    leg.wait_ended(timeout=10)
    aside(carol.quit)


def test_a_call_of_ours_is_replaced(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    """An attended transfer: the phone that has consulted us connects its other call with us."""
    bob, carol = phone('bob'), phone('carol')
    ua.serve(talk, background=True)
    bob.peer.say(f'call {uri(carol)}')
    aside(bob.wait_for_state, 'CONFIRMED')
    bob.peer.say(f'call {ua.uri}')
    state(bob, 'CONFIRMED', 2)
    old, = ua.legs
    bob.peer.say('connect')
    assert isinstance(old.wait_ended(timeout=15).error, Replaced)
    told(bob, 'transferred', code=200, final=True)
    new, = ua.legs
    assert new.replaces is old
    assert new.state == 'confirmed'
    state(carol, 'CONFIRMED', 2)
    new.hangup()
    new.wait_ended(timeout=10)
    aside(carol.quit)
    aside(bob.quit)


def test_a_call_of_ours_that_is_no_more(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    """It is not replaced, and nobody is bothered (RFC 3891 3)."""
    bob, carol = phone('bob'), phone('carol')
    with ua.call(uri(bob), timeout=10) as leg:
        name = f'{leg.call_id};to-tag={leg.local.tag};from-tag={leg.remote.tag}'
        leg.hangup()
        leg.wait_ended(timeout=10)
    with ua.call(uri(carol), timeout=10) as leg:
        escaped = name.replace(';', '%3B').replace('=', '%3D').replace('@', '%40')
        assert leg.transfer(f'<{ua.uri}?Replaces={escaped}>', timeout=20).code == 603
        leg.hangup()
        leg.wait_ended(timeout=10)
    aside(carol.quit)
    aside(bob.quit)


def test_a_phone_that_has_no_such_call(ua: UserAgent, phone: Callable[..., Phone]) -> None:
    bob = phone('bob')
    with pytest.raises(ResponseError) as caught:
        ua.call(uri(bob), replaces='nobody;to-tag=1;from-tag=2', timeout=10)
    assert caught.value.code == 481
    aside(bob.quit)
