"""Reading a whole version through a repository, every byte checked, without a disk."""

from __future__ import annotations

from syncd.errors import Corrupt
from syncd.format.entries import FILE
from syncd.format.restore import check_file, chunks, packs_of
from syncd.repo.history import Version
from syncd.repo.repository import Repository


async def read_version(repository: Repository, version: Version) -> tuple[dict[bytes, bytes], set[bytes]]:
    """Return the files of a version, and all packs that it needs.

    Raises:
        Corrupt: something is missing, damaged, or not what it should be.
    """
    manifest = await repository.manifests.read(version)
    packs = {ref.pack for ref in manifest.pages}
    files: dict[bytes, bytes] = {}
    async for page in repository.manifests.pages(manifest):
        tables = {pack: await repository.packs.index(pack) for pack in page.packs}
        packs.update(page.packs)
        for entry in page.entries:
            if entry.type != FILE:
                raise Corrupt("nobody logs such an entry here")
            check_file(entry, page, {pack: tables[pack] for pack in packs_of(entry, page)})
            pieces = [await repository.packs.chunk(chunk.pack, chunk.number) for chunk in chunks(entry, page, tables)]
            files[entry.path] = b"".join(pieces)
    return files, packs
