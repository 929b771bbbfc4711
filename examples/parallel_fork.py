"""Ring several phones at once; the first to answer gets the call.

    python examples/parallel_fork.py --listen udp:127.0.0.1:5060 sip:desk@127.0.0.1:5080 sip:mobile@127.0.0.1:5082

The others are cancelled; should one of them answer at the same moment, it is hung up.  When nobody answers within
``--patience`` seconds the caller gets 480, when all refuse, the best of their refusals.  Prints a line per call;
ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from greensip import Bridge, GreensipError, Leg, LegGroup, UserAgent, WaitTimeout


def make_fork(targets: list[str], patience: float) -> Callable[[Leg], None]:
    """The handler for each call."""
    def fork(a: Leg) -> None:
        with LegGroup(a) as group:
            for target in targets:
                group.invite(target, from_=a.from_, sdp=a.offer)
            a.ring()
            try:
                b = group.first('2xx', timeout=patience)
            except WaitTimeout:
                print(f'{a.remote.uri}: nobody answered', flush=True)
                a.reject(480)
                return
            print(f'{a.remote.uri}: answered by {b.remote.uri}', flush=True)
            a.answer(like=b.response)
            Bridge(a, b).wait()

    return fork


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('targets', nargs='+', help='URIs to ring')
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    parser.add_argument('--patience', type=float, default=20, help='seconds (default %(default)s)')
    options = parser.parse_args()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    try:
        ua = UserAgent(options.listen, name='fork')
    except GreensipError as error:
        parser.error(str(error))
    with ua:
        print('listening on', ua.uri, flush=True)
        ua.serve(make_fork(options.targets, options.patience), background=True)
        stop.wait()


if __name__ == '__main__':
    main()
