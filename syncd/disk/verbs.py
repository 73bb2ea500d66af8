"""The verbs, in one class: what a test kit wraps is all there is."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

import aiofiles.os

from syncd.disk.moving import Write, copy_range, write_all
from syncd.lanes import Lane
from syncd.model.buffer import Buffer

_FICLONE = 0x40049409


class Disk:
    """The verbs. Stateless; see the room's docstring."""

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

    def open_or_create(self, path: bytes, mode: int = 0o600) -> int:
        """Open a file for reading and writing, made when it is not there; no link is followed. The caller closes it."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    def resize(self, fd: int, size: int) -> None:
        """Cut an open file, or lengthen it by a hole."""
        os.ftruncate(fd, size)

    def set_mode(self, fd: int, mode: int) -> None:
        """Set the mode of an open file or directory, also of one opened by O_PATH because its mode forbids more."""
        os.chmod(b"/proc/self/fd/%d" % fd, mode)

    def rename(self, source: bytes, target: bytes) -> None:
        """Move a synced file over `target` and make the new name durable."""
        os.rename(source, target)
        self.sync_directory(os.path.dirname(target))

    def rename_at(self, source: bytes, directory: int, name: bytes) -> None:
        """Move a synced file to `name` in an open directory, durably: no link on the way can lead elsewhere."""
        os.rename(source, name, dst_dir_fd=directory)
        os.fsync(directory)

    def symlink(self, target: bytes, path: bytes) -> None:
        """Make a symbolic link in a place that must be free. Its name is not durable yet: rename it to its place."""
        os.symlink(target, path)

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

    def make_directory_at(self, directory: int, name: bytes, mode: int) -> None:
        """Create a directory in an open one, durably; FileExistsError when the name is taken."""
        os.mkdir(name, mode, dir_fd=directory)
        os.fsync(directory)

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

    def remove_directory_at(self, directory: int, name: bytes) -> None:
        """Remove an empty directory from an open one, durably."""
        os.rmdir(name, dir_fd=directory)
        os.fsync(directory)

    def write_into(self, write: Write) -> None:
        """Write into a file that must exist; no fsync, no link is followed."""
        fd = os.open(write.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            write_all(fd, write.parts, write.offset)
        finally:
            os.close(fd)

    async def restore(self, lane: Lane, writes: Sequence[Write]) -> None:
        """Write into existing files (restored ones), all of them in one turn of the lane: turns cost more than files.

        The first OSError ends it; what was written before stays. A cancelled caller waits until the turn has ended: no
        thread writes to, or opens, what others believe free.
        """
        await lane.attend(self._restore(lane, writes))

    async def _restore(self, lane: Lane, writes: Sequence[Write]) -> None:
        await _each(self.write_into, writes, executor=lane.executor)


@aiofiles.os.wrap
def _each(do: Callable[[Write], None], writes: Sequence[Write]) -> None:
    for write in writes:
        do(write)
