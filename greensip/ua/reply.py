"""Waiting for the final response to one request of ours."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from greensip.dialog.event import FAILED, Event
from greensip.dialog.exchange import ClientRequest
from greensip.errors import WrongState
from greensip.message import Response

from .mailbox import Mailbox, Notice, Watch, wait_on
from .pattern import NOTHING, Matcher

if TYPE_CHECKING:
    from .agent import UserAgent

__all__ = ['Reply', 'wait_reply']


@lru_cache(maxsize=64)
def _final(method: str) -> Matcher:
    return Matcher(('200-699',), f'final response to {method}')


class Reply(Mailbox):
    """The mailbox of one request: its responses, and its failure as the ending."""

    __slots__ = ('exchange', 'name', 'ua')

    def __init__(self, ua: UserAgent, exchange: ClientRequest, name: str) -> None:
        super().__init__(ua)
        self.ua = ua
        self.exchange = exchange
        self.name = name
        exchange.owner = self

    @property
    def peer_name(self) -> str:
        return self.name

    def on_event(self, event: Event) -> None:
        """From the core."""
        if event.kind == FAILED:
            self.finish(Notice('ended', time=event.time, error=event.error))
        else:
            self.deliver(event)

    def give_up(self) -> None:
        """The user agent is closed: nobody brings the response any more."""
        self.finish(Notice('ended', time=self.ua.clock.now(), error=WrongState('the user agent is closed')))


def wait_reply(reply: Reply, timeout: float | None, leg: Mailbox | None = None) -> Response:
    """Block until the final response, and return it.

    Raises the failure, the ending of ``leg``, WaitTimeout, WrongState when the user agent is closed meanwhile.
    """
    answer = Watch(reply, _final(reply.exchange.method))
    watches = [answer]
    if leg is not None:
        ending = Watch(leg, NOTHING)
        ending.strict = False
        watches.append(ending)
    replies = reply.ua.replies
    replies.add(reply)
    try:
        wait_on(watches, timeout)
    finally:
        replies.discard(reply)
        # Cuts the circle of the request and its mailbox.
        reply.exchange.owner = None
    response: Any = answer.event.message
    message: Response = response
    return message
