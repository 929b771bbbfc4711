"""Addresses as scripts write them: whom to call, what Route to take, who an account is and where it registers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from greensip.dialog.routing import is_sips, secured
from greensip.errors import ParseError, UsageError
from greensip.message import NameAddr, SipUri, Uri, parse_name_addr, parse_uri
from greensip.message.grammar import split_list

__all__ = [
    'aor_of',
    'contact_of',
    'contact_text',
    'loose_route',
    'next_hop',
    'registrar_of',
    'routes_of',
    'same_hop',
    'target_of',
]


def target_of(uri: Any) -> Uri:
    """The URI to call: a text, a Uri, or a NameAddr.  Raises ParseError, UsageError for anything else."""
    if isinstance(uri, str):
        text = uri.strip()
        return parse_name_addr(text).uri if '<' in text else parse_uri(text)
    if isinstance(uri, NameAddr):
        return uri.uri
    if isinstance(uri, Uri):
        return uri
    raise UsageError(f'{uri!r} is no URI: give a text, a Uri or a NameAddr')


def contact_of(contact: NameAddr | Uri | str) -> NameAddr:
    """An address with its parameters; a bare URI keeps its own."""
    if isinstance(contact, NameAddr):
        return contact
    text = str(contact).strip()
    return parse_name_addr(text if '<' in text else f'<{text}>')


def aor_of(aor: NameAddr | Uri | str) -> tuple[NameAddr, SipUri]:
    """10: the address-of-record, which has no parameters, and where its domain is reached."""
    name = None
    with suppress(ParseError):
        name = contact_of(aor)
    uri = name.uri if name is not None else None
    if name is None or not isinstance(uri, SipUri) or not uri.user:
        raise UsageError(f'{aor} is no address-of-record: write sip:alice@example.com')
    return NameAddr(name.display, uri.replace(params={}, headers=(), password=None)), uri


def registrar_of(registrar: Uri | str) -> str:
    """10.2: the Request-URI of REGISTER: "the "userinfo" and "@" components of the SIP URI MUST NOT be present"."""
    text = str(registrar).strip()
    named = text.lower().startswith(('sip:', 'sips:'))
    uri: Uri | None = None
    with suppress(ParseError):
        uri = parse_uri(text if named else f'sip:{text}')
    if not isinstance(uri, SipUri) or (uri.user and not named):
        raise UsageError(f'{registrar} is no registrar: write sip:pbx.example.com')
    return str(uri.replace(user=None, password=None, headers=()))


def contact_text(contact: str | None) -> str | None:
    """``contact=`` of a request as the text of Contact: a bare URI gets its angle brackets, so that its parameters stay
    its own; ``*`` and none are left as they are.  Raises UsageError."""
    if not contact or contact == '*':
        return contact
    try:
        if '<' not in contact:
            parse_uri(contact)
            return f'<{contact}>'
        for text in split_list(contact):
            parse_name_addr(text)
    except ParseError:
        raise UsageError(f'contact={contact!r} is no address: write sip:alice@192.0.2.1') from None
    return contact


def loose_route(proxy: Any) -> str:
    """A Route value for a proxy, with the ``lr`` that every proxy of RFC 3261 wants.  Raises UsageError."""
    uri = target_of(proxy)
    if not isinstance(uri, SipUri):
        raise UsageError(f'{proxy} cannot be a proxy: only sip and sips URIs can be sent to')
    return f'<{uri}>' if 'lr' in uri.params else f'<{uri};lr>'


def routes_of(route: Sequence[str] | str) -> tuple[str, ...]:
    """The Route that a script gives: one value or several, none for an empty text."""
    if isinstance(route, str):
        return (route,) if route else ()
    return tuple(route)


def uri_in(route: str) -> str:
    """The URI of a Route value."""
    return route[route.index('<') + 1:route.index('>')] if '<' in route else route


def next_hop(target: Uri | str, routes: Sequence[str]) -> str:
    """The URI that a request goes to first; to a SIPS resource over TLS all the way (RFC 3261 8.1.2)."""
    if not routes:
        return str(target)
    return secured(uri_in(routes[0])) if is_sips(str(target)) else uri_in(routes[0])


def same_hop(one: str, other: str) -> bool:
    """Whether two Route values lead to the same place."""
    try:
        first, second = parse_uri(uri_in(one)), parse_uri(uri_in(other))
    except ParseError:
        return False
    return (isinstance(first, SipUri) and isinstance(second, SipUri)
            and (first.host.lower(), first.port) == (second.host.lower(), second.port))
