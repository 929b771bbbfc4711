"""A user agent for tests of other people's systems: its legs are strict, all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greensip.errors import LegEnded
from greensip.ua import IncomingLeg, OutgoingLeg, UserAgent

__all__ = ['StrictUserAgent']


class StrictUserAgent(UserAgent):
    """A ``UserAgent`` whose legs, of both kinds, raise UnexpectedMessage for what the script does not wait for.

    Only what the protocol does by itself needs not be asked for: 100, ACK.  ``invite(uri, strict=False)`` makes a
    lenient leg, and so does ``leg.strict = False``.  ``failures`` are the exceptions that handlers of ``serve`` raised,
    but for those that say that a call is over: the pytest plugin fails a test for them.
    """

    def __init__(self, *places: Any, **options: Any) -> None:
        super().__init__(*places, **options)
        self.failures: list[Exception] = []

    def invite(self, uri: Any, **options: Any) -> OutgoingLeg:
        """``UserAgent.invite``, strict unless told otherwise."""
        return super().invite(uri, **{'strict': True, **options})

    def accept(self, timeout: float | None = None) -> IncomingLeg:
        """``UserAgent.accept``; the leg is strict."""
        leg = super().accept(timeout)
        leg.strict = True
        return leg

    def serve(self, handler: Callable[[IncomingLeg], object], **options: Any) -> None:
        """``UserAgent.serve``; the handler's legs are strict."""
        def strictly(leg: IncomingLeg) -> object:
            leg.strict = True
            try:
                with leg:
                    return handler(leg)
            except LegEnded:
                raise
            except Exception as error:
                self.failures.append(error)
                raise

        super().serve(strictly, **options)
