"""The tests that sippy's modules bring along, after the shim has been imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

IMPORTS = {
    'shim': 'import greensip.compat.sippy\n',
    'sippy first': 'from sippy.Core.EventDispatcher import ED2\nimport sippy.Udp_server, sippy.Time.Timeout\n'
                   'import greensip.compat.sippy\n',
    'patched': 'from gevent import monkey; monkey.patch_all()\nimport greensip.compat.sippy\n',
}

#: made certain by the program itself, before it ends
ON_THE_SHIM = '''
from greensip.compat.sippy.dispatcher import Dispatcher
from sippy.Core.EventDispatcher import ED2
assert type(ED2) is Dispatcher
'''

CLI = '''
import runpy, socket, sys, threading, time
said = []

def talk(family, address):
    while True:
        with socket.socket(family) as skt:
            try:
                skt.connect(address)
            except OSError:
                time.sleep(0.02)
                continue
            skt.sendall(b'hi\\n')
            said.append(skt.makefile().readline())
            return

def both():
    talk(socket.AF_INET, ('127.0.0.1', 12345))
    talk(socket.AF_UNIX, '/tmp/test.sock')

client = threading.Thread(target=both, daemon=True)
client.start()
runpy.run_module('sippy.CLIManager', run_name='__main__')
client.join(5)
print(said)
'''


@pytest.mark.parametrize('how', IMPORTS)
def test_timeouts(run: Callable[..., str], how: str) -> None:
    printed = run(IMPORTS[how] + 'from sippy.Time import Timeout as T\nT.testTimeout()\nT.testTimeoutAbsMono()\n'
                  + ON_THE_SHIM)
    assert [line.split()[0] for line in printed.splitlines()] == ['test1', 'test3', 'test4', 'test6', 'test1', 'test3']


@pytest.mark.parametrize('how', IMPORTS)
def test_udp_server(run: Callable[..., str], private_network: list[str], how: str) -> None:
    printed = run(IMPORTS[how] + 'from sippy.Udp_server import self_test\nself_test().run()\n' + ON_THE_SHIM,
                  command=[*private_network, sys.executable])
    assert sorted(printed.split()) == ['ping_received', 'ping_received6', 'pong_received', 'pong_received6']


@pytest.mark.parametrize('how', IMPORTS)
def test_signals(run: Callable[..., str], how: str) -> None:
    printed = run(IMPORTS[how] + "import os, runpy\nos.dup2(1, 2)\n"
                  "runpy.run_module('sippy.Signal', run_name='__main__')\n" + ON_THE_SHIM)
    # LogSignal says which one came.
    assert re.fullmatch(r'.*/Signal::selftest: Registering signal 15 .*\n.*: Dispatching signal 15 .*\n', printed)


@pytest.mark.parametrize('how', IMPORTS)
def test_cli_manager(run: Callable[..., str], private_network: list[str], how: str) -> None:
    printed = run(IMPORTS[how] + CLI + ON_THE_SHIM, command=[*private_network, sys.executable])
    assert printed == "in: hi\nin: hi\n['hello, there!\\n', 'hello, there!\\n']\n"
