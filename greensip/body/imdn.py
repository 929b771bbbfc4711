"""What became of a message: ``message/imdn+xml`` (RFC 5438), reports of its delivery, processing and display.

A report is asked for in CPIM and travels in it; ``ask`` and ``report`` make the two messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from greensip.errors import ParseError, UsageError

from .cpim import CpimMessage
from .xml import (
    XML_LIMITS,
    Element,
    XmlLimits,
    find,
    format_time,
    local_name,
    make,
    parse_time,
    parse_xml,
    text_of,
    write_xml,
)

__all__ = ['IMDN', 'Imdn', 'ask', 'parse_imdn', 'report']

#: the content type
IMDN = 'message/imdn+xml'

_NS = 'urn:ietf:params:xml:ns:imdn'
_FIELDS = 'urn:ietf:params:imdn'

#: what is reported, and how it may have gone (RFC 5438 7.2.1)
_STATUS = {
    'delivery': ('delivered', 'failed', 'forbidden', 'error'),
    'processing': ('processed', 'stored', 'forbidden', 'error'),
    'display': ('displayed', 'forbidden', 'error'),
}


class Imdn:
    """A report on the message called ``message_id``.

    ``status``: delivered or failed; processed or stored; displayed; forbidden or error.  ``kind``, delivery, processing
    or display, follows from the first five.  ``recipient`` and ``original_recipient`` are URIs.
    """

    __slots__ = ('kind', 'message_id', 'original_recipient', 'recipient', 'status', 'subject', 'time')

    content_type = IMDN

    def __init__(self, message_id: str, status: str, *, kind: str | None = None, recipient: str | None = None,
                 original_recipient: str | None = None, subject: str | None = None,
                 time: datetime | None = None) -> None:
        self.message_id = message_id
        self.status = status
        self.kind = kind or next((name for name, words in _STATUS.items() if status in words), 'delivery')
        if status not in _STATUS.get(self.kind, ()):
            raise UsageError(f'not a report: {kind} {status}')
        self.recipient = recipient
        self.original_recipient = original_recipient
        self.subject = subject
        self.time = time

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what XML cannot hold."""
        root = make(_NS, 'imdn')
        texts = (('message-id', self.message_id), ('datetime', format_time(self.time) if self.time else None),
                 ('recipient-uri', self.recipient), ('original-recipient-uri', self.original_recipient),
                 ('subject', self.subject))
        root.extend([make(_NS, name, text) for name, text in texts if text is not None])
        status = make(_NS, 'status')
        status.append(make(_NS, self.status))
        notification = make(_NS, f'{self.kind}-notification')
        notification.append(status)
        root.append(notification)
        return write_xml(root)

    def __repr__(self) -> str:
        return f'<Imdn {self.message_id} {self.status}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Imdn) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash((self.message_id, self.status))


def parse_imdn(body: bytes, limits: XmlLimits = XML_LIMITS) -> Imdn:
    """Read a ``message/imdn+xml`` body.

    ParseError if it is no such document, if it does not say which message it is about, or if it has no status that RFC
    5438 knows.
    """
    root = parse_xml(body, _NS, 'imdn', limits)
    message_id = text_of(find(root, _NS, 'message-id'))
    if not message_id:
        raise ParseError('a report on no message')
    for kind, words in _STATUS.items():
        notification = find(root, _NS, f'{kind}-notification')
        if notification is not None:
            status = _status(find(notification, _NS, 'status'))
            if status not in words:
                raise ParseError('a report without a known status', status)
            return Imdn(message_id, status, kind=kind, recipient=_text(root, 'recipient-uri'),
                        original_recipient=_text(root, 'original-recipient-uri'), subject=_text(root, 'subject'),
                        time=parse_time(_text(root, 'datetime')))
    raise ParseError('a report of nothing')


def _status(element: Element | None) -> str:
    """The name of the first element inside; some write it as text."""
    if element is None:
        return ''
    return local_name(element[0]) if len(element) else text_of(element)


def _text(root: Element, name: str) -> str | None:
    return text_of(find(root, _NS, name)) or None


def ask(from_: str, to: str, body: bytes, message_id: str, wanted: Iterable[str] = ('positive-delivery', 'display'), *,
        content: str = 'text/plain;charset=utf-8', time: datetime | None = None) -> CpimMessage:
    """A message that asks for reports (RFC 5438 7.1.1).

    ``wanted``: positive-delivery, negative-delivery, processing, display.  ``time``: when it is sent, which RFC 5438
    7.1.1 wants to be told.
    """
    message = CpimMessage([('From', f'<{from_}>'), ('To', f'<{to}>'), ('NS', f'imdn <{_FIELDS}>'),
                           ('imdn.Message-ID', message_id)], body, content=content)
    if time is not None:
        message.stamp(time)
    names = ', '.join(wanted)
    if names:
        message.headers.append(('imdn.Disposition-Notification', names))
    message.content_headers.append(('Content-Length', str(len(body))))
    return message


def report(message: CpimMessage, status: str, message_id: str, *, kind: str | None = None,
           time: datetime | None = None) -> CpimMessage:
    """The report on ``message``, itself called ``message_id`` (RFC 5438 7.2.1).

    It goes from its To to its From.  UsageError for a message that has no name, and for a report itself, to which
    there is none.
    """
    if message.message_id is None or message.is_notification:
        raise UsageError('there are no reports on a message without a name, nor on reports')
    recipient = _uri(message.get('To') or '')
    imdn = Imdn(message.message_id, status, kind=kind, recipient=recipient,
                original_recipient=_uri(message.get('imdn.Original-To') or '') or recipient, time=message.time)
    body = imdn.to_bytes()
    answer = CpimMessage([('From', message.get('To') or ''), ('To', message.get('From') or ''),
                          ('NS', f'imdn <{_FIELDS}>'), ('imdn.Message-ID', message_id)], body, content_headers=[
                              ('Content-Type', IMDN), ('Content-Disposition', 'notification'),
                              ('Content-Length', str(len(body)))])
    if time is not None:
        answer.stamp(time)
    return answer


def _uri(text: str) -> str:
    """The URI of ``Name <URI>``."""
    _, bracket, uri = text.partition('<')
    return uri.partition('>')[0].strip() if bracket else text.strip()
