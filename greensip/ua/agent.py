"""The user agent: where calls are made and come in (RFC 3261 8 and 13, as a script sees them)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

from gevent import getcurrent

from greensip.dialog.core import Core
from greensip.dialog.event import ENDED, INCOMING, Event
from greensip.dialog.exchange import ClientRequest
from greensip.dialog.negotiation import SDP
from greensip.errors import (
    ParseError,
    TransportError,
    Unsubscribed,
    UsageError,
    WaitTimeout,
    WrongState,
    response_error,
)
from greensip.message import NameAddr, Request, Response, SipUri, Uri
from greensip.message.grammar import is_token
from greensip.native import mypyc_attr
from greensip.sdp import DEFAULT_CODECS
from greensip.transaction.flow import Flow, Point
from greensip.transaction.settings import Settings
from greensip.transport.clock import Clock
from greensip.transport.endpoint import Endpoint
from greensip.transport.entropy import Entropy
from greensip.transport.keepalive import KeepAlive
from greensip.transport.trace import Traces

from .account import Account
from .addresses import contact_text, loose_route, next_hop, routes_of, target_of
from .bridge import Bridge
from .buddy import Buddy
from .deadline import current_deadline
from .engine import Engine
from .fields import Body, Extra, body_of, check_request, check_texts, fields_of
from .group import LegGroup
from .identity import Identity
from .incoming import IncomingLeg
from .incoming_subscription import IncomingSubscription
from .keeping import Keeping
from .leg import Leg
from .mailbox import Gate
from .messages import Inbox, switchboard_of
from .naming import history_fields, naming_fields
from .outgoing import OutgoingLeg, Redirection
from .presence import Presentity, presentity_of
from .publication import Publication, make_publication
from .reception import Reception
from .referral import Referral, refer_outside
from .reply import Reply, wait_reply
from .request import RequestHandlers
from .session import inactive_offer
from .subscription import OutgoingSubscription, make_subscription
from .transfer import Transfer
from .watchdog import Watchdog, watch_hub

__all__ = ['SUPPORTED', 'UserAgent']

log: Final = logging.getLogger('greensip.ua')

#: RFC 3261 25.1: user
_USER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+")

#: seconds for which ``close()`` waits for the peers' answers to our BYE and CANCEL
LINGER: Final = 2.0
#: an address in whose direction our default route leads (RFC 5737), to learn our own
ELSEWHERE: Final = '192.0.2.1'

#: option tags that every user agent supports (RFC 3261 19.2), each added with the code that honours it
SUPPORTED: Final[tuple[str, ...]] = ('100rel', '199', 'norefersub', 'replaces', 'tdialog', 'timer')

#: what a user agent, or a call, does about reliable provisional responses (RFC 3262)
PRACK_MODES: Final = ('off', 'supported', 'required')

#: what a transfer needs in Allow (RFC 5589 6)
TRANSFER_METHODS: Final = ('REFER', 'NOTIFY')

@mypyc_attr(allow_interpreted_subclasses=True)
class UserAgent(Engine):
    """Makes and receives calls.

        with UserAgent('udp:127.0.0.1:5060') as ua:
            with ua.invite('sip:bob@127.0.0.1:5080') as leg:
                leg.wait_for('200', timeout=20)

    ``places`` are such as ``'udp:127.0.0.1:5060'`` or ``'tls:0.0.0.0:5061?cert=cert.pem&key=key.pem'`` ("Transports" in
    the README); a list of them is given as ``listen=``.  Port 0, and no place at all, take a free one.  Raises
    TransportError when one can't be had, UsageError for options that it does not have.

    ``name``: the user part of our own address, as it stands in a URI (RFC 3261 25.1 user); UsageError otherwise.
    ``user_agent``: the text of User-Agent and Server.
    ``codecs``: what a session description names that we write ourselves.  ``timeouts``: the timers of
    RFC 3261, ``Settings`` or a mapping such as ``{'t1': 0.1}``.
    ``network``, ``clock``, ``resolver``, ``random`` replace those of the system, for tests.
    ``advertised``: host and port that peers are told.  ``allow``: further methods inside and outside of calls.
    ``supported``: the option tags; ``SUPPORTED`` without it, ``(*SUPPORTED, 'join')`` for more.
    ``session_timer``: seconds after which a call ends that nobody has refreshed, 90 at least, or such as
    ``'1800;refresher=uas'``; None asks for none, and keeps to what peers ask for (RFC 4028).  ``min_se``: the least
    number of seconds that peers may ask for.
    ``manual``: the methods that handlers of incoming calls answer themselves.
    ``watchdog``: seconds for which a script may hold the hub without being told off; None for any time.
    ``keep_responses=False``: legs remember their latest response only.
    ``send_keep_alives``: offer to keep the flows of our calls alive, and do so where the peer wants it (RFC 6223).
    ``expect_keep_alives``: answer those who offer it; the longest time between two, in whole seconds, 0 for any.
    ``outbound_proxy``: where requests outside of dialogs go that are given no ``route`` (RFC 3261 8.1.2), such as
    ``sip:proxy.example.com;transport=tcp``; it gets a Route with ``lr``.
    ``enum``: the domain under which the DNS knows telephone numbers (RFC 6116), such as ``e164.arpa``: then ``tel:``
    URIs can be called without a proxy.
    ``refer``: what becomes of a REFER in a call: ``'refuse'``, ``'accept'`` calls whom it names by itself, ``'ask'``
    leaves it to the script, which gets a ``Transfer`` from ``leg.wait_for('REFER')``; so does ``manual=('REFER',)``.
    ``info_packages``: the packages of INFO that are taken (RFC 6086); others are refused with 469.
    ``prack``: reliable provisional responses (RFC 3262): ``off``, ``supported``, or ``required`` of whom we call and of
    who calls us (421), so that ours are reliable unless ``ring(reliable=False)`` says otherwise; without it
    ``supported`` if ``100rel`` is among the option tags.
    ``pcap``: a file for every message, for Wireshark (``greensip.transport.pcap``); SetupError if it cannot be written.
    ``hep``: a capture server such as Homer, ``HOST:PORT`` (``greensip.transport.hep``).
    """

    def __init__(self, *places: Any, listen: Sequence[Any] = (), name: str = 'greensip', user_agent: str = 'greensip',
                 codecs: Sequence[Any] = DEFAULT_CODECS, timeouts: Settings | Mapping[str, Any] | None = None,
                 network: Any = None, clock: Clock | None = None, resolver: Any = None, random: Any = None,
                 advertised: tuple[str, int] | None = None, allow: Sequence[str] = (),
                 supported: Sequence[str] = SUPPORTED, manual: Sequence[str] = (),
                 watchdog: float | None = 0.1, keep_responses: bool = True,
                 send_keep_alives: bool = False, expect_keep_alives: int | None = None,
                 outbound_proxy: Uri | str | None = None, enum: str = '',
                 session_timer: int | str | None = None, min_se: int = 90, info_packages: Sequence[str] | None = None,
                 prack: str | None = None,
                 refer: Literal['refuse', 'accept', 'ask'] = 'refuse',
                 pcap: str | None = None, hep: str | None = None, core: Core | None = None) -> None:
        if not _USER.fullmatch(name):
            raise UsageError(f'name={name!r} cannot be the user part of an address: write it as in a URI')
        if refer not in ('refuse', 'accept', 'ask'):
            raise UsageError(f"refer={refer!r}: 'refuse', 'accept' or 'ask'")
        check_texts(allow=allow, supported=supported, manual=manual, info_packages=info_packages)
        if '\r' in user_agent or '\n' in user_agent or '\0' in user_agent:
            raise UsageError(f'user_agent={user_agent!r} cannot stand in a header field')
        if expect_keep_alives is not None and expect_keep_alives < 0:
            raise UsageError(f'expect_keep_alives={expect_keep_alives}: seconds, 0 for any')
        if refer != 'refuse' or 'REFER' in manual:
            allow = [*allow, *TRANSFER_METHODS]
        if core is None:
            core = Core(_settings(timeouts), random=random or Entropy(), user_agent=user_agent)
        tags = list(dict.fromkeys([*core.supported, *supported]))
        if prack is not None:
            _check_prack(prack)
            tags = [*([] if prack == 'off' else ['100rel']), *(tag for tag in tags if tag.lower() != '100rel')]
        methods = dict.fromkeys([*core.allow, *allow, *(['PRACK'] if '100rel' in tags else [])])
        core.configure(contact_user=name, allow=list(methods), supported=tags,
                       session_timer=session_timer, min_se=min_se, offers_keep=send_keep_alives,
                       keep=expect_keep_alives, enum=enum, info_packages=info_packages,
                       route=[loose_route(outbound_proxy)] if outbound_proxy is not None else ())
        self.core = core
        wanted = [*places, *([listen] if isinstance(listen, str) else listen)]
        self.endpoint = Endpoint(core, wanted or ('udp:0.0.0.0:0',), clock=clock, network=network, resolver=resolver,
                                 advertised=advertised)
        self.traces: Traces | None = None
        if pcap is not None or hep is not None:
            try:
                self.traces = Traces(self.endpoint, pcap=pcap, hep=hep)
            except BaseException:
                self.endpoint.close()
                raise
        super().__init__(self.endpoint.clock)
        self.name = name
        self.codecs = codecs
        self.manual = manual
        self.prack = prack
        #: what becomes of a REFER of which no script has asked to be told
        self.refer_policy: str = refer
        self.keep_responses = keep_responses
        #: the flows that are kept alive
        self.keeping = Keeping(self)
        self.closed = False
        self.reception = Reception(self)
        self.request_handlers = RequestHandlers(self)
        #: those that ``account()`` made and that are not closed
        self.accounts: list[Account] = []
        #: the same by the user part of their contacts
        self._account_users: dict[str, Account] = {}
        #: who takes the messages (RFC 3428), once somebody has asked for them
        self._switchboard: Any = None
        #: who is watched and written to
        self.buddies: list[Buddy] = []
        self._presentity: Presentity | None = None
        #: those who wait until no call is left
        self.quiet: list[Gate] = []
        #: the requests of ours whose answer somebody waits for
        self.replies: set[Reply] = set()
        self._watchdog: Watchdog | None = watch_hub(watchdog) if watchdog is not None else None
        self.endpoint.on_event = self._on_event
        self.endpoint.start()

    def __repr__(self) -> str:
        return f'<UserAgent {self.name} at {", ".join(map(str, self.points))}>'

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    @property
    def points(self) -> list[Point]:
        """Where we listen, with the real ports."""
        return self.core.points

    @property
    def uri(self) -> str:
        """Our own address as others can call it."""
        point = self._point()
        return f'sip:{self.name}@{point.sent_by}{point.contact_params}'

    @property
    def host(self) -> str:
        """The host of our own address, for session descriptions."""
        return self._point().advertised[0]

    @property
    def legs(self) -> list[Leg]:
        """The calls that are not over."""
        return [usage.owner for usage in self.core.usages if usage.owner is not None]

    def _point(self, uri: str | None = None) -> Point:
        """The point that faces ``uri``, as far as that can be told without a look-up."""
        if uri is not None:
            try:
                found = self.core.router.route(uri)
            except (TransportError, ParseError):
                found = None
            if isinstance(found, Flow):
                return found.point
        point = self.points[0]
        try:
            return point.toward(ELSEWHERE)
        except (TransportError, OSError):
            return point

    def _own_address(self, target: Uri, routes: Sequence[str], flow: Flow | None = None) -> str:
        """From when the script gives none."""
        point = flow.point if flow is not None else self._point(next_hop(target, routes or self.core.route))
        return f'<sip:{self.name}@{point.sent_by}>'

    # -- calls that we make

    def invite(self, uri: NameAddr | Uri | str, *, from_: NameAddr | Uri | str | None = None,
               to: NameAddr | Uri | str | None = None, headers: Extra = None, sdp: Body = None, body: Body = None,
               content_type: str | None = None, route: Sequence[str] | str = (), follow: int = 0,
               strict: bool = False, manual: Sequence[str] = (), progress_to: IncomingLeg | Transfer | None = None,
               credentials: Any = None, call_id: str | None = None, contact: str | None = None,
               max_forwards: int = 70, point: Point | None = None, flow: Flow | None = None,
               replaces: Any = None, joins: Any = None, session_timer: int | str | None = None,
               identity: Identity | None = None, history: Leg | bool = False,
               prack: str | None = None, expires: int | None = None, forks: str = 'first') -> OutgoingLeg:
        """Call ``uri``.  The INVITE is on the wire at return, unless a name has to be looked up first; does not block.

        ``from_``: who calls, ``to`` whom, where ``uri`` is another address; a URI, a NameAddr or the text of either.
        ``sdp``: the offer; without it one says that there is no media yet, ``b''`` leaves the offer to the peer, to be
        answered with ``leg.ack(sdp)``.  ``body`` and ``content_type`` for any other body.  ``route``: the Route to
        preload.  ``follow``: so many further targets may be tried on a 3xx (RFC 3261 8.1.3.4).  ``strict``: what the
        script does not wait for raises UnexpectedMessage.  ``manual``: chores that the script takes over: ``ACK``, and
        methods inside the dialog, to be answered with ``leg.respond()``.  ``progress_to``: an incoming leg that gets
        our provisional responses.  ``credentials``: user and password for 401 and 407, also of a server that a 3xx
        leads to; ``Login(user, password, realm)`` is for that realm only.  ``flow``: where to send it, whatever ``uri``
        and ``route`` say: the ``flow`` of the REGISTER of somebody whom nothing else leads to, such as a browser.
        ``replaces``: the call of the one called that this one is to take the place of (RFC 3891): our leg
        with him, a ``DialogState`` of somebody who has told of a call with him, or the text of Replaces; ``joins``: the
        one that it is to be joined with (RFC 3911).
        ``session_timer``: seconds as for the user agent, for this call; 0 asks for none.  ``prack``: as for the user
        agent, for this call; with ``PRACK`` in ``manual`` the script acknowledges by itself (``leg.prack``).
        ``expires``: seconds after which the call is given up if it has not been answered (RFC 3261 13.2.1).
        ``forks='all'``: when several phones answer, each is a leg, the further ones in ``leg.forks``; without it they
        are hung up (13.2.2.4).  ``headers``: further header fields, a mapping or pairs.  ``contact``: the text of
        Contact, ours without it.  ``call_id``, ``max_forwards``: those fields.
        ``identity``: who calls, as networks say it (RFC 3325).  ``history``: True tells where the call has been, also
        as it follows a redirection (RFC 7044); a leg goes on from there: an incoming one that is sent on to somebody
        else, or an outgoing one that was refused and is tried elsewhere.

        Raises UsageError or ParseError for arguments that make no request, WrongState when closed, WrongThread.
        Whatever happens to the INVITE is seen by waiting.
        """
        self.check_thread()
        if self.closed:
            raise WrongState('the user agent is closed')
        if prack is not None:
            _check_prack(prack)
        if forks not in ('first', 'all'):
            raise UsageError(f"forks={forks!r}: 'first' or 'all'")
        check_request(manual, max_forwards, expires, follow)
        if 'REFER' in manual and 'REFER' not in self.core.allow:
            self.core.configure(allow=list(dict.fromkeys([*self.core.allow, *TRANSFER_METHODS])))
        target = target_of(uri)
        routes = routes_of(route) if route else ()
        if body is not None:
            data, kind = body_of(body, content_type, SDP)
        elif sdp is None:
            facing = flow.point if flow is not None else self._point(next_hop(target, routes or self.core.route))
            host = facing.advertised[0]
            data, kind = inactive_offer(host, self.codecs, self.core.random), SDP
        else:
            data, kind = body_of(sdp, content_type, SDP)
        pairs = fields_of(headers)
        if replaces is not None or joins is not None:
            pairs = [*pairs, *naming_fields(replaces, joins)]
        if identity is not None:
            pairs = [*pairs, *identity.fields()]
        if history:
            pairs = [*pairs, *history_fields(target, history)]
        options: dict[str, Any] = {
            'from_': from_ if from_ is not None else self._own_address(target, routes, flow), 'to': to,
            'headers': pairs, 'body': data, 'content_type': kind,
            'route': routes, 'point': point, 'flow': flow, 'credentials': credentials,
            'auto_ack': 'ACK' not in manual, 'contact': contact_text(contact), 'max_forwards': max_forwards,
            'session_timer': session_timer, 'prack': prack if prack is not None else self.prack,
            'auto_prack': 'PRACK' not in manual, 'expires': expires, 'forks': forks,
        }
        usage = self.core.invite(target, self.clock.now(), call_id=call_id, **options)
        redirection = Redirection(target, follow, options, bool(history)) if follow > 0 else None
        leg = OutgoingLeg(self, usage, strict=strict, manual=manual, progress_to=progress_to, redirection=redirection)
        self.endpoint.flush()
        return leg

    def call(self, uri: NameAddr | Uri | str, *, timeout: float | None = None, **options: Any) -> OutgoingLeg:
        """``invite(uri, ...)``, and block until a 2xx comes.  Raises what ``wait_for('2xx')`` raises; the call is
        given up then."""
        leg = self.invite(uri, **options)
        try:
            leg.wait_for('2xx', timeout=timeout)
        except BaseException:
            leg.close()
            raise
        return leg

    def group(self, leg: Leg | None = None) -> LegGroup:
        """``LegGroup(leg)`` of this user agent; reaches other threads through ``from_thread()``."""
        return LegGroup(leg, engine=self)

    def bridge(self, a: Leg, b: Leg, **options: Any) -> Bridge:
        """``Bridge(a, b, ...)`` of two legs of this user agent; reaches other threads through ``from_thread()``."""
        return Bridge(a, b, **options)

    # -- calls that come in

    def accept(self, timeout: float | None = None) -> IncomingLeg:
        """Block until a call comes in, and return it.

        Calls that nobody accepts are refused with 480 after half a minute.  Raises WaitTimeout after ``timeout``
        seconds, WrongState when ``serve`` takes the calls, or when the user agent is closed; WrongThread.
        """
        self.check_thread()
        return self.reception.accept(timeout)

    def serve(self, handler: Callable[[IncomingLeg], object], *, max_legs: int | None = None,
              background: bool = False, screen: Callable[[IncomingLeg], int | None] | None = None) -> None:
        """Call ``handler(leg)`` in a greenlet of its own for each call that comes in.

        Blocks until the user agent is closed, or returns at once with ``background=True``.  The handler's end ends its
        call; a handler that raises gives its caller the ``status`` of a GreensipError, else a 500, and the
        exception is logged.  With ``max_legs`` handlers at work further calls get a 503.  ``screen(leg)`` is asked
        first, must not block, and returns None or the status to refuse with.

        Raises WrongState when there is a handler already, or the user agent is closed; UsageError for what is no
        function; WaitTimeout when a deadline
        passes (the handler goes on to take calls); WrongThread.
        """
        self.check_thread()
        if self.closed:
            raise WrongState('the user agent is closed')
        self.reception.serve(handler, max_legs, screen)
        self.endpoint.flush()
        if not background:
            self.reception.wait_closed()

    def handle(self, method: str, handler: Callable[[Any], object], *, blocking: bool = True) -> None:
        """Call ``handler(incoming)`` in a greenlet of its own for each request of ``method`` outside of calls.

        It answers with ``incoming.respond(code)``, or by returning a code; a handler that returns nothing has answered
        200, one that raises the ``status`` of its GreensipError, else 500.  ``blocking=False``: it never blocks, and is
        called at once, in the greenlet that received the request.  Does not block.  Raises UsageError for
        the methods that make calls, and for what is no method or no function, WrongThread.

        The handler of ``REFER`` is called with a ``Transfer``, which it accepts, or has refused.
        """
        self.check_thread()
        if method in ('INVITE', 'ACK', 'BYE', 'CANCEL'):
            raise UsageError(f'{method} belongs to calls: serve() and accept() take those')
        if not callable(handler):
            raise UsageError(f'{handler!r} cannot handle requests: give a function')
        if not is_token(method):
            raise UsageError(f'{method!r} is no method')
        self.request_handlers.add(method, handler, blocking)
        if method not in self.core.allow:
            self.core.configure(allow=[*self.core.allow, method])
        if method == 'OPTIONS':
            self.core.configure(options_code=None)

    # -- requests outside of calls

    def request(self, method: str, uri: NameAddr | Uri | str, *, from_: NameAddr | Uri | str | None = None,
                to: NameAddr | Uri | str | None = None, headers: Extra = None, body: Body = None,
                content_type: str | None = None, route: Sequence[str] | str = (), credentials: Any = None,
                call_id: str | None = None, cseq: int = 1, contact: str | None = '', max_forwards: int = 70,
                flow: Flow | None = None, timeout: float | None = None) -> Response:
        """Send a request outside of calls, block until its final response, and return that.

        ``flow`` is where to send it, as for ``invite``.

        Raises ResponseError for a response other than 2xx, TransactionTimeout, TransportError, WaitTimeout after
        ``timeout`` seconds, UsageError for the methods that belong to calls and, with ParseError, for arguments that
        make no request, WrongThread.
        """
        self.check_thread()
        if self.closed:
            raise WrongState('the user agent is closed')
        check_request((), max_forwards)
        target = target_of(uri)
        routes = routes_of(route)
        data, kind = body_of(body, content_type, 'text/plain')
        exchange: ClientRequest = self.core.request(
            method, target, self.clock.now(),
            from_=from_ if from_ is not None else self._own_address(target, routes, flow), to=to,
            headers=fields_of(headers), body=data, content_type=kind, route=routes,
            credentials=credentials, call_id=call_id, cseq=cseq, contact=contact_text(contact),
            max_forwards=max_forwards, flow=flow)
        reply = Reply(self, exchange, str(target))
        self.endpoint.flush()
        response = wait_reply(reply, timeout)
        if response.code >= 300:
            raise response_error(response.code, response.reason, response)
        return response

    def refer(self, uri: NameAddr | Uri | str, target: Any, *, from_: NameAddr | Uri | str | None = None,
              to: NameAddr | Uri | str | None = None, referred_by: Any = None, subscribe: bool = True,
              leg: Leg | None = None, headers: Extra = None, route: Sequence[str] | str = (), credentials: Any = None,
              contact: str | None = None, flow: Flow | None = None) -> Referral:
        """Ask ``uri`` to call ``target``, outside of calls (RFC 3515), and return what is told of it.

        ``outcome()`` of that blocks until the outcome is known; this does not block.  ``referred_by`` and
        ``subscribe`` as for ``leg.refer``; ``leg``: the call with ``uri`` that shows that we may ask (RFC 4538).
        Raises UsageError, ParseError, WrongState, WrongThread.
        """
        self.check_thread()
        if self.closed:
            raise WrongState('the user agent is closed')
        who = target_of(uri)
        routes = routes_of(route)
        sender = from_ if from_ is not None else self._own_address(who, routes, flow)
        return refer_outside(self, who, target, referred_by, subscribe, leg, headers, {
            'from_': sender, 'to': to, 'route': routes, 'credentials': credentials,
            'contact': contact, 'flow': flow})

    def options(self, uri: NameAddr | Uri | str, *, timeout: float | None = None, **options: Any) -> Response:
        """Ask what ``uri`` can do (RFC 3261 11): ``request('OPTIONS', uri)``."""
        return self.request('OPTIONS', uri, timeout=timeout, **{'headers': {'Accept': SDP}, **options})

    def message(self, uri: NameAddr | Uri | str, text: Body, *, content_type: str | None = None,
                timeout: float | None = None, **options: Any) -> Response:
        """Send a text to ``uri`` (RFC 3428): ``request('MESSAGE', uri, body=text)``."""
        return self.request('MESSAGE', uri, body=text, content_type=content_type, timeout=timeout, **options)

    # -- events

    def subscribe(self, uri: NameAddr | Uri | str, package: str, *, expires: int = 3600,
                  accept: Sequence[str] | None = None, event_id: str | None = None,
                  from_: NameAddr | Uri | str | None = None, to: NameAddr | Uri | str | None = None,
                  headers: Extra = None, body: Body = None, content_type: str | None = None,
                  route: Sequence[str] | str = (), credentials: Any = None, contact: str | None = None,
                  call_id: str | None = None, point: Point | None = None, flow: Flow | None = None,
                  resubscribe: bool = True, forks: str = 'first', strict: bool = False,
                  manual: Sequence[str] = ()) -> OutgoingSubscription:
        """Subscribe to an event package of ``uri`` (RFC 6665), such as ``'presence'`` or ``'message-summary'``.

            with ua.subscribe('sip:alice@example.com', 'message-summary') as events:
                for notify in events:
                    print(notify.text)

        The SUBSCRIBE is on the wire at return; does not block.  It is refreshed by itself until the ``with`` block
        ends, and begun anew when the notifier ends it for a reason that allows that, unless ``resubscribe=False``.
        ``expires`` in seconds; 0 fetches the state once.  ``accept``: the types of documents that we want; those of the
        package without it.  ``forks='all'``: each branch of a fork that answers is told as a ``'forked'`` event, whose
        ``subscription`` it is.  ``manual=('NOTIFY',)``: the script answers them, with ``events.respond()``.  The rest
        as for ``invite``.

        Raises UsageError or ParseError for arguments that make no request, WrongState when closed, WrongThread.
        """
        self.check_thread()
        if self.closed:
            raise WrongState('the user agent is closed')
        if forks not in ('first', 'all'):
            raise UsageError(f"forks={forks!r}: 'first' or 'all'")
        check_texts(manual=manual)
        target = target_of(uri)
        routes = routes_of(route)
        return make_subscription(
            self, target, package, str(target), strict=strict, manual=manual, headers=headers, body=body,
            content_type=content_type, accept=accept, expires=expires, event_id=event_id,
            from_=from_ if from_ is not None else self._own_address(target, routes, flow), to=to,
            route=routes, credentials=credentials, contact=contact_text(contact), call_id=call_id, point=point,
            flow=flow, resubscribe=resubscribe, accept_forks=forks == 'all')

    def events(self, package: str, handler: Any) -> None:
        """Be the notifier of an event package: call ``handler(subscription)`` for each SUBSCRIBE that comes in.

        It runs in a greenlet of its own and answers with ``subscription.accept(body)``, ``pend()`` or ``reject()``, or
        by returning a status; one that returns nothing has accepted.  The subscription lives on after it.  A
        ``Notifier`` in its place keeps all subscribers by itself.  Other packages get a 489.  Does not block.  Raises
        WrongThread.
        """
        self.check_thread()
        attach = getattr(handler, 'attach', None)
        if attach is not None:
            attach(self)
        self.request_handlers.packages[package] = handler
        core = self.core
        core.configure(allow=list(dict.fromkeys([*core.allow, 'SUBSCRIBE', 'NOTIFY'])),
                       allow_events=list(dict.fromkeys([*core.allow_events, package])))

    def publish(self, uri: NameAddr | Uri | str, package: str, body: Body, *, content_type: str | None = None,
                expires: int = 3600, from_: NameAddr | Uri | str | None = None,
                to: NameAddr | Uri | str | None = None, headers: Extra = None, route: Sequence[str] | str = (),
                credentials: Any = None, call_id: str | None = None, point: Point | None = None,
                flow: Flow | None = None, etag: str | None = None, timeout: float | None = None) -> Publication:
        """Publish our state at a compositor (RFC 3903), and block until it has taken it.

            with ua.publish('sip:alice@example.com', 'presence', document) as publication:
                publication.update(another)

        It is refreshed by itself until the ``with`` block ends.  ``expires`` in seconds.  ``etag``: that of a
        publication from before, which is modified then.  Raises ResponseError, TransactionTimeout, TransportError,
        WaitTimeout, UsageError for an empty document, WrongState when closed, WrongThread.
        """
        self.check_thread()
        if self.closed:
            raise WrongState('the user agent is closed')
        target = target_of(uri)
        routes = routes_of(route)
        own = from_ if from_ is not None else target
        return make_publication(
            self, target, package, body, str(target), content_type=content_type, headers=headers, timeout=timeout,
            expires=expires, from_=own, to=to, route=routes, credentials=credentials, call_id=call_id,
            point=point, flow=flow, etag=etag)

    @property
    def messages(self) -> Inbox:
        """The texts that come in outside of calls (RFC 3428), but for those of accounts that have an inbox too.

            for message in ua.messages:
                print(message.from_, message.text)

        They are taken from the first use on.  Does not block.  Raises WrongState where ``handle('MESSAGE', ...)`` takes
        them, and when closed, WrongThread.
        """
        return switchboard_of(self).inbox(None)

    def buddy(self, uri: NameAddr | Uri | str) -> Buddy:
        """Somebody to watch and to write to, in the user agent's own name.  Does not block.

        Raises ParseError, WrongState when closed, WrongThread.
        """
        return Buddy(self, uri)

    @property
    def presence(self) -> Any:
        """Our own presence, as those see it who ask for no account: None, or what it was set to as a document.

        Set it to ``'online'``, ``'busy'``, ``'away'``, ``'offline'``, an activity of RFC 4480, a ``Status`` with a
        note, or a ``Presence``; None tells nothing any more.  Setting it does not block; it raises UsageError for
        anything else, WrongState where ``events('presence', ...)`` takes the subscriptions, WrongThread.
        """
        return presentity_of(self, self, None).document

    @presence.setter
    def presence(self, presence: Any) -> None:
        presentity_of(self, self, None).set(presence)

    @property
    def authorize_watcher(self) -> Any:
        """Who may see our presence: True, False, a status to refuse with, or a function of the ``IncomingSubscription``
        that must not block and returns one of these, or None to leave it pending (``approve``, ``deny``)."""
        return presentity_of(self, self, None).authorize

    @authorize_watcher.setter
    def authorize_watcher(self, verdict: Any) -> None:
        presentity_of(self, self, None).authorize = verdict

    @property
    def watchers(self) -> list[IncomingSubscription]:
        """Who watches our presence, and who waits to be allowed to."""
        return presentity_of(self, self, None).watchers

    def publish_presence(self, *, expires: int = 3600, timeout: float | None = None, **options: Any) -> Publication:
        """Publish our presence at a presence server (RFC 3903), now and whenever it changes.  Blocks and raises as
        ``publish``; UsageError where there is none."""
        return presentity_of(self, self, None).publish(expires=expires, timeout=timeout, **options)

    # -- accounts

    def account(self, aor: NameAddr | Uri | str, password: str | None = None, **options: Any) -> Account:
        """An address-of-record of ours, to be registered: ``options`` are those of ``Account``.  Does not block.

            with ua.account('sip:alice@example.com', 's3cret', registrar='sip:pbx.example.com') as alice:
                alice.register()

        Raises UsageError or ParseError for arguments that make no registration, WrongState when closed, WrongThread.
        """
        return Account(self, aor, password, **options)

    def account_of(self, request: Request) -> Account | None:
        """The account that a request is for which came in; None if it is for none."""
        if not self.accounts:
            return None
        uri = request.uri
        found = self._account_users.get(uri.user or '') if isinstance(uri, SipUri) else None
        # Mostly it is what one of them has registered; else whichever it fits best.
        if found is None or not found.is_at(uri):
            found = max(self.accounts, key=lambda account: account.match(request))
        return found if found.match(request) else None

    # -- flows

    def keep_alive(self, target: NameAddr | Uri | str | Flow, interval: float | None = None, *, method: str = 'stun',
                   on_failed: Callable[[KeepAlive], object] | None = None) -> KeepAlive:
        """Keep the way to ``target`` open (RFC 5626 4.4): the next hop of a URI, or a flow, until ``stop()``.

        ``interval``: the longest time between two keep-alives, in seconds; 29 over UDP and 120 over streams without it.
        ``method`` over UDP: ``'stun'``, which a peer has to know (RFC 5626 8: ask who runs it) and by which one notices
        that it is gone or hears us from another address, or ``'crlf'``, which just keeps a NAT's binding open.
        ``on_failed(keep_alive)`` is called when the flow fails, and must not block; ``keep_alive.error`` says why.
        A stream is asked as long as there is a connection.

        Blocks while a name is looked up.  Raises TransportError if there is no way, UsageError, WrongThread.
        """
        self.check_thread()
        if self.closed:
            raise WrongState('the user agent is closed')
        flow = target if isinstance(target, Flow) else self.keeping.flow_to(str(target_of(target)))
        return self.keeping.keep_alives.begin(flow, interval, method=method, on_failed=on_failed)

    # -- the end

    def drain(self, grace: float | None = None) -> int:
        """Take no more calls (they get a 503), and block until those that there are have ended.

        After ``grace`` seconds the rest is hung up.  Returns how many had to be.  The user agent is still open then:
        ``close()`` closes it.  Raises WaitTimeout when a deadline passes before that, WrongThread.
        """
        self.check_thread()
        self.reception.refusing = True
        left = 0
        budget = current_deadline()
        remaining = budget.remaining if budget is not None else None
        tighter = remaining is not None and (grace is None or remaining < grace)
        if not self._wait_quiet(remaining if tighter else grace):
            left = len(self.legs)
            if budget is not None and tighter:
                calls = f'{left} calls have' if left != 1 else '1 call has'
                raise WaitTimeout(f'{calls} not ended before the deadline of {budget.tightest().seconds:g} s')
            self._hang_up_all()
            self._wait_quiet(LINGER if budget is None else min(LINGER, budget.remaining))
        return left

    def close(self, linger: float = LINGER) -> None:
        """Hang up every call, wait up to ``linger`` seconds for the peers to agree, and give the ports back.

        What handlers are still at work are killed.  ``serve()`` returns, ``accept()`` raises WrongState, as does
        waiting for the response to a request.  Every leg is over then, though its peer may have said nothing.  May be
        called twice.  Raises WrongThread.
        """
        self.check_thread()
        if self.closed:
            return
        self.reception.refusing = True
        self.closed = True
        now = self.clock.now()
        for usage in self._lasting():
            usage.close(now)
        for account in tuple(self.accounts):
            account.close()
        self._hang_up_all()
        self.endpoint.flush()
        self.reception.close()
        for buddy in tuple(self.buddies):
            buddy.close()
        if self._switchboard is not None:
            self._switchboard.close()
        try:
            if linger > 0 and getcurrent() is not self.hub:
                self._wait_quiet(linger)
        finally:
            self.keeping.close()
            now = self.clock.now()
            for usage in self._lasting():
                usage.finish(Unsubscribed(), now)
            for call in tuple(self.core.usages):
                call.give_up(now)
            for reply in tuple(self.replies):
                reply.give_up()
            self.endpoint.flush()
            self.endpoint.close()
            if self.traces is not None:
                self.traces.close()
            if self._watchdog is not None:
                self._watchdog.stop()
            super().close()

    def _hang_up_all(self) -> None:
        for leg in self.legs:
            leg._leave(480, None, ())

    def _lasting(self) -> list[Any]:
        """The subscriptions and publications that are not over."""
        return [*self.core.subscriptions.living, *self.core.publications]

    def _is_quiet(self) -> bool:
        """No call and no handler is left, but for the handler that asks; at the end, nothing registered, subscribed or
        published either."""
        core = self.core
        return (not core.usages and self.reception.is_idle()
                and not (self.closed and (core.registrations or core.subscriptions.living or core.publications)))

    def _wait_quiet(self, timeout: float | None) -> bool:
        """Block until it is quiet; False if that takes longer than ``timeout``."""
        if self._is_quiet():
            return True
        gate = Gate(self)
        handle = self.clock.timer(timeout, gate.expire) if timeout is not None else None
        self.quiet.append(gate)
        try:
            while not self._is_quiet() and not gate.expired:
                gate.park()
        finally:
            self.quiet.remove(gate)
            if handle is not None:
                handle.cancel()
        return self._is_quiet()

    # -- what the core reports

    def _on_event(self, event: Event) -> None:
        """Called while the endpoint flushes: must not block."""
        subject = event.subject
        if self.core.offers_keep:
            self.keeping.on_event(event)
        if event.kind == INCOMING:
            self.reception.on_call(event)
        elif subject is None:
            self.request_handlers.on_request(event)
        else:
            leg = subject.owner
            if leg is not None:
                leg.on_event(event)
            elif event.kind == ENDED and self.quiet:
                self.on_leg_ended()

    def on_leg_ended(self) -> None:
        """A leg, or a handler, tells that it is over."""
        for gate in self.quiet:
            gate.wake()

def _settings(timeouts: Settings | Mapping[str, Any] | None) -> Settings | None:
    if timeouts is None or isinstance(timeouts, Settings):
        return timeouts
    try:
        return Settings(**timeouts)
    except TypeError as error:
        raise UsageError(f'timeouts= takes the settings of greensip.Settings: {error}') from None


def _check_prack(prack: str) -> None:
    if prack not in PRACK_MODES:
        raise UsageError(f'prack={prack!r}: off, supported or required')
