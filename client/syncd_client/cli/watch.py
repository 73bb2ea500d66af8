"""`syncctl watch add`, `ls` and `rm`."""

from __future__ import annotations

import os
from argparse import Namespace

from syncd_client import errors
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.cli.render import printable
from syncd_client.wire.messages import AddWatch, ListWatches, RemoveWatch, TakenInfo, WatchInfo, WatchPage


def add(args: Namespace, console: Console) -> int:
    """Watch a directory."""
    watch: WatchInfo = console.call(
        AddWatch(
            directory=_absolute(args.directory),
            name=args.name,
            type=args.type,
            project=reference.default_project() if args.project is None else args.project,
            settle=args.settle,
            done_marker=args.done_marker,
        )
    )
    console.say(_head(watch))
    console.give(watch)
    return errors.OK


def ls(args: Namespace, console: Console) -> int:
    """List watches and what they took."""
    page: WatchPage = console.call(ListWatches())
    for watch in page.watches:
        console.answer(_head(watch))
        for taken in watch.taken:
            console.answer(f"  {_taken_line(watch, taken)}")
    if not page.watches:
        console.warn("nothing is watched")
    console.give(page)
    return errors.OK


def remove(args: Namespace, console: Console) -> int:
    """Stop watching a directory."""
    directory = _absolute(args.directory)
    console.call(RemoveWatch(directory))
    console.say(f"no longer watched: {printable(directory)}")
    console.give({"directory": directory})
    return errors.OK


def _head(watch: WatchInfo) -> str:
    complete = f"when {watch.done_marker} appears" if watch.done_marker else f"after {watch.settle:g} s of quiet"
    parts = [
        f"{printable(watch.directory)} -> {render.full_name(watch.project, watch.name, None)} ({watch.type})",
        complete,
        watch.proof,
        f"{watch.pending} pending" if watch.pending else "",
        watch.error and f"ERROR {watch.error}",
    ]
    return render.one_line(", ".join(part for part in parts if part))


def _taken_line(watch: WatchInfo, taken: TakenInfo) -> str:
    became = taken.state if taken.version is None else f"{watch.name}:v{taken.version}"
    parts = [f"{printable(taken.path)} {became}", taken.proof, taken.note]
    return render.one_line(", ".join(part for part in parts if part))


def _absolute(path: str) -> bytes:
    return os.path.abspath(os.fsencode(path))
