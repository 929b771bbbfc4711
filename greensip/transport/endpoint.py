"""The endpoint: joins a pure core with transports, a clock and a resolver.

The core never calls out; it is given messages, verbs and the time, and afterwards its queues hold what is to be sent,
which names are to be looked up, and what happened.  Emptying them is ``flush()``, and whoever touches the core calls
it: the reader greenlets here after each message, the timer greenlet, and the user agent after each verb.

**Order.**  Messages go out in the order in which the core made them, and events reach ``on_event`` in the order in
which they happened; what was to be sent before an event is sent before ``on_event`` sees the event.  ``on_event`` may
call verbs and ``flush()``: messages are then sent at once, further events wait until the present call has returned.

**Greenlets.**  One reader per transport, one for the timers, one for each name that is being looked up just now (many
requests for one name share it, and there are at most ``LOOKUPS``).  Nothing is sent from a hub callback.  An endpoint
belongs to the hub that made it; ``flush()`` from another OS thread raises ``WrongThread``.

Not as RFC 3261 18.2.1: it listens where it is told to, for TCP beside UDP only if a place says so.

**Hostile input.**  What cannot be parsed is counted, answered if it shows where to, and logged at debug level only.  An
exception in the handling of a message is logged with its traceback, once a second at most, and the reader lives.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, ParamSpec, Protocol

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

from greensip.dialog.core import Core
from greensip.dialog.event import Event
from greensip.dialog.routing import Lookup, LookupKey, Target, is_numeric
from greensip.errors import ParseError, ResolveError, SetupError, TransportError, UsageError, WrongThread
from greensip.message import LIMITS, Limits, Message, Request, Response, parse_message
from greensip.native import mypyc_attr
from greensip.transaction.flow import Address, Flow, Point, hostport

from .base import Listen, Receiver, Transport, readable_head
from .clock import Clock, ClockTimer, RealClock
from .resolver import Resolver, SystemResolver
from .tcp import TcpTransport
from .tls import TlsTransport
from .udp import UdpTransport
from .wire import known, log_received, log_sent, wire

__all__ = ['LOOKUPS', 'TRANSPORTS', 'Endpoint', 'EndpointCounters', 'Network', 'Tap']

log: Final = logging.getLogger('greensip.transport')

#: names that are looked up at the same time; further ones fail at once
LOOKUPS = 256

NEVER: Final = float('inf')
DEBUG: Final = logging.DEBUG


def over_websocket(listen: Listen, receiver: Receiver) -> Transport:
    """WebSockets need an extra, so they are imported when somebody wants them.  Raises SetupError, TransportError."""
    try:
        from .websocket import WssTransport, WsTransport
    except ImportError as error:
        raise SetupError(f"cannot listen on {listen}: WebSockets need wsproto: pip install 'greensip[websocket]'"
                         ) from error
    return WssTransport(listen, receiver) if listen.transport == 'WSS' else WsTransport(listen, receiver)


#: what a place to listen at may begin with, and what then listens
TRANSPORTS: Final[dict[str, Callable[[Listen, Receiver], Transport]]] = {
    'UDP': UdpTransport,
    'TCP': TcpTransport,
    'TLS': TlsTransport,
    'WS': over_websocket,
    'WSS': over_websocket,
}

#: called with '<' or '>' (received, sent), the octets, the flow and the time; must not block
Tap = Callable[[str, bytes, Flow, float], object]

P = ParamSpec('P')

# The real thread's identity, also where gevent.monkey has made get_ident() that of the greenlet.
_thread_ident: Final[Callable[[], int]] = get_original('_thread', 'get_ident')


class Network(Protocol):
    """What may stand in for the system's network, such as ``MemoryNetwork``."""

    @property
    def clock(self) -> Clock: ...

    @property
    def resolver(self) -> Resolver: ...

    def listen(self, listen: Listen, receiver: Receiver) -> Transport:
        """Open a transport.  Raises TransportError."""


class EndpointCounters:
    """What an endpoint has seen.  Plain numbers that only grow."""

    __slots__ = ('broken', 'failures', 'lookups', 'messages', 'sent', 'unsent')

    def __init__(self) -> None:
        #: messages that could be parsed, and those that could not
        self.messages = 0
        self.broken = 0
        #: messages handed to a transport, and those that no transport would take
        self.sent = 0
        self.unsent = 0
        #: names that were not in the resolver's cache
        self.lookups = 0
        #: exceptions that nobody should have raised
        self.failures = 0

    def __repr__(self) -> str:
        return f"<EndpointCounters {', '.join(f'{name} {getattr(self, name)}' for name in self.__slots__)}>"


@mypyc_attr(allow_interpreted_subclasses=True)
class Endpoint:
    """A core on the network.

    ``listen`` are places such as ``'udp:127.0.0.1:5060'`` or ``Listen`` values; port 0 takes a free one.  ``network``
    replaces the system's (its clock and resolver are then the default ones), ``advertised`` is what peers are told
    instead of the local address unless a place says so itself.  Binds at once, and raises TransportError with one
    sentence if that fails; ``start()`` begins to receive.

    ``on_event`` is called with each event of the core, in whatever greenlet flushes; it must not block.
    """

    def __init__(self, core: Core, listen: Iterable[str | Listen] = ('udp:127.0.0.1:5060',), *,
                 clock: Clock | None = None, network: Network | None = None, resolver: Resolver | None = None,
                 advertised: Address | None = None, limits: Limits = LIMITS) -> None:
        self.core = core
        self.network = network
        self.clock = default_clock(network) if clock is None else clock
        if resolver is None:
            resolver = network.resolver if network is not None else SystemResolver(self.clock)
        self.resolver = resolver
        self.limits = limits
        self.counters = EndpointCounters()
        self.on_event: Callable[[Event], object] = ignore
        #: for tracing: see ``Tap``
        self.taps: list[Tap] = []
        self.transports: list[Transport] = []
        self.closed = False
        self._ident = _thread_ident()
        self._now = self.clock.now
        self._grid = self.clock.grid
        self._senders: dict[Point, Callable[[bytes, Flow], None]] = {}
        self._flushing = False
        self._looking_up: dict[LookupKey, list[Lookup]] = {}
        self._lookup_greenlets: set[gevent.Greenlet[[Lookup], None]] = set()
        #: what the timer greenlet sleeps for: the deadline, and what it is on the clock's grid
        self._armed = NEVER
        self._rounded = NEVER
        self._alarm: ClockTimer | None = None
        self._waiter: Waiter[None] = Waiter()
        self._timer_greenlet: gevent.Greenlet[[], None] | None = None
        self._next_report = 0.0
        self._unreported = 0
        try:
            for place in listen:
                self._open(Listen.parse(place) if isinstance(place, str) else place, advertised)
        except BaseException:
            self.close()
            for transport in self.transports:
                core.points.remove(transport.point)
            raise

    def __repr__(self) -> str:
        return f"<Endpoint {', '.join(hostport(*point.address) for point in self.core.points)}>"

    def __enter__(self) -> Endpoint:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    # -- opening and closing

    @property
    def points(self) -> list[Point]:
        """Where we listen, with the real ports."""
        return self.core.points

    def _open(self, listen: Listen, advertised: Address | None) -> None:
        if advertised is not None:
            listen = listen.showing(advertised)
        if self.network is not None:
            transport = self.network.listen(listen, self)
        else:
            factory = TRANSPORTS.get(listen.transport)
            if factory is None:
                known = ', '.join(sorted(name.lower() for name in TRANSPORTS))
                raise UsageError(f'cannot listen on {listen}: the transports are {known}')
            transport = factory(self._numeric(listen), self)
        self.opened(transport.point, transport)
        self.core.points.append(transport.point)
        self.transports.append(transport)

    def _numeric(self, listen: Listen) -> Listen:
        """A name of this machine becomes its address."""
        if is_numeric(listen.host):
            return listen
        try:
            addresses = self.resolver.addresses(listen.host)
        except ResolveError as error:
            raise TransportError(f'cannot listen on {listen}: {error}') from error
        return listen._replace(host=addresses[0])

    def start(self) -> None:
        """Begin to receive and to run timers.  Does not block."""
        if self._timer_greenlet is not None or self.closed:
            return
        self._timer_greenlet = gevent.spawn(self._run_timers)
        for transport in self.transports:
            transport.start()
        self.flush()

    def close(self) -> None:
        """Stop everything and give the ports back; what the core had in mind is dropped.  Does not block."""
        if self.closed:
            return
        self.closed = True
        for transport in self.transports:
            transport.close()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._armed = self._rounded = NEVER
        current = gevent.getcurrent()
        for greenlet in (self._timer_greenlet, *self._lookup_greenlets):
            # One of them may be running us, in on_event: it sees ``closed`` when it is back.
            if greenlet is not None and greenlet is not current:
                greenlet.kill(block=False)

    def check_thread(self) -> None:
        """Raise WrongThread unless this is the OS thread of the endpoint's hub."""
        if _thread_ident() != self._ident:
            raise WrongThread('this endpoint belongs to another OS thread: use from_thread() or post() there')

    def now(self) -> float:
        """The time of the endpoint's clock."""
        return self._now()

    # -- the core's queues

    def flush(self) -> None:
        """Send what the core wants to send, start its look-ups, hand on its events, set its next timer."""
        if _thread_ident() != self._ident:
            self.check_thread()
        core = self.core
        outgoing = core.outgoing
        lookups = core.lookups
        if self._flushing:
            # Within on_event.  Sending is safe, and due; the events are handed on by the flush further out.
            while outgoing or lookups:
                self._send_all(outgoing)
                if lookups:
                    self._look_up(lookups.popleft())
            return
        events = core.events
        self._flushing = True
        try:
            while True:
                if outgoing:
                    self._send_all(outgoing)
                if lookups:
                    self._look_up(lookups.popleft())
                elif events:
                    try:
                        self.on_event(events.popleft())
                    except Exception:
                        self._report('on_event')
                elif not outgoing:
                    break
        finally:
            self._flushing = False
        if core.timers.earliest < self._armed:
            self._arm(core.timers.earliest)

    def _send_all(self, outgoing: deque[tuple[bytes, Flow]]) -> None:
        senders = self._senders
        while outgoing:
            data, flow = outgoing.popleft()
            send = senders.get(flow.point)
            if send is None:
                self._unsent(data, flow, TransportError(f'{flow.point} is not a point of this endpoint'))
                continue
            try:
                send(data, flow)
            except TransportError as error:
                self._unsent(data, flow, error)
            except Exception as error:
                self._report('sending')
                self._unsent(data, flow, TransportError(f'cannot send to {hostport(*flow.remote)}: {error}'))
            else:
                self.counters.sent += 1
                if self.taps:
                    self._tap('>', data, flow)
                if known.get(DEBUG, True) and wire.isEnabledFor(DEBUG):
                    log_sent(data, flow)

    def _unsent(self, data: bytes, flow: Flow, error: TransportError) -> None:
        if self.closed:
            return
        self.counters.unsent += 1
        log.debug('! %s', error)
        self._core(self.core.transport_failed, flow, error, self._now(), readable_head(data))

    # -- what comes from the transports

    def received(self, data: bytes, flow: Flow) -> None:
        """A message has come in on ``flow``."""
        if self.taps:
            self._tap('<', data, flow)
        if known.get(DEBUG, True) and wire.isEnabledFor(DEBUG):
            log_received(data, flow)
        try:
            try:
                message: Request | Response = parse_message(data, self.limits)
            except ParseError as error:
                self.counters.broken += 1
                log.debug('! cannot read a message of %r: %s', flow, error)
                self.core.receive_broken(error, flow, self._now())
            else:
                self.counters.messages += 1
                self.core.receive(message, flow, self._now())
        except Exception:
            self._report('receiving')
        self.flush()

    def arrived(self, item: Request | Response | ParseError, flow: Flow, data: bytes = b'') -> None:
        """A message of a stream has come in on ``flow``, or what is wrong with one."""
        logged = known.get(DEBUG, True) and wire.isEnabledFor(DEBUG)
        if self.taps or logged:
            self._show(item, flow, data, logged)
        try:
            if isinstance(item, ParseError):
                self.counters.broken += 1
                log.debug('! cannot read a message of %r: %s', flow, item)
                self.core.receive_broken(item, flow, self._now())
            else:
                self.counters.messages += 1
                self.core.receive(item, flow, self._now())
        except Exception:
            self._report('receiving')
        self.flush()

    def _show(self, item: Request | Response | ParseError, flow: Flow, data: bytes, logged: bool) -> None:
        """Show a message of a stream; if its beginning came before anybody looked, as we would write it."""
        if not data:
            message = item.message if isinstance(item, ParseError) else item
            if not isinstance(message, Message):
                return
            data = message.to_bytes()
        if self.taps:
            self._tap('<', data, flow)
        if logged:
            log_received(data, flow)

    def looks(self) -> bool:
        """Whether there is a tap, or the wire is logged."""
        return bool(self.taps) or (known.get(DEBUG, True) and wire.isEnabledFor(DEBUG))

    def failed(self, flow: Flow, error: TransportError, data: bytes = b'') -> None:
        """What was sent on ``flow`` has not arrived: ``data``, or everything."""
        if self.closed:
            return
        self._core(self.core.transport_failed, flow, error, self._now(), data)
        # While we are sending, this tells of an earlier message; what follows from it is to wait its turn.
        if not self._flushing:
            self.flush()

    def opened(self, point: Point, transport: Transport) -> None:
        """``transport`` also sends for ``point``."""
        self._senders[point] = transport.send

    # -- names

    def _look_up(self, lookup: Lookup) -> None:
        key = lookup.key
        waiting = self._looking_up.get(key)
        if waiting is not None:
            waiting.append(lookup)
            return
        targets = self._cached(lookup)
        if targets:
            self._core(self.core.located, lookup, targets, None, self._now())
        elif len(self._looking_up) >= LOOKUPS:
            error = ResolveError(f'cannot look up {lookup.name}: {LOOKUPS} names are being looked up')
            self._core(self.core.located, lookup, [], error, self._now())
        else:
            self.counters.lookups += 1
            self._looking_up[key] = [lookup]
            greenlet = gevent.spawn(self._locate, lookup)
            self._lookup_greenlets.add(greenlet)

    def _families(self) -> Sequence[int]:
        """The address families that we can send to, the preferred one first."""
        return list(dict.fromkeys(point.family for point in self.core.points))

    def _cached(self, lookup: Lookup) -> Sequence[Target]:
        hop = lookup.hop
        if lookup.number:
            return []
        return self.resolver.cached(hop, self.core.router.transports(lookup.point), self._families())

    def _locate(self, first: Lookup) -> None:
        """The greenlet that looks a name or a number up for everybody who waits for it."""
        targets: Sequence[Target] = ()
        uris: Sequence[str] = ()
        error: TransportError | None = None
        try:
            if first.number:
                uris = self.resolver.enum(first.number, self.core.enum)
            else:
                transports = self.core.router.transports(first.point)
                targets = self.resolver.locate(first.hop, transports, self._families())
        except TransportError as trouble:
            error = trouble
        except Exception as bug:
            self._report(f'looking up {first.name}')
            error = ResolveError(f'cannot look up {first.name}: {bug}')
        finally:
            self._lookup_greenlets.discard(gevent.getcurrent())
            waiting = self._looking_up.pop(first.key, [])
        now = self._now()
        for lookup in waiting:
            if lookup.number:
                self._core(self.core.translated, lookup, uris, error, now)
            else:
                # Each draws for itself among servers of equal priority (RFC 2782); who came first has drawn.
                drawn = targets if lookup is first or not targets else self._cached(lookup) or targets
                self._core(self.core.located, lookup, drawn, error, now)
        self.flush()

    # -- time

    def _arm(self, deadline: float) -> None:
        """Have the timer greenlet wake at ``deadline``, rounded up to the clock's grid, or earlier."""
        if self.closed:
            return
        self._armed = deadline
        if self._grid:
            deadline = -(-deadline // self._grid) * self._grid
        if deadline < self._rounded:
            if self._alarm is not None:
                self._alarm.cancel()
            self._rounded = deadline
            self._alarm = self.clock.at(deadline, self._due)

    def _due(self) -> None:
        # In the hub: only wakes the greenlet.
        self._armed = self._rounded = NEVER
        self._alarm = None
        self._waiter.switch(None)

    def _run_timers(self) -> None:
        """The greenlet of the timers."""
        while not self.closed:
            self._waiter.get()
            self._waiter.clear()
            self._core(self.core.handle_timers, self._now())
            self.flush()
            deadline = self.core.next_timer()
            if deadline is not None:
                self._arm(deadline)

    # -- when something is wrong with us

    def _core(self, method: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell the core something; an exception is its mistake, and not that of who happens to flush."""
        try:
            method(*args, **kwargs)
        except Exception:
            self._report(method.__name__)

    def _tap(self, direction: str, data: bytes, flow: Flow) -> None:
        now = self._now()
        for tap in list(self.taps):
            try:
                tap(direction, data, flow, now)
            except Exception:
                self._report('a tap')

    def _report(self, what: str) -> None:
        """Log the exception that is being handled.  Whoever found a way to cause it may do so very often."""
        self.counters.failures += 1
        now = self._now()
        if now < self._next_report:
            self._unreported += 1
            return
        more = f' ({self._unreported} more since the last one)' if self._unreported else ''
        self._next_report = now + 1.0
        self._unreported = 0
        log.exception('! %s failed%s', what, more)


def default_clock(network: Network | None) -> Clock:
    """The clock of ``network``, or the machine's."""
    return network.clock if network is not None else RealClock()


def ignore(event: Event) -> None:
    """What an endpoint without a user does with an event."""
