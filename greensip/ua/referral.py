"""The transferor: REFER as whoever sends it sees it (RFC 3515, 3892, 4488, 7647), and what is told of it.

``leg.transfer(uri)`` and ``leg.transfer_to(other_leg)`` give a ``TransferOutcome``, made of what the NOTIFYs tell;
``leg.refer(uri)`` and ``ua.refer(who, uri)`` give the ``Referral`` without waiting.  The other side is in
``transfer.py``.

**Inside or outside.**  RFC 7647 4 wants a REFER outside of the call's dialog, with Target-Dialog (RFC 4538), where the
peer has a GRUU for its Contact; towards all others it goes inside, which is what nearly everybody understands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greensip.dialog.event import ENDED, REQUEST, Event
from greensip.dialog.replaces import replaces_text, target_dialog_text
from greensip.dialog.subscription import status_of
from greensip.errors import ParseError, Unsubscribed, UsageError, WaitTimeout, WrongState
from greensip.message import NameAddr, Response, SipUri, parse_name_addr, parse_uri
from greensip.native import mypyc_attr

from .fields import Extra, fields_of
from .identity import bare, with_headers
from .mailbox import ENDED as LEG_ENDED
from .mailbox import Mailbox, Watch, fresh, wait_on
from .naming import dialog_of
from .pattern import Matcher

if TYPE_CHECKING:
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['Referral', 'TransferOutcome', 'is_gruu', 'refer', 'refer_outside', 'replacing']

#: seconds for which NOTIFYs are waited for after the call is over in whose dialog they come
GRACE: Final = 4.0

_TOLD: Final = Matcher(('NOTIFY', 'ended'), 'outcome')


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
            # No circles: what is over is freed at once.
            self.subscription.owner = None
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
        TransportError if it has not arrived, the ending of the call if that came before its answer, WaitTimeout after
        ``timeout`` seconds.
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
                found = wait_on(watches, None if until is None else until - clock.now(), asked=timeout)
            except WaitTimeout:
                self.close()
                if grace and until is not None and clock.now() >= until:
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
            if grace and isinstance(error, Unsubscribed) and self._leg is not None:
                # The REFER has no answer, and the call in which it went is over.
                error = self._leg.error or error
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
