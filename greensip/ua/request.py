"""Requests outside of calls that come in, and who takes them (RFC 3261 8.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import Event
from greensip.errors import GreensipError, UsageError, WrongState
from greensip.transaction.flow import Flow

from .fields import Body, Extra, body_of, fields_of
from .incoming_subscription import MOST, IncomingSubscription, open_subscription, take_subscribe
from .naming import target_leg
from .threads import ThreadBound
from .transfer import Transfer, on_outside_refer

if TYPE_CHECKING:
    from .account import Account
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['IncomingRequest', 'RequestHandlers']

log: Final = logging.getLogger('greensip.ua')

Handler = Callable[[Any], object]


class IncomingRequest(ThreadBound):
    """A request outside of calls, such as a MESSAGE or a REGISTER: what the handler of ``ua.handle`` is called with."""

    __slots__ = ('_answered', '_ua', 'flow', 'request', 'source', 'transaction')

    def __init__(self, ua: UserAgent, event: Event) -> None:
        self._ua = ua
        self._answered = False
        #: the message
        self.request: Any = event.message
        self.transaction = event.exchange
        #: address and port that it came from
        self.source: tuple[str, int] = event.exchange.flow.remote
        #: the way that it came: for ``invite(flow=)``, to call who has registered from behind a NAT, or in a browser
        self.flow: Flow = event.exchange.flow

    @property
    def method(self) -> str:
        """The request's method."""
        method: str = self.request.method
        return method

    @property
    def account(self) -> Account | None:
        """The account that it is for; None if it is for none."""
        return self._ua.account_of(self.request)

    @property
    def target_leg(self) -> Leg | None:
        """The call with us that Target-Dialog names (RFC 4538), or None: its sender may be allowed more."""
        return target_leg(self._ua, self.request)

    @property
    def answered(self) -> bool:
        """True once a final response has been sent."""
        return self._answered

    def subscription(self) -> IncomingSubscription:
        """Become the notifier for this SUBSCRIBE or REFER: ``accept()``, ``pend()`` or ``reject()`` follows.

        Does not block.  Raises ParseError, whose ``status`` is how to answer, for one that asks for nothing that could
        be granted; UsageError for another method, WrongState when it has been answered, WrongThread.
        """
        self._ua.check_thread()
        if self._answered:
            raise WrongState(f'the {self.method} has been answered')
        made = open_subscription(self._ua, self.transaction)
        self._answered = True
        return made

    def respond(self, code: int, reason: str = '', *, headers: Extra = None, body: Body = None,
                content_type: str | None = None) -> None:
        """Answer it.  Does not block.  Raises WrongState after a final response, WrongThread."""
        self._ua.check_thread()
        if self._answered:
            raise WrongState(f'the {self.method} has been answered')
        data, kind = body_of(body, content_type, 'text/plain')
        self._ua.core.respond(self.transaction, code, self._ua.clock.now(), reason=reason, headers=fields_of(headers),
                              body=data, content_type=kind)
        self._answered = code >= 200
        self._ua.endpoint.flush()

    def dismiss(self, code: int, reason: str = '', *, headers: Extra = None) -> None:
        """Refuse it and forget it (RFC 3261 8.2.7), which takes no memory: if it comes again, it is a new request.

        Does not block.  Raises WrongState after a final response, UsageError for less than 300, WrongThread.
        """
        self._ua.check_thread()
        if self._answered:
            raise WrongState(f'the {self.method} has been answered')
        if not 300 <= code <= 699:
            raise UsageError(f'{code} is no refusal')
        self._ua.core.dismiss(self.transaction, code, self._ua.clock.now(), reason=reason, headers=fields_of(headers))
        self._answered = True
        self._ua.endpoint.flush()

    def __repr__(self) -> str:
        return f'<IncomingRequest {self.method}>'


class RequestHandlers:
    """Who takes the requests outside of calls, by their methods; what nobody takes is refused."""

    __slots__ = ('_handlers', '_prompt', '_ua', 'packages')

    def __init__(self, ua: UserAgent) -> None:
        self._ua = ua
        self._handlers: dict[str, Handler] = {}
        #: the methods whose handlers do not block
        self._prompt: set[str] = set()
        #: who takes the subscriptions to an event package
        self.packages: dict[str, Any] = {}

    def __contains__(self, method: object) -> bool:
        return method in self._handlers

    def __getitem__(self, method: str) -> Handler:
        return self._handlers[method]

    def get(self, method: str) -> Handler | None:
        """Who takes a method; None for nobody."""
        return self._handlers.get(method)

    def add(self, method: str, handler: Handler, blocking: bool = True) -> None:
        """Have ``handler`` called for a method: in a greenlet of its own unless it never blocks."""
        self._handlers[method] = handler
        if blocking:
            self._prompt.discard(method)
        else:
            self._prompt.add(method)

    def on_request(self, event: Event) -> None:
        """A request that the core has no answer for.  Called while the endpoint flushes: must not block."""
        ua = self._ua
        if event.label == 'SUBSCRIBE' and self.packages:
            take_subscribe(ua, event, self.packages)
            return
        if event.label == 'REFER' and (ua.refer_policy != 'refuse' or 'REFER' in self._handlers):
            self._on_refer(event)
            return
        incoming = IncomingRequest(ua, event)
        handler = self._handlers.get(incoming.method)
        if handler is not None:
            if incoming.method in self._prompt:
                self._run((handler, incoming))
            else:
                ua.workers.start(self._run, (handler, incoming))
        elif incoming.method in ('INFO', 'UPDATE', 'PRACK', 'NOTIFY'):
            # 12.2.2: they belong to a dialog, and there is none.
            ua.core.respond(event.exchange, 481, event.time)
        else:
            ua.core.respond(event.exchange, 405, event.time, headers=(('Allow', ', '.join(ua.core.allow)),))

    def _on_refer(self, event: Event) -> None:
        """A REFER outside of calls."""
        core = self._ua.core
        if len(core.subscriptions) >= MOST:
            core.respond(event.exchange, 503, event.time, headers=(('Retry-After', '30'),))
            return
        transfer = on_outside_refer(self._ua, event)
        if transfer is None:
            return
        handler: Any = self._handlers.get('REFER')
        if handler is None:
            # RFC 5589 5: who has no call with us need not be obeyed.
            transfer.reject(403)
        else:
            self._ua.workers.start(self._run_refer, (handler, transfer))

    def _run_refer(self, work: tuple[Callable[[Transfer], object], Transfer]) -> None:
        handler, transfer = work
        code: object = 500
        try:
            code = handler(transfer)
        except GreensipError as error:
            log.exception('! the handler of REFER failed')
            code = error.status
        except Exception:
            log.exception('! the handler of REFER failed')
        finally:
            if not transfer.answered and not self._ua.closed:
                transfer.reject(code if isinstance(code, int) and code >= 300 else 603)

    def _run(self, work: tuple[Callable[[IncomingRequest], object], IncomingRequest]) -> None:
        handler, incoming = work
        code: object = 500
        try:
            code = handler(incoming)
        except GreensipError as error:
            log.exception('! the handler of %s failed', incoming.method)
            code = error.status
        except Exception:
            log.exception('! the handler of %s failed', incoming.method)
        finally:
            if not incoming.answered and not self._ua.closed:
                incoming.respond(code if isinstance(code, int) else 200)
