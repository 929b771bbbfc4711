"""Calls that name another call: Replaces (RFC 3891), Join (RFC 3911) and Target-Dialog (RFC 4538).

All three carry the identification of a dialog as whoever receives them would see it.  ``find_match`` says what is to
become of an INVITE that has one; ``find_target_dialog`` finds the dialog by which a request shows that its sender knows
us already.

A dialog that has just ended is remembered for a while (64*T1), since an INVITE that would replace it is to be declined
and not to ring.  A core that supports neither extension remembers nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greensip.errors import ParseError, Replaced
from greensip.message import DialogId as DialogName
from greensip.message import Request

from .dialog import Dialog, DialogId
from .invite import InviteUsage
from .states import ACCEPTED, CANCELLING, CLOSING, HANGING_UP, TERMINATED

if TYPE_CHECKING:
    from .core import Core

__all__ = ['COMPLETED_ELSEWHERE', 'EndedDialogs', 'Match', 'find_match', 'find_target_dialog', 'give_way',
           'replaces_text', 'target_dialog_text']

#: RFC 3326 2: so the phone that rang does not count it as a missed call
COMPLETED_ELSEWHERE: Final = 'SIP;cause=200;text="Call completed elsewhere"'

#: dialogs that have ended and are remembered at most
REMEMBERED: Final = 1000

OVER: Final = frozenset({CANCELLING, CLOSING, HANGING_UP, TERMINATED})


class EndedDialogs:
    """The dialogs of calls that ended lately, at most a thousand."""

    __slots__ = ('_ended', 'seconds')

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: when they ended, the oldest first
        self._ended: dict[DialogId, float] = {}

    def add(self, dialog: DialogId, now: float) -> None:
        """Remember one."""
        ended = self._ended
        ended[dialog] = now
        if len(ended) > REMEMBERED:
            del ended[next(iter(ended))]

    def has(self, dialog: DialogId, now: float) -> bool:
        """Whether it ended no longer than ``seconds`` ago."""
        at = self._ended.get(dialog)
        return at is not None and now - at <= self.seconds

    def __len__(self) -> int:
        return len(self._ended)


class Match:
    """The call that a new INVITE is about.  ``kind`` is ``replaces`` or ``join``."""

    __slots__ = ('dialog', 'kind', 'owner', 'usage')

    def __init__(self, kind: str, dialog: Dialog) -> None:
        self.kind = kind
        self.dialog = dialog
        self.usage: InviteUsage = dialog.usage
        #: that of the usage, also when the call is over
        self.owner: Any = dialog.usage.owner

    def accepted(self, now: float) -> None:
        """RFC 3891 3: the new call is accepted, so the other one is shut down.  Join leaves it as it is."""
        if self.kind == 'replaces':
            give_way(self.usage, now)


def give_way(usage: InviteUsage, now: float) -> bool:
    """End a call with ``Replaced``, as another took its place: BYE, or CANCEL if we are its caller and it is early
    (RFC 3891 3).  False if it was over."""
    if usage.state in OVER:
        return False
    usage.ended_by = Replaced()
    usage.forget_match()
    return usage.fire('bye', now, ()) or usage.fire('cancel', now, [('Reason', COMPLETED_ELSEWHERE)])


def find_match(core: Core, request: Request, now: float) -> Match | int | None:
    """What an INVITE outside of dialogs names with Replaces or Join (RFC 3891 3, RFC 3911 4).

    None if there is neither; a number is the status to refuse it with.  Raises ParseError.

    Not as RFC 3891 3, which wants to know here whether the caller is authorized: the program decides that, which is
    told of the match, and accepts the call or does not.
    """
    kinds = [kind for kind in ('replaces', 'join') if core.supports(kind) and request.has(kind)]
    if not kinds:
        return None
    # More than one of them, or contradictory ones
    if len(kinds) > 1 or len(request.get_all(kinds[0])) > 1:
        return 400
    kind = kinds[0]
    name: Any = request.value(kind)
    dialogs, ended = _dialogs_of(core, name, now)
    # No match is found, or more than one
    if len(dialogs) != 1:
        return 603 if ended and not dialogs else 481
    dialog = dialogs[0]
    usage = dialog.usage
    # One that was not created with an INVITE
    if not isinstance(usage, InviteUsage):
        # ... or whose call is over while a subscription goes on in it
        return 603 if core.ended is not None and core.ended.has(dialog.id, now) else 481
    # One that has already terminated
    if usage.state in OVER:
        return 603
    if kind == 'replaces':
        if dialog.confirmed or usage.state == ACCEPTED:
            # A confirmed dialog, but only an early one is meant
            if name.early_only:
                return 486
        elif usage.role != 'uac':
            # An early one that we have not initiated
            return 481
    return Match(kind, dialog)


def _dialogs_of(core: Core, name: DialogName, now: float) -> tuple[list[Dialog], bool]:
    """The dialogs that a Replaces or Join names, and whether there was one lately.

    RFC 3891 6.1: a tag of zero matches both tags of zero and null, those of RFC 2543.
    """
    found: list[Dialog] = []
    ended = False
    remembered = core.ended
    for local in _tags(name.to_tag):
        for remote in _tags(name.from_tag):
            key = name.call_id, local, remote
            dialog = core.dialogs.get(key)
            if dialog is not None:
                found.append(dialog)
            elif remembered is not None and remembered.has(key, now):
                ended = True
    return found, ended


def _tags(tag: str | None) -> tuple[str, ...]:
    return ('0', '') if tag == '0' else (tag or '',)


def find_target_dialog(core: Core, request: Request) -> Dialog | None:
    """RFC 4538 4: the dialog that Target-Dialog names; None also for one that is broken, which is to be ignored.

    Its tags are called as the receiver sees them.
    """
    if not request.has('Target-Dialog'):
        return None
    try:
        name: Any = request.value('Target-Dialog')
    except ParseError:
        return None
    return core.dialogs.get((name.call_id, name.param('local-tag') or '', name.param('remote-tag') or ''))


def replaces_text(dialog: Dialog, early_only: bool = False) -> str:
    """The value of a Replaces or Join header field that names ``dialog`` to its other side."""
    text = f'{dialog.call_id};to-tag={dialog.remote_tag or 0};from-tag={dialog.local_tag or 0}'
    return f'{text};early-only' if early_only else text


def target_dialog_text(dialog: Dialog) -> str:
    """The value of Target-Dialog that names ``dialog`` to its other side (RFC 4538 3)."""
    return f'{dialog.call_id};local-tag={dialog.remote_tag};remote-tag={dialog.local_tag}'
