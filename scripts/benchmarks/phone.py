"""A greensip program that answers every call, or makes some.

    phone.py answer PLACE...                          rings, answers, waits for the end of the call; until SIGTERM
    phone.py call URI PLACE... --rate 100 --calls 500 each held --hold seconds, then hung up

Prints ``ready PORT...`` when it listens, and at the end a line of JSON: calls that were ``completed`` and ``failed``,
what the first failure was, and how often the endpoint failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import signal
from collections.abc import Sequence

import gevent
import gevent.event

from greensip import GreensipError, UserAgent

SDP = (b'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n'
       b'm=audio 20000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')
#: seconds within which a call is answered
PATIENCE = 40.0


class Phone:
    """The user agent, and what became of its calls."""

    def __init__(self, places: Sequence[str]) -> None:
        self.ua = UserAgent(*places, name='phone', keep_responses=False, watchdog=None)
        self.completed = self.failed = 0
        self.trouble = ''
        print('ready', *(point.address[1] for point in self.ua.points), flush=True)

    def report(self) -> None:
        """Print what became of the calls."""
        print(json.dumps({'completed': self.completed, 'failed': self.failed, 'trouble': self.trouble,
                          'failures': self.ua.endpoint.counters.failures}), flush=True)

    def answer(self, leg: object) -> None:
        """The callee's half of a call."""
        try:
            leg.ring()
            leg.answer(SDP)
            leg.wait_ended()
            self.completed += 1
        except GreensipError as error:
            self._lost(error)

    def call(self, uri: str, hold: float) -> None:
        """The caller's half."""
        try:
            with self.ua.invite(uri, sdp=SDP) as leg:
                leg.wait_for('200', timeout=PATIENCE)
                if hold:
                    gevent.sleep(hold)
                leg.hangup()
            self.completed += 1
        except GreensipError as error:
            self._lost(error)

    def _lost(self, error: GreensipError) -> None:
        self.failed += 1
        self.trouble = self.trouble or f'{type(error).__name__}: {error}'

    def call_many(self, uri: str, rate: float, calls: int, hold: float) -> None:
        """Start ``calls`` calls at ``rate`` a second, and wait until all of them are over."""
        hub = gevent.get_hub()
        began = hub.loop.now()
        talking = set()
        for number in range(calls):
            hub.loop.update_now()
            ahead = began + number / rate - hub.loop.now()
            if ahead > 0:
                gevent.sleep(ahead)
            greenlet = gevent.spawn(self.call, uri, hold)
            talking.add(greenlet)
            greenlet.rawlink(talking.discard)
        gevent.joinall(list(talking))


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['answer', 'call'])
    parser.add_argument('words', nargs='*', metavar='URI PLACE')
    parser.add_argument('--rate', type=float, default=100.0)
    parser.add_argument('--calls', type=int, default=100)
    parser.add_argument('--hold', type=float, default=0.0)
    options = parser.parse_args()
    calling = options.what == 'call'
    phone = Phone(options.words[1:] if calling else options.words)
    gc.collect()
    gc.freeze()
    # As greensip-b2bua does it.
    gc.set_threshold(10_000, 5, 1000)
    over = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, over.set)
    if calling:
        phone.call_many(options.words[0], options.rate, options.calls, options.hold)
    else:
        phone.ua.serve(phone.answer, background=True)
        over.wait()
    phone.ua.close()
    phone.report()


if __name__ == '__main__':
    main()
