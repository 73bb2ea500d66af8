"""How a chunk's bytes are stored: as they are, compressed, or not at all because they are zeros.

Compression is tried on a sample first: weights and images do not shrink, and zstd costs several times what cutting
and hashing cost. Level 1 because higher levels gain little on such data and lose much time.

Decoding trusts nothing. The length that the frame claims is capped before a byte is allocated, the output is capped
at that length, the window is capped, and whatever does not come out exactly as claimed is Corrupt. (The chunk's hash
is checked by the caller.)
"""

from __future__ import annotations

import sys

from syncd.errors import Corrupt
from syncd.model.buffer import Buffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RAW = 0
ZSTD = 1
ZEROS = 2

MAX_FRAME_RAW = 16 << 20

_LEVEL = 1
_WINDOW_LOG_MAX = 24  # 16 MiB: a frame is never longer, so no honest window is
_SAMPLE_PIECE = 4096
_SAMPLE_PIECES = 4
_ZEROS = bytearray(1 << 16)  # a bytearray because it compares with any buffer by memcmp; never written


def encode(data: memoryview, compress: bool) -> tuple[int, Buffer]:
    """(codec, payload) for a chunk of at most MAX_FRAME_RAW bytes; a RAW payload is `data` itself, not a copy.

    Zeros are found always; zstd is used where `compress` and it saves more than a tenth. Raises ValueError if longer.
    """
    if len(data) > MAX_FRAME_RAW:
        raise ValueError(f"a frame of {len(data)} bytes; the most is {MAX_FRAME_RAW}")
    if is_zeros(data):
        return ZEROS, b""
    if compress and _sample_shrinks(data):
        packed = zstd.compress(data, level=_LEVEL)
        if _worthwhile(len(packed), len(data)):
            return ZSTD, packed
    return RAW, data


def decode(codec: int, stored: Buffer, raw_length: int) -> bytes:
    """The `raw_length` bytes that `stored` stands for. Raises Corrupt; never allocates more than MAX_FRAME_RAW."""
    view = memoryview(stored)
    if not 0 <= raw_length <= MAX_FRAME_RAW:
        raise _corrupt(f"a frame claims {raw_length} bytes", f"the most is {MAX_FRAME_RAW}")
    if codec == ZSTD:
        return _unpack(view, raw_length)
    if codec not in (RAW, ZEROS):
        raise _corrupt(f"unknown codec {codec}", "written by a newer syncd, or damaged")
    expected = raw_length if codec == RAW else 0
    if view.nbytes != expected:
        raise _corrupt(f"{view.nbytes} bytes stored", f"codec {codec} with {raw_length} raw bytes stores {expected}")
    return bytes(view) if codec == RAW else bytes(raw_length)


def is_zeros(data: memoryview) -> bool:
    """Is it one or more zero bytes and nothing else? Three bytes answer nearly always."""
    size = len(data)
    if not size or data[0] or data[-1] or data[size // 2]:
        return False
    step = len(_ZEROS)
    # The bytearray stands on the left: its comparison is memcmp, a memoryview's goes item by item.
    return all(_ZEROS[: size - at] == data[at : at + step] for at in range(0, size, step))


def _sample_shrinks(data: memoryview) -> bool:
    if len(data) <= 2 * _SAMPLE_PIECE * _SAMPLE_PIECES:
        return True
    stride = (len(data) - _SAMPLE_PIECE) // (_SAMPLE_PIECES - 1)
    sample = b"".join(data[n * stride : n * stride + _SAMPLE_PIECE] for n in range(_SAMPLE_PIECES))
    return _worthwhile(len(zstd.compress(sample, level=_LEVEL)), len(sample))


def _worthwhile(packed: int, raw: int) -> bool:
    return packed * 10 < raw * 9


def _unpack(view: memoryview, raw_length: int) -> bytes:
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
    try:
        # One byte more than promised, so that a longer output shows; it is never produced further.
        raw = decompressor.decompress(view, max_length=raw_length + 1)
    except zstd.ZstdError as error:
        raise _corrupt("a compressed frame does not open", str(error)) from error
    if len(raw) != raw_length or not decompressor.eof or decompressor.unused_data:
        raise _corrupt("a compressed frame is not what it claims", f"{raw_length} bytes promised")
    return raw


def _corrupt(what: str, why: str) -> Corrupt:
    return Corrupt(what, why, "run `syncctl verify`; another copy or node may still have the bytes")
