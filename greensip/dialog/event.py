"""What happened: the values that the core hands upwards (ARCHITECTURE's second queue)."""

from __future__ import annotations

from typing import Any, Final

from greensip.message import Request, Response

__all__ = ['ENDED', 'FAILED', 'FORKED', 'INCOMING', 'LOST', 'REFRESHED', 'REGISTERED', 'REQUEST', 'RESPONSE', 'Event']

#: a call came in: ``subject`` is its new usage, ``message`` the INVITE
INCOMING: Final = 'incoming'
#: a request came in: ``exchange`` is the server transaction that waits for an answer (None for an ACK;
#: already answered for BYE and CANCEL); ``subject`` is the usage, or None outside of dialogs
REQUEST: Final = 'request'
#: a response came in: ``exchange`` is the ClientRequest that it answers
RESPONSE: Final = 'response'
#: the ClientRequest ``exchange`` got no answer: ``error`` says why
FAILED: Final = 'failed'
#: the usage is over, its last event: ``error`` says why
ENDED: Final = 'ended'
#: another branch of a forked INVITE was answered too; it was acknowledged and hung up (RFC 3261 13.2.2.4), or
#: ``exchange`` is the usage of its own that it has become
FORKED: Final = 'forked'
#: a registration has begun, was refreshed (``message`` is the 2xx), or is lost: ``error`` says why
REGISTERED: Final = 'registered'
REFRESHED: Final = 'refreshed'
LOST: Final = 'lost'


class Event:
    """One thing that happened.  ``kind`` is one of this module's constants, ``time`` in seconds."""

    __slots__ = ('code', 'error', 'exchange', 'kind', 'label', 'message', 'subject', 'time')

    def __init__(
        self,
        kind: str,
        subject: Any,
        message: Request | Response | None,
        time: float,
        code: int = 0,
        exchange: Any = None,
        error: Exception | None = None,
    ) -> None:
        self.kind = kind
        self.subject = subject
        self.message = message
        self.time = time
        self.code = code
        self.exchange = exchange
        self.error = error
        #: what a pattern is compared with: the status code, the method, or the kind
        self.label: int | str = code or (
            message.method if message is not None and isinstance(message, Request) else kind
        )

    @property
    def name(self) -> str:
        """The status code or the method as text, else the kind."""
        return str(self.label)

    @property
    def leg(self) -> Any:
        """The owner of the usage, if there is one."""
        return self.subject.owner if self.subject is not None else None

    def __repr__(self) -> str:
        return f'<Event {self.kind} {self.name} at {self.time:.3f}>'
