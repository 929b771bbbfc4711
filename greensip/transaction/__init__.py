"""Rules that tell time: the four state machines of RFC 3261 17 and RFC 6026, without sockets and clocks."""

from __future__ import annotations

from .flow import Flow, Hop, Point
from .layer import (
    ClientTransaction,
    InviteClientTransaction,
    InviteServerTransaction,
    NonInviteClientTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
    State,
    Transaction,
    TransactionLayer,
)
from .settings import Settings
from .timers import Timer, Timers

__all__ = [
    'ClientTransaction', 'Flow', 'Hop', 'InviteClientTransaction', 'InviteServerTransaction',
    'NonInviteClientTransaction', 'NonInviteServerTransaction', 'Point', 'ServerTransaction', 'Settings', 'State',
    'Timer', 'Timers', 'Transaction', 'TransactionLayer',
]
