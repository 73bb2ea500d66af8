"""Judge one sub-directory: look, ask for proof where it matters, decide. Blocks; runs in a lane."""

from __future__ import annotations

import os
from dataclasses import dataclass

from syncd.clock import Clock
from syncd.journal.watches import TakenRow, WatchRow
from syncd.model.names import printable
from syncd.watch.proof import MARKER, Prober, Proof, ask
from syncd.watch.scan import Look, look
from syncd.watch.settle import Sight, due_in, observe, quiet_for, settled


@dataclass(frozen=True, slots=True)
class Complete:
    """It may be taken. `newest` (mtime, ns) orders what is taken at once, so that `latest` is the latest."""

    signature: bytes
    dev: int
    ino: int
    proof: str
    newest: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """It is not complete: why, what was seen, in how many seconds it can be at the earliest, and is anything wrong?"""

    note: str
    sight: Sight | None
    due: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to take: it is as it was when it was taken, or emptied since."""


Verdict = Complete | Waiting | Nothing


def inspect(
    watch: WatchRow,
    artifact: str,
    name: bytes,
    sight: Sight | None,
    taken: TakenRow | None,
    prober: Prober,
    clock: Clock,
) -> tuple[Verdict, str]:
    """Judge the sub-directory `name`; also returns what its file system can prove ("" where it was not asked).

    Raises:
        OSError: it vanished, or something in it vanished or cannot be read.
    """
    path = os.path.join(watch.directory, name)
    marker = os.fsencode(watch.done_marker)
    if marker and not os.path.lexists(os.path.join(path, marker)):
        return Waiting(f"waiting for {watch.done_marker}", None, 0.0), ""  # cheap: no walk while it is not there
    began = clock.monotonic()
    seen = look(path)
    signature = seen.signature(artifact)
    if taken is not None and (signature == taken.signature or seen.empty):
        return Nothing(), ""
    if seen.empty:
        return Waiting("empty so far", None, 0.0), ""
    if marker and taken is None:
        return _complete(seen, signature, MARKER), ""
    proof = None
    if not marker and (watch.settle == 0 or (sight is not None and sight.signature == signature)):
        proof = ask(path, seen, prober)
    busy = proof is not None and proof.busy
    sight = observe(sight, signature, clock.monotonic(), busy)
    if busy or (proof is None and not marker) or not settled(sight, began, watch.settle):
        return Waiting(_why(proof, sight, began, watch, taken), sight, due_in(sight, began, watch.settle)), _how(proof)
    return _complete(seen, signature, _how(proof) or MARKER), _how(proof)


def _how(proof: Proof | None) -> str:
    return proof.how if proof is not None else ""


def _complete(seen: Look, signature: bytes, proof: str) -> Complete:
    newest = max(entry.mtime_ns for entry in seen.entries)
    return Complete(signature, seen.dev, seen.ino, proof, newest)


def _why(proof: Proof | None, sight: Sight, began: float, watch: WatchRow, taken: TakenRow | None) -> str:
    again = "changed after it was taken; " if taken is not None else ""
    if proof is not None and proof.busy:
        return f"{again}open for writing: {printable(proof.open_file)}"
    return f"{again}quiet for {quiet_for(sight, began):.0f} of {watch.settle:g} s"
