"""Calls through the B2BUA, between real user agents on a network in memory."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from greensip.b2bua import call as call_module
from greensip.errors import (
    Busy,
    Forbidden,
    Redirected,
    RemoteHangup,
    ResponseError,
    ServerFailure,
    Unauthorized,
    Unavailable,
)

SDP = (b'v=0\r\no=- 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n'
       b'm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')


def sdp_of_port(port: int) -> bytes:
    return SDP.replace(b'4000', str(port).encode())


class Callee:
    """A handler that notes its legs: rings, answers with its own SDP, lasts as long as the call."""

    def __init__(self, sdp: bytes = sdp_of_port(5000), ring: float = 0.0, net: Any = None) -> None:
        self.legs: list[Any] = []
        self.sdp = sdp
        self.ring = ring
        self.net = net

    def __call__(self, leg: Any) -> None:
        self.legs.append(leg)
        leg.ring()
        if self.ring:
            self.net.run(self.ring)
        leg.answer(self.sdp)
        leg.wait_ended()

    @property
    def invite(self) -> Any:
        return self.legs[-1].invite


class Refusing:
    """A handler that refuses, and counts."""

    def __init__(self, code: int, **options: Any) -> None:
        self.code = code
        self.options = options
        self.invites: list[Any] = []

    def __call__(self, leg: Any) -> None:
        self.invites.append(leg.invite)
        leg.reject(self.code, **self.options)


def silent(leg: Any) -> None:
    """A handler that rings for ever."""
    leg.ring()
    leg.wait_ended()


def mute(leg: Any) -> None:
    """A handler that says nothing but the 100 of the transaction layer."""
    leg.wait_ended()


# -- a call that is answered


def test_a_call_and_its_record(rig: Any) -> None:
    bob = Callee(ring=2.0, net=rig.net)
    rig.callee('bob', bob)
    b2bua = rig.b2bua('-s', '{bob}:5060')
    with rig.caller.invite(rig.uri(), sdp=SDP, from_='"Alice" <sip:4711@somewhere.example>', call_id='c1@x') as leg:
        assert leg.wait_for('180', timeout=1).code == 180
        answer = leg.wait_for('2xx', timeout=5)
        assert answer.message.body == bob.sdp
        invite = bob.invite
        assert invite.body == SDP
        assert invite.call_id == 'c1@x-b2b_1'
        assert invite.max_forwards == 69
        assert str(invite.from_.uri) == f'sip:4711@{rig.net.address("b2b")}'
        assert invite.from_.display == 'Alice'
        assert str(invite.uri) == f'sip:123@{rig.net.address("bob")}:5060'
        assert str(invite.to.uri) == f'sip:123@{rig.net.address("bob")}'
        assert len(b2bua.calls) == 1
        rig.net.run(10)
    rig.net.run(1)
    assert bob.legs[0].ended and isinstance(bob.legs[0].error, RemoteHangup)
    rig.finish()
    record = rig.records()[0]
    assert record['event'] == 'stop'
    assert (record['cli'], record['name'], record['cld'], record['call_id']) == ('4711', 'Alice', '123', 'c1@x')
    assert (record['cli_out'], record['cld_out'], record['call_id_out']) == ('4711', '123', 'c1@x-b2b_1')
    assert record['source'] == f'{rig.net.address("caller")}:5060'
    assert (record['transport'], record['transport_out']) == ('udp', 'udp')
    assert record['route'] == f'{rig.net.address("bob")}:5060'
    assert record['ringing'] - record['setup'] == pytest.approx(0.02, abs=0.002)
    assert record['answered'] - record['setup'] == pytest.approx(2.02, abs=0.002)
    # The caller hears of the answer, and we of its BYE, 10 ms later each.
    assert record['duration'] == pytest.approx(10.02, abs=0.002)
    assert record['ended'] - record['answered'] == pytest.approx(record['duration'], abs=0.002)
    assert (record['code'], record['released_by'], record['attempts']) == (200, 'caller', [])


def test_the_callee_hangs_up(rig: Any) -> None:
    def brief(leg: Any) -> None:
        leg.answer(SDP)
        leg.wait_for('ACK')
        rig.net.run(3)
        leg.hangup('Q.850;cause=16;text="done"')
        leg.wait_ended()

    rig.callee('bob', brief)
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        assert str(leg.wait_ended(timeout=10).error.reason) == 'Q.850;cause=16;text="done"'
    rig.finish()
    record = rig.records()[0]
    assert (record['released_by'], record['reason']) == ('callee', 'Q.850;cause=16;text="done"')


def test_early_media_and_several_provisionals_pass_with_their_bodies(rig: Any) -> None:
    def slow(leg: Any) -> None:
        leg.progress(183, sdp=sdp_of_port(6000), headers={'P-Early-Media': 'sendrecv'})
        rig.net.run(1)
        leg.ring(headers={'Alert-Info': '<urn:alert:x>'})
        rig.net.run(1)
        leg.progress(181, reason='Forwarded')
        rig.net.run(1)
        leg.answer(sdp_of_port(6002))
        leg.wait_ended()

    rig.callee('bob', slow)
    rig.b2bua('-s', '{bob}')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        early = leg.wait_for('18x', timeout=5)
        assert (early.code, early.message.body) == (183, sdp_of_port(6000))
        assert early.message.get('P-Early-Media') == 'sendrecv'
        assert leg.wait_for('18x', timeout=5).message.get('Alert-Info') == '<urn:alert:x>'
        assert leg.wait_for('18x', timeout=5).message.reason == 'Forwarded'
        assert leg.wait_for('200', timeout=5).message.body == sdp_of_port(6002)


def test_a_body_of_another_type_passes_untouched(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}')
    body = (b'--x\r\nContent-Type: application/sdp\r\n\r\n' + SDP + b'\r\n--x\r\nContent-Type: a/b\r\n\r\n'
            b'\x00\xff\r\n--x--\r\n')
    with rig.caller.invite(rig.uri(), body=body, content_type='multipart/mixed;boundary=x') as leg:
        leg.wait_for('200', timeout=5)
        assert bob.invite.body == body
        assert bob.invite.get('Content-Type') == 'multipart/mixed;boundary=x'


def test_a_late_offer_is_answered_in_the_ack(rig: Any) -> None:
    answers = []

    def late(leg: Any) -> None:
        assert leg.invite.body == b''
        leg.answer(sdp_of_port(7000))
        answers.append(leg.wait_for('ACK').message.body)
        leg.wait_ended()

    rig.callee('bob', late)
    rig.b2bua('-s', '{bob}')
    with rig.caller.invite(rig.uri(), sdp=b'') as leg:
        assert leg.wait_for('200', timeout=5).message.body == sdp_of_port(7000)
        leg.ack(sdp_of_port(7002))
        rig.net.run(1)
        assert answers == [sdp_of_port(7002)]


def test_a_caller_that_never_acknowledges_a_late_offer_is_cleared(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}')
    with rig.caller.invite(rig.uri(), sdp=b'') as leg:
        leg.wait_for('200', timeout=5)
        leg.hangup()
        rig.net.run(1)
        assert bob.legs[0].ended


def test_a_session_is_changed_from_both_sides(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        leg.reinvite(sdp_of_port(4002))
        assert bob.legs[0].remote_sdp == sdp_of_port(4002)
        rig.net.run(1)
        bob.legs[0].reinvite(sdp_of_port(5002))
        assert leg.remote_sdp == sdp_of_port(5002)
        assert leg.request('INFO', body='x', content_type='application/dtmf-relay').code == 200
        assert leg.update(sdp_of_port(4004)).code == 200
        assert bob.legs[0].remote_sdp == sdp_of_port(4004)


@pytest.mark.parametrize('method', ['OPTIONS', 'MESSAGE', 'INFO', 'UPDATE', 'PRACK', 'NOTIFY', 'SUBSCRIBE', 'REFER',
                                    'PUBLISH', 'BOGUS'])
def test_every_request_inside_a_call_is_answered(rig: Any, method: str) -> None:
    # sippy 2.5.0 leaves UPDATE, PRACK, MESSAGE, NOTIFY and SUBSCRIBE to time out.
    rig.callee('bob', Callee())
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        try:
            code = leg.request(method, timeout=5).code
        except ResponseError as error:
            code = error.code
        assert code == 200 if method in ('OPTIONS', 'MESSAGE', 'INFO', 'UPDATE') else code in (405, 481, 501, 603)
        assert not leg.ended


# -- a call that is not answered


def test_the_caller_gives_up(rig: Any) -> None:
    legs = []

    def ringing(leg: Any) -> None:
        legs.append(leg)
        silent(leg)

    rig.callee('bob', ringing)
    rig.b2bua('-s', '{bob}', '-s', '{carol}')
    with rig.caller.invite(rig.uri(), sdp=SDP) as leg:
        leg.wait_for('180', timeout=5)
        leg.cancel('SIP;cause=200;text="Call completed elsewhere"')
        assert leg.wait_for('487', timeout=5).code == 487
    rig.net.run(1)
    assert legs[0].error.reason == 'SIP;cause=200;text="Call completed elsewhere"'
    rig.finish()
    record = rig.records()[0]
    assert (record['code'], record['released_by'], record['answered'], record['duration']) == (487, 'caller', None, 0)


@pytest.mark.parametrize('code', [404, 480, 486, 488, 500, 503, 600, 603])
def test_a_refusal_reaches_the_caller_as_it_is(rig: Any, code: int) -> None:
    rig.callee('bob', Refusing(code, reason='Not now', headers={'Reason': 'Q.850;cause=17', 'Retry-After': '5'}))
    rig.b2bua('-s', '{bob}')
    with pytest.raises(ResponseError) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=10)
    assert (caught.value.code, caught.value.reason) == (code, 'Not now')
    assert caught.value.response.get('Reason') == 'Q.850;cause=17'
    assert caught.value.response.get('Retry-After') == '5'
    rig.finish()
    record = rig.records()[0]
    assert (record['code'], record['reason'], record['released_by']) == (code, 'Not now', 'callee')
    assert record['attempts'] == [f'{rig.net.address("bob")} {code}']


def test_a_redirection_is_passed_on_and_ends_the_hunt(rig: Any) -> None:
    carol = Callee()

    def moved(leg: Any) -> None:
        leg.redirect(['<sip:123@192.0.2.1>;q=0.5', 'sip:123@192.0.2.2'])

    rig.callee('bob', moved)
    rig.callee('carol', carol)
    rig.b2bua('-s', '{bob}', '-s', '{carol}')
    with pytest.raises(Redirected) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=10)
    assert [str(contact.uri) for contact in caught.value.contacts] == ['sip:123@192.0.2.2', 'sip:123@192.0.2.1']
    assert carol.legs == []


def test_nobody_there_is_a_408_of_the_transaction(rig: Any) -> None:
    rig.net.address('bob')
    rig.b2bua('-s', '{bob}')
    with pytest.raises(ResponseError) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=40)
    assert caught.value.code in (408, 503)


def test_a_caller_that_cannot_be_reached_is_not_a_route_that_failed(rig: Any, caplog: Any) -> None:
    bob = rig.callee('bob', silent)
    carol = Callee()
    rig.callee('carol', carol)
    rig.b2bua('-s', '{bob}', '-s', '{carol}')
    rig.caller.invite(rig.uri(), sdp=SDP)
    rig.net.run(0)
    rig.agents.remove(rig.caller)
    rig.caller.endpoint.close()         # the 180 finds nobody
    rig.net.run(200)
    assert carol.legs == [] and bob.legs == []
    assert [record['attempts'] for record in rig.records()] == [[]]
    assert caplog.records == []


# -- hunting


def test_the_next_route_is_tried_on_failure(rig: Any) -> None:
    bob, carol, dave = Refusing(486), Refusing(404), Callee()
    for name, handler in (('bob', bob), ('carol', carol), ('dave', dave)):
        rig.callee(name, handler)
    rig.b2bua('-s', '{bob};expires=30', '-s', '{carol}', '-s', '{dave}', '-A', '2')
    with rig.caller.call(rig.uri(), sdp=SDP, call_id='c7') as leg:
        assert [invite.call_id for invite in (*bob.invites, *carol.invites, dave.invite)] == [
            'c7-b2b_1', 'c7-b2b_2', 'c7-b2b_3']
        leg.hangup()
        rig.net.run(1)
    rig.finish()
    start, stop = rig.records()
    assert (start['event'], stop['event']) == ('start', 'stop')
    assert 'duration' not in start and start['answered'] == stop['answered']
    assert stop['attempts'] == [f'{rig.net.address("bob")} 486', f'{rig.net.address("carol")} 404']
    assert stop['route'] == rig.net.address('dave')


def test_a_code_that_stops_the_hunt(rig: Any) -> None:
    carol = Callee()
    rig.callee('bob', Refusing(486))
    rig.callee('carol', carol)
    rig.b2bua('-s', '{bob};hs_scodes=404,486', '-s', '{carol}')
    with pytest.raises(Busy):
        rig.caller.call(rig.uri(), sdp=SDP, timeout=10)
    assert carol.legs == []


def test_the_last_failure_is_told(rig: Any) -> None:
    rig.callee('bob', Refusing(404))
    rig.callee('carol', Refusing(503))
    rig.b2bua('-s', '{bob}', '-s', '{carol};forward_on_fail=1')
    with pytest.raises(Unavailable):
        rig.caller.call(rig.uri(), sdp=SDP, timeout=10)
    rig.finish()
    assert rig.records()[0]['attempts'] == [f'{rig.net.address("bob")} 404']


@pytest.mark.parametrize(('handler', 'parameters', 'seconds'), [
    (silent, 'expires=7', 7.0),
    (mute, 'np_expires=6;expires=20', 6.0),
    (silent, 'np_expires=6;expires=9', 9.0),
    (None, 'nr_expires=3;np_expires=6;expires=20', 3.0),
    (mute, 'nr_expires=3;np_expires=6;expires=20', 6.0),
    (None, 'expires=4.5', 4.5),
])
def test_patience_ends_with_the_route(rig: Any, handler: Any, parameters: str, seconds: float) -> None:
    carol = Callee()
    if handler is not None:
        rig.callee('bob', handler)
    else:
        rig.raw('bob')
    rig.callee('carol', carol)
    rig.b2bua('-s', '{bob};' + parameters, '-s', '{carol}')
    began = rig.net.clock.now()
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=60):
        # Two hops there and back, 10 ms each, besides.
        assert rig.net.clock.now() - began == pytest.approx(seconds + 0.04, abs=0.005)


def test_the_last_routes_patience_is_a_408(rig: Any) -> None:
    rig.callee('bob', silent)
    rig.b2bua('-s', '{bob};expires=5')
    with pytest.raises(ResponseError) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=60)
    assert caught.value.code == 408


def test_a_group_of_routes_times_out_together(rig: Any) -> None:
    # sippy 2.5.0 never applies gt: it fails at the time-out.
    bob, carol, dave = Refusing(486), Refusing(486), Callee()
    rig.callee('bob', silent)
    for name, handler in (('carol', bob), ('dave', carol), ('eve', dave)):
        rig.callee(name, handler)
    rig.b2bua('-s', '{bob};gt=5,3', '-s', '{carol}', '-s', '{dave}', '-s', '{eve}')
    began = rig.net.clock.now()
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=60):
        assert rig.net.clock.now() - began == pytest.approx(5.04, abs=0.005)
        assert bob.invites == carol.invites == []


def test_a_200_that_crosses_our_cancel_is_hung_up(rig: Any) -> None:
    bob, carol = Callee(ring=4.985, net=rig.net), Callee(sdp_of_port(6000))
    rig.callee('bob', bob)
    rig.callee('carol', carol)
    rig.b2bua('-s', '{bob};expires=5', '-s', '{carol}')
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=60) as leg:
        assert leg.remote_sdp == sdp_of_port(6000)
        rig.net.run(1)
        assert bob.legs[0].ended and not carol.legs[0].ended


def test_routes_without_time_are_no_routes(rig: Any) -> None:
    rig.b2bua('-s', '{bob};credit-time=0', '-s', '{bob};expires=0')
    with pytest.raises(ServerFailure) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=5)
    assert caught.value.code == 500


def test_a_route_that_leads_back_to_us_is_a_loop(rig: Any) -> None:
    rig.b2bua('-s', '{b2b};hs_scodes=482', '-s', '{b2b}')
    with pytest.raises(ResponseError) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=5)
    assert caught.value.code == 482


# -- how long a call lasts


@pytest.mark.parametrize(('arguments', 'seconds'), [
    (['-s', '{bob};credit-time=30'], 30),
    (['-s', '{bob}', '-m', '20'], 20),
    (['-s', '{bob};credit-time=30', '-m', '20'], 20),
    (['-s', '{bob};credit-time=30', '-m', '40', '--max-duration', '12.5'], 12.5),
])
def test_the_time_is_up(rig: Any, arguments: list[str], seconds: float) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua(*arguments)
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        began = rig.net.clock.now()
        leg.wait_ended(timeout=100)
        assert rig.net.clock.now() - began == pytest.approx(seconds, abs=0.05)
        rig.net.run(0.1)
        assert bob.legs[0].ended
    rig.finish()
    record = rig.records()[0]
    assert (record['released_by'], record['duration']) == ('credit-time', pytest.approx(seconds, abs=0.01))


# -- what the callee is told


@pytest.mark.parametrize(('route', 'dialled', 'uri', 'from_'), [
    ('{bob}', '123', 'sip:123@{bob}', '"Alice" <sip:4711@{b2b}>'),
    ('555@{bob}', '123', 'sip:555@{bob}', '"Alice" <sip:4711@{b2b}>'),
    ('@{bob}', '123', 'sip:{bob}', '"Alice" <sip:4711@{b2b}>'),
    ('{bob}', None, 'sip:{bob}', '"Alice" <sip:4711@{b2b}>'),
    ('{bob};cli=99;cnam=Bob%20%22B%22', '123', 'sip:123@{bob}', '"Bob \\"B\\"" <sip:99@{b2b}>'),
    ('{bob};cli=;cnam=', '123', 'sip:123@{bob}', '<sip:{b2b}>'),
    ('{bob}', '1%232', 'sip:1%232@{bob}', '"Alice" <sip:4711@{b2b}>'),
    ('{bob}', 'a;phone-context=x', 'sip:a;phone-context=x@{bob}', '"Alice" <sip:4711@{b2b}>'),
])
def test_numbers_and_names(rig: Any, route: str, dialled: str | None, uri: str, from_: str) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', route)
    with rig.caller.call(rig.uri(dialled), sdp=SDP, from_='"Alice" <sip:4711@x.example>'):
        addresses = {name: rig.net.address(name) for name in ('bob', 'b2b')}
        assert str(bob.invite.uri) == uri.format_map(addresses)
        assert str(bob.invite.from_.without_param('tag')) == from_.format_map(addresses)


def test_translations_on_the_way_in_and_out(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '-t', 's/^00/+/', '-T', 's/^[+]49/0/;s/-//g')
    with rig.caller.call(rig.uri('0049-30-12'), sdp=SDP) as leg:
        assert bob.invite.uri.user == '03012'
        leg.hangup()
        rig.net.run(1)
    rig.finish()
    record = rig.records()[0]
    assert (record['cld'], record['cld_out']) == ('+49-30-12', '03012')


def test_header_fields_pass_and_are_added(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob};ash=SIP-Hello1%3A%20World%21;ash=X-B%3A%20b%3Bc', '-h', 'x-account,X-List', '-h', 'X-Absent')
    headers = [('X-Account', '7'), ('X-List', 'a'), ('X-List', 'b'), ('X-Secret', 'no'), ('Reason', 'Q.850;cause=1')]
    with rig.caller.call(rig.uri(), sdp=SDP, headers=headers):
        invite = bob.invite
        assert (invite.get('X-Account'), invite.get_all('X-List'), invite.get('X-Secret')) == ('7', ['a', 'b'], None)
        assert (invite.get('SIP-Hello1'), invite.get('X-B')) == ('World!', 'b;c')
        assert invite.get('Reason') == 'Q.850;cause=1'


def test_the_call_id_is_hidden(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '-H')
    with rig.caller.call(rig.uri(), sdp=SDP, call_id='secret@10.1.2.3'):
        # As sippy makes it: MD5.
        assert bob.invite.call_id == hashlib.md5(b'secret@10.1.2.3').hexdigest() + '-b2b_1'


@pytest.mark.parametrize(('hops', 'code', 'left'), [(0, 483, None), (1, 200, 0), (70, 200, 69)])
def test_max_forwards(rig: Any, hops: int, code: int, left: int | None) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}')
    leg = rig.caller.invite(rig.uri(), sdp=SDP, max_forwards=hops)
    assert leg.wait_for('200', '4xx', timeout=5).code == code
    assert [other.invite.max_forwards for other in bob.legs] == ([] if left is None else [left])
    leg.close()


def test_an_outbound_proxy_gets_the_invite(rig: Any) -> None:
    bob, proxy = Callee(), Callee()
    rig.callee('bob', bob)
    rig.callee('proxy', proxy)
    rig.b2bua('-s', '{bob};op={proxy}:5060')
    with rig.caller.call(rig.uri(), sdp=SDP):
        assert bob.legs == []
        assert str(proxy.invite.uri) == f'sip:123@{rig.net.address("bob")}'
        assert proxy.invite.get('Route') == f'<sip:{rig.net.address("proxy")}:5060;lr>'


def test_an_invite_that_came_from_the_outbound_proxy_is_not_sent_back_there(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob};op={caller}')
    with rig.caller.call(rig.uri(), sdp=SDP):
        assert bob.invite.get('Route') is None


def test_a_route_back_to_where_the_call_came_from(rig: Any) -> None:
    back = Callee()
    rig.caller.serve(back, background=True)
    rig.b2bua('-s', 'sip-ua;cli=7')
    with rig.caller.call(rig.uri('55'), sdp=SDP):
        assert (str(back.invite.uri), back.invite.from_.uri.user) == (f'sip:55@{rig.net.address("caller")}:5060', '7')


# -- credentials


class Guarded(Callee):
    """A callee that asks for digest credentials."""

    def __init__(self, code: int = 407, accepted: str = 'alice') -> None:
        super().__init__()
        self.code = code
        self.accepted = accepted
        self.asked = 0

    def __call__(self, leg: Any) -> None:
        name = 'Proxy-Authorization' if self.code == 407 else 'Authorization'
        given = leg.invite.get(name)
        if given is None or f'username="{self.accepted}"' not in given:
            self.asked += 1
            challenge = 'Proxy-Authenticate' if self.code == 407 else 'WWW-Authenticate'
            leg.reject(self.code, headers={challenge: 'Digest realm="bob", nonce="n1", qop="auth"'})
            return
        super().__call__(leg)


@pytest.mark.parametrize('code', [401, 407])
def test_a_challenge_is_answered_with_the_routes_credentials(rig: Any, code: int) -> None:
    bob = Guarded(code)
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob};auth=alice:s3cret')
    with rig.caller.call(rig.uri(), sdp=SDP):
        assert bob.asked == 1


@pytest.mark.parametrize('code', [401, 407])
def test_wrong_credentials_of_ours_are_not_the_callers_business(rig: Any, code: int) -> None:
    rig.callee('bob', Guarded(code))
    rig.b2bua('-s', '{bob};auth=mallory:x')
    with pytest.raises(Forbidden) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, credentials=('alice', 's3cret'), timeout=10)
    assert caught.value.response.get('Reason') == f'SIP;cause={code}'


@pytest.mark.parametrize('code', [401, 407])
def test_challenge_and_credentials_pass_through(rig: Any, code: int) -> None:
    # sippy 2.5.0 fails on a 407.
    bob = Guarded(code)
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}')
    with rig.caller.call(rig.uri(), sdp=SDP, credentials=('alice', 's3cret'), timeout=10):
        assert bob.asked == 1
    with pytest.raises(Unauthorized) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=10)
    assert caught.value.code == code


def test_nopass_keeps_the_callers_credentials(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob};auth=nopass')
    with rig.caller.call(rig.uri(), sdp=SDP, headers={'Authorization': 'Digest username="u"'}):
        assert bob.invite.get('Authorization') is None


# -- limits, and what else is answered


def test_who_is_not_on_the_list_is_refused(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '-a', '192.0.2.1,172.16.0.0/12')
    with pytest.raises(Forbidden):
        rig.caller.call(rig.uri(), sdp=SDP, timeout=5)
    assert bob.legs == []


def test_who_is_on_the_list_may_call(rig: Any) -> None:
    rig.callee('bob', Callee())
    rig.b2bua('-s', '{bob}', '-a', '192.0.2.1,{caller}/32')
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=5):
        pass


def test_too_many_calls(rig: Any) -> None:
    rig.callee('bob', Callee())
    rig.b2bua('-s', '{bob}', '--max-calls', '2')
    legs = [rig.caller.invite(rig.uri(), sdp=SDP) for _ in range(4)]
    codes = []
    for leg in legs:
        try:
            codes.append(leg.wait_for('200', timeout=5).code)
        except ResponseError as error:
            codes.append(error.code)
    assert sorted(codes) == [200, 200, 503, 503]
    for leg in legs:
        leg.close()
    rig.net.run(1)
    with rig.caller.call(rig.uri(), sdp=SDP, timeout=5):
        pass


def test_options_outside_of_calls_is_answered_200(rig: Any) -> None:
    rig.b2bua('-s', '{bob}', '-a', '192.0.2.1')
    response = rig.caller.options(rig.uri(None), timeout=5)
    assert response.code == 200
    assert 'INVITE' in response.allow


def test_draining(rig: Any) -> None:
    rig.callee('bob', Callee())
    b2bua = rig.b2bua('-s', '{bob}', '--drain-time', '20')
    first, second = (rig.caller.call(rig.uri(), sdp=SDP) for _ in range(2))
    b2bua.stop()
    rig.net.run(5)
    with pytest.raises(Unavailable):
        rig.caller.call(rig.uri(), sdp=SDP, timeout=5)
    first.close()
    rig.net.run(14)
    assert not second.ended and not b2bua.stopped.is_set()
    rig.net.run(3)
    assert second.ended and b2bua.stopped.is_set()
    assert [record['released_by'] for record in rig.records()] == ['caller', 'shutdown']


def test_draining_ends_with_the_last_call(rig: Any) -> None:
    rig.callee('bob', Callee())
    b2bua = rig.b2bua('-s', '{bob}', '--drain-time', '3600')
    with rig.caller.call(rig.uri(), sdp=SDP):
        b2bua.stop()
        rig.net.run(100)
        assert not b2bua.stopped.is_set()
    rig.net.run(3)
    assert b2bua.stopped.is_set()


def test_stopping_twice_hangs_up(rig: Any) -> None:
    rig.callee('bob', Callee())
    b2bua = rig.b2bua('-s', '{bob}', '--drain-time', '3600')
    leg = rig.caller.call(rig.uri(), sdp=SDP)
    b2bua.stop()
    rig.net.run(1)
    b2bua.stop()
    rig.net.run(3)
    assert leg.ended and b2bua.stopped.is_set()
    leg.close()


# -- what the command socket and the signals do


def test_calls_are_listed_and_dropped(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.callee('carol', silent)
    b2bua = rig.b2bua('-s', '{bob}')
    b2bua.ua.core.configure()
    with rig.caller.call(rig.uri('42'), sdp=SDP, call_id='c1') as leg:
        caller, callee = f'udp:{rig.net.address("caller")}:5060', f'udp:{rig.net.address("bob")}:5060'
        assert list(b2bua.call_lines()) == [
            f'c1: Connected (Connected {caller} 42 caller -> Connected {callee} caller 42)', 'Total: 1']
        assert [line.split()[1:3] for line in b2bua.transaction_lines(0) if 'Accepted' in line] == [
            ['INVITE', 'Accepted']] * 2
        assert b2bua.disconnect('c2') == 0
        assert b2bua.disconnect('c1') == 1
        assert not isinstance(leg.wait_ended(timeout=1).error, ResponseError)
        rig.net.run(1)
        assert bob.legs[0].ended
    assert list(b2bua.call_lines()) == ['Total: 0']
    rig.net.run(61)
    assert list(b2bua.transaction_lines(60)) == ['In-memory server transactions:', 'In-memory client transactions:']
    rig.finish()
    assert rig.records()[0]['released_by'] == 'operator'


def test_all_calls_are_dropped_in_whatever_state(rig: Any) -> None:
    rig.callee('bob', Callee())
    rig.callee('carol', silent)
    b2bua = rig.b2bua('-s', '{bob};hs_scodes=1', handler=None)
    ringing = rig.net.user_agent('other', watchdog=None)
    rig.agents.append(ringing)
    answered = rig.caller.call(rig.uri(), sdp=SDP)
    b2bua.routes = (b2bua.routes[0].__class__(rig.net.address('carol')),)
    waiting = ringing.invite(rig.uri(), sdp=SDP)
    waiting.wait_for('180', timeout=5)
    states = [line.split(':', 1)[1].split()[0] for line in b2bua.call_lines()][:-1]
    assert states == ['Connected', 'ARComplete']
    b2bua.disconnect_all()
    assert all(' Disconnecting ' in line for line in list(b2bua.call_lines())[:-1])
    assert not isinstance(answered.wait_ended(timeout=1).error, ResponseError)
    with pytest.raises(Unavailable):
        waiting.wait_for('200', timeout=1)
    answered.close()
    waiting.close()
    rig.finish()
    assert sorted(record['released_by'] for record in rig.records()) == ['operator', 'operator']
    assert list(b2bua.call_lines()) == ['Total: 0']


# -- keep-alives


def test_keep_alives_ask_both_sides_in_their_time(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '--keepalive_ans=10', '--keepalive_orig=15')
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        rig.net.run(32)
        asked = [event.label for event in leg._events], [event.label for event in bob.legs[0]._events]
        assert [labels.count('INVITE') for labels in asked] == [3, 2]
        assert (leg.remote_sdp, bob.legs[0].remote_sdp) == (bob.sdp, SDP)


def test_a_peer_that_lost_the_call_is_found_out(rig: Any) -> None:
    bob = Callee()
    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '-k', '2')
    leg = rig.caller.call(rig.uri(), sdp=SDP)
    usage = bob.legs[0].usage
    # Bob forgets the call, as after a restart.
    for dialog in usage.dialogs.values():
        usage.core.dialogs.pop(dialog.id)
    ended = leg.wait_ended(timeout=60)
    assert ended.time == pytest.approx(32, abs=1)
    leg.close()
    usage.core.usages.discard(usage)
    bob.legs[0].finish(ended)
    rig.finish()
    assert rig.records()[0]['released_by'] == 'callee-lost'


# -- a script in place of the routes


def test_a_handler_of_ones_own(rig: Any) -> None:
    def ivr(leg: Any) -> None:
        leg.answer(SDP)
        leg.wait_for('BYE', timeout=60)

    b2bua = rig.b2bua(handler=ivr)
    with rig.caller.call(rig.uri('9'), sdp=SDP):
        rig.net.run(2)
        assert list(b2bua.call_lines())[-1] == 'Total: 1'
    rig.net.run(1)
    rig.finish()
    record = rig.records()[0]
    assert (record['cld'], record['code'], record['released_by']) == ('9', 200, 'caller')
    assert record['duration'] == pytest.approx(2.02, abs=0.01)


def test_a_handler_that_wants_the_program_too(rig: Any) -> None:
    def gate(leg: Any, b2bua: Any) -> None:
        leg.reject(480, f'{len(b2bua.routes)} routes')

    rig.b2bua('-s', '{bob}', handler=gate)
    with pytest.raises(Unavailable) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=5)
    assert caught.value.reason == '1 routes'


def test_a_handler_that_fails_gives_a_500(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    def broken(leg: Any) -> None:
        raise ValueError('oops')

    rig.b2bua(handler=broken)
    with pytest.raises(ServerFailure) as caught:
        rig.caller.call(rig.uri(), sdp=SDP, timeout=5)
    assert caught.value.code == 500
    assert 'ValueError: oops' in caplog.text
    rig.finish()
    assert (rig.records()[0]['code'], rig.records()[0]['released_by']) == (500, 'b2bua')


def test_the_maximal_duration_holds_for_scripts_too(rig: Any) -> None:
    def forever(leg: Any) -> None:
        leg.answer(SDP)
        leg.wait_ended()

    rig.b2bua('--max-duration', '30', handler=forever)
    with rig.caller.call(rig.uri(), sdp=SDP) as leg:
        assert leg.wait_ended(timeout=60).time == pytest.approx(30, abs=0.1)
    rig.finish()
    assert rig.records()[0]['released_by'] == 'credit-time'



def test_who_pays_is_in_the_record(rig: Any) -> None:
    rig.callee('bob', Callee())
    rig.b2bua('-s', '{bob};bill-to=acme;bill-cli=1;bill-cld=2;other=x')
    rig.caller.call(rig.uri(), sdp=SDP).close()
    rig.finish()
    record = rig.records()[0]
    assert (record['bill_to'], record['bill_cli'], record['bill_cld'], record.get('other')) == ('acme', '1', '2', None)


def test_names_of_callers_are_remembered_as_long_as_they_are_short() -> None:
    """Thousands of 30 KB are what a stranger can send."""
    assert call_module.user_part('a b') == 'a%20b@' and call_module.display_part('A\tB') == '"A B" '
    assert call_module.user_part('u' * 30_000) == 'u' * 30_000 + '@'
    assert call_module.display_part('n' * 30_000) == f'"{"n" * 30_000}" '
    assert 'a b' in call_module._users and 'A\tB' in call_module._names
    assert max(map(len, [*call_module._users, *call_module._names])) < 1000
