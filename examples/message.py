"""Send and receive texts (MESSAGE, RFC 3428).

    python examples/message.py --listen udp:127.0.0.1:5080                      # prints what comes
    python examples/message.py sip:bob@127.0.0.1:5080 'Dinner is ready'         # sends one

The receiver tells the sender of each text that it was read, and ends on SIGINT and SIGTERM.  The sender waits a moment
for that and prints it; its status is 0 when the text was taken.
"""

from __future__ import annotations

import argparse
import signal
import sys

import gevent

from greensip import GreensipError, UserAgent, WaitTimeout


def receive(ua: UserAgent) -> None:
    """Print texts until a signal comes."""
    inbox = ua.messages
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, inbox.close)
    print('listening on', ua.uri, flush=True)
    for message in inbox:
        print(f'{message.from_.uri}: {message.text}', flush=True)
        if not message.text.startswith('Read: '):
            try:
                message.reply(f'Read: {message.text}', timeout=5)
            except GreensipError as error:
                print(f'not told: {error}', flush=True)


def send(ua: UserAgent, uri: str, text: str) -> int:
    """Send one text, wait a moment for the answer to it."""
    inbox = ua.messages
    try:
        response = ua.message(uri, text, timeout=10)
    except GreensipError as error:
        print(f'not taken: {error}')
        return 1
    print(f'taken: {response.code}')
    try:
        print(inbox.next(timeout=2).text)
    except WaitTimeout:
        pass
    return 0


def main() -> int:
    """Parse the command line; send, or receive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uri', nargs='?', help='whom to send a text; nobody: receive')
    parser.add_argument('text', nargs='?', default='Hello', help='the text (default %(default)s)')
    parser.add_argument('--listen', default='udp:127.0.0.1:0', help='own address (default %(default)s)')
    options = parser.parse_args()
    with UserAgent(options.listen, name='message') as ua:
        if options.uri:
            return send(ua, options.uri, options.text)
        receive(ua)
    return 0


if __name__ == '__main__':
    sys.exit(main())
