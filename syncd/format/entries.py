"""Entries: one path of a version each, and what of them may be believed.

An entry's runs say where its chunks lie: frames `first` to `first + count - 1` of a pack, in file order. The digest of
a file covers its bytes; the digest of a version covers paths, types, modes, sizes, digests and targets, never where
the chunks lie nor `attrs`: content stored elsewhere is the same content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from syncd.errors import InvalidInput
from syncd.format.codec import MAX_FRAME_RAW
from syncd.format.digest import HASH_BYTES, hash_bytes
from syncd.format.pack import MAX_FRAMES
from syncd.model.names import check_entry_path, printable

FILE, SYMLINK, DIRECTORY, REFERENCE = range(4)

MAX_SIZE = 2**63 - 1
TARGET_LIMIT = 4095
ATTRS_LIMIT = 1024
ATTRS_COUNT = 64
RUN = struct.Struct("<III")

_TREE_DOMAIN = b"syncd tree 1\x00"
_VERSION_DOMAIN = b"syncd version 1\x00"
_PARTS_DOMAIN = b"syncd parts 1\x00"
_TREE_HEAD = struct.Struct("<IBIQBI")

Attribute = str | int | float | bool | None


class Run(Struct, frozen=True, gc=False):
    """`count` frames from frame `first` on of the page's pack number `pack`."""

    pack: int
    first: int
    count: int


class Entry(Struct, frozen=True, gc=False):
    """One path of a version.

    Attributes:
        path: relative, canonical bytes.
        type: FILE, SYMLINK, DIRECTORY (only when empty) or REFERENCE.
        mode: permission bits, 0 to 0o777.
        size: bytes of a file (or of what a reference names); 0 for links and directories.
        digest: `file_digest` of a file's chunks; 32 bytes or empty for a reference; empty for links and directories.
        runs: where a file's chunks lie; none when it is empty.
        target: where a link points, the URI of a reference.
        attrs: further facts (short names, scalar values) outside of the digest.
    """

    path: bytes
    type: int
    mode: int
    size: int
    digest: bytes
    runs: tuple[Run, ...] = ()
    target: bytes = b""
    attrs: dict[str, Attribute] = field(default_factory=dict)


def check_entry(entry: Entry, packs: int) -> None:
    """Raise InvalidInput naming path and reason unless the entry is possible in a page with so many packs."""
    check_entry_path(entry.path)
    if why := _wrong_facts(entry) or _wrong_target(entry) or _wrong_runs(entry, packs) or _wrong_attrs(entry):
        raise InvalidInput(f"impossible entry {printable(entry.path)!r}", why)


def _wrong_facts(entry: Entry) -> str:
    if not FILE <= entry.type <= REFERENCE:
        return f"type {entry.type} is not known"
    if not 0 <= entry.mode <= 0o777:
        return f"mode {entry.mode:o} is more than permission bits"
    if not 0 <= entry.size <= MAX_SIZE:
        return f"size {entry.size}"
    if entry.type in (SYMLINK, DIRECTORY) and (entry.size or entry.digest):
        return "only files and references have size and digest"
    if len(entry.digest) != HASH_BYTES and (entry.type == FILE or (entry.type == REFERENCE and entry.digest)):
        return f"a digest of {len(entry.digest)} bytes"
    return ""


def _wrong_target(entry: Entry) -> str:
    if entry.type in (FILE, DIRECTORY):
        return "files and directories have no target" if entry.target else ""
    if not entry.target or b"\x00" in entry.target or len(entry.target) > TARGET_LIMIT:
        return f"the target {printable(entry.target[:200])!r} is empty, holds NUL, or is over {TARGET_LIMIT} bytes"
    return ""


def _wrong_runs(entry: Entry, packs: int) -> str:
    if entry.type != FILE:
        return "only files have runs" if entry.runs else ""
    chunks = 0
    for run in entry.runs:
        if not 0 <= run.pack < packs:
            return f"a run in pack {run.pack} of {packs}"
        if run.first < 0 or run.count < 1 or run.first + run.count > MAX_FRAMES:
            return f"a run of frames {run.first} + {run.count}; a pack has at most {MAX_FRAMES}"
        chunks += run.count
    if not chunks <= entry.size <= chunks * MAX_FRAME_RAW:
        return f"{entry.size} bytes in {chunks} chunks"
    return ""


def _wrong_attrs(entry: Entry) -> str:
    if not entry.attrs:
        return ""
    weight = sum(len(key) + (len(value) if isinstance(value, str) else 8) for key, value in entry.attrs.items())
    if weight > ATTRS_LIMIT or len(entry.attrs) > ATTRS_COUNT:
        return f"{len(entry.attrs)} attributes of {weight} bytes; at most {ATTRS_LIMIT} are kept"
    if any(isinstance(value, float) and value != value for value in entry.attrs.values()):
        return "an attribute is not a number"
    return ""


def encode_runs(runs: Iterable[Run]) -> bytes:
    """Return runs as 12 bytes each: three u32, little-endian. Fixed width, so that hostile bytes cannot grow much."""
    return b"".join(RUN.pack(run.pack, run.first, run.count) for run in runs)


def decode_runs(data: bytes) -> tuple[Run, ...]:
    """Return the runs in `data`; InvalidInput when its length is no multiple of 12."""
    if len(data) % RUN.size:
        raise InvalidInput(f"runs of {len(data)} bytes", f"each has {RUN.size}")
    return tuple(Run(*numbers) for numbers in RUN.iter_unpack(data))


def page_tree(entries: Sequence[Entry]) -> bytes:
    """Return the logical digest of a page's entries: all that makes their content, nothing of where it lies."""
    return hash_bytes(_TREE_DOMAIN, b"".join(_facts(entry) for entry in entries))


def _facts(entry: Entry) -> bytes:
    head = _TREE_HEAD.pack(len(entry.path), entry.type, entry.mode, entry.size, len(entry.digest), len(entry.target))
    return head + entry.path + entry.digest + entry.target


def version_digest(trees: Iterable[bytes]) -> bytes:
    """Return the digest of a version from those of its pages: equal digests mean equal content."""
    return hash_bytes(_VERSION_DOMAIN, b"".join(trees))


def parts_digest(digests: Sequence[bytes]) -> bytes:
    """Return the digest of a version made of parts from theirs in order; of a single part its own."""
    return digests[0] if len(digests) == 1 else hash_bytes(_PARTS_DOMAIN, b"".join(digests))
