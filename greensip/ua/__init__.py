"""Calls with blocking verbs: RFC 3261 as a script sees it.  ``UserAgent`` is where it begins."""

from __future__ import annotations

from .account import Account
from .agent import UserAgent
from .bridge import Bridge
from .buddy import Buddy
from .deadline import deadline
from .group import LegGroup
from .hunt import Hunt
from .identity import ANONYMOUS, Cause, Identity, divert
from .incoming import IncomingLeg
from .incoming_subscription import IncomingSubscription
from .leg import Leg, SessionInterval, Timings
from .mailbox import After, Mailbox, Notice, Watch, after, wait_any
from .messages import Inbox, IncomingMessage
from .notification import Notification
from .notifier import Notifier
from .outgoing import OutgoingLeg
from .publication import EventStateCompositor, Publication
from .referral import Referral, TransferOutcome
from .request import IncomingRequest
from .subscription import OutgoingSubscription
from .threads import Proxy
from .transfer import Transfer

__all__ = [
    'ANONYMOUS', 'Account', 'After', 'Bridge', 'Buddy', 'Cause', 'EventStateCompositor', 'Hunt', 'Identity', 'Inbox',
    'IncomingLeg', 'IncomingMessage', 'IncomingRequest', 'IncomingSubscription', 'Leg', 'LegGroup', 'Mailbox',
    'Notice', 'Notification', 'Notifier', 'OutgoingLeg', 'OutgoingSubscription', 'Proxy', 'Publication', 'Referral',
    'SessionInterval', 'Timings', 'Transfer', 'TransferOutcome', 'UserAgent', 'Watch', 'after', 'deadline', 'divert',
    'wait_any',
]
