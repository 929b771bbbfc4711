"""The INVITE usage of a dialog: a call from its first INVITE to its BYE. RFC 3261 13, 14, 15 and 9; RFC 5057 for
what a failed request inside the dialog means.

A call is a machine of two halves: ``ClientInvite`` is the caller's, ``ServerInvite`` the callee's. Once confirmed both
are the same, and share their rows; what they share is here.  What changes the session has its files: ``reinvite.py``,
``update.py`` and ``prack.py``.

    calling --1xx--> proceeding --1xx with tag--> early --2xx--> accepted --ACK--> confirmed --BYE--> closing
      --200--> terminated

A usage ends with one ``ended`` event, after the response to its BYE. Verbs raise WrongState when the present state
has no row for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greensip.errors import (
    LocalHangup,
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
from greensip.transaction.layer import ServerTransaction, State
from greensip.transaction.timers import Timer

from .answer import Answer
from .dialog import Dialog
from .event import ENDED, FAILED, REQUEST, RESPONSE, Event
from .exchange import ClientRequest, Fields
from .invite_request import InviteRequest
from .negotiation import SDP, heard, said, sdp_of
from .nobody import NOBODY
from .prack import PrackRequest, after_prack, send_prack, take_prack, take_prack_response
from .reinvite import resume_reinvite, send_reinvite, take_reinvite, take_reinvite_response
from .reliable import Acknowledged, ReliableResponses
from .session_timer import SessionTimer
from .states import ACCEPTED, ANSWERING, CLOSING, CONFIRMED, EARLY, HANGING_UP, TERMINATED
from .update import UpdateRequest, send_update, take_update, take_update_response

if TYPE_CHECKING:
    from .core import Core

__all__ = ['InviteUsage']

#: responses to a request inside the dialog that end it (RFC 5057, table 1; 481 the usage, which is the dialog here)
FATAL: Final = frozenset({404, 410, 416, 481, 482, 483, 484, 485, 502, 604})


def reason_of(message: Request | Response | None) -> str | None:
    return message.get('Reason') if message is not None else None


def reason_fields(error: Exception) -> Fields:
    """What our BYE says of the error that it is sent for."""
    reason = error.reason if isinstance(error, SessionExpired) else None
    return [('Reason', reason)] if reason else ()


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
    """15.1.1.  The peer's open INVITE is answered too, since nobody else will do that any more; and a 2xx to ours that
    waits for the program's ACK gets one before (13.2.2.4: "for each 2xx")."""
    unacked, dialog = usage.unacked, usage.dialog
    if unacked is not None and dialog is not None:
        usage.unacked = None
        unacked.acknowledge(dialog, now)
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
    send_bye(usage, now, reason_fields(error), error)


def hung_up_meanwhile(usage: InviteUsage, request: Request, now: float) -> None:
    """Both hung up at once: their BYE ends it, ours needs no answer any more."""
    usage.finish(usage.ended_by or LocalHangup(), now)


# 13, 14 and 15: what is the same for caller and callee
SHARED_ROWS: Final = (
    Row(CONFIRMED, 'bye', CLOSING, send_bye),
    Row(CONFIRMED, 'BYE', TERMINATED, hung_up),
    Row(CONFIRMED, 'broken', CLOSING, hang_up_broken),
    Row(CLOSING, 'BYE', TERMINATED, hung_up_meanwhile),
    Row(CLOSING, 'bye done', TERMINATED, closed),
    # the program ends, and with it who would hear that the peer agrees
    Row(CLOSING, 'given up', TERMINATED, closed),
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
        if method == 'UPDATE':
            return send_update(self, now, headers, body, content_type, dialog)
        exchange = self.in_dialog(method, headers, body, content_type, dialog)
        if body and content_type == SDP:
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
        return send_prack(self, response, now, headers, body, content_type)

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
        return send_reinvite(self, now, body, headers, content_type, auto_ack, reliable)

    def close(self, now: float, code: int = 480, reason: str | None = None) -> None:
        """End the call in the way its state asks for: CANCEL, BYE, a refusal, or nothing when it is over."""
        raise NotImplementedError

    def give_up(self, now: float) -> None:
        """A call that was ended is over now, whether or not the peer has agreed: there will be no more time for it."""
        self.fire('given up', now)

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
            if not take_reinvite(self, transaction, request, now):
                return
        elif method == 'UPDATE':
            if not take_update(self, transaction, request, now):
                return
        elif method == 'PRACK' and not take_prack(self, transaction, request, now):
            return
        self.tell(REQUEST, request, now, transaction)

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
    def is_updating(self) -> bool:
        """Whether our UPDATE has no answer yet."""
        return self.updating is not None and not self.updating.done

    @property
    def is_updated(self) -> bool:
        """Whether the peer's UPDATE has none yet."""
        return self.updated is not None and self.updated.state in (State.TRYING, State.PROCEEDING)

    @property
    def ours_is_open(self) -> bool:
        """Whether an offer of ours, or an INVITE that may lead to one, has no answer yet."""
        return (
            self.inviting is not None
            or (self.answering is not None and self.answering.offers)
            or (self.updating is not None and bool(self.updating.body) and not self.updating.done)
        )

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
        if self.postponed is not None and self.postponed.glares <= 0:
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
            take_reinvite_response(self, exchange, response, now)
            return
        if self.went_elsewhere(exchange):
            self.tell(RESPONSE, response, now, exchange)
            return
        if 200 <= code < 300 and exchange.method in TARGET_REFRESH_METHODS:
            assert exchange.dialog is not None
            exchange.dialog.refresh(response)
        if isinstance(exchange, UpdateRequest):
            if take_update_response(self, exchange, response, now):
                return
        elif exchange.method == 'PRACK':
            if isinstance(exchange, PrackRequest):
                take_prack_response(self, exchange, response)
            self.tell(RESPONSE, response, now, exchange)
            if code >= 200:
                refusal = response_error(code, response.reason, response) if code >= 300 else None
                after_prack(self, now, refusal)
            # A 481 says that no response waits for it, not that there is no dialog (RFC 3262 3).
            return
        self.tell(RESPONSE, response, now, exchange)
        self.check_fatal(response, now)

    def went_elsewhere(self, exchange: ClientRequest) -> bool:
        """Whether a request went in an early dialog that has lost to the one that was answered (13.2.2.4): what comes
        of it there says nothing of this one (RFC 5057 5.1).  PRACK and BYE see to that themselves."""
        dialog = self.dialog
        return (exchange.dialog is not dialog and dialog is not None and dialog.confirmed
                and exchange.method not in ('BYE', 'PRACK'))

    def forget_offer(self, session: OfferAnswer, place: Place) -> None:
        """An offer of ours was refused: what was said before holds again (RFC 3311 5.3)."""
        session.refused(place, ours=True)
        if isinstance(session.local, bytes):
            self.local_sdp = session.local

    @property
    def is_alive(self) -> bool:
        """Whether the session may be changed by UPDATE, now or soon."""
        return self.state in (EARLY, ANSWERING, ACCEPTED, CONFIRMED)

    def glare_wait(self) -> float:
        """14.1: whoever made the Call-ID waits longer, so that the two do not meet again."""
        draw = self.core.random.getrandbits(16)
        return 2.1 + draw % 191 / 100 if self.role == 'uac' else draw % 201 / 100

    def check_fatal(self, response: Response, now: float) -> None:
        """RFC 5057: a response to a request inside the dialog may end it."""
        if response.code in FATAL or response.code == 408:
            self.fire('broken', response_error(response.code, response.reason, response), now)

    def take_success(self, exchange: InviteRequest, dialog: Dialog, response: Response) -> bool:
        """Take the description of a 2xx to our INVITE; True if it is an offer, which the ACK has to answer."""
        session = dialog.session
        if session is None:
            if exchange.body:
                # What it answers; something else may have been said last, in the dialog of another phone.
                self.local_sdp = exchange.body
            offer = self.take_remote_sdp(response)
            return bool(offer) and not exchange.body
        meaning = self.hear(session, Place.INVITE_2XX, sdp_of(response))
        # Of several early dialogs another one may have been heard last.
        if isinstance(session.remote, bytes) and meaning is not Meaning.OFFER:
            self.remote_sdp = session.remote
        if isinstance(session.local, bytes) and session.offer is None:
            self.local_sdp = session.local
        return meaning is Meaning.OFFER

    def resume_invite(self, exchange: InviteRequest, now: float) -> None:
        """The wait after a 491 is over."""
        resume_reinvite(self, exchange, now)

    def on_next_attempt(self) -> None:
        """Our INVITE is about to be sent again with credentials."""
        self.fire('challenge')

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """No response to a request of ours inside the dialog (12.2.1.2)."""
        if self.state == TERMINATED:
            return
        under_way = exchange is self.inviting
        if under_way:
            self.inviting = None
        if exchange is self.postponed:
            self.postponed = None
        if self.went_elsewhere(exchange):
            self.core.events.append(Event(FAILED, self, None, now, 0, exchange, error))
            return
        dialog = exchange.dialog
        if dialog is not None and dialog.session is not None:
            if isinstance(exchange, InviteRequest):
                # One that waits (14.1) is not on record there, so nothing of the session may be taken back.
                if under_way:
                    self.forget_offer(dialog.session, Place.INVITE)
                elif isinstance(dialog.session.local, bytes):
                    self.local_sdp = dialog.session.local
            elif isinstance(exchange, UpdateRequest):
                self.forget_offer(dialog.session, Place.UPDATE)
            elif isinstance(exchange, PrackRequest) and exchange.counts:
                self.forget_offer(dialog.session, Place.PRACK)
        if self.session_timer is not None:
            error = self.session_timer.on_failure(exchange, error, now)
        self.core.events.append(Event(FAILED, self, None, now, 0, exchange, error))
        if exchange.method == 'BYE':
            self.fire('bye done', now)
        elif exchange.method == 'PRACK':
            # RFC 3262 3: who does not hear it gives the INVITE up itself.
            after_prack(self, now, error)
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

    def send_held_success(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """The last PRACK has been answered."""
        if self.invited is transaction:
            self.send_success(transaction, response, now)

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
