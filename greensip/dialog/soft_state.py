"""State that lasts only as long as it is refreshed, a binding, a subscription, a publication: when it is refreshed, and
when what failed is tried again.  RFC 5626 4.5, RFC 6665 4.1.3, RFC 3261 20.33.

Only numbers: times are seconds, and random shares come in.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from greensip.errors import ParseError, ResponseError
from greensip.message import Response

__all__ = [
    'LONGEST_RETRY_AFTER',
    'Backoff',
    'back_off',
    'longest_wait',
    'refresh_delay',
    'refresh_time',
    'retry_after_of',
    'retry_delay',
    'seconds_in',
]

#: the longest time between attempts to subscribe or publish anew, unless the peer asks for more, and then too
LONGEST_WAIT: Final = 300.0
LONGEST_RETRY_AFTER: Final = 86400.0
#: no binding is refreshed more often, whatever a registrar grants
SHORTEST_REFRESH: Final = 1.0


class Backoff(NamedTuple):
    """RFC 5626 4.5: how long to wait after failures, in seconds.

    ``longest`` bounds ``base`` times two to the power of the consecutive failures; the wait is 50 to 100 % of that.
    ``base_others`` takes the place of ``base`` while another flow of the same address-of-record is registered.
    """

    base: float = 30.0
    base_others: float = 90.0
    longest: float = 1800.0


def longest_wait(backoff: Backoff, others: bool, failures: int) -> float:
    """RFC 5626 4.5: W = min(max-time, base-time * 2 ^ consecutive-failures)."""
    base = backoff.base_others if others else backoff.base
    return min(backoff.longest, base * 2.0 ** min(failures, 30))


def back_off(attempts: int, share: float) -> float:
    """How long to wait after so many attempts to subscribe or publish: ``share``, from 0 to 1, of the second half."""
    return min(2.0 ** min(attempts, 10), LONGEST_WAIT) * (0.5 + 0.5 * share)


def refresh_time(granted: float, most: float, share: float) -> float:
    """When a binding is refreshed, if a request takes ``most`` seconds to fail.

    RFC 5627 4.2: so early that the refresh is answered, or has failed, before the binding runs out, and where it is
    long so early that somebody else can be asked after that; halfway where it is short.  A tenth of it is given away
    but for ``share``, from 0 to 1, so that not all clients come at once.
    """
    if granted > 4 * most:
        latest = granted - 2 * most
    else:
        latest = granted - most if granted > 2 * most else granted / 2
    return max(latest * (0.9 + 0.1 * share), min(SHORTEST_REFRESH, granted / 2))


def refresh_delay(expires: float) -> float:
    """When a subscription or publication of ``expires`` seconds is refreshed: 90 s before its end, not before half.

    That leaves room for a request that runs out (64*T1) and another one.
    """
    return max(expires / 2, expires - 90.0)


def retry_delay(reason: str | None, retry_after: int | None) -> float | None:
    """Seconds after which a subscription that the notifier ended is to be begun anew, None for never (RFC 6665 4.1.3).
    """
    # rejected: "clients SHOULD NOT attempt to re-subscribe"; noresource: there is nothing; invariant: it never changes
    if reason in ('rejected', 'noresource', 'invariant'):
        return None
    # deactivated, timeout: at once; "retry-after" has no meaning
    if reason in ('deactivated', 'timeout'):
        return 0.0
    # probation: later; giveup, none, or a word that we do not know: when retry-after says so
    wait = 60.0 if reason == 'probation' else 0.0
    return min(float(retry_after), LONGEST_RETRY_AFTER) if retry_after is not None else wait


def seconds_in(response: Response, name: str) -> int | None:
    """The seconds that a response names; None for none, or for what cannot be read: the response counts all the same.
    """
    try:
        value = response.value(name)
    except ParseError:
        return None
    if isinstance(value, int):
        return value
    seconds = getattr(value, 'seconds', None)
    return seconds if isinstance(seconds, int) else None


def retry_after_of(error: Exception, longest: float = LONGEST_RETRY_AFTER) -> float:
    """RFC 3261 20.33: how long a refusal wants us to wait, in seconds, at most ``longest``; 0 if it does not say."""
    response = error.response if isinstance(error, ResponseError) else None
    asked = seconds_in(response, 'Retry-After') if isinstance(response, Response) else None
    return 0.0 if asked is None else min(float(asked), longest)
