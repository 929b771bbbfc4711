"""The names of the header fields that every message has, or that steer its way."""

from __future__ import annotations

from typing import Final

__all__ = ['CALL_ID', 'CONTACT', 'CONTENT_LENGTH', 'CSEQ', 'FROM', 'MAX_FORWARDS', 'RECORD_ROUTE', 'ROUTE', 'TO', 'VIA']

VIA: Final = 'Via'
FROM: Final = 'From'
TO: Final = 'To'
CALL_ID: Final = 'Call-ID'
CSEQ: Final = 'CSeq'
CONTENT_LENGTH: Final = 'Content-Length'
MAX_FORWARDS: Final = 'Max-Forwards'
CONTACT: Final = 'Contact'
ROUTE: Final = 'Route'
RECORD_ROUTE: Final = 'Record-Route'
