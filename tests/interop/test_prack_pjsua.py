"""PJSIP and we call each other with reliable provisional responses, required and not; UPDATE, hold and resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import Leg, ResponseError, UserAgent
from greensip.testing import Ladder

from .conftest import aside
from .test_phones import Phone

#: PJSIP's prackUse: required of the other side, or used where it supports them
REQUIRED, OPTIONAL = '1', '2'


@pytest.fixture
def pjsua(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
          free_port: Callable[..., int]) -> Callable[..., Phone]:
    """``pjsua('--prack', '2')`` starts a phone, and waits until it is ready."""
    needs('module:pjsua2')

    def start(*options: str) -> Phone:
        phone = Phone('bob', 1000.0, folder, free_port, *options)
        running.append(phone.peer)
        phone.wait_for('"ready"')
        return phone

    return start


@pytest.fixture
def ua() -> Iterator[UserAgent]:
    with UserAgent('udp:127.0.0.1:0') as made:
        yield made


def titles(ladder: Ladder, source: str) -> list[str]:
    """What one side sent, without repetitions."""
    sent = dict.fromkeys((arrow.title, arrow.data) for arrow in ladder.arrows if arrow.source == source)
    return [title for title, _ in sent if title != '100 INVITE']


def watch(ua: UserAgent, phone: Phone) -> Ladder:
    ladder = Ladder()
    ladder.add(ua.endpoint, 'us')
    ladder.name(('127.0.0.1', phone.port), 'pjsua')
    return ladder


def update(leg: Leg, phone: Phone) -> None:
    """It sends an UPDATE, and has our answer: PJSIP loses its way when the next offer comes before that."""
    seen = len(phone.events('media'))
    phone.peer.say('update')
    assert leg.wait_for('UPDATE', timeout=10).message.body
    assert aside(peers.wait_until, lambda: len(phone.events('media')) > seen, 10)


def test_it_requires_them_of_us(ua: UserAgent, pjsua: Callable[..., Phone]) -> None:
    phone = pjsua('--prack', REQUIRED, '--answer', '')
    ladder = watch(ua, phone)
    phone.peer.say(f'call sip:us@127.0.0.1:{ua.points[0].address[1]}')
    with ua.accept(timeout=10) as leg:
        assert leg.invite.get('Require') == '100rel'
        leg.ring()
        leg.progress()
        leg.wait_for('PRACK', timeout=10)
        leg.wait_for('PRACK', timeout=10)
        leg.answer()
        leg.wait_for('ACK', timeout=10)
        aside(phone.wait_for_state, 'CONFIRMED')
        leg.hangup()
        leg.wait_ended(timeout=10)
    assert titles(ladder, 'us') == ['180 INVITE', '200 PRACK', '183 INVITE', '200 PRACK', '200 INVITE', 'BYE']
    assert titles(ladder, 'pjsua') == ['INVITE', 'PRACK', 'PRACK', 'ACK', '200 BYE']
    aside(phone.quit)


def test_early_media_of_ours_and_its_update_hold_and_resume(ua: UserAgent, pjsua: Callable[..., Phone]) -> None:
    phone = pjsua('--prack', OPTIONAL, '--answer', '')
    ladder = watch(ua, phone)
    phone.peer.say(f'call sip:us@127.0.0.1:{ua.points[0].address[1]}')
    with ua.accept(timeout=10) as leg:
        assert '100rel' in leg.headers['Supported']
        # One codec only: PJSIP would choose one by an UPDATE of its own.
        mine = leg.offer.replace(b'o=-', b'o=us').replace(b'RTP/AVP 8 0 ', b'RTP/AVP 8 ').replace(
            b'a=rtpmap:0 PCMU/8000\r\n', b'')
        leg.progress(sdp=mine)
        leg.answer()
        assert leg.state == 'early'
        leg.wait_for('ACK', timeout=10)
        # The answer was in the 183; the 200, which waited for the PRACK, has none.
        assert leg.response is not None and leg.response.body == b''
        aside(phone.wait_for_state, 'CONFIRMED')
        update(leg, phone)
        phone.peer.say('hold')
        leg.wait_for('hold', timeout=10)
        phone.peer.say('resume')
        leg.wait_for('resume', timeout=10)
        phone.peer.say('hangup')
        leg.wait_ended(timeout=10)
    assert titles(ladder, 'us')[:3] == ['183 INVITE', '200 PRACK', '200 INVITE']
    assert '200 UPDATE' in titles(ladder, 'us')
    aside(phone.quit)


def test_we_call_one_that_requires_them(ua: UserAgent, pjsua: Callable[..., Phone]) -> None:
    phone = pjsua('--prack', REQUIRED, '--answer', '180,183,200')
    ladder = watch(ua, phone)
    with ua.invite(f'sip:bob@127.0.0.1:{phone.port}') as leg:
        leg.wait_for('200', timeout=15)
        aside(phone.wait_for_state, 'CONFIRMED')
        reliable = [response for response in leg.responses if response.has('RSeq')]
        assert reliable and all(response.get('Require') == '100rel' for response in reliable)
        # The session changes by UPDATE and by re-INVITE, ours and its own.
        assert leg.update(leg.local_sdp).body
        leg.hold(method='UPDATE', timeout=10)
        leg.resume(method='UPDATE', timeout=10)
        leg.hold(timeout=10)
        leg.resume(timeout=10)
        update(leg, phone)
        phone.peer.say('hold')
        leg.wait_for('hold', timeout=10)
        leg.hangup()
        leg.wait_ended(timeout=10)
    assert titles(ladder, 'us').count('PRACK') == len(reliable)
    assert '200 PRACK' in titles(ladder, 'pjsua') and '481 PRACK' not in titles(ladder, 'pjsua')
    aside(phone.quit)


def test_late_offer_to_one_that_requires_them(ua: UserAgent, pjsua: Callable[..., Phone]) -> None:
    """Its first reliable response has the offer, our PRACK the answer."""
    phone = pjsua('--prack', REQUIRED, '--answer', '183,200')
    ladder = watch(ua, phone)
    with ua.invite(f'sip:bob@127.0.0.1:{phone.port}', sdp=b'') as leg:
        leg.wait_for('200', timeout=15)
        aside(phone.wait_for_state, 'CONFIRMED')
        assert leg.remote_sdp and leg.local_sdp
        leg.hangup()
        leg.wait_ended(timeout=10)
    pracks = [arrow for arrow in ladder.arrows if arrow.title == 'PRACK']
    assert pracks and b'm=audio' in pracks[0].data
    aside(phone.quit)


def test_we_require_them(ua: UserAgent, pjsua: Callable[..., Phone]) -> None:
    phone = pjsua('--prack', '0', '--answer', '180,200')
    with ua.call(f'sip:bob@127.0.0.1:{phone.port}', prack='required', timeout=15) as leg:
        aside(phone.wait_for_state, 'CONFIRMED')
        assert any(response.has('RSeq') for response in leg.responses)
    aside(phone.quit)


def test_one_that_requires_what_we_do_not_do(pjsua: Callable[..., Phone]) -> None:
    phone = pjsua('--prack', REQUIRED, '--answer', '180,200')
    with UserAgent('udp:127.0.0.1:0', prack='off') as ua:
        with pytest.raises(ResponseError) as caught:
            ua.call(f'sip:bob@127.0.0.1:{phone.port}', timeout=15)
        assert caught.value.code == 421
        phone.peer.say(f'call sip:us@127.0.0.1:{ua.points[0].address[1]}')
        aside(phone.wait_for, '"code": 420')
    aside(phone.quit)
