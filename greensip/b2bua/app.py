"""The B2BUA as a program: a user agent, a table of calls, and what looks after them."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import gevent
from gevent.event import Event

from greensip.b2bua.access import WEBSOCKET
from greensip.b2bua.call import Call, carry
from greensip.b2bua.cdr import CdrFile
from greensip.b2bua.control import CommandSocket
from greensip.b2bua.keepalive import KeepAlive
from greensip.b2bua.options import Options
from greensip.b2bua.payloads import FilteringAgent
from greensip.b2bua.routes import usable_routes
from greensip.b2bua.transfer import carry_out
from greensip.b2bua.trunk import Trunks
from greensip.dialog.session_timer import SHORTEST
from greensip.errors import SetupError, TransportError, UsageError
from greensip.transaction.flow import Point, hostport
from greensip.transport.base import Listen, read_hostport
from greensip.ua import Bridge, IncomingLeg, Transfer, UserAgent

__all__ = ['B2bua']

log: Final = logging.getLogger('greensip.b2bua')

#: redirections of one attempt that are followed at most
MAX_REDIRECTIONS: Final = 5
#: seconds for which the programs of calls that were hung up may take to write their records
LAST_WORDS: Final = 1.0


class B2bua:
    """Carries calls as ``options`` say; ``handler(leg)`` or ``handler(leg, b2bua)`` does it in place of the routes.

    Opens everything at once, and raises SetupError with one sentence when something cannot be had.  ``network`` and
    ``clock`` are for tests.  Calls are taken from ``start()`` on, and until ``stop()`` has drained them.
    """

    def __init__(self, options: Options, handler: Callable[..., Any] | None = None, *, network: Any = None,
                 clock: Any = None) -> None:
        self.options = options
        #: what the calls need, ready for use
        self.routes = usable_routes(options.static_route)
        self.translate_in = options.static_tr_in
        self.translate_out = options.static_tr_out
        self.pass_headers: tuple[str, ...] = options.pass_headers
        self.hide_call_id: bool = options.hide_call_id
        #: how many redirections of an attempt are followed
        self.follow = MAX_REDIRECTIONS if options.redirect == 'follow' else 0
        #: who passes a REFER on gets the INVITE with Replaces that comes of it
        self.replaces: bool = options.replaces or options.refer != 'refuse'
        self.prack: str | None = options.prack
        #: what a bridge does with REFER
        self.refer: Any = options.refer if options.refer != 'handle' else self._on_refer
        self.max_time: float | None = min(
            (limit for limit in (options.max_credit_time, options.max_duration) if limit is not None), default=None)
        self.program = _program(handler)
        self.calls: dict[int, Call] = {}
        #: where a transfer is under way
        self.transfers: set[Bridge] = set()
        #: calls begun so far
        self.count = 0
        self.stopping = False
        #: what nobody asked for expressly and we do without: for the log, once we run
        self.missing: list[str] = []
        self.stopped = Event()
        self.cdr: CdrFile | None = None
        self.control: CommandSocket | None = None
        self.keep_alive: KeepAlive | None = None
        self.trunks: Trunks | None = None
        # Only a script can hold the hub for long.
        self.ua = _open(options, network=network, clock=clock, watchdog=0.1 if handler is not None else None)
        try:
            if options.acct_enable and options.cdr is not None:
                self.cdr = CdrFile(options.cdr)
            self.control = self._open_control()
        except SetupError:
            self.close()
            raise
        self.start_records: bool = self.cdr is not None and options.start_acct_enable
        if options.keepalive_ans or options.keepalive_orig:
            self.keep_alive = KeepAlive(self.ua, options.keepalive_ans, options.keepalive_orig)
        self._check_transports()
        self.trunks = self._open_trunks()
        #: our host as a URI has it
        self.host = hostport(self.ua.host, None)
        #: where a call that comes from there has been here before
        self.own_addresses = {address for point in self.ua.points for address in (
            point.address, point.advertised, *((host, point.address[1]) for host in self._hosts(point)))}
        #: the time of day at the zero of the user agent's clock
        self.wall = time.time() - self.ua.clock.now()

    def _open_trunks(self) -> Trunks | None:
        """Those to register at."""
        if not self.options.register:
            return None
        try:
            return Trunks(self.ua, self.options.register, self.routes)
        except SetupError:
            self.close()
            raise

    def _check_transports(self) -> None:
        """Refuse routes that ask for a transport which no place is there to send from, and tell of those whose address
        is of the other family than all of our places."""
        ours = {point.transport.lower() for point in self.ua.points}
        families = {(point.transport.lower(), ':' in point.address[0]) for point in self.ua.points}
        for route in self.routes:
            if route.transport and route.transport not in ours:
                self.close()
                raise SetupError(f'the route {route.text} needs a place of its transport to send from:'
                                 f' pass --listen {route.transport}:HOST:PORT')
            kind, six = route.transport or 'udp', ':' in route.host
            numeric = six or route.host.replace('.', '').isdigit()
            if numeric and route.op is None and (kind, six) not in families:
                self.missing.append(f'no place of ours leads to the route {route.text}:'
                                    f' pass --listen {kind}:{"[::]" if six else "0.0.0.0"}:PORT')

    def _hosts(self, point: Point) -> tuple[str, ...]:
        """The addresses of this machine behind a wildcard address, as far as we know them."""
        return (self.ua.host, '127.0.0.1', '::1') if point.address[0] in ('0.0.0.0', '::') else ()

    def _open_control(self) -> CommandSocket | None:
        """The command socket; without one that nobody asked for we can do."""
        text = self.options.b2bua_socket
        try:
            return CommandSocket(text, self)
        except SetupError as error:
            if 'b2bua_socket' in self.options.given:
                raise
            self.missing.append(f'{error}; there will be none')
            return None

    # -- running

    def start(self) -> None:
        """Take calls.  Does not block."""
        if self.options.refer == 'handle':
            self.ua.handle('REFER', self._on_refer)
        self.ua.serve(self._handle, max_legs=self.options.max_calls, background=True,
                      screen=None if self.options.accept_ips is None else self._screen)
        if self.trunks is not None:
            self.trunks.start()
        for point in self.ua.points:
            log.info('= listening on %s:%s', point.transport.lower(), hostport(*point.address))
        if self.options.acct_enable and self.cdr is None:
            log.info('= call records are not written: no --cdr FILE was given')
        for sentence in self.missing:
            log.warning('! %s', sentence)

    def run(self) -> None:
        """Take calls, and block until ``stop()`` is done."""
        self.start()
        self.stopped.wait()

    def stop(self) -> None:
        """Take no more calls, wait ``--drain-time`` for those that there are, hang up the rest, and end ``run()``.

        A second time hangs up at once.  Does not block.
        """
        if self.stopping:
            self.disconnect_all()
            return
        self.stopping = True
        if self.trunks is not None:
            # No calls come from there any more.
            self.trunks.close()
        log.info('= stopping, %d calls left', len(self.calls))
        gevent.spawn(self._stop)

    def _stop(self) -> None:
        self.ua.drain(self.options.drain_time)
        self.close()
        self.stopped.set()

    def close(self) -> None:
        """Hang up and give everything back.  Blocks until the peers have agreed, or two seconds."""
        self.stopping = True
        for call in list(self.calls.values()):
            call.hang_up('shutdown')
        if self.trunks is not None:
            self.trunks.close()
        self.ua.close()
        for _ in range(100):
            # The programs of the calls write their records when they are run next.
            if not self.calls:
                break
            gevent.sleep(LAST_WORDS / 100)
        if self.control is not None:
            self.control.close()
        if self.cdr is not None:
            self.cdr.close()

    def reopen(self) -> None:
        """Open the file of records again, and that of the capture."""
        if self.cdr is not None:
            self.cdr.reopen()
        if self.ua.traces is not None:
            self.ua.traces.reopen()

    # -- calls

    def _screen(self, leg: IncomingLeg) -> int | None:
        """Whether a call is refused before anything else is done about it."""
        accepted = self.options.accept_ips
        # As sippy has it: a browser's address says nothing about who it is.
        if WEBSOCKET in accepted.names if leg.flow.point.one_way else leg.source[0] in accepted:
            return None
        log.debug('! %s may not call', leg.source[0])
        return 403

    def _handle(self, leg: IncomingLeg) -> None:
        """A call, in a greenlet of its own."""
        self.count += 1
        call = Call(self, leg, self.count)
        self.calls[call.number] = call
        timer = None
        if self.max_time is not None and self.program is not carry:
            # A script knows nothing of our limits.
            timer = self.ua.clock.timer(self.max_time, self.ua.workers.start, call.hang_up, 'credit-time')
        try:
            self.program(call)
        except BaseException as error:
            call.ended(error)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            del self.calls[call.number]
            if self.keep_alive is not None:
                self.keep_alive.end(call)
            if self.cdr is not None:
                self.cdr.write(call.record('stop'))

    def write_record(self, record: dict[str, Any]) -> None:
        """Put a record into the file of records, if there is one."""
        if self.cdr is not None:
            self.cdr.write(record)

    def call_of(self, leg: Any) -> Call | None:
        """The call that ``leg`` is one side of; None if there is none."""
        return next((call for call in self.calls.values() if leg in (call.successor, call.callee, call.caller)), None)

    def _on_refer(self, transfer: Transfer) -> int | None:
        """``--refer handle``: a REFER inside a call, or outside of it with Target-Dialog."""
        return carry_out(self, transfer)

    # -- what the command socket and the signals ask for

    def call_lines(self) -> Iterator[str]:
        """A line for each call, then their number."""
        calls = list(self.calls.values())
        for call in calls:
            yield call.line()
        yield f'Total: {len(calls)}'

    def transaction_lines(self, older_than: float) -> Iterator[str]:
        """A line for each transaction that has lived for so many seconds."""
        layer, now = self.ua.core.layer, self.ua.clock.now()
        for name, transactions in (('server', layer.servers), ('client', layer.clients)):
            yield f'In-memory {name} transactions:'
            for key, transaction in list(transactions.items()):
                age = now - transaction.started
                if age >= older_than:
                    yield f'{key} {transaction.method} {transaction.state} {age:.3f}'

    def disconnect(self, call_id: str) -> int:
        """Hang up the calls with this Call-ID, be it the caller's or ours; how many there were."""
        found = [call for call in self.calls.values() if call_id in (call.call_id, call.sent[2])]
        for call in found:
            call.hang_up('operator')
        return len(found)

    def disconnect_all(self) -> None:
        """Hang up every call."""
        log.info('= disconnecting all %d calls', len(self.calls))
        for call in list(self.calls.values()):
            call.hang_up('operator')

    def media_timeout(self, number: int, index: int) -> bool:
        """A media relay tells that the media of a call stopped.  No call has a relay yet."""
        return number in self.calls


def _open(options: Options, **common: Any) -> UserAgent:
    """The user agent; SetupError if its addresses cannot be had."""
    common |= {'pcap': options.pcap, 'hep': options.hep, **_extensions(options)}
    try:
        places = [Listen.parse(place) for place in options.listening()]
        if options.advertise:
            places = [place.showing(read_hostport(options.advertise, place.port)) for place in places]
        if options.allowed_pts:
            return FilteringAgent(*places, allowed=options.allowed_pts, keep_responses=False, **common)
        return UserAgent(*places, keep_responses=False, **common)
    except (TransportError, UsageError) as error:
        raise SetupError(str(error)) from None


def _extensions(options: Options) -> dict[str, Any]:
    """What the legs can do beyond RFC 3261; nothing of it unless it is asked for."""
    tags = []
    settings: dict[str, Any] = {}
    if options.session_timer is not None:
        tags.append('timer')
        settings |= {'session_timer': options.session_timer, 'min_se': options.min_se or SHORTEST}
    if options.prack is not None:
        tags.append('100rel')
    if options.refer != 'refuse':
        settings['allow'] = ('REFER', 'NOTIFY')
        tags.append('norefersub')
    if options.refer == 'handle':
        tags.append('tdialog')
    if options.replaces or options.refer != 'refuse':
        tags.append('replaces')
    return {'supported': tags, **settings}


def _program(handler: Callable[..., Any] | None) -> Callable[[Call], Any]:
    """What carries a call: ours, or a person's handler of one argument (the leg) or two (and the B2BUA)."""
    if handler is None:
        return carry
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        return lambda call: handler(call.caller)
    except ValueError:
        return lambda call: handler(call.caller)
    return lambda call: handler(call.caller, call.b2bua)
