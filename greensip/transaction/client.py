"""The non-INVITE client transaction: RFC 3261 17.1.2 and figure 6."""

from __future__ import annotations

from typing import ClassVar, Final

from greensip.fsm import Row
from greensip.message import Request, Response

from .transaction import (
    ClientTransaction,
    State,
    end,
    end_with_timeout,
    end_with_transport_error,
    pass_response,
    send_request,
)

__all__ = ['NonInviteClientTransaction']

START: Final = State.START
TRYING: Final = State.TRYING
PROCEEDING: Final = State.PROCEEDING
COMPLETED: Final = State.COMPLETED
TERMINATED: Final = State.TERMINATED


def start(transaction: ClientTransaction, request: Request, now: float) -> None:
    send_request(transaction, request, now)
    layer = transaction.layer
    settings = layer.settings
    if not transaction.flow.point.reliable:
        transaction.interval = settings.t1
        transaction.retransmission = layer.timers.add(settings.t1, now, transaction, 'Timer E')
    transaction.lifetime = layer.timers.add(settings.timer_f, now, transaction, 'Timer F')


def send_request_again(transaction: ClientTransaction, message: None, now: float) -> None:
    """Timer E: T1 doubles up to T2."""
    layer = transaction.layer
    transaction.interval = interval = min(2 * transaction.interval, layer.settings.t2)
    transaction.retransmission = layer.timers.add(interval, now, transaction, 'Timer E')
    layer.outgoing.append((transaction.sent, transaction.flow))


def send_request_rarely(transaction: ClientTransaction, message: None, now: float) -> None:
    """Timer E after a provisional response: T2 from now on."""
    layer = transaction.layer
    transaction.interval = layer.settings.t2
    send_request_again(transaction, message, now)


def complete(transaction: ClientTransaction, response: Response, now: float) -> None:
    """Resp. to TU; absorb its repetitions while the network may hold some."""
    transaction.sent = b''
    pass_response(transaction, response, now)
    settings = transaction.layer.settings
    transaction.linger(0.0 if transaction.flow.point.reliable else settings.timer_k, 'Timer K', now)


class NonInviteClientTransaction(ClientTransaction):
    """A request of ours other than INVITE and ACK."""

    __slots__ = ()

    by_class = ('', '1xx', '200-699', '200-699', '200-699', '200-699', '200-699', '', '', '')

    rows: ClassVar[tuple[Row, ...]] = (
        # RFC 3261 figure 6
        Row(START, 'Request from TU', TRYING, start),

        Row(TRYING, 'Timer E', TRYING, send_request_again),
        Row(TRYING, 'Timer F', TERMINATED, end_with_timeout),
        Row(TRYING, 'Transport Err.', TERMINATED, end_with_transport_error),
        Row(TRYING, '1xx', PROCEEDING, pass_response),
        Row(TRYING, '200-699', COMPLETED, complete),

        Row(PROCEEDING, 'Timer E', PROCEEDING, send_request_rarely),
        Row(PROCEEDING, 'Timer F', TERMINATED, end_with_timeout),
        Row(PROCEEDING, 'Transport Err.', TERMINATED, end_with_transport_error),
        Row(PROCEEDING, '1xx', PROCEEDING, pass_response),
        Row(PROCEEDING, '200-699', COMPLETED, complete),

        Row(COMPLETED, 'Timer K', TERMINATED, end),

        # Not in the figure: the user does not want to know any more.
        Row(TRYING, 'abandoned by TU', TERMINATED, end),
        Row(PROCEEDING, 'abandoned by TU', TERMINATED, end),
        Row(COMPLETED, 'abandoned by TU', TERMINATED, end),
    )
