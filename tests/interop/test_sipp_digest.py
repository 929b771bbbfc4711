"""SIPp asks greensip's caller for credentials in ways that real phones and proxies seldom do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import peers

from greensip import Forbidden, Unauthorized, UserAgent
from greensip.message.digest import Login

from .sipp_ladder import write_scenario

Answering = Callable[[str], str]


@pytest.fixture
def sipp(needs: Callable[..., None], running: list[peers.Peer], folder: Path,
         free_port: Callable[..., int]) -> Answering:
    """``sipp(ladder)`` starts an answerer, and gives the URI to call."""
    needs('sipp')

    def start(ladder: str) -> str:
        port = free_port()
        running.append(peers.answerers(port, folder, scenario=write_scenario(folder, f'uas{port}', ladder),
                                       options=('-m', 1)))
        return f'sip:bob@127.0.0.1:{port}'
    return start


def finished(running: list[peers.Peer]) -> dict[str, int]:
    """What SIPp counted; it ends by itself after its call."""
    sipp = running[-1]
    assert isinstance(sipp, peers.Sipp)
    sipp.wait(20)
    return sipp.counts()


DONE = '''
    > 200 sdp
    < ACK
    < BYE
    > 200
'''


def call(uri: str, *logins: Login) -> int:
    """The CSeq number by which the call was answered."""
    with UserAgent('udp:127.0.0.1:0') as ua, ua.call(uri, credentials=list(logins), timeout=10) as leg:
        assert leg.invite is not None
        return leg.invite.cseq.number


def test_a_stale_nonce(sipp: Answering, running: list[peers.Peer]) -> None:
    """RFC 7616 3.3: the credentials were right, so the same ones with the new nonce."""
    uri = sipp('''
        < INVITE sdp
        > 401 'x:WWW-Authenticate=Digest realm="a.example", nonce="one", algorithm=SHA-256, qop="auth"'
        < ACK
        < INVITE 'x:Authorization=nonce="one".*nc=00000001'
        > 401 'x:WWW-Authenticate=Digest realm="a.example", nonce="two", stale=TRUE, algorithm=SHA-256, qop="auth"'
        < ACK
        < INVITE 'x:Authorization=nonce="two".*nc=00000001'
    ''' + DONE)
    assert call(uri, Login('alice', 'secret')) == 3
    assert finished(running)['failed'] == 0


def test_a_new_nonce_that_is_not_stale(sipp: Answering, running: list[peers.Peer]) -> None:
    """RFC 3261 22.1: the same credentials again would be refused again."""
    uri = sipp('''
        < INVITE sdp
        > 401 'x:WWW-Authenticate=Digest realm="a.example", nonce="one"'
        < ACK
        < INVITE 'x:Authorization=nonce="one"'
        > 401 'x:WWW-Authenticate=Digest realm="a.example", nonce="two"'
        < ACK
    ''')
    with UserAgent('udp:127.0.0.1:0') as ua, ua.invite(uri, credentials=('alice', 'wrong')) as leg, \
            pytest.raises(Unauthorized):
        leg.wait_for('200', timeout=10)
    assert finished(running)['failed'] == 0


def test_a_proxy_and_a_server_in_turn(sipp: Answering, running: list[peers.Peer]) -> None:
    """RFC 3261 22.3: what the proxy has accepted goes along when the server asks."""
    uri = sipp('''
        < INVITE sdp
        > 407 'x:Proxy-Authenticate=Digest realm="proxy.example", nonce="p", qop="auth"'
        < ACK
        < INVITE 'x:Proxy-Authorization=realm="proxy.example"'
        > 401 'x:WWW-Authenticate=Digest realm="server.example", nonce="s", qop="auth"'
        < ACK
        < INVITE 'x:Proxy-Authorization=nonce="p"' 'x:Authorization=nonce="s"'
    ''' + DONE)
    assert call(uri, Login('alice', 'one', 'proxy.example'), Login('alice', 'two', 'server.example')) == 3
    assert finished(running)['failed'] == 0


def test_two_challenges_in_one_response(sipp: Answering, running: list[peers.Peer]) -> None:
    """RFC 3261 22.3: a forking proxy gathers the challenges of several realms."""
    uri = sipp('''
        < INVITE sdp
        > 407 'x:Proxy-Authenticate=Digest realm="a.example", nonce="a"' \
              'x:Proxy-Authenticate=Digest realm="b.example", nonce="b"'
        < ACK
        < INVITE 'x:Proxy-Authorization=realm="[ab].example"'
    ''' + DONE)
    with UserAgent('udp:127.0.0.1:0') as ua:
        logins = [Login('alice', 'one', 'a.example'), Login('alice', 'two', 'b.example')]
        with ua.call(uri, credentials=logins, timeout=10) as leg:
            assert leg.invite is not None
            sent = leg.invite.get_all('Proxy-Authorization')
            assert sorted('a.example' in text for text in sent) == [False, True]
    assert finished(running)['failed'] == 0


def test_an_algorithm_that_nobody_knows_beside_one_that_we_do(sipp: Answering, running: list[peers.Peer]) -> None:
    """RFC 8760 2.4: the topmost that is supported."""
    uri = sipp('''
        < INVITE sdp
        > 401 'x:WWW-Authenticate=Digest realm="a", nonce="x", algorithm=SHA3-999' \
              'x:WWW-Authenticate=Digest realm="a", nonce="y", algorithm=MD5'
        < ACK
        < INVITE 'x:Authorization=nonce="y"'
    ''' + DONE)
    assert call(uri, Login('alice', 'secret')) == 2
    assert finished(running)['failed'] == 0


def test_refused_with_credentials(sipp: Answering, running: list[peers.Peer]) -> None:
    uri = sipp('''
        < INVITE sdp
        > 407 'x:Proxy-Authenticate=Digest realm="a", nonce="x"'
        < ACK
        < INVITE 'x:Proxy-Authorization=nonce="x"'
        > 403
        < ACK
    ''')
    with UserAgent('udp:127.0.0.1:0') as ua, ua.invite(uri, credentials=('alice', 'secret')) as leg, \
            pytest.raises(Forbidden):
        leg.wait_for('200', timeout=10)
    assert finished(running)['failed'] == 0
