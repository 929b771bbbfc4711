"""Reliable provisional responses through the B2BUA (RFC 3262), and what comes with them before the answer."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.errors import ResponseError
from greensip.message import make_response

from .test_call import SDP, sdp_of_port
from .test_extensions import titles


class Early:
    """A callee with early media: a 183 with its description, then what the test does, then the 200."""

    def __init__(self, net: Any, *, seconds: float = 1.0, reliable: bool | None = None) -> None:
        self.net = net
        self.seconds = seconds
        self.reliable = reliable
        self.legs: list[Any] = []

    def __call__(self, leg: Any) -> None:
        self.legs.append(leg)
        leg.progress(183, sdp=sdp_of_port(5000), reliable=self.reliable)
        self.net.run(self.seconds)
        leg.answer()
        leg.wait_ended()


def agent(rig: Any, name: str, handler: Any = None, **options: Any) -> Any:
    ua = rig.agent(name, **options)
    if handler is not None:
        ua.serve(handler, background=True)
    return ua


def reliable(arrow_data: bytes) -> bool:
    return b'\r\nRSeq:' in arrow_data


def early_responses(rig: Any, source: str, destination: str) -> list[bool]:
    """Whether the 18x responses between two were reliable, in their order."""
    return [reliable(arrow.data) for arrow in rig.net.ladder.arrows
            if (arrow.source, arrow.destination) == (source, destination) and arrow.title.startswith('18')]


# -- who gets what


@pytest.mark.parametrize(('option', 'caller', 'callee', 'to_callee', 'to_caller'), [
    # what the callee is told, and whether its 183 reaches the caller reliably
    ('supported', 'supported', 'supported', True, True),
    # What was not reliable does not become so unless it must: another route may yet answer otherwise.
    ('supported', 'supported', 'off', False, False),
    ('supported', 'off', 'supported', True, False),
    ('supported', 'required', 'off', False, True),
    ('required', 'off', 'supported', True, False),
    ('off', 'supported', 'supported', False, False),
    ('off', 'required', 'supported', False, True),
    (None, 'supported', 'supported', False, False),
])
def test_each_side_by_itself(rig: Any, option: str | None, caller: str, callee: str, to_callee: bool,
                             to_caller: bool) -> None:
    bob = Early(rig.net)
    agent(rig, 'bob', bob, prack=callee)
    alice = agent(rig, 'alice', prack=caller)
    rig.b2bua('-s', '{bob}', *(['--prack', option] if option else []))
    with alice.invite(rig.uri(), sdp=SDP) as leg:
        assert leg.wait_for('183').message.body == sdp_of_port(5000)
        leg.wait_for('200')
        assert leg.answer == sdp_of_port(5000)
        # Whoever has not had it reliably gets the description in the 200.
        assert bool(leg.response.body) is not to_caller or not to_callee
        rig.net.run(1)
        leg.hold()
        assert bob.legs[0].state == 'held'
    assert early_responses(rig, 'bob', 'b2b') == [to_callee]
    assert early_responses(rig, 'b2b', 'alice') == [to_caller]
    assert titles(rig, 'b2b', 'bob').count('PRACK') == int(to_callee)
    assert titles(rig, 'alice', 'b2b').count('PRACK') == int(to_caller)


def test_without_the_option_who_requires_them_is_refused(rig: Any) -> None:
    agent(rig, 'bob', Early(rig.net))
    alice = agent(rig, 'alice', prack='required')
    rig.b2bua('-s', '{bob}')
    with pytest.raises(ResponseError) as caught:
        alice.call(rig.uri(), sdp=SDP)
    assert caught.value.code == 420 and caught.value.response.get('Unsupported') == '100rel'


def test_a_callee_that_cannot_what_is_required(rig: Any) -> None:
    bob = agent(rig, 'bob', Early(rig.net))
    bob.core.configure(supported=())
    rig.b2bua('-s', '{bob}', '--prack', 'required')
    with pytest.raises(ResponseError) as caught:
        rig.caller.call(rig.uri(), sdp=SDP)
    assert caught.value.code == 420


def test_ringing_that_was_reliable_remains_so(rig: Any) -> None:
    def handler(leg: Any) -> None:
        leg.ring(reliable=True)
        leg.ring(181, reliable=False)
        leg.ring(182, reliable=True)
        rig.net.run(1)
        leg.answer(sdp_of_port(5000))
        leg.wait_ended()

    agent(rig, 'bob', handler, prack='supported')
    alice = agent(rig, 'alice', prack='supported')
    rig.b2bua('-s', '{bob}', '--prack', 'supported')
    with alice.call(rig.uri(), sdp=SDP) as leg:
        assert {response.code for response in leg.responses} == {180, 181, 182, 200}
    assert early_responses(rig, 'b2b', 'alice') == early_responses(rig, 'bob', 'b2b')


def test_the_answer_waits_for_the_callers_prack(rig: Any) -> None:
    bob = Early(rig.net, seconds=0.0)
    agent(rig, 'bob', bob, prack='supported')
    rig.b2bua('-s', '{bob}', '--prack', 'supported')
    carol = rig.raw('carol')
    carol.request('INVITE', rig.uri(), body=SDP, Require='100rel')
    early = carol.expect('SIP/2.0 183')
    rig.net.run(0.3)
    assert not [title for title in carol.titles() if title.startswith('SIP/2.0 200')]
    carol.request('PRACK', rig.uri(), branch='z9hG4bKprack', to_tag=early.to_tag, cseq=2,
                  RAck=f'{early.get("RSeq")} 1 INVITE')
    assert carol.expect('SIP/2.0 200').cseq.method == 'PRACK'
    answer = carol.expect('SIP/2.0 200')
    assert answer.cseq.method == 'INVITE'
    carol.request('ACK', rig.uri(), branch='z9hG4bKack', to_tag=answer.to_tag)
    carol.request('PRACK', rig.uri(), branch='z9hG4bKp2', to_tag=early.to_tag, cseq=3, RAck='1 1 INVITE')
    assert carol.expect('SIP/2.0 4').code == 481
    carol.request('BYE', rig.uri(), branch='z9hG4bKbye', to_tag=answer.to_tag, cseq=4)
    carol.expect('SIP/2.0 200')


def test_a_caller_whose_prack_never_comes(rig: Any) -> None:
    bob = Early(rig.net, seconds=100.0)
    agent(rig, 'bob', bob, prack='supported')
    rig.b2bua('-s', '{bob}', '--prack', 'supported')
    carol = rig.raw('carol')
    carol.request('INVITE', rig.uri(), body=SDP, Require='100rel')
    refused = carol.expect('SIP/2.0 5', 60)
    carol.request('ACK', rig.uri(), to_tag=refused.to_tag)
    rig.net.run(1)
    assert bob.legs[0].ended


# -- offers and answers before the answer


def test_update_passes_both_ways_before_the_answer(rig: Any) -> None:
    bob = Early(rig.net, seconds=3.0)
    agent(rig, 'bob', bob, prack='supported')
    alice = agent(rig, 'alice', prack='supported')
    rig.b2bua('-s', '{bob}', '--prack', 'supported')
    with alice.invite(rig.uri(), sdp=SDP) as leg:
        leg.wait_for('183')
        rig.net.run(0.5)
        assert leg.update(sdp_of_port(4002)).code == 200
        assert bob.legs[0].remote_sdp == sdp_of_port(4002)
        assert bob.legs[0].update(sdp_of_port(5002)).code == 200
        assert leg.remote_sdp == sdp_of_port(5002)
        assert leg.request('INFO', body='x').code == 200
        leg.wait_for('200')
        assert leg.remote_sdp == sdp_of_port(5002) and bob.legs[0].remote_sdp == sdp_of_port(4002)
        rig.net.run(1)
        leg.hold()
        assert bob.legs[0].state == 'held'
    assert titles(rig, 'b2b', 'bob').count('UPDATE') == titles(rig, 'b2b', 'alice').count('UPDATE') == 1


def test_a_late_offer_is_answered_in_the_prack(rig: Any) -> None:
    """RFC 3262 5: no offer in the INVITE, so the reliable response has it, and the PRACK answers."""
    bob = Early(rig.net)
    agent(rig, 'bob', bob, prack='supported')
    alice = agent(rig, 'alice', prack='required')
    rig.b2bua('-s', '{bob}', '--prack', 'supported')
    with alice.invite(rig.uri(), sdp=b'', manual=('PRACK',)) as leg:
        event = leg.wait_for('183')
        assert event.message.body == sdp_of_port(5000)
        leg.prack(event, sdp=sdp_of_port(4000))
        leg.wait_for('200')
        assert bob.legs[0].remote_sdp == sdp_of_port(4000)
        assert leg.state == bob.legs[0].state == 'confirmed'


@pytest.mark.parametrize('option', ['supported', 'required'])
def test_a_late_offer_of_a_caller_that_cannot_answer_it_early(rig: Any, option: str) -> None:
    bob = Early(rig.net)
    agent(rig, 'bob', bob, prack='supported')
    alice = agent(rig, 'alice', prack='off')
    rig.b2bua('-s', '{bob}', '--prack', option)
    if option == 'required':
        with pytest.raises(ResponseError) as caught:
            alice.call(rig.uri(), sdp=b'')
        assert caught.value.code == 421 and caught.value.response.get('Require') == '100rel'
        return
    with alice.call(rig.uri(), sdp=b'') as leg:
        leg.ack(sdp_of_port(4000))
        rig.net.run(1)
        assert bob.legs[0].remote_sdp == sdp_of_port(4000)
    assert early_responses(rig, 'bob', 'b2b') == [False]


@pytest.mark.parametrize('refused', [False, True])
def test_an_offer_in_the_prack(rig: Any, refused: bool) -> None:
    """The callee's own response has had its PRACK by then, so it gets an UPDATE.  The offer cannot be refused."""
    bob = Early(rig.net, seconds=3.0)
    agent(rig, 'bob', bob, prack='supported', manual=('UPDATE',) if refused else ())
    alice = agent(rig, 'alice', prack='supported')
    rig.b2bua('-s', '{bob}', '--prack', 'supported')
    with alice.invite(rig.uri(), sdp=SDP, manual=('PRACK',)) as leg:
        event = leg.wait_for('183')
        if refused:
            bob.legs[0].spawn(lambda peer: peer.respond(peer.wait_for('UPDATE'), 488))
        answer = leg.prack(event, sdp=sdp_of_port(4006))
        assert answer.code == 200 and b'm=audio' in answer.body
        assert titles(rig, 'bob', 'b2b').count('488 UPDATE') == int(refused)
        leg.wait_for('200')
        assert leg.state == 'confirmed'


def test_hunting_on_after_a_reliable_response(rig: Any) -> None:
    """The first route's early media was reliable; the second one's is an ordinary call for its caller."""
    def refusing(leg: Any) -> None:
        leg.ring(reliable=True)
        rig.net.run(0.5)
        leg.reject(486)

    bob = Early(rig.net)
    agent(rig, 'carol', refusing, prack='supported')
    agent(rig, 'bob', bob, prack='supported')
    alice = agent(rig, 'alice', prack='supported')
    rig.b2bua('-s', '{carol}', '-s', '{bob}', '--prack', 'supported')
    with alice.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(1)
        assert leg.answer == sdp_of_port(5000)
        assert leg.update(sdp_of_port(4002)).code == 200 and bob.legs[0].remote_sdp == sdp_of_port(4002)
        leg.hangup()
        rig.net.run(1)
        assert bob.legs[0].ended


def test_hunting_on_after_reliable_early_media(rig: Any) -> None:
    """The caller has agreed on the first route's session: that of the second is offered as soon as it has answered."""
    def refusing(leg: Any) -> None:
        leg.progress(183, sdp=sdp_of_port(6000))
        rig.net.run(0.5)
        leg.reject(486)

    bob = Early(rig.net)
    agent(rig, 'carol', refusing, prack='supported')
    agent(rig, 'bob', bob, prack='supported')
    alice = agent(rig, 'alice', prack='supported')
    rig.b2bua('-s', '{carol}', '-s', '{bob}', '--prack', 'supported')
    with alice.invite(rig.uri(), sdp=SDP) as leg:
        assert b'audio 6000' in leg.wait_for('183').message.body
        leg.wait_for('200')
        rig.net.run(1)
        assert b'audio 5000' in leg.answer
        assert titles(rig, 'b2b', 'alice').count('UPDATE') == 1
        leg.hold()
        assert bob.legs[0].state == 'held'
        leg.hangup()
        rig.net.run(1)
        assert bob.legs[0].ended


def test_given_up_while_it_rings_reliably(rig: Any) -> None:
    bob = Early(rig.net, seconds=50.0)
    agent(rig, 'bob', bob, prack='supported')
    alice = agent(rig, 'alice', prack='supported')
    rig.b2bua('-s', '{bob}', '--prack', 'supported')
    with alice.invite(rig.uri(), sdp=SDP) as leg:
        leg.wait_for('183')
        leg.cancel()
        leg.wait_ended()
    rig.net.run(1)
    assert bob.legs[0].ended


def test_a_ringing_call_is_picked_up_where_responses_are_reliable(rig: Any) -> None:
    bob = Early(rig.net, seconds=100.0)
    agent(rig, 'bob', bob, prack='supported')
    alice, carol = agent(rig, 'alice', prack='supported'), rig.agent('carol')
    rig.b2bua('-s', '{bob}', '--prack', 'supported', '--replaces')
    with alice.invite(rig.uri(), sdp=SDP) as leg:
        leg.wait_for('183')
        dialog = bob.legs[0].usage.dialog
        name = f'{bob.legs[0].call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}'
        with carol.call(rig.uri(), sdp=sdp_of_port(6000), replaces=name) as new:
            leg.wait_for('200', timeout=5)
            rig.net.run(1)
            assert new.state == leg.state == 'confirmed'
            assert b'm=audio 6000' in leg.remote_sdp and b'm=audio 4000' in new.remote_sdp
            leg.hangup()
            new.wait_ended()
    rig.net.run(200)


def test_phones_that_ring_in_parallel_behind_the_callee(rig: Any) -> None:
    """Two early dialogs on the one side are one on the other, whose caller is told the session of who answers."""
    alice = agent(rig, 'alice', prack='supported')
    carol = rig.raw('carol')
    rig.b2bua('-s', '{carol}', '--prack', 'supported')
    with alice.invite(rig.uri(), sdp=SDP) as leg:
        invite = carol.expect('INVITE')
        for rseq, (tag, port) in enumerate((('one', 5001), ('two', 5002)), 1):
            early = make_response(invite, 183, to_tag=tag)
            for name, text in (('Contact', f'<sip:{tag}@{carol.host}>'), ('Require', '100rel'), ('RSeq', str(rseq)),
                               ('Content-Type', 'application/sdp')):
                early.add(name, text)
            early.body = sdp_of_port(port)
            carol.send(early)
            prack = carol.expect('PRACK')
            assert prack.to_tag == tag
            carol.respond(prack, 200)
        rig.net.run(0.3)
        answer = make_response(invite, 200, to_tag='two')
        answer.add('Contact', f'<sip:two@{carol.host}>')
        carol.send(answer)
        leg.wait_for('200', timeout=5)
        carol.expect('ACK')

        rig.net.run(1)
        assert b'm=audio 5002' in leg.remote_sdp and titles(rig, 'b2b', 'alice').count('UPDATE') == 1
        bye = leg.spawn(lambda leg: carol.respond(carol.expect('BYE'), 200))
        leg.hangup()
        rig.net.run(1)
        bye.join()
