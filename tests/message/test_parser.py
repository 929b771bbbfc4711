"""Reading datagrams: start lines, folding, bodies, limits, and what is kept of a broken message."""

from __future__ import annotations

import time

import pytest

from greensip.errors import ParseError, UsageError
from greensip.message import Limits, Request, Response, make_response, parse_message

HEAD = b'''\
OPTIONS sip:bob@example.com SIP/2.0\r
Via: SIP/2.0/UDP h;branch=z9hG4bK1\r
From: <sip:a@h>;tag=1\r
To: <sip:b@h>\r
Call-ID: x\r
CSeq: 1 OPTIONS\r
'''


def options(*lines: str, body: bytes = b'') -> bytes:
    return HEAD + b''.join([line.encode() + b'\r\n' for line in lines]) + b'\r\n' + body


def refused(data: bytes, limits: Limits | None = None) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_message(data) if limits is None else parse_message(data, limits)
    return caught.value


@pytest.mark.parametrize(('line', 'method', 'uri'), [
    ('INVITE sip:a@b SIP/2.0', 'INVITE', 'sip:a@b'),
    ('NEW-METHOD sip:a@b SIP/2.0', 'NEW-METHOD', 'sip:a@b'),
    ('invite sip:a@b sip/2.0', 'invite', 'sip:a@b'),
    ('INVITE  sip:a@b\t SIP/2.0  ', 'INVITE', 'sip:a@b'),
])
def test_request_lines(line: str, method: str, uri: str) -> None:
    message = parse_message(line.encode() + b'\r\n\r\n')
    assert isinstance(message, Request)
    assert (message.method, message.uri_text) == (method, uri)
    assert message.start_line == f'{method} {uri} SIP/2.0'


@pytest.mark.parametrize(('line', 'code', 'reason'), [
    ('SIP/2.0 200 OK', 200, 'OK'),
    ('SIP/2.0 183 Session  Progress ', 183, 'Session  Progress '),
    ('SIP/2.0 100 ', 100, ''),
    ('SIP/2.0 699', 699, ''),
    ('sip/2.0 200 Very  well', 200, 'Very well'),
    ('SIP/2.0  200  OK', 200, 'OK'),
])
def test_status_lines(line: str, code: int, reason: str) -> None:
    message = parse_message(line.encode() + b'\r\n\r\n')
    assert isinstance(message, Response)
    assert (message.code, message.reason) == (code, reason)


@pytest.mark.parametrize('line', [
    '', ' ', 'INVITE', 'INVITE sip:a@b', 'INVITE sip:a@b HTTP/1.1', 'GET / HTTP/1.0', 'SIP/2.0', 'SIP/2.0 ',
    'SIP/2.0 OK 200', 'SIP/2.0 99 x', 'SIP/2.0 700 x', 'SIP/2.0 2000 x', 'SIP/2.0 +20 x', 'SIP/2.0 ٢٠٠ x',
    'SIP/3.0 200 OK', 'IN(VITE sip:a@b SIP/2.0', 'INVITE sip:a@b SIP/2', 'INVITE sip:a@b SIP/2.0x',
    'INVITE SIP/2.0', 'SIP/2.0 SIP/2.0',
])
def test_no_start_line(line: str) -> None:
    """Nothing to answer: there is no message."""
    assert refused(line.encode() + b'\r\nVia: SIP/2.0/UDP h\r\n\r\n').message is None


def test_other_version_can_be_answered() -> None:
    error = refused(options().replace(b'SIP/2.0\r', b'SIP/3.0\r'))
    assert error.status == 505 and isinstance(error.message, Request)
    response = make_response(error.message, error.status, to_tag='t')
    assert response.get('To') == '<sip:b@h>;tag=t' and response.get('Call-ID') == 'x'


def test_white_space_in_the_uri() -> None:
    error = refused(options().replace(b'sip:bob', b'sip:b ob'))
    assert error.status == 400 and error.message.call_id == 'x'


def test_folding() -> None:
    message = parse_message(options(
        'Subject: one', '  two ', '\tthree', 'X-A:', ' a', ' ', ' b', 'TO :', ' <sip:c@h>', ' ;tag=1', 'Expires\t : 5'))
    assert message.get('Subject') == 'one two three'
    assert message.get('X-A') == 'a  b'
    assert message.get_all('To') == ['<sip:b@h>', '<sip:c@h> ;tag=1']
    assert message.expires == 5
    assert ('TO', '<sip:c@h> ;tag=1') in message.fields


def test_white_space_around_the_text() -> None:
    message = parse_message(options(
        'Subject:   a  b \t', 'Organization:c', 'Server:', 'User-Agent: ', 'Reply-To:\t<sip:a@h>'))
    assert message.fields[5:] == [
        ('Subject', 'a  b'), ('Organization', 'c'), ('Server', ''), ('User-Agent', ''), ('Reply-To', '<sip:a@h>')]


@pytest.mark.parametrize('line', ['Subject', 'Via', ': x', 'Sub ject: x', 'Süd: x', 'Sub"ject: x', 'Subject x: y', ' '])
def test_broken_field(line: str) -> None:
    """The other fields are there to answer it."""
    error = refused(options(line, 'Expires: 5').replace(b'OPTIONS sip:bob@example.com SIP/2.0\r\n',
                    b'OPTIONS sip:bob@example.com SIP/2.0\r\n x\r\n' if line == ' ' else b'OPTIONS sip:h SIP/2.0\r\n'))
    assert error.status == 400
    assert error.message.get('Expires') == '5' and error.message.branch == 'z9hG4bK1'


def test_body() -> None:
    assert parse_message(options(body=b'rest')).body == b'rest'
    assert parse_message(options('Content-Length: 4', body=b'rest')).body == b'rest'
    assert parse_message(options('l: 0002', body=b'rest')).body == b're'
    assert parse_message(options('Content-Length: 0', body=b'rest')).body == b''
    assert parse_message(options('Content-Length: 2', 'Subject: x', 'l: 2', body=b'rest')).body == b're'
    assert parse_message(options('Content-Length: 4', 'Subject: x', body=b'\r\n\r\n')).body == b'\r\n\r\n'


@pytest.mark.parametrize('lines', [
    ['Content-Length: 5'], ['Content-Length: -1'], ['Content-Length: x'], ['Content-Length:'],
    ['Content-Length: 4', 'l: 3'], ['Content-Length: 4 4'], ['Content-Length: ' + '9' * 5000], ['Content-Length: 4,4']])
def test_broken_content_length(lines: list[str]) -> None:
    error = refused(options(*lines, body=b'rest'))
    assert error.status == 400 and error.message.body == b'rest' and error.message.call_id == 'x'
    assert make_response(error.message, 400).to_bytes().startswith(b'SIP/2.0 400 ')


def test_line_ends() -> None:
    """Empty lines before the start line are skipped (RFC 3261 7.5), bare line feeds are borne, bare CRs are not."""
    data = options('Subject: x', 'Content-Length: 4', body=b'a\r\nb')
    want = parse_message(data)
    assert parse_message(b'\r\n\r\n' + data).to_bytes() == want.to_bytes()
    lines = data[:-4].replace(b'\r\n', b'\n')
    assert parse_message(lines + b'a\r\nb').to_bytes() == want.to_bytes()
    assert parse_message(lines + b'a\r\nb\r\n\r\nmore').to_bytes() == want.to_bytes()
    assert parse_message(data.replace(b'Subject: x\r\n', b'Subject: x\n')).to_bytes() == want.to_bytes()
    error = refused(data.replace(b'Subject: x', b'Subject: x\ry'))
    assert error.message.get('Subject') == 'x y'
    assert refused(data.replace(b'Subject: x', b'\rSubject: x')).message.call_id == 'x'
    # a second message smuggled in behind a bare line feed stays in the first one's body
    assert parse_message(b'OPTIONS sip:a@h SIP/2.0\nCall-ID: 1\n\nOPTIONS sip:b@h SIP/2.0\r\n\r\n').fields == [
        ('Call-ID', '1')]


def test_no_end_of_the_fields() -> None:
    for data in (HEAD, HEAD[:-2], HEAD[:-1]):
        error = refused(data)
        assert error.message.cseq.number == 1 and error.status == 400


def test_limits() -> None:
    limits = Limits(message=600, head=400, fields=8)
    data = options('Content-Length: 0')
    assert parse_message(data, limits)
    error = refused(options('Content-Length: 450', body=b'x' * 450), limits)
    assert error.status == 513 and error.message.call_id == 'x'
    error = refused(options('Subject: ' + 'x' * 300), limits)
    assert error.status == 513 and error.message.call_id == 'x'
    assert parse_message(options('A: 1', 'B: 2', 'C: 3'), limits)
    error = refused(options('A: 1', 'B: 2', 'C: 3', 'D: 4'), limits)
    assert error.status == 400 and error.message.call_id == 'x' and len(error.message.fields) == 8
    error = refused(options(*['x: y'] * 300))
    assert error.what == 'too many header fields'
    # folded lines count once
    assert parse_message(options('A: 1', *[' x'] * 40), limits)


def test_too_many_members() -> None:
    message = parse_message(options('Supported: ' + ','.join(['x'] * 300)))
    with pytest.raises(ParseError):
        _ = message.supported
    message = parse_message(options(*['Supported: x, y'] * 129))
    with pytest.raises(ParseError):
        _ = message.supported


@pytest.mark.parametrize('data', [
    options('Subject: x', *[' y'] * 14_000), options(*[' y'] * 14_000), options('Subject: x', ' ' * 60_000),
    options('Subject:' + '\t ' * 30_000 + 'x'), options(*['a'] * 15_000), options(*['a:'] * 13_000),
    b'\n' * 60_000, b'\r\n' * 30_000 + b'x', b'\r' * 60_000 + b'x', b' ' * 60_000,
    b'INVITE ' * 9_000 + b'SIP/2.0\r\n\r\n', options(*['X' + '-' * 60_000 + ': y']),
    options('Via: ' + ',' * 60_000), options('Via: ' + 'SIP/2.0/UDP h,' * 4_000),
    options('Via: SIP/2.0/UDP h' + ';a' * 30_000 + '"'), options('Via: SIP/2.0/UDP h' + ';branch=b' * 6_000),
    options('Contact: ' + '"' * 60_000), options('Contact: ' + '"\\' * 30_000), options('Contact: ' + '<' * 60_000),
    options('Contact: ' + '<>,' * 20_000), options('Contact: ' + 'a ' * 30_000 + '<'),
    options('Contact: ' + '"a" ' * 15_000), options('Contact: <sip:a@h>' + ';a="b"' * 10_000 + '\x01'),
    options('Authorization: Digest ' + 'a="b",' * 10_000), options('Authorization: Digest ' + 'a="' * 20_000),
    options('Retry-After: 1 ' + '(' * 60_000), options('Warning: 300 ' + '"' * 60_000),
    options('Date: ' + 'Sat, ' * 12_000), options('Accept: ' + 'a/' * 30_000), options('CSeq: ' + '1' * 60_000 + ' x'),
    options('CSeq: ' + ' ' * 60_000), options('Max-Forwards: ' + '9' * 60_000), options('Expires: ' + '9' * 60_000),
    options('Replaces: ' + ';to-tag' * 8_000), options('Event: ' + '"\\' * 30_000 + ';'),
], ids=lambda data: repr(data[-40:]))
def test_long_messages_take_linear_time(data: bytes) -> None:
    assert len(data) < 66_000
    start = time.process_time()
    try:
        message = parse_message(data)
    except ParseError as error:
        message = error.message
    if message is not None:
        for name, _ in message.fields[:20]:
            for read in (message.value, message.values):
                try:
                    [str(value) for value in [read(name)]]
                except ParseError:
                    pass
        message.to_bytes()
    # a quadratic look at 60 000 characters takes many seconds
    assert time.process_time() - start < 2


def test_a_nul_is_for_quoted_pairs_only() -> None:
    """What was read can be written: a NUL that no grammar has is refused, with all that was understood."""
    quoted = '"NUL:\\\0" <sip:a@h>;tag=1'
    message = parse_message(options(f'Contact: {quoted}'))
    assert message.get('Contact') == quoted and message.contact is not None and message.contact.display == 'NUL:\0'
    again = Request('OPTIONS', 'sip:b@h', message.fields)
    again.set('Contact', quoted)
    again.add('Route', quoted)
    assert parse_message(again.to_bytes()).get_all('Route') == [quoted]
    for text in ('a\0b', '\0', '"\0"', 'a\\b\0'):
        error = refused(options(f'Subject: {text}'))
        assert isinstance(error.message, Request) and error.message.call_id == 'x' and error.status == 400
        with pytest.raises(UsageError):
            again.set('Subject', text)
    assert refused(options().replace(b'sip:bob', b'sip:\0ob')).status == 400
    # In a body it is an octet like any other.
    assert parse_message(options(body=b'\0')).body == b'\0'
