"""Which content type is read by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from greensip.errors import ParseError
from greensip.message import MediaType, parse_media_type

from .conference_info import CONFERENCE_INFO, parse_conference_info
from .cpim import CPIM, parse_cpim
from .dialog_info import DIALOG_INFO, parse_dialog_info
from .imdn import IMDN, parse_imdn
from .iscomposing import ISCOMPOSING, parse_iscomposing
from .message_summary import MESSAGE_SUMMARY, parse_message_summary
from .pidf import PIDF, parse_pidf
from .reginfo import REGINFO, parse_reginfo
from .sipfrag import SIPFRAG, parse_sipfrag

__all__ = ['DOCUMENTS', 'PACKAGES', 'Document', 'parse_document']


class Document(Protocol):
    """What all documents have: their content type, and their octets."""

    @property
    def content_type(self) -> str:
        """Such as ``application/pidf+xml``."""

    def to_bytes(self) -> bytes:
        """As it stands in a body.  UsageError for what cannot be written."""


#: the parsers; a program may add its own
DOCUMENTS: dict[str, Callable[[bytes], Any]] = {
    CONFERENCE_INFO: parse_conference_info, CPIM: parse_cpim, DIALOG_INFO: parse_dialog_info, IMDN: parse_imdn,
    ISCOMPOSING: parse_iscomposing, MESSAGE_SUMMARY: parse_message_summary, PIDF: parse_pidf, REGINFO: parse_reginfo,
    SIPFRAG: parse_sipfrag,
}

#: the content type that an event package has when nobody says anything (RFC 6665 4.1.2.1)
PACKAGES = {'conference': CONFERENCE_INFO, 'dialog': DIALOG_INFO, 'message-summary': MESSAGE_SUMMARY, 'presence': PIDF,
            'refer': SIPFRAG, 'reg': REGINFO}


def parse_document(content_type: MediaType | str | None, body: bytes) -> Any:
    """What ``body`` says: a Presence, a DialogInfo ... by its content type, whatever parameters that has.

    None for a type that is not in ``DOCUMENTS``, for one that cannot be read, and for no body.  ParseError if the body
    is not what its type says.
    """
    if content_type is None or not body:
        return None
    try:
        kind = parse_media_type(content_type) if isinstance(content_type, str) else content_type
    except ParseError:
        return None
    parse = DOCUMENTS.get(kind.essence)
    return None if parse is None else parse(body)
