"""One watch's memory: what is pending, what was taken, what went wrong; and how that is told."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.errors import SyncdError
from syncd.journal.watches import TakenRow, WatchRow
from syncd.model.names import ArtifactKey, printable
from syncd.model.views import TakenView, WatchView
from syncd.watch.inspect import Waiting
from syncd.watch.proof import MARKER
from syncd.watch.settle import Sight

TAKEN_SHOWN = 100
PENDING_SHOWN = 20
FURTHER = "changed after it was taken: a further version"


@dataclass(frozen=True, slots=True)
class Pending:
    """A sub-directory that is not complete, and when (monotonic) to look at it again."""

    why: Waiting
    look_at: float

    @property
    def sight(self) -> Sight | None:
        """What was seen of it last."""
        return self.why.sight


class Watched:
    """Owned by the watcher; nobody else changes it."""

    def __init__(self, row: WatchRow, taken: list[TakenRow]) -> None:
        # fixed
        self.row = row
        self.artifact = str(ArtifactKey(row.project, row.name))
        # what the scans found
        self.pending: dict[bytes, Pending] = {}
        self.error = ""
        self.proof = MARKER if row.done_marker else ""
        self.root_ino: int | None = None
        # what the journal says
        self._latest: dict[bytes, TakenRow] = {}
        self._recent: list[tuple[TakenRow, str]] = []
        for each in taken:
            self.note_taken(each)

    def latest(self, path: bytes) -> TakenRow | None:
        """How a sub-directory looked when it was last taken."""
        return self._latest.get(path)

    def note_taken(self, row: TakenRow) -> None:
        """It became a job."""
        note = FURTHER if row.path in self._latest else ""
        self._latest[row.path] = row
        self._recent.append((row, note))
        del self._recent[:-TAKEN_SHOWN]
        self.pending.pop(row.path, None)

    def wait(self, path: bytes, why: Waiting, look_at: float) -> None:
        """It is not complete, or could not be taken."""
        self.pending[path] = Pending(why, look_at)

    def view(self, hints_problem: str) -> WatchView:
        """Tell it: pending sub-directories first, then the newest taken."""
        waiting = [
            TakenView(path, "pending", note=pending.why.note)
            for path, pending in sorted(self.pending.items())[:PENDING_SHOWN]
        ]
        taken = [
            TakenView(row.path, "taken", job=row.job, proof=row.proof, note=note)
            for row, note in reversed(self._recent)
        ]
        failures = [f"{printable(path)}: {p.why.note}" for path, p in sorted(self.pending.items()) if p.why.failed]
        return WatchView(
            directory=self.row.directory,
            name=self.row.name,
            type=self.row.type,
            project=self.row.project,
            settle=self.row.settle,
            done_marker=self.row.done_marker,
            proof=self.proof,
            pending=len(self.pending),
            taken=waiting + taken,
            error="; ".join(problem for problem in (self.error, *failures[:1], hints_problem) if problem),
        )


def one_line(error: SyncdError) -> str:
    """An error in one line."""
    return ": ".join(str(error).splitlines())
