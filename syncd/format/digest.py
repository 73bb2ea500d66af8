"""The one hash of the bucket: BLAKE3-256, over bytes and over the list of a file's chunks.

Everything that is named or checked by content goes through here, so that "which hash" is answered once. BLAKE3 is a
tree hash that uses SIMD and releases the GIL; chunks are hashed at about the speed at which they are cut.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from blake3 import blake3

from syncd.model.buffer import Buffer

HASH_BYTES = 32

# A file's digest is another kind of statement than a chunk's hash: no bytes can be both.
_FILE_DOMAIN = b"syncd file 1\0"
_CHUNK = struct.Struct("<Q32s")


def hash_bytes(*parts: Buffer) -> bytes:
    """BLAKE3-256 of the parts joined (32 bytes); nothing is copied."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


class FileDigest:
    """What a file contains, told by the length in bytes and the hash of each of its chunks, in order.

    BLAKE3 of `"syncd file 1" NUL (u64 little-endian length, 32 bytes hash)*`. It is equal for equal content cut by
    equal parameters, and costs nothing beside the chunks' hashes.
    """

    def __init__(self) -> None:
        self._hasher = blake3(_FILE_DOMAIN)

    def add(self, length: int, digest: bytes) -> None:
        """Take the next chunk; ValueError if its hash is not 32 bytes long or its length not of 64 bits."""
        if len(digest) != HASH_BYTES or not 0 <= length < 1 << 64:
            raise ValueError(f"not a chunk: {length} bytes, a hash of {len(digest)} bytes")
        self._hasher.update(_CHUNK.pack(length, digest))

    def finish(self) -> bytes:
        """Return the digest of the chunks so far (32 bytes)."""
        return self._hasher.digest()


def file_digest(chunks: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the `FileDigest` of all of a file's chunks, given as (length, hash)."""
    digest = FileDigest()
    for length, hashed in chunks:
        digest.add(length, hashed)
    return digest.finish()
