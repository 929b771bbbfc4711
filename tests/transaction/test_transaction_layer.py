"""Matching, merged requests, limits, and what is left when all is over: RFC 3261 17.1.3, 17.2.3, 8.2.2.2, 9.2."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.errors import TransportError, UsageError, WrongState
from greensip.message import Request, Response, make_cancel, make_response, parse_message
from greensip.transaction import (
    ClientTransaction,
    Flow,
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
    State,
)

from .conftest import PEER, World, answer_to, check, our_request, request


def told(world: World) -> list[str]:
    """What the user was told since the last time, and forget it."""
    kinds = [kind for kind, transaction, item in world.told]
    world.told.clear()
    return kinds


# -- requests: 17.2.3 with a branch

@pytest.mark.parametrize('change', [
    {'branch': 'z9hG4bK-other'},
    {'host': '192.0.2.10'},
    {'port': 5062},
    {'method': 'OPTIONS'},
])
def test_a_request_with_another_branch_sent_by_or_method_is_new(change: dict[str, Any]) -> None:
    world = World()
    world.receive(request())
    world.receive(request(**change))
    assert told(world) == ['request', 'request']
    world.receive(request(**change))
    world.receive(request())
    assert told(world) == []


@pytest.mark.parametrize('change', [{'call_id': 'other'}, {'cseq': 7}, {'uri': 'sip:other@192.0.2.1'}, {'to_tag': 'x'}])
def test_with_a_branch_nothing_else_counts(change: dict[str, Any]) -> None:
    world = World()
    world.receive(request())
    world.receive(request(**change))
    assert told(world) == ['request']


def test_two_clients_that_use_the_same_branch_do_not_disturb_one_another() -> None:
    world = World()
    one = request('BYE', host='192.0.2.10')
    two = request('BYE', host='192.0.2.20')
    world.receive(one)
    world.receive(two)
    first, second = [transaction for kind, transaction, item in world.told]
    world.layer.respond(first, make_response(one, 200, to_tag='x'), world.now)
    world.pass_time(31)
    world.layer.respond(second, make_response(two, 481, to_tag='x'), world.now)
    world.pass_time(33)
    # The first one has gone; the second is found still.
    assert [first.state, second.state] == [State.TERMINATED, State.COMPLETED]
    told(world)
    world.receive(two)
    assert told(world) == []
    assert world.sent[-1][0].startswith(b'SIP/2.0 481')
    world.pass_time(100)
    assert len(world.layer) == 0


def test_an_ack_is_matched_to_its_client_when_two_use_the_same_branch() -> None:
    world = World()
    for host in ('192.0.2.10', '192.0.2.20'):
        invite = request(host=host, call_id=host)
        world.receive(invite)
        world.layer.respond(world.told[-1][1], make_response(invite, 486, to_tag='x'), world.now)
    first, second = [transaction for kind, transaction, item in world.told]
    world.receive(request('ACK', host='192.0.2.20', call_id='192.0.2.20', to_tag='x'))
    assert [first.state, second.state] == [State.COMPLETED, State.CONFIRMED]
    world.receive(request('ACK', host='192.0.2.10', call_id='192.0.2.10', to_tag='x'))
    assert first.state == State.CONFIRMED


def test_an_ack_whose_sent_by_a_nat_has_changed() -> None:
    world = World()
    invite = request()
    world.receive(invite)
    transaction = world.told[0][1]
    world.layer.respond(transaction, make_response(invite, 486, to_tag='x'), world.now)
    world.receive(request('ACK', host='198.51.100.1', port=1024, call_id='other', to_tag='x'))
    assert transaction.state == State.COMPLETED
    world.receive(request('ACK', host='198.51.100.1', port=1024, to_tag='x'))
    assert transaction.state == State.CONFIRMED


# -- requests: 17.2.3 without a branch, for RFC 2543

OLD = pytest.mark.parametrize('branch', [None, '1', 'z9hG4bK'])


@OLD
@pytest.mark.parametrize('change', [
    {'uri': 'sip:other@192.0.2.1'}, {'to_tag': 'x'}, {'from_tag': 'x'}, {'call_id': 'x'}, {'cseq': 2}, {'host': 'x'},
    {'port': 5062}, {'method': 'OPTIONS'},
])
def test_without_a_branch_everything_counts(branch: str | None, change: dict[str, Any]) -> None:
    world = World()
    world.receive(request(branch=branch))
    world.receive(request(branch=branch))
    assert told(world) == ['request']
    world.receive(request(branch=branch, **change))
    assert told(world) == ['request']


@OLD
def test_the_ack_of_an_old_client_has_the_to_tag_of_our_response(branch: str | None) -> None:
    world = World()
    invite = request(branch=branch)
    world.receive(invite)
    transaction = world.told[0][1]
    world.layer.respond(transaction, make_response(invite, 486, to_tag='ours'), world.now)
    told(world)
    world.receive(request('ACK', branch=branch, to_tag='not-ours'))
    assert (told(world), transaction.state) == (['ack'], State.COMPLETED)
    world.receive(request('ACK', branch=branch, to_tag='ours'))
    assert (told(world), transaction.state) == ([], State.CONFIRMED)
    world.receive(request('ACK', branch=branch, to_tag='ours'))
    assert told(world) == []


def test_the_ack_of_an_old_client_that_knows_no_tags() -> None:
    world = World()
    invite = request(branch=None)
    world.receive(invite)
    transaction = world.told[0][1]
    world.layer.respond(transaction, make_response(invite, 486, to_tag='ours'), world.now)
    world.receive(request('ACK', branch=None))
    assert transaction.state == State.CONFIRMED


def test_the_ack_of_an_old_client_inside_a_dialog() -> None:
    world = World()
    invite = request(branch=None, to_tag='ours')
    world.receive(invite)
    transaction = world.told[0][1]
    world.layer.respond(transaction, make_response(invite, 488), world.now)
    world.receive(request('ACK', branch=None, to_tag='ours'))
    assert transaction.state == State.CONFIRMED


@OLD
def test_the_ack_of_an_old_client_for_a_2xx_goes_to_the_user(branch: str | None) -> None:
    """RFC 6026 6: INVITE and ACK are matched to the same transaction, but in Accepted it is not absorbed."""
    world = World()
    invite = request(branch=branch)
    world.receive(invite)
    transaction = world.told[0][1]
    world.layer.respond(transaction, make_response(invite, 200, to_tag='ours'), world.now)
    told(world)
    world.receive(request('ACK', branch=branch, to_tag='ours'))
    assert (told(world), transaction.state) == (['ack'], State.ACCEPTED)


@OLD
def test_an_old_client_is_answered_by_ladders_too(branch: str | None) -> None:
    word = f'branch={branch}' if branch else 'branch='
    check(f"""
        0     <  INVITE {word}
        0     ^  request INVITE
        0     =  Proceeding
        0.2   >  100
        0.5   <  INVITE {word}
        0.5   >  100
        1     <  CANCEL {word}
        1     ^  request CANCEL
        1     =  CANCEL Trying
        1     v  200 CANCEL
        1     >  200 CANCEL
        1     =  CANCEL Completed
        1     v  487
        1     >  487
        1     =  Completed
        1.1   <  ACK {word} to_tag=ours
        1.1   =  Confirmed
        6.1   =  Terminated
        33    =  CANCEL Terminated
        40    .
    """)


# -- responses: 17.1.3

def test_a_response_needs_the_branch_and_the_method() -> None:
    world = World()
    invite = our_request()
    transaction = world.call(invite)
    world.receive(answer_to(our_request(branch='z9hG4bK-not-ours'), 200))
    world.receive(answer_to(our_request('OPTIONS'), 200))
    world.receive(answer_to(make_cancel(invite), 200))
    assert (told(world), transaction.state) == (['stray'] * 3, State.CALLING)
    world.receive(answer_to(invite, 200))
    assert told(world) == ['response']


def test_a_response_is_taken_whatever_became_of_its_sent_by() -> None:
    world = World()
    transaction = world.call(our_request())
    response = answer_to(our_request(), 180)
    response.set('Via', 'SIP/2.0/UDP 198.51.100.1:1024;branch=z9hG4bK-ours')
    world.receive(response)
    assert (told(world), transaction.state) == (['response'], State.PROCEEDING)


def test_the_cancel_and_its_invite_share_a_branch() -> None:
    world = World()
    invite = our_request()
    world.call(invite)
    world.receive(answer_to(invite, 100))
    cancel = world.call(make_cancel(invite))
    assert isinstance(cancel, ClientTransaction)
    assert cancel.branch == 'z9hG4bK-ours'
    world.receive(answer_to(make_cancel(invite), 200))
    assert cancel.state == State.COMPLETED


# -- CANCEL: 9.2

def test_a_cancel_finds_its_invite() -> None:
    world = World()
    world.receive(request())
    invite = world.told[0][1]
    cancel = request('CANCEL')
    world.receive(cancel)
    assert isinstance(world.told[1][1], NonInviteServerTransaction)
    assert world.layer.invite_server_of(cancel) is invite
    # its repetition is absorbed like that of any other request
    world.receive(request('CANCEL'))
    assert told(world) == ['request', 'request']


def test_a_cancel_finds_its_invite_after_the_final_response_too() -> None:
    """9.2: it has no effect, but "as long as the CANCEL matched an existing transaction" it is answered 200."""
    world = World()
    invite = request()
    world.receive(invite)
    transaction = world.told[0][1]
    world.layer.respond(transaction, make_response(invite, 200, to_tag='x'), world.now)
    world.receive(request('OPTIONS'))
    assert world.layer.invite_server_of(request('CANCEL')) is transaction
    assert world.layer.invite_server_of(request('CANCEL', host='10.0.0.1')) is transaction


def test_a_cancel_whose_sent_by_a_nat_has_changed() -> None:
    world = World()
    world.receive(request())
    transaction = world.told[0][1]
    assert world.layer.invite_server_of(request('CANCEL', host='10.0.0.1', port=1024)) is transaction


def test_a_cancel_of_somebody_else_with_the_same_branch() -> None:
    world = World()
    world.receive(request(host='192.0.2.10', call_id='one'))
    world.receive(request(host='192.0.2.20', call_id='two'))
    one, two = [transaction for kind, transaction, item in world.told]
    find = world.layer.invite_server_of
    assert find(request('CANCEL', host='192.0.2.10', call_id='one')) is one
    assert find(request('CANCEL', host='192.0.2.20', call_id='two')) is two
    assert find(request('CANCEL', host='192.0.2.30', call_id='three')) is None
    assert find(request('CANCEL', branch='z9hG4bK-other')) is None


def test_a_cancel_of_another_method_finds_no_invite() -> None:
    world = World()
    world.receive(request('OPTIONS'))
    assert world.layer.invite_server_of(request('CANCEL')) is None
    world.receive(request('OPTIONS', branch=None))
    assert world.layer.invite_server_of(request('CANCEL', branch=None)) is None


# -- merged requests: 8.2.2.2

def merged(world: World, message: Request) -> bool:
    """Whether it is another copy of one that came before: it has no key by which copies are found."""
    world.receive(message)
    return message.to_tag is None and world.told[-1][1].merge_key is None


def test_a_second_copy_of_a_request_on_another_way_is_merged() -> None:
    world = World()
    first = request()
    assert not merged(world, first)
    assert merged(world, request(branch='z9hG4bK-fork'))
    assert merged(world, request(branch='z9hG4bK-fork', host='192.0.2.20'))
    # the first one stays the one that is served, repetitions and all
    world.receive(first)
    assert [transaction.merge_key is None for _, transaction, _ in world.told] == [False, True, True]


@pytest.mark.parametrize('change', [
    {'call_id': 'other'}, {'cseq': 2}, {'from_tag': 'other'}, {'to_tag': 'dialog'}, {'method': 'OPTIONS'},
])
def test_another_request_is_not_merged(change: dict[str, Any]) -> None:
    world = World()
    merged(world, request())
    assert not merged(world, request(branch='z9hG4bK-fork', **change))


def test_a_copy_is_merged_as_long_as_the_first_transaction_lives() -> None:
    world = World()
    first = request('MESSAGE')
    merged(world, first)
    world.layer.respond(world.told[0][1], make_response(first, 200, to_tag='x'), world.now)
    world.pass_time(31.9)
    assert merged(world, request('MESSAGE', branch='z9hG4bK-late'))
    late = world.told[-1][1]
    world.pass_time(32.1)
    assert not merged(world, request('MESSAGE', branch='z9hG4bK-later'))
    world.layer.abandon(late, world.now)
    assert merged(world, request('MESSAGE', branch='z9hG4bK-latest'))


# -- where responses go: 18.2.2

def test_a_new_request_is_stamped_and_answered_where_it_came_from() -> None:
    world = World()
    world.receive(request(host='10.0.0.1', params=';rport'), source=1024)
    transaction = world.told[0][1]
    assert transaction.response_flow == Flow(world.flow.point, (PEER, 1024))
    world.requests['INVITE'] = transaction.request
    world.respond(180)
    data, flow = world.sent[-1]
    via = parse_message(data).via
    assert (via.received, via.rport, flow.remote) == (PEER, 1024, (PEER, 1024))


def test_without_rport_the_response_goes_to_the_port_of_sent_by() -> None:
    world = World()
    world.receive(request(host='10.0.0.1', port=5070), source=1024)
    assert world.told[0][1].response_flow.remote == (PEER, 5070)


def test_an_answer_without_a_transaction() -> None:
    world = World()
    broken = parse_message(b'FOO sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;rport\r\n\r\n')
    assert isinstance(broken, Request)
    flow = Flow(world.flow.point, (PEER, 1024))
    assert world.layer.respond_stateless(make_response(broken, 400), flow)
    (data, to), = world.outgoing
    assert data.startswith(b'SIP/2.0 400')
    assert b';rport=1024;received=192.0.2.9' in data
    assert to == flow
    nowhere = parse_message(b'FOO sip:x SIP/2.0\r\nVia: what\r\n\r\n')
    assert isinstance(nowhere, Request)
    assert not world.layer.respond_stateless(make_response(nowhere, 400), flow)


def test_an_answer_that_forgets_its_transaction() -> None:
    world = World()
    options = request('OPTIONS')
    world.receive(options)
    world.layer.dismiss(world.told[0][1], make_response(options, 404, to_tag='x'), world.now)
    assert world.outgoing.pop()[0].startswith(b'SIP/2.0 404')
    assert (len(world.layer), len(world.timers)) == (0, 0)


# -- transport errors: 17.1.4, 17.2.4

def test_a_broken_connection_concerns_all_who_use_it() -> None:
    world = World('TCP')
    calling = world.call(our_request(transport='TCP'))
    trying = world.call(our_request('OPTIONS', branch='z9hG4bK-2', transport='TCP'))
    answered = our_request('INFO', branch='z9hG4bK-3', transport='TCP')
    world.call(answered)
    world.receive(answer_to(answered, 200))
    world.receive(request(transport='TCP'))
    ringing = world.told[-1][1]
    told(world)
    world.layer.transport_failed(Flow(world.flow.point, ('192.0.2.77', 5060)), TransportError('closed'), world.now)
    world.collect()
    assert told(world) == []
    error = TransportError('closed')
    world.layer.transport_failed(world.flow, error, world.now)
    world.collect()
    assert world.told == [('transport_error', one, error) for one in (calling, trying)]
    # 18.2.2: for the response there will be another connection.
    assert ringing.state == State.PROCEEDING


def test_an_error_about_something_that_no_transaction_sent() -> None:
    world = World()
    world.call(our_request())
    for data in (our_request('ACK', branch='z9hG4bK-ack').to_bytes(), b'garbage', b'',
                 make_response(request(), 200).to_bytes()):
        if data:
            world.layer.transport_failed(world.flow, TransportError('x'), world.now, data)
    world.collect()
    assert told(world) == []


def test_the_error_reaches_the_twin_that_sent_the_response() -> None:
    world = World()
    for host in ('192.0.2.10', '192.0.2.20'):
        options = request('OPTIONS', host=host)
        world.receive(options)
        world.layer.respond(world.told[-1][1], make_response(options, 200, to_tag='x'), world.now)
    world.collect()
    second = world.told[-1][1]
    told(world)
    world.layer.transport_failed(world.flow, TransportError('x'), world.now, world.sent[-1][0])
    world.collect()
    assert [transaction for kind, transaction, item in world.told] == [second]


# -- what the user may not do

def test_a_client_transaction_needs_a_branch_of_its_own() -> None:
    world = World()
    world.call(our_request())
    with pytest.raises(UsageError, match='already'):
        world.call(our_request())
    with pytest.raises(UsageError):
        world.call(our_request('ACK', branch='z9hG4bK-2'))
    bare = Request('OPTIONS', 'sip:x', [('Via', 'SIP/2.0/UDP 192.0.2.1')])
    with pytest.raises(UsageError):
        world.call(bare)
    assert len(world.layer) == 1


# -- the end of transactions

def test_the_end_is_reported_to_those_who_ask() -> None:
    world = World()
    quiet = world.call(our_request('INFO', branch='z9hG4bK-1'))
    curious = world.call(our_request('INFO', branch='z9hG4bK-2'))
    curious.watched = True
    for branch in ('z9hG4bK-1', 'z9hG4bK-2'):
        world.receive(answer_to(our_request('INFO', branch=branch), 200))
    told(world)
    world.pass_time(100)
    assert [(kind, transaction) for kind, transaction, item in world.told] == [('terminated', curious)]
    assert quiet.state == State.TERMINATED


def test_the_request_is_there_while_the_final_response_is_handled_and_not_much_longer() -> None:
    """A transaction lingers half a minute; the request with all its values would be most of its weight."""
    world = World()
    invite = our_request()
    client = world.call(invite)
    world.receive(answer_to(invite, 200))
    assert client.request is invite
    incoming = request()
    world.receive(incoming)
    server = world.told[-1][1]
    world.layer.respond(server, make_response(incoming, 200, to_tag='x'), world.now)
    assert server.request is incoming
    assert server.last_response.startswith(b'SIP/2.0 200')
    world.receive(request('OPTIONS'))
    for transaction in (client, server):
        with pytest.raises(WrongState):
            transaction.request  # noqa: B018
    assert server.last_response == b''


def test_the_user_is_let_go_unless_more_can_come() -> None:
    world = World()
    users = {}
    for branch, code in (('z9hG4bK-1', 200), ('z9hG4bK-2', 486)):
        for method in ('INVITE', 'BYE'):
            message = our_request(method, branch=f'{branch}{method}')
            users['client', method, code] = world.call(message)
            world.receive(answer_to(message, code))
            message = request(method, branch=branch, to_tag='x')
            world.receive(message)
            users['server', method, code] = server = world.told[-1][1]
            server.user = 'user'
            world.layer.respond(server, make_response(message, code), world.now)
    world.receive(request('ACK', branch='z9hG4bK-last'))
    assert {name for name, transaction in users.items() if transaction.user} == {
        ('client', 'INVITE', 200), ('server', 'INVITE', 200), ('server', 'INVITE', 486)}


def test_nothing_leads_to_a_transaction_that_is_over() -> None:
    """No cycles either: it goes without the garbage collector."""
    world = World()
    alive = []

    class User:
        """Somebody who holds the transaction that holds him."""

    def finish(transaction: Any) -> None:
        transaction.user = User()
        transaction.user.transaction = transaction
        alive.append(weakref.ref(transaction.user))

    gc.collect()
    gc.disable()
    try:
        for branch, code in (('z9hG4bK-1', 200), ('z9hG4bK-2', 486)):
            invite = our_request(branch=branch)
            finish(world.call(invite))
            world.receive(answer_to(invite, code))
            incoming = request(branch=branch)
            world.receive(incoming)
            finish(world.told[-1][1])
            world.layer.respond(world.told[-1][1], make_response(incoming, code, to_tag='x'), world.now)
            other = request('BYE', branch=branch, to_tag='x')
            world.receive(other)
            finish(world.told[-1][1])
            world.layer.respond(world.told[-1][1], make_response(other, code), world.now)
        del invite, incoming, other
        world.pass_time(100)
        world.told.clear()
        world.transactions.clear()
        world.receive(request('ACK', branch='z9hG4bK-last'))
        assert len(world.layer) == 0
        assert [one() for one in alive] == [None] * 6
    finally:
        gc.enable()


# -- limits

def test_over_the_limit_new_requests_get_a_503_without_a_transaction() -> None:
    world = World(max_transactions=4)
    for number in range(4):
        world.receive(request('OPTIONS', branch=f'z9hG4bK-{number}', call_id=str(number)))
    told(world)
    for method in ('INVITE', 'OPTIONS'):
        for _ in range(2):
            world.receive(request(method, branch='z9hG4bK-5', host='10.0.0.1', params=';rport'), source=1024)
    assert told(world) == []
    assert len(world.layer) == 4
    answers = [parse_message(data) for data, flow in world.sent]
    for answer in answers:
        assert isinstance(answer, Response)
        assert (answer.code, answer.get('Retry-After')) == (503, '10')
        assert answer.via.rport == 1024
    # 8.2.7: the tag is the same each time the request comes
    assert [answer.to_tag for answer in answers[:2]] == [answers[0].to_tag] * 2
    assert answers[0].to_tag != answers[2].to_tag
    # repetitions are no new requests
    world.receive(request('OPTIONS', branch='z9hG4bK-1'))
    assert len(world.sent) == 4


def test_over_the_limit_calls_can_still_be_ended() -> None:
    world = World(max_transactions=4)
    for number in range(4):
        world.receive(request(branch=f'z9hG4bK-{number}', call_id=str(number)))
    told(world)
    world.receive(request('CANCEL', branch='z9hG4bK-0'))
    world.receive(request('BYE', branch='z9hG4bK-bye', to_tag='x'))
    world.receive(request('ACK', branch='z9hG4bK-ack', to_tag='x'))
    # a quarter more, and no further
    assert told(world) == ['request', 'ack']
    assert len(world.layer) == 5
    assert world.sent[-1][0].startswith(b'SIP/2.0 503')


# -- whatever happens, nothing is left

CODES = st.sampled_from((100, 180, 200, 302, 408, 486, 503, 603))
METHODS = st.sampled_from(('INVITE', 'BYE', 'CANCEL', 'ACK'))
BRANCHES = st.sampled_from(('z9hG4bK-1', 'z9hG4bK-2', '3', None))
STEPS = st.lists(st.one_of(
    st.tuples(st.just('receive'), METHODS, BRANCHES, st.sampled_from(('192.0.2.9', '10.0.0.1'))),
    st.tuples(st.just('call'), st.sampled_from(('INVITE', 'BYE')), st.integers(0, 2)),
    st.tuples(st.just('cancel')),
    st.tuples(st.just('answer'), CODES, st.integers(0, 9)),
    st.tuples(st.just('respond'), CODES, st.integers(0, 9)),
    st.tuples(st.just('fail'), st.booleans()),
    st.tuples(st.just('abandon'), st.integers(0, 9)),
    st.tuples(st.just('pass'), st.sampled_from((0.0, 0.1, 0.5, 3.0, 6.0, 33.0))),
), max_size=40)


def do(world: World, step: tuple[Any, ...]) -> None:
    verb, *args = step
    transactions = list(world.transactions)
    clients = [one for one in transactions if isinstance(one, ClientTransaction)]
    servers = [one for one in transactions if isinstance(one, ServerTransaction)]
    if verb == 'receive':
        method, branch, host = args
        world.receive(request(method, branch=branch, host=host, transport=world.transport))
    elif verb == 'call':
        message = our_request(args[0], branch=f'z9hG4bK-{args[0]}{args[1]}', transport=world.transport)
        if message.branch not in world.layer.clients:
            world.call(message)
            world.requests[message.branch or ''] = message
    elif verb == 'cancel':
        invite = world.requests.get('INVITE')
        if invite is not None and f'CANCEL {invite.branch}' not in world.layer.clients:
            world.call(make_cancel(invite))
    elif verb == 'answer' and clients:
        client = clients[args[1] % len(clients)]
        original = world.requests.get(client.branch)
        if original is not None:
            asked = make_cancel(original) if client.method == 'CANCEL' else original
            world.receive(answer_to(asked, args[0]))
    elif verb == 'respond' and servers:
        server = servers[args[1] % len(servers)]
        world.layer.respond(server, make_response(request(server.method), args[0], to_tag='x'), world.now)
    elif verb == 'fail':
        data = world.sent[-1][0] if args[0] and world.sent else b''
        world.layer.transport_failed(world.flow, TransportError('x'), world.now, data)
    elif verb == 'abandon' and transactions:
        world.layer.abandon(transactions[args[0] % len(transactions)], world.now)
    elif verb == 'pass':
        world.pass_time(world.now + args[0])
    world.collect()


@given(STEPS, st.sampled_from(('UDP', 'TCP')))
def test_whatever_happens_all_is_over_in_the_end(steps: list[tuple[Any, ...]], transport: str) -> None:
    world = World(transport)
    for step in steps:
        do(world, step)
        finals = [transaction for kind, transaction, item in world.told
                  if kind == 'response' and item.code >= 200 and item.cseq.method != 'INVITE']
        assert len(finals) == len(set(finals))
    # How long an INVITE may ring is the user's affair, on both sides: here nobody waits any longer.
    for transaction in list(world.transactions):
        if transaction.method == 'INVITE' and transaction.state == State.PROCEEDING:
            if isinstance(transaction, InviteServerTransaction):
                assert world.layer.respond(transaction, make_response(transaction.request, 480, to_tag='x'), world.now)
            else:
                world.layer.abandon(transaction, world.now)
    world.collect()
    # 100 to a slow user, and 64*T1 for the client after it
    world.pass_time(world.now + 3.5 + 32.0)
    assert len(world.layer) == 0
    assert len(world.timers) == 0
    assert not world.layer._merging
    world.receive(request('ACK', branch='z9hG4bK-last', transport=transport))
    assert world.layer.spent == []
    assert all(transaction.state == State.TERMINATED for transaction in world.transactions)
