"""What the typed values tell beyond their texts; the texts themselves are in test_headers.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from greensip.errors import ParseError, UsageError
from greensip.message import (
    STAR,
    CSeq,
    EventValue,
    NameAddr,
    Parameterized,
    Params,
    RAck,
    Request,
    RetryAfter,
    SipUri,
    Timestamp,
    Via,
    Warning,
    format_date,
    parse_challenge,
    parse_credentials,
    parse_date,
    parse_media_type,
    parse_name_addr,
    parse_via,
)
from greensip.message import address as address_module
from greensip.message.grammar import MEMORY, MEMORY_LENGTH, parse_number, quote, split_list, unescape
from greensip.message.values import (
    parse_dialog_id,
    parse_event,
    parse_reason,
    parse_replaces,
    parse_retry_after,
    parse_seconds,
    parse_session_expires,
    parse_subscription_state,
)


@pytest.mark.parametrize(('text', 'received', 'rport', 'maddr', 'ttl'), [
    ('SIP/2.0/UDP h;branch=b', None, None, None, None),
    ('SIP/2.0/UDP h;rport;branch=b', None, 0, None, None),
    ('SIP/2.0/UDP h;branch=b;received=192.0.2.1;rport=5070', '192.0.2.1', 5070, None, None),
    ('SIP/2.0/UDP h;branch=b;Received=[2001:db8::1];RPORT=x', '2001:db8::1', None, None, None),
    ('SIP/2.0/UDP h;maddr=224.2.0.1;ttl=16;branch=b', None, None, '224.2.0.1', 16),
])
def test_via(text: str, received: str | None, rport: int | None, maddr: str | None, ttl: int | None) -> None:
    via = parse_via(text)
    assert (via.received, via.rport, via.maddr, via.ttl) == (received, rport, maddr, ttl)
    assert via.branch == 'b' and str(via) == text


def test_via_sent_by() -> None:
    assert parse_via('SIP/2.0/UDP [2001:db8::1]:5070').sent_by == '[2001:db8::1]:5070'
    assert parse_via('SIP/2.0/UDP h').sent_by == 'h'
    assert parse_via('SIP/2.0/udp H;branch=x') == parse_via('SIP/2.0/UDP h;BRANCH=x')
    assert hash(parse_via('SIP/2.0/udp H;branch=x')) == hash(parse_via('SIP/2.0/UDP h;BRANCH=x'))
    assert parse_via('SIP/2.0/UDP h;branch=x') != parse_via('SIP/2.0/UDP h;branch=X')
    assert parse_via('SIP/2.0/UDP h:5060') != parse_via('SIP/2.0/UDP h')


def test_via_changed() -> None:
    via = parse_via('SIP/2.0/UDP h;rport;branch=b')
    stamped = via.with_param('rport', '5070').with_param('received', '192.0.2.1')
    assert str(stamped) == 'SIP/2.0/UDP h;rport=5070;branch=b;received=192.0.2.1'
    assert stamped.branch == 'b' and stamped.rport == 5070
    assert str(stamped.without_param('RPORT').replace(host='::1', port=5)) == (
        'SIP/2.0/UDP [::1]:5;branch=b;received=192.0.2.1')
    assert str(via) == 'SIP/2.0/UDP h;rport;branch=b'


@pytest.mark.parametrize(('text', 'q', 'expires'), [
    ('<sip:h>', 1.0, None), ('<sip:h>;q=0.5;expires=60', 0.5, 60), ('<sip:h>;q=.25', 0.25, None),
    ('<sip:h>;Q=0', 0.0, None),
    ('<sip:h>;q=7', 1.0, None), ('<sip:h>;q=x;expires=x', 1.0, 3600), ('<sip:h>;q=1e-1;expires', 1.0, 3600),
    ('<sip:h>;expires=9999999999', 1.0, 3600), ('sip:h;expires=0', 1.0, 0)])
def test_contact_parameters(text: str, q: float, expires: int | None) -> None:
    contact = parse_name_addr(text)
    assert (contact.q, contact.expires) == (q, expires)


@pytest.mark.parametrize(('text', 'display', 'tag', 'params'), [
    ('<sip:h>', None, None, {}),
    ('<sip:h>;tag=1', None, '1', {'tag': '1'}),
    ('<sip:h>;TAG=1', None, '1', {'TAG': '1'}),
    ('<sip:h>;x=y;tag=1', None, '1', {'x': 'y', 'tag': '1'}),
    ('<sip:h>;tag=1;x="a;b"', None, '1', {'tag': '1', 'x': 'a;b'}),
    ('<sip:h>;tag=1;vtag=2', None, '1', {'tag': '1', 'vtag': '2'}),
    ('sip:h;tag=1', None, '1', {'tag': '1'}),
    ('<sip:h>;tag="a b"', None, 'a b', {'tag': 'a b'}),
    ('A  B <sip:h>', 'A  B', None, {}),
    ('A<sip:h>', 'A', None, {}),
    ('"" <sip:h>', None, None, {}),
    ('"A, \\"B\\" <C>"<sip:h>;tag=1', 'A, "B" <C>', '1', {'tag': '1'}),
    ('Zoë <sip:h>', 'Zoë', None, {}),
    ('  "A"\t< sip:h > ; tag = 1 ', 'A', '1', {'tag': '1'}),
])
def test_name_addr(text: str, display: str | None, tag: str | None, params: dict[str, str]) -> None:
    addr = parse_name_addr(text)
    assert (addr.display, addr.tag, addr.params, str(addr.uri)) == (display, tag, params, 'sip:h')
    again = parse_name_addr(str(addr))
    assert (again.display, again.tag, again.params) == (display, tag, params)
    made = NameAddr(display, 'sip:h', params)
    assert made == addr and hash(made) == hash(addr) and str(made) == str(addr) and made.tag == tag


def test_name_addr_does_not_compare_display_names() -> None:
    assert parse_name_addr('"A" <sip:a@H>;x=1') == parse_name_addr('B <sip:a@h>;X=1')
    assert parse_name_addr('<sip:a@h>;x=1') != parse_name_addr('<sip:a@h>')
    assert parse_name_addr('<sip:a@h>') != parse_name_addr('<sip:b@h>')


def test_name_addr_changed() -> None:
    addr = parse_name_addr('"A" <sip:a@h>;tag=1')
    assert str(addr.replace(display=None)) == '<sip:a@h>;tag=1'
    assert str(addr.replace(uri='sip:b@h').with_param('tag', '2')) == '"A" <sip:b@h>;tag=2'
    assert str(addr.with_param('x').without_param('tag')) == '"A" <sip:a@h>;x'
    assert str(addr) == '"A" <sip:a@h>;tag=1' and addr.uri == SipUri('a', 'h')


def test_the_memory_of_addresses_is_bounded() -> None:
    for number in range(5_000):
        parse_name_addr(f'<sip:{number}@example.com>;tag={number}')
    parse_name_addr('<sip:' + 'a' * 60_000 + '@example.com>')
    parse_name_addr('<sip:a@example.com>' + ';a=b' * 30)
    assert 0 < len(address_module._recent) <= MEMORY
    assert max(map(len, address_module._recent)) <= MEMORY_LENGTH
    assert max(text.count(';') for text in address_module._recent) < 10
    assert parse_name_addr('<sip:4999@example.com>;tag=4999') is parse_name_addr('<sip:4999@example.com>;tag=4999')


def test_star() -> None:
    assert parse_name_addr('*') is STAR and STAR.is_star and str(STAR) == '*'
    assert not parse_name_addr('<sip:h>').is_star and parse_name_addr('<sip:h>') != STAR
    assert not STAR.uri.is_sip


def test_cseq_and_rack() -> None:
    assert CSeq(1, 'INVITE').replace(number=2) == CSeq(2, 'INVITE')
    assert CSeq(1, 'INVITE').replace(method='ACK') == CSeq(1, 'ACK')
    assert CSeq(1, 'ACK') != CSeq(1, 'INVITE')
    assert len({CSeq(1, 'INVITE'), CSeq(1, 'INVITE'), RAck(1, 2, 'INVITE'), RAck(1, 2, 'INVITE')}) == 2


def test_events() -> None:
    event = parse_event('presence.winfo;id=7')
    assert (event.package, event.id) == ('presence.winfo', '7')
    # RFC 6665 8.2.1: other parameters do not count
    assert event == EventValue('presence.winfo', {'id': '7', 'x': 'y'}) != EventValue('presence.winfo')
    state = parse_subscription_state('Terminated;reason=timeout;retry-after=5;expires=0')
    assert (state.state, state.reason, state.retry_after, state.expires) == ('terminated', 'timeout', 5, 0)


def test_reason() -> None:
    reason = parse_reason('Q.850 ; cause=16 ; text="Normal \\"clearing\\""')
    assert (reason.protocol, reason.cause, reason.text) == ('Q.850', 16, 'Normal "clearing"')
    assert parse_reason('SIP;cause=x').cause is None


def test_session_expires() -> None:
    value = parse_session_expires('1800;Refresher=UAC')
    assert (value.seconds, value.refresher) == (1800, 'uac')
    assert parse_session_expires('90').refresher is None


def test_dialog_ids() -> None:
    replaces = parse_replaces('x@h;from-tag=1;to-tag=2;early-only')
    assert (replaces.call_id, replaces.to_tag, replaces.from_tag, replaces.early_only) == ('x@h', '2', '1', True)
    target = parse_dialog_id('x@h;local-tag=1;remote-tag=2')
    assert (target.to_tag, target.from_tag) == ('2', '1')
    with pytest.raises(ParseError):
        parse_replaces('x@h;to-tag=2')


def test_retry_after() -> None:
    value = parse_retry_after('120 (a (b) \\) c);duration=5;x=y')
    assert (value.seconds, value.comment, value.duration) == (120, 'a (b) \\) c', 5)
    assert str(value) == '120 (a (b) \\) c);duration=5;x=y'
    assert parse_retry_after('9' * 40).seconds == 2**32 - 1
    for comment in ('(', ')(', ')', '((((((((' + 'a' + '))))))))'):
        with pytest.raises(UsageError):
            RetryAfter(1, comment=comment)


def test_seconds_and_numbers() -> None:
    assert parse_seconds('000') == 0 and parse_seconds('0' * 5000 + '7') == 7 and parse_seconds('9' * 5000) == 2**32 - 1
    assert parse_number('0' * 5000 + '7') == 7
    for text in ('', '-1', '+1', '1_0', '1.0', ' 1', '٣', '²', '0x1'):
        for parse in (parse_seconds, parse_number):
            with pytest.raises(ParseError):
                parse(text)


def test_media_types() -> None:
    media = parse_media_type('Application/SDP; charset="utf-8"')
    assert (media.type, media.subtype, media.essence) == ('application', 'sdp', 'application/sdp')
    assert media.param('charset') == 'utf-8'
    for essence, accepted in (('*/*', True), ('application/*', True), ('APPLICATION/sdp', True), ('text/*', False),
                              ('application/sd', False), ('app/*', False)):
        assert parse_media_type(essence).accepts('application/sdp') is accepted


def test_warning_and_timestamp() -> None:
    warning = Warning(399, 'h:5060', 'a "b"')
    assert str(warning) == '399 h:5060 "a \\"b\\""'
    assert warning.replace(code=300).code == 300
    assert Timestamp('1.5') != Timestamp('1.5', '0') and str(Timestamp('1.5')) == '1.5'


def test_challenge() -> None:
    challenge = parse_challenge(
        'digest realm="a, b", nonce=n, stale=TRUE, qop="auth, AUTH-INT", userhash=true, domain="x"')
    assert (challenge.is_digest, challenge.realm, challenge.nonce, challenge.stale) == (True, 'a, b', 'n', True)
    assert (challenge.qop, challenge.userhash) == (['auth', 'auth-int'], True)
    assert (challenge.algorithm, challenge.opaque, challenge.domain) == ('MD5', None, 'x')
    assert parse_challenge('Basic').realm == '' and not parse_challenge('Basic').is_digest


def test_credentials() -> None:
    credentials = parse_credentials(
        'Digest username="a\\"b",nc=0000000A,qop=AUTH,algorithm=SHA-256,cnonce="",uri=sip:h')
    assert (credentials.username, credentials.nc, credentials.qop, credentials.algorithm, credentials.cnonce,
            credentials.uri) == ('a"b', 10, 'auth', 'SHA-256', '', 'sip:h')
    for nc in ('1', '0000000g', '000000001', '-0000001'):
        assert parse_credentials(f'Digest nc="{nc}"').nc is None


def test_dates() -> None:
    noon = datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC)
    assert format_date(noon) == 'Sun, 01 Mar 2026 12:00:09 GMT' and parse_date(format_date(noon)) == noon
    assert format_date(noon.astimezone(timezone(timedelta(hours=5)))) == format_date(noon)
    assert parse_date('sun, 1 mar 2026 12:00:09 gmt') == noon
    assert parse_date('Sat, 31 Dec 2016 23:59:60 GMT') == datetime(2017, 1, 1, tzinfo=UTC)
    with pytest.raises(UsageError):
        format_date(datetime(2026, 3, 1))
    for text in ('Sun, 01 Mar 2026 24:00:00 GMT', 'Sun, 01 Mar 2026 12:00:09 +0000', 'Sun 01 Mar 2026 12:00:09 GMT'):
        with pytest.raises(ParseError):
            parse_date(text)


def test_params() -> None:
    params = Params({'Tag': '1', 'lr': None})
    assert params['tag'] == '1' and params.get('LR', '-') is None and params.get('x') is None and 'TAG' in params
    assert list(params) == ['Tag', 'lr'] and len(params) == 2
    assert params == {'TAG': '1', 'LR': None} and params == Params([('lr', None), ('tag', '1')])
    assert params != {'tag': '2', 'lr': None} and params != {'tag': '1'} and params != 1
    assert hash(params) == hash(Params([('lr', None), ('tag', '1')]))
    # the first of two counts
    assert Params([('a', '1'), ('A', '2')]) == {'a': '1'}


@pytest.mark.parametrize(('value', 'text'), [
    ('a', 'a'), ('', '""'), ('a b', '"a b"'), ('a;b', '"a;b"'), ('a"b\\', '"a\\"b\\\\"'), ('[::1]', '[::1]'),
    ('<urn:x>', '"<urn:x>"'), ('ü', '"ü"'), ('a,b', '"a,b"')])
def test_parameter_values_are_quoted_when_they_must_be(value: str, text: str) -> None:
    made = Parameterized('x', {'p': value})
    assert str(made) == f'x;p={text}'
    message = Request('OPTIONS', 'sip:h', [('Accept-Contact', made)])
    assert message.values('Accept-Contact') == [made]


def test_parameters_that_cannot_be_written() -> None:
    for params in ({'a b': '1'}, {'': None}, {'a\r\n': None}):
        for make in (lambda params: NameAddr(None, 'sip:h', params), lambda params: Parameterized('x', params),
                     lambda params: Via('UDP', 'h', None, params)):
            with pytest.raises(UsageError):
                make(params)


def test_small_pieces() -> None:
    assert split_list('a, "b, \\" c" , <d,e>;x') == ['a', '"b, \\" c"', '<d,e>;x']
    assert unescape('%41%zz%4') == 'A%zz%4' and unescape('%C3%A9%ff') == 'é\udcff'
    assert quote('a\0"') == '"a\\\0\\""'
    for text in ('a,', ',a', 'a,,b', 'a,<b', 'a,"b,c'):
        with pytest.raises(ParseError):
            split_list(text)
