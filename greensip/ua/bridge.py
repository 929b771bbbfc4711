"""Two calls as one: what one side asks for is asked of the other (RFC 7092: a signalling B2BUA).

The story is short: wait until one of the legs has left, then end the other with the same Reason.  Meanwhile requests
are relayed as they come in, in the greenlet that received them, none of them waiting for another:

- re-INVITE and UPDATE with their offers, answers and failures; when both sides ask at once, each gets its 491 and tries
  again in its own time (RFC 3261 14.1); an UPDATE for a peer that knows none becomes a re-INVITE
- an INVITE without an offer: the 2xx that comes back carries the offer, the ACK the answer
- INFO, MESSAGE, and whatever else the user agent allows; REFER if it is told so
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from greensip.dialog.event import FAILED, Event
from greensip.dialog.exchange import PASSED_ON, ClientRequest
from greensip.dialog.invite_request import InviteRequest
from greensip.dialog.negotiation import SDP, sdp_of
from greensip.dialog.reliable import asks_reliability
from greensip.dialog.update import UpdateRequest
from greensip.errors import GreensipError, LegEnded, ResponseError, UsageError, WrongState, WrongThread
from greensip.native import mypyc_attr
from greensip.sdp.offer_answer import OFFER_RECEIVED

from .chores import answer, refuse_more
from .early import answer_prack
from .engine import thread_ident
from .fields import passable, reason_of
from .leg import Leg
from .mailbox import Notice, Watch, wait_on
from .pattern import Matcher
from .session import continued
from .threads import Proxy, ThreadBound, unwrap
from .transfer import Transfer, incoming_transfer

if TYPE_CHECKING:
    from greensip.message import Request

__all__ = ['Bridge', 'join_instead']

log: Final = logging.getLogger('greensip.ua')

#: what a bridge waits for: a leg is over, or was joined with another one
CHANGED: Final = Matcher(('ended', 'bridged'), 'end')


class Relayed:
    """A request of one leg on its way through the other: the owner of the request that we send there."""

    __slots__ = ('before', 'exchange', 'leg', 'other', 'renumbers', 'transaction')

    def __init__(self, leg: Leg, other: Leg, transaction: Any, exchange: ClientRequest, before: bytes,
                 renumbers: bool = False) -> None:
        self.leg = leg
        self.other = other
        self.transaction = transaction
        self.exchange = exchange
        pass_on_glare(exchange)
        #: what we had said to the other leg before: holds again when it refuses
        self.before = before
        self.renumbers = renumbers
        if transaction.method != 'INVITE':
            # 15.1.2: if the leg ends meanwhile, it answers what is pending.
            leg._unanswered = [*(leg._unanswered or ()), transaction]

    @property
    def is_open(self) -> bool:
        """Whether the request still waits for its answer."""
        if self.transaction.method == 'INVITE':
            return self.leg.usage.invited is self.transaction
        return self.transaction in (self.leg._unanswered or ())

    def on_event(self, event: Event) -> None:
        """The other leg's answer, or that there is none."""
        if event.kind != FAILED and event.code < 200:
            return
        self.exchange.owner = None
        failed = event.kind == FAILED or event.code >= 300
        if failed:
            self.other.usage.local_sdp = self.before
        if not self.is_open:
            return
        if event.code in (405, 501) and self.transaction.method == 'UPDATE' and self.exchange.method == 'UPDATE':
            self.go_by_reinvite(event.time)
            return
        self.answered()
        if failed and self.transaction.method == 'PRACK':
            # RFC 6337, table 2: an offer in it can't be refused.
            request = self.transaction.request
            self.leg.ua.core.respond(self.transaction, 200, event.time, body=answer_prack(self.leg, request))
        elif event.kind == FAILED:
            code = event.error.status if isinstance(event.error, GreensipError) else 500
            answer(self.leg.ua, self.transaction, code, '', None, None, None, None)
        else:
            body = None
            if self.renumbers and event.message is not None and event.message.get('Content-Type') == SDP:
                body = continued(event.message.body, self.leg.usage.local_sdp)
            answer(self.leg.ua, self.transaction, event.code, '', None, body, SDP, event.message)

    def answered(self) -> None:
        """The request gets its answer now, so the leg need not see to that any more."""
        waiting = self.leg._unanswered
        if waiting and self.transaction in waiting:
            waiting.remove(self.transaction)

    def go_by_reinvite(self, now: float) -> None:
        """The other side knows no UPDATE: a re-INVITE does the same (RFC 3311 5.1); one without an offer is for us."""
        core, request = self.leg.ua.core, self.transaction.request
        if not request.body:
            self.answered()
            core.respond(self.transaction, 200, now)
            return
        try:
            self.exchange = self.other.usage.reinvite(now, request.body, headers=passable(request),
                                                      content_type=request.get('Content-Type'))
        except WrongState:
            self.answered()
            core.respond(self.transaction, 491, now)
        else:
            pass_on_glare(self.exchange)
            self.exchange.owner = self


def pass_on_glare(exchange: ClientRequest) -> None:
    """14.1: who asks for a change hears of the 491, and waits as his role wants it.

    If we waited in his place, he would be in the way of the other side's next attempt, which comes sooner.
    """
    if isinstance(exchange, (InviteRequest, UpdateRequest)):
        exchange.glares = PASSED_ON


@mypyc_attr(allow_interpreted_subclasses=True)
class Bridge(ThreadBound):
    """Joins two answered legs: ``Bridge(a, b).wait()``.

    ``refer``: what happens to a REFER: ``'refuse'`` answers 603, ``'pass'`` relays it, and the NOTIFYs that follow,
    to the other leg; a function is called with the ``Transfer`` in a greenlet of its own, and takes it or has refused.
    The user agent has to allow the methods that this takes.  Raises UsageError if it does not, or if a leg has a bridge
    already; WrongThread for proxies: ``ua.from_thread().bridge(a, b)`` takes those.
    ``renumber``: the legs had their sessions with others before, so that the origins of session descriptions have to be
    made to go on (RFC 3264 8).
    """

    __slots__ = ('_invites', '_parting', '_renumbers', 'a', 'b', 'refer')

    def __init__(self, a: Any, b: Any, *, refer: Literal['refuse', 'pass'] | Callable[[Transfer], object] = 'refuse',
                 renumber: bool = False) -> None:
        if isinstance(a, Proxy) and thread_ident() != a._engine.thread:
            raise WrongThread('legs of another OS thread are joined there: ua.from_thread().bridge(a, b)')
        self.a: Leg = unwrap(a)
        self.b: Leg = unwrap(b)
        self.refer = refer
        #: the re-INVITEs under way, by the leg that asked
        self._invites: dict[Leg, Relayed] = {}
        #: whether a leg has taken the place of another one, so that descriptions do not continue one another
        self._renumbers = renumber
        #: the leg that may end without the other one, as somebody else will take its place
        self._parting: Leg | None = None
        if self.a is self.b:
            raise UsageError('a bridge needs two legs')
        if refer not in ('refuse', 'pass') and not callable(refer):
            raise UsageError(f"refer={refer!r}: 'refuse', 'pass', or what is called with the Transfer")
        if refer == 'pass' and not {'REFER', 'NOTIFY'} <= set(self.a.ua.core.allow):
            raise UsageError("refer='pass' needs UserAgent(allow=('REFER', 'NOTIFY'))")

    def wait(self, timeout: float | None = None) -> Leg:
        """Block until one of the legs is over, end the other one with the same Reason, and return the leg that left.

        Raises WaitTimeout after ``timeout`` seconds: both legs are as they were then, and no longer joined.  Raises
        WrongThread.
        """
        clock = self.a.ua.clock
        self.a.ua.check_thread()
        self.begin()
        until = None if timeout is None else clock.now() + timeout
        try:
            self._catch_up()
            while True:
                watches = [Watch(leg, CHANGED) for leg in (self.a, self.b) if leg is not self._parting or not leg.ended]
                for watch in watches:
                    watch.strict = False
                left = None if until is None else max(0.0, until - clock.now())
                found: Any = wait_on(watches, left, asked=timeout)
                if (found.leg is self.a or found.leg is self.b) and found.event.label != 'bridged' and (
                        found.leg is not self._parting):
                    break
        finally:
            self.end()
        gone: Leg = found.leg
        self.other(gone).hangup(reason_of(found.event.error))
        return gone

    def begin(self) -> None:
        """Relay from now on, before the call of ``b`` is answered: UPDATE, INFO, and the offers and answers in PRACK.

        For a caller ``a`` that gets the provisional responses of ``b`` (``progress_to=a``).  Does not block; ``wait()``
        goes on with it, ``end()`` gives it up.  Raises UsageError if a leg has another bridge, WrongThread.
        """
        self.a.ua.check_thread()
        for leg in (self.a, self.b):
            if leg._relay is not None and leg._relay is not self:
                raise UsageError(f'{leg!r} has a bridge already')
        self.a._relay = self.b._relay = self

    def end(self) -> None:
        """Relay no more.  Does not block, may be called twice.  Raises WrongThread."""
        self.a.ua.check_thread()
        for leg in (self.a, self.b):
            if leg._relay is self:
                leg._relay = None

    @staticmethod
    def of(leg: Leg) -> Bridge | None:
        """The bridge that relays for ``leg`` now, or None."""
        return leg._relay

    def other(self, leg: Leg) -> Leg:
        """The leg that ``leg`` is joined with."""
        return self.b if leg is self.a else self.a

    def replace(self, old: Leg, new: Leg) -> None:
        """``new`` takes the place of ``old``, as with Replaces (RFC 3891); both sides are to be told of each other's
        session before.

        Does not block: the greenlet in ``wait()`` goes on with ``new``, which is closed by whoever opened it.  Raises
        UsageError if ``old`` is not one of the two, or ``new`` has a bridge already.
        """
        old.ua.check_thread()
        if new._relay is not None or old._relay is not self:
            raise UsageError(f'{new!r} cannot take the place of {old!r}')
        self._exchange(old, new)
        old._relay, new._relay = None, self
        self._catch_up()

    def merge(self, old: Leg, bridge: Bridge, gone: Leg) -> None:
        """Two calls become one: the other sides of ``old`` here and of ``gone`` in ``bridge`` are joined, as with an
        attended transfer; both are to be told of each other's session before.

        Does not block: both greenlets in ``wait()`` go on, each with both legs that remain.  Raises UsageError where
        these are not two bridges.
        """
        old.ua.check_thread()
        if bridge is self or old._relay is not self or gone._relay is not bridge:
            raise UsageError(f'{old!r} and {gone!r} have no two bridges')
        one, two = self.other(old), bridge.other(gone)
        self._exchange(old, two)
        bridge._exchange(gone, one)
        old._relay = gone._relay = None
        one._relay = two._relay = self
        for leg in (one, two):
            if leg._group is not None:
                # Either would be bound to the other.
                leg._group.leg = None

    def _exchange(self, old: Leg, new: Leg) -> None:
        other = self.other(old)
        if old is self.a:
            self.a = new
        else:
            self.b = new
        self._invites.pop(old, None)
        self._renumbers = True
        self._parting = None
        if other._group is not None and other._group.leg is old:
            # What was bound to the one is bound to the other.
            other._group.leg = new
        # Who waits for the end of the old leg looks again.
        other.deliver(Notice('bridged', time=other.ua.clock.now(), leg=other))

    def let_go(self, leg: Leg) -> None:
        """From now on ``leg`` may end without the other one: somebody is about to take its place (``replace``), or else
        it is kept (``keep``), or the other one ended.  Does not block."""
        self._parting = leg
        group = self.other(leg)._group
        if group is not None and group.leg is leg:
            group.leg = None

    def keep(self, leg: Leg) -> None:
        """Nobody has taken the place of ``leg``: it stays.  Does not block."""
        if self._parting is leg:
            self._parting = None

    def _catch_up(self) -> None:
        """An ACK that came before the bridge may hold the answer that the other leg waits for."""
        for leg in (self.a, self.b):
            if self.other(leg).usage.unacked is None:
                continue
            for event in leg._events:
                if event.label == 'ACK':
                    self.on_ack(leg, event)
                    leg.ua.endpoint.flush()
                    break

    def __repr__(self) -> str:
        return f'<Bridge of {self.a!r} and {self.b!r}>'

    # -- what the legs report, while the endpoint flushes

    def on_request(self, leg: Leg, event: Event) -> None:
        """Pass a request on, and have its answer passed back."""
        other = self.other(leg)
        core, now, transaction = leg.ua.core, event.time, event.exchange
        method = str(event.label)
        message: Any = event.message
        request: Request = message
        if method == 'REFER' and self.refer != 'pass':
            transfer = incoming_transfer(leg.ua, event, leg) if self.refer != 'refuse' else None
            if transfer is not None:
                leg.ua.workers.start(self._on_refer, transfer)
            elif self.refer == 'refuse':
                core.respond(transaction, 603, now)
            return
        if core.keeps_time and method == 'UPDATE' and not request.body and request.has('Session-Expires'):
            # RFC 4028: each leg has a session timer of its own.
            core.respond(transaction, 200, now)
            return
        if leg._unanswered and refuse_more(leg, event):
            return
        before = other.usage.local_sdp
        kind = request.get('Content-Type')
        try:
            body = request.body
            if self._renumbers and kind == SDP:
                body = continued(body, before)
            exchange = other.usage.send_request(method, now, headers=passable(request), body=body, content_type=kind)
        except WrongState:
            if method == 'INVITE':
                # 14.1: the other side is asking at this moment too; whoever is to wait longer is told by its role.
                core.respond(transaction, 491, now)
            elif other.usage.dialog is None or other.state == 'ended':
                core.respond(transaction, 481, now)
            elif method == 'UPDATE':
                core.respond(transaction, 491, now)
            else:
                core.respond(transaction, 500, now, headers=(('Retry-After', '1'),))
            return
        relayed = Relayed(leg, other, transaction, exchange, before, self._renumbers)
        exchange.owner = relayed
        if method == 'INVITE':
            self._invites[leg] = relayed

    def _on_refer(self, transfer: Transfer) -> None:
        handler: Any = self.refer
        code: object = 500
        try:
            code = handler(transfer)
        except GreensipError as error:
            log.debug('! %r failed: %s', transfer, error)
            code = error.status
        except Exception:
            log.exception('! the handler of %r failed', transfer)
        finally:
            if not transfer.answered and not transfer.closed:
                transfer.reject(code if isinstance(code, int) and code >= 300 else 603)

    def on_prack(self, leg: Leg, event: Event) -> None:
        """RFC 3262 5: the caller's PRACK answers the offer in the response that we passed on, or makes one: the callee
        gets that in an UPDATE, as its own response has had its PRACK."""
        other = self.other(leg)
        usage, core, now, transaction = other.usage, leg.ua.core, event.time, event.exchange
        message: Any = event.message
        body = sdp_of(message)
        if self._renumbers:
            body = continued(body, usage.local_sdp)
        waiting = usage.unacknowledged
        try:
            if waiting is not None:
                usage.prack(waiting, now, body=body)
            elif body and leg.usage.session is not None and leg.usage.session.state == OFFER_RECEIVED:
                before = usage.local_sdp
                exchange = usage.send_request('UPDATE', now, body=body, content_type=SDP)
                exchange.owner = Relayed(leg, other, transaction, exchange, before, self._renumbers)
                return
        except WrongState:
            # Nobody has a better answer than we.
            pass
        core.respond(transaction, 200, now, body=answer_prack(leg, message))

    def takes_offer(self, leg: Leg) -> bool:
        """Whether the other leg's PRACK will answer the offer in a reliable response to our INVITE."""
        request = self.other(leg).usage.request
        return leg is self.b and request is not None and asks_reliability(request)

    def on_cancel(self, leg: Leg) -> None:
        """9.2: the re-INVITE was cancelled; the core has answered it, so the one of ours is cancelled too."""
        relayed = self._invites.pop(leg, None)
        if relayed is not None and not relayed.exchange.done:
            cancel: Any = relayed.exchange
            cancel.cancel(leg.ua.clock.now())

    def on_ack(self, leg: Leg, event: Event) -> None:
        """A late offer (13.2.1): the 2xx that we passed on carried the offer, this ACK the answer."""
        usage = self.other(leg).usage
        if usage.unacked is None:
            return
        message: Any = event.message
        kind = message.get('Content-Type') or SDP
        body = message.body
        if self._renumbers and kind == SDP:
            body = continued(body, usage.local_sdp)
        usage.ack(event.time, body, content_type=kind)


def join_instead(newcomer: Any, old: Leg, bridge: Bridge) -> bool:
    """For Replaces (RFC 3891): have the other side of an answered call go on with the newcomer, and answer that one;
    ``bridge.replace(old, newcomer)`` comes next.

    Blocks until the other side has agreed.  False if it has not: the newcomer is refused then, or still waits for it
    when this cannot be now.  Raises the newcomer's ending, and the other side goes on with whom it had.
    """
    other = bridge.other(old)
    before = old.remote_sdp
    try:
        answered = other.reinvite(continued(newcomer.offer, other.local_sdp))
    except ResponseError as error:
        newcomer.reject(error.status, like=error.response)
        return False
    except WrongState:
        return False
    try:
        newcomer.answer(sdp=answered.body)
    except LegEnded:
        # It has given up meanwhile.
        other.reinvite(continued(before, other.local_sdp))
        raise
    return True
