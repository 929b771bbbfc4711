"""The non-INVITE client transaction as ladders: each arrow of RFC 3261 figure 6."""

from __future__ import annotations

import pytest

from greensip.transaction import NonInviteClientTransaction

from .conftest import Arrows, arrows_of, check

LADDERS = {
    'nobody answers: timer E doubles up to T2 until timer F': """
        0     v  OPTIONS
        0     >  OPTIONS
        0     =  Trying
        0.5   >  OPTIONS
        1.5   >  OPTIONS
        3.5   >  OPTIONS
        7.5   >  OPTIONS
        11.5  >  OPTIONS
        15.5  >  OPTIONS
        19.5  >  OPTIONS
        23.5  >  OPTIONS
        27.5  >  OPTIONS
        31.5  >  OPTIONS
        32    ^  timeout OPTIONS
        32    =  Terminated
        100   .
    """,
    'answered at once; the repetition of the answer is absorbed for T4': """
        0     v  OPTIONS
        0     >  OPTIONS
        0     =  Trying
        0.1   <  200
        0.1   ^  response 200
        0.1   =  Completed
        0.6   <  200
        0.7   <  404 tag=fork
        0.8   <  100
        5.1   =  Terminated
        6     <  200
        6     ^  stray 200
        100   .
    """,
    'a 1xx: what runs of timer E still runs, T2 from then on': """
        0     v  OPTIONS
        0     >  OPTIONS
        0     =  Trying
        0.5   >  OPTIONS
        0.6   <  100
        0.6   ^  response 100
        0.6   =  Proceeding
        1.5   >  OPTIONS
        2     <  100
        2     ^  response 100
        5.5   >  OPTIONS
        9.5   >  OPTIONS
        10    <  503
        10    ^  response 503
        10    =  Completed
        15    =  Terminated
        100   .
    """,
    'a 1xx and nothing after it: timer F': """
        0     v  OPTIONS
        0     >  OPTIONS
        0     =  Trying
        0.1   <  100
        0.1   ^  response 100
        0.1   =  Proceeding
        0.5   >  OPTIONS
        4.5   >  OPTIONS
        8.5   >  OPTIONS
        12.5  >  OPTIONS
        16.5  >  OPTIONS
        20.5  >  OPTIONS
        24.5  >  OPTIONS
        28.5  >  OPTIONS
        32    ^  timeout OPTIONS
        32    =  Terminated
        100   .
    """,
    'the request does not leave': """
        0     v  BYE
        0     >  BYE
        0     =  Trying
        0     !  BYE
        0     ^  transport_error BYE
        0     =  Terminated
        100   .
    """,
    'its repetition does not leave': """
        0     v  BYE
        0     >  BYE
        0     =  Trying
        0.1   <  100
        0.1   ^  response 100
        0.1   =  Proceeding
        0.5   >  BYE
        0.5   !  BYE
        0.5   ^  transport_error BYE
        0.5   =  Terminated
        100   .
    """,
    'abandoned in Trying': """
        0     v  BYE
        0     >  BYE
        0     =  Trying
        0.1   v  abandon
        0.1   =  Terminated
        100   .
    """,
    'abandoned in Proceeding': """
        0     v  BYE
        0     >  BYE
        0     =  Trying
        0.1   <  100
        0.1   ^  response 100
        0.1   =  Proceeding
        0.2   v  abandon
        0.2   =  Terminated
        100   .
    """,
    'abandoned in Completed': """
        0     v  BYE
        0     >  BYE
        0     =  Trying
        0.1   <  200
        0.1   ^  response 200
        0.1   =  Completed
        0.2   v  abandon
        0.2   =  Terminated
        100   .
    """,
}
OVER_TCP = {
    'nobody answers: nothing is sent again, timer F runs all the same': """
        0     v  OPTIONS
        0     >  OPTIONS
        0     =  Trying
        1     <  100
        1     ^  response 100
        1     =  Proceeding
        32    ^  timeout OPTIONS
        32    =  Terminated
        100   .
    """,
    'answered: timer K is zero': """
        0     v  OPTIONS
        0     >  OPTIONS
        0     =  Trying
        0.1   <  200
        0.1   ^  response 200
        0.1   =  Terminated
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
    assert arrows_of(NonInviteClientTransaction) - walked == set()


def test_t1_t2_and_t4_are_settings() -> None:
    check("""
        0     v  OPTIONS
        0     >  OPTIONS
        0     =  Trying
        0.1   >  OPTIONS
        0.3   >  OPTIONS
        0.6   >  OPTIONS
        0.9   >  OPTIONS
        1     <  200
        1     ^  response 200
        1     =  Completed
        3     =  Terminated
        100   .
    """, t1=0.1, t2=0.3, t4=2.0)
