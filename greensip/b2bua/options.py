"""The options of greensip-b2bua: command line, INI and TOML files, in sippy's spelling and in ours.

``OPTIONS`` is the one table of names; ``SHORT`` says what a letter stands for.  Sippy's rules hold: options are taken
in order, a later one wins, ``-C`` is read where it stands, a long name may be cut short as long as it is unique among
sippy's names.  What is more here: dashes do for underscores, an on/off option needs no value, ``--static-route`` and
``--listen`` may be repeated.  Everything that can be checked is checked when it is read; the first mistake
is a ``SetupError`` whose text is one sentence.
"""

from __future__ import annotations

import configparser
import json
import math
import os
import re
import textwrap
import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from greensip.b2bua.access import AccessList
from greensip.b2bua.control import socket_address
from greensip.b2bua.routes import OWN_HEADERS, parse_route
from greensip.b2bua.translate import Translation
from greensip.b2bua.trunk import parse_trunk
from greensip.dialog.session_timer import SHORTEST
from greensip.errors import ParseError, SetupError, UsageError
from greensip.transport.base import Listen
from greensip.transport.endpoint import TRANSPORTS
from greensip.transport.hep import HepPlace

__all__ = ['OPTIONS', 'SHORT', 'Option', 'Options', 'help_text', 'parse_command_line']

PROGRAM = 'greensip-b2bua'
INDENT = ' ' * 8


class Option(NamedTuple):
    """One option: ``read`` turns its text into the value and raises ValueError; ``repeats``: it makes a list."""

    name: str
    group: str
    read: Callable[[str], Any]
    default: Any
    help: str
    example: str
    repeats: bool = False
    sippy: bool = False

    @property
    def attribute(self) -> str:
        return self.name.replace('.', '_')

    @property
    def is_flag(self) -> bool:
        return self.read is flag

    @property
    def spelling(self) -> str:
        return '--' + self.name.replace('_', '-')


# How texts become values.

def flag(text: str) -> bool:
    """on/off and its synonyms, as in an INI file."""
    try:
        return configparser.RawConfigParser.BOOLEAN_STATES[text.lower()]
    except KeyError:
        raise ValueError(f'{text!r} is neither on nor off') from None


def number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number within bounds."""
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f'{text!r} is not a number') from None
        if value < least or (most is not None and value > most):
            bounds = f'in the range {least}-{most}' if most is not None else f'{least} or more'
            raise ValueError(f'{value} is not {bounds}')
        return value
    return read


def seconds(text: str) -> float:
    """A time greater than zero."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f'{text!r} is not a number of seconds') from None
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f'{text} is not a number of seconds greater than zero')
    return value


def address(text: str) -> str:
    """A host's name or address, with or without a port."""
    if any(character <= ' ' or character == '\x7f' for character in text):
        raise ValueError(f'{text!r} is not an address')
    return text


def named(text: str) -> str:
    """A file as it was named."""
    if not text or '\0' in text:
        raise ValueError('a file name is needed')
    return text


def path(text: str) -> str:
    """A file's absolute name: a daemon changes its directory.  ``-`` stays, it is the standard output."""
    if not text or '\0' in text:
        raise ValueError('a file name is needed')
    return text if text == '-' else os.path.abspath(text)


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(filter(None, map(str.strip, text.split(','))))


def header_names(text: str) -> tuple[str, ...]:
    names = words(text)
    for name in names:
        if name.lower() in OWN_HEADERS:
            raise ValueError(f'{name} is written by the user agent and cannot be passed on')
        if not name.isascii() or any(character in ' \t:\r\n\0' for character in name):
            raise ValueError(f'{name!r} is not the name of a header field')
    return names


def payload_types(text: str) -> tuple[int | str, ...]:
    """``0,8,[G722]``: numbers, or encoding names in brackets."""
    kinds: list[int | str] = []
    for word in words(text):
        if word.startswith('[') and word.endswith(']'):
            kinds.append(word[1:-1].upper())
        else:
            kinds.append(number(0, 127)(word))
    return tuple(kinds)


def listen(text: str) -> str:
    """``transport:host:port?option=value&option=value``."""
    try:
        place = Listen.parse(text)
    except UsageError:
        raise ValueError(f'{text!r} is not transport:host:port') from None
    if place.transport not in TRANSPORTS:
        known = ', '.join(TRANSPORTS).lower()
        raise ValueError(f'{place.transport.lower()} is no transport, they are {known}')
    # A daemon changes its directory.
    options = tuple((name, os.path.abspath(value) if name in FILES else value) for name, value in place.options)
    return str(place._replace(options=options))


def websocket(text: str) -> str:
    """sippy's ``host:port:cert:key``, as the text of a place to listen at."""
    match = _WSS_SOCKET.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not host:port:cert:key')
    host, port, *files = match.groups()
    return ':'.join((host, port, *map(os.path.abspath, files)))


def command_socket(text: str) -> str:
    socket_address(text)
    if text.startswith('tcp:'):
        return text
    return os.path.abspath(text.removeprefix('unix:'))


def capture_file(text: str) -> str:
    if text == '-':
        raise ValueError('a capture goes to a file, not to the standard output')
    return path(text)


def capture_server(text: str) -> str:
    try:
        HepPlace(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


def choice(*words: str) -> Callable[[str], str]:
    """One of several words."""
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f'{text!r} is none of {", ".join(words)}')
        return text
    return read


def session_interval(text: str) -> int:
    """Seconds of a session timer: 0, or what RFC 4028 4 lets one ask for."""
    return number(0)(text) and number(SHORTEST)(text)


def script(text: str) -> tuple[str, str]:
    """``file.py:function``."""
    file, colon, function = text.rpartition(':')
    if not colon:
        file, function = text, 'handler'
    if not file or not function.isidentifier():
        raise ValueError(f'{text!r} is not file.py:function')
    return os.path.abspath(file), function


def text_of(option: Option, value: Any) -> str:
    """The text that ``option.read`` turns into ``value``."""
    if option.is_flag:
        return 'on' if value else 'off'
    if option.read is script:
        return ':'.join(value)
    if option.read is payload_types:
        return ','.join(f'[{kind}]' if isinstance(kind, str) else str(kind) for kind in value)
    if hasattr(value, 'text'):
        return str(value.text)
    return ','.join(value) if isinstance(value, tuple) else str(value)


#: options of a place that name files
FILES = ('cert', 'key', 'ca')

_WSS_SOCKET = re.compile(r'(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[0-9]{1,5}):(?P<cert>[^:]+):(?P<key>.+)')

_LISTEN, _ROUTES, _CALLS, _ACCESS, _RECORDS, _PROCESS, _OBSERVE, _MEDIA, _RADIUS, _LATER = (
    'Where it listens', 'Where calls go', 'What a call may do', 'Who may call', 'Records', 'The process', 'Observing',
    'Media', 'RADIUS (not available yet)', 'Other subjects that come later')


def _sippy(name: str, group: str, read: Callable[[str], Any], default: Any, help: str, example: str, *,
           repeats: bool = False) -> Option:
    return Option(name, group, read, default, help, example, repeats, True)


OPTIONS: tuple[Option, ...] = (
    _sippy('sip_address', _LISTEN, address, '', 'local address for SIP over UDP; *, 0.0.0.0 and :: are all addresses',
           '-l 192.0.2.1'),
    _sippy('sip_port', _LISTEN, number(1, 65535), 5060, 'local UDP port for SIP', '-p 5070'),
    Option('listen', _LISTEN, listen, (), 'further place to listen at and to send from, transport:host:port, the'
           ' transports being udp, tcp, tls, ws and wss; tls and wss take ?cert=FILE&key=FILE&ca=FILE&verify=peer;'
           ' repeatable. Without -l and -p it is instead of port 5060 of UDP',
           "--listen tcp:0.0.0.0:5060 --listen 'tls:[::]:5061?cert=/etc/sip.pem&key=/etc/sip.key'", repeats=True),
    _sippy('wss_socket', _LISTEN, websocket, None, 'SIP over secure WebSocket, host:port:cert:key, for calls from'
           ' browsers', '--wss-socket=0.0.0.0:9876:/etc/sip.pem:/etc/sip.key'),
    Option('advertise', _LISTEN, address, '', 'host[:port] written into Via and Contact, behind NAT or on a wildcard'
           ' address',
           '--advertise 203.0.113.9'),

    _sippy('static_route', _ROUTES, parse_route, (), 'where calls go, [[cld]@]host[:port][;name=value]...; repeat it to'
           ' try several in that order. Parameters: credit-time expires np_expires nr_expires hs_scodes forward_on_fail'
           ' auth cli cnam ash rtpp op gt transport bill-to bill-cli bill-cld',
           "-s '10.0.0.5;np_expires=6;hs_scodes=486,603' -s 'backup.example.com;auth=me:secret'", repeats=True),
    Option('script', _ROUTES, script, None, "a linear handler of one's own, file.py:function, called with each"
           ' incoming leg instead of the static routes', '--script my.py:handler'),
    _sippy('static_tr_in', _ROUTES, Translation, None, 'translation of the dialled number on the way in',
           "-t 's/^00/+/'"),
    _sippy('static_tr_out', _ROUTES, Translation, None, 'translation of the dialled number on the way out',
           "-T 's/^[+]//;s/-//g'"),
    _sippy('pass_headers', _ROUTES, header_names, (), 'header fields that pass from the caller to the callee',
           '-h X-Account,X-Trunk'),
    Option('register', _ROUTES, parse_trunk, (), 'a trunk to register at, aor=URI,user=NAME,password=TEXT,'
           'registrar=URI,proxy=URI,expires=SECONDS, of which only aor is needed; calls for it come in, routes to its'
           ' host are called in its name; repeatable',
           "--register 'aor=sip:alice@example.com,password=s3cret' -s example.com", repeats=True),
    Option('redirect', _ROUTES, choice('pass', 'follow'), 'pass', 'what happens to a 3xx: it is passed to the caller,'
           ' or followed to its Contacts before the next route is tried', '--redirect follow'),
    _sippy('hide_call_id', _ROUTES, flag, False, "use a hash instead of the caller's Call-ID on the way out", '-H'),

    _sippy('max_credit_time', _CALLS, number(1), None, 'longest call in seconds, for every route', '-m 3600'),
    Option('max_calls', _CALLS, number(1), None, 'calls at a time; more are answered 503', '--max-calls 2000'),
    Option('max_duration', _CALLS, seconds, None, 'longest call in seconds, scripts included', '--max-duration 7200'),
    _sippy('keepalive_ans', _CALLS, number(0), 0, 'seconds between re-INVITEs that ask the caller whether the call'
           ' lives, 0 for none (-k 1: 32, -k 2: the callee, -k 3: both)', '-k 3'),
    _sippy('keepalive_orig', _CALLS, number(0), 0, 'the same towards the callee', '--keepalive-orig=60'),
    Option('session_timer', _CALLS, session_interval, None, 'session timers on both sides (RFC 4028), with so many'
           ' seconds asked for; 0 only keeps to those that peers ask for. Without it there are none',
           '--session-timer 1800'),
    Option('min_se', _CALLS, number(SHORTEST), None, 'the shortest session timer that peers may ask for',
           '--session-timer 1800 --min-se 300'),
    Option('prack', _CALLS, choice('off', 'supported', 'required'), None, 'reliable provisional responses (RFC 3262):'
           ' what callees are told of them; callers get them as they ask for them. Without it there are none, and a'
           ' caller that requires them is answered 420', '--prack supported'),
    Option('refer', _CALLS, choice('refuse', 'pass', 'handle'), 'refuse', 'a request to transfer a call (REFER): it is'
           ' refused with 603, passed to the other side together with what is told of it, or done here: the number in'
           ' Refer-To is called over the routes, or the two calls of an attended transfer are joined',
           '--refer handle'),
    Option('replaces', _CALLS, flag, False, 'an INVITE with Replaces (RFC 3891) that names one side of a call takes the'
           ' place of that side', '--replaces'),
    Option('drain_time', _CALLS, number(0), 5, 'seconds that calls may go on after TERM before they are hung up',
           '--drain-time 60'),

    _sippy('accept_ips', _ACCESS, AccessList, None, 'addresses and networks that may call; others are answered 403',
           '-a 192.0.2.1,10.0.0.0/8'),
    _sippy('auth_enable', _ACCESS, flag, True, 'authorisation by RADIUS (not available yet): switch it off with -u',
           '-u'),

    Option('cdr', _RECORDS, path, None, 'file for call records, a JSON object a line; - is the standard output',
           '--cdr /var/log/calls.json'),
    _sippy('acct_enable', _RECORDS, flag, True, 'write records: -A 0 none, -A 1 at the end of a call, -A 2 when it'
           ' begins too', '-A 2'),
    _sippy('start_acct_enable', _RECORDS, flag, False, 'write a record when a call is answered as well',
           '--start-acct-enable=on'),
    _sippy('precise_acct', _RECORDS, flag, False, 'times in milliseconds; they always are', '--precise-acct=on'),

    _sippy('foreground', _PROCESS, flag, False, 'do not become a daemon', '-f'),
    _sippy('pidfile', _PROCESS, path, '/var/run/b2bua.pid', 'file for the number of the process', '-P /run/b2bua.pid'),
    _sippy('logfile', _PROCESS, path, '/var/log/b2bua.log', 'log file; in the foreground only when given',
           '-L /var/log/b2bua.log'),
    _sippy('config', _PROCESS, named, None, 'read options from an INI file ([general]) or a .toml file',
           '-C /etc/b2bua.toml'),
    Option('writeconf', _PROCESS, path, None, 'write the options to a file that -C reads, and go on',
           '-W /etc/b2bua.ini'),
    Option('debug', _PROCESS, flag, False, 'log every message and state from the start (USR2 toggles it)', '--debug'),
    Option('workers', _PROCESS, number(1), 1, 'number of processes; only 1 is available yet', '--workers 1'),

    _sippy('b2bua_socket', _OBSERVE, command_socket, '/var/run/b2bua.sock', 'command socket, a path, unix:path or'
           ' tcp:host:port: q(uit), l(ist calls), lt and llt (transactions), d <call-id> or d * (disconnect)',
           '-c tcp:127.0.0.1:22222'),
    Option('metrics', _OBSERVE, str, None, 'address for metrics; not available yet', '--metrics 127.0.0.1:9090'),
    Option('web', _OBSERVE, str, None, 'address for web pages; not available yet', '--web 127.0.0.1:8080'),
    Option('pcap', _OBSERVE, capture_file, None, 'file for every message in the clear, passwords and all, for'
           ' Wireshark: .pcapng knows all transports, .pcap shows them as UDP (USR1 reopens it)',
           '--pcap calls.pcapng'),
    Option('hep', _OBSERVE, capture_server, None, 'capture server such as Homer that gets every message by HEP'
           ' version 3, [udp:|tcp:]host[:port][?id=number&password=text]', '--hep 127.0.0.1:9060?id=2001'),

    _sippy('rtp_proxy_clients', _MEDIA, words, (), 'RTP proxies; not available yet', '-r udp:127.0.0.1:22222'),
    _sippy('allowed_pts', _MEDIA, payload_types, (), 'RTP payload types that may pass, numbers or [encoding names]; all'
           ' others are taken out of session descriptions', '-F 0,8,[telephone-event]'),

    _sippy('radiusclient.conf', _RADIUS, path, None, 'configuration of the RADIUS client', '-R /etc/radiusclient.conf'),
    _sippy('max_radiusclients', _RADIUS, number(1), None, 'number of RADIUS clients', '-M 20'),
    _sippy('digest_auth', _RADIUS, flag, True, 'challenge callers; -D switches it off', '-D'),
    _sippy('digest_auth_only', _RADIUS, flag, False, 'no authorisation by address', '--digest-auth-only=on'),
    _sippy('alive_acct_int', _RADIUS, number(0), 0, 'seconds between interim records', '--alive-acct-int=300'),
    _sippy('pre_auth_proc', _RADIUS, str, None, 'procedure before authorisation', '-x HDR2Xattrs[X-foo]'),

    _sippy('sip_proxy', _LATER, str, None, 'proxy for REGISTER and SUBSCRIBE', '--sip-proxy=10.0.0.9:5060'),
    _sippy('nat_traversal', _LATER, flag, False, 'answer peers behind NAT where they sent from', '--nat-traversal=off'),
    _sippy('ui', _LATER, flag, False, 'web management', '--ui=off'),
    _sippy('uiparams', _LATER, str, None, 'parameters of the web management', '--uiparams=port=5000'),
    _sippy('xmpp_b2bua_id', _LATER, number(0), None, 'identity on the XMPP server', '--xmpp-b2bua-id=1'),
)

_BY_NAME = {option.name: option for option in OPTIONS}

#: sippy's singular names: they add to the list
_ADDING = {'rtp_proxy_client': 'rtp_proxy_clients', 'pass_header': 'pass_headers'}

#: letter: the option it stands for; those of ``_FIXED`` take no value
SHORT: dict[str, str] = {
    'l': 'sip_address', 'p': 'sip_port', 'P': 'pidfile', 'L': 'logfile', 's': 'static_route', 'a': 'accept_ips',
    't': 'static_tr_in', 'T': 'static_tr_out', 'm': 'max_credit_time', 'r': 'rtp_proxy_client', 'F': 'allowed_pts',
    'R': 'radiusclient.conf', 'h': 'pass_header', 'x': 'pre_auth_proc', 'c': 'b2bua_socket', 'M': 'max_radiusclients',
    'C': 'config', 'W': 'writeconf', 'f': 'foreground', 'D': 'digest_auth', 'u': 'auth_enable', 'H': 'hide_call_id',
}
_FIXED = {'f': 'on', 'D': 'off', 'u': 'off', 'H': 'on'}

#: letters that stand for two options each: value: their texts
_PAIRS: dict[str, tuple[tuple[str, str], dict[str, tuple[str, str]]]] = {
    'A': (('acct_enable', 'start_acct_enable'), {'0': ('off', 'off'), '1': ('on', 'off'), '2': ('on', 'on')}),
    'k': (('keepalive_ans', 'keepalive_orig'),
          {'0': ('0', '0'), '1': ('32', '0'), '2': ('0', '32'), '3': ('32', '32')}),
}

#: an option whose subject comes later, and what to tell who uses it
_NOT_YET = {
    'rtp_proxy_clients': 'RTP proxies are not available yet, the SDP passes through untouched',
    'radiusclient.conf': 'RADIUS is not available yet',
    'max_radiusclients': 'RADIUS is not available yet',
    'alive_acct_int': 'interim records come with RADIUS, which is not available yet',
    'pre_auth_proc': 'it sets RADIUS attributes, and RADIUS is not available yet',
    'sip_proxy': 'the helper proxy for REGISTER and SUBSCRIBE is not available yet',
    'nat_traversal': 'NAT traversal is not available yet',
    'ui': 'the web management is not available yet',
    'xmpp_b2bua_id': 'XMPP is not available',
    'metrics': 'metrics are not available yet',
    'web': 'web pages are not available yet',
}


class Options:
    """The values by name, as attributes; ``given`` holds the names that somebody set."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        for option in OPTIONS:
            setattr(self, option.attribute, option.default)

    if TYPE_CHECKING:
        # The attributes are made from the table.
        def __getattr__(self, name: str) -> Any: ...

    def set(self, name: str, text: str, origin: str = '', shown: str = '') -> None:
        """Give the option ``name`` the value written as ``text``.  ``origin`` is where it was written: a file, or ''
        for the command line; ``shown`` is how it was called there."""
        adds = name in _ADDING
        option = _BY_NAME.get(_ADDING.get(name, name))
        where = f'{origin}: ' if origin else ''
        if option is None:
            raise SetupError(f'{where}unknown option {shown or name}')
        try:
            value = option.read(text.strip())
        except (ValueError, ParseError) as error:
            raise SetupError(f'{where}{shown or name}: {error}') from None
        before = getattr(self, option.attribute)
        if option.repeats:
            # What a file says is replaced by the command line, not added to.
            again = self.given.get(option.name) == origin
            value = (*before, value) if again else (value,)
        elif adds:
            value = before + value
        setattr(self, option.attribute, value)
        self.given[option.name] = origin

    def read_file(self, name: str) -> None:
        """Read an INI file with its section [general], or a TOML file."""
        try:
            if name.endswith('.toml'):
                with open(name, 'rb') as file:
                    values = _toml_values(tomllib.load(file))
            else:
                with open(name, encoding='utf-8') as file:
                    parser = configparser.RawConfigParser()
                    parser.read_file(file)
                    values = [(key, text.splitlines() if '\n' in text else [text])
                              for key, text in parser.items('general')]
        except OSError as error:
            raise SetupError(f'{name} cannot be read: {error.strerror}') from None
        except configparser.NoSectionError:
            raise SetupError(f'{name} has no section [general]') from None
        except (configparser.Error, tomllib.TOMLDecodeError, UnicodeDecodeError, SetupError) as error:
            reason = str(error).replace('\n', ' ')
            raise SetupError(f'{name} cannot be understood: {reason}') from None
        for key, texts in values:
            for text in filter(None, texts) if len(texts) > 1 else texts:
                self.set(key.replace('-', '_'), text, name)

    def write_file(self, name: str) -> None:
        """Write what ``read_file`` reads: every option that has a value."""
        rows = []
        for option in OPTIONS:
            value = getattr(self, option.attribute)
            if value is None or value in ((), '') or option.name in ('config', 'writeconf'):
                continue
            rows.append((option.name, [text_of(option, item) for item in (value if option.repeats else (value,))]))
        try:
            with open(name, 'w', encoding='utf-8') as file:
                file.write('[general]\n')
                for key, texts in rows:
                    file.write(_toml_row(key, texts) if name.endswith('.toml') else _ini_row(key, texts))
        except OSError as error:
            raise SetupError(f'{name} cannot be written: {error.strerror}') from None

    def check(self) -> None:
        """Refuse what is not there yet and what makes no sense together."""
        if self.auth_enable and (self.script is None or 'auth_enable' in self.given):
            raise SetupError('authorisation by RADIUS is not available yet: pass -u and a static route (-s)')
        records_wanted = self.acct_enable and self.cdr is None
        for name, sentence in _NOT_YET.items():
            option = _BY_NAME[name]
            if not getattr(self, option.attribute):
                continue
            remedy = ''
            if option.group == _RADIUS and name != 'pre_auth_proc':
                # Settings of what is switched off harm nobody.
                if not records_wanted:
                    continue
                remedy = '; pass -A 0, or --cdr FILE for records in a file'
            raise SetupError(f'{self._shown(option)}: {sentence}{remedy}')
        if self.min_se is not None and self.session_timer is None:
            raise SetupError(f'{self._shown(_BY_NAME["min_se"])} needs --session-timer')
        if self.workers > 1:
            raise SetupError('--workers: more than one process is not available yet')
        if not self.static_route and self.script is None:
            raise SetupError('a static route (-s) is needed when authorisation is off')
        for route in self.static_route:
            if route.host == 'wss-ua':
                raise SetupError('the route wss-ua needs the helper proxy with which browsers register (sip_proxy),'
                                 ' which is not available yet')
        if records_wanted and {'acct_enable', 'start_acct_enable'} & self.given.keys():
            raise SetupError('accounting by RADIUS is not available yet: pass --cdr FILE for records in a file,'
                             ' or -A 0')

    def listening(self) -> list[str]:
        """Where to listen, as ``transport:host:port?option=value``."""
        addresses = list(self.listen)
        if not addresses or {'sip_address', 'sip_port'} & self.given.keys():
            host = self.sip_address
            if host in ('', '*'):
                host = '0.0.0.0'
            elif ':' in host and not host.startswith('['):
                host = f'[{host}]'
            addresses.insert(0, f'udp:{host}:{self.sip_port}')
        match = _WSS_SOCKET.fullmatch(self.wss_socket or '')
        if match is not None:
            files = tuple((name, match[name]) for name in ('cert', 'key'))
            place = Listen.parse(f"wss:{match['host'] or '*'}:{match['port']}")
            addresses.append(str(place._replace(options=files)))
        return addresses

    def _shown(self, option: Option) -> str:
        origin = self.given.get(option.name, '')
        return f'{origin}: {option.name}' if origin else option.spelling


def parse_command_line(arguments: list[str]) -> Options:
    """Read the arguments (without the program's name) in order; SetupError for the first mistake."""
    options = Options()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == '--' and not rest:
            break
        if word.startswith('--') and len(word) > 2:
            _long_option(options, word, rest)
        elif word.startswith('-') and len(word) > 1 and word != '--':
            _short_options(options, word, rest)
        else:
            raise SetupError(f'{word!r} is not an option')
    return options


def _long_option(options: Options, word: str, rest: list[str]) -> None:
    written, equals, text = word[2:].partition('=')
    name = _full_name(written.replace('-', '_'), word)
    option = _BY_NAME.get(name)
    if not equals:
        if option is not None and option.is_flag:
            boolean = bool(rest) and rest[0].lower() in configparser.RawConfigParser.BOOLEAN_STATES
            text = rest.pop(0) if boolean else 'on'
        elif rest:
            text = rest.pop(0)
        else:
            raise SetupError(f'option {word} needs a value')
    _set(options, name, text, f'--{written}')


def _full_name(written: str, word: str) -> str:
    """The name that ``written`` begins: sippy's names come first, so that what was unique there stays so."""
    if written in _BY_NAME or written in _ADDING:
        return written
    for sippy in (True, False):
        found = [option.name for option in OPTIONS if option.sippy is sippy and option.name.startswith(written)]
        if len(found) > 1:
            raise SetupError(f'option {word.partition("=")[0]} could be any of {", ".join(sorted(found))}')
        if found:
            return found[0]
    raise SetupError(f'unknown option {word.partition("=")[0]}')


def _short_options(options: Options, word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        shown = f'-{letter}'
        if letter in _FIXED:
            options.set(SHORT[letter], _FIXED[letter], '', shown)
            continue
        if letter not in SHORT and letter not in _PAIRS and letter not in 'dn':
            raise SetupError(f'unknown option {shown}')
        if letters:
            text, letters = letters, ''
        elif rest:
            text = rest.pop(0)
        else:
            raise SetupError(f'option {shown} needs a value')
        if letter in _PAIRS:
            names, levels = _PAIRS[letter]
            if text.strip() not in levels:
                raise SetupError(f'{shown}: {text!r} is not in the range 0-{len(levels) - 1}')
            for name, value in zip(names, levels[text.strip()]):
                options.set(name, value, '', shown)
        elif letter == 'n':
            # sippy's b2bua_simple: the next hop, and no authorisation at all.
            options.set('static_route', text, '', shown)
            options.set('auth_enable', 'off', '', shown)
        elif letter != 'd':
            _set(options, SHORT[letter], text, shown)


def _set(options: Options, name: str, text: str, shown: str) -> None:
    options.set(name, text, '', shown)
    if name == 'config':
        options.read_file(text.strip())


def _toml_values(table: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(name, texts) of a TOML file; its names stand at the top or in [general]."""
    flat = {**table, **table.pop('general', {})} if isinstance(table.get('general'), dict) else table
    return [(key, [_toml_text(key, item) for item in value] if isinstance(value, list) else [_toml_text(key, value)])
            for key, value in flat.items() if key != 'general']


def _toml_text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return 'on' if value else 'off'
    if isinstance(value, (str, int, float)):
        return str(value)
    raise SetupError(f'{key} is neither text nor number nor true or false')


def _ini_row(key: str, texts: list[str]) -> str:
    return f'{key} = ' + '\n\t'.join(texts) + '\n'


def _toml_row(key: str, texts: list[str]) -> str:
    quoted = [json.dumps(text, ensure_ascii=False).replace('\x7f', '\\u007f') for text in texts]
    key = f'"{key}"' if '.' in key else key
    return f'{key} = ' + (quoted[0] if len(quoted) == 1 else '[' + ', '.join(quoted) + ']') + '\n'


def help_text() -> str:
    """All options, grouped, with an example each."""
    letters: dict[str, str] = {}
    for letter, name in SHORT.items():
        letters[_ADDING.get(name, name)] = letter
    for letter, (names, _) in _PAIRS.items():
        letters[names[0]] = letter
    lines = [f'usage: {PROGRAM} [option]...', '',
             'A back-to-back user agent.',
             'Options may be written -s VALUE, --static-route=VALUE or --static_route=VALUE.', '',
             f"    {PROGRAM} -f -u -l 127.0.0.1 -p 5060 -s '127.0.0.1:5080'", '']
    for group in dict.fromkeys(option.group for option in OPTIONS):
        lines.append(group)
        for option in OPTIONS:
            if option.group == group:
                letter = letters.get(option.name, '')
                value = '[=on|off]' if option.is_flag else '=VALUE'
                lines.append(f'  {f"-{letter}, " if letter else ""}{option.spelling}{value}')
                lines += textwrap.wrap(option.help, 100, initial_indent=INDENT, subsequent_indent=INDENT)
                lines.append(f'{INDENT}e.g. {PROGRAM} {option.example}')
        lines.append('')
    lines += ['  -d VALUE', '        ignored', '  -n HOST[:PORT]', "        a static route without authorisation, as in"
              " sippy's b2bua_simple", '  --help, --version', '',
              'Signals: HUP drops all calls, USR1 reopens log, records and capture, USR2 toggles debug,',
              'TERM and INT drain and end with status 0.']
    return '\n'.join(lines)
