"""The command as a person starts it: a process, its sentences, signals, files, and calls over the loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks.certificates import Authority

from greensip.errors import ResponseError
from greensip.ua import UserAgent

SDP = (b'v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n'
       b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')
COMMAND = [sys.executable, '-m', 'greensip.cli.b2bua']


def start(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
                          **options)


def sentence(*arguments: str, **options: Any) -> str:
    """What the command says when it cannot start: one sentence, status 2, no traceback."""
    result = start(*arguments, **options)
    assert (result.returncode, result.stdout) == (2, ''), result
    assert result.stderr.count('\n') == 1 and result.stderr.startswith('greensip-b2bua: ')
    return result.stderr.removeprefix('greensip-b2bua: ').rstrip('\n')


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        gevent.sleep(0.01)


class Running:
    """The command in the foreground, on a free port, with a route to ``callee_port``."""

    def __init__(self, folder: Path, free_port: Any, *arguments: str, route: bool = True) -> None:
        self.port = free_port()
        self.callee_port = free_port()
        self.cdr = folder / 'cdr'
        self.log = folder / 'log'
        self.socket = folder / 'sock'
        routes = ('-u', '-s', f'127.0.0.1:{self.callee_port}') if route else ()
        with open(folder / 'stderr', 'wb') as self.stderr:
            self.process = subprocess.Popen(
                [*COMMAND, '-f', '-l', '127.0.0.1', '-p', str(self.port), '-L', str(self.log), '-c', str(self.socket),
                 '--cdr', str(self.cdr), *routes, *arguments], stdin=subprocess.DEVNULL, stderr=self.stderr)
        try:
            until(lambda: self.process.poll() is not None or 'listening on' in self.logged())
            assert self.process.poll() is None, (folder / 'stderr').read_text()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def logged(self) -> str:
        return self.log.read_text() if self.log.exists() else ''

    def records(self) -> list[Any]:
        return [json.loads(line) for line in self.cdr.read_text().splitlines()]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def status(self, seconds: float = 10.0) -> int | None:
        """The status with which it ended."""
        until(lambda: self.process.poll() is not None, seconds)
        return self.process.returncode

    def command(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.socket))
            client.sendall(f'{line}\nq\n'.encode())
            text = b''
            while piece := client.recv(65536):
                text += piece
        return text.decode()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix='b2b') as name:
        yield Path(name)


@pytest.fixture
def running(folder: Path, free_port: Any) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def run(*arguments: str, **options: Any) -> Running:
        made.append(Running(folder, free_port, *arguments, **options))
        return made[-1]

    yield run
    for command in made:
        command.process.kill()
        command.process.wait()


@pytest.fixture
def agents() -> Iterator[Callable[..., UserAgent]]:
    made: list[UserAgent] = []

    def agent(port: int = 0, handler: Any = None) -> UserAgent:
        ua = UserAgent(f'udp:127.0.0.1:{port}', watchdog=None)
        made.append(ua)
        if handler is not None:
            ua.serve(handler, background=True)
        return ua

    yield agent
    for ua in made:
        ua.close()


def answering(leg: Any) -> None:
    leg.ring()
    leg.answer(SDP)
    leg.wait_ended()


# -- what it says


def test_help_and_version() -> None:
    result = start('--help')
    assert (result.returncode, result.stderr) == (0, '')
    assert '-s, --static-route=VALUE' in result.stdout and 'TERM and INT drain' in result.stdout
    result = start('--version')
    assert result.returncode == 0 and result.stdout.startswith('greensip-b2bua ')


def test_mistakes_are_told_in_a_sentence(folder: Path, free_port: Any) -> None:
    assert sentence('--bogus') == 'unknown option --bogus'
    assert 'pass -u' in sentence('-f', '-s', '127.0.0.1')
    assert sentence('-n', 'h', '-C', '/nonexistent') == '/nonexistent cannot be read: No such file or directory'
    assert sentence('-u', '-s', 'h', '-L', '/nonexistent/log') == (
        'the log cannot be written to /nonexistent/log: No such file or directory')
    port = str(free_port())
    common = ['-f', '-l', '127.0.0.1', '-p', port, '-u', '-s', 'h', '-c', str(folder / 's')]
    assert sentence(*common, '--cdr', '/nonexistent/cdr') == (
        'the records cannot be written to /nonexistent/cdr: No such file or directory')
    assert 'the command socket /nonexistent/s cannot be opened' in sentence(*common, '-c', '/nonexistent/s')
    assert sentence(*common, '-P', '/nonexistent/pid') == (
        'the pid file /nonexistent/pid cannot be written: No such file or directory')
    assert sentence(*common, '-W', '/nonexistent/w') == '/nonexistent/w cannot be written: No such file or directory'
    assert sentence(*common, '--pcap', '/nonexistent/pcap') == (
        'the capture cannot be written to /nonexistent/pcap: No such file or directory')
    assert '192.0.2.77' in sentence('-f', '-l', '192.0.2.77', '-u', '-s', 'h', '-c', str(folder / 's'))


@pytest.mark.parametrize(('text', 'what'), [
    ('def handler(leg)\n    pass\n', 'line 1: '),
    ('import nowhere_to_be_found\n', "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ('1 / 0\n', 'cannot be loaded: ZeroDivisionError: division by zero'),
    ('x = 1\n', 'has no function handler'),
    ('handler = 1\n', 'has no function handler'),
    (None, 'cannot be read: No such file or directory'),
])
def test_a_broken_script_is_told_in_a_sentence(folder: Path, text: str | None, what: str) -> None:
    if text is not None:
        (folder / 'my.py').write_text(text)
    assert what in sentence('-f', '--listen', 'udp:127.0.0.1:0', '--script', str(folder / 'my.py'))


@pytest.mark.parametrize('other', ['socket', 'b2bua'])
def test_a_port_in_use_is_refused(running: Any, folder: Path, free_port: Any, other: str) -> None:
    # sippy 2.5.0 starts twice on one port, and the two share what comes.
    if other == 'b2bua':
        port = running().port
    else:
        port = free_port()
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken.bind(('127.0.0.1', port))
    text = sentence('-f', '-u', '-s', 'h', '-l', '127.0.0.1', '-p', str(port), '-c', str(folder / 'other'))
    assert f'127.0.0.1:{port}' in text and 'in use' in text
    if other == 'socket':
        taken.close()


# -- what it does


def test_calls_records_and_the_end(running: Any, agents: Any) -> None:
    b2bua = running('-A', '2')
    agents(b2bua.callee_port, answering)
    caller = agents()
    with caller.call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5) as leg:
        assert 'Total: 1\n' in b2bua.command('l')
        assert 'INVITE Accepted' in b2bua.command('lt')
        assert 'INVITE' not in b2bua.command('llt')
        assert leg.remote_sdp == SDP
    until(lambda: 'Total: 0\n' in b2bua.command('l'))
    b2bua.signal(signal.SIGTERM)
    assert b2bua.status() == 0
    assert [record['event'] for record in b2bua.records()] == ['start', 'stop']
    assert not b2bua.socket.exists()


def test_term_drains(running: Any, agents: Any) -> None:
    b2bua = running('--drain-time', '30')
    agents(b2bua.callee_port, answering)
    caller = agents()
    leg = caller.call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5)
    b2bua.signal(signal.SIGTERM)
    until(lambda: 'stopping, 1 calls left' in b2bua.logged())
    with pytest.raises(ResponseError) as caught:
        caller.call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5)
    assert caught.value.code == 503
    assert b2bua.process.poll() is None and not leg.ended
    leg.close()
    assert b2bua.status() == 0
    assert [record['released_by'] for record in b2bua.records()] == ['caller']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_what_drains_too_long_is_hung_up(running: Any, agents: Any, number: int) -> None:
    b2bua = running('--drain-time', '0')
    agents(b2bua.callee_port, answering)
    leg = agents().call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5)
    b2bua.signal(number)
    assert b2bua.status() == 0
    leg.wait_ended(timeout=5)
    leg.close()
    assert [record['released_by'] for record in b2bua.records()] == ['shutdown']


def test_hup_drops_all_calls(running: Any, agents: Any) -> None:
    b2bua = running()
    agents(b2bua.callee_port, answering)
    caller = agents()
    legs = [caller.call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5) for _ in range(3)]
    b2bua.signal(signal.SIGHUP)
    for leg in legs:
        leg.wait_ended(timeout=5)
        leg.close()
    with caller.call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5) as leg:
        b2bua.command('d *')
        leg.wait_ended(timeout=5)
    until(lambda: len(b2bua.records()) == 4)
    assert {record['released_by'] for record in b2bua.records()} == {'operator'}


def test_usr1_reopens_log_records_and_capture(running: Any, agents: Any, folder: Path) -> None:
    capture = folder / 'calls.pcap'
    b2bua = running('--pcap', str(capture))
    agents(b2bua.callee_port, answering)
    caller = agents()

    def call() -> None:
        with caller.call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5) as leg:
            leg.hangup()
            leg.wait_ended(timeout=5)

    call()
    until(lambda: len(b2bua.records()) == 1)
    b2bua.log.rename(folder / 'log.1')
    b2bua.cdr.rename(folder / 'cdr.1')
    capture.rename(folder / 'calls.1')
    b2bua.signal(signal.SIGUSR1)
    until(lambda: b2bua.cdr.exists() and b2bua.log.exists() and capture.exists())
    call()
    until(lambda: len(b2bua.records()) == 1)
    assert all(file.read_bytes().count(b'INVITE sip:') == 2 for file in (capture, folder / 'calls.1'))
    assert b2bua.records()[0]['number'] == 2
    assert json.loads((folder / 'cdr.1').read_text())['number'] == 1


def test_messages_go_to_a_file_and_a_server(running: Any, agents: Any, folder: Path) -> None:
    capture = folder / 'calls.pcapng'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(('127.0.0.1', 0))
        server.settimeout(5)
        b2bua = running('--pcap', str(capture), '--hep', f'127.0.0.1:{server.getsockname()[1]}?id=9')
        with pytest.raises(ResponseError):
            agents().call(f'sip:1@127.0.0.1:{b2bua.port}', sdp=SDP, timeout=5)
        assert b'INVITE sip:1@127.0.0.1' in server.recv(65535)
    b2bua.signal(signal.SIGTERM)
    assert b2bua.status() == 0
    assert capture.read_bytes().count(b'INVITE sip:1@127.0.0.1') == 2


def test_tls_in_udp_out_and_browsers(running: Any, agents: Any, folder: Path, free_port: Any) -> None:
    """All in one: places beside -l and -p, sippy's option, TLS in the clear in the capture."""
    made = Authority(folder).issue()
    capture, tls, wss = folder / 'calls.pcapng', free_port(), free_port()
    b2bua = running('--listen', f'tls:127.0.0.1:{tls}?cert={made.cert}&key={made.key}', '--pcap', str(capture),
                    f'--wss_socket=127.0.0.1:{wss}:{made.cert}:{made.key}')
    agents(b2bua.callee_port, answering)
    for transport, port in (('tls', tls), ('wss', wss)):
        with (UserAgent(f'{transport}:127.0.0.1:0?ca={made.ca}', watchdog=None) as caller,
              caller.call(f'sip:1@127.0.0.1:{port};transport={transport}', sdp=SDP, timeout=5) as leg):
            assert leg.remote_sdp == SDP
            line = next(line for line in b2bua.command('l').splitlines() if f' {transport}:127.0.0.1:' in line)
            assert f' udp:127.0.0.1:{b2bua.callee_port} ' in line
    until(lambda: len(b2bua.records()) == 2)
    until(lambda: capture.read_bytes().count(b' BYE\r\n') == 2 * 4)
    data = capture.read_bytes()
    assert [data.count(b'Via: SIP/2.0/' + name + b' 127.0.0.1') > 0 for name in (b'TLS', b'WSS', b'UDP')] == [True] * 3
    assert all(f'listening on {place}' in b2bua.logged() for place in (f'tls:127.0.0.1:{tls}', f'wss:127.0.0.1:{wss}'))


def test_usr2_toggles_debug(running: Any, agents: Any) -> None:
    b2bua = running()
    caller = agents()
    caller.options(f'sip:127.0.0.1:{b2bua.port}', timeout=5)
    assert 'OPTIONS' not in b2bua.logged()
    b2bua.signal(signal.SIGUSR2)
    until(lambda: 'debug is on' in b2bua.logged())
    caller.options(f'sip:127.0.0.1:{b2bua.port}', timeout=5)
    until(lambda: 'OPTIONS' in b2bua.logged())
    b2bua.signal(signal.SIGUSR2)
    until(lambda: 'debug is off' in b2bua.logged())


def test_a_daemon(folder: Path, free_port: Any, agents: Any) -> None:
    port, callee_port = free_port(), free_port()
    # Relative names all of them: a daemon's directory is the root.
    made = Authority(folder).issue()
    for name, file in (('cert.pem', made.cert), ('key.pem', made.key)):
        (folder / name).write_bytes(Path(file).read_bytes())
    arguments = ['-l', '127.0.0.1', '-p', str(port), '-u', '-s', f'127.0.0.1:{callee_port}', '-c', 'sock', '-P', 'pid',
                 '-L', 'log', '--cdr', 'cdr', '-W', 'conf.ini', '--pcap', 'calls.pcap', '--listen',
                 'tls:127.0.0.1:0?cert=cert.pem&key=key.pem', '--wss-socket', '127.0.0.1:0:cert.pem:key.pem']
    result = start(*arguments, cwd=folder, env={**os.environ, 'PYTHONPATH': os.getcwd()})
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    pid = int((folder / 'pid').read_text())
    try:
        # It listens when the process that was started has ended, and there is no second one.
        assert 'in use' in sentence(*arguments, '-c', str(folder / 's2'), '-P', str(folder / 'pid2'), cwd=folder,
                                    env={**os.environ, 'PYTHONPATH': os.getcwd()})
        agents(callee_port, answering)
        with agents().call(f'sip:1@127.0.0.1:{port}', sdp=SDP, timeout=5):
            pass
        until(lambda: (folder / 'cdr').read_text())
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not (folder / 'pid').exists())
    assert 'stopping' in (folder / 'log').read_text()
    assert f'sip_port = {port}' in (folder / 'conf.ini').read_text()
    assert b'INVITE sip:1@' in (folder / 'calls.pcap').read_bytes()


def test_a_script(folder: Path, running: Any, agents: Any) -> None:
    (folder / 'my.py').write_text(
        'from greensip.ua import LegGroup, Bridge\n'
        'def handler(leg):\n'
        '    with LegGroup(leg) as group:\n'
        '        other = group.invite(f"sip:{leg.to.uri.user}@127.0.0.1:" + leg.headers["X-Port"], sdp=leg.offer,'
        ' progress_to=leg)\n'
        '        other.wait_for("200", timeout=5)\n'
        '        leg.answer(other.answer)\n'
        '        Bridge(leg, other).wait()\n')
    b2bua = running('--script', f'{folder}/my.py', route=False)
    agents(b2bua.callee_port, answering)
    headers = {'X-Port': b2bua.callee_port}
    with agents().call(f'sip:77@127.0.0.1:{b2bua.port}', sdp=SDP, headers=headers, timeout=5) as leg:
        assert leg.remote_sdp == SDP
    until(lambda: b2bua.records())
    assert b2bua.records()[0]['released_by'] == 'caller'


def test_a_default_socket_that_is_taken_only_costs_the_socket(folder: Path, free_port: Any) -> None:
    process = subprocess.Popen([*COMMAND, '-f', '-n', '127.0.0.1:9', '-l', '127.0.0.1', '-p', str(free_port())],
                               stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while 'listening on' not in lines[-1]:
            assert lines[-1]
            lines.append(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
