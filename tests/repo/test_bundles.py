"""Bundles of a log: many entries in one read, and nothing but time lost when they are wrong."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from syncd.errors import RemoteRefused
from syncd.format.bundle import BUNDLE_MAGIC, decode_bundle, encode_bundle
from syncd.format.keys import bundle_key, slot_key
from syncd.format.log import encode_entry, entry_hash, genesis
from syncd.format.seal import seal, squeeze
from syncd.repo.bundles import Bundles
from syncd.repo.log import Log
from syncd.store.memory import MemoryStore
from tests.kit.repo_kit import LOG, REPO_ID, DictMemory, InstantClock, append, open_log, start_entry
from tests.kit.stores import FlakyStore, Recording, on, refuse

COLD_LIMIT = 20


def bundled(store: object, memory: DictMemory | None = None) -> Log:
    """Return a node's view of the log of tests that reads and writes bundles."""
    bundles = Bundles(store, LOG)  # type: ignore[arg-type]
    return Log(store, memory or DictMemory(), REPO_ID, LOG, InstantClock(), random.Random(0), None, bundles)  # type: ignore[arg-type]


def chain(length: int, word: str = "t", before: list[bytes] | None = None) -> list[bytes]:
    """Return the objects of a log, or of the slots that follow `before`."""
    entries = list(before or [])
    while len(entries) < length:
        prev = entry_hash(entries[-1]) if entries else genesis(REPO_ID, LOG)
        entries.append(encode_entry(start_entry(f"{word}{len(entries)}", prev)))
    return entries


async def filled(length: int, spans: tuple[int, ...] = (100, 10_000)) -> tuple[MemoryStore, list[bytes]]:
    """Return a store that holds a log with all its bundles."""
    store, entries = MemoryStore(), chain(length)
    for slot, data in enumerate(entries):
        await store.put(slot_key(LOG, slot), [data])
    for span in spans:
        for number in range(length // span):
            body = encode_bundle(entries[number * span : (number + 1) * span])
            await store.put(bundle_key(LOG, span, number), [body])
    return store, entries


async def txns(store: object, memory: DictMemory | None = None) -> list[str]:
    return [slot.entry.txn for slot in await bundled(store, memory).refresh()]


async def test_a_log_of_ten_thousand_is_read_cold_with_a_few_requests() -> None:
    store, _ = await filled(10_000)
    asked, plain = Recording(store), Recording(store)
    found = await bundled(asked).refresh()
    assert [slot.number for slot in found] == list(range(10_000))
    assert found == await open_log(plain).refresh()
    print(f"\n10,000 slots cold: {len(plain.calls)} requests slot by slot, {len(asked.calls)} with bundles")
    assert len(asked.calls) < COLD_LIMIT
    assert not asked.of("list")


async def test_between_two_bundles_the_rest_is_read_slot_by_slot() -> None:
    store, _ = await filled(9_999)
    asked = Recording(store)
    assert len(await bundled(asked).refresh()) == 9_999
    print(f"\n9,999 slots cold: {len(asked.calls)} requests with bundles")
    assert len(asked.calls) < 350


async def test_who_is_a_little_behind_asks_for_slots_alone() -> None:
    store, entries = await filled(105)
    memory = DictMemory()
    await memory.remember(REPO_ID, LOG, 0, entries[:98])
    asked = Recording(store)
    assert len(await txns(asked, memory)) == 105
    assert [call.key for call in asked.calls] == [slot_key(LOG, slot) for slot in range(97, 106)]


async def test_who_fills_the_last_slot_writes_the_bundle() -> None:
    store, memory = MemoryStore(), DictMemory()
    log = bundled(store, memory)
    for number in range(101):
        await append(log, f"t{number}")
    entries = [await store.get(slot_key(LOG, slot)) for slot in range(100)]
    assert decode_bundle(await store.get(bundle_key(LOG, 100, 0)), 100) == entries
    asked = Recording(store)
    assert await txns(asked) == [f"t{number}" for number in range(101)]
    assert len(asked.calls) < COLD_LIMIT


async def test_a_bundle_whose_writer_died_is_written_when_the_append_is_repeated() -> None:
    store, memory = MemoryStore(), DictMemory()
    dying = bundled(FlakyStore(store, on("put", "", refuse())), memory)
    for number in range(100):
        await append(dying, f"t{number}")
    assert [info.key async for info in store.list(f"{LOG.removesuffix('/log')}/ckpt/")] == []
    await append(bundled(store, memory), "t99")
    assert len(decode_bundle(await store.get(bundle_key(LOG, 100, 0)), 100)) == 100


async def test_who_may_not_write_bundles_appends_all_the_same() -> None:
    store = MemoryStore()
    log = bundled(FlakyStore(store, on("put", "", refuse(RemoteRefused("no right")))))
    for number in range(100):
        assert await append(log, f"t{number}") is not None
    assert len(await txns(store)) == 100


def flipped(data: bytes) -> bytes:
    return data[:60] + bytes([data[60] ^ 1]) + data[61:]


def swapped(data: bytes) -> bytes:
    entries = decode_bundle(data, 100)
    return encode_bundle([*entries[:40], entries[41], entries[40], *entries[42:]])


def forked(data: bytes) -> bytes:
    """Entries that chain and never were: only the slot itself can tell."""
    return encode_bundle(chain(100, "forged", decode_bundle(data, 100)[:50]))


def overlong(data: bytes) -> bytes:
    return encode_bundle(chain(150, "more", decode_bundle(data, 100)))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "flipped": flipped,
    "swapped": swapped,
    "forked": forked,
    "flipped inside": lambda data: encode_bundle([flipped(entry) for entry in decode_bundle(data, 100)]),
    "stale": lambda data: encode_bundle(decode_bundle(data, 100)[:30]),
    "empty list": lambda data: encode_bundle([]),
    "overlong": overlong,
    "absurd length": lambda data: seal(BUNDLE_MAGIC, squeeze(b"\xff\xff\xff\xff")),
    "nothing but zeros": lambda data: seal(BUNDLE_MAGIC, squeeze(bytes(1 << 24))),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("number", [0, 1])
async def test_a_wrong_bundle_costs_nothing_but_time(damage: str, number: int) -> None:
    store, entries = await filled(250, (100,))
    key = bundle_key(LOG, 100, number)
    await store.put(key, [DAMAGES[damage](await store.get(key))])
    memory = DictMemory()
    assert await txns(store, memory) == [f"t{slot}" for slot in range(250)]
    assert memory.entries[REPO_ID, LOG] == entries, "what is remembered is what stands in the slots"


async def test_a_bundle_that_cannot_be_read_is_as_good_as_none() -> None:
    store, _ = await filled(250, (100,))
    key = bundle_key(LOG, 100, 0)
    assert len(await txns(FlakyStore(store, on("get", key, refuse(RemoteRefused("403")))))) == 250


async def test_a_bundle_ahead_of_the_log_adds_nothing() -> None:
    """A log cut short by damage stays as short as it is; what a hint says of lost slots is not invented."""
    store, entries = await filled(90)
    await store.put(bundle_key(LOG, 100, 0), [encode_bundle(chain(100, "t", entries))])
    assert len(await txns(store)) == 90


async def test_without_bundles_every_slot_is_read_itself() -> None:
    store, _ = await filled(120)
    asked = Recording(store)
    await open_log(asked).refresh()
    assert {call.key for call in asked.calls} >= {slot_key(LOG, slot) for slot in range(121)}
    assert not [call for call in asked.calls if "ckpt" in call.key]
