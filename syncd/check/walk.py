"""The check itself: record, epochs, registry, every log, every manifest and page that is needed, every pack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from syncd.budget import Account
from syncd.check.findings import FORK, CheckParams, Finding, Kind, Report, told
from syncd.check.logs import ReadLog, read_log
from syncd.check.objects import check_epochs, check_record, judge_manifest
from syncd.check.packs import PackJudge, PackState
from syncd.check.sample import sample
from syncd.collect.each import each
from syncd.collect.marks import Marks
from syncd.collect.survey import Root, needed
from syncd.errors import Corrupt
from syncd.format.keys import ARTIFACTS, REGISTRY_LOG, artifact_log, parse_artifact_log, parse_slot, run_log
from syncd.format.log import Offer
from syncd.format.manifest import Manifest
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.manifests import Manifests
from syncd.repo.memory import Memory
from syncd.repo.packs import Packs
from syncd.repo.registry import Registry
from syncd.repo.repository import Repository
from syncd.store.base import Store

Told = Callable[[str, int, int], None]

_MANIFESTS_AT_ONCE = 8
_PACKS_AT_ONCE = 4


@dataclass(slots=True)
class Seen:
    """What one walk found.

    Attributes:
        logs: those with something wrong in them.
        keys: the artifacts there are.
        roots: what versions and open groups need.
        manifests: of those that are to be repaired and whose manifest can be read.
        hurt: owners by what hurts them: the key of a manifest, of a pack.
        packs: how each damaged pack is, by id.
        touched: owners that refer to something damaged, even where it does not hurt them.
        needed: every pack that is needed.
    """

    report: Report
    logs: list[ReadLog] = field(default_factory=list)
    keys: list[ArtifactKey] = field(default_factory=list)
    roots: list[Root] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    bad_manifests: dict[str, Finding] = field(default_factory=dict)
    packs: dict[bytes, PackState] = field(default_factory=dict)
    hurt: dict[str, set[str]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    needed: set[bytes] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    at_head: list[Finding] = field(default_factory=list)

    def to_repair(self) -> list[Root]:
        """Return what has a damaged manifest, or refers to a damaged pack, in order."""
        return sorted((root for root in self.roots if root.owner in self.touched), key=lambda root: root.owner)


class Walk:
    """Reads a repository from end to end. Everything is read anew; nothing that was remembered is believed.

    Args:
        memory: what this node has seen of logs.
        mirror: another copy of the repository, asked for log entries that are damaged.
        account: what is read counts against it.
    """

    def __init__(
        self, repository: Repository, memory: Memory, mirror: Store | None, lane: Lane, account: Account, told: Told
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._memory = memory
        self._mirror = mirror
        self._lane = lane
        self._account = account
        self._told = told

    async def run(self, params: CheckParams) -> Seen:
        """Check everything; return what was found.

        Raises:
            RemoteUnavailable: the remote is away: that is no damage.
        """
        seen = Seen(Report(seed=params.seed))
        self._told("repository", 0, 0)
        seen.at_head += await check_record(self._repository)
        seen.at_head += await check_epochs(self._store)
        await self._logs(seen)
        marks, suspects = await self._manifests(seen)
        await self._packs(seen, marks, suspects, params)
        if seen.packs or seen.bad_manifests:
            await self._look_again(seen)
        self._sum_up(seen)
        return seen

    # --- logs ---------------------------------------------------------------------------------------------

    async def _logs(self, seen: Seen) -> None:
        registry = await self._read(REGISTRY_LOG)
        keys = set(Registry().apply(registry.slots).artifacts)
        if registry.findings or not registry.whole:
            seen.logs.append(registry)
            listed = await self._listed()
            for key in sorted(listed - keys):
                log = artifact_log(key)
                seen.at_head.append(Finding(Kind.UNREGISTERED, log, f"{log} is not in the registry", (str(key),)))
            keys |= listed
        seen.keys = sorted(keys)
        seen.report.logs += 1
        runs: set[str] = set()

        async def one(key: ArtifactKey) -> None:
            log = await self._read(artifact_log(key))
            seen.report.logs += 1
            seen.report.artifacts += 1
            history, contradiction = replay(key, log)
            if contradiction is not None:
                log.findings.append(contradiction)
            roots = [root for root in needed(history) if root.why != "deleted"]
            if log.findings:
                owners, more = told({root.owner for root in roots} or {str(key)})
                log.findings = [replace(finding, hurts=owners, more=more) for finding in log.findings]
                seen.logs.append(log)
            seen.roots += roots
            seen.sizes.update(_sizes(history))
            seen.report.versions += sum(root.version is not None for root in roots)
            runs.update(_runs(log))
            self._told("logs", seen.report.artifacts, len(keys))

        await each(seen.keys, one)
        await each(sorted(runs), lambda name: self._run(seen, name))

    async def _run(self, seen: Seen, name: str) -> None:
        log = await self._read(name)
        seen.report.logs += 1
        if log.findings:
            seen.logs.append(log)

    async def _read(self, name: str) -> ReadLog:
        return await read_log(self._store, self._memory, self._mirror, self._repository.id, name)

    async def _listed(self) -> set[ArtifactKey]:
        """Return the artifacts whose logs lie there, registered or not."""
        found: set[ArtifactKey] = set()
        async for info in self._store.list(ARTIFACTS):
            try:
                found.add(parse_artifact_log(parse_slot(info.key)[0]))
            except Corrupt:
                continue
        return found

    # --- manifests and packs ------------------------------------------------------------------------------

    async def _manifests(self, seen: Seen) -> tuple[Marks, set[bytes]]:
        """Read what is needed; return the frames that are, and packs of which a page could not be read."""
        marks = Marks()
        suspects: set[bytes] = set()
        pages: set[bytes] = set()
        reader = Manifests(self._store, Packs(self._store, self._lane), self._lane)
        done = 0

        async def one(root: Root) -> None:
            nonlocal done
            done += 1
            self._told("manifests", done, len(seen.roots))
            manifest = await self._open(seen, root)
            if manifest is None:
                return
            marks.mark_manifest(root.manifest, manifest)
            for ref in manifest.pages:
                if ref.hash in pages:
                    continue
                try:
                    marks.mark_page(await reader.page(ref))
                except Corrupt:
                    suspects.add(ref.pack)
                else:
                    pages.add(ref.hash)

        await each(sorted(seen.roots, key=lambda root: root.owner), one, _MANIFESTS_AT_ONCE)
        return marks, suspects

    async def _open(self, seen: Seen, root: Root) -> Manifest | None:
        if root.manifest in seen.bad_manifests:
            return None
        found = await judge_manifest(self._store, self._lane, root, seen.sizes.get(root.manifest, 0))
        if isinstance(found, Manifest):
            return found
        seen.bad_manifests[root.manifest] = found
        return None

    async def _packs(self, seen: Seen, marks: Marks, suspects: set[bytes], params: CheckParams) -> None:
        judge = PackJudge(self._store, self._lane, self._account)
        read = sample(marks.packs, params.share, params.seed) | suspects
        report = seen.report
        report.packs = len(marks.packs)

        async def one(pack: bytes) -> None:
            state = await judge.judge(pack, pack in read)
            report.packs_read += pack in read
            report.bytes_read += state.bytes_read
            if state.finding is not None:
                seen.packs[pack] = state
            self._told("packs", 1, len(marks.packs))

        await each(sorted(marks.packs), one, _PACKS_AT_ONCE)

    # --- whom it hurts ------------------------------------------------------------------------------------

    async def _look_again(self, seen: Seen) -> None:
        """Read the logs once more, and say whom the damage hurts by what they say now."""
        again = Seen(Report())
        for key in seen.keys:
            history, _ = replay(key, await self._read(artifact_log(key)))
            seen.sizes.update(_sizes(history))
            again.roots += [root for root in needed(history) if root.why != "deleted"]
        seen.roots = again.roots
        hurt = Hurt(seen, Manifests(self._store, Packs(self._store, self._lane), self._lane))
        kept, seen.bad_manifests = seen.bad_manifests, {}
        for root in again.roots:
            if root.manifest in kept:
                seen.bad_manifests[root.manifest] = kept[root.manifest]
                hurt.note(root.manifest, root)
            elif (manifest := await self._open(seen, root)) is None:
                hurt.note(root.manifest, root)
            else:
                await hurt.weigh(root, manifest)
        seen.packs = {pack: state for pack, state in seen.packs.items() if pack in seen.needed}

    def _sum_up(self, seen: Seen) -> None:
        report = seen.report
        report.findings = [*seen.at_head, *(finding for log in seen.logs for finding in log.findings)]
        for key, finding in sorted(seen.bad_manifests.items()):
            report.findings.append(_hurting(finding, seen.hurt.get(key, set())))
        for pack, state in sorted(seen.packs.items()):
            assert state.finding is not None
            report.findings.append(_hurting(state.finding, seen.hurt.get(pack.hex(), set())))
        for finding in report.findings:
            for owner in finding.hurts:
                report.damaged.setdefault(owner, finding.what)


class Hurt:
    """Says which versions need what is damaged."""

    def __init__(self, seen: Seen, reader: Manifests) -> None:
        self._seen = seen
        self._reader = reader

    def note(self, what: str, root: Root) -> None:
        """This hurts that."""
        self._seen.hurt.setdefault(what, set()).add(root.owner)
        self._seen.touched.add(root.owner)

    async def weigh(self, root: Root, manifest: Manifest) -> None:
        """Note what of the damaged packs a version needs."""
        packs = self._seen.packs
        for ref in manifest.pages:
            self._seen.needed.add(ref.pack)
            if ref.pack in packs:
                self._seen.touched.add(root.owner)
            if ref.pack in packs and packs[ref.pack].hurt([ref.frame]):
                self.note(ref.pack.hex(), root)
                continue
            try:
                page = await self._reader.page(ref)
            except Corrupt:
                self.note(ref.pack.hex(), root)
                continue
            self._seen.needed.update(page.packs)
            if not any(pack in packs for pack in page.packs):
                continue
            self._seen.touched.add(root.owner)
            for entry in page.entries:
                for run in entry.runs:
                    pack = page.packs[run.pack]
                    if pack in packs and packs[pack].hurt(range(run.first, run.first + run.count)):
                        self.note(pack.hex(), root)
        if root.owner in self._seen.touched:
            self._seen.manifests[root.manifest] = manifest


def replay(key: ArtifactKey, log: ReadLog) -> tuple[History, Finding | None]:
    """Return an artifact's state as far as its log makes sense, and what contradicts itself in it."""
    history = History(key)
    for slot in log.slots:
        try:
            history.apply([slot])
        except Corrupt as error:
            return history, Finding(Kind.FORKED, log.name, f"{error.what}: {error.why}", todo=FORK)
    return history, None


def _runs(log: ReadLog) -> Iterator[str]:
    """Yield the logs of the runs that made the versions of a log."""
    for slot in log.slots:
        if isinstance(slot.entry, Offer) and slot.entry.run:
            yield run_log(slot.entry.run_project, slot.entry.run)


def _sizes(history: History) -> Iterator[tuple[str, int]]:
    for version in history.versions:
        yield version.manifest, version.manifest_size
    for group in history.groups.values():
        for part in group.shares:
            yield part.manifest, part.manifest_size


def _hurting(finding: Finding, owners: set[str]) -> Finding:
    names, more = told(owners)
    return replace(finding, hurts=names, more=more)
