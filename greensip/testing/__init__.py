"""The test kit: virtual time, a network in memory, and ladders as text."""

from __future__ import annotations

from .clock import VirtualClock, VirtualTimer

__all__ = ['VirtualClock', 'VirtualTimer']
