from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncd.store.memory import MemoryStore
from tests.kit.download_kit import FILES
from tests.kit.flow_kit import Node, node


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def one(tmp_path: Path, store: MemoryStore) -> AsyncIterator[Node]:
    """A node that has logged FILES as version 0."""
    async with node(tmp_path / "one", store) as made:
        await made.upload(FILES)
        yield made
