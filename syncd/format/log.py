"""Log entries: what happened to an artifact, a run or the registry, one immutable object a slot.

An entry is msgpack (a map, its `kind` names the class below) sealed by seal.py. Each carries the hash of the entry
before it, so that the newest entry vouches for the whole history, and slot 0 the hash of the repository and the
log's own name, so that an entry cannot stand in another log. What a log *means* is its replay: docs/FORMAT.md.

Fields that a reader does not know are ignored; a kind that it does not know is an error, for it may change what the
log means.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from syncd.errors import Corrupt, InvalidInput
from syncd.format import keys, seal
from syncd.format.digest import HASH_BYTES, hash_bytes
from syncd.model import names
from syncd.model.names import ArtifactKey

MAX_ENTRY = 1 << 20
ENTRY_MAGIC = seal.magic(b"SYNCDLE")
ROLE = "log entry"
TEXT_LIMIT = 64 << 10
ITEMS_LIMIT = 10_000

Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Version = Annotated[int, Meta(ge=0, le=keys.SLOT_LIMIT)]
Word = Annotated[str, Meta(min_length=1, max_length=names.NAME_LIMIT)]
Text = Annotated[str, Meta(max_length=TEXT_LIMIT)]
Words = Annotated[tuple[Word, ...], Meta(max_length=ITEMS_LIMIT)]
Aliases = Annotated[dict[Word, Version], Meta(max_length=ITEMS_LIMIT)]
RANKS_LIMIT = 1 << 20
Rank = Annotated[int, Meta(ge=0, lt=RANKS_LIMIT)]
Expected = Annotated[dict[Word, Version | None], Meta(max_length=ITEMS_LIMIT)]


class Head(Struct, frozen=True, kw_only=True, tag_field="kind", tag="head"):
    """What every entry carries.

    Attributes:
        txn: the request this entry is the outcome of; of several entries with one txn the first counts.
        prev: hash of the entry in the slot before (`entry_hash`), `genesis` in slot 0.
        gc_seen: the newest collection epoch the writer had read when it chose what to reference.
        node, at: who and when (seconds since 1970 by the node's own clock); for people, never for decisions.
    """

    txn: str
    prev: Hash
    gc_seen: Count = 0
    node: Text = ""
    at: float = 0.0


class Content(Head, frozen=True, kw_only=True, tag="content"):
    """Which manifest, and what it holds: key, hash and size of the object; logical digest, totals."""

    manifest: str
    manifest_hash: Hash
    manifest_size: Count
    digest: Hash
    entries: Count
    files: Count
    size: Count


class Offer(Content, frozen=True, kw_only=True, tag="offer"):
    """What a commit and a part say about the version they make; `inputs` are "project/name:vN" that the run used."""

    aliases: Words = ()
    tags: Words = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    description: Text = ""
    run: Text = ""
    run_project: Text = ""
    inputs: Annotated[tuple[Text, ...], Meta(max_length=ITEMS_LIMIT)] = ()


class Create(Head, frozen=True, kw_only=True, tag="create"):
    """Slot 0 of an artifact log: fixes the type. In any later slot it does nothing."""

    type: str
    description: Text = ""
    metadata: dict[str, Any] = field(default_factory=dict)


class Commit(Offer, frozen=True, kw_only=True, tag="commit"):
    """A version, whole."""


class Whole(Struct, frozen=True, kw_only=True):
    """The union of all parts of a group, as the part that completes it found it: fields as in `Content`."""

    manifest: str
    manifest_hash: Hash
    manifest_size: Count
    digest: Hash
    entries: Count
    files: Count
    size: Count


class Part(Offer, frozen=True, kw_only=True, tag="part"):
    """Contribution of rank `index`, and of the ranks in `also`, to the `of` that make the version of `group`.

    `whole` is in the part that completes a group of several; `digests` are those of each of several `ranks`.
    """

    group: Word
    index: Rank
    of: Annotated[int, Meta(ge=1, le=RANKS_LIMIT)]
    also: Annotated[tuple[Rank, ...], Meta(max_length=ITEMS_LIMIT)] | UnsetType = UNSET
    whole: Whole | UnsetType = UNSET
    digests: Annotated[tuple[Hash, ...], Meta(max_length=ITEMS_LIMIT)] | UnsetType = UNSET

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks whose contribution this is, in order."""
        return (self.index,) if self.also is UNSET else tuple(sorted((self.index, *self.also)))


class Abort(Head, frozen=True, kw_only=True, tag="abort"):
    """A group that is not whole yet will never be."""

    group: Word
    reason: Text = ""


class Fence(Head, frozen=True, kw_only=True, tag="fence"):
    """Collection `epoch` has begun: later entries that reference data count only when they have seen it."""

    epoch: Annotated[int, Meta(ge=1, le=keys.SLOT_LIMIT)]


class Link(Content, frozen=True, kw_only=True, tag="link"):
    """A version whose content is version `source_version` of another artifact."""

    source_project: str
    source_name: str
    source_version: Version
    aliases: Words = ()


class Unlink(Head, frozen=True, kw_only=True, tag="unlink"):
    """Delete a version that a link made."""

    version: Version


class Rebase(Content, frozen=True, kw_only=True, tag="rebase"):
    """The same version in other packs: same digest, another manifest."""

    version: Version


class Delete(Head, frozen=True, kw_only=True, tag="delete"):
    """Hide a version and drop its aliases; its bytes stay until a collection. Nothing, if aliased and so asked."""

    version: Version
    unless_aliased: bool = False


class Undelete(Head, frozen=True, kw_only=True, tag="undelete"):
    """Show a deleted version again."""

    version: Version


class Alias(Head, frozen=True, kw_only=True, tag="alias"):
    """Drop, then move aliases; nothing at all when `expect` (None: no such alias) is not so at this slot."""

    set: Aliases = field(default_factory=dict)
    drop: Words = ()
    expect: Expected | None = None


class Tag(Head, frozen=True, kw_only=True, tag="tag"):
    """Add and drop tags of a version."""

    version: Version
    add: Words = ()
    drop: Words = ()


class Describe(Head, frozen=True, kw_only=True, tag="describe"):
    """Replace description and metadata of a version, of the artifact when `version` is None; None leaves as it is."""

    version: Version | None = None
    description: Text | None = None
    metadata: dict[str, Any] | None = None


class Ttl(Head, frozen=True, kw_only=True, tag="ttl"):
    """Set how many seconds a version lives (of all without their own when `version` is None); None: for ever."""

    version: Version | None = None
    seconds: Count | None = None


class Keep(Head, frozen=True, kw_only=True, tag="keep"):
    """Protect a version from ttl and rules, or (on = false) no longer; not from `delete`."""

    version: Version
    on: bool = True
    reason: Text = ""


class Rule(Head, frozen=True, kw_only=True, tag="rule"):
    """Set a named rule of the artifact (retention, alias rules); an empty one is removed."""

    name: Word
    spec: dict[str, Any] = field(default_factory=dict)


class Start(Head, frozen=True, kw_only=True, tag="start"):
    """Slot 0 of a run log."""

    project: str
    run: str
    name: Text = ""
    group: Text = ""
    job_type: Text = ""
    config: dict[str, Any] = field(default_factory=dict)


class Finish(Head, frozen=True, kw_only=True, tag="finish"):
    """A run has ended."""

    exit_code: Annotated[int, Meta(ge=-(2**31), lt=2**31)] = 0
    state: Text = "finished"


class Register(Head, frozen=True, kw_only=True, tag="register"):
    """In the registry: this artifact exists. Written before its slot 0."""

    project: str
    name: str
    type: str


LogEntry = (
    Create | Commit | Part | Abort | Fence | Link | Unlink | Rebase | Delete | Undelete | Alias | Tag | Describe
    | Ttl | Keep | Rule | Start | Finish | Register
)  # fmt: skip

ARTIFACT_KINDS: tuple[type[Head], ...] = (
    Create, Commit, Part, Abort, Fence, Link, Unlink, Rebase, Delete, Undelete, Alias, Tag, Describe, Ttl, Keep, Rule,
)  # fmt: skip
RUN_KINDS: tuple[type[Head], ...] = (Start, Finish)
REGISTRY_KINDS: tuple[type[Head], ...] = (Register, Fence)


class _Kind(Struct, frozen=True):
    kind: Text


_KIND = msgspec.msgpack.Decoder(_Kind)
_DECODER: msgspec.msgpack.Decoder[LogEntry] = msgspec.msgpack.Decoder(LogEntry)
_KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in ARTIFACT_KINDS + RUN_KINDS + REGISTRY_KINDS)


def encode_entry(entry: LogEntry) -> bytes:
    """Return the object of a slot: what `decode_entry` gives back, and nothing it would refuse.

    Raises:
        InvalidInput: larger than 1 MiB, or a field that no reader would take (logs are for ever: not written then).
    """
    data = seal.seal(ENTRY_MAGIC, seal.pack_value(entry))
    if len(data) > MAX_ENTRY:
        raise InvalidInput(
            f"the {ROLE} is too large: {len(data)} bytes",
            f"at most {MAX_ENTRY} are kept",
            "put large metadata into a file of the artifact",
        )
    try:
        decode_entry(data)
    except Corrupt as error:
        raise InvalidInput(f"the {ROLE} cannot be written", f"{error.what}: {error.why}") from error
    return data


def decode_entry(data: bytes) -> LogEntry:
    """Return the entry in the object of a slot. Whether `prev` is right is for who reads the whole log.

    Raises:
        Corrupt: not an entry, damaged, malformed, or of a kind that only a newer syncd knows.
    """
    body = seal.unseal(ENTRY_MAGIC, data, ROLE, MAX_ENTRY)
    with seal.reading(ROLE):
        kind = _KIND.decode(body).kind
        if kind not in _KNOWN:
            raise seal.newer(ROLE, f"the kind {kind[:100]!r}")
        entry = _DECODER.decode(body)
        _check(entry)
    return entry


def entry_hash(data: bytes) -> bytes:
    """Return what the next entry's `prev` must be: the hash of the whole object."""
    return hash_bytes(data)


def genesis(repo_id: str, log: str) -> bytes:
    """Return the `prev` of slot 0 of this log of this repository."""
    return hash_bytes(b"syncd log 1\x00", repo_id.encode(), b"\x00", log.encode())


def _check(entry: LogEntry) -> None:
    """Raise InvalidInput for values that the types alone do not refuse."""
    keys.check_txn(entry.txn)
    if not math.isfinite(entry.at):
        raise InvalidInput("a time is not a number")
    for kind, check in _CHECKS:
        if isinstance(entry, kind):
            check(entry)


def _check_content(entry: Content | Whole) -> None:
    keys.parse_manifest(entry.manifest)
    if entry.files > entry.entries:
        raise InvalidInput(f"{entry.files} files in {entry.entries} entries")


def _check_offer(entry: Offer) -> None:
    for alias in entry.aliases:
        names.check_alias(alias)
    for tag in entry.tags:
        names.check_tag(tag)
    if entry.run:
        keys.run_log(entry.run_project, entry.run)


def _check_part(entry: Part) -> None:
    if entry.ranks[-1] >= entry.of:
        raise InvalidInput(f"part {entry.ranks[-1]} of {entry.of}")
    if len(set(entry.ranks)) < len(entry.ranks):
        raise InvalidInput("a part names a rank twice")
    if entry.whole is not UNSET:
        _check_content(entry.whole)


def _check_alias(entry: Alias) -> None:
    for alias in (*entry.set, *entry.drop, *(entry.expect or ())):
        names.check_alias(alias)


def _check_tag(entry: Tag) -> None:
    for tag in entry.add:
        names.check_tag(tag)


def _check_type(entry: Create | Register) -> None:
    names.check_type(entry.type)


def _check_metadata(entry: Create | Offer | Describe) -> None:
    names.check_metadata(entry.metadata or {})


def _check_link(entry: Link) -> None:
    _check_artifact(entry.source_project, entry.source_name)
    for alias in entry.aliases:
        names.check_alias(alias)


def _check_register(entry: Register) -> None:
    _check_artifact(entry.project, entry.name)


def _check_artifact(project: str, name: str) -> None:
    keys.artifact_log(ArtifactKey(names.check_project(project), names.check_name(name)))


def _check_run(entry: Start) -> None:
    keys.run_log(names.check_project(entry.project), entry.run)
    names.check_metadata(entry.config)


_CHECKS: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (Content, _check_content),
    (Offer, _check_offer),
    (Part, _check_part),
    (Link, _check_link),
    (Alias, _check_alias),
    (Tag, _check_tag),
    (Create | Register, _check_type),
    (Create | Offer | Describe, _check_metadata),
    (Register, _check_register),
    (Rule, lambda entry: names.check_metadata(entry.spec)),
    (Start, _check_run),
)
