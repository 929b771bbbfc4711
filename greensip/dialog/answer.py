"""Our 2xx to an INVITE, until its ACK has come: RFC 3261 13.3.1.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greensip.transaction.flow import Flow
from greensip.transaction.layer import ServerTransaction
from greensip.transaction.timers import Timer

if TYPE_CHECKING:
    from .invite import InviteUsage

__all__ = ['Answer']


class Answer:
    """A 2xx of ours that is repeated until its ACK comes: at T1, doubling up to T2, for 64*T1 (13.3.1.4)."""

    __slots__ = ('cseq', 'data', 'deadline', 'flow', 'interval', 'offers', 'timer', 'usage')

    def __init__(self, usage: InviteUsage, transaction: ServerTransaction, cseq: int, offers: bool, now: float) -> None:
        core = usage.core
        self.usage = usage
        self.cseq = cseq
        #: whether it carries our offer, so that the ACK must bring the answer
        self.offers = offers
        self.flow: Flow = transaction.response_flow
        self.data = transaction.last_response
        self.deadline = now + core.settings.timer_h
        self.interval = core.settings.t1
        # The 2xx is repeated even over reliable transports, as the next hop may be an unreliable one.
        self.timer: Timer = core.timers.add(self.interval, now, self, 'repeat')

    def on_timer(self, name: str, now: float) -> None:
        usage = self.usage
        core, settings = usage.core, usage.core.settings
        if now > self.deadline - settings.t1 / 2:
            usage.on_unacknowledged(now)
            return
        core.outgoing.append((self.data, self.flow))
        self.interval = min(2 * self.interval, settings.t2)
        # One timer does for both: T1 is what is left at the end, when T2 is some power of two of it.
        wait = self.interval if now + self.interval <= self.deadline else settings.t1
        self.timer = core.timers.add(wait, now, self, 'repeat')

    def stop(self) -> None:
        self.timer.cancel()
