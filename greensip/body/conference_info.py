"""Who is in a conference: ``application/conference-info+xml`` (RFC 4575), the body of the package conference.

Users, their endpoints and the media of these are told apart by keys; each may say that it is told in full, in part
(what changed), or that it is gone.  What we have no name for is kept as elements, and replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from greensip.errors import ParseError, UsageError

from .partial import FULL, PARTIAL, Merged, merge_version, read_state
from .xml import (
    XML_LIMITS,
    Element,
    XmlLimits,
    children,
    find,
    local_name,
    make,
    parse_xml,
    read_flag,
    read_number,
    text_of,
    write_xml,
)

__all__ = [
    'CONFERENCE_INFO', 'ConferenceEndpoint', 'ConferenceInfo', 'ConferenceMedia', 'ConferenceUser',
    'parse_conference_info',
]

#: the content type
CONFERENCE_INFO = 'application/conference-info+xml'

_NS = 'urn:ietf:params:xml:ns:conference-info'
_DELETED = 'deleted'
_STATES = (FULL, PARTIAL, _DELETED)


@dataclass(slots=True)
class ConferenceMedia:
    """A stream of an endpoint (RFC 4575 5.8).  ``status`` is its direction as seen by the endpoint: sendrecv,
    sendonly, recvonly or inactive."""

    id: str
    type: str | None = None
    display_text: str | None = None
    label: str | None = None
    src_id: str | None = None
    status: str | None = None


@dataclass(slots=True)
class ConferenceEndpoint:
    """A device of a user in the conference (RFC 4575 5.7).

    ``status``: pending, dialing-out, dialing-in, alerting, on-hold, connected, muted-via-focus, disconnecting or
    disconnected.  ``state``: whether all of it is told, what changed, or that it is gone (full, partial, deleted).
    """

    entity: str
    status: str | None = None
    display_text: str | None = None
    joining_method: str | None = None
    disconnection_method: str | None = None
    media: dict[str, ConferenceMedia] = field(default_factory=dict)
    state: str = FULL
    extra: list[Element] = field(default_factory=list, compare=False)

    def _apply(self, newer: ConferenceEndpoint) -> None:
        self.status = newer.status or self.status
        self.display_text = newer.display_text or self.display_text
        self.joining_method = newer.joining_method or self.joining_method
        self.disconnection_method = newer.disconnection_method or self.disconnection_method
        self.media.update(newer.media)
        self.extra = newer.extra or self.extra


@dataclass(slots=True)
class ConferenceUser:
    """A participant (RFC 4575 5.6): ``entity`` is the URI, ``endpoints`` by their entities, ``state`` as there."""

    entity: str
    display_text: str | None = None
    roles: list[str] = field(default_factory=list)
    endpoints: dict[str, ConferenceEndpoint] = field(default_factory=dict)
    state: str = FULL
    extra: list[Element] = field(default_factory=list, compare=False)

    @property
    def connected(self) -> bool:
        """Whether one of the endpoints takes part."""
        return any(endpoint.status in ('connected', 'on-hold', 'muted-via-focus')
                   for endpoint in self.endpoints.values())

    def _apply(self, newer: ConferenceUser) -> None:
        self.display_text = newer.display_text or self.display_text
        self.roles = newer.roles or self.roles
        self.extra = newer.extra or self.extra
        for key, endpoint in newer.endpoints.items():
            known = self.endpoints.get(key)
            if endpoint.state == _DELETED:
                self.endpoints.pop(key, None)
            elif endpoint.state == PARTIAL and known is not None:
                known._apply(endpoint)
            else:
                endpoint.state = FULL
                self.endpoints[key] = endpoint


class ConferenceInfo:
    """A conference: ``entity`` is its URI, ``users`` by their entities, ``state`` of the document full, partial or
    deleted.  ``subject``, ``display_text``, ``user_count``, ``maximum_user_count``, ``active`` and ``locked`` are None
    where nothing is said."""

    __slots__ = ('active', 'display_text', 'entity', 'extra', 'locked', 'maximum_user_count', 'state', 'subject',
                 'user_count', 'users', 'users_state', 'version')

    content_type = CONFERENCE_INFO

    def __init__(self, entity: str, users: Iterable[ConferenceUser] = (), *, version: int = 0, state: str = FULL,
                 subject: str | None = None, display_text: str | None = None, user_count: int | None = None,
                 maximum_user_count: int | None = None, active: bool | None = None,
                 locked: bool | None = None) -> None:
        self.entity = entity
        self.version = version
        self.state = state
        self.subject = subject
        self.display_text = display_text
        self.user_count = user_count
        self.maximum_user_count = maximum_user_count
        self.active = active
        self.locked = locked
        self.users: dict[str, ConferenceUser] = {user.entity: user for user in users}
        #: whether ``users`` are all of them
        self.users_state = PARTIAL if state == PARTIAL else FULL
        self.extra: list[Element] = []

    def apply(self, newer: ConferenceInfo) -> Merged:
        """Bring this up to date with the document that came after it (RFC 4575 4.6).

        After a document that says that the conference is gone nobody is left in it, and ``state`` is ``deleted``.
        """
        merged = merge_version(self.version, newer.version, newer.state, again=False)
        if merged is Merged.STALE:
            return merged
        self.version = newer.version
        if newer.state == _DELETED:
            self.state, self.active, self.users = _DELETED, False, {}
            return Merged.COHERENT
        partial = newer.state == PARTIAL
        self.entity = newer.entity or self.entity
        for name in ('subject', 'display_text', 'user_count', 'maximum_user_count', 'active', 'locked'):
            value = getattr(newer, name)
            if value is not None or not partial:
                setattr(self, name, value)
        if not partial:
            self.extra = newer.extra
        else:
            kept = {local_name(element) for element in newer.extra}
            self.extra = [element for element in self.extra if local_name(element) not in kept] + newer.extra
        if not partial or (newer.users_state == FULL and newer.users):
            self.users = {}
        for key, user in newer.users.items():
            known = self.users.get(key)
            if user.state == _DELETED:
                self.users.pop(key, None)
            elif user.state == PARTIAL and known is not None:
                known._apply(user)
            else:
                user.state = FULL
                self.users[key] = user
        self.state = FULL
        return merged

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what cannot be written."""
        root = make(_NS, 'conference-info', entity=self.entity, state=self.state, version=self.version)
        # The order is that of the schema; what we do not know stands behind.
        description = make(_NS, 'conference-description')
        _add_texts(description, (('display-text', self.display_text), ('subject', self.subject),
                                 ('maximum-user-count', self.maximum_user_count)))
        state = make(_NS, 'conference-state')
        _add_texts(state, (('user-count', self.user_count), ('active', self.active), ('locked', self.locked)))
        root.extend([element for element in (description, state) if len(element)])
        if self.users:
            users = make(_NS, 'users', state=None if self.users_state == FULL else self.users_state)
            users.extend([_user_element(user) for user in self.users.values()])
            root.append(users)
        root.extend(self.extra)
        return write_xml(root)

    def __repr__(self) -> str:
        return f'<ConferenceInfo {self.entity} {self.state} {self.version}: {" ".join(self.users)}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConferenceInfo) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash((self.entity, self.version))


def parse_conference_info(body: bytes, limits: XmlLimits = XML_LIMITS) -> ConferenceInfo:
    """Read an ``application/conference-info+xml`` body.

    ParseError if it is no such document, if a user or an endpoint has no entity or a stream no id, or if a number, a
    boolean or a state is none.
    """
    root = parse_xml(body, _NS, 'conference-info', limits)
    info = ConferenceInfo(root.get('entity', ''), version=read_number(root.get('version'), 'version') or 0,
                          state=read_state(root.get('state'), _STATES))
    info.users_state = FULL
    for element in root:
        if element.tag == f'{{{_NS}}}conference-description':
            info.display_text = _text(element, 'display-text')
            info.subject = _text(element, 'subject')
            info.maximum_user_count = read_number(_text(element, 'maximum-user-count'), 'number of users')
        elif element.tag == f'{{{_NS}}}conference-state':
            info.user_count = read_number(_text(element, 'user-count'), 'number of users')
            info.active = read_flag(_text(element, 'active'))
            info.locked = read_flag(_text(element, 'locked'))
        elif element.tag == f'{{{_NS}}}users':
            info.users_state = read_state(element.get('state'), _STATES)
            for child in children(element, _NS, 'user'):
                user = _parse_user(child)
                info.users[user.entity] = user
        else:
            info.extra.append(element)
    return info


def _parse_user(element: Element) -> ConferenceUser:
    user = ConferenceUser(_key(element, 'entity'), state=read_state(element.get('state'), _STATES))
    for child in element:
        name = local_name(child)
        if child.tag == f'{{{_NS}}}endpoint':
            endpoint = _parse_endpoint(child)
            user.endpoints[endpoint.entity] = endpoint
        elif name == 'display-text':
            user.display_text = text_of(child)
        elif name == 'roles':
            user.roles = [text_of(entry) for entry in child]
        else:
            user.extra.append(child)
    return user


def _parse_endpoint(element: Element) -> ConferenceEndpoint:
    endpoint = ConferenceEndpoint(_key(element, 'entity'), state=read_state(element.get('state'), _STATES))
    for child in element:
        name = local_name(child)
        if name == 'media':
            media = ConferenceMedia(_key(child, 'id'), _text(child, 'type'), _text(child, 'display-text'),
                                    _text(child, 'label'), _text(child, 'src-id'), _text(child, 'status'))
            endpoint.media[media.id] = media
        elif name == 'display-text':
            endpoint.display_text = text_of(child)
        elif name == 'status':
            endpoint.status = text_of(child)
        elif name == 'joining-method':
            endpoint.joining_method = text_of(child)
        elif name == 'disconnection-method':
            endpoint.disconnection_method = text_of(child)
        else:
            endpoint.extra.append(child)
    return endpoint


def _key(element: Element, name: str) -> str:
    key = element.get(name)
    if key is None:
        raise ParseError(f'no {name} in {local_name(element)}')
    return key


def _text(element: Element, name: str) -> str | None:
    child = find(element, _NS, name)
    return None if child is None else text_of(child)


def _add_texts(element: Element, texts: Iterable[tuple[str, str | int | None]]) -> None:
    for name, text in texts:
        if text is not None:
            element.append(make(_NS, name, str(text).lower() if isinstance(text, bool) else str(text)))


def _user_element(user: ConferenceUser) -> Element:
    element = make(_NS, 'user', entity=user.entity, state=_state(user.state))
    _add_texts(element, [('display-text', user.display_text)])
    if user.roles:
        roles = make(_NS, 'roles')
        roles.extend([make(_NS, 'entry', role) for role in user.roles])
        element.append(roles)
    for endpoint in user.endpoints.values():
        child = make(_NS, 'endpoint', entity=endpoint.entity, state=_state(endpoint.state))
        _add_texts(child, (('display-text', endpoint.display_text), ('status', endpoint.status),
                           ('joining-method', endpoint.joining_method),
                           ('disconnection-method', endpoint.disconnection_method)))
        for media in endpoint.media.values():
            stream = make(_NS, 'media', id=media.id)
            _add_texts(stream, (('display-text', media.display_text), ('type', media.type), ('label', media.label),
                                ('src-id', media.src_id), ('status', media.status)))
            child.append(stream)
        child.extend(endpoint.extra)
        element.append(child)
    element.extend(user.extra)
    return element


def _state(state: str) -> str | None:
    if state not in _STATES:
        raise UsageError(f'neither full nor partial nor deleted: {state!r}')
    return None if state == FULL else state
