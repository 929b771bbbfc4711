"""Races that users of other stacks hit, and what else goes on behind a script's back.  One test each."""

from __future__ import annotations

import gevent
import pytest

from greensip.errors import Busy, RemoteCancel, RemoteHangup, RequestTerminated, TransactionTimeout
from greensip.message import make_cancel
from greensip.transaction.flow import Flow
from greensip.ua.bridge import Bridge
from greensip.ua.group import LegGroup

from .conftest import SDP, answering, sdp_of_port
from .peer import RawPeer


@pytest.fixture
def raw(net):
    """raw('carol') makes a peer that says only what the test says."""
    made = []

    def make(name):
        made.append(RawPeer(net, name))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


def titles(net, source=None):
    return [arrow.title for arrow in net.ladder.arrows if source in (None, arrow.source)]


def test_cancel_before_the_handler_started(bob, raw, net):
    began = []

    def handler(leg):
        began.append(leg.ended)
        try:
            leg.ring()
        except RemoteCancel as error:
            began.append(error.reason)
            raise

    bob.serve(handler, background=True)
    carol = raw('carol')
    invite = carol.request('INVITE', 'bob', body=SDP)
    cancel = make_cancel(invite)
    cancel.add('Reason', 'SIP;cause=200')
    # Both are read before any greenlet of bob's handler runs.
    flow = Flow(bob.points[0], carol.address)
    for request in invite, cancel:
        bob.endpoint.received(request.to_bytes(), flow)
    carol.expect('SIP/2.0 200')
    carol.send(carol.request('ACK', 'bob', to_tag=carol.expect('SIP/2.0 487').to_tag), carol.to('bob'))
    net.clock.sleep(1)
    assert began == [True, 'SIP;cause=200']


def test_cancel_is_matched_by_branch_although_nat_changed_the_sent_by(bob, raw, net):
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    carol = raw('carol')
    invite = carol.request('INVITE', 'bob', body=SDP)
    flow = carol.to('bob')
    carol.send(invite, flow)
    carol.expect('SIP/2.0 180')
    cancel = make_cancel(invite)
    cancel.set('Via', invite.get('Via').replace(carol.address[0], '192.168.7.7'))
    carol.send(cancel, flow)
    carol.expect('SIP/2.0 200')
    final = carol.expect('SIP/2.0 487')
    ack = carol.request('ACK', 'bob', to_tag=final.to_tag)
    carol.send(ack, flow)


def test_487_follows_the_200_to_the_cancel(alice, bob, net, to_bob):
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with alice.invite(to_bob) as leg:
        leg.wait_for('180')
        leg.cancel()
        assert leg.wait_for('487').message.cseq == leg.invite.cseq
    assert titles(net, 'bob') == ['180 INVITE', '200 CANCEL', '487 INVITE']
    assert titles(net, 'alice') == ['INVITE', 'CANCEL', 'ACK']


def test_cancel_carries_the_incoming_reason(alice, agent, bob, net):
    middle = agent('middle')
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)

    def handler(a):
        with LegGroup(a) as group:
            b = group.invite(net.uri('bob'), sdp=a.offer, progress_to=a)
            b.wait_for('2xx', timeout=20)

    middle.serve(handler, background=True)
    with alice.invite(net.uri('middle')) as leg:
        leg.wait_for('180')
        leg.cancel('SIP;cause=200;text="Call completed elsewhere"')
        leg.wait_for('487')
    net.clock.sleep(1)
    cancels = [arrow for arrow in net.ladder.arrows if arrow.title == 'CANCEL']
    assert [arrow.source for arrow in cancels] == ['alice', 'middle']
    for arrow in cancels:
        assert b'Reason: SIP;cause=200;text="Call completed elsewhere"\r\n' in arrow.data


def test_closing_while_it_rings_sends_cancel(alice, bob, net, to_bob):
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    now = net.clock.now
    with alice.invite(to_bob) as leg:
        leg.wait_for('180')
        left = now()
    # The script is not held up: the user agent finishes the transaction.
    assert now() == left and not leg.ended
    net.clock.sleep(1)
    net.ladder.expect('''
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        alice -> bob: CANCEL
        bob -> alice: 200 CANCEL
        bob -> alice: 487 INVITE
        alice -> bob: ACK
    ''')
    assert leg.ended


def test_closing_on_an_exception_while_it_rings(alice, bob, net, to_bob):
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    with pytest.raises(KeyError), alice.invite(to_bob) as leg:
        leg.wait_for('180')
        raise KeyError('script')
    net.clock.sleep(1)
    assert titles(net, 'alice') == ['INVITE', 'CANCEL', 'ACK']


def test_200_after_cancel_is_acknowledged_then_hung_up(alice, bob, net, to_bob):
    bob.serve(lambda leg: (leg.ring(), net.clock.sleep(1), leg.answer(), leg.wait_ended()), background=True)
    with alice.invite(to_bob) as leg:
        leg.wait_for('180')
        net.clock.sleep(0.985)
        leg.cancel()
        assert leg.wait_for('200').code == 200
    net.clock.sleep(1)
    net.ladder.expect('''
        alice -> bob: INVITE
        bob -> alice: 180 INVITE
        alice -> bob: CANCEL
        bob -> alice: 200 INVITE
        bob -> alice: 200 CANCEL
        alice -> bob: ACK
        alice -> bob: BYE
        bob -> alice: 200 BYE
    ''')


def test_a_retry_after_cancel_has_a_new_call_id(alice, bob, to_bob):
    bob.serve(lambda leg: (leg.ring(), leg.wait_ended()), background=True)
    call_ids = set()
    for _ in range(2):
        with alice.invite(to_bob) as leg:
            leg.wait_for('180')
            leg.cancel()
            leg.wait_for('487')
            call_ids.add((leg.call_id, leg.local.tag))
    assert len(call_ids) == 2 and len({call_id for call_id, _ in call_ids}) == 2


def test_every_repeated_2xx_is_acknowledged_again_even_after_the_call_ended(alice, raw, net):
    carol = raw('carol')
    with alice.invite(net.uri('carol'), sdp=SDP) as leg:
        invite = carol.expect('INVITE')
        answer = carol.respond(invite, 200, body=sdp_of_port(6000))
        leg.wait_for('200')
        acks = [carol.expect('ACK')]
        for _ in range(2):
            carol.send(answer)
            acks.append(carol.expect('ACK'))
    carol.respond(carol.expect('BYE'), 200)
    leg.wait_ended()
    carol.send(answer)
    acks.append(carol.expect('ACK'))
    assert len({ack.to_bytes() for ack in acks}) == 1
    assert leg.responses[-1].code == 200 and len(leg.responses) == 1


def test_the_uas_repeats_200_until_the_ack(bob, raw, net):
    legs = []
    bob.serve(lambda leg: (legs.append(leg), leg.answer(), leg.wait_for('ACK'), leg.wait_ended()), background=True)
    carol = raw('carol')
    flow = carol.to('bob')
    carol.send(carol.request('INVITE', 'bob', body=SDP), flow)
    times = []
    for _ in range(4):
        answer = carol.expect('SIP/2.0 200')
        times.append(round(net.clock.now(), 1))
    assert times == [0.0, 0.5, 1.5, 3.5]
    carol.send(carol.request('ACK', 'bob', branch='z9hG4bKack', to_tag=answer.to_tag), flow)
    net.clock.sleep(40)
    assert titles(net, 'bob') == ['200 INVITE'] * 4 and legs[0].state == 'confirmed'
    carol.send(carol.request('BYE', 'bob', branch='z9hG4bKbye', to_tag=answer.to_tag, cseq=2), flow)
    carol.expect('SIP/2.0 200')


def test_the_uas_repeats_a_refusal_until_the_ack(bob, raw, net):
    bob.serve(lambda leg: leg.reject(486), background=True)
    carol = raw('carol')
    flow = carol.to('bob')
    carol.send(carol.request('INVITE', 'bob', body=SDP), flow)
    for _ in range(3):
        refusal = carol.expect('SIP/2.0 486')
    carol.send(carol.request('ACK', 'bob', to_tag=refusal.to_tag), flow)
    net.clock.sleep(40)
    assert titles(net, 'bob') == ['486 INVITE'] * 3


def test_an_answer_without_ack_ends_the_call(bob, raw, net):
    errors = []
    bob.serve(lambda leg: (leg.answer(), errors.append(leg.wait_ended().error)), background=True)
    carol = raw('carol')
    carol.send(carol.request('INVITE', 'bob', body=SDP), carol.to('bob'))
    carol.respond(carol.expect('BYE'), 200)
    net.clock.sleep(1)
    assert isinstance(errors[0], TransactionTimeout) and 32 < net.clock.now() < 34


@pytest.mark.parametrize('method', ['INVITE', 'UPDATE'])
def test_the_peer_refreshes_the_session_though_we_did_not_ask_for_a_timer(bob, raw, net, method):
    bob.serve(lambda leg: (leg.answer(sdp=sdp_of_port(6000)), leg.wait_ended()), background=True)
    carol = raw('carol')
    flow = carol.to('bob')
    carol.send(carol.request('INVITE', 'bob', body=SDP, Supported='timer', Session_Expires='90;refresher=uac'), flow)
    answer = carol.expect('SIP/2.0 200')
    assert answer.get('Session-Expires') == '90;refresher=uac' and answer.require == ['timer']
    carol.send(carol.request('ACK', 'bob', branch='z9hG4bKack', to_tag=answer.to_tag), flow)
    for number in range(2, 5):
        net.clock.sleep(45)
        carol.send(carol.request(method, 'bob', branch=f'z9hG4bK{number}', to_tag=answer.to_tag, cseq=number,
                                 body=SDP, Supported='timer', Session_Expires='90;refresher=uac'), flow)
        refreshed = carol.expect('SIP/2.0 200')
        assert refreshed.cseq.number == number and refreshed.body == answer.body
        assert refreshed.get('Session-Expires') == '90;refresher=uac'
        if method == 'INVITE':
            carol.send(carol.request('ACK', 'bob', branch=f'z9hG4bKa{number}', to_tag=answer.to_tag, cseq=number), flow)
    carol.send(carol.request('BYE', 'bob', branch='z9hG4bKbye', to_tag=answer.to_tag, cseq=9), flow)
    carol.expect('SIP/2.0 200')


def test_bye_after_ack_keeps_the_route_set(alice, raw, net):
    carol = raw('carol')
    proxies = '<sip:10.0.0.2;lr>, <sip:p2.example.com;lr>'
    with alice.invite(net.uri('carol'), sdp=SDP) as leg:
        carol.respond(carol.expect('INVITE'), 200, body=sdp_of_port(6000), Record_Route=proxies)
        leg.wait_for('200')
        # The next hop of the route set is a name that leads nowhere here: the first of the reversed list.
        routes = [str(route) for route in leg.usage.dialog.route_set]
        assert routes == ['<sip:p2.example.com;lr>', '<sip:10.0.0.2;lr>']
        ack = leg.usage.dialog.routes
    assert leg.usage.dialog.routes == ack


def test_bye_and_ack_go_through_the_record_routing_proxy(alice, raw, net):
    carol = raw('carol')
    route = f'<sip:{carol.address[0]}:{carol.address[1]};lr>'
    with alice.invite(net.uri('carol'), sdp=SDP) as leg:
        response = carol.respond(carol.expect('INVITE'), 200, body=sdp_of_port(6000), Record_Route=route)
        leg.wait_for('200')
        ack = carol.expect('ACK')
    bye = carol.expect('BYE')
    carol.respond(bye, 200)
    for request in ack, bye:
        assert [str(one) for one in request.routes] == [route]
        assert str(request.uri) == str(response.contact.uri)


def test_more_than_ten_provisional_responses(alice, bob, to_bob):
    def handler(leg):
        for number in range(15):
            leg.progress(180 + number % 4)
        leg.answer()
        leg.wait_ended()

    bob.serve(handler, background=True)
    with alice.invite(to_bob) as leg:
        for number in range(15):
            assert leg.wait_for('18x', timeout=5).code == 180 + number % 4
        leg.wait_for('200')
        assert len(leg.responses) == 16


def test_a_callee_that_never_stops_ringing(alice, raw, net):
    """Its responses are counted; the call goes on."""
    carol = raw('carol')
    leg = alice.invite(net.uri('carol'), sdp=SDP)
    invite = carol.expect('INVITE')
    for number in range(3000):
        carol.respond(invite, 180, tag='t', Subject=str(number))
        if not number % 100:
            net.run(0.02)
    net.run(1)
    assert [response.get('Subject') for response in leg.responses] == [str(number) for number in range(2900, 3000)]
    carol.respond(invite, 200, tag='t', body=SDP)
    leg.wait_for('200')
    assert leg.responses[-1].code == 200 and len(leg.responses) == 100
    leg.close()
    carol.respond(carol.expect('BYE'), 200)
    net.run(1)


@pytest.mark.parametrize('odd', ['"a\\\0b" <sip:carol@10.0.0.9>;tag=c', '"\udcff" <sip:carol@10.0.0.9>;tag=c'])
def test_a_caller_whose_name_is_hard_to_write_can_be_hung_up(bob, raw, odd):
    """RFC 4475 3.1.1.2 has a NUL in a quoted string, 3.1.1.14 octets that are no UTF-8."""
    def handler(leg):
        leg.answer()
        leg.wait_for('ACK')
        leg.request('INFO')

    bob.serve(handler, background=True)
    carol = raw('carol')
    flow = carol.to('bob')
    invite = carol.request('INVITE', 'bob', body=SDP)
    invite.set('From', odd)
    carol.send(invite, flow)
    answer = carol.expect('SIP/2.0 200')
    ack = carol.request('ACK', 'bob', branch='z9hG4bKack', to_tag=answer.to_tag)
    ack.set('From', odd)
    carol.send(ack, flow)
    for method in ('INFO', 'BYE'):
        request = carol.expect(method)
        assert request.get('To') == odd
        carol.respond(request, 200)


def test_progress_for_a_caller_whose_supported_cannot_be_read(agent, raw, net):
    """It has come through the INVITE, so it must not get in the way of what the callee says."""
    middle = agent('middle')
    carol, dave = raw('carol'), raw('dave')
    seen = []

    def handler(leg):
        with middle.invite(net.uri('carol'), sdp=leg.offer, progress_to=leg) as other:
            seen.append(other.wait_for('180').code)
            leg.answer(like=other.wait_for('2xx'))
            Bridge(leg, other).wait()

    middle.serve(handler, background=True)
    dave.send(dave.request('INVITE', 'middle', body=SDP, Supported='100rel;maddr=x'), dave.to('middle'))
    invite = carol.expect('INVITE')
    carol.respond(invite, 180)
    assert dave.expect('SIP/2.0 180').to_tag
    carol.respond(invite, 200, body=SDP)
    answer = dave.expect('SIP/2.0 200')
    dave.send(dave.request('ACK', 'middle', branch='z9hG4bKack', to_tag=answer.to_tag), dave.to('middle'))
    dave.send(dave.request('BYE', 'middle', branch='z9hG4bKbye', to_tag=answer.to_tag, cseq=2), dave.to('middle'))
    carol.respond(carol.expect('BYE'), 200)
    net.run(1)
    assert seen == [180] and middle.endpoint.counters.failures == 0


def test_a_field_of_the_callee_with_a_nul_reaches_the_caller(alice, agent, raw, net):
    """Through a bridge, as all that nobody has to understand."""
    middle = agent('middle')
    carol = raw('carol')
    odd = '"a\\\0b"'

    def handler(leg):
        with middle.invite(net.uri('carol'), sdp=leg.offer, progress_to=leg) as other:
            leg.answer(like=other.wait_for('2xx'))
            Bridge(leg, other).wait()

    middle.serve(handler, background=True)
    leg = alice.invite(net.uri('middle'), sdp=SDP)
    invite = carol.expect('INVITE')
    carol.respond(invite, 180, X_Odd=odd)
    assert leg.wait_for('180').message.get('X-Odd') == odd
    carol.respond(invite, 200, X_Odd=odd, body=SDP)
    assert leg.wait_for('200').message.get('X-Odd') == odd
    leg.close()
    carol.respond(carol.expect('BYE'), 200)
    net.run(1)
    assert middle.endpoint.counters.failures == 0


def test_hanging_up_before_the_100(alice, raw, net):
    carol = raw('carol')
    with alice.invite(net.uri('carol')):
        pass
    invite = carol.expect('INVITE')
    net.clock.sleep(0.3)
    assert 'CANCEL' not in titles(net)
    carol.respond(invite, 100)
    cancel = carol.expect('CANCEL')
    assert cancel.branch == invite.branch
    carol.respond(cancel, 200)
    carol.respond(invite, 487)
    carol.expect('ACK')


def test_hanging_up_before_the_100_and_the_peer_answers_at_once(alice, raw, net):
    carol = raw('carol')
    leg = alice.invite(net.uri('carol'), sdp=SDP)
    leg.hangup()
    carol.respond(carol.expect('INVITE'), 200, body=sdp_of_port(6000))
    carol.expect('ACK')
    carol.respond(carol.expect('BYE'), 200)
    leg.wait_ended()
    assert 'CANCEL' not in titles(net)


def test_hanging_up_a_peer_that_is_not_there(alice, net):
    with alice.invite(net.uri('nobody')) as leg:
        pass
    leg.wait_ended(timeout=40)
    assert titles(net).count('CANCEL') == 0


# -- more of the kind

@pytest.mark.parametrize('callee', [
    lambda leg: leg.wait_ended(),
    lambda leg: (leg.ring(), leg.wait_ended()),
    lambda leg: (leg.answer(), leg.wait_ended()),
])
def test_two_hang_up_at_once_and_a_log_handler_lets_both_run(alice, bob, net, to_bob, switching_log, callee):
    bob.serve(callee, background=True)
    leg = alice.invite(to_bob)
    net.clock.sleep(1)
    tasks = [gevent.spawn(leg.hangup) for _ in range(3)]
    net.clock.sleep(1)
    assert [task.exception for task in tasks] == [None] * 3 and leg.ended
    assert [title for title in titles(net, 'alice') if title in ('BYE', 'CANCEL')] in (['BYE'], ['CANCEL'])


@pytest.mark.parametrize('verb', ['hangup', 'reject'])
def test_the_callee_refuses_while_a_log_handler_lets_others_run(alice, bob, net, to_bob, switching_log, verb):
    leg = alice.invite(to_bob)
    caller = bob.accept()
    tasks = [gevent.spawn(getattr(caller, verb)), gevent.spawn(caller.hangup)]
    net.clock.sleep(1)
    assert tasks[1].exception is None and caller.ended and leg.ended


def test_bye_crosses_bye(alice, bob, net, to_bob):
    legs = []
    bob.serve(lambda leg: (legs.append(leg), answering(leg)), background=True)
    leg = alice.call(to_bob)
    net.clock.sleep(1)
    leg.hangup()
    legs[0].hangup()
    leg.wait_ended(timeout=1)
    legs[0].wait_ended(timeout=1)


def test_the_caller_cancels_in_the_moment_of_the_answer(agent, net):
    """The CANCEL reaches the middle after its 200 has gone: there is a call, and the caller ends it."""
    alice, middle, bob = agent('alice'), agent('middle'), agent('bob')
    bob.serve(lambda leg: (leg.ring(), net.clock.sleep(1), leg.answer(), leg.wait_ended()), background=True)

    def handler(a):
        with LegGroup(a) as group:
            b = group.invite(net.uri('bob'), sdp=a.offer, progress_to=a)
            b.wait_for('2xx', timeout=20)
            a.answer(sdp=b.answer)
            Bridge(a, b).wait()

    middle.serve(handler, background=True)
    with alice.invite(net.uri('middle'), sdp=SDP) as leg:
        leg.wait_for('180')
        net.clock.sleep(0.995)
        leg.cancel()
        leg.wait_ended()
    net.clock.sleep(2)
    assert titles(net, 'middle').count('BYE') == 1


@pytest.mark.parametrize('delay', [n / 200 for n in range(16)])
def test_cancel_at_every_moment_of_a_call_through_a_b2bua(agent, net, delay):
    """Nothing is left anywhere, whenever the caller gives up; the fixture of the user agents looks."""
    alice, middle, bob = agent('alice'), agent('middle'), agent('bob')
    bob.serve(lambda leg: (leg.ring(), leg.answer(), leg.wait_ended()), background=True)

    def handler(a):
        with LegGroup(a) as group:
            b = group.invite(net.uri('bob'), sdp=a.offer, progress_to=a)
            b.wait_for('2xx', timeout=20)
            a.answer(sdp=b.answer)
            Bridge(a, b).wait()

    middle.serve(handler, background=True)
    with alice.invite(net.uri('middle'), sdp=SDP):
        net.clock.sleep(delay)
    net.clock.sleep(40)
    for ua in alice, middle, bob:
        assert ua.core.counts()['calls'] == ua.core.counts()['dialogs'] == 0


def test_calls_over_a_bad_network(agent, net):
    """A tenth of the packets is lost, some are late, some come twice: no call fails, none is left."""
    net.loss, net.jitter, net.duplicate = 0.1, 0.02, 0.1
    alice, bob = agent('alice'), agent('bob')
    bob.serve(answering, background=True)
    answered = 0
    for _ in range(30):
        with alice.invite(net.uri('bob'), sdp=SDP) as leg:
            leg.wait_for('200', timeout=20)
            answered += 1
    assert answered == 30
    net.clock.sleep(70)
    net.loss = net.jitter = net.duplicate = 0.0
    for ua in alice, bob:
        assert ua.core.counts()['calls'] == 0


def test_the_peer_hangs_up_while_we_wait(alice, bob, to_bob):
    bob.serve(lambda leg: leg.answer(), background=True)
    with alice.call(to_bob) as leg, pytest.raises(RemoteHangup):
        leg.wait_for('INFO', timeout=20)


def test_forked_answers_the_second_is_hung_up(alice, raw, net):
    carol = raw('carol')
    with alice.invite(net.uri('carol'), sdp=SDP) as leg:
        invite = carol.expect('INVITE')
        carol.respond(invite, 180, tag='one')
        carol.respond(invite, 180, tag='two')
        carol.respond(invite, 200, tag='two', body=sdp_of_port(6002))
        carol.respond(invite, 200, tag='one', body=sdp_of_port(6001))
        leg.wait_for('200')
        assert leg.remote.tag == 'two'
        assert {carol.expect('ACK').to_tag, carol.expect('ACK').to_tag} == {'one', 'two'}
        bye = carol.expect('BYE')
        assert bye.to_tag == 'one'
        carol.respond(bye, 200)
        assert leg.wait_for('forked').message.to_tag == 'one'
        assert leg.state == 'confirmed' and leg.answer == sdp_of_port(6002)
    carol.respond(carol.expect('BYE'), 200)
    leg.wait_ended()


def test_group_of_three_the_first_answer_wins(alice, agent, net):
    for name, seconds in ('slow', 3), ('quick', 1), ('busy', None):
        def handler(leg, seconds=seconds):
            if seconds is None:
                leg.reject(486)
                return
            leg.ring()
            net.clock.sleep(seconds)
            leg.answer()
            leg.wait_ended()

        agent(name).serve(handler, background=True)
    with LegGroup(engine=alice) as group:
        for name in 'slow', 'quick', 'busy':
            group.invite(net.uri(name))
        winner = group.first('200', timeout=25)
        assert winner.to.uri.user == 'quick'
        net.clock.sleep(1)
    cancel, = [arrow for arrow in net.ladder.arrows if arrow.title == 'CANCEL']
    assert cancel.destination == 'slow' and b'Call completed elsewhere' in cancel.data


def test_two_answers_at_once_in_a_group(alice, agent, net):
    """The late 200 is acknowledged and hung up."""
    for name in 'one', 'two':
        agent(name).serve(lambda leg: (leg.answer(), leg.wait_ended()), background=True)
    with LegGroup(engine=alice) as group:
        legs = [group.invite(net.uri(name)) for name in ('one', 'two')]
        winner = group.first('200', timeout=25)
        assert winner is legs[0]
        net.clock.sleep(1)
        assert legs[1].ended and winner.state == 'confirmed'


def test_all_of_a_group_refuse(alice, agent, net):
    agent('one').serve(lambda leg: leg.reject(480), background=True)
    agent('two').serve(lambda leg: leg.reject(486), background=True)
    with LegGroup(engine=alice) as group:
        for name in 'one', 'two':
            group.invite(net.uri(name))
        with pytest.raises((Busy, RequestTerminated, Exception)) as caught:
            group.first('200', timeout=25)
        assert caught.value.code in (480, 486)
