"""Who subscribes with us, as a script sees it: the notifier's side of RFC 6665 4.2.

    def dialogs(watcher):
        watcher.accept(document, 'application/dialog-info+xml', expires=600)
        ...
        watcher.notify(document)
    ua.events('dialog', dialogs)

What is waited for: ``'SUBSCRIBE'`` (a refresh), the codes of the responses to our NOTIFY, ``'ended'``.  ``Notifier`` in
``notifier.py`` keeps whole lists of subscribers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import ENDED, REQUEST, Event
from greensip.dialog.subscription import event_of
from greensip.dialog.subscription_server import ServerSubscription
from greensip.errors import GreensipError, ParseError
from greensip.message import NameAddr, Request
from greensip.native import mypyc_attr
from greensip.transaction.flow import Flow

from .fields import Body, Extra, body_of, fields_of
from .naming import target_leg
from .notification import CONTENT_TYPES
from .subscription import Watching

if TYPE_CHECKING:
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['MOST', 'IncomingSubscription', 'open_subscription', 'take_subscribe']

log: Final = logging.getLogger('greensip.ua')

#: with so many subscriptions no handler is asked for more; a Notifier has a limit of its own
MOST = 10_000


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
