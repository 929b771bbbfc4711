"""The methods: RFC 3261 and the RFCs that add one each.

``dialog`` methods create dialogs (RFC 3261 12, RFC 6665 4.4.1, RFC 3515), ``target_refresh`` methods carry a
Contact that replaces the remote target (RFC 3261 12.2, RFC 3311 5.1, RFC 6665 4.4.1, RFC 5057).
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    'ACK', 'BYE', 'CANCEL', 'DIALOG_METHODS', 'INFO', 'INVITE', 'MESSAGE', 'METHODS', 'NOTIFY', 'OPTIONS', 'PRACK',
    'PUBLISH', 'REFER', 'REGISTER', 'SUBSCRIBE', 'TARGET_REFRESH_METHODS', 'UPDATE', 'Method',
]


class Method(NamedTuple):
    """One row of the table."""

    name: str
    rfc: int
    dialog: bool = False
    target_refresh: bool = False
    section: str = ''


ACK: Final = 'ACK'
BYE: Final = 'BYE'
CANCEL: Final = 'CANCEL'
INFO: Final = 'INFO'
INVITE: Final = 'INVITE'
MESSAGE: Final = 'MESSAGE'
NOTIFY: Final = 'NOTIFY'
OPTIONS: Final = 'OPTIONS'
PRACK: Final = 'PRACK'
PUBLISH: Final = 'PUBLISH'
REFER: Final = 'REFER'
REGISTER: Final = 'REGISTER'
SUBSCRIBE: Final = 'SUBSCRIBE'
UPDATE: Final = 'UPDATE'

METHODS: Final[dict[str, Method]] = {method.name: method for method in (
    Method(ACK, 3261, section='17.1.1.3, 13.2.2.4'),
    Method(BYE, 3261, section='15'),
    Method(CANCEL, 3261, section='9'),
    Method(INFO, 6086),
    Method(INVITE, 3261, dialog=True, target_refresh=True, section='13, 14'),
    Method(MESSAGE, 3428),
    Method(NOTIFY, 6665, dialog=True, target_refresh=True, section='4.1.3, 4.2.2'),
    Method(OPTIONS, 3261, section='11'),
    Method(PRACK, 3262),
    Method(PUBLISH, 3903),
    Method(REFER, 3515, dialog=True, target_refresh=True),
    Method(REGISTER, 3261, section='10'),
    Method(SUBSCRIBE, 6665, dialog=True, target_refresh=True, section='4.1.2, 4.2.1'),
    Method(UPDATE, 3311, target_refresh=True),
)}

DIALOG_METHODS: Final = frozenset(method.name for method in METHODS.values() if method.dialog)
TARGET_REFRESH_METHODS: Final = frozenset(method.name for method in METHODS.values() if method.target_refresh)
