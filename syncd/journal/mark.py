"""The mark that a journal was closed in good order and has not been touched since.

Reading a whole journal takes ten seconds a gigabyte when nothing of it is in memory (measured), and a daemon that is
being started answers nobody. A file that SQLite closed, whose size, change and modification times and inode are those
noted then, has been written by nobody since: its next start reads only what it needs. Without the mark, or with any of
these changed, all of it is read. The mark is gone before the journal is opened for writing.
"""

from __future__ import annotations

import os

from syncd.disk import Disk


def leave(path: str) -> None:
    """Note that the closed journal at `path` is sound. Nothing is noted while it has a log of its own beside it.

    Raises:
        OSError: it could not be noted; the next start reads everything.
    """
    if _unfinished(path):
        return
    disk, mark = Disk(), os.fsencode(_mark(path))
    disk.remove(mark + b".new")
    disk.write_new(mark + b".new", [_identity(path)])
    disk.rename(mark + b".new", mark)


def take(path: str) -> bool:
    """Remove the mark, durably; return whether it vouched for the journal as it is now."""
    disk, mark = Disk(), os.fsencode(_mark(path))
    try:
        with open(mark, "rb") as file:
            noted = file.read(1024)
        disk.remove(mark)
        # Else a power cut may bring the mark back beside a journal whose pages were written and whose times were not.
        disk.sync_directory(os.path.dirname(mark))
        return noted == _identity(path) and not _unfinished(path)
    except OSError:
        return False


def _mark(path: str) -> str:
    return f"{path}-closed"


def _unfinished(path: str) -> bool:
    """Whether there are transactions that are not in the file itself. Mere readers leave an empty log."""
    logs = [f"{path}{ending}" for ending in ("-wal", "-journal")]
    return any(os.path.exists(log) and os.path.getsize(log) for log in logs)


def _identity(path: str) -> bytes:
    facts = os.stat(path)
    return b"%d %d %d %d\n" % (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
