"""Notifiers that keep their subscribers: a document for each resource, and whoever wants to know of it.

    voicemail = Notifier('message-summary', expires=3600)
    ua.events('message-summary', voicemail)
    voicemail.publish('alice', b'Messages-Waiting: yes\\r\\nVoice-Message: 2/8\\r\\n')

Subscriptions are granted and refreshed by themselves (RFC 6665 4.2), without a greenlet for each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import gevent

from greensip.errors import GreensipError, ParseError, UsageError
from greensip.message import NameAddr, SipUri, parse_name_addr, parse_uri
from greensip.native import mypyc_attr

from .fields import Body, body_of
from .incoming_subscription import IncomingSubscription
from .notification import CONTENT_TYPES
from .threads import ThreadBound

if TYPE_CHECKING:
    from .agent import UserAgent

__all__ = ['AT_ONCE', 'Notifier', 'resource_of']

#: so many subscribers are told before others of the hub get a turn: a NOTIFY takes about 0.1 ms
AT_ONCE: Final = 100

log: Final = logging.getLogger('greensip.ua')


def resource_of(uri: Any) -> str:
    """What a URI, or a text, names here: its user part; its host if it has none.

    The host counts for nothing otherwise, as a user agent is called by its address as well as by its domain.
    """
    if isinstance(uri, NameAddr):
        uri = uri.uri
    if isinstance(uri, str):
        if ':' not in uri and '<' not in uri:
            return uri
        uri = parse_name_addr(uri).uri if '<' in uri else parse_uri(uri)
    if isinstance(uri, SipUri):
        return uri.user or uri.host
    return str(uri)


@mypyc_attr(allow_interpreted_subclasses=True)
class Notifier(ThreadBound):
    """The present documents of one event package, and their subscribers.

    ``content_type``: what the documents are; the package's own type without it.  ``expires``: seconds that are granted
    at most, ``min_expires``: at least (423).  ``max_subscribers``: more get a 503.
    ``authorize(subscription)`` must not block, and returns True to grant, False for 603, a status to refuse with, None
    to leave it pending until ``approve`` or ``deny``; or it answers by itself with ``subscription.reject(401, ...)``.
    """

    __slots__ = ('_documents', '_subscribers', 'authorize', 'content_type', 'count', 'expires', 'max_subscribers',
                 'min_expires', 'package', 'ua')

    def __init__(self, package: str, *, content_type: str | None = None, expires: int = 3600, min_expires: int = 60,
                 max_subscribers: int = 10_000,
                 authorize: Callable[[IncomingSubscription], object] | None = None) -> None:
        if expires < 1 or min_expires < 0 or min_expires > expires:
            raise UsageError('a Notifier needs 0 <= min_expires <= expires')
        self.package = package
        self.content_type = content_type or CONTENT_TYPES.get(package, 'text/plain')
        self.expires = expires
        self.min_expires = min_expires
        self.max_subscribers = max_subscribers
        self.authorize = authorize
        #: the user agent; None before ``ua.events(package, notifier)``
        self.ua: UserAgent | None = None
        #: how many subscriptions there are
        self.count = 0
        self._documents: dict[str, tuple[bytes, str | None]] = {}
        self._subscribers: dict[str, set[IncomingSubscription]] = {}

    # -- for the program

    def publish(self, resource: Any, body: Body, content_type: str | None = None) -> None:
        """The present document of ``resource`` (a user name, or a URI with it): its subscribers are told.

        Does not block.  Raises WrongThread, ParseError for a broken URI.
        """
        self._check()
        default = getattr(body, 'content_type', None) or self.content_type
        document = body_of(body, content_type, default)
        key = resource_of(resource)
        self._documents[key] = document
        self._tell(key)

    def withdraw(self, resource: Any) -> None:
        """There is no document any more: the subscribers get a NOTIFY without a body.  Does not block."""
        self._check()
        key = resource_of(resource)
        if self._documents.pop(key, None) is not None:
            self._tell(key)

    def document(self, resource: Any) -> bytes:
        """The present document, empty if there is none."""
        return self._documents.get(resource_of(resource), (b'', None))[0]

    def subscribers(self, resource: Any = None) -> list[IncomingSubscription]:
        """Who is subscribed to ``resource``, or to anything."""
        if resource is not None:
            return list(self._subscribers.get(resource_of(resource), ()))
        return [watcher for watchers in self._subscribers.values() for watcher in watchers]

    def approve(self, subscription: IncomingSubscription) -> None:
        """Consent to a subscription that is pending: it gets the document.  Does not block.  Raises WrongState."""
        body, kind = self._documents.get(self._key(subscription), (b'', None))
        subscription.activate(body, kind)

    def deny(self, subscription: IncomingSubscription) -> None:
        """End a subscription, pending or not, as ``rejected``.  Does not block."""
        subscription.terminate('rejected', body=b'')

    def terminate(self, resource: Any = None, reason: str = 'deactivated', retry_after: int | None = None) -> None:
        """End the subscriptions to ``resource``, or all.  Does not block."""
        self._check()
        for watcher in self.subscribers(resource):
            if watcher.state in ('pending', 'active'):
                watcher.terminate(reason, retry_after)

    # -- for the user agent

    def attach(self, ua: UserAgent) -> None:
        """Called by ``ua.events``.  Raises UsageError for a second user agent."""
        if self.ua is not None and self.ua is not ua:
            raise UsageError('this Notifier belongs to another user agent')
        self.ua = ua

    def on_subscribe(self, watcher: IncomingSubscription) -> None:
        """A SUBSCRIBE has come in.  Must not block."""
        watcher._unread = True
        try:
            self._decide(watcher)
        except Exception as error:
            if isinstance(error, ParseError):
                log.debug('! a broken SUBSCRIBE: %s', error)
            else:
                log.exception('! %r failed', self)
            if watcher.state == 'resp_wait':
                watcher.reject(error.status if isinstance(error, GreensipError) else 500)

    def _decide(self, watcher: IncomingSubscription) -> None:
        """RFC 6665 4.2.1.1 and 4.2.1.3."""
        if watcher.package != self.package:
            watcher.reject(489)
            return
        if 0 < watcher.wanted < min(self.min_expires, 3600):
            watcher.reject(423, headers={'Min-Expires': self.min_expires})
            return
        if self.count >= self.max_subscribers:
            watcher.reject(503, headers={'Retry-After': 30})
            return
        key = self._key(watcher)
        body, kind = self._documents.get(key, (b'', None))
        if not takes(watcher.accepts, kind or self.content_type):
            watcher.reject(406)
            return
        verdict: object = True if self.authorize is None else self.authorize(watcher)
        if watcher.state != 'resp_wait':
            # It was answered there, such as with a challenge.
            return
        if verdict is False:
            watcher.reject(603)
            return
        if verdict is not None and verdict is not True:
            watcher.reject(verdict if isinstance(verdict, int) else 603)
            return
        watcher._keeper = self
        watcher.subscription.shortest = self.min_expires
        self._subscribers.setdefault(key, set()).add(watcher)
        self.count += 1
        if verdict is None:
            watcher.pend(expires=self.expires)
        else:
            watcher.accept(body, kind, expires=self.expires)

    def _on_refresh(self, watcher: IncomingSubscription) -> None:
        """A SUBSCRIBE in the dialog: he gets the latest document once more, by itself."""

    def _forget(self, watcher: IncomingSubscription) -> None:
        key = self._key(watcher)
        watchers = self._subscribers.get(key)
        if watchers is not None and watcher in watchers:
            watchers.remove(watcher)
            self.count -= 1
            if not watchers:
                del self._subscribers[key]

    def _tell(self, key: str) -> None:
        watchers = list(self._subscribers.get(key, ()))
        self._tell_some(key, watchers[:AT_ONCE])
        if len(watchers) > AT_ONCE and self.ua is not None:
            self.ua.workers.start(self._tell_rest, (key, watchers[AT_ONCE:]))

    def _tell_some(self, key: str, watchers: list[IncomingSubscription]) -> None:
        body, kind = self._documents.get(key, (b'', None))
        for watcher in watchers:
            if watcher.state == 'active':
                watcher.notify(body, kind)

    def _tell_rest(self, work: tuple[str, list[IncomingSubscription]]) -> None:
        """The others, while everybody else gets a turn in between; whoever comes late gets what is true by then."""
        key, watchers = work
        for first in range(0, len(watchers), AT_ONCE):
            gevent.sleep(0)
            if self.ua is None or self.ua.closed:
                return
            self._tell_some(key, watchers[first:first + AT_ONCE])

    def _key(self, watcher: IncomingSubscription) -> str:
        return resource_of(watcher.resource)

    def _check(self) -> None:
        if self.ua is not None:
            self.ua.check_thread()

    def __repr__(self) -> str:
        return f'<Notifier {self.package} {self.count}>'


def takes(accepts: tuple[str, ...], content_type: str) -> bool:
    """RFC 3261 20.1: whether who accepts these types takes that one; who says nothing takes it."""
    essence = content_type.partition(';')[0].strip().lower()
    family = essence.partition('/')[0]
    return not accepts or any(one.lower() in (essence, f'{family}/*', '*/*') for one in accepts)
