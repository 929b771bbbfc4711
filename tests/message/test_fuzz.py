"""Any octets give a message or a ParseError, and nothing else.

The examples are derived from the test, not drawn at random, so that a run can be repeated.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from greensip.errors import ParseError, UsageError
from greensip.message import (
    HEADERS,
    Message,
    Request,
    Response,
    StreamFramer,
    check_request,
    check_response,
    make_ack_for_failure,
    make_cancel,
    make_response,
    parse_message,
    parse_uri,
)
from greensip.message.grammar import split_list
from greensip.message.headers import Header

repeatable = settings(derandomize=True, deadline=None, max_examples=300)

FOLDER = Path(__file__).parents[1] / 'data' / 'rfc4475'
TORTURE = [path.read_bytes() for path in sorted(FOLDER.glob('*.dat'))]

INVITE = b'''\
INVITE sip:bob@192.0.2.4:5080;transport=udp SIP/2.0\r
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-5;rport, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bK-6\r
Max-Forwards: 70\r
From: "Al \\"i\\" ce" <sip:alice@192.0.2.1:5060>;tag=8812\r
To: Bob <sip:bob:pw@192.0.2.4;x=%41?a=b>\r
Call-ID: 1-8812@192.0.2.1\r
CSeq: 1 INVITE\r
Contact: <sip:alice@192.0.2.1:5060>;expires=60;+sip.instance="<urn:uuid:1>"\r
Record-Route: <sip:192.0.2.7;lr>\r
Allow: INVITE, ACK,\r
 CANCEL\r
k: timer\r
Authorization: Digest username="a", realm="b", nc=00000001\r
Date: Sat, 13 Nov 2010 23:29:00 GMT\r
Content-Type: application/sdp\r
Content-Length: 5\r
\r
v=0\r
'''


def exercise(data: bytes) -> Message | None:
    """Everything that may be done with a message from the network."""
    broken = False
    try:
        message = parse_message(data)
    except ParseError as error:
        if error.message is None:
            return None
        message = error.message
        broken = True
        assert str(error)
    try:
        check_request(message) if isinstance(message, Request) else check_response(message)
    except ParseError as error:
        assert error.message is message and 400 <= error.status < 600
    read_all(message)
    written = message.to_bytes()
    if not broken:
        again = parse_message(written)
        assert (again.start_line, again.body) == (message.start_line, message.body)
        assert again.to_bytes() == written
    if isinstance(message, Request):
        response = make_response(message, 400, to_tag='t')
        assert isinstance(parse_message(response.to_bytes()), Response)
        try:
            parse_message(make_cancel(message).to_bytes())
            parse_message(make_ack_for_failure(message, response).to_bytes())
        except ParseError:
            pass
    return message


def read_all(message: Message) -> None:
    for name in {name for name, _ in message.fields}:
        for read in (message.value, message.values):
            try:
                value = read(name)
            except ParseError:
                continue
            str(value), repr(value)
    for get in (lambda: message.via.received, lambda: message.via.rport, lambda: message.via.params,
                lambda: message.vias, lambda: message.branch, lambda: message.from_.params,
                lambda: message.from_.uri.params,
                lambda: message.to_tag, lambda: message.call_id, lambda: message.cseq, lambda: message.max_forwards,
                lambda: message.contacts, lambda: message.routes, lambda: message.record_routes,
                lambda: message.expires, lambda: message.content_type, lambda: message.require,
                lambda: message.supported, lambda: message.allow, lambda: message.reason_value,
                lambda: [(c.q, c.expires, c.params, hash(c), c == message.to) for c in message.contacts],
                lambda: message.uri.headers if isinstance(message, Request) else None):
        try:
            get()
        except ParseError:
            pass


@repeatable
@given(st.binary(max_size=400))
def test_any_octets(data: bytes) -> None:
    exercise(data)


@repeatable
@given(st.lists(st.sampled_from([
    b'SIP/2.0', b' ', b'200', b'OK', b'INVITE', b'sip:', b'a', b'@', b'h', b'\r\n', b'\r\n', b'\r\n\r\n', b'\n',
    b'\r', b': ', b':', b';', b',', b'"', b'<', b'>', b'\\', b'=', b'\t', b'Via', b'From', b'To', b'CSeq', b'Call-ID',
    b'Contact', b'l', b'1', b'\0', b'\xff', b'%', b'%41', b'(', b')', b'[', b']', b'tag', b'branch',
    b'Content-Length', b'SIP/2.0/UDP h', b'<sip:a@h>', b'*', b'/', b'?', b'\xc3\xa9']), max_size=80))
def test_pieces_of_messages(pieces: list[bytes]) -> None:
    exercise(b''.join(pieces))
    exercise(b'INVITE sip:a@h SIP/2.0\r\n' + b''.join(pieces) + b'\r\n\r\n')


@repeatable
@given(st.sampled_from(list(HEADERS.values())), st.text(st.sampled_from(
    'aAb1 \t;,"<>\\=:/@?()[]*%.-_é\x00\x7f\udcff') | st.characters(), max_size=40))
def test_any_text_in_any_field(header: Header, text: str) -> None:
    text = text.replace('\r', '').replace('\n', '').strip(' \t')
    in_list = header.repeats and header.type.commas
    try:
        if in_list and split_list(text) != [text]:
            return
        value = header.type.parse(text)
    except ParseError:
        return
    # what was read can be written, and read again as the same
    message = Request('INVITE', 'sip:h')
    try:
        message.set(header.name, value)
    except UsageError:
        assert '\0' in text
        return
    again = message.value(header.name)
    assert again == value or (in_list and text == '')
    assert str(again) == str(value) or text == ''


@repeatable
@given(st.lists(st.sampled_from([
    'sip', 'sips', 'tel', ':', ':', 'a', '@', 'h', ';', '=', '?', '&', '%41', '%', '[', ']', '::1', '5060', '+', '-',
    ' ', '.', '\0', 'é', '\udc80', 'lr', '"', '<', '>', '/', ',', '#']), max_size=20).map(''.join))
def test_any_uri(text: str) -> None:
    try:
        uri = parse_uri(text)
    except ParseError:
        return
    again = parse_uri(str(uri))
    assert again == uri and hash(again) == hash(uri) and str(again) == str(uri)
    assert (again.user, again.password, again.params, again.headers) == (
        uri.user, uri.password, uri.params, uri.headers)
    if ' ' not in text:
        request = Request('INVITE', uri)
        assert request.uri_text == str(uri)


@repeatable
@given(st.lists(st.binary(max_size=60) | st.sampled_from([INVITE, *TORTURE[:10]]), max_size=5), st.integers(1, 70))
def test_any_stream(parts: list[bytes], size: int) -> None:
    stream = b''.join(parts)

    def run(size: int) -> tuple[list[bytes], str]:
        framer = StreamFramer()
        items: list[object] = []
        try:
            for start in range(0, len(stream), size):
                items += framer.feed(stream[start:start + size])
            framer.feed(b'')
        except ParseError:
            pass
        texts = [item.to_bytes() if isinstance(item, Message) else repr(item).encode() for item in items]
        return texts, str(framer.error)

    assert run(size) == run(len(stream) or 1)


def test_every_truncation() -> None:
    for size in range(len(INVITE)):
        assert exercise(INVITE[:size]) is not None or size < INVITE.index(b'\r')


def test_every_flipped_octet() -> None:
    for index in range(len(INVITE)):
        for mask in (0x01, 0x02, 0x10, 0x20, 0x80, 0xff):
            data = bytearray(INVITE)
            data[index] ^= mask
            exercise(bytes(data))


def test_every_octet_replaced_by_a_separator() -> None:
    for index in range(len(INVITE)):
        for octet in b'\r\n\0 ,;:"<\\':
            data = bytearray(INVITE)
            data[index] = octet
            exercise(bytes(data))


def test_torture_messages_cut_and_doubled() -> None:
    for data in TORTURE:
        exercise(data)
        exercise(data + data)
        for size in range(0, len(data), 37):
            exercise(data[:size])
            exercise(data[:size] + data[size + 1:])
            exercise(data[:size] + data[size:size + 40] + data[size:])


def test_a_flood_of_garbage_leaves_memory_flat() -> None:
    """Bounded memories of names and URIs; nothing else is kept between messages."""
    import gc
    import tracemalloc

    def flood(start: int, stop: int) -> None:
        for number in range(start, stop):
            exercise(b'X%d sip:u%d@h%d SIP/2.0\r\nX-%d: a\r\nVia: SIP/2.0/UDP h%d\r\nFrom: <sip:%d@h>\r\n\r\n' % (
                (number,) * 6))

    flood(0, 6_000)
    gc.collect()
    tracemalloc.start()
    try:
        flood(6_000, 9_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # the URIs remembered, and no more: 3000 messages of any kind would be several megabytes
    assert grown < 3_000_000
