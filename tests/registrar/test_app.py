"""Registrations, calls and messages as phones see them."""

from __future__ import annotations

import logging

import gevent
import pytest

from greensip import (
    Busy,
    Declined,
    Forbidden,
    NotFound,
    Redirected,
    RemoteHangup,
    Replaced,
    ResponseError,
    TooBrief,
    Unauthorized,
    Unavailable,
    UserAgent,
    WaitTimeout,
    WrongState,
)
from greensip.registrar import Database, Policy, Registrar

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


def test_what_ends_sooner_is_looked_at_sooner(net, start):
    changes = []
    registrar = start(on_change=changes.append)
    bob = Phone(net.user_agent('bob', watchdog=None), 'bob', registrar)
    bob.register(params=';expires=3600')
    bob.register('<sip:bob@192.0.2.7>;expires=100')
    net.run(102)
    assert changes[-1].why == 'expired' and len(changes[-1].bindings) == 1


def test_a_wrong_password_and_a_foreign_address(net, registrar, phone, caplog):
    alice = phone('alice')
    with caplog.at_level(logging.INFO, 'greensip.registrar'), pytest.raises(Unauthorized):
        alice.register(credentials=('alice', 'wrong'))
    # for programs that read logs and shut doors
    assert caplog.messages == [f'! REGISTER for sip:alice@example.com from {net.address("alice")}: '
                               'wrong user name or password']
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



def test_phones_of_the_next_q_value_ring_later(net, start):
    registrar = start(ring_time=5.0)
    alice = Phone(net.user_agent('alice', watchdog=None), 'alice', registrar)
    phones = {}
    for name, q in (('desk', '1.0'), ('hall', '0.5'), ('cellar', '0.1')):
        phones[name] = Phone(net.user_agent(name, watchdog=None), 'bob', registrar)
        phones[name].register(params=f';q={q}')
    rang = []

    def ring(leg):
        rang.append((leg.ua.name, round(net.clock.now() - began)))
        leg.ring()
        leg.wait_ended()

    phones['desk'].ua.serve(ring, background=True)
    phones['hall'].ua.serve(lambda leg: (rang.append(('hall', round(net.clock.now() - began))), leg.reject(480)),
                            background=True)
    phones['cellar'].ua.serve(ring, background=True)
    began = net.clock.now()
    with pytest.raises(Unavailable), alice.invite('bob') as leg:
        leg.wait_for('200')
    # The last ones ring as long as timer C lets them (16.6).
    assert rang == [('desk', 0), ('hall', 5), ('cellar', 5)]
    assert round(net.clock.now() - began) == 180


def test_who_declines_for_the_person_ends_the_call(net, registrar, phone):
    alice = phone('alice')
    desk, hall, later = phone('bob', 'desk'), phone('bob', 'hall'), phone('bob', 'later')
    desk.register()
    hall.register()
    later.register(params=';q=0.1')
    desk.ua.serve(ringing, background=True)
    hall.ua.serve(lambda leg: leg.reject(603), background=True)
    with pytest.raises(Declined), alice.invite('bob') as leg:
        leg.wait_for('200')
    net.run(1)
    assert not desk.ua.legs
    assert not any(arrow.destination == 'later' and arrow.title.startswith('INVITE') for arrow in net.ladder.arrows)


def test_early_media_of_one_phone(registrar, phone):
    alice, bob = phone('alice'), phone('bob')
    bob.register()

    def announce(leg):
        leg.progress(183, sdp=OTHER)
        leg.answer(sdp=OTHER)
        leg.wait_ended()

    bob.ua.serve(announce, background=True)
    with alice.invite('bob') as leg:
        assert leg.wait_for('183').message.body == OTHER
        leg.wait_for('200')


def test_phones_are_not_asked_for_what_the_caller_may_not_understand(net, registrar, phone):
    """An answer in a reliable response (RFC 3262) would be none for a caller who knows nothing of them."""
    alice, bob = phone('alice'), phone('bob')
    bob.register()
    supported = []

    def answers(leg):
        supported.extend(leg.invite.supported)
        leg.progress(183, sdp=OTHER)
        leg.answer()
        leg.wait_ended()

    bob.ua.serve(answers, background=True)
    with alice.invite('bob') as leg:
        assert leg.wait_for('200').message.body == OTHER
    assert '100rel' not in supported and 'timer' in supported
    with pytest.raises(ResponseError, match='420') as raised, alice.invite('bob', headers={'Require': '100rel'}) as leg:
        leg.wait_for('200')
    assert raised.value.response.get('Unsupported') == '100rel'


def test_late_offer_and_what_happens_in_a_call(net, registrar, phone):
    alice, bob = phone('alice'), phone('bob')
    bob.register()
    seen = []

    def answers(leg):
        seen.append(leg.invite)
        leg.answer(sdp=OTHER)
        leg.wait_for('ACK')
        seen.append(leg.remote_sdp)
        seen.append(leg.wait_for('INFO').message.body)
        leg.wait_for('hold')
        leg.hangup('Q.850;cause=16')

    bob.ua.serve(answers, background=True)
    with alice.invite('bob', sdp=b'', headers={'Subject': 'lunch', 'X-Id': '7'}) as leg:
        assert leg.wait_for('200').message.body == OTHER
        leg.ack(SDP)
        leg.request('INFO', body='hello', content_type='text/plain')
        leg.hold()
        assert isinstance(leg.wait_ended().error, RemoteHangup)
        assert leg.reason == 'Q.850;cause=16'
    invite = seen[0]
    assert (invite.body, invite.get('Subject'), invite.get('X-Id'), invite.max_forwards) == (b'', 'lunch', '7', 69)
    assert str(invite.from_.uri) == 'sip:alice@example.com' and invite.get('Authorization') is None
    assert str(invite.uri) == bob.ua.uri and str(invite.to.uri) == 'sip:bob@example.com'
    assert seen[1:] == [SDP, b'hello']


def test_a_phone_that_is_gone(net, registrar, phone):
    """Somebody else has its address by now, or nobody: the others ring."""
    alice, bob, gone = phone('alice'), phone('bob'), phone('bob', 'gone')
    gone.register()
    gone.ua.close()
    with pytest.raises(Unavailable), alice.invite('bob') as leg:
        leg.wait_for('200')
    bob.register()
    bob.ua.serve(answering, background=True)
    with alice.invite('bob') as leg:
        leg.wait_for('200')


INSTANCE = ';+sip.instance="<urn:uuid:b0b>"'


def test_the_flows_of_a_phone_are_tried_in_turn(net, registrar, phone):
    """RFC 5626 7: one at a time, and the next when the first has failed."""
    alice, bob = phone('alice'), phone('bob')
    headers = {'Supported': 'outbound'}
    bob.register(params=f'{INSTANCE};reg-id=1', headers=headers)
    second = phone('bob', 'second')
    second.register(params=f'{INSTANCE};reg-id=2', headers=headers)
    calls = []
    bob.ua.serve(lambda leg: (calls.append('first'), answering(leg)), background=True)
    second.ua.serve(lambda leg: (calls.append('second'), leg.reject(430)), background=True)
    with alice.invite('bob') as leg:
        leg.wait_for('200')
    assert calls == ['second', 'first']
    # The flow that has failed is forgotten.
    assert [binding.reg_id for binding in registrar.lookup('bob@example.com')] == [1]


def test_an_answer_of_one_flow_is_that_of_the_phone(net, registrar, phone):
    alice, bob, second = phone('alice'), phone('bob'), phone('bob', 'second')
    bob.register(params=f'{INSTANCE};reg-id=1', headers={'Supported': 'outbound'})
    second.register(params=f'{INSTANCE};reg-id=2', headers={'Supported': 'outbound'})
    bob.ua.serve(answering, background=True)
    second.ua.serve(lambda leg: leg.reject(486), background=True)
    with pytest.raises(Busy), alice.invite('bob') as leg:
        leg.wait_for('200')
    assert len(registrar.lookup('bob@example.com')) == 2


def test_a_phone_behind_a_nat_is_called_over_its_flow(registrar, phone):
    alice, bob = phone('alice'), phone('bob')
    bob.register('<sip:bob@phone.invalid>')
    bob.ua.serve(answering, background=True)
    with alice.invite('bob') as leg:
        leg.wait_for('200')


def test_a_path_is_the_route(net, registrar, phone):
    """RFC 3327 5.4."""
    alice, proxy = phone('alice'), phone('bob', 'proxy')
    seen = []
    proxy.ua.serve(lambda leg: (seen.append(leg.invite), leg.reject(486)), background=True)
    proxy.register('<sip:bob@192.168.1.7>', headers={'Path': f'<{proxy.ua.uri};lr>', 'Supported': 'path'})
    with pytest.raises(Busy), alice.invite('bob') as leg:
        leg.wait_for('200')
    assert (str(seen[0].uri), seen[0].get_all('Route')) == ('sip:bob@192.168.1.7', [f'<{proxy.ua.uri};lr>'])


@pytest.mark.parametrize('kind', ['public', 'temporary'])
def test_a_call_to_a_gruu(net, registrar, phone, kind):
    """It leads to one phone, also inside of a call whose Contact it is (RFC 5627 6.1)."""
    alice, desk, hall = phone('alice'), phone('bob', 'desk'), phone('bob', 'hall')
    desk.register(params=';+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>"')
    heard = []

    def answers(leg):
        leg.answer(sdp=OTHER)
        heard.append(leg.wait_for('INFO').message.body)
        leg.wait_ended()

    hall.ua.serve(answers, background=True)
    with hall.ua.account('sip:bob@example.com', 'builder', route=hall.route, gruu=kind,
                         instance='urn:uuid:00000000-0000-4000-8000-000000000002') as account:
        account.register()
        gruu = account.gruu
        with alice.invite(gruu) as leg:
            leg.wait_for('200')
            leg.request('INFO', body='hi')
    net.run(1)
    assert heard == [b'hi']
    # What has been sent to the phone inside of the call had the GRUU for its target.
    assert [arrow.data.split(b' ')[1] for arrow in net.ladder.arrows if (
        arrow.destination == 'hall' and arrow.title == 'BYE')] == [gruu.encode()]
    with pytest.raises(Unavailable if kind == 'public' else NotFound), alice.invite(gruu) as leg:
        leg.wait_for('200')


def test_calls_that_go_round(net, registrar, phone):
    """A contact that leads back here: the second round is refused, and no phone waits for it."""
    alice, bob = phone('alice'), phone('bob')
    carol = phone('carol')
    host = registrar.ua.points[0].sent_by
    bob.register(f'<sip:carol@{host}>')
    carol.register(f'<sip:bob@{host}>')
    registrar.strangers = True
    with pytest.raises(ResponseError, match='482'), alice.invite('bob', from_='sip:me@example.net') as leg:
        leg.wait_for('200')
    with pytest.raises(ResponseError, match='483'), alice.invite('bob', max_forwards=0) as leg:
        leg.wait_for('200')


# -- messages

def test_a_message(net, registrar, phone):
    alice = phone('alice')
    desk, hall = phone('bob', 'desk'), phone('bob', 'hall')
    got = []

    def take(incoming):
        got.append((incoming.request.body, incoming.request.get('Content-Type'), str(incoming.request.from_.uri)))
        return 202 if len(got) > 1 else 486

    for bob in (desk, hall):
        bob.register()
        bob.ua.handle('MESSAGE', take)
    assert alice.message('bob', 'hello', content_type='text/html').code == 202
    assert got == [(b'hello', 'text/html', 'sip:alice@example.com')] * 2


def test_messages_that_nobody_takes(net, registrar, phone):
    alice, bob = phone('alice'), phone('bob')
    with pytest.raises(NotFound):
        alice.message('emil', 'hello')
    with pytest.raises(Unavailable):
        alice.message('bob', 'hello')
    with pytest.raises(Unauthorized):
        alice.message('bob', 'hello', credentials=None)
    bob.register()
    bob.ua.handle('MESSAGE', lambda incoming: 413)
    with pytest.raises(ResponseError, match='413'):
        alice.message('bob', 'hello')
    # Nobody answers there any more: its sender hears of it before it would give up itself.
    bob.ua.close()
    began = net.clock.now()
    with pytest.raises(Unavailable):
        alice.message('bob', 'hello')
    assert net.clock.now() - began < 32


# -- the store

def test_the_log_of_the_database_does_not_grow(users, tmp_path, monkeypatch):
    """What makes it part of the file again runs in another OS thread, by the number of changes and by time."""
    monkeypatch.setattr('greensip.registrar.app.TIDY_CHANGES', 20)
    monkeypatch.setattr('greensip.registrar.app.LARGE_LOG', 10)
    with UserAgent('udp:127.0.0.1:0', name='registrar', watchdog=None) as ua, Registrar(
            ua, domains=['example.com'], users=users, store=Database(tmp_path / 'db')) as made, UserAgent(
            'udp:127.0.0.1:0', name='alice', watchdog=None) as alice:
        phone = Phone(alice, 'alice', made)
        for _ in range(100):
            phone.register()
        while made._is_tidying:
            gevent.sleep(0.01)
        size = (tmp_path / 'db-wal').stat().st_size
        for _ in range(10):
            phone.register()
        # The log has begun anew.
        assert (tmp_path / 'db-wal').stat().st_size == size


# -- a restart

def test_a_restart(net, start, tmp_path):
    first = start(store=Database(tmp_path / 'db'))
    alice = Phone(net.user_agent('alice', watchdog=None), 'alice', first)
    alice.register(params=';expires=100')
    alice.register('<sip:alice@phone.invalid>')
    alice.register(f'<{alice.ua.uri};x>;reg-id=1;+sip.instance="<urn:uuid:1>"', headers={'Supported': 'outbound'})
    before = first.lookup('alice@example.com')
    first.close()
    first.ua.close()
    second = start(store=Database(tmp_path / 'db'), wall=NOON + 10)
    after = second.lookup('alice@example.com')
    assert [one.contact for one in after] == [one.contact for one in before]
    assert [one.flow.remote if one.flow else None for one in after] == [
        one.flow.remote if one.flow else None for one in before]
    assert [one.flow is not None for one in after] == [True, True, False]
    net.run(100)
    assert len(second.lookup('alice@example.com')) == 2


def test_a_transfer_is_the_phones_business(net, registrar, phone):
    """REFER goes through the call, and so do the NOTIFYs that tell of it."""
    alice, bob, carol = phone('alice'), phone('bob', refer='ask'), phone('carol')
    bob.register()
    carol.register()
    carol.ua.serve(answering, background=True)
    seen = []

    def answers(leg):
        leg.answer(sdp=OTHER)
        transfer = leg.wait_for('REFER')
        seen.append(str(transfer.target))
        with transfer.accept(**bob.options) as new:
            new.wait_for('200')
            leg.wait_ended()

    bob.ua.serve(answers, background=True)
    with alice.invite('bob') as leg:
        leg.wait_for('200')
        assert leg.transfer('sip:carol@example.com').code == 200
    assert seen == ['sip:carol@example.com']


# -- connections

@pytest.fixture
def running_registrar(users):
    """A registrar on real sockets: UDP and TCP on free ports of the loopback."""
    with UserAgent('udp:127.0.0.1:0', 'tcp:127.0.0.1:0', name='registrar', watchdog=None) as ua, Registrar(
            ua, domains=['example.com'], users=users) as made:
        yield made


def over_tcp(registrar, user):
    ua = UserAgent('tcp:127.0.0.1:0', name=user, watchdog=None)
    made = Phone(ua, user, registrar)
    point = next(point for point in registrar.ua.points if point.transport == 'TCP')
    made.route = made.options['route'] = f'<sip:127.0.0.1:{point.address[1]};transport=tcp;lr>'
    return made


def test_a_connection_leads_to_who_opened_it(running_registrar):
    """Its contact leads nowhere; when the connection is gone, so is the binding of RFC 5626."""
    registrar = running_registrar
    bob, alice = over_tcp(registrar, 'bob'), over_tcp(registrar, 'alice')
    with alice.ua:
        with bob.ua:
            bob.register(f'<sip:bob@phone.invalid;transport=tcp>;reg-id=1{INSTANCE}', headers={'Supported': 'outbound'})
            bob.ua.serve(answering, background=True)
            with alice.invite('bob') as leg:
                leg.wait_for('200', timeout=10)
            assert len(registrar.lookup('bob@example.com')) == 1
        gevent.sleep(0.05)
        with pytest.raises(Unavailable), alice.invite('bob') as leg:
            leg.wait_for('200', timeout=10)
        assert registrar.lookup('bob@example.com') == ()


def test_an_attended_transfer(net, registrar, phone):
    """RFC 5589 7: bob calls carol with Replaces, and takes alice's place in her call with carol."""
    alice, bob, carol = phone('alice'), phone('bob', refer='ask'), phone('carol')
    bob.register()
    carol.register()
    there = []

    def transferred(leg):
        leg.answer(sdp=OTHER)
        transfer = leg.wait_for('REFER')
        with transfer.accept(sdp=OTHER.replace(b'5000', b'6000'), **bob.options) as new:
            new.wait_for('200')
            there.append(('bob', new.answer))
            new.request('INFO', body='from bob')
            leg.wait_ended()
            new.wait_ended()

    def target(leg):
        leg.answer(sdp=SDP)
        there.append(('carol', leg.wait_for('INVITE').message.body))
        there.append(('carol', leg.wait_for('INFO').message.body))
        net.run(1)
        leg.hangup()

    bob.ua.serve(transferred, background=True)
    carol.ua.serve(target, background=True)
    with alice.invite('bob') as first:
        first.wait_for('200')
        first.hold()
        with alice.invite('carol') as second:
            second.wait_for('200')
            assert first.transfer_to(second).code == 200
            assert isinstance(second.wait_ended().error, (Replaced, RemoteHangup))
    net.run(3)
    assert [who for who, _ in there] == ['carol', 'bob', 'carol']
    assert b'm=audio 6000' in there[0][1] and there[2][1] == b'from bob'
    assert registrar.ua.legs == [] and carol.ua.legs == []


def test_a_stranger_takes_nobodys_place(registrar, phone):
    alice, carol = phone('alice'), phone('carol')
    carol.register()
    carol.ua.serve(answering, background=True)
    with alice.invite('carol') as leg:
        leg.wait_for('200')
        dialog = leg.usage.dialog
        text = f'{leg.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}'
        for options in ({'credentials': None}, {'credentials': None, 'from_': 'sip:me@example.net'},
                        {'credentials': ('bob', 'builder')}):
            with pytest.raises((Unauthorized, Forbidden)), alice.invite(
                    'carol', headers={'Replaces': text}, **options) as other:
                other.wait_for('200')
        assert leg.state == 'confirmed'


def test_what_was_on_a_connection_goes_with_it(users, monkeypatch):
    """Without anybody calling; what can be connected to stays."""
    monkeypatch.setattr('greensip.registrar.app.FLOW_STEP', 0.05)
    changes = []
    with UserAgent('udp:127.0.0.1:0', 'tcp:127.0.0.1:0', name='registrar', watchdog=None) as ua, Registrar(
            ua, domains=['example.com'], users=users, on_change=changes.append) as registrar:
        bob, alice = over_tcp(registrar, 'bob'), over_tcp(registrar, 'alice')
        alice.register()
        bob.register(params=f';reg-id=1{INSTANCE}', headers={'Supported': 'outbound'})
        assert len(registrar.location.flows) == 2
        bob.ua.close()
        alice.ua.close()
        with gevent.Timeout(10):
            while changes[-1].why != 'lost':
                gevent.sleep(0.02)
        assert [change.aor for change in changes if change.why == 'lost'] == ['bob@example.com']
        assert len(registrar.lookup('alice@example.com')) == 1
        registrar.location.remove('alice@example.com')
        assert registrar.location.flows == {}


def test_nobody_asserts_who_he_is(registrar, phone):
    """RFC 3325 5: what somebody outside of the network says of it is taken away."""
    alice, bob = phone('alice'), phone('bob')
    bob.register()
    seen = []

    def answers(leg):
        seen.append(leg.invite)
        leg.answer()
        leg.wait_ended()

    bob.ua.serve(answers, background=True)
    bob.ua.handle('MESSAGE', lambda incoming: (seen.append(incoming.request), incoming.respond(200)))
    said = {'P-Asserted-Identity': '<sip:carol@example.com>', 'P-Preferred-Identity': '<sip:carol@example.com>',
            'Remote-Party-ID': '<sip:carol@example.com>;screen=yes', 'Subject': 'money'}
    stranger = {'credentials': None, 'from_': 'sip:me@example.net'}
    for options in ({}, stranger):
        with alice.invite('bob', headers=said, **options) as leg:
            leg.wait_for('200')
        alice.message('bob', 'hello', headers=said, **options)
    assert [request.get('Subject') for request in seen] == ['money'] * 4
    for request in seen:
        assert not any(request.has(name) for name in said if name != 'Subject')
