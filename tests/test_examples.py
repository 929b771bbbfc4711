"""Runs every example as a person would, and reads what it prints."""

from __future__ import annotations

import re
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from benchmarks import peers
from benchmarks.certificates import Authority

from greensip import (
    Forbidden,
    Leg,
    NotFound,
    Redirected,
    RemoteCancel,
    RemoteHangup,
    ResponseError,
    Unavailable,
    UserAgent,
)
from greensip.testing import NameServer

EXAMPLES = Path(__file__).parents[1] / 'examples'
NAMES = sorted(path.name for path in EXAMPLES.glob('*.py'))

Start = Callable[..., peers.Peer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start('call', ...)`` runs ``examples/call.py`` in a process of its own."""
    with peers.stopped_at_end([]) as running:
        def start(name: str, *arguments: object, runner: tuple[str, ...] = ()) -> peers.Peer:
            peer = peers.Peer(f'{name}-{len(running)}', [
                sys.executable, '-u', *runner, EXAMPLES / f'{name}.py', *map(str, arguments)], tmp_path)
            running.append(peer)
            return peer

        yield start
        for peer in running:
            print(f'--- {peer.name}\n{peer.printed()}')


@pytest.fixture
def serve(start: Start, free_port: Callable[[], int]) -> Callable[..., tuple[peers.Peer, int]]:
    """``serve('answer', ...)`` starts an example that listens; gives its process and port."""
    def serve(name: str, *arguments: object) -> tuple[peers.Peer, int]:
        port = free_port()
        peer = start(name, *arguments, '--listen', f'udp:127.0.0.1:{port}')
        peer.wait_for_text(f'listening on .*:{port}')
        return peer, port

    return serve


@pytest.fixture
def ua() -> Iterator[UserAgent]:
    with UserAgent('udp:127.0.0.1:0', name='tester') as ua:
        yield ua


def finished(peer: peers.Peer, timeout: float = 20.0) -> str:
    """What it printed, once it has ended with status 0."""
    assert peer.wait(timeout) == 0, peer.printed()
    return peer.printed()


Serve = Callable[..., tuple[peers.Peer, int]]


def test_no_example_has_the_name_of_a_module() -> None:
    """Python finds the folder of a script before its own library: an operator.py would break every other example."""
    assert {name.removesuffix('.py') for name in NAMES} & {*sys.stdlib_module_names, 'gevent', 'greensip'} == set()


@pytest.mark.parametrize(('name', 'arguments'), [
    ('answer', ()), ('b2bua_failover', ('--route', '127.0.0.1')), ('ivr', ()), ('parallel_fork', ('sip:x@127.0.0.1',)),
    ('presence_server', ()), ('redirect', ('--to', '127.0.0.1')), ('registrar', ()), ('sippy_linear', ('--route', 'x')),
    ('switchboard', ('sip:x@127.0.0.1',)),
])
def test_a_port_in_use_is_told_in_a_sentence(start: Start, ua: UserAgent, name: str,
                                             arguments: tuple[str, ...]) -> None:
    place = f'udp:127.0.0.1:{ua.points[0].address[1]}'
    example = start(name, *arguments, '--listen', place)
    assert example.wait(20) == 2
    assert example.printed().endswith(f'{name}.py: error: cannot listen on {place}: address already in use\n')
    assert 'Traceback' not in example.printed()


def test_a_user_without_a_password(start: Start) -> None:
    registrar = start('registrar', '--user', 'alice')
    assert registrar.wait(20) == 2
    assert registrar.printed().endswith('registrar.py: error: a user is written NAME:PASSWORD\n')


@pytest.mark.parametrize('name', NAMES)
def test_help_is_the_docstring(start: Start, name: str) -> None:
    if name == 'sippy_legacy.py':
        pytest.importorskip('sippy')
    text = finished(start(name.removesuffix('.py'), '--help'))
    assert f'python examples/{name}' in text
    assert name in (EXAMPLES / 'README.rst').read_text(encoding='utf-8')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_call_and_answer(start: Start, serve: Serve, number: int) -> None:
    answer, port = serve('answer')
    printed = finished(start('call', f'sip:bob@127.0.0.1:{port}', '--seconds', '0.1'))
    assert 'it rings, 180' in printed
    assert 'hanging up' in printed
    answer.wait_for_text('called sip:bob@127.0.0.1.*: the peer hung up')
    answer.send_signal(number)
    assert len(finished(answer).splitlines()) == 2


def test_answer_hangs_up_when_it_ends(start: Start, serve: Serve) -> None:
    answer, port = serve('answer')
    call = start('call', f'sip:bob@127.0.0.1:{port}', '--seconds', '20')
    call.wait_for_text('answered by')
    answer.send_signal(signal.SIGTERM)
    assert 'the other side hung up' in finished(call)
    finished(answer)


def test_answer_says_that_a_port_is_in_use(start: Start, serve: Serve) -> None:
    _, port = serve('answer')
    second = start('answer', '--listen', f'udp:127.0.0.1:{port}')
    assert second.wait(10) == 2
    assert 'Traceback' not in second.printed()
    assert str(port) in second.printed().splitlines()[-1]


def test_call_tells_why_it_failed(start: Start, serve: Serve, free_port: Callable[[], int]) -> None:
    _, port = serve('redirect', '--to', f'127.0.0.1:{free_port()}')
    call = start('call', f'sip:bob@127.0.0.1:{port}')
    assert call.wait(20) == 1
    assert 'refused: 302' in call.printed()


def test_srv_failover(start: Start) -> None:
    printed = finished(start('srv_failover', '--calls', '30'))
    shares = re.search(r'one: (\d+), two: (\d+), three: (\d+)', printed)
    assert shares is not None and sum(map(int, shares.groups())) == 30 and int(shares[1]) > int(shares[3])
    assert 'one is gone and two is broken: answered by three' in printed
    assert 'the next call: answered by three' in printed
    # one of each kind and name: everything else came from the cache
    assert 'questions to the name server: 5' in printed


def test_srv_failover_with_another_name_server(start: Start, serve: Serve) -> None:
    _, port = serve('answer')
    with NameServer() as dns:
        dns.add(f'_sip._udp.example.com. 60 IN SRV 0 0 {port} host.example.com.', 'host.example.com. 60 IN A 127.0.0.1')
        wait = gevent.get_hub().threadpool.apply
        address = '{}:{}'.format(*dns.address)
        call = start('srv_failover', 'sip:bob@example.com', '--dns', address, '--listen', 'udp:127.0.0.1:0')
        assert wait(call.wait, (20,)) == 0
        assert 'answered by greensip' in call.printed()
        call = start('srv_failover', 'sip:bob@nowhere.example', '--dns', address)
        assert wait(call.wait, (20,)) == 1
        assert 'no answer: nowhere.example has no address' in call.printed()


@pytest.mark.parametrize(('digits', 'outcome'), [('1234', 'welcome'), ('12#', 'wrong PIN')])
def test_ivr(serve: Serve, ua: UserAgent, digits: str, outcome: str) -> None:
    ivr, port = serve('ivr', '--pin', '1234')
    with ua.invite(f'sip:ivr@127.0.0.1:{port}') as leg:
        leg.wait_for('200', timeout=5)
        for digit in digits:
            leg.request('INFO', body=f'Signal={digit}\r\nDuration=160\r\n', content_type='application/dtmf-relay')
        assert leg.wait_for('MESSAGE', timeout=5).message.body.decode() == outcome
        assert 'good bye' in str(leg.wait_ended(timeout=5).error)
    ivr.wait_for_text(f'tester.*: {outcome}')


def test_b2bua_failover(serve: Serve, ua: UserAgent, free_port: Callable[[], int]) -> None:
    closed = free_port()
    _, answering = serve('answer')
    b2bua, port = serve('b2bua_failover', '--route', f'127.0.0.1:{closed}', '--route', f'127.0.0.1:{answering}',
                        '--patience', '5')
    with ua.invite(f'sip:bob@127.0.0.1:{port}') as leg:
        leg.wait_for('18x', timeout=10)
        leg.wait_for('200', timeout=5)
    b2bua.wait_for_text(f'bob at 127.0.0.1:{closed}: .*, next')
    b2bua.wait_for_text(f'bob at 127.0.0.1:{answering}: answered')
    b2bua.wait_for_text('the caller hung up')


@pytest.fixture(params=['sippy_linear', 'sippy_legacy', 'sippy_legacy without greensip'])
def start_b2bua(request: pytest.FixtureRequest, start: Start, free_port: Callable[[], int]
                ) -> Callable[..., tuple[peers.Peer, int]]:
    """Starts the same program: in the linear style, on the shim, and on sippy as it is."""
    name, _, plain = request.param.partition(' ')
    if name == 'sippy_legacy':
        pytest.importorskip('sippy')

    def serve(*arguments: object) -> tuple[peers.Peer, int]:
        port = free_port()
        runner = ('-m', 'greensip.cli.sippy') if name == 'sippy_legacy' and not plain else ()
        peer = start(name, *arguments, '--listen', f'udp:127.0.0.1:{port}', runner=runner)
        peer.wait_for_text(f'listening on .*:{port}')
        return peer, port

    return serve


def callee(handler: Callable[[Leg], object]) -> UserAgent:
    ua = UserAgent('udp:127.0.0.1:0', name='callee')
    ua.serve(handler, background=True)
    return ua


def test_sippy_b2bua_fails_over(start_b2bua: Serve, ua: UserAgent) -> None:
    def answer(leg: Leg) -> None:
        leg.ring()
        leg.answer()
        leg.wait_ended()

    with callee(lambda leg: leg.reject(486)) as busy, callee(answer) as answering:
        first, second = (f'127.0.0.1:{one.points[0].address[1]}' for one in (busy, answering))
        b2bua, port = start_b2bua('--route', first, '--route', second)
        with ua.invite(f'sip:bob@127.0.0.1:{port}') as leg:
            # Whatever comes before: the threads of sippy's own servers may let a 200 overtake its 180.
            leg.wait_for('200', timeout=10)
        b2bua.wait_for_text('the caller hung up')
    assert b2bua.printed().splitlines()[1:] == [
        f'bob at {first}: 486 Busy Here', f'bob at {second}: answered', f'bob at {second}: the caller hung up']


def test_sippy_b2bua_gives_up(start_b2bua: Serve, ua: UserAgent) -> None:
    with callee(Leg.wait_ended) as silent, callee(lambda leg: leg.redirect('sip:carol@192.0.2.1')) as moved:
        routes = [f'127.0.0.1:{one.points[0].address[1]}' for one in (silent, moved)]
        b2bua, port = start_b2bua('--route', routes[0], '--route', routes[1], '--patience', '0.3')
        with ua.invite(f'sip:bob@127.0.0.1:{port}') as leg, pytest.raises(Redirected) as caught:
            leg.wait_for('200', timeout=10)
        assert [str(contact.uri) for contact in caught.value.contacts] == ['sip:carol@192.0.2.1']
        b2bua.wait_for_text(f'bob at {routes[0]}: .+\nbob at {routes[1]}: 302 Moved Temporarily\n')


def test_sippy_b2bua_cancelled(start_b2bua: Serve, ua: UserAgent) -> None:
    ends = []

    def ring(leg: Leg) -> None:
        leg.ring()
        ends.append(type(leg.wait_ended(timeout=10).error))

    with callee(ring) as ringing:
        b2bua, port = start_b2bua('--route', f'127.0.0.1:{ringing.points[0].address[1]}')
        with ua.invite(f'sip:bob@127.0.0.1:{port}') as leg:
            leg.wait_for('180', timeout=10)
        b2bua.wait_for_text('the caller hung up')
        ringing.drain(5)
    assert ends == [RemoteCancel]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_sippy_b2bua_ends(start_b2bua: Serve, ua: UserAgent, number: int) -> None:
    def answer(leg: Leg) -> None:
        leg.answer()
        leg.wait_ended()

    with callee(answer) as answering:
        b2bua, port = start_b2bua('--route', f'127.0.0.1:{answering.points[0].address[1]}')
        with ua.invite(f'sip:bob@127.0.0.1:{port}') as leg:
            leg.wait_for('200', timeout=10)
            b2bua.send_signal(number)
            assert isinstance(leg.wait_ended(timeout=5).error, RemoteHangup)
        assert 'Traceback' not in finished(b2bua)


def test_parallel_fork(serve: Serve, ua: UserAgent, free_port: Callable[[], int]) -> None:
    _, answering = serve('answer')
    _, other = serve('ivr')
    fork, port = serve('parallel_fork', f'sip:a@127.0.0.1:{free_port()}', f'sip:b@127.0.0.1:{answering}',
                       f'sip:c@127.0.0.1:{other}')
    with ua.invite(f'sip:bob@127.0.0.1:{port}') as leg:
        leg.wait_for('200', timeout=10)
    fork.wait_for_text('tester.*: answered by sip:[bc]@')


def test_parallel_fork_nobody(serve: Serve, ua: UserAgent, free_port: Callable[[], int]) -> None:
    _, port = serve('parallel_fork', f'sip:a@127.0.0.1:{free_port()}', f'sip:b@127.0.0.1:{free_port()}')
    with ua.invite(f'sip:bob@127.0.0.1:{port}') as leg, pytest.raises(ResponseError) as refusal:
        leg.wait_for('200', timeout=10)
    assert refusal.value.code == 503


@pytest.mark.parametrize('refer', ['ask', 'refuse'])
def test_operator(serve: Serve, start: Start, refer: Any) -> None:
    """The expert's phone hangs up on the operator; a caller who takes no transfers stays with him."""
    with UserAgent('udp:127.0.0.1:0', name='caller', refer=refer) as caller, \
            UserAgent('udp:127.0.0.1:0', name='expert') as expert:
        expert.serve(lambda leg: (leg.answer(), leg.wait_ended()), background=True)
        operator, port = serve('switchboard', expert.uri)
        with caller.call(f'sip:x@127.0.0.1:{port}', timeout=5) as leg:
            if refer == 'ask':
                with leg.wait_for('REFER', timeout=10).accept() as other:
                    other.wait_for('200', timeout=5)
                    leg.wait_ended(timeout=10)
                    assert other.state == 'confirmed'
            else:
                for _ in ('hold', 'resume'):
                    leg.wait_for('INVITE', timeout=10)
    operator.wait_for_text('connected with the expert: 200' if refer == 'ask' else 'stays with us: ')


def test_operator_without_an_expert(serve: Serve, free_port: Callable[[], int]) -> None:
    answer, answering = serve('answer')
    operator, port = serve('switchboard', f'sip:expert@127.0.0.1:{free_port()}', '--otherwise',
                           f'sip:desk@127.0.0.1:{answering}')
    with UserAgent('udp:127.0.0.1:0', name='caller', refer='ask') as caller, \
            caller.call(f'sip:x@127.0.0.1:{port}', timeout=5) as leg, \
            leg.wait_for('REFER', timeout=10).accept() as other:
        other.wait_for('200', timeout=5)
        leg.wait_ended(timeout=10)
    operator.wait_for_text('sent on: 200')
    answer.wait_for_text('called sip:desk@')


def test_redirect(serve: Serve, ua: UserAgent) -> None:
    answer, answering = serve('answer')
    redirect, port = serve('redirect', '--to', f'127.0.0.1:{answering}')
    with ua.invite(f'sip:bob@127.0.0.1:{port}', follow=1) as leg:
        leg.wait_for('200', timeout=5)
    redirect.wait_for_text('wants bob')
    answer.wait_for_text('called sip:bob@')


def test_registrar(serve: Serve, ua: UserAgent, tmp_path: Path) -> None:
    _, answering = serve('answer')
    registrar, port = serve('registrar', '--user', 'bob:builder', '--database', str(tmp_path / 'db'))
    aor = f'sip:bob@127.0.0.1:{port}'
    contact = f'<sip:bob@127.0.0.1:{answering}>'

    def register(password: str = 'builder', **options: object) -> object:
        return ua.request('REGISTER', f'sip:127.0.0.1:{port}', to=aor, from_=aor, timeout=5,
                          credentials=('bob', password), **options)

    def call(user: str) -> None:
        with ua.invite(f'sip:{user}@127.0.0.1:{port}', from_='sip:me@example.com') as leg:
            leg.wait_for('200', timeout=5)

    for user, refusal in (('emil', NotFound), ('bob', Unavailable)):
        with pytest.raises(refusal):
            call(user)
    with pytest.raises(ResponseError, match='401'):
        register('wrong', headers=[('Contact', contact)])
    with pytest.raises(ResponseError, match='423'):
        register(headers=[('Contact', f'{contact};expires=5')])
    response = register(headers=[('Contact', contact), ('Expires', '600')])
    assert [(str(found.uri), found.expires) for found in response.contacts] == [(contact.strip('<>'), 600)]
    call('bob')
    assert register(headers=[('Contact', '*'), ('Expires', '0')]).contacts == []
    registrar.wait_for_text('bob@greensip unregistered: nowhere')


def test_account(start: Start, serve: Serve, ua: UserAgent) -> None:
    registrar, port = serve('registrar')
    account = start('account', f'sip:alice@127.0.0.1:{port}')
    account.wait_for_text('registered for 3600 s as <sip:alice@127.0.0.1:')
    with ua.call(f'sip:alice@127.0.0.1:{port}', follow=1, timeout=10) as leg:
        account.wait_for_text(f'a call from .* for sip:alice@127.0.0.1:{port}')
        leg.hangup()
        leg.wait_ended(timeout=5)
    assert account.stop() == 0
    registrar.wait_for_text('(?s)alice.*alice')
    with ua.invite(f'sip:alice@127.0.0.1:{port}') as leg:
        assert leg.wait_for('4xx', timeout=10).code == 404


def test_presence_server(serve: Serve, ua: UserAgent) -> None:
    server, port = serve('presence_server', '--allow', 'alice')
    alice = f'sip:alice@127.0.0.1:{port}'
    with ua.subscribe(alice, 'presence') as events:
        assert events.next(timeout=5).body == b''
        with ua.publish(alice, 'presence', '<presence/>', timeout=5) as publication:
            assert events.next(timeout=5).text == '<presence/>'
            publication.update('<other/>', timeout=5)
            assert events.next(timeout=5).text == '<other/>'
        assert events.next(timeout=5).body == b''
        server.wait_for_text(r'tester watches alice \(presence\)')
        server.wait_for_text('alice publishes')
        with ua.subscribe(f'sip:carol@127.0.0.1:{port}', 'presence') as refused, pytest.raises(Forbidden):
            refused.next(timeout=5)
        with pytest.raises(NotFound):
            ua.publish(f'sip:carol@127.0.0.1:{port}', 'presence', '<presence/>', timeout=5)
        assert server.stop() == 0
        assert events.next(timeout=5).reason == 'deactivated'


def test_message(start: Start, serve: Serve) -> None:
    receiver, port = serve('message')
    printed = finished(start('message', f'sip:bob@127.0.0.1:{port}', 'Grüße'))
    assert printed.splitlines() == ['taken: 200', 'Read: Grüße']
    receiver.wait_for_text('sip:message@.*: Grüße')


def test_buddy(start: Start, serve: Serve) -> None:
    bob, port = serve('buddy', '--name', 'bob', '--status', 'meeting', '--note', 'Back at four')
    alice = start('buddy', '--name', 'alice', f'sip:bob@127.0.0.1:{port}', 'Dinner is ready')
    bob.wait_for_text('alice: Dinner is ready')
    alice.wait_for_text('online')
    bob.send_signal(signal.SIGTERM)
    printed = finished(alice).splitlines()
    assert [line for line in printed if line not in ('delivered', 'displayed')] == [
        'busy Back at four', 'online', 'offline']
    assert {'delivered', 'displayed'} <= set(printed)
    finished(bob)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_buddy_who_has_seen_enough(start: Start, serve: Serve, number: int) -> None:
    _, port = serve('buddy', '--name', 'bob')
    alice = start('buddy', f'sip:bob@127.0.0.1:{port}')
    alice.wait_for_text('online')
    alice.send_signal(number)
    assert finished(alice).splitlines() == ['online']


def test_buddy_who_is_not_there(start: Start, serve: Serve) -> None:
    _, port = serve('answer')
    buddy = start('buddy', f'sip:bob@127.0.0.1:{port}')
    assert buddy.wait(20) == 1
    assert 'cannot be watched: 4' in buddy.printed()
    buddy = start('buddy', 'bob')
    assert (buddy.wait(20), buddy.printed()) == (1, "cannot be watched: not a URI at 0 in 'bob'\n")


def test_strict_test(start: Start, serve: Serve) -> None:
    _, port = serve('answer')
    printed = finished(start('strict_test', f'sip:dut@127.0.0.1:{port}'))
    assert printed.count('ok ') == 3


def test_strict_test_finds_what_is_wrong(start: Start, serve: Serve) -> None:
    _, port = serve('redirect', '--to', '127.0.0.1:9')
    test = start('strict_test', f'sip:dut@127.0.0.1:{port}')
    assert test.wait(20) == 1
    assert 'FAILED  test_answers: ' in test.printed()


def test_with_the_pytest_plugin(start: Start, serve: Serve) -> None:
    _, port = serve('answer')
    assert '4 passed, 1 skipped' in finished(start('test_answer', f'sip:dut@127.0.0.1:{port}'))
    _, port = serve('redirect', '--to', '127.0.0.1:9')
    test = start('test_answer', f'sip:dut@127.0.0.1:{port}')
    assert test.wait(20) == 1
    assert 'SIP ladder' in test.printed() and '302' in test.printed()


def test_asyncio(start: Start, serve: Serve) -> None:
    _, port = serve('answer')
    printed = finished(start('from_asyncio', f'sip:a@127.0.0.1:{port}', f'sip:b@127.0.0.1:{port}'))
    for user in 'ab':
        assert f'sip:{user}@127.0.0.1:{port} answered' in printed


def test_from_thread(start: Start, serve: Serve) -> None:
    _, port = serve('answer')
    printed = finished(start('from_thread', f'sip:a@127.0.0.1:{port}', f'sip:b@127.0.0.1:{port}'))
    for number, user in enumerate('ab', 1):
        assert f'thread {number}: sip:{user}@127.0.0.1:{port} answered' in printed


def test_tls_client(start: Start, free_port: Callable[[], int], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.sign('server', ['127.0.0.1'])
    client = authority.sign('client', ['client.example'])
    port = free_port()
    answer = start('answer', '--listen',
                   f'tls:127.0.0.1:{port}?cert={server.cert}&key={server.key}&ca={server.ca}&verify=peer')
    answer.wait_for_text(f'listening on .*:{port}')
    files = ['--ca', server.ca, '--cert', client.cert, '--key', client.key]
    for uri in (f'sips:bob@127.0.0.1:{port}', f'sip:bob@127.0.0.1:{port};transport=tls'):
        printed = finished(start('tls_client', uri, '--seconds', '0.1', *files))
        assert 'answered by' in printed
        assert 'hanging up' in printed
    # Another name than that of the certificate; a server that the system does not know; no certificate of ours.
    for uri, more, reason in ((f'sips:bob@localhost:{port}', files, 'has no certificate for localhost'),
                              (f'sips:bob@127.0.0.1:{port}', [], 'the certificate is not accepted'),
                              (f'sips:bob@127.0.0.1:{port}', files[:2], 'certificate required')):
        peer = start('tls_client', uri, *more)
        assert peer.wait(20) == 1
        assert 'not to be trusted' in peer.printed()
        assert reason in peer.printed()


def test_wss_echo(start: Start, free_port: Callable[[], int], tmp_path: Path) -> None:
    certificate = Authority(tmp_path).sign('echo', ['127.0.0.1'])
    port = free_port()
    echo = start('wss_echo', '--listen', f'wss:127.0.0.1:{port}?cert={certificate.cert}&key={certificate.key}')
    echo.wait_for_text(f'listening on sip:echo@127.0.0.1:{port};transport=ws')
    server = f'sip:echo@127.0.0.1:{port};transport=ws'
    me = 'sip:me@echo.invalid'
    with UserAgent(f'wss:127.0.0.1:0?ca={certificate.ca}', name='me') as phone:
        with pytest.raises(Forbidden):
            phone.call(server, from_=me, timeout=10)
        # Nobody could connect to this Contact; what counts is the connection.
        contact = '<sip:x@nowhere.invalid;transport=ws>'
        phone.request('REGISTER', server, from_=me, to=me, contact=contact, timeout=10)
        with phone.invite(server, from_=me) as ours:
            theirs = phone.accept(timeout=10)
            assert theirs.invite.body == ours.invite.body
            assert str(theirs.invite.uri) == contact.strip('<>')
            theirs.answer()
            ours.wait_for('200', timeout=10)
            ours.hangup()
            assert isinstance(theirs.wait_ended(timeout=10).error, RemoteHangup)
        echo.wait_for_text('has hung up')
        phone.request('REGISTER', server, from_=me, to=me, contact='*', headers={'Expires': '0'}, timeout=10)
    echo.wait_for_text('is gone')
    echo.send_signal(signal.SIGINT)
    finished(echo)


def test_readme_shows_a_working_call(serve: Serve, free_port: Callable[[], int], tmp_path: Path) -> None:
    answer, port = serve('answer')
    readme = (EXAMPLES.parent / 'README.rst').read_text(encoding='utf-8')
    block = readme.partition('.. code-block:: python\n\n')[2].partition('\n\nACK, CANCEL')[0]
    assert readme[:readme.index(block)].count('\n') < 12, 'not on the first screen'
    code = textwrap.dedent(block).replace(':5060', f':{free_port()}').replace(':5080', f':{port}')
    assert 'timeout=60' in code
    peer = peers.Peer('readme', [sys.executable, '-c', code.replace('timeout=60', 'timeout=0.2')], tmp_path)
    with peer:
        assert finished(peer).startswith('no ended within 0.2 s from sip:bob@')
    answer.wait_for_text('the peer hung up')
