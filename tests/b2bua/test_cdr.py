"""Call records: nothing is lost, nobody waits."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import gevent
import pytest

from greensip.b2bua import cdr
from greensip.b2bua.cdr import CdrFile
from greensip.errors import SetupError


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def until(condition: object) -> None:
    with gevent.Timeout(5):
        while not condition():  # type: ignore[operator]
            gevent.sleep(0.005)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdr, 'DELAY', 0.001)
    monkeypatch.setattr(cdr, 'RETRY', 0.01)


def test_records_are_appended_in_order(tmp_path: Path) -> None:
    path = tmp_path / 'cdr'
    path.write_text('{"old":1}\n')
    records = CdrFile(str(path))
    records.write({'call_id': 'a', 'cld': '1\r\nInjected: \u2028 \udcff"'})
    until(lambda: len(lines(path)) == 2)
    records.write({'call_id': 'b'})
    records.close()
    assert lines(path) == [{'old': 1}, {'call_id': 'a', 'cld': '1\r\nInjected: \u2028 \udcff"'}, {'call_id': 'b'}]


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    path = tmp_path / 'cdr'
    records = CdrFile(str(path))
    for number in range(1000):
        records.write({'n': number})
    records.close()
    records.close()
    assert lines(path) == [{'n': number} for number in range(1000)]


def test_a_file_that_was_moved_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / 'cdr'
    records = CdrFile(str(path))
    records.write({'n': 1})
    until(lambda: path.read_text())
    path.rename(tmp_path / 'old')
    records.write({'n': 2})
    until(lambda: len(lines(tmp_path / 'old')) == 2)
    records.reopen()
    until(path.exists)
    records.write({'n': 3})
    records.close()
    assert lines(path) == [{'n': 3}]


def test_what_cannot_be_opened_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r'^the records cannot be written to /nonexistent/cdr: No such file'):
        CdrFile('/nonexistent/cdr')
    with pytest.raises(SetupError, match='Is a directory'):
        CdrFile(str(tmp_path))
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(SetupError, match='No such device'):
        CdrFile(str(tmp_path / 'pipe'))


def test_a_full_disk_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A pipe that is full stands for the disk; what it took is in ``taken``.
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    records = CdrFile(str(tmp_path / 'pipe'))
    expected = [{'n': number, 'text': 'x' * 100} for number in range(3000)]
    for record in expected:
        records.write(record)
    until(lambda: records.trouble)
    taken = b''
    for _ in range(500):
        try:
            taken += os.read(reader, 1 << 20)
        except BlockingIOError:
            pass
        if taken.count(b'\n') == len(expected):
            break
        gevent.sleep(0.005)
    records.close()
    os.close(reader)
    assert [json.loads(line) for line in taken.splitlines()] == expected
    assert 'call records wait' in caplog.text and 'takes records again' in caplog.text


def test_a_line_cut_by_a_full_disk_goes_whole_into_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    records = CdrFile(str(path))
    expected = [{'n': number, 'text': 'x' * 997} for number in range(200)]
    for record in expected:
        records.write(record)
    until(lambda: records.trouble)
    taken = os.read(reader, 1 << 20)
    path.unlink()
    records.reopen()
    until(path.exists)
    records.close()
    os.close(reader)
    whole = [json.loads(line) for line in taken.split(b'\n')[:-1]]
    assert 0 < len(whole) < len(expected)
    assert whole + lines(path) == expected


def test_a_slow_disk_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = CdrFile(str(tmp_path / 'cdr'))
    write = os.write
    writing, go_on = threading.Event(), threading.Event()

    def slow(descriptor: int, data: bytes) -> int:
        writing.set()
        assert go_on.wait(5.0)
        return write(descriptor, data)

    monkeypatch.setattr(cdr.os, 'write', slow)
    records.write({'n': 1})
    until(writing.is_set)
    # A hub that waited for the disk would not get here before the disk has gone on.
    gevent.sleep(0)
    assert lines(tmp_path / 'cdr') == []
    go_on.set()
    records.close()
    assert lines(tmp_path / 'cdr') == [{'n': 1}]


def test_a_record_that_no_memory_is_left_for_goes_to_the_log(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cdr, 'MAX_WAITING', 10)
    records = CdrFile(str(tmp_path / 'cdr'))
    monkeypatch.setattr(cdr.os, 'write', lambda *_: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    records.write({'n': 'first'})
    until(lambda: records.trouble)
    records.write({'n': 'second'})
    assert 'second' in caplog.text
    monkeypatch.undo()
    records.close()
    assert lines(tmp_path / 'cdr') == [{'n': 'first'}]
