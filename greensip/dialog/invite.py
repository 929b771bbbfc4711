"""The INVITE usage of a dialog: a call from its first INVITE to its BYE. RFC 3261 13, 14, 15 and 9; RFC 5057 for
what a failed request inside the dialog means.

A call is a machine of two halves: ``ClientInvite`` is the caller's, ``ServerInvite`` the callee's. Once confirmed both
are the same, and share their rows; what they share is here.

    calling --1xx--> proceeding --1xx with tag--> early --2xx--> accepted --ACK--> confirmed --BYE--> closing
      --200--> terminated

A usage ends with one ``ended`` event, after the response to its BYE. Verbs raise WrongState when the present state
has no row for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greensip.errors import (
    LocalHangup,
    ParseError,
    RemoteHangup,
    ResponseError,
    SessionExpired,
    TransactionTimeout,
    WrongState,
    response_error,
)
from greensip.fsm import Machine, Row
from greensip.message import TARGET_REFRESH_METHODS, Request, Response
from greensip.sdp.offer_answer import Meaning, OfferAnswer, Place
from greensip.transaction.flow import Flow
from greensip.transaction.layer import ServerTransaction, State
from greensip.transaction.timers import Timer

from .dialog import Dialog
from .event import ENDED, FAILED, REQUEST, RESPONSE, Event
from .exchange import ClientRequest, Fields, InviteRequest
from .negotiation import SDP as SDP
from .negotiation import PrackRequest, UpdateRequest, check_offer, heard, said, session_of
from .negotiation import sdp_of as sdp_of
from .reliable import Acknowledged, ReliableResponses, Unacknowledged, has_option
from .session_timer import SessionTimer, note_refresh

if TYPE_CHECKING:
    from .core import Core

__all__ = [
    'ACCEPTED',
    'ANSWERING',
    'CALLING',
    'CANCELLING',
    'CLOSING',
    'CONFIRMED',
    'EARLY',
    'INCOMING',
    'PROCEEDING',
    'TERMINATED',
    'InviteUsage',
]

CALLING = 'calling'  # caller: the INVITE is out, nothing has come back
INCOMING = 'incoming'  # callee: the INVITE is in, nothing has gone back
PROCEEDING = 'proceeding'  # a provisional response without a dialog
EARLY = 'early'  # a provisional response made a dialog
ANSWERING = 'answering'  # callee: the 2xx waits for a PRACK (RFC 3262 3)
CANCELLING = 'cancelling'  # caller: a CANCEL is out, or held back until a provisional response
ACCEPTED = 'accepted'  # a 2xx went one way, its ACK is still to go the other
HANGING_UP = 'hanging up'  # callee: to be hung up as soon as the ACK has come (15)
CONFIRMED = 'confirmed'
CLOSING = 'closing'  # our BYE is out
TERMINATED = 'terminated'

#: responses to a request inside the dialog that end it (RFC 5057, table 1; 481 the usage, which is the dialog here)
FATAL = frozenset({404, 410, 416, 481, 482, 483, 484, 485, 502, 604})


def reason_of(message: Request | Response | None) -> str | None:
    return message.get('Reason') if message is not None else None


# What the arrows do.  Actions get the usage and what came with the event.


def acknowledge(
    usage: InviteUsage,
    invite: InviteRequest,
    dialog: Dialog,
    now: float,
    headers: Fields,
    body: bytes,
    content_type: str | None,
) -> None:
    usage.unacked = None
    if body:
        usage.local_sdp = body
    if dialog.session is not None:
        said(dialog.session, Place.ACK, body)
    invite.acknowledge(dialog, now, headers=headers, body=body, content_type=content_type)


def send_bye(usage: InviteUsage, now: float, fields: Fields = (), error: Exception | None = None) -> None:
    """15.1.1.  The peer's open INVITE is answered too, since nobody else will do that any more."""
    usage.refuse_open_invite(now)
    usage.abandon_invites(now)
    usage.ended_by = error or usage.ended_by or LocalHangup()
    usage.in_dialog('BYE', fields).start(now)


def hung_up(usage: InviteUsage, request: Request, now: float) -> None:
    """15.1.2: the peer's BYE; whatever INVITE is still open gets a 487."""
    usage.refuse_open_invite(now)
    usage.abandon_invites(now)
    usage.finish(RemoteHangup(reason_of(request), request), now)


def closed(usage: InviteUsage, now: float) -> None:
    usage.finish(usage.ended_by or LocalHangup(), now)


def hang_up_broken(usage: InviteUsage, error: Exception, now: float) -> None:
    """12.2.1.2: the dialog is lost for one side; a BYE tells the other in case it still listens."""
    reason = error.reason if isinstance(error, SessionExpired) else None
    send_bye(usage, now, [('Reason', reason)] if reason else (), error=error)


def hung_up_meanwhile(usage: InviteUsage, request: Request, now: float) -> None:
    """Both hung up at once: their BYE ends it, ours needs no answer any more."""
    usage.finish(usage.ended_by or LocalHangup(), now)


# 13, 14 and 15: what is the same for caller and callee
SHARED_ROWS = (
    Row(CONFIRMED, 'bye', CLOSING, send_bye),
    Row(CONFIRMED, 'BYE', TERMINATED, hung_up),
    Row(CONFIRMED, 'broken', CLOSING, hang_up_broken),
    Row(CLOSING, 'BYE', TERMINATED, hung_up_meanwhile),
    Row(CLOSING, 'bye done', TERMINATED, closed),
)


class InviteUsage(Machine):
    """A call.  ``owner`` is free for the layer above; the verbs take ``now`` and never block."""

    __slots__ = (
        'answering',
        'call_id',
        'core',
        'delayed',
        'dialog',
        'dialogs',
        'ended_by',
        'expiry',
        'invited',
        'inviting',
        'local_sdp',
        'owner',
        'postponed',
        'reliable',
        'remote_sdp',
        'response',
        'session_timer',
        'unacked',
        'updated',
        'updating',
    )

    role = ''

    def __init__(self, core: Core, call_id: str) -> None:
        super().__init__()
        self.core = core
        self.call_id = call_id
        self.owner: Any = None
        #: the confirmed dialog, or the latest early one
        self.dialog: Dialog | None = None
        #: every dialog of this call by its remote tag
        self.dialogs: dict[str, Dialog] = {}
        #: the final response to the call's first INVITE
        self.response: Response | None = None
        #: the last session descriptions seen and sent
        self.remote_sdp = b''
        self.local_sdp = b''
        #: our INVITE that has no final response yet, and the peer's
        self.inviting: InviteRequest | None = None
        self.invited: ServerTransaction | None = None
        #: our re-INVITE that waits for its next attempt after a 491 (14.1)
        self.postponed: InviteRequest | None = None
        #: our INVITE whose 2xx waits for the program's ACK
        self.unacked: InviteRequest | None = None
        #: the 2xx that we repeat until the peer's ACK
        self.answering: Answer | None = None
        #: our reliable provisional responses to the peer's latest INVITE that has some (RFC 3262)
        self.reliable: ReliableResponses | None = None
        #: runs while the call may still be answered, if the INVITE limits that (13.2.1, 13.3.1: Expires)
        self.expiry: Timer | None = None
        #: our last UPDATE, and the peer's (RFC 3311)
        self.updating: ClientRequest | None = None
        #: our UPDATE that goes as soon as our PRACK has its answer
        self.delayed: UpdateRequest | None = None
        self.updated: ServerTransaction | None = None
        self.ended_by: Exception | None = None
        #: RFC 4028; None where there is none
        self.session_timer: SessionTimer | None = None
        core.usages.add(self)

    # -- the user's verbs

    @property
    def request(self) -> Request | None:
        """The call's first INVITE; None while its next hop is being looked up."""
        raise NotImplementedError

    def ack(self, now: float, body: bytes = b'', *, headers: Fields = (), content_type: str = SDP) -> None:
        """Send the ACK that a 2xx waits for: with the answer when the 2xx carried the offer (13.2.2.4)."""
        invite, dialog = self.unacked, self.dialog
        if invite is None or dialog is None:
            raise WrongState('no 2xx waits for an ACK')
        if not self.fire('ack', invite, dialog, now, headers, body, content_type):
            acknowledge(self, invite, dialog, now, headers, body, content_type)

    def bye(self, now: float, reason: str | None = None, headers: Fields = ()) -> None:
        """15.1.1: end the call.  A callee's BYE waits for the ACK by itself."""
        fields = [*headers, ('Reason', reason)] if reason else headers
        if not self.fire('bye', now, fields):
            raise WrongState(f'cannot hang up: the call is {self.state}')

    def send_request(
        self,
        method: str,
        now: float,
        *,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        dialog: Dialog | None = None,
    ) -> ClientRequest:
        """Send any request inside the dialog: INFO, UPDATE, MESSAGE, OPTIONS ...  INVITE is ``reinvite``.

        ``dialog``: which of several early ones, the latest without it.
        """
        if method == 'INVITE':
            # Who passes on an INVITE without an offer waits for the 2xx with it.
            return self.reinvite(now, body, headers=headers, content_type=content_type, reliable=bool(body))
        dialog = dialog or self.dialog
        if dialog is None or self.state in (CLOSING, TERMINATED):
            raise WrongState(f'no dialog to send {method} in: the call is {self.state}')
        offers = bool(body) and content_type == SDP
        exchange: ClientRequest
        if method == 'UPDATE':
            # RFC 3311 5.1, RFC 6337 4.3: one UPDATE at a time, and no second offer while one is open
            session = session_of(self, dialog)
            # UAC-IU would refuse it until our PRACK has its answer: a moment.
            waits = (offers and self.delayed is None and session.prack_sent == 'pending'
                     and session.exchange in ('', 'answered') and not session.update_sent)
            if not waits:
                check_offer(session, Place.UPDATE, body if offers else b'')
            if self.session_timer is not None and dialog.confirmed:
                headers = self.session_timer.fit(headers)
            exchange = UpdateRequest(self.core, self, dialog, headers, body, content_type, self.digest())
            if waits:
                # Its number is taken when it goes.
                dialog.local_cseq -= 1
                self.delayed = exchange
                return exchange
            if dialog is self.dialog:
                self.updating = exchange
        else:
            exchange = self.in_dialog(method, headers, body, content_type, dialog)
        if offers:
            self.local_sdp = body
        exchange.start(now)
        return exchange

    @property
    def unacknowledged(self) -> Response | None:
        """The latest reliable response that waits for the program's PRACK."""
        seen = self.inviting.reliable if self.inviting is not None else None
        return next(reversed(seen.waiting.values())).response if seen is not None and seen.waiting else None

    def prack(
        self,
        response: Response,
        now: float,
        *,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = SDP,
    ) -> ClientRequest:
        """Acknowledge a reliable provisional response to our INVITE (RFC 3262 4), where that is left to the program or
        the response carries the offer, so that ``body`` is the answer.

        Raises WrongState if the response does not wait for it, or if there may be no offer in it now (RFC 6337).
        """
        invite = self.inviting
        tag, rseq = response.to_tag or '', response.value('RSeq')
        seen = invite.reliable if invite is not None else None
        waiting = seen.waiting.get((tag, rseq)) if seen is not None else None
        if seen is None or waiting is None or response.cseq.number != (invite.envelope.cseq if invite else 0):
            raise WrongState('no reliable provisional response waits for that PRACK')
        offer = body if content_type == SDP else b''
        counts = waiting.counts or bool(offer)
        if counts:
            check_offer(session_of(self, waiting.dialog), Place.PRACK, offer)
        del seen.waiting[tag, rseq]
        if offer:
            self.local_sdp = offer
        rack = ('RAck', f'{rseq} {response.cseq.number} INVITE')
        exchange = PrackRequest(
            self.core, self, waiting.dialog, [rack, *headers], body, content_type, self.digest(), counts
        )
        exchange.start(now)
        return exchange

    def reinvite(
        self,
        now: float,
        body: bytes = b'',
        *,
        headers: Fields = (),
        content_type: str | None = SDP,
        auto_ack: bool = True,
        reliable: bool = True,
    ) -> InviteRequest:
        """14.1: change the session.  Glare (491), and an ACK that is still to come, are waited out by themselves.

        ``reliable=False``: not even if other INVITEs do it does this one say that we support 100rel (RFC 3262).
        """
        if self.state != CONFIRMED:
            raise WrongState(f'no session to change: the call is {self.state}')
        if self.inviting or self.invited or self.unacked or self.postponed:
            raise WrongState('another INVITE is under way in this dialog')
        if self._is_updating or self._is_updated:
            raise WrongState('an UPDATE is under way in this dialog')
        dialog = self.dialog
        assert dialog is not None
        session = dialog.session
        waits = self.answering is not None or (session is not None and session.prack_sent == 'pending')
        if session is not None and not waits:
            obstacle = session.obstacle(Place.INVITE, bool(body))
            if obstacle is not None:
                raise WrongState(obstacle)
        if self.session_timer is not None:
            headers = self.session_timer.fit(headers)
        invite = InviteRequest(
            self.core,
            self,
            dialog.envelope(),
            headers,
            body,
            content_type,
            dialog.contact,
            dialog.point,
            dialog,
            self.digest(),
            auto_ack=auto_ack,
        )
        self.offer_reliability(invite, reliable)
        if body:
            self.local_sdp = body
        if not waits:
            self.inviting = invite
            if session is not None:
                said(session, Place.INVITE, body)
            invite.start(now)
        else:
            # Not while the peer's INVITE waits for its ACK, or our PRACK for its answer.  Its number is taken when it
            # goes.
            dialog.local_cseq -= 1
            self.postponed = invite
        return invite

    def close(self, now: float, code: int = 480, reason: str | None = None) -> None:
        """End the call in the way its state asks for: CANCEL, BYE, a refusal, or nothing when it is over."""
        raise NotImplementedError

    # -- what comes in

    def on_request(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """A request inside the dialog whose CSeq is in order (12.2.2)."""
        method = request.method
        transaction.user = self
        if method == 'BYE':
            self.core.respond(transaction, 200, now)
            self.tell(REQUEST, request, now, transaction)
            self.fire('BYE', request, now)
            return
        if self.state == CLOSING:
            # 15.1.1: the session is over as soon as our BYE is out.
            self.turn_away(transaction, 481, now)
            return
        if method == 'INVITE':
            if not self._may_be_invited(transaction, now):
                return
            self._take_reinvite(request)
        elif method == 'UPDATE':
            if not self._take_update(transaction, request, now):
                return
        elif method == 'PRACK' and not self._take_prack(transaction, request, now):
            return
        self.tell(REQUEST, request, now, transaction)

    def _may_be_invited(self, transaction: ServerTransaction, now: float) -> bool:
        """14.2: one INVITE at a time; RFC 6337 4.3: and none while an offer is open elsewhere."""
        if self.invited is not None or self._is_updated:
            self.turn_away(transaction, 500, now)
        elif self._ours_is_open or self.unacked is not None:
            self.turn_away(transaction, 491, now)
        elif self.state not in (CONFIRMED, ACCEPTED):
            self.turn_away(transaction, 481, now)
        else:
            self.invited = transaction
            return True
        return False

    def _take_reinvite(self, request: Request) -> None:
        session = self.session
        if session is None:
            self.take_remote_sdp(request)
        else:
            self.hear(session, Place.INVITE, sdp_of(request))

    def _take_update(self, transaction: ServerTransaction, request: Request, now: float) -> bool:
        """RFC 3311 5.2, RFC 6337 4.3: one UPDATE at a time, and no second offer while one is open."""
        dialog = self.dialogs.get(request.from_tag or '')
        if dialog is None:
            self.turn_away(transaction, 481, now)
            return False
        session = session_of(self, dialog)
        sdp = sdp_of(request)
        refusal = session.refusal(Place.UPDATE, bool(sdp))
        if refusal is not None:
            self.turn_away(transaction, refusal.code, now)
            return False
        if dialog is self.dialog:
            self.updated = transaction
        self.hear(session, Place.UPDATE, sdp)
        return True

    def _take_prack(self, transaction: ServerTransaction, request: Request, now: float) -> bool:
        """RFC 3262 3: the PRACK of the reliable response that we repeat; 481 for any other."""
        rack = request.value('RAck')
        if rack is None:
            raise ParseError('a PRACK without RAck')
        reliable = self.reliable
        if reliable is None or not reliable.acknowledge(transaction, rack.rseq, rack.cseq, rack.method):
            self.turn_away(transaction, 481, now)
            return False
        sdp = sdp_of(request)
        if reliable.counts or sdp:
            dialog = self.dialog
            assert dialog is not None
            reliable.counts = True
            self.hear(session_of(self, dialog), Place.PRACK, sdp)
        return True

    @property
    def session(self) -> OfferAnswer | None:
        """The offers and answers of our dialog, where they are kept (``negotiation.py``)."""
        return self.dialog.session if self.dialog is not None else None

    def hear(self, session: OfferAnswer, place: Place, sdp: bytes) -> Meaning:
        """A message has come in that place; its description is the peer's latest unless it means nothing there."""
        meaning = heard(session, place, sdp)
        if meaning is not Meaning.IGNORED and sdp:
            self.remote_sdp = sdp
        return meaning

    # What is open in the dialog, as far as an INVITE is concerned.  These few questions stand for the machine of
    # greensip.sdp: it would be told of each message of each call, while they cost nothing where there is no UPDATE.

    @property
    def _is_updating(self) -> bool:
        return self.updating is not None and not self.updating.done

    @property
    def _is_updated(self) -> bool:
        return self.updated is not None and self.updated.state in (State.TRYING, State.PROCEEDING)

    @property
    def _ours_is_open(self) -> bool:
        """Whether an offer of ours, or an INVITE that may lead to one, has no answer yet."""
        return (
            self.inviting is not None
            or (self.answering is not None and self.answering.offers)
            or (self.updating is not None and bool(self.updating.body) and not self.updating.done)
        )

    @property
    def _theirs_is_open(self) -> bool:
        return self.invited is not None or self.unacked is not None or self._is_updated

    @property
    def is_first_session(self) -> bool:
        """Whether the call's first INVITE is not over yet."""
        return self.state in (ACCEPTED, HANGING_UP)

    def turn_away(self, transaction: ServerTransaction, code: int, now: float) -> None:
        """Refuse a request that came at the wrong moment; a 500 says when the next may (14.2, RFC 3311 5.2)."""
        core = self.core
        response = core.make_response(transaction.request, code)
        if code == 500:
            response.add('Retry-After', str(core.random.getrandbits(16) % 11))
        core.layer.respond(transaction, response, now)

    def on_ack(self, request: Request, now: float) -> None:
        """The ACK for a 2xx of ours.  One that comes twice, or for another INVITE, is nobody's."""
        answer = self.answering
        if answer is None or answer.cseq != request.cseq.number:
            return
        session = self.session
        if session is None:
            self.take_remote_sdp(request)
        else:
            self.hear(session, Place.ACK, sdp_of(request))
        if not self.fire('ACK', request, now):
            self.stop_repeating()
            self.tell(REQUEST, request, now)
        if self.postponed is not None and not self.postponed.glares:
            self.resume_invite(self.postponed, now)

    def on_cancel(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """9.2: a CANCEL of the INVITE of ``transaction``; the 200 to the CANCEL has gone already."""
        if transaction is not self.invited:
            return
        self.tell(REQUEST, request, now)
        if not self.fire('CANCEL', request, now):
            self.refuse_open_invite(now)

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """A response to a request of ours inside the dialog."""
        code = response.code
        if self.state == TERMINATED:
            # The end has been told.  A 2xx to a re-INVITE is acknowledged all the same (13.2.2.4).
            if isinstance(exchange, InviteRequest) and exchange.dialog is not None and 200 <= code < 300:
                exchange.acknowledge(exchange.dialog, now)
            return
        if exchange.method == 'BYE':
            self.tell(RESPONSE, response, now, exchange)
            if code >= 200:
                self.fire('bye done', now)
            return
        if isinstance(exchange, InviteRequest):
            self._on_reinvite_response(exchange, response, now)
            return
        if 200 <= code < 300 and exchange.method in TARGET_REFRESH_METHODS:
            assert exchange.dialog is not None
            exchange.dialog.refresh(response)
        if isinstance(exchange, UpdateRequest):
            if self._take_update_response(exchange, response, now):
                return
        elif exchange.method == 'PRACK':
            if isinstance(exchange, PrackRequest):
                self._take_prack_response(exchange, response)
            self.tell(RESPONSE, response, now, exchange)
            if code >= 200:
                refusal = response_error(code, response.reason, response) if code >= 300 else None
                self.after_prack(now, refusal)
            # A 481 says that no response waits for it, not that there is no dialog (RFC 3262 3).
            return
        self.tell(RESPONSE, response, now, exchange)
        self._check_fatal(response, now)

    def _take_update_response(self, exchange: UpdateRequest, response: Response, now: float) -> bool:
        """RFC 3311 5.3; True for a 491 after which it is tried again."""
        code, dialog = response.code, exchange.dialog
        if code < 200 or dialog is None or dialog.session is None:
            return False
        if code < 300:
            self.hear(dialog.session, Place.UPDATE_2XX, sdp_of(response))
            if self.core.keeps_time and dialog.confirmed:
                note_refresh(self, response, now)
            return False
        self._forget_offer(dialog.session, Place.UPDATE)
        if self.session_timer is not None and self.session_timer.on_response(exchange, response, now):
            if not exchange.done:
                # On its way again.
                said(dialog.session, Place.UPDATE, exchange.offer)
                self.local_sdp = exchange.offer or self.local_sdp
            return True
        if code != 491 or exchange.glares >= self.core.settings.max_glares or not self._is_alive:
            return False
        exchange.glares += 1
        exchange.done = False
        exchange.response = None
        exchange.transaction = None
        if self.updating is exchange:
            self.updating = None
        self.core.timers.add(self._glare_wait(), now, exchange, 'glare')
        return True

    def resume_update(self, exchange: UpdateRequest, now: float) -> None:
        """The wait after a 491 is over."""
        dialog = exchange.dialog
        if not self._is_alive or dialog is None or dialog.session is None or dialog.usage is not self:
            return
        offer = exchange.offer
        if dialog.session.obstacle(Place.UPDATE, bool(offer)) is not None:
            self.core.timers.add(1.0, now, exchange, 'glare')
            return
        said(dialog.session, Place.UPDATE, offer)
        if offer:
            self.local_sdp = offer
        if dialog is self.dialog:
            self.updating = exchange
        exchange.next_attempt(now)

    def _take_prack_response(self, exchange: PrackRequest, response: Response) -> None:
        dialog = exchange.dialog
        if response.code < 200 or not exchange.counts or dialog is None or dialog.session is None:
            return
        if response.code < 300:
            self.hear(dialog.session, Place.PRACK_2XX, sdp_of(response))
        else:
            self._forget_offer(dialog.session, Place.PRACK)

    def after_prack(self, now: float, error: Exception | None) -> None:
        """Our PRACK has its answer, or there was an ``error``: what has waited for that may go."""
        update, self.delayed = self.delayed, None
        if update is not None and error is None:
            self.resume_update(update, now)
        elif update is not None:
            update.done = True
            self.core.events.append(Event(FAILED, self, None, now, 0, update, error))
        if self.postponed is not None and not self.postponed.glares:
            self.resume_invite(self.postponed, now)

    def _forget_offer(self, session: OfferAnswer, place: Place) -> None:
        """An offer of ours was refused: what was said before holds again (RFC 3311 5.3)."""
        session.refused(place, ours=True)
        if isinstance(session.local, bytes):
            self.local_sdp = session.local

    @property
    def _is_alive(self) -> bool:
        return self.state in (EARLY, ANSWERING, ACCEPTED, CONFIRMED)

    def _glare_wait(self) -> float:
        """14.1: whoever made the Call-ID waits longer, so that the two do not meet again."""
        draw = self.core.random.getrandbits(16)
        return 2.1 + draw % 191 / 100 if self.role == 'uac' else draw % 201 / 100

    def _check_fatal(self, response: Response, now: float) -> None:
        if response.code in FATAL or response.code == 408:
            self.fire('broken', response_error(response.code, response.reason, response), now)

    def _on_reinvite_response(self, exchange: InviteRequest, response: Response, now: float) -> None:
        code = response.code
        dialog = exchange.dialog
        assert dialog is not None
        if code < 200:
            if exchange.reliable is not None and code > 100 and is_reliable(response):
                self.take_reliable(exchange, dialog, response, now)
                return
            if dialog.session is not None and code > 100:
                self.hear(dialog.session, Place.PROVISIONAL, sdp_of(response))
            self.tell(RESPONSE, response, now, exchange)
            return
        if code < 300:
            if exchange is self.inviting:
                self.inviting = None
            dialog.refresh(response)
            wants_answer = self.take_success(exchange, dialog, response)
            if self.core.keeps_time:
                note_refresh(self, response, now)
            self.tell(RESPONSE, response, now, exchange)
            if self.state != CONFIRMED or (exchange.auto_ack and not wants_answer):
                if dialog.session is not None:
                    said(dialog.session, Place.ACK, b'')
                exchange.acknowledge(dialog, now)
            else:
                exchange.acks[dialog.remote_tag] = None
                self.unacked = exchange
            return
        if dialog.session is not None:
            self._forget_offer(dialog.session, Place.INVITE)
        if code == 491 and exchange.glares < self.core.settings.max_glares and self.state == CONFIRMED:
            exchange.glares += 1
            exchange.done = False
            exchange.response = None
            exchange.transaction = None
            self.inviting = None
            self.postponed = exchange
            self.core.timers.add(self._glare_wait(), now, exchange, 'glare')
            return
        if exchange is self.inviting:
            self.inviting = None
        if self.session_timer is not None and self.session_timer.on_response(exchange, response, now):
            if not exchange.done:
                # On its way again.
                self.inviting = exchange
                if dialog.session is not None:
                    said(dialog.session, Place.INVITE, exchange.body)
                    self.local_sdp = exchange.body or self.local_sdp
            return
        self.tell(RESPONSE, response, now, exchange)
        self._check_fatal(response, now)

    def take_success(self, exchange: InviteRequest, dialog: Dialog, response: Response) -> bool:
        """Take the description of a 2xx to our INVITE; True if it is an offer, which the ACK has to answer."""
        session = dialog.session
        if session is None:
            offer = self.take_remote_sdp(response)
            return bool(offer) and not exchange.body
        meaning = self.hear(session, Place.INVITE_2XX, sdp_of(response))
        # Of several early dialogs another one may have been heard last.
        if isinstance(session.remote, bytes) and meaning is not Meaning.OFFER:
            self.remote_sdp = session.remote
        if isinstance(session.local, bytes) and session.offer is None:
            self.local_sdp = session.local
        return meaning is Meaning.OFFER

    def take_reliable(self, exchange: InviteRequest, dialog: Dialog, response: Response, now: float) -> None:
        """RFC 3262 4: a reliable response that is the next in order; its PRACK goes at once, unless it must carry our
        answer or the program sends it."""
        seen = exchange.reliable
        tag, rseq = response.to_tag or '', response.value('RSeq')
        if seen is None or not seen.is_next(tag, rseq, self.core.settings.max_forks):
            return
        self.acknowledge_reliable(exchange, seen, dialog, response, now)

    def acknowledge_reliable(
        self, exchange: InviteRequest, seen: Acknowledged, dialog: Dialog, response: Response, now: float
    ) -> None:
        """RFC 3262 4 for a response that has turned out to be the next."""
        tag, rseq = response.to_tag or '', response.value('RSeq')
        seen.last[tag] = rseq
        meaning = self.hear(session_of(self, dialog), Place.RELIABLE, sdp_of(response))
        seen.waiting[tag, rseq] = Unacknowledged(response, dialog, meaning in (Meaning.OFFER, Meaning.ANSWER))
        self.tell(RESPONSE, response, now, exchange)
        if seen.auto and meaning is not Meaning.OFFER:
            self.prack(response, now)

    def resume_invite(self, exchange: InviteRequest, now: float) -> None:
        """The wait after a 491 is over."""
        if self.state != CONFIRMED or exchange is not self.postponed:
            return
        if self.invited or self.unacked or self.answering:
            self.core.timers.add(1.0, now, exchange, 'glare')
            return
        dialog = exchange.dialog
        if dialog is not None and dialog.session is not None:
            if dialog.session.obstacle(Place.INVITE, bool(exchange.body)) is not None:
                self.core.timers.add(1.0, now, exchange, 'glare')
                return
            said(dialog.session, Place.INVITE, exchange.body)
        self.postponed = None
        self.inviting = exchange
        exchange.next_attempt(now)

    def on_next_attempt(self) -> None:
        """Our INVITE is about to be sent again with credentials."""
        self.fire('challenge')

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """No response to a request of ours inside the dialog (12.2.1.2)."""
        if self.state == TERMINATED:
            return
        if exchange is self.inviting:
            self.inviting = None
        if exchange is self.postponed:
            self.postponed = None
        dialog = exchange.dialog
        if dialog is not None and dialog.session is not None:
            if isinstance(exchange, InviteRequest):
                self._forget_offer(dialog.session, Place.INVITE)
            elif isinstance(exchange, UpdateRequest):
                self._forget_offer(dialog.session, Place.UPDATE)
            elif isinstance(exchange, PrackRequest) and exchange.counts:
                self._forget_offer(dialog.session, Place.PRACK)
        if self.session_timer is not None:
            error = self.session_timer.on_failure(exchange, error, now)
        self.core.events.append(Event(FAILED, self, None, now, 0, exchange, error))
        if exchange.method == 'BYE':
            self.fire('bye done', now)
        elif exchange.method == 'PRACK':
            # RFC 3262 3: who does not hear it gives the INVITE up itself.
            self.after_prack(now, error)
        elif not isinstance(error, ResponseError):
            # An INVITE that was cancelled before it was sent says nothing of the dialog.
            self.fire('broken', error, now)

    def on_unreachable(self, dialog: Dialog, error: Exception, now: float) -> None:
        """The ACK for a 2xx has nowhere to go."""
        if dialog is self.dialog:
            self.fire('broken', error, now)

    def on_unacknowledged(self, now: float) -> None:
        """13.3.1.4, 14.2: no ACK for our 2xx within 64*T1."""
        error = TransactionTimeout('no ACK for the 2xx within 64*T1')
        if not self.fire('no ack', error, now):
            self.stop_repeating()
            self.fire('broken', error, now)

    def on_transaction_failure(self, transaction: ServerTransaction, error: Exception, now: float) -> None:
        """A response of ours could not be sent, or the ACK for our refusal never came (timer H)."""
        if transaction is self.invited:
            self.fire('error', error, now)

    # -- pieces

    def tell(self, kind: str, message: Request | Response, now: float, exchange: Any = None) -> None:
        # A FORKED has its response too, but must not be taken for the call's own.
        code = message.code if kind == RESPONSE and isinstance(message, Response) else 0
        self.core.events.append(Event(kind, self, message, now, code, exchange))

    def finish(self, error: Exception, now: float) -> None:
        """The last event; nothing finds the usage any more."""
        core = self.core
        for dialog in self.dialogs.values():
            core.dialogs.pop(dialog.id, None)
            if core.ended is not None:
                core.ended.add(dialog.id, now)
            # No circles: what is over is freed at once, not when the collector comes round.
            dialog.usage = NOBODY
        if core.subscriptions.sharing:
            core.subscriptions.on_call_ended(self.dialogs.values())
        self.stop_repeating()
        if self.session_timer is not None:
            self.session_timer.stop()
            self.session_timer = None
        if self.reliable is not None:
            self.reliable.leave(now)
        if self.expiry is not None:
            self.expiry.cancel()
        if self.unacked is not None:
            # Nobody will acknowledge it any more, so a repetition is turned down like that of another fork.
            self.unacked.acks.clear()
        core.usages.discard(self)
        core.events.append(Event(ENDED, self, None, now, 0, None, self.ended_by or error))

    def add_dialog(self, dialog: Dialog) -> None:
        self.dialogs[dialog.remote_tag] = dialog
        self.dialog = dialog
        self.core.dialogs[dialog.id] = dialog

    def take_remote_sdp(self, message: Request | Response) -> bytes:
        sdp = sdp_of(message)
        if sdp:
            self.remote_sdp = sdp
        return sdp

    def digest(self) -> Any:
        return None

    def in_dialog(
        self,
        method: str,
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        dialog: Dialog | None = None,
    ) -> ClientRequest:
        dialog = dialog or self.dialog
        assert dialog is not None
        contact = dialog.contact if method in TARGET_REFRESH_METHODS else ''
        return ClientRequest(
            self.core,
            method,
            self,
            dialog.envelope(),
            headers,
            body,
            content_type,
            contact,
            dialog.point,
            dialog,
            self.digest(),
        )

    def send_success(self, transaction: ServerTransaction | None, response: Response, now: float) -> None:
        """13.3.1.4: send a 2xx and repeat it until its ACK comes."""
        assert transaction is not None
        self.invited = None
        sdp = sdp_of(response)
        request = transaction.request
        session = self.session
        if session is None:
            offers = bool(sdp) and not request.body
            says = bool(sdp)
        else:
            meaning = said(session, Place.INVITE_2XX, sdp)
            offers = meaning is Meaning.OFFER
            says = bool(sdp) and meaning is not Meaning.IGNORED
        if says:
            self.local_sdp = sdp
        if self.reliable is not None:
            self.reliable.finish()
        self.core.layer.respond(transaction, response, now)
        self.stop_repeating()
        self.answering = Answer(self, transaction, request.cseq.number, offers, now)

    def stop_repeating(self) -> None:
        if self.answering is not None:
            self.answering.stop()
            self.answering = None

    def refuse_open_invite(self, now: float, code: int = 487) -> None:
        """Answer the peer's open INVITE with 487 (9.2, 15.1.2)."""
        transaction, self.invited = self.invited, None
        if transaction is not None:
            self.note_refusal(transaction)
            self.core.layer.respond(
                transaction, self.core.make_response(transaction.request, code, to_tag=self.local_tag()), now
            )

    def note_refusal(self, transaction: ServerTransaction) -> None:
        """An INVITE of the peer's gets a final response that is no 2xx."""
        if self.reliable is not None and self.reliable.transaction is transaction:
            self.reliable.finish()
        session = self.session
        if session is not None:
            session.refused(Place.INVITE, ours=False)

    # Reliable provisional responses of ours (RFC 3262 3); ``transaction`` is the INVITE's

    def respond_reliably(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a 1xx until its PRACK comes, once those before it have had theirs."""
        reliable = self.reliable
        if reliable is None or reliable.transaction is not transaction:
            if reliable is not None:
                reliable.stop()
            reliable = self.reliable = ReliableResponses(self, transaction, transaction.request.cseq.number)
        reliable.send(response, sdp_of(response), now)

    def check_first_offer(self, sdp: bytes) -> None:
        """RFC 3262 5: where the INVITE has no offer the first reliable response must have one; else WrongState."""
        dialog = self.dialog
        if not sdp and dialog is not None:
            session = session_of(self, dialog)
            if session.invite and not session.exchange:
                raise WrongState('the INVITE had no offer, so the first reliable response must have one (RFC 3262 5)')

    def note_reliable(self, sdp: bytes) -> bool:
        """A reliable response goes out: whether its description is an offer or an answer."""
        dialog = self.dialog
        assert dialog is not None
        meaning = said(session_of(self, dialog), Place.RELIABLE, sdp)
        counts = meaning in (Meaning.OFFER, Meaning.ANSWER)
        if counts:
            self.local_sdp = sdp
        return counts

    def may_answer(self, transaction: ServerTransaction) -> bool:
        """Whether an INVITE inside the dialog still waits for its final response."""
        reliable = self.reliable
        return self.invited is transaction and (
            reliable is None or reliable.transaction is not transaction or reliable.success is None
        )

    def holds_success(self, transaction: ServerTransaction, response: Response) -> bool:
        """RFC 3262 3: keep a 2xx until the PRACK has come for each description before it."""
        reliable = self.reliable
        if reliable is None or reliable.transaction is not transaction or not reliable.holds_success:
            return False
        reliable.success = response
        return True

    def send_held_success(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """The last PRACK has been answered."""
        if self.invited is transaction:
            self.send_success(transaction, response, now)

    def on_answered(self, transaction: ServerTransaction, method: str, response: Response, now: float) -> None:
        """A final response to the peer's UPDATE or PRACK has gone."""
        dialog = self.dialogs.get(transaction_tag(transaction)) or self.dialog
        session = dialog.session if dialog is not None else None
        reliable = self.reliable
        if method == 'PRACK' and (reliable is None or reliable.acknowledging is not transaction):
            return
        sdp = sdp_of(response)
        if session is not None and (method == 'UPDATE' or (reliable is not None and reliable.counts)):
            place = Place.UPDATE if method == 'UPDATE' else Place.PRACK
            if response.code >= 300:
                session.refused(place, ours=False)
            elif said(session, Place.UPDATE_2XX if method == 'UPDATE' else Place.PRACK_2XX, sdp) is Meaning.ANSWER:
                self.local_sdp = sdp
        if method == 'PRACK' and reliable is not None:
            reliable.go_on(now)

    def on_no_prack(self, transaction: ServerTransaction, now: float) -> None:
        """RFC 3262 3: no PRACK within 64*T1, so the INVITE is refused with a 5xx."""
        error = TransactionTimeout('no PRACK for the reliable provisional response within 64*T1')
        if not self.fire('no prack', error, now) and self.invited is transaction:
            self.refuse_open_invite(now, 504)

    def offer_reliability(self, invite: InviteRequest, reliable: bool) -> None:
        """Our re-INVITE says of 100rel what the core says."""
        if not self.core.is_reliable:
            return
        if reliable:
            invite.reliable = Acknowledged()
        else:
            invite.capabilities = self.core.other_invite_fields

    def abandon_invites(self, now: float) -> None:
        """The call ends: an open re-INVITE of ours is cancelled."""
        self.postponed = None
        inviting, self.inviting = self.inviting, None
        if inviting is not None:
            inviting.cancel(now)

    def forget_match(self) -> None:
        """Whom this call replaced itself is of no interest any more when it is replaced in its turn."""

    def local_tag(self) -> str:
        return self.dialog.local_tag if self.dialog is not None else ''

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.call_id} {self.state}>'


def transaction_tag(transaction: ServerTransaction) -> str:
    """The From tag of a request, which says in which of our dialogs it came."""
    return transaction.request.from_tag or ''


def is_reliable(response: Response) -> bool:
    """RFC 3262 4: whether a provisional response wants a PRACK."""
    return response.has('RSeq') and bool(response.to_tag) and has_option(response, 'Require', '100rel')


class Answer:
    """A 2xx of ours that is repeated until its ACK comes: at T1, doubling up to T2, for 64*T1 (13.3.1.4)."""

    __slots__ = ('cseq', 'data', 'deadline', 'flow', 'interval', 'offers', 'timer', 'usage')

    def __init__(self, usage: InviteUsage, transaction: ServerTransaction, cseq: int, offers: bool, now: float) -> None:
        core = usage.core
        self.usage = usage
        self.cseq = cseq
        #: whether it carries our offer, so that the ACK must bring the answer
        self.offers = offers
        self.flow: Flow = transaction.response_flow
        self.data = transaction.last_response
        self.deadline = now + core.settings.timer_h
        self.interval = core.settings.t1
        # The 2xx is repeated even over reliable transports, as the next hop may be an unreliable one.
        self.timer: Timer = core.timers.add(self.interval, now, self, 'repeat')

    def on_timer(self, name: str, now: float) -> None:
        usage = self.usage
        core, settings = usage.core, usage.core.settings
        if now > self.deadline - settings.t1 / 2:
            usage.on_unacknowledged(now)
            return
        core.outgoing.append((self.data, self.flow))
        self.interval = min(2 * self.interval, settings.t2)
        # One timer does for both: T1 is what is left at the end, when T2 is some power of two of it.
        wait = self.interval if now + self.interval <= self.deadline else settings.t1
        self.timer = core.timers.add(wait, now, self, 'repeat')

    def stop(self) -> None:
        self.timer.cancel()


def turn_down(invite: InviteRequest, response: Response, now: float) -> None:
    """Acknowledge a 2xx that nobody wants, and hang it up (13.2.2.4)."""
    request = invite.request
    assert request is not None
    dialog = Dialog.as_uac(NOBODY, request, response, invite.home)
    invite.acknowledge(dialog, now)
    envelope = dialog.envelope()
    ClientRequest(invite.core, 'BYE', NOBODY, envelope, point=dialog.point, digest=invite.digest).start(now)


class Nobody:
    """Whom a dialog and its requests belong to when the call is over, or never was: a fork that came too late."""

    __slots__ = ()

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """A 2xx still makes a call, which nobody wants (13.2.2.4)."""
        if isinstance(exchange, InviteRequest) and 200 <= response.code < 300:
            turn_down(exchange, response, now)

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """It is over."""

    def on_unreachable(self, dialog: Dialog, error: Exception, now: float) -> None:
        """The peer will stop repeating its 2xx by itself."""

    def resume_invite(self, exchange: InviteRequest, now: float) -> None:
        """The session that was to be changed is no more."""

    def on_next_attempt(self) -> None:
        """It is over."""


NOBODY = Nobody()
