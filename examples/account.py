"""Stay registered, and answer whoever calls.

    python examples/registrar.py --listen udp:127.0.0.1:5060
    python examples/account.py sip:alice@127.0.0.1:5060 --password s3cret

The account registers with a password if it is asked for one, refreshes by itself, and tries again after a while when
the registrar does not answer; a line tells of each change.  Each call is answered, and says whose account it was for.
On SIGINT and SIGTERM the contact is removed from the registrar.
"""

from __future__ import annotations

import argparse
import signal
import sys

import gevent

from greensip import Account, IncomingLeg, UserAgent


def answer(leg: IncomingLeg) -> None:
    """The handler of a call."""
    whose = leg.account.aor.uri if leg.account is not None else 'nobody we know'
    print(f'a call from {leg.from_.uri} for {whose}', flush=True)
    leg.ring()
    leg.answer()
    leg.wait_ended()


def watch(account: Account) -> None:
    """Tell of each change, until a refusal that time does not heal."""
    account.start()
    while account.state != 'unregistered':
        event = account.wait_for('registered', 'lost', 'failed')
        if event.label == 'registered':
            print(f'registered for {account.expires} s as {account.contact}', flush=True)
        else:
            print(f'{event.label}: {event.error} ({account.state})', flush=True)


def main() -> int:
    """Parse the command line, register, answer calls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('aor', help='the address of record, such as sip:alice@example.com')
    parser.add_argument('--password', help='the password of its user')
    parser.add_argument('--registrar', action='append', help='where to register; give several to have back-ups')
    parser.add_argument('--expires', type=int, default=3600, help='seconds to ask for (default %(default)s)')
    parser.add_argument('--listen', default='udp:127.0.0.1:0', help='own address (default %(default)s)')
    options = parser.parse_args()
    with UserAgent(options.listen) as ua, ua.account(options.aor, options.password, registrar=options.registrar,
                                                     expires=options.expires) as account:
        ua.serve(answer, background=True)
        watching = gevent.spawn(watch, account)
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, watching.kill, block=False)
        watching.join()
    return 0 if watching.value is not None else 1


if __name__ == '__main__':
    sys.exit(main())
