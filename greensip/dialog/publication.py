"""Publications: RFC 3903 4 and 5, the event publication agent, told the time.

What is published is soft state: an entity-tag stands for it, which is another one after each success, and it is
refreshed before it expires.  When the compositor has lost it (412) it is published anew.

    init --PUBLISH--> publishing --2xx--> published --PUBLISH (refresh, modify)--> publishing ...
      --PUBLISH Expires 0--> removing --any final response--> ended

One PUBLISH at a time (4): what is to be said meanwhile waits, and only the latest document is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greensip.errors import (
    LocalHangup,
    ResponseError,
    TransportError,
    UsageError,
    WrongState,
    response_error,
)
from greensip.fsm import Machine, Row
from greensip.message import Response
from greensip.transaction.timers import Timer

from .event import ENDED, FAILED, RESPONSE, Event
from .exchange import ClientRequest, Fields
from .outside import Destination
from .soft_state import LONGEST_RETRY_AFTER, back_off, refresh_delay, seconds_in

if TYPE_CHECKING:
    from .core import Core

__all__ = [
    'INIT',
    'OVER',
    'PUBLISHED',
    'PUBLISHING',
    'REMOVING',
    'WAITING',
    'ClientPublication',
]

INIT: Final = 'init'
PUBLISHING: Final = 'publishing'  # a PUBLISH is out
PUBLISHED: Final = 'published'
WAITING: Final = 'waiting'  # the compositor could not be reached: to try again
REMOVING: Final = 'removing'  # the last PUBLISH is out
OVER: Final = 'ended'

#: responses after which another try makes no sense, whatever is in it
FATAL: Final = frozenset({403, 404, 405, 410, 416, 482, 483, 484, 485, 489, 501, 604})
#: responses that may be another one in a while
PASSING: Final = frozenset({408, 480, 500, 502, 503, 504})
#: so often a 423, or a 412, is believed in a row
MAX_AGAIN: Final = 3


# What the arrows do.  Actions get the publication and what came with the event.


def send(pub: ClientPublication, now: float) -> None:
    pub.send(now)


def send_removal(pub: ClientPublication, now: float) -> None:
    """4.5."""
    pub.send(now, removal=True)


def published(pub: ClientPublication, now: float) -> None:
    """8.2: the entity-tag of the response replaces the one before; what waited meanwhile follows."""
    pub.attempts = 0
    if pub.to_remove:
        pub.begin_removal(now)
    elif pub.waiting:
        pub.fire('publish', now)


def wait(pub: ClientPublication, delay: float, now: float) -> None:
    if pub.to_remove:
        pub.fire('over', LocalHangup(), now)
    else:
        pub.retry = pub.core.timers.add(delay, now, pub, 'again')


def over(pub: ClientPublication, error: Exception, now: float) -> None:
    pub.finish(error, now)


class ClientPublication(Machine):
    """The document of one event package at one compositor (RFC 3903 4).  Made by ``core.publish``.

    ``owner`` is free for the layer above.  Each final response is a RESPONSE event, no response a FAILED one; ENDED is
    the last.
    """

    __slots__ = (
        '_expiry',
        'again',
        'answered',
        'attempts',
        'body',
        'content_type',
        'core',
        'cseq',
        'destination',
        'digest',
        'etag',
        'exchange',
        'expires',
        'expires_at',
        'headers',
        'outcome',
        'over',
        'owner',
        'package',
        'retry',
        'said',
        'to_remove',
        'version',
        'waiting',
    )

    initial = INIT
    rows = (
        # 4.2, 4.3, 4.4
        Row(INIT, 'publish', PUBLISHING, send),
        Row(PUBLISHED, 'publish', PUBLISHING, send),
        Row(WAITING, 'publish', PUBLISHING, send),
        Row(PUBLISHING, '2xx', PUBLISHED, published),
        # 5: 412 and 423 are answered with another PUBLISH
        Row(PUBLISHING, 'once more', PUBLISHING, send),
        # what was published before stands, what was refused is forgotten
        Row(PUBLISHING, 'refused', PUBLISHED, published),
        Row(PUBLISHING, 'failed', WAITING, wait),
        Row(PUBLISHING, 'over', OVER, over),
        Row(WAITING, 'over', OVER, over),
        # 4.5
        Row(PUBLISHED, 'remove', REMOVING, send_removal),
        Row(WAITING, 'remove', REMOVING, send_removal),
        Row(REMOVING, 'over', OVER, over),
        Row(PUBLISHED, 'over', OVER, over),
    )

    def __init__(
        self,
        core: Core,
        package: str,
        destination: Destination,
        body: bytes,
        content_type: str | None,
        *,
        expires: int = 3600,
        headers: Fields = (),
        digest: Any = None,
        etag: str | None = None,
    ) -> None:
        super().__init__()
        self.core = core
        self.owner: Any = None
        self.package = package
        self.destination = destination
        #: the latest document, and its number; the number of the one that was answered last, and how
        self.body = body
        self.content_type = content_type
        self.version = 1
        self.answered = 0
        self.outcome: Response | Exception | None = None
        #: what the PUBLISH that is out says: that number, or 0 for a refresh
        self.said = 0
        self.expires = expires
        self.headers = headers
        self.digest = digest
        #: what stands for the published state; None before, and when it has been lost
        self.etag = etag
        self.expires_at: float | None = None
        self.exchange: ClientRequest | None = None
        self.cseq = 0
        self.to_remove = False
        #: 412 and 423 in a row, and failures in a row
        self.again = 0
        self.attempts = 0
        self.waiting = False
        self.over = False
        self.retry: Timer | None = None
        self._expiry: Timer | None = None
        # A PUBLISH makes no dialog, and so has no Contact unless the program gives one.
        if destination.contact is None:
            destination.contact = ''
        if destination.call_id is None:
            destination.call_id = core.new_call_id()
        if destination.from_tag is None:
            destination.from_tag = core.new_tag()
        core.publications.add(self)

    # -- the user's verbs

    def start(self, now: float) -> None:
        """Send the first PUBLISH."""
        if self.state != INIT:
            raise WrongState(f'the publication is {self.state}')
        try:
            self.fire('publish', now)
        except Exception:
            self.core.publications.discard(self)
            self.over = True
            raise

    def modify(self, now: float, body: bytes, content_type: str | None) -> None:
        """4.4: another document."""
        if not body:
            raise UsageError('a publication needs a document: remove() takes it away')
        if self.over or self.to_remove or self.state == REMOVING:
            raise WrongState(f'the publication is {self.state}')
        self.body = body
        self.content_type = content_type
        self.version += 1
        self._ask(now)

    def refresh(self, now: float) -> None:
        """4.3: it is also refreshed by itself."""
        if self.over or self.to_remove or self.state == REMOVING:
            raise WrongState(f'the publication is {self.state}')
        self._ask(now)

    def remove(self, now: float) -> None:
        """4.5.  A PUBLISH that is out is waited for."""
        if self.over or self.to_remove:
            return
        self.to_remove = True
        if self.state in (PUBLISHED, WAITING):
            self.begin_removal(now)

    def close(self, now: float) -> None:
        """As ``remove``."""
        self.remove(now)

    def begin_removal(self, now: float) -> None:
        """The last PUBLISH; none where there is nothing that it could name."""
        if self.etag is None:
            self.fire('over', LocalHangup(), now)
        else:
            self.fire('remove', now)

    def _ask(self, now: float) -> None:
        if not self.fire('publish', now):
            self.waiting = True

    # -- the requests

    def send(self, now: float, *, removal: bool = False) -> None:
        """A PUBLISH that says what has to be said: table 1."""
        self._stop(self.retry)
        self._stop(self._expiry)
        self.retry = self._expiry = None
        self.waiting = False
        full = not removal and (self.etag is None or self.version != self.answered)
        self.said = self.version if full else 0
        fields = [('Event', self.package), ('Expires', '0' if removal else str(self.expires))]
        if self.etag is not None:
            fields.append(('SIP-If-Match', self.etag))
        fields.extend(self.headers)
        self.cseq += 1
        body, content_type = (self.body, self.content_type) if full else (b'', None)
        exchange = self.exchange = self.destination.request(
            self.core, 'PUBLISH', self, self.cseq, fields, body, content_type, self.digest
        )
        exchange.start(now)

    # -- what comes in

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """5."""
        code = response.code
        if code < 200 or exchange is not self.exchange or self.over:
            return
        self.cseq = exchange.envelope.cseq
        if self.state == REMOVING:
            self._tell(response, now)
            self.fire('over', LocalHangup(), now)
            return
        if code in (412, 423) and not self.to_remove and self.again < MAX_AGAIN and self._may_ask_again(response):
            self.again += 1
            self.fire('once more', now)
            return
        self.again = 0
        if code < 300:
            self._accepted(response, now)
            return
        error = response_error(code, response.reason, response)
        if code in PASSING and self.answered:
            self.outcome = response
            self._tell(response, now)
            self.fire('failed', self._delay(response), now)
        elif code in FATAL or not self.answered or self.etag is None or self.said == 0:
            self.outcome = response
            self._tell(response, now)
            self.fire('over', error, now)
        else:
            # The document was refused; the one before stands.
            self._conclude(response)
            self._tell(response, now)
            self._schedule(now)
            self.fire('refused', now)

    def _may_ask_again(self, response: Response) -> bool:
        if response.code == 412:
            # 5: "The EPA MUST also discard the entity-tag that produced this error response"
            lost, self.etag = self.etag is not None, None
            return lost
        least = seconds_in(response, 'Min-Expires')
        if least is None or least <= self.expires:
            return False
        self.expires = least
        return True

    def _accepted(self, response: Response, now: float) -> None:
        tag = response.get('SIP-ETag')
        # 6: it MUST be there; without one it can only be published anew.
        self.etag = tag.strip() if tag is not None and tag.strip() else None
        granted = seconds_in(response, 'Expires')
        expires = self.expires if granted is None else min(granted, self.expires)
        self.expires_at = now + expires
        self._conclude(response)
        self._tell(response, now)
        self._schedule(now)
        self.fire('2xx', now)

    def _conclude(self, outcome: Response) -> None:
        self.outcome = outcome
        if self.said:
            self.answered = self.said

    def _schedule(self, now: float) -> None:
        left = (self.expires_at or now) - now
        self._stop(self._expiry)
        self._expiry = self.core.timers.add(max(refresh_delay(left), 1.0), now, self, 'refresh')

    def _delay(self, response: Response | None) -> float:
        """Seconds until the next attempt; RFC 3261 20.33 if the compositor says so."""
        self.attempts += 1
        delay = back_off(self.attempts, self.core.random.getrandbits(10) / 1024)
        asked = seconds_in(response, 'Retry-After') if response is not None else None
        return delay if asked is None else max(delay, min(float(asked), LONGEST_RETRY_AFTER))

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """No response."""
        if exchange is not self.exchange or self.over:
            return
        self.cseq = exchange.envelope.cseq
        self.outcome = error
        self.core.events.append(Event(FAILED, self, None, now, 0, exchange, error))
        if self.state == REMOVING:
            self.fire('over', LocalHangup(), now)
        elif self.answered and not isinstance(error, ResponseError):
            if isinstance(error, TransportError):
                # The flow that it was to take is gone: the URI may still lead there.
                self.destination.flow = None
            self.fire('failed', self._delay(None), now)
        else:
            self.fire('over', error, now)

    def _tell(self, response: Response, now: float) -> None:
        self.core.events.append(Event(RESPONSE, self, response, now, response.code, self.exchange))

    def on_timer(self, name: str, now: float) -> None:
        """``refresh``, ``again``."""
        if name == 'again':
            self.retry = None
        else:
            self._expiry = None
        self.fire('publish', now)

    def _stop(self, timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()

    def finish(self, error: Exception, now: float) -> None:
        """The last event."""
        if self.over:
            return
        self.over = True
        self._stop(self.retry)
        self._stop(self._expiry)
        self.core.publications.discard(self)
        self.core.events.append(Event(ENDED, self, None, now, 0, None, error))

    def __repr__(self) -> str:
        return f'<ClientPublication {self.package} {self.state}>'
