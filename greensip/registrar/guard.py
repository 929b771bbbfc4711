"""Who it is: digest authentication for a registrar and its calls (RFC 3261 22, RFC 7616, RFC 8760)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from greensip.message import Request
from greensip.message.digest import DigestServer

from .users import Users

__all__ = ['Guard', 'Reply']

#: nonces in use that are remembered, about 150 octets each
NONCES = 100_000
#: seconds for which a nonce is good
NONCE_LIFE = 300.0


class Reply(NamedTuple):
    """How a request is answered."""

    code: int
    reason: str = ''
    headers: Sequence[tuple[str, str]] = ()


class Guard:
    """Asks for credentials and checks them.  A challenge costs no memory, however many are asked for."""

    __slots__ = ('digest', 'users')

    def __init__(self, users: Users, realm: str, secret: bytes, algorithms: Sequence[str] = ('MD5', 'SHA-256')) -> None:
        self.users = users
        # auth-int would tie the proof to the body, which gateways and NATs like to change.
        self.digest = DigestServer(realm, secret, algorithms, qop=('auth',), limit=NONCES, nonce_life=NONCE_LIFE)

    def identify(self, request: Request, now: float) -> str | Reply:
        """The user name that the request proves, or how it is to be refused: 401 with a challenge, 400."""
        digest = self.digest
        verdict = digest.check(request, self.users.hashes, now)
        if verdict.username is not None:
            return verdict.username
        if verdict.code != digest.code:
            return Reply(verdict.code)
        return Reply(verdict.code, '', [(digest.challenge_field, text)
                                        for text in digest.challenge(now, stale=verdict.stale)])
