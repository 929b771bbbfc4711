"""Every exception of greensip, in one tree.

    GreensipError                       .status: what a B2BUA would answer the other leg with
     +- UsageError                      the caller's mistake
     |   +- SetupError                  a program cannot start as it was asked to: one sentence for a person
     |   +- WrongThread                 called from a foreign OS thread
     |   +- WrongState                  the right call at the wrong moment
     +- ParseError (ValueError)         the peer's text is wrong: what, text, position          400
     +- TransportError (OSError)                                                                503
     |   +- ResolveError                a name has no usable address
     |   +- ConnectError                nobody listens there
     |   +- TlsError
     |   +- MessageTooBig               over what the transport carries                         513
     +- TransactionTimeout (TimeoutError)   timer B, F or H of RFC 3261 fired                   408
     +- WaitTimeout (TimeoutError)      our own deadline passed; says what was seen             408
     +- ResponseError                   a final response other than 2xx: code, reason, response
     |   +- Redirected (3xx, .contacts), Unauthorized (401, 407), Forbidden (403), NotFound (404),
     |   |  Busy (486, 600), Declined (603), Unavailable (480, 503), NotAcceptable (406, 488, 606),
     |   |  RequestTerminated (487), TooBrief (423), ServerFailure (5xx)
     +- LegEnded                        a call that is over: .reason
     |   +- RemoteHangup, RemoteCancel, Replaced, SessionExpired, InviteExpired, MediaTimeout, LocalHangup
     +- SubscriptionEnded               a subscription that is over: .reason, .retry_after       481
     |   +- Unsubscribed                we ended it ourselves
     +- MediaError                                                                              488
     |   +- NegotiationFailed, CodecError, SrtpError
     +- UnexpectedMessage               strict scripts only

Below ``greensip.ua`` a 486 is a value; in ``greensip.ua`` it is an exception.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    'Busy', 'CodecError', 'ConnectError', 'Declined', 'Forbidden', 'GreensipError', 'InviteExpired', 'LegEnded',
    'LocalHangup', 'MediaError', 'MediaTimeout', 'MessageTooBig', 'NegotiationFailed',
    'NotAcceptable', 'NotFound', 'ParseError', 'Redirected', 'RemoteCancel', 'RemoteHangup',
    'Replaced', 'RequestTerminated', 'ResolveError', 'ResponseError', 'ServerFailure',
    'SessionExpired', 'SetupError', 'SrtpError', 'SubscriptionEnded', 'TlsError', 'TooBrief', 'TransactionTimeout',
    'TransportError', 'Unauthorized', 'Unavailable', 'UnexpectedMessage', 'Unsubscribed', 'UsageError', 'WaitTimeout',
    'WrongState', 'WrongThread', 'response_error',
]


class GreensipError(Exception):
    """The root.  ``status`` is the SIP status a B2BUA would give its other leg."""

    status: int = 500


class UsageError(GreensipError):
    """The program asked for something that makes no sense; nothing was sent."""


class SetupError(UsageError):
    """A program cannot start as it was asked to; the text is one sentence for the person who started it."""


class WrongThread(UsageError):
    """An object was used from an OS thread other than that of its hub."""


class WrongState(UsageError):
    """The right call at the wrong moment, such as ``answer()`` on an ended leg."""


class ParseError(GreensipError, ValueError):
    """The peer's text is wrong.

    ``what`` says what is wrong, ``text`` is the offending text, ``position`` the offset in it.
    ``message`` is the message as far as it could be read, when that is enough to answer it.
    """

    status = 400

    def __init__(self, what: str, text: str = '', position: int = 0, *, message: Any = None,
                 status: int = 400) -> None:
        super().__init__(what, text, position)
        self.what = what
        self.text = text
        self.position = position
        self.message = message
        self.status = status

    def __str__(self) -> str:
        if not self.text:
            return self.what
        shown = self.text if len(self.text) <= 80 else self.text[:77] + '...'
        return f'{self.what} at {self.position} in {shown!r}'


class TransportError(GreensipError, OSError):
    """A message could not be handed to the network (RFC 3261 8.1.3.1: as good as a 503).

    ``kept``: the connection was one that had served before, so that a new one may do.
    """

    status = 503
    kept = False


class ResolveError(TransportError):
    """A name has no address that could be used (RFC 3263)."""


class ConnectError(TransportError):
    """The peer cannot be reached: refused, unreachable, reset."""


class TlsError(TransportError):
    """TLS could not be set up, or the certificate does not fit the name."""


class MessageTooBig(TransportError):
    """The message is larger than the transport carries."""

    status = 513


class TransactionTimeout(GreensipError, TimeoutError):
    """Timer B, F or H fired: no response, or no ACK (RFC 3261 17)."""

    status = 408


class WaitTimeout(GreensipError, TimeoutError):
    """A deadline of the script passed; the text says what was seen meanwhile."""

    status = 408


class ResponseError(GreensipError):
    """A final response other than 2xx.  ``response`` is the message, if there was one."""

    def __init__(self, code: int, reason: str = '', response: Any = None) -> None:
        super().__init__(code, reason, response)
        self.code = code
        self.status = code
        self.reason = reason
        self.response = response

    @property
    def retry_after(self) -> int | None:
        """Seconds after which one may try again (Retry-After, RFC 3261 20.33); None if the response has none that can
        be read."""
        if self.response is None or not self.response.has('Retry-After'):
            return None
        try:
            seconds: int = self.response.value('Retry-After').seconds
        except ParseError:
            return None
        return seconds

    @property
    def warnings(self) -> list[Any]:
        """The Warning values of the response (RFC 3261 20.43), with ``code``, ``agent`` and ``text``; those that cannot
        be read are none."""
        if self.response is None:
            return []
        try:
            return list(self.response.values('Warning'))
        except ParseError:
            return []

    def __str__(self) -> str:
        return f'{self.code} {self.reason}'.rstrip()


class Redirected(ResponseError):
    """3xx.  ``contacts`` are the offered alternatives, best first."""

    @property
    def contacts(self) -> list[Any]:
        """The Contacts of the response, by their q values; those that cannot be read are none."""
        if self.response is None:
            return []
        try:
            return sorted(self.response.contacts, key=lambda contact: -contact.q)
        except ParseError:
            return []


class Unauthorized(ResponseError):
    """401 or 407 that our credentials could not satisfy."""


class Forbidden(ResponseError):
    """403."""


class NotFound(ResponseError):
    """404."""


class Busy(ResponseError):
    """486 or 600."""


class Declined(ResponseError):
    """603."""


class Unavailable(ResponseError):
    """480 or 503."""


class NotAcceptable(ResponseError):
    """406, 488 or 606."""


class RequestTerminated(ResponseError):
    """487: the INVITE was cancelled."""


class TooBrief(ResponseError):
    """423: the interval is too brief."""


class ServerFailure(ResponseError):
    """5xx other than 503."""


_BY_CODE: dict[int, type[ResponseError]] = {
    401: Unauthorized, 403: Forbidden, 404: NotFound, 406: NotAcceptable, 407: Unauthorized,
    423: TooBrief, 480: Unavailable, 486: Busy, 487: RequestTerminated, 488: NotAcceptable,
    503: Unavailable, 600: Busy, 603: Declined, 606: NotAcceptable,
}


def response_error(code: int, reason: str = '', response: Any = None) -> ResponseError:
    """The exception for a final response: the class by its code, else by its hundred."""
    cls = _BY_CODE.get(code)
    if cls is None:
        cls = {3: Redirected, 5: ServerFailure}.get(code // 100, ResponseError)
    return cls(code, reason, response)


class LegEnded(GreensipError):
    """The call is over.  ``reason`` is the text of the peer's Reason header field, if any."""

    status = 487
    text: ClassVar[str] = 'the call has ended'

    def __init__(self, reason: str | None = None, message: Any = None) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f'{self.text} ({self.reason})' if self.reason else self.text


class RemoteHangup(LegEnded):
    """The peer sent a BYE."""

    status = 480
    text = 'the peer hung up'


class RemoteCancel(LegEnded):
    """The caller gave up before the call was answered."""

    text = 'the caller cancelled'


class Replaced(LegEnded):
    """Another dialog took the place of this one (RFC 3891)."""

    text = 'the call was replaced by another'


class InviteExpired(LegEnded):
    """The time that the caller gave us to answer is over: the ``Expires`` of its INVITE (RFC 3261 13.3.1)."""

    text = 'the invitation expired'


class SessionExpired(LegEnded):
    """The session timer ran out (RFC 4028)."""

    status = 408
    text = 'the session expired'


class MediaTimeout(LegEnded):
    """No media came for too long."""

    status = 480
    text = 'no media came'


class LocalHangup(LegEnded):
    """We ended the call ourselves."""

    text = 'we hung up'


class SubscriptionEnded(GreensipError):
    """A subscription is over (RFC 6665).

    ``reason`` is the word of the last NOTIFY's Subscription-State, such as ``rejected`` or ``noresource``; None if it
    had none.  ``retry_after``: seconds before which it makes no sense to ask again, or None.
    """

    status = 481
    text: ClassVar[str] = 'the subscription has ended'

    def __init__(self, reason: str | None = None, retry_after: int | None = None, message: Any = None) -> None:
        super().__init__(reason, retry_after, message)
        self.reason = reason
        self.retry_after = retry_after
        self.message = message

    def __str__(self) -> str:
        return f'{self.text} ({self.reason})' if self.reason else self.text


class Unsubscribed(SubscriptionEnded):
    """We ended the subscription ourselves."""

    text = 'we ended the subscription'


class MediaError(GreensipError):
    """Media could not be set up."""

    status = 488


class NegotiationFailed(MediaError):
    """Offer and answer have nothing in common, or came in the wrong order (RFC 3264)."""


class CodecError(MediaError):
    """A codec is not there, or its data is broken."""


class SrtpError(MediaError):
    """SRTP could not be set up."""


class UnexpectedMessage(GreensipError):
    """A strict script got a message it did not wait for."""
