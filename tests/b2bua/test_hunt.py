"""Hunting, told the time."""

from __future__ import annotations

import pytest

from greensip.b2bua.hunt import Hunt
from greensip.b2bua.routes import parse_route


def hunt(*texts: str) -> Hunt:
    return Hunt([parse_route(text) for text in texts])


def place(hunting: Hunt, now: float) -> str | None:
    route = hunting.next(now)
    return route.host if route is not None else None


def test_in_order_until_none_is_left() -> None:
    hunting = hunt('a', 'b')
    assert [place(hunting, 0), hunting.number, hunting.more] == ['a', 1, True]
    assert [place(hunting, 1), hunting.number, hunting.more] == ['b', 2, False]
    assert [place(hunting, 2), place(hunting, 3), hunting.route] == [None, None, None]


def test_statuses_that_stop() -> None:
    hunting = hunt('a;hs_scodes=486,603', 'b')
    hunting.next(0)
    assert [hunting.stops_at(code) for code in (404, 486, 603)] == [False, True, True]
    hunting.next(0)
    assert hunting.stops_at(404)


@pytest.mark.parametrize(('text', 'deadlines'), [
    ('a', [None, None, None]),
    ('a;expires=30;np_expires=10;nr_expires=5', [105, 110, 130]),
    ('a;np_expires=10', [110, 110, None]),
])
def test_patience_counts_from_the_placing(text: str, deadlines: list[float | None]) -> None:
    hunting = hunt(text)
    hunting.next(100)
    assert [hunting.deadline(code) for code in (0, 100, 183)] == deadlines
    for code, at in zip((0, 100, 183), deadlines):
        if at is not None:
            assert [hunting.is_over(code, at - 0.1), hunting.is_over(code, at)] == [False, True]


def test_a_group_is_left_together() -> None:
    # a, b and c may take 20 s together, then it is the turn of d.
    hunting = hunt('a;gt=20,3;expires=15', 'b', 'c', 'd', 'e')
    assert place(hunting, 0) == 'a'
    assert hunting.deadline(180) == 15
    assert hunting.is_over(180, 15)
    assert place(hunting, 15) == 'b'
    assert hunting.deadline(180) == 20
    assert not hunting.is_over(180, 19.9)
    assert hunting.is_over(180, 20)
    assert [place(hunting, 20), hunting.number] == ['d', 4]
    # The time-out of a group is over when it has fired.
    assert hunting.deadline(180) is None


def test_a_group_that_was_left_before_changes_nothing() -> None:
    hunting = hunt('a;gt=20,1', 'b', 'c')
    place(hunting, 0)
    assert place(hunting, 5) == 'b'
    assert not hunting.is_over(180, 20)
    assert place(hunting, 30) == 'c'


def test_the_last_group_lets_the_attempt_go_on_but_none_follow() -> None:
    # sippy 2.5.0 fails here: it asks a route for its first item.
    for skip in (2, 7):
        hunting = hunt(f'a;gt=20,{skip}', 'b')
        place(hunting, 0)
        assert not hunting.is_over(180, 20)
        assert not hunting.more
        assert place(hunting, 25) is None


def test_two_groups_that_end_at_once() -> None:
    hunting = hunt('a;gt=20,2', 'b;gt=10,3', 'c', 'd', 'e')
    place(hunting, 0)
    place(hunting, 10)
    assert hunting.is_over(0, 20)
    assert place(hunting, 20) == 'e'


def test_patience_and_group_together() -> None:
    hunting = hunt('a;gt=5,1;expires=5', 'b')
    place(hunting, 0)
    assert hunting.is_over(180, 5)
    assert place(hunting, 5) == 'b'
