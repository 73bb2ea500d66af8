"""`syncctl copy`: a version into another repository."""

from __future__ import annotations

from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.cli.step import Steps
from syncd_client.progress import size
from syncd_client.wire.messages import Copy, CopyReport


def copy(args: Namespace, console: Console) -> int:
    """Copy a version."""
    wanted = reference.parse(args.reference)
    to_project, to_name = "", ""
    if args.as_name:
        named = reference.parse(args.as_name)
        if named.ref:
            raise errors.InvalidInput(f"{args.as_name!r} names a version", "the next number over there is taken", "")
        to_project, to_name = (named.project if "/" in args.as_name else ""), named.name
    request = Copy(wanted.name, args.to, wanted.or_latest, wanted.project, to_name, to_project)
    with Steps(console) as steps:
        made: CopyReport = console.call(request, steps.hear)
    there = render.full_name(made.project, made.name, made.version)
    for warning in made.warnings:
        console.warn(f"note: {render.one_line(warning)}")
    stored = f"{size(made.bytes_stored)} stored" if made.bytes_stored else "it was there already"
    console.say(f"{made.source} is {there} there; {stored}")
    console.give(made)
    return errors.OK
