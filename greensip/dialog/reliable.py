"""Reliable provisional responses: RFC 3262.

The callee repeats a 1xx that bears an RSeq until the caller's PRACK has come (3).  One is under way at a time, those
that follow wait for it, and so does a 2xx where one of them holds a session description.  ``ReliableResponses`` is that
for one INVITE.

The caller acknowledges them in the order of their RSeq, for each early dialog (4).  ``Acknowledged`` is what one of
its INVITEs has seen of them; an INVITE that does not say that we support 100rel has none.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from greensip.errors import ParseError, TransactionTimeout, UsageError
from greensip.message import Request, Response
from greensip.sdp.offer_answer import Meaning, Place
from greensip.transaction.flow import Flow
from greensip.transaction.layer import ServerTransaction
from greensip.transaction.timers import Timer

from .dialog import Dialog, DialogId
from .negotiation import said, session_of

if TYPE_CHECKING:
    from .invite import InviteUsage

__all__ = ['Acknowledged', 'LatePrack', 'ReliableResponses', 'Unacknowledged', 'asks_reliability', 'has_option',
           'is_reliable', 'sends_reliably']

#: so many reliable responses of one INVITE may wait for the program's PRACK, or for that of the peer
MOST: Final = 64


def has_option(message: Request | Response, field: str, tag: str) -> bool:
    """Whether a Require or Supported lists an option tag (19.2), in any spelling.

    A Supported that cannot be read promises nothing.  Raises ParseError for such a Require.
    """
    if not message.has(field):
        return False
    try:
        values = message.values(field)
    except ParseError:
        if field == 'Require':
            raise
        return False
    return any(str(value).lower() == tag for value in values)


def is_reliable(response: Response) -> bool:
    """Whether a provisional response wants a PRACK (4)."""
    return response.has('RSeq') and bool(response.to_tag) and has_option(response, 'Require', '100rel')


def sends_reliably(request: Request, described: bool, reliable: bool | None) -> bool:
    """Whether a provisional response to ``request`` is to be a reliable one (3).

    ``reliable=None`` does as the caller asks: always where it requires it, else for session descriptions.  Raises
    UsageError for what the caller's INVITE does not allow.
    """
    if has_option(request, 'Require', '100rel'):
        if reliable is False:
            raise UsageError('the caller requires that provisional responses are reliable (RFC 3262 3)')
        return True
    if reliable is False or (reliable is None and not described):
        return False
    supported = has_option(request, 'Supported', '100rel')
    if reliable and not supported:
        raise UsageError('the caller does not support reliable provisional responses (100rel)')
    return supported


def asks_reliability(message: Any) -> bool:
    """Whether who sent an INVITE supports reliable provisional responses, or requires them."""
    return has_option(message, 'Supported', '100rel') or has_option(message, 'Require', '100rel')


class Unacknowledged:
    """A reliable response that waits for the program's PRACK."""

    __slots__ = ('counts', 'dialog', 'response')

    def __init__(self, response: Response, dialog: Dialog, counts: bool) -> None:
        self.response = response
        self.dialog = dialog
        #: whether its session description is an offer or an answer
        self.counts = counts


class Acknowledged:
    """What an INVITE of ours has seen of reliable responses."""

    __slots__ = ('auto', 'last', 'waiting')

    def __init__(self, auto: bool = True) -> None:
        #: send the PRACK at once, unless it must carry our answer
        self.auto = auto
        #: the last RSeq in order, by the To tag (4: "this sequence number MUST be maintained")
        self.last: dict[str, int] = {}
        #: those whose PRACK is still to be sent, by To tag and RSeq
        self.waiting: dict[tuple[str, int], Unacknowledged] = {}

    def is_next(self, tag: str, rseq: int, max_forks: int) -> bool:
        """4: whether that response is to be processed: neither a repetition nor out of order."""
        last = self.last.get(tag)
        if last is None:
            return len(self.last) < max_forks
        return rseq == last + 1 and len(self.waiting) < MOST

    def forget(self) -> None:
        """The INVITE goes out again, with another CSeq."""
        self.last.clear()
        self.waiting.clear()


class LatePrack:
    """The PRACK that may yet come for the last reliable response of a call that was refused meanwhile."""

    __slots__ = ('id', 'rack', 'waiting')

    def __init__(self, waiting: dict[DialogId, LatePrack], dialog_id: DialogId, rack: str) -> None:
        self.waiting = waiting
        self.id = dialog_id
        self.rack = rack
        waiting[dialog_id] = self

    def on_timer(self, name: str, now: float) -> None:
        """It does not come any more."""
        self.waiting.pop(self.id, None)


class ReliableResponses:
    """The reliable provisional responses to one INVITE of the peer's."""

    __slots__ = (
        'acknowledging',
        'correction',
        'counts',
        'cseq',
        'data',
        'deadline',
        'described',
        'flow',
        'interval',
        'queue',
        'rseq',
        'success',
        'timer',
        'transaction',
        'unacknowledged',
        'usage',
    )

    def __init__(self, usage: InviteUsage, transaction: ServerTransaction, cseq: int) -> None:
        self.usage = usage
        self.transaction = transaction
        self.cseq = cseq
        #: the RSeq of the last one, the number of the present one until its PRACK comes
        self.rseq = (usage.core.random.getrandbits(31) or 1) - 1
        self.unacknowledged = 0
        #: whether that one holds a session description, and whether it is an offer or an answer
        self.described = False
        self.counts = False
        self.queue: deque[tuple[Response, bytes]] = deque()
        #: the PRACK that has no answer of ours yet
        self.acknowledging: ServerTransaction | None = None
        #: what we offer once the call is answered, in the place of what was agreed on before
        self.correction = b''
        #: the 2xx that waits
        self.success: Response | None = None
        self.data = b''
        self.flow: Flow = transaction.response_flow
        self.interval = 0.0
        self.deadline = 0.0
        self.timer: Timer | None = None

    @property
    def busy(self) -> bool:
        """Whether the next response has to wait."""
        return self.unacknowledged > 0 or self.acknowledging is not None

    @property
    def holds_success(self) -> bool:
        """3: whether a 2xx must wait, since a description in one of the responses has not been acknowledged."""
        if self.acknowledging is not None or (self.unacknowledged and self.described):
            return True
        return any(sdp for _, sdp in self.queue)

    def send(self, response: Response, sdp: bytes, now: float) -> None:
        """Send it, or keep it until the one before has been acknowledged.  Raises UsageError when too many wait."""
        if self.busy:
            if len(self.queue) >= MOST:
                raise UsageError('too many reliable provisional responses wait for the PRACK of the first')
            self.queue.append((response, sdp))
        else:
            self._transmit(response, sdp, now)

    def _transmit(self, response: Response, sdp: bytes, now: float) -> None:
        usage, settings = self.usage, self.usage.core.settings
        self.rseq += 1
        response.add('Require', '100rel')
        response.add('RSeq', str(self.rseq))
        self.unacknowledged = self.rseq
        self.described = bool(sdp)
        self.counts = self._note(sdp)
        usage.core.layer.respond(self.transaction, response, now)
        self.data, self.flow = self.transaction.last_response, self.transaction.response_flow
        self.interval = settings.t1
        self.deadline = now + settings.timer_h
        # Also over reliable transports: it is end to end.
        self.timer = usage.core.timers.add(self.interval, now, self, 'repeat')

    def _note(self, sdp: bytes) -> bool:
        """It goes out: whether its description is an offer or an answer."""
        usage = self.usage
        dialog = usage.dialog
        assert dialog is not None
        counts = said(session_of(usage, dialog), Place.RELIABLE, sdp) in (Meaning.OFFER, Meaning.ANSWER)
        if counts:
            usage.local_sdp = sdp
        return counts

    def on_timer(self, name: str, now: float) -> None:
        """3: repeat it at T1, 2*T1, 4*T1 ... for 64*T1; the intervals are not capped by T2."""
        settings = self.usage.core.settings
        if now > self.deadline - settings.t1 / 2:
            self.stop()
            self._give_up(now)
            return
        self.usage.core.outgoing.append((self.data, self.flow))
        self.interval *= 2
        # T1 is what is left at the end.
        wait = self.interval if now + self.interval <= self.deadline else settings.t1
        self.timer = self.usage.core.timers.add(wait, now, self, 'repeat')

    def _give_up(self, now: float) -> None:
        """3: no PRACK within 64*T1, so the INVITE is refused with a 5xx."""
        usage = self.usage
        error = TransactionTimeout('no PRACK for the reliable provisional response within 64*T1')
        if not usage.fire('no prack', error, now) and usage.invited is self.transaction:
            usage.refuse_open_invite(now, 504)

    def acknowledge(self, transaction: ServerTransaction, rseq: int, cseq: int, method: str) -> bool:
        """A PRACK has come: whether it matches (3).  What waits goes on when it has been answered."""
        if not self.unacknowledged or (rseq, cseq, method) != (self.unacknowledged, self.cseq, 'INVITE'):
            return False
        self._rest()
        self.unacknowledged = 0
        self.acknowledging = transaction
        return True

    def go_on(self, now: float) -> None:
        """The PRACK has been answered: the next response, or the 2xx, may go."""
        self.acknowledging = None
        if self.queue:
            response, sdp = self.queue.popleft()
            self._transmit(response, sdp, now)
        if self.success is not None and not self.holds_success:
            success, self.success = self.success, None
            self.usage.send_held_success(self.transaction, success, now)

    def finish(self) -> None:
        """A final response goes: nothing is repeated any more, but the PRACK of the last one may still come (3)."""
        self._rest()
        self.queue.clear()
        self.success = None

    def stop(self) -> None:
        """Nothing of it counts any more."""
        self.finish()
        self.unacknowledged = 0

    def leave(self, now: float) -> None:
        """The call is over; a PRACK that has crossed its final response gets its 200 all the same (3)."""
        dialog = self.usage.dialog
        if self.unacknowledged and dialog is not None:
            core = self.usage.core
            LatePrack(core.late_pracks, dialog.id, f'{self.unacknowledged} {self.cseq} INVITE')
            core.timers.add(core.settings.timer_h, now, core.late_pracks[dialog.id], 'late')
        self.stop()

    def _rest(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.data = b''
