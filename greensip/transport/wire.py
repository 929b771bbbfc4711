"""Messages as text for logs: credentials masked, nothing in them that could fool a terminal.

What is masked: the password of a URI's user part, what Authorization and Proxy-Authorization prove it with, and the
keys in session descriptions (RFC 4568 ``a=crypto``, RFC 8839 ``a=ice-pwd``, ``k=``).  Nonces, user names and realms
stay: a person needs them to see why somebody is refused.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from greensip.transaction.flow import Address, Flow, hostport

__all__ = ['endpoints', 'log_received', 'log_sent', 'masked', 'readable', 'title', 'wire']

wire: Final = logging.getLogger('greensip.wire')

# What wire.isEnabledFor() has found out so far, as in greensip.fsm: asked for each message, in and out.
known: Final[dict[int, bool]] = getattr(wire, '_cache', {})

#: longer messages are cut in the log
SHOWN: Final = 8192

MASK: Final = b'***'

_START: Final = re.compile(rb'(?:\r?\n)*(?:SIP/2\.0[ \t]+(\d{3})\b|([!-~]{1,64})[ \t]+[^\r\n]*?[ \t]SIP/2\.0)')
_CSEQ: Final = re.compile(rb'^cseq[ \t]*:[ \t]*\d+[ \t]+([!-~]{1,64})', re.IGNORECASE | re.MULTILINE)
_CREDENTIALS: Final = re.compile(
    rb'^((?:proxy-)?authorization[ \t]*:[ \t]*)(\S+)((?:.*(?:\r?\n[ \t].*)*))', re.IGNORECASE | re.MULTILINE)
_PROOF: Final = re.compile(rb'\b((?:response|cnonce|rspauth)\s*=\s*)("[^"]*"?|[^\s,]+)', re.IGNORECASE)
_RSPAUTH: Final = re.compile(
    rb'^((?:proxy-)?authentication-info[ \t]*:)(.*(?:\r?\n[ \t].*)*)', re.IGNORECASE | re.MULTILINE)
_USER_PASSWORD: Final = re.compile(rb'\b(sips?:[^\s:@<>"]+):[^\s@<>"/]+@', re.IGNORECASE)
_CRYPTO: Final = re.compile(rb'^(a=crypto:.*?\binline:)[^\r\n]*', re.IGNORECASE | re.MULTILINE)
_ICE_PASSWORD: Final = re.compile(rb'^(a=ice-pwd:)[^\r\n]*', re.IGNORECASE | re.MULTILINE)
_KEY: Final = re.compile(rb'^(k=[a-z0-9]+:)[^\r\n]*', re.IGNORECASE | re.MULTILINE)


def title(data: bytes) -> str:
    """A message in a word or two, ``INVITE`` or ``200 INVITE``; ``?`` if it does not look like one."""
    match = _START.match(data)
    if match is None:
        return '?'
    code, method = match.groups()
    if method is not None:
        return str(method, 'ascii')
    cseq = _CSEQ.search(data)
    return f"{str(code, 'ascii')} {str(cseq[1], 'ascii') if cseq else '?'}"


def _mask_credentials(match: re.Match[bytes]) -> bytes:
    name, scheme, rest = match.groups()
    if scheme.lower() == b'digest':
        return bytes(name + scheme + _PROOF.sub(rb'\1' + MASK, rest))
    # Basic and Bearer are nothing but the secret.
    return bytes(name + scheme + b' ' + MASK)


def masked(data: bytes) -> bytes:
    """``data`` without what would let a reader of the log act as somebody else."""
    data = _CREDENTIALS.sub(_mask_credentials, data)
    data = _RSPAUTH.sub(lambda match: match[1] + _PROOF.sub(rb'\1' + MASK, match[2]), data)
    data = _USER_PASSWORD.sub(rb'\1:' + MASK + b'@', data)
    data = _CRYPTO.sub(rb'\1' + MASK, data)
    data = _ICE_PASSWORD.sub(rb'\1' + MASK, data)
    return _KEY.sub(rb'\1' + MASK, data)


def readable(data: bytes) -> str:
    """``data``, masked, as indented lines; what is not printable is written as an escape."""
    text = masked(data[:SHOWN]).decode('utf-8', 'backslashreplace')
    lines = []
    for line in text.split('\n'):
        line = line.removesuffix('\r')
        if not line.isprintable():
            line = ''.join(c if c.isprintable() or c == '\t' else c.encode('unicode_escape').decode() for c in line)
        lines.append(f'    {line}' if line else '')
    while lines and not lines[-1]:
        lines.pop()
    if len(data) > SHOWN:
        lines.append(f'    ... {len(data) - SHOWN} more octets')
    return '\n'.join(lines)


def endpoints(direction: str, flow: Flow) -> tuple[Address, Address]:
    """Source and destination of a message that was received (``'<'``) or sent (``'>'``) on ``flow``.

    Ours is the address that the peer sees, where we listen on a wildcard address.
    """
    point = flow.point
    ours = point.advertised if point.address[0] in ('0.0.0.0', '::') else point.address
    return (flow.remote, ours) if direction == '<' else (ours, flow.remote)


def log_received(data: bytes, flow: Flow) -> None:
    """Call it only if ``wire`` is enabled for DEBUG."""
    _log('<', 'from', data, flow)


def log_sent(data: bytes, flow: Flow) -> None:
    """Call it only if ``wire`` is enabled for DEBUG."""
    _log('>', 'to', data, flow)


def _log(sign: str, direction: str, data: bytes, flow: Flow) -> None:
    point = flow.point
    wire.debug('%s %s %s %s %s, %d octets\n%s', sign, point.transport, hostport(*point.address), direction,
               hostport(*flow.remote), len(data), readable(data))
