"""An INVITE of ours: what only INVITE has.  RFC 3261 13.2.2.4, its ACK; 9.1, CANCEL; 14.1, the glare of re-INVITEs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from greensip.errors import ParseError, TransactionTimeout, TransportError, response_error
from greensip.message import Request, Response, make_cancel
from greensip.transaction.flow import Flow, Hop, Point
from greensip.transaction.timers import Timer

from .dialog import Dialog
from .exchange import ClientRequest, Fields
from .reliable import Acknowledged
from .routing import Envelope

if TYPE_CHECKING:
    from greensip.message.digest import DigestClient

    from .core import Core

__all__ = ['InviteRequest']


class CancelUser:
    """The user of a CANCEL's transaction: its outcome interests nobody."""

    __slots__ = ()

    def on_response(self, response: Response, now: float) -> None:
        """9.1: a CANCEL's response changes nothing; the INVITE gets a 487 or runs out."""

    def on_failure(self, error: Exception, now: float) -> None:
        """The INVITE's own clock decides."""


CANCEL_USER: Final = CancelUser()


class InviteRequest(ClientRequest):
    """An INVITE of ours: the first of a call, or one inside its dialog."""

    __slots__ = ('acks', 'auto_ack', 'cancel_fields', 'cancelled', 'deadline', 'glares', 'held', 'numbers',
                 'provisional', 'reliable')

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
        #: how often a 491 sent us away (14.1); less than 0 where who asks for it waits himself (``PASSED_ON``)
        self.glares = 0
        #: the reliable responses to it; None if it does not say that we support them (RFC 3262)
        self.reliable: Acknowledged | None = None
        #: the numbers of our last requests in early dialogs that are over, by their To tag
        self.numbers: dict[str, int] | None = None

    def keep_number(self, dialog: Dialog) -> None:
        """An early dialog is over: if it is answered all the same, our next request there goes on counting."""
        if dialog.local_cseq > self.envelope.cseq:
            if self.numbers is None:
                self.numbers = {}
            self.numbers[dialog.remote_tag] = dialog.local_cseq

    def go_on_counting(self, dialog: Dialog) -> None:
        """12.2.1.1: numbers increase, also where a 2xx brings a dialog back in which we have sent PRACK or UPDATE."""
        if self.numbers is not None:
            dialog.local_cseq = max(dialog.local_cseq, self.numbers.get(dialog.remote_tag, 0))

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
        if self.reliable is not None:
            self.reliable.forget()
        self.subject.on_next_attempt()
        super().next_attempt(now, auth)

    def _attempt(self, flow: Flow, now: float, *, by_size: bool = True) -> None:
        self.provisional = False
        if self.reliable is not None:
            self.reliable.forget()
        self.subject.on_next_attempt()
        super()._attempt(flow, now, by_size=by_size)

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

    def located(self, flows: Sequence[Flow], error: TransportError | None, now: float) -> None:
        if not self.cancelled:
            super().located(flows, error, now)

    def translated(self, uris: Sequence[str], error: TransportError | None, now: float) -> None:
        if not self.cancelled:
            super().translated(uris, error, now)

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
        core.layer.request(cancel, self.flow, now, CANCEL_USER)
        # 9.1: without a final response within 64*T1 the INVITE counts as cancelled.
        self.deadline = core.timers.add(core.settings.timer_f, now, self, 'cancelled')

    def on_timer(self, name: str, now: float) -> None:
        """``cancelled``: nothing came after the CANCEL; ``glare``: time to send a re-INVITE again (14.1)."""
        if name == 'unanswered':
            super().on_timer(name, now)
        elif name == 'glare':
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
            flow = dialog.lead([found])
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

    def located(self, flows: Sequence[Flow], error: TransportError | None, now: float) -> None:
        """Send it.  One that can't be sent ends the call, as the peer will repeat its 2xx in vain."""
        dialog = self.dialog
        if not flows:
            dialog.usage.on_unreachable(dialog, error or TransportError('no way to send the ACK'), now)
            return
        self.invite.send_ack(dialog, dialog.lead(flows), self.headers, self.body, self.content_type)
