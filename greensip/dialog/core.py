"""The core of a user agent: RFC 3261 8, and the seam between the pure layers and whoever drives them.

A ``Core`` is driven, it never calls out. Give it what came in with ``receive(message, flow, now)``, call its verbs,
and ``handle_timers(now)`` when ``next_timer()`` has come. After each of these drain ``outgoing`` (octets and the
flow they go to), ``lookups`` (names to be turned into addresses, answered with ``located``) and ``events`` (what
happened).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from zlib import crc32

from greensip.errors import ParseError, TransactionTimeout, TransportError, UsageError, WrongState
from greensip.message import (
    TARGET_REFRESH_METHODS,
    NameAddr,
    Request,
    Response,
    Uri,
    check_request,
    check_response,
    make_response,
)
from greensip.message.digest import DigestClient
from greensip.message.grammar import is_token
from greensip.native import mypyc_attr
from greensip.sdp.offer_answer import Place
from greensip.transaction.flow import Flow, Hop, Point
from greensip.transaction.layer import ServerTransaction, State, TransactionLayer
from greensip.transaction.settings import Settings
from greensip.transaction.timers import Timer, Timers

from .admission import process
from .capabilities import Capabilities
from .dialog import Dialog, DialogId
from .event import Event
from .exchange import ClientRequest, Fields
from .invite import InviteUsage
from .invite_client import ClientInvite
from .invite_request import InviteRequest
from .invite_server import ServerInvite
from .negotiation import SDP, note_answer
from .outside import Destination, name_addr_text, outside_envelope
from .prack import may_answer, on_prack_answered
from .publication import ClientPublication
from .registration import Registration
from .reinvite import respond_to_reinvite
from .reliable import Acknowledged, LatePrack, sends_reliably
from .replaces import EndedDialogs
from .routing import NOWHERE, Located, Lookup, Router, Target
from .session_timer import REFRESH_METHODS, SHORTEST, accept_refresh, ask_for_timer, parse_interval
from .states import ACCEPTED, CONFIRMED
from .subscription import Subscriptions
from .subscription_client import ClientSubscription
from .subscription_server import ServerSubscription
from .way_back import WayBack

__all__ = ['Core', 'Random']

log: Final = logging.getLogger('greensip.dialog')

#: what ``Core.configure`` changes
CONFIGURABLE: Final = ('accept', 'allow', 'allow_events', 'contact_user', 'enum', 'info_packages', 'keep', 'min_se',
                       'offers_keep', 'options_code', 'route', 'session_timer', 'supported', 'understood', 'user_agent')


class Random(Protocol):
    """Where tags, branches and Call-IDs come from; ``random.SystemRandom`` in a program (19.3)."""

    def getrandbits(self, k: int, /) -> int: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Core(Capabilities):
    """A user agent without sockets and clock.  See the module's docstring for how it is driven."""

    def __init__(self, settings: Settings | None = None, *, random: Random, user_agent: str = 'greensip') -> None:
        super().__init__(user_agent)
        self.settings = settings or Settings()
        self.random = random
        self.timers = Timers()
        self.outgoing: deque[tuple[bytes, Flow]] = deque()
        self.lookups: deque[Lookup] = deque()
        self.events: deque[Event] = deque()
        self.layer = TransactionLayer(self.settings, self.timers, self.outgoing)
        self.router = Router()
        #: calls that are not over, and the dialogs by which requests find them
        self.usages: set[InviteUsage] = set()
        self.dialogs: dict[DialogId, Dialog] = {}
        #: subscriptions that are not over (RFC 6665)
        self.subscriptions = Subscriptions(self)
        #: and publications (RFC 3903)
        self.publications: set[ClientPublication] = set()
        #: registrations that last, or are being tried
        self.registrations: set[Registration] = set()
        #: what an OPTIONS is answered with; None hands it to the program (11.2)
        self.options_code: int | None = 200
        #: the Route of requests outside of dialogs that are given none (8.1.2)
        self.route: Sequence[str] = ()
        #: where telephone numbers are looked up, such as ``e164.arpa``; '' for nowhere
        self.enum = ''
        #: RFC 6223: whether we offer to keep the flows of our calls alive, and what we answer to those who offer it:
        #: the longest time between two keep-alives in seconds, 0 for any, None for no answer
        self.offers_keep = False
        self.keep: int | None = None
        #: the dialogs of calls that ended lately, where Replaces or Join may name them
        self.ended: EndedDialogs | None = None
        #: RFC 4028: seconds that each session lasts without a refresh, 0 for as long as the peer likes, and who is to
        #: refresh it (``parse_interval``); the least that we accept.  Only with 'timer' among ``supported``.
        self.session_timer: tuple[int, str | None] = (0, None)
        self.min_se = SHORTEST
        #: runs while a call that came in has had a provisional response and no final one (13.3.1.1)
        self.progressing: Timer | None = None
        #: the calls that were refused before the PRACK of a reliable response came (RFC 3262 3)
        self.late_pracks: dict[DialogId, LatePrack] = {}
        self._secret = random.getrandbits(64)
        self._handlers: dict[str, Callable[[Any, Any, float], None]] = {
            'request': self._on_request,
            'response': self._on_response,
            'ack': self._on_ack,
            'timeout': self._on_failure,
            'transport_error': self._on_failure,
            'stray': self._on_stray,
        }

    def configure(self, **changes: Any) -> None:
        """Change ``allow``, ``supported`` (tokens), ``accept``, ``user_agent``, ``options_code``, ``contact_user``,
        ``route``, ``enum``, ``offers_keep``, ``keep``, ``session_timer`` (see ``parse_interval``) or ``min_se``."""
        for name, value in changes.items():
            if name not in CONFIGURABLE:
                raise UsageError(f'a core has no setting {name!r}')
            if name == 'session_timer':
                value = parse_interval(value or 0)
            elif name in ('allow', 'supported'):
                wrong = [text for text in value if not is_token(text)]
                if wrong:
                    raise UsageError(f'{name}={value!r}: {wrong[0]!r} is no token')
            setattr(self, name, value)
        self.layer.keep = self.keep
        self.describe()
        if self.supports('replaces') or self.supports('join'):
            self.ended = self.ended or EndedDialogs(self.settings.timer_h)
        else:
            self.ended = None
        if self.session_timer[0] and not self.keeps_time:
            raise UsageError('session_timer= needs "timer" among the supported option tags')
        if self.min_se < SHORTEST:
            raise UsageError(f'min_se={self.min_se}: {SHORTEST} seconds is the least (RFC 4028 5)')

    @property
    def points(self) -> list[Point]:
        """The listening points, the preferred one first."""
        return self.router.points

    # -- the seam

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """A message has come in.  A broken request is answered 400, a broken response dropped (18.1.2)."""
        try:
            if isinstance(message, Request):
                check_request(message)
            else:
                check_response(message)
                vias = message.get_all('Via')
                if len(vias) > 1 or (',' in vias[0] and len(message.vias) > 1):
                    # 8.1.3.3: it has another hop to go, so it is not for us.
                    log.debug('! dropped a response with several Vias from %s', flow)
                    return
            self.layer.receive(message, flow, now)
        except ParseError as error:
            if error.message is None:
                error.message = message
            self.receive_broken(error, flow, now)
        if self.layer.events:
            self._settle(now)

    def receive_broken(self, error: ParseError, flow: Flow, now: float) -> None:
        """A message could not be read: a request that shows where its answer belongs gets one (21.4.1)."""
        request = error.message
        if not isinstance(request, Request) or request.method == 'ACK':
            log.debug('! dropped a broken message from %s: %s', flow, error)
            return
        try:
            if request.get('Via') is None:
                return
            response = make_response(request, error.status, to_tag=self.new_tag())
        except ParseError:
            return
        response.add('Warning', f'399 greensip "{quotable(str(error.what))}"')
        if not self.layer.respond_stateless(response, flow) and error.status == 505:
            # Another version may write its Via in another way: back to where it came from.
            self.layer.send_stateless(response, flow)

    def transport_failed(self, flow: Flow, error: TransportError, now: float, data: bytes = b'') -> None:
        """What was sent on ``flow`` did not leave: ``data``, or everything when a connection broke."""
        self.layer.transport_failed(flow, error, now, data)
        if self.registrations and not data:
            for registration in tuple(self.registrations):
                if registration.flow == flow:
                    registration.connection_lost(error, now)
        self._settle(now)

    def located(self, lookup: Lookup, targets: Sequence[Target], error: TransportError | None, now: float) -> None:
        """The answer to a ``Lookup``: the servers, best first, or why there are none."""
        flows: list[Flow] = []
        for target in self.router.in_order(targets, now):
            try:
                flow = self.router.flow(lookup.hop, target, lookup.point)
            except TransportError as unreachable:
                error = error or unreachable
            else:
                flows.append(flow)
        lookup.waiter.located(flows, None if flows else error, now)
        self._settle(now)

    def translated(self, lookup: Lookup, uris: Sequence[str], error: TransportError | None, now: float) -> None:
        """The answer to a ``Lookup`` of a telephone number: its SIP URIs, best first, or why there are none."""
        lookup.waiter.translated(uris, error, now)
        self._settle(now)

    def next_timer(self) -> float | None:
        """When ``handle_timers`` is to be called next; None for never."""
        return self.timers.next_timer()

    def handle_timers(self, now: float) -> None:
        """Perform what is due."""
        self.timers.handle(now)
        self._settle(now)

    def counts(self) -> dict[str, int]:
        """How many of each thing live; all zero when nothing is going on."""
        return {
            'calls': len(self.usages),
            'dialogs': len(self.dialogs),
            'subscriptions': len(self.subscriptions),
            'transactions': len(self.layer),
        }

    # -- the verbs

    def invite(
        self,
        uri: Uri | str,
        now: float,
        *,
        from_: NameAddr | Uri | str,
        to: NameAddr | Uri | str | None = None,
        call_id: str | None = None,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = SDP,
        route: Sequence[str] = (),
        point: Point | None = None,
        flow: Flow | None = None,
        credentials: Any = None,
        auto_ack: bool = True,
        contact: str | None = None,
        max_forwards: int = 70,
        from_tag: str | None = None,
        cseq: int = 1,
        session_timer: int | str | None = None,
        prack: str | None = None,
        auto_prack: bool = True,
        expires: int | None = None,
        forks: str = 'first',
    ) -> ClientInvite:
        """Call ``uri``.  The INVITE is on its way at return, unless its next hop has to be looked up first.

        ``flow`` is where it is sent, whatever ``uri`` and ``route`` say: to somebody whom only that connection leads
        to, as his REGISTER came on it (RFC 5626 5.3).
        ``auto_ack=False`` leaves the ACK to the program; so does a 2xx that carries the offer, as then the ACK carries
        the answer.
        ``session_timer``: seconds as for ``configure``, 0 for none; without it what the core asks for each call.
        ``prack``: ``off``, ``supported`` or ``required``: whether provisional responses may, or must, be reliable (RFC
        3262); None does what ``supported`` of the core says.  ``auto_prack=False`` leaves the PRACK to the program; so
        does a response that carries the offer.
        ``expires``: seconds after which the call is given up (13.2.1).
        ``forks``: what becomes of a 2xx from another branch than the first: ``first`` hangs it up, with ``all`` it is
        a call of its own, the ``exchange`` of the FORKED event (13.2.2.4).
        """
        timer = self.session_timer if session_timer is None else parse_interval(session_timer)
        if timer[0] and not self.keeps_time:
            raise UsageError('session_timer= needs "timer" among the supported option tags')
        reliable = self.is_reliable if prack is None else prack != 'off'
        if prack == 'required':
            headers = [*headers, ('Require', '100rel')]
        if expires is not None:
            headers = [*headers, ('Expires', str(expires))]
        digest = DigestClient(credentials) if credentials else None
        call_id = call_id or self.new_call_id()
        # 8.1.2: who is reached over a flow of his own is reached without a proxy.
        route = route or (self.route if flow is None else ())
        envelope = outside_envelope(self, uri, from_, to, call_id, headers, route, from_tag, cseq)
        usage = ClientInvite(self, call_id, digest)
        if self.keeps_time:
            headers = ask_for_timer(usage, timer, headers)
        if body:
            usage.local_sdp = body
        usage.invite = usage.inviting = InviteRequest(
            self,
            usage,
            envelope,
            headers,
            body,
            content_type,
            contact,
            flow.point if flow is not None else point,
            digest=digest,
            max_forwards=max_forwards,
            auto_ack=auto_ack,
        )
        usage.invite.flow = flow
        if reliable:
            usage.invite.reliable = Acknowledged(auto_prack)
        if reliable != self.is_reliable:
            usage.invite.capabilities = self.other_invite_fields
        if forks == 'all':
            usage.forks = {}
        try:
            if expires is not None:
                usage.expiry = self.timers.add(expires, now, usage, 'expired')
            usage.invite.start(now)
        except Exception:
            # What was to be sent makes no request.
            self.usages.discard(usage)
            if usage.expiry is not None:
                usage.expiry.cancel()
            raise
        return usage

    def request(
        self,
        method: str,
        uri: Uri | str,
        now: float,
        *,
        from_: NameAddr | Uri | str,
        to: NameAddr | Uri | str | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        route: Sequence[str] = (),
        point: Point | None = None,
        flow: Flow | None = None,
        credentials: Any = None,
        contact: str | None = '',
        max_forwards: int = 70,
        from_tag: str | None = None,
    ) -> ClientRequest:
        """Send a request outside of dialogs: OPTIONS, MESSAGE, REGISTER ...

        ``contact`` is '' for none and None for our default one; ``flow`` as for ``invite``.
        """
        if method in ('INVITE', 'ACK', 'CANCEL', 'BYE'):
            raise UsageError(f'{method} belongs to a call: use invite() and the verbs of its usage')
        digest = DigestClient(credentials) if credentials else None
        # 8.1.2: who is reached over a flow of his own is reached without a proxy.
        route = route or (self.route if flow is None else ())
        envelope = outside_envelope(self, uri, from_, to, call_id or self.new_call_id(), headers, route, from_tag, cseq)
        exchange = ClientRequest(
            self,
            method,
            None,
            envelope,
            headers,
            body,
            content_type,
            contact,
            flow.point if flow is not None else point,
            digest=digest,
            max_forwards=max_forwards,
        )
        exchange.subject = exchange
        exchange.flow = flow
        exchange.start(now)
        return exchange

    def subscribe(
        self,
        uri: Uri | str,
        package: str,
        now: float,
        *,
        from_: NameAddr | Uri | str = '',
        to: NameAddr | Uri | str | None = None,
        expires: int = 3600,
        accept: Sequence[str] = (),
        event_id: str | None = None,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        route: Sequence[str] = (),
        credentials: Any = None,
        contact: str | None = None,
        point: Point | None = None,
        flow: Flow | None = None,
        within: InviteUsage | None = None,
        call_id: str | None = None,
        from_tag: str | None = None,
        accept_forks: bool = False,
        resubscribe: bool = False,
        manual: bool = False,
    ) -> ClientSubscription:
        """Subscribe to ``package`` of ``uri`` (RFC 6665 4.1).  It is refreshed by itself until ``unsubscribe``.

        ``package`` is the Event's text without its id.  ``expires`` in seconds, 0 fetches the state once.
        ``within``: a call in whose dialog it takes place; ``uri`` and ``from_`` count for nothing then.
        ``accept_forks``: other branches of a fork are told as FORKED events whose ``exchange`` is a subscription more.
        ``resubscribe``: subscribe anew when the notifier ends it for a reason that allows that (4.1.3).
        ``manual``: the program answers the NOTIFYs.

        Each NOTIFY is a REQUEST event, answered 200 already; the responses to SUBSCRIBE are RESPONSE events; ENDED is
        the last one, with SubscriptionEnded, the ResponseError of the refusal, TransactionTimeout or TransportError.
        Raises UsageError, WrongState, ParseError.
        """
        if not is_token(package):
            raise UsageError(f'{package!r} is no event package: write one such as presence')
        if expires < 0:
            raise UsageError('a subscription lasts 0 seconds (to fetch the state) or longer')
        self.check_headers(headers)
        subscription = ClientSubscription(
            self,
            within or self._destination(uri, from_, to, route, contact, point, flow, call_id, from_tag),
            package,
            event_id,
            expires=expires,
            accept=accept,
            headers=headers,
            body=body,
            content_type=content_type,
            digest=DigestClient(credentials) if credentials else None,
            accept_forks=accept_forks,
            resubscribe=resubscribe,
            manual=manual,
        )
        return self._begin(subscription, now)

    def refer(
        self,
        refer_to: NameAddr | Uri | str,
        now: float,
        *,
        within: InviteUsage | None = None,
        uri: Uri | str = '',
        from_: NameAddr | Uri | str = '',
        to: NameAddr | Uri | str | None = None,
        subscribe: bool = True,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        route: Sequence[str] = (),
        credentials: Any = None,
        contact: str | None = None,
        point: Point | None = None,
        flow: Flow | None = None,
        call_id: str | None = None,
        from_tag: str | None = None,
        accept_forks: bool = False,
        manual: bool = False,
    ) -> ClientSubscription:
        """Ask a peer to contact ``refer_to`` (RFC 3515): in the dialog of the call ``within``, or at ``uri``.

        The NOTIFYs of its implicit subscription are REQUEST events, as for ``subscribe``; ``status_of(body)`` reads
        them.  ``subscribe=False`` asks for none (Refer-Sub: false, RFC 4488): if the peer agrees, the RESPONSE event is
        followed by ENDED with SubscriptionEnded('norefersub').  Raises UsageError, WrongState, ParseError.
        """
        if (within is None) == (not uri):
            raise UsageError('a REFER goes either into a call or to a URI')
        target = str(refer_to) if isinstance(refer_to, NameAddr) else name_addr_text(refer_to)
        fields = [*headers] if subscribe else [('Refer-Sub', 'false'), ('Supported', 'norefersub'), *headers]
        self.check_headers(fields)
        subscription = ClientSubscription(
            self,
            within or self._destination(uri, from_, to, route, contact, point, flow, call_id, from_tag),
            'refer',
            method='REFER',
            headers=fields,
            body=body,
            content_type=content_type,
            digest=DigestClient(credentials) if credentials else None,
            refer_to=target,
            accept_forks=accept_forks,
            manual=manual,
        )
        return self._begin(subscription, now)

    def incoming_subscription(self, transaction: ServerTransaction, now: float) -> ServerSubscription:
        """Become the notifier for a SUBSCRIBE or REFER that came as a REQUEST event, inside or outside of a call.

        ``accept``, ``pend`` or ``reject`` must follow.  Raises ParseError, whose ``status`` is how to answer, for a
        request that asks for nothing that could be granted: without Event (489), with two Refer-To (400) ...
        """
        request = transaction.request
        if request.method not in ('SUBSCRIBE', 'REFER'):
            raise UsageError(f'{request.method} asks for no subscription')
        if transaction.state not in (State.TRYING, State.PROCEEDING):
            raise WrongState(f'the {request.method} has been answered')
        usage = transaction.user
        dialog = self.dialog_of(request) if request.to_tag else None
        if request.to_tag and dialog is None:
            raise WrongState('the dialog of the request is over')
        # What a REFER began may be refreshed and ended by SUBSCRIBE too (RFC 3515 2.4.4).
        self._allow_method('SUBSCRIBE')
        return ServerSubscription(self, transaction, dialog, usage if isinstance(usage, InviteUsage) else None, now)

    def publish(
        self,
        uri: Uri | str,
        package: str,
        body: bytes,
        now: float,
        *,
        content_type: str | None,
        from_: NameAddr | Uri | str,
        to: NameAddr | Uri | str | None = None,
        expires: int = 3600,
        headers: Fields = (),
        route: Sequence[str] = (),
        credentials: Any = None,
        contact: str | None = None,
        point: Point | None = None,
        flow: Flow | None = None,
        call_id: str | None = None,
        etag: str | None = None,
    ) -> ClientPublication:
        """Publish the state of ``uri`` (RFC 3903); refreshed by itself until ``remove``.

        ``etag``: that of a publication of ours from before, which is modified then.  Responses are RESPONSE events, the
        end is ENDED.  Raises UsageError, ParseError.
        """
        if not body:
            raise UsageError('a publication needs a document')
        if expires < 1:
            raise UsageError('a publication lasts a second at least: remove() takes it away')
        self.check_headers(headers)
        destination = self._destination(uri, from_, to, route, contact, point, flow, call_id, None)
        publication = ClientPublication(
            self,
            package,
            destination,
            body,
            content_type,
            expires=expires,
            headers=headers,
            digest=DigestClient(credentials) if credentials else None,
            etag=etag,
        )
        publication.start(now)
        return publication

    def _destination(
        self,
        uri: Uri | str,
        from_: NameAddr | Uri | str,
        to: NameAddr | Uri | str | None,
        route: Sequence[str],
        contact: str | None,
        point: Point | None,
        flow: Flow | None,
        call_id: str | None,
        from_tag: str | None,
    ) -> Destination:
        if not from_:
            raise UsageError('who asks? Give from_')
        # 8.1.2: who is reached over a flow of his own is reached without a proxy.
        route = route or (self.route if flow is None else ())
        return Destination(str(uri), from_, to, route, contact, point, flow, call_id, from_tag)

    def _begin(self, subscription: ClientSubscription, now: float) -> ClientSubscription:
        self._allow_method('NOTIFY')
        subscription.start(now)
        return subscription

    def _allow_method(self, method: str) -> None:
        """What we have asked for is taken."""
        if method not in self.methods:
            self.configure(allow=[*self.allow, method])

    def respond(
        self,
        transaction: ServerTransaction,
        code: int,
        now: float,
        *,
        reason: str = '',
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = SDP,
        contact: str | None = None,
        to_tag: str | None = None,
        reliable: bool | None = None,
    ) -> Response:
        """Answer a request that came as a REQUEST event.  ``reliable`` as for ``ServerInvite.respond``.

        Raises WrongState for an INVITE that has had its final response, perhaps from the core: it was cancelled.
        """
        request = transaction.request
        usage = transaction.user
        if isinstance(usage, ServerInvite) and transaction is usage.transaction:
            return usage.respond(
                code, now, reason=reason, headers=headers, body=body, content_type=content_type, contact=contact,
                reliable=reliable,
            )
        in_dialog = isinstance(usage, InviteUsage)
        if in_dialog and request.method == 'INVITE' and not may_answer(usage, transaction):
            raise WrongState('the INVITE has been answered, or was cancelled')
        response = self.make_response(
            request, code, reason, to_tag=to_tag or (None if request.to_tag else self.new_tag())
        )
        if in_dialog and code < 300:
            # A call that is not answered yet may have several dialogs.
            dialog = usage.dialogs.get(request.from_tag or '') if request.method in TARGET_REFRESH_METHODS else None
            if dialog is not None:
                response.add('Contact', contact or dialog.contact)
                if code >= 200:
                    dialog.refresh(request)
        elif contact:
            response.add('Contact', contact)
        self.complete(response, request.method, headers, body, content_type)
        if (self.keeps_time and in_dialog and 200 <= code < 300 and request.method in REFRESH_METHODS
                and usage.state in (CONFIRMED, ACCEPTED) and not response.has('Session-Expires')):
            for name, text in accept_refresh(usage, request, now):
                response.add(name, text)
        if self._recv_info:
            self.add_recv_info(response, request)
        if in_dialog and request.method == 'INVITE':
            respond_to_reinvite(usage, transaction, response, now, reliable)
            return response
        if in_dialog and request.method in ('UPDATE', 'PRACK'):
            self.layer.respond(transaction, response, now)
            if code >= 200 and request.method == 'PRACK':
                on_prack_answered(usage, transaction, response, now)
            elif code >= 200:
                note_answer(usage, transaction, Place.UPDATE, Place.UPDATE_2XX, response)
            return response
        if in_dialog and body and content_type == SDP and code < 300:
            usage.local_sdp = body
        self.layer.respond(transaction, response, now)
        return response

    def is_reliable_for(self, request: Request, described: bool, reliable: bool | None) -> bool:
        """Whether a provisional response to ``request``, with a session description or without, is to be reliable.

        UsageError for what cannot be (``reliable.sends_reliably``).
        """
        if not self.is_reliable:
            raise UsageError("reliable provisional responses need '100rel' among what is supported")
        return sends_reliably(request, described, reliable)

    def dismiss(
        self, transaction: ServerTransaction, code: int, now: float, *, reason: str = '', headers: Fields = ()
    ) -> Response:
        """Refuse a request that came as a REQUEST event, and forget it (8.2.7): one that comes again is a new one.

        For what would be refused again, such as a request without credentials.  Not for an INVITE, which needs state.
        """
        request = transaction.request
        if request.method == 'INVITE' or code < 300:
            raise UsageError(f'{code} to {request.method} needs a transaction: use respond()')
        response = self.make_response(request, code, reason, to_tag=self.stateless_tag(request))
        self.complete(response, request.method, headers, b'', None)
        self.layer.dismiss(transaction, response, now)
        return response

    # -- what the layers below report

    def _settle(self, now: float) -> None:
        """Work off what the transaction layer reported."""
        events = self.layer.events
        while events:
            kind, transaction, item = events.popleft()
            self._handlers[kind](transaction, item, now)

    def _on_response(self, transaction: Any, response: Response, now: float) -> None:
        try:
            transaction.user.on_response(response, now)
        except ParseError as error:
            # 8.1.3.3, 18.1.2: one that cannot be understood might as well not have come.
            log.debug('! dropped a broken response to %r: %s', transaction, error)

    def _on_stray(self, transaction: None, response: Response, now: float) -> None:
        """A response to nothing we know, such as a 2xx repeated after 64*T1: its sender gives up by itself."""

    def _on_failure(self, transaction: Any, error: Exception | None, now: float) -> None:
        user = transaction.user
        if isinstance(transaction, ServerTransaction) and self._sends_elsewhere(transaction, error, now):
            return
        if user is None:
            return
        if error is None:
            error = TransactionTimeout(f'no answer to {transaction.method} within 64*T1')
        if isinstance(transaction, ServerTransaction):
            user.on_transaction_failure(transaction, error, now)
        elif not isinstance(user, ClientRequest) or user.transaction is transaction:
            # Else it is an attempt that is over: only the ACK for its refusal could not be sent.
            user.on_failure(error, now)

    def _sends_elsewhere(self, transaction: ServerTransaction, error: Exception | None, now: float) -> bool:
        """RFC 3263 5: a response that did not arrive takes another way, if there is one."""
        if not isinstance(error, TransportError):
            return False
        if transaction.way_back is None:
            transaction.way_back = WayBack(self, transaction)
            found: bool = transaction.way_back.find(error, now)
        else:
            found = transaction.way_back.go_on(now)
        return found

    def _on_ack(self, transaction: Any, request: Request, now: float) -> None:
        dialog = self.dialog_of(request)
        if dialog is not None:
            dialog.usage.on_ack(request, now)

    def _on_request(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """A new request; one that turns out broken only when it is looked at more closely gets a 400 as well."""
        try:
            process(self, transaction, request, now)
        except ParseError as error:
            log.debug('! a broken %s from %s: %s', request.method, transaction.flow, error)
            if isinstance(transaction.user, ServerInvite) and transaction.user.transaction is transaction:
                self.usages.discard(transaction.user)
                transaction.user = None
            self.refuse(transaction, error.status, now)

    def watch_progress(self, now: float) -> None:
        """13.3.1.1: from now on provisional responses are repeated every minute, with one timer for all calls."""
        interval = self.settings.progress_interval
        if interval:
            self.progressing = self.timers.add(interval, now, self, 'progress')

    def on_timer(self, name: str, now: float) -> None:
        """``progress``: time to look whose calls have rung for long."""
        self.progressing = None
        before = now - self.settings.progress_interval + 1.0
        waiting = [usage.repeat_progress(before) for usage in self.usages if isinstance(usage, ServerInvite)]
        if any(waiting):
            self.watch_progress(now)

    def refuse(self, transaction: ServerTransaction, code: int, now: float, *fields: tuple[str, str]) -> None:
        """Refuse a request that would be refused again if it came again: only an INVITE, with its ACK, needs state."""
        request = transaction.request
        response = self.make_response(request, code, to_tag=self.stateless_tag(request))
        for name, text in fields:
            response.add(name, text)
        if request.method == 'INVITE':
            self.layer.respond(transaction, response, now)
        else:
            self.layer.dismiss(transaction, response, now)

    def stateless_tag(self, request: Request) -> str:
        """8.2.7: a request that comes again gets the same To tag, though nobody remembers it."""
        seed = f'{self._secret}{request.branch}{request.call_id}'.encode(errors='surrogateescape')
        return f'{crc32(seed):08x}'

    def dialog_of(self, request: Request) -> Dialog | None:
        """12.2.2: the dialog in which a request has come."""
        return self.dialogs.get((request.call_id, request.to_tag or '', request.from_tag or ''))

    # -- pieces that usages and exchanges share

    def new_tag(self) -> str:
        """19.3: at least 32 bits of randomness."""
        return f'{self.random.getrandbits(64):016x}'

    def new_branch(self) -> str:
        """8.1.1.7: the magic cookie, and unique across space and time."""
        return f'z9hG4bK{self.random.getrandbits(80):020x}'

    def new_call_id(self) -> str:
        """8.1.1.4: a cryptographically random identifier."""
        return f'{self.random.getrandbits(128):032x}'

    def make_response(self, request: Request, code: int, reason: str = '', to_tag: str | None = None) -> Response:
        """8.2.6."""
        return make_response(request, code, reason, to_tag)

    def look_up(self, hop: Hop, point: Point | None, waiter: Located) -> None:
        """Have a name turned into servers; ``waiter.located`` is called with the outcome."""
        self.lookups.append(Lookup(hop, point, waiter))

    def look_up_number(self, number: str, waiter: ClientRequest) -> None:
        """Have a telephone number turned into URIs (RFC 6116); ``waiter.translated`` is called with the outcome."""
        self.lookups.append(Lookup(NOWHERE, None, waiter, number))


def quotable(text: str) -> str:
    """A text that is safe inside a quoted string."""
    return ''.join(c for c in text[:100] if c.isprintable() and c not in '"\\')
