"""Messages with linphone, both ways (RFC 3428), and what becomes of them (RFC 5438)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers
from gevent.event import Event

from greensip import IncomingRequest, UserAgent

from .conftest import aside
from .test_registrar import RC

#: we are its registrar, and everything goes to us: linphone writes to addresses, which have no ports, and reports on
#: messages only while it is registered
PROXY = '''
[proxy_0]
reg_proxy=<sip:127.0.0.1:{port}>
reg_route=<sip:127.0.0.1:{port};lr>
reg_identity=sip:linphone@127.0.0.1
reg_sendregister=1
reg_expires=600
'''


@pytest.fixture
def linphone(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
             free_port: Callable[..., int]) -> Callable[[int], tuple[peers.Peer, int]]:
    """``linphone(port)`` starts a linphone-daemon that writes to that port; gives its own too."""
    needs('linphone-daemon')

    def start(proxy: int) -> tuple[peers.Peer, int]:
        home = folder / 'linphone-home'
        (home / '.local/share/linphone').mkdir(parents=True)
        port = free_port()
        rc = home / 'rc'
        rc.write_text(RC.format(port=port, rtp=free_port(2)).replace('[rtp]', 'default_proxy=0\n[rtp]')
                      + PROXY.format(port=proxy))
        peer = peers.Peer('linphone', [peers.need('linphone-daemon'), '--config', rc, '--disable-stats-events'], folder,
                          stdin=True, env={'HOME': str(home), 'XDG_DATA_HOME': str(home / '.local/share')})
        running.append(peer)
        peer.wait_for_text('daemon-linphone>')
        return peer, port

    return start


def registrar(incoming: IncomingRequest, registered: Event) -> None:
    """Grant what is asked for."""
    contacts = incoming.request.get_all('Contact')
    incoming.respond(200, headers={'Contact': [f'{contact};expires=600' for contact in contacts]})
    registered.set()


def test_messages_both_ways(linphone: Callable[[int], tuple[peers.Peer, int]], free_port: Callable[..., int]) -> None:
    own = free_port()
    peer, port = linphone(own)
    with UserAgent(f'udp:127.0.0.1:{own}', watchdog=None) as ua, \
            ua.account('sip:alice@127.0.0.1', route=f'<sip:127.0.0.1:{port};lr>') as alice, \
            alice.buddy('linphone') as buddy:
        inbox = alice.messages
        registered = Event()
        ua.handle('REGISTER', lambda incoming: registrar(incoming, registered))
        assert registered.wait(15)
        peer.say(f'message {alice.aor.uri} Hello Alice')
        for box in (inbox, buddy):
            message = box.wait_for('MESSAGE', timeout=15)
            assert (message.text, message.account) == ('Hello Alice', alice)
        aside(peer.wait_for_text, 'LinphoneChatMessageStateDelivered')
        message.reply('Hello Linphone', timeout=10)
        aside(peer.wait_for_text, 'Content: "Hello Linphone"')
        # The envelope is taken off, and what was asked for is told.
        buddy.message('Grüße', reports=['delivered', 'displayed'], message_id='m1', timeout=10)
        aside(peer.wait_for_text, 'Content: "Grüße"')
        assert buddy.wait_for(lambda event: event.label == 'report' and event.message_id == 'm1',
                              timeout=15).detail == 'delivered'
        buddy.composing()
        buddy.composing(False)
        buddy.message('Good-bye', timeout=10)
        aside(peer.wait_for_text, 'Content: "Good-bye"')
