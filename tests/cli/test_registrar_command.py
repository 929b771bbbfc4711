"""``greensip registrar``: its arguments, its users, its complaints."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import UserAgent
from greensip.cli.registrar import main
from greensip.registrar import Database


def test_users_of_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                             monkeypatch: pytest.MonkeyPatch) -> None:
    database = str(tmp_path / 'db')
    assert main(['--database', database, '--add-user', 'alice:wonder:land']) == 0
    monkeypatch.setattr('sys.stdin', io.StringIO('builder\n'))
    assert main(['--database', database, '--add-user', 'bob']) == 0
    assert main(['--database', database, '--list-users']) == 0
    assert capsys.readouterr().out == 'alice\nbob\n'
    assert main(['--database', database, '--remove-user', 'bob']) == 0
    assert main(['--database', database, '--remove-user', 'bob']) == 2
    assert capsys.readouterr().err == 'greensip registrar: bob is no user of greensip\n'
    assert Database(database).usernames() == ['alice']
    assert main(['--database', database, '--domain', 'example.com', '--list-users']) == 0
    assert capsys.readouterr().out == ''


def test_where_a_password_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    database = str(tmp_path / 'db')
    monkeypatch.setattr('sys.stdin', io.StringIO(''))
    assert main(['--database', database, '--add-user', 'bob']) == 2
    assert 'bob needs a password' in capsys.readouterr().err
    assert Database(database).usernames() == []
    monkeypatch.setattr('sys.stdin', None)
    assert main(['--database', database, '--add-user', 'bob']) == 2
    assert 'bob needs a password' in capsys.readouterr().err
    monkeypatch.setenv('GREENSIP_PASSWORD', 'builder')
    assert main(['--database', database, '--add-user', 'bob']) == 0
    stored = Database(database)
    assert stored.usernames() == ['bob']
    monkeypatch.delenv('GREENSIP_PASSWORD')
    # In a terminal it is asked for, and not shown.
    main_end, other_end = pty.openpty()
    with os.fdopen(other_end) as terminal:
        monkeypatch.setattr('sys.stdin', terminal)
        monkeypatch.setattr('getpass.getpass', lambda prompt: 'typed' if 'carol' in prompt else '')
        assert main(['--database', database, '--add-user', 'carol']) == 0
    os.close(main_end)


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--list-users'], 'name the database with --database file'),
    (['--database', '/nowhere/db'], 'the database /nowhere/db cannot be used'),
    (['--users-file', '/nowhere/users'], 'the users cannot be read'),
    (['--anybody', '--listen', 'udp:127.0.0.1:99999'], 'is not a port'),
    (['--anybody', '--listen', 'sctp:127.0.0.1:0'], 'sctp'),
    (['--anybody', '--listen', 'udp:192.0.2.1:0'], 'cannot'),
    (['--anybody', '--listen', 'udp:127.0.0.1:0', '--pcap', '/nowhere/x'], '/nowhere/x'),
    (['--listen', 'udp:127.0.0.1:0'], 'nobody can register'),
    (['--anybody', '--listen', 'tls:127.0.0.1:0'], 'nobody can register: tls and wss'),
    (['--database', ':temporary', '--add-user', ''], 'a user needs a name'),
    (['--database', ':temporary', '--add-user', ':secret'], 'a user needs a name'),
    (['--database', ':temporary', '--remove-user', 'bob'], 'there is no database'),
    (['--database', ':temporary', '--list-users'], 'there is no database'),
    (['--database', ':temporary', '--add-user', 'bob:'], 'bob needs a password'),
    (['--database', ':temporary', '--add-user', 'bo\nb:x'], "'bo\\nb' cannot be the name of a user"),
    (['--anybody', '--user', 'bob:x'], '--anybody lets everybody register'),
    (['--anybody', '--listen', 'udp:127.0.0.1:0', '--min-expires', '100', '--max-expires', '50'],
     'no interval is 100 s at least and 50 s at most'),
    (['--anybody', '--listen', 'udp:127.0.0.1:0', '--hep', '::'], "cannot send to '::'"),
])
def test_complaints(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(tmp_path / 'db') if word == ':temporary' else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith('greensip registrar: ') and text in error.lower() and error.count('\n') == 1


@pytest.mark.parametrize('arguments', [['--user', 'alice'], ['--algorithms', 'MD4'], ['--expires', '0'],
                                       ['--user', 'alice:'], ['--domain', ''], ['--domain', 'a b'], ['--realm', ''],
                                       ['--domain', 'sip:example.com'], ['--domain', 'example.com:5060'],
                                       ['--realm', 'a\nb'], ['--database', ''], ['--users-file', ''],
                                       ['--min-expires', 'x'], ['--ring-time', 'nan'], ['--ring-time', '-5'],
                                       ['--nothing']])
def test_arguments_that_cannot_be_read(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert 'usage: greensip registrar' in capsys.readouterr().err


@pytest.mark.parametrize('domain', ['example.com', '127.0.0.1', '[::1]', 'EXAMPLE.com'])
def test_domains(domain: str, tmp_path: Path) -> None:
    assert main(['--database', str(tmp_path / 'db'), '--domain', domain, '--add-user', 'bob:x']) == 0


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert main(['--database', str(tmp_path / 'typo'), '--list-users']) == 2
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_where_it_asks_for_a_password(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr('sys.stdin', Terminal())
    monkeypatch.setattr('getpass.getpass', interrupted)
    assert main(['--database', str(tmp_path / 'db'), '--add-user', 'bob']) == 130
    assert capsys.readouterr().err == '\n'


def test_databases_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tmp_path / 'other')) as other:
        other.execute('PRAGMA user_version = 1')
    for arguments in (['--list-users'], ['--listen', 'udp:127.0.0.1:0']):
        assert main(['--database', str(tmp_path / 'other'), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith('greensip registrar: ') and 'no such table' in error and error.count('\n') == 1


@pytest.mark.parametrize('as_json', [False, True])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_it_tells_what_happens(tmp_path: Path, free_port: Callable[..., int], as_json: bool, number: int) -> None:
    port = free_port()
    command = [sys.executable, '-m', 'greensip.cli.registrar', '--listen', f'udp:127.0.0.1:{port}', '--anybody',
               '--domain', 'example.com', *(['--json'] if as_json else [])]
    with peers.Peer('registrar', command, tmp_path) as registrar:
        registrar.wait_for_text('listening')
        with UserAgent('udp:127.0.0.1:0', name='alice', watchdog=None) as ua:
            for tail in ('', ';expires=0'):
                ua.request('REGISTER', 'sip:example.com', to='sip:alice@example.com', route=f'sip:127.0.0.1:{port};lr',
                           headers={'Contact': f'<sip:alice@192.0.2.7>{tail}'}, timeout=10)
        registrar.wait_for_text('unregistered')
        registrar.send_signal(number)
        assert registrar.wait(10) == 0
        lines = registrar.printed().splitlines()
    if as_json:
        events = [json.loads(line) for line in lines]
        assert [event['event'] for event in events] == ['listening', 'registered', 'unregistered']
        assert events[1]['aor'] == 'alice@example.com' and events[1]['contacts'] == ['sip:alice@192.0.2.7']
    else:
        assert lines == [f'listening on udp:127.0.0.1:{port}', 'alice@example.com registered: sip:alice@192.0.2.7',
                         'alice@example.com unregistered: nowhere']


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(['--help'])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert 'greensip registrar --user alice:s3cret' in text and '--users-file' in text
