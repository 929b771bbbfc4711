"""Who is in which call: ``application/dialog-info+xml`` (RFC 4235), for lamps of busy lines and call pickup."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from greensip.errors import ParseError, UsageError

from .partial import FULL, Merged, merge_version, read_state
from .xml import (
    XML_LIMITS,
    Element,
    XmlLimits,
    children,
    find,
    make,
    parse_xml,
    read_number,
    text_of,
    write_xml,
)

__all__ = ['DIALOG_INFO', 'DialogInfo', 'DialogParty', 'DialogState', 'Identity', 'ReplacedDialog', 'parse_dialog_info']

#: the content type
DIALOG_INFO = 'application/dialog-info+xml'

_NS = 'urn:ietf:params:xml:ns:dialog-info'
#: the states of RFC 4235 3.7.1
_STATES = ('trying', 'proceeding', 'early', 'confirmed', 'terminated')
_OWN_PARTS = frozenset(f'{{{_NS}}}{name}' for name in (
    'state', 'duration', 'replaces', 'referred-by', 'route-set', 'local', 'remote'))


class Identity(NamedTuple):
    """A URI and the name that goes with it."""

    uri: str
    display: str | None = None


class ReplacedDialog(NamedTuple):
    """The dialog that was replaced (RFC 4235 4.1.4), as the observed user has it."""

    call_id: str
    local_tag: str
    remote_tag: str


@dataclass(slots=True)
class DialogParty:
    """One side of a dialog (RFC 4235 4.1.6).  ``target`` is its Contact's URI, ``params`` its Contact's parameters,
    ``session_description`` a content type and a text."""

    identities: list[Identity] = field(default_factory=list)
    target: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    session_description: tuple[str, str] | None = None
    cseq: int | None = None

    @property
    def uri(self) -> str | None:
        """The first identity, or the target."""
        return self.identities[0].uri if self.identities else self.target

    def _inherit(self, before: DialogParty) -> None:
        """What is not repeated stays as it was (RFC 4235 4.1.6)."""
        if not self.identities:
            self.identities = before.identities
        if self.target is None:
            self.target, self.params = before.target, before.params
        if self.session_description is None:
            self.session_description = before.session_description


@dataclass(slots=True)
class DialogState:
    """A dialog, or half of one that is to become it (RFC 4235 4.1.1).

    ``state``: trying, proceeding, early, confirmed or terminated.  ``event``: what ended it: cancelled, rejected,
    replaced, local-bye, remote-bye, error or timeout; ``code``: the response that did.  ``direction``: ``initiator``
    or ``recipient``, as seen by the observed user.  ``duration`` in seconds.
    """

    id: str
    state: str
    event: str | None = None
    code: int | None = None
    call_id: str | None = None
    local_tag: str | None = None
    remote_tag: str | None = None
    direction: str | None = None
    duration: int | None = None
    replaces: ReplacedDialog | None = None
    referred_by: Identity | None = None
    route_set: list[str] = field(default_factory=list)
    local: DialogParty = field(default_factory=DialogParty)
    remote: DialogParty = field(default_factory=DialogParty)
    extra: list[Element] = field(default_factory=list, compare=False)


class DialogInfo:
    """The dialogs of ``entity``, by their ids.  ``state`` is ``full`` or ``partial``."""

    __slots__ = ('dialogs', 'entity', 'state', 'version')

    content_type = DIALOG_INFO

    def __init__(self, entity: str, dialogs: Iterable[DialogState] = (), *, version: int = 0,
                 state: str = FULL) -> None:
        self.entity = entity
        self.version = version
        self.state = state
        self.dialogs: dict[str, DialogState] = {dialog.id: dialog for dialog in dialogs}

    @property
    def busy(self) -> bool:
        """Whether there is a dialog that is not over: the lamp is on."""
        return any(dialog.state != 'terminated' for dialog in self.dialogs.values())

    @property
    def ringing(self) -> list[DialogState]:
        """The calls that somebody could pick up: they ring at the observed user."""
        return [dialog for dialog in self.dialogs.values()
                if dialog.direction == 'recipient' and dialog.state in ('trying', 'proceeding', 'early')]

    def apply(self, newer: DialogInfo) -> Merged:
        """Bring this up to date with the document that came after it (RFC 4235 4.3).

        Dialogs that have ended are left out of what is known before the next document is applied.
        """
        merged = merge_version(self.version, newer.version, newer.state)
        if merged is Merged.STALE:
            return merged
        self.version = newer.version
        self.entity = newer.entity or self.entity
        if newer.state == FULL:
            self.dialogs = dict(newer.dialogs)
            self.state = FULL
            return merged
        self.dialogs = {key: dialog for key, dialog in self.dialogs.items() if dialog.state != 'terminated'}
        for key, dialog in newer.dialogs.items():
            before = self.dialogs.get(key)
            if before is not None:
                dialog.local._inherit(before.local)
                dialog.remote._inherit(before.remote)
            self.dialogs[key] = dialog
        return merged

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what cannot be written."""
        root = make(_NS, 'dialog-info', version=self.version, state=self.state, entity=self.entity)
        for dialog in self.dialogs.values():
            root.append(_dialog_element(dialog))
        return write_xml(root)

    def __repr__(self) -> str:
        states = ' '.join(dialog.state for dialog in self.dialogs.values())
        return f'<DialogInfo {self.entity} {self.state} {self.version}: {states}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DialogInfo) and (self.entity, self.version, self.state, self.dialogs) == (
            other.entity, other.version, other.state, other.dialogs)

    def __hash__(self) -> int:
        return hash((self.entity, self.version))


def parse_dialog_info(body: bytes, limits: XmlLimits = XML_LIMITS) -> DialogInfo:
    """Read an ``application/dialog-info+xml`` body.

    A missing version is taken for 0, a missing state for full, a missing entity for nothing, as in the examples of the
    RFC.  ParseError if it is no such document, if a dialog has no id or no state, or if a number is none.
    """
    root = parse_xml(body, _NS, 'dialog-info', limits)
    info = DialogInfo(root.get('entity', ''), version=read_number(root.get('version'), 'version') or 0,
                      state=read_state(root.get('state')))
    for element in children(root, _NS, 'dialog'):
        dialog = _parse_dialog(element)
        info.dialogs[dialog.id] = dialog
    return info


def _parse_dialog(element: Element) -> DialogState:
    state = find(element, _NS, 'state')
    word = text_of(state).lower()
    key = element.get('id')
    if key is None or state is None or word not in _STATES:
        raise ParseError('a dialog without its id or its state', word)
    code = read_number(state.get('code'), 'status code')
    if code is not None and not 100 <= code <= 699:
        raise ParseError('not a status code', str(code))
    dialog = DialogState(key, word, state.get('event'), code, element.get('call-id'), element.get('local-tag'),
                         element.get('remote-tag'), element.get('direction'))
    duration = find(element, _NS, 'duration')
    if duration is not None:
        dialog.duration = read_number(text_of(duration), 'duration')
    replaces = find(element, _NS, 'replaces')
    if replaces is not None:
        dialog.replaces = ReplacedDialog(replaces.get('call-id', ''), replaces.get('local-tag', ''),
                                         replaces.get('remote-tag', ''))
    referred_by = find(element, _NS, 'referred-by')
    if referred_by is not None:
        dialog.referred_by = _identity(referred_by)
    route_set = find(element, _NS, 'route-set')
    if route_set is not None:
        dialog.route_set = [text_of(hop) for hop in children(route_set, _NS, 'hop')]
    dialog.local = _parse_party(find(element, _NS, 'local'))
    dialog.remote = _parse_party(find(element, _NS, 'remote'))
    dialog.extra = [child for child in element if child.tag not in _OWN_PARTS]
    return dialog


def _parse_party(element: Element | None) -> DialogParty:
    party = DialogParty()
    if element is None:
        return party
    party.identities = [_identity(identity) for identity in children(element, _NS, 'identity')]
    target = find(element, _NS, 'target')
    if target is not None:
        # Some phones write the URI between the tags.
        party.target = target.get('uri') or text_of(target) or None
        if party.target is not None:
            party.params = {param.get('pname', ''): param.get('pval', '') for param in children(target, _NS, 'param')}
    description = find(element, _NS, 'session-description')
    if description is not None:
        party.session_description = description.get('type', 'application/sdp'), (description.text or '')
    cseq = find(element, _NS, 'cseq')
    if cseq is not None:
        party.cseq = read_number(text_of(cseq), 'CSeq')
    return party


def _identity(element: Element) -> Identity:
    # The text of RFC 4235 calls it display, its schema display-name.
    return Identity(text_of(element), element.get('display-name', element.get('display')))


def _dialog_element(dialog: DialogState) -> Element:
    if dialog.state not in _STATES:
        raise UsageError(f'not a state of a dialog: {dialog.state!r}')
    element = make(_NS, 'dialog', id=dialog.id)
    for name, value in (('call-id', dialog.call_id), ('local-tag', dialog.local_tag),
                        ('remote-tag', dialog.remote_tag), ('direction', dialog.direction)):
        if value is not None:
            element.set(name, value)
    element.append(make(_NS, 'state', dialog.state, event=dialog.event, code=dialog.code))
    if dialog.duration is not None:
        element.append(make(_NS, 'duration', str(dialog.duration)))
    if dialog.replaces is not None:
        replaces = make(_NS, 'replaces')
        for name, value in zip(('call-id', 'local-tag', 'remote-tag'), dialog.replaces):
            replaces.set(name, value)
        element.append(replaces)
    if dialog.referred_by is not None:
        element.append(_identity_element('referred-by', dialog.referred_by))
    if dialog.route_set:
        route_set = make(_NS, 'route-set')
        route_set.extend([make(_NS, 'hop', hop) for hop in dialog.route_set])
        element.append(route_set)
    for name, party in (('local', dialog.local), ('remote', dialog.remote)):
        if party != DialogParty():
            element.append(_party_element(name, party))
    element.extend(dialog.extra)
    return element


def _party_element(name: str, party: DialogParty) -> Element:
    element = make(_NS, name)
    element.extend([_identity_element('identity', identity) for identity in party.identities])
    if party.target is not None:
        target = make(_NS, 'target', uri=party.target)
        target.extend([make(_NS, 'param', pname=key, pval=value) for key, value in party.params.items()])
        element.append(target)
    if party.session_description is not None:
        kind, text = party.session_description
        element.append(make(_NS, 'session-description', text, type=kind))
    if party.cseq is not None:
        element.append(make(_NS, 'cseq', str(party.cseq)))
    return element


def _identity_element(name: str, identity: Identity) -> Element:
    element = make(_NS, name, identity.uri)
    if identity.display is not None:
        element.set('display-name', identity.display)
    return element
