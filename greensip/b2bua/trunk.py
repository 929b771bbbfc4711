"""Trunks at which the B2BUA registers: ``--register 'aor=sip:alice@example.com,user=alice,password=s3cret'``.

``greensip.ua.Account`` registers there, and keeps at it.  Calls that come from there have our Contact in their
Request-URI; the number that was dialled is that of To then.  A route whose host is that of the address-of-record, of
the registrar or of the proxy is called in the trunk's name: it needs no ``auth``, and its calls go the way and have
the identity that the registration gave them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from greensip.errors import GreensipError, ParseError, SetupError, UsageError
from greensip.message import SipUri, parse_uri

if TYPE_CHECKING:
    from greensip.b2bua.routes import Route
    from greensip.ua import Account, IncomingLeg, UserAgent

__all__ = ['Trunk', 'Trunks', 'parse_trunk']

log = logging.getLogger('greensip.b2bua')

NAMES = ('aor', 'user', 'password', 'registrar', 'proxy', 'expires')


class Trunk(NamedTuple):
    """One ``--register``; ``text`` is as it was written."""

    text: str
    aor: SipUri
    user: str | None = None
    password: str | None = None
    registrar: str | None = None
    proxy: str | None = None
    expires: int = 3600

    @property
    def hosts(self) -> set[str]:
        """Whose routes are this trunk's."""
        found = {self.aor.host.lower()}
        for text in (self.registrar, self.proxy):
            uri = parse_uri(text) if text else None
            if isinstance(uri, SipUri):
                found.add(uri.host.lower())
        return {host.strip('[]') for host in found}


def parse_trunk(text: str) -> Trunk:
    """Read ``aor=URI,user=NAME,password=TEXT,registrar=URI,proxy=URI,expires=SECONDS``: all but ``aor`` may be missing,
    and a comma in a value is written %2C.  Raises ValueError, ParseError."""
    values: dict[str, str] = {}
    for part in text.split(','):
        name, equals, value = part.strip().partition('=')
        if name not in NAMES or not equals or name in values:
            raise ValueError(f'{part.strip()!r} is none of {"=, ".join(NAMES)}=, each once')
        values[name] = value.strip() if name in ('aor', 'registrar', 'proxy') else unquote(value)
        if any(character < ' ' for character in values[name]):
            raise ValueError(f'a control character in {name}')
    if 'aor' not in values:
        raise ValueError('an address-of-record is needed: aor=sip:alice@example.com')
    uris = {name: parse_uri(values[name]) for name in ('aor', 'registrar', 'proxy') if name in values}
    for name, uri in uris.items():
        if not isinstance(uri, SipUri):
            raise ValueError(f'{name} is no SIP address')
    aor = uris['aor']
    assert isinstance(aor, SipUri)
    if not aor.user:
        raise ValueError('the address-of-record has no user: aor=sip:alice@example.com')
    if 'user' in values and 'password' not in values:
        raise ValueError('a user without a password')
    expires = values.get('expires', '3600')
    if not (expires.isascii() and expires.isdigit() and 0 < int(expires) < 2**32):
        raise ValueError(f'expires={expires} is no number of seconds')
    return Trunk(text, aor, values.get('user'), values.get('password'), values.get('registrar'), values.get('proxy'),
                 int(expires))


class Trunks:
    """The accounts of the trunks, and the routes that lead there."""

    def __init__(self, ua: UserAgent, trunks: Sequence[Trunk], routes: Sequence[Route]) -> None:
        self.ua = ua
        self.accounts: list[Account] = []
        self._by_route: dict[Route, Account] = {}
        for trunk in trunks:
            try:
                account = ua.account(trunk.aor, trunk.password, username=trunk.user, registrar=trunk.registrar,
                                     expires=trunk.expires, route=f'<{loose(trunk.proxy)}>' if trunk.proxy else ())
            except (UsageError, ParseError) as error:
                raise SetupError(f'--register {trunk.aor}: {error}') from None
            self.accounts.append(account)
            for route in routes:
                if route.host.lower() in trunk.hosts:
                    self._by_route.setdefault(route, account)

    def start(self) -> None:
        """Register, and keep registered.  Does not block."""
        for account in self.accounts:
            account.start()
            self.ua.workers.start(self._watch, account)

    def _watch(self, account: Account) -> None:
        """Tell the log how it goes."""
        aor = account.aor.uri
        while True:
            try:
                event = account.wait_for('registered', 'lost', 'failed')
            except GreensipError:
                return
            if event.label == 'registered':
                log.info('= registered %s for %d s', aor, account.expires)
            else:
                log.warning('! %s is not registered: %s', aor, event.error)

    def close(self) -> None:
        """Un-register.  Does not block."""
        for account in self.accounts:
            account.close()

    def account_of(self, route: Route) -> Account | None:
        """The account in whose name a route is called; None for none."""
        return self._by_route.get(route)

    def dialled(self, caller: IncomingLeg) -> str | None:
        """The number that a call from a trunk is for; None if it is from none, or if its Request-URI tells."""
        account, request = caller.account, caller.invite
        if account is None or request is None or request.uri.user != account.contact_user:
            return None
        to: Any = caller.to.uri
        return to.user or None


def loose(proxy: str) -> str:
    """A proxy's URI as a Route has it."""
    return proxy if ';lr' in proxy.lower() else f'{proxy};lr'
