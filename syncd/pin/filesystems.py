"""What is known about file systems: where a lease holds, where a reflink can be had, which mount a path is on.

An allow-list, asked of the kernel by statfs: what is not on it is copied. A lease on overlayfs is granted and does not
stop a mapped writer (measured), on network file systems it says nothing about other nodes.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a file system can do. `local_disk`: bytes put there do not live in memory."""

    name: str
    lease: bool = False
    reflink: bool = False
    local_disk: bool = True


UNKNOWN = Abilities("unknown")

_KNOWN = {
    0xEF53: Abilities("ext4", lease=True),
    0x58465342: Abilities("xfs", lease=True, reflink=True),
    0x9123683E: Abilities("btrfs", lease=True, reflink=True),
    0xF2F52010: Abilities("f2fs", lease=True),
    0x01021994: Abilities("tmpfs", lease=True, local_disk=False),
    0x794C7630: Abilities("overlayfs"),
    0x6969: Abilities("nfs"),
    0x0BD00BD0: Abilities("lustre"),
    0x65735546: Abilities("fuse"),
    0x01021997: Abilities("9p"),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fstatfs.argtypes = [ctypes.c_int, ctypes.c_void_p]
_STATFS_BYTES = 512


def of_fd(fd: int) -> Abilities:
    """Return what the file system of an open file can do; UNKNOWN when the kernel does not say."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, buffer) != 0:
        return UNKNOWN
    kind = ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
    return _KNOWN.get(kind, Abilities(f"0x{kind:x}"))


def of_directory(path: bytes) -> Abilities:
    """Return what the file system of a directory can do. Raises OSError when it cannot be opened."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return of_fd(fd)
    finally:
        os.close(fd)


def mount_id(directory: bytes) -> int:
    """Return the id of the mount a directory is on (exact where st_dev is not: bind mounts). Raises OSError."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as info:
            for line in info:
                if line.startswith(b"mnt_id:"):
                    return int(line.split()[1])
    finally:
        os.close(fd)
    return -1


def mount_point(mount: int) -> bytes | None:
    """Return where a mount is attached, None when it is not in our view."""
    wanted = b"%d" % mount
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields = line.split(b" ", 5)
            if fields[0] == wanted:
                return _unescape(fields[4])
    return None


def _unescape(path: bytes) -> bytes:
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        path = path.replace(code, char)
    return path
