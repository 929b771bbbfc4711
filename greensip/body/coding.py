"""Bodies that were packed: Content-Encoding (RFC 3261 20.12), as linphone sends its reports and documents; and the
character sets that texts and documents may be written in."""

from __future__ import annotations

import zlib
from encodings import normalize_encoding
from encodings.aliases import aliases

from greensip.errors import ParseError
from greensip.message import Message

__all__ = ['CODINGS', 'charset_of', 'content_of', 'unpack']

#: what we can unpack, as Accept-Encoding has it
CODINGS = 'gzip, deflate, identity'

#: how zlib calls them: the head of gzip, that of zlib (RFC 9110 8.4.1.2), and none, as some have it
_WINDOWS = {'gzip': (31,), 'x-gzip': (31,), 'deflate': (15, -15)}
_LIMIT = 262144
_CHARSETS = frozenset({*aliases, *aliases.values(), 'cp720', 'cp737', 'cp874', 'koi8_u'})
#: a name that is longer names nothing
_LONGEST = 40


def unpack(coding: str, data: bytes, limit: int = _LIMIT) -> bytes:
    """``data`` without its coding: ``gzip`` or ``deflate``.

    ParseError for another coding (status 415), for what is not packed like that, and for more than ``limit`` octets
    (413): a few octets may stand for a great many.
    """
    windows = _WINDOWS.get(coding)
    if windows is None:
        raise ParseError('a content coding that nobody knows', coding, status=415)
    error = 'it has no end'
    for window in windows:
        machine = zlib.decompressobj(window)
        try:
            content = machine.decompress(data, limit)
        except zlib.error as problem:
            error = str(problem)
            continue
        if machine.eof:
            return content
        if machine.unconsumed_tail:
            raise ParseError(f'a body of more than {limit} octets', status=413)
    raise ParseError(f'a body that cannot be unpacked: {error}')


def content_of(message: Message, limit: int = _LIMIT) -> bytes:
    """The body of ``message`` as it was before it was packed.  Raises as ``unpack``."""
    text = message.get('Content-Encoding') or message.get('e')
    coding = text.strip().lower() if text is not None else ''
    return message.body if coding in ('', 'identity') else unpack(coding, message.body, limit)


def charset_of(name: str) -> str | None:
    """What Python calls the character set that a peer names; None for one that we do not know.

    A name from the network is not for Python to look up: it remembers for ever that there is no such thing, and it has
    codecs that are no character sets, such as punycode, whose time grows with the square of the text.
    """
    if len(name) > _LONGEST:
        return None
    known = normalize_encoding(name).lower()
    return aliases.get(known, known) if known in _CHARSETS else None
