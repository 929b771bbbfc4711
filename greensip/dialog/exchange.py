"""A request of ours on its way to a final response: RFC 3261 8.1, and 22.2 for the challenges on the way.

A ``ClientRequest`` outlives its transactions: it is first located, then sent, and sent again with credentials when
the peer asks for them (a new transaction, branch and CSeq each time). A server that fails gives way to the next one of
its name (RFC 3263 4.3: a new transaction and branch, the rest as it was).  What only INVITE has is in
``invite_request.py``.

**By TCP because of its size** (18.1.1).  A request of more than ``Settings.tcp_above`` octets changes its transport and
its Via for once; its Contact, and the dialog that it makes, are those of the UDP point that it would have left from.
Not as RFC 3261 18.1.1: the ACK for a 2xx goes the way of its dialog whatever its size, since nothing would tell us to
send it again by UDP.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from greensip.errors import MessageTooBig, ParseError, TransactionTimeout, TransportError, UsageError
from greensip.message import Request, Response, TelUri, parse_uri
from greensip.transaction.flow import Flow, Hop, Point
from greensip.transaction.layer import ClientTransaction
from greensip.transaction.timers import Timer

from .dialog import Dialog
from .event import FAILED, RESPONSE, Event
from .routing import Envelope, is_sips, next_hop, plain_uri, target_of
from .soft_state import seconds_in

if TYPE_CHECKING:
    from greensip.message.digest import DigestClient

    from .core import Core

__all__ = ['PASSED_ON', 'ClientRequest', 'Fields']

log: Final = logging.getLogger('greensip.dialog')

#: seconds for which a Retry-After is believed at most
LONGEST_RETRY_AFTER: Final = 3600.0
#: so often one request goes out again with credentials: each proxy of a chain, and each nonce that was stale, takes one
MAX_CHALLENGES: Final = 16

#: for ``glares`` of a re-INVITE or UPDATE that a B2BUA passes on: a 491 is told, and not waited out
PASSED_ON: Final = -1

#: header fields as name and text
Fields = Sequence[tuple[str, str]]


class ClientRequest:
    """One request of ours.  ``owner`` is free for whoever asked for it, ``response`` its final response."""

    __slots__ = (
        '_auth',
        'body',
        'capabilities',
        'challenges',
        'contact',
        'content_type',
        'core',
        'dialog',
        'digest',
        'done',
        'envelope',
        'flow',
        'headers',
        'heard',
        'max_forwards',
        'method',
        'moved',
        'others',
        'owner',
        'point',
        'renewed',
        'request',
        'response',
        'subject',
        'transaction',
        'unanswered',
        'usual',
    )

    def __init__(
        self,
        core: Core,
        method: str,
        subject: Any,
        envelope: Envelope,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        contact: str | None = '',
        point: Point | None = None,
        dialog: Dialog | None = None,
        digest: DigestClient | None = None,
        max_forwards: int = 70,
    ) -> None:
        self.core = core
        self.method = method
        #: the usage it belongs to, or the request itself outside of usages
        self.subject: Any = subject
        self.envelope = envelope
        self.headers = headers
        self.body = body
        self.content_type = content_type
        #: our Contact as text; '' for none, None for the default of the point that it leaves from
        self.contact = contact
        self.point = point
        self.max_forwards = max_forwards
        #: what it says that we can do, where that is not what the core says
        self.capabilities: Fields | None = None
        self.dialog = dialog
        self.digest = digest
        self._auth: Fields = ()
        self.flow: Flow | None = None
        self.request: Request | None = None
        self.transaction: ClientTransaction | None = None
        self.response: Response | None = None
        self.owner: Any = None
        self.done = False
        #: whether a response to the present attempt has come
        self.heard = False
        #: the servers that are left to be tried; those of a dialog are with it
        self.others: Sequence[Flow] = ()
        #: whether the present server has not seen our credentials yet
        self.moved = False
        #: how often it went out again with credentials
        self.challenges = 0
        #: whether it was sent again as a connection that had served before was not there any more
        self.renewed = False
        #: where it would have gone but for its size (18.1.1)
        self.usual: Flow | None = None
        #: runs while the present server may still answer before the next one is tried
        self.unanswered: Timer | None = None

    def start(self, now: float) -> None:
        """Send it, or have its next hop looked up first.  A hop that can't be reached fails it (8.1.3.1)."""
        if self.digest is not None and not self._auth:
            # 22.2: credentials that are known already spare a round trip
            self._auth = self.digest.preempt(self.method, self.envelope.uri, self.body)
        # Outside of dialogs only a further attempt has a flow: it goes to the server that sent the challenge (8.1.3.5).
        flow = self.flow if self.dialog is None else self.dialog.flow
        if flow is not None:
            self.send(flow, now)
            return
        try:
            found = self.core.router.route(self.envelope.next_uri, self.point)
        except (TransportError, ParseError) as error:
            if not self._ask_for_number():
                self.flow = None
                self.on_failure(error, now)
            return
        if isinstance(found, Hop):
            self.core.look_up(found, self.point, self)
            return
        if self.dialog is not None:
            found = self.dialog.lead([found])
        self.send(found, now)

    def located(self, flows: Sequence[Flow], error: TransportError | None, now: float) -> None:
        """The servers are known, or there are none."""
        if not flows:
            # Nothing was sent, so nothing is to be avoided, even if an earlier attempt was.
            self.flow = None
            self.on_failure(error or TransportError(f'no way to reach {self.envelope.next_uri}'), now)
            return
        flow = flows[0]
        if self.dialog is not None:
            flow = self.dialog.lead(flows)
        else:
            self.others = flows[1:]
        try:
            self.send(flow, now)
        except UsageError as mistake:
            # It makes no message, and who asked for it is not here any more.
            self.on_failure(mistake, now)

    def _ask_for_number(self) -> bool:
        """RFC 6116: a telephone number that has no route has SIP addresses perhaps; False if that is not asked."""
        core = self.core
        if not core.enum or self.dialog is not None or self.envelope.next_uri != self.envelope.uri:
            return False
        try:
            uri = parse_uri(self.envelope.uri)
        except ParseError:
            return False
        if not isinstance(uri, TelUri) or not uri.number.startswith('+'):
            return False
        core.look_up_number(f'+{uri.digits.lstrip("+")}', self)
        return True

    def translated(self, uris: Sequence[str], error: TransportError | None, now: float) -> None:
        """A telephone number has become URIs: the first that can be sent to is called; To stays what it was."""
        for uri in uris:
            try:
                self.core.router.route(uri, self.point)
            except (TransportError, ParseError) as trouble:
                log.debug('! ENUM: cannot send to %s: %s', uri, trouble)
                continue
            self.envelope.uri = self.envelope.next_uri = plain_uri(uri)
            # Credentials are made for one Request-URI.
            self._auth = ()
            self.start(now)
            return
        self.on_failure(error or TransportError(f'no way to reach {self.envelope.uri}'), now)

    def send(self, flow: Flow, now: float, *, by_size: bool = True) -> None:
        """One attempt: a new branch, a new client transaction.  ``by_size=False``: by this flow whatever its size."""
        core = self.core
        self.flow = flow
        request = self.request = self.compose(flow.point)
        if by_size and len(core.router.points) > 1 and not flow.point.reliable:
            flow = self._fitting(request, flow, now)
        self.transaction = core.layer.request(request, flow, now, self)
        if core.settings.patience is not None and self._next_servers:
            self.unanswered = core.timers.add(core.settings.patience, now, self, 'unanswered')

    def _fitting(self, request: Request, flow: Flow, now: float) -> Flow:
        """18.1.1: by TCP what is too large for UDP, unless somebody demanded UDP, or TCP failed there before."""
        core = self.core
        limit = core.settings.tcp_above
        point = core.router.point('TCP', flow.point.family) if limit else None
        if point is None or size_of(request) <= limit:
            return flow
        if self.dialog is None and self.point is not None and self.point.transport == flow.point.transport:
            return flow
        if next_hop(self.envelope.next_uri).transport is not None:
            return flow
        host = flow.remote[0]
        other = Flow(point.toward(host), flow.remote)
        if core.router.is_avoided(target_of(other), now):
            return flow
        self.usual = flow
        self.flow = other
        via = request.get('Via') or ''
        request.set('Via', other.point.via_prefix + via.removeprefix(flow.point.via_prefix))
        return other

    @property
    def home(self) -> Point:
        """The point of the dialog that the request makes."""
        flow = self.usual or self.flow
        assert flow is not None
        return flow.point

    # -- the next server (RFC 3263 4.3)

    @property
    def _next_servers(self) -> Sequence[Flow]:
        return self.others if self.dialog is None else self.dialog.others

    @property
    def _is_named(self) -> bool:
        """Whether the next hop is a name that was looked up."""
        if self.dialog is not None and self.dialog.stays_home():
            return False
        try:
            return isinstance(self.core.router.route(self.envelope.next_uri, self.point), Hop)
        except (TransportError, ParseError):
            return False

    def _fail_over(self, error: Exception | None, response: Response | None, now: float) -> bool:
        """Go on with the next server; False if there is none, or it would do no better.

        4.3: failure is a 503, "a transport failure of some sort", or a time-out "without ever having received any
        response, provisional or final".
        """
        flow = self.flow
        if flow is None or self.given_up() or isinstance(error, MessageTooBig):
            return False
        usual, self.usual = self.usual, None
        if usual is not None and response is None and not self.heard:
            # 18.1.1: "the element SHOULD retry the request, using UDP"
            self._avoid(flow, None, now)
            self._attempt(usual, now, by_size=False)
            return True
        if (isinstance(error, TransportError) and error.kept and not (self.heard or self.renewed or flow.connection)
                and self.method != 'REGISTER'):
            # Who was there a while ago has closed the connection, or restarted, or a NAT has forgotten it: whether it
            # is there is told by a new connection.  A registration has its own ways.
            self.renewed = True
            self._attempt(flow, now, by_size=False)
            return True
        others = self._next_servers
        if not (others or self._is_named) or (self.heard and isinstance(error, TransactionTimeout)):
            return False
        dialog = self.dialog
        if dialog is not None and others and others[0] == dialog.home and not isinstance(error, TransportError):
            # The way back is for a peer that cannot be reached, not for one that says no, or nothing.
            return False
        if self._is_named:
            self._avoid(flow, response, now)
        if dialog is not None:
            # Without another one its next request looks for servers again.
            dialog.flow = others[0] if others else None
            dialog.others = others[1:]
        else:
            self.others = others[1:]
        if not others:
            return False
        log.debug('! %s failed, going on with %s: %r', flow, others[0], error or response)
        self.moved = True
        self._attempt(others[0], now)
        return True

    def _attempt(self, flow: Flow, now: float, *, by_size: bool = True) -> None:
        """The same request once more, to another place."""
        self.heard = False
        self.transaction = None
        self.send(flow, now, by_size=by_size)

    def _avoid(self, flow: Flow, response: Response | None, now: float) -> None:
        """Have others try this server last for a while; 21.5.4: for as long as it says itself."""
        seconds = self.core.settings.avoid_time
        if response is not None:
            asked = seconds_in(response, 'Retry-After')
            if asked is not None:
                seconds = min(float(asked), LONGEST_RETRY_AFTER)
        if seconds > 0:
            self.core.router.avoid(flow, now, seconds)

    def _stop_waiting(self) -> None:
        if self.unanswered is not None:
            self.unanswered.cancel()
            self.unanswered = None

    def on_timer(self, name: str, now: float) -> None:
        """``unanswered``: the present server has had its time (``Settings.patience``)."""
        transaction = self.transaction
        if transaction is not None and not (self.heard or self.done or self.given_up()):
            core = self.core
            core.layer.abandon(transaction, now)
            self.on_failure(TransactionTimeout(f'no answer to {self.method} within {core.settings.patience} s'), now)

    def compose(self, point: Point) -> Request:
        """8.1.1: the request as it leaves from ``point``."""
        core = self.core
        envelope = self.envelope
        via = f'{point.via_prefix}{core.new_branch()}'
        if core.offers_keep and self.dialog is None and self.method == 'INVITE':
            # RFC 6223 4.3.  Not as there: the ACK for a refusal shows it as well, for RFC 3261 17.1.1.3 wants its Via
            # to be equal to that of the INVITE.
            via = f'{via};keep'
        fields = [
            ('Via', via),
            ('Max-Forwards', str(self.max_forwards)),
            ('From', envelope.from_),
            ('To', envelope.to),
            ('Call-ID', envelope.call_id),
            ('CSeq', f'{envelope.cseq} {self.method}'),
        ]
        contact = self.contact
        if contact is None:
            # 8.1.1.8: sips where the Request-URI or the top Route is.
            contact = core.contact(point, point.secure and (is_sips(envelope.uri) or is_sips(envelope.next_uri)))
        if contact:
            fields.append(('Contact', contact))
        for route in envelope.routes:
            fields.append(('Route', route))
        fields.extend(self.capabilities or core.request_fields(self.method))
        fields.extend(self.headers)
        fields.extend(self._auth)
        if self.content_type and self.body:
            fields.append(('Content-Type', self.content_type))
        return Request(self.method, envelope.uri, fields, self.body)

    def on_response(self, response: Response, now: float) -> None:
        """What the transaction layer passes up (8.1.3)."""
        code = response.code
        self.heard = True
        if self.unanswered is not None:
            self._stop_waiting()
        if (code == 401 or code == 407) and self._try_credentials(response, now):
            return
        if code >= 200:
            if code == 503:
                if self._fail_over(None, response, now):
                    return
            elif self.core.router.avoided and self.flow is not None:
                self.core.router.relieve(self.flow)
            self.response = response
            self.done = True
            if self.digest is not None:
                self.digest.note(response)
        # Tell the usage; outside of usages the program itself.
        if self.subject is self:
            self.core.events.append(Event(RESPONSE, self, response, now, response.code, self))
        else:
            self.subject.on_response(self, response, now)

    def on_failure(self, error: Exception, now: float) -> None:
        """No response: timer B or F, or the transport refused (8.1.3.1)."""
        self._stop_waiting()
        if isinstance(error, (TransportError, TransactionTimeout)) and self._fail_over(error, None, now):
            return
        self.done = True
        if self.subject is self:
            self.core.events.append(Event(FAILED, self, None, now, 0, self, error))
        else:
            self.subject.on_failure(self, error, now)

    def _try_credentials(self, response: Response, now: float) -> bool:
        """22.2: answer the challenges in a new attempt with the next CSeq; False when that is hopeless."""
        if self.digest is None or self.challenges >= MAX_CHALLENGES or self.given_up():
            return False
        uri = self.envelope.uri if self.dialog is None else self.dialog.request_uri
        # What another server did not like says nothing about what this one will (RFC 3263 4.3).
        sent = () if self.moved else self._auth
        try:
            auth = self.digest.answer(self.method, uri, self.body, response, self.core.random, sent=sent)
            if not auth:
                return False
            self.moved = False
            self.challenges += 1
            self.next_attempt(now, auth)
        except UsageError as error:
            # A user name that makes no header field: nobody could have said so before.
            self.on_failure(error, now)
        return True

    def given_up(self) -> bool:
        """Whether nobody wants an answer any more."""
        return False

    def next_attempt(self, now: float, auth: Fields = ()) -> None:
        """The same request once more, with a new CSeq, and to where the peer is now (12.2.1.1)."""
        self._auth = auth
        self.heard = False
        if self.dialog is not None:
            self.envelope = self.dialog.envelope()
        else:
            self.envelope.cseq += 1
        self.start(now)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.method} {self.envelope.uri}>'


def size_of(request: Request) -> int:
    """The octets of a request, but for what is not ASCII."""
    size = len(request.start_line) + len(request.body) + len('\r\nContent-Length: 1000\r\n\r\n')
    for name, text in request.fields:
        size += len(name) + len(text) + 4
    return size
