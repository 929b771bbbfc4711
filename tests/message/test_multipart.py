"""Multipart bodies: boundary rules, nesting, and the session description found among the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.errors import ParseError, UsageError
from greensip.message import LIMITS
from greensip.message.multipart import Part, find_part, make_multipart, parse_multipart, walk

SDP = b'v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\n'

#: RFC 3204 3.2 style: a session description and ISUP, which is binary
ISUP = bytes(range(256))
MIXED = (b'this is a preamble\r\n--not the boundary\r\n--unique-boundary-1\r\n'
         b'Content-Type: application/SDP; charset=ISO-10646\r\n\r\n' + SDP + b'\r\n--unique-boundary-1  \r\n'
         b'Content-type:application/ISUP; version=nxv3;\r\n base=etsi121\r\n'
         b'Content-Disposition: signal; handling=optional\r\nContent-ID: <isup@h>\r\n\r\n' + ISUP
         + b'\r\n--unique-boundary-1--\r\nan epilogue\r\n--unique-boundary-1\r\nno part\r\n')
TYPE = 'multipart/mixed; boundary=unique-boundary-1'


def test_a_body_of_two_parts() -> None:
    sdp, isup = parse_multipart(TYPE, MIXED)
    assert (sdp.body, isup.body) == (SDP, ISUP)
    assert sdp.content_type.essence == 'application/sdp' and sdp.disposition == 'session'
    assert isup.get('CONTENT-TYPE') == 'application/ISUP; version=nxv3; base=etsi121'
    assert isup.content_type.param('base') == 'etsi121'
    assert (isup.disposition, isup.content_id, sdp.content_id) == ('signal', 'isup@h', None)


BODIES = [
    ('no preamble', b'--b\r\n\r\none\r\n--b--', [b'one']),
    ('epilogue', b'--b\r\n\r\none\r\n--b--\r\nx', [b'one']),
    ('bare LF', b'--b\n\none\n--b\nA: 1\n\ntwo\n--b--\n', [b'one', b'two']),
    ('a part ends in a line end of its own', b'--b\r\n\r\none\r\n\r\n--b--', [b'one\r\n']),
    ('an empty part', b'--b\r\n\r\n\r\n--b--', [b'']),
    ('no blank line and no body', b'--b\r\nContent-ID: <x>\r\n--b--', [b'']),
    ('nothing at all between delimiters', b'--b\r\n--b\r\n\r\nx\r\n--b--', [b'', b'x']),
    ('a longer line is no delimiter', b'--b\r\n\r\n--bc\r\n--b-\r\n--b--x\r\n --b\r\nx--b\r\n--b--',
     [b'--bc\r\n--b-\r\n--b--x\r\n --b\r\nx--b']),
    ('padding', b'--b \t\r\n\r\none\r\n--b-- \t \r\n', [b'one']),
    ('the last delimiter is missing', b'--b\r\n\r\none\r\n--b\r\n\r\ntwo', [b'one', b'two']),
    ('ended by a delimiter that is not closed', b'--b\r\n\r\none\r\n--b', [b'one', b'']),
    ('no parts', b'--b--', []),
    ('a NUL and what is no UTF-8', b'--b\r\n\r\n\0\xff\r\n--b--', [b'\0\xff']),
]


@pytest.mark.parametrize(('body', 'parts'), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_delimiters(body: bytes, parts: list[bytes]) -> None:
    assert [part.body for part in parse_multipart('multipart/mixed;boundary=b', body)] == parts


@pytest.mark.parametrize(('content_type', 'body', 'what'), [
    ('text/plain;boundary=b', b'--b--', 'not a multipart'),
    ('multipart/mixed', b'--b--', 'no usable boundary'),
    ('multipart/mixed;boundary=', b'--b--', 'no usable boundary'),
    ('multipart/mixed;boundary="b "', b'--b --', 'no usable boundary'),
    ('multipart/mixed;boundary=' + 'b' * 71, b'--' + b'b' * 71 + b'--', 'no usable boundary'),
    ('multipart/mixed;boundary=b', b'', 'without its delimiter'),
    ('multipart/mixed;boundary=b', b'--B--', 'without its delimiter'),
    ('multipart/mixed;boundary=b', b' --b--', 'without its delimiter'),
    ('multipart/mixed;boundary=b', b'--b\r\nno field\r\n\r\nx\r\n--b--', 'broken head'),
    ('multipart/mixed;boundary=b', b'--b\r\n: x\r\n\r\nx\r\n--b--', 'broken head'),
    ('multipart/mixed;boundary=b', b'--b\r\n folded\r\n\r\nx\r\n--b--', 'broken head'),
    ('multipart', b'--b--', 'media type'),
])
def test_what_cannot_be_read(content_type: str, body: bytes, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse_multipart(content_type, body)
    assert find_part(content_type, body, 'application/sdp') is None


def test_boundary_is_taken_literally() -> None:
    """It may hold what means something in a regular expression, and blanks."""
    odd = "a.b+c?(d) e'f"
    parts = parse_multipart(f'multipart/mixed;boundary="{odd}"', f'--{odd}\r\n\r\n--aXb+c?(d) e\r\n--{odd}--'.encode())
    assert [part.body for part in parts] == [b'--aXb+c?(d) e']


def test_as_many_parts_as_allowed() -> None:
    _, body = make_multipart([Part()] * LIMITS.parts, boundary='b')
    assert len(parse_multipart('multipart/mixed;boundary=b', body)) == LIMITS.parts
    _, body = make_multipart([Part()] * (LIMITS.parts + 1), boundary='b')
    with pytest.raises(ParseError, match='more than 64 parts') as caught:
        parse_multipart('multipart/mixed;boundary=b', body)
    assert caught.value.status == 513


def test_a_head_of_as_many_lines_as_allowed() -> None:
    for name, count in (('X: 1', LIMITS.fields), ('X: 1', LIMITS.fields + 1), (' x', LIMITS.fields)):
        body = f'--b\r\nA: b\r\n{(name + chr(13) + chr(10)) * (count - 1)}\r\nx\r\n--b--'.encode()
        if count <= LIMITS.fields:
            assert parse_multipart('multipart/mixed;boundary=b', body)[0].body == b'x'
        else:
            with pytest.raises(ParseError, match='more than 256 lines'):
                parse_multipart('multipart/mixed;boundary=b', body)


def nested(depth: int) -> tuple[str, bytes]:
    content_type, body = 'application/sdp', SDP
    for _ in range(depth):
        content_type, body = make_multipart([Part([('Content-Type', content_type)], body)])
    return content_type, body


def test_as_deep_as_allowed() -> None:
    content_type, body = nested(LIMITS.depth)
    assert [part.body for part in walk(content_type, body)] == [SDP]
    assert find_part(content_type, body, 'application/sdp') == SDP
    content_type, body = nested(LIMITS.depth + 1)
    with pytest.raises(ParseError, match='too deep') as caught:
        list(walk(content_type, body))
    assert caught.value.status == 513
    assert find_part(content_type, body, 'application/sdp') is None


# -- finding the session description

def part(content_type: str, body: bytes = b'x', *headers: tuple[str, str]) -> Part:
    return Part([('Content-Type', content_type), *headers], body)


EARLY = ('Content-Disposition', 'Early-Session; handling=optional')

FOUND = [
    ('beside others', 'mixed', [part('application/isup'), part('application/sdp', b'1'), part('text/plain')], b'1'),
    ('the first of several', 'mixed', [part('application/sdp', b'1'), part('application/sdp', b'2')], b'1'),
    ('the last alternative', 'alternative', [part('application/sdp', b'1'), part('Application/SDP', b'2')], b'2'),
    ('not that of an early-session', 'mixed', [part('application/sdp', b'1', EARLY), part('application/sdp', b'2')],
     b'2'),
    ('none but that of an early-session', 'mixed', [part('application/sdp', b'1', EARLY)], None),
    ('nested', 'mixed', [part('text/plain'), part(*make_multipart(
        [part('application/sdp', b'1'), part('application/sdpng')], 'alternative'))], b'1'),
    ('none', 'mixed', [part('text/plain'), Part()], None),
    ('base64', 'mixed', [part('application/sdp', b'dj0w\r\n', ('Content-Transfer-Encoding', 'BASE64'))], b'v=0'),
    ('quoted-printable', 'mixed', [part('application/sdp', b'v=3D0=\r\n!', ('Content-Transfer-Encoding',
                                                                          'quoted-printable'))], b'v=0!'),
    ('8bit', 'mixed', [part('application/sdp', b'v=0\r\n', ('Content-Transfer-Encoding', '8bit'))], b'v=0\r\n'),
    ('broken base64', 'mixed', [part('application/sdp', b'*', ('Content-Transfer-Encoding', 'base64'))], None),
    ('an unknown encoding', 'mixed', [part('application/sdp', b'1', ('Content-Transfer-Encoding', 'x-zip'))], None),
]


@pytest.mark.parametrize(('subtype', 'parts', 'expected'), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_find_part(subtype: str, parts: list[Part], expected: bytes | None) -> None:
    content_type, body = make_multipart(parts, subtype)
    assert find_part(content_type, body, 'application/sdp') == expected


def test_find_part_for_another_purpose() -> None:
    content_type, body = make_multipart([part('application/sdp', b'1'), part('application/sdp', b'2', EARLY),
                                         part('text/plain', b'3')])
    assert find_part(content_type, body, 'application/sdp', disposition='early-session') == b'2'
    assert find_part(content_type, body, 'text/plain') == b'3'
    assert find_part(content_type, body, 'text/plain', disposition='alert') is None


@pytest.mark.parametrize(('content_type', 'expected'), [
    ('application/sdp', b'x'), ('Application/SDP;charset=utf-8', b'x'), ('text/plain', None), ('', None), (None, None),
    ('broken', None),
])
def test_find_part_in_a_plain_body(content_type: str | None, expected: bytes | None) -> None:
    assert find_part(content_type, b'x', 'application/sdp') == expected


def test_types_that_are_not_said() -> None:
    """RFC 2046 5.1.5."""
    for subtype, default in (('mixed', 'text/plain'), ('digest', 'message/rfc822')):
        one, = parse_multipart(f'multipart/{subtype};boundary=b', b'--b\r\n\r\nx\r\n--b--')
        assert one.content_type.essence == default and one.disposition == 'render'


# -- making

def test_what_is_made() -> None:
    content_type, body = make_multipart([part('application/sdp', b'v=0\r\n'), Part([], b'plain')])
    assert content_type == 'multipart/mixed;boundary=boundary'
    assert body == (b'--boundary\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--boundary\r\n\r\nplain\r\n'
                    b'--boundary--\r\n')


def test_the_boundary_occurs_in_no_part() -> None:
    inner_type, inner = make_multipart([Part([], b'--boundary1')])
    content_type, body = make_multipart([part(inner_type, inner)])
    assert (inner_type, content_type) == ('multipart/mixed;boundary=boundary2', 'multipart/mixed;boundary=boundary3')
    assert [one.body for one in walk(content_type, body)] == [b'--boundary1']
    with pytest.raises(UsageError, match='occurs'):
        make_multipart([Part([], b'x--here')], boundary='here')


@pytest.mark.parametrize('boundary', ['a b', "a'b(c)", 'a:b=c?', 'x' * 70])
def test_given_boundaries(boundary: str) -> None:
    content_type, body = make_multipart([Part([], b'x')], boundary=boundary)
    assert parse_multipart(content_type, body) == [Part([], b'x')]


@pytest.mark.parametrize(('parts', 'subtype', 'boundary'), [
    ([], 'mixed', None), ([Part()], 'mi xed', None), ([Part()], 'mixed', 'x' * 71), ([Part()], 'mixed', 'a '),
    ([Part()], 'mixed', 'a\r\nb'), ([Part()], 'mixed', '\u00e4'), ([Part([('A b', '1')])], 'mixed', None),
    ([Part([('A', '1\r\nB: 2')])], 'mixed', None),
])
def test_what_cannot_be_made(parts: list[Part], subtype: str, boundary: str | None) -> None:
    with pytest.raises(UsageError):
        make_multipart(parts, subtype, boundary=boundary)


NAMES = st.sampled_from(['Content-Type', 'Content-ID', 'X-a'])
TEXTS = st.text(st.characters(exclude_categories=['Cs', 'Cc', 'Z']), max_size=10)
OCTETS = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(
    [b'\r\n', b'\n', b'\r', b'--boundary', b'--', b'boundary', b'x', b': ', b' ', b'\0']), max_size=12).map(b''.join))


@given(st.lists(st.builds(Part, st.lists(st.tuples(NAMES, TEXTS), max_size=3), OCTETS), min_size=1, max_size=4))
def test_what_is_made_is_read_back(parts: list[Part]) -> None:
    content_type, body = make_multipart(parts)
    assert parse_multipart(content_type, body) == parts


@given(OCTETS, st.sampled_from(['multipart/mixed;boundary=boundary', 'multipart/alternative;boundary="--"',
                                'multipart/digest;boundary=x', 'multipart/mixed;boundary']))
def test_any_octets(data: bytes, content_type: str) -> None:
    for body in (data, b'--boundary\r\n' + data, b'--boundary\r\n\r\n' + data + b'\r\n--boundary--'):
        try:
            for one in walk(content_type, body):
                assert one.body in body and one.disposition
        except ParseError:
            pass
        assert find_part(content_type, body, 'application/sdp') is None


def test_each_truncation() -> None:
    for end in range(len(MIXED)):
        found = find_part(TYPE, MIXED[:end], 'application/sdp')
        assert found is None or SDP.startswith(found) or found.startswith(SDP)
