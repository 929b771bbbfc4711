"""What a log may show of a message."""

from __future__ import annotations

import pytest

from greensip.transport.wire import SHOWN, masked, readable, title

DIGEST = (b'Digest username="bob", realm="x", nonce="n1", uri="sip:x", response="0123456789abcdef", '
          b'cnonce="c0ffee", nc=00000001, qop=auth')


@pytest.mark.parametrize(('text', 'gone', 'kept'), [
    (b'Authorization: ' + DIGEST, [b'0123456789abcdef', b'c0ffee'], [b'username="bob"', b'nonce="n1"', b'nc=00000001']),
    (b'proxy-authorization : ' + DIGEST, [b'0123456789abcdef'], [b'realm="x"']),
    (b'Authorization: Digest username="bob",\r\n response\r\n =\r\n "0123456789abcdef"\r\nTo: x',
     [b'0123456789abcdef'], [b'username="bob"', b'To: x']),
    (b'Authorization: Digest response=0123456789abcdef', [b'0123456789abcdef'], []),
    (b'Authorization: Digest response="0123456789abcdef', [b'0123456789abcdef'], []),
    (b'Authorization: Basic Ym9iOnNlY3JldA==\r\nTo: x', [b'Ym9iOnNlY3JldA'], [b'Authorization: Basic ***', b'To: x']),
    (b'Authorization: Bearer abc.def', [b'abc.def'], [b'Bearer']),
    (b'Authentication-Info: qop=auth, rspauth="feedbeef", nextnonce="n2"', [b'feedbeef'], [b'nextnonce="n2"']),
    (b'INVITE sip:bob:s3cret@example.com SIP/2.0', [b's3cret'], [b'sip:bob:***@example.com']),
    (b'Contact: "B" <sips:bob:p%40ss@[::1]:5061>', [b'p%40ss'], [b'sips:bob:***@[::1]:5061']),
    (b'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20', [b'd0Rmdm', b'|2^20'],
     [b'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***']),
    (b'a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg', [b'asd88'], [b'a=ice-ufrag:8hhY', b'a=ice-pwd:***']),
    (b'k=base64:c2VjcmV0', [b'c2VjcmV0'], [b'k=base64:***']),
])
def test_secrets_are_masked(text: bytes, gone: list[bytes], kept: list[bytes]) -> None:
    shown = masked(b'X: 1\r\n' + text + b'\r\nY: 2\r\n')
    assert [secret for secret in gone if secret in shown] == []
    assert [part for part in [*kept, b'X: 1', b'Y: 2'] if part not in shown] == []


@pytest.mark.parametrize('text', [
    b'Contact: <sip:bob@example.com:5060>', b'Contact: <sip:[::1]:5060>', b'To: <sip:10.0.0.1:5060>;tag=a@b',
    b'Via: SIP/2.0/UDP 10.0.0.1:5060', b'WWW-Authenticate: Digest realm="x", nonce="response"', b'a=rtpmap:0 PCMU/8000',
])
def test_the_rest_is_left_alone(text: bytes) -> None:
    assert masked(text + b'\r\n') == text + b'\r\n'


def test_a_log_cannot_be_forged_or_a_terminal_fooled() -> None:
    shown = readable(b'INVITE sip:a SIP/2.0\r\nSubject: \x1b[2J\x07\xff\r\n\r\nERROR root: all is lost')
    assert '\x1b' not in shown
    assert '\\x1b[2J\\x07\\xff' in shown
    # Every line is indented, so none of them looks like one of the log's own.
    assert all(line.startswith('    ') for line in shown.split('\n') if line)


def test_a_long_message_is_cut() -> None:
    shown = readable(b'x' * (SHOWN + 500))
    assert shown.endswith('... 500 more octets')
    assert len(shown) < SHOWN + 100


@pytest.mark.parametrize(('data', 'expected'), [
    (b'INVITE sip:bob@x SIP/2.0\r\nCSeq: 1 INVITE\r\n', 'INVITE'),
    (b'\r\n\r\nOPTIONS sip:bob@x SIP/2.0\r\n', 'OPTIONS'),
    (b'SIP/2.0 200 OK\r\nVia: x\r\nCSeq: 4711   BYE\r\n', '200 BYE'),
    (b'SIP/2.0 180\r\ncseq : 1 INVITE\r\n', '180 INVITE'),
    (b'SIP/2.0 500 Oops\r\n\r\n', '500 ?'),
    (b'\x80\x81 hello', '?'), (b'', '?'), (b'GET / HTTP/1.1\r\n', '?'),
])
def test_titles(data: bytes, expected: str) -> None:
    assert title(data) == expected
