"""A request of ours on its way to a final response: RFC 3261 8.1, and 22.2 for the challenges on the way.

A ``ClientRequest`` outlives its transactions: it is first located, then sent, and sent again with credentials when
the peer asks for them (a new transaction, branch and CSeq each time). ``InviteRequest`` adds what only INVITE has:
ACK (13.2.2.4), CANCEL (9.1) and the glare of re-INVITEs (14.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greensip.errors import ParseError, TransactionTimeout, TransportError, response_error
from greensip.message import Request, Response, make_cancel
from greensip.transaction.flow import Flow, Hop, Point
from greensip.transaction.layer import ClientTransaction
from greensip.transaction.timers import Timer

from .dialog import Dialog
from .event import FAILED, RESPONSE, Event
from .routing import Envelope

if TYPE_CHECKING:
    from greensip.message.digest import DigestClient

    from .core import Core

__all__ = ['ClientRequest', 'Fields', 'InviteRequest', 'Nobody']

#: header fields as name and text
Fields = Sequence[tuple[str, str]]


class Nobody:
    """The user of a transaction whose outcome interests nobody: a CANCEL."""

    __slots__ = ()

    def on_response(self, response: Response, now: float) -> None:
        """9.1: a CANCEL's response changes nothing; the INVITE gets a 487 or runs out."""

    def on_failure(self, error: Exception, now: float) -> None:
        """The INVITE's own clock decides."""


NOBODY = Nobody()


class ClientRequest:
    """One request of ours.  ``owner`` is free for whoever asked for it, ``response`` its final response."""

    __slots__ = (
        '_auth',
        'body',
        'contact',
        'content_type',
        'core',
        'dialog',
        'digest',
        'done',
        'envelope',
        'flow',
        'headers',
        'max_forwards',
        'method',
        'owner',
        'point',
        'request',
        'response',
        'subject',
        'transaction',
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
        self.dialog = dialog
        self.digest = digest
        self._auth: Fields = ()
        self.flow: Flow | None = None
        self.request: Request | None = None
        self.transaction: ClientTransaction | None = None
        self.response: Response | None = None
        self.owner: Any = None
        self.done = False

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
            self.on_failure(error, now)
            return
        if isinstance(found, Hop):
            self.core.look_up(found, self.point, self)
        else:
            self.located(found, None, now)

    def located(self, flow: Flow | None, error: TransportError | None, now: float) -> None:
        """The next hop is known, or is not to be had."""
        if flow is None:
            self.on_failure(error or TransportError(f'no way to reach {self.envelope.next_uri}'), now)
            return
        if self.dialog is not None:
            self.dialog.flow = flow
        self.send(flow, now)

    def send(self, flow: Flow, now: float) -> None:
        """One attempt: a new branch, a new client transaction."""
        self.flow = flow
        request = self.request = self.compose(flow.point)
        self.transaction = self.core.layer.request(request, flow, now, self)

    def compose(self, point: Point) -> Request:
        """8.1.1: the request as it leaves from ``point``."""
        core = self.core
        envelope = self.envelope
        fields = [
            ('Via', f'{point.via_prefix}{core.new_branch()}'),
            ('Max-Forwards', str(self.max_forwards)),
            ('From', envelope.from_),
            ('To', envelope.to),
            ('Call-ID', envelope.call_id),
            ('CSeq', f'{envelope.cseq} {self.method}'),
        ]
        contact = self.contact
        if contact is None:
            contact = core.contact(point)
        if contact:
            fields.append(('Contact', contact))
        for route in envelope.routes:
            fields.append(('Route', route))
        fields.extend(core.request_fields(self.method))
        fields.extend(self.headers)
        fields.extend(self._auth)
        if self.content_type and self.body:
            fields.append(('Content-Type', self.content_type))
        return Request(self.method, envelope.uri, fields, self.body)

    def on_response(self, response: Response, now: float) -> None:
        """What the transaction layer passes up (8.1.3)."""
        code = response.code
        if (code == 401 or code == 407) and self._try_credentials(response, now):
            return
        if code >= 200:
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
        self.done = True
        if self.subject is self:
            self.core.events.append(Event(FAILED, self, None, now, 0, self, error))
        else:
            self.subject.on_failure(self, error, now)

    def _try_credentials(self, response: Response, now: float) -> bool:
        """22.2: answer the challenges in a new attempt with the next CSeq; False when that is hopeless."""
        if self.digest is None or self.given_up():
            return False
        uri = self.envelope.uri if self.dialog is None else self.dialog.request_uri
        auth = self.digest.answer(self.method, uri, self.body, response, self.core.random, sent=self._auth)
        if not auth:
            return False
        self.next_attempt(now, auth)
        return True

    def given_up(self) -> bool:
        """Whether nobody wants an answer any more."""
        return False

    def next_attempt(self, now: float, auth: Fields = ()) -> None:
        """The same request once more, with a new CSeq, and to where the peer is now (12.2.1.1)."""
        self._auth = auth
        if self.dialog is not None:
            self.envelope = self.dialog.envelope()
        else:
            self.envelope.cseq += 1
        self.start(now)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.method} {self.envelope.uri}>'


class InviteRequest(ClientRequest):
    """An INVITE of ours: the first of a call, or one inside its dialog."""

    __slots__ = ('acks', 'auto_ack', 'cancel_fields', 'cancelled', 'deadline', 'glares', 'held', 'provisional')

    def __init__(
        self,
        core: Core,
        subject: Any,
        envelope: Envelope,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        contact: str | None = None,
        point: Point | None = None,
        dialog: Dialog | None = None,
        digest: DigestClient | None = None,
        max_forwards: int = 70,
        auto_ack: bool = True,
    ) -> None:
        super().__init__(
            core,
            'INVITE',
            subject,
            envelope,
            headers,
            body,
            content_type,
            contact,
            point,
            dialog,
            digest,
            max_forwards,
        )
        #: acknowledge a 2xx at once, unless it carries the offer
        self.auto_ack = auto_ack
        #: the ACK for each To tag that answered, to be sent again for each repetition of its 2xx; None while it waits
        #: for the program or for the address of its next hop
        self.acks: dict[str, tuple[bytes, Flow] | None] = {}
        self.provisional = False
        self.cancelled = False
        #: whether the CANCEL is held back until a provisional response (9.1), and its own header fields
        self.held = False
        self.cancel_fields: Fields = ()
        #: when a cancelled INVITE is given up
        self.deadline: Timer | None = None
        #: how often a 491 sent us away (14.1)
        self.glares = 0

    def on_response(self, response: Response, now: float) -> None:
        code = response.code
        if code < 200:
            self.provisional = True
            if self.held:
                self._send_cancel(now)
        else:
            if self.deadline is not None:
                self.deadline.cancel()
            if code < 300 and self.acks and self._is_known(response):
                return
        super().on_response(response, now)

    def _is_known(self, response: Response) -> bool:
        """13.2.2.4: a repeated 2xx is acknowledged again, and is nobody else's business, even after the call."""
        tag = (response.to_tag or '') if self.dialog is None else self.dialog.remote_tag
        if tag not in self.acks:
            # So many forks were answered and hung up: who sends more means harm.
            return len(self.acks) > self.core.settings.max_forks
        ack = self.acks[tag]
        if ack is not None:
            self.core.outgoing.append(ack)
        return True

    def next_attempt(self, now: float, auth: Fields = ()) -> None:
        """What has come so far, came to another request (9.1, 13.2.2.3)."""
        self.provisional = False
        self.transaction = None
        self.subject.on_next_attempt()
        super().next_attempt(now, auth)

    def cancel(self, now: float, fields: Fields = ()) -> None:
        """9.1: stop the INVITE; held back until the peer has sent a provisional response."""
        if self.cancelled or self.done:
            return
        self.cancelled = True
        self.cancel_fields = fields
        if self.transaction is None:
            # It is still being located, or waits after a 491: nobody has to be told.
            self.on_failure(response_error(487, 'Request Terminated'), now)
        elif self.provisional:
            self._send_cancel(now)
        else:
            self.held = True

    def located(self, flow: Flow | None, error: TransportError | None, now: float) -> None:
        if not self.cancelled:
            super().located(flow, error, now)

    def given_up(self) -> bool:
        return self.cancelled

    def _send_cancel(self, now: float) -> None:
        self.held = False
        if self.request is None or self.flow is None:
            return
        cancel = make_cancel(self.request)
        for name, text in self.cancel_fields:
            cancel.add(name, text)
        core = self.core
        core.layer.request(cancel, self.flow, now, NOBODY)
        # 9.1: without a final response within 64*T1 the INVITE counts as cancelled.
        self.deadline = core.timers.add(core.settings.timer_f, now, self, 'cancelled')

    def on_timer(self, name: str, now: float) -> None:
        """``cancelled``: nothing came after the CANCEL; ``glare``: time to send a re-INVITE again (14.1)."""
        if name == 'glare':
            self.subject.resume_invite(self, now)
        elif not self.done and self.transaction is not None:
            self.core.layer.abandon(self.transaction, now)
            self.on_failure(TransactionTimeout('no final response within 64*T1 of the CANCEL'), now)

    def acknowledge(
        self, dialog: Dialog, now: float, *, headers: Fields = (), body: bytes = b'', content_type: str | None = None
    ) -> None:
        """13.2.2.4: the ACK for a 2xx is a request of the dialog with the INVITE's CSeq number and credentials."""
        flow = dialog.flow
        if flow is None:
            self.acks[dialog.remote_tag] = None
            try:
                found = self.core.router.route(dialog.next_uri, dialog.point)
            except (TransportError, ParseError) as error:
                dialog.usage.on_unreachable(dialog, error, now)
                return
            if isinstance(found, Hop):
                self.core.look_up(found, dialog.point, Acknowledgement(self, dialog, headers, body, content_type))
                return
            flow = dialog.flow = found
        self.send_ack(dialog, flow, headers, body, content_type)

    def send_ack(self, dialog: Dialog, flow: Flow, headers: Fields, body: bytes, content_type: str | None) -> None:
        """Send it, and keep it for the repetitions of its 2xx."""
        core = self.core
        fields = [
            ('Via', f'{flow.point.via_prefix}{core.new_branch()}'),
            ('Max-Forwards', '70'),
            ('From', dialog.local),
            ('To', dialog.remote),
            ('Call-ID', dialog.call_id),
            ('CSeq', f'{self.envelope.cseq} ACK'),
        ]
        for route in dialog.routes:
            fields.append(('Route', route))
        fields.extend(headers)
        fields.extend(self._auth)
        if body:
            fields.append(('Content-Type', content_type or 'application/sdp'))
        ack = (Request('ACK', dialog.request_uri, fields, body).to_bytes(), flow)
        self.acks[dialog.remote_tag] = ack
        core.outgoing.append(ack)


class Acknowledgement:
    """An ACK for a 2xx whose next hop has to be looked up first."""

    __slots__ = ('body', 'content_type', 'dialog', 'headers', 'invite')

    def __init__(
        self, invite: InviteRequest, dialog: Dialog, headers: Fields, body: bytes, content_type: str | None
    ) -> None:
        self.invite = invite
        self.dialog = dialog
        self.headers = headers
        self.body = body
        self.content_type = content_type

    def located(self, flow: Flow | None, error: TransportError | None, now: float) -> None:
        """Send it.  One that can't be sent ends the call, as the peer will repeat its 2xx in vain."""
        dialog = self.dialog
        if flow is None:
            dialog.usage.on_unreachable(dialog, error or TransportError('no way to send the ACK'), now)
            return
        dialog.flow = flow
        self.invite.send_ack(dialog, flow, self.headers, self.body, self.content_type)
