"""What a frame may hold, checked on the raw bytes before anything is built from them.

A decoder builds as it reads: a frame of a million empty maps, or of a thousand nested arrays that each claim 65,536
places, costs hundreds of megabytes before its end is seen. So one pass over the tags comes first; it allocates a
stack of at most DEPTH numbers, and only what it lets through is decoded. What passes costs at most some 30 MiB.
"""

from __future__ import annotations

from syncd_client.wire.errors import WireError

FRAME_LIMIT = 1 << 20
HELLO_LIMIT = 256 << 10
ARRAY_LIMIT = 65_536
MAP_LIMIT = 4_096
DEPTH_LIMIT = 64
ELEMENT_LIMIT = 131_072
"""Values in one frame, keys counted too; the pass costs about 10 ms for that many."""
CONTAINER_LIMIT = 32_768
"""Arrays and maps in one frame: an empty map costs one byte there and 64 here."""

_FLOAT32, _FLOAT64 = 0xCA, 0xCB
_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNTED = {0xDC: (2, ARRAY_LIMIT), 0xDD: (4, ARRAY_LIMIT), 0xDE: (2, MAP_LIMIT), 0xDF: (4, MAP_LIMIT)}


def _plain_length(tag: int) -> int:
    """Bytes of a value whose length the tag alone tells; 0 where more must be read."""
    if tag < 0x80 or tag >= 0xE0 or tag in (0xC0, 0xC2, 0xC3):
        return 1
    if 0xA0 <= tag < 0xC0:
        return 1 + (tag & 0x1F)
    if tag in _FIXED and tag not in (_FLOAT32, _FLOAT64):
        return 1 + _FIXED[tag]
    return 0


_PLAIN = tuple(_plain_length(tag) for tag in range(256))


def check_frame(payload: bytes) -> None:
    """Raise WireError unless `payload` is exactly one map within every limit, without ext types, NaN or infinity."""
    if not payload or not (payload[0] & 0xF0 == 0x80 or payload[0] in (0xDE, 0xDF)):
        raise WireError("a frame is not a map")
    try:
        end = _walk(payload)
    except IndexError:
        raise WireError("a frame ends in the middle of a value") from None
    if end != len(payload):
        raise WireError("a frame does not end with its value")


def _walk(payload: bytes) -> int:
    """Return the offset behind the first value; IndexError when it is not whole."""
    offset, left, elements, containers = 0, 1, 0, 0
    outer: list[int] = []
    while True:
        while left == 0:
            if not outer:
                return offset
            left = outer.pop()
        left -= 1
        plain = _PLAIN[payload[offset]]
        if plain:
            offset += plain
            continue
        length, count = _head(payload, offset)
        offset += length
        if count is None:
            continue
        elements += count
        containers += 1
        if elements > ELEMENT_LIMIT or containers > CONTAINER_LIMIT:
            raise WireError("a frame holds too many values")
        if count > len(payload) - offset:
            raise WireError("a frame claims more values than it has bytes")
        outer.append(left)
        if len(outer) > DEPTH_LIMIT:
            raise WireError(f"a frame is nested deeper than {DEPTH_LIMIT}")
        left = count


def _head(payload: bytes, offset: int) -> tuple[int, int | None]:
    """Return (bytes to skip, values inside or None for a scalar) of a value that is not plain."""
    tag = payload[offset]
    if tag in _SIZED:
        width = _SIZED[tag]
        return 1 + width + _number(payload, offset + 1, width), None
    if tag in (_FLOAT32, _FLOAT64):
        if payload[offset + 1] & 0x7F == 0x7F and payload[offset + 2] >= (0x80 if tag == _FLOAT32 else 0xF0):
            raise WireError("a frame holds NaN or infinity")
        return 1 + _FIXED[tag], None
    if tag & 0xF0 == 0x80:
        return 1, 2 * (tag & 0x0F)
    if tag & 0xF0 == 0x90:
        return 1, tag & 0x0F
    if tag not in _COUNTED:
        raise WireError(f"a frame holds the type 0x{tag:02x}, which is not spoken here")
    width, most = _COUNTED[tag]
    count = _number(payload, offset + 1, width)
    if count > most:
        raise WireError(f"a frame holds {count} values in one container, at most {most} are allowed")
    return 1 + width, 2 * count if most == MAP_LIMIT else count


def _number(payload: bytes, offset: int, width: int) -> int:
    if offset + width > len(payload):
        raise IndexError
    return int.from_bytes(payload[offset : offset + width], "big")
