"""SIP calls as straight pieces of code: the names that applications use.

``UserAgent`` is where it begins; ``greensip.testing`` is the kit for tests.
"""

from __future__ import annotations

from greensip.dialog.registration import Backoff
from greensip.errors import (
    Busy,
    CodecError,
    ConnectError,
    Declined,
    Forbidden,
    GreensipError,
    LegEnded,
    LocalHangup,
    MediaError,
    MediaTimeout,
    MessageTooBig,
    NegotiationFailed,
    NotAcceptable,
    NotFound,
    ParseError,
    Redirected,
    RemoteCancel,
    RemoteHangup,
    Replaced,
    RequestTerminated,
    ResolveError,
    ResponseError,
    ServerFailure,
    SessionExpired,
    SetupError,
    SrtpError,
    SubscriptionEnded,
    TlsError,
    TooBrief,
    TransactionTimeout,
    TransportError,
    Unauthorized,
    Unavailable,
    UnexpectedMessage,
    Unsubscribed,
    UsageError,
    WaitTimeout,
    WrongState,
    WrongThread,
)
from greensip.message import NameAddr, Request, Response, SipUri, TelUri, parse_name_addr, parse_uri
from greensip.sdp import SessionDescription, make_sdp, parse_sdp
from greensip.transaction.flow import Flow
from greensip.transaction.settings import Settings
from greensip.ua import (
    ANONYMOUS,
    Account,
    After,
    Bridge,
    Cause,
    EventStateCompositor,
    Hunt,
    Identity,
    IncomingLeg,
    IncomingRequest,
    IncomingSubscription,
    Leg,
    LegGroup,
    Mailbox,
    Notice,
    Notification,
    Notifier,
    OutgoingLeg,
    OutgoingSubscription,
    Proxy,
    Publication,
    Timings,
    UserAgent,
    Watch,
    after,
    deadline,
    divert,
    wait_any,
)

__all__ = [
    'ANONYMOUS', 'Account', 'After', 'Backoff', 'Bridge', 'Busy', 'Cause', 'CodecError', 'ConnectError', 'Declined',
    'EventStateCompositor', 'Flow', 'Forbidden', 'GreensipError', 'Hunt', 'Identity', 'IncomingLeg', 'IncomingRequest',
    'IncomingSubscription', 'Leg', 'LegEnded', 'LegGroup', 'LocalHangup', 'Mailbox', 'MediaError', 'MediaTimeout',
    'MessageTooBig', 'NameAddr', 'NegotiationFailed', 'NotAcceptable', 'NotFound', 'Notice', 'Notification',
    'Notifier', 'OutgoingLeg', 'OutgoingSubscription', 'ParseError', 'Proxy', 'Publication', 'Redirected',
    'RemoteCancel', 'RemoteHangup', 'Replaced', 'Request', 'RequestTerminated', 'ResolveError', 'Response',
    'ResponseError', 'ServerFailure', 'SessionDescription', 'SessionExpired', 'Settings', 'SetupError', 'SipUri',
    'SrtpError', 'SubscriptionEnded', 'TelUri', 'Timings', 'TlsError', 'TooBrief', 'TransactionTimeout',
    'TransportError', 'Unauthorized', 'Unavailable', 'UnexpectedMessage', 'Unsubscribed', 'UsageError', 'UserAgent',
    'WaitTimeout', 'Watch', 'WrongState', 'WrongThread', 'after', 'deadline', 'divert', 'make_sdp', 'parse_name_addr',
    'parse_sdp', 'parse_uri', 'wait_any',
]
