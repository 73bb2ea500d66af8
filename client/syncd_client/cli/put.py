"""`syncctl put`: pin paths into a draft, log it, wait until it is durable."""

from __future__ import annotations

import json
import os
import stat
from argparse import Namespace
from collections import Counter
from contextlib import suppress
from typing import Any

from syncd_client import errors, ranks, rules
from syncd_client.cli import reference, render
from syncd_client.cli.console import Console
from syncd_client.cli.wait import follow
from syncd_client.wire.messages import AddDir, AddFile, DropDraft, JobInfo, Log, Receipt


def put(args: Namespace, console: Console) -> int:
    """Store the paths as one version."""
    draft = os.urandom(16).hex()
    project = reference.default_project() if args.project is None else args.project
    log = Log(
        draft=draft,
        name=rules.check_name(args.name),
        type=rules.check_type(args.type, args.name),
        project=rules.check_project(project) if project else "",
        description=args.description,
        metadata=rules.check_metadata(parse_metadata(args.metadata)),
        aliases=rules.check_aliases(args.aliases),
        tags=rules.check_tags(args.tags),
    )
    log = _as_rank(log, args)
    additions = plan(draft, [os.fsencode(path) for path in args.paths])
    try:
        receipt = joined([console.call(addition) for addition in additions])
        job: JobInfo = console.call(log)
    except (errors.Error, KeyboardInterrupt) as error:
        if not isinstance(error, errors.DaemonUnavailable):
            with suppress(errors.Error):  # what went wrong first is what counts; an abandoned draft ends by itself
                console.call(DropDraft(draft))
        raise
    console.goes_on(job.job)
    console.say(render.receipt_line(receipt))
    for note in notes(receipt, args.no_wait):
        console.warn(f"note: {note}")
    console.say(f"job {job.job}")
    if args.no_wait:
        if console.quiet:
            console.answer(job.job)
    else:
        console.flush()  # who reads the receipt may change the files, also at the end of a pipe
        try:
            job = follow(console, job.job)
        except errors.Error as error:
            if not error.retry and not isinstance(error, errors.Cancelled | errors.CommError):
                console.warn(f"note: its files stay pinned until `syncctl cancel {job.job}`")
            raise
        tell(console, job)
    console.give({"receipt": receipt, "job": job})
    return errors.OK


def tell(console: Console, job: JobInfo) -> None:
    """Print what an upload became."""
    for warning in job.warnings:
        console.warn(f"note: {render.one_line(warning)}")
    if not job.new_version and not job.warnings:  # the daemon's warning says the same, and more
        console.say("identical content is there already: no new version")
    if job.group:
        console.say(f"rank {job.rank} of {job.world_size}, group {render.one_line(job.group)}")
    console.answer(render.full_name("", job.name, job.version))


def _as_rank(log: Log, args: Namespace) -> Log:
    """Return the request as that of one rank, when a group was asked for."""
    if args.group is None:
        if args.rank is not None or args.world_size is not None:
            raise errors.InvalidInput("a rank of which group?", "", "name it: --group G")
        return log
    group = args.group or ranks.group_from()
    if not group:
        raise errors.InvalidInput("which group?", "neither torchrun nor Slurm names one", "name it: --group G")
    return ranks.ranked(log, ranks.ranks(group, args.rank, args.world_size))


def plan(draft: str, paths: list[bytes]) -> list[AddFile | AddDir]:
    """Return one request a path, as this process sees it; nothing is sent yet.

    Raises:
        NotFound, LocalDisk, InvalidInput: a path is missing, unreadable or neither file nor directory.
        Conflict: two files have one base name.
    """
    additions: list[AddFile | AddDir] = []
    names: dict[bytes, bytes] = {}
    for path in paths:
        seen = _look_at(path)
        real = os.path.realpath(path)
        if stat.S_ISDIR(seen.st_mode):
            additions.append(AddDir(draft, real, dev=seen.st_dev, ino=seen.st_ino))
            continue
        if not stat.S_ISREG(seen.st_mode):
            raise errors.InvalidInput(
                f"neither a file nor a directory: {render.printable(path)}", "only these can be stored"
            )
        name = os.path.basename(path)
        if name in names:
            raise errors.Conflict(
                f"two files would be stored as {render.printable(name)}",
                f"{render.printable(names[name])} and {render.printable(path)}",
                "put the directory above them, or rename one",
            )
        names[name] = path
        additions.append(AddFile(draft, real, name, seen.st_dev, seen.st_ino, seen.st_size))
    return additions


def notes(receipt: Receipt, leaving: bool) -> list[str]:
    """Return what a person should know of the pins: always what concerns one file, once, in one line, what holds for
    all until the upload is durable, and that only when nobody waits for it. The JSON answer has everything.
    """
    of_a_file = [gap for gap in receipt.gaps if gap.startswith("/")]
    of_all = [gap for gap in receipt.gaps if not gap.startswith("/")]
    if of_all and leaving:
        of_a_file.append(f"until it is durable: {'; '.join(of_all)}")
    return [render.one_line(gap) for gap in of_a_file]


def joined(receipts: list[Receipt]) -> Receipt:
    """Return one receipt for several."""
    ways: Counter[str] = Counter()
    for receipt in receipts:
        ways.update(receipt.ways)
    return Receipt(
        files=sum(receipt.files for receipt in receipts),
        bytes=sum(receipt.bytes for receipt in receipts),
        entries=sum(receipt.entries for receipt in receipts),
        ways=dict(ways),
        gaps=list(dict.fromkeys(gap for receipt in receipts for gap in receipt.gaps)),
    )


def parse_metadata(pairs: list[str]) -> dict[str, Any]:
    """Return the values of K=V arguments: V as JSON where it is JSON (of finite numbers), else as text.

    Raises:
        InvalidInput: a pair without "=" or key, or a key twice.
    """
    metadata: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise errors.InvalidInput(f"not metadata: {pair!r}", "metadata is written KEY=VALUE")
        if key in metadata:
            raise errors.InvalidInput(f"metadata {key!r} is given twice", "", "give one value, or a JSON list")
        try:
            metadata[key] = json.loads(value, parse_constant=_not_json)
        except ValueError:
            metadata[key] = value
    return metadata


def _not_json(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _look_at(path: bytes) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError as error:
        raise errors.NotFound(f"no such file or directory: {render.printable(path)}") from error
    except (OSError, ValueError) as error:
        why = error.strerror or "" if isinstance(error, OSError) else str(error)
        raise errors.LocalDisk(
            f"cannot be read: {render.printable(path)}", why, "check owner and mode of the path"
        ) from error
