"""Trunks at which the B2BUA registers: it is called through them, and calls through them."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.b2bua.trunk import parse_trunk
from greensip.errors import ParseError, SetupError
from greensip.registrar import MemoryUsers, Registrar

from .test_call import SDP, Callee, sdp_of_port
from .test_extensions import titles


@pytest.fixture
def registrar(rig: Any) -> Any:
    """That of example.com, where bob has registered."""
    ua = rig.agent('reg', keep_responses=False)
    users = MemoryUsers('example.com', {'alice': 'wonder,land', 'bob': 'builder'})
    made = Registrar(ua, domains=['example.com'], users=users)
    yield made
    made.close()


@pytest.fixture
def phone(rig: Any, registrar: Any) -> Any:
    """Bob's, which answers."""
    ua = rig.agent('phone')
    ua.calls = Callee(sdp_of_port(6000))
    ua.serve(ua.calls, background=True)
    with ua.account('sip:bob@example.com', 'builder', registrar=f'sip:{rig.net.address("reg")}') as account:
        account.register()
        yield account
        rig.net.run(1)


TRUNK = 'aor=sip:alice@example.com,password=wonder%2Cland,registrar=sip:{reg}'


def test_a_call_from_the_trunk(rig: Any, registrar: Any, phone: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    b2bua = rig.b2bua('-s', '{bob}', '--register', TRUNK)
    account, = b2bua.trunks.accounts
    rig.net.run(1)
    assert account.registered
    with phone.call('sip:alice@example.com', sdp=SDP, route=f'<sip:{rig.net.address("reg")};lr>') as leg:
        # The Request-URI has our Contact, To has the number.
        assert bob.invite.uri.user == 'alice' and leg.answer == sdp_of_port(5000)
        rig.net.run(1)
    rig.net.run(1)
    b2bua.stop()
    rig.net.run(10)
    assert not account.registered
    assert [title for title in titles(rig, 'b2b', 'reg') if title == 'REGISTER'][-1:]


def test_a_call_to_the_trunk(rig: Any, registrar: Any, phone: Any) -> None:
    """Credentials, From and the way there are those of the account."""
    b2bua = rig.b2bua('-s', '{reg};cli=', '--register', TRUNK)
    rig.net.run(1)
    assert b2bua.trunks.accounts[0].registered
    with rig.caller.call(rig.uri('bob'), sdp=SDP) as leg:
        invite = phone.ua.calls.invite
        assert str(invite.from_.uri) == 'sip:alice@example.com' and leg.answer == sdp_of_port(6000)
        assert invite.contact is not None
    assert '401 INVITE' in titles(rig, 'reg', 'b2b')


def test_a_trunk_that_is_lost_and_comes_back(rig: Any, registrar: Any, caplog: Any) -> None:
    rig.callee('bob', Callee())
    b2bua = rig.b2bua('-s', '{bob}', '--register', TRUNK.replace('wonder', 'other'))
    account, = b2bua.trunks.accounts
    rig.net.run(1)
    assert not account.registered
    assert 'sip:alice@example.com is not registered' in caplog.text
    # Nothing else suffers.
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        assert leg.answer == sdp_of_port(5000)


def test_a_route_may_have_its_own_way(rig: Any, registrar: Any, phone: Any) -> None:
    b2bua = rig.b2bua('-s', '{reg};cli=bob;auth=bob:builder', '-s', '{reg};cli=', '--register', TRUNK)
    rig.net.run(1)
    assert b2bua.trunks.accounts[0].registered
    with rig.caller.call(rig.uri('bob'), sdp=SDP):
        assert str(phone.ua.calls.invite.from_.uri) == 'sip:bob@example.com'


def test_several_trunks(rig: Any, registrar: Any) -> None:
    b2bua = rig.b2bua('-s', '{reg}', '--register', TRUNK,
                      '--register', 'aor=sip:bob@example.com,user=bob,password=builder,registrar=sip:{reg},expires=600')
    first, second = b2bua.trunks.accounts
    rig.net.run(1)
    assert first.registered and second.registered
    assert (first.contact_user, second.contact_user) == ('alice', 'bob') and second.expires == 600
    # The first one that has the host is called in its name.
    assert b2bua.trunks.account_of(b2bua.routes[0]) is first


def test_what_is_read() -> None:
    trunk = parse_trunk('aor=sip:+49@[2001:db8::1]:5070, user=x%3Dy,password=a%2Cb=c,'
                        'proxy=sip:p.example.com;transport=tcp')
    assert (trunk.user, trunk.password, trunk.expires) == ('x=y', 'a,b=c', 3600)
    assert trunk.hosts == {'2001:db8::1', 'p.example.com'}


@pytest.mark.parametrize('text', [
    '', 'aor=', 'aor=alice', 'user=a', 'aor=sip:example.com', 'aor=tel:+1', 'aor=sip:a@b,x=y',
    'aor=sip:a@b,aor=sip:a@b',
    'aor=sip:a@b,user=x', 'aor=sip:a@b,expires=0', 'aor=sip:a@b,expires=soon', 'aor=sip:a@b,registrar=tel:+1',
    'aor=sip:a@b,password=x%0D%0Ay', 'aor=sip:a@b,registrar=',
])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises((ValueError, ParseError)):
        parse_trunk(text)


def test_what_cannot_be_registered(rig: Any) -> None:
    with pytest.raises(SetupError, match='--register'):
        rig.b2bua('-s', '{bob}', '--register', 'aor=sip:a@b,user=x')
