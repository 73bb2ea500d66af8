"""What an upload does not believe: its own memory, and a journal that may be older than the log."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import Corrupt
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey
from syncd.store.memory import MemoryStore
from syncd.upload.pack import _encode_all
from tests.kit.flow_kit import Count, Files, node, tree
from tests.kit.stores import Recording


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_an_older_journal_commits_nothing_twice_and_sends_nothing(tmp_path: Path, store: MemoryStore) -> None:
    """The state directory is put back to what it was before the job ran, a newer version having followed it."""
    files: Files = {b"a": noise(60_000), b"b": b"1"}
    async with node(tmp_path / "one", store) as one:
        await one.upload({b"z": b"0"})
    shutil.copytree(tmp_path / "one", tmp_path / "backup")
    async with node(tmp_path / "one", store) as one:
        assert (await one.upload(files, txn="job-1", aliases=("best",))).version == 1
        assert (await one.upload({b"a": noise(60_000, 1)})).version == 2
        before = await one.history()
    recording, progress = Recording(store), Count()
    async with node(tmp_path / "backup", recording) as again:
        result = await again.upload(files, txn="job-1", aliases=("best",), progress=progress, bytes=60_001)
        after = await again.history()
        counted = again.meter.snapshot()
    assert (result.version, result.new_version) == (1, True)
    assert [call.key for call in recording.calls if call.op in ("put", "create")] == []
    assert (len(after.versions), after.aliases) == (3, before.aliases)
    assert progress.bytes == 0
    assert sum(counted.counts.values()) == 0, "what an earlier life sent was not spared"
    assert counted.gauges == {}, "nothing was committed now"


class BadMemory:
    """A lane after whose first encoding one bit of what it gave is turned: the bytes are not what was hashed."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.damaged = False

    async def run(self, work: Any, *args: Any) -> Any:
        result = await self._lane.run(work, *args)
        if work is _encode_all and not self.damaged:
            digest, (codec, payload) = next((d, made) for d, made in result.items() if len(made[1]))
            result[digest] = (codec, bytes([payload[0] ^ 1]) + bytes(payload[1:]))
            self.damaged = True
        return result


@pytest.mark.parametrize("content", [noise(10_000), b"a line of text that shrinks\n" * 400])
async def test_a_pack_whose_bytes_went_bad_in_memory_is_never_stored(
    tmp_path: Path, store: MemoryStore, content: bytes
) -> None:
    async with node(tmp_path / "one", store) as one:
        healthy, one.lane = one.lane, BadMemory(one.lane)  # type: ignore[assignment]
        with pytest.raises(Corrupt):
            await one.upload({b"a": content}, txn="t")
        assert one.lane.damaged  # type: ignore[attr-defined]
        assert [info.key async for info in store.list("packs/")] == []
        assert await one.repository.artifact_log(ArtifactKey("p", "data")).refresh() == []
        one.lane = healthy
        await one.upload({b"a": content}, txn="t")
        await one.download(tmp_path / "out")
    assert tree(tmp_path / "out") == {b"a": content}
