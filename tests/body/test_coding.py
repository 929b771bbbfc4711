"""Packed bodies: what is unpacked, and what is refused."""

from __future__ import annotations

import gzip
import zlib

import pytest

from greensip.body.coding import charset_of, content_of, unpack
from greensip.errors import ParseError
from greensip.message import Request

TEXT = b'<imdn/>' * 20
GZIPPED = gzip.compress(TEXT, mtime=0)
RAW = zlib.compress(TEXT)[2:-4]


@pytest.mark.parametrize(('coding', 'data'), [
    ('gzip', GZIPPED), ('x-gzip', GZIPPED), ('deflate', zlib.compress(TEXT)), ('deflate', RAW),
])
def test_unpacked(coding: str, data: bytes) -> None:
    assert unpack(coding, data) == TEXT == unpack(coding, data, len(TEXT))


@pytest.mark.parametrize(('coding', 'data', 'status'), [
    ('br', b'x', 415), ('gzip, deflate', b'x', 415), ('gzip', b'', 400), ('gzip', b'hello', 400),
    ('deflate', b'hello', 400),
    ('gzip', GZIPPED[:-9], 400), ('deflate', zlib.compress(TEXT)[:-9], 400),
    ('gzip', zlib.compress(TEXT), 400), ('deflate', zlib.compress(bytes(10_000_000)), 413),
    ('gzip', gzip.compress(bytes(10_000_000), mtime=0), 413),
])
def test_refused(coding: str, data: bytes, status: int) -> None:
    with pytest.raises(ParseError) as caught:
        unpack(coding, data)
    assert caught.value.status == status


@pytest.mark.parametrize(('name', 'coding', 'data'), [
    ('Subject', 'x', TEXT), ('Content-Encoding', 'identity', TEXT),
    ('Content-Encoding', 'Deflate', zlib.compress(TEXT)),
    ('e', 'gzip', GZIPPED),
])
def test_of_a_message(name: str, coding: str, data: bytes) -> None:
    assert content_of(Request('MESSAGE', 'sip:a@h', [(name, coding)], data)) == TEXT


@pytest.mark.parametrize(('name', 'codec'), [
    ('UTF-8', 'utf_8'), ('us-ascii', 'ascii'), ('iso-8859-15', 'iso8859_15'), ('Windows-1252', 'cp1252'),
    ('koi8-u', 'koi8_u'), ('Shift_JIS', 'shift_jis'), ('UTF-16', 'utf_16'),
    # no character sets, though Python has codecs of these names: that of punycode takes time by the square
    ('punycode', None), ('idna', None), ('unicode_escape', None), ('undefined', None),
    ('klingon', None), ('', None), ('.', None), ('utf-8' + 'x' * 30_000, None),
])
def test_charsets(name: str, codec: str | None) -> None:
    assert charset_of(name) == codec
