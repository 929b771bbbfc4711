"""Ladders for the transaction layer: what arrives, goes out, is told to the user, and how much time passes, as text.

A ladder is a table of time, sign and text::

    0     v  INVITE              the user asks for it
    0     >  INVITE              goes out
    0     =  Calling             the state that a transaction is in now
    0.5   >  INVITE
    0.7   <  180                 arrives
    0.7   ^  response 180        is told to the user
    0.7   =  Proceeding

``play`` takes the lines with ``<``, ``v``, ``!`` (a transport error; ``! flow``: the connection is gone) and ``.`` (the
time goes on until here), does what they say at their time, and writes down all that happens as a ladder of its own, to
be compared with the given one.

Messages are named by method or code; a code is followed by its CSeq method where that is not the ladder's first
one.  In lines with ``<`` and ``v`` words like ``branch=x`` change the message: ``branch``, ``host`` and ``port`` of the
Via, ``uri``, ``call_id``, ``from_tag``, ``to_tag``, ``cseq``, ``source`` (the port that it comes from).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from greensip.errors import TransportError
from greensip.fsm import Machine
from greensip.fsm import log as fsm_log
from greensip.message import (
    Message,
    Request,
    Response,
    check_request,
    check_response,
    make_cancel,
    make_response,
    parse_message,
)
from greensip.transaction import Flow, Point, ServerTransaction, Settings, Timers, Transaction, TransactionLayer

Arrows = set[tuple[type[Machine], str, str]]

POINTS = {
    'UDP': Point('UDP', ('192.0.2.1', 5060)),
    'TCP': Point('TCP', ('192.0.2.1', 5060), reliable=True),
    'WS': Point('WS', ('192.0.2.1', 80), reliable=True),
}
PEER = '192.0.2.9'


def request(method: str = 'INVITE', *, branch: str | None = 'z9hG4bK-peer', host: str = PEER, port: int | str = 5060,
            uri: str = 'sip:us@192.0.2.1', call_id: str = 'call', from_tag: str = 'theirs', to_tag: str = '',
            cseq: int | str = 1, transport: str = 'UDP', body: bytes = b'', params: str = '') -> Request:
    """A request of the peer's, as it comes out of the parser and its check."""
    via = f'SIP/2.0/{transport} {host}{f":{port}" if port else ""}{params}{f";branch={branch}" if branch else ""}'
    text = '\r\n'.join((
        f'{method} {uri} SIP/2.0',
        f'Via: {via}',
        'Max-Forwards: 70',
        f'From: <sip:them@example.com>;tag={from_tag}',
        f'To: <sip:us@example.com>{f";tag={to_tag}" if to_tag else ""}',
        f'Call-ID: {call_id}',
        f'CSeq: {cseq} {method}',
        f'Content-Length: {len(body)}', '', ''))
    message = parse_message(text.encode() + body)
    assert isinstance(message, Request)
    check_request(message)
    return message


def our_request(method: str = 'INVITE', branch: str = 'z9hG4bK-ours', transport: str = 'UDP') -> Request:
    """A request of ours, as the dialog layer makes it."""
    point = POINTS[transport]
    return Request(method, 'sip:them@192.0.2.9', [
        ('Via', point.via_prefix + branch), ('Max-Forwards', '70'), ('From', '<sip:us@example.com>;tag=ours'),
        ('To', '<sip:them@example.com>'), ('Call-ID', 'call'), ('CSeq', f'1 {method}')])


def answer_to(request: Request, code: int, tag: str = 'theirs') -> Response:
    """The peer's response, as it comes out of the parser and its check."""
    response = parse_message(make_response(request, code, to_tag=tag if code > 100 else None).to_bytes())
    assert isinstance(response, Response)
    check_response(response)
    return response


class World:
    """A layer with its timers and queues, a clock that stands until told, and the ladder of what happened."""

    def __init__(self, transport: str = 'UDP', **settings: Any) -> None:
        self.transport = transport
        self.now = 0.0
        self.flow = Flow(POINTS[transport], (PEER, 5060))
        self.timers = Timers()
        self.outgoing: deque[tuple[bytes, Flow]] = deque()
        self.layer = TransactionLayer(Settings(**settings), self.timers, self.outgoing)
        self.lines: list[str] = []
        self.sent: list[tuple[bytes, Flow]] = []
        self.told: list[tuple[str, Any, Any]] = []
        self.method = ''
        self.requests: dict[str, Request] = {}
        self.transactions: dict[Transaction, str] = {}

    # -- what happened

    def name_of(self, message: Message) -> str:
        if isinstance(message, Request):
            return message.method
        assert isinstance(message, Response)
        method = message.cseq.method
        return f'{message.code}' if method == self.method else f'{message.code} {method}'

    def note(self, sign: str, text: str) -> None:
        self.lines.append(f'{self.now:g} {sign} {text}')

    def collect(self) -> None:
        """Drain both queues, and see who has another state now."""
        while self.outgoing:
            data, flow = self.outgoing.popleft()
            self.sent.append((data, flow))
            self.note('>', self.name_of(parse_message(data)))
        while self.layer.events:
            kind, transaction, item = event = self.layer.events.popleft()
            self.told.append(event)
            if isinstance(item, Message):
                self.note('^', f'{kind} {self.name_of(item)}')
            else:
                self.note('^', f'{kind} {transaction.method}')
            if kind == 'request':
                self.transactions[transaction] = ''
        for transaction, state in self.transactions.items():
            if transaction.state != state:
                self.transactions[transaction] = transaction.state
                main = transaction.method == self.method
                self.note('=', transaction.state if main else f'{transaction.method} {transaction.state}')

    # -- what is done

    def pass_time(self, until: float) -> None:
        """Let the timers fire, each at its deadline."""
        while (deadline := self.timers.next_timer()) is not None and deadline <= until + 1e-9:
            self.now = max(self.now, deadline)
            self.timers.handle(self.now)
            self.collect()
        self.now = until

    def receive(self, message: Request | Response, source: int = 5060) -> None:
        if isinstance(message, Request):
            self.method = self.method or message.method
        self.layer.receive(message, Flow(self.flow.point, (PEER, source)), self.now)
        self.collect()

    def call(self, message: Request, user: Any = 'user') -> Transaction:
        self.method = self.method or message.method
        self.requests[message.method] = message
        transaction = self.layer.request(message, self.flow, self.now, user)
        self.transactions[transaction] = ''
        self.collect()
        return transaction

    def respond(self, code: int, method: str = '', tag: str = 'ours') -> bool:
        server = self.server(method or self.method)
        response = make_response(self.requests[server.method], code, to_tag=tag if code > 100 else None)
        sent = self.layer.respond(server, response, self.now)
        self.collect()
        return sent

    def server(self, method: str) -> ServerTransaction:
        found = [one for one in self.transactions if isinstance(one, ServerTransaction) and one.method == method]
        return found[-1]

    def do(self, sign: str, words: list[str]) -> None:
        """One line of a ladder that makes something happen."""
        text, *more = words
        changes: dict[str, Any] = dict(word.split('=') for word in more if '=' in word)
        method = next((word for word in more if '=' not in word), self.method)
        if sign == '<' and text.isdecimal():
            self.receive(answer_to(self.requests[method], int(text), **changes))
        elif sign == '<':
            source = int(changes.pop('source', 5060))
            message = request(text, transport=self.transport, **changes)
            self.requests.setdefault(text, message)
            self.receive(message, source)
        elif sign == '!':
            data = b'' if text == 'flow' else self.sent[-1][0]
            self.layer.transport_failed(self.flow, TransportError('unreachable'), self.now, data)
        elif text.isdecimal():
            self.respond(int(text), method, **changes)
        elif text == 'abandon':
            self.layer.abandon(next(one for one in self.transactions if one.method == method), self.now)
        elif text == 'CANCEL':
            self.call(make_cancel(self.requests['INVITE']))
        else:
            self.call(our_request(text, transport=self.transport))
        self.collect()

    def play(self, ladder: str) -> list[str]:
        """Do what the ladder says; what happened comes back as its lines."""
        for line in lines(ladder):
            time, sign, *words = line.split()
            if sign in '<v!.':
                self.pass_time(float(time))
                if sign != '.':
                    self.note(sign, ' '.join(words))
                    self.do(sign, words)
                else:
                    self.note('.', '')
        return [line.strip() for line in self.lines]


def lines(ladder: str) -> list[str]:
    """The lines of a ladder without its layout."""
    return [' '.join(line.split()) for line in ladder.splitlines() if line.strip()]


def check(ladder: str, **world: Any) -> World:
    """Play a ladder and compare it with itself; all is over at its end."""
    played = World(**world)
    assert played.play(ladder) == lines(ladder)
    assert len(played.layer) == 0
    assert len(played.timers) == 0
    return played


def arrows_of(machine: type[Machine]) -> Arrows:
    """All arrows of a machine's tables."""
    return {(machine, row.state, row.event) for row in machine.rows}


@pytest.fixture
def walked() -> Iterator[Arrows]:
    """The arrows that any machine goes along during the test, as it logs them."""
    arrows: Arrows = set()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert isinstance(record.args, tuple)
            machine, state, event, _ = record.args
            arrows.add((type(machine), str(state), str(event)))

    collector, level = Collector(), fsm_log.level
    fsm_log.addHandler(collector)
    fsm_log.setLevel(logging.DEBUG)
    yield arrows
    fsm_log.removeHandler(collector)
    fsm_log.setLevel(level)
