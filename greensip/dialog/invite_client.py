"""The caller's half of a call: RFC 3261 13.2 and 9.1.

A proxy may have forked the INVITE: there may be several early dialogs, one for each To tag, and several 2xx, of
which the first is the call (13.2.2.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from greensip.errors import WrongState, response_error
from greensip.fsm import Row
from greensip.message import Request, Response
from greensip.sdp.offer_answer import Place

from .dialog import Dialog
from .event import FORKED, RESPONSE, Event
from .exchange import ClientRequest, Fields
from .invite import SHARED_ROWS, InviteUsage, acknowledge, closed, hang_up_broken, hung_up, send_bye
from .invite_request import InviteRequest
from .negotiation import sdp_of
from .nobody import NOBODY, turn_down
from .prack import acknowledge_reliable
from .reliable import Acknowledged, Unacknowledged, is_reliable
from .session_timer import SessionTimer, note_refresh
from .states import ACCEPTED, CALLING, CANCELLING, CLOSING, CONFIRMED, EARLY, PROCEEDING, TERMINATED

if TYPE_CHECKING:
    from .core import Core

__all__ = ['ClientInvite']


# What the arrows do.  Actions get the usage and what came with the event.


def note_progress(usage: ClientInvite, response: Response, now: float) -> None:
    usage.take_remote_sdp(response)
    usage.tell(RESPONSE, response, now, usage.invite)


def begin_early_dialog(usage: ClientInvite, response: Response, now: float) -> None:
    dialog = usage.early_dialog(response)
    if dialog.session is None:
        usage.take_remote_sdp(response)
    else:
        usage.hear(dialog.session, Place.PROVISIONAL, sdp_of(response))
    usage.tell(RESPONSE, response, now, usage.invite)


def begin_reliable_dialog(usage: ClientInvite, response: Response, now: float) -> None:
    """RFC 3262 4: the response makes a dialog if there is none yet, and its PRACK goes in it."""
    seen = usage.invite.reliable
    if seen is not None:
        acknowledge_reliable(usage, usage.invite, seen, usage.early_dialog(response), response, now)


def end_early_dialog(usage: ClientInvite, response: Response, now: float) -> None:
    """RFC 6228 4: a 199 ends one early dialog, and nothing else."""
    dialog = usage.dialogs.pop(response.to_tag or '', None)
    if dialog is not None:
        usage.drop([dialog])
    if usage.dialog is dialog:
        usage.dialog = next(reversed(usage.dialogs.values()), None)
    usage.tell(RESPONSE, response, now, usage.invite)


def accept(usage: ClientInvite, response: Response, now: float) -> None:
    """13.2.2.4: the first 2xx makes the call.  Its ACK goes at once, unless it must carry our answer."""
    usage.response = response
    dialog = usage.confirm_dialog(response)
    invite = usage.invite
    wants_answer = usage.take_success(invite, dialog, response)
    usage.inviting = None
    if usage.expiry is not None:
        usage.expiry.cancel()
    if usage.core.keeps_time:
        note_refresh(usage, response, now, first=True)
    # Told first: an ACK that has nowhere to go ends the call at once.
    usage.tell(RESPONSE, response, now, invite)
    if invite.auto_ack and not wants_answer:
        usage.fire('ack', invite, dialog, now, (), b'', None)
    else:
        invite.acks[dialog.remote_tag] = None
        usage.unacked = invite


def refused(usage: ClientInvite, response: Response, now: float) -> None:
    usage.response = response
    usage.tell(RESPONSE, response, now, usage.invite)
    usage.finish(response_error(response.code, response.reason, response), now)


def failed(usage: ClientInvite, error: Exception, now: float) -> None:
    usage.finish(error, now)


def forget_early_dialogs(usage: ClientInvite) -> None:
    """13.2.2.3: a final response other than 2xx ends them; this one was a challenge, and the INVITE is out again."""
    usage.drop(usage.dialogs.values())
    usage.dialogs.clear()
    usage.dialog = None


def cancel(usage: ClientInvite, now: float, fields: Fields) -> None:
    usage.invite.cancel(now, fields)


def hang_up_crossed(usage: ClientInvite, response: Response, now: float) -> None:
    """9.1, 15: the 200 crossed our CANCEL, so there is a call: acknowledge it, then end it."""
    usage.response = response
    dialog = usage.confirm_dialog(response)
    usage.invite.acknowledge(dialog, now)
    usage.tell(RESPONSE, response, now, usage.invite)
    send_bye(usage, now, usage.invite.cancel_fields)


class ClientInvite(InviteUsage):
    """The caller's half: 13.2 and 9.1."""

    __slots__ = ('_digest', 'forks', 'invite')

    role = 'uac'
    initial = CALLING
    rows = (
        # 13.2.2.1: provisional responses
        Row(CALLING, '1xx', PROCEEDING, note_progress),
        Row(CALLING, '1xx tag', EARLY, begin_early_dialog),
        Row(PROCEEDING, '1xx', PROCEEDING, note_progress),
        Row(PROCEEDING, '1xx tag', EARLY, begin_early_dialog),
        Row(EARLY, '1xx', EARLY, note_progress),
        Row(EARLY, '1xx tag', EARLY, begin_early_dialog),
        # RFC 3262 4: reliable ones
        Row(CALLING, '1xx reliable', EARLY, begin_reliable_dialog),
        Row(PROCEEDING, '1xx reliable', EARLY, begin_reliable_dialog),
        Row(EARLY, '1xx reliable', EARLY, begin_reliable_dialog),
        Row(CANCELLING, '1xx reliable', CANCELLING, begin_reliable_dialog),
        # RFC 6228 4: an early dialog is over; without any "it maintains the Proceeding state"
        Row(EARLY, '199', EARLY, end_early_dialog),
        Row(EARLY, 'last 199', PROCEEDING, end_early_dialog),
        Row(CANCELLING, '199', CANCELLING, end_early_dialog),
        Row(CANCELLING, 'last 199', CANCELLING, end_early_dialog),
        # 13.2.2.4: the call is accepted
        Row(CALLING, '2xx', ACCEPTED, accept),
        Row(PROCEEDING, '2xx', ACCEPTED, accept),
        Row(EARLY, '2xx', ACCEPTED, accept),
        Row(ACCEPTED, 'ack', CONFIRMED, acknowledge),
        Row(ACCEPTED, 'bye', CLOSING, send_bye),
        Row(ACCEPTED, 'BYE', TERMINATED, hung_up),
        Row(ACCEPTED, 'broken', CLOSING, hang_up_broken),
        # 13.2.2.2 and 13.2.2.3: it is refused
        Row(CALLING, '3xx-6xx', TERMINATED, refused),
        Row(PROCEEDING, '3xx-6xx', TERMINATED, refused),
        Row(EARLY, '3xx-6xx', TERMINATED, refused),
        # 22.2: it goes out again with credentials
        Row(PROCEEDING, 'challenge', CALLING),
        Row(EARLY, 'challenge', CALLING, forget_early_dialogs),
        # 8.1.3.1: nobody answers
        Row(CALLING, 'error', TERMINATED, failed),
        Row(PROCEEDING, 'error', TERMINATED, failed),
        Row(EARLY, 'error', TERMINATED, failed),
        # 9.1: the caller gives up
        Row(CALLING, 'cancel', CANCELLING, cancel),
        Row(PROCEEDING, 'cancel', CANCELLING, cancel),
        Row(EARLY, 'cancel', CANCELLING, cancel),
        Row(CANCELLING, '1xx', CANCELLING, note_progress),
        Row(CANCELLING, '1xx tag', CANCELLING, begin_early_dialog),
        Row(CANCELLING, '2xx', CLOSING, hang_up_crossed),
        Row(CANCELLING, '3xx-6xx', TERMINATED, refused),
        Row(CANCELLING, 'error', TERMINATED, failed),
        Row(CANCELLING, 'given up', TERMINATED, closed),
        *SHARED_ROWS,
    )

    def __init__(self, core: Core, call_id: str, digest: Any) -> None:
        super().__init__(core, call_id)
        self._digest = digest
        #: where each 2xx of a fork is to be a call of its own: the early dialogs that may yet be answered
        self.forks: dict[str, Dialog] | None = None
        self.invite: InviteRequest

    @property
    def request(self) -> Request | None:
        return self.invite.request

    def digest(self) -> Any:
        return self._digest

    def cancel(self, now: float, reason: str | None = None, headers: Fields = ()) -> None:
        """9.1: give up before the call is answered; the CANCEL is held back until a provisional response."""
        fields = [*headers, ('Reason', reason)] if reason else headers
        if not self.fire('cancel', now, fields):
            raise WrongState(f'cannot cancel: the call is {self.state}')

    def close(self, now: float, code: int = 480, reason: str | None = None) -> None:
        if self.state in (CALLING, PROCEEDING, EARLY):
            self.cancel(now, reason)
        elif self.state in (ACCEPTED, CONFIRMED):
            self.bye(now, reason)

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        if exchange is not self.invite:
            super().on_response(exchange, response, now)
            return
        code = response.code
        if code < 200:
            if exchange.reliable is not None and code > 100 and is_reliable(response):
                self._on_reliable(response, now)
            elif code == 199 and self.core.ends_dialogs_early:
                self._on_199(response, now)
            else:
                self.fire('1xx tag' if code > 100 and response.to_tag else '1xx', response, now)
        elif code < 300:
            if self.dialog is None or not self.dialog.confirmed:
                self.fire('2xx', response, now)
            elif (response.to_tag or '') != self.dialog.remote_tag:
                self.turn_down(response, now)
        elif code == 422 and self.asks_longer(response, now):
            # RFC 4028 7.3: it is on its way again.
            return
        else:
            self.inviting = None
            self.fire('3xx-6xx', response, now)

    def asks_longer(self, response: Response, now: float) -> bool:
        """RFC 4028 7.3: whether the INVITE goes out again with the session interval that a 422 asks for."""
        if self.session_timer is None:
            if not self.core.keeps_time:
                return False
            # A proxy asked for less than the next one wants.
            self.session_timer = SessionTimer(self)
        return self.session_timer.ask_longer(self.invite, response, now)

    def _on_reliable(self, response: Response, now: float) -> None:
        """RFC 3262 4: a repetition and one out of order are dropped."""
        seen = self.invite.reliable
        tag = response.to_tag or ''
        if seen is None or not seen.is_next(tag, response.value('RSeq'), self.core.settings.max_forks):
            return
        if response.code == 199 and self.core.ends_dialogs_early:
            dialog = self.dialogs.get(tag)
            if dialog is None:
                # RFC 6228 4: it "MUST acknowledge the 199", though no such dialog is known.
                request = self.invite.request
                assert request is not None
                dialog = Dialog.as_uac(self, request, response, self.invite.home, self.invite.flow)
            seen.last[tag] = response.value('RSeq')
            seen.waiting[tag, seen.last[tag]] = Unacknowledged(response, dialog, False)
            self._on_199(response, now)
            if seen.auto:
                self.prack(response, now)
        else:
            self.fire('1xx reliable', response, now)

    def _on_199(self, response: Response, now: float) -> None:
        """RFC 6228 4: one for a dialog that we do not know is discarded."""
        if (response.to_tag or '') in self.dialogs:
            self.fire('199' if len(self.dialogs) > 1 else 'last 199', response, now)

    def on_timer(self, name: str, now: float) -> None:
        """``expired``: no final response within the INVITE's Expires (13.2.1)."""
        if name == 'expired' and self.state in (CALLING, PROCEEDING, EARLY):
            self.cancel(now)

    def offer_reliability(self, invite: InviteRequest, reliable: bool) -> None:
        first = self.invite
        if first.reliable is None:
            invite.capabilities = first.capabilities
        elif reliable:
            invite.capabilities = first.capabilities
            invite.reliable = Acknowledged(first.reliable.auto)
        elif first.capabilities is None:
            invite.capabilities = self.core.other_invite_fields

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        if exchange is not self.invite:
            super().on_failure(exchange, error, now)
            return
        self.inviting = None
        self.fire('error', error, now)

    def early_dialog(self, response: Response) -> Dialog:
        """12.1.2: each To tag is a dialog of its own."""
        dialog = self.dialogs.get(response.to_tag or '')
        if dialog is not None:
            self.dialog = dialog
            if response.contact is not None:
                dialog.refresh(response)
            return dialog
        request = self.invite.request
        assert request is not None
        dialog = Dialog.as_uac(self, request, response, self.invite.home, self.invite.flow)
        if len(self.dialogs) < self.core.settings.max_forks:
            self.add_dialog(dialog)
        else:
            self.dialog = dialog
        return dialog

    def drop(self, dialogs: Iterable[Dialog]) -> None:
        """The call is not in these dialogs any more; subscriptions may still be (RFC 6665 4.5.2)."""
        core = self.core
        for dialog in dialogs:
            core.dialogs.pop(dialog.id, None)
            self.invite.keep_number(dialog)
        if core.subscriptions.sharing and self.forks is None:
            core.subscriptions.on_call_ended(dialogs)

    def confirm_dialog(self, response: Response) -> Dialog:
        """13.2.2.4: the dialog of a 2xx takes its route set from it; the other early dialogs are over."""
        dialogs = self.dialogs
        dialog = dialogs.pop(response.to_tag or '', None)
        if dialogs:
            self.drop(dialogs.values())
            if self.forks is not None:
                self.forks.update(dialogs)
            dialogs.clear()
        if dialog is None:
            request = self.invite.request
            assert request is not None
            dialog = Dialog.as_uac(self, request, response, self.invite.home, self.invite.flow)
            self.invite.go_on_counting(dialog)
            self.core.dialogs[dialog.id] = dialog
        else:
            dialog.follow(response)
        dialog.confirmed = True
        dialogs[dialog.remote_tag] = self.dialog = dialog
        return dialog

    def turn_down(self, response: Response, now: float) -> None:
        """A 2xx from another branch of the fork: acknowledge it and hang it up, or make it a call (13.2.2.4)."""
        if self.forks is None or self.invite.cancelled:
            # Who has given up wants none of them (9.1, 15).
            turn_down(self.invite, response, now)
            self.tell(FORKED, response, now, self.invite)
            return
        other = ClientInvite(self.core, self.call_id, self._digest)
        other.invite = self.invite
        other.local_sdp = self.local_sdp
        if self.session_timer is not None:
            # RFC 4028 7.2: each dialog has an interval of its own, or none.
            other.session_timer = SessionTimer(other, self.session_timer.wish)
        dialog = self.forks.pop(response.to_tag or '', None)
        if dialog is not None:
            dialog.usage = other
            other.add_dialog(dialog)
        # Told first: whoever is to own it must be there when its response is.
        self.core.events.append(Event(FORKED, self, response, now, 0, other))
        other.fire('2xx', response, now)

    def finish(self, error: Exception, now: float) -> None:
        super().finish(error, now)
        if self.invite.subject is self:
            self.invite.subject = NOBODY
