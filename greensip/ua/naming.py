"""Requests that say of another call what theirs has to do with it: Replaces (RFC 3891), Join (RFC 3911), Target-Dialog
(RFC 4538), History-Info (RFC 7044)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greensip.body.dialog_info import DialogState
from greensip.dialog.replaces import find_target_dialog, replaces_text
from greensip.errors import ResponseError, UsageError
from greensip.message import Request, Response, Uri
from greensip.message.headers import HEADERS

from .fields import Pairs
from .identity import next_history
from .mailbox import Mailbox

if TYPE_CHECKING:
    from .agent import UserAgent
    from .leg import Leg

__all__ = ['dialog_of', 'history_fields', 'naming_fields', 'target_leg']


def naming_fields(replaces: Any, joins: Any) -> Pairs:
    """The header fields of an INVITE that is to replace or to join a call of the one called.

    With Require, so that who does not know them refuses the call and does not ring (RFC 3891 6.2).
    """
    if replaces is not None and joins is not None:
        raise UsageError('a call can replace another one or join it, not both')
    name, named = ('Replaces', replaces) if replaces is not None else ('Join', joins)
    return ((name, name_of(named)), ('Require', name.lower()))


def name_of(named: Any) -> str:
    """A Replaces or Join value: that of our leg with the one called, or as it is given.

    A ``DialogState`` of the dialog package names a call of somebody else's with the one called; one that rings is to
    be picked up, so it must not be answered meanwhile (RFC 3891 7.1).
    """
    if isinstance(named, Mailbox):
        return replaces_text(dialog_of(named))
    if isinstance(named, DialogState):
        if not (named.call_id and named.local_tag and named.remote_tag):
            raise UsageError(f'a dialog that is {named.state} and has no tags cannot be named')
        early = ';early-only' if named.state in ('trying', 'proceeding', 'early') else ''
        return f'{named.call_id};to-tag={named.remote_tag};from-tag={named.local_tag}{early}'
    text = str(named)
    HEADERS['Replaces'].type.parse(text)
    return text


def dialog_of(leg: Any) -> Any:
    """The dialog of a leg; raises UsageError if it has none."""
    dialog = leg.usage.dialog
    if dialog is None:
        raise UsageError(f'{leg!r} has no dialog that could be named')
    return dialog


def history_fields(target: Uri, history: Any) -> Pairs:
    """The History-Info of a call (RFC 7044), and the option tag that asks for what the peers know of it."""
    before: Any = None
    if isinstance(history, Mailbox):
        leg: Any = history
        request, error = leg.invite, leg.error
        if request is None:
            raise UsageError(f'{history!r} has no INVITE whose history could go on')
        refusal = error.response if isinstance(error, ResponseError) else None
        before = (request, refusal) if isinstance(refusal, Response) else request
    return (*next_history(target, before), ('Supported', 'histinfo'))


def target_leg(ua: UserAgent, request: Request) -> Leg | None:
    """The call that a request's Target-Dialog names (RFC 4538 4): its sender knows us already, or knows who does."""
    dialog = find_target_dialog(ua.core, request)
    leg: Leg | None = getattr(dialog.usage, 'owner', None) if dialog is not None else None
    return leg
