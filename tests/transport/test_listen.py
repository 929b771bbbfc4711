"""Places to listen at as text, the cache of what was used recently, keep-alives."""

from __future__ import annotations

import pytest

from greensip.errors import UsageError
from greensip.transport.base import (
    Listen,
    Recent,
    is_keep_alive,
    read_count,
    read_options,
    read_seconds,
    read_switch,
    read_text,
)


@pytest.mark.parametrize(('text', 'expected', 'canonical'), [
    ('udp:127.0.0.1:5080', ('UDP', '127.0.0.1', 5080, None), 'udp:127.0.0.1:5080'),
    ('udp:127.0.0.1', ('UDP', '127.0.0.1', 5060, None), 'udp:127.0.0.1:5060'),
    (' UDP:*:5070 ', ('UDP', '0.0.0.0', 5070, None), 'udp:0.0.0.0:5070'),
    ('udp::5070', ('UDP', '0.0.0.0', 5070, None), 'udp:0.0.0.0:5070'),
    ('udp:[::1]:0', ('UDP', '::1', 0, None), 'udp:[::1]:0'),
    ('udp:[::]', ('UDP', '::', 5060, None), 'udp:[::]:5060'),
    ('tls:10.0.0.1', ('TLS', '10.0.0.1', 5061, None), 'tls:10.0.0.1:5061'),
    ('udp:pbx.example.com:5060', ('UDP', 'pbx.example.com', 5060, None), 'udp:pbx.example.com:5060'),
    ('udp:0.0.0.0:5060;advertise=203.0.113.5', ('UDP', '0.0.0.0', 5060, ('203.0.113.5', 5060)),
     'udp:0.0.0.0:5060;advertise=203.0.113.5:5060'),
    ('udp:[::]:5060;advertise=[2001:db8::5]:5070', ('UDP', '::', 5060, ('2001:db8::5', 5070)),
     'udp:[::]:5060;advertise=[2001:db8::5]:5070'),
    ('udp:[::]:5060;advertise=2001:db8::5', ('UDP', '::', 5060, ('2001:db8::5', 5060)),
     'udp:[::]:5060;advertise=[2001:db8::5]:5060'),
])
def test_places(text: str, expected: tuple[object, ...], canonical: str) -> None:
    place = Listen.parse(text)
    assert tuple(place) == (*expected, ())
    assert str(place) == canonical
    assert Listen.parse(canonical) == place


@pytest.mark.parametrize(('text', 'options', 'canonical'), [
    ('tls:127.0.0.1?cert=/a/b.pem&key=/a/k.pem', (('cert', '/a/b.pem'), ('key', '/a/k.pem')),
     'tls:127.0.0.1:5061?cert=/a/b.pem&key=/a/k.pem'),
    ('tcp:*?alias', (('alias', ''),), 'tcp:0.0.0.0:5060?alias='),
    ('tls:*?cert=a%26b', (('cert', 'a&b'),), 'tls:0.0.0.0:5061?cert=a%26b'),
    ('tcp:*?alias=1&advertise=192.0.2.1:5070', (('alias', '1'),), 'tcp:0.0.0.0:5060;advertise=192.0.2.1:5070?alias=1'),
    ('wss:*?path=/sip', (('path', '/sip'),), 'wss:0.0.0.0:443?path=/sip'),
])
def test_options_of_a_place(text: str, options: tuple[tuple[str, str], ...], canonical: str) -> None:
    place = Listen.parse(text)
    assert place.options == options
    assert str(place) == canonical
    assert Listen.parse(canonical) == place


KNOWN = {'idle': read_seconds, 'connections': read_count, 'alias': read_switch, 'cert': read_text}


def test_options_have_values() -> None:
    place = Listen.parse('tcp:*?idle=2.5&connections=7&alias&cert=x')
    assert read_options(place, KNOWN) == {'idle': 2.5, 'connections': 7, 'alias': True, 'cert': 'x'}
    assert read_options(Listen.parse('tcp:*?alias=off'), KNOWN) == {'alias': False}


@pytest.mark.parametrize(('options', 'part'), [
    ('idel=3', "tcp has no option 'idel', only advertise, alias, cert, connections, idle"),
    ('idle=1&idle=2', 'idle is there twice'), ('idle=soon', 'write seconds'), ('idle=-1', 'write seconds'),
    ('idle=nan', 'write seconds'), ('connections=0', 'at least 1'), ('alias=maybe', 'write 1 or 0'),
    ('cert=', 'the value is missing'),
])
def test_an_option_that_makes_no_sense_is_a_sentence(options: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_options(Listen.parse(f'tcp:127.0.0.1?{options}'), KNOWN)
    assert str(caught.value).startswith('cannot listen on tcp:127.0.0.1:5060?')
    assert part in str(caught.value)


@pytest.mark.parametrize('text', [
    'tcp:*?=x', 'tcp:*?&',
    '', 'udp', '127.0.0.1:5060', 'udp:127.0.0.1:port', 'udp:127.0.0.1:70000', 'udp:::1:5060', 'udp:127.0.0.1 5060',
    'udp:127.0.0.1:5060;foo=1', 'udp:0.0.0.0:5060;advertise=a b', 'udp:0.0.0.0:5060;advertise=203.0.113.5:99999',
])
def test_what_cannot_be_read_is_a_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Listen.parse(text)
    assert str(caught.value).startswith('cannot ')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('data', 'expected'), [
    (b'\r\n', True), (b'\r\n\r\n', True), (b'\0\0\0\0', True), (b'\0', True), (b'', True), (b' ', True),
    (b'\r\n\r\n\r\n', False), (b'jaK\0', False), (b'BYE', False),
])
def test_keep_alives(data: bytes, expected: bool) -> None:
    assert is_keep_alive(data) is expected


def test_recent_keeps_what_is_used_and_stays_small() -> None:
    cache: Recent[int, str] = Recent(10)
    cache.put(-1, 'used')
    for number in range(1000):
        cache.put(number, str(number))
        assert cache.get(-1) == 'used'
        assert len(cache) <= 20
    assert cache.get(999) == '999'
    assert cache.get(500) is None
