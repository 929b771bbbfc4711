"""Accounts at our own registrar over real connections: RFC 5626, RFC 5627, calls over the flow, recovery."""

from __future__ import annotations

import gevent
import pytest
from benchmarks.certificates import Authority

from greensip import Account, Backoff, Unauthorized, UserAgent
from greensip.registrar import MemoryUsers, Registrar

PASSWORDS = {'alice': 's3cret', 'bob': 'b0b'}


class Site:
    """A registrar of example.com at a fixed place, that can fall over and come back."""

    def __init__(self, place, options=''):
        #: where phones may listen that speak what it speaks
        self.similar = place + options
        self.place = self.similar
        self.start()
        # The port that it has got is its own from now on.
        self.place = f'{place.rpartition(":")[0]}:{self.ua.points[0].address[1]}{options}'

    def start(self):
        self.ua = UserAgent(self.place, name='registrar', watchdog=None)
        self.registrar = Registrar(self.ua, domains=['example.com'], users=MemoryUsers('example.com', PASSWORDS))
        self.registrar.ua.endpoint.flush()
        gevent.spawn(self.registrar.run)
        gevent.sleep(0)

    def stop(self):
        self.registrar.stop()
        self.registrar.close()
        self.ua.close()

    @property
    def uri(self):
        point = self.ua.points[0]
        return f'sip:{point.sent_by}{point.contact_params}'


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('certificates')).issue()


@pytest.fixture(params=['udp:127.0.0.1:0', 'tcp:127.0.0.1:0', 'tcp:[::1]:0', 'tls:127.0.0.1:0', 'ws:127.0.0.1:0'])
def site(request, certificate):
    secure = request.param.startswith('tls')
    made = Site(request.param,
                f'?cert={certificate.cert}&key={certificate.key}&ca={certificate.ca}' if secure else '')
    yield made
    made.stop()


def account(ua: UserAgent, site: Site, user: str, **options: object) -> Account:
    return ua.account(f'sip:{user}@example.com', PASSWORDS[user], route=f'<{site.uri};lr>', **options)


def phone(site):
    """A user agent that speaks what the site speaks."""
    return UserAgent(site.similar, watchdog=None)


def test_calls_over_the_flow_of_the_registration(site):
    with phone(site) as one, phone(site) as two, account(one, site, 'alice', outbound=True) as alice, \
            account(two, site, 'bob', outbound=True) as bob:
        alice.register(timeout=10)
        bob.register(timeout=10)
        assert alice.registrations[0].outbound_active and alice.options_for('bob')['flow'] is alice.flow
        with alice.invite('bob') as leg:
            incoming = two.accept(timeout=10)
            assert incoming.account is bob
            incoming.answer()
            leg.wait_for('200', timeout=10)
            incoming.wait_for('ACK', timeout=10)
            assert leg.request('INFO', timeout=10).code == 200
            assert incoming.request('INFO', timeout=10).code == 200
            incoming.hangup()
            leg.wait_ended(timeout=10)
            incoming.wait_ended(timeout=10)
        texts = []
        two.handle('MESSAGE', lambda received: texts.append((received.account, received.request.body)))
        alice.message('bob', 'hello', timeout=10)
        assert texts == [(bob, b'hello')]


def test_the_password_is_asked_for(site):
    with phone(site) as ua, ua.account('sip:alice@example.com', 'wrong', route=f'<{site.uri};lr>') as alice, \
            pytest.raises(Unauthorized):
        alice.register(timeout=10)


def test_a_gruu_is_given_and_used(site):
    with phone(site) as one, phone(site) as two, account(one, site, 'alice', gruu=True) as alice, \
            account(two, site, 'bob') as bob:
        alice.register(timeout=10)
        bob.register(timeout=10)
        assert 'gr' in alice.gruu
        with alice.invite('bob') as leg:
            incoming = two.accept(timeout=10)
            incoming.reject(486)
            leg.wait_ended(timeout=10)
            assert str(leg.invite.contact.uri) == alice.gruu
        with bob.invite(alice.gruu) as leg:
            incoming = one.accept(timeout=10)
            assert incoming.account is alice
            incoming.reject(486)
            leg.wait_ended(timeout=10)


@pytest.mark.parametrize('site', ['tcp:127.0.0.1:0', 'tls:127.0.0.1:0', 'ws:127.0.0.1:0'], indirect=True)
def test_a_registrar_that_comes_back(site):
    with phone(site) as ua, account(ua, site, 'alice', outbound=True, backoff=Backoff(base=0.2)) as alice:
        alice.register(timeout=10)
        flow = alice.flow
        site.stop()
        assert alice.wait_for('registered', 'lost', timeout=10).label == 'lost'
        site.start()
        assert alice.wait_for('registered', timeout=20).message.code == 200
        assert alice.registrations[0].flow == flow
        (binding,) = site.registrar.lookup('alice@example.com')
        assert binding.reg_id == 1


@pytest.mark.parametrize('site', ['tls:127.0.0.1:0'], indirect=True)
def test_rfc3665_2_1_over_tls_with_sips(site):
    """An address-of-record that wants TLS: so do its registrar, its contact and its calls (RFC 5630)."""
    with phone(site) as one, phone(site) as two:
        host = f'127.0.0.1:{site.ua.points[0].address[1]}'
        with one.account(f'sips:alice@{host}', PASSWORDS['alice']) as alice, \
                two.account(f'sips:bob@{host}', PASSWORDS['bob']) as bob:
            for mine in (alice, bob):
                mine.register(timeout=10)
                assert mine.contact.startswith(f'<sips:{mine.contact_user}@127.0.0.1:')
            with alice.invite('bob') as leg:
                incoming = two.accept(timeout=10)
                incoming.answer()
                leg.wait_for('200', timeout=10)
                assert str(leg.invite.uri) == f'sips:bob@{host}' and leg.invite.contact.uri.scheme == 'sips'
                incoming.wait_for('ACK', timeout=10)
                incoming.hangup()
                leg.wait_ended(timeout=10)
                incoming.wait_ended(timeout=10)
