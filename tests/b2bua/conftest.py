"""A B2BUA between a caller and callees on a network in memory, in virtual time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greensip.b2bua.app import B2bua
from greensip.b2bua.command_line import parse_command_line
from greensip.message import Request, make_response, parse_message
from greensip.testing import Network
from greensip.transaction.flow import Flow
from greensip.transport.base import Listen
from greensip.ua import UserAgent


class Raw:
    """A peer without a stack: it keeps what comes, and says what the test tells it to."""

    def __init__(self, net: Network, name: str) -> None:
        self.net = net
        self.transport = net.listen(Listen.parse(net.place(name)), self)
        self.transport.start()
        self.host, self.port = self.transport.point.address
        self.inbox: list[tuple[float, Any]] = []

    def received(self, data: bytes, flow: Flow) -> None:
        self.inbox.append((self.net.clock.now(), parse_message(data)))

    def failed(self, flow: Flow, error: Exception, data: bytes = b'') -> None:
        pass

    def opened(self, point: Any, transport: Any) -> None:
        pass

    def expect(self, begin: str, seconds: float = 40.0) -> Any:
        """The next message whose start line begins so; what comes before it is dropped."""
        until = self.net.clock.now() + seconds
        while True:
            while self.inbox:
                _, message = self.inbox.pop(0)
                if message.start_line.startswith(begin):
                    return message
            assert self.net.clock.now() < until, f'no {begin}'
            self.net.run(0.005)

    def titles(self) -> list[str]:
        """The start lines of what lies in the inbox."""
        return [message.start_line for _, message in self.inbox]

    def send(self, message: Any, to: str = 'b2b') -> None:
        data = message if isinstance(message, bytes) else message.to_bytes()
        self.transport.send(data, Flow(self.transport.point, (self.net.address(to), 5060)))

    def respond(self, request: Any, code: int, body: bytes = b'', **fields: str) -> None:
        response = make_response(request, code, to_tag='raw')
        fields = {'Contact': f'<sip:raw@{self.host}:{self.port}>', **fields}
        for name, text in fields.items():
            response.add(name.replace('_', '-'), text)
        if body:
            response.add('Content-Type', 'application/sdp')
            response.body = body
        self.send(response)

    def request(self, method: str, uri: str, *, branch: str = 'z9hG4bKraw', to_tag: str = '', cseq: int = 1,
                body: bytes = b'', send: bool = True, **fields: str) -> Any:
        pairs = {
            'Via': f'SIP/2.0/UDP {self.host}:{self.port};branch={branch}', 'Max-Forwards': '70',
            'From': f'<sip:raw@{self.host}>;tag=r1', 'To': f'<sip:x@y>{";tag=" + to_tag if to_tag else ""}',
            'Call-ID': 'raw-call', 'CSeq': f'{cseq} {method}', 'Contact': f'<sip:raw@{self.host}:{self.port}>',
            **{name.replace('_', '-'): text for name, text in fields.items()}}
        if body:
            pairs['Content-Type'] = 'application/sdp'
        request = Request(method, uri, list(pairs.items()), body)
        if send:
            self.send(request)
        return request


class Rig:
    """``caller``, a B2BUA at ``b2b``, and callees made by ``callee(name, handler)``; ``records()`` ends it all."""

    def __init__(self, net: Network, folder: Path) -> None:
        self.net = net
        self.folder = folder
        self.agents: list[UserAgent] = []
        self.b2buas: list[B2bua] = []
        self.raws: list[Raw] = []
        self.caller = self.agent('caller')

    def agent(self, name: str, **options: Any) -> UserAgent:
        ua = self.net.user_agent(name, watchdog=None, **options)
        self.agents.append(ua)
        return ua

    def callee(self, name: str, handler: Callable[..., Any]) -> UserAgent:
        ua = self.agent(name)
        ua.serve(handler, background=True)
        return ua

    def raw(self, name: str) -> Raw:
        made = Raw(self.net, name)
        self.raws.append(made)
        return made

    def b2bua(self, *arguments: str, handler: Callable[..., Any] | None = None) -> B2bua:
        """Start it: ``{bob}`` in an argument is bob's address.  Routes, and so on, as on the command line."""
        class Addresses(dict):  # type: ignore[type-arg]
            def __missing__(inner, name: str) -> str:
                return self.net.address(name)

        options = parse_command_line([
            '-f', '-u', '-c', str(self.folder / f'socket{len(self.b2buas)}'), '--cdr', str(self.folder / 'cdr'),
            '--listen', self.net.place('b2b'), *[argument.format_map(Addresses()) for argument in arguments]])
        if options.static_route or handler is None:
            options.check()
        made = B2bua(options, handler, network=self.net)
        self.b2buas.append(made)
        made.start()
        return made

    def uri(self, number: str | None = '123') -> str:
        """What the caller dials."""
        address = f'{self.net.address("b2b")}:5060'
        return f'sip:{number}@{address}' if number else f'sip:{address}'

    def finish(self) -> None:
        """Let all transactions end, and see that nothing is left anywhere."""
        self.net.run(200)
        for made in self.b2buas:
            assert made.calls == {}
            # Once closed it has no time left in which its transactions could end.
            transactions = len(made.ua.core.layer) if made.stopping else 0
            assert made.ua.core.counts() == {'calls': 0, 'dialogs': 0, 'subscriptions': 0, 'transactions': transactions}
            assert made.ua.legs == []
        for agent in self.agents:
            assert agent.core.counts() == {'calls': 0, 'dialogs': 0, 'subscriptions': 0, 'transactions': 0}

    def records(self) -> list[dict[str, Any]]:
        """Close the B2BUA, and read the records that it wrote."""
        for made in self.b2buas:
            made.close()
        return [json.loads(line) for line in (self.folder / 'cdr').read_text().splitlines()]


@pytest.fixture
def net() -> Iterator[Network]:
    with Network(seed=5, delay=0.01) as made:
        yield made


@pytest.fixture
def rig(net: Network) -> Iterator[Rig]:
    # Not tmp_path: the name of a unix socket has a short limit.
    with tempfile.TemporaryDirectory(prefix='b2b') as folder:
        made = Rig(net, Path(folder))
        try:
            yield made
            made.finish()
        finally:
            for b2bua in made.b2buas:
                b2bua.close()
            for agent in made.agents:
                agent.close()
            for raw in made.raws:
                raw.transport.close()
