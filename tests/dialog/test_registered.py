"""What the 2xx to a REGISTER says: RFC 3261 10.2.4, RFC 3608, RFC 7315, RFC 5627."""

from __future__ import annotations

import pytest

from .conftest import Party, World
from .registering import INSTANCE, Registrar, begin, register


@pytest.fixture
def registrar(world: World) -> Registrar:
    return Registrar(world)


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


def test_a_registrar_without_outbound(world: World, bob: Party, registrar: Registrar) -> None:
    registration = register(world, bob, registrar, instance=INSTANCE, reg_id=1)
    assert (registration.state, registration.outbound_active) == ('registered', False)


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
