"""Transfers: REFER as a script sees it (RFC 3515, 5589, 3892, 4488, 7647), and calls that name another call.

Three roles.  The **transferor** says ``leg.transfer(uri)`` or ``leg.transfer_to(other_leg)`` and gets a
``TransferOutcome``, made of what the NOTIFYs tell; ``leg.refer(uri)`` gives the ``Referral`` without waiting.  The
**transferee** gets a ``Transfer`` from ``leg.wait_for('REFER')``, and makes one decision: ``accept()`` calls the target
and tells the transferor how that goes, ``reject()`` does not.  The **target** sees a call, with ``leg.replaces`` if it
is to take the place of another (RFC 3891).

**Inside or outside.**  RFC 7647 4 wants a REFER outside of the call's dialog, with Target-Dialog (RFC 4538), where the
peer has a GRUU for its Contact; towards all others it goes inside, which is what nearly everybody understands.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from greensip.body.dialog_info import DialogState
from greensip.dialog.event import ENDED, REQUEST, Event
from greensip.dialog.replaces import find_target_dialog, replaces_text, target_dialog_text
from greensip.dialog.subscription import status_of
from greensip.errors import (
    GreensipError,
    ParseError,
    ResponseError,
    TransactionTimeout,
    UsageError,
    WaitTimeout,
    WrongState,
)
from greensip.message import (
    NameAddr,
    Replaces,
    Request,
    Response,
    SipUri,
    Uri,
    parse_name_addr,
    parse_uri,
    reason_phrase,
)
from greensip.message.headers import HEADERS
from greensip.message.values import parse_replaces
from greensip.native import mypyc_attr

from .fields import Body, Extra, Pairs, fields_of
from .identity import bare, next_history, with_headers
from .mailbox import ENDED as LEG_ENDED
from .mailbox import Mailbox, Watch, fresh, wait_on
from .pattern import compile_patterns
from .session import DISCARD, resume_offer
from .threads import ThreadBound

if TYPE_CHECKING:
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['Referral', 'Transfer', 'TransferOutcome', 'history_fields', 'incoming_transfer', 'naming_fields',
           'on_outside_refer', 'refer', 'refer_outside', 'take_refer']

log = logging.getLogger('greensip.ua')

SIPFRAG = 'message/sipfrag;version=2.0'

#: seconds for which NOTIFYs are waited for after the call is over in whose dialog they come
GRACE = 4.0

#: what of 64*T1 a script may take for its decision on a REFER: after that its transferor has given up (17.1.2.2)
PATIENCE = 0.75

#: REFERs of one call that may wait for the script's decision
UNDECIDED = 16

#: header fields that a Refer-To may put into the INVITE; the others speak for whoever sends it (RFC 3261 19.1.5)
WELCOME = frozenset({
    'accept-contact', 'alert-info', 'call-info', 'in-reply-to', 'join', 'organization', 'priority', 'reject-contact',
    'replaces', 'request-disposition', 'require', 'subject', 'user-to-user',
})

_TOLD = compile_patterns(('NOTIFY', 'ended'))


# The INVITE that names another call


def naming_fields(replaces: Any, joins: Any) -> Pairs:
    """The header fields of an INVITE that is to replace or to join a call of the one called.

    With Require, so that who does not know them refuses the call and does not ring (RFC 3891 6.2).
    """
    if replaces is not None and joins is not None:
        raise UsageError('a call can replace another one or join it, not both')
    name, named = ('Replaces', replaces) if replaces is not None else ('Join', joins)
    return ((name, name_of(named)), ('Require', name.lower()))


def name_of(named: Any) -> str:
    """A Replaces or Join value: that of our leg with the one called, or as it is given.

    A ``DialogState`` of the dialog package names a call of somebody else's with the one called; one that rings is to
    be picked up, so it must not be answered meanwhile (RFC 3891 7.1).
    """
    if isinstance(named, Mailbox):
        return replaces_text(dialog_of(named))
    if isinstance(named, DialogState):
        if not (named.call_id and named.local_tag and named.remote_tag):
            raise UsageError(f'a dialog that is {named.state} and has no tags cannot be named')
        early = ';early-only' if named.state in ('trying', 'proceeding', 'early') else ''
        return f'{named.call_id};to-tag={named.remote_tag};from-tag={named.local_tag}{early}'
    text = str(named)
    HEADERS['Replaces'].type.parse(text)
    return text


def dialog_of(leg: Any) -> Any:
    """The dialog of a leg; raises UsageError if it has none."""
    dialog = leg.usage.dialog
    if dialog is None:
        raise UsageError(f'{leg!r} has no dialog that could be named')
    return dialog


def history_fields(target: Uri, history: Any) -> Pairs:
    """The History-Info of a call (RFC 7044), and the option tag that asks for what the peers know of it."""
    before: Any = None
    if isinstance(history, Mailbox):
        leg: Any = history
        request, error = leg.invite, leg.error
        if request is None:
            raise UsageError(f'{history!r} has no INVITE whose history could go on')
        refusal = error.response if isinstance(error, ResponseError) else None
        before = (request, refusal) if isinstance(refusal, Response) else request
    return (*next_history(target, before), ('Supported', 'histinfo'))


# The transferor


class TransferOutcome(NamedTuple):
    """What became of a transfer.

    ``code`` and ``reason`` are those of the last NOTIFY; those of the response to the REFER, such as 200, if no NOTIFY
    has told anything.  ``final``: whether the last NOTIFY told a final status.  ``error``: why there were no more
    NOTIFYs, or None.
    """

    code: int
    reason: str
    final: bool
    error: BaseException | None = None

    @property
    def ok(self) -> bool:
        """Whether the target has answered."""
        return self.final and 200 <= self.code < 300


@mypyc_attr(allow_interpreted_subclasses=True)
class Referral(Mailbox):
    """A REFER of ours, and what is told of it: a mailbox of NOTIFYs.  ``leg.refer()`` and ``ua.refer()`` return it.

    ``wait_for('NOTIFY')`` gives them one by one; ``code`` and ``reason`` are the latest that was told.  It ends with
    SubscriptionEnded, with the refusal of the REFER (ResponseError), or with what kept it from arriving.
    """

    __slots__ = ('_accepted', '_leg', '_name', 'code', 'final', 'reason', 'subscription')

    def __init__(self, ua: UserAgent, subscription: Any, leg: Leg | None, name: str) -> None:
        super().__init__(ua)
        #: the core's half
        self.subscription = subscription
        subscription.owner = self
        self._leg = leg
        self._name = name
        self._accepted = False
        self.code = 0
        self.reason = ''
        #: whether ``code`` is the final status of what was asked for
        self.final = False

    @property
    def peer_name(self) -> str:
        return self._name

    def on_event(self, event: Event) -> None:
        """From the core.  Called while the endpoint flushes: must not block."""
        if event.kind == ENDED:
            self.finish(event)
            return
        message: Any = event.message
        if event.kind == REQUEST:
            self._accepted = True
            status = status_of(message.body)
            if status is not None:
                self.code, self.reason = status
                self.final = self.code >= 200
            self.deliver(event)
        elif isinstance(message, Response) and message.cseq.method == 'REFER' and event.code >= 200:
            self._accepted = event.code < 300
            if not self.code:
                self.code, self.reason = event.code, message.reason
            self.deliver(event)

    def __iter__(self) -> Iterator[TransferOutcome]:
        """What each NOTIFY tells, up to the last one: ``for step in referral: print(step.code)``.  Each step blocks.

        NOTIFYs without a status are left out.  Raises the refusal of the REFER, and what kept it from arriving.
        """
        while True:
            event = self.wait_for('NOTIFY', 'ended')
            if event.label == 'ended':
                if not self._accepted:
                    raise fresh(event.error)
                return
            status = status_of(event.message.body)
            if status is not None:
                yield TransferOutcome(*status, status[0] >= 200)
                if status[0] >= 200:
                    return

    def outcome(self, timeout: float | None = None) -> TransferOutcome:
        """Block until the outcome is known, and return it.

        That is when a NOTIFY tells a final status, or when there will be no more: its subscription is over, or the call
        is and four seconds have passed.  Raises the refusal of the REFER (ResponseError), TransactionTimeout and
        TransportError if it has not arrived, WaitTimeout after ``timeout`` seconds.
        """
        clock = self._engine.clock
        until = None if timeout is None else clock.now() + timeout
        leg: Any = self._leg
        grace = False
        while not self.final and not self.ended:
            told = Watch(self, _TOLD)
            told.strict = False
            watches = [told]
            if leg is not None:
                watches.append(Watch(leg, LEG_ENDED))
                watches[1].strict = False
            try:
                found = wait_on(watches, None if until is None else until - clock.now())
            except WaitTimeout:
                self.close()
                if grace:
                    break
                raise
            except BaseException:
                self.close()
                raise
            if found is not told:
                leg = None
                if until is None or clock.now() + GRACE < until:
                    until, grace = clock.now() + GRACE, True
        error = self.error
        if error is not None and not self._accepted:
            raise fresh(error)
        return TransferOutcome(self.code, self.reason, self.final, error)

    def close(self) -> None:
        """Want to know no more: further NOTIFYs get a 481.  Does not block; what the peer does is not undone."""
        if not self.ended:
            self.subscription.close(self._engine.clock.now())
            engine: Any = self._engine
            engine.endpoint.flush()

    def __repr__(self) -> str:
        return f'<Referral of {self._name} {self.code or ""}>'


def address_text(target: Any) -> str:
    """A Refer-To or Referred-By value: always with angle brackets, as URIs in it may have header fields (25.1)."""
    if isinstance(target, NameAddr):
        return str(target)
    text = str(target).strip()
    return str(parse_name_addr(text)) if '<' in text else f'<{parse_uri(text)}>'


def refer_fields(referred_by: Any, own: Any, headers: Extra) -> list[tuple[str, str]]:
    """The header fields of a REFER; ``referred_by`` is False for none, None for our own address (RFC 3892)."""
    fields = list(fields_of(headers))
    if referred_by is None:
        referred_by = own
    if referred_by is not False and referred_by is not None:
        fields.append(('Referred-By', address_text(referred_by)))
    return fields


def refer(leg: Leg, target: Any, referred_by: Any, subscribe: bool, inside: bool | None, headers: Extra) -> Referral:
    """``leg.refer()``."""
    leg.check()
    ua, usage = leg.ua, leg.usage
    dialog = usage.dialog
    if dialog is None:
        raise WrongState('nobody to transfer yet: the call has no dialog')
    own = leg.local.uri
    fields = refer_fields(referred_by, f'<{own}>', headers)
    now = ua.clock.now()
    refer_to = address_text(target)
    if inside is None:
        # RFC 7647 4; RFC 4538 3: only if the peer is known to understand it
        inside = not (is_gruu(dialog.remote_target) and 'tdialog' in tags_of(leg.headers.message))
    if inside:
        subscription = ua.core.refer(refer_to, now, within=usage, subscribe=subscribe, headers=fields)
    else:
        fields += [('Target-Dialog', target_dialog_text(dialog)), ('Require', 'tdialog')]
        options: dict[str, Any] = {'contact': dialog.contact or None}
        account = leg.account
        if account is not None:
            options = account.options_for(dialog.remote_target)
        else:
            digest = usage.digest()
            if digest is not None:
                options['credentials'] = digest.logins
        options['from_'] = leg.local.without_param('tag')
        subscription = ua.core.refer(refer_to, now, uri=dialog.remote_target, to=leg.remote.without_param('tag'),
                                     subscribe=subscribe, headers=[*fields, *options.pop('headers', ())], **options)
    referral = Referral(ua, subscription, leg, leg.peer_name)
    ua.endpoint.flush()
    return referral


def refer_outside(ua: UserAgent, uri: Any, target: Any, referred_by: Any, subscribe: bool, leg: Any, headers: Extra,
                  options: dict[str, Any]) -> Referral:
    """``ua.refer()``; ``options`` are those of ``Core.refer``."""
    fields = refer_fields(referred_by, f'<{bare(parse_name_addr(str(options["from_"])).uri)}>', headers)
    if leg is not None:
        fields += [('Target-Dialog', target_dialog_text(dialog_of(leg))), ('Require', 'tdialog')]
    subscription = ua.core.refer(address_text(target), ua.clock.now(), uri=uri, subscribe=subscribe, headers=fields,
                                 **options)
    referral = Referral(ua, subscription, None, str(uri))
    ua.endpoint.flush()
    return referral


def replacing(leg: Any, at: Any = None) -> NameAddr:
    """Refer-To of an attended transfer (RFC 5589 7.3): the peer of ``leg``, to be called in place of our call with him,
    ``at`` this URI or at his Contact."""
    leg.check()
    if leg.state not in ('confirmed', 'held'):
        # RFC 3891 3: an early dialog that the target has not initiated cannot be replaced; RFC 5589 7.6.
        raise WrongState(f'transfer to whom? {leg!r} is not answered: cancel it, and transfer(uri)')
    dialog = dialog_of(leg)
    uri = parse_name_addr(address_text(at if at is not None else dialog.remote_target)).uri
    if not isinstance(uri, SipUri):
        raise UsageError(f'{uri} cannot be called')
    return NameAddr(None, with_headers(uri, [('Replaces', replaces_text(dialog)), ('Require', 'replaces')]))


def is_gruu(uri_text: str) -> bool:
    """RFC 5627 3: whether a URI is a GRUU."""
    try:
        return 'gr' in parse_uri(uri_text).params
    except ParseError:
        return False


def tags_of(message: Any) -> list[str]:
    """The option tags that a message's sender supports."""
    if message is None:
        return []
    try:
        return [tag.lower() for tag in message.supported]
    except ParseError:
        return []


# The transferee


@mypyc_attr(allow_interpreted_subclasses=True)
class Transfer(ThreadBound):
    """A REFER that came in: somebody wants us to call ``target``.  One decision: ``accept()`` or ``reject()``.

    Whoever is accepted has calls made in our name, and at our expense (RFC 3515 5, RFC 5589 12): look at ``target``.

    ``leg.wait_for('REFER')`` returns it, the handler of ``ua.handle('REFER', handler)`` is called with it.  Whoever
    does not decide within 24 s has refused: the transferor would give up.  ``begin()`` and ``notify()`` are for a
    script that does something else than to call.
    """

    __slots__ = ('_decided', '_patience', '_subscription', '_ua', 'code', 'error', 'exchange', 'flow', 'label', 'leg',
                 'message', 'new_leg', 'time')

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

    def on_timer(self, name: str, now: float) -> None:
        """``undecided``: nobody has decided in all that time."""
        self.expire(480)

    def expire(self, code: int) -> None:
        """It is too late for a decision."""
        if not self._decided:
            self._decide()
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
    leg._deliver_transfer(transfer, 'ask' if 'REFER' in leg.manual else ua.refer_policy)


def incoming_transfer(ua: UserAgent, event: Event, leg: Leg | None) -> Transfer | None:
    """The Transfer of a REFER; None for one that asks for nothing that could be done, which is refused."""
    try:
        transfer = Transfer(ua, event, leg)
        transfer.refer_to.uri.headers  # noqa: B018  a URI is read only now
    except ParseError as error:
        ua.core.respond(event.exchange, error.status, event.time)
        return None
    return transfer


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
    dialog = find_target_dialog(ua.core, message)
    leg: Any = getattr(dialog.usage, 'owner', None) if dialog is not None else None
    transfer = incoming_transfer(ua, event, leg)
    if transfer is None or leg is None:
        return transfer
    policy = 'ask' if 'REFER' in leg.manual else ua.refer_policy
    if policy == 'refuse' and 'REFER' in ua._request_handlers:
        return transfer
    leg._deliver_transfer(transfer, policy)
    return None
