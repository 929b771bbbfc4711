"""Flows that are kept alive: of calls whose peers ask for it (RFC 6223), of accounts and scripts (RFC 5626 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greensip.dialog.event import ENDED, RESPONSE, Event
from greensip.message import Response
from greensip.transaction.flow import Flow
from greensip.transaction.via import keep_time
from greensip.transport.keepalive import KeepAlive, KeepAlives

if TYPE_CHECKING:
    from .agent import UserAgent

__all__ = ['Keeping', 'interval_of']

#: seconds of a keep-alive interval at least and at most
LEAST: Final = 1
MOST: Final = 86400


class Keeping:
    """What a user agent keeps alive.  It begins with the first flow; before that there is nothing."""

    __slots__ = ('_calls', '_keep_alives', '_ua')

    def __init__(self, ua: UserAgent) -> None:
        self._ua = ua
        self._keep_alives: KeepAlives | None = None
        #: those of calls, by the usage
        self._calls: dict[Any, KeepAlive] = {}

    @property
    def keep_alives(self) -> KeepAlives:
        """Where keep-alives begin."""
        if self._keep_alives is None:
            self._keep_alives = KeepAlives(self._ua.endpoint)
        return self._keep_alives

    def on_event(self, event: Event) -> None:
        """RFC 6223 4.3: the peer of a call of ours wants the flow of its dialog kept alive, or the call is over."""
        usage = event.subject
        if event.kind == ENDED:
            kept = self._calls.pop(usage, None)
            if kept is not None:
                kept.stop()
        elif (event.kind == RESPONSE and isinstance(event.message, Response) and usage not in self._calls
              and event.exchange is getattr(usage, 'invite', None)):
            seconds = keep_time(event.message)
            if seconds is not None:
                def flow() -> Flow | None:
                    dialog = usage.dialog
                    return dialog.flow if dialog is not None and dialog.confirmed else None

                self._calls[usage] = self.keep_alives.begin(flow, interval_of(seconds), at_once=False,
                                                            on_failed=_end_if_silent)

    def flow_to(self, uri: str) -> Flow:
        """The way to ``uri``.  Blocks while a name is looked up; raises TransportError."""
        ua = self._ua
        router = ua.core.router
        found = router.route(uri)
        if isinstance(found, Flow):
            return found
        families = list(dict.fromkeys(point.family for point in ua.points))
        targets = ua.endpoint.resolver.locate(found, router.transports(None), families)
        return router.flow(found, router.in_order(targets, ua.clock.now())[0])

    def close(self) -> None:
        """No more keep-alives."""
        if self._keep_alives is not None:
            self._keep_alives.close()


def interval_of(seconds: int) -> float | None:
    """The longest time between two keep-alives where a peer asks for so many seconds; None where he leaves it to us."""
    return float(min(max(seconds, LEAST), MOST)) if seconds else None


def _end_if_silent(keep_alive: KeepAlive) -> None:
    """RFC 6223 10: who wanted STUN and does not answer it is not asked for the rest of the dialog."""
    if keep_alive.silent:
        keep_alive.stop()
