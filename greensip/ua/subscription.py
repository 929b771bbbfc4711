"""Subscriptions as a script sees them: RFC 6665 with blocking verbs.

    with ua.subscribe('sip:alice@example.com', 'message-summary') as events:
        for notify in events:
            print(notify.body)

    def dialogs(watcher):                             # the other side: a notifier
        watcher.accept(document, 'application/dialog-info+xml', expires=600)
        ...
        watcher.notify(document)
    ua.events('dialog', dialogs)

A subscription is a mailbox as a leg is.  What is waited for: ``'NOTIFY'``, ``'active'``, ``'pending'``, the codes of
the responses to our SUBSCRIBE or NOTIFY, ``'SUBSCRIBE'`` (at the notifier: a refresh), ``'forked'``, ``'ended'``.
Leaving its ``with`` block ends it, without blocking.  ``Notifier`` in ``notifier.py`` keeps whole lists of subscribers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from greensip.body import Merged, content_of, parse_document
from greensip.dialog.event import ENDED, FORKED, REQUEST, RESPONSE, Event
from greensip.dialog.subscription import Subscription, event_of
from greensip.dialog.subscription_client import ClientSubscription
from greensip.dialog.subscription_server import ServerSubscription
from greensip.errors import (
    GreensipError,
    LocalHangup,
    ParseError,
    SubscriptionEnded,
    UsageError,
    WrongState,
)
from greensip.message import NameAddr, Request, SubscriptionState, Uri
from greensip.native import mypyc_attr
from greensip.transaction.flow import Flow

from .fields import Body, Extra, body_of, fields_of
from .mailbox import Mailbox, Notice
from .naming import target_leg
from .pattern import WORDS
from .threads import Carrier

if TYPE_CHECKING:
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['CONTENT_TYPES', 'MOST', 'IncomingSubscription', 'Notification', 'OutgoingSubscription',
           'make_subscription', 'open_subscription', 'take_subscribe']

log = logging.getLogger('greensip.ua')

WORDS.update(('active', 'pending'))

#: with so many subscriptions no handler is asked for more; a Notifier has a limit of its own
MOST = 10_000

#: what the documents of the usual packages are: RFC 3856, 4235, 3842, 3680, 4575, 3515
CONTENT_TYPES = {
    'conference': 'application/conference-info+xml',
    'dialog': 'application/dialog-info+xml',
    'message-summary': 'application/simple-message-summary',
    'presence': 'application/pidf+xml',
    'refer': 'message/sipfrag;version=2.0',
    'reg': 'application/reginfo+xml',
}

#: seconds before the whole state is asked for again: a notifier that cannot count is not to be asked all the time
PATIENCE = 32.0
#: octets: what partial documents add up to is begun anew when it is larger; a single one has 256 KB at most
LARGEST = 2**21
#: those whose documents may tell changes only
PARTIAL_PACKAGES = frozenset({'conference', 'dialog', 'reg'})


class Notification(Carrier):
    """A NOTIFY: what a subscription is about (RFC 6665 4.1.3): ``message`` is the request, ``leg`` the subscription."""

    __slots__ = ('_document', 'exchange', 'label', 'leg', 'message', 'time')

    #: as other events have them
    code = 0
    error = None
    detail = ''

    def __init__(self, message: Request, time: float, leg: Any = None, exchange: Any = None) -> None:
        self.label: int | str = 'NOTIFY'
        self.message = message
        self.time = time
        self.leg = leg
        self.exchange = exchange
        self._document: Any = None

    @property
    def body(self) -> bytes:
        """The body; empty if there is none."""
        return self.message.body

    @property
    def content_type(self) -> str | None:
        """Its type without parameters, such as ``application/pidf+xml``; None if there is none."""
        try:
            kind = self.message.content_type
        except ParseError:
            return self.message.get('Content-Type')
        return kind.essence if kind is not None else None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.message.body.decode('utf-8', 'replace')

    @property
    def package(self) -> str:
        """The event package."""
        event = event_of(self.message)
        return event.package if event is not None else ''

    def _state(self) -> SubscriptionState | None:
        try:
            state = self.message.value('Subscription-State')
        except ParseError:
            return None
        return state if isinstance(state, SubscriptionState) else None

    @property
    def state(self) -> str:
        """``active``, ``pending``, ``terminated``; ``''`` where an unasked-for NOTIFY does not say."""
        state = self._state()
        return state.state if state is not None else ''

    @property
    def reason(self) -> str | None:
        """Why it was terminated, such as ``noresource``."""
        state = self._state()
        return state.reason if state is not None else None

    @property
    def expires(self) -> int | None:
        """Seconds that the subscription lasts, if the notifier says so."""
        state = self._state()
        return state.expires if state is not None else None

    @property
    def document(self) -> Any:
        """The body as the value that its type has in ``greensip.body``; None for no body, or a type unknown there.

        Raises ParseError if it is broken.
        """
        if self._document is None and self.message.body:
            self._document = parse_document(self.message.get('Content-Type'), content_of(self.message))
        return self._document

    def __repr__(self) -> str:
        return f'<Notification {self.package} {self.state}>'


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

    __slots__ = ('_asked_at', '_dialog', '_grown', '_name', '_whole', 'latest')

    def __init__(self, ua: UserAgent, subscription: ClientSubscription, name: str, *, strict: bool = False) -> None:
        super().__init__(ua, subscription, strict=strict)
        self._name = name
        #: what several partial documents add up to, and the dialog in which they came
        self._whole: Any = None
        self._dialog: Any = None
        #: octets of documents that went into it, at least what it may have become
        self._grown = 0
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
        if self._whole is not None:
            return self._whole
        return self.latest.document if self.latest is not None else None

    def _add_up(self, notification: Notification, now: float) -> None:
        """RFC 3680 5.2, RFC 4235 4.3, RFC 4575 4.6: "the subscriber SHOULD generate a refresh request" for a document
        that was missed."""
        try:
            # One of its own: it changes as others are added.
            content = content_of(notification.message)
            document = parse_document(notification.message.get('Content-Type'), content)
        except ParseError as error:
            log.debug('! %r: a broken document: %s', self, error)
            return
        if not hasattr(document, 'apply'):
            return
        dialog = self.subscription.dialog
        if dialog is not self._dialog or type(document) is not type(self._whole):
            # Versions are counted within a subscription.
            self._dialog, self._whole, self._grown = dialog, document, len(content)
            missed = document.state == 'partial'
        else:
            missed = self._whole.apply(document) is Merged.INCOMPLETE
            self._grown += len(content)
            if self._grown > LARGEST and self._is_too_large():
                # A notifier that names ever new things and never says that one is over
                self._whole, self._grown, missed = document, len(content), document.state == 'partial'
        if (missed and self.subscription.state in ('active', 'pending') and notification.state != 'terminated'
                and now >= self._asked_at + PATIENCE):
            self._asked_at = now
            self.subscription.refresh(now)

    def _is_too_large(self) -> bool:
        """Whether what is known has become larger than any document could tell it."""
        try:
            size = len(self._whole.to_bytes())
        except UsageError:
            return True
        # Not to be measured again for each small change
        self._grown = size // 2
        return size > LARGEST

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


@mypyc_attr(allow_interpreted_subclasses=True)
class IncomingSubscription(Watching):
    """Somebody subscribes with us (RFC 6665 4.2): what the handler of ``ua.events(package, handler)`` is called with.

    Answer soon: he waits 32 s at most, and nobody may be asked meanwhile (``pend()`` is for that).
    """

    __slots__ = ('_keeper', 'flow')

    def __init__(self, ua: UserAgent, subscription: ServerSubscription) -> None:
        super().__init__(ua, subscription)
        #: the Notifier that takes care of it
        self._keeper: Any = None
        #: the way that the request came
        self.flow: Flow = subscription.transaction.flow

    def on_event(self, event: Event) -> None:
        if self._keeper is not None:
            if event.kind == ENDED:
                self._keeper._forget(self)
            elif event.kind == REQUEST:
                self._keeper._on_refresh(self)
        super().on_event(event)

    @property
    def peer_name(self) -> str:
        try:
            return str(self.from_.uri)
        except ParseError:
            return '?'

    @property
    def _request(self) -> Request:
        request: Request = self.subscription.request
        return request

    @property
    def target_leg(self) -> Leg | None:
        """The call with us that Target-Dialog names (RFC 4538), or None: its sender may be allowed more."""
        return target_leg(self.ua, self._request)

    @property
    def from_(self) -> NameAddr:
        """From: who asks."""
        return self._request.from_

    @property
    def to(self) -> NameAddr:
        """To."""
        return self._request.to

    @property
    def resource(self) -> Any:
        """The Request-URI: what is asked about."""
        return self._request.uri

    @property
    def source(self) -> tuple[str, int]:
        """Address and port that the request came from."""
        return self.flow.remote

    @property
    def wanted(self) -> int:
        """Seconds that are asked for; 0 to get the state once."""
        wanted: int = self.subscription.wanted
        return wanted

    @property
    def accepts(self) -> tuple[str, ...]:
        """The types that the subscriber understands, without parameters; empty if he does not say."""
        return tuple(kind.essence for kind in self._request.values('Accept'))

    def accept(self, body: Body = None, content_type: str | None = None, *, expires: int | None = None,
               headers: Extra = None, code: int = 200, repeats: bool = True) -> None:
        """Grant it: 200, and at once a NOTIFY with ``body``.  Does not block.

        ``expires``: so many seconds at most.  ``headers`` are those of the NOTIFY.  A refresh is answered with the
        latest document once more; ``repeats=False`` leaves that to the script, which waits for ``'SUBSCRIBE'`` and has
        to notify soon, such as of the full state where the latest document was a partial one.  Raises WrongState when
        it has been answered, WrongThread.
        """
        data, kind = self._document(body, content_type)
        self.ua.check_thread()
        self.subscription.repeats = repeats
        self.subscription.accept(self.ua.clock.now(), expires, code, body=data, content_type=kind,
                                 headers=fields_of(headers))
        self.ua.endpoint.flush()

    def pend(self, body: Body = None, content_type: str | None = None, *, expires: int | None = None) -> None:
        """Take it, but somebody has still to consent: 200, and a NOTIFY that says ``pending``.  Does not block.

        ``activate()`` or ``terminate('rejected')`` follows.  Raises as ``accept``.
        """
        data, kind = self._document(body, content_type)
        self.ua.check_thread()
        self.subscription.pend(self.ua.clock.now(), expires, body=data, content_type=kind)
        self.ua.endpoint.flush()

    def activate(self, body: Body = None, content_type: str | None = None) -> None:
        """Consent has been given.  Does not block.  Raises WrongState when it does not wait for that."""
        data, kind = self._document(body, content_type)
        self.ua.check_thread()
        self.subscription.activate(self.ua.clock.now(), data, kind)
        self.ua.endpoint.flush()

    def reject(self, code: int = 603, reason: str = '', *, headers: Extra = None) -> None:
        """Refuse it.  Does not block.  Raises WrongState when it has been answered, WrongThread."""
        self.ua.check_thread()
        self.subscription.reject(self.ua.clock.now(), code, reason=reason, headers=fields_of(headers))
        self.ua.endpoint.flush()

    def notify(self, body: Body, content_type: str | None = None, *, headers: Extra = None) -> None:
        """Tell the present state.  Does not block: while a NOTIFY has no answer the next one waits, and of several
        that wait only the latest is sent.

        Raises the subscription's ending when it is over, WrongState before it is accepted, WrongThread.
        """
        self.check()
        data, kind = self._document(body, content_type)
        self.subscription.notify(self.ua.clock.now(), data, kind, headers=fields_of(headers))
        self.ua.endpoint.flush()

    def terminate(self, reason: str = 'noresource', retry_after: int | None = None, *, body: Body = None,
                  content_type: str | None = None) -> None:
        """End it with a last NOTIFY: ``deactivated``, ``probation``, ``rejected``, ``timeout``, ``giveup``,
        ``noresource``, ``invariant`` (RFC 6665 4.1.3).  Does not block.

        ``body`` None has the latest document in it.  Raises as ``notify``.
        """
        self.check()
        data: bytes | None = None
        kind: str | None = None
        if body is not None:
            data, kind = self._document(body, content_type)
        self.subscription.terminate(self.ua.clock.now(), reason, retry_after, body=data, content_type=kind)
        self.ua.endpoint.flush()

    def _document(self, body: Body, content_type: str | None) -> tuple[bytes, str | None]:
        default = self.subscription.content_type or CONTENT_TYPES.get(self.package, 'text/plain')
        return body_of(body, content_type or getattr(body, 'content_type', None), default)


#: what is called with a subscription that comes in
Handler = Callable[[IncomingSubscription], object]


def take_subscribe(ua: UserAgent, event: Event, handlers: dict[str, Any]) -> None:
    """A SUBSCRIBE for a new subscription: to whom its package belongs.  Must not block."""
    core, now, transaction = ua.core, event.time, event.exchange
    message: Any = event.message
    try:
        found = event_of(message)
        handler = handlers.get(found.package) if found is not None else None
        if handler is None and (found is None or found.package != 'refer'):
            fields = (('Allow-Events', ', '.join(handlers)),) if handlers else ()
            core.respond(transaction, 489, now, headers=fields)
            return
        take: Any = getattr(handler, 'on_subscribe', None)
        if take is None and len(core.subscriptions) >= MOST:
            core.respond(transaction, 503, now, headers=(('Retry-After', '30'),))
            return
        subscription = core.incoming_subscription(transaction, now)
    except ParseError as error:
        core.respond(transaction, error.status, now)
        return
    watcher = IncomingSubscription(ua, subscription)
    if take is not None:
        take(watcher)
    else:
        ua.workers.start(run_handler, (handler, watcher))


def open_subscription(ua: UserAgent, transaction: Any) -> IncomingSubscription:
    """The notifier's side of a SUBSCRIBE or REFER that waits for its answer."""
    return IncomingSubscription(ua, ua.core.incoming_subscription(transaction, ua.clock.now()))


def run_handler(work: tuple[Handler, IncomingSubscription]) -> None:
    """Call a handler.  One that returns without an answer has accepted, one that raises has refused."""
    handler, watcher = work
    code: object = 500
    try:
        code = handler(watcher)
    except Exception as error:
        if watcher._explains(error):
            log.debug('= %r: its handler ended: %s', watcher, error)
        else:
            log.exception('! the handler of %r failed', watcher)
            code = error.status if isinstance(error, GreensipError) else 500
            if watcher.state not in ('resp_wait', 'terminated') and not watcher.ended:
                watcher.close()
    finally:
        watcher._unread = True
        if watcher.state == 'resp_wait' and not watcher.ua.closed:
            if isinstance(code, int) and code >= 300:
                watcher.reject(code)
            else:
                watcher.accept()


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

