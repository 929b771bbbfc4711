"""Session descriptions, RFC 8866: text in, values out, and back.

A description is the lines above the first ``m=`` and one ``Media`` per ``m=`` line with the lines below it.  The
lines are kept in order as they came; typed values (``origin``, ``connection``, ``codecs`` ...) are read from them when
somebody asks.  All of it is immutable: ``replace`` and the ``with_...`` methods give a changed copy, so that an
offer that was sent stays what it was.

Reading is tolerant: bare LF or CR as line end, blank lines, lines in the wrong order, missing ``v= o= s= t= c=``,
unknown type letters, any attribute.  Writing is strict: CRLF, the order of RFC 8866 section 9, no mandatory
line missing, no empty ``s=``, no line break inside a line.  An unknown line stays behind the one it followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Self

from greensip.errors import ParseError, UsageError
from greensip.sdp.codec import Codec, static_codec

__all__ = [
    'INACTIVE', 'RECVONLY', 'SDP_LIMITS', 'SENDONLY', 'SENDRECV', 'Attribute', 'Bandwidth', 'Connection', 'Crypto',
    'Direction', 'Line', 'Media', 'Origin', 'Rtcp', 'SdpLimits', 'Section', 'SessionDescription', 'Time',
    'address_type', 'parse_sdp',
]


class SdpLimits(NamedTuple):
    """How much of a peer's session description we are willing to read."""

    size: int = 65536           # octets
    lines: int = 2000
    media: int = 64             # m= lines
    formats: int = 256          # in one m= line


SDP_LIMITS: Final = SdpLimits()


class Direction(StrEnum):
    """RFC 8866 6.7: what the author of the description does with a stream."""

    SENDRECV = 'sendrecv'
    SENDONLY = 'sendonly'
    RECVONLY = 'recvonly'
    INACTIVE = 'inactive'

    @property
    def sends(self) -> bool:
        return self in (SENDRECV, SENDONLY)

    @property
    def receives(self) -> bool:
        return self in (SENDRECV, RECVONLY)

    @classmethod
    def of(cls, sends: bool, receives: bool) -> Direction:
        if sends:
            return SENDRECV if receives else SENDONLY
        return RECVONLY if receives else INACTIVE


SENDRECV: Final = Direction.SENDRECV
SENDONLY: Final = Direction.SENDONLY
RECVONLY: Final = Direction.RECVONLY
INACTIVE: Final = Direction.INACTIVE

_DIRECTIONS: Final = frozenset(str(direction) for direction in Direction)


class Line(NamedTuple):
    """``type=text``."""

    type: str
    text: str


class Attribute(NamedTuple):
    """``a=name`` or ``a=name:value`` (5.13); ``value`` is None for the first form."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f'{self.name}:{self.value}'


class Origin(NamedTuple):
    """``o=`` (5.2).  Session id and version are digits that may exceed 64 bits at careless peers, hence text."""

    username: str
    session_id: str
    version: str
    nettype: str
    addrtype: str
    address: str

    def __str__(self) -> str:
        return ' '.join(self)

    def next(self) -> Origin:
        """The same session, one version later (RFC 3264 8)."""
        version = _number(self.version, 30)
        return self._replace(version='1' if version is None else str(version + 1))

    def same_session(self, other: Origin) -> bool:
        """True if the two differ in the version at most."""
        return self._replace(version='') == other._replace(version='')


class Connection(NamedTuple):
    """``c=`` (5.7).  ``ttl`` and ``numaddr`` belong to multicast addresses."""

    nettype: str
    addrtype: str
    address: str
    ttl: int | None = None
    numaddr: int = 1

    def __str__(self) -> str:
        text = f'{self.nettype} {self.addrtype} {self.address}'
        if self.ttl is not None:
            text += f'/{self.ttl}'
        return text if self.numaddr == 1 else f'{text}/{self.numaddr}'

    @property
    def is_multicast(self) -> bool:
        if self.addrtype.upper() == 'IP6':
            return self.address[:2].lower() == 'ff' and ':' in self.address
        first = _number(self.address.partition('.')[0], 3)
        return first is not None and 224 <= first <= 239

    @property
    def is_unspecified(self) -> bool:
        """The old hold (RFC 2543 B.5, RFC 3264 8.4): an address to which nothing is sent.  IPv6 has ``::`` and
        names under ``.invalid`` for it (RFC 6157 5.1)."""
        return (self.address in ('0.0.0.0', '::', '0:0:0:0:0:0:0:0')
                or self.address.lower().rstrip('.').endswith('.invalid'))


class Bandwidth(NamedTuple):
    """``b=`` (5.8): kilobits per second for CT and AS, bits per second for TIAS, RS and RR."""

    type: str
    value: int

    def __str__(self) -> str:
        return f'{self.type}:{self.value}'


class Time(NamedTuple):
    """``t=`` (5.9) in seconds since 1900; ``repeats`` are the ``r=`` and ``z=`` lines below it (5.10, 5.11)."""

    start: int = 0
    stop: int = 0
    repeats: tuple[Line, ...] = ()

    def __str__(self) -> str:
        return f'{self.start} {self.stop}'


class Rtcp(NamedTuple):
    """``a=rtcp`` (RFC 3605): where RTCP goes when it is not the next port."""

    port: int
    address: str | None = None


class Crypto(NamedTuple):
    """``a=crypto`` (RFC 4568 9.1)."""

    tag: int
    suite: str
    key_params: str
    session_params: str = ''

    def __str__(self) -> str:
        return f'{self.tag} {self.suite} {self.key_params} {self.session_params}'.rstrip()


def address_type(host: str) -> str:
    """``IP6`` for an IPv6 address (without brackets), else ``IP4``."""
    return 'IP6' if ':' in host else 'IP4'


def _number(text: str, digits: int) -> int | None:
    """The decimal number, or None if it is none or longer than ``digits``."""
    if text.isascii() and text.isdigit() and len(text) <= digits:
        return int(text)
    return None


def parse_origin(text: str) -> Origin:
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, '-')       # some phones have no user name to put there and leave it empty
    if len(fields) < 6:
        raise ParseError('o= needs six fields', 'o=' + text)
    # A display name with blanks in it is not allowed as a user name, and seen all the same.
    return Origin(' '.join(fields[:-5]), *fields[-5:])


def parse_connection(text: str) -> Connection:
    fields = text.split()
    if len(fields) < 3:
        raise ParseError('c= needs three fields', 'c=' + text)
    nettype, addrtype, address = fields[:3]
    address, *suffixes = address.split('/')
    numbers = [_number(suffix, 9) for suffix in suffixes]
    if not address or None in numbers or len(numbers) > 2:
        raise ParseError('broken address in c=', 'c=' + text)
    ttl: int | None = None
    numaddr = 1
    if addrtype.upper() == 'IP6':
        if numbers:
            numaddr = numbers[0] or 1
    elif numbers:
        ttl = numbers[0]
        if len(numbers) > 1:
            numaddr = numbers[1] or 1
    return Connection(nettype, addrtype, address, ttl, numaddr)


#: The order of section 9.  ``t r z`` repeat as a group, ``k`` is obsolete and never written (5.12).
_SESSION_ORDER: Final = {'o': 0, 's': 1, 'i': 2, 'u': 3, 'e': 4, 'p': 5, 'c': 6, 'b': 7, 't': 8, 'r': 8, 'z': 8, 'a': 9}
_MEDIA_ORDER: Final = {'i': 0, 'c': 1, 'b': 2, 'a': 3}


def _in_order(lines: Iterable[Line], order: dict[str, int]) -> list[Line]:
    """The lines sorted by type; unknown ones stay behind the line they followed."""
    ranked: list[tuple[int, Line]] = []
    rank = 0
    for line in lines:
        rank = order.get(line.type, rank)
        ranked.append((rank, line))
    ranked.sort(key=lambda item: item[0])
    return [line for _, line in ranked]


def _write(line_type: str, text: str) -> str:
    """One line, proof against texts that would smuggle in another."""
    if '\n' in text or '\r' in text or '\0' in text:
        raise UsageError(f'a line of a session description contains a line break or NUL: {line_type}={text!r}')
    return f'{line_type}={text}'


class Section:
    """What the session level and a media description have in common: lines and attributes."""

    __slots__ = ('lines',)

    order: dict[str, int] = {}

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines: tuple[Line, ...] = tuple(lines)

    # -- reading

    def first(self, line_type: str) -> str | None:
        """The text of the first line of the type, None if there is none."""
        for line in self.lines:
            if line.type == line_type:
                return line.text
        return None

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """All attributes in order."""
        found = []
        for line in self.lines:
            if line.type == 'a':
                name, colon, value = line.text.partition(':')
                found.append(Attribute(name, value if colon else None))
        return tuple(found)

    def has_attribute(self, name: str) -> bool:
        name = name.lower()
        return any(attribute.name.lower() == name for attribute in self.attributes)

    def attribute(self, name: str) -> str | None:
        """The value of the first such attribute: '' for one without a value, None if there is none."""
        values = self.attribute_values(name)
        return values[0] if values else None

    def attribute_values(self, name: str) -> list[str]:
        """The values of all attributes of that name, in order."""
        name = name.lower()
        return [attribute.value or '' for attribute in self.attributes if attribute.name.lower() == name]

    @property
    def connection(self) -> Connection | None:
        """The ``c=`` of this level, see ``SessionDescription.connection_of`` for the one that counts."""
        text = self.first('c')
        return None if text is None else parse_connection(text)

    @property
    def bandwidths(self) -> tuple[Bandwidth, ...]:
        """The ``b=`` lines that can be read."""
        found = []
        for line in self.lines:
            if line.type == 'b':
                name, _, value = line.text.partition(':')
                number = _number(value.strip(), 18)
                if number is not None and name:
                    found.append(Bandwidth(name, number))
        return tuple(found)

    @property
    def information(self) -> str | None:
        """``i=`` (5.4)."""
        return self.first('i')

    @property
    def direction(self) -> Direction | None:
        """The direction attribute of this level, see ``SessionDescription.direction_of`` for the one that counts."""
        for line in self.lines:
            if line.type == 'a' and line.text.strip().lower() in _DIRECTIONS:
                return Direction(line.text.strip().lower())
        return None

    # -- changed copies

    def with_lines(self, lines: Iterable[Line]) -> Self:
        """A copy with other lines."""
        raise NotImplementedError

    def with_line(self, line_type: str, *texts: object) -> Self:
        """A copy in which ``texts`` take the place of all lines of the type; without texts they are gone."""
        new = [Line(line_type, str(text)) for text in texts]
        lines: list[Line] = []
        for line in self.lines:
            if line.type == line_type:
                lines += new
                new = []
            else:
                lines.append(line)
        return self.with_lines(_in_order(lines + new, self.order))

    def with_attribute(self, name: str, value: object = None) -> Self:
        """A copy with this attribute in the place of all of that name, at the end if there was none."""
        new = [Line('a', str(Attribute(name, None if value is None else str(value))))]
        lines: list[Line] = []
        for line in self.lines:
            if line.type == 'a' and _attribute_name(line) == name.lower():
                lines += new
                new = []
            else:
                lines.append(line)
        return self.with_lines(lines + new)

    def with_added(self, *attributes: Attribute) -> Self:
        """A copy with further attributes at the end."""
        return self.with_lines((*self.lines, *(Line('a', str(attribute)) for attribute in attributes)))

    def without_attributes(self, *names: str) -> Self:
        """A copy that lacks all attributes of these names; without names, all attributes."""
        lowered = {name.lower() for name in names}
        return self.with_lines(line for line in self.lines
                               if line.type != 'a' or (lowered and _attribute_name(line) not in lowered))

    def with_direction(self, direction: Direction) -> Self:
        """A copy with this direction, said once, where the old one stood or else at the end."""
        new = [Line('a', str(direction))]
        lines: list[Line] = []
        for line in self.lines:
            if line.type == 'a' and line.text.strip().lower() in _DIRECTIONS:
                lines += new
                new = []
            else:
                lines.append(line)
        return self.with_lines(lines + new)


def _attribute_name(line: Line) -> str:
    return line.text.partition(':')[0].lower()


class Media(Section):
    """A media description: ``m=type port[/count] proto formats`` (5.14) and the lines below it."""

    __slots__ = ('count', 'formats', 'port', 'proto', 'type')

    order = _MEDIA_ORDER

    def __init__(self, type: str, port: int, proto: str = 'RTP/AVP', formats: Sequence[str] = (),
                 lines: Iterable[Line] = (), count: int = 1) -> None:
        super().__init__(lines)
        self.type = type
        self.port = port
        self.proto = proto
        self.formats: tuple[str, ...] = tuple(formats)
        self.count = count

    def replace(self, *, type: str | None = None, port: int | None = None, proto: str | None = None,
                formats: Sequence[str] | None = None, lines: Iterable[Line] | None = None,
                count: int | None = None) -> Media:
        """A copy with some of it changed."""
        return Media(self.type if type is None else type, self.port if port is None else port,
                     self.proto if proto is None else proto, self.formats if formats is None else formats,
                     self.lines if lines is None else lines, self.count if count is None else count)

    def with_lines(self, lines: Iterable[Line]) -> Media:
        return self.replace(lines=lines)

    @property
    def is_rtp(self) -> bool:
        """The formats are RTP payload types."""
        return 'RTP/' in self.proto.upper()

    @property
    def is_active(self) -> bool:
        """Not removed or rejected, which a port of zero says (RFC 3264 6 and 8.2)."""
        return self.port != 0

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """The formats of an RTP stream in order of preference: by ``a=rtpmap``, else by RFC 3551.  A dynamic payload
        type without an rtpmap means nothing and is left out."""
        if not self.is_rtp:
            return ()
        maps: dict[int, Codec] = {}
        for value in self.attribute_values('rtpmap'):
            codec = _parse_rtpmap(value)
            if codec is not None and codec.payload is not None:
                maps.setdefault(codec.payload, codec)
        parameters: dict[str, str] = {}
        for value in self.attribute_values('fmtp'):
            payload_text, _, text = value.strip().partition(' ')
            parameters.setdefault(payload_text, text.strip())
        found = []
        for name in self.formats:
            payload = _number(name, 3)
            codec = None if payload is None else maps.get(payload) or static_codec(payload)
            if codec is not None:
                found.append(codec._replace(fmtp=parameters.get(name, '')))
        return tuple(found)

    @property
    def ptime(self) -> float | None:
        """``a=ptime`` (6.4), in milliseconds."""
        return _milliseconds(self.attribute('ptime'))

    @property
    def maxptime(self) -> float | None:
        """``a=maxptime`` (6.5), in milliseconds."""
        return _milliseconds(self.attribute('maxptime'))

    @property
    def mid(self) -> str | None:
        """``a=mid`` (RFC 5888 4)."""
        return self.attribute('mid')

    @property
    def rtcp_mux(self) -> bool:
        """``a=rtcp-mux`` (RFC 5761 5.1.1)."""
        return self.has_attribute('rtcp-mux')

    @property
    def rtcp(self) -> Rtcp:
        """Where RTCP goes: ``a=rtcp`` (RFC 3605), the RTP port with ``a=rtcp-mux``, else the next port."""
        fields = (self.attribute('rtcp') or '').split()
        port = _number(fields[0], 5) if fields else None
        if port is not None and port <= 65535:
            return Rtcp(port, fields[3] if len(fields) > 3 else None)
        return Rtcp(self.port if self.rtcp_mux or not self.port else self.port + 1)

    @property
    def cryptos(self) -> tuple[Crypto, ...]:
        """``a=crypto`` (RFC 4568), those that can be read."""
        found = []
        for value in self.attribute_values('crypto'):
            fields = value.split(None, 3)
            tag = _number(fields[0], 9) if len(fields) >= 3 else None
            if tag is not None:
                found.append(Crypto(tag, *fields[1:]))
        return tuple(found)

    def _text(self) -> list[str]:
        port = str(self.port) if self.count == 1 else f'{self.port}/{self.count}'
        # Rejected streams come without a format at times; the grammar wants one.
        formats = ' '.join(self.formats) or ('0' if self.is_rtp else '*')
        text = [_write('m', f'{self.type} {port} {self.proto} {formats}')]
        text += [_write(line.type, line.text) for line in _in_order(self.lines, _MEDIA_ORDER)]
        return text

    def __str__(self) -> str:
        return '\r\n'.join(self._text()) + '\r\n'

    def __repr__(self) -> str:
        return f'<Media {self.type} {self.port} {self.proto} {" ".join(self.formats)}>'

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Media) and self.port == other.port and self.formats == other.formats
                and self.type == other.type and self.proto == other.proto and self.count == other.count
                and self.lines == other.lines)

    def __hash__(self) -> int:
        return hash((self.type, self.port, self.proto, self.formats, self.count, self.lines))


def _parse_rtpmap(value: str) -> Codec | None:
    payload_text, _, encoding = value.strip().partition(' ')
    name, *rest = encoding.strip().split('/')
    payload = _number(payload_text, 3)
    clock = _number(rest[0].strip(), 9) if rest else None
    if payload is None or not name or clock is None:
        return None
    channels = _number(rest[1].strip(), 3) if len(rest) > 1 else 1
    return Codec(name.strip(), clock, channels or 1, '', payload)


def _milliseconds(text: str | None) -> float | None:
    if text is None:
        return None
    whole, _, fraction = text.strip().partition('.')
    if _number(whole, 9) is None or (fraction and _number(fraction, 9) is None):
        return None
    return float(f'{whole}.{fraction or 0}') or None


class SessionDescription(Section):
    """A whole description: the session-level lines (``v=0`` is not among them) and the media descriptions."""

    __slots__ = ('media',)

    order = _SESSION_ORDER

    def __init__(self, lines: Iterable[Line] = (), media: Iterable[Media] = ()) -> None:
        super().__init__(lines)
        self.media: tuple[Media, ...] = tuple(media)

    def replace(self, *, lines: Iterable[Line] | None = None, media: Iterable[Media] | None = None,
                origin: Origin | None = None, connection: Connection | None = None) -> SessionDescription:
        """A copy with some of it changed."""
        new = SessionDescription(self.lines if lines is None else lines, self.media if media is None else media)
        if origin is not None:
            new = new.with_line('o', origin)
        return new if connection is None else new.with_line('c', connection)

    def with_lines(self, lines: Iterable[Line]) -> SessionDescription:
        return SessionDescription(lines, self.media)

    def with_media(self, index: int, media: Media) -> SessionDescription:
        """A copy with another media description in place of that one."""
        return SessionDescription(self.lines, (*self.media[:index], media, *self.media[index + 1:]))

    @property
    def origin(self) -> Origin:
        """``o=``; if the author left it out, what we would write in its place."""
        text = self.first('o')
        if text is not None:
            return parse_origin(text)
        connection = self.connection
        if connection is None:
            return Origin('-', '0', '0', 'IN', 'IP4', '0.0.0.0')
        return Origin('-', '0', '0', connection.nettype, connection.addrtype, connection.address)

    @property
    def name(self) -> str:
        """``s=`` (5.3)."""
        return self.first('s') or ''

    @property
    def times(self) -> tuple[Time, ...]:
        """``t=`` with the ``r=`` and ``z=`` below it; those that can be read."""
        found: list[Time] = []
        for line in self.lines:
            if line.type == 't':
                numbers = [_number(field, 18) for field in line.text.split()]
                if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
                    found.append(Time(numbers[0], numbers[1]))
            elif line.type in 'rz' and found:
                found[-1] = found[-1]._replace(repeats=(*found[-1].repeats, line))
        return tuple(found)

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """``a=group`` (RFC 5888 5): semantics first, then the mids."""
        return [tuple(value.split()) for value in self.attribute_values('group') if value.strip()]

    # -- what counts for a media description: its own line, else the session's

    def connection_of(self, media: Media) -> Connection | None:
        """5.7: the ``c=`` that counts for ``media``."""
        return media.connection or self.connection

    def direction_of(self, media: Media) -> Direction:
        """6.7: the direction that counts for ``media``; sendrecv unless anything else is said."""
        return media.direction or self.direction or SENDRECV

    def address_of(self, media: Media) -> tuple[str, int] | None:
        """Host and port where the author wants to receive this stream."""
        connection = self.connection_of(media)
        return None if connection is None else (connection.address, media.port)

    @property
    def active(self) -> tuple[Media, ...]:
        """The media descriptions whose port is not zero."""
        return tuple(media for media in self.media if media.port)

    # -- writing

    def __str__(self) -> str:
        lines = [_write(line.type, line.text or '-' if line.type == 's' else line.text)
                 for line in _in_order(self.lines, _SESSION_ORDER)]
        types = {line.type for line in self.lines}
        if types.isdisjoint('o'):
            lines.insert(0, _write('o', str(self.origin)))
        if types.isdisjoint('s'):
            lines.insert(_after(lines, 'o'), 's=-')
        if types.isdisjoint('t'):
            lines.insert(_after(lines, 'osiuepcb'), 't=0 0')
        lines.insert(0, 'v=0')
        for media in self.media:
            lines += media._text()
        lines.append('')
        return '\r\n'.join(lines)

    def to_bytes(self) -> bytes:
        """As it goes on the wire.  UsageError if a line contains a line break."""
        return str(self).encode('utf-8', 'surrogateescape')

    def __repr__(self) -> str:
        return f'<SessionDescription {self.origin} {" ".join(repr(media) for media in self.media)}>'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SessionDescription) and self.lines == other.lines and self.media == other.media

    def __hash__(self) -> int:
        return hash((self.lines, self.media))


def _after(lines: Sequence[str], types: str) -> int:
    """The index behind the last line of one of these types."""
    return max((index + 1 for index, line in enumerate(lines) if line[0] in types), default=0)


def parse_sdp(data: bytes | str, limits: SdpLimits = SDP_LIMITS) -> SessionDescription:
    """Read a session description.

    ParseError if a line has no ``x=``, if ``o= c= m=`` cannot be read, if it is no description at all (neither of
    ``v= o= m=``), of another version, more than one, or beyond the limits.
    """
    if isinstance(data, str):
        try:
            data = data.encode('utf-8', 'surrogateescape')
        except UnicodeEncodeError as error:
            raise ParseError('a session description with half a surrogate pair', position=error.start) from None
    if len(data) > limits.size:
        raise ParseError(f'a session description of more than {limits.size} octets', status=513)
    # A terminating NUL is the slip of peers that count one octet too many.
    text = data.rstrip(b'\0').decode('utf-8', 'surrogateescape')
    if '\0' in text:
        raise ParseError('NUL in a session description', text, text.index('\0'))
    rows = text.replace('\r\n', '\n').replace('\r', '\n').split('\n')
    if len(rows) > limits.lines:
        raise ParseError(f'a session description of more than {limits.lines} lines', status=513)

    head: list[Line] = []
    media: list[Media] = []
    below: list[Line] = head            # where lines go: the head, then below the latest m=
    seen: set[str] = set()
    for row in rows:
        if not row or row.isspace():
            continue
        letter, value = row[0], row[2:]
        if row[1:2] != '=' or not (letter.isascii() and letter.isalpha()):
            raise ParseError('a line that is no x=...', row)
        if letter == 'm':
            if len(media) == limits.media:
                raise ParseError(f'more than {limits.media} m= lines', status=513)
            if media:
                media[-1] = media[-1].with_lines(below)
            media.append(_parse_media(value, limits))
            below = []
        elif letter in 'vo':
            # RFC 3264 5: exactly one session description.
            if letter in seen or (letter == 'v' and media):
                raise ParseError(f'a second {letter}=', row)
            if letter == 'o':
                parse_origin(value)
                below.append(Line('o', value))
            elif value.strip() != '0':
                raise ParseError('not version 0 of SDP', row)
        elif letter != 'k':             # 5.12: obsolete, MUST be discarded
            if letter == 'c':
                parse_connection(value)
            below.append(Line(letter, value))
        seen.add(letter)
    if media:
        media[-1] = media[-1].with_lines(below)
    if seen.isdisjoint('vom'):
        raise ParseError('not a session description', text)
    return SessionDescription(head, media)


def _parse_media(value: str, limits: SdpLimits) -> Media:
    fields = value.split()
    if len(fields) < 3:
        raise ParseError('m= needs media, port, proto and formats', 'm=' + value)
    port_text, slash, count_text = fields[1].partition('/')
    port = _number(port_text, 5)
    count = _number(count_text, 5) if slash else 1
    if port is None or port > 65535 or not count:
        raise ParseError('broken port in m=', 'm=' + value)
    if len(fields) - 3 > limits.formats:
        raise ParseError(f'more than {limits.formats} formats in m=', status=513)
    return Media(fields[0], port, fields[2], fields[3:], (), count)
