"""SIP over TCP: RFC 3261 18, on what ``stream.py`` says of connections."""

from __future__ import annotations

from greensip.native import mypyc_attr
from greensip.transaction.flow import Address

from .base import Listen, Receiver
from .channel import Channel, PlainChannel
from .stream import StreamTransport

__all__ = ['TcpTransport']


@mypyc_attr(allow_interpreted_subclasses=True)
class TcpTransport(StreamTransport):
    """A TCP socket that listens, and the connections that are opened to it and by it.

    The options of its place are those of ``stream.OPTIONS``.  With ``alias`` a connection also serves for requests to
    the sent-by of what comes on it: RFC 5923 asks for TLS there, as anybody on the peer's host could take what is
    meant for it, so it is for hosts whose users are trusted.
    """

    def __init__(self, listen: Listen, receiver: Receiver) -> None:
        super().__init__(listen, receiver, 'TCP')

    def channel(self, server: bool, name: str, remote: Address) -> Channel:
        return PlainChannel(self.receiver.limits)
