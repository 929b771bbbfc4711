"""The states of a call, in the words of RFC 3261 13 and 15: those of ``ClientInvite`` and ``ServerInvite``."""

from __future__ import annotations

from typing import Final

__all__ = [
    'ACCEPTED',
    'ANSWERING',
    'CALLING',
    'CANCELLING',
    'CLOSING',
    'CONFIRMED',
    'EARLY',
    'HANGING_UP',
    'INCOMING',
    'PROCEEDING',
    'TERMINATED',
]

CALLING: Final = 'calling'  # caller: the INVITE is out, nothing has come back
INCOMING: Final = 'incoming'  # callee: the INVITE is in, nothing has gone back
PROCEEDING: Final = 'proceeding'  # a provisional response without a dialog
EARLY: Final = 'early'  # a provisional response made a dialog
ANSWERING: Final = 'answering'  # callee: the 2xx waits for a PRACK (RFC 3262 3)
CANCELLING: Final = 'cancelling'  # caller: a CANCEL is out, or held back until a provisional response
ACCEPTED: Final = 'accepted'  # a 2xx went one way, its ACK is still to go the other
HANGING_UP: Final = 'hanging up'  # callee: to be hung up as soon as the ACK has come (15)
CONFIRMED: Final = 'confirmed'
CLOSING: Final = 'closing'  # our BYE is out
TERMINATED: Final = 'terminated'
