"""Calls to names: servers that give way to one another, proxies, telephone numbers; by TCP because of their size."""

from __future__ import annotations

from contextlib import ExitStack

import gevent.socket
import pytest
from benchmarks.certificates import Authority
from gevent.event import Event as GeventEvent

from greensip.errors import ResolveError, TlsError, TransactionTimeout, Unavailable, UsageError
from greensip.testing import NameServer
from greensip.testing.nameserver import bind_both
from greensip.transport import StaticResolver
from greensip.ua.agent import UserAgent

from .conftest import SDP, answering


@pytest.fixture
def farm(net, agent):
    """``farm('a', 'b')``: user agents of these names serve example.com, in this order; gives them."""
    def make(*names, handlers=None):
        made = {}
        net.resolver.records['_sip._udp.example.com', 'SRV'] = [
            f'{number} 0 5060 {name}' for number, name in enumerate(names)]
        for name in names:
            net.address(name)
            handler = (handlers or {}).get(name, answering)
            if handler is not None:
                made[name] = agent(name)
                made[name].serve(handler, background=True)
        return made

    return make


def refusing(leg):
    leg.reject(503)


def test_a_call_goes_on_with_the_next_server(alice, farm, net):
    farm('a', 'b', handlers={'a': refusing})
    with alice.invite('sip:bob@example.com', sdp=SDP) as leg:
        assert leg.wait_for('200', timeout=5).code == 200
        # nothing of the first server is seen
        assert [response.code for response in leg.responses if response.code >= 200] == [200]
        assert [line for line in net.ladder.lines() if 'INVITE' in line and '100' not in line] == [
            'alice -> a: INVITE', 'a -> alice: 503 INVITE', 'alice -> b: INVITE', 'b -> alice: 180 INVITE',
            'b -> alice: 200 INVITE']
    # and others do not try it
    net.ladder.clear()
    with alice.call('sip:bob@example.com', sdp=SDP, timeout=5):
        assert net.ladder.lines()[0] == 'alice -> b: INVITE'


def test_a_server_that_is_down_costs_its_time(alice, farm, net):
    """Whoever waits for a shorter time says so with ``patience``."""
    farm('a', 'b', handlers={'a': None})
    with alice.invite('sip:bob@example.com', sdp=SDP) as leg:
        leg.wait_for('200', timeout=40)
        assert 32 <= net.clock.now() < 33


def test_patience(agent, farm, net):
    farm('a', 'b', handlers={'a': None})
    alice = agent('alice', timeouts={'patience': 2.0})
    with alice.call('sip:bob@example.com', sdp=SDP, timeout=5):
        assert 2 <= net.clock.now() < 3


def test_when_no_server_takes_the_call(alice, farm):
    farm('a', 'b', handlers={'a': refusing, 'b': refusing})
    with alice.invite('sip:bob@example.com', sdp=SDP) as leg, pytest.raises(Unavailable):
        leg.wait_for('200', timeout=5)


def test_leaving_the_block_while_the_second_server_rings(alice, farm, net):
    def ringing(leg):
        leg.ring()
        leg.wait_ended()

    farm('a', 'b', handlers={'a': refusing, 'b': ringing})
    with alice.invite('sip:bob@example.com', sdp=SDP) as leg:
        leg.wait_for('180', timeout=5)
    net.run(1)
    lines = net.ladder.lines()
    assert 'alice -> b: CANCEL' in lines and 'alice -> a: CANCEL' not in lines


def test_other_requests_go_on_as_well(alice, farm):
    servers = farm('a', 'b')
    servers['a'].handle('MESSAGE', lambda incoming: 503)
    servers['b'].handle('MESSAGE', lambda incoming: 202)
    assert alice.message('sip:bob@example.com', 'hello', timeout=5).code == 202


def test_an_outbound_proxy(net, agent):
    bob = agent('bob')
    bob.serve(answering, background=True)
    alice = agent('alice', outbound_proxy=net.uri('bob'))
    with alice.call('sip:somebody@elsewhere.example', sdp=SDP, timeout=5) as leg:
        assert leg.invite.get('Route') == f'<{net.uri("bob")};lr>'
        assert leg.invite.uri_text == 'sip:somebody@elsewhere.example'
    assert alice.options('sip:elsewhere.example', timeout=5).code == 200
    # A route of its own comes before it.
    carol = agent('carol')
    carol.serve(answering, background=True)
    with alice.call('sip:somebody@elsewhere.example', sdp=SDP, route=f'{net.uri("carol")};lr', timeout=5) as leg:
        assert 'carol@' in leg.invite.get('Route')


def test_what_is_no_proxy(agent):
    with pytest.raises(UsageError, match='cannot be a proxy'):
        agent('dave', outbound_proxy='tel:+15551234')


def test_telephone_numbers(net, agent):
    bob = agent('bob')
    bob.serve(answering, background=True)
    net.resolver.records['4.3.2.1.5.5.5.1.e164.arpa', 'NAPTR'] = [
        rf'1 1 "u" "E2U+sip" "!^\\+(.*)$!{net.uri("bob").replace("bob@", chr(92) * 2 + "1@")}!" .']
    alice = agent('alice', enum='e164.arpa')
    with alice.call('tel:+1-555-1234', sdp=SDP, timeout=5) as leg:
        assert leg.invite.uri_text == f'sip:15551234@{net.address("bob")}:5060'
        assert str(leg.to.uri) == 'tel:+1-555-1234'
    with alice.invite('tel:+15559999', sdp=SDP) as leg, pytest.raises(ResolveError, match='no SIP address') as caught:
        leg.wait_for('200', timeout=5)
    assert caught.value.status == 404


# Over sockets


def test_a_call_by_name_with_a_name_server_and_a_dead_server():
    """The whole way: NAPTR, SRV, addresses; nobody listens at the first server, the second has the call."""
    with NameServer() as dns, UserAgent('udp:127.0.0.1:0', name='bob') as bob, \
            UserAgent('udp:127.0.0.1:0', name='alice', resolver=dns.resolver()) as alice, \
            UserAgent('udp:127.0.0.1:0') as gone:
        port, dead = bob.points[0].address[1], gone.points[0].address[1]
        gone.close()
        dns.add('example.com. 60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.example.com.',
                f'_sip._udp.example.com. 60 IN SRV 1 0 {dead} one.example.com.',
                f'_sip._udp.example.com. 60 IN SRV 2 0 {port} two.example.com.',
                'one.example.com. 60 IN A 127.0.0.1', 'two.example.com. 60 IN A 127.0.0.1')
        bob.serve(answering, background=True)
        with alice.call('sip:bob@example.com', sdp=SDP, timeout=5) as leg:
            assert leg.invite.uri_text == 'sip:bob@example.com'
        assert [kind for _, kind in dns.asked] == ['NAPTR', 'SRV', 'A', 'A']


def test_a_silent_name_server_holds_up_nobody_else():
    with NameServer() as dns, UserAgent('udp:127.0.0.1:0', name='bob') as bob, \
            UserAgent('udp:127.0.0.1:0', name='alice', resolver=dns.resolver(timeout=0.2)) as alice:
        dns.silent = True
        bob.serve(answering, background=True)
        with alice.invite('sip:carol@example.com', sdp=SDP) as waiting:
            with alice.call(f'sip:bob@127.0.0.1:{bob.points[0].address[1]}', sdp=SDP, timeout=5):
                assert waiting.state == 'calling'
            with pytest.raises(ResolveError, match='no answer from'):
                waiting.wait_for('200', timeout=5)


@pytest.mark.parametrize('uri', ['sips:bob@example.com', 'sip:bob@example.com;transport=tls', 'sip:bob@example.com'])
def test_a_tls_server_proves_the_domain_and_not_the_name_that_the_dns_says(tmp_path, uri):
    """RFC 5922 4, RFC 3263 4.1: whoever forges an SRV record has no certificate for the domain."""
    authority = Authority(tmp_path)
    good = authority.sign('good', ['sip:example.com'])
    other = authority.sign('other', ['host.example.net', 'sip:host.example.net', '127.0.0.1'])
    with NameServer() as dns, ExitStack() as stack:
        servers = [stack.enter_context(UserAgent(f'tls:127.0.0.1:0?cert={shown.cert}&key={shown.key}', name=name))
                   for shown, name in ((other, 'mallory'), (good, 'bob'))]
        dns.add('example.com. 60 IN NAPTR 1 1 "s" "SIPS+D2T" "" _sips._tcp.example.com.',
                *(f'_sips._tcp.example.com. 60 IN SRV {number} 0 {server.points[0].address[1]} host.example.net.'
                  for number, server in enumerate(servers)), 'host.example.net. 60 IN A 127.0.0.1')
        alice = stack.enter_context(UserAgent(f'tls:127.0.0.1:0?ca={good.ca}', 'udp:127.0.0.1:0', name='alice',
                                              resolver=dns.resolver()))
        for server in servers:
            server.serve(answering, background=True)
        with alice.call(uri, sdp=SDP, timeout=5) as leg:
            assert leg.invite.via.transport == 'TLS'
            assert [len(server.legs) for server in servers] == [0, 1]
        del dns.records['_sips._tcp.example.com.', 'SRV'][1]
        fresh = stack.enter_context(UserAgent(f'tls:127.0.0.1:0?ca={good.ca}', name='carol', resolver=dns.resolver()))
        with fresh.invite(uri, sdp=SDP) as leg, pytest.raises(TlsError, match='certificate'):
            leg.wait_for('200', timeout=5)


LARGE = SDP + b'a=x-filler:' + b'0' * 1300 + b'\r\n'


def test_a_large_request_goes_by_tcp_where_there_is_tcp():
    sockets = bind_both(('127.0.0.1', 0))
    port = sockets[0].getsockname()[1]
    for free in sockets:
        free.close()
    with UserAgent(f'udp:127.0.0.1:{port}', f'tcp:127.0.0.1:{port}', name='bob') as bob, \
            UserAgent('udp:127.0.0.1:0', 'tcp:127.0.0.1:0', name='alice') as alice:
        bob.serve(answering, background=True)
        with alice.call(f'sip:bob@127.0.0.1:{port}', sdp=LARGE, timeout=5) as leg:
            assert leg.invite.via.transport == 'TCP'
        with alice.call(f'sip:bob@127.0.0.1:{port}', sdp=SDP, timeout=5) as leg:
            assert leg.invite.via.transport == 'UDP'


def test_and_by_udp_where_there_is_none():
    with UserAgent('udp:127.0.0.1:0', name='bob') as bob, \
            UserAgent('udp:127.0.0.1:0', 'tcp:127.0.0.1:0', name='alice') as alice:
        bob.serve(answering, background=True)
        with alice.call(f'sip:bob@127.0.0.1:{bob.points[0].address[1]}', sdp=LARGE, timeout=5) as leg:
            assert leg.invite.via.transport == 'UDP'
            assert leg.invite.body == LARGE


def test_a_large_message_to_a_silent_port_ends():
    with UserAgent('udp:127.0.0.1:0', 'tcp:127.0.0.1:0', name='alice', timeouts={'t1': 0.01, 't2': 0.04}) as alice:
        sink = gevent.socket.socket(gevent.socket.AF_INET, gevent.socket.SOCK_DGRAM)
        sink.bind(('127.0.0.1', 0))
        try:
            with pytest.raises(TransactionTimeout):
                alice.message(f'sip:bob@127.0.0.1:{sink.getsockname()[1]}', 'x' * 1400, timeout=5)
            assert b'SIP/2.0/UDP' in sink.recv(4096)
        finally:
            sink.close()


def test_a_response_over_tcp_takes_the_way_of_the_sent_by():
    """RFC 3263 5: the connection is gone, nobody is at the address of the request; the name says who stands in."""
    (udp, elsewhere), resolver = bind_both(('127.0.0.1', 0)), StaticResolver({'pc.example.com': ['127.0.0.2']})
    udp.close()
    port = elsewhere.getsockname()[1]
    elsewhere.close()
    spare = gevent.socket.socket()
    spare.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_REUSEADDR, 1)
    spare.bind(('127.0.0.2', port))
    spare.listen()
    with spare, UserAgent('tcp:127.0.0.1:0', name='bob', resolver=resolver) as bob, gevent.Timeout(10):
        gone = GeventEvent()
        bob.serve(lambda leg: gone.wait() and leg.reject(486), background=True)
        text = (f'INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP pc.example.com:{port};branch=z9hG4bKx\r\n'
                'From: <sip:a@a>;tag=1\r\nTo: <sip:bob@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n'
                'Contact: <sip:a@pc.example.com>\r\nContent-Length: 0\r\n\r\n')
        with gevent.socket.create_connection(bob.points[0].address) as caller:
            caller.sendall(text.encode())
            while not bob.core.layer.servers:
                gevent.sleep(0.01)
        while bob.endpoint.transports[0].connections:
            gevent.sleep(0.01)
        gone.set()
        stream, _ = spare.accept()
        with stream:
            data = b''
            while b'SIP/2.0 486 ' not in data:
                data += stream.recv(4096)
