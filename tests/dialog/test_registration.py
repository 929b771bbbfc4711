"""The client's half of registrations: RFC 3261 10.2, RFC 3665 2, RFC 3327, 3608, 5626, 5627."""

from __future__ import annotations

import pytest

from greensip.dialog import Backoff, Place, Registration
from greensip.dialog.outside import outside_envelope
from greensip.dialog.register import RegisterRequest
from greensip.errors import ConnectError, ResponseError, TransactionTimeout, UsageError, WrongState
from greensip.message import parse_name_addr
from greensip.message.digest import DigestServer
from greensip.transaction.flow import Flow, Point

from .conftest import Party, World, lines, never_walked
from .registering import AOR, INSTANCE, Registrar, begin, refresh_time, register, said

pytestmark = pytest.mark.usefixtures('walked')


@pytest.fixture
def registrar(world: World) -> Registrar:
    return Registrar(world)


# -- RFC 3665 2: the flows, with our Contact

@pytest.fixture
def guarded(registrar: Registrar) -> Registrar:
    registrar.digest = DigestServer('atlanta.example.com', b'secret', nonce_life=100_000)
    return registrar


def test_rfc3665_2_1_successful_new_registration(world: World, bob: Party, guarded: Registrar) -> None:
    registration = register(world, bob, guarded, credentials=('bob', 'zanzibar'))
    assert world.ladder() == lines("""
        bob -> registrar: REGISTER
        registrar -> bob: 401 REGISTER
        bob -> registrar: REGISTER
        registrar -> bob: 200 REGISTER
    """)
    first, second = guarded.requests
    assert str(first.uri) == 'sip:127.0.0.1:5090'
    assert (first.from_.uri, first.to.uri, first.to_tag) == (parse_name_addr(AOR).uri, parse_name_addr(AOR).uri, None)
    assert (first.call_id, first.cseq.number, second.cseq.number) == (second.call_id, 1, 2)
    assert first.get('Contact') == second.get('Contact') == '<sip:bob@127.0.0.1:5080>'
    assert (first.expires, first.get('Supported')) == (3600, 'path')
    assert (registration.state, registration.granted) == ('registered', 3600)
    assert [str(binding.uri) for binding in registration.bindings] == ['sip:bob@127.0.0.1:5080']


def test_rfc3665_2_4_cancellation_of_registration(world: World, bob: Party, guarded: Registrar) -> None:
    guarded.bindings['sip:other@127.0.0.1'] = ''
    registration = register(world, bob, guarded, credentials=('bob', 'zanzibar'))
    world.ladder()
    assert registration.unregister(world.now, everything=True)
    world.run()
    assert world.ladder(events=True) == lines("""
        bob -> registrar: REGISTER
        registrar: request REGISTER
        registrar -> bob: 200 REGISTER
        bob: ended NoneType
    """)
    last = guarded.requests[-1]
    assert (last.get('Contact'), last.expires) == ('*', 0)
    assert (guarded.bindings, registration.state, bob.core.registrations) == ({}, 'unregistered', set())
    world.run(4000)
    assert world.ladder() == [] and world.idle()


def test_rfc3665_2_5_unsuccessful_registration(world: World, bob: Party, guarded: Registrar) -> None:
    registration = register(world, bob, guarded, credentials=('bob', 'wrong'))
    assert world.ladder() == lines("""
        bob -> registrar: REGISTER
        registrar -> bob: 401 REGISTER
        bob -> registrar: REGISTER
        registrar -> bob: 401 REGISTER
    """)
    assert (registration.state, bob.core.registrations) == ('unregistered', set())
    assert isinstance(registration.error, ResponseError) and registration.error.code == 401
    world.run(4000)
    assert world.ladder() == []


# -- refreshing (10.2.4)

def test_it_is_refreshed_in_time_with_the_same_call_id(world: World, bob: Party, registrar: Registrar) -> None:
    begun = world.now
    registration = register(world, bob, registrar)
    assert 0.9 * 3536 <= refresh_time(registration) - begun <= 3536.1
    world.run(10_000)
    assert 3 <= len(registrar.requests) <= 4
    assert {request.call_id for request in registrar.requests} == {registration.call_id}
    assert [request.cseq.number for request in registrar.requests] == list(range(1, len(registrar.requests) + 1))
    assert said(world) == ['registered registered', *['refreshed refreshed'] * (len(registrar.requests) - 1)]


@pytest.mark.parametrize(('granted', 'earliest', 'latest'), [
    (60, 27, 30), (64, 28.8, 32), (65, 29.7, 33), (100, 61.2, 68), (1, 0.45, 1), (128, 86.4, 96),
    (129, 58.5, 65), (7200, 6422.4, 7136),
])
def test_when_to_refresh(world: World, bob: Party, registrar: Registrar, granted: int, earliest: float,
                         latest: float) -> None:
    registrar.granted = granted
    registration = register(world, bob, registrar, expires=7200, seconds=0.1)
    # RFC 5627 4.2: before the last 32 seconds, where it is long those before as well, where it is short halfway.
    assert earliest <= refresh_time(registration) - world.now + 0.08 <= latest + 0.1


def test_a_stale_nonce_at_the_refresh(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.digest = DigestServer('example.com', b'secret', nonce_life=300)
    register(world, bob, registrar, credentials=('bob', 'zanzibar'))
    world.ladder()
    world.run(3600)
    assert world.ladder() == lines("""
        bob -> registrar: REGISTER
        registrar -> bob: 401 REGISTER
        bob -> registrar: REGISTER
        registrar -> bob: 200 REGISTER
    """)
    assert 'stale=true' in str([m for _, t, m in world.messages if t == 'bob' and m.get('WWW-Authenticate')][-1])


# -- 10.2.8: 423

def test_423_is_tried_again_with_what_the_registrar_wants(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers += [(423, {'Min-Expires': '1800'}), (423, {'Min-Expires': '2400'})]
    registration = register(world, bob, registrar, expires=60)
    assert [request.expires for request in registrar.requests] == [60, 1800, 2400]
    assert (registration.state, registration.granted) == ('registered', 2400)


@pytest.mark.parametrize('fields', [{}, {'Min-Expires': '60'}, {'Min-Expires': 'junk'}])
def test_a_423_that_says_nothing_new_is_a_refusal(world: World, bob: Party, registrar: Registrar,
                                                 fields: dict[str, str]) -> None:
    registrar.answers.append((423, fields))
    registration = register(world, bob, registrar, expires=60)
    assert registration.state == 'unregistered' and said(world) == ['failed']


def test_a_registrar_that_always_wants_more_is_left(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers += [(423, {'Min-Expires': str(100 * n)}) for n in range(1, 10)]
    registration = register(world, bob, registrar, expires=60)
    assert (registration.state, len(registrar.requests)) == ('unregistered', 4)


def test_a_refresh_that_fails_is_tried_again_soon(world: World, bob: Party, registrar: Registrar) -> None:
    """RFC 5626 4.5: the longer base is for those who have another flow, not for the one that fails."""
    registration = register(world, bob, registrar, expires=7200)
    registrar.granted = 7200
    registrar.answers.append((500, {}))
    registration.register(world.now)
    world.run()
    assert registration.state == 'registered'
    assert 30 <= refresh_time(registration) - world.now <= 60


# -- 3xx

def test_a_redirection_is_followed(world: World, bob: Party, registrar: Registrar) -> None:
    other = Registrar(world, 'other', 5091)
    registrar.answers.append((302, {'Contact': '<sip:ignored@127.0.0.1:5091>, <mailto:x@y>;q=0.9'}))
    registration = register(world, bob, registrar)
    assert registration.state == 'registered'
    assert str(other.requests[0].uri) == 'sip:127.0.0.1:5091'
    world.run(3600)
    # 10.2.4: "Registration refreshes SHOULD be sent to the same network address as the original registration"
    assert len(other.requests) == 2


def test_two_registrars_that_send_us_to_each_other(world: World, bob: Party, registrar: Registrar) -> None:
    other = Registrar(world, 'other', 5091)
    registrar.answers += [(302, {'Contact': '<sip:127.0.0.1:5091>'})] * 10
    other.answers += [(302, {'Contact': '<sip:127.0.0.1:5090>'})] * 10
    registration = register(world, bob, registrar)
    assert len(registrar.requests) + len(other.requests) == 6
    assert registration.state == 'unregistered'


def test_a_redirection_without_a_sip_contact_is_a_refusal(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers += [(302, {'Contact': '<mailto:a@b>'})]
    assert register(world, bob, registrar).state == 'unregistered'


def test_a_secure_registration_is_not_redirected_to_an_insecure_one(
        world: World, bob: Party, registrar: Registrar) -> None:
    """RFC 3261 8.1.3.4: the user would have to be told, and nobody is there."""
    other = Registrar(world, 'other', 5091)
    for party in (bob, registrar.party):
        party.point = party.core.points[0] = Point('TLS', party.point.address, reliable=True, secure=True)
    registrar.answers += [(302, {'Contact': '<sip:127.0.0.1:5091>'})]
    registration = register(world, bob, places=[Place('sips:example.com', ('<sip:127.0.0.1:5090;lr>',))])
    assert (registration.state, len(registrar.requests), other.requests) == ('unregistered', 1, [])


# -- failures (10.2.7, RFC 5626 4.5)

@pytest.mark.parametrize('code', [400, 403, 404, 405, 420, 600, 603])
def test_what_time_does_not_heal_ends_it(world: World, bob: Party, registrar: Registrar, code: int) -> None:
    registrar.answers.append((code, {}))
    registration = register(world, bob, registrar)
    assert (registration.state, said(world)) == ('unregistered', ['failed'])
    world.run(4000)
    assert len(registrar.requests) == 1


@pytest.mark.parametrize('code', [430, 480, 500, 503, 504])
def test_what_may_heal_is_tried_again(world: World, bob: Party, registrar: Registrar, code: int) -> None:
    registrar.answers.append((code, {}))
    begun = world.now
    registration = register(world, bob, registrar)
    assert (registration.state, said(world)) == ('waiting', ['failed'])
    # RFC 5626 4.5: "the first retry happens somewhere between 30 and 60 seconds after the failure"
    assert 30 <= refresh_time(registration) - begun <= 60.1
    world.run(61)
    assert (registration.state, said(world), registration.error) == ('registered', ['registered registered'], None)


def test_the_wait_doubles_up_to_half_an_hour(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers += [(500, {})] * 12
    begun = world.now
    registration = register(world, bob, registrar)
    waits = []
    for _ in range(10):
        due = refresh_time(registration)
        waits.append(due - world.now)
        world.run(due - world.now + 1)
    assert begun < world.now
    for number, waited in enumerate(waits):
        longest = min(1800, 30 * 2 ** (number + 1))
        assert longest * 0.5 - 2 <= waited <= longest, waits


def test_the_waits_may_be_set(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers += [(500, {})] * 3
    registration = register(world, bob, registrar, backoff=Backoff(base=1.0, longest=3.0), seconds=0.1)
    assert 0.9 <= refresh_time(registration) - world.now <= 2
    world.run(12)
    assert registration.state == 'registered'


def test_retry_after_makes_the_wait_longer(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers += [(503, {'Retry-After': '300'})]
    begun = world.now
    registration = register(world, bob, registrar)
    assert 300 <= refresh_time(registration) - begun <= 300.1


def test_nobody_answers(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.silent = True
    registration = register(world, bob, registrar, seconds=33)
    assert registration.state == 'waiting' and isinstance(registration.error, TransactionTimeout)


def test_no_way(world: World, bob: Party) -> None:
    registration = register(world, bob, places=[Place('sip:[::1]:5060')], seconds=0)
    assert registration.state == 'waiting' and isinstance(registration.error, ConnectError)


# -- several registrars

def test_the_next_registrar_is_tried_at_once(world: World, bob: Party, registrar: Registrar) -> None:
    other = Registrar(world, 'other', 5091)
    registrar.answers.append((503, {}))
    registration = register(world, bob, registrar, other)
    assert world.ladder() == lines("""
        bob -> registrar: REGISTER
        registrar -> bob: 503 REGISTER
        bob -> other: REGISTER
        other -> bob: 200 REGISTER
    """)
    assert registration.state == 'registered'
    other.answers.append((500, {}))
    world.run(3600)
    # The one that failed a while ago takes over, and nobody was out of reach.
    assert len(registrar.requests) == 2
    assert said(world) == ['refreshed refreshed']


def test_when_none_answers_all_are_tried_again_later(world: World, bob: Party, registrar: Registrar) -> None:
    other = Registrar(world, 'other', 5091)
    registrar.answers.append((503, {}))
    other.answers.append((503, {}))
    registration = register(world, bob, registrar, other)
    assert registration.state == 'waiting' and said(world) == ['failed']
    world.run(60)
    assert registration.state == 'registered' and len(registrar.requests) == 2 and len(other.requests) == 1


def test_a_refusal_is_not_taken_elsewhere(world: World, bob: Party, registrar: Registrar) -> None:
    other = Registrar(world, 'other', 5091)
    registrar.answers.append((403, {}))
    assert register(world, bob, registrar, other).state == 'unregistered'
    assert other.requests == []


# -- the refresh fails

def test_a_refresh_that_fails_is_tried_again_while_the_binding_lasts(world: World, bob: Party,
                                                                     registrar: Registrar) -> None:
    registration = register(world, bob, registrar, backoff=Backoff(base=2.0))
    registrar.answers.append((500, {}))
    world.run(3600)
    assert registration.state == 'registered'
    assert said(world) == ['registered registered', 'failed', 'refreshed refreshed']


def test_a_binding_that_runs_out_is_lost(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.granted = 120
    registration = register(world, bob, registrar)
    registrar.silent = True
    world.run(500)
    assert registration.state in ('waiting', 'registering')
    assert said(world)[:3] == ['registered registered', 'failed', 'lost lost']
    assert isinstance(bob.last('lost').error, TransactionTimeout)
    registrar.silent = False
    world.run(3600)
    assert registration.state == 'registered'
    assert 'registered registered' in said(world)


def test_a_binding_that_runs_out_while_its_refresh_is_under_way(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.granted = 40
    registration = register(world, bob, registrar)
    registrar.silent = True
    world.run(40)
    assert registration.state == 'registering' and said(world) == ['registered registered', 'lost lost']
    registrar.silent = False
    world.run(30)
    assert registration.state in ('registering', 'waiting', 'registered')


def test_a_refresh_that_is_refused_ends_it(world: World, bob: Party, registrar: Registrar) -> None:
    registration = register(world, bob, registrar)
    registrar.answers.append((403, {}))
    world.run(3600)
    assert registration.state == 'unregistered' and said(world) == ['registered registered', 'lost lost']
    world.run(5000)
    assert len(registrar.requests) == 2


# -- un-registering (10.2.2)

def test_unregistering_waits_for_the_register_that_is_out(world: World, bob: Party, registrar: Registrar) -> None:
    registration = begin(bob, registrar)
    registration.register(world.now)
    registration.unregister(world.now)
    assert registration.state == 'stopping'
    with pytest.raises(WrongState):
        registration.register(world.now)
    world.run()
    assert [request.expires for request in registrar.requests] == [3600, 0]
    assert (registration.state, registrar.bindings) == ('unregistered', {})


@pytest.mark.parametrize('answer', [(403, {}), (503, {})])
def test_stopping_when_the_register_fails(world: World, bob: Party, registrar: Registrar,
                                          answer: tuple[int, dict[str, str]]) -> None:
    registrar.answers.append(answer)
    registration = begin(bob, registrar)
    registration.register(world.now)
    registration.unregister(world.now)
    world.run(60)
    assert (registration.state, len(registrar.requests)) == ('unregistered', 1)


@pytest.mark.parametrize('answer', [(403, {}), (503, {})])
def test_a_removal_that_fails(world: World, bob: Party, registrar: Registrar,
                              answer: tuple[int, dict[str, str]]) -> None:
    registration = register(world, bob, registrar)
    registrar.answers.append(answer)
    registration.unregister(world.now)
    world.run(60)
    assert registration.state == 'unregistered'
    assert isinstance(bob.last('ended').error, ResponseError)


def test_while_waiting_nothing_is_to_be_removed(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers.append((500, {}))
    registration = register(world, bob, registrar)
    registration.unregister(world.now)
    world.run(4000)
    assert (registration.state, len(registrar.requests)) == ('unregistered', 1)


def test_everything_may_be_removed_without_having_registered(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.bindings['sip:other@127.0.0.1'] = ''
    registration = begin(bob, registrar, instance='urn:uuid:1', reg_id=1)
    registration.unregister(world.now, everything=True)
    world.run()
    # RFC 5626 4.2.3: no instance and no reg-id there
    assert (registrar.requests[0].get('Contact'), registrar.bindings) == ('*', {})


def test_registering_again_after_that(world: World, bob: Party, registrar: Registrar) -> None:
    registration = register(world, bob, registrar)
    registration.unregister(world.now)
    world.run()
    registration.register(world.now)
    world.run()
    assert registration.state == 'registered'
    assert [request.cseq.number for request in registrar.requests] == [1, 2, 3]


# -- Route

def test_the_route_leads_to_the_registrar(world: World, bob: Party, registrar: Registrar) -> None:
    register(world, bob, places=[Place('sip:example.com', ('<sip:127.0.0.1:5090;lr>',))])
    assert str(registrar.requests[0].uri) == 'sip:example.com'
    assert registrar.requests[0].get('Route') == '<sip:127.0.0.1:5090;lr>'


# -- outbound (RFC 5626)

def test_outbound_is_asked_for(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound', 'Flow-Timer': '25'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=2)
    request = registrar.requests[0]
    assert request.get('Contact') == f'<sip:bob@127.0.0.1:5080;ob>;+sip.instance="<{INSTANCE}>";reg-id=2'
    assert request.supported == ['path', 'outbound']
    assert (registration.outbound_active, registration.flow_timer) == (True, 25)


def test_a_first_hop_without_outbound(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers.append((439, {}))
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1)
    assert registration.state == 'registered'
    assert 'reg-id' not in registrar.requests[1].get('Contact')
    assert registrar.requests[1].supported == ['path']
    registrar.answers.append((439, {}))
    registration.register(world.now)
    world.run()
    assert registration.state == 'unregistered'


def test_a_flow_that_fails_is_replaced_at_once(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1, seconds=60)
    registration.flow_failed(ConnectError('gone'), world.now)
    world.run()
    assert said(world) == ['registered registered', 'lost lost', 'registered registered']
    assert registrar.requests[0].get('Contact') == registrar.requests[1].get('Contact')
    assert isinstance(bob.last('lost').error, ConnectError)


def test_a_flow_that_never_proved_itself_waits(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1)
    waits = []
    for _ in range(3):
        registration.flow_failed(ConnectError('gone'), world.now)
        assert registration.state == 'waiting'
        waits.append(refresh_time(registration) - world.now)
        world.run(waits[-1] + 1)
        assert registration.state == 'registered'
    assert 30 <= waits[0] <= 60 <= waits[1] <= 120 <= waits[2] <= 240
    world.run(40)
    registration.flow_failed(ConnectError('gone'), world.now)
    assert (registration.state, registration.failures) == ('registering', 0)


def test_a_flow_that_fails_while_it_is_refreshed(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1, seconds=60)
    registration.register(world.now)
    registration.flow_failed(ConnectError('gone'), world.now)
    assert registration.state == 'registering'
    world.run()
    assert said(world) == ['registered registered', 'lost lost', 'registered registered']


def test_a_connection_that_breaks_is_told_by_the_transport(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1, seconds=60)
    other = register(world, bob, registrar, seconds=60)
    assert registration.flow is not None
    bob.core.transport_failed(Flow(bob.point, ('127.0.0.1', 1)), ConnectError('reset'), world.now)
    bob.core.transport_failed(registration.flow, ConnectError('reset'), world.now, b'one message')
    assert (registration.state, other.state) == ('registered', 'registered')
    bob.core.transport_failed(registration.flow, ConnectError('reset'), world.now)
    # Who may be reached without it asks for a new one, and is not lost meanwhile.
    assert (registration.state, other.state) == ('registering', 'refreshing')
    world.run()
    assert said(world).count('lost lost') == 1
    asked = len(registrar.requests)
    other.connection_lost(ConnectError('reset'), world.now)
    other.connection_lost(ConnectError('reset'), world.now)
    world.run(10)
    assert (len(registrar.requests), other.state) == (asked, 'registered')
    world.run(20)
    assert len(registrar.requests) == asked + 1


def test_the_wait_is_longer_while_another_flow_lives(world: World, bob: Party, registrar: Registrar) -> None:
    other = Registrar(world, 'other', 5091)
    registrar.extra = other.extra = {'Require': 'outbound'}
    peers: list[Registration] = []
    first = register(world, bob, registrar, instance=INSTANCE, reg_id=1, peers=peers)
    other.answers.append((503, {}))
    second = register(world, bob, other, instance=INSTANCE, reg_id=2, peers=peers, seconds=0.1)
    assert (first.state, second.state) == ('registered', 'waiting')
    assert 89 <= refresh_time(second) - world.now <= 180


# -- the arguments, and what nobody should send

def test_what_makes_no_registration(bob: Party, registrar: Registrar) -> None:
    for options in ({'places': []}, {'expires': 0}, {'reg_id': 1}, {'reg_id': -1, 'instance': INSTANCE},
                    {'headers': [('CSeq', '1')]}):
        with pytest.raises(UsageError):
            begin(bob, registrar, **options)
    with pytest.raises(UsageError):
        begin(bob, registrar).change_contacts([])


def test_late_and_broken_answers_change_nothing(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound, "', 'P-Associated-URI': '<', 'Flow-Timer': 'x'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1)
    assert (registration.state, registration.outbound_active, registration.flow_timer) == ('registered', False, None)
    envelope = outside_envelope(bob.core, 'sip:x', AOR, AOR, 'x', (), (), None, 1)
    stale = RegisterRequest(registration, envelope, False)
    response = registration.response
    assert response is not None
    registration.on_response(stale, response, world.now)
    registration.on_failure(stale, ConnectError('x'), world.now)
    assert registration.state == 'registered'


def test_provisional_responses_are_passed_over(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers.append((100, {}))
    registration = register(world, bob, registrar, seconds=0.2)
    assert registration.state == 'registering'


# -- the arrows that no story above takes

def test_registering_while_it_waits(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers.append((500, {}))
    registration = register(world, bob, registrar)
    assert registration.state == 'waiting'
    registration.register(world.now)
    world.run()
    assert registration.state == 'registered'


def test_clearing_everything_while_it_waits(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers.append((500, {}))
    registration = register(world, bob, registrar)
    assert registration.unregister(world.now, everything=True) and registration.state == 'leaving'
    world.run()
    assert (registration.state, registrar.requests[-1].get('Contact')) == ('unregistered', '*')


def test_a_young_flow_that_fails_while_it_is_refreshed(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1)
    registration.register(world.now)
    registration.flow_failed(ConnectError('gone'), world.now)
    assert (registration.state, registration.failures) == ('registering', 1)


def test_unregistering_while_it_is_refreshed(world: World, bob: Party, registrar: Registrar) -> None:
    registration = register(world, bob, registrar)
    registration.register(world.now)
    registration.unregister(world.now)
    assert registration.state == 'stopping'
    world.run()
    assert (registration.state, registrar.bindings) == ('unregistered', {})
    assert [request.expires for request in registrar.requests] == [3600, 3600, 0]


def test_a_423_when_nobody_wants_to_be_registered_any_more(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.answers.append((423, {'Min-Expires': '7200'}))
    registration = begin(bob, registrar)
    registration.register(world.now)
    registration.unregister(world.now)
    world.run()
    assert registration.state == 'unregistered'
    assert [request.expires for request in registrar.requests] == [3600, 0]


def test_a_removal_takes_the_next_registrar_too(world: World, bob: Party, registrar: Registrar) -> None:
    other = Registrar(world, 'other', 5091)
    registration = register(world, bob, registrar, other)
    registrar.answers.append((503, {}))
    registration.unregister(world.now)
    assert registration.state == 'leaving'
    world.run()
    assert registration.state == 'unregistered' and other.requests[0].expires == 0


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the stories above go along each row."""
    assert never_walked(request, walked, Registration) == []
