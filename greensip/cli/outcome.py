"""How a command of ``greensip`` went: a word, a sentence and the exit status, for people and for scripts."""

from __future__ import annotations

from typing import NamedTuple

from greensip.errors import (
    LegEnded,
    ParseError,
    ResponseError,
    TransactionTimeout,
    TransportError,
    UsageError,
    WaitTimeout,
    WrongState,
)

__all__ = ['INTERRUPTED', 'STATUSES', 'Outcome', 'Stopped', 'outcome_of', 'outcome_of_code']

#: exit status: word and what it means; the help shows this table
STATUSES = {
    0: ('done', 'answered, registered, delivered: what was asked for'),
    1: ('failed', 'anything else; the last line says what'),
    2: ('setup', 'nothing was sent: the command line is wrong, a port is in use'),
    3: ('redirected', '3xx: to be had elsewhere'),
    4: ('refused', '4xx'),
    5: ('server failure', '5xx'),
    6: ('refused everywhere', '6xx'),
    7: ('no answer', 'nobody answered in time'),
    8: ('unreachable', 'no address, nobody listens, no valid certificate'),
    9: ('broken off', 'it began, and ended otherwise than it should'),
    10: ('busy', '486, 600'),
    11: ('not allowed', '401, 403, 407: who you are was not accepted'),
    130: ('interrupted', 'Ctrl-C before it was done'),
}


#: the exit status after Ctrl-C, as shells have it
INTERRUPTED = 130


class Stopped(BaseException):
    """Ctrl-C, or SIGTERM: thrown into the command, whose calls end as those of any other script that is left."""


class Outcome(NamedTuple):
    """How it went."""

    #: the exit status, a key of ``STATUSES``
    status: int
    #: a sentence for a person
    text: str
    #: the status code of the peer's response, 0 if there was none
    code: int = 0

    @property
    def word(self) -> str:
        """The outcome in a word, as ``--json`` has it."""
        return STATUSES[self.status][0]


def outcome_of_code(code: int, reason: str = '') -> Outcome:
    """What a final response amounts to."""
    text = f'{code} {reason}'.rstrip()
    if code < 300:
        return Outcome(0, text, code)
    if code in (486, 600):
        return Outcome(10, f'busy: {text}', code)
    if code in (401, 403, 407):
        return Outcome(11, f'not allowed: {text}', code)
    if code == 408:
        return Outcome(7, f'no answer: {text}', code)
    return Outcome(min(code // 100, 6), f'{"elsewhere" if code < 400 else "refused"}: {text}', code)


def outcome_of(error: BaseException) -> Outcome:
    """What an exception amounts to."""
    if isinstance(error, ResponseError):
        return outcome_of_code(error.code, error.reason)
    if isinstance(error, (WaitTimeout, TransactionTimeout)):
        return Outcome(7, f'no answer: {error}')
    if isinstance(error, TransportError):
        return Outcome(8, f'unreachable: {error}')
    if isinstance(error, LegEnded):
        return Outcome(9, f'broken off: {error}')
    if isinstance(error, Stopped):
        return Outcome(INTERRUPTED, 'interrupted')
    if isinstance(error, UsageError) and not isinstance(error, WrongState):
        return Outcome(2, str(error))
    if isinstance(error, ParseError):
        return Outcome(1, f'the peer makes no sense: {error}')
    return Outcome(1, f'failed: {error or type(error).__name__}')
