"""The non-INVITE server transaction: RFC 3261 17.2.2 and figure 8, with RFC 4320 and RFC 6026 8.8."""

from __future__ import annotations

from typing import ClassVar, Final

from greensip.fsm import Row
from greensip.message import Request, Response, make_response

from .transaction import ServerTransaction, State, end, inform_transport_error, send_last_response, send_response

__all__ = ['NonInviteServerTransaction']

START: Final = State.START
TRYING: Final = State.TRYING
PROCEEDING: Final = State.PROCEEDING
COMPLETED: Final = State.COMPLETED
TERMINATED: Final = State.TERMINATED


def pass_request(transaction: ServerTransaction, request: Request, now: float) -> None:
    layer = transaction.layer
    layer.events.append(('request', transaction, request))
    transaction.lifetime = layer.timers.add(layer.settings.trying_delay_non_invite, now, transaction, 'Timer 100')


def send_trying(transaction: ServerTransaction, message: None, now: float) -> None:
    """RFC 4320 4.1: a 100 as soon as the client's timer E has reached T2, since it repeats its request all the same."""
    proceed(transaction, make_response(transaction.request, 100), now)


def proceed(transaction: ServerTransaction, response: Response, now: float) -> None:
    transaction.stop_timers()
    send_response(transaction, response, now)
    layer = transaction.layer
    transaction.lifetime = layer.timers.add(layer.settings.timer_f, now, transaction, 'Timer F')


def complete(transaction: ServerTransaction, response: Response, now: float) -> None:
    send_response(transaction, response, now)
    keep_silent(transaction, response, now)


def keep_silent(transaction: ServerTransaction, response: Response, now: float) -> None:
    """Completed without a new response: repetitions get what there was last, or nothing."""
    settings = transaction.layer.settings
    transaction.linger(0.0 if transaction.flow.point.reliable else settings.timer_j, 'Timer J', now)


class NonInviteServerTransaction(ServerTransaction):
    """A request of the peer's other than INVITE and ACK."""

    __slots__ = ()

    by_class = ('', '1xx from TU', '200-699 from TU', '200-699 from TU', '200-699 from TU', '200-699 from TU',
                '200-699 from TU', '', '', '')

    rows: ClassVar[tuple[Row, ...]] = (
        # RFC 3261 figure 8.  Its transport errors lead to Terminated; RFC 6026 8.8 replaced the text of 17.2.4, for
        # all server transactions: "MUST remain in the current state", lest the request be taken for a new one when
        # it is repeated.
        Row(START, 'Request', TRYING, pass_request),

        Row(TRYING, '1xx from TU', PROCEEDING, proceed),
        Row(TRYING, '200-699 from TU', COMPLETED, complete),

        Row(PROCEEDING, 'Request', PROCEEDING, send_last_response),
        Row(PROCEEDING, '1xx from TU', PROCEEDING, send_response),
        Row(PROCEEDING, '200-699 from TU', COMPLETED, complete),
        Row(PROCEEDING, 'Transport Err.', PROCEEDING, inform_transport_error),

        Row(COMPLETED, 'Request', COMPLETED, send_last_response),
        Row(COMPLETED, 'Transport Err.', COMPLETED, inform_transport_error),
        Row(COMPLETED, 'Timer J', TERMINATED, end),

        # RFC 4320 4.1: a 100, but not before the client's timer E has reached T2
        Row(TRYING, 'Timer 100', PROCEEDING, send_trying),
        # RFC 4320 4.2: no 408 to a non-INVITE request; who has nothing else to say says nothing
        Row(TRYING, '408 from TU', COMPLETED, keep_silent),
        Row(PROCEEDING, '408 from TU', COMPLETED, keep_silent),
        # and when the client has given up (timer F there), nobody waits for the user any longer.
        Row(PROCEEDING, 'Timer F', TERMINATED, end),
        Row(TRYING, 'abandoned by TU', TERMINATED, end),
        Row(PROCEEDING, 'abandoned by TU', TERMINATED, end),
        Row(COMPLETED, 'abandoned by TU', TERMINATED, end),
    )
