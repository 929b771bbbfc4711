"""What happens to a call before it is answered: several early dialogs, and reliable provisional responses.

A proxy may send an INVITE to several phones, each of which rings in a dialog of its own (RFC 3261 12.1.2, 13.2.2.1),
with early media and offers of its own (RFC 6337 2.2).  ``leg.early`` has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greensip.dialog.dialog import Dialog
from greensip.dialog.negotiation import SDP, sdp_of
from greensip.errors import GreensipError, ParseError
from greensip.message import Request, Response
from greensip.sdp.offer_answer import OFFER_RECEIVED, Place

from .fields import Body, Extra, body_of, fields_of
from .session import answer_again, inactive_answer
from .threads import ThreadBound

if TYPE_CHECKING:
    from .leg import Leg
    from .outgoing import OutgoingLeg

__all__ = ['EarlyDialog', 'acknowledge_offer', 'answer_prack']


class EarlyDialog(ThreadBound):
    """One of the phones that ring: ``leg.early[tag]``."""

    __slots__ = ('_dialog', '_leg')

    def __init__(self, leg: OutgoingLeg, dialog: Dialog) -> None:
        self._leg = leg
        self._dialog = dialog

    @property
    def tag(self) -> str:
        """The To tag of its responses, by which the dialogs are told apart."""
        return self._dialog.remote_tag

    @property
    def target(self) -> str:
        """The URI of its Contact: where requests of this dialog go."""
        return self._dialog.remote_target

    @property
    def responses(self) -> list[Response]:
        """Its responses, as far as the leg remembers them (``keep_responses``)."""
        return [response for response in self._leg.responses if (response.to_tag or '') == self.tag]

    @property
    def sdp(self) -> bytes:
        """The session description that it has sent last: the answer, early media, or an offer; empty for none."""
        session = self._dialog.session
        if session is not None and isinstance(session.remote, bytes):
            return session.remote
        for response in reversed(self.responses):
            found = sdp_of(response)
            if found:
                return found
        return b''

    @property
    def ended(self) -> bool:
        """Whether it is over: by a 199 (RFC 6228), because another one was answered, or with the call."""
        return self._leg.usage.dialogs.get(self.tag) is not self._dialog

    def update(self, sdp: Body = None, *, headers: Extra = None, timeout: float | None = None) -> Response:
        """Send an UPDATE in this dialog (RFC 3311), wait for its final response, and return that.

        Raises what ``leg.update`` raises.
        """
        return self.request('UPDATE', headers=headers, body=sdp, content_type=SDP, timeout=timeout)

    def request(self, method: str, *, headers: Extra = None, body: Body = None, content_type: str | None = None,
                timeout: float | None = None) -> Response:
        """Send any request in this dialog, wait for its final response, and return that.  Raises as ``leg.request``."""
        leg = self._leg
        data, kind = body_of(body, content_type, 'text/plain')
        return leg.ask(method, fields_of(headers), data, kind, timeout, self._dialog)

    def __repr__(self) -> str:
        return f'<EarlyDialog {self.tag} {self.target}>'


def answer_prack(leg: Leg, request: Request) -> bytes:
    """The session description of our 2xx to a PRACK: the answer, if it has an offer (RFC 3262 5), else nothing.

    It can't be refused (RFC 6337 table 2): what does not suit us gets an answer without media.
    """
    session = leg.usage.session
    offer = sdp_of(request)
    if session is None or session.offer_place is not Place.PRACK or session.state != OFFER_RECEIVED or not offer:
        return b''
    return answer_to(leg, offer)


def answer_to(leg: Leg, offer: bytes) -> bytes:
    """Our answer to an offer that can't be refused; b'' for one that can't be read."""
    ua, local = leg.ua, leg.usage.local_sdp
    try:
        if local:
            try:
                return answer_again(offer, local, leg.on_hold)
            except ParseError:
                raise
            except GreensipError:
                pass
        return inactive_answer(offer, leg.host, ua.codecs, ua.core.random)
    except GreensipError:
        return b''


def acknowledge_offer(leg: Leg, response: Any, now: float) -> None:
    """A reliable provisional response that carries the offer: the PRACK carries our answer (RFC 3262 5).

    A call whose offer can't be read is given up: there is no way to refuse it.
    """
    usage = leg.usage
    answer = answer_to(leg, sdp_of(response))
    if answer:
        usage.prack(response, now, body=answer)
    else:
        usage.close(now, reason='SIP;cause=488;text="Not Acceptable Here"')
