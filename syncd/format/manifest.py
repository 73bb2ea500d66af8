"""Manifests: the sorted entries of a version, in pages.

A page is msgpack `[packs, entries]` behind a magic, stored as a chunk in a pack like any file's bytes: a page that did
not change is a chunk that is already there. The manifest object lists the pages, with the paths they span and the
digests that make the version's, so one folder is read from its pages alone. Both say nothing that a reader takes on
trust: `decode_manifest` checks its pages against each other, `open_page` a page against the manifest.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from syncd.errors import Corrupt, InvalidInput
from syncd.format import keys, seal
from syncd.format.chunker import Params
from syncd.format.codec import MAX_FRAME_RAW
from syncd.format.digest import HASH_BYTES, hash_bytes
from syncd.format.entries import (
    ATTRS_COUNT,
    DIRECTORY,
    FILE,
    MAX_SIZE,
    REFERENCE,
    SYMLINK,
    Attribute,
    Entry,
    Run,
    check_entry,
    decode_runs,
    encode_runs,
    page_tree,
    version_digest,
)
from syncd.format.pack import MAX_FRAMES
from syncd.format.paging import DEFAULT_PAGES, PageCutter, PageParams, PathOrder, split_pages
from syncd.model import names
from syncd.model.names import ArtifactKey, check_entry_path

__all__ = [
    "DEFAULT_PAGES", "DIRECTORY", "FILE", "MAX_MANIFEST", "REFERENCE", "SYMLINK", "Entry", "Manifest", "Page",
    "PageCutter", "PageParams", "PageRef", "PathOrder", "Run", "decode_manifest", "decode_page", "encode_manifest",
    "encode_page", "manifest_hash", "open_page", "page_tree", "split_pages", "version_digest",
]  # fmt: skip

MANIFEST_MAGIC = seal.magic(b"SYNCDMF")
PAGE_MAGIC = seal.magic(b"SYNCDPG")
MAX_MANIFEST = MAX_FRAME_RAW + (64 << 10)
MAX_PAGES = MAX_FRAME_RAW // 128
MAX_PACKS = MAX_FRAME_RAW // 32
MAX_PAGE_ENTRIES = 1 << 16
ROLE = "manifest"
PAGE_ROLE = "manifest page"

Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Count = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
Feature = Annotated[str, Meta(min_length=1, max_length=100)]


class Page(Struct, frozen=True):
    """Some entries, and the packs that their runs point into, in order of first use."""

    packs: tuple[bytes, ...]
    entries: tuple[Entry, ...]


class PageRef(Struct, frozen=True, array_like=True, gc=False):
    """A page as its manifest knows it.

    Attributes:
        first, last: paths of its first and last entry.
        entries, files, size: how many, how many of them files, the sum of their sizes.
        tree: `page_tree` of its entries.
        pack, frame: where it is stored; length, hash: of its encoded bytes.
    """

    first: bytes
    last: bytes
    entries: Annotated[int, Meta(ge=1, le=MAX_SIZE)]
    files: Count
    size: Count
    tree: Hash
    pack: Hash
    frame: Annotated[int, Meta(ge=0, lt=MAX_FRAMES)]
    length: Annotated[int, Meta(ge=1, le=MAX_FRAME_RAW)]
    hash: Hash


class Manifest(Struct, frozen=True, kw_only=True):
    """A version: whose, cut how, its pages, its totals. `digest` is `version_digest` of the pages' trees."""

    project: str
    name: str
    type: str
    txn: str
    digest: Hash
    chunker: Params
    pages: Annotated[tuple[PageRef, ...], Meta(max_length=MAX_PAGES)]
    entries: Count
    files: Count
    size: Count
    features: Annotated[tuple[Feature, ...], Meta(max_length=100)] = ()
    format: int = seal.FORMAT


class _EntryRow(Struct, frozen=True, array_like=True, gc=False):
    path: bytes
    type: int
    mode: int
    size: int
    digest: bytes
    runs: bytes = b""
    target: bytes = b""
    attrs: Annotated[dict[str, Attribute], Meta(max_length=ATTRS_COUNT)] = {}


class _PageRow(Struct, frozen=True, array_like=True):
    packs: Annotated[tuple[Hash, ...], Meta(max_length=MAX_PACKS)]
    entries: Annotated[tuple[_EntryRow, ...], Meta(max_length=MAX_PAGE_ENTRIES)]


_PAGE_DECODER = msgspec.msgpack.Decoder(_PageRow)
_MANIFEST_DECODER = msgspec.msgpack.Decoder(Manifest)


def encode_page(page: Page) -> bytes:
    """Return the bytes of a page, to be stored as a chunk. Equal pages are equal bytes.

    Raises:
        InvalidInput: an impossible entry, or more than the 16 MiB that a chunk may have.
    """
    _check_page(page)
    rows = tuple(
        _EntryRow(e.path, e.type, e.mode, e.size, e.digest, encode_runs(e.runs), e.target, e.attrs)
        for e in page.entries
    )
    data = PAGE_MAGIC + seal.pack_value(_PageRow(page.packs, rows))
    if len(data) > MAX_FRAME_RAW:
        raise InvalidInput(
            f"the {PAGE_ROLE} from {names.printable(page.entries[0].path)!r} on is too large: {len(data)} bytes",
            "its files lie in too many pieces",
        )
    return data


def decode_page(data: bytes, expected_hash: bytes) -> Page:
    """Return the page; Corrupt unless it has this hash and holds possible entries in order, a tree, and packs."""
    if len(data) > MAX_FRAME_RAW or hash_bytes(data) != expected_hash:
        raise Corrupt(f"the {PAGE_ROLE} is damaged", f"its {len(data)} bytes do not match {expected_hash.hex()}")
    seal.check_magic(PAGE_MAGIC, data, PAGE_ROLE)
    with seal.reading(PAGE_ROLE):
        row = _PAGE_DECODER.decode(memoryview(data)[len(PAGE_MAGIC) :])
        entries = tuple(
            Entry(e.path, e.type, e.mode, e.size, e.digest, decode_runs(e.runs), e.target, e.attrs) for e in row.entries
        )
        page = Page(row.packs, entries)
        _check_page(page)
    return page


def open_page(ref: PageRef, data: bytes, order: PathOrder | None = None) -> Page:
    """Return the page that `ref` means, all it says of it checked.

    Args:
        ref: from a decoded manifest.
        data: the page's chunk.
        order: given by who reads all pages in order, one for all: finds entries below entries of earlier pages.

    Raises:
        Corrupt: whatever does not fit.
    """
    page = decode_page(data, ref.hash)
    told = (ref.first, ref.last, ref.entries, ref.files, ref.size, ref.length, ref.tree)
    found = (page.entries[0].path, page.entries[-1].path, *totals(page.entries), len(data), page_tree(page.entries))
    if told != found:
        raise Corrupt(f"the {PAGE_ROLE} is not what its {ROLE} says", f"told {told[2:6]}, found {found[2:6]}")
    if order is not None:
        with seal.reading(ROLE):
            for entry in page.entries:
                order.check(entry.path)
    return page


def totals(entries: tuple[Entry, ...]) -> tuple[int, int, int]:
    """Return (entries, files, bytes of the files) of some entries; what references name does not count."""
    sizes = [entry.size for entry in entries if entry.type == FILE]
    return len(entries), len(sizes), sum(sizes)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest object; InvalidInput for one that no reader would take."""
    data = seal.seal(MANIFEST_MAGIC, seal.squeeze(seal.pack_value(manifest)))
    try:
        decode_manifest(data, manifest_hash(data))
    except Corrupt as error:
        raise InvalidInput(f"the {ROLE} cannot be written", f"{error.what}: {error.why}") from error
    return data


def manifest_hash(data: bytes) -> bytes:
    """Return what a commit says of its manifest: the hash of the whole object."""
    return hash_bytes(data)


def decode_manifest(data: bytes, expected_hash: bytes) -> Manifest:
    """Return the manifest; Corrupt unless the object has this hash and its pages and totals agree."""
    body = seal.unseal(MANIFEST_MAGIC, data, ROLE, MAX_MANIFEST)
    if manifest_hash(data) != expected_hash:
        raise Corrupt(f"the {ROLE} is another one", f"its hash is not {expected_hash.hex()}")
    with seal.reading(ROLE):
        manifest = _MANIFEST_DECODER.decode(seal.expand(body, ROLE))
        if manifest.format != seal.FORMAT:
            raise seal.newer(ROLE, f"format {manifest.format}")
        if manifest.features:
            raise seal.newer(ROLE, "features " + ", ".join(manifest.features))
        _check_manifest(manifest)
    return manifest


def _check_page(page: Page) -> None:
    if not 0 < len(page.entries) <= MAX_PAGE_ENTRIES or len(set(page.packs)) != len(page.packs):
        raise InvalidInput(f"a page of {len(page.entries)} entries, or with a pack twice")
    order = PathOrder()
    for entry in page.entries:
        check_entry(entry, len(page.packs))
        order.check(entry.path)


def _check_manifest(manifest: Manifest) -> None:
    keys.artifact_log(ArtifactKey(names.check_project(manifest.project), names.check_name(manifest.name)))
    names.check_type(manifest.type)
    keys.check_txn(manifest.txn)
    check_chunker(manifest.chunker)
    before = b""
    for ref in manifest.pages:
        check_entry_path(ref.first)
        check_entry_path(ref.last)
        if not before < ref.first <= ref.last or ref.files > ref.entries:
            raise InvalidInput(f"page from {names.printable(ref.first)!r} on is out of order")
        before = ref.last
    told = (manifest.entries, manifest.files, manifest.size, manifest.digest)
    pages = manifest.pages
    sums = (sum(p.entries for p in pages), sum(p.files for p in pages), sum(p.size for p in pages))
    if told != (*sums, version_digest(page.tree for page in pages)):
        raise InvalidInput("totals or digest of the pages are not those of the whole")


def check_chunker(params: Params) -> None:
    """Raise InvalidInput for parameters that no chunker can have."""
    sane = 0 < params.minimum <= params.average <= params.maximum <= MAX_FRAME_RAW
    if not sane or not 0 < len(params.id) <= names.NAME_LIMIT:
        raise InvalidInput(
            f"impossible chunker {params.id[:100]!r}", f"{params.minimum}, {params.average}, {params.maximum}"
        )
