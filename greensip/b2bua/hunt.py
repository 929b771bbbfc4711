"""Hunting: which route comes next, and how long the present one may take.

Told the time like everything that can be tested without a clock.  A route with ``gt=timeout,skip`` begins a group:
when ``timeout`` has passed since it was placed and nobody has answered, the routes before the one ``skip`` further
on are passed over, and the present attempt is given up for it.  A group that reaches the end of the list gives
nothing up: the attempt that is under way may go on, but none follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greensip.b2bua.routes import Route

__all__ = ['Hunt']

NEVER: Final = float('inf')


class Hunt:
    """The routes of one call.  ``number`` counts the routes placed or passed over, from 1."""

    __slots__ = ('groups', 'number', 'placed_at', 'route', 'routes')

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes
        self.number = 0
        #: the route that is tried now
        self.route: Route | None = None
        self.placed_at = 0.0
        #: running group time-outs: when, and the number of the route to go on with
        self.groups: list[tuple[float, int]] = []

    def next(self, now: float) -> Route | None:
        """The route to try now, None when there is none left."""
        if self.number >= len(self.routes):
            self.route = None
            return None
        route = self.route = self.routes[self.number]
        self.number += 1
        self.placed_at = now
        if route.group_timeout is not None:
            timeout, skip = route.group_timeout
            self.groups.append((now + timeout, self.number + skip))
        return route

    @property
    def more(self) -> bool:
        """Whether a route is left to try."""
        return self.number < len(self.routes)

    def stops_at(self, code: int) -> bool:
        """Whether this status of the present route ends the hunt."""
        return not self.more or (self.route is not None and code in self.route.stop_codes)

    def deadline(self, code: int) -> float | None:
        """When to ask ``is_over`` next, ``code`` being the last provisional response (0: none); None: never."""
        route = self.route
        patience = route.patience(code) if route is not None else None
        if not self.groups:
            return None if patience is None else self.placed_at + patience
        at = min(self.groups)[0]
        return at if patience is None else min(at, self.placed_at + patience)

    def is_over(self, code: int, now: float) -> bool:
        """Whether the present attempt is to be given up at ``now``: its own patience or that of a group has ended."""
        over = False
        for group in sorted(self.groups):
            if group[0] > now:
                break
            self.groups.remove(group)
            skip_to = group[1]
            if skip_to > len(self.routes):
                self.number = len(self.routes)
            elif skip_to > self.number:
                self.number = skip_to - 1
                over = True
        patience = self.route.patience(code) if self.route is not None else None
        return over or (patience is not None and now >= self.placed_at + patience)
