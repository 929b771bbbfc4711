"""A leg that is a SIP call: what is the same for caller and callee.

A ``Leg`` stands above an ``InviteUsage`` of the core and gives it the mailbox.  The verbs put their message on the wire
before they return; those that wait for the peer's answer say so.  What the protocol asks for and no script wants to
see is done here: requests inside the dialog are answered at once (INFO, MESSAGE, re-INVITE, UPDATE), unless a
``Bridge`` relays them or the script has asked for them with ``manual=``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greensip.dialog.dialog import Dialog
from greensip.dialog.event import ENDED, FORKED, REQUEST, RESPONSE, Event
from greensip.dialog.exchange import ClientRequest
from greensip.dialog.invite import InviteUsage
from greensip.dialog.invite_request import InviteRequest
from greensip.dialog.negotiation import SDP, sdp_of
from greensip.dialog.replaces import give_way, target_dialog_text
from greensip.errors import GreensipError, ParseError, UsageError, WrongState, response_error
from greensip.message import Message, NameAddr, Request, Response, parse_name_addr
from greensip.message.grammar import check_text
from greensip.native import mypyc_attr

from .chores import answer, answer_by_itself, refuse_more
from .early import acknowledge_offer
from .fields import Body, Extra, Headers, body_of, fields_of, reason_field, reason_of, response_of, sdp_bytes
from .identity import Cause, HistoryEntry, Identity, causes_of, history_of
from .info import info_fields, packages_of
from .later import later
from .mailbox import Mailbox, Notice
from .pattern import Happening
from .referral import Referral, TransferOutcome, is_gruu, refer, replacing
from .reply import Reply, wait_reply
from .session import hold_offer, holds, resume_offer
from .subscription import OutgoingSubscription, make_subscription
from .transfer import Transfer, take_refer

if TYPE_CHECKING:
    from .account import Account
    from .agent import UserAgent
    from .bridge import Bridge

__all__ = ['Leg', 'SessionInterval', 'Timings']

log: Final = logging.getLogger('greensip.ua')

#: the states of the core's usage as a script sees them
STATES: Final = {
    'calling': 'calling', 'incoming': 'calling', 'proceeding': 'calling', 'early': 'early', 'accepted': 'confirmed',
    'answering': 'early', 'confirmed': 'confirmed', 'closing': 'ended', 'hanging up': 'ended', 'terminated': 'ended',
}

#: responses that a leg remembers
RESPONSES: Final = 100

#: what a leg will have one day, and what it needs
LATER: Final = {
    'audio': 'media', 'send_dtmf': 'media',
}


class Timings(NamedTuple):
    """When things happened, in seconds of the user agent's clock; None for what has not happened."""

    #: the INVITE was sent or received
    started: float
    #: the first provisional response, the first one above 100, the final one that made it a call, the end
    trying: float | None = None
    ringing: float | None = None
    answered: float | None = None
    ended: float | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from the answer to the end."""
        return None if self.answered is None or self.ended is None else self.ended - self.answered


class SessionInterval(NamedTuple):
    """What was agreed about a session's timer (RFC 4028)."""

    #: seconds that the session lasts without a refresh
    interval: int
    #: ``local`` when we refresh it, ``remote`` when the peer does
    refresher: str
    #: when it ends otherwise, in seconds of the user agent's clock
    expires: float


@mypyc_attr(allow_interpreted_subclasses=True)
class Leg(Mailbox):
    """A call, seen from our side.  ``OutgoingLeg`` and ``IncomingLeg`` are its two kinds.

    ``data`` is free for the script.  Every verb raises WrongThread from a foreign thread, and the leg's ending when
    it is over.
    """

    __slots__ = ('_answered', '_before_hold', '_closed', '_finished', '_latest', '_packages', '_peer_holds', '_relay',
                 '_responses', '_ringing', '_trying', '_unanswered', 'data', 'manual', 'ua', 'usage')

    def __init__(self, ua: UserAgent, usage: InviteUsage, *, strict: bool = False,
                 manual: Sequence[str] = ()) -> None:
        super().__init__(ua, strict=strict)
        #: the user agent that it belongs to
        self.ua = ua
        #: the core's half of the leg
        self.usage = usage
        usage.owner = self
        self.data: Any = None
        #: the chores that the script has taken over; an incoming leg's are those of its user agent, and may be changed
        self.manual: Sequence[str] = manual
        self._latest: Response | None = None
        self._responses: list[Response] | None = [] if ua.keep_responses else None
        self._trying: float | None = None
        self._ringing: float | None = None
        self._answered: float | None = None
        self._finished: float | None = None
        self._closed = False
        #: the INFO packages that the peer takes, once he has changed them
        self._packages: tuple[str, ...] | None = None
        #: our description from before we put the peer on hold; None while we do not
        self._before_hold: bytes | None = None
        #: None until the peer changes the session for the first time
        self._peer_holds: bool | None = None
        self._relay: Bridge | None = None
        #: requests that wait for the script's answer
        self._unanswered: list[Any] | None = None

    # -- what is known

    @property
    def state(self) -> str:
        """``calling`` (also for an incoming leg before its first response), ``early``, ``confirmed``, ``held``,
        ``ended``.

        ``held`` when either side holds the other.  ``ended`` as soon as we have hung up.
        """
        usage = self.usage
        state = STATES.get(usage.state)
        if state is None:
            # Cancelled, and not over: the peer may yet answer.
            return 'early' if usage.dialog is not None else 'calling'
        if state == 'confirmed' and (self._before_hold is not None or self._peer_holds is True):
            return 'held'
        return state

    @property
    def invite(self) -> Request | None:
        """The INVITE that began the call; None while its next hop is being looked up."""
        return self.usage.request

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self.usage.call_id

    @property
    def response(self) -> Response | None:
        """The final response to the INVITE, if there is one yet."""
        return self.usage.response

    @property
    def responses(self) -> list[Response]:
        """The responses to the INVITE, provisional ones too; those that we sent if the leg is incoming.

        The latest hundred.  Only the latest if the user agent was made with ``keep_responses=False``.
        """
        if self._responses is not None:
            return list(self._responses)
        return [self._latest] if self._latest is not None else []

    @property
    def from_(self) -> NameAddr:
        """From of the INVITE."""
        raise NotImplementedError

    @property
    def to(self) -> NameAddr:
        """To of the INVITE."""
        raise NotImplementedError

    @property
    def local(self) -> NameAddr:
        """Our side: address of record and tag (RFC 3261 12)."""
        dialog = self.usage.dialog
        return parse_name_addr(dialog.local) if dialog is not None else self._party(True)

    @property
    def remote(self) -> NameAddr:
        """The other side: address of record and, once there is a dialog, tag (RFC 3261 12)."""
        dialog = self.usage.dialog
        return parse_name_addr(dialog.remote) if dialog is not None else self._party(False)

    def _party(self, local: bool) -> NameAddr:
        raise NotImplementedError

    @property
    def contact(self) -> str:
        """Our Contact in this call, where the peer's requests go; empty while there is no dialog.

        What is set goes with the next re-INVITE, UPDATE or answer, and moves the peer's requests there (RFC 3261
        12.2.1.1): ``leg.contact = '<sip:mixer@192.0.2.7>;isfocus'``.  Raises ParseError, WrongState without a dialog.
        """
        dialog = self.usage.dialog
        return dialog.contact if dialog is not None else ''

    @contact.setter
    def contact(self, contact: NameAddr | str) -> None:
        self.check()
        dialog = self.usage.dialog
        if dialog is None:
            raise WrongState('there is no dialog yet')
        text = str(contact)
        dialog.contact = str(parse_name_addr(text if '<' in text else f'<{text}>'))

    @property
    def headers(self) -> Headers:
        """The header fields of the peer's INVITE or latest response, to look at: ``leg.headers['Subject']``."""
        raise NotImplementedError

    @property
    def account(self) -> Account | None:
        """The account that it belongs to: that which made the call, or that which it is for; None if there is none."""
        raise NotImplementedError

    @property
    def reason(self) -> str | None:
        """Why the leg is over, as text: the peer's Reason header field, or the reason phrase; None while it lives."""
        error = self.error
        if error is None:
            return None
        reason = getattr(error, 'reason', None)
        return str(reason) if reason else str(error)

    @property
    def cause(self) -> Cause | None:
        """Why the leg is over: ``protocol``, ``code`` and ``text`` of the peer's Reason, that of Q.850 if there are
        several; without one the status of his refusal.  None while it lives, and when nothing was said."""
        causes = self.causes
        return next((cause for cause in causes if cause.protocol.upper() == 'Q.850'), causes[0] if causes else None)

    @property
    def causes(self) -> list[Cause]:
        """All that the peer says of why the leg is over (RFC 3326)."""
        return causes_of(self.error)

    @property
    def identity(self) -> Identity:
        """Who the peer is, as the network says it (RFC 3325): in an outgoing leg who has answered last."""
        return Identity.of(self.headers.message)

    @property
    def history(self) -> list[HistoryEntry]:
        """Where the call has been (RFC 7044): as the INVITE that came in says it, or the latest response."""
        return history_of(self.headers.message)

    @property
    def diversions(self) -> list[NameAddr]:
        """Who has sent the call on to somebody else (RFC 5806), the latest first: ``param('reason')`` says why."""
        return self.headers.parsed('Diversion')

    @property
    def timings(self) -> Timings:
        """When the call began, rang, was answered and ended."""
        return Timings(self._since, self._trying, self._ringing, self._answered, self._finished)

    @property
    def session_timer(self) -> SessionInterval | None:
        """How long the session lasts without a refresh, and who refreshes it (RFC 4028); None for for ever."""
        timer = self.usage.session_timer
        if timer is None or not timer.interval:
            return None
        return SessionInterval(timer.interval, 'local' if timer.is_local else 'remote', timer.expires)

    @property
    def offer(self) -> bytes:
        """The session description in the INVITE; empty if it had none (a late offer)."""
        request = self.usage.request
        return sdp_of(request) if request is not None else b''

    @property
    def local_sdp(self) -> bytes:
        """The session description that we sent last."""
        return self.usage.local_sdp

    @property
    def remote_sdp(self) -> bytes:
        """The session description that the peer sent last."""
        return self.usage.remote_sdp

    @property
    def remote_target(self) -> str:
        """The URI that requests inside the dialog go to: the peer's Contact (RFC 3261 12); empty without a dialog."""
        dialog = self.usage.dialog
        return dialog.remote_target if dialog is not None else ''

    @property
    def peer_name(self) -> str:
        """Who is on the other side, for texts."""
        try:
            return str(self.remote.uri)
        except ParseError:
            return '?'

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.peer_name} {self.state}>'

    # -- what the core reports

    def on_event(self, event: Event) -> None:
        """An event of our usage.  Called while the endpoint flushes: must not block."""
        kind = event.kind
        if kind == ENDED:
            self._on_ended(event)
        elif kind == REQUEST:
            self._on_request(event)
        else:
            exchange = event.exchange
            owner = exchange.owner if exchange is not None else None
            if kind == RESPONSE and event.code < 200:
                self._acknowledge(event)
            if owner is not None:
                owner.on_event(event)
            elif kind == FORKED or (kind == RESPONSE and exchange.method == 'BYE'):
                self.deliver(event)

    def _on_ended(self, event: Event) -> None:
        self._finished = event.time
        if self._unanswered:
            # 15.1.2: "It is RECOMMENDED that a 487 (Request Terminated) response be generated".
            for transaction in self._unanswered:
                if isinstance(transaction, Transfer):
                    transaction.expire(487)
                    continue
                # The core may have answered for the script, such as a re-INVITE that was cancelled.
                with suppress(WrongState):
                    self.ua.core.respond(transaction, 487, event.time)
            self._unanswered = None
        self.finish(event)
        self.ua.on_leg_ended()
        if self._closed:
            self._retire()

    def _retire(self) -> None:
        """Ended and closed: nobody will look any more.  Cuts the circles, so that nothing is left to the collector."""
        self.usage.owner = None
        self._group = None
        self._relay = None
        self._events.clear()

    def _on_request(self, event: Event) -> None:
        """12.2.2: a request inside the dialog."""
        message = event.message
        assert message is not None
        method = str(event.label)
        relay = self._relay
        if method == 'ACK':
            if relay is not None:
                relay.on_ack(self, event)
                self.show(event)
            else:
                self.deliver(event)
        elif method in ('BYE', 'CANCEL'):
            if relay is None:
                self.deliver(event)
            else:
                if method == 'CANCEL':
                    relay.on_cancel(self)
                self.show(event)
        elif relay is not None and method != 'PRACK':
            relay.on_request(self, event)
            self.show(event)
            self._note_hold(message, event.time)
        elif method == 'REFER':
            take_refer(self, event)
        elif relay is not None and method == 'PRACK':
            relay.on_prack(self, event)
            self.show(event)
        elif method in self.manual:
            if not refuse_more(self, event):
                self._unanswered = [*(self._unanswered or ()), event.exchange]
                self.deliver(event)
        else:
            answer_by_itself(self, event)
            self.deliver(event)
            self._note_hold(message, event.time)

    def _note_packages(self, message: Message | None) -> None:
        """RFC 6086 5.2.2: a re-INVITE or UPDATE, or its 2xx, may name other packages than were taken so far."""
        if self.ua.core.info_packages is not None:
            self._packages = packages_of(message) if packages_of(message) is not None else self._packages

    def _acknowledge(self, event: Event) -> None:
        """RFC 3262 5: a reliable response to an INVITE of ours that carries the offer."""
        exchange, response = event.exchange, event.message
        if self._relay is not None and self._relay.takes_offer(self):
            return
        if (isinstance(exchange, InviteRequest) and exchange.reliable is not None and exchange.reliable.auto
                and exchange.reliable.waiting and 'PRACK' not in self.manual):
            with suppress(WrongState):
                acknowledge_offer(self, response, event.time)

    @property
    def on_hold(self) -> bool:
        """Whether we have put the peer on hold."""
        return self._before_hold is not None

    @property
    def host(self) -> str:
        """Our address towards the peer, for session descriptions."""
        dialog = self.usage.dialog
        return dialog.point.advertised[0] if dialog is not None else self.ua.host

    def _note_hold(self, message: Any, now: float) -> None:
        """Tell the script when the peer puts us on hold, or takes us up again."""
        sdp = sdp_of(message)
        if not sdp:
            return
        held, before = holds(sdp), self._peer_holds
        if before is None:
            if held and holds(self._first_sdp()):
                # A call without media from its beginning: nobody is put on hold by saying so again.
                return
            before = False
        self._peer_holds = held
        if held != before:
            notice = Notice('hold' if held else 'resume', time=now, leg=self)
            if self._relay is None:
                self.deliver(notice)
            else:
                self.show(notice)

    def _first_sdp(self) -> bytes:
        """The peer's description with which the call began; empty if that is not known."""
        raise NotImplementedError

    def _tolerates(self, event: Happening) -> bool:
        # A 100 comes from the next hop and depends on its speed; ACK is one of the protocol's chores.
        label = event.label
        return isinstance(event, Notice) or label in (100, 'forked') or (
            label in ('ACK', 'PRACK') and label not in self.manual) or (
            label == 'UPDATE' and self._is_mere_refresh(event))

    def _is_mere_refresh(self, event: Any) -> bool:
        """RFC 4028 7.4: an UPDATE that changes nothing is a chore as well."""
        return 'UPDATE' not in self.manual and not event.message.body and event.message.has('Session-Expires')

    # -- verbs

    def hangup(self, reason: Any = None, *, headers: Extra = None, code: int = 480) -> None:
        """End the call, whatever its state: CANCEL, BYE, or a refusal with ``code``.

        On the wire at return, does not block: the core repeats it and waits for the answer; ``wait_ended()`` waits
        with it.  ``reason`` goes into a Reason header field (RFC 3326): ``'Q.850;cause=16'``, or any text.  Does
        nothing when the leg is over.  Whoever waits on the leg at this moment gets LocalHangup.  Raises WrongThread.
        """
        self.ua.check_thread()
        if self._ending is None:
            self._leave(code, reason_field(reason), fields_of(headers))

    def close(self) -> None:
        """End the call in the way its state asks for, and be done with it.  Never blocks, may be called twice.

        A leg of a group whose bound leg was ended by its peer passes that Reason on.  Raises WrongThread.
        """
        self.ua.check_thread()
        group = self._group
        cause = group.leg.error if self._ending is None and group is not None and group.leg is not None else None
        self._close(480, reason_of(cause))

    def lose(self) -> None:
        """End the call because another one was answered first; the Reason says so (RFC 3326 2)."""
        self.ua.check_thread()
        self._close(480, 'SIP;cause=200;text="Call completed elsewhere"')

    def replace(self, other: Leg) -> None:
        """Take the place of ``other``, which ends with Replaced: a BYE, or a CANCEL if we are its caller.

        A leg that came in and is not answered yet is answered first, going on with the session of ``other``.  Does not
        block.  Raises WrongState when ``other`` is over.
        """
        self.check()
        other.check()
        if other is self:
            raise UsageError('a leg cannot replace itself')
        if not give_way(other.usage, self.ua.clock.now()):
            raise WrongState(f'no call to replace: it is {other.usage.state}')
        other.interrupt()
        self.ua.endpoint.flush()

    def refer(self, target: Any, *, referred_by: Any = None, subscribe: bool = True, inside: bool | None = None,
              headers: Extra = None) -> Referral:
        """Ask the peer to call ``target`` (RFC 3515), and return what is told of it.  Does not block.

        ``referred_by``: who asks (RFC 3892), our side of the call if not given, False for nobody.
        ``subscribe=False``: the peer need not tell anything (RFC 4488).  ``inside``: whether the REFER goes in the
        dialog of the call; if not given, as RFC 7647 4 wants it.  The call goes on; the one who is transferred is hung
        up by us.  Raises WrongState before there is a dialog, ParseError for a target that is none, WrongThread.
        """
        return refer(self, target, referred_by, subscribe, inside, headers)

    def transfer(self, target: Any, *, timeout: float | None = None, **options: Any) -> TransferOutcome:
        """Transfer the peer to ``target``: ``refer(target, ...).outcome(timeout)`` (RFC 5589 6, a blind transfer).

        Blocks until the peer has told how that call went, or will tell no more.  Raises ResponseError if he refuses to
        be transferred, TransactionTimeout, TransportError, WaitTimeout after ``timeout`` seconds.  The call goes on:
        hang up, or talk on if it failed.
        """
        return self.refer(target, **options).outcome(timeout)

    def transfer_to(self, other: Leg, *, at: Any = None, timeout: float | None = None,
                    **options: Any) -> TransferOutcome:
        """Connect the peer with that of ``other``, whose call with us his takes the place of (RFC 5589 7.3, an attended
        transfer).

        ``at``: the URI to call, his Contact if not given; where that leads nowhere, his address of record may (7.5).
        Blocks and raises as ``transfer``; WrongState if ``other`` is not answered, UsageError if it is this call.  The
        peer of ``other`` hangs up that call himself.
        """
        if other is self:
            raise UsageError('a call cannot be connected with itself')
        return self.refer(replacing(other, at), **options).outcome(timeout)

    def _farewell(self) -> Exception:
        return self.usage.ended_by or super()._farewell()

    def abort(self, error: BaseException) -> None:
        """End the call because its script failed with ``error``: an unanswered caller gets its status, or a 500."""
        self.ua.check_thread()
        if isinstance(error, GreensipError):
            self._close(error.status, reason_of(error), error)
        else:
            self._close(500 if isinstance(error, Exception) else 480, None)

    def _close(self, code: int, reason: str | None, error: GreensipError | None = None) -> None:
        self._closed = True
        if self._ending is None:
            self._leave(code, reason, (), error)
        else:
            self._retire()

    def _leave(self, code: int, reason: str | None, headers: Sequence[tuple[str, str]],
               error: GreensipError | None = None) -> None:
        """Say goodbye as the state of the call asks for."""
        ua = self.ua
        while True:
            usage = self.usage
            state = usage.state
            try:
                if state in ('accepted', 'confirmed'):
                    usage.bye(ua.clock.now(), reason, headers)
                elif not self._give_up(code, reason, headers, error):
                    return
                break
            except WrongState:
                if self.usage.state == state:
                    raise
                # A log handler has let others run, and one of them has changed it: look again.
        self.interrupt()
        ua.endpoint.flush()

    def _give_up(self, code: int, reason: str | None, headers: Sequence[tuple[str, str]],
                 error: GreensipError | None) -> bool:
        """End a call that is not answered yet; False if that is under way already."""
        raise NotImplementedError

    def reinvite(self, sdp: Body = None, *, headers: Extra = None, body: Body = None, content_type: str | None = None,
                 timeout: float | None = None) -> Response:
        """Send a re-INVITE, wait for its final response, and return that.  The ACK follows by itself.

        Without ``sdp`` it repeats our last description (a refresh); ``sdp=b''`` asks the peer for an offer, to be
        answered with ``ack(sdp)``.  A 491 is waited out and tried again (RFC 3261 14.1).  Raises ResponseError and
        leaves the session as it was; TransactionTimeout, TransportError, LegEnded; WrongState when another
        INVITE is under way; WaitTimeout after ``timeout`` seconds, when the re-INVITE is cancelled.
        """
        self.check()
        usage, before = self.usage, self.usage.local_sdp
        data, kind = body_of(body, content_type, SDP) if body is not None else (
            before if sdp is None else sdp_bytes(sdp), check_text(content_type or SDP))
        exchange = usage.reinvite(self.ua.clock.now(), data, headers=fields_of(headers), content_type=kind)
        try:
            response = self._wait_reply(exchange, timeout)
            self._note_packages(response)
            return response
        except BaseException:
            usage.local_sdp = before
            if not exchange.done:
                exchange.cancel(self.ua.clock.now())
                self.ua.endpoint.flush()
            raise

    def ack(self, sdp: Body = b'', *, headers: Extra = None) -> None:
        """Send the ACK that a 2xx waits for: with the answer, when the 2xx carried the offer; or by
        ``manual=('ACK',)``.

        Does not block.  Raises WrongState if none waits.
        """
        self.check()
        self.usage.ack(self.ua.clock.now(), sdp_bytes(sdp), headers=fields_of(headers))
        self.ua.endpoint.flush()

    def prack(self, event: Any = None, sdp: Body = None, *, headers: Extra = None,
              timeout: float | None = None) -> Response:
        """Acknowledge a reliable provisional response (RFC 3262), wait for the final response to that, and return it.

        For scripts that have taken it over with ``manual=('PRACK',)``.  ``event`` is what ``wait_for('183')`` returned;
        without it the latest response that waits.  ``sdp`` is the answer where the response carries the offer, else
        another offer, whose answer is in what is returned.  Raises what ``request`` raises; WrongState if nothing
        waits, or where there may be no offer now (RFC 6337).
        """
        self.check()
        usage = self.usage
        response = response_of(event) if event is not None else usage.unacknowledged
        if response is None:
            raise WrongState('no reliable provisional response waits for a PRACK')
        exchange = usage.prack(response, self.ua.clock.now(), headers=fields_of(headers), body=sdp_bytes(sdp))
        return self._wait_reply(exchange, timeout)

    def hold(self, *, method: str = 'INVITE', timeout: float | None = None) -> None:
        """Put the peer on hold: a re-INVITE with ``a=sendonly`` (RFC 3264 8.4), or an UPDATE with ``method='UPDATE'``.

        Blocks until it is answered.  Raises what ``reinvite`` raises.  Does nothing when it is on hold already.
        """
        self.check()
        if self._before_hold is not None:
            return
        local = self.usage.local_sdp
        if not local:
            raise WrongState('nothing to hold: no session description has been sent in this call')
        self._change(method, hold_offer(local), timeout)
        self._before_hold = local

    def _change(self, method: str, sdp: bytes, timeout: float | None) -> None:
        if method == 'UPDATE':
            self.update(sdp, timeout=timeout)
        elif method == 'INVITE':
            self.reinvite(sdp, timeout=timeout)
        else:
            raise UsageError(f"method={method!r}: a session is changed by 'INVITE' or 'UPDATE'")

    def resume(self, *, method: str = 'INVITE', timeout: float | None = None) -> None:
        """End a hold of ours, as ``hold`` began it.  Blocks until that is answered; raises what ``reinvite`` raises."""
        self.check()
        before = self._before_hold
        if before is None:
            return
        self._change(method, resume_offer(self.usage.local_sdp, before), timeout)
        self._before_hold = None

    def update(self, sdp: Body = None, *, headers: Extra = None, timeout: float | None = None) -> Response:
        """Send an UPDATE (RFC 3311), wait for its final response, and return that.

        Also before the call is answered: with ``sdp`` as soon as a reliable response has brought the answer to our
        offer, or the PRACK ours to that of the peer; among several early dialogs in the latest (``leg.early`` has the
        others).  A 491 is waited out and tried again.  Raises what ``request`` raises, WrongState while another offer
        has no answer yet.
        """
        response = self.request('UPDATE', headers=headers, body=sdp, content_type=SDP, timeout=timeout)
        self._note_packages(response)
        return response

    def message(self, text: Body, *, content_type: str = 'text/plain', headers: Extra = None,
                timeout: float | None = None) -> Response:
        """Send a MESSAGE inside the dialog (RFC 3428), wait for its final response, and return that."""
        return self.request('MESSAGE', headers=headers, body=text, content_type=content_type, timeout=timeout)

    @property
    def info_packages(self) -> tuple[str, ...] | None:
        """The packages of INFO that the peer takes (RFC 6086 5.2); None while he has said nothing of packages."""
        if self._packages is not None:
            return self._packages
        return packages_of(self.headers.message)

    def info(self, package: str | None, body: Body = None, *, content_type: str | None = None, headers: Extra = None,
             timeout: float | None = None) -> Response:
        """Send an INFO of a package, wait for its final response, and return that (RFC 6086).

        ``package`` may have parameters; None sends an INFO of the old kind, whose meaning both sides have to know.
        Raises UsageError if the peer does not take the package, and what ``request`` raises: code 469 if he does not
        take it any more.
        """
        pairs = fields_of(headers)
        if package is not None:
            pairs = [*info_fields(package, self.info_packages), *pairs]
        return self.request('INFO', headers=pairs, body=body, content_type=content_type, timeout=timeout)

    def request(self, method: str, *, headers: Extra = None, body: Body = None, content_type: str | None = None,
                timeout: float | None = None) -> Response:
        """Send any request inside the dialog, wait for its final response, and return that.

        Raises ResponseError for a response other than 2xx, TransactionTimeout, TransportError, the leg's ending,
        WrongState when there is no dialog (yet), WaitTimeout after ``timeout`` seconds.
        """
        data, kind = body_of(body, content_type, 'text/plain')
        return self.ask(method, fields_of(headers), data, kind, timeout)

    def ask(self, method: str, headers: Sequence[tuple[str, str]], data: bytes, kind: str | None,
            timeout: float | None, dialog: Dialog | None = None) -> Response:
        """``request`` for a certain one of several early dialogs."""
        if method in ('ACK', 'BYE', 'CANCEL', 'INVITE'):
            raise UsageError(f'{method} has its own verb: ack(), hangup(), cancel(), reinvite()')
        self.check()
        exchange = self.usage.send_request(method, self.ua.clock.now(), headers=headers, body=data,
                                           content_type=kind, dialog=dialog)
        return self._wait_reply(exchange, timeout)

    def _wait_reply(self, exchange: ClientRequest, timeout: float | None) -> Response:
        """Block until ``exchange`` has its final response; raises its failure, and our ending."""
        reply = Reply(self.ua, exchange, self.peer_name)
        self.ua.endpoint.flush()
        response = wait_reply(reply, timeout, self)
        if response.code >= 300:
            raise response_error(response.code, response.reason, response)
        return response

    def subscribe(self, package: str, *, expires: int = 3600, accept: Sequence[str] | None = None,
                  event_id: str | None = None, headers: Extra = None, body: Body = None,
                  content_type: str | None = None, manual: Sequence[str] = ()) -> OutgoingSubscription:
        """Subscribe to an event package of the device that we talk to (RFC 6665 4.5).

        Inside the dialog of the call; where the peer's Contact is a GRUU, in a dialog of its own with that device, and
        with Target-Dialog (4.5.1, RFC 4538).  As ``ua.subscribe``; the subscription outlives the call.  Does not block.
        Raises the leg's ending, WrongState when there is no dialog (yet).
        """
        self.check()
        dialog, fields = self.usage.dialog, fields_of(headers)
        way: dict[str, Any] = {'within': self.usage}
        if dialog is not None and is_gruu(dialog.remote_target):
            digest = self.usage.digest()
            fields = [*fields, ('Target-Dialog', target_dialog_text(dialog))]
            way = {'from_': self.local.without_param('tag'), 'to': self.remote.without_param('tag'),
                   'contact': dialog.contact or None, 'credentials': digest.logins if digest is not None else None}
        return make_subscription(
            self.ua, dialog.remote_target if dialog is not None else '', package, self.peer_name, strict=False,
            manual=manual, headers=fields, body=body, content_type=content_type, accept=accept, expires=expires,
            event_id=event_id, **way)

    def notify(self, event: str, body: Body = None, content_type: str | None = None, *, state: str = 'active',
               headers: Extra = None, timeout: float | None = None) -> Response:
        """Send a NOTIFY inside the dialog that nobody has subscribed to, as some phones expect them; ``event`` is its
        Event, ``state`` its Subscription-State.  Blocks and raises as ``request``."""
        fields = [('Event', event), ('Subscription-State', state), *fields_of(headers)]
        return self.request('NOTIFY', headers=fields, body=body, content_type=content_type, timeout=timeout)

    def respond(self, event: Event | Transfer, code: int, *, reason: str = '', headers: Extra = None, body: Body = None,
                content_type: str | None = None, like: Any = None) -> None:
        """Answer a request that the script has asked for with ``manual=('INFO',)``.  Does not block.

        ``event`` is what ``wait_for('INFO')`` returned.  A provisional ``code`` may be followed by another one.
        Raises UsageError if the request has been answered.
        """
        self.ua.check_thread()
        if isinstance(event, Transfer):
            if event not in (self._unanswered or ()):
                raise UsageError('the REFER does not wait for an answer')
            event.respond(code, reason, headers=headers)
            return
        transaction = event.exchange
        if self._unanswered is None or transaction not in self._unanswered:
            raise UsageError(f'{event.label} does not wait for an answer')
        if code >= 200:
            self._unanswered.remove(transaction)
        answer(self.ua, transaction, code, reason, headers, body, content_type, like)
        if 200 <= code < 300 and event.label in ('INVITE', 'UPDATE'):
            self._note_packages(event.message)
        self.ua.endpoint.flush()

    def _keep(self, response: Response) -> None:
        self._latest = response
        responses = self._responses
        if responses is not None:
            responses.append(response)
            if len(responses) > RESPONSES:
                # A phone may ring for hours, or mean harm.
                del responses[0]


for _name, _needed in LATER.items():
    setattr(Leg, _name, later(_name, _needed))
