"""N ranks append their parts to the artifact's log, while garbage is collected and anybody may abort.

The log is replayed by the real History with real entries; ranks and collectors are small automata that may stop between
any two steps for as long as they like. A pack `shared` lies in the bucket from the start, referred to by nothing: ranks
that have seen no collection refer to it, and the collectors condemn it. Wrong variants are caught.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

import pytest

from syncd.format import log as kinds
from syncd.format.digest import hash_bytes
from syncd.format.keys import manifest_key
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.log import Slot
from tests.models.explore import Explored, explore

SHARED = "shared"
GROUP = "g"
TRIES = 3
EPOCHS = 2


class Wrong(StrEnum):
    """What is left out."""

    NOTHING = "nothing"
    FENCE = "collectors put no fence into the log"
    ROOTS = "collectors take no part of an open group for a root"
    WHOLE = "the last part does not carry the union"
    HEED = "ranks do not heed a fence they see"


class Item(NamedTuple):
    """One slot: `what` is part, abort or fence; the rest as far as it applies."""

    what: str
    rank: int = 0
    seen: int = 0
    pack: str = ""
    whole: bool = False


class Rank(NamedTuple):
    """A rank: it has chosen its pack when `looking`, has looked at `slots` slots when `writing`."""

    phase: str = "choosing"
    seen: int = 0
    pack: str = ""
    slots: int = 0
    whole: bool = False
    tries: int = 0


class State(NamedTuple):
    """The log, the packs that are there, how many epochs are published, the ranks, the collectors."""

    log: tuple[Item, ...]
    packs: frozenset[str]
    epochs: int
    ranks: tuple[Rank, ...]
    collectors: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Status:
    """What the replay says of the group: open, aborted or complete; the packs it needs."""

    word: str
    packs: frozenset[str]
    fence: int
    missing: frozenset[int]


class Model:
    """The system of `ranks` ranks and `collectors` collectors."""

    def __init__(self, ranks: int, collectors: int, wrong: Wrong, abort: bool) -> None:
        self.ranks = ranks
        self.wrong = wrong
        self.abort = abort
        self.start = State((), frozenset({SHARED}), 0, (Rank(),) * ranks, (("looking", 0),) * collectors)
        self.status = cache(self._status)

    def moves(self, state: State) -> Iterator[State]:
        status = self.status(state.log)
        for number, rank in enumerate(state.ranks):
            yield from self._rank(state, status, number, rank)
        if self.abort and status.word == "open" and len(status.missing) < self.ranks:  # before a part it means nothing
            yield state._replace(log=(*state.log, Item("abort")))
        for number, (phase, epoch) in enumerate(state.collectors):
            yield self._collector(state, status, number, phase, epoch)

    def broken(self, state: State) -> str:
        status = self.status(state.log)
        if status.word == "complete" and not status.packs <= state.packs:
            return "a version refers to a pack that was deleted"
        if all(rank.phase == "done" for rank in state.ranks) and status.word == "open":
            return "every rank is done, there is no version"
        return ""

    def _rank(self, state: State, status: Status, number: int, rank: Rank) -> Iterator[State]:
        def now(after: Rank, **more: object) -> State:
            ranks = (*state.ranks[:number], after, *state.ranks[number + 1 :])
            return state._replace(ranks=ranks, **more)  # type: ignore[arg-type]

        if rank.phase == "choosing" and rank.tries < TRIES:
            fresh = f"own {number}.{rank.tries}"
            usable = not state.epochs and SHARED in state.packs
            chosen = rank._replace(phase="looking", seen=state.epochs, pack=SHARED if usable else fresh)
            yield now(chosen, packs=state.packs if usable else state.packs | {fresh})
        elif rank.phase == "looking":
            if status.word == "aborted":
                yield now(Rank("done"))
            elif status.fence > rank.seen and self.wrong is not Wrong.HEED:
                yield now(Rank("choosing", tries=rank.tries + 1))
            else:
                whole = status.missing == {number} and self.wrong is not Wrong.WHOLE
                yield now(rank._replace(phase="writing", slots=len(state.log), whole=whole))
        elif rank.phase == "writing":
            if len(state.log) != rank.slots:
                yield now(rank._replace(phase="looking", slots=0, whole=False))  # the slot is somebody else's
            else:
                item = Item("part", number, rank.seen, rank.pack, rank.whole)
                yield now(Rank("done"), log=(*state.log, item))

    def _collector(self, state: State, status: Status, number: int, phase: str, epoch: int) -> State:
        def now(phase: str, epoch: int = 0, **more: object) -> State:
            collectors = (*state.collectors[:number], (phase, epoch), *state.collectors[number + 1 :])
            return state._replace(collectors=collectors, **more)  # type: ignore[arg-type]

        live = status.packs if status.word == "complete" or self.wrong is not Wrong.ROOTS else frozenset()
        if phase == "looking":
            if SHARED in state.packs - live and state.epochs < EPOCHS:
                return now("fencing", state.epochs + 1, epochs=state.epochs + 1)
            return now("done")
        if phase == "fencing":
            fence = () if self.wrong is Wrong.FENCE else (Item("fence", seen=epoch),)
            return now("looking again", epoch, log=state.log + fence)
        if phase == "looking again":
            return now("done") if SHARED in live else now("deleting", epoch)
        return now("done", packs=state.packs - {SHARED} if phase == "deleting" else state.packs)

    def _status(self, log: tuple[Item, ...]) -> Status:
        history = History(ArtifactKey("p", "n")).apply(
            [_slot(0, Item("create")), *(_slot(n, item, self.ranks) for n, item in enumerate(log, 1))]
        )
        group = history.groups.get(GROUP)
        if group is None:
            return Status("open", frozenset(), history.fence, frozenset(range(self.ranks)))
        packs = frozenset(part.description for part in group.parts.values())
        if group.version is not None:
            return Status("complete", packs, history.fence, frozenset())
        word = "open" if group.open else "aborted"
        return Status(word, packs if group.open else frozenset(), history.fence, frozenset(group.missing))


def _slot(number: int, item: Item, ranks: int = 1) -> Slot:
    """Return a real entry; `description` carries the pack that stands for a part's bytes."""
    head = {"txn": f"t{number}", "prev": bytes(32), "gc_seen": item.seen}
    entry: kinds.LogEntry
    if item.what == "create":
        entry = kinds.Create(**head, type="model")
    elif item.what == "fence":
        entry = kinds.Fence(txn=f"t{number}", prev=bytes(32), epoch=item.seen)
    elif item.what == "abort":
        entry = kinds.Abort(**head, group=GROUP, reason="somebody said so")
    else:
        facts = _content(f"{item.rank} {item.pack}")
        whole = {"whole": kinds.Whole(**_content("union"))} if item.whole else {}
        entry = kinds.Part(
            **head, **facts, **whole, group=GROUP, index=item.rank, of=ranks, description=item.pack
        )  # fmt: skip
    return Slot(number, bytes(32), entry)


def _content(word: str) -> dict[str, object]:
    digest = hash_bytes(word.encode())
    facts = {"manifest": manifest_key(digest, "t"), "manifest_hash": digest, "manifest_size": 1, "digest": digest}
    return facts | {"entries": 1, "files": 1, "size": 1}


def run(ranks: int, collectors: int, wrong: Wrong = Wrong.NOTHING, abort: bool = True) -> Explored:
    model = Model(ranks, collectors, wrong, abort)
    found = explore(model.start, model.moves, model.broken)
    print(f"\n{ranks} ranks, {collectors} collectors, left out: {wrong}, abort={abort}: {found}")
    return found


@pytest.mark.parametrize(("ranks", "collectors"), [(2, 1), (2, 2), (3, 1)])
def test_parts_collections_and_aborts_in_any_order(ranks: int, collectors: int) -> None:
    assert run(ranks, collectors).problem == ""


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("abort", [False, True])
def test_three_ranks_and_two_collectors(abort: bool) -> None:
    assert run(3, 2, abort=abort).problem == ""


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (Wrong.FENCE, "refers to a pack that was deleted"),
        (Wrong.ROOTS, "refers to a pack that was deleted"),
        (Wrong.WHOLE, "there is no version"),
        (Wrong.HEED, "there is no version"),
    ],
)
def test_what_is_left_out_is_missed(wrong: Wrong, problem: str) -> None:
    assert problem in run(2, 1, wrong, abort=False).problem
