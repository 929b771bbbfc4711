"""Asterisk tells us of the presence of its extensions: how its documents read, as a buddy sees them."""

from __future__ import annotations

from benchmarks import lab

from greensip import UserAgent


def test_an_extension_that_comes_calls_and_goes(asterisk: lab.Asterisk) -> None:
    with UserAgent('udp:127.0.0.1:0') as ua, UserAgent('udp:127.0.0.1:0') as other, \
            ua.account(f'sip:alice@127.0.0.1:{asterisk.port}', 'secret') as alice, \
            other.account(f'sip:bob@127.0.0.1:{asterisk.port}', 'secret') as bob:
        alice.register(timeout=10)
        with alice.buddy('bob') as buddy:
            assert buddy.subscribe(timeout=10) == 'offline'
            buddy.wait_for('offline')
            bob.register(timeout=10)
            buddy.wait_for('online', timeout=10)
            with bob.call('600', timeout=10):
                change = buddy.wait_for('presence', timeout=10)
                assert (change.label, change.status.activities, change.status.note) == (
                    'busy', ('on-the-phone',), 'On the phone')
            buddy.wait_for('online', timeout=10)
            bob.unregister(timeout=10)
            buddy.wait_for('offline', timeout=10)
            buddy.unsubscribe(timeout=10)
