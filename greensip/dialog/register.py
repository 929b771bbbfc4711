"""The REGISTER of a registration, and the contact that it has of us: RFC 3261 10.2.1 and 10.2.2, RFC 5626 4.2.1.

Our own contact is the address of the point which the REGISTER leaves from; behind a NAT it may be the address that the
registrar sees us at (RFC 3581).  The functions take the registration, which says what is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from greensip.errors import ParseError
from greensip.message import NameAddr, Request, Response
from greensip.transaction.flow import Point, hostport

from .exchange import ClientRequest
from .routing import Envelope, is_numeric, is_sips

if TYPE_CHECKING:
    from .registration import Registration

__all__ = ['RegisterRequest', 'is_among', 'note_mapping', 'own_contact']

#: so often our address may be another one during one registration: a NAT that changes its mind is no help
MAX_MAPPINGS: Final = 2


class RegisterRequest(ClientRequest):
    """A REGISTER of ours: its contacts are those of the point that it leaves from."""

    __slots__ = ('registration', 'removal', 'reused')

    def __init__(self, registration: Registration, envelope: Envelope, removal: bool) -> None:
        super().__init__(registration.core, 'REGISTER', registration, envelope, point=registration.point,
                         digest=registration.digest)
        self.registration = registration
        self.removal = removal
        #: whether it goes the way that an earlier one took
        self.reused = False

    def on_response(self, response: Response, now: float) -> None:
        registration, flow = self.registration, self.flow
        if registration.nat and flow is not None and not flow.point.one_way and response.code >= 200:
            note_mapping(registration, flow.point, response)
        super().on_response(response, now)

    def compose(self, point: Point) -> Request:
        registration = self.registration
        self.headers = [*contact_fields(registration, point, self.envelope, self.removal),
                        ('Supported', ', '.join(['path', *registration.options])), *registration.headers]
        request = super().compose(point)
        if registration.keep:
            request.set('Via', f'{request.get("Via")};keep')
        return request


def contact_fields(
    registration: Registration, point: Point, envelope: Envelope, removal: bool
) -> list[tuple[str, str]]:
    """10.2.1: Contact and Expires of a REGISTER that leaves from ``point``; 10.2.2: of one that removes them."""
    if removal and registration.everything:
        return [('Contact', '*'), ('Expires', '0')]
    fields = [('Contact', contact_text(registration, lasting(contact) if removal else contact, point, envelope))
              for contact in registration.contacts]
    for contact in registration.removed:
        fields.append(('Contact', f'{contact_text(registration, lasting(contact), point, envelope)};expires=0'))
    if registration.known_as and registration.known_as != registration.contact:
        # What we were known by leads nowhere any more.
        fields.append(('Contact', f'{registration.known_as};expires=0'))
    fields.append(('Expires', '0' if removal else str(registration.expires)))
    return fields


def contact_text(registration: Registration, contact: NameAddr | None, point: Point, envelope: Envelope) -> str:
    """A Contact; None for our own one, which is remembered as what was written."""
    if contact is not None:
        return str(contact)
    sips = point.secure and (is_sips(envelope.uri) or is_sips(envelope.next_uri))
    text = own_contact(registration, point, sips)
    registration.contact = text
    registration.written = registration.mapped
    for name, value in registration.params.items():
        text += f';{name}' if value is None else f';{name}={value}'
    if registration.instance:
        text += f';+sip.instance="<{registration.instance}>"'
    if registration.outbound:
        text += f';reg-id={registration.reg_id}'
    return text


def own_contact(registration: Registration, point: Point, sips: bool = False) -> str:
    """Our address at ``point``, with the user part by which a request is known to be for this registration."""
    user = f'{registration.user}@' if registration.user else ''
    mapped = registration.mapped
    where = point.sent_by if mapped is None or point is not registration.seen_at else hostport(*mapped)
    # RFC 5626 4.3: what is sent to this contact, or to a GRUU that is made of it, comes over this flow.
    flow = ';ob' if registration.outbound else ''
    if sips:
        # RFC 5630 3.1.4: sips says that there is TLS, so ``transport`` does not.
        return f"<sips:{user}{where}{'' if point.transport == 'TLS' else ';transport=ws'}{flow}>"
    return f'<sip:{user}{where}{point.contact_params}{flow}>'


def note_mapping(registration: Registration, point: Point, response: Response) -> None:
    """RFC 3581 4: the top Via of a response to our REGISTER tells where the request came from."""
    try:
        via = response.via
    except ParseError:
        return
    host, port = (via.received or via.host).strip('[]'), via.rport or via.port
    if not is_numeric(host) or not port or registration.mappings >= MAX_MAPPINGS:
        return
    mapped = None if (host, port) == point.advertised else (host, port)
    if mapped != registration.mapped:
        registration.mappings += 1
        registration.mapped, registration.seen_at = mapped, point


def lasting(contact: NameAddr | None) -> NameAddr | None:
    """An address without a time of its own."""
    return contact.without_param('expires') if contact is not None and contact.expires is not None else contact


def is_among(contact: NameAddr | None, contacts: Sequence[NameAddr | None]) -> bool:
    """Whether an address is one of several; None is our own."""
    return any(contact is other or (contact is not None and other is not None and contact.uri == other.uri)
               for other in contacts)
