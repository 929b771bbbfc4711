"""Who it is: digest authentication for a registrar and its calls (RFC 3261 22, RFC 7616, RFC 8760)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from greensip.errors import ParseError
from greensip.message import Request, SipUri, Uri, parse_uri
from greensip.message.digest import DigestServer

from .users import Users

__all__ = ['Guard', 'Reply']

log = logging.getLogger('greensip.registrar')

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
    """Asks for credentials and checks them.  A challenge costs no memory, however many are asked for.

    ``is_ours(uri)``: whether a URI means this server: that is good enough in credentials, as those clients write it who
    have the server for their outbound proxy (SIPp does); else it has to have the user and host of the Request-URI.
    """

    __slots__ = ('_is_ours', 'digest', 'users')

    def __init__(self, users: Users, realm: str, secret: bytes, algorithms: Sequence[str] = ('MD5',),
                 is_ours: Callable[[Uri], bool] | None = None) -> None:
        self.users = users
        self._is_ours = is_ours
        # auth-int would tie the proof to the body, which gateways and NATs like to change.
        self.digest = DigestServer(realm, secret, algorithms, qop=('auth',), limit=NONCES, nonce_life=NONCE_LIFE)

    def identify(self, request: Request, now: float) -> str | Reply:
        """The user name that the request proves, or how it is to be refused: 401 with a challenge, 400."""
        digest = self.digest
        verdict = digest.check(request, self.users.hashes, now, uri_fits=self._fits)
        if verdict.username is not None:
            return verdict.username
        if request.has(digest.credentials_field) and not verdict.stale:
            via = request.via
            log.info('! %s for %s from %s: %s', request.method, request.to.uri_text,
                     via.params.get('received') or via.host, verdict.reason)
        if verdict.code != digest.code:
            return Reply(verdict.code)
        return Reply(verdict.code, '', [(digest.challenge_field, text)
                                        for text in digest.challenge(now, stale=verdict.stale)])

    def _fits(self, text: str, request: Request) -> bool:
        """RFC 8760 2.6 (6): proxies may have changed the Request-URI; user and host are what has to stay."""
        if text == request.uri_text:
            return True
        try:
            theirs, ours = parse_uri(text), request.uri
        except ParseError:
            return False
        if not isinstance(theirs, SipUri) or not isinstance(ours, SipUri):
            return theirs == ours
        if theirs.user is None and self._is_ours is not None and self._is_ours(theirs):
            return True
        return theirs.user == ours.user and theirs.host.lower() == ours.host.lower()
