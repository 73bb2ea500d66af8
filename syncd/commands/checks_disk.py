"""Checks of `syncd doctor` on disks: the state directory, and how files below the working directory can be pinned."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from syncd.commands.finding import Finding, fail, ok, warn
from syncd.disk import Disk
from syncd.model.names import printable
from syncd.pin import filesystems
from syncd.settings import Settings

MIN_FREE = 1 << 30

_SHARED = ("nfs", "lustre", "fuse", "9p")


def check_disk(settings: Settings, directory: bytes) -> Iterator[Finding]:
    """Yield what there is to say of the state directory and of pinning files in `directory`; leaves nothing behind."""
    yield _state(settings.state_dir)
    yield _pin(directory)


def _state(state: bytes) -> Finding:
    name = printable(state)
    disk = Disk()
    trial = os.path.join(state, b"doctor-%d" % os.getpid())
    try:
        disk.make_directory(state)
        disk.write_new(trial, [b"trial"])
    except OSError as error:
        return fail("state", f"{name}: {error.strerror}", "make it writable, or set SYNCD_STATE_DIR")
    finally:
        with suppress(OSError):
            disk.remove(trial)
    kind = filesystems.of_directory(state).name
    if kind in _SHARED:
        return fail("state", f"{name} is on {kind}", "set SYNCD_STATE_DIR to a directory on a local disk")
    free = shutil.disk_usage(state).free
    if free < MIN_FREE:
        return warn("state", f"{name} ({kind}) has {free >> 20} MiB left", "free space, or set SYNCD_STATE_DIR")
    return ok("state", f"{name} ({kind}, {free >> 30} GiB free)")


def _pin(directory: bytes) -> Finding:
    name = printable(directory)
    try:
        able = filesystems.of_directory(directory)
        folder = tempfile.mkdtemp(prefix=b".syncd-doctor-", dir=directory)
    except OSError as error:
        return warn("pin", f"{name}: {error.strerror}", "run doctor where your checkpoints are written")
    try:
        reflink, lease = _reflink(folder), _lease(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if reflink and able.reflink:
        return ok("pin", f"{name} ({able.name}): by reflink, in microseconds once the file is on disk")
    if lease and able.lease:
        return ok("pin", f"{name} ({able.name}): by link and lease, in microseconds")
    return warn(
        "pin",
        f"{name} ({able.name}): by copy, so add_file takes as long as a copy",
        "write checkpoints to ext4, xfs, btrfs, f2fs or tmpfs",
    )


def _reflink(folder: bytes) -> bool:
    source, target = os.path.join(folder, b"source"), os.path.join(folder, b"clone")
    disk = Disk()
    disk.write_new(source, [b"x" * 4096])
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        disk.clone(fd, target)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _lease(folder: bytes) -> bool:
    fd = os.open(os.path.join(folder, b"source"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        Disk().link_fd(fd, os.path.join(folder, b"linked"))
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
