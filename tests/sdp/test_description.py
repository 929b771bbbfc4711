"""RFC 8866: what is read, what is written, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greensip.errors import ParseError, UsageError
from greensip.sdp import (
    INACTIVE,
    RECVONLY,
    SENDONLY,
    SENDRECV,
    Attribute,
    Bandwidth,
    Codec,
    Connection,
    Crypto,
    Direction,
    Line,
    Media,
    Origin,
    Rtcp,
    SdpLimits,
    SessionDescription,
    parse_sdp,
)

#: RFC 8866 5, with attributes of the kinds that phones send
FULL = """\
v=0
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1
s=Call to John Smith
i=SDP Offer #1
u=http://www.jdoe.example.com/home.html
e=Jane Doe <jane@jdoe.example.com>
p=+1 617 555-6011
c=IN IP4 198.51.100.1
b=AS:256
b=X-YZ:128
t=3034423619 3042462419
r=604800 3600 0 90000
z=2882844526 -1h 2898848070 0
t=0 0
a=group:BUNDLE a1 v1
a=recvonly
m=audio 49170 RTP/AVP 0 97 101 98
a=mid:a1
a=rtpmap:97 iLBC/8000
a=fmtp:97 mode=20;x
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=maxptime:62.5
a=rtcp:53020 IN IP4 126.16.64.4
a=x-unknown:kept  as  it came
a=sendonly
m=video 51372/2 RTP/SAVPF 99
i=camera
c=IN IP6 2001:db8::2
b=TIAS:128000
a=rtpmap:99 h263-1998/90000
a=rtcp-mux
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:32 UNENCRYPTED_SRTCP
m=image 0 udptl t38
""".replace('\n', '\r\n')


@pytest.fixture
def full() -> SessionDescription:
    return parse_sdp(FULL.encode())


def test_comes_back_as_it_was(full: SessionDescription) -> None:
    assert full.to_bytes() == FULL.encode()
    assert parse_sdp(str(full)) == full


def test_session_level_values(full: SessionDescription) -> None:
    assert full.origin == Origin('jdoe', '3724394400', '3724394405', 'IN', 'IP4', '198.51.100.1')
    assert full.name == 'Call to John Smith'
    assert full.information == 'SDP Offer #1'
    assert full.connection == Connection('IN', 'IP4', '198.51.100.1')
    assert full.bandwidths == (Bandwidth('AS', 256), Bandwidth('X-YZ', 128))
    assert full.groups == [('BUNDLE', 'a1', 'v1')]
    first, second = full.times
    assert (first.start, first.stop) == (3034423619, 3042462419)
    assert first.repeats == (Line('r', '604800 3600 0 90000'), Line('z', '2882844526 -1h 2898848070 0'))
    assert (second.start, second.stop, second.repeats) == (0, 0, ())


def test_media_level_values(full: SessionDescription) -> None:
    audio, video, fax = full.media
    assert (audio.type, audio.port, audio.proto, audio.formats) == ('audio', 49170, 'RTP/AVP', ('0', '97', '101', '98'))
    assert audio.codecs == (Codec('PCMU', 8000, 1, '', 0), Codec('iLBC', 8000, 1, 'mode=20;x', 97),
                            Codec('telephone-event', 8000, 1, '0-15', 101))
    assert audio.codecs[1].parameters == {'mode': '20', 'x': ''}
    assert (audio.ptime, audio.maxptime, audio.mid) == (20.0, 62.5, 'a1')
    assert audio.rtcp == Rtcp(53020, '126.16.64.4')
    assert audio.attribute('x-unknown') == 'kept  as  it came'
    assert audio.attribute('no-such') is None and audio.attribute('sendonly') == ''
    assert (video.count, video.information, video.bandwidths) == (2, 'camera', (Bandwidth('TIAS', 128000),))
    assert video.rtcp_mux and video.rtcp == Rtcp(51372)
    assert video.cryptos == (Crypto(1, 'AES_CM_128_HMAC_SHA1_80',
                                    'inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:32',
                                    'UNENCRYPTED_SRTCP'),)
    assert (fax.is_active, fax.is_rtp, fax.codecs, fax.formats) == (False, False, (), ('t38',))
    assert full.active == (audio, video)


def test_session_level_counts_where_the_media_say_nothing(full: SessionDescription) -> None:
    audio, video, fax = full.media
    assert full.address_of(audio) == ('198.51.100.1', 49170)
    assert full.address_of(video) == ('2001:db8::2', 51372)
    assert [full.direction_of(media) for media in full.media] == [SENDONLY, RECVONLY, RECVONLY]
    assert full.without_attributes('recvonly').direction_of(fax) is SENDRECV


HEAD = 'v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n'

READ_AND_WRITTEN = [
    ('bare LF', 'v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\n', HEAD + 't=0 0\r\n'),
    ('bare CR', 'v=0\ro=- 1 1 IN IP4 192.0.2.1\rs=-\rt=0 0', HEAD + 't=0 0\r\n'),
    ('blank lines, a NUL at the end', '\r\n' + HEAD + '\r\n \r\nt=0 0\r\n\r\n\0', HEAD + 't=0 0\r\n'),
    ('an empty s=', HEAD.replace('s=-', 's=') + 't=0 0\r\n', HEAD + 't=0 0\r\n'),
    ('no v, s, t', 'o=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\n', HEAD + 'c=IN IP4 192.0.2.1\r\nt=0 0\r\n'),
    ('no o', 'v=0\r\nc=IN IP6 2001:db8::1\r\n',
     'v=0\r\no=- 0 0 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\n'),
    ('nothing but v', 'v=0', 'v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n'),
    ('t before c (RFC 3264 9), a before b', HEAD + 't=0 0\r\na=tool:x\r\nb=AS:1\r\nc=IN IP4 192.0.2.1\r\n',
     HEAD + 'c=IN IP4 192.0.2.1\r\nb=AS:1\r\nt=0 0\r\na=tool:x\r\n'),
    ('unknown types stay behind the line they followed', HEAD + 'x=1\r\nt=0 0\r\ny=2\r\nc=IN IP4 h\r\n',
     HEAD + 'x=1\r\nc=IN IP4 h\r\nt=0 0\r\ny=2\r\n'),
    ('k= is discarded (5.12)', HEAD + 't=0 0\r\nk=clear:x\r\nm=audio 1 RTP/AVP 0\r\nk=prompt\r\n',
     HEAD + 't=0 0\r\nm=audio 1 RTP/AVP 0\r\n'),
    ('media lines out of order', HEAD + 't=0 0\r\nm=audio 1 RTP/AVP 0\r\na=x\r\nq=1\r\nc=IN IP4 h\r\n',
     HEAD + 't=0 0\r\nm=audio 1 RTP/AVP 0\r\nc=IN IP4 h\r\na=x\r\nq=1\r\n'),
    ('a rejected stream without formats', HEAD + 't=0 0\r\nm=audio 0 RTP/AVP\r\nm=message  0   TCP/MSRP\r\n',
     HEAD + 't=0 0\r\nm=audio 0 RTP/AVP 0\r\nm=message 0 TCP/MSRP *\r\n'),
    ('octets that are no UTF-8', b'v=0\no=- 1 1 IN IP4 192.0.2.1\ns=J\xfcrgen\nt=0 0\n',
     b'v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=J\xfcrgen\r\nt=0 0\r\n'),
    ('a line separator of Unicode is none of SDP', HEAD + 't=0 0\r\na=x:1\u2028\x0b\x1c2\r\n',
     HEAD + 't=0 0\r\na=x:1\u2028\x0b\x1c2\r\n'),
]


@pytest.mark.parametrize(('read', 'written'), [row[1:] for row in READ_AND_WRITTEN],
                         ids=[row[0] for row in READ_AND_WRITTEN])
def test_tolerant_in_reading_strict_in_writing(read: str | bytes, written: str | bytes) -> None:
    assert parse_sdp(read).to_bytes() == (written.encode() if isinstance(written, str) else written)


CONNECTIONS = [
    ('IN IP4 233.252.0.1/127', Connection('IN', 'IP4', '233.252.0.1', 127), True, False),
    ('IN IP4 233.252.0.1/127/3', Connection('IN', 'IP4', '233.252.0.1', 127, 3), True, False),
    ('IN IP6 ff00::db8:0:101/3', Connection('IN', 'IP6', 'ff00::db8:0:101', None, 3), True, False),
    ('IN IP6 2001:db8::1', Connection('IN', 'IP6', '2001:db8::1'), False, False),
    ('IN IP4 0.0.0.0', Connection('IN', 'IP4', '0.0.0.0'), False, True),
    ('IN IP6 ::', Connection('IN', 'IP6', '::'), False, True),
    ('IN IP6 no-media.invalid', Connection('IN', 'IP6', 'no-media.invalid'), False, True),
    ('IN IP4 host.example.com', Connection('IN', 'IP4', 'host.example.com'), False, False),
]


@pytest.mark.parametrize(('text', 'value', 'multicast', 'unspecified'), CONNECTIONS)
def test_connection(text: str, value: Connection, multicast: bool, unspecified: bool) -> None:
    connection = parse_sdp(f'v=0\nc={text}\n').connection
    assert connection == value
    assert str(connection) == text
    assert (connection.is_multicast, connection.is_unspecified) == (multicast, unspecified)


@pytest.mark.parametrize(('text', 'username', 'version'), [
    ('o= 12 34 IN IP4 192.0.2.1', '-', '34'),                                   # the user name left empty
    ('o=John Q Public 12 34 IN IP4 192.0.2.1', 'John Q Public', '34'),          # a display name in its place
    ('o=- 12 ' + '9' * 5000 + ' IN IP4 192.0.2.1', '-', '9' * 5000),
    ('o=- 12 x7 IN IP4 192.0.2.1', '-', 'x7'),
])
def test_odd_origins_are_read_and_kept(text: str, username: str, version: str) -> None:
    description = parse_sdp(f'v=0\n{text}\n')
    assert (description.origin.username, description.origin.version) == (username, version)
    assert f'\r\n{text}\r\n' in str(description)


def test_version_counts_beyond_64_bits() -> None:
    origin = Origin('-', '1', str(2 ** 64 - 1), 'IN', 'IP4', 'h')
    assert origin.next() == Origin('-', '1', str(2 ** 64), 'IN', 'IP4', 'h')
    assert origin.same_session(origin.next())
    assert not origin.same_session(origin._replace(session_id='2'))


def test_broken_values_that_nobody_needs_are_skipped() -> None:
    description = parse_sdp('v=0\nb=AS\nb=AS:x\nb=AS:64\nt=now then\nm=audio 5 RTP/AVP 0 96 97 98 999 x\n'
                            'a=rtpmap:96\na=rtpmap:97 X\na=rtpmap:98 Y/z\na=rtpmap:98 Y/8000/2\na=ptime:-3\n'
                            'a=crypto:x y z\na=rtcp:99999\n')
    media = description.media[0]
    assert (description.bandwidths, description.times) == ((Bandwidth('AS', 64),), ())
    assert media.codecs == (Codec('PCMU', 8000, 1, '', 0), Codec('Y', 8000, 2, '', 98))
    assert (media.ptime, media.cryptos, media.rtcp) == (None, (), Rtcp(6))


REFUSED = [
    ('', 'not a session description'),
    ('hello', 'no x='),
    (' v=0', 'no x='),
    ('v=0\n=x', 'no x='),
    ('v=0\n1=x', 'no x='),
    ('a=x\ns=-', 'not a session description'),
    ('v=1\no=- 1 1 IN IP4 h', 'not version 0'),
    ('v=\no=- 1 1 IN IP4 h', 'not version 0'),
    ('v=0\nv=0', 'a second v='),
    ('m=audio 1 RTP/AVP 0\nv=0', 'a second v='),
    ('v=0\no=- 1 1 IN IP4 h\no=- 2 2 IN IP4 h', 'a second o='),
    ('v=0\no=- 1 IN IP4', 'o= needs'),
    ('v=0\nc=IN IP4', 'c= needs'),
    ('v=0\nc=IN IP4 /127', 'broken address'),
    ('v=0\nc=IN IP4 224.0.0.1/x', 'broken address'),
    ('v=0\nc=IN IP4 224.0.0.1/1/2/3', 'broken address'),
    ('v=0\nm=audio', 'm= needs'),
    ('v=0\nm=audio 1', 'm= needs'),
    ('v=0\nm=audio x RTP/AVP 0', 'broken port'),
    ('v=0\nm=audio -1 RTP/AVP 0', 'broken port'),
    ('v=0\nm=audio 65536 RTP/AVP 0', 'broken port'),
    ('v=0\nm=audio \u0661 RTP/AVP 0', 'broken port'),
    ('v=0\nm=audio 1/0 RTP/AVP 0', 'broken port'),
    ('v=0\nm=audio 1/ RTP/AVP 0', 'broken port'),
    ('v=0\ns=a\0b', 'NUL'),
    ('v=0\ns=\ud800', 'surrogate'),
]


@pytest.mark.parametrize(('text', 'what'), REFUSED)
def test_what_cannot_be_read(text: str, what: str) -> None:
    with pytest.raises(ParseError, match=what) as caught:
        parse_sdp(text)
    assert caught.value.status == 400


@pytest.mark.parametrize(('limits', 'within', 'beyond'), [
    (SdpLimits(size=5), 'v=0\r\n', 'v=0\r\n\n'),
    (SdpLimits(lines=3), 'v=0\na=1\na=2', 'v=0\na=1\na=2\na=3'),
    (SdpLimits(media=1), 'm=a 1 b c', 'm=a 1 b c\nm=a 1 b c'),
    (SdpLimits(formats=2), 'm=a 1 b 1 2', 'm=a 1 b 1 2 3'),
])
def test_limits(limits: SdpLimits, within: str, beyond: str) -> None:
    parse_sdp(within, limits)
    with pytest.raises(ParseError) as caught:
        parse_sdp(beyond, limits)
    assert caught.value.status == 513


# -- changed copies

def test_changed_copies_leave_the_original_alone(full: SessionDescription) -> None:
    before = str(full)
    audio = full.media[0].replace(port=6000).with_attribute('ptime', 30).with_direction(INACTIVE)
    changed = full.with_media(0, audio.without_attributes('fmtp')).replace(connection=Connection('IN', 'IP4', 'h2'))
    assert str(full) == before
    text = str(changed)
    assert '\r\nc=IN IP4 h2\r\nb=AS:256\r\n' in text
    assert '\r\nm=audio 6000 RTP/AVP 0 97 101 98\r\na=mid:a1\r\na=rtpmap:97 iLBC/8000\r\na=rtpmap:101' in text
    assert '\r\na=ptime:30\r\na=maxptime:62.5\r\n' in text
    assert 'a=inactive\r\nm=video' in text and 'sendonly' not in text
    assert changed != full and hash(parse_sdp(before)) == hash(full)


def test_lines_are_put_where_they_belong() -> None:
    media = Media('audio', 4000, formats=['0']).with_attribute('a', 1).with_line('c', Connection('IN', 'IP4', 'h'))
    media = media.with_added(Attribute('b'), Attribute('b', '2')).with_line('i', 'title')
    assert str(media) == ('m=audio 4000 RTP/AVP 0\r\ni=title\r\nc=IN IP4 h\r\na=a:1\r\na=b\r\na=b:2\r\n')
    assert str(media.with_line('c').without_attributes()) == 'm=audio 4000 RTP/AVP 0\r\ni=title\r\n'
    assert str(media.with_attribute('B').without_attributes('A')).endswith('c=IN IP4 h\r\na=B\r\n')


def test_direction_is_said_once() -> None:
    media = parse_sdp('v=0\nm=audio 1 RTP/AVP 0\na=sendrecv\na=x\na=SendOnly \n').media[0]
    assert media.direction is SENDRECV
    assert str(media.with_direction(RECVONLY)) == 'm=audio 1 RTP/AVP 0\r\na=recvonly\r\na=x\r\n'


@pytest.mark.parametrize('text', ['x\r\nm=audio 1 RTP/AVP 0', 'x\ny', 'x\ry', 'x\0'])
def test_no_line_smuggles_in_another(text: str) -> None:
    for description in (SessionDescription([Line('s', text)]), SessionDescription([Line('t', '0 0'), Line('a', text)]),
                        SessionDescription([], [Media('audio', 1, lines=[Line('a', text)])]),
                        SessionDescription([], [Media('audio', 1, text, ['0'])])):
        with pytest.raises(UsageError):
            description.to_bytes()


@pytest.mark.parametrize('direction', Direction)
def test_direction_is_two_bits(direction: Direction) -> None:
    assert Direction.of(direction.sends, direction.receives) is direction


# -- any octets

def use(description: SessionDescription) -> None:
    """Every typed value can be had of whatever was read."""
    assert description.origin and description.times is not None and description.groups is not None
    for media in description.media:
        assert description.direction_of(media) in Direction
        assert description.connection_of(media) is None or description.address_of(media)
        assert media.rtcp.port <= 65536 and None not in media.codecs + media.cryptos + media.bandwidths
        assert (media.ptime or 1) > 0 and (media.maxptime or 1) > 0


PIECES = st.sampled_from([
    b'v=0', b'o=- 1 1 IN IP4 h', b'o=', b's=', b't=0 0', b'c=IN IP4 1.2.3.4/1', b'c=IN IP6 ::1', b'b=AS:1', b'x=y',
    b'm=audio 1 RTP/AVP 0 96', b'm=image 0 udptl t38', b'a=sendonly', b'a=rtpmap:96 X/8000', b'a=rtpmap:', b'a=rtcp:',
    b'a=crypto:1 a b', b'a=fmtp', b'a=ptime:.', b'a=maxptime:1.5', b'r=1', b'z=1', b'\r\n', b'\n', b'\r', b'\0',
    b'\xff', b'k=p', b' ', b'=', b'a=group:', b'\x1c', b'\xc2\x85',
])


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b''.join),
                 st.lists(PIECES, max_size=30).map(b'\n'.join)))
@example(b'v=0\nt=1 2 3\nz=\nm=a 1 b\nr=1')
def test_any_octets_give_a_description_or_parse_error(data: bytes) -> None:
    try:
        description = parse_sdp(data)
    except ParseError:
        return
    use(description)
    written = description.to_bytes()
    again = parse_sdp(written)
    assert again.to_bytes() == written
    assert all(media.formats for media in again.media)
    use(again)


def test_each_flipped_and_missing_octet(full: SessionDescription) -> None:
    data = FULL.encode()
    for index in range(len(data)):
        for broken in (data[:index], data[:index] + bytes([data[index] ^ 0x15]) + data[index + 1:]):
            try:
                use(parse_sdp(broken))
            except ParseError:
                pass
