"""The INVITE server transaction: RFC 3261 17.2.1 and figure 7, as RFC 6026 8.6 replaced it."""

from __future__ import annotations

from typing import ClassVar, Final

from greensip.fsm import Row
from greensip.message import Request, Response, make_response

from .transaction import (
    ServerTransaction,
    State,
    end,
    end_with_timeout,
    inform_transport_error,
    send_last_response,
    send_response,
)

__all__ = ['InviteServerTransaction']

START: Final = State.START
PROCEEDING: Final = State.PROCEEDING
ACCEPTED: Final = State.ACCEPTED
COMPLETED: Final = State.COMPLETED
CONFIRMED: Final = State.CONFIRMED
TERMINATED: Final = State.TERMINATED


def pass_invite(transaction: ServerTransaction, invite: Request, now: float) -> None:
    """Pass INV to TU; send 100 if TU won't in 200 ms."""
    layer = transaction.layer
    layer.events.append(('request', transaction, invite))
    delay = layer.settings.trying_delay
    if delay > 0:
        transaction.lifetime = layer.timers.add(delay, now, transaction, 'Timer 100')
    else:
        send_trying(transaction, None, now)


def send_trying(transaction: ServerTransaction, message: None, now: float) -> None:
    """8.2.6.1: a 100 that we make has no To tag."""
    send_response(transaction, make_response(transaction.request, 100), now)


def send_last_provisional(transaction: ServerTransaction, invite: Request, now: float) -> None:
    """ "The most recent provisional response that was received from the TU"; a 100 if there was none yet."""
    if transaction.last_response:
        send_last_response(transaction, invite, now)
    else:
        transaction.stop_timers()
        send_trying(transaction, None, now)


def send_provisional(transaction: ServerTransaction, response: Response, now: float) -> None:
    transaction.stop_timers()
    send_response(transaction, response, now)


def accept(transaction: ServerTransaction, response: Response, now: float) -> None:
    """Send the 2xx, once: it is the user who repeats it until the ACK comes (13.3.1.4)."""
    send_response(transaction, response, now)
    transaction.linger(transaction.layer.settings.timer_l, 'Timer L', now)


def fail(transaction: ServerTransaction, response: Response, now: float) -> None:
    """Send the response until the ACK comes."""
    send_response(transaction, response, now)
    layer = transaction.layer
    settings = layer.settings
    transaction.linger(settings.timer_h, 'Timer H', now)
    if not transaction.flow.point.reliable:
        transaction.interval = settings.t1
        transaction.retransmission = layer.timers.add(settings.t1, now, transaction, 'Timer G')


def send_response_again(transaction: ServerTransaction, message: None, now: float) -> None:
    """Timer G: T1 doubles up to T2."""
    layer = transaction.layer
    transaction.interval = interval = min(2 * transaction.interval, layer.settings.t2)
    transaction.retransmission = layer.timers.add(interval, now, transaction, 'Timer G')
    layer.outgoing.append((transaction.last_response, transaction.response_flow))


def confirm(transaction: ServerTransaction, ack: Request, now: float) -> None:
    """Absorb the ACKs to the repetitions that are still under way."""
    transaction.last_response = b''
    settings = transaction.layer.settings
    transaction.linger(0.0 if transaction.flow.point.reliable else settings.timer_i, 'Timer I', now)


def send_success_again(transaction: ServerTransaction, response: Response, now: float) -> None:
    transaction.layer.outgoing.append((response.to_bytes(), transaction.response_flow))


def pass_ack(transaction: ServerTransaction, ack: Request, now: float) -> None:
    transaction.layer.events.append(('ack', None, ack))


class InviteServerTransaction(ServerTransaction):
    """An INVITE of the peer's."""

    __slots__ = ()

    repeated = 'INVITE'
    keeps_user = (ACCEPTED, COMPLETED)
    by_class = ('', '101-199 from TU', '2xx from TU', '300-699 from TU', '300-699 from TU', '300-699 from TU',
                '300-699 from TU', '', '', '')

    rows: ClassVar[tuple[Row, ...]] = (
        # RFC 3261 figure 7, as RFC 6026 8.6 replaced it
        Row(START, 'INVITE', PROCEEDING, pass_invite),

        Row(PROCEEDING, 'INVITE', PROCEEDING, send_last_provisional),
        Row(PROCEEDING, '101-199 from TU', PROCEEDING, send_provisional),
        Row(PROCEEDING, 'Transport Err.', PROCEEDING, inform_transport_error),
        Row(PROCEEDING, '2xx from TU', ACCEPTED, accept),
        Row(PROCEEDING, '300-699 from TU', COMPLETED, fail),

        Row(COMPLETED, 'INVITE', COMPLETED, send_last_response),
        Row(COMPLETED, 'Timer G', COMPLETED, send_response_again),
        Row(COMPLETED, 'Transport Err.', COMPLETED, inform_transport_error),
        Row(COMPLETED, 'ACK', CONFIRMED, confirm),
        # The figure says nothing at this arrow; 17.2.1: "MUST indicate to the TU that a transaction failure has
        # occurred".
        Row(COMPLETED, 'Timer H', TERMINATED, end_with_timeout),

        Row(ACCEPTED, 'INVITE', ACCEPTED),
        Row(ACCEPTED, 'Transport Err.', ACCEPTED, inform_transport_error),
        Row(ACCEPTED, 'ACK', ACCEPTED, pass_ack),
        Row(ACCEPTED, '2xx from TU', ACCEPTED, send_success_again),
        Row(ACCEPTED, 'Timer L', TERMINATED, end),

        Row(CONFIRMED, 'Timer I', TERMINATED, end),

        # Not arrows of the figure, but the "send 100 if TU won't in 200 ms" beside its first one
        Row(PROCEEDING, 'Timer 100', PROCEEDING, send_trying),
        # and a user that leaves.
        Row(PROCEEDING, 'abandoned by TU', TERMINATED, end),
        Row(COMPLETED, 'abandoned by TU', TERMINATED, end),
        Row(ACCEPTED, 'abandoned by TU', TERMINATED, end),
        Row(CONFIRMED, 'abandoned by TU', TERMINATED, end),
    )

    def release(self) -> None:
        """In Accepted nothing is sent again by us, so there is nothing to keep."""
        super().release()
        if self.state is ACCEPTED:
            self.last_response = b''
