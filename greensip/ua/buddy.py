"""Somebody whom we watch and write to: presence (RFC 3856) and messages (RFC 3428) as a script sees them.

    with alice.buddy('sip:bob@example.com') as bob:
        print(bob.subscribe(), bob.status.note)             # online, Back from lunch
        bob.wait_for('online', timeout=600)
        bob.message('Are you there?')
        print(bob.wait_for('MESSAGE', timeout=60).text)
        for status in bob:                                  # each change, as long as he is watched
            print(status, status.note, status.activities)

A buddy is a mailbox as a leg is.  What is waited for: ``'online'``, ``'busy'``, ``'away'``, ``'offline'``,
``'unknown'`` or ``'presence'`` for any change; ``'MESSAGE'``; ``'composing:active'`` and ``'composing:idle'``
(RFC 3994); ``'report:displayed'`` and the like (RFC 5438); ``'ended'``.  Without an account it is ``ua.buddy(uri)``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from greensip.body import PIDF, IsComposing, Presence, Status, ask, content_of, parse_document
from greensip.dialog.composing import ACTIVE, REFRESH, Composer, ComposingWatch
from greensip.dialog.event import ENDED, REQUEST, RESPONSE, Event
from greensip.errors import GreensipError, LocalHangup, ParseError, SubscriptionEnded, Unsubscribed, WrongState
from greensip.message import NameAddr, Request, Response, Uri
from greensip.native import mypyc_attr

from .addresses import target_of
from .fields import Body, body_of
from .mailbox import Mailbox, Notice, Watch, wait_on
from .messages import IncomingMessage, Switchboard, key_of, send_message, switchboard_of, wanted_reports
from .pattern import Matcher, Pattern

if TYPE_CHECKING:
    from .account import Account
    from .agent import UserAgent

__all__ = ['Buddy', 'PresenceChange']

log: Final = logging.getLogger('greensip.ua')

STATUSES: Final = ('online', 'busy', 'away', 'offline', 'unknown')

#: what ends the waiting for a subscription
FIRST_WORD: Final = Matcher(('active',), 'NOTIFY')

#: the presence of whom we know nothing of
NOTHING_KNOWN: Final = Status('unknown')


class PresenceChange(Notice):
    """Somebody's presence is another one: ``status`` says which, ``document`` all that was said."""

    __slots__ = ('document', 'status')

    def __init__(self, status: Status, document: Presence | None, time: float, leg: Mailbox) -> None:
        Notice.__init__(self, str(status), time=time, leg=leg, detail=status.note)
        self.status = status
        self.document = document


def expanded(patterns: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
    """``'presence'`` stands for any status."""
    if 'presence' not in patterns:
        return patterns
    return (*(pattern for pattern in patterns if pattern != 'presence'), *STATUSES)


class Asking(Mailbox):
    """What comes of a subscription that somebody waits for."""

    __slots__ = ('name',)

    def __init__(self, ua: UserAgent, name: str) -> None:
        super().__init__(ua)
        self.name = name

    @property
    def peer_name(self) -> str:
        return self.name


class Answer:
    """Sees how the peer takes to be told that we write: who refuses it is told no more (RFC 3994 3.2)."""

    __slots__ = ('buddy',)

    def __init__(self, buddy: Buddy) -> None:
        self.buddy = buddy

    def on_event(self, event: Event) -> None:
        """From the core."""
        if event.kind == RESPONSE and event.code >= 300:
            self.buddy._tells = False


@mypyc_attr(allow_interpreted_subclasses=True)
class Buddy(Mailbox):
    """Somebody else: whether he is there, and what he writes.  ``account.buddy()`` and ``ua.buddy()`` return it.

    Messages of his are seen here and in the inbox too, if there is one.  The presence is watched from ``subscribe()``
    on.  Raises ParseError for a broken URI, WrongState when the user agent is closed, WrongThread.
    """

    __slots__ = ('_asking', '_board', '_closed', '_composer', '_leaving', '_presence', '_status', '_subscription',
                 '_tells', '_watch', 'account', 'data', 'ua', 'uri')

    def __init__(self, ua: UserAgent, uri: NameAddr | Uri | str, account: Account | None = None) -> None:
        super().__init__(ua)
        ua.check_thread()
        if ua.closed:
            raise WrongState('the user agent is closed')
        self.ua = ua
        #: in whose name we watch and write; None for the user agent's own
        self.account = account
        #: who it is
        self.uri: Uri = account.target(uri) if account is not None else target_of(uri)
        #: free for the script
        self.data: Any = None
        self._status = NOTHING_KNOWN
        self._presence: Presence | None = None
        self._subscription: Any = None
        #: who waits for the first word, and for the end
        self._asking: Asking | None = None
        self._leaving: Asking | None = None
        self._closed = False
        #: whether he wants to know that we write
        self._tells = True
        self._composer = Composer(ua.core.timers, self._tell_composing)
        self._watch = ComposingWatch(ua.core.timers, self._note_composing)
        self._board: Switchboard | None = None
        try:
            self._board = switchboard_of(ua)
        except WrongState:
            # The script takes the messages itself.
            log.debug('= %r: its messages go elsewhere', self)
        else:
            self._board.buddies.setdefault(key_of(self.uri), []).append(self)
        ua.buddies.append(self)

    @property
    def peer_name(self) -> str:
        return str(self.uri)

    # -- presence

    @property
    def status(self) -> Status:
        """His presence in a word, with ``.note`` and ``.activities``: ``online``, ``busy``, ``away``, ``offline``, or
        ``unknown`` as long as he is not watched, or does not say."""
        return self._status

    @property
    def presence(self) -> Presence | None:
        """The latest document; None if there is none."""
        return self._presence

    @property
    def state(self) -> str:
        """That of the subscription (RFC 6665 4.1.2): ``notify_wait``, ``pending``, ``active``, ``waiting`` ...;
        ``terminated`` if there is none."""
        if self._subscription is None:
            return 'terminated'
        state: str = self._subscription.state
        return state

    def subscribe(self, expires: int = 3600, *, wait: bool = True, timeout: float | None = None) -> Status:
        """Watch his presence, block until the first word of it, and return it.

        It is refreshed by itself, and begun anew when the other side ends it for a reason that allows that.
        ``expires`` in seconds; 0 asks once.  ``wait=False`` does not block.  While he has still to consent it is
        ``unknown`` (``state`` is ``pending``).  If he is watched already nothing happens.

        Raises the ResponseError of a refusal, SubscriptionEnded, TransactionTimeout, TransportError, WaitTimeout after
        ``timeout`` seconds, WrongState when closed, WrongThread.  When the subscription ends later than that, whoever
        waits gets the same; it may be begun again then.
        """
        self.ua.check_thread()
        if self._closed or self.ua.closed:
            raise WrongState('the buddy is closed')
        asking = self._asking
        if asking is None:
            if self._subscription is not None:
                return self._status
            asking = self._asking = Asking(self.ua, self.peer_name)
            try:
                self._begin(expires)
            except BaseException:
                self._asking = None
                raise
        if wait:
            wait_on((Watch(asking, FIRST_WORD),), timeout)
        return self._status

    def _begin(self, expires: int) -> None:
        ua = self.ua
        options: dict[str, Any] = {}
        if self.account is not None:
            options = self.account.options_for(self.uri)
        else:
            options['from_'] = ua._own_address(self.uri, ())
        # Begun again, the mailbox goes on.
        ending, self._ending = self._ending, None
        if ending is not None and self._events and self._events[-1] is ending:
            del self._events[-1]
        subscription = ua.core.subscribe(self.uri, 'presence', ua.clock.now(), expires=expires, accept=(PIDF,),
                                         resubscribe=True, **options)
        subscription.owner = self
        self._subscription = subscription
        ua.endpoint.flush()

    def unsubscribe(self, timeout: float | None = 32.0) -> None:
        """Watch him no longer, and block until that is settled.  Raises WaitTimeout, WrongThread."""
        self.ua.check_thread()
        subscription = self._subscription
        if subscription is None:
            return
        leaving = self._leaving = self._leaving or Asking(self.ua, self.peer_name)
        subscription.close(self.ua.clock.now())
        self.ua.endpoint.flush()
        leaving.wait_ended(timeout)

    def on_event(self, event: Event) -> None:
        """From the core: what becomes of the subscription.  Called while the endpoint flushes: must not block."""
        if event.subject is not self._subscription:
            return
        if event.kind == REQUEST:
            self._on_notify(event)
        elif event.kind == ENDED:
            self._on_ended(event)

    def _on_notify(self, event: Event) -> None:
        request: Any = event.message
        message: Request = request
        try:
            document = parse_document(message.get('Content-Type'), content_of(message))
        except ParseError as error:
            log.debug('! %r: a broken document: %s', self, error)
            self.deliver(Notice('failed', time=event.time, leg=self, error=error))
        else:
            if isinstance(document, Presence):
                self._presence = document
                self._change(document.status, event.time)
        asking, self._asking = self._asking, None
        if asking is not None:
            # Whatever it says, it is the first word; all who wait for it get it.
            asking.finish(Notice('active', time=event.time, leg=self, error=LocalHangup()))

    def _change(self, status: Status, time: float) -> None:
        if status.details != self._status.details:
            self._status = status
            self.deliver(PresenceChange(status, self._presence, time, self))

    def _on_ended(self, event: Event) -> None:
        self._subscription.owner = None
        error = event.error
        fetched = self._subscription.expires == 0 and isinstance(error, SubscriptionEnded)
        self._subscription = None
        if not fetched:
            # What he does from now on nobody tells us.
            self._presence = None
            self._change(NOTHING_KNOWN, event.time)
        for waiting in (self._asking, self._leaving):
            if waiting is not None:
                waiting.finish(event)
        self._asking = self._leaving = None
        if fetched or isinstance(error, Unsubscribed):
            self.deliver(Notice('unsubscribed', time=event.time, leg=self, error=error))
        else:
            self.finish(event)

    def wait_for(self, *patterns: Pattern, timeout: float | None = None) -> Any:
        """Block until an event comes that matches, as on every mailbox; ``'presence'`` matches any change of it."""
        return Mailbox.wait_for(self, *expanded(patterns), timeout=timeout)

    def on(self, *patterns: Pattern) -> Watch:
        """Patterns on this buddy, to be given to ``wait_any``."""
        return Mailbox.on(self, *expanded(patterns))

    def __iter__(self) -> Iterator[Status]:
        """The changes of his presence as they come; each step blocks.  Ends when he is watched no longer.

        Raises what ended it where that was no ordinary end: the ResponseError of a refusal, TransactionTimeout,
        TransportError.
        """
        while True:
            try:
                event = self.wait_for('presence', 'unsubscribed')
            except (SubscriptionEnded, LocalHangup):
                return
            if not isinstance(event, PresenceChange):
                return
            yield event.status

    # -- messages

    def message(self, text: Body, *, reports: Sequence[str] = (), message_id: str | None = None,
                content_type: str | None = None, timeout: float | None = None, **options: Any) -> Response:
        """Send him a text, block until it is answered, and return the answer.

        ``reports``: what is to be told of its fate, ``'delivered'``, ``'failed'``, ``'processed'``, ``'displayed'`` (or
        the words of RFC 5438 6.2); it is seen as ``'report'`` events then, whose ``message_id`` is that of the message:
        give one to tell several apart.  ``options`` and what is raised are those of ``ua.message``.
        """
        body: Any = text
        if reports:
            data, kind = body_of(text, content_type, 'text/plain;charset=utf-8')
            # The From of the request, which linphone compares with it.
            own = (str(self.account.aor.uri) if self.account is not None
                   else self.ua._own_address(self.uri, ()).strip('<>'))
            number = self.ua.core.random.getrandbits(64)
            body = ask(own, str(self.uri), data, message_id or f'{number:016x}', wanted_reports(reports),
                       content=kind or 'text/plain', time=datetime.now(UTC))
            content_type = None
        self._composer.fire('message sent', self.ua.clock.now())
        if self.account is not None:
            return self.account.message(self.uri, body, content_type=content_type, timeout=timeout, **options)
        return self.ua.message(self.uri, body, content_type=content_type, timeout=timeout, **options)

    def composing(self, active: bool = True) -> None:
        """We are writing him something: to be called at each keystroke, or the like; he is told when that begins, from
        time to time, and 15 s after the last call (RFC 3994 3.2).  False: we have stopped.  Does not block.

        ``message()`` ends it too.  Raises WrongState when closed, WrongThread.
        """
        self.ua.check_thread()
        if self._closed or self.ua.closed:
            raise WrongState('the buddy is closed')
        if self._tells:
            self._composer.fire('content' if active else 'stop', self.ua.clock.now())

    @property
    def is_composing(self) -> bool:
        """Whether he is writing us something."""
        return self._watch.state == ACTIVE

    def _tell_composing(self, active: bool) -> None:
        if not self._tells or self.ua.closed:
            return
        status = IsComposing(active, kind='text/plain', refresh=REFRESH if active else None)
        try:
            send_message(self.ua, self.account, self.uri, status, owner=Answer(self))
        except GreensipError as error:
            log.debug('! %r cannot be told: %s', self, error)

    def _note_composing(self, active: bool) -> None:
        self.deliver(Notice('composing', time=self.ua.clock.now(), leg=self, detail='active' if active else 'idle'))

    def on_message(self, message: IncomingMessage) -> None:
        """A message of his.  Must not block."""
        now = message.time
        if message.label == 'composing':
            if message.document.active:
                self._watch.fire('active status', message.document.lasts, now)
            else:
                self._watch.fire('idle status', 0, now)
            return
        if message.label == 'MESSAGE':
            self._watch.fire('message', 0, now)
        self.deliver(message)

    # -- the end

    def close(self) -> None:
        """Watch him no longer, and take no more messages.  Never blocks, may be called twice; the end of a ``with``
        block does it."""
        if self._closed:
            return
        self._closed = True
        ua = self.ua
        now = ua.clock.now()
        self._composer.fire('close', now)
        self._watch.last(0, now)
        if self._board is not None:
            key = key_of(self.uri)
            others = [buddy for buddy in self._board.buddies.get(key, ()) if buddy is not self]
            if others:
                self._board.buddies[key] = others
            else:
                self._board.buddies.pop(key, None)
        if self in ua.buddies:
            ua.buddies.remove(self)
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.owner = None
            subscription.close(now)
        ending = Notice('ended', time=now, leg=self, error=LocalHangup())
        for waiting in (self._asking, self._leaving):
            if waiting is not None:
                waiting.finish(ending)
        self.finish(ending)
        ua.endpoint.flush()

    def __repr__(self) -> str:
        return f'<Buddy {self.uri} {self._status}>'
