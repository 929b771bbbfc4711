"""A peer that means harm, to subscriptions, REFERs and publications: broken in details, at any moment, in any order.

Nothing of it may raise, the end of each is told once and last, and nothing is left when all is over.
"""

from __future__ import annotations

import random

import pytest

from greensip.dialog import ENDED, FORKED, REQUEST
from greensip.dialog.publication import ClientPublication
from greensip.dialog.routing import Target
from greensip.dialog.subscription_client import ClientSubscription
from greensip.dialog.subscription_server import ServerSubscription
from greensip.errors import ConnectError, GreensipError, ParseError
from greensip.message import Request, parse_message
from greensip.transaction.flow import Flow

from .conftest import Party, World
from .test_hostile import TEXTS

PEER = ('127.0.0.1', 5080)
URI = 'sip:bob@127.0.0.1:5080'
NAMES = (
    'Via', 'From', 'To', 'Call-ID', 'CSeq', 'Contact', 'Record-Route', 'Content-Type', 'Event', 'Subscription-State',
    'Expires', 'Min-Expires', 'Retry-After', 'Refer-To', 'Refer-Sub', 'SIP-ETag', 'SIP-If-Match', 'Require', 'Accept',
    'WWW-Authenticate', 'Authentication-Info', 'Allow-Events',
)  # fmt: skip
VALUES = (
    *TEXTS, 'presence', 'presence;id=1', 'refer;id=2', 'refer', 'active', 'active;expires=0', 'pending;expires=3',
    'terminated', 'terminated;reason=deactivated', 'terminated;reason=probation;retry-after=1', 'active;expires=x',
    'terminated;reason=timeout;retry-after=99999999999', ';;', '0', '1', '3', '3600', '4294967296', 'true', 'false',
)  # fmt: skip
CODES = (200, 200, 200, 202, 204, 100, 301, 401, 403, 404, 412, 423, 423, 480, 481, 489, 500, 503, 603)
STATES = ('active', 'active;expires=60', 'pending', 'terminated', 'terminated;reason=deactivated', 'active;expires=0')


class Siege:
    """One core, its subscriptions, and somebody who draws what happens next."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        self.world = world = World()
        self.us: Party = world.party('us', 5060)
        core = self.core = self.us.core
        core.configure(allow=[*core.allow, 'SUBSCRIBE', 'NOTIFY', 'REFER', 'PUBLISH'])
        self.call = core.invite(URI, world.now, from_=self.us.uri, body=b'v=0')
        world.flush()
        self.answer_call()
        self.things = [
            core.subscribe(URI, 'presence', world.now, from_=self.us.uri, expires=draw.choice((0, 5, 600)),
                           accept_forks=draw.random() < 0.5, resubscribe=draw.random() < 0.5,
                           manual=draw.random() < 0.3, credentials=draw.choice((None, ('a', 'b')))),
            core.refer('sip:c@c', world.now, uri=URI, from_=self.us.uri, subscribe=draw.random() < 0.7),
            core.publish(URI, 'presence', b'x', world.now, content_type='a/b', from_=self.us.uri),
        ]
        if self.call.dialog is not None:
            self.things.append(core.refer('sip:c@c', world.now, within=self.call))
            self.things.append(core.subscribe('', 'presence', world.now, within=self.call))
        world.flush()

    def answer_call(self) -> None:
        invite = self.world.messages[0][2]
        lines = [f'{name}: {invite.get(name)}' for name in ('Via', 'From', 'Call-ID', 'CSeq')]
        self.hear(['SIP/2.0 200 OK', *lines, f'To: {invite.get("To")};tag=call', f'Contact: <{URI}>'], b'')
        self.world.flush()

    def hear(self, lines: list[str], body: bytes) -> None:
        data = '\r\n'.join(lines).encode() + b'\r\n\r\n' + body
        flow = Flow(self.us.point, PEER)
        try:
            message = parse_message(data)
        except ParseError as error:
            self.core.receive_broken(error, flow, self.world.now)
        else:
            self.core.receive(message, flow, self.world.now)
        self.world.flush()

    def harm(self, lines: list[str], body: bytes = b'') -> None:
        """A message arrives with some of its fields missing, doubled or damaged."""
        draw = self.draw
        for _ in range(draw.choice((0, 0, 1, 1, 2))):
            name = draw.choice(NAMES)
            at = next((i for i, line in enumerate(lines) if line.startswith(f'{name}:')), None)
            what = draw.randrange(3)
            if at is None or what == 0:
                lines.append(f'{name}: {draw.choice(VALUES)}')
            elif what == 1:
                lines[at] = f'{name}: {draw.choice(VALUES)}'
            else:
                del lines[at]
        self.hear(lines, body)

    def asked(self, *methods: str) -> list[Request]:
        return [m for source, _, m in self.world.messages
                if isinstance(m, Request) and source == 'us' and m.method in methods]

    def respond(self) -> None:
        """To one of our requests."""
        asked = self.asked('SUBSCRIBE', 'REFER', 'PUBLISH', 'NOTIFY')
        if asked:
            request = self.draw.choice(asked[-6:])
            to = request.get('To') or ''
            lines = [f'SIP/2.0 {self.draw.choice(CODES)} So']
            lines += [f'{name}: {request.get(name)}' for name in ('Via', 'From', 'Call-ID', 'CSeq')]
            lines += [f'To: {to}' if 'tag=' in to else f'To: {to};tag={self.draw.choice("pq")}', f'Contact: <{URI}>']
            lines += self.draw.choice(([], ['Expires: 60'], ['SIP-ETag: e'], ['Min-Expires: 90'], ['Retry-After: 5']))
            self.harm(lines)

    def notify(self) -> None:
        """Of a subscription of ours, or of one that never was."""
        asked = self.asked('SUBSCRIBE', 'REFER')
        if not asked:
            return
        draw, request = self.draw, self.draw.choice(asked[-6:])
        number, tag = draw.randrange(1, 30), draw.choice('ppq')
        remote = request.get('To') if request.to_tag else f'{request.get("To")};tag={tag}'
        event = (request.get('Event') or 'refer') if request.method == 'SUBSCRIBE' else draw.choice(
            ('refer', f'refer;id={request.cseq.number}'))
        self.harm([
            'NOTIFY sip:us@127.0.0.1 SIP/2.0', f'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKn{number}{tag}',
            f'From: {remote}', f'To: {request.get("From")}', f'Call-ID: {request.call_id}', f'CSeq: {number} NOTIFY',
            f'Contact: <{URI}>', f'Event: {event}', f'Subscription-State: {draw.choice(STATES)}',
        ], draw.choice((b'', b'SIP/2.0 200 OK', b'\xff')))

    def ask(self) -> None:
        """Of us: a subscription, outside or in a dialog that there is."""
        draw = self.draw
        method, number = draw.choice(('SUBSCRIBE', 'SUBSCRIBE', 'REFER')), draw.randrange(1, 40)
        dialogs = list(self.core.dialogs.values())
        if dialogs and draw.random() < 0.6:
            dialog = draw.choice(dialogs)
            from_, to, call_id = dialog.remote, dialog.local, dialog.call_id
        else:
            from_, to, call_id = f'<{URI}>;tag=f', '<sip:us@127.0.0.1>', f'c{draw.randrange(6)}'
        self.harm([
            f'{method} sip:us@127.0.0.1 SIP/2.0', f'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKs{method}{number}',
            f'From: {from_}', f'To: {to}', f'Call-ID: {call_id}', f'CSeq: {number} {method}', f'Contact: <{URI}>',
            f'Event: {draw.choice(("presence", "presence;id=1", "dialog"))}',
            f'Expires: {draw.choice((0, 1, 60, 9999))}', 'Refer-To: <sip:c@c>',
            *draw.choice(([], ['Refer-Sub: false'])),
        ])

    def take(self) -> None:
        """The program answers what was asked."""
        draw, now = self.draw, self.world.now
        asked = [event for event in self.us.events
                 if event.kind == REQUEST and event.exchange is not None and event.label in ('SUBSCRIBE', 'REFER')]
        if not asked:
            return
        try:
            server = self.core.incoming_subscription(draw.choice(asked[-3:]).exchange, now)
        except GreensipError:
            return
        self.things.append(server)
        try:
            verb = draw.choice(('accept', 'accept', 'pend', 'reject', 'suppress', 'nothing'))
            if verb == 'accept':
                server.accept(now, draw.choice((None, 3)), body=draw.choice((b'', b'x')), content_type='a/b')
            elif verb == 'pend':
                server.pend(now)
            elif verb == 'reject':
                server.reject(now, 403)
            elif verb == 'suppress':
                server.accept(now, subscription=False)
        except GreensipError:
            pass

    def say(self) -> None:
        """The program asks for something, whether it is the moment for it or not."""
        draw, now, thing = self.draw, self.world.now, self.draw.choice(self.things)
        if isinstance(thing, ClientSubscription):
            verbs = [lambda: thing.refresh(now, draw.choice((None, 1, 60))), lambda: thing.unsubscribe(now),
                     lambda: thing.abandon(now), lambda: thing.close(now)]
        elif isinstance(thing, ServerSubscription):
            verbs = [lambda: thing.notify(now, b'y', 'a/b'), lambda: thing.activate(now, b'z', 'a/b'),
                     lambda: thing.terminate(now, 'giveup', 3), lambda: thing.close(now),
                     lambda: thing.accept(now), lambda: thing.reject(now, 603)]
        else:
            assert isinstance(thing, ClientPublication)
            verbs = [lambda: thing.modify(now, b'y', 'a/b'), lambda: thing.refresh(now), lambda: thing.remove(now)]
        try:
            draw.choice(verbs)()
        except GreensipError:
            pass
        self.world.flush()

    def answer(self) -> None:
        """NOTIFYs that the program answers itself, and all the rest."""
        asked = [event for event in self.us.events if event.kind == REQUEST and event.exchange is not None]
        if asked:
            try:
                self.core.respond(self.draw.choice(asked).exchange, self.draw.choice((200, 481, 500)), self.world.now)
            except GreensipError:
                pass

    def hang_up(self) -> None:
        if self.draw.random() < 0.3:
            self.call.close(self.world.now)

    def fail(self) -> None:
        data = self.draw.choice(self.world.messages)[2].to_bytes()
        self.core.transport_failed(Flow(self.us.point, PEER), ConnectError('no'), self.world.now, data)

    def locate(self) -> None:
        while self.core.lookups:
            targets = self.draw.choice(([Target('UDP', *PEER)], [], [Target('UDP', '::1', 5060)]))
            self.core.located(self.core.lookups.popleft(), targets, ConnectError('no'), self.world.now)

    def wait(self) -> None:
        self.world.run(self.draw.choice((0.1, 1, 5, 40)))

    def end(self) -> None:
        """The program leaves, and time passes."""
        for _ in range(4):
            now = self.world.now
            for thing in [*self.core.usages, *self.core.subscriptions.living, *self.core.publications]:
                thing.close(now)
            self.locate()
            self.world.run(70)


@pytest.mark.parametrize('seed', range(8))
def test_nothing_raises_and_nothing_is_left(seed: int) -> None:
    for number in range(50):
        siege = Siege(seed * 1000 + number)
        steps = [siege.respond, siege.respond, siege.notify, siege.notify, siege.ask, siege.take, siege.say, siege.say,
                 siege.answer, siege.wait, siege.hang_up, siege.fail, siege.locate]
        for _ in range(30):
            siege.draw.choice(steps)()
        siege.end()
        core = siege.core
        assert not any(core.counts().values()), (seed, number, core.counts())
        subscriptions = core.subscriptions
        assert not (subscriptions.sharing or subscriptions.awaited or core.publications), (seed, number)
        ended: set[int] = set()
        for event in siege.us.events:
            if event.kind == FORKED:
                continue
            assert id(event.subject) not in ended, (seed, number, event)
            if event.kind == ENDED:
                ended.add(id(event.subject))
        assert {id(thing) for thing in siege.things} <= ended, (seed, number)
