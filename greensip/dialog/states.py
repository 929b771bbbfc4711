"""The states of a call, in the words of RFC 3261 13 and 15: those of ``ClientInvite`` and ``ServerInvite``."""

from __future__ import annotations

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

CALLING = 'calling'  # caller: the INVITE is out, nothing has come back
INCOMING = 'incoming'  # callee: the INVITE is in, nothing has gone back
PROCEEDING = 'proceeding'  # a provisional response without a dialog
EARLY = 'early'  # a provisional response made a dialog
ANSWERING = 'answering'  # callee: the 2xx waits for a PRACK (RFC 3262 3)
CANCELLING = 'cancelling'  # caller: a CANCEL is out, or held back until a provisional response
ACCEPTED = 'accepted'  # a 2xx went one way, its ACK is still to go the other
HANGING_UP = 'hanging up'  # callee: to be hung up as soon as the ACK has come (15)
CONFIRMED = 'confirmed'
CLOSING = 'closing'  # our BYE is out
TERMINATED = 'terminated'
