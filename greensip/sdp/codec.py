"""RTP payload formats as SDP names them: rtpmap and fmtp (RFC 8866 6.6, 6.15), static payload types (RFC 3551 6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from greensip.errors import UsageError

__all__ = ['DEFAULT_CODECS', 'TELEPHONE_EVENT', 'Codec', 'number_codecs', 'parse_codec', 'static_codec']

TELEPHONE_EVENT: Final = 'telephone-event'


class Codec(NamedTuple):
    """An encoding with its parameters; ``payload`` is its payload type in one stream, None if none was given yet."""

    name: str
    clock: int = 8000
    channels: int = 1
    fmtp: str = ''
    payload: int | None = None

    @property
    def rtpmap(self) -> str:
        """The value of its ``a=rtpmap``."""
        text = f'{self.payload} {self.name}/{self.clock}'
        return text if self.channels == 1 else f'{text}/{self.channels}'

    @property
    def is_telephone_event(self) -> bool:
        """Carries digits, not sound (RFC 4733): never the only codec of a conversation."""
        return self.name.lower() == TELEPHONE_EVENT

    @property
    def parameters(self) -> dict[str, str]:
        """The fmtp as a dict with lower-case names; a part without ``=`` is a name with an empty value."""
        found: dict[str, str] = {}
        for part in self.fmtp.split(';'):
            name, _, value = part.partition('=')
            if name.strip():
                found.setdefault(name.strip().lower(), value.strip())
        return found

    def same_encoding(self, other: Codec) -> bool:
        """The same name (they are case-insensitive, RFC 4855 3), clock rate and channels."""
        return (self.clock == other.clock and self.channels == other.channels
                and self.name.lower() == other.name.lower())

    def matches(self, other: Codec) -> bool:
        """The same encoding, and the parameters that make it another bit stream agree (RFC 3264 6.1)."""
        if not self.same_encoding(other):
            return False
        names = _CONFIGURATION.get(self.name.lower())
        if names is None:
            return True
        mine, theirs = self.parameters, other.parameters
        return all((mine.get(name) or default) == (theirs.get(name) or default) for name, default in names)


#: fmtp parameters that configure the encoding itself, with their defaults: they must be equal on both sides.
_CONFIGURATION: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    'amr': (('octet-align', '0'), ('crc', '0'), ('robust-sorting', '0'), ('interleaving', '')),         # RFC 4867 8.3
    'amr-wb': (('octet-align', '0'), ('crc', '0'), ('robust-sorting', '0'), ('interleaving', '')),
    'g7221': (('bitrate', ''),),                                                                        # RFC 5577 4
    'h264': (('packetization-mode', '0'),),                                                             # RFC 6184 8.2.2
}

#: RFC 3551 tables 4 and 5, with 1016 and G721 of RFC 1890, which old descriptions still name.
_STATIC: Final = {
    0: Codec('PCMU', 8000), 1: Codec('1016', 8000), 2: Codec('G721', 8000), 3: Codec('GSM', 8000),
    4: Codec('G723', 8000), 5: Codec('DVI4', 8000), 6: Codec('DVI4', 16000), 7: Codec('LPC', 8000),
    8: Codec('PCMA', 8000),
    9: Codec('G722', 8000),             # it samples at 16000; RFC 3551 4.5.2 keeps the number of an old mistake
    10: Codec('L16', 44100, 2), 11: Codec('L16', 44100), 12: Codec('QCELP', 8000), 13: Codec('CN', 8000),
    14: Codec('MPA', 90000), 15: Codec('G728', 8000), 16: Codec('DVI4', 11025), 17: Codec('DVI4', 22050),
    18: Codec('G729', 8000), 25: Codec('CelB', 90000), 26: Codec('JPEG', 90000), 28: Codec('nv', 90000),
    31: Codec('H261', 90000), 32: Codec('MPV', 90000), 33: Codec('MP2T', 90000), 34: Codec('H263', 90000),
}

#: What people mean by a bare name, beyond the static ones.
_NAMED: Final = {known.name.lower(): known for known in reversed(_STATIC.values())} | {
    'opus': Codec('opus', 48000, 2), 'ilbc': Codec('iLBC', 8000), 'amr': Codec('AMR', 8000),
    'amr-wb': Codec('AMR-WB', 16000), 'speex': Codec('speex', 8000), 'vp8': Codec('VP8', 90000),
    'vp9': Codec('VP9', 90000), 'av1': Codec('AV1', 90000), 'h264': Codec('H264', 90000),
    'h265': Codec('H265', 90000), 't140': Codec('t140', 1000), 'red': Codec('red', 8000),
    TELEPHONE_EVENT: Codec(TELEPHONE_EVENT, 8000, 1, '0-15'),       # the digits, RFC 4733 2.4.1
}

DEFAULT_CODECS: Final[tuple[str | Codec, ...]] = ('PCMU', 'PCMA', TELEPHONE_EVENT)

_FIRST_DYNAMIC: Final = 96
_LAST_DYNAMIC: Final = 127
_USUAL_TELEPHONE_EVENT: Final = 101


def static_codec(payload: int) -> Codec | None:
    """What a payload type means without an rtpmap (RFC 3551 6)."""
    known = _STATIC.get(payload)
    return None if known is None else known._replace(payload=payload)


def parse_codec(spec: str | Codec) -> Codec:
    """A codec from ``'PCMU'``, ``'telephone-event/48000'``, ``'L16/44100/2'``.  UsageError for a name that says
    too little."""
    if isinstance(spec, Codec):
        return spec
    name, *rest = spec.split('/')
    known = _NAMED.get(name.lower())
    if not rest:
        if known is None:
            raise UsageError(f'unknown codec {spec!r}: write name/clock or name/clock/channels')
        return known
    if len(rest) > 2 or not name or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in rest):
        raise UsageError(f'a codec is name, name/clock or name/clock/channels, not {spec!r}')
    numbers = [int(part) for part in rest]
    clock, channels = numbers[0], numbers[1] if len(numbers) > 1 else 1
    # Digits are the same at any clock rate; other parameters depend on it.
    fmtp = known.fmtp if known is not None and known.is_telephone_event else ''
    return Codec(known.name if known is not None else name, clock, channels, fmtp)


def number_codecs(specs: Iterable[str | Codec], taken: Iterable[int] = ()) -> list[Codec]:
    """The codecs with a payload type each: given, static, or the next free dynamic one."""
    codecs = [parse_codec(spec) for spec in specs]
    used = set(taken)
    used.update(known.payload for known in codecs if known.payload is not None)
    numbered = []
    for one in codecs:
        if one.payload is None:
            one = one._replace(payload=_free_payload(one, used))
            used.add(one.payload or 0)
        numbered.append(one)
    return numbered


def _free_payload(one: Codec, used: set[int]) -> int:
    for payload, known in _STATIC.items():
        if known.same_encoding(one) and payload not in used:
            return payload
    if one.is_telephone_event and _USUAL_TELEPHONE_EVENT not in used:
        return _USUAL_TELEPHONE_EVENT
    for payload in range(_FIRST_DYNAMIC, _LAST_DYNAMIC + 1):
        # Left free, so that events keep their usual number although they are listed last.
        if payload not in used and payload != _USUAL_TELEPHONE_EVENT:
            return payload
    raise UsageError('more than 31 codecs with dynamic payload types in one stream')
