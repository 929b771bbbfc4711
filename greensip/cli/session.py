"""What the commands of ``greensip`` share: options, the user agent, Ctrl-C, and how it all ends."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent.socket import wait_read

from greensip.errors import GreensipError, ParseError, SetupError, TransportError, UsageError
from greensip.message import SipUri, parse_name_addr, parse_uri
from greensip.ua import UserAgent

from .outcome import Outcome, Stopped, outcome_of
from .view import Plain, make_view

__all__ = ['Session', 'common_arguments', 'conduct', 'file_name', 'places', 'read_body', 'read_input']

#: the user part of our address unless there is a better one
NAME = 'greensip'


class Session:
    """A command at work."""

    def __init__(self, options: argparse.Namespace, view: Plain) -> None:
        self.options = options
        self.view = view
        #: true as soon as what the command is for has been reached: Ctrl-C is an orderly end from then on
        self.reached = False
        self._ua: UserAgent | None = None

    @property
    def ua(self) -> UserAgent:
        """The user agent of the command."""
        assert self._ua is not None
        return self._ua

    @contextmanager
    def user_agent(self, uri: str = '', port: int = 0) -> Iterator[UserAgent]:
        """Open it where the command line says, or where ``uri`` can be reached from; show what it hears and says."""
        options = self.options
        wanted = places(options, uri, port)
        asked: dict[str, Any] = {'outbound_proxy': options.proxy, 'prack': getattr(options, 'prack', None),
                                 'refer': getattr(options, 'refer', None),
                                 'session_timer': getattr(options, 'session_timer', None)}
        asked = {name: value for name, value in asked.items() if value}
        try:
            opened = UserAgent(*wanted, name=own_name(options), pcap=options.pcap, **asked)
        except TransportError as error:
            # Nothing was sent: a port in use is no peer that cannot be reached.
            raise SetupError(str(error)) from None
        with opened as ua:
            ua.endpoint.taps.append(self.view.tap)
            self._ua = ua
            yield ua

    def calling(self) -> dict[str, Any]:
        """What every request outside of dialogs is sent with: From, header fields, credentials."""
        options = self.options
        given: dict[str, Any] = {}
        if options.from_:
            given['from_'] = options.from_
        if options.header:
            given['headers'] = [split_header(text) for text in options.header]
        credentials = self.credentials()
        if credentials is not None:
            given['credentials'] = credentials
        return given

    def credentials(self) -> tuple[str, str] | None:
        """User name and password, if there are any."""
        options = self.options
        password = password_of(options)
        user = options.user or (parse_name_addr(bracketed(options.from_)).uri.user if options.from_ else None)
        if password is None and user:
            password = os.environ.get('GREENSIP_PASSWORD')
        if password is None:
            return None
        if not user:
            raise SetupError('a password needs a name: give --user, or --from with one')
        return user, password


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every command has."""
    group = parser.add_argument_group('who we are')
    group.add_argument('--from', dest='from_', metavar='URI', type=checked_uri,
                       help='our address, such as sip:alice@example.com')
    group.add_argument('--user', metavar='NAME', help='the name to log in with; without it that of --from')
    group.add_argument('--password', metavar='TEXT',
                       help='others on this machine can see it: better the environment variable GREENSIP_PASSWORD')
    group.add_argument('--password-file', metavar='FILE', type=file_name,
                       help='the password is the first line of this file')
    group = parser.add_argument_group('the way')
    group.add_argument('--listen', metavar='PLACE', action='append', default=[],
                       help='where we listen, tcp:192.0.2.1:5060; may be repeated')
    group.add_argument('--proxy', metavar='URI', type=checked_uri, help='send everything through this proxy')
    group.add_argument('--ca', metavar='FILE', type=file_name, help='TLS: whose certificates count (PEM)')
    group.add_argument('--insecure', action='store_true', help='TLS: take any certificate')
    group.add_argument('--header', metavar='TEXT', action='append', default=[],
                       help="a header field to send along, 'X-Id: 7'; may be repeated")
    group = parser.add_argument_group('what is shown')
    group.add_argument('--json', action='store_true', help='an object a line, for programs')
    group.add_argument('--plain', action='store_true', help='no colours, no line that counts the seconds')
    group.add_argument('--messages', action='store_true', help='show messages in full; passwords are masked')
    group.add_argument('--quiet', action='store_true', help='show no messages')
    group.add_argument('--pcap', metavar='FILE', help='write every message to a file for Wireshark')


def conduct(options: argparse.Namespace, story: Callable[[Session], Outcome]) -> int:
    """Run a command to its end; the exit status.

    SIGINT or SIGTERM ends it as leaving a script does, and so does a terminal that is closed: calls are hung up, and
    their peers' answers waited for, two seconds at most.
    """
    view = make_view(as_json=options.json, plain=options.plain, messages=options.messages, quiet=options.quiet)
    session = Session(options, view)
    view.since()
    task = gevent.spawn(attempt, session, story)
    view.on_unread = lambda: interrupt(task)
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        # nohup wants the command to stay when the terminal goes.
        numbers.append(signal.SIGHUP)
    watchers = [gevent.signal_handler(number, interrupt, task) for number in numbers]
    try:
        outcome: Outcome = task.get()
    finally:
        for watcher in watchers:
            watcher.cancel()
    view.finish(outcome)
    return outcome.status


def interrupt(task: gevent.Greenlet[..., Any]) -> None:
    """Ctrl-C: in the hub, which must not be held up."""
    if not task.dead:
        gevent.spawn(task.kill, Stopped, False)


def attempt(session: Session, story: Callable[[Session], Outcome]) -> Outcome:
    """The story's outcome, whatever it raises."""
    try:
        return story(session)
    except Stopped as error:
        return Outcome(0, 'ended') if session.reached else outcome_of(error)
    except GreensipError as error:
        return outcome_of(error)
    except OSError as error:
        name = f'{error.filename} cannot be used: ' if error.filename is not None else ''
        return Outcome(2, f'{name}{error.strerror or error}')


def places(options: argparse.Namespace, uri: str, port: int) -> list[str]:
    """Where to listen: as told, otherwise at a place from which ``uri`` (or the proxy) can be reached.

    Raises SetupError where options of TLS would count for nothing.
    """
    wanted = '--ca' if options.ca else '--insecure' if options.insecure else ''
    if options.listen:
        if wanted:
            raise SetupError(f"{wanted} is an option of the place where there is --listen: 'tls:*:0?ca=FILE', "
                             "'tls:*:0?verify=none'")
        return list(options.listen)
    first = options.proxy or uri
    host, transport, secure = '0.0.0.0', '', False
    if first:
        target = parse_name_addr(bracketed(first)).uri
        if isinstance(target, SipUri):
            if ':' in target.host:
                host = '[::]'
            transport = (target.params.get('transport') or '').lower()
            secure = target.scheme == 'sips'
    if secure:
        transport = {'': 'tls', 'tcp': 'tls', 'ws': 'wss'}.get(transport, transport)
    kinds = [transport] if transport in ('tls', 'ws', 'wss') else ['tcp'] if transport == 'tcp' else ['udp', 'tcp']
    query = ''
    if kinds[0] in ('tls', 'wss'):
        from urllib.parse import quote

        given = [f'ca={quote(options.ca)}'] if options.ca else []
        given += ['verify=none'] if options.insecure else []
        query = f'?{"&".join(given)}' if given else ''
    elif wanted:
        raise SetupError(f"{wanted} is for TLS: write a sips URI, or one with ';transport=tls'")
    return [f'{kind}:{host}:{port}{query}' for kind in kinds]


def own_name(options: argparse.Namespace) -> str:
    """The user part of our Contact: that of our address."""
    if options.from_:
        user = getattr(parse_name_addr(bracketed(options.from_)).uri, 'user', None)
        if user:
            return str(user)
    return NAME


def bracketed(text: str) -> str:
    """A URI as an address: parameters are its own."""
    if '<' in text:
        return text
    parse_uri(text)
    return f'<{text}>'


def password_of(options: argparse.Namespace) -> str | None:
    """The password of the command line, or of a file."""
    if options.password is not None:
        return str(options.password)
    if options.password_file:
        try:
            with open(options.password_file, encoding='utf-8') as file:
                return file.readline().rstrip('\r\n')
        except UnicodeDecodeError:
            raise SetupError(f'{options.password_file} is no text in UTF-8') from None
    return None


def split_header(text: str) -> tuple[str, str]:
    """``X-Id: 7``.  Raises SetupError."""
    name, colon, value = text.partition(':')
    if not colon or not name.strip() or any(c.isspace() for c in name.strip()):
        raise SetupError(f"cannot read {text!r} as a header field: write 'Name: value'")
    return name.strip(), value.strip()


def read_body(name: str) -> str:
    """The text of a file, ``-`` for the standard input, with the line ends of session descriptions.

    Raises OSError, SetupError, also where there is none.
    """
    if name == '-':
        text = read_input()
    else:
        try:
            with open(name, encoding='utf-8', newline='') as file:
                text = file.read()
        except UnicodeDecodeError:
            raise SetupError(f'{name} is no text in UTF-8') from None
    if not text.strip():
        raise SetupError(f'there is no session description in {"the standard input" if name == "-" else name}')
    return '\r\n'.join(text.splitlines()) + '\r\n'


def read_input() -> str:
    """All of the standard input.  Blocks this greenlet only, so that Ctrl-C is heard.

    Raises SetupError if it is closed, or no text.
    """
    if sys.stdin is None:
        raise SetupError('there is no standard input to read from')
    number, pieces = sys.stdin.fileno(), []
    while True:
        wait_read(number)
        piece = os.read(number, 65536)
        if not piece:
            break
        pieces.append(piece)
    try:
        return io.TextIOWrapper(io.BytesIO(b''.join(pieces)), sys.stdin.encoding).read()
    except UnicodeDecodeError:
        raise SetupError('the standard input is no text') from None


def file_name(text: str) -> str:
    """For argparse: a file, though perhaps one that is not there."""
    if not text:
        raise argparse.ArgumentTypeError('a file name is needed')
    return text


def checked_uri(text: str) -> str:
    """For argparse: a URI that can be called."""
    try:
        parse_name_addr(bracketed(text))
    except (ParseError, UsageError) as error:
        raise argparse.ArgumentTypeError(f'{text!r} is no address: write sip:user@host ({error})') from None
    return text
