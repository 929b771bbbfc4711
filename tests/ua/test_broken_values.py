"""Each registered header field with a value that is none, in each method, inside a call and outside: a 4xx, a typed
error, or no matter at all; nobody fails, and the dialog lives."""

from __future__ import annotations

import logging

import pytest

from greensip import GreensipError, UserAgent
from greensip.errors import ParseError
from greensip.message import HEADERS, METHODS, make_response
from greensip.testing import Network

from .peer import RawPeer

SDP = (b'v=0\r\no=u 1 1 IN IP4 192.0.2.101\r\ns=-\r\nc=IN IP4 192.0.2.101\r\nt=0 0\r\n'
       b'm=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')

#: what is no value of most kinds
NONSENSE = ('', ';', '<', '"', '<sip:', 'sip:a@[::1', '-1', '99999999999999999999', ';;=', '@@@', 'a/b/c;q=', '\x01',
            'é\udcff')

#: what makes a message a message: broken, nobody knows whose it is
CORE = {'Via', 'From', 'To', 'Call-ID', 'CSeq', 'Content-Length', 'Content-Type', 'Content-Encoding'}

#: methods that may come inside a call, BYE excepted, which ends it
WITHIN = sorted(set(METHODS) - {'ACK', 'BYE', 'CANCEL', 'PUBLISH', 'REGISTER'})
OUTSIDE = sorted(set(METHODS) - {'ACK'})


def broken_values(name):
    """Values that the field's own kind refuses."""
    kind = HEADERS[name].type
    found = []
    for text in NONSENSE:
        try:
            kind.parse(text)
        except ParseError:
            found.append(text)
    return found


BROKEN = [(name, text) for name in HEADERS for text in broken_values(name)]


def test_most_fields_can_be_broken():
    assert len({name for name, _ in BROKEN}) > 90


@pytest.fixture
def net(caplog):
    with Network() as made, caplog.at_level(logging.WARNING, 'greensip'):
        yield made
        for user_agent in made.user_agents:
            assert user_agent.endpoint.counters.failures == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


class Caller(RawPeer):
    """Sends what it is told to, and takes what comes back."""

    def __init__(self, net, callee):
        super().__init__(net, 'raw')
        self.callee = callee
        self.number = 0
        self.to_tag = None

    def say(self, method, *, field=None, body=b'', within=True, cseq=None):
        """A request, perhaps with one field more or another one; its final response, None if there was none."""
        self.number += 1
        fields = {'Event': 'presence', 'Refer_To': '<sip:carol@10.9.9.9>', 'Subscription_State': 'active'}
        if method in ('SUBSCRIBE', 'PUBLISH', 'REGISTER'):
            fields['Expires'] = '60'
        request = self.request(method, self.callee, branch=f'z9hG4bKb{self.number}',
                               to_tag=self.to_tag if within else None,
                               call_id='the-call' if within else f'call-{self.number}',
                               cseq=cseq or self.number, body=body, **fields)
        if field is not None:
            request.remove(field[0])
            data = request.to_bytes()
            head, _, rest = data.partition(b'\r\n\r\n')
            line = f'{field[0]}: {field[1]}'.encode('utf-8', 'surrogateescape')
            data = head + b'\r\n' + line + b'\r\n\r\n' + rest
        else:
            data = request.to_bytes()
        self.inbox.clear()
        self.send(data, self.to(self.callee))
        return self.final(method, request)

    def final(self, method, request):
        for _ in range(100):
            while self.inbox:
                message, flow = self.inbox.pop(0)
                if hasattr(message, 'method'):
                    self.send(self.plain(message), flow)
                elif message.cseq.method == method and message.code >= 200:
                    if method == 'INVITE':
                        self.acknowledge(request, message)
                    return message
            self.net.clock.sleep(0.01)
        return None

    def plain(self, request):
        return make_response(request, 200, to_tag='raw')

    def acknowledge(self, invite, response):
        ok = response.code < 300
        ack = self.request('ACK', self.callee, branch=f'{invite.branch}{"a" if ok else ""}',
                           to_tag=response.to_tag, call_id=invite.call_id, cseq=invite.cseq.number)
        self.send(ack, self.to(self.callee))

    def call(self):
        response = self.say('INVITE', body=SDP, within=False, cseq=1)
        assert response.code == 200
        self.to_tag = response.to_tag
        return response


@pytest.fixture
def raw(net):
    """``raw(RawPeer, ...)`` makes a peer that is closed in the end."""
    made = []

    def make(kind, *args):
        made.append(kind(net, *args))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


@pytest.fixture
def bob(net):
    def handler(leg):
        leg.ring()
        leg.answer(SDP)
        leg.wait_ended()

    ua = net.user_agent('bob')
    ua.serve(handler, background=True)
    return ua


@pytest.mark.parametrize('method', WITHIN)
def test_requests_inside_a_call(net, bob, raw, method):
    peer = raw(Caller, 'bob')
    peer.number = 1
    # the INVITE of the call has this Call-ID
    request = peer.request('INVITE', 'bob', branch='z9hG4bKfirst', call_id='the-call', body=SDP)
    peer.send(request, peer.to('bob'))
    answer = peer.final('INVITE', request)
    peer.to_tag = answer.to_tag
    assert len(bob.legs) == 1
    wrong = []
    for name, text in BROKEN:
        if name in CORE:
            continue
        response = peer.say(method, field=(name, text), body=SDP if method in ('INVITE', 'UPDATE') else b'')
        code = response.code if response is not None else None
        if code is None or not (200 <= code < 300 or 400 <= code < 500):
            wrong.append((name, text, code))
        alive = peer.say('OPTIONS')
        assert alive is not None and alive.code == 200, (name, text)
    assert wrong == []
    assert len(bob.legs) == 1
    bye = peer.say('BYE')
    assert bye.code == 200


@pytest.mark.parametrize('method', OUTSIDE)
def test_requests_outside(net, bob, raw, method):
    peer = raw(Caller, 'bob')
    peer.number = 1
    wrong = []
    for name, text in BROKEN:
        if name in CORE:
            continue
        response = peer.say(method, field=(name, text), within=False, body=SDP if method == 'INVITE' else b'')
        code = response.code if response is not None else None
        if code is None or not (200 <= code < 300 or 400 <= code < 500):
            wrong.append((name, text, code))
        for leg in bob.legs:
            leg.close()
        net.run(0.1)
        for message, flow in peer.inbox:
            if hasattr(message, 'method'):
                peer.send(peer.plain(message), flow)
    assert wrong == []
    net.run(1)
    assert bob.core.counts()['calls'] == 0


@pytest.mark.parametrize('method', sorted(set(WITHIN) - {'INVITE'}))
def test_responses_inside_a_call(net, raw, method):
    """The peer's 200 has the broken field."""
    alice = net.user_agent('alice')
    peer = raw(RawPeer, 'raw')
    leg = alice.invite(net.uri('raw'), sdp=SDP)
    invite = peer.expect('INVITE')
    peer.respond(invite, 200, body=SDP)
    leg.wait_for('200')
    wrong = []
    for name, text in BROKEN:
        if name in CORE:
            continue
        for field in ((name, text), None):
            task = leg.spawn(ask, method if field else 'OPTIONS')
            request = peer.expect(method if field else 'OPTIONS')
            peer.send(answer_with(request, field))
            net.run(0.1)
            if not task.dead:
                wrong.append((name, text, field))
                peer.send(answer_with(request, None))
                net.run(0.1)
            elif task.value is not None and not isinstance(task.value, GreensipError):
                wrong.append((name, text, task.value))
            assert not leg.ended, (name, text)
    assert wrong == []
    leg.close()
    peer.respond(peer.expect('BYE'), 200)
    net.run(0.1)


def ask(leg, method):
    try:
        leg.request(method, headers={'Event': 'presence', 'Refer-To': '<sip:c@10.9.9.9>', 'RAck': '1 1 INVITE',
                                     'Subscription-State': 'active'})
    except GreensipError as error:
        return error
    return None


def answer_with(request, field):
    response = make_response(request, 200, to_tag='raw')
    if field is not None:
        response.remove(field[0])
    data = response.to_bytes()
    if field is None:
        return data
    head, _, rest = data.partition(b'\r\n\r\n')
    return head + f'\r\n{field[0]}: {field[1]}'.encode('utf-8', 'surrogateescape') + b'\r\n\r\n' + rest


@pytest.mark.parametrize('code', [180, 183, 200, 302, 401, 407, 422, 486, 503])
def test_responses_to_invite(net, raw, code):
    alice: UserAgent = net.user_agent('alice')
    peer = raw(RawPeer, 'raw')
    for name, text in BROKEN:
        if name in CORE:
            continue
        with alice.invite(net.uri('raw'), sdp=SDP, credentials=('alice', 'secret'), follow=1) as leg:
            invite = peer.expect('INVITE')
            data = answer_with(invite, (name, text)).replace(b'SIP/2.0 200 OK', b'SIP/2.0 %d X' % code)
            peer.send(data)
            net.run(0.1)
            if not leg.ended and leg.state != 'confirmed':
                # It was dropped, or says nothing final: the peer repeats it in order.
                if peer.inbox and peer.inbox[-1][0].start_line.startswith('INVITE'):
                    invite = peer.inbox[-1][0]
                peer.respond(invite, 200, body=SDP)
                net.run(0.1)
            assert leg.ended or leg.state == 'confirmed', (name, text)
        net.run(0.1)
        for message, flow in peer.inbox:
            if hasattr(message, 'method') and message.method in ('BYE', 'CANCEL'):
                peer.send(answer_with(message, None), flow)
        peer.inbox.clear()
        net.run(0.1)
