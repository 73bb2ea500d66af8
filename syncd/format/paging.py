"""Where a manifest's pages end: decided by the entries alone, so that equal neighbourhoods give equal pages.

A page ends after an entry whose path hashes low (about one in `average`), whatever stands around it: changing,
adding or removing one file of a million touches the page it lies in and no other. Two limits keep pages small where
hashes are unlucky: `maximum` entries, and a `weight` that grows with the bytes of paths and targets and with file
sizes (big files have many runs). The weight looks only at what the version's digest covers, never at packs: equal
content has equal pages, hence an equal digest, wherever its chunks lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from syncd.errors import InvalidInput
from syncd.format.digest import hash_bytes
from syncd.format.entries import Entry
from syncd.model.names import printable

_DOMAIN = b"syncd page end 1\x00"
_ENTRY_WEIGHT = 64
_RUN_SHIFT = 12


@dataclass(frozen=True, slots=True)
class PageParams:
    """One page in `average` entries, never more than `maximum`, ended early at `weight`."""

    average: int = 1024
    maximum: int = 8192
    weight: int = 4 << 20


DEFAULT_PAGES = PageParams()


def check_pages(params: PageParams) -> None:
    """Raise InvalidInput for parameters that cannot be, or that make pages of more bytes than a chunk may have."""
    sane = 0 < params.average < 1 << 32 and 0 < params.maximum <= 1 << 16 and 0 < params.weight <= 1 << 23
    if not sane:
        raise InvalidInput(f"impossible page parameters {params.average}, {params.maximum}, {params.weight}")


class PageCutter:
    """Told the entries in order, says after which a page ends."""

    def __init__(self, params: PageParams = DEFAULT_PAGES) -> None:
        self._params = params
        self._below = (1 << 64) // params.average
        self._count = 0
        self._weight = 0

    def ends_page(self, entry: Entry) -> bool:
        """Take the next entry; True when the page ends after it."""
        self._count += 1
        self._weight += _ENTRY_WEIGHT + len(entry.path) + len(entry.target) + (entry.size >> _RUN_SHIFT)
        low = int.from_bytes(hash_bytes(_DOMAIN, entry.path)[:8], "little") < self._below
        if low or self._count >= self._params.maximum or self._weight >= self._params.weight:
            self._count = self._weight = 0
            return True
        return False


def split_pages(entries: Iterable[Entry], params: PageParams = DEFAULT_PAGES) -> Iterator[tuple[Entry, ...]]:
    """Yield the entries (sorted by path) in pages."""
    cutter = PageCutter(params)
    page: list[Entry] = []
    for entry in entries:
        page.append(entry)
        if cutter.ends_page(entry):
            yield tuple(page)
            page = []
    if page:
        yield tuple(page)


class PathOrder:
    """Told the paths of a version in order, refuses what cannot be a tree: disorder, doubles, entries below entries.

    In sorted order everything that starts with a path follows it at once, so a stack of the paths that are prefixes
    of the newest one is all there is to remember, also across pages.
    """

    def __init__(self) -> None:
        self._prefixes: list[bytes] = []

    def check(self, path: bytes) -> None:
        """Take the next path; InvalidInput when it cannot follow."""
        stack = self._prefixes
        if stack and path <= stack[-1]:
            raise InvalidInput(f"{printable(path)!r} does not follow {printable(stack[-1])!r}", "paths are sorted")
        while stack and not path.startswith(stack[-1]):
            stack.pop()
        for above in stack:
            if path[len(above)] == 0x2F:
                raise InvalidInput(
                    f"{printable(path)!r} lies below {printable(above)!r}", "which is no directory of it"
                )
        stack.append(path)
