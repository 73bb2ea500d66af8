"""What the kernel says about a path of this node's own, in words that help."""

from __future__ import annotations

import errno

from syncd.errors import LocalDisk, SyncdError
from syncd.model.names import printable


def disk_error(error: OSError, what: str, path: bytes = b"") -> SyncdError:
    """Translate what the kernel said about one of this node's own paths into what the reader can do."""
    hints = {
        errno.ENOSPC: "free space on that file system",
        errno.EDQUOT: "free space: the quota is used up",
        errno.EROFS: "the file system is read-only: mount it writable or choose another directory",
        errno.EACCES: "check owner and mode of the path",
        errno.EPERM: "check owner and mode of the path",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
        errno.EIO: "the disk reports errors: check the kernel log",
    }
    name = f": {printable(path)}" if path else ""
    return LocalDisk(f"{what}{name}", error.strerror or str(error), hints.get(error.errno or 0, ""))
