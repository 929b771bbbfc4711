"""Messages made from other messages: responses, the ACK for a failure, CANCEL.

RFC 3261 8.2.6 and 12.1.1, 17.1.1.3, 9.1.  All are put together from raw texts, nothing is read that need not be.
"""

from __future__ import annotations

from typing import Final

from ..errors import ParseError, UsageError
from .grammar import check_text, is_token, split_list
from .message import BlankRequest, BlankResponse, Request, Response
from .methods import DIALOG_METHODS
from .names import CALL_ID, CSEQ, FROM, MAX_FORWARDS, RECORD_ROUTE, ROUTE, TO, VIA
from .status import reason_phrase

__all__ = ['make_ack_for_failure', 'make_cancel', 'make_response']

_IN_RESPONSE: Final = frozenset((VIA, FROM, TO, CALL_ID, CSEQ))
_IN_DIALOG_RESPONSE: Final = _IN_RESPONSE | {RECORD_ROUTE}
_IN_TRYING: Final = _IN_RESPONSE | {'Timestamp'}


def make_response(request: Request, code: int, reason: str = '', to_tag: str | None = None) -> Response:
    """A response as RFC 3261 8.2.6.2 says, from the raw texts of the request.

    Via, From, To, Call-ID and CSeq are those of the request; To gets ``to_tag`` unless it has a tag.  Record-Route
    goes into 101 to 299 of methods that create dialogs (12.1.1), Timestamp into a 100 (8.2.6.1).
    """
    if not 100 <= code <= 699:
        raise UsageError(f'not a status code: {code}')
    response = BlankResponse(code, check_text(reason) if reason else reason_phrase(code))
    wanted = _IN_RESPONSE
    if code < 300:
        if code == 100:
            wanted = _IN_TRYING
        elif request.method in DIALOG_METHODS:
            wanted = _IN_DIALOG_RESPONSE
    keys = response._keys
    texts = response._texts
    for key, text in zip(request._keys, request._texts):
        if key in wanted:
            if key == TO and to_tag:
                text = _tagged(request, text, to_tag)
            keys.append(key)
            texts.append(text)
    return response


def _tagged(request: Request, text: str, tag: str) -> str:
    try:
        if request.to.tag is not None:
            return text
    except ParseError:
        return text         # a To that nobody understands goes back as it came
    if not is_token(tag):
        raise UsageError(f'not a tag: {tag!r}')
    return f'{text};tag={tag}'


def make_ack_for_failure(request: Request, response: Response) -> Request:
    """The ACK of an INVITE client transaction for a 300 to 699 (RFC 3261 17.1.1.3)."""
    ack = _same_hop(request, 'ACK', response.get(TO) or request.get(TO) or '')
    # RFC 3261 22.1: an ACK duplicates the credentials of its INVITE
    for key, text in zip(request._keys, request._texts):
        if key in ('Authorization', 'Proxy-Authorization'):
            ack._keys.append(key)
            ack._texts.append(text)
    return ack


def make_cancel(request: Request) -> Request:
    """The CANCEL for a request that was sent (RFC 3261 9.1)."""
    return _same_hop(request, 'CANCEL', request.get(TO) or '')


def _same_hop(request: Request, method: str, to: str) -> Request:
    """A request that takes the way of another one: same URI, topmost Via, Route, From, Call-ID, CSeq number."""
    made = BlankRequest(method, request.uri_text)
    made._uri = request._uri
    via = request._text(VIA)
    if ',' in via:
        via = split_list(via)[0]
    keys = [VIA, MAX_FORWARDS, FROM, TO, CALL_ID, CSEQ]
    texts = [via, '70', request._text(FROM), to, request.call_id, f'{request.cseq.number} {method}']
    if ROUTE in request._keys:
        routes = request.get_all(ROUTE)
        keys += [ROUTE] * len(routes)
        texts += routes
    made._keys = keys
    made._texts = texts
    return made
