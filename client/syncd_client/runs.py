"""Runs: who logged and who used. `init` begins one; the functions beside it speak for the run begun last."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from syncd_client import session
from syncd_client.artifact import Artifact
from syncd_client.errors import UsageError
from syncd_client.progress import say
from syncd_client.record import StrPath
from syncd_client.runrecord import RunRecord
from syncd_client.steps import drive

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Run(RunRecord):
    """One execution that logs and uses artifacts. `with` finishes it."""

    @property
    def project(self) -> str:
        """The project; where none was named, the daemon's default."""
        return self._project or session.connection().welcome.project

    def log_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - W&B's name
        aliases: Iterable[str] | str | None = None,
        tags: Iterable[str] | str | None = None,
        *,
        group: str | bool | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Artifact:
        """Log an artifact, or a file or directory as one; return it at once. The upload goes on in the daemon.

        The new version becomes "latest" and gets `aliases` and `tags`. `artifact.wait()` returns when it is committed;
        nothing is lost when the process ends before.

        Args:
            group: it is this rank's part of one version that `world_size` ranks make; the version exists when the
                last part is there. True: torchrun or Slurm name the group, one for each log under this name.
            rank, world_size: where None, as torchrun or Slurm say.
        """
        self._must_run("log_artifact")
        artifact = self._as_artifact(artifact_or_path, name, type)
        place = self._ranks(artifact, group, rank, world_size)
        return drive(session.connection(), self._log_artifact(artifact, aliases, tags, place))

    def upsert_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - W&B's name
        aliases: Iterable[str] | str | None = None,
        distributed_id: str | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Artifact:
        """Contribute this rank's files to one version of all ranks that use the same `distributed_id`.

        It is `log_artifact` with a group: `distributed_id`, else the run's group, else the launcher's; a rank's second
        contribution under that name belongs to the next version. The version exists when all ranks have contributed.
        """
        self._must_run("upsert_artifact")
        artifact = self._as_artifact(artifact_or_path, name, type)
        return drive(session.connection(), self._upsert(artifact, aliases, distributed_id, rank, world_size))

    def finish_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - W&B's name
        aliases: Iterable[str] | str | None = None,
        distributed_id: str | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Artifact:
        """Return an artifact whose `wait()` returns when all ranks have contributed; nobody need call this.

        Where this rank has not contributed yet, this is its contribution. Where it has, `artifact_or_path` must be what
        it contributed, or an artifact without files.
        """
        self._must_run("finish_artifact")
        artifact = self._as_artifact(artifact_or_path, name, type)
        return drive(session.connection(), self._finish_upserted(artifact, aliases, distributed_id, rank, world_size))

    def use_artifact(
        self,
        artifact_or_name: Artifact | str,
        type: str | None = None,  # noqa: A002 - W&B's name
        aliases: Iterable[str] | str | None = None,
        use_as: str | None = None,
        *,
        timeout: float | None = None,
    ) -> Artifact:
        """Declare that this run reads an artifact, and return it: by `[project/]name[:alias or vN]`, or itself.

        An artifact this daemon is still uploading is waited for: at most `timeout` seconds, then WaitTimeoutError.
        """
        self._must_run("use_artifact")
        if use_as is not None:
            say("`use_as` is deprecated and does nothing")
        return drive(session.connection(), self._use(Artifact, artifact_or_name, type, aliases, timeout))

    def finish(self, exit_code: int | None = None) -> None:
        """End the run. What it logged is safe with the daemon: this does not wait for uploads."""
        del exit_code  # told to the daemon with the full run record
        self._finished = True
        _active.end(self)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(0 if error is None else 1)

    def _as_artifact(self, given: Artifact | StrPath, name: str | None, kind: str | None) -> Artifact:
        if isinstance(given, Artifact):
            return given
        directory = self._check_path(given)
        artifact = Artifact(name or self._default_name(given), kind or "unspecified")
        if directory:
            artifact.add_dir(given)
        else:
            artifact.add_file(given)
        return artifact


class _Active:
    """The runs that were begun and not finished, oldest first; guarded by `_lock`. `current` is what `run` names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[Run] = []
        self.current: Run | None = None

    def begin(self, run: Run, current: bool) -> None:
        with self._lock:
            self._runs.append(run)
            if current:
                self.current = run

    def end(self, run: Run) -> None:
        with self._lock:
            self._runs = [one for one in self._runs if one is not run]
            if self.current is run:
                self.current = None

    def newest(self) -> Run | None:
        with self._lock:
            return self._runs[-1] if self._runs else None

    def all(self) -> list[Run]:
        with self._lock:
            return list(self._runs)


_active = _Active()


def current() -> Run | None:
    """Return the run that the module's functions speak for, or None."""
    return _active.current


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | None = None,  # noqa: A002 - W&B's names, here and below
    id: str | None = None,  # noqa: A002
    name: str | None = None,
    notes: str | None = None,
    tags: Iterable[str] | None = None,
    config: Mapping[str, Any] | None = None,
    config_exclude_keys: list[str] | None = None,
    config_include_keys: list[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    **others: Any,
) -> Run:
    """Begin a run and return it; it becomes `run` of this module.

    While another is active, that one is returned (`reinit=None` or "return_previous"), finished first
    (`reinit=True` or "finish_previous", and always in a notebook), or joined by one more that does not become `run`
    ("create_new").

    Args:
        project: the namespace of its artifacts; else $SYNCD_PROJECT, else the daemon's default.
        id: its id; else $SYNCD_RUN_ID, else $WANDB_RUN_ID, else a fresh one.
        name, group, job_type, config: what people should know of it.

    Arguments that mean something to W&B's service only are accepted and named in a warning.
    """
    previous = _active.newest()
    if previous is not None:
        if reinit in (True, "finish_previous") or (reinit in (None, "default") and _in_notebook()):
            say(f"finishing previous runs because reinit is set to {reinit!r}")
            for run in _active.all():
                run.finish()
        elif reinit != "create_new":
            if resume == "must":
                raise UsageError("Cannot resume a run while another run is active.", hint="finish it: run.finish()")
            say(f"init() called while a run is active and reinit is {reinit!r}, so returning the previous run")
            return previous
    _name_ignored(
        entity=entity, dir=dir, notes=notes, tags=tags, config_exclude_keys=config_exclude_keys, mode=mode, force=force,
        config_include_keys=config_include_keys, allow_val_change=allow_val_change, resume=resume, **others,
    )  # fmt: skip
    run = Run(
        project or os.environ.get("SYNCD_PROJECT", ""),
        choose_id(id),
        name or "",
        job_type or "",
        group or "",
        config or {},
    )
    _active.begin(run, current=reinit != "create_new" or previous is None)
    return run


def log_artifact(
    artifact_or_path: Artifact | StrPath,
    name: str | None = None,
    type: str | None = None,  # noqa: A002
    aliases: Iterable[str] | str | None = None,
    tags: Iterable[str] | str | None = None,
    *,
    group: str | bool | None = None,
    rank: int | None = None,
    world_size: int | None = None,
) -> Artifact:
    """Log an artifact with the active run; see Run.log_artifact."""
    run = _must("log_artifact")
    return run.log_artifact(artifact_or_path, name, type, aliases, tags, group=group, rank=rank, world_size=world_size)


def use_artifact(
    artifact_or_name: Artifact | str,
    type: str | None = None,  # noqa: A002
    aliases: Iterable[str] | str | None = None,
    use_as: str | None = None,
    *,
    timeout: float | None = None,
) -> Artifact:
    """Use an artifact with the active run; see Run.use_artifact."""
    return _must("use_artifact").use_artifact(artifact_or_name, type, aliases, use_as, timeout=timeout)


def finish(exit_code: int | None = None) -> None:
    """Finish the active run, if there is one."""
    if _active.current is not None:
        _active.current.finish(exit_code)


def choose_id(named: str | None) -> str:
    """Return the id a run shall have: the one named, the environment's, or a fresh one of eight letters."""
    given = named or os.environ.get("SYNCD_RUN_ID") or os.environ.get("WANDB_RUN_ID")
    return given or "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in os.urandom(8))


def _must(member: str) -> Run:
    if _active.current is None:
        raise UsageError(f"You must call init() before {member}()")
    return _active.current


def _name_ignored(**given: Any) -> None:
    ignored = [name for name, value in given.items() if value is not None]
    if ignored:
        say(f"init: without meaning here, ignored: {', '.join(ignored)}")


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "kernel" in type(shell).__module__
