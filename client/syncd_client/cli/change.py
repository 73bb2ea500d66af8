"""`syncctl rm`, `restore` and `cancel`: what changes something that is there."""

from __future__ import annotations

from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.wire.messages import Cancel, JobInfo, Remove, Restore, VersionInfo


def remove(args: Namespace, console: Console) -> int:
    """Mark a version deleted; which one must be said, and that its aliases may go."""
    wanted = _explicit(args.reference)
    request = Remove(wanted.name, wanted.ref, wanted.project, delete_aliases=args.force)
    version: VersionInfo = console.call(request)
    name = render.full_name(version.project, version.name, version.version)
    console.say(f"deleted {name}; `syncctl restore {name}` takes it back, without its aliases")
    console.give(version)
    return errors.OK


def restore(args: Namespace, console: Console) -> int:
    """Take a deletion back."""
    wanted = _explicit(args.reference)
    version: VersionInfo = console.call(Restore(wanted.name, wanted.ref, wanted.project))
    console.say(f"restored {render.full_name(version.project, version.name, version.version)}")
    console.give(version)
    return errors.OK


def cancel(args: Namespace, console: Console) -> int:
    """Stop a job."""
    job: JobInfo = console.call(Cancel(args.job))
    console.say(f"cancelled job {job.job}")
    console.give(job)
    return errors.OK


def _explicit(text: str) -> reference.Reference:
    wanted = reference.parse(text)
    if not wanted.ref:
        raise errors.InvalidInput(f"which version of {wanted.name}?", "", f"name one, as in {wanted.name}:v0")
    return wanted
