"""The command ``greensip``: calls, answers, asks, writes from a terminal, and shows what is said on the wire."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from greensip.errors import ParseError
from greensip.message.grammar import is_token
from greensip.message.values import parse_media_type

from . import commands, registrar
from .outcome import INTERRUPTED, STATUSES, Outcome
from .output import version
from .session import Session, checked_uri, common_arguments, conduct, file_name
from .view import make_view

__all__ = ['COMMANDS', 'PROGRAM', 'Command', 'main', 'make_parser']

PROGRAM = 'greensip'

HELP = """\
SIP from the terminal: calls, answers, asks, writes, and draws every message as a ladder while it happens.

  greensip answer                                      wait for calls at port 5060, in one terminal
  greensip call sip:bob@127.0.0.1                      call there, from another
  greensip options sip:pbx.example.com                 is it there, what can it do
  greensip COMMAND --help                              the options of a command, with examples
"""


class Command(NamedTuple):
    """One of the commands."""

    name: str
    #: in half a line, for the list of all
    summary: str
    #: its help: what it does, then examples
    text: str
    story: Callable[[Session], Outcome]
    arguments: Callable[[argparse.ArgumentParser], None]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, with status 2."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f'{PROGRAM}: {message}; {self.prog} --help tells more\n')
        raise SystemExit(2)


def seconds(text: str) -> float:
    """For argparse: a time in seconds, not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text!r} is no number of seconds')
    return value


def number(text: str) -> int:
    """For argparse: a whole number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number above 0')
    return int(text)


def count(text: str) -> int:
    """For argparse: a whole number from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number')
    return int(text)


def media_type(text: str) -> str:
    """For argparse: what a body is, ``text/plain;charset=utf-8``."""
    try:
        parse_media_type(text)
    except ParseError:
        raise argparse.ArgumentTypeError(f'{text!r} is no type of a body: write text/plain') from None
    return text


def package(text: str) -> str:
    """For argparse: the name of an event package."""
    if not is_token(text):
        raise argparse.ArgumentTypeError(f'{text!r} is no event package: write one such as presence')
    return text


def status(text: str) -> str:
    """For argparse: what presence is to be."""
    if not text:
        raise argparse.ArgumentTypeError('write online, busy, away, offline, or an activity of RFC 4480')
    return text


def call_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('uri', metavar='URI', type=checked_uri, help='whom to call')
    parser.add_argument('--timeout', type=seconds, default=60, metavar='S',
                        help='give up when nobody answers for so long (default %(default)g)')
    parser.add_argument('--seconds', type=seconds, metavar='S', help='hang up after so long; without it Ctrl-C does')
    parser.add_argument('--sdp', metavar='FILE', type=file_name,
                        help='the offer, as a session description; - reads it from the input')
    parser.add_argument('--late-offer', action='store_true', help='let them make the offer')
    parser.add_argument('--follow', type=count, default=5, metavar='N',
                        help='so many further addresses may be tried when a 3xx names them (default %(default)s)')


    extension_arguments(parser)


def extension_arguments(parser: argparse.ArgumentParser) -> None:
    """What a call may ask for."""
    parser.add_argument('--prack', choices=('off', 'supported', 'required'),
                        help='reliable provisional responses (RFC 3262); supported without it')
    parser.add_argument('--session-timer', type=number, metavar='S',
                        help='have the call refreshed within so many seconds, 90 at least (RFC 4028)')


def answer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--ring', type=seconds, metavar='S', help='ring for so long before anything else')
    parser.add_argument('--code', type=int, default=200, metavar='CODE', help='answer with this, 486 for instance')
    parser.add_argument('--redirect', metavar='URI', action='append', type=checked_uri,
                        help='send callers there with a 302; may be repeated')
    parser.add_argument('--seconds', type=seconds, metavar='S', help='hang up after so long')
    parser.add_argument('--sdp', metavar='FILE', type=file_name, help='the session description to answer with')
    parser.add_argument('--once', action='store_true', help='end with the first call')
    parser.add_argument('--presence', metavar='STATUS', type=status,
                        help='what to tell those who watch us: online, busy, away, offline, or an activity of RFC 4480')
    parser.add_argument('--refer', choices=('refuse', 'accept'), default='refuse',
                        help='what to do when a caller wants to transfer us (default %(default)s)')
    parser.add_argument('--timeout', type=seconds, metavar='S', help='end when nothing has ended it for so long')


    extension_arguments(parser)
    account_arguments(parser, 'register as --aor first, and un-register in the end')
    parser.add_argument('--aor', metavar='URI', type=checked_uri, help='our address-of-record, sip:alice@example.com')


def account_arguments(parser: argparse.ArgumentParser, title: str) -> None:
    """What a registration needs."""
    group = parser.add_argument_group(title)
    group.add_argument('--registrar', metavar='URI', type=checked_uri,
                       help='where to register; without it at the host of the address')
    group.add_argument('--expires', type=number, default=3600, metavar='S',
                       help='for how long to ask; it is refreshed in time (default %(default)s)')
    group.add_argument('--register-timeout', type=seconds, default=20, metavar='S',
                       help='how long to wait for the registrar (default %(default)g)')


def register_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('aor', metavar='AOR', type=checked_uri, help='the address to register, sip:alice@example.com')
    parser.add_argument('--seconds', type=seconds, metavar='S',
                        help='stay registered for so long, 0 for a check; without it until Ctrl-C')
    parser.add_argument('--query', action='store_true', help='only ask where the address is registered')
    parser.add_argument('--remove-all', action='store_true', help='only remove all of its registrations, whosever')
    parser.add_argument('--timeout', type=seconds, default=20, metavar='S',
                        help='how long to wait for these two (default %(default)g)')
    account_arguments(parser, 'the registration')


def watch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('uri', metavar='URI', type=checked_uri, help='whom to watch')
    parser.add_argument('--package', default='presence', metavar='NAME', type=package,
                        help='what: presence, dialog, message-summary, reg, conference, or any other event package '
                             '(default %(default)s)')
    parser.add_argument('--once', action='store_true', help='ask for the state once')
    parser.add_argument('--seconds', type=seconds, metavar='S', help='end after so long; without it Ctrl-C does')
    parser.add_argument('--expires', type=number, default=3600, metavar='S',
                        help='for how long to subscribe; it is refreshed in time (default %(default)s)')
    parser.add_argument('--timeout', type=seconds, default=32, metavar='S',
                        help='how long to wait for the first word (default %(default)g)')


def transfer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('uri', metavar='URI', type=checked_uri, help='whom to call')
    parser.add_argument('target', metavar='TARGET', type=checked_uri, help='whom to transfer them to')
    parser.add_argument('--attended', action='store_true', help='call TARGET first, then connect the two')
    parser.add_argument('--timeout', type=seconds, default=60, metavar='S',
                        help='how long to wait for each of the steps (default %(default)g)')


def options_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('uri', metavar='URI', type=checked_uri, help='whom to ask')
    parser.add_argument('--count', type=number, default=1, metavar='N', help='ask so many times (default %(default)s)')
    parser.add_argument('--interval', type=seconds, default=1, metavar='S',
                        help='seconds between two of them (default %(default)g)')
    parser.add_argument('--timeout', type=seconds, default=10, metavar='S',
                        help='how long to wait for an answer (default %(default)g)')


def message_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('uri', metavar='URI', type=checked_uri, help='to whom')
    parser.add_argument('text', metavar='TEXT', help='what; - reads it from the input')
    parser.add_argument('--content-type', default='text/plain', metavar='TYPE', type=media_type,
                        help='default %(default)s')
    parser.add_argument('--timeout', type=seconds, default=10, metavar='S',
                        help='how long to wait for an answer (default %(default)g)')


COMMANDS = [
    Command('call', 'call somebody', """\
Call URI, tell what happens, stay in the call until they or Ctrl-C hang up.  There is no audio: the session description
says that no media flows, unless --sdp gives another.

  greensip call sip:bob@127.0.0.1:5080 --seconds 5                      five seconds, then hang up
  greensip call 'sip:bob@example.com;transport=tls' --ca ca.pem         over TLS
  GREENSIP_PASSWORD=s3cret greensip call sip:bob@example.com --from sip:alice@example.com
  greensip call sip:bob@127.0.0.1 --json | jq 'select(.event=="outcome").outcome'
""", commands.call, call_arguments),
    Command('answer', 'wait for calls', """\
Take every call at port 5060 (UDP and TCP) or where --listen says, and every MESSAGE, until Ctrl-C.

  greensip answer --listen udp:127.0.0.1:5080
  greensip answer --ring 3                              ring for three seconds first
  greensip answer --code 486                            be busy
  greensip answer --redirect sip:bob@192.0.2.7          send them elsewhere
  greensip answer --once --seconds 10                   one call, ten seconds, and its exit status
  greensip answer --presence busy                       for greensip watch
  greensip answer --aor sip:alice@example.com --password-file secret          what a registered phone is called for
""", commands.answer, answer_arguments),
    Command('register', 'register an address, and stay registered', """\
Register AOR, refresh it in time, say what becomes of it, un-register on Ctrl-C.  Calls are refused meanwhile: greensip
answer --aor takes them.

  GREENSIP_PASSWORD=s3cret greensip register sip:alice@example.com
  greensip register sip:alice@example.com --registrar sip:192.0.2.1 --password-file secret --expires 60
  greensip register sip:alice@example.com --seconds 0         is the password right?
  greensip register sip:alice@example.com --query             who else is registered
""", commands.register, register_arguments),
    Command('options', 'ask whether somebody is there, and what they can do', """\
Send OPTIONS, and print what the answer says: methods, extensions, bodies, and how long it took.

  greensip options sip:pbx.example.com
  greensip options sip:192.0.2.7:5080 --count 5         like ping
  greensip options 'sip:edge.example.com;transport=wss' --quiet || echo it is down
""", commands.options, options_arguments),
    Command('watch', 'tell every change of presence, calls, messages, registrations', """\
Subscribe to an event package of URI (RFC 6665), and print what its NOTIFYs say until Ctrl-C.

  greensip watch sip:bob@example.com                                     online, busy, away?
  greensip watch sip:bob@example.com --package dialog                    his calls
  greensip watch sip:alice@example.com --package message-summary --once --from sip:alice@example.com
  greensip watch sip:alice@example.com --package reg --json --quiet
""", commands.watch, watch_arguments),
    Command('transfer', 'call somebody and transfer them', """\
Call URI and, when they answer, transfer them to TARGET: with a REFER right away, or --attended, after TARGET has
answered as well (RFC 5589).  Prints what came of it; the exit status is that of the call that they make.

  greensip transfer sip:bob@127.0.0.1:5080 sip:carol@127.0.0.1:5090
  greensip transfer sip:bob@127.0.0.1:5080 sip:carol@127.0.0.1:5090 --attended
  greensip answer --refer accept --listen udp:127.0.0.1:5080             somebody who lets himself be transferred
""", commands.transfer, transfer_arguments),
    Command('message', 'send a text', """\
Send a text (MESSAGE, RFC 3428).

  greensip message sip:bob@127.0.0.1 'Call me back'
  date | greensip message sip:bob@127.0.0.1 -
""", commands.message, message_arguments),
]


def statuses_text() -> str:
    """The table of exit statuses."""
    rows = [f'  {status:>3}  {word:<20}{text}' for status, (word, text) in STATUSES.items()]
    return '\n'.join(['exit status, and outcome as --json has it:', *rows])


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = Parser(prog=PROGRAM, description=HELP, epilog=statuses_text(),
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='version', version=f'{PROGRAM} {version()}')
    kinds = parser.add_subparsers(metavar='COMMAND', dest='command', parser_class=Parser, required=True)
    for command in COMMANDS:
        sub = kinds.add_parser(command.name, help=command.summary, description=command.text, epilog=statuses_text(),
                               formatter_class=argparse.RawDescriptionHelpFormatter)
        command.arguments(sub)
        common_arguments(sub)
        sub.set_defaults(story=command.story)
    sub = kinds.add_parser('registrar', help='be a registrar: take registrations, and bring calls to who registered')
    registrar.add_arguments(sub)
    sub.add_argument('--ladder', action='store_true', help='draw every message')
    sub.add_argument('--messages', action='store_true', help='show messages in full; passwords are masked')
    sub.add_argument('--json', action='store_true', help='an object a line, for programs')
    sub.set_defaults(story=None)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is a key of ``greensip.cli.outcome.STATUSES``."""
    # Where they are closed nobody reads.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What peers say may be in any script; a terminal that does not know it shows escapes.
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        options = make_parser().parse_args(arguments)
        if options.story is not None:
            return conduct(options, options.story)
        shown = options.ladder or options.messages
        return registrar.run(options, make_view(as_json=options.json, messages=options.messages).tap if shown else None)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 2
    except KeyboardInterrupt:
        # Before there is anything to end.
        return INTERRUPTED


if __name__ == '__main__':
    sys.exit(main())
