"""The offer/answer exchange of a dialog as a state machine, RFC 3264 4 and RFC 6337 2 to 4.

``OfferAnswer`` is told every INVITE, 1xx, 2xx, ACK, PRACK and UPDATE of one dialog in the order they are sent and
received, each with its session description or None: not retransmissions, not the ACK of an earlier INVITE, and not a
PRACK and its 2xx when neither they nor the response they acknowledge have a description.  It says what the description
means there: an offer, an answer, a preview of the answer (SDP in an unreliable 1xx), or nothing.  The machine proper
has RFC 3264's four states.  What RFC 6337 adds are its tables: ``PATTERNS`` (tables 1 and 2, which message answers
which, and how an offer is refused there) and the rules of section 4.3, ``obstacle`` for what we must not send yet and
``refusal`` for what we must not accept yet (491, or 500 with Retry-After).

A description is a ``SessionDescription`` or plain bytes.  Answers are checked against their offers only when both are
descriptions, so that an element that passes SDP through need not read it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, NamedTuple

from greensip.errors import NegotiationFailed, WrongState
from greensip.fsm import Machine, Row
from greensip.sdp.description import SessionDescription
from greensip.sdp.negotiation import check_answer

__all__ = [
    'NO_SESSION', 'OFFER_RECEIVED', 'OFFER_SENT', 'PATTERNS', 'STABLE', 'Meaning', 'OfferAnswer', 'OfferAnswerState',
    'Pattern', 'Place', 'Refusal', 'pattern_of', 'place_of',
]

Body = SessionDescription | bytes


class OfferAnswerState(StrEnum):
    """RFC 3264 4."""

    NO_SESSION = 'no session'
    OFFER_SENT = 'offer sent'
    OFFER_RECEIVED = 'offer received'
    STABLE = 'stable'


NO_SESSION: Final = OfferAnswerState.NO_SESSION
OFFER_SENT: Final = OfferAnswerState.OFFER_SENT
OFFER_RECEIVED: Final = OfferAnswerState.OFFER_RECEIVED
STABLE: Final = OfferAnswerState.STABLE


class Place(StrEnum):
    """The SIP messages that a session description travels in."""

    INVITE = 'INVITE'
    PROVISIONAL = '1xx'                 # an unreliable one
    RELIABLE = '1xx-rel'
    INVITE_2XX = '2xx-INVITE'
    ACK = 'ACK'
    PRACK = 'PRACK'
    PRACK_2XX = '2xx-PRACK'
    UPDATE = 'UPDATE'
    UPDATE_2XX = '2xx-UPDATE'


class Meaning(StrEnum):
    """What a message says about the session."""

    OFFER = 'offer'
    ANSWER = 'answer'
    PREVIEW = 'preview'                 # act as if it were the answer, which is still to come (RFC 6337 3.1.1)
    IGNORED = 'ignored'                 # a repetition, or out of place
    NOTHING = 'nothing'                 # no session description


class Pattern(NamedTuple):
    """A row of RFC 6337 tables 1 and 2."""

    number: int
    offer: Place
    answer: Place
    #: can it make the first session, update an established one, update one in an early dialog
    initial: bool
    established: bool
    early: bool
    #: the status that refuses the offer; None: only an answer with all ports 0, then BYE, CANCEL or a new offer
    refused_with: int | None


PATTERNS: Final = (
    Pattern(1, Place.INVITE, Place.INVITE_2XX, True, True, False, 488),
    Pattern(2, Place.INVITE_2XX, Place.ACK, True, True, False, None),
    Pattern(3, Place.INVITE, Place.RELIABLE, True, True, False, 488),
    Pattern(4, Place.RELIABLE, Place.PRACK, True, True, False, None),
    Pattern(5, Place.PRACK, Place.PRACK_2XX, False, True, True, None),
    Pattern(6, Place.UPDATE, Place.UPDATE_2XX, False, True, True, 488),
)


def pattern_of(offer: Place, answer: Place | None = None) -> Pattern | None:
    """The row for an offer made in that place (and answered in the other); None if there is no such pattern."""
    for pattern in PATTERNS:
        if pattern.offer is offer and answer in (None, pattern.answer):
            return pattern
    return None


def place_of(method: str, code: int = 0, reliable: bool = False) -> Place | None:
    """The place of a request (``code`` 0) or a response to it; None where a description means nothing, such as in a
    488 or in the 200 to OPTIONS (RFC 6337 2.4)."""
    if code == 0:
        return {'INVITE': Place.INVITE, 'ACK': Place.ACK, 'PRACK': Place.PRACK, 'UPDATE': Place.UPDATE}.get(method)
    if 100 < code < 200 and method == 'INVITE':
        return Place.RELIABLE if reliable else Place.PROVISIONAL
    if 200 <= code < 300:
        return {'INVITE': Place.INVITE_2XX, 'PRACK': Place.PRACK_2XX, 'UPDATE': Place.UPDATE_2XX}.get(method)
    return None


class Refusal(NamedTuple):
    """How to refuse a request that comes at the wrong moment: status, the RFC 6337 rule, and the range in seconds
    from which Retry-After is drawn (RFC 3261 14.2, RFC 3311 5.2), None without that field."""

    code: int
    rule: str
    retry_after: tuple[int, int] | None = None


def _crossing(rule: str) -> Refusal:
    """Both sides asked: each tries again after its own time (RFC 3261 14.1)."""
    return Refusal(491, rule)


def _too_early(rule: str) -> Refusal:
    """The peer did not wait for our answer to its last request."""
    return Refusal(500, rule, (0, 10))


# Actions of the rows.

def keep_offer(machine: OfferAnswer, offer: Body, place: Place) -> None:
    machine.offer = offer
    machine.offer_place = place


def agree_on_ours(machine: OfferAnswer, answer: Body) -> None:
    machine.local, machine.remote = machine.offer, answer
    drop_offer(machine)


def agree_on_theirs(machine: OfferAnswer, answer: Body) -> None:
    machine.local, machine.remote = answer, machine.offer
    drop_offer(machine)


def drop_offer(machine: OfferAnswer) -> None:
    """RFC 3264 4: the exchange is atomic, the session is what it was."""
    machine.offer = machine.offer_place = None


def restore(machine: OfferAnswer) -> None:
    """RFC 3261 14.1, RFC 6337 3.4: as if no re-INVITE had been issued."""
    machine.local, machine.remote = machine.before


def forget(machine: OfferAnswer) -> None:
    drop_offer(machine)
    machine.local = machine.remote = None


_RESPONSES_TO_INVITE: Final = (Place.PROVISIONAL, Place.RELIABLE, Place.INVITE_2XX)

#: How far the exchange of the present INVITE got.
_Exchange = Literal['', 'offered', 'answered']
_Role = Literal['', 'client', 'server']
_Due = Literal['', 'due', 'pending']


#: all that an exchange is made of
_STATE: Final = ('arrows', 'state', 'before', 'exchange', 'invite', 'last_sent', 'local', 'offer', 'offer_place',
                 'prack_may_offer', 'prack_received', 'prack_sent', 'preview', 'remote', 'update_received',
                 'update_sent')


class OfferAnswer(Machine):
    """The session of one dialog, as offers and answers made it.

    ``local`` and ``remote`` are the descriptions in force, ``offer`` the one that waits for its answer, ``preview`` an
    early view of the answer, ``last_sent`` what ``numbered`` and ``make_answer`` want as ``previous``.
    """

    __slots__ = ('before', 'exchange', 'invite', 'last_sent', 'local', 'offer', 'offer_place', 'prack_may_offer',
                 'prack_received', 'prack_sent', 'preview', 'remote', 'update_received', 'update_sent')

    rows = (
        # RFC 3264 4: no offer while one is without answer or rejection, in either direction.
        Row(NO_SESSION, 'send offer', OFFER_SENT, keep_offer),
        Row(NO_SESSION, 'receive offer', OFFER_RECEIVED, keep_offer),
        Row(STABLE, 'send offer', OFFER_SENT, keep_offer),
        Row(STABLE, 'receive offer', OFFER_RECEIVED, keep_offer),
        Row(OFFER_SENT, 'receive answer', STABLE, agree_on_ours),
        Row(OFFER_RECEIVED, 'send answer', STABLE, agree_on_theirs),
        # A rejected offer rolls back to what was before it.
        Row(OFFER_SENT, 'rejected', STABLE, drop_offer),
        Row(OFFER_RECEIVED, 'rejected', STABLE, drop_offer),
        Row(OFFER_SENT, 'first offer rejected', NO_SESSION, drop_offer),
        Row(OFFER_RECEIVED, 'first offer rejected', NO_SESSION, drop_offer),
        # The INVITE failed after exchanges in its early dialog had succeeded.
        Row(STABLE, 're-INVITE failed', STABLE, restore),
        Row(OFFER_SENT, 're-INVITE failed', OFFER_SENT, restore),
        Row(OFFER_RECEIVED, 're-INVITE failed', OFFER_RECEIVED, restore),
        Row(STABLE, 'INVITE failed', NO_SESSION, forget),
        Row(OFFER_SENT, 'INVITE failed', NO_SESSION, forget),
        Row(OFFER_RECEIVED, 'INVITE failed', NO_SESSION, forget),
    )
    initial = NO_SESSION

    def __init__(self) -> None:
        super().__init__()
        self.local: Body | None = None
        self.remote: Body | None = None
        self.offer: Body | None = None
        self.offer_place: Place | None = None
        self.preview: Body | None = None
        self.last_sent: Body | None = None
        #: local and remote at the time of the latest INVITE
        self.before: tuple[Body | None, Body | None] = (None, None)
        #: our role in the INVITE transaction, until it is complete and its ACK carried the answer, if it has to
        self.invite: _Role = ''
        self.exchange: _Exchange = ''
        #: a PRACK "associated with an offer/answer" (RFC 6337 4.3) is to come, or has no response yet
        self.prack_sent: _Due = ''
        self.prack_received: _Due = ''
        self.prack_may_offer = False
        #: an UPDATE of ours, or of the peer, has no final response yet
        self.update_sent = False
        self.update_received = False

    def __repr__(self) -> str:
        return f'<OfferAnswer {self.state}{" in " + self.offer_place if self.offer_place else ""}>'

    def fork(self) -> OfferAnswer:
        """A copy for another early dialog of the same INVITE (RFC 6337 2.2: each has an exchange of its own)."""
        other = OfferAnswer()
        for name in _STATE:
            setattr(other, name, getattr(self, name))
        return other

    # -- what may be done now, RFC 6337 4.3

    @property
    def invite_pending(self) -> bool:
        """An INVITE is on its way whose offer/answer exchange is not over, PRACK included."""
        return (self.invite != '' and self.exchange != 'answered') or self.prack_sent + self.prack_received != ''

    def refusal(self, place: Place, offer: bool) -> Refusal | None:
        """How to refuse an INVITE or UPDATE that came just now, with an offer or without; None to accept it."""
        if place is Place.INVITE:
            if self.invite:
                return _crossing('UAS-IcI') if self.invite == 'client' else _too_early('UAS-IsI')
            if self.offer is not None:
                return _crossing('UAS-UcI') if self.state == OFFER_SENT else _too_early('UAS-UsI')
        elif place is Place.UPDATE:
            if self.update_received:
                return _too_early('UAS-UsU')
            if offer and self.state == OFFER_SENT and self.offer_place is Place.UPDATE:
                return _crossing('UAS-UcU')
            if offer and self.invite_pending:
                # Our PRACK may still be out when the 2xx to our INVITE overtook its response.
                ours = self.invite == 'client' or self.prack_sent != ''
                return _crossing('UAS-IcU') if ours else _too_early('UAS-IsU')
        return None

    def obstacle(self, place: Place, offer: bool = True) -> str | None:
        """Why a message must not be sent in that place just now, with an offer or without; None if it may."""
        if place is Place.INVITE:
            if self.invite:
                return 'an INVITE is not complete (UAC-II)'
            if self.update_sent or self.update_received:
                return 'an UPDATE is not complete (UAC-UI)'
            if self.prack_sent:         # beyond RFC 6337: its late 2xx must not fall into the next INVITE
                return 'a PRACK is not complete'
        elif place is Place.UPDATE:
            if self.update_sent:
                return 'an UPDATE is not complete (UAC-UU)'
            if offer and self.invite_pending:
                return 'the offer/answer exchange of an INVITE is not complete (UAC-IU)'
            if offer and self.state == NO_SESSION:
                return 'an UPDATE cannot carry the first offer'
        elif place is Place.PRACK:
            if offer and not self.prack_may_offer:
                return 'a PRACK carries an offer only for the reliable response with the answer (pattern 5)'
        elif place in (Place.RELIABLE, Place.INVITE_2XX):
            if offer and self.exchange:
                return 'there is one offer/answer exchange in an INVITE transaction'
        elif offer:
            return f'{place} never carries an offer'
        if offer and self.offer is not None:
            return f'an offer in {self.offer_place} has no answer yet'
        return None

    # -- messages

    def send(self, place: Place, body: Body | None = None) -> Meaning:
        """We send such a message.  WrongState if it must not be sent now or lacks its description, NegotiationFailed
        if our answer does not fit the offer; then nothing has changed."""
        meaning = self._meaning(place, body, True)
        obstacle = None
        if meaning is Meaning.OFFER or place in (Place.INVITE, Place.UPDATE):
            obstacle = self.obstacle(place, meaning is Meaning.OFFER)
        elif meaning is Meaning.IGNORED and place not in _RESPONSES_TO_INVITE:
            obstacle = self.obstacle(place) or 'its description would mean nothing'
        if obstacle is not None:
            raise WrongState(f'cannot send {place}: {obstacle}')
        if place is Place.INVITE_2XX and self.prack_received:
            # RFC 3262 3: the 2xx waits for the PRACK of a reliable response with SDP.
            raise WrongState('cannot send 2xx-INVITE: a reliable response with SDP is not acknowledged')
        if meaning is Meaning.NOTHING:
            missing = self._missing(place)
            if missing is not None:
                raise WrongState(f'cannot send {place}: {missing}')
        if body is not None and meaning is Meaning.ANSWER:
            self._check(body)
        self._note(place, meaning, True)
        if body is not None and meaning is not Meaning.IGNORED:
            if meaning is Meaning.ANSWER:
                self.fire('send answer', body)
            elif meaning is Meaning.OFFER:
                self.fire('send offer', body, place)
            self.last_sent = body
        return meaning

    def receive(self, place: Place, body: Body | None = None) -> Meaning:
        """The peer sent such a message; ask ``refusal`` first.

        NegotiationFailed if it must not come now (``status`` says how to refuse it), lacks the description it should
        have, or does not answer our offer; then the exchange is rolled back.
        """
        if place is Place.INVITE_2XX and body is None and self.offer_place is Place.INVITE:
            # Gateways that showed their answer in an unreliable 183 leave it out of the 200.
            body = self.preview
        meaning = self._meaning(place, body, False)
        refusal = self.refusal(place, meaning is Meaning.OFFER)
        if refusal is not None:
            error = NegotiationFailed(f'{place} at the wrong moment ({refusal.rule} of RFC 6337)')
            error.status = refusal.code
            raise error
        if meaning is Meaning.OFFER and self.offer is not None:
            if place is not Place.PRACK or self.state != OFFER_SENT:
                raise NegotiationFailed(f'an offer in {place} crosses the one in {self.offer_place}')
            # RFC 6337 4.2, figure 11: the PRACK cannot be refused, and the peer will refuse our UPDATE.
            self._reject()
        missing = self._missing(place) if meaning is Meaning.NOTHING else None
        self._note(place, meaning, False)
        if missing is not None and place is not Place.RELIABLE:
            self._reject()
            raise NegotiationFailed(f'{place} from the peer: {missing}')
        if body is not None:
            if meaning is Meaning.ANSWER:
                try:
                    self._check(body)
                except NegotiationFailed:
                    self._reject()
                    raise
                self.fire('receive answer', body)
            elif meaning is Meaning.OFFER:
                self.fire('receive offer', body, place)
            elif meaning is Meaning.PREVIEW:
                self.preview = body
        return meaning

    def refused(self, place: Place, *, ours: bool) -> bool:
        """An INVITE, UPDATE or PRACK, ours or the peer's, ended with another final response than 2xx, or with none.

        Only one that ``send`` or ``receive`` were told of, not one that ``refusal`` kept out.  A refused re-INVITE
        takes back whatever was agreed since it was sent.  True if it did: then its sender should make sure that both
        sides have the same session, with an UPDATE that offers ``local`` (RFC 6337 3.4).
        """
        taken_back = False
        if place is Place.INVITE:
            taken_back = self.local is not None and (self.local, self.remote) != self.before
            if self.offer is not None and self.offer_place is not Place.UPDATE:
                self._reject()
            if self.before == (None, None):
                self.fire('INVITE failed')
            else:
                self.fire('re-INVITE failed')
            self.invite = self.exchange = ''
            # RFC 6337 2.3: a PRACK that is due is not sent any more.
            if self.prack_sent == 'due':
                self.prack_sent = ''
            if self.prack_received == 'due':
                self.prack_received = ''
            self.prack_may_offer = False
            self.preview = None
        else:
            if place is Place.PRACK:
                self._note_prack(ours, 'due' if self.invite else '')
            if place is Place.UPDATE and ours:
                self.update_sent = False
            elif place is Place.UPDATE:
                self.update_received = False
            if self.offer_place is place and self.state == (OFFER_SENT if ours else OFFER_RECEIVED):
                self._reject()
        return taken_back

    # -- inside

    def _meaning(self, place: Place, body: Body | None, sending: bool) -> Meaning:
        """RFC 6337 2.2 and 3.1: what a description means in that place."""
        if body is None:
            return Meaning.NOTHING
        awaited = OFFER_RECEIVED if sending else OFFER_SENT
        if self.state == awaited and self.offer_place is not None:
            if pattern_of(self.offer_place, place) is not None:
                return Meaning.ANSWER
            # Not as RFC 6337 3.1.1 advises, the real answer may differ from its preview: announcements come from
            # another address than the person who answers.
            if place is Place.PROVISIONAL and self.offer_place is Place.INVITE:
                return Meaning.PREVIEW
        if place in (Place.INVITE, Place.UPDATE):
            return Meaning.OFFER
        if place in (Place.RELIABLE, Place.INVITE_2XX) and self.invite and not self.exchange:
            return Meaning.OFFER
        # RFC 3262 5 allows an offer in any PRACK once the first exchange is over, RFC 6337 only in that for the
        # answer: peers may use both, we the latter.
        if place is Place.PRACK and self.exchange == 'answered' and (self.prack_may_offer or not sending):
            return Meaning.OFFER
        return Meaning.IGNORED

    def _missing(self, place: Place) -> str | None:
        """What a message without description should have carried."""
        if place in (Place.INVITE_2XX, Place.RELIABLE) and self.invite and not self.exchange:
            return 'the INVITE had no offer, so this must have one'
        if self.offer_place is None:
            return None
        pattern = pattern_of(self.offer_place, place)
        # A reliable 1xx need not have the answer; the 2xx will.
        if pattern is None or place is Place.RELIABLE:
            return None
        return f'it must answer the offer in {self.offer_place}'

    def _note(self, place: Place, meaning: Meaning, sending: bool) -> None:
        """Keep track of the transactions."""
        if place is Place.INVITE:
            self.invite = 'client' if sending else 'server'
            self.exchange = 'offered' if meaning is Meaning.OFFER else ''
            self.before = (self.local, self.remote)
            self.preview = None
            self.prack_may_offer = False
        elif place in (Place.RELIABLE, Place.INVITE_2XX):
            if meaning is Meaning.OFFER:
                self.exchange = 'offered'
            elif meaning is Meaning.ANSWER:
                self.exchange = 'answered'
            if place is Place.INVITE_2XX:
                self.prack_may_offer = False
                if meaning is not Meaning.OFFER:
                    self.invite = ''
            elif meaning in (Meaning.OFFER, Meaning.ANSWER):
                self._note_prack(not sending, 'due')
                self.prack_may_offer = meaning is Meaning.ANSWER
        elif place is Place.ACK:
            if self.offer_place is Place.INVITE_2XX:
                self.invite = self.exchange = ''
        elif place is Place.PRACK:
            self.prack_may_offer = False
            self._note_prack(sending, 'pending')
            if meaning is Meaning.ANSWER:
                self.exchange = 'answered'
        elif place is Place.PRACK_2XX:
            self._note_prack(not sending, '')
        elif place is Place.UPDATE and sending:
            self.update_sent = True
        elif place is Place.UPDATE:
            self.update_received = True
        elif place is Place.UPDATE_2XX and sending:
            self.update_received = False
        elif place is Place.UPDATE_2XX:
            self.update_sent = False

    def _note_prack(self, ours: bool, pending: _Due) -> None:
        if ours:
            self.prack_sent = pending
        else:
            self.prack_received = pending

    def _check(self, answer: Body) -> None:
        if isinstance(self.offer, SessionDescription) and isinstance(answer, SessionDescription):
            check_answer(self.offer, answer)

    def _reject(self) -> None:
        self.fire('first offer rejected' if self.local is None else 'rejected')
