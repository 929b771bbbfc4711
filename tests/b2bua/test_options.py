"""Options: every spelling, the sentences for mistakes, and sippy's own reading of the same command lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from greensip.b2bua.command_line import SHORT, help_text, parse_command_line
from greensip.b2bua.options import OPTIONS
from greensip.errors import SetupError


def parse(line: str | list[str]) -> Any:
    return parse_command_line(line.split() if isinstance(line, str) else line)


def problem(line: str | list[str]) -> str:
    with pytest.raises(SetupError) as caught:
        parse(line).check()
    text = str(caught.value)
    assert '\n' not in text
    return text


#: command lines that sippy and we understand; -f and a route keep sippy in the foreground
COMMON = [
    '-f -u -s 127.0.0.1',
    '-fus127.0.0.1',
    '-fu -s 127.0.0.1:5080 -l 127.0.0.9 -p 5070',
    '-f -u -s 127.0.0.1 -A 0', '-f -u -s 127.0.0.1 -A 1', '-f -u -s 127.0.0.1 -A2',
    '-f -u -s 127.0.0.1 -k 0', '-f -u -s 127.0.0.1 -k 1', '-f -u -s 127.0.0.1 -k2', '-f -u -s 127.0.0.1 -k 3',
    '-f -u -s 127.0.0.1 -a 127.0.0.1,10.0.0.1 -D -H -m 3600',
    '-f -u -s 127.0.0.1 -t s/^00/+/ -T s/^[+]//g',
    '-f -u -s 127.0.0.1 -h X-A,X-B -h X-C',
    '-f -u -s 127.0.0.1 --pass_headers=X-A -h X-C',
    '-f -u -s 127.0.0.1 -r udp:127.0.0.1:22222 -r unix:/tmp/x --rtp_proxy_clients=a,b',
    '-f -u -s 127.0.0.1 --rtp_proxy_client=udp:127.0.0.1:1',
    '-f -u -s 127.0.0.1 -F 0,8,[G729] -R /etc/r.conf -M 7 -c tcp:127.0.0.1:999 -P /tmp/p -L /tmp/l -d ignored',
    '--foreground=on --auth_enable=off --static_route=127.0.0.1',
    '--foreground=yes --auth_enable=0 --static_r=127.0.0.1 --sip_a=127.0.0.3 --sip_po 5099',
    '--fore=TRUE --auth=False --static_route 127.0.0.1 --acct=off --max_c=60 --hide=1',
    '-f --auth_enable=off --static_route=127.0.0.1 --keepalive_ans=10 --keepalive_orig=20 --digest_auth=off',
    '-f -u -s 127.0.0.1 --digest_auth_only=on --start_acct_enable=on --precise_acct=on --alive_acct_int=30',
    '-f -u -s 127.0.0.1 --nat_traversal=off --ui=off --uiparams=port=1;host=2',
    '-f -u -s 127.0.0.1 -p 1 -p 2',
    '-f -u -s 127.0.0.1 --logfile=/tmp/a -L /tmp/b',
]


@pytest.mark.parametrize('line', COMMON)
@pytest.mark.usefixtures('needs_sippy')
def test_reads_as_sippy_does(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['b2bua', *line.split()])
    from sippy import b2bua
    from sippy.SipConf import SipConf

    class Read(Exception):
        pass

    made = []

    class Parser(b2bua.MyConfigParser):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    def stop(*args: object) -> None:
        raise Read

    monkeypatch.setattr(b2bua, 'MyConfigParser', Parser)
    monkeypatch.setattr(b2bua, 'SipLogger', stop)
    with pytest.raises(Read):
        b2bua.main_func()
    theirs = made[0]
    ours = parse(line)
    for option in OPTIONS:
        if not option.sippy or option.name in ('config', 'static_route', 'xmpp_b2bua_id'):
            continue
        value = getattr(ours, option.attribute)
        text = getattr(value, 'text', value)
        if option.name == 'sip_address':
            assert (text or SipConf.my_address) == theirs['_sip_address']
        elif option.name == 'sip_port':
            assert text == int(theirs['_sip_port'])
        elif option.name in ('pass_headers', 'rtp_proxy_clients'):
            names = theirs.getdefault(f'_{option.name}', [])
            assert [word.lower() for word in text] == [word.lower() for word in names]
        elif option.name == 'allowed_pts':
            assert list(text) == theirs.getdefault('_allowed_pts', [])
        elif option.is_flag:
            # sippy has no value for what nobody set; off is what it means.
            assert text == theirs.getdefault(option.name, False)
        else:
            assert (text or None) == (theirs.getdefault(option.name, None) or None)
    assert [route.text for route in ours.static_route][-1:] == [theirs['static_route']]


@pytest.mark.parametrize(('line', 'attribute', 'value'), [
    ('--static-route=h --static-route i', 'static_route', ['h', 'i']),
    ('--static_route=h;x=1 -s i', 'static_route', ['h;x=1', 'i']),
    ('--listen udp:127.0.0.1:5060 --listen=UDP:[::1]:0', 'listen', ['udp:127.0.0.1:5060', 'udp:[::1]:0']),
    ('-n 127.0.0.1:5080', 'static_route', ['127.0.0.1:5080']),
    ('-n 127.0.0.1:5080', 'auth_enable', False),
    ('--foreground', 'foreground', True),
    ('--foreground -u', 'auth_enable', False),
    ('--foreground off', 'foreground', False),
    ('--no-such', None, None),
    ('--hide-call-id', 'hide_call_id', True),
    ('--max-calls 5 --max-duration=2.5', 'max_duration', 2.5),
    ('--max-c=5', 'max_credit_time', 5),
    ('--max-ca=5', 'max_calls', 5),
    ('--cdr -', 'cdr', '-'),
    ('--cdr x.json', 'cdr', str(Path('x.json').absolute())),
    ('-c unix:sock', 'b2bua_socket', str(Path('sock').absolute())),
    ('--script my.py:run', 'script', (str(Path('my.py').absolute()), 'run')),
    ('--script my.py', 'script', (str(Path('my.py').absolute()), 'handler')),
    ('-d anything', 'foreground', False),
    ('--', 'foreground', False),
])
def test_our_spellings(line: str, attribute: str | None, value: object) -> None:
    if attribute is None:
        assert problem(line) == 'unknown option --no-such'
        return
    read = getattr(parse(line), attribute)
    assert ([getattr(item, 'text', item) for item in read] if isinstance(value, list) else read) == value


@pytest.mark.parametrize(('line', 'sentence'), [
    ('-z', 'unknown option -z'),
    ('-fz', 'unknown option -z'),
    ('--bogus=1', 'unknown option --bogus'),
    ('--keep=1', 'option --keep could be any of keepalive_ans, keepalive_orig'),
    ('stray', "'stray' is not an option"),
    ('-s', 'option -s needs a value'),
    ('--logfile', 'option --logfile needs a value'),
    ('-p 0', '-p: 0 is not in the range 1-65535'),
    ('-p x', "-p: 'x' is not a number"),
    ('-m 0', '-m: 0 is not 1 or more'),
    ('--keepalive_ans=-1', '--keepalive_ans: -1 is not 0 or more'),
    ('-A 3', "-A: '3' is not in the range 0-2"),
    ('-k x', "-k: 'x' is not in the range 0-3"),
    ('--ui=maybe', "--ui: 'maybe' is neither on nor off"),
    ('-s h:x', "-s: 'x' is not a port at 0 in 'h:x'"),
    ('-t s/(/x/', '-t: the regular expression is wrong (missing ), unterminated subpattern at position 0)'
                  " at 0 in 's/(/x/'"),
    ('-a nobody', "-a: 'nobody' is not an address or network at 0 in 'nobody'"),
    ('-h Via', '-h: Via is written by the user agent and cannot be passed on'),
    ('-h X-A,X:B', "-h: 'X:B' is not the name of a header field"),
    ('-F 200', '-F: 200 is not in the range 0-127'),
    ('-c tcp:', "-c: 'tcp:' is not tcp:host:port"),
    ('-c tcp:h:x', "-c: 'tcp:h:x' is not tcp:host:port"),
    ('--listen 127.0.0.1:5060', "--listen: '127.0.0.1:5060' is not transport:host:port"),
    ('--listen sctp:127.0.0.1:5060', '--listen: sctp is no transport, they are udp, tcp, tls, ws, wss'),
    ('--listen tcp:127.0.0.1:x', "--listen: 'tcp:127.0.0.1:x' is not transport:host:port"),
    ('--wss_socket=a:1:c', "--wss_socket: 'a:1:c' is not host:port:cert:key"),
    ('-s h;transport=sctp', "-s: 'sctp' is no transport, they are udp, tcp, tls, ws, wss at 0 in 'h;transport=sctp'"),
    ('--pcap -', '--pcap: a capture goes to a file, not to the standard output'),
    ('--hep h:0', "--hep: cannot send to 'h:0': 0 is not a port"),
    ('--hep h?x=1', '--hep: cannot read x=1 of a HEP server: it takes id=NUMBER and password=TEXT'),
    ('--max-duration nan', '--max-duration: nan is not a number of seconds greater than zero'),
    ('--script x:1y', "--script: 'x:1y' is not file.py:function"),
    ('--config=', '--config: a file name is needed'),
    ('-C /nonexistent/x.ini', '/nonexistent/x.ini cannot be read: No such file or directory'),
])
def test_a_mistake_is_told_in_a_sentence(line: str, sentence: str) -> None:
    assert problem(line) == sentence


NO_AUTHORISATION = 'authorisation by RADIUS is not available yet: pass -u and a static route (-s)'
NO_ACCOUNTING = 'RADIUS is not available yet; pass -A 0, or --cdr FILE for records in a file'


@pytest.mark.parametrize(('line', 'sentence'), [
    ('-s h', NO_AUTHORISATION),
    ('', NO_AUTHORISATION),
    ('--script x.py:h --auth_enable=on', NO_AUTHORISATION),
    ('-u', 'a static route (-s) is needed when authorisation is off'),
    ('-u -s h -r udp:1.2.3.4:1',
     '--rtp-proxy-clients: RTP proxies are not available yet, the SDP passes through untouched'),
    ('-u -s h -R /etc/r', f'--radiusclient.conf: {NO_ACCOUNTING}'),
    ('-u -s h -M 3', f'--max-radiusclients: {NO_ACCOUNTING}'),
    ('-u -s h -A 2', 'accounting by RADIUS is not available yet: pass --cdr FILE for records in a file, or -A 0'),
    ('-u -s h -x HDR2Xattrs[X]', '--pre-auth-proc: it sets RADIUS attributes, and RADIUS is not available yet'),
    ('-u -s h --sip_proxy=h', '--sip-proxy: the helper proxy for REGISTER and SUBSCRIBE is not available yet'),
    ('-u -s h --nat_traversal=on', '--nat-traversal: NAT traversal is not available yet'),
    ('-u -s wss-ua', 'the route wss-ua needs the helper proxy with which browsers register (sip_proxy), which is not'
     ' available yet'),
    ('-u -s h --ui=on', '--ui: the web management is not available yet'),
    ('-u -s h --metrics h:1', '--metrics: metrics are not available yet'),
    ('-u -s h --web h:1', '--web: web pages are not available yet'),
    ('-u -s h --workers 2', '--workers: more than one process is not available yet'),
])
def test_what_comes_later_is_refused(line: str, sentence: str) -> None:
    assert problem(line) == sentence


@pytest.mark.parametrize('line', [
    '-u -s h', '-f -u -s h', '-u -s h -F 0,8,[G722]',
    '-n h;transport=tls --listen tls:*:5061 --wss_socket=0.0.0.0:443:c:k', '-n h --pcap f.pcapng --hep tcp:h:1?id=7',
    '--script x.py:h', '-u -s h -A 0 -R /etc/r -M 3', '-u -s h -A 2 --cdr f -R /etc/r',
    '-u -s h --ui=off --nat_traversal=off --workers 1 -D --digest_auth_only=on --uiparams=x',
])
def test_what_runs(line: str) -> None:
    parse(line).check()


@pytest.mark.parametrize(('line', 'addresses'), [
    ('', ['udp:0.0.0.0:5060']),
    ('-l *', ['udp:0.0.0.0:5060']),
    ('-l :: -p 5070', ['udp:[::]:5070']),
    ('-l [::1]', ['udp:[::1]:5060']),
    ('--listen udp:127.0.0.1:5080', ['udp:127.0.0.1:5080']),
    ('--listen udp:127.0.0.1:5080 -p 5061', ['udp:0.0.0.0:5061', 'udp:127.0.0.1:5080']),
    ('--listen TCP:127.0.0.1 --listen tls:* --listen ws:[::1]', ['tcp:127.0.0.1:5060', 'tls:0.0.0.0:5061',
                                                                'ws:[::1]:80']),
    ('--listen tls:[::]:5061?cert=/c&key=/k&verify=peer', ['tls:[::]:5061?cert=/c&key=/k&verify=peer']),
    ('--wss_socket=0.0.0.0:9876:/c:/k', ['udp:0.0.0.0:5060', 'wss:0.0.0.0:9876?cert=/c&key=/k']),
    ('--wss_socket=[::1]:9876:/c:/k -p 5061', ['udp:0.0.0.0:5061', 'wss:[::1]:9876?cert=/c&key=/k']),
])
def test_where_it_listens(line: str, addresses: list[str]) -> None:
    assert parse(line).listening() == addresses


def test_certificates_are_found_after_a_daemon_has_changed_its_directory(tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = parse('--listen tls:*?cert=c.pem&ca=ca.pem --wss_socket=:443:c.pem:k.pem')
    monkeypatch.chdir('/')
    assert options.listening() == [f'tls:0.0.0.0:5061?cert={tmp_path}/c.pem&ca={tmp_path}/ca.pem',
                                   f'wss:0.0.0.0:443?cert={tmp_path}/c.pem&key={tmp_path}/k.pem']


@pytest.mark.parametrize('suffix', ['.ini', '.toml'])
def test_a_written_file_reads_as_the_same(suffix: str, tmp_path: Path) -> None:
    arguments = ['-f', '-u', '-s', '1@h:5061;ash=X-A%3A%20%25;auth=a:b"\\c', '-s', 'i', '-t', 's/#//g;s/^(.)/\\1/',
                 '-a', '10.0.0.0/8', '-h', 'X-A,X-B', '-k', '3', '-m', '60', '--script', 'a.py:b', '-F', '0,[G722]',
                 '--listen', 'udp:[::1]:5060', '--listen', 'tls:*:5061?cert=/a%26b',
                 '--wss_socket', 'h:443:/c:/k', '-l', '127.0.0.1', '--cdr', '-', '--max-duration', '2.5', '-A', '2',
                 '--register', 'aor=sip:a@h,password=x%2Cy', '--register', 'aor=sip:b@h', '--prack', 'supported',
                 '--refer', 'handle', '--session-timer', '1800', '--min-se', '120', '--replaces',
                 '--redirect', 'follow']
    first = parse(arguments)
    file = str(tmp_path / f'b2bua{suffix}')
    first.write_file(file)
    second = parse(['-C', file])
    assert [trunk.text for trunk in second.register] == ['aor=sip:a@h,password=x%2Cy', 'aor=sip:b@h']
    for option in OPTIONS:
        if option.name == 'config':
            continue
        before, after = (getattr(options, option.attribute) for options in (first, second))
        assert str([getattr(before, 'text', before)]) == str([getattr(after, 'text', after)]), option.name
    assert [route.text for route in second.static_route] == [arguments[3], 'i']


@pytest.mark.usefixtures('needs_sippy')
def test_sippy_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sippy.MyConfigParser import MyConfigParser

    file = str(tmp_path / 'b2bua.ini')
    parse(['-f', '-u', '-s', '127.0.0.1;ash=A%3A%20b', '-p', '5070', '-h', 'X-A', '-k', '1']).write_file(file)
    parser = MyConfigParser()
    # Ours alone are unknown to sippy.
    lines = Path(file).read_text().splitlines()
    ours = ('debug', 'workers', 'drain_time', 'redirect', 'refer', 'replaces')
    Path(file).write_text('\n'.join(line for line in lines if not line.startswith(ours)))
    if not hasattr(parser, 'readfp'):
        monkeypatch.setattr('configparser.RawConfigParser.readfp', MyConfigParser.read_file, raising=False)
    parser.read(file)
    assert (parser['static_route'], parser['_sip_port'], parser['keepalive_ans'], parser['foreground']) == (
        '127.0.0.1;ash=A%3A%20b', 5070, 32, True)


def test_the_command_line_replaces_what_a_file_says(tmp_path: Path) -> None:
    file = tmp_path / 'b2bua.ini'
    file.write_text('[general]\nstatic_route = a\n\tb\nsip_port = 5070\nauth-enable = off\n')
    before = parse(['-p', '1', '-C', str(file)])
    assert [route.text for route in before.static_route] == ['a', 'b']
    assert (before.sip_port, before.auth_enable) == (5070, False)
    after = parse(['-C', str(file), '-s', 'c', '-s', 'd', '-p', '2'])
    assert ([route.text for route in after.static_route], after.sip_port) == (['c', 'd'], 2)


@pytest.mark.parametrize(('name', 'text', 'sentence'), [
    ('a.ini', 'static_route = x\n', 'cannot be understood: File contains no section headers.'),
    ('a.ini', '[other]\nx = 1\n', 'has no section [general]'),
    ('a.ini', '[general]\nbogus = 1\n', ': unknown option bogus'),
    ('a.ini', '[general]\nsip_port = x\n', ": sip_port: 'x' is not a number"),
    ('a.ini', '[general]\nui = on\nauth_enable=off\nstatic_route=h', ': ui: the web management is not available yet'),
    ('a.toml', 'static_route = ', 'cannot be understood: '),
    ('a.toml', 'sip_port = 1970-01-01', 'cannot be understood: sip_port is neither text nor number'),
    ('a.toml', '[general]\nbogus = 1\n', ': unknown option bogus'),
    ('a.toml', 'sip-port = true', ": sip_port: 'on' is not a number"),
])
def test_a_wrong_file_is_told_in_a_sentence(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)
    said = problem(['-C', str(file)])
    assert said.startswith(str(file))
    assert sentence in said


def test_a_file_of_octets_is_told_in_a_sentence(tmp_path: Path) -> None:
    for name in ('a.ini', 'a.toml'):
        (tmp_path / name).write_bytes(b'\xff\xfe\x00')
        assert 'cannot be understood' in problem(['-C', str(tmp_path / name)])


def test_toml_with_lists_and_types(tmp_path: Path) -> None:
    file = tmp_path / 'b2bua.toml'
    file.write_text('static-route = ["a;expires=3", "b"]\nauth_enable = false\n"radiusclient.conf" = "/etc/r"\n'
                    '[general]\nsip_port = 5070\nmax_duration = 1.5\n')
    options = parse(['-C', str(file)])
    assert [route.text for route in options.static_route] == ['a;expires=3', 'b']
    assert (options.auth_enable, options.sip_port, options.max_duration) == (False, 5070, 1.5)
    assert options.radiusclient_conf == '/etc/r'


def test_a_file_that_cannot_be_written() -> None:
    with pytest.raises(SetupError, match='/nonexistent/x cannot be written: No such file or directory'):
        parse('-n h').write_file('/nonexistent/x')


def test_help_shows_every_option_with_an_example() -> None:
    text = help_text()
    for option in OPTIONS:
        assert option.spelling in text and option.example in text
    for letter in SHORT:
        assert f'-{letter}, --' in text or f'-{letter} ' in text


def test_every_example_is_understood() -> None:
    import shlex
    for option in OPTIONS:
        if not option.example.startswith('-C'):
            parse(shlex.split(option.example))
