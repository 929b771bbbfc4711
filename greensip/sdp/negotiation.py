"""Making and checking offers and answers, RFC 3264 5 to 8 and RFC 6337 5: pure functions on session descriptions.

What we can do with a stream is a ``Capability``.  ``make_offer`` offers some, ``make_answer`` answers an offer from
them, ``check_answer`` tells whether a peer's answer fits our offer, ``agreed`` says what came out of an exchange.
``hold`` and ``resume`` make the next offer, ``add_stream`` and ``remove_stream`` too.

Each side has one ``o=`` line for the whole session; only its version counts up, by one, whenever anything else of
the description changed (RFC 3264 8).  So what is to be sent next needs what was sent last: the ``previous`` here.
For the first one a source of random bits gives the session id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from greensip.errors import NegotiationFailed, UsageError
from greensip.sdp.codec import DEFAULT_CODECS, Codec, number_codecs, parse_codec
from greensip.sdp.description import (
    INACTIVE,
    SENDONLY,
    SENDRECV,
    Attribute,
    Connection,
    Direction,
    Line,
    Media,
    Origin,
    Rtcp,
    SessionDescription,
    address_type,
)

__all__ = [
    'Capability', 'RandomBits', 'Stream', 'add_stream', 'agreed', 'answer', 'answer_direction', 'check_answer',
    'check_offer', 'hold', 'is_on_hold', 'make_answer', 'make_media', 'make_offer', 'make_sdp', 'numbered',
    'reject_all', 'remove_stream', 'resume',
]


class RandomBits(Protocol):
    """``random.Random`` and ``random.SystemRandom`` are such sources."""

    def getrandbits(self, k: int, /) -> int: ...


class Capability(NamedTuple):
    """What we would do with one stream: the port we receive at, codecs in our order of preference, direction.

    For a proto other than RTP ``codecs`` are the formats, such as ``t38``.  ``host`` is given when the stream goes to
    another address than the rest of the session.  ``attributes`` are added as they are.
    """

    type: str = 'audio'
    port: int = 0
    codecs: Sequence[str | Codec] = DEFAULT_CODECS
    #: the first one is offered, any is accepted
    protos: tuple[str, ...] = ('RTP/AVP', 'RTP/AVPF')
    direction: Direction = SENDRECV
    host: str | None = None
    rtcp_mux: bool = False
    attributes: tuple[Attribute, ...] = ()

    @property
    def is_rtp(self) -> bool:
        return 'RTP/' in self.protos[0].upper()


# -- lines and numbers

def _connection(host: str) -> Connection:
    host = host.strip('[]')
    return Connection('IN', address_type(host), host)


def _new_origin(host: str, random: RandomBits | None, username: str) -> Origin:
    if random is None:
        raise UsageError('the first description of a session needs random= for its session id, a later one previous=')
    host = host.strip('[]')
    # 31 bits although 63 are allowed (RFC 3264 5): old gateways read it into an int.
    return Origin(username, str(random.getrandbits(31)), '1', 'IN', address_type(host), host)


def _describe(host: str, media: Iterable[Media], times: Sequence[Line], random: RandomBits | None,
              previous: SessionDescription | None, username: str, name: str) -> SessionDescription:
    """A description of ours, its ``o=`` counted on from the previous one."""
    origin = previous.origin if previous is not None else _new_origin(host, random, username)
    lines = (Line('o', str(origin)), Line('s', name), Line('c', str(_connection(host))), *times)
    return numbered(SessionDescription(lines, media), previous)


def numbered(description: SessionDescription, previous: SessionDescription | None) -> SessionDescription:
    """``description`` with the ``o=`` of ``previous``, one version later if they differ in anything (RFC 3264 8)."""
    if previous is None:
        return description
    same = description.replace(origin=previous.origin)
    return same if same == previous else same.replace(origin=previous.origin.next())


def _codec_lines(codecs: Iterable[Codec]) -> list[Line]:
    lines = []
    for one in codecs:
        lines.append(Line('a', f'rtpmap:{one.rtpmap}'))
        if one.fmtp:
            lines.append(Line('a', f'fmtp:{one.payload} {one.fmtp}'))
    return lines


def _media_lines(capability: Capability, host: str, direction: Direction, codecs: Iterable[Codec],
                 rtcp_mux: bool) -> list[Line]:
    lines = _codec_lines(codecs)
    if capability.host is not None and capability.host != host:
        lines.insert(0, Line('c', str(_connection(capability.host))))
    lines += [Line('a', str(attribute)) for attribute in capability.attributes]
    if rtcp_mux:
        lines.append(Line('a', 'rtcp-mux'))
    lines.append(Line('a', str(direction)))
    return lines


# -- offers, RFC 3264 5

def make_media(capability: Capability, host: str = '') -> Media:
    """The capability as an offered stream; ``host`` is that of the session's ``c=``."""
    if not capability.is_rtp:
        formats = [one if isinstance(one, str) else one.name for one in capability.codecs]
        lines = _media_lines(capability, host, capability.direction, (), False)
        return Media(capability.type, capability.port, capability.protos[0], formats, lines)
    codecs = number_codecs(capability.codecs)
    lines = _media_lines(capability, host, capability.direction, codecs, capability.rtcp_mux)
    return Media(capability.type, capability.port, capability.protos[0], [str(one.payload) for one in codecs], lines)


def make_offer(host: str, capabilities: Iterable[Capability], *, random: RandomBits | None = None,
               previous: SessionDescription | None = None, username: str = '-',
               name: str = '-') -> SessionDescription:
    """An offer of these streams.

    In a session that exists, ``previous`` is what we sent last: its streams beyond the new ones stay, with port 0
    (RFC 3264 8: the number of ``m=`` lines never decreases).
    """
    media = [make_media(capability, host) for capability in capabilities]
    if previous is not None:
        media += [_removed(old) for old in previous.media[len(media):]]
    return _describe(host, media, [Line('t', '0 0')], random, previous, username, name)


def make_sdp(host: str, port: int, codecs: Sequence[str | Codec] = DEFAULT_CODECS, *,
             random: RandomBits | None = None, previous: SessionDescription | None = None,
             direction: Direction | str = SENDRECV, ptime: int | None = None, username: str = '-',
             name: str = '-') -> SessionDescription:
    """A plain offer: one audio stream at ``host:port``.

    ``codecs`` are names such as ``'PCMU'`` or ``'opus/48000/2'`` in order of preference.  The first description of a
    session has its id from ``random`` (``random.SystemRandom()``), a later one has ``previous``; raises UsageError
    without either.
    """
    attributes = () if ptime is None else (Attribute('ptime', str(ptime)),)
    capability = Capability('audio', port, codecs, direction=Direction(direction), attributes=attributes)
    return make_offer(host, [capability], random=random, previous=previous, username=username, name=name)


def add_stream(description: SessionDescription, media: Media) -> SessionDescription:
    """The next offer after ``description``, with another stream: in the slot of the first removed one, else below
    the others (RFC 3264 8.1)."""
    for index, old in enumerate(description.media):
        if not old.port:
            return numbered(description.with_media(index, media), description)
    return numbered(description.replace(media=(*description.media, media)), description)


def remove_stream(description: SessionDescription, index: int) -> SessionDescription:
    """The next offer after ``description``, without that stream: its port becomes 0 (RFC 3264 8.2)."""
    return numbered(description.with_media(index, _removed(description.media[index])), description)


def _removed(media: Media) -> Media:
    """Port 0, one format and no lines: all that RFC 3264 6 and 8.2 want of a rejected or removed stream."""
    return Media(media.type, 0, media.proto, media.formats[:1])


# -- hold, RFC 3264 8.4 and RFC 6337 5.3

def hold(description: SessionDescription, how: Literal['sendonly', 'inactive', 'address'] = 'sendonly',
         ) -> SessionDescription:
    """The offer that puts the peer on hold.

    ``sendonly`` as RFC 3264 8.4 says (a recvonly stream becomes inactive), ``inactive`` when there is no music to
    play, ``address`` the way of RFC 2543, ``c=0.0.0.0``, for peers that know nothing else.
    """
    if how == 'address':
        return numbered(_without_address(description), description)
    media = []
    for one in description.media:
        if one.port:
            sends = how == 'sendonly' and description.direction_of(one).sends
            one = one.with_direction(SENDONLY if sends else INACTIVE)
        media.append(one)
    lines = description.without_attributes(*Direction).lines
    return numbered(SessionDescription(lines, media), description)


def _without_address(description: SessionDescription) -> SessionDescription:
    def unspecified(connection: Connection) -> Connection:
        address = '::' if connection.addrtype.upper() == 'IP6' else '0.0.0.0'
        return Connection(connection.nettype, connection.addrtype, address)

    new = description
    if new.connection is not None:
        new = new.replace(connection=unspecified(new.connection))
    for index, one in enumerate(new.media):
        if one.connection is not None:
            new = new.with_media(index, one.with_line('c', unspecified(one.connection)))
    return new


def resume(description: SessionDescription, before: SessionDescription | None = None) -> SessionDescription:
    """The offer that ends a hold; ``description`` is what we sent last.

    With ``before``, what we sent before the hold, everything is as it was.  Without it each stream becomes sendrecv
    (RFC 6337 5.3), which is right unless a stream was one-way before.  A hold by address needs ``before``.
    """
    if before is not None:
        missing = [_removed(old) for old in description.media[len(before.media):]]
        return numbered(before.replace(media=(*before.media, *missing)), description)
    media = []
    for one in description.media:
        if one.port:
            connection = description.connection_of(one)
            if connection is not None and connection.is_unspecified:
                raise UsageError('resume after a hold by c=0.0.0.0 needs the description from before it')
            one = one.with_direction(SENDRECV)
        media.append(one)
    return numbered(SessionDescription(description.without_attributes(*Direction).lines, media), description)


def is_on_hold(description: SessionDescription) -> bool:
    """The author of ``description`` wants to receive none of its streams: sendonly, inactive or ``c=0.0.0.0``.

    RFC 6337 5.3: a device that can only send says the same.  A description without an active stream holds nothing.
    """
    active = description.active
    return bool(active) and not any(_wants_media(description, media) for media in active)


def _wants_media(description: SessionDescription, media: Media) -> bool:
    connection = description.connection_of(media)
    return description.direction_of(media).receives and not (connection is not None and connection.is_unspecified)


# -- answers, RFC 3264 6

def answer_direction(offered: Direction, wanted: Direction) -> Direction:
    """6.1: as much of what we want as the offer allows, seen from our side."""
    return Direction.of(wanted.sends and offered.receives, wanted.receives and offered.sends)


def make_answer(offer: SessionDescription, host: str, capabilities: Iterable[Capability], *,
                random: RandomBits | None = None, previous: SessionDescription | None = None, username: str = '-',
                name: str = '-') -> SessionDescription:
    """The answer to ``offer``: the same ``m=`` lines in the same order, each accepted with the first capability that
    fits or rejected with port 0; formats and payload types of the offer, in its order.

    NegotiationFailed if streams were offered and none can be accepted.  ``previous`` is what we sent last in this
    session: a stream that we had accepted there stays with the capability of the same port.
    """
    unused = list(capabilities)
    kept: dict[int, Capability] = {}
    if previous is not None:
        for index, (offered, old) in enumerate(zip(offer.media, previous.media)):
            for capability in unused:
                if old.port and capability.port == old.port and _takes(capability, offered):
                    kept[index] = capability
                    unused.remove(capability)
                    break
    media = []
    for index, offered in enumerate(offer.media):
        choice = [kept[index], *unused] if index in kept else list(unused)
        accepted = None
        for capability in choice:
            accepted = _accept(offer, offered, capability, host)
            if accepted is not None:
                if capability in unused:
                    unused.remove(capability)
                break
        media.append(_removed(offered) if accepted is None else accepted)
    if offer.active and not any(one.port for one in media):
        offered_text = '; '.join(f'{one.type} {one.proto} {" ".join(one.formats)}' for one in offer.active)
        raise NegotiationFailed(f'nothing of the offer can be accepted: {offered_text}')
    return _describe(host, media, _times(offer), random, previous, username, name)


def answer(offer: SessionDescription, host: str, port: int, codecs: Sequence[str | Codec] = DEFAULT_CODECS, *,
           random: RandomBits | None = None, previous: SessionDescription | None = None,
           direction: Direction | str = SENDRECV, username: str = '-') -> SessionDescription:
    """A plain answer: the first fitting audio stream is accepted at ``host:port``, every other stream rejected.

    NegotiationFailed if none fits.
    """
    capability = Capability('audio', port, codecs, direction=Direction(direction))
    return make_answer(offer, host, [capability], random=random, previous=previous, username=username)


def reject_all(offer: SessionDescription, host: str, *, random: RandomBits | None = None,
               previous: SessionDescription | None = None, username: str = '-') -> SessionDescription:
    """The answer that rejects every stream: the only "no" to an offer in a response (RFC 6337 2.3, 5.2.4)."""
    media = [_removed(offered) for offered in offer.media]
    return _describe(host, media, _times(offer), random, previous, username, '-')


def _times(offer: SessionDescription) -> list[Line]:
    """RFC 3264 6: the ``t=`` of the answer MUST equal that of the offer."""
    return [line for line in offer.lines if line.type in 'trz'] or [Line('t', '0 0')]


def _takes(capability: Capability, offered: Media) -> bool:
    protos = [proto.upper() for proto in capability.protos]
    return offered.port != 0 and capability.type == offered.type.lower() and offered.proto.upper() in protos


def _accept(offer: SessionDescription, offered: Media, capability: Capability, host: str) -> Media | None:
    """The stream of the answer, None if this capability cannot have it."""
    if not _takes(capability, offered):
        return None
    codecs: list[Codec] = []
    if offered.is_rtp:
        codecs = _common_codecs(offered.codecs, [parse_codec(spec) for spec in capability.codecs])
        formats = [str(one.payload) for one in codecs]
    else:
        known = {one.lower() for one in capability.codecs if isinstance(one, str)}
        formats = [one for one in offered.formats if one.lower() in known]
    if not formats:
        return None
    connection = offer.connection_of(offered)
    if connection is not None and connection.is_multicast:
        return _join(offer, offered, formats, codecs)
    direction = answer_direction(offer.direction_of(offered), capability.direction)
    lines = _media_lines(capability, host, direction, codecs, capability.rtcp_mux and offered.rtcp_mux)
    return Media(offered.type, capability.port, offered.proto, formats, lines)


def _join(offer: SessionDescription, offered: Media, formats: Sequence[str], codecs: Iterable[Codec]) -> Media:
    """6.2: there is one view of a multicast stream; only formats can be left out."""
    connections = [line for line in (offered.lines if offered.connection is not None else offer.lines)
                   if line.type == 'c']
    bandwidths = [line for line in offered.lines if line.type == 'b']
    lines = connections + bandwidths + _codec_lines(codecs)
    if offered.has_attribute('ptime'):
        lines.append(Line('a', f'ptime:{offered.attribute("ptime")}'))
    lines.append(Line('a', str(offer.direction_of(offered))))
    return Media(offered.type, offered.port, offered.proto, formats, lines, offered.count)


def _is_sound(one: Codec) -> bool:
    """Not telephone events or comfort noise, which only accompany something else."""
    return not one.is_telephone_event and one.name.upper() != 'CN'


def _common_codecs(offered: Sequence[Codec], own: Sequence[Codec]) -> list[Codec]:
    """The offered codecs that we know, in the offer's order and with its payload types."""
    common: list[Codec] = []
    for one in offered:
        for known in own:
            if one.matches(known):
                # Our parameters, if we have any; else those of the offer, for a peer that compares them.
                common.append(one._replace(fmtp=known.fmtp or one.fmtp))
                break
    sound = [one for one in common if _is_sound(one)]
    if not sound and any(_is_sound(one) for one in offered):
        return []
    events = next((known for known in own if known.is_telephone_event), None)
    if events is None or not sound:
        return common
    # Events run at the clock rate of the sound they accompany (RFC 4733 2.1); if the peer offers them at another
    # one only, as wide-band phones do, that has to do.
    candidates = [one for one in offered if one.is_telephone_event]
    clocks = {one.clock for one in sound}
    fitting = [one for one in candidates if one.clock in clocks] or candidates
    accepted = {one.payload: one for one in common if not one.is_telephone_event}
    accepted.update((one.payload, one._replace(fmtp=events.fmtp or one.fmtp)) for one in fitting)
    return [accepted[one.payload] for one in offered if one.payload in accepted]


# -- checks, RFC 3264 6 to 8

def check_answer(offer: SessionDescription, received: SessionDescription, *, strict: bool = False) -> None:
    """NegotiationFailed if ``received`` does not answer ``offer``.

    Always: as many ``m=`` lines, of the same types, none accepted that was offered with port 0, one format in common
    for each accepted RTP stream.  ``strict`` adds what works all the same when it is wrong, and is wrong at times (an
    answer of RFC 4317 3.2 replies sendrecv to sendonly): transport, direction and ``t=``.
    """
    if len(received.media) != len(offer.media):
        raise NegotiationFailed(f'the answer has {len(received.media)} m= lines, the offer {len(offer.media)}')
    for number, (ours, theirs) in enumerate(zip(offer.media, received.media), 1):
        if theirs.type.lower() != ours.type.lower():
            raise NegotiationFailed(f'stream {number}: {ours.type} was offered, {theirs.type} answered')
        if not theirs.port:
            continue
        if not ours.port:
            raise NegotiationFailed(f'stream {number}: accepted although it was offered with port 0')
        if not _have_common_format(ours, theirs):
            raise NegotiationFailed(f'stream {number}: no format in common, offered {" ".join(ours.formats)}, '
                                    f'answered {" ".join(theirs.formats)}')
        if strict:
            _check_strictly(number, offer, ours, received, theirs)
    if strict and _times(received) != _times(offer):
        raise NegotiationFailed('the answer has another t= than the offer')


def _check_strictly(number: int, offer: SessionDescription, ours: Media, received: SessionDescription,
                    theirs: Media) -> None:
    if theirs.proto.upper() != ours.proto.upper():
        raise NegotiationFailed(f'stream {number}: {ours.proto} was offered, {theirs.proto} answered')
    connection = offer.connection_of(ours)
    offered, given = offer.direction_of(ours), received.direction_of(theirs)
    allowed = given == offered if connection is not None and connection.is_multicast else \
        given == answer_direction(offered, given)
    if not allowed:
        raise NegotiationFailed(f'stream {number}: {offered} was offered, {given} answered')


def _have_common_format(ours: Media, theirs: Media) -> bool:
    if ours.is_rtp and theirs.is_rtp:
        if any(one.same_encoding(other) for one in ours.codecs for other in theirs.codecs):
            return True
        # A dynamic payload type that is answered without its rtpmap can only mean what the offer said.
        return not theirs.codecs and not set(ours.formats).isdisjoint(theirs.formats)
    return not {one.lower() for one in ours.formats}.isdisjoint(one.lower() for one in theirs.formats)


def check_offer(offer: SessionDescription, previous: SessionDescription) -> None:
    """NegotiationFailed if ``offer`` cannot follow what the same side sent before (RFC 3264 8): fewer ``m=`` lines, a
    dynamic payload type with a new meaning, another session in ``o=``, a change without a new version."""
    if len(offer.media) < len(previous.media):
        raise NegotiationFailed(f'the offer has {len(offer.media)} m= lines, before there were {len(previous.media)}')
    if not offer.origin.same_session(previous.origin):
        raise NegotiationFailed(f'the session changed in o=: {offer.origin} after {previous.origin}')
    if offer.origin == previous.origin and offer != previous:
        raise NegotiationFailed(f'the description changed, the version in o= did not: {offer.origin}')
    for number, (new, old) in enumerate(zip(offer.media, previous.media), 1):
        if new.type != old.type or not old.port:
            continue        # 8.3.3, 8.1: another stream in the slot
        meaning = {one.payload: one for one in old.codecs}
        for one in new.codecs:
            before = meaning.get(one.payload)
            if before is not None and not before.same_encoding(one):
                raise NegotiationFailed(f'stream {number}: payload type {one.payload} was {before.name}, '
                                        f'now {one.name} (RFC 3264 8.3.2)')


# -- the outcome, RFC 3264 7

class Stream(NamedTuple):
    """What an exchange agreed upon for one ``m=`` line, from our side."""

    #: which m= line, counted from 0
    position: int
    type: str
    direction: Direction
    local: Media
    remote: Media
    #: where we send to; None when nothing may be sent there
    address: tuple[str, int] | None
    rtcp: Rtcp
    #: what we may send, with the peer's payload types (RFC 3264 5.1, 6.1), the best first
    send: tuple[Codec, ...]
    #: what we must be ready for, with our payload types
    receive: tuple[Codec, ...]


def agreed(ours: SessionDescription, theirs: SessionDescription) -> list[Stream]:
    """The streams in use after an exchange, whoever made the offer."""
    streams = []
    for position, (local, remote) in enumerate(zip(ours.media, theirs.media)):
        if not local.port or not remote.port:
            continue
        connection = theirs.connection_of(remote)
        address = None
        if connection is not None and not connection.is_unspecified:
            address = connection.address, remote.port
        direction = answer_direction(theirs.direction_of(remote), ours.direction_of(local))
        if address is None:
            direction = Direction.of(False, direction.receives)
        send = tuple(one for one in remote.codecs if any(one.same_encoding(own) for own in local.codecs))
        streams.append(Stream(position, local.type, direction, local, remote, address, remote.rtcp, send, local.codecs))
    return streams
