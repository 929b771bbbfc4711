"""The re-INVITE: RFC 3261 14.  The functions take the usage of the call.

Several requests may change a session: who may send which one when is RFC 6337 4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greensip.errors import WrongState
from greensip.message import Request, Response
from greensip.sdp.offer_answer import Place
from greensip.transaction.layer import ServerTransaction

from .event import RESPONSE
from .exchange import Fields
from .invite_request import InviteRequest
from .negotiation import SDP, said, sdp_of
from .prack import check_first_offer, holds_success, send_reliably, take_reliable
from .reliable import is_reliable
from .session_timer import note_refresh
from .states import ACCEPTED, CONFIRMED

if TYPE_CHECKING:
    from .invite import InviteUsage

__all__ = ['respond_to_reinvite', 'resume_reinvite', 'send_reinvite', 'take_reinvite', 'take_reinvite_response']


def send_reinvite(
    usage: InviteUsage,
    now: float,
    body: bytes,
    headers: Fields,
    content_type: str | None,
    auto_ack: bool,
    reliable: bool,
) -> InviteRequest:
    """``InviteUsage.reinvite``."""
    if usage.state != CONFIRMED and (usage.state != ACCEPTED or usage.answering is None):
        raise WrongState(f'no session to change: the call is {usage.state}')
    if usage.inviting or usage.invited or usage.unacked or usage.postponed:
        raise WrongState('another INVITE is under way in this dialog')
    if usage.is_updating or usage.is_updated:
        raise WrongState('an UPDATE is under way in this dialog')
    dialog = usage.dialog
    assert dialog is not None
    session = dialog.session
    waits = usage.answering is not None or (session is not None and session.prack_sent == 'pending')
    if session is not None and not waits:
        obstacle = session.obstacle(Place.INVITE, bool(body))
        if obstacle is not None:
            raise WrongState(obstacle)
    if usage.session_timer is not None:
        headers = usage.session_timer.fit(headers)
    invite = InviteRequest(
        usage.core,
        usage,
        dialog.envelope(),
        headers,
        body,
        content_type,
        dialog.contact,
        dialog.point,
        dialog,
        usage.digest(),
        auto_ack=auto_ack,
    )
    usage.offer_reliability(invite, reliable)
    if body:
        usage.local_sdp = body
    if not waits:
        usage.inviting = invite
        if session is not None:
            said(session, Place.INVITE, body)
        invite.start(now)
    else:
        # Not while the peer's INVITE, be it the call's first, waits for its ACK, or our PRACK for its answer.  Its
        # number is taken when it goes.
        dialog.local_cseq -= 1
        usage.postponed = invite
    return invite


def take_reinvite(usage: InviteUsage, transaction: ServerTransaction, request: Request, now: float) -> bool:
    """14.2: one INVITE at a time; RFC 6337 4.3: and none while an offer is open elsewhere."""
    if usage.invited is not None or usage.is_updated:
        usage.turn_away(transaction, 500, now)
    elif usage.ours_is_open or usage.unacked is not None:
        usage.turn_away(transaction, 491, now)
    elif usage.state not in (CONFIRMED, ACCEPTED):
        usage.turn_away(transaction, 481, now)
    else:
        usage.invited = transaction
        session = usage.session
        if session is None:
            usage.take_remote_sdp(request)
        else:
            usage.hear(session, Place.INVITE, sdp_of(request))
        return True
    return False


def respond_to_reinvite(
    usage: InviteUsage, transaction: ServerTransaction, response: Response, now: float, reliable: bool | None
) -> None:
    """14.2: send a response to the peer's re-INVITE; ``reliable`` as for ``ServerInvite.respond``."""
    core, code = usage.core, response.code
    if 100 < code < 200 and (core.is_reliable or reliable):
        sdp = response.body if response.get('Content-Type') == SDP else b''
        if core.is_reliable_for(transaction.request, bool(sdp), reliable):
            check_first_offer(usage, sdp)
            send_reliably(usage, transaction, response, now)
            return
    elif 200 <= code < 300:
        if usage.reliable is None or not holds_success(usage, transaction, response):
            usage.send_success(transaction, response, now)
        return
    elif code >= 300:
        usage.invited = None
        usage.note_refusal(transaction)
    core.layer.respond(transaction, response, now)


def take_reinvite_response(usage: InviteUsage, exchange: InviteRequest, response: Response, now: float) -> None:
    """14.1: a response to our re-INVITE.  A 491 is followed by another attempt (``resume_reinvite``)."""
    code = response.code
    dialog = exchange.dialog
    assert dialog is not None
    if code < 200:
        # Once we have hung up there is no session to agree on, and the peer gives its re-INVITE up (15.1.2).
        if exchange.reliable is not None and code > 100 and exchange is usage.inviting and is_reliable(response):
            take_reliable(usage, exchange, dialog, response, now)
            return
        if dialog.session is not None and code > 100:
            usage.hear(dialog.session, Place.PROVISIONAL, sdp_of(response))
        usage.tell(RESPONSE, response, now, exchange)
        return
    if code < 300:
        if exchange is usage.inviting:
            usage.inviting = None
        dialog.refresh(response)
        wants_answer = usage.take_success(exchange, dialog, response)
        if usage.core.keeps_time:
            note_refresh(usage, response, now)
        usage.tell(RESPONSE, response, now, exchange)
        if usage.state != CONFIRMED or (exchange.auto_ack and not wants_answer):
            if dialog.session is not None:
                said(dialog.session, Place.ACK, b'')
            exchange.acknowledge(dialog, now)
        else:
            exchange.acks[dialog.remote_tag] = None
            usage.unacked = exchange
        return
    if dialog.session is not None:
        usage.forget_offer(dialog.session, Place.INVITE)
    if (code == 491 and 0 <= exchange.glares < usage.core.settings.max_glares and usage.state == CONFIRMED
            and not exchange.cancelled):
        exchange.glares += 1
        exchange.done = False
        exchange.response = None
        exchange.transaction = None
        usage.inviting = None
        usage.postponed = exchange
        usage.core.timers.add(usage.glare_wait(), now, exchange, 'glare')
        return
    if exchange is usage.inviting:
        usage.inviting = None
    if usage.session_timer is not None and usage.session_timer.on_response(exchange, response, now):
        if not exchange.done:
            # On its way again.
            usage.inviting = exchange
            if dialog.session is not None:
                said(dialog.session, Place.INVITE, exchange.body)
                usage.local_sdp = exchange.body or usage.local_sdp
        return
    usage.tell(RESPONSE, response, now, exchange)
    usage.check_fatal(response, now)


def resume_reinvite(usage: InviteUsage, exchange: InviteRequest, now: float) -> None:
    """The wait after a 491 is over."""
    if usage.state != CONFIRMED or exchange is not usage.postponed:
        return
    if usage.invited or usage.unacked or usage.answering:
        usage.core.timers.add(1.0, now, exchange, 'glare')
        return
    dialog = exchange.dialog
    if dialog is not None and dialog.session is not None:
        if dialog.session.obstacle(Place.INVITE, bool(exchange.body)) is not None:
            usage.core.timers.add(1.0, now, exchange, 'glare')
            return
        said(dialog.session, Place.INVITE, exchange.body)
    usage.postponed = None
    usage.inviting = exchange
    exchange.next_attempt(now)
