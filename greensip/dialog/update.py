"""UPDATE in a call: RFC 3311, RFC 6337 for the offers in it.  The functions take the usage of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greensip.message import Request, Response
from greensip.sdp.offer_answer import Place
from greensip.transaction.layer import ServerTransaction

from .dialog import Dialog
from .exchange import ClientRequest, Fields
from .negotiation import SDP, check_offer, said, sdp_of, session_of
from .session_timer import note_refresh

if TYPE_CHECKING:
    from .invite import InviteUsage

__all__ = ['UpdateRequest', 'resume_update', 'send_update', 'take_update', 'take_update_response']


class UpdateRequest(ClientRequest):
    """An UPDATE of ours.  One that met the peer's offer (491) is tried again (RFC 3311 5.3)."""

    __slots__ = ('glares',)

    def __init__(
        self,
        core: Any,
        subject: Any,
        dialog: Dialog,
        headers: Fields,
        body: bytes,
        content_type: str | None,
        digest: Any,
    ) -> None:
        super().__init__(
            core,
            'UPDATE',
            subject,
            dialog.envelope(),
            headers,
            body,
            content_type,
            dialog.contact,
            dialog.point,
            dialog,
            digest,
        )
        #: how often a 491 sent us away, or ``PASSED_ON``
        self.glares = 0

    @property
    def offer(self) -> bytes:
        """Its session description, b'' for none."""
        return self.body if self.content_type == SDP else b''

    def on_timer(self, name: str, now: float) -> None:
        """``glare``: time to send it again."""
        if name == 'glare':
            resume_update(self.subject, self, now)
        else:
            super().on_timer(name, now)


def send_update(
    usage: InviteUsage, now: float, headers: Fields, body: bytes, content_type: str | None, dialog: Dialog
) -> UpdateRequest:
    """RFC 3311 5.1, RFC 6337 4.3: one UPDATE at a time, and no second offer while one is open."""
    offers = bool(body) and content_type == SDP
    session = session_of(usage, dialog)
    # UAC-IU would refuse it until our PRACK has its answer: a moment.
    waits = (offers and usage.delayed is None and session.prack_sent == 'pending'
             and session.exchange in ('', 'answered') and not session.update_sent)
    if not waits:
        check_offer(session, Place.UPDATE, body if offers else b'')
    if usage.session_timer is not None and dialog.confirmed:
        headers = usage.session_timer.fit(headers)
    exchange = UpdateRequest(usage.core, usage, dialog, headers, body, content_type, usage.digest())
    if waits:
        # Its number is taken when it goes.
        dialog.local_cseq -= 1
        usage.delayed = exchange
        return exchange
    if dialog is usage.dialog:
        usage.updating = exchange
    if offers:
        usage.local_sdp = body
    exchange.start(now)
    return exchange


def take_update(usage: InviteUsage, transaction: ServerTransaction, request: Request, now: float) -> bool:
    """RFC 3311 5.2, RFC 6337 4.3: one UPDATE at a time, and no second offer while one is open."""
    dialog = usage.dialogs.get(request.from_tag or '')
    if dialog is None:
        usage.turn_away(transaction, 481, now)
        return False
    session = session_of(usage, dialog)
    sdp = sdp_of(request)
    refusal = session.refusal(Place.UPDATE, bool(sdp))
    if refusal is not None:
        usage.turn_away(transaction, refusal.code, now)
        return False
    if dialog is usage.dialog:
        usage.updated = transaction
    usage.hear(session, Place.UPDATE, sdp)
    return True


def take_update_response(usage: InviteUsage, exchange: UpdateRequest, response: Response, now: float) -> bool:
    """RFC 3311 5.3; True for a 491 after which it is tried again."""
    code, dialog = response.code, exchange.dialog
    if code < 200 or dialog is None or dialog.session is None:
        return False
    if code < 300:
        usage.hear(dialog.session, Place.UPDATE_2XX, sdp_of(response))
        if usage.core.keeps_time and dialog.confirmed:
            note_refresh(usage, response, now)
        return False
    usage.forget_offer(dialog.session, Place.UPDATE)
    if usage.session_timer is not None and usage.session_timer.on_response(exchange, response, now):
        if not exchange.done:
            # On its way again.
            said(dialog.session, Place.UPDATE, exchange.offer)
            usage.local_sdp = exchange.offer or usage.local_sdp
        return True
    if code != 491 or not 0 <= exchange.glares < usage.core.settings.max_glares or not usage.is_alive:
        return False
    exchange.glares += 1
    exchange.done = False
    exchange.response = None
    exchange.transaction = None
    if usage.updating is exchange:
        usage.updating = None
    usage.core.timers.add(usage.glare_wait(), now, exchange, 'glare')
    return True


def resume_update(usage: InviteUsage, exchange: UpdateRequest, now: float) -> None:
    """The wait after a 491 is over."""
    dialog = exchange.dialog
    if not usage.is_alive or dialog is None or dialog.session is None or dialog.usage is not usage:
        return
    offer = exchange.offer
    if dialog.session.obstacle(Place.UPDATE, bool(offer)) is not None:
        usage.core.timers.add(1.0, now, exchange, 'glare')
        return
    said(dialog.session, Place.UPDATE, offer)
    if offer:
        usage.local_sdp = offer
    if dialog is usage.dialog:
        usage.updating = exchange
    exchange.next_attempt(now)
