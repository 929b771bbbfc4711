"""Session descriptions for legs whose script gives none: RFC 3264 with nothing behind it.

There is no media here yet.  A script that says ``ua.invite(uri)`` or ``leg.answer()`` without ``sdp=`` still has to
offer or answer something, so it says the truth: an audio stream that is inactive.  The peer's re-INVITEs are answered
from what was said before, so that a phone can hold, resume and refresh a call whose script is not interested.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from greensip.errors import NegotiationFailed, ParseError
from greensip.sdp import (
    INACTIVE,
    SENDRECV,
    Capability,
    Direction,
    SessionDescription,
    hold,
    is_on_hold,
    make_answer,
    make_offer,
    parse_sdp,
    reject_all,
    resume,
)

__all__ = ['answer_again', 'continued', 'hold_offer', 'holds', 'inactive_answer', 'inactive_offer', 'resume_offer']

#: RFC 8866 5.2
_ORIGIN: Final = re.compile(
    rb'^o=(?P<name>\S+) (?P<id>\d+) (?P<version>\d{1,20}) (?P<address>\S+ \S+ \S+)', re.MULTILINE)

#: RFC 863's port, where nobody listens: what SDP writes when a stream has no port of its own yet
DISCARD: Final = 9


def inactive_offer(host: str, codecs: Sequence[Any], random: Any) -> bytes:
    """An offer of one audio stream on which nothing will be sent or received."""
    return make_offer(host, [_idle(codecs)], random=random).to_bytes()


def inactive_answer(offer: bytes, host: str, codecs: Sequence[Any], random: Any) -> bytes:
    """The answer that takes the first audio stream and says that it is inactive; the others are rejected."""
    offered = parse_sdp(offer)
    try:
        return make_answer(offered, host, [_idle(codecs)], random=random).to_bytes()
    except NegotiationFailed:
        # Nothing in common: a call without media is still a call (RFC 6337 2.3).
        return reject_all(offered, host, random=random).to_bytes()


def _idle(codecs: Sequence[Any]) -> Capability:
    return Capability('audio', DISCARD, tuple(codecs), direction=INACTIVE)


def answer_again(offer: bytes, local: bytes, on_hold: bool) -> bytes:
    """The answer to an offer inside the call, made of ``local``, what we said last.

    ``on_hold``: we hold the peer, so nothing is to be received.  Raises NegotiationFailed, ParseError.
    """
    offered, before = parse_sdp(offer), parse_sdp(local)
    host = before.connection.address if before.connection is not None else before.origin.address
    wanted = Direction.SENDONLY if on_hold else SENDRECV
    capabilities = []
    for media in before.media:
        if media.port:
            own = media.direction or wanted
            keeps = own if own == INACTIVE else wanted
            capabilities.append(Capability(
                media.type, media.port, media.codecs if media.is_rtp else media.formats, (media.proto,),
                direction=keeps, host=media.connection.address if media.connection is not None else None,
                rtcp_mux=media.rtcp_mux))
    answer = make_answer(offered, host, capabilities, previous=before)
    # A refresh changes nothing: then what was said stands, to the letter.
    return local if _says_the_same(answer, before) else answer.to_bytes()


def _says_the_same(one: SessionDescription, other: SessionDescription) -> bool:
    """Whether the streams of two descriptions agree in all that was negotiated."""
    return len(one.media) == len(other.media) and all(
        (a.type, a.port, a.proto, a.formats, a.codecs, one.direction_of(a), one.connection_of(a))
        == (b.type, b.port, b.proto, b.formats, b.codecs, other.direction_of(b), other.connection_of(b))
        for a, b in zip(one.media, other.media))


def hold_offer(local: bytes) -> bytes:
    """The offer that puts the peer on hold (RFC 3264 8.4)."""
    return hold(parse_sdp(local)).to_bytes()


def resume_offer(local: bytes, before: bytes) -> bytes:
    """The offer that takes up what was said ``before`` the hold."""
    return resume(parse_sdp(local), parse_sdp(before) if before else None).to_bytes()


def continued(sdp: bytes, before: bytes) -> bytes:
    """``sdp``, which is from elsewhere, as the next description after ``before`` in one session (RFC 3264 8).

    Its origin is that of ``before``, with the next version unless it says the same; all else stays to the letter.  A
    text without an origin comes back as it is.
    """
    old, new = _ORIGIN.search(before), _ORIGIN.search(sdp)
    if old is None or new is None:
        return sdp
    origin = old[0]
    same = sdp[:new.start()] + origin + sdp[new.end():]
    if same == before:
        return same
    version = str(int(old['version']) + 1).encode()
    origin = origin[:old.start('version') - old.start()] + version + origin[old.end('version') - old.start():]
    return sdp[:new.start()] + origin + sdp[new.end():]


@lru_cache(maxsize=256)
def holds(sdp: bytes) -> bool:
    """True when whoever wrote ``sdp`` wants to receive nothing.  A text that can't be read holds nobody."""
    try:
        return is_on_hold(parse_sdp(sdp))
    except ParseError:
        return False

