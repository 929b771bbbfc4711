"""The registry of header fields: one line each with value type, compact form, whether it repeats, and RFC.

RFC 3261 20 and the RFCs in the last column; the compact forms are those of RFC 3261 7.3.3 and of later RFCs.

A *kind* of value says how one value is read.  A field that repeats is a comma-separated list, which may be spread over
several lines (RFC 3261 7.3.1); the kinds without ``commas`` have commas of their own, there each line is one value.

To add a header field: a line in the table below, a row in the table of ``tests/message/test_headers.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any, Final, NamedTuple

from ..errors import UsageError
from . import values
from .grammar import is_token
from .params import parse_bare_params

__all__ = ['ADDRESS', 'CANONICAL', 'HEADERS', 'KEYS', 'VIA', 'Header', 'Kind', 'header_key']


class Kind:
    """How the values of a field are read: ``parse(text)``, and whether commas separate them."""

    __slots__ = ('commas', 'name', 'parse')

    def __init__(self, name: str, parse: Callable[[str], Any], commas: bool = True) -> None:
        self.name = name
        self.parse = parse
        self.commas = commas

    def __repr__(self) -> str:
        return f'<Kind {self.name}>'


VIA: Final = Kind('via', values.parse_via)
ADDRESS: Final = Kind('address', values.parse_name_addr)
CSEQ: Final = Kind('cseq', values.parse_cseq, commas=False)
RACK: Final = Kind('rack', values.parse_rack, commas=False)
CALL_ID: Final = Kind('call-id', values.parse_call_id, commas=False)
CALL_IDS: Final = Kind('call-ids', values.parse_call_id)
TEXT: Final = Kind('text', values.parse_text, commas=False)
TOKEN: Final = Kind('token', values.parse_token)
NUMBER: Final = Kind('number', values.parse_uint, commas=False)
SECONDS: Final = Kind('seconds', values.parse_seconds, commas=False)
PARAMS: Final = Kind('params', parse_bare_params, commas=False)
VALUE: Final = Kind('value', values.parse_parameterized)
EVENT: Final = Kind('event', values.parse_event)
STATE: Final = Kind('subscription-state', values.parse_subscription_state)
REASON: Final = Kind('reason', values.parse_reason)
SESSION: Final = Kind('session-expires', values.parse_session_expires)
REPLACES: Final = Kind('replaces', values.parse_replaces, commas=False)
DIALOG_ID: Final = Kind('dialog-id', values.parse_dialog_id, commas=False)
MEDIA: Final = Kind('media-type', values.parse_media_type)
RETRY: Final = Kind('retry-after', values.parse_retry_after, commas=False)
WARNING: Final = Kind('warning', values.parse_warning)
TIMESTAMP: Final = Kind('timestamp', values.parse_timestamp, commas=False)
DATE: Final = Kind('date', values.parse_date, commas=False)
CHALLENGE: Final = Kind('challenge', values.parse_challenge, commas=False)
CREDENTIALS: Final = Kind('credentials', values.parse_credentials, commas=False)
AUTH_INFO: Final = Kind('auth-info', values.parse_auth_info, commas=False)


class Header(NamedTuple):
    """One line of the registry."""

    name: str
    type: Kind
    compact: str = ''
    repeats: bool = False
    rfc: int = 3261


_ = Header
MANY: Final = True

HEADERS: Final[dict[str, Header]] = {header.name: header for header in (
    _('Accept', MEDIA, '', MANY),
    _('Accept-Contact', VALUE, 'a', MANY, 3841),
    _('Accept-Encoding', VALUE, '', MANY),
    _('Accept-Language', VALUE, '', MANY),
    _('Accept-Resource-Priority', TOKEN, '', MANY, 4412),
    _('AlertMsg-Error', VALUE, '', False, 8876),
    _('Alert-Info', ADDRESS, '', MANY),
    _('Allow', TOKEN, '', MANY),
    _('Allow-Events', EVENT, 'u', MANY, 6665),
    _('Answer-Mode', VALUE, '', False, 5373),
    _('Authentication-Info', AUTH_INFO),
    _('Authorization', CREDENTIALS, '', MANY),
    _('Call-ID', CALL_ID, 'i'),
    _('Call-Info', ADDRESS, '', MANY),
    _('Contact', ADDRESS, 'm', MANY),
    _('Content-Disposition', VALUE),
    _('Content-Encoding', TOKEN, 'e', MANY),
    _('Content-ID', TEXT, '', False, 8262),
    _('Content-Language', TOKEN, '', MANY),
    _('Content-Length', NUMBER, 'l'),
    _('Content-Transfer-Encoding', TOKEN, '', False, 2045),
    _('Content-Type', MEDIA, 'c'),
    _('CSeq', CSEQ),
    _('Date', DATE),
    _('Diversion', ADDRESS, '', MANY, 5806),
    _('Error-Info', ADDRESS, '', MANY),
    _('Event', EVENT, 'o', False, 6665),
    _('Expires', SECONDS),
    _('Feature-Caps', VALUE, '', MANY, 6809),
    _('Flow-Timer', SECONDS, '', False, 5626),
    _('From', ADDRESS, 'f'),
    _('Geolocation', ADDRESS, '', MANY, 6442),
    _('Geolocation-Error', VALUE, '', False, 6442),
    _('Geolocation-Routing', TOKEN, '', False, 6442),
    _('History-Info', ADDRESS, '', MANY, 7044),
    _('Identity', TEXT, 'y', MANY, 8224),
    _('Identity-Info', ADDRESS, 'n', False, 4474),         # RFC 8224 moved it into Identity
    _('Info-Package', VALUE, '', False, 6086),
    _('In-Reply-To', CALL_IDS, '', MANY),
    _('Join', DIALOG_ID, '', False, 3911),
    _('Max-Breadth', NUMBER, '', False, 5393),
    _('Max-Forwards', NUMBER),
    _('MIME-Version', TEXT),
    _('Min-Expires', SECONDS),
    _('Min-SE', SESSION, '', False, 4028),
    _('Organization', TEXT),
    _('P-Access-Network-Info', VALUE, '', MANY, 7315),
    _('P-Answer-State', VALUE, '', False, 4964),
    _('P-Asserted-Identity', ADDRESS, '', MANY, 3325),
    _('P-Associated-URI', ADDRESS, '', MANY, 7315),
    _('P-Called-Party-ID', ADDRESS, '', False, 7315),
    _('P-Charge-Info', ADDRESS, '', False, 8496),
    _('P-Charging-Function-Addresses', PARAMS, '', False, 7315),
    _('P-Charging-Vector', PARAMS, '', False, 7315),
    _('P-DCS-Billing-Info', VALUE, '', False, 5503),
    _('P-DCS-LAES', VALUE, '', False, 5503),
    _('P-DCS-OSPS', TOKEN, '', False, 5503),
    _('P-DCS-Redirect', ADDRESS, '', False, 5503),
    _('P-DCS-Trace-Party-ID', ADDRESS, '', False, 5503),
    _('P-Early-Media', VALUE, '', MANY, 5009),
    _('P-Media-Authorization', TOKEN, '', MANY, 3313),
    _('P-Preferred-Identity', ADDRESS, '', MANY, 3325),
    _('P-Preferred-Service', TOKEN, '', MANY, 6050),
    _('P-Asserted-Service', TOKEN, '', MANY, 6050),
    _('P-Private-Network-Indication', VALUE, '', False, 7316),
    _('P-Profile-Key', ADDRESS, '', False, 5002),
    _('P-Refused-URI-List', ADDRESS, '', MANY, 5318),
    _('P-Served-User', ADDRESS, '', False, 5502),
    _('P-User-Database', ADDRESS, '', False, 4457),
    _('P-Visited-Network-ID', TEXT, '', MANY, 7315),
    _('Path', ADDRESS, '', MANY, 3327),
    _('Permission-Missing', ADDRESS, '', MANY, 5360),
    _('Policy-Contact', ADDRESS, '', MANY, 6794),
    _('Policy-ID', TEXT, '', MANY, 6794),
    _('Priority', TOKEN),
    _('Priv-Answer-Mode', VALUE, '', False, 5373),
    _('Privacy', VALUE, '', False, 3323),
    _('Proxy-Authenticate', CHALLENGE, '', MANY),
    _('Proxy-Authentication-Info', AUTH_INFO, '', False, 7615),
    _('Proxy-Authorization', CREDENTIALS, '', MANY),
    _('Proxy-Require', TOKEN, '', MANY),
    _('RAck', RACK, '', False, 3262),
    _('Reason', REASON, '', MANY, 3326),
    _('Record-Route', ADDRESS, '', MANY),
    _('Recv-Info', VALUE, '', MANY, 6086),
    _('Refer-Events-At', ADDRESS, '', False, 7614),
    _('Refer-Sub', VALUE, '', False, 4488),
    _('Refer-To', ADDRESS, 'r', False, 3515),
    _('Referred-By', ADDRESS, 'b', False, 3892),
    _('Reject-Contact', VALUE, 'j', MANY, 3841),
    _('Remote-Party-ID', ADDRESS, '', MANY, 0),           # draft-ietf-sip-privacy; what RFC 3325 replaced
    _('Replaces', REPLACES, '', False, 3891),
    _('Reply-To', ADDRESS),
    _('Request-Disposition', TOKEN, 'd', MANY, 3841),
    _('Require', TOKEN, '', MANY),
    _('Resource-Priority', TOKEN, '', MANY, 4412),
    _('Retry-After', RETRY),
    _('Route', ADDRESS, '', MANY),
    _('RSeq', NUMBER, '', False, 3262),
    _('Security-Client', VALUE, '', MANY, 3329),
    _('Security-Server', VALUE, '', MANY, 3329),
    _('Security-Verify', VALUE, '', MANY, 3329),
    _('Server', TEXT),
    _('Service-Route', ADDRESS, '', MANY, 3608),
    _('Session-Expires', SESSION, 'x', False, 4028),
    _('Session-ID', VALUE, '', False, 7989),
    _('SIP-ETag', TOKEN, '', False, 3903),
    _('SIP-If-Match', TOKEN, '', False, 3903),
    _('Subject', TEXT, 's'),
    _('Subscription-State', STATE, '', False, 6665),
    _('Supported', TOKEN, 'k', MANY),
    _('Suppress-If-Match', TOKEN, '', False, 5839),
    _('Target-Dialog', DIALOG_ID, '', False, 4538),
    _('Timestamp', TIMESTAMP),
    _('To', ADDRESS, 't'),
    _('Trigger-Consent', ADDRESS, '', MANY, 5360),
    _('Unsupported', TOKEN, '', MANY),
    _('User-Agent', TEXT),
    _('User-to-User', VALUE, '', MANY, 7433),
    _('Via', VIA, 'v', MANY),
    _('Warning', WARNING, '', MANY),
    _('WWW-Authenticate', CHALLENGE, '', MANY),
)}

#: any spelling of a header name seen so far to its key: the canonical name of a registered field, else lower case
KEYS: Final[dict[str, str]] = {}


def _spell() -> None:
    for name, header in HEADERS.items():
        for spelling in (name, name.lower(), name.upper(), name.title(), header.compact, header.compact.upper()):
            if spelling:
                KEYS[intern(spelling)] = intern(name)


_spell()
#: the canonical names
CANONICAL: Final[dict[str, str]] = {name: name for name in HEADERS}
_LOWER: Final = {spelling: name for spelling, name in KEYS.items() if spelling.islower()}
_KEYS_MAX: Final = len(KEYS) + 2000


def header_key(name: str) -> str:
    """The key of a header name in any spelling; UsageError if it is no token.

    The names met are remembered, but no more than a bounded number of reasonable ones.
    """
    key = KEYS.get(name)
    if key is None:
        if not is_token(name):
            raise UsageError(f'not a header name: {name!r}')
        lower = name.lower()
        key = _LOWER.get(lower) or intern(lower)
        if len(KEYS) < _KEYS_MAX and len(name) <= 40:
            KEYS[name] = key
    return key
