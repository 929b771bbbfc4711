"""A pjsua2 phone with a lamp for waiting messages (RFC 3842), and we the notifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent
from benchmarks import peers

from greensip import IncomingRequest, Notifier, UserAgent
from greensip.body import MessageSummary

from .conftest import aside
from .test_phones import Phone


def register(incoming: IncomingRequest) -> None:
    """Whoever comes is registered."""
    incoming.respond(200, headers={'Contact': f'{incoming.request.get("Contact")};expires=300'})


def test_the_lamp(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                  free_port: Callable[..., int]) -> None:
    needs('module:pjsua2')
    with UserAgent('udp:127.0.0.1:0', name='voicemail', watchdog=None) as ua:
        port = ua.points[0].address[1]
        ua.handle('REGISTER', register)
        voicemail = Notifier('message-summary', min_expires=5)
        ua.events('message-summary', voicemail)
        voicemail.publish('bob', MessageSummary(False))
        phone = Phone('bob', 440.0, folder, free_port, '--mwi', '--mwi-expires', '10', '--registrar',
                      f'sip:127.0.0.1:{port}', '--password', 'x', '--domain', f'127.0.0.1:{port}')
        running.append(phone.peer)

        def shows(text: str) -> bool:
            return any(text in event['text'] for event in phone.events('mwi'))

        assert aside(peers.wait_until, lambda: shows('Messages-Waiting: no'), 15), phone.events()
        voicemail.publish('bob', b'Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n')
        assert aside(peers.wait_until, lambda: shows('Voice-Message: 2/8 (0/2)'), 15), phone.events()
        # It refreshes before its ten seconds are over, and gets the document again.
        watcher, = voicemail.subscribers('bob')
        before = len(phone.events('mwi'))
        assert aside(peers.wait_until, lambda: len(phone.events('mwi')) > before, 15), phone.events()
        assert voicemail.subscribers('bob') == [watcher]
        aside(phone.quit)
        for _ in range(100):
            if not voicemail.count:
                break
            gevent.sleep(0.05)
        assert voicemail.count == 0
