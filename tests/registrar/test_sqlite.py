"""The database: what it keeps, what it refuses, what it survives."""

from __future__ import annotations

import os
import sqlite3

import pytest

from greensip.errors import SetupError
from greensip.registrar import Binding, Database, StoreError

HOSTILE = ["'; DROP TABLE binding; --", '" OR 1=1 --', "Robert'); DELETE FROM user; --", '%', '_', '\\', '\x00', 'ä']


def binding(contact='sip:alice@192.0.2.7', **options):
    return Binding(contact, **{'call_id': '1', 'cseq': 1, 'expires': 100.0, **options})


def fields_of(one):
    return {name: getattr(one, name) for name in Binding.__slots__ if name not in ('_uri', 'flow')}


def test_bindings_come_back(tmp_path):
    database = Database(tmp_path / 'db')
    first = binding(params=';q=0.5', q=0.5, path=('<sip:p;lr>', '<sip:q;lr>'), instance='urn:1', reg_id=2, updated=7.0,
                    source='udp:192.0.2.7:5060', user_agent='phone', gruu='00' * 8)
    second = binding('sip:alice@192.0.2.8')
    database.change('alice@example.com', [first, second], [])
    assert (first.number, second.number) == (1, 2)
    refreshed = binding(expires=200.0, number=first.number)
    database.change('alice@example.com', [refreshed], [second])
    database.close()
    database.close()
    (aor, found), = Database(tmp_path / 'db').load()
    assert aor == 'alice@example.com' and fields_of(found) == fields_of(refreshed)


def test_a_change_is_made_as_a_whole(tmp_path):
    database = Database(tmp_path / 'db')
    first = binding()
    database.change('alice@example.com', [first], [])
    broken = binding('sip:\udcff')
    with pytest.raises(StoreError):
        database.change('alice@example.com', [binding('sip:new@h'), broken], [first])
    assert broken.number == 0
    assert [found.contact for _, found in database.load()] == [first.contact]
    database.change('alice@example.com', [binding('sip:new@h')], [first])
    assert [found.contact for _, found in database.load()] == ['sip:new@h']


def test_a_file_that_somebody_else_holds(tmp_path):
    database = Database(tmp_path / 'db')
    other = sqlite3.connect(tmp_path / 'db', isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    for put in ([binding()], [binding(), binding('sip:b@h')]):
        with pytest.raises(StoreError, match='locked'):
            database.change('alice@example.com', put, [])
    other.execute('ROLLBACK')
    other.close()
    database.change('alice@example.com', [binding()], [])
    assert len(list(database.load())) == 1


def test_what_is_no_database_of_ours(tmp_path):
    (tmp_path / 'text').write_text('this is no database, and rather long for a text of that kind' * 20)
    for path in (tmp_path / 'text', tmp_path, tmp_path / 'nowhere' / 'db'):
        with pytest.raises(SetupError, match='cannot be used'):
            Database(path)
    later = sqlite3.connect(tmp_path / 'later')
    later.execute('PRAGMA user_version = 2')
    later.close()
    with pytest.raises(SetupError, match='later version'):
        Database(tmp_path / 'later')


def test_another_programs_file_with_our_version_number(tmp_path):
    other = sqlite3.connect(tmp_path / 'other')
    other.execute('CREATE TABLE thing (name)')
    other.execute('PRAGMA user_version = 1')
    other.close()
    database = Database(tmp_path / 'other')
    with pytest.raises(StoreError, match='no such table'):
        database.secret('gruu', lambda: b'one')
    with pytest.raises(StoreError, match='no such table'):
        database.usernames()


def test_a_start_beside_somebody_who_writes(tmp_path):
    database = Database(tmp_path / 'db')
    other = sqlite3.connect(tmp_path / 'db', isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    with pytest.raises(StoreError, match='locked'):
        database.secret('gruu', lambda: b'one')
    other.execute('ROLLBACK')
    assert database.secret('gruu', lambda: b'one') == b'one'
    # What is there is only read.
    other.execute('BEGIN IMMEDIATE')
    assert database.secret('gruu', lambda: b'two') == b'one'
    other.close()


def test_what_is_as_good_as_passwords_is_the_owners(tmp_path):
    before = os.umask(0o022)
    try:
        database = Database(tmp_path / 'db')
        database.add_user('alice', 'wonderland')
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
        # The mode of a file that is there is its owner's business.
        (tmp_path / 'shared').touch(0o640)
        Database(tmp_path / 'shared').close()
        assert (tmp_path / 'shared').stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_secrets_stay(tmp_path):
    database = Database(tmp_path / 'db')
    assert database.secret('gruu', lambda: b'one') == b'one'
    database.close()
    assert Database(tmp_path / 'db').secret('gruu', lambda: b'two') == b'one'


def test_users(tmp_path):
    database = Database(tmp_path / 'db', 'example.com')
    database.add_user('alice', 'wonderland')
    database.add_user('bob', 'builder')
    assert set(database.hashes('alice')) >= {'MD5', 'SHA-256'}
    assert database.hashes('carol') is None
    before = database.hashes('alice')
    # Another program, and another realm in the same file
    Database(tmp_path / 'db', 'example.com').add_user('alice', 'other')
    assert database.hashes('alice') != before
    assert Database(tmp_path / 'db', 'example.net').hashes('alice') is None
    assert database.usernames() == ['alice', 'bob']
    assert database.remove_user('bob') and not database.remove_user('bob')
    assert database.hashes('bob') is None
    assert b'wonderland' not in (tmp_path / 'db').read_bytes() + (tmp_path / 'db-wal').read_bytes()


@pytest.mark.parametrize('name', HOSTILE)
def test_names_are_data(tmp_path, name):
    database = Database(tmp_path / 'db')
    database.add_user('alice', 'secret')
    assert database.hashes(name) is None
    database.add_user(name, 'secret')
    assert set(database.usernames()) == {'alice', name}
    database.change(f'{name}@h', [binding(f'sip:{name}@h', call_id=name, user_agent=name)], [])
    (aor, found), = database.load()
    assert (aor, found.contact, found.call_id) == (f'{name}@h', f'sip:{name}@h', name)
    assert database.remove_user(name)
    assert database.usernames() == ['alice']


def test_octets_that_are_no_text_are_nobodys_name():
    assert Database().hashes('\udcff') is None


def test_the_log_becomes_part_of_the_file(tmp_path):
    database = Database(tmp_path / 'db')
    database.change('alice@example.com', [binding(f'sip:alice@h{n}') for n in range(100)], [])
    assert database.pending == 1
    before = (tmp_path / 'db').stat().st_size
    assert database.tidy() > 0
    assert database.pending == 0 and (tmp_path / 'db').stat().st_size > before
    # The log is written again from its beginning.
    size = (tmp_path / 'db-wal').stat().st_size
    for found in [found for _, found in database.load()][:10]:
        database.change('alice@example.com', [], [found])
    assert (tmp_path / 'db-wal').stat().st_size == size
    database.begin_log_anew()
    assert sqlite3.connect(f'file:{tmp_path / "db"}?immutable=1', uri=True).execute(
        'SELECT count(*) FROM binding').fetchone() == (90,)


def test_one_in_memory_has_no_log():
    database = Database()
    database.change('alice@example.com', [binding()], [])
    assert database.pending == 0


def test_a_closed_one():
    database = Database()
    database.close()
    with pytest.raises(StoreError, match='closed'):
        database.change('alice@example.com', [binding()], [])
