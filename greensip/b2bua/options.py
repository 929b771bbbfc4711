"""The options of greensip-b2bua: the one table of their names, and their values, from INI and TOML files too.

Everything that can be checked is checked when it is read; the first mistake is a ``SetupError`` whose text is one
sentence.  ``--static-route`` and ``--listen`` may be repeated.
"""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from greensip.b2bua.access import AccessList
from greensip.b2bua.option_values import (
    WSS_SOCKET,
    address,
    capture_file,
    capture_server,
    choice,
    command_socket,
    flag,
    header_names,
    listen,
    named,
    number,
    path,
    payload_types,
    script,
    seconds,
    session_interval,
    text_of,
    websocket,
    words,
)
from greensip.b2bua.routes import parse_route
from greensip.b2bua.translate import Translation
from greensip.b2bua.trunk import parse_trunk
from greensip.dialog.session_timer import SHORTEST
from greensip.errors import ParseError, SetupError
from greensip.transport.base import Listen

__all__ = ['ADDING', 'BY_NAME', 'OPTIONS', 'Option', 'Options']


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

BY_NAME = {option.name: option for option in OPTIONS}

#: sippy's singular names: they add to the list
ADDING = {'rtp_proxy_client': 'rtp_proxy_clients', 'pass_header': 'pass_headers'}

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
        adds = name in ADDING
        option = BY_NAME.get(ADDING.get(name, name))
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
            rows.append((option.name, [text_of(option.read, item) for item in (value if option.repeats else (value,))]))
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
            option = BY_NAME[name]
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
            raise SetupError(f'{self._shown(BY_NAME["min_se"])} needs --session-timer')
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
        match = WSS_SOCKET.fullmatch(self.wss_socket or '')
        if match is not None:
            files = tuple((name, match[name]) for name in ('cert', 'key'))
            place = Listen.parse(f"wss:{match['host'] or '*'}:{match['port']}")
            addresses.append(str(place._replace(options=files)))
        return addresses

    def _shown(self, option: Option) -> str:
        origin = self.given.get(option.name, '')
        return f'{origin}: {option.name}' if origin else option.spelling


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
