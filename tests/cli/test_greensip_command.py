"""The command ``greensip`` as a person starts it: what it prints, what it exits with, what Ctrl-C does."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks import peers
from benchmarks.certificates import Authority

from greensip.body import MessageSummary
from greensip.cli.main import COMMANDS
from greensip.cli.outcome import STATUSES
from greensip.ua import Notifier, UserAgent

COMMAND = [sys.executable, '-u', '-m', 'greensip']
SDP = ('v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n'
       'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')


class Ended:
    """A command that has ended."""

    def __init__(self, process: subprocess.Popen[str], out: str, err: str) -> None:
        self.status, self.out, self.err = process.returncode, out, err

    @property
    def events(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def outcome(self) -> dict[str, Any]:
        assert self.events[-1]['event'] == 'outcome' and self.events[-1]['status'] == self.status
        found: dict[str, Any] = self.events[-1]
        return found


def run(*arguments: object, stdin: str | None = None, env: dict[str, str] | None = None,
        act: Callable[[subprocess.Popen[str]], None] | None = None, seconds: float = 20) -> Ended:
    """Run the command to its end while our hub goes on."""
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL, text=True,
                               env={**os.environ, **(env or {})})

    def talk() -> tuple[str, str]:
        return process.communicate(stdin, timeout=seconds)

    try:
        if act is not None:
            act(process)
        out, err = gevent.get_hub().threadpool.apply(talk)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return Ended(process, out, err)


@pytest.fixture
def bob() -> Iterator[UserAgent]:
    with UserAgent('udp:127.0.0.1:0', name='bob', watchdog=None) as ua:
        yield ua


def answering(leg: Any) -> None:
    leg.ring()
    leg.answer()
    leg.wait_ended()


@pytest.fixture
def answer(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., tuple[peers.Peer, int]]]:
    """``answer('--once')`` starts ``greensip answer`` on a free port."""
    with peers.stopped_at_end([]) as running:
        def start(*arguments: str) -> tuple[peers.Peer, int]:
            port = free_port()
            peer = peers.Peer('answer', [*COMMAND, 'answer', '--listen', f'udp:127.0.0.1:{port}', *arguments], tmp_path)
            running.append(peer)
            peer.wait_for_text('listening on')
            return peer, port

        yield start


# -- what it says


def test_help_teaches() -> None:
    text = run('--help').out
    for command in COMMANDS:
        assert f'    {command.name} ' in text or f'    {command.name}\n' in text
        mine = run(command.name, '--help')
        assert mine.status == 0 and f'  greensip {command.name} ' in mine.out, 'no example'
        for status, (word, _) in STATUSES.items():
            assert f'{status:>3}  {word}' in mine.out


def test_python_m_and_version() -> None:
    assert run('--version').out.startswith('greensip ')


@pytest.mark.parametrize(('arguments', 'what'), [
    ([], 'the following arguments are required: COMMAND'),
    (['dance'], "invalid choice: 'dance'"),
    (['call'], 'the following arguments are required: URI'),
    (['call', 'bob'], "'bob' is no address"),
    (['call', 'sip:bob@127.0.0.1', '--seconds', 'x'], "'x' is no number of seconds"),
    (['call', 'sip:bob@127.0.0.1', '--header', 'nothing'], "write 'Name: value'"),
    (['call', 'sip:bob@127.0.0.1', '--password', 'x'], 'a password needs a name'),
    (['call', 'sip:bob@127.0.0.1', '--sdp', '/nonexistent'], '/nonexistent'),
    (['call', 'sip:bob@127.0.0.1', '--pcap', '/nonexistent/x'], '/nonexistent/x'),
    (['call', 'sip:bob@127.0.0.1', '--listen', 'udp:192.0.2.77:5060'], '192.0.2.77'),
    (['options', 'sip:bob@127.0.0.1', '--count', '0'], "'0' is no whole number above 0"),
    (['answer', '--presence', 'nonsense', '--listen', 'udp:127.0.0.1:0'], 'nonsense'),
    (['call', 'sip:bob@127.0.0.1', '--from', 'a b'], "'a b' is no address"),
    (['call', 'sip:bob@127.0.0.1', '--proxy', 'a b'], "'a b' is no address"),
    (['call', 'sip:bob@127.0.0.1', '--sdp', sys.executable], f'{sys.executable} is no text'),
    (['call', 'sip:bob@127.0.0.1', '--user', 'a', '--password-file', sys.executable], f'{sys.executable} is no text'),
    (['answer', '--listen', 'tls:127.0.0.1:0'], 'nobody can call: tls and wss'),
    (['answer', '--code', '180', '--listen', 'udp:127.0.0.1:0'], '--code 180 is no final response'),
    (['answer', '--registrar', 'sip:127.0.0.1'], '--registrar needs --aor'),
    (['answer', '--presence', ''], 'write online, busy'),
    (['call', 'sip:bob@127.0.0.1', '--follow', '-3'], "'-3' is no whole number"),
    (['call', 'sip:bob@127.0.0.1', '--sdp', ''], 'a file name is needed'),
    (['call', 'sip:bob@127.0.0.1', '--sdp', '/dev/null'], 'there is no session description in /dev/null'),
    (['call', 'sip:bob@127.0.0.1', '--sdp', '-'], 'there is no session description in the standard input'),
    (['call', 'sip:bob@127.0.0.1', '--sdp', '/'], '/ cannot be used: Is a directory'),
    (['call', 'sip:bob@127.0.0.1', '--user', 'a', '--password-file', ''], 'a file name is needed'),
    (['call', 'sip:bob@127.0.0.1', '--ca', '/nonexistent'], '--ca is for TLS'),
    (['call', 'sips:bob@127.0.0.1', '--insecure', '--listen', 'tls:*:0'], '--insecure is an option of the place'),
    (['message', 'sip:bob@127.0.0.1', 'x', '--content-type', 'text'], "'text' is no type of a body"),
    (['watch', 'sip:bob@127.0.0.1', '--package', ''], "'' is no event package"),
    (['watch', 'sip:bob@127.0.0.1', '--package', 'a b'], "'a b' is no event package"),
    (['register', 'sip:bob@127.0.0.1', '--registrar', 'tel:+49'], 'tel:+49 is no registrar'),
])
def test_mistakes_are_told_in_a_sentence(arguments: list[str], what: str) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (2, '')
    assert what in done.err and done.err.startswith('greensip: ') and done.err.count('\n') == 1


@pytest.mark.parametrize(('line', 'status', 'what'), [
    ('message sip:bob@127.0.0.1:9 - <&-', 2, 'greensip: there is no standard input to read from\n'),
    ('call sip:bob@127.0.0.1:9 --sdp - <&-', 2, 'greensip: there is no standard input to read from\n'),
    ('options sip:bob@127.0.0.1:9 >&-', 8, ''),
    ('options sip:bob@127.0.0.1:9 2>&- >/dev/null', 8, ''),
    ('call bob 2>&-', 2, ''),
    ('options sip:bob@127.0.0.1:9 >/dev/full', 130,
     'greensip: the output cannot be written: No space left on device\n'),
])
def test_streams_that_are_closed_or_full(line: str, status: int, what: str) -> None:
    done = subprocess.run(['sh', '-c', f'exec "$@" {line}', 'sh', *COMMAND], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (status, what)


# -- calls


def test_a_call_is_drawn(bob: UserAgent) -> None:
    bob.serve(answering, background=True)
    done = run('call', bob.uri, '--seconds', '0.2')
    assert done.status == 0
    lines = [' '.join(line[10:].split()) for line in done.out.splitlines()]
    drawn = [line for line in lines if line.startswith('|')]
    titles = ['INVITE (sdp)', '180 INVITE', '200 INVITE (sdp)', 'ACK', 'BYE', '200 BYE']
    for line, word in zip(drawn, titles, strict=True):
        assert f'- {word} -' in line
    assert drawn[0].startswith('|-') and '>|' in drawn[0] and drawn[1].startswith('|<-')
    # What is said about them comes when we get to it.
    said = [line for line in lines if not line.startswith('|')]
    for line, word in zip(said, ['we peer', 'it rings', 'answered by', 'hung up after 0.2 s'], strict=True):
        assert line.startswith(word)


def test_a_call_as_json(bob: UserAgent) -> None:
    bob.serve(answering, background=True)
    done = run('call', bob.uri, '--seconds', '0', '--json', '--from', 'sip:alice@example.com', '--header', 'X-Id: 7',
               '--messages')
    assert done.outcome['outcome'] == 'done'
    messages = [event for event in done.events if event['event'] == 'message']
    assert [(m['direction'], m['method'], m['code']) for m in messages] == [
        ('sent', 'INVITE', None), ('received', 'INVITE', 180), ('received', 'INVITE', 200), ('sent', 'ACK', None),
        ('sent', 'BYE', None), ('received', 'BYE', 200)]
    assert len({m['call_id'] for m in messages}) == 1 and messages[0]['body'] == 'application/sdp'
    assert 'From: <sip:alice@example.com>;tag=' in messages[0]['text'] and 'X-Id: 7\r\n' in messages[0]['text']
    assert [e['code'] for e in done.events if e['event'] == 'note'] == [180, 200]


@pytest.mark.parametrize(('code', 'status'), [(486, 10), (600, 10), (403, 11), (404, 4), (408, 7), (503, 5), (603, 6)])
def test_what_a_refusal_exits_with(bob: UserAgent, code: int, status: int) -> None:
    bob.serve(lambda leg: leg.reject(code), background=True)
    done = run('call', bob.uri, '--json', '--quiet')
    assert (done.status, done.outcome['code']) == (status, code)
    assert [event['event'] for event in done.events] == ['outcome']


def test_redirections_are_followed_if_asked_for(bob: UserAgent) -> None:
    with UserAgent('udp:127.0.0.1:0', name='carol', watchdog=None) as carol:
        carol.serve(answering, background=True)
        bob.serve(lambda leg: leg.redirect(carol.uri), background=True)
        done = run('call', bob.uri, '--follow', 0, '--json')
        assert (done.status, done.outcome['outcome']) == (3, 'redirected')
        assert run('call', bob.uri, '--seconds', 0).status == 0


def test_nobody_is_there(free_port: Callable[[], int]) -> None:
    done = run('call', f'sip:bob@127.0.0.1:{free_port()};transport=tcp', '--json')
    assert (done.status, done.outcome['outcome']) == (8, 'unreachable')


def test_nobody_answers(bob: UserAgent) -> None:
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    done = run('call', bob.uri, '--timeout', '0.3', '--json')
    assert (done.status, done.outcome['outcome']) == (7, 'no answer')
    assert [e['method'] for e in done.events if e['event'] == 'message' and e['direction'] == 'sent'][1] == 'CANCEL'


def test_the_peer_hangs_up(bob: UserAgent) -> None:
    def handler(leg: Any) -> None:
        leg.answer()
        leg.wait_for('ACK')
        leg.hangup('Q.850;cause=16;text="bye \x1b[31m"')

    bob.serve(handler, background=True)
    done = run('call', bob.uri)
    assert done.status == 0 and 'the peer hung up after' in done.out
    assert '\x1b' not in done.out


def test_a_late_offer_and_an_offer_from_a_file(bob: UserAgent, tmp_path: Path) -> None:
    acks: list[bytes] = []
    offers: list[bytes] = []

    def handler(leg: Any) -> None:
        offers.append(leg.offer)
        leg.answer(SDP)
        acks.append(leg.wait_for('ACK', timeout=5).message.body)
        leg.wait_ended()

    bob.serve(handler, background=True)
    assert run('call', bob.uri, '--late-offer', '--seconds', 0).status == 0
    assert offers == [b''] and b'm=audio' in acks[0] and b'a=inactive' in acks[0]
    (tmp_path / 'offer.sdp').write_text(SDP.replace('\r\n', '\n'))
    assert run('call', bob.uri, '--sdp', tmp_path / 'offer.sdp', '--seconds', 0).status == 0
    assert run('call', bob.uri, '--sdp', '-', '--seconds', 0, stdin=SDP).status == 0
    assert offers[1:] == [SDP.encode()] * 2


def test_what_a_call_may_ask_for(bob: UserAgent) -> None:
    bob.serve(answering, background=True)
    done = run('call', bob.uri, '--prack', 'required', '--session-timer', '90', '--seconds', 0, '--json', '--messages')
    assert done.status == 0
    messages = [event for event in done.events if event['event'] == 'message']
    assert 'PRACK' in {message['method'] for message in messages}
    assert 'Session-Expires: 90' in messages[0]['text'] and 'Require: 100rel' in messages[0]['text']
    assert run('call', bob.uri, '--session-timer', '10').status == 2


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_hangs_up(bob: UserAgent, number: int) -> None:
    ended: list[Any] = []

    def handler(leg: Any) -> None:
        leg.answer()
        leg.wait_for('ACK', timeout=5)
        process.send_signal(number)
        ended.append(leg.wait_ended(timeout=5).error)

    bob.serve(handler, background=True)
    process: Any = None

    def act(started: Any) -> None:
        nonlocal process
        process = started

    done = run('call', bob.uri, '--json', act=act)
    assert done.outcome['outcome'] == 'done'
    assert [e['code'] for e in done.events if e['event'] == 'message'][-1] == 200, 'the BYE was answered'
    assert 'hung up' in str(ended[0])


def test_ctrl_c_while_it_rings(bob: UserAgent) -> None:
    def handler(leg: Any) -> None:
        leg.ring()
        gevent.sleep(0.1)
        process.send_signal(signal.SIGINT)
        leg.wait_ended(timeout=5)

    bob.serve(handler, background=True)
    process: Any = None

    def act(started: Any) -> None:
        nonlocal process
        process = started

    done = run('call', bob.uri, '--json', act=act)
    assert (done.status, done.outcome['outcome']) == (130, 'interrupted')
    assert 'CANCEL' in {e['method'] for e in done.events if e['event'] == 'message'}


@pytest.mark.parametrize('coloured', [True, False])
def test_a_terminal_that_is_closed_hangs_up(bob: UserAgent, coloured: bool) -> None:
    endings: list[Any] = []

    def handler(leg: Any) -> None:
        leg.answer()
        leg.wait_for('ACK', timeout=10)
        os.close(terminal)
        endings.append(leg.wait_ended(timeout=10).error)

    bob.serve(handler, background=True)
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [*COMMAND, 'call', bob.uri, *([] if coloured else ['--plain'])])
    status = gevent.get_hub().threadpool.apply(os.waitpid, (child, 0))[1]
    assert os.waitstatus_to_exitcode(status) == 0
    assert 'hung up' in str(endings[0])


def test_ctrl_c_where_it_reads_from_a_terminal() -> None:
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [*COMMAND, 'message', 'sip:bob@127.0.0.1:9', '-', '--plain'])
    # Once it has begun to read it has its own signal handlers.
    end = time.monotonic() + 20
    while time.monotonic() < end and not os.waitpid(child, os.WNOHANG)[0]:
        os.write(terminal, b'\x03')
        gevent.sleep(0.2)
    else:
        ended = time.monotonic() < end
    os.close(terminal)
    assert ended


def test_passwords_come_from_where_nobody_looks_and_are_masked(bob: UserAgent, tmp_path: Path) -> None:
    tries: list[Any] = []

    def handler(leg: Any) -> None:
        found = leg.headers.get('Authorization')
        tries.append(found)
        if found is None:
            leg.reject(401, headers={'WWW-Authenticate': 'Digest realm="here", nonce="abc", qop="auth"'})
        else:
            leg.answer()
            leg.wait_ended()

    bob.serve(handler, background=True)
    (tmp_path / 'secret').write_text('s3cret\n')
    common = ('call', bob.uri, '--seconds', 0, '--from', 'sip:alice@example.com', '--messages')
    for given, env in ((('--password-file', tmp_path / 'secret'), {}), ((), {'GREENSIP_PASSWORD': 's3cret'}),
                       (('--password', 's3cret', '--user', 'al'), {})):
        tries.clear()
        done = run(*common, *given, env=env)
        assert done.status == 0 and len(tries) == 2
        assert f'username="{"al" if given[2:] else "alice"}"' in tries[1]
        assert 'response=***' in done.out
    assert run('call', bob.uri, '--user', 'x').status == 11
    assert run('options', bob.uri, env={'GREENSIP_PASSWORD': 's3cret'}).status == 0, 'a password that nobody asked for'


def test_over_tls(free_port: Callable[[], int], tmp_path: Path) -> None:
    made = Authority(tmp_path).issue()
    with UserAgent(f'tls:127.0.0.1:0?cert={made.cert}&key={made.key}', name='bob', watchdog=None) as ua:
        ua.serve(answering, background=True)
        uri = f'sip:bob@127.0.0.1:{ua.points[0].address[1]};transport=tls'
        assert run('call', uri, '--seconds', 0, '--ca', made.ca).status == 0
        assert run('call', uri, '--seconds', 0, '--insecure').status == 0
        assert run('call', uri, '--seconds', 0).status == 8


# -- answer, options, message


def test_answer_takes_calls_and_texts(answer: Callable[..., Any], bob: UserAgent) -> None:
    peer, port = answer('--ring', '0.1')
    with bob.invite(f'sip:x@127.0.0.1:{port}') as leg:
        leg.wait_for('180', timeout=5)
        leg.wait_for('200', timeout=5)
    bob.message(f'sip:x@127.0.0.1:{port}', 'hello\x1b there', timeout=5)
    peer.wait_for_text(f'{bob.uri.rpartition(":")[0]}.* calls sip:x@127.0.0.1')
    peer.wait_for_text(r'writes: hello\\x1b there')
    peer.send_signal(signal.SIGINT)
    assert peer.wait(10) == 0
    assert peer.printed().splitlines()[-1].endswith(' ended')


def test_answer_in_other_ways(answer: Callable[..., Any], bob: UserAgent) -> None:
    from greensip import Busy, Redirected, RemoteHangup

    busy, port = answer('--code', '486', '--once')
    with pytest.raises(Busy):
        bob.call(f'sip:x@127.0.0.1:{port}', timeout=5)
    assert busy.wait(10) == 0
    _, port = answer('--redirect', 'sip:carol@192.0.2.7')
    with pytest.raises(Redirected) as away:
        bob.call(f'sip:x@127.0.0.1:{port}', timeout=5)
    assert str(away.value.contacts[0].uri) == 'sip:carol@192.0.2.7'
    brief, port = answer('--seconds', '0.1', '--once', '--json')
    with bob.call(f'sip:x@127.0.0.1:{port}', timeout=5) as leg:
        assert isinstance(leg.wait_ended(timeout=5).error, RemoteHangup)
    assert brief.wait(10) == 0
    assert json.loads(brief.printed().splitlines()[-1])['outcome'] == 'done'


def test_answer_gives_up(free_port: Callable[[], int]) -> None:
    assert run('answer', '--listen', f'udp:127.0.0.1:{free_port()}', '--timeout', '0.1').status == 7


def test_a_port_in_use(answer: Callable[..., Any]) -> None:
    _, port = answer()
    done = run('answer', '--listen', f'udp:127.0.0.1:{port}')
    assert done.status == 2 and str(port) in done.err and done.err.count('\n') == 1


def test_options_tell_what_somebody_can(bob: UserAgent, free_port: Callable[[], int]) -> None:
    done = run('options', bob.uri, '--count', '3', '--interval', '0')
    assert done.status == 0 and 'it knows: INVITE, ACK' in done.out and '3 of 3 answered' in done.out
    assert run('options', f'sip:127.0.0.1:{free_port()}', '--count', 2, '--interval', 0).status == 8
    bob.handle('OPTIONS', lambda incoming: 404)
    assert run('options', bob.uri).status == 4


def test_a_text_from_the_line_and_from_a_pipe(bob: UserAgent) -> None:
    got: list[Any] = []
    bob.handle('MESSAGE', lambda incoming: got.append(incoming.request.body))
    assert run('message', bob.uri, 'hello').status == 0
    assert run('message', bob.uri, '-', stdin='from a pipe').status == 0
    assert got == [b'hello', b'from a pipe']
    bob.handle('MESSAGE', lambda incoming: 480)
    assert run('message', bob.uri, 'hello').status == 4


# -- register, registrar


@pytest.fixture
def registrar(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[tuple[peers.Peer, int]]:
    """``greensip registrar`` with two users."""
    with peers.stopped_at_end([]) as running:
        port = free_port()
        peer = peers.Peer('registrar', [*COMMAND, 'registrar', '--listen', f'udp:127.0.0.1:{port}', '--user',
                                        'alice:s3cret', '--user', 'bob:b0b', '--ladder'], tmp_path)
        running.append(peer)
        peer.wait_for_text('listening on')
        yield peer, port


def test_register_and_be_called(registrar: tuple[peers.Peer, int], answer: Callable[..., Any]) -> None:
    peer, port = registrar
    bob, _ = answer('--aor', f'sip:bob@127.0.0.1:{port}', '--password', 'b0b', '--once', '--seconds', '0.1')
    done = run('call', f'sip:bob@127.0.0.1:{port}', '--from', f'sip:alice@127.0.0.1:{port}', '--password', 's3cret')
    assert done.status == 0 and 'the peer hung up' in done.out
    assert bob.wait(10) == 0
    assert 'registered sip:bob@127.0.0.1' in bob.printed()
    peer.wait_for_text('bob@greensip unregistered')
    assert '401 Unauthorized' in peer.printed()


def test_register_as_long_as_told(registrar: tuple[peers.Peer, int]) -> None:
    _, port = registrar
    aor = f'sip:alice@127.0.0.1:{port}'
    done = run('register', aor, '--password', 's3cret', '--seconds', '0.1', '--json')
    assert done.outcome['text'] == 'registered, and un-registered'
    note = next(event for event in done.events if event['event'] == 'note')
    assert (note['aor'], note['expires'], len(note['contacts'])) == (aor, 3600, 1)
    assert run('register', aor, '--password', 'wrong').status == 11
    assert run('register', f'sip:nobody@127.0.0.1:{port}', '--password', 'x', '--expires', '0').status == 2

    def act(process: Any) -> None:
        process.stdout.readline()
        asked = run('register', aor, '--password', 's3cret', '--query', '--json')
        assert asked.outcome['text'] == '1 contacts'
        assert run('register', aor, '--password', 's3cret', '--remove-all', '--quiet').out.endswith('0 contacts\n')
        process.send_signal(signal.SIGINT)

    done = run('register', aor, '--password', 's3cret', '--quiet', act=act)
    assert done.status == 0 and done.out.endswith('ended\n')


def test_no_registrar_there(free_port: Callable[[], int]) -> None:
    assert run('register', f'sip:alice@127.0.0.1:{free_port()}').status == 8


# -- transfer, watch


@pytest.mark.parametrize('attended', [False, True])
def test_transfer(bob: UserAgent, attended: bool) -> None:
    with (UserAgent('udp:127.0.0.1:0', name='carol', watchdog=None) as carol,
          UserAgent('udp:127.0.0.1:0', name='dave', watchdog=None, refer='accept') as dave):
        carol.serve(answering, background=True)
        dave.serve(answering, background=True)
        done = run('transfer', dave.uri, carol.uri, '--json', *(['--attended'] if attended else []))
        assert (done.status, done.outcome['text']) == (0, 'transferred: 200 OK')
        assert 'REFER' in {event['method'] for event in done.events if event['event'] == 'message'}
        bob.serve(lambda leg: leg.reject(486), background=True)
        done = run('transfer', dave.uri, bob.uri, '--json', *(['--attended'] if attended else []))
        assert (done.status, done.outcome['code']) == (10, 486)


def test_a_transfer_that_is_refused(bob: UserAgent) -> None:
    bob.serve(answering, background=True)
    done = run('transfer', bob.uri, 'sip:carol@127.0.0.1:9', '--json')
    assert done.status in (4, 6) and done.outcome['code'] in (405, 501, 603)


def test_answer_lets_itself_be_transferred(answer: Callable[..., Any], bob: UserAgent) -> None:
    bob.serve(answering, background=True)
    _, port = answer('--refer', 'accept')
    assert run('transfer', f'sip:x@127.0.0.1:{port}', bob.uri, '--quiet').out.endswith('transferred: 200 OK\n')


def test_watch(bob: UserAgent) -> None:
    notifier = Notifier('message-summary')
    bob.events('message-summary', notifier)
    notifier.publish('sip:bob@127.0.0.1', MessageSummary(counts={'voice-message': (1, 0)}).to_bytes())

    def act(process: Any) -> None:
        line = gevent.get_hub().threadpool.apply(process.stdout.readline)
        assert 'active: messages are waiting; voice-message 1 new, 0 old' in line
        notifier.publish('sip:bob@127.0.0.1', MessageSummary().to_bytes())
        assert 'active: no messages' in gevent.get_hub().threadpool.apply(process.stdout.readline)
        process.send_signal(signal.SIGINT)

    uri = f'sip:bob@127.0.0.1:{bob.points[0].address[1]}'
    assert run('watch', uri, '--package', 'message-summary', '--quiet', act=act).status == 0
    done = run('watch', uri, '--package', 'message-summary', '--once', '--json')
    assert done.outcome['outcome'] == 'done'
    note = next(event for event in done.events if event['event'] == 'note')
    assert note['document'].startswith('Messages-Waiting: no') and note['package'] == 'message-summary'
    done = run('watch', uri, '--package', 'message-summary', '--seconds', '0.2', '--quiet')
    assert done.status == 0 and 'watched for 0.2 s' in done.out


def test_watch_presence(answer: Callable[..., Any], bob: UserAgent) -> None:
    _, port = answer('--presence', 'busy')
    done = run('watch', f'sip:x@127.0.0.1:{port}', '--once', '--json')
    note = next(event for event in done.events if event['event'] == 'note')
    assert note['text'].startswith('terminated: busy') or note['text'].startswith('active: busy')
    assert done.status == 0


def test_watch_what_there_is_nothing_of(bob: UserAgent) -> None:
    bob.events('message-summary', Notifier('message-summary'))
    done = run('watch', bob.uri, '--package', 'message-summary', '--once', '--json')
    assert (done.status, done.outcome['text']) == (0, 'told')
    assert [event['text'] for event in done.events if event['event'] == 'note'] == ['terminated: nothing']


def test_watch_what_nobody_tells(bob: UserAgent) -> None:
    assert run('watch', bob.uri, '--package', 'dialog').status == 4
    bob.handle('SUBSCRIBE', lambda incoming: gevent.sleep(5))
    assert run('watch', bob.uri, '--package', 'dialog', '--timeout', '0.3').status == 7


def test_a_reader_that_leaves(bob: UserAgent) -> None:
    bob.serve(answering, background=True)
    command = f'{sys.executable} -u -m greensip call {bob.uri} --seconds 0.2 | head -1'
    done = gevent.get_hub().threadpool.apply(lambda: subprocess.run(command, shell=True, capture_output=True, text=True,
                                                                    timeout=20))
    assert done.stdout.count('\n') == 1 and 'Traceback' not in done.stderr, done.stderr


def test_in_a_terminal_there_are_colours(bob: UserAgent) -> None:
    pytest.importorskip('rich')
    bob.serve(answering, background=True)
    parent, child = pty.openpty()
    process = subprocess.Popen([*COMMAND, 'call', bob.uri, '--seconds', '0.6'], stdin=subprocess.DEVNULL, stdout=child,
                               stderr=child, env={**os.environ, 'TERM': 'xterm', 'NO_COLOR': ''})
    os.close(child)
    text = b''
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not gevent.get_hub().threadpool.apply(lambda: _readable(parent)):
            continue
        try:
            piece = os.read(parent, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(parent)
    assert process.wait(10) == 0
    assert b'\x1b[36m' in text and b'in the call, Ctrl-C hangs up' in text and b'hung up after' in text


def _readable(fd: int) -> bool:
    import select

    return bool(select.select([fd], [], [], 0.2)[0])
