"""Whether somebody is writing: ``application/im-iscomposing+xml`` (RFC 3994)."""

from __future__ import annotations

from datetime import datetime

from greensip.errors import ParseError

from .xml import XML_LIMITS, XmlLimits, find, format_time, make, parse_time, parse_xml, text_of, write_xml

__all__ = ['ISCOMPOSING', 'IsComposing', 'parse_iscomposing']

#: the content type
ISCOMPOSING = 'application/im-iscomposing+xml'

_NS = 'urn:ietf:params:xml:ns:im-iscomposing'
#: RFC 3994 3.3: seconds after which an active state is over that is not refreshed, when it does not say itself
_TIMEOUT = 120
_MOST = 86400


class IsComposing:
    """Somebody is writing a message (``active``), or is not any more.

    ``kind``: the content type of what is written, such as ``text/plain``; ``refresh``: seconds until the next one is
    to be expected; ``last_active``: when the writer was last seen writing.
    """

    __slots__ = ('active', 'kind', 'last_active', 'refresh')

    content_type = ISCOMPOSING

    def __init__(self, active: bool, *, kind: str | None = None, refresh: int | None = None,
                 last_active: datetime | None = None) -> None:
        self.active = active
        self.kind = kind
        self.refresh = refresh
        self.last_active = last_active

    @property
    def lasts(self) -> int:
        """Seconds for which an active state holds (RFC 3994 3.3); 0 for the idle one."""
        return (self.refresh or _TIMEOUT) if self.active else 0

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what XML cannot hold."""
        root = make(_NS, 'isComposing')
        root.append(make(_NS, 'state', 'active' if self.active else 'idle'))
        if self.last_active is not None:
            root.append(make(_NS, 'lastactive', format_time(self.last_active)))
        if self.kind is not None:
            root.append(make(_NS, 'contenttype', self.kind))
        if self.refresh is not None:
            root.append(make(_NS, 'refresh', str(self.refresh)))
        return write_xml(root)

    def __repr__(self) -> str:
        return f'<IsComposing {"active" if self.active else "idle"}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IsComposing) and (self.active, self.kind, self.refresh, self.last_active) == (
            other.active, other.kind, other.refresh, other.last_active)

    def __hash__(self) -> int:
        return hash((self.active, self.kind, self.refresh))


def parse_iscomposing(body: bytes, limits: XmlLimits = XML_LIMITS) -> IsComposing:
    """Read an ``application/im-iscomposing+xml`` body.

    A state other than active counts as idle, a refresh that is no number as not given; none lasts
    longer than a day.  ParseError if it is no such document, or has no state.
    """
    root = parse_xml(body, _NS, 'isComposing', limits)
    state = find(root, _NS, 'state')
    if state is None:
        raise ParseError('an isComposing without its state')
    refresh = text_of(find(root, _NS, 'refresh'))
    seconds = None
    if refresh.isascii() and refresh.isdigit():
        seconds = min(int(refresh[:10]), _MOST)
    return IsComposing(text_of(state) == 'active', kind=text_of(find(root, _NS, 'contenttype')) or None,
                       refresh=seconds or None, last_active=parse_time(text_of(find(root, _NS, 'lastactive'))))
