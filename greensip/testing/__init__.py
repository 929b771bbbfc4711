"""The test kit: a network in memory, virtual time, and ladders as text.  See ``Network`` for how it is used.

``NameServer`` is a DNS server on the loopback.  ``StrictUserAgent`` tests other people's systems, most comfortably with
the pytest plugin (``greensip.testing.plugin``).
"""

from __future__ import annotations

from greensip.transport.memory import Packet, Rule

from .clock import VirtualClock, VirtualTimer
from .ladder import Arrow, Ladder, Note
from .nameserver import NameServer
from .network import Network
from .strict import StrictUserAgent

__all__ = ['Arrow', 'Ladder', 'NameServer', 'Network', 'Note', 'Packet', 'Rule', 'StrictUserAgent', 'VirtualClock',
           'VirtualTimer']
