"""What a run is and does, in both flavours: its facts, and its procedures, written once."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from syncd_client import missing, rules
from syncd_client.errors import InvalidInput, InvalidType, UsageError
from syncd_client.progress import Progress, say
from syncd_client.ranks import Ranks, Rounds, group_from, ranks
from syncd_client.record import ArtifactRecord, StrPath
from syncd_client.steps import Ask, Steps
from syncd_client.wire import messages

_A = TypeVar("_A", bound=ArtifactRecord)


class Config(dict[str, Any]):
    """A run's settings: a dict whose keys are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


@missing.without("Run", missing.RUN)
class RunRecord:
    """A run without a way to wait: what it is, and its procedures."""

    def __init__(
        self, project: str, run_id: str, name: str, job_type: str, group: str, config: Mapping[str, Any]
    ) -> None:
        self.id = rules.check_run_id(run_id)
        self.name = name or self.id
        self.job_type = job_type
        self.group = group
        self.config = Config(config)
        self._project = rules.check_project(project) if project else ""
        self._finished = False
        self._rounds = Rounds()
        self._upserted: dict[tuple[str, str], ArtifactRecord] = {}
        self._info = messages.RunInfo(
            self.id, self._project, self.name, job_type, group, socket.gethostname(), _user(), time.time()
        )

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    def _log_artifact(
        self, artifact: _A, aliases: Iterable[str] | str | None, tags: Iterable[str] | str | None,
        ranks: Ranks | None = None,
    ) -> Steps[_A]:  # fmt: skip
        yield from artifact._log(self._project, self._info, aliases, tags, ranks)  # noqa: SLF001 - one procedure, two rooms
        return artifact

    def _ranks(
        self, artifact: ArtifactRecord, group: str | bool | None, rank: int | None, world_size: int | None
    ) -> Ranks | None:
        """Return the place that `log_artifact` was asked for; None: a version of this process alone."""
        if group is None or group is False:
            if rank is not None or world_size is not None:
                raise InvalidInput("a rank of which group?", "", "give group, or neither rank nor world_size")
            return None
        if group is not True:
            return ranks(group, rank, world_size)
        base = group_from()
        if not base:
            raise InvalidInput("which group?", "neither torchrun nor Slurm names one", "give its name: group=...")
        name = self._rounds.next(artifact.name, base) if artifact.is_draft() and not artifact.job else base
        return ranks(name, rank, world_size)

    def _distributed(self, distributed_id: str | None) -> str:
        base = distributed_id or self.group or group_from()
        if not base:
            raise InvalidType("You must provide a group or distributed_id for the artifact of several ranks.")
        return base

    def _upsert(
        self, artifact: _A, aliases: Iterable[str] | str | None, distributed_id: str | None, rank: int | None,
        world_size: int | None,
    ) -> Steps[_A]:  # fmt: skip
        base = self._distributed(distributed_id)
        if not artifact.job:
            place = ranks(base, rank, world_size)
            place = replace(place, group=rules.check_group(self._rounds.next(artifact.name, base)))
            yield from self._log_artifact(artifact, aliases, None, place)
        self._upserted[artifact._base_name, base] = artifact  # noqa: SLF001
        return artifact

    def _finish_upserted(
        self, artifact: _A, aliases: Iterable[str] | str | None, distributed_id: str | None, rank: int | None,
        world_size: int | None,
    ) -> Steps[_A]:  # fmt: skip
        base = self._distributed(distributed_id)
        before = self._upserted.pop((artifact._base_name, base), None)  # noqa: SLF001
        if before is None and not artifact.job:
            yield from self._upsert(artifact, aliases, base, rank, world_size)
            del self._upserted[artifact._base_name, base]  # noqa: SLF001
        elif aliases:
            raise InvalidInput("this rank has contributed already", "", "give the aliases to upsert_artifact")
        elif before is not None and before is not artifact:
            _stand_for(artifact, before)
        return artifact

    def _use_named(self, kind: type[_A], name: str, type_: str | None, timeout: float | None) -> Steps[_A]:
        project, artifact, ref = rules.parse_ref(name)
        with Progress(f"waiting for {artifact}:{ref}") as progress:
            version: messages.VersionInfo = yield Ask(
                messages.Use(artifact, ref, project or self._project, type_ or "", self._info, timeout), progress
            )
        return committed(kind, version)

    def _use_logged(self, artifact: _A, timeout: float | None) -> Steps[_A]:
        yield from artifact._wait(timeout)  # noqa: SLF001
        yield Ask(
            messages.Use(artifact._base_name, artifact.version, artifact.project, artifact.type, self._info, timeout)  # noqa: SLF001
        )
        return artifact

    def _use(
        self, kind: type[_A], wanted: Any, type_: str | None, aliases: Iterable[str] | str | None, timeout: float | None
    ) -> Steps[_A]:
        if isinstance(wanted, str):
            if aliases:
                raise InvalidInput("aliases can be given to a draft only", hint="log it with aliases=[...]")
            return (yield from self._use_named(kind, wanted, type_, timeout))
        if not isinstance(wanted, kind):
            raise InvalidInput(
                'You must pass an artifact name (e.g. "pedestrian-dataset:v1") or an instance of `Artifact` '
                f"to `use_artifact`, not {type(wanted).__name__}"
            )
        if type_ is not None and type_ != wanted.type:
            raise InvalidInput(f"Supplied type {type_} does not match type {wanted.type} of artifact {wanted.name}")
        if wanted.is_draft() and not wanted.job:
            yield from self._log_artifact(wanted, aliases, None)
        return (yield from self._use_logged(wanted, timeout))

    def _must_run(self, member: str) -> None:
        if self._finished:
            raise UsageError(
                f"Run ({self.id}) is finished. The call to `{member}` will be ignored. "
                "Please make sure that you are using an active run."
            )

    def _check_path(self, given: StrPath) -> bool:
        """Return whether the path is a directory; raise unless it is one or a file."""
        if not isinstance(given, str | os.PathLike):
            raise InvalidType("You must pass an instance of Artifact or a valid file path to log_artifact")
        if not os.path.isfile(given) and not os.path.isdir(given):
            raise InvalidInput(f"path must be a file or a directory: {os.fspath(given)!r}")
        return os.path.isdir(given)

    def _default_name(self, path: StrPath) -> str:
        return f"run-{self.id}-{os.path.basename(os.path.normpath(os.fspath(path)))}"


def _stand_for(artifact: ArtifactRecord, contributed: ArtifactRecord) -> None:
    """Let an artifact without files stand for the version that another one of this rank contributes to."""
    if artifact._entries or artifact._receipts:  # noqa: SLF001 - one procedure, two rooms
        raise InvalidInput(
            f"this rank has contributed to {artifact.name} already",
            "a rank contributes once to a version, with upsert_artifact or with finish_artifact",
            "add all files of this rank to one artifact",
        )
    artifact._job = contributed._job  # noqa: SLF001
    artifact.finalize()


def committed(kind: type[_A], version: messages.VersionInfo) -> _A:
    """Return an artifact that stands for a committed version."""
    artifact = kind(version.name, version.type)
    artifact._adopt(version)  # noqa: SLF001 - the maker's own
    for warning in version.warnings:
        say(warning)
    return artifact


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in containers
        return str(os.getuid())
