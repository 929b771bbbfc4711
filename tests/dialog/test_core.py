"""The core: what RFC 3261 8.2, 9.2 and 11.2 say of a UAS, and 8.1 and 22 of a UAC, outside of dialogs."""

from __future__ import annotations

import random

import pytest

from greensip.dialog import FAILED, REQUEST, RESPONSE
from greensip.dialog.event import Event
from greensip.dialog.exchange import MAX_CHALLENGES
from greensip.errors import ConnectError, ParseError, TransactionTimeout, UsageError
from greensip.message import Request, Response, parse_message
from greensip.message.digest import DigestServer
from greensip.transaction.flow import Flow

from .conftest import Party, World, name_of

PEER = ('127.0.0.1', 7000)
SDP = 'v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n'


@pytest.fixture
def bob(world: World) -> Party:
    return world.party('bob', 5080)


def text_of(
    method: str,
    *,
    uri: str = 'sip:bob@127.0.0.1:5080',
    to_tag: str = '',
    extra: str = '',
    body: str = '',
    branch: str = 'one',
    cseq: str = '',
    without: str = '',
    version: str = 'SIP/2.0',
) -> bytes:
    lines = [
        f'{method} {uri} {version}',
        f'Via: SIP/2.0/UDP 127.0.0.1:7000;branch=z9hG4bK{branch}',
        'Max-Forwards: 70',
        'From: <sip:peer@127.0.0.1:7000>;tag=peer',
        f'To: <sip:bob@127.0.0.1:5080>{f";tag={to_tag}" if to_tag else ""}',
        f'Call-ID: call-{method}',
        f'CSeq: {cseq or f"1 {method}"}',
        'Contact: <sip:peer@127.0.0.1:7000>',
    ]
    lines = [line for line in lines if not (without and line.startswith(without))]
    if extra:
        lines.append(extra)
    return ('\r\n'.join([*lines, f'Content-Length: {len(body)}']) + '\r\n\r\n' + body).encode()


def answer_to(world: World, bob: Party, data: bytes) -> Response | None:
    """What bob answers to a message at once."""
    before = len(world.messages)
    try:
        message = parse_message(data)
    except ParseError as error:
        bob.core.receive_broken(error, Flow(bob.point, PEER), world.now)
    else:
        bob.core.receive(message, Flow(bob.point, PEER), world.now)
    world.flush()
    answers = [message for _, _, message in world.messages[before:]]
    return answers[0] if answers else None


def sdp(extra: str = '') -> dict[str, str]:
    return {'extra': f'Content-Type: application/sdp{extra}', 'body': SDP}


@pytest.mark.parametrize(
    'message,code,field',
    [
        (text_of('REGISTER'), 405, ('Allow', 'INVITE')),
        (text_of('DANCE'), 501, ('Allow', 'INVITE')),
        (text_of('INVITE', uri='tel:+15551234'), 416, None),
        (text_of('INVITE', uri='nobodyKnowsThisScheme:totallyopaque'), 416, None),
        (text_of('INVITE', extra='Require: 100rel, no.such'), 420, ('Unsupported', '100rel, no.such')),
        (text_of('INVITE', extra='Content-Type: application/unknown', body='xyz'), 415, ('Accept', 'application/sdp')),
        (text_of('INVITE', **sdp('\r\nContent-Encoding: gzip')), 415, ('Accept', 'application/sdp')),
        (text_of('INVITE', **sdp('\r\nAccept: text/nobody')), 406, ('Warning', '399')),
        (text_of('BYE'), 481, None),
        (text_of('BYE', to_tag='gone'), 481, None),
        (text_of('INVITE', to_tag='gone'), 481, None),
        (text_of('CANCEL'), 481, None),
        (text_of('OPTIONS'), 200, ('Accept', 'application/sdp')),
        (text_of('INVITE', cseq='1 BYE'), 400, ('Warning', 'CSeq')),
        (text_of('INVITE', cseq='99999999999 INVITE'), 400, None),
        (text_of('OPTIONS', without='Call-ID'), 400, ('Warning', 'Call-ID')),
        (text_of('OPTIONS', without='From'), 400, None),
        (text_of('OPTIONS', version='SIP/7.0'), 505, None),
        (text_of('OPTIONS').replace(b'Content-Length: 0', b'Content-Length: 10'), 400, None),
    ],
    ids=lambda value: value.split(b' ', 1)[0].decode() if isinstance(value, bytes) else None,
)
def test_refusals(world: World, bob: Party, message: bytes, code: int, field: tuple[str, str] | None) -> None:
    response = answer_to(world, bob, message)
    assert response is not None
    assert response.code == code
    if code not in (400, 505):
        assert response.to_tag
    if field is not None:
        assert field[1] in response.get(field[0])
    world.run(40)
    assert world.idle()


def test_a_body_that_may_be_ignored_is(world: World, bob: Party) -> None:
    answer_to(
        world,
        bob,
        text_of(
            'INVITE',
            extra='Content-Type: application/unknown\r\nContent-Disposition: render;handling=optional',
            body='xyz',
        ),
    )
    assert bob.last('incoming').subject.remote_sdp == b''


def test_sdp_inside_multipart_is_found(world: World, bob: Party) -> None:
    body = (
        f'--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n'
        f'--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--x--\r\n'
    )
    answer_to(world, bob, text_of('INVITE', extra='Content-Type: multipart/mixed;boundary=x', body=body))
    assert bob.last('incoming').subject.remote_sdp == SDP.encode()


def test_a_broken_multipart_body_is_a_bad_request(world: World, bob: Party) -> None:
    kind = 'Content-Type: multipart/mixed;boundary=x'
    response = answer_to(world, bob, text_of('INVITE', extra=kind, body='--x\r\nno header section'))
    assert response is not None and response.code == 400
    assert not bob.core.usages


def test_a_merged_request_gets_482(world: World, bob: Party) -> None:
    """8.2.2.2: the same request over two paths."""
    assert answer_to(world, bob, text_of('INVITE', **sdp())) is None
    response = answer_to(world, bob, text_of('INVITE', branch='two', **sdp()))
    assert response is not None and response.code == 482
    assert len([event for event in bob.events if event.kind == 'incoming']) == 1


def test_a_broken_response_is_dropped(world: World, bob: Party) -> None:
    data = (
        text_of('OPTIONS')
        .replace(b'OPTIONS sip:bob@127.0.0.1:5080 SIP/2.0', b'SIP/2.0 200 OK')
        .replace(b'1 OPTIONS', b'99999999999 OPTIONS')
    )
    assert answer_to(world, bob, data) is None
    assert bob.events == []


@pytest.mark.parametrize('via', [', SIP/2.0/UDP 127.0.0.1:9', '\r\nVia: SIP/2.0/UDP 127.0.0.1:9', ''])
def test_a_response_with_another_hop_to_go_is_dropped(world: World, bob: Party, via: str) -> None:
    """8.1.3.3."""
    exchange = bob.core.request('OPTIONS', 'sip:127.0.0.1:7000', world.now, from_=bob.uri)
    world.flush()
    request = world.messages[-1][2]
    head = f'SIP/2.0 200 OK\r\nVia: {request.get("Via")}{via}\r\n'
    rest = ''.join(f'{name}: {request.get(name)}\r\n' for name in ('From', 'To', 'Call-ID', 'CSeq'))
    assert answer_to(world, bob, f'{head}{rest}\r\n'.encode()) is None
    assert exchange.done == (via == '')


def test_a_stray_response_and_a_stray_ack_are_dropped(world: World, bob: Party) -> None:
    stray = text_of('OPTIONS').replace(b'OPTIONS sip:bob@127.0.0.1:5080 SIP/2.0', b'SIP/2.0 200 OK')
    assert answer_to(world, bob, stray) is None
    assert answer_to(world, bob, text_of('ACK', to_tag='gone')) is None
    assert bob.events == [] and world.idle()


def test_a_request_outside_of_dialogs_is_the_programs(world: World, bob: Party) -> None:
    answer_to(world, bob, text_of('MESSAGE', extra='Content-Type: text/plain', body='hello'))
    event = bob.last(REQUEST)
    assert event.subject is None and event.message.body == b'hello'
    bob.core.respond(event.exchange, 202, world.now, reason='Kept', headers=[('X-Kept', 'yes')])
    world.flush()
    response = world.messages[-1][2]
    assert (response.code, response.reason, response.get('X-Kept')) == (202, 'Kept', 'yes')
    assert response.to_tag


def test_options_can_be_left_to_the_program(world: World, bob: Party) -> None:
    bob.core.configure(options_code=None, allow=('OPTIONS',))
    assert answer_to(world, bob, text_of('OPTIONS')) is None
    assert bob.last(REQUEST).name == 'OPTIONS'
    response = answer_to(world, bob, text_of('INVITE', **sdp()))
    assert response is not None and response.code == 405


def test_requests_of_ours(world: World, bob: Party) -> None:
    alice = world.party('alice', 5060)
    exchange = alice.core.request('OPTIONS', bob.uri, world.now, from_='"Alice" <sip:alice@example.com>')
    world.run(1)
    assert world.ladder() == ['alice -> bob: OPTIONS', 'bob -> alice: 200 OPTIONS']
    event = alice.last(RESPONSE)
    assert event.subject is event.exchange is exchange
    assert exchange.done and exchange.response is event.message
    assert 'INVITE' in exchange.response.allow
    request = exchange.request
    assert request is not None
    assert request.from_.display == 'Alice' and request.max_forwards == 70
    assert request.get('To') == f'<{bob.uri}>'


def test_no_answer_and_no_way(world: World) -> None:
    alice = world.party('alice', 5060)
    exchange = alice.core.request(
        'MESSAGE', 'sip:127.0.0.1:9', world.now, from_=alice.uri, body=b'x', content_type='text/plain'
    )
    world.run(33)
    assert isinstance(alice.last(FAILED).error, TransactionTimeout) and exchange.done
    alice.core.request('MESSAGE', 'sip:127.0.0.1:9;transport=tcp', world.now, from_=alice.uri)
    world.flush()
    assert isinstance(alice.last(FAILED).error, ConnectError)
    alice.core.request('OPTIONS', 'sip:[::1]:9', world.now, from_=alice.uri)
    world.flush()
    assert 'IPv6' in str(alice.last(FAILED).error)


def test_reserved_header_fields_are_refused(world: World, bob: Party) -> None:
    alice = world.party('alice', 5060)
    with pytest.raises(UsageError):
        alice.core.request('OPTIONS', bob.uri, world.now, from_=alice.uri, headers=[('v', 'SIP/2.0/UDP evil')])
    with pytest.raises(UsageError):
        alice.core.invite(bob.uri, world.now, from_=alice.uri, headers=[('Call-ID', 'mine')])


def guard(world: World, bob: Party, proxy: bool = False) -> DigestServer:
    """Bob asks for a password: every request that has none, or a wrong one, gets a challenge."""
    server = DigestServer('example.com', secret=b'of bob', proxy=proxy)

    def check(event) -> None:
        request: Request = event.message
        verdict = server.check(request, {'alice': 's3cret'}.get, world.now)
        if verdict.ok:
            if event.kind == 'incoming':
                event.subject.respond(200, world.now, body=SDP.encode())
            else:
                bob.core.respond(event.exchange, 200, world.now)
            return
        fields = [(server.challenge_field, text) for text in server.challenge(world.now, stale=verdict.stale)]
        if event.kind == 'incoming':
            event.subject.respond(verdict.code, world.now, headers=fields)
        else:
            bob.core.respond(event.exchange, verdict.code, world.now, headers=fields)

    bob.on['incoming'] = bob.on['MESSAGE'] = bob.on['INFO'] = check
    return server


@pytest.mark.parametrize('proxy', [False, True])
def test_challenges_are_answered(world: World, bob: Party, proxy: bool) -> None:
    guard(world, bob, proxy)
    alice = world.party('alice', 5060)
    usage = alice.core.invite(bob.uri, world.now, from_=alice.uri, body=SDP.encode(), credentials=('alice', 's3cret'))
    world.run(1)
    code = 407 if proxy else 401
    assert world.ladder() == [
        'alice -> bob: INVITE',
        f'bob -> alice: {code} INVITE',
        'alice -> bob: ACK',
        'alice -> bob: INVITE',
        'bob -> alice: 200 INVITE',
        'alice -> bob: ACK',
    ]
    assert usage.state == 'confirmed'
    assert [event.code for event in alice.events if event.kind == RESPONSE] == [200]
    invites = [message for _, _, message in world.messages if name_of(message) == 'INVITE']
    assert [invite.cseq.number for invite in invites] == [1, 2]
    assert invites[0].branch != invites[1].branch and invites[0].call_id == invites[1].call_id
    ack = world.messages[-1][2]
    assert ack.cseq.number == 2
    assert ack.has('Proxy-Authorization' if proxy else 'Authorization')


def test_a_wrong_password_is_not_tried_for_ever(world: World, bob: Party) -> None:
    guard(world, bob)
    alice = world.party('alice', 5060)
    alice.core.request(
        'MESSAGE',
        bob.uri,
        world.now,
        from_=alice.uri,
        body=b'hi',
        content_type='text/plain',
        credentials=('alice', 'wrong'),
    )
    world.run(1)
    assert world.ladder() == ['alice -> bob: MESSAGE', 'bob -> alice: 401 MESSAGE'] * 2
    assert alice.last(RESPONSE).code == 401


@pytest.mark.parametrize('turns', [1, 3, 10**6])
def test_nobody_is_challenged_for_ever(world: World, bob: Party, turns: int) -> None:
    """By a new realm each time, or by a few of which each in its turn says that the nonce was stale."""
    count = 0

    def challenge(event: Event) -> None:
        nonlocal count
        count += 1
        text = f'Digest realm="r{count % turns}", nonce="n{count}", stale=true'
        proxy = count % 2
        bob.core.respond(event.exchange, 407 if proxy else 401, world.now,
                         headers=[('Proxy-Authenticate' if proxy else 'WWW-Authenticate', text)])

    bob.on['MESSAGE'] = challenge
    alice = world.party('alice', 5060)
    alice.core.request('MESSAGE', bob.uri, world.now, from_=alice.uri, body=b'hi', content_type='text/plain',
                       credentials=('alice', 's3cret'))
    world.run(60)
    assert count <= MAX_CHALLENGES + 1
    assert alice.last(RESPONSE).code in (401, 407)


def test_an_encoding_that_nobody_knows_is_refused_with_those_that_we_do(world: World, bob: Party) -> None:
    """8.2.3: "the response MUST contain an Accept-Encoding header field"."""
    response = answer_to(world, bob, text_of('INVITE', **sdp('\r\nContent-Encoding: gzip')))
    assert response is not None and response.get('Accept-Encoding') == 'identity'


def test_option_tags_are_compared_without_regard_to_case(world: World, bob: Party) -> None:
    """7.3.1: tokens are."""
    bob.core.configure(supported=('timer',))
    response = answer_to(world, bob, text_of('OPTIONS', extra='Require: TIMER'))
    assert response is not None and response.code == 200


def test_what_has_no_place_in_a_request_uri_stays_out(world: World, bob: Party) -> None:
    """19.1.5."""
    alice = world.party('alice', 5060)
    target = f'{bob.uri};method=MESSAGE;transport=udp?Subject=hello'
    alice.core.request('OPTIONS', target, world.now, from_=alice.uri)
    world.flush()
    request = world.messages[-1][2]
    assert request.uri_text == f'{bob.uri};transport=udp'
    assert request.get('Subject') is None


def test_a_route_without_angle_brackets_gets_them(world: World, bob: Party) -> None:
    """20.34: else its lr would be a parameter of the field, and the proxy a strict router."""
    alice = world.party('alice', 5060)
    alice.core.request('OPTIONS', 'sip:example.com', world.now, from_=alice.uri, route=['sip:127.0.0.1:5080;lr'])
    world.flush()
    request = world.messages[-1][2]
    assert (request.uri_text, request.get('Route')) == ('sip:example.com', '<sip:127.0.0.1:5080;lr>')
    assert world.messages[-1][1] == 'bob'


def test_garbage_never_breaks_the_core(world: World, bob: Party) -> None:
    """Each octet of an INVITE flipped and each truncation: the core answers an OPTIONS afterwards."""
    good = text_of('INVITE', **sdp())
    draw = random.Random(4)
    for index in range(len(good)):
        for data in (good[:index], good[:index] + bytes([good[index] ^ (1 << draw.randrange(8))]) + good[index + 1 :]):
            answer_to(world, bob, data)
    response = answer_to(world, bob, text_of('OPTIONS'))
    assert response is not None and response.code == 200
    for usage in list(bob.core.usages):
        usage.close(world.now)
    world.run(80)
    assert world.idle()


def test_what_is_understood_and_not_announced(world: World, bob: Party) -> None:
    bob.core.configure(allow=[*bob.core.allow, 'REGISTER'], understood=['path'])
    assert answer_to(world, bob, text_of('REGISTER', extra='Require: path')) is None
    assert [event.message.method for event in bob.events if event.message is not None] == ['REGISTER']
    options = answer_to(world, bob, text_of('OPTIONS', extra='Require: path', branch='z9hG4bKother'))
    assert options is not None and options.code == 200 and 'path' not in (options.get('Supported') or '')


def test_a_cancel_for_what_was_refused_because_of_its_odd_tag(world: World, bob: Party) -> None:
    """Its tag is no token, so that the answer cannot have it."""
    response = answer_to(world, bob, text_of('INVITE', to_tag='a:b', branch='odd'))
    assert response is not None and (response.code, response.to_tag) == (481, 'a:b')
    response = answer_to(world, bob, text_of('CANCEL', branch='odd').replace(b'Call-ID: call-CANCEL',
                                                                             b'Call-ID: call-INVITE'))
    assert response is not None and response.code == 200 and response.to_tag


def test_a_nul_is_answered_without_one(world: World, bob: Party) -> None:
    data = text_of('OPTIONS').replace(b'Max-Forwards: 70', b'Via: SIP/2.0/UDP h\0;branch=z9hG4bKx\r\nMax-Forwards: 70')
    response = answer_to(world, bob, data.replace(b';branch=z9hG4bKone', b';branch=z9hG4bKone;rport'))
    assert response is not None and response.code == 400 and b'\0' not in response.to_bytes()


@pytest.mark.parametrize('name', ['From', 'To'])
@pytest.mark.parametrize('method', ['INVITE', 'OPTIONS', 'MESSAGE'])
def test_a_star_is_nobody(world: World, bob: Party, method: str, name: str) -> None:
    """It is for the Contact of a REGISTER; a To tag behind it would make something that nobody can read."""
    data = text_of(method, without=f'{name}:', extra=f'{name}: *')
    response = answer_to(world, bob, data)
    assert response is not None and response.code == 400
    assert not bob.core.usages and bob.events == []
