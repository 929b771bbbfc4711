"""How much a peer may ask of us: every bound has a name here."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ['LIMITS', 'Limits']


class Limits(NamedTuple):
    """What a peer may ask of us.  Sizes in octets."""

    #: a whole message
    message: int = 65535
    #: start line and header fields
    head: int = 32768
    #: lines of the header, folded ones counted once
    fields: int = 256
    #: members of one comma-separated list
    members: int = 256
    #: multipart bodies within multipart bodies, comments within comments
    depth: int = 8
    #: parts of one multipart body
    parts: int = 64


LIMITS: Final = Limits()
