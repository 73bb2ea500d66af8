"""What a log means: replay, rule by rule; the golden bucket; two nodes that make one artifact."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import Conflict, Corrupt, NotFound
from syncd.format import log as kinds
from syncd.format.keys import manifest_key
from syncd.jobs.states import Kind, State
from syncd.journal.jobs import JobRow, UploadSpec
from syncd.journal.packs import PreparedRow
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.log import Slot
from syncd.store.memory import MemoryStore
from syncd.upload.commit import CommitStage
from tests.kit.repo_kit import InstantClock, open_repository

GOLDEN = Path(__file__).parent.parent / "golden" / "v1" / "bucket"
KEY = ArtifactKey("p", "n")
CONTENT = [bytes([n]) * 32 for n in range(4)]


def commit(content: int, **more: Any) -> dict[str, Any]:
    digest = CONTENT[content]
    facts = {"manifest": manifest_key(digest, "t"), "manifest_hash": digest, "manifest_size": 1, "digest": digest}
    return {"kind": kinds.Commit, **facts, "entries": 1, "files": 1, "size": content, **more}


def link(content: int, **more: Any) -> dict[str, Any]:
    source = {"source_project": "p", "source_name": "other", "source_version": 3}
    return commit(content, **source, **more) | {"kind": kinds.Link}


def rebase(content: int) -> dict[str, Any]:
    return commit(content, version=0, manifest=manifest_key(CONTENT[content], "moved")) | {"kind": kinds.Rebase}


def of(kind: type[Any], **facts: Any) -> dict[str, Any]:
    return {"kind": kind, **facts}


CREATE = of(kinds.Create, type="model")


def slots(*entries: dict[str, Any]) -> list[Slot]:
    made = []
    for number, facts in enumerate(entries):
        rest = dict(facts)
        kind = rest.pop("kind")
        entry = kind(**{"txn": f"t{number}", "prev": bytes(32), **rest})
        made.append(Slot(number, bytes([number]) * 32, entry))
    return made


def replay(*entries: dict[str, Any]) -> History:
    return History(KEY).apply(slots(CREATE, *entries))


def state(history: History) -> tuple[Any, ...]:
    versions = [(v.digest[0], v.deleted, v.tags, v.description, v.metadata) for v in history.versions]
    return history.type, versions, history.aliases, history.outcomes, history.groups, history.fence


def summary(history: History) -> tuple[list[tuple[int, bool]], dict[str, int]]:
    return [(v.digest[0], v.deleted) for v in history.versions], history.aliases


def part(content: int, rank: int, ranks: int = 2, **more: Any) -> dict[str, Any]:
    return commit(content, group="g", index=rank, of=ranks, **more) | {"kind": kinds.Part}


def whole(content: int) -> kinds.Whole:
    facts = {name: value for name, value in commit(content).items() if name != "kind"}
    return kinds.Whole(**facts)


V0, V1 = commit(0, aliases=("best",)), commit(1)
LAST = part(1, 1, whole=whole(2), aliases=("b",))
RULES: list[tuple[Any, ...]] = [
    ("a commit is the next version and takes its aliases", [V0, V1], [(0, False), (1, False)], {"best": 0}),
    ("an alias moves", [V0, commit(1, aliases=("best",))], [(0, False), (1, False)], {"best": 1}),
    ("the same content is no new version", [V0, commit(0, aliases=("again",))], [(0, False)], {"best": 0, "again": 0}),
    ("older content is a new version", [V0, V1, commit(0)], [(0, False), (1, False), (0, False)], {"best": 0}),
    ("the newest *undeleted* is compared", [V0, V1, of(kinds.Delete, version=1), commit(0)],
     [(0, False), (1, True)], {"best": 0}),
    ("deleted content comes back as a new version", [V0, of(kinds.Delete, version=0), commit(0)],
     [(0, True), (0, False)], {}),
    ("the first of a transaction counts", [V0, commit(1, txn="t1")], [(0, False)], {"best": 0}),
    ("deleting takes the aliases", [V0, of(kinds.Delete, version=0)], [(0, True)], {}),
    ("undeleting does not bring them back", [V0, of(kinds.Delete, version=0), of(kinds.Undelete, version=0)],
     [(0, False)], {}),
    ("an aliased version may be spared", [V0, of(kinds.Delete, version=0, unless_aliased=True)],
     [(0, False)], {"best": 0}),
    ("latest is never stored", [commit(0, aliases=("latest",)), of(kinds.Alias, set={"latest": 0})], [(0, False)], {}),
    ("drop, then set", [V0, V1, of(kinds.Alias, drop=("best",), set={"new": 1})], [(0, False), (1, False)], {"new": 1}),
    ("a swap whose expectation fails does nothing",
     [V0, V1, of(kinds.Alias, set={"best": 1}, expect={"best": 1})], [(0, False), (1, False)], {"best": 0}),
    ("a swap that expects no alias", [V0, of(kinds.Alias, set={"b": 0}, expect={"b": None})],
     [(0, False)], {"best": 0, "b": 0}),
    ("an alias to what is not there is passed over", [V0, of(kinds.Alias, set={"b": 7})], [(0, False)], {"best": 0}),
    ("what was written behind a fence unseen counts for nothing, its id neither",
     [of(kinds.Fence, epoch=2), commit(0, txn="x", gc_seen=1), commit(1, txn="x", gc_seen=2)], [(1, False)], {}),
    ("a version brought back behind a fence unseen stays deleted",
     [V0, of(kinds.Delete, version=0), of(kinds.Fence, epoch=1), of(kinds.Undelete, version=0)], [(0, True)], {}),
    ("a log begins behind the fences its creation has seen",
     [commit(0), commit(1, gc_seen=3)], [(1, False)], {}, of(kinds.Create, type="model", gc_seen=3)),
    ("parts are no version before the last", [part(0, 0, aliases=("a",))], [], {}),
    ("the last part brings the whole, with everybody's aliases",
     [part(0, 0, aliases=("a",)), LAST], [(2, False)], {"a": 0, "b": 0}),
    ("ranks come in any order", [LAST | {"whole": msgspec.UNSET}, part(0, 0, whole=whole(2))], [(2, False)], {"b": 0}),
    ("one part for all ranks is the whole", [part(1, 0, 3, also=(1, 2))], [(1, False)], {}),
    ("a rank that comes again counts once", [part(0, 0), part(3, 0, aliases=("x",)), LAST], [(2, False)], {"b": 0}),
    ("who counts other ranks is not heard", [part(0, 0), part(1, 1, 3)], [], {}),
    ("a last part that does not say what the whole is has no effect", [part(0, 0), part(1, 1), LAST],
     [(2, False)], {"b": 0}),
    ("an abort before the last part ends the group", [part(0, 0), of(kinds.Abort, group="g"), LAST], [], {}),
    ("an abort after the last part is too late", [part(0, 0), LAST, of(kinds.Abort, group="g")],
     [(2, False)], {"b": 0}),
    ("a part behind a fence unseen does not count",
     [part(0, 0), of(kinds.Fence, epoch=1), LAST, LAST | {"gc_seen": 1, "whole": whole(3)}], [(3, False)], {"b": 0}),
    ("a group of known content is no new version", [commit(2), part(0, 0), LAST], [(2, False)], {"b": 0}),
    ("a link is a version, an unlink takes it", [link(0, aliases=("l",)), V1, of(kinds.Unlink, version=0)],
     [(0, True), (1, False)], {}),
    ("an unlink of an own version has no effect", [V0, of(kinds.Unlink, version=0)], [(0, False)], {"best": 0}),
    ("a rebase changes no content", [V0, rebase(0), rebase(1)], [(0, False)], {"best": 0}),
    ("retention names nothing", [V0, of(kinds.Ttl, seconds=5), of(kinds.Keep, version=0),
     of(kinds.Rule, name="r")], [(0, False)], {"best": 0}),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=[rule[0] for rule in RULES])
def test_a_log_means(rule: tuple[Any, ...]) -> None:
    _, entries, versions, aliases, *create = rule
    history = History(KEY).apply(slots(*(create or [CREATE]), *entries))
    assert summary(history) == (versions, aliases)


def test_a_group_tells_who_is_missing_and_why_it_ended() -> None:
    history = replay(part(0, 1, 4, also=(3,)))
    assert (history.groups["g"].missing, history.groups["g"].open) == ([0, 2], True)
    aborted = replay(part(0, 1, 4), of(kinds.Abort, group="g", reason="rank 2 died"))
    assert (aborted.groups["g"].open, aborted.groups["g"].aborted) == (False, "rank 2 died")


def test_a_rebase_changes_where_a_version_lies_and_nothing_else() -> None:
    before, after = replay(V0).versions[0], replay(V0, rebase(0), rebase(1)).versions[0]
    assert after.manifest == manifest_key(CONTENT[0], "moved")
    assert dataclasses.replace(after, manifest=before.manifest) == before


@pytest.mark.parametrize(
    "entries",
    [
        [of(kinds.Create, type="other")],
        [of(kinds.Delete, version=0)],
        [V0, of(kinds.Undelete, version=1)],
        [V0, of(kinds.Tag, version=1, add=("a",))],
        [V0, of(kinds.Describe, version=3, description="x")],
        [V0, of(kinds.Keep, version=1)],
        [V0, of(kinds.Unlink, version=1)],
        [of(kinds.Register, project="p", name="n", type="t")],
    ],
)
def test_an_entry_that_cannot_be_stops_the_replay_and_names_its_object(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(Corrupt, match=r"a/p/n/log/0{19}\d"):
        replay(*entries)


def test_a_log_that_does_not_begin_with_its_type_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="create"):
        History(KEY).apply(slots(commit(0)))


def test_tags_and_words_of_a_version_change_and_its_content_does_not() -> None:
    words = of(kinds.Describe, version=0, description="new", metadata={"a": 1})
    history = replay(commit(0, tags=("x", "y")), of(kinds.Tag, version=0, add=("z", "x"), drop=("x",)), words)
    version = history.versions[0]
    assert (version.tags, version.description, version.metadata) == (("y", "z", "x"), "new", {"a": 1})
    assert version.digest == CONTENT[0]


def test_names_resolve_to_versions_or_say_what_there_is() -> None:
    history = replay(V0, V1, of(kinds.Delete, version=1))
    assert [history.resolve(ref).number for ref in ("latest", "v0", "best")] == [0, 0, 0]
    assert history.aliases_of(0) == ["latest", "best"]
    with pytest.raises(NotFound, match="deleted"):
        history.resolve("v1")
    assert history.resolve("v1", deleted_too=True).number == 1
    for ref in ("v2", "nope"):
        with pytest.raises(NotFound) as caught:
            history.resolve(ref)
        assert caught.value.why == "there is 1 version, v0; aliases: latest, best"
    with pytest.raises(NotFound) as caught:
        replay(V0, V1).resolve("nope")
    assert caught.value.why.startswith("there are 2 versions up to v1; aliases: latest, ")
    with pytest.raises(NotFound):
        replay().resolve("latest")


ENTRY = st.one_of(
    st.builds(
        commit,
        st.integers(0, 3),
        aliases=st.lists(st.sampled_from(["a", "b", "latest"]), max_size=2).map(tuple),
        txn=st.sampled_from(["x", "y", "z", "w"]),
        gc_seen=st.integers(0, 2),
    ),
    st.builds(
        lambda rank, content, full, seen: part(
            content, rank, gc_seen=seen, txn=f"p{rank}{content}", **({"whole": whole(content)} if full else {})
        ),
        st.integers(0, 1),
        st.integers(0, 3),
        st.booleans(),
        st.integers(0, 2),
    ),
    st.builds(lambda v: of(kinds.Delete, version=v), st.integers(0, 2)),
    st.builds(lambda v: of(kinds.Undelete, version=v), st.integers(0, 2)),
    st.builds(lambda v: of(kinds.Alias, set={"a": v}), st.integers(0, 3)),
    st.builds(lambda e: of(kinds.Fence, epoch=e), st.integers(1, 2)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ENTRY, max_size=12), st.lists(st.integers(0, 13), max_size=4))
def test_replay_in_pieces_is_replay_at_once(entries: list[dict[str, Any]], cuts: list[int]) -> None:
    made = slots(CREATE, *entries)
    whole, pieces = History(KEY), History(KEY)
    try:
        whole.apply(made)
    except Corrupt:
        with pytest.raises(Corrupt):
            for slot in made:
                pieces.apply([slot])
        return
    for end in [*sorted(cuts), len(made)]:
        pieces.apply(made[:end])
    assert state(pieces) == state(whole)


# --- repositories ------------------------------------------------------------------------------------------


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane("test", 2)
    yield lane
    lane.close()


async def golden_store() -> MemoryStore:
    store = MemoryStore()
    for path in GOLDEN.rglob("*"):
        if path.is_file():
            await store.put(str(path.relative_to(GOLDEN)), [path.read_bytes()])
    return store


async def test_the_golden_bucket_replays_to_what_it_was_when_format_1_was_released(lane: Lane) -> None:
    repository = await open_repository(await golden_store(), lane)
    history = await repository.history(ArtifactKey("demo project", "weights"))
    assert (len(history.versions), history.aliases, history.type) == (3, {"old": 0}, "model")
    newest = history.newest()
    assert newest is not None
    assert newest.number == 2
    manifest = await repository.manifests.read(newest)
    paths = [entry.path async for entry in repository.manifests.entries(manifest)]
    assert (len(paths), paths[0]) == (manifest.entries, b"caf\xe9 \xff\n.bin")
    assert [e.path async for e in repository.manifests.entries(manifest, b"empty")] == paths[
        paths.index(b"empty") + 1 :
    ]
    assert [item.key.name for item in await repository.artifacts()] == ["ranks", "weights"]


async def test_the_golden_log_of_ranks_replays_to_versions_made_by_parts_links_and_rebases(lane: Lane) -> None:
    repository = await open_repository(await golden_store(), lane)
    history = await repository.history(ArtifactKey("demo project", "ranks"))
    assert [(v.number, v.deleted, v.source is not None) for v in history.versions] == [
        (0, False, False), (1, True, True), (2, False, False),
    ]  # fmt: skip
    assert (history.groups["step 100"].version, history.groups["step 200"].aborted) == (0, "rank 1 died")
    assert history.aliases == {"whole": 0}
    union = await repository.manifests.read(history.versions[0])
    assert b"part-0.bin" in [entry.path async for entry in repository.manifests.entries(union)]
    assert history.versions[2].manifest.endswith(".tx-rebase")


async def committed(store: MemoryStore, lane: Lane, txn: str, type_: str, content: int) -> int:
    repository = await open_repository(store, lane)
    spec = UploadSpec(txn=txn, type=type_)
    row = JobRow(txn, Kind.UPLOAD, State.COMMITTING, "r", txn, KEY.project, KEY.name, spec, 0, 0)
    ready = PreparedRow(manifest_key(CONTENT[content], txn), CONTENT[content], 1, CONTENT[content], 1, 1, 1)
    return (await CommitStage(repository, InstantClock(), txn).commit(row, spec, ready, 0)).version


@pytest.mark.parametrize("round_", range(5))
async def test_of_two_nodes_that_make_one_name_with_two_types_exactly_one_wins(lane: Lane, round_: int) -> None:
    store = MemoryStore()
    await open_repository(store, lane)
    outcomes = await asyncio.gather(
        *(committed(store, lane, f"t{n}", kind, n) for n, kind in enumerate(["model", "dataset"])),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "int"]
    refused = next(outcome for outcome in outcomes if isinstance(outcome, Conflict))
    assert "already exists with type" in refused.what
    history = await (await open_repository(store, lane)).history(KEY)
    assert len(history.versions) == 1


async def test_a_commit_repeated_after_its_answer_was_lost_gives_the_same_version(lane: Lane) -> None:
    store = MemoryStore()
    assert [await committed(store, lane, "t0", "model", 0) for _ in range(3)] == [0, 0, 0]
    assert await committed(store, lane, "t1", "model", 1) == 1
    assert await committed(store, lane, "t0", "model", 0) == 0
    registry = await (await open_repository(store, lane)).registry().refresh()
    assert len(registry) == 1
