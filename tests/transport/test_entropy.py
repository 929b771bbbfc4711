"""Randomness in pieces."""

from __future__ import annotations

import os

import pytest

from greensip.transport.entropy import POOL, Entropy


@pytest.mark.parametrize('bits', [0, 1, 7, 8, 9, 64, 80, 128, POOL * 8])
def test_width(bits: int) -> None:
    entropy = Entropy()
    drawn = [entropy.getrandbits(bits) for _ in range(200)]
    assert all(0 <= number < 1 << bits for number in drawn)
    if bits >= 64:
        assert len(set(drawn)) == 200
    elif bits:
        assert max(drawn).bit_length() == bits


def test_too_many_bits() -> None:
    with pytest.raises(ValueError):
        Entropy().getrandbits(POOL * 8 + 1)


def test_a_forked_child_draws_its_own_numbers() -> None:
    entropy = Entropy()
    entropy.getrandbits(64)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, entropy.getrandbits(128).to_bytes(16, 'big'))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int.from_bytes(os.read(reader, 16), 'big')
    os.close(reader)
    os.close(writer)
    assert theirs != entropy.getrandbits(128)
