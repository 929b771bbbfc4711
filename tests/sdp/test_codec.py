"""Codecs: names, payload types, and which parameters make two of them different."""

from __future__ import annotations

import pytest

from greensip.errors import UsageError
from greensip.sdp import Codec, number_codecs, parse_codec, static_codec


@pytest.mark.parametrize(('spec', 'codec'), [
    ('PCMU', Codec('PCMU', 8000)),
    ('pcma', Codec('PCMA', 8000)),
    ('G722', Codec('G722', 8000)),
    ('opus', Codec('opus', 48000, 2)),
    ('L16', Codec('L16', 44100, 2)),
    ('L16/44100', Codec('L16', 44100)),
    ('DVI4', Codec('DVI4', 8000)),
    ('telephone-event', Codec('telephone-event', 8000, 1, '0-15')),
    ('telephone-event/48000', Codec('telephone-event', 48000, 1, '0-15')),
    ('X-own/16000/2', Codec('X-own', 16000, 2)),
    (Codec('G729', 8000, 1, 'annexb=no'), Codec('G729', 8000, 1, 'annexb=no')),
])
def test_specs(spec: str | Codec, codec: Codec) -> None:
    assert parse_codec(spec) == codec


@pytest.mark.parametrize('spec', ['', 'X-own', 'PCMU/', 'PCMU/x', '/8000', 'PCMU/8000/1/1', 'PCMU/-8000'])
def test_specs_that_say_too_little(spec: str) -> None:
    with pytest.raises(UsageError):
        parse_codec(spec)


@pytest.mark.parametrize(('specs', 'payloads'), [
    (['PCMU', 'PCMA', 'telephone-event'], [0, 8, 101]),
    (['telephone-event', 'opus', 'iLBC'], [101, 96, 97]),
    (['opus', 'telephone-event/48000', 'telephone-event'], [96, 101, 97]),
    ([Codec('PCMU', 8000, payload=96), 'iLBC', Codec('X', 8000, payload=101), 'telephone-event'], [96, 97, 101, 98]),
    (['L16', 'L16/44100', 'G722', 'GSM'], [10, 11, 9, 3]),
    (['PCMU', 'PCMU'], [0, 96]),
])
def test_payload_types(specs: list[str | Codec], payloads: list[int]) -> None:
    assert [codec.payload for codec in number_codecs(specs)] == payloads


def test_there_are_31_dynamic_payload_types() -> None:
    codecs = number_codecs([f'X{number}/8000' for number in range(31)])
    assert len({codec.payload for codec in codecs}) == 31 and {codec.payload for codec in codecs} <= set(range(96, 128))
    with pytest.raises(UsageError):
        number_codecs([f'X{number}/8000' for number in range(32)])


def test_static_payload_types() -> None:
    assert static_codec(18) == Codec('G729', 8000, 1, '', 18)
    assert static_codec(96) is None


@pytest.mark.parametrize(('one', 'other', 'same', 'matches'), [
    (Codec('pcmu', payload=0), Codec('PCMU', payload=96), True, True),
    (Codec('PCMU'), Codec('PCMA'), False, False),
    (Codec('opus', 48000, 2), Codec('opus', 48000, 1), False, False),
    (Codec('AMR', fmtp='octet-align=1'), Codec('AMR'), True, False),
    (Codec('AMR', fmtp='mode-set=7; octet-align=0'), Codec('AMR'), True, True),
    (Codec('H264', 90000, fmtp='profile-level-id=42e01f;packetization-mode=1'), Codec('H264', 90000), True, False),
    (Codec('H264', 90000, fmtp='Packetization-Mode=1'), Codec('h264', 90000, fmtp='packetization-mode=1'), True, True),
    (Codec('G729', fmtp='annexb=no'), Codec('G729'), True, True),
])
def test_same_encoding_and_match(one: Codec, other: Codec, same: bool, matches: bool) -> None:
    assert (one.same_encoding(other), other.same_encoding(one)) == (same, same)
    assert (one.matches(other), other.matches(one)) == (matches, matches)
