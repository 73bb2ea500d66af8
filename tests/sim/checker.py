"""Who knows what was promised. Looks at every change of the bucket as it happens, and at every word to a caller.

The invariants of docs/DESIGN.md section 5, as they are held here:

* slots are contiguous from 0, chained, never changed, never deleted; no transaction stands in a log twice;
* whatever an entry that counts refers to is there, whole, in the moment in which the entry appears, and as long as a
  version that is not deleted, or an open group, needs it;
* who is told "done" was told a version that holds exactly the bytes that were logged; pins go only after that;
* a name once written holds these bytes or none;
* every node's replay is that of the slots.
"""

from __future__ import annotations

import random
from syncd.errors import Corrupt
from syncd.format.keys import MANIFESTS, PACKS, REGISTRY_LOG, REPO, pack_key, parse_artifact_log, parse_slot
from syncd.format.repo import decode_repo
from syncd.model.names import ArtifactKey
from syncd.repo.history import History, Version
from syncd.repo.log import Log
from syncd.repo.memory import Forgetful, Memory
from syncd.repo.repository import Repository
from tests.kit.repo_kit import DictMemory, InstantClock
from tests.sim.bucket import Bucket, Direct
from tests.sim.node import Files, Node, Told
from tests.sim.reading import read_version
from tests.sim.virtual import InlineLane, at_once


AGAIN = "-again"
"""What a mutant that forgets transaction ids puts behind them: the checker knows the request all the same."""
_FOR_EVER = ("a/", "r/", REGISTRY_LOG, "gc/", PACKS, MANIFESTS)


class Broken(AssertionError):
    """A law was broken."""


class Checker:
    """Watches one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.promised: dict[str, Files] = {}
        self.told: dict[str, Told] = {}
        self.histories: dict[ArtifactKey, History] = {}
        self.steps = 0
        self._logs: dict[str, Log] = {}
        self._ever: dict[str, bytes] = {}
        self._needs: dict[tuple[ArtifactKey, str], frozenset[str]] = {}
        self._contents: dict[str, Files] = {}
        self._repository: Repository | None = None
        bucket.watch = self.changed

    def promise(self, txn: str, files: Files) -> None:
        """Note what a transaction stands for."""
        self.promised[txn] = files

    def changed(self, op: str, key: str, before: bytes | None, now: bytes) -> None:
        """Judge one change of the bucket."""
        self.steps += 1
        if op == "delete":
            self._deleted(key)
        elif key == REPO or (key.startswith(_FOR_EVER) and "/ckpt/" not in key):
            self._require(before in (None, now), f"{key} was overwritten with other bytes")
            self._require(self._ever.setdefault(key, now) == now, f"{key} came back with other bytes")
            if "/log/" in key:
                self._slot(key, before)

    def answered(self, told: Told) -> None:
        """Judge what a caller is told; the same is told again after a crash, and must be the same."""
        before = self.told.setdefault(told.txn, told)
        self._require(before.version == told.version, f"{told} after {before}")
        history = self.histories.get(ArtifactKey("p", told.artifact))
        outcome = history.outcomes.get(told.txn) if history else None
        self._require(outcome is not None, f"{told}: the log has no such transaction")
        assert outcome is not None
        self._require(outcome.version == told.version, f"{told}, the log says {outcome}")

    def compare(self, node: Node) -> None:
        """Judge a node's view: its logs are prefixes of the true ones, and its replays the replays of these."""
        repository = node.life.repository if node.life else None
        for name, log in (repository._logs if repository else {}).items():
            true = self._log(name).slots
            self._require(log.slots == true[: len(log.slots)], f"{node.name} sees another {name}")
        for key, history in (repository._histories if repository else {}).items():
            again = History(key).apply(self.artifact(key).slots[: history.applied])
            self._require(repr(again) == repr(history), f"{node.name} replays {key} differently")

    def released(self, txn: str) -> None:
        """Judge that the logged bytes of a transaction are let go: only what is committed may be."""
        outcomes = {txn for history in self.histories.values() for txn in history.outcomes}
        done = not outcomes.isdisjoint((txn, txn + AGAIN))
        self._require(done, f"the bytes of {txn} were let go before it was committed")

    async def everything(self) -> None:
        """At the end: all that was promised and told is there and can be read by a node that knows nothing."""
        for txn in self.promised:
            self._require(txn in self.told, f"{txn} was never told to be done")
        for key, history in self.histories.items():
            again = await self._stranger().history(key)
            self._require(repr(again) == repr(history), f"a stranger replays {key} differently")
            for version in again.versions:
                if not version.deleted:
                    self._whole(key, version)

    def artifact(self, key: ArtifactKey) -> Log:
        """Return the true log of an artifact."""
        return self._opened().artifact_log(key)

    def needed(self) -> set[str]:
        """Return the keys that must not vanish."""
        return {key for keys in self._needs.values() for key in keys}

    def _slot(self, key: str, before: bytes | None) -> None:
        name, number = parse_slot(key)
        self._require(before is None, f"{key} was written again")
        log = self._log(name)
        self._require(number == len(log.slots), f"{key} leaves a gap: the log has {len(log.slots)} entries")
        txns = {slot.entry.txn for slot in log.slots}
        try:
            slots = at_once(log.refresh())
        except Corrupt as error:
            raise Broken(f"{key}: {error}") from error
        self._require(slots[-1].entry.txn not in txns, f"{slots[-1].entry.txn} stands in {name} twice")
        if name.startswith("a/"):
            self._replay(parse_artifact_log(name), log)

    def _replay(self, key: ArtifactKey, log: Log) -> None:
        history = self.histories.setdefault(key, History(key))
        before = {version.number: version for version in history.versions}
        fresh = log.slots[history.applied :]
        try:
            history.apply(fresh)
        except Corrupt as error:
            raise Broken(f"{key}: {error}") from error
        for version in history.versions:
            known = before.get(version.number)
            name = f"v{version.number}"
            if version.deleted:
                self._needs.pop((key, name), None)
            elif known is None or known.deleted or known.manifest != version.manifest:
                self._needs[key, name] = self._whole(key, version)
        requests = [txn.removesuffix(AGAIN) for txn in history.outcomes]
        self._require(len(set(requests)) == len(requests), f"one request was logged under two ids: {requests}")
        for slot in fresh:
            self._judge_content(key, history, slot.entry.txn)

    def _judge_content(self, key: ArtifactKey, history: History, txn: str) -> None:
        outcome = history.outcomes.get(txn)
        if outcome is None or txn not in self.promised:
            return
        version = history.versions[outcome.version]
        content = self._contents[version.manifest]
        self._require(content == self.promised[txn], f"{key}:v{outcome.version} is not what {txn} logged")

    def _whole(self, key: ArtifactKey, version: Version) -> frozenset[str]:
        """Return the objects a version needs; all of it is read and checked on the way."""
        try:
            content, packs = at_once(read_version(self._stranger(), version))
        except Corrupt as error:
            raise Broken(f"{key}:v{version.number} cannot be read: {error}") from error
        self._contents[version.manifest] = content
        return frozenset({version.manifest, *map(pack_key, packs)})

    def _deleted(self, key: str) -> None:
        self._require(key.startswith((PACKS, MANIFESTS)) or "/ckpt/" in key or "wip/" in key, f"{key} was deleted")
        hurt = [f"{artifact}:{name}" for (artifact, name), keys in self._needs.items() if key in keys]
        self._require(not hurt, f"{key} was deleted, {hurt} need it")

    def _log(self, name: str) -> Log:
        return self._opened()._log(name)

    def _opened(self) -> Repository:
        if self._repository is None:
            self._repository = self._new(DictMemory())
        return self._repository

    def _stranger(self) -> Repository:
        """Return the repository as somebody sees it who has seen nothing of it, caches included."""
        return self._new(Forgetful())

    def _new(self, memory: Memory) -> Repository:
        record = decode_repo(self.bucket.get(REPO))
        return Repository(Direct(self.bucket), record, memory, InlineLane(), InstantClock(), random.Random(0))

    @staticmethod
    def _require(holds: bool, what: str) -> None:
        if not holds:
            raise Broken(what)
