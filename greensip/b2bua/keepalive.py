"""Asking the peers of answered calls now and then whether they are still there: ``-k``.

A re-INVITE with the session description that we sent last, as sippy does it: every peer can answer one.  A peer
that does not answer (408) or does not know the call (481) has lost it, so the call is hung up; any other answer, a
refusal too, shows that it lives.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from greensip.errors import GreensipError, ResponseError, TransactionTimeout, TransportError

if TYPE_CHECKING:
    from greensip.b2bua.call import Call
    from greensip.ua import UserAgent

__all__ = ['KeepAlive']

log = logging.getLogger('greensip.b2bua')

#: responses by which a peer says that the call is over for it
LOST = (408, 481)


class KeepAlive:
    """``caller`` and ``callee`` are the seconds between two questions; 0 for none."""

    def __init__(self, ua: UserAgent, caller: float, callee: float) -> None:
        self.ua = ua
        self.caller = caller
        self.callee = callee

    def begin(self, call: Call) -> None:
        """The call is answered.  Does not block."""
        call.timers = {}
        for leg, interval in ((call.caller, self.caller), (call.callee, self.callee)):
            if interval:
                self._arm(call, leg, interval)

    def end(self, call: Call) -> None:
        """The call is over."""
        timers, call.timers = call.timers, None
        if timers:
            for timer in timers.values():
                timer.cancel()

    def _arm(self, call: Call, leg: Any, interval: float) -> None:
        if call.timers is not None:
            call.timers[leg] = self.ua.clock.timer(interval, self._due, call, leg, interval)

    def _due(self, call: Call, leg: Any, interval: float) -> None:
        # In the hub: only starts a greenlet.
        if call.timers is not None:
            del call.timers[leg]
        self.ua.workers.start(self._ask, (call, leg, interval))

    def _ask(self, question: tuple[Call, Any, float]) -> None:
        call, leg, interval = question
        if call.timers is None:
            return
        if leg.ended and call.successor is not None:
            leg = call.successor
        try:
            leg.reinvite()
        except (TransactionTimeout, TransportError) as error:
            self._lost(call, leg, error)
        except ResponseError as error:
            if error.code in LOST:
                self._lost(call, leg, error)
        except GreensipError as error:
            # Another INVITE is under way, so it lives; or the call has just ended.
            log.debug('= no keep-alive for %r: %s', leg, error)
        self._arm(call, leg, interval)

    def _lost(self, call: Call, leg: Any, error: GreensipError) -> None:
        log.info('! %s does not answer to keep-alives (%s), hanging up', leg.peer_name, error)
        call.hang_up(f'{call.side_of(leg)}-lost')
