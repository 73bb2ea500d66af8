"""Frames: four bytes of length, big-endian, then one msgpack map of that many bytes.

The reader takes bytes as they come, in any pieces, and gives whole frames. After a WireError it is spent: where the
next frame starts is no longer known, so the connection must be closed.
"""

from __future__ import annotations

from typing import Any

import msgpack

from syncd_client.wire.errors import WireError
from syncd_client.wire.limits import ARRAY_LIMIT, FRAME_LIMIT, MAP_LIMIT, check_frame

HEADER = 4

Payload = dict[str, Any]


def encode_frame(payload: Payload) -> bytes:
    """Return the bytes of one frame; WireError if the other side would refuse it."""
    try:
        body: bytes = msgpack.packb(payload, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"a message cannot be put into a frame: {error}", "invalid") from error
    if len(body) > FRAME_LIMIT:
        raise WireError(f"a message of {len(body)} bytes does not fit into a frame of {FRAME_LIMIT}", "invalid")
    try:
        check_frame(body)
    except WireError as error:
        raise WireError(error.what, "invalid") from None
    return len(body).to_bytes(HEADER, "big") + body


def decode_frame(body: bytes) -> Payload:
    """Return the map in the bytes behind a frame's length."""
    check_frame(body)
    try:
        payload: Payload = msgpack.unpackb(
            body,
            raw=False,
            use_list=True,
            strict_map_key=True,
            object_pairs_hook=_strict_map,
            max_array_len=ARRAY_LIMIT,
            max_map_len=MAP_LIMIT,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"a frame is not valid msgpack: {error}") from error
    return payload


class FrameReader:
    """Cuts a stream of bytes into frames. `limit` (bytes a frame) may be raised once the peer is known."""

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self.limit = limit
        self._held = bytearray()
        self._spent = False

    def feed(self, data: bytes) -> list[Payload]:
        """Return the frames that are whole now, in order; WireError when the stream breaks the protocol."""
        if self._spent:
            raise WireError("the stream broke before this")
        self._held += data
        frames: list[Payload] = []
        try:
            while (body := self._next()) is not None:
                frames.append(decode_frame(body))
        except WireError:
            self._spent = True
            self._held.clear()
            raise
        return frames

    @property
    def held(self) -> int:
        """Bytes kept of a frame that is not whole yet: 0 means the stream may end here."""
        return len(self._held)

    def _next(self) -> bytes | None:
        if len(self._held) < HEADER:
            return None
        length = int.from_bytes(self._held[:HEADER], "big")
        if length > self.limit:
            raise WireError(f"a frame of {length} bytes is longer than {self.limit}")
        if len(self._held) < HEADER + length:
            return None
        body = bytes(self._held[HEADER : HEADER + length])
        del self._held[: HEADER + length]
        return body


def _strict_map(pairs: list[tuple[Any, Any]]) -> Payload:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one map")
    for key in made:
        if type(key) is not str:
            raise ValueError("a key is not text")
    return made
