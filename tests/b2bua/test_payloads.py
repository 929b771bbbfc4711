"""Which payload types pass."""

from __future__ import annotations

from typing import Any

import pytest

from greensip.b2bua.payloads import filter_payloads
from greensip.errors import NegotiationFailed, NotAcceptable

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


def test_in_an_answer_a_stream_without_formats_is_rejected() -> None:
    body = (HEAD + AUDIO).encode()
    assert b'm=audio 0 RTP/AVP 0 8 96 101\r\n' in filter_payloads(body, [18], is_offer=False)
    assert filter_payloads(b'nonsense', [18], is_offer=False) == b'nonsense'


def sdp(port: int, *formats: int) -> bytes:
    return f'{HEAD}m=audio {port} RTP/AVP {" ".join(map(str, formats))}\r\n'.encode()


def test_all_descriptions_of_a_call_are_filtered(rig: Any) -> None:
    legs = []

    def bob(leg: Any) -> None:
        legs.append(leg)
        leg.progress(183, sdp=sdp(5000, 8, 18))
        leg.answer(sdp(5000, 0, 8, 3))
        leg.wait_ended()

    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '-F', '0,8')
    with rig.caller.invite(rig.uri(), sdp=sdp(4000, 0, 8, 18)) as leg:
        assert leg.wait_for('183', timeout=5).message.body == sdp(5000, 8)
        assert leg.wait_for('200', timeout=5).message.body == sdp(5000, 0, 8)
        assert legs[0].offer == sdp(4000, 0, 8)
        leg.reinvite(sdp(4000, 18, 0))
        assert legs[0].remote_sdp == sdp(4000, 0)
        for refused in (legs[0], leg):
            with pytest.raises(NotAcceptable):
                refused.reinvite(sdp(4000, 18))
        assert not leg.ended
    with pytest.raises(NotAcceptable):
        rig.caller.call(rig.uri(), sdp=sdp(4000, 18), timeout=5)
    with pytest.raises(NotAcceptable):
        rig.caller.call(rig.uri(), body=b'--x--', content_type='multipart/mixed;boundary=x', timeout=5)


def test_a_late_answer_is_filtered(rig: Any) -> None:
    answers = []

    def bob(leg: Any) -> None:
        leg.answer(sdp(5000, 0, 18))
        answers.append(leg.wait_for('ACK').message.body)
        leg.wait_ended()

    rig.callee('bob', bob)
    rig.b2bua('-s', '{bob}', '-F', '0,8')
    with rig.caller.invite(rig.uri(), sdp=b'') as leg:
        assert leg.wait_for('200', timeout=5).message.body == sdp(5000, 0)
        leg.ack(sdp(4000, 18))
        rig.net.run(1)
        assert answers == [sdp(0, 18)]
