"""Header fields and bodies as scripts give them."""

from __future__ import annotations

import pytest

from greensip.errors import Busy, RemoteHangup, UsageError, WaitTimeout
from greensip.message import Response
from greensip.ua.fields import (
    Headers,
    body_of,
    fields_of,
    passable,
    reason_field,
    reason_of,
    response_of,
    sdp_bytes,
)


@pytest.mark.parametrize(('headers', 'pairs'), [
    (None, ()),
    ({}, ()),
    ({'X-Id': 7, 'X-List': ['a', 'b']}, [('X-Id', '7'), ('X-List', 'a'), ('X-List', 'b')]),
    ([('A', 'x'), ('A', 'y')], [('A', 'x'), ('A', 'y')]),
])
def test_shapes(headers, pairs):
    assert fields_of(headers) == pairs


@pytest.mark.parametrize('headers', [7, 'Subject', ['Subject: x'], [('a',)]])
def test_other_shapes_are_refused(headers):
    with pytest.raises(UsageError, match='headers='):
        fields_of(headers)


@pytest.mark.parametrize('text', ['a\r\nVia: b', 'a\nb', 'a\rb', 'a\0b'])
def test_nothing_is_injected(text):
    with pytest.raises(UsageError, match='CR, LF or NUL'):
        fields_of({'X': text})
    with pytest.raises(UsageError, match='CR, LF or NUL'):
        reason_field(text)


def test_what_cannot_be_written_is_refused_at_once():
    """Half of a surrogate pair, as JSON may have it; names that are none."""
    for refused in (lambda: fields_of({'X': 'a\ud800'}), lambda: fields_of({'a b': 'x'}),
                    lambda: fields_of([('X\r\nY', 'x')]), lambda: reason_field('\ud800'), lambda: sdp_bytes('\ud800'),
                    lambda: body_of('\ud800', None, 'text/plain'), lambda: body_of('x', 'text/\ud800', ''),
                    lambda: body_of('x', 'text/plain\r\nX: y', '')):
        with pytest.raises(UsageError):
            refused()
    # Octets of a peer that are no UTF-8 come back as they were.
    assert fields_of({'X': 'é\udcff'}) == [('X', 'é\udcff')] and sdp_bytes('é\udcff') == b'\xc3\xa9\xff'


@pytest.mark.parametrize(('reason', 'text'), [
    (None, None), ('', None),
    ('Q.850;cause=16', 'Q.850;cause=16'),
    ('SIP ;cause=200;text="Call completed elsewhere"', 'SIP ;cause=200;text="Call completed elsewhere"'),
    ('Q.850', 'Q.850'),
    ('lunch', 'SIP;text="lunch"'),
    ('he said "no"; twice', 'SIP;text="he said \\"no\\"; twice"'),
])
def test_reason(reason, text):
    assert reason_field(reason) == text


def test_the_reason_of_an_error():
    response = Response(486, fields=[('Reason', 'Q.850;cause=17')])
    assert reason_of(RemoteHangup('Q.850;cause=16')) == 'Q.850;cause=16'
    assert reason_of(RemoteHangup()) is None
    assert reason_of(Busy(486, 'Busy Here', response)) == 'Q.850;cause=17'
    assert reason_of(Busy(486)) == 'SIP;cause=486'
    assert reason_of(WaitTimeout('x')) == 'SIP;cause=408'
    assert reason_of(KeyError()) is None


def test_what_passes_from_leg_to_leg():
    response = Response(302, fields=[
        ('v', 'SIP/2.0/UDP x'), ('f', '<sip:a@b>'), ('m', '<sip:c@d>'), ('k', 'timer'), ('l', '0'), ('c', 'text/plain'),
        ('Warning', '399 x "y"'), ('X-Own', '1'), ('x-own', '2'), ('Server', 's')])
    assert passable(response) == [('Warning', '399 x "y"'), ('X-Own', '1'), ('x-own', '2')]
    assert ('m', '<sip:c@d>') in passable(response, contact=True)


def test_like():
    response = Response(486)
    assert response_of(None) is None
    assert response_of(response) is response_of(Busy(486, '', response)) is response
    assert response_of(Busy(486)) is None
    with pytest.raises(UsageError):
        response_of('486')


def test_headers_of_nothing():
    empty = Headers(None)
    assert (len(empty), list(empty), empty.all('Via'), empty.get('Via')) == (0, [], [], None)
