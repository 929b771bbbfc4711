"""Every error of greensip's tree has an exit status that the help explains."""

from __future__ import annotations

import pytest

from greensip import errors
from greensip.cli.outcome import STATUSES, Outcome, Stopped, outcome_of, outcome_of_code


@pytest.mark.parametrize(('code', 'status'), [
    (200, 0), (202, 0), (302, 3), (404, 4), (480, 4), (486, 10), (600, 10), (401, 11), (403, 11), (407, 11), (408, 7),
    (500, 5), (503, 5), (603, 6), (699, 6)])
def test_codes(code: int, status: int) -> None:
    outcome = outcome_of_code(code, 'Why')
    assert (outcome.status, outcome.code) == (status, code) and f'{code} Why' in outcome.text
    assert code < 300 or outcome_of(errors.response_error(code, 'Why')) == outcome


@pytest.mark.parametrize(('error', 'status'), [
    (errors.WaitTimeout('x'), 7), (errors.TransactionTimeout('x'), 7), (errors.ResolveError('x'), 8),
    (errors.ConnectError('x'), 8), (errors.TlsError('x'), 8), (errors.SessionExpired(), 9), (errors.RemoteHangup(), 9),
    (errors.SetupError('x'), 2), (errors.UsageError('x'), 2), (errors.ParseError('x'), 1), (errors.MediaError('x'), 1),
    (errors.WrongState('x'), 1),
    (Stopped(), 130)])
def test_errors(error: BaseException, status: int) -> None:
    outcome = outcome_of(error)
    assert outcome.status == status and outcome.word == STATUSES[status][0] and outcome.text


def test_every_error_has_one() -> None:
    for name in errors.__all__:
        cls = getattr(errors, name)
        if isinstance(cls, type) and not issubclass(cls, errors.ResponseError):
            assert outcome_of(cls('x')).status in STATUSES


def test_words_are_told_apart() -> None:
    assert len({word for word, _ in STATUSES.values()}) == len(STATUSES)
    assert Outcome(10, 'x').word == 'busy'
