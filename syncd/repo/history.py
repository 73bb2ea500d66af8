"""Replay of an artifact's log: which versions there are, what they are called. Pure and deterministic (law L2).

Every node that has read the same slots comes to the same state. The rules, in the order they are applied:

1. The first entry with a transaction id counts; later ones with the same id are ignored. An entry that refers to
   data and was written behind a collection's fence without having seen it counts for nothing, its id included.
2. `create` in slot 0, and only there, fixes the type.
3. A `commit` whose digest is that of the newest undeleted version makes no new version: its aliases move there, the
   version's own metadata and description stay. Any other commit is the next version; its aliases move to it.
4. `latest` is never stored: it is the highest version that is not deleted. As an alias given or dropped it is ignored.
5. Deleting a version takes its aliases away; undeleting brings the version back without them.
6. Who speaks of a version that is not there yet makes the log corrupt: no right writer does.
7. Kinds whose meaning this program does not carry out (N-rank parts, links, rebases) stop the replay with an error:
   guessing would number versions differently from those who know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from syncd.errors import Corrupt, NotFound
from syncd.format import log as kinds
from syncd.format.keys import artifact_log, slot_key
from syncd.model.names import LATEST, ArtifactKey, version_number
from syncd.repo.log import Slot


@dataclass(frozen=True, slots=True)
class Version:
    """One version as the log has it. `manifest` is a key, `manifest_hash` its BLAKE3 (32 bytes), `at` display time."""

    number: int
    digest: bytes
    manifest: str
    manifest_hash: bytes
    manifest_size: int
    size: int
    files: int
    at: float
    node: str
    run: str
    description: str
    metadata: dict[str, Any]
    tags: tuple[str, ...]
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a commit transaction: the version it stands for, and whether it made it."""

    version: int
    new: bool


@dataclass(slots=True)
class History:
    """The state after some prefix of a log. Mutated only by `apply`."""

    key: ArtifactKey
    type: str = ""
    versions: list[Version] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    fence: int = 0
    applied: int = 0
    _txns: set[str] = field(default_factory=set)

    def apply(self, slots: Iterable[Slot]) -> History:
        """Apply the slots not applied yet, in order; return self.

        Raises:
            Corrupt: an entry contradicts the ones before it, or means something this program does not know.
        """
        for slot in slots:
            if slot.number < self.applied:
                continue
            self.applied = slot.number + 1
            stalled = isinstance(slot.entry, kinds.Content) and slot.entry.gc_seen < self.fence
            if slot.entry.txn not in self._txns and not stalled:
                self._txns.add(slot.entry.txn)
                self._apply_entry(slot)
        return self

    def newest(self) -> Version | None:
        """Return the highest version that is not deleted: what `latest` means."""
        return next((version for version in reversed(self.versions) if not version.deleted), None)

    def resolve(self, ref: str, deleted_too: bool = False) -> Version:
        """Return the version that "latest", "v3" or an alias names.

        Raises:
            NotFound: there is none, or it is deleted.
        """
        number = version_number(ref)
        if number is None:
            newest = self.newest()
            number = newest.number if ref == LATEST and newest else self.aliases.get(ref, -1)
        if not 0 <= number < len(self.versions):
            raise NotFound(f"{self.key}:{ref} does not exist", self._what_exists(), f"syncctl ls {self.key}")
        version = self.versions[number]
        if version.deleted and not deleted_too:
            raise NotFound(
                f"{self.key}:{ref} was deleted", "", f"syncctl restore {self.key}:v{number} while its bytes are there"
            )
        return version

    def aliases_of(self, number: int) -> list[str]:
        """Return the aliases of a version, `latest` first when it is that."""
        newest = self.newest()
        own = sorted(alias for alias, at in self.aliases.items() if at == number)
        return [LATEST, *own] if newest and newest.number == number else own

    def _what_exists(self) -> str:
        alive = [version.number for version in self.versions if not version.deleted]
        if not alive:
            return "the artifact has no version yet"
        names = ", ".join([LATEST, *sorted(self.aliases)])
        count = "is 1 version," if len(alive) == 1 else f"are {len(alive)} versions up to"
        return f"there {count} v{alive[-1]}; aliases: {names}"

    def _apply_entry(self, slot: Slot) -> None:
        if (slot.number == 0) != isinstance(slot.entry, kinds.Create):
            kind = type(slot.entry).__name__.lower()
            raise self._corrupt(slot, f"is a {kind} entry", "create stands in slot 0 and nowhere else")
        match slot.entry:
            case kinds.Create(type=type_):
                self.type = type_
            case kinds.Commit() as commit:
                self._committed(commit)
            case kinds.Delete() as deletion:
                self._deleted(slot, deletion)
            case kinds.Undelete(version=number):
                self._change(slot, number, deleted=False)
            case kinds.Alias() as alias:
                self._moved(alias)
            case kinds.Tag(version=number) as tag:
                self._tagged(slot, number, tag)
            case kinds.Describe(version=number) as words:
                self._described(slot, number, words)
            case kinds.Fence(epoch=epoch):
                self.fence = max(self.fence, epoch)
            case kinds.Ttl(version=None) | kinds.Rule():
                pass  # retention is data for collection; it names nothing
            case kinds.Ttl(version=int() as number) | kinds.Keep(version=number):
                self._at(slot, number)
            case other:
                raise self._corrupt(
                    slot,
                    f"is a {type(other).__name__.lower()} entry",
                    "this syncd does not carry out that kind, a newer one wrote it",
                    "upgrade syncd on this node",
                )

    def _committed(self, commit: kinds.Commit) -> None:
        newest = self.newest()
        if newest is not None and newest.digest == commit.digest:
            number, new = newest.number, False
        else:
            number, new = len(self.versions), True
            self.versions.append(_version(number, commit))
        self.outcomes[commit.txn] = Outcome(number, new)
        self.aliases.update((alias, number) for alias in commit.aliases if alias != LATEST)

    def _deleted(self, slot: Slot, deletion: kinds.Delete) -> None:
        number = deletion.version
        self._at(slot, number)
        if deletion.unless_aliased and number in self.aliases.values():
            return
        self._change(slot, number, deleted=True)
        self.aliases = {alias: at for alias, at in self.aliases.items() if at != number}

    def _moved(self, alias: kinds.Alias) -> None:
        if alias.expect is not None and any(self.aliases.get(name) != at for name, at in alias.expect.items()):
            return  # the compare-and-swap lost; whoever asked sees it in the replay
        for name in alias.drop:
            self.aliases.pop(name, None)
        for name, number in alias.set.items():
            if name != LATEST and number < len(self.versions) and not self.versions[number].deleted:
                self.aliases[name] = number

    def _tagged(self, slot: Slot, number: int, tag: kinds.Tag) -> None:
        kept = [word for word in self._at(slot, number).tags if word not in tag.drop]
        self._change(slot, number, tags=tuple(dict.fromkeys([*kept, *tag.add])))

    def _described(self, slot: Slot, number: int | None, words: kinds.Describe) -> None:
        if number is None:
            return  # of the artifact as a whole: nothing here shows it yet
        changes: dict[str, Any] = {}
        if words.description is not None:
            changes["description"] = words.description
        if words.metadata is not None:
            changes["metadata"] = words.metadata
        self._change(slot, number, **changes)

    def _change(self, slot: Slot, number: int, **changes: Any) -> None:
        self.versions[number] = replace(self._at(slot, number), **changes)

    def _at(self, slot: Slot, number: int) -> Version:
        if number >= len(self.versions):
            raise self._corrupt(slot, f"speaks of v{number}", "there was no such version yet")
        return self.versions[number]

    def _corrupt(self, slot: Slot, what: str, why: str, hint: str = "") -> Corrupt:
        key = slot_key(artifact_log(self.key), slot.number)
        return Corrupt(f"{key} {what}", why, hint or "the log is damaged or forked; compare with other nodes")


def _version(number: int, commit: kinds.Commit) -> Version:
    return Version(
        number=number,
        digest=commit.digest,
        manifest=commit.manifest,
        manifest_hash=commit.manifest_hash,
        manifest_size=commit.manifest_size,
        size=commit.size,
        files=commit.files,
        at=commit.at,
        node=commit.node,
        run=commit.run,
        description=commit.description,
        metadata=commit.metadata,
        tags=tuple(commit.tags),
    )
