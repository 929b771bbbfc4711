"""What every layer above relies on, looked at once when a message arrives (RFC 3261 8.1.1, 8.2.2, 8.1.3, 18.1.2)."""

from __future__ import annotations

from typing import Final

from ..errors import ParseError
from .address import STAR, parse_name_addr
from .grammar import split_list
from .message import Message, Request, Response
from .methods import DIALOG_METHODS, METHODS
from .names import CALL_ID, CONTACT, CSEQ, FROM, MAX_FORWARDS, RECORD_ROUTE, ROUTE, TO, VIA
from .uri import parse_uri
from .values import CSeq, parse_call_id, parse_cseq
from .via import parse_via

__all__ = ['check_request', 'check_response']

# A second one of these would leave it open which of them counts.
SINGLE: Final = frozenset((
    FROM, TO, CALL_ID, CSEQ, MAX_FORWARDS, 'Content-Type', 'Event', 'Expires', 'Min-SE', 'RAck', 'Refer-To',
    'Referred-By', 'Replaces', 'RSeq', 'Session-Expires', 'Subscription-State', 'Join', 'Target-Dialog'))
# methods whose Contact steers what follows
CONTACT_METHODS: Final = DIALOG_METHODS | frozenset(('REGISTER', 'UPDATE'))
#: methods in whose responses there is one Contact, the remote target
TARGET_METHODS: Final = CONTACT_METHODS - {'REGISTER'}


def check_request(request: Request) -> None:
    """Look at what every layer above relies on: the mandatory fields of RFC 3261 8.1.1, each once and well formed.

    Raises ParseError with the request as its ``message``.  The values read stay with the request.  Fields that only
    some program asks for, such as Date, are not looked at; RFC 2543 messages without tag, branch and Max-Forwards pass.
    """
    try:
        first, cseq = _check_common(request)
        method = request.method
        if cseq.method != method:
            # RFC 4475 3.1.2.18: for a method we do not know, that is the thing to tell
            raise ParseError('the method of CSeq is another', str(cseq), status=400 if method in METHODS else 501)
        if first.get(MAX_FORWARDS, '70') != '70':
            _ = request.max_forwards
        text = request.uri_text
        uri = request._uri = parse_uri(text)
        if '?' in text and uri.headers:
            raise ParseError('header fields in the Request-URI', text)
        if CONTACT in first and method in CONTACT_METHODS:
            if method == 'REGISTER':
                _ = request.contacts
            elif request.contact is STAR:
                raise ParseError('Contact: * is for REGISTER')
        if ROUTE in first:
            _ = request.routes
        if RECORD_ROUTE in first and method in DIALOG_METHODS:
            _ = request.record_routes
    except ParseError as error:
        error.message = request
        raise


def check_response(response: Response) -> None:
    """The same for a response; one that fails is dropped (RFC 3261 18.1.2, 8.1.3.3).

    A Contact that cannot be read is as good as none: it goes, and leaves what the response says otherwise.
    """
    try:
        first, cseq = _check_common(response)
        if response.code < 300:
            if RECORD_ROUTE in first and cseq.method == 'INVITE':
                _ = response.record_routes
            if CONTACT in first and cseq.method in TARGET_METHODS:
                try:
                    readable = response.contact is not STAR
                except ParseError:
                    readable = False
                if not readable:
                    response.remove(CONTACT)
    except ParseError as error:
        error.message = response
        raise


def _check_common(message: Message) -> tuple[dict[str, str], CSeq]:
    """Read the mandatory fields; gives back the first text of each field, and the CSeq."""
    keys = message._keys
    texts = message._texts
    first = dict(zip(keys, texts))
    if len(first) != len(keys):
        _check_single(keys)
        first = dict(zip(reversed(keys), reversed(texts)))
    try:
        via = first[VIA]
        if ',' in via:
            via = split_list(via)[0]
        message._via = parse_via(via)
        from_ = message._from = parse_name_addr(first[FROM])
        to = message._to = parse_name_addr(first[TO])
        if from_ is STAR or to is STAR:
            raise ParseError('* is nobody')
        call_id = first[CALL_ID]
        if not (call_id.isascii() and call_id.isprintable() and call_id) or ' ' in call_id:
            parse_call_id(call_id)
        cseq = message._cseq = parse_cseq(first[CSEQ])
    except KeyError as error:
        raise ParseError(f'{error.args[0]} is missing') from None
    return first, cseq


def _check_single(keys: list[str]) -> None:
    seen = set()
    for key in keys:
        if key in seen and key in SINGLE:
            raise ParseError(f'{key} twice')
        seen.add(key)
