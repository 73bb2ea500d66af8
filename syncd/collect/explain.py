"""Why a version's bytes are kept, and which of them are its alone."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.collect.each import each
from syncd.collect.marks import Marks
from syncd.collect.survey import Root, needed, survey
from syncd.errors import NotFound
from syncd.model.names import ArtifactKey
from syncd.repo.repository import Repository

_NEIGHBOURS_TOLD = 10

_WHY = {
    "version": "it is not deleted",
    "link": "it is not deleted; it shows another artifact's version",
    "kept": "it is under keep: only `keep` itself lets it go, deleted or not",
    "deleted": "it is deleted: nothing keeps it but what others share",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What collection thinks of one version.

    Attributes:
        kept: whether it is a root.
        why: in words.
        stored_bytes: of its chunks and manifest pages as they are stored; exclusive_bytes: of those nobody else has.
        shared_with: others whose data lies in the same packs, at most 10, and then how many more.
        condemned: what of it is condemned, in words; restore refuses it then.
    """

    kept: bool
    why: list[str]
    stored_bytes: int
    exclusive_bytes: int
    shared_with: list[str]
    condemned: list[str]


async def explain(repository: Repository, key: ArtifactKey, number: int) -> Explanation:
    """Return why version `number` of an artifact is kept, or is not.

    Raises:
        NotFound: no such version.
        Corrupt: something that may be needed cannot be read.
    """
    log, history = repository.visit(key)
    history.apply(await log.refresh())
    own = next((root for root in needed(history) if root.version == number), None)
    if own is None:
        raise NotFound(f"{key}:v{number} does not exist", "", f"syncctl ls {key}")
    mine = Marks()
    dead = await repository.epochs.dead([], [own.manifest])
    if not dead:
        await mine.add(repository, [own])
        dead = await repository.epochs.dead(mine.packs, [own.manifest])
    others, shared = await _others(repository, own, mine)
    stored, exclusive = await _weigh(repository, mine, others) if not dead else (0, 0)
    return Explanation(
        own.why != "deleted", [_WHY[own.why]], stored, exclusive, shared, sorted(dead)[:_NEIGHBOURS_TOLD]
    )


async def _others(repository: Repository, own: Root, mine: Marks) -> tuple[Marks, list[str]]:
    """Return what everybody else needs of the packs of `mine`, and who they are."""
    together = Marks()
    shared: list[str] = []
    for root in (await survey(repository, set())).roots:
        if root.owner == own.owner:
            continue
        theirs = Marks()
        await theirs.add(repository, [root])
        if theirs.packs.keys() & mine.packs.keys():
            shared.append(root.owner)
            for pack in theirs.packs.keys() & mine.packs.keys():
                together.packs[pack] = together.packs.get(pack, 0) | theirs.packs[pack]
    told = sorted(shared)[:_NEIGHBOURS_TOLD]
    return together, [*told, f"{len(shared) - len(told)} more"] if len(shared) > len(told) else told


async def _weigh(repository: Repository, mine: Marks, others: Marks) -> tuple[int, int]:
    stored = exclusive = 0

    async def weigh(pack: bytes) -> None:
        nonlocal stored, exclusive
        bits = mine.packs[pack]
        alone = bits & ~others.packs.get(pack, 0)
        for number, frame in enumerate(await repository.packs.index(pack)):
            stored += frame.stored_length * (bits >> number & 1)
            exclusive += frame.stored_length * (alone >> number & 1)

    await each(sorted(mine.packs), weigh)
    return stored, exclusive
