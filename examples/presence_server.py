"""A presence server in memory: what phones publish, their watchers are told (RFC 3903, RFC 6665).

    python examples/presence_server.py --listen udp:127.0.0.1:5060 --allow alice --allow bob

Takes PUBLISH and SUBSCRIBE for presence, for the calls that are going on (dialog) and for waiting messages
(message-summary).  With ``--allow`` only those users of our own may be watched and published, all others get 403 and
404.  Prints a line per change; ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import signal

import gevent
from gevent.event import Event

from greensip import EventStateCompositor, GreensipError, IncomingRequest, IncomingSubscription, Notifier, UserAgent

PACKAGES = ('presence', 'dialog', 'message-summary')


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    parser.add_argument('--allow', action='append', default=[], metavar='USER', help='a user who may be watched')
    parser.add_argument('--shortest', type=int, default=60, help='shortest interval, seconds (default %(default)s)')
    options = parser.parse_args()

    def may_publish(incoming: IncomingRequest) -> bool | int:
        user = incoming.request.uri.user
        if options.allow and user not in options.allow:
            return 404
        print(f'{user} publishes', flush=True)
        return True

    def may_watch(subscription: IncomingSubscription) -> bool | int:
        user = subscription.resource.user
        if options.allow and user not in options.allow:
            return 403
        print(f'{subscription.from_.uri.user} watches {user} ({subscription.package})', flush=True)
        return True

    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    notifiers = [Notifier(package, min_expires=options.shortest, authorize=may_watch) for package in PACKAGES]
    compositor = EventStateCompositor(*notifiers, min_expires=options.shortest, authorize=may_publish)
    try:
        ua = UserAgent(options.listen, name='presence')
    except GreensipError as error:
        parser.error(str(error))
    with ua:
        for notifier in notifiers:
            ua.events(notifier.package, notifier)
        ua.handle('PUBLISH', compositor, blocking=False)
        print('listening on', ua.uri, flush=True)
        stop.wait()


if __name__ == '__main__':
    main()
