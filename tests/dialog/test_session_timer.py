"""Session timers, RFC 4028: who refreshes, how, and what happens when nobody does."""

from __future__ import annotations

import pytest

from greensip.dialog import ENDED
from greensip.dialog.invite_client import ClientInvite
from greensip.dialog.invite_server import ServerInvite
from greensip.dialog.session_timer import parse_interval
from greensip.errors import ResponseError, SessionExpired, UsageError, WrongState
from greensip.message import Message, Request, Response

from .calls import call
from .conftest import ANSWER, OFFER, Party, World, lines


def party(world: World, name: str, port: int, *, timer: bool = True, **settings) -> Party:
    made = world.party(name, port)
    made.core.configure(supported=('timer',) if timer else (), **settings)
    made.on['incoming'] = lambda event: event.subject.respond(200, world.now, body=ANSWER)
    made.on['INVITE'] = lambda event: answer(made, event)
    made.on['UPDATE'] = lambda event: answer(made, event)
    return made


def answer(made: Party, event) -> None:
    """What a leg without a script answers."""
    if event.kind == 'request':
        body = event.subject.local_sdp if event.message.body else b''
        made.core.respond(event.exchange, 200, made.world.now, body=body)


@pytest.fixture
def alice(world: World) -> Party:
    return party(world, 'alice', 5060)


@pytest.fixture
def bob(world: World) -> Party:
    return party(world, 'bob', 5080)


def established(world: World, alice: Party, bob: Party, **options) -> tuple[ClientInvite, ServerInvite]:
    usage = call(alice, bob, **options)
    world.run(1)
    assert usage.state == 'confirmed'
    world.ladder()
    return usage, bob.last('incoming').subject


def agreed(usage) -> tuple[int, bool] | None:
    """Interval, and whether we refresh."""
    timer = usage.session_timer
    return (timer.interval, timer.is_local) if timer is not None and timer.interval else None


def sent(world: World, source: str, name: str) -> list[Message]:
    """The messages of that method, or of that code, that left ``source``."""
    return [
        message
        for party, _, message in world.messages
        if party == source and name == (message.method if isinstance(message, Request) else str(message.code))
    ]


def field(message: Message, name: str) -> str | None:
    return message.get(name)


# -- who refreshes: table 2


@pytest.mark.parametrize(
    ('asks', 'callee', 'says', 'require', 'alice_refreshes'),
    [
        # UAC supports, none: the callee chooses
        (1800, {}, '1800;refresher=uac', 'timer', True),
        ('1800;refresher=uac', {}, '1800;refresher=uac', 'timer', True),
        ('1800;refresher=uas', {}, '1800;refresher=uas', 'timer', False),
        # what the callee likes better, where it may choose
        (1800, {'session_timer': '1800;refresher=uas'}, '1800;refresher=uas', 'timer', False),
        ('1800;refresher=uac', {'session_timer': '1800;refresher=uas'}, '1800;refresher=uac', 'timer', True),
        # the callee may reduce the interval, and asks where the caller does not
        (1800, {'session_timer': 600}, '600;refresher=uac', 'timer', True),
        (600, {'session_timer': 1800}, '600;refresher=uac', 'timer', True),
        (0, {'session_timer': 600}, '600;refresher=uas', 'timer', False),
        (0, {}, None, None, None),
    ],
)
def test_the_callee_says_who_refreshes(
    world: World, alice: Party, asks, callee, says, require, alice_refreshes
) -> None:
    bob = party(world, 'bob', 5080, **callee)
    usage, peer = established(world, alice, bob, session_timer=asks)
    ok, = sent(world, 'bob', '200')
    assert (field(ok, 'Session-Expires'), field(ok, 'Require')) == (says, require)
    if says is None:
        assert agreed(usage) is agreed(peer) is None
    else:
        interval = int(says.partition(';')[0])
        assert agreed(usage) == (interval, alice_refreshes)
        assert agreed(peer) == (interval, not alice_refreshes)


@pytest.mark.parametrize('asks', ['1800', '1800;refresher=uac'])
def test_a_proxy_asks_for_a_caller_that_knows_no_timers(world: World, bob: Party, asks: str) -> None:
    alice = party(world, 'alice', 5060, timer=False)
    _, peer = established(world, alice, bob, headers=[('Session-Expires', asks)])
    ok, = sent(world, 'bob', '200')
    assert field(ok, 'Session-Expires') == '1800;refresher=uas' and not ok.has('Require')
    assert agreed(peer) == (1800, True)


def test_an_absurd_interval_of_a_proxy_is_no_timer(world: World, bob: Party) -> None:
    alice = party(world, 'alice', 5060, timer=False)
    _, peer = established(world, alice, bob, headers=[('Session-Expires', '1')])
    ok, = sent(world, 'bob', '200')
    assert not ok.has('Session-Expires') and agreed(peer) is None


def test_the_caller_asks_though_the_callee_knows_no_timers(world: World, alice: Party) -> None:
    """7.2: "in this case ... it has to perform them" """
    bob = party(world, 'bob', 5080, timer=False)
    usage, peer = established(world, alice, bob, session_timer=90)
    assert agreed(usage) == (90, True) and peer.session_timer is None
    world.run(100)
    assert world.ladder() == lines("""
        alice -> bob: UPDATE
        bob -> alice: 200 UPDATE
        alice -> bob: UPDATE
        bob -> alice: 200 UPDATE
    """)


@pytest.mark.parametrize('says', ['100;refresher=uac', '100', '100;refresher=both'])
def test_a_2xx_with_a_timer_that_nobody_asked_for(world: World, alice: Party, says: str) -> None:
    """7.2: "UACs MUST be prepared to receive a Session-Expires header field in a response"; who is not told that the
    other side refreshes does it."""
    bob = party(world, 'bob', 5080, timer=False)
    fields = [('Require', 'timer'), ('Session-Expires', says)]
    bob.on['incoming'] = lambda event: event.subject.respond(200, world.now, body=ANSWER, headers=fields)
    usage, _ = established(world, alice, bob)
    assert agreed(usage) == (100, True)
    world.run(55)
    assert world.ladder()[0] == 'alice -> bob: UPDATE'


# -- refreshes


def test_the_caller_refreshes_by_update(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob, session_timer=90)
    began = world.now
    world.run(185)
    assert world.ladder() == 4 * lines("""
        alice -> bob: UPDATE
        bob -> alice: 200 UPDATE
    """)
    first = sent(world, 'alice', 'UPDATE')[0]
    # 7.4: without an offer, with the interval and the roles that there are
    assert first.body == b'' and field(first, 'Session-Expires') == '90;refresher=uac'
    assert not first.has('Min-SE') and first.supported == ['timer'] and 'UPDATE' in first.allow
    ok = sent(world, 'bob', '200')[1]
    assert field(ok, 'Session-Expires') == '90;refresher=uac' and ok.require == ['timer']
    assert peer.session_timer.expires > began + 180
    usage.bye(world.now)
    world.run(40)
    assert world.idle() and not list(alice.core.timers)


def test_the_callee_refreshes(world: World, alice: Party, bob: Party) -> None:
    usage, peer = established(world, alice, bob, session_timer='90;refresher=uas')
    world.run(185)
    assert world.ladder() == 4 * lines("""
        bob -> alice: UPDATE
        alice -> bob: 200 UPDATE
    """)
    # seen from the side that sends it, the refresher is the UAC
    assert field(sent(world, 'bob', 'UPDATE')[0], 'Session-Expires') == '90;refresher=uac'
    assert agreed(usage) == (90, False) and agreed(peer) == (90, True)


def test_a_peer_without_update_is_refreshed_by_reinvite(world: World, alice: Party) -> None:
    bob = party(world, 'bob', 5080, allow=('INVITE', 'ACK', 'BYE', 'CANCEL'))
    usage, _ = established(world, alice, bob, session_timer=90)
    world.run(100)
    assert world.ladder() == 2 * lines("""
        alice -> bob: INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)
    refresh = sent(world, 'alice', 'INVITE')[1]
    # 7.4: "the offer MUST indicate that it has not changed"
    assert refresh.body == OFFER and field(refresh, 'Session-Expires') == '90;refresher=uac'
    assert sent(world, 'bob', '200')[1].body == ANSWER
    assert usage.state == 'confirmed'


@pytest.mark.parametrize('code', [405, 501])
def test_an_update_that_is_refused_after_all_becomes_a_reinvite(world: World, alice: Party, bob: Party, code) -> None:
    bob.on['UPDATE'] = lambda event: bob.core.respond(event.exchange, code, world.now)
    established(world, alice, bob, session_timer=90)
    world.run(100)
    assert world.ladder() == lines(f"""
        alice -> bob: UPDATE
        bob -> alice: {code} UPDATE
        alice -> bob: INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        alice -> bob: UPDATE
        bob -> alice: {code} UPDATE
        alice -> bob: INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)


def test_any_reinvite_and_update_refreshes(world: World, alice: Party, bob: Party) -> None:
    """7.2: "for purposes other than session refreshes"."""
    usage, peer = established(world, alice, bob, session_timer=90)
    world.run(40)
    usage.reinvite(world.now, OFFER.replace(b'4000', b'4002'))
    world.run(40)
    peer.send_request('UPDATE', world.now)
    world.run(40)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
        bob -> alice: UPDATE
        alice -> bob: 200 UPDATE
    """)
    # 7.4: "refresher parameter be set ... to 'uas' if its peer is performing the refreshes"
    assert field(sent(world, 'bob', 'UPDATE')[0], 'Session-Expires') == '90;refresher=uas'
    assert agreed(usage) == (90, True) and agreed(peer) == (90, False)


def test_a_refresh_waits_for_what_is_under_way(world: World, alice: Party, bob: Party) -> None:
    usage, _ = established(world, alice, bob, session_timer=90)
    late: list = []
    bob.on['INVITE'] = late.append
    world.run(40)
    usage.reinvite(world.now, OFFER)
    world.run(8)
    # at 45 s the re-INVITE is still open; it refreshes the session when it is answered
    answer(bob, late[0])
    world.run(20)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 100 INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)


def test_refreshes_that_glare(world: World, alice: Party) -> None:
    """14.1: a re-INVITE of the other side meets our refresh; both get through."""
    bob = party(world, 'bob', 5080, allow=('INVITE', 'ACK', 'BYE', 'CANCEL'))
    usage, peer = established(world, alice, bob, session_timer=90)
    world.run(usage.session_timer.timer.deadline - world.now)
    assert world.ladder() == ['alice -> bob: INVITE']
    peer.reinvite(world.now, ANSWER)
    world.run(6)
    ladder = world.ladder()
    assert 'bob -> alice: 491 INVITE' in ladder or 'alice -> bob: 491 INVITE' in ladder
    assert ladder.count('bob -> alice: 200 INVITE') == ladder.count('alice -> bob: 200 INVITE') == 1
    assert agreed(usage) == (90, True) and agreed(peer) == (90, False)


def test_a_peer_that_refreshes_though_nobody_asked(world: World, alice: Party, bob: Party) -> None:
    """API.md's race: the peer begins to refresh in the middle of the call."""
    usage, peer = established(world, alice, bob)
    assert agreed(usage) is None
    peer.send_request('UPDATE', world.now, headers=[('Session-Expires', '100;refresher=uac')])
    world.run(1)
    assert agreed(usage) == (100, False) and agreed(peer) == (100, True)
    world.run(55)
    peer.bye(world.now)
    world.run(1)
    assert world.ladder() == lines("""
        bob -> alice: UPDATE
        alice -> bob: 200 UPDATE
        bob -> alice: UPDATE
        alice -> bob: 200 UPDATE
        bob -> alice: BYE
        alice -> bob: 200 BYE
    """)


def test_a_timer_is_turned_off_by_a_2xx_without_one(world: World, alice: Party, bob: Party) -> None:
    bob.core.configure(session_timer='90;refresher=uac')
    usage, peer = established(world, alice, bob)
    assert agreed(usage) == (90, True)
    # Bob's user agent forgets about timers: his 200 has none, and we had not asked for one.
    bob.core.configure(supported=(), session_timer=None)
    world.run(46)
    assert agreed(usage) is None
    peer.session_timer.turn_off()
    world.ladder()
    world.run(300)
    assert world.ladder() == []


def test_the_refresher_has_forgotten_about_timers(world: World, alice: Party, bob: Party) -> None:
    """9: our 2xx to a request that knows no timers has none, unless we want one ourselves."""
    usage, peer = established(world, alice, bob, session_timer='90;refresher=uas')
    bob.core.configure(supported=())
    peer.session_timer.stop()
    peer.session_timer = None
    peer.send_request('UPDATE', world.now)
    world.run(1)
    # Alice had asked for it, so she goes on alone.
    assert agreed(usage) == (90, True)
    assert field(sent(world, 'alice', '200')[0], 'Session-Expires') == '90;refresher=uas'


# -- 422


def test_too_short_an_interval_is_asked_for_again(world: World, alice: Party) -> None:
    bob = party(world, 'bob', 5080, min_se=600)
    usage, _ = established(world, alice, bob, session_timer=90, headers=[('Subject', 'x')])
    first, second = sent(world, 'alice', 'INVITE')
    refused, = sent(world, 'bob', '422')
    assert field(refused, 'Min-SE') == '600' and not refused.has('Session-Expires')
    assert (field(first, 'Session-Expires'), field(first, 'Min-SE')) == ('90', None)
    assert (field(second, 'Session-Expires'), field(second, 'Min-SE')) == ('600', '600')
    # 7.3: "the same value as the Call-ID, To, and From of the previous request", CSeq one higher
    assert [second.get(name) for name in ('Call-ID', 'To', 'From', 'Subject')] == [
        first.get(name) for name in ('Call-ID', 'To', 'From', 'Subject')]
    assert second.cseq.number == first.cseq.number + 1
    assert agreed(usage) == (600, True)
    assert not [event for event in alice.events if event.code == 422]


def test_section_13(world: World, alice: Party) -> None:
    """Two hops that want more, one after the other; Min-SE is forgotten once there is a dialog."""
    bob = party(world, 'bob', 5080)
    wanted = [3600, 4000]
    refuse_with(world, bob, wanted)
    usage, _ = established(world, alice, bob, session_timer=90)
    invites = sent(world, 'alice', 'INVITE')
    assert [(field(m, 'Session-Expires'), field(m, 'Min-SE')) for m in invites] == [
        ('90', None), ('3600', '3600'), ('4000', '4000')]
    assert agreed(usage) == (4000, True)
    world.run(2001)
    update, = sent(world, 'alice', 'UPDATE')
    assert (field(update, 'Session-Expires'), field(update, 'Min-SE')) == ('4000;refresher=uac', None)


def refuse_with(world: World, bob: Party, wanted: list[int]) -> None:
    """Bob's proxies want these intervals, one after the other."""

    def on_incoming(event) -> None:
        if wanted:
            event.subject.respond(422, world.now, headers=[('Min-SE', str(wanted.pop(0)))])
        else:
            event.subject.respond(200, world.now, body=ANSWER)

    bob.on['incoming'] = on_incoming


@pytest.mark.parametrize(
    'wanted',
    [
        # no more than we asked for, less, the same once more, without end
        [90], [60], [600, 600], [100, 200, 300, 400, 500],
    ],
)
def test_a_422_that_helps_nobody_is_a_refusal(world: World, alice: Party, bob: Party, wanted: list[int]) -> None:
    refuse_with(world, bob, wanted)
    call(alice, bob, session_timer=90)
    world.run(40)
    error = alice.last(ENDED).error
    assert isinstance(error, ResponseError) and error.code == 422 and wanted == []
    assert world.idle()


@pytest.mark.parametrize('fields', [[], [('Min-SE', 'soon')], [('Min-SE', '-5')]])
def test_a_422_without_a_min_se_that_can_be_read(world: World, alice: Party, bob: Party, fields) -> None:
    bob.on['incoming'] = lambda event: event.subject.respond(422, world.now, headers=fields)
    usage = call(alice, bob, session_timer=90)
    world.run(1)
    assert usage.state == 'terminated'
    assert alice.last(ENDED).error.code == 422


def test_a_422_though_we_asked_for_nothing(world: World, alice: Party, bob: Party) -> None:
    """A proxy has put a Session-Expires into our INVITE that the next one finds too short."""
    refuse_with(world, bob, [200])
    established(world, alice, bob)
    second = sent(world, 'alice', 'INVITE')[1]
    assert (field(second, 'Session-Expires'), field(second, 'Min-SE')) == (None, '200')


def test_cancelled_before_the_422(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: event.subject.respond(180, world.now)
    usage = call(alice, bob, session_timer=90)
    world.run(0.1)
    usage.cancel(world.now)
    bob.last('incoming').subject.respond(422, world.now, headers=[('Min-SE', '600')])
    world.run(40)
    assert len(sent(world, 'alice', 'INVITE')) == 1 and world.idle()


def test_a_refresh_that_is_too_short(world: World, alice: Party, bob: Party) -> None:
    """10: the longer interval is asked for at once; 7.4: the Min-SE stays with the dialog."""
    usage, peer = established(world, alice, bob, session_timer=90)
    bob.core.configure(min_se=300)
    world.run(200)
    assert world.ladder() == lines("""
        alice -> bob: UPDATE
        bob -> alice: 422 UPDATE
        alice -> bob: UPDATE
        bob -> alice: 200 UPDATE
        alice -> bob: UPDATE
        bob -> alice: 200 UPDATE
    """)
    assert [(field(m, 'Session-Expires'), field(m, 'Min-SE')) for m in sent(world, 'alice', 'UPDATE')] == [
        ('90;refresher=uac', None), ('300;refresher=uac', '300'), ('300;refresher=uac', '300')]
    assert agreed(usage) == (300, True) and agreed(peer) == (300, False)


def test_a_reinvite_that_is_too_short(world: World, alice: Party) -> None:
    bob = party(world, 'bob', 5080, allow=('INVITE', 'ACK', 'BYE', 'CANCEL'))
    usage, peer = established(world, alice, bob, session_timer=90)
    bob.core.configure(min_se=300)
    world.run(50)
    assert world.ladder() == lines("""
        alice -> bob: INVITE
        bob -> alice: 422 INVITE
        alice -> bob: ACK
        alice -> bob: INVITE
        bob -> alice: 200 INVITE
        alice -> bob: ACK
    """)
    assert agreed(usage) == (300, True) and usage.inviting is None
    # 7.4: Bob has seen a Min-SE, so his requests have one
    peer.reinvite(world.now, ANSWER)
    world.run(1)
    assert field(sent(world, 'bob', 'INVITE')[0], 'Min-SE') == '300'


def test_our_least_goes_along(world: World, bob: Party) -> None:
    alice = party(world, 'alice', 5060, min_se=300)
    usage, peer = established(world, alice, bob, session_timer=90)
    invite, = sent(world, 'alice', 'INVITE')
    assert (field(invite, 'Session-Expires'), field(invite, 'Min-SE')) == ('300', '300')
    assert agreed(usage) == (300, True) and peer.session_timer.least == 300


def test_a_callee_does_not_go_below_the_callers_least(world: World) -> None:
    alice = party(world, 'alice', 5060, min_se=300)
    bob = party(world, 'bob', 5080, session_timer=100)
    usage, _ = established(world, alice, bob, session_timer=1800)
    assert agreed(usage) == (300, True)


@pytest.mark.parametrize('second', ['200;refresher=uas', None])
def test_each_2xx_of_a_fork_has_an_interval_of_its_own(world: World, alice: Party, bob: Party, second) -> None:
    """7.2: "It is explicitly allowed for there to be differing session intervals (or none at all)"."""
    usage, _ = established(world, alice, bob, session_timer=90, forks='all')
    ok = sent(world, 'bob', '200')[0]
    ok.set('To', (ok.get('To') or '').partition(';tag=')[0] + ';tag=other')
    ok.remove('Require')
    ok.remove('Session-Expires')
    if second is not None:
        ok.add('Session-Expires', second)
    world.inject(ok.to_bytes(), ('127.0.0.1', 5080), alice)
    other = alice.last('forked').exchange
    assert agreed(usage) == (90, True)
    # Where the callee says nothing, our own wish holds.
    assert agreed(other) == ((200, False) if second else (90, True))
    for one in (usage, other):
        one.bye(world.now)
    world.run(80)
    assert usage.session_timer is other.session_timer is None


# -- the end


@pytest.mark.parametrize('refresher', ['uac', 'uas'])
def test_nobody_refreshes(world: World, alice: Party, bob: Party, refresher: str) -> None:
    """10: "slightly before the session expiration", by "32 seconds and one third of the session interval"."""
    usage, peer = established(world, alice, bob, session_timer=f'1800;refresher={refresher}')
    began = world.now
    lost, left = (usage, bob) if refresher == 'uac' else (peer, alice)
    lost.session_timer.stop()
    world.run(1765)
    assert world.ladder() == []
    world.run(5)
    name, other = left.name, 'alice' if left is bob else 'bob'
    assert world.ladder() == lines(f"""
        {name} -> {other}: BYE
        {other} -> {name}: 200 BYE
    """)
    bye, = sent(world, name, 'BYE')
    assert field(bye, 'Reason') == 'SIP;cause=408;text="Session expired"'
    assert isinstance(left.last(ENDED).error, SessionExpired)
    assert world.now - began < 1800
    world.run(40)
    assert world.idle()


def test_the_refresh_is_not_answered(world: World, alice: Party, bob: Party) -> None:
    usage, _ = established(world, alice, bob, session_timer=90)
    world.rule = lambda source, target, message: True
    world.run(45)
    assert usage.state == 'confirmed'
    world.run(80)
    error = alice.last(ENDED).error
    assert isinstance(error, SessionExpired) and error.status == 408
    assert [event.kind for event in bob.events if event.kind == ENDED] == [ENDED]


@pytest.mark.parametrize(('method', 'code'), [('UPDATE', 481), ('INVITE', 481), ('INVITE', 408)])
def test_the_peer_has_lost_the_call(world: World, alice: Party, method: str, code: int) -> None:
    """10: "generates a 408 or 481 response, then the UAC sends a BYE"."""
    bob = party(world, 'bob', 5080, allow=('INVITE', 'ACK', 'BYE', 'CANCEL', method))
    established(world, alice, bob, session_timer=90)
    bob.on[method] = lambda event: bob.core.respond(event.exchange, code, world.now)
    world.run(50)
    assert [line for line in world.ladder() if 'ACK' not in line] == lines(f"""
        alice -> bob: {method}
        bob -> alice: {code} {method}
        alice -> bob: BYE
        bob -> alice: 200 BYE
    """)
    error = alice.last(ENDED).error
    assert isinstance(error, SessionExpired) and isinstance(error.message, Response) and error.message.code == code


def test_a_refresh_that_is_refused_is_tried_again_until_the_end(world: World, alice: Party, bob: Party) -> None:
    usage, _ = established(world, alice, bob, session_timer='300;refresher=uac')
    bob.on['UPDATE'] = lambda event: bob.core.respond(event.exchange, 500, world.now)
    world.run(148.9)
    assert world.ladder() == []
    world.run(60)
    # "SHOULD NOT continuously retry the request"
    assert world.ladder() == 4 * lines("""
        alice -> bob: UPDATE
        bob -> alice: 500 UPDATE
    """)
    assert usage.state == 'confirmed'
    world.run(120)
    # bob, who waits for a refresh, is the first to lose patience
    assert world.ladder() == lines("""
        bob -> alice: BYE
        alice -> bob: 200 BYE
    """)


def test_a_refused_refresh_says_when_to_come_back(world: World, alice: Party, bob: Party) -> None:
    established(world, alice, bob, session_timer=90)
    answers = [lambda event: bob.core.respond(event.exchange, 500, world.now, headers=[('Retry-After', '3')])]
    bob.on['UPDATE'] = lambda event: answers.pop()(event) if answers else answer(bob, event)
    world.run(45)
    world.run(2)
    assert world.ladder() == lines("""
        alice -> bob: UPDATE
        bob -> alice: 500 UPDATE
    """)
    world.run(3)
    assert world.ladder() == lines("""
        alice -> bob: UPDATE
        bob -> alice: 200 UPDATE
    """)


def test_a_peer_without_timers_may_refuse_the_refresh(world: World, alice: Party) -> None:
    """It has shown that it is there, which is all that we wanted to know."""
    bob = party(world, 'bob', 5080, timer=False)
    bob.on['UPDATE'] = lambda event: bob.core.respond(event.exchange, 488, world.now)
    usage, _ = established(world, alice, bob, session_timer=90)
    world.run(400)
    assert usage.state == 'confirmed' and len(sent(world, 'alice', 'UPDATE')) == 8


def test_a_refresh_without_end(world: World, alice: Party) -> None:
    """A 100 stops the INVITE's own timer; the session ends all the same."""
    bob = party(world, 'bob', 5080, allow=('INVITE', 'ACK', 'BYE', 'CANCEL'))
    usage, peer = established(world, alice, bob, session_timer=90)
    peer.session_timer.stop()
    bob.on['INVITE'] = lambda event: None
    world.run(100)
    assert isinstance(alice.last(ENDED).error, SessionExpired) and usage.state == 'terminated'
    world.run(40)
    assert world.idle()


# -- bad input


@pytest.mark.parametrize('value', ['', 'soon', '-1', '1800;refresher', '99999999999999', '1800, 1800', '90.5', ';'])
def test_a_broken_interval_in_an_invite_and_in_an_update(world: World, alice: Party, bob: Party, value: str) -> None:
    usage, peer = established(world, alice, bob)
    for method in ('UPDATE', 'INVITE'):
        exchange = usage.send_request(method, world.now, headers=[('Session-Expires', value)])
        world.run(1)
        assert exchange.done and exchange.response.code in (200, 400)
    call(alice, bob, headers=[('Session-Expires', value)])
    world.run(1)
    assert usage.state == peer.state == 'confirmed'


@pytest.mark.parametrize('value', ['', 'soon', '-1', '99999999999999', ';refresher=uac'])
def test_a_broken_interval_in_a_2xx(world: World, alice: Party, bob: Party, value: str) -> None:
    """8.1.3.3: it is as if it had not come; its next one may be better."""
    bob.core.configure(supported=())
    bob.on['incoming'] = lambda event: event.subject.respond(
        200, world.now, body=ANSWER, headers=[('Session-Expires', value)])
    usage = call(alice, bob, session_timer=90)
    world.run(1)
    assert usage.state in ('calling', 'confirmed')
    world.run(200)
    assert world.idle() or usage.state == 'confirmed'


def test_a_response_with_a_tiny_interval_does_not_flood(world: World, alice: Party) -> None:
    bob = party(world, 'bob', 5080, timer=False)
    tiny = [('Session-Expires', '0;refresher=uac')]
    bob.on['incoming'] = lambda event: event.subject.respond(200, world.now, body=ANSWER, headers=tiny)
    bob.on['UPDATE'] = lambda event: bob.core.respond(event.exchange, 200, world.now, headers=tiny)
    established(world, alice, bob)
    world.run(20)
    assert len(sent(world, 'alice', 'UPDATE')) <= 4


def test_hung_up_in_the_middle_of_a_refresh(world: World, alice: Party, bob: Party) -> None:
    usage, _ = established(world, alice, bob, session_timer=90)
    bob.on['UPDATE'] = lambda event: None
    world.run(46)
    usage.bye(world.now)
    world.run(80)
    assert world.idle() and usage.session_timer is None


@pytest.mark.parametrize('value', [89, 1, -5, 'soon', '1800;refresher=bob', ''])
def test_what_is_no_interval(value) -> None:
    with pytest.raises(UsageError):
        parse_interval(value)


def test_settings(alice: Party, world: World) -> None:
    assert parse_interval('1800;refresher=UAS') == (1800, 'uas') and parse_interval(0) == (0, None)
    with pytest.raises(UsageError, match='90'):
        alice.core.configure(min_se=60)
    alice.core.configure(min_se=90)
    with pytest.raises(UsageError, match='timer'):
        alice.core.configure(supported=(), session_timer=90)
    alice.core.configure(session_timer=None)
    with pytest.raises(UsageError, match='timer'):
        alice.core.invite('sip:bob@127.0.0.1', world.now, from_='sip:a@b', session_timer=90)
    assert alice.core.counts()['calls'] == 0


def test_a_call_that_is_not_answered_has_no_session(world: World, alice: Party, bob: Party) -> None:
    bob.on['incoming'] = lambda event: event.subject.respond(180, world.now)
    usage = call(alice, bob, session_timer=90)
    world.run(1)
    with pytest.raises(WrongState):
        usage.reinvite(world.now, OFFER)
    usage.cancel(world.now)
    world.run(40)
    assert world.idle()
