"""Messages as a capture file that Wireshark reads, whatever they came over: TLS and WebSocket are in the clear.

A tap (``Endpoint.taps``) that writes each message as one packet, in one of two formats, by the file's name:

``.pcapng``
    What Wireshark writes itself (draft-ietf-opsawg-pcapng).  Each place where we listen is an interface with its name.
    Datagrams are IP packets; a message of a stream is an exported PDU (LINKTYPE_WIRESHARK_UPPER_PDU), which says that
    it is SIP and went over TCP.  Received and sent are told apart by the packets' flags.
``.pcap`` and any other name
    The old format, which everybody reads, tcpdump and sngrep too.  Every message is shown as a UDP datagram, as there
    is one kind of packet to a file.

A message that is larger than such a packet can be (64 KiB for UDP, 256 KiB, which is Wireshark's limit, for the others)
is cut: its header fields can be read, but the end of its body is missing.  The local port of a message is the one where
we listen, also for a connection that we have opened ourselves.

What a capture holds is what was sent: **nothing is masked** as in the log.  The file is therefore made readable for its
owner only.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import struct
import time

from greensip.errors import SetupError
from greensip.transaction.flow import Address, Flow, hostport

from .wire import endpoints

__all__ = ['PcapTap', 'exported_pdu', 'udp_packet']

log = logging.getLogger('greensip.transport')

LINKTYPE_RAW = 101
LINKTYPE_WIRESHARK_UPPER_PDU = 252

#: octets of a packet at most, as Wireshark refuses a file with more
LARGEST_PACKET = 262144
#: octets that a UDP datagram carries at most over IPv4 and IPv6
LARGEST_DATAGRAM = {4: 65507, 6: 65527}

_UDP = 17
_HOPS = 64

# Tags of an exported PDU: wsutil/exported_pdu_tlvs.h of Wireshark
_TAG_END, _TAG_DISSECTOR = 0, 12
_TAG_ADDRESSES = {4: (20, 21), 6: (22, 23)}
_TAG_PORT_TYPE, _TAG_SOURCE_PORT, _TAG_DESTINATION_PORT = 24, 25, 26
_PORT_TYPE_TCP = 2

# Blocks and options of pcapng: sections 4.1, 4.2, 4.3, 3.5
_SECTION_HEADER, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_OPTION_END, _OPTION_APPLICATION, _OPTION_INTERFACE_NAME, _OPTION_FLAGS = 0, 4, 2, 2
_INBOUND, _OUTBOUND = 1, 2


def _packed(host: str) -> bytes:
    """A numeric address as octets, without its zone; the unspecified one for what is not an address."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ':' in host else socket.AF_INET, host.partition('%')[0])
    except OSError:
        return bytes(4)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): the sum of 16-bit words in one's complement, inverted."""
    if len(data) % 2:
        data += b'\0'
    # One's complement addition of 16-bit words is arithmetic modulo 65535.
    return 0xFFFF - (int.from_bytes(data, 'big') % 0xFFFF or 0xFFFF)


def udp_packet(data: bytes, source: Address, destination: Address) -> bytes:
    """An IPv4 or IPv6 packet with a datagram that carries ``data``, as much of it as fits."""
    ours, theirs = _packed(source[0]), _packed(destination[0])
    if len(ours) != len(theirs):
        ours, theirs = ours.rjust(16, b'\0'), theirs.rjust(16, b'\0')
    data = data[:LARGEST_DATAGRAM[4 if len(ours) == 4 else 6]]
    length = 8 + len(data)
    header = struct.pack('!HHHH', source[1], destination[1], length, 0)
    if len(ours) == 4:
        # Identification 0 and "don't fragment"; a UDP checksum is optional over IPv4.
        parts = struct.pack('!BBHHHBBH', 0x45, 0, 20 + length, 0, 0x4000, _HOPS, _UDP, 0) + ours + theirs
        return parts[:10] + struct.pack('!H', _checksum(parts)) + parts[12:] + header + data
    pseudo = ours + theirs + struct.pack('!II', length, _UDP)
    checksum = _checksum(pseudo + header + data) or 0xFFFF
    return (struct.pack('!IHBB', 0x60000000, length, _UDP, _HOPS) + ours + theirs
            + header[:6] + struct.pack('!H', checksum) + data)


def exported_pdu(data: bytes, source: Address, destination: Address) -> bytes:
    """``data`` with the header that tells Wireshark that it is SIP over TCP, from where to where."""
    ours, theirs = _packed(source[0]), _packed(destination[0])
    if len(ours) != len(theirs):
        ours, theirs = ours.rjust(16, b'\0'), theirs.rjust(16, b'\0')
    from_, to = _TAG_ADDRESSES[4 if len(ours) == 4 else 6]
    return b''.join((
        _tag(_TAG_DISSECTOR, b'sip\0'), _tag(from_, ours), _tag(to, theirs),
        _tag(_TAG_PORT_TYPE, struct.pack('!I', _PORT_TYPE_TCP)),
        _tag(_TAG_SOURCE_PORT, struct.pack('!I', source[1])),
        _tag(_TAG_DESTINATION_PORT, struct.pack('!I', destination[1])),
        _tag(_TAG_END, b''), data))


def _tag(number: int, value: bytes) -> bytes:
    return struct.pack('!HH', number, len(value)) + value


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(number: int, value: bytes) -> bytes:
    return struct.pack('<HH', number, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack('<I', 12 + len(body))
    return struct.pack('<I', kind) + length + body + length


class PcapTap:
    """Writes every message to the file ``path``; see the module's description.

    ``epoch`` is the time of day, in seconds since 1970, at zero of the endpoint's clock; None takes the time of
    day at which a message is written.  A file that is there is replaced.  Raises SetupError if it cannot be written.
    A call does not block (it writes to the system's cache), and does not raise: when the disk is full, the packet is
    not counted in ``written`` but in ``lost``, and the file goes on where it was.
    """

    def __init__(self, path: str, *, epoch: float | None = None) -> None:
        self.path = path
        self.epoch = epoch
        #: packets in the file, and packets that could not be written
        self.written = 0
        self.lost = 0
        self.ng = path.lower().endswith('.pcapng')
        self._interfaces: dict[tuple[str, Address], int] = {}
        self._ending = 0
        self._descriptor = -1
        try:
            self._open()
        except OSError as error:
            raise SetupError(f'the capture cannot be written to {path}: {error.strerror}') from None

    def __repr__(self) -> str:
        return f'<PcapTap {self.path}, {self.written} packets>'

    def __call__(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        if self._descriptor < 0:
            return
        stamp = int((time.time() if self.epoch is None else self.epoch + now) * 1_000_000)
        source, destination = endpoints(direction, flow)
        interfaces = len(self._interfaces)
        if self.ng:
            record = self._enhanced_packet(direction, data, flow, stamp, source, destination)
        else:
            packet = udp_packet(data, source, destination)
            record = struct.pack('<IIII', *divmod(stamp, 1_000_000), len(packet), len(packet)) + packet
        if not self._write(record):
            # The description of a new interface was part of it.
            while len(self._interfaces) > interfaces:
                self._interfaces.popitem()

    def _enhanced_packet(self, direction: str, data: bytes, flow: Flow, stamp: int, source: Address,
                         destination: Address) -> bytes:
        """An Enhanced Packet Block, behind the Interface Description Block if there is none yet for the place."""
        point = flow.point
        datagram = point.transport == 'UDP'
        key = point.transport, point.address
        number = self._interfaces.get(key)
        new = b''
        if number is None:
            number = len(self._interfaces)
            name = f'{point.transport.lower()}:{hostport(*point.address)}'.encode()
            kind = LINKTYPE_RAW if datagram else LINKTYPE_WIRESHARK_UPPER_PDU
            new = _block(_INTERFACE, struct.pack('<HHI', kind, 0, LARGEST_PACKET)
                         + _option(_OPTION_INTERFACE_NAME, name) + _option(_OPTION_END, b''))
            self._interfaces[key] = number
        packet = (udp_packet if datagram else exported_pdu)(data, source, destination)
        # Wireshark reads no field of a packet of which it is told that it was longer.
        packet = packet[:LARGEST_PACKET]
        flags = struct.pack('<I', _INBOUND if direction == '<' else _OUTBOUND)
        size = len(packet)
        return new + _block(_PACKET, struct.pack('<IIIII', number, stamp >> 32, stamp & 0xFFFFFFFF, size, size)
                            + _padded(packet) + _option(_OPTION_FLAGS, flags) + _option(_OPTION_END, b''))

    def _open(self) -> None:
        # Like Wireshark's own dumpcap: nobody else may read what people say to each other.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                # A pipe, say: who reads from it slowly would hold us up.
                raise OSError(errno.EINVAL, 'it is not a regular file')
            os.ftruncate(descriptor, 0)
            header = self._header()
            os.write(descriptor, header)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._interfaces.clear()
        self._ending = len(header)
        self._descriptor = descriptor

    def _header(self) -> bytes:
        if not self.ng:
            return struct.pack('<IHHiIII', 0xA1B2C3D4, 2, 4, 0, 0, LARGEST_PACKET, LINKTYPE_RAW)
        return _block(_SECTION_HEADER, struct.pack('<IHHq', 0x1A2B3C4D, 1, 0, -1)
                      + _option(_OPTION_APPLICATION, b'greensip') + _option(_OPTION_END, b''))

    def _write(self, record: bytes) -> bool:
        try:
            done = os.write(self._descriptor, record)
            if done == len(record):
                self._ending += done
                self.written += 1
                return True
            reason = os.strerror(errno.ENOSPC)
        except OSError as error:
            reason = error.strerror or str(error)
        # What is there of it would make the rest unreadable.
        try:
            os.ftruncate(self._descriptor, self._ending)
            os.lseek(self._descriptor, self._ending, os.SEEK_SET)
        except OSError:
            self.close()
        if not self.lost:
            log.error('! the capture %s is not complete: %s', self.path, reason)
        self.lost += 1
        return False

    def reopen(self) -> None:
        """Open the file by its name again, if it was moved away; the old one goes on if that cannot be done."""
        try:
            if os.path.exists(self.path) and os.path.samestat(os.stat(self.path), os.fstat(self._descriptor)):
                return
            self._open()
        except OSError as error:
            log.error('! %s cannot be opened again: %s', self.path, error.strerror)

    def close(self) -> None:
        """Close the file.  Twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
