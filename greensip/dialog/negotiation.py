"""The offers and answers of a dialog: RFC 3264, RFC 3311 and RFC 6337 as the usage of a call needs them.

``OfferAnswer`` of ``greensip.sdp`` knows when an offer may be made, and what a description means in the place where
it stands.  It would have to be told each message of each call, so a dialog has one only from the moment when it
matters: with the first reliable provisional response (RFC 3262) or UPDATE.  ``session_of`` makes it and tells it what
has been so far; from then on the usage tells it everything.

What we send is refused when the machine says so.  What has gone out or come in, it takes note of; if it makes no sense,
the exchange is rolled back and the call goes on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from greensip.errors import GreensipError, NegotiationFailed, ParseError, WrongState
from greensip.message import Request, Response
from greensip.message.multipart import find_part
from greensip.sdp.offer_answer import Meaning, OfferAnswer, Place

from .dialog import Dialog

if TYPE_CHECKING:
    from greensip.transaction.layer import ServerTransaction

    from .invite import InviteUsage

__all__ = ['SDP', 'check_offer', 'heard', 'note_answer', 'said', 'sdp_of', 'session_of']

log: Final = logging.getLogger('greensip.dialog')

SDP: Final = 'application/sdp'

#: the request whose exchange is over when a description makes no sense in that place, and whether it is that of who
#: says it; a provisional response ends nothing
_REQUESTS: Final = {
    Place.INVITE: (Place.INVITE, True), Place.INVITE_2XX: (Place.INVITE, False), Place.ACK: (Place.INVITE, True),
    Place.PRACK: (Place.PRACK, True), Place.PRACK_2XX: (Place.PRACK, False), Place.UPDATE: (Place.UPDATE, True),
    Place.UPDATE_2XX: (Place.UPDATE, False),
}


def sdp_of(message: Request | Response) -> bytes:
    """The session description that a message carries, alone or as a part of its body; b'' for none.

    A body that can't be read is none: a 2xx or an ACK has its effect all the same.
    """
    if not message.body:
        return b''
    if message.get('Content-Type') == SDP:
        return message.body
    try:
        kind = message.content_type
    except ParseError:
        return b''
    return (find_part(kind, message.body, SDP) or b'') if kind is not None else b''


def session_of(usage: InviteUsage, dialog: Dialog) -> OfferAnswer:
    """The session of a dialog; the first time it is told what has been so far."""
    session = dialog.session
    if session is None:
        session = dialog.session = OfferAnswer()
        if dialog.confirmed:
            recall(usage, session)
        elif usage.request is not None:
            offer = sdp_of(usage.request) or None
            if usage.role == 'uac':
                session.send(Place.INVITE, offer)
            else:
                session.receive(Place.INVITE, offer)
    return session


def recall(usage: InviteUsage, session: OfferAnswer) -> None:
    """Tell the machine of an answered call what is in force, and what is open."""
    local, remote = usage.local_sdp or None, usage.remote_sdp or None
    unacked, answering, inviting, invited = usage.unacked, usage.answering, usage.inviting, usage.invited
    late = unacked is not None and not unacked.body and remote is not None
    ours = answering is not None and answering.offers
    if local is not None and remote is not None and not ((late or ours) and usage.is_first_session):
        session.send(Place.INVITE, local)
        session.receive(Place.INVITE_2XX, remote)
    if late:
        session.send(Place.INVITE)
        session.receive(Place.INVITE_2XX, remote)
    elif ours:
        session.receive(Place.INVITE)
        session.send(Place.INVITE_2XX, local)
    elif inviting is not None:
        session.send(Place.INVITE, inviting.body or None)
    elif invited is not None:
        session.receive(Place.INVITE, sdp_of(invited.request) or None)


def check_offer(session: OfferAnswer, place: Place, body: bytes) -> None:
    """We are about to send a request: it goes on record, or WrongState says why it must wait."""
    try:
        session.send(place, body or None)
    except NegotiationFailed as error:
        raise WrongState(str(error)) from None


def said(session: OfferAnswer, place: Place, body: bytes) -> Meaning:
    """We have sent a message in that place: what its description means."""
    try:
        return session.send(place, body or None)
    except GreensipError as error:
        log.debug('! our %s: %s', place, error)
        if place in _REQUESTS:
            request, ours = _REQUESTS[place]
            session.refused(request, ours=ours)
        return Meaning.IGNORED


def heard(session: OfferAnswer, place: Place, body: bytes) -> Meaning:
    """A message has come in that place: what its description means."""
    try:
        return session.receive(place, body or None)
    except GreensipError as error:
        log.debug("! the peer's %s: %s", place, error)
        if place in _REQUESTS:
            request, theirs = _REQUESTS[place]
            session.refused(request, ours=not theirs)
        return Meaning.IGNORED


def note_answer(
    usage: InviteUsage, transaction: ServerTransaction, place: Place, success: Place, response: Response
) -> None:
    """Our final response to an UPDATE or PRACK of the peer's has gone; ``success`` is the place of its 2xx."""
    # The From tag says in which of our dialogs it came.
    dialog = usage.dialogs.get(transaction.request.from_tag or '') or usage.dialog
    session = dialog.session if dialog is not None else None
    if session is None:
        return
    if response.code >= 300:
        session.refused(place, ours=False)
        return
    sdp = sdp_of(response)
    if said(session, success, sdp) is Meaning.ANSWER:
        usage.local_sdp = sdp
