"""NOTIFY as the subscriber takes it: RFC 6665 4.1.3, and 4.4.1 for the first one, which makes the dialog.

The functions take the subscription, whose method is named where they are the body of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greensip.errors import ParseError, SubscriptionEnded
from greensip.message import Request, SubscriptionState
from greensip.transaction.layer import ServerTransaction

from .dialog import Dialog
from .event import FORKED, Event
from .soft_state import retry_delay
from .subscription import event_of

if TYPE_CHECKING:
    from .subscription_client import ClientSubscription

__all__ = ['take_first_notify', 'take_notify']


def take_notify(sub: ClientSubscription, transaction: ServerTransaction, request: Request, now: float) -> None:
    """``ClientSubscription.on_request``: 4.1.3."""
    state = state_of(request)
    if sub.method == 'REFER' and sub.event_id is None:
        # RFC 3515 2.4.6: a SUBSCRIBE for what REFER began has the id that the NOTIFYs have.
        event = event_of(request)
        sub.event_id = event.id if event is not None else None
    if sub.manual:
        transaction.user = sub
        if sub.dialog is not None:
            sub.dialog.refresh(request)
    else:
        sub.respond(transaction, 200, now)
    ended = state.state == 'terminated'
    if ended or not sub.is_unsubscribing:
        sub.stop_timer_n()
    sub.tell(request, now, transaction)
    if ended:
        _take_last(sub, state, request, now)
        return
    # A state that we do not know is one of a subscription that lives (8.2.3).
    sub.fire('NOTIFY pending' if state.state == 'pending' else 'NOTIFY active', now)
    expires = state.expires
    if expires is not None and not sub.is_unsubscribing:
        sub.lasts(expires, now)
    elif sub.expires_at is None or sub.expires_at <= now:
        sub.lasts(sub.asked or 60, now)


def _take_last(sub: ClientSubscription, state: SubscriptionState, request: Request, now: float) -> None:
    """The notifier ends it; what follows is decided by its reason."""
    reason = state.reason.lower() if state.reason is not None else None
    error = SubscriptionEnded(reason, state.retry_after, request)
    delay = retry_delay(reason, state.retry_after)
    # 4.4.3: a fetch ends with timeout, and so does what we unsubscribe from.
    if delay is not None and sub.resubscribe and sub.asked and not sub.is_unsubscribing:
        sub.established = True
        sub.begin_anew(error, delay, now)
    else:
        sub.fire('NOTIFY terminated', error, now)


def take_first_notify(sub: ClientSubscription, transaction: ServerTransaction, request: Request, now: float) -> bool:
    """``ClientSubscription.on_first_notify``: 4.4.1, a NOTIFY outside of the dialogs that we know makes a dialog.

    It has our Call-ID and tag.  False if it is not for us: another event, or another branch of a fork that nobody wants
    (4.1.4).
    """
    event = event_of(request)
    if event is None or not sub.matches(event, 'NOTIFY'):
        return False
    if sub.dialog is not None and not sub.accept_forks:
        return False
    state_of(request)
    exchange = sub.exchange
    if exchange is None or exchange.request is None:
        return False
    taker = sub
    if sub.dialog is not None:
        if sub.forks >= sub.core.settings.max_forks:
            return False
        sub.forks += 1
        taker = sub.fork()
    elif sub.accept_forks:
        sub.wait_for_forks(now)
    else:
        sub.forget_key()
    dialog = Dialog.as_uas(None, request, request.to_tag or '', exchange.home, transaction.flow)
    dialog.local_cseq = exchange.envelope.cseq
    dialog.contact = exchange.request.get('Contact') or ''
    taker.join(dialog)
    if taker is not sub:
        sub.core.events.append(Event(FORKED, sub, request, now, 0, taker))
    taker.on_request(transaction, request, now)
    return True


def state_of(request: Request) -> SubscriptionState:
    """4.1.3: "NOTIFY requests MUST contain Subscription-State header fields"."""
    state = request.value('Subscription-State')
    if not isinstance(state, SubscriptionState):
        raise ParseError('a NOTIFY without Subscription-State')
    return state
