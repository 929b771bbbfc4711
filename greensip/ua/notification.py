"""A NOTIFY as a script sees it: RFC 6665 4.1.3, with the document of its package as a value."""

from __future__ import annotations

from typing import Any, Final

from greensip.body import content_of, parse_document
from greensip.dialog.subscription import event_of
from greensip.errors import ParseError
from greensip.message import Request, SubscriptionState

from .threads import Carrier

__all__ = ['CONTENT_TYPES', 'Notification']

#: what the documents of the usual packages are: RFC 3856, 4235, 3842, 3680, 4575, 3515
CONTENT_TYPES: Final = {
    'conference': 'application/conference-info+xml',
    'dialog': 'application/dialog-info+xml',
    'message-summary': 'application/simple-message-summary',
    'presence': 'application/pidf+xml',
    'refer': 'message/sipfrag;version=2.0',
    'reg': 'application/reginfo+xml',
}


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
