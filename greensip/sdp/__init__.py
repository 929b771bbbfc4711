"""Session descriptions (RFC 8866) and the offer/answer model (RFC 3264, RFC 6337)."""

from greensip.sdp.codec import DEFAULT_CODECS, TELEPHONE_EVENT, Codec, number_codecs, parse_codec, static_codec
from greensip.sdp.description import (
    INACTIVE,
    RECVONLY,
    SDP_LIMITS,
    SENDONLY,
    SENDRECV,
    Attribute,
    Bandwidth,
    Connection,
    Crypto,
    Direction,
    Line,
    Media,
    Origin,
    Rtcp,
    SdpLimits,
    SessionDescription,
    Time,
    parse_sdp,
)
from greensip.sdp.negotiation import (
    Capability,
    Stream,
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
    reject_all,
    remove_stream,
    resume,
)
from greensip.sdp.offer_answer import PATTERNS, Meaning, OfferAnswer, Pattern, Place, Refusal, pattern_of, place_of

__all__ = [
    'DEFAULT_CODECS', 'INACTIVE', 'PATTERNS', 'RECVONLY', 'SDP_LIMITS', 'SENDONLY', 'SENDRECV', 'TELEPHONE_EVENT',
    'Attribute', 'Bandwidth', 'Capability', 'Codec', 'Connection', 'Crypto', 'Direction', 'Line', 'Meaning', 'Media',
    'OfferAnswer', 'Origin', 'Pattern', 'Place', 'Refusal', 'Rtcp', 'SdpLimits', 'SessionDescription', 'Stream',
    'Time', 'add_stream', 'agreed', 'answer', 'answer_direction', 'check_answer', 'check_offer', 'hold', 'is_on_hold',
    'make_answer', 'make_media', 'make_offer', 'make_sdp', 'number_codecs', 'numbered', 'parse_codec', 'parse_sdp',
    'pattern_of', 'place_of', 'reject_all', 'remove_stream', 'resume', 'static_codec',
]
