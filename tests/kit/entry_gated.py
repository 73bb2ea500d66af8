"""`python -m tests.kit.entry_gated`: the real daemon, which waits at a gate before it takes a slot of a log.

Environment: KIT_GATE names a directory and KIT_GATED how the slot's key ends. The daemon makes `arrived` there and goes
on once there is `open`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from syncd.daemon.compose import Seams
from syncd.daemon.serve import serve
from syncd.model.buffer import Buffer
from syncd.settings import load
from syncd.store.base import Store
from tests.kit.daemon import POLL_SECONDS
from tests.kit.stores import Recording


class Gated(Recording):
    """A store that creates one object only when the gate is open."""

    def __init__(self, store: Store, gate: Path, key_end: str) -> None:
        super().__init__(store)
        self._gate = gate
        self._key_end = key_end

    async def create(self, key: str, data: Buffer) -> None:
        if key.endswith(self._key_end):
            (self._gate / "arrived").touch()
            while not (self._gate / "open").exists():
                await asyncio.sleep(POLL_SECONDS)
        await super().create(key, data)


def main() -> int:
    environ = dict(os.environ)
    gate, key_end = Path(environ["KIT_GATE"]), environ["KIT_GATED"]
    seams = Seams(wrap_store=lambda store: Gated(store, gate, key_end))
    return serve(load({}, environ), autostarted=False, seams=seams)


if __name__ == "__main__":
    sys.exit(main())
