"""One row for each registered header field: a text, its value, and how the value is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from greensip.errors import ParseError, UsageError
from greensip.message import (
    HEADERS,
    STAR,
    AuthInfo,
    Challenge,
    Credentials,
    CSeq,
    DialogId,
    EventValue,
    MediaType,
    NameAddr,
    OtherUri,
    Parameterized,
    Params,
    RAck,
    Reason,
    Replaces,
    Request,
    RetryAfter,
    SessionExpires,
    SipUri,
    SubscriptionState,
    TelUri,
    Timestamp,
    Via,
    Warning,
    header_key,
)
from greensip.message.headers import KEYS, Header

ALICE = SipUri('alice', 'example.com')
BOB = SipUri('bob', 'example.net', 5070)
SAME = None         # the canonical text is the text
V = Parameterized
N = NameAddr
NOON = datetime(2010, 11, 13, 23, 29, tzinfo=UTC)

TABLE: list[tuple[str, str, Any, str | None]] = [
    ('Accept', 'application/sdp;level=1, application/x-private, text/*;q=0.5',
     [MediaType('application/sdp', {'level': '1'}), MediaType('application/x-private'),
      MediaType('text/*', {'q': '0.5'})], SAME),
    ('Accept', '', [], SAME),
    ('Accept-Contact', '*;audio;require', [V('*', {'audio': None, 'require': None})], SAME),
    ('Accept-Encoding', 'gzip;q=1.0 , identity; q=0.5', [V('gzip', {'q': '1.0'}), V('identity', {'q': '0.5'})],
     'gzip;q=1.0, identity;q=0.5'),
    ('Accept-Language', 'da, en-gb;q=0.8, *;q=0.1', [V('da'), V('en-gb', {'q': '0.8'}), V('*', {'q': '0.1'})], SAME),
    ('Accept-Resource-Priority', 'dsn.flash-override,wps.1', ['dsn.flash-override', 'wps.1'],
     'dsn.flash-override, wps.1'),
    ('Alert-Info', '<http://www.example.com/sounds/moo.wav>',
     [N(None, OtherUri('http', '//www.example.com/sounds/moo.wav'))], SAME),
    ('AlertMsg-Error', '403;alert-info="not authorised"', [V('403', {'alert-info': 'not authorised'})], SAME),
    ('Allow', 'INVITE, ACK,OPTIONS', ['INVITE', 'ACK', 'OPTIONS'], 'INVITE, ACK, OPTIONS'),
    ('Allow-Events', 'presence, conference.winfo', [EventValue('presence'), EventValue('conference.winfo')], SAME),
    ('Answer-Mode', 'Auto;require', [V('Auto', {'require': None})], SAME),
    ('Authentication-Info', 'nextnonce="47364c23432d2e131a5fb210812c",qop=auth,nc=00000001',
     [AuthInfo({'nextnonce': '47364c23432d2e131a5fb210812c', 'qop': 'auth', 'nc': '00000001'})], SAME),
    ('Authorization', 'Digest username="Alice", realm="atlanta.com",\tnonce="84a4cc", uri="sip:x", response="7587"',
     [Credentials('Digest', {'username': 'Alice', 'realm': 'atlanta.com', 'nonce': '84a4cc', 'uri': 'sip:x',
                             'response': '7587'})],
     'Digest username="Alice",realm="atlanta.com",nonce="84a4cc",uri="sip:x",response="7587"'),
    ('Authorization', 'Bearer aGVsbG8=', [Credentials('Bearer', [('aGVsbG8=', None)])], SAME),
    ('Call-ID', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6@biloxi.com',
     ['f81d4fae-7dec-11d0-a765-00a0c91e6bf6@biloxi.com'], SAME),
    ('Call-Info', '<http://www.example.com/photo.jpg> ;purpose=icon, <http://www.example.com/alice/>;purpose=info',
     [N(None, OtherUri('http', '//www.example.com/photo.jpg'), {'purpose': 'icon'}),
      N(None, OtherUri('http', '//www.example.com/alice/'), {'purpose': 'info'})],
     '<http://www.example.com/photo.jpg>;purpose=icon, <http://www.example.com/alice/>;purpose=info'),
    ('Contact', '"Mr. Watson" <sip:bob@example.net:5070>;q=0.7;expires=3600, sip:alice@example.com;q=0.1',
     [N('Mr. Watson', BOB, {'q': '0.7', 'expires': '3600'}), N(None, ALICE, {'q': '0.1'})],
     '"Mr. Watson" <sip:bob@example.net:5070>;q=0.7;expires=3600, <sip:alice@example.com>;q=0.1'),
    ('Contact', ' * ', [STAR], '*'),
    ('Contact', '<sip:bob@example.net:5070>;+sip.instance="<urn:uuid:0001>";reg-id=1',
     [N(None, BOB, {'+sip.instance': '<urn:uuid:0001>', 'reg-id': '1'})], SAME),
    ('Content-Disposition', 'session;handling=optional', [V('session', {'handling': 'optional'})], SAME),
    ('Content-Encoding', 'gzip', ['gzip'], SAME),
    ('Content-ID', '<1234@example.com>', ['<1234@example.com>'], SAME),
    ('Content-Language', 'fr, en-CA', ['fr', 'en-CA'], SAME),
    ('Content-Length', '0349', [349], '349'),
    ('Content-Transfer-Encoding', 'binary', ['binary'], SAME),
    ('Content-Type', 'multipart/mixed ; boundary="a b"', [MediaType('multipart/mixed', {'boundary': 'a b'})],
     'multipart/mixed;boundary="a b"'),
    ('Content-Type', 'text / html', [MediaType('text/html')], 'text/html'),
    ('CSeq', '4711  INVITE', [CSeq(4711, 'INVITE')], '4711 INVITE'),
    ('Date', 'Sat, 13 Nov 2010 23:29:00 GMT', [NOON], SAME),
    ('Diversion', '<sip:alice@example.com>;reason=user-busy;counter=1',
     [N(None, ALICE, {'reason': 'user-busy', 'counter': '1'})], SAME),
    ('Error-Info', '<sip:bob@example.net:5070>', [N(None, BOB)], SAME),
    ('Event', 'refer; id=93809824', [EventValue('refer', {'id': '93809824'})], 'refer;id=93809824'),
    ('Expires', '5', [5], SAME),
    ('Expires', '10000000000000000000000000000', [2**32 - 1], '4294967295'),
    ('Feature-Caps', '*;+g.3gpp.srvcc;+x="#1"', [V('*', {'+g.3gpp.srvcc': None, '+x': '#1'})], SAME),
    ('Flow-Timer', '126', [126], SAME),
    ('From', 'Anonymous <sip:bob@example.net:5070>;tag=hyh8', [N('Anonymous', BOB, {'tag': 'hyh8'})],
     '"Anonymous" <sip:bob@example.net:5070>;tag=hyh8'),
    ('From', '"A \\"B\\" \\\\" <sip:bob@example.net:5070>;x;tag=1',
     [N('A "B" \\', BOB, {'x': None, 'tag': '1'})], SAME),
    ('Geolocation', '<cid:target123@atlanta.example.com>',
     [N(None, OtherUri('cid', 'target123@atlanta.example.com'))], SAME),
    ('Geolocation-Error', '100; code="Cannot Process Location"', [V('100', {'code': 'Cannot Process Location'})],
     '100;code="Cannot Process Location"'),
    ('Geolocation-Routing', 'yes', ['yes'], SAME),
    ('History-Info', '<sip:alice@example.com?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1',
     [N(None, SipUri('alice', 'example.com', headers=[('Reason', 'SIP;cause=302')]), {'index': '1.1', 'rc': '1'})],
     SAME),
    ('Identity', 'eyJhbGciOiJFUzI1NiJ9..abc;info=<https://biloxi.example.org/biloxi.cer>',
     ['eyJhbGciOiJFUzI1NiJ9..abc;info=<https://biloxi.example.org/biloxi.cer>'], SAME),
    ('Identity-Info', '<https://atlanta.example.com/cert>;alg=rsa-sha1',
     [N(None, OtherUri('https', '//atlanta.example.com/cert'), {'alg': 'rsa-sha1'})], SAME),
    ('In-Reply-To', '70710@saturn.bell-tel.com, 17320@saturn.bell-tel.com',
     ['70710@saturn.bell-tel.com', '17320@saturn.bell-tel.com'], SAME),
    ('Info-Package', 'foo', [V('foo')], SAME),
    ('Join', '12adf2f34456gs5;to-tag=12345;from-tag=54321',
     [DialogId('12adf2f34456gs5', {'to-tag': '12345', 'from-tag': '54321'})], SAME),
    ('Max-Breadth', '60', [60], SAME),
    ('Max-Forwards', '6', [6], SAME),
    ('MIME-Version', '1.0', ['1.0'], SAME),
    ('Min-Expires', '60', [60], SAME),
    ('Min-SE', '3600', [SessionExpires('3600')], SAME),
    ('Organization', 'Boxes by Bob, Inc.', ['Boxes by Bob, Inc.'], SAME),
    ('P-Access-Network-Info', '3GPP-UTRAN-TDD; utran-cell-id-3gpp=234151D0FCE11',
     [V('3GPP-UTRAN-TDD', {'utran-cell-id-3gpp': '234151D0FCE11'})],
     '3GPP-UTRAN-TDD;utran-cell-id-3gpp=234151D0FCE11'),
    ('P-Answer-State', 'Unconfirmed', [V('Unconfirmed')], SAME),
    ('P-Asserted-Identity', '"Cullen Jennings" <sip:alice@example.com>, tel:+14085264000',
     [N('Cullen Jennings', ALICE), N(None, TelUri('+14085264000'))],
     '"Cullen Jennings" <sip:alice@example.com>, <tel:+14085264000>'),
    ('P-Asserted-Service', 'urn:urn-7:3gpp-service.exampletelephony.version1',
     ['urn:urn-7:3gpp-service.exampletelephony.version1'], SAME),
    ('P-Associated-URI', '<sip:alice@example.com>', [N(None, ALICE)], SAME),
    ('P-Called-Party-ID', '<sip:alice@example.com>', [N(None, ALICE)], SAME),
    ('P-Charge-Info', '<sip:alice@example.com>;npi=ISDN', [N(None, ALICE, {'npi': 'ISDN'})], SAME),
    ('P-Charging-Function-Addresses', 'ccf=192.1.1.1; ccf=192.1.1.2;ecf="a;b"',
     [Params({'ccf': '192.1.1.1', 'ecf': 'a;b'})], 'ccf=192.1.1.1;ecf="a;b"'),
    ('P-Charging-Vector', 'icid-value=1234bc9876e;icid-generated-at=192.0.6.8',
     [Params({'icid-value': '1234bc9876e', 'icid-generated-at': '192.0.6.8'})], SAME),
    ('P-DCS-Billing-Info', '1234/x;rksgroup=abc', [V('1234/x', {'rksgroup': 'abc'})], SAME),
    ('P-DCS-LAES', '192.0.2.1:5060;content=192.0.2.2', [V('192.0.2.1:5060', {'content': '192.0.2.2'})], SAME),
    ('P-DCS-OSPS', 'BLV', ['BLV'], SAME),
    ('P-DCS-Redirect', '<sip:alice@example.com>;count=1', [N(None, ALICE, {'count': '1'})], SAME),
    ('P-DCS-Trace-Party-ID', '<sip:alice@example.com>', [N(None, ALICE)], SAME),
    ('P-Early-Media', 'sendrecv, gated', [V('sendrecv'), V('gated')], SAME),
    ('P-Media-Authorization', '00200A3F, 00200A40', ['00200A3F', '00200A40'], SAME),
    ('P-Preferred-Identity', '<sip:alice@example.com>', [N(None, ALICE)], SAME),
    ('P-Preferred-Service', 'urn:urn-7:3gpp-service.x', ['urn:urn-7:3gpp-service.x'], SAME),
    ('P-Private-Network-Indication', 'example.com', [V('example.com')], SAME),
    ('P-Profile-Key', '<sip:chatroom-!.*!@example.com>', [N(None, SipUri('chatroom-!.*!', 'example.com'))], SAME),
    ('P-Refused-URI-List', 'sip:alice@example.com', [N(None, ALICE)], '<sip:alice@example.com>'),
    ('P-Served-User', '<sip:alice@example.com>;sescase=orig;regstate=reg',
     [N(None, ALICE, {'sescase': 'orig', 'regstate': 'reg'})], SAME),
    ('P-User-Database', '<aaa://host.example.com;transport=tcp>',
     [N(None, OtherUri('aaa', '//host.example.com;transport=tcp'))], SAME),
    ('P-Visited-Network-ID', '"Visited network, number 1"', ['"Visited network, number 1"'], SAME),
    ('Path', '<sip:192.0.2.1;lr>,<sip:[2001:db8::1]:5061;lr>',
     [N(None, SipUri(None, '192.0.2.1', params={'lr': None})),
      N(None, SipUri(None, '2001:db8::1', 5061, {'lr': None}))], '<sip:192.0.2.1;lr>, <sip:[2001:db8::1]:5061;lr>'),
    ('Permission-Missing', 'sip:alice@example.com', [N(None, ALICE)], '<sip:alice@example.com>'),
    ('Policy-Contact', '<sip:alice@example.com>;non-cacheable', [N(None, ALICE, {'non-cacheable': None})], SAME),
    ('Policy-ID', 'x;y', ['x;y'], SAME),
    ('Priority', 'emergency', ['emergency'], SAME),
    ('Priv-Answer-Mode', 'Manual', [V('Manual')], SAME),
    ('Privacy', 'header; session', [V('header', {'session': None})], 'header;session'),
    ('Proxy-Authenticate', 'Digest realm="at\\"lanta",qop="auth,auth-int", nonce="f84f",opaque="",stale=FALSE,'
     'algorithm=SHA-256', [Challenge('Digest', {
         'realm': 'at"lanta', 'qop': 'auth,auth-int', 'nonce': 'f84f', 'opaque': '', 'stale': 'FALSE',
         'algorithm': 'SHA-256'})],
     'Digest realm="at\\"lanta",qop="auth,auth-int",nonce="f84f",opaque="",stale=FALSE,algorithm=SHA-256'),
    ('Proxy-Authentication-Info', 'rspauth="abc"', [AuthInfo({'rspauth': 'abc'})], SAME),
    ('Proxy-Authorization', 'Digest username="a",nc=00000001,qop=auth',
     [Credentials('Digest', {'username': 'a', 'nc': '00000001', 'qop': 'auth'})], SAME),
    ('Proxy-Require', 'foo', ['foo'], SAME),
    ('RAck', '776656  1 INVITE', [RAck(776656, 1, 'INVITE')], '776656 1 INVITE'),
    ('Reason', 'SIP ;cause=200 ;text="Call completed elsewhere", Q.850;cause=16',
     [Reason('SIP', {'cause': '200', 'text': 'Call completed elsewhere'}), Reason('Q.850', {'cause': '16'})],
     'SIP;cause=200;text="Call completed elsewhere", Q.850;cause=16'),
    ('Record-Route', '<sip:p1.example.com;lr>, <sip:p2.example.com;lr>;x=y',
     [N(None, SipUri(None, 'p1.example.com', params={'lr': None})),
      N(None, SipUri(None, 'p2.example.com', params={'lr': None}), {'x': 'y'})], SAME),
    ('Recv-Info', 'P, R', [V('P'), V('R')], SAME),
    ('Refer-Events-At', '<sip:alice@example.com>', [N(None, ALICE)], SAME),
    ('Refer-Sub', 'false', [V('false')], SAME),
    ('Refer-To', '<sip:bob@example.net:5070?Replaces=12345%40x%3Bto-tag%3D1>',
     [N(None, SipUri('bob', 'example.net', 5070, headers=[('Replaces', '12345@x;to-tag=1')]))], SAME),
    ('Referred-By', '<sip:alice@example.com>;cid="20398823.2UWQFN309shb3@x"',
     [N(None, ALICE, {'cid': '20398823.2UWQFN309shb3@x'})], SAME),
    ('Reject-Contact', '*;actor="msg-taker"', [V('*', {'actor': 'msg-taker'})], '*;actor=msg-taker'),
    ('Remote-Party-ID', '"Bob" <sip:alice@example.com>;party=calling;privacy=off',
     [N('Bob', ALICE, {'party': 'calling', 'privacy': 'off'})], SAME),
    ('Replaces', '425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only',
     [Replaces('425928@bobster.example.org', {'to-tag': '7743', 'from-tag': '6472', 'early-only': None})], SAME),
    ('Reply-To', 'Bob <sip:alice@example.com>', [N('Bob', ALICE)], '"Bob" <sip:alice@example.com>'),
    ('Request-Disposition', 'proxy, recurse', ['proxy', 'recurse'], SAME),
    ('Require', '100rel', ['100rel'], SAME),
    ('Resource-Priority', 'wps.3, dsn.flash', ['wps.3', 'dsn.flash'], SAME),
    ('Retry-After', '18000 ;duration=3600', [RetryAfter(18000, {'duration': '3600'})], '18000;duration=3600'),
    ('Retry-After', '120 (I\'m in (a) meeting)', [RetryAfter(120, comment="I'm in (a) meeting")], SAME),
    ('Route', '<sip:bigbox3.site3.atlanta.com;lr>',
     [N(None, SipUri(None, 'bigbox3.site3.atlanta.com', params={'lr': None}))], SAME),
    ('RSeq', '988789', [988789], SAME),
    ('Security-Client', 'ipsec-ike;q=0.1, tls;q=0.2', [V('ipsec-ike', {'q': '0.1'}), V('tls', {'q': '0.2'})], SAME),
    ('Security-Server', 'tls;q=0.2', [V('tls', {'q': '0.2'})], SAME),
    ('Security-Verify', 'tls;q=0.2', [V('tls', {'q': '0.2'})], SAME),
    ('Server', 'HomeServer v2 (a, b)', ['HomeServer v2 (a, b)'], SAME),
    ('Service-Route', '<sip:p2.home.example.com;lr>',
     [N(None, SipUri(None, 'p2.home.example.com', params={'lr': None}))], SAME),
    ('Session-Expires', '4000;refresher=uac', [SessionExpires('4000', {'refresher': 'uac'})], SAME),
    ('Session-ID', 'ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2',
     [V('ab30317f1a784dc48ff824d0d3715d86', {'remote': '47755a9de7794ba387653f2099600ef2'})], SAME),
    ('SIP-ETag', 'dx200xyz', ['dx200xyz'], SAME),
    ('SIP-If-Match', 'dx200xyz', ['dx200xyz'], SAME),
    ('Subject', 'Need, more "boxes', ['Need, more "boxes'], SAME),
    ('Subscription-State', 'terminated;reason=rejected;retry-after=10',
     [SubscriptionState('terminated', {'reason': 'rejected', 'retry-after': '10'})], SAME),
    ('Supported', '100rel,timer', ['100rel', 'timer'], '100rel, timer'),
    ('Supported', '', [], SAME),
    ('Suppress-If-Match', '*', ['*'], SAME),
    ('Target-Dialog', 'fa77as7dad8-sd98ajzz@host.example.com;local-tag=kkaz-;remote-tag=6544',
     [DialogId('fa77as7dad8-sd98ajzz@host.example.com', {'local-tag': 'kkaz-', 'remote-tag': '6544'})], SAME),
    ('Timestamp', '54.21 0.5', [Timestamp('54.21', '0.5')], SAME),
    ('To', 'sip:bob@example.net:5070;tag=287447', [N(None, BOB, {'tag': '287447'})],
     '<sip:bob@example.net:5070>;tag=287447'),
    ('To', '"" <sip:bob@example.net:5070>', [N(None, BOB)], '<sip:bob@example.net:5070>'),
    ('Trigger-Consent', 'sip:alice@example.com;target-uri="sip:bob@example.net"',
     [N(None, ALICE, {'target-uri': 'sip:bob@example.net'})],
     '<sip:alice@example.com>;target-uri="sip:bob@example.net"'),
    ('Unsupported', 'foo', ['foo'], SAME),
    ('User-Agent', 'Softphone Beta1.5', ['Softphone Beta1.5'], SAME),
    ('User-to-User', '56a390f3d2b7310023a2;encoding=hex', [V('56a390f3d2b7310023a2', {'encoding': 'hex'})], SAME),
    ('User-to-User', '"a;b";encoding=x', [V('"a;b"', {'encoding': 'x'})], SAME),
    ('Via', 'SIP/2.0/UDP erlang.example.com:5060;received=192.0.2.207;branch=z9hG4bK87asdks7',
     [Via('UDP', 'erlang.example.com', 5060, {'received': '192.0.2.207', 'branch': 'z9hG4bK87asdks7'})], SAME),
    ('Via', 'SIP / 2.0 / tcp [2001:db8::9:1] ; branch = x ;received=[2001:db8::9:255],SIP/2.0/WSS a.invalid;rport',
     [Via('TCP', '2001:db8::9:1', None, {'branch': 'x', 'received': '[2001:db8::9:255]'}),
      Via('WSS', 'a.invalid', None, {'rport': None})],
     'SIP/2.0/TCP [2001:db8::9:1];branch=x;received=[2001:db8::9:255], SIP/2.0/WSS a.invalid;rport'),
    ('Via', 'sip/7.0/UDP c.example.com;branch=z9hG4bKkdjuw',
     [Via('UDP', 'c.example.com', None, {'branch': 'z9hG4bKkdjuw'}, 'SIP/7.0')],
     'SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw'),
    ('Warning', '307 isi.edu "Session, \\"parameter\\"", 301 isi.edu "x"',
     [Warning(307, 'isi.edu', 'Session, "parameter"'), Warning(301, 'isi.edu', 'x')], SAME),
    ('WWW-Authenticate', 'Digest realm="x"', [Challenge('Digest', {'realm': 'x'})], SAME),
]


def empty_request() -> Request:
    return Request('OPTIONS', 'sip:example.com')


def test_every_registered_field_has_a_row() -> None:
    assert {row[0] for row in TABLE} == set(HEADERS)
    assert len(HEADERS) >= 70


@pytest.mark.parametrize(('name', 'text', 'values', 'canonical'), TABLE, ids=[f'{row[0]}: {row[1]}' for row in TABLE])
def test_row(name: str, text: str, values: list[Any], canonical: str | None) -> None:
    message = empty_request()
    message.add(name, text)
    assert message.values(name) == values
    assert all(isinstance(value, type(want)) for value, want in zip(message.values(name), values))
    assert message.value(name) == (values[0] if values else None)
    message.set(name, message.values(name))
    canonical = text if canonical is None else canonical
    assert message.get(name) == canonical
    assert message.values(name) == values
    # what the program makes is written in the same way
    message.set(name, values)
    assert message.get(name) == canonical


BROKEN = [
    ('Accept', 'text'), ('Accept', 'text/plain,,text/html'), ('Authorization', 'Digest realm'),
    ('Authorization', 'Digest realm="a'), ('Authorization', 'Digest realm="a",realm="b"'), ('Authorization', ''),
    ('Call-ID', 'a b'), ('Call-ID', ''), ('Contact', ''), ('Contact', '<sip:a@b'), ('Contact', '<sip:a@b>;'),
    ('Contact', '<sip:a@b>;;x'), ('Contact', '<sip:a@b>;=x'), ('Contact', 'sip:a@b?x=y'), ('Contact', '*;x'),
    ('Contact', '"a" sip:a@b'), ('Contact', '<sip:a@b> x'), ('Contact', 'a, b <sip:a@b>'), ('Contact', '<>'),
    ('Content-Length', '-1'), ('Content-Length', '1e3'), ('Content-Length', '4294967296'), ('Content-Length', '٣'),
    ('CSeq', '1'), ('CSeq', 'INVITE 1'), ('CSeq', '4294967296 INVITE'), ('CSeq', '1 INV(ITE'), ('CSeq', '1 A B'),
    ('CSeq', '-1 INVITE'), ('Date', 'Sat, 13 Nov 2010 23:29:00 EST'), ('Date', 'Sat, 32 Nov 2010 23:29:00 GMT'),
    ('Expires', 'soon'), ('From', '<sip:a@b>;tag='), ('From', '<sip:a@b>;tag'), ('From', '<sip:a@b>;tag=1;tag=2'),
    ('From', '<sip:a@b>;x;TAG=1;tag=2'), ('From', '"a <sip:a@b>'), ('From', '<sip:a b@c>'), ('From', 'nonsense'),
    ('Max-Forwards', 'many'), ('Min-SE', 'x'), ('RAck', '1 INVITE'), ('Replaces', 'a@b;to-tag=1'),
    ('Retry-After', '(now)'), ('Retry-After', '1 (a'), ('Retry-After', '1 ' + '(' * 20 + ')' * 20),
    ('Session-Expires', ';refresher=uac'), ('Subscription-State', ';x'), ('Timestamp', 'now'),
    ('Via', ''), ('Via', 'SIP/2.0/UDP'), ('Via', 'SIP/2.0/UDP a b'), ('Via', 'SIP/UDP a'),
    ('Via', 'SIP/2.0/UDP a:65536'), ('Via', 'SIP/2.0/UDP a:'), ('Via', 'SIP/2.0/UDP [::g]'),
    ('Via', 'SIP/2.0/UDP a;branch=1;branch=2'), ('Via', 'SIP/2.0/UDP a;;branch=1'), ('Via', 'SIP/2.0/UDP a,'),
    ('Warning', '1812 overture "In Progress"'), ('Warning', '307 isi.edu text'), ('WWW-Authenticate', '"x"'),
]


@pytest.mark.parametrize(('name', 'text'), BROKEN)
def test_broken(name: str, text: str) -> None:
    message = empty_request()
    message.add(name, text)
    with pytest.raises(ParseError):
        message.values(name)
    with pytest.raises(ParseError):
        message.value(name)


@pytest.mark.parametrize('header', HEADERS.values(), ids=HEADERS)
def test_names_in_any_spelling(header: Header) -> None:
    spellings = [header.name, header.name.lower(), header.name.upper(), header.name.swapcase()]
    if header.compact:
        spellings += [header.compact, header.compact.upper()]
    for spelling in spellings:
        assert header_key(spelling) == header.name
        message = Request('OPTIONS', 'sip:example.com', [(spelling, 'x')])
        assert message.get(header.name) == 'x'


def test_compact_forms_are_unique() -> None:
    compact = [header.compact for header in HEADERS.values() if header.compact]
    assert len(set(compact)) == len(compact)
    assert {'a', 'b', 'c', 'd', 'e', 'f', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'r', 's', 't', 'u', 'v', 'x', 'y'
            } == set(compact)


def test_unknown_names() -> None:
    assert header_key('X-Tra') == header_key('x-TRA') == 'x-tra'
    for name in ('', 'a b', 'a:', 'a\r\nb', 'ä', 'a\0'):
        with pytest.raises(UsageError):
            header_key(name)


def test_the_memory_of_names_is_bounded() -> None:
    """A flood of made-up names does not fill it."""
    for number in range(10_000):
        header_key(f'x-{number}')
    assert len(KEYS) < 4000
    assert header_key('X-9999') == 'x-9999'
    assert header_key('vIA') == 'Via'
