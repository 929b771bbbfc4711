"""Real phones register at ``greensip registrar`` with digest, and call each other through it."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from .test_phones import BARESIP, BARESIP_TONE, Phone, heard

PASSWORD = 's3cret'
NAMES = ('alice', 'bob', 'carol', 'baresip', 'linphone')

RC = """[sip]
sip_port={port}
sip_tcp_port={port}
sip_tls_port=0
use_ipv6=0
bind_address=127.0.0.1
ipv6_migration_done=1
[rtp]
audio_rtp_port={rtp}
"""


class Site:
    """A registrar in a process of its own, and what it told."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.port = port
        self.database = folder / 'registrar.db'
        words = [word for name in NAMES for word in ('--user', f'{name}:{PASSWORD}')]
        self.peer = peers.Peer('registrar', [
            sys.executable, '-m', 'greensip.cli.registrar', '--json', '--database', self.database, '--listen',
            f'udp:127.0.0.1:{port}', '--listen', f'tcp:127.0.0.1:{port}', '--presence', *words, *options], folder)
        self.peer.wait_for_text('"tcp:')

    @property
    def uri(self) -> str:
        """The registrar."""
        return f'sip:127.0.0.1:{self.port}'

    def address(self, name: str) -> str:
        """The address of a user."""
        return f'sip:{name}@127.0.0.1:{self.port}'

    def wait_for(self, event: str, name: str) -> list[str]:
        """The contacts of a user once that has happened."""
        self.peer.wait_for_text(rf'{{"event": "{event}"[^\n]*"{name}@greensip"')
        return self.contacts(name)

    def contacts(self, name: str) -> list[str]:
        """The contacts of a user as of now."""
        lines = [json.loads(line) for line in self.peer.printed().splitlines() if line.startswith('{')]
        return next((line['contacts'] for line in reversed(lines) if line.get('aor') == f'{name}@greensip'), [])


class Pjsua(Phone):
    """A pjsua2 phone that registers."""

    def __init__(self, name: str, site: Site, folder: Path, free_port: Callable[..., int], *options: str,
                 transport: str = 'udp') -> None:
        by = '' if transport == 'udp' else f';transport={transport}'
        super().__init__(name, {'alice': 1000.0, 'bob': 700.0, 'carol': 1600.0}[name], folder, free_port,
                         '--transport', transport, '--registrar', site.uri + by, '--password', PASSWORD, *options)
        self.site = site
        self.name = name
        self.by = by

    def call(self, name: str) -> None:
        """Call another user."""
        self.peer.say(f'call {self.site.address(name)}{self.by}')

    def hang_up(self) -> None:
        """End the call."""
        self.peer.say('hangup')

    def wait_for_a_call(self) -> None:
        """Wait until a call is answered."""
        self.wait_for_state('CONFIRMED')

    def wait_for_the_end(self) -> None:
        """Wait until the call is over."""
        self.wait_for_state('DISCONNECTED')


class Baresip:
    """A baresip that registers, answers every call, and does what comes by TCP (its module ctrl_tcp)."""

    def __init__(self, site: Site, folder: Path, free_port: Callable[..., int]) -> None:
        self.site = site
        home = folder / 'baresip'
        home.mkdir()
        port, rtp, self.control = free_port(), free_port(10), free_port()
        modules = next(iter(Path('/usr/lib').glob('**/baresip/modules')))
        (home / 'config').write_text(
            BARESIP.format(port=port, folder=folder, modules=modules, rtp=rtp, rtp_end=rtp + 9)
            + f'module_app ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{self.control}\n')
        (home / 'accounts').write_text(f'<sip:baresip@127.0.0.1;transport=udp>;auth_pass={PASSWORD};regint=60;'
                                       f'outbound="sip:127.0.0.1:{site.port}";answermode=auto\n')
        self.peer = peers.Peer('baresip', [peers.need('baresip'), '-4', '-f', home, '-n', peers.HOST], folder)

    def say(self, command: str, parameter: str = '') -> None:
        """A command in JSON, as a netstring."""
        data = json.dumps({'command': command, 'params': parameter}).encode()
        with socket.create_connection((peers.HOST, self.control), timeout=10) as connection:
            connection.sendall(b'%d:%s,' % (len(data), data))
            connection.recv(4096)

    def call(self, name: str) -> None:
        """Call another user."""
        self.say('dial', self.site.address(name))

    def hang_up(self) -> None:
        """End the call."""
        self.say('hangup')

    def wait_for_a_call(self) -> None:
        """Wait until a call is answered."""
        self.peer.wait_for_text('Call established')

    def wait_for_the_end(self) -> None:
        """Wait until the call is over."""
        self.peer.wait_for_text('(?i)session closed|terminate')


class Linphone:
    """A linphone-daemon that registers, answers every call, and reads commands."""

    def __init__(self, site: Site, folder: Path, free_port: Callable[..., int]) -> None:
        self.site = site
        home = folder / 'linphone-home'
        (home / '.local/share/linphone').mkdir(parents=True)
        rc = home / 'rc'
        rc.write_text(RC.format(port=free_port(), rtp=free_port(2)))
        self.peer = peers.Peer('linphone', [peers.need('linphone-daemon'), '--config', rc, '--auto-answer',
                                            '--disable-stats-events'], folder, stdin=True,
                               env={'HOME': str(home), 'XDG_DATA_HOME': str(home / '.local/share')})
        self.peer.wait_for_text('daemon-linphone>')
        self.peer.say(f'register sip:linphone@127.0.0.1 {site.uri} {PASSWORD}')

    def call(self, name: str) -> None:
        """Call another user."""
        self.peer.say(f'call {self.site.address(name)}')

    def hang_up(self) -> None:
        """End the call."""
        self.peer.say('terminate')

    def wait_for_a_call(self) -> None:
        """Wait until a call is answered."""
        self.peer.wait_for_text('LinphoneCallStreamsRunning')

    def wait_for_the_end(self) -> None:
        """Wait until the call is over."""
        self.peer.wait_for_text('LinphoneCall(End|Released)')


NEEDS = {**dict.fromkeys(('alice', 'bob', 'carol'), 'module:pjsua2'), 'baresip': 'baresip',
         'linphone': 'linphone-daemon'}


@pytest.fixture
def site(running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> Site:
    """The registrar."""
    made = Site(folder, free_port())
    running.append(made.peer)
    return made


@pytest.fixture
def phone(site: Site, needs: Callable[..., None], running: list[peers.Peer], folder: Path,
          free_port: Callable[..., int]) -> Callable[..., Pjsua | Baresip | Linphone]:
    """``phone(name)``: a phone that has registered."""
    def make(name: str, *options: str, transport: str = 'udp') -> Pjsua | Baresip | Linphone:
        needs(NEEDS[name])
        made: Pjsua | Baresip | Linphone
        if name == 'baresip':
            made = Baresip(site, folder, free_port)
        elif name == 'linphone':
            made = Linphone(site, folder, free_port)
        else:
            made = Pjsua(name, site, folder, free_port, *options, transport=transport)
        running.append(made.peer)
        site.wait_for('registered', name)
        return made
    return make


@pytest.mark.parametrize(('caller', 'callee'), [
    ('alice', 'bob'), ('alice', 'baresip'), ('baresip', 'linphone'), ('linphone', 'bob'), ('alice', 'linphone'),
    ('baresip', 'bob'), ('linphone', 'baresip'),
])
def test_they_call_each_other(phone: Callable[..., Pjsua | Baresip | Linphone], site: Site, caller: str,
                              callee: str) -> None:
    there, here = phone(callee), phone(caller)
    here.call(callee)
    here.wait_for_a_call()
    there.wait_for_a_call()
    if isinstance(there, Pjsua):
        there.wait_for_a_second_of_sound()
    here.hang_up()
    here.wait_for_the_end()
    there.wait_for_the_end()
    if isinstance(there, Pjsua) and isinstance(here, Baresip):
        there.quit()
        assert heard(there.recording, BARESIP_TONE) > 0.8
    elif isinstance(there, Pjsua) and isinstance(here, Pjsua):
        there.quit()
        assert heard(there.recording, here.tone) > 0.8


def test_over_tcp_with_holding_and_messages(phone: Callable[..., Pjsua], site: Site) -> None:
    """The connections that the phones have opened lead to them; re-INVITEs and MESSAGE go through the call."""
    alice, bob = phone('alice', transport='tcp'), phone('bob', transport='tcp')
    assert all('transport=TCP' in contact or 'transport=tcp' in contact for contact in site.contacts('bob'))
    alice.call('bob')
    for one in (alice, bob):
        one.wait_for_a_call()
        one.wait_for(r'"status": 1')
    alice.peer.say('hold')
    bob.wait_for(r'"status": 3')
    alice.peer.say('resume')
    bob.wait_for(r'(?s)"status": 3.*"status": 1')
    bob.hang_up()
    alice.wait_for_the_end()
    bob.peer.say(f'message {site.address("alice")}{bob.by} how do you do?')
    alice.wait_for('"text": "how do you do[?]"')
    alice.peer.say('unregister')
    site.wait_for('unregistered', 'alice')
    bob.call('alice')
    bob.wait_for(r'"DISCONNECTED", "code": 480')


def test_all_phones_of_a_user_ring(phone: Callable[..., Pjsua | Baresip], site: Site, running: list[peers.Peer],
                                   folder: Path, needs: Callable[..., None], free_port: Callable[..., int]) -> None:
    """Two phones of one user ring; the one that answers has the call, the other one is told so."""
    desk = phone('bob', '--answer', '180')
    (folder / 'hall').mkdir()
    hall = Pjsua('bob', site, folder / 'hall', free_port, '--answer', '180')
    running.append(hall.peer)
    assert peers.wait_until(lambda: len(site.contacts('bob')) == 2, 20)
    alice = phone('alice')
    alice.call('bob')
    for one in (desk, hall):
        one.wait_for('"incoming"')
    alice.wait_for('"state": "EARLY"')
    hall.peer.say('answer 200')
    alice.wait_for_a_call()
    hall.wait_for_a_call()
    desk.wait_for_the_end()
    assert desk.events('state')[-1]['code'] == 487
    alice.hang_up()
    hall.wait_for_the_end()


def test_a_wrong_password(site: Site, running: list[peers.Peer], folder: Path, needs: Callable[..., None],
                          free_port: Callable[..., int]) -> None:
    needs('module:pjsua2')
    alice = Pjsua('alice', site, folder, free_port, '--password', 'wrong')
    running.append(alice.peer)
    alice.wait_for('"registration", "code": 401')
    assert site.contacts('alice') == []


def test_sha_256(running: list[peers.Peer], folder: Path, needs: Callable[..., None],
                 free_port: Callable[..., int]) -> None:
    """PJSIP knows it."""
    needs('module:pjsua2')
    site = Site(folder, free_port(), '--algorithms', 'SHA-256')
    running.append(site.peer)
    running.append(Pjsua('alice', site, folder, free_port).peer)
    site.wait_for('registered', 'alice')


def test_a_restart(phone: Callable[..., Pjsua], site: Site, running: list[peers.Peer], folder: Path) -> None:
    """The database has the bindings: calls go on at once."""
    alice, bob = phone('alice'), phone('bob')
    site.peer.stop()
    again = Site(folder, site.port)
    running.append(again.peer)
    assert again.peer.wait_for_text('"bindings": 2')
    alice.call('bob')
    bob.wait_for_a_call()
    alice.wait_for_a_call()
    alice.hang_up()
    bob.wait_for_the_end()


@pytest.mark.parametrize('transport', ['udp', 'tcp'])
def test_an_attended_transfer(phone: Callable[..., Pjsua], transport: str) -> None:
    """Alice connects bob with carol: REFER with Replaces in the one call, and carol goes on with bob in the other."""
    alice, bob, carol = (phone(name, transport=transport) for name in ('alice', 'bob', 'carol'))
    for number, other in enumerate((bob, carol), 1):
        alice.call(other.name)
        alice.wait_for('(?s)' + '"CONFIRMED".*' * number)
    alice.peer.say('connect')
    alice.wait_for_the_end()
    bob.wait_for('"transfer"')
    bob.wait_for(r'(?s)"CONFIRMED".*"CONFIRMED"')
    for one in (bob, carol):
        one.wait_for_a_second_of_sound()
    bob.hang_up()
    carol.wait_for_the_end()
    carol.quit()
    assert heard(carol.recording, bob.tone) > 0.8


def test_presence(phone: Callable[..., Pjsua], site: Site) -> None:
    """Bob publishes, and alice, who watches him, is told."""
    alice, bob = phone('alice'), phone('bob', '--publish', '--proxy', f'{site.uri};lr')
    alice.peer.say(f'watch {site.address("bob")}')
    alice.wait_for('"buddy".*"ACTIVE"')
    bob.peer.say('presence busy in a meeting')
    alice.wait_for('"buddy".*"status": 1, .*"in a meeting".*"ACTIVE"')
