"""Requests inside a call (RFC 3261 12.2.2): what is answered by itself, and how the script's answers are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import Event
from greensip.dialog.negotiation import SDP, sdp_of
from greensip.errors import GreensipError, ParseError
from greensip.transaction.layer import ServerTransaction, State

from .early import answer_prack
from .fields import Body, Extra, body_of, fields_of, passable, response_of
from .incoming_subscription import take_subscribe
from .info import is_taken
from .session import answer_again, inactive_answer, inactive_offer

if TYPE_CHECKING:
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['answer', 'answer_by_itself', 'refuse_more']

#: requests of one peer that may wait for an answer inside a call
UNANSWERED: Final = 100


def refuse_more(leg: Leg, event: Event) -> bool:
    """Whether so many requests wait for their answers that this one was refused.

    That is with a 500 and Retry-After, as RFC 3261 14.2 has it for one INVITE too many.
    """
    waiting = leg._unanswered
    if waiting is None or len(waiting) < UNANSWERED:
        return False
    # Those whose sender waits no longer are no matter.
    leg._unanswered = [one for one in waiting if not (
        isinstance(one, ServerTransaction) and one.state is State.TERMINATED)]
    if len(leg._unanswered) < UNANSWERED:
        return False
    leg.ua.core.respond(event.exchange, 500, event.time, headers=(('Retry-After', '1'),))
    return True


def answer_by_itself(leg: Leg, event: Event) -> None:
    """What a script that has not asked for a request would answer it with."""
    ua, now, transaction = leg.ua, event.time, event.exchange
    core = ua.core
    message: Any = event.message
    method = event.label
    if method == 'INVITE' or method == 'UPDATE':
        offer = sdp_of(message)
        local = leg.usage.local_sdp
        try:
            if offer:
                body = (answer_again(offer, local, leg.on_hold) if local
                        else inactive_answer(offer, leg.host, ua.codecs, core.random))
            elif method == 'INVITE':
                body = local or inactive_offer(leg.host, ua.codecs, core.random)
            else:
                body = b''
        except ParseError:
            core.respond(transaction, 400, now)
        except GreensipError:
            core.respond(transaction, 488, now, headers=(('Warning', '304 greensip "media type not available"'),))
        else:
            core.respond(transaction, 200, now, body=body)
            leg._note_packages(message)
    elif method == 'INFO' or method == 'MESSAGE':
        if method == 'INFO' and not is_taken(message, core.info_packages):
            core.respond(transaction, 469, now, headers=(('Recv-Info', ', '.join(core.info_packages or ())),))
            return
        core.respond(transaction, 200, now)
    elif method == 'PRACK':
        core.respond(transaction, 200, now, body=answer_prack(leg, message))
    elif method == 'NOTIFY':
        # RFC 6665 4.1.3: those of our subscriptions do not come here.
        core.respond(transaction, 481, now)
    elif method == 'SUBSCRIBE':
        take_subscribe(ua, event, ua.request_handlers.packages)
    else:
        core.respond(transaction, 501, now)


def answer(ua: UserAgent, transaction: Any, code: int, reason: str, headers: Extra, body: Body,
           content_type: str | None, like: Any) -> None:
    """Respond to a request inside a dialog, perhaps ``like`` another leg's response."""
    data, kind = body_of(body, content_type, SDP)
    pairs: Sequence[tuple[str, str]] = fields_of(headers)
    model = response_of(like)
    if model is not None:
        pairs = [*pairs, *passable(model, contact=code // 100 == 3)]
        reason = reason or model.reason
        if body is None and model.body:
            data, kind = model.body, model.get('Content-Type')
    ua.core.respond(transaction, code, ua.clock.now(), reason=reason, headers=pairs, body=data, content_type=kind)

