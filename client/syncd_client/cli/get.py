"""`syncctl get`: restore a version into a directory."""

from __future__ import annotations

import os
from argparse import Namespace

from syncd_client import errors, paths
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.cli.wait import Listener, follow
from syncd_client.progress import size
from syncd_client.wire.messages import Get, JobInfo, Use, VersionInfo


def console_line(version: VersionInfo) -> str:
    """Return what was restored, in one line."""
    name = render.full_name(version.project, version.name, version.version)
    return f"{name}: {render.counted(version.files, 'file')}, {size(version.size)}"


def get(args: Namespace, console: Console) -> int:
    """Resolve first, so that the directory can be named after the version and an alias that moves cannot mix two."""
    wanted = reference.parse(args.reference)
    with console.progress() as progress:
        version: VersionInfo = console.call(
            Use(wanted.name, wanted.or_latest, wanted.project), Listener(console, progress).hear
        )
    root = os.fsencode(args.root or os.path.join(paths.artifact_dir(), f"{version.name}:v{version.version}"))
    job: JobInfo = console.call(Get(version.name, os.path.abspath(root), f"v{version.version}", version.project))
    job = follow(console, job.job)
    for warning in [*version.warnings, *job.warnings]:
        console.warn(f"note: {render.one_line(warning)}")
    console.warn(f"{console_line(version)}, verified")
    console.answer(render.printable(job.root or os.path.abspath(root)))
    console.give({"version": version, "job": job})
    return errors.OK
