"""What bodies of event packages and messages say: octets to values and back."""

from __future__ import annotations

from .sipfrag import SIPFRAG, SipFrag, make_sipfrag, parse_sipfrag

__all__ = ['SIPFRAG', 'SipFrag', 'make_sipfrag', 'parse_sipfrag']
