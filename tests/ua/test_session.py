"""Session descriptions that go on from one another (RFC 3264 8)."""

from __future__ import annotations

import pytest

from greensip.ua.session import continued

from .conftest import SDP, sdp_of_port

BEFORE = sdp_of_port(6000).replace(b'o=- 1 1 IN IP4 10.9.9.9', b'o=bob 77 41 IN IP4 10.1.1.1')


@pytest.mark.parametrize(('sdp', 'before', 'after'), [
    # another's description gets our origin, in its next version
    (SDP, BEFORE, SDP.replace(b'o=- 1 1 IN IP4 10.9.9.9', b'o=bob 77 42 IN IP4 10.1.1.1')),
    # one that says the same has the same version
    (BEFORE.replace(b'bob 77 41', b'carol 1 9'), BEFORE, BEFORE),
    (BEFORE, BEFORE, BEFORE),
    # nothing to go on from, nothing to go on with, and what is no session description
    (SDP, b'', SDP),
    (b'', BEFORE, b''),
    (b'v=0\r\no=\r\n', BEFORE, b'v=0\r\no=\r\n'),
    (SDP, b'o=- x y IN IP4 h\r\n', SDP),
    (SDP, BEFORE.replace(b' 41 ', b' ' + 5000 * b'9' + b' '), SDP),
])
def test_the_next_version_of_a_session(sdp, before, after):
    assert continued(sdp, before) == after
