"""Where messages leave from: addresses with scopes, and what the system is told and tells beside a datagram."""

from __future__ import annotations

import socket
import sys

import pytest

from greensip.transport.sources import (
    ANCILLARY,
    SocketAddress,
    ask_for_destinations,
    destination_of,
    is_link_local,
    leaving_from,
    scoped,
)


@pytest.mark.parametrize(('host', 'scope', 'expected'), [
    ('192.0.2.1', 3, ('192.0.2.1', 5060)), ('2001:db8::1', 0, ('2001:db8::1', 5060, 0, 0)),
    ('fe80::1', 3, ('fe80::1', 5060, 0, 3)), ('fe80::1%7', 3, ('fe80::1', 5060, 0, 7)),
    ('fe80::1%lo', 0, ('fe80::1', 5060, 0, socket.if_nametoindex('lo'))),
])
def test_addresses_as_the_system_takes_them(host: str, scope: int, expected: SocketAddress) -> None:
    assert scoped(host, 5060, scope) == expected


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(OSError, match='no interface'):
        scoped('fe80::1%nothing0', 5060)


@pytest.mark.parametrize(('host', 'local'), [
    ('fe80::1', True), ('FEBF::1', True), ('fec0::1', False), ('fe8', False), ('2001:db8::1', False),
    ('169.254.0.1', False),
])
def test_which_addresses_are_link_local(host: str, local: bool) -> None:
    assert is_link_local(host) is local


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells')
@pytest.mark.parametrize(('family', 'everywhere', 'host'), [
    (socket.AF_INET, '0.0.0.0', '127.0.0.9'), (socket.AF_INET6, '::', '::1'),
])
def test_the_address_that_was_called(family: socket.AddressFamily, everywhere: str, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as server, socket.socket(family, socket.SOCK_DGRAM) as client:
        for each in (server, client):
            each.settimeout(5.0)
        server.bind((everywhere, 0))
        assert ask_for_destinations(server)
        client.connect((host, server.getsockname()[1]))
        client.send(b'hello')
        _, ancillary, _, sender = server.recvmsg(100, ANCILLARY)
        assert destination_of(ancillary) == host
        server.sendmsg([b'answer'], leaving_from(host), 0, sender)
        assert client.recv(100) == b'answer'


def test_a_destination_that_is_none_of_ours() -> None:
    group = socket.inet_pton(socket.AF_INET6, 'ff02::1') + bytes(4)
    assert destination_of([(socket.IPPROTO_IPV6, 50, group)]) is None
    assert destination_of([]) is None
    assert destination_of([(socket.IPPROTO_IP, 8, b'short')]) is None
