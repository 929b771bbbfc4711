"""Presence: who is there, who is busy, and what became of a message.

    python examples/buddy.py --name bob --listen udp:127.0.0.1:5080 --status busy --note 'In a meeting'
    python examples/buddy.py --name alice sip:bob@127.0.0.1:5080 'Dinner is ready'

The first one tells his presence to who asks for it, prints the texts that come, has time from the first of them on, and
ends on SIGINT and SIGTERM.  The second one watches him and prints each change; his text asks to be told when it has
been displayed.  It ends on SIGINT and SIGTERM, too, and when the other one is no longer there.
"""

from __future__ import annotations

import argparse
import signal
import sys

import gevent

from greensip import Buddy, GreensipError, Status, SubscriptionEnded, UserAgent


def be_watched(ua: UserAgent, status: Status) -> None:
    """Tell our presence and take texts until a signal comes."""
    ua.presence = status
    inbox = ua.messages
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, inbox.close)
    print('listening on', ua.uri, flush=True)
    for message in inbox:
        print(f'{message.from_.uri.user}: {message.text}', flush=True)
        message.report('displayed')
        ua.presence = 'online'
    ua.presence = 'offline'


def report(buddy: Buddy) -> None:
    """Print what becomes of our text."""
    while True:
        print(f'{buddy.wait_for("report").detail}', flush=True)


def watch(ua: UserAgent, uri: str, text: str) -> int:
    """Write a text, and print how presence changes."""
    try:
        with ua.buddy(uri) as buddy, ua.buddy(uri) as reports:
            # A cursor of their own: reports and changes come in whatever order.
            reports.spawn(report)
            buddy.subscribe(timeout=10)
            if text:
                buddy.message(text, reports=['delivered', 'displayed'], timeout=10)
            for status in buddy:
                print(f'{status} {status.note}'.rstrip(), flush=True)
                if status == 'offline':
                    return 0
    except SubscriptionEnded as error:
        print(f'no longer watched: {error}')
    except GreensipError as error:
        print(f'cannot be watched: {error}')
    return 1


def main() -> int:
    """Parse the command line; watch, or be watched."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uri', nargs='?', help='whom to watch; nobody: be watched')
    parser.add_argument('text', nargs='?', default='', help='what to write him')
    parser.add_argument('--name', default='buddy', help='who we are (default %(default)s)')
    parser.add_argument('--status', default='online', help='online, busy, away, meeting ... (default %(default)s)')
    parser.add_argument('--note', default='', help='what else there is to say of it')
    parser.add_argument('--listen', default='udp:127.0.0.1:0', help='own address (default %(default)s)')
    options = parser.parse_args()
    with UserAgent(options.listen, name=options.name) as ua:
        if options.uri:
            watching = gevent.spawn(watch, ua, options.uri, options.text)
            for number in (signal.SIGINT, signal.SIGTERM):
                gevent.signal_handler(number, watching.kill, block=False)
            found = watching.get()
            return found if isinstance(found, int) else 0
        be_watched(ua, Status(options.status, options.note))
    return 0


if __name__ == '__main__':
    sys.exit(main())
