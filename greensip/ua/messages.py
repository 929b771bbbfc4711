"""Texts outside of calls (RFC 3428), as a script reads them.

    for message in ua.messages:                       # or alice.messages: those of an account
        print(message.from_.uri.user, message.text)
        message.reply('I have read it')

An inbox is a mailbox as a leg is: ``wait_for('MESSAGE', timeout=20)``.  What is no text for people is told apart:
``'composing'`` (``composing:active``, ``composing:idle``), somebody writes or has stopped (RFC 3994), is there for
those who wait for it at that moment; ``'report'`` (``report:delivered``, ``report:displayed``, ``report:failed`` ...)
is what became of a message of ours that asked for it (RFC 5438).

Requests are answered here: 200 for what somebody takes, 415 for what nobody can read, 400 for what is broken, 480 when
nobody is there, or nobody reads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from greensip.body import CODINGS, CPIM, IMDN, ISCOMPOSING, CpimMessage, Imdn, content_of, parse_document, report
from greensip.body.coding import charset_of
from greensip.dialog.exchange import ClientRequest
from greensip.errors import GreensipError, ParseError, UsageError, WrongState
from greensip.message import MediaType, NameAddr, Request, Response, SipUri, Uri, parse_media_type
from greensip.message.multipart import find_part
from greensip.native import mypyc_attr
from greensip.transaction.flow import Flow

from .fields import Body, Extra, Headers, body_of, fields_of
from .mailbox import Mailbox, Notice
from .threads import ThreadBound

if TYPE_CHECKING:
    from .account import Account
    from .agent import UserAgent
    from .request import IncomingRequest

__all__ = ['Inbox', 'IncomingMessage', 'Switchboard', 'key_of', 'send_message', 'switchboard_of',
           'wanted_reports']

log: Final = logging.getLogger('greensip.ua')

#: messages that may lie unread in an inbox before further ones are put off
UNREAD = 256
#: seconds after which the sender of one that was put off may try again
RETRY: Final = 30

#: what has to be asked for that there be a report (RFC 5438 6.2)
_WANTED: Final = {'delivered': 'positive-delivery', 'failed': 'negative-delivery', 'processed': 'processing',
                  'stored': 'processing', 'displayed': 'display', 'forbidden': 'negative-delivery',
                  'error': 'negative-delivery'}


def wanted_reports(words: Iterable[str]) -> list[str]:
    """What is asked for, in RFC 5438's words: ``displayed`` is ``display`` there.  Raises UsageError for others."""
    names = [_WANTED.get(word, word) for word in ([words] if isinstance(words, str) else words)]
    for name in names:
        if name not in _WANTED.values():
            raise UsageError(f'not a report: {name!r}')
    return list(dict.fromkeys(names))


def key_of(uri: Uri) -> str:
    """What two URIs of the same person have in common: user and host."""
    if isinstance(uri, SipUri):
        return f'{uri.user or ""}@{uri.host.lower()}'
    return str(uri)


@mypyc_attr(allow_interpreted_subclasses=True)
class IncomingMessage(ThreadBound):
    """A MESSAGE that came in.

    ``label`` is ``'MESSAGE'``, or ``'composing'`` or ``'report'`` for what is no text; ``detail`` then says which.
    ``account``: the one that it is for, or None.  ``cpim``: its envelope, if it came in one (RFC 3862).
    """

    __slots__ = ('_kind', '_ua', 'account', 'body', 'cpim', 'detail', 'document', 'flow', 'label', 'leg', 'request',
                 'time')

    #: as other events have them
    code = 0
    error = None

    def __init__(self, ua: UserAgent, request: Request, flow: Flow, time: float, account: Account | None) -> None:
        self._ua = ua
        #: the request
        self.request = request
        #: the way that it came, for ``reply(flow=)``
        self.flow = flow
        #: when it came
        self.time = time
        self.account = account
        #: the inbox
        self.leg: Any = None
        self.label: int | str = 'MESSAGE'
        self.detail = ''
        #: what it says, without its envelope, and unpacked
        self.body: bytes = content_of(request)
        self.cpim: CpimMessage | None = None
        #: the body as its type's value in ``greensip.body``; None for texts
        self.document: Any = None
        self._kind: MediaType = _kind_of(request.content_type)
        if self._kind.essence == CPIM:
            cpim: CpimMessage = parse_document(self._kind, self.body) or CpimMessage()
            self.cpim = cpim
            self.body = cpim.body
            self._kind = cpim.content
        essence = self._kind.essence
        self.document = parse_document(self._kind, self.body)
        if essence == ISCOMPOSING and self.document is not None:
            self.label = 'composing'
            self.detail = 'active' if self.document.active else 'idle'
        elif essence == IMDN and self.document is not None:
            self.label = 'report'
            self.detail = self.document.status

    @property
    def message(self) -> Request:
        """The request, as other events have it."""
        return self.request

    @property
    def headers(self) -> Headers:
        """The header fields of the request."""
        return Headers(self.request)

    @property
    def from_(self) -> NameAddr:
        """From: who wrote it."""
        return self.request.from_

    @property
    def to(self) -> NameAddr:
        """To."""
        return self.request.to

    @property
    def source(self) -> tuple[str, int]:
        """Address and port that it came from."""
        return self.flow.remote

    @property
    def content_type(self) -> str:
        """The type of the body without parameters, such as ``text/plain``."""
        return self._kind.essence

    @property
    def text(self) -> str:
        """The body as text; that of the plain text in it if it has several parts; '' if it is no text."""
        if self._kind.type == 'text':
            return _decoded(self.body, self._kind)
        if self._kind.type == 'multipart':
            return _decoded(find_part(self._kind, self.body, 'text/plain') or b'', self._kind)
        return ''

    @property
    def message_id(self) -> str | None:
        """How the message is called in reports: its own name, or in a report that of the message it is about."""
        if isinstance(self.document, Imdn):
            return self.document.message_id
        return self.cpim.message_id if self.cpim is not None else None

    @property
    def wants(self) -> frozenset[str]:
        """The reports that its sender asks for: positive-delivery, negative-delivery, processing, display."""
        if self.cpim is None or self.cpim.is_notification or self.cpim.message_id is None:
            return frozenset()
        return self.cpim.wants

    def reply(self, text: Body, *, timeout: float | None = None, **options: Any) -> Response:
        """Send a text to who wrote it, in the name of the account that it was for; block until it is answered.

        ``options`` and what is raised are those of ``ua.message``.
        """
        target = self.from_.uri
        if self.account is not None:
            return self.account.message(target, text, timeout=timeout, **options)
        return self._ua.message(target, text, timeout=timeout, **{'flow': self._way_back, **options})

    @property
    def _way_back(self) -> Flow | None:
        """Without a proxy between us the way that it came: phones on their own say in From who they are, not where."""
        return self.flow if self.account is None and len(self.request.vias) == 1 else None

    def report(self, status: str) -> bool:
        """Tell its sender what became of it: ``displayed``, ``processed``, ``stored``, ``failed``, ``forbidden`` or
        ``error``; that it was ``delivered`` is told by itself.

        Only if he asked for that; False if not.  Does not block.  Raises UsageError for another word, WrongThread.
        """
        self._ua.check_thread()
        if status not in _WANTED:
            raise UsageError(f'not a report: {status!r}')
        cpim = self.cpim
        if cpim is None or _WANTED[status] not in self.wants:
            return False
        number = self._ua.core.random.getrandbits(64)
        answer = report(cpim, status, f'{number:016x}', time=datetime.now(UTC))
        send_message(self._ua, self.account, self.from_.uri, answer, flow=self._way_back)
        return True

    def __repr__(self) -> str:
        return f'<IncomingMessage {self.label}{":" if self.detail else ""}{self.detail} {len(self.body)}>'


def _kind_of(content_type: MediaType | None) -> MediaType:
    return content_type if content_type is not None else parse_media_type('text/plain')


def _decoded(body: bytes, kind: MediaType) -> str:
    """RFC 3261 20.15: UTF-8 unless something else is said."""
    try:
        return body.decode(charset_of(kind.param('charset') or '') or 'utf-8', 'replace')
    except (LookupError, ValueError):
        return body.decode('utf-8', 'replace')


@mypyc_attr(allow_interpreted_subclasses=True)
class Inbox(Mailbox):
    """The messages that come in for an account, or for those who have no inbox of their own.

    ``accept``: the content types that are taken, such as ``['text/plain']``, others get a 415; None takes all.
    ``reports``: whether senders who ask for it are told that a message has been delivered (RFC 5438).
    """

    __slots__ = ('_board', 'accept', 'account', 'reports')

    def __init__(self, board: Switchboard, account: Account | None) -> None:
        super().__init__(board.ua)
        self._board = board
        #: whose it is; None for the user agent's
        self.account = account
        self.accept: Sequence[str] | None = None
        self.reports = True

    @property
    def peer_name(self) -> str:
        return 'anybody'

    @property
    def unread(self) -> int:
        """How many events lie there."""
        return len(self._events)

    def _lighten(self) -> None:
        """What has been taken with a 200 is not dropped: who writes more than can lie here gets a 480."""

    def next(self, timeout: float | None = None) -> IncomingMessage:
        """Block until there is a message, and return it.  Raises as ``wait_for('MESSAGE')``."""
        message: IncomingMessage = self.wait_for('MESSAGE', timeout=timeout)
        return message

    def __iter__(self) -> Iterator[IncomingMessage]:
        """The messages as they come; each step blocks.  Ends when the inbox, or the user agent, is closed."""
        while True:
            try:
                message = self.next()
            except WrongState:
                if not self.ended:
                    raise
                return
            yield message

    def close(self) -> None:
        """Take no more.  Does not block."""
        self._board.forget(self)
        self.finish(Notice('ended', time=self._engine.clock.now(), leg=self, error=WrongState('the inbox is closed')))

    def __repr__(self) -> str:
        return f'<Inbox {self.account.aor.uri if self.account is not None else ""} {self.unread}>'


class Switchboard:
    """Gives each message to whom it concerns: the handler of MESSAGE, once somebody has asked for messages."""

    __slots__ = ('buddies', 'inboxes', 'ua')

    def __init__(self, ua: UserAgent) -> None:
        self.ua = ua
        self.inboxes: dict[Any, Inbox] = {}
        #: who watches somebody, by ``key_of`` his URI
        self.buddies: dict[str, list[Any]] = {}

    def inbox(self, account: Account | None) -> Inbox:
        """The inbox of an account, or with None of all others."""
        found = self.inboxes.get(account)
        if found is None:
            found = self.inboxes[account] = Inbox(self, account)
        return found

    def forget(self, inbox: Inbox) -> None:
        """It is closed."""
        if self.inboxes.get(inbox.account) is inbox:
            del self.inboxes[inbox.account]

    def close(self) -> None:
        """The user agent is closed."""
        for inbox in tuple(self.inboxes.values()):
            inbox.close()
        for buddies in tuple(self.buddies.values()):
            for buddy in tuple(buddies):
                buddy.close()

    def __call__(self, incoming: IncomingRequest) -> None:
        """Process a MESSAGE: RFC 3428 7.  Does not block."""
        request = incoming.request
        now = self.ua.clock.now()
        try:
            account = self.ua.account_of(request)
            message = IncomingMessage(self.ua, request, incoming.flow, now, account)
            buddies = self.buddies.get(key_of(request.from_.uri), ())
        except ParseError as error:
            # RFC 3261 8.2.3
            incoming.respond(error.status, headers={'Accept-Encoding': CODINGS} if error.status == 415 else None)
            return
        inbox = self.inboxes.get(account) or self.inboxes.get(None)
        if inbox is None and not buddies:
            incoming.respond(480)
            return
        if inbox is not None and message.label == 'MESSAGE':
            if inbox.accept is not None and not any(
                    parse_media_type(kind).accepts(message.content_type) for kind in inbox.accept):
                incoming.respond(415, headers={'Accept': ', '.join(inbox.accept)})
                return
            if inbox.unread >= UNREAD:
                incoming.respond(480, headers={'Retry-After': RETRY})
                return
        incoming.respond(200)
        self._deliver(message, inbox, buddies)

    def _deliver(self, message: IncomingMessage, inbox: Inbox | None, buddies: Sequence[Any]) -> None:
        if inbox is not None:
            message.leg = inbox
            if message.label == 'composing':
                inbox.show(message)
            else:
                inbox.deliver(message)
        for buddy in tuple(buddies):
            buddy.on_message(message)
        if (inbox is None or inbox.reports) and message.label == 'MESSAGE':
            try:
                message.report('delivered')
            except GreensipError as error:
                log.debug('! no report to %s: %s', message.from_.uri, error)


def switchboard_of(ua: UserAgent) -> Switchboard:
    """The switchboard of a user agent, begun now if there is none.  Raises WrongState where the script takes the
    messages itself, WrongThread."""
    ua.check_thread()
    board: Switchboard | None = ua._switchboard
    handler = ua.request_handlers.get('MESSAGE')
    if handler is not None and handler is not board:
        raise WrongState("handle('MESSAGE', ...) takes the messages")
    if board is None:
        if ua.closed:
            raise WrongState('the user agent is closed')
        board = ua._switchboard = Switchboard(ua)
        ua.handle('MESSAGE', board, blocking=False)
    return board


def send_message(ua: UserAgent, account: Account | None, target: Uri, body: Body, *, content_type: str | None = None,
                 headers: Extra = None, owner: Any = None, flow: Flow | None = None) -> ClientRequest:
    """Send a MESSAGE whose answer nobody waits for, but ``owner.on_event``.  Does not block."""
    options: dict[str, Any] = {}
    if account is not None:
        options = account.options_for(target, dialog=False)
    else:
        options['from_'] = ua._own_address(target, (), flow)
        options['flow'] = flow
    data, kind = body_of(body, content_type, 'text/plain')
    exchange = ua.core.request('MESSAGE', target, ua.clock.now(), headers=fields_of(headers), body=data,
                               content_type=kind, **options)
    exchange.owner = owner
    ua.endpoint.flush()
    return exchange
