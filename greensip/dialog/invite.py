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
from greensip.message.multipart import find_part
from greensip.transaction.flow import Flow
from greensip.transaction.layer import ServerTransaction, State
from greensip.transaction.timers import Timer

from .dialog import Dialog
from .event import ENDED, FAILED, REQUEST, RESPONSE, Event
from .exchange import ClientRequest, Fields, InviteRequest
from .session_timer import SessionTimer, note_refresh

if TYPE_CHECKING:
    from .core import Core

__all__ = [
    'ACCEPTED',
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
CANCELLING = 'cancelling'  # caller: a CANCEL is out, or held back until a provisional response
ACCEPTED = 'accepted'  # a 2xx went one way, its ACK is still to go the other
HANGING_UP = 'hanging up'  # callee: to be hung up as soon as the ACK has come (15)
CONFIRMED = 'confirmed'
CLOSING = 'closing'  # our BYE is out
TERMINATED = 'terminated'

#: responses to a request inside the dialog that end it (RFC 5057, table 1; 481 the usage, which is the dialog here)
FATAL = frozenset({404, 410, 416, 481, 482, 483, 484, 485, 502, 604})
SDP = 'application/sdp'


def sdp_of(message: Request | Response) -> bytes:
    """The session description that a message carries, alone or as a part of its body; b'' for none.

    A body that can't be read is none: a 2xx or an ACK has its effect all the same.
    """
    if not message.body:
        return b''
    if message.get('Content-Type') == SDP:
        return message.body
    try:
        kind = message.content_type
    except ParseError:
        return b''
    return (find_part(kind, message.body, SDP) or b'') if kind is not None else b''


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
        'dialog',
        'dialogs',
        'ended_by',
        'invited',
        'inviting',
        'local_sdp',
        'owner',
        'postponed',
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
        #: our last UPDATE, and the peer's (RFC 3311)
        self.updating: ClientRequest | None = None
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
        self, method: str, now: float, *, headers: Fields = (), body: bytes = b'', content_type: str | None = None
    ) -> ClientRequest:
        """Send any request inside the dialog: INFO, UPDATE, MESSAGE, OPTIONS ...  INVITE is ``reinvite``."""
        if method == 'INVITE':
            return self.reinvite(now, body, headers=headers, content_type=content_type)
        if self.dialog is None or self.state in (CLOSING, TERMINATED):
            raise WrongState(f'no dialog to send {method} in: the call is {self.state}')
        offers = bool(body) and content_type == SDP
        if method == 'UPDATE':
            self._check_update(offers)
            if self.session_timer is not None and self.dialog.confirmed:
                headers = self.session_timer.fit(headers)
        if offers:
            self.local_sdp = body
        exchange = self.in_dialog(method, headers, body, content_type)
        if method == 'UPDATE':
            self.updating = exchange
        exchange.start(now)
        return exchange

    def _check_update(self, offers: bool) -> None:
        """RFC 3311 5.1, RFC 6337 4.3: one UPDATE at a time, and no second offer while one is open."""
        if self._is_updating:
            raise WrongState('another UPDATE is under way in this dialog')
        if offers and (self._ours_is_open or self._theirs_is_open) and not self._is_reliable_early:
            raise WrongState('an offer in this dialog has no answer yet')

    def reinvite(
        self,
        now: float,
        body: bytes = b'',
        *,
        headers: Fields = (),
        content_type: str | None = SDP,
        auto_ack: bool = True,
    ) -> InviteRequest:
        """14.1: change the session.  Glare (491), and an ACK that is still to come, are waited out by themselves."""
        if self.state != CONFIRMED:
            raise WrongState(f'no session to change: the call is {self.state}')
        if self.inviting or self.invited or self.unacked or self.postponed:
            raise WrongState('another INVITE is under way in this dialog')
        if self._is_updating or self._is_updated:
            raise WrongState('an UPDATE is under way in this dialog')
        dialog = self.dialog
        assert dialog is not None
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
        if body:
            self.local_sdp = body
        if self.answering is None:
            self.inviting = invite
            invite.start(now)
        else:
            # Not while the peer's INVITE waits for its ACK.  Its number is taken when it goes.
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
        if method == 'INVITE' and not self._may_be_invited(transaction, now):
            return
        if method == 'UPDATE' and not self._may_be_updated(transaction, request, now):
            return
        if method in ('INVITE', 'UPDATE'):
            self.take_remote_sdp(request)
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

    def _may_be_updated(self, transaction: ServerTransaction, request: Request, now: float) -> bool:
        """RFC 3311 5.2: one UPDATE at a time, and no second offer while one is open."""
        offers = bool(sdp_of(request)) and not self._is_reliable_early
        if self._is_updated:
            self.turn_away(transaction, 500, now)
        elif offers and self._ours_is_open:
            self.turn_away(transaction, 491, now)
        elif offers and self._theirs_is_open:
            self.turn_away(transaction, 500, now)
        else:
            self.updated = transaction
            return True
        return False

    # What is open in the dialog.  These few questions stand for the machine of greensip.sdp, which knows more: it would
    # be asked, and told, about each message of each call, while they cost nothing where there is no UPDATE.

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
    def _is_reliable_early(self) -> bool:
        """Where provisional responses are reliable (RFC 3262) the program knows how far their offers have got."""
        return self.state == EARLY and '100rel' in self.core.supported

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
        self.take_remote_sdp(request)
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
        if 200 <= code < 300:
            dialog = exchange.dialog
            assert dialog is not None
            if exchange.method in TARGET_REFRESH_METHODS:
                dialog.refresh(response)
            if exchange.method == 'UPDATE':
                self.take_remote_sdp(response)
                if self.core.keeps_time and dialog.confirmed:
                    note_refresh(self, response, now)
        elif (code >= 300 and self.session_timer is not None and exchange.method == 'UPDATE'
              and self.session_timer.on_response(exchange, response, now)):
            return
        self.tell(RESPONSE, response, now, exchange)
        self._check_fatal(response, now)

    def _check_fatal(self, response: Response, now: float) -> None:
        if response.code in FATAL or response.code == 408:
            self.fire('broken', response_error(response.code, response.reason, response), now)

    def _on_reinvite_response(self, exchange: InviteRequest, response: Response, now: float) -> None:
        code = response.code
        dialog = exchange.dialog
        assert dialog is not None
        if code < 200:
            self.tell(RESPONSE, response, now, exchange)
            return
        if code < 300:
            if exchange is self.inviting:
                self.inviting = None
            dialog.refresh(response)
            offer = self.take_remote_sdp(response)
            if self.core.keeps_time:
                note_refresh(self, response, now)
            self.tell(RESPONSE, response, now, exchange)
            if self.state != CONFIRMED or (exchange.auto_ack and (exchange.body or not offer)):
                exchange.acknowledge(dialog, now)
            else:
                exchange.acks[dialog.remote_tag] = None
                self.unacked = exchange
            return
        if code == 491 and exchange.glares < self.core.settings.max_glares and self.state == CONFIRMED:
            # 14.1: whoever made the Call-ID waits longer, so that the two do not meet again.
            exchange.glares += 1
            draw = self.core.random.getrandbits(16)
            wait = 2.1 + draw % 191 / 100 if self.role == 'uac' else draw % 201 / 100
            exchange.done = False
            exchange.response = None
            exchange.transaction = None
            self.inviting = None
            self.postponed = exchange
            self.core.timers.add(wait, now, exchange, 'glare')
            return
        if exchange is self.inviting:
            self.inviting = None
        if self.session_timer is not None and self.session_timer.on_response(exchange, response, now):
            return
        self.tell(RESPONSE, response, now, exchange)
        self._check_fatal(response, now)

    def resume_invite(self, exchange: InviteRequest, now: float) -> None:
        """The wait after a 491 is over."""
        if self.state != CONFIRMED or exchange is not self.postponed:
            return
        if self.invited or self.unacked or self.answering:
            self.core.timers.add(1.0, now, exchange, 'glare')
            return
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
        if self.session_timer is not None:
            error = self.session_timer.on_failure(exchange, error, now)
        self.core.events.append(Event(FAILED, self, None, now, 0, exchange, error))
        if exchange.method == 'BYE':
            self.fire('bye done', now)
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
        self, method: str, headers: Fields = (), body: bytes = b'', content_type: str | None = None
    ) -> ClientRequest:
        dialog = self.dialog
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
        if sdp:
            self.local_sdp = sdp
        request = transaction.request
        self.core.layer.respond(transaction, response, now)
        self.stop_repeating()
        self.answering = Answer(self, transaction, request.cseq.number, bool(sdp) and not request.body, now)

    def stop_repeating(self) -> None:
        if self.answering is not None:
            self.answering.stop()
            self.answering = None

    def refuse_open_invite(self, now: float, code: int = 487) -> None:
        """Answer the peer's open INVITE with 487 (9.2, 15.1.2)."""
        transaction, self.invited = self.invited, None
        if transaction is not None:
            self.core.layer.respond(
                transaction, self.core.make_response(transaction.request, code, to_tag=self.local_tag()), now
            )

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
