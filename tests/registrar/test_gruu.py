"""Temporary GRUUs: they tell nothing, and stand for what they were made for."""

from __future__ import annotations

import random

from greensip.message import SipUri, parse_uri
from greensip.registrar.gruu import Gruus, public_gruu

NUMBERS = ['0000000000000000', 'ffffffffffffffff', '0123456789abcdef']


def user_of(text):
    uri = parse_uri(text)
    assert isinstance(uri, SipUri) and uri.params['gr'] is None and uri.host == 'example.com'
    return uri.user


def test_they_stand_for_their_number():
    gruus = Gruus(b'secret')
    for nonce, number in enumerate(NUMBERS * 3):
        user = user_of(gruus.make('sip', 'example.com', number, nonce))
        assert gruus.number(user) == gruus.number(user.upper()) == number


def test_no_two_are_equal_nor_have_anything_in_common():
    gruus = Gruus(b'secret')
    chance = random.Random(1)
    made = [user_of(gruus.make('sips', 'example.com', NUMBERS[0], chance.getrandbits(96))) for _ in range(500)]
    assert len(set(made)) == 500
    prefix = len('tgruu.')
    # Each place after the prefix takes many of the 32 digits; the last digit holds bits that are always zero.
    assert all(len({text[place] for text in made}) > 25 for place in range(prefix, len(made[0]) - 1))


def test_those_of_others_are_none_of_ours():
    ours, theirs = Gruus(b'secret'), Gruus(b'another')
    user = user_of(theirs.make('sip', 'example.com', NUMBERS[2], 7))
    assert ours.number(user) is None
    user = user_of(ours.make('sip', 'example.com', NUMBERS[2], 7))
    for place in range(len('tgruu.'), len(user) - 1):
        other = 'a' if user[place] != 'a' else 'b'
        assert ours.number(user[:place] + other + user[place + 1:]) is None


def test_public():
    assert public_gruu('sip', 'alice', 'example.com', 'urn:uuid:f81d') == 'sip:alice@example.com;gr=urn:uuid:f81d'
    assert public_gruu('sips', 'a b', 'h', 'x;y') == 'sips:a%20b@h;gr=x%3By'
