"""Where passwords' hashes come from."""

from __future__ import annotations

import os

import pytest

from greensip.errors import SetupError
from greensip.message.digest import hash_password
from greensip.registrar import FileUsers, MemoryUsers


def line(name, password, algorithm='MD5', realm='example.com'):
    return f'{name}:{realm}:{hash_password(algorithm, name, realm, password)}\n'


def write(path, text):
    path.write_text(text)
    status = path.stat()
    # A second later, for file systems that count seconds
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def test_memory():
    users = MemoryUsers('example.com', {'alice': 'wonderland'})
    assert users.hashes('alice')['MD5'] == hash_password('MD5', 'alice', 'example.com', 'wonderland')
    assert 'wonderland' not in str(vars(users))
    assert users.remove('alice') and not users.remove('alice')
    assert users.hashes('alice') is None


def test_a_file(tmp_path):
    path = tmp_path / 'users'
    path.write_text('# our users\n\n' + line('alice', 'a') + line('alice', 'a', 'SHA-256') + line('bob', 'b')
                    + line('eve', 'e', realm='example.net'))
    users = FileUsers(path, 'example.com')
    assert set(users.hashes('alice')) == {'MD5', 'SHA-256'}
    assert users.hashes('eve') is None
    # Not everybody has a hash of SHA-256: it is not asked for.
    assert users.algorithms == ('MD5',)
    write(path, line('carol', 'c', 'SHA-256'))
    assert users.hashes('alice') is None and users.hashes('carol')
    assert users.algorithms == ('SHA-256',)
    # What happens to it later leaves the users as they were.
    write(path, 'rubbish')
    assert users.hashes('carol')
    path.unlink()
    assert users.hashes('carol')


@pytest.mark.parametrize('text', ['alice', 'alice:example.com', 'alice:example.com:xyz', ':example.com:' + '0' * 32,
                                  'alice:example.com:' + '0' * 31, 'a:b:c:d'])
def test_a_line_that_makes_no_sense(tmp_path, text):
    path = tmp_path / 'users'
    path.write_text(f'# users\n{text}\n')
    with pytest.raises(SetupError, match='line 2: write username:realm:hash'):
        FileUsers(path, 'example.com')


def test_no_file(tmp_path):
    with pytest.raises(SetupError, match='cannot be read'):
        FileUsers(tmp_path / 'nothing', 'example.com')
