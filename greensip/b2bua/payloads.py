"""Which RTP payload types may pass: ``-F 0,8,[telephone-event/8000]``."""

from __future__ import annotations

from collections.abc import Collection

from greensip.errors import NegotiationFailed, ParseError
from greensip.sdp import Line, Media, parse_sdp

__all__ = ['filter_payloads']


def filter_payloads(body: bytes, allowed: Collection[int | str]) -> bytes:
    """``body``, a session description, without the payload types that are not ``allowed``: numbers, or encoding names
    in upper case, with or without the clock rate.  It is the same object when nothing had to go.

    Raises NegotiationFailed (488) when a stream has nothing left, or when the text cannot be read.
    """
    try:
        description = parse_sdp(body)
    except ParseError as error:
        raise NegotiationFailed(f'the session description cannot be filtered: {error}') from None
    filtered = [_filter(media, allowed) if media.is_rtp and media.is_active else media for media in description.media]
    if all(before is after for before, after in zip(description.media, filtered)):
        return body
    return description.replace(media=filtered).to_bytes()


def _filter(media: Media, allowed: Collection[int | str]) -> Media:
    passing = {name for name in media.formats if name.isdigit() and int(name) in allowed}
    for value in media.attribute_values('rtpmap'):
        payload, _, encoding = value.strip().partition(' ')
        encoding = encoding.strip().upper()
        if encoding in allowed or encoding.partition('/')[0] in allowed:
            passing.add(payload)
    formats = [name for name in media.formats if name in passing]
    if len(formats) == len(media.formats):
        return media
    if not formats:
        raise NegotiationFailed('none of the offered payload types may pass')
    gone = set(media.formats) - passing
    return media.replace(formats=formats, lines=[line for line in media.lines if not _describes(line, gone)])


def _describes(line: Line, formats: Collection[str]) -> bool:
    """Whether the line is an attribute of one of ``formats``."""
    if line.type != 'a':
        return False
    name, _, value = line.text.partition(':')
    return name.lower() in ('rtpmap', 'fmtp', 'rtcp-fb') and value.strip().partition(' ')[0] in formats
