"""`python -m tests.kit.entry_forks`: lives of daemons as forks of a process that has everything imported.

"In process" without its lie: what dies here dies for good, with its threads, leases and descriptors, because it is a
process; and it costs a fork instead of an interpreter's start. The parent has no thread, so forking it is safe.

One JSON line in is one life: {"life": name, "work": directory, "settings": {...}, "at": n, "side": s, "only": name}.
One line out is its end: {"signal": number, "reply": what the life returned, "error": traceback}.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from syncd.pin import leases
from tests.kit.crash_lives import LIVES
from tests.kit.dying import BEFORE, Fate, Record

_LONGEST = 60.0


def main() -> None:
    import uvloop  # noqa: F401  imported before the forks

    gc.collect()
    gc.freeze()  # a collection in a child would copy every page it touches
    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line))), flush=True)


def _fork(order: dict[str, Any]) -> dict[str, Any]:
    theirs, ours = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.write(ours, json.dumps(_live(order)).encode())
        os._exit(0)
    os.close(ours)
    with os.fdopen(theirs, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    end = json.loads(said) if said else {}
    return {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, "reply": None, "error": "", **end}


def _live(order: dict[str, Any]) -> dict[str, Any]:
    faulthandler.dump_traceback_later(_LONGEST, exit=True)
    leases.mask_signals()
    work = Path(order["work"])
    fate = Fate(Record(work / "record"), order.get("at", 0), order.get("side", BEFORE), order.get("only", ""))
    try:
        return {"reply": _run(LIVES[order["life"]](work, order["settings"], fate))}
    except BaseException:  # noqa: BLE001  whatever it was, the test shall see it
        return {"error": traceback.format_exc()}


def _run(life: Any) -> Any:
    if os.environ.get("SYNCD_UVLOOP") == "0":
        return asyncio.run(life)
    import uvloop

    return uvloop.run(life)


if __name__ == "__main__":
    main()
