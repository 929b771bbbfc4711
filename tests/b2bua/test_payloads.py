"""Which payload types pass."""

from __future__ import annotations

import pytest

from greensip.b2bua.payloads import filter_payloads
from greensip.errors import NegotiationFailed

HEAD = 'v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n'
AUDIO = ('m=audio 4000 RTP/AVP 0 8 96 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n'
         'a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n')
FAX = 'm=image 4002 udptl t38\r\na=T38FaxVersion:0\r\n'
GONE = 'm=video 0 RTP/AVP 31\r\n'


@pytest.mark.parametrize(('allowed', 'audio'), [
    ([0], 'm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n'),
    ([8, 101], 'm=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n'),
    (['OPUS'], 'm=audio 4000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=sendrecv\r\n'),
    ([0, 'TELEPHONE-EVENT/8000'], 'm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n'
                                  'a=fmtp:101 0-16\r\na=sendrecv\r\n'),
])
def test_what_is_not_allowed_goes_with_its_attributes(allowed: list[int | str], audio: str) -> None:
    body = (HEAD + AUDIO + FAX + GONE).encode()
    assert filter_payloads(body, allowed).decode() == HEAD + audio + FAX + GONE


def test_nothing_to_do_gives_the_very_octets_back() -> None:
    body = (HEAD.replace('\r\n', '\n') + AUDIO).encode()
    assert filter_payloads(body, [0, 8, 'OPUS', 101, 3]) is body


@pytest.mark.parametrize('body', [(HEAD + AUDIO + FAX).encode(), b'nonsense'])
def test_nothing_left_is_a_488(body: bytes) -> None:
    with pytest.raises(NegotiationFailed) as caught:
        filter_payloads(body, [18])
    assert caught.value.status == 488
