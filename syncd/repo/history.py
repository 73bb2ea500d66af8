"""Replay of an artifact's log: which versions there are, what they are called. Pure and deterministic (law L2).

Every node that has read the same slots comes to the same state. The rules, in the order they are applied:

1. The first entry with a transaction id counts; later ones with the same id are ignored. An entry that refers to
   data, or brings a version back, and was written behind a collection's fence without having seen it counts for
   nothing, its id included.
2. `create` in slot 0, and only there, fixes the type. What it has seen of collections is the first fence: the log is
   younger than they are, so none of them put a fence into it.
3. A `commit` whose digest is that of the newest undeleted version makes no new version: its aliases move there, the
   version's own metadata and description stay. Any other commit is the next version; its aliases move to it.
4. `latest` is never stored: it is the highest version that is not deleted. As an alias given or dropped it is ignored.
5. Deleting a version takes its aliases away; undeleting brings the version back without them.
6. Who speaks of a version that is not there yet makes the log corrupt: no right writer does.
7. Parts add up to versions as groups.py says; a complete group is a commit in the slot of its last part.
8. A link is a commit of content that another artifact's version holds too. A rebase gives a version other packs.
9. A kind that has no meaning here (a run's, the registry's) stops the replay with an error: guessing would number
   versions differently from those who know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from syncd.errors import Corrupt, NotFound
from syncd.format import log as kinds
from syncd.format.keys import artifact_log, slot_key
from syncd.model.names import LATEST, ArtifactKey, version_number
from syncd.repo.groups import Group
from syncd.repo.log import Slot


@dataclass(frozen=True, slots=True)
class Source:
    """The version of another artifact that a link shows."""

    key: ArtifactKey
    version: int


@dataclass(frozen=True, slots=True)
class Version:
    """One version as the log has it.

    Attributes:
        manifest, manifest_hash, manifest_size: key, BLAKE3 (32 bytes) and size of the object.
        at: display time.
        inputs: "project/name:vN" that its run had used.
        source: what it links to, None for a version of its own.
        kept: protected from retention rules.
    """

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
    inputs: tuple[str, ...] = ()
    source: Source | None = None
    kept: bool = False
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
    groups: dict[str, Group] = field(default_factory=dict)
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
            if slot.entry.txn not in self._txns and not self._stalled(slot.entry):
                self._txns.add(slot.entry.txn)
                self._apply_entry(slot)
        return self

    def _stalled(self, entry: kinds.Head) -> bool:
        return isinstance(entry, kinds.Content | kinds.Undelete) and entry.gc_seen < self.fence

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
        effect = self._EFFECTS.get(type(slot.entry))
        if effect is None:
            kind = type(slot.entry).__name__.lower()
            raise self._corrupt(slot, f"is a {kind} entry", "that kind has no place in an artifact's log")
        effect(self, slot, slot.entry)

    def _created(self, slot: Slot, create: kinds.Create) -> None:
        self.type, self.fence = create.type, create.gc_seen

    def _fenced(self, slot: Slot, fence: kinds.Fence) -> None:
        self.fence = max(self.fence, fence.epoch)

    def _commit(self, slot: Slot, commit: kinds.Commit) -> None:
        self._committed(_version(commit), commit)

    def _link(self, slot: Slot, link: kinds.Link) -> None:
        self._committed(_linked(link), link)

    def _unlink(self, slot: Slot, unlink: kinds.Unlink) -> None:
        if self._at(slot, unlink.version).source is not None:
            self._delete(slot, unlink.version)

    def _committed(self, version: Version, entry: kinds.Commit | kinds.Link) -> None:
        newest = self.newest()
        if newest is not None and newest.digest == version.digest:
            number, new = newest.number, False
        else:
            number, new = len(self.versions), True
            self.versions.append(replace(version, number=number))
        self.outcomes[entry.txn] = Outcome(number, new)
        self.aliases.update((alias, number) for alias in entry.aliases if alias != LATEST)

    def _joined(self, slot: Slot, part: kinds.Part) -> None:
        group = self.groups.get(part.group) or Group(part.group, part.of, slot.number)
        grown = group.joined(part)
        if grown is None:
            return
        if not grown.missing:
            whole = grown.commit(part)
            self._committed(_version(whole), whole)
            grown = replace(grown, version=self.outcomes[part.txn].version)
        self.groups[part.group] = grown

    def _aborted(self, slot: Slot, abort: kinds.Abort) -> None:
        group = self.groups.get(abort.group)
        if group is not None and group.open:
            self.groups[abort.group] = replace(group, aborted=abort.reason)

    def _rebased(self, slot: Slot, to: kinds.Rebase) -> None:
        if self._at(slot, to.version).digest == to.digest:
            place = {name: getattr(to, name) for name in ("manifest", "manifest_hash", "manifest_size")}
            self._change(slot, to.version, **place)

    def _deleted(self, slot: Slot, deletion: kinds.Delete) -> None:
        self._at(slot, deletion.version)
        if not (deletion.unless_aliased and deletion.version in self.aliases.values()):
            self._delete(slot, deletion.version)

    def _undeleted(self, slot: Slot, entry: kinds.Undelete) -> None:
        self._change(slot, entry.version, deleted=False)

    def _kept(self, slot: Slot, keep: kinds.Keep) -> None:
        self._change(slot, keep.version, kept=keep.on)

    def _lives(self, slot: Slot, ttl: kinds.Ttl) -> None:
        if ttl.version is not None:
            self._at(slot, ttl.version)

    def _ruled(self, slot: Slot, rule: kinds.Rule) -> None:
        """Rules are data for retention; they name no version."""

    def _delete(self, slot: Slot, number: int) -> None:
        self._change(slot, number, deleted=True)
        self.aliases = {alias: at for alias, at in self.aliases.items() if at != number}

    def _moved(self, slot: Slot, alias: kinds.Alias) -> None:
        if alias.expect is not None and any(self.aliases.get(name) != at for name, at in alias.expect.items()):
            return  # the compare-and-swap lost; whoever asked sees it in the replay
        for name in alias.drop:
            self.aliases.pop(name, None)
        for name, number in alias.set.items():
            if name != LATEST and number < len(self.versions) and not self.versions[number].deleted:
                self.aliases[name] = number

    def _tagged(self, slot: Slot, tag: kinds.Tag) -> None:
        kept = [word for word in self._at(slot, tag.version).tags if word not in tag.drop]
        self._change(slot, tag.version, tags=tuple(dict.fromkeys([*kept, *tag.add])))

    def _described(self, slot: Slot, words: kinds.Describe) -> None:
        if words.version is None:
            return  # of the artifact as a whole: nothing here shows it yet
        changes: dict[str, Any] = {}
        if words.description is not None:
            changes["description"] = words.description
        if words.metadata is not None:
            changes["metadata"] = words.metadata
        self._change(slot, words.version, **changes)

    def _change(self, slot: Slot, number: int, **changes: Any) -> None:
        self.versions[number] = replace(self._at(slot, number), **changes)

    def _at(self, slot: Slot, number: int) -> Version:
        if number >= len(self.versions):
            raise self._corrupt(slot, f"speaks of v{number}", "there was no such version yet")
        return self.versions[number]

    def _corrupt(self, slot: Slot, what: str, why: str, hint: str = "") -> Corrupt:
        key = slot_key(artifact_log(self.key), slot.number)
        return Corrupt(f"{key} {what}", why, hint or "the log is damaged or forked; compare with other nodes")

    # What each kind does. One that is not here has no place in an artifact's log.
    _EFFECTS: ClassVar[Mapping[object, Callable[[Any, Slot, Any], None]]] = {
        kinds.Create: _created,
        kinds.Commit: _commit,
        kinds.Part: _joined,
        kinds.Abort: _aborted,
        kinds.Fence: _fenced,
        kinds.Link: _link,
        kinds.Unlink: _unlink,
        kinds.Rebase: _rebased,
        kinds.Delete: _deleted,
        kinds.Undelete: _undeleted,
        kinds.Alias: _moved,
        kinds.Tag: _tagged,
        kinds.Describe: _described,
        kinds.Ttl: _lives,
        kinds.Keep: _kept,
        kinds.Rule: _ruled,
    }


def _version(commit: kinds.Commit) -> Version:
    return Version(
        number=-1,
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
        inputs=tuple(commit.inputs),
    )


def _linked(link: kinds.Link) -> Version:
    return Version(
        number=-1,
        digest=link.digest,
        manifest=link.manifest,
        manifest_hash=link.manifest_hash,
        manifest_size=link.manifest_size,
        size=link.size,
        files=link.files,
        at=link.at,
        node=link.node,
        run="",
        description="",
        metadata={},
        tags=(),
        source=Source(ArtifactKey(link.source_project, link.source_name), link.source_version),
    )
