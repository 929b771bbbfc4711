"""Registrations, calls and messages as phones see them."""

from __future__ import annotations

import pytest

from greensip import (
    Busy,
    Forbidden,
    NotFound,
    Redirected,
    ResponseError,
    TooBrief,
    Unauthorized,
    Unavailable,
    WaitTimeout,
    WrongState,
)
from greensip.registrar import Policy, Registrar

from .conftest import NOON, SDP, Phone

OTHER = SDP.replace(b'4000', b'5000')


def answering(leg):
    leg.ring()
    leg.answer(sdp=OTHER)
    leg.wait_ended()


def ringing(leg):
    leg.ring()
    leg.wait_ended()


def contacts(response):
    return [str(contact.uri) for contact in response.contacts]


# -- registrations

def test_a_registration_and_a_call(net, registrar, phone):
    alice, bob = phone('alice'), phone('bob')
    answer = bob.register()
    assert contacts(answer) == [bob.ua.uri]
    assert answer.contact.param('expires') == '3600'
    assert answer.get('Date') == 'Sat, 21 Nov 2026 12:00:00 GMT'
    assert registrar.lookup('bob@example.com')[0].expires == pytest.approx(NOON + 3600, abs=1)
    bob.ua.serve(answering, background=True)
    net.ladder.clear()
    with alice.invite('bob') as leg:
        leg.wait_for('180')
        leg.wait_for('200')
        assert leg.answer == OTHER
        net.run(1)
    net.run(1)
    net.ladder.expect('''
        alice -> registrar: INVITE
        registrar -> alice: 401
        alice -> registrar: ACK
        alice -> registrar: INVITE
        registrar -> bob: INVITE
        bob -> registrar: 180
        bob -> registrar: 200 INVITE
        registrar -> alice: 180
        registrar -> bob: ACK
        registrar -> alice: 200 INVITE
        alice -> registrar: ACK
        alice -> registrar: BYE
        registrar -> alice: 200 BYE
        registrar -> bob: BYE
        bob -> registrar: 200 BYE
    ''')
    assert registrar.ua.legs == [] and bob.ua.legs == []


def test_what_runs_out_is_forgotten(net, start, phone):
    changes = []
    registrar = start(on_change=changes.append)
    bob = Phone(net.user_agent('bob', watchdog=None), 'bob', registrar)
    bob.register(params=';expires=100')
    net.run(60)
    bob.register(params=';expires=100')
    net.run(90)
    assert len(registrar.lookup('bob@example.com')) == 1
    net.run(11)
    assert registrar.lookup('bob@example.com') == ()
    net.run(2)
    assert [change.why for change in changes] == ['registered', 'refreshed', 'expired']
    assert registrar.location.counts() == {'aors': 0, 'bindings': 0, 'gruus': 0, 'due': 0}
    assert list(registrar.store.load()) == []


def test_a_wrong_password_and_a_foreign_address(registrar, phone):
    alice = phone('alice')
    with pytest.raises(Unauthorized):
        alice.register(credentials=('alice', 'wrong'))
    with pytest.raises(Unauthorized):
        alice.register(credentials=('nobody', 'wonderland'))
    with pytest.raises(Forbidden):
        alice.register(to='sip:bob@example.com')
    assert len(registrar.location) == 0
    # 21.4.5: no such domain here, in the Request-URI or in To
    for options in ({'uri': 'sip:example.net'}, {'to': 'sip:alice@example.net'}, {'to': 'sip:example.com'}):
        with pytest.raises(NotFound):
            alice.register(**options)


def test_challenges_leave_nothing_behind(net, registrar, phone):
    alice = phone('alice')
    for number in range(50):
        with pytest.raises(Unauthorized):
            alice.register(credentials=None, call_id=f'flood-{number}')
    assert registrar.ua.core.counts()['transactions'] == 0


def test_limits_are_those_of_the_policy(start, net):
    registrar = start(policy=Policy(expires=200, min_expires=100, max_expires=300, max_contacts=2,
                                    service_route=['<sip:example.com;lr>']))
    alice = Phone(net.user_agent('alice', watchdog=None), 'alice', registrar)
    with pytest.raises(TooBrief) as raised:
        alice.register(params=';expires=99')
    assert raised.value.response.get('Min-Expires') == '100'
    answer = alice.register()
    assert answer.contact.param('expires') == '200'
    assert answer.get('Service-Route') == '<sip:example.com;lr>'
    assert alice.register(params=';expires=4000').contact.param('expires') == '300'
    alice.register('<sip:alice@10.0.0.77>')
    with pytest.raises(ResponseError, match='403 Too Many Contacts'):
        alice.register('<sip:alice@10.0.0.78>')


def test_a_registrar_that_is_closed(registrar, phone):
    alice = phone('alice')
    registrar.close()
    with pytest.raises(ResponseError, match='503'):
        alice.register()


def test_anybody(net, start):
    registrar = start(users=None, domains=())
    alice = Phone(net.user_agent('alice', watchdog=None), 'anna', registrar)
    alice.register(to='sip:anna@wherever.example', uri='sip:wherever.example')
    assert registrar.lookup('anna@greensip')[0].contact == alice.ua.uri
    with pytest.raises(NotFound), alice.invite('sip:emil@wherever.example') as leg:
        leg.wait_for('200')
    alice.ua.serve(answering, background=True)
    with alice.invite('sip:anna@elsewhere.example') as leg:
        leg.wait_for('200')


def test_a_user_agent_that_is_taken(net, registrar):
    with pytest.raises(WrongState):
        Registrar(registrar.ua)


# -- calls

def test_nobody_there_and_nobody_of_that_name(registrar, phone):
    alice = phone('alice')
    with pytest.raises(Unavailable), alice.invite('bob') as leg:
        leg.wait_for('200')
    for user in ('emil', 'sip:bob@example.net', 'sip:example.com'):
        with pytest.raises(NotFound), alice.invite(user) as leg:
            leg.wait_for('200')


def test_who_calls_has_to_be_who_he_says(net, registrar, phone, start):
    alice, bob = phone('alice'), phone('bob')
    bob.register()
    bob.ua.serve(answering, background=True)
    for credentials, refusal in ((('carol', 'carols'), Forbidden), (('alice', 'wrong'), Unauthorized)):
        with pytest.raises(refusal), alice.invite('bob', credentials=credentials) as leg:
            leg.wait_for('200')
    # Somebody from elsewhere may call, unless strangers may not.
    with alice.invite('bob', from_='sip:friend@example.net', credentials=None) as leg:
        leg.wait_for('200')
    registrar.strangers = False
    with pytest.raises(Unauthorized), alice.invite('bob', from_='sip:friend@example.net', credentials=None) as leg:
        leg.wait_for('200')


def test_the_callee_refuses(registrar, phone):
    alice, bob = phone('alice'), phone('bob')
    bob.register()
    bob.ua.serve(lambda leg: leg.reject(486, headers={'Retry-After': '60', 'X-Why': 'talking'}), background=True)
    with pytest.raises(Busy) as raised, alice.invite('bob') as leg:
        leg.wait_for('200')
    assert raised.value.response.get('X-Why') == 'talking'


def test_the_callee_redirects(registrar, phone):
    alice, bob = phone('alice'), phone('bob')
    bob.register()
    bob.ua.serve(lambda leg: leg.redirect('sip:bob@example.net'), background=True)
    with pytest.raises(Redirected) as raised, alice.invite('bob') as leg:
        leg.wait_for('200')
    assert [str(contact.uri) for contact in raised.value.contacts] == ['sip:bob@example.net']


def test_the_callee_wants_a_password(registrar, phone):
    """Its challenge is not the caller's business."""
    alice, bob = phone('alice'), phone('bob')
    bob.register()
    bob.ua.serve(lambda leg: leg.reject(401, headers={'WWW-Authenticate': 'Digest realm="bob", nonce="1"'}),
                 background=True)
    with pytest.raises(Unavailable), alice.invite('bob') as leg:
        leg.wait_for('200')


def test_the_caller_gives_up(net, registrar, phone):
    alice = phone('alice')
    phones = [phone('bob', name) for name in ('desk', 'hall')]
    for bob in phones:
        bob.register()
        bob.ua.serve(ringing, background=True)
    with alice.invite('bob') as leg:
        leg.wait_for('180')
        leg.cancel('Q.850;cause=16')
        leg.wait_for('487')
    net.run(1)
    assert all(bob.ua.legs == [] for bob in phones)


def test_all_phones_ring_and_the_first_that_answers_is_it(net, registrar, phone):
    alice = phone('alice')
    desk, hall, cellar = phone('bob', 'desk'), phone('bob', 'hall'), phone('bob', 'cellar')
    ended = {}

    def wait(name):
        def handler(leg):
            leg.ring()
            ended[name] = leg.wait_ended().error
        return handler

    for bob in (desk, hall, cellar):
        bob.register()

    def answers_late(leg):
        leg.ring()
        with pytest.raises(WaitTimeout):
            leg.wait_for('CANCEL', timeout=3)
        leg.answer(sdp=OTHER)
        leg.wait_ended()

    desk.ua.serve(wait('desk'), background=True)
    hall.ua.serve(answers_late, background=True)
    cellar.ua.serve(lambda leg: leg.reject(486), background=True)
    with alice.invite('bob') as leg:
        leg.wait_for('200')
        assert leg.answer == OTHER
        # One phone alone may send early media; of several the caller hears that they ring, once.
        assert [response.code for response in leg.responses] == [180, 200]
        net.run(1)
        assert hall.ua.legs and not desk.ua.legs
        assert ended['desk'].reason == 'SIP;cause=200;text="Call completed elsewhere"'
    net.run(1)
    assert not hall.ua.legs

