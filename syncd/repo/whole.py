"""Whether all that a version needs is there and may be referred to: asked before a deleted one is brought back.

Whoever makes an entry that refers to content it has not just stored (an undelete, a link) asks this, and says the
epoch it returns as `gc_seen`: a fence that the entry runs into means asking again.
"""

from __future__ import annotations

import asyncio

from syncd.errors import Corrupt, NotFound, root_cause
from syncd.format.keys import pack_key
from syncd.repo.history import Version
from syncd.repo.repository import Repository

_AT_ONCE = 16


async def check_whole(repository: Repository, name: str, version: Version) -> int:
    """Return the newest collection epoch, by which nothing that the version needs is condemned.

    Raises:
        NotFound: something is condemned (it may be gone at any time), or gone.
        Corrupt: its manifest cannot be read though it is there.
    """
    epochs = repository.epochs
    seen = await epochs.refresh()
    _refuse(name, await epochs.dead([], [version.manifest]))
    try:
        manifest = await repository.manifests.read(version)
        packs = {ref.pack for ref in manifest.pages}
        _refuse(name, await epochs.dead(packs, []))
        async for page in repository.manifests.pages(manifest):
            packs.update(page.packs)
    except Corrupt as error:
        if isinstance(error.__cause__, NotFound):
            raise _gone(name, error.what) from error
        raise
    _refuse(name, await epochs.dead(packs, []))
    await _stat_all(repository, name, packs)
    return seen


async def _stat_all(repository: Repository, name: str, packs: set[bytes]) -> None:
    coming = iter(sorted(packs))

    async def worker() -> None:
        for pack in coming:
            try:
                await repository.store.stat(pack_key(pack))
            except NotFound as error:
                raise _gone(name, f"{pack_key(pack)} is missing") from error

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(worker())
    except BaseExceptionGroup as group:
        raise root_cause(group) from group


def _refuse(name: str, dead: set[str]) -> None:
    if dead:
        more = f" and {len(dead) - 1} more of its objects" if len(dead) > 1 else ""
        raise _gone(name, f"garbage collection has condemned {min(dead)}{more}")


def _gone(name: str, why: str) -> NotFound:
    return NotFound(f"the bytes of {name} are gone, or may be at any time", why, "log the files again")
