"""Which RTP payload types may pass: ``-F 0,8,[telephone-event/8000]``.

All that comes to ``FilteringAgent`` is filtered before anybody sees it, so that nothing else has to think of it: the
caller's offer, the callee's answer, early media, re-INVITEs, late answers.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from greensip.dialog.event import INCOMING, REQUEST, Event
from greensip.errors import NegotiationFailed, ParseError
from greensip.message import Message
from greensip.sdp import Line, Media, parse_sdp
from greensip.ua import UserAgent

__all__ = ['FilteringAgent', 'filter_payloads']

#: why a caller gets a 488
WARNING = ('Warning', '305 greensip "no payload type that may pass"')


class FilteringAgent(UserAgent):
    """A user agent whose peers' session descriptions have only payload types that are ``allowed``.

    An offer with a stream that has nothing left is answered 488; in an answer such a stream is rejected (port 0), as
    its offer cannot be taken back.
    """

    def __init__(self, *listen: Any, allowed: Collection[int | str], **options: Any) -> None:
        self.allowed = allowed
        super().__init__(*listen, **options)

    def _on_event(self, event: Event) -> None:
        message = event.message
        if message is not None and message.body and (event.kind != REQUEST or event.subject is not None):
            is_offer = event.kind == INCOMING or (event.kind == REQUEST and event.label != 'ACK')
            try:
                self._filter(message, is_offer)
            except NegotiationFailed:
                if event.kind == INCOMING:
                    event.subject.respond(488, event.time, headers=(WARNING,))
                else:
                    self.core.respond(event.exchange, 488, event.time, headers=(WARNING,))
                return
        super()._on_event(event)

    def _filter(self, message: Message, is_offer: bool) -> None:
        kind = message.content_type
        if kind is None or kind.essence != 'application/sdp':
            if kind is not None and kind.type == 'multipart' and is_offer:
                raise NegotiationFailed('several bodies cannot be filtered')
            return
        message.body = filter_payloads(message.body, self.allowed, is_offer=is_offer)


def filter_payloads(body: bytes, allowed: Collection[int | str], *, is_offer: bool = True) -> bytes:
    """``body``, a session description, without the payload types that are not ``allowed``: numbers, or encoding names
    in upper case, with or without the clock rate.  It is the same object when nothing had to go.

    Raises NegotiationFailed (488) when a stream of an offer has nothing left, or when an offer cannot be read.
    """
    try:
        description = parse_sdp(body)
    except ParseError as error:
        if not is_offer:
            return body
        raise NegotiationFailed(f'the session description cannot be filtered: {error}') from None
    filtered = [_filter(media, allowed, is_offer) if media.is_rtp and media.is_active else media
                for media in description.media]
    if all(before is after for before, after in zip(description.media, filtered)):
        return body
    return description.replace(media=filtered).to_bytes()


def _filter(media: Media, allowed: Collection[int | str], is_offer: bool) -> Media:
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
        if is_offer:
            raise NegotiationFailed('none of the offered payload types may pass')
        return media.replace(port=0)
    gone = set(media.formats) - passing
    return media.replace(formats=formats, lines=[line for line in media.lines if not _describes(line, gone)])


def _describes(line: Line, formats: Collection[str]) -> bool:
    """Whether the line is an attribute of one of ``formats``."""
    if line.type != 'a':
        return False
    name, _, value = line.text.partition(':')
    return name.lower() in ('rtpmap', 'fmtp', 'rtcp-fb') and value.strip().partition(' ')[0] in formats
