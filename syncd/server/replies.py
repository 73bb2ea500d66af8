"""Message in, service verb, message out: the one table between the wire and the service.

Views and messages have the same fields by the same names (a house test holds them together), so one generic function
turns one into the other; errors become ErrorInfo by their class's code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from syncd.errors import SyncdError
from syncd.journal.jobs import RankFacts, RunFacts
from syncd.model.names import LATEST, ArtifactKey, check_name, check_project
from syncd.model.views import CollectStepView, JobView
from syncd.service import Service
from syncd_client.wire import messages as m

M = TypeVar("M", bound=m.Message)
Tell = Callable[[str, m.Message], Awaitable[None]]


def to_wire(cls: type[M], view: object) -> M:
    """Return a view as the message of the same fields."""
    hints = _HINTS.get(cls)
    if hints is None:
        hints = _HINTS[cls] = get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]
        values[field.name] = _value(hints[field.name], getattr(view, field.name))
    return cls(**values)


_HINTS: dict[type[m.Message], dict[str, Any]] = {}


def _value(hint: Any, value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        target = next(
            kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, m.Message)
        )
        return to_wire(target, value)
    if isinstance(value, list):
        return [_value(get_args(hint)[0], item) for item in value]
    return value


def error_info(error: SyncdError) -> m.ErrorInfo:
    """Return an error as it crosses the wire."""
    return m.ErrorInfo(error.code, error.what, error.why, error.hint, error.retry)


class Replies:
    """Answers requests. One object for all sessions; `tell` sends an event of the request at hand."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._table: dict[type[m.Request], Callable[[Any, Tell], Awaitable[m.Message]]] = {
            m.Hello: self._welcome,
            m.Ping: self._welcome,
            m.AddFile: self._add_file,
            m.AddDir: self._add_dir,
            m.DropDraft: self._drop_draft,
            m.Log: self._log,
            m.ShowJob: self._show_job,
            m.ListJobs: self._list_jobs,
            m.Wait: self._wait,
            m.Cancel: self._cancel,
            m.Use: self._use,
            m.Show: self._show,
            m.ListArtifacts: self._list_artifacts,
            m.ListVersions: self._list_versions,
            m.ListFiles: self._list_files,
            m.ListGroups: self._list_groups,
            m.AbortGroup: self._abort_group,
            m.Get: self._get,
            m.Verify: self._verify,
            m.Fsck: self._fsck,
            m.Copy: self._copy,
            m.Remove: self._remove,
            m.Restore: self._restore,
            m.Collect: self._collect,
            m.Explain: self._explain,
            m.Status: self._status,
            m.AddWatch: self._add_watch,
            m.ListWatches: self._list_watches,
            m.RemoveWatch: self._remove_watch,
            m.Subscribe: self._subscribe,
            m.Shutdown: self._shutdown,
        }

    async def answer(self, request: m.Request, tell: Tell) -> m.Message:
        """Carry a request out; SyncdError when it cannot be."""
        return await self._table[type(request)](request, tell)

    def knows(self, kind: type[m.Request]) -> bool:
        """Whether this door carries out a request (cancel_request is the session's own)."""
        return kind in self._table

    def _key(self, project: str, name: str) -> ArtifactKey:
        return ArtifactKey(project or self._service.identity.project, name)

    def _run(self, run: m.RunInfo | None) -> RunFacts | None:
        if run is None:
            return None
        return RunFacts(
            id=run.id, project=run.project or self._service.identity.project, name=run.name, job_type=run.job_type,
            group=run.group, host=run.host, user=run.user, started=run.started,
        )  # fmt: skip

    async def _welcome(self, request: m.Hello | m.Ping, _: Tell) -> m.Message:
        identity = self._service.identity
        if not await self._service.alive():
            raise SyncdError("the journal does not answer", "its disk may hang", "see the daemon's log")
        return m.Welcome(
            protocol=m.PROTOCOL, version=identity.version, features=[], pid=identity.pid, node=identity.node,
            project=identity.project, remote=self._service.remote_url, staging=identity.staging,
        )  # fmt: skip

    async def _add_file(self, r: m.AddFile, _: Tell) -> m.Message:
        receipt = await self._service.drafts.add_file(
            r.draft, r.path, r.name, dev=r.dev, ino=r.ino, size=r.size, policy=r.policy, overwrite=r.overwrite
        )
        return to_wire(m.Receipt, receipt)

    async def _add_dir(self, r: m.AddDir, _: Tell) -> m.Message:
        receipt = await self._service.drafts.add_dir(
            r.draft, r.path, r.name, dev=r.dev, ino=r.ino, policy=r.policy, merge=r.merge
        )
        return to_wire(m.Receipt, receipt)

    async def _drop_draft(self, r: m.DropDraft, _: Tell) -> m.Message:
        await self._service.drafts.drop(r.draft)
        return m.Done()

    async def _log(self, r: m.Log, _: Tell) -> m.Message:
        row = await self._service.drafts.log(
            r.draft, self._key(r.project, r.name), r.type, description=r.description, metadata=r.metadata,
            aliases=r.aliases, tags=r.tags, run=self._run(r.run), empty=r.empty, check_type=True, ranks=_ranks(r),
        )  # fmt: skip
        return to_wire(m.JobInfo, self._service.jobs.view(row))

    async def _show_job(self, r: m.ShowJob, _: Tell) -> m.Message:
        return to_wire(m.JobInfo, await self._service.jobs.show(r.job))

    async def _list_jobs(self, r: m.ListJobs, _: Tell) -> m.Message:
        page, after = await self._service.jobs.page(r.open_only, r.after, r.limit, r.failed_only)
        return m.JobPage([to_wire(m.JobInfo, view) for view in page], after)

    async def _wait(self, r: m.Wait, tell: Tell) -> m.Message:
        jobs = await self._service.jobs.full_ids(r.jobs) if r.jobs else await self._service.jobs.open_ids()
        views = await self._service.telling(jobs, _teller(tell), self._service.jobs.wait(jobs, r.timeout))
        return m.Waited([to_wire(m.JobInfo, view) for view in views])

    async def _cancel(self, r: m.Cancel, _: Tell) -> m.Message:
        return to_wire(m.JobInfo, await self._service.jobs.cancel(r.job))

    async def _use(self, r: m.Use, tell: Tell) -> m.Message:
        key = self._key(r.project, r.name)
        uploads = await self._service.uploads_of(key)
        using = self._service.use(key, r.ref or LATEST, r.type, self._run(r.run), r.timeout)
        version = await self._service.telling(uploads, _teller(tell), using)
        return to_wire(m.VersionInfo, version)

    async def _show(self, r: m.Show, _: Tell) -> m.Message:
        version = await self._service.show(self._key(r.project, r.name), r.ref or LATEST)
        return to_wire(m.VersionInfo, version)

    async def _list_artifacts(self, r: m.ListArtifacts, _: Tell) -> m.Message:
        page, after = await self._service.history.artifacts(r.project, r.after, r.limit)
        return m.ArtifactPage([to_wire(m.ArtifactInfo, view) for view in page], after)

    async def _list_versions(self, r: m.ListVersions, _: Tell) -> m.Message:
        key = self._key(r.project, r.name)
        page, after = await self._service.history.versions(key, r.deleted, r.after, r.limit)
        return m.VersionPage([to_wire(m.VersionInfo, view) for view in page], after)

    async def _list_files(self, r: m.ListFiles, _: Tell) -> m.Message:
        key = self._key(r.project, r.name)
        page, after = await self._service.history.files(key, r.ref or LATEST, r.after, r.limit)
        return m.FilePage([to_wire(m.FileInfo, view) for view in page], after)

    async def _list_groups(self, r: m.ListGroups, _: Tell) -> m.Message:
        page, after = await self._service.groups.page(self._key(r.project, r.name), r.complete, r.after, r.limit)
        return m.GroupPage([to_wire(m.GroupInfo, view) for view in page], after)

    async def _abort_group(self, r: m.AbortGroup, _: Tell) -> m.Message:
        ended, after = await self._service.groups.abort(self._key(r.project, r.name), r.group, r.reason, r.older_than)
        return m.GroupPage([to_wire(m.GroupInfo, view) for view in ended], after)

    async def _get(self, r: m.Get, _: Tell) -> m.Message:
        return to_wire(m.JobInfo, await self._service.get(self._key(r.project, r.name), r.ref or LATEST, r.root))

    async def _verify(self, r: m.Verify, _: Tell) -> m.Message:
        report = await self._service.history.verify(self._key(r.project, r.name), r.ref or LATEST, r.root)
        return to_wire(m.VerifyReport, report)

    async def _fsck(self, r: m.Fsck, tell: Tell) -> m.Message:
        work = self._service.stepping(
            lambda told: self._service.checks.fsck(r.read_data, r.seed, r.repair, told),
            lambda view: tell("step", to_wire(m.StepInfo, view)),
        )
        return to_wire(m.CheckReport, await work)

    async def _copy(self, r: m.Copy, tell: Tell) -> m.Message:
        key = self._key(r.project, r.name)
        to = ArtifactKey(check_project(r.to_project or key.project), check_name(r.to_name or key.name))
        work = self._service.stepping(
            lambda told: self._service.copies.copy(key, r.ref or LATEST, r.to, to, told),
            lambda view: tell("step", to_wire(m.StepInfo, view)),
        )
        return to_wire(m.CopyReport, await work)

    async def _remove(self, r: m.Remove, _: Tell) -> m.Message:
        key = self._key(r.project, r.name)
        return to_wire(m.VersionInfo, await self._service.history.remove(key, r.ref, r.delete_aliases))

    async def _restore(self, r: m.Restore, _: Tell) -> m.Message:
        return to_wire(m.VersionInfo, await self._service.history.restore(self._key(r.project, r.name), r.ref))

    async def _collect(self, r: m.Collect, tell: Tell) -> m.Message:
        async def step(view: CollectStepView) -> None:
            await tell("collect", to_wire(m.CollectStep, view))

        view = await self._service.collection.collect(r.dry_run, r.min_age, r.grace, step)
        return to_wire(m.CollectReport, view)

    async def _explain(self, r: m.Explain, _: Tell) -> m.Message:
        view = await self._service.collection.explain(self._key(r.project, r.name), r.ref or LATEST)
        return to_wire(m.Explanation, view)

    async def _status(self, r: m.Status, _: Tell) -> m.Message:
        return to_wire(m.StatusInfo, await self._service.status())

    async def _add_watch(self, r: m.AddWatch, _: Tell) -> m.Message:
        await self._service.drafts.check_type(self._key(r.project, r.name), r.type)
        view = await self._service.watcher.add(
            r.directory, r.name, r.type, r.project or self._service.identity.project, r.settle, r.done_marker
        )
        return to_wire(m.WatchInfo, view)

    async def _list_watches(self, r: m.ListWatches, _: Tell) -> m.Message:
        return m.WatchPage([to_wire(m.WatchInfo, view) for view in await self._service.watches()])

    async def _remove_watch(self, r: m.RemoveWatch, _: Tell) -> m.Message:
        await self._service.watcher.remove(r.directory)
        return m.Done()

    async def _subscribe(self, r: m.Subscribe, tell: Tell) -> m.Message:
        await self._service.telling(None, _teller(tell), self._service.stopped.wait())
        return m.Done()

    async def _shutdown(self, r: m.Shutdown, _: Tell) -> m.Message:
        self._service.stop()
        return m.Done()


def _ranks(r: m.Log) -> RankFacts | None:
    return RankFacts(r.group, r.rank, r.world_size, r.local_world_size) if r.group else None


def _teller(tell: Tell) -> Callable[[JobView], Awaitable[None]]:
    async def send(view: JobView) -> None:
        await tell("job", to_wire(m.JobInfo, view))

    return send
