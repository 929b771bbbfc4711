"""A registrar for a small site: phones register, and a call to a user rings at all phones of that user.

    python examples/registrar.py --listen udp:127.0.0.1:5060 --user alice:wonderland --user bob:builder

Phones register as ``sip:alice@127.0.0.1`` with user name and password, and call ``sip:bob@127.0.0.1``; without
``--user`` everybody may register, without a password.  ``--database FILE`` keeps the registrations from one start to
the next.  An interval of less than ``--shortest`` seconds gets 423.  Prints a line per change; ends on SIGINT and
SIGTERM.

``greensip registrar --help`` is the same as a command, with more options.
"""

from __future__ import annotations

import argparse
import signal

import gevent

from greensip import GreensipError, UserAgent
from greensip.registrar import Change, Database, MemoryUsers, Policy, Registrar


def tell(change: Change) -> None:
    """A registration has changed."""
    contacts = ', '.join(binding.contact for binding in change.bindings)
    print(f'{change.aor} {change.why}: {contacts or "nowhere"}', flush=True)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--listen', default='udp:127.0.0.1:5060', help='where to listen (default %(default)s)')
    parser.add_argument('--user', action='append', default=[], metavar='NAME:PASSWORD', help='a user; may be repeated')
    parser.add_argument('--database', default=':memory:', metavar='FILE', help='an SQLite file (default: none)')
    parser.add_argument('--shortest', type=int, default=60, help='shortest interval, seconds (default %(default)s)')
    options = parser.parse_args()
    if not all(':' in user for user in options.user):
        parser.error('a user is written NAME:PASSWORD')
    passwords = dict(user.split(':', 1) for user in options.user)
    users = MemoryUsers('greensip', passwords) if passwords else None
    try:
        ua = UserAgent(options.listen, name='registrar')
    except GreensipError as error:
        parser.error(str(error))
    with ua, Registrar(
            ua, users=users, store=Database(options.database), policy=Policy(min_expires=options.shortest),
            on_change=tell) as registrar:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, registrar.stop)
        print('listening on', ua.uri, flush=True)
        registrar.run()


if __name__ == '__main__':
    main()
