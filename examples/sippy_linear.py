"""The program of ``sippy_legacy.py`` in the linear style: a call is a function that one reads from top to bottom.

    python examples/sippy_linear.py --listen udp:127.0.0.1:5060 --route 127.0.0.1:5080 --route 127.0.0.1:5082

Does and prints the same, and needs no sippy: a state of the controller there is a place in the text here, its events
are what ``wait_for`` returns or raises, and what it passes from UA to UA during the call is a ``Bridge``.  Ends on
SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from greensip import (
    Bridge,
    GreensipError,
    IncomingLeg,
    LegEnded,
    LegGroup,
    ResponseError,
    TransactionTimeout,
    TransportError,
    UserAgent,
    WaitTimeout,
    parse_uri,
)


def make_b2bua(routes: list[str], patience: float) -> Callable[[IncomingLeg], None]:
    """The handler for each call."""
    def b2bua(a: IncomingLeg) -> None:
        user = a.invite.uri.user
        failure: GreensipError | None = None

        def say(text: object) -> None:
            print(f'{user} at {route}: {text}', flush=True)

        with LegGroup(a) as group:
            for route in routes:
                target = parse_uri(f'sip:{route}').replace(user=user)
                b = group.invite(target, from_=a.from_, sdp=a.offer, progress_to=a)
                try:
                    answer = b.wait_for('2xx', timeout=patience)
                except (ResponseError, WaitTimeout, TransactionTimeout, TransportError) as error:
                    failure = error
                    say(error)
                    b.close()
                    continue
                except LegEnded:
                    say('the caller hung up')
                    raise
                say('answered')
                a.answer(like=answer)
                gone = Bridge(a, b).wait()
                say(f'the {"caller" if gone is a else "callee"} hung up')
                return
            a.reject(failure.status if failure else 404, like=getattr(failure, 'response', None))

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
