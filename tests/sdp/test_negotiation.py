"""RFC 3264: offers, answers, hold, streams that come and go; with the examples of RFC 3264 10 and RFC 4317."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greensip.errors import NegotiationFailed, UsageError
from greensip.sdp import (
    INACTIVE,
    RECVONLY,
    SENDONLY,
    SENDRECV,
    Attribute,
    Capability,
    Codec,
    Direction,
    Line,
    Media,
    SessionDescription,
    add_stream,
    agreed,
    answer,
    answer_direction,
    check_answer,
    check_offer,
    hold,
    is_on_hold,
    make_answer,
    make_media,
    make_offer,
    make_sdp,
    numbered,
    parse_sdp,
    reject_all,
    remove_stream,
    resume,
)

BITS = random.Random(1)


def read_examples(name: str) -> dict[str, list[SessionDescription]]:
    """Offer, answer, second offer ... of each section."""
    examples: dict[str, list[SessionDescription]] = {}
    for section in (Path(__file__).parent / name).read_text().split('\n== ')[1:]:
        title, *texts = section.split('\n[')
        descriptions = [parse_sdp(text.partition(']\n')[2]) for text in texts]
        for text, description in zip(texts, descriptions):
            # These are well-formed, so they come back as they were.
            assert str(description) == text.partition(']\n')[2].strip().replace('\n', '\r\n') + '\r\n'
        examples[f'{name[:7]} {title.split()[0]}'] = descriptions
    return examples


EXAMPLES = read_examples('rfc3264.txt') | read_examples('rfc4317.txt')


def shape(description: SessionDescription) -> list[str]:
    """What an answer decides, a line per stream: port, formats, codec names, direction."""
    lines = []
    for media in description.media:
        names = ','.join(codec.name for codec in media.codecs) if media.port else ''
        direction = description.direction_of(media) if media.port else ''
        lines.append(f'{media.type} {media.port} {" ".join(media.formats)} {names} {direction}'.strip())
    return lines


def test_all_examples_are_there() -> None:
    assert len(EXAMPLES) == 18
    assert sum(len(descriptions) for descriptions in EXAMPLES.values()) == 62


@pytest.mark.parametrize('name', EXAMPLES)
def test_examples_pass_the_checks(name: str) -> None:
    descriptions = EXAMPLES[name]
    for number, (offer, reply) in enumerate(zip(descriptions[::2], descriptions[1::2])):
        # RFC 4317 3.2: sendonly is answered with sendrecv, which RFC 3264 6.1 does not allow.
        check_answer(offer, reply, strict=(name, number) != ('rfc4317 3.2', 1))
    for index, later in enumerate(descriptions[2::2], 2):
        for earlier in descriptions[:index]:
            if earlier.origin.same_session(later.origin):
                check_offer(later, earlier)


def test_the_wrong_direction_of_rfc_4317_is_seen_when_strict() -> None:
    with pytest.raises(NegotiationFailed, match='sendonly was offered, sendrecv answered'):
        check_answer(*EXAMPLES['rfc4317 3.2'][2:], strict=True)


def audio(port: int, *codecs: str | Codec, direction: Direction = SENDRECV) -> Capability:
    return Capability('audio', port, codecs, direction=direction)


def video(port: int, *codecs: str) -> Capability:
    return Capability('video', port, codecs)


#: section, which answer of it, and what the answerer can do; our answer must decide the same
ANSWERS = [
    ('rfc3264 10.1', 1, [audio(49920, 'PCMU'), video(53000, 'MPV')]),
    ('rfc3264 10.1', 3, [audio(49170, 'PCMU'), video(53000, 'MPV'),
                         Capability('audio', 53122, ['telephone-events/8000'])]),
    ('rfc3264 10.2', 1, [audio(54344, 'G723', 'PCMU')]),
    ('rfc3264 10.2', 3, [audio(54344, 'G723', 'PCMU')]),
    ('rfc4317 2.1', 1, [audio(49174, 'PCMU'), video(49170, 'MPV')]),
    ('rfc4317 2.2', 1, [audio(49172, 'PCMA', 'PCMU')]),
    ('rfc4317 2.2', 3, [audio(49172, 'PCMA', 'PCMU')]),
    ('rfc4317 2.4', 1, [audio(49172, 'iLBC'), audio(49174, 'telephone-event')]),
    ('rfc4317 2.6', 1, [audio(49170, 'iLBC', 'telephone-event')]),
    ('rfc4317 2.7', 1, [audio(49172, 'iLBC'), video(51374, 'MPV', 'H261')]),
    ('rfc4317 2.7', 3, [audio(49172, 'iLBC'), video(51374, 'MPV', 'H261')]),
    ('rfc4317 2.8', 1, [audio(49174, 'PCMU'), video(49172, 'MPV')]),
    ('rfc4317 3.1', 1, [audio(49172, 'iLBC', direction=SENDONLY)]),
    ('rfc4317 3.1', 3, [audio(49178, 'iLBC')]),
    ('rfc4317 4.1', 3, [audio(49170, 'iLBC'), audio(49172, 'telephone-event')]),
    ('rfc4317 4.2', 3, [audio(49172, 'PCMU'), video(49168, 'H261')]),
    ('rfc4317 4.3', 3, [audio(49170, 'iLBC'), video(51372, 'H261')]),
    ('rfc4317 5.1', 1, []),
    ('rfc4317 5.1', 3, [audio(49172, 'iLBC')]),
    ('rfc4317 5.2', 1, [audio(49170, 'iLBC')]),
]


@pytest.mark.parametrize(('name', 'index', 'capabilities'), ANSWERS,
                         ids=[f'{name} {index}' for name, index, _ in ANSWERS])
def test_we_answer_as_the_examples_do(name: str, index: int, capabilities: list[Capability]) -> None:
    offer, expected = EXAMPLES[name][index - 1], EXAMPLES[name][index]
    made = make_answer(offer, 'host.biloxi.example.com', capabilities, random=BITS)
    assert shape(made) == shape(expected)
    check_answer(offer, made, strict=True)
    assert parse_sdp(made.to_bytes()) == made


# -- what scripts need

def test_a_plain_offer() -> None:
    offer = make_sdp('192.0.2.1', 4000, random=random.Random(1))
    assert str(offer) == (
        'v=0\r\no=- 288545018 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n'
        'm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n'
        'a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n')
    assert parse_sdp(str(offer)) == offer
    assert make_sdp('192.0.2.1', 4000, random=random.Random(2)).origin != offer.origin


def test_a_plain_offer_on_ipv6() -> None:
    offer = make_sdp('[2001:db8::1]', 4000, ['opus'], random=BITS, direction='sendonly', ptime=20, username='u')
    assert offer.origin[0] == 'u' and offer.origin[3:] == ('IN', 'IP6', '2001:db8::1')
    assert offer.address_of(offer.media[0]) == ('2001:db8::1', 4000)
    assert shape(offer) == ['audio 4000 96 opus sendonly'] and offer.media[0].ptime == 20
    assert 'a=rtpmap:96 opus/48000/2\r\n' in str(offer)


def test_the_first_description_needs_a_session_id() -> None:
    with pytest.raises(UsageError, match='random='):
        make_sdp('192.0.2.1', 4000)
    assert make_sdp('192.0.2.1', 4000, previous=make_sdp('192.0.2.1', 4000, random=BITS)).origin.version == '1'


def test_a_plain_answer() -> None:
    offer = parse_sdp('v=0\no=a 5 5 IN IP4 h\ns=x\nc=IN IP4 h\nt=3034423619 3042462419\nm=video 6 RTP/AVP 31\n'
                      'm=audio 6000 RTP/AVP 18 96 8 0\na=rtpmap:96 telephone-event/8000\na=fmtp:96 0-16\na=ptime:30\n')
    made = answer(offer, '192.0.2.9', 5000, random=BITS)
    assert shape(made) == ['video 0 31', 'audio 5000 96 8 0 telephone-event,PCMA,PCMU sendrecv']
    assert made.first('t') == '3034423619 3042462419'
    assert made.media[1].attribute_values('fmtp') == ['96 0-15']
    assert made.address_of(made.media[1]) == ('192.0.2.9', 5000)
    check_answer(offer, made, strict=True)


# -- choosing codecs

CODEC_CHOICES = [
    ('payload types of the offer', '97 98', ['97 PCMU/8000', '98 PCMA/8000'], ['PCMA', 'PCMU'], '97 98'),
    ('names in any case', '97', ['97 pcmu/8000'], ['PCMU'], '97'),
    ('static without rtpmap', '8 0', [], ['PCMU', 'PCMA'], '8 0'),
    ('a dynamic one without rtpmap means nothing', '96 0', [], ['iLBC', 'PCMU'], '0'),
    ('a redefined static one', '0 8', ['0 X/8000'], ['PCMU', 'PCMA'], '8'),
    ('clock rates differ', '97', ['97 L16/16000'], ['L16/8000'], None),
    ('channels differ', '97', ['97 opus/48000/2'], ['opus/48000'], None),
    ('events alone are no conversation', '18 101', ['101 telephone-event/8000'], ['PCMU', 'telephone-event'], None),
    ('comfort noise neither', '18 13 101', ['101 telephone-event/8000'], ['PCMU', 'CN', 'telephone-event'], None),
    ('but events alone were offered', '101', ['101 telephone-event/8000'], ['PCMU', 'telephone-event'], '101'),
    ('events not known to us', '0 101', ['101 telephone-event/8000'], ['PCMU'], '0'),
    ('events at the rate of the sound', '96 100 0 101', ['96 opus/48000/2', '100 telephone-event/48000',
                                                        '101 telephone-event/8000'],
     ['opus', 'telephone-event'], '96 100'),
    ('at both rates', '96 100 0 101', ['96 opus/48000/2', '100 telephone-event/48000', '101 telephone-event/8000'],
     ['opus', 'PCMU', 'telephone-event'], '96 100 0 101'),
    ('at another rate if there is no better one', '96 101', ['96 AMR-WB/16000', '101 telephone-event/8000'],
     ['AMR-WB', 'telephone-event'], '96 101'),
]


@pytest.mark.parametrize(('formats', 'maps', 'codecs', 'accepted'), [row[1:] for row in CODEC_CHOICES],
                         ids=[row[0] for row in CODEC_CHOICES])
def test_codec_choice(formats: str, maps: list[str], codecs: list[str], accepted: str | None) -> None:
    text = f'v=0\nc=IN IP4 h\nm=audio 6000 RTP/AVP {formats}\n' + ''.join(f'a=rtpmap:{one}\n' for one in maps)
    offer = parse_sdp(text)
    if accepted is None:
        with pytest.raises(NegotiationFailed, match='nothing of the offer'):
            answer(offer, 'h', 5000, codecs, random=BITS)
    else:
        made = answer(offer, 'h', 5000, codecs, random=BITS)
        assert ' '.join(made.media[0].formats) == accepted
        assert len(made.media[0].attribute_values('rtpmap')) == len(accepted.split())


def test_parameters_of_a_codec() -> None:
    offer = parse_sdp('v=0\nc=IN IP4 h\nm=audio 6000 RTP/AVP 96 97 98 18\na=rtpmap:96 AMR/8000\n'
                      'a=fmtp:96 octet-align=1;mode-set=7\na=rtpmap:97 AMR/8000\na=fmtp:97 mode-set=5\n'
                      'a=rtpmap:98 iLBC/8000\na=fmtp:98 mode=20\na=fmtp:18 annexb=yes\n')
    made = answer(offer, 'h', 5000, ['AMR', 'iLBC', Codec('G729', fmtp='annexb=no')], random=BITS)
    # Bandwidth-efficient AMR only: 96 is another bit stream.  Ours where we have an opinion, else as offered.
    assert made.media[0].attribute_values('fmtp') == ['97 mode-set=5', '98 mode=20', '18 annexb=no']


def test_transport_and_type_must_fit() -> None:
    offer = parse_sdp('v=0\nc=IN IP4 h\nm=audio 1 RTP/SAVP 0\nm=AUDIO 2 rtp/avp 0\nm=audio 3 TCP/RTP/AVP 0\n'
                      'm=image 4 udptl t38\nm=audio 5 RTP/AVP 0\n')
    made = answer(offer, 'h', 5000, random=BITS)
    assert [media.port for media in made.media] == [0, 5000, 0, 0, 0]
    assert made.media[0].proto == 'RTP/SAVP' and made.media[3].formats == ('t38',)
    fax = Capability('image', 7000, ['t38'], protos=('udptl',), attributes=(Attribute('T38FaxVersion', '0'),))
    made = make_answer(offer, 'h', [fax], random=BITS)
    assert [media.port for media in made.media] == [0, 0, 0, 7000, 0]
    assert 'm=image 7000 udptl t38\r\na=T38FaxVersion:0\r\na=sendrecv\r\n' in str(made)


def test_an_answer_has_rtcp_mux_only_if_the_offer_has() -> None:
    capability = Capability('audio', 5000, rtcp_mux=True)
    for line, expected in (('a=rtcp-mux\n', True), ('', False)):
        offer = parse_sdp('v=0\nc=IN IP4 h\nm=audio 1 RTP/AVP 0\n' + line)
        assert make_answer(offer, 'h', [capability], random=BITS).media[0].rtcp_mux is expected
    assert make_media(capability).rtcp_mux


def test_a_stream_at_another_address() -> None:
    offer = make_offer('192.0.2.1', [Capability('audio', 4000), Capability('video', 4002, ['H261'], host='192.0.2.2')],
                       random=BITS)
    assert [offer.address_of(media) for media in offer.media] == [('192.0.2.1', 4000), ('192.0.2.2', 4002)]


def test_multicast_is_joined_as_offered() -> None:
    """RFC 3264 6.2: address, port, direction, ptime and bandwidth are those of the offer."""
    offer = parse_sdp('v=0\nc=IN IP4 233.252.0.1/127\nm=audio 49170/2 RTP/AVP 0 8\nb=AS:64\na=ptime:30\na=recvonly\n')
    made = answer(offer, '192.0.2.1', 5000, ['PCMA'], random=BITS)
    media = made.media[0]
    assert (media.port, media.count, media.formats, media.ptime) == (49170, 2, ('8',), 30)
    assert made.direction_of(media) is RECVONLY and media.first('b') == 'AS:64'
    assert made.connection_of(media) == offer.connection
    check_answer(offer, made, strict=True)


def test_the_old_hold_is_answered_by_its_direction() -> None:
    """RFC 6337 5.4."""
    offer = parse_sdp('v=0\nc=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n')
    assert shape(answer(offer, 'h', 5000, random=BITS)) == ['audio 5000 0 PCMU sendrecv']


# -- directions

DIRECTION_TABLE = [
    # offered, wanted, answered: RFC 3264 6.1
    (SENDRECV, SENDRECV, SENDRECV), (SENDRECV, SENDONLY, SENDONLY), (SENDRECV, RECVONLY, RECVONLY),
    (SENDRECV, INACTIVE, INACTIVE), (SENDONLY, SENDRECV, RECVONLY), (SENDONLY, SENDONLY, INACTIVE),
    (SENDONLY, RECVONLY, RECVONLY), (SENDONLY, INACTIVE, INACTIVE), (RECVONLY, SENDRECV, SENDONLY),
    (RECVONLY, SENDONLY, SENDONLY), (RECVONLY, RECVONLY, INACTIVE), (RECVONLY, INACTIVE, INACTIVE),
    (INACTIVE, SENDRECV, INACTIVE), (INACTIVE, SENDONLY, INACTIVE), (INACTIVE, RECVONLY, INACTIVE),
    (INACTIVE, INACTIVE, INACTIVE),
]


@pytest.mark.parametrize(('offered', 'wanted', 'answered'), DIRECTION_TABLE)
def test_direction_of_an_answer(offered: Direction, wanted: Direction, answered: Direction) -> None:
    assert answer_direction(offered, wanted) is answered
    offer = make_sdp('h', 4000, random=BITS, direction=offered)
    made = answer(offer, 'h', 5000, random=BITS, direction=wanted)
    assert made.direction_of(made.media[0]) is answered


# -- versions

def test_version_counts_only_changes() -> None:
    first = make_sdp('192.0.2.1', 4000, random=BITS)
    again = make_sdp('192.0.2.1', 4000, previous=first)
    assert again == first
    moved = make_sdp('192.0.2.1', 4002, previous=again)
    assert (moved.origin.version, moved.origin.session_id) == ('2', first.origin.session_id)
    assert moved.origin.same_session(first.origin)
    other_host = make_sdp('192.0.2.2', 4002, previous=moved)
    assert other_host.origin == first.origin._replace(version='3')
    assert other_host.connection is not None and other_host.connection.address == '192.0.2.2'
    for later, earlier in ((again, first), (moved, again), (other_host, moved)):
        check_offer(later, earlier)


def test_an_answer_counts_on_too() -> None:
    mine = make_sdp('192.0.2.1', 4000, random=BITS)
    theirs = make_sdp('192.0.2.2', 6000, random=BITS)
    made = answer(theirs, '192.0.2.1', 4000, previous=mine)
    assert made == mine
    held = answer(hold(theirs), '192.0.2.1', 4000, previous=made)
    assert held.origin == mine.origin.next() and held.direction_of(held.media[0]) is RECVONLY
    assert numbered(held, None) is held


# -- hold and resume

HOLDS = [
    # before, how, during
    (SENDRECV, 'sendonly', SENDONLY), (SENDONLY, 'sendonly', SENDONLY), (RECVONLY, 'sendonly', INACTIVE),
    (INACTIVE, 'sendonly', INACTIVE), (SENDRECV, 'inactive', INACTIVE), (RECVONLY, 'inactive', INACTIVE),
]


@pytest.mark.parametrize(('before', 'how', 'during'), HOLDS)
def test_hold_and_resume(before: Direction, how: str, during: Direction) -> None:
    normal = make_sdp('h', 4000, random=BITS, direction=before)
    held = hold(normal, how)        # type: ignore[arg-type]
    assert held.direction_of(held.media[0]) is during
    assert held.origin.version == ('1' if during is before else '2')
    assert is_on_hold(held) and is_on_hold(normal) is not before.receives
    resumed = resume(held, normal)
    assert resumed.direction_of(resumed.media[0]) is before
    check_offer(held, normal)
    check_offer(resumed, held)
    assert resume(held).media[0].direction is SENDRECV


def test_hold_by_address() -> None:
    picture = Capability('video', 4002, ['H261'], host='2001:db8::1')
    normal = make_offer('192.0.2.1', [Capability('audio', 4000), picture], random=BITS)
    held = hold(normal, 'address')
    assert [held.address_of(media) for media in held.media] == [('0.0.0.0', 4000), ('::', 4002)]
    assert is_on_hold(held) and not is_on_hold(normal)
    assert [held.direction_of(media) for media in held.media] == [SENDRECV, SENDRECV]
    with pytest.raises(UsageError, match='before'):
        resume(held)
    resumed = resume(held, normal)
    assert resumed.origin.version == '3' and resumed == normal.replace(origin=resumed.origin)


def test_a_direction_at_session_level_is_held_too() -> None:
    description = parse_sdp('v=0\no=- 1 1 IN IP4 h\na=sendrecv\na=tool:x\nm=audio 1 RTP/AVP 0\nm=audio 0 RTP/AVP 0\n')
    held = hold(description)
    assert held.direction is None and held.attribute('tool') == 'x'
    assert [media.direction for media in held.media] == [SENDONLY, None]
    assert not is_on_hold(resume(held))


@pytest.mark.parametrize(('text', 'held'), [
    ('c=IN IP4 h\nm=audio 1 RTP/AVP 0\n', False),
    ('c=IN IP4 h\na=sendonly\nm=audio 1 RTP/AVP 0\n', True),
    ('c=IN IP4 h\na=sendonly\nm=audio 1 RTP/AVP 0\na=sendrecv\n', False),
    ('c=IN IP4 h\nm=audio 1 RTP/AVP 0\na=inactive\n', True),
    ('c=IN IP4 h\nm=audio 1 RTP/AVP 0\na=recvonly\n', False),
    ('c=IN IP4 0.0.0.0\nm=audio 1 RTP/AVP 0\n', True),
    ('c=IN IP4 h\nm=audio 1 RTP/AVP 0\nc=IN IP4 0.0.0.0\n', True),
    ('c=IN IP4 0.0.0.0\nm=audio 1 RTP/AVP 0\nc=IN IP4 h\n', False),
    ('c=IN IP4 h\nm=audio 1 RTP/AVP 0\na=sendonly\nm=video 2 RTP/AVP 31\n', False),
    ('c=IN IP4 h\nm=audio 1 RTP/AVP 0\na=sendonly\nm=video 0 RTP/AVP 31\n', True),
    ('c=IN IP4 h\nm=audio 0 RTP/AVP 0\na=sendonly\n', False),
    ('', False),
])
def test_is_on_hold(text: str, held: bool) -> None:
    assert is_on_hold(parse_sdp('v=0\n' + text)) is held


def test_two_who_hold_each_other() -> None:
    """RFC 6337 5.3: UA1 holds, UA2 holds, UA1 resumes, UA2 resumes."""
    one, two = make_sdp('h1', 4000, random=BITS), answer(make_sdp('h1', 4000, random=BITS), 'h2', 5000, random=BITS)
    seen = []

    def exchange(offer: SessionDescription, reply: SessionDescription) -> tuple[SessionDescription, SessionDescription]:
        check_answer(offer, reply, strict=True)
        seen.append((offer.direction_of(offer.media[0]), reply.direction_of(reply.media[0])))
        return offer, reply

    one, two = exchange(hold(one), answer(hold(one), 'h2', 5000, previous=two))
    two, one = exchange(hold(make_sdp('h2', 5000, previous=two)),
                        answer(hold(make_sdp('h2', 5000, previous=two)), 'h1', 4000, previous=one, direction=SENDONLY))
    one, two = exchange(resume(one), answer(resume(one), 'h2', 5000, previous=two, direction=SENDONLY))
    two, one = exchange(resume(two), answer(resume(two), 'h1', 4000, previous=one))
    assert seen == [(SENDONLY, RECVONLY), (SENDONLY, INACTIVE), (SENDRECV, SENDONLY), (SENDRECV, SENDRECV)]


# -- streams that come and go

def test_streams_are_added_and_removed() -> None:
    picture = make_media(Capability('video', 4002, ['H261']))
    one = make_sdp('h', 4000, random=BITS)
    two = add_stream(one, picture)
    assert shape(two)[1] == 'video 4002 31 H261 sendrecv' and two.origin == one.origin.next()
    three = remove_stream(two, 0)
    assert shape(three) == ['audio 0 0', 'video 4002 31 H261 sendrecv']
    assert three.media[0].lines == ()
    four = add_stream(three, make_media(Capability('audio', 4004)))        # 8.1: in the slot of the removed one
    assert [media.port for media in four.media] == [4004, 4002]
    five = make_sdp('h', 4004, previous=four)                               # 8: streams never disappear
    assert [media.port for media in five.media] == [4004, 0]
    assert [media.port for media in resume(hold(four), one).media] == [4000, 0]
    for later, earlier in ((two, one), (three, two), (four, three), (five, four)):
        check_offer(later, earlier)


def test_an_accepted_stream_keeps_its_port() -> None:
    """Two streams of one type: when the first is removed, the second is not moved to the first one's port."""
    capabilities = [audio(5000, 'PCMU'), audio(5002, 'PCMU')]
    offer = parse_sdp('v=0\no=- 1 1 IN IP4 h\nc=IN IP4 h\nm=audio 1 RTP/AVP 0\nm=audio 3 RTP/AVP 0\n')
    first = make_answer(offer, 'h', capabilities, random=BITS)
    assert [media.port for media in first.media] == [5000, 5002]
    second = make_answer(remove_stream(offer, 0), 'h', capabilities, previous=first)
    assert [media.port for media in second.media] == [0, 5002]
    third = make_answer(add_stream(remove_stream(offer, 0), offer.media[0]), 'h', capabilities, previous=second)
    assert [media.port for media in third.media] == [5000, 5002]


def test_everything_is_rejected() -> None:
    offer = EXAMPLES['rfc4317 2.1'][0]
    made = reject_all(offer, 'h', random=BITS)
    assert shape(made) == ['audio 0 0', 'video 0 31'] and made.active == ()
    check_answer(offer, made, strict=True)
    gone = remove_stream(remove_stream(offer, 0), 1)
    assert shape(answer(gone, 'h', 5000, random=BITS)) == ['audio 0 0', 'video 0 31']


# -- checks

OFFER = ('v=0\no=- 1 1 IN IP4 h\ns=-\nc=IN IP4 h\nt=0 0\n'
         'm=audio 4 RTP/AVP 0 96\na=rtpmap:96 iLBC/8000\nm=video 0 RTP/AVP 31\n')

BAD_ANSWERS = [
    ('too few', 'm=audio 5 RTP/AVP 0\n', 'the answer has 1 m= lines, the offer 2', False),
    ('too many', 'm=audio 5 RTP/AVP 0\nm=video 0 RTP/AVP 31\nm=video 0 RTP/AVP 31\n', '3 m= lines', False),
    ('another type', 'm=image 5 udptl t38\nm=video 0 RTP/AVP 31\n', 'audio was offered, image answered', False),
    ('another order', 'm=video 0 RTP/AVP 31\nm=audio 5 RTP/AVP 0\n', 'stream 1: audio was offered', False),
    ('not offered', 'm=audio 5 RTP/AVP 0\nm=video 5 RTP/AVP 31\n', 'stream 2: accepted although', False),
    ('no common codec', 'm=audio 5 RTP/AVP 8\nm=video 0 RTP/AVP 31\n', 'no format in common', False),
    ('the same number for something else', 'm=audio 5 RTP/AVP 96\na=rtpmap:96 opus/48000/2\nm=video 0 RTP/AVP 31\n',
     'no format in common', False),
    ('another transport', 'm=audio 5 RTP/SAVP 0\nm=video 0 RTP/AVP 31\n', 'RTP/SAVP answered', True),
    ('another time', 't=1 2\nm=audio 5 RTP/AVP 0\nm=video 0 RTP/AVP 31\n', 'another t=', True),
]


@pytest.mark.parametrize(('text', 'what', 'strict'), [row[1:] for row in BAD_ANSWERS],
                         ids=[row[0] for row in BAD_ANSWERS])
def test_bad_answers(text: str, what: str, strict: bool) -> None:
    offer, received = parse_sdp(OFFER), parse_sdp('v=0\nc=IN IP4 h2\n' + text)
    with pytest.raises(NegotiationFailed, match=what) as caught:
        check_answer(offer, received, strict=True)
    assert caught.value.status == 488
    if strict:
        check_answer(offer, received)


@pytest.mark.parametrize('text', [
    'm=audio 0 RTP/AVP 18\nm=video 0 RTP/AVP 99\n',             # formats of a rejected stream are ignored
    'm=audio 5 RTP/AVP 96\nm=video 0 RTP/AVP 31\n',             # a dynamic type without rtpmap is the offered one
    'm=audio 5 RTP/AVP 99\na=rtpmap:99 ILBC/8000\nm=video 0 RTP/AVP 31\n',      # RFC 4317 2.3: another number
])
def test_odd_answers_that_will_do(text: str) -> None:
    check_answer(parse_sdp(OFFER), parse_sdp('v=0\nc=IN IP4 h2\n' + text), strict=True)


@pytest.mark.parametrize(('change', 'what'), [
    (lambda offer: offer.replace(media=offer.media[:1], origin=offer.origin.next()), 'has 1 m= lines'),
    (lambda offer: offer.replace(origin=offer.origin._replace(session_id='2')), 'the session changed'),
    (lambda offer: offer.with_media(0, offer.media[0].replace(port=9)), 'the version in o= did not'),
    (lambda offer: numbered(offer.with_media(0, offer.media[0].with_attribute('rtpmap', '96 opus/48000/2')), offer),
     'payload type 96 was iLBC, now opus'),
])
def test_bad_later_offers(change: object, what: str) -> None:
    offer = parse_sdp(OFFER)
    with pytest.raises(NegotiationFailed, match=what):
        check_offer(change(offer), offer)       # type: ignore[operator]


# -- the outcome

def test_agreed_streams() -> None:
    ours = parse_sdp('v=0\nc=IN IP4 h1\nm=audio 4000 RTP/AVP 0 97 101\na=rtpmap:97 iLBC/8000\n'
                     'a=rtpmap:101 telephone-event/8000\nm=video 4002 RTP/AVP 31\nm=audio 4004 RTP/AVP 0\na=recvonly\n')
    theirs = parse_sdp('v=0\nc=IN IP4 h2\nm=audio 5000 RTP/AVP 99 18 100\na=rtpmap:99 iLBC/8000\n'
                       'a=rtpmap:100 telephone-event/8000\na=sendonly\na=rtcp-mux\nm=video 0 RTP/AVP 31\n'
                       'm=audio 5004 RTP/AVP 0\nc=IN IP4 0.0.0.0\n')
    first, third = agreed(ours, theirs)
    assert (first.position, first.type, first.direction) == (0, 'audio', RECVONLY)
    assert (first.address, first.rtcp.port) == (('h2', 5000), 5000)
    # The peer's numbers to send with, ours to receive.
    assert [(codec.payload, codec.name) for codec in first.send] == [(99, 'iLBC'), (100, 'telephone-event')]
    assert [codec.payload for codec in first.receive] == [0, 97, 101]
    assert (third.position, third.direction, third.address) == (2, RECVONLY, None)
    back = [(stream.direction, stream.address) for stream in agreed(theirs, ours)]
    assert back == [(SENDONLY, ('h1', 4000)), (SENDONLY, ('h1', 4004))]


CODECS = st.lists(st.sampled_from(['PCMU', 'PCMA', 'G722', 'iLBC', 'opus', 'telephone-event', 'CN', 'L16/16000']),
                  min_size=1, max_size=4, unique=True)
CAPABILITIES = st.lists(
    st.tuples(st.sampled_from(['audio', 'video']), st.integers(1, 65535), CODECS, st.sampled_from(Direction))
    .map(lambda row: Capability(row[0], row[1], row[2], direction=row[3])), max_size=3)


@given(CAPABILITIES, CAPABILITIES, st.integers(0, 7))
def test_what_we_answer_passes_our_own_checks(theirs: list[Capability], ours: list[Capability], changes: int) -> None:
    offer = make_offer('h1', theirs, random=BITS)
    last = None
    for number in range(3):
        try:
            made = make_answer(offer, 'h2', ours, random=BITS, previous=last)
        except NegotiationFailed:
            made = reject_all(offer, 'h2', random=BITS, previous=last)
        check_answer(offer, made, strict=True)
        if last is not None:
            check_offer(made, last)
        for stream in agreed(made, offer):
            assert stream.send and stream.receive
        last = made
        before = offer
        if changes >> number & 1:
            offer = hold(offer)
        elif offer.media:
            offer = remove_stream(offer, number % len(offer.media))
        check_offer(offer, before)


def test_values_are_shared_safely() -> None:
    media = Media('audio', 1, formats=['0'], lines=[Line('a', 'x')])
    assert {media: 1}[Media('audio', 1, 'RTP/AVP', ('0',), (Line('a', 'x'),))] == 1
