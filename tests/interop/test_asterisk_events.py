"""Asterisk tells us of waiting messages, and of the calls and the presence of its extensions."""

from __future__ import annotations

import pytest
from benchmarks import lab

from greensip import ResponseError, UserAgent

VOICEMAIL = '''
[general]
format=wav
pollmailboxes=yes
pollfreq=1
[default]
100 => 1234,Alice
'''


def test_waiting_messages(asterisk: lab.Asterisk) -> None:
    asterisk.configure('voicemail.conf', VOICEMAIL)
    asterisk.configure('pjsip.conf', '[alice](+type=aor)\nmailboxes=100@default\n')
    asterisk.cli('module load app_voicemail.so')
    asterisk.cli('module reload res_pjsip.so')
    inbox = asterisk.home / 'spool/voicemail/default/100/INBOX'
    with UserAgent('udp:127.0.0.1:0') as ua, \
            ua.account(f'sip:alice@127.0.0.1:{asterisk.port}', 'secret') as alice:
        alice.register(timeout=10)
        with alice.subscribe(alice.aor, 'message-summary') as messages:
            summary = messages.wait_for('NOTIFY', timeout=10).document
            assert not summary.waiting
            inbox.mkdir(parents=True)
            (inbox / 'msg0000.txt').write_text('[message]\norigmailbox=100\ncontext=lab\nduration=3\n')
            (inbox / 'msg0000.wav').write_bytes(b'RIFF' + bytes(40))
            summary = messages.wait_for('NOTIFY', timeout=20).document
            assert summary.waiting
            assert summary.voice.new == 1


@pytest.mark.parametrize('package', ['dialog', 'presence'])
def test_an_extension_in_a_call(asterisk: lab.Asterisk, package: str) -> None:
    with UserAgent('udp:127.0.0.1:0') as ua, UserAgent('udp:127.0.0.1:0') as other, \
            ua.account(f'sip:alice@127.0.0.1:{asterisk.port}', 'secret') as alice, \
            other.account(f'sip:bob@127.0.0.1:{asterisk.port}', 'secret') as bob:
        alice.register(timeout=10)
        bob.register(timeout=10)
        with alice.subscribe(f'sip:bob@127.0.0.1:{asterisk.port}', package) as events:
            before = events.wait_for('NOTIFY', timeout=10)
            with bob.call('600', timeout=10):
                during = events.wait_for('NOTIFY', timeout=10)
                assert during.body != before.body
                if package == 'dialog':
                    assert [dialog.state for dialog in during.document.dialogs.values()] == ['confirmed']
                else:
                    assert during.document.tuples
            events.wait_for('NOTIFY', timeout=10)


def test_no_such_mailbox(asterisk: lab.Asterisk) -> None:
    with UserAgent('udp:127.0.0.1:0') as ua, \
            ua.account(f'sip:carol@127.0.0.1:{asterisk.port}', 'secret') as carol:
        carol.register(timeout=10)
        with pytest.raises(ResponseError) as caught, \
                carol.subscribe(f'sip:nobody@127.0.0.1:{asterisk.port}', 'presence') as events:
            events.wait_for('NOTIFY', timeout=10)
        assert caught.value.code == 404
