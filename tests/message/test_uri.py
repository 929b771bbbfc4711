"""URIs: parts, escapes, comparison (RFC 3261 19.1.4, RFC 3966 4), writing."""

from __future__ import annotations

import time

import pytest

from greensip.errors import ParseError, UsageError
from greensip.message import NameAddr, OtherUri, SipUri, TelUri, parse_uri
from greensip.message import uri as uri_module
from greensip.message.grammar import MEMORY, MEMORY_LENGTH


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


# scheme, user, password, host, port, params, headers
PARTS = [
    ('sip:alice@atlanta.com', ('sip', 'alice', None, 'atlanta.com', None, {}, ())),
    ('sip:alice:secretword@atlanta.com;transport=tcp',
     ('sip', 'alice', 'secretword', 'atlanta.com', None, {'transport': 'tcp'}, ())),
    ('sips:alice@atlanta.com?subject=project%20x&priority=urgent',
     ('sips', 'alice', None, 'atlanta.com', None, {}, (('subject', 'project x'), ('priority', 'urgent')))),
    ('sip:+1-212-555-1212:1234@gateway.com;user=phone',
     ('sip', '+1-212-555-1212', '1234', 'gateway.com', None, {'user': 'phone'}, ())),
    ('sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com',
     ('sip', None, None, 'atlanta.com', None, {'method': 'REGISTER'}, (('to', 'alice@atlanta.com'),))),
    ('sip:alice;day=tuesday@atlanta.com', ('sip', 'alice;day=tuesday', None, 'atlanta.com', None, {}, ())),
    ('sip:[2001:db8::10]:5070', ('sip', None, None, '2001:db8::10', 5070, {}, ())),
    ('sip:a@[::ffff:192.0.2.1]', ('sip', 'a', None, '::ffff:192.0.2.1', None, {}, ())),
    ('SIP:a@B.example:0005060', None),
    ('SIP:a@B_c.example:05060;LR', ('sip', 'a', None, 'B_c.example', 5060, {'lr': None}, ())),
    ('sip:%61%2541:%3A@h;%6C%72;n%3d=%3B', ('sip', 'a%41', ':', 'h', None, {'lr': None, 'n=': ';'}, ())),
    ('sip:%zz%4@h', ('sip', '%zz%4', None, 'h', None, {}, ())),
    ('sip:%C3%A9%ff@h', ('sip', 'é\udcff', None, 'h', None, {}, ())),
    ('sip:*77#1@h', ('sip', '*77#1', None, 'h', None, {}, ())),
    ('sip:h?a=b=c', ('sip', None, None, 'h', None, {}, (('a', 'b=c'),))),
]


@pytest.mark.parametrize(('text', 'parts'), PARTS)
def test_parts(text: str, parts: tuple[object, ...] | None) -> None:
    if parts is None:
        with pytest.raises(ParseError):
            parse_uri(text)
        return
    uri = sip(text)
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port, uri.params, uri.headers) == parts
    # what was read is written as it came, unless its scheme is in capitals
    assert str(uri) == text.replace('SIP:', 'sip:').replace('05060', '5060')
    # made from its parts, it is the same URI
    made = SipUri(uri.user, uri.host, uri.port, uri.params, uri.headers, scheme=uri.scheme, password=uri.password)
    assert made == uri and hash(made) == hash(uri)
    again = sip(str(made))
    assert (again.user, again.password, again.params, again.headers) == (
        uri.user, uri.password, uri.params, uri.headers)


BROKEN = [
    '', 'alice', 'sip:', 'sip:@host', 'sip:a@', 'sip:a@b@c', 'sip:a b@c', 'sip:a@b:port', 'sip:a@b:65536', 'sip:a@b:',
    'sip:a@b;', 'sip:a@b;;lr', 'sip:a@b;=x', 'sip:a@b?', 'sip:<a>@b', 'sip:"a"@b', 'sip:a@[::1', 'sip:a@[::g]',
    'sip:a@::1', 'sip:a@[fe80::1%eth0]', 'sip:a\r\n@b', 'sip:a\0@b', 'sip:a@b\n', '1a:b', 'a_b:c', ':b', 'http:',
    'tel:', 'tel:+', 'tel:abc', 'tel:+12x', 'tel:+1;', 'tel:+-', 'tel:12+3', 'sip:a:b:c@d', 'sip:a@b/c', 'sip:ä@b c',
]


@pytest.mark.parametrize('text', BROKEN)
def test_broken(text: str) -> None:
    if text == 'tel:abc':
        assert parse_uri(text).user == 'abc'        # hexadecimal digits are phonedigits of local numbers
        return
    with pytest.raises(ParseError):
        parse_uri(text)
    with pytest.raises(UsageError):
        NameAddr(None, text)


# RFC 3261 19.1.4: the examples, and each rule
EQUAL = [
    ('sip:%61lice@atlanta.com;transport=TCP', 'sip:alice@AtLanTa.CoM;Transport=tcp'),
    ('sip:carol@chicago.com', 'sip:carol@chicago.com;newparam=5'),
    ('sip:carol@chicago.com', 'sip:carol@chicago.com;security=on'),
    ('sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com',
     'sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com'),
    ('sip:alice@atlanta.com?subject=project%20x&priority=urgent',
     'sip:alice@atlanta.com?priority=urgent&subject=project%20x'),
    ('sip:a%2fb@h', 'sip:a%2Fb@h'),
    ('sip:a@[2001:db8::1]', 'sip:a@[2001:0DB8:0:0:0:0:0:1]'),
    ('SIP:h', 'sip:h'),
    ('sip:h;lr', 'sip:h;LR'),
    ('tel:+1-201-555-0123', 'tel:+1(201)555.0123'),
    ('tel:7042;phone-context=Example.com', 'TEL:70-42;phone-context=example.COM'),
    ('tel:1;phone-context=+1-2;ext=0-1', 'tel:1;EXT=01;phone-context=+12'),
    ('HTTP://a', 'http://a'),
]
DIFFERENT = [
    ('SIP:ALICE@AtLanTa.CoM;Transport=udp', 'sip:alice@AtLanTa.CoM;Transport=UDP'),
    ('sip:bob@biloxi.com', 'sip:bob@biloxi.com:5060'),
    ('sip:bob@biloxi.com', 'sip:bob@biloxi.com;transport=udp'),
    ('sip:bob@biloxi.com', 'sip:bob@biloxi.com:6000;transport=tcp'),
    ('sip:carol@chicago.com', 'sip:carol@chicago.com?Subject=next%20meeting'),
    ('sip:bob@phone21.boxesbybob.com', 'sip:bob@192.0.2.4'),
    ('sip:carol@chicago.com;security=on', 'sip:carol@chicago.com;security=off'),
    ('sip:a@h', 'sips:a@h'),
    ('sip:a@h', 'sip:h'),
    ('sip:a@h', 'sip:a:@h'),
    ('sip:a:b@h', 'sip:a:B@h'),
    ('sip:a@h;user=phone', 'sip:a@h'),
    ('sip:a@h;ttl=1', 'sip:a@h'),
    ('sip:a@h;method=INVITE', 'sip:a@h'),
    ('sip:a@h', 'sip:a@h;maddr=1.2.3.4'),
    ('sip:a%3Bb@h', 'sip:a;b@h'),            # reserved characters differ from their escapes
    ('sip:null-%00-null@h', 'sip:null-null@h'),
    ('sip:%00@h', 'sip:%00%00@h'),
    ('sip:a@[2001:db8::1]', 'sip:a@[2001:db8::2]'),
    ('tel:+1', 'tel:1'),
    ('tel:+1', 'sip:+1@h'),
    ('tel:1;phone-context=a.com', 'tel:1;phone-context=b.com'),
    ('tel:1;x=y', 'tel:1'),
    ('http://a', 'http://A'),
]


@pytest.mark.parametrize(('one', 'two'), EQUAL)
def test_equal(one: str, two: str) -> None:
    first, second = parse_uri(one), parse_uri(two)
    assert first == second and second == first
    assert hash(first) == hash(second)


@pytest.mark.parametrize(('one', 'two'), DIFFERENT)
def test_different(one: str, two: str) -> None:
    assert parse_uri(one) != parse_uri(two)
    assert parse_uri(two) != parse_uri(one)


def test_equality_is_not_transitive() -> None:
    on, off, neither = (parse_uri(f'sip:carol@chicago.com{tail}') for tail in (';security=on', ';security=off', ''))
    assert on == neither and off == neither and on != off
    assert len({hash(on), hash(off), hash(neither)}) == 1


def test_made_from_parts_is_escaped() -> None:
    uri = SipUri('a b@c:d"<>', 'h', 5060, {'x y': 'a;b=c', 'lr': None}, [('Route', '<sip:x&y;lr>')], password='p:w')
    assert str(uri) == ('sip:a%20b%40c%3Ad%22%3C%3E:p%3Aw@h:5060;x%20y=a%3Bb%3Dc;lr'
                        '?Route=%3Csip:x%26y%3Blr%3E')
    again = sip(str(uri))
    assert again.user == 'a b@c:d"<>' and again.password == 'p:w'
    assert again.params == {'x y': 'a;b=c', 'lr': None} and again.headers == (('Route', '<sip:x&y;lr>'),)
    assert str(SipUri(None, '2001:db8::1', 5060)) == 'sip:[2001:db8::1]:5060'
    assert str(SipUri(None, '[2001:db8::1]')) == 'sip:[2001:db8::1]'
    assert str(SipUri('a\r\nb\0', 'h')) == 'sip:a%0D%0Ab%00@h'
    assert str(TelUri('+1-2', {'ext': '3'})) == 'tel:+1-2;ext=3'


def test_what_cannot_be_made() -> None:
    for make in (lambda: SipUri('', 'h'), lambda: SipUri('a', ''), lambda: SipUri('a', 'h h'),
                 lambda: SipUri('a', 'h', 65536), lambda: SipUri('a', 'h', scheme='http'),
                 lambda: SipUri('a', 'h\r\n'), lambda: TelUri('x'), lambda: OtherUri('a b', 'c'),
                 lambda: SipUri('a', 'h', params={'': 'x'}),
                 lambda: OtherUri('sip', 'a@b'), lambda: OtherUri('x', 'a\r\nb')):
        with pytest.raises(UsageError):
            make()


def test_replace_keeps_what_is_not_changed() -> None:
    uri = sip('sip:%61:p%20@h:5061;a%62=c;lr?x=%79')
    assert str(uri.replace(host='other')) == 'sip:%61:p%20@other:5061;a%62=c;lr?x=%79'
    assert str(uri.replace(user='b c', port=None)) == 'sip:b%20c:p%20@h;a%62=c;lr?x=%79'
    assert str(uri.replace(user=None, password=None, params={}, headers=())) == 'sip:h:5061'
    assert str(uri.replace(scheme='sips')).startswith('sips:')
    assert str(uri) == 'sip:%61:p%20@h:5061;a%62=c;lr?x=%79'
    with pytest.raises(TypeError):
        uri.replace(hosts='x')
    with pytest.raises(UsageError):
        uri.replace(host='a b')


def test_shortcuts() -> None:
    uri = sip('sip:h;transport=tcp;lr;x=;maddr=1.2.3.4')
    assert (uri.lr, uri.transport, uri.param('x'), uri.param('lr'), uri.param('y')) == (True, 'TCP', '', '', None)
    assert (uri.host_port, sip('sip:[::1]:5').host_port) == ('h', '[::1]:5')
    assert not sip('sip:h').lr and sip('sip:h').transport is None
    assert uri.is_sip and not parse_uri('tel:+1').is_sip and not parse_uri('urn:service:sos').is_sip


def test_the_memory_of_uris_is_bounded() -> None:
    for number in range(10_000):
        parse_uri(f'sip:{number}@example.com')
    parse_uri('sip:' + 'a' * 60_000 + '@example.com')
    assert len(uri_module._recent) <= MEMORY
    assert max(map(len, uri_module._recent)) <= MEMORY_LENGTH


@pytest.mark.parametrize('text', [
    'sip:' + 'a' * 60_000, 'sip:' + 'a:' * 30_000, 'sip:' + 'a@' * 30_000, 'sip:a@' + 'b:' * 30_000,
    'sip:a@b' + ';c' * 30_000 + ' ', 'sip:a@b' + ';' * 60_000, 'sip:a@b?' + 'c&' * 30_000 + ' ',
    'tel:+' + '1' * 60_000 + '+', 'tel:' + '-' * 60_000, 'sip:' + '%' * 60_000 + '@h', 'x' * 60_000,
    'sip:a@[' + ':' * 60_000 + ']', 'sip:a@' + '1.' * 30_000 + ' '])
def test_long_texts_take_linear_time(text: str) -> None:
    start = time.process_time()
    try:
        uri = parse_uri(text)
    except ParseError:
        pass
    else:
        str(uri), uri.user, uri.params, uri.headers, hash(uri)
    # a quadratic look at 60 000 characters takes many seconds
    assert time.process_time() - start < 2
