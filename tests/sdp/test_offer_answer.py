"""RFC 6337: offers and answers in SIP messages, refused and crossing ones, and two sides that agree in any order."""

from __future__ import annotations

import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.errors import NegotiationFailed, WrongState
from greensip.sdp import (
    PATTERNS,
    Meaning,
    OfferAnswer,
    Place,
    add_stream,
    make_media,
    make_sdp,
    parse_sdp,
    pattern_of,
    place_of,
)
from greensip.sdp.negotiation import Capability, answer, hold, numbered
from greensip.sdp.offer_answer import NO_SESSION, OFFER_RECEIVED, OFFER_SENT, STABLE

SDP = b'v=0'
BITS = random.Random(1)

# A ladder is a line of messages as one side sees them: '>INVITE+' is an INVITE that it sends with a session
# description, '<1xx-rel' a reliable response that it receives without one.  '!>UPDATE' is our UPDATE refused.


def play(machine: OfferAnswer, ladder: str) -> list[str]:
    """Perform the ladder, return what the descriptions meant."""
    meanings = []
    for step in ladder.split():
        place = Place(step.strip('!<>+'))
        ours = '>' in step
        if step.startswith('!'):
            machine.refused(place, ours=ours)
        else:
            body = SDP if step.endswith('+') else None
            meaning = machine.send(place, body) if ours else machine.receive(place, body)
            if meaning is not Meaning.NOTHING:
                meanings.append(str(meaning))
    return meanings


def mirrored(ladder: str) -> str:
    return ladder.translate(str.maketrans('<>', '><'))


CALL = '>INVITE+ <2xx-INVITE+ >ACK '


def established() -> OfferAnswer:
    machine = OfferAnswer()
    play(machine, CALL)
    return machine


# -- RFC 6337 2.2: the six patterns and what else may carry a description

FLOWS = [
    ('pattern 1', '', '>INVITE+ <2xx-INVITE+ >ACK', 'offer answer'),
    ('pattern 2', '', '>INVITE <2xx-INVITE+ >ACK+', 'offer answer'),
    ('pattern 3', '', '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK <2xx-INVITE >ACK', 'offer answer'),
    ('pattern 4', '', '>INVITE <1xx-rel+ >PRACK+ <2xx-PRACK <2xx-INVITE >ACK', 'offer answer'),
    ('pattern 5', '', '>INVITE+ <1xx-rel+ >PRACK+ <2xx-PRACK+ <2xx-INVITE >ACK', 'offer answer offer answer'),
    ('pattern 6', CALL, '>UPDATE+ <2xx-UPDATE+', 'offer answer'),
    ('pattern 6, early, ours', '', '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK >UPDATE+ <2xx-UPDATE+ <2xx-INVITE >ACK',
     'offer answer offer answer'),
    ('pattern 6, early, theirs', '', '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK <UPDATE+ >2xx-UPDATE+ <2xx-INVITE >ACK',
     'offer answer offer answer'),
    ('figure 1', '', '>INVITE+ <1xx+ <1xx-rel >PRACK <2xx-PRACK <1xx-rel+ >PRACK <2xx-PRACK <1xx-rel >PRACK <2xx-PRACK '
     '<2xx-INVITE >ACK', 'offer preview answer'),
    ('figure 2', '', '>INVITE <1xx <1xx-rel+ >PRACK+ <2xx-PRACK <1xx-rel >PRACK <2xx-PRACK <2xx-INVITE >ACK',
     'offer answer'),
    ('the answer repeated later', '',
     '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK <1xx-rel+ >PRACK <2xx-PRACK <1xx+ <2xx-INVITE+ >ACK',
     'offer answer ignored ignored ignored'),
    ('an UPDATE without offer', CALL, '>UPDATE <2xx-UPDATE', ''),
    ('a re-INVITE the other way', CALL, '<INVITE+ >2xx-INVITE+ <ACK', 'offer answer'),
    ('a late offer in a re-INVITE', CALL, '<INVITE >2xx-INVITE+ <ACK+', 'offer answer'),
    ('a preview in each 18x', '', '>INVITE+ <1xx+ <1xx+ <2xx-INVITE+ >ACK', 'offer preview preview answer'),
    ('SDP in an unreliable 1xx to an INVITE without', '', '>INVITE <1xx+ <2xx-INVITE+ >ACK+', 'ignored offer answer'),
]


@pytest.mark.parametrize(('before', 'ladder', 'meanings'), [row[1:] for row in FLOWS], ids=[row[0] for row in FLOWS])
@pytest.mark.parametrize('side', ['uac', 'uas'])
def test_flows(before: str, ladder: str, meanings: str, side: str) -> None:
    machine = OfferAnswer()
    if side == 'uas':
        before, ladder = mirrored(before), mirrored(ladder)
    play(machine, before)
    assert play(machine, ladder) == meanings.split()
    assert (machine.state, machine.local, machine.remote, machine.offer) == (STABLE, SDP, SDP, None)
    # Nothing is left that would be in the way of the next exchange.
    for place in (Place.INVITE, Place.UPDATE):
        assert machine.obstacle(place) is None and machine.refusal(place, True) is None


def test_tables_1_and_2() -> None:
    assert [pattern.number for pattern in PATTERNS] == [1, 2, 3, 4, 5, 6]
    assert pattern_of(Place.INVITE, Place.RELIABLE) is PATTERNS[2]
    assert pattern_of(Place.ACK) is None and pattern_of(Place.UPDATE, Place.INVITE_2XX) is None
    assert [pattern.refused_with for pattern in PATTERNS] == [488, None, 488, None, None, 488]


@pytest.mark.parametrize(('method', 'code', 'reliable', 'place'), [
    ('INVITE', 0, False, Place.INVITE), ('INVITE', 183, False, Place.PROVISIONAL),
    ('INVITE', 180, True, Place.RELIABLE), ('INVITE', 200, False, Place.INVITE_2XX), ('INVITE', 488, False, None),
    ('INVITE', 100, False, None), ('ACK', 0, False, Place.ACK), ('PRACK', 0, False, Place.PRACK),
    ('PRACK', 200, False, Place.PRACK_2XX), ('UPDATE', 0, False, Place.UPDATE),
    ('UPDATE', 202, False, Place.UPDATE_2XX), ('UPDATE', 183, False, None), ('OPTIONS', 200, False, None),
    ('INFO', 0, False, None), ('BYE', 200, False, None),
])
def test_places(method: str, code: int, reliable: bool, place: Place | None) -> None:
    assert place_of(method, code, reliable) is place


# -- RFC 6337 4: what must wait, and what is refused

RULES = [
    # The side that refuses: what it saw, what comes now, and how it is refused.
    ('figure 4, UAS-UsI', CALL + '<UPDATE+', '<INVITE', '500 UAS-UsI'),
    ('figure 5, UAS-IsU', CALL + '<INVITE', '<UPDATE+', '500 UAS-IsU'),
    ('figure 6, UAS-IsU', CALL + '<INVITE >1xx-rel+', '<UPDATE+', '500 UAS-IsU'),
    ('figure 7, UAS-IcU', CALL + '>INVITE+', '<UPDATE+', '491 UAS-IcU'),
    ('figure 7, the PRACK is under way', CALL + '>INVITE+ <1xx-rel+ >PRACK', '<UPDATE+', '491 UAS-IcU'),
    ('figure 9, UAS-IcU', CALL + '>INVITE+ <1xx-rel+ >PRACK+', '<UPDATE+', '491 UAS-IcU'),
    ('figure 12, UAS-IsU', CALL + '<INVITE >2xx-INVITE+', '<UPDATE+', '500 UAS-IsU'),
    ('figure 14, UAS-UcU', CALL + '>UPDATE+', '<UPDATE+', '491 UAS-UcU'),
    ('figure 15, UAS-UsU', CALL + '<UPDATE', '<UPDATE+', '500 UAS-UsU'),
    ('figure 16, UAS-UcI', CALL + '>UPDATE+', '<INVITE', '491 UAS-UcI'),
    ('figure 17, UAS-UsI', CALL + '<UPDATE+', '<INVITE', '500 UAS-UsI'),
    ('figure 18, UAS-IcU', CALL + '>INVITE <1xx-rel+', '<UPDATE+', '491 UAS-IcU'),
    ('figure 19, UAS-IsU', CALL + '<INVITE >1xx-rel+ <PRACK+', '<UPDATE+', '500 UAS-IsU'),
    ('UAS-IcI', CALL + '>INVITE+', '<INVITE+', '491 UAS-IcI'),
    ('UAS-IcI, ours without offer', CALL + '>INVITE', '<INVITE', '491 UAS-IcI'),
    ('UAS-IsI', CALL + '<INVITE+', '<INVITE+', '500 UAS-IsI'),
    ('UAS-IsI, the ACK with the answer is to come', CALL + '<INVITE >2xx-INVITE+', '<INVITE+', '500 UAS-IsI'),
    ('an UPDATE before the first answer', '<INVITE+', '<UPDATE+', '500 UAS-IsU'),
    ('an UPDATE of the callee before its answer', '>INVITE+ <1xx+', '<UPDATE+', '491 UAS-IcU'),
    ('an offer in a PRACK that the 2xx overtook', CALL + '>INVITE+ <1xx-rel+ >PRACK+ <2xx-INVITE', '<UPDATE+',
     '491 UAS-IcU'),
    # ... and what is fine.
    ('an UPDATE without offer crosses', CALL + '>UPDATE+', '<UPDATE', None),
    ('an UPDATE without offer during an INVITE', CALL + '>INVITE+', '<UPDATE', None),
    ('an INVITE while our UPDATE without offer is out', CALL + '>UPDATE', '<INVITE+', None),
    ('an INVITE right after its 2xx', CALL + '<INVITE+ >2xx-INVITE+', '<INVITE+', None),
    ('an UPDATE in an early dialog', '<INVITE+ >1xx-rel+ <PRACK >2xx-PRACK', '<UPDATE+', None),
    ('after a refused UPDATE', CALL + '>UPDATE+ !>UPDATE', '<UPDATE+', None),
    ('after a refused INVITE', CALL + '>INVITE+ !>INVITE', '<INVITE+', None),
    # The side that has to wait.
    ('UAC-II', CALL + '>INVITE+', '>INVITE+', 'UAC-II'),
    ('UAC-II, theirs', CALL + '<INVITE+', '>INVITE', 'UAC-II'),
    ('UAC-II, before the ACK with the answer', CALL + '<INVITE >2xx-INVITE+', '>INVITE', 'UAC-II'),
    ('UAC-UU, figure 14', CALL + '>UPDATE', '>UPDATE', 'UAC-UU'),
    ('UAC-UI, figure 4', CALL + '>UPDATE+', '>INVITE', 'UAC-UI'),
    ('UAC-UI, theirs', CALL + '<UPDATE+', '>INVITE', 'UAC-UI'),
    ('UAC-IU, figure 5', CALL + '>INVITE', '>UPDATE+', 'UAC-IU'),
    ('UAC-IU, figure 6', CALL + '>INVITE <1xx-rel+ >PRACK+', '>UPDATE+', 'UAC-IU'),
    ('UAC-IU, figures 9 and 11', CALL + '<INVITE+ >1xx-rel+', '>UPDATE+', 'UAC-IU'),
    ('an UPDATE while theirs is unanswered', CALL + '<UPDATE+', '>UPDATE+', 'an offer in UPDATE has no answer'),
    ('an UPDATE first', '', '>UPDATE+', 'first offer'),
    ('an offer in a second reliable response', '<INVITE+ >1xx-rel+ <PRACK >2xx-PRACK', '>1xx-rel+', 'one offer/answer'),
    ('an offer in a PRACK for a response without SDP', '>INVITE+ <1xx-rel', '>PRACK+', 'pattern 5'),
    ('an offer in a PRACK', '>INVITE+ <1xx-rel+', '>PRACK+', None),
    ('an UPDATE after the PRACK', CALL + '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK', '>UPDATE+', None),
    ('an UPDATE without offer during an INVITE', CALL + '>INVITE+', '>UPDATE', None),
    ('an INVITE right after the 2xx', CALL + '<INVITE+ >2xx-INVITE+', '>INVITE+', None),
]


@pytest.mark.parametrize(('ladder', 'next_step', 'expected'), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_rules_of_section_4_3(ladder: str, next_step: str, expected: str | None) -> None:
    machine = OfferAnswer()
    play(machine, ladder)
    place, offer = Place(next_step.strip('<>+')), next_step.endswith('+')
    if next_step.startswith('<'):
        refusal = machine.refusal(place, offer)
        assert (f'{refusal.code} {refusal.rule}' if refusal else None) == expected
        if refusal is not None:
            assert refusal.retry_after == ((0, 10) if refusal.code == 500 else None)
            state = machine.state
            with pytest.raises(NegotiationFailed) as caught:
                machine.receive(place, SDP if offer else None)
            assert (caught.value.status, machine.state) == (refusal.code, state)
    else:
        obstacle = machine.obstacle(place, offer)
        assert obstacle is None if expected is None else expected in (obstacle or '')
        if expected is not None and place is not Place.RELIABLE:
            state = machine.state
            with pytest.raises(WrongState):
                machine.send(place, SDP if offer else None)
            assert machine.state == state


MISSING = [
    # A message that lacks the description which it must carry.
    ('no answer in the 2xx', '>INVITE+', Place.INVITE_2XX, NO_SESSION),
    ('no offer in the 2xx', '>INVITE', Place.INVITE_2XX, NO_SESSION),
    ('no answer in the ACK', '<INVITE >2xx-INVITE+', Place.ACK, NO_SESSION),
    ('no answer in the PRACK', '<INVITE >1xx-rel+', Place.PRACK, NO_SESSION),
    ('no answer to the PRACK', '>INVITE+ <1xx-rel+ >PRACK+', Place.PRACK_2XX, STABLE),
    ('no answer to the UPDATE', CALL + '>UPDATE+', Place.UPDATE_2XX, STABLE),
    ('no answer to a re-INVITE', CALL + '>INVITE+', Place.INVITE_2XX, STABLE),
]


@pytest.mark.parametrize(('ladder', 'place', 'state'), [row[1:] for row in MISSING], ids=[row[0] for row in MISSING])
def test_missing_descriptions(ladder: str, place: Place, state: str) -> None:
    machine, other = OfferAnswer(), OfferAnswer()
    play(machine, ladder)
    with pytest.raises(NegotiationFailed, match=str(place)):
        machine.receive(place)
    assert (machine.state, machine.offer) == (state, None)
    play(other, mirrored(ladder))
    before = other.state
    with pytest.raises(WrongState, match=str(place)):
        other.send(place)
    assert other.state == before


def test_the_first_reliable_response_has_the_offer() -> None:
    machine = OfferAnswer()
    play(machine, '<INVITE')
    with pytest.raises(WrongState, match='must have one'):
        machine.send(Place.RELIABLE)
    # A peer that breaks this rule can still offer in its 2xx.
    machine = OfferAnswer()
    assert play(machine, '>INVITE <1xx-rel >PRACK <2xx-PRACK <2xx-INVITE+ >ACK+') == ['offer', 'answer']


def test_the_2xx_waits_for_the_prack() -> None:
    """RFC 3262 3."""
    machine = OfferAnswer()
    play(machine, '<INVITE+ >1xx-rel+')
    with pytest.raises(WrongState, match='not acknowledged'):
        machine.send(Place.INVITE_2XX)
    play(machine, '<PRACK >2xx-PRACK >2xx-INVITE')
    assert machine.state == STABLE


def test_a_200_without_the_answer_that_the_183_showed() -> None:
    machine = OfferAnswer()
    machine.send(Place.INVITE, b'offer')
    machine.receive(Place.PROVISIONAL, b'first')
    machine.receive(Place.PROVISIONAL, b'second')
    assert machine.receive(Place.INVITE_2XX) is Meaning.ANSWER
    assert (machine.local, machine.remote) == (b'offer', b'second')


def test_an_answer_may_differ_from_its_preview() -> None:
    machine = OfferAnswer()
    machine.send(Place.INVITE, b'offer')
    machine.receive(Place.PROVISIONAL, b'announcement')
    assert machine.preview == b'announcement'
    machine.receive(Place.INVITE_2XX, b'answer')
    assert machine.remote == b'answer'


def test_a_description_that_would_mean_nothing_is_not_sent() -> None:
    for ladder, place in ((CALL, Place.ACK), (CALL + '<UPDATE', Place.UPDATE_2XX), ('>INVITE+ <1xx-rel', Place.PRACK)):
        machine = OfferAnswer()
        play(machine, ladder)
        with pytest.raises(WrongState):
            machine.send(place, SDP)


def test_a_prack_with_an_offer_crosses_our_update() -> None:
    """RFC 6337 figure 11: it cannot be refused; the peer will refuse the UPDATE."""
    machine = established()
    play(machine, '<INVITE+ >1xx-rel+')
    machine.fire('send offer', b'ours', Place.UPDATE)           # against UAC-IU
    assert machine.receive(Place.PRACK, b'theirs') is Meaning.OFFER
    machine.refused(Place.UPDATE, ours=True)
    assert machine.send(Place.PRACK_2XX, b'answer') is Meaning.ANSWER
    assert (machine.local, machine.remote) == (b'answer', b'theirs')


def test_an_offer_in_a_response_that_crosses_ours_ends_in_an_error() -> None:
    """RFC 6337 figure 4, seen from the side that did not wait."""
    machine = established()
    machine.fire('send offer', b'ours', Place.UPDATE)
    machine.invite, machine.exchange = 'client', ''
    with pytest.raises(NegotiationFailed, match='crosses'):
        machine.receive(Place.INVITE_2XX, b'offer')


# -- rolling back

ROLLBACKS = [
    ('', '>INVITE+ !>INVITE', NO_SESSION),
    ('', '<INVITE+ !<INVITE', NO_SESSION),
    ('', '>INVITE+ <1xx+ !>INVITE', NO_SESSION),
    ('', '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK !>INVITE', NO_SESSION),
    ('', '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK >UPDATE+ !>INVITE', NO_SESSION),
    ('', '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK <UPDATE+ !>INVITE', NO_SESSION),
    ('', '>INVITE <1xx-rel+ !>INVITE', NO_SESSION),
    (CALL, '>INVITE+ !>INVITE', STABLE),
    (CALL, '<INVITE+ !<INVITE', STABLE),
    (CALL, '>UPDATE+ !>UPDATE', STABLE),
    (CALL, '<UPDATE+ !<UPDATE', STABLE),
    ('', '>INVITE+ <1xx-rel+ >PRACK+ !>PRACK >PRACK <2xx-PRACK', STABLE),
    # RFC 6337 3.4: all that was agreed since the re-INVITE goes with it.
    (CALL, '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK !>INVITE', STABLE),
    (CALL, '<INVITE+ >1xx-rel+ <PRACK >2xx-PRACK >UPDATE+ <2xx-UPDATE+ !<INVITE', STABLE),
]


@pytest.mark.parametrize(('before', 'ladder', 'state'), ROLLBACKS)
def test_rejected_offers_roll_back(before: str, ladder: str, state: str) -> None:
    machine = OfferAnswer()
    play(machine, before)
    if machine.state == STABLE:
        machine.local, machine.remote = b'our old one', b'their old one'
    steps = ladder.split()
    play(machine, ' '.join(steps))
    assert (machine.state, machine.offer, machine.offer_place) == (state, None, None)
    if before:
        assert (machine.local, machine.remote) == (b'our old one', b'their old one')
    elif state == NO_SESSION:
        assert (machine.local, machine.remote) == (None, None)
    assert machine.obstacle(Place.INVITE) is None or 'PRACK' in ladder
    # Life goes on, after a challenge for instance.
    if not (machine.invite or machine.update_sent or machine.update_received):
        assert play(machine, '>INVITE+ <2xx-INVITE+ >ACK') == ['offer', 'answer']


@pytest.mark.parametrize(('ladder', 'failed', 'taken_back'), [
    ('>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK', '>INVITE', True),
    ('>INVITE+ <1xx+', '>INVITE', False),
    ('<INVITE+', '<INVITE', False),
    ('>UPDATE+', '>UPDATE', False),
])
def test_whether_something_was_taken_back(ladder: str, failed: str, taken_back: bool) -> None:
    machine = established()
    machine.local, machine.remote = b'our old one', b'their old one'
    play(machine, ladder)
    assert machine.refused(Place(failed[1:]), ours=failed[0] == '>') is taken_back


def test_an_update_survives_the_failure_of_a_re_invite() -> None:
    machine = established()
    play(machine, '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK')
    machine.send(Place.UPDATE, b'update')
    machine.refused(Place.INVITE, ours=True)
    assert (machine.state, machine.offer, machine.local) == (OFFER_SENT, b'update', SDP)
    machine.receive(Place.UPDATE_2XX, b'answer')
    assert (machine.state, machine.local, machine.remote) == (STABLE, b'update', b'answer')


def test_the_peers_update_survives_the_failure_of_a_re_invite() -> None:
    machine = established()
    play(machine, '>INVITE+ <1xx-rel+ >PRACK <2xx-PRACK')
    machine.receive(Place.UPDATE, b'update')
    machine.refused(Place.INVITE, ours=True)
    assert (machine.state, machine.offer, machine.local) == (OFFER_RECEIVED, b'update', SDP)
    machine.send(Place.UPDATE_2XX, b'answer')
    assert (machine.state, machine.local, machine.remote) == (STABLE, b'answer', b'update')


def test_every_arrow_was_walked(caplog: pytest.LogCaptureFixture) -> None:
    """The ladders above go along each row, in the role of either side."""
    caplog.set_level(logging.DEBUG, 'greensip.fsm')
    ladders = [row[1:3] for row in FLOWS] + [row[:2] for row in ROLLBACKS]
    for before, ladder in ladders:
        for turned in (str, mirrored):
            play(OfferAnswer(), turned(f'{before} {ladder}'))
    test_an_update_survives_the_failure_of_a_re_invite()
    test_the_peers_update_survives_the_failure_of_a_re_invite()
    walked = {record.args[1:3] for record in caplog.records if isinstance(record.args, tuple)}
    assert [row for row in OfferAnswer.rows if (row.state, row.event) not in walked] == []


def test_a_wrong_answer_is_refused_on_both_sides() -> None:
    offer = make_sdp('h1', 4000, random=BITS)
    wrong = add_stream(answer(offer, 'h2', 5000, random=BITS), make_media(Capability('audio', 5002)))
    uac, uas = established(), established()
    uac.send(Place.INVITE, offer)
    with pytest.raises(NegotiationFailed, match='the answer has 2 m= lines'):
        uac.receive(Place.INVITE_2XX, wrong)
    assert (uac.state, uac.local) == (STABLE, SDP)
    uas.receive(Place.INVITE, offer)
    with pytest.raises(NegotiationFailed):
        uas.send(Place.INVITE_2XX, wrong)
    assert (uas.state, uas.offer, uas.invite) == (OFFER_RECEIVED, offer, 'server')
    uas.send(Place.INVITE_2XX, answer(offer, 'h2', 5000, random=BITS))
    assert uas.state == STABLE


def test_each_early_dialog_has_its_own_exchange() -> None:
    first = OfferAnswer()
    first.send(Place.INVITE, b'offer')
    second = first.fork()
    first.receive(Place.RELIABLE, b'answer 1')
    assert second.state == OFFER_SENT
    second.receive(Place.INVITE_2XX, b'answer 2')
    assert (first.local, first.remote, second.local, second.remote) == (b'offer', b'answer 1', b'offer', b'answer 2')
    assert (first.invite, second.invite) == ('client', '')


def test_versions_over_a_call_with_hold_and_refusals() -> None:
    """RFC 3264 8: one more than what was sent last, although it was refused."""
    machine = OfferAnswer()
    normal = make_sdp('192.0.2.1', 4000, random=BITS)
    machine.send(Place.INVITE, normal)
    machine.receive(Place.INVITE_2XX, answer(normal, 'h', 5000, random=BITS))
    versions = []
    for change in (hold(normal), normal, hold(normal)):
        last = machine.last_sent
        assert not isinstance(last, bytes)
        offer = numbered(change, last)
        machine.send(Place.UPDATE, offer)
        machine.refused(Place.UPDATE, ours=True)
        versions.append(offer.origin.version)
        assert machine.local == normal
    assert versions == ['2', '3', '4']
    assert parse_sdp(normal.to_bytes()).origin.version == '1'


# -- two sides and a network that delays and reorders

class Side:
    """A user agent that keeps the rules, acts as it is told and answers at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.machine = OfferAnswer()
        self.count = 0
        self.out: list[tuple[str, Place, bytes | None]] = []
        self.accepted = 0               # INVITEs, in place of their CSeq

    def sdp(self) -> bytes:
        self.count += 1
        return f'{self.name}{self.count}'.encode()

    def say(self, place: Place, with_sdp: bool, what: str = '') -> None:
        body = self.sdp() if with_sdp else None
        self.machine.send(place, body)
        self.out.append((what, place, body))

    def refuse(self, place: Place) -> None:
        self.out.append(('refused', place, None))

    def request(self, place: Place, offer: bool) -> None:
        if self.machine.obstacle(place, offer) is None:
            self.say(place, offer)

    def respond(self, how: str) -> None:
        """Go on with the INVITE that is waiting here."""
        machine = self.machine
        if machine.invite != 'server' or machine.prack_received or machine.offer_place not in (None, Place.INVITE):
            return
        if how == 'refuse':
            if machine.exchange == 'answered':
                return                  # RFC 6141 3.3: too late, what was changed is in use
            machine.refused(Place.INVITE, ours=False)
            self.refuse(Place.INVITE)
        elif how == 'ring':
            self.say(Place.RELIABLE, machine.exchange != 'answered')
        else:
            self.accepted += 1
            self.say(Place.INVITE_2XX, machine.exchange != 'answered', str(self.accepted))

    def take(self, what: str, place: Place, body: bytes | None) -> None:
        machine = self.machine
        if what == 'refused':
            machine.refused(place, ours=True)
            return
        if place is Place.ACK and what != str(self.accepted):
            return                      # of an earlier INVITE
        if machine.refusal(place, body is not None):
            self.refuse(place)
            return
        meaning = machine.receive(place, body)
        if place is Place.UPDATE:
            if self.count % 4 == 3:
                machine.refused(Place.UPDATE, ours=False)
                self.refuse(Place.UPDATE)
                self.count += 1
            else:
                self.say(Place.UPDATE_2XX, meaning is Meaning.OFFER)
        elif place is Place.PRACK:
            self.say(Place.PRACK_2XX, meaning is Meaning.OFFER)
        elif place is Place.RELIABLE:
            if meaning in (Meaning.OFFER, Meaning.ANSWER):
                self.say(Place.PRACK, meaning is Meaning.OFFER or self.count % 2 == 1)
        elif place is Place.INVITE_2XX:
            self.say(Place.ACK, meaning is Meaning.OFFER, what)


ACTIONS = ['invite', 'empty', 'update', 'ring', 'accept', 'refuse', *['deliver'] * 8]


@pytest.mark.parametrize('seed', range(60))
def test_two_sides_always_agree_in_the_end(seed: int) -> None:
    """RFC 6337 4: with its rules kept, no order of delivery makes one side take something for the answer that is
    none, and when all is delivered both sides see the same session."""
    chance = random.Random(seed)
    sides = (Side('a'), Side('b'))

    def step(number: int, action: str) -> None:
        side, other = sides[number], sides[1 - number]
        if action == 'deliver':
            if side.out:
                other.take(*side.out.pop(chance.randrange(len(side.out))))
        elif action == 'update':
            side.request(Place.UPDATE, True)
        elif action in ('invite', 'empty'):
            side.request(Place.INVITE, action == 'invite')
        else:
            side.respond(action)

    step(0, 'invite')
    for _ in range(300):
        number, action = chance.randrange(2), chance.choice(ACTIONS)
        # The first INVITE comes from one side.
        if action not in ('invite', 'empty') or number == 0 or sides[number].machine.state != NO_SESSION:
            step(number, action)
    for number in (0, 1) * 3:
        while sides[0].out or sides[1].out:
            step(0, 'deliver')
            step(1, 'deliver')
        step(number, 'accept')
    one, two = sides[0].machine, sides[1].machine
    assert (one.offer, one.invite, one.invite_pending) == (None, '', False)
    assert (two.offer, two.invite, two.invite_pending) == (None, '', False)
    assert (one.local, one.remote) == (two.remote, two.local)
    assert one.state == two.state


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(Place), st.sampled_from([None, SDP, 'refused'])), max_size=25))
def test_any_order_of_messages(steps: list[tuple[bool, Place, bytes | str | None]]) -> None:
    """A peer may send anything at any time: the machine refuses it or stays consistent."""
    machine = OfferAnswer()
    for ours, place, body in steps:
        try:
            if isinstance(body, str):
                machine.refused(place, ours=ours)
            elif ours:
                machine.send(place, body)
            else:
                machine.receive(place, body)
        except (NegotiationFailed, WrongState):
            pass
        assert (machine.offer is None) == (machine.state in (NO_SESSION, STABLE)) == (machine.offer_place is None)
        assert (machine.local is None) == (machine.remote is None)
        if machine.state in (NO_SESSION, STABLE):
            assert (machine.state == STABLE) == (machine.local is not None)
