"""Subscriptions as a script sees them: RFC 6665 with blocking verbs.

    with ua.subscribe('sip:alice@example.com', 'message-summary') as events:
        for notify in events:
            print(notify.body)

A subscription is a mailbox as a leg is.  What is waited for: ``'NOTIFY'``, ``'active'``, ``'pending'``, the codes of
the responses to our SUBSCRIBE, ``'forked'``, ``'ended'``.  Leaving its ``with`` block ends it, without blocking.  The
other side is in ``incoming_subscription.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import ENDED, FORKED, REQUEST, RESPONSE, Event
from greensip.dialog.subscription import Subscription
from greensip.dialog.subscription_client import ClientSubscription
from greensip.errors import (
    LocalHangup,
    ParseError,
    SubscriptionEnded,
    UsageError,
    WrongState,
)
from greensip.message import Request, Uri
from greensip.native import mypyc_attr

from .fields import Body, Extra, body_of, fields_of
from .mailbox import Mailbox, Notice
from .notification import CONTENT_TYPES, Notification
from .threads import Carrier
from .whole import PARTIAL_PACKAGES, Whole

if TYPE_CHECKING:
    from .agent import UserAgent

__all__ = ['OutgoingSubscription', 'Watching', 'make_subscription']

log: Final = logging.getLogger('greensip.ua')

#: seconds before the whole state is asked for again: a notifier that cannot count is not to be asked all the time
PATIENCE: Final = 32.0


@mypyc_attr(allow_interpreted_subclasses=True)
class Watching(Mailbox):
    """What both sides of a subscription share."""

    __slots__ = ('_closed', '_unread', 'data', 'subscription', 'ua')

    def __init__(self, ua: UserAgent, subscription: Subscription, *, strict: bool = False) -> None:
        super().__init__(ua, strict=strict)
        #: the user agent that it belongs to
        self.ua = ua
        #: the core's half
        self.subscription: Any = subscription
        subscription.owner = self
        #: free for the script
        self.data: Any = None
        self._closed = False
        #: nobody reads the mailbox: only what somebody waits for at the moment is put there
        self._unread = False

    @property
    def package(self) -> str:
        """The event package."""
        package: str = self.subscription.package
        return package

    @property
    def event_id(self) -> str | None:
        """The ``id`` of the Event header field."""
        found: str | None = self.subscription.event_id
        return found

    @property
    def state(self) -> str:
        """As in the figures of RFC 6665 4.1.2 and 4.2.2: ``notify_wait``, ``resp_wait``, ``pending``, ``active``,
        ``terminated``; ``unsubscribing`` and ``terminating`` on the way there, ``waiting`` to subscribe anew."""
        state: str = self.subscription.state
        return state

    @property
    def expires(self) -> int:
        """Whole seconds until it expires; 0 if that is not known."""
        left: int = self.subscription.remaining(self.ua.clock.now())
        return left

    @property
    def call_id(self) -> str:
        """Call-ID."""
        call_id: str = self.subscription.call_id
        return call_id

    @property
    def request(self) -> Request | None:
        """The SUBSCRIBE or REFER that began it, or the latest one that we sent."""
        request: Request | None = self.subscription.request
        return request

    def on_event(self, event: Event) -> None:
        """From the core."""
        if event.kind == ENDED:
            self.finish(event)
            self.ua.on_leg_ended()
            if self._closed or self._unread:
                self._retire()
        elif event.kind in (REQUEST, RESPONSE):
            if self._unread:
                self.show(event)
            else:
                self.deliver(event)

    def _retire(self) -> None:
        """Ended and closed: nobody will look any more."""
        self.subscription.owner = None
        self._group = None
        self._events.clear()

    def close(self) -> None:
        """End it, whatever its state: SUBSCRIBE with Expires 0, a last NOTIFY, a refusal.  Never blocks, may be called
        twice."""
        self.ua.check_thread()
        if self._closed:
            return
        self._closed = True
        if self.ended:
            self._retire()
            return
        self.subscription.close(self.ua.clock.now())
        self.interrupt()
        self.ua.endpoint.flush()

    def _explains(self, error: Exception) -> bool:
        return isinstance(error, SubscriptionEnded) or super()._explains(error)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.subscription.event} {self.peer_name} {self.state}>'


@mypyc_attr(allow_interpreted_subclasses=True)
class OutgoingSubscription(Watching):
    """A subscription of ours: what ``ua.subscribe`` gives.  Iterating it gives its NOTIFYs as they come."""

    __slots__ = ('_asked_at', '_name', '_whole', 'latest')

    def __init__(self, ua: UserAgent, subscription: ClientSubscription, name: str, *, strict: bool = False) -> None:
        super().__init__(ua, subscription, strict=strict)
        self._name = name
        #: what several partial documents add up to; None before the first
        self._whole: Whole | None = None
        #: when the whole of it was asked for
        self._asked_at = -PATIENCE
        #: the NOTIFY that came last, None before the first one
        self.latest: Notification | None = None

    @property
    def peer_name(self) -> str:
        return self._name

    def on_event(self, event: Event) -> None:
        message: Any = event.message
        if event.kind == REQUEST:
            before = self.latest.state if self.latest is not None else ''
            notification = Notification(message, event.time, self, event.exchange)
            self.latest = notification
            if message.body and notification.package in PARTIAL_PACKAGES:
                self._add_up(notification, event.time)
            self.deliver(notification)
            state = notification.state
            if state != before and state in ('active', 'pending'):
                self.deliver(Notice(state, time=event.time, leg=self))
        elif event.kind == FORKED:
            # RFC 6665 4.1.4: the other branch is a subscription of its own.
            child: Any = event.exchange
            other = OutgoingSubscription(self.ua, child, f'{self._name} (fork)')
            if self._closed:
                other.close()
            else:
                self.deliver(ForkedNotice(event.time, self, other))
        else:
            super().on_event(event)

    def close(self) -> None:
        """As on every subscription; branches of the fork that the script has not looked at end with it."""
        for event in () if self._closed else tuple(self._events):
            if isinstance(event, ForkedNotice):
                event.subscription.close()
        super().close()

    def _retire(self) -> None:
        super()._retire()
        if self.latest is not None:
            # No circles.
            self.latest.leg = None

    @property
    def document(self) -> Any:
        """The present state as the value that its type has in ``greensip.body``; None before the first NOTIFY.

        Where NOTIFYs tell changes only, as those of ``dialog``, ``reg`` and ``conference`` may, it is what they add up
        to; that of a single one is ``notify.document``.  Raises ParseError if the latest document is broken, and is
        none of these.
        """
        if self._whole is not None and self._whole.document is not None:
            return self._whole.document
        return self.latest.document if self.latest is not None else None

    def _add_up(self, notification: Notification, now: float) -> None:
        """A document that may tell changes only; the whole state is asked for where one was missed."""
        whole = self._whole
        if whole is None:
            whole = self._whole = Whole()
        try:
            missed = whole.add(notification.message, self.subscription.dialog)
        except ParseError as error:
            log.debug('! %r: a broken document: %s', self, error)
            return
        if (missed and self.subscription.state in ('active', 'pending') and notification.state != 'terminated'
                and now >= self._asked_at + PATIENCE):
            self._asked_at = now
            self.subscription.refresh(now)

    def next(self, timeout: float | None = None) -> Notification:
        """Block until the next NOTIFY, and return it.  Raises as ``wait_for('NOTIFY')``."""
        notification: Notification = self.wait_for('NOTIFY', timeout=timeout)
        return notification

    def __iter__(self) -> Iterator[Notification]:
        """The NOTIFYs as they come; each step blocks.  Ends with the subscription.

        Raises what ended it where that was no ordinary end: the ResponseError of a refusal, TransactionTimeout,
        TransportError.
        """
        while True:
            try:
                notification = self.next()
            except (SubscriptionEnded, LocalHangup):
                return
            yield notification

    def refresh(self, expires: int | None = None) -> None:
        """Ask for ``expires`` seconds more, and for the present state in a NOTIFY.  Does not block.

        It is refreshed by itself too.  Raises WrongState before the first NOTIFY and after the end, WrongThread.
        """
        self.check()
        self.subscription.refresh(self.ua.clock.now(), expires)
        self.ua.endpoint.flush()

    def unsubscribe(self, timeout: float | None = 32.0) -> Notification | None:
        """End it, block until it is over, and return the last NOTIFY, or None if that did not come.

        Raises WaitTimeout, WrongThread; what ended the subscription earlier than that.
        """
        self.check()
        latest = self.latest
        self.subscription.unsubscribe(self.ua.clock.now())
        self.ua.endpoint.flush()
        self.wait_ended(timeout)
        return self.latest if self.latest is not latest else None

    def respond(self, notification: Notification, code: int, *, headers: Extra = None, reason: str = '') -> None:
        """Answer a NOTIFY that the script has asked for with ``manual=('NOTIFY',)``.  Does not block.  WrongState
        after it has been answered."""
        self.ua.check_thread()
        transaction = notification.exchange
        if not self.subscription.manual or transaction is None:
            raise WrongState('the NOTIFY has been answered')
        notification.exchange = None
        self.ua.core.respond(transaction, code, self.ua.clock.now(), headers=fields_of(headers), reason=reason)
        self.ua.endpoint.flush()


class ForkedNotice(Carrier):
    """Another branch of the fork has answered: ``subscription`` is the one with it (RFC 6665 4.1.4)."""

    __slots__ = ('label', 'leg', 'subscription', 'time')

    #: as other events have them
    code = 0
    error = None
    message = None
    detail = ''

    def __init__(self, time: float, leg: Any, subscription: OutgoingSubscription) -> None:
        self.label: int | str = 'forked'
        self.time = time
        self.leg = leg
        self.subscription = subscription


def make_subscription(ua: UserAgent, uri: Uri | str, package: str, name: str, *, strict: bool, manual: Sequence[str],
                      headers: Extra, body: Body, content_type: str | None, accept: Sequence[str] | None,
                      **options: Any) -> OutgoingSubscription:
    """What ``ua.subscribe`` and ``leg.subscribe`` do."""
    package, _, tail = package.partition(';')
    if tail:
        raise UsageError('the id of an event is given as event_id=')
    data, kind = body_of(body, content_type, 'text/plain')
    if accept is None:
        accept = (CONTENT_TYPES[package].partition(';')[0],) if package in CONTENT_TYPES else ()
    subscription = ua.core.subscribe(uri, package, ua.clock.now(), headers=fields_of(headers), body=data,
                                     content_type=kind, accept=accept, manual='NOTIFY' in manual, **options)
    events = OutgoingSubscription(ua, subscription, name, strict=strict)
    ua.endpoint.flush()
    return events

