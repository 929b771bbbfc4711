"""Whom to call, in which order: RFC 3261 16.6 by q, RFC 5626 7 and RFC 5627 6.1 for several contacts of one phone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from greensip.errors import GreensipError, ResponseError, TransactionTimeout, TransportError

from .binding import Binding

__all__ = ['Target', 'speaks_for_the_flow', 'waves']

#: responses that tell of the way to a phone and not of the phone: Request Timeout, Flow Failed (RFC 5626 7)
FLOW_FAILURES = frozenset({408, 430})


class Target:
    """One phone: its bindings, of which one at a time is called, the latest first."""

    __slots__ = ('bindings',)

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.bindings = list(bindings)

    @property
    def q(self) -> float:
        """How much it is preferred."""
        return max(binding.q for binding in self.bindings)

    def next(self) -> Binding | None:
        """The binding to call now; None when all have failed."""
        return self.bindings.pop(0) if self.bindings else None

    def __repr__(self) -> str:
        return f'<Target {self.bindings}>'


def waves(bindings: Sequence[Binding]) -> list[list[Target]]:
    """The phones that are called at the same time, those of the highest q first.

    Bindings of one instance are one phone.
    """
    phones: dict[object, list[Binding]] = {}
    for binding in bindings:
        if binding.can_be_called:
            phones.setdefault(binding.instance or binding, []).append(binding)
    targets = [Target(sorted(several, key=lambda binding: (-binding.q, -binding.updated)))
               for several in phones.values()]
    targets.sort(key=lambda target: -target.q)
    return [list(group) for _, group in groupby(targets, key=lambda target: target.q)]


def speaks_for_the_flow(error: BaseException | None) -> bool:
    """Whether a failure says that this way to a phone does not work, so that another one may (RFC 5626 7)."""
    if isinstance(error, ResponseError):
        return error.code in FLOW_FAILURES
    return isinstance(error, (TransportError, TransactionTimeout)) and isinstance(error, GreensipError)
