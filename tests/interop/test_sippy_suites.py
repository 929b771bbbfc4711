"""sippy's own tests, its suite ``voiptests`` and its client of RTPProxy, all on the shim.

GREENSIP_SIPPY_REPO and GREENSIP_VOIPTESTS_REPO name copies of the repositories ``sippy/b2bua`` and
``sippy/voiptests``, bare or with files; without them what needs them is skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

ON_THE_SHIM = pytest.mark.parametrize('how', ['shim', 'patched'])

#: with the namespace's own loopback and its own idea of names
INSIDE = 'ip link set lo up && mount --bind "$0" /etc/hosts && exec "$@"'


def repository(variable: str, folder: Path) -> Path:
    """The files of the repository that the environment variable names."""
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f'{variable} is not set')
    files = folder / 'repository'
    if Path(named, 'README.md').exists():
        shutil.copytree(named, files, ignore=shutil.ignore_patterns('.git'), symlinks=True)
    else:
        subprocess.run(['git', 'clone', '--quiet', named, files], check=True, timeout=60)
    return files


@pytest.fixture
def in_namespace(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``in_namespace(command, timeout=)`` runs it where all ports are free and ``b2bua.org`` is the loopback."""
    unshare = ['unshare', '--net', '--mount', '--kill-child', '--fork']
    if shutil.which('unshare') is None or subprocess.run([*unshare, 'true'], capture_output=True).returncode:
        pytest.skip('no network namespaces here')
    hosts = folder / 'hosts'
    hosts.write_text('127.0.0.1 localhost b2bua.org\n::1 localhost\n')

    def run(*command: str | Path, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*unshare, 'sh', '-c', INSIDE, hosts, *command], cwd=folder, capture_output=True,
                              text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL)

    return run


@ON_THE_SHIM
def test_sippys_unit_tests(needs: Callable[..., None], folder: Path, how: str,
                           in_namespace: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    needs('module:sippy')
    # Only its tests: what they import is what is installed.
    shutil.copytree(repository('GREENSIP_SIPPY_REPO', folder) / 'tests', folder / 'copy' / 'tests')
    done = in_namespace(sys.executable, *peers.SIPPY[how], 'pytest', '-q', '-p', 'no:cacheprovider', '--rootdir',
                        folder / 'copy', folder / 'copy' / 'tests', timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r'^23 passed', done.stdout, re.MULTILINE), done.stdout


@ON_THE_SHIM
@pytest.mark.parametrize('form', ['short', 'full'])
def test_voiptests(needs: Callable[..., None], folder: Path, how: str, form: str,
                   in_namespace: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    needs('module:sippy', 'module:rtp')
    files = repository('GREENSIP_VOIPTESTS_REPO', folder)
    done = in_namespace(sys.executable, Path(__file__).with_name('sippy_voiptests.py'), files, folder, how,
                        *(['--short'] if form == 'short' else []), timeout=118)
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    calls = {'short': 38, 'full': 96}[form]
    assert (result['calls'], result['good'], result['bob'], result['b2bua']) == (calls, calls, 0, True), '\n'.join(
        f'--- {name}\n{printed}' for name, printed in result['printed'].items())


@ON_THE_SHIM
@pytest.mark.parametrize('transport', ['udp', 'unix', 'cunix', 'tcp', 'rtp.io'])
def test_rtpproxy_client(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
                         free_port: Callable[..., int], how: str, transport: str) -> None:
    needs('module:sippy', 'module:rtp')
    address = {'udp': f'udp:127.0.0.1:{free_port()}', 'tcp': f'tcp:127.0.0.1:{free_port()}', 'rtp.io': 'rtp.io:'}.get(
        transport, f'{transport}:{folder / "control"}')
    if transport != 'rtp.io':
        running.append(peers.rtpproxy(folder, address, options=['-l', '127.0.0.1']))
    program = folder / 'program.py'
    program.write_text(f"from sippy.Rtp_proxy.client import test\ntest('VF 20081224', spath={address!r})\n")
    *prefix, _ = peers.SIPPY[how]
    client = peers.Peer('client', [sys.executable, *prefix, program], folder)
    running.append(client)
    assert client.wait(20) == 0, client.printed()
    # The answer to the question for a capability, and the parameter that went with it.
    assert "('1', 'abcd')\npassed\n" in client.printed()
