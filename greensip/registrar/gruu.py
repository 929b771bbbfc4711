"""Globally routable user agent URIs (RFC 5627): how they are made, and read again.

A public GRUU is the address of record with the instance in its ``gr`` parameter; it needs no memory.

A temporary one must not tell whose it is, nor that two are of the same instance, and each refresh makes another one
that stays valid beside the earlier ones.  To remember them all would let clients fill our memory, so each carries what
it stands for: the number of its instance, encrypted, with a code that proves it to be ours.  An instance gets another
number when its GRUUs are to become invalid (5.1); so they all do at once.

    user = "tgruu." base32(nonce, number XOR HMAC(secret, "mask" nonce), HMAC(secret, "mac" nonce masked))
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from greensip.message import SipUri

__all__ = ['Gruus', 'public_gruu']

_PREFIX = 'tgruu.'
#: octets of the nonce, of a number, of the code
_NONCE, _NUMBER, _MAC = 12, 8, 13


def public_gruu(scheme: str, user: str, host: str, instance: str) -> str:
    """The public GRUU of an instance of an address of record, as text."""
    return str(SipUri(user, host, params=[('gr', instance)], scheme=scheme))


class Gruus:
    """Makes temporary GRUUs with ``secret`` (octets that nobody else knows), and reads them."""

    __slots__ = ('_secret',)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _hmac(self, purpose: bytes, data: bytes, size: int) -> bytes:
        return hmac.digest(self._secret, purpose + data, hashlib.sha256)[:size]

    def make(self, scheme: str, host: str, number: str, nonce: int) -> str:
        """One more temporary GRUU for the instance of ``number`` (16 hexadecimal digits); ``nonce`` is random."""
        salt = (nonce & ((1 << 8 * _NONCE) - 1)).to_bytes(_NONCE, 'big')
        masked = self._mask(salt, bytes.fromhex(number))
        token = salt + masked + self._hmac(b'mac', salt + masked, _MAC)
        user = _PREFIX + base64.b32encode(token).decode().rstrip('=').lower()
        return str(SipUri(user, host, params=[('gr', None)], scheme=scheme))

    def number(self, user: str) -> str | None:
        """The number of the instance whose temporary GRUU has this user part; None if it is none of ours."""
        if not user.lower().startswith(_PREFIX):
            return None
        text = user[len(_PREFIX):].upper()
        try:
            token = base64.b32decode(text + '=' * (-len(text) % 8))
        except (binascii.Error, ValueError):
            return None
        if len(token) != _NONCE + _NUMBER + _MAC:
            return None
        salt, masked, mac = token[:_NONCE], token[_NONCE:_NONCE + _NUMBER], token[_NONCE + _NUMBER:]
        if not hmac.compare_digest(mac, self._hmac(b'mac', salt + masked, _MAC)):
            return None
        return self._mask(salt, masked).hex()

    def _mask(self, salt: bytes, data: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(data, self._hmac(b'mask', salt, len(data))))
