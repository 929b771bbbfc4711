"""What the 2xx to a REGISTER says: RFC 3261 10.2.4, RFC 5627 4.2.

A registrar's answer counts though one field of it cannot be read; that field says nothing then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from greensip.errors import ParseError
from greensip.message import NameAddr, Response, SipUri, Uri, parse_name_addr, parse_uri

if TYPE_CHECKING:
    from .registration import Registration

__all__ = ['granted_time', 'gruu_in', 'name_addrs_of', 'own_bindings', 'values_of']


def name_addrs_of(response: Response, name: str) -> list[NameAddr]:
    """The addresses of a header field; none if they cannot be read."""
    try:
        return [value for value in response.values(name) if isinstance(value, NameAddr)]
    except ParseError:
        return []


def values_of(response: Response, name: str) -> tuple[str, ...]:
    """The addresses of a header field as texts."""
    return tuple(str(value) for value in name_addrs_of(response, name))


def own_bindings(registration: Registration) -> list[NameAddr]:
    """Which of the bindings are ours: by instance and reg-id (RFC 5626 6), else by URI (19.1.4)."""
    if registration.instance:
        # The parameter is a quoted URN in angle brackets.
        ours = [binding for binding in registration.bindings
                if (binding.param('+sip.instance') or '').strip('<>') == registration.instance
                and (not registration.outbound or binding.param('reg-id') in (None, str(registration.reg_id)))]
        if ours:
            return ours
    uris: list[Uri] = []
    for contact in registration.contacts:
        try:
            uris.append(contact.uri if contact is not None else parse_name_addr(registration.contact).uri)
        except ParseError:
            continue
    found = []
    for binding in registration.bindings:
        try:
            if binding.uri in uris:
                found.append(binding)
        except ParseError:
            continue
    return found


def granted_time(response: Response, bindings: Sequence[NameAddr], asked: int) -> int:
    """10.2.4: the seconds that ``bindings`` last, by their expires parameters, else Expires, else what we ``asked``.

    A proxy may have written another address into our contact, or none is listed: then the answer counts as a whole.
    """
    times = [binding.expires for binding in bindings if binding.expires]
    if not times:
        try:
            expires = response.expires
        except ParseError:
            expires = None
        times = [expires or asked]
    return max(min(time for time in times if time), 1)


def gruu_in(bindings: Sequence[NameAddr], name: str) -> str:
    """RFC 5627 4.2: the last GRUU of our bindings that can be used as a SIP URI; '' for none."""
    found = ''
    for binding in bindings:
        text = binding.param(name)
        if text and is_uri(text):
            found = text
    return found


def is_uri(text: str) -> bool:
    """Whether a text can be used as a SIP URI."""
    try:
        return isinstance(parse_uri(text), SipUri)
    except ParseError:
        return False
