"""A registration as its client keeps it: RFC 3261 10.2, RFC 3327, 3608, 5626 and 5627.

A ``Registration`` is one flow's worth of REGISTER requests: they share a Call-ID, and their CSeq only grows (10.2).  It
registers our contacts for an address-of-record, refreshes them in time, and takes up the thread again by itself when
that fails: at the next of several registrars first, and when none of them answers after a time that doubles with each
failure (RFC 5626 4.5).  Who keeps several flows to the same registrar (RFC 5626) has a ``Registration`` for each, and
they know one another.

RFC 3261 draws no figure for the client.  Ours::

                          register                      2xx
       Unregistered ------------------> Registering ----------> Registered <-+
            ^   ^  ^                    |   ^  ^  ^                 |   |    | 2xx, failed
            |   |  |    refused         |   |  |  |    flow failed  |   |    |
            |   |  +--------------------+   |  |  +-----------------+   v    |
            |   |                    failed |  | retry             Refreshing
            |   |     unregister            v  |                         |
            |   +------------------------ Waiting <-- expired, failed    | unregister
            |  2xx, failed, refused                                      v
            +--------------------------- Leaving <---------------- Stopping

``Stopping`` waits for the answer to a REGISTER that is out, as 10.2 wants one after the other; ``Leaving`` for the
answer to the one that removes our contacts.

**Failures.**  What may be better later is tried later: no answer, no way, 408, 430, 480 and 5xx.  What will not be
better by asking again ends the registration: everything else but 423, 439, 3xx and a challenge that can be answered.
A binding lasts as long as it was granted, whatever happens to its refresh meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greensip.errors import (
    GreensipError,
    ParseError,
    ResponseError,
    TransportError,
    UsageError,
    WrongState,
    response_error,
)
from greensip.fsm import Machine, Row
from greensip.message import NameAddr, Response, SipUri
from greensip.message.digest import DigestClient
from greensip.transaction.flow import Address, Flow, Hop, Point
from greensip.transaction.timers import Timer
from greensip.transaction.via import keep_time

from .event import ENDED, FAILED, LOST, REFRESHED, REGISTERED, Event
from .exchange import LONGEST_RETRY_AFTER, ClientRequest, Fields
from .outside import outside_envelope
from .register import RegisterRequest, is_among
from .registered import granted_time, gruu_in, name_addrs_of, own_bindings, values_of
from .routing import is_sips
from .soft_state import Backoff, longest_wait, refresh_time, retry_after_of

if TYPE_CHECKING:
    from .core import Core

__all__ = ['Place', 'Registration']

UNREGISTERED: Final = 'unregistered'
REGISTERING: Final = 'registering'
BOUND: Final = 'registered'
REFRESHING: Final = 'refreshing'
WAITING: Final = 'waiting'
STOPPING: Final = 'stopping'
LEAVING: Final = 'leaving'

#: refusals that may be otherwise a little later; 5xx are as well
TEMPORARY: Final = frozenset({408, 430, 480})
#: so often a registrar may want a longer time (423), or send us elsewhere (3xx), before we stop listening
MAX_LENGTHENED: Final = 3
MAX_REDIRECTS: Final = 5
#: seconds that a flow has to last to count as successful (RFC 5626 4.5): the longest time to its first keep-alive
PROVED_DATAGRAM: Final = 29.0
PROVED_STREAM: Final = 120.0


class Place(NamedTuple):
    """Where to register: the registrar's URI, and the Route that leads there."""

    registrar: str
    route: tuple[str, ...] = ()


# What the arrows do.  Actions get the registration and what came with the event.


def send_register(registration: Registration, now: float) -> None:
    registration.send(now)


def begin_round(registration: Registration, now: float) -> None:
    registration.begin_round()
    registration.send(now)


def bound(registration: Registration, response: Response, now: float) -> None:
    registration.take(response, now)
    registration.tell(REGISTERED, response, now)


def renewed(registration: Registration, response: Response, now: float) -> None:
    registration.take(response, now)
    registration.tell(REFRESHED, response, now)


def refused(registration: Registration, error: Exception, now: float) -> None:
    registration.forget()
    registration.tell(FAILED, None, now, error)


def refused_lost(registration: Registration, error: Exception, now: float) -> None:
    registration.forget()
    registration.tell(LOST, None, now, error)


def wait(registration: Registration, error: Exception, now: float) -> None:
    """RFC 5626 4.5: nobody answers; the next attempt comes after a while."""
    registration.retry_later(error, now)
    registration.tell(FAILED, None, now, error)


def retry_later(registration: Registration, error: Exception, now: float) -> None:
    """The refresh failed, but the binding still lasts."""
    registration.retry_later(error, now)
    registration.tell(FAILED, None, now, error)


def wait_lost(registration: Registration, error: Exception, now: float) -> None:
    registration.drop_binding()
    registration.retry_later(error, now)
    registration.tell(LOST, None, now, error)


def expired(registration: Registration, error: Exception, now: float) -> None:
    """The binding has run out; what is under way, a retry or a REGISTER, goes on."""
    registration.drop_binding()
    registration.tell(LOST, None, now, error)


def recover(registration: Registration, error: Exception, now: float) -> None:
    """RFC 5626 4.5: a new flow in place of the one that failed, at once."""
    registration.drop_binding()
    registration.tell(LOST, None, now, error)
    registration.begin_round()
    registration.send(now)


def stop(registration: Registration, now: float) -> None:
    registration.stop_timers()


def send_removal(registration: Registration, now: float) -> None:
    registration.stop_timers()
    registration.send(now, removal=True)


def remove_answered(registration: Registration, response: Response, now: float) -> None:
    registration.take_place()
    registration.send(now, removal=True)


def left(registration: Registration, outcome: Response | Exception | None, now: float) -> None:
    registration.forget()
    error = outcome if isinstance(outcome, Exception) else None
    registration.tell(ENDED, outcome if isinstance(outcome, Response) else None, now, error)


def left_at_once(registration: Registration, now: float) -> None:
    registration.forget()
    registration.tell(ENDED, None, now)


class Registration(Machine):
    """One flow's registration of an address-of-record.  ``owner`` is free for the layer above.

    ``places`` are tried in turn.  ``contacts`` are the addresses to register: None stands for our own one, that of the
    point which the REGISTER leaves from, with ``user`` and with ``params`` for its header parameters.  ``peers`` are
    the registrations of the same address-of-record over other flows, this one among them.  ``reg_id`` asks for
    RFC 5626, ``instance`` (a URN) is our ``+sip.instance``, ``gruu`` asks for RFC 5627.  ``nat`` registers the address
    that the registrar sees us at.
    """

    __slots__ = (
        '_exchange', '_expiry', '_lengthened', '_place', '_redirect', '_redirects', '_refreshed', '_retry', '_since',
        '_tried', 'aor', 'associated', 'backoff', 'bindings', 'call_id', 'contact', 'contacts', 'core', 'cseq',
        'digest', 'error', 'everything', 'expires', 'failures', 'flow', 'flow_timer', 'granted', 'gruu', 'headers',
        'instance', 'keep', 'kept', 'known_as', 'mapped', 'mappings', 'nat', 'outbound', 'outbound_active', 'owner',
        'params', 'peers', 'places', 'point', 'public_gruu', 'reg_id', 'removed', 'response', 'route', 'seen_at',
        'service_route', 'tag', 'temporary_gruu', 'user', 'written',
    )

    initial = UNREGISTERED
    rows = (
        Row(UNREGISTERED, 'register', REGISTERING, begin_round),
        Row(REGISTERING, '2xx', BOUND, bound),
        Row(REGISTERING, 'again', REGISTERING, send_register),
        Row(REGISTERING, 'failed', WAITING, wait),
        Row(REGISTERING, 'refused', UNREGISTERED, refused),
        Row(REGISTERING, 'unregister', STOPPING, stop),
        # RFC 5626 4.5
        Row(WAITING, 'retry', REGISTERING, begin_round),
        Row(WAITING, 'register', REGISTERING, begin_round),
        Row(WAITING, 'unregister', UNREGISTERED, left_at_once),
        # 10.2.4
        Row(BOUND, 'retry', REFRESHING, begin_round),
        Row(BOUND, 'register', REFRESHING, begin_round),
        Row(BOUND, 'expired', WAITING, expired),
        Row(BOUND, 'flow failed', REGISTERING, recover),
        Row(BOUND, 'flow failed early', WAITING, wait_lost),
        Row(BOUND, 'unregister', LEAVING, send_removal),
        Row(REFRESHING, '2xx', BOUND, renewed),
        Row(REFRESHING, 'again', REFRESHING, send_register),
        Row(REFRESHING, 'failed', BOUND, retry_later),
        Row(REFRESHING, 'refused', UNREGISTERED, refused_lost),
        Row(REFRESHING, 'expired', REGISTERING, expired),
        Row(REFRESHING, 'flow failed', REGISTERING, expired),
        Row(REFRESHING, 'flow failed early', REGISTERING, expired),
        Row(REFRESHING, 'unregister', STOPPING, stop),
        # 10.2.2
        Row(UNREGISTERED, 'clear', LEAVING, send_removal),
        Row(WAITING, 'clear', LEAVING, send_removal),
        Row(STOPPING, '2xx', LEAVING, remove_answered),
        Row(STOPPING, 'failed', UNREGISTERED, left),
        Row(STOPPING, 'refused', UNREGISTERED, left),
        Row(STOPPING, 'again', LEAVING, send_removal),
        Row(LEAVING, '2xx', UNREGISTERED, left),
        Row(LEAVING, 'again', LEAVING, send_removal),
        Row(LEAVING, 'failed', UNREGISTERED, left),
        Row(LEAVING, 'refused', UNREGISTERED, left),
    )

    def __init__(
        self,
        core: Core,
        aor: str,
        places: Sequence[Place],
        *,
        credentials: Any = None,
        expires: int = 3600,
        contacts: Sequence[NameAddr | None] = (None,),
        user: str = '',
        params: Mapping[str, str | None] | None = None,
        headers: Fields = (),
        instance: str = '',
        reg_id: int = 0,
        gruu: bool = False,
        keep: bool = False,
        nat: bool = False,
        backoff: Backoff | None = None,
        point: Point | None = None,
        peers: list[Registration] | None = None,
    ) -> None:
        super().__init__()
        if not places:
            raise UsageError('register where? Give at least one registrar')
        if expires < 1:
            raise UsageError(f'expires={expires!r}: a registration lasts at least a second')
        if reg_id < 0 or (reg_id and not instance):
            raise UsageError(f'reg_id={reg_id!r}: it counts from 1 and needs an instance (RFC 5626 4.2.1)')
        core.check_headers(headers)
        self.core = core
        self.owner: Any = None
        self.aor = aor
        self.places = list(places)
        self.digest: DigestClient | None = DigestClient(credentials) if credentials else None
        #: seconds that we ask for; a 423 makes it more
        self.expires = expires
        self.contacts: list[NameAddr | None] = list(contacts)
        self.user = user
        self.params = dict(params or {})
        self.headers = headers
        self.instance = instance
        self.reg_id = reg_id
        self.gruu = gruu
        #: RFC 6223: whether we offer to keep the flow alive, and what the next hop answered: seconds, None for nothing
        self.keep = keep
        self.kept: int | None = None
        #: whether to register the address that the registrar sees us at; that address, the point that has it, and how
        #: often it has changed
        self.nat = nat
        self.mapped: Address | None = None
        self.seen_at: Point | None = None
        self.mappings = 0
        self.backoff = backoff or Backoff()
        self.point = point
        self.peers: list[Registration] = [] if peers is None else peers
        self.peers.append(self)
        self.call_id = core.new_call_id()
        self.tag = core.new_tag()
        self.cseq = 0
        #: whether RFC 5626 is still to be asked for (a 439 says that the first hop lacks it), and whether it is granted
        self.outbound = reg_id > 0
        self.outbound_active = False
        #: what the latest 2xx said: the whole of it, the seconds that were granted, all bindings of the
        #: address-of-record, Service-Route, P-Associated-URI, the GRUUs and Flow-Timer
        self.response: Response | None = None
        self.granted = 0
        self.bindings: list[NameAddr] = []
        self.service_route: tuple[str, ...] = ()
        self.associated: list[NameAddr] = []
        self.public_gruu = ''
        self.temporary_gruu = ''
        self.flow_timer: int | None = None
        #: the way that it took, our own address as we wrote it there, and the Route that led there
        self.flow: Flow | None = None
        self.contact = ''
        #: our contact as the registrar knows it, and the mapping that the last REGISTER was written with
        self.known_as = ''
        self.written: Address | None = None
        self.route: tuple[str, ...] = ()
        #: why it failed last; None while it is registered
        self.error: Exception | None = None
        #: consecutive failures, by which the next wait is measured
        self.failures = 0
        #: whether all bindings of the address-of-record are to be removed, those of others too
        self.everything = False
        self._exchange: RegisterRequest | None = None
        self._retry: Timer | None = None
        self._expiry: Timer | None = None
        #: when the flow was registered first, and last
        self._since = 0.0
        self._refreshed = 0.0
        self._place = 0
        self._tried = 0
        self._lengthened = 0
        self._redirects = 0
        #: where a 3xx sent us
        self._redirect: Place | None = None
        #: contacts that are to be removed by the next REGISTER
        self.removed: list[NameAddr | None] = []

    # -- the user's verbs

    def register(self, now: float) -> None:
        """10.2: register, or refresh now.  Does nothing while a REGISTER is out.

        Raises WrongState while our contacts are being removed.
        """
        if self.state in (STOPPING, LEAVING):
            raise WrongState('the registration is being removed')
        self.core.registrations.add(self)
        self.fire('register', now)

    def unregister(self, now: float, everything: bool = False) -> bool:
        """10.2.2: remove our contacts, after the answer to what is out (10.2).  False if there is nothing to remove.

        ``everything``: all contacts of the address-of-record, whoever has registered them, with ``*``.
        """
        self.everything = everything
        if everything and self.state in (UNREGISTERED, WAITING):
            self.core.registrations.add(self)
            return self.fire('clear', now)
        return self.fire('unregister', now)

    def query(self, now: float) -> ClientRequest:
        """10.2.3: ask for the bindings; the answer is told as that of any request of ours.

        It changes nothing, and so has a Call-ID of its own: nobody's CSeq gets out of order.
        """
        core, place = self.core, self.place
        envelope = outside_envelope(
            core, place.registrar, self.aor, self.aor, core.new_call_id(), (), place.route, None, 1
        )
        exchange = ClientRequest(core, 'REGISTER', None, envelope, point=self.point, digest=self.digest)
        exchange.subject = exchange
        exchange.flow = self.flow
        exchange.start(now)
        return exchange

    def change_contacts(self, contacts: Sequence[NameAddr | None]) -> None:
        """Have the next REGISTER register these, and remove those that are no longer among them."""
        if not contacts:
            raise UsageError('which contacts? Give at least one')
        removed = [*self.removed, *(old for old in self.contacts if not is_among(old, contacts))]
        self.contacts = list(contacts)
        self.removed = [old for old in removed if not is_among(old, contacts)]

    def flow_failed(self, error: Exception, now: float) -> None:
        """RFC 5626 4.4: a keep-alive had no answer, or the connection is gone.

        A flow that fails before its first keep-alive was answered counts as one that never came up (4.5).
        """
        flow = self.flow
        if flow is None:
            return
        proved = PROVED_STREAM if flow.point.reliable else PROVED_DATAGRAM
        if self.flow_timer is not None:
            proved = min(proved, float(self.flow_timer))
        self.error = error
        if now - self._since >= proved:
            self.failures = 0
            self.fire('flow failed', error, now)
        else:
            self.failures += 1
            self.fire('flow failed early', error, now)

    def connection_lost(self, error: Exception, now: float) -> None:
        """The connection that our flow went over is gone.

        Where the registrar has not granted outbound, it may still reach us by another way, or may not, behind a NAT:
        a refresh opens the next connection.  One that was just refreshed waits a while, for there are registrars that
        close each connection.
        """
        if self.follows_flow:
            self.flow_failed(error, now)
        elif self.state == BOUND:
            pause = self._refreshed + PROVED_DATAGRAM - now
            if pause <= 0:
                self.fire('retry', now)
            elif self._retry is None or self._retry.deadline > now + pause:
                self.stop_retry()
                self._retry = self.core.timers.add(pause, now, self, 'retry')

    # -- what is known

    @property
    def is_bound(self) -> bool:
        """Whether the registrar knows our contacts, as far as we know."""
        return self.state in (BOUND, REFRESHING)

    @property
    def place(self) -> Place:
        """Where the next REGISTER goes."""
        return self._redirect or self.places[self._place]

    @property
    def follows_flow(self) -> bool:
        """Whether nothing but our flow leads to us, so that its end is the end of the registration."""
        flow = self.flow
        return flow is not None and (self.outbound_active or (flow.point.one_way and flow.point.reliable))

    # -- REGISTER requests

    def begin_round(self) -> None:
        """All places may be tried again."""
        self._tried = 0
        self._lengthened = 0
        self._redirects = 0
        self.stop_retry()

    def send(self, now: float, *, removal: bool = False) -> None:
        """10.2: one more REGISTER, with the next CSeq."""
        self.stop_retry()
        place = self.place
        core = self.core
        self.cseq += 1
        envelope = outside_envelope(
            core, place.registrar, self.aor, self.aor, self.call_id, (), place.route, self.tag, self.cseq
        )
        exchange = self._exchange = RegisterRequest(self, envelope, removal)
        # 10.2.4, RFC 5626 4.2.2: a refresh takes the way of what it refreshes.
        exchange.flow = self.flow
        exchange.reused = self.flow is not None
        exchange.start(now)

    @property
    def options(self) -> list[str]:
        """The option tags of what it is that we ask for (RFC 5626 4.2.1, 4.3, RFC 5627 4.1, 4.4)."""
        return [*(['outbound'] if self.outbound else ()), *(['gruu'] if self.gruu else ())]

    # -- what comes in

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """A response to a REGISTER of ours."""
        code = response.code
        if exchange is not self._exchange or code < 200:
            return
        self.cseq = exchange.envelope.cseq
        if code < 300:
            self.fire('2xx', response, now)
        elif (code == 423 and self._lengthen(response)) or (code == 439 and self._give_up_outbound()) or (
                code < 400 and self._follow(response)):
            self.fire('again', now)
        else:
            self._fail(exchange, response_error(code, response.reason, response), now)

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """No response to a REGISTER of ours."""
        if exchange is self._exchange:
            self.cseq = exchange.envelope.cseq
            self._fail(exchange, error, now)

    def _lengthen(self, response: Response) -> bool:
        """10.2.8: a 423 names the shortest time that it takes."""
        try:
            shortest = int(response.value('Min-Expires'))
        except (ParseError, TypeError, ValueError):
            return False
        if shortest <= self.expires or self._lengthened >= MAX_LENGTHENED:
            return False
        self._lengthened += 1
        self.expires = shortest
        return True

    def _give_up_outbound(self) -> bool:
        """RFC 5626 4.2.1, 11.6: the first hop does not know outbound; register without it."""
        given_up, self.outbound = self.outbound, False
        return given_up

    def _follow(self, response: Response) -> bool:
        """8.1.3.4: another registrar is to be asked."""
        if self._redirects >= MAX_REDIRECTS:
            return False
        try:
            contacts = sorted(response.contacts, key=lambda contact: -contact.q)
        except ParseError:
            return False
        secure = is_sips(self.place.registrar)
        for contact in contacts:
            uri = contact.uri
            if isinstance(uri, SipUri) and (uri.scheme == 'sips' or not secure) and str(uri) != self.place.registrar:
                self._redirects += 1
                self._redirect = Place(str(uri.replace(user=None, headers=())))
                self.flow = None
                return True
        return False

    def _fail(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """8.1.3.1, 21: what may be better elsewhere is tried there, what may be better later is tried later."""
        self._exchange = None
        temporary = not isinstance(error, ResponseError) or error.code in TEMPORARY or 500 <= error.code < 600
        if not temporary:
            self.error = error
            self.fire('refused', error, now)
            return
        used, self.flow = self.flow, None
        reused = isinstance(exchange, RegisterRequest) and exchange.reused
        if reused and used is not None and self._may_lead_elsewhere(exchange, error):
            # Its name may have other addresses by now (RFC 3263); a broken connection can be opened again.
            self.fire('again', now)
            return
        self._redirect = None
        self._tried += 1
        self._place = (self._place + 1) % len(self.places)
        if self._tried < len(self.places):
            self.fire('again', now)
            return
        self.error = error
        self.failures += 1
        self.fire('failed', error, now)

    def _may_lead_elsewhere(self, exchange: ClientRequest, error: Exception) -> bool:
        if isinstance(error, TransportError):
            return True
        try:
            return isinstance(self.core.router.route(exchange.envelope.next_uri, exchange.point), Hop)
        except (TransportError, ParseError):
            return False

    # -- what a 2xx says

    def take(self, response: Response, now: float) -> None:
        """10.2.4: the bindings that there are now, and how long ours will last."""
        self.take_place()
        self.response = response
        self.error = None
        self.removed = []
        self.known_as = self.contact
        # Seen at another address than the one that was written: that one is to be registered.
        unmapped = self.written != self.mapped
        if not unmapped:
            self.mappings = 0
        self._refreshed = now
        lasts = self._expiry is not None
        if not lasts:
            self._since = now
        self.bindings = name_addrs_of(response, 'Contact')
        own = own_bindings(self)
        self.granted = granted_time(response, own or self.bindings, self.expires)
        self.service_route = values_of(response, 'Service-Route')
        self.associated = name_addrs_of(response, 'P-Associated-URI')
        try:
            self.outbound_active = self.outbound and 'outbound' in [tag.lower() for tag in response.require]
            self.flow_timer = response.value('Flow-Timer') if response.has('Flow-Timer') else None
        except ParseError:
            self.outbound_active, self.flow_timer = False, None
        if lasts or not self.outbound_active:
            # A new flow has to last a while before its failures are forgotten (RFC 5626 4.5).
            self.failures = 0
        self.kept = keep_time(response) if self.keep else None
        if self.gruu:
            self.public_gruu = gruu_in(own, 'pub-gruu') or self.public_gruu
            self.temporary_gruu = gruu_in(own, 'temp-gruu') or self.temporary_gruu
        self.stop_timers()
        timers = self.core.timers
        most = self.core.settings.transaction_time
        pause = 0.0 if unmapped else refresh_time(float(self.granted), most, self._share())
        self._retry = timers.add(pause, now, self, 'retry')
        self._expiry = timers.add(float(self.granted), now, self, 'expired')

    def take_place(self) -> None:
        """Remember the way that the REGISTER took."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            # What went by TCP because of its size belongs to a UDP flow all the same (18.1.1).
            self.flow = exchange.usual or exchange.flow
            self.route = tuple(exchange.envelope.routes)

    def _share(self) -> float:
        """A random number from 0 to 1."""
        return self.core.random.getrandbits(32) / 0xFFFFFFFF

    # -- time

    def retry_later(self, error: Exception, now: float) -> None:
        """RFC 5626 4.5: a random time between 50 and 100 % of the longest one; later where the refusal says so."""
        self.stop_retry()
        others = any(peer.is_bound for peer in self.peers if peer is not self)
        delay = longest_wait(self.backoff, others, self.failures) * (0.5 + 0.5 * self._share())
        self._retry = self.core.timers.add(max(delay, retry_after_of(error, LONGEST_RETRY_AFTER)), now, self, 'retry')

    def on_timer(self, name: str, now: float) -> None:
        """``retry``: time for the next REGISTER; ``expired``: the binding has run out."""
        if name == 'retry':
            self._retry = None
            self.fire('retry', now)
        else:
            self._expiry = None
            self.fire('expired', self.error or GreensipError('the registration has run out'), now)

    def stop_retry(self) -> None:
        """No further REGISTER by itself."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def stop_timers(self) -> None:
        """Nothing happens by itself any more."""
        self.stop_retry()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    # -- the end

    def drop_binding(self) -> None:
        """The registrar does not know us any more, or no longer where we are."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self.flow = None
        self.known_as = ''
        self.outbound_active = False
        self.service_route = ()
        self.public_gruu = self.temporary_gruu = ''

    def forget(self) -> None:
        """It is over, until somebody registers again."""
        self.drop_binding()
        self.stop_timers()
        self._exchange = None
        self._redirect = None
        self._place = 0
        self.everything = False
        self.outbound = self.reg_id > 0
        self.mapped = None
        self.core.registrations.discard(self)

    def tell(self, kind: str, response: Response | None, now: float, error: Exception | None = None) -> None:
        """An event for whoever keeps us."""
        self.core.events.append(Event(kind, self, response, now, 0, None, error))

    def __repr__(self) -> str:
        return f'<Registration {self.aor} {self.state}>'
