"""Every interleaving of writers and collections on one artifact, with the real rules of replay.

Nobody has a clock, and anybody may stall for ever between two steps or die there (a search of all interleavings has
those in it). Pack "P" is stored and needed by nobody; writers know of it and like to refer to it. The law: a version
that is there never refers to a pack that is not. `Rules` leaves single rules out; each such variant must break the law.

What is real: `History` and `Registry` replay the logs. What is modelled: steps of writers (upload/run.py, commit.py)
and of collections (collect/fence.py), each as one linearizable read or put-if-absent; deletion, which anybody may do at
any time once an epoch has ended.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from syncd.format.digest import hash_bytes
from syncd.format.log import Commit, Create, Fence, LogEntry, Register
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.log import Slot
from syncd.repo.registry import Registry

KEY = ArtifactKey("p", "n")
EPOCHS = 2


@dataclass(frozen=True)
class Rules:
    """The rules that hold; `tries` of a writer bound the search."""

    fence: bool = True
    registry_fence: bool = True
    first_fence: bool = True
    create_has_seen: bool = True
    slot_0: bool = True
    slot_0_says_registry: bool = True
    tries: int = 3
    second_look: bool = True
    recheck_instead: bool = False
    new_names: bool = True


class Entry(NamedTuple):
    """One entry of a log: kind, transaction, number (the epoch of a fence, else gc_seen), packs of a commit."""

    kind: str
    txn: str
    number: int
    packs: frozenset[str] = frozenset()


class Epoch(NamedTuple):
    condemned: frozenset[str]
    rescued: frozenset[str] | None


class Writer(NamedTuple):
    at: str
    seen: int = 0
    packs: frozenset[str] = frozenset()
    slot: int = 0
    tries: int = 0


class Collection(NamedTuple):
    at: str
    epoch: int = 0
    packs: frozenset[str] = frozenset()


class State(NamedTuple):
    log: tuple[Entry, ...]
    registry: tuple[Entry, ...]
    stored: frozenset[str]
    epochs: tuple[Epoch, ...]
    writers: tuple[Writer, ...]
    collections: tuple[Collection, ...]


def slots(entries: tuple[Entry, ...]) -> list[Slot]:
    return [Slot(number, b"", _real(entry)) for number, entry in enumerate(entries)]


def _real(entry: Entry) -> LogEntry:
    head = {"txn": entry.txn, "prev": bytes(32)}
    match entry.kind:
        case "create":
            return Create(**head, type="t", gc_seen=entry.number)
        case "fence":
            return Fence(**head, epoch=entry.number)
        case "register":
            return Register(**head, project=KEY.project, name=KEY.name, type="t", gc_seen=entry.number)
    name = " ".join(sorted(entry.packs))
    return Commit(
        **head, gc_seen=entry.number, manifest=name, manifest_hash=b"", manifest_size=0, entries=0, files=0, size=0,
        digest=hash_bytes(entry.txn.encode()),
    )  # fmt: skip


@functools.cache
def replayed(log: tuple[Entry, ...], first_fence: bool) -> tuple[int, frozenset[str]]:
    """Return (fence, packs that versions need) as the real replay has it."""
    if not first_fence and log:
        log = (log[0]._replace(number=0), *log[1:])
    history = History(KEY).apply(slots(log))
    return history.fence, frozenset(pack for version in history.versions for pack in version.manifest.split())


@functools.cache
def registered(registry: tuple[Entry, ...]) -> tuple[int, bool]:
    """Return (fence, whether the artifact is there) as the real replay has it."""
    state = Registry().apply(slots(registry))
    return state.fence, KEY in state.artifacts


def condemned(state: State) -> frozenset[str]:
    return frozenset(pack for epoch in state.epochs for pack in epoch.condemned - (epoch.rescued or frozenset()))


def steps(state: State, rules: Rules) -> Iterator[State]:
    """Yield every state that one step leads to."""
    for number, writer in enumerate(state.writers):
        for moved, change in write(state, writer, f"w{number}", rules):
            writers = (*state.writers[:number], moved, *state.writers[number + 1 :])
            yield state._replace(writers=writers, **change)
    for number, collection in enumerate(state.collections):
        for done, change in collect(state, collection, rules):
            collections = (*state.collections[:number], done, *state.collections[number + 1 :])
            yield state._replace(collections=collections, **change)
    for epoch in state.epochs:
        if epoch.rescued is not None:
            for pack in (epoch.condemned - epoch.rescued) & state.stored:
                yield state._replace(stored=state.stored - {pack})


def write(state: State, w: Writer, name: str, rules: Rules) -> Iterator[tuple[Writer, dict]]:
    again = Writer("choose" if w.tries + 1 < rules.tries else "given up", tries=w.tries + 1)
    match w.at:
        case "choose":
            seen = len(state.epochs)
            usable = "P" in state.stored and "P" not in condemned(state)
            own = f"{name}.{seen}" if rules.new_names else "P"
            yield Writer("put", seen, frozenset({"P" if usable else own}), 0, w.tries), {}
        case "put":
            stored = state.stored if w.packs == {"P"} and rules.new_names else state.stored | w.packs
            yield w._replace(at="look"), {"stored": stored}
        case "look":
            if not state.log:
                yield w._replace(at="register", slot=len(state.registry)), {}
            elif rules.fence and replayed(state.log, rules.first_fence)[0] > w.seen:
                yield again, {}
            else:
                yield w._replace(at="check", slot=len(state.log)), {}
        case "register":
            yield register(state, w, name, again, rules)
        case "create":
            made = state.log or (Entry("create", f"{name}-new", w.seen),)
            yield w._replace(at="look"), {"log": made}
        case "check":
            late = rules.recheck_instead and w.packs & condemned(state)
            yield (again if late else w._replace(at="append")), {}
        case "append":
            if len(state.log) == w.slot:
                entry = Entry("commit", name, w.seen, w.packs)
                yield Writer("done"), {"log": (*state.log, entry)}
            else:
                yield w._replace(at="look"), {}


def register(state: State, w: Writer, name: str, again: Writer, rules: Rules) -> tuple[Writer, dict]:
    if len(state.registry) != w.slot:
        return w._replace(slot=len(state.registry)), {}
    fence, there = registered(state.registry)
    if rules.registry_fence and fence > w.seen and (rules.create_has_seen or not there):
        return again, {}
    if there:
        return w._replace(at="create"), {}
    return w._replace(at="create"), {"registry": (*state.registry, Entry("register", f"{name}-reg", w.seen))}


def collect(state: State, c: Collection, rules: Rules) -> Iterator[tuple[Collection, dict]]:
    needed = replayed(state.log, rules.first_fence)[1]
    match c.at:
        case "look":
            packs = state.stored - needed - condemned(state)
            yield Collection("condemn" if packs else "done", packs=packs), {}
        case "condemn":
            if len(state.epochs) == EPOCHS:
                yield Collection("done"), {}
            else:
                epochs = (*state.epochs, Epoch(c.packs, None))
                yield Collection("registry", len(epochs), c.packs), {"epochs": epochs}
        case "registry":
            entry = Entry("fence", f"gc-{c.epoch}", c.epoch)
            yield c._replace(at="log"), {"registry": (*state.registry, entry)} if _fences(rules) else {}
        case "log":
            yield c._replace(at="again"), _fence_log(state, c.epoch, rules)
        case "again":
            yield c._replace(at="end", packs=needed if rules.second_look else frozenset()), {}
        case "end":
            yield (
                Collection("done"),
                {
                    "epochs": tuple(_ended(epoch, c.packs) for epoch in state.epochs[: c.epoch])
                    + state.epochs[c.epoch :]
                },
            )


def _ended(epoch: Epoch, needed: frozenset[str]) -> Epoch:
    """A fence is one for every epoch before it: what others left without an end is ended too."""
    return epoch._replace(rescued=epoch.condemned & needed) if epoch.rescued is None else epoch


def _fences(rules: Rules) -> bool:
    return rules.fence and rules.registry_fence


def _fence_log(state: State, epoch: int, rules: Rules) -> dict:
    if not rules.fence or (_fences(rules) and not registered(state.registry)[1]):
        return {}
    log = state.log
    fence, there = registered(state.registry)
    if not log and rules.slot_0 and there:
        log = (Entry("create", f"gc-{epoch}-new", fence if rules.slot_0_says_registry else epoch),)
    if not log or replayed(log, rules.first_fence)[0] >= epoch:
        return {"log": log}
    return {"log": (*log, Entry("fence", f"gc-{epoch}", epoch))}


def search(
    rules: Rules, new: bool, writers: int, collections: int, begun: bool = False, most: int = 1_000_000
) -> tuple[int, State | None]:
    """Return how many states there are, and the first in which a version refers to a pack that is gone.

    Args:
        begun: the first collection has condemned "P" and its fence stands in the registry.
    """
    log = () if new else (Entry("create", "old", 0),)
    registry = () if new else (Entry("register", "old-reg", 0),)
    first = State(
        log, registry, frozenset({"P"}), (), (Writer("choose"),) * writers, (Collection("look"),) * collections
    )
    if begun:
        first = first._replace(
            registry=(*registry, Entry("fence", "gc-1", 1)),
            epochs=(Epoch(frozenset({"P"}), None),),
            collections=(Collection("log", 1, frozenset({"P"})), *first.collections[1:]),
        )
    seen, coming = {first}, deque([first])
    while coming:
        state = coming.popleft()
        if not replayed(state.log, rules.first_fence)[1] <= state.stored:
            return len(seen), state
        for after in steps(state, rules):
            if after not in seen:
                seen.add(after)
                coming.append(after)
        assert len(seen) < most, "too large a search"
    return len(seen), None


SIZES = {"one writer, two collections": (1, 2), "two writers, one collection": (2, 1)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("new", [False, True], ids=["artifact is there", "artifact is new"])
def test_no_interleaving_takes_away_what_a_version_needs(size, new):
    states, bad = search(Rules(), new, *SIZES[size])
    assert bad is None
    assert states > 1_000


def test_two_writers_beside_two_collections():
    """The first of them stalls between the registry's fence and the log of an artifact registered meanwhile."""
    states, bad = search(Rules(tries=1), True, 2, 2, begun=True)
    assert bad is None
    assert states > 10_000


@pytest.mark.parametrize(
    ("wrong", "new", "size"),
    [
        (Rules(fence=False, first_fence=False), False, (1, 1)),
        (Rules(fence=False, first_fence=False, recheck_instead=True), False, (1, 1)),
        (Rules(second_look=False), False, (1, 1)),
        (Rules(new_names=False), False, (1, 2)),
        (Rules(registry_fence=False), True, (1, 1)),
        (Rules(slot_0=False), True, (1, 1)),
        (Rules(create_has_seen=False), True, (2, 1)),
        (Rules(first_fence=False), True, (2, 1)),
        (Rules(slot_0_says_registry=False, tries=1), True, (2, 2, True)),
    ],
    ids=lambda value: ",".join(
        name for name in Rules.__dataclass_fields__ if getattr(value, name) != getattr(Rules(), name)
    ) if isinstance(value, Rules) else "",
)  # fmt: skip
def test_every_rule_is_needed(wrong, new, size):
    states, bad = search(wrong, new, *size)
    assert bad is not None, f"{states} states and no harm done"
