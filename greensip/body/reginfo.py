"""Who is registered where: ``application/reginfo+xml`` (RFC 3680), the body of the package reg."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from greensip.errors import ParseError, UsageError

from .partial import FULL, Merged, merge_version, read_state
from .xml import XML_LIMITS, Element, XmlLimits, children, find, make, parse_xml, read_number, text_of, write_xml

__all__ = ['REGINFO', 'RegContact', 'RegInfo', 'Registration', 'parse_reginfo']

#: the content type
REGINFO = 'application/reginfo+xml'

_NS = 'urn:ietf:params:xml:ns:reginfo'
_STATES = ('init', 'active', 'terminated')
_OWN_PARTS = frozenset(f'{{{_NS}}}{name}' for name in ('uri', 'display-name', 'unknown-param'))


@dataclass(slots=True)
class RegContact:
    """One binding of an address of record.

    ``state`` is ``active`` or ``terminated``; ``event`` what brought it there: registered, created, refreshed,
    shortened, expired, deactivated, probation, unregistered or rejected.  ``expires``, ``retry_after`` and
    ``duration_registered`` in seconds.  ``params``: the parameters of the Contact that RFC 3261 does not have.
    """

    uri: str
    id: str = ''
    state: str = 'active'
    event: str = 'registered'
    expires: int | None = None
    retry_after: int | None = None
    duration_registered: int | None = None
    q: str | None = None
    call_id: str | None = None
    cseq: int | None = None
    display_name: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    extra: list[Element] = field(default_factory=list, compare=False)


class Registration:
    """An address of record and its contacts, by their ids.  ``state`` is ``init``, ``active`` or ``terminated``."""

    __slots__ = ('aor', 'contacts', 'id', 'state')

    def __init__(self, aor: str, contacts: Iterable[RegContact] = (), *, id: str = '', state: str = 'active') -> None:
        self.aor = aor
        self.id = id
        self.state = state
        self.contacts: dict[str, RegContact] = {}
        for number, contact in enumerate(contacts, 1):
            contact.id = contact.id or f'{id}-{number}'
            self.contacts[contact.id] = contact

    @property
    def uris(self) -> list[str]:
        """Where it is registered now."""
        return [contact.uri for contact in self.contacts.values() if contact.state == 'active']

    def __repr__(self) -> str:
        return f'<Registration {self.aor} {self.state} {" ".join(self.uris)}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registration) and (self.aor, self.id, self.state, self.contacts) == (
            other.aor, other.id, other.state, other.contacts)

    def __hash__(self) -> int:
        return hash((self.aor, self.id))


class RegInfo:
    """Registrations by their ids.  ``state`` is ``full`` or ``partial``."""

    __slots__ = ('registrations', 'state', 'version')

    content_type = REGINFO

    def __init__(self, registrations: Iterable[Registration] = (), *, version: int = 0, state: str = FULL) -> None:
        self.version = version
        self.state = state
        self.registrations: dict[str, Registration] = {}
        for number, registration in enumerate(registrations, 1):
            registration.id = registration.id or f'r{number}'
            self.registrations[registration.id] = registration

    @property
    def uris(self) -> list[str]:
        """All contacts that are registered now."""
        return [uri for registration in self.registrations.values() for uri in registration.uris]

    def apply(self, newer: RegInfo) -> Merged:
        """Bring this up to date with the document that came after it (RFC 3680 5.2).

        What has ended is left out of what is known before the next document is applied.
        """
        merged = merge_version(self.version, newer.version, newer.state)
        if merged is Merged.STALE:
            return merged
        self.version = newer.version
        if newer.state == FULL:
            self.registrations = dict(newer.registrations)
            self.state = FULL
            return merged
        for known in self.registrations.values():
            known.contacts = {key: contact for key, contact in known.contacts.items() if contact.state == 'active'}
        for key, registration in newer.registrations.items():
            table = self.registrations.get(key)
            if table is None:
                self.registrations[key] = registration
            else:
                table.aor, table.state = registration.aor, registration.state
                table.contacts.update(registration.contacts)
        return merged

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what cannot be written."""
        root = make(_NS, 'reginfo', version=self.version, state=self.state)
        for registration in self.registrations.values():
            if registration.state not in _STATES:
                raise UsageError(f'not a state of a registration: {registration.state!r}')
            element = make(_NS, 'registration', aor=registration.aor, id=registration.id, state=registration.state)
            element.extend([_contact_element(contact) for contact in registration.contacts.values()])
            root.append(element)
        return write_xml(root)

    def __repr__(self) -> str:
        return f'<RegInfo {self.state} {self.version}: {" ".join(map(repr, self.registrations.values()))}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RegInfo) and (self.version, self.state, self.registrations) == (
            other.version, other.state, other.registrations)

    def __hash__(self) -> int:
        return hash((self.version, self.state))


def parse_reginfo(body: bytes, limits: XmlLimits = XML_LIMITS) -> RegInfo:
    """Read an ``application/reginfo+xml`` body.

    ParseError if it is no such document, if a registration or a contact lacks its id, state or URI, or if a number is
    none.  An event that we do not know is kept.
    """
    root = parse_xml(body, _NS, 'reginfo', limits)
    info = RegInfo(version=read_number(root.get('version'), 'version') or 0, state=read_state(root.get('state')))
    for element in children(root, _NS, 'registration'):
        aor, key = element.get('aor'), element.get('id')
        if aor is None or key is None:
            raise ParseError('a registration without its id or its address of record')
        registration = Registration(aor, id=key, state=read_state(element.get('state') or '?', _STATES))
        for child in children(element, _NS, 'contact'):
            contact = _parse_contact(child)
            registration.contacts[contact.id] = contact
        info.registrations[key] = registration
    return info


def _parse_contact(element: Element) -> RegContact:
    key, uri = element.get('id'), text_of(find(element, _NS, 'uri'))
    if key is None or not uri:
        raise ParseError('a contact without its id or its URI')
    contact = RegContact(uri, key, read_state(element.get('state') or '?', _STATES[1:]), element.get('event', ''))
    contact.expires = read_number(element.get('expires'), 'time of expiry')
    contact.retry_after = read_number(element.get('retry-after'), 'number of seconds')
    contact.duration_registered = read_number(element.get('duration-registered'), 'number of seconds')
    contact.q = element.get('q')
    contact.call_id = element.get('callid')
    contact.cseq = read_number(element.get('cseq'), 'CSeq')
    name = find(element, _NS, 'display-name')
    if name is not None:
        contact.display_name = text_of(name)
    contact.params = {param.get('name', ''): text_of(param) for param in children(element, _NS, 'unknown-param')}
    contact.extra = [child for child in element if child.tag not in _OWN_PARTS]
    return contact


def _contact_element(contact: RegContact) -> Element:
    if contact.state not in _STATES[1:]:
        raise UsageError(f'not a state of a contact: {contact.state!r}')
    # RFC 3680 5.1: these two events need their time.
    if (contact.event == 'shortened' and contact.expires is None) or (
            contact.event == 'probation' and contact.retry_after is None):
        raise UsageError(f'a contact that is {contact.event} says for how long')
    element = make(_NS, 'contact', id=contact.id, state=contact.state, event=contact.event)
    for name, value in (('duration-registered', contact.duration_registered), ('expires', contact.expires),
                        ('retry-after', contact.retry_after), ('q', contact.q), ('callid', contact.call_id),
                        ('cseq', contact.cseq)):
        if value is not None:
            element.set(name, str(value))
    element.append(make(_NS, 'uri', contact.uri))
    if contact.display_name is not None:
        element.append(make(_NS, 'display-name', contact.display_name))
    element.extend([make(_NS, 'unknown-param', value or None, name=key) for key, value in contact.params.items()])
    element.extend(contact.extra)
    return element
