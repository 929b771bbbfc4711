"""What bodies of event packages and messages say: octets to values and back.

    parse_document(content_type, body)          # whatever it is
    Presence('sip:alice@example.com', 'busy').to_bytes()
"""

from __future__ import annotations

from .coding import CODINGS, content_of, unpack
from .conference_info import (
    CONFERENCE_INFO,
    ConferenceEndpoint,
    ConferenceInfo,
    ConferenceMedia,
    ConferenceUser,
    parse_conference_info,
)
from .cpim import CPIM, CpimMessage, parse_cpim
from .dialog_info import (
    DIALOG_INFO,
    DialogInfo,
    DialogParty,
    DialogState,
    Identity,
    ReplacedDialog,
    parse_dialog_info,
)
from .documents import DOCUMENTS, PACKAGES, Document, parse_document
from .imdn import IMDN, Imdn, ask, parse_imdn, report
from .iscomposing import ISCOMPOSING, IsComposing, parse_iscomposing
from .message_summary import MESSAGE_SUMMARY, MessageCount, MessageSummary, parse_message_summary
from .partial import Merged
from .pidf import ACTIVITIES, PIDF, Note, Person, Presence, Status, Tuple, parse_pidf
from .reginfo import REGINFO, RegContact, RegInfo, Registration, parse_reginfo
from .sipfrag import SIPFRAG, SipFrag, make_sipfrag, parse_sipfrag
from .xml import XML_LIMITS, XmlLimits

__all__ = [
    'ACTIVITIES', 'CODINGS', 'CONFERENCE_INFO', 'CPIM', 'DIALOG_INFO', 'DOCUMENTS', 'IMDN', 'ISCOMPOSING',
    'MESSAGE_SUMMARY', 'PACKAGES', 'PIDF', 'REGINFO', 'SIPFRAG', 'XML_LIMITS', 'ConferenceEndpoint', 'ConferenceInfo',
    'ConferenceMedia', 'ConferenceUser', 'CpimMessage', 'DialogInfo', 'DialogParty', 'DialogState', 'Document',
    'Identity', 'Imdn', 'IsComposing', 'Merged', 'MessageCount', 'MessageSummary', 'Note', 'Person', 'Presence',
    'RegContact', 'RegInfo', 'Registration', 'ReplacedDialog', 'SipFrag', 'Status', 'Tuple', 'XmlLimits', 'ask',
    'content_of', 'make_sipfrag', 'parse_conference_info', 'parse_cpim', 'parse_dialog_info', 'parse_document',
    'parse_imdn', 'parse_iscomposing', 'parse_message_summary', 'parse_pidf', 'parse_reginfo', 'parse_sipfrag',
    'report', 'unpack',
]
