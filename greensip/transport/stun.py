"""STUN as far as a SIP port needs it (RFC 5626 8): Binding requests and what answers them, RFC 8489 and RFC 5389.

Pure: octets in, octets out.  The first octet of a Binding message is 0 or 1, which no SIP message begins with, so
that both share a port.  There is no authentication: who asks learns from where it was heard, and nobody is told more
than he has said himself, as no answer is much longer than its question.
"""

from __future__ import annotations

import socket
import struct

from greensip.errors import ParseError
from greensip.transaction.flow import Address

__all__ = ['COOKIE', 'BindingAnswer', 'answer_binding', 'binding_request', 'looks_like_stun', 'read_answer']

#: RFC 8489 5: what tells STUN from anything else, also from the STUN of RFC 3489
COOKIE = 0x2112A442

_HEAD = struct.Struct('!HHI12s')
_REQUEST, _INDICATION, _SUCCESS, _ERROR = 0x0001, 0x0011, 0x0101, 0x0111

# Attributes: RFC 8489 18.3
_MAPPED_ADDRESS, _ERROR_CODE, _UNKNOWN_ATTRIBUTES, _XOR_MAPPED_ADDRESS = 0x0001, 0x0009, 0x000A, 0x0020
#: those that must be understood (below 0x8000) and are, be it by having nothing to do with them: user name, integrity,
#: realm, nonce and their successors, which a server that asks for no credentials ignores
_UNDERSTOOD = frozenset((0x0001, 0x0006, 0x0008, 0x0009, 0x000A, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E, 0x0020))
_OPTIONAL = 0x8000

_FAMILIES = {1: socket.AF_INET, 2: socket.AF_INET6}


class BindingAnswer:
    """The answer to a Binding request: ``mapped`` is the address it came from, None with an ``error`` code instead."""

    __slots__ = ('error', 'mapped', 'transaction')

    def __init__(self, transaction: bytes, mapped: Address | None, error: int = 0) -> None:
        self.transaction = transaction
        self.mapped = mapped
        self.error = error


def looks_like_stun(data: bytes) -> bool:
    """Whether ``data`` has the length and the cookie of a STUN message (RFC 8489 5)."""
    if len(data) < _HEAD.size or data[0] & 0xC0:
        return False
    length: int
    cookie: int
    _, length, cookie, _ = _HEAD.unpack_from(data)
    return cookie == COOKIE and length % 4 == 0 and _HEAD.size + length == len(data)


def binding_request(transaction: bytes) -> bytes:
    """A Binding request; ``transaction`` is its 12 random octets."""
    return _HEAD.pack(_REQUEST, 0, COOKIE, transaction)


def answer_binding(data: bytes, source: Address) -> bytes | None:
    """What a Binding request that came from ``source`` is answered with; None for anything else.

    RFC 8489 6.3: a success with the address, or a 420 that names the attributes that would have to be understood.
    """
    if not looks_like_stun(data):
        return None
    kind, _, _, transaction = _HEAD.unpack_from(data)
    if kind != _REQUEST:
        return None
    try:
        unknown = [number for number in _attributes(data) if number < _OPTIONAL and number not in _UNDERSTOOD]
    except ParseError:
        return None
    if unknown:
        reason = _attribute(_ERROR_CODE, struct.pack('!HBB', 0, 4, 20) + b'Unknown Attribute')
        # Two octets for the four that each of them took at least.
        body = reason + _attribute(_UNKNOWN_ATTRIBUTES, struct.pack(f'!{len(unknown)}H', *unknown))
        return _HEAD.pack(_ERROR, len(body), COOKIE, transaction) + body
    body = _attribute(_XOR_MAPPED_ADDRESS, _mask(source, transaction))
    return _HEAD.pack(_SUCCESS, len(body), COOKIE, transaction) + body


def read_answer(data: bytes) -> BindingAnswer | None:
    """A Binding response, success or error; None for anything else, also for one that makes no sense."""
    if not looks_like_stun(data):
        return None
    kind, _, _, transaction = _HEAD.unpack_from(data)
    if kind not in (_SUCCESS, _ERROR):
        return None
    try:
        found = _attributes(data)
        if kind == _ERROR:
            value = found.get(_ERROR_CODE, b'')
            return BindingAnswer(transaction, None, (value[2] & 7) * 100 + value[3] if len(value) >= 4 else 500)
        value = found.get(_XOR_MAPPED_ADDRESS, b'')
        if value:
            return BindingAnswer(transaction, _unmask(value, transaction))
        # Servers from before RFC 5389 know this one only.
        return BindingAnswer(transaction, _unmask(found.get(_MAPPED_ADDRESS, b''), None))
    except ParseError:
        return None


def _attributes(data: bytes) -> dict[int, bytes]:
    """Number and value of each, the first where one is repeated (14); raises ParseError."""
    found: dict[int, bytes] = {}
    at = _HEAD.size
    while at < len(data):
        # The length of all is a multiple of four, so there are four more octets.
        number, length = struct.unpack_from('!HH', data, at)
        at += 4
        if at + length > len(data):
            raise ParseError('a STUN attribute that does not end', '')
        found.setdefault(number, data[at:at + length])
        at += length + -length % 4
    return found


def _attribute(number: int, value: bytes) -> bytes:
    return struct.pack('!HH', number, len(value)) + value + bytes(-len(value) % 4)


def _mask(address: Address, transaction: bytes) -> bytes:
    """14.2: the address in exclusive-or with the cookie and the transaction, so that no NAT rewrites it."""
    host, port = address
    family = 2 if ':' in host else 1
    packed = socket.inet_pton(_FAMILIES[family], host)
    return struct.pack('!BBH', 0, family, port ^ COOKIE >> 16) + _exclusive_or(packed, transaction)


def _unmask(value: bytes, transaction: bytes | None) -> Address:
    """The address of an attribute; in the clear if ``transaction`` is None."""
    if len(value) not in (8, 20) or (value[1], len(value)) not in ((1, 8), (2, 20)):
        raise ParseError('a STUN address of no known family', '')
    _, family, port = struct.unpack_from('!BBH', value)
    packed = value[4:]
    if transaction is not None:
        port ^= COOKIE >> 16
        packed = _exclusive_or(packed, transaction)
    return socket.inet_ntop(_FAMILIES[family], packed), port


def _exclusive_or(packed: bytes, transaction: bytes) -> bytes:
    mask = struct.pack('!I', COOKIE) + transaction
    return bytes(octet ^ other for octet, other in zip(packed, mask))
