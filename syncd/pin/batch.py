"""Pinning a list of found files in one lane call: the order of a pin, and the choice of its way.

The steps are numbered as in the package docstring. A batch that fails, or whose rows cannot be
written, is undone whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from syncd.disk import Disk, disk_error
from syncd.journal.pins import FileRow
from syncd.model.names import printable
from syncd.pin import filesystems, leases
from syncd.pin.copying import Copier, changing, open_for_writing
from syncd.pin.leases import Answer, Held, LeaseTable
from syncd.pin.place import Pin, Place
from syncd.pin.sources import naming_link, open_source, require_regular, require_same, source_error
from syncd.pin.spool import Spool
from syncd.pin.walk import Found

_BLOB_STEP = 4 << 20
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ENOSYS)

OPEN_ELSEWHERE = "open for writing elsewhere when added: copied as it stood, a writer through a memory map is not seen"
NOT_LINKED = "could not be linked into a spool: copied"
NO_LEASE = "on a file system without trusted leases, or of another owner: copied"
TOO_MANY = "more files than descriptors to guard them: copied"
IN_MEMORY = "in memory: lost with the machine; while the daemon is dead a writer through a memory map is not seen"
TOO_LARGE = "too large to be saved while a writer waits: copied"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a batch may use on one mount: `home` to link into, `refuge` to copy to; `leases` False: copy all."""

    home: Spool
    refuge: Spool
    leases: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What a batch is asked to do. `identity`: (dev, ino, size) a single file must have."""

    draft: str
    immutable: bool = False
    closed_only: bool = False
    copy_limit: int = 0
    slots: int = 0
    largest_lease: Callable[[Spool, int], bool] = lambda spool, size: True
    identity: tuple[int, int, int] | None = None


@dataclass(slots=True)
class Batch:
    """One lane call's work and what came of it. Used by one thread at a time."""

    disk: Disk
    copier: Copier
    table: LeaseTable
    terms: Terms
    grants: dict[int, Grant]
    name: Callable[[], bytes]
    number: Callable[[], int]
    pins: list[Pin] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    gaps: dict[str, list[bytes]] = field(default_factory=dict)
    _made: set[bytes] = field(default_factory=set)

    def run(self, found: Iterable[Found]) -> None:
        """Pin all. Raises a typed error naming the file, after undoing everything."""
        small = []
        large = []
        try:
            for entry in found:
                if entry.type != "file":
                    self._list(entry, entry.mode, entry.size, None)
                elif entry.size <= self.terms.copy_limit and not self.terms.immutable:
                    small.append(entry)
                else:
                    large.append(entry)
            # The largest first: leases are the scarce thing, and they save the most there.
            large.sort(key=lambda entry: -entry.size)
            for entry in large:
                self._pin(entry)
            self._append_blobs(small)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Let everything go again: leases, links, copies."""
        for held in self.held:
            self.table.let_go(held.pin.pin)
        for path in self._made.union(pin.place.path for pin in self.pins if pin.place.way != "none"):
            with suppress(OSError):
                self.disk.remove(path)
        self.pins.clear()
        self.files.clear()

    def _pin(self, entry: Found) -> None:
        with naming_link(entry.link):
            self._pin_named(entry)

    def _pin_named(self, entry: Found) -> None:
        fd = self._open(entry)  # 1
        keep = False
        try:
            facts = os.fstat(fd)
            self._check(facts, entry)  # 2
            if self.terms.immutable:
                if not facts.st_size and os.pread(fd, 1, 0):
                    raise changing(entry.path)  # as in /proc: it has bytes but tells no size
                self._stand(entry, facts, Place("none", os.path.realpath(entry.path)))
                return
            keep = self._protect(entry, fd)
        except OSError as error:
            raise source_error(error, entry.path) from error
        finally:
            if not keep:
                os.close(fd)

    def _protect(self, entry: Found, fd: int) -> bool:
        """Choose a way and go it; return whether the descriptor now belongs to a lease."""
        grant = self.grants[entry.mount]
        able = filesystems.of_fd(fd)
        if able.reflink and grant.leases and self._clone(entry, fd, grant.home):
            return False
        why, held = self._lease(entry, fd, grant, able)
        if held:
            return True
        if why == OPEN_ELSEWHERE and self.terms.closed_only:
            raise open_for_writing(entry.path)
        self._note(why, entry.path)
        self._copy(entry, fd, grant.refuge, able.lease and why != OPEN_ELSEWHERE)
        return False

    def _lease(self, entry: Found, fd: int, grant: Grant, able: filesystems.Abilities) -> tuple[str, bool]:
        if not able.lease:
            return NO_LEASE, False
        if len(self.held) >= self.terms.slots:
            return TOO_MANY, False
        if not grant.leases or not self.terms.largest_lease(grant.refuge, entry.size):
            return TOO_LARGE, False
        seen = self.table.now()
        answer = leases.take(fd)  # 3
        if answer is not Answer.GRANTED:
            return (OPEN_ELSEWHERE if answer is Answer.WRITER else NO_LEASE), False
        try:
            facts = os.fstat(fd)  # from here on the bytes are the promised ones
            self._check(facts, entry)
            place = Place("lease", os.path.join(grant.home.path, self.name()))
            if not self._link(fd, place.path, facts):  # 4, 5
                leases.release(fd)
                return NOT_LINKED, False
        except BaseException:
            leases.release(fd)
            raise
        pin = self._stand(entry, facts, place)
        held = Held(fd, pin, grant.refuge, seen, os.fstat(fd).st_ctime_ns)
        self.held.append(held)
        self.table.add(held)
        if not able.local_disk:
            self._note(IN_MEMORY, entry.path)
        return "", True

    def _link(self, fd: int, target: bytes, facts: os.stat_result) -> bool:
        """Link an open file into a spool; False where links are refused (tried, never inferred)."""
        try:
            self.disk.link_fd(fd, target)
        except OSError:
            return False
        self._made.add(target)
        linked = os.lstat(target)
        if (linked.st_dev, linked.st_ino) != (facts.st_dev, facts.st_ino):
            self.disk.remove(target)
            return False
        return True

    def _clone(self, entry: Found, fd: int, spool: Spool) -> bool:
        if self.terms.closed_only and leases.probe(fd):
            raise open_for_writing(entry.path)
        target = os.path.join(spool.path, self.name())
        try:
            self.disk.clone(fd, target)
        except OSError as error:
            if error.errno in _CANNOT_CLONE:
                return False
            raise disk_error(error, "cannot make a reflink in the spool", spool.path) from error
        self._made.add(target)
        facts = os.fstat(fd)
        self._check(facts, entry)
        if os.stat(target).st_size != facts.st_size:
            raise changing(entry.path)
        self._stand(entry, facts, Place("reflink", target))
        return True

    def _copy(self, entry: Found, fd: int, spool: Spool, leasable: bool) -> None:
        target = os.path.join(spool.path, self.name())
        try:
            facts = self.copier.copy(fd, target, entry.path, leasable, self.terms.closed_only)
        except OSError as error:
            raise disk_error(error, f"cannot copy {printable(entry.path)} into the spool", spool.path) from error
        self._made.add(target)
        self._check(facts, entry)
        self._stand(entry, facts, Place("copy", target))

    def _append_blobs(self, small: list[Found]) -> None:
        """Copy small files, one blob for each place they go to."""
        groups: dict[bytes, list[Found]] = {}
        for entry in small:
            groups.setdefault(self.grants[entry.mount].refuge.path, []).append(entry)
        for directory, group in groups.items():
            self._append_blob(os.path.join(directory, self.name()), group)

    def _append_blob(self, path: bytes, small: list[Found]) -> None:
        try:
            out = self.disk.create(path)
        except OSError as error:
            raise disk_error(error, "cannot write the spool", path) from error
        self._made.add(path)
        try:
            self._fill_blob(out, path, small)
        finally:
            os.close(out)

    def _fill_blob(self, out: int, path: bytes, small: list[Found]) -> None:
        leasable: dict[int, bool] = {}
        waiting: list[bytes] = []
        offset = flushed = 0
        for entry in small:
            with naming_link(entry.link):
                facts, data = self._read_small(entry, leasable)
            self._stand(entry, facts, Place("blob", path, offset))
            waiting.append(data)
            offset += len(data)
            if offset - flushed >= _BLOB_STEP:
                self._flush(out, path, waiting)
                flushed = offset
        self._flush(out, path, waiting)

    def _flush(self, out: int, path: bytes, waiting: list[bytes]) -> None:
        try:
            self.disk.append(out, waiting)
        except OSError as error:
            raise disk_error(error, "cannot write the spool", path) from error
        waiting.clear()

    def _read_small(self, entry: Found, leasable: dict[int, bool]) -> tuple[os.stat_result, bytes]:
        fd = self._open(entry)
        try:
            able = leasable.get(entry.mount)
            if able is None:
                able = leasable[entry.mount] = filesystems.of_fd(fd).lease
            limit = max(self.terms.copy_limit, entry.size)
            facts, data = self.copier.read(fd, entry.path, limit, able, self.terms.closed_only)
            self._check(facts, entry)
        except OSError as error:
            raise source_error(error, entry.path) from error
        finally:
            os.close(fd)
        return facts, data

    def _open(self, entry: Found) -> int:
        return open_source(entry.path, entry.follow)

    def _check(self, facts: os.stat_result, entry: Found) -> None:
        require_regular(facts, entry.path)
        if self.terms.identity is not None:
            require_same(facts, entry.path, *self.terms.identity)

    def _stand(self, entry: Found, facts: os.stat_result, place: Place) -> Pin:
        identity = (facts.st_dev, facts.st_ino, facts.st_mtime_ns)
        pin = Pin(self.number(), self.terms.draft, entry.path, facts.st_size, *identity, place)
        self.pins.append(pin)
        self._list(entry, stat.S_IMODE(facts.st_mode), facts.st_size, pin.pin)
        return pin

    def _list(self, entry: Found, mode: int, size: int, pin: int | None) -> None:
        self.files.append(FileRow(self.terms.draft, entry.name, entry.type, mode, size, entry.target, pin))

    def _note(self, what: str, path: bytes) -> None:
        self.gaps.setdefault(what, []).append(path)
