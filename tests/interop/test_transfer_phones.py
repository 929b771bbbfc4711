"""Transfers with baresip and linphone: as transferee and as transferor, and linphone as target of attended ones."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import RemoteHangup, Replaced, UserAgent

from .conftest import aside
from .test_phones import BARESIP
from .test_registrar import RC


class Baresip:
    """A baresip that answers every call, and does what comes by TCP (its module ctrl_tcp)."""

    def __init__(self, folder: Path, free_port: Callable[..., int]) -> None:
        home = folder / 'baresip'
        home.mkdir()
        self.port, rtp, self.control = free_port(), free_port(10), free_port()
        modules = next(iter(Path('/usr/lib').glob('**/baresip/modules')))
        (home / 'config').write_text(
            BARESIP.format(port=self.port, folder=folder, modules=modules, rtp=rtp, rtp_end=rtp + 9)
            + f'module_app ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:{self.control}\n')
        (home / 'accounts').write_text(f'<sip:baresip@127.0.0.1:{self.port};transport=udp>;regint=0;answermode=auto\n')
        self.peer = peers.Peer('baresip', [peers.need('baresip'), '-4', '-f', home, '-n', peers.HOST], folder)
        self.peer.wait_for_text('ready')
        self.uri = f'sip:baresip@127.0.0.1:{self.port}'

    def transfer(self, uri: str) -> None:
        """Transfer whoever it talks to."""
        data = json.dumps({'command': 'transfer', 'params': uri}).encode()
        with socket.create_connection((peers.HOST, self.control), timeout=10) as connection:
            connection.sendall(b'%d:%s,' % (len(data), data))
            connection.recv(4096)


class Linphone:
    """A linphone-daemon that answers every call, and reads commands."""

    def __init__(self, folder: Path, free_port: Callable[..., int]) -> None:
        home = folder / 'linphone-home'
        (home / '.local/share/linphone').mkdir(parents=True)
        rc = home / 'rc'
        self.port = free_port()
        rc.write_text(RC.format(port=self.port, rtp=free_port(2)))
        self.peer = peers.Peer('linphone', [peers.need('linphone-daemon'), '--config', rc, '--auto-answer',
                                            '--disable-stats-events'], folder, stdin=True,
                               env={'HOME': str(home), 'XDG_DATA_HOME': str(home / '.local/share')})
        self.peer.wait_for_text('daemon-linphone>')
        self.uri = f'sip:linphone@127.0.0.1:{self.port}'

    def transfer(self, uri: str) -> None:
        """Transfer whoever it talks to."""
        self.peer.say(f'call-transfer 1 {uri}')


#: what we say of media: there is a stream, though nobody sends any
SDP = (b'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n'
       b'm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')

KINDS = {'baresip': (Baresip, 'baresip'), 'linphone': (Linphone, 'linphone-daemon')}


@pytest.fixture(params=sorted(KINDS))
def phone(request: pytest.FixtureRequest, needs: Callable[..., None], running: list[peers.Peer], folder: Path,
          free_port: Callable[..., int]) -> Baresip | Linphone:
    """One of the two, ready."""
    kind, program = KINDS[request.param]
    needs(program)
    made: Baresip | Linphone = kind(folder, free_port)
    running.append(made.peer)
    return made


@pytest.fixture
def agents() -> Iterator[tuple[UserAgent, UserAgent]]:
    """Who talks to the phone, and whom the phone is to talk to."""
    with UserAgent('udp:127.0.0.1:0', name='alice', refer='ask', watchdog=None) as alice, \
            UserAgent('udp:127.0.0.1:0', name='carol', watchdog=None) as carol:
        carol.serve(lambda leg: (leg.answer(SDP), leg.wait_ended()), background=True)
        yield alice, carol


def test_it_is_transferred(phone: Baresip | Linphone, agents: tuple[UserAgent, UserAgent]) -> None:
    alice, carol = agents
    with alice.call(phone.uri, sdp=SDP, timeout=10) as leg:
        alice.clock.sleep(1)
        outcome = leg.transfer(carol.uri, timeout=20)
        assert outcome.code == 200, outcome
        new, = carol.legs
        assert new.state == 'confirmed'
        leg.hangup()
        leg.wait_ended(timeout=10)
        alice.clock.sleep(0.5)
        assert new.state == 'confirmed'
        new.hangup()
        new.wait_ended(timeout=10)


@pytest.mark.parametrize('phone', ['linphone'], indirect=True)
def test_it_is_connected_with_another(phone: Linphone, agents: tuple[UserAgent, UserAgent]) -> None:
    """An attended transfer: the call that carol has with alice is replaced by the phone's.

    baresip 1.0 knows no Replaces: it writes the header fields of Refer-To into the Request-URI, which is a 400.
    """
    alice, carol = agents
    with alice.call(phone.uri, sdp=SDP, timeout=10) as leg, \
            alice.call(carol.uri, sdp=SDP, timeout=10) as expert:
        alice.clock.sleep(1)
        old, = carol.legs
        outcome = leg.transfer_to(expert, timeout=20)
        assert outcome.code == 200, outcome
        assert isinstance(expert.wait_ended(timeout=10).error, RemoteHangup)
        assert isinstance(old.error, Replaced)
        new, = carol.legs
        assert new.replaces is old
        leg.hangup()
        leg.wait_ended(timeout=10)
        new.hangup()
        new.wait_ended(timeout=10)


def test_it_transfers_us(phone: Baresip | Linphone, agents: tuple[UserAgent, UserAgent]) -> None:
    alice, carol = agents
    with alice.call(phone.uri, sdp=SDP, timeout=10) as leg:
        alice.clock.sleep(1)
        aside(phone.transfer, carol.uri)
        transfer = leg.wait_for('REFER', timeout=10)
        assert str(transfer.target).startswith(carol.uri)
        with transfer.accept() as other:
            other.wait_for('200', timeout=10)
            # Both hang up by themselves when they are told of the success.
            leg.wait_ended(timeout=15)
            assert other.state == 'confirmed'
            other.hangup()
            other.wait_ended(timeout=10)


@pytest.mark.parametrize('phone', ['linphone'], indirect=True)
def test_its_call_is_replaced(phone: Linphone, agents: tuple[UserAgent, UserAgent]) -> None:
    """Somebody else takes the place of the call that it has with us, on alice's word."""
    alice, _ = agents

    def transferee(leg):
        leg.answer(SDP)
        with leg.wait_for('REFER', timeout=20).accept() as other:
            other.wait_for('200', timeout=10)
            leg.wait_ended(timeout=20)
            other.hangup()
            other.wait_ended(timeout=10)

    with UserAgent('udp:127.0.0.1:0', name='dave', refer='ask', watchdog=None) as dave:
        dave.serve(transferee, background=True)
        with alice.call(dave.uri, sdp=SDP, timeout=10) as leg, \
                alice.call(phone.uri, sdp=SDP, timeout=10) as expert:
            alice.clock.sleep(1)
            outcome = leg.transfer_to(expert, timeout=20)
            assert outcome.code == 200, outcome
            assert isinstance(expert.wait_ended(timeout=10).error, RemoteHangup)
            leg.hangup()
            leg.wait_ended(timeout=10)
        alice.clock.sleep(1)
