"""From sorted entries to pages and a manifest, for who writes a version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_changes
from typing import NamedTuple

from msgspec.structs import replace

from syncd.errors import InvalidInput
from syncd.format import manifest as m
from syncd.format.chunker import Params
from syncd.format.digest import hash_bytes


@dataclass(frozen=True, slots=True)
class Located:
    """`count` frames from `first` on of the pack with this id."""

    pack: bytes
    first: int
    count: int


class BuiltPage(NamedTuple):
    """A page ready to be stored as a chunk: its bytes and what the manifest will say of it, but for the place."""

    data: bytes
    hash: bytes
    page: m.Page


def locate(chunks: Iterable[tuple[bytes, int]]) -> tuple[Located, ...]:
    """Return the runs of a file whose chunks lie at (pack id, frame number), in file order; neighbours are joined."""
    runs: list[Located] = []
    for pack, frame in chunks:
        if runs and runs[-1].pack == pack and runs[-1].first + runs[-1].count == frame:
            runs[-1] = with_changes(runs[-1], count=runs[-1].count + 1)
        else:
            runs.append(Located(pack, frame, 1))
    return tuple(runs)


def build_page(entries: Sequence[tuple[m.Entry, Sequence[Located]]]) -> m.Page:
    """Return the page of these entries (their own `runs` are replaced), with its pack table."""
    packs: dict[bytes, int] = {}
    done = []
    for entry, located in entries:
        runs = tuple(m.Run(packs.setdefault(at.pack, len(packs)), at.first, at.count) for at in located)
        done.append(replace(entry, runs=runs))
    return m.Page(tuple(packs), tuple(done))


class ManifestBuilder:
    """Takes the entries of a version in order, gives pages to store, then the manifest.

    Usage: `add` each entry, storing what it returns; store what `finish` returns; say by `placed` where each page
    went (any order); take `manifest`.
    """

    def __init__(self, pages: m.PageParams = m.DEFAULT_PAGES) -> None:
        self._cutter = m.PageCutter(pages)
        self._order = m.PathOrder()
        self._waiting: list[tuple[m.Entry, Sequence[Located]]] = []
        self._built: list[BuiltPage] = []
        self._places: dict[bytes, tuple[bytes, int]] = {}

    def add(self, entry: m.Entry, located: Sequence[Located] = ()) -> BuiltPage | None:
        """Take the next entry (without runs) and where its chunks lie; return the page that it ended, if it did.

        Raises:
            InvalidInput: an impossible entry, out of order, or below another entry.
        """
        self._order.check(entry.path)
        self._waiting.append((entry, located))
        return self._close() if self._cutter.ends_page(entry) else None

    def finish(self) -> BuiltPage | None:
        """Return the last page, if entries wait for it."""
        return self._close() if self._waiting else None

    def placed(self, page_hash: bytes, pack: bytes, frame: int) -> None:
        """Say where the page with this hash is stored."""
        self._places[page_hash] = (pack, frame)

    def manifest(self, project: str, name: str, type: str, txn: str, chunker: Params) -> m.Manifest:  # noqa: A002
        """Return the manifest, once all pages are placed; InvalidInput while one is not."""
        refs = tuple(self._ref(page) for page in self._built)
        return m.Manifest(
            project=project,
            name=name,
            type=type,
            txn=txn,
            digest=self.digest,
            chunker=chunker,
            pages=refs,
            entries=sum(ref.entries for ref in refs),
            files=sum(ref.files for ref in refs),
            size=sum(ref.size for ref in refs),
        )

    @property
    def digest(self) -> bytes:
        """The version's digest, right after `finish`."""
        return m.version_digest(m.page_tree(page.page.entries) for page in self._built)

    def _close(self) -> BuiltPage:
        page = build_page(self._waiting)
        self._waiting = []
        data = m.encode_page(page)
        self._built.append(BuiltPage(data, hash_bytes(data), page))
        return self._built[-1]

    def _ref(self, built: BuiltPage) -> m.PageRef:
        if built.hash not in self._places:
            raise InvalidInput("a manifest page is not stored yet")
        pack, frame = self._places[built.hash]
        entries = built.page.entries
        return m.PageRef(
            entries[0].path, entries[-1].path, *m.totals(entries), m.page_tree(entries), pack, frame,
            len(built.data), built.hash,
        )  # fmt: skip
