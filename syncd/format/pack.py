"""Packs: objects of some MiB that hold chunks as frames, an index behind them, and a trailer that finds the index.

    header (32)   magic 8 | u32 version | u32 zero | nonce 16
    frame         magic 4 | u32 raw length | u32 stored length | u8 codec | u8 encryption | 2 zero | hash 32 | payload
    index         per frame, 44 bytes: the same fields without the magic
    trailer (64)  nonce 16 | u32 count | u32 index length | BLAKE3 of the index 32 | magic 8

All numbers are little-endian. The pack's name is the BLAKE3 of header and index: the index holds the hash of every
chunk, so the name covers every byte a reader uses without a second pass over the data (docs/decisions/0001). The
nonce, drawn when the pack is opened, gives content that is stored again after a collection another name.

Frames follow each other without gaps, so offsets are not stored but summed, and frames cannot overlap. Each repeats
its fields in front of its payload: a pack that lost its end is still readable (`resync`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from syncd.errors import Corrupt, InvalidInput
from syncd.format import codec as codecs
from syncd.format.digest import HASH_BYTES, hash_bytes
from syncd.model.buffer import Buffer

HEADER = struct.Struct("<8sII16s")
FRAME = struct.Struct("<4sIIBBH32s")
ROW = struct.Struct("<IIBBH32s")
TRAILER = struct.Struct("<16sII32s8s")

PACK_MAGIC = b"SYNCDPAK"
TRAILER_MAGIC = b"SYNCDEND"
FRAME_MAGIC = b"\xf7SF\x01"
PACK_VERSION = 1
NONCE_BYTES = 16

TAIL_GUESS = 64 << 10
MAX_FRAMES = 1 << 18
MAX_STORED = codecs.MAX_FRAME_RAW + (codecs.MAX_FRAME_RAW >> 8) + 64
ROLE = "pack"


@dataclass(frozen=True, slots=True)
class Frame:
    """One chunk in a pack; `offset` is where its `stored_length` payload bytes start in the pack."""

    hash: bytes
    raw_length: int
    stored_length: int
    codec: int
    encryption: int
    offset: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished pack: its id, the buffers to store one after the other, its frames, its size in bytes."""

    pack: bytes
    parts: list[Buffer]
    frames: tuple[Frame, ...]
    size: int


class PackBuilder:
    """Collects chunks until it is sealed. Payloads are kept by reference: do not change them before the store is done.

    Args:
        nonce: 16 bytes that no other transaction uses; known before anything is stored (law L3).
    """

    def __init__(self, nonce: bytes) -> None:
        if len(nonce) != NONCE_BYTES:
            raise InvalidInput(f"a pack nonce of {len(nonce)} bytes", f"it has {NONCE_BYTES}")
        self._nonce = nonce
        self._parts: list[Buffer] = [HEADER.pack(PACK_MAGIC, PACK_VERSION, 0, nonce)]
        self._rows: list[bytes] = []
        self._frames: list[Frame] = []
        self._end = HEADER.size

    def add(self, hash: bytes, raw_length: int, codec: int, payload: Buffer) -> int:  # noqa: A002
        """Append a chunk (`payload` as codec.encode made it) and return its frame number.

        Raises:
            InvalidInput: the pack holds MAX_FRAMES, or the lengths are beyond what a reader takes.
        """
        stored = len(payload)
        if len(hash) != HASH_BYTES or not 0 < raw_length <= codecs.MAX_FRAME_RAW or stored > MAX_STORED:
            raise InvalidInput(f"a chunk of {raw_length} bytes, {stored} stored, fits no pack")
        if len(self._frames) == MAX_FRAMES:
            raise InvalidInput(f"the pack is full: it holds {MAX_FRAMES} chunks")
        self._parts.append(FRAME.pack(FRAME_MAGIC, raw_length, stored, codec, 0, 0, hash))
        self._parts.append(payload)
        self._rows.append(ROW.pack(raw_length, stored, codec, 0, 0, hash))
        self._frames.append(Frame(hash, raw_length, stored, codec, 0, self._end + FRAME.size))
        self._end += FRAME.size + stored
        return len(self._frames) - 1

    @property
    def size(self) -> int:
        """Bytes the pack would have if it were sealed now."""
        return self._end + ROW.size * len(self._rows) + TRAILER.size

    @property
    def count(self) -> int:
        """Chunks added so far."""
        return len(self._frames)

    def is_full(self, target: int) -> bool:
        """Say whether the pack should be sealed: it reached `target` bytes or as many chunks as one may hold."""
        return self.size >= target or len(self._frames) >= MAX_FRAMES

    def seal(self) -> Sealed:
        """Return the finished pack; the builder is not to be used after it. InvalidInput when it holds no chunk."""
        if not self._frames:
            raise InvalidInput("a pack without chunks is not stored")
        index = b"".join(self._rows)
        trailer = TRAILER.pack(self._nonce, len(self._rows), len(index), hash_bytes(index), TRAILER_MAGIC)
        parts = [*self._parts, index, trailer]
        return Sealed(pack_id(self._nonce, index), parts, tuple(self._frames), self.size)


def pack_nonce(txn: str, epoch: int) -> bytes:
    """Return the nonce of the packs that transaction `txn` makes having seen the collection epoch `epoch`.

    A repeated pack has the same name and bytes; content stored again after a collection never has a name from before.
    """
    seen = (b" %d" % epoch,) if epoch else ()
    return hash_bytes(b"syncd pack nonce", txn.encode(), *seen)[:NONCE_BYTES]


def pack_id(nonce: bytes, index: bytes) -> bytes:
    """Return the name of the pack with this nonce and these index bytes."""
    return hash_bytes(HEADER.pack(PACK_MAGIC, PACK_VERSION, 0, nonce), index)


def tail_needed(tail: bytes) -> int:
    """Return how many bytes from the end of a pack `parse_tail` needs, told from its last 64 bytes or more."""
    return _trailer(tail)[2] + TRAILER.size


def parse_tail(tail: bytes, pack: bytes, size: int) -> tuple[Frame, ...]:
    """Return the frames of the pack with id `pack` and `size` bytes, from its last bytes.

    Raises:
        Corrupt: the tail is too short, is not of this pack, or its frames do not fill the pack exactly.
    """
    nonce, count, length, digest = _trailer(tail)
    if len(tail) < length + TRAILER.size:
        raise Corrupt(f"the {ROLE} has no whole index", f"{length + TRAILER.size} bytes needed, {len(tail)} there")
    index = tail[len(tail) - length - TRAILER.size : len(tail) - TRAILER.size]
    if hash_bytes(index) != digest:
        raise Corrupt(f"the {ROLE} has a damaged index", "its bytes do not match the hash in the trailer")
    if pack_id(nonce, index) != pack:
        raise Corrupt(f"the {ROLE} is another one", f"its name should be {pack_id(nonce, index).hex()}")
    frames: list[Frame] = []
    end = HEADER.size
    for raw, stored, codec, encryption, zero, chunk in ROW.iter_unpack(index):
        if why := _implausible(raw, stored, codec, zero):
            raise Corrupt(f"the {ROLE} has an impossible frame {len(frames)}", why)
        frames.append(Frame(chunk, raw, stored, codec, encryption, end + FRAME.size))
        end += FRAME.size + stored
    if end + length + TRAILER.size != size:
        raise Corrupt(
            f"the {ROLE} has the wrong size", f"{count} frames make {end + length + TRAILER.size}, not {size}"
        )
    return tuple(frames)


def open_frame(frame: Frame, stored: Buffer) -> bytes:
    """Return the chunk from its payload bytes, verified against its hash; Corrupt otherwise."""
    return bytes(view_frame(frame, stored))


def view_frame(frame: Frame, stored: Buffer) -> Buffer:
    """Return the chunk as `open_frame` does, but one that is stored as it is not copied: `stored` itself."""
    if frame.encryption:
        raise Corrupt(f"a chunk of the {ROLE} is encrypted", f"scheme {frame.encryption} is not known", "update syncd")
    if len(stored) != frame.stored_length:
        raise Corrupt(f"a chunk of the {ROLE} is cut short", f"{len(stored)} of {frame.stored_length} bytes")
    plain = frame.codec == codecs.RAW and len(stored) == frame.raw_length
    data = stored if plain else codecs.decode(frame.codec, stored, frame.raw_length)
    if hash_bytes(data) != frame.hash:
        raise Corrupt(f"a chunk of the {ROLE} is damaged", f"its bytes do not match {frame.hash.hex()}")
    return data


def prove(frames: tuple[Frame, ...], parts: Sequence[Buffer]) -> None:
    """Raise Corrupt unless every payload of a sealed pack still is what its frame says: asked before it is stored.

    Args:
        frames, parts: of `PackBuilder.seal`.
    """
    for number, frame in enumerate(frames):
        view_frame(frame, parts[2 + 2 * number])  # a header, then each frame's own header and payload


def resync(data: Buffer) -> Iterator[Frame]:
    """Yield the whole, verified frames of a pack (or a piece of one) without its index; offsets are into `data`.

    What is damaged, encrypted or of an unknown codec is passed over. For people who rescue data, not for restores.
    """
    view = memoryview(data)
    text = bytes(data)
    at = text.find(FRAME_MAGIC)
    while at >= 0:
        frame = _frame_at(view, at)
        if frame is not None:
            yield frame
        at = text.find(FRAME_MAGIC, frame.offset + frame.stored_length if frame else at + 1)


def _frame_at(view: memoryview, at: int) -> Frame | None:
    start = at + FRAME.size
    if start > len(view):
        return None
    _, raw, stored, codec, encryption, zero, chunk = FRAME.unpack_from(view, at)
    if _implausible(raw, stored, codec, zero) or start + stored > len(view):
        return None
    frame = Frame(chunk, raw, stored, codec, encryption, start)
    try:
        open_frame(frame, view[start : start + stored])
    except Corrupt:
        return None
    return frame


def _trailer(tail: bytes) -> tuple[bytes, int, int, bytes]:
    if len(tail) < TRAILER.size:
        raise Corrupt(f"the {ROLE} is cut short", f"{len(tail)} bytes are there, its trailer alone has {TRAILER.size}")
    nonce, count, length, digest, magic = TRAILER.unpack_from(tail, len(tail) - TRAILER.size)
    if magic != TRAILER_MAGIC:
        raise Corrupt(f"the {ROLE} has no trailer", f"it ends with {magic.hex()}")
    if not 0 < count <= MAX_FRAMES or length != count * ROW.size:
        raise Corrupt(f"the {ROLE} has an impossible index", f"{count} frames in {length} bytes")
    return nonce, count, length, digest


def _implausible(raw: int, stored: int, codec: int, zero: int) -> str:
    if not 0 < raw <= codecs.MAX_FRAME_RAW:
        return f"{raw} bytes raw; 1 to {codecs.MAX_FRAME_RAW} are possible"
    if stored > MAX_STORED:
        return f"{stored} bytes stored; at most {MAX_STORED} are possible"
    if codec == codecs.RAW and stored != raw:
        return f"{raw} bytes stored as they are cannot take {stored}"
    if codec == codecs.ZEROS and stored:
        return f"zeros take no {stored} bytes"
    return f"reserved bytes are {zero:04x}" if zero else ""
