"""The verbs on garbage at the socket: plan, collect, explain, give up; restore while the bytes are certain to stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncd.store.memory import MemoryStore
from syncd_client.wire import messages as m
from tests.kit.service_kit import Client, Room, service_room
from tests.kit.stores import Held, Recording


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with service_room(tmp_path / "home", MemoryStore()) as made:
        yield made


async def put(client: Client, tmp_path: Path, draft: str, content: bytes) -> m.JobInfo:
    path = tmp_path / "file"
    path.write_bytes(content)
    await client.add(draft, path)
    job = await client.call(m.Log(draft, "data", "dataset"))
    waited = await client.call(m.Wait([job.job], 20.0))
    assert waited.jobs[0].state == "done", waited
    return waited.jobs[0]


async def test_a_plan_says_what_a_collection_then_does(room: Room, tmp_path: Path) -> None:
    client = await room.connect()
    await put(client, tmp_path, "d0", b"0" * 5000)
    await put(client, tmp_path, "d1", b"1" * 5000)
    await client.call(m.Remove("data", "v0"))
    plan = await client.call(m.Collect(True, 0.0, 0.0))
    assert (plan.dry_run, plan.versions, plan.deleted, plan.freed_bytes) == (True, 1, 1, 0)
    assert "collect" in {kind for _, kind, _ in client.events}
    done = await client.call(m.Collect(False, 0.0, 0.0))
    assert (done.dry_run, done.epoch, done.freed_bytes) == (False, 1, plan.now_bytes)
    assert done.freed_bytes > 0
    assert await client.refused(m.Restore("data", "v0")) == "not_found"
    assert await client.refused(m.Collect(True, -1.0)) == "invalid"


async def test_a_deleted_version_is_restored_behind_a_fence_when_nothing_of_it_is_condemned(
    room: Room, tmp_path: Path
) -> None:
    client = await room.connect()
    await put(client, tmp_path, "d0", b"0" * 5000)
    await put(client, tmp_path, "d1", b"1" * 5000)
    await client.call(m.Remove("data", "v0"))
    await client.call(m.Collect(False, 0.0, 0.0))
    await client.call(m.Remove("data", "v1"))  # the log is fenced by now
    restored = await client.call(m.Restore("data", "v1"))
    assert restored.state == "COMMITTED"
    assert (await client.call(m.Verify("data", "v1"))).problems == []


async def test_explain_tells_of_deleted_versions_too(room: Room, tmp_path: Path) -> None:
    client = await room.connect()
    await put(client, tmp_path, "d0", b"0" * 5000)
    await put(client, tmp_path, "d1", b"1" * 5000)
    assert (await client.call(m.Explain("data", "latest"))).kept
    await client.call(m.Remove("data", "v0"))
    told = await client.call(m.Explain("data", "v0"))
    assert not told.kept and told.condemned == [] and told.stored_bytes > 0
    await client.call(m.Collect(False, 0.0, 1e6))
    assert (await client.call(m.Explain("data", "v0"))).condemned
    assert await client.refused(m.Explain("data", "v7")) == "not_found"


async def test_a_collection_is_given_up_at_once_and_the_next_one_goes_through(tmp_path: Path) -> None:
    store = Held(MemoryStore())
    async with service_room(tmp_path / "home", store) as room:
        client = await room.connect()
        number = client.send(m.Collect(False, 0.0, 0.0))
        async with asyncio.timeout(20):
            await store.arrived.wait()
        await client.call(m.CancelRequest(number))
        kind, body = await client.answer(number)
        assert (kind, body["code"]) == ("error", "cancelled")
        store.let_go()
        assert (await client.call(m.Collect(False, 0.0, 0.0))).freed_bytes == 0


async def test_a_collection_without_garbage_puts_no_epoch(room: Room, tmp_path: Path) -> None:
    client = await room.connect()
    await put(client, tmp_path, "d0", b"0" * 5000)
    done = await client.call(m.Collect(False, 0.0, 0.0))
    assert (done.epoch, done.freed_bytes, done.needed_bytes) == (0, 0, done.bytes)


async def test_uploads_at_the_socket_ask_for_no_list_and_delete_nothing(tmp_path: Path) -> None:
    store = Recording(MemoryStore())
    async with service_room(tmp_path / "home", store) as room:
        client = await room.connect()
        await put(client, tmp_path, "d0", b"0" * 5000)
        assert not [call for call in store.calls if call.op in ("list", "delete")]
