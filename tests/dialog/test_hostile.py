"""A peer that means harm: what it says is broken in its details, comes at any moment and in any order.

Nothing of it may raise, the end of a call is always told last, and nothing is left when all is over.
"""

from __future__ import annotations

import random

import pytest

from greensip.dialog import ENDED, FORKED, INCOMING, REQUEST
from greensip.dialog.routing import Target
from greensip.errors import ConnectError, GreensipError, ParseError
from greensip.message import Request, parse_message
from greensip.transaction.flow import Flow

from .conftest import Party, World

PEER = ('127.0.0.1', 5080)
SDP = b'v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
NAMES = (
    'Via', 'From', 'To', 'Call-ID', 'CSeq', 'Contact', 'Record-Route', 'Route', 'Content-Type',
    'Content-Disposition', 'Content-Encoding', 'Require', 'Supported', 'Accept', 'WWW-Authenticate',
    'Proxy-Authenticate', 'Authentication-Info', 'Max-Forwards', 'Reason', 'Retry-After', 'RSeq', 'RAck', 'Expires',
)  # fmt: skip
TEXTS = (
    '"a<b>" <sip:x@127.0.0.1;lr>', '<tel:+12>', '<sip:h?x=y>', 'nonsense', '', '<sips:a@b>', '*', '<urn:x:y>',
    '<sip:a@[::1]:5060;transport=TCP>', 'sip:a@b;tag=q', '<sip:127.0.0.1;maddr=[::9];lr>', '<sip:127.0.0.1:0>',
    '<sip:%41@127.0.0.1;method=x;METHOD=y?a>', '<sip:127.0.0.1;lr>,<sip:127.0.0.2>', '<sip:é@h;lr>', '\x7f\x01',
    'application/sdp', 'multipart/mixed;boundary=x', '1 INVITE', '0 ACK', '2147483647 BYE', '"\\', '9' * 500,
    'SIP/2.0/UDP 127.0.0.1;maddr=x;rport;rport=1', 'Basic x', 'Digest realm="x", nonce="y"',
    'Digest realm="x",nonce="é",algorithm=SHA-256,qop="auth-int"',
)  # fmt: skip
BODIES = (b'', SDP, b'--x\r\nno', b'--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--', b'\xff' * 20)
CODES = (100, 180, 183, 183, 199, 200, 200, 200, 202, 301, 401, 407, 404, 481, 487, 488, 491, 500, 603)
METHODS = ('BYE', 'INVITE', 'UPDATE', 'INFO', 'OPTIONS', 'ACK', 'CANCEL', 'FOO', 'MESSAGE', 'PRACK', 'UPDATE')


class Siege:
    """One core, its calls, and somebody who draws what happens next."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        self.world = world = World()
        self.us: Party = world.party('us', 5060)
        core = self.us.core
        core.configure(supported=draw.choice(((), ('100rel', '199', 'timer'))), allow=[*core.allow, 'PRACK'])
        self.usage = self.us.core.invite(
            'sip:bob@127.0.0.1:5080',
            world.now,
            from_=self.us.uri,
            body=draw.choice((SDP, b'')),
            credentials=draw.choice((None, ('a', 'b'))),
            auto_ack=draw.random() < 0.7,
            auto_prack=draw.random() < 0.7,
            expires=draw.choice((None, None, 3)),
        )
        world.flush()

    def harm(self, lines: list[str], body: bytes) -> None:
        """A message arrives with up to three of its fields missing, doubled or damaged."""
        draw = self.draw
        for _ in range(draw.choice((0, 1, 1, 2, 3))):
            name = draw.choice(NAMES)
            at = next((i for i, line in enumerate(lines) if line.startswith(f'{name}:')), None)
            what = draw.randrange(4)
            if at is None or what == 0:
                lines.append(f'{name}: {draw.choice(TEXTS)}')
            elif what == 1:
                lines[at] = f'{name}: {draw.choice(TEXTS)}'
            elif what == 2:
                del lines[at]
            else:
                cut = draw.randrange(len(name) + 2, len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + draw.choice('<>";,? \\é%@:') + lines[at][cut:]
        data = '\r\n'.join(lines).encode() + b'\r\n\r\n' + (draw.choice(BODIES) if draw.random() < 0.2 else body)
        flow = Flow(self.us.point, PEER)
        try:
            message = parse_message(data)
        except ParseError as error:
            self.us.core.receive_broken(error, flow, self.world.now)
        else:
            self.us.core.receive(message, flow, self.world.now)

    def respond(self) -> None:
        asked = [m for _, _, m in self.world.messages if isinstance(m, Request) and m.method != 'ACK']
        if asked:
            request, tag = self.draw.choice(asked[-3:]), self.draw.choice(('peer', 'x', ''))
            to = request.get('To') or ''
            lines = [f'SIP/2.0 {self.draw.choice(CODES)} So']
            lines += [f'{name}: {request.get(name)}' for name in ('Via', 'From', 'Call-ID', 'CSeq')]
            lines += [f'To: {to}' if 'tag=' in to or not tag else f'To: {to};tag={tag}']
            if self.draw.random() < 0.5:
                lines += ['Require: 100rel', f'RSeq: {self.draw.randrange(1, 4)}']
            body = self.draw.choice((SDP, SDP, b''))
            self.harm([*lines, 'Contact: <sip:bob@127.0.0.1:5080>', 'Content-Type: application/sdp'], body)

    def request(self) -> None:
        dialog = self.usage.dialog
        if dialog is not None:
            method, number = self.draw.choice(METHODS), self.draw.randrange(1, 9)
            branch = self.draw.choice((f'{method}{number}', 'INVITE1', 'INVITE5'))
            self.harm(
                [
                    f'{method} sip:us@127.0.0.1 SIP/2.0',
                    f'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK{branch}',
                    f'From: {dialog.remote}',
                    f'To: {dialog.local}',
                    f'Call-ID: {dialog.call_id}',
                    f'CSeq: {number} {method}',
                    'Contact: <sip:bob@127.0.0.1:5080>',
                    'Content-Type: application/sdp',
                    f'RAck: {self.rack()}',
                ],
                self.draw.choice((b'', SDP)),
            )

    def rack(self) -> str:
        """What the peer acknowledges: often what we have sent."""
        reliable = self.usage.reliable
        rseq = reliable.rseq if reliable is not None and self.draw.random() < 0.7 else self.draw.randrange(1, 5)
        cseq = reliable.cseq if reliable is not None else 1
        return f'{rseq} {cseq} INVITE'

    def invite(self) -> None:
        self.harm(
            [
                'INVITE sip:us@127.0.0.1 SIP/2.0',
                f'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKin{self.draw.randrange(3)}',
                'From: <sip:b@b>;tag=f',
                'To: <sip:a@a>',
                'Call-ID: in',
                f'CSeq: {self.draw.randrange(1, 4)} INVITE',
                'Contact: <sip:b@127.0.0.1:5080>',
                'Content-Type: application/sdp',
                f'{self.draw.choice(("Supported", "Require"))}: 100rel',
            ],
            self.draw.choice((b'', SDP)),
        )
        calls = [event.subject for event in self.us.events if event.kind == INCOMING]
        if calls:
            self.usage = calls[-1]
            if self.usage.state in ('incoming', 'early'):
                self.progress()
                self.progress()

    def progress(self) -> None:
        """The program answers a call."""
        code, body = self.draw.choice((180, 183, 200, 200, 486)), self.draw.choice((b'', SDP))
        try:
            self.usage.respond(code, self.world.now, body=body, reliable=self.draw.choice((None, None, True, False)))
        except GreensipError:
            pass

    def say(self) -> None:
        """The program asks for something, whether it is the moment for it or not."""
        usage, now, draw = self.usage, self.world.now, self.draw
        verbs = [
            lambda: usage.bye(now),
            lambda: usage.reinvite(now, SDP, auto_ack=draw.random() < 0.7),
            lambda: usage.send_request(draw.choice(('INFO', 'UPDATE')), now, body=SDP, content_type='application/sdp'),
            lambda: usage.ack(now, SDP),
            lambda: usage.inviting and usage.inviting.cancel(now),
            lambda: usage.postponed and usage.postponed.cancel(now),
            lambda: usage.close(now),
            lambda: usage.unacknowledged and usage.prack(usage.unacknowledged, now, body=draw.choice((b'', SDP))),
            lambda: self.progress(),
        ]
        try:
            draw.choice(verbs)()
        except (GreensipError, AttributeError) as error:
            # There may be nothing to do that with.
            assert not isinstance(error, AttributeError) or 'NoneType' in str(error) or 'respond' in str(error)

    def answer(self) -> None:
        asked = [event for event in self.us.events if event.kind == REQUEST and event.exchange is not None]
        if asked:
            self.answer_all([self.draw.choice(asked)], self.draw.choice((100, 180, 200, 200, 488, 500)))

    def answer_all(self, events, code: int) -> None:
        for event in events:
            try:
                self.us.core.respond(event.exchange, code, self.world.now, body=self.draw.choice((b'', SDP)))
            except GreensipError:
                pass

    def locate(self) -> None:
        while self.us.core.lookups:
            peer = Target('UDP', *PEER)
            targets = self.draw.choice(([peer], [], [Target('UDP', '::1', 5060)], [peer, peer._replace(port=5061)]))
            self.us.core.located(self.us.core.lookups.popleft(), targets, ConnectError('no'), self.world.now)

    def fail(self) -> None:
        data = self.draw.choice(self.world.messages)[2].to_bytes() if self.world.messages else b''
        self.us.core.transport_failed(Flow(self.us.point, PEER), ConnectError('no'), self.world.now, data)

    def wait(self) -> None:
        self.world.run(self.draw.choice((0.1, 1, 5, 40)))

    def end(self) -> None:
        """The program leaves, and time passes."""
        core = self.us.core
        for _ in range(4):
            for usage in list(core.usages):
                # A peer that rings for ever is the program's to end, and its INVITE is not given up by itself.
                usage.close(self.world.now)
            self.answer_all([e for e in self.us.events if e.kind == REQUEST and e.exchange is not None], 500)
            self.world.run(70)
            self.locate()


@pytest.mark.parametrize('seed', range(8))
def test_nothing_raises_and_nothing_is_left(seed: int) -> None:
    for number in range(60):
        siege = Siege(1000 * seed + number)
        acts = [siege.respond, siege.respond, siege.respond, siege.request, siege.request, siege.invite, siege.say]
        acts += [siege.answer, siege.locate, siege.fail, siege.wait]
        for _ in range(siege.draw.randrange(2, 14)):
            siege.draw.choice(acts)()
            siege.world.flush()
        siege.end()
        assert not any(siege.us.core.counts().values()), (seed, number)
        ended: list[object] = []
        for event in siege.us.events:
            assert event.kind == FORKED or event.subject is None or event.subject not in ended, (seed, number)
            if event.kind == ENDED:
                ended.append(event.subject)
