"""Every request, reply and event, one frozen class each.

A request is sent as `{"id": n, "op": OP, "body": {...}}`; it is answered by any number of
`{"id": n, "event": KIND, "body": {...}}` and exactly one `{"id": n, "ok": {...}}` or `{"id": n, "error": {...}}`.
Paths and entry names are bytes (file names need not be UTF-8); everything else is text, numbers, lists and maps.
Fields a reader does not know are ignored, fields with a default may be absent: that is how the protocol grows.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

from syncd_client.wire.message import Message as Message  # noqa: PLC0414 - named here for everybody
from syncd_client.wire.message import message

PROTOCOL = 1


class Request(Message):
    """Base of the messages a client sends: `op` is its verb on the wire, `reply` the class that answers it."""

    op: ClassVar[str]
    reply: ClassVar[type[Message]]


# --- what replies are made of -----------------------------------------------------------------------------


@message
class ErrorInfo(Message):
    """A failure, in the words of errors.SyncdError: `code` from wire/errors.py; what, why, what to do next."""

    code: str
    what: str
    why: str = ""
    hint: str = ""
    retry: bool = False


@message
class RunInfo(Message):
    """The execution that logs or uses; `config` and the rest are filled by the artifact model later."""

    id: str
    project: str = ""
    name: str = ""
    job_type: str = ""
    group: str = ""
    host: str = ""
    user: str = ""
    started: float = 0.0


@message
class Receipt(Message):
    """What pinning did: how many files, bytes; `ways` counts files per way (reflink, lease, link, copy, blob, none).

    `gaps` says in words what remains unprotected, of a single file beginning with its path; empty when nothing does.
    """

    files: int
    bytes: int
    entries: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)


@message
class JobInfo(Message):
    """One piece of daemon work. `state` from the job table (docs/DESIGN.md), `kind` is "upload" or "download".

    With a `group` it is the share of `rank` of `world_size`: done once it is in the log, and without a `version` until
    all ranks' are.
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
    error: ErrorInfo | None = None
    next_try: float = 0.0
    group: str = ""
    rank: int = 0
    world_size: int = 1


@message
class VersionInfo(Message):
    """One committed version. `state` is COMMITTED or DELETED, `digest` hex, `files` counts entries that are files."""

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


@message
class ArtifactInfo(Message):
    """One named series of versions; `latest` is None while nothing is committed."""

    project: str
    name: str
    type: str
    versions: int = 0
    latest: int | None = None
    size: int = 0
    updated: float = 0.0
    error: ErrorInfo | None = None


@message
class FileInfo(Message):
    """One entry of a version; `type` is file, symlink, dir or reference; `mode` the nine permission bits."""

    path: bytes
    type: str
    size: int = 0
    mode: int = 0
    digest: str = ""
    target: bytes = b""


@message
class GroupInfo(Message):
    """The parts of one version as far as they have come: `state` is open, complete or aborted.

    `missing` names the first 256 ranks whose part has not come, `missing_count` counts them all.
    """

    group: str
    world_size: int
    state: str
    missing: list[int] = field(default_factory=list)
    missing_count: int = 0
    reason: str = ""
    version: int | None = None
    slot: int = 0


@message
class TakenInfo(Message):
    """One sub-directory a watch has turned into a version, and how sure it was that its writer had finished."""

    path: bytes
    state: str
    job: str = ""
    version: int | None = None
    proof: str = ""
    note: str = ""


@message
class WatchInfo(Message):
    """One watched directory: each new sub-directory of it becomes one version of `name`."""

    directory: bytes
    name: str
    type: str
    project: str = ""
    settle: float = 5.0
    done_marker: str = ""
    proof: str = ""
    pending: int = 0
    taken: list[TakenInfo] = field(default_factory=list)
    error: str = ""


# --- requests and their replies -----------------------------------------------------------------------------


@message
class Done(Message):
    """Nothing more to say than: it is done."""


@message
class Welcome(Message):
    """Answer to hello. `staging` is a directory of the daemon's own where new files may be written before add."""

    protocol: int
    version: str
    features: list[str]
    pid: int
    node: str
    project: str
    remote: str
    staging: bytes = b""


@message
class Hello(Request):
    """The first message on every connection; nothing else is answered before it."""

    op: ClassVar[str] = "hello"
    reply: ClassVar[type[Message]] = Welcome
    client: str
    protocol: int = PROTOCOL
    features: list[str] = field(default_factory=list)


@message
class Ping(Request):
    """Is the daemon alive, loop and journal? Answered by Welcome's facts."""

    op: ClassVar[str] = "ping"
    reply: ClassVar[type[Message]] = Welcome


@message
class AddFile(Request):
    """Pin one regular file and put it into a draft under `name`. The draft is made by its first use.

    `dev`, `ino`, `size` are what the client sees at `path`: another file there in the daemon's view is an error.
    `policy` is "mutable" (pinned) or "immutable" (the caller promises). `overwrite` replaces an equal name.
    """

    op: ClassVar[str] = "add_file"
    reply: ClassVar[type[Message]] = Receipt
    draft: str
    path: bytes
    name: bytes
    dev: int
    ino: int
    size: int
    policy: str = "mutable"
    overwrite: bool = False


@message
class AddDir(Request):
    """Pin everything below a directory; entries are named by their path below it, prefixed by `name`.

    A symbolic link that stays inside is kept as a link (an absolute one as the relative one that means the same). One
    to a file outside is replaced by that file's bytes, and told in the receipt; one to a directory outside is
    `invalid`.
    """

    op: ClassVar[str] = "add_dir"
    reply: ClassVar[type[Message]] = Receipt
    draft: str
    path: bytes
    name: bytes = b""
    dev: int = 0
    ino: int = 0
    policy: str = "mutable"
    merge: bool = False


@message
class DropDraft(Request):
    """Forget a draft and its pins; a draft that was logged is not a draft any more and stays."""

    op: ClassVar[str] = "drop_draft"
    reply: ClassVar[type[Message]] = Done
    draft: str


@message
class Log(Request):
    """Turn a draft into an upload job. Repeating it for the same draft returns the same job.

    `empty` says that nothing was added on purpose; without it a draft the daemon does not know is an error.

    With a `group` it is one rank's part of a version that `world_size` ranks make; `local_world_size` of them log
    through this daemon, which then waits a little for all of them to share one entry.
    """

    op: ClassVar[str] = "log"
    reply: ClassVar[type[Message]] = JobInfo
    draft: str
    name: str
    type: str
    project: str = ""
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    run: RunInfo | None = None
    empty: bool = False
    group: str = ""
    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1


@message
class ShowJob(Request):
    """One job by its id, or by as many first letters of it as no other job has."""

    op: ClassVar[str] = "show_job"
    reply: ClassVar[type[Message]] = JobInfo
    job: str


@message
class JobPage(Message):
    """A page of jobs, newest first; `next` continues, empty at the end."""

    jobs: list[JobInfo]
    next: str = ""


@message
class ListJobs(Request):
    """Jobs, newest first; `open_only` leaves out those that ended, `failed_only` all but those that failed."""

    op: ClassVar[str] = "list_jobs"
    reply: ClassVar[type[Message]] = JobPage
    open_only: bool = False
    after: str = ""
    limit: int = 200
    failed_only: bool = False


@message
class Waited(Message):
    """The jobs that were waited for, each in an end state, or in `waiting` for a person (see Wait)."""

    jobs: list[JobInfo]


@message
class Wait(Request):
    """Answered when the jobs named (none: all that are open now) have ended; events "job" carry JobInfo meanwhile.

    Jobs are named as in ShowJob.
    A job in state `waiting` has not ended: it is tried again, and waited for. Of each that is held up when the wait
    begins an event tells at once. Only a try that fails while one waits, with `remote_refused` or `corrupt`, which
    a person must mend, is answered in that state. The job of a rank has ended when the version exists: then it is
    "done" and has a version; if its group was aborted it is "failed".
    `timeout` in seconds (None: for ever) ends it with a timeout error, whose `why` has the last error and the pause
    before the next try; the jobs go on.
    """

    op: ClassVar[str] = "wait"
    reply: ClassVar[type[Message]] = Waited
    jobs: list[str] = field(default_factory=list)
    timeout: float | None = None


@message
class Cancel(Request):
    """Stop a job, named as in ShowJob; bytes stored become garbage, pins are let go. An ended job is a conflict."""

    op: ClassVar[str] = "cancel"
    reply: ClassVar[type[Message]] = JobInfo
    job: str


@message
class Use(Request):
    """Resolve `ref` ("latest", "v3", an alias) and record the use by `run`, best effort.

    While this daemon holds an uncommitted job for the artifact that could become `ref`, it waits for that job
    (events "job"), at most `timeout` seconds. `type`, when not empty, must match.
    """

    op: ClassVar[str] = "use"
    reply: ClassVar[type[Message]] = VersionInfo
    name: str
    ref: str = "latest"
    project: str = ""
    type: str = ""
    run: RunInfo | None = None
    timeout: float | None = None


@message
class Show(Request):
    """Resolve a version without recording a use and without waiting."""

    op: ClassVar[str] = "show"
    reply: ClassVar[type[Message]] = VersionInfo
    name: str
    ref: str = "latest"
    project: str = ""


@message
class ArtifactPage(Message):
    """A page of artifacts in order of project and name."""

    artifacts: list[ArtifactInfo]
    next: str = ""


@message
class ListArtifacts(Request):
    """The artifacts of the remote; an empty project means all of them."""

    op: ClassVar[str] = "list_artifacts"
    reply: ClassVar[type[Message]] = ArtifactPage
    project: str = ""
    after: str = ""
    limit: int = 200


@message
class VersionPage(Message):
    """A page of versions, newest first."""

    versions: list[VersionInfo]
    next: str = ""


@message
class ListVersions(Request):
    """The versions of one artifact, newest first; deleted ones only when asked for."""

    op: ClassVar[str] = "list_versions"
    reply: ClassVar[type[Message]] = VersionPage
    name: str
    project: str = ""
    deleted: bool = False
    after: str = ""
    limit: int = 200


@message
class FilePage(Message):
    """A page of entries in order of their path."""

    files: list[FileInfo]
    next: bytes = b""


@message
class ListFiles(Request):
    """The entries of a version after the path `after`."""

    op: ClassVar[str] = "list_files"
    reply: ClassVar[type[Message]] = FilePage
    name: str
    ref: str = "latest"
    project: str = ""
    after: bytes = b""
    limit: int = 1000


@message
class GroupPage(Message):
    """A page of groups, the one that began last first."""

    groups: list[GroupInfo]
    next: str = ""


@message
class ListGroups(Request):
    """The groups of an artifact; those that became a version only when asked for."""

    op: ClassVar[str] = "list_groups"
    reply: ClassVar[type[Message]] = GroupPage
    name: str
    project: str = ""
    complete: bool = False
    after: str = ""
    limit: int = 100


@message
class AbortGroup(Request):
    """End a group that is not complete, for all its ranks; an empty `group` means every open one.

    With `older_than` only groups whose first part is at least so many seconds old by the store's time. Answered by
    those that are aborted now. A group named that is complete is a conflict.
    """

    op: ClassVar[str] = "abort_group"
    reply: ClassVar[type[Message]] = GroupPage
    name: str
    group: str = ""
    project: str = ""
    reason: str = ""
    older_than: float | None = None


@message
class Get(Request):
    """Start a job that restores a version below `root` (absolute); wait for it with Wait."""

    op: ClassVar[str] = "get"
    reply: ClassVar[type[Message]] = JobInfo
    name: str
    root: bytes
    ref: str = "latest"
    project: str = ""


@message
class VerifyReport(Message):
    """What verification read and what it found; `problems` is empty when all is well."""

    version: VersionInfo
    files: int
    bytes: int
    problems: list[str] = field(default_factory=list)


@message
class Verify(Request):
    """Compare a directory with a version (`root`), or without one read and hash every byte in the remote."""

    op: ClassVar[str] = "verify"
    reply: ClassVar[type[Message]] = VerifyReport
    name: str
    ref: str = "latest"
    project: str = ""
    root: bytes = b""


@message
class FindingInfo(Message):
    """One damaged object: `kind` is missing, truncated, flipped, swapped, forked, shortened, unregistered or
    unreadable. `hurts` names at most 20 versions, `more` counts further ones; `outcome` says what a repair did.
    """

    kind: str
    key: str
    what: str
    hurts: list[str] = field(default_factory=list)
    more: int = 0
    todo: str = ""
    outcome: str = ""
    mended: bool = False


@message
class CheckReport(Message):
    """What a check of the whole remote found. `sound`: nothing is wrong, or wrong any more.

    `found` counts the findings, of which at most 200 are here; `damaged` names at most 1000 versions.
    """

    sound: bool
    seed: int
    artifacts: int
    versions: int
    logs: int
    packs: int
    packs_read: int
    bytes_read: int
    found: int = 0
    findings: list[FindingInfo] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


@message
class StepInfo(Message):
    """How far a long request is: what it does now, and `done` of `total` things of that (0: not known)."""

    step: str
    done: int = 0
    total: int = 0


@message
class Fsck(Request):
    """Check the whole remote: every log, manifest and pack that is needed; events "step" carry StepInfo meanwhile.

    `read_data` is the share (0 to 1) of packs whose chunks are read and hashed, drawn by `seed` (nil: by chance).
    `repair` mends what can be mended and takes the rest out of use; without it nothing is written.
    """

    op: ClassVar[str] = "fsck"
    reply: ClassVar[type[Message]] = CheckReport
    read_data: float = 0.0
    seed: int | None = None
    repair: bool = False


@message
class CopyReport(Message):
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


@message
class Copy(Request):
    """Copy a version into the repository at `to`, as `to_project`/`to_name` (empty: as here); repeating it is harmless.

    Events "step" carry StepInfo meanwhile.
    """

    op: ClassVar[str] = "copy"
    reply: ClassVar[type[Message]] = CopyReport
    name: str
    to: str
    ref: str = "latest"
    project: str = ""
    to_name: str = ""
    to_project: str = ""


@message
class Remove(Request):
    """Mark a version deleted in the log; no bytes are freed, Restore takes it back.

    One that has aliases (`latest` is none) is a conflict unless `delete_aliases` says that they may go with it.
    """

    op: ClassVar[str] = "remove"
    reply: ClassVar[type[Message]] = VersionInfo
    name: str
    ref: str
    project: str = ""
    delete_aliases: bool = False


@message
class Restore(Request):
    """Take a deletion back. `ref` must be a version (v3): a deleted version has no aliases."""

    op: ClassVar[str] = "restore"
    reply: ClassVar[type[Message]] = VersionInfo
    name: str
    ref: str
    project: str = ""


@message
class CollectStep(Message):
    """How far a collection is: what it does, and of how many things how many are done (0 of 0: not known)."""

    step: str
    done: int = 0
    total: int = 0


@message
class CollectReport(Message):
    """What a collection found and, unless it was a dry run, what it did. Bytes are those of stored objects.

    `needed` is what versions, kept versions, links and open groups need; of the rest `young` is left alone for its age,
    `in_use` for an upload that goes on. `now` is what is deleted at once, `later` what is when its grace is over.
    `sparse` packs are rewritten; what that frees, the next collection deletes.
    """

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


@message
class Collect(Request):
    """Delete what nobody needs; a dry run, the default, says what would be done. Events "collect" tell how far it is.

    `min_age`: younger objects are not condemned; `grace`: how long condemned ones stay. Seconds by the remote's clock.
    """

    op: ClassVar[str] = "collect"
    reply: ClassVar[type[Message]] = CollectReport
    dry_run: bool = True
    min_age: float = 86400.0
    grace: float = 86400.0


@message
class Explanation(Message):
    """Why a version's bytes are kept (`kept`, `why`), or are not; sizes in bytes as stored.

    `exclusive_bytes` are those no other version has. `shared_with` names whose data lies in the same packs, ten at
    most. `condemned` is what of it collection has condemned: it cannot be restored then.
    """

    project: str
    name: str
    version: int
    kept: bool
    why: list[str] = field(default_factory=list)
    stored_bytes: int = 0
    exclusive_bytes: int = 0
    shared_with: list[str] = field(default_factory=list)
    condemned: list[str] = field(default_factory=list)


@message
class Explain(Request):
    """Ask why collection keeps a version's bytes; it may be a deleted one."""

    op: ClassVar[str] = "explain"
    reply: ClassVar[type[Message]] = Explanation
    name: str
    ref: str = "latest"
    project: str = ""


@message
class StatusInfo(Message):
    """The daemon at a glance. `jobs` counts open jobs per state, `failed` those that failed and were not cancelled,
    `pins` files per way, sizes in bytes; `mirror_lag` log entries that the mirror, if one is set, has not got yet.
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


@message
class Status(Request):
    """Ask for StatusInfo."""

    op: ClassVar[str] = "status"
    reply: ClassVar[type[Message]] = StatusInfo


@message
class AddWatch(Request):
    """Watch a directory: each new sub-directory becomes one version, once it is complete.

    Complete means: `done_marker` exists in it if one is named; else quiet for `settle` seconds and no file in
    it open for writing (proved by read leases where the file system has them).
    """

    op: ClassVar[str] = "add_watch"
    reply: ClassVar[type[Message]] = WatchInfo
    directory: bytes
    name: str
    type: str
    project: str = ""
    settle: float = 5.0
    done_marker: str = ""


@message
class WatchPage(Message):
    """All watches."""

    watches: list[WatchInfo]


@message
class ListWatches(Request):
    """Ask for all watches and what they have taken lately."""

    op: ClassVar[str] = "list_watches"
    reply: ClassVar[type[Message]] = WatchPage


@message
class RemoveWatch(Request):
    """Stop watching a directory; versions already taken stay."""

    op: ClassVar[str] = "remove_watch"
    reply: ClassVar[type[Message]] = Done
    directory: bytes


@message
class Subscribe(Request):
    """Events "job" for every change of every job until the client cancels or goes."""

    op: ClassVar[str] = "subscribe"
    reply: ClassVar[type[Message]] = Done


@message
class CancelRequest(Request):
    """Abandon the request with that id on this connection; it is answered by an error "cancelled"."""

    op: ClassVar[str] = "cancel_request"
    reply: ClassVar[type[Message]] = Done
    request: int


@message
class Shutdown(Request):
    """Drain and stop the daemon; open jobs go on at its next start."""

    op: ClassVar[str] = "shutdown"
    reply: ClassVar[type[Message]] = Done


REQUESTS: dict[str, type[Request]] = {
    cls.op: cls
    for cls in (
        Hello, Ping, AddFile, AddDir, DropDraft, Log, ShowJob, ListJobs, Wait, Cancel, Use, Show, ListArtifacts,
        ListVersions, ListFiles, ListGroups, AbortGroup, Get, Verify, Fsck, Copy, Remove, Restore, Collect, Explain,
        Status, AddWatch, ListWatches, RemoveWatch, Subscribe, CancelRequest, Shutdown,
    )
}  # fmt: skip
"""Every verb of protocol 1; the house test holds PROTOCOL.md against it."""

EVENTS: dict[str, type[Message]] = {"job": JobInfo, "collect": CollectStep, "step": StepInfo}
"""Event kinds and their bodies."""
