"""Documents of event packages in a line, for ``greensip watch``."""

from __future__ import annotations

from typing import Any

from greensip.body import (
    ConferenceInfo,
    DialogInfo,
    Merged,
    MessageSummary,
    Presence,
    RegInfo,
)

__all__ = ['brought_up_to_date', 'summary']


def brought_up_to_date(known: Any, document: Any) -> tuple[Any, bool]:
    """What is known after ``document``, which may tell changes only; False if one before it was missed."""
    if document is None:
        return known, True
    if type(known) is type(document) and isinstance(known, (ConferenceInfo, DialogInfo, RegInfo)):
        merged = known.apply(document)
        return known, merged != Merged.INCOMPLETE
    return document, True


def summary(document: Any) -> str:
    """What a document says, in a line; ``nothing`` for none."""
    if document is None:
        return 'nothing'
    if isinstance(document, Presence):
        status = document.status
        further = [activity for activity in status.activities if activity != str(status)]
        text = str(status) + (f', {" and ".join(further)}' if further else '')
        return f'{text}: {status.note}' if status.note else text
    if isinstance(document, MessageSummary):
        counts = [f'{name} {count.new} new, {count.old} old' for name, count in document.counts.items()]
        return '; '.join(['messages are waiting' if document.waiting else 'no messages', *counts])
    if isinstance(document, DialogInfo):
        calls = [f'{dialog.state}{f" ({dialog.direction})" if dialog.direction else ""}'
                 f'{f" with {dialog.remote.uri}" if dialog.remote.uri else ""}' for dialog in document.dialogs.values()]
        return '; '.join(calls) or 'no calls'
    if isinstance(document, RegInfo):
        return '; '.join(f'{one.aor} {one.state}{f" at {chr(44).join(one.uris)}" if one.uris else ""}'
                         for one in document.registrations.values()) or 'no registrations'
    if isinstance(document, ConferenceInfo):
        users = [f'{user.display_text or user.entity}{"" if user.connected else " (not connected)"}'
                 for user in document.users.values()]
        return '; '.join(users) or 'nobody is there'
    return ' '.join(str(document).split())
