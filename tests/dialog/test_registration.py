"""The client's half of registrations: RFC 3261 10.2, RFC 3665 2, RFC 3327, 3608, 5626, 5627."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.dialog import Backoff, Event, Place, Registration
from greensip.dialog.outside import outside_envelope
from greensip.dialog.register import RegisterRequest, note_mapping, own_contact
from greensip.errors import ConnectError, ResponseError, TransactionTimeout, UsageError, WrongState
from greensip.message import Request, parse_name_addr
from greensip.message.digest import DigestServer
from greensip.transaction.flow import Flow, Point

from .conftest import Party, World, lines, never_walked

pytestmark = pytest.mark.usefixtures('walked')

AOR = '<sip:bob@biloxi.example.com>'


class Registrar:
    """Keeps the bindings of one address-of-record; ``answers`` are given before it does what it should."""

    def __init__(self, world: World, name: str = 'registrar', port: int = 5090) -> None:
        self.world = world
        self.party = world.party(name, port)
        self.party.core.configure(allow=[*self.party.core.allow, 'REGISTER'])
        self.party.on['REGISTER'] = self.on_register
        self.bindings: dict[str, str] = {}
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.extra: dict[str, str] = {}
        self.requests: list[Request] = []
        self.digest: DigestServer | None = None
        self.granted = 3600
        self.silent = False

    @property
    def place(self) -> Place:
        return Place(f'sip:127.0.0.1:{self.party.point.address[1]}')

    def on_register(self, event: Event) -> None:
        request: Any = event.message
        self.requests.append(request)
        core = self.party.core
        if self.silent:
            return
        if self.answers:
            code, fields = self.answers.pop(0)
            core.respond(event.exchange, code, self.world.now, headers=list(fields.items()))
            return
        if self.digest is not None:
            verdict = self.digest.check(request, {'bob': 'zanzibar'}.get, self.world.now)
            if not verdict.ok:
                fields = [(self.digest.challenge_field, text)
                          for text in self.digest.challenge(self.world.now, stale=verdict.stale)]
                core.respond(event.exchange, self.digest.code, self.world.now, headers=fields)
                return
        expires = request.expires
        for contact in request.contacts:
            text = str(contact.uri)
            if contact.is_star:
                self.bindings.clear()
            elif (contact.expires if contact.expires is not None else expires) == 0:
                self.bindings.pop(text, None)
            else:
                self.bindings[text] = contact.param_text.replace(';expires=7200', '')
        fields = [('Contact', f'<{uri}>{tail};expires={min(expires or 3600, self.granted)}')
                  for uri, tail in self.bindings.items()]
        core.respond(event.exchange, 200, self.world.now, headers=[*fields, *self.extra.items()])


@pytest.fixture
def registrar(world: World) -> Registrar:
    return Registrar(world)


@pytest.fixture
def bob(world: World) -> Party:
    return world.party('bob', 5080)


def begin(bob: Party, *registrars: Registrar, **options: Any) -> Registration:
    places = options.pop('places', [registrar.place for registrar in registrars])
    return Registration(bob.core, AOR, places, user='bob', **options)


def register(world: World, bob: Party, *registrars: Registrar, seconds: float = 1.0, **options: Any) -> Registration:
    registration = begin(bob, *registrars, **options)
    registration.register(world.now)
    world.run(seconds)
    return registration


def said(world: World) -> list[str]:
    """What bob was told."""
    return [line.removeprefix('bob: ') for line in world.ladder(arrows=False, events=True) if line.startswith('bob')]


def refresh_time(registration: Registration) -> float:
    assert registration._retry is not None
    return registration._retry.deadline


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


def test_rfc3665_2_2_update_of_contact_list(world: World, bob: Party, guarded: Registrar) -> None:
    registration = register(world, bob, guarded, credentials=('bob', 'zanzibar'))
    world.ladder()
    registration.change_contacts([None, parse_name_addr('<mailto:bob@biloxi.example.com>')])
    registration.register(world.now)
    world.run()
    assert world.ladder() == lines("""
        bob -> registrar: REGISTER
        registrar -> bob: 200 REGISTER
    """)
    assert sorted(guarded.bindings) == ['mailto:bob@biloxi.example.com', 'sip:bob@127.0.0.1:5080']
    registration.change_contacts([None])
    registration.register(world.now)
    world.run()
    assert guarded.requests[-1].get_all('Contact') == ['<sip:bob@127.0.0.1:5080>',
                                                       '<mailto:bob@biloxi.example.com>;expires=0']
    assert list(guarded.bindings) == ['sip:bob@127.0.0.1:5080']


def test_contacts_with_times_of_their_own(world: World, bob: Party, registrar: Registrar) -> None:
    cell, desk = (parse_name_addr(f'<sip:{name}@10.0.0.1>;expires=600;q=0.5') for name in ('cell', 'desk'))
    registration = register(world, bob, registrar, contacts=[cell, desk])
    assert sorted(registrar.bindings) == ['sip:cell@10.0.0.1', 'sip:desk@10.0.0.1']
    registration.change_contacts([cell])
    registration.register(world.now)
    world.run()
    assert list(registrar.bindings) == ['sip:cell@10.0.0.1']
    registration.unregister(world.now)
    world.run()
    assert registrar.bindings == {}


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


@pytest.mark.parametrize(('contact', 'expires', 'granted'), [
    ('<sip:bob@127.0.0.1:5080>;expires=600', None, 600),
    ('<sip:bob@127.0.0.1:5080>', '700', 700),
    ('<sip:bob@127.0.0.1:5080>', None, 3600),
    ('<sip:other@10.0.0.1>;expires=100, <sip:bob@127.0.0.1:5080>;expires=500', None, 500),
    ('<sip:alg@10.0.0.1>;expires=100', None, 100),
    ('<sip:bob@127.0.0.1:5080>;expires=junk', None, 3600),
    ('<sip:bob@127.0.0.1:5080>;expires=0', None, 3600),
    (None, None, 3600),
    (None, 'junk', 3600),
    (None, '0', 3600),
])
def test_what_was_granted(world: World, bob: Party, registrar: Registrar, contact: str | None, expires: str | None,
                          granted: int) -> None:
    fields = {name: text for name, text in (('Contact', contact), ('Expires', expires)) if text is not None}
    registrar.answers.append((200, fields))
    registration = register(world, bob, registrar)
    assert (registration.state, registration.granted) == ('registered', granted)


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

def test_only_our_own_contact_is_removed(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.bindings['sip:other@127.0.0.1'] = ''
    registration = register(world, bob, registrar)
    assert registration.unregister(world.now)
    world.run()
    last = registrar.requests[-1]
    assert (last.get('Contact'), last.expires) == ('<sip:bob@127.0.0.1:5080>', 0)
    assert list(registrar.bindings) == ['sip:other@127.0.0.1']
    assert not registration.unregister(world.now)


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


# -- Service-Route, Path, P-Associated-URI (RFC 3608, 3327, 7315)

def test_what_else_a_2xx_says(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Service-Route': '<sip:p1.example.com;lr>, <sip:p2.example.com;lr>',
                       'Path': '<sip:edge.example.com;lr>', 'P-Associated-URI': '<tel:+15551234>'}
    registration = register(world, bob, registrar)
    assert registration.service_route == ('<sip:p1.example.com;lr>', '<sip:p2.example.com;lr>')
    assert [str(uri) for uri in registration.associated] == ['<tel:+15551234>']
    registrar.extra = {'Service-Route': '<broken'}
    registration.register(world.now)
    world.run()
    assert (registration.state, registration.service_route) == ('registered', ())


def test_a_service_route_goes_with_the_registration(world: World, bob: Party, registrar: Registrar) -> None:
    """RFC 3608 6.1: it is that of "the most recent successful registration"."""
    registrar.extra = {'Service-Route': '<sip:p1.example.com;lr>'}
    registration = register(world, bob, registrar)
    assert registration.service_route == ('<sip:p1.example.com;lr>',)
    registrar.answers.append((403, {}))
    registration.register(world.now)
    world.run()
    assert (registration.state, registration.service_route) == ('unregistered', ())


def test_the_route_leads_to_the_registrar(world: World, bob: Party, registrar: Registrar) -> None:
    register(world, bob, places=[Place('sip:example.com', ('<sip:127.0.0.1:5090;lr>',))])
    assert str(registrar.requests[0].uri) == 'sip:example.com'
    assert registrar.requests[0].get('Route') == '<sip:127.0.0.1:5090;lr>'


# -- outbound and GRUU (RFC 5626, 5627)

INSTANCE = 'urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF'


def test_outbound_is_asked_for(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.extra = {'Require': 'outbound', 'Flow-Timer': '25'}
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=2)
    request = registrar.requests[0]
    assert request.get('Contact') == f'<sip:bob@127.0.0.1:5080;ob>;+sip.instance="<{INSTANCE}>";reg-id=2'
    assert request.supported == ['path', 'outbound']
    assert (registration.outbound_active, registration.flow_timer) == (True, 25)


def test_a_registrar_without_outbound(world: World, bob: Party, registrar: Registrar) -> None:
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1)
    assert (registration.state, registration.outbound_active) == ('registered', False)


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


def test_gruus(world: World, bob: Party, registrar: Registrar) -> None:
    registration = begin(bob, registrar, instance=INSTANCE, gruu=True)
    mine = (f'<sip:bob@127.0.0.1:5080>;+sip.instance="<{INSTANCE}>";expires=600'
            ';pub-gruu="sip:bob@example.com;gr=urn:uuid:1";temp-gruu="sip:tgruu.7hs@example.com;gr"')
    other = '<sip:bob@10.0.0.1>;+sip.instance="<urn:uuid:other>";expires=7'
    registrar.answers.append((200, {'Contact': f'{other}, {mine}'}))
    registration.register(world.now)
    world.run()
    assert registrar.requests[0].supported == ['path', 'gruu']
    assert registration.public_gruu == 'sip:bob@example.com;gr=urn:uuid:1'
    assert registration.temporary_gruu == 'sip:tgruu.7hs@example.com;gr'
    assert registration.granted == 600
    registrar.answers.append((200, {'Contact': mine.replace('sip:bob@example.com', 'junk').replace('tgruu.7hs', 't2')}))
    registration.register(world.now)
    world.run()
    assert registration.public_gruu == 'sip:bob@example.com;gr=urn:uuid:1'
    assert registration.temporary_gruu == 'sip:tgruu.t2@example.com;gr' or 't2@' in registration.temporary_gruu
    registration.unregister(world.now)
    world.run()
    assert (registration.public_gruu, registration.temporary_gruu) == ('', '')


# -- keep (RFC 6223)

@pytest.mark.parametrize(('answer', 'kept'), [('keep=30', 30), ('keep', None), ('keep=junk', None), ('', None)])
def test_keep_is_offered(world: World, bob: Party, registrar: Registrar, answer: str, kept: int | None) -> None:
    registration = begin(bob, registrar, keep=True)
    registration.register(world.now)
    world.rule = lambda source, target, message: source == 'registrar'
    world.run(0.1)
    request = registrar.requests[0]
    assert ';keep;' in request.get('Via')
    response = next(message for source, _, message in world.messages if source == 'registrar')
    response.set('Via', response.get('Via').replace(';keep;', f';{answer};' if answer else ';'))
    world.inject(response.to_bytes(), ('127.0.0.1', 5090), bob)
    assert registration.kept == kept


# -- behind a NAT (RFC 3581)

@pytest.fixture
def hidden(world: World) -> Party:
    """Who is at 192.168.1.2:5060 as far as he knows, and at 127.0.0.1:5080 to others."""
    bob = world.party('bob', 5080)
    bob.core.points[:] = [Point('UDP', ('127.0.0.1', 5080), advertised=('192.168.1.2', 5060))]
    return bob


INSIDE, OUTSIDE = '<sip:bob@192.168.1.2:5060>', '<sip:bob@127.0.0.1:5080>'


def test_the_address_that_the_registrar_sees_is_registered(world: World, hidden: Party, registrar: Registrar) -> None:
    registration = register(world, hidden, registrar, nat=True)
    first, second = registrar.requests
    assert first.get_all('Contact') == [INSIDE]
    assert second.get_all('Contact') == [OUTSIDE, f'{INSIDE};expires=0']
    assert list(registrar.bindings) == ['sip:bob@127.0.0.1:5080']
    assert (registration.contact, said(world)) == (OUTSIDE, ['registered registered', 'refreshed refreshed'])
    world.run(3600)
    assert registrar.requests[2].get_all('Contact') == [OUTSIDE] and len(registrar.requests) == 3
    registration.unregister(world.now)
    world.run()
    assert registrar.bindings == {} and registration.mapped is None


def test_a_challenge_tells_it_before_anything_is_registered(world: World, hidden: Party, registrar: Registrar) -> None:
    registrar.digest = DigestServer('example.com', b'secret')
    register(world, hidden, registrar, nat=True, credentials=('bob', 'zanzibar'))
    assert [request.get_all('Contact') for request in registrar.requests] == [[INSIDE], [OUTSIDE]]


def test_who_does_not_ask_for_it_registers_his_own_address(world: World, hidden: Party, registrar: Registrar) -> None:
    register(world, hidden, registrar)
    assert [request.get_all('Contact') for request in registrar.requests] == [[INSIDE]]


def test_a_nat_that_has_another_address_each_time(world: World, hidden: Party, registrar: Registrar) -> None:
    registration = begin(hidden, registrar, nat=True)
    ports = iter(range(20_000, 30_000))

    def remap(source: str, target: str, message: Any) -> bool:
        if source == 'registrar':
            text = message.get('Via').replace('rport=5080', f'rport={next(ports)}')
            message.set('Via', text)
            world.inject(message.to_bytes(), ('127.0.0.1', 5090), hidden)
            return True
        return False

    world.rule = remap
    registration.register(world.now)
    world.run(30)
    # Twice is enough: what came then stays until the next refresh.
    assert len(registrar.requests) == 3 and registration.state == 'registered'


def test_no_address_is_taken_from_nonsense(world: World, hidden: Party, registrar: Registrar) -> None:
    registration = register(world, hidden, registrar, nat=True)
    response = registration.response
    assert response is not None
    mapped = registration.mapped
    for via in ('', 'x', 'SIP/2.0/UDP a.example.com;branch=z9hG4bK1', 'SIP/2.0/UDP 1.2.3.4;received=x;rport=7'):
        response.set('Via', via)
        note_mapping(registration, hidden.core.points[0], response)
        assert registration.mapped == mapped


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


def test_sips_where_tls_leads_to_the_registrar(bob: Party, registrar: Registrar) -> None:
    registration = begin(bob, registrar)
    point = Point('TLS', ('127.0.0.1', 5061), reliable=True, secure=True)
    assert own_contact(registration, point, True) == '<sips:bob@127.0.0.1:5061>'
    assert own_contact(registration, point) == '<sip:bob@127.0.0.1:5061;transport=tls>'
    assert own_contact(registration, Point('WSS', ('127.0.0.1', 443), secure=True), True) == (
        '<sips:bob@127.0.0.1:443;transport=ws>')


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


NONSENSE = ('', ';', '<', '"', '<sip:', 'sip:a@[::1', '-1', '99999999999999999999', ';;=', '@@@', '*', ',,,', '\x01')


@pytest.mark.parametrize('code', [200, 302, 423, 439, 503])
@pytest.mark.parametrize('name', ['Contact', 'Expires', 'Min-Expires', 'Require', 'Service-Route', 'P-Associated-URI',
                                  'Flow-Timer', 'Retry-After', 'Path', 'Date', 'Authentication-Info', 'Supported'])
def test_any_broken_value(world: World, bob: Party, registrar: Registrar, code: int, name: str) -> None:
    for nonsense in NONSENSE:
        registration = begin(bob, registrar, instance=INSTANCE, reg_id=1, gruu=True)
        registrar.answers.append((code, {name: nonsense}))
        registration.register(world.now)
        world.run(40)
        # A 2xx that cannot be read might as well not have come: then the registrar's next answer counts, or the time.
        assert registration.state in ('registered', 'unregistered', 'waiting'), nonsense
        registration.unregister(world.now)
        world.run(40)
        assert registration.state == 'unregistered'
    registrar.answers.clear()
    assert bob.core.registrations == set()
    world.run(100)
    assert world.idle()


def test_every_arrow_was_walked(request: pytest.FixtureRequest, walked: set[tuple[str, str, str]]) -> None:
    """Kept last: together the stories above go along each row."""
    assert never_walked(request, walked, Registration) == []
