"""The non-INVITE server transaction as ladders: each arrow of RFC 3261 figure 8, RFC 4320, RFC 6026 8.8."""

from __future__ import annotations

import pytest

from greensip.transaction import NonInviteServerTransaction

from .conftest import Arrows, arrows_of, check

LADDERS = {
    'answered: repetitions get the same answer until timer J': """
        0     <  BYE
        0     ^  request BYE
        0     =  Trying
        0.1   v  200
        0.1   >  200
        0.1   =  Completed
        0.5   <  BYE
        0.5   >  200
        1.5   <  BYE
        1.5   >  200
        1.6   v  500
        32.1  =  Terminated
        33    <  BYE
        33    ^  request BYE
        33    =  Trying
        33    v  481
        33    >  481
        33    =  Completed
        65    =  Terminated
        100   .
    """,
    'a slow user: in Trying repetitions are discarded; 100 when the timer E of the client is at T2 (RFC 4320 4.1)': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        0.5   <  INFO
        1.5   <  INFO
        3.5   >  100
        3.5   =  Proceeding
        3.6   <  INFO
        3.6   >  100
        7.6   <  INFO
        7.6   >  100
        8     v  200
        8     >  200
        8     =  Completed
        40    =  Terminated
        100   .
    """,
    'RFC 4320 4.1: no provisional response but 100, and that not before its time': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        0.1   v  183
        0.2   v  100
        3.5   >  100
        3.5   =  Proceeding
        4     v  180
        5     v  200
        5     >  200
        5     =  Completed
        37    =  Terminated
        100   .
    """,
    'RFC 4320 4.2: a 408 is not sent, and repetitions get no answer': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        2     v  408
        2     =  Completed
        3     <  INFO
        34    =  Terminated
        100   .
    """,
    'RFC 4320 4.2: a 408 after the 100': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        3.5   >  100
        3.5   =  Proceeding
        9     v  408
        9     =  Completed
        10    <  INFO
        10    >  100
        41    =  Terminated
        100   .
    """,
    'a user that never answers: over when the client has certainly given up': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        3.5   >  100
        3.5   =  Proceeding
        35.5  =  Terminated
        100   .
    """,
    'responses that do not leave: the transaction stays (RFC 6026 8.8)': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        3.5   >  100
        3.5   =  Proceeding
        3.5   !  100
        3.5   ^  transport_error INFO
        4     v  200
        4     >  200
        4     =  Completed
        4     !  200
        4     ^  transport_error INFO
        7.5   <  INFO
        7.5   >  200
        36    =  Terminated
        100   .
    """,
    'a user that leaves in Trying': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        1     v  abandon
        1     =  Terminated
        100   .
    """,
    'in Proceeding': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        3.5   >  100
        3.5   =  Proceeding
        4     v  abandon
        4     =  Terminated
        100   .
    """,
    'in Completed': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        1     v  200
        1     >  200
        1     =  Completed
        2     v  abandon
        2     =  Terminated
        100   .
    """,
}
OVER_TCP = {
    'a 100 is welcome at any time (RFC 4320 4.1); timer J is zero': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        0.1   v  100
        0.1   >  100
        0.1   =  Proceeding
        0.2   v  100
        0.2   >  100
        1     v  200
        1     >  200
        1     =  Terminated
        100   .
    """,
    'but no other provisional response is': """
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        0.1   v  183
        3.5   >  100
        3.5   =  Proceeding
        35.5  =  Terminated
        100   .
    """,
}


@pytest.mark.parametrize('name', LADDERS)
def test_over_udp(name: str) -> None:
    check(LADDERS[name])


@pytest.mark.parametrize('name', OVER_TCP)
def test_over_tcp(name: str) -> None:
    check(OVER_TCP[name], transport='TCP')


def test_each_arrow_is_walked(walked: Arrows) -> None:
    for ladder in LADDERS.values():
        check(ladder)
    for ladder in OVER_TCP.values():
        check(ladder, transport='TCP')
    assert arrows_of(NonInviteServerTransaction) - walked == set()


def test_the_time_of_the_100_follows_t1_and_t2() -> None:
    """RFC 4320 4.1: 0.1 + 0.2 s until timer E is reset to T2."""
    check("""
        0     <  INFO
        0     ^  request INFO
        0     =  Trying
        0.3   >  100
        0.3   =  Proceeding
        6.7   =  Terminated
        100   .
    """, t1=0.1, t2=0.4)
