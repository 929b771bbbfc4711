"""A call that we make: the caller's verbs, and what follows a redirection (RFC 3261 8.1.3.4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import FORKED, RESPONSE, Event
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.negotiation import sdp_of
from greensip.errors import GreensipError, ParseError
from greensip.message import NameAddr, Response, SipUri, Uri, parse_name_addr
from greensip.native import mypyc_attr

from .addresses import loose_route
from .early import EarlyDialog
from .fields import Extra, Headers, fields_of, reason_field
from .identity import next_history
from .leg import Leg
from .transfer import Transfer

if TYPE_CHECKING:
    from .account import Account
    from .agent import UserAgent
    from .incoming import IncomingLeg

__all__ = ['OutgoingLeg', 'Redirection']

log: Final = logging.getLogger('greensip.ua')

#: responses after which the next target of a redirection is not tried: they speak for the person called (21.6)
GLOBAL_FAILURE: Final = 600


class Redirection:
    """How far a call follows 3xx responses: where it has been, where it may still go."""

    __slots__ = ('history', 'left', 'options', 'response', 'secure', 'targets', 'tried')

    def __init__(self, uri: Uri, limit: int, options: dict[str, Any], history: bool = False) -> None:
        #: whether the INVITE tells where the call has been (RFC 7044)
        self.history = history
        #: the latest 3xx, if so
        self.response: Response | None = None
        #: attempts that are left
        self.left = limit
        #: what ``Core.invite`` was called with
        self.options = options
        self.secure = getattr(uri, 'scheme', '') == 'sips'
        self.tried: list[Uri] = [uri]
        #: URI and the Route that leads there; the best first
        self.targets: list[tuple[Uri, str | None]] = []

    def take(self, response: Response) -> None:
        """Note the Contacts of a 3xx, by their q value; those that were tried are a loop (8.1.3.4)."""
        if self.history:
            self.response = response
        if response.code not in (300, 301, 302, 305):
            return
        try:
            contacts = sorted(response.contacts, key=lambda contact: -contact.q)
        except ParseError:
            return
        found: list[tuple[Uri, str | None]] = []
        for contact in contacts:
            uri = contact.uri
            # A call that was to be secure stays so; what is no SIP can't be sent to.
            if not isinstance(uri, SipUri) or (self.secure and uri.scheme != 'sips'):
                continue
            if response.code == 305:
                # 21.3.4: the same request again, through that proxy.
                found.append((self.tried[0], loose_route(uri)))
            elif uri not in self.tried and all(uri != other for other, _ in [*found, *self.targets]):
                found.append((uri, None))
        # What the latest redirection says comes before what an earlier one left over.
        self.targets[:0] = found

    def next(self) -> tuple[Uri, str | None] | None:
        """The next target, None when there is none or enough have been tried."""
        if not self.targets or self.left <= 0:
            return None
        self.left -= 1
        target = self.targets.pop(0)
        self.tried.append(target[0])
        return target


@mypyc_attr(allow_interpreted_subclasses=True)
class OutgoingLeg(Leg):
    """A call that we make.  ``ua.invite()`` returns it."""

    __slots__ = ('_account', '_forks', '_progress_to', '_redirection', '_transfer')

    def __init__(self, ua: UserAgent, usage: ClientInvite, *, strict: bool = False, manual: Sequence[str] = (),
                 progress_to: IncomingLeg | Transfer | None = None, redirection: Redirection | None = None) -> None:
        super().__init__(ua, usage, strict=strict, manual=manual)
        #: the account that made the call
        self._account: Account | None = None
        #: the legs of the other phones that have answered
        self._forks: list[OutgoingLeg] | None = None
        self._progress_to = progress_to
        #: the REFER that asked for this call
        self._transfer = progress_to if isinstance(progress_to, Transfer) else None
        self._redirection = redirection

    @property
    def from_(self) -> NameAddr:
        request = self.usage.request
        return request.from_ if request is not None else parse_name_addr(self._invite.envelope.from_)

    @property
    def to(self) -> NameAddr:
        request = self.usage.request
        return request.to if request is not None else parse_name_addr(self._invite.envelope.to)

    def _party(self, local: bool) -> NameAddr:
        return self.from_ if local else self.to

    def _first_sdp(self) -> bytes:
        response = self.usage.response
        return sdp_of(response) if response is not None else b''

    @property
    def _invite(self) -> Any:
        usage: Any = self.usage
        return usage.invite

    @property
    def account(self) -> Account | None:
        if self._account is not None or not self.ua.accounts:
            return self._account
        uri = self.from_.uri
        return next((account for account in self.ua.accounts if account.aor.uri == uri), None)

    @property
    def headers(self) -> Headers:
        """The header fields of the latest response, to look at: ``leg.headers['Server']``."""
        return Headers(self._latest)

    @property
    def answer(self) -> bytes:
        """The session description that the peer sent: in its answer, or before that as early media.

        If the INVITE had none, this is the peer's offer, to be answered with ``ack(sdp)``.
        """
        return self.usage.remote_sdp

    # -- what the core reports

    @property
    def forks(self) -> list[OutgoingLeg]:
        """The further calls that the INVITE has led to: the other phones that have answered (``forks='all'``).

        Each came with a ``forked`` event.  They end with this leg's scope, but not with its call.
        """
        return list(self._forks or ())

    def _close(self, code: int, reason: str | None, error: GreensipError | None = None) -> None:
        super()._close(code, reason, error)
        for fork in self._forks or ():
            fork._close(code, reason, error)

    def on_event(self, event: Event) -> None:
        if event.kind == RESPONSE and event.exchange is self._invite:
            self._on_response(event)
        elif event.kind == FORKED and isinstance(event.exchange, ClientInvite):
            fork = OutgoingLeg(self.ua, event.exchange, strict=self._strict, manual=self.manual)
            fork._account = self._account
            self._forks = [*(self._forks or ()), fork]
            if self._closed:
                fork._close(480, None)
            self.deliver(event)
        else:
            super().on_event(event)

    @property
    def early(self) -> dict[str, EarlyDialog]:
        """The phones that ring, by the To tag of their responses: each has its target, its session description, its
        responses and its own ``update()``.

        A 199 (RFC 6228) takes one away; once the call is answered only the one that did is left.
        """
        if self._ending is not None:
            return {}
        return {tag: EarlyDialog(self, dialog) for tag, dialog in self.usage.dialogs.items()}

    def _on_response(self, event: Event) -> None:
        """A response to the call's INVITE."""
        response: Any = event.message
        code = event.code
        self._keep(response)
        if code < 200:
            if self._invite.reliable is not None:
                self._acknowledge(event)
            if self._trying is None:
                self._trying = event.time
            if code > 100:
                if self._ringing is None:
                    self._ringing = event.time
                if self._progress_to is not None:
                    self._progress_to.pass_progress(response)
        elif code < 300:
            self._answered = event.time
            self._redirection = None
            if self._transfer is not None:
                self._transfer.pass_outcome(response, None)
        elif code >= GLOBAL_FAILURE:
            self._redirection = None
        elif self._redirection is not None:
            self._redirection.take(response)
            if self._redirection.targets and self._redirection.left > 0 and not self._closed:
                # The ending that follows begins the next attempt; the script sees neither.
                self._remember(event)
                return
        self.deliver(event)

    def _on_ended(self, event: Event) -> None:
        redirection = self._redirection
        while redirection is not None and not self._closed:
            target = redirection.next()
            if target is None:
                break
            try:
                self._follow(*target)
            except GreensipError as error:
                # A target that can't be called: the next one, or the ending that led here.
                log.debug('! cannot follow to %s: %s', target[0], error)
            else:
                return
        self._progress_to = None
        if self._transfer is not None:
            self._transfer.pass_outcome(None, event.error)
            self._transfer = None
        super()._on_ended(event)

    def _follow(self, uri: Uri, route: str | None) -> None:
        """8.1.3.4: the same call to another address: Call-ID, From and To stay, the CSeq goes on."""
        redirection = self._redirection
        assert redirection is not None
        before = self._invite.envelope
        # The way to whoever was called first leads to nobody else.
        options = {**redirection.options, 'flow': None}
        if route is not None:
            options['route'] = (route,)
        if redirection.response is not None and self.usage.request is not None:
            options['headers'] = [pair for pair in options['headers'] if pair[0] != 'History-Info']
            options['headers'] += next_history(uri, (self.usage.request, redirection.response))
        options.update(call_id=before.call_id, to=before.to, from_tag=parse_name_addr(before.from_).tag,
                       cseq=before.cseq + 1)
        self.usage.owner = None
        self.usage = self.ua.core.invite(uri, self.ua.clock.now(), **options)
        self.usage.owner = self

    # -- verbs

    def cancel(self, reason: Any = None, *, headers: Extra = None) -> None:
        """Give up before the call is answered.  Does not block; ``wait_for('487')`` waits for the outcome.

        The CANCEL is held back until the peer has sent a provisional response (RFC 3261 9.1); a 200 that crosses it is
        acknowledged and hung up.  ``reason`` as for ``hangup``.  Raises WrongState when the call is answered.
        """
        self.check()
        text = reason_field(reason)
        self._redirection = None
        usage: Any = self.usage
        usage.cancel(self.ua.clock.now(), text, fields_of(headers))
        self.ua.endpoint.flush()

    def _give_up(self, code: int, reason: str | None, headers: Sequence[tuple[str, str]],
                 error: GreensipError | None) -> bool:
        self._redirection = None
        usage: Any = self.usage
        if usage.state in ('calling', 'proceeding', 'early'):
            usage.cancel(self.ua.clock.now(), reason, headers)
            return True
        return False
