"""Accounts: registering, what a script sees of it, and calls in their name."""

from __future__ import annotations

import gevent
import pytest

from greensip.dialog import Backoff
from greensip.errors import (
    ConnectError,
    Forbidden,
    NotFound,
    ParseError,
    ResponseError,
    TooBrief,
    TransactionTimeout,
    Unauthorized,
    Unavailable,
    UsageError,
    WaitTimeout,
    WrongState,
    WrongThread,
)
from greensip.message import parse_name_addr
from greensip.message.digest import DigestServer
from greensip.testing import Network
from greensip.ua import UserAgent

from .conftest import answering

AOR = 'sip:alice@example.com'


class Registrar:
    """A registrar of one user: a user agent whose handler keeps the bindings."""

    def __init__(self, ua, net):
        self.ua = ua
        self.net = net
        self.uri = f'sip:{net.address(ua.name)}:5060'
        self.bindings = {}
        self.answers = []
        self.extra = {}
        self.requests = []
        self.flows = []
        self.digest = None
        self.granted = 3600
        ua.handle('REGISTER', self.on_register)

    def on_register(self, incoming):
        request = incoming.request
        self.requests.append(request)
        self.flows.append(incoming.flow)
        if self.answers:
            code, headers = self.answers.pop(0)
            incoming.respond(code, headers=headers)
            return
        if self.digest is not None:
            verdict = self.digest.check(request, {'alice': 's3cret'}.get, self.net.clock.now())
            if not verdict.ok:
                challenges = self.digest.challenge(self.net.clock.now(), stale=verdict.stale)
                incoming.respond(self.digest.code, headers={self.digest.challenge_field: challenges})
                return
        for contact in request.contacts:
            if contact.is_star:
                self.bindings.clear()
            elif (contact.expires if contact.expires is not None else request.expires) == 0:
                self.bindings.pop(str(contact.uri), None)
            else:
                self.bindings[str(contact.uri)] = contact.param_text
        granted = min(request.expires or 3600, self.granted)
        contacts = [f'<{uri}>{tail};expires={granted}' for uri, tail in self.bindings.items()]
        incoming.respond(200, headers={'Contact': contacts, **self.extra})


@pytest.fixture
def registrar(agent, net):
    return Registrar(agent('registrar'), net)


@pytest.fixture
def account(alice, registrar):
    """account(...) is one of alice at the registrar."""
    def make(password=None, aor=AOR, **options):
        options.setdefault('registrar', registrar.uri)
        return alice.account(aor, password, **options)

    return make


# -- registering

def test_register_blocks_to_the_200(account, registrar, net):
    registrar.digest = DigestServer('example.com', b'secret')
    with account('s3cret') as alice:
        assert (alice.state, alice.registered, alice.expires) == ('unregistered', False, 0)
        response = alice.register(timeout=5)
        assert response.code == 200 and alice.response is response
        assert (alice.state, alice.registered, alice.expires, alice.failure) == ('registered', True, 3600, None)
        assert list(registrar.bindings) == [f'sip:alice@{net.address("alice")}:5060']
        assert [str(binding.uri) for binding in alice.bindings] == list(registrar.bindings)
        assert alice.contact == f'<{next(iter(registrar.bindings))}>'
        assert len(registrar.requests) == 2
    net.clock.sleep(1)
    assert registrar.bindings == {}
    assert alice.ua.accounts == [] and not alice.ua.core.registrations


def test_the_registration_lasts_as_long_as_the_block(account, registrar, net):
    with account() as alice:
        alice.register()
        net.run(20_000)
        assert alice.registered and len(registrar.requests) in (6, 7)
        # Nobody wants to read of all of them.
        assert alice._events == []
        seen = len(registrar.requests)
    net.run(20_000)
    assert len(registrar.requests) == seen + 1


def test_the_user_agent_that_closes_unregisters(agent, registrar, net):
    carol = agent('carol')
    carol.account('sip:carol@example.com', registrar=registrar.uri).register()
    assert registrar.bindings
    carol.close()
    assert registrar.bindings == {}


def test_a_draining_user_agent_stays_registered(alice, account, registrar):
    with account() as mine:
        mine.register()
        assert alice.drain(grace=1) == 0
        assert mine.registered


def test_the_registrar_is_the_host_of_the_address_of_record(alice, registrar, net):
    with alice.account(f'"Alice" <sip:alice@{net.address("registrar")};transport=udp>') as mine:
        mine.register()
    request = registrar.requests[0]
    assert str(request.uri) == f'sip:{net.address("registrar")};transport=udp'
    assert request.get('To') == f'"Alice" <sip:alice@{net.address("registrar")}>'


def test_another_user_name_and_several_realms(account, registrar):
    registrar.digest = DigestServer('example.com', b'secret')
    with account('s3cret', aor='sip:+15551234@example.com', username='alice') as mine:
        mine.register()
    with account(aor='sip:+15551235@example.com', credentials=[('alice', 's3cret', 'example.com')]) as mine:
        mine.register()


def test_423_and_shorter_times(account, registrar):
    registrar.answers.append((423, {'Min-Expires': '600'}))
    with account(expires=60) as mine:
        mine.register()
        assert mine.expires == 600
        registrar.granted = 100
        mine.register()
        assert mine.expires == 100


@pytest.mark.parametrize(('answer', 'error'), [
    ((403, {}), Forbidden), ((404, {}), NotFound), ((423, {}), TooBrief), ((503, {}), Unavailable),
    ((401, {}), Unauthorized), ((600, {}), ResponseError),
])
def test_a_refusal_raises(account, registrar, answer, error, net):
    registrar.answers.append(answer)
    with account('s3cret') as mine:
        with pytest.raises(error) as caught:
            mine.register()
        assert mine.state == 'unregistered' and str(mine.failure) == str(caught.value)
        net.run(4000)
        assert len(registrar.requests) == 1
        mine.register()
        assert mine.registered


def test_a_wrong_password_raises(account, registrar):
    registrar.digest = DigestServer('example.com', b'secret')
    with account('wrong') as mine, pytest.raises(Unauthorized):
        mine.register()


def test_nobody_there(alice, net, registrar):
    with alice.account(AOR, registrar='sip:10.9.9.9') as mine:
        with pytest.raises(TransactionTimeout):
            mine.register()
        assert mine.state == 'unregistered'
    with alice.account(AOR, registrar='sip:[::1]') as mine, pytest.raises(ConnectError):
        mine.register()


def test_a_time_out_gives_up(alice, account, registrar, net):
    net.hold('200', 10, times=100)
    with account() as mine:
        with pytest.raises(WaitTimeout, match=r'no answer to REGISTER within 5 s from sip:alice@example.com'):
            mine.register(timeout=5)
        assert mine.state == 'unregistering'
        with pytest.raises(WrongState):
            mine.register()
        net.run(20)
        # What was registered all the same is removed again.
        assert mine.state == 'unregistered' and registrar.bindings == {}


def test_a_script_that_is_killed_while_it_registers(account, registrar, net):
    net.hold('200', 10, times=100)
    with account() as mine:
        task = gevent.spawn(mine.register)
        net.clock.sleep(1)
        task.kill()
        net.run(20)
        assert mine.state == 'unregistered' and registrar.bindings == {}


def test_registering_again_refreshes(account, registrar):
    with account() as mine:
        mine.register()
        mine.register()
        assert [request.cseq.number for request in registrar.requests] == [1, 2]
        registrar.answers.append((500, {}))
        with pytest.raises(ResponseError):
            mine.register()
        # The binding lasts as long as it was granted.
        assert mine.registered


def test_other_contacts(account, registrar, net):
    with account(contacts=['sip:alice@10.1.1.1', None, '<sip:alice@10.1.1.2>;q=0.1']) as mine:
        mine.register()
        assert sorted(registrar.bindings) == sorted([f'sip:alice@{net.address("alice")}:5060', 'sip:alice@10.1.1.1',
                                                     'sip:alice@10.1.1.2'])
        mine.register(contacts=[None])
        assert list(registrar.bindings) == [f'sip:alice@{net.address("alice")}:5060']
        assert [str(contact.uri) for contact in mine.query()] == list(registrar.bindings)
        with pytest.raises(UsageError):
            mine.register(contacts=[])


def test_rfc3665_2_3_request_for_current_contact_list(account, registrar, net):
    registrar.digest = DigestServer('atlanta.example.com', b'secret')
    registrar.bindings['mailto:alice@example.com'] = ''
    with account('s3cret') as mine:
        mine.register()
        net.ladder.clear()
        assert [str(contact.uri) for contact in mine.query()] == [
            'mailto:alice@example.com', f'sip:alice@{net.address("alice")}:5060']
        # "the user supplies authentication credentials with the request and is not challenged"
        net.ladder.expect("""
            alice -> registrar: REGISTER
            registrar -> alice: 200
        """)
        assert registrar.requests[-1].contacts == [] and not registrar.requests[-1].has('Expires')
        registrar.answers.append((403, {}))
        with pytest.raises(Forbidden):
            mine.query()
        assert mine.registered


def test_parameters_and_header_fields(account, registrar):
    with account(params={'q': '0.5', 'audio': None}, headers={'X-Line': '7'}, contact_user='line7') as mine:
        mine.register()
    assert registrar.requests[0].get('X-Line') == '7'
    assert ';q=0.5;audio' in registrar.requests[0].get('Contact')
    assert registrar.requests[0].contact.uri.user == 'line7'


def test_a_script_that_registers_and_takes_calls(agent, registrar, net):
    registrar.digest = DigestServer('example.com', b'secret')
    net.resolver.names['pbx.example.com'] = [net.address('registrar')]
    ua, bob = agent('alice'), agent('bob')
    heard = []

    def ivr(leg):
        leg.ring()
        leg.answer()
        heard.append(str(leg.account.aor.uri))
        leg.wait_ended()

    def script():
        with ua.account('sip:alice@example.com', password='s3cret', registrar='sip:pbx.example.com') as alice:
            alice.register()                                # 401, 423 handled; refreshed while the block lasts
            while True:
                ua.accept().spawn(ivr)

    task = gevent.spawn(script)
    net.run(10_000)
    for _ in range(2):
        with bob.call(str(next(iter(registrar.bindings)))) as leg:
            leg.hangup()
    assert heard == ['sip:alice@example.com'] * 2
    task.kill()
    net.run(5)
    assert registrar.bindings == {}


# -- un-registering

def test_unregister_blocks_until_it_is_answered(account, registrar):
    with account() as mine:
        mine.unregister()
        mine.register()
        registrar.bindings['sip:other@10.1.1.1'] = ''
        mine.unregister(timeout=5)
        assert (mine.state, list(registrar.bindings)) == ('unregistered', ['sip:other@10.1.1.1'])
        mine.unregister(everything=True)
        assert registrar.bindings == {}
        mine.register()
        registrar.answers.append((403, {}))
        with pytest.raises(Forbidden):
            mine.unregister()
        assert mine.state == 'unregistered'


def test_unregister_times_out(account, registrar, net):
    with account() as mine:
        mine.register()
        net.lose('REGISTER', 100)
        with pytest.raises(WaitTimeout, match='no answer to REGISTER within 3 s'):
            mine.unregister(timeout=3)
        assert mine.state == 'unregistering'
        net.run(40)
        assert mine.state == 'unregistered'


def test_unregistered_while_somebody_registers(account, registrar, net):
    with account() as mine:
        net.hold('200', 3, times=100)
        waiting = gevent.spawn(pytest.raises, WrongState, mine.register)
        net.clock.sleep(1)
        mine.unregister()
        assert waiting.get() and registrar.bindings == {}


# -- the life of a registration

def test_lost_and_registered_again(account, registrar, net):
    registrar.granted = 120
    with account() as mine:
        mine.register()
        rule = net.lose('REGISTER', 1000)
        event = mine.wait_for('registered', 'lost', timeout=300)
        assert event.label == 'lost' and isinstance(event.error, TransactionTimeout)
        assert not mine.registered
        rule.left = 0
        assert mine.wait_for('registered', 'lost', timeout=4000).label == 'registered'
        assert mine.registered
        assert mine.wait_for('refreshed', timeout=100).message.code == 200


def test_a_refresh_that_is_refused_ends_it(account, registrar, net):
    with account() as mine:
        mine.register()
        registrar.answers += [(403, {}), (503, {})]
        assert isinstance(mine.wait_for('lost', timeout=4000).error, Forbidden)
        assert mine.state == 'unregistered' and isinstance(mine.failure, Forbidden)
        # From here on it is as if it had never been registered.
        with pytest.raises(Unavailable):
            mine.register()
        assert mine.state == 'unregistered'


def test_start_keeps_at_it(account, registrar, net):
    registrar.answers += [(503, {})] * 3
    with account(backoff=Backoff(base=5)) as mine:
        mine.start()
        assert mine.wait_for('registered', 'failed').label == 'failed'
        assert mine.state == 'waiting'
        mine.wait_for('registered', timeout=200)
        assert len(registrar.requests) == 4
    net.run(1)
    with account() as mine:
        registrar.answers.append((403, {}))
        mine.start()
        assert isinstance(mine.wait_for('failed', timeout=60).error, Forbidden)
        assert mine.state == 'unregistered'


def test_register_while_it_waits_tries_at_once(account, registrar, net):
    registrar.answers.append((503, {}))
    with account() as mine:
        mine.start()
        mine.wait_for('failed', timeout=60)
        before = net.clock.now()
        mine.register()
        assert net.clock.now() - before < 1


def test_back_up_registrars(alice, agent, registrar, net):
    other = Registrar(agent('other'), net)
    registrar.answers.append((503, {}))
    with alice.account(AOR, registrar=[registrar.uri, other.uri]) as mine:
        mine.register()
        assert (len(registrar.requests), len(other.requests)) == (1, 1)
        other.answers.append((503, {}))
        net.run(3600)
        assert mine.registered and len(registrar.requests) == 2


def test_another_server_of_the_registrars_name(alice, agent, registrar, net):
    """RFC 3263 4.3, and at a refresh: the server that was registered at is asked first, then the name again."""
    other = Registrar(agent('other'), net)
    net.resolver.names['pbx.example.com'] = [net.address('registrar'), net.address('other')]
    with alice.account(AOR, registrar='sip:pbx.example.com') as mine:
        mine.register()
        first, second = (registrar, other) if registrar.requests else (other, registrar)
        first.ua.close()
        assert mine.wait_for('refreshed', 'failed', 'lost', timeout=4000).label == 'refreshed'
        assert len(second.requests) == 1 and mine.registered


def test_a_closed_account(alice, account, registrar, net):
    mine = account()
    mine.register()
    waiting = gevent.spawn(pytest.raises, WrongState, mine.wait_for, 'lost')
    net.clock.sleep(1)
    mine.close()
    mine.close()
    net.clock.sleep(1)
    assert waiting.successful() and mine.ended
    for verb in (mine.register, mine.start, mine.unregister, mine.query, lambda: mine.invite('sip:x@y')):
        with pytest.raises(WrongState):
            verb()
    unused = account()
    unused.close()
    assert alice.accounts == []
    alice.close()
    with pytest.raises(WrongState):
        account()


def test_registering_while_it_is_closed(account, registrar, net):
    mine = account()
    net.hold('200', 5, times=100)
    waiting = gevent.spawn(pytest.raises, WrongState, mine.register)
    net.clock.sleep(1)
    mine.close()
    net.run(20)
    assert waiting.successful() and registrar.bindings == {} and mine.ua.accounts == []


# -- calls in its name

def test_calls_have_the_accounts_from_credentials_and_contact(account, agent, registrar, net):
    bob = agent('bob')
    seen = []
    guard = DigestServer('example.com', b'secret', proxy=True)

    def handler(leg):
        seen.append(leg.invite)
        verdict = guard.check(leg.invite, {'alice': 's3cret'}.get, net.clock.now())
        if not verdict.ok:
            leg.reject(407, headers={guard.challenge_field: guard.challenge(net.clock.now())})
            return
        answering(leg)

    bob.serve(handler, background=True)
    with account('s3cret', aor='"Alice" <sip:alice@example.com>') as mine:
        mine.register()
        with mine.call(net.uri('bob')) as leg:
            assert leg.account is mine
            assert str(leg.from_.uri) == AOR and leg.from_.display == 'Alice'
        assert [str(invite.contact) for invite in seen] == [mine.contact] * 2
        with mine.invite(net.uri('bob'), contact='<sip:me@10.1.1.1>', headers={'X-Id': '1'}) as leg:
            leg.wait_for('200')
        assert (str(seen[-1].contact), seen[-1].get('X-Id')) == ('<sip:me@10.1.1.1>', '1')
        with mine.invite(net.uri('bob'), from_='"Anonymous" <sip:anonymous@anonymous.invalid>') as leg:
            leg.wait_for('200')
            assert leg.account is mine and leg.from_.display == 'Anonymous'
        with mine.ua.invite(net.uri('bob'), from_='<sip:carol@example.com>') as leg:
            assert leg.account is None
        assert mine.options(net.uri('bob')).code == 200
        bob.handle('MESSAGE', lambda incoming: seen.append(incoming.request))
        mine.message(net.uri('bob'), 'hello')
        assert (str(seen[-1].from_.uri), seen[-1].contact) == (AOR, None)


def test_subscriptions_and_publications_in_its_name(account, registrar, agent, net):
    bob = agent('bob')
    requests = []

    def on_subscribe(subscription):
        requests.append(subscription.request)
        subscription.accept(b'Messages-Waiting: yes\r\n', 'application/simple-message-summary')

    bob.events('message-summary', on_subscribe)
    bob.handle('PUBLISH', lambda incoming: (requests.append(incoming.request), incoming.respond(
        200, headers={'SIP-ETag': '1', 'Expires': '600'})))
    way = f'<sip:{net.address("bob")};lr>'
    with account(route=way, registrar=registrar.uri) as mine:
        with mine.subscribe(mine.aor, 'message-summary') as events:
            assert b'yes' in events.wait_for('NOTIFY', timeout=10).message.body
        net.run(1)
        with mine.publish('presence', b'<presence/>', content_type='application/pidf+xml', timeout=10):
            pass
        subscribe, publish = requests[0], requests[-1]
        assert (subscribe.method, publish.method) == ('SUBSCRIBE', 'PUBLISH')
        for request in (subscribe, publish):
            assert str(request.from_.uri) == str(request.uri) == AOR and request.get('Route') == way
        assert subscribe.contact.uri.user == 'alice'
        net.run(2)


def test_a_bare_user_is_one_of_the_own_domain(account):
    with account() as mine:
        assert str(mine.target('100')) == 'sip:100@example.com'
        assert str(mine.target('sip:100@other.example.com')) == 'sip:100@other.example.com'
        assert str(mine.target('<sip:100@x>')) == 'sip:100@x'
        with pytest.raises(ParseError):
            mine.target('sip:')


def test_the_own_domain_is_reached_at_the_registrar(account, alice, registrar, agent, net):
    pbx = agent('pbx')
    seen = []
    pbx.serve(lambda leg: (seen.append(leg.invite), leg.reject(486)), background=True)
    with account(registrar=net.uri('pbx')) as mine:
        for uri in ('100', 'sip:100@example.com'):
            with pytest.raises(ResponseError):
                mine.call(uri)
        for invite in seen:
            assert str(invite.uri) == 'sip:100@example.com'
            assert invite.get('Route') == f'<{net.uri("pbx").replace("pbx@", "")};lr>'
        # Others are where they are.
        assert 'route' not in mine.options_for('sip:100@example.net')
    with alice.account(f'sip:alice@{net.address("registrar")}') as mine:
        assert 'route' not in mine.options_for('100')


def test_the_service_route_is_taken(account, registrar, agent, net):
    proxy = agent('proxy')
    seen = []
    proxy.serve(lambda leg: (seen.append(leg.invite), leg.reject(486)), background=True)
    registrar.extra = {'Service-Route': [f'<sip:{net.address("proxy")};lr>', '<sip:home.example.com;lr>']}
    with account() as mine:
        mine.register()
        assert len(mine.service_route) == 2
        with pytest.raises(ResponseError):
            mine.call('100')
        assert [str(route) for route in seen[0].routes] == list(mine.service_route)
        assert str(seen[0].uri) == 'sip:100@example.com'
        with pytest.raises(ResponseError):
            mine.call('100', route=f'<sip:{net.address("proxy")};lr>')
        assert len(seen[1].routes) == 1


def test_the_route_of_the_account_comes_before_the_service_route(alice, registrar, net):
    way = f'<sip:{net.address("registrar")};lr>'
    registrar.extra = {'Service-Route': '<sip:home.example.com;lr>'}
    with alice.account(AOR, route=way) as mine:
        assert mine.options_for('100')['route'] == (way,)
        mine.register()
        assert str(registrar.requests[0].uri) == 'sip:example.com' and registrar.requests[0].get('Route') == way
        assert mine.options_for('100')['route'] == (way, '<sip:home.example.com;lr>')
        registrar.extra = {'Service-Route': f'<sip:{net.address("registrar")};lr;x=1>'}
        mine.register()
        assert mine.options_for('100')['route'] == (f'<sip:{net.address("registrar")};lr;x=1>',)
        assert 'contact' not in mine.options_for('100', dialog=False)


def test_the_outbound_proxy_of_the_user_agent(agent, registrar, net):
    carol = agent('carol', outbound_proxy=registrar.uri)
    with carol.account('sip:carol@example.com') as mine:
        mine.register()
        way = f'<{registrar.uri};lr>'
        assert (str(registrar.requests[0].uri), registrar.requests[0].get('Route')) == ('sip:example.com', way)
        assert mine.options_for('100')['route'] == (way,)


def test_associated_uris(account, registrar):
    registrar.extra = {'P-Associated-URI': '<tel:+15551234>'}
    with account() as mine:
        mine.register()
        assert [str(uri) for uri in mine.associated_uris] == ['<tel:+15551234>']


def test_incoming_calls_tell_whose_they_are(alice, agent, registrar, net):
    bob = agent('bob')
    legs = []
    alice.serve(lambda leg: (legs.append((leg.account, leg)), leg.reject(486)), background=True)

    def call(uri, to=None):
        with pytest.raises(ResponseError):
            bob.call(uri, to=to)
        return legs[-1][0]

    host = net.address('alice')
    assert call(f'sip:alice@{host}') is None
    with alice.account(AOR, registrar=registrar.uri) as first, \
            alice.account('sip:alice@example.net', registrar=registrar.uri) as second, \
            alice.account('sip:+1555@example.com', registrar=registrar.uri) as third:
        for one in (first, second, third):
            one.register()
        assert [one.contact_user for one in (first, second, third)] == ['alice', 'alice-2', '+1555']
        for one in (first, second, third):
            assert call(str(parse_name_addr(one.contact).uri)) is one
        # Some call our contact, some what the caller dialled.
        assert call(f'sip:nobody@{host}', to='sip:alice@example.net') is second
        assert call(f'sip:nobody@{host}') is None
        assert call(f'sip:+1555@{host}') is third
        # What answers has the Contact of the account.
        alice.reception.handler = lambda leg: (leg.answer(), leg.wait_ended())
        with bob.call(f'sip:alice-2@{host}') as leg:
            assert str(leg.response.contact) == second.contact
        requests = []
        alice.handle('MESSAGE', lambda incoming: requests.append(incoming.account))
        bob.message(f'sip:alice-2@{host}', 'hello')
        assert requests == [second]


def test_who_is_called_answers_challenges_inside_the_call(alice, agent, registrar, net):
    bob = agent('bob')
    guard = DigestServer('example.com', b'secret', proxy=True)
    alice.serve(lambda leg: (leg.answer(), leg.wait_for('ACK'), leg.hangup()), background=True)
    with alice.account(AOR, 's3cret', registrar=registrar.uri) as mine:
        mine.register()
        with bob.invite(net.uri('alice'), to=AOR, manual=('INFO',)) as leg:
            leg.wait_for('BYE')
        # A proxy on the way asks the callee for a password too.
        alice.reception.handler = lambda leg: (leg.answer(), leg.request('INFO'), leg.hangup())
        with bob.invite(net.uri('alice'), to=AOR, manual=('INFO',)) as leg:
            asked = leg.wait_for('INFO')
            leg.respond(asked, 407, headers={guard.challenge_field: guard.challenge(net.clock.now())})
            again = leg.wait_for('INFO')
            assert guard.check(again.message, {'alice': 's3cret'}.get, net.clock.now()).ok
            leg.respond(again, 200)
            leg.wait_for('BYE')


# -- outbound (RFC 5626)

def test_two_flows(alice, agent, registrar, net):
    other = Registrar(agent('other'), net)
    registrar.extra = other.extra = {'Require': 'outbound'}
    with alice.account(AOR, outbound=[registrar.uri, other.uri], keep_alive='stun') as mine:
        mine.register()
        net.run(1)
        one, two = registrar.requests[0], other.requests[0]
        assert one.call_id != two.call_id
        assert (one.contact.param('reg-id'), two.contact.param('reg-id')) == ('1', '2')
        assert one.contact.param('+sip.instance') == two.contact.param('+sip.instance')
        assert one.get('Route') == f'<{registrar.uri};lr>' and str(one.uri) == 'sip:example.com'
        net.run(60)
        # One proxy goes: the account stays registered, and calls go the other way.
        assert mine.options_for('100')['flow'].remote[0] == net.address('registrar')
        registrar.ua.close()
        net.run(400)
        assert mine.registered
        assert [one.state for one in mine.registrations] == ['waiting', 'registered'] or (
            [one.state for one in mine.registrations] == ['registering', 'registered'])
        assert mine.options_for('100')['flow'].remote[0] == net.address('other')
        assert ';ob>' in mine.options_for('100')['contact']
        with pytest.raises(WaitTimeout):
            mine.wait_for('lost', timeout=1)


def test_one_of_two_flows_is_enough(alice, agent, registrar, net):
    """RFC 5626 4.2.1: the first refuses at once, the second takes its time."""
    other = agent('other')

    def slow(incoming):
        net.clock.sleep(2)
        incoming.respond(200, headers={'Contact': incoming.request.get('Contact'), 'Require': 'outbound'})

    other.handle('REGISTER', slow)
    registrar.answers = [(403, None)]
    with alice.account(AOR, outbound=[registrar.uri, f'sip:{net.address("other")}:5060']) as mine:
        assert mine.register(timeout=10).code == 200
        assert [one.state for one in mine.registrations] == ['unregistered', 'registered']


def test_a_flow_that_stun_finds_dead_is_recovered(alice, agent, registrar, net):
    registrar.extra = {'Require': 'outbound', 'Flow-Timer': '20'}
    with alice.account(AOR, registrar=registrar.uri, outbound=True) as mine:
        mine.register()
        net.run(60)
        rule = net.lose(lambda packet: True, 100_000)
        assert mine.wait_for('lost', timeout=120).label == 'lost'
        rule.left = 0
        mine.wait_for('registered', timeout=200)
        assert registrar.requests[0].contact.params == registrar.requests[-1].contact.params


def test_no_keep_alives_where_outbound_is_not_granted(alice, registrar, net):
    with alice.account(AOR, registrar=registrar.uri, outbound=True) as mine:
        mine.register()
        net.run(300)
        assert registrar.ua.endpoint.transports[0].counters.keep_alives == 0
        assert 'flow' not in mine.options_for('100')
    with alice.account(AOR, registrar=registrar.uri, keep_alive='crlf') as mine:
        mine.register()
        net.run(300)
        assert registrar.ua.endpoint.transports[0].counters.keep_alives >= 8


def test_keep_alives_where_the_registrar_wants_them(agent, net):
    """RFC 6223 4.2."""
    registrar = Registrar(agent('registrar', expect_keep_alives=10), net)
    carol = agent('carol', send_keep_alives=True)
    with carol.account('sip:carol@example.com', registrar=registrar.uri) as mine:
        mine.register()
        assert mine.registrations[0].kept == 10
        net.run(100)
        assert 10 <= registrar.ua.endpoint.transports[0].counters.keep_alives <= 13
    net.run(20)
    before = registrar.ua.endpoint.transports[0].counters.keep_alives
    net.run(100)
    assert registrar.ua.endpoint.transports[0].counters.keep_alives == before


def test_the_instance_is_the_same_after_each_start(agent, registrar, net):
    contacts = []
    for name in ('carol', 'carol', 'dave'):
        ua = agent(name)
        with ua.account(AOR, registrar=registrar.uri, outbound=True) as mine:
            mine.register()
            contacts.append(registrar.requests[-1].contact.param('+sip.instance'))
        ua.close()
    assert contacts[0] == contacts[1] != contacts[2]
    assert contacts[0].startswith('<urn:uuid:')


def test_gruu(account, registrar, agent, net):
    bob = agent('bob')
    seen = []
    bob.serve(lambda leg: (seen.append(leg.invite), leg.reject(486)), background=True)
    with account(gruu=True, instance='urn:uuid:7') as mine:
        params = ';pub-gruu="sip:alice@example.com;gr=7";temp-gruu="sip:t7@example.com;gr"'
        registrar.answers.append((200, {'Contact': f'<sip:alice@{net.address("alice")}:5060>'
                                                   f';+sip.instance="<urn:uuid:7>";expires=600{params}'}))
        mine.register()
        assert mine.gruu == 'sip:alice@example.com;gr=7'
        with pytest.raises(ResponseError):
            mine.call(net.uri('bob'))
        assert str(seen[0].contact) == '<sip:alice@example.com;gr=7>'
        # RFC 5627 4.4
        assert 'gruu' in seen[0].supported
        mine.gruu_kind = 'temporary'
        assert mine.gruu == 'sip:t7@example.com;gr'


# -- arguments

@pytest.mark.parametrize('options', [
    {'aor': 'sip:example.com'}, {'aor': 'tel:+15551234'}, {'registrar': []}, {'registrar': 'mailto:a@b'},
    {'keep_alive': 'icmp'}, {'gruu': 'secret'}, {'username': 'x'}, {'outbound': []}, {'flows': 0},
    {'outbound': ['sip:a'], 'route': 'sip:b'}, {'expires': 0}, {'outbound': True, 'instance': ''},
])
def test_what_makes_no_account(alice, options):
    with pytest.raises((UsageError, ParseError)):
        alice.account(options.pop('aor', AOR), **options)
    assert alice.accounts == []


def test_accounts_for_other_threads():
    def use(safe, registrar):
        with safe.account(AOR, registrar=registrar, outbound=False) as mine:
            mine.register(timeout=10)
            mine.register(timeout=10)
            shown = (mine.state, mine.contact, safe.accounts[0] == mine)
            mine.unregister(timeout=10)
            return shown, mine.registered

    with UserAgent('udp:127.0.0.1:0', name='registrar') as there, UserAgent('udp:127.0.0.1:0') as ua:
        there.handle('REGISTER', lambda incoming: incoming.respond(
            200, headers={'Contact': f'{incoming.request.get("Contact")};expires=60'}))
        with pytest.raises(WrongThread):
            gevent.get_hub().threadpool.apply(ua.account, (AOR,))
        (state, contact, same), rest = gevent.get_hub().threadpool.apply(use, (ua.from_thread(), there.uri))
        assert (state, same, rest) == ('registered', True, False)
        assert contact == f'<sip:alice@127.0.0.1:{ua.points[0].address[1]}>'


# -- a day on a bad network

@pytest.mark.parametrize('seed', range(3))
def test_a_day_on_a_bad_network(seed):
    """Whatever is lost, doubled or late: what the account says is what the registrar knows, give or take a moment."""
    with Network(seed=seed, delay=0.02) as net:
        there = net.user_agent('registrar', watchdog=None)
        registrar = Registrar(there, net)
        registrar.digest = DigestServer('example.com', b'secret', nonce_life=600)
        registrar.granted = 300
        ua = net.user_agent('alice', watchdog=None)
        with ua.account(AOR, 's3cret', registrar=registrar.uri, outbound=True, keep_alive='crlf') as mine:
            mine.start()
            mine.wait_for('registered', timeout=60)
            net.loss, net.duplicate, net.reorder, net.jitter = 0.35, 0.1, 0.1, 0.2
            for hour in range(24):
                # Every third hour nothing gets through for ten minutes.
                rule = net.lose(lambda packet: True, 1_000_000 if hour % 3 == 0 else 0)
                net.run(600)
                assert mine.registered is (hour % 3 != 0)
                rule.left = 0
                net.run(3000)
                assert mine.registered
            net.loss = net.duplicate = net.reorder = net.jitter = 0.0
            net.run(1900)
            assert mine.registered and len(registrar.bindings) == 1
            assert {request.call_id for request in registrar.requests} == {mine.registrations[0].call_id}
        net.run(40)
        assert registrar.bindings == {} and ua.accounts == []
        net.run(40)
        assert ua.core.counts()['transactions'] == 0 and len(ua.core.timers) == 0
