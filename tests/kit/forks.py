"""The test's end of entry_forks.py: ask for lives, get their ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.daemon import ROOT, unprivileged


@dataclass(frozen=True, slots=True)
class End:
    """How a life ended: `signal` 0 by itself, else killed; what it returned; what it raised."""

    signal: int
    reply: Any
    error: str


class Forks:
    """Lives of daemons, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def live(
        self, life: str, work: Path, settings: dict[str, str], at: int = 0, side: str = "before", only: str = ""
    ) -> End:
        """Let a daemon live; see crash_lives.py for the lives. `at`, `side` and `only`: the effect it dies in."""
        order = {"life": life, "work": str(work), "settings": settings, "at": at, "side": side, "only": only}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the forking process is gone; its standard error says why"
        return End(**json.loads(line))


@contextmanager
def forks() -> Iterator[Forks]:
    """A process that forks daemons, ended when the context is left."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")])}
    with subprocess.Popen(
        unprivileged([sys.executable, "-m", "tests.kit.entry_forks"]), env=environ, cwd="/", text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield Forks(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)
