"""The tree of exceptions: it is as the docstring draws it, and each one says what it means for another leg."""

from __future__ import annotations

import re

import pytest

import greensip
from greensip import errors
from greensip.errors import GreensipError, ResponseError, response_error

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


def drawn() -> dict[str, str]:
    """Each name of the drawing with the name that it hangs on."""
    text = (errors.__doc__ or '').partition('Below ``greensip.ua``')[0]
    found: dict[str, str] = {}
    above = {0: 'GreensipError'}
    depth = 0
    for line in text.splitlines():
        if (match := re.search(r'\+- (.*)', line)) is not None:
            depth = (match.start() - 5) // 4 + 1
            rest = match[1]
        elif (match := re.search(r'\|   \|  (\S.*)', line)) is not None:
            rest = match[1]
        else:
            continue
        names = re.findall(r'\b[A-Z][a-z]+[A-Za-z]*', re.sub(r'\([^)]*\)|   .*|\bRFC\b', '', rest))
        for name in names:
            if hasattr(errors, name):
                found[name] = above[depth - 1]
        above[depth] = names[0]
    return found


@pytest.mark.skipif(errors.__doc__ is None, reason='mypyc keeps no docstrings')
def test_the_drawing_is_the_tree() -> None:
    assert drawn() == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES if cls is not GreensipError}


def test_all_are_to_be_had_where_applications_look() -> None:
    assert [cls.__name__ for cls in CLASSES if getattr(greensip, cls.__name__, None) is not cls] == []


@pytest.mark.parametrize(('name', 'status', 'also'), [
    ('GreensipError', 500, Exception), ('UsageError', 500, Exception), ('WrongThread', 500, Exception),
    ('WrongState', 500, Exception), ('ParseError', 400, ValueError), ('TransportError', 503, OSError),
    ('ResolveError', 503, OSError), ('ConnectError', 503, OSError), ('TlsError', 503, OSError),
    ('MessageTooBig', 513, OSError), ('TransactionTimeout', 408, TimeoutError), ('WaitTimeout', 408, TimeoutError),
    ('LegEnded', 487, Exception), ('RemoteHangup', 480, Exception), ('RemoteCancel', 487, Exception),
    ('SessionExpired', 408, Exception), ('MediaTimeout', 480, Exception), ('SubscriptionEnded', 481, Exception),
    ('MediaError', 488, Exception), ('NegotiationFailed', 488, Exception), ('UnexpectedMessage', 500, Exception),
])
def test_what_another_leg_would_be_answered(name: str, status: int, also: type) -> None:
    error = getattr(errors, name)('why')
    assert error.status == status and isinstance(error, also) and isinstance(error, GreensipError)
    assert 'why' in str(error)


@pytest.mark.parametrize(('code', 'name'), [
    (300, 'Redirected'), (302, 'Redirected'), (305, 'Redirected'), (380, 'Redirected'), (401, 'Unauthorized'),
    (407, 'Unauthorized'), (403, 'Forbidden'), (404, 'NotFound'), (486, 'Busy'), (600, 'Busy'), (603, 'Declined'),
    (480, 'Unavailable'), (503, 'Unavailable'), (406, 'NotAcceptable'), (488, 'NotAcceptable'), (606, 'NotAcceptable'),
    (487, 'RequestTerminated'), (423, 'TooBrief'), (500, 'ServerFailure'), (504, 'ServerFailure'),
    (400, 'ResponseError'), (408, 'ResponseError'), (699, 'ResponseError'),
])
def test_the_class_of_a_response(code: int, name: str) -> None:
    error = response_error(code, 'Why')
    assert type(error).__name__ == name and isinstance(error, ResponseError)
    assert (error.code, error.status, error.reason, str(error)) == (code, code, 'Why', f'{code} Why')
    assert (error.retry_after, error.warnings) == (None, [])
    if name == 'Redirected':
        assert error.contacts == []     # type: ignore[attr-defined]
