"""STUN messages: the samples of RFC 5769, and what nobody should answer."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.transport.stun import COOKIE, answer_binding, binding_request, looks_like_stun, read_answer

NUMBER = bytes.fromhex('b7e7a701bc34d686fa87dfae')

# RFC 5769 2.1, 2.2 and 2.3
SAMPLE_REQUEST = bytes.fromhex(
    '000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1'
    '51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf')
SAMPLE_IPV4 = bytes.fromhex(
    '0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599'
    'fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96')
SAMPLE_IPV6 = bytes.fromhex(
    '010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5'
    'bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c')


def request(*attributes: tuple[int, bytes]) -> bytes:
    body = b''.join(struct.pack('!HH', number, len(value)) + value + bytes(-len(value) % 4)
                    for number, value in attributes)
    return struct.pack('!HHI', 1, len(body), COOKIE) + NUMBER + body


@pytest.mark.parametrize(('sample', 'mapped'), [
    (SAMPLE_IPV4, ('192.0.2.1', 32853)), (SAMPLE_IPV6, ('2001:db8:1234:5678:11:2233:4455:6677', 32853)),
])
def test_the_answers_of_rfc_5769(sample: bytes, mapped: tuple[str, int]) -> None:
    answer = read_answer(sample)
    assert answer is not None and (answer.mapped, answer.transaction, answer.error) == (mapped, NUMBER, 0)


@pytest.mark.parametrize('source', [('192.0.2.1', 32853), ('2001:db8:1234:5678:11:2233:4455:6677', 32853),
                                    ('255.255.255.255', 65535), ('::1', 1)])
def test_a_request_is_answered_with_the_address_it_came_from(source: tuple[str, int]) -> None:
    data = answer_binding(binding_request(NUMBER), source)
    assert data is not None and looks_like_stun(data)
    answer = read_answer(data)
    assert answer is not None and (answer.mapped, answer.transaction) == (source, NUMBER)
    # As the sample has it, attribute for attribute.
    if source[1] == 32853:
        sample = SAMPLE_IPV6 if ':' in source[0] else SAMPLE_IPV4
        assert data[20:] in sample


def test_credentials_are_not_asked_for_and_unknown_attributes_are_told() -> None:
    """RFC 8489 6.3.1: PRIORITY (0x0024), which ICE demands to be understood, is not."""
    data = answer_binding(SAMPLE_REQUEST, ('192.0.2.1', 1))
    assert data is not None
    answer = read_answer(data)
    assert answer is not None and (answer.error, answer.mapped) == (420, None)
    assert data.endswith(struct.pack('!HHHH', 0x000A, 2, 0x0024, 0))
    harmless = request((0x0006, b'user'), (0x0008, bytes(20)), (0x8022, b'software'), (0xFFFF, b''))
    answer = read_answer(answer_binding(harmless, ('192.0.2.1', 1)) or b'')
    assert answer is not None and answer.mapped == ('192.0.2.1', 1)


@pytest.mark.parametrize('data', [
    b'', b'\0', bytes(20), SAMPLE_IPV4, binding_request(NUMBER)[:-1], binding_request(NUMBER) + b'\0\0\0\0',
    # an indication; RFC 3489's, without the cookie; a length that is no multiple of four; another method
    struct.pack('!HHI', 0x11, 0, COOKIE) + NUMBER, struct.pack('!HHI', 1, 0, 1) + NUMBER,
    struct.pack('!HHI', 1, 2, COOKIE) + NUMBER + b'ab', struct.pack('!HHI', 3, 0, COOKIE) + NUMBER,
    # an attribute that does not end
    struct.pack('!HHI', 1, 4, COOKIE) + NUMBER + struct.pack('!HH', 0x8022, 4),
    b'\x80' + binding_request(NUMBER)[1:], b'INVITE sip:bob@example.com SIP/2.0\r\n\r\n',
])
def test_what_gets_no_answer(data: bytes) -> None:
    assert answer_binding(data, ('192.0.2.1', 1)) is None


@pytest.mark.parametrize('body', [
    b'', struct.pack('!HHBBH', 0x20, 4, 0, 1, 1), struct.pack('!HHBBHI', 0x20, 8, 0, 2, 1, 1),
    struct.pack('!HHBBHI', 0x20, 8, 0, 3, 1, 1), struct.pack('!HH', 0x20, 400),
])
def test_answers_that_make_no_sense(body: bytes) -> None:
    assert read_answer(struct.pack('!HHI', 0x101, len(body), COOKIE) + NUMBER + body) is None


def test_the_answer_of_an_old_server_and_an_error_without_its_code() -> None:
    body = struct.pack('!HHBBH', 0x01, 8, 0, 1, 5060) + bytes((192, 0, 2, 9))
    answer = read_answer(struct.pack('!HHI', 0x101, len(body), COOKIE) + NUMBER + body)
    assert answer is not None and answer.mapped == ('192.0.2.9', 5060)
    answer = read_answer(struct.pack('!HHI', 0x111, 0, COOKIE) + NUMBER)
    assert answer is not None and (answer.error, answer.mapped) == (500, None)


@given(st.binary(max_size=200))
def test_any_octets(body: bytes) -> None:
    """No answer is longer than its question by more than an address or an error: nobody can be flooded through us."""
    body += bytes(-len(body) % 4)
    for kind in (0x001, 0x101, 0x111):
        data = struct.pack('!HHI', kind, len(body), COOKIE) + NUMBER + body
        read_answer(data)
        answer = answer_binding(data, ('2001:db8::1', 5060))
        assert answer is None or len(answer) <= len(data) + 36
