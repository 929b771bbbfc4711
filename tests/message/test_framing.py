"""Streams: every way of cutting one into pieces gives the same messages."""

from __future__ import annotations

import random

import pytest

from greensip.errors import ParseError
from greensip.message import PING, PONG, KeepAlive, Limits, Message, StreamFramer, parse_message

INVITE = b'INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nContent-Length: 9\r\n\r\nv=0\r\n\r\n\r\n'
OPTIONS = b'OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK2\r\nl: 0\r\n\r\n'
OK = b'SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK3\r\nSubject: a\r\n b\r\nContent-Length : 3\r\n\r\nabc'
NO_LENGTH = b'BYE sip:b@h SIP/2.0\r\nCall-ID: x\r\n\r\n'
BROKEN = b'INVITE sip:b@h SIP/2.0\r\nbroken\r\nCall-ID: y\r\nContent-Length: 2\r\n\r\nxy'
STREAM = b'\r\n\r\n' + INVITE + OPTIONS + b'\r\n' + OK + b'\r\n\r\n\r\n' + NO_LENGTH + BROKEN + INVITE + b'\r\n'


def show(item: object) -> object:
    if isinstance(item, KeepAlive):
        return item
    if isinstance(item, ParseError):
        assert isinstance(item.message, Message)
        return (item.what, item.message.body, item.message.fields)
    assert isinstance(item, Message)
    return (item.start_line, item.fields, item.body)


WHOLE = [show(item) for item in StreamFramer().feed(STREAM)]


def test_one_piece() -> None:
    kinds = [item if isinstance(item, KeepAlive) else item[0] for item in WHOLE]
    assert kinds == [PONG, PING, 'INVITE sip:b@h SIP/2.0', 'OPTIONS sip:b@h SIP/2.0', PONG, 'SIP/2.0 200 OK',
                     PONG, PING, PONG, 'BYE sip:b@h SIP/2.0', 'broken header field', 'INVITE sip:b@h SIP/2.0', PONG]
    for data in (INVITE, OPTIONS, OK):
        assert show(parse_message(data)) in WHOLE


def test_every_split_point() -> None:
    for cut in range(len(STREAM) + 1):
        framer = StreamFramer()
        items = framer.feed(STREAM[:cut]) + framer.feed(STREAM[cut:])
        assert [show(item) for item in items] == WHOLE
        assert framer.idle and framer.error is None


def test_octet_by_octet() -> None:
    framer = StreamFramer()
    items = [item for index in range(len(STREAM)) for item in framer.feed(STREAM[index:index + 1])]
    assert [show(item) for item in items] == WHOLE


def test_random_pieces() -> None:
    numbers = random.Random(3261)
    for _ in range(300):
        framer = StreamFramer()
        items = []
        rest = STREAM
        while rest:
            size = numbers.choice((1, 2, 3, 5, 20, 100))
            items += framer.feed(rest[:size])
            rest = rest[size:]
        assert [show(item) for item in items] == WHOLE


def test_the_octets_of_each_thing_for_those_who_look() -> None:
    for cut in range(len(STREAM) + 1):
        framer = StreamFramer()
        framer.octets = []
        framer.feed(STREAM[:cut])
        framer.feed(STREAM[cut:])
        assert b''.join(framer.octets) == STREAM
        assert len(framer.octets) == len(WHOLE)


def test_who_looks_too_late_does_not_see_half_a_message() -> None:
    for cut in range(1, len(INVITE)):
        framer = StreamFramer()
        framer.feed(INVITE[:cut])
        framer.octets = []
        framer.feed(INVITE[cut:] + OPTIONS)
        assert framer.octets in ([b'', OPTIONS], [INVITE, OPTIONS])


def test_idle() -> None:
    framer = StreamFramer()
    assert framer.idle
    assert framer.feed(INVITE[:-1]) == [] and not framer.idle
    assert len(framer.feed(INVITE[-1:])) == 1 and framer.idle
    framer.feed(b'\r')
    assert not framer.idle
    assert framer.feed(b'\n') == [PONG] and framer.idle


LOST = [
    (b'GET / HTTP/1.0\r\n\r\n', 400, False),
    (b'INVITE sip:b@h SIP/2.0\r\nContent-Length: -5\r\n\r\n', 400, True),
    (b'INVITE sip:b@h SIP/2.0\r\nContent-Length: 13\r\nl: 5\r\n\r\n', 400, True),
    (b'INVITE sip:b@h SIP/2.0\r\nContent-Length: x\r\n\r\n', 400, True),
    (b'INVITE sip:b@h SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n', 400, True),
    (b'INVITE sip:b@h SIP/2.0\r\nContent-Length: 70000\r\n\r\n', 513, True),
    (b'INVITE sip:b@h SIP/2.0\r\nSubject: a\nb\r\n\r\n', 400, False),
    (b'INVITE sip:b@h SIP/2.0\r\nSubject: a\rb\r\n\r\n', 400, False),
    (b'\rx', 400, False),
    (b'x' * 33_000, 513, False),
    (b'INVITE sip:b@h SIP/2.0\r\nSubject: ' + b'x' * 33_000 + b'\r\n\r\n', 513, False),
]


@pytest.mark.parametrize(('data', 'status', 'message'), LOST, ids=lambda value: repr(value)[:50])
def test_framing_is_lost(data: bytes, status: int, message: bool) -> None:
    framer = StreamFramer()
    with pytest.raises(ParseError) as caught:
        framer.feed(data)
    assert caught.value.status == status and (caught.value.message is not None) is message
    assert framer.error is caught.value
    # and stays so
    with pytest.raises(ParseError):
        framer.feed(OPTIONS)


@pytest.mark.parametrize(('data', 'status', 'message'), LOST[:9], ids=lambda value: repr(value)[:50])
def test_what_came_before_is_not_lost(data: bytes, status: int, message: bool) -> None:
    for cut in range(len(OPTIONS + data) + 1):
        framer = StreamFramer()
        items = []
        with pytest.raises(ParseError):
            for piece in ((OPTIONS + data)[:cut], (OPTIONS + data)[cut:], b''):
                items += framer.feed(piece)
        assert [show(item) for item in items] == [show(parse_message(OPTIONS))]
        assert framer.error is not None and framer.error.status == status


def test_limits() -> None:
    framer = StreamFramer(Limits(message=10, head=100, fields=3))
    assert len(framer.feed(OPTIONS)) == 1
    assert len(framer.feed(INVITE)) == 1
    item, = framer.feed(b'BYE sip:b@h SIP/2.0\r\nA: 1\r\nB: 2\r\nZ: 3\r\nD: 4\r\n\r\n')
    assert isinstance(item, ParseError) and item.what == 'too many header fields'
    with pytest.raises(ParseError):
        framer.feed(INVITE.replace(b': 9', b': 11'))


def test_head_at_its_limit() -> None:
    """Whether the head fits does not depend on how it was cut."""
    head = OPTIONS[:-4]
    for size, fits in ((len(head), True), (len(head) - 1, False)):
        for cut in range(len(OPTIONS)):
            framer = StreamFramer(Limits(head=size))
            try:
                items = framer.feed(OPTIONS[:cut]) + framer.feed(OPTIONS[cut:])
            except ParseError:
                assert not fits
            else:
                assert fits and len(items) == 1
