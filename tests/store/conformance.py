"""What a Store promises, as tests. Every back end and every wrapper inherits them and gives a `store` fixture."""

from __future__ import annotations

import asyncio

import pytest

from syncd.errors import Conflict, InvalidInput, NotFound
from syncd.store.base import Store

BODY = bytes(range(256)) * 40  # 10,240 bytes


async def keys(store: Store, prefix: str) -> list[str]:
    return [info.key async for info in store.list(prefix)]


class StoreContract:
    async def test_what_was_put_is_read_back(self, store: Store) -> None:
        await store.put("packs/ab/one", [b"head", bytearray(b"-"), memoryview(BODY)])
        assert await store.get("packs/ab/one") == b"head-" + BODY

    async def test_a_put_replaces_what_was_there(self, store: Store) -> None:
        await store.put("k", [BODY])
        await store.put("k", [b"new"])
        assert await store.get("k") == b"new"

    async def test_an_object_may_be_empty(self, store: Store) -> None:
        await store.put("empty/put", [])
        await store.put("empty/parts", [b"", b""])
        await store.create("empty/create", b"")
        for key in ("empty/put", "empty/parts", "empty/create"):
            assert await store.get(key) == b""
            assert (await store.stat(key)).size == 0

    async def test_more_parts_than_one_system_call_takes(self, store: Store) -> None:
        parts = [bytes([n % 251]) * (n % 7) for n in range(3000)]
        await store.put("many", parts)
        assert await store.get("many") == b"".join(parts)

    async def test_items_of_a_part_may_be_wider_than_a_byte(self, store: Store) -> None:
        await store.put("wide", [memoryview(BODY).cast("Q")])
        await store.create("wide2", memoryview(BODY).cast("Q"))
        assert await store.get("wide") == await store.get("wide2") == BODY

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [
            (0, None, BODY),
            (0, 0, b""),
            (10, 20, BODY[10:30]),
            (10_000, 1000, BODY[10_000:]),
            (10_240, 5, b""),
            (99_999, 5, b""),
            (99_999, None, b""),
            (-16, None, BODY[-16:]),
            (-16, 4, BODY[-16:-12]),
            (-16, 400, BODY[-16:]),
            (-99_999, None, BODY),
            (-99_999, 3, BODY[:3]),
        ],
    )
    async def test_a_range_gives_what_is_there(
        self, store: Store, offset: int, length: int | None, expected: bytes
    ) -> None:
        await store.put("ranged", [BODY])
        assert await store.get("ranged", offset, length) == expected

    async def test_a_negative_length_is_refused(self, store: Store) -> None:
        await store.put("k", [BODY])
        with pytest.raises(InvalidInput):
            await store.get("k", 0, -1)

    async def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        await store.put("a/b", [b"x"])
        for missing in ("a/c", "b", "c/d/e", "a/b2"):
            with pytest.raises(NotFound, match=missing):
                await store.get(missing)
            with pytest.raises(NotFound, match=missing):
                await store.stat(missing)

    async def test_stat_tells_size_and_a_time(self, store: Store) -> None:
        await store.put("a/b", [BODY])
        info = await store.stat("a/b")
        assert (info.key, info.size) == ("a/b", len(BODY))
        assert info.modified > 0

    async def test_create_refuses_what_exists_and_leaves_it_alone(self, store: Store) -> None:
        await store.create("log/0", b"first")
        with pytest.raises(Conflict, match="log/0"):
            await store.create("log/0", b"second")
        assert await store.get("log/0") == b"first"

    async def test_create_refuses_what_was_put(self, store: Store) -> None:
        await store.put("log/0", [b"first"])
        with pytest.raises(Conflict):
            await store.create("log/0", b"second")
        assert await store.get("log/0") == b"first"

    async def test_of_racing_creates_exactly_one_wins(self, store: Store) -> None:
        wins: list[tuple[str, bytes]] = []

        async def race(me: int) -> None:
            for slot in range(20):
                key, body = f"a/p/n/log/{slot:020d}", b"%d" % me
                try:
                    await store.create(key, body)
                except Conflict:
                    continue
                wins.append((key, body))

        async with asyncio.TaskGroup() as racers:
            for me in range(20):
                racers.create_task(race(me))
        assert len(wins) == 20
        for key, body in wins:
            assert await store.get(key) == body

    async def test_racing_puts_leave_one_of_them_whole(self, store: Store) -> None:
        bodies = [bytes([n]) * 5000 for n in range(10)]
        async with asyncio.TaskGroup() as racers:
            for body in bodies:
                racers.create_task(store.put("same/key", [body[:17], body[17:]]))
        assert await store.get("same/key") in bodies

    async def test_a_list_is_sorted_by_key_and_goes_by_prefix(self, store: Store) -> None:
        names = ["a/b/c", "a/b", "a-b/x", "a/b0", "ab", "a/c/d/e", "b", ".x/y", "a/.x", "a/B"]
        names.remove("a/b")  # an object and keys below it: no store must be asked for that
        for name in names:
            await store.put(name, [name.encode()])
        assert await keys(store, "") == sorted(names)
        assert await keys(store, "a/b") == ["a/b/c", "a/b0"]
        assert await keys(store, "a/b/") == ["a/b/c"]
        assert await keys(store, "a") == sorted(name for name in names if name.startswith("a"))
        assert await keys(store, "a/.") == ["a/.x"]
        assert await keys(store, "nothing") == await keys(store, "no/such/place/") == []
        infos = [info async for info in store.list("a/c/")]
        assert [(info.key, info.size) for info in infos] == [("a/c/d/e", 7)]

    async def test_a_listener_may_use_the_store_and_may_stop(self, store: Store) -> None:
        for n in range(5):
            await store.put(f"l/{n}", [b"x"])
        seen = []
        async for info in store.list("l/"):
            seen.append(info.key)
            await store.get(info.key)
            if len(seen) == 3:
                break
        assert seen == ["l/0", "l/1", "l/2"]

    async def test_deleting_removes_and_may_be_repeated(self, store: Store) -> None:
        await store.put("d/one", [b"x"])
        await store.put("d/two", [b"x"])
        for _ in range(2):
            await store.delete("d/one")
        await store.delete("never/was/there")
        assert await keys(store, "") == ["d/two"]
        with pytest.raises(NotFound):
            await store.get("d/one")
        await store.create("d/one", b"again")

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            ".",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            "a\x00b",
            "a\nb",
            "a b",
            "ä",
            "x" * 256,
            ".tmp",
            ".tmp/x",
            "�",
        ],
    )
    async def test_what_is_no_key_is_refused_by_every_verb(self, store: Store, key: str) -> None:
        for verb in (
            store.get(key),
            store.put(key, [b"x"]),
            store.create(key, b"x"),
            store.stat(key),
            store.delete(key),
        ):
            with pytest.raises(InvalidInput):
                await verb

    @pytest.mark.parametrize("prefix", ["../", "a/../", "/", "a//", "ä", ".tmp/"])
    async def test_what_is_no_prefix_is_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(InvalidInput):
            await keys(store, prefix)

    async def test_closing_may_be_repeated(self, store: Store) -> None:
        await store.close()
        await store.close()

    async def test_it_says_that_create_is_atomic(self, store: Store) -> None:
        assert store.capabilities.create_is_atomic
