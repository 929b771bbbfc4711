"""Dialogs, their usages and the core of a user agent: RFC 3261 8, 9, 12 to 15, as plain values that are told the
time."""

from __future__ import annotations

from .core import Core, Random
from .dialog import Dialog, DialogId
from .event import ENDED, FAILED, FORKED, INCOMING, LOST, REFRESHED, REGISTERED, REQUEST, RESPONSE, Event
from .exchange import ClientRequest, Fields
from .invite import InviteUsage
from .invite_client import ClientInvite
from .invite_request import InviteRequest
from .invite_server import ServerInvite
from .outside import name_addr_text
from .registration import Place, Registration
from .routing import Lookup, Router, route_request
from .soft_state import Backoff
from .subscription import Subscription, status_of
from .subscription_client import ClientSubscription
from .subscription_server import ServerSubscription

__all__ = [
    'ENDED',
    'FAILED',
    'FORKED',
    'INCOMING',
    'LOST',
    'REFRESHED',
    'REGISTERED',
    'REQUEST',
    'RESPONSE',
    'Backoff',
    'ClientInvite',
    'ClientRequest',
    'ClientSubscription',
    'Core',
    'Dialog',
    'DialogId',
    'Event',
    'Fields',
    'InviteRequest',
    'InviteUsage',
    'Lookup',
    'Place',
    'Random',
    'Registration',
    'Router',
    'ServerInvite',
    'ServerSubscription',
    'Subscription',
    'name_addr_text',
    'route_request',
    'status_of',
]
