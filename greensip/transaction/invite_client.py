"""The INVITE client transaction: RFC 3261 17.1.1 and figure 5, as RFC 6026 8.4 replaced it.

Not as RFC 3581 3: an INVITE that rings is not repeated every 20 s to keep a NAT's binding open.  The server would
answer each repetition, and keep-alives (RFC 5626) do it for the whole flow.
"""

from __future__ import annotations

from typing import ClassVar, Final

from greensip.fsm import Row
from greensip.message import Request, Response, make_ack_for_failure

from .transaction import (
    ClientTransaction,
    State,
    end,
    end_with_timeout,
    end_with_transport_error,
    pass_response,
    send_request,
)

__all__ = ['InviteClientTransaction']

START: Final = State.START
CALLING: Final = State.CALLING
PROCEEDING: Final = State.PROCEEDING
ACCEPTED: Final = State.ACCEPTED
COMPLETED: Final = State.COMPLETED
TERMINATED: Final = State.TERMINATED


def send_invite(transaction: ClientTransaction, invite: Request, now: float) -> None:
    send_request(transaction, invite, now)
    layer = transaction.layer
    settings = layer.settings
    if not transaction.flow.point.reliable:
        transaction.interval = settings.t1
        transaction.retransmission = layer.timers.add(settings.t1, now, transaction, 'Timer A')
    transaction.lifetime = layer.timers.add(settings.timer_b, now, transaction, 'Timer B')


def send_invite_again(transaction: ClientTransaction, message: None, now: float) -> None:
    """Reset A: its interval doubles each time, without a limit but timer B."""
    layer = transaction.layer
    transaction.interval *= 2
    transaction.retransmission = layer.timers.add(transaction.interval, now, transaction, 'Timer A')
    layer.outgoing.append((transaction.sent, transaction.flow))


def proceed(transaction: ClientTransaction, response: Response, now: float) -> None:
    """1xx to TU.  Nothing is sent again, and it is the user's affair how long to wait (timer C, CANCEL)."""
    transaction.stop_timers()
    transaction.sent = b''
    pass_response(transaction, response, now)


def accept(transaction: ClientTransaction, response: Response, now: float) -> None:
    """2xx to TU, which sends the ACK.  Wait for the other branches of a fork, and for repetitions of this one."""
    transaction.sent = b''
    pass_response(transaction, response, now)
    transaction.linger(transaction.layer.settings.timer_m, 'Timer M', now)


def acknowledge(transaction: ClientTransaction, response: Response, now: float) -> None:
    """ACK sent, to where the INVITE went (17.1.1.3); resp. to TU."""
    layer = transaction.layer
    transaction.sent = data = make_ack_for_failure(transaction.request, response).to_bytes()
    layer.outgoing.append((data, transaction.flow))
    pass_response(transaction, response, now)
    transaction.linger(0.0 if transaction.flow.point.reliable else layer.settings.timer_d, 'Timer D', now)


def acknowledge_again(transaction: ClientTransaction, response: Response, now: float) -> None:
    transaction.layer.outgoing.append((transaction.sent, transaction.flow))


def pass_stray(transaction: ClientTransaction, response: Response, now: float) -> None:
    transaction.layer.events.append(('stray', None, response))


class InviteClientTransaction(ClientTransaction):
    """An INVITE of ours."""

    __slots__ = ()

    keeps_user = (ACCEPTED,)
    by_class = ('', '1xx', '2xx', '300-699', '300-699', '300-699', '300-699', '', '', '')

    rows: ClassVar[tuple[Row, ...]] = (
        # RFC 3261 figure 5, as RFC 6026 8.4 replaced it
        Row(START, 'INVITE from TU', CALLING, send_invite),

        Row(CALLING, 'Timer A', CALLING, send_invite_again),
        Row(CALLING, 'Timer B', TERMINATED, end_with_timeout),
        Row(CALLING, 'Transport Err.', TERMINATED, end_with_transport_error),
        Row(CALLING, '1xx', PROCEEDING, proceed),
        Row(CALLING, '2xx', ACCEPTED, accept),
        Row(CALLING, '300-699', COMPLETED, acknowledge),

        Row(PROCEEDING, '1xx', PROCEEDING, pass_response),
        Row(PROCEEDING, '2xx', ACCEPTED, accept),
        Row(PROCEEDING, '300-699', COMPLETED, acknowledge),

        Row(COMPLETED, '300-699', COMPLETED, acknowledge_again),
        Row(COMPLETED, 'Transport Err.', TERMINATED, end_with_transport_error),
        Row(COMPLETED, 'Timer D', TERMINATED, end),

        Row(ACCEPTED, '2xx', ACCEPTED, pass_response),
        Row(ACCEPTED, 'Timer M', TERMINATED, end),

        # Not in the figure.  9.1: who cancelled and has had no final response within 64*T1 destroys the transaction.
        Row(CALLING, 'abandoned by TU', TERMINATED, end),
        Row(PROCEEDING, 'abandoned by TU', TERMINATED, end),
        # RFC 7118 5.3: a response that comes over one connection only, which is gone.
        Row(PROCEEDING, 'no way back', TERMINATED, end_with_transport_error),
        Row(ACCEPTED, 'abandoned by TU', TERMINATED, end),
        Row(COMPLETED, 'abandoned by TU', TERMINATED, end),
        # A fork may fail towards us (or be cancelled) while one of its branches answers: that callee believes in a
        # call, so the 2xx goes up like one that comes after the transaction's end.
        Row(COMPLETED, '2xx', COMPLETED, pass_stray),
    )
