"""Place a call, stay in it for a while, hang up.

    python examples/call.py sip:bob@127.0.0.1:5080 --seconds 2

Prints each step with its time.  Status 0 when the call was answered, 1 when it was not.
"""

from __future__ import annotations

import argparse
import sys

from greensip import Busy, GreensipError, ResponseError, UserAgent, WaitTimeout


def call(ua: UserAgent, uri: str, seconds: float) -> bool:
    """True if it was answered."""
    try:
        with ua.invite(uri) as leg:
            event = leg.wait_for('18x', '200', timeout=10)
            if event.code != 200:
                print(f'{event.time - leg.timings.started:.3f} s: it rings, {event.code}')
                event = leg.wait_for('200', timeout=30)
            print(f'answered by {leg.remote}')
            try:
                leg.wait_ended(timeout=seconds)
                print('the other side hung up')
            except WaitTimeout:
                print('hanging up')
            return True
    except Busy:
        print('busy')
    except ResponseError as error:
        print(f'refused: {error}')
    except GreensipError as error:
        print(f'failed: {error}')
    return False


def main() -> int:
    """Parse the command line and call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('uri', help='whom to call')
    parser.add_argument('--seconds', type=float, default=2, help='how long to stay (default %(default)s)')
    parser.add_argument('--listen', default='udp:127.0.0.1:0', help='own address (default %(default)s)')
    options = parser.parse_args()
    with UserAgent(options.listen, name='call') as ua:
        return 0 if call(ua, options.uri, options.seconds) else 1


if __name__ == '__main__':
    sys.exit(main())
