"""What the four machines of RFC 3261 17 have in common: states, timers, and how they speak to both sides.

An event's name is the text at the arrow of the figure: ``1xx`` came from the network, ``2xx from TU`` is what the
transaction user (the dialog layer) asked for, ``Timer A`` fired, ``Transport Err.`` struck.  Each action is called with
the transaction, the message (or the error; None for a timer) and the time, and puts what it has to say at the end of
two queues: ``layer.outgoing`` for the network, ``layer.events`` for the user.

A transaction lingers for up to 64*T1 after it has done its work, so what it holds then is kept small: once
the user has seen the final response, the request and what it does not need any more are let go.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from greensip.errors import WrongState
from greensip.fsm import Machine
from greensip.message import Request, Response, Via

from .flow import Flow
from .timers import Timer
from .via import flow_of

if TYPE_CHECKING:
    from .layer import TransactionLayer

__all__ = ['ClientTransaction', 'ServerTransaction', 'State', 'Transaction']


class State(StrEnum):
    """The states of figures 5 to 8.  START is the point that their first arrow comes from."""

    START = 'Start'
    CALLING = 'Calling'
    TRYING = 'Trying'
    PROCEEDING = 'Proceeding'
    ACCEPTED = 'Accepted'
    COMPLETED = 'Completed'
    CONFIRMED = 'Confirmed'
    TERMINATED = 'Terminated'


#: From tag, Call-ID, CSeq number and method: what two copies of a request have in common (8.2.2.2)
MergeKey = tuple[str | None, str, int, str]


class Transaction(Machine):
    """Base of all four.  ``user`` is free for whoever uses the transaction.

    After the final response the user is let go too, unless more can come: another 2xx, no ACK.
    ``watched``: keep the user, and report ('terminated', transaction, None) at the end.
    """

    __slots__ = ('_request', 'flow', 'interval', 'key', 'layer', 'lifetime', 'method', 'retransmission', 'started',
                 'user', 'watched')

    #: when the request came or went
    started: float

    initial: ClassVar[str] = State.START
    #: the event for a status code's class: the response that came, or that the user passes down
    by_class: ClassVar[tuple[str, ...]] = ()
    #: the states after the final response in which the user may still be told, or asked, something
    keeps_user: ClassVar[tuple[State, ...]] = ()

    def __init__(self, layer: TransactionLayer, key: str, request: Request, flow: Flow, user: Any = None) -> None:
        self.state = State.START
        self.arrows = self.tables[State.START]
        self.layer = layer
        self.key = key
        self.method = request.method
        self._request: Request | None = request
        self.flow = flow
        self.user = user
        self.watched = False
        #: the timer that repeats (A, E or G), its present interval, and the one that ends it all (B, D, F, H to M)
        self.retransmission: Timer | None = None
        self.interval = 0.0
        self.lifetime: Timer | None = None

    @property
    def request(self) -> Request:
        """The request that made the transaction.  Who needs it after the final response keeps it: WrongState then."""
        if self._request is None:
            raise WrongState(f'{self!r} has had its final response and keeps its request no longer')
        return self._request

    def on_timer(self, name: str, now: float) -> None:
        self.fire(name, None, now)

    def stop_timers(self) -> None:
        """Stop whatever runs."""
        if self.retransmission is not None:
            self.retransmission.target = None
            self.retransmission = None
        if self.lifetime is not None:
            self.lifetime.target = None
            self.lifetime = None

    def linger(self, duration: float, timer: str, now: float) -> None:
        """The work is done: only this timer runs from now on; with zero seconds it fires at once."""
        self.stop_timers()
        self.layer.spent.append(self)
        if duration > 0:
            self.lifetime = self.layer.timers.add(duration, now, self, timer)
        else:
            self.fire(timer, None, now)

    def release(self) -> None:
        """Let go of what is not needed, now that the event of the final response or of the end has been drained."""
        self._request = None
        if self.state is State.TERMINATED or not (self.watched or self.state in self.keeps_user):
            self.user = None

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.method} {self.key}>'


class ClientTransaction(Transaction):
    """A request of ours.  ``sent`` is what is sent again: the request, later the ACK for its failure."""

    __slots__ = ('sent',)

    def __init__(self, layer: TransactionLayer, key: str, request: Request, flow: Flow, user: Any = None) -> None:
        super().__init__(layer, key, request, flow, user)
        self.sent = b''

    @property
    def branch(self) -> str:
        """The branch of the request's top Via."""
        return self.key.rpartition(' ')[2]


class ServerTransaction(Transaction):
    """A request of the peer's.  ``response_flow`` is where its responses go, ``last_response`` what is sent again."""

    __slots__ = ('call_id', 'host', 'last_response', 'merge_key', 'port', 'response_flow', 'to_tag', 'way_back')

    #: the event for the request when it comes again
    repeated: ClassVar[str] = 'Request'

    def __init__(self, layer: TransactionLayer, key: str, request: Request, flow: Flow, via: Via) -> None:
        super().__init__(layer, key, request, flow)
        self.response_flow = flow_of(via, flow)
        self.last_response = b''
        # What later requests are compared with, as the request itself will be gone (17.2.3, 9.2, 8.2.2.2)
        self.host = via.host
        self.port = via.port
        self.call_id = request.call_id
        self.merge_key: MergeKey | None = None
        #: the To tag of our last response, which an ACK of RFC 2543 must show; None for peers that have branches
        self.to_tag: str | None = None
        #: for the user: what it does about a response that does not arrive
        self.way_back: Any = None

    def is_about(self, request: Request) -> bool:
        """Whether this is the request that made the transaction: the very object."""
        return self._request is request


# Actions that several figures have in common


def send_request(transaction: ClientTransaction, request: Request, now: float) -> None:
    """The message is made into bytes here, once: retransmissions send the same ones (17.1.1.2)."""
    transaction.sent = data = request.to_bytes()
    transaction.layer.outgoing.append((data, transaction.flow))


def pass_response(transaction: ClientTransaction, response: Response, now: float) -> None:
    transaction.layer.events.append(('response', transaction, response))


def send_response(transaction: ServerTransaction, response: Response, now: float) -> None:
    transaction.last_response = data = response.to_bytes()
    transaction.layer.outgoing.append((data, transaction.response_flow))


def send_last_response(transaction: ServerTransaction, request: Request | None, now: float) -> None:
    if transaction.last_response:
        transaction.layer.outgoing.append((transaction.last_response, transaction.response_flow))


def inform_transport_error(transaction: Transaction, error: Exception, now: float) -> None:
    transaction.layer.events.append(('transport_error', transaction, error))


def end(transaction: Transaction, message: object, now: float) -> None:
    """Terminated: "destroyed immediately"."""
    transaction.layer.destroy(transaction)


def end_with_timeout(transaction: Transaction, message: object, now: float) -> None:
    transaction.layer.events.append(('timeout', transaction, None))
    transaction.layer.destroy(transaction)


def end_with_transport_error(transaction: Transaction, error: Exception, now: float) -> None:
    transaction.layer.events.append(('transport_error', transaction, error))
    transaction.layer.destroy(transaction)
