"""What becomes of a request that has come in: RFC 3261 8.2, its steps in their order, and 12.2.2 inside dialogs.

The functions take the core.  What passes is given to whom it belongs: to the usage of its dialog, or as an event to the
program; the rest is answered here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from greensip.message import METHODS, MediaType, Request, SipUri, parse_message
from greensip.message.grammar import is_token
from greensip.message.multipart import walk
from greensip.transaction.layer import InviteServerTransaction, ServerTransaction

from .event import INCOMING, REQUEST, Event
from .invite import InviteUsage
from .invite_server import ServerInvite
from .replaces import find_match
from .session_timer import REFRESH_METHODS, is_long_enough
from .subscription import EVENT_METHODS

if TYPE_CHECKING:
    from .core import Core

__all__ = ['process']

#: methods whose body describes a session, so that its type matters (8.2.3)
SESSION_METHODS: Final = frozenset({'INVITE', 'UPDATE', 'PRACK'})


def process(core: Core, transaction: ServerTransaction, request: Request, now: float) -> None:
    """8.2, the steps in their order; 12.2.2 inside dialogs."""
    method = request.method
    if method == 'CANCEL':
        cancel(core, transaction, request, now)
        return
    # 8.2.1 method inspection: 501 for what nobody knows, 405 for what we do not do
    if method not in core.methods:
        core.refuse(transaction, 405 if method in METHODS else 501, now, ('Allow', ', '.join(core.allow)))
        return
    # 12.2.2: a To tag means a dialog
    if request.to_tag:
        process_in_dialog(core, transaction, request, now)
        return
    # 8.2.2.1 To and Request-URI
    if not isinstance(request.uri, SipUri):
        core.refuse(transaction, 416, now)
        return
    # 8.2.2.2 merged requests: only the first copy has the key by which they are found
    if transaction.merge_key is None:
        core.refuse(transaction, 482, now)
        return
    # 15.1.2: a BYE without a dialog
    if method == 'BYE':
        core.refuse(transaction, 481, now)
        return
    if not understands(core, transaction, request, now):
        return
    # 8.2.5 processing the request
    if method == 'INVITE':
        match = find_match(core, request, now) if core.ended is not None else None
        if isinstance(match, int):
            core.refuse(transaction, match, now)
        else:
            usage = ServerInvite(core, transaction, request, match)
            if request.has('Expires'):
                usage.expiry = core.timers.add(float(request.value('Expires')), now, usage, 'expired')
            core.events.append(Event(INCOMING, usage, request, now))
    elif core.ended is not None and (request.has('Replaces') or request.has('Join')):
        # RFC 3891 3, RFC 3911 4: only an INVITE can do that
        core.refuse(transaction, 400, now)
    elif method == 'OPTIONS' and core.options_code is not None:
        answer_options(core, transaction, now)
    else:
        core.events.append(Event(REQUEST, None, request, now, 0, transaction))


def process_in_dialog(core: Core, transaction: ServerTransaction, request: Request, now: float) -> None:
    """12.2.2: to the usage of its dialog, 481 where there is none."""
    dialog = core.dialog_of(request)
    if dialog is None:
        # RFC 6665 4.4.1: a NOTIFY makes the dialog of the subscription that was asked for.
        if request.method == 'NOTIFY' and core.subscriptions.awaited:
            if not understands(core, transaction, request, now):
                return
            if core.subscriptions.on_first_notify(transaction, request, now):
                return
        late = request.method == 'PRACK' and bool(core.late_pracks) and take_late_prack(core, request)
        core.refuse(transaction, 200 if late else 481, now)
        return
    if not dialog.in_order(request):
        core.refuse(transaction, 500, now)
        return
    if dialog.home is not transaction.flow:
        dialog.move(transaction.flow)
    if not understands(core, transaction, request, now):
        return
    if request.method == 'OPTIONS' and core.options_code is not None:
        answer_options(core, transaction, now)
    elif request.method not in EVENT_METHODS or not core.subscriptions.on_request(
        dialog, transaction, request, now
    ):
        dialog.usage.on_request(transaction, request, now)


def take_late_prack(core: Core, request: Request) -> bool:
    """RFC 3262 3: "it MUST be prepared to process PRACK requests for those outstanding responses"."""
    late = core.late_pracks.get((request.call_id, request.to_tag or '', request.from_tag or ''))
    if late is None or str(request.value('RAck')) != late.rack:
        return False
    del core.late_pracks[late.id]
    return True


def cancel(core: Core, transaction: ServerTransaction, request: Request, now: float) -> None:
    """9.2: 200 to the CANCEL first; the INVITE's 487 follows it."""
    invite = core.layer.invite_server_of(request)
    if invite is None:
        core.refuse(transaction, 481, now)
        return
    usage = invite.user
    tag = usage.local_tag() if isinstance(usage, InviteUsage) else tag_of(invite)
    response = core.make_response(request, 200, to_tag=None if request.to_tag else tag or core.new_tag())
    core.layer.respond(transaction, response, now)
    if isinstance(usage, InviteUsage):
        usage.on_cancel(invite, request, now)


def tag_of(invite: InviteServerTransaction) -> str | None:
    """9.2: the To tag of the response that the INVITE has had; None also for one of the peer's that is no token."""
    tag = parse_message(invite.last_response).to_tag if invite.last_response else None
    return tag if tag and is_token(tag) else None


def understands(core: Core, transaction: ServerTransaction, request: Request, now: float) -> bool:
    """8.2.2.3 and 8.2.3: refuse what requires more than we know."""
    if request.has('Require'):
        unknown = [tag for tag in request.require if not core.supports(tag.lower())]
        if unknown:
            core.refuse(transaction, 420, now, ('Unsupported', ', '.join(unknown)))
            return False
    # RFC 4028 9
    if core.keeps_time and request.method in REFRESH_METHODS and not is_long_enough(request, core.min_se):
        core.refuse(transaction, 422, now, ('Min-SE', str(core.min_se)))
        return False
    if request.method in SESSION_METHODS:
        if request.body and not reads(core, request):
            fields = [('Accept', ', '.join(core.accept))]
            if request.has('Content-Encoding'):
                fields.append(('Accept-Encoding', 'identity'))
            core.refuse(transaction, 415, now, *fields)
            return False
        # 20.1: an INVITE whose Accept leaves no room for our answer
        if request.has('Accept') and not is_acceptable(request):
            core.refuse(
                transaction, 406, now, ('Warning', '399 greensip "only session descriptions are spoken here"')
            )
            return False
    return True


def reads(core: Core, request: Request) -> bool:
    """8.2.3: whether the body is of a type, encoding and language that we know, or may be ignored."""
    encoding = request.get('Content-Encoding')
    if encoding is None and request.get('Content-Type') in core.accept:
        return True
    kind = request.content_type
    known = kind is not None and (kind.essence in core.accept or kind.type == 'multipart')
    if kind is not None and kind.type == 'multipart':
        # A broken one is a bad request, not an INVITE without an offer.
        for _ in walk(kind, request.body):
            pass
    if known and (encoding is None or encoding.strip().lower() == 'identity'):
        return True
    disposition = request.get('Content-Disposition') or ''
    return 'handling=optional' in disposition.replace(' ', '').lower()


def is_acceptable(request: Request) -> bool:
    """20.1: whether the Accept of an INVITE leaves room for a session description."""
    ranges = request.values('Accept')
    if not ranges:
        return True
    return any(
        isinstance(kind, MediaType)
        and (kind.type == '*' or (kind.type == 'application' and kind.subtype in ('*', 'sdp')))
        for kind in ranges
    )


def answer_options(core: Core, transaction: ServerTransaction, now: float) -> None:
    """11.2: what the INVITE would be answered with, and what we can do."""
    request = transaction.request
    response = core.make_response(request, core.options_code or 200, to_tag=core.stateless_tag(request))
    core.add_capabilities(response)
    response.add('Accept', ', '.join(core.accept))
    for name, text in core.server_fields:
        response.add(name, text)
    core.layer.dismiss(transaction, response, now)
