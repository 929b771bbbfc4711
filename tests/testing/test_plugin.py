"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from greensip.errors import RemoteCancel
from greensip.ua import IncomingLeg, UserAgent

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run(text, *arguments)`` gives what pytest prints about a file of tests."""
    def start(text: str, *arguments: str, ini: str = '') -> str:
        (tmp_path / 'test_it.py').write_text('import pytest\n' + textwrap.dedent(text))
        (tmp_path / 'pytest.ini').write_text(f'[pytest]\n{ini}\n')
        command = [sys.executable, '-m', 'pytest', '-p', 'greensip.testing.plugin', '-p', 'no:cacheprovider', '-rA',
                   '--strict-markers', '-W', 'error', *arguments]
        done = gevent.get_hub().threadpool.apply(lambda: subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**os.environ, 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}))
        return done.stdout + done.stderr

    return start


CALL = '''
    def handler(leg):
        leg.ring()
        leg.answer()
        leg.wait_ended()

    def call(sip_user_agent):
        bob = sip_user_agent(name='bob', strict=False)
        bob.serve(handler, background=True)
        return sip_user_agent(name='alice').invite(bob.uri)
'''


def test_a_strict_leg_fails_a_test_and_its_ladder_is_shown(run: Run) -> None:
    printed = run(CALL + '''
    def test_lazy(sip_user_agent):
        with call(sip_user_agent) as leg:
            leg.wait_for('200', timeout=2)

    def test_exact(sip_user_agent):
        with call(sip_user_agent) as leg:
            leg.wait_for('180', timeout=2)
            leg.wait_for('200', timeout=2)
    ''')
    assert '1 failed, 1 passed' in printed
    assert 'UnexpectedMessage: 180 from sip:bob@127.0.0.1' in printed
    assert printed.count('SIP ladder') == 1
    assert ' 180 INVITE -' in printed


def test_only_lines_of_the_test_are_shown(run: Run) -> None:
    text = CALL + '''
    def test_lazy(sip_user_agent):
        with call(sip_user_agent) as leg:
            leg.wait_for('200', timeout=2)
    '''
    printed = run(text)
    assert 'mailbox.py' not in printed and "leg.wait_for('200', timeout=2)" in printed
    assert 'UnexpectedMessage' in printed
    assert 'mailbox.py' in run(text, '--full-trace')
    printed = run('''
    def test_mistake_of_ours(sip_ua):
        class Broken:
            def __iter__(self):
                raise KeyError('ours')
        sip_ua.codecs = Broken()
        sip_ua.invite(sip_ua.uri)
    ''')
    assert 'agent.py' in printed and 'KeyError' in printed


def test_the_ladder_of_each_test_if_asked_for(run: Run) -> None:
    printed = run(CALL + '''
    def test_exact(sip_user_agent):
        with call(sip_user_agent) as leg:
            leg.wait_for('180', timeout=2)
            leg.wait_for('200', timeout=2)

    def test_without():
        pass
    ''', '--sip-ladder')
    assert '2 passed' in printed and printed.count(' 200 INVITE -') == 1


def test_incoming_legs_are_strict_too(run: Run) -> None:
    printed = run('''
    from greensip import UnexpectedMessage
    def test_accepted(sip_user_agent):
        alice, bob = sip_user_agent(strict=False, name='alice'), sip_user_agent(name='bob')
        with alice.invite(bob.uri) as leg:
            called = bob.accept(timeout=2)
            called.answer()
            leg.wait_for('200', timeout=2)
            leg.request('INFO', timeout=2)
            with pytest.raises(UnexpectedMessage):
                called.wait_for('MESSAGE', timeout=2)
            called.strict = False
            leg.request('INFO', timeout=2)
            leg.message('x', timeout=2)
            called.wait_for('MESSAGE', timeout=2)

    def test_served(sip_user_agent):
        def handler(leg):
            leg.answer()
            leg.wait_for('MESSAGE', timeout=2)
        alice, bob = sip_user_agent(strict=False), sip_user_agent()
        bob.serve(handler, background=True)
        with alice.call(bob.uri, timeout=2) as leg:
            leg.request('INFO', timeout=2)
            leg.wait_ended(timeout=2)

    def test_served_to_the_end(sip_user_agent):
        def handler(leg):
            leg.answer()
            leg.wait_for('INFO', timeout=2)
        alice, bob = sip_user_agent(strict=False), sip_user_agent()
        bob.serve(handler, background=True)
        with alice.call(bob.uri, timeout=2) as leg:
            leg.request('INFO', timeout=2)
            leg.wait_ended(timeout=2)
    ''')
    assert '3 passed, 1 error' in printed, printed
    assert 'ERROR test_it.py::test_served - greensip.errors.UnexpectedMessage: INFO from' in printed, printed
    assert 'SIP ladder' in printed


def test_what_nobody_waited_for_fails_the_test_in_the_end(run: Run) -> None:
    printed = run(CALL + '''
    def test_it(sip_user_agent):
        with call(sip_user_agent) as leg:
            leg.wait_for('180', timeout=2)
            leg.wait_for('200', timeout=2)
            leg.message('x', timeout=2)
            leg.strict = False
            leg.strict = True

    def test_more(sip_user_agent):
        def talkative(leg):
            leg.answer()
            leg.request('INFO', timeout=2)
            leg.wait_ended()
        bob = sip_user_agent(strict=False)
        bob.serve(talkative, background=True)
        with sip_user_agent().call(bob.uri, timeout=2) as leg:
            sip_user_agent().options(bob.uri, timeout=2)
            sip_user_agent().options(bob.uri, timeout=2)
    ''')
    assert '1 failed, 1 passed' in printed, printed
    assert 'UnexpectedMessage: INFO from' in printed and 'which nobody has waited for' in printed


def test_the_device_under_test(run: Run) -> None:
    text = '''
    def test_it(sip_ua, sip_dut):
        assert sip_ua.options(sip_dut, timeout=2).code == 200
    '''
    assert '1 skipped' in run(text) and 'give --sip-dut' in run(text)
    with UserAgent('udp:127.0.0.1:0', watchdog=None) as dut:
        assert '1 passed' in run(text, '--sip-dut', dut.uri)
        assert '1 passed' in run(text, ini=f'sip_dut = {dut.uri}')


def test_the_mark_gives_options(run: Run) -> None:
    printed = run('''
    @pytest.mark.sip('tcp:127.0.0.1:0', name='carol')
    def test_marked(sip_ua):
        assert sip_ua.name == 'carol' and 'transport=tcp' in sip_ua.uri

    @pytest.mark.sip(strict=False)
    def test_lenient(sip_ua):
        with sip_ua.invite(sip_ua.uri) as leg:
            sip_ua.accept(timeout=2).reject(404)
            leg.wait_for('404', timeout=2)
            assert not leg.strict

    def test_listen(sip_ua):
        assert sip_ua.points[0].transport == 'TCP'
    ''', '--sip-listen', 'tcp:127.0.0.1:0')
    assert '3 passed' in printed, printed


def test_virtual_time(run: Run) -> None:
    printed = run('''
    def test_it(sip_network):
        alice, bob = sip_network.user_agent('alice'), sip_network.user_agent('bob')
        bob.serve(lambda leg: (leg.answer(), leg.wait_ended()), background=True)
        with alice.call(sip_network.uri('bob'), timeout=5) as leg:
            sip_network.run(3600)
            assert leg.state == 'confirmed'
            assert False
    ''')
    assert 'SIP ladder' in printed and '|------ ACK ----->|' in printed


def test_what_is_left_is_hung_up(run: Run) -> None:
    with UserAgent('udp:127.0.0.1:0', watchdog=None) as dut:
        endings = []

        def ringing(leg: IncomingLeg) -> None:
            leg.ring()
            endings.append(leg.wait_ended(timeout=10).error)

        dut.serve(ringing, background=True)
        printed = run('''
        def test_it(sip_ua, sip_dut):
            sip_ua.invite(sip_dut).wait_for('180', timeout=2)
            1 / 0
        ''', '--sip-dut', dut.uri)
        assert '1 failed' in printed and 'ZeroDivisionError' in printed
        assert isinstance(endings[0], RemoteCancel)
