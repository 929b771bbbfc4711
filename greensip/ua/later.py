"""What is not there yet is refused by name."""

from __future__ import annotations

from greensip.errors import UsageError

__all__ = ['NotThere', 'later']


class NotThere(UsageError, AttributeError):
    """Something that needs a part of greensip that does not exist yet."""


class later:
    """An attribute of that kind.  A ``__getattr__`` of the class would do the same, but makes each access to any of its
    attributes, there or not, five times as slow (27 ns instead of 6; a call through the B2BUA has some hundred).
    """

    def __init__(self, name: str, needed: str) -> None:
        self.text = f'{name}: greensip has no {needed} yet'

    def __get__(self, instance: object, owner: type) -> later:
        if instance is None:
            return self
        raise NotThere(self.text)
