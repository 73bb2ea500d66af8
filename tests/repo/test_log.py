"""Appending when answers are lost, and finding out when history was taken back."""

from __future__ import annotations

import asyncio
import random

import pytest

from syncd.errors import Conflict, Corrupt, RemoteRefused, RemoteUnavailable
from syncd.format.keys import slot_key
from syncd.format.log import MAX_ENTRY, decode_entry
from syncd.store.memory import MemoryStore
from tests.kit.repo_kit import LOG, DictMemory, append, open_log, start_entry
from tests.kit.stores import FlakyStore, Recording, flip_bit, lose_reply, nth, on, refuse, seeded


async def txns(store: MemoryStore) -> list[str]:
    """Read the log as a stranger with nothing remembered does."""
    return [slot.entry.txn for slot in await open_log(store).refresh()]


async def test_an_entry_whose_answer_was_lost_is_found_and_not_written_again() -> None:
    store = MemoryStore()
    log = open_log(FlakyStore(store, nth("create", 1, lose_reply())))
    slot = await append(log, "t1")
    assert slot is not None
    assert slot.number == 0
    assert await txns(store) == ["t1"]


async def test_ones_own_entry_reported_as_somebody_elses_counts_as_done() -> None:
    store = MemoryStore()
    await append(open_log(FlakyStore(store, nth("create", 1, lose_reply(Conflict("there is one already"))))), "t1")
    assert await txns(store) == ["t1"]


async def test_a_conflict_though_nothing_is_stored_is_tried_again_with_the_same_bytes() -> None:
    store = Recording(MemoryStore())
    seen: list[bytes] = []

    class Noting(FlakyStore):
        async def create(self, key: str, data: object) -> None:
            seen.append(bytes(data))  # type: ignore[call-overload]
            await super().create(key, data)  # type: ignore[arg-type]

    log = open_log(Noting(store, nth("create", 1, refuse(Conflict("409 ConditionalRequestConflict")))))
    slot = await append(log, "t1")
    assert slot is not None
    assert (slot.number, len(seen), seen[0]) == (0, 2, seen[1])


async def test_a_slot_that_somebody_else_took_is_applied_and_the_next_one_used() -> None:
    store = MemoryStore()
    one, two = open_log(store, seed=1), open_log(store, seed=2)
    await one.refresh()
    await two.refresh()
    await append(one, "t1")
    slot = await append(two, "t2")
    assert slot is not None
    assert slot.number == 1
    assert [s.entry.txn for s in two.slots] == ["t1", "t2"]


async def test_a_put_that_lands_long_after_it_was_given_up_is_found_at_the_next_try() -> None:
    store = MemoryStore()
    late: list[tuple[str, bytes]] = []

    class Late(MemoryStore):
        """Keeps creates back; what is read is the shared store."""

        get = store.get

        async def create(self, key: str, data: object) -> None:
            late.append((key, bytes(data)))  # type: ignore[call-overload]
            raise RemoteUnavailable("no answer")

    memory = DictMemory()
    with pytest.raises(RemoteUnavailable, match="unknown"):
        await append(open_log(Late(), memory), "t1")
    await store.create(*late[0])  # the first try lands now
    log = open_log(store, memory)  # the daemon was restarted meanwhile
    assert (await append(log, "t1")) is not None
    for key, data in late[1:]:  # and the other tries
        with pytest.raises(Conflict):
            await store.create(key, data)
    assert await txns(store) == ["t1"]


async def test_what_is_refused_says_so_and_is_not_hammered() -> None:
    store = FlakyStore(MemoryStore(), on("create", "r/", refuse(RemoteRefused("read-only"))))
    asked = Recording(store)
    with pytest.raises(RemoteRefused, match="slot 0"):
        await append(open_log(asked), "t1")
    assert len(asked.of("create")) == 1


async def test_what_build_raises_ends_the_append_with_nothing_written() -> None:
    store = MemoryStore()

    def build(slots: object, prev: bytes) -> None:
        raise Conflict("another type")

    with pytest.raises(Conflict, match="another type"):
        await open_log(store).append("t1", build)
    assert await txns(store) == []


async def test_build_may_want_no_entry() -> None:
    store = MemoryStore()
    log = open_log(store)
    await append(log, "t1")
    assert await log.append("t2", lambda slots, prev: None if slots else start_entry("t2", prev)) is None
    assert await txns(store) == ["t1"]


@pytest.mark.parametrize("seed", range(4))
async def test_two_appenders_race_fifty_entries_each_without_gap_or_double(seed: int) -> None:
    store = MemoryStore()
    faults = [lose_reply(), refuse(), lose_reply(Conflict("exists")), refuse(Conflict("409"))]

    async def appender(name: str, rng: random.Random) -> None:
        log = open_log(FlakyStore(store, seeded(rng, 0.2, faults)), seed=rng.getrandbits(32))
        for number in range(50):
            while True:
                try:
                    await append(log, f"{name}-{number}")
                    break
                except (RemoteUnavailable, Conflict):
                    continue

    async with asyncio.TaskGroup() as tasks:
        for name in ("one", "two"):
            tasks.create_task(appender(name, random.Random(f"{seed}{name}")))
    found = await txns(store)
    assert sorted(found) == sorted(f"{name}-{number}" for name in ("one", "two") for number in range(50))
    assert [t for t in found if t.startswith("one")] == [f"one-{number}" for number in range(50)]


async def test_many_tasks_of_one_node_take_turns() -> None:
    store = MemoryStore()
    log = open_log(store)
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(append(log, f"t{number}"))
    assert len(await txns(store)) == 20
    assert log.conflicts == 0


async def filled(store: MemoryStore, memory: DictMemory, entries: int = 5) -> None:
    log = open_log(store, memory)
    for number in range(entries):
        await append(log, f"t{number}")


async def test_a_log_that_became_shorter_is_found_out_by_who_saw_it_longer() -> None:
    store, memory = MemoryStore(), DictMemory()
    await filled(store, memory)
    await store.delete(slot_key(LOG, 4))
    with pytest.raises(Corrupt, match=f"shorter: {slot_key(LOG, 4)}"):
        await open_log(store, memory).refresh()


async def test_a_log_that_was_rewritten_is_found_out_by_who_saw_the_other() -> None:
    store, memory = MemoryStore(), DictMemory()
    await filled(store, memory)
    other, theirs = MemoryStore(), DictMemory()
    await filled(other, theirs, 4)
    await append(open_log(other, theirs), "forked")
    for slot in range(5):
        await store.put(slot_key(LOG, slot), [await other.get(slot_key(LOG, slot))])
    with pytest.raises(Corrupt, match=f"rewritten: {slot_key(LOG, 4)}"):
        await open_log(store, memory).refresh()


@pytest.mark.parametrize("slot", range(3))
async def test_a_bit_flip_in_any_slot_is_found_and_named(slot: int) -> None:
    store = MemoryStore()
    await filled(store, DictMemory(), 3)
    key = slot_key(LOG, slot)
    size = (await store.stat(key)).size
    rng = random.Random(slot)
    for bit in rng.sample(range(size * 8), 40):
        damaged = FlakyStore(store, on("get", key, flip_bit(bit)))
        with pytest.raises(Corrupt, match=key):
            await open_log(damaged).refresh()


async def test_slots_that_changed_places_do_not_chain() -> None:
    store = MemoryStore()
    await filled(store, DictMemory(), 3)
    one, two = [await store.get(slot_key(LOG, slot)) for slot in (1, 2)]
    await store.put(slot_key(LOG, 1), [two])
    await store.put(slot_key(LOG, 2), [one])
    with pytest.raises(Corrupt, match=f"{slot_key(LOG, 1)} does not follow"):
        await open_log(store).refresh()


async def test_entries_seen_are_not_fetched_again_after_a_restart() -> None:
    store, memory = MemoryStore(), DictMemory()
    await filled(store, memory, 20)
    asked = Recording(store)
    assert len(await open_log(asked, memory).refresh()) == 20
    assert [call.key for call in asked.of("get")] == [slot_key(LOG, 19), slot_key(LOG, 20)]


async def test_a_damaged_memory_costs_fetching_again_and_nothing_else() -> None:
    store, memory = MemoryStore(), DictMemory()
    await filled(store, memory, 6)
    (entries,) = memory.entries.values()
    entries[3] = b"nonsense"
    assert len(await open_log(store, memory).refresh()) == 6


async def test_an_object_that_is_no_entry_is_not_read_to_its_end() -> None:
    store = MemoryStore()
    await store.put(slot_key(LOG, 0), [bytes(4 * MAX_ENTRY)])
    asked = Recording(store)

    class Sized(FlakyStore):
        async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            data = await super().get(key, offset, length)
            assert len(data) <= MAX_ENTRY + 1
            return data

    with pytest.raises(Corrupt):
        await open_log(Sized(asked)).refresh()


async def test_an_append_given_up_in_the_middle_leaves_the_log_usable() -> None:
    store = MemoryStore()
    holding = asyncio.Event()

    class Stuck(FlakyStore):
        async def create(self, key: str, data: object) -> None:
            await super().create(key, data)  # type: ignore[arg-type]
            if not holding.is_set():
                holding.set()
                await asyncio.Event().wait()

    log = open_log(Stuck(store))
    task = asyncio.ensure_future(append(log, "t1"))
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await append(log, "t1")) is not None
    await append(log, "t2")
    assert await txns(store) == ["t1", "t2"]
    assert decode_entry(await store.get(slot_key(LOG, 1))).txn == "t2"
