"""Where gevent begins: sockets, clock, names, and the endpoint that joins them to a core (RFC 3261 18)."""

from __future__ import annotations

from .base import Counters, Listen, Receiver, Transport
from .channel import Channel, PlainChannel
from .clock import Clock, ClockTimer, RealClock
from .connection import Connection
from .endpoint import Endpoint, EndpointCounters, Network, Tap
from .hep import HepTap
from .keepalive import KeepAlive, KeepAlives
from .memory import MemoryNetwork, MemoryTransport, Packet, Rule
from .pcap import PcapTap
from .resolver import Resolver, StaticResolver, SystemResolver
from .stream import StreamTransport
from .tcp import TcpTransport
from .tls import TlsChannel, TlsTransport
from .udp import UdpTransport

__all__ = [
    'Channel', 'Clock', 'ClockTimer', 'Connection', 'Counters', 'Endpoint', 'EndpointCounters', 'HepTap', 'KeepAlive',
    'KeepAlives', 'Listen', 'MemoryNetwork', 'MemoryTransport', 'Network', 'Packet', 'PcapTap', 'PlainChannel',
    'RealClock', 'Receiver', 'Resolver', 'Rule', 'StaticResolver', 'StreamTransport', 'SystemResolver', 'Tap',
    'TcpTransport', 'TlsChannel', 'TlsTransport', 'Transport', 'UdpTransport',
]
