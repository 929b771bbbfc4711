"""Presence documents: ``application/pidf+xml`` (RFC 3863), the data model (RFC 4479), and rich presence (RFC 4480).

    Presence('sip:alice@example.com', 'busy', note='back at four')      # written by to_bytes()
    parse_pidf(body).status                                             # 'busy', its .note and .activities

A document says in tuples whether its presentity can be reached and how, and in persons what she is doing.  ``Status``
is both in one word.  What we do not know is kept as elements (``extra``) and written again.

Reading is tolerant: elements of rich presence are known by their names, whatever namespace an old draft had put them
into, and wherever they stand.  A value of ``basic`` that does not exist, and a time or a priority that is none, is
taken for not given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Self

from greensip.errors import ParseError, UsageError

from .xml import (
    LANG,
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

__all__ = [
    'ACTIVITIES', 'AWAY', 'BUSY', 'OFFLINE', 'ONLINE', 'PIDF', 'UNKNOWN', 'Note', 'Person', 'Presence', 'Status',
    'Tuple', 'parse_pidf',
]

#: the content type
PIDF = 'application/pidf+xml'

_PIDF = 'urn:ietf:params:xml:ns:pidf'
_DATA_MODEL = 'urn:ietf:params:xml:ns:pidf:data-model'
_RPID = 'urn:ietf:params:xml:ns:pidf:rpid'

ONLINE, AWAY, BUSY, OFFLINE, UNKNOWN = 'online', 'away', 'busy', 'offline', 'unknown'

#: the activities of RFC 4480 3.2, and which of them keep somebody busy or away
ACTIVITIES = {
    'appointment': BUSY, 'away': AWAY, 'breakfast': AWAY, 'busy': BUSY, 'dinner': AWAY, 'holiday': AWAY,
    'in-transit': AWAY, 'looking-for-work': ONLINE, 'lunch': AWAY, 'meal': AWAY, 'meeting': BUSY, 'on-the-phone': BUSY,
    'other': ONLINE, 'performance': BUSY, 'permanent-absence': AWAY, 'playing': ONLINE, 'presentation': BUSY,
    'shopping': AWAY, 'sleeping': AWAY, 'spectator': BUSY, 'steering': BUSY, 'travel': AWAY, 'tv': ONLINE,
    'unknown': ONLINE, 'vacation': AWAY, 'working': ONLINE, 'worship': BUSY,
}
#: a document may hold so many of them; further ones are not looked at
_MAX_ACTIVITIES = 32


class Status(str):
    """Somebody's presence in a word: ``online``, ``busy``, ``away``, ``offline`` or ``unknown``.

    It is a text, so that ``status == 'busy'`` says what it says; ``note`` and ``activities`` (RFC 4480 3.2) tell more.
    """

    __slots__ = ('activities', 'note')

    note: str
    activities: tuple[str, ...]

    def __new__(cls, name: str, note: str = '', activities: Iterable[str] = ()) -> Self:
        status = super().__new__(cls, name)
        status.note = note
        status.activities = tuple(activities)
        return status

    def __repr__(self) -> str:
        return f'<Status {self}{f": {self.note}" if self.note else ""}>'

    @property
    def details(self) -> tuple[str, str, tuple[str, ...]]:
        """All of it, to be compared: name, note, activities."""
        return str(self), self.note, self.activities


class Note(NamedTuple):
    """A comment for people (RFC 3863 4.1.6)."""

    text: str
    lang: str | None = None


class Tuple:
    """A way to reach the presentity (RFC 3863 4.1.2).

    ``basic`` is ``open``, ``closed`` or None; ``contact`` a URI, ``priority`` from 0 to 1.  ``status_extra`` are the
    elements of its ``status`` besides ``basic``, ``extra`` those of the tuple itself that we do not know.
    """

    __slots__ = ('activities', 'basic', 'contact', 'extra', 'id', 'notes', 'priority', 'status_extra', 'timestamp')

    def __init__(self, basic: str | None = None, *, id: str = '', contact: str | None = None,
                 priority: float | None = None, notes: Iterable[Note | str] = (), timestamp: datetime | None = None,
                 activities: Iterable[str] = (), status_extra: Iterable[Element] = (),
                 extra: Iterable[Element] = ()) -> None:
        if basic not in (None, 'open', 'closed'):
            raise UsageError(f'neither open nor closed: {basic!r}')
        if priority is not None and not 0 <= priority <= 1:
            raise UsageError(f'a priority lies between 0 and 1: {priority}')
        self.id = id
        self.basic = basic
        self.contact = contact
        self.priority = priority
        self.notes = _notes(notes)
        self.timestamp = timestamp
        self.activities = tuple(activities)
        self.status_extra = list(status_extra)
        self.extra = list(extra)

    def __repr__(self) -> str:
        return f'<Tuple {self.basic} {self.contact or ""}>'


class Person:
    """What the presentity does (RFC 4479 3.4, RFC 4480).

    ``activities`` as RFC 4480 3.2 names them; any other text is written as ``other``.  ``mood``, ``place_type``: names
    from RFC 4480 3.3 and RFC 4589.  ``user_input``: ``active`` or ``idle``.
    """

    __slots__ = ('activities', 'extra', 'id', 'mood', 'notes', 'place_type', 'timestamp', 'user_input')

    def __init__(self, activities: Iterable[str] = (), *, id: str = '', notes: Iterable[Note | str] = (),
                 timestamp: datetime | None = None, mood: Iterable[str] = (), place_type: Iterable[str] = (),
                 user_input: str | None = None, extra: Iterable[Element] = ()) -> None:
        self.id = id
        self.activities = tuple(activities)
        self.notes = _notes(notes)
        self.timestamp = timestamp
        self.mood = tuple(mood)
        self.place_type = tuple(place_type)
        self.user_input = user_input
        self.extra = list(extra)

    def __repr__(self) -> str:
        return f'<Person {" ".join(self.activities)}>'


class Presence:
    """A presence document.

    ``entity`` is the URI of the presentity.  ``status``, a word of Status or an activity of RFC 4480, makes the tuple
    and the person that say it, with ``note``; otherwise give ``tuples`` and ``persons``.
    """

    __slots__ = ('entity', 'extra', 'notes', 'persons', 'tuples')

    content_type = PIDF

    def __init__(self, entity: str, status: str | None = None, *, note: str = '', contact: str | None = None,
                 tuples: Iterable[Tuple] = (), persons: Iterable[Person] = (), notes: Iterable[Note | str] = (),
                 extra: Iterable[Element] = ()) -> None:
        self.entity = entity
        self.tuples = list(tuples)
        self.persons = list(persons)
        self.notes = _notes(notes)
        self.extra = list(extra)
        if status is not None:
            activities: tuple[str, ...] = ()
            if isinstance(status, Status):
                activities, note = status.activities, note or status.note
            word = str(status)
            if word not in (ONLINE, OFFLINE, UNKNOWN):
                if word not in ACTIVITIES:
                    raise UsageError(f'not a status: {word!r}')
                if all(ACTIVITIES.get(name) != word for name in activities):
                    activities = (word, *activities)
            basic = None if word == UNKNOWN else 'closed' if word == OFFLINE else 'open'
            # Phones look for the note in the tuple, RFC 4479 has it in the person.
            self.tuples.append(Tuple(basic, contact=contact, notes=[note] if note else ()))
            if activities:
                self.persons.append(Person(activities, notes=[note] if note else ()))

    @property
    def is_open(self) -> bool | None:
        """Whether some way leads to the presentity; None when nothing is said."""
        basics = [entry.basic for entry in self.tuples if entry.basic is not None]
        return 'open' in basics if basics else None

    @property
    def activities(self) -> tuple[str, ...]:
        """What she does, whichever part says so; each once, ``unknown`` left out."""
        lists = [person.activities for person in self.persons] + [entry.activities for entry in self.tuples]
        return tuple(dict.fromkeys(name for names in lists for name in names if name != UNKNOWN))

    @property
    def note(self) -> str:
        """The first note, of the persons, the document or the tuples that are open, then of others; or nothing."""
        ranked = sorted(self.tuples, key=lambda entry: entry.basic != 'open')
        for notes in (*(person.notes for person in self.persons), self.notes, *(entry.notes for entry in ranked)):
            for note in notes:
                if note.text:
                    return note.text
        return ''

    @property
    def status(self) -> Status:
        """All of it in a word.

        ``offline`` when all tuples are closed, ``unknown`` when neither a tuple nor a person says anything; otherwise
        the first activity that keeps busy or away, or ``online``.
        """
        activities = self.activities
        if self.is_open is False:
            return Status(OFFLINE, self.note, activities)
        if self.is_open is None and not activities:
            return Status(UNKNOWN, self.note)
        words = (ACTIVITIES.get(name, ONLINE) for name in activities)
        return Status(next((word for word in words if word != ONLINE), ONLINE), self.note, activities)

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what XML cannot hold."""
        root = make(_PIDF, 'presence', entity=self.entity)
        for number, entry in enumerate(self.tuples, 1):
            element = make(_PIDF, 'tuple', id=entry.id or f't{number}')
            root.append(element)
            status = make(_PIDF, 'status')
            if entry.basic is not None:
                status.append(make(_PIDF, 'basic', entry.basic))
            status.extend(entry.status_extra)
            element.append(status)
            if entry.activities:
                element.append(_choices('activities', entry.activities, ACTIVITIES))
            element.extend(entry.extra)
            if entry.contact is not None:
                priority = None if entry.priority is None else f'{entry.priority:.3f}'.rstrip('0').rstrip('.')
                element.append(make(_PIDF, 'contact', entry.contact, priority=priority))
            element.extend(_note_elements(_PIDF, entry.notes))
            if entry.timestamp is not None:
                element.append(make(_PIDF, 'timestamp', format_time(entry.timestamp)))
        root.extend(_note_elements(_PIDF, self.notes))
        for number, person in enumerate(self.persons, 1):
            element = make(_DATA_MODEL, 'person', id=person.id or f'p{number}')
            root.append(element)
            if person.activities:
                element.append(_choices('activities', person.activities, ACTIVITIES))
            if person.mood:
                element.append(_choices('mood', person.mood))
            if person.place_type:
                element.append(_choices('place-type', person.place_type))
            if person.user_input is not None:
                element.append(make(_RPID, 'user-input', person.user_input))
            element.extend(person.extra)
            element.extend(_note_elements(_DATA_MODEL, person.notes))
            if person.timestamp is not None:
                element.append(make(_DATA_MODEL, 'timestamp', format_time(person.timestamp)))
        root.extend(self.extra)
        return write_xml(root)

    def __repr__(self) -> str:
        return f'<Presence {self.entity} {self.status}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Presence) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.entity)


def parse_pidf(body: bytes, limits: XmlLimits = XML_LIMITS) -> Presence:
    """Read an ``application/pidf+xml`` body.  ParseError if it is no XML, no presence document, or over a limit."""
    root = parse_xml(body, _PIDF, 'presence', limits)
    entity = root.get('entity')
    if entity is None:
        raise ParseError('a presence document that does not say whose it is')
    presence = Presence(entity)
    for element in root:
        name = local_name(element)
        if element.tag == f'{{{_PIDF}}}tuple':
            presence.tuples.append(_parse_tuple(element))
        elif element.tag == f'{{{_PIDF}}}note':
            presence.notes.append(_note(element))
        elif name == 'person':
            presence.persons.append(_parse_person(element))
        else:
            presence.extra.append(element)
    return presence


def _parse_tuple(element: Element) -> Tuple:
    entry = Tuple(id=element.get('id', ''))
    for child in element:
        name = local_name(child)
        if child.tag == f'{{{_PIDF}}}status':
            basic = text_of(find(child, _PIDF, 'basic')).lower()
            entry.basic = basic if basic in ('open', 'closed') else None
            for inner in child:
                if local_name(inner) == 'activities':
                    entry.activities += _names(inner)       # RPID before it became an RFC
                elif inner.tag != f'{{{_PIDF}}}basic':
                    entry.status_extra.append(inner)
        elif child.tag == f'{{{_PIDF}}}contact':
            entry.contact = text_of(child) or None
            entry.priority = _priority(child.get('priority'))
        elif child.tag == f'{{{_PIDF}}}note':
            entry.notes.append(_note(child))
        elif child.tag == f'{{{_PIDF}}}timestamp':
            entry.timestamp = parse_time(child.text)
        elif name == 'activities':
            entry.activities += _names(child)
        else:
            entry.extra.append(child)
    return entry


def _parse_person(element: Element) -> Person:
    person = Person(id=element.get('id', ''))
    for child in element:
        name = local_name(child)
        if name == 'activities':
            person.activities += _names(child)
            # RFC 4480 3.2: it may have notes of its own.
            person.notes += [_note(note) for note in child if local_name(note) == 'note']
        elif name == 'status':
            # RPID before it became an RFC, as Asterisk and eyeBeam have it.
            for inner in child:
                if local_name(inner) == 'activities':
                    person.activities += _names(inner)
        elif name == 'mood':
            person.mood += _names(child)
        elif name == 'place-type':
            person.place_type += _names(child)
        elif name == 'user-input':
            person.user_input = text_of(child) or None
        elif name == 'note':
            person.notes.append(_note(child))
        elif name == 'timestamp':
            person.timestamp = parse_time(child.text)
        else:
            person.extra.append(child)
    return person


def _names(element: Element) -> tuple[str, ...]:
    """The choices below ``activities``, ``mood`` and the like; ``other`` by its text."""
    return tuple(_names_in(element))[:_MAX_ACTIVITIES]


def _names_in(element: Element) -> Iterator[str]:
    for child in element:
        name = local_name(child)
        if name == 'other':
            yield text_of(child) or name
        elif name == 'activity':
            yield text_of(child) or 'unknown'               # RPID before it became an RFC
        elif name != 'note':
            yield name


_CHOICE = re.compile('[a-z][a-z-]*')
_NO_CHOICES = ('activity', 'note')


def _choices(name: str, chosen: Iterable[str], known: Iterable[str] | None = None) -> Element:
    element = make(_RPID, name)
    for choice in chosen:
        if choice in known if known is not None else _CHOICE.fullmatch(choice) and choice not in _NO_CHOICES:
            element.append(make(_RPID, choice))
        else:
            element.append(make(_RPID, 'other', choice))
    return element


def _notes(notes: Iterable[Note | str]) -> list[Note]:
    return [Note(note) if isinstance(note, str) else note for note in notes]


def _note(element: Element) -> Note:
    return Note(text_of(element), element.get(LANG))


def _note_elements(namespace: str, notes: Sequence[Note]) -> list[Element]:
    elements = []
    for note in notes:
        element = make(namespace, 'note', note.text)
        if note.lang is not None:
            element.set(LANG, note.lang)
        elements.append(element)
    return elements


def _priority(text: str | None) -> float | None:
    """A qvalue (RFC 3863 4.1.5)."""
    try:
        value = float(text) if text is not None and len(text) <= 8 else -1.0
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
