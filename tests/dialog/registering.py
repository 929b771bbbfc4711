"""A registrar that does what the test says, and registrations at it."""

from __future__ import annotations

from typing import Any

from greensip.dialog import Event, Place, Registration
from greensip.message import Request
from greensip.message.digest import DigestServer

from .conftest import Party, World

AOR = '<sip:bob@biloxi.example.com>'
INSTANCE = 'urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF'


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
