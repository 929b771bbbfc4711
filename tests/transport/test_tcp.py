"""TCP as a place to listen at; what connections do is in ``test_stream.py``."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from greensip.dialog import Core
from greensip.errors import TransportError
from greensip.transport import Endpoint
from greensip.transport.tcp import TcpTransport

Opened = Callable[..., Endpoint]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens endpoints that are closed at the end."""
    endpoints: list[Endpoint] = []

    def open_endpoint(*places: str) -> Endpoint:
        endpoint = Endpoint(Core(random=random.Random(1)), places)
        endpoints.append(endpoint)
        endpoint.start()
        return endpoint

    yield open_endpoint
    for endpoint in endpoints:
        endpoint.close()


@pytest.mark.parametrize(('place', 'host', 'family'), [
    ('tcp:127.0.0.1:0', '127.0.0.1', 4), ('tcp:[::1]:0', '[::1]', 6),
])
def test_what_peers_are_told(opened: Opened, place: str, host: str, family: int) -> None:
    point = opened(place).points[0]
    port = point.address[1]
    assert (point.transport, point.reliable, point.secure, point.family) == ('TCP', True, False, family)
    assert point.via_prefix == f'SIP/2.0/TCP {host}:{port};rport;branch='
    assert point.contact_params == ';transport=tcp'


def test_the_same_port_for_all(opened: Opened, free_port: Callable[[], int]) -> None:
    port = free_port()
    endpoint = opened(f'udp:0.0.0.0:{port}', f'tcp:0.0.0.0:{port}', f'udp:[::]:{port}', f'tcp:[::]:{port}')
    assert [point.address[1] for point in endpoint.points] == [port] * 4


def test_a_port_in_use_is_refused_with_a_sentence(opened: Opened) -> None:
    port = opened('tcp:127.0.0.1:0').points[0].address[1]
    with pytest.raises(TransportError) as caught:
        opened(f'tcp:127.0.0.1:{port}')
    assert str(caught.value) == f'cannot listen on tcp:127.0.0.1:{port}: address already in use'


def test_an_address_of_somebody_else_is_refused(opened: Opened) -> None:
    with pytest.raises(TransportError, match=r'^cannot listen on tcp:192\.0\.2\.1:5060: cannot assign'):
        opened('tcp:192.0.2.1:5060')


def test_each_has_limits_of_its_own(opened: Opened) -> None:
    endpoint = opened('tcp:127.0.0.1:0?idle=60&per_source=10', 'tcp:127.0.0.1:0')
    first, second = endpoint.transports
    assert isinstance(first, TcpTransport) and isinstance(second, TcpTransport)
    assert (first.idle, first.per_source) == (60.0, 10)
    assert (second.idle, second.per_source) == (3900.0, 5000)
