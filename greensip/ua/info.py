"""INFO and its packages: RFC 6086.

A user agent that is made with ``info_packages=`` says with Recv-Info in its INVITEs and their 2xx which packages it
takes; INFO of another one is refused with 469.  ``leg.info(package, body)`` sends one, if the peer takes it.  INFO
without a package is the old kind, which says nothing of what it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greensip.errors import ParseError, UsageError
from greensip.message import Message, Request
from greensip.message.grammar import is_token

from .fields import Pairs

__all__ = ['info_fields', 'is_taken', 'package_of', 'packages_of']


def packages_of(message: Message | None) -> tuple[str, ...] | None:
    """The packages that a message's Recv-Info names; None without one, which says nothing of packages."""
    if message is None or not message.has('Recv-Info'):
        return None
    try:
        values: list[Any] = list(message.values('Recv-Info'))
    except ParseError:
        return ()
    return tuple(value.value for value in values)


def package_of(request: Request) -> str | None:
    """The package of an INFO; None for the old kind.  Raises ParseError."""
    if not request.has('Info-Package'):
        return None
    value: Any = request.value('Info-Package')
    name: str = value.value
    return name


def is_taken(request: Request, packages: Sequence[str] | None) -> bool:
    """Whether an INFO is of a package among those that we have said we take, or of none (RFC 6086 4.2.2)."""
    try:
        package = package_of(request)
    except ParseError:
        return False
    return package is None or package in (packages or ())


def info_fields(package: str, taken: tuple[str, ...] | None) -> Pairs:
    """The header fields of an INFO of a package, which the peer has to take (RFC 6086 4.2.1).

    ``package`` may have parameters.  Raises UsageError.
    """
    name = package.partition(';')[0].strip()
    if not is_token(name):
        raise UsageError(f'{package!r} is no name of an INFO package')
    # 7.2: names are compared octet by octet
    if name not in (taken or ()):
        said = f'it takes {", ".join(taken)}' if taken else 'it takes none'
        raise UsageError(f'the peer does not take INFO of the package {name}: {said}')
    return (('Info-Package', package), ('Content-Disposition', 'Info-Package'))
