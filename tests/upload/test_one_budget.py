"""Real uploads and downloads that share one byte budget, however small: all of them end, and all is given back."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import RemoteUnavailable
from syncd.store.memory import MemoryStore
from tests.kit.flow_kit import Files, node, tree
from tests.kit.stores import FlakyStore, Held, on, refuse

UPLOADS = 4
DOWNLOADS = 3


def data(seed: int) -> Files:
    rng = random.Random(seed)
    files: Files = {b"s%02d" % n: rng.randbytes(900) for n in range(15)}
    return files | {b"big": rng.randbytes(60_000), b"text": b"shrinks well %d " % seed * 3000, b"zeros": bytes(30_000)}


@pytest.mark.parametrize("memory", [1, 9 << 10, 20 << 10, 64 << 10])
async def test_many_flows_on_a_tiny_budget_all_end_with_the_right_bytes(tmp_path: Path, memory: int) -> None:
    async with node(tmp_path / "one", MemoryStore(), memory=memory) as one:
        await one.upload(data(0), "old")
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for number in range(UPLOADS):
                tasks.create_task(one.upload(data(number + 1), f"new{number}"))
            for number in range(DOWNLOADS):
                tasks.create_task(one.download(tmp_path / f"old{number}", "old", job=f"job{number}"))
        assert (one.budget.used, one.budget.kept) == (0, 0)
        for number in range(UPLOADS):
            await one.download(tmp_path / f"new{number}", f"new{number}")
    assert all(tree(tmp_path / f"old{number}") == data(0) for number in range(DOWNLOADS))
    assert all(tree(tmp_path / f"new{number}") == data(number + 1) for number in range(UPLOADS))


async def test_a_slow_upload_and_a_download_together_stay_within_the_budget(tmp_path: Path) -> None:
    """The puts are held back; the uploads take what they may, the download goes on in what is left of the budget."""
    memory, store = 96 << 10, MemoryStore()
    async with node(tmp_path / "old", store) as old:
        await old.upload(data(0), "old")
    held = Held(store)
    async with node(tmp_path / "one", held, memory=memory) as one:
        flows = [asyncio.ensure_future(one.upload(data(n + 1), f"new{n}")) for n in range(2)]
        await held.arrived.wait()
        flows.append(asyncio.ensure_future(one.download(tmp_path / "out", "old")))
        seen = []
        async with asyncio.timeout(60):
            while not all(flow.done() for flow in flows):
                await asyncio.sleep(0.001)
                seen.append(one.budget.kept)
                if len(seen) == 50:
                    held.let_go()
        for flow in flows:
            flow.result()
    assert tree(tmp_path / "out") == data(0)
    assert 16 << 10 < max(seen) <= memory


async def test_flows_that_fail_or_are_cancelled_give_back_what_they_hold(tmp_path: Path) -> None:
    store = MemoryStore()
    async with node(tmp_path / "old", store) as old:
        await old.upload(data(0), "old")
    held = Held(store)
    async with node(tmp_path / "one", held) as one:
        task = asyncio.ensure_future(one.upload(data(1)))
        await held.arrived.wait()
        assert one.budget.used > 0
        task.cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), one.budget.used, one.budget.kept) == (True, 0, 0)
    await _failing(tmp_path / "two", FlakyStore(store, on("put", "packs/", refuse())), "upload")

    reads = 0

    def late(call: Any) -> Any:
        nonlocal reads
        reads += call.op == "get" and call.key.startswith("packs/")
        return refuse() if reads > 6 else None

    await _failing(tmp_path / "three", FlakyStore(store, late), "download")


async def _failing(home: Path, flaky: FlakyStore, verb: str) -> None:
    async with node(home, flaky) as one:
        with pytest.raises(RemoteUnavailable):
            await (one.upload(data(2)) if verb == "upload" else one.download(home / "out", "old"))
        assert (one.budget.used, one.budget.kept) == (0, 0)
