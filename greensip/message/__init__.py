"""The syntax of SIP: text in, values out (RFC 3261 7, 19, 20, 25)."""

from __future__ import annotations

from .check import check_request, check_response
from .derive import make_ack_for_failure, make_cancel, make_response
from .framing import PING, PONG, KeepAlive, StreamFramer
from .headers import HEADERS, Header, header_key
from .limits import LIMITS, Limits
from .message import Message, Request, Response
from .methods import DIALOG_METHODS, METHODS, TARGET_REFRESH_METHODS, Method
from .params import Params
from .parser import parse_message
from .status import REASONS, reason_phrase
from .uri import OtherUri, SipUri, TelUri, Uri, parse_uri
from .values import (
    STAR,
    AuthInfo,
    Challenge,
    Credentials,
    CSeq,
    DialogId,
    EventValue,
    MediaType,
    NameAddr,
    Parameterized,
    RAck,
    Reason,
    Replaces,
    RetryAfter,
    SessionExpires,
    SubscriptionState,
    Timestamp,
    Via,
    Warning,
    format_date,
    parse_challenge,
    parse_credentials,
    parse_cseq,
    parse_date,
    parse_media_type,
    parse_name_addr,
    parse_via,
)

__all__ = [
    'DIALOG_METHODS', 'HEADERS', 'LIMITS', 'METHODS', 'PING', 'PONG', 'REASONS', 'STAR', 'TARGET_REFRESH_METHODS',
    'AuthInfo', 'CSeq', 'Challenge', 'Credentials', 'DialogId', 'EventValue', 'Header', 'KeepAlive', 'Limits',
    'MediaType', 'Message', 'Method', 'NameAddr', 'OtherUri', 'Parameterized', 'Params', 'RAck', 'Reason', 'Replaces',
    'Request', 'Response', 'RetryAfter', 'SessionExpires', 'SipUri', 'StreamFramer', 'SubscriptionState', 'TelUri',
    'Timestamp', 'Uri', 'Via', 'Warning', 'check_request', 'check_response', 'format_date', 'header_key',
    'make_ack_for_failure', 'make_cancel', 'make_response', 'parse_challenge', 'parse_credentials', 'parse_cseq',
    'parse_date', 'parse_media_type', 'parse_message', 'parse_name_addr', 'parse_uri', 'parse_via', 'reason_phrase',
]
