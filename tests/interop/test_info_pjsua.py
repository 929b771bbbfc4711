"""INFO with a pjsua2 phone, both ways: the digits of older phones, in a call whoever has made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import Leg, ResponseError, UserAgent

from .conftest import aside
from .test_phones import Phone

RELAY = 'application/dtmf-relay'


@pytest.fixture
def phone(needs: Callable[..., None], running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> Phone:
    needs('module:pjsua2')
    bob = Phone('bob', 1000.0, folder, free_port)
    running.append(bob.peer)
    bob.wait_for('"ready"')
    return bob


@pytest.mark.parametrize('we_call', [True, False])
def test_digits_both_ways(phone: Phone, we_call: bool) -> None:
    with UserAgent('udp:127.0.0.1:0') as ua:
        if we_call:
            leg: Leg = ua.call(f'sip:bob@127.0.0.1:{phone.port}', timeout=10)
        else:
            phone.peer.say(f'call {ua.uri}')
            leg = ua.accept(timeout=10)
            leg.answer()
            leg.wait_for('ACK', timeout=10)
        aside(phone.wait_for_state, 'CONFIRMED')
        phone.peer.say('info 5#')
        for digit in '5#':
            message = leg.wait_for('INFO', timeout=10).message
            assert message.get('Content-Type') == RELAY
            assert message.body.decode().split()[0] == f'Signal={digit}'
        response = leg.request('INFO', body='Signal=7\r\nDuration=160\r\n', content_type=RELAY, timeout=10)
        assert response.code == 200
        assert aside(peers.wait_until, lambda: phone.events('digit'), 10)
        assert phone.events('digit') == [{'event': 'digit', 'digit': '7', 'by_info': True}]
        # What it does not understand it refuses, and the call goes on.
        with pytest.raises(ResponseError):
            leg.request('INFO', body='?', content_type='application/unknown', timeout=10)
        assert leg.state == 'confirmed'
        leg.hangup()
        leg.wait_ended(timeout=10)
    aside(phone.quit)
