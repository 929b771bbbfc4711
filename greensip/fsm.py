"""How state machines are written here: one Row per arrow of the RFC's figure.

A machine is a class with a table of rows in the words of its figure::

    class Lamp(Machine):
        rows = (
            Row(OFF, 'press', ON, shine),
            Row(ON, 'press', OFF, go_dark),
        )
        initial = OFF

``fire(event, ...)`` looks the arrow up, logs it, enters the new state and then performs the
action, a plain function that takes the machine first.  An event for which the present state has no row
is absorbed: ``fire`` returns False and nothing happens.

The rows are linked once, when the class is made: a state's arrows are one dict, and each arrow
holds the dict of the state it leads to.  A transition therefore costs one look-up by the event's name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

from greensip.native import mypyc_attr

__all__ = ['Arrow', 'Machine', 'Row', 'log']

log: Final = logging.getLogger('greensip.fsm')

# What isEnabledFor() has found out so far, level -> answer; logging empties it whenever a level changes.
# Asking it first makes a transition 0.2 us instead of 0.3 (scripts/benchmarks/transaction.py, line 'fire'); without
# it (it is not documented) isEnabledFor() is asked each time.
_known: Final[dict[int, bool]] = getattr(log, '_cache', {})

Action = Callable[..., None]


class Row(NamedTuple):
    """One arrow of a figure: in ``state``, on ``event``, go to ``to`` and perform ``action``."""

    state: str
    event: str
    to: str
    action: Action | None = None


class Arrow:
    """A Row linked to the arrows of the state it leads to."""

    __slots__ = ('action', 'arrows', 'to')

    def __init__(self, to: str, action: Action | None, arrows: dict[str, Arrow]) -> None:
        self.to = to
        self.action = action
        self.arrows = arrows


def link(rows: tuple[Row, ...]) -> dict[str, dict[str, Arrow]]:
    """Make the look-up tables of a machine; two rows for one state and event are a mistake."""
    tables: dict[str, dict[str, Arrow]] = {}
    for row in rows:
        tables.setdefault(row.state, {})
        tables.setdefault(row.to, {})
    for row in rows:
        arrows = tables[row.state]
        if row.event in arrows:
            raise ValueError(f'two rows for {row.event!r} in {row.state}')
        arrows[row.event] = Arrow(row.to, row.action, tables[row.to])
    return tables


@mypyc_attr(allow_interpreted_subclasses=True)
class Machine:
    """Base of every machine that is drawn as rows.

    Subclasses declare ``rows`` and ``initial``, and ``__slots__`` for what else they hold.
    """

    __slots__ = ('arrows', 'state')

    rows: ClassVar[tuple[Row, ...]] = ()
    initial: ClassVar[str] = ''
    tables: ClassVar[dict[str, dict[str, Arrow]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if 'rows' in vars(cls):
            cls.tables = link(cls.rows)

    def __init__(self) -> None:
        self.state: str = self.initial
        self.arrows: dict[str, Arrow] = self.tables[self.initial]

    def fire(self, event: str, *args: Any) -> bool:
        """Perform the transition for ``event``; False if the present state absorbs it."""
        arrow = self.arrows.get(event)
        if arrow is None:
            return False
        if _known.get(logging.DEBUG, True) and log.isEnabledFor(logging.DEBUG):
            log.debug('= %r: %s -- %s -> %s', self, self.state, event, arrow.to)
            arrow = self.arrows.get(event)     # a log handler may let others run: look again
            if arrow is None:
                return False
        self.state = arrow.to
        self.arrows = arrow.arrows
        if arrow.action is not None:
            arrow.action(self, *args)
        return True
