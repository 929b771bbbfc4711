"""A pjsua2 phone calls us, and is called, over TCP and TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers
from benchmarks.certificates import Authority, Certificate

from greensip import UserAgent

from .conftest import aside
from .test_phones import Phone


@pytest.fixture(params=['tcp', 'tls'])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def phone(transport: str, certificate: Certificate, needs: Callable[..., None], running: list[peers.Peer],
          folder: Path, free_port: Callable[..., int]) -> Phone:
    """A phone that is ready, rings and answers; over TLS it checks our certificate."""
    needs('module:pjsua2')
    bob = Phone('bob', 1000.0, folder, free_port, '--transport', transport, '--cert', str(certificate.cert),
                '--key', str(certificate.key), '--ca', str(certificate.ca))
    running.append(bob.peer)
    bob.wait_for('"ready"')
    return bob


def test_it_calls_us(transport: str, phone: Phone, place: Callable[..., str]) -> None:
    with UserAgent(place(transport)) as ua:
        port = ua.points[0].address[1]
        for _ in range(2):
            phone.peer.say(f'call sip:x@127.0.0.1:{port};transport={transport}')
            leg = ua.accept(timeout=10)
            assert leg.invite is not None
            assert leg.invite.via.transport == transport.upper()
            leg.ring()
            leg.answer()
            leg.wait_for('ACK', timeout=10)
            aside(phone.wait_for_state, 'CONFIRMED')
            assert f';transport={transport}' in str(leg.response.get('Contact'))
            phone.peer.say('hangup')
            leg.wait_ended(timeout=10)
        assert peers.connections(port) == 1
        aside(phone.quit)


def test_it_calls_us_and_we_hang_up(transport: str, phone: Phone, place: Callable[..., str]) -> None:
    with UserAgent(place(transport)) as ua:
        phone.peer.say(f'call sip:x@127.0.0.1:{ua.points[0].address[1]};transport={transport}')
        leg = ua.accept(timeout=10)
        leg.answer()
        leg.wait_for('ACK', timeout=10)
        leg.hangup()
        aside(phone.wait_for_state, 'DISCONNECTED')
        leg.wait_ended(timeout=10)
        aside(phone.quit)


def test_we_call_it(transport: str, phone: Phone, place: Callable[..., str]) -> None:
    with UserAgent(place(transport)) as ua:
        uri = f'sip:bob@127.0.0.1:{phone.port};transport={transport}'
        for _ in range(2):
            with ua.call(uri, timeout=10) as leg:
                assert [response.code for response in leg.responses if response.code > 100] == [180, 200]
                aside(phone.wait_for_state, 'CONFIRMED')
                leg.hangup()
                leg.wait_ended(timeout=10)
        assert peers.connections(phone.port) == 1
        request = str(phone.events('incoming')[0]['request'])
        port = ua.points[0].address[1]
        assert f'Via: SIP/2.0/{transport.upper()} 127.0.0.1:{port};' in request
        assert f'@127.0.0.1:{port};transport={transport}>' in request.partition('Contact: ')[2].partition('\r\n')[0]
        aside(phone.quit)


def test_we_call_it_and_it_hangs_up(transport: str, phone: Phone, place: Callable[..., str]) -> None:
    with UserAgent(place(transport)) as ua, \
            ua.call(f'sip:bob@127.0.0.1:{phone.port};transport={transport}', timeout=10) as leg:
        aside(phone.wait_for_state, 'CONFIRMED')
        phone.peer.say('hangup')
        leg.wait_ended(timeout=10)
        aside(phone.quit)


@pytest.mark.parametrize('transport', ['tls'], indirect=True)
def test_a_certificate_that_nobody_vouches_for_is_refused(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / 'stranger').mkdir()
    stranger = Authority(tmp_path / 'stranger').issue()
    with UserAgent(f'tls:127.0.0.1:0?cert={stranger.cert}&key={stranger.key}&ca={stranger.ca}') as ua:
        phone.peer.say(f'call sip:x@127.0.0.1:{ua.points[0].address[1]};transport=tls')
        aside(phone.wait_for_state, 'DISCONNECTED')
        assert not ua.legs
        aside(phone.quit)
