"""The REGISTER, and the contact that it has of us: RFC 3261 10.2.1 and 10.2.2, RFC 3581, RFC 5630."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.dialog.register import note_mapping, own_contact
from greensip.message import parse_name_addr
from greensip.message.digest import DigestServer
from greensip.transaction.flow import Point

from .conftest import Party, World, lines
from .registering import Registrar, begin, register, said


@pytest.fixture
def registrar(world: World) -> Registrar:
    return Registrar(world)


@pytest.fixture
def guarded(registrar: Registrar) -> Registrar:
    registrar.digest = DigestServer('atlanta.example.com', b'secret', nonce_life=100_000)
    return registrar


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


def test_only_our_own_contact_is_removed(world: World, bob: Party, registrar: Registrar) -> None:
    registrar.bindings['sip:other@127.0.0.1'] = ''
    registration = register(world, bob, registrar)
    assert registration.unregister(world.now)
    world.run()
    last = registrar.requests[-1]
    assert (last.get('Contact'), last.expires) == ('<sip:bob@127.0.0.1:5080>', 0)
    assert list(registrar.bindings) == ['sip:other@127.0.0.1']
    assert not registration.unregister(world.now)


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


def test_sips_where_tls_leads_to_the_registrar(bob: Party, registrar: Registrar) -> None:
    registration = begin(bob, registrar)
    point = Point('TLS', ('127.0.0.1', 5061), reliable=True, secure=True)
    assert own_contact(registration, point, True) == '<sips:bob@127.0.0.1:5061>'
    assert own_contact(registration, point) == '<sip:bob@127.0.0.1:5061;transport=tls>'
    assert own_contact(registration, Point('WSS', ('127.0.0.1', 443), secure=True), True) == (
        '<sips:bob@127.0.0.1:443;transport=ws>')
    # RFC 5626 4.3: with outbound the flow counts, whatever the scheme
    flowing = begin(bob, registrar, instance='urn:uuid:1', reg_id=1)
    assert own_contact(flowing, point, True) == '<sips:bob@127.0.0.1:5061;ob>'
    assert own_contact(flowing, point) == '<sip:bob@127.0.0.1:5061;transport=tls;ob>'
