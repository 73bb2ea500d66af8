"""A directory as a remote: what `put` and `create` promise, kept with fsync, rename, link and fsync of the directory.

Order of a put, each step durable before the next one (the same in docs/RELIABILITY.md's crash table):

1. the directories of the key, made; their names need not be durable yet;
2. a temporary file `.tmp/<writer>.<session>.<n>`, written and synced;
3. rename to the key (put) or a hard link under the key (create: the kernel lets exactly one win);
4. fsync of the key's directory, then of those above that this process has not synced before: late, because the journal
   of the file system has mostly written them with the fsync of 2 by then. create then removes its temporary name.

A crash before 3 leaves a temporary file, which `sweep` of the same writer removes; after 3 the object is whole.

Three things that a plain path would get wrong:

* *The root may be away* (unmounted, removed). `.tmp` is made with the root and never later: where it is missing, this
  is not our directory, every verb says RemoteUnavailable, and nothing is written below an empty mount point.
* *Links lead out.* Directories are opened one by one without following links, and all verbs go through these
  descriptors (as `/proc/self/fd/N/name`), so nothing is read or written outside the root.
* *NFS loses replies.* A link that says EEXIST may be our own, repeated by the kernel: it is ours exactly if the
  object is the same inode as our temporary file.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat as modes
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from syncd.clock import Chance
from syncd.disk import Disk
from syncd.errors import Conflict, InvalidInput, NotFound, RemoteRefused, RemoteUnavailable
from syncd.lanes import Lane
from syncd.model.buffer import Buffer
from syncd.model.names import printable
from syncd.store.base import RESERVED, Capabilities, ObjectInfo, check_key, check_prefix, cut_range

_TEMPORARY = RESERVED.encode("ascii")
_WRITER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that somebody put there must not hold a thread for ever.
_OPEN_OBJECT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# The umask decides who shares a remote, as with every other file; the default remote lies in a 0700 directory.
_FILE_MODE = 0o666
_DIRECTORY_MODE = 0o777


@dataclass(frozen=True, slots=True)
class _Found:
    """One name in a directory: size None means a directory."""

    name: str
    size: int | None
    modified: float

    @property
    def order(self) -> str:
        """Sorts a directory where its keys belong: "a-b" < "a/b" < "a0"."""
        return self.name if self.size is not None else f"{self.name}/"


class LocalStore:
    """Objects as files below a directory; shared by any number of daemons on one or many nodes.

    Immutable: all but one field. Shared by the lane's threads without a lock: `_durable`, the directories whose
    names this process has synced (set operations are atomic; a directory synced once too often costs a millisecond).

    Args:
        root: absolute path; it must exist (`make_root`).
        disk: does every effect.
        lane: does every blocking call.
        writer: names the temporary files of this daemon; no other running process may use the same word.
        chance: tells this session's temporary names from those of an earlier one.
    """

    def __init__(self, root: bytes, disk: Disk, lane: Lane, writer: str, chance: Chance) -> None:
        if not os.path.isabs(root) or b"\0" in root:
            raise InvalidInput(f"not a directory for a remote: {printable(root)}", "the path must be absolute")
        if not _WRITER.fullmatch(writer):
            raise InvalidInput(f"not a writer's name: {writer!r}", "letters, digits, - and _ only")
        self.capabilities = Capabilities(kind="local")
        self._root = root
        self._disk = disk
        self._lane = lane
        self._mine = f"{writer}.".encode("ascii")
        self._session = b"%016x" % chance.getrandbits(64)
        self._numbers = itertools.count()
        self._durable: set[tuple[str, ...]] = set()

    async def make_root(self) -> None:
        """Create the root durably; one that is there is fine. Nothing else ever creates it."""
        await self._lane.run(self._make_root)

    async def sweep(self) -> int:
        """Remove what a crash of this writer left behind; return how many files. Call before the first write."""
        return await self._lane.run(self._sweep)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Store."""
        return await self._lane.run(self._get, key, offset, length)

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See Store."""
        await self._lane.run(self._put, key, parts)

    async def create(self, key: str, data: Buffer) -> None:
        """See Store."""
        await self._lane.run(self._create, key, data)

    async def stat(self, key: str) -> ObjectInfo:
        """See Store. The time is the file system's."""
        return await self._lane.run(self._stat, key)

    async def delete(self, key: str) -> None:
        """See Store. Its directory stays, its absence is not synced: a deletion may be done again."""
        await self._lane.run(self._delete, key)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See Store. Names that no key can have, links and other strangers are left out."""
        above, start = check_prefix(prefix)
        found = await self._lane.run(self._scan, above, start)
        pending = [(above, one) for one in reversed(found)]
        while pending:
            directory, one = pending.pop()
            if one.size is not None:
                yield ObjectInfo("/".join([*directory, one.name]), one.size, one.modified)
                continue
            below = [*directory, one.name]
            inside = await self._lane.run(self._scan, below, "")
            pending += [(below, found) for found in reversed(inside)]

    async def close(self) -> None:
        """Nothing is held open between verbs; the lane belongs to whoever handed it in."""

    def _make_root(self) -> None:
        with self._translated("create", ""):
            self._disk.make_directory(self._root, _DIRECTORY_MODE)
            self._disk.make_directory(os.path.join(self._root, _TEMPORARY), _DIRECTORY_MODE)

    def _sweep(self) -> int:
        with self._translated("sweep", RESERVED), self._directory([RESERVED]) as temporary:
            left = [name for name in os.listdir(_at(temporary, b".")) if name.startswith(self._mine)]
            for name in left:
                self._disk.remove(_at(temporary, name))
        return len(left)

    def _get(self, key: str, offset: int, length: int | None) -> bytes:
        *above, name = check_key(key)
        with self._translated("read", key, reading=True), self._directory(above) as home:
            fd = os.open(name, _OPEN_OBJECT, dir_fd=home)
            try:
                facts = os.fstat(fd)
                self._regular(key, facts)
                return self._disk.read(fd, *cut_range(facts.st_size, offset, length))
            finally:
                os.close(fd)

    def _put(self, key: str, parts: Sequence[Buffer]) -> None:
        with self._translated("put", key), self._places(key) as (temporary, target):
            try:
                self._disk.write_new(temporary, parts, _FILE_MODE)
                self._disk.rename(temporary, target)
                self._sync_above(key)
            except BaseException:
                self._discard(temporary)
                raise

    def _create(self, key: str, data: Buffer) -> None:
        with self._translated("create", key), self._places(key) as (temporary, target):
            try:
                self._disk.write_new(temporary, [data], _FILE_MODE)
                try:
                    self._disk.link(temporary, target)
                except FileExistsError:
                    self._settle(key, temporary, target)
                self._sync_above(key)
            finally:
                self._discard(temporary)

    def _settle(self, key: str, temporary: bytes, target: bytes) -> None:
        """Decide whose the object is that was in the way of a link; Conflict unless it is our own."""
        there = os.lstat(target)
        self._regular(key, there)
        if not os.path.samestat(there, os.lstat(temporary)):
            raise Conflict(f"there is an object already: {key}")
        self._disk.sync_directory(os.path.dirname(target))

    def _stat(self, key: str) -> ObjectInfo:
        *above, name = check_key(key)
        with self._translated("look at", key, reading=True), self._directory(above) as home:
            facts = os.stat(name, dir_fd=home, follow_symlinks=False)
            self._regular(key, facts)
            return ObjectInfo(key, facts.st_size, facts.st_mtime)

    def _delete(self, key: str) -> None:
        *above, name = check_key(key)
        with suppress(NotFound), self._translated("delete", key, reading=True), self._directory(above) as home:
            self._disk.remove(_at(home, name.encode("ascii")))

    def _scan(self, above: Sequence[str], start: str) -> Sequence[_Found]:
        """Return what lies in one directory under names with this beginning, sorted as keys sort."""
        found = []
        if not above:
            self._check_root()
        with (
            suppress(NotFound),  # the prefix names nothing, or the directory went while we listed
            self._translated("list", "/".join(above), reading=True),
            self._directory(above) as home,
            os.scandir(_at(home, b".")) as entries,
        ):
            for entry in entries:
                name = os.fsdecode(entry.name)
                if not name.startswith(start) or not _is_key([*above, name]):
                    continue
                with suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    if modes.S_ISREG(facts.st_mode):
                        found.append(_Found(name, facts.st_size, facts.st_mtime))
                    elif modes.S_ISDIR(facts.st_mode):
                        found.append(_Found(name, None, 0.0))
        return sorted(found, key=lambda one: one.order)

    @contextmanager
    def _places(self, key: str) -> Iterator[tuple[bytes, bytes]]:
        """Give a fresh temporary path and the object's own, whose directories exist. Nothing is written yet."""
        *above, name = check_key(key)
        # .tmp first: where it is missing no directory may be made either.
        with self._directory([RESERVED]) as temporary, self._directory(above, make=True) as home:
            fresh = self._mine + self._session + b".%d" % next(self._numbers)
            yield _at(temporary, fresh), _at(home, name.encode("ascii"))

    @contextmanager
    def _directory(self, segments: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """Open the directory of these segments, no link followed below the root; `make` it on demand."""
        fd = os.open(self._root, _OPEN_DIRECTORY)
        try:
            for depth, segment in enumerate(segments, 1):
                here = tuple(segments[:depth])
                if make and here not in self._durable:
                    self._disk.add_directory(_at(fd, segment.encode("ascii")), _DIRECTORY_MODE)
                below = os.open(segment, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _sync_above(self, key: str) -> None:
        """Make the names of an object's directories durable, also those that somebody else made a moment ago."""
        *above, _ = check_key(key)
        for depth in range(len(above), 0, -1):
            if tuple(above[:depth]) not in self._durable:
                with self._directory(above[: depth - 1]) as parent:
                    self._disk.sync_directory(_at(parent, b"."))
                self._durable.add(tuple(above[:depth]))

    def _check_root(self) -> None:
        with self._translated("list", ""), self._directory([RESERVED]):
            pass

    def _discard(self, temporary: bytes) -> None:
        with suppress(OSError):  # the error that brought us here is the one to tell; sweep comes again
            self._disk.remove(temporary)

    def _regular(self, key: str, facts: os.stat_result) -> None:
        if not modes.S_ISREG(facts.st_mode):
            raise self._refused(f"not an object: {key}", "something else than a file has its name", "")

    @contextmanager
    def _translated(self, doing: str, key: str, *, reading: bool = False) -> Iterator[None]:
        """Turn what the kernel said about this remote into what the caller can do; the one place for it.

        When `reading`, a missing file is a missing object, unless the whole remote is away.
        """
        try:
            yield
        except FileNotFoundError as error:
            if reading and os.path.isdir(os.path.join(self._root, _TEMPORARY)):
                raise NotFound(f"no such object: {key}") from error
            raise self._away() from error
        except OSError as error:
            raise self._error(error, f"cannot {doing} {key}".rstrip()) from error

    def _away(self) -> RemoteUnavailable:
        self._durable.clear()  # what comes back may be another directory, or an older one
        return RemoteUnavailable(
            f"the remote is away: {printable(self._root)}",
            f"the directory is missing, or it is not the remote (it has no {RESERVED} in it)",
            "mount it; where it was removed on purpose, make a new remote with: syncd init",
        )

    def _error(self, error: OSError, what: str) -> RemoteRefused | RemoteUnavailable:
        what = f"{what}: remote {printable(self._root)}"
        why = error.strerror or str(error)
        code = error.errno or 0
        if code in _REFUSED:
            return self._refused(what, why, _REFUSED[code])
        return RemoteUnavailable(what, _WHY.get(code, why), _UNAVAILABLE.get(code, "it is tried again"))

    def _refused(self, what: str, why: str, hint: str) -> RemoteRefused:
        return RemoteRefused(what, why, hint)


_LINKS = "links are not followed inside a remote, and an object cannot have another below it"
_REFUSED = {
    errno.EROFS: "the file system is read-only: mount it writable",
    errno.EACCES: "check owner and mode of the remote's directories",
    errno.EPERM: "check owner and mode of the remote's directories; a file system without hard links cannot be one",
    errno.ENOTDIR: _LINKS,
    errno.ELOOP: _LINKS,
    errno.EISDIR: _LINKS,
    errno.EXDEV: "the remote must lie on one file system",
    errno.EMLINK: "the file system must support hard links",
    errno.EOPNOTSUPP: "the file system must support hard links",
    errno.ENOSYS: "the file system must support hard links",
    errno.ENAMETOOLONG: "choose a directory with a shorter path, or another file system",
}
_WHY = {
    errno.ENOSPC: "the remote is full: no space left on its file system",
    errno.EDQUOT: "the remote is full: the quota is used up",
}
_UNAVAILABLE = {
    errno.ENOSPC: "free space there; the upload goes on by itself",
    errno.EDQUOT: "free space there or raise the quota; the upload goes on by itself",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk reports errors: check the kernel log; it is tried again",
    errno.ESTALE: "the file server forgot the directory: mount it again",
}


def _at(directory: int, name: bytes) -> bytes:
    """Return a path to `name` in an open directory that holds also when the directory is moved or replaced."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def _is_key(segments: Sequence[str]) -> bool:
    try:
        check_key("/".join(segments))
    except InvalidInput:
        return False
    return True
