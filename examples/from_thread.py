"""Calls from ordinary OS threads: what a Flask view or a thread pool does.

    python examples/from_thread.py sip:alice@127.0.0.1:5080 sip:bob@127.0.0.1:5080

The user agent lives in the main thread, in its gevent hub.  A thread per URI uses ``ua.from_thread()``, whose verbs
block that thread only, and ``ua.post()``, which gives a future.  Prints the outcome of each call; status 0 when
all were answered.
"""

from __future__ import annotations

import argparse
import sys
import threading

import gevent

from greensip import GreensipError, UserAgent


def main() -> int:
    """Parse the command line, start the threads, serve them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uris', nargs='+', help='whom to call')
    parser.add_argument('--listen', default='udp:127.0.0.1:0', help='own address (default %(default)s)')
    options = parser.parse_args()
    answered: list[str] = []

    with UserAgent(options.listen, name='from_thread') as ua:
        def call(uri: str) -> None:
            """Runs in a thread of its own, which knows nothing of gevent."""
            safe = ua.from_thread()
            try:
                with safe.invite(uri) as leg:
                    leg.wait_for('200', timeout=20)
                    answered.append(uri)
                    print(f'{threading.current_thread().name}: {uri} answered', flush=True)
            except GreensipError as error:
                print(f'{threading.current_thread().name}: {uri}: {error}', flush=True)
            state = ua.post(lambda: f'{ua!r}').result(timeout=5)
            print(f'{threading.current_thread().name}: {state}', flush=True)

        threads = [threading.Thread(target=call, args=(uri,), name=f'thread {number}')
                   for number, uri in enumerate(options.uris, 1)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            # The hub must run; joining a thread here would stop it.
            gevent.sleep(0.02)
    return 0 if len(answered) == len(options.uris) else 1


if __name__ == '__main__':
    sys.exit(main())
