"""Calls through greensip-b2bua, shown as ladders; ``scripts/demo`` runs this.

A calling user agent and two answering ones, the routes, run here; the B2BUA runs in a process of its own.  The first
route does what the number dialled says: answers, is busy, or rings on.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from greensip import GreensipError, Leg, RequestTerminated, UserAgent
from greensip.testing import Ladder

#: seconds for the B2BUA to start, and for anything else to happen
PATIENCE = 15


def free_port() -> int:
    """A UDP port of the loopback that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Let everybody else run until ``condition()`` is true; gives what it returned."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f'{what} did not happen within {PATIENCE} s')
        gevent.sleep(0.01)
    return found


def route_1(leg: Leg) -> None:
    """The first route."""
    if leg.to.uri.user == 'busy':
        leg.reject(486)
        return
    leg.ring()
    if leg.to.uri.user != 'nobody':
        gevent.sleep(0.2)
        leg.answer()
    leg.wait_ended()


def route_2(leg: Leg) -> None:
    """The second route answers."""
    leg.ring()
    gevent.sleep(0.1)
    leg.answer()
    leg.wait_ended()


def answered(caller: UserAgent, uri: str) -> Leg:
    """Talks for a moment and hangs up."""
    with caller.call(uri.replace('anybody', 'alice'), timeout=PATIENCE) as leg:
        gevent.sleep(0.3)
    return leg


def fails_over(caller: UserAgent, uri: str) -> Leg:
    """Busy at the first route: the second one answers."""
    with caller.call(uri.replace('anybody', 'busy'), timeout=PATIENCE) as leg:
        gevent.sleep(0.1)
    return leg


def cancelled(caller: UserAgent, uri: str) -> Leg:
    """Rings, and the caller gives up."""
    with caller.invite(uri.replace('anybody', 'nobody')) as leg:
        leg.wait_for('180', timeout=PATIENCE)
        gevent.sleep(0.2)
        leg.cancel()
        try:
            leg.wait_for('200', timeout=PATIENCE)
            raise AssertionError('a cancelled call was answered')
        except RequestTerminated:
            pass
    return leg


#: what is shown, the messages that must be seen in this order, and what the call record must say
SCENES: list[tuple[Callable[[UserAgent, str], Leg], tuple[str, ...], dict[str, object]]] = [
    (answered, (
        'caller -> b2bua: INVITE', 'b2bua -> route_1: INVITE', 'route_1 -> b2bua: 200 INVITE',
        'b2bua -> caller: 200 INVITE', 'caller -> b2bua: ACK', 'caller -> b2bua: BYE', 'b2bua -> route_1: BYE',
    ), {'code': 200, 'released_by': 'caller', 'attempts': 0}),
    (fails_over, (
        'b2bua -> route_1: INVITE', 'route_1 -> b2bua: 486 INVITE', 'b2bua -> route_2: INVITE',
        'route_2 -> b2bua: 200 INVITE', 'b2bua -> caller: 200 INVITE', 'b2bua -> route_2: BYE',
    ), {'code': 200, 'released_by': 'caller', 'attempts': 1}),
    (cancelled, (
        'b2bua -> route_1: INVITE', 'b2bua -> caller: 180 INVITE', 'caller -> b2bua: CANCEL',
        'b2bua -> route_1: CANCEL', 'route_1 -> b2bua: 487 INVITE',
    ), {'code': 487, 'released_by': 'caller', 'attempts': 0}),
]


def check_order(ladder: Ladder, expected: tuple[str, ...]) -> None:
    """The messages must be there in this order, others may stand between."""
    lines = iter(ladder.lines())
    for message in expected:
        if message not in lines:
            raise AssertionError(f'missing, or out of order: {message}')


def check_record(record: dict[str, Any], expected: dict[str, object]) -> None:
    """The call record must say what happened."""
    for name, value in expected.items():
        found = len(record[name]) if name == 'attempts' else record[name]
        if found != value:
            raise AssertionError(f'the record says {name} {found!r}, not {value!r}')


def run(folder: Path, output: Any) -> None:
    """Start everything, play the scenes.  Raises AssertionError, GreensipError."""
    ladder = Ladder()
    records = folder / 'cdr.jsonl'
    port = free_port()
    uri = f'sip:anybody@127.0.0.1:{port}'
    with UserAgent('udp:127.0.0.1:0', name='caller') as caller, \
            UserAgent('udp:127.0.0.1:0', name='route_1') as first, \
            UserAgent('udp:127.0.0.1:0', name='route_2') as second:
        first.serve(route_1, background=True)
        second.serve(route_2, background=True)
        routes = [word for ua in (first, second) for word in ('-s', ua.points[0].sent_by)]
        command = [sys.executable, '-m', 'greensip.cli.b2bua', '-f', '-l', '127.0.0.1', '-p', str(port), '-u', *routes,
                   '--cdr', str(records), '-c', str(folder / 'command')]
        print('$ greensip-b2bua', *command[3:], end='\n\n')
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: process.poll() is not None or is_up(caller, uri), 'the start of the B2BUA')
            # Columns stand in the order of naming: the B2BUA between the caller and the routes.
            ladder.add(caller.endpoint, caller.name)
            ladder.name(('127.0.0.1', port), 'b2bua')
            for ua in (first, second):
                ladder.add(ua.endpoint, ua.name)
            for number, (scene, messages, expected) in enumerate(SCENES, 1):
                print(f'{number}. {scene.__name__.replace("_", " ")}: {scene.__doc__}\n')
                leg = scene(caller, uri)
                wait_until(lambda: not (caller.legs or first.legs or second.legs), 'the end of the call')
                lines = wait_until(lambda number=number: read_lines(records, number), 'the call record')
                part = ladder.part(*(name for name in ladder.call_ids if name.startswith(leg.call_id)))
                print(part, end='\n\n')
                check_order(part, messages)
                check_record(json.loads(lines[-1]), expected)
            print('Call records:\n')
            for line in read_lines(records, len(SCENES)):
                print(line)
            process.terminate()
            if process.wait(PATIENCE):
                raise AssertionError(f'the B2BUA ended with status {process.returncode}')
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def is_up(caller: UserAgent, uri: str) -> bool:
    """Does it answer OPTIONS yet?"""
    try:
        caller.options(uri, timeout=0.3)
    except GreensipError:
        return False
    return True


def read_lines(path: Path, count: int) -> list[str]:
    """The lines of a file that should have ``count`` of them; nothing before that."""
    lines = path.read_text().splitlines() if path.exists() else []
    return lines if len(lines) >= count else []


def main() -> int:
    """Status 0 if all went as it should."""
    folder = Path(tempfile.mkdtemp(prefix='greensip-demo-'))
    log = folder / 'b2bua.log'
    try:
        with log.open('wb') as output:
            run(folder, output)
    except (AssertionError, GreensipError) as error:
        print(f'\nFAILED: {error}\n\n{log.read_text()}', file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print('\nAll calls went as they should.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
