"""The durations that follow from T1, T2 and T4."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.errors import UsageError
from greensip.transaction import Settings


def test_the_defaults_are_those_of_table_4() -> None:
    settings = Settings()
    assert (settings.t1, settings.t2, settings.t4) == (0.5, 4.0, 5.0)
    for name in 'bfhjlm':
        assert getattr(settings, f'timer_{name}') == 32.0
    assert (settings.timer_d, settings.timer_i, settings.timer_k) == (32.0, 5.0, 5.0)
    assert settings.timer_c >= 180
    # RFC 4320 4.1: after 0.5, 1 and 2 s timer E is reset to 4 s
    assert settings.trying_delay_non_invite == 3.5


def test_all_follow_t1_but_d() -> None:
    settings = Settings(t1=0.1, t2=0.4, t4=1.0)
    assert settings.timer_b == settings.timer_f == settings.timer_h == pytest.approx(6.4)
    assert settings.timer_d == 32.0
    assert Settings(t1=1.0).timer_d == 64.0
    assert Settings(timer_d=0.5).timer_d == 0.5
    assert settings.timer_k == 1.0
    assert settings.trying_delay_non_invite == pytest.approx(0.3)


@pytest.mark.parametrize('wrong', [
    {'t1': 0}, {'t1': -1.0}, {'t2': 0.1}, {'t4': -1}, {'trying_delay': -0.1}, {'timer_c': 0}, {'timer_d': -1},
    {'max_transactions': 0}, {'retry_after': -1}, {'avoid_time': -1}, {'patience': 0}, {'tcp_above': -1},
])
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)
