"""A world for tests: one memory network, its own time, its own random numbers, and a ladder of all that is said.

    with Network(seed=7, delay=0.01) as net:
        alice, bob = net.user_agent('alice'), net.user_agent('bob')
        bob.serve(lambda leg: leg.answer(), background=True)
        with alice.call(net.uri('bob')):
            net.run(3600)                               # an hour passes at once
        net.ladder.expect('alice -> bob: INVITE ...')

``endpoint()`` gives what is below a user agent.  Whoever takes ``network=`` (an ``Endpoint``, a ``UserAgent``) finds
its clock and its names there too.  A host is a name: listening on ``udp:alice`` gives alice an address, and
``sip:alice@alice`` leads there.
"""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any

from greensip.dialog.core import Core
from greensip.transaction.settings import Settings
from greensip.transport.base import Listen, Receiver
from greensip.transport.endpoint import Endpoint
from greensip.transport.memory import MemoryNetwork, MemoryTransport
from greensip.ua import UserAgent

from .clock import VirtualClock
from .ladder import Ladder

__all__ = ['Network']


class Network(MemoryNetwork):
    """A ``MemoryNetwork`` in virtual time that can be repeated exactly: the same seed gives the same run.

    ``accidents`` are those of ``MemoryNetwork``: ``delay``, ``jitter``, ``loss``, ``duplicate``, ``reorder``.  Leaving
    the ``with`` block closes all that it made.
    """

    def __init__(self, seed: int = 1, *, delay: float = 0.01, clock: VirtualClock | None = None,
                 **accidents: float) -> None:
        self.seed = seed
        self._virtual = clock or VirtualClock()
        super().__init__(random.Random(seed), clock=self._virtual, delay=delay, **accidents)
        self.ladder = Ladder(self)
        self.endpoints: list[Endpoint] = []
        self.user_agents: list[UserAgent] = []

    def __enter__(self) -> Network:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what ``user_agent()`` and ``endpoint()`` made, and stop the clock.

        Blocks, in virtual time only, until the user agents' calls have ended or their patience has.
        """
        for user_agent in self.user_agents:
            user_agent.close()
        for endpoint in self.endpoints:
            endpoint.close()
        self._virtual.close()

    def generator(self, name: str) -> random.Random:
        """Random numbers for ``name``: tags, branches and Call-IDs that are the same in each run."""
        return random.Random(f'{self.seed} {name}')

    def place(self, name: str, port: int = 5060) -> str:
        """Where ``name`` can listen: ``udp:10.0.0.1:5060``.  Ladders call it ``name``."""
        address = self.address(name)
        self.ladder.name((address, port), name)
        return f'udp:{address}:{port}'

    def uri(self, name: str, port: int = 5060) -> str:
        """The SIP URI of ``name``, with an address, so that nothing has to be looked up."""
        return f'sip:{name}@{self.address(name)}:{port}'

    def endpoint(self, name: str, core: Core | None = None, *, port: int = 5060,
                 settings: Settings | None = None) -> Endpoint:
        """An endpoint of its own for ``name``, started; around a new core unless it is given one."""
        if core is None:
            core = Core(settings, random=self.generator(name))
        endpoint = Endpoint(core, [self.place(name, port)], network=self)
        self.endpoints.append(endpoint)
        endpoint.start()
        return endpoint

    def user_agent(self, name: str, *, port: int = 5060, **options: Any) -> UserAgent:
        """A user agent of its own for ``name``; ``options`` are those of ``UserAgent``."""
        options = {'name': name, 'random': self.generator(name), **options}
        user_agent = UserAgent(self.place(name, port), network=self, **options)
        self.user_agents.append(user_agent)
        return user_agent

    def run(self, seconds: float) -> None:
        """Block the calling greenlet while so much virtual time passes for everybody."""
        self._virtual.sleep(seconds)

    def settle(self) -> None:
        """Block the calling greenlet until nobody can go on without time passing."""
        self._virtual.sleep(0)

    def listen(self, listen: Listen, receiver: Receiver) -> MemoryTransport:
        """What an endpoint calls.  A host that was given by name goes by it in the ladder."""
        transport = super().listen(listen, receiver)
        if transport.point.address[0] != listen.host:
            self.ladder.name(transport.point.address, listen.host)
        return transport
