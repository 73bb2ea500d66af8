"""Bytes under names: what every remote must offer, and nothing more.

Six verbs, each a contract that tests/store/conformance.py holds every back end and every wrapper to. The only
one that decides anything is `create`: put-if-absent is the one primitive that means the same on every store
people run (docs/DESIGN.md), so it carries the whole commit protocol. Keys are ASCII, `/`-separated, without
empty, `.` or `..` segments; only format/keys.py builds them.

Errors are of errors.py: NotFound, Conflict (create lost, maybe against itself: law L4), RemoteRefused,
RemoteUnavailable (retry), InvalidInput (a key outside the grammar: `check_key`), Corrupt never (a store does not
know what its bytes mean).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncd.errors import InvalidInput
from syncd.model.buffer import Buffer


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A stored object: its key, its size in bytes and when the store says it was written (seconds, store clock)."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between stores, as data.

    Attributes:
        create_is_atomic: of racing creates exactly one wins; without it nothing may be committed.
        lists_exactly: a list right after a put shows it; else lists are hints (they are never more than that here).
        kind: word for people and metrics: "local", "memory", "s3" ...
    """

    kind: str
    create_is_atomic: bool = True
    lists_exactly: bool = True


class Store(Protocol):
    """Bytes under names. Safe to call from many tasks at once; every verb may be cancelled."""

    capabilities: Capabilities

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes from `offset` (to the end when None).

        A negative offset counts from the end, as many bytes as there are. A range that starts inside the object and
        reaches beyond it returns what is there; one that starts beyond the end returns b"".

        Raises:
            NotFound: no such object.
        """
        ...

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Store the concatenation of `parts`, replacing what was there; durable on return, never seen half.

        Repeating it with the same bytes is harmless.
        """
        ...

    async def create(self, key: str, data: Buffer) -> None:
        """Store `data` only if nothing is stored under `key`; durable on return.

        Any error but a clean return says nothing about whether the bytes are there: read the key back (law L4).

        Raises:
            Conflict: something is there, possibly these very bytes from an earlier try.
        """
        ...

    async def stat(self, key: str) -> ObjectInfo:
        """Return size and time of an object; NotFound when there is none."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose keys start with `prefix`, sorted by key. A hint: no decision rests on it."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error. Only the probe and collection call this."""
        ...

    async def close(self) -> None:
        """Release what the store holds. May be repeated."""
        ...


RESERVED = ".tmp"
_SEGMENT_BYTES = 255


def check_key(key: str) -> list[str]:
    """Return a key's segments.

    Every back end asks before it touches anything, so that no key, wherever it was read, names a thing that is not
    an object of this remote.

    Raises:
        InvalidInput: not printable ASCII, an empty, `.` or `..` segment, a segment over 255 bytes, or the reserved
            first segment `.tmp`.
    """
    segments = key.split("/")
    for segment in segments:
        if not segment or segment in (".", "..") or len(segment) > _SEGMENT_BYTES or not _printable_ascii(segment):
            raise InvalidInput(f"not a key: {key[:300]!r}", f"the segment {segment[:300]!r} is not allowed")
    if segments[0] == RESERVED:
        raise InvalidInput(f"not a key: {key[:300]!r}", f"{RESERVED} is reserved for half-written objects")
    return segments


def check_prefix(prefix: str) -> tuple[list[str], str]:
    """Return the whole segments of a prefix and the beginning of the next one (often ""); InvalidInput as above."""
    head, slash, start = prefix.rpartition("/")
    if len(start) > _SEGMENT_BYTES or not _printable_ascii(start):
        raise InvalidInput(f"not a prefix of keys: {prefix[:300]!r}", f"{start[:300]!r} cannot begin a segment")
    return (check_key(head) if slash else []), start


def _printable_ascii(segment: str) -> bool:
    return segment.isascii() and segment.isprintable() and " " not in segment


def cut_range(size: int, offset: int, length: int | None) -> tuple[int, int]:
    """Return (start, count) of what `get(offset, length)` means on an object of `size` bytes."""
    if length is not None and length < 0:
        raise InvalidInput(f"cannot read {length} bytes", "a length is not negative")
    start = max(0, size + offset) if offset < 0 else min(offset, size)
    rest = size - start
    return start, rest if length is None else min(length, rest)


def size_of(parts: Sequence[Buffer]) -> int:
    """Return the bytes in `parts`."""
    return sum(memoryview(part).nbytes for part in parts)
