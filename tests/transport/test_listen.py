"""Places to listen at as text, the cache of what was used recently, keep-alives."""

from __future__ import annotations

import pytest

from greensip.errors import UsageError
from greensip.transport.base import Listen, Recent, is_keep_alive


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
    assert tuple(place) == expected
    assert str(place) == canonical
    assert Listen.parse(canonical) == place


@pytest.mark.parametrize('text', [
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
