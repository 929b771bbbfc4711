"""Dialogs: RFC 3261 12, a peer-to-peer relation of two user agents, as plain values.

A dialog is made from an INVITE and a response to it that carries a To tag, by the UAC (12.1.2) or by the UAS
(12.1.1). It knows who the two parties are, which route requests take and which sequence numbers come next. What the
dialog is used for is the business of its usage (``invite.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greensip.errors import ParseError
from greensip.message import Request, Response, SipUri, parse_uri
from greensip.sdp.offer_answer import OfferAnswer
from greensip.transaction.flow import Flow, Point

from .routing import Envelope, plain_uri, route_request

__all__ = ['Dialog', 'DialogId']

#: Call-ID, local tag, remote tag; tags are '' towards RFC 2543 peers
DialogId = tuple[str, str, str]


class Dialog:
    """The state of RFC 3261 12: parties, tags, sequence numbers, remote target and route set."""

    __slots__ = (
        'call_id',
        'confirmed',
        'contact',
        'flow',
        'home',
        'id',
        'local',
        'local_cseq',
        'local_tag',
        'next_uri',
        'others',
        'point',
        'remote',
        'remote_cseq',
        'remote_tag',
        'remote_target',
        'request_uri',
        'route_set',
        'routes',
        'session',
        'usage',
    )

    def __init__(
        self, usage: Any, call_id: str, local: str, local_tag: str, remote: str, remote_tag: str, point: Point
    ) -> None:
        self.usage = usage
        self.call_id = call_id
        #: From of our requests and To of theirs as text, tag included
        self.local = local
        self.local_tag = local_tag
        self.remote = remote
        self.remote_tag = remote_tag
        self.id: DialogId = (call_id, local_tag, remote_tag)
        self.local_cseq = 0
        #: None until the peer's first request
        self.remote_cseq: int | None = None
        self.remote_target = ''
        self.route_set: Sequence[str] = ()
        self.confirmed = False
        #: our own Contact in this dialog, as text
        self.contact = ''
        #: the point that the dialog began on; requests leave from it when it can reach the next hop
        self.point = point
        #: what 12.2.1.1 makes of target and route set, and the flow it leads to once that is known
        self.request_uri = ''
        self.routes: Sequence[str] = ()
        self.next_uri = ''
        self.flow: Flow | None = None
        #: where the peer's latest request came from, or ours went to that made the dialog
        self.home: Flow | None = None
        #: where a request may go when that flow fails (RFC 3263 4.3)
        self.others: Sequence[Flow] = ()
        #: its offers and answers, once there is a reliable provisional response or an UPDATE (``negotiation.py``)
        self.session: OfferAnswer | None = None

    @classmethod
    def as_uac(
        cls, usage: Any, request: Request, response: Response, point: Point, home: Flow | None = None
    ) -> Dialog:
        """12.1.2: the caller's dialog, from its request and a response with a To tag."""
        dialog = cls(
            usage,
            request.call_id,
            request.get('From') or '',
            request.from_tag or '',
            response.get('To') or '',
            response.to_tag or '',
            point,
        )
        dialog.local_cseq = request.cseq.number
        dialog.contact = request.get('Contact') or ''
        dialog.home = home
        dialog.follow(response)
        return dialog

    @classmethod
    def as_uas(
        cls, usage: Any, request: Request, local_tag: str, point: Point, home: Flow | None = None
    ) -> Dialog:
        """12.1.1: the callee's dialog, from the peer's request and the tag of our response."""
        to = request.get('To') or ''
        dialog = cls(
            usage,
            request.call_id,
            to if request.to_tag else f'{to};tag={local_tag}',
            local_tag,
            request.get('From') or '',
            request.from_tag or '',
            point,
        )
        dialog.remote_cseq = request.cseq.number
        dialog.home = home
        contact = request.contact
        if request.has('Record-Route'):
            dialog.route_set = tuple(str(route) for route in request.record_routes)
        # A caller without a Contact is an RFC 2543 one; its From is the best there is.
        dialog.retarget(str(contact.uri) if contact is not None else str(request.from_.uri))
        return dialog

    def follow(self, response: Response) -> None:
        """Take route set and target from a response that makes or confirms the dialog (12.1.2, 13.2.2.4)."""
        routes: Sequence[str] = ()
        if response.has('Record-Route'):
            routes = tuple(str(route) for route in reversed(response.record_routes))
        contact = response.contact
        target = str(contact.uri) if contact is not None else self.remote_target or str(response.to.uri)
        if target != self.remote_target or routes != self.route_set:
            self.route_set = routes
            self.retarget(target)

    def retarget(self, target: str) -> None:
        """Set the remote target; the request line, the routes and the next hop follow from it (12.2.1.1)."""
        self.remote_target = target
        self.request_uri, self.routes, self.next_uri = route_request(
            plain_uri(target), self.route_set, self.point.secure
        )
        self.flow = self.home if self.stays_home() else None
        self.others = ()

    def stays_home(self) -> bool:
        """Whether our requests go back to where the peer's come from, as nothing else leads to it.

        A browser cannot be connected to; who knows no address of its own gives a name under ``.invalid`` instead
        (RFC 7118 B.1), who is behind a NAT says ``ob`` (RFC 5626 4.3).
        """
        home = self.home
        if home is None:
            return False
        if home.connection and home.point.one_way:
            return True
        uri_text = self.next_uri.lower()
        return (';ob' in uri_text or '.invalid' in uri_text) and is_unreachable(uri_text)

    def move(self, flow: Flow) -> None:
        """A request of the peer came on ``flow``: ours follow it there if they stay at home."""
        self.home = flow
        if self.stays_home():
            self.flow = flow
            self.others = ()

    def lead(self, flows: Sequence[Flow]) -> Flow:
        """Our requests go to the first of ``flows``, and to the others when it fails; gives the first.

        Over streams the way that the dialog began on counts as well.  Where it leads to the same place it is the first:
        who is there has proved to be whom we called, and need not prove the address in his Contact, for which few have
        a certificate (RFC 5922 knows domains only).  Where it does not it is the last: a client of TLS seldom has a
        certificate with which it could be connected to.
        """
        home = self.home
        if home is not None and home.point.reliable:
            transport = home.point.transport
            flows = [
                home if flow.remote == home.remote and flow.point.transport == transport else flow for flow in flows
            ]
            if home not in flows:
                flows.append(home)
        self.others = flows[1:]
        self.flow = flows[0]
        return flows[0]

    def refresh(self, message: Request | Response) -> None:
        """A target refresh: only the Contact counts, the route set stays (12.2.1.2, 12.2.2)."""
        contact = message.contact
        if contact is not None:
            target = str(contact.uri)
            if target != self.remote_target:
                self.retarget(target)

    def envelope(self) -> Envelope:
        """What our next request is addressed with (12.2.1.1)."""
        self.local_cseq += 1
        return Envelope(
            self.request_uri, self.local, self.remote, self.call_id, self.local_cseq, self.routes, self.next_uri
        )

    def in_order(self, request: Request) -> bool:
        """12.2.2: whether a request's number is not lower than the last; remembers it."""
        number = request.cseq.number
        if self.remote_cseq is not None and number < self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def __repr__(self) -> str:
        return f'<Dialog {self.call_id} {self.local_tag} {self.remote_tag}>'


def is_unreachable(uri_text: str) -> bool:
    """Whether a URI says of itself that only the flow leads there that its owner has opened."""
    try:
        uri = parse_uri(uri_text)
    except ParseError:
        return False
    return isinstance(uri, SipUri) and ('ob' in uri.params or uri.host.lower().rstrip('.').endswith('.invalid'))
