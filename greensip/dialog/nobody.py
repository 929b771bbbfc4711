"""Whom dialogs and requests belong to that no call wants: RFC 3261 13.2.2.4."""

from __future__ import annotations

from typing import Final

from greensip.message import Response

from .dialog import Dialog
from .exchange import ClientRequest
from .invite_request import InviteRequest

__all__ = ['NOBODY', 'Nobody', 'turn_down']


def turn_down(invite: InviteRequest, response: Response, now: float) -> None:
    """Acknowledge a 2xx that nobody wants, and hang it up (13.2.2.4)."""
    request = invite.request
    assert request is not None
    dialog = Dialog.as_uac(NOBODY, request, response, invite.home)
    invite.go_on_counting(dialog)
    invite.acknowledge(dialog, now)
    envelope = dialog.envelope()
    ClientRequest(invite.core, 'BYE', NOBODY, envelope, point=dialog.point, digest=invite.digest).start(now)


class Nobody:
    """Whom a dialog and its requests belong to when the call is over, or never was: a fork that came too late."""

    __slots__ = ()

    def on_response(self, exchange: ClientRequest, response: Response, now: float) -> None:
        """A 2xx still makes a call, which nobody wants (13.2.2.4)."""
        if isinstance(exchange, InviteRequest) and 200 <= response.code < 300:
            turn_down(exchange, response, now)

    def on_failure(self, exchange: ClientRequest, error: Exception, now: float) -> None:
        """It is over."""

    def on_unreachable(self, dialog: Dialog, error: Exception, now: float) -> None:
        """The peer will stop repeating its 2xx by itself."""

    def resume_invite(self, exchange: InviteRequest, now: float) -> None:
        """The session that was to be changed is no more."""

    def on_next_attempt(self) -> None:
        """It is over."""


NOBODY: Final = Nobody()
