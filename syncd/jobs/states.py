"""The words of a job's life: kinds, states, what can happen, what is to be done.

States, each in one sentence:

accepted    The job is in the journal and nothing has been done for it yet.
sending     Upload: its files are read, cut and stored in the remote as packs.
committing  Upload: all bytes are durable in the remote and the commit entry is being written; it may be there already.
committed   Upload: the version exists for everybody; only the pins are still to be let go.
fetching    Download: the version's bytes are fetched, verified and put in place.
waiting     The last try failed in a way that may pass; `resume` is the state to go back to when it is due.
done        Everything that was asked has happened, and nothing local is held for it any more.
failed      It cannot succeed by itself; its pins are kept, because bytes are never dropped for a failure.
cancelled   A person let it go: the pins are dropped and what was stored is garbage that a sweep may remove.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What sort of work a job is."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class State(StrEnum):
    """Where a job is; the module docstring says what each means."""

    ACCEPTED = "accepted"
    SENDING = "sending"
    COMMITTING = "committing"
    COMMITTED = "committed"
    FETCHING = "fetching"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job moves no more by itself; whoever waits for it is answered."""
        return self in ENDED


ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED})
"""Nothing happens in these by itself. Of them only `failed` can still be left: a person may let it go."""


# --- what can happen to a job -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The engine took the job up."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything the commit entry will refer to is durable in the remote (law L1)."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit entry is in the log, acknowledged or read back (laws L4 and L7)."""


@dataclass(frozen=True, slots=True)
class Released:
    """The pins and their rows are gone."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Every entry of the version is verified and in place."""


@dataclass(frozen=True, slots=True)
class Faulted:
    """The flow ended with an error; `retry` says whether the same work may succeed later without anybody's help."""

    retry: bool


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A person asked to stop."""


@dataclass(frozen=True, slots=True)
class Due:
    """The delay before another try is over."""


Event = Started | Stored | Committed | Released | Fetched | Faulted | CancelAsked | Due


# --- what is to be done next --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Run the upload flow up to the point where everything is stored; what is stored already is left out."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Write the commit entry by the ambiguity rule (law L4); finding it there already is success."""


@dataclass(frozen=True, slots=True)
class Release:
    """Let the pins go."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Run the download flow; ranges verified by an earlier try are left out."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Wait `backoff.retry_delay(attempt, ...)` seconds, then report Due."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Stop the flow and drop what the job holds here: pins, rows, half-fetched files."""


Instruction = Send | Commit | Release | Fetch | RetryLater | Discard


@dataclass(frozen=True, slots=True)
class JobState:
    """All that decides a job's next move.

    `resume` is where to go back to and is set exactly while waiting; `attempt` counts the tries that failed since the
    last step forward.
    """

    kind: Kind
    state: State = State.ACCEPTED
    resume: State | None = None
    attempt: int = 0
