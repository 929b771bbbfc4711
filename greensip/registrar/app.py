"""A small registrar for tests and small sites: it takes registrations, and brings calls and messages to who registered.

    with UserAgent('udp:0.0.0.0:5060', 'tcp:0.0.0.0:5060') as ua:
        users = MemoryUsers('example.com', {'alice': 's3cret', 'bob': 'b0b'})
        with Registrar(ua, domains=['example.com'], users=users) as registrar:
            registrar.run()

A REGISTER is answered at once, in the greenlet that received it; a call has a greenlet, as everywhere.  Calls are
carried as a B2BUA does it (RFC 7092): the phones that have registered are called, all at once or in the order of their
q values, the first that answers is joined with the caller, the others are told that the call was completed elsewhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import gevent
from gevent.event import Event
from gevent.queue import SimpleQueue

from greensip.errors import ConnectError, GreensipError, ParseError, ResponseError, UsageError, WaitTimeout
from greensip.message import Request, Response, parse_uri
from greensip.transaction.flow import Flow, Hop, Point
from greensip.transport.base import read_hostport
from greensip.transport.stream import StreamTransport
from greensip.ua import Bridge, IncomingLeg, IncomingRequest, LegGroup, OutgoingLeg, UserAgent, wait_any
from greensip.ua.bridge import join_instead
from greensip.ua.fields import passable
from greensip.ua.group import rank
from greensip.ua.threads import ThreadBound

from .binding import Binding
from .events import RegNotifier, States
from .guard import Guard, Reply
from .location import Change, Location, Policy
from .store import MemoryStore, Store
from .targets import Target, speaks_for_the_flow, waves
from .users import Users

__all__ = ['Registrar']

log = logging.getLogger('greensip.registrar')

#: what a client may require of us (RFC 3327, 5626, 5627)
EXTENSIONS = ('path', 'outbound', 'gruu')
#: what a user agent supports, but not one that joins two legs to a call: an answer in a reliable response would have to
#: go on as one, and of several phones each may have its own
NOT_HERE = frozenset({'100rel', '199', 'join', 'norefersub', 'tdialog'})
#: RFC 8760 lets a server offer several.  By default it is one: baresip 1.0 gives up where it sees another one, SIPp and
#: JsSIP look at the first only.
ALGORITHMS = ('MD5',)
#: RFC 3261 16.6 (11), timer C: seconds for which a call may ring in all
LONGEST_RINGING = 180.0
#: for the answer to a MESSAGE: it has to come before its sender gives up (RFC 4320)
REPLY_TIME = 20.0
#: seconds between two looks at what has run out, at least
EXPIRY_STEP = 1.0
#: seconds after a change until the database is tidied, and changes after which it is earlier: each is a page of its log
TIDY_TIME = 30.0
TIDY_CHANGES = 2000
#: pages of a log that is to begin anew, which waits for the disk for a moment
LARGE_LOG = 1000
#: seconds between two looks at the connections on which there are bindings, and how many of them at once
FLOW_STEP = 5.0
AT_ONCE = 200
NEVER = float('inf')


class Registrar(ThreadBound):
    """The registrar of ``domains`` on a user agent, which it takes over: its calls, and its REGISTER and MESSAGE.

    Without ``domains`` it is responsible for every host, all of them being one domain.  ``users`` are asked who may
    register; without them everybody may.  ``realm`` is that of their passwords, by default the first domain.
    ``store`` keeps the bindings, by default nowhere; it is closed with the registrar.  ``algorithms`` of digest in the
    order of preference.  ``policy`` are limits and times.

    A caller whose From is that of a user has to prove it.  Others may call users, unless ``strangers`` is false.
    ``ring_time``: seconds for which the phones of one q value ring before those of the next are called.
    ``max_calls`` at a time.  ``presence``: take what phones publish of presence, calls and waiting messages, and tell
    users who watch; for one domain.  ``on_change(change)`` is told of every change of a registration; must not block.
    ``wall``: the time of day in seconds since 1970 at the zero of the user agent's clock, for tests.

    Raises WrongState when the user agent has a handler for calls already, UsageError, SetupError.
    """

    def __init__(self, ua: UserAgent, *, domains: Sequence[str] = (), users: Users | None = None, realm: str = '',
                 store: Store | None = None, policy: Policy | None = None, algorithms: Sequence[str] = (),
                 strangers: bool = True, ring_time: float = 20.0, max_calls: int | None = None, presence: bool = False,
                 on_change: Callable[[Change], object] | None = None, wall: float | None = None) -> None:
        if presence and len(domains) > 1:
            raise UsageError('presence is for one domain: its resources are user names')
        if policy is not None and policy.min_expires > policy.max_expires:
            raise UsageError(f'no interval is {policy.min_expires} s at least and {policy.max_expires} s at most')
        self.ua = ua
        self.strangers = strangers
        self.ring_time = ring_time
        self.on_change = on_change
        self.wall = time.time() - ua.clock.now() if wall is None else wall
        self.store = store if store is not None else MemoryStore()
        random = ua.core.random
        self.location = Location(self.store, random=random, domains=domains, policy=policy, on_change=self._on_change)
        if users is not None:
            self.location.guard = Guard(
                users, realm or (domains[0] if domains else 'greensip'), random.getrandbits(256).to_bytes(32, 'big'),
                algorithms or getattr(users, 'algorithms', ()) or ALGORITHMS, self.location.is_ours)
        self.guard = self.location.guard
        #: the Call-IDs of the calls that we make: one that comes in again has gone round
        self._call_ids: set[str] = set()
        #: for what runs out, and for the store
        self._expiry: Any = None
        self._due = NEVER
        self._tidying: Any = None
        self._is_tidying = False
        #: for connections that have gone
        self._looking: Any = None
        self._stopped = Event()
        self.closed = False
        self.location.load(self._restore)
        core = ua.core
        core.configure(supported=[tag for tag in core.supported if tag not in NOT_HERE], understood=EXTENSIONS,
                       allow=list(dict.fromkeys([*core.allow, 'REFER', 'NOTIFY'])))
        core.router.finder = self._find
        self.events = RegNotifier(self.location, self.guard, self.now)
        ua.events('reg', self.events)
        self.states = States(ua, self.location, self.guard, self.now) if presence else None
        ua.handle('REGISTER', self._on_register, blocking=False)
        ua.handle('MESSAGE', self._on_message)
        ua.serve(self._on_call, background=True, max_legs=max_calls)
        self._watch_expiry()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'<Registrar of {self.location.domain}: {len(self.location)} bindings>'

    def run(self) -> None:
        """Block until ``stop()`` or ``close()``."""
        self._stopped.wait()

    def stop(self) -> None:
        """End ``run()``.  Does not block."""
        self._stopped.set()

    def close(self) -> None:
        """Take no more registrations, and close the store.  The user agent is closed by whoever made it."""
        self.closed = True
        for timer in (self._expiry, self._tidying, self._looking):
            if timer is not None:
                timer.cancel()
        self.store.close()
        self._stopped.set()

    def now(self) -> float:
        """Seconds since 1970."""
        return self.ua.clock.now() + self.wall

    def lookup(self, aor: str) -> tuple[Binding, ...]:
        """The bindings of an address of record such as ``alice@example.com``, the preferred ones first."""
        return self.location.lookup(aor, self.now())

    # -- registrations

    def _on_register(self, incoming: IncomingRequest) -> None:
        """A REGISTER.  Does not block."""
        if self.closed:
            incoming.dismiss(503)
            return
        try:
            reply = self.location.register(incoming.request, incoming.flow, self.now())
        except ParseError as error:
            log.debug('! a broken REGISTER from %s: %s', incoming.flow, error)
            reply = Reply(error.status)
        if reply.code == 200:
            incoming.respond(200, headers=reply.headers)
        else:
            # It would be refused again if it came again (RFC 3261 8.2.7): that takes no memory.
            incoming.dismiss(reply.code, reply.reason, headers=reply.headers)

    def _on_change(self, change: Change) -> None:
        if log.isEnabledFor(logging.INFO):
            log.info('= %s %s: %s', change.aor, change.why,
                     ', '.join(binding.contact for binding in change.bindings) or 'nowhere')
        pending: int = getattr(self.store, 'pending', 0)
        if pending and not self.closed:
            if pending > TIDY_CHANGES:
                self._tidy()
            elif self._tidying is None:
                self._tidying = self.ua.clock.timer(TIDY_TIME, self._tidy)
        self._watch_expiry()
        if self._looking is None and self.location.flows and not self.closed:
            self._looking = self.ua.clock.timer(FLOW_STEP, self._look)
        if self.events.count:
            self.events.on_change(change)
        if self.on_change is not None:
            self.on_change(change)

    def _watch_expiry(self) -> None:
        """Wake when the first binding runs out."""
        due = self.location.next_expiry()
        if due is None or due >= self._due or self.closed:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self._due = due
        self._expiry = self.ua.clock.timer(max(due - self.now(), EXPIRY_STEP), self._wake)

    def _wake(self) -> None:
        # In the hub: a greenlet does the work.
        self._expiry, self._due = None, NEVER
        if not self.closed:
            self.ua.workers.start(self._expire, None)

    def _expire(self, _: None) -> None:
        if not self.closed:
            self.location.expire(self.now())
            self._watch_expiry()

    def _look(self) -> None:
        # In the hub: a greenlet does the work.
        if not self.closed:
            self.ua.workers.start(self._look_at_flows, None)

    def _look_at_flows(self, _: None) -> None:
        """RFC 5626 7: bindings go with their connection."""
        for number, flow in enumerate(list(self.location.flows), 1):
            if not self._is_open(flow):
                self.location.lose_flow(flow)
            if not number % AT_ONCE:
                gevent.sleep(0)
                if self.closed:
                    return
        self._looking = self.ua.clock.timer(FLOW_STEP, self._look) if self.location.flows else None

    def _tidy(self) -> None:
        # In the hub: a greenlet does the work, and another OS thread that part of it which waits for the disk.
        if not self.closed and not self._is_tidying:
            self._is_tidying = True
            self.ua.workers.start(self._tidy_store, None)

    def _tidy_store(self, _: None) -> None:
        store: Any = self.store
        try:
            pages = gevent.get_hub().threadpool.apply(store.tidy)
            if pages >= LARGE_LOG and not self.closed:
                store.begin_log_anew()
        finally:
            self._is_tidying = False
            if self._tidying is not None:
                self._tidying.cancel()
                self._tidying = None

    def _restore(self, binding: Binding) -> bool:
        """After a start: connections are gone, the way over UDP is as it was.  False if nothing leads there now."""
        if not binding.source:
            return True
        transport, _, where = binding.source.partition(':')
        point = next((point for point in self.ua.points if point.transport == transport.upper()), None)
        if point is None or point.reliable:
            return not (binding.reg_id or (point is not None and point.one_way))
        host, port = read_hostport(where, 5060)
        binding.flow = Flow(point.toward(host), (host, port))
        return True

    # -- calls

    def _on_call(self, caller: IncomingLeg) -> None:
        """A call, from the caller's INVITE to its end.  Blocks as long as it lasts."""
        invite = caller.invite
        assert invite is not None
        found = self._route(invite) if caller.replaces is None else self._check_caller(invite, strict=True)
        if isinstance(found, Reply):
            caller.reject(found.code, found.reason, headers=found.headers)
            return
        if found is None:
            self._take_over(caller, caller.replaces)
            return
        aor, bindings = found
        with LegGroup(caller) as group:
            callee = self._ring(caller, group, aor, bindings)
            if callee is not None:
                Bridge(caller, callee, refer='pass').wait()

    def _take_over(self, newcomer: IncomingLeg, old: Any) -> None:
        """RFC 3891, the end of an attended transfer: a caller takes the place of one side of an answered call."""
        bridge = Bridge.of(old)
        if bridge is None or old.timings.answered is None:
            # It rings yet, on several phones perhaps: only who calls could be replaced, and nobody asks for that.
            newcomer.reject(481)
        elif join_instead(newcomer, old, bridge):
            bridge.replace(old, newcomer)
            newcomer.wait_ended()
        elif not newcomer.ended and newcomer.response is None:
            newcomer.reject(500, headers={'Retry-After': '2'})

    def _route(self, request: Request) -> tuple[str, tuple[Binding, ...]] | Reply:
        """Where a request goes: an address of record and its bindings, or how it is refused."""
        if request.max_forwards == 0:
            return Reply(483)
        if request.call_id in self._call_ids:
            return Reply(482)
        refusal = self._check_caller(request)
        return refusal if refusal is not None else self.location.resolve(request.uri, self.now())

    def _check_caller(self, request: Request, strict: bool = False) -> Reply | None:
        """Whether whoever is in From may say so: a user has to prove it.  ``strict``: anybody has to be a user."""
        guard = self.guard
        if guard is None:
            return None
        aor = self.location.aor_of(request.from_.uri)
        if self.strangers and not strict and (aor is None or not self.location.is_known(aor)):
            return None
        found = guard.identify(request, self.ua.clock.now() + self.wall)
        if isinstance(found, Reply):
            return found
        return None if self.location.aor_of_user(found) == aor else Reply(403)

    def _ring(self, caller: IncomingLeg, group: LegGroup, aor: str,
              bindings: Sequence[Binding]) -> OutgoingLeg | None:
        """Call the phones, answer the caller with the first that answers, and return its leg; None if nobody does.

        RFC 3261 16.6 and 16.7, as far as a B2BUA has to do with them.
        """
        errors: list[Exception] = []
        clock = self.ua.clock
        end = clock.now() + LONGEST_RINGING
        found = waves(bindings)
        for number, wave in enumerate(found):
            is_last = number == len(found) - 1
            until = end if is_last else min(end, clock.now() + self.ring_time)
            callee = Wave(self, caller, group, aor, wave, errors).ring(until)
            if callee is not None:
                return callee
            if any(isinstance(error, ResponseError) and error.code >= 600 for error in errors):
                # 16.7 (5): it speaks for the person.
                break
        refuse(caller, min(errors, key=rank) if errors else None)
        return None

    def way_to(self, aor: str, binding: Binding) -> dict[str, Any] | None:
        """The arguments of a request that say how it gets to a binding; None if nothing leads there any more."""
        if binding.path:
            # RFC 3327 5.4
            return {'route': list(binding.path)}
        flow = binding.flow
        if flow is None:
            return {}
        if not flow.point.reliable or self._is_open(flow):
            # RFC 5626 7: over the very flow
            return {'flow': flow}
        if binding.reg_id or flow.point.one_way:
            self.location.lose(aor, binding)
            return None
        return {}

    def _find(self, uri_text: str) -> Flow | Hop | None:
        """Where a request inside a call goes whose target is a GRUU of ours: to that phone (RFC 5627 6.1)."""
        if ';gr' not in uri_text.lower():
            return None
        found = self.location.resolve(parse_uri(uri_text), self.now(), only_gruu=True)
        if isinstance(found, Reply):
            return None
        aor, bindings = found
        for binding in bindings:
            way = self.way_to(aor, binding) if binding.can_be_called else None
            if way is not None:
                # 6.1: a Path is not for requests inside a dialog.
                return way.get('flow') or self.ua.core.router.route(binding.contact)
        raise ConnectError(f'nobody is registered for {uri_text}')

    def _is_open(self, flow: Flow) -> bool:
        for transport in self.ua.endpoint.transports:
            if isinstance(transport, StreamTransport) and is_same(transport.point, flow.point):
                return transport.is_open(flow)
        return True

    # -- messages

    def _on_message(self, incoming: IncomingRequest) -> None:
        """A MESSAGE: to all phones at once, the first that takes it answers (RFC 3428 6)."""
        request = incoming.request
        found = self._route(request)
        if isinstance(found, Reply):
            incoming.dismiss(found.code, found.reason, headers=found.headers)
            return
        aor, bindings = found
        ways = [(binding, way) for wave in waves(bindings) for target in wave
                if (binding := target.next()) is not None and (way := self.way_to(aor, binding)) is not None]
        answers: SimpleQueue[Response | GreensipError] = SimpleQueue()
        for binding, way in ways:
            gevent.spawn(self._send, request, binding, way, answers)
        errors: list[Exception] = []
        for _ in ways:
            answer = answers.get()
            if isinstance(answer, Response):
                incoming.respond(answer.code, answer.reason, headers=passable(answer))
                return
            errors.append(answer)
        error = min(errors, key=rank) if errors else None
        incoming.respond(error.code if isinstance(error, ResponseError) and error.code not in OUR_BUSINESS else 480)

    def _send(self, request: Request, binding: Binding, way: dict[str, Any], answers: Any) -> None:
        max_forwards = request.max_forwards
        call_id = self.ua.core.new_call_id()
        self._call_ids.add(call_id)
        try:
            answers.put(self.ua.request(
                request.method, binding.contact, from_=request.from_, to=request.to, headers=passed(request),
                body=request.body, content_type=request.get('Content-Type'), call_id=call_id, timeout=REPLY_TIME,
                max_forwards=(70 if max_forwards is None else max_forwards) - 1, **way))
        except GreensipError as error:
            answers.put(error)
        finally:
            self._call_ids.discard(call_id)


#: refusals that are between us and a phone: it wants a password, or is overloaded
OUR_BUSINESS = frozenset({401, 407, 408, 430, 503})


#: what only a network that is trusted may say of who calls (RFC 3325 5): here it is From that is proved
ASSERTED = frozenset({'p-asserted-identity', 'p-preferred-identity', 'remote-party-id'})


def passed(request: Request) -> list[tuple[str, str]]:
    """The header fields of a request that go on to a phone."""
    return [field for field in passable(request) if field[0].lower() not in ASSERTED]


def refuse(caller: IncomingLeg, error: Exception | None) -> None:
    """Tell the caller why nobody answers."""
    if isinstance(error, ResponseError) and error.code not in OUR_BUSINESS:
        caller.reject(error.code, like=error.response)
    else:
        caller.reject(480)


class Wave:
    """The phones that ring at the same time."""

    def __init__(self, registrar: Registrar, caller: IncomingLeg, group: LegGroup, aor: str, targets: Sequence[Target],
                 errors: list[Exception]) -> None:
        self.registrar = registrar
        self.caller = caller
        self.group = group
        self.aor = aor
        self.targets = targets
        self.errors = errors
        self.ringing: dict[OutgoingLeg, tuple[Target, Binding]] = {}
        self.rang = False
        self.call_ids: list[str] = []

    def ring(self, until: float) -> OutgoingLeg | None:
        """Call all, block until one answers, join it with the caller's answer, and return its leg.

        None when all have refused, which ``errors`` tell, or the time is over.  Raises what ends the caller.
        """
        clock = self.registrar.ua.clock
        try:
            for target in self.targets:
                self.place(target)
            while self.ringing:
                watches = [leg.on('18x', '2xx', 'ended') for leg in self.ringing]
                try:
                    event = wait_any(*watches, timeout=max(0.0, until - clock.now()))
                except WaitTimeout as error:
                    self.errors.append(error)
                    return None
                found: Any = next(watch.leg for watch in watches if watch.event is event)
                leg: OutgoingLeg = found
                if 200 <= event.code < 300:
                    del self.ringing[leg]
                    for other in self.ringing:
                        self.group.remove(other).lose()
                    self.ringing.clear()
                    self.caller.answer(like=event)
                    return leg
                if event.code:
                    self.tell_ringing()
                elif self.failed(leg, event.error):
                    return None
            return None
        finally:
            for leg in self.ringing:
                self.group.remove(leg).close()
            self.registrar._call_ids.difference_update(self.call_ids)

    def place(self, target: Target) -> None:
        """Call the next binding of a phone; those that nothing leads to are passed over."""
        registrar, caller, invite = self.registrar, self.caller, self.caller.invite
        assert invite is not None
        max_forwards = invite.max_forwards
        while (binding := target.next()) is not None:
            way = registrar.way_to(self.aor, binding)
            if way is None:
                continue
            call_id = registrar.ua.core.new_call_id()
            self.call_ids.append(call_id)
            registrar._call_ids.add(call_id)
            try:
                leg = self.group.invite(
                    binding.contact, from_=caller.from_, to=caller.to, call_id=call_id, headers=passed(invite),
                    body=invite.body, content_type=invite.get('Content-Type'),
                    max_forwards=(70 if max_forwards is None else max_forwards) - 1,
                    # The early media of several phones cannot be told apart in one dialog.
                    progress_to=caller if len(self.targets) == 1 else None, **way)
            except GreensipError as error:
                log.debug('! cannot call %s: %s', binding.contact, error)
                self.errors.append(error)
                continue
            self.ringing[leg] = target, binding
            return

    def tell_ringing(self) -> None:
        """Several phones ring: the caller hears of it once."""
        if not self.rang and len(self.targets) > 1:
            self.rang = True
            self.caller.ring()

    def failed(self, leg: OutgoingLeg, error: Exception) -> bool:
        """A phone has refused, is not to be reached, or we hang up all calls; True if the others need not ring on."""
        target, binding = self.ringing.pop(leg)
        self.group.remove(leg).close()
        self.errors.append(error)
        if speaks_for_the_flow(error):
            if binding.reg_id and not (isinstance(error, ResponseError) and error.code == 408):
                # RFC 5626 7: this flow is gone.
                self.registrar.location.lose(self.aor, binding)
            self.place(target)
        return isinstance(error, ResponseError) and error.code >= 600


def is_same(one: Point, other: Point) -> bool:
    """Whether both belong to one transport: those of a wildcard address share it."""
    return one.transport == other.transport and one.address == other.address
