"""Transfers that the B2BUA carries out itself: ``--refer handle`` (RFC 3515, RFC 5589).

The **transferor** is one side of a call and sends the REFER, the **transferee** is the other side, which learns nothing
but a new session description.  The **target** of a blind transfer is called over the routes, like any number that is
dialled here, whatever host Refer-To names: nobody is called on a transferor's word who could not be dialled.  Of an
attended transfer the target is the other side of a second call that the transferor has through us: the two calls become
one.  Where the Replaces of Refer-To names no call of ours, it goes to the target with the INVITE.

As long as it is under way the transferor may hang up; the transferee is only lost when it fails after that.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from greensip.b2bua.hunt import Hunt
from greensip.errors import (
    GreensipError,
    LegEnded,
    ParseError,
    ResponseError,
    TransactionTimeout,
    TransportError,
    UsageError,
    WaitTimeout,
    WrongState,
)
from greensip.ua import Bridge, Leg, LegGroup, Transfer
from greensip.ua.fields import reason_of
from greensip.ua.session import continued, resume_offer

if TYPE_CHECKING:
    from greensip.b2bua.app import B2bua
    from greensip.b2bua.call import Call
    from greensip.message import Replaces

__all__ = ['carry_out']

log = logging.getLogger('greensip.b2bua')

#: seconds for which an answer to our offer is waited for
PATIENCE = 32.0
#: seconds for which the transferor may take to hang up by itself
GRACE = 4.0
#: so often, a second apart, a side is asked again that has another INVITE under way
ATTEMPTS = 5

FAILURES = (ResponseError, WaitTimeout, TransactionTimeout, TransportError)


def carry_out(b2bua: B2bua, transfer: Transfer) -> int | None:
    """Do what a REFER asks for.  Blocks as long as the call lasts that comes of it.

    Gives the status to refuse it with where nothing was done.
    """
    transferor = transfer.leg
    bridge = Bridge.of(transferor) if transferor is not None else None
    call = b2bua.call_of(transferor) if transferor is not None else None
    if transferor is None or bridge is None or call is None or transferor.ended:
        return 603
    if bridge in b2bua.transfers:
        # One at a time.
        return 491
    try:
        replaces = transfer.replaces
        number = getattr(transfer.target, 'user', None)
    except ParseError:
        return 400
    if transfer.target_method != 'INVITE':
        return 603
    second = find_leg(b2bua, replaces) if replaces is not None else None
    if second is not None and (Bridge.of(second) in (None, bridge) or second.timings.answered is None):
        # The call that it names rings yet, or is this one.
        return 480
    if second is None and not number:
        # 404 or 416 would end the call (RFC 5057).
        return 603
    b2bua.transfers.add(bridge)
    try:
        transfer.begin()
        bridge.let_go(transferor)
        if second is not None:
            attended(b2bua, call, bridge, transfer, second)
        else:
            blind(b2bua, call, bridge, transfer, number or '')
    finally:
        b2bua.transfers.discard(bridge)
    return None


def find_leg(b2bua: B2bua, replaces: Replaces) -> Leg | None:
    """The leg of ours that a Replaces names; it is written as its receiver would see it (RFC 3891 3)."""
    dialog = b2bua.ua.core.dialogs.get((replaces.call_id, replaces.to_tag or '', replaces.from_tag or ''))
    owner = getattr(dialog.usage, 'owner', None) if dialog is not None else None
    return owner if isinstance(owner, Leg) else None


def attended(b2bua: B2bua, call: Call, bridge: Bridge, transfer: Transfer, second: Leg) -> None:
    """The other sides of the transferor's two calls are joined."""
    transferor: Any = transfer.leg
    other_bridge, other_call = Bridge.of(second), b2bua.call_of(second)
    assert other_bridge is not None
    transferee, target = bridge.other(transferor), other_bridge.other(second)
    other_bridge.let_go(second)
    try:
        acquaint(transferee, target)
        bridge.merge(transferor, other_bridge, second)
    except GreensipError as error:
        failed(bridge, transfer, error)
        if second.ended:
            target.hangup(reason_of(error))
        other_bridge.keep(second)
        return
    call.successor = target
    if other_call is not None:
        other_call.successor = transferee
    transfer.notify(200)
    say_goodbye(second, 0.0)
    say_goodbye(transferor, GRACE)


def blind(b2bua: B2bua, call: Call, bridge: Bridge, transfer: Transfer, number: str) -> None:
    """The transferee is joined with somebody whom we call."""
    transferor: Any = transfer.leg
    transferee = bridge.other(transferor)
    try:
        offer = taken_up(transferee.remote_sdp)
        with LegGroup(transferee) as group:
            # If the transferee hangs up, the target is given up.
            target = group.remove(call_target(call, transferee, transfer, number, offer, group))
    except GreensipError as error:
        failed(bridge, transfer, error)
        return
    with target:
        try:
            introduce(transferee, target, offer)
            bridge.replace(transferor, target)
        except GreensipError as error:
            failed(bridge, transfer, error)
            return
        call.successor = target
        transfer.notify(200)
        b2bua.transfers.discard(bridge)
        say_goodbye(transferor, GRACE)
        target.wait_ended()


def failed(bridge: Bridge, transfer: Transfer, error: GreensipError) -> None:
    """The call goes on as it was, if the transferor is still there."""
    log.debug('! %r failed: %s', transfer, error)
    transferor: Any = transfer.leg
    transfer.notify(error.status)
    if transferor.ended:
        bridge.other(transferor).hangup(reason_of(error))
    bridge.keep(transferor)


def say_goodbye(leg: Leg, grace: float) -> None:
    """Its calls have become one without it: it hangs up by itself, or we do."""
    if grace and not leg.ended:
        with suppress(WaitTimeout):
            leg.wait_ended(timeout=grace)
    leg.hangup()


def call_target(call: Call, transferee: Leg, transfer: Transfer, number: str, offer: bytes, group: LegGroup) -> Any:
    """Call ``number`` over the routes with the transferee's session, telling the transferor how it goes.

    Blocks until somebody answers, and gives that leg.  Raises how the last route failed.
    """
    attempt = call.for_transfer(number, transferee)
    fields = [('Referred-By', text) for text in transfer.message.get_all('Referred-By')[:1]]
    fields += [(name, text) for name, text in transfer.fields if name.lower() == 'replaces']
    if transfer.replaces is not None:
        fields.append(('Require', 'replaces'))
    problem: GreensipError = UsageError('there is no route')
    while (route := attempt.next_route()) is not None:
        options = attempt.invitation(route)
        options.update(body=offer, content_type='application/sdp', headers=[*options['headers'], *fields])
        leg = group.invite(**options)
        try:
            wait_for_answer(leg, attempt.hunt, transfer, attempt)
        except FAILURES as error:
            if transferee.ended:
                raise
            group.remove(leg).close()
            problem = error
            if attempt.ends_with(error):
                break
            continue
        return leg
    raise problem


def wait_for_answer(leg: Leg, hunt: Hunt, transfer: Transfer, attempt: Call) -> None:
    """Block until a 2xx comes; what comes before it is told to the transferor.  Raises as a wait does."""
    code = 0
    while True:
        until = hunt.deadline(code)
        try:
            event = leg.wait_for('1xx', '2xx', timeout=None if until is None else max(0.0, until - attempt.now()))
        except WaitTimeout:
            if until is None or hunt.is_over(code, attempt.now()):
                raise
            continue
        if event.code >= 200:
            return
        if event.code > max(code, 100):
            transfer.notify(event.code)
        code = max(code, event.code)


# -- sessions (RFC 3725: third party call control)


def taken_up(sdp: bytes) -> bytes:
    """A peer's description as an offer to somebody else: the transferor had put it on hold before, as most do."""
    try:
        return resume_offer(sdp, b'')
    except (GreensipError, ValueError):
        return sdp


def ask(leg: Leg, sdp: bytes) -> bytes:
    """Offer ``sdp`` in a re-INVITE, as the next description of the session that there is; gives the answer."""
    for _ in range(ATTEMPTS):
        try:
            answer: bytes = leg.reinvite(continued(sdp, leg.local_sdp), timeout=PATIENCE).body
        except WrongState:
            # Another INVITE is under way, or an ACK.
            with suppress(WaitTimeout):
                leg.wait_for('failed', timeout=1.0)
        else:
            return answer
    raise WrongState(f'{leg!r} cannot be asked for another session')


def introduce(transferee: Leg, target: Leg, offer: bytes) -> None:
    """The transferee gets the target's answer to its own description.  If it says something else now, the target gets
    that as well."""
    answer = ask(transferee, target.remote_sdp)
    if answer and continued(answer, offer) != offer:
        ask(target, answer)


def acquaint(one: Leg, two: Leg) -> None:
    """Two sides that have sessions with others get one with one another; where that fails they keep what they had."""
    before = two.local_sdp
    offer = taken_up(one.remote_sdp)
    answer = ask(two, offer)
    try:
        reply = ask(one, answer)
    except LegEnded:
        raise
    except GreensipError:
        ask(two, before)
        raise
    if reply and continued(reply, offer) != offer:
        ask(two, reply)
