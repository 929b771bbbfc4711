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
from gevent.event import AsyncResult, Event

from greensip import GreensipError, IncomingRequest, UserAgent


def receive(ua: UserAgent) -> None:
    """Print texts until a signal comes."""
    def on_message(incoming: IncomingRequest) -> None:
        request = incoming.request
        text = request.body.decode('utf-8', 'replace')
        print(f'{request.from_.uri}: {text}', flush=True)
        incoming.respond(200)
        if not text.startswith('Read: '):
            host, port = incoming.source
            ua.message(f'sip:{request.from_.uri.user}@{host}:{port}', f'Read: {text}', timeout=5)

    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    ua.handle('MESSAGE', on_message)
    print('listening on', ua.uri, flush=True)
    stop.wait()


def send(ua: UserAgent, uri: str, text: str) -> int:
    """Send one text, wait a moment for the answer to it."""
    answer: AsyncResult[str] = AsyncResult()
    ua.handle('MESSAGE', lambda incoming: answer.set(incoming.request.body.decode('utf-8', 'replace')))
    try:
        response = ua.message(uri, text, timeout=10)
    except GreensipError as error:
        print(f'not taken: {error}')
        return 1
    print(f'taken: {response.code}')
    if answer.wait(timeout=2):
        print(answer.get())
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
