"""Bundles: runs of whole log entries in one object, so that a node which knows nothing of a log reads it quickly.

A hint and nothing more (docs/FORMAT.md section 6): the slots are the log. What a bundle says is believed when its
entries follow each other by their hashes and the last of them is, byte for byte, what stands in its slot.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncd.errors import Corrupt
from syncd.format import seal
from syncd.format.codec import MAX_FRAME_RAW
from syncd.format.log import MAX_ENTRY

BUNDLE_MAGIC = seal.magic(b"SYNCDLB")
ROLE = "log bundle"
MAX_BUNDLE = MAX_FRAME_RAW + (1 << 16)

_LENGTH_BYTES = 4


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of some entry objects in slot order.

    Raises:
        InvalidInput: together they are larger than the 16 MiB that a reader takes; there is no bundle then.
    """
    body = b"".join(piece for entry in entries for piece in (len(entry).to_bytes(_LENGTH_BYTES, "little"), entry))
    return seal.seal(BUNDLE_MAGIC, seal.squeeze(body))


def decode_bundle(data: bytes, most: int) -> list[bytes]:
    """Return the entry objects in a bundle, at most `most` of them; whether they are right is for who chains them.

    Raises:
        Corrupt: not a bundle, damaged, or malformed.
    """
    body = memoryview(seal.expand(seal.unseal(BUNDLE_MAGIC, data, ROLE, MAX_BUNDLE), ROLE))
    entries: list[bytes] = []
    at = 0
    while at < len(body) and len(entries) < most:
        start = at + _LENGTH_BYTES
        length = int.from_bytes(body[at:start], "little")
        at = start + length
        if not 0 < length <= MAX_ENTRY or at > len(body):
            raise Corrupt(f"the {ROLE} is malformed", f"entry {len(entries)} has {length} bytes")
        entries.append(bytes(body[start:at]))
    return entries
