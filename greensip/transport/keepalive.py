"""Keeping flows alive and noticing when they fail: RFC 5626 3.5 and 4.4, RFC 6223.

Over UDP a Binding request of STUN goes out every now and then, over the flow itself.  The peer's answer shows that it
is there and from which address it hears us: no answer to seven requests within 39.5 seconds, an error, or another
address than before (a NAT has forgotten us) means that the flow has failed.  Where a peer knows no STUN, two CRLFs
keep a NAT's binding open, and tell nothing.  Over a stream two CRLFs are a ping, and the connection fails where no pong
comes (``Connection.ping``).

A flow is asked once, however many want it alive.  One greenlet does it all, and only while somebody wants it.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

import gevent
from gevent.hub import Waiter

from greensip.errors import ConnectError, TransportError, UsageError
from greensip.transaction.flow import Address, Flow, hostport

from .base import Transport
from .clock import ClockTimer
from .connection import PONG_TIME
from .endpoint import Endpoint
from .stream import StreamTransport
from .stun import binding_request, read_answer

__all__ = ['DATAGRAM_INTERVAL', 'STREAM_INTERVAL', 'KeepAlive', 'KeepAlives']

log = logging.getLogger('greensip.transport')

#: seconds between two keep-alives where nobody asks for others (RFC 5626 4.4.1, 4.4.2)
DATAGRAM_INTERVAL = (24.0, 29.0)
STREAM_INTERVAL = (95.0, 120.0)
#: seconds: the estimate of a round trip (RFC 8489 6.2.1), how often a request is sent, and the last wait in such
RTO, REQUESTS, LAST_WAIT = 0.5, 7, 16
#: no interval is shorter, in seconds, whatever a peer asks for
SHORTEST = 1.0

DOUBLE_CRLF = b'\r\n\r\n'


class KeepAlive:
    """Somebody's wish that a flow be kept alive; ``stop()``, or the end of a ``with`` block, ends it.

    ``interval`` are the seconds between two keep-alives, at least and at most.  ``mapped`` is the address from which
    the peer hears us, as it has told (STUN), ``error`` why the flow failed when it was asked last, None while it lives,
    ``silent`` whether that was because no request of STUN had an answer.
    """

    __slots__ = ('error', 'interval', 'mapped', 'method', 'on_failed', 'silent', 'source', 'stopped')

    def __init__(self, source: Callable[[], Flow | None], interval: tuple[float, float] | None, method: str,
                 on_failed: Callable[[KeepAlive], object] | None) -> None:
        #: gives the flow at the time; None while there is none
        self.source = source
        self.interval = interval
        #: how a UDP flow is kept alive: ``stun`` or ``crlf``
        self.method = method
        #: called when the flow fails; must not block
        self.on_failed = on_failed
        self.mapped: Address | None = None
        self.error: TransportError | None = None
        self.silent = False
        self.stopped = False

    @property
    def flow(self) -> Flow | None:
        """What is kept alive; None while that is not known."""
        return self.source()

    def stop(self) -> None:
        """Want it no longer.  Does not block."""
        self.stopped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = 'stopped' if self.stopped else f'failed: {self.error}' if self.error is not None else 'alive'
        return f'<KeepAlive {self.flow} {state}>'


class Probe:
    """What is known about a flow that is asked: pure, told the time."""

    __slots__ = ('asked', 'flow', 'mapped', 'method', 'next', 'transaction', 'tries')

    def __init__(self, flow: Flow, method: str) -> None:
        self.flow = flow
        self.method = method
        #: when the last question was put
        self.asked = 0.0
        #: the question that is open, how often it was sent, and when to send it again
        self.transaction = b''
        self.tries = 0
        self.next = 0.0
        self.mapped: Address | None = None

    def ask(self, transaction: bytes, now: float) -> None:
        """Begin a question."""
        self.asked = self.next = now
        self.transaction = transaction
        self.tries = 0

    def send(self, now: float) -> bytes | None:
        """What is to be sent now; None when it has been sent often enough, in vain."""
        self.tries += 1
        if self.tries > REQUESTS:
            self.transaction = b''
            return None
        # RFC 8489 6.2.1: at 0, 500, 1500, 3500, 7500, 15500 and 31500 ms, and a last wait of 16 times RTO.
        wait = RTO * 2 ** (self.tries - 1) if self.tries < REQUESTS else RTO * LAST_WAIT
        self.next = now + wait
        return binding_request(self.transaction)


class KeepAlives:
    """The keep-alives of an endpoint.  ``close()`` ends them all."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.clock = endpoint.clock
        self._wishes: set[KeepAlive] = set()
        self._probes: dict[Flow, Probe] = {}
        #: when to look at a wish or a probe next; the number keeps equal times in their order
        self._due: list[tuple[float, int, KeepAlive | Probe]] = []
        self._count = 0
        self._alarm: ClockTimer | None = None
        self._waiter: Waiter[None] = Waiter()
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._waiting = False
        self.closed = False

    def begin(self, flow: Flow | Callable[[], Flow | None], interval: float | None = None, *, method: str = 'stun',
              at_once: bool = True, on_failed: Callable[[KeepAlive], object] | None = None) -> KeepAlive:
        """Keep a flow alive: ``flow``, or the one that a function gives each time, with None for none yet.

        ``interval`` is the longest time between two keep-alives, in seconds, of which each is 80 to 100 %; without it
        24 to 29 seconds over UDP, 95 to 120 over streams.  ``method`` for UDP is ``'stun'``, or ``'crlf'`` for peers
        without STUN.  ``on_failed`` is called with the ``KeepAlive`` when the flow fails, in a greenlet, and must not
        block; the flow is asked further, as it may come back.  Does not block.  Raises UsageError.
        """
        if method not in ('stun', 'crlf'):
            raise UsageError(f'method={method!r}: flows are kept alive by stun or crlf')
        if interval is not None and not interval >= SHORTEST:
            raise UsageError(f'interval={interval!r}: keep-alives are sent at most every {SHORTEST:.0f} s')
        source = flow if callable(flow) else lambda: flow
        wish = KeepAlive(source, None if interval is None else (0.8 * interval, interval), method, on_failed)
        self._wishes.add(wish)
        now = self.clock.now()
        self._push(now if at_once else now + self._pause(wish, wish.flow), wish)
        for transport in self.endpoint.transports:
            if hasattr(transport, 'on_stun'):
                transport.on_stun = self._on_stun
        self._wake_at()
        return wish

    # -- time

    def _push(self, when: float, what: KeepAlive | Probe) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, what))

    def _wake_at(self) -> None:
        """Have the greenlet wake when the first of all is due."""
        if self.closed or not self._due:
            return
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self.clock.at(self._due[0][0], self._ring)

    def _ring(self) -> None:
        # In the hub: only wakes the greenlet.
        self._alarm = None
        if self._waiting:
            self._waiting = False
            self._waiter.switch(None)

    def _run(self) -> None:
        """The greenlet; it ends when nobody wants anything any more."""
        try:
            while not self.closed:
                now = self.clock.now()
                while self._due and self._due[0][0] <= now:
                    _, _, what = heapq.heappop(self._due)
                    try:
                        if isinstance(what, Probe):
                            self._go_on(what, now)
                        else:
                            self._look_at(what, now)
                    except Exception:
                        log.exception('! keeping %r alive failed', what.flow)
                if not self._due:
                    return
                self._wake_at()
                self._waiting = True
                self._waiter.get()
                self._waiter.clear()
        finally:
            self._greenlet = None
            if not self._due:
                self._probes.clear()

    def _pause(self, wish: KeepAlive, flow: Flow | None) -> float:
        """Seconds until a flow is to be asked again: random, so that servers are not asked by all at once."""
        interval = wish.interval
        if interval is None:
            interval = STREAM_INTERVAL if flow is not None and flow.point.reliable else DATAGRAM_INTERVAL
        least, most = interval
        share = self.endpoint.core.random.getrandbits(32) / 0xFFFFFFFF
        return max(SHORTEST, least + (most - least) * share)

    # -- asking

    def _look_at(self, wish: KeepAlive, now: float) -> None:
        """A wish is due."""
        if wish.stopped:
            self._wishes.discard(wish)
            self._forget_unwanted()
            return
        flow = wish.source()
        pause = self._pause(wish, flow)
        if flow is not None:
            probe = self._probes.get(flow)
            if probe is None:
                probe = self._probes[flow] = Probe(flow, wish.method)
                self._ask(probe, now)
            elif now - probe.asked >= 0.8 * pause:
                self._ask(probe, now)
            else:
                # Somebody else's keep-alive did for this one too.
                pause = max(SHORTEST, probe.asked + pause - now)
        self._push(now + pause, wish)

    def _ask(self, probe: Probe, now: float) -> None:
        flow = probe.flow
        transport = self._transport(flow)
        if transport is None:
            self._failed(probe, TransportError(f'{flow.point} is not a point of this endpoint'))
        elif flow.point.reliable:
            self._ping(transport, probe, now)
        elif probe.method == 'crlf':
            # Not as RFC 5626 4.4.1, which wants STUN: there are servers that know nothing else.
            probe.asked = now
            self._send(transport, probe, DOUBLE_CRLF)
        elif not probe.transaction:
            probe.ask(self.endpoint.core.random.getrandbits(96).to_bytes(12, 'big'), now)
            self._go_on(probe, now)

    def _go_on(self, probe: Probe, now: float) -> None:
        """The question that is open is sent again, or given up."""
        transport = self._transport(probe.flow)
        if isinstance(transport, StreamTransport):
            if probe.tries and not transport.is_open(probe.flow):
                probe.tries = 0
                self._failed(probe, ConnectError(f'the connection to {hostport(*probe.flow.remote)} is gone'))
            return
        if not probe.transaction or now < probe.next or transport is None:
            return
        data = probe.send(now)
        if data is None:
            where = hostport(*probe.flow.remote)
            self._failed(probe, ConnectError(f'{where} does not answer {REQUESTS} keep-alives'), silent=True)
        elif self._send(transport, probe, data):
            self._push(probe.next, probe)

    def _send(self, transport: Transport, probe: Probe, data: bytes) -> bool:
        try:
            transport.send(data, probe.flow)
        except TransportError as error:
            probe.transaction = b''
            self._failed(probe, error)
            return False
        return True

    def _ping(self, transport: Transport, probe: Probe, now: float) -> None:
        """A stream: without a pong the transport ends the connection, which is looked for a little later.

        No connection is a failure if there was one before; ``tries`` remembers it.
        """
        probe.asked = now
        try:
            there = isinstance(transport, StreamTransport) and transport.ping(probe.flow)
        except TransportError as error:
            self._failed(probe, error)
            return
        if there:
            probe.tries = 1
            self._alive(probe)
            self._push(now + PONG_TIME + 1.0, probe)
        else:
            self._go_on(probe, now)

    def _transport(self, flow: Flow) -> Transport | None:
        """Whose point it is; the points of a wildcard address share its transport."""
        point = flow.point
        for transport in self.endpoint.transports:
            if transport.point.transport == point.transport and transport.point.address == point.address:
                return transport
        return None

    def _on_stun(self, data: bytes, flow: Flow) -> None:
        """A STUN message that is not a Binding request, in a reader's greenlet."""
        probe = self._probes.get(flow)
        answer = read_answer(data)
        if probe is None or answer is None or not probe.transaction or answer.transaction != probe.transaction:
            # Nobody who has not seen our request knows its number.
            return
        probe.transaction = b''
        if answer.mapped is None:
            self._failed(probe, ConnectError(f'{hostport(*flow.remote)} refuses keep-alives: {answer.error}'))
            return
        before, probe.mapped = probe.mapped, answer.mapped
        if before is not None and before != answer.mapped:
            self._failed(probe, ConnectError(f'{hostport(*flow.remote)} hears us from {hostport(*answer.mapped)},'
                                             f' no longer from {hostport(*before)}'))
        else:
            self._alive(probe)

    # -- telling

    def _wanting(self, flow: Flow) -> list[KeepAlive]:
        return [wish for wish in self._wishes if not wish.stopped and wish.source() == flow]

    def _alive(self, probe: Probe) -> None:
        for wish in self._wanting(probe.flow):
            wish.error = None
            wish.silent = False
            wish.mapped = probe.mapped

    def _failed(self, probe: Probe, error: TransportError, silent: bool = False) -> None:
        log.info('! %r has failed: %s', probe.flow, error)
        for wish in self._wanting(probe.flow):
            wish.error = error
            wish.silent = silent
            wish.mapped = probe.mapped
            if wish.on_failed is not None:
                try:
                    wish.on_failed(wish)
                except Exception:
                    log.exception('! on_failed of %r failed', wish)

    def _forget_unwanted(self) -> None:
        """A probe lives as long as somebody wants its flow."""
        wanted = {wish.source() for wish in self._wishes if not wish.stopped}
        for flow in [flow for flow in self._probes if flow not in wanted]:
            del self._probes[flow]

    def close(self) -> None:
        """End all.  Does not block; twice does nothing."""
        self.closed = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)
        self._due.clear()
        self._wishes.clear()
