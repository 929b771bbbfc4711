"""A network in memory: endpoints that talk without sockets, over a link that may lose, delay, double and reorder.

For tests, demonstrations and measurements of what lies above.  Every accident is drawn from the random numbers that
the network was given, and all time is the clock's: with a seeded generator and virtual time a run can be repeated
exactly.  Its transports look like UDP ones, down to the errors: on a host that is up, a port where nobody listens is
refused as ICMP would tell it; who sends to any other address never hears of it again.

Hosts may be given by name: ``udp:alice:5060`` makes up an address for alice, under which ``sip:bob@alice`` finds her.
A wildcard address is a new host, as whoever listens on "this machine" means one of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.hub import Hub

from greensip.dialog.routing import is_numeric
from greensip.errors import ConnectError, MessageTooBig, TransportError, UsageError
from greensip.transaction.flow import Address, Flow, Point, hostport

from .base import Counters, Listen, Receiver, Recent, Transport, is_keep_alive, read_options
from .clock import Clock, RealClock
from .resolver import StaticResolver
from .stun import answer_binding, looks_like_stun
from .udp import DRAIN, FLOWS
from .wire import title

__all__ = ['INBOX', 'MemoryNetwork', 'MemoryTransport', 'Packet', 'Random', 'Rule']

#: datagrams that wait at most for a reader; more are lost, as in a socket's buffer
INBOX = 10_000
#: octets that a datagram carries at most over IPv4
LARGEST = 65507
#: the first port that is given to who asks for port 0
FREE_PORT = 10_000


class Random(Protocol):
    """Where the accidents come from: ``random.Random(seed)``."""

    def random(self) -> float: ...

    def getrandbits(self, k: int, /) -> int: ...


class Packet:
    """One datagram as the network saw it, and what became of it."""

    __slots__ = ('arrivals', 'data', 'destination', 'lost', 'refused', 'source', 'time')

    def __init__(self, time: float, source: Address, destination: Address, data: bytes) -> None:
        self.time = time
        self.source = source
        self.destination = destination
        self.data = data
        #: by chance or by a rule
        self.lost = False
        #: nobody listens there
        self.refused = False
        #: when it arrived, twice if it was doubled
        self.arrivals: list[float] = []

    @property
    def title(self) -> str:
        """``INVITE``, ``200 INVITE``"""
        return title(self.data)

    def __repr__(self) -> str:
        return f'<Packet {self.title} {hostport(*self.source)} to {hostport(*self.destination)}>'


class Rule:
    """Something that happens to the next few packets that match."""

    __slots__ = ('delay', 'left', 'lose', 'match')

    def __init__(self, what: str | Callable[[Packet], bool], times: int, *, lose: bool = False,
                 delay: float = 0.0) -> None:
        self.match = what if callable(what) else lambda packet: title_matches(packet.title, what)
        #: how many packets it is still waiting for
        self.left = times
        self.lose = lose
        self.delay = delay


def title_matches(name: str, pattern: str) -> bool:
    """Whether a title is what is meant by ``INVITE``, ``200``, ``18x`` or ``2xx INVITE``."""
    words, wanted = name.split(), pattern.split()
    if len(words) < len(wanted) or wanted[0][:1].isdigit() != words[0][:1].isdigit():
        return False
    return (all(w in ('x', c) for w, c in zip(wanted[0].lower(), words[0])) if wanted[0][:1].isdigit()
            else wanted[0] == words[0]) and wanted[1:] == words[1:len(wanted)]


class MemoryNetwork:
    """See the module's description.

    ``delay`` is what each packet takes, ``jitter`` how much more at most (more than a little reorders), in seconds.
    ``loss``, ``duplicate`` and ``reorder`` are probabilities; a reordered packet takes ``reorder_delay`` longer, so
    that later ones overtake it.  All may be changed while it runs.
    """

    def __init__(self, random: Random, *, clock: Clock | None = None, delay: float = 0.0, jitter: float = 0.0,
                 loss: float = 0.0, duplicate: float = 0.0, reorder: float = 0.0,
                 reorder_delay: float = 0.05) -> None:
        self.random = random
        self.clock: Clock = clock or RealClock()
        self.delay = delay
        self.jitter = jitter
        self.loss = loss
        self.duplicate = duplicate
        self.reorder = reorder
        self.reorder_delay = reorder_delay
        self.resolver = StaticResolver(clock=self.clock, random=random)
        #: hosts that are up
        self.hosts: set[str] = set()
        #: called with each packet when it is sent; must not block
        self.taps: list[Callable[[Packet], object]] = []
        self.rules: list[Rule] = []
        self._bound: dict[Address, MemoryTransport] = {}
        self._free_port = FREE_PORT
        self._addresses = 0

    # -- who is there

    def address(self, name: str) -> str:
        """The address of a name: one is made up, 10.0.0.1 and so on, if it has none yet."""
        known = self.resolver.names.get(name.lower())
        if known:
            return known[0]
        address = self._new_address()
        self.resolver.names[name.lower()] = [address]
        return address

    def _new_address(self, family: int = 4) -> str:
        while True:
            self._addresses += 1
            high, low = self._addresses >> 8 & 255, self._addresses & 255
            address = f'10.0.{high}.{low}' if family == 4 else f'fd00::{high:x}:{low:x}'
            if address not in self.hosts:
                return address

    def listen(self, listen: Listen, receiver: Receiver) -> MemoryTransport:
        """Open a transport.  Raises TransportError if the port is taken."""
        if listen.transport != 'UDP':
            raise UsageError(f'cannot listen on {listen}: the memory network knows UDP only')
        read_options(listen, {})
        host = listen.host if is_numeric(listen.host) else self.address(listen.host)
        if host in ('0.0.0.0', '::'):
            host = self._new_address(6 if ':' in host else 4)
        port = listen.port
        while port == 0 or (listen.port == 0 and (host, port) in self._bound):
            port = self._free_port = self._free_port + 1
        if (host, port) in self._bound:
            raise TransportError(f'cannot listen on {listen}: address already in use')
        transport = MemoryTransport(self, Point('UDP', (host, port), advertised=listen.advertised), receiver)
        self._bound[host, port] = transport
        self.hosts.add(host)
        return transport

    def unbind(self, transport: MemoryTransport) -> None:
        """For transports that close."""
        if self._bound.get(transport.point.address) is transport:
            del self._bound[transport.point.address]

    # -- accidents on purpose

    def lose(self, what: str | Callable[[Packet], bool], times: int = 1) -> Rule:
        """Lose the next packets that are ``what``: ``'ACK'``, ``'200'``, ``'2xx INVITE'``, or a predicate."""
        return self._add(Rule(what, times, lose=True))

    def hold(self, what: str | Callable[[Packet], bool], seconds: float, times: int = 1) -> Rule:
        """Deliver the next packets that are ``what`` later by so many seconds."""
        return self._add(Rule(what, times, delay=seconds))

    def _add(self, rule: Rule) -> Rule:
        self.rules.append(rule)
        return rule

    # -- what happens to a packet

    def send(self, sender: MemoryTransport, data: bytes, destination: Address) -> None:
        """Take a packet on its way."""
        packet = Packet(self.clock.now(), sender.point.address, destination, data)
        delay = self._draw_delay()
        copies = 2 if self.duplicate and self.random.random() < self.duplicate else 1
        packet.lost = bool(self.loss) and self.random.random() < self.loss
        for rule in self.rules:
            if rule.left > 0 and rule.match(packet):
                rule.left -= 1
                packet.lost = packet.lost or rule.lose
                delay += rule.delay
        for tap in self.taps:
            tap(packet)
        if packet.lost:
            return
        self._carry(packet, sender, delay)
        if copies == 2:
            self._carry(packet, sender, self._draw_delay())

    def _draw_delay(self) -> float:
        delay = self.delay
        if self.jitter:
            delay += self.jitter * self.random.random()
        if self.reorder and self.random.random() < self.reorder:
            delay += self.reorder_delay
        return delay

    def _carry(self, packet: Packet, sender: MemoryTransport, delay: float) -> None:
        if delay > 0.0:
            self.clock.at(packet.time + delay, self._arrive, packet, sender)
        else:
            self._arrive(packet, sender)

    def _arrive(self, packet: Packet, sender: MemoryTransport) -> None:
        """In the hub, or in the sender's greenlet if there is no delay."""
        transport = self._bound.get(packet.destination)
        if transport is not None:
            packet.arrivals.append(self.clock.now())
            transport.put(packet.source, packet.data, None)
        elif packet.destination[0] in self.hosts:
            packet.refused = True
            error = ConnectError(f'cannot reach {hostport(*packet.destination)}: connection refused')
            if self.delay > 0.0:
                self.clock.timer(self.delay, sender.put, packet.destination, packet.data, error)
            else:
                sender.put(packet.destination, packet.data, error)


class MemoryTransport(Transport):
    """A port on a ``MemoryNetwork``."""

    def __init__(self, network: MemoryNetwork, point: Point, receiver: Receiver) -> None:
        self.network = network
        self.point = point
        self.receiver = receiver
        self.counters = Counters()
        #: as that of ``UdpTransport``
        self.on_stun: Callable[[bytes, Flow], object] | None = None
        self._inbox: deque[tuple[Address, bytes, TransportError | None]] = deque()
        self._flows: Recent[Address, Flow] = Recent(FLOWS)
        self._hub = gevent.get_hub()
        self._reader: gevent.Greenlet[[Hub], None] | None = None
        self._parked = False
        self._closed = False

    def __repr__(self) -> str:
        return f'<MemoryTransport {hostport(*self.point.address)}>'

    def start(self) -> None:
        if self._reader is None and not self._closed:
            self._reader = gevent.spawn(self._read, self._hub)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._inbox.clear()
        self.network.unbind(self)
        self._wake()

    def send(self, data: bytes, flow: Flow) -> None:
        where = hostport(*flow.remote)
        if self._closed:
            raise TransportError(f'cannot send to {where}: closed')
        if len(data) > LARGEST:
            raise MessageTooBig(f'cannot send {len(data)} octets in a datagram to {where}: message too long')
        if (':' in flow.remote[0]) != (':' in self.point.address[0]):
            raise ConnectError(f'cannot send to {where}: not an IPv{self.point.family} address')
        self.counters.sent += 1
        self.network.send(self, data, flow.remote)

    def put(self, remote: Address, data: bytes, error: TransportError | None) -> None:
        """What the network delivers: a datagram from ``remote``, or why ours to ``remote`` did not arrive."""
        if self._closed:
            return
        if len(self._inbox) >= INBOX:
            self.counters.dropped += 1
            return
        self._inbox.append((remote, data, error))
        self._wake()

    def _wake(self) -> None:
        if self._parked:
            self._parked = False
            assert self._reader is not None
            self._hub.loop.run_callback(self._reader.switch)

    def _read(self, hub: Hub) -> None:
        """The reader greenlet."""
        inbox = self._inbox
        while not self._closed:
            if not inbox:
                self._parked = True
                hub.switch()
                continue
            for _ in range(DRAIN):
                if not inbox:
                    break
                self._take(*inbox.popleft())
            else:
                gevent.sleep(0)

    def _take(self, remote: Address, data: bytes, error: TransportError | None) -> None:
        flow = self._flows.get(remote)
        if flow is None:
            flow = Flow(self.point, remote)
            self._flows.put(remote, flow)
        if error is not None:
            self.counters.errors += 1
            self.receiver.failed(flow, error, data)
            return
        self.counters.received += 1
        if is_keep_alive(data):
            self.counters.keep_alives += 1
        elif data[0] < 2 and looks_like_stun(data):
            self.counters.keep_alives += 1
            answer = answer_binding(data, flow.remote)
            if answer is not None:
                self.send(answer, flow)
            elif self.on_stun is not None:
                self.on_stun(data, flow)
        else:
            self.receiver.received(data, flow)
