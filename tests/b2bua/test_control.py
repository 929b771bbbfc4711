"""The command socket, talked to by real clients."""

from __future__ import annotations

import socket as native
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent import socket

from greensip.b2bua import control
from greensip.b2bua.control import CommandSocket, socket_address
from greensip.errors import SetupError


class Program:
    """Two calls, and a note of what was asked for."""

    def __init__(self, lines: int = 2) -> None:
        self.asked: list[object] = []
        self.lines = lines

    def call_lines(self) -> Iterator[str]:
        for number in range(self.lines):
            yield f'call{number}@h: Connected'
        yield f'Total: {self.lines}'

    def transaction_lines(self, older_than: float) -> Iterator[str]:
        yield 'In-memory server transactions:'
        yield f'older than {older_than}'

    def disconnect(self, call_id: str) -> int:
        self.asked.append(call_id)
        return int(call_id == 'call1@h')

    def disconnect_all(self) -> None:
        self.asked.append('*')

    def media_timeout(self, number: int, index: int) -> bool:
        self.asked.append((number, index))
        return number == 7


class Client:
    """A connection that speaks lines."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        family = native.AF_UNIX if isinstance(address, str) else native.AF_INET
        self.socket = socket.socket(family, native.SOCK_STREAM)
        self.socket.settimeout(5)
        self.socket.connect(address)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def lines(self, count: int) -> list[str]:
        data = b''
        while data.count(b'\n') < count:
            piece = self.socket.recv(65536)
            if not piece:
                break
            data += piece
        return data.decode().splitlines()

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(65536) == b''
        except ConnectionError:
            return True


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'socket')


@pytest.mark.parametrize(('text', 'address'), [
    ('/run/x', '/run/x'), ('unix:/run/x', '/run/x'), ('tcp:127.0.0.1:99', ('127.0.0.1', 99)),
    ('tcp:127.0.0.1', ('127.0.0.1', 12345)), ('tcp:[::1]:99', ('::1', 99)), ('tcp:[::1]', ('::1', 12345)),
])
def test_addresses(text: str, address: object) -> None:
    assert socket_address(text) == address


COMMANDS = [
    ('l', ['In-memory calls:', 'call0@h: Connected', 'call1@h: Connected', 'Total: 2']),
    ('L', ['In-memory calls:', 'call0@h: Connected', 'call1@h: Connected', 'Total: 2']),
    ('lt', ['In-memory server transactions:', 'older than 0.0']),
    ('llt', ['In-memory server transactions:', 'older than 60.0']),
    ('d', ['ERROR: syntax error: d <call-id>']),
    ('d a b', ['ERROR: syntax error: d <call-id>']),
    ('d call1@h', ['OK']),
    ('d nobody', ['ERROR: no call with id of nobody has been found']),
    ('d *', ['OK']),
    ('r 7', ['OK']),
    ('r 7 1', ['OK']),
    ('r 8', ['ERROR: no call with id of 8 has been found']),
    ('r', ['ERROR: syntax error: r <id> [<media-index>]']),
    ('r x', ['ERROR: syntax error: r <id> [<media-index>]']),
    ('r -1', ['ERROR: syntax error: r <id> [<media-index>]']),
    ('bogus', ['ERROR: unknown command']),
    ('\xff\xfe', ['ERROR: unknown command']),
]


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_commands(kind: str, path: str, free_port: object) -> None:
    program = Program()
    text = path if kind == 'unix' else f'tcp:127.0.0.1:{free_port()}'  # type: ignore[operator]
    control_socket = CommandSocket(text, program)
    client = Client(control_socket.address)
    for command, answer in COMMANDS:
        client.send(command.encode('latin-1') + b'\r\n')
        assert client.lines(len(answer)) == answer
    assert program.asked == ['call1@h', 'nobody', '*', (7, 0), (7, 1), (8, 0)]
    client.send(b'q\n')
    assert client.is_closed()
    control_socket.close()


def test_pieces_and_several_commands_at_once(path: str) -> None:
    control_socket = CommandSocket(path, Program())
    client, other = Client(path), Client(path)
    client.send(b'd ca')
    other.send(b'bogus\n\n  \nd *\nQ\nl\n')
    assert other.lines(3) == ['ERROR: unknown command', 'OK']
    client.send(b'll1@h\n')
    assert client.lines(1) == ['OK']
    control_socket.close()
    assert client.is_closed()
    assert not Path(path).exists()


def test_a_long_line_ends_the_connection(path: str) -> None:
    control_socket = CommandSocket(path, Program())
    for data in (b'x' * 5000, b'x' * 2000 + b'\n'):
        client = Client(path)
        client.send(data)
        assert client.lines(1) == ['ERROR: line too long']
        assert client.is_closed()
    assert not control_socket.clients
    control_socket.close()


def test_many_calls_are_listed_without_holding_the_hub(path: str) -> None:
    control_socket = CommandSocket(path, Program(20_000))
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0)
            turns += 1

    counter = gevent.spawn(count)
    client = Client(path)
    client.send(b'l\n')
    assert len(client.lines(20_002)) == 20_002
    assert turns > 50
    counter.kill()
    control_socket.close()


def test_a_client_that_does_not_read_is_dropped(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, 'PATIENCE', 0.05)
    control_socket = CommandSocket(path, Program(100_000))
    client = Client(path)
    client.send(b'l\n')
    with gevent.Timeout(5):
        while not control_socket.clients:
            gevent.sleep(0.001)
        while control_socket.clients:
            gevent.sleep(0.01)
    control_socket.close()


def test_the_longest_silent_client_makes_room(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, 'MAX_CLIENTS', 2)
    control_socket = CommandSocket(path, Program())
    first, second = Client(path), Client(path)
    for client in (second, first):
        client.send(b'd *\n')
        assert client.lines(1) == ['OK']
    third = Client(path)
    assert second.is_closed()
    for client in (first, third):
        client.send(b'd *\n')
        assert client.lines(1) == ['OK']
    control_socket.close()


def test_what_is_left_of_a_dead_program_is_removed(path: str) -> None:
    with native.socket(native.AF_UNIX) as dead:
        dead.bind(path)
    control_socket = CommandSocket(path, Program())
    Client(path)
    control_socket.close()


def test_a_living_one_is_not_robbed(path: str) -> None:
    control_socket = CommandSocket(path, Program())
    with pytest.raises(SetupError, match='cannot be opened: Address already in use'):
        CommandSocket(path, Program())
    control_socket.close()


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('precious')
    with pytest.raises(SetupError, match='a file of that name exists'):
        CommandSocket(str(tmp_path / 'file'), Program())
    assert (tmp_path / 'file').read_text() == 'precious'
    with pytest.raises(SetupError, match='No such file or directory'):
        CommandSocket('/nonexistent/socket', Program())
    with pytest.raises(SetupError, match='cannot be opened'):
        CommandSocket('x' * 200, Program())
    with pytest.raises(SetupError, match='cannot be opened'):
        CommandSocket('tcp:no.such.host.invalid:1', Program())


def test_a_command_that_fails_costs_only_its_client(path: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Program):
        def call_lines(self) -> Iterator[str]:
            yield 'one'
            raise RuntimeError('broken')

    control_socket = CommandSocket(path, Broken())
    client = Client(path)
    client.send(b'l\n')
    assert client.is_closed()
    assert 'RuntimeError: broken' in caplog.text
    other = Client(path)
    other.send(b'd *\n')
    assert other.lines(1) == ['OK']
    control_socket.close()
