"""What documents that tell changes only add up to: RFC 3680 5.2, RFC 4235 4.3, RFC 4575 4.6."""

from __future__ import annotations

from typing import Any, Final

from greensip.body import Merged, content_of, parse_document
from greensip.errors import UsageError
from greensip.message import Request

__all__ = ['PARTIAL_PACKAGES', 'Whole']

#: octets: what partial documents add up to is begun anew when it is larger; a single one has 256 KB at most
LARGEST = 2**21
#: those whose documents may tell changes only
PARTIAL_PACKAGES: Final = frozenset({'conference', 'dialog', 'reg'})


class Whole:
    """The state of one subscription, as its notifier has told it piece by piece."""

    __slots__ = ('_dialog', '_grown', 'document')

    def __init__(self) -> None:
        #: what the documents add up to; None before the first
        self.document: Any = None
        #: the dialog in which they came
        self._dialog: Any = None
        #: octets of documents that went into it, at least what it may have become
        self._grown = 0

    def add(self, message: Request, dialog: Any) -> bool:
        """Add the document of a NOTIFY in ``dialog``; whether one before it was missed.  Raises ParseError.

        "the subscriber SHOULD generate a refresh request" then.
        """
        # One of its own: it changes as others are added.
        content = content_of(message)
        document = parse_document(message.get('Content-Type'), content)
        if not hasattr(document, 'apply'):
            return False
        if dialog is self._dialog and type(document) is type(self.document):
            missed = self.document.apply(document) is Merged.INCOMPLETE
            self._grown += len(content)
            if self._grown <= LARGEST or not self._is_too_large():
                return missed
            # A notifier that names ever new things and never says that one is over
        # Versions are counted within a subscription.
        self._dialog, self.document, self._grown = dialog, document, len(content)
        partial: bool = document.state == 'partial'
        return partial

    def _is_too_large(self) -> bool:
        """Whether what is known has become larger than any document could tell it."""
        try:
            size = len(self.document.to_bytes())
        except UsageError:
            return True
        # Not to be measured again for each small change
        self._grown = size // 2
        return size > LARGEST
