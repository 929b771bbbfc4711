"""Kamailio as registrar with digest, Path and GRUU, and as the outbound proxy before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks import lab, peers

from greensip import (
    Account,
    Backoff,
    Forbidden,
    IncomingLeg,
    TooBrief,
    TransportError,
    Unauthorized,
    UserAgent,
    parse_uri,
)

from .conftest import aside
from .test_registrar import NEEDS, Baresip, Linphone, Pjsua

OFFER = (b'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n'
         b'm=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')

#: two of them: ``home`` is the registrar and proxy of a domain, ``edge`` leads to it
COMMON = '''
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
tcp_connection_lifetime=600
tcp_accept_no_cl=yes
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "rr.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "nathelper.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "path.so"
loadmodule "auth.so"
modparam("rr", "enable_full_lr", 1)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_use_received", 1)
modparam("registrar", "min_expires", 60)
modparam("registrar", "default_expires", 3600)
modparam("registrar", "path_mode", 1)
modparam("path", "use_received", 1)
modparam("path", "enable_r2", 1)
'''

HOME = COMMON + '''
request_route {{
    if (method == "CANCEL") {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        loose_route();
        # RFC 5627: a GRUU is the address of a device, to be looked up in the middle of a dialog too.
        if (is_gruu() && !lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
        t_relay();
        exit;
    }}
    if (method == "REGISTER") {{
        if (!pv_www_authenticate("example.com", "s3cret", "0")) {{ auth_challenge("example.com", "1"); exit; }}
        if ($au != $tU) {{ sl_send_reply("403", "Not You"); exit; }}
        append_to_reply("Service-Route: <sip:127.0.0.1:{port};lr>\\r\\n");
        append_to_reply("P-Associated-URI: <sip:+15551234@example.com>\\r\\n");
        save("location");
        exit;
    }}
    if ($fd == "example.com" && method != "ACK") {{
        if (!pv_proxy_authenticate("example.com", "s3cret", "0")) {{
            proxy_challenge("example.com", "1");
            exit;
        }}
        consume_credentials();
    }}
    record_route();
    if (is_present_hf("Route")) {{ loose_route(); }}
    if (!lookup("location")) {{ sl_send_reply("480", "Nobody Here"); exit; }}
    t_relay();
}}
'''

EDGE = COMMON + '''
request_route {{
    if (method == "CANCEL") {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (method == "REGISTER") {{
        add_path_received();
        $du = "sip:127.0.0.1:{home}";
        t_relay();
        exit;
    }}
    if (!has_totag()) {{ record_route(); }}
    # Of a call from home the Path is the Route, and we are its end: then the phone is next.
    if (loose_route() || has_totag() || $sp == {home}) {{ t_relay(); exit; }}
    $du = "sip:127.0.0.1:{home}";
    t_relay();
}}
'''


def kamailio(name: str, text: str, folder: Path, port: int, home: int = 0) -> peers.Peer:
    """One of the two."""
    place = folder / name
    place.mkdir()
    config = place / 'kamailio.cfg'
    config.write_text(text.format(port=port, home=home))
    peer = peers.Peer(name, [peers.need('kamailio'), '-DD', '-E', '-m', '64', '-M', '8', '-f', config, '-Y', place,
                             '-P', place / 'pid'], folder)
    peer.wait_for_port(port)
    return peer


class Domain:
    """The ports of the registrar and of the proxy before it."""

    def __init__(self, home: int, edge: int) -> None:
        self.home = home
        self.edge = edge

    def account(self, ua: UserAgent, user: str, **options: object) -> Account:
        """An account of this domain."""
        return ua.account(f'sip:{user}@example.com', 's3cret', **options)


@pytest.fixture
def domain(needs: Callable[..., None], absent: Callable[[str], None], running: list[peers.Peer], folder: Path,
           free_port: Callable[..., int]) -> Domain:
    needs('kamailio')
    for name in lab.modules('path', 'auth', 'registrar'):
        absent(f"Kamailio's module {name}")
    made = Domain(free_port(), free_port())
    running.append(kamailio('home', HOME, folder, made.home))
    running.append(kamailio('edge', EDGE, folder, made.edge, made.home))
    return made


class Home:
    """The registrar as the phones of ``test_registrar`` want it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.uri = f'sip:127.0.0.1:{port}'

    def address(self, name: str) -> str:
        """The address of a user."""
        return f'sip:{name}@127.0.0.1:{self.port}'


def call(caller: Account, callee: UserAgent, user: str) -> None:
    """A call through the domain, with a request inside it from each side."""
    with caller.invite(user) as leg:
        incoming: IncomingLeg = callee.accept(timeout=10)
        assert incoming.account is callee.accounts[0]
        incoming.ring()
        leg.wait_for('180', timeout=10)
        incoming.answer()
        leg.wait_for('200', timeout=10)
        incoming.wait_for('ACK', timeout=10)
        assert leg.request('INFO', timeout=10).code == 200
        assert incoming.request('INFO', timeout=10).code == 200
        incoming.hangup()
        leg.wait_ended(timeout=10)
        incoming.wait_ended(timeout=10)


@pytest.mark.parametrize('transport', ['udp', 'tcp'])
def test_register_and_call_at_home(domain: Domain, transport: str) -> None:
    registrar = f'sip:127.0.0.1:{domain.home};transport={transport}'
    with UserAgent(f'{transport}:127.0.0.1:0', name='a') as first, \
            UserAgent(f'{transport}:127.0.0.1:0', name='b') as second, \
            domain.account(first, 'alice', registrar=registrar) as alice, \
            domain.account(second, 'bob', registrar=registrar) as bob:
        alice.register(timeout=10)
        bob.register(timeout=10)
        assert alice.service_route == (f'<sip:127.0.0.1:{domain.home};lr>',) or transport == 'tcp'
        assert [str(uri.uri) for uri in alice.associated_uris] == ['sip:+15551234@example.com']
        assert alice.expires == 3600 and len(alice.query(timeout=10)) == 1
        way = f'<{registrar};lr>'
        with alice.invite('bob', route=way) as leg:
            incoming = second.accept(timeout=10)
            assert incoming.account is bob
            incoming.answer()
            leg.wait_for('200', timeout=10)
            incoming.wait_for('ACK', timeout=10)
            leg.hangup()
            incoming.wait_ended(timeout=10)
        bob.unregister(timeout=10)
        assert bob.query(timeout=10) == []


def test_through_the_outbound_proxy(domain: Domain) -> None:
    """REGISTER by way of the edge leaves its Path: calls from home come by way of it; ours go by way of both."""
    way = f'<sip:127.0.0.1:{domain.edge};lr>'
    with UserAgent('udp:127.0.0.1:0', name='a') as first, UserAgent('udp:127.0.0.1:0', name='b') as second, \
            domain.account(first, 'alice', route=way) as alice, domain.account(second, 'bob', route=way) as bob:
        response = alice.register(timeout=10)
        assert f'127.0.0.1:{domain.edge}' in str(response.get('Path'))
        bob.register(timeout=10)
        assert alice.options_for('bob')['route'] == (way, f'<sip:127.0.0.1:{domain.home};lr>')
        call(alice, second, 'bob')
        call(bob, first, 'alice')


def test_a_connection_that_breaks_is_replaced(domain: Domain, running: list[peers.Peer], folder: Path) -> None:
    """The proxy falls over, the connection with it; as soon as it is back the account is registered by way of it."""
    way = f'<sip:127.0.0.1:{domain.edge};transport=tcp;lr>'
    backoff = Backoff(base=0.5, longest=1.0)
    with UserAgent('tcp:127.0.0.1:0', name='a') as first, UserAgent('tcp:127.0.0.1:0', name='b') as second, \
            domain.account(first, 'alice', route=way) as alice, \
            domain.account(second, 'bob', route=way, backoff=backoff) as bob:
        alice.register(timeout=10)
        bob.register(timeout=10)
        call(alice, second, 'bob')
        # As if it had been there for long.
        for account in (alice, bob):
            account.registrations[0]._refreshed -= 60
        aside(running[1].stop)
        assert isinstance(bob.wait_for('failed', 'lost', timeout=10).error, TransportError)
        waiting = gevent.spawn(bob.wait_for, 'refreshed', 'registered', timeout=20)
        running.append(aside(kamailio, 'again', EDGE, folder, domain.edge, domain.home))
        waiting.get()
        call(alice, second, 'bob')


def test_gruu(domain: Domain) -> None:
    registrar = f'sip:127.0.0.1:{domain.home}'
    with UserAgent('udp:127.0.0.1:0', name='a') as first, UserAgent('udp:127.0.0.1:0', name='b') as second, \
            domain.account(first, 'alice', registrar=registrar, gruu=True) as alice, \
            domain.account(second, 'bob', registrar=registrar, gruu='temporary') as bob:
        alice.register(timeout=10)
        bob.register(timeout=10)
        assert alice.gruu.startswith('sip:alice@example.com;gr=') and 'gr' in parse_uri(bob.gruu).params
        with alice.invite('bob') as leg:
            incoming = second.accept(timeout=10)
            assert str(incoming.invite.contact.uri) == alice.gruu
            incoming.answer()
            leg.wait_for('200', timeout=10)
            assert str(leg.response.contact.uri) == bob.gruu
            incoming.wait_for('ACK', timeout=10)
            # Inside the call each is reached by his GRUU.
            assert leg.request('INFO', timeout=10).code == 200
            assert incoming.request('INFO', timeout=10).code == 200
            leg.hangup()
            incoming.wait_ended(timeout=10)


def test_refusals(domain: Domain) -> None:
    registrar = f'sip:127.0.0.1:{domain.home}'
    with UserAgent('udp:127.0.0.1:0') as ua:
        with ua.account('sip:alice@example.com', 'wrong', registrar=registrar) as alice, pytest.raises(Unauthorized):
            alice.register(timeout=10)
        with ua.account('sip:alice@example.com', 's3cret', username='bob', registrar=registrar) as alice, \
                pytest.raises(Forbidden):
            alice.register(timeout=10)
        # It grants less than a minute to nobody: a 423, or the minute.
        with domain.account(ua, 'alice', registrar=registrar, expires=5) as alice:
            try:
                alice.register(timeout=10)
            except TooBrief:
                pytest.fail('the 423 was not answered')
            assert alice.expires == 60
        with domain.account(ua, 'alice', registrar=registrar) as alice:
            alice.register(timeout=10)
            alice.unregister(timeout=10, everything=True)
            assert alice.query(timeout=10) == []


@pytest.mark.parametrize(('name', 'kind'), [('alice', Pjsua), ('baresip', Baresip), ('linphone', Linphone)])
def test_calls_with_phones_that_register_there_too(
        domain: Domain, needs: Callable[..., None], running: list[peers.Peer], folder: Path,
        free_port: Callable[..., int], name: str, kind: Any) -> None:
    needs(NEEDS[name])
    home: Any = Home(domain.home)
    phone = kind(name, home, folder, free_port) if kind is Pjsua else kind(home, folder, free_port)
    running.append(phone.peer)
    with UserAgent('udp:127.0.0.1:0') as ua, domain.account(ua, 'carol', registrar=home.uri, route=f'<{home.uri};lr>',
                                                            ) as carol:
        carol.register(timeout=10)
        there = ua.account(home.address(name), 's3cret', username=name)
        for _ in range(100):
            if there.query(timeout=10):
                break
            gevent.sleep(0.1)
        # We call.
        with carol.call(name, sdp=OFFER, timeout=20) as leg:
            assert leg.account is carol and b'm=audio' in leg.answer
            aside(phone.wait_for_a_call)
            leg.hangup()
            leg.wait_ended(timeout=10)
        aside(phone.wait_for_the_end)
        # It calls us.
        aside(phone.call, 'carol')
        incoming = ua.accept(timeout=20)
        assert incoming.account is carol
        incoming.ring()
        incoming.answer(OFFER)
        incoming.wait_for('ACK', timeout=10)
        incoming.hangup()
        incoming.wait_ended(timeout=10)
