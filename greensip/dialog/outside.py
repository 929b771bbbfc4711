"""Requests outside of dialogs: RFC 3261 8.1.1, what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greensip.errors import ParseError, UsageError
from greensip.message import NameAddr, Uri, parse_name_addr, parse_uri
from greensip.transaction.flow import Flow, Point

from .exchange import ClientRequest, Fields
from .routing import Envelope, is_sips, plain_uri, route_request, secured_route

if TYPE_CHECKING:
    from greensip.message.digest import DigestClient

    from .core import Core

__all__ = ['Destination', 'name_addr_text', 'outside_envelope']


class Destination:
    """Where a request outside of dialogs goes, kept for the next one: a subscription, a publication."""

    __slots__ = ('call_id', 'contact', 'flow', 'from_', 'from_tag', 'point', 'route', 'to', 'uri')

    def __init__(
        self,
        uri: str,
        from_: Any,
        to: Any = None,
        route: Sequence[str] = (),
        contact: str | None = None,
        point: Point | None = None,
        flow: Flow | None = None,
        call_id: str | None = None,
        from_tag: str | None = None,
    ) -> None:
        self.uri = uri
        self.from_ = from_
        self.to = to
        self.route = route
        self.contact = contact
        self.point = point
        self.flow = flow
        #: those of the first attempt only
        self.call_id = call_id
        self.from_tag = from_tag

    def request(
        self,
        core: Core,
        method: str,
        subject: Any,
        cseq: int,
        fields: Fields,
        body: bytes,
        content_type: str | None,
        digest: DigestClient | None,
    ) -> ClientRequest:
        """A request that goes there, and is still to be started."""
        flow = self.flow
        envelope = outside_envelope(
            core, self.uri, self.from_, self.to, self.call_id or core.new_call_id(), fields, self.route, self.from_tag,
            cseq,
        )
        exchange = ClientRequest(
            core, method, subject, envelope, fields, body, content_type, self.contact,
            flow.point if flow is not None else self.point, digest=digest,
        )
        exchange.flow = flow
        return exchange


def name_addr_text(value: NameAddr | Uri | str) -> str:
    """From or To as text without a tag: a URI gets its angle brackets, so that its parameters stay its own.

    Raises UsageError for a text that is no URI.
    """
    if isinstance(value, NameAddr):
        if value.tag is None:
            return str(value)
        tail = f';tag={value.tag}'
        if value.param_text == tail:
            return str(value)[: -len(tail)]
        return str(value.without_param('tag'))
    text = str(value)
    if '<' not in text:
        if isinstance(value, str):
            try:
                parse_uri(text)
            except ParseError:
                raise UsageError(f'{text!r} is no address: write sip:alice@example.com') from None
        return f'<{text}>'
    return name_addr_text(parse_name_addr(text)) if 'tag=' in text else text


def outside_envelope(
    core: Core,
    uri: Uri | str,
    from_: NameAddr | Uri | str,
    to: NameAddr | Uri | str | None,
    call_id: str,
    headers: Fields,
    route: Sequence[str],
    from_tag: str | None,
    cseq: int,
) -> Envelope:
    """8.1.1: what a request outside of dialogs is made of; 19.1.5: header fields and method in the URI stay out."""
    target = plain_uri(str(uri))
    if route:
        # A bare URI gets its angle brackets, so that its lr stays its own (20.34).
        route = [text if '<' in text else f'<{text}>' for text in route]
        if is_sips(target):
            # RFC 5630 5.1.1: "if the route set included any SIP URI, the UAC MUST change the SIP URIs to SIPS URIs"
            route = [secured_route(text) for text in route]
    if headers:
        core.check_headers(headers)
    request_uri, routes, next_uri = route_request(target, route)
    sender = f'{name_addr_text(from_)};tag={from_tag or core.new_tag()}'
    receiver = name_addr_text(to) if to is not None else f'<{target}>'
    return Envelope(request_uri, sender, receiver, call_id, cseq, routes, next_uri)
