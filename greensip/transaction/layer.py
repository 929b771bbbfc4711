"""The transaction layer: matches messages to transactions (RFC 3261 17.1.3, 17.2.3, 9.2, 8.2.2.2) and owns them all.

It is driven: ``receive`` takes what came from the network, ``request`` and ``respond`` what the user wants to say, the
``Timers`` it was given call its transactions.  After each of these two queues are to be drained: ``outgoing`` (bytes
and the flow that they go to) and ``events``, tuples of three:

    ('request', ServerTransaction, request)     a new request, CANCEL included; see ``invite_server_of``
    ('ack', None, request)                      an ACK that ends no transaction: for a 2xx
    ('response', ClientTransaction, response)   each provisional and the first final; every 2xx to an INVITE
    ('stray', None, response)                   a response without a transaction, such as a late 2xx
    ('timeout', Transaction, None)              timer B or F: no final response; timer H: no ACK
    ('transport_error', Transaction, error)     what the transaction sent did not leave
    ('terminated', Transaction, None)           its end, for those whose ``watched`` was set

**How requests are matched.**  A branch with the magic cookie is unique, so it is the key; the method goes before it
unless it is INVITE or its ACK.  That the sent-by is the same (17.2.3, 2.) is checked on the transaction that was found.
Should two clients have chosen the same branch, the later one gets a key with its sent-by in it.  Without a cookie the
key is made of all that RFC 3261 lists for peers that follow RFC 2543.

Not as RFC 3261 7.3.1: branches are compared with regard to case.  Whoever makes base64 branches means it so.

Not as RFC 3261 18.1.2: a response whose branch and method match is taken whatever its sent-by, which a NAT on
the way may have changed; its branch was random enough.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final
from zlib import crc32

from greensip.errors import ParseError, UsageError
from greensip.message import TARGET_REFRESH_METHODS, Message, Request, Response, Via, make_response, parse_message

from .client import NonInviteClientTransaction
from .flow import Flow
from .invite_client import InviteClientTransaction
from .invite_server import InviteServerTransaction
from .server import NonInviteServerTransaction
from .settings import Settings
from .timers import Timers
from .transaction import ClientTransaction, MergeKey, ServerTransaction, State, Transaction
from .via import answer_keep, response_flow, stamp

__all__ = [
    'ClientTransaction', 'InviteClientTransaction', 'InviteServerTransaction', 'NonInviteClientTransaction',
    'NonInviteServerTransaction', 'ServerTransaction', 'State', 'Transaction', 'TransactionLayer',
]

#: what a branch of RFC 3261 begins with (8.1.1.7)
COOKIE: Final = 'z9hG4bK'

#: requests by which keep-alives are negotiated (RFC 6223 4.2): registrations, dialogs and their target refreshes
KEPT_METHODS: Final = TARGET_REFRESH_METHODS | {'REGISTER'}


class TransactionLayer:
    """All transactions of an endpoint.  ``timers`` and ``outgoing`` are shared with whoever drives it."""

    __slots__ = ('_merging', '_twins', 'clients', 'events', 'keep', 'outgoing', 'servers', 'settings', 'spent',
                 'timers')

    def __init__(self, settings: Settings, timers: Timers, outgoing: deque[tuple[bytes, Flow]]) -> None:
        self.settings = settings
        self.timers = timers
        self.outgoing = outgoing
        self.events: deque[tuple[str, Any, Any]] = deque()
        self.clients: dict[str, ClientTransaction] = {}
        self.servers: dict[str, ServerTransaction] = {}
        # The transactions whose final response or end lies in ``events`` or has just been drained from there.
        self.spent: list[Transaction] = []
        # Whether there was ever a key with a sent-by in it: only then it is worth looking for one.
        self._twins = False
        # The first transaction for each request that came without a To tag
        self._merging: dict[MergeKey, ServerTransaction] = {}
        #: what who offers to keep a flow alive is answered (RFC 6223), in seconds; None for nothing
        self.keep: int | None = None
        timers.reserve(settings.durations())

    def __len__(self) -> int:
        return len(self.clients) + len(self.servers)

    # -- from the network

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """A message that ``check_request`` or ``check_response`` found in order."""
        if self.spent:
            for transaction in self.spent:
                transaction.release()
            self.spent.clear()
        if isinstance(message, Request):
            self._receive_request(message, flow, now)
        else:
            self._receive_response(message, now)

    def _receive_response(self, response: Response, now: float) -> None:
        """17.1.3: the branch of the top Via and the method of the CSeq say which transaction it belongs to."""
        method = response.cseq.method
        branch = response.branch or ''
        transaction = self.clients.get(branch if method != 'CANCEL' else f'CANCEL {branch}')
        if transaction is None or transaction.method != method:
            self.events.append(('stray', None, response))
        else:
            transaction.fire(transaction.by_class[response.code // 100], response, now)

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        """17.2.3: a repetition goes to its transaction, an ACK to the INVITE's; what is left is new."""
        via = request.via
        method = request.method
        branch = via.branch
        servers = self.servers
        if branch is None or not branch.startswith(COOKIE) or branch == COOKIE:
            # RFC 4475 3.2.1 has a cookie with nothing after it: as good as none.
            if method == 'ACK':
                self._receive_old_ack(request, via, now)
                return
            key = old_key(request, via, method, request.to_tag)
            transaction = servers.get(key)
            to_tag: str | None = ''
        else:
            key = branch if method == 'INVITE' or method == 'ACK' else f'{method} {branch}'
            transaction = servers.get(key)
            if transaction is None:
                if self._twins:
                    transaction = servers.get(f'{key} {via.host}:{via.port}')
            elif transaction.host != via.host or transaction.port != via.port:
                other = f'{key} {via.host}:{via.port}'
                first, transaction = transaction, servers.get(other)
                if method == 'ACK' and transaction is None and first.call_id == request.call_id:
                    transaction = first
                key = other
                self._twins = True
            if method == 'ACK':
                if transaction is None:
                    self.events.append(('ack', None, request))
                else:
                    transaction.fire('ACK', request, now)
                return
            to_tag = None
        if transaction is not None:
            transaction.fire(transaction.repeated, request, now)
            return
        self._create(key, request, via, flow, now, to_tag)

    def _receive_old_ack(self, ack: Request, via: Via, now: float) -> None:
        """17.2.3 for RFC 2543: like the INVITE but for its To tag, which must be that of our response.

        An ACK without any To tag, from a client that has never heard of tags, is taken as well.
        """
        tag = ack.to_tag
        transaction = self.servers.get(old_key(ack, via, 'INVITE', tag))
        if transaction is None and tag is not None:
            transaction = self.servers.get(old_key(ack, via, 'INVITE', None))
            if transaction is not None and transaction.to_tag != tag:
                transaction = None
        if transaction is None:
            self.events.append(('ack', None, ack))
        else:
            transaction.fire('ACK', ack, now)

    def _create(self, key: str, request: Request, via: Via, flow: Flow, now: float, to_tag: str | None) -> None:
        """A server transaction for a new request, as long as there is room."""
        method = request.method
        limit = self.settings.max_transactions
        if len(self.servers) >= limit and (
                (request.to_tag is None and method != 'CANCEL') or len(self.servers) >= limit + limit // 4):
            self._refuse(key, request, flow)
            return
        stamp(request, flow)
        if self.keep is not None and method in KEPT_METHODS:
            answer_keep(request, self.keep)
        transaction: ServerTransaction
        if method == 'INVITE':
            transaction = InviteServerTransaction(self, key, request, flow, via)
        else:
            transaction = NonInviteServerTransaction(self, key, request, flow, via)
        transaction.to_tag = to_tag
        transaction.started = now
        self.servers[key] = transaction
        if method != 'CANCEL' and request.to_tag is None:
            merge_key = merge_key_of(request)
            if self._merging.setdefault(merge_key, transaction) is transaction:
                transaction.merge_key = merge_key
        transaction.fire(transaction.repeated, request, now)

    def _refuse(self, key: str, request: Request, flow: Flow) -> None:
        """Over the limit: 503 without state, the same one for each repetition (8.2.7)."""
        response = make_response(request, 503, to_tag=f'{crc32(key.encode(errors="surrogateescape")):08x}')
        response.set('Retry-After', str(self.settings.retry_after))
        self.respond_stateless(response, flow)

    def invite_server_of(self, cancel: Request) -> InviteServerTransaction | None:
        """9.2: the transaction that a CANCEL means, matched as if it were an INVITE.

        If no client has that branch and that sent-by, the branch and the Call-ID suffice: a NAT may have
        rewritten the sent-by of one and not of the other.
        """
        via = cancel.via
        branch = via.branch
        if branch is None or not branch.startswith(COOKIE) or branch == COOKIE:
            transaction = self.servers.get(old_key(cancel, via, 'INVITE', cancel.to_tag))
        else:
            transaction = self.servers.get(branch)
            if transaction is None or transaction.host != via.host or transaction.port != via.port:
                twin = self.servers.get(f'{branch} {via.host}:{via.port}')
                if twin is not None:
                    transaction = twin
                elif transaction is not None and transaction.call_id != cancel.call_id:
                    transaction = None
        return transaction if isinstance(transaction, InviteServerTransaction) else None

    # -- from the user

    def request(self, request: Request, flow: Flow, now: float, user: Any = None) -> ClientTransaction:
        """Send a request other than ACK, whose top Via has a unique branch, in a new transaction (17.1)."""
        method = request.method
        branch = request.branch
        if branch is None or method == 'ACK':
            raise UsageError(f'a client transaction needs a branch and cannot be an ACK: {request.start_line}')
        key = branch if method != 'CANCEL' else f'CANCEL {branch}'
        if key in self.clients:
            raise UsageError(f'there is a client transaction with the branch {branch} already')
        transaction: ClientTransaction
        if method == 'INVITE':
            transaction = InviteClientTransaction(self, key, request, flow, user)
            transaction.started = now
            # What cannot be written is none.
            transaction.fire('INVITE from TU', request, now)
            self.clients[key] = transaction
        else:
            transaction = NonInviteClientTransaction(self, key, request, flow, user)
            transaction.started = now
            transaction.fire('Request from TU', request, now)
            self.clients[key] = transaction
        return transaction

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> bool:
        """Send a response in its transaction.  False if it may not be sent (any more), and was not.

        RFC 4320: a request other than INVITE gets no 408, and no provisional response but 100; that one
        is sent by the transaction itself over unreliable transports, when it is time.
        """
        code = response.code
        event = transaction.by_class[code // 100]
        if transaction.method != 'INVITE':
            if code == 408:
                transaction.fire('408 from TU', response, now)
                return False
            if code < 200 and (code != 100 or not transaction.flow.point.reliable):
                return False
        if transaction.to_tag is not None:
            transaction.to_tag = response.to_tag
        return transaction.fire(event, response, now)

    def abandon(self, transaction: Transaction, now: float) -> None:
        """End a transaction now, without a word to anybody.

        A cancelled INVITE that had no final response for 64*T1 ends so (9.1).
        """
        transaction.fire('abandoned by TU', None, now)

    def send_stateless(self, message: Message | bytes, flow: Flow) -> None:
        """Send without a transaction: an ACK to a 2xx, a 2xx once more."""
        self.outgoing.append((message if isinstance(message, bytes) else message.to_bytes(), flow))

    def respond_stateless(self, response: Response, flow: Flow) -> bool:
        """Answer a request that came on ``flow`` without a transaction (8.2.7).

        False if its top Via cannot be read: then nobody knows where the response belongs.
        """
        try:
            stamp(response, flow)
            to = response_flow(response, flow)
        except ParseError:
            return False
        self.outgoing.append((response.to_bytes(), to))
        return True

    def dismiss(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Answer and forget (8.2.7): for refusals that would be the same if the request came again."""
        if transaction.state in (State.TRYING, State.PROCEEDING):
            self.outgoing.append((response.to_bytes(), transaction.response_flow))
        transaction.fire('abandoned by TU', None, now)

    def transport_failed(self, flow: Flow, error: Exception, now: float, data: bytes = b'') -> None:
        """What was sent on the flow did not leave (17.1.4, 17.2.4); ``data`` is the message, if one in particular.

        Without it, all requests of ours on the flow are lost: a connection has broken.  Who has still to answer on it
        is not told: for the response another connection is opened (18.2.2), and an INVITE of ours that rings waits for
        that.  Not so where nobody can open another one (RFC 7118 5.3): then both kinds of INVITE are over.
        """
        one_way = not data and flow.point.one_way
        failed: list[Transaction] = []
        if data:
            sender = self._sender_of(data)
            if sender is not None:
                failed.append(sender)
        else:
            failed.extend(client for client in self.clients.values() if client.flow == flow)
            if one_way:
                failed.extend(server for server in self.servers.values()
                              if server.method == 'INVITE' and server.state is State.PROCEEDING and server.flow == flow)
        for transaction in failed:
            if not transaction.fire('Transport Err.', error, now) and one_way:
                transaction.fire('no way back', error, now)

    def _sender_of(self, data: bytes) -> Transaction | None:
        """The transaction that sent this message, found like the answers to it."""
        try:
            message = parse_message(data)
            via = message.via
            branch = via.branch or ''
            method = message.cseq.method
        except ParseError:
            return None
        key = branch if method == 'INVITE' or method == 'ACK' else f'{method} {branch}'
        if isinstance(message, Request):
            return self.clients.get(key if method == 'CANCEL' else branch)
        transaction = self.servers.get(key)
        if transaction is not None and transaction.host == via.host and transaction.port == via.port:
            return transaction
        return self.servers.get(f'{key} {via.host}:{via.port}')

    # -- from the transactions

    def destroy(self, transaction: Transaction) -> None:
        """The machine has entered Terminated: nothing leads to it any more."""
        transaction.stop_timers()
        if isinstance(transaction, ServerTransaction):
            del self.servers[transaction.key]
            if transaction.merge_key is not None:
                del self._merging[transaction.merge_key]
        else:
            del self.clients[transaction.key]
        if transaction.watched and transaction.user is not None:
            self.events.append(('terminated', transaction, None))
        self.spent.append(transaction)


def merge_key_of(request: Request) -> MergeKey:
    cseq = request.cseq
    return request.from_tag, request.call_id, cseq.number, cseq.method


def old_key(request: Request, via: Via, method: str, to_tag: str | None) -> str:
    """17.2.3, for branches without the cookie: Request-URI, To tag, From tag, Call-ID, CSeq and top Via."""
    return '\n'.join((method, request.uri_text, to_tag or '', request.from_tag or '', request.call_id,
                      str(request.cseq.number), via.sent_by, via.branch or ''))
