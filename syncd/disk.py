"""Durable verbs on local files: the only place that writes, links, syncs and renames.

Every verb but `restore_at` blocks and is called inside a lane. Paths are bytes. What "durable" takes is written here
once: data fsynced before its name appears, the directory fsynced after. Verbs raise OSError as the kernel said it;
the room that asked knows what the path meant and translates with `disk_error` (or to its own remote error).

`Disk` is a class without state so that it can be handed in: crash tests wrap it and die in the n-th verb.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress

import aiofiles

from syncd.errors import LocalDisk, SyncdError
from syncd.lanes import Lane
from syncd.model.buffer import Buffer
from syncd.model.names import printable

_FICLONE = 0x40049409
_IOV_MAX = 1024
_COPY_STEP = 16 << 20
_CANNOT_COPY_IN_KERNEL = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)


class Disk:
    """The verbs. Stateless; see the module docstring."""

    def read_at(self, fd: int, offset: int, into: memoryview) -> int:
        """Fill `into` from `offset`; return the bytes read, fewer only at the end of the file."""
        done = 0
        while done < len(into):
            got = os.preadv(fd, [into[done:]], offset + done)
            if got == 0:
                break
            done += got
        return done

    def read(self, fd: int, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end of the file."""
        piece = os.pread(fd, length, offset)
        if len(piece) in (0, length):
            return piece
        pieces = [piece]  # the kernel gives at most 2 GiB at a time
        got = len(piece)
        while got < length and (piece := os.pread(fd, length - got, offset + got)):
            pieces.append(piece)
            got += len(piece)
        return b"".join(pieces)

    def write_new(self, path: bytes, parts: Sequence[Buffer], mode: int = 0o600) -> None:
        """Create a file that must not exist, write it, fsync it. Its name is not durable yet: publish it."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            write_all(fd, parts)
            os.fsync(fd)
        finally:
            os.close(fd)

    def append(self, fd: int, parts: Sequence[Buffer]) -> None:
        """Write at the descriptor's position; no fsync."""
        write_all(fd, parts)

    def create(self, path: bytes, mode: int = 0o600) -> int:
        """Create a file that must not exist and return its descriptor, for `append`; the caller closes it."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)

    def rename(self, source: bytes, target: bytes) -> None:
        """Move a synced file over `target` and make the new name durable."""
        os.rename(source, target)
        self.sync_directory(os.path.dirname(target))

    def rename_at(self, source: bytes, directory: int, name: bytes) -> None:
        """Move a synced file to `name` in an open directory, durably: no link on the way can lead elsewhere."""
        os.rename(source, name, dst_dir_fd=directory)
        os.fsync(directory)

    def link(self, source: bytes, target: bytes) -> None:
        """Give a synced file a second name that must be free (FileExistsError), durably. The put-if-absent of disks."""
        os.link(source, target)
        self.sync_directory(os.path.dirname(target))

    def link_fd(self, fd: int, target: bytes) -> None:
        """Give an open file a name; never by its path, which may be another file by now."""
        handle = os.open(b"/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # os.link follows the symlink in /proc only when src_dir_fd is given.
            os.link(str(fd), target, src_dir_fd=handle, follow_symlinks=True)
        finally:
            os.close(handle)

    def clone(self, fd: int, target: bytes) -> None:
        """Make `target` (new) a reflink of an open file; OSError EOPNOTSUPP/EXDEV/EINVAL where there are none."""
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.ioctl(out, _FICLONE, fd)
        except OSError:
            os.unlink(target)
            raise
        finally:
            os.close(out)

    def copy(self, fd: int, target: bytes, size: int, start: int = 0) -> int:
        """Copy bytes [start, size) of an open file to the same offsets of `target` (new); return the bytes copied.

        Fewer than asked only when the source is shorter. No fsync; on OSError the half copy is removed.
        """
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            return copy_range(fd, out, size, start)
        except OSError:
            with suppress(OSError):
                os.unlink(target)
            raise
        finally:
            os.close(out)

    def sync(self, fd: int) -> None:
        """Make an open file's data durable (fdatasync)."""
        os.fdatasync(fd)

    def sync_directory(self, path: bytes) -> None:
        """Make the names in a directory durable."""
        fd = os.open(path or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_directory(self, path: bytes, mode: int = 0o700) -> None:
        """Create a directory and the parents it lacks; all of them durable on return. An existing one is fine.

        Its name is synced also when it was there: somebody may have made it a moment ago and not yet synced it.
        """
        path = path.rstrip(b"/") or b"/"
        parent = os.path.dirname(path)
        if parent and not os.path.isdir(parent):
            self.make_directory(parent, mode)
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            with suppress(PermissionError):  # /home may be 0711: then the name is not ours to worry about
                self.sync_directory(parent)
        else:
            self.sync_directory(parent)

    def add_directory(self, path: bytes, mode: int = 0o700) -> None:
        """Create a directory in one that exists; one that is there is fine. Sync the parent to make it durable."""
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not os.path.isdir(path):
                raise

    def remove(self, path: bytes) -> None:
        """Unlink a file; one that is not there is no error."""
        with suppress(FileNotFoundError):
            os.unlink(path)

    def remove_directory(self, path: bytes) -> bool:
        """Remove an empty directory; return False when it holds something or is not there."""
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY):
                return False
            raise
        return True

    async def restore_at(self, lane: Lane, path: bytes, offset: int, parts: Sequence[Buffer]) -> None:
        """Write one after the other into an existing file from an offset on, on the lane's threads (restored files).

        A cancelled caller waits until the write has ended: no thread writes to, or opens, what others believe free.
        """
        work = asyncio.get_running_loop().create_task(_restore_at(lane, path, offset, parts))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            while not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # seen here: the cancellation outranks it
            raise


async def _restore_at(lane: Lane, path: bytes, offset: int, parts: Sequence[Buffer]) -> None:
    # Not `async with`: aiofiles closes then on the loop's default executor, a thread outside every lane.
    file = await aiofiles.open(path, "r+b", buffering=0, executor=lane.executor)
    try:
        await lane.run(write_all, file.fileno(), parts, offset)
    finally:
        await file.close()


def write_all(fd: int, parts: Sequence[Buffer], offset: int | None = None) -> None:
    """Write every part, whatever the kernel takes at a time: from `offset` on, None: at the descriptor's position."""
    queue = [memoryview(part).cast("B") for part in parts if len(part)]
    while queue:
        some = queue[:_IOV_MAX]
        wrote = done = os.writev(fd, some) if offset is None else os.pwritev(fd, some, offset)
        offset = None if offset is None else offset + done
        while queue and wrote >= len(queue[0]):
            wrote -= len(queue.pop(0))
        if wrote:
            queue[0] = queue[0][wrote:]


def copy_range(source: int, target: int, size: int, start: int = 0) -> int:
    """Copy [start, size) between descriptors in the kernel where it can, else through a buffer; return bytes copied."""
    done = start
    in_kernel = True
    while done < size:
        step = min(_COPY_STEP, size - done)
        if in_kernel:
            try:
                got = os.copy_file_range(source, target, step, done, done)
            except OSError as error:
                if error.errno not in _CANNOT_COPY_IN_KERNEL:
                    raise
                in_kernel = False
                continue
        else:
            got = _copy_step(source, target, step, done)
        if got == 0:
            break
        done += got
    return done - start


def _copy_step(source: int, target: int, step: int, offset: int) -> int:
    piece = os.pread(source, step, offset)
    view = memoryview(piece)
    while view:
        view = view[os.pwrite(target, view, offset + len(piece) - len(view)) :]
    return len(piece)


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
