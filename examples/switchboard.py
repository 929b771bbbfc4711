"""An operator: answer a call, ask the expert, and connect the two of them.

    python examples/switchboard.py sip:expert@127.0.0.1:5080 --otherwise sip:desk@127.0.0.1:5082

The caller is put on hold while the expert is called.  If the expert answers, the caller's phone is told to take the
operator's place (an attended transfer); if not, it is told to call somebody else (a blind one).  A caller whose phone
does not take transfers is connected through the operator.  Prints a line per call; ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from greensip import Bridge, GreensipError, Leg, ResponseError, UserAgent


def make_operator(ua: UserAgent, expert: str, otherwise: str | None) -> Callable[[Leg], None]:
    """The handler for each call."""
    def connect(caller: Leg) -> None:
        caller.answer()
        caller.wait_for('ACK', timeout=10)
        caller.hold(timeout=10)
        who = caller.remote.uri
        try:
            with ua.call(expert, timeout=20) as helper:
                try:
                    outcome = caller.transfer_to(helper, timeout=20)
                    print(f'{who}: connected with the expert: {outcome.code} {outcome.reason}', flush=True)
                except ResponseError as error:
                    print(f'{who}: stays with us: {error}', flush=True)
                    caller.resume(timeout=10)
                    Bridge(caller, helper).wait()
                return
        except GreensipError as error:
            print(f'{who}: the expert cannot be reached: {error}', flush=True)
        if otherwise is not None:
            outcome = caller.transfer(otherwise, timeout=60)
            print(f'{who}: sent on: {outcome.code} {outcome.reason}', flush=True)

    return connect


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('expert', help='whom to ask')
    parser.add_argument('--otherwise', help='where callers are sent when the expert is not there')
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    options = parser.parse_args()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    try:
        ua = UserAgent(options.listen, name='operator')
    except GreensipError as error:
        parser.error(str(error))
    with ua:
        print('listening on', ua.uri, flush=True)
        ua.serve(make_operator(ua, options.expert, options.otherwise), background=True)
        stop.wait()


if __name__ == '__main__':
    main()
