"""The scripts of the API's description, as they stand, as far as they need no media."""
# ruff: noqa: E701, E702, RET503

from __future__ import annotations

import threading

import gevent
import pytest

from greensip import (
    Bridge,
    Busy,
    Declined,
    LegGroup,
    Redirected,
    ResponseError,
    TransportError,
    UserAgent,
    WaitTimeout,
    WrongThread,
    deadline,
)
from greensip.registrar import MemoryUsers, Registrar

from .conftest import SDP, answering, sdp_of_port


@pytest.fixture
def ua(agent):
    return agent('ua')


def test_call_and_hang_up(ua, bob, net, to_bob):
    bob.serve(answering, background=True)
    with ua.invite(to_bob) as leg:            # call, wait, hang up
        leg.wait_for('180', '200', timeout=10)
        leg.wait_for('200', timeout=20)
    leg.wait_ended(timeout=1)


def test_answer(ua, alice, net):
    def ivr(leg):                             # answer
        leg.ring(); leg.answer()

    ua.serve(ivr, background=True)
    with alice.call(net.uri('ua')) as leg:
        leg.wait_for('BYE')


def test_b2bua_two_routes_failover(ua, alice, agent, net):
    agent('down').serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    got = []

    def up(leg):
        got.append((leg.offer, leg.from_.uri.user, leg.to.uri.user))
        leg.ring()
        leg.answer(sdp=sdp_of_port(6000))
        leg.wait_ended()

    agent('up').serve(up, background=True)
    ROUTES = [f'sip:{{user}}@{net.address(name)}:5060' for name in ('down', 'up')]

    def b2bua(a):                                               # two routes, failover
        with LegGroup(a) as group:
            for route in ROUTES:
                b = group.invite(route.format(user=a.to.uri.user), from_=a.from_, sdp=a.offer, progress_to=a)
                try:
                    b.wait_for('2xx', timeout=8)
                except (Busy, Declined) as e:
                    return a.reject(e.code, like=e.response)
                except (WaitTimeout, ResponseError, TransportError):
                    b.close()
                    continue
                a.answer(sdp=b.answer)
                return Bridge(a, b).wait()                      # returns the leg that left
            a.reject(503)

    ua.serve(b2bua, background=True)
    with alice.invite(f'sip:1234@{net.address("ua")}', sdp=SDP) as leg:
        leg.wait_for('180', timeout=5)
        leg.wait_for('200', timeout=10)
        assert leg.answer == sdp_of_port(6000)
        assert got == [(SDP, 'alice', '1234')]
        assert leg.reinvite(sdp=sdp_of_port(4002)).code == 200
    net.clock.sleep(1)
    assert ua.legs == []


def test_b2bua_passes_busy_on(ua, alice, agent, net):
    agent('bob').serve(lambda leg: leg.reject(486, 'At lunch'), background=True)

    def b2bua(a):
        with LegGroup(a) as group:
            b = group.invite(net.uri('bob'), from_=a.from_, sdp=a.offer, progress_to=a)
            try:
                b.wait_for('2xx', timeout=8)
            except (Busy, Declined) as e:
                return a.reject(e.code, like=e.response)

    ua.serve(b2bua, background=True)
    with pytest.raises(Busy, match='At lunch'):
        alice.call(net.uri('ua'))


def test_an_account_takes_its_calls(ua, alice, agent, net):
    registrar = Registrar(agent('pbx'), domains=['example.com'], users=MemoryUsers('example.com', {'alice': 's3cret'}))
    answered = []

    def ivr(leg):
        leg.ring(); leg.answer()
        answered.append(leg.account)
        leg.wait_ended()

    def script():
        with ua.account('sip:alice@example.com', password='s3cret',
                        registrar=f'sip:{net.address("pbx")}') as alice:
            alice.register()                                        # 401, 423 handled; refreshed while the block lasts
            while True:
                ua.accept().spawn(ivr)

    running = gevent.spawn(script)
    net.run(5000)                                               # an hour is what it asks for
    for _ in range(2):
        with alice.call('sip:alice@example.com', route=f'<sip:{net.address("pbx")};lr>', from_='sip:bob@biloxi.com',
                        timeout=10) as leg:
            assert leg.state == 'confirmed'
        net.run(1)
    assert [str(account.aor.uri) for account in answered] == ['sip:alice@example.com'] * 2
    running.kill()
    net.run(1)
    assert len(registrar.location) == 0


def test_attended_transfer(ua, agent, net, capsys):
    agent('caller', refer='accept').serve(answering, background=True)
    agent('expert').serve(answering, background=True)
    caller = ua.call(net.uri('caller'), sdp=SDP)
    caller.hold()                                               # attended transfer
    with ua.call(net.uri('expert')) as expert:
        print(caller.transfer_to(expert).code)
    assert capsys.readouterr().out == '200\n'
    net.run(1)
    assert expert.ended and caller.state == 'held'
    caller.hangup()
    net.run(1)
    assert ua.legs == []


@pytest.mark.parametrize(('handler', 'printed'), [
    (lambda leg: (leg.ring(), leg.answer()), ''),
    (lambda leg: leg.redirect('mailto:bob@example.com'), 'try mailto:bob@example.com'),
    (lambda leg: leg.reject(486), 'busy'),
    (lambda leg: (leg.ring(), leg.wait_ended()), 'no 200 within 25 s from sip:bob@10.0.0.2:5060 (seen 180 at +0.0 s)'),
    (lambda leg: leg.reject(404), '404 Not Found'),
])
def test_everything_that_can_go_wrong_in_order(ua, bob, to_bob, capsys, handler, printed):
    bob.serve(handler, background=True)
    try:                                                        # everything that can go wrong, in order
        with deadline(40), ua.invite(to_bob, follow=3) as leg:
            if leg.wait_for('18x', '200', timeout=10).code != 200:
                leg.wait_for('200', timeout=25)
    except Redirected as e:    print('try', *[contact.uri for contact in e.contacts])
    except Busy:               print('busy')
    except WaitTimeout as e:   print(e)
    except ResponseError as e: print(e.code, e.reason)
    assert capsys.readouterr().out.strip() == printed


def test_parallel_fork_first_answer_wins(ua, agent, net):
    for name, seconds in ('a', 5), ('b', 2), ('c', 9):
        agent(name).serve(lambda leg, seconds=seconds: (leg.ring(), net.clock.sleep(seconds), leg.answer(),
                                                        leg.wait_ended()), background=True)
    targets = [net.uri(name) for name in 'abc']
    with LegGroup(engine=ua) as group:                          # parallel fork, first answer wins
        for uri in targets: group.invite(uri)
        b = group.first('200', timeout=25)                      # the others are cancelled
        assert b.to.uri.user == 'b'
        net.clock.sleep(1)
    assert sorted(arrow.destination for arrow in net.ladder.arrows if arrow.title == 'CANCEL') == ['a', 'c']


def test_parallel_fork_with_the_only_user_agent_there_is(net):
    with UserAgent(net.place('ua'), network=net, watchdog=None), LegGroup() as group:
        group.invite(net.uri('nobody'))
        with pytest.raises(WaitTimeout):
            group.first('200', timeout=5)


def test_cancel(ua, bob, to_bob):
    bob.serve(lambda leg: (leg.ring(100), leg.ring(), leg.wait_ended()), background=True)

    def test_cancel(dut):                                       # SIPp in Python: strict
        with ua.invite(dut, strict=True) as leg:
            leg.wait_for('100'); leg.wait_for('18x'); leg.cancel()
            assert leg.wait_for('487').message.cseq == leg.invite.cseq

    test_cancel(to_bob)


def test_from_any_os_thread(free_port):
    """Over real sockets, as threads know nothing of virtual time."""
    port = free_port()
    with UserAgent(f'udp:127.0.0.1:{port}') as bob, UserAgent('udp:127.0.0.1:0') as ua:
        bob.serve(answering, background=True)
        safe = ua.from_thread()                                 # from Flask or any OS thread
        states = []

        def script():
            leg = safe.invite(f'sip:bob@127.0.0.1:{port}'); leg.wait_for('200', timeout=20)
            states.append(leg.state)
            with leg:
                states.append(leg.request('INFO').code)
            leg.wait_ended(timeout=5)
            states.append(leg.state)
            future = ua.post(lambda: len(ua.legs))
            states.append(future.result(timeout=5))

        thread = threading.Thread(target=script)
        thread.start()
        while thread.is_alive():
            gevent.sleep(0.005)
    assert states == ['confirmed', 200, 'ended', 0]


def test_a_thread_in_the_script_of_a_group(free_port):
    port = free_port()
    with UserAgent(f'udp:127.0.0.1:{port}') as bob, UserAgent('udp:127.0.0.1:0') as ua:
        bob.serve(answering, background=True)
        result = []

        def script():
            safe = ua.from_thread()
            with safe.group() as group:
                for _ in range(3):
                    group.invite(f'sip:bob@127.0.0.1:{port}')
                one = group.first('200', timeout=20)
                result.append(one.state)
                two = safe.call(f'sip:bob@127.0.0.1:{port}', timeout=20)
                with pytest.raises(WrongThread, match=r'bridge\(a, b\)$'):
                    Bridge(one, two)
                bridge = safe.bridge(one, two)
                with pytest.raises(WaitTimeout):
                    bridge.wait(timeout=0.1)
                two.hangup()
                result.append(bridge.wait(timeout=20) == two)

        thread = threading.Thread(target=script)
        thread.start()
        while thread.is_alive():
            gevent.sleep(0.005)
        ua.drain(grace=5)
    assert result == ['confirmed', True]
