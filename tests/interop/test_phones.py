"""Real phones call each other through greensip-b2bua, alone or with a record-routing proxy on either side."""

from __future__ import annotations

import json
import math
import struct
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

RATE = 8000
#: octets of a second of what PJSIP records
SECOND = 2 * 16000


def write_tone(path: Path, frequency: float, seconds: float = 4.0) -> Path:
    """A WAV file with a sine tone."""
    samples = [int(8000 * math.sin(2 * math.pi * frequency * n / RATE)) for n in range(int(RATE * seconds))]
    with wave.open(str(path), 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(struct.pack(f'<{len(samples)}h', *samples))
    return path


def heard(path: Path, frequency: float) -> float:
    """The part of a recording's power that lies at ``frequency``, in the quarter second where it is largest.

    The rest may have gaps: a busy machine makes PJSIP's jitter buffer stumble.
    """
    with wave.open(str(path), 'rb') as file:
        rate = file.getframerate()
        samples = struct.unpack(f'<{file.getnframes()}h', file.readframes(file.getnframes()))
    size = rate // 4
    turn = 2 * math.pi * frequency / rate
    best = 0.0
    for start in range(0, len(samples) - size, size // 2):
        window = samples[start:start + size]
        power = sum(sample * sample for sample in window)
        if power < size * 100 * 100:
            continue   # as good as silent
        real = sum(sample * math.cos(turn * n) for n, sample in enumerate(window))
        imaginary = sum(sample * math.sin(turn * n) for n, sample in enumerate(window))
        best = max(best, 2 * (real * real + imaginary * imaginary) / (size * power))
    return best


class Phone:
    """A pjsua2 phone in a process of its own that plays ``tone`` and records what it hears."""

    def __init__(self, name: str, tone: float, folder: Path, free_port: Callable[..., int], *options: str) -> None:
        self.tone = tone
        self.port = free_port()
        self.recording = folder / f'{name}-heard.wav'
        self.peer = peers.Peer(name, [
            sys.executable, Path(__file__).parent / 'pjsua_peer.py', '--user', name, '--port', str(self.port),
            '--rtp', str(free_port(2)), '--play', write_tone(folder / f'{name}-says.wav', tone),
            '--record', self.recording, *options], folder, stdin=True)

    def events(self, kind: str = '') -> list[dict[str, object]]:
        """What it told so far."""
        lines = [json.loads(line) for line in self.peer.printed().splitlines() if line.startswith('{')]
        return [line for line in lines if not kind or line['event'] == kind]

    def wait_for(self, text: str, timeout: float = 15.0) -> None:
        """Wait for a line with ``text`` among its events."""
        self.peer.wait_for_text(text, timeout)

    def wait_for_state(self, state: str) -> None:
        """Wait for a state of the call, in PJSIP's words."""
        self.wait_for(f'"state": "{state}"')

    def wait_for_a_second_of_sound(self) -> None:
        """Wait until the recording has that much."""
        assert peers.wait_until(lambda: self.recording.exists() and self.recording.stat().st_size > SECOND, 15)

    def quit(self) -> None:
        """End it: only then its recording is complete."""
        self.peer.say('quit')
        self.wait_for('"bye"')


@pytest.fixture
def phones(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
           free_port: Callable[..., int]) -> tuple[Phone, Phone]:
    """Two phones that are ready: one to call with, one that rings and answers."""
    needs('module:pjsua2')
    alice = Phone('alice', 440.0, folder, free_port, '--answer', '')
    running.append(alice.peer)
    bob = Phone('bob', 1000.0, folder, free_port)
    running.append(bob.peer)
    for phone in (alice, bob):
        phone.wait_for('"ready"')
    return alice, bob


@pytest.fixture(params=['b2bua', 'proxy b2bua', 'b2bua proxy', 'proxy b2bua proxy'])
def path_to(request: pytest.FixtureRequest, needs: Callable[..., None], running: list[peers.Peer], folder: Path,
            free_port: Callable[..., int]) -> Callable[[int], int]:
    """``path_to(port)`` starts what stands on the path to that port; gives the port to call."""
    elements = request.param.split()
    if 'proxy' in elements:
        needs('kamailio')

    def start(next_hop: int) -> int:
        for element in reversed(elements):
            port = free_port()
            running.append(peers.kamailio(port, next_hop, folder, route=peers.RECORD_ROUTING) if element == 'proxy'
                           else peers.greensip(port, next_hop, folder))
            next_hop = port
        return next_hop

    return start


def test_audio_flows_both_ways(phones: tuple[Phone, Phone], path_to: Callable[[int], int]) -> None:
    alice, bob = phones
    alice.peer.say(f'call sip:bob@127.0.0.1:{path_to(bob.port)}')
    for phone in phones:
        phone.wait_for_state('CONFIRMED')
    alice.wait_for_a_second_of_sound()
    bob.wait_for_a_second_of_sound()
    alice.peer.say('hangup')
    for phone in phones:
        phone.wait_for_state('DISCONNECTED')
        phone.quit()
    assert heard(alice.recording, bob.tone) > 0.8
    assert heard(bob.recording, alice.tone) > 0.8
    # Two dialogs, not one that is proxied.
    ids = [{state['call_id'] for state in phone.events('state')} for phone in phones]
    assert ids[0].isdisjoint(ids[1])


def test_hold_resume_and_the_callee_hangs_up(phones: tuple[Phone, Phone], path_to: Callable[[int], int]) -> None:
    alice, bob = phones
    alice.peer.say(f'call sip:bob@127.0.0.1:{path_to(bob.port)}')
    for phone in phones:
        phone.wait_for_state('CONFIRMED')
        phone.wait_for(r'"status": 1')
    alice.peer.say('hold')
    # PJSUA_CALL_MEDIA_LOCAL_HOLD here, PJSUA_CALL_MEDIA_REMOTE_HOLD there
    alice.wait_for(r'"status": 2')
    bob.wait_for(r'"status": 3')
    alice.peer.say('resume')
    bob.wait_for(r'(?s)"status": 3.*"status": 1')
    bob.peer.say('hangup')
    alice.wait_for_state('DISCONNECTED')
    assert alice.events('state')[-1]['code'] == 200


BARESIP = """sip_listen 127.0.0.1:{port}
audio_source ausine,440
audio_player aufile,{folder}/baresip-heard.wav
audio_alert aufile,{folder}/baresip-alert.wav
ausrc_srate 48000
ausrc_channels 2
rtp_ports {rtp}-{rtp_end}
module_path {modules}
module g711.so
module ausine.so
module aufile.so
module uuid.so
module_app account.so
module_app menu.so
"""
#: the tone that baresip plays
BARESIP_TONE = 440.0


@pytest.fixture
def baresip(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
            free_port: Callable[..., int]) -> Callable[..., tuple[int, peers.Peer]]:
    """``baresip(*options)`` starts one that answers every call; gives its port and process."""
    needs('baresip')
    modules = next(iter(Path('/usr/lib').glob('**/baresip/modules')), None)

    def start(*options: str) -> tuple[int, peers.Peer]:
        home = folder / 'baresip'
        home.mkdir()
        port, rtp = free_port(), free_port(10)
        (home / 'config').write_text(BARESIP.format(port=port, folder=folder, modules=modules, rtp=rtp,
                                                    rtp_end=rtp + 9))
        (home / 'accounts').write_text(f'<sip:baresip@127.0.0.1:{port};transport=udp>;regint=0;answermode=auto\n')
        peer = peers.Peer('baresip', [peers.need('baresip'), '-4', '-f', home, '-n', peers.HOST, *options], folder)
        running.append(peer)
        return port, peer

    return start


def test_baresip_answers(phones: tuple[Phone, Phone], baresip: Callable[..., tuple[int, peers.Peer]],
                         running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> None:
    port, phone = baresip()
    phone.wait_for_port(port)
    service = free_port()
    running.append(peers.greensip(service, port, folder))
    alice = phones[0]
    alice.peer.say(f'call sip:baresip@127.0.0.1:{service}')
    alice.wait_for_state('CONFIRMED')
    alice.wait_for_a_second_of_sound()
    alice.peer.say('hangup')
    alice.wait_for_state('DISCONNECTED')
    phone.wait_for_text('(?i)session closed|terminated')
    alice.quit()
    assert heard(alice.recording, BARESIP_TONE) > 0.8


def test_baresip_calls(phones: tuple[Phone, Phone], baresip: Callable[..., tuple[int, peers.Peer]],
                       running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> None:
    bob = phones[1]
    service = free_port()
    running.append(peers.greensip(service, bob.port, folder))
    baresip('-e', f'/dial sip:bob@127.0.0.1:{service}')
    bob.wait_for_state('CONFIRMED')
    bob.wait_for_a_second_of_sound()
    bob.peer.say('hangup')
    bob.wait_for_state('DISCONNECTED')
    bob.quit()
    assert heard(bob.recording, BARESIP_TONE) > 0.8
