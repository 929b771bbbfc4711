"""sippy's suite ``voiptests`` in one run: its alice calls its bob through sippy's ``b2bua`` and RTPProxy.

``sippy_voiptests.py REPOSITORY FOLDER HOW [--short]`` wants ports 5060 to 5062, so run it in a network namespace of
its own; HOW says on what the three programs run, as in ``benchmarks.peers.SIPPY``.  Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'scripts'))

from benchmarks import peers  # noqa: E402

SIGNALLING = '1,2,3,4,5,6,7,8,9,10,early_cancel,early_cancel_lost100,reinvite,reinv_fail,reinv_onhold,reinv_frombob,' \
             'reinv_brkn1,reinv_brkn2,inv_brkn1'
#: these wait until RTPProxy tells the B2BUA that no media comes
NO_MEDIA = '11,12,13,14,reinv_bad_ack'
FORMATS = '18,0,2,4,8,[G726-40/8000],[G726-24/8000],[G726-16/8000],[telephone-event/8000]'
ROUTE = 'localhost:5062;ash=SIP-Hello1%3A%20World%21;ash=SIP-Hello2%3A%20World%21'


def run(repository: Path, folder: Path, how: str, short: bool) -> dict[str, object]:
    """How each of the programs ended, and how many calls went as they should."""
    cases = SIGNALLING if short else f'{SIGNALLING},{NO_MEDIA}'
    seconds = 45 if short else 75
    command = folder / 'b2bua.sock'
    with peers.stopped_at_end([]) as running:
        def start(name: str, *words: str) -> peers.Peer:
            peer = peers.Peer(name, ['env', '-C', str(repository), sys.executable, *words], folder, env={
                'MM_AUTH': 'simple', 'SIPLOG_BEND': 'file', 'SIPLOG_LOGFILE_FILE': str(folder / f'{name}.sip'),
                'PYTHONPATH': os.pathsep.join([str(repository), *filter(None, [os.environ.get('PYTHONPATH')])]),
                'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONUNBUFFERED': '1'})
            running.append(peer)
            return peer

        running.append(peers.rtpproxy(folder, 'udp:127.0.0.1:22222', options=[
            '-l', '0.0.0.0', '-6', '/::', '-n', f'unix:{command}', '-W', '30', '-T', '45']))
        *prefix, last = peers.SIPPY[how]
        assert last == '-m'
        bob = start('bob', *prefix, 'bob.py', '-l', '*', '-P', '5062', '-T', str(seconds + 6))
        b2bua = start('b2bua', *prefix, '-m', 'sippy.b2bua', '--sip_address=*', '--sip_port=5060', '--foreground=on',
                      '--acct_enable=off', '--auth_enable=off', f'--static_route={ROUTE}',
                      f'--b2bua_socket=unix:{command}', '--rtp_proxy_clients=udp:127.0.0.1:22222',
                      f'--allowed_pts={FORMATS}', f'--logfile={folder / "b2bua.log"}')
        for peer, port in ((bob, 5062), (b2bua, 5060)):
            peer.wait_for_port(port)
        alice = start('alice', *prefix, 'alice.py', '-l', '*', *(('-4', '-s') if short else ('-46',)), '-t', cases,
                      '-P', '5061', '-T', str(seconds))
        # Alice's status is the number of her calls that failed, bob's that of his and 1 unless his time ran out.
        alice_failed = alice.wait(seconds + 20)
        bob_failed = bob.wait(30)
        survived = b2bua.running()
        calls = len(re.findall('^Scheduling test', alice.printed(), re.MULTILINE))
        return {'calls': calls, 'good': calls - alice_failed, 'bob': bob_failed, 'b2bua': survived,
                'printed': {peer.name: peer.printed()[-3000:] for peer in (alice, bob, b2bua)}}


def main() -> int:
    """Status 0 when all calls went as they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('repository', type=Path)
    parser.add_argument('folder', type=Path)
    parser.add_argument('how', choices=[*peers.SIPPY])
    parser.add_argument('--short', action='store_true', help='IPv4, signalling only, no waiting for lost media')
    options = parser.parse_args()
    result = run(options.repository.resolve(), options.folder.resolve(), options.how, options.short)
    print(json.dumps(result))
    return 0 if result['good'] == result['calls'] and result['bob'] == 0 and result['b2bua'] else 1


if __name__ == '__main__':
    sys.exit(main())
