"""The next server within the call: RFC 3263 4.3, and what goes by TCP because of its size (RFC 3261 18.1.1).

``alice`` is a core; the servers of the names that she looks up are played by the tests.
"""

from __future__ import annotations

import pytest

from greensip.dialog import ENDED, FAILED, RESPONSE
from greensip.dialog.exchange import LONGEST_RETRY_AFTER
from greensip.dialog.routing import MAX_AVOIDED, Target
from greensip.errors import (
    ConnectError,
    MessageTooBig,
    RequestTerminated,
    TransactionTimeout,
    TransportError,
    Unavailable,
)
from greensip.message import Request
from greensip.transaction.flow import Flow, Point
from greensip.transaction.settings import Settings

from .conftest import Party, World, name_of

SDP = b'v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'
LARGE = SDP + b'a=x-filler:' + b'0' * 1300 + b'\r\n'
CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="%s", qop="auth", algorithm=MD5'


class Alice:
    """The core under test, the servers of ``example.com`` at ports 1 to 9, and what went where."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.party: Party = world.party('alice', 5060)
        self.core = self.party.core
        self.seen = 0

    def invite(self, *ports: int, **options):
        options = {'from_': self.party.uri, 'body': SDP, **options}
        usage = self.core.invite('sip:bob@example.com', self.world.now, **options)
        self.locate(*ports)
        return usage

    def ask(self, method: str, *ports: int, **options):
        exchange = self.core.request(method, 'sip:bob@example.com', self.world.now, from_=self.party.uri, **options)
        self.locate(*ports)
        return exchange

    def locate(self, *ports: int, transport: str = 'UDP') -> None:
        lookup = self.core.lookups.popleft()
        error = None if ports else TransportError('nobody there')
        self.core.located(lookup, [Target(transport, '127.0.0.1', port) for port in ports], error, self.world.now)
        self.world.flush()

    def run(self, seconds: float) -> None:
        self.world.run(seconds)

    def sent(self) -> list[str]:
        """What went out since the last time: ``1 INVITE`` for an INVITE to port 1; repetitions are left out."""
        new, self.seen = self.world.messages[self.seen:], len(self.world.messages)
        return list(dict.fromkeys(f'{target.rpartition(":")[2]} {name_of(message)}' for _, target, message in new))

    def last(self, method: str) -> Request:
        return next(message for _, _, message in reversed(self.world.messages)
                    if isinstance(message, Request) and message.method == method)

    def hears(self, port: int, code: int, *fields: str, method: str = 'INVITE', request: Request | None = None,
              tag: str = 'peer') -> list[str]:
        """A response from a server to the latest request of ``method``; what goes out then."""
        request = request or self.last(method)
        to = request.get('To') or ''
        lines = [f'SIP/2.0 {code} So', f'Via: {request.get("Via")}', f'From: {request.get("From")}',
                 f'To: {to}' if 'tag=' in to or code == 100 else f'To: {to};tag={tag}', f'Call-ID: {request.call_id}',
                 f'CSeq: {request.get("CSeq")}', *fields, 'Content-Length: 0', '', '']
        self.world.inject('\r\n'.join(lines).encode(), ('127.0.0.1', port), self.party)
        return self.sent()

    def breaks(self, port: int, error: TransportError | None = None, method: str = 'INVITE') -> list[str]:
        """The network says that the latest request did not arrive."""
        request = self.last(method)
        flow = Flow(self.party.point, ('127.0.0.1', port))
        self.core.transport_failed(flow, error or ConnectError('refused'), self.world.now, request.to_bytes())
        self.world.flush()
        return self.sent()

    @property
    def kinds(self) -> list[str]:
        return [event.name for event in self.party.events]


@pytest.fixture
def alice(world: World) -> Alice:
    return Alice(world)


def settled(alice: Alice) -> bool:
    """Nothing is left, after everything has run out."""
    alice.run(300)
    return alice.world.idle()


# An INVITE


def test_after_a_503_the_next_server_gets_the_same_invite_with_a_new_branch(alice: Alice) -> None:
    usage = alice.invite(1, 2)
    assert alice.sent() == ['1 INVITE']
    first = alice.last('INVITE')
    assert alice.hears(1, 503) == ['1 ACK', '2 INVITE']
    second = alice.last('INVITE')
    assert second.branch != first.branch
    assert second.fields[1:] == first.fields[1:] and first.fields[0][0] == 'Via'
    assert second.body == first.body
    assert alice.hears(2, 180) == []
    assert alice.hears(2, 200, 'Contact: <sip:bob@127.0.0.1:2>') == ['2 ACK']
    assert usage.state == 'confirmed'
    # the program has seen nothing of it
    assert alice.kinds == ['180', '200']


def test_a_server_that_is_silent_for_64_t1(alice: Alice) -> None:
    usage = alice.invite(1, 2)
    alice.run(31.9)
    assert alice.sent() == ['1 INVITE']
    alice.run(0.2)
    assert alice.sent() == ['2 INVITE']
    assert alice.hears(2, 200, 'Contact: <sip:bob@127.0.0.1:2>') == ['2 ACK']
    assert usage.state == 'confirmed'


def test_a_server_that_cannot_be_reached(alice: Alice) -> None:
    alice.invite(1, 2)
    alice.sent()
    assert alice.breaks(1) == ['2 INVITE']
    assert alice.breaks(2) == []
    assert isinstance(alice.party.last(ENDED).error, ConnectError)


def test_a_503_after_it_rang(alice: Alice) -> None:
    usage = alice.invite(1, 2)
    alice.hears(1, 180, 'Contact: <sip:bob@127.0.0.1:1>')
    assert usage.state == 'early'
    assert alice.hears(1, 503) == ['1 ACK', '2 INVITE']
    # 13.2.2.3: the early dialog is over
    assert usage.state == 'calling' and not usage.dialogs and not alice.core.dialogs
    assert alice.hears(2, 486, tag='other') == ['2 ACK']
    assert alice.kinds == ['180', '486', 'ended']
    assert settled(alice)


def test_when_all_have_failed_the_last_failure_counts(alice: Alice) -> None:
    alice.invite(1, 2, 3)
    alice.hears(1, 503)
    alice.breaks(2)
    assert alice.hears(3, 503) == ['3 ACK']
    assert isinstance(alice.party.last(ENDED).error, Unavailable)
    assert alice.party.last(RESPONSE).message.code == 503
    assert settled(alice)


@pytest.mark.parametrize('code', [302, 404, 480, 486, 500, 504, 603])
def test_other_answers_are_answers(alice: Alice, code: int) -> None:
    alice.invite(1, 2)
    alice.sent()
    assert alice.hears(1, code) == ['1 ACK']
    assert isinstance(alice.party.last(ENDED).error, Exception)


def test_a_message_that_is_too_big_is_too_big_everywhere(alice: Alice) -> None:
    alice.invite(1, 2)
    alice.sent()
    assert alice.breaks(1, MessageTooBig('65536 octets')) == []
    assert isinstance(alice.party.last(ENDED).error, MessageTooBig)


def test_a_503_from_an_address_is_an_answer_as_ever(alice: Alice) -> None:
    alice.core.invite('sip:bob@127.0.0.1:1', alice.world.now, from_=alice.party.uri, body=SDP)
    alice.world.flush()
    assert alice.hears(1, 503)[-1] == '1 ACK'
    assert not alice.core.router.avoided


# CANCEL and ACK


def test_a_cancel_goes_where_its_invite_went(alice: Alice) -> None:
    usage = alice.invite(1, 2)
    alice.hears(1, 503)
    usage.cancel(alice.world.now)
    alice.world.flush()
    # held back: what came from the first server says nothing about the second
    assert alice.sent() == []
    assert alice.hears(2, 100) == ['2 CANCEL']
    assert alice.last('CANCEL').branch == alice.last('INVITE').branch
    assert alice.hears(2, 487) == ['2 ACK']
    assert isinstance(alice.party.last(ENDED).error, RequestTerminated)


@pytest.mark.parametrize('how', ['503', 'broken', 'silent'])
def test_a_cancelled_call_goes_nowhere_else(alice: Alice, how: str) -> None:
    usage = alice.invite(1, 2)
    alice.sent()
    usage.cancel(alice.world.now)
    if how == '503':
        assert alice.hears(1, 503) == ['1 ACK']
    elif how == 'broken':
        assert alice.breaks(1) == []
    else:
        alice.run(33)
        assert alice.sent() == ['1 INVITE']
    assert usage.state == 'terminated'
    assert settled(alice)


def test_an_ack_that_cannot_be_sent_does_not_harm_the_next_attempt(alice: Alice) -> None:
    usage = alice.invite(1, 2)
    alice.hears(1, 503)
    ack = alice.last('ACK')
    alice.core.transport_failed(Flow(alice.party.point, ('127.0.0.1', 1)), ConnectError('no'), alice.world.now,
                                ack.to_bytes())
    alice.world.flush()
    assert usage.state == 'calling'
    alice.hears(2, 200, 'Contact: <sip:bob@127.0.0.1:2>')
    assert usage.state == 'confirmed'


# Other requests


def test_a_request_outside_of_calls(alice: Alice) -> None:
    exchange = alice.ask('MESSAGE', 1, 2, 3, body=b'hello', content_type='text/plain')
    assert alice.hears(1, 503, method='MESSAGE') == ['1 MESSAGE', '2 MESSAGE']
    assert alice.breaks(2, method='MESSAGE') == ['3 MESSAGE']
    assert alice.hears(3, 200, method='MESSAGE') == []
    assert alice.kinds == ['200'] and exchange.response.code == 200
    assert settled(alice)


def test_a_server_that_is_slow_is_there(alice: Alice) -> None:
    """4.3: "times out without ever having received any response, provisional or final"."""
    alice.ask('OPTIONS', 1, 2)
    alice.sent()
    alice.hears(1, 100, method='OPTIONS')
    alice.run(40)
    assert alice.sent() == ['1 OPTIONS']
    assert isinstance(alice.party.last(FAILED).error, TransactionTimeout)


def test_requests_of_a_dialog_whose_target_is_a_name(alice: Alice) -> None:
    usage = alice.invite(1)
    alice.hears(1, 200, 'Contact: <sip:bob@bob.example.com>')
    alice.locate(4, 5)
    assert alice.sent() == ['4 ACK']
    exchange = usage.send_request('INFO', alice.world.now)
    alice.world.flush()
    assert alice.sent() == ['4 INFO']
    assert alice.breaks(4, method='INFO') == ['5 INFO']
    assert alice.last('INFO').cseq.number == 2
    assert alice.hears(5, 200, method='INFO') == []
    assert exchange.done and usage.state == 'confirmed'
    # The dialog stays where it found somebody; when that one fails too it looks anew.
    usage.send_request('INFO', alice.world.now)
    alice.world.flush()
    assert alice.sent() == ['5 INFO']
    alice.hears(5, 503, method='INFO')
    usage.bye(alice.world.now)
    alice.locate(4, 5)
    assert alice.sent() == ['4 BYE']


def test_a_reinvite_goes_on_as_well(alice: Alice) -> None:
    usage = alice.invite(1)
    alice.hears(1, 200, 'Contact: <sip:bob@bob.example.com>')
    alice.locate(4, 5)
    usage.reinvite(alice.world.now, SDP)
    alice.world.flush()
    alice.sent()
    assert alice.hears(4, 503) == ['4 ACK', '5 INVITE']
    assert alice.hears(5, 200, 'Contact: <sip:bob@bob.example.com>') == ['5 ACK']
    assert usage.state == 'confirmed'


# Patience


def test_patience(alice: Alice) -> None:
    alice.core.settings = alice.core.layer.settings = Settings(patience=4.0)
    usage = alice.invite(1, 2)
    alice.run(3.9)
    assert alice.sent() == ['1 INVITE']
    alice.run(0.2)
    assert alice.sent() == ['2 INVITE']
    # The last one has all the time there is.
    alice.run(30)
    assert alice.sent() == ['2 INVITE'] and usage.state == 'calling'
    alice.run(3)
    assert isinstance(alice.party.last(ENDED).error, TransactionTimeout)
    assert settled(alice)


def test_patience_ends_with_the_first_sign_of_life(alice: Alice) -> None:
    alice.core.settings = alice.core.layer.settings = Settings(patience=4.0)
    usage = alice.invite(1, 2)
    alice.sent()
    alice.hears(1, 100)
    alice.run(60)
    assert alice.sent() == [] and usage.state == 'proceeding'
    usage.cancel(alice.world.now)
    alice.world.flush()
    assert settled(alice)


def test_a_cancelled_call_has_no_patience_to_lose(alice: Alice) -> None:
    alice.core.settings = alice.core.layer.settings = Settings(patience=4.0)
    usage = alice.invite(1, 2)
    alice.sent()
    usage.cancel(alice.world.now)
    alice.run(5)
    assert alice.sent() == ['1 INVITE']
    assert alice.hears(1, 180) == ['1 CANCEL']
    assert alice.hears(1, 487) == ['1 ACK']


# Servers that failed


def test_a_server_that_failed_is_avoided_for_a_while(alice: Alice) -> None:
    alice.ask('OPTIONS', 1, 2)
    alice.sent()
    alice.hears(1, 503, method='OPTIONS')
    alice.hears(2, 200, method='OPTIONS')
    alice.ask('OPTIONS', 1, 2)
    assert alice.sent() == ['2 OPTIONS']
    alice.hears(2, 200, method='OPTIONS')
    # nothing else is left
    alice.ask('OPTIONS', 1)
    assert alice.sent() == ['1 OPTIONS']
    alice.hears(1, 503, method='OPTIONS')
    alice.run(alice.core.settings.avoid_time + 0.1)
    alice.sent()
    alice.ask('OPTIONS', 1, 2)
    assert alice.sent() == ['1 OPTIONS']


@pytest.mark.parametrize('field,seconds', [
    ('Retry-After: 5', 5), ('Retry-After: 600 (maintenance);duration=60', 600), ('Retry-After: soon', 60),
    ('Retry-After: 99999999', LONGEST_RETRY_AFTER)])
def test_retry_after_is_obeyed(alice: Alice, field: str, seconds: float) -> None:
    alice.ask('OPTIONS', 1, 2)
    alice.hears(1, 503, field, method='OPTIONS')
    alice.hears(2, 200, method='OPTIONS')
    alice.run(seconds - 0.1)
    alice.sent()
    alice.ask('OPTIONS', 1, 2)
    assert alice.sent() == ['2 OPTIONS']
    alice.run(0.2)
    alice.sent()
    alice.ask('OPTIONS', 1, 2)
    assert alice.sent() == ['1 OPTIONS']


def test_a_server_that_answers_again_is_forgiven(alice: Alice) -> None:
    alice.ask('OPTIONS', 1, 2)
    alice.hears(1, 503, method='OPTIONS')
    alice.ask('OPTIONS', 1)
    alice.hears(1, 404, method='OPTIONS')
    alice.sent()
    alice.ask('OPTIONS', 1, 2)
    assert alice.sent() == ['1 OPTIONS']


def test_avoiding_can_be_switched_off(alice: Alice) -> None:
    alice.core.settings = alice.core.layer.settings = Settings(avoid_time=0)
    alice.ask('OPTIONS', 1, 2)
    alice.hears(1, 503, method='OPTIONS')
    alice.ask('OPTIONS', 1, 2)
    assert alice.sent() == ['1 OPTIONS']


def test_what_is_remembered_of_failures_is_bounded(alice: Alice) -> None:
    for port in range(MAX_AVOIDED + 100):
        alice.core.router.avoid(Flow(alice.party.point, ('127.0.0.1', port)), port / 10, 60)
    assert len(alice.core.router.avoided) <= MAX_AVOIDED


# With credentials


def test_credentials_stay_with_the_server_that_asked_and_go_on_with_the_next(alice: Alice) -> None:
    """8.1.3.5, 22.2; the next server has a nonce of its own."""
    usage = alice.invite(1, 2, credentials=('alice', 's3cret'))
    alice.sent()
    assert alice.hears(1, 401, CHALLENGE % 'one') == ['1 ACK', '1 INVITE']
    assert 'nonce="one"' in (alice.last('INVITE').get('Authorization') or '')
    assert alice.last('INVITE').cseq.number == 2
    assert alice.hears(1, 503) == ['1 ACK', '2 INVITE']
    assert alice.last('INVITE').cseq.number == 2
    assert alice.hears(2, 401, CHALLENGE % 'two', tag='second') == ['2 ACK', '2 INVITE']
    assert 'nonce="two"' in (alice.last('INVITE').get('Authorization') or '')
    assert alice.last('INVITE').cseq.number == 3
    # Once is enough: the second server does not like them either.
    assert alice.hears(2, 401, CHALLENGE % 'three', tag='third') == ['2 ACK']
    assert usage.state == 'terminated'
    assert settled(alice)


# A connection that had served before


def kept(text: str = 'closed') -> ConnectError:
    error = ConnectError(text)
    error.kept = True
    return error


def test_a_connection_that_had_served_is_replaced_by_another_to_the_same_server(alice: Alice) -> None:
    usage = alice.invite(1)
    first = alice.last('INVITE')
    assert alice.sent() == ['1 INVITE']
    assert alice.breaks(1, kept()) == ['1 INVITE']
    second = alice.last('INVITE')
    assert second.branch != first.branch and second.fields[1:] == first.fields[1:]
    alice.hears(1, 200, 'Contact: <sip:bob@127.0.0.1:1>')
    # Inside the call as well: a trunk that has restarted does not end it.
    usage.reinvite(alice.world.now, SDP)
    alice.world.flush()
    assert alice.breaks(1, kept()) == ['1 INVITE']
    alice.hears(1, 200, 'Contact: <sip:bob@127.0.0.1:1>')
    assert usage.state == 'confirmed'


def test_once_and_then_the_next_server_is_tried(alice: Alice) -> None:
    alice.invite(1, 2)
    assert alice.breaks(1, kept()) == ['1 INVITE']
    assert alice.breaks(1, kept()) == ['2 INVITE']


def test_not_after_a_response_and_not_for_whom_nobody_waits(alice: Alice) -> None:
    alice.ask('OPTIONS', 1)
    alice.hears(1, 100, method='OPTIONS')
    assert alice.breaks(1, kept(), 'OPTIONS') == []
    assert alice.party.last(FAILED) is not None
    usage = alice.invite(1)
    usage.cancel(alice.world.now)
    alice.sent()
    assert alice.breaks(1, kept()) == []


def test_nor_over_a_flow_that_cannot_be_opened_again(alice: Alice) -> None:
    flow = Flow(alice.party.point, ('127.0.0.1', 1), 7)
    alice.core.request('OPTIONS', 'sip:bob@127.0.0.1:1', alice.world.now, from_=alice.party.uri, flow=flow)
    alice.world.flush()
    alice.sent()
    alice.core.transport_failed(flow, kept(), alice.world.now)
    alice.world.flush()
    assert alice.sent() == []
    assert alice.party.last(FAILED).error.kept


# By TCP because of its size


@pytest.fixture
def tcp(alice: Alice) -> Point:
    point = Point('TCP', ('127.0.0.1', 5060), reliable=True)
    alice.core.points.append(point)
    return point


def via_of(alice: Alice, method: str = 'INVITE') -> str:
    return (alice.last(method).get('Via') or '').split()[0]


def call(alice: Alice, uri: str = 'sip:bob@127.0.0.1:1', **options):
    usage = alice.core.invite(uri, alice.world.now, from_=alice.party.uri, **{'body': LARGE, **options})
    alice.world.flush()
    return usage


def breaks_tcp(alice: Alice, tcp: Point, port: int) -> list[str]:
    alice.core.transport_failed(Flow(tcp, ('127.0.0.1', port)), ConnectError('refused'), alice.world.now)
    alice.world.flush()
    return alice.sent()


def test_a_large_request_goes_by_tcp(alice: Alice, tcp: Point) -> None:
    usage = call(alice)
    assert via_of(alice) == 'SIP/2.0/TCP'
    assert alice.last('INVITE').get('Contact') == '<sip:127.0.0.1:5060>'
    assert alice.hears(1, 180) == ['1 INVITE']
    usage.cancel(alice.world.now)
    alice.world.flush()
    # where the INVITE went
    assert alice.sent() == ['1 CANCEL'] and via_of(alice, 'CANCEL') == 'SIP/2.0/TCP'


def test_only_that_request_does(alice: Alice, tcp: Point) -> None:
    usage = call(alice)
    alice.hears(1, 200, 'Contact: <sip:bob@127.0.0.1:1>')
    assert via_of(alice, 'ACK') == 'SIP/2.0/UDP'
    usage.bye(alice.world.now)
    alice.world.flush()
    assert via_of(alice, 'BYE') == 'SIP/2.0/UDP'
    alice.hears(1, 200, method='BYE')
    usage = call(alice, body=SDP)
    assert via_of(alice) == 'SIP/2.0/UDP'
    alice.hears(1, 200, 'Contact: <sip:bob@127.0.0.1:1>')
    usage.reinvite(alice.world.now, LARGE)
    alice.world.flush()
    assert via_of(alice) == 'SIP/2.0/TCP'


@pytest.mark.parametrize('octets,transport', [(1300, 'UDP'), (1301, 'TCP')])
def test_the_limit(alice: Alice, tcp: Point, octets: int, transport: str) -> None:
    call(alice, body=SDP + b'0' * 600)
    length = len(alice.last('INVITE').to_bytes())
    # The Content-Length has four digits in any case: it is counted as if it had.
    call(alice, body=SDP + b'0' * (600 + octets - length - 1))
    assert len(alice.last('INVITE').to_bytes()) == octets - 1
    assert via_of(alice) == f'SIP/2.0/{transport}'


def test_who_demanded_udp_gets_udp(alice: Alice, tcp: Point) -> None:
    call(alice, 'sip:bob@127.0.0.1:1;transport=udp')
    assert via_of(alice) == 'SIP/2.0/UDP'
    call(alice, point=alice.party.point)
    assert via_of(alice) == 'SIP/2.0/UDP'
    call(alice, route=['<sip:127.0.0.1:1;transport=udp;lr>'])
    assert via_of(alice) == 'SIP/2.0/UDP'
    alice.core.settings = alice.core.layer.settings = Settings(tcp_above=0)
    call(alice)
    assert via_of(alice) == 'SIP/2.0/UDP'


def test_who_has_no_tcp_sends_what_he_can(alice: Alice) -> None:
    alice.core.points.append(Point('UDP', ('::1', 5060)))
    call(alice)
    assert via_of(alice) == 'SIP/2.0/UDP'


def test_by_udp_after_all_when_tcp_is_refused(alice: Alice, tcp: Point) -> None:
    usage = call(alice)
    first = alice.last('INVITE')
    assert breaks_tcp(alice, tcp, 1) == ['1 INVITE']
    second = alice.last('INVITE')
    assert second is not first and via_of(alice) == 'SIP/2.0/UDP' and second.branch != first.branch
    assert second.cseq.number == first.cseq.number and second.call_id == first.call_id
    alice.hears(1, 200, 'Contact: <sip:bob@127.0.0.1:1>')
    assert usage.state == 'confirmed'
    # It is not tried again for a while.
    call(alice)
    assert via_of(alice) == 'SIP/2.0/UDP'
    alice.run(alice.core.settings.avoid_time)
    call(alice)
    assert via_of(alice) == 'SIP/2.0/TCP'


def test_by_udp_after_all_when_nobody_answers(alice: Alice, tcp: Point) -> None:
    call(alice)
    alice.run(32.1)
    assert via_of(alice) == 'SIP/2.0/UDP'
    alice.run(33)
    assert isinstance(alice.party.last(ENDED).error, TransactionTimeout)
    assert settled(alice)


def test_without_a_memory_for_failures_udp_is_tried_once(alice: Alice, tcp: Point) -> None:
    alice.core.settings = alice.core.layer.settings = Settings(avoid_time=0)
    call(alice)
    alice.sent()
    assert breaks_tcp(alice, tcp, 1) == ['1 INVITE'] and via_of(alice) == 'SIP/2.0/UDP'
    assert alice.breaks(1) == []
    assert isinstance(alice.party.last(ENDED).error, ConnectError)


def test_each_server_is_tried_by_tcp_and_udp(alice: Alice, tcp: Point) -> None:
    alice.invite(1, 2, body=LARGE)
    alice.sent()
    assert breaks_tcp(alice, tcp, 1) == ['1 INVITE'] and via_of(alice) == 'SIP/2.0/UDP'
    assert alice.breaks(1) == ['2 INVITE'] and via_of(alice) == 'SIP/2.0/TCP'
    assert alice.hears(2, 503) == ['2 ACK']
    assert alice.party.last(RESPONSE).message.code == 503


def test_credentials_by_tcp(alice: Alice, tcp: Point) -> None:
    call(alice, credentials=('alice', 's3cret'))
    alice.sent()
    assert alice.hears(1, 401, CHALLENGE % 'one') == ['1 ACK', '1 INVITE']
    assert via_of(alice) == 'SIP/2.0/TCP'
    assert breaks_tcp(alice, tcp, 1) == ['1 INVITE'] and via_of(alice) == 'SIP/2.0/UDP'
    assert 'nonce="one"' in (alice.last('INVITE').get('Authorization') or '')


# Telephone numbers


def test_a_number_becomes_a_uri(alice: Alice) -> None:
    alice.core.configure(enum='e164.arpa')
    usage = alice.core.invite('tel:+1-555-1234', alice.world.now, from_=alice.party.uri, body=SDP)
    lookup = alice.core.lookups.popleft()
    assert lookup.number == '+15551234'
    alice.core.translated(lookup, ['mailto:x', 'sips:none@127.0.0.1', 'sip:bob@127.0.0.1:1?Subject=x'], None,
                          alice.world.now)
    alice.world.flush()
    assert alice.sent() == ['1 INVITE']
    invite = alice.last('INVITE')
    assert invite.uri_text == 'sip:bob@127.0.0.1:1' and '<tel:+1-555-1234>' in (invite.get('To') or '')
    assert usage.state == 'calling'


def test_a_number_that_nobody_has(alice: Alice) -> None:
    alice.core.configure(enum='e164.arpa')
    alice.core.invite('tel:+15551234', alice.world.now, from_=alice.party.uri, body=SDP)
    alice.core.translated(alice.core.lookups.popleft(), [], ConnectError('none'), alice.world.now)
    alice.world.flush()
    assert isinstance(alice.party.last(ENDED).error, ConnectError)


@pytest.mark.parametrize('uri,enum', [('tel:+15551234', ''), ('tel:5551234;phone-context=+1', 'e164.arpa'),
                                      ('mailto:bob@example.com', 'e164.arpa')])
def test_what_is_no_global_number_is_not_looked_up(alice: Alice, uri: str, enum: str) -> None:
    alice.core.configure(enum=enum)
    alice.core.invite(uri, alice.world.now, from_=alice.party.uri, body=SDP)
    alice.world.flush()
    assert not alice.core.lookups
    assert 'only sip and sips' in str(alice.party.last(ENDED).error)


def test_a_proxy_gets_the_number_as_it_is(alice: Alice) -> None:
    alice.core.configure(enum='e164.arpa', route=['<sip:127.0.0.1:9;lr>'])
    alice.core.invite('tel:+15551234', alice.world.now, from_=alice.party.uri, body=SDP)
    alice.world.flush()
    assert alice.sent() == ['9 INVITE']
    assert alice.last('INVITE').uri_text == 'tel:+15551234'
    assert alice.last('INVITE').get('Route') == '<sip:127.0.0.1:9;lr>'


def test_a_call_to_a_number_that_is_given_up_while_it_is_looked_up(alice: Alice) -> None:
    alice.core.configure(enum='e164.arpa')
    usage = alice.core.invite('tel:+15551234', alice.world.now, from_=alice.party.uri, body=SDP)
    usage.cancel(alice.world.now)
    alice.core.translated(alice.core.lookups.popleft(), ['sip:bob@127.0.0.1:1'], None, alice.world.now)
    alice.world.flush()
    assert alice.sent() == [] and usage.state == 'terminated'
