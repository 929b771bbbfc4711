"""When soft state is refreshed, and when what failed is tried again: RFC 5626 4.5, RFC 6665 4.1.3, RFC 3261 20.33."""

from __future__ import annotations

import pytest

from greensip.dialog.soft_state import (
    LONGEST_RETRY_AFTER,
    Backoff,
    back_off,
    longest_wait,
    refresh_delay,
    refresh_time,
    retry_delay,
    seconds_in,
)
from greensip.message import Response


@pytest.mark.parametrize(('expires', 'delay'), [(3600, 3510), (200, 110), (180, 90), (60, 30), (2, 1)])
def test_subscriptions_and_publications_are_refreshed(expires: int, delay: float) -> None:
    assert refresh_delay(expires) == delay


@pytest.mark.parametrize(('granted', 'latest'), [(3600, 3536), (200, 136), (129, 65), (128, 96), (65, 33), (60, 30)])
def test_bindings_are_refreshed(granted: float, latest: float) -> None:
    """With requests that fail after 32 seconds."""
    assert refresh_time(granted, 32.0, 1.0) == latest
    assert refresh_time(granted, 32.0, 0.0) == pytest.approx(0.9 * latest)


def test_no_binding_is_refreshed_all_the_time() -> None:
    assert refresh_time(2.0, 32.0, 0.0) == 1.0
    assert refresh_time(1.0, 32.0, 0.0) == 0.5


@pytest.mark.parametrize(('others', 'failures', 'longest'), [
    (False, 0, 30), (False, 1, 60), (False, 5, 960), (False, 6, 1800), (False, 10**6, 1800), (True, 0, 90),
    (True, 1, 180)])
def test_the_longest_wait_for_a_flow(others: bool, failures: int, longest: float) -> None:
    assert longest_wait(Backoff(), others, failures) == longest


@pytest.mark.parametrize(('attempts', 'most'), [(1, 2), (2, 4), (8, 256), (9, 300), (10**6, 300)])
def test_the_wait_doubles_and_has_an_end(attempts: int, most: float) -> None:
    """The last is a compositor, or notifier, that has been away for years."""
    assert back_off(attempts, 1.0) == most
    assert back_off(attempts, 0.0) == most / 2


@pytest.mark.parametrize(('reason', 'retry_after', 'delay'), [
    ('rejected', 5, None), ('noresource', None, None), ('invariant', None, None), ('deactivated', 60, 0.0),
    ('timeout', 60, 0.0), ('probation', None, 60.0), ('probation', 5, 5.0), ('giveup', None, 0.0), ('giveup', 7, 7.0),
    (None, None, 0.0), ('new', 3, 3.0), ('giveup', 10**9, LONGEST_RETRY_AFTER)])
def test_reasons_of_a_notifier(reason: str | None, retry_after: int | None, delay: float | None) -> None:
    assert retry_delay(reason, retry_after) == delay


@pytest.mark.parametrize(('name', 'text', 'seconds'), [
    ('Expires', '30', 30), ('Min-Expires', '90', 90), ('Retry-After', '18000;duration=3600', 18000),
    ('Expires', 'x', None), ('Retry-After', '', None), ('Contact', '<sip:a@b>', None), ('Subject', '30', None)])
def test_seconds_in_a_response(name: str, text: str, seconds: int | None) -> None:
    assert seconds_in(Response(423, 'Interval Too Brief', [(name, text)]), name) == seconds
    assert seconds_in(Response(423, 'Interval Too Brief', []), name) is None
