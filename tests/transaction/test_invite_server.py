"""The INVITE server transaction as ladders: each arrow of RFC 3261 figure 7 and RFC 6026 figure 7."""

from __future__ import annotations

import pytest

from greensip.message import Response, make_response, parse_message
from greensip.transaction import InviteServerTransaction

from .conftest import Arrows, World, arrows_of, check, request

LADDERS = {
    'a user that takes its time: a 100 after 200 ms, and again for each repetition': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.2   >  100
        0.5   <  INVITE
        0.5   >  100
        1.5   <  INVITE
        1.5   >  100
        2     v  180
        2     >  180
        2.1   v  183
        2.1   >  183
        3.5   <  INVITE
        3.5   >  183
        90    v  200
        90    >  200
        90    =  Accepted
        122   =  Terminated
        200   .
    """,
    'a user that answers at once: no 100': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  180
        0.1   >  180
        1     v  200
        1     >  200
        1     =  Accepted
        33    =  Terminated
        100   .
    """,
    'the INVITE comes again even before the 100 was due': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   <  INVITE
        0.1   >  100
        0.3   v  404
        0.3   >  404
        0.3   =  Completed
        0.4   <  ACK
        0.4   =  Confirmed
        5.4   =  Terminated
        100   .
    """,
    'accepted: the user repeats the 2xx, the INVITE is absorbed, the ACK goes up, with its own branch or not': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0     v  200
        0     >  200
        0     =  Accepted
        0.5   v  200
        0.5   >  200
        0.6   <  INVITE
        1.5   v  200
        1.5   >  200
        1.6   v  486
        1.7   v  180
        1.8   <  ACK
        1.8   ^  ack ACK
        1.9   <  ACK branch=z9hG4bK-ack
        1.9   ^  ack ACK
        32    =  Terminated
        33    <  ACK branch=z9hG4bK-ack
        33    ^  ack ACK
        100   .
    """,
    'refused and never acknowledged: timer G doubles up to T2 until timer H': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0     v  486
        0     >  486
        0     =  Completed
        0.5   >  486
        1.5   >  486
        3.5   >  486
        7.5   >  486
        11.5  >  486
        15.5  >  486
        19.5  >  486
        23.5  >  486
        27.5  >  486
        31.5  >  486
        32    ^  timeout INVITE
        32    =  Terminated
        100   .
    """,
    'refused and acknowledged: the ACKs to the repetitions are absorbed for T4': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0     v  486
        0     >  486
        0     =  Completed
        0.1   <  INVITE
        0.1   >  486
        0.2   v  200
        0.5   >  486
        0.6   <  ACK
        0.6   =  Confirmed
        0.7   <  ACK
        0.8   <  INVITE
        5.6   =  Terminated
        5.7   <  ACK
        5.7   ^  ack ACK
        100   .
    """,
    'an ACK before anything was answered means nothing': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   <  ACK
        0.1   v  500
        0.1   >  500
        0.1   =  Completed
        0.2   <  ACK
        0.2   =  Confirmed
        5.2   =  Terminated
        100   .
    """,
    'responses that do not leave: the transaction stays, and knows the INVITE when it comes again (RFC 6026)': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  180
        0.1   >  180
        0.1   !  180
        0.1   ^  transport_error INVITE
        0.5   <  INVITE
        0.5   >  180
        1     v  503
        1     >  503
        1     =  Completed
        1     !  503
        1     ^  transport_error INVITE
        1.1   <  INVITE
        1.1   >  503
        1.2   <  ACK
        1.2   =  Confirmed
        6.2   =  Terminated
        100   .
    """,
    'a 2xx that does not leave': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0     v  200
        0     >  200
        0     =  Accepted
        0     !  200
        0     ^  transport_error INVITE
        0.5   <  INVITE
        32    =  Terminated
        100   .
    """,
    'a user that leaves in Proceeding': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  abandon
        0.1   =  Terminated
        100   .
    """,
    'in Completed': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  486
        0.1   >  486
        0.1   =  Completed
        0.2   v  abandon
        0.2   =  Terminated
        100   .
    """,
    'in Accepted': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  200
        0.1   >  200
        0.1   =  Accepted
        0.2   v  abandon
        0.2   =  Terminated
        100   .
    """,
    'in Confirmed': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  486
        0.1   >  486
        0.1   =  Completed
        0.2   <  ACK
        0.2   =  Confirmed
        0.3   v  abandon
        0.3   =  Terminated
        100   .
    """,
}
OVER_TCP = {
    'refused: nothing is sent again, timer H runs all the same': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0     v  486
        0     >  486
        0     =  Completed
        32    ^  timeout INVITE
        32    =  Terminated
        100   .
    """,
    'refused and acknowledged: timer I is zero': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0     v  486
        0     >  486
        0     =  Completed
        0.1   <  ACK
        0.1   =  Terminated
        100   .
    """,
    'accepted: timer L is not': """
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0     v  200
        0     >  200
        0     =  Accepted
        32    =  Terminated
        100   .
    """,
}


@pytest.mark.parametrize('name', LADDERS)
def test_over_udp(name: str) -> None:
    check(LADDERS[name])


@pytest.mark.parametrize('name', OVER_TCP)
def test_over_tcp(name: str) -> None:
    check(OVER_TCP[name], transport='TCP')


def test_a_caller_whose_only_connection_is_gone_is_told_of() -> None:
    """RFC 7118 5.3; the transaction stays until its final response (RFC 6026 8.8), which goes nowhere."""
    check("""
        0     <  INVITE
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  180
        0.1   >  180
        5     !  flow
        5     ^  transport_error INVITE
        5     v  500
        5     >  500
        5     =  Completed
        37    ^  timeout INVITE
        37    =  Terminated
        100   .
    """, transport='WS')


def test_each_arrow_is_walked(walked: Arrows) -> None:
    for ladder in LADDERS.values():
        check(ladder)
    assert arrows_of(InviteServerTransaction) - walked == set()


def test_trying_at_once() -> None:
    check("""
        0     <  INVITE
        0     >  100
        0     ^  request INVITE
        0     =  Proceeding
        0.1   v  486
        0.1   >  486
        0.1   =  Completed
        0.2   <  ACK
        0.2   =  Confirmed
        5.2   =  Terminated
        9     .
    """, trying_delay=0)


def test_the_100_has_no_to_tag_and_echoes_the_timestamp() -> None:
    """17.2.1, 8.2.6.1."""
    world = World()
    invite = request()
    invite.add('Timestamp', '54')
    world.receive(invite)
    world.pass_time(1)
    trying = parse_message(world.sent[-1][0])
    assert isinstance(trying, Response)
    assert (trying.code, trying.to_tag, trying.get('Timestamp')) == (100, None, '54')


def test_retransmissions_are_the_same_bytes() -> None:
    world = World()
    invite = request()
    world.receive(invite)
    transaction = world.told[0][1]
    world.layer.respond(transaction, make_response(invite, 486, to_tag='x'), world.now)
    world.pass_time(1.6)
    assert len(world.sent) == 3
    assert all(data is world.sent[0][0] for data, flow in world.sent)


def test_respond_says_whether_it_was_sent() -> None:
    world = World()
    world.play("""
        0     <  INVITE
    """)
    world.requests['INVITE'] = request()
    assert world.respond(183)
    assert world.respond(486)
    assert not world.respond(200)
    assert not world.respond(486)
