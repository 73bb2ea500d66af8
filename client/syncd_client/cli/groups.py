"""Groups of ranks: what `syncctl show` says of them, and `syncctl abort`."""

from __future__ import annotations

from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.wire.messages import AbortGroup, GroupInfo, GroupPage

_NAMED = 16


def abort(args: Namespace, console: Console) -> int:
    """End one group, or all that are old enough."""
    wanted = reference.parse(args.name)
    if wanted.ref:
        raise errors.InvalidInput(f"{args.name!r} is one version", "", f"name the artifact: {wanted.name}")
    page: GroupPage = console.call(
        AbortGroup(wanted.name, args.group, wanted.project, args.reason, older_than=args.older_than)
    )
    for group in page.groups:
        console.say(f"aborted {render.one_line(group.group)}: {render.one_line(group.reason)}")
    if not page.groups:
        console.say("no group is that old" if args.older_than is not None else "nothing to abort")
    console.give(page)
    return errors.OK


def line(group: GroupInfo) -> str:
    """Return in one line how a group stands."""
    name = render.one_line(group.group)
    if group.state == "aborted":
        return f"{name}: aborted: {render.one_line(group.reason)}"
    if group.state == "complete":
        return f"{name}: v{group.version}"
    missing = ", ".join(str(rank) for rank in group.missing[:_NAMED])
    more = f" and {group.missing_count - _NAMED} more" if group.missing_count > _NAMED else ""
    there = group.world_size - group.missing_count
    return f"{name}: {there} of {group.world_size} ranks; missing: {missing}{more}"
