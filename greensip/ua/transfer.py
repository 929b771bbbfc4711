"""The transferee: REFER as whoever gets it sees it (RFC 3515, 5589, 3892, 4488).

A script gets a ``Transfer`` from ``leg.wait_for('REFER')``, and makes one decision: ``accept()`` calls the target and
tells the transferor how that goes, ``reject()`` does not.  The transferor's side is in ``referral.py``; the target just
sees a call, with ``leg.replaces`` if it is to take the place of another (RFC 3891).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import ENDED, Event
from greensip.errors import (
    GreensipError,
    ParseError,
    ResponseError,
    TransactionTimeout,
    UsageError,
    WrongState,
)
from greensip.message import NameAddr, Replaces, Request, Response, SipUri, Uri, reason_phrase
from greensip.message.values import parse_replaces
from greensip.native import mypyc_attr

from .fields import Body, Extra, Pairs, fields_of
from .naming import target_leg
from .session import DISCARD, resume_offer
from .threads import ThreadBound

if TYPE_CHECKING:
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['Transfer', 'incoming_transfer', 'on_outside_refer', 'referrer_of', 'take_refer']

log: Final = logging.getLogger('greensip.ua')

SIPFRAG: Final = 'message/sipfrag;version=2.0'

#: what of 64*T1 a script may take for its decision on a REFER: after that its transferor has given up (17.1.2.2)
PATIENCE: Final = 0.75

#: REFERs of one call that may wait for the script's decision, or for the target where they are accepted by themselves
UNDECIDED: Final = 16

#: header fields that a Refer-To may put into the INVITE; the others speak for whoever sends it (RFC 3261 19.1.5)
WELCOME: Final = frozenset({
    'accept-contact', 'alert-info', 'call-info', 'in-reply-to', 'join', 'organization', 'priority', 'reject-contact',
    'replaces', 'request-disposition', 'require', 'subject', 'user-to-user',
})


@mypyc_attr(allow_interpreted_subclasses=True)
class Transfer(ThreadBound):
    """A REFER that came in: somebody wants us to call ``target``.  One decision: ``accept()`` or ``reject()``.

    Whoever is accepted has calls made in our name, and at our expense (RFC 3515 5, RFC 5589 12): look at ``target``.

    ``leg.wait_for('REFER')`` returns it, the handler of ``ua.handle('REFER', handler)`` is called with it.  Whoever
    does not decide within 24 s has refused: the transferor would give up.  ``begin()`` and ``notify()`` are for a
    script that does something else than to call.
    """

    __slots__ = ('_decided', '_outcome_known', '_patience', '_subscription', '_ua', 'code', 'error', 'exchange', 'flow',
                 'label', 'leg', 'message', 'new_leg', 'time')

    def __init__(self, ua: UserAgent, event: Event, leg: Leg | None) -> None:
        core, transaction = ua.core, event.exchange
        self._ua = ua
        #: the leg in whose call it came, or that its Target-Dialog names; None otherwise
        self.leg = leg
        #: as an event of the leg has them
        self.label: int | str = 'REFER'
        self.code = 0
        self.error: BaseException | None = None
        self.time = event.time
        self.message: Any = event.message
        self.exchange: Any = transaction
        #: the way that it came
        self.flow: Any = transaction.flow
        #: the call that ``accept()`` has made
        self.new_leg: Any = None
        self._decided = False
        self._outcome_known = False
        self._subscription = core.incoming_subscription(transaction, event.time)
        self._subscription.owner = self
        self._patience = core.timers.add(core.settings.transaction_time * PATIENCE, event.time, self, 'undecided')

    # -- what is asked for

    @property
    def request(self) -> Request:
        """The REFER."""
        request: Request = self.message
        return request

    @property
    def source(self) -> tuple[str, int]:
        """Address and port that it came from."""
        source: tuple[str, int] = self.flow.remote
        return source

    @property
    def method(self) -> str:
        """REFER."""
        return 'REFER'

    @property
    def refer_to(self) -> NameAddr:
        """Refer-To (RFC 3515 2.1)."""
        value: NameAddr = self.message.value('Refer-To')
        return value

    @property
    def target(self) -> Uri:
        """Whom to call: the URI of Refer-To without header fields and method."""
        uri = self.refer_to.uri
        if not isinstance(uri, SipUri):
            return uri
        params = [(name, value) for name, value in uri.params.items() if name.lower() != 'method']
        return SipUri(uri.user, uri.host, uri.port, params, scheme=uri.scheme, password=uri.password)

    @property
    def target_method(self) -> str:
        """What to send to the target; INVITE unless the URI says something else (RFC 3515 2.1)."""
        uri = self.refer_to.uri
        return (uri.params.get('method') or 'INVITE').upper() if isinstance(uri, SipUri) else 'INVITE'

    @property
    def fields(self) -> Pairs:
        """The header fields in the URI of Refer-To that may go into the INVITE (RFC 3261 19.1.5)."""
        return [(name, text) for name, text in self.refer_to.uri.headers if name.lower() in WELCOME]

    @property
    def replaces(self) -> Replaces | None:
        """The call of the target whose place ours is to take: an attended transfer.  Raises ParseError."""
        texts = [text for name, text in self.fields if name.lower() == 'replaces']
        return parse_replaces(texts[0]) if texts else None

    @property
    def referred_by(self) -> NameAddr | None:
        """Who asks, as he says (RFC 3892); None if he does not, or it cannot be read."""
        return referrer_of(self.message)

    @property
    def answered(self) -> bool:
        """True once the decision has been made."""
        return self._decided

    @property
    def _settled(self) -> bool:
        """Whether nothing is going on any more on account of it but a call that was answered."""
        return self._decided and (self.new_leg is None or self._outcome_known or self.new_leg.ended)

    @property
    def closed(self) -> bool:
        """True when the user agent is closed: nobody can be answered any more."""
        return self._ua.closed

    # -- the decision

    def accept(self, sdp: Body = None, *, headers: Extra = None, **options: Any) -> Any:
        """Take the transfer: call the target, tell the transferor how that goes, and return the new leg.

        Does not block: the INVITE is on its way at return.  The new leg is the script's; the NOTIFYs go out by
        themselves.  Without ``sdp`` it goes on with the session of the leg that is transferred.  ``options`` are those
        of ``ua.invite``.  The transferred leg is ended by the transferor, or by the script.

        Raises UsageError for a target that cannot be called, ParseError for one that makes no sense (the transferor
        gets a 400 then), WrongState when the decision has been made, or the transferor has given up; WrongThread.
        """
        ua, leg = self._ua, self.leg
        self._check()
        uri = self.refer_to.uri
        if not isinstance(uri, SipUri) or self.target_method != 'INVITE':
            raise UsageError(f'{self.target_method} {uri} is no call: begin(), and notify() what becomes of it')
        caller: Any = ua
        account = leg.account if leg is not None else None
        if account is not None:
            caller = account
        elif leg is not None:
            options.setdefault('from_', leg.local.without_param('tag'))
        if sdp is None and leg is not None and 'body' not in options:
            sdp = session_of(leg)
        try:
            if self.replaces is not None and any(name.lower() == 'join' for name, _ in self.fields):
                raise ParseError('Replaces and Join in one Refer-To', str(uri))
            fields = [*self.fields, *fields_of(headers)]
        except ParseError:
            self.reject(400)
            raise
        # RFC 3892 2.2: it goes on to the target as it came.
        fields += [('Referred-By', text) for text in self.message.get_all('Referred-By')[:1]]
        self.begin()
        try:
            self.new_leg = caller.invite(self.target, sdp=sdp, headers=fields, progress_to=self, **options)
        except GreensipError as error:
            self.notify(error.status)
            raise
        return self.new_leg

    def reject(self, code: int = 603, reason: str = '', *, headers: Extra = None) -> None:
        """Refuse it.  Does not block.  ``code`` 429 asks who wants it (RFC 3892 5).  Raises WrongState, WrongThread."""
        self._check()
        self._decide()
        self._subscription.reject(self._ua.clock.now(), code, reason=reason, headers=fields_of(headers))
        self._ua.endpoint.flush()

    def begin(self) -> None:
        """Take it, and leave it to the script what is done: 200, and a NOTIFY with ``100 Trying`` unless the transferor
        wants none (RFC 4488).  ``notify()`` must follow.  Does not block.  Raises WrongState, WrongThread."""
        self._check()
        self._decide()
        subscription = self._subscription
        try:
            suppressed = subscription.may_be_suppressed
        except ParseError:
            suppressed = False
        subscription.accept(self._ua.clock.now(), subscription=not suppressed)
        self._ua.endpoint.flush()

    def notify(self, code: int, reason: str = '') -> None:
        """Tell the transferor how it goes: a NOTIFY with this status; a final one is the last (RFC 3515 2.4.5).

        Does nothing if nobody is there any more who wants to know.  Does not block.  Raises WrongThread.
        """
        self._ua.check_thread()
        subscription, now = self._subscription, self._ua.clock.now()
        if not self._decided or subscription.state not in ('pending', 'active'):
            return
        body = f'SIP/2.0 {code} {reason or reason_phrase(code)}\r\n'.encode('utf-8', 'replace')
        if code < 200:
            subscription.notify(now, body, SIPFRAG)
        else:
            subscription.terminate(now, 'noresource', body=body, content_type=SIPFRAG)
        self._ua.endpoint.flush()

    def respond(self, code: int, reason: str = '', *, headers: Extra = None) -> None:
        """``begin()`` for a 2xx, ``reject()`` for a refusal; as requests of other methods have it."""
        if code < 300:
            self.begin()
        else:
            self.reject(code, reason, headers=headers)

    def _check(self) -> None:
        self._ua.check_thread()
        if self._decided:
            raise WrongState('the REFER has been answered')

    def _decide(self) -> None:
        self._decided = True
        self._patience.cancel()

    # -- what the new leg reports, while the endpoint flushes

    def pass_progress(self, response: Response) -> None:
        """The target's provisional response."""
        self.notify(response.code, response.reason)

    def pass_outcome(self, response: Response | None, error: BaseException | None) -> None:
        """The target has answered, or there is no call."""
        self._outcome_known = True
        if response is not None:
            self.notify(response.code, response.reason)
        elif isinstance(error, ResponseError):
            self.notify(error.code, error.reason)
        else:
            # 8.1.3.1: what never arrived is a 503, what was never answered a 408
            self.notify(408 if isinstance(error, TransactionTimeout) else
                        error.status if isinstance(error, GreensipError) else 500)

    def on_event(self, event: Event) -> None:
        """Of the subscription: that a NOTIFY arrived, or that nobody wants more of them.  Neither changes the call."""
        if event.kind == ENDED:
            # No circles: what is over is freed at once.
            self._subscription.owner = None

    def on_timer(self, name: str, now: float) -> None:
        """``undecided``: nobody has decided in all that time."""
        self.expire(480)

    def expire(self, code: int) -> None:
        """It is too late for a decision."""
        if not self._decided:
            self._decide()
            if not self._subscription.over:
                self._subscription.reject(self._ua.clock.now(), code)

    def __repr__(self) -> str:
        return f'<Transfer to {self.message.get("Refer-To")}>'


def session_of(leg: Any) -> bytes | None:
    """The session description with which a transferred call goes on: what we said, but for holds; None if that was
    nothing."""
    local = leg._before_hold or leg.local_sdp
    if not local or f'm=audio {DISCARD} '.encode() in local:
        return None
    try:
        return resume_offer(local, b'')
    except GreensipError:
        return None


def referrer_of(message: Any) -> NameAddr | None:
    """Referred-By of a message; None without one that can be read."""
    if message is None:
        return None
    try:
        value = message.value('Referred-By')
    except ParseError:
        return None
    return value if isinstance(value, NameAddr) else None


def take_refer(leg: Leg, event: Event) -> None:
    """A REFER in the call of ``leg``, that no bridge relays.  Called while the endpoint flushes."""
    ua = leg.ua
    transfer = incoming_transfer(ua, event, leg)
    if transfer is None:
        return
    hand_over(leg, transfer, 'ask' if 'REFER' in leg.manual else ua.refer_policy)


def incoming_transfer(ua: UserAgent, event: Event, leg: Leg | None) -> Transfer | None:
    """The Transfer of a REFER; None for one that asks for nothing that could be done, which is refused."""
    try:
        transfer = Transfer(ua, event, leg)
        transfer.refer_to.uri.headers  # noqa: B018  a URI is read only now
    except ParseError as error:
        ua.core.respond(event.exchange, error.status, event.time)
        return None
    return transfer


def hand_over(leg: Leg, transfer: Transfer, policy: str) -> None:
    """A REFER that is about this call: the script decides (``ask``), or it is refused or accepted by itself."""
    if policy in ('ask', 'accept'):
        asks = policy == 'ask'
        # Without NOTIFYs (RFC 4488) nothing else limits how many calls the peer has us make.
        waiting = [one for one in leg._unanswered or () if not (
            getattr(one, 'answered', False) if asks else isinstance(one, Transfer) and one._settled)]
        if len(waiting) >= UNDECIDED:
            transfer.reject(500, headers={'Retry-After': '10'})
            return
        leg._unanswered = [*waiting, transfer]
        if not asks:
            accept_by_itself(transfer)
    else:
        transfer.reject(603)
    leg.deliver(transfer)


def accept_by_itself(transfer: Transfer) -> None:
    """The policy ``accept``."""
    try:
        transfer.accept()
    except GreensipError as error:
        log.debug('! cannot take %r: %s', transfer, error)
        if not transfer.answered:
            transfer.reject(error.status if error.status != 500 else 603)


def on_outside_refer(ua: UserAgent, event: Event) -> Transfer | None:
    """A REFER outside of calls.  One whose Target-Dialog names a call of ours is that call's (RFC 5589 6, RFC 4538 4).

    What is left is for the handler; None if nothing is.
    """
    message: Any = event.message
    leg = target_leg(ua, message)
    transfer = incoming_transfer(ua, event, leg)
    if transfer is None or leg is None:
        return transfer
    policy = 'ask' if 'REFER' in leg.manual else ua.refer_policy
    if policy == 'refuse' and 'REFER' in ua.request_handlers:
        return transfer
    hand_over(leg, transfer, policy)
    return None
