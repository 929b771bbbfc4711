"""What sippy 2.5.0 gets wrong and greensip gets right.  A peer without a stack says it octet by octet.

Beside these: ``l``, ``lt``, ``llt``, ``d *`` in test_control and test_call, default credit time and group time-out in
test_routes, test_hunt and test_call, 407 and requests inside a call in test_call, a second instance on the same port
in tests/cli.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from greensip.dialog.routing import Target
from greensip.errors import Busy, Redirected, Unavailable
from greensip.message import parse_uri

SDP = (b'v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n'
       b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')


def answering(leg: Any) -> None:
    leg.answer(SDP)
    leg.wait_ended()


@pytest.mark.parametrize(('code', 'error'), [(486, Busy), (302, Redirected)])
def test_the_ack_for_a_failure_with_a_contact_goes_where_the_invite_went(rig: Any, code: int, error: type) -> None:
    bob, elsewhere = rig.raw('bob'), rig.raw('elsewhere')
    rig.b2bua('-s', '{bob}')
    leg = rig.caller.invite(rig.uri(), sdp=SDP)
    invite = bob.expect('INVITE')
    bob.respond(invite, code, Contact=f'<sip:x@{elsewhere.host}:{elsewhere.port}>')
    ack = bob.expect('ACK')
    assert (str(ack.uri), ack.branch, ack.via.sent_by) == (str(invite.uri), invite.branch, invite.via.sent_by)
    with pytest.raises(error):
        leg.wait_for('200', timeout=5)
    leg.close()
    assert elsewhere.inbox == []


@pytest.mark.parametrize('parameter', [';transport=UDP', ';transport=udp', ';TRANSPORT=Udp'])
def test_a_contact_with_a_transport_is_followed(rig: Any, parameter: str) -> None:
    bob = rig.raw('bob')
    rig.b2bua('-s', '{bob}')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        invite = bob.expect('INVITE')
        bob.respond(invite, 200, SDP, Contact=f'<sip:bob@{bob.host}:{bob.port}{parameter}>')
        leg.wait_for('200', timeout=5)
        assert bob.expect('ACK').start_line.startswith(f'ACK sip:bob@{bob.host}:{bob.port}')
        leg.hangup()
        bob.respond(bob.expect('BYE'), 200)
        leg.wait_ended(timeout=5)


def test_a_caller_whose_contact_has_a_transport_is_called_back(rig: Any) -> None:
    raw = rig.raw('raw')
    bob = rig.callee('bob', answering)
    rig.b2bua('-s', '{bob}')
    request = raw.request('INVITE', rig.uri(), body=SDP, Contact=f'<sip:raw@{raw.host}:{raw.port};transport=UDP>')
    answer = raw.expect('SIP/2.0 200')
    raw.request('ACK', rig.uri(), branch='z9hG4bKack', to_tag=answer.to_tag)
    rig.net.run(1)
    bob.legs[0].hangup()
    bye = raw.expect('BYE')
    assert bye.call_id == request.call_id
    raw.respond(bye, 200)


def test_content_length_counts_octets(rig: Any) -> None:
    bob = rig.raw('bob')
    rig.b2bua('-s', '{bob}')
    offer, answer = (SDP.replace(b's=-', f's={text}'.encode()) for text in ('Grüße', '会議'))
    with rig.caller.invite(rig.uri(), sdp=offer) as leg:
        invite = bob.expect('INVITE')
        assert invite.body == offer
        assert invite.to_bytes().endswith(b'\r\n\r\n' + offer)
        assert int(invite.get('Content-Length')) == len(offer)
        bob.respond(invite, 200, answer)
        assert leg.wait_for('200', timeout=5).message.body == answer
        bob.expect('ACK')
        leg.hangup()
        bob.respond(bob.expect('BYE'), 200)


@pytest.mark.parametrize('number', ['12%0d%0aX-Evil:%201', '12%0aBYE%20x', '12%00', '%22%3e%0d%0a%0d%0av=0', '%ff%0d'])
def test_a_line_end_in_a_dialled_number_injects_nothing(rig: Any, number: str) -> None:
    bob = rig.raw('bob')
    b2bua = rig.b2bua('-s', '{bob};expires=5', '-t', 's/zz/y/', '-A', '2')
    caller = rig.raw('raw')
    caller.request('INVITE', rig.uri(number), body=SDP, From='"a%0d%0ab" <sip:1%0d%0a2@x>;tag=r1')
    invite = bob.expect('INVITE')
    assert invite.get('X-Evil') is None
    assert invite.uri.user == dialled(number)
    assert invite.body == SDP
    assert b'\r\n\r\n' in invite.to_bytes()
    head = invite.to_bytes().split(b'\r\n\r\n')[0]
    assert all(b':' in line or line.startswith(b'INVITE') for line in head.split(b'\r\n'))
    # The list of calls, too, has one line a call.
    lines = list(b2bua.call_lines())
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    rig.net.run(10)
    failure = caller.expect('SIP/2.0 4')
    caller.request('ACK', rig.uri(number), to_tag=failure.to_tag)
    rig.finish()
    rig.records()
    text = rig.folder.joinpath('cdr').read_text()
    assert text.count('\n') == 1
    assert json.loads(text)['cld'] == dialled(number).partition('#')[0]


def dialled(number: str) -> str:
    """The user part without its escapes."""
    user = parse_uri(f'sip:{number}@x').user
    assert user is not None
    return user


def test_repetitions_of_a_bye_are_capped_at_t2(rig: Any) -> None:
    # sippy doubles them without end, so that a late answer is missed.
    bob = rig.raw('bob')
    rig.b2bua('-s', '{bob}')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        bob.respond(bob.expect('INVITE'), 200, SDP)
        leg.wait_for('200', timeout=5)
        bob.expect('ACK')
        bob.inbox.clear()
        leg.hangup()
    rig.net.run(40)
    times = [at for at, message in bob.inbox if message.start_line.startswith('BYE')]
    gaps = [round(after - before, 2) for before, after in itertools.pairwise(times)]
    assert gaps == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]


def test_a_slow_name_server_holds_no_other_call_up(rig: Any) -> None:
    rig.callee('bob', answering)
    resolver = rig.net.resolver
    locate, clock = resolver.locate, rig.net.clock

    def slow(hop: Any, *ours: Any) -> Any:
        if hop.host == 'slow.example':
            clock.sleep(20)
        return locate(hop, *ours)

    resolver.locate = slow
    b2bua = rig.b2bua('-s', 'slow.example')
    waiting = rig.caller.invite(rig.uri(), sdp=SDP)
    rig.net.run(1)
    b2bua.routes = (type(b2bua.routes[0])(rig.net.address('bob')),)
    began = clock.now()
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=5):
        assert clock.now() - began < 0.1
    assert rig.caller.options(rig.uri(None), timeout=1).code == 200
    with pytest.raises(Unavailable):
        waiting.wait_for('200', timeout=30)
    assert clock.now() - began == pytest.approx(19, abs=0.1)
    waiting.close()


def test_a_caller_gives_up_while_a_name_is_looked_up(rig: Any) -> None:
    resolver, clock = rig.net.resolver, rig.net.clock
    resolver.locate = lambda *question: clock.sleep(20) or [Target('UDP', rig.net.address('bob'), 5060)]
    bob = rig.raw('bob')
    rig.b2bua('-s', 'slow.example')
    leg = rig.caller.invite(rig.uri(), sdp=SDP)
    rig.net.run(1)
    leg.cancel()
    assert leg.wait_for('487', timeout=1).code == 487
    leg.close()
    rig.net.run(30)
    assert [title for title in bob.titles() if not title.startswith(('INVITE', 'CANCEL'))] == []



def test_a_bare_carriage_return_in_a_name_goes_no_further(rig: Any) -> None:
    bob, caller = rig.raw('bob'), rig.raw('raw')
    rig.b2bua('-s', '{bob};expires=1')
    request = caller.request('INVITE', rig.uri(), From='"a\\#X-Evil: 1" <sip:1@x>;tag=r1', send=False)
    caller.send(request.to_bytes().replace(b'#', b'\r'))
    rig.net.run(3)
    for _, message in bob.inbox:
        assert b'\r' not in message.to_bytes().replace(b'\r\n', b'')
    refusal = caller.expect('SIP/2.0 4')
    caller.request('ACK', rig.uri(), to_tag=refusal.to_tag)
