"""Daemon, log file, pid file: real processes and files."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greensip.cli.daemon import LogFile, PidFile
from greensip.errors import SetupError

PROGRAM = '''
import os, sys, time
from greensip.cli.daemon import LogFile, PidFile, detach
from gevent._hub_local import get_hub_if_exists
assert get_hub_if_exists() is None
log = LogFile(sys.argv[1])
parent = detach()
if sys.argv[3] == 'fail':
    sys.stderr.write('no luck\\n')
    parent.failed()
    sys.exit(2)
if sys.argv[3] == 'die':
    raise RuntimeError('unforeseen')
PidFile(sys.argv[2])
log.take_standard_streams()
parent.started()
print('directory', os.getcwd(), 'session', os.getsid(0) != os.getpid(), 'stdin', repr(sys.stdin.read()), flush=True)
sys.stderr.write('to stderr\\n')
time.sleep(60)
'''


def launch(folder: Path, end: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, '-c', PROGRAM, str(folder / 'log'), str(folder / 'pid'), end],
                          capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)


def wait_for(condition: object) -> None:
    until = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[LogFile]:
    handler = LogFile(str(tmp_path / 'log'))
    yield handler
    os.close(handler.descriptor)


def test_the_one_that_was_started_ends_when_the_daemon_runs(tmp_path: Path) -> None:
    result = launch(tmp_path, 'run')
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    pid = int((tmp_path / 'pid').read_text())
    try:
        wait_for(lambda: 'to stderr' in (tmp_path / 'log').read_text())
        assert (tmp_path / 'log').read_text() == "directory / session True stdin ''\nto stderr\n"
    finally:
        os.kill(pid, signal.SIGKILL)


def test_what_goes_wrong_is_told_before_detaching(tmp_path: Path) -> None:
    result = launch(tmp_path, 'fail')
    assert (result.returncode, result.stdout, result.stderr) == (2, '', 'no luck\n')
    assert (tmp_path / 'log').read_text() == ''


def test_an_unforeseen_end_is_told_as_well(tmp_path: Path) -> None:
    result = launch(tmp_path, 'die')
    assert result.returncode == 1
    assert 'RuntimeError: unforeseen' in result.stderr


def test_the_log_is_reopened(tmp_path: Path, log_file: LogFile) -> None:
    log = logging.getLogger('greensip.test')
    log.addHandler(log_file)
    try:
        log.warning('one \udcff')
        (tmp_path / 'log').rename(tmp_path / 'old')
        log.warning('two')
        log_file.reopen()
        log.warning('three')
    finally:
        log.removeHandler(log_file)
    assert (tmp_path / 'old').read_text().count('\n') == 2
    assert 'WARNING greensip.test one \\udcff\n' in (tmp_path / 'old').read_text()
    assert (tmp_path / 'log').read_text().endswith('three\n')


def test_a_log_that_cannot_be_reopened_goes_on_into_the_old_file(tmp_path: Path, log_file: LogFile) -> None:
    log_file.path = '/nonexistent/log'
    log_file.reopen()
    log_file.emit(logging.makeLogRecord({'msg': 'still here'}))
    assert 'still here' in (tmp_path / 'log').read_text()


def test_what_cannot_be_opened_is_told_in_a_sentence() -> None:
    with pytest.raises(SetupError) as caught:
        LogFile('/nonexistent/log')
    assert str(caught.value) == 'the log cannot be written to /nonexistent/log: No such file or directory'
    with pytest.raises(SetupError) as caught:
        PidFile('/nonexistent/pid')
    assert str(caught.value) == 'the pid file /nonexistent/pid cannot be written: No such file or directory'


def test_only_our_own_pid_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / 'pid'
    pid_file = PidFile(str(path))
    assert path.read_text() == f'{os.getpid()}\n'
    pid_file.remove()
    assert not path.exists()
    pid_file = PidFile(str(path))
    path.write_text('1\n')
    pid_file.remove()
    assert path.read_text() == '1\n'
    path.unlink()
    pid_file.remove()
