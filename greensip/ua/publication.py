"""PUBLISH (RFC 3903), both sides: what a script publishes, and the compositor that keeps it.

    with ua.publish('sip:alice@example.com', 'presence', document) as publication:
        publication.update(another)

    presence = Notifier('presence')
    ua.events('presence', presence)
    ua.handle('PUBLISH', EventStateCompositor(presence))
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greensip.body import CODINGS, content_of
from greensip.dialog.event import ENDED, FAILED, RESPONSE, Event
from greensip.dialog.publication import ClientPublication
from greensip.dialog.subscription import event_of
from greensip.errors import GreensipError, LocalHangup, ParseError, UsageError, response_error
from greensip.message import Request, Response, Uri
from greensip.native import mypyc_attr

from .fields import Body, Extra, body_of, fields_of
from .mailbox import Mailbox, Notice, Watch, fresh, wait_on
from .notification import CONTENT_TYPES
from .notifier import Notifier, resource_of, takes
from .pattern import Matcher
from .threads import ThreadBound

if TYPE_CHECKING:
    from .agent import UserAgent
    from .request import IncomingRequest

__all__ = ['EventStateCompositor', 'Publication', 'make_publication']

log: Final = logging.getLogger('greensip.ua')

#: publications of one resource that are taken: all of them make its document, with each that comes
PER_RESOURCE: Final = 64

ANSWER: Final = Matcher(('200-699', 'failed'), 'answer to PUBLISH')


@mypyc_attr(allow_interpreted_subclasses=True)
class Publication(Mailbox):
    """The state that we publish at one place: what ``ua.publish`` gives.  It is refreshed until the end of its block.

    ``wait_for('200')`` sees the refreshes as well; ``wait_for('ended')`` that it has been lost for good.
    """

    __slots__ = ('_closed', '_name', 'data', 'publication', 'ua')

    def __init__(self, ua: UserAgent, publication: ClientPublication, name: str) -> None:
        super().__init__(ua)
        #: the user agent that it belongs to
        self.ua = ua
        #: the core's half
        self.publication = publication
        publication.owner = self
        #: free for the script
        self.data: Any = None
        self._name = name
        self._closed = False

    @property
    def peer_name(self) -> str:
        return self._name

    @property
    def package(self) -> str:
        """The event package."""
        return self.publication.package

    @property
    def state(self) -> str:
        """``publishing``, ``published``, ``waiting`` (until the compositor is there again), ``removing``, ``ended``."""
        state: str = self.publication.state
        return state

    @property
    def etag(self) -> str | None:
        """What stands for the published state (SIP-ETag); None while there is none."""
        return self.publication.etag

    @property
    def expires(self) -> int:
        """Whole seconds until it expires, 0 if that is not known."""
        at = self.publication.expires_at
        return max(0, round(at - self.ua.clock.now())) if at is not None else 0

    def on_event(self, event: Event) -> None:
        """From the core."""
        if event.kind == ENDED:
            self.finish(event)
            self.ua.on_leg_ended()
            if self._closed:
                self.publication.owner = None
                self._events.clear()
        elif event.kind == RESPONSE:
            self.deliver(event)
        elif event.kind == FAILED:
            self.deliver(Notice('failed', time=event.time, leg=self, error=event.error))

    def update(self, body: Body, content_type: str | None = None, *, timeout: float | None = None) -> Response:
        """Publish another document, and block until the compositor has answered; returns its 2xx.

        Raises the ResponseError when it is refused (the document before stands, if the compositor still has it),
        WaitTimeout, what ended the publication, UsageError for an empty document, WrongThread.
        """
        self.check()
        publication = self.publication
        data, kind = body_of(body, content_type or getattr(body, 'content_type', None),
                             publication.content_type or 'text/plain')
        publication.modify(self.ua.clock.now(), data, kind)
        self.ua.endpoint.flush()
        return self._wait_answered(timeout)

    def refresh(self) -> None:
        """Refresh it now; that happens by itself too.  Does not block.  Raises what ended it, WrongThread."""
        self.check()
        self.publication.refresh(self.ua.clock.now())
        self.ua.endpoint.flush()

    def remove(self, timeout: float | None = None) -> None:
        """Take it away, and block until the compositor has answered.  Raises WaitTimeout, WrongThread."""
        self.ua.check_thread()
        if not self.ended:
            self.publication.remove(self.ua.clock.now())
            self.ua.endpoint.flush()
            self.wait_ended(timeout)

    def close(self) -> None:
        """Take it away without waiting for the answer.  May be called twice."""
        self.ua.check_thread()
        if self._closed:
            return
        self._closed = True
        if self.ended:
            self.publication.owner = None
            return
        self.publication.remove(self.ua.clock.now())
        self.interrupt()
        self.ua.endpoint.flush()

    def _wait_answered(self, timeout: float | None) -> Response:
        publication = self.publication
        version = publication.version
        now = self.ua.clock.now
        until = None if timeout is None else now() + timeout
        while publication.answered < version:
            answer = Watch(self, ANSWER)
            wait_on((answer,), None if until is None else until - now(), asked=timeout)
            if answer.event.label == 'failed' and publication.said == version:
                raise fresh(answer.event.error)
        outcome: Any = publication.outcome
        if not isinstance(outcome, Response):
            raise fresh(outcome)
        if outcome.code >= 300:
            raise response_error(outcome.code, outcome.reason, outcome)
        return outcome

    def _explains(self, error: Exception) -> bool:
        return isinstance(error, LocalHangup) or super()._explains(error)

    def __repr__(self) -> str:
        return f'<Publication {self.package} {self._name} {self.state}>'


def make_publication(ua: UserAgent, uri: Uri | str, package: str, body: Body, name: str, *, content_type: str | None,
                     headers: Extra, timeout: float | None, **options: Any) -> Publication:
    """What ``ua.publish`` does."""
    default = getattr(body, 'content_type', None) or CONTENT_TYPES.get(package, 'text/plain')
    data, kind = body_of(body, content_type, default)
    made = ua.core.publish(uri, package, data, ua.clock.now(), content_type=kind, headers=fields_of(headers), **options)
    publication = Publication(ua, made, name)
    ua.endpoint.flush()
    try:
        publication._wait_answered(timeout)
    except BaseException:
        publication.close()
        raise
    return publication


class Published:
    """One publication at the compositor: what an entity-tag stands for."""

    __slots__ = ('body', 'compositor', 'content_type', 'key', 'order', 'tag', 'timer')

    def __init__(self, compositor: EventStateCompositor, key: tuple[str, str]) -> None:
        self.compositor = compositor
        #: package and resource
        self.key = key
        self.tag = ''
        self.body = b''
        self.content_type: str | None = None
        self.order = 0
        self.timer: Any = None

    def on_timer(self, name: str, now: float) -> None:
        """It has expired."""
        self.compositor._remove(self)


@mypyc_attr(allow_interpreted_subclasses=True)
class EventStateCompositor(ThreadBound):
    """Keeps what is published, and feeds it to Notifiers: ``ua.handle('PUBLISH', EventStateCompositor(presence))``.

    ``notifiers``: one for each event package that is taken.  ``expires``, ``min_expires``: seconds that are granted at
    most, and at least.  ``max_publications``: more get a 503, as do more than 64 of one resource; ``max_size``: octets
    of a document (413).
    ``authorize(incoming)`` must return True, or False (403), or a status.
    ``compose(resource, documents)``: the document that subscribers see, from those that are published, the latest
    last; without it that is the latest one.
    """

    __slots__ = ('_by_tag', '_order', '_published', 'authorize', 'compose', 'expires', 'max_publications', 'max_size',
                 'min_expires', 'notifiers')

    def __init__(self, *notifiers: Notifier, expires: int = 3600, min_expires: int = 60,
                 max_publications: int = 10_000, max_size: int = 65_536,
                 authorize: Callable[[IncomingRequest], object] | None = None,
                 compose: Callable[[str, list[bytes]], Body] | None = None) -> None:
        if not notifiers:
            raise UsageError('a compositor needs a Notifier for each of its event packages')
        if expires < 1 or min_expires < 0 or min_expires > expires:
            raise UsageError('a compositor needs 0 <= min_expires <= expires')
        self.notifiers = {notifier.package: notifier for notifier in notifiers}
        self.expires = expires
        self.min_expires = min_expires
        self.max_publications = max_publications
        self.max_size = max_size
        self.authorize = authorize
        self.compose = compose
        self._published: dict[tuple[str, str], list[Published]] = {}
        self._by_tag: dict[str, Published] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._by_tag)

    def __repr__(self) -> str:
        return f'<EventStateCompositor for {", ".join(self.notifiers)}: {len(self)} published>'

    def __call__(self, incoming: IncomingRequest) -> None:
        """Process a PUBLISH: the steps of RFC 3903 6.  Does not block."""
        try:
            self._process(incoming, incoming.request)
        except ParseError as error:
            # RFC 3261 8.2.3
            incoming.respond(error.status, headers={'Accept-Encoding': CODINGS} if error.status == 415 else None)

    def _process(self, incoming: IncomingRequest, request: Request) -> None:
        ua = incoming._ua
        # RFC 3261 8.2: who is it?
        verdict: object = True if self.authorize is None else self.authorize(incoming)
        if verdict is not True:
            if not incoming.answered:
                incoming.respond(verdict if isinstance(verdict, int) and verdict >= 300 else 403)
            return
        # 1. the Request-URI: what resources there are is for ``authorize`` to say
        resource = resource_of(request.uri)
        # 2. the Event header field
        event = event_of(request)
        notifier = self.notifiers.get(event.package) if event is not None else None
        if event is None or notifier is None:
            incoming.respond(489, headers={'Allow-Events': ', '.join(self.notifiers)})
            return
        key = (event.package, resource)
        # 3. the SIP-If-Match header field
        published: Published | None = None
        tags = request.get_all('SIP-If-Match')
        if tags:
            if len(tags) != 1 or ',' in tags[0] or not tags[0].strip():
                raise ParseError('SIP-If-Match with more or less than one entity-tag', tags[0])
            published = self._by_tag.get(tags[0].strip())
            if published is None or published.key != key:
                incoming.respond(412)
                return
        # 4. the Expires header field
        wanted = request.expires
        if wanted is None:
            wanted = self.expires
        if 0 < wanted < self.min_expires:
            incoming.respond(423, headers={'Min-Expires': self.min_expires})
            return
        granted = min(wanted, self.expires)
        # 5. the body
        kind = request.get('Content-Type')
        body = b''
        if request.body:
            if not takes((notifier.content_type.partition(';')[0],), kind or ''):
                incoming.respond(415, headers={'Accept': notifier.content_type})
                return
            # The subscribers get it as it was before it was packed: their NOTIFYs name no coding.
            body = content_of(request, self.max_size)
            if len(body) > self.max_size:
                incoming.respond(413)
                return
        if published is None and not body:
            incoming.respond(400)
            return
        if published is None:
            full = len(self._by_tag) >= self.max_publications or len(self._published.get(key, ())) >= PER_RESOURCE
            if full and granted:
                incoming.respond(503, headers={'Retry-After': 30})
                return
            published = Published(self, key)
        # 6. the 200, with a new entity-tag
        tag = f'{ua.core.random.getrandbits(64):016x}'
        incoming.respond(200, headers={'Expires': granted, 'SIP-ETag': tag})
        self._store(ua, published, tag, granted, body, kind)

    def _store(self, ua: UserAgent, published: Published, tag: str, granted: int, body: bytes,
               kind: str | None) -> None:
        if published.timer is not None:
            published.timer.cancel()
        known = self._by_tag.pop(published.tag, None) is not None
        if granted == 0:
            if known:
                self._by_tag[published.tag] = published
                self._remove(published)
            return
        published.tag = tag
        self._by_tag[tag] = published
        if not known:
            self._published.setdefault(published.key, []).append(published)
        published.timer = ua.core.timers.add(float(granted), ua.clock.now(), published, 'expired')
        if body:
            self._order += 1
            published.order = self._order
            published.body = body
            published.content_type = kind
            self._tell(published.key)

    def _remove(self, published: Published) -> None:
        del self._by_tag[published.tag]
        if published.timer is not None:
            published.timer.cancel()
        others = self._published[published.key]
        others.remove(published)
        if not others:
            del self._published[published.key]
        self._tell(published.key)

    def _tell(self, key: tuple[str, str]) -> None:
        """Tell the subscribers what they are to see now."""
        package, resource = key
        notifier = self.notifiers[package]
        documents = sorted(self._published.get(key, ()), key=_order)
        try:
            if not documents:
                notifier.withdraw(resource)
            elif self.compose is None:
                notifier.publish(resource, documents[-1].body, documents[-1].content_type)
            else:
                notifier.publish(resource, self.compose(resource, [one.body for one in documents]))
        except GreensipError as error:
            log.warning('! the document of %s could not be told: %s', resource, error)


def _order(published: Published) -> int:
    return published.order
