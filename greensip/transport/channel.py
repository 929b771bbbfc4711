"""What lies between the octets of a connection and SIP messages: all that differs between TCP, TLS and WebSocket.

Sans I/O: a channel knows neither sockets nor clocks.  Here is what every channel does, and the one of TCP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from greensip.message import LIMITS, Limits, StreamFramer
from greensip.message.framing import Framed

__all__ = ['Channel', 'PlainChannel']


class Channel(Protocol):
    """What lies between the octets of one connection and SIP messages.

    It is driven: given what came, it gives what that means; afterwards ``take_outgoing`` may have something to be sent,
    and ``ended`` may be set.  A channel may lie on another one: WebSocket on TLS.
    """

    #: given a list, each thing that ``receive`` returns adds its octets there: somebody looks at them
    octets: list[bytes] | None

    @property
    def ready(self) -> bool:
        """Whether the handshake is done and messages can be sent."""

    @property
    def idle(self) -> bool:
        """Whether no part of a message waits for the rest of it."""

    @property
    def ended(self) -> str:
        """Why no more messages come: what is to be sent is the last, then the connection is closed.  '' before."""

    def receive(self, data: bytes) -> list[Framed]:
        """What these octets complete, in order.

        Raises ParseError when nobody can say any more where messages begin; its ``message`` may be there to be
        answered.  Raises TransportError when there is no talking to the peer.
        """

    def pack(self, data: bytes) -> bytes:
        """One message, or keep-alive, as octets to be sent.  Only when ``ready``."""

    def take_outgoing(self) -> bytes:
        """The octets that have to be sent: of a handshake, its answer, the end."""

    def close(self, why: str) -> None:
        """Say goodbye: afterwards there may be something to send, the last."""

    def eof(self) -> None:
        """The peer has closed the connection."""


class PlainChannel:
    """Messages that follow one another on the connection itself (RFC 3261 18.3)."""

    __slots__ = ('framer', 'receive')

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.framer = StreamFramer(limits)
        self.receive: Callable[[bytes], list[Framed]] = self.framer.feed

    @property
    def octets(self) -> list[bytes] | None:
        return self.framer.octets

    @octets.setter
    def octets(self, octets: list[bytes] | None) -> None:
        self.framer.octets = octets

    @property
    def ready(self) -> bool:
        return True

    @property
    def idle(self) -> bool:
        return self.framer.idle

    @property
    def ended(self) -> str:
        return '' if self.framer.error is None else str(self.framer.error)

    def pack(self, data: bytes) -> bytes:
        return data

    def take_outgoing(self) -> bytes:
        return b''

    def close(self, why: str) -> None:
        """Nothing is said at the end of a plain connection."""

    def eof(self) -> None:
        """Nothing is to be done."""
