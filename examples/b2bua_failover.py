"""A back-to-back user agent in a page: two dialogs per call, routes tried in turn.

    python examples/b2bua_failover.py --listen udp:127.0.0.1:5060 --route 127.0.0.1:5080 --route 127.0.0.1:5082

A route that is busy or declines speaks for the person called, and the caller gets that; one that fails in another way,
or does not answer within ``--patience`` seconds, makes room for the next.  Progress (ringing, early media) passes to
the caller, session descriptions pass untouched, and so do holds and the like during the call.  Prints a line per
step; ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from greensip import (
    Bridge,
    Busy,
    Declined,
    GreensipError,
    Leg,
    LegGroup,
    ResponseError,
    TransactionTimeout,
    TransportError,
    UserAgent,
    WaitTimeout,
)


def make_b2bua(routes: list[str], patience: float) -> Callable[[Leg], None]:
    """The handler for each call."""
    def b2bua(a: Leg) -> None:
        user = a.to.uri.user
        with LegGroup(a) as group:
            for route in routes:
                b = group.invite(f'sip:{user}@{route}', from_=a.from_, sdp=a.offer, progress_to=a)
                try:
                    answer = b.wait_for('2xx', timeout=patience)
                except (Busy, Declined) as error:
                    print(f'{user} at {route}: {error}', flush=True)
                    a.reject(error.code, like=error.response)
                    return
                except (WaitTimeout, ResponseError, TransactionTimeout, TransportError) as error:
                    print(f'{user} at {route}: {error}, next', flush=True)
                    b.close()
                    continue
                print(f'{user} at {route}: answered', flush=True)
                a.answer(like=answer)
                gone = Bridge(a, b).wait()
                print(f'{user} at {route}: the {"caller" if gone is a else "callee"} hung up', flush=True)
                return
            a.reject(503)

    return b2bua


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    parser.add_argument('--route', action='append', required=True, help='HOST:PORT to try; repeatable')
    parser.add_argument('--patience', type=float, default=8, help='seconds for each route (default %(default)s)')
    options = parser.parse_args()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    try:
        ua = UserAgent(options.listen, name='b2bua')
    except GreensipError as error:
        parser.error(str(error))
    with ua:
        print('listening on', ua.uri, flush=True)
        ua.serve(make_b2bua(options.route, options.patience), background=True)
        stop.wait()


if __name__ == '__main__':
    main()
