"""A world of user agents and proxies in virtual time, whose ladder is compared with the RFC's drawing."""

from __future__ import annotations

import pytest

from greensip.testing import Network

from .proxy import Proxy

SDP = (b'v=0\r\no=u 1 1 IN IP4 192.0.2.101\r\ns=-\r\nc=IN IP4 192.0.2.101\r\nt=0 0\r\n'
       b'm=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n')


class World(Network):
    """A ``Network`` that can make proxies too."""

    def proxy(self, name, **options):
        proxy = Proxy(self.generator(name), **options)
        self.endpoint(name, proxy)
        return proxy

    def route(self, name):
        """A Route value that leads to a proxy."""
        return f'<sip:{self.address(name)}:5060;lr>'


@pytest.fixture
def net():
    with World() as made:
        yield made
