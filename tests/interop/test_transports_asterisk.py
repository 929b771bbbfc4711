"""Asterisk over TCP: calls both ways, hung up by either side, a refusal, a cancelled call."""

from __future__ import annotations

import pytest
from benchmarks import lab, peers

from greensip import Busy, UserAgent


def uri(asterisk: lab.Asterisk, user: str) -> str:
    """An extension, over TCP."""
    return f'sip:{user}@127.0.0.1:{asterisk.port};transport=tcp'


def test_calls_over_one_connection(asterisk: lab.Asterisk) -> None:
    with UserAgent('tcp:127.0.0.1:0') as ua:
        # It answers and echoes; we hang up.
        with ua.call(uri(asterisk, '600'), timeout=10) as leg:
            assert leg.response is not None
            assert leg.response.via.transport == 'TCP'
            assert 'transport=' in str(leg.response.get('Contact')).lower()
            leg.hangup()
            leg.wait_ended(timeout=10)
        # It rings until we give up.
        with ua.invite(uri(asterisk, '607')) as leg:
            leg.wait_for('180', timeout=10)
            leg.cancel()
            leg.wait_ended(timeout=10)
            assert leg.response is not None
            assert leg.response.code == 487
        # It refuses.
        with ua.invite(uri(asterisk, '605')) as leg, pytest.raises(Busy):
            leg.wait_for('200', timeout=20)
        # It hangs up.
        with ua.call(uri(asterisk, '609'), timeout=10) as leg:
            leg.wait_ended(timeout=20)
        assert peers.connections(asterisk.port) == 1


def test_it_calls_us_where_we_registered(asterisk: lab.Asterisk) -> None:
    with UserAgent('tcp:127.0.0.1:0', name='alice') as ua:
        registered = ua.request('REGISTER', uri(asterisk, 'alice'), from_='sip:alice@127.0.0.1',
                                to='sip:alice@127.0.0.1', contact=None, credentials=('alice', 'secret'),
                                headers={'Expires': '120'}, timeout=10)
        assert ';transport=tcp' in str(registered.get('Contact')).lower()
        # Another user agent calls through Asterisk: the INVITE comes on the connection that the registration made.
        with UserAgent('tcp:127.0.0.1:0') as caller, caller.invite(uri(asterisk, 'alice')) as leg:
            incoming = ua.accept(timeout=10)
            assert incoming.invite is not None
            assert incoming.invite.via.transport == 'TCP'
            incoming.ring()
            leg.wait_for('180', timeout=10)
            incoming.answer()
            leg.wait_for('200', timeout=10)
            incoming.wait_for('ACK', timeout=10)
            incoming.hangup()
            leg.wait_ended(timeout=10)
            incoming.wait_ended(timeout=10)
            assert peers.connections(asterisk.port) == 2
            assert peers.connections(ua.points[0].address[1]) == 0
