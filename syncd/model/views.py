"""What a person can be told about jobs, versions and the daemon: frozen answers of the service to both doors.

Field for field the reply messages of the socket (a house test holds them together); the rooms below the doors do not
know the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorView:
    """A failure in the words of SyncdError."""

    code: str
    what: str
    why: str = ""
    hint: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """What pinning did: files, bytes, entries (with links and directories), files per way, what stays unprotected."""

    files: int
    bytes: int
    entries: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class JobView:
    """One job: its state and progress in bytes and files; `bytes_stored` went over the wire: sent, or fetched.

    `next_try`: when a waiting job tries again, seconds since the epoch; 0 when it does not wait.
    """

    job: str
    kind: str
    state: str
    project: str = ""
    name: str = ""
    type: str = ""
    version: int | None = None
    new_version: bool = True
    digest: str = ""
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_stored: int = 0
    files_total: int = 0
    files_done: int = 0
    attempt: int = 0
    created: float = 0.0
    updated: float = 0.0
    root: bytes = b""
    warnings: list[str] = field(default_factory=list)
    error: ErrorView | None = None
    next_try: float = 0.0
    group: str = ""
    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class VersionView:
    """One committed version, as the replay of its log has it."""

    project: str
    name: str
    type: str
    version: int
    digest: str
    state: str = "COMMITTED"
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    size: int = 0
    files: int = 0
    created: float = 0.0
    run: str = ""
    node: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ArtifactView:
    """One artifact; `latest` is None while nothing is committed, `size` that of the latest version.

    `error`: its log cannot be read or is damaged; then nothing else is known but the type.
    """

    project: str
    name: str
    type: str
    versions: int = 0
    latest: int | None = None
    size: int = 0
    updated: float = 0.0
    error: ErrorView | None = None


@dataclass(frozen=True, slots=True)
class FileView:
    """One entry of a version."""

    path: bytes
    type: str
    size: int = 0
    mode: int = 0
    digest: str = ""
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class GroupView:
    """The parts of one version as far as they have come: `state` is open, complete or aborted (`reason` says why).

    `missing` names some of the ranks whose part has not come, `missing_count` says how many there are; `slot` is that
    of its first part.
    """

    group: str
    world_size: int
    state: str
    missing: list[int] = field(default_factory=list)
    missing_count: int = 0
    reason: str = ""
    version: int | None = None
    slot: int = 0


@dataclass(frozen=True, slots=True)
class VerifyView:
    """What verification read and what it found."""

    version: VersionView
    files: int
    bytes: int
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FindingView:
    """One damaged object; `hurts` names at most 20 versions, `more` counts further ones."""

    kind: str
    key: str
    what: str
    hurts: list[str] = field(default_factory=list)
    more: int = 0
    todo: str = ""
    outcome: str = ""
    mended: bool = False


@dataclass(frozen=True, slots=True)
class CheckView:
    """What a check of the whole remote looked at and found; `damaged` names at most 1000 versions."""

    sound: bool
    seed: int
    artifacts: int
    versions: int
    logs: int
    packs: int
    packs_read: int
    bytes_read: int
    found: int = 0
    findings: list[FindingView] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CopyView:
    """What a copy became in the other repository; `bytes_stored` of new packs there, 0 when it was there already."""

    project: str
    name: str
    version: int
    new_version: bool
    source: str
    digest: str
    bytes_stored: int = 0
    files: int = 0
    bytes: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StepView:
    """How far a long piece of work is: what it does now, and `done` of `total` things of that (0: not known)."""

    step: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class TakenView:
    """One sub-directory a watch has turned into a version. `proof`: marker, leases or unproven."""

    path: bytes
    state: str
    job: str = ""
    version: int | None = None
    proof: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class WatchView:
    """One watched directory; `proof` is what its file system can prove, `pending` sub-directories not complete yet."""

    directory: bytes
    name: str
    type: str
    project: str = ""
    settle: float = 5.0
    done_marker: str = ""
    proof: str = ""
    pending: int = 0
    taken: list[TakenView] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True, slots=True)
class StatusView:
    """The daemon at a glance; `remote_state` is "ok" or the words of the last failure; `jobs` counts open ones.

    `next_try`: when the first of the waiting jobs tries again, seconds since the epoch; 0 when none waits.
    """

    version: str
    pid: int
    node: str
    started: float
    remote: str
    remote_state: str
    chunker: str
    jobs: dict[str, int]
    queue_bytes: int
    spool_bytes: int
    memory_bytes: int
    memory_budget: int
    drafts: int
    watches: int
    pins: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failed: int = 0
    next_try: float = 0.0
    mirror: str = ""
    mirror_state: str = ""
    mirror_lag: int = 0


@dataclass(frozen=True, slots=True)
class CollectStepView:
    """How far a collection is: what it does, and of how many things how many are done (0 of 0: not known)."""

    step: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class CollectView:
    """What a collection found, and, unless it was a dry run, what it did; bytes are of packs and manifests."""

    dry_run: bool
    artifacts: int
    versions: int
    deleted: int
    packs: int
    bytes: int
    needed_packs: int
    needed_bytes: int
    young_bytes: int
    in_use_bytes: int
    now_packs: int
    now_bytes: int
    later_packs: int
    later_bytes: int
    sparse_packs: int
    sparse_bytes: int
    epoch: int = 0
    freed_bytes: int = 0
    rewritten_bytes: int = 0
    rewritten_versions: int = 0


@dataclass(frozen=True, slots=True)
class ExplainView:
    """Why a version's bytes are kept; sizes in bytes as stored."""

    project: str
    name: str
    version: int
    kept: bool
    why: list[str] = field(default_factory=list)
    stored_bytes: int = 0
    exclusive_bytes: int = 0
    shared_with: list[str] = field(default_factory=list)
    condemned: list[str] = field(default_factory=list)
