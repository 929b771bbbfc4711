"""Routes: where a call is sent, and under what conditions.

A route is written as sippy's b2bua writes it::

    [[cld]@]host[:port][;name=value]...

Without ``cld@`` the number dialled by the caller is kept, ``@host`` removes it.  Values run to the next semicolon;
those of ``ash`` and ``cnam`` are URL-quoted.  What the parameters mean is told at the attributes of ``Route``.  A
negative time is no limit.  Everything is read once at start: placing a call parses nothing.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote

from greensip.errors import ParseError
from greensip.transaction.flow import hostport

__all__ = ['OWN_HEADERS', 'SOURCE_HOST', 'Route', 'parse_route', 'usable_routes']

#: a route to this host goes back to the address the INVITE came from
SOURCE_HOST: Final = 'sip-ua'

#: header fields, in lower case, that we write ourselves: neither added by a route nor passed from leg to leg
OWN_HEADERS: Final = frozenset((
    'via', 'v', 'from', 'f', 'to', 't', 'call-id', 'i', 'cseq', 'contact', 'm', 'max-forwards', 'content-length', 'l',
    'content-type', 'c', 'record-route', 'route', 'rseq', 'rack', 'session-expires', 'x', 'min-se', 'require',
    'supported', 'k', 'allow'))

#: what ``transport=`` may say
TRANSPORTS: Final = ('udp', 'tcp', 'tls', 'ws', 'wss')

_TOKEN: Final = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
_HOST: Final = re.compile(r'[A-Za-z0-9_.-]+')
#: a longer silence is ended by timer B of the INVITE transaction (32 s) anyhow
_LONGEST_NO_REPLY: Final = 32.0


class Route:
    """One destination of a call.  Never changed after ``parse_route`` has made it."""

    __slots__ = ('address', 'cld', 'cld_given', 'cli', 'cli_given', 'cnam', 'cnam_given', 'credit_time',
                 'credit_time_given', 'expires', 'forward_on_fail', 'group_timeout', 'headers', 'host', 'np_expires',
                 'nr_expires', 'op', 'params', 'pass_auth', 'password', 'port', 'rtpp', 'stop_codes', 'text',
                 'transport', 'user')

    def __init__(self, host: str, port: int | None = None, text: str = '') -> None:
        #: as it was written
        self.text = text
        #: IPv6 without brackets; port None when none was written
        self.host = host
        self.port = port
        #: both as a URI has them
        self.address = hostport(host, port)
        #: the number to dial, None for a URI without one; the caller's is kept unless ``cld_given``
        self.cld: str | None = None
        self.cld_given = False
        #: ``cli=``: the number shown as the caller's, empty removes it
        self.cli: str | None = None
        self.cli_given = False
        #: ``cnam=``: the name shown as the caller's, empty removes it
        self.cnam: str | None = None
        self.cnam_given = False
        #: ``credit-time=``: seconds the call may last; 0 skips the route
        self.credit_time: float | None = None
        self.credit_time_given = False
        #: ``expires=``: seconds until it must be answered; 0 skips the route
        self.expires: float | None = None
        #: ``np_expires=``: seconds until a 18x must come
        self.np_expires: float | None = None
        #: ``nr_expires=``: seconds until any response must come
        self.nr_expires: float | None = None
        #: ``hs_scodes=486,603``: statuses that end the hunt
        self.stop_codes: frozenset[int] = frozenset()
        #: ``forward_on_fail=1``: this attempt is left out of the call's record
        self.forward_on_fail = False
        #: ``auth=user:password``: answers the callee's challenges; ``auth=nopass`` just keeps the caller's credentials
        self.user: str | None = None
        self.password: str | None = None
        #: the caller's credentials go to the callee and the callee's challenge to the caller
        self.pass_auth = True
        #: ``ash=``: header fields added to the INVITE
        self.headers: tuple[tuple[str, str], ...] = ()
        #: ``rtpp=0``: no media relay on this route
        self.rtpp = True
        #: ``op=host[:port]``: the outbound proxy
        self.op: tuple[str, int | None] | None = None
        #: ``gt=timeout,skip``: seconds after which the next ``skip`` - 1 routes are passed over
        self.group_timeout: tuple[float, int] | None = None
        #: ``transport=tcp``: how the callee, or its outbound proxy, is reached; ``''`` is for the DNS to say, else UDP
        self.transport = ''
        #: every other parameter (``bill-to`` ...)
        self.params: dict[str, str] = {}

    def __repr__(self) -> str:
        return f'<Route {self.text}>'

    def time_limit(self, default: float | None = None, maximum: float | None = None) -> float | None:
        """Seconds the call may last: the route's own credit time, else ``default``, never more than ``maximum``."""
        limit = self.credit_time if self.credit_time_given else default
        if maximum is not None and (limit is None or limit > maximum):
            return maximum
        return limit

    def patience(self, code: int) -> float | None:
        """Seconds from the INVITE after which the route is given up when ``code`` (0: nothing) came last."""
        if self.expires is None and self.np_expires is None and self.nr_expires is None:
            return None
        limits = [self.expires]
        if code <= 100:
            limits.append(self.np_expires)
        if code == 0 and self.nr_expires is not None and self.nr_expires < _LONGEST_NO_REPLY:
            limits.append(self.nr_expires)
        return min((limit for limit in limits if limit is not None), default=None)


def parse_route(text: str) -> Route:
    """Read one route; ParseError says what is wrong with it."""
    target, *parameters = text.strip().split(';')
    cld, at, hostport = target.rpartition('@')
    host, port = _host_and_port(hostport, text)
    route = Route(host, port, text.strip())
    if at:
        route.cld_given = True
        route.cld = _clean(cld, text) or None
    for parameter in parameters:
        name, equals, value = parameter.partition('=')
        name = name.strip()
        if not name and not equals:
            continue
        reader = _READERS.get(name)
        if reader is None:
            route.params[name] = _clean(value, text)
            continue
        if not equals and name != 'forward_on_fail':
            raise ParseError(f'{name} needs a value', text)
        try:
            reader(route, value)
        except ParseError:
            raise
        except ValueError:
            raise ParseError(f'{name}={value} cannot be read', text) from None
    return route


def usable_routes(routes: Iterable[Route], default_credit_time: float | None = None) -> tuple[Route, ...]:
    """The routes that a call may take: one with no time to ring or to talk is left out."""
    return tuple(route for route in routes if route.expires != 0 and route.time_limit(default_credit_time) != 0)


def _host_and_port(text: str, route: str) -> tuple[str, int | None]:
    """``host[:port]`` or ``[ipv6][:port]``."""
    if text.startswith('['):
        host, bracket, rest = text[1:].partition(']')
        if not bracket or not _is_ipv6(host) or (rest and not rest.startswith(':')):
            raise ParseError('the IPv6 address is not written [address][:port]', route)
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(':')
        if not _HOST.fullmatch(host):
            raise ParseError('a route needs a host' if not host else f'{host!r} is not a host', route)
    if not colon:
        return host, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ParseError(f'{port!r} is not a port', route)
    return host, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _clean(value: str, route: str) -> str:
    """``value`` if it can stand in a SIP message: a control character could begin a header field of its own."""
    if any(character < ' ' or character == '\x7f' for character in value):
        raise ParseError('a control character', route)
    return value


def _seconds(value: str) -> float | None:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError(value)
    return seconds if seconds >= 0 else None


def _credit_time(route: Route, value: str) -> None:
    route.credit_time = _seconds(value)
    route.credit_time_given = True


def _expires(route: Route, value: str) -> None:
    route.expires = _seconds(value)


def _np_expires(route: Route, value: str) -> None:
    route.np_expires = _seconds(value)


def _nr_expires(route: Route, value: str) -> None:
    route.nr_expires = _seconds(value)


def _stop_codes(route: Route, value: str) -> None:
    route.stop_codes = frozenset(int(code) for code in value.split(',') if code.strip())


def _forward_on_fail(route: Route, value: str) -> None:
    # Any value switches it on, as in sippy.
    route.forward_on_fail = True


def _auth(route: Route, value: str) -> None:
    route.pass_auth = False
    if value == 'nopass':
        return
    user, colon, password = value.partition(':')
    if not colon or not user:
        raise ParseError('auth is written user:password', route.text)
    route.user = _clean(user, route.text)
    route.password = password


def _cli(route: Route, value: str) -> None:
    route.cli = _clean(value, route.text) or None
    route.cli_given = True


def _cnam(route: Route, value: str) -> None:
    route.cnam = _clean(unquote(value), route.text) or None
    route.cnam_given = True


def _extra_header(route: Route, value: str) -> None:
    name, colon, body = unquote(value).partition(':')
    name = name.strip()
    if not colon or not _TOKEN.fullmatch(name):
        raise ParseError('ash is a header field "Name: value", URL-quoted', route.text)
    if name.lower() in OWN_HEADERS:
        raise ParseError(f'ash cannot set {name}, which is written by the user agent', route.text)
    route.headers += ((name, _clean(body.strip(), route.text)),)


def _rtpp(route: Route, value: str) -> None:
    route.rtpp = int(value) != 0


def _outbound_proxy(route: Route, value: str) -> None:
    route.op = _host_and_port(value, route.text)


def _group_timeout(route: Route, value: str) -> None:
    timeout, comma, skip = value.partition(',')
    seconds = _seconds(timeout)
    if not comma or seconds is None or int(skip) < 1:
        raise ParseError('gt is written timeout,skip', route.text)
    route.group_timeout = seconds, int(skip)


def _transport(route: Route, value: str) -> None:
    name = value.strip().lower()
    if name not in TRANSPORTS:
        raise ParseError(f'{value!r} is no transport, they are {", ".join(TRANSPORTS)}', route.text)
    route.transport = name


_READERS: Final[dict[str, Callable[[Route, str], None]]] = {
    'credit-time': _credit_time,
    'expires': _expires,
    'np_expires': _np_expires,
    'nr_expires': _nr_expires,
    'hs_scodes': _stop_codes,
    'forward_on_fail': _forward_on_fail,
    'auth': _auth,
    'cli': _cli,
    'cnam': _cnam,
    'ash': _extra_header,
    'rtpp': _rtpp,
    'op': _outbound_proxy,
    'gt': _group_timeout,
    'transport': _transport,
}
