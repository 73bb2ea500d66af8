"""One check as a whole; see the package for the order of a repair and what a crash leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from syncd.budget import Account, Budget
from syncd.check.findings import AGAIN, FORK, RESTORE, CheckParams, Finding, Kind, Report
from syncd.check.places import LocalPlaces, Reader
from syncd.check.quarantine import Quarantine
from syncd.check.repair import Repair
from syncd.check.restore import Restoring
from syncd.check.sources import ChunkSources
from syncd.check.walk import Seen, Told, Walk
from syncd.clock import Chance, Clock
from syncd.errors import Corrupt, RemoteRefused
from syncd.format.chunker import Cutter
from syncd.format.keys import PACKS
from syncd.journal.core import Ledger
from syncd.journal.packs import forget_packs
from syncd.lanes import Lane
from syncd.repo.memory import Memory
from syncd.repo.repository import Repository
from syncd.store.base import Store


@dataclass(frozen=True, slots=True)
class Ground:
    """What a check works with.

    Attributes:
        memory: what this node has seen of logs.
        mirror: another copy of the repository, if there is one.
        pins: opens the reader of a pinned file by its number.
        node: this node's id, told in records and entries.
    """

    repository: Repository
    memory: Memory
    mirror: Store | None
    ledger: Ledger
    pins: Callable[[int], Reader]
    cutter: Cutter
    lane: Lane
    budget: Budget
    clock: Clock
    rng: Chance
    node: str


async def check(ground: Ground, params: CheckParams, told: Told = lambda step, done, total: None) -> Report:
    """Check a repository, and repair it if that is asked for.

    Raises:
        RemoteUnavailable: the remote is away; nothing is said about it then.
        RemoteRefused: a repair may not write.
    """
    with ground.budget.account() as account:
        walk = Walk(ground.repository, ground.memory, ground.mirror, ground.lane, account, told)
        seen = await walk.run(params)
        if not params.repair or not seen.report.findings:
            return seen.report
        return await _repair(ground, params, walk, seen, account, told)


async def _repair(ground: Ground, params: CheckParams, walk: Walk, first: Seen, account: Account, told: Told) -> Report:
    told("restoring", 0, len(first.report.findings))
    outcomes: dict[str, str] = {}
    restoring = Restoring(ground.repository, ground.mirror, ground.lane, account)
    seen, found = first, _by_name(first)
    while await restoring.run(seen):  # what is restored may show more: a log its versions, a page its packs
        seen = await walk.run(params)
        found = _by_name(seen) | found
    out_of_use: set[bytes] | None = None
    while True:
        damaged = {pack for pack, state in seen.packs.items() if _is_damage(state.finding)}
        if not (damaged or seen.touched) or (out_of_use is not None and damaged <= out_of_use):
            break
        out_of_use = damaged | (out_of_use or set())
        told("quarantine", 0, len(damaged))
        epoch = await Quarantine(ground.repository, ground.clock, ground.rng, ground.node).put(damaged)
        await forget_packs(ground.ledger, ground.repository.id, damaged)
        for pack in damaged:
            ground.repository.packs.forget(pack)
        outcomes |= await _versions(ground, seen, set(damaged), epoch, account, told)
        seen = await walk.run(replace(params, repair=False))  # a page that is whole again may show further packs
        found = _by_name(seen) | found
    return _joined(list(found.values()), restoring.done, outcomes, seen)


async def _versions(
    ground: Ground, seen: Seen, avoid: set[bytes], epoch: int, account: Account, told: Told
) -> dict[str, str]:
    """Repair what is hurt; return why what is hurt still cannot be repaired, by its owner."""
    roots = seen.to_repair()
    manifests = [seen.manifests[root.manifest] for root in roots if root.manifest in seen.manifests]
    sources = ChunkSources(ground.repository, seen.packs, ground.mirror, ground.ledger, ground.lane, account)
    await sources.learn(manifests)
    places = LocalPlaces(ground.ledger, ground.pins, ground.cutter, ground.lane, account)
    async for judged in ground.repository.epochs.every():  # what another manifest refers to may be condemned
        avoid |= judged.packs | judged.quarantined
    repair = Repair(ground.repository, avoid, epoch, sources, places, ground.lane, ground.clock, ground.node)
    lost: dict[str, str] = {}
    for number, root in enumerate(roots, 1):
        told("repairing", number, len(roots))
        why = "its log is damaged: nothing can be written to it"
        try:
            why = await repair.version(root, seen.manifests.get(root.manifest))
        except (Corrupt, RemoteRefused) as error:
            why = f"{why}: {error.what}"
        if why:
            lost[root.owner] = why
    return lost


def _is_damage(finding: Finding | None) -> bool:
    return finding is not None and finding.kind is not Kind.UNREADABLE


def _by_name(seen: Seen) -> dict[tuple[Kind, str], Finding]:
    return {(finding.kind, finding.key): finding for finding in seen.report.findings}


def _joined(found: list[Finding], restored: dict[str, str], lost: dict[str, str], last: Seen) -> Report:
    """Return what was found, with what became of it; what is damaged now is what the last walk says."""
    still = _by_name(last)
    hurt_keys = {finding.key for finding in last.report.findings}
    report = last.report
    told: list[Finding] = []
    for finding in found:
        after = still.pop((finding.kind, finding.key), None)
        if after is None and finding.key in hurt_keys:
            continue  # it is another kind of damage by now, and told as that
        if after is None:
            words = restored.get(finding.key, "repaired: the versions have their content in other packs")
            told.append(replace(finding, outcome=words, todo=""))
        else:
            told.append(_remaining(after, lost))
    told += [_remaining(finding, lost) for finding in still.values()]
    report.findings = told
    report.damaged = {owner: lost.get(owner, words) for owner, words in report.damaged.items()}
    return report


def _remaining(finding: Finding, lost: dict[str, str]) -> Finding:
    if finding.todo in (FORK, AGAIN):
        return finding
    why = next((lost[owner] for owner in finding.hurts if owner in lost), "")
    outcome = f"quarantined: {why}" if finding.key.startswith(PACKS) else why
    return replace(finding, outcome=outcome, todo=RESTORE)
