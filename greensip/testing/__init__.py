"""The test kit: a network in memory, virtual time, and ladders as text.  See ``Network`` for how it is used.

``NameServer`` is a DNS server on the loopback.
"""

from __future__ import annotations

from greensip.transport.memory import Packet, Rule

from .clock import VirtualClock, VirtualTimer
from .ladder import Arrow, Ladder, Note
from .nameserver import NameServer
from .network import Network

__all__ = ['Arrow', 'Ladder', 'NameServer', 'Network', 'Note', 'Packet', 'Rule', 'VirtualClock', 'VirtualTimer']
