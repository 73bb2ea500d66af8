"""Checks in tests: on a node of flow_kit, and damage done to a store in memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from syncd.check.findings import CheckParams, Report
from syncd.check.run import Ground, check
from syncd.errors import NotFound
from syncd.format.chunker import load
from syncd.format.keys import parse_pack
from syncd.format.manifest import PAGE_MAGIC
from syncd.format.pack import open_frame, resync
from syncd.journal.memory import JournalMemory
from syncd.store.base import Store
from syncd.store.memory import MemoryStore
from tests.kit.flow_kit import Node

WHOLE = CheckParams(share=1.0, seed=1)
MENDING = CheckParams(share=1.0, seed=1, repair=True)


def ground(at: Node, mirror: Store | None = None) -> Ground:
    """Return what a check of this node works with; it has nothing in its spool."""

    def no_pin(number: int) -> Any:
        raise NotFound(f"no pin {number}")

    return Ground(
        at.repository, JournalMemory(at.journal), mirror, at.journal, no_pin, load(), at.lane, at.budget, at.clock,
        random.Random(3), at.name,
    )  # fmt: skip


async def fsck(at: Node, params: CheckParams = WHOLE, mirror: Store | None = None) -> Report:
    """Check all data of the repository of a node."""
    return await check(ground(at, mirror), params)


def change(store: MemoryStore, key: str, act: Callable[[bytearray], Any]) -> None:
    """Change an object behind everybody's back."""
    data, at = store._objects[key]
    made = bytearray(data)
    act(made)
    store._objects[key] = (bytes(made), at)


def rot(data: bytearray) -> None:
    """Change a byte in the first chunk's payload: the index stays right."""
    data[100] ^= 0x40


def file_packs(store: MemoryStore) -> set[bytes]:
    """Return the packs that hold no pages of manifests."""
    found = set()
    for key, (data, _) in store._objects.items():
        if key.startswith("packs/") and not any(
            open_frame(frame, data[frame.offset : frame.offset + frame.stored_length]).startswith(PAGE_MAGIC)
            for frame in resync(data)
        ):
            found.add(parse_pack(key))
    return found
