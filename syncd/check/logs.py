"""Reading a log that may be damaged anywhere: as far as it can be had, and what is wrong with it.

Three witnesses speak about a slot: the remote, this node's journal, and the next entry, whose `prev` is the hash of the
right bytes. The remote's bytes count when they chain; where they do not, the journal's, which were checked when they
were read; then those of the mirror. So a log with a hole in the middle is still read to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from syncd.check.findings import AGAIN, FORK, Finding, Kind
from syncd.errors import Corrupt, NotFound, SyncdError
from syncd.format.keys import parse_slot, slot_key
from syncd.format.log import MAX_ENTRY, decode_entry, entry_hash, genesis
from syncd.repo.log import Slot
from syncd.repo.memory import Memory
from syncd.store.base import Store


@dataclass(slots=True)
class ReadLog:
    """One log as it could be had.

    Attributes:
        slots: what can be replayed: unbroken from slot 0, each in its place.
        whole: whether that is all there is.
        findings: what is wrong, without whom it hurts.
        mend: slot -> the right bytes, of those that are damaged or gone and known.
    """

    name: str
    slots: list[Slot] = field(default_factory=list)
    whole: bool = True
    findings: list[Finding] = field(default_factory=list)
    mend: dict[int, bytes] = field(default_factory=dict)


async def read_log(store: Store, memory: Memory, mirror: Store | None, repo_id: str, name: str) -> ReadLog:
    """Read a log to its end, over whatever is wrong in it.

    Args:
        mirror: asked for slots that are damaged, if there is one.
    """
    return await _Reader(store, mirror, repo_id, name, await memory.seen(repo_id, name)).read()


class _Reader:
    def __init__(self, store: Store, mirror: Store | None, repo_id: str, name: str, seen: Sequence[bytes]) -> None:
        self._store = store
        self._mirror = mirror
        self._seen = _chained(repo_id, name, seen)
        self._log = ReadLog(name)
        self._head = genesis(repo_id, name)
        self._forked = False
        self._length = len(self._seen)  # slots that are known to be, or to have been, there

    async def read(self) -> ReadLog:
        listed = False
        number = 0
        while True:
            data, trouble = await self._get(number)
            if data is None and trouble is None and number >= self._length:
                if listed:
                    return self._log
                listed = True
                self._length = max(self._length, await self._listed())
                continue
            if not await self._take(number, data, trouble):
                self._log.whole = False
                return self._log
            number += 1

    async def _take(self, number: int, data: bytes | None, trouble: SyncdError | None) -> bool:
        """Take the next slot, or what stands for it; False when nothing does: the log ends here for us."""
        seen = self._seen[number] if number < len(self._seen) else None
        if self._forked:
            return seen is not None and self._add(number, seen)  # the remote tells another history from here on
        if data is not None and self._fits(data) and (seen is None or data == seen):
            return self._add(number, data)
        kind, what = await self._judge(number, data, seen, trouble)
        key = slot_key(self._log.name, number)
        finding = Finding(kind, key, f"{key}: {what}")
        if kind is Kind.FORKED:
            self._forked = True
            finding = replace(finding, todo=FORK)
        elif kind is Kind.UNREADABLE:
            finding = replace(finding, todo=AGAIN)
        self._log.findings.append(finding)
        right = seen if seen is not None else await self._of_mirror(number)
        if right is None:
            return False
        proved = kind is not Kind.SWAPPED or data in self._seen or await self._proved(number, right)
        if proved and kind not in (Kind.FORKED, Kind.UNREADABLE):
            self._log.mend[number] = right
        return self._add(number, right)

    async def _proved(self, number: int, data: bytes) -> bool:
        """Whether the next entry names these bytes as the ones before it: then what lies there is surely wrong."""
        after, _ = await self._get(number + 1)
        try:
            return after is not None and decode_entry(after).prev == entry_hash(data)
        except Corrupt:
            return False

    async def _judge(
        self, number: int, data: bytes | None, seen: bytes | None, trouble: SyncdError | None
    ) -> tuple[Kind, str]:
        if trouble is not None:
            return Kind.UNREADABLE, trouble.what
        if data is None:
            later = await self._listed() > number
            return (Kind.MISSING, "entries are there behind it") if later else (Kind.SHORTENED, "entries are gone")
        if seen is not None and len(data) < len(seen) and seen.startswith(data):
            return Kind.TRUNCATED, f"{len(data)} of {len(seen)} bytes are there"
        try:
            decode_entry(data)
        except Corrupt as error:
            return (Kind.TRUNCATED if not data else Kind.FLIPPED), f"{error.what}: {error.why}"
        if self._fits(data):
            return Kind.FORKED, "it follows the entry before it, but is not the one this node has seen"
        return Kind.SWAPPED, "it is an entry, but not one that follows the entry before it"

    def _fits(self, data: bytes) -> bool:
        try:
            return decode_entry(data).prev == self._head
        except Corrupt:
            return False

    def _add(self, number: int, data: bytes) -> bool:
        slot = Slot(number, entry_hash(data), decode_entry(data))
        self._log.slots.append(slot)
        self._head = slot.hash
        return True

    async def _get(self, number: int) -> tuple[bytes | None, SyncdError | None]:
        try:
            return await self._store.get(slot_key(self._log.name, number), 0, MAX_ENTRY + 1), None
        except NotFound:
            return None, None
        except SyncdError as error:
            if error.retry:
                raise  # the remote is away: that is no damage
            return None, error

    async def _of_mirror(self, number: int) -> bytes | None:
        if self._mirror is None:
            return None
        try:
            data = await self._mirror.get(slot_key(self._log.name, number), 0, MAX_ENTRY + 1)
        except SyncdError:
            return None
        return data if self._fits(data) else None

    async def _listed(self) -> int:
        """Return how many slots there are by the listing; a hint, that shows holes."""
        length = 0
        async for info in self._store.list(f"{self._log.name}/"):
            try:
                log, number = parse_slot(info.key)
            except Corrupt:
                continue
            if log == self._log.name:
                length = max(length, number + 1)
        return length


def _chained(repo_id: str, name: str, bodies: Sequence[bytes]) -> list[bytes]:
    """Return what holds together of the entries a journal has kept."""
    head = genesis(repo_id, name)
    good: list[bytes] = []
    for body in bodies:
        try:
            if decode_entry(body).prev != head:
                break
        except Corrupt:
            break
        good.append(body)
        head = entry_hash(body)
    return good
