"""A call that comes in: the callee's verbs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from greensip.dialog.invite_server import ServerInvite, wants_sips
from greensip.dialog.negotiation import SDP
from greensip.dialog.reliable import asks_reliability, has_option
from greensip.errors import GreensipError, MediaError, ResponseError, UsageError, WrongState
from greensip.message import NameAddr, Request, Response, Uri, parse_name_addr
from greensip.native import mypyc_attr
from greensip.transaction.flow import Flow

from .fields import Body, Extra, Headers, body_of, fields_of, passable, response_of
from .leg import Leg
from .naming import target_leg
from .session import answer_again, continued, inactive_answer, inactive_offer
from .transfer import referrer_of

if TYPE_CHECKING:
    from .account import Account
    from .agent import UserAgent

__all__ = ['IncomingLeg']


@mypyc_attr(allow_interpreted_subclasses=True)
class IncomingLeg(Leg):
    """A call that came in.  ``ua.accept()`` returns it, the handler of ``ua.serve(handler)`` is called with it."""

    __slots__ = ('_task', 'flow', 'taken')

    def __init__(self, ua: UserAgent, usage: ServerInvite) -> None:
        super().__init__(ua, usage, manual=ua.manual)
        #: the way that the INVITE came
        self.flow: Flow = usage.transaction.flow
        #: somebody has accepted it, or handles it
        self.taken = False
        #: the handler at work
        self._task: Any = None

    @property
    def _request(self) -> Request:
        request = self.usage.request
        assert request is not None
        return request

    @property
    def from_(self) -> NameAddr:
        return self._request.from_

    @property
    def to(self) -> NameAddr:
        return self._request.to

    def _party(self, local: bool) -> NameAddr:
        return self.to if local else self.from_

    def _first_sdp(self) -> bytes:
        return self.offer

    @property
    def headers(self) -> Headers:
        """The header fields of the INVITE, to look at: ``leg.headers['Subject']``."""
        return Headers(self.usage.request)

    @property
    def account(self) -> Account | None:
        return self.ua.account_of(self._request) if self.ua.accounts else None

    @property
    def source(self) -> tuple[str, int]:
        """Address and port that the INVITE came from."""
        return self.flow.remote

    @property
    def replaces(self) -> Leg | None:
        """Our call that this one is to take the place of (RFC 3891), or None.

        ``answer()`` does that: the other one ends with Replaced, and without ``sdp`` its session is gone on with.
        ``reject()`` leaves it as it is.  Who may do that is for the script to decide: whoever knows the dialog can ask,
        and ``referred_by`` is what he says of it.
        """
        return self._named('replaces')

    @property
    def joins(self) -> Leg | None:
        """Our call that this one is to be joined with (RFC 3911), or None.

        The script mixes them; if it cannot, it answers with ``reject(488)``.  Only a user agent with ``join`` among its
        ``supported`` option tags is asked for that.
        """
        return self._named('join')

    @property
    def target_leg(self) -> Leg | None:
        """The call with us that Target-Dialog names (RFC 4538), or None: its sender may be allowed more."""
        return target_leg(self.ua, self._request)

    @property
    def referred_by(self) -> NameAddr | None:
        """Who has sent the caller to us, as the caller says (RFC 3892); None if nobody has."""
        return referrer_of(self._request)

    def _named(self, kind: str) -> Leg | None:
        usage: Any = self.usage
        match = usage.match
        owner: Leg | None = match.owner if match is not None and match.kind == kind else None
        return owner

    # -- verbs

    def ring(self, code: int = 180, *, headers: Extra = None, reliable: bool | None = None) -> None:
        """Send 180 Ringing.  Does not block.

        ``reliable``: whether it is repeated until the caller has acknowledged it with PRACK (RFC 3262); several go one
        after the other.  None does as the caller asks: always where it requires that or ``prack`` of the user agent
        is ``required``, else for session descriptions.
        Raises RemoteCancel when the caller has given up meanwhile, WrongState when the call is answered, UsageError for
        what the caller does not support.
        """
        self._provisional(code, '', headers, b'', None, reliable=reliable)

    def progress(self, code: int = 183, *, reason: str = '', sdp: Body = None, headers: Extra = None,
                 like: Any = None, body: Body = None, content_type: str | None = None,
                 reliable: bool | None = None) -> None:
        """Send a provisional response, with a session description for early media if ``sdp`` is given.

        ``like`` another leg's provisional response: its body and header fields.  ``reliable`` as for ``ring``: then the
        description is the answer, which ``answer()`` need not repeat; without an offer in the INVITE it is ours, and
        the caller answers it in its PRACK.  Does not block.  Raises as ``ring``.
        """
        data, kind = body_of(body if body is not None else sdp, content_type, SDP)
        self._provisional(code, reason, headers, data, kind, like, reliable)

    def _provisional(self, code: int, reason: str, headers: Extra, data: bytes, kind: str | None,
                     like: Any = None, reliable: bool | None = None) -> None:
        if not 100 <= code <= 199:
            raise UsageError(f'{code} is no provisional response: answer(), reject() and redirect() send final ones')
        if code == 199:
            self._check_199(headers)
        elif reliable is None and code > 100 and self.ua.prack == 'required':
            # Who does not know it was refused (21.4.16).
            reliable = True
        self.check()
        usage: Any = self.usage
        if not data and like is None and code > 100 and usage.must_offer(reliable):
            data, kind = self._own_description(), SDP
        self._send(code, reason, headers, data, kind, like, reliable)

    def _check_199(self, headers: Extra) -> None:
        """RFC 6228 5: a 199 is for callers that know it, and says why the early dialog is over."""
        request = self._request
        if not has_option(request, 'Supported', '199'):
            raise UsageError('the caller does not know what a 199 means (RFC 6228)')
        if all(name.lower() != 'reason' for name, _ in fields_of(headers)):
            raise UsageError("a 199 says why: headers={'Reason': 'SIP;cause=486'} (RFC 6228 5)")

    def answer(self, sdp: Body = None, *, code: int = 200, reason: str = '', headers: Extra = None, like: Any = None,
               body: Body = None, content_type: str | None = None) -> None:
        """Accept the call.  Does not block: the 200 is repeated until the ACK comes, or the call ends with
        TransactionTimeout; ``wait_for('ACK')`` waits for it.  It goes only when the caller has acknowledged each
        reliable response with a session description (RFC 3262 3); until then ``state`` is ``early``.

        Without ``sdp`` the session description is the one that was sent as early media, or says that there is no
        media.  Another one than a reliable response has had is offered with an UPDATE, or a re-INVITE, after the ACK:
        the caller would ignore it in the 200.  ``like`` another leg's answer: its body and header fields.  Raises
        RemoteCancel when the caller has given up meanwhile, WrongState when the call is answered already.
        """
        if not 200 <= code <= 299:
            raise UsageError(f'{code} does not accept a call: use reject() or redirect()')
        self.check()
        data, kind = body_of(body if body is not None else sdp, content_type, SDP)
        if not data and sdp is None and body is None and like is None:
            answering: Any = self.usage
            if answering.wants_description:
                data, kind = self._own_description(), SDP
        self._send(code, reason, headers, data, kind, like)
        self._answered = self.ua.clock.now()
        usage: Any = self.usage
        if usage.match is not None:
            replaced = self.replaces
            if replaced is not None and replaced.usage.ended_by is not None:
                replaced.interrupt()

    def replace(self, other: Leg) -> None:
        self.check()
        if other is not self and self.usage.state in ('incoming', 'early'):
            other.check()
            self.answer(self._description_of(other))
        super().replace(other)

    def _description_of(self, other: Leg) -> bytes | None:
        """What we say to the new peer to go on with the session of another call; None if that cannot be."""
        local = other._before_hold or other.local_sdp
        offer = self.offer
        if not offer or not local:
            return local or None
        try:
            return answer_again(offer, local, False)
        except MediaError:
            return None

    def _own_description(self) -> bytes:
        """What we say when the script says nothing."""
        ua = self.ua
        usage: Any = self.usage
        if usage.local_sdp:
            local: bytes = usage.local_sdp
            return local
        if usage.match is not None:
            replaced = self.replaces
            found = self._description_of(replaced) if replaced is not None else None
            if found is not None:
                return found
        host = usage.transaction.flow.point.advertised[0]
        offer = self.offer
        if offer:
            return inactive_answer(offer, host, ua.codecs, ua.core.random)
        return inactive_offer(host, ua.codecs, ua.core.random)

    def reject(self, code: int = 603, reason: str = '', *, headers: Extra = None, like: Any = None,
               body: Body = None, content_type: str | None = None) -> None:
        """Refuse the call with a final response.  Does not block: it is repeated until the ACK comes.

        ``like`` another leg's response: reason phrase, header fields and body are taken from it.  Raises RemoteCancel
        when the caller has given up meanwhile, WrongState when the call is answered.
        """
        if not 300 <= code <= 699:
            raise UsageError(f'{code} is no refusal')
        self.check()
        data, kind = body_of(body, content_type, 'text/plain')
        self._send(code, reason, headers, data, kind, like)

    def redirect(self, contacts: Iterable[NameAddr | Uri | str] | NameAddr | Uri | str, code: int = 302, *,
                 reason: str = '', headers: Extra = None) -> None:
        """Send the caller elsewhere: a 3xx with these Contacts (RFC 3261 8.3).  Does not block.  Raises as ``reject``;
        ParseError for what is no URI.
        """
        if not 300 <= code <= 399:
            raise UsageError(f'{code} does not redirect')
        several: Any = contacts
        if isinstance(contacts, (str, NameAddr)) or not isinstance(contacts, Iterable):
            several = [contacts]
        fields = []
        for contact in several:
            text = str(contact)
            fields.append(('Contact', str(parse_name_addr(text if '<' in text else f'<{text}>'))))
        if not fields:
            raise UsageError('redirect where? Give at least one contact')
        self.reject(code, reason, headers=[*fields_of(headers), *fields])

    def _send(self, code: int, reason: str, headers: Extra, data: bytes, kind: str | None, like: Any,
              reliable: bool | None = None) -> None:
        pairs: Sequence[tuple[str, str]] = fields_of(headers)
        model = response_of(like)
        if model is not None:
            pairs = [*pairs, *passable(model, contact=code // 100 == 3)]
            reason = reason or (model.reason if model.code == code else '')
            if not data and model.body:
                data, kind = model.body, model.get('Content-Type')
        usage: Any = self.usage
        if 200 <= code < 300 and data and usage.reliable is not None:
            data, kind = self._untold(data, kind)
        self._transmit(code, reason, pairs, data, kind, reliable)
        self.ua.endpoint.flush()

    def _untold(self, data: bytes, kind: str | None) -> tuple[bytes, str | None]:
        """A description that a reliable response has told already is not told again; another one is offered when the
        call is answered, since in the 200 it would mean nothing (RFC 3261 13.2.1)."""
        usage: Any = self.usage
        told = usage.told
        if not told or kind != SDP:
            return data, kind
        wanted = continued(data, told)
        if wanted != told:
            usage.correct(wanted)
        return b'', None

    def _transmit(self, code: int, reason: str, pairs: Sequence[tuple[str, str]], data: bytes,
                  kind: str | None, reliable: bool | None = None) -> None:
        usage: Any = self.usage
        now = self.ua.clock.now()
        contact = self._account_contact() if self.ua.accounts and 100 < code < 300 else None
        response = usage.respond(code, now, reason=reason, headers=pairs, body=data, content_type=kind, contact=contact,
                                 reliable=reliable)
        self._keep(response)
        if code < 200:
            if self._trying is None:
                self._trying = now
            if code > 100 and self._ringing is None:
                self._ringing = now

    def _account_contact(self) -> str | None:
        """RFC 5627 4.4.1: that of the address-of-record or GRUU "to which the request was most recently targeted"."""
        account = self.account if self.usage.dialog is None else None
        if account is None:
            return None
        usage: Any = self.usage
        usage.credentials = account.digest()
        return account.contact_at(self.flow.point, wants_sips(self._request))

    def pass_progress(self, response: Response) -> None:
        """``progress_to=``: pass on another leg's provisional response.  Called while the endpoint flushes.

        Nobody is told when it is too late for that.  A 199 speaks of one of several phones that ring there; here they
        are one.
        """
        if self._ending is None and self.usage.state in ('incoming', 'early') and response.code != 199:
            # What was reliable remains so where that can be (RFC 3262 3).  What was not does not become so unless it
            # must: its description is no answer yet, another phone or route may have another one.
            reliable: bool | None = None
            if self.ua.core.is_reliable and asks_reliability(self._request):
                if response.has('RSeq'):
                    reliable = True
                elif not has_option(self._request, 'Require', '100rel'):
                    reliable = False
            try:
                self._transmit(response.code, response.reason, passable(response), response.body,
                               response.get('Content-Type'), reliable)
            except WrongState:
                pass

    def _give_up(self, code: int, reason: str | None, headers: Sequence[tuple[str, str]],
                 error: GreensipError | None) -> bool:
        if self.usage.state not in ('incoming', 'early', 'answering'):
            return False
        if code < 300:
            code = 500
        pairs = [*headers, ('Reason', reason)] if reason and not isinstance(error, ResponseError) else [*headers]
        data, kind, phrase = b'', None, ''
        if isinstance(error, ResponseError) and isinstance(error.response, Response):
            # Another leg's refusal that the script let through: the caller gets it as it is.
            model = error.response
            pairs += passable(model, contact=code // 100 == 3)
            data, kind, phrase = model.body, model.get('Content-Type'), model.reason
        self._transmit(code, phrase, pairs, data, kind)
        return True

    def _needs_owner(self) -> bool:
        return True

    # -- the core's timer

    def on_timer(self, name: str, now: float) -> None:
        """``unaccepted``: nobody has called ``accept()`` in all that time."""
        if not self.taken and self._ending is None and self.usage.state in ('incoming', 'early'):
            self._close(480, None)

