"""SIPp says what phones seldom say: PRACK 481, forked 1xx and 2xx, 199, a 200 that crosses our CANCEL, 491, 422."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import IncomingLeg, LocalHangup, UserAgent
from greensip.testing import Ladder

from .conftest import aside

SDP = ('v=0\no=user1 53655765 2353687637 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n'
       'm=audio {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000')

#: the URI to call, and the process
Played = tuple[str, peers.Sipp]

#: From, To, CSeq and Vias of the first INVITE
STORE = ''.join(f'<ereg regexp=".*" search_in="hdr" header="{name}:" assign_to="{number}"/>'
                for number, name in ((1, 'From'), (2, 'To'), (3, 'CSeq'), (4, 'Via')))


def scenario(folder: Path, *elements: str) -> Path:
    """The file that SIPp reads."""
    path = folder / 'scenario.xml'
    body = '\n'.join(elements)
    used = ','.join(number for number in '123459' if f'assign_to="{number}"' in body)
    path.write_text(f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="calls">\n{body}\n'
                         f'<timewait milliseconds="300"/>\n<Reference variables="{used}"/>\n</scenario>\n')
    return path


def recv(what: str, *, store: bool = False, optional: bool = False, check: str = '') -> str:
    """A message that must come, or may; ``check`` is a header field and an expression, joined by a colon."""
    kind = 'response' if what.isdigit() else 'request'
    actions = STORE if store else ''
    if check:
        name, _, expression = check.partition(': ')
        actions += (f'<ereg regexp="{expression}" search_in="hdr" header="{name}:" check_it="true" '
                         'assign_to="9"/>')
    actions = f'<action>{actions}</action>' if actions else ''
    return f'<recv {kind}="{what}" {"optional=" + chr(34) + "true" + chr(34) if optional else ""}>{actions}</recv>'


def send(*lines: str, body: str = '') -> str:
    """A message, written out."""
    head = [*lines, *(['Content-Type: application/sdp'] if body else []), 'Content-Length: [len]', '', body]
    text = '\n'.join(head)
    return f'<send><![CDATA[\n\n{text}\n\n]]></send>'


def to_invite(code: int, tag: str, *extra: str, port: int = 0) -> str:
    """A response to the first INVITE, from the phone with that tag."""
    return send(f'SIP/2.0 {code} Answer', 'Via:[$4]', 'From:[$1]', f'To:[$2];tag={tag}', 'Call-ID: [call_id]',
                'CSeq:[$3]', f'Contact: <sip:{tag}@[local_ip]:[local_port]>', *extra,
                body=SDP.format(port=port) if port else '')


def to_last(code: int, *extra: str, port: int = 0) -> str:
    """A response to the request that came last, inside a dialog."""
    return send(f'SIP/2.0 {code} Answer', '[last_Via:]', '[last_From:]', '[last_To:]', '[last_Call-ID:]',
                '[last_CSeq:]', 'Contact: <sip:peer@[local_ip]:[local_port]>', *extra,
                body=SDP.format(port=port) if port else '')


def to_refused(code: int, *extra: str) -> str:
    """A refusal of an INVITE outside of dialogs."""
    return send(f'SIP/2.0 {code} Answer', '[last_Via:]', '[last_From:]', '[last_To:];tag=r', '[last_Call-ID:]',
                '[last_CSeq:]', *extra)


def reliable(rseq: int) -> tuple[str, str]:
    return 'Require: 100rel', f'RSeq: {rseq}'


@pytest.fixture
def ua() -> Iterator[UserAgent]:
    with UserAgent('udp:127.0.0.1:0') as made:
        yield made


@pytest.fixture
def callee(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
           free_port: Callable[..., int]) -> Callable[..., Played]:
    """``callee(element, ...)`` has SIPp play one call; gives the URI to call and the process."""
    needs('sipp')

    def start(*elements: str) -> Played:
        port = free_port()
        peer = peers.answerers(port, folder, scenario=scenario(folder, *elements), options=('-m', 1))
        running.append(peer)
        return f'sip:a@127.0.0.1:{port}', peer

    return start


def finished(peer: peers.Sipp) -> None:
    """SIPp saw all that it waited for."""
    aside(peer.wait, 20)
    counts = peer.counts()
    assert (counts['completed'], counts['failed']) == (1, 0)


def watch(ua: UserAgent) -> Ladder:
    ladder = Ladder()
    ladder.add(ua.endpoint, 'us')
    return ladder


def test_a_prack_that_gets_481_leaves_the_call(ua: UserAgent, callee: Callable[..., Played]) -> None:
    uri, peer = callee(recv('INVITE', store=True), to_invite(183, 'a', *reliable(77), port=7000),
                       recv('PRACK', check='RAck: 77 1 INVITE'), to_last(481), to_invite(200, 'a'), recv('ACK'),
                       recv('BYE'), to_last(200))
    with ua.call(uri, timeout=10) as leg:
        assert b'audio 7000' in leg.answer
    finished(peer)


def test_our_481_for_a_prack_that_matches_nothing(ua: UserAgent, needs: Callable[..., None],
                                                       running: list[peers.Peer], folder: Path,
                                                       free_port: Callable[..., int]) -> None:
    needs('sipp')

    def serve(leg: IncomingLeg) -> None:
        leg.progress(sdp=leg.offer)
        leg.answer()
        leg.wait_ended(timeout=20)

    ua.serve(serve, background=True)
    head = ['From: <sip:caller@[local_ip]:[local_port]>;tag=c[call_number]', 'Call-ID: [call_id]', 'Max-Forwards: 70',
            'Contact: <sip:caller@[local_ip]:[local_port]>']
    via = 'Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]'
    to = 'To: <sip:us@[remote_ip]:[remote_port]>'
    uri = 'sip:us@[remote_ip]:[remote_port]'

    def prack(cseq: int, rack: str) -> str:
        return send(f'PRACK {uri} SIP/2.0', via, f'{to}[peer_tag_param]', f'CSeq: {cseq} PRACK', f'RAck: {rack}', *head)

    path = scenario(
        folder,
        send(f'INVITE {uri} SIP/2.0', via, to, 'CSeq: 1 INVITE', 'Supported: 100rel', *head,
             body=SDP.format(port=7000)),
        recv('100', optional=True),
        '<recv response="183"><action><ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" assign_to="5"/></action>'
        '</recv>',
        prack(2, '1 1 INVITE'), recv('481'), prack(3, '[$5] 7 INVITE'), recv('481'), prack(4, '[$5] 1 INVITE'),
        recv('200', check='CSeq: 4 PRACK'), recv('200', check='CSeq: 1 INVITE'),
        send(f'ACK {uri} SIP/2.0', via, f'{to}[peer_tag_param]', 'CSeq: 1 ACK', *head),
        prack(5, '[$5] 1 INVITE'), recv('481'),
        send(f'BYE {uri} SIP/2.0', via, f'{to}[peer_tag_param]', 'CSeq: 6 BYE', *head), recv('200'))
    peer = peers.callers(ua.points[0].address[1], free_port(), folder, calls=1, rate=1.0, scenario=path)
    running.append(peer)
    finished(peer)


def test_forked_1xx_and_2xx(ua: UserAgent, callee: Callable[..., Played]) -> None:
    """Two phones ring with early media, both answer: one is the call, the other is hung up."""
    uri, peer = callee(recv('INVITE', store=True),
                       to_invite(183, 'a', *reliable(5), port=7000), recv('PRACK', check='To: tag=a'), to_last(200),
                       to_invite(183, 'b', *reliable(900), port=7002), recv('PRACK', check='RAck: 900 1 INVITE'),
                       to_last(200),
                       '<pause milliseconds="1000"/>',
                       to_invite(200, 'b'), recv('ACK', check='To: tag=b'),
                       to_invite(200, 'a'), recv('ACK', check='To: tag=a'), recv('BYE', check='To: tag=a'),
                       to_last(200),
                       # Repeated, it is acknowledged again, and that is all.
                       to_invite(200, 'a'), recv('ACK', check='To: tag=a'),
                       recv('BYE', check='To: tag=b'), to_last(200))
    with ua.invite(uri) as leg:
        leg.wait_for('183', timeout=10)
        leg.wait_for('183', timeout=10)
        early = leg.early
        assert [dialog.target.split('@')[0] for dialog in early.values()] == ['sip:a', 'sip:b']
        leg.wait_for('200', timeout=10)
        assert b'audio 7002' in leg.answer and list(leg.early) == ['b']
        leg.wait_for('forked', timeout=10)
        assert not leg.ended
        # SIPp repeats the 200 of the other phone now.
        aside(peers.wait_until, lambda: False, 0.5)
    finished(peer)


def test_199_and_the_other_phone_answers(ua: UserAgent, callee: Callable[..., Played]) -> None:
    uri, peer = callee(recv('INVITE', store=True, check='Supported: 199'), to_invite(180, 'a'), to_invite(180, 'b'),
                       to_invite(199, 'a', 'Reason: SIP;cause=486'), '<pause milliseconds="1000"/>',
                       to_invite(200, 'b', port=7002), recv('ACK'), recv('BYE', check='To: tag=b'), to_last(200))
    with ua.invite(uri) as leg:
        leg.wait_for('199', timeout=10)
        assert list(leg.early) == ['b']
        leg.wait_for('200', timeout=10)
    finished(peer)


def test_a_200_that_crosses_our_cancel(ua: UserAgent, callee: Callable[..., Played]) -> None:
    uri, peer = callee(recv('INVITE', store=True), to_invite(180, 'a'), recv('CANCEL'),
                       send('SIP/2.0 200 OK', '[last_Via:]', '[last_From:]', '[last_To:];tag=a', '[last_Call-ID:]',
                            '[last_CSeq:]'),
                       to_invite(200, 'a', port=7000),
                       recv('ACK'), recv('BYE'), to_last(200))
    with ua.invite(uri) as leg:
        leg.wait_for('180', timeout=10)
        leg.cancel()
        assert isinstance(leg.wait_ended(timeout=10).error, LocalHangup)
    finished(peer)


def test_491_to_a_reinvite_and_to_an_update(ua: UserAgent, callee: Callable[..., Played]) -> None:
    ladder = watch(ua)
    uri, peer = callee(recv('INVITE', store=True), to_invite(200, 'a', port=7000), recv('ACK'),
                       recv('INVITE'), to_last(491), recv('ACK'),
                       recv('INVITE', check='CSeq: 3 INVITE'), to_last(200, port=7002), recv('ACK'),
                       recv('UPDATE'), to_last(491), recv('UPDATE', check='CSeq: 5 UPDATE'), to_last(200, port=7004),
                       recv('BYE'), to_last(200))
    with ua.call(uri, timeout=10) as leg:
        leg.hold(timeout=10)
        assert b'audio 7002' in leg.remote_sdp and leg.state == 'held'
        leg.resume(method='UPDATE', timeout=10)
        assert b'audio 7004' in leg.remote_sdp and leg.state == 'confirmed'
    finished(peer)
    times = {title: [arrow.time for arrow in ladder.arrows if arrow.title == title] for title in ('INVITE', 'UPDATE')}
    # RFC 3261 14.1: we have made the Call-ID.
    assert 2.1 <= times['INVITE'][2] - times['INVITE'][1] <= 4.5
    assert 2.1 <= times['UPDATE'][1] - times['UPDATE'][0] <= 4.5


def test_422_to_our_invite_and_to_our_refresh(ua: UserAgent, callee: Callable[..., Played]) -> None:
    """RFC 4028 7.3, 7.4: the largest Min-SE counts, but what a proxy wanted of the first INVITE ends with it."""
    uri, peer = callee(recv('INVITE', check='Session-Expires: 100'), to_refused(422, 'Min-SE: 200'), recv('ACK'),
                       recv('INVITE', check='Session-Expires: 200'), to_refused(422, 'Min-SE: 300'), recv('ACK'),
                       recv('INVITE', store=True, check='Min-SE: 300'),
                       to_invite(200, 'a', 'Require: timer', 'Session-Expires: 300;refresher=uac', port=7000),
                       recv('ACK'),
                       recv('INVITE', check='Session-Expires: 300;refresher=uac'), to_last(422, 'Min-SE: 400'),
                       recv('ACK'), recv('INVITE', check='Session-Expires: 400;refresher=uac'),
                       to_last(200, 'Require: timer', 'Session-Expires: 400;refresher=uac', port=7000), recv('ACK'),
                       recv('BYE'), to_last(200))
    with ua.call(uri, session_timer=100, timeout=10) as leg:
        assert leg.invite.cseq.number == 3
        assert leg.session_timer is not None and leg.session_timer[:2] == (300, 'local')
        assert leg.reinvite(timeout=10).code == 200
        assert leg.session_timer[:2] == (400, 'local')
    finished(peer)


def test_our_422(ua: UserAgent, needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                 free_port: Callable[..., int]) -> None:
    """RFC 4028 9: less than 90 seconds is refused; who does not know session timers is not (8.1)."""
    needs('sipp')
    ua.serve(lambda leg: (leg.answer(), leg.wait_ended(timeout=20)), background=True)
    head = ['From: <sip:caller@[local_ip]:[local_port]>;tag=c[call_number]', 'Call-ID: [call_id]', 'Max-Forwards: 70',
            'Contact: <sip:caller@[local_ip]:[local_port]>']
    uri = 'sip:us@[remote_ip]:[remote_port]'
    plain = 'To: <sip:us@[remote_ip]:[remote_port]>'
    to = f'{plain}[peer_tag_param]'
    via = 'Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]'
    path = scenario(
        folder,
        send(f'INVITE {uri} SIP/2.0', via, plain, 'CSeq: 1 INVITE', 'Supported: timer', 'Session-Expires: 60', *head,
             body=SDP.format(port=7000)),
        recv('100', optional=True), recv('422', check='Min-SE: 90'),
        send(f'ACK {uri} SIP/2.0', via.replace('[branch]', '[branch-3]'), to, 'CSeq: 1 ACK', *head),
        send(f'INVITE {uri} SIP/2.0', via, plain, 'CSeq: 2 INVITE', 'Supported: timer',
             'Session-Expires: 90;refresher=uas', *head, body=SDP.format(port=7000)),
        recv('100', optional=True), recv('200', check='Session-Expires: 90;refresher=uas'),
        send(f'ACK {uri} SIP/2.0', via, to, 'CSeq: 2 ACK', *head),
        send(f'UPDATE {uri} SIP/2.0', via, to, 'CSeq: 3 UPDATE', 'Supported: timer',
             'Session-Expires: 30;refresher=uas', *head),
        recv('422', check='Min-SE: 90'),
        send(f'UPDATE {uri} SIP/2.0', via, to, 'CSeq: 4 UPDATE', 'Session-Expires: 30', *head), recv('200'),
        send(f'BYE {uri} SIP/2.0', via, to, 'CSeq: 5 BYE', *head), recv('200'))
    peer = peers.callers(ua.points[0].address[1], free_port(), folder, calls=1, rate=1.0, scenario=path)
    running.append(peer)
    finished(peer)


def test_update_before_the_answer_in_one_of_two_dialogs(ua: UserAgent, callee: Callable[..., Played]) -> None:
    uri, peer = callee(recv('INVITE', store=True),
                       to_invite(183, 'a', *reliable(5), port=7000), recv('PRACK'), to_last(200),
                       to_invite(183, 'b', *reliable(9), port=7002), recv('PRACK'), to_last(200),
                       recv('UPDATE', check='To: tag=a'), to_last(200, port=7010),
                       to_invite(200, 'a'), recv('ACK'), recv('BYE'), to_last(200))
    with ua.invite(uri) as leg:
        leg.wait_for('183', timeout=10)
        leg.wait_for('183', timeout=10)
        assert b'audio 7010' in leg.early['a'].update(leg.local_sdp, timeout=10).body
        leg.wait_for('200', timeout=10)
        assert b'audio 7010' in leg.answer
    finished(peer)


def test_late_offer_in_a_reliable_response(ua: UserAgent, callee: Callable[..., Played]) -> None:
    ladder = watch(ua)
    uri, peer = callee(recv('INVITE', store=True), to_invite(183, 'a', *reliable(5), port=7000),
                       recv('PRACK', check='Content-Type: application/sdp'), to_last(200), to_invite(200, 'a'),
                       recv('ACK'), recv('BYE'), to_last(200))
    with ua.call(uri, sdp=b'', timeout=10) as leg:
        assert b'audio 7000' in leg.remote_sdp and leg.local_sdp
    finished(peer)
    acks = [arrow for arrow in ladder.arrows if arrow.title == 'ACK']
    assert acks and all(b'm=audio' not in arrow.data for arrow in acks)
