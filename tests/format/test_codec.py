"""What is stored opens again, exactly; what is not ours does not open, and costs little."""

from __future__ import annotations

import contextlib
import random
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import Corrupt
from syncd.format.codec import MAX_FRAME_RAW, RAW, ZEROS, ZSTD, decode, encode, is_zeros

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@given(st.binary(max_size=3000), st.integers(1, 40), st.booleans())
@settings(deadline=None)
def test_what_is_encoded_decodes(unit: bytes, times: int, compress: bool) -> None:
    data = unit * times
    codec, stored = encode(memoryview(data), compress)
    assert decode(codec, stored, len(data)) == data
    assert len(stored) <= len(data)


def test_data_that_does_not_shrink_is_handed_back_uncopied() -> None:
    view = memoryview(random.Random(1).randbytes(200_000))
    codec, stored = encode(view, True)
    assert codec == RAW
    assert stored is view


def test_data_that_shrinks_is_compressed_only_on_request() -> None:
    view = memoryview(b"step 1 loss 0.5\n" * 20_000)
    assert encode(view, False)[0] == RAW
    codec, stored = encode(view, True)
    assert codec == ZSTD
    assert len(stored) < len(view) // 10


def test_saving_a_twentieth_is_not_worth_it() -> None:
    rng = random.Random(2)
    data = rng.randbytes(95_000) + b"x" * 5_000
    assert encode(memoryview(data), True)[0] == RAW


@pytest.mark.parametrize("size", [1, 2, 3, 65535, 65536, 65537, 200_000])
def test_zeros_are_found_and_a_single_bit_among_them_too(size: int) -> None:
    data = bytearray(size)
    assert encode(memoryview(data), False) == (ZEROS, b"")
    for place in {0, 1, size // 3, size // 2, size - 2, size - 1, 65535, 65536} & set(range(size)):
        data[place] = 1
        assert not is_zeros(memoryview(data)), place
        data[place] = 0
    assert decode(ZEROS, b"", size) == bytes(size)


def test_nothing_is_not_zeros() -> None:
    assert encode(memoryview(b""), True) == (RAW, b"")
    assert decode(RAW, b"", 0) == b""


def test_a_frame_over_the_cap_is_not_made() -> None:
    with pytest.raises(ValueError, match="the most is"):
        encode(memoryview(bytes(MAX_FRAME_RAW + 1)), False)


@pytest.mark.parametrize(
    ("codec", "stored", "raw_length"),
    [
        (RAW, b"abc", 2),
        (RAW, b"abc", 4),
        (ZEROS, b"\0", 1),
        (ZEROS, b"", MAX_FRAME_RAW + 1),
        (ZEROS, b"", -1),
        (RAW, b"", -1),
        (3, b"abc", 3),
        (255, b"", 0),
        (-1, b"", 0),
        (ZSTD, b"", 0),
        (ZSTD, b"not zstd at all", 15),
        (ZSTD, zstd.compress(b"abc"), 2),
        (ZSTD, zstd.compress(b"abc"), 4),
        (ZSTD, zstd.compress(b"abc")[:-1], 3),
        (ZSTD, zstd.compress(b"abc") + b"\0", 3),
        (ZSTD, zstd.compress(b"abc") * 2, 3),
        (ZSTD, zstd.compress(b"abc") * 2, 6),
        (ZSTD, zstd.compress(b"abc"), MAX_FRAME_RAW + 1),
    ],
)
def test_a_frame_that_is_not_what_it_claims_is_corrupt(codec: int, stored: bytes, raw_length: int) -> None:
    with pytest.raises(Corrupt):
        decode(codec, stored, raw_length)


@given(st.sampled_from([RAW, ZSTD, ZEROS, 7]), st.binary(max_size=300), st.integers(-5, 2**40))
@settings(deadline=None, max_examples=300)
def test_any_bytes_either_decode_to_the_claimed_length_or_are_corrupt(codec: int, stored: bytes, length: int) -> None:
    with contextlib.suppress(Corrupt):
        assert len(decode(codec, stored, length)) == length


@given(st.integers(0, 10**6), st.integers(0, 7))
@settings(deadline=None, max_examples=200)
def test_a_flipped_bit_never_gives_another_length_or_another_error(place: int, bit: int) -> None:
    data = b"epoch 3 loss 0.25 accuracy 0.9\n" * 50
    stored = bytearray(zstd.compress(data, level=1))
    stored[place % len(stored)] ^= 1 << bit
    with contextlib.suppress(Corrupt):
        assert len(decode(ZSTD, stored, len(data))) == len(data)


def test_a_bomb_is_corrupt_and_costs_no_memory() -> None:
    bomb = zstd.compress(bytes(256 << 20), level=1)
    assert len(bomb) < 64 << 10
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            decode(ZSTD, bomb, 1000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_window_over_the_cap_is_corrupt() -> None:
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(b"abc" * 1000) + compressor.flush()
    with pytest.raises(Corrupt):
        decode(ZSTD, frame, 3000)


def test_a_frame_of_the_greatest_size_opens_at_any_level() -> None:
    data = random.Random(3).randbytes(1 << 20) * 16
    assert decode(ZSTD, zstd.compress(data, level=1), MAX_FRAME_RAW) == data
    assert decode(ZSTD, zstd.compress(data, level=12), MAX_FRAME_RAW) == data
