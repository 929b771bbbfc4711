"""Asterisk as the registrar of two accounts of ours: digest, refresh, calls placed and taken, un-registering."""

from __future__ import annotations

import pytest
from benchmarks import lab

from greensip import Account, ResponseError, Unauthorized, UserAgent


def account(ua: UserAgent, asterisk: lab.Asterisk, user: str, password: str = 'secret', **options: object) -> Account:
    """One of the users of its configuration."""
    transport = ua.points[0].transport.lower()
    return ua.account(f'sip:{user}@127.0.0.1:{asterisk.port};transport={transport}', password, **options)


@pytest.mark.parametrize('transport', ['udp', 'tcp'])
def test_register_call_and_be_called(asterisk: lab.Asterisk, transport: str) -> None:
    place = f'{transport}:127.0.0.1:0'
    with UserAgent(place, name='one') as one, UserAgent(place, name='two') as two, \
            account(one, asterisk, 'alice') as alice, account(two, asterisk, 'bob') as bob:
        for mine in (alice, bob):
            response = mine.register(timeout=10)
            assert response.code == 200 and mine.expires in (3599, 3600)
            assert [binding.uri.user for binding in mine.bindings] == [mine.contact_user]
        assert ';transport=tcp' in str(bob.contact) or transport == 'udp'
        # A call to one of its own extensions, by the name of the account: it asks for the password.
        with alice.call('600', timeout=10) as leg:
            assert leg.from_.uri.user == 'alice'
            leg.hangup()
            leg.wait_ended(timeout=10)
        # And through it to the other one.
        with alice.invite('bob') as leg:
            incoming = two.accept(timeout=10)
            assert incoming.account is bob
            incoming.ring()
            leg.wait_for('180', timeout=10)
            incoming.answer()
            leg.wait_for('200', timeout=10)
            incoming.wait_for('ACK', timeout=10)
            incoming.hangup()
            leg.wait_ended(timeout=10)
            incoming.wait_ended(timeout=10)
        bob.unregister(timeout=10)
        with pytest.raises(ResponseError):
            alice.call('bob', timeout=20)


def test_refreshed_and_removed(asterisk: lab.Asterisk) -> None:
    with UserAgent('udp:127.0.0.1:0') as ua:
        with account(ua, asterisk, 'carol', expires=6) as carol:
            carol.register(timeout=10)
            for _ in range(2):
                assert carol.wait_for('refreshed', 'lost', timeout=20).label == 'refreshed'
            assert carol.registered
        with account(ua, asterisk, 'carol') as carol:
            carol.register(timeout=10)
            assert len(carol.bindings) == 1
            carol.unregister(timeout=10, everything=True)
            assert carol.query(timeout=10) == []


def test_a_wrong_password(asterisk: lab.Asterisk) -> None:
    with UserAgent('udp:127.0.0.1:0') as ua, account(ua, asterisk, 'alice', 'wrong') as alice:
        with pytest.raises(Unauthorized):
            alice.register(timeout=10)
        assert alice.state == 'unregistered'
