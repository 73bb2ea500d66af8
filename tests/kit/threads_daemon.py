"""`python threads_daemon.py REPORT`: a daemon that notes, at every statement of its journal, which threads it has.

REPORT gets the names, one a line, and last the largest number of threads that Python knows nothing of.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from syncd.daemon.compose import Seams
from syncd.daemon.serve import serve
from syncd.journal.core import Ledger
from syncd.settings import load


class Noting:
    """A Ledger that looks around before each call."""

    def __init__(self, ledger: Ledger, report: str) -> None:
        self._ledger = ledger
        self._report = report
        self._names: set[str] = set()
        self._foreign = 0

    async def write(self, act: Callable[..., Any], *, durable: bool = False) -> Any:
        self._look()
        return await self._ledger.write(act, durable=durable)

    async def read(self, act: Callable[..., Any]) -> Any:
        self._look()
        return await self._ledger.read(act)

    def _look(self) -> None:
        known = threading.enumerate()
        self._names |= {thread.name for thread in known}
        self._foreign = max(self._foreign, len(os.listdir("/proc/self/task")) - len(known))
        with open(f"{self._report}.new", "w") as file:
            file.write("\n".join([*sorted(self._names), str(self._foreign)]))
        os.rename(f"{self._report}.new", self._report)


if __name__ == "__main__":
    seams = Seams(wrap_ledger=lambda journal: Noting(journal, sys.argv[1]))
    sys.exit(serve(load({}, os.environ), autostarted=False, seams=seams))
