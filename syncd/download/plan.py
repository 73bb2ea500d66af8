"""First stage: which entries, in which groups, where their chunks lie; refused before a byte is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from syncd.errors import Refused
from syncd.format.manifest import FILE, REFERENCE, SYMLINK, Entry, Manifest, Page
from syncd.format.restore import Chunk, check_file, chunks, packs_of
from syncd.model.names import printable
from syncd.repo.repository import Repository

_GROUP_BYTES = 32 << 20
_GROUP_FILES = 256


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry to restore, the page it stands on; `number` names its temporary file."""

    number: int
    entry: Entry
    page: Page


async def groups(repository: Repository, manifest: Manifest) -> AsyncIterator[list[Wanted]]:
    """Yield the entries of a manifest in groups of bounded size: a large file alone, small ones together."""
    group: list[Wanted] = []
    size = number = 0
    async for page in repository.manifests.pages(manifest):
        for entry in page.entries:
            if group and (size + entry.size > _GROUP_BYTES or len(group) >= _GROUP_FILES):
                yield group
                group, size = [], 0
            group.append(Wanted(number, entry, page))
            number += 1
            size += entry.size
    if group:
        yield group


async def check_all(repository: Repository, manifest: Manifest) -> None:
    """Check every entry of a manifest without writing anything.

    Raises:
        Refused: a link leads out of the target, or an entry is of a kind that is not restored.
    """
    links: set[bytes] = set()
    winding: list[Entry] = []
    async for page in repository.manifests.pages(manifest):
        for entry in page.entries:
            if entry.type == REFERENCE:
                raise _unknown_reference(entry)
            if entry.type == SYMLINK:
                check_link(entry)
                links.add(entry.path)
                if b".." in entry.target.split(b"/"):
                    winding.append(entry)
    for entry in winding:
        _check_winding(entry, links)


def check_link(entry: Entry) -> None:
    """Refuse a symbolic link that is absolute or, by its words, climbs out of the target directory."""
    depth = entry.path.count(b"/")
    inside = not entry.target.startswith(b"/")
    for part in entry.target.split(b"/"):
        depth += -1 if part == b".." else 0 if part in (b"", b".") else 1
        inside = inside and depth >= 0
    if not inside:
        raise _outside(entry)


def _check_winding(entry: Entry, links: set[bytes]) -> None:
    """Refuse a link that goes through another one and then up: up from where that one leads is not what it says."""
    at = entry.path.split(b"/")[:-1]
    for part in entry.target.split(b"/"):
        if part == b"..":
            if b"/".join(at) in links:
                raise _outside(entry)
            at.pop()
        elif part not in (b"", b"."):
            at.append(part)


def _unknown_reference(entry: Entry) -> Refused:
    return Refused(
        f"{printable(entry.path)} is a reference to data elsewhere",
        "this syncd does not fetch references",
        "upgrade syncd on this node",
    )


def _outside(entry: Entry) -> Refused:
    return Refused(
        f"{printable(entry.path)} is a link to {printable(entry.target)}, outside of the artifact",
        "following it would leave the target directory",
        "nothing was written; log the artifact again without that link",
    )


async def chunks_of(repository: Repository, wanted: Wanted) -> list[Chunk]:
    """Return where the chunks of a file lie, checked against its size and digest."""
    if wanted.entry.type != FILE or not wanted.entry.size:
        return []
    tables = {pack: await repository.packs.index(pack) for pack in packs_of(wanted.entry, wanted.page)}
    check_file(wanted.entry, wanted.page, tables)
    return list(chunks(wanted.entry, wanted.page, tables))
