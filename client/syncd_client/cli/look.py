"""`syncctl ls`, `show`, `files`, `verify`, `jobs` and `status`: what changes nothing."""

from __future__ import annotations

import json
import os
import stat
import time
from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.cli.groups import line
from syncd_client.cli.render import age, full_name, printable
from syncd_client.progress import size
from syncd_client.wire.messages import (
    ArtifactInfo,
    FileInfo,
    GroupInfo,
    GroupPage,
    JobInfo,
    ListArtifacts,
    ListFiles,
    ListGroups,
    ListJobs,
    ListVersions,
    Show,
    ShowJob,
    Status,
    StatusInfo,
    Verify,
    VerifyReport,
    VersionInfo,
)

_GROUPS_SHOWN = 20
_MARKS = {"symlink": "l", "dir": "d", "reference": "r"}


def ls(args: Namespace, console: Console) -> int:
    """List artifacts, or the versions of one."""
    if args.name is None or args.name.endswith("/"):
        return _artifacts(console, (args.name or "").rstrip("/"))
    wanted = reference.parse(args.name)
    if wanted.ref:
        raise errors.InvalidInput(f"{args.name!r} is one version", "", f"try `syncctl show {args.name}`")
    request = ListVersions(wanted.name, wanted.project, deleted=args.deleted)
    try:
        versions: list[VersionInfo] = [one for page in console.pages(request) for one in page.versions]
    except errors.NotFound as error:
        if "/" not in args.name and console.call(ListArtifacts(wanted.name)).artifacts:
            raise errors.NotFound(error.what, f"{wanted.name} is a project", f"syncctl ls {wanted.name}/") from error
        raise
    now = time.time()
    rows = [render.version_row(version, now) for version in versions]
    console.answer(render.table(["VERSION", ">FILES", ">SIZE", ">AGE", "DIGEST", "ALIASES", ""], rows))
    if not versions:
        console.warn(f"{wanted.name} has no version; `syncctl ls --deleted {args.name}` lists deleted ones")
    console.give({"versions": versions})
    return errors.OK


def _artifacts(console: Console, project: str) -> int:
    artifacts: list[ArtifactInfo] = [one for page in console.pages(ListArtifacts(project)) for one in page.artifacts]
    now = time.time()
    rows = [
        [
            full_name(one.project, one.name, None),
            one.type,
            "-" if one.latest is None else f"v{one.latest}",
            str(one.versions),
            size(one.size),
            age(one.updated, now),
            one.error.what if one.error else "",
        ]
        for one in artifacts
    ]
    console.answer(render.table(["ARTIFACT", "TYPE", ">LATEST", ">VERSIONS", ">SIZE", ">AGE", ""], rows))
    if not artifacts:
        console.warn(f"nothing is stored in project {project}" if project else "nothing is stored yet")
    console.give({"artifacts": artifacts})
    return errors.OK


def show(args: Namespace, console: Console) -> int:
    """Show everything about a version."""
    wanted = reference.parse(args.reference)
    groups = [] if wanted.ref else _groups(console, wanted)
    try:
        version: VersionInfo = console.call(Show(wanted.name, wanted.or_latest, wanted.project))
    except errors.NotFound:
        if not groups:
            raise
        console.answer(render.facts([("group", line(group)) for group in groups]))
        console.give({"groups": groups})
        return errors.OK
    pairs = [
        ("name", full_name(version.project, version.name, version.version)),
        ("type", version.type),
        ("state", version.state.lower()),
        ("aliases", ", ".join(version.aliases)),
        ("tags", ", ".join(version.tags)),
        ("description", version.description),
        ("files", str(version.files)),
        ("size", size(version.size)),
        ("digest", version.digest),
        ("created", _moment(version.created)),
        ("run", version.run),
        ("node", version.node),
        *((f"metadata {key}", json.dumps(value)) for key, value in version.metadata.items()),
        *(("warning", warning) for warning in version.warnings),
        *(("group", line(group)) for group in groups),
    ]
    console.answer(render.facts(pairs))
    console.give(render.jsonable(version) | {"groups": render.jsonable(groups)} if groups else version)
    return errors.OK


def _groups(console: Console, wanted: reference.Reference) -> list[GroupInfo]:
    """Return the groups that began last and did not become a version."""
    try:
        page: GroupPage = console.call(ListGroups(wanted.name, wanted.project, limit=_GROUPS_SHOWN))
    except (errors.NotFound, errors.UnknownVerb):
        return []
    except (errors.RemoteUnavailable, errors.RemoteRefused, errors.Corrupt):
        return []  # the version itself may be had from a mirror; when not, that answer says why
    return page.groups


def files(args: Namespace, console: Console) -> int:
    """List the entries of a version as they come, page by page; in JSON one object a line."""
    wanted = reference.parse(args.reference)
    version: VersionInfo = console.call(Show(wanted.name, wanted.or_latest, wanted.project))
    request = ListFiles(version.name, f"v{version.version}", version.project)
    for page in console.pages(request):
        for entry in page.files:
            console.answer(_entry_line(entry))
            console.give(entry)
    return errors.OK


def _entry_line(entry: FileInfo) -> str:
    mode = stat.filemode(entry.mode)[1:] if entry.mode else "-" * 9
    line = f"{_MARKS.get(entry.type, '-')}{mode} {size(entry.size):>9}  {printable(entry.path)}"
    return f"{line} -> {printable(entry.target)}" if entry.target else line


def verify(args: Namespace, console: Console) -> int:
    """Check a version's bytes, or a directory against it."""
    wanted = reference.parse(args.reference)
    root = os.path.abspath(os.fsencode(args.root)) if args.root else b""
    report: VerifyReport = console.call(Verify(wanted.name, wanted.or_latest, wanted.project, root))
    name = full_name("", report.version.name, report.version.version)
    for problem in report.problems:
        console.answer(render.one_line(problem))
    seen = f"{render.counted(report.files, 'file')}, {size(report.bytes)}"
    console.give(report)
    if report.problems:
        what = f"{printable(root)} differs from {name}" if root else f"{name} is damaged"
        console.warn(f"syncctl: {what}: {render.counted(len(report.problems), 'problem')} in {seen}")
        return errors.CORRUPT
    console.say(f"{name} is sound: {seen} verified")
    return errors.OK


def jobs(args: Namespace, console: Console) -> int:
    """List jobs, the newest first, or those named."""
    found = [console.call(ShowJob(job)) for job in args.jobs] if args.jobs else _newest(args, console)
    now = time.time()
    rows = [
        [
            job.job,
            job.kind,
            job.state,
            full_name(job.project, job.name, job.version),
            f"{job.bytes_done * 100 // job.bytes_total}%" if job.bytes_total else "-",
            size(job.bytes_total),
            age(job.created, now),
            ", ".join(filter(None, (_until(job.next_try, now), job.error.what if job.error else ""))),
        ]
        for job in found
    ]
    console.answer(render.table(["JOB", "KIND", "STATE", "ARTIFACT", ">DONE", ">SIZE", ">AGE", ""], rows))
    if not found:
        console.warn("no jobs")
    console.give({"jobs": found})
    return errors.OK


def _newest(args: Namespace, console: Console) -> list[JobInfo]:
    found: list[JobInfo] = []
    for page in console.pages(ListJobs(args.open, limit=min(args.limit, 200), failed_only=args.failed)):
        found += page.jobs
        if len(found) >= args.limit:
            break
    return found[: args.limit]


def status(args: Namespace, console: Console) -> int:
    """Show the daemon at a glance."""
    info: StatusInfo = console.call(Status())
    pairs = [
        ("daemon", f"syncd {info.version}, pid {info.pid}, up {age(info.started, time.time())}"),
        ("node", info.node),
        ("remote", f"{info.remote} ({info.remote_state})"),
        ("mirror", _mirror(info)),
        ("jobs", _counts(info.jobs) or "none open"),
        ("waiting", _until(info.next_try, time.time())),
        ("failed", _failed(info.failed)),
        ("queue", size(info.queue_bytes)),
        ("pins", f"{_counts(info.pins) or 'none'}; spool {size(info.spool_bytes)}"),
        ("memory", f"{size(info.memory_bytes)} resident; transfers may hold {size(info.memory_budget)}"),
        ("drafts", str(info.drafts)),
        ("watches", str(info.watches)),
        ("chunker", info.chunker),
        *(("warning", warning) for warning in info.warnings),
    ]
    console.answer(render.facts(pairs))
    console.give(info)
    return errors.OK


def _failed(count: int) -> str:
    if not count:
        return ""
    uploads = render.counted(count, "upload")
    return f"{uploads}: `syncctl jobs --failed` says why, `syncctl cancel JOB` lets its files go"


def _mirror(info: StatusInfo) -> str:
    behind = f", {render.counted(info.mirror_lag, 'log entry')} behind".replace("entrys", "entries")
    return f"{info.mirror} ({info.mirror_state}{behind if info.mirror_lag else ''})" if info.mirror else ""


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()) if count)


def _until(moment: float, now: float) -> str:
    return f"next try in {max(0, round(moment - now))} s" if moment else ""


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds)) if seconds else ""
