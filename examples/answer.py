"""Answer every call, with a session description but without audio.

    python examples/answer.py --listen udp:127.0.0.1:5080

Prints where it listens, then a line for each call when it is over.  OPTIONS is answered 200 by itself.  Ends with
status 0 on SIGINT and SIGTERM; calls that are still up are hung up.  Try it with ``examples/call.py``.
"""

from __future__ import annotations

import argparse
import signal

import gevent
from gevent.event import Event

from greensip import GreensipError, Leg, LegEnded, ParseError, UserAgent


def answer(leg: Leg) -> None:
    """One call, in a greenlet of its own."""
    try:
        leg.ring()
        leg.answer()
        outcome = leg.wait_ended().error
    except LegEnded as ending:
        outcome = ending
    except ParseError as error:
        # The caller's session description makes no sense.
        leg.reject(error.status)
        outcome = error
    print(f'{leg.call_id}: {leg.remote.uri} called {leg.local.uri}: {outcome}', flush=True)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', action='append', help='where to listen, udp:HOST:PORT; repeatable')
    options = parser.parse_args()
    try:
        ua = UserAgent(*(options.listen or ['udp:127.0.0.1:5080']), name='answer')
    except GreensipError as error:
        # Such as a port in use: a sentence, and status 2.
        parser.error(str(error))
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    with ua:
        print('listening on', ua.uri, flush=True)
        ua.serve(answer, background=True)
        stop.wait()


if __name__ == '__main__':
    main()
