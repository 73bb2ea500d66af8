"""What an artifact is and what may be done with it, in both flavours: its state, its rules, its procedures.

A draft grows by `add_file` and `add_dir`: the daemon pins the bytes before it answers. Logged, it is finalized: it
takes nothing more and waits to become a version. Committed, it knows its version, digest and aliases. The classes
people use are `syncd_client.Artifact` and `syncd_client.aio.Artifact`; they add nothing but the way to wait.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from syncd_client import errors, missing, paths, rules, session
from syncd_client.entry import ArtifactManifestEntry
from syncd_client.errors import ArtifactFinalizedError, ArtifactNotLoggedError, InvalidInput
from syncd_client.progress import Progress, say
from syncd_client.ranks import Ranks, ranked
from syncd_client.steps import Ask, Steps
from syncd_client.wire import messages

PENDING = "PENDING"

StrPath = str | os.PathLike[str]


@missing.without("Artifact", missing.ARTIFACT)
class ArtifactRecord:
    """An artifact without a way to wait.

    Fixed at birth: name, type, draft id. Changed only by the procedures: entries, receipts, job, version.
    """

    def __init__(
        self,
        name: str,
        type: str,  # noqa: A002 - W&B's name
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        storage_region: str | None = None,
        digest_algorithm: str = "BLAKE3",
    ) -> None:
        self._base_name = rules.check_name(name)
        self._type = rules.check_type(type, name)
        self._description = description
        self._metadata = rules.check_metadata(metadata)
        if incremental:
            raise InvalidInput("incremental artifacts are not known here", hint="log the whole content: it is deduped")
        if use_as is not None:
            say("`use_as` is deprecated and does nothing")
        del storage_region, digest_algorithm  # there is one region, the remote's, and one algorithm, BLAKE3
        self._draft = uuid.uuid4().hex
        self._finalized = False
        self._entries: dict[bytes, ArtifactManifestEntry] = {}
        self._receipts: list[messages.Receipt] = []
        self._job: messages.JobInfo | None = None
        self._version: messages.VersionInfo | None = None
        self._abandoned = session.watch_draft(self, self._draft)

    # --- what it knows ---------------------------------------------------------------------------------------

    @property
    def id(self) -> str | None:
        """What names this version for ever: "project/name:v3"; None before it is committed."""
        return self._qualified() if self._version else None

    @property
    def name(self) -> str:
        """The name: "x" as a draft, "x:v3" as a version."""
        return f"{self._base_name}:v{self._version.version}" if self._version else self._base_name

    @property
    def type(self) -> str:
        """The type all versions of this name have."""
        return self._type

    @property
    def description(self) -> str | None:
        """What people should know of it."""
        return self._description

    @description.setter
    def description(self, description: str | None) -> None:
        self._must_be_open("description")
        self._description = description

    @property
    def metadata(self) -> dict[str, Any]:
        """Facts about it, as JSON values; checked again when it is logged."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: dict[str, Any]) -> None:
        self._must_be_open("metadata")
        self._metadata = rules.check_metadata(metadata)

    @property
    def state(self) -> str:
        """PENDING until it is committed, then COMMITTED, or DELETED."""
        return self._version.state if self._version else PENDING

    @property
    def size(self) -> int:
        """Bytes of all its files; of a draft, those added so far."""
        return self._version.size if self._version else sum(receipt.bytes for receipt in self._receipts)

    @property
    def receipts(self) -> list[messages.Receipt]:
        """How the bytes of each add were pinned, in order: ways, and what remains unprotected."""
        return list(self._receipts)

    @property
    def job(self) -> str:
        """The id of the daemon's job that uploads it; empty before it is logged."""
        return self._job.job if self._job else ""

    @property
    def distributed_id(self) -> str | None:
        """The group of ranks that it was logged in; None: it is of one process alone."""
        return (self._job.group if self._job else "") or None

    @property
    def project(self) -> str:
        """The project it was logged to."""
        return self._logged("project").project

    @property
    def qualified_name(self) -> str:
        """The name with its project: "project/name:v3"."""
        self._logged("qualified_name")
        return self._qualified()

    @property
    def version(self) -> str:
        """Its version, "v3"."""
        return f"v{self._logged('version').version}"

    @property
    def aliases(self) -> list[str]:
        """The aliases it had when it was last asked for."""
        return list(self._logged("aliases").aliases)

    @property
    def tags(self) -> list[str]:
        """The tags it had when it was last asked for."""
        return list(self._logged("tags").tags)

    @property
    def digest(self) -> str:
        """What its content hashes to (hex); a draft is not hashed yet."""
        return self._logged("digest").digest

    @property
    def file_count(self) -> int:
        """How many files it holds."""
        return self._logged("file_count").files

    def is_draft(self) -> bool:
        """Whether it is not committed yet, as far as this object knows."""
        return self._version is None

    def finalize(self) -> None:
        """Take no more changes. `log_artifact` does this by itself."""
        self._finalized = True

    def __repr__(self) -> str:
        return f"<Artifact {self._qualified() if self._version else self._base_name}>"

    # --- procedures, driven by either flavour -----------------------------------------------------------------

    def _add_file(
        self,
        local_path: StrPath,
        name: StrPath | None,
        is_tmp: bool | None,
        skip_cache: bool | None,
        policy: str | None,
        overwrite: bool,
    ) -> Steps[ArtifactManifestEntry]:
        self._must_be_open("add_file")
        del skip_cache  # there is no second copy that could be skipped
        if is_tmp:
            raise InvalidInput("is_tmp is not known here", "files are not hashed when they are added", "name the file")
        path = _absolute(local_path)
        seen = _look(path, local_path)
        entry = rules.entry_path(name or os.path.basename(os.fspath(local_path)))
        request = messages.AddFile(
            self._draft,
            path,
            entry,
            dev=seen.st_dev,
            ino=seen.st_ino,
            size=seen.st_size,
            policy=rules.check_policy(policy),
            overwrite=overwrite,
        )
        receipt: messages.Receipt = yield Ask(request)
        added = ArtifactManifestEntry(os.fsdecode(entry), receipt.bytes, os.fsdecode(path), receipt)
        if before := self._entries.get(entry):
            self._receipts.remove(before.receipt)  # one entry counts once
        self._entries[entry] = added
        self._receipts.append(receipt)
        return added

    def _add_dir(
        self, local_path: StrPath, name: StrPath | None, skip_cache: bool | None, policy: str | None, merge: bool
    ) -> Steps[None]:
        self._must_be_open("add_dir")
        del skip_cache
        path = _absolute(local_path)
        if not os.path.isdir(path):
            raise InvalidInput(f"Path is not a directory: {os.fspath(local_path)!r}", _why_not(path))
        seen = os.stat(path)
        prefix = rules.entry_path(name) if name else b""
        receipt: messages.Receipt = yield Ask(
            messages.AddDir(
                self._draft,
                path,
                prefix,
                dev=seen.st_dev,
                ino=seen.st_ino,
                policy=rules.check_policy(policy),
                merge=merge,
            )
        )
        self._receipts.append(receipt)

    def _log(
        self,
        project: str,
        run: messages.RunInfo,
        aliases: Iterable[str] | str | None,
        tags: Iterable[str] | str | None,
        ranks: Ranks | None = None,
    ) -> Steps[None]:
        wanted = rules.check_aliases(aliases), rules.check_tags(tags)
        if self._version is not None:
            if any(wanted):
                raise InvalidInput(f"{self.name} is logged already", "aliases and tags are given with the first log")
            return
        request = messages.Log(
            self._draft,
            self._base_name,
            self._type,
            project=project,
            description=self._description or "",
            metadata=rules.check_metadata(self._metadata),
            aliases=wanted[0],
            tags=wanted[1],
            run=run,
            empty=not any(receipt.entries or receipt.files for receipt in self._receipts),
        )
        request = ranked(request, ranks)
        self._job = yield Ask(request)
        self._abandoned.detach()
        self._metadata = request.metadata
        self.finalize()

    def _wait(self, timeout: float | None) -> Steps[None]:
        if self._version is not None:
            return
        if self._job is None:
            raise ArtifactNotLoggedError("Artifact.wait", self)
        job = yield from wait_for(self._job.job, timeout, f"logging {self._base_name}")
        self._job = job
        for warning in job.warnings:
            say(warning)
        try:
            version = yield Ask(messages.Show(self._base_name, f"v{job.version}", job.project))
        except errors.CommError:  # committed is committed, also when the remote cannot be asked just now
            version = self._from_job(job)
        self._adopt(version)

    def _download(
        self,
        root: StrPath | None,
        allow_missing_references: bool,
        skip_cache: bool | None,
        path_prefix: StrPath | None,
        multipart: bool | None,
    ) -> Steps[str]:
        version = self._logged("download")
        if path_prefix:
            raise InvalidInput("path_prefix is not known to this version", hint="download the whole version")
        del allow_missing_references, skip_cache, multipart  # nothing to choose: see README.md
        place = os.fspath(root) if root else self._default_root()
        job: messages.JobInfo = yield Ask(
            messages.Get(version.name, _absolute(place), f"v{version.version}", version.project)
        )
        yield from wait_for(job.job, None, f"downloading {self.name}")
        return place

    def _verify(self, root: StrPath | None) -> Steps[None]:
        version = self._logged("verify")
        place = _absolute(root or self._default_root())
        report: messages.VerifyReport = yield Ask(
            messages.Verify(version.name, f"v{version.version}", version.project, place)
        )
        if report.problems:
            raise errors.Corrupt(
                f"{os.fsdecode(place)} is not {self.name}: {report.problems[0]}",
                f"and {len(report.problems) - 1} more" if len(report.problems) > 1 else "",
                "download it again",
            )

    # --- inside ----------------------------------------------------------------------------------------------

    def _adopt(self, version: messages.VersionInfo) -> None:
        """Become the version that was committed, or that was asked for."""
        self._version = version
        self._description = version.description or None
        self._metadata = version.metadata
        self._finalized = True

    def _from_job(self, job: messages.JobInfo) -> messages.VersionInfo:
        if job.version is None:
            raise errors.ProtocolError(f"the daemon says the job {job.job} is done, but names no version")
        return messages.VersionInfo(
            job.project,
            job.name or self._base_name,
            self._type,
            job.version,
            job.digest,
            metadata=self._metadata,
            description=self._description or "",
            size=job.bytes_total,
            files=job.files_total,
        )

    def _qualified(self) -> str:
        version = self._logged("qualified_name")
        return f"{version.project}/{version.name}:v{version.version}"

    def _default_root(self) -> str:
        return os.path.join(paths.artifact_dir(), self.name)

    def _logged(self, member: str) -> messages.VersionInfo:
        if self._version is None:
            raise ArtifactNotLoggedError(f"Artifact.{member}", self)
        return self._version

    def _must_be_free(self, name: str, mode: str) -> None:
        """Raise unless a new file may be written under that name."""
        self._must_be_open("new_file")
        if rules.entry_path(name) in self._entries and "x" in mode:
            raise InvalidInput(f"File with name {name!r} already exists")

    def _must_be_open(self, member: str) -> None:
        if self._finalized:
            raise ArtifactFinalizedError(f"Artifact.{member}", self)


def wait_for(job: str, timeout: float | None, label: str) -> Steps[messages.JobInfo]:
    """Wait until a job has ended and return it; raise what it ended with, always also a ValueError."""
    with Progress(label) as progress:
        waited: messages.Waited = yield Ask(messages.Wait([job], timeout), progress)
    (ended,) = waited.jobs
    if ended.state == "done":
        return ended
    info = ended.error or messages.ErrorInfo("failed", f"the job ended as {ended.state}")
    info = replace(info, hint="; ".join(word for word in (info.hint, _what_stands(ended)) if word))
    cause = errors.from_info(info)
    if isinstance(cause, ValueError):
        raise cause
    raise errors.JobFailed(info.what, info.why, info.hint, code=info.code, retry=info.retry) from cause


def _what_stands(job: messages.JobInfo) -> str:
    """Return what a person who waited in vain can rely on, and do."""
    if job.state == "failed" and job.kind == "upload":
        return f"its files stay pinned: `syncctl jobs` shows the job, `syncctl cancel {job.job}` lets them go"
    return f"job {job.job} goes on trying, nothing is lost" if job.state == "waiting" else ""


def _absolute(path: StrPath) -> bytes:
    """Return the absolute path as bytes, not normalized: `a/..` is the kernel's to say where `a` is a link."""
    raw = os.fsencode(path)
    return raw if raw.startswith(b"/") else os.path.join(os.getcwdb(), raw)


def _look(path: bytes, said: StrPath) -> os.stat_result:
    if not os.path.isfile(path):
        raise InvalidInput(f"Path is not a file: {os.fspath(said)!r}", _why_not(path))
    return os.stat(path)


def _why_not(path: bytes) -> str:
    try:
        os.stat(path)
    except OSError as error:
        return error.strerror or ""
    return "it is a directory: use add_dir" if os.path.isdir(path) else "it is of another kind"
