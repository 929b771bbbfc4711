"""Subscriptions: RFC 6665, as usages of dialogs that are told the time.

A subscription is begun by a SUBSCRIBE, or by a REFER (RFC 3515), which implies one to the package ``refer``.
``ClientSubscription`` is the subscriber's half (4.1), ``ServerSubscription`` the notifier's (4.2); what they share is
here, and where requests find them.

**Dialogs.**  A subscription that was begun outside of dialogs has one of its own.  One that was begun inside a dialog
shares it with its call and with other subscriptions (4.5.2, RFC 5057): target, route set and sequence numbers are the
dialog's.  A ``Sharing`` holds the subscriptions of one dialog; when the call in that dialog ends, the dialog lives on
as long as they do.

**What comes in** is looked up here before the call of the dialog sees it: by the dialog, the event package and its id.
What matches none is the business of the call, or of the program: a SUBSCRIBE or REFER that asks for a new subscription
is an ordinary REQUEST event, and ``core.incoming_subscription(transaction, now)`` makes a ``ServerSubscription`` of it
where the program wants to be a notifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from greensip.errors import ParseError
from greensip.fsm import Machine
from greensip.message import EventValue, Request, Response
from greensip.message.grammar import quote
from greensip.native import mypyc_attr
from greensip.transaction.layer import ServerTransaction

from .dialog import Dialog, DialogId
from .event import ENDED, REQUEST, RESPONSE, Event
from .nobody import NOBODY

if TYPE_CHECKING:
    from .core import Core

__all__ = [
    'EVENT_METHODS',
    'FATAL',
    'MAX_SHARING',
    'Sharing',
    'Subscription',
    'Subscriptions',
    'event_of',
    'status_of',
]

#: methods of which a subscription may want to know
EVENT_METHODS: Final = frozenset({'NOTIFY', 'REFER', 'SUBSCRIBE'})

#: responses to a SUBSCRIBE or NOTIFY inside the dialog that end the subscription (4.1.2.2, 4.2.2)
FATAL: Final = frozenset({404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604})

#: so many subscriptions may share a dialog; who asks for more means harm
MAX_SHARING: Final = 32

#: what can be taken for nothing but the value of a parameter without quotes around it
_is_bare: Final = re.compile(r'[^\x00-\x20\x7f;,"<>\\]*').fullmatch


def event_of(request: Request) -> EventValue | None:
    """The Event of a request, None if it has none.  Raises ParseError."""
    value = request.value('Event')
    return value if isinstance(value, EventValue) else None


def status_of(body: bytes) -> tuple[int, str] | None:
    """Code and reason phrase of the status line that a ``message/sipfrag`` begins with (RFC 3515 2.4.5), or None."""
    line = body.split(b'\n', 1)[0].strip().decode('utf-8', 'replace')
    version, _, rest = line.partition(' ')
    code, _, reason = rest.strip().partition(' ')
    if version.upper() != 'SIP/2.0' or len(code) != 3 or not (code.isascii() and code.isdecimal()) or code < '100':
        return None
    return int(code), reason.strip()


@mypyc_attr(allow_interpreted_subclasses=True)
class Subscription(Machine):
    """What the two halves share.  ``owner`` is free for the layer above; the verbs take ``now`` and never block."""

    __slots__ = ('core', 'dialog', 'event_id', 'expires_at', 'over', 'owner', 'package', 'sharing')

    role = ''

    def __init__(self, core: Core, package: str, event_id: str | None) -> None:
        super().__init__()
        self.core = core
        #: the event package and the ``id`` of the Event header field
        self.package = package
        self.event_id = event_id
        #: free for the layer above
        self.owner: Any = None
        #: the dialog; None until there is one
        self.dialog: Dialog | None = None
        self.sharing: Sharing | None = None
        #: when it ends unless it is refreshed; None while that is not known
        self.expires_at: float | None = None
        self.over = False

    @property
    def event(self) -> str:
        """The Event header field's text."""
        number = self.event_id
        if number is None:
            return self.package
        # RFC 6665 8.4: a token.  That of a peer may be none, and goes back as he wrote it, or in quotes.
        return f'{self.package};id={number if _is_bare(number) else quote(number)}'

    def remaining(self, now: float) -> int:
        """Whole seconds until it expires; 0 if that is not known."""
        return max(0, round(self.expires_at - now)) if self.expires_at is not None else 0

    def matches(self, event: EventValue, method: str) -> bool:
        """Whether a request of the peer with this Event is about this subscription (8.2.1)."""
        raise NotImplementedError

    def on_request(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """A request of the peer about this subscription whose CSeq is in order."""
        raise NotImplementedError

    def close(self, now: float) -> None:
        """End it in the way its state asks for."""
        raise NotImplementedError

    def respond(
        self,
        transaction: ServerTransaction,
        code: int,
        now: float,
        *,
        headers: Iterable[tuple[str, str]] = (),
        to_tag: str | None = None,
        reason: str = '',
    ) -> Response:
        """Answer a request about this subscription; a 2xx refreshes the dialog's target (4.4.1)."""
        core, request, dialog = self.core, transaction.request, self.dialog
        response = core.make_response(request, code, reason, to_tag=to_tag)
        if dialog is not None and code < 300:
            dialog.refresh(request)
            response.add('Contact', dialog.contact)
        core.complete(response, request.method, list(headers), b'', None)
        core.layer.respond(transaction, response, now)
        return response

    def tell(self, message: Request | Response, now: float, exchange: Any) -> None:
        """Hand a message upwards."""
        if isinstance(message, Response):
            self.core.events.append(Event(RESPONSE, self, message, now, message.code, exchange))
        else:
            self.core.events.append(Event(REQUEST, self, message, now, 0, exchange))

    def join(self, dialog: Dialog) -> None:
        """Become one of the usages of ``dialog``."""
        self.dialog = dialog
        self.core.subscriptions.sharing_of(dialog).add(self)

    def finish(self, error: Exception, now: float) -> None:
        """The last event; nothing finds the subscription any more."""
        if self.over:
            return
        self.over = True
        self.leave()
        self.core.subscriptions.living.discard(self)
        self.core.events.append(Event(ENDED, self, None, now, 0, None, error))

    def leave(self) -> None:
        """The dialog goes on without this usage, or ends with it."""
        sharing, self.sharing = self.sharing, None
        if sharing is not None:
            sharing.remove(self)

    def on_transaction_failure(self, transaction: ServerTransaction, error: Exception, now: float) -> None:
        """A response of ours could not be sent: the peer will ask again, or give up."""

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.event} {self.state}>'


class Sharing:
    """The subscriptions of one dialog, and its usage when no call is left in it."""

    __slots__ = ('core', 'dialog', 'refers', 'subscriptions')

    def __init__(self, core: Core, dialog: Dialog) -> None:
        self.core = core
        self.dialog = dialog
        self.subscriptions: list[Subscription] = []
        #: how many REFERs of the peer have been accepted in this dialog (RFC 3515 2.4.6)
        self.refers = 0

    def add(self, subscription: Subscription) -> None:
        """A further usage."""
        subscription.sharing = self
        self.subscriptions.append(subscription)

    def remove(self, subscription: Subscription) -> None:
        """A usage less; the last one takes the dialog with it (4.5.2)."""
        self.subscriptions.remove(subscription)
        core, dialog = self.core, self.dialog
        if self.subscriptions:
            return
        if dialog.usage is self:
            core.dialogs.pop(dialog.id, None)
            core.subscriptions.sharing.pop(dialog.id, None)
            # No circles: what is over is freed at once.
            dialog.usage = None
        elif not self.refers or dialog.id not in core.dialogs:
            core.subscriptions.sharing.pop(dialog.id, None)

    def find(self, event: EventValue, method: str) -> Subscription | None:
        """The subscription that a request is about."""
        for subscription in self.subscriptions:
            if subscription.matches(event, method):
                return subscription
        return None

    def on_request(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """A request in a dialog without a call that no subscription knows.

        A further subscription may be asked for; any other request belongs to a usage that is not there (RFC 5057 5.1).
        """
        core = self.core
        if request.method in ('REFER', 'SUBSCRIBE', 'MESSAGE'):
            core.events.append(Event(REQUEST, None, request, now, 0, transaction))
        else:
            core.layer.respond(transaction, core.make_response(request, 481), now)

    def on_ack(self, request: Request, now: float) -> None:
        """The call is over."""

    def on_unreachable(self, dialog: Dialog, error: Exception, now: float) -> None:
        """Only the ACK of a call is meant."""


class Subscriptions:
    """All subscriptions of a core, and how requests find them."""

    __slots__ = ('awaited', 'core', 'living', 'sharing')

    def __init__(self, core: Core) -> None:
        self.core = core
        #: those that are not over
        self.living: set[Subscription] = set()
        #: the subscriptions of a dialog, by the dialog's id
        self.sharing: dict[DialogId, Sharing] = {}
        #: those whose first NOTIFY is still to come and will make the dialog, by Call-ID and our tag (4.4.1)
        self.awaited: dict[tuple[str, str], Any] = {}

    def __len__(self) -> int:
        return len(self.living)

    def sharing_of(self, dialog: Dialog) -> Sharing:
        """The subscriptions of ``dialog``; its usage too, where it has no other."""
        sharing = self.sharing.get(dialog.id)
        if sharing is None:
            sharing = self.sharing[dialog.id] = Sharing(self.core, dialog)
            # RFC 6665 4.5.2: also where its call ended while nobody had answered the SUBSCRIBE or REFER
            if dialog.usage is None or dialog.usage is NOBODY:
                dialog.usage = sharing
                self.core.dialogs[dialog.id] = dialog
        return sharing

    def on_request(self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float) -> bool:
        """A request inside ``dialog``; False if no subscription wants it."""
        sharing = self.sharing.get(dialog.id)
        if sharing is None or request.method == 'REFER':
            return False
        event = event_of(request)
        if event is None:
            return False
        subscription = sharing.find(event, request.method)
        if subscription is None:
            return False
        subscription.on_request(transaction, request, now)
        return True

    def on_first_notify(self, transaction: ServerTransaction, request: Request, now: float) -> bool:
        """A NOTIFY that may make a dialog (4.4.1); False if nobody waits for it."""
        if request.method != 'NOTIFY' or not self.awaited:
            return False
        subscription = self.awaited.get((request.call_id, request.to_tag or ''))
        if subscription is None:
            return False
        taken: bool = subscription.on_first_notify(transaction, request, now)
        return taken

    def on_call_ended(self, dialogs: Iterable[Dialog]) -> None:
        """A call is over: its dialogs live on where subscriptions share them (4.5.2)."""
        for dialog in dialogs:
            sharing = self.sharing.get(dialog.id)
            if sharing is None:
                continue
            if sharing.subscriptions:
                dialog.usage = sharing
                self.core.dialogs[dialog.id] = dialog
            else:
                del self.sharing[dialog.id]

    def check_room(self, dialog: Dialog) -> None:
        """Raise ParseError (403) when too many subscriptions share a dialog already."""
        sharing = self.sharing.get(dialog.id)
        if sharing is not None and len(sharing.subscriptions) >= MAX_SHARING:
            raise ParseError('too many subscriptions in one dialog', status=403)
