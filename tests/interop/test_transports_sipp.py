"""SIPp calls us, and is called, over each transport on one connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from benchmarks import lab, peers
from benchmarks.certificates import Certificate

from greensip import IncomingLeg, UserAgent
from greensip.transaction.flow import Flow

from .conftest import aside
from .sipp_ladder import write_scenario

CALLS = 200
#: what Contact says; RFC 7118 5.2.1 knows no other word for WSS
PARAMETERS = {'tcp': 'tcp', 'tls': 'tls', 'ws': 'ws', 'wss': 'ws'}

OFFER = ('v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n')
LARGE = ''.join(f'a=x-attribute-of-no-meaning:{number:05d}\r\n' for number in range(1200)) + 'a=the-last\r\n'


@pytest.fixture(params=['udp', 'tcp', 'tls', 'ws', 'wss'])
def transport(request: pytest.FixtureRequest, needs: Callable[..., None]) -> str:
    """A transport that the installed SIPp knows."""
    needs('sipp')
    try:
        lab.sipp(request.param)
    except peers.PeerError as error:
        # Debian's own SIPp has no TLS: the one that has comes with the folder that Asterisk is in.
        pytest.skip(str(error))
    return str(request.param)


def serve(leg: IncomingLeg) -> None:
    """Ring, answer, and wait until the caller hangs up."""
    leg.ring()
    leg.answer()
    leg.wait_ended()


def test_it_calls_us(transport: str, place: Callable[..., str], certificate: Certificate, running: list[peers.Peer],
                     folder: Path, free_port: Callable[..., int]) -> None:
    with UserAgent(place(transport)) as ua:
        ua.serve(serve, background=True)
        calling = lab.callers(transport, ua.points[0].address[1], free_port(), folder, calls=CALLS, rate=100.0,
                              certificate=certificate)
        running.append(calling)
        aside(calling.wait, 30)
        assert calling.counts() == {'completed': CALLS, 'failed': 0, 'retransmissions': 0}
        assert ua.legs == []
        assert ua.endpoint.counters.failures == ua.endpoint.counters.broken == 0


def test_we_call_it(transport: str, place: Callable[..., str], certificate: Certificate, running: list[peers.Peer],
                    folder: Path, free_port: Callable[..., int]) -> None:
    port = free_port()
    answering = lab.answerers(transport, port, folder, certificate=certificate)
    running.append(answering)
    sent: list[bytes] = []

    def tap(direction: str, data: bytes, flow: Flow, time: float) -> None:
        if direction == '>':
            sent.append(data)

    with UserAgent(place(transport)) as ua:
        ua.endpoint.taps.append(tap)

        def call() -> None:
            with ua.invite(f'sip:x@127.0.0.1:{port};transport={transport}') as leg:
                leg.wait_for('200', timeout=10)
                leg.hangup()

        calls = []
        for number in range(CALLS):
            calls.append(gevent.spawn(call))
            gevent.sleep(0.01 if number else 0.2)
        gevent.joinall(calls, raise_error=True)
        kept = peers.connections(port)
        aside(answering.finish)
    assert answering.counts() == {'completed': CALLS, 'failed': 0, 'retransmissions': 0}
    assert kept == (0 if transport == 'udp' else 1)
    assert len(sent) == 3 * CALLS   # INVITE, ACK, BYE: nothing twice
    for message in sent:
        assert b'Via: SIP/2.0/%s 127.0.0.1:' % transport.upper().encode() in message
        if message.startswith(b'INVITE') and transport != 'udp':
            contact = message.partition(b'Contact: ')[2].partition(b'\r\n')[0]
            assert contact.endswith(b';transport=%s>' % PARAMETERS[transport].encode())


@pytest.mark.parametrize('transport', ['tcp', 'tls', 'ws', 'wss'], indirect=True)
def test_large_messages(transport: str, place: Callable[..., str], certificate: Certificate,
                        running: list[peers.Peer], folder: Path, free_port: Callable[..., int]) -> None:
    port = free_port()
    answering = lab.answerers(transport, port, folder, certificate=certificate, scenario=write_scenario(
        folder, 'large', '''
            < INVITE sdp:a=the-last
            > 180
            > 200 sdp
            < ACK
            < BYE
            > 200
        '''))
    running.append(answering)
    with UserAgent(place(transport)) as ua, ua.invite(
            f'sip:x@127.0.0.1:{port};transport={transport}', sdp=OFFER + LARGE) as leg:
        leg.wait_for('200', timeout=10)
        leg.hangup()
        leg.wait_ended(timeout=10)
        aside(answering.finish)
    assert answering.counts()['failed'] == 0
    assert answering.counts()['completed'] == 1
