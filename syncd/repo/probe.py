"""Finding out, before anything is trusted to it, what a remote can do: asked, not believed.

Everything rests on one primitive: of writers that create one key at once exactly one wins, and its bytes are what is
read afterwards. A remote where two were told they won is refused, whatever else it can. One that only keeps its users
from deleting is fit for uploads; nothing can be collected there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from syncd.clock import Chance, Clock, random_hex
from syncd.errors import Conflict, NotFound, RemoteRefused, RemoteUnavailable, SyncdError
from syncd.format.keys import probe_key
from syncd.store.base import Store

RACERS = 8
ROUNDS = 3
_BODY = 4096
_SKEW_S = 60.0

Verdict = Literal["ok", "upload-only", "refused"]
Mark = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that was looked at: `ok`, `note` (worth knowing, changes nothing) or `bad`."""

    check: str
    mark: Mark
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a remote can do.

    Attributes:
        verdict: "ok"; "upload-only": nothing can be deleted, so nothing collected; "refused": nothing may be written.
        looked: what was looked at, in order.
        left: keys of ours that could not be removed again.
    """

    verdict: Verdict
    looked: tuple[Looked, ...]
    left: tuple[str, ...] = ()

    @property
    def reasons(self) -> list[str]:
        """Why the verdict is not "ok"."""
        return [look.text for look in self.looked if look.mark == "bad"]


@dataclass(slots=True)
class _Probe:
    store: Store
    rng: Chance
    clock: Clock
    looked: list[Looked] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        return any(look.mark == "bad" for look in self.looked)

    def tell(self, check: str, mark: Mark, text: str) -> None:
        self.looked.append(Looked(check, mark, text))

    def fresh_key(self) -> str:
        self.made.append(probe_key(random_hex(self.rng, 8)))
        return self.made[-1]

    def bytes(self, size: int) -> bytes:
        return self.rng.getrandbits(8 * size).to_bytes(size, "big")


async def probe(store: Store, rng: Chance, clock: Clock, *, racers: int = RACERS, rounds: int = ROUNDS) -> Report:
    """Look at a remote; the keys made for it are removed again where that is allowed.

    Args:
        racers, rounds: writers at once, and how often they race.

    Raises:
        RemoteUnavailable, RemoteRefused: it cannot be asked at all, or not be written to.
    """
    work = _Probe(store, rng, clock)
    async with _cleared(work):
        await _race(work, racers, rounds)
        if not work.bad:
            await _read(work)
            await _list(work)
    left = await _delete(work)
    verdict: Verdict = "refused" if work.bad else "upload-only" if left else "ok"
    return Report(verdict, tuple(work.looked), tuple(left))


@asynccontextmanager
async def _cleared(work: _Probe) -> AsyncIterator[None]:
    """When looking ends with an error, remove what was made, if that can be."""
    try:
        yield
    except BaseException:
        for key in work.made:
            await _quietly_delete(work.store, key)
        raise


async def _race(work: _Probe, racers: int, rounds: int) -> None:
    wrong: set[str] = set()
    for _ in range(rounds):
        key, bodies = work.fresh_key(), [work.bytes(32) for _ in range(racers)]
        answers = await asyncio.gather(*(work.store.create(key, body) for body in bodies), return_exceptions=True)
        refusals = [_refusal(answer) for answer in answers]  # all have ended: no write goes on behind an error
        busy = [refusal for refusal in refusals if isinstance(refusal, RemoteUnavailable)]
        if len(busy) == racers:
            raise busy[0]
        winners = [body for body, refusal in zip(bodies, refusals, strict=True) if refusal is None]
        if len(winners) > 1:
            wrong.add(f"{len(winners)} of {racers} writers that raced for one key were told they won")
            continue  # what is stored now may not even be readable
        stored = await work.store.get(key)
        if stored not in (winners or bodies):
            wrong.add("the stored bytes are not the winner's")
        if await _again(work.store, key, work.bytes(32)) or await work.store.get(key) != stored:
            wrong.add("a create of a key that exists was not refused")
    for text in sorted(wrong):
        work.tell("create", "bad", text)
    if not wrong:
        work.tell("create", "ok", f"{racers} writers raced for one key, {rounds} times over: one won each time")


async def _read(work: _Probe) -> None:
    store, key, body = work.store, work.fresh_key(), work.bytes(_BODY)
    asked = work.clock.now()
    await store.put(key, [body])
    answered = work.clock.now()
    info = await store.stat(key)
    ranges = {
        "the whole": (0, None, body),
        "a range": (8, 16, body[8:24]),
        "a range beyond the end": (_BODY - 5, 99, body[-5:]),
        "a range behind the end": (_BODY + 5, 9, b""),
        "the end": (-16, None, body[-16:]),
    }
    wrong = [
        name for name, (offset, size, expected) in ranges.items() if await store.get(key, offset, size) != expected
    ]
    if wrong:
        work.tell("read", "bad", f"other bytes came than asked for: {', '.join(wrong)}")
    if info.size != _BODY:
        work.tell("read", "bad", f"an object of {_BODY} bytes is said to have {info.size}")
    if not wrong and info.size == _BODY:
        work.tell("read", "ok", "whole objects, ranges, ends and sizes are right")
    _tell_clock(work, info.modified, asked, answered)


def _tell_clock(work: _Probe, modified: float, asked: float, answered: float) -> None:
    """For people: no decision rests on a clock (law L5), but signatures and their logs do. Stores cut to seconds."""
    ahead = modified - answered if modified > answered else min(0.0, modified + 1 - asked)
    if abs(ahead) > _SKEW_S:
        way = "ahead of" if ahead > 0 else "behind"
        work.tell("clock", "note", f"the remote's clock is {abs(ahead):.0f} s {way} this machine's")
    else:
        work.tell("clock", "ok", "the remote's clock agrees with this machine's")


async def _list(work: _Probe) -> None:
    try:
        async with aclosing(work.store.list("probe/")) as listing:  # type: ignore[type-var]
            seen = {info.key async for info in listing}
    except RemoteRefused:
        work.tell("list", "note", "these credentials may not list; writers need not")
        return
    missing = [key for key in work.made if key not in seen]
    if missing:
        work.tell(
            "list",
            "note",
            f"{len(missing)} of {len(work.made)} new objects are not listed at once; nothing rests on it",
        )
    else:
        work.tell("list", "ok", "new objects are listed at once")


async def _delete(work: _Probe) -> list[str]:
    """Remove what was made; return what stays."""
    left, why = [], ""
    for key in work.made:
        try:
            await work.store.delete(key)
            await work.store.get(key)
        except NotFound:
            continue
        except SyncdError as error:
            why = error.why or error.what
        left.append(key)
    if left:
        work.tell("delete", "note", f"nothing can be deleted: uploads only, no collection ({why or 'objects stay'})")
    else:
        work.tell("delete", "ok", "objects can be deleted")
    return left


async def _quietly_delete(store: Store, key: str) -> None:
    try:
        await store.delete(key)
    except SyncdError:
        return


def _refusal(answer: BaseException | None) -> SyncdError | None:
    """Return why a writer was not told that it won, None when it was; an error that explains nothing is raised.

    A store that is busy with one key may turn some away.
    """
    if answer is None or isinstance(answer, (Conflict, RemoteUnavailable)):
        return answer
    raise answer


async def _again(store: Store, key: str, body: bytes) -> bool:
    """Whether a create of a key that exists was told that it won."""
    try:
        await store.create(key, body)
    except (Conflict, RemoteUnavailable):
        return False
    return True
