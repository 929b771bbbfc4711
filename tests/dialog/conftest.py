"""A world without sockets and clocks in which cores talk: messages take 10 ms, time is a number."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from textwrap import dedent
from typing import Any

import pytest

from greensip.dialog import ENDED, INCOMING, Core, Event
from greensip.fsm import Machine, Row
from greensip.fsm import log as fsm_log
from greensip.message import Message, Request, Response, parse_message
from greensip.transaction.flow import Flow, Point
from greensip.transaction.settings import Settings

LATENCY = 0.01
OFFER = b'v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
ANSWER = OFFER.replace(b'4000', b'5000')


@pytest.fixture(scope='module')
def walked() -> Iterator[set[tuple[str, str, str]]]:
    """The arrows that machines go along while a module's tests run, as they log them: class, state, event.

    A module asks for it with ``pytestmark = pytest.mark.usefixtures('walked')``.
    """
    arrows: set[tuple[str, str, str]] = set()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            machine, state, event, _ = record.args
            arrows.add((type(machine).__name__, str(state), event))

    collector, level = Collector(), fsm_log.level
    fsm_log.addHandler(collector)
    fsm_log.setLevel(logging.DEBUG)
    try:
        yield arrows
    finally:
        fsm_log.removeHandler(collector)
        fsm_log.setLevel(level)


def never_walked(
    request: pytest.FixtureRequest, walked: set[tuple[str, str, str]], *machines: type[Machine],
    wanted: Callable[[Row], bool] = lambda row: True,
) -> list[str]:
    """The wanted rows that no test of this module went along; asked by the last one.  Skips if only some were run."""
    here = {item.originalname for item in request.session.items
            if item.path == request.path and isinstance(item, pytest.Function)}
    if len(here) < request.path.read_text().count('\ndef test_'):
        pytest.skip('only some of the ladders were run')
    return [f'{machine.__name__}: {row.state}, {row.event}' for machine in machines for row in machine.rows
            if wanted(row) and (machine.__name__, row.state, row.event) not in walked]


def name_of(message: Message) -> str:
    """How a ladder writes a message: ``INVITE``, ``200 INVITE``."""
    if isinstance(message, Request):
        return message.method
    assert isinstance(message, Response)
    return f"{message.code} {(message.get('CSeq') or '?').split()[-1]}"


class Party:
    """A core with a name; remembers its events and answers what its ``on`` table says."""

    def __init__(self, world: World, name: str, port: int) -> None:
        self.world = world
        self.name = name
        self.core = Core(Settings(), random=random.Random(port))
        self.point = Point('UDP', ('127.0.0.1', port))
        self.core.points.append(self.point)
        self.events: list[Event] = []
        self.on: dict[str, Callable[[Event], None]] = {}

    @property
    def uri(self) -> str:
        return f'sip:{self.name}@127.0.0.1:{self.point.address[1]}'

    def take_events(self) -> None:
        while self.core.events:
            event = self.core.events.popleft()
            self.events.append(event)
            text = f'{self.name}: {event.kind} {event.name}'
            if event.kind == ENDED:
                text = f'{self.name}: ended {type(event.error).__name__}'
            elif event.kind in ('incoming', 'failed', 'forked'):
                text = f'{self.name}: {event.kind}'
            self.world.note(text)
            handler = self.on.get(event.kind if event.kind == INCOMING else event.name)
            if handler is not None:
                handler(event)

    def last(self, kind: str) -> Event:
        return [event for event in self.events if event.kind == kind][-1]


class World:
    """Cores, what is between them, and what happened as lines of a ladder."""

    def __init__(self) -> None:
        self.now = 100.0
        self.parties: dict[tuple[str, int], Party] = {}
        self.wire: list[tuple[float, int, bytes, tuple[str, int], tuple[str, int]]] = []
        self.lines: list[str] = []
        self.sent = 0
        #: asked for each message with (from, to, message): True loses it, a number delays it by so many seconds
        self.rule: Callable[[str, str, Message], bool | float] = lambda source, target, message: False
        self.messages: list[tuple[str, str, Message]] = []

    def party(self, name: str, port: int) -> Party:
        party = Party(self, name, port)
        self.parties['127.0.0.1', port] = party
        return party

    def note(self, line: str) -> None:
        self.lines.append(line)

    def inject(self, data: bytes, source: tuple[str, int], target: Party) -> None:
        """A message from somebody who is no party."""
        flow = Flow(target.point, source)
        target.core.receive(parse_message(data), flow, self.now)
        self.flush()

    def flush(self) -> None:
        """Take what the cores want to send and say."""
        busy = True
        while busy:
            busy = False
            for address, party in self.parties.items():
                while party.core.outgoing:
                    busy = True
                    data, flow = party.core.outgoing.popleft()
                    self._post(party, address, data, flow)
                if party.core.events:
                    busy = True
                    party.take_events()

    def _post(self, party: Party, address: tuple[str, int], data: bytes, flow: Flow) -> None:
        message = parse_message(data)
        peer = self.parties.get(flow.remote)
        target = peer.name if peer is not None else f'{flow.remote[0]}:{flow.remote[1]}'
        self.messages.append((party.name, target, message))
        verdict = self.rule(party.name, target, message)
        lost = verdict is True
        self.note(f'{party.name} {"-x" if lost else "->"} {target}: {name_of(message)}')
        if not lost and peer is not None:
            self.sent += 1
            self.wire.append((self.now + LATENCY + float(verdict), self.sent, data, address, flow.remote))

    def run(self, seconds: float = 1.0) -> None:
        """Let so much time pass; everything due meanwhile happens in order."""
        end = self.now + seconds
        self.flush()
        while True:
            due = [party.core.next_timer() for party in self.parties.values()]
            moments = [moment for moment in due if moment is not None] + [entry[0] for entry in self.wire]
            moment = min(moments, default=None)
            if moment is None or moment > end:
                break
            self.now = max(self.now, moment)
            for entry in sorted(entry for entry in self.wire if entry[0] <= self.now):
                self.wire.remove(entry)
                _, _, data, source, target = entry
                party = self.parties[target]
                party.core.receive(parse_message(data), Flow(party.point, source), self.now)
                self.flush()
            for party in self.parties.values():
                party.core.handle_timers(self.now)
            self.flush()
        self.now = end

    def ladder(self, *, arrows: bool = True, events: bool = False) -> list[str]:
        """The lines so far, and forget them."""
        lines = [
            line
            for line in self.lines
            if ((' -> ' in line or ' -x ' in line) and arrows)
            or (': ' in line and events and ' -> ' not in line and ' -x ' not in line)
        ]
        self.lines.clear()
        return lines

    def idle(self) -> bool:
        """Whether nothing is left of any call."""
        return all(not any(party.core.counts().values()) for party in self.parties.values())


def lines(text: str) -> list[str]:
    """A ladder written as a text block."""
    return [line.strip() for line in dedent(text).strip().splitlines()]


@pytest.fixture
def world() -> World:
    return World()


# Alice calls, and bob answers


def answer(party: Party, usage: Any) -> None:
    usage.respond(180, party.world.now)
    usage.respond(200, party.world.now, body=ANSWER)


def speaks(party: Party, *tags: str) -> Party:
    """A party that knows the extensions; its PRACKs and UPDATEs are answered as a program would."""
    core = party.core
    core.configure(supported=tags, allow=[*core.allow, 'PRACK'])

    def prack(event):
        session = event.subject.session
        offered = session is not None and session.state == 'offer received'
        core.respond(event.exchange, 200, party.world.now, body=ANSWER if offered else b'')

    party.on['PRACK'] = prack
    party.on['UPDATE'] = lambda event: core.respond(
        event.exchange, 200, party.world.now, body=ANSWER if event.message.body else b'')
    return party


@pytest.fixture
def tags() -> Sequence[str]:
    """The extensions that they know; a module that is about one overrides it, and answers calls by itself."""
    return ()


@pytest.fixture
def alice(world: World, tags: Sequence[str]) -> Party:
    party = world.party('alice', 5060)
    return speaks(party, *tags) if tags else party


@pytest.fixture
def bob(world: World, tags: Sequence[str]) -> Party:
    party = world.party('bob', 5080)
    if tags:
        return speaks(party, *tags)
    party.on['incoming'] = lambda event: answer(party, event.subject)
    return party


@pytest.fixture
def lone(alice: Party) -> Party:
    """Alice, whose peer is played by the test."""
    return alice
