"""The notifier's half of a subscription: RFC 6665 4.2; the recipient of a REFER: RFC 3515 2.4.4, RFC 4488, RFC 7647.

A SUBSCRIBE has come in; the program accepts it, at once or pending somebody's consent, and each change of the state is
a NOTIFY.  While one NOTIFY has no answer the next one waits, and only the latest document is kept: what the subscriber
gets is the present state, not a history.

    resp_wait --accept--> active --terminate, or expired--> terminating --NOTIFY answered--> terminated

``terminating`` is added to the RFC's figure: the last NOTIFY is out, or waits for the answer to the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greensip.errors import (
    ParseError,
    SubscriptionEnded,
    Unsubscribed,
    UsageError,
    WrongState,
    response_error,
)
from greensip.fsm import Row
from greensip.message import EventValue, NameAddr, Request, Response
from greensip.transaction.layer import ServerTransaction, State
from greensip.transaction.timers import Timer

from .dialog import Dialog
from .event import FAILED, Event
from .exchange import ClientRequest, Fields
from .invite import InviteUsage
from .invite_server import wants_sips
from .nobody import NOBODY
from .soft_state import seconds_in
from .subscription import FATAL, Subscription, event_of

if TYPE_CHECKING:
    from .core import Core

__all__ = [
    'ACTIVE',
    'DEFAULT_EXPIRES',
    'PENDING',
    'REFER_EXPIRES',
    'RESP_WAIT',
    'TERMINATED',
    'TERMINATING',
    'ServerSubscription',
]

RESP_WAIT: Final = 'resp_wait'  # the SUBSCRIBE is in, nothing has gone back
PENDING: Final = 'pending'  # accepted, but somebody has still to consent
ACTIVE: Final = 'active'
TERMINATING: Final = 'terminating'  # the last NOTIFY is out
TERMINATED: Final = 'terminated'

#: seconds for a SUBSCRIBE that names no time; packages define theirs (RFC 6665 5.4.4), an hour is the usual one
DEFAULT_EXPIRES: Final = 3600
#: seconds for which a REFER is reported on (RFC 3515 3.4): a call may ring for three minutes (timer C)
REFER_EXPIRES: Final = 300
#: seconds, the longest wait before a NOTIFY that was refused for the moment is sent again
LONGEST_WAIT: Final = 60.0

SIPFRAG: Final = 'message/sipfrag;version=2.0'


# What the arrows do.  Actions get the subscription and what came with the event.


def send_notify(sub: ServerSubscription, now: float) -> None:
    """4.2.1.2, 4.2.2."""
    sub.push(now)


def refuse(sub: ServerSubscription, error: Exception, now: float) -> None:
    sub.finish(error, now)


def terminate(sub: ServerSubscription, reason: str, retry_after: int | None, error: Exception, now: float) -> None:
    """4.2.2: the last NOTIFY says why."""
    sub.reason = reason
    sub.retry_after = retry_after
    sub.error = error
    sub.push(now)


def remove(sub: ServerSubscription, error: Exception, now: float) -> None:
    """4.2.2: who does not take a NOTIFY has no subscription."""
    sub.finish(error, now)


def removed(sub: ServerSubscription, error: Exception | None, now: float) -> None:
    """Whatever became of the last NOTIFY."""
    sub.finish(sub.error or Unsubscribed(sub.reason), now)


class ServerSubscription(Subscription):
    """The notifier's half: 4.2.  Made by ``core.incoming_subscription`` of a SUBSCRIBE or REFER.

    ``accept`` or ``pend`` must follow soon: the subscriber waits 64*T1 at most (4.2.1.1).
    """

    __slots__ = (
        '_again',
        '_expiry',
        '_request',
        'body',
        'content_type',
        'digest',
        'error',
        'exchange',
        'headers',
        'longest',
        'method',
        'reason',
        'repeats',
        'retry_after',
        'shortest',
        'stale',
        'transaction',
        'within',
    )

    role = 'notifier'
    initial = RESP_WAIT
    rows = (
        # the figure of 4.2.2
        Row(RESP_WAIT, 'accept', ACTIVE, send_notify),
        Row(RESP_WAIT, 'pend', PENDING, send_notify),
        Row(RESP_WAIT, 'refuse', TERMINATED, refuse),
        # 4.4.3: a fetch
        Row(RESP_WAIT, 'terminate', TERMINATING, terminate),
        Row(PENDING, 'activate', ACTIVE, send_notify),
        Row(PENDING, 'notify', PENDING, send_notify),
        Row(PENDING, 'SUBSCRIBE', PENDING, send_notify),
        Row(PENDING, 'terminate', TERMINATING, terminate),
        Row(PENDING, 'NOTIFY failure', TERMINATED, remove),
        Row(ACTIVE, 'notify', ACTIVE, send_notify),
        Row(ACTIVE, 'SUBSCRIBE', ACTIVE, send_notify),
        Row(ACTIVE, 'terminate', TERMINATING, terminate),
        Row(ACTIVE, 'NOTIFY failure', TERMINATED, remove),
        # the last NOTIFY
        Row(TERMINATING, 'NOTIFY answered', TERMINATED, removed),
        Row(TERMINATING, 'NOTIFY failure', TERMINATED, removed),
    )

    def __init__(
        self,
        core: Core,
        transaction: ServerTransaction,
        dialog: Dialog | None,
        within: InviteUsage | None,
        now: float,
    ) -> None:
        request = transaction.request
        method = request.method
        if method == 'REFER':
            self._check_refer(request)
            package, event_id = 'refer', None
        else:
            event = event_of(request)
            if event is None:
                # 4.2.1.1; PINT, which had no Event (4.2.3), is not spoken here.
                raise ParseError('a SUBSCRIBE without Event', status=489)
            if event.package == 'refer':
                # RFC 3515 2.4.4: "REFER is the only mechanism that can create a subscription to event refer"
                raise ParseError('a SUBSCRIBE for what no REFER has begun', status=403)
            package, event_id = event.package, event.id
            request.expires  # noqa: B018  a broken one is refused before anything is made of it
        if dialog is not None:
            core.subscriptions.check_room(dialog)
        super().__init__(core, package, event_id)
        self._request = request
        #: SUBSCRIBE or REFER, and its transaction
        self.method = method
        self.transaction = transaction
        #: the call whose dialog it shares
        self.within = within
        self.dialog = dialog
        self.digest: Any = within.digest() if within is not None else None
        #: seconds that are granted at most, and at least where the subscriber asks for less than an hour (4.2.1.1)
        self.longest = REFER_EXPIRES if method == 'REFER' else DEFAULT_EXPIRES
        self.shortest = 0
        #: whether a refresh is answered with the latest document by itself
        self.repeats = True
        #: the document as it stands
        self.body = b''
        self.content_type: str | None = None
        self.headers: Fields = ()
        #: the NOTIFY that has no answer, and whether another one has to follow it
        self.exchange: ClientRequest | None = None
        self.stale = False
        self.reason = ''
        self.retry_after: int | None = None
        self.error: Exception | None = None
        self._expiry: Timer | None = None
        self._again: Timer | None = None
        # The subscriber waits no longer (4.2.1.1, timer F), so neither do we.
        self._expiry = core.timers.add(core.settings.transaction_time, now, self, 'unanswered')
        core.subscriptions.living.add(self)

    @staticmethod
    def _check_refer(request: Request) -> None:
        """RFC 3515 2.4.2: exactly one Refer-To."""
        texts = request.get_all('Refer-To')
        if len(texts) != 1 or not isinstance(request.value('Refer-To'), NameAddr):
            raise ParseError(f'a REFER with {len(texts)} Refer-To')
        if len(request.values('Refer-To')) != 1:
            raise ParseError('a REFER with several Refer-To', texts[0])

    # -- the user's verbs

    @property
    def request(self) -> Request:
        """The SUBSCRIBE or REFER that began it."""
        return self._request

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self._request.call_id

    @property
    def wanted(self) -> int:
        """Seconds that the subscriber asked for; 0 for the state once (4.4.3)."""
        expires = self._request.expires if self.method == 'SUBSCRIBE' else None
        return self.longest if expires is None else expires

    @property
    def may_be_suppressed(self) -> bool:
        """RFC 4488: whether the issuer of the REFER can do without NOTIFYs."""
        return (self._request.get('Refer-Sub') or '').partition(';')[0].strip().lower() == 'false'

    def accept(
        self,
        now: float,
        expires: int | None = None,
        code: int = 200,
        *,
        body: bytes = b'',
        content_type: str | None = None,
        headers: Fields = (),
        subscription: bool = True,
    ) -> None:
        """4.2.1.2: grant it; the response is followed by a NOTIFY with ``body`` at once.

        ``expires``: so many seconds at most.  ``headers`` go into the NOTIFYs.
        A REFER is reported on with "100 Trying" unless ``body`` says something else (RFC 3515 2.4.5);
        ``subscription=False`` takes it without NOTIFYs where its issuer asked for that (RFC 4488).
        """
        self._grant('accept', now, expires, code, body, content_type, headers, subscription)

    def pend(
        self, now: float, expires: int | None = None, *, body: bytes = b'', content_type: str | None = None
    ) -> None:
        """4.2.1.3: take it, but somebody has still to consent; ``body`` should tell nothing yet."""
        self._grant('pend', now, expires, 200, body, content_type, (), True)

    def activate(
        self, now: float, body: bytes = b'', content_type: str | None = None, *, headers: Fields = ()
    ) -> None:
        """Consent has been given."""
        if self.state != PENDING:
            raise WrongState(f'cannot activate: the subscription is {self.state}')
        self._document(body, content_type, headers)
        self.fire('activate', now)

    def reject(self, now: float, code: int, *, reason: str = '', headers: Fields = ()) -> None:
        """Refuse it: 403 or 603, 489 for an unknown package, 423 with Min-Expires ..."""
        if self.state != RESP_WAIT:
            raise WrongState(f'cannot reject: the subscription is {self.state}')
        if code < 300:
            raise UsageError(f'{code} is no refusal')
        if not self._is_open:
            raise WrongState(f'the {self.method} has been answered')
        self.respond(self.transaction, code, now, headers=headers, to_tag=self._new_tag(), reason=reason)
        self.fire('refuse', SubscriptionEnded('rejected'), now)

    def notify(
        self, now: float, body: bytes, content_type: str | None = None, *, headers: Fields = ()
    ) -> None:
        """4.2.2: the state has changed.  While a NOTIFY has no answer the latest document waits, and only that."""
        if self.state not in (PENDING, ACTIVE):
            raise WrongState(f'nobody to notify: the subscription is {self.state}')
        self._document(body, content_type, headers)
        self.fire('notify', now)

    def terminate(
        self,
        now: float,
        reason: str = 'noresource',
        retry_after: int | None = None,
        *,
        body: bytes | None = None,
        content_type: str | None = None,
        headers: Fields = (),
    ) -> None:
        """4.2.2: end it with a last NOTIFY; ``body`` None has the latest document in it, b'' has none."""
        if self.state not in (PENDING, ACTIVE):
            raise WrongState(f'cannot terminate: the subscription is {self.state}')
        if body is not None:
            self._document(body, content_type, headers)
        self.fire('terminate', reason, retry_after, Unsubscribed(reason, retry_after), now)

    def close(self, now: float) -> None:
        if self.state == RESP_WAIT:
            if self._is_open:
                self.reject(now, 480)
            else:
                # The program has answered without us.
                self.fire('refuse', SubscriptionEnded('rejected'), now)
        elif self.state in (PENDING, ACTIVE):
            self.terminate(now, 'noresource' if self.method == 'REFER' else 'deactivated')

    # -- pieces

    @property
    def _is_open(self) -> bool:
        """Whether what began it has no final response yet."""
        return self.transaction.state in (State.TRYING, State.PROCEEDING)

    def _new_tag(self) -> str | None:
        return None if self._request.to_tag else self.core.new_tag()

    def _document(self, body: bytes, content_type: str | None, headers: Fields) -> None:
        if headers:
            self.core.check_headers(headers)
        self.body = body
        self.content_type = content_type if body else None
        self.headers = headers

    def _grant(
        self,
        event: str,
        now: float,
        expires: int | None,
        code: int,
        body: bytes,
        content_type: str | None,
        headers: Fields,
        subscription: bool,
    ) -> None:
        if self.state != RESP_WAIT:
            raise WrongState(f'cannot accept: the subscription is {self.state}')
        if not 200 <= code < 300:
            raise UsageError(f'{code} does not accept anything')
        if not self._is_open:
            raise WrongState(f'the {self.method} has been answered')
        request, core = self._request, self.core
        if not subscription:
            if not self.may_be_suppressed:
                raise UsageError('a REFER without Refer-Sub: false has to be reported on')
            self.respond(self.transaction, code, now, headers=(('Refer-Sub', 'false'),), to_tag=self._new_tag())
            self.fire('refuse', SubscriptionEnded('norefersub'), now)
            return
        if expires is not None:
            self.longest = expires
        if self.method == 'REFER' and not body:
            body, content_type = b'SIP/2.0 100 Trying\r\n', SIPFRAG
        self._document(body, content_type, headers)
        granted = min(self.wanted, self.longest)
        tag = None
        dialog = self.dialog
        if dialog is None:
            tag = core.new_tag()
            flow = self.transaction.flow
            dialog = Dialog.as_uas(None, request, tag, flow.point, flow)
            dialog.contact = core.contact(flow.point, flow.point.secure and wants_sips(request))
        self.join(dialog)
        sharing = self.sharing
        assert sharing is not None
        if self.method == 'REFER':
            sharing.refers += 1
            # RFC 3515 2.4.6: the first one of a dialog needs none, and old peers understand none.
            self.event_id = None if sharing.refers == 1 else str(request.cseq.number)
        fields = (('Expires', str(granted)),) if self.method == 'SUBSCRIBE' else ()
        self.respond(self.transaction, code, now, headers=fields, to_tag=tag)
        if granted:
            self._lasts(granted, now)
            self.fire(event, now)
        else:
            self.fire('terminate', 'timeout', None, SubscriptionEnded('timeout'), now)

    def _lasts(self, seconds: int, now: float) -> None:
        self.expires_at = now + seconds
        timer = self._expiry
        if timer is None or timer.target is None or timer.name != 'expired' or timer.deadline > self.expires_at:
            if timer is not None:
                timer.cancel()
            self._expiry = self.core.timers.add(float(seconds), now, self, 'expired')

    def state_text(self, now: float) -> str:
        """The Subscription-State of a NOTIFY that leaves now (4.2.2)."""
        if self.state == TERMINATING:
            text = f'terminated;reason={self.reason}' if self.reason else 'terminated'
            return text if self.retry_after is None else f'{text};retry-after={self.retry_after}'
        return f'{self.state};expires={self.remaining(now)}'

    def push(self, now: float) -> None:
        """Send a NOTIFY with the present state, as soon as the one before has its answer."""
        if self.exchange is not None:
            self.stale = True
            return
        self.stale = False
        if self._again is not None:
            self._again.cancel()
            self._again = None
        dialog = self.dialog
        assert dialog is not None
        fields = [('Event', self.event), ('Subscription-State', self.state_text(now)), *self.headers]
        exchange = self.exchange = ClientRequest(
            self.core,
            'NOTIFY',
            self,
            dialog.envelope(),
            fields,
            self.body,
            self.content_type,
            dialog.contact,
            dialog.point,
            dialog,
            self.digest,
        )
        exchange.start(now)

    # -- what comes in

    def matches(self, event: EventValue, method: str) -> bool:
        return method == 'SUBSCRIBE' and event.package == self.package and event.id == self.event_id

    def on_request(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """4.2.1.4: a SUBSCRIBE in the dialog: a refresh, or the end."""
        if self.state not in (PENDING, ACTIVE):
            self.respond(transaction, 481, now)
            return
        expires = request.expires
        wanted = self.longest if expires is None else expires
        # 4.2.1.1: "greater than zero AND smaller than one hour AND less than a notifier-configured minimum"
        if 0 < wanted < min(self.shortest, 3600):
            self.respond(transaction, 423, now, headers=[('Min-Expires', str(self.shortest))])
            return
        granted = min(wanted, self.longest)
        self.respond(transaction, 200, now, headers=[('Expires', str(granted))])
        self.tell(request, now, transaction)
        if granted == 0:
            self.fire('terminate', 'timeout', None, SubscriptionEnded('timeout', message=request), now)
            return
        self._lasts(granted, now)
        if self.repeats:
            self.fire('SUBSCRIBE', now)

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """A response to our NOTIFY."""
        code = response.code
        if code < 200 or exchange is not self.exchange or self.over:
            return
        self.exchange = None
        self.tell(response, now, exchange)
        if code < 300:
            assert exchange.dialog is not None
            exchange.dialog.refresh(response)
        elif code in FATAL:
            # Not as RFC 5057 5.1: what the response says of the dialog as a whole, its call has to find out by itself.
            self.fire('NOTIFY failure', response_error(code, response.reason, response), now)
            return
        elif self.state in (PENDING, ACTIVE) and response.has('Retry-After') and not self.stale:
            self._try_later(response, now)
            return
        self._answered(now)

    def _answered(self, now: float) -> None:
        """The NOTIFY is done: the next one, or the end."""
        if self.stale:
            self.push(now)
        else:
            self.fire('NOTIFY answered', None, now)

    def _try_later(self, response: Response, now: float) -> None:
        """21.5.1, 21.5.4: the subscriber says when he will take it."""
        seconds = seconds_in(response, 'Retry-After')
        if seconds is not None:
            self._again = self.core.timers.add(min(max(float(seconds), 1.0), LONGEST_WAIT), now, self, 'again')

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """4.2.2: no answer to our NOTIFY: who is not there any more has no subscription."""
        if exchange is not self.exchange or self.over:
            return
        self.exchange = None
        self.core.events.append(Event(FAILED, self, None, now, 0, exchange, error))
        self.fire('NOTIFY failure', error, now)

    # -- time

    def on_timer(self, name: str, now: float) -> None:
        """``expired``, ``again``, ``unanswered``."""
        if name == 'unanswered':
            if self.state == RESP_WAIT:
                self.close(now)
            return
        if name == 'again':
            self._again = None
            if self.exchange is None and self.state in (PENDING, ACTIVE):
                self.push(now)
            return
        self._expiry = None
        if self.expires_at is not None and self.expires_at > now + 0.001:
            self._expiry = self.core.timers.add(self.expires_at - now, now, self, 'expired')
            return
        # 4.2.1.4
        self.fire('terminate', 'timeout', None, SubscriptionEnded('timeout'), now)

    def finish(self, error: Exception, now: float) -> None:
        for timer in (self._expiry, self._again):
            if timer is not None:
                timer.cancel()
        self._expiry = self._again = None
        self.error = error
        if self.exchange is not None:
            self.exchange.subject = NOBODY
            self.exchange = None
        super().finish(error, now)
