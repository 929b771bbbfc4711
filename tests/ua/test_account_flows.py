"""Accounts at our own registrar over real connections: RFC 5626, RFC 5627, calls over the flow, recovery."""

from __future__ import annotations

import gevent
import pytest
from benchmarks.certificates import Authority

from greensip import Account, Backoff, ConnectError, TransportError, Unauthorized, UserAgent
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


@pytest.mark.parametrize('site', ['tcp:127.0.0.1:0'], indirect=True)
def test_two_flows_lead_to_one_phone(site):
    """RFC 5626: a binding for each flow, one call for both, and a call by way of the other when one has failed."""
    with UserAgent('tcp:127.0.0.1:0', 'tcp:127.0.0.1:0', name='registrar', watchdog=None) as there, \
            Registrar(there, domains=['example.com'], users=MemoryUsers('example.com', PASSWORDS)) as registrar, \
            phone(site) as one, phone(site) as two:
        gevent.spawn(registrar.run)
        doors = [f'sip:{point.sent_by};transport=tcp' for point in there.points]
        with one.account('sip:alice@example.com', PASSWORDS['alice'], outbound=doors,
                         backoff=Backoff(base=30.0)) as alice, \
                two.account('sip:bob@example.com', PASSWORDS['bob'], route=f'<{doors[0]};lr>') as bob:
            alice.register(timeout=10)
            while [registration.state for registration in alice.registrations] != ['registered'] * 2:
                gevent.sleep(0.01)
            bob.register(timeout=10)
            assert sorted(binding.reg_id for binding in registrar.lookup('alice@example.com')) == [1, 2]
            taken = []
            for _ in range(2):
                with bob.invite('alice') as leg:
                    incoming = one.accept(timeout=10)
                    taken.append(incoming.flow.remote)
                    incoming.answer()
                    leg.wait_for('200', timeout=10)
                    incoming.wait_for('ACK', timeout=10)
                    assert one.legs == [incoming]
                    leg.hangup()
                    incoming.wait_ended(timeout=10)
                # The flow that it came by breaks: the account has the other one still.
                (ours,) = [connection for connection in one.endpoint.transports[0].connections.values()
                           if connection.flow.remote == incoming.flow.remote]
                door = next(transport for transport in there.endpoint.transports
                            if transport.point.address == incoming.flow.remote)
                (theirs,) = [connection for connection in door.connections.values()
                             if connection.flow.remote == ours.socket.getsockname()]
                theirs.finish(ConnectError('the test is so unkind'))
                if len(taken) == 1:
                    while alice.registrations[0].is_bound and alice.registrations[1].is_bound:
                        gevent.sleep(0.01)
                    assert alice.registered
            assert sorted(taken) == sorted(point.address for point in there.points)
            assert isinstance(alice.wait_for('lost', timeout=10).error, TransportError)
