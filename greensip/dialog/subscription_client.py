"""The subscriber's half of a subscription: RFC 6665 4.1; the issuer of a REFER: RFC 3515 2.4.4, RFC 4488, RFC 7647.

The SUBSCRIBE goes out, and timer N runs; the first NOTIFY makes the dialog, which may be before the 200 to the
SUBSCRIBE.  NOTIFYs from other branches of a fork make subscriptions of their own, if those are wanted (4.1.4).  It is
refreshed before it expires.  When the notifier ends it, what follows is decided by its reason.

    init --SUBSCRIBE--> notify_wait --NOTIFY pending--> pending --NOTIFY active--> active
      --NOTIFY terminated--> terminated

Two states are added to the RFC's figure: ``unsubscribing`` (our SUBSCRIBE with ``Expires: 0`` is out, the last NOTIFY
still to come) and ``waiting`` (to subscribe anew, the arrow "Retry-after expires" of the figure).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from greensip.errors import (
    ResponseError,
    SubscriptionEnded,
    TransactionTimeout,
    TransportError,
    Unsubscribed,
    UsageError,
    WrongState,
    response_error,
)
from greensip.fsm import Row
from greensip.message import EventValue, Request, Response
from greensip.transaction.layer import ServerTransaction
from greensip.transaction.timers import Timer

from .dialog import Dialog
from .event import FAILED, Event
from .exchange import ClientRequest, Fields
from .invite import InviteUsage
from .nobody import NOBODY
from .notify import take_first_notify, take_notify
from .outside import Destination
from .soft_state import back_off, refresh_delay, retry_after_of, seconds_in
from .states import CLOSING
from .states import TERMINATED as CALL_TERMINATED
from .subscription import FATAL, Subscription

if TYPE_CHECKING:
    from .core import Core

__all__ = [
    'ACTIVE',
    'INIT',
    'NOTIFY_WAIT',
    'PENDING',
    'TERMINATED',
    'UNSUBSCRIBING',
    'WAITING',
    'ClientSubscription',
]

INIT: Final = 'init'
NOTIFY_WAIT: Final = 'notify_wait'  # the SUBSCRIBE is out, no NOTIFY has come
PENDING: Final = 'pending'  # the notifier does not know yet whether we may
ACTIVE: Final = 'active'
UNSUBSCRIBING: Final = 'unsubscribing'  # our last SUBSCRIBE is out, the last NOTIFY is still to come
WAITING: Final = 'waiting'  # to subscribe anew
TERMINATED: Final = 'terminated'

#: so often a 423 is believed in a row
MAX_TOO_BRIEF: Final = 3
#: a subscription that lasted so many seconds was a success: the next one is not put off
LASTING: Final = 60.0
#: seconds: no expiry is believed to be later than that
LONGEST: Final = 2.0**31


# What the arrows do.  Actions get the subscription and what came with the event.


def subscribe(sub: ClientSubscription, now: float) -> None:
    """4.1.2.1, or RFC 3515 2.4.1."""
    sub.begin(now)


def establish(sub: ClientSubscription, now: float) -> None:
    """4.1.2: a new subscription."""
    sub.established = True
    if sub.since is None:
        sub.since = now


def refused(sub: ClientSubscription, error: Exception, now: float) -> None:
    """4.1.2.1: no subscription has been created."""
    sub.finish(error, now)


def gone(sub: ClientSubscription, error: Exception, now: float) -> None:
    """4.1.2.2: the notifier knows nothing of it any more, or has never answered."""
    sub.finish(error, now)


def ended_by_notifier(sub: ClientSubscription, error: Exception, now: float) -> None:
    sub.finish(error, now)


def subscribe_later(sub: ClientSubscription, delay: float, now: float) -> None:
    """4.1.3, 4.4.2: a new subscription on a new dialog."""
    sub.put_off(delay, now)


def send_unsubscribe(sub: ClientSubscription, now: float) -> None:
    """4.1.2.3."""
    sub.update(0, now)


def abandon(sub: ClientSubscription, now: float) -> None:
    """Nobody is interested any more: NOTIFYs that still come get a 481, which ends them (4.2.2)."""
    sub.finish(Unsubscribed(), now)


def unsubscribed(sub: ClientSubscription, error: Exception, now: float) -> None:
    reason = error.reason if isinstance(error, SubscriptionEnded) else None
    sub.finish(Unsubscribed(reason), now)


class ClientSubscription(Subscription):
    """The subscriber's half: 4.1.  Made by ``core.subscribe`` and ``core.refer``."""

    __slots__ = (
        '_expiry',
        '_refresh',
        '_retry',
        '_timer_n',
        '_window',
        'accept',
        'accept_forks',
        'asked',
        'attempts',
        'body',
        'content_type',
        'destination',
        'digest',
        'error',
        'established',
        'exchange',
        'expires',
        'forks',
        'headers',
        'held',
        'key',
        'manual',
        'method',
        'not_before',
        'refer_to',
        'refresh_at',
        'resubscribe',
        'since',
        'too_brief',
        'within',
    )

    role = 'subscriber'
    initial = INIT
    rows = (
        # the figure of 4.1.2
        Row(INIT, 'subscribe', NOTIFY_WAIT, subscribe),
        Row(NOTIFY_WAIT, 'NOTIFY active', ACTIVE, establish),
        Row(NOTIFY_WAIT, 'NOTIFY pending', PENDING, establish),
        Row(NOTIFY_WAIT, 'NOTIFY terminated', TERMINATED, ended_by_notifier),
        Row(NOTIFY_WAIT, 'refused', TERMINATED, refused),
        Row(NOTIFY_WAIT, 'timer N', TERMINATED, gone),
        Row(PENDING, 'NOTIFY active', ACTIVE),
        Row(PENDING, 'NOTIFY pending', PENDING),
        Row(PENDING, 'NOTIFY terminated', TERMINATED, ended_by_notifier),
        Row(PENDING, 'gone', TERMINATED, gone),
        Row(PENDING, 'timer N', TERMINATED, gone),
        Row(PENDING, 'expired', TERMINATED, gone),
        Row(ACTIVE, 'NOTIFY active', ACTIVE),
        Row(ACTIVE, 'NOTIFY pending', PENDING),
        Row(ACTIVE, 'NOTIFY terminated', TERMINATED, ended_by_notifier),
        Row(ACTIVE, 'gone', TERMINATED, gone),
        Row(ACTIVE, 'timer N', TERMINATED, gone),
        Row(ACTIVE, 'expired', TERMINATED, gone),
        # "Retry-after expires": where a new subscription is wanted
        Row(NOTIFY_WAIT, 'again', WAITING, subscribe_later),
        Row(PENDING, 'again', WAITING, subscribe_later),
        Row(ACTIVE, 'again', WAITING, subscribe_later),
        Row(WAITING, 'subscribe', NOTIFY_WAIT, subscribe),
        Row(WAITING, 'unsubscribe', TERMINATED, abandon),
        # 4.1.2.3
        Row(NOTIFY_WAIT, 'unsubscribe', TERMINATED, abandon),
        Row(PENDING, 'unsubscribe', UNSUBSCRIBING, send_unsubscribe),
        Row(ACTIVE, 'unsubscribe', UNSUBSCRIBING, send_unsubscribe),
        Row(UNSUBSCRIBING, 'NOTIFY active', UNSUBSCRIBING),
        Row(UNSUBSCRIBING, 'NOTIFY pending', UNSUBSCRIBING),
        Row(UNSUBSCRIBING, 'NOTIFY terminated', TERMINATED, unsubscribed),
        Row(UNSUBSCRIBING, 'failed', TERMINATED, unsubscribed),
        Row(UNSUBSCRIBING, 'timer N', TERMINATED, unsubscribed),
        Row(UNSUBSCRIBING, 'expired', TERMINATED, unsubscribed),
        # Not in the figure: nobody wants to know any more, and nobody is told
        Row(PENDING, 'abandon', TERMINATED, abandon),
        Row(ACTIVE, 'abandon', TERMINATED, abandon),
        Row(UNSUBSCRIBING, 'abandon', TERMINATED, abandon),
        # RFC 4488: no subscription, as we asked
        Row(NOTIFY_WAIT, 'no subscription', TERMINATED, refused),
    )

    def __init__(
        self,
        core: Core,
        where: Destination | InviteUsage,
        package: str,
        event_id: str | None = None,
        *,
        method: str = 'SUBSCRIBE',
        expires: int = 3600,
        accept: Sequence[str] = (),
        headers: Fields = (),
        body: bytes = b'',
        content_type: str | None = None,
        digest: Any = None,
        refer_to: str = '',
        accept_forks: bool = False,
        resubscribe: bool = False,
        manual: bool = False,
    ) -> None:
        super().__init__(core, package, event_id)
        destination = where if isinstance(where, Destination) else None
        within = None if isinstance(where, Destination) else where
        if within is not None and (within.dialog is None or within.state in (CLOSING, CALL_TERMINATED)):
            raise WrongState(f'no dialog to send {method} in: the call is {within.state}')
        #: SUBSCRIBE, or REFER, which only begins it
        self.method = method
        #: where it was begun: outside of dialogs, or in the dialog of a call, which it shares
        self.destination = destination
        self.within = within
        #: what is asked for, in seconds; 0 fetches the state once (4.4.3)
        self.expires = expires
        self.accept = accept
        self.headers = headers
        self.body = body
        self.content_type = content_type
        self.digest = digest
        self.refer_to = refer_to
        #: whether other branches of a fork make subscriptions of their own (4.1.4)
        self.accept_forks = accept_forks
        #: whether it is begun anew when the notifier ends it for a reason that allows that
        self.resubscribe = resubscribe and method == 'SUBSCRIBE' and within is None
        #: NOTIFYs are answered by the program
        self.manual = manual
        #: the latest SUBSCRIBE or REFER
        self.exchange: ClientRequest | None = None
        #: what that one asked for
        self.asked = expires
        #: a SUBSCRIBE that waits for the answer to the one before: its Expires
        self.held: int | None = None
        #: the key by which the NOTIFY that makes the dialog is found
        self.key: tuple[str, str] | None = None
        #: when it became a subscription, whether it has ever been one, and how often it was begun since that went well
        self.since: float | None = None
        self.established = False
        self.attempts = 0
        #: how many other branches of the fork have answered
        self.forks = 0
        self.too_brief = 0
        self.refresh_at = 0.0
        #: until when the notifier wants to be left alone (RFC 3261 20.33)
        self.not_before = 0.0
        self.error: Exception | None = None
        self._timer_n: Timer | None = None
        self._expiry: Timer | None = None
        self._refresh: Timer | None = None
        self._retry: Timer | None = None
        self._window: Timer | None = None
        core.subscriptions.living.add(self)

    # -- the user's verbs

    @property
    def request(self) -> Request | None:
        """The latest SUBSCRIBE or REFER; None while its next hop is being looked up."""
        return self.exchange.request if self.exchange is not None else None

    @property
    def call_id(self) -> str:
        """Call-ID."""
        if self.exchange is None:
            return self.dialog.call_id if self.dialog is not None else ''
        return self.exchange.envelope.call_id

    @property
    def is_unsubscribing(self) -> bool:
        """Whether our last SUBSCRIBE is out."""
        return self.state == UNSUBSCRIBING

    def start(self, now: float) -> None:
        """Send the request that begins it."""
        try:
            done = self.fire('subscribe', now)
        except Exception:
            # What was to be sent makes no request.
            self._stop_timers()
            self.forget_key()
            self.leave()
            self.core.subscriptions.living.discard(self)
            self.over = True
            raise
        if not done:
            raise WrongState(f'the subscription is {self.state}')

    def refresh(self, now: float, expires: int | None = None) -> None:
        """4.1.2.2: ask for ``expires`` seconds from now, and for the present state; what was asked for last if None.

        It is also refreshed by itself before it expires.
        """
        if self.state not in (PENDING, ACTIVE):
            raise WrongState(f'no subscription to refresh: it is {self.state}')
        if expires is not None:
            if expires <= 0:
                raise UsageError('refresh needs a positive time: unsubscribe() ends a subscription')
            self.expires = expires
        self.update(self.expires, now)

    def unsubscribe(self, now: float) -> None:
        """4.1.2.3: end it.  Before its first NOTIFY it is over at once, and that one gets a 481."""
        if not self.fire('unsubscribe', now):
            raise WrongState(f'cannot unsubscribe: the subscription is {self.state}')

    def abandon(self, now: float) -> None:
        """End it without a word: the next NOTIFY gets a 481, which ends it for the notifier too (4.2.2)."""
        if not self.over and not self.fire('abandon', now):
            self.fire('unsubscribe', now)

    def close(self, now: float) -> None:
        """Unsubscribe, if that makes sense; what REFER began is abandoned, as few take a SUBSCRIBE for that."""
        if self.over:
            return
        if self.method == 'REFER':
            self.abandon(now)
        else:
            self.fire('unsubscribe', now)

    # -- the requests

    def begin(self, now: float) -> None:
        """The SUBSCRIBE or REFER that begins it."""
        core, destination, within = self.core, self.destination, self.within
        self.attempts += 1
        self.too_brief = 0
        self.since = None
        self.held = None
        self.asked = self.expires
        fields = self._fields(self.expires)
        if within is not None:
            dialog = within.dialog
            assert dialog is not None
            self.join(dialog)
            exchange = self._inside(fields, dialog, self.body)
        else:
            assert destination is not None
            exchange = destination.request(
                core, self.method, self, 1, fields, self.body, self.content_type, self.digest
            )
            destination.call_id = destination.from_tag = None
            envelope = exchange.envelope
            tag = envelope.from_.rpartition(';tag=')[2]
            self.key = (envelope.call_id, tag)
            core.subscriptions.awaited[self.key] = self
        self._send(exchange, now)

    def update(self, expires: int, now: float) -> None:
        """A SUBSCRIBE in the subscription's dialog; one at a time."""
        if self.exchange is not None and not self.exchange.done:
            self.held = expires
            return
        dialog = self.dialog
        assert dialog is not None
        self.asked = expires
        self.held = None
        self._send(self._inside(self._fields(expires, refresh=True), dialog, b'', 'SUBSCRIBE'), now)

    def _inside(self, fields: Fields, dialog: Dialog, body: bytes, method: str = '') -> ClientRequest:
        digest = self.within.digest() if self.within is not None and self.digest is None else self.digest
        method = method or self.method
        return ClientRequest(
            self.core,
            method,
            self,
            dialog.envelope(),
            fields,
            body,
            self.content_type if body else None,
            dialog.contact,
            dialog.point,
            dialog,
            digest,
        )

    def _fields(self, expires: int, *, refresh: bool = False) -> Fields:
        if self.method == 'REFER' and not refresh:
            return [('Refer-To', self.refer_to), *self.headers]
        fields = [('Event', self.event), ('Expires', str(expires))]
        if self.accept:
            fields.append(('Accept', ', '.join(self.accept)))
        if self.method != 'REFER':
            fields.extend(self.headers)
        return fields

    def _send(self, exchange: ClientRequest, now: float) -> None:
        self.exchange = exchange
        self._stop(self._timer_n)
        # 4.1.2.4: timer N
        self._timer_n = self.core.timers.add(self.core.settings.transaction_time, now, self, 'N')
        exchange.start(now)

    # -- what comes in

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """A response to our SUBSCRIBE or REFER."""
        code = response.code
        if code < 200 or exchange is not self.exchange or self.over:
            return
        if code == 423 and self._asks_longer(exchange, response, now):
            return
        self.tell(response, now, exchange)
        if code < 300:
            self._accepted(exchange, response, now)
        else:
            self._failed(response_error(code, response.reason, response), code in FATAL, now)
        if self.held is not None and not self.over and self.exchange is exchange and self.dialog is not None:
            self.update(self.held, now)

    def _accepted(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """4.1.2.1: a NOTIFY will be sent immediately.  Any 2xx counts as 200 (RFC 6665 8.3.1, RFC 7647 5)."""
        self.too_brief = 0
        if exchange.dialog is not None:
            exchange.dialog.refresh(response)
        if exchange.method == 'REFER':
            value = (response.get('Refer-Sub') or '').partition(';')[0].strip().lower()
            if value == 'false' and self._suppresses():
                self.fire('no subscription', SubscriptionEnded('norefersub', message=response), now)
            return
        if response.code == 204:
            # RFC 5839: no NOTIFY will follow.
            self.stop_timer_n()
        granted = seconds_in(response, 'Expires')
        # 4.2.1.1: "the server MAY shorten the interval but MUST NOT lengthen it"
        expires = self.asked if granted is None else min(granted, self.asked)
        if expires > 0 and self.state != UNSUBSCRIBING:
            self.lasts(expires, now)

    def _suppresses(self) -> bool:
        """RFC 4488 4: whether we asked that there be no subscription."""
        return any(
            name.lower() == 'refer-sub' and text.strip().lower().startswith('false') for name, text in self.headers
        )

    def _asks_longer(self, exchange: ClientRequest, response: Response, now: float) -> bool:
        """21.4.17: ask again for the time that the notifier wants at least; False if that is hopeless."""
        least = seconds_in(response, 'Min-Expires')
        if least is None or least <= self.asked or self.asked == 0 or self.too_brief >= MAX_TOO_BRIEF:
            return False
        self.too_brief += 1
        self.expires = self.asked = least
        exchange.headers = [(name, str(least) if name == 'Expires' else text) for name, text in exchange.headers]
        exchange.done = False
        exchange.response = None
        exchange.next_attempt(now)
        return True

    def _failed(self, error: Exception, fatal: bool, now: float) -> None:
        """4.1.2.1, 4.1.2.2: what a failure means depends on how far the subscription is."""
        self.stop_timer_n()
        wanted = retry_after_of(error)
        self.not_before = now + wanted
        if self.state == NOTIFY_WAIT:
            self._end('refused', error, now)
        elif self.state == UNSUBSCRIBING:
            # Where the last SUBSCRIBE is still to go, it was only the one before.
            if fatal or self.held is None:
                self.fire('failed', error, now)
        elif fatal:
            self._end('gone', error, now)
        elif self.expires_at is not None:
            # It lasts as long as it was to last before; until then we may try again, if the notifier does not mind.
            left = self.expires_at - now
            self._refresh_in(max(left / 2 if left > 2.0 else left + 1.0, wanted), now)

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """No response to our SUBSCRIBE or REFER."""
        if exchange is not self.exchange or self.over:
            return
        self.core.events.append(Event(FAILED, self, None, now, 0, exchange, error))
        if isinstance(error, TransactionTimeout) and self.state in (PENDING, ACTIVE) and self._timer_n is not None:
            # "Re-subscription times out" (4.1.2): timer N is due too, unless a NOTIFY has come meanwhile.
            self._end('timer N', error, now)
        else:
            self._failed(error, False, now)
        if self.held is not None and not self.over and self.exchange is exchange and self.dialog is not None:
            self.update(self.held, now)

    def matches(self, event: EventValue, method: str) -> bool:
        if method != 'NOTIFY' or event.package != self.package:
            return False
        if self.method != 'REFER':
            return event.id == self.event_id
        # RFC 3515 2.4.6: for the first REFER of a dialog the id may be missing.
        return event.id is None or (self.exchange is not None and event.id == self._refer_id())

    def _refer_id(self) -> str:
        if self.event_id is not None:
            return self.event_id
        assert self.exchange is not None
        return str(self.exchange.envelope.cseq)

    def on_request(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """4.1.3: a NOTIFY."""
        take_notify(self, transaction, request, now)

    def on_first_notify(self, transaction: ServerTransaction, request: Request, now: float) -> bool:
        """4.4.1: a NOTIFY that may make a dialog; False if it is not for us."""
        return take_first_notify(self, transaction, request, now)

    def fork(self) -> ClientSubscription:
        """4.1.4: another branch of the fork is a subscription with a machine of its own."""
        assert self.destination is not None
        sub = ClientSubscription(
            self.core,
            self.destination,
            self.package,
            self.event_id,
            method=self.method,
            expires=self.expires,
            accept=self.accept,
            headers=self.headers,
            digest=self.digest,
            refer_to=self.refer_to,
            manual=self.manual,
        )
        sub.asked = self.asked
        sub.state, sub.arrows = NOTIFY_WAIT, sub.tables[NOTIFY_WAIT]
        return sub

    # -- time

    def stop_timer_n(self) -> None:
        """4.1.2.4: the NOTIFY that it waits for has come, or will not."""
        self._stop(self._timer_n)
        self._timer_n = None

    def wait_for_forks(self, now: float) -> None:
        """4.1.2.4: NOTIFYs from other branches may follow until timer N would fire."""
        self._window = self.core.timers.add(self.core.settings.transaction_time, now, self, 'forks')

    def lasts(self, expires: int, now: float) -> None:
        """The notifier has said for how long."""
        seconds = min(float(expires), LONGEST)
        if self.method == 'REFER':
            # It is the notifier who says when that is over, and he may be late: few SUBSCRIBE to extend it.
            seconds += self.core.settings.transaction_time
        self.expires_at = now + seconds
        if self._expiry is None or self._expiry.deadline > self.expires_at + 1.0 or self._expiry.target is None:
            self._stop(self._expiry)
            self._expiry = self.core.timers.add(seconds, now, self, 'expired')
        if self.asked and seconds and self.method != 'REFER':
            self._refresh_in(refresh_delay(seconds), now)

    def _refresh_in(self, seconds: float, now: float) -> None:
        """A timer that is to fire later is left alone and set again when it fires: NOTIFYs may come often."""
        self.refresh_at = now + seconds
        timer = self._refresh
        if timer is None or timer.target is None or timer.deadline > self.refresh_at + 1.0:
            self._stop(timer)
            self._refresh = self.core.timers.add(seconds, now, self, 'refresh')

    def on_timer(self, name: str, now: float) -> None:
        """``N``, ``expired``, ``refresh``, ``again``."""
        if name == 'N':
            self._timer_n = None
            self._on_timer_n(now)
        elif name == 'expired':
            self._expiry = None
            if self.expires_at is not None and self.expires_at > now + 0.001:
                self._expiry = self.core.timers.add(self.expires_at - now, now, self, 'expired')
            else:
                self._end('expired', SubscriptionEnded('timeout'), now)
        elif name == 'refresh':
            self._refresh = None
            if self.refresh_at > now + 0.001:
                self._refresh_in(self.refresh_at - now, now)
            elif self.state in (PENDING, ACTIVE) and (self.exchange is None or self.exchange.done):
                self.update(self.expires, now)
        elif name == 'forks':
            self._window = None
            self.forget_key()
        elif name == 'again':
            self._retry = None
            self.fire('subscribe', now)

    def _on_timer_n(self, now: float) -> None:
        exchange = self.exchange
        if self.state in (NOTIFY_WAIT, PENDING, ACTIVE, UNSUBSCRIBING) and exchange is not None:
            # Timer N belongs to the last attempt: with credentials, to another server, or still to be sent.
            sent = exchange.transaction.started if exchange.transaction is not None else now
            left = sent + self.core.settings.transaction_time - now
            if left > 0.001:
                self._timer_n = self.core.timers.add(left, now, self, 'N')
                return
        self._end('timer N', TransactionTimeout('no NOTIFY within 64*T1 of the SUBSCRIBE'), now)

    def _end(self, event: str, error: Exception, now: float) -> None:
        """It failed, or ran out: the end, unless it is to be begun anew."""
        passing = not isinstance(error, ResponseError) or error.code in (408, 480, 481, 500, 502, 503, 504)
        if self.resubscribe and self.established and passing and self.state in (NOTIFY_WAIT, PENDING, ACTIVE):
            self.begin_anew(error, 0.0, now)
        else:
            self.fire(event, error, now)

    def begin_anew(self, error: Exception, delay: float, now: float) -> None:
        """Begin it anew after ``delay`` seconds; longer if the notifier wants that, or it has happened often lately."""
        delay = max(delay, self.not_before - now)
        if self.since is not None and now - self.since >= LASTING:
            self.attempts = 0
        if self.attempts > 1:
            delay = max(delay, back_off(self.attempts, self.core.random.getrandbits(10) / 1024))
        self.error = error
        if isinstance(error, TransportError) and self.destination is not None:
            # The flow that it was to take is gone: the URI may still lead there.
            self.destination.flow = None
        self.fire('again', delay, now)

    def put_off(self, delay: float, now: float) -> None:
        """Forget the dialog, and wait."""
        self._stop_timers()
        self.forget_key()
        self.leave()
        self.dialog = None
        self.exchange = None
        self.expires_at = None
        self.since = None
        self._retry = self.core.timers.add(delay, now, self, 'again')

    # -- the end

    def finish(self, error: Exception, now: float) -> None:
        self._stop_timers()
        self.forget_key()
        self.error = error
        if self.exchange is not None:
            # What is still answered is nobody's business, and no circle is left.
            self.exchange.subject = NOBODY
        super().finish(error, now)

    def forget_key(self) -> None:
        """No NOTIFY makes a dialog of it any more."""
        key, self.key = self.key, None
        if key is not None and self.core.subscriptions.awaited.get(key) is self:
            del self.core.subscriptions.awaited[key]

    def _stop_timers(self) -> None:
        self._stop(self._timer_n)
        self._stop(self._expiry)
        self._stop(self._refresh)
        self._stop(self._retry)
        self._stop(self._window)
        self._timer_n = self._expiry = self._refresh = self._retry = self._window = None

    def _stop(self, timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()
