"""``greensip registrar``: the arguments of the program in ``greensip.registrar``, and its output.

``add_arguments(parser)`` and ``run(arguments)`` are for the command that it is a part of.
"""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from greensip.errors import ParseError, SetupError, UsageError
from greensip.message import SipUri, parse_uri
from greensip.message.digest import ALGORITHMS
from greensip.registrar import Change, Database, Options, Registrar, StoreError, serve
from greensip.transport.endpoint import Tap

from .outcome import INTERRUPTED
from .output import show
from .terminal import LineFormatter, harmless

__all__ = ['add_arguments', 'main', 'run']

DESCRIPTION = 'Take registrations, and bring calls and messages to who has registered.'

EXAMPLES = '''\
examples:
  greensip registrar --user alice:s3cret --user bob:b0b      two users, in memory, on port 5060 of UDP and TCP
  greensip registrar --database pbx.db --add-user alice      ask for the password of alice, and keep it
  greensip registrar --database pbx.db --domain example.com --listen udp:192.0.2.1 --listen 'tls:*?cert=C&key=K'
  greensip registrar --anybody --listen udp:127.0.0.1:5070   without passwords, for tests

Users register as sip:NAME@DOMAIN with NAME and their password, and call each other by that address.  Digest is asked
for with MD5, as every phone knows it and some fail where more is offered; --algorithms SHA-256,MD5 for newer ones.'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``greensip registrar``."""
    parser.description = parser.description or DESCRIPTION
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add('--listen', action='append', metavar='PLACE',
        help='where to listen, such as udp:*:5060; may be repeated (default udp:*:5060 and tcp:*:5060)')
    add('--domain', action='append', default=[], type=_domain, metavar='NAME',
        help='a domain to be responsible for; may be repeated (default: every host, all of them one domain)')
    add('--realm', type=_text, help='realm of the passwords (default: the first domain, or greensip)')
    add('--database', default=':memory:', type=_text, metavar='FILE',
        help='SQLite file of bindings and users (default: none, all is forgotten at the end)')
    add('--user', action='append', default=[], type=_user, metavar='NAME:PASSWORD',
        help='a user, instead of those in the database; may be repeated')
    add('--users-file', type=_text, metavar='FILE', help='users as htdigest writes them: NAME:REALM:HASH')
    add('--anybody', action='store_true', help='let everybody register, without passwords')
    add('--add-user', metavar='NAME[:PASSWORD]', help='put a user into the database, and end')
    add('--remove-user', metavar='NAME', help='take a user out of the database, and end')
    add('--list-users', action='store_true', help='print the users of the database, and end')
    add('--algorithms', type=_algorithms, default=(), metavar='LIST',
        help=f'of digest, by preference, of {", ".join(ALGORITHMS)} (default MD5)')
    add('--no-strangers', dest='strangers', action='store_false', help='only users may call users')
    add('--expires', type=_seconds, default=3600, metavar='S', help='for who asks for none (default %(default)s)')
    add('--min-expires', type=_seconds, default=60, metavar='S', help='less gets a 423 (default %(default)s)')
    add('--max-expires', type=_seconds, default=86400, metavar='S', help='more is cut to it (default %(default)s)')
    add('--max-contacts', type=_seconds, default=10, metavar='N', help='of one user (default %(default)s)')
    add('--max-calls', type=_seconds, metavar='N', help='at a time (default: any number)')
    add('--ring-time', type=_time, default=20.0, metavar='S',
        help='for the phones of one q value, before the next are called (default %(default)g)')
    add('--presence', action='store_true',
        help='take what phones publish of presence, calls and waiting messages, and tell users who watch')
    add('--pcap', metavar='FILE', help='every message in a capture file, for Wireshark')
    add('--hep', metavar='HOST:PORT', help='every message to a capture server, such as Homer')


def run(arguments: argparse.Namespace, tap: Tap | None = None) -> int:
    """Do what the arguments say.  Blocks until SIGINT or SIGTERM; status 0, or 2 for a complaint.
    After Ctrl-C where it asks for a password it is 130.

    ``tap`` is shown every message.
    """
    try:
        if arguments.add_user is not None or arguments.remove_user is not None or arguments.list_users:
            return _administrate(arguments)
        if arguments.anybody and (arguments.user or arguments.users_file):
            raise SetupError('--anybody lets everybody register without a password: leave out the users, or it')
        if not (arguments.anybody or arguments.user or arguments.users_file) and arguments.database == ':memory:':
            raise SetupError('nobody can register: name users with --user or --database, or let --anybody in')
        options = Options(
            listen=tuple(arguments.listen or Options().listen), domains=tuple(arguments.domain),
            realm=arguments.realm or '', database=arguments.database,
            users=tuple(arguments.user), users_file=arguments.users_file or '',
            anybody=arguments.anybody, algorithms=tuple(arguments.algorithms), strangers=arguments.strangers,
            expires=arguments.expires, min_expires=arguments.min_expires, max_expires=arguments.max_expires,
            max_contacts=arguments.max_contacts, max_calls=arguments.max_calls, ring_time=arguments.ring_time,
            presence=arguments.presence,
            pcap=arguments.pcap, hep=arguments.hep)
        tell = _tell_json if getattr(arguments, 'json', False) else _tell
        serve(options, ready=_ready(tell, tap), on_change=lambda change: _changed(tell, change))
    except (SetupError, StoreError) as error:
        print(f'greensip registrar: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    return 0


def _administrate(arguments: argparse.Namespace) -> int:
    """The users of a database."""
    if arguments.database == ':memory:':
        raise SetupError('name the database with --database FILE')
    if arguments.add_user is None and not os.path.exists(arguments.database):
        raise SetupError(f'there is no database {arguments.database}')
    options = Options(domains=tuple(arguments.domain), realm=arguments.realm or '')
    database = Database(arguments.database, options.effective_realm)
    try:
        if arguments.add_user is not None:
            name, colon, password = arguments.add_user.partition(':')
            if not name:
                raise SetupError('a user needs a name: --add-user NAME')
            if not name.isprintable():
                raise SetupError(f'{name!r} cannot be the name of a user')
            if colon and not password:
                raise SetupError(f'{name} needs a password: nothing stands behind the colon')
            database.add_user(name, password if colon else new_password(name))
        if arguments.remove_user is not None and not database.remove_user(arguments.remove_user):
            raise SetupError(f'{arguments.remove_user} is no user of {database.realm}')
        if arguments.list_users:
            names = database.usernames()
            return show('\n'.join(names), 'greensip registrar') if names else 0
    finally:
        database.close()
    return 0


def new_password(name: str) -> str:
    """What a user is to log in with: of the environment, else asked for in a terminal, else the first line of input.

    Raises SetupError if there is none.
    """
    password = os.environ.get('GREENSIP_PASSWORD')
    if password is None:
        try:
            # Where it is closed there is no input at all.
            password = '' if sys.stdin is None else (
                getpass.getpass(f'password of {name}: ') if sys.stdin.isatty()
                else sys.stdin.readline().rstrip('\r\n'))
        except (EOFError, UnicodeDecodeError):
            password = ''
    if not password:
        raise SetupError(f'{name} needs a password: --add-user {name}:PASSWORD, GREENSIP_PASSWORD, or a line of input')
    return password


Tell = Callable[..., None]


def _tell(event: str, text: str, **details: object) -> None:
    # Nobody reads it, or the disk is full: calls go on.
    with suppress(OSError):
        print(harmless(text), flush=True)


def _tell_json(event: str, text: str, **details: object) -> None:
    # Nobody reads it, or the disk is full: calls go on.
    with suppress(OSError):
        print(json.dumps({'event': event, 'time': round(time.time(), 3), **details}), flush=True)


def _ready(tell: Tell, tap: Tap | None) -> Callable[[Registrar], None]:
    def ready(registrar: Registrar) -> None:
        if tap is not None:
            registrar.ua.endpoint.taps.append(tap)
        for point in registrar.ua.points:
            place = f'{point.transport.lower()}:{point.sent_by}'
            tell('listening', f'listening on {place}', place=place)
        if len(registrar.location):
            tell('loaded', f'{len(registrar.location)} bindings', bindings=len(registrar.location))
    return ready


def _changed(tell: Tell, change: Change) -> None:
    contacts = [binding.contact for binding in change.bindings]
    tell(change.why, f'{change.aor} {change.why}: {", ".join(contacts) or "nowhere"}', aor=change.aor,
         contacts=contacts)


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(':')
    if not name or not colon or not password or not name.isprintable():
        raise argparse.ArgumentTypeError('write NAME:PASSWORD')
    return name, password


def _domain(text: str) -> str:
    try:
        uri = parse_uri(f'sip:{text}')
    except (ParseError, UsageError):
        uri = None
    if not isinstance(uri, SipUri) or uri.host.lower() != text.strip('[]').lower():
        raise argparse.ArgumentTypeError(f'{text!r} is no domain: write example.com, or an address, without a port')
    return text


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f'{text!r} is empty, or cannot be written')
    return text


def _algorithms(text: str) -> tuple[str, ...]:
    names = {name.upper(): name for name in ALGORITHMS}
    found = tuple(names.get(word.strip().upper(), '') for word in text.split(','))
    if not all(found):
        raise argparse.ArgumentTypeError(f'write some of {", ".join(ALGORITHMS)}, with commas')
    return found


def _time(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 2**32:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of seconds above 0')
    return value


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 2**32:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of at least 1')
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """The command by itself: ``python -m greensip.cli.registrar``."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    parser = argparse.ArgumentParser(prog='greensip registrar')
    add_arguments(parser)
    parser.add_argument('--json', action='store_true', help='an event a line, in JSON')
    return run(parser.parse_args(arguments))


if __name__ == '__main__':
    sys.exit(main())
