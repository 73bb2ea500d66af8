"""A version to restore, and one node's view of a remote that misbehaves."""

from __future__ import annotations

import random

from syncd.upload.parts import UploadParams
from tests.kit.flow_kit import Files, Node
from tests.kit.repo_kit import open_repository
from tests.kit.stores import FlakyStore, Recording

BIG = random.Random(7).randbytes(150_000)
UNPACKED = UploadParams(compress=False)
FILES: Files = {b"a.bin": BIG, b"d/b": b"small", b"d/link": "../a.bin", b"d/none": b"", b"hollow": None}


async def on_flaky(one: Node, flaky: FlakyStore | Recording) -> Node:
    """The same node, its remote behind a store that misbehaves, nothing remembered."""
    repository = await open_repository(flaky, one.lane)
    return Node(flaky, repository, one.journal, one.lane, one.clock)
