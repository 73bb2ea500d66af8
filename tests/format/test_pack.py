"""Packs: what goes in comes out, and nothing else ever does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import Corrupt, InvalidInput
from syncd.format import codec, pack
from syncd.format.digest import hash_bytes

CHUNKS = [b"text " * 300, bytes(4000), hash_bytes(b"noise") * 3, b"x"]


def built(chunks=CHUNKS, nonce=b"n" * 16):
    builder = pack.PackBuilder(nonce)
    for chunk in chunks:
        number, payload = codec.encode(memoryview(chunk), True)
        builder.add(hash_bytes(chunk), len(chunk), number, payload)
    size = builder.size
    sealed = builder.seal()
    data = b"".join(bytes(part) for part in sealed.parts)
    assert size == sealed.size == len(data)
    return sealed, data


def opened(frame, data):
    return pack.open_frame(frame, data[frame.offset : frame.offset + frame.stored_length])


@settings(max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=12))
def test_every_chunk_comes_back_from_its_pack(chunks):
    sealed, data = built(chunks)
    frames = pack.parse_tail(data, sealed.pack, len(data))
    assert frames == sealed.frames
    assert [opened(frame, data) for frame in frames] == chunks


def test_all_three_codecs_are_used_and_read():
    sealed, _ = built()
    assert {frame.codec for frame in sealed.frames} == {codec.RAW, codec.ZSTD, codec.ZEROS}


def test_the_index_alone_is_enough_to_know_the_frames():
    sealed, data = built()
    needed = pack.tail_needed(data[-64:])
    assert pack.parse_tail(data[-needed:], sealed.pack, len(data)) == sealed.frames
    with pytest.raises(Corrupt):
        pack.parse_tail(data[-needed + 1 :], sealed.pack, len(data))


def test_every_flipped_bit_is_found_or_harmless():
    sealed, data = built([b"text " * 20, bytes(300), b"x"])
    harmless = 0
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        try:
            frames = pack.parse_tail(bytes(flipped), sealed.pack, len(flipped))
            assert [opened(frame, bytes(flipped)) for frame in frames] == [b"text " * 20, bytes(300), b"x"]
            harmless += 1
        except Corrupt:
            pass
    headers = pack.HEADER.size + 3 * pack.FRAME.size  # no restore reads them; resync judges them by the hash
    assert headers * 8 <= harmless <= (headers + 16) * 8


def test_the_same_chunks_under_another_nonce_are_another_pack():
    assert built(nonce=b"a" * 16)[0].pack != built(nonce=b"b" * 16)[0].pack
    assert built(nonce=b"a" * 16)[1] == built(nonce=b"a" * 16)[1]


def test_a_whole_pack_under_another_name_is_corrupt():
    _, data = built()
    with pytest.raises(Corrupt, match="another one"):
        pack.parse_tail(data, bytes(32), len(data))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_pack_of_another_size_than_its_frames_make_is_corrupt(change):
    sealed, data = built()
    with pytest.raises(Corrupt, match="wrong size"):
        pack.parse_tail(data, sealed.pack, len(data) + change)


def forged(raw, stored, number, encryption=0, zero=0, count=1):
    """Return (tail, id, size) of a pack whose index says this, with all hashes right."""
    index = pack.ROW.pack(raw, stored, number, encryption, zero, bytes(32)) * count
    trailer = pack.TRAILER.pack(bytes(16), count, len(index), hash_bytes(index), pack.TRAILER_MAGIC)
    size = pack.HEADER.size + count * (pack.FRAME.size + stored) + len(index) + pack.TRAILER.size
    return index + trailer, pack.pack_id(bytes(16), index), size


@pytest.mark.parametrize(
    "row",
    [
        (0, 0, codec.RAW),
        (codec.MAX_FRAME_RAW + 1, 5, codec.ZSTD),
        (5, 2**32 - 1, codec.ZSTD),
        (5, 4, codec.RAW),
        (5, 1, codec.ZEROS),
        (5, 5, codec.RAW, 0, 1),
    ],
)
def test_an_index_with_impossible_frames_is_corrupt_though_its_hashes_are_right(row):
    with pytest.raises(Corrupt, match="impossible frame"):
        pack.parse_tail(*forged(*row))


def test_a_frame_of_an_unknown_codec_or_encryption_is_refused_by_number_when_it_is_read():
    (later,) = pack.parse_tail(*forged(5, 5, 77))
    with pytest.raises(Corrupt, match="77"):
        pack.open_frame(later, b"12345")
    (secret,) = pack.parse_tail(*forged(5, 5, codec.RAW, 3))
    with pytest.raises(Corrupt) as caught:
        pack.open_frame(secret, b"12345")
    assert "scheme 3" in caught.value.why


def test_a_trailer_that_claims_more_frames_than_a_pack_may_hold_is_corrupt_before_they_are_fetched():
    trailer = pack.TRAILER.pack(bytes(16), 2**32 - 1, 44, bytes(32), pack.TRAILER_MAGIC)
    with pytest.raises(Corrupt):
        pack.tail_needed(trailer)


def test_frames_are_found_without_the_index():
    sealed, data = built()
    assert tuple(pack.resync(data[: len(data) - 200])) == sealed.frames
    damaged = bytearray(data)
    damaged[sealed.frames[0].offset] ^= 1
    assert tuple(pack.resync(damaged)) == sealed.frames[1:]


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_resync_of_garbage_around_frames_finds_only_true_chunks(before, after):
    _, data = built([b"abc"])
    body = data[32 : -64 - 44]
    for frame in pack.resync(before + pack.FRAME_MAGIC + body + after):
        assert opened(frame, before + pack.FRAME_MAGIC + body + after) == b"abc"


def test_payloads_are_kept_by_reference():
    payload = memoryview(b"p" * 100)
    builder = pack.PackBuilder(b"n" * 16)
    builder.add(hash_bytes(payload), 100, codec.RAW, payload)
    assert any(part is payload for part in builder.seal().parts)


def test_what_no_reader_takes_cannot_be_added():
    builder = pack.PackBuilder(b"n" * 16)
    for hash_, raw in [(b"short", 1), (bytes(32), 0), (bytes(32), codec.MAX_FRAME_RAW + 1)]:
        with pytest.raises(InvalidInput):
            builder.add(hash_, raw, codec.RAW, b"x")
    with pytest.raises(InvalidInput):
        builder.seal()
    with pytest.raises(InvalidInput):
        pack.PackBuilder(b"short")


def test_a_pack_is_full_at_its_target():
    builder = pack.PackBuilder(b"n" * 16)
    builder.add(bytes(32), 1000, codec.RAW, bytes(1000))
    assert builder.is_full(1000) and not builder.is_full(2000)
    assert builder.count == 1


def test_one_frame_more_than_a_pack_may_hold_is_corrupt():
    count = pack.MAX_FRAMES + 1
    trailer = pack.TRAILER.pack(bytes(16), count, count * pack.ROW.size, bytes(32), pack.TRAILER_MAGIC)
    with pytest.raises(Corrupt, match="impossible index"):
        pack.tail_needed(trailer)


def test_a_payload_that_was_cut_short_is_named_so():
    sealed, data = built([b"abc"])
    with pytest.raises(Corrupt, match="cut short"):
        pack.open_frame(sealed.frames[0], data[80:82])
