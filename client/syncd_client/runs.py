"""Runs: who logged and who used. `init` begins one; the functions beside it speak for the run begun last."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from syncd_client import missing, rules, session
from syncd_client.artifact import Artifact
from syncd_client.errors import InvalidInput, InvalidType, UsageError
from syncd_client.progress import Hearing, Progress, say
from syncd_client.record import ArtifactRecord, StrPath
from syncd_client.steps import Ask, Steps, drive
from syncd_client.wire import messages

_A = TypeVar("_A", bound=ArtifactRecord)

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


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
        self._info = messages.RunInfo(
            self.id, self._project, self.name, job_type, group, socket.gethostname(), _user(), time.time()
        )

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    def _log_artifact(
        self, artifact: _A, aliases: Iterable[str] | str | None, tags: Iterable[str] | str | None
    ) -> Steps[_A]:
        yield from artifact._log(self._project, self._info, aliases, tags)  # noqa: SLF001 - one procedure, two rooms
        return artifact

    def _use_named(self, kind: type[_A], name: str, type_: str | None, timeout: float | None) -> Steps[_A]:
        project, artifact, ref = rules.parse_ref(name)
        with Progress(f"waiting for {artifact}:{ref}") as progress:
            request = messages.Use(artifact, ref, project or self._project, type_ or "", self._info, timeout)
            version: messages.VersionInfo = yield Ask(request, Hearing(progress))
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
    ) -> Artifact:
        """Log an artifact, or a file or directory as one; return it at once. The upload goes on in the daemon.

        The new version becomes "latest" and gets `aliases` and `tags`. `artifact.wait()` returns when it is committed;
        nothing is lost when the process ends before.
        """
        self._must_run("log_artifact")
        artifact = self._as_artifact(artifact_or_path, name, type)
        return drive(session.connection(), self._log_artifact(artifact, aliases, tags))

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
) -> Artifact:
    """Log an artifact with the active run; see Run.log_artifact."""
    return _must("log_artifact").log_artifact(artifact_or_path, name, type, aliases, tags)


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


def committed(kind: type[_A], version: messages.VersionInfo) -> _A:
    """Return an artifact that stands for a committed version."""
    artifact = kind(version.name, version.type)
    artifact._adopt(version)  # noqa: SLF001 - the maker's own
    for warning in version.warnings:
        say(warning)
    return artifact


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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in containers
        return str(os.getuid())
