"""PRACK in a call: RFC 3262 as the usage of a dialog needs it, RFC 6337 for the offers in it.

``reliable.py`` knows what was sent reliably, and what was seen of that; here it meets the call.  The functions take its
usage, whose method is named where they are the body of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greensip.errors import ParseError, WrongState
from greensip.message import Request, Response
from greensip.sdp.offer_answer import Meaning, Place
from greensip.transaction.layer import ServerTransaction

from .dialog import Dialog
from .event import FAILED, RESPONSE, Event
from .exchange import ClientRequest, Fields
from .invite_request import InviteRequest
from .negotiation import SDP, check_offer, note_answer, sdp_of, session_of
from .reliable import Acknowledged, ReliableResponses, Unacknowledged
from .update import resume_update

if TYPE_CHECKING:
    from .invite import InviteUsage

__all__ = [
    'PrackRequest',
    'acknowledge_reliable',
    'after_prack',
    'check_first_offer',
    'holds_success',
    'may_answer',
    'on_prack_answered',
    'send_prack',
    'send_reliably',
    'take_prack',
    'take_prack_response',
    'take_reliable',
]


class PrackRequest(ClientRequest):
    """A PRACK of ours (RFC 3262 4)."""

    __slots__ = ('counts',)

    def __init__(
        self,
        core: Any,
        subject: Any,
        dialog: Dialog,
        headers: Fields,
        body: bytes,
        content_type: str | None,
        digest: Any,
        counts: bool,
    ) -> None:
        super().__init__(
            core, 'PRACK', subject, dialog.envelope(), headers, body, content_type, '', dialog.point, dialog, digest
        )
        #: whether it, or the response that it acknowledges, has to do with offers and answers (RFC 6337 4.3)
        self.counts = counts


# The caller (4)


def send_prack(
    usage: InviteUsage, response: Response, now: float, headers: Fields, body: bytes, content_type: str | None
) -> ClientRequest:
    """``InviteUsage.prack``."""
    invite = usage.inviting
    tag, rseq = response.to_tag or '', response.value('RSeq')
    seen = invite.reliable if invite is not None else None
    waiting = seen.waiting.get((tag, rseq)) if seen is not None else None
    if seen is None or waiting is None or response.cseq.number != (invite.envelope.cseq if invite else 0):
        raise WrongState('no reliable provisional response waits for that PRACK')
    offer = body if content_type == SDP else b''
    counts = waiting.counts or bool(offer)
    if counts:
        check_offer(session_of(usage, waiting.dialog), Place.PRACK, offer)
    del seen.waiting[tag, rseq]
    if offer:
        usage.local_sdp = offer
    rack = ('RAck', f'{rseq} {response.cseq.number} INVITE')
    exchange = PrackRequest(
        usage.core, usage, waiting.dialog, [rack, *headers], body, content_type, usage.digest(), counts
    )
    exchange.start(now)
    return exchange


def take_prack_response(usage: InviteUsage, exchange: PrackRequest, response: Response) -> None:
    """What the response to our PRACK means for the session."""
    dialog = exchange.dialog
    if response.code < 200 or not exchange.counts or dialog is None or dialog.session is None:
        return
    if response.code < 300:
        usage.hear(dialog.session, Place.PRACK_2XX, sdp_of(response))
    else:
        usage.forget_offer(dialog.session, Place.PRACK)


def after_prack(usage: InviteUsage, now: float, error: Exception | None) -> None:
    """Our PRACK has its answer, or there was an ``error``: what has waited for that may go."""
    update, usage.delayed = usage.delayed, None
    if update is not None and error is None:
        resume_update(usage, update, now)
    elif update is not None:
        update.done = True
        usage.core.events.append(Event(FAILED, usage, None, now, 0, update, error))
    if usage.postponed is not None and usage.postponed.glares <= 0:
        usage.resume_invite(usage.postponed, now)


def take_reliable(usage: InviteUsage, exchange: InviteRequest, dialog: Dialog, response: Response, now: float) -> None:
    """RFC 3262 4: a reliable response that is the next in order; its PRACK goes at once, unless it must carry our
    answer or the program sends it."""
    seen = exchange.reliable
    tag, rseq = response.to_tag or '', response.value('RSeq')
    if seen is None or not seen.is_next(tag, rseq, usage.core.settings.max_forks):
        return
    acknowledge_reliable(usage, exchange, seen, dialog, response, now)


def acknowledge_reliable(
    usage: InviteUsage, exchange: InviteRequest, seen: Acknowledged, dialog: Dialog, response: Response, now: float
) -> None:
    """RFC 3262 4 for a response that has turned out to be the next."""
    tag, rseq = response.to_tag or '', response.value('RSeq')
    seen.last[tag] = rseq
    meaning = usage.hear(session_of(usage, dialog), Place.RELIABLE, sdp_of(response))
    seen.waiting[tag, rseq] = Unacknowledged(response, dialog, meaning in (Meaning.OFFER, Meaning.ANSWER))
    usage.tell(RESPONSE, response, now, exchange)
    # One with the number of another request cannot be acknowledged.
    if seen.auto and meaning is not Meaning.OFFER and response.cseq.number == exchange.envelope.cseq:
        send_prack(usage, response, now, (), b'', SDP)


# The callee (3); ``transaction`` is the INVITE's


def send_reliably(usage: InviteUsage, transaction: ServerTransaction, response: Response, now: float) -> None:
    """Send a 1xx until its PRACK comes, once those before it have had theirs."""
    reliable = usage.reliable
    if reliable is None or reliable.transaction is not transaction:
        if reliable is not None:
            reliable.stop()
        reliable = usage.reliable = ReliableResponses(usage, transaction, transaction.request.cseq.number)
    reliable.send(response, sdp_of(response), now)


def check_first_offer(usage: InviteUsage, sdp: bytes) -> None:
    """RFC 3262 5: where the INVITE has no offer the first reliable response must have one; else WrongState."""
    dialog = usage.dialog
    if not sdp and dialog is not None:
        session = session_of(usage, dialog)
        if session.invite and not session.exchange:
            raise WrongState('the INVITE had no offer, so the first reliable response must have one (RFC 3262 5)')


def may_answer(usage: InviteUsage, transaction: ServerTransaction) -> bool:
    """Whether an INVITE inside the dialog still waits for its final response."""
    reliable = usage.reliable
    return usage.invited is transaction and (
        reliable is None or reliable.transaction is not transaction or reliable.success is None
    )


def holds_success(usage: InviteUsage, transaction: ServerTransaction, response: Response) -> bool:
    """RFC 3262 3: keep a 2xx until the PRACK has come for each description before it."""
    reliable = usage.reliable
    if reliable is None or reliable.transaction is not transaction or not reliable.holds_success:
        return False
    reliable.success = response
    return True


def take_prack(usage: InviteUsage, transaction: ServerTransaction, request: Request, now: float) -> bool:
    """RFC 3262 3: the PRACK of the reliable response that we repeat; 481 for any other."""
    rack = request.value('RAck')
    if rack is None:
        raise ParseError('a PRACK without RAck')
    reliable = usage.reliable
    if reliable is None or not reliable.acknowledge(transaction, rack.rseq, rack.cseq, rack.method):
        usage.turn_away(transaction, 481, now)
        return False
    sdp = sdp_of(request)
    if reliable.counts or sdp:
        dialog = usage.dialog
        assert dialog is not None
        reliable.counts = True
        usage.hear(session_of(usage, dialog), Place.PRACK, sdp)
    return True


def on_prack_answered(usage: InviteUsage, transaction: ServerTransaction, response: Response, now: float) -> None:
    """A final response to the peer's PRACK has gone: what has waited for that may go."""
    reliable = usage.reliable
    if reliable is None or reliable.acknowledging is not transaction:
        return
    if reliable.counts:
        note_answer(usage, transaction, Place.PRACK, Place.PRACK_2XX, response)
    reliable.go_on(now)
