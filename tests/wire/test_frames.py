"""A stream of bytes becomes frames, however it is cut; what breaks a limit becomes WireError and costs little."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd_client.wire import limits
from syncd_client.wire.errors import WireError
from syncd_client.wire.frames import FrameReader, decode_frame, encode_frame
from tests.kit.wire_messages import JSON, TEXT

MAPS = st.dictionaries(TEXT, JSON | st.binary(max_size=40), max_size=5)


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@given(st.lists(MAPS, max_size=5), st.data())
def test_any_split_of_the_stream_gives_the_same_frames(payloads, data):
    stream = b"".join(encode_frame(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader()
    frames = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames += reader.feed(stream[start:end])
    assert frames == payloads
    assert reader.held == 0


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_garbage_only_ever_gives_wire_error(pieces):
    reader = FrameReader()
    try:
        for piece in pieces:
            assert all(isinstance(frame, dict) for frame in reader.feed(piece))
    except WireError as error:
        assert error.fatal


@given(st.binary(max_size=300))
def test_a_garbage_body_only_ever_gives_wire_error(body):
    try:
        decode_frame(body)
    except WireError as error:
        assert error.fatal


@given(st.one_of(MAPS), st.data())
def test_a_body_cut_or_changed_gives_wire_error_or_another_map(payload, data):
    body = bytearray(encode_frame(payload)[4:])
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(decode_frame(bytes(body)), dict)
    except WireError as error:
        assert error.fatal
    if len(body) > 1:
        with pytest.raises(WireError):
            decode_frame(encode_frame(payload)[4:-1])


def test_a_spent_reader_takes_nothing_more():
    reader = FrameReader()
    with pytest.raises(WireError):
        reader.feed(b"\xff\xff\xff\xff")
    with pytest.raises(WireError):
        reader.feed(encode_frame({}))


def test_a_frame_over_the_limit_is_refused_by_its_length_alone():
    reader = FrameReader(limits.HELLO_LIMIT)
    with pytest.raises(WireError, match="longer than 262144"):
        reader.feed((limits.HELLO_LIMIT + 1).to_bytes(4, "big"))
    reader = FrameReader(limits.HELLO_LIMIT)
    reader.limit = limits.FRAME_LIMIT
    assert reader.feed((limits.HELLO_LIMIT + 1).to_bytes(4, "big")) == []


def _nested(depth: int) -> bytes:
    return b"\x81\xa1a" + b"\x91" * (depth - 1) + b"\xc0"


BROKEN = {
    "not a map": b"\x93\x01\x02\x03",
    "nothing": b"",
    "not one map": b"\x80\x80",
    "never-used tag": b"\x81\xa1a\xc1",
    "ext": b"\x81\xa1a" + msgpack.packb(msgpack.ExtType(1, b"x")),
    "timestamp": b"\x81\xa1a\xd6\xff\x00\x00\x00\x01",
    "key twice": b"\x82\xa1a\x01\xa1a\x02",
    "key twice, inside": b"\x81\xa1z\x82\xa1a\x01\xa1a\x02",
    "number as key": b"\x81\x01\x02",
    "bytes as key": b"\x81\xc4\x01a\x02",
    "nan": b"\x81\xa1a" + msgpack.packb(float("nan")),
    "inf": b"\x81\xa1a" + msgpack.packb(float("-inf")),
    "float32 nan": b"\x81\xa1a\xca\x7f\xc0\x00\x00",
    "float32 inf": b"\x81\xa1a\xca\xff\x80\x00\x00",
    "not utf-8": b"\x81\xa1a\xa1\xff",
    "surrogate": b"\x81\xa1a\xa3\xed\xa0\x80",
    "list as key": b"\x81\x90\x02",
    "nested": _nested(limits.DEPTH_LIMIT + 1),
    "long list": b"\x81\xa1a" + msgpack.packb([None] * (limits.ARRAY_LIMIT + 1)),
    "big map": msgpack.packb({str(n): None for n in range(limits.MAP_LIMIT + 1)}),
    "more than its bytes": b"\x81\xa1a\xdd\x00\x00\xff\xff\xc0",
    "text beyond the end": b"\x81\xa1a\xdb\x00\x0f\xff\xffx",
    "empty maps": b"\x81\xa1a" + msgpack.packb([{}] * (limits.CONTAINER_LIMIT + 1)),
    "values": msgpack.packb({"a": [None] * 65_000, "b": [None] * 65_000, "c": [None] * 2_000}),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_is_not_spoken_here_is_refused(body):
    with pytest.raises(WireError) as caught:
        FrameReader().feed(_framed(body))
    assert caught.value.fatal


def test_everything_at_its_limit_passes():
    for payload in (
        {str(n): None for n in range(limits.MAP_LIMIT)},
        {"a": [None] * limits.ARRAY_LIMIT},
        {"a": [{}] * (limits.CONTAINER_LIMIT - 2)},
        {"a": b"x" * (limits.FRAME_LIMIT - 8)},
    ):
        assert FrameReader().feed(encode_frame(payload)) == [payload]
    assert FrameReader().feed(_framed(_nested(limits.DEPTH_LIMIT)))


def test_what_the_other_side_would_refuse_is_not_sent():
    for payload in (
        {"a": float("nan")},
        {"a": 1 << 64},
        {"a": "\ud800"},
        {"a": object()},
        {"a": b"x" * limits.FRAME_LIMIT},
        {"a": [None] * (limits.ARRAY_LIMIT + 1)},
    ):
        with pytest.raises(WireError) as caught:
            encode_frame(payload)
        assert caught.value.code == "invalid"


def _one_entry_maps(count: int) -> bytes:
    return b"\x81\xa1a\xdd" + count.to_bytes(4, "big") + b"\x81\xa1x\x90" * count


HUNGRY = {
    "a million empty maps": b"\x81\xa1a" + b"\xdc\xff\xff" + (b"\x80" * 65_535) + b"\x80" * 900_000,
    "arrays within arrays that claim 65,536 places each": b"\x81\xa1a"
    + b"\xdd\x00\x01\x00\x00" * 1000
    + b"\0" * 900_000,
    "maps within maps that claim 4,096 places each": b"\x81\xa1a" + b"\xde\x10\x00\xa1a" * 1000 + b"\0" * 900_000,
    "as many small maps as are allowed": _one_entry_maps(16_000),
    "as many short texts as are allowed": msgpack.packb({"a": ["abc"] * 65_000, "b": ["abc"] * 65_000}),
}


@pytest.mark.parametrize("body", HUNGRY.values(), ids=HUNGRY)
def test_a_frame_never_costs_more_than_a_few_times_its_limit(body):
    tracemalloc.start()
    try:
        FrameReader().feed(_framed(body[: limits.FRAME_LIMIT]))
    except WireError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 32 << 20
