"""INVITEs with Replaces (RFC 3891) that name one side of a call of ours: the newcomer takes the place of that side.

In an answered call the other side is asked to go on with the newcomer's session before the newcomer is answered, so
that nobody loses anything when it refuses.  In a call that still rings, whose callee is named (call pick-up), the
newcomer is answered first, as that is what ends the ringing; then it is offered the caller's session.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from greensip.errors import GreensipError, LocalHangup
from greensip.ua import Bridge, Leg
from greensip.ua.bridge import join_instead
from greensip.ua.session import continued

if TYPE_CHECKING:
    from greensip.b2bua.call import Call
    from greensip.b2bua.routes import Route

__all__ = ['go_on_with', 'take_over']

log = logging.getLogger('greensip.b2bua')

#: seconds that the newcomer's ACK, and its answer to our offer, may take
PATIENCE = 32.0


def take_over(call: Call, old: Leg) -> None:
    """The caller of ``call`` takes the place of ``old``, one side of another call.  Blocks as long as it lasts."""
    newcomer = call.caller
    other_call = call.b2bua.call_of(old)
    if other_call is None:
        newcomer.reject(481)
        return
    log.debug('= %s takes the place of %s', newcomer.peer_name, old.peer_name)
    bridge = Bridge.of(old)
    if old.timings.answered is None:
        other_call.successor = newcomer
        # Whoever waits for the callee is woken with Replaced, and goes on with the newcomer: ``go_on_with``.
        newcomer.answer()
    elif bridge is None or not join_instead(newcomer, old, bridge):
        if not newcomer.ended and newcomer.response is None:
            newcomer.reject(500, headers={'Retry-After': '2'})
        return
    else:
        other_call.successor = newcomer
        bridge.replace(old, newcomer)
    ending = newcomer.wait_ended().error
    if isinstance(ending, LocalHangup) and not call.b2bua.stopping:
        call.released_by = call.released_by or 'callee'
    call.left(newcomer)


def go_on_with(call: Call, newcomer: Leg, route: Route) -> None:
    """The callee of ``call`` was replaced by ``newcomer`` before it had answered.  Blocks as long as the call lasts."""
    caller = call.caller
    try:
        newcomer.wait_for('ACK', timeout=PATIENCE)
        answer = newcomer.reinvite(continued(caller.remote_sdp, newcomer.local_sdp), timeout=PATIENCE)
        if caller.usage.session is None:
            caller.answer(sdp=answer.body)
        else:
            # It has had its answer in a reliable response (RFC 3262 5), so the newcomer's is an offer of its own.
            caller.answer()
            caller.wait_for('ACK', timeout=PATIENCE)
            caller.reinvite(continued(answer.body, caller.local_sdp), timeout=PATIENCE)
    except GreensipError:
        newcomer.hangup()
        raise
    call.answered(route)
    call.join(Bridge(caller, newcomer, refer=call.b2bua.refer, renumber=True))
