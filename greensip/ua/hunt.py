"""Trying one target after the other until somebody answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from greensip.errors import (
    GreensipError,
    LegEnded,
    ResponseError,
    TransactionTimeout,
    TransportError,
    UsageError,
    WaitTimeout,
)
from greensip.native import mypyc_attr

__all__ = ['Hunt']

#: responses that speak for the person called: nobody else is tried (RFC 3261 21.6)
STOP: Final = frozenset({600, 603, 604, 606, 607})


@mypyc_attr(allow_interpreted_subclasses=True)
class Hunt:
    """Routes to be tried in order: ``Hunt(routes, timeout=8).call(group, from_=a.from_, sdp=a.offer, progress_to=a)``.

    A route is a URI, or a pair of a URI and further options of ``invite``; its own ``timeout`` among them.
    ``timeout``: seconds until a route counts as failed.  ``stop``: the codes after which no further route is tried.
    """

    __slots__ = ('errors', 'routes', 'stop', 'timeout')

    def __init__(self, routes: Iterable[Any], *, timeout: float | None = None, stop: Collection[int] = STOP) -> None:
        self.routes = list(routes)
        self.timeout = timeout
        self.stop = frozenset(stop)
        #: what came of the routes that failed
        self.errors: list[GreensipError] = []

    def call(self, caller: Any, **options: Any) -> Any:
        """Try the routes, block until one is answered, and return its leg, which the caller has to close.

        ``caller`` is a user agent or a ``LegGroup``: anything with ``invite``; ``options`` are those of ``invite``.
        When all have failed raises the last one's error; a leg that the group is bound to ends it at once with its
        own. Raises UsageError when there are no routes.
        """
        invite: Callable[..., Any] = caller.invite
        self.errors = []
        for route in self.routes:
            uri, own = route if isinstance(route, tuple) else (route, {})
            if not isinstance(own, Mapping):
                raise UsageError('a route is a URI, or a pair of a URI and options')
            merged = {**options, **own}
            timeout = merged.pop('timeout', self.timeout)
            leg = invite(uri, **merged)
            try:
                leg.wait_for('2xx', timeout=timeout)
            except (ResponseError, WaitTimeout, TransactionTimeout, TransportError) as error:
                leg.close()
                self.errors.append(error)
                if isinstance(error, ResponseError) and error.code in self.stop:
                    break
                continue
            except LegEnded as error:
                leg.close()
                if not leg.ended or leg.error is None or type(leg.error) is not type(error):
                    # Not this leg's own ending: that of the leg the group is bound to.
                    raise
                self.errors.append(error)
                continue
            except BaseException:
                leg.close()
                raise
            return leg
        if not self.errors:
            raise UsageError('there are no routes to try')
        raise self.errors[-1]

    def __len__(self) -> int:
        return len(self.routes)

    def __repr__(self) -> str:
        return f'<Hunt {", ".join(map(str, self.routes))}>'
