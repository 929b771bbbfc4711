"""Our own presence (RFC 3856): who asks is told, and who asked before is told when it changes.

    alice.presence = 'busy'                            # or Status('away', 'Back at four'), or a Presence document
    alice.presence = None                              # nothing is told any more
    alice.authorize_watcher = lambda watcher: watcher.from_.uri.host == 'example.com'
    with alice.publish_presence():                     # at a presence server too (RFC 3903)
        alice.presence = 'away'

What has no presence set answers who asks for it with 489, or with 404 where others have one.  For those who are called
without an account it is ``ua.presence``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from greensip.body import Presence
from greensip.errors import ParseError, UsageError, WrongState
from greensip.message import Uri, parse_uri
from greensip.native import mypyc_attr

from .fields import body_of
from .incoming_subscription import IncomingSubscription
from .notifier import Notifier
from .publication import Publication
from .threads import ThreadBound

if TYPE_CHECKING:
    from .account import Account
    from .agent import UserAgent

__all__ = ['PresenceNotifier', 'Presentity', 'presentity_of']

log: Final = logging.getLogger('greensip.ua')

PACKAGE: Final = 'presence'


@mypyc_attr(allow_interpreted_subclasses=True)
class PresenceNotifier(Notifier):
    """Tells the presence of all that have one in a user agent."""

    __slots__ = ('_asked', 'presentities')

    def __init__(self) -> None:
        Notifier.__init__(self, PACKAGE)
        self.presentities: dict[str, Presentity] = {}
        #: whom a subscription is about, by the key of his documents
        self._asked: dict[IncomingSubscription, str] = {}
        self.authorize = self._authorize

    def on_subscribe(self, watcher: IncomingSubscription) -> None:
        """A SUBSCRIBE has come in.  Must not block."""
        presentity = self._find(watcher)
        if presentity is None:
            watcher._unread = True
            watcher.reject(404)
            return
        self._asked[watcher] = presentity.key
        Notifier.on_subscribe(self, watcher)
        if watcher._keeper is not self:
            self._asked.pop(watcher, None)

    def _find(self, watcher: IncomingSubscription) -> Presentity | None:
        ua = self.ua
        if ua is None:
            return None
        try:
            account = ua.account_of(watcher.subscription.request)
        except ParseError:
            return None
        for presentity in self.presentities.values():
            if presentity.account is account:
                return presentity
        return None

    def _authorize(self, watcher: IncomingSubscription) -> object:
        presentity = self.presentities.get(self._key(watcher))
        if presentity is None:
            return 404
        verdict = presentity.authorize
        return verdict(watcher) if callable(verdict) else verdict

    def _key(self, watcher: IncomingSubscription) -> str:
        return self._asked.get(watcher, '')

    def _forget(self, watcher: IncomingSubscription) -> None:
        Notifier._forget(self, watcher)
        self._asked.pop(watcher, None)


class Presentity(ThreadBound):
    """Whose presence is told: that of an account, or that of the user agent.

    ``authorize``: who may see it: True for everybody, False for nobody, a status to refuse with, or a function of the
    subscription that must not block and returns one of these, or None to leave it pending.
    """

    __slots__ = ('_document', '_publication', 'account', 'authorize', 'key', 'notifier', 'ua')

    def __init__(self, ua: UserAgent, account: Account | None) -> None:
        self.ua = ua
        self.account = account
        self.authorize: Any = True
        self.key = f'presentity-{id(self):x}'
        self.notifier: PresenceNotifier | None = None
        self._document: Presence | None = None
        self._publication: Publication | None = None

    @property
    def entity(self) -> str:
        """The URI whose presence it is."""
        return str(self.account.aor.uri) if self.account is not None else self.ua.uri

    @property
    def document(self) -> Presence | None:
        """What is told at present."""
        return self._document

    def set(self, presence: Any) -> None:
        """Tell another presence: a word of ``Status``, an activity of RFC 4480, a Status, a document; None for none.

        Does not block.  Raises UsageError for what is none of these, WrongState where a handler of the script's takes
        the subscriptions, or when closed, WrongThread.
        """
        ua = self.ua
        ua.check_thread()
        if ua.closed:
            raise WrongState('the user agent is closed')
        if presence is None:
            self._document = None
            if self.notifier is not None:
                self.notifier.withdraw(self.key)
            if self._publication is not None:
                self._publication.close()
            return
        document = presence
        if not isinstance(document, Presence):
            if not isinstance(presence, str):
                raise UsageError(f'not a presence: {presence!r}')
            document = Presence(self.entity, presence, contact=self.entity)
        # What cannot be written is told now, not to the first who asks.
        data, kind = body_of(document, None, '')
        if self.notifier is None:
            self.notifier = self._attach()
        self._document = document
        self.notifier.publish(self.key, data, kind)
        publication = self._publication
        if publication is not None and not publication.ended and not publication._closed:
            publication.publication.modify(ua.clock.now(), data, kind)
            ua.endpoint.flush()

    def _attach(self) -> PresenceNotifier:
        notifier: Any = self.ua.request_handlers.packages.get(PACKAGE)
        if notifier is None:
            notifier = PresenceNotifier()
            self.ua.events(PACKAGE, notifier)
        elif not isinstance(notifier, PresenceNotifier):
            raise WrongState("events('presence', ...) takes the subscriptions to presence")
        notifier.presentities[self.key] = self
        found: PresenceNotifier = notifier
        return found

    def publish(self, *, expires: int = 3600, timeout: float | None = None, **options: Any) -> Publication:
        """PUBLISH it, and what follows; block until the server has taken it.  Raises as ``ua.publish``; UsageError
        where there is no presence."""
        ua = self.ua
        ua.check_thread()
        if self._document is None:
            raise UsageError('publish what? Set the presence first')
        if self.account is not None:
            made = self.account.publish(PACKAGE, self._document, expires=expires, timeout=timeout, **options)
        else:
            target: Uri = parse_uri(self.entity)
            made = ua.publish(target, PACKAGE, self._document, expires=expires, timeout=timeout, **options)
        self._publication = made
        return made

    @property
    def watchers(self) -> list[IncomingSubscription]:
        """Who is subscribed, pending ones too."""
        if self.notifier is None:
            return []
        return [watcher for watcher in self.notifier.subscribers(self.key) if watcher.state in ('pending', 'active')]

    def close(self) -> None:
        """Nobody is told any more.  Does not block."""
        notifier, self.notifier = self.notifier, None
        if notifier is not None:
            notifier.terminate(self.key, 'noresource')
            notifier._documents.pop(self.key, None)
            notifier.presentities.pop(self.key, None)
        if self._publication is not None:
            self._publication.close()
            self._publication = None

    def __repr__(self) -> str:
        return f'<Presentity {self.entity} {self._document.status if self._document is not None else "unknown"}>'


def presentity_of(owner: Any, ua: UserAgent, account: Account | None) -> Presentity:
    """That of a user agent or an account, made when it is asked for first."""
    found: Presentity | None = owner._presentity
    if found is None:
        found = owner._presentity = Presentity(ua, account)
    return found
