"""Calls that take the place of others: Replaces (RFC 3891) and Join (RFC 3911), and transfers (RFC 3515, 5589)."""

from __future__ import annotations

from typing import Any

from greensip.dialog.replaces import replaces_text
from greensip.errors import ResponseError, UsageError
from greensip.message import Response, Uri
from greensip.message.headers import HEADERS

from .fields import Pairs
from .identity import next_history
from .leg import Leg

__all__ = ['history_fields', 'naming_fields']


def naming_fields(replaces: Any, joins: Any) -> Pairs:
    """The header fields of an INVITE that is to replace or to join a call of the one called.

    With Require, so that who does not know them refuses the call and does not ring (RFC 3891 6.2).
    """
    if replaces is not None and joins is not None:
        raise UsageError('a call can replace another one or join it, not both')
    name, named = ('Replaces', replaces) if replaces is not None else ('Join', joins)
    return ((name, name_of(named)), ('Require', name.lower()))


def history_fields(target: Uri, history: Leg | bool) -> Pairs:
    """The History-Info of a call (RFC 7044), and the option tag that asks for what the peers know of it."""
    before: Any = None
    if isinstance(history, Leg):
        request, error = history.invite, history.error
        if request is None:
            raise UsageError(f'{history!r} has no INVITE whose history could go on')
        refusal = error.response if isinstance(error, ResponseError) else None
        before = (request, refusal) if isinstance(refusal, Response) else request
    return (*next_history(target, before), ('Supported', 'histinfo'))


def name_of(named: Any) -> str:
    """A Replaces or Join value: that of our leg with the one called, or as it is given."""
    if isinstance(named, Leg):
        dialog = named.usage.dialog
        if dialog is None:
            raise UsageError(f'{named!r} has no dialog that could be named')
        return replaces_text(dialog)
    text = str(named)
    HEADERS['Replaces'].type.parse(text)
    return text
