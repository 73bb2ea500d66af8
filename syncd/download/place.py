"""Last stage, and the only one that names files in the target: everything by directory descriptors, no link followed.

A path of the manifest is walked component by component with O_NOFOLLOW from the target down, so neither a link in the
manifest nor one that somebody puts into the directory meanwhile leads a write anywhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from syncd.disk import Disk, disk_error
from syncd.errors import Conflict
from syncd.format.manifest import Entry
from syncd.model.names import printable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Target:
    """The directory a version is restored into, with the work directory `.syncd-<job>` in it. Used inside one lane.

    Both are held open from `open` to `close`, and everything goes through those descriptors: whatever becomes of the
    names meanwhile, no other directory is written to.

    Args:
        root: absolute path; created when missing. May itself be reached through links: the caller chose it.
        job: names the work directory.
    """

    def __init__(self, disk: Disk, root: bytes, job: str) -> None:
        self._disk = disk
        self.root = root
        self._name = b".syncd-" + job.encode()
        self._root_fd = self._work_fd = -1

    def open(self, make: bool = True) -> None:
        """Make the target and its work directory.

        With `make` false they must be there (FileNotFoundError, NotADirectoryError).
        """
        try:
            if make:
                self._disk.make_directory(self.root, 0o777)
                self._disk.make_directory(os.path.join(self.root, self._name), 0o700)
            self._root_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._work_fd = os.open(self._name, _DIRECTORY, dir_fd=self._root_fd)
        except OSError as error:
            self.close()
            if isinstance(error, FileNotFoundError | NotADirectoryError) and not make:
                raise
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise _in_the_way(self._name, "a link or a file") from error
            raise disk_error(error, "cannot make the target directory", self.root) from error

    def close(self) -> None:
        """Let both directories go. May be repeated."""
        for fd in (self._root_fd, self._work_fd):
            if fd >= 0:
                os.close(fd)
        self._root_fd = self._work_fd = -1

    def clear(self) -> None:
        """Remove the work directory and what is left in it."""
        work = b"/proc/self/fd/%d" % self._work_fd
        try:
            for name in os.listdir(work):
                self._disk.remove(os.path.join(work, name))
            self._disk.remove_directory_at(self._root_fd, self._name)
        except OSError as error:
            raise disk_error(error, "cannot remove the work directory", os.path.join(self.root, self._name)) from error

    def free_bytes(self) -> int:
        """Return how much more the target's file system can take."""
        state = os.fstatvfs(self._root_fd)
        return state.f_bavail * state.f_frsize

    def temporary(self, number: int) -> bytes:
        """Return a path of the temporary file of an entry, by way of the open work directory."""
        return b"/proc/self/fd/%d/%d" % (self._work_fd, number)

    def existing(self, path: bytes, size: int) -> int | None:
        """Open the regular file that is at an entry's place already, if it has the right size; None otherwise."""
        parent = self._parent(path, make=False)
        if parent is None:
            return None
        try:
            fd = os.open(
                os.path.basename(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent
            )
        except OSError:
            return None
        finally:
            os.close(parent)
        state = os.fstat(fd)
        if stat.S_ISREG(state.st_mode) and state.st_size == size:
            return fd
        os.close(fd)
        return None

    def place_file(self, entry: Entry, temporary: bytes) -> None:
        """Sync a finished temporary file, give it its mode, rename it to its place."""
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._disk.sync(fd)
                self._disk.set_mode(fd, entry.mode)
            finally:
                os.close(fd)
            self._into_place(entry, temporary)
        except OSError as error:
            raise disk_error(error, "cannot place the file", os.path.join(self.root, entry.path)) from error

    def place_link(self, entry: Entry, number: int) -> None:
        """Make a symbolic link at its place."""
        temporary = self.temporary(number)
        try:
            self._disk.remove(temporary)
            self._disk.symlink(entry.target, temporary)
            self._into_place(entry, temporary)
        except OSError as error:
            raise disk_error(error, "cannot place the link", os.path.join(self.root, entry.path)) from error

    def place_directory(self, entry: Entry) -> None:
        """Make an empty directory with its mode; one that is there stays."""
        try:
            parent = self._parent(entry.path, make=True)
            assert parent is not None
            try:
                name = os.path.basename(entry.path)
                self._make_or_check(parent, name, entry.path)
                fd = os.open(name, _DIRECTORY | os.O_PATH, dir_fd=parent)  # also one that its mode forbids to read
                try:
                    self._disk.set_mode(fd, entry.mode)
                finally:
                    os.close(fd)
            finally:
                os.close(parent)
        except OSError as error:
            raise disk_error(error, "cannot make the directory", os.path.join(self.root, entry.path)) from error

    def _into_place(self, entry: Entry, temporary: bytes) -> None:
        parent = self._parent(entry.path, make=True)
        assert parent is not None
        try:
            name = os.path.basename(entry.path)
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    raise _in_the_way(entry.path, "a directory")
            self._disk.rename_at(temporary, parent, name)
        finally:
            os.close(parent)

    def _parent(self, path: bytes, make: bool) -> int | None:
        """Open the directory that shall hold `path`, walking down from the root without following any link."""
        fd = os.dup(self._root_fd)
        for part in path.split(b"/")[:-1]:
            try:
                if make:
                    self._make_or_check(fd, part, path)
                below = os.open(part, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                os.close(fd)
                if not make and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    return None
                raise
            except Conflict:
                os.close(fd)
                raise
            os.close(fd)
            fd = below
        return fd

    def _make_or_check(self, parent: int, name: bytes, path: bytes) -> None:
        try:
            self._disk.make_directory_at(parent, name, 0o777)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise _in_the_way(path, f"{printable(name)}, which is no directory,") from None


def _in_the_way(path: bytes, what: str) -> Conflict:
    return Conflict(
        f"cannot place {printable(path)}: {what} is in the way",
        "nothing is deleted for a download",
        "choose another root",
    )
