"""A redirect server: sends every caller elsewhere with a 302.

    python examples/redirect.py --listen udp:127.0.0.1:5060 --to 127.0.0.1:5080

The number dialled is kept.  Several ``--to`` are offered in that order.  A greensip caller follows with
``ua.invite(uri, follow=3)``.  Prints a line per call; ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from greensip import GreensipError, Leg, UserAgent


def make_redirect(hosts: list[str]) -> Callable[[Leg], None]:
    """The handler for each call."""
    def redirect(leg: Leg) -> None:
        user = leg.to.uri.user
        contacts = [f'<sip:{user}@{host}>;q={1 - number / 10:.1f}' for number, host in enumerate(hosts)]
        leg.redirect(contacts)
        print(f'{leg.remote.uri} wants {user}: {", ".join(hosts)}', flush=True)

    return redirect


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    parser.add_argument('--to', action='append', required=True, help='HOST:PORT to send callers to; repeatable')
    options = parser.parse_args()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    try:
        ua = UserAgent(options.listen, name='redirect')
    except GreensipError as error:
        parser.error(str(error))
    with ua:
        print('listening on', ua.uri, flush=True)
        ua.serve(make_redirect(options.to), background=True)
        stop.wait()


if __name__ == '__main__':
    main()
