"""Calls between two cores, and calls with a peer that the test plays."""

from __future__ import annotations

from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.invite_server import ServerInvite
from greensip.message import Request

from .conftest import ANSWER, OFFER, Party, World, name_of

SDP = 'application/sdp'
OTHER = OFFER.replace(b'4000', b'6000')
PEER = ('127.0.0.1', 5080)


def call(alice: Party, bob: Party | None = None, **options) -> ClientInvite:
    options.setdefault('body', OFFER)
    usage = alice.core.invite(bob.uri if bob else 'sip:bob@127.0.0.1:5080', alice.world.now, from_=alice.uri, **options)
    alice.world.flush()
    return usage


def established(world: World, alice: Party, bob: Party, **options) -> tuple[ClientInvite, ServerInvite]:
    usage = call(alice, bob, **options)
    world.run(0.1)
    assert usage.state == 'confirmed'
    peer = bob.last('incoming').subject
    assert peer.state == 'confirmed'
    world.ladder()
    return usage, peer


def ring(party: Party, usage: ServerInvite) -> None:
    usage.respond(180, party.world.now)


def progress(bob: Party, usage: ServerInvite, code: int = 183, **options) -> None:
    usage.respond(code, bob.world.now, **options)
    bob.world.flush()


def ringing(world: World, alice: Party, bob: Party, **options) -> tuple[ClientInvite, ServerInvite]:
    """Bob has the INVITE and has said nothing."""
    usage = call(alice, bob, **options)
    world.run(0.02)
    return usage, bob.last('incoming').subject


def reinvite_answerer(party: Party) -> None:
    def on_invite(event):
        party.core.respond(event.exchange, 200, party.world.now, body=ANSWER)

    party.on['INVITE'] = on_invite


def hung_up(world: World, *usages) -> bool:
    """Ends the calls; nothing may be left."""
    for usage in usages:
        usage.close(world.now)
    world.run(200)
    return world.idle()


def header(party: Party, name: str, method: str = 'INVITE', code: int = 0) -> str | None:
    """That header field of the last such message of the party."""
    for source, _, message in reversed(party.world.messages):
        if source == party.name and name_of(message) == (f'{code} {method}' if code else method):
            return message.get(name)
    raise AssertionError(f'{party.name} sent no {code or ""} {method}')


# What a peer played here says


def reply(request: Request, code: int, *, tag: str = 'peer', extra: str = '', body: bytes = b'') -> bytes:
    """A response of the peer's to a request of ours; ``extra`` are lines of header fields."""
    to = request.get('To') or ''
    lines = [f'SIP/2.0 {code} So', *(f'Via: {text}' for text in request.get_all('Via')), f'From: {request.get("From")}',
             f'To: {to}' if 'tag=' in to or not tag else f'To: {to};tag={tag}', f'Call-ID: {request.call_id}',
             f'CSeq: {request.get("CSeq")}']
    if code < 300 and 'Contact' not in extra:
        lines.append('Contact: <sip:bob@127.0.0.1:5080>')
    if extra:
        lines.append(extra)
    if body and 'Content-Type' not in extra:
        lines.append('Content-Type: application/sdp')
    return '\r\n'.join([*lines, f'Content-Length: {len(body)}']).encode() + b'\r\n\r\n' + body


def ask(usage, method: str, cseq: int, *, extra: str = '', body: bytes = b'', branch: str = '', tag: str = '',
        port: int = 5080) -> bytes:
    """A request of the peer's inside the dialog of ``usage``."""
    dialog = usage.dialogs[tag] if tag else usage.dialog
    lines = [f'{method} sip:us@127.0.0.1 SIP/2.0',
             f'Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch or f"{method}{cseq}"}',
             f'From: {dialog.remote}', f'To: {dialog.local}', f'Call-ID: {dialog.call_id}', f'CSeq: {cseq} {method}']
    if 'Contact' not in extra:
        lines.append('Contact: <sip:bob@127.0.0.1:5080>')
    if extra:
        lines.append(extra)
    if body and 'Content-Type' not in extra:
        lines.append('Content-Type: application/sdp')
    return '\r\n'.join([*lines, f'Content-Length: {len(body)}']).encode() + b'\r\n\r\n' + body


def rel(code: int, rseq: int, tag: str = 'peer', body: bytes = b'', contact: str = '') -> dict:
    extra = f'Require: 100rel\r\nRSeq: {rseq}' + (f'\r\nContact: {contact}' if contact else '')
    return {'code': code, 'tag': tag, 'extra': extra, 'body': body}


def forked_answer(world: World, tag: str, code: int = 200, contact: str = '<sip:bob@127.0.0.1:5080>') -> bytes:
    invite = next(m for _, _, m in world.messages if name_of(m) == 'INVITE')
    fields = [
        ('Via', invite.get('Via')),
        ('From', invite.get('From')),
        ('To', f'{invite.get("To")};tag={tag}' if tag else invite.get('To')),
        ('Call-ID', invite.call_id),
        ('CSeq', invite.get('CSeq')),
        ('Contact', contact),
    ]
    text = f'SIP/2.0 {code} OK\r\n' + ''.join(f'{n}: {t}\r\n' for n, t in fields)
    return text.encode() + b'Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n' % len(ANSWER) + ANSWER


def incoming(bob: Party, extra: str = 'Supported: 100rel', body: bytes = OFFER) -> tuple[bytes, ServerInvite]:
    head = [
        'INVITE sip:bob@127.0.0.1 SIP/2.0', 'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKi1', 'Max-Forwards: 70',
        'From: <sip:carol@127.0.0.1>;tag=c', 'To: <sip:bob@127.0.0.1>', 'Call-ID: i1', 'CSeq: 17 INVITE',
        'Contact: <sip:carol@127.0.0.1:5080>', extra]
    if body:
        head.append(f'Content-Type: {SDP}')
    data = '\r\n'.join([*head, f'Content-Length: {len(body)}']).encode() + b'\r\n\r\n' + body
    bob.world.inject(data, PEER, bob)
    return data, bob.last('incoming').subject


def sent_cancel() -> bytes:
    """The CANCEL of the INVITE that ``incoming`` brought."""
    head = ['CANCEL sip:bob@127.0.0.1 SIP/2.0', 'Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKi1',
            'From: <sip:carol@127.0.0.1>;tag=c', 'To: <sip:bob@127.0.0.1>', 'Call-ID: i1', 'CSeq: 17 CANCEL']
    return '\r\n'.join([*head, 'Content-Length: 0']).encode() + b'\r\n\r\n'


def joined(party: Party, **options) -> ClientInvite:
    """A call that the peer has answered."""
    usage = call(party, **options)
    says(party, reply(sent(party), 200, body=ANSWER))
    assert usage.state == 'confirmed'
    party.world.ladder()
    return usage


def says(party: Party, *messages: bytes) -> list[str]:
    """The peer's messages come in: what goes out at once."""
    before = len(party.world.messages)
    for data in messages:
        party.world.inject(data, PEER, party)
    return [name_of(message) for _, _, message in party.world.messages[before:]]


def sent(party: Party, method: str = 'INVITE') -> Request:
    """The last request of that method that went out."""
    return next(m for _, _, m in reversed(party.world.messages) if isinstance(m, Request) and m.method == method)


def kinds(party: Party) -> list[str]:
    return [f'{event.kind} {event.name}' if event.kind != event.name else event.kind for event in party.events]
