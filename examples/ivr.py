"""An IVR without audio: answer, collect a PIN from INFO requests, decide.

    python examples/ivr.py --listen udp:127.0.0.1:5080 --pin 1234

Phones send a digit in an INFO of type ``application/dtmf-relay`` (``Signal=5``) or ``application/dtmf`` (``5``).  Each
digit must come within 5 s, the last one is ``#`` or the fourth.  The caller is told the outcome in a MESSAGE inside the
call, and hung up.  Prints a line per call; ends on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import re
import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from greensip import GreensipError, Leg, ResponseError, UserAgent, WaitTimeout, deadline


def digit_of(body: bytes) -> str:
    """The digit in the body of an INFO, or nothing."""
    found = re.fullmatch(r'\s*(?:Signal\s*=\s*)?([0-9*#A-D])\s*(?:\nDuration\s*=\s*\d+\s*)?',
                         body.decode('ascii', 'replace').replace('\r', ''), re.IGNORECASE)
    return found[1] if found else ''


def collect(leg: Leg, most: int = 4, pause: float = 5.0) -> str:
    """Digits up to ``#``, to ``most`` of them, or to a silence of ``pause`` seconds."""
    digits = ''
    while len(digits) < most:
        try:
            digit = digit_of(leg.wait_for('INFO', timeout=pause).message.body)
        except WaitTimeout:
            break
        if digit == '#':
            break
        digits += digit
    return digits


def make_ivr(pin: str) -> Callable[[Leg], None]:
    """The handler for each call."""
    def ivr(leg: Leg) -> None:
        leg.ring()
        leg.answer()
        with deadline(60):
            good = collect(leg, len(pin)) == pin
        print(f'{leg.remote.uri}: {"welcome" if good else "wrong PIN"}', flush=True)
        try:
            leg.message('welcome' if good else 'wrong PIN', timeout=2)
        except (ResponseError, WaitTimeout) as error:
            # Not every phone takes a MESSAGE.
            print(f'{leg.remote.uri}: did not take the message: {error}', flush=True)
        leg.hangup(reason='SIP;cause=200;text="good bye"')

    def guarded(leg: Leg) -> None:
        try:
            ivr(leg)
        except GreensipError as error:
            print(f'{leg.remote.uri}: {error}', flush=True)
            raise

    return guarded


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='udp:127.0.0.1:5080', help='where to listen (default %(default)s)')
    parser.add_argument('--pin', default='1234', help='what opens the door (default %(default)s)')
    options = parser.parse_args()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    try:
        ua = UserAgent(options.listen, name='ivr')
    except GreensipError as error:
        parser.error(str(error))
    with ua:
        print('listening on', ua.uri, flush=True)
        ua.serve(make_ivr(options.pin), background=True)
        stop.wait()


if __name__ == '__main__':
    main()
