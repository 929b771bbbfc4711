"""The callee's half of a call: RFC 3261 13.3 and 9.2.

It repeats its 2xx until the ACK has come, and does not hang up before that (15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greensip.errors import InviteExpired, LocalHangup, RemoteCancel, WrongState
from greensip.fsm import Row
from greensip.message import Request, Response
from greensip.sdp.offer_answer import Meaning, Place
from greensip.transaction.layer import ServerTransaction

from .dialog import Dialog
from .event import REQUEST
from .exchange import Fields
from .invite import SHARED_ROWS, InviteUsage, closed, hung_up, reason_fields, reason_of, send_bye
from .negotiation import SDP, said, sdp_of
from .prack import check_first_offer, holds_success, send_reliably
from .routing import is_sips
from .session_timer import accept_refresh
from .states import ACCEPTED, ANSWERING, CLOSING, CONFIRMED, EARLY, HANGING_UP, INCOMING, TERMINATED

if TYPE_CHECKING:
    from greensip.message.digest import DigestClient

    from .core import Core
    from .replaces import Match

__all__ = ['ServerInvite']


# What the arrows do.  Actions get the usage and what came with the event.


def respond_early(usage: ServerInvite, response: Response, now: float) -> None:
    usage.send_response(response, now)
    if usage.core.progressing is None:
        usage.core.watch_progress(now)


def respond_reliably(usage: ServerInvite, response: Response, now: float) -> None:
    send_reliably(usage, usage.transaction, response, now)
    if usage.core.progressing is None:
        usage.core.watch_progress(now)


def respond_success(usage: ServerInvite, response: Response, now: float) -> None:
    usage.response = response
    if usage.expiry is not None:
        usage.expiry.cancel()
    if usage.dialog is not None:
        usage.dialog.confirmed = True
    usage.send_success(usage.invited, response, now)
    if usage.match is not None:
        usage.match.accepted(now)


def refuse(usage: ServerInvite, response: Response, now: float) -> None:
    usage.response = response
    usage.send_response(response, now)
    usage.invited = None
    usage.finish(LocalHangup(), now)


def break_off(usage: ServerInvite, error: Exception, now: float) -> None:
    """A response could not be sent.  RFC 6026 8.8: the transaction remains until it has its final one."""
    usage.refuse_open_invite(now, 500)
    usage.finish(error, now)


def give_up_prack(usage: ServerInvite, error: Exception, now: float) -> None:
    """RFC 3262 3: "the UAS SHOULD reject the original request with a 5xx response"."""
    usage.refuse_open_invite(now, 504)
    usage.finish(error, now)


def expired(usage: ServerInvite, now: float) -> None:
    """13.3.1, step 1: "the invitation has expired"."""
    usage.refuse_open_invite(now)
    usage.finish(InviteExpired(), now)


def cancelled(usage: ServerInvite, request: Request, now: float) -> None:
    """9.2: the 200 to the CANCEL has gone, the 487 follows it."""
    usage.refuse_open_invite(now)
    usage.finish(RemoteCancel(reason_of(request), request), now)


def confirm(usage: ServerInvite, request: Request, now: float) -> None:
    usage.stop_repeating()
    usage.tell(REQUEST, request, now)
    if usage.reliable is not None and usage.reliable.correction:
        usage.offer_correction(now)


def hang_up_late(usage: ServerInvite, now: float, fields: Fields) -> None:
    """15: a callee must not send BYE before the ACK has come or the 2xx has run out; keep it until then."""
    usage.bye_fields = fields


def hang_up_broken_late(usage: ServerInvite, error: Exception, now: float) -> None:
    """12.2.1.2 before the ACK has come: the BYE waits for that as any other (15)."""
    usage.ended_by = error
    usage.bye_fields = reason_fields(error)


def send_held_bye(usage: ServerInvite, request: Request | None, now: float) -> None:
    usage.stop_repeating()
    if request is not None:
        usage.tell(REQUEST, request, now)
    send_bye(usage, now, usage.bye_fields)


def hang_up_unacknowledged(usage: ServerInvite, error: Exception, now: float) -> None:
    """13.3.1.4: no ACK within 64*T1, so the dialog is confirmed but the session is ended with a BYE."""
    usage.stop_repeating()
    send_bye(usage, now, usage.bye_fields, usage.ended_by or error)


class ServerInvite(InviteUsage):
    """The callee's half: 13.3 and 9.2."""

    __slots__ = ('_request', 'bye_fields', 'credentials', 'match', 'tag', 'transaction')

    role = 'uas'
    initial = INCOMING
    rows = (
        # 13.3.1.1: progress
        Row(INCOMING, 'respond 1xx', EARLY, respond_early),
        Row(EARLY, 'respond 1xx', EARLY, respond_early),
        # RFC 3262 3: progress that is repeated until its PRACK comes; a 2xx may have to wait for that
        Row(INCOMING, 'respond reliable', EARLY, respond_reliably),
        Row(EARLY, 'respond reliable', EARLY, respond_reliably),
        Row(EARLY, 'hold 2xx', ANSWERING),
        Row(EARLY, 'no prack', TERMINATED, give_up_prack),
        Row(ANSWERING, 'no prack', TERMINATED, give_up_prack),
        Row(ANSWERING, 'respond 2xx', ACCEPTED, respond_success),
        # 13.3.1.4: the call is accepted
        Row(INCOMING, 'respond 2xx', ACCEPTED, respond_success),
        Row(EARLY, 'respond 2xx', ACCEPTED, respond_success),
        Row(ACCEPTED, 'ACK', CONFIRMED, confirm),
        Row(ACCEPTED, 'no ack', CLOSING, hang_up_unacknowledged),
        Row(ACCEPTED, 'bye', HANGING_UP, hang_up_late),
        Row(ACCEPTED, 'BYE', TERMINATED, hung_up),
        Row(ACCEPTED, 'broken', HANGING_UP, hang_up_broken_late),
        Row(HANGING_UP, 'ACK', CLOSING, send_held_bye),
        Row(HANGING_UP, 'no ack', CLOSING, hang_up_unacknowledged),
        Row(HANGING_UP, 'BYE', TERMINATED, hung_up),
        Row(HANGING_UP, 'given up', TERMINATED, closed),
        # 13.3.1.2, 13.3.1.3: it is redirected or refused
        Row(INCOMING, 'respond 3xx-6xx', TERMINATED, refuse),
        Row(EARLY, 'respond 3xx-6xx', TERMINATED, refuse),
        Row(ANSWERING, 'respond 3xx-6xx', TERMINATED, refuse),
        # 9.2, 15.1.2: the caller gives up
        Row(INCOMING, 'CANCEL', TERMINATED, cancelled),
        Row(EARLY, 'CANCEL', TERMINATED, cancelled),
        Row(ANSWERING, 'CANCEL', TERMINATED, cancelled),
        Row(INCOMING, 'BYE', TERMINATED, hung_up),
        Row(EARLY, 'BYE', TERMINATED, hung_up),
        Row(ANSWERING, 'BYE', TERMINATED, hung_up),
        Row(INCOMING, 'error', TERMINATED, break_off),
        Row(EARLY, 'error', TERMINATED, break_off),
        Row(ANSWERING, 'error', TERMINATED, break_off),
        # 13.3.1: its Expires has run out
        Row(INCOMING, 'expired', TERMINATED, expired),
        Row(EARLY, 'expired', TERMINATED, expired),
        Row(ANSWERING, 'expired', TERMINATED, expired),
        *SHARED_ROWS,
    )

    def __init__(
        self, core: Core, transaction: ServerTransaction, request: Request, match: Match | None = None
    ) -> None:
        super().__init__(core, request.call_id)
        self._request = request
        self.transaction = transaction
        self.invited = transaction
        self.tag = core.new_tag()
        self.bye_fields: Fields = ()
        #: answers challenges to our requests inside the call; None if nobody has a password
        self.credentials: DigestClient | None = None
        #: the call that it is to replace or to join (RFC 3891, RFC 3911)
        self.match = match
        transaction.user = self
        self.take_remote_sdp(request)

    @property
    def request(self) -> Request | None:
        return self._request

    def digest(self) -> Any:
        return self.credentials

    def local_tag(self) -> str:
        return self.tag

    def forget_match(self) -> None:
        self.match = None

    def respond(
        self,
        code: int,
        now: float,
        *,
        reason: str = '',
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = SDP,
        contact: str | None = None,
        reliable: bool | None = None,
    ) -> Response:
        """Answer the call's INVITE.  ``contact`` replaces our Contact; 100 makes no dialog.

        ``reliable``: whether a provisional response is repeated until its PRACK comes (RFC 3262): None does as the
        caller asks, always where it requires it, else for session descriptions.  A 2xx waits for the PRACK by itself.
        UsageError for what the caller does not support, WrongState where an offer is missing.
        """
        core, request, transaction = self.core, self._request, self.transaction
        if self.state not in (INCOMING, EARLY) and (self.state != ANSWERING or code < 300):
            raise WrongState(f'cannot answer {code}: the call is {self.state}')
        if 100 < code < 200 and (core.is_reliable or reliable):
            described = bool(body) and content_type == SDP
            reliable = core.is_reliable_for(request, described, reliable)
        else:
            reliable = False
        tag = self.tag if code > 100 else None
        response = core.make_response(request, code, reason, to_tag=tag)
        if 100 < code < 300:
            dialog = self.dialog
            if dialog is None:
                dialog = Dialog.as_uas(self, request, self.tag, transaction.flow.point, transaction.flow)
                point = transaction.flow.point
                dialog.contact = contact or core.contact(point, point.secure and wants_sips(request))
                self.add_dialog(dialog)
            elif contact:
                dialog.contact = contact
            response.add('Contact', dialog.contact)
        if reliable and (body or not self._request.body):
            # RFC 3311 4: "SHOULD contain an Allow header field that lists the UPDATE method"
            check_first_offer(self, body)
            core.add_capabilities(response)
        core.complete(response, request.method, headers, body, content_type)
        if core.keeps_time and 200 <= code < 300 and not response.has('Session-Expires'):
            for name, text in accept_refresh(self, request, now):
                response.add(name, text)
        if core.info_packages is not None:
            core.add_recv_info(response, request)
        if code < 200:
            if reliable:
                self.fire('respond reliable', response, now)
            elif code > 100:
                self.fire('respond 1xx', response, now)
            else:
                core.layer.respond(transaction, response, now)
        elif code < 300:
            if self.reliable is not None and holds_success(self, transaction, response):
                self.fire('hold 2xx')
            else:
                self.fire('respond 2xx', response, now)
        else:
            self.fire('respond 3xx-6xx', response, now)
        return response

    def send_response(self, response: Response, now: float) -> None:
        sdp = sdp_of(response)
        session = self.session
        provisional = session is not None and response.code < 200
        if session is not None and provisional and said(session, Place.PROVISIONAL, sdp) is Meaning.IGNORED:
            sdp = b''
        if response.code >= 300:
            self.note_refusal(self.transaction)
        if sdp:
            self.local_sdp = sdp
        self.core.layer.respond(self.transaction, response, now)

    def must_offer(self, reliable: bool | None = None) -> bool:
        """RFC 3262 5: whether the next provisional response is a reliable one that has to carry our offer."""
        if not self.core.is_reliable or sdp_of(self._request):
            return False
        session = self.session
        if session is not None and session.exchange:
            return False
        return self.core.is_reliable_for(self._request, False, reliable)

    @property
    def wants_description(self) -> bool:
        """Whether a 2xx has to carry a session description: not where a reliable response has held our side of it."""
        session, reliable = self.session, self.reliable
        if session is None:
            return True
        if reliable is not None and any(sdp for _, sdp in reliable.queue):
            return False
        return not session.exchange or session.offer_place is Place.INVITE

    @property
    def told(self) -> bytes:
        """Our session description, if a reliable response has held it or is about to: then that of the 2xx means
        nothing (13.2.1)."""
        session, reliable = self.session, self.reliable
        if session is None or reliable is None:
            return b''
        for _, sdp in reversed(reliable.queue):
            if sdp:
                return sdp
        return self.local_sdp if session.exchange and session.offer_place is not Place.INVITE else b''

    def correct(self, sdp: bytes) -> None:
        """What was told reliably is not what holds in the end, as when another phone was tried in between: it is
        offered as soon as the call is answered, as nothing else may change it."""
        if self.reliable is not None:
            self.reliable.correction = sdp

    def offer_correction(self, now: float) -> None:
        """By UPDATE where the caller knows it, else by re-INVITE; later when another request is under way."""
        reliable = self.reliable
        if reliable is None or self.state != CONFIRMED:
            return
        allowed = [word.strip().upper() for text in self._request.get_all('Allow') for word in text.split(',')]
        try:
            self.send_request('UPDATE' if 'UPDATE' in allowed else 'INVITE', now, body=reliable.correction,
                              content_type=SDP)
        except WrongState:
            self.core.timers.add(1.0, now, self, 'correct')
        else:
            reliable.correction = b''

    def send_held_success(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        if transaction is self.transaction:
            self.fire('respond 2xx', response, now)
        else:
            super().send_held_success(transaction, response, now)

    def repeat_progress(self, before: float) -> bool:
        """13.3.1.1: say once more how far the call is, if it came before that time; False if it is no longer waited
        for.  What is reliable and not acknowledged is repeated anyway."""
        if self.state not in (INCOMING, EARLY):
            return False
        transaction, reliable = self.transaction, self.reliable
        if (self.state == EARLY and transaction.started <= before and transaction.last_response
                and (reliable is None or not reliable.busy)):
            self.core.outgoing.append((transaction.last_response, transaction.response_flow))
        return True

    def on_timer(self, name: str, now: float) -> None:
        """``expired``: the INVITE's Expires has run out (13.3.1); ``correct``: try ``offer_correction`` again."""
        if name == 'expired':
            self.fire('expired', now)
        elif name == 'correct':
            self.offer_correction(now)

    def finish(self, error: Exception, now: float) -> None:
        super().finish(error, now)
        # The transaction lingers for the sake of retransmissions; it need not keep the call.
        self.transaction.user = None

    def close(self, now: float, code: int = 480, reason: str | None = None) -> None:
        if self.state in (INCOMING, EARLY, ANSWERING):
            self.respond(code, now, headers=(('Reason', reason),) if reason else ())
        elif self.state in (ACCEPTED, CONFIRMED):
            self.bye(now, reason)


def wants_sips(request: Request) -> bool:
    """12.1.1: whether the Contact of our answer has to be a sips one."""
    if is_sips(request.uri_text):
        return True
    if request.has('Record-Route'):
        return is_sips(str(request.record_routes[0].uri))
    contact = request.contact
    return contact is not None and is_sips(str(contact.uri))
