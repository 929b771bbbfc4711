"""The access list."""

from __future__ import annotations

import pytest

from greensip.b2bua import access
from greensip.b2bua.access import AccessList
from greensip.errors import ParseError


@pytest.mark.parametrize(('text', 'address', 'allowed'), [
    ('192.0.2.1', '192.0.2.1', True),
    ('192.0.2.1', '192.0.2.2', False),
    (' 192.0.2.1 , 192.0.2.3', '192.0.2.3', True),
    ('10.0.0.0/8', '10.200.3.4', True),
    ('10.0.0.0/8', '11.0.0.1', False),
    ('10.1.2.3/8', '10.200.3.4', True),
    ('[::1]', '::1', True),
    ('2001:db8::/32', '2001:db8:1::5', True),
    ('2001:db8::/32', '2001:db9::5', False),
    ('192.0.2.1', '::ffff:192.0.2.1', True),
    ('[[WSS]],192.0.2.1', '192.0.2.1', True),
    ('[[WSS]]', '192.0.2.1', False),
    ('', '192.0.2.1', False),
])
def test_who_may_call(text: str, address: str, allowed: bool) -> None:
    access_list = AccessList(text)
    # The second answer comes from memory.
    assert [address in access_list, address in access_list] == [allowed, allowed]


@pytest.mark.parametrize('text', ['pbx.example.com', '1.2.3', '10.0.0.0/40', '1.2.3.4,x'])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match='not an address or network'):
        AccessList(text)


def test_a_flood_of_addresses_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, '_REMEMBERED', 10)
    access_list = AccessList('10.0.0.0/8')
    assert not any(f'192.0.2.{number}' in access_list for number in range(200))
    assert len(access_list.answers) <= 10
