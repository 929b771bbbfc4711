"""Messages out of a stream of octets (RFC 3261 18.3, 7.5, RFC 5626 3.5.1).

Content-Length says where a message ends; a message without one ends with its header fields, unless it says of what type
its body is.  Between messages CRLFs may
stand, which are keep-alives.  Any way of cutting the stream into pieces gives the same messages.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from ..errors import ParseError
from .limits import LIMITS, Limits
from .message import Request, Response
from .parser import content_length, parse_head, split_head

__all__ = ['PING', 'PONG', 'Framed', 'KeepAlive', 'StreamFramer']


class KeepAlive(Enum):
    """A keep-alive of RFC 5626 4.4.1.

    The first CRLF between two messages is a PONG, the second in a row a PING: it wants a CRLF as its answer.
    Only so the outcome does not depend on how the stream was cut.  Who did not send a ping ignores a PONG.
    """

    PING = 'CRLF CRLF'
    PONG = 'CRLF'


PING: Final = KeepAlive.PING
PONG: Final = KeepAlive.PONG

#: What a stream consists of.  A ParseError is a message that is broken, but whose end is known.
Framed = Request | Response | KeepAlive | ParseError


class StreamFramer:
    """Cuts the octets of one connection into messages."""

    __slots__ = ('_body_size', '_buffer', '_head', '_item', '_limits', '_pong', '_searched', 'error', 'octets')

    def __init__(self, limits: Limits = LIMITS) -> None:
        #: why framing was lost
        self.error: ParseError | None = None
        #: for who wants to see what came: given a list, each thing that ``feed`` returns adds its octets there, or
        #: nothing if its beginning came before
        self.octets: list[bytes] | None = None
        self._head = b''
        self._limits = limits
        self._buffer = bytearray()
        # how far the buffer has been searched for the end of the head
        self._searched = 0
        # a message, or its error, whose head is complete and whose body is not
        self._item: Request | Response | ParseError | None = None
        self._body_size = 0
        # whether the last thing was the first CRLF
        self._pong = False

    @property
    def idle(self) -> bool:
        """Whether no part of a message waits for the rest of it."""
        return not self._buffer and self._item is None

    def feed(self, data: bytes) -> list[Framed]:
        """What these octets complete, in order.

        Raises ParseError when framing is lost, and the connection has to be closed; its ``message`` may be there to be
        answered.  What came before that is returned first: then ``error`` is set, and the next call raises.
        """
        out: list[Framed] = []
        if self.error is None:
            if not self._buffer and self._item is None:
                data = self._take_whole(data, out)
                if not data:
                    return out
            self._buffer += data
            try:
                while self._take(out):
                    pass
            except ParseError as error:
                self.error = error
                self._buffer.clear()
                if out:
                    return out
        if self.error is not None:
            raise self.error
        return out

    def _take_whole(self, data: bytes, out: list[Framed]) -> bytes:
        """Take the messages at the beginning that are whole and in order; the rest is for a closer look.

        Most octets come as one message: so it costs little more than a datagram, half of what the buffer takes.
        """
        limits = self._limits
        start = 0
        while start < len(data):
            end = data.find(b'\r\n\r\n', start)
            if end < 0 or end - start > limits.head or data[start] == 13:
                break
            lines = split_head(data[start:end])
            if lines is None:
                break
            try:
                message = parse_head(lines, limits)
                size = content_length(message)
            except ParseError:
                break
            stop = end + 4 + (size or 0)
            if size is None or size > limits.message or stop > len(data):
                break
            message.body = data[end + 4:stop]
            out.append(message)
            if self.octets is not None:
                self.octets.append(data[start:stop])
            self._pong = False
            start = stop
        return data[start:] if start else data

    def _take(self, out: list[Framed]) -> bool:
        """Take one thing from the buffer; False when it needs more octets."""
        if self._item is not None:
            return self._take_body(out)
        buffer = self._buffer
        if buffer[:1] == b'\r':
            if len(buffer) < 2:
                return False
            if buffer[1] != 10:
                raise ParseError('a bare CR between messages')
            del buffer[:2]
            out.append(PING if self._pong else PONG)
            if self.octets is not None:
                self.octets.append(b'\r\n')
            self._pong = not self._pong
            return True
        return bool(buffer) and self._take_head()

    def _take_head(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b'\r\n\r\n', max(self._searched - 3, 0))
        if end < 0:
            self._searched = len(buffer)
            if self._searched >= self._limits.head + 4:
                raise ParseError('header fields too large', status=513)
            return False
        if end > self._limits.head:
            raise ParseError('header fields too large', status=513)
        head = bytes(buffer[:end])
        lines = split_head(head)
        self._head = head if self.octets is not None else b''
        del buffer[:end + 4]
        self._searched = 0
        self._pong = False
        if lines is None:
            raise ParseError('a bare CR, LF or NUL in the header fields')
        message: Request | Response
        try:
            self._item = message = parse_head(lines, self._limits)
        except ParseError as error:
            if error.message is None:
                raise
            self._item, message = error, error.message
        try:
            size = content_length(message)
            if size is None and message.has('Content-Type'):
                # 18.3: "MUST be used".  Without a body nobody needs it; what comes after this one is anybody's guess.
                raise ParseError('no Content-Length')
            self._body_size = size or 0
            if self._body_size > self._limits.message:
                raise ParseError('body too large', str(self._body_size), status=513)
        except ParseError as error:
            error.message = message
            raise
        return True

    def _take_body(self, out: list[Framed]) -> bool:
        size = self._body_size
        if len(self._buffer) < size:
            return False
        item = self._item
        assert item is not None
        message: Request | Response = item.message if isinstance(item, ParseError) else item
        message.body = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self.octets is not None:
            self.octets.append(self._head + b'\r\n\r\n' + message.body if self._head else b'')
        self._head = b''
        self._item = None
        out.append(item)
        return True
