"""The scripts of the README for those who come from PJSUA: they register with us, call, and tell the outcome."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from benchmarks import peers

from greensip import IncomingLeg, RemoteHangup, UserAgent
from greensip.registrar import MemoryUsers, Registrar

from .conftest import aside

README = (Path(__file__).parents[2] / 'README.rst').read_text(encoding='utf-8')
SECTION = README.partition('Coming from PJSUA\n')[2].partition('\nComing from ')[0]
SCRIPTS = {('pjsua2' if 'pjsua2' in text else 'greensip'): textwrap.dedent(text) for text in re.findall(
    r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)', SECTION)}


class Site:
    """A registrar with alice and bob, and bob."""

    def __init__(self) -> None:
        self.endings: list[BaseException | None] = []
        self.refuse = 0
        self.registered: list[str] = []


@pytest.fixture
def site() -> Iterator[tuple[Site, str]]:
    made = Site()

    def bob_handles(leg: IncomingLeg) -> None:
        if made.refuse:
            leg.reject(made.refuse)
            return
        leg.ring()
        gevent.sleep(0.1)
        leg.answer()
        made.endings.append(leg.wait_ended(timeout=20).error)

    with (UserAgent('udp:127.0.0.1:0', watchdog=None) as server, UserAgent('udp:127.0.0.1:0', watchdog=None) as ua,
          Registrar(server, users=MemoryUsers('greensip', {'alice': 's3cret', 'bob': 'b0b'}), algorithms=('MD5',),
                    on_change=lambda change: made.registered.append(f'{change.aor} {change.why}'))):
        host = f'127.0.0.1:{server.points[0].address[1]}'
        ua.serve(bob_handles, background=True)
        with ua.account(f'sip:bob@{host}', password='b0b') as bob:
            bob.register(timeout=5)
            yield made, host


@pytest.mark.parametrize('kind', ['pjsua2', 'greensip'])
@pytest.mark.parametrize(('refuse', 'password', 'said'), [
    (0, 's3cret', 'talking'), (486, 's3cret', 'busy'), (404, 's3cret', 'refused 404'), (0, 'wrong', '')])
def test_the_script(site: tuple[Site, str], kind: str, refuse: int, password: str, said: str,
                    needs: Callable[..., None], running: list[peers.Peer], folder: Path) -> None:
    made, host = site
    made.refuse = refuse
    script = folder / f'with_{kind}.py'
    if kind == 'pjsua2':
        needs('module:pjsua2')
    script.write_text(SCRIPTS[kind].replace('pbx.example.com', host).replace('s3cret', password))
    peer = peers.Peer(kind, [sys.executable, '-u', script], folder)
    running.append(peer)
    status = aside(peer.wait, 40)
    lines = [line for line in peer.printed().splitlines() if not re.match(r'\d\d:\d\d:\d\d', line)]
    if password == 'wrong':
        assert any(line.startswith(('not registered', 'refused 401')) for line in lines), peer.printed()
        return
    assert status == 0
    assert said in lines or (kind == 'greensip' and lines[0] == said), peer.printed()
    if said == 'talking':
        assert [type(error) for error in made.endings] == [RemoteHangup]
    assert made.registered[-2:] == ['alice@greensip registered', 'alice@greensip unregistered']
