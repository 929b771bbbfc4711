"""From which of our addresses a message leaves, and by which interface, where that is not the system's choice.

A socket that listens on all addresses is called under one of them, and a NAT, or a peer that has connected its socket,
takes the answer only from there: RFC 3581 4, "the response MUST be sent from the same address and port that the
corresponding request was received on".  Linux tells with each datagram under which address it came, and sends from the
one that is asked for (IP_PKTINFO; RFC 3542 6 for IPv6).

A link-local address of IPv6 (RFC 4007) means something only together with its interface, the scope.  A person writes it
behind the address, ``fe80::1%eth0``; messages never show it, as it means nothing to anybody else.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

__all__ = ['ANCILLARY', 'Ancillary', 'SocketAddress', 'ask_for_destinations', 'destination_of', 'is_link_local',
           'leaving_from', 'scoped']

#: (level, option, type of message) for a family; Python has no names for those of IPv4
_PKTINFO = {
    socket.AF_INET: (socket.IPPROTO_IP, 8, 8), socket.AF_INET6: (socket.IPPROTO_IPV6, 49, 50),
} if sys.platform == 'linux' else {}
#: octets that hold what comes with a datagram
ANCILLARY = 64

#: level, type and octets of what goes to the system, or comes from it, beside the data
Ancillary = tuple[int, int, bytes]
#: an address as the system takes it: with flow label and scope for IPv6
SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def ask_for_destinations(made: socket.socket) -> bool:
    """Have a socket tell under which address each datagram came; False where the system cannot.  Raises OSError."""
    option = _PKTINFO.get(made.family)
    if option is None:
        return False
    made.setsockopt(option[0], option[1], 1)
    return True


def destination_of(ancillary: list[Any]) -> str | None:
    """The address of ours under which a datagram came; None if that is none to answer from (multicast)."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == 8 and len(data) >= 12:
            # The interface, the address of ours that is meant, the one in the header: a broadcast has two.
            return socket.inet_ntop(socket.AF_INET, data[4:8])
        if level == socket.IPPROTO_IPV6 and kind == 50 and len(data) >= 20:
            return None if data[0] == 0xFF else socket.inet_ntop(socket.AF_INET6, data[:16])
    return None


def leaving_from(local: str) -> list[Ancillary]:
    """What has the system send a datagram from ``local``."""
    if ':' in local:
        level, _, kind = _PKTINFO[socket.AF_INET6]
        return [(level, kind, struct.pack('@16sI', socket.inet_pton(socket.AF_INET6, local), 0))]
    level, _, kind = _PKTINFO[socket.AF_INET]
    return [(level, kind, struct.pack('@I4s4s', 0, socket.inet_pton(socket.AF_INET, local), bytes(4)))]


def is_link_local(host: str) -> bool:
    """Whether a numeric address is one of fe80::/10."""
    return host[:3].lower() in ('fe8', 'fe9', 'fea', 'feb') and ':' in host


def scoped(host: str, port: int, scope: int = 0) -> SocketAddress:
    """An address as the system takes it.  A zone in ``host`` counts more than ``scope``.  Raises OSError for an
    interface that is not there."""
    if ':' not in host:
        return host, port
    plain, _, zone = host.partition('%')
    if zone:
        scope = int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone)
    return plain, port, 0, scope

