"""Where a response goes when it does not arrive where it should: RFC 3263 5.

18.2.2 names one place: the connection of the request, or the address that it came from.  When sending there fails, the
sent-by of the top Via is asked where else its client, or one that stands in for it, may be: an address is tried as it
is, the addresses of a name with a port in turn, the servers of a name without one by their SRV records.

Over streams that is for INVITE: the transaction of another request ends with its response (17.2.2), so that nobody is
left to ask what becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from greensip.errors import MessageTooBig, TransportError
from greensip.transaction.flow import Flow, Hop
from greensip.transaction.layer import ServerTransaction

from .invite import InviteUsage
from .routing import DEFAULT_PORT, is_numeric

if TYPE_CHECKING:
    from .core import Core

__all__ = ['WayBack']


class WayBack:
    """The further ways for what a server transaction answers; it has one after its first failure."""

    __slots__ = ('core', 'error', 'flows', 'looking', 'transaction')

    def __init__(self, core: Core, transaction: ServerTransaction) -> None:
        self.core = core
        self.transaction = transaction
        self.error: TransportError | None = None
        self.flows: list[Flow] = []
        #: while a name is looked up
        self.looking = False

    def find(self, error: TransportError, now: float) -> bool:
        """The first failure: look for other ways; False if there can't be any."""
        transaction = self.transaction
        point = transaction.flow.point
        if isinstance(error, MessageTooBig) or point.one_way or not self._response:
            return False
        self.error = error
        host = transaction.host.strip('[]')
        hop = Hop(host, transaction.port, point.transport, point.secure)
        if not is_numeric(host):
            self.looking = True
            self.core.look_up(hop, point, self)
            return True
        try:
            self._take([self.core.router.numeric_flow(hop, point)])
        except TransportError:
            return False
        return self.go_on(now)

    def located(self, flows: Sequence[Flow], error: TransportError | None, now: float) -> None:
        """The servers of the sent-by are known, or there are none."""
        self.looking = False
        self._take(flows)
        user = self.transaction.user
        if not self.go_on(now) and user is not None:
            user.on_transaction_failure(self.transaction, self.error, now)

    def _take(self, flows: Sequence[Flow]) -> None:
        """All but what has been tried: over a stream also a new connection to where the request came from (18.2.2)."""
        transaction = self.transaction
        point = transaction.flow.point
        tried = {transaction.response_flow.remote}
        if point.reliable:
            tried.add((transaction.flow.remote[0], transaction.port or DEFAULT_PORT.get(point.transport, 5060)))
        self.flows = [flow for flow in flows if flow.remote not in tried]

    def go_on(self, now: float) -> bool:
        """Send the response by the next way; False if none is left."""
        if self.looking:
            return True
        data = self._response
        if not self.flows or not data:
            return False
        flow = self.flows.pop(0)
        transaction = self.transaction
        usage = transaction.user
        transaction.response_flow = flow
        # What follows goes there too, the repetitions of a 2xx among it.
        if isinstance(usage, InviteUsage) and usage.answering is not None and usage.answering.data == data:
            usage.answering.flow = flow
        self.core.outgoing.append((data, flow))
        return True

    @property
    def _response(self) -> bytes:
        """What was sent last: the transaction's, or the 2xx that its usage repeats."""
        transaction = self.transaction
        if transaction.last_response:
            return transaction.last_response
        usage = transaction.user
        answer = usage.answering if isinstance(usage, InviteUsage) else None
        return answer.data if answer is not None else b''
