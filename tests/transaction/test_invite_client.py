"""The INVITE client transaction as ladders: each arrow of RFC 3261 figure 5 and RFC 6026 figure 5."""

from __future__ import annotations

import pytest

from greensip.message import Request, parse_message
from greensip.transaction import Flow, InviteClientTransaction

from .conftest import PEER, Arrows, World, answer_to, arrows_of, check, our_request

LADDERS = {
    'nobody answers: timer A doubles without a limit until timer B': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.5   >  INVITE
        1.5   >  INVITE
        3.5   >  INVITE
        7.5   >  INVITE
        15.5  >  INVITE
        31.5  >  INVITE
        32    ^  timeout INVITE
        32    =  Terminated
        100   .
    """,
    'a provisional response ends the repetitions for good': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.5   >  INVITE
        0.6   <  100
        0.6   ^  response 100
        0.6   =  Proceeding
        40    <  180
        40    ^  response 180
        170   <  180
        170   ^  response 180
        170.5 <  200
        170.5 ^  response 200
        170.5 =  Accepted
        202.5 =  Terminated
        300   .
    """,
    'a 2xx at once; its repetitions and those of other branches go up; nothing else does': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  200
        0.1   ^  response 200
        0.1   =  Accepted
        0.6   <  200
        0.6   ^  response 200
        0.7   <  200 tag=fork
        0.7   ^  response 200
        0.8   <  180 tag=fork
        0.9   <  486 tag=fork
        32.1  =  Terminated
        32.2  <  200
        32.2  ^  stray 200
        100   .
    """,
    'a failure from Calling: each repetition gets the ACK, none goes up': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  486
        0.1   >  ACK
        0.1   ^  response 486
        0.1   =  Completed
        0.6   <  486
        0.6   >  ACK
        0.7   <  180
        1.6   <  486
        1.6   >  ACK
        32.1  =  Terminated
        33    <  486
        33    ^  stray 486
        100   .
    """,
    'a failure from Proceeding, and the branch that answers although the fork has failed': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  180
        0.1   ^  response 180
        0.1   =  Proceeding
        5     <  603
        5     >  ACK
        5     ^  response 603
        5     =  Completed
        5.1   <  200 tag=fork
        5.1   ^  stray 200
        37    =  Terminated
        100   .
    """,
    'cancelled: the CANCEL has the branch of the INVITE and is matched by its method': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  180
        0.1   ^  response 180
        0.1   =  Proceeding
        2     v  CANCEL
        2     >  CANCEL
        2     =  CANCEL Trying
        2.1   <  200 CANCEL
        2.1   ^  response 200 CANCEL
        2.1   =  CANCEL Completed
        2.1   <  487
        2.1   >  ACK
        2.1   ^  response 487
        2.1   =  Completed
        7.1   =  CANCEL Terminated
        34.1  =  Terminated
        100   .
    """,
    'cancelled, but the callee was faster': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  180
        0.1   ^  response 180
        0.1   =  Proceeding
        2     v  CANCEL
        2     >  CANCEL
        2     =  CANCEL Trying
        2.1   <  200
        2.1   ^  response 200
        2.1   =  Accepted
        2.1   <  481 CANCEL
        2.1   ^  response 481 CANCEL
        2.1   =  CANCEL Completed
        7.1   =  CANCEL Terminated
        34.1  =  Terminated
        100   .
    """,
    'cancelled, and the peer, of RFC 2543, sends no 487: the user ends it (9.1)': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  180
        0.1   ^  response 180
        0.1   =  Proceeding
        32.1  v  abandon
        32.1  =  Terminated
        33    <  487
        33    ^  stray 487
        100   .
    """,
    'abandoned before any answer': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   v  abandon
        0.1   =  Terminated
        100   .
    """,
    'abandoned in Completed': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  404
        0.1   >  ACK
        0.1   ^  response 404
        0.1   =  Completed
        0.2   v  abandon
        0.2   =  Terminated
        100   .
    """,
    'abandoned in Accepted': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  200
        0.1   ^  response 200
        0.1   =  Accepted
        0.2   v  abandon
        0.2   =  Terminated
        100   .
    """,
    'the INVITE does not leave': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0     !  INVITE
        0     ^  transport_error INVITE
        0     =  Terminated
        100   .
    """,
    'the ACK does not leave': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  500
        0.1   >  ACK
        0.1   ^  response 500
        0.1   =  Completed
        0.1   !  ACK
        0.1   ^  transport_error INVITE
        0.1   =  Terminated
        100   .
    """,
}
OVER_TCP = {
    'nobody answers: nothing is sent again, timer B runs all the same': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        32    ^  timeout INVITE
        32    =  Terminated
        100   .
    """,
    'a failure: timer D is zero': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  486
        0.1   >  ACK
        0.1   ^  response 486
        0.1   =  Terminated
        100   .
    """,
    'the connection breaks while it rings: the response comes over another one (18.2.2)': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  180
        0.1   ^  response 180
        0.1   =  Proceeding
        5     !  flow
        6     <  200
        6     ^  response 200
        6     =  Accepted
        38    =  Terminated
        100   .
    """,
    'a 2xx: timer M is not': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  200
        0.1   ^  response 200
        0.1   =  Accepted
        32.1  =  Terminated
        100   .
    """,
}


#: RFC 7118 5.3: responses come over that connection only
OVER_WEBSOCKET = {
    'the connection breaks while it rings: nothing can come any more': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  180
        0.1   ^  response 180
        0.1   =  Proceeding
        5     !  flow
        5     ^  transport_error INVITE
        5     =  Terminated
        100   .
    """,
    'after the 2xx it does not matter': """
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   <  200
        0.1   ^  response 200
        0.1   =  Accepted
        5     !  flow
        32.1  =  Terminated
        100   .
    """,
}


@pytest.mark.parametrize('name', LADDERS)
def test_over_udp(name: str) -> None:
    check(LADDERS[name])


@pytest.mark.parametrize('name', OVER_TCP)
def test_over_tcp(name: str) -> None:
    check(OVER_TCP[name], transport='TCP')


@pytest.mark.parametrize('name', OVER_WEBSOCKET)
def test_over_websocket(name: str) -> None:
    check(OVER_WEBSOCKET[name], transport='WS')


def test_each_arrow_is_walked(walked: Arrows) -> None:
    for ladder in LADDERS.values():
        check(ladder)
    for ladder in OVER_WEBSOCKET.values():
        check(ladder, transport='WS')
    assert arrows_of(InviteClientTransaction) - walked == set()


def test_t1_is_a_setting() -> None:
    check("""
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0.1   >  INVITE
        0.3   >  INVITE
        0.7   >  INVITE
        1.5   >  INVITE
        3.1   >  INVITE
        6.3   >  INVITE
        6.4   ^  timeout INVITE
        6.4   =  Terminated
        100   .
    """, t1=0.1)


def test_timer_d_does_not_shrink_with_t1() -> None:
    """17.1.1.2: the T1 of the server is not known."""
    check("""
        0     v  INVITE
        0     >  INVITE
        0     =  Calling
        0     <  486
        0     >  ACK
        0     ^  response 486
        0     =  Completed
        32    =  Terminated
        100   .
    """, t1=0.1)


def test_retransmissions_are_the_same_bytes() -> None:
    world = World()
    world.call(our_request())
    world.pass_time(4)
    assert len(world.sent) == 4
    first = world.sent[0]
    assert all(data is first[0] and flow is first[1] for data, flow in world.sent)


def test_the_ack_for_a_failure() -> None:
    """17.1.1.3: Request-URI, Via, From, Call-ID, Route of the INVITE, To of the response; to where the INVITE went."""
    world = World()
    invite = our_request()
    invite.add('Route', '<sip:one.example.com;lr>')
    invite.add('Route', '<sip:two.example.com;lr>')
    world.call(invite)
    world.receive(answer_to(invite, 486, tag='busy'), source=1234)
    data, flow = world.sent[-1]
    ack = parse_message(data)
    assert isinstance(ack, Request)
    assert ack.start_line == 'ACK sip:them@192.0.2.9 SIP/2.0'
    assert ack.get_all('Via') == invite.get_all('Via')
    assert ack.get('From') == invite.get('From')
    assert ack.get('To') == '<sip:them@example.com>;tag=busy'
    assert ack.get('CSeq') == '1 ACK'
    assert ack.get_all('Route') == ['<sip:one.example.com;lr>', '<sip:two.example.com;lr>']
    assert flow == Flow(world.flow.point, (PEER, 5060))
